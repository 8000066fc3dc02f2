"""Linear heads on features by name, and the one that validation pictures like best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fieldguide.bench import Bench
from fieldguide.craft import heads, probes
from fieldguide.craft.heads import Array, Head

Kind = Literal["linear", "logistic", "ridge", "gda"]
Labelled = tuple[NDArray[np.floating], NDArray[np.int64]]

#: What is tried for each head where nothing is asked for; the first of them stands where there are no validation pictures.
TRIED: dict[str, tuple[float, ...]] = {
    "ridge": (0.1, 0.01, 0.001, 1.0, 10.0),
    "gda": (0.5, 0.1, 0.03, 0.9, 1.0),
    "logistic": (0.01, 0.001, 0.1, 1.0),
    "linear": (0.01, 0.1, 1.0, 10.0),
}


def every(kind: str, rows: Array, labels: NDArray[np.int64], classes: int, strengths: Sequence[float]) -> Iterator[Head]:
    """Yield one head for each strength: penalties of ridge, shrinkages of gda, inverse penalties of logistic, decays of linear."""
    if kind == "logistic":
        yield from (probes.logistic(rows, labels, classes, strength) for strength in strengths)
    elif kind == "linear":
        yield from probes.softmax_layers(rows, labels, classes, strengths)
    else:
        closed = heads.ridge if kind == "ridge" else heads.gda
        yield from closed(heads.sums(rows, labels, classes), strengths)


def best(kind: str, train: Labelled, val: Labelled, classes: int, strengths: Sequence[float], bench: Bench) -> Head:
    """Return the head of the strength that has most validation pictures right, the earlier of equals; rows are normalised.

    What each one came to is logged.
    """
    most, kept, chosen = -1.0, None, strengths[0]
    with bench.progress.bar("fit", len(strengths)) as bar:
        for strength, head in zip(
            strengths, every(kind, np.asarray(train[0], np.float64), train[1], classes, strengths), strict=True
        ):
            right = heads.accuracy(head(np.asarray(val[0], np.float64)), val[1]) if len(val[1]) else None
            bench.log("strength", strength=strength, val_accuracy=right)
            if kept is None or (right or 0.0) > most:
                most, kept, chosen = right or 0.0, head, strength
            bar.advance(note=f"{kind} {strength:g}")
    assert kept is not None
    bench.fact(strength=chosen)
    return kept
