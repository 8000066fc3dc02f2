"""With and without in the report: what is shown, in which state, bounded, escaped and folded."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fieldguide.report import honest
from fieldguide.report.build import build, render
from fieldguide.report.read import read_study
from fieldguide.report.thumbnails import Thumbnail


@pytest.fixture
def made(tmp_path: Path, maker: ModuleType) -> Path:
    maker.make_study(tmp_path, maker.Plan())
    return tmp_path


def changed(study: Path, name: str, **values: Any) -> None:
    path = study / name
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


def section(study: Path, maker: ModuleType) -> str:
    text = build(study, maker.FakeReader()).read_text(encoding="utf-8")
    found = re.search(r'<section id="honest".*?</section>', text, re.S)
    assert found
    return found[0]


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).replace("\u00a0", " ").split())


def picture(key: str) -> Thumbnail:
    return Thumbnail("data:image/webp;base64,AAAA", 10, 10)


def suspects(study: Path, count: int) -> None:
    keys = [row.key for row in read_study(study).manifest.part()]
    line = {"given": "badger", "suggested": "class 001", "agree": 1, "of": 3}
    lines = [{"image": keys[at], "quality": at / 1000, **line} for at in range(count)]
    changed(study, "suspects.json", state="found", suspects=lines)


def test_the_table_holds_every_contestant_with_without_and_change(made: Path) -> None:
    study = read_study(made)
    view = honest.honest(study, picture)
    assert study.comparison is not None
    told = {entry["code"]: entry for entry in study.comparison["subsets"]}
    assert [column.code for column in view.columns] == ["leaked", "repeated", "all"]
    assert [effect.contestant.name for effect in view.effects] == study.comparison["order"]
    for effect in view.effects:
        run = told["leaked"]["runs"][effect.contestant.name]
        without, change = effect.without[0]
        assert effect.everything.number == pytest.approx(run["with"]["value"])
        assert without.number == pytest.approx(run["without"]["value"]) and without.note
        assert change.number == pytest.approx(run["change"])


def test_one_kind_alone_needs_no_column_for_all(made: Path) -> None:
    study = read_study(made)
    assert study.comparison is not None
    only = [entry for entry in study.comparison["subsets"] if entry["code"] in ("leaked", "all")]
    changed(made, "comparison.json", subsets=only)
    assert [column.code for column in honest.honest(read_study(made), picture).columns] == ["leaked"]


def test_sentences_and_states_are_shown(made: Path, maker: ModuleType) -> None:
    text = words(section(made, maker))
    assert "Also in train found, 20 20 test pictures, says" in text and "91.0 % with them, 88.7 % without." in text
    assert "Of one scene fine No test picture." in text
    assert "Label suspects skipped Not known: nobody could say." in text


@pytest.mark.parametrize(
    ("state", "why", "said"),
    [
        ("fine", None, "None: no label of 180 pictures"),
        (
            "skipped",
            "no contestant gives <b>probabilities</b>",
            "Skipped: no contestant gives &lt;b&gt;probabilities&lt;/b&gt;.",
        ),
        ("not applicable", "too few pictures", "Not applicable: too few pictures."),
    ],
)
def test_the_states_of_suspects_are_told(made: Path, maker: ModuleType, state: str, why: str | None, said: str) -> None:
    changed(made, "suspects.json", state=state, why=why, suspects=[])
    html = section(made, maker)
    assert said in words(html) and "<img" not in html


def test_a_study_from_before_says_not_recorded(made: Path, maker: ModuleType) -> None:
    (made / "suspects.json").unlink()
    comparison = json.loads((made / "comparison.json").read_text(encoding="utf-8"))
    del comparison["subsets"]
    (made / "comparison.json").write_text(json.dumps(comparison), encoding="utf-8")
    text = words(section(made, maker))
    assert "Not recorded in this study" in text and "Label suspects Not recorded." in text


def test_suspects_are_figures_with_alt_text_and_the_rest_is_folded(made: Path, maker: ModuleType) -> None:
    suspects(made, 20)
    html = section(made, maker)
    alts = re.findall(r'<img [^>]*alt="([^"]*)"', html)
    names = read_study(made).names
    assert len(alts) == html.count('class="suspect"') == 20
    assert (
        alts[0]
        == f"labelled {names['badger']}, suggested {names['class 001']}; 1 of 3 say so; label quality 0.00; training picture"
    )
    open_ones, folded = html.split("<details")
    assert open_ones.count('class="suspect"') == 12 and folded.count('class="suspect"') == 8
    assert "8 more label suspects" in folded


def test_suspects_are_bounded_and_say_how_many_are_left_out(made: Path, maker: ModuleType) -> None:
    suspects(made, honest.MOST_SUSPECTS + 30)
    html = section(made, maker)
    assert html.count('class="suspect"') == honest.MOST_SUSPECTS and "and 30 more in suspects.json" in html
    big = Thumbnail("x" * (honest.MOST_CHARACTERS // 4), 10, 10)
    view = honest.honest(read_study(made), lambda key: big)
    assert (len(view.suspects.shown), view.suspects.more) == (4, honest.MOST_SUSPECTS + 30 - 4)


def test_a_small_page_shows_fewer_suspects(made: Path, maker: ModuleType) -> None:
    suspects(made, 100)
    whole = render(read_study(made), maker.FakeReader())
    smaller = render(read_study(made), maker.FakeReader(), len(whole.encode()) * 2 // 3)
    assert len(smaller.encode()) < len(whole.encode()) * 2 // 3
    assert smaller.count('class="suspect"') < 100 == whole.count('class="suspect"')


def test_a_suspect_that_is_no_longer_there_is_a_tile(made: Path, maker: ModuleType) -> None:
    suspects(made, 2)
    told = json.loads((made / "suspects.json").read_text(encoding="utf-8"))
    told["suspects"][0].update(image="gone", given="<script>", suggested='" onerror="x')
    changed(made, "suspects.json", suspects=told["suspects"])
    html = section(made, maker)
    assert "no longer in the manifest" in html
    assert "<script>" not in html and "&lt;script&gt;" in html and 'onerror="x' not in html


@pytest.mark.parametrize(("state", "listed"), [("found", 2), ("fine", 0), ("skipped", 0)])
def test_the_health_checks_tell_what_the_contestants_have_answered_since(
    made: Path, maker: ModuleType, state: str, listed: int
) -> None:
    """Before anybody has answered, the examination can only say that it was skipped."""
    suspects = [{"image": str(n), "given": "a", "suggested": "b", "quality": 0.1, "agree": 1, "of": 1} for n in range(listed)]
    changed(made, "suspects.json", state=state, why="nobody could say" if state == "skipped" else None, suspects=suspects)
    finding = {
        "code": "FG014",
        "state": "skipped",
        "title": "Label suspects",
        "count": 0,
        "detail": "It needs answers.",
        "examples": [],
    }
    changed(made, "findings.json", findings=[finding])
    page = words(build(made, maker.FakeReader()).read_text(encoding="utf-8"))
    told = page[page.index("FG014 ") :][:200]
    assert f"Label suspects {state}{f' , {listed}' if listed else ''}" in told.replace(",", " ,").replace("  ", " ")
    assert "It needs answers" not in told and (("Nobody could say." in told) == (state == "skipped"))
