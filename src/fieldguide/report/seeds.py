"""Another seed: what each seed scored, how far chance moves each contestant, and whether neighbours could change places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fieldguide.report import say
from fieldguide.report.measured import ACCURACY, Measure
from fieldguide.report.read import Contestant, Json, Study

_SIGNS = {"apart": "✓", "overlap": "!", "not known": "○"}
_STATES = {"apart": "kept apart", "overlap": "within the spread", "not known": "not known"}


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant that was fitted more than once: its mean, deviation and ends, and what each seed reached."""

    contestant: Contestant
    mean: say.Value
    deviation: say.Value
    ends: str
    each: tuple[say.Value, ...]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Two neighbours of the leaderboard; `sign` repeats the state in form."""

    state: str
    sign: str
    title: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Seeds:
    """The section; it is `shown` where more than one seed was asked for. `steady` are contestants that no seed would change."""

    measure: Measure
    shown: bool
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    neighbours: tuple[Neighbours, ...]
    stopped: tuple[Contestant, ...]
    steady: tuple[Contestant, ...]


def seeds(study: Study, measure: Measure = ACCURACY) -> Seeds:
    """Return the section for `study`, about one `measure`."""
    told = (study.comparison or {}).get(measure.seeds) or {}
    columns = sorted({int(line["seed"]) for contestant in study.scored for line in contestant.seeds})
    rows = tuple(_row(contestant, columns, measure) for contestant in study.scored if contestant.seeds)
    several = int(study.asked.get("seeds") or 1) > 1
    stopped = tuple(contestant for contestant in study.scored if contestant.problem and several)
    steady = tuple(one for one in study.scored if several and (one.cost or {}).get("by_chance") is False)
    return Seeds(
        measure=measure,
        shown=bool(rows or stopped or steady),
        columns=tuple(str(seed) for seed in columns),
        rows=rows,
        neighbours=tuple(_neighbours(told.get("neighbours", []))),
        stopped=stopped,
        steady=steady,
    )


def _row(contestant: Contestant, columns: Iterable[int], measure: Measure) -> Row:
    spread = getattr(contestant, measure.spread) or {}
    each = {int(line["seed"]): line for line in contestant.seeds}
    why = "" if spread else "some seed has no usable answer"
    return Row(
        contestant=contestant,
        mean=say.number(spread.get("mean"), measure.words, why),
        deviation=say.number(spread.get("sd"), measure.deviation, why),
        ends=measure.ends(spread["min"], spread["max"]) if spread else say.NOT_APPLICABLE,
        each=tuple(_of_seed(each.get(seed), measure) for seed in columns),
    )


def _of_seed(line: Json | None, measure: Measure) -> say.Value:
    return say.number((line or {}).get(measure.metric), measure.words, "no picture has a usable answer" if line else "")


def _neighbours(lines: Iterable[object]) -> Iterable[Neighbours]:
    for line in lines:
        assert isinstance(line, dict)
        outcome = str(line["outcome"])
        yield Neighbours(
            state={"apart": "fine", "overlap": "found"}.get(outcome, "other"),
            sign=_SIGNS.get(outcome, "○"),
            title=_STATES.get(outcome, outcome),
            sentence=say.glued(str(line["sentence"])),
        )
