"""Softmax heads of many cells, trained side by side: one tensor of weights, one step for all.

One fully connected layer on frozen features with cross-entropy, each cell with its own draws of rows, learning rate and decay. The
cells of a stack know nothing of each other: a cell in a stack is the same as the cell alone, up to rounding. Gradients are
written by hand (softmax less one-hot, times features), and so is AdamW (I. Loshchilov and F. Hutter, ICLR 2019), because its
rate and decay differ within one tensor.

Features are centred and divided by one number, so that a coordinate of a training picture has variance 1 on average; on features of
unit length the same steps would stop long before an optimum.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fieldguide.craft.ratios import Bed, Mixture, Rows, Scored

#: Cells in one stack: a few share the work of the cores and still fit their caches; more are slower on a CPU.
STACK = 4
RATES, DECAYS = (0.003, 0.01, 0.03), (0.01, 0.3)
_BETA1, _BETA2, _TINY = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Recipe:
    """How a head is trained: `steps` of `batch` rows, learning `rate` falling along a cosine to 0, decoupled `decay`."""

    steps: int = 300
    batch: int = 256
    rate: float = 0.01
    decay: float = 0.01

    def __str__(self) -> str:
        return (
            f"{self.steps} steps of {self.batch} rows, AdamW, learning rate {self.rate:g} (cosine to 0), decay {self.decay:g}"
        )


_USUAL = Recipe()


@dataclass(frozen=True)
class _Table:
    """All rows that any cell draws from, pictures before texts: `features` ``"rows features"`` float32, `labels` ``"rows"``."""

    features: Tensor
    labels: Tensor
    centre: np.ndarray
    scale: float

    def brought(self, features: np.ndarray) -> Tensor:
        """Return other rows on the same footing."""
        return torch.from_numpy(((features - self.centre) / self.scale).astype(np.float32))


def _table(bed: Bed, texts: Rows | None) -> _Table:
    centre = bed.train.features.mean(axis=0)
    scale = float(np.sqrt(bed.train.features.var(axis=0).mean())) or 1.0
    rows = [bed.train] if texts is None else [bed.train, texts]
    features = np.concatenate([((one.features - centre) / scale).astype(np.float32) for one in rows])
    labels = np.concatenate([one.labels for one in rows])
    return _Table(torch.from_numpy(features), torch.from_numpy(labels), centre, scale)


def stacked(
    bed: Bed,
    cells: Sequence[Mixture],
    texts: Rows | None,
    seed: int,
    recipes: Sequence[Recipe],
    tick: Callable[[], None] = lambda: None,
    size: int = STACK,
) -> list[Scored]:
    """Return every cell, trained as its recipe says (their steps and batches are the same); `tick` is called once for each."""
    table = _table(bed, texts)
    val, test = table.brought(bed.val.features), table.brought(bed.test.features)
    found = []
    for start in range(0, len(cells), size):
        part, how = cells[start : start + size], recipes[start : start + size]
        weights, biases = _trained(table, [_draws(cell, seed, how[0]) for cell in part], how, bed.classes)
        for cell, weight, bias, recipe in zip(part, weights, biases, how, strict=True):
            accuracy = float((torch.addmm(bias, val, weight).argmax(1).numpy() == bed.val.labels).mean())
            right = torch.addmm(bias, test, weight).argmax(1).numpy() == bed.test.labels
            found.append(cell.scored(bed, accuracy, right, recipe.rate))
            tick()
    return found


def _draws(cell: Mixture, seed: int, recipe: Recipe) -> Tensor:
    """Return the rows of the table for each step, ``"steps batch"``, with replacement, each as often as it counts."""
    summed = np.concatenate([cell.mask.astype(np.float64), cell.counted]).cumsum()
    key = (seed, round(cell.share * 1e6), "pmw".index(cell.curve[0]), round((cell.weight or 0.0) * 1e6))
    at = np.random.default_rng(key).random((recipe.steps, recipe.batch)) * summed[-1]
    return torch.from_numpy(np.searchsorted(summed, at, side="right").clip(max=len(summed) - 1))


def _trained(table: _Table, draws: Sequence[Tensor], recipes: Sequence[Recipe], classes: int) -> tuple[Tensor, Tensor]:
    """Return weights ``"cells features classes"`` and biases ``"cells 1 classes"``, which begin at zero."""
    many, width, steps = len(draws), table.features.shape[1], recipes[0].steps
    weights, bias = torch.zeros(many, width, classes), torch.zeros(many, 1, classes)
    moments = [[torch.zeros_like(one), torch.zeros_like(one)] for one in (weights, bias)]
    gradient = torch.empty_like(weights)
    rates = torch.tensor([recipe.rate for recipe in recipes])[:, None, None]
    decays = torch.tensor([recipe.decay for recipe in recipes])[:, None, None]
    for step in range(steps):
        at = torch.stack([draw[step] for draw in draws])
        rows, labels = table.features[at], table.labels[at][:, :, None]
        errors = torch.baddbmm(bias, rows, weights).softmax(dim=2)
        errors.scatter_add_(2, labels, torch.full(labels.shape, -1.0)).div_(at.shape[1])
        torch.bmm(rows.transpose(1, 2), errors, out=gradient)
        rate = rates * (0.5 + 0.5 * float(np.cos(np.pi * step / steps)))
        weights.mul_(1 - rate * decays)
        _adam(weights, gradient, moments[0], rate, step)
        _adam(bias, errors.sum(dim=1, keepdim=True), moments[1], rate, step)
    return weights, bias


def _adam(values: Tensor, gradient: Tensor, moments: list[Tensor], rate: Tensor, step: int) -> None:
    first, second = moments
    first.lerp_(gradient, 1 - _BETA1)
    second.mul_(_BETA2).addcmul_(gradient, gradient, value=1 - _BETA2)
    root = second.sqrt().mul_(1 / float(np.sqrt(1 - _BETA2 ** (step + 1)))).add_(_TINY)
    values.sub_((first / root).mul_(rate / (1 - _BETA1 ** (step + 1))))


def tuned(
    bed: Bed, cells: Sequence[Mixture], seed: int, recipe: Recipe, tick: Callable[[], None] = lambda: None
) -> tuple[Recipe, list[Scored]]:
    """Try every rate and decay on `cells`, pictures alone, and return the preferred one with all that was tried."""
    tried = _grid(recipe)
    scored = stacked(bed, list(cells) * len(tried), None, seed, [one for one in tried for _ in cells], tick)
    return preferred(scored, len(cells), recipe), scored


def preferred(scored: Sequence[Scored], cells: int, recipe: Recipe = _USUAL) -> Recipe:
    """Return the rate and decay whose heads were best on validation on average over the `cells`, from what `tuned` tried; first of equals."""
    means = np.array([one.val_accuracy for one in scored]).reshape(-1, cells).mean(axis=1)
    return _grid(recipe)[int(np.argmax(means))]


def _grid(recipe: Recipe) -> list[Recipe]:
    return [replace(recipe, rate=rate, decay=decay) for rate, decay in itertools.product(RATES, DECAYS)]
