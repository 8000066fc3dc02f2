"""Accuracy against cost, kinds, slices, classes by kind, and validation against test: what the sections say, and that it is true."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fieldguide.report import say
from fieldguide.report.board import board
from fieldguide.report.build import build
from fieldguide.report.efficiency import efficiency
from fieldguide.report.kinds import by_class, kinds
from fieldguide.report.labels import Box, placed, width_of
from fieldguide.report.optimism import optimism
from fieldguide.report.read import Study, read_study
from fieldguide.report.scatter import Point, front, lowest
from fieldguide.report.slices import slices


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, maker: ModuleType) -> Path:
    """Fourteen networks of three kinds, a talker and two floors, on classes of which each has 40 test pictures."""
    place = tmp_path_factory.mktemp("differences")
    entries = tuple(
        maker.Entry(e.name, e.family, e.skill * 0.55, kind=e.kind, speed=e.speed, failures=e.failures) for e in maker.ZOO
    )
    maker.make_study(place, maker.Plan(per_class=(12, 20, 40), entries=entries))
    build(place, maker.FakeReader(12))
    return place


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    return read_study(folder)


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def section(page: str, name: str) -> str:
    return page[page.index(f'<section id="{name}"') :].split("</section>")[0]


def points(*pairs: tuple[float, float]) -> list[Point]:
    return [Point(f"p{at}", at, 0, cost, accuracy, None) for at, (cost, accuracy) in enumerate(pairs)]


# --- cost -----------------------------------------------------------------------------------------------------------------------


def test_the_front_is_whom_nobody_beats_in_both() -> None:
    given = points((1, 0.5), (2, 0.4), (3, 0.7), (3, 0.8), (9, 0.8), (10, 0.9))
    assert [point.number for point in front(given)] == [0, 3, 5]
    random = np.random.default_rng(0)
    cloud = points(*((float(cost), float(share)) for cost, share in random.random((60, 2))))
    alone = {p for p in cloud if not any(o is not p and o.cost <= p.cost and o.accuracy >= p.accuracy for o in cloud)}
    assert set(front(cloud)) == alone
    assert front([]) == ()


def test_far_below_the_rest_is_the_edge() -> None:
    assert lowest([0.95, 0.93, 0.9, 0.91, 0.2]) == pytest.approx(0.85)
    assert lowest([0.95, 0.8, 0.7]) == pytest.approx(0.6)
    assert lowest([0.9, 0.1]) < 0


def test_names_never_lie_on_each_other_nor_on_marks() -> None:
    random = np.random.default_rng(1)
    marks = [(float(x), float(y)) for x, y in random.uniform((80, 60), (600, 300), (16, 2))]
    texts = [f"{at} contestant {at}" if at % 2 else f"{at} 三毛猫" for at in range(16)]
    frame = Box(0, 0, 800, 400)
    found = placed(marks, [(text,) for text in texts], [], frame)
    boxes = []
    for seat, text in zip(found, texts, strict=True):
        assert seat is not None and seat[0] == text
        place = seat[1]
        left = place.x - {"start": 0.0, "middle": width_of(text) / 2, "end": width_of(text)}[place.anchor]
        boxes.append(Box(left, place.y - 11, left + width_of(text), place.y + 3))
    assert all(box.inside(frame) for box in boxes)
    assert not any(one.meets(other) for one, other in itertools.combinations(boxes, 2))
    assert not any(box.meets(Box(x - 7, y - 7, x + 7, y + 7)) for box in boxes for x, y in marks)
    assert placed([(400.0, 200.0)], [("x",)], [Box(0, 0, 800, 400)], frame) == [None]
    narrow = placed([(20.0, 20.0)], [("a name that is too long", "7")], [], Box(0, 0, 60, 40))
    assert narrow[0] is not None and narrow[0][0] == "7"


def test_every_contestant_stands_in_each_chart_or_is_named_with_the_reason(study: Study) -> None:
    found = efficiency(study, board(study))
    assert [chart.heading for chart in found.charts] == ["Time for a picture", "Time to train", "Size"]
    names = {contestant.name for _, contestant, _ in found.key}
    assert names | {contestant.name for contestant in found.sunk} == {contestant.name for contestant in study.scored}
    assert [contestant.name for contestant in found.sunk] == ["majority"]
    for chart in found.charts:
        assert chart.picture.count('<use class="dot') + len(chart.missing) == len(names)
        assert chart.picture.count("<title>") == 1
    costs = {c.name: (c.cost["ms_per_image"], c.metric("accuracy")["value"]) for c in study.scored if c.name in names}  # type: ignore[index]
    told = found.charts[0].picture.split("On the front: ")[1].split("</title>")[0]
    for name, (cost, accuracy) in costs.items():
        beaten = any(c <= cost and a >= accuracy and (c, a) != (cost, accuracy) for c, a in costs.values())
        assert (f"{name} " in told) != beaten, name


def test_what_has_no_cost_is_not_applicable(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(tmp_path, maker.Plan(per_class=(4, 4, 9), names=maker.ANIMALS[:5]))
    (run,) = [p for p in (tmp_path / "runs").iterdir() if '"talker"' in (p / "settings.toml").read_text(encoding="utf-8")]
    cost = json.loads((run / "cost.json").read_text(encoding="utf-8"))
    cost |= {"ms_per_image": None, "parameters": None, "fit_seconds": 0, "device": "server"}
    (run / "cost.json").write_text(json.dumps(cost), encoding="utf-8")
    read = read_study(tmp_path)
    found = efficiency(read, board(read))
    assert [[(c.name, why) for c, why in chart.missing] for chart in found.charts] == [
        [("talker", "the study folder does not hold this value")],
        [("talker", "a logarithmic axis has no place for nothing")],
        [("talker", "this family has no count of parameters")],
    ]
    assert "server: talker" in found.devices and "do not compare" in found.devices
    text = section(build(tmp_path, maker.FakeReader(12)).read_text(encoding="utf-8"), "efficiency")
    assert "Not applicable:" in text and "this family has no count of parameters" in text


def test_a_number_of_the_key_stands_in_every_chart(page: str, study: Study) -> None:
    part = section(page, "efficiency")
    large, *small = part.split('<svg class="cost"')[1:]
    for number, contestant in enumerate(study.scored[:-1], start=1):
        assert f">{number} {contestant.name}" in large
        assert f'<span class="n">{number}</span>' in part
    assert len(small) == 2 and all(len(re.findall(r'<text class="name f\d+"', chart)) >= 14 for chart in small)


def test_the_number_of_test_pictures_is_a_column(page: str, study: Study) -> None:
    row = section(page, "leaderboard").split("<tr>")[2]
    assert '<td class="num " data-v="400"><span>400</span></td>' in row
    assert {row.n.number for row in board(study).rows} == {400}


# --- kinds ----------------------------------------------------------------------------------------------------------------------


def test_every_model_is_a_dot_of_its_kind(study: Study, page: str) -> None:
    found = kinds(study)
    assert {kind.code: len(kind.members) for kind in found.kinds} == {
        "state space": 3,
        "attention": 3,
        "convolution": 8,
        "prompted": 1,
        "floor": 2,
    }
    for kind in found.kinds:
        assert kind.dots.count('<use class="dot') == len(kind.members)
        shares = [member.accuracy.number for member in kind.members]
        assert kind.mean.number == pytest.approx(np.mean(shares))  # type: ignore[arg-type]
        assert kind.dots.count('class="mean"') == (len(kind.members) > 1 and kind.compared)
    assert section(page, "kinds").count('<svg class="dots"') == 6


def test_pairs_of_kinds_say_what_models_can_tell(study: Study) -> None:
    sentences = {(pair.a, pair.b): plain(pair.sentence) for pair in kinds(study).pairs}
    assert len(sentences) == 6
    swin = sentences["transformers", "CNNs"]
    assert "Transformers (3) lie" in swin and "above CNNs (8) on average" in swin and "the smallest possible is 0.012" in swin
    assert "6 models cannot tell" in sentences["state-space networks", "transformers"]
    assert "p could not be below 0.100" in sentences["state-space networks", "transformers"]
    assert "the prompted language model on average" in sentences["CNNs", "prompted language model"]
    assert "floor" not in " ".join(sentences.values())


def test_two_models_are_no_kinds(tmp_path: Path, maker: ModuleType) -> None:
    entries = (maker.Entry("one", "backbone", 3, kind="convolution"), maker.Entry("two", "backbone", 3, kind="attention"))
    maker.make_study(tmp_path, maker.Plan(per_class=(4, 4, 9), names=maker.ANIMALS[:5], entries=entries))
    (pair,) = kinds(read_study(tmp_path)).pairs
    assert "compares two models, as the matrix above does, and says nothing of kinds" in pair.sentence
    assert pair.outcome == "too few models to tell" and pair.moved == say.NOT_APPLICABLE


def test_classes_are_named_where_pictures_carry_it(study: Study, folder: Path) -> None:
    told = json.loads((folder / "kinds.json").read_text(encoding="utf-8"))
    held = [test for test in told["by_class"]["tests"] if test["holds"]]
    assert 3 < len(held) < told["by_class"]["tested"]
    found = by_class(study)
    assert sum(len(re.findall(r"\(\d+ : \d+, q", line)) for line in found.findings) == len(held)
    representatives = {entry["kind"]: entry["representative"] for entry in told["kinds"]}
    for test in held:
        better, worse = ("a", "b") if test["only_a"] > test["only_b"] else ("b", "a")
        line = next(
            one
            for one in found.findings
            if one.startswith(f"{representatives[test[better]]} (") and f"than {representatives[test[worse]]} (" in one
        )
        assert f"{study.names[test['class']]} ({test[f'only_{better}']} : {test[f'only_{worse}']}" in line
    signs = {(row.id, at): cell.sign for row in found.rows for at, cell in enumerate(row.cells)}
    order = [entry["kind"] for entry in told["kinds"]]
    for test in held:
        better = test["a"] if test["only_a"] > test["only_b"] else test["b"]
        assert "▲" in signs[test["class"], order.index(better)]
    assert sum(bool(sign) for sign in signs.values()) <= 2 * len(held)
    assert not any(cell.sign for row in found.rows for cell in row.cells[order.index("floor") :])


def test_with_nine_pictures_a_class_nothing_is_claimed(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(tmp_path, maker.Plan(per_class=(4, 4, 9)))
    found = by_class(read_study(tmp_path))
    assert found.findings == ()
    assert "too few pictures to tell for any class" in found.summary


# --- slices ---------------------------------------------------------------------------------------------------------------------


def test_slices_show_kinds_contestants_and_what_is_absent(study: Study, page: str) -> None:
    found = slices(study)
    by_title = {slicing.title: slicing for slicing in found.slicings}
    assert by_title["Size of the subject"].why == "the pictures were not measured"
    assert [len(by_title[title].slices) for title in ("Resolution", "Photograph or drawing", "Also in train")] == [4, 2, 2]
    for slicing in found.slicings:
        assert sum(part.n for part in slicing.slices) in (0, 400)
        assert len(slicing.pairs) == (6 if slicing.slices else 0)
        for part in slicing.slices:
            assert len(part.kinds) == 5 and len(part.runs) == len(study.scored)
    text = section(page, "slices")
    assert "Not applicable: the pictures were not measured." in text
    assert text.count('<svg class="gaps"') == 18
    assert "That is no proof that gaps are alike" in found.summary


def test_a_gap_that_depends_is_named_first(study: Study, tmp_path: Path, folder: Path) -> None:
    from dataclasses import replace

    told = json.loads((folder / "slices.json").read_text(encoding="utf-8"))
    told["slicings"][0]["pairs"][1] |= {"p": 0.0005, "p_holm": 0.009, "outcome": "depends on it"}
    found = slices(replace(study, slices=told))
    assert "1 holds after Holm’s correction: state-space networks against CNNs by resolution." in found.summary
    assert found.slicings[0].depends and not found.slicings[1].depends


# --- validation -----------------------------------------------------------------------------------------------------------------


def test_validation_stands_beside_test(study: Study, page: str) -> None:
    found = optimism(study)
    assert len(found.rows) == len(study.scored)
    for row in found.rows:
        val, test = row.contestant.metric("accuracy", "val"), row.contestant.metric("accuracy")
        assert val and test and row.gap.number == pytest.approx(val["value"] - test["value"])
        low, high = (float(plain(end).replace(say.MINUS, "-")) for end in row.gap.note.strip("[]").split(", "))
        assert low <= 100 * (row.gap.number or 0) <= high and row.apart == (low > 0 or high < 0)
    above = sum((row.gap.number or 0) > 0 for row in found.rows)
    assert f"above test accuracy for {above} of {len(found.rows)}" in found.sentences[0]
    assert "a number that won a contest is too high on average" in found.sentences[1]
    assert section(page, "optimism").count('class="end open') == len(found.rows) + 1


# --- absent, and the browser ----------------------------------------------------------------------------------------------------


def test_without_the_files_the_sections_say_so(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(tmp_path, maker.Plan(per_class=(4, 4, 9), names=maker.ANIMALS[:5]))
    for name in ("kinds.json", "slices.json"):
        (tmp_path / name).unlink()
    text = build(tmp_path, maker.FakeReader(12)).read_text(encoding="utf-8")
    assert "kinds.json is not in this study" in text and "slices.json is not in this study" in text
    assert "no recalls by class and kind" in text


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1280])
def test_charts_fit_and_names_are_apart_in_the_browser(chromium: Any, folder: Path, width: int) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900})
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.goto((folder / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.evaluate(
        """() => [...document.querySelectorAll('#efficiency svg.cost')].map((svg) => [...svg.querySelectorAll('text.name')].map(
            (text) => { const box = text.getBBox(); return [box.x, box.y + 2, box.x + box.width, box.y + box.height - 2]; }))"""
    )
    assert len(boxes) == 3 and len(boxes[0]) >= 14
    for chart in boxes:
        assert not any(Box(*one).meets(Box(*other)) for one, other in itertools.combinations(chart, 2))
    page.close()
    assert heard == []
