"""One contestant's answers, lined up with the manifest: one row for each picture, and the same rows for everyone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import DataProblem, plain
from fieldguide.records import Manifest, ManifestRow, Prediction

#: Stands in `AnswerSheet.answer` where there is no usable answer; it equals no class, so it is wrong everywhere.
NO_ANSWER = -1
MISSING = "no answer"
OFF_LIST = "answer off the list"
#: Probabilities whose sum is this near to one (rounding in a file, bf16) are scaled to one; beyond it they are none.
_SUM_TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class AnswerSheet:
    """What `run` answered, in manifest order.

    `truth` and `answer` are class positions, ``"pictures"`` int64; `answer` is -1 where there is no usable answer, and then
    `errors` says why. `probabilities` is ``"pictures classes"`` float64 whose rows sum to one; a row is NaN where the picture
    has none, and the whole is `None` where no picture has any. `classes` are the ids the positions stand for.
    """

    run: str
    keys: tuple[str, ...]
    truth: NDArray[np.int64]
    answer: NDArray[np.int64]
    probabilities: NDArray[np.float64] | None
    errors: tuple[str | None, ...]
    classes: tuple[str, ...]

    @property
    def n(self) -> int:
        """Number of pictures: the denominator, failures included."""
        return len(self.keys)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which pictures were answered correctly, ``"pictures"``; a failure is wrong."""
        right: NDArray[np.bool_] = self.answer == self.truth
        return right

    @property
    def correct(self) -> int:
        """Number of pictures answered correctly."""
        return int(self.right.sum())

    @property
    def accuracy(self) -> float:
        """Share of all pictures answered correctly."""
        return self.correct / self.n


def scored_parts(run: str, manifest: Manifest) -> tuple[Sequence[ManifestRow], Sequence[ManifestRow]]:
    """Return the rows of the test part and of the validation part; raises `DataProblem` where there is nothing to test `run` on."""
    test = manifest.part("test")
    if not test:
        raise DataProblem(
            f"The manifest has no test pictures to score {plain(run)} on.",
            "A score needs pictures that no contestant has learnt from.",
            "Make a new study whose split leaves a test part.",
        )
    return test, manifest.part("val")


def sheet(run: str, predictions: Iterable[Prediction], rows: Sequence[ManifestRow], classes: Sequence[str]) -> AnswerSheet:
    """Line `predictions` up with the manifest's `rows`; predictions for other pictures are left aside.

    A picture without a prediction counts as "no answer", a label outside `classes` as "answer off the list", and a prediction
    that carries an error counts as a failure whatever else it carries. Raises `DataProblem` where a picture was answered
    twice or where probabilities are not one for each class.
    """
    wanted = {row.key for row in rows}
    answered: dict[str, Prediction] = {}
    for prediction in predictions:
        if prediction.image not in wanted:
            continue
        if prediction.image in answered:
            raise DataProblem(
                f"{plain(run)} answered the picture {plain(prediction.image)} twice.",
                "A contestant gives one answer for each picture; which of two would count is not for the score to decide.",
                "Remove the second row from the answers, or delete the run's predictions.parquet and run the comparison again.",
            )
        answered[prediction.image] = prediction

    position = {label: index for index, label in enumerate(classes)}
    answer = np.full(len(rows), NO_ANSWER, dtype=np.int64)
    given: dict[int, Sequence[float]] = {}
    errors: list[str | None] = []
    for index, row in enumerate(rows):
        found = answered.get(row.key)
        error = _failure(found, position)
        errors.append(error)
        if found is not None and found.label is not None and error is None:
            answer[index] = position[found.label]
            if found.probabilities is not None:
                given[index] = found.probabilities
    probabilities = _probabilities(run, given, (len(rows), len(classes)))
    truth = np.array([position[row.label] for row in rows], dtype=np.int64)
    known = probabilities if bool(np.isfinite(probabilities).any()) else None
    return AnswerSheet(run, tuple(row.key for row in rows), truth, answer, known, tuple(errors), tuple(classes))


def _failure(prediction: Prediction | None, position: dict[str, int]) -> str | None:
    if prediction is None:
        return MISSING
    if prediction.error is not None:
        return prediction.error
    if prediction.label is None:
        return MISSING
    return None if prediction.label in position else OFF_LIST


def _probabilities(run: str, given: dict[int, Sequence[float]], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return rows that sum to one; NaN where none was given, or what was (NaN of a diverged network, logits) is no distribution."""
    pictures, classes = shape
    wrong = next((row for row in given.values() if len(row) != classes), None)
    if wrong is not None:
        raise DataProblem(
            f"{plain(run)} gives {len(wrong)} probabilities for a picture; the manifest has {classes} classes.",
            "One probability for each class of the manifest, in its order.",
            "Check that the answers belong to this study's class list, or leave the probabilities out.",
        )
    probabilities = np.full((pictures, classes), np.nan)
    if given:
        rows = np.array(list(given.values()), dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # logits and infinities sum to anything
            total = rows.sum(axis=1)
            usable = np.isfinite(rows).all(axis=1) & (rows >= 0).all(axis=1) & (np.abs(total - 1) <= _SUM_TOLERANCE)
        probabilities[np.array(list(given))[usable]] = rows[usable] / total[usable, None]
    return probabilities
