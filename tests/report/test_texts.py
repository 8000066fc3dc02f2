"""The section on texts: what it shows of each file, what it says in words, and that words of a study stay words."""

from __future__ import annotations

import dataclasses
import html
import itertools
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fieldguide.files import read_json, write_json
from fieldguide.report import say
from fieldguide.report.build import _environment, render
from fieldguide.report.exports.figures import ratios as figures
from fieldguide.report.interval_rows import WIDTH as ROWS_WIDTH
from fieldguide.report.interval_rows import Named, interval_rows
from fieldguide.report.ratio_chart import HEIGHT, WIDTH, Point, Track, axis, ratio_chart
from fieldguide.report.read import Study, read_study
from fieldguide.report.text_card import cards
from fieldguide.report.text_doctor import doctor
from fieldguide.report.text_ratio import ratio
from fieldguide.report.text_ways import ways
from fieldguide.report.text_words import told_differences
from fieldguide.report.texts import texts


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, maker: ModuleType, texts_maker: ModuleType) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    maker.make_study(folder, maker.Plan(per_class=(4, 2, 2)))
    texts_maker.add_texts(folder, texts_maker.Plan(reference=True))
    return folder


@pytest.fixture(scope="module")
def study(place: Path) -> Study:
    return read_study(place)


@pytest.fixture(scope="module")
def section(study: Study) -> str:
    return alone(study)


def alone(study: Study) -> str:
    """Return the section as the page holds it, without the rest of the page, which takes long to draw."""
    page = _environment().from_string('{% import "parts.html.j2" as parts %}{% include "texts.html.j2" %}')
    return page.render(texts=texts(study))


def cut(page: str) -> str:
    return page[page.index('<section id="texts"') : page.index('<section id="classes"')]


def words(page: str) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page).replace(say.NBSP, " ").split()))


def test_nothing_is_shown_where_nothing_was_done(tmp_path: Path, maker: ModuleType, texts_maker: ModuleType) -> None:
    maker.make_study(tmp_path, maker.Plan(per_class=(4, 2, 2)))
    texts_maker.write_sources(tmp_path, texts_maker.Plan())
    (tmp_path / "texts" / "described.doctor.json").unlink()
    study = read_study(tmp_path)
    assert texts(study) is None, "texts alone are told where they were brought in"
    page = render(study, maker.FakeReader())
    assert 'id="texts"' not in page and 'href="#texts"' not in page


@pytest.mark.parametrize("name", ["text_ratio.json", "translation.json", "text_ways.json", "texts/described.doctor.json"])
def test_each_file_is_enough_for_its_part(place: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "s"
    shutil.copytree(place, folder)
    for other in ("text_ratio.json", "translation.json", "text_ways.json", "texts/described.doctor.json"):
        if other != name:
            (folder / other).unlink()
    page = alone(read_study(folder))
    heads = {
        "text_ratio": "Pictures against texts",
        "translation": "How accurate",
        "text_ways": "Names, desc",
        "texts": "The description",
    }
    shown = [head for head in heads.values() if f"<h3>{head}" in page]
    assert shown == [heads[name.split(".")[0].split("/")[0]]]


def test_the_table_is_that_of_the_file(study: Study, section: str) -> None:
    told = study.texts.ratio or {}
    part = ratio(told)
    board = part.boards[0]
    assert (board.selection, board.bracketed, [b.head for b in part.boards]) == ("balanced", "uniform", ["ridge", "softmax"])
    assert [row.ratio for row in board.rows][:2] == ["100 : 0", "90 : 10"] and board.rows[-1].ratio == "0 : 100"
    means = {
        tuple(one[name] for name in ("curve", "selection", "source", "translator", "head", "image")): one["mean"]
        for one in told["summary"]
    }
    for row in board.rows:
        columns = [("pictures", None, None), *((mode, *g.split(" · ")) for g in board.groups for mode in ("mix", "weighted"))]
        for (curve, source, translator), cell in zip(columns, row.cells, strict=True):
            for selection, shown in (("balanced", cell and cell.value.number), ("uniform", cell and cell.other)):
                mean = means.get((curve, selection, source, translator, board.head, int(row.image)))
                if selection == "balanced":
                    assert shown == mean
                elif mean is not None:
                    assert shown == f"({100 * mean:.1f})"
    assert "30 a class" in board.rows[0].coverage and "empty" in board.rows[8].coverage
    assert board.rows[-1].coverage == "no picture"
    assert board.rows[-1].cells[0] is None
    assert words(section).count("85.07 (84.80)") == 1, "published figures beside ours"


def test_signs_are_those_of_the_corrected_tests(study: Study) -> None:
    told = study.texts.ratio or {}
    board = ratio(told).boards[0]
    tests = {
        (one["curve"], f"{one['source']} · {one['translator']}", one["image"]): one
        for one in told["differences"]
        if (one["head"], one["selection"]) == (board.head, board.selection)
    }
    seen = set()
    for row in board.rows:
        for place, (group, mode) in enumerate(itertools.product(board.groups, ("mix", "weighted"))):
            cell, test = row.cells[place + 1], tests.get((mode, group, int(row.image)))
            if cell is None:
                continue
            real = test is not None and test["p_adjusted"] <= 0.05
            sign = "" if not real else "▲" if test["difference"] > 0 else "▼"
            assert cell.sign == sign
            seen.add(sign)
    assert seen == {"", "▲", "▼"}


def test_what_validation_prefers_stands_first(study: Study) -> None:
    told = dict(study.texts.ratio or {})
    turned = [
        {**cell, "val_accuracy": 0.99} if cell["head"] == "softmax" and cell["curve"] == "pictures" else cell
        for cell in told["cells"]
    ]
    moved = ratio({**told, "cells": turned})
    assert moved.boards[0].head == "softmax" and "does best on validation" in moved.why_first
    tested = [{**cell, "accuracy": 0.99} if cell["head"] == "softmax" else cell for cell in told["cells"]]
    assert ratio({**told, "cells": tested}).boards[0].head == "ridge", "test answers choose nothing"
    bare = ratio({**told, "cells": [], "differences": [], "worth": [], "notes": []})
    assert bare.boards[0].head == "ridge" and bare.boards[0].rows[0].coverage == say.NOT_RECORDED


def test_a_file_with_little_in_it_is_drawn(study: Study) -> None:
    files = study.texts
    for told in (
        {"schema": 1},
        {"schema": 1, "heads": ["ridge"], "selections": ["uniform"], "ratios": [100], "sources": ["a"]},
    ):
        page = alone(dataclasses.replace(study, texts=dataclasses.replace(files, ratio=told, card=None, ways=None)))
        assert 'id="texts"' in page
    assert cards({"schema": 1}) == ()
    (flat,) = cards({"rows": [{"name": "ridge", "role": "translator", "gap": {"value": None, "why": "no pair"}}], "pairs": {}})
    assert [line.title for line in flat.lines] == ["Modality gap"] and flat.lines[0].values[0].absent


def difference(image: int, gap: float, p: float, curve: str = "weighted") -> dict[str, Any]:
    return {
        "curve": curve,
        "image": image,
        "difference": gap,
        "low": gap - 0.01,
        "high": gap + 0.01,
        "p": p / 2,
        "p_adjusted": p,
    }


def test_sentences_say_where_texts_help_and_where_they_cost() -> None:
    tests = [
        difference(90, 0.001, 0.9),
        difference(20, 0.03, 0.01),
        difference(10, 0.06, 0.0001),
        difference(50, -0.05, 0.001, "mix"),
    ]
    said = told_differences(tests, "captions").replace(say.NBSP, " ")
    assert said == (
        "captions: Texts instead of pictures: worse than pictures alone at 50:50, most at 50:50 by −5.0 points [−6.0, −4.0], p = 0.001. "
        "Texts in addition: better than pictures alone at 20:80, 10:90, most at 10:90 by +6.0 points [+5.0, +7.0], p < 0.001; "
        "no difference could be shown at 1 other."
    )
    assert "no difference from pictures alone could be shown at any of 1 ratios" in told_differences(
        [difference(50, 0.2, 0.06)], "x"
    )
    assert told_differences([], "x") == "x: no test was made."


def row(name: str, role: str = "translator", **values: float) -> dict[str, Any]:
    return {
        "name": name,
        "role": role,
        **{key: {"value": value, "low": value, "high": value, "why": None} for key, value in values.items()},
    }


def test_the_card_says_who_passes_and_whether_measures_agree() -> None:
    good = row("ridge", zero_shot=0.6, gap=0.2, r2=0.3, variance_ratio=0.4) | {
        "bar": {"difference": 0.1, "low": 0.05, "high": 0.15, "p_adjusted": 0.01}
    }
    poor = row("shift", zero_shot=0.5, gap=0.01, r2=-1, variance_ratio=1.0) | {
        "bar": {"difference": 0.0, "low": -0.05, "high": 0.05, "p_adjusted": 1.0}
    }
    direct = row("untranslated", "direct", zero_shot=0.5)
    (card,) = cards({"cards": [{"source": "x", "rows": [direct, good, poor], "pairs": {}}]})
    assert [column.role for column in card.columns] == ["", "", "direct bar"]
    said = " ".join(card.sentences).replace(say.NBSP, " ")
    assert "Passes the direct bar" in said and said.index("ridge (+10.0 points [+5.0, +15.0], p = 0.010)") < said.index(
        "shift (0.0"
    )
    assert "do not agree which translator is best: ridge by pictures by class means, R²; shift by gap." in said
    assert "crowds the centre: ridge (0.40)" in said
    best = {line.title: [card.columns[at].name for at in line.best] for line in card.lines}
    assert best["Modality gap"] == ["shift"] and best["R²"] == ["ridge"]
    assert best["Variance ratio"] == [], "nearness to a ceiling that is not there"
    (open_,) = cards({"rows": [{**good, "bar": {"difference": 0.1, "p_adjusted": 0.2}}, direct]})
    assert "No translator passes the direct bar" in open_.sentences[0]
    (none,) = cards({"rows": [row("ridge", zero_shot=0.6)]})
    assert "There is no direct bar" in none.sentences[0]


def test_references_stand_apart_and_absent_measures_say_why(study: Study, section: str) -> None:
    first, second = cards(study.texts.card or {})
    assert [column.role for column in first.columns] == ["", "", "", "direct bar", "ceiling", "floor"]
    assert [column.role for column in second.columns] == ["", "", "", "ceiling", "floor"]
    line = next(line for line in first.lines if line.title == "Text to image, R@1")
    assert line.values[4].absent and "not the picture" in line.values[4].title and line.chance.startswith("0.3")
    table = section[section.index('class="scorecard"') :]
    assert table.count('class="num apart"') >= 3 * 17
    assert "(0.0011)" in table, "what chance alone reaches stands beside the kernel distance"


def test_the_doctor_shows_faults_worst_lines_and_controls(study: Study, section: str) -> None:
    told = study.texts.doctors["described"]
    found = doctor("described", told, study.names)
    assert [total.what for total in found.totals][:2] == [
        told["totals"][code]["what"] for code in ("contradicts", "names_class")
    ]
    aucs = [bad.auc.number for bad in found.worst]
    assert aucs == sorted(aucs) and len(aucs) <= 10
    assert (
        found.worst[0].found[0].startswith("less like pictures") and found.worst[0].of == study.names[told["lines"][0]["class"]]
    )
    assert re.findall(r'class="slice"[^>]*>([^<]+)', str(found.chart)) == [
        "names alone",
        "names and descriptions",
        "names and as many random words",
        "names and descriptions of other classes",
        "descriptions alone",
        "descriptions of other classes alone",
    ]
    assert "4 lines are cut off" in section and "1 class has no line" in section


def test_a_doctor_without_an_encoder_says_so(study: Study, texts_maker: ModuleType) -> None:
    told = texts_maker.doctor(study.manifest.classes, texts_maker.Plan(), encoder=False)
    found = doctor("x", told, study.names)
    assert str(found.chart) == "" and "no encoder" in found.about and found.order == "with the most faults"
    assert all(bad.found and bad.auc.absent for bad in found.worst)


def test_ways_are_tested_in_words(section: str) -> None:
    said = words(section)
    assert (
        "name and descriptions against name alone: +2.0 points [−1.0, +5.0], p = 0.210. No difference could be shown." in said
    )
    assert "descriptions alone against name alone: −37.0 points [−41.0, −33.0], p < 0.001." in said
    test = {
        "contestant": "x",
        "a": "texts",
        "b": "name",
        "difference": 0.5,
        "p_holm": 0.25,
        "outcome": "too few pictures to tell",
    }
    (way,) = ways({"rows": [{"contestant": "x", "way": "name", "accuracy": 0.5}], "tests": [test]}).each
    assert way.told[0][1] == "≈" and way.told[0][2].endswith("Too few pictures to tell.") and way.values[0].number == 0.5


def test_the_reach_of_each_source_is_told_without_paths(section: str, study: Study) -> None:
    said = words(section)
    assert "9 of 10" in said and "18, median 2 a class" in said
    part = study.manifest.part()
    assert f"{sum(1 for at, _ in enumerate(part) if at % 5)} of {len(part)}" in said
    assert "somebody" not in section


class Tree(HTMLParser):
    """Headings, tables with captions, boxes that scroll, charts with titles, and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.tables = self.captions = 0
        self.charts: list[bool] = []
        self.boxes: list[dict[str, str | None]] = []
        self.wrong: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.wrong += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        self.wrong += [tag] if tag in ("script", "img", "a", "iframe", "object") else []
        if re.fullmatch(r"h\d", tag):
            self.levels.append(int(tag[1]))
        self.tables += tag == "table"
        self.captions += tag == "caption"
        if tag == "svg" and given.get("role") == "img":
            self.charts.append(False)
        if tag == "title" and self.charts:
            self.charts[-1] = True
        if tag == "div" and "scroll" in (given.get("class") or "").split():
            self.boxes.append(given)


@pytest.mark.parametrize("kind", ["plain", "evil"])
def test_structure_is_that_of_the_house(kind: str, section: str, drawn: Path) -> None:
    tree = Tree(section if kind == "plain" else cut((drawn / "report.html").read_text(encoding="utf-8")))
    assert not tree.wrong
    assert tree.levels[0] == 2 and all(b - a <= 1 for a, b in itertools.pairwise(tree.levels))
    assert tree.tables == tree.captions > 5
    assert len(tree.charts) >= 8 and all(tree.charts)
    assert all(box.get("tabindex") == "0" and box.get("role") == "region" and box.get("aria-label") for box in tree.boxes)


def test_words_of_a_study_stay_words(drawn: Path, texts_maker: ModuleType) -> None:
    part = cut((drawn / "report.html").read_text(encoding="utf-8"))
    for name in texts_maker.EVIL:
        assert (
            str(say.clean(name)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;") in part
        ), name
    assert "<script" not in part and "<img" not in part and "\u202e" not in part and "\x00" not in part


def test_the_large_study_stays_small(texts_maker: ModuleType, study: Study) -> None:
    """200 classes, 11 ratios, 2 sources x 3 translators x 2 selections x 3 heads."""
    told = texts_maker.ratio(200, texts_maker.LARGE)
    assert len(told["summary"]) > 700
    files = dataclasses.replace(study.texts, ratio=told)
    part = alone(dataclasses.replace(study, texts=files))
    assert len(part.encode()) < 500_000
    assert part.count('class="ratio"') == 18


def positions(chart: str, kind: str) -> list[tuple[float, float]]:
    (route,) = re.findall(rf'<polyline class="track rc-{kind}" points="([^"]+)"', chart)
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in route.split())]


def test_the_chart_is_linear_in_pictures_and_each_curve_has_its_own_form() -> None:
    points = {
        "pictures": [(100, 0.9), (50, 0.8), (25, 0.7)],
        "mix": [(50, 0.7), (0, 0.2)],
        "weighted": [(100, 0.9), (50, 0.85), (0, 0.4)],
    }
    tracks = [Track(kind, tuple(Point(i, m, m - 0.02, m + 0.02) for i, m in each)) for kind, each in points.items()]
    chart = str(ratio_chart(tracks, axis(tracks), 30, "a chart"))
    (a, b, c) = (x for x, _ in positions(chart, "pictures"))
    assert b - a == pytest.approx(2 * (c - b), abs=0.3) and a < b < c, "all pictures on the left, evenly down to none"
    assert [y for _, y in positions(chart, "weighted")] == sorted(y for _, y in positions(chart, "weighted"))
    assert chart.count('class="band') == 3
    for mark in ("#m2", "#m1", "#m5"):
        assert mark in chart
    for name in ("pictures alone", "texts instead", "texts in addition"):
        assert chart.count(f">{name}</text>") == 1
    for tick in ("100:0", "50:50", "0:100", ">30<", ">7.5<"):
        assert tick in chart
    for x, y in re.findall(r'<text class="[^"]+" x="([\d.-]+)" y="([\d.-]+)"', chart):
        assert 0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT
    assert str(ratio_chart([], axis([]), None, "nothing")) == ""


def test_interval_rows_stay_on_the_picture() -> None:
    chart = str(interval_rows([Named("a" * 90, 0.5, 0.4, 0.6), Named("b", 0.1, apart=True)], "rows", chance=0.01))
    assert chart.count("<circle") == 2 and 'class="chance"' in chart and "…" in chart
    for value in re.findall(r'(?:x|cx)="([\d.-]+)"', chart):
        assert 0 <= float(value) <= ROWS_WIDTH
    assert str(interval_rows([], "none")) == ""


def test_exports_hold_the_same_numbers(study: Study, place: Path, maker: ModuleType, tmp_path: Path) -> None:
    from fieldguide.report import exports

    exports.write(tmp_path, study)
    exports.finish(tmp_path, study)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Can text stand in for pictures?" in text and "| 90 : 10 | 27 a class" in text
    assert "Passes the direct bar" in text and "The description doctor on described" in text
    told = read_json(tmp_path / "scores.json")["texts"]
    whole = read_json(place / "text_ratio.json")
    assert told["ratio"]["summary"] == whole["summary"] and "cells" not in told["ratio"]
    assert told["doctor"]["described"]["totals"] and "lines" not in told["doctor"]["described"]


def test_the_figure_has_the_summary_beside_it(study: Study) -> None:
    pytest.importorskip("matplotlib", reason="the extra figures is not installed")
    from fieldguide.report.exports.figures.style import drawing

    with drawing(""):
        (figure,) = figures.ratios(study)
    assert figure.name == "text_ratio" and len(figure.rows) == len((study.texts.ratio or {})["summary"])
    assert sum(axes.get_visible() for axes in figure.canvas.axes) == 4
    assert figures.ratios(dataclasses.replace(study, texts=type(study.texts)())) == []


def test_a_damaged_file_is_named(place: Path, tmp_path: Path, maker: ModuleType) -> None:
    from fieldguide.errors import DataProblem

    shutil.copytree(place, tmp_path / "s")
    write_json(tmp_path / "s" / "translation.json", {"schema": 99})
    with pytest.raises(DataProblem, match="newer fieldguide"):
        read_study(tmp_path / "s")
