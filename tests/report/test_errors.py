"""Errors in the report: causes, tags, what two contestants missed together, and the filters."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.report.test_browser import opened

from fieldguide.files import read_json, write_json
from fieldguide.report.build import build, render
from fieldguide.report.gallery import LEADERS, Wrong, chosen, leaders, wrong_pictures
from fieldguide.report.read import read_study


@pytest.fixture(scope="module")
def text(drawn: Path) -> str:
    return (drawn / "report.html").read_text(encoding="utf-8")


def section(text: str, name: str) -> str:
    start = text.index(f'<section id="{name}"')
    return text[start : text.index("</section>", start)]


def test_the_table_holds_every_rate_of_the_file(text: str, drawn: Path) -> None:
    told, part = read_json(drawn / "causes.json"), section(text, "causes")
    assert told["rates"]
    for rate in told["rates"]:
        share = rate["marked_errors"] / rate["errors"] if rate["errors"] else ""
        assert f'data-v="{share}">{rate["marked_errors"]} of {rate["errors"]}<' in part
        if rate["p_fdr"] is not None:
            assert f'data-v="{rate["difference"]}"' in part and f'data-v="{rate["p_fdr"]}"' in part
    more = sum(rate["outcome"] == "more among errors" for rate in told["rates"])
    assert part.count('class="k-more') == more > 0
    assert "Hypotheses, not findings" in part


def test_what_was_planted_is_named(text: str) -> None:
    named = re.search(r'<ul class="namedcauses">(.*?)</ul>', section(text, "causes"), re.S)
    assert named and "low contrast: " in named[1] and named[1].count("<li>") == 1


def test_what_a_person_wrote_is_shown_as_text(text: str) -> None:
    assert "out of &lt;b&gt;focus&lt;/b&gt;" in section(text, "causes") and "<b>focus" not in text
    gallery = section(text, "gallery")
    assert '<span class="byhand">by hand: <bdi>two &lt;i&gt;of them&lt;/i&gt;</bdi></span>' in gallery
    assert gallery.count('class="tag hand"') == 2
    assert "1 picture was set by hand" in section(text, "causes")


def test_every_figure_carries_the_causes_of_the_file(text: str, drawn: Path) -> None:
    told, study = read_json(drawn / "causes.json"), read_study(drawn)
    names = [cause["name"] for cause in told["causes"]]
    figures = re.findall(
        r'<figure class="shot" id="g\d+".*?data-causes="([^"]*)".*?<p class="path" title="([^"]*)"', text, re.S
    )
    keys = {row.path.replace("\\", "/"): row.key for row in study.manifest.part("test")}
    seen = 0
    for positions, path in figures:
        key = keys.get(path)
        if key is not None:
            wanted = told["pictures"].get(key, {"causes": []})["causes"]
            assert {names[int(place)] for place in positions.split(",") if place} == set(wanted)
            seen += bool(wanted)
    assert seen > 5


def test_pairs_are_those_of_the_file_and_lead_to_pictures_both_missed(text: str, drawn: Path) -> None:
    told, part = read_json(drawn / "causes.json")["together"], section(text, "gallery")
    study = read_study(drawn)
    index = {contestant.name: run for run, contestant in enumerate(study.scored)}
    said = {
        int(n): (truth, answers.split(","))
        for n, truth, answers in re.findall(r'id="g(\d+)" tabindex="-1" data-truth="(\d+)" data-said="([^"]*)"', text)
    }
    links = {
        (int(a), int(b)): (int(g), int(count))
        for g, a, b, count in re.findall(r'href="#g(\d+)" data-both="(\d+),(\d+)"[^>]*>(\d+)</a>', part)
    }
    assert len(told) == len(index) * (len(index) - 1) // 2
    for pair in told:
        runs = tuple(sorted((index[pair["a"]], index[pair["b"]])))
        if pair["both"]:
            figure, count = links[runs[0], runs[1]]
            truth, answers = said[figure]
            assert count == pair["both"] and all(answers[run] != truth for run in runs)
        assert f'data-v="{pair["expected"]}"' in part
    assert "Show what everyone missed" in part


def test_pictures_that_leading_pairs_missed_stand_first_and_are_all_shown(drawn: Path) -> None:
    study = read_study(drawn)
    first = leaders(study)
    wrong = wrong_pictures(study)
    both = [sum(one.said[run] != one.truth for run in first) >= 2 for one in wrong]
    assert len(first) == LEADERS and 0 < sum(both) < len(both)
    assert both == sorted(both, reverse=True)
    few = chosen(wrong, sum(both) + 1)
    assert few[: sum(both)] == wrong[: sum(both)]


def test_many_that_leaders_missed_leave_no_room_for_others_before_them() -> None:
    from fieldguide.records import ManifestRow

    every = [
        Wrong(ManifestRow(f"{at:064x}", f"{at}.jpg", "a", "test"), 0, (at % 5 + 1, 1), 2, 0.5, int(at < 18)) for at in range(40)
    ]
    assert chosen(every, 20)[:18] == every[:18] and len(chosen(every, 20)) == 20


def test_without_the_file_the_section_says_so(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(tmp_path, maker.Plan(per_class=(4, 2, 4)))
    (tmp_path / "causes.json").unlink()
    page = render(read_study(tmp_path), maker.FakeReader(12))
    assert "holds no causes.json" in section(page, "causes")
    assert 'data-both="' not in page and 'data-filter="cause"' not in page


def test_a_study_in_which_nothing_is_met_more_often_says_so(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(tmp_path, maker.Plan(per_class=(4, 2, 4)))
    told = read_json(tmp_path / "causes.json")
    for rate in told["rates"]:
        rate["outcome"] = "not distinguishable" if rate["p_fdr"] is not None else rate["outcome"]
    write_json(tmp_path / "causes.json", told)
    part = section(render(read_study(tmp_path), maker.FakeReader(12)), "causes")
    assert "differs</b> between errors and right answers by more than chance explains" in part and "k-more" not in part


def test_fourteen_contestants_fit(tmp_path: Path, maker: ModuleType) -> None:
    entries = tuple(maker.Entry(f"c{i}", f"room{i % 6}", 0.5 + i / 3) for i in range(14))
    maker.make_study(tmp_path, maker.Plan(per_class=(4, 2, 9), entries=entries))
    page = render(read_study(tmp_path), maker.FakeReader(12))
    assert 'class="both tight"' in page and section(page, "causes").count('class="dumbbell"') == 0


def visible(page: Any) -> list[tuple[str, list[str], str]]:
    return [
        (shot.get_attribute("data-truth"), shot.get_attribute("data-said").split(","), shot.get_attribute("data-causes"))
        for shot in page.locator(".shot:not([hidden])").all()
    ]


def test_the_gallery_shows_what_two_missed_or_everyone(chromium: Any, drawn: Path) -> None:
    with opened(chromium, drawn) as (page, heard):
        whole = page.locator(".shot").count()
        page.locator("[data-filter=run]").select_option("0")
        page.locator("[data-filter=and]").select_option("1")
        shown = visible(page)
        assert 0 < len(shown) < whole and all(said[0] != truth and said[1] != truth for truth, said, _ in shown)
        page.locator("[data-filter=run]").select_option("all")
        everyone = visible(page)
        assert 0 < len(everyone) <= len(shown) and all(truth not in said for truth, said, _ in everyone)
        assert page.locator("[data-filter=and]").is_disabled() and page.locator("[data-filter=and]").input_value() == ""
        page.locator("[data-clear]").click()
        assert len(visible(page)) == whole and page.locator("[data-filter=and]").is_enabled()
        assert heard == []


def test_a_cell_of_the_matrix_leads_to_its_pictures(chromium: Any, drawn: Path) -> None:
    with opened(chromium, drawn) as (page, heard):
        if not page.locator("a[data-both]").first.is_visible():
            page.locator("details.together > summary").click()
        link = page.locator("a[data-both]").first
        one, other = (int(run) for run in link.get_attribute("data-both").split(","))
        count = int(link.inner_text())
        link.click()
        shown = visible(page)
        assert len(shown) == count and all(said[one] != truth != said[other] for truth, said, _ in shown)
        assert heard == []


def test_the_gallery_can_be_narrowed_to_a_cause(chromium: Any, drawn: Path) -> None:
    with opened(chromium, drawn) as (page, heard):
        link = page.locator("#causes a[data-cause]").first
        wanted = link.get_attribute("data-cause")
        link.click()
        shown = visible(page)
        assert 0 < len(shown) < page.locator(".shot").count()
        assert all(wanted in causes.split(",") for _, _, causes in shown)
        assert page.locator("[data-filter=cause]").input_value() == wanted
        assert heard == []


def test_shares_replace_counts_without_a_script(chromium: Any, drawn: Path) -> None:
    with opened(chromium, drawn, java_script_enabled=False) as (page, _):
        cell = page.locator("details[open] table.confusion td.diagonal").first
        assert cell.locator("b").is_visible() and cell.locator("i").is_hidden()
        page.locator("#as-shares").check()
        assert cell.locator("b").is_hidden() and cell.locator("i").is_visible()


def test_building_twice_is_the_same(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(tmp_path, maker.Plan(per_class=(4, 2, 4)))
    first = build(tmp_path, maker.FakeReader(12)).read_bytes()
    assert build(tmp_path, maker.FakeReader(12)).read_bytes() == first
