"""Whether maps point at what was planted.

They do where the window of the patch's size that holds most of a map lies on the patch, or where most of what is positive lies in it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from tests.explain.patches import planted
from torch import Tensor, nn
from torch.nn import functional as F

from fieldguide.craft.sight import Sight
from fieldguide.data.batches import Preprocessing
from fieldguide.explain.maps import Maps, Target

Method = Callable[[Sight, Tensor, Target], Maps]


def hits(
    method: Method,
    network: nn.Module,
    changed: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda one: one,
    *,
    swapped: bool = False,
) -> float:
    """Return the share of 40 new pictures in which the first map points at the patch (by chance: about 0.15).

    `changed` spoils a map before it is looked at; where `swapped`, the other class is explained.
    """
    size, count = 32, 40
    sight = Sight(network, Preprocessing(size), ("red", "green", "blue"))
    pixels, _, boxes = planted(count, size, 77)
    hit = 0
    for picture, (top, left, bottom, right) in zip(pixels[:, None], boxes.tolist(), strict=True):
        target = Target.of(sight.logits(picture)[0])
        if swapped:
            target = Target(target.against, target.answer)
        values = torch.tensor(changed(method(sight, picture, target).values[0]).copy())
        large = F.interpolate(values[None, None], (size, size), mode="nearest-exact")
        windows = F.avg_pool2d(large, (bottom - top, right - left), 1)[0, 0]
        row, column = divmod(int(windows.argmax()), windows.shape[1])
        near = abs(row - top) <= (bottom - top) / 2 and abs(column - left) <= (right - left) / 2
        positive = large[0, 0].clamp(min=0)
        most = float(positive[top:bottom, left:right].sum()) > 0.5 * float(positive.sum())
        hit += float(values.std()) > 0 and (near or most)
    return hit / count
