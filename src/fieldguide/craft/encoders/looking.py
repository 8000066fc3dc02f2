"""An encoder's picture half with a linear head on top, as one network from pixels to logits, for `fieldguide.explain` to look into.

The text half is no part of it: what a class is called has become a row of the head.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fieldguide.craft.encoders import Sees
from fieldguide.craft.heads import Head, Normalised
from fieldguide.craft.sight import Sight


class Looked(nn.Module):
    """Features as the picture half projects them, brought to one footing as `normal` says, and the head.

    `network` holds the modules of the picture half, and nothing of the text half, so that blocks are found where a picture passes.
    """

    def __init__(self, sees: Any, normal: Normalised, head: Head) -> None:
        super().__init__()
        self.network: nn.Module = sees.inside
        self.head = nn.Linear(*head.weights.shape)
        self.heads, self.how = ("head.",), normal.how
        self.register_buffer("centre", _tensor(normal.centre if normal.how in ("centre+l2", "standardise") else np.zeros(1)))
        self.register_buffer("scale", _tensor(normal.scale if normal.how == "standardise" else np.ones(1)))
        with torch.no_grad():
            self.head.weight.copy_(_tensor(head.weights.T))
            self.head.bias.copy_(_tensor(head.bias))
        # Held in a tuple, so that the whole model, text half and all, does not become a part of this one.
        self._seen = (sees.seen,)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits ``"pictures classes"`` of normalised ``"pictures 3 size size"``."""
        features: Tensor = (self._seen[0](pixels) - self.centre) / self.scale
        if self.how in ("l2", "centre+l2"):
            features = nn.functional.normalize(features, dim=1)
        logits: Tensor = self.head(features)
        return logits


def sight(sees: Sees, normal: Normalised, head: Head, ids: tuple[str, ...]) -> Sight | None:
    """Return the network that answers as `head` does on features of `sees`; `None` where its modules cannot be looked into."""
    inside = getattr(sees, "inside", None)
    if inside is None:
        return None
    device = next(inside.parameters()).device
    return Sight(Looked(sees, normal, head).eval().to(device), sees.preprocessing, ids, str(device))


def _tensor(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).float()
