"""What one contestant's answers in words come to under every reading of the same texts: how much was format, how much recognition.

Nothing is asked again. A reading that labels more is no better model: it is the same answers, taken less strictly.

Experiment E1b of the reference experiments counts (A) exactly the right name: right; (B) another animal: wrong; (C) anything beyond a name:
wrong. Its accuracy counts A, B and C; its filtered accuracy A and B alone, and it does not say whether names off the list and empty answers
are among them. Both are shown: of the answers that are a name of the list, and of those that are any bare name.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fieldguide.errors import plain
from fieldguide.evaluate.answers import AnswerSheet, sheet
from fieldguide.evaluate.intervals import class_metrics, share
from fieldguide.evaluate.metrics import confusion_of
from fieldguide.records import SCHEMA_VERSION, Manifest, ManifestRow, Prediction
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.reading import KINDS, LASTING, READINGS, Read, Reading, is_name, kind_of, read

#: Characters of an answer that is shown, examples of a kind, and labels that take the most wrong answers.
MOST_SHOWN, EXAMPLES, LEANING = 300, 5, 5
LISTED = "answers that are a name of the list, letter for letter, and nothing else"
ANY_NAME = "answers that are a bare name, on the list or off it; empty ones, sentences and refusals are out"


def in_words(predictions: Iterable[Prediction]) -> bool:
    """Tell whether any answer is a text."""
    return any(prediction.raw is not None for prediction in predictions)


def told(
    run: str, predictions: Sequence[Prediction], manifest: Manifest, task: Classify, headline: Reading = "strict"
) -> dict[str, Any]:
    """Return the content of ``readings.json`` for one run whose answers are texts.

    `headline` is the reading under which kinds of errors and the share of format are counted. The validation part is there where any of its
    pictures has an answer.
    """
    again, parts = reader(task), {}
    given = {prediction.image: prediction for prediction in predictions}
    for part in ("test", "val"):
        rows = manifest.part("test" if part == "test" else "val")
        if rows and (part == "test" or any(row.key in given for row in rows)):
            parts[part] = _part(run, [given.get(row.key) for row in rows], rows, task, headline, again)
    return {"schema": SCHEMA_VERSION, "run": run, "headline": headline, "parts": parts}


def reader(task: Classify) -> Callable[[Prediction | None, Reading], Read]:
    """Return what reads a stored answer again. Failures stay what they were; texts that were read before are not read twice."""
    known: dict[tuple[str, str], Read] = {}

    def again(prediction: Prediction | None, reading: Reading) -> Read:
        kind = "no answer" if prediction is None else kind_of(prediction.error)
        if prediction is None or kind in LASTING:
            return Read(None, kind)
        if prediction.raw is None or (kind == "refusal" and not prediction.raw.strip()):
            return Read(prediction.label, None if prediction.label is not None else kind or "no answer")
        key = (reading, prediction.raw)
        if key not in known:
            known[key] = read(prediction.raw, task, reading)
        return known[key]

    return again


def sheets(
    run: str, predictions: Iterable[Prediction], rows: Sequence[ManifestRow], task: Classify, readings: Sequence[Reading]
) -> dict[Reading, AnswerSheet]:
    """Return the same stored texts under each of `readings`, lined up with `rows`."""
    again, given = reader(task), {prediction.image: prediction for prediction in predictions}
    return {reading: _sheet(run, [again(given.get(row.key), reading) for row in rows], rows, task) for reading in readings}


def _part(
    run: str,
    given: Sequence[Prediction | None],
    rows: Sequence[ManifestRow],
    task: Classify,
    headline: Reading,
    again: Callable[[Prediction | None, Reading], Read],
) -> dict[str, Any]:
    each = [[again(prediction, reading) for reading in READINGS] for prediction in given]  # all readings of one text together
    reads = {reading: [found[at] for found in each] for at, reading in enumerate(READINGS)}
    sheets = {reading: _sheet(run, found, rows, task) for reading, found in reads.items()}
    own, labelled = sheets[headline], int((sheets[headline].answer >= 0).sum())
    scored = [prediction for prediction in given if prediction is not None]
    kept = sheet(run, [dataclasses.replace(one, probabilities=None) for one in scored], rows, task.ids)
    return {
        "n": len(rows),
        "readings": [{"id": reading, **_counted(found)} for reading, found in sheets.items()],
        "scored": {"right": kept.correct, "labelled": int((kept.answer >= 0).sum())},
        "filtered": _filtered(given, reads["strict"], sheets["strict"], task),
        "kinds": _kinds(given, reads[headline], rows),
        "format": {"labelled_share": labelled / len(rows), "recognised": own.correct / labelled if labelled else None},
        "leaning": leaning(own),
        "per_class": per_class(sheets["strict"]),
    }


def per_class(answers: AnswerSheet) -> list[dict[str, Any]]:
    """Return of each class that has pictures how many there are, how many are answered with any label, and with the right one.

    So the recall of a class is ``right / n``, and its filtered recall ``right / labelled``, on the same pictures. ``answered`` counts all
    answers that name the class.
    """
    labelled, found = answers.answer >= 0, []
    for at, id in enumerate(answers.classes):
        own = answers.truth == at
        if n := int(own.sum()):
            right = int((answers.right & own).sum())
            answered = int((answers.answer == at).sum())
            found.append({"id": id, "n": n, "labelled": int((labelled & own).sum()), "right": right, "answered": answered})
    return found


def _sheet(run: str, reads: Sequence[Read], rows: Sequence[ManifestRow], task: Classify) -> AnswerSheet:
    answers = [Prediction(row.key, found.label, error=found.kind) for row, found in zip(rows, reads, strict=True)]
    return sheet(run, answers, rows, task.ids)


def _counted(answers: AnswerSheet) -> dict[str, Any]:
    confusion = confusion_of(answers)
    square = confusion[:, : len(answers.classes)].astype(np.float64)
    means = class_metrics(np.diagonal(square), square.sum(axis=0), confusion.sum(axis=1).astype(np.float64))
    return {
        "right": answers.correct,
        "labelled": int((answers.answer >= 0).sum()),
        "accuracy": share(answers.correct, answers.n),
        "macro_f1": float(means["macro_f1"]),
    }


def _filtered(
    given: Sequence[Prediction | None], strict: Sequence[Read], answers: AnswerSheet, task: Classify
) -> list[dict[str, Any]]:
    """Return E1b's filtered accuracy over both denominators that it leaves open; what is right is the same in both."""
    listed = sum(found.label is not None for found in strict)
    names = listed + sum(
        found.label is None and found.kind not in LASTING and one is not None and one.raw is not None and is_name(one.raw, task)
        for one, found in zip(given, strict, strict=True)
    )
    return [
        {"id": name, "what": what, "right": answers.correct, "n": total, "accuracy": share(answers.correct, total)}
        for name, what, total in (("listed", LISTED, listed), ("any name", ANY_NAME, names))
    ]


def _kinds(given: Sequence[Prediction | None], reads: Sequence[Read], rows: Sequence[ManifestRow]) -> list[dict[str, Any]]:
    """Return the kinds of answers that are not right, the commonest first, each with examples."""
    of_kind: dict[str, list[int]] = {}
    for at, (found, row) in enumerate(zip(reads, rows, strict=True)):
        kind = found.kind if found.label is None else "other label" if found.label != row.label else None
        if kind is not None:
            of_kind.setdefault(kind, []).append(at)
    ordered = sorted(of_kind, key=lambda kind: (-len(of_kind[kind]), list(KINDS).index(kind)))
    return [
        {
            "id": kind,
            "name": KINDS[kind],
            "count": len(of_kind[kind]),
            "share": len(of_kind[kind]) / len(rows),
            "examples": [_example(given[at], rows[at]) for at in _spread(of_kind[kind], given)],
        }
        for kind in ordered
    ]


def _spread(places: Sequence[int], given: Sequence[Prediction | None]) -> list[int]:
    """Return a few of `places`, no text twice as long as there are others, spread over all pictures."""
    first: dict[str | None, int] = {}
    for at in places:
        prediction = given[at]
        first.setdefault(None if prediction is None else prediction.raw, at)
    different = list(first.values())
    count = min(EXAMPLES, len(different))
    return [different[step * len(different) // count] for step in range(count)]


def _example(prediction: Prediction | None, row: ManifestRow) -> Mapping[str, Any]:
    raw = "" if prediction is None or prediction.raw is None else prediction.raw
    error = None if prediction is None else prediction.error
    return {"key": row.key, "truth": row.label, "raw": plain(raw, MOST_SHOWN), "error": error and plain(error, MOST_SHOWN)}


def leaning(answers: AnswerSheet) -> list[dict[str, Any]]:
    """Return the labels that take the most wrong answers: how often each was answered, how often wrongly, and how many pictures it has.

    A label that takes far more of them than others may be pulled by the prompt (an example in it, the order of its list): E4's stored
    answers lean so on "3", the digit of its example. It is seen here and not proved.
    """
    wrong = Counter(answers.answer[(answers.answer >= 0) & ~answers.right].tolist())
    most = sorted(wrong, key=lambda at: (-wrong[at], at))[:LEANING]
    return [
        {
            "label": answers.classes[at],
            "answered": int((answers.answer == at).sum()),
            "wrong": wrong[at],
            "truth": int((answers.truth == at).sum()),
        }
        for at in most
    ]
