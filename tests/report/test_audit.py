"""The section on prompt audits: the verdict first, every check a row, and that nothing in an audit's file can hurt the page."""

from __future__ import annotations

import dataclasses
import html
import itertools
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.report.breaking import broken_copies

from fieldguide.files import read_json
from fieldguide.report import exports, say
from fieldguide.report.audit_chart import places
from fieldguide.report.audit_files import Audit, read_audit
from fieldguide.report.audits import MOST_PULLED, MOST_VARIANTS, Audits, Shown, audits
from fieldguide.report.build import _environment
from fieldguide.report.gap_strip import gap_axis, gap_strip
from fieldguide.report.read import Study, read_study


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, maker: ModuleType, prompting_maker: ModuleType, audit_maker: ModuleType
) -> Path:
    folder = tmp_path_factory.mktemp("audit")
    talker = maker.Entry("talker", "vlm_prompt", 3.0, failures=0.4, probabilities=False)
    other = maker.Entry("other", "vlm_prompt", 2.0, failures=0.1, probabilities=False)
    entries = (talker, other, maker.Entry("majority", "majority", 0.0))
    maker.make_study(folder, maker.Plan(entries=entries, per_class=(4, 3, 6)))
    prompting_maker.add_prompting(folder, prompting_maker.Plan(prompted=("talker", "other")))
    audit_maker.add_audit(folder)
    return folder


@pytest.fixture(scope="module")
def study(place: Path) -> Study:
    return read_study(place)


def told(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(next(place.glob("runs/*/audit.json")))
    return found


def read(content: Any, tmp_path: Path) -> Audit:
    (tmp_path / "audit.json").write_text(json.dumps(content), encoding="utf-8")
    return read_audit(tmp_path / "audit.json")


def made(study: Study) -> Audits:
    found = audits(study)
    assert found is not None
    return found


def shown(study: Study, audit: Audit) -> Shown:
    (one,) = made(dataclasses.replace(study, audits={"talker": audit})).shown
    return one


def alone(found: Audits | None) -> str:
    page = _environment().from_string('{% import "parts.html.j2" as parts %}{% include "audit.html.j2" %}')
    return page.render(audit=found)


def words(page: str) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page).replace(say.NBSP, " ").split()))


def changed(study: Study, **facts: Any) -> Study:
    every = tuple(dataclasses.replace(c, facts={**c.facts, **facts}) if c.name == "talker" else c for c in study.contestants)
    return dataclasses.replace(study, contestants=every)


def test_the_verdict_comes_first_and_every_check_is_a_row(study: Study, place: Path) -> None:
    found = made(study)
    (one,) = found.shown
    page = alone(found)
    assert page.index("Your example costs 17 points") < page.index("<table")
    assert [row.question for row in one.rows] == [check["question"] for check in told(place)["checks"]]
    table = page[page.index('<table class="checks"') : page.index("</table>")]
    assert table.count('<th scope="row"') == 8
    rows = {check["id"]: row for check, row in zip(told(place)["checks"], one.rows, strict=True)}
    assert rows["example"].strongest is not None and rows["example"].strongest.gap.text == "+17.0"
    assert rows["example"].strongest.name == "no example" and rows["example"].of == 11
    assert (rows["synonyms"].found, rows["repeat"].found) == ("not applicable", "not asked")
    assert rows["repeat"].strongest is None and "no reason but not asked" in rows["repeat"].sentence
    assert rows["repeat"].flips.text == say.NOT_APPLICABLE
    assert [contestant.name for contestant in found.waiting] == ["other"]
    assert "not audited: fieldguide audit STUDY/runs/ other" in words(page)


def test_a_sign_says_what_colour_says_and_a_picture_that_counts_is_good_news(study: Study, place: Path) -> None:
    (one,) = made(study).shown
    rows = {check["id"]: row for check, row in zip(told(place)["checks"], one.rows, strict=True)}
    assert (rows["picture"].found, rows["picture"].kind, rows["picture"].sign) == ("yes", "fine", "✓")
    assert (rows["example"].found, rows["example"].kind, rows["example"].sign) == ("yes", "found", "!")
    assert (rows["order"].kind, rows["order"].sign) == ("other", "≈") and rows["length"].kind == "fine"


def test_every_number_is_that_of_the_file(study: Study, place: Path) -> None:
    (one,) = made(study).shown
    for check, row in zip(told(place)["checks"], one.rows, strict=True):
        assert [change.name for change in row.changes] == [variant["name"] for variant in check["variants"]]
        for change, variant in zip(row.changes, check["variants"], strict=True):
            assert change.gap.number == variant["difference"]["value"] and change.flips.number == variant["flips"]["value"]
            assert change.accuracy.number == variant["accuracy"]["value"] and change.unanswered.number == variant["unanswered"]
    pull = next(check for check in told(place)["checks"] if check["id"] == "example")["pull"]
    assert [one_.when.number for one_ in one.pulls] == [entry["with"]["value"] for entry in pull["labels"]]
    assert "+24.0 points [+19.0, +29.0]" in one.pull and len(one.pulls) == 10
    assert len(one.place_rows) == 10 and one.place_rows[0][2].startswith("10.0")
    assert one.places_said == (
        f"Over 7 orders of the list and 196 pictures: rank correlation of a place with what it takes beyond its labels {say.MINUS}0.83; "
        "the answers stand early or late by more than chance with p 0.004: earlier."
    )
    assert {row.label for row in one.moved} == {"jellyfish", "snail"} and one.moved[0].gap.text == f"{say.MINUS}40.0"
    facts = dict(one.facts)
    assert (
        facts["Questions"] == "2,800: 2,600 asked, 200 from kept answers"
        and facts["Time"].replace(say.NBSP, " ") == "12 min 24 s"
    )
    assert facts["Model"] == "llava-7b" and facts["Money"] == "0.41" and "142 of 200" in facts["Accuracy as it is"]


def test_what_becomes_of_classes_without_the_picture_is_not_the_work_of_words(study: Study, place: Path) -> None:
    assert next(check for check in told(place)["checks"] if check["id"] == "picture")["variants"][0]["recall"]
    (one,) = made(study).shown
    assert {row.name for row in one.moved} == {"no example", "example: badger"}
    assert [row.drawn for row in one.rows] == [False] + [True] * 7
    shown_axis, ticks = str(one.ruler), [int(tick) for tick in re.findall(r">(-?\d+)</text>", str(one.ruler))]
    assert min(ticks) >= -20 and shown_axis != str(one.rows[0].ruler), (
        "a model that sees nothing would press the others together"
    )


@pytest.mark.parametrize(
    ("alarm", "found", "expected"),
    [
        (True, "yes", ("!", "found")),
        (False, "yes", ("·", "other")),
        (None, "yes", ("!", "found")),
        (False, "no", ("✓", "fine")),
    ],
)
def test_what_helps_is_found_and_not_pointed_at(
    study: Study, place: Path, tmp_path: Path, alarm: bool | None, found: str, expected: tuple[str, str]
) -> None:
    whole = told(place)
    whole["checks"][1] |= {"alarm": alarm, "found": found}
    row = shown(study, read(whole, tmp_path)).rows[1]
    assert (row.sign, row.kind) == expected


def test_the_length_of_the_list_is_judged_where_both_lists_could_answer(study: Study, place: Path, tmp_path: Path) -> None:
    whole = told(place)
    (check,) = (check for check in whole["checks"] if check["id"] == "length")
    check["variants"][0]["beside_choice"] = {"value": -0.02, "low": -0.05, "high": 0.01, "p": 0.3, "p_holm": 0.9}
    row = shown(study, read(whole, tmp_path)).rows[3]
    assert row.strongest is not None and row.strongest.gap.number == -0.02 and "both lists have" in row.strongest.name
    assert row.strongest.gap.title == "p 0.900"


def test_it_says_which_pictures_were_asked_about(study: Study, place: Path, tmp_path: Path) -> None:
    (one,) = made(study).shown
    assert one.audited.startswith(
        "Asked about 200 of 480 pictures of the training and validation part and not of the test part"
    )
    tested = shown(study, read({**told(place), "part": "test"}, tmp_path))
    assert "because this study has no others" in tested.audited


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"model": "another"}, "asks another one"),
        ({"prompt": {"how": "likelihood", "hash": "3f" * 32}}, "asked for free text"),
        ({"prompt": {"how": "generate", "hash": "00" * 32}}, "prompt is another one"),
        ({"revision": "new"}, "other weights"),
        ({"prompt": None, "model": None}, ""),
        ({}, ""),
    ],
)
def test_an_audit_of_something_else_says_so(
    study: Study, place: Path, tmp_path: Path, facts: dict[str, Any], said: str
) -> None:
    audit = read({**told(place), "asking": "3f" * 32, "revision": "old"}, tmp_path)
    one = shown(changed(study, **facts), audit)
    assert (said in " ".join(one.doubts) and "Audit it again" in one.doubts[0]) if said else one.doubts == ()
    fewer = shown(study, read({**told(place), "classes": 9}, tmp_path))
    assert fewer.doubts == ("The audit is of 9 classes, and this study has 10. Audit it again.",)


def test_without_prompted_contestants_there_is_no_section(study: Study) -> None:
    silent = dataclasses.replace(study, audits={}, contestants=tuple(c for c in study.contestants if c.name == "majority"))
    assert audits(silent) is None and alone(audits(silent)).strip() == ""
    waiting = made(dataclasses.replace(study, audits={}))
    assert waiting.shown == () and len(waiting.waiting) == 2 and "<table" not in alone(waiting)


BROKEN = {
    "cut in half": b'{"schema": 1, "checks": [{"id',
    "no UTF-8": b"\xff\xfe\x00",
    "a list": b"[]",
    "nothing in it": b"{}",
    "nested deep": b"[" * 100_000,
    "newer": b'{"schema": 99, "checks": [{"id": "order"}]}',
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_file_stops_nothing(study: Study, tmp_path: Path, name: str) -> None:
    (tmp_path / "audit.json").write_bytes(BROKEN[name])
    found = read_audit(tmp_path / "audit.json")
    assert found.problem and str(tmp_path) not in found.problem
    page = words(alone(made(dataclasses.replace(study, audits={"talker": found}))))
    assert "Not recorded: audit.json" in page and "fieldguide audit STUDY/runs/ talker again" in page


def test_whatever_stands_in_the_file_is_drawn(study: Study, place: Path, tmp_path: Path) -> None:
    """Every place of the file in turn holds something of another kind, and section and exports are written all the same."""
    whole = told(place)
    whole["checks"] = [check for check in whole["checks"] if check["id"] in ("example", "order", "repeat")]
    for other in broken_copies(whole):
        broken = dataclasses.replace(study, audits={"talker": read(other, tmp_path)})
        assert len(made(broken).shown) == 1
    alone(made(broken)).encode("utf-8")
    exports.write(tmp_path, broken)
    exports.finish(tmp_path, broken)


def test_words_of_an_audit_stay_words(drawn: Path, audit_maker: ModuleType) -> None:
    page = (drawn / "report.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="audit"') : page.index('<section id="texts"')]
    for name in audit_maker.EVIL:
        shown_as = html.escape(say.clean(name)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")
        assert section.count(shown_as) >= 2, name
    assert "<script>alert(5)" not in page and not {"\u202e", "\x00"} & set(page)
    levels = [int(level) for level in re.findall(r"<h(\d)", section)]
    assert levels[0] == 2 and all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert section.count("<table") == section.count("<caption") and " style=" not in section
    assert section.count('role="img"') == section.count("<title>") and "<a " not in section


def test_long_audits_stay_bounded(study: Study, place: Path, tmp_path: Path) -> None:
    whole = told(place)
    example = next(check for check in whole["checks"] if check["id"] == "example")
    variant, label = example["variants"][1], example["pull"]["labels"][0]
    example["variants"] = [{**variant, "name": f"example {at}", "difference": {"value": at / 400}} for at in range(300)]
    example["pull"]["labels"] = [{**label, "label": f"class {at}"} for at in range(90)]
    one = shown(study, read(whole, tmp_path))
    row = next(row for row in one.rows if row.of > 100)
    assert len(row.changes) == MOST_VARIANTS and row.more == 300 - MOST_VARIANTS
    assert {change.name for change in row.changes} == {f"example {at}" for at in range(276, 300)}, (
        "those that moved accuracy most"
    )
    assert len(one.pulls) == MOST_PULLED and one.pulls_more == 90 - MOST_PULLED
    assert len(alone(made(dataclasses.replace(study, audits={"talker": read(whole, tmp_path)}))).encode()) < 150_000


def test_differences_share_an_axis_that_holds_zero() -> None:
    axis = gap_axis([0.12, 0.22])
    assert axis.low == 0.0 and axis.high >= 0.22 and gap_axis([]).low < 0 < gap_axis([]).high
    assert gap_axis([-0.3, 0.05]).low <= -0.3
    sure, open_ = str(gap_strip(axis, 0.17, (0.12, 0.22))), str(gap_strip(gap_axis([-0.1, 0.1]), 0.01, (-0.1, 0.1)))
    assert 'class="gapdot sure"' in sure and 'class="gapdot open"' in open_ and "+17.0 points, interval +12.0 to +22.0" in sure
    assert "not compared" in str(gap_strip(axis, None, None))


def test_a_column_is_as_high_as_its_share() -> None:
    chart = str(places([(1, 0.5, 0.4), (2, 0.25, None), (3, 0.25, 0.25)]))
    ground, tops = 156, [float(top) for top in re.findall(r"M[\d.]+ 156V([\d.]+)h", chart)]
    assert (ground - tops[0]) == pytest.approx(2 * (ground - tops[1]), abs=0.3) and "most for place 1" in chart
    lines = [float(line) for line in re.findall(r"M[\d.]+ ([\d.]+)h[\d.]+", chart.split('class="expected"')[1])]
    assert (ground - lines[0]) == pytest.approx(0.8 * (ground - tops[0]), abs=0.3) and lines[2] == tops[2]
    assert places([]) == ""


def test_exports_hold_the_audit(study: Study, tmp_path: Path) -> None:
    exports.write(tmp_path, study)
    exports.finish(tmp_path, study)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## What the prompt does" in text and "Your example costs 17 points" in text
    assert "| Does the order of the list matter? |" in text and "fieldguide audit STUDY/runs/other" in text
    kept = read_json(tmp_path / "scores.json")["audits"]["talker"]
    assert kept["verdict"].startswith("Your example") and kept["checks"][1]["pull"]["value"] == 0.24
