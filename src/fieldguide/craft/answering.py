"""From class probabilities to predictions, the same way for every local network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fieldguide.data.batches import Preprocessing, evaluation_batches
from fieldguide.records import Image, Prediction


def answer(
    images: Iterable[Image],
    preprocessing: Preprocessing,
    batch_size: int,
    ids: Sequence[str],
    probabilities: Callable[[Tensor], NDArray[np.float64]],
) -> Iterator[Prediction]:
    """Yield one prediction for each image, in order.

    `probabilities` maps ``"pictures 3 size size"`` to ``"pictures classes"``, rows summing to one. A picture that cannot be
    read, or whose probabilities are not finite, becomes a row with `error`.
    """
    batches = evaluation_batches(images, preprocessing, batch_size)
    while True:
        start = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        table = probabilities(batch.pixels) if batch.images else np.zeros((0, len(ids)))
        seconds = (time.perf_counter() - start) / (len(batch.images) + len(batch.failed))
        rows = {image.key: row for image, row in zip(batch.images, table, strict=True)}
        errors = {image.key: str(error) for image, error in batch.failed}
        for key in batch.order:
            if key in errors:
                yield Prediction(key, seconds=seconds, error=errors[key])
            elif not np.isfinite(rows[key]).all():
                yield Prediction(key, seconds=seconds, error="not a number: the network's output is not finite")
            else:
                row = rows[key]
                yield Prediction(key, ids[int(row.argmax())], tuple(float(p) for p in row), seconds=seconds)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities of float64 ``"pictures classes"`` logits; rows sum to one to rounding."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
