"""Linear classifiers on features, trained: scikit-learn's logistic regression, and a softmax layer by AdamW.

The closed forms are in `fieldguide.craft.heads`. Both here leave out classes that have no row; these get a bias of -1e9.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fieldguide.craft.heads import Array, Head

#: Bias of a class that was never seen: it is never answered.
NEVER = -1e9
#: Steps of the softmax layer, all rows in each, and the rate they begin with (it falls to 0 along half a cosine).
STEPS, RATE = 300, 0.01


def logistic(rows: Array, labels: NDArray[np.integer], classes: int, strength: float) -> Head:
    """Return logistic regression with the inverse penalty `strength` on ``"rows features"`` (scikit-learn, L-BFGS, 300 steps)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels)
    weights, bias = np.zeros((rows.shape[1], classes)), np.full(classes, NEVER)
    bias[present] = 0.0
    if len(present) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one that is stopped at 300 steps is still one
            model = LogisticRegression(C=strength, max_iter=300).fit(rows, labels)
        if len(present) == 2:
            weights[:, present[1]], bias[present[1]] = model.coef_[0], model.intercept_[0]
        else:
            weights[:, present], bias[present] = model.coef_.T, model.intercept_
    return Head(weights, bias)


def softmax_layers(rows: Array, labels: NDArray[np.integer], classes: int, decays: Iterable[float]) -> list[Head]:
    """Return one fully connected layer for each weight decay, trained from zero by AdamW with cross-entropy.

    Every step sees all rows, so that nothing depends on chance.
    """
    import torch
    from torch.nn import functional as F

    present, targets = np.unique(labels, return_inverse=True)
    x, y = torch.from_numpy(rows).float(), torch.from_numpy(np.asarray(targets, np.int64))
    heads = []
    for decay in decays:
        layer = torch.nn.Linear(rows.shape[1], len(present))
        for parameter in layer.parameters():
            torch.nn.init.zeros_(parameter)
        optimiser = torch.optim.AdamW(layer.parameters(), lr=RATE, weight_decay=decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        for _ in range(STEPS):
            optimiser.zero_grad()
            loss: torch.Tensor = F.cross_entropy(layer(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        weights, bias = np.zeros((rows.shape[1], classes)), np.full(classes, NEVER)
        weights[:, present] = layer.weight.detach().double().numpy().T
        bias[present] = layer.bias.detach().double().numpy()
        heads.append(Head(weights, bias))
    return heads
