"""One confusion panel for each contestant; its cells know the first picture of the gallery that shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

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
    """One cell: how many, the shade of its share of the row, and the figure that shows an example."""

    count: int
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
    """Return a panel for each scored contestant, in leaderboard order."""
    k = len(study.classes)
    labelled = k <= MOST_LABELLED and len(study.scored) * k * (k + 1) <= MOST_CELLS
    return tuple(_panel(run, contestant, study, gallery.examples, labelled) for run, contestant in enumerate(study.scored))


def _panel(run: int, contestant: Contestant, study: Study, examples: Mapping[Cell, tuple[int, int]], labelled: bool) -> Panel:
    counts: list[list[int]] = (contestant.test or {}).get("confusion") or []
    k = len(study.classes)
    silent = any(row[k] for row in counts)
    width = k + 1 if silent else k
    columns = [info.name for info in study.classes] + (["no answer"] if silent else [])
    totals = [sum(row) for row in counts]
    confused = _confused(run, counts, totals, k, examples)
    rows = (
        tuple((truth, _squares(run, truth, row[:width], columns, examples, study)) for truth, row in enumerate(counts))
        if labelled
        else ()
    )
    wrong = sum(totals) - sum(row[truth] for truth, row in enumerate(counts))
    drawn = counts if labelled or not counts else _strongest([row[:width] for row in counts])
    title = f"Confusion matrix of {contestant.name}: {k} true classes from top to bottom, answers from left to right"
    compact = Markup("") if labelled else compact_matrix(drawn, title)
    return Panel(
        run, contestant, tuple(columns), rows, tuple(confused[:MOST_CONFUSED]), len(confused), compact, wrong, sum(totals)
    )


def _squares(
    run: int, truth: int, row: Sequence[int], columns: Sequence[str], examples: Mapping[Cell, tuple[int, int]], study: Study
) -> tuple[Square, ...]:
    total = sum(row) or 1
    squares = []
    for column, count in enumerate(row):
        said = column if column < len(study.classes) else NO_ANSWER
        figure, shown = examples.get((run, truth, said), (None, 0))
        title = (
            f"true {study.classes[truth].name}, answered {columns[column]}: {count} of {total}, {say.percent(count / total)}"
        )
        note = f"; {shown} in the gallery" if shown else "; none in the gallery" if count and column != truth else ""
        squares.append(Square(count, max(1, heat(count / total)) if count else 0, said, figure, title + note if count else ""))
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
