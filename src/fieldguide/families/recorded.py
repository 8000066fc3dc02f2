"""Answers from anywhere: a file that says what somebody, or something, answered for each picture joins as a contestant.

CSV, TSV, JSONL or Parquet with a column that names the picture (path, image, file, or key for the content hash) and one with the
answer (predicted, prediction, answer, raw or label). A column for each class id holds probabilities, where there are any.
An answer is one class name or synonym and nothing else; anything else counts as wrong and is shown. In a study of counts a column for
each class holds its number, or one column the answer as JSON.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from fieldguide.bench import Bench
from fieldguide.records import Example, Image, Prediction
from fieldguide.settings import Settings as Base
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.count import Count, Task
from fieldguide.tasks.count_reading import CountReading, read_counts

LEARNS = False
TASKS = ("classify", "count")


class Settings(Base):
    """A file of answers."""

    NAME_FIELD: ClassVar[str | None] = "file"

    file: Path = Path("answers.csv")
    """The file of answers; its picture names are looked up in the manifest, so the family sees content hashes alone."""
    reading: Literal["strict", "json"] | None = None
    """How counts in words are read: strict takes a JSON object alone (so if not given), json also one in a fence or in prose."""


@dataclass(frozen=True)
class Recorded:
    """`answers` by content hash."""

    answers: Mapping[str, Prediction]

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield the recorded answer of each image; one without is a row with `error`."""
        for image in images:
            yield self.answers.get(image.key, Prediction(image.key, error="no recorded answer"))

    def save(self, folder: Path) -> None:
        """Write ``answers.parquet``."""
        from fieldguide.data.tables import write_predictions

        write_predictions(folder / "answers.parquet", self.answers.values())


def fit(train: Sequence[Example], val: Sequence[Example], task: Task, settings: Settings, bench: Bench) -> Recorded:
    """Read the file; nothing is learned."""
    given = bench.recorded(settings.file)
    if isinstance(task, Count):
        bench.fact(answers=len(given))
        return Recorded(
            {key: _read_counts(prediction, task, settings.reading or "strict") for key, prediction in given.items()}
        )
    answers = {key: _read(prediction, task) for key, prediction in given.items()}
    lost = sum(given[key].probabilities is not None and answer.probabilities is None for key, answer in answers.items())
    bench.fact(answers=len(answers), probabilities_that_contradict_the_answer=lost)
    return Recorded(answers)


def _read(prediction: Prediction, task: Classify) -> Prediction:
    if prediction.raw is None and prediction.probabilities is not None:
        best = max(range(len(task.ids)), key=lambda i: prediction.probabilities[i])  # type: ignore[index]
        return dataclasses.replace(prediction, label=task.ids[best])
    text = prediction.raw or ""
    label = task.read(text)
    error = None if label is not None else "empty answer" if not text.strip() else "answer off the list"
    sure = prediction.probabilities
    if label is None or (sure is not None and sure[task.index[label]] < max(sure)):
        sure = None
    return dataclasses.replace(prediction, label=label, error=error, probabilities=sure)


def _read_counts(prediction: Prediction, task: Count, reading: CountReading) -> Prediction:
    if prediction.counts is not None or prediction.error is not None:
        return prediction
    read = read_counts(prediction.raw or "", task, reading)
    return dataclasses.replace(prediction, counts=read.counts, error=read.error)


def load(folder: Path) -> Recorded:
    """Read ``answers.parquet``."""
    from fieldguide.data.tables import read_predictions

    return Recorded({answer.image: answer for answer in read_predictions(folder / "answers.parquet")})
