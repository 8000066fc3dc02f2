"""From class probabilities, or counts, to predictions, the same way for every local network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fieldguide.data.batches import Preprocessing, evaluation_batches
from fieldguide.errors import PictureError
from fieldguide.records import Image, Prediction
from fieldguide.tasks.count import MOST

if TYPE_CHECKING:
    from fieldguide.craft.encoders import Sees
    from fieldguide.craft.features import Features

#: Pictures whose features are asked for at a time.
_KEPT = 512
Rows = Callable[[NDArray[np.float32]], NDArray[np.float64]]


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
    for key, row, seconds, error in _rows(images, preprocessing, batch_size, len(ids), probabilities):
        if row is None:
            yield Prediction(key, seconds=seconds, error=error)
        else:
            yield Prediction(key, ids[int(row.argmax())], tuple(float(p) for p in row), seconds=seconds)


def answer_counts(
    images: Iterable[Image],
    preprocessing: Preprocessing,
    batch_size: int,
    ids: Sequence[str],
    counts: Callable[[Tensor], NDArray[np.float64]],
) -> Iterator[Prediction]:
    """Yield one prediction for each image, in order, with a whole count for each class: the nearest to what `counts` says, 0 at least.

    `counts` maps ``"pictures 3 size size"`` to ``"pictures classes"``. Failures are rows as in `answer`.
    """
    for key, row, seconds, error in _rows(images, preprocessing, batch_size, len(ids), counts):
        if row is None:
            yield Prediction(key, seconds=seconds, error=error)
        else:
            told = {id: int(count) for id, count in zip(ids, whole(row), strict=True)}
            yield Prediction(key, counts=told, seconds=seconds)


def whole(counts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the nearest whole counts; a half goes up, and nothing goes below 0."""
    rounded: NDArray[np.int64] = np.clip(np.floor(counts + 0.5), 0, MOST).astype(np.int64)
    return rounded


def _rows(
    images: Iterable[Image],
    preprocessing: Preprocessing,
    batch_size: int,
    width: int,
    numbers: Callable[[Tensor], NDArray[np.float64]],
) -> Iterator[tuple[str, NDArray[np.float64] | None, float, str | None]]:
    """Yield (content hash, numbers of `width`, seconds, error) of each image, in order; without numbers there is an error."""
    batches = evaluation_batches(images, preprocessing, batch_size)
    while True:
        start = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        table = numbers(batch.pixels) if batch.images else np.zeros((0, width))
        seconds = (time.perf_counter() - start) / (len(batch.images) + len(batch.failed))
        rows = {image.key: row for image, row in zip(batch.images, table, strict=True)}
        errors = {image.key: str(error) for image, error in batch.failed}
        for key in batch.order:
            if key in errors:
                yield key, None, seconds, errors[key]
            elif not np.isfinite(rows[key]).all():
                yield key, None, seconds, "not a number: the network's output is not finite"
            else:
                yield key, rows[key], seconds, None


def answer_kept(
    images: Iterable[Image],
    sees: Sees,
    features: Features | None,
    ids: Sequence[str],
    probabilities: Rows,
    batch_size: int = 64,
) -> Iterator[Prediction]:
    """Yield what `answer` yields for an encoder whose features are kept: a picture that was looked at before is not looked at again.

    `probabilities` maps ``"pictures features"`` to ``"pictures classes"``. `seconds` are those of the look that was kept, so that a
    contestant does not seem quick because another one came first. Without `features`, or where a picture cannot be read, all is fresh.
    """

    def fresh(some: Iterable[Image]) -> Iterator[Prediction]:
        def seen(pixels: Tensor) -> NDArray[np.float64]:
            return probabilities(sees.pictures(pixels).numpy())

        return answer(some, sees.preprocessing, batch_size, ids, seen)

    if features is None:
        yield from fresh(images)
        return
    stream = iter(images)
    while some := list(islice(stream, _KEPT)):
        try:
            rows, looking = features.timed(sees, some)
        except PictureError:
            yield from fresh(some)
            continue
        start = time.perf_counter()
        table = probabilities(rows)
        own = (time.perf_counter() - start) / len(some)
        for image, row, seconds in zip(some, table, looking, strict=True):
            yield Prediction(image.key, ids[int(row.argmax())], tuple(float(p) for p in row), seconds=float(seconds) + own)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities of float64 ``"pictures classes"`` logits; rows sum to one to rounding."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
