"""Scores of a contestant that counts: exact answers, how far the others are off, which way, and what they are worth.

A picture without a usable answer is wrong in every share. Of errors in numbers it has none: those are means over the pictures that were
answered, and their `n` says over how many. No number is put in the place of an answer that could not be read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import DataProblem, plain
from fieldguide.evaluate.answers import MISSING, scored_parts
from fieldguide.evaluate.intervals import SEED, Interval, in_blocks, wilson
from fieldguide.records import SCHEMA_VERSION, Manifest, ManifestRow, Prediction, Score
from fieldguide.tasks.count_reading import kind_of

#: What makes an answer exact: the same counts, or the same text to the letter, which only answers in words can be held to.
Exact = Literal["counts", "text"]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
OFF_LIST = "a count of no class of the study"
#: Says the right answer of a picture as text, from its counts by class id.
Say = Callable[[Mapping[str, int]], str]


@dataclass(frozen=True, eq=False)
class CountSheet:
    """What `run` counted, in manifest order.

    `truth` and `answer` are ``"pictures classes"`` int64; `answered` ``"pictures"`` says where there is an answer, and where there is
    none `answer` is 0 and `errors` says why. `same_text` ``"pictures"`` is whether the text is the right one to the letter; `None` for a
    contestant that answers in no words. `exact` says which of the two is called right.
    """

    run: str
    keys: tuple[str, ...]
    classes: tuple[str, ...]
    truth: Ints
    answer: Ints
    answered: Bools
    errors: tuple[str | None, ...]
    same_text: Bools | None = None
    exact: Exact = "counts"

    @property
    def n(self) -> int:
        """Number of pictures: the denominator of every share, failures included."""
        return len(self.keys)

    @property
    def same_counts(self) -> Bools:
        """Which pictures were answered with the right count of every class, ``"pictures"``."""
        same: Bools = self.answered & (self.truth == self.answer).all(axis=1)
        return same

    @property
    def right(self) -> Bools:
        """Which pictures count as right, ``"pictures"``; what answers in no words is right where its counts are."""
        return self.same_text if self.exact == "text" and self.same_text is not None else self.same_counts

    @property
    def correct(self) -> int:
        """Number of pictures that count as right."""
        return int(self.right.sum())

    @property
    def accuracy(self) -> float:
        """Share of all pictures that count as right."""
        return self.correct / self.n

    @property
    def off(self) -> NDArray[np.float64]:
        """Mean absolute error of a count in each picture, ``"pictures"``; NaN where there is no answer."""
        each = np.abs(self.answer - self.truth).mean(axis=1)
        return np.where(self.answered, each, np.nan)


def count_sheet(
    run: str,
    predictions: Iterable[Prediction],
    rows: Sequence[ManifestRow],
    classes: Sequence[str],
    say: Say | None = None,
    exact: Exact = "counts",
) -> CountSheet:
    """Line up what `run` counted with `rows`; `say` writes the right answer of those that answer in words.

    Raises `DataProblem` where a picture was answered twice.
    """
    known: dict[str, Prediction] = {}
    for prediction in predictions:
        if known.setdefault(prediction.image, prediction) is not prediction:
            raise DataProblem(
                f"{plain(run)} answers twice for the picture {prediction.image[:12]}.",
                "One answer for each picture.",
                "Delete its predictions.parquet and run the same `fieldguide compare` again.",
            )
    place = {id: at for at, id in enumerate(classes)}
    truth, answer = np.zeros((len(rows), len(classes)), np.int64), np.zeros((len(rows), len(classes)), np.int64)
    answered = np.zeros(len(rows), bool)
    errors: list[str | None] = []
    for at, row in enumerate(rows):
        for label, count in row.counts or ():
            truth[at, place[label]] = count
        given = known.get(row.key)
        error = _failure(given, place)
        errors.append(error)
        if given is not None and given.counts is not None and error is None:
            answered[at] = True
            for label, count in given.counts.items():
                answer[at, place[label]] = count
    words = [known[row.key].raw if row.key in known else None for row in rows]
    same_text = None
    if say is not None and any(text is not None for text in words):
        right = (say(dict(row.counts or ())) for row in rows)
        same_text = np.array([text == told for text, told in zip(words, right, strict=True)], bool)
    keys = tuple(row.key for row in rows)
    return CountSheet(run, keys, tuple(classes), truth, answer, answered, tuple(errors), same_text, exact)


def _failure(given: Prediction | None, place: Mapping[str, int]) -> str | None:
    if given is None:
        return MISSING
    if given.error is not None:
        return given.error
    if given.counts is None:
        return MISSING
    return None if all(label in place for label in given.counts) else OFF_LIST


def score_counts(sheet: CountSheet, worth: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Return one part of ``scores.json`` of a study of counts: counts of pictures, metrics with intervals, a row a class.

    `worth` is what one of each class is worth, by id, in one unit; the error of the total value needs it for every class. Totals of
    metrics: ``exact`` is the headline, ``exact_counts`` and ``exact_text`` its two meanings, ``parsed`` the share with a usable answer.
    """
    failures = Counter(error for error in sheet.errors if error is not None)
    kinds = Counter(kind_of(error) for error in sheet.errors if error is not None)
    off = (sheet.answer - sheet.truth)[sheet.answered]
    metrics = {
        "exact": _share(sheet.right),
        "exact_counts": _share(sheet.same_counts),
        "exact_text": Score.absent("it answers in no words") if sheet.same_text is None else _share(sheet.same_text),
        "parsed": _share(sheet.answered),
        "mae": _mean(np.abs(off).mean(axis=1)),
        "bias": _mean(off.mean(axis=1)),
        "total_mae": _mean(np.abs(off.sum(axis=1))),
        "total_bias": _mean(off.sum(axis=1)),
        **_value(off, sheet.classes, worth or {}),
    }
    return {
        "n": sheet.n,
        "correct": sheet.correct,
        "failed": sum(failures.values()),
        "failures": _most_first(failures),
        "kinds": _most_first(kinds),
        "exact_is": sheet.exact,
        "metrics": {name: asdict(score) for name, score in metrics.items()},
        "per_class": [_of_class(sheet, at) for at in range(len(sheet.classes))],
    }


def _value(off: Ints, classes: Sequence[str], worth: Mapping[str, float]) -> dict[str, Score]:
    lacking = [name for name in classes if name not in worth]
    if lacking:
        why = "no values are given" if len(lacking) == len(classes) else f"no value is given for {plain(lacking[0], 60)}"
        return {"value_mae": Score.absent(why), "value_bias": Score.absent(why)}
    each = off @ np.array([worth[name] for name in classes], float)
    return {"value_mae": _mean(np.abs(each)), "value_bias": _mean(each)}


def _of_class(sheet: CountSheet, at: int) -> dict[str, Any]:
    truth, answer = sheet.truth[:, at], sheet.answer[:, at]
    off = (answer - truth)[sheet.answered]
    shown = truth > 0
    scores = {
        "exact": _share(sheet.answered & (truth == answer)),
        "exact_where_shown": _share((sheet.answered & (truth == answer))[shown], "no picture shows it"),
        "mae": _mean(np.abs(off)),
        "bias": _mean(off),
    }
    told = {"id": sheet.classes[at], "n": sheet.n, "pictures": int(shown.sum()), "things": int(truth.sum())}
    return {**told, "counted": int(answer[sheet.answered].sum()), **{name: asdict(score) for name, score in scores.items()}}


def _share(right: Bools, otherwise: str = "no pictures") -> Score:
    n, count = len(right), int(right.sum())
    return Score(count / n, *wilson(count, n), n) if n else Score.absent(otherwise)


def _mean(values: NDArray[Any]) -> Score:
    """Return the mean with its bootstrap interval over pictures; with one picture there is none."""
    if not len(values):
        return Score.absent("no picture has a usable answer")
    floats = values.astype(float)
    low, high = few_interval(floats) if len(floats) > 1 else (None, None)
    return Score(float(floats.mean()), low, high, len(floats))


def few_interval(values: NDArray[np.float64]) -> Interval:
    """Return the percentile bootstrap interval of the mean of `values`, ``"pictures"``, of which there are few different ones.

    Resampling pictures is a multinomial draw of how many have each value: the same as drawing pictures, and with whole errors of many
    classes a hundred times as quick.
    """
    different, counts = np.unique(np.round(values, 12), return_counts=True)
    random = np.random.default_rng(SEED)

    def means(size: int) -> NDArray[np.float64]:
        drawn: NDArray[np.float64] = random.multinomial(len(values), counts / len(values), size=size) @ different / len(values)
        return drawn

    low, high = np.quantile(in_blocks(means, len(different)), (0.025, 0.975))
    mean = float(values.mean())
    return min(float(low), mean), max(float(high), mean)


def _most_first(counted: Mapping[Any, int]) -> dict[str, int]:
    return dict(sorted(((str(name), count) for name, count in counted.items()), key=lambda item: (-item[1], item[0])))


def score_count_run(
    run: str,
    predictions: Iterable[Prediction],
    manifest: Manifest,
    *,
    worth: Mapping[str, float] | None = None,
    say: Say | None = None,
    exact: Exact = "counts",
) -> dict[str, Any]:
    """Return the content of ``scores.json``: a validation part and a test part; the first is `None` where it has no answers."""
    answers = list(predictions)
    test, val = scored_parts(run, manifest)
    answered = {prediction.image for prediction in answers}
    sheets = {
        name: count_sheet(run, answers, rows, manifest.classes, say, exact) for name, rows in (("val", val), ("test", test))
    }
    parts = {
        "val": score_counts(sheets["val"], worth) if any(row.key in answered for row in val) else None,
        "test": score_counts(sheets["test"], worth),
    }
    return {"schema": SCHEMA_VERSION, "run": run, "task": "count", "parts": parts}
