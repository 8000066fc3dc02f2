"""Pictures whose label depends on one planted patch, and a small training loop: known answers for every kind of map.

Each picture is noise in which one square stands at a random place; its label is the colour of the square. A second square of a colour
that is no class stands beside it, so that whatever is merely conspicuous is not the answer.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

#: Red, green or blue; the square that means nothing is grey.
CLASSES = 3
#: Standard deviation of the noise, and how much brighter than it a square is.
NOISE, BRIGHTER = 0.5, 2.5


def planted(count: int, size: int, seed: int) -> tuple[Tensor, Tensor, NDArray[np.int64]]:
    """Return normalised pictures ``"n 3 size size"``, labels ``"n"``, and the square of each as ``"n 4"``: top, left, bottom, right.

    A square is a quarter of the picture wide and stands anywhere, not on the grid of a network's patches; bottom and right are the
    first row and column behind it.
    """
    draw = np.random.default_rng(seed)
    side = size // 4
    pixels = draw.normal(scale=NOISE, size=(count, 3, size, size))
    labels = draw.integers(CLASSES, size=count)
    boxes = np.zeros((count, 4), np.int64)
    for at, label in enumerate(labels):
        top, left = draw.integers(size - side + 1, size=2)
        other = top, left
        while max(abs(other[0] - top), abs(other[1] - left)) < side:
            other = tuple(draw.integers(size - side + 1, size=2))
        pixels[at, label, top : top + side, left : left + side] += BRIGHTER
        pixels[at, :, other[0] : other[0] + side, other[1] : other[1] + side] += BRIGHTER / CLASSES
        boxes[at] = top, left, top + side, left + side
    return torch.tensor(pixels, dtype=torch.float32), torch.tensor(labels), boxes


def train(network: nn.Module, size: int, steps: int = 60, rate: float = 3e-3, seed: int = 0) -> nn.Module:
    """Train on fresh pictures, 32 a step, and return the network in evaluation mode.

    Whoever wants gradients to find the square builds a network without a norm before its head: such a norm holds a confident answer's
    length, so that more of the same evidence no longer moves the gap, and its gradient is near zero just where the evidence is.
    """
    pixels, labels, _ = planted(32 * steps, size, seed)
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.05)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    network.train()
    for some, right in zip(pixels.split(32), labels.split(32), strict=True):
        optimiser.zero_grad()
        F.cross_entropy(network(some), right).backward()
        optimiser.step()
        pace.step()
    return network.eval()


def accuracy(network: nn.Module, size: int, count: int = 300, seed: int = 1_000) -> float:
    """Return the share of fresh pictures that the network answers rightly."""
    pixels, labels, _ = planted(count, size, seed)
    with torch.inference_mode():
        return float((network(pixels).argmax(1) == labels).float().mean())


def inside(values: NDArray[np.float32], box: NDArray[np.int64], size: int) -> bool:
    """Tell whether the largest value of a map ``"height width"`` over a picture of `size` pixels lies in the box, by its cell's middle."""
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    down, across = (row + 0.5) * size / values.shape[0], (column + 0.5) * size / values.shape[1]
    top, left, bottom, right = box
    return bool(top <= down < bottom and left <= across < right)
