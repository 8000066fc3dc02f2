"""Another seed, and would more pictures help: what the two sections show, and that they are not there where nothing was repeated."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fieldguide.report import say
from fieldguide.report.build import render
from fieldguide.report.fractions import fractions
from fieldguide.report.growth_chart import HEIGHT, WIDTH, Line, growth_chart
from fieldguide.report.read import Study, read_study
from fieldguide.report.seeds import seeds

EVIL = "\u202etxt <script>alert(1)</script>"


@pytest.fixture
def study(maker: ModuleType, tmp_path: Path) -> Study:
    maker.make_study(tmp_path, maker.Plan(per_class=(4, 2, 2)))
    return read_study(tmp_path)


def score(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 200}


def line(name: str, points: Sequence[tuple[float, int, float]], outcome: str = "a better") -> dict[str, Any]:
    told = [
        {
            "run": f"{name}@{100 * part:g}",
            "fraction": part,
            "pictures": size,
            "accuracy": score(value),
            "failed": 0,
            "spread": None,
        }
        for part, size, value in points
    ]
    return {"name": name, "points": told, "pair": {"outcome": outcome}, "per_doubling": 0.1, "sentence": f"{name} gained."}


def with_fractions(study: Study, *lines: dict[str, Any]) -> Study:
    part = dataclasses.replace(study.scored[0], name="part@50", fraction=0.5)
    return dataclasses.replace(study, parts=(part,), comparison={**(study.comparison or {}), "fractions": list(lines)})


def with_seeds(study: Study, sentence: str = "a and b.") -> Study:
    first, *rest = study.contestants
    lines = tuple({"seed": 42 + at, "accuracy": value} for at, value in enumerate((0.9, 0.8, 0.85)))
    spread = {"n": 3, "mean": 0.85, "sd": 0.05, "min": 0.8, "max": 0.9}
    moved = dataclasses.replace(first, seeds=lines, spread=spread, cost={"fits": 3, "fit_seconds": 61.0})
    told = {"neighbours": [{"a": "a", "b": "b", "outcome": "overlap", "sentence": sentence}]}
    return dataclasses.replace(study, contestants=(moved, *rest), comparison={**(study.comparison or {}), "seeds": told})


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).replace(say.NBSP, " ").split())


def test_nothing_is_shown_where_nothing_was_repeated(study: Study, maker: ModuleType) -> None:
    assert not seeds(study).shown and not fractions(study).shown
    page = render(study, maker.FakeReader())
    assert 'id="seeds"' not in page and 'id="fractions"' not in page
    assert "over 3 seeds" not in page and "another seed may move it." in page


def test_the_spread_stands_beside_the_interval(study: Study, maker: ModuleType) -> None:
    moved = with_seeds(study, "Of 9 pairings 90.0 % of them.")
    section = seeds(moved)
    assert section.columns == ("42", "43", "44")
    (row,) = section.rows
    assert (row.mean.number, row.deviation.text, row.ends) == (0.85, "5.0", "80.0\u201390.0")
    assert [value.number for value in row.each] == [0.9, 0.8, 0.85]
    assert [(one.state, one.sign) for one in section.neighbours] == [("found", "!")]
    page = render(moved, maker.FakeReader())
    board = words(page[page.index('id="leaderboard"') : page.index('id="honest"')])
    assert board.count("± 5.0 over 3 seeds") == 1
    assert "3 fits" in board
    assert 'href="#seeds"' in page and "as “Another seed” shows" in page


def test_a_contestant_without_some_seed_says_so(study: Study) -> None:
    moved = with_seeds(study)
    short = dataclasses.replace(
        moved.contestants[1], seeds=moved.contestants[0].seeds[:2], spread={**(moved.contestants[0].spread or {}), "n": 2}
    )
    rows = seeds(dataclasses.replace(moved, contestants=(moved.contestants[0], short))).rows
    assert [value.absent for value in rows[1].each] == [False, False, True]


def test_the_table_is_exact_and_the_best_line_stands_first(study: Study, maker: ModuleType) -> None:
    lines = (
        line("net", [(0.25, 250, 0.6), (0.5, 500, 0.7), (1.0, 1000, 0.8)]),
        line("other", [(0.5, 500, 0.4), (1.0, 1000, 0.4)], "b better"),
    )
    section = fractions(with_fractions(study, *lines))
    assert section.columns == ("250", "500", "1,000")
    assert [[None if cell is None else cell.value.number for cell in row.cells] for row in section.rows] == [
        [0.6, 0.7, 0.8],
        [None, 0.4, 0.4],
    ]
    assert [one.sign for one in section.told] == ["▲", "▼"]
    page = render(with_fractions(study, *lines), maker.FakeReader())
    shown = words(page[page.index('id="fractions"') : page.index('id="classes"')])
    assert "1,000 pictures" in shown and "65.0–75.0" in shown and "not run" in shown
    assert 'href="#fractions"' in page


def test_a_part_is_no_contestant_of_the_leaderboard(maker: ModuleType, tmp_path: Path) -> None:
    from fieldguide.files import read_toml, write_toml

    maker.make_study(tmp_path, maker.Plan(per_class=(4, 2, 2)))
    before = read_study(tmp_path)
    path = next(path for path in tmp_path.glob("runs/*/settings.toml") if read_toml(path)["name"] == "linear")
    write_toml(path, {**read_toml(path), "name": "linear@50", "fraction": 0.5})
    after = read_study(tmp_path)
    assert [part.name for part in after.parts] == ["linear@50"]
    assert {c.name for c in before.contestants} - {c.name for c in after.contestants} == {"linear"}
    assert len(after.scored) == len(before.scored) - 1


def test_names_stay_text(study: Study, maker: ModuleType) -> None:
    page = render(with_fractions(with_seeds(study, EVIL), line(EVIL, [(0.5, 500, 0.7), (1.0, 1000, 0.8)])), maker.FakeReader())
    assert "<script>alert" not in page and "\u202e" not in page
    assert "&lt;script&gt;" in page


def positions(chart: str, kind: str) -> list[tuple[float, float]]:
    route = re.findall(rf'<polyline class="track {kind}[^"]*" points="([^"]+)"', chart)[0]
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in route.split())]


def test_the_axis_is_logarithmic_and_higher_is_better() -> None:
    chart = str(
        growth_chart(
            [Line("net", 2, ((100, 0.5, 0.4, 0.6), (200, 0.6, 0.5, 0.7), (400, 0.7, 0.6, 0.8), (1600, 0.9, 0.8, 1.0)))]
        )
    )
    points = positions(chart, "f2")
    steps = [b[0] - a[0] for a, b in itertools.pairwise(points)]
    assert steps[0] == pytest.approx(steps[1], abs=0.2)
    assert steps[2] == pytest.approx(2 * steps[0], abs=0.2)
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)
    assert chart.count('class="reach f2"') == 3 * 4
    for size in ("100", "200", "400", "1,600"):
        assert f">{size}</text>" in chart


@pytest.mark.parametrize("many", [1, 3, 12])
def test_everything_stays_on_the_picture(many: int) -> None:
    lines = [
        Line(f"a contestant with a long name {at}", at % 3, ((40, 0.9, None, None), (80, 0.9 + at / 1000, 0.8, 1.0)))
        for at in range(many)
    ]
    chart = str(growth_chart(lines))
    assert chart.count("<polyline") == many
    ends = [float(y) for y in re.findall(r'class="name f\d" x="[\d.]+" y="([\d.-]+)"', chart)]
    assert len(ends) == many and len(set(ends)) == many
    assert all(0 < y < HEIGHT for y in ends)
    for value in re.findall(r'(?:x|x1|x2|cx)="([\d.-]+)"', chart):
        assert 0 <= float(value) <= WIDTH
    kinds = re.findall(r'class="track (f\d w\d)"', chart)
    assert len(set(kinds)) == min(many, 12), "lines of one family differ in their strokes"


def test_one_number_of_pictures_is_drawn_and_none_is_not() -> None:
    assert "<polyline" in str(growth_chart([Line("net", 0, ((100, 0.5, None, None),))]))
    assert str(growth_chart([Line("net", 0, ())])) == ""
