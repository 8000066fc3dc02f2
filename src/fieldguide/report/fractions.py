"""Would more pictures help? Accuracy against number of training pictures: sentences, chart and exact table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report import say
from fieldguide.report.growth_chart import Line, growth_chart
from fieldguide.report.read import Contestant, Json, Study

_SIGNS = {"a better": "▲", "b better": "▼"}


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be said of one contestant; `sign` repeats in form whether a gain was shown."""

    name: str
    state: str
    sign: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One run: its accuracy, its seeds where there are several, and the pictures it had no answer for."""

    run: str
    accuracy: say.Value
    seeds: str
    failures: str


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant of the table; a cell is `None` where it was not run on so many pictures."""

    contestant: Contestant | None
    name: str
    cells: tuple[Cell | None, ...]
    per_doubling: say.Value


@dataclass(frozen=True, slots=True)
class Fractions:
    """The section; it is `shown` where anything was fitted on a part of the training pictures. `absent` have no scores."""

    shown: bool
    told: tuple[Told, ...]
    chart: Markup
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    absent: tuple[Contestant, ...]


def fractions(study: Study) -> Fractions:
    """Return the section for `study`."""
    lines: list[Json] = list((study.comparison or {}).get("fractions", []))
    known = {contestant.name: contestant for contestant in (*study.contestants, *study.parts)}
    drawn = [Line(str(line["name"]), _slot(line, known), tuple(_points(line))) for line in lines]
    sizes = sorted({int(point["pictures"]) for line in lines for point in line["points"]})
    return Fractions(
        shown=bool(study.parts),
        told=tuple(_told(line) for line in lines),
        chart=growth_chart(drawn),
        columns=tuple(say.count(size) for size in sizes),
        rows=tuple(_row(line, sizes, known) for line in lines),
        absent=tuple(contestant for contestant in study.parts if contestant.state != "scored"),
    )


def _slot(line: Json, known: dict[str, Contestant]) -> int:
    return next((known[run].slot for run in (str(point["run"]) for point in line["points"]) if run in known), 0)


def _points(line: Json) -> Iterable[tuple[int, float, float | None, float | None]]:
    for point in line["points"]:
        if point["pictures"] > 0:
            accuracy = point["accuracy"]
            yield int(point["pictures"]), float(accuracy["value"]), accuracy.get("low"), accuracy.get("high")


def _told(line: Json) -> Told:
    outcome = str((line.get("pair") or {}).get("outcome", ""))
    state = {"a better": "fine", "b better": "found"}.get(outcome, "other")
    return Told(str(line["name"]), state, _SIGNS.get(outcome, "≈" if outcome else "–"), say.glued(str(line["sentence"])))


def _row(line: Json, sizes: Iterable[int], known: dict[str, Contestant]) -> Row:
    cells = {int(point["pictures"]): _cell(point) for point in line["points"]}
    return Row(
        contestant=known.get(str(line["name"])),
        name=str(line["name"]),
        cells=tuple(cells.get(size) for size in sizes),
        per_doubling=say.number(line.get("per_doubling"), say.points, "needs two different numbers of pictures"),
    )


def _cell(point: Json) -> Cell:
    failed = int(point.get("failed") or 0)
    told = f"{say.count(failed)} without an answer" if failed else ""
    return Cell(str(point["run"]), say.score(point["accuracy"]), say.over_seeds(point.get("spread")), told)
