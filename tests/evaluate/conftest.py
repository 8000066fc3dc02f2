"""Small studies with answers known in advance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from fieldguide.data.tables import freeze
from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.records import Manifest, ManifestRow, Prediction


def _manifest(test: Sequence[str], train: Sequence[str] = (), val: Sequence[str] = (), classes: Sequence[str] = ()) -> Manifest:
    """Return a manifest whose pictures have these labels; keys are ``test0000``, ``train0000``, ..."""
    rows = [
        ManifestRow(f"{split}{index:05}", f"{split}/{index}.png", label, split)
        for split, labels in (("test", test), ("train", train), ("val", val))
        for index, label in enumerate(labels)
    ]
    return freeze(rows, classes or sorted({*test, *train, *val}), 42)


def _predictions(labels: Sequence[str | None], split: str = "test") -> list[Prediction]:
    """Return answers for the pictures of `split` in order; `None` is a failure."""
    return [
        Prediction(f"{split}{index:05}", label, error=None if label is not None else "could not be read")
        for index, label in enumerate(labels)
    ]


def _sheet(run: str, right: Sequence[bool | int], classes: int = 4) -> AnswerSheet:
    """Return a sheet that is right and wrong as told."""
    hits = np.asarray(right, dtype=bool)
    truth = np.arange(len(hits)) % classes
    answer = np.where(hits, truth, (truth + 1) % classes)
    keys = tuple(f"{index:05}" for index in range(len(hits)))
    return AnswerSheet(run, keys, truth, answer, None, (None,) * len(hits), tuple(f"c{index}" for index in range(classes)))


def _random_sheet(seed: int, pictures: int = 200, classes: int = 8, skill: float = 2.0) -> AnswerSheet:
    """Return a sheet with probabilities, some failures and some pictures whose probabilities are missing."""
    random = np.random.default_rng(seed)
    truth = random.integers(classes, size=pictures)
    logits = random.normal(size=(pictures, classes))
    logits[np.arange(pictures), truth] += skill
    given = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    answer = given.argmax(axis=1)
    failed = random.random(pictures) < 0.05
    answer[failed] = -1
    given[failed | (random.random(pictures) < 0.05)] = np.nan
    errors = tuple("timeout" if bad else None for bad in failed)
    keys = tuple(f"{index:05}" for index in range(pictures))
    return AnswerSheet("model", keys, truth, answer, given, errors, tuple(f"c{index}" for index in range(classes)))


def _permuted(sheet: AnswerSheet, order: Sequence[int]) -> AnswerSheet:
    """Return the same answers with the pictures in another order."""
    index = np.asarray(order)
    return AnswerSheet(
        sheet.run,
        tuple(sheet.keys[i] for i in index),
        sheet.truth[index],
        sheet.answer[index],
        None if sheet.probabilities is None else sheet.probabilities[index],
        tuple(sheet.errors[i] for i in index),
        sheet.classes,
    )


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """Return the builders: ``manifest``, ``predictions``, ``sheet``, ``random_sheet``, ``permuted``, ``contest``."""
    return SimpleNamespace(
        manifest=_manifest,
        predictions=_predictions,
        sheet=_sheet,
        random_sheet=_random_sheet,
        permuted=_permuted,
        contest=_contest,
    )


def _contest(pictures: int, right: dict[str, Iterable[int]]) -> list[AnswerSheet]:
    """Return one sheet for each name; the value lists the pictures it got right."""
    sheets = []
    for run, positions in right.items():
        hits = np.zeros(pictures, dtype=bool)
        hits[list(positions)] = True
        sheets.append(_sheet(run, hits))
    return sheets
