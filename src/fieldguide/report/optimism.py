"""Validation against test for each contestant, and what may be said of it: most of a common shift is the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.evaluate.intervals import newcombe
from fieldguide.report import bars, say
from fieldguide.report.charts import axis_for, ruler
from fieldguide.report.read import Contestant, Study
from fieldguide.report.say import Value
from fieldguide.report.scatter import lowest


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant: validation and test accuracy, their difference with its interval, and whether that excludes zero."""

    contestant: Contestant
    val: Value
    test: Value
    gap: Value
    strip: Markup
    apart: bool


@dataclass(frozen=True, slots=True)
class Optimism:
    """The section; `sentences` say what the rows have in common and what became of the contestant that validation chose."""

    rows: tuple[Row, ...]
    ruler: Markup
    sentences: tuple[str, ...]


def optimism(study: Study) -> Optimism:
    """Return the section for the contestants of `study` that have both accuracies."""
    both = [
        (contestant, val["value"], test["value"])
        for contestant in study.scored
        if (val := contestant.metric("accuracy", "val") or {}).get("value") is not None
        and (test := contestant.metric("accuracy") or {}).get("value") is not None
    ]
    if not both:
        return Optimism((), Markup(""), ())
    end = lowest([min(val, test) for _, val, test in both])
    axis = axis_for([share for _, val, test in both if min(val, test) >= end for share in (val, test)])
    rows = []
    for contestant, val, test in both:
        low, high = _bounds(contestant)
        note = "" if low is None or high is None else f"[{say.points(low)}, {say.points(high)}]"
        picture = bars.gap(axis, val, test, contestant.slot, ("validation", "test"))
        apart = low is not None and high is not None and (low > 0 or high < 0)
        rows.append(
            Row(
                contestant,
                _score(contestant, "val"),
                _score(contestant, "test"),
                Value(say.points(val - test), val - test, note),
                picture,
                apart,
            )
        )
    return Optimism(tuple(rows), ruler(axis), tuple(_sentences(study, rows)))


def _score(contestant: Contestant, part: str) -> Value:
    return say.score(contestant.metric("accuracy", part))


def _bounds(contestant: Contestant) -> tuple[float | None, float | None]:
    val, test = contestant.val or {}, contestant.test or {}
    if not all("correct" in part and part.get("n") for part in (val, test)):
        return None, None
    return newcombe(val["correct"], val["n"], test["correct"], test["n"])


def _sentences(study: Study, rows: Sequence[Row]) -> list[str]:
    gaps = [row.gap.number for row in rows if row.gap.number is not None]
    if len(gaps) < 2:
        return []
    above, mean = sum(gap > 0 for gap in gaps), sum(gaps) / len(gaps)
    apart = sum(row.apart for row in rows)
    told = [
        f"Validation accuracy is above test accuracy for {above} of {len(gaps)} contestants; on average the difference is {say.points(mean)} "
        f"points, and for {apart or 'none'} of them its interval leaves zero out. All were asked the same two sets of pictures, so a shift that "
        "they share tells that one set is easier, and only what goes beyond it tells of a contestant."
    ]
    chosen = next((row for row in rows if row.contestant.name == (study.comparison or {}).get("chosen")), None)
    if chosen is not None and chosen.gap.number is not None:
        own = chosen.gap.number - mean
        beside = f"{say.points(abs(own), signed=False)} points {'larger' if own > 0 else 'smaller'} than the average one"
        told.append(
            f"{chosen.contestant.name} was chosen by its validation accuracy of {chosen.val.text}, the best of {len(rows)}: a number that "
            f"won a contest is too high on average. On test it has {chosen.test.text}; its gap is {beside}."
        )
    return told
