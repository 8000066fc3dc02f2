"""Checks of single pictures, and of what their files give away."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.checks.finding import SHOWN, Facts, Told, counted, outcome
from fieldguide.data.images import MOST_ASPECT
from fieldguide.records import ManifestRow

#: Shorter side, in pixels, under which a picture is called tiny.
TINY = 32
#: Standard deviation of all values of a small copy, in levels of 255, under which a picture is called blank.
BLANK = 3.0
#: Pictures a class needs, and balanced accuracy above chance, for file facts to be judged and to be called a give-away.
_EACH, _ABOVE = 10, 0.25
_CUTS = np.linspace(0.1, 0.9, 9)


def tiny(facts: Facts) -> Told:
    """Find pictures whose shorter side has fewer than 32 pixels.

    Networks made for 224 pixels see them blurred, and near duplicates cannot be told among them.

    Use larger originals where there are some; nothing is excluded.
    """
    small = [f"{row.path}: {row.width} x {row.height}" for row in facts.usable if min(_sides(row)) < TINY]
    detail = f"Their shorter side has fewer than {TINY} pixels; networks made for 224 see them blurred."
    return outcome(small, detail, f"Every picture has at least {TINY} pixels on its shorter side.")


def blank(facts: Facts) -> Told:
    """Find pictures of a single colour or nearly so: all black, all white, a lens cap.

    There is nothing to learn from them and nothing to recognise. A class that consists of them is named: what a model learns
    of it is "no picture", not the class.

    Delete them, unless an empty picture is what the class is about. Nothing is excluded.
    """
    seen = [(row, look) for row, look in zip(facts.rows, facts.looks, strict=True) if row.excluded is None]
    flat = [row for row, look in seen if look.spread is not None and look.spread < BLANK]
    whole = [label for label, count in facts.counts.items() if label and 0 < count == sum(row.label == label for row in flat)]
    detail = f"Their values spread by less than {BLANK:.0f} of 255 levels."
    if whole:
        detail += f" Classes with no other pictures: {', '.join(sorted(whole)[:3])}."
    return outcome([row.path for row in flat], detail, "Every picture shows something.")


def extreme(facts: Facts) -> Told:
    """Find pictures more than four times as long as wide, or as wide as long.

    A network sees a square of them: most of such a picture is cut away or squeezed together.

    Cut them into pieces if the object is small, or accept it. Nothing is excluded.
    """
    long = [
        f"{row.path}: {row.width} x {row.height}" for row in facts.usable if max(_sides(row)) > MOST_ASPECT * min(_sides(row))
    ]
    detail = f"More than {MOST_ASPECT} times as long as wide, or as wide as long; a network sees a square of them."
    return outcome(long, detail, f"No picture is more than {MOST_ASPECT} times as long as wide.")


def giveaways(facts: Facts) -> Told:
    """Ask whether width, height, format and bytes a pixel alone tell the classes apart, without any look at the picture.

    Naive Bayes on them is cross-validated. Where it does well, the classes were collected in different ways
    (another camera, another web site, another export), and a network may learn the way instead of the class: sharpness, compression
    and framing survive every resize.

    Compare with the scores of ``linear/colour``, collect the classes the same way, or test on pictures from elsewhere.
    """
    rows = [row for row in facts.usable if facts.counts[row.label] >= _EACH]
    labels = sorted({row.label for row in rows})
    if not facts.labelled or len(labels) < 2:
        return Told("not applicable", f"It takes two classes of at least {_EACH} pictures.")
    table = np.array([_file_facts(row) for row in rows])
    if (table == table[0]).all():
        return Told("fine", "All files have the same size and format.")
    share = _guessed(table, np.array([labels.index(row.label) for row in rows]))
    chance = 1 / len(labels)
    detail = f"Size, format and bytes alone tell {share:.0%} of the pictures right (balanced; chance is {chance:.0%})."
    if share < chance + _ABOVE * (1 - chance):
        return Told("fine", detail)
    formats = tuple(f"{label}: {counted([str(row.format) for row in rows if row.label == label])}" for label in labels[:SHOWN])
    return Told("found", detail, len(rows), formats if len({row.format for row in rows}) > 1 else ())


def _sides(row: ManifestRow) -> tuple[int, int]:
    return row.width or TINY, row.height or TINY


def _file_facts(row: ManifestRow) -> list[float]:
    width, height = _sides(row)
    format = sum(ord(letter) << (8 * at) for at, letter in enumerate((row.format or "")[:4]))
    return [width, height, width / height, (row.bytes or 0) / (width * height), float(format)]


def _guessed(table: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the balanced accuracy, in 0..1, of naive Bayes on the `table` ``"pictures facts"`` in 3-fold cross-validation.

    Each fact is cut at its deciles. Own few lines, because a library of models takes seconds to import.
    """
    classes = int(labels.max()) + 1
    bins = np.stack([np.searchsorted(np.unique(np.quantile(fact, _CUTS)), fact, side="right") for fact in table.T], axis=1)
    turn = np.empty(len(labels), dtype=np.int64)
    for label in range(classes):
        turn[labels == label] = np.arange((labels == label).sum()) % 3
    recalls = np.zeros(classes)
    for fold in range(3):
        learn, ask = turn != fold, np.flatnonzero(turn == fold)
        score = np.zeros((len(ask), classes))
        for fact in bins.T:
            counts = np.ones((classes, len(_CUTS) + 1))
            np.add.at(counts, (labels[learn], fact[learn]), 1)
            score += np.log(counts / counts.sum(axis=1, keepdims=True))[:, fact[ask]].T
        recalls += np.bincount(labels[ask][score.argmax(axis=1) == labels[ask]], minlength=classes)
    return float((recalls / np.bincount(labels, minlength=classes)).mean())
