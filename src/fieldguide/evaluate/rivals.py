"""Which classes are taken for which: from the validation answers of contestants, never from test answers; else from names alike."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fieldguide.evaluate.answers import AnswerSheet

#: Names that are less alike than this (0 to 1) say nothing.
_ALIKE = 0.7
#: Less confusion than this, as a mean probability, is none.
_LEAST = 1e-4


def told_apart(sheet: AnswerSheet) -> bool:
    """Tell whether a contestant knows more of its pictures than naming their most frequent class would: else its mistakes tell nothing."""
    return sheet.n > 0 and sheet.accuracy > np.bincount(sheet.truth).max() / sheet.n


def confusion(sheets: Sequence[AnswerSheet]) -> NDArray[np.float64]:
    """Return how much each class is taken for each other one, ``"classes classes"``, symmetric, mean over pictures and contestants.

    A picture counts with its probabilities where it has some, else with its answer; a failure counts for nobody.
    """
    size = len(sheets[0].classes)
    total = np.zeros((size, size))
    for sheet in sheets:
        given = np.zeros((sheet.n, size))
        answered = sheet.answer >= 0
        given[np.flatnonzero(answered), sheet.answer[answered]] = 1.0
        if sheet.probabilities is not None:
            known = np.isfinite(sheet.probabilities).all(axis=1)
            given[known] = sheet.probabilities[known]
        sums = np.zeros((size, size))
        np.add.at(sums, sheet.truth, given)
        total += sums / np.maximum(np.bincount(sheet.truth, minlength=size), 1)[:, None]
    mean = (total + total.T) / (2 * len(sheets))
    np.fill_diagonal(mean, 0.0)
    return mean


def by_answers(sheets: Sequence[AnswerSheet], most: int) -> dict[str, tuple[str, ...]]:
    """Return for each class id up to `most` ids that it is most confused with, the most confused first."""
    ids, mean = sheets[0].classes, confusion(sheets)
    order = np.argsort(-mean, axis=1, kind="stable")[:, :most]
    return {id: tuple(ids[at] for at in order[row] if mean[row, at] > _LEAST) for row, id in enumerate(ids)}


def by_name(names: Mapping[str, str], most: int) -> dict[str, tuple[str, ...]]:
    """Return for each class id up to `most` ids whose names (in `names`, by id) share words or letters with its own, the nearest first."""
    words = {id: name.casefold() for id, name in names.items()}
    found = {}
    for id, name in words.items():
        scores = {other: _likeness(name, said) for other, said in words.items() if other != id}
        near = sorted((other for other, score in scores.items() if score >= _ALIKE), key=lambda other: -scores[other])
        found[id] = tuple(near[:most])
    return found


def _likeness(one: str, other: str) -> float:
    """Return 0 to 1: the share of letters in common order; `_ALIKE` and more where the last word, which names the kind, is the same."""
    first, second = one.replace("-", " ").split(), other.replace("-", " ").split()
    same_kind = len(first) > 1 and len(second) > 1 and first[-1] == second[-1]
    letters = difflib.SequenceMatcher(None, one, other, autojunk=False)
    share = letters.ratio() if same_kind or letters.quick_ratio() >= _ALIKE else 0.0
    return _ALIKE + (1 - _ALIKE) * share if same_kind else share
