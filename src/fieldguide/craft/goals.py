"""What a network is trained towards: the class of a picture, or how many of each class it shows. Targets, losses, and scores on validation.

Counts are regressed: the network gives a number for each class, in standard deviations of the training counts from their mean, so that a
class with hundreds and one with a few weigh alike and a new head begins near the mean. The loss is Huber's (1964), squared within one
standard deviation and linear beyond, so that a single crowd does not lead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.nn import functional as F

from fieldguide.craft.answering import whole
from fieldguide.records import Example
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.count import Count, Task


class Goal(Protocol):
    """Towards what a network is trained."""

    @property
    def told(self) -> tuple[str, ...]:
        """The names of the scores that a learning curve shows beside the loss."""
        ...

    def targets(self, examples: Sequence[Example]) -> Tensor:
        """Return what is right, ``"pictures ..."``."""
        ...

    def soft(self, targets: Tensor) -> Tensor:
        """Return targets ``"pictures classes"`` that can be mixed."""
        ...

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the summed loss of outputs ``"pictures classes"``; `targets` may be mixed ones."""
        ...

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return ``accuracy``, ``loss`` (a picture's mean, without smoothing or weights) and what else is told."""
        ...


@dataclass(frozen=True)
class Naming:
    """The right class. `weights` ``"classes"`` are those of each class in the loss, one on average, if they differ."""

    task: Classify
    smoothing: float = 0.0
    weights: Tensor | None = None
    told: tuple[str, ...] = ("accuracy", "macro_f1")

    def targets(self, examples: Sequence[Example]) -> Tensor:
        """Return class numbers ``"pictures"``."""
        return torch.tensor([self.task.index[str(example.label)] for example in examples], dtype=torch.long)

    def soft(self, targets: Tensor) -> Tensor:
        """Return one for the right class and zero for the others."""
        return F.one_hot(targets, len(self.task.ids)).float()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the summed cross-entropy."""
        return F.cross_entropy(outputs, targets, self.weights, label_smoothing=self.smoothing, reduction="none").sum()

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return accuracy, macro-F1 and mean cross-entropy."""
        answers = outputs.argmax(dim=1)
        return {
            "accuracy": float((answers == targets).double().mean()),
            "macro_f1": float(f1_score(targets, answers, average="macro", zero_division=0)),
            "loss": float(F.cross_entropy(outputs, targets)),
        }


@dataclass(frozen=True)
class Scaling:
    """How numbers of a network become counts: `centre` and `scale` of each class, mean and standard deviation of the training counts."""

    centre: tuple[float, ...]
    scale: tuple[float, ...]

    def counts(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return counts, not yet whole, of outputs ``"pictures classes"``."""
        return np.asarray(outputs * np.array(self.scale) + np.array(self.centre))


def scaling_of(train: Sequence[Example], task: Count) -> Scaling:
    """Return mean and standard deviation of the training counts; a class of which every picture shows as many is scaled by one."""
    rows = _counts(train, task).numpy()
    spread = rows.std(axis=0)
    return Scaling(tuple(map(float, rows.mean(axis=0))), tuple(float(one) if one > 0 else 1.0 for one in spread))


@dataclass(frozen=True)
class Counting:
    """How many of each class; `scaling` is that of the training pictures."""

    task: Count
    scaling: Scaling
    told: tuple[str, ...] = ("accuracy", "mae")

    def targets(self, examples: Sequence[Example]) -> Tensor:
        """Return scaled counts ``"pictures classes"``."""
        centre, scale = torch.tensor(self.scaling.centre).double(), torch.tensor(self.scaling.scale).double()
        return ((_counts(examples, self.task) - centre) / scale).float()

    def soft(self, targets: Tensor) -> Tensor:
        """Return the targets as they are."""
        return targets

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return Huber's loss, a mean over the classes of a picture."""
        return F.smooth_l1_loss(outputs, targets, reduction="none").mean(dim=1).sum()

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the share of pictures whose whole counts are all right, the mean error of a count, and the mean loss."""
        given, there = (whole(self.scaling.counts(numbers.double().numpy())) for numbers in (outputs, targets))
        return {
            "accuracy": float((given == there).all(axis=1).mean()),
            "mae": float(np.abs(given - there).mean()),
            "loss": float(self.loss(outputs, targets)) / len(targets),
        }


def _counts(examples: Sequence[Example], task: Count) -> Tensor:
    """Return true counts ``"pictures classes"``."""
    rows = task.rows(example.counts for example in examples)
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(task.ids))


def goal_of(task: Task, train: Sequence[Example], smoothing: float, balanced: bool, device: str) -> Goal:
    """Return what a network is trained towards; `balanced` weighs each class by the inverse of its share of `train`."""
    if isinstance(task, Count):
        return Counting(task, scaling_of(train, task))
    naming = Naming(task, smoothing)
    return Naming(task, smoothing, _class_weights(naming.targets(train), len(task.ids), device)) if balanced else naming


def _class_weights(targets: Tensor, classes: int, device: str) -> Tensor:
    """Return ``"classes"`` weights inverse to each class's share, one on average over the training pictures; 0 for one without any."""
    present = np.unique(targets.numpy())
    weights = torch.zeros(classes)
    weights[present] = torch.tensor(compute_class_weight("balanced", classes=present, y=targets.numpy()), dtype=torch.float32)
    return weights.to(device)
