"""Names alone, names with descriptions, descriptions alone: the same zero-shot classifier three ways, with its paired tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report import say
from fieldguide.report.interval_rows import Named, interval_rows
from fieldguide.report.text_files import Json
from fieldguide.report.text_words import ALPHA

#: Ways in their order, and what they are called.
WAYS = {"name": "name alone", "name+texts": "name and descriptions", "texts": "descriptions alone"}
#: Charts that are drawn; more contestants stand in the table alone.
MOST_CHARTS = 6


@dataclass(frozen=True, slots=True)
class Way:
    """One contestant: a value for each of `WAYS`, its chart, and a sentence for each paired test with its sign."""

    name: str
    values: tuple[say.Value, ...]
    chart: Markup
    told: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Ways:
    """The part."""

    columns: tuple[str, ...]
    each: tuple[Way, ...]


def ways(told: Json) -> Ways:
    """Return the part for the content of ``text_ways.json``."""
    rows: Sequence[Json] = told.get("rows", [])
    known = [
        way for way in dict.fromkeys([*WAYS, *(str(row["way"]) for row in rows)]) if any(row["way"] == way for row in rows)
    ]
    names = list(dict.fromkeys(str(row["contestant"]) for row in rows))
    tests: Sequence[Json] = told.get("tests", [])
    return Ways(
        tuple(_called(way) for way in known), tuple(_way(name, at, known, rows, tests) for at, name in enumerate(names))
    )


def _way(name: str, at: int, known: Sequence[str], rows: Sequence[Json], tests: Sequence[Json]) -> Way:
    own = {str(row["way"]): row for row in rows if str(row["contestant"]) == name}
    entries = [own.get(way) for way in known]
    named = [
        Named(_called(way), float(entry["accuracy"]), entry.get("low"), entry.get("high"), way == "name")
        for way, entry in zip(known, entries, strict=True)
        if entry and entry.get("accuracy") is not None
    ]
    values = tuple(say.score({**entry, "value": entry.get("accuracy")}) if entry else say.MISSING for entry in entries)
    chart = interval_rows(named, f"{name}, test accuracy") if at < MOST_CHARTS else Markup("")
    return Way(name, values, chart, tuple(_test(test) for test in tests if str(test["contestant"]) == name))


def _test(test: Json) -> tuple[str, str, str]:
    """Return state, sign and sentence of one paired test; the p is the corrected one where there is one."""
    a, b = _called(str(test["a"])), _called(str(test["b"]))
    p = next((float(test[key]) for key in ("p_holm", "p_adjusted", "p") if test.get(key) is not None), None)
    difference = float(test["difference"])
    bounds = "" if test.get("low") is None else f" [{say.points(test['low'])}, {say.points(test['high'])}]"
    p_said = say.p_value(p) if p is not None else say.NOT_RECORDED
    said = f"{a} against {b}: {say.points(difference)} points{bounds}, p {'' if p_said.startswith('<') else '= '}{p_said}"
    if p is None or p > ALPHA:
        few = test.get("outcome") == "too few pictures to tell"
        return "other", "≈", say.glued(f"{said}. {'Too few pictures to tell' if few else 'No difference could be shown'}.")
    return ("fine", "▲", say.glued(f"{said}.")) if difference > 0 else ("found", "▼", say.glued(f"{said}."))


def _called(way: str) -> str:
    return WAYS.get(way, way)
