"""Which contestants miss the same pictures: a matrix whose cells lead to the gallery, and the same pairs as a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fieldguide.report import say
from fieldguide.report.charts import heat
from fieldguide.report.gallery import Gallery, Wrong
from fieldguide.report.read import Contestant, Json, Study

#: The matrix shows so many of the best contestants, the list so many pairs.
MOST_SHOWN, MOST_PAIRS = 16, 120


@dataclass(frozen=True, slots=True)
class Shared:
    """One cell: how many pictures row and column both missed, shaded by the share of the mistakes of the one that made fewer."""

    a: int
    b: int
    both: int
    expected: str
    level: int
    figure: int | None
    title: str


@dataclass(frozen=True, slots=True)
class Line:
    """One pair of the list, ready to be shown."""

    a: str
    b: str
    both: int
    expected: str
    expected_number: float
    same: int
    kappa: str
    kappa_number: float | None
    bounds: str


@dataclass(frozen=True, slots=True)
class Together:
    """The matrix below its diagonal, row by row, with the number of mistakes of each contestant on it; and the pairs."""

    order: tuple[Contestant, ...]
    wrong: tuple[int, ...]
    rows: tuple[tuple[Shared, ...], ...]
    pairs: tuple[Line, ...]
    more: int
    everyone: int
    everyone_figure: int | None


def together(study: Study, gallery: Gallery, wrong: list[Wrong]) -> Together | None:
    """Return who misses what together; `None` where ``causes.json`` does not hold it or fewer than two contestants are scored."""
    told = {(pair["a"], pair["b"]): pair for pair in (study.causes or {}).get("together", [])}
    order = study.scored[:MOST_SHOWN]
    if not told or len(study.scored) < 2:
        return None
    told |= {(b, a): pair for (a, b), pair in told.items()}
    missed = tuple(sum(one.said[run] != one.truth for one in wrong) for run in range(len(study.scored)))
    rows = tuple(
        tuple(
            _shared(row, column, study, told, missed, gallery)
            for column in range(row)
            if (order[row].name, order[column].name) in told
        )
        for row in range(len(order))
    )
    names = [contestant.name for contestant in study.scored]
    pairs = [_line(told[a, b]) for at, a in enumerate(names) for b in names[at + 1 :] if (a, b) in told]
    every = [one for one in wrong if one.missed == len(study.scored)]
    first = next((shot.number for shot in gallery.shots if shot.everyone), None)
    return Together(order, missed, rows, tuple(pairs[:MOST_PAIRS]), max(0, len(pairs) - MOST_PAIRS), len(every), first)


def _shared(
    row: int,
    column: int,
    study: Study,
    told: Mapping[tuple[str, str], Json],
    missed: tuple[int, ...],
    gallery: Gallery,
) -> Shared:
    pair = told[study.scored[row].name, study.scored[column].name]
    fewer = max(1, min(missed[row], missed[column]))
    figure, shown = gallery.pairs.get((column, row), (None, 0))
    said = _line(pair)
    title = (
        f"{study.scored[row].name} and {study.scored[column].name} both missed {pair['both']}, {said.expected} expected by chance; "
        f"error consistency {said.kappa} {said.bounds}; {shown} in the gallery"
    )
    level = max(1, heat(min(1.0, pair["both"] / fewer))) if pair["both"] else 0
    return Shared(row, column, pair["both"], said.expected, level, figure, title)


def _line(pair: Json) -> Line:
    kappa, low, high = pair.get("kappa"), pair.get("low"), pair.get("high")
    return Line(
        a=pair["a"],
        b=pair["b"],
        both=pair["both"],
        expected=say.decimal(pair["expected"], 1),
        expected_number=pair["expected"],
        same=pair["same"],
        kappa=say.NOT_APPLICABLE if kappa is None else say.decimal(kappa, 2),
        kappa_number=kappa,
        bounds="" if low is None or high is None else f"[{say.decimal(low, 2)}, {say.decimal(high, 2)}]",
    )
