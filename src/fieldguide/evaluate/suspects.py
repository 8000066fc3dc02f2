"""Label suspects: pictures whose given label the contestants, surely and together, take for another class.

Confident learning (C. G. Northcutt, L. Jiang, I. L. Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels",
JAIR 70, 2021) as in cleanlab (Apache-2.0), on probabilities for pictures that no contestant was trained on: the test pictures, and
those of validation, by which epochs and strengths were chosen, but no weights were fitted. A suspect is a question to a person,
not an answer: nothing is relabelled or left out.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.records import SCHEMA_VERSION, Manifest, ManifestRow

SuspectState = Literal["found", "fine", "not applicable", "skipped"]

#: A class with fewer pictures that nobody was trained on is not judged: what is usual in it could not be known.
FEWEST = 5
_SMALLEST = 1e-9

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Pool:
    """Pictures that somebody gave probabilities for: positions in the sheets, labels, and mean ``"pictures classes"``."""

    places: NDArray[np.int64]
    given: NDArray[np.int64]
    probabilities: Floats


def unseen(manifest: Manifest, *, dropped: bool) -> tuple[ManifestRow, ...]:
    """Return the pictures no contestant was trained on: those of test and validation.

    Where copies of them were not `dropped` from training, those that have some ("leaked") are not unseen: a copy that was learned
    with the same wrong label would vouch for it.
    """
    both = (row for row in manifest.part() if row.split in ("val", "test"))
    return tuple(row for row in both if dropped or "leaked" not in row.marks)


def find_suspects(sheets: Sequence[AnswerSheet], comparison: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of ``suspects.json`` from `sheets` that are lined up with the same `unseen` pictures.

    Of the contestants that are better than chance and give probabilities, the best and those that cannot be told from it count
    (`comparison` is the content of ``comparison.json``); their probabilities are averaged, each with the same weight.
    ``quality`` is the mean probability of the given label, 0 to 1 (cleanlab's self-confidence); ``agree`` of ``of`` contestants
    answered the suggested class. The least likely labels stand first.
    """
    judges = _judges(sheets, comparison)
    names = [sheet.run for sheet in judges]
    if not judges:
        return _told("skipped", "no contestant that is better than chance gives probabilities", names, 0)
    pool = _pooled(judges)
    classes = np.bincount(pool.given, minlength=len(judges[0].classes))
    judged = classes >= FEWEST
    if judged.sum() < 2:
        least = f"at least {FEWEST} pictures of a class that no contestant was trained on are needed, of two classes or more"
        return _told("not applicable", f"too few pictures: {least}", names, 0)
    flagged, quality = _confident_learning(pool)
    flagged &= judged[pool.given]
    found = sorted(np.flatnonzero(flagged), key=lambda at: (quality[at], judges[0].keys[pool.places[at]]))
    rare = int(((classes > 0) & ~judged).sum())
    why = f"{rare} classes with fewer than {FEWEST} such pictures were not judged" if rare else None
    pictures = int(judged[pool.given].sum())
    lines = [_suspect(judges, pool, int(at), float(quality[at])) for at in found]
    return _told("found" if lines else "fine", why, names, pictures, lines)


def _judges(sheets: Sequence[AnswerSheet], comparison: Mapping[str, Any]) -> list[AnswerSheet]:
    """Return whose probabilities count, best first; a much weaker contestant would only blur what the best are sure of."""
    able = {
        sheet.run: sheet for sheet in sheets if comparison["above_chance"].get(sheet.run) and sheet.probabilities is not None
    }
    ranked = [run for run in comparison["order"] if run in able]
    beaten = (
        {pair["b"] for pair in comparison["pairs"] if pair["a"] == ranked[0] and pair["outcome"] == "a better"}
        if ranked
        else set()
    )
    return [able[run] for run in ranked if run not in beaten]


def _told(
    state: SuspectState, why: str | None, names: Sequence[str], pictures: int, lines: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    told = {"schema": SCHEMA_VERSION, "state": state, "why": why, "from": list(names), "pictures": pictures}
    return {**told, "suspects": [dict(line) for line in lines]}


def _pooled(judges: Sequence[AnswerSheet]) -> _Pool:
    """Average what is there for each picture; one that nobody gives probabilities for is left out."""
    total = np.zeros((judges[0].n, len(judges[0].classes)))
    voices = np.zeros(judges[0].n)
    for sheet in judges:
        assert sheet.probabilities is not None
        known = np.isfinite(sheet.probabilities).all(axis=1)
        total[known] += sheet.probabilities[known]
        voices += known
    places = np.flatnonzero(voices)
    mean = np.maximum(total[places] / voices[places, None], _SMALLEST)
    return _Pool(places, judges[0].truth[places], mean / mean.sum(axis=1, keepdims=True))


def _confident_learning(pool: _Pool) -> tuple[NDArray[np.bool_], Floats]:
    """Return which pictures are suspects and the quality of every label, ``"pictures"`` each."""
    find_label_issues = _search()
    with warnings.catch_warnings():
        # A class with one picture or none: those are not judged here, and that is told in our words.
        warnings.filterwarnings("ignore", "May not flag all label issues", UserWarning)
        # One process: workers would cost more than they save on some ten thousand pictures, and a report should not start any.
        flagged = find_label_issues(pool.given, pool.probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
    # Not the margin to the suggested class: a picture of none of the classes has no large probability anywhere.
    quality = pool.probabilities[np.arange(len(pool.given)), pool.given]
    return flagged & (pool.probabilities.argmax(axis=1) != pool.given), quality


def _search() -> Any:
    """Return cleanlab's ``find_label_issues``, imported without the hub's client.

    Where the package ``datasets`` is installed, ``import cleanlab`` brings it along for a table of its own that is not used here:
    a third of the libraries that redrawing a report loads, and a second. Whoever imports cleanlab afterwards gets all of it.
    """
    if "cleanlab" in sys.modules or "datasets" in sys.modules:
        from cleanlab.filter import find_label_issues

        return find_label_issues
    sys.modules["datasets"] = None  # type: ignore[assignment]
    try:
        from cleanlab.filter import find_label_issues
    finally:
        del sys.modules["datasets"]
        sys.modules.pop("cleanlab", None)
    return find_label_issues


def _suspect(judges: Sequence[AnswerSheet], pool: _Pool, at: int, quality: float) -> dict[str, Any]:
    place, suggested = int(pool.places[at]), int(pool.probabilities[at].argmax())
    answers = [int(sheet.answer[place]) for sheet in judges if sheet.answer[place] >= 0]
    classes = judges[0].classes
    return {
        "image": judges[0].keys[place],
        "given": classes[pool.given[at]],
        "suggested": classes[suggested],
        "quality": round(quality, 4),
        "agree": answers.count(suggested),
        "of": len(answers),
    }
