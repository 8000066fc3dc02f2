"""Would more pictures help? Accuracy, or what is measured of counts, against number of training pictures: sentences, chart, exact table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report import say
from fieldguide.report.growth_chart import Line, growth_chart
from fieldguide.report.measured import ACCURACY, Measure
from fieldguide.report.read import Contestant, Json, Study

#: Whether a gain was shown. An error that fell is one, and its arrow says that it fell.
_STATES = {"a better": ("fine", "▲"), "b better": ("found", "▼"), "a nearer": ("fine", "▼"), "b nearer": ("found", "▲")}


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be said of one contestant; `sign` repeats in form whether a gain was shown."""

    name: str
    state: str
    sign: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One run: its `value`, its seeds where there are several, and the pictures it had no answer for."""

    run: str
    value: say.Value
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

    measure: Measure
    shown: bool
    told: tuple[Told, ...]
    chart: Markup
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    absent: tuple[Contestant, ...]


def fractions(study: Study, measure: Measure = ACCURACY) -> Fractions:
    """Return the section for `study`, about one `measure`."""
    lines: list[Json] = list((study.comparison or {}).get(measure.fractions, []))
    known = {contestant.name: contestant for contestant in (*study.contestants, *study.parts)}
    drawn = [Line(str(line["name"]), _slot(line, known), tuple(_points(line, measure))) for line in lines]
    sizes = sorted({int(point["pictures"]) for line in lines for point in line["points"]})
    return Fractions(
        measure=measure,
        shown=bool(study.parts),
        told=tuple(_told(line) for line in lines),
        chart=growth_chart(drawn, measure),
        columns=tuple(say.count(size) for size in sizes),
        rows=tuple(_row(line, sizes, known, measure) for line in lines),
        absent=tuple(contestant for contestant in study.parts if contestant.state != "scored"),
    )


def _slot(line: Json, known: dict[str, Contestant]) -> int:
    return next((known[run].slot for run in (str(point["run"]) for point in line["points"]) if run in known), 0)


def _points(line: Json, measure: Measure) -> Iterable[tuple[int, float, float | None, float | None]]:
    for point in line["points"]:
        score = point[measure.metric]
        if point["pictures"] > 0 and score["value"] is not None:
            yield int(point["pictures"]), float(score["value"]), score.get("low"), score.get("high")


def _told(line: Json) -> Told:
    pair = line.get("pair") or {}
    outcome = str(pair.get("outcome", "")) if pair.get("difference", 0.0) is not None else ""
    state, sign = _STATES.get(outcome, ("other", "≈" if outcome else "–"))
    return Told(str(line["name"]), state, sign, say.glued(str(line["sentence"])))


def _row(line: Json, sizes: Iterable[int], known: dict[str, Contestant], measure: Measure) -> Row:
    cells = {int(point["pictures"]): _cell(point, measure) for point in line["points"]}
    return Row(
        contestant=known.get(str(line["name"])),
        name=str(line["name"]),
        cells=tuple(cells.get(size) for size in sizes),
        per_doubling=say.number(line.get("per_doubling"), measure.change, "needs two different numbers of pictures"),
    )


def _cell(point: Json, measure: Measure) -> Cell:
    failed = int(point.get("failed") or 0)
    told = f"{say.count(failed)} without an answer" if failed else ""
    return Cell(str(point["run"]), measure.score(point[measure.metric]), measure.over_seeds(point.get("spread")), told)
