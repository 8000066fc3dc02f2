"""Before and after: which runs belong together, which way, and that every line is that of the files."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from scipy.stats import binomtest
from tests.report.test_browser import opened

from fieldguide.report import say
from fieldguide.report.build import build
from fieldguide.report.read import Study, read_study
from fieldguide.report.slopes import class_lines, couples, slopes

NETWORK = "vit_small_patch16_224"


def study_of(folder: Path, maker: ModuleType, *entries: Any, **plan: Any) -> Study:
    maker.make_study(folder, maker.Plan(entries=entries, **plan))
    return read_study(folder)


def entry(maker: ModuleType, name: str, family: str, skill: float, **more: Any) -> Any:
    return maker.Entry(name, family, skill, more=more)


def test_runs_of_one_network_are_paired_and_the_one_trained_less_comes_before(tmp_path: Path, maker: ModuleType) -> None:
    study = study_of(
        tmp_path,
        maker,
        entry(maker, "all", "backbone", 4.0, model=NETWORK, weights="hub", train="all"),
        entry(maker, "head", "backbone", 3.0, model=f"{NETWORK}.augreg", weights="hub", train="head"),
        entry(maker, "frozen", "linear", 2.0, features=f"{NETWORK}.dino"),
        entry(maker, "fresh", "backbone", 1.0, model=NETWORK, weights="none", train="all"),
        entry(maker, "some", "backbone", 3.5, model=NETWORK, weights="hub", train="blocks:10-11"),
        entry(maker, "pixels", "linear", 1.5, features="pixels"),
        entry(maker, "other", "backbone", 1.5, model="resnet18", weights="none", train="all"),
        entry(maker, "prompted", "vlm_prompt", 1.5, model="hf/owner/vlm.2-5"),
        entry(maker, "lora", "vlm_lora", 3.5, model="hf/owner/vlm.2-5"),
        entry(maker, "another", "vlm_lora", 3.5, model="hf/owner/vlm.2"),
    )
    found = [(before.name, after.name) for before, after in couples(study)]
    chain = ["fresh", "frozen", "head", "some", "all"]
    expected = {(a, b) for i, a in enumerate(chain) for b in chain[i + 1 :]} | {("prompted", "lora")}
    assert set(found) == expected and len(found) == len(expected)
    apart = {(pair.before.name, pair.after.name): pair.apart for pair in slopes(study).pairs}
    assert apart["frozen", "all"] == "frozen features → fine-tuned, all layers"
    assert apart["fresh", "all"] == "from scratch → fine-tuned, all layers"
    assert apart["head", "some"] == "fine-tuned, head only → fine-tuned, blocks:10-11"
    assert apart["prompted", "lora"] == "prompted → LoRA"


def test_where_as_much_was_trained_the_first_asked_for_is_before_and_settings_tell_them_apart(
    tmp_path: Path, maker: ModuleType
) -> None:
    study = study_of(
        tmp_path,
        maker,
        entry(maker, "slow", "backbone", 3.0, **maker.TUNED, learning_rate=1e-5),
        entry(maker, "quick", "backbone", 4.0, **maker.TUNED, learning_rate=1e-2, mixup=None),
    )
    (pair,) = slopes(study).pairs
    assert (pair.before.name, pair.after.name) == ("slow", "quick")
    assert pair.apart == "learning_rate 1e-05 → 0.01"


def test_lines_are_those_of_the_files(tmp_path: Path, maker: ModuleType) -> None:
    study = study_of(
        tmp_path,
        maker,
        entry(maker, "before", "linear", 2.4, **maker.FROZEN),
        entry(maker, "after", "backbone", 3.0, **maker.TUNED),
        per_class=(5, 5, 12),
    )
    (pair,) = slopes(study).pairs
    one, two = pair.before.test or {}, pair.after.test or {}
    recalls = [{row["id"]: row["recall"]["value"] for row in part["per_class"]} for part in (one, two)]
    assert [line.id for line in pair.lines] == [info.id for info in study.classes]
    assert {line.kind for line in pair.lines} == {"better", "worse", "same"}, "too easy a study to see anything"
    for line in pair.lines:
        assert (line.before, line.after) == (recalls[0][line.id], recalls[1][line.id])
        assert line.gained is not None and line.lost is not None
        assert line.gained - line.lost == round((line.after - line.before) * line.n)
    assert sum(pair.counts.values()) == len(study.classes)
    told = {named.title: [line.id for line in named.lines] for named in pair.lists}
    assert told["Now all right (recall 100 %)"] == [x.id for x in pair.lines if x.after == 1 > x.before]
    assert told["Left 0"] == [x.id for x in pair.lines if x.before == 0 < x.after]
    assert set(told["Got worse"]) == {x.id for x in pair.lines if x.after < x.before}
    assert told["Weakest now"][0] == min(pair.lines, key=lambda x: (x.after, x.name)).id
    (whole,) = (study.comparison or {})["pairs"]
    only = {whole["a"]: whole["only_a"], whole["b"]: whole["only_b"]}
    assert f"after alone has {only['after']} pictures right, before alone {only['before']}:" in pair.sentence
    assert (sum(x.gained or 0 for x in pair.lines), sum(x.lost or 0 for x in pair.lines)) == (only["after"], only["before"])


def test_one_class_says_more_than_chance_only_where_its_pictures_carry_it(tmp_path: Path, maker: ModuleType) -> None:
    entries = (entry(maker, "before", "linear", 0.6, **maker.FROZEN), entry(maker, "after", "backbone", 5.0, **maker.TUNED))
    small = study_of(tmp_path / "small", maker, *entries, per_class=(4, 2, 4))
    large = study_of(tmp_path / "large", maker, *entries, per_class=(4, 2, 40))
    (few,), (many,) = slopes(small).pairs, slopes(large).pairs
    assert any(line.after > line.before for line in few.lines) and not any(line.real for line in few.lines)
    assert "No class alone changed by more than chance" in few.doubt and "moves a line by 25.0 points" in few.doubt
    real = [line for line in many.lines if line.real]
    assert len(real) > 5
    assert all(binomtest(line.gained, line.gained + line.lost).pvalue < 0.05 for line in real if line.gained is not None)
    assert say.clean(real[0].name) in many.doubt


def test_without_answers_counts_are_not_recorded(tmp_path: Path, maker: ModuleType) -> None:
    entries = (entry(maker, "before", "linear", 2.0, **maker.FROZEN), entry(maker, "after", "backbone", 4.0, **maker.TUNED))
    maker.make_study(tmp_path, maker.Plan(entries=entries))
    for path in tmp_path.glob("runs/*/predictions.parquet"):
        path.unlink()
    (tmp_path / "comparison.json").unlink()
    (pair,) = slopes(read_study(tmp_path)).pairs
    assert {line.moved for line in pair.lines} == {"not recorded"}
    assert pair.sentence == "The paired test of the two is not recorded." and pair.outcome == "not recorded"
    page = build(tmp_path, maker.FakeReader()).read_text(encoding="utf-8")
    assert "the answers are not recorded" in page


def test_a_study_without_a_pair_says_so(tmp_path: Path, maker: ModuleType) -> None:
    study = study_of(
        tmp_path, maker, entry(maker, "one", "linear", 2.0), entry(maker, "two", "backbone", 3.0, model="resnet18")
    )
    assert slopes(study).pairs == ()
    page = build(tmp_path, maker.FakeReader()).read_text(encoding="utf-8")
    assert "Not applicable: no two scored contestants use the same network in two ways" in page
    assert 'class="slopechoice"' in page


def test_many_runs_of_one_network_are_bounded(tmp_path: Path, maker: ModuleType) -> None:
    entries = [entry(maker, f"run{at}", "backbone", 1 + at / 4, **maker.TUNED, learning_rate=at) for at in range(9)]
    found = slopes(study_of(tmp_path, maker, *entries))
    assert len(found.pairs) == 24 and found.more == 36 - 24


def test_a_class_without_test_pictures_has_no_line(tmp_path: Path, maker: ModuleType) -> None:
    entries = (entry(maker, "before", "linear", 2.0, **maker.FROZEN), entry(maker, "after", "backbone", 4.0, **maker.TUNED))
    maker.make_study(tmp_path, maker.Plan(entries=entries))
    for path in tmp_path.glob("runs/*/scores.json"):
        scores = json.loads(path.read_text(encoding="utf-8"))
        scores["parts"]["test"]["per_class"][0]["recall"] = {"value": None, "state": "not applicable", "why": "no test picture"}
        path.write_text(json.dumps(scores), encoding="utf-8")
    study = read_study(tmp_path)
    lines = class_lines(study, *study.scored)
    assert [line.id for line in lines] == [info.id for info in study.classes[1:]]


@pytest.mark.browser
def test_any_two_can_be_chosen_in_the_browser(chromium: Any, exported: Path, wicked: tuple[str, ...]) -> None:
    with opened(chromium, exported) as (page, heard):
        box = page.locator(".slopechoice")
        assert box.is_visible()
        study = read_study(exported)
        order = [contestant.name for contestant in study.scored]
        for before, after in (("linear", "vit_small"), (wicked[0], "linear")):
            box.locator("[data-slope=before]").select_option(str(order.index(before)))
            box.locator("[data-slope=after]").select_option(str(order.index(after)))
            lines = class_lines(study, *(study.scored[order.index(name)] for name in (before, after)))
            told = box.locator("[data-slope=told]").inner_text()
            better, worse = (sum(line.kind == kind for line in lines) for kind in ("better", "worse"))
            assert told.startswith(f"{better} classes better, {worse} worse, ") and "exact McNemar test" in told
            assert box.locator("svg.slopes title").first.text_content() == f"Recall of each class, from {before} to {after}"
            strokes = box.locator("svg.slopes line.slope:not(.whole)").count()
            assert strokes == len({(line.before, line.after) for line in lines})
        assert heard == []


@pytest.mark.browser
def test_drawn_by_script_and_drawn_by_us_are_the_same(chromium: Any, exported: Path) -> None:
    with opened(chromium, exported) as (page, _):
        order = [contestant.name for contestant in read_study(exported).scored]
        page.locator("[data-slope=before]").select_option(str(order.index("linear")))
        page.locator("[data-slope=after]").select_option(str(order.index("vit_small")))
        shapes = """(svg) => [...svg.querySelectorAll('line,circle,text')].map((node) => [node.tagName, node.getAttribute('class'),
            ...['x1', 'y1', 'x2', 'y2', 'cx', 'cy'].map((name) => Math.round(10 * Number(node.getAttribute(name) ?? 0))),
            node.tagName === 'text' ? node.textContent : ''].join(' '))"""
        ours = page.locator("#slopes .slopebox svg.slopes").evaluate_all(f"(all) => all.map({shapes})")
        wanted = page.locator("#slopes .slopechoice svg.slopes").evaluate(shapes)
        assert sorted(wanted) in [sorted(one) for one in ours]


@pytest.mark.browser
def test_without_scripts_every_pair_can_be_opened(chromium: Any, exported: Path) -> None:
    with opened(chromium, exported, java_script_enabled=False) as (page, _):
        assert not page.locator(".slopechoice").is_visible()
        panels = page.locator("#slopes details.panel")
        assert panels.count() == len(slopes(read_study(exported)).pairs) > 1
        panels.nth(1).locator("summary").first.click()
        assert panels.nth(1).locator("svg.slopes").is_visible()
