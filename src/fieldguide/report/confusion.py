"""One confusion panel for each contestant; its cells know the first picture of the gallery that shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from fieldguide.evaluate.order import neighbours
from fieldguide.report import say
from fieldguide.report.charts import compact_matrix, heat
from fieldguide.report.gallery import NO_ANSWER, Cell, Gallery
from fieldguide.report.read import Contestant, Study

#: Above this many classes, or cells in all panels, a labelled matrix is no longer readable and the pairs tell more.
MOST_LABELLED, MOST_CELLS = 30, 16_000
#: Most non-empty cells drawn in a compact matrix.
MOST_COMPACT = 6_000
MOST_CONFUSED = 12


@dataclass(frozen=True, slots=True)
class Square:
    """One cell: how many, what per cent of the row, the shade of that, and the figure that shows an example."""

    count: int
    share: str
    level: int
    said: int
    figure: int | None
    title: str


@dataclass(frozen=True, slots=True)
class Confused:
    """One pair of truth and answer that a contestant confused `count` times."""

    truth: int
    said: int
    count: int
    share: str
    figure: int | None


@dataclass(frozen=True, slots=True)
class Panel:
    """The confusions of one contestant; `rows` is empty where a labelled matrix would be unreadable."""

    run: int
    contestant: Contestant
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[Square, ...]], ...]
    confused: tuple[Confused, ...]
    kinds: int
    compact: Markup
    wrong: int
    n: int


def panels(study: Study, gallery: Gallery) -> tuple[Panel, ...]:
    """Return a panel for each scored contestant, in leaderboard order; one order of the classes holds for all of them."""
    k = len(study.classes)
    labelled = k <= MOST_LABELLED and len(study.scored) * k * (k + 1) <= MOST_CELLS
    order = class_order(study)
    return tuple(
        _panel(run, contestant, study, gallery.examples, order, labelled) for run, contestant in enumerate(study.scored)
    )


def class_order(study: Study) -> list[int]:
    """Return the class positions so that confused classes are neighbours, after the confusions of all contestants together.

    Contestants no better than chance have no say where others are better: one that gives one answer confuses everything with it.
    """
    above = (study.comparison or {}).get("above_chance", {})
    k = len(study.classes)
    tables = [(bool(above.get(c.name)), (c.test or {}).get("confusion")) for c in study.scored]
    fit = [table for better, table in tables if better and table] or [table for _, table in tables if table]
    return neighbours(np.sum([np.asarray(table, dtype=np.int64) for table in fit], axis=0)) if fit else list(range(k))


def _panel(
    run: int,
    contestant: Contestant,
    study: Study,
    examples: Mapping[Cell, tuple[int, int]],
    order: Sequence[int],
    labelled: bool,
) -> Panel:
    counts: list[list[int]] = (contestant.test or {}).get("confusion") or []
    k = len(study.classes)
    silent = any(row[k] for row in counts)
    places = [*order, k] if silent else list(order)
    columns = [study.classes[place].name if place < k else "no answer" for place in places]
    totals = [sum(row) for row in counts]
    confused = _confused(run, counts, totals, k, examples)
    rows = (
        tuple((truth, _squares(run, truth, counts[truth], places, examples, study)) for truth in order)
        if labelled and counts
        else ()
    )
    wrong = sum(totals) - sum(row[truth] for truth, row in enumerate(counts))
    drawn = counts if labelled or not counts else _strongest([[counts[truth][place] for place in places] for truth in order])
    title = f"Confusion matrix of {contestant.name}: {k} true classes from top to bottom, answers from left to right"
    compact = Markup("") if labelled else compact_matrix(drawn, title)
    return Panel(
        run, contestant, tuple(columns), rows, tuple(confused[:MOST_CONFUSED]), len(confused), compact, wrong, sum(totals)
    )


def _squares(
    run: int, truth: int, row: Sequence[int], places: Sequence[int], examples: Mapping[Cell, tuple[int, int]], study: Study
) -> tuple[Square, ...]:
    total = sum(row) or 1
    squares = []
    for place in places:
        count = row[place]
        said = place if place < len(study.classes) else NO_ANSWER
        answered = study.classes[said].name if said != NO_ANSWER else "no answer"
        figure, shown = examples.get((run, truth, said), (None, 0))
        title = f"true {study.classes[truth].name}, answered {answered}: {count} of {total}, {say.percent(count / total)}"
        note = f"; {shown} in the gallery" if shown else "; none in the gallery" if count and said != truth else ""
        share = f"{100 * count / total:.0f}" if count / total >= 0.005 else "<1"
        level = max(1, heat(count / total)) if count else 0
        squares.append(Square(count, share, level, said, figure, title + note if count else ""))
    return tuple(squares)


def _confused(
    run: int, counts: Sequence[Sequence[int]], totals: Sequence[int], k: int, examples: Mapping[Cell, tuple[int, int]]
) -> list[Confused]:
    found = []
    for truth, row in enumerate(counts):
        for column, count in enumerate(row):
            if count and column != truth:
                said = column if column < k else NO_ANSWER
                figure = examples.get((run, truth, said), (None, 0))[0]
                found.append(Confused(truth, said, count, say.percent(count / totals[truth]), figure))
    return sorted(found, key=lambda pair: (-pair.count, pair.truth, pair.said))


def _strongest(counts: list[list[int]]) -> list[list[int]]:
    """Return the matrix with at most `MOST_COMPACT` cells filled, the largest counts first."""
    filled = sorted((count for row in counts for count in row if count), reverse=True)
    if len(filled) <= MOST_COMPACT:
        return counts
    least = filled[MOST_COMPACT] + 1
    return [[count if count >= least else 0 for count in row] for row in counts]
