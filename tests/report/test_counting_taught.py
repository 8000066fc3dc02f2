"""The section on models that were taught to count: from answers on disk to the page, against sums made by hand."""

from __future__ import annotations

import html
import itertools
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import wilcoxon
from tests.counted import write_set, write_words

import fieldguide
from fieldguide import terminal
from fieldguide.before_after import told_of
from fieldguide.files import read_json
from fieldguide.report import say
from fieldguide.report.build import draw_page
from fieldguide.report.counting_asked import counting_asked
from fieldguide.report.counting_taught import CountingTaught, counting_taught
from fieldguide.report.exports.counts import markdown_report
from fieldguide.report.read import Study, read_study
from fieldguide.report.thumbnails import Thumbnail

TEST = 30
#: The words the two sides answer in: by picture, modulo ten.
PROSE, FENCED, OFF, SPACED = (0, 1, 2, 3), (4,), (5, 6), (7,)


def before(counts: dict[str, int], at: int) -> str:
    if at % 10 in PROSE:
        return "There are <i>some</i>."
    if at % 10 in FENCED:
        return f"Here you are:\n{json.dumps(counts)}"
    return json.dumps({"dot": counts.get("dot", 0) + 2} if at % 10 in OFF else counts)


def after(counts: dict[str, int], at: int) -> str:
    if at % 10 == 9:
        return "I see nothing."
    if at % 10 in SPACED:
        return json.dumps(counts, indent=2) + " "
    return json.dumps(counts if at % 10 else {**counts, "dot": counts.get("dot", 0) + 1})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two sides that are said to be one model; what they said stands in files."""
    folder = tmp_path_factory.mktemp("taught-to-count")
    things = write_set(folder / "things", {"train": 12, "valid": 4, "test": TEST})
    names = [
        f"recorded/{write_words(things, folder / f'{name}.csv', says)}:as={name}"
        for name, says in (("asked", before), ("taught", after))
    ]
    study = fieldguide.compare(things, names, out=folder / "s", task="count", worth=("dot=1", "ring=2"))
    for run, kind in (("asked", "prompted"), ("taught", "tuned")):
        fact = {"event": "fact", "kind": kind, "model": "<b>eyes</b>", "prompt": {"text": "How many?", "how": "generate"}}
        with open(study.folder / "runs" / run / "log.jsonl", "a", encoding="utf-8") as log:
            log.write(json.dumps(fact) + "\n")
    fieldguide.redraw(study.folder)
    return study.folder


def told(study: Study) -> CountingTaught:
    found = counting_taught(study, lambda key: Thumbnail(None))
    assert found is not None
    return found


def answers(place: Path) -> tuple[list[Any], ...]:
    """Return by picture of the test part, in any order: readable before, after; exact before, after; things miscounted before, after.

    The last two columns are how far the worth of all is off, before and after: one for a dot, two for a ring.
    """
    rows = []
    content = json.loads((place.parent / "things/test/_annotations.coco.json").read_text())
    for image in content["images"]:
        own = [one["category_id"] for one in content["annotations"] if one["image_id"] == image["id"]]
        at, truth = image["id"] % 10, [own.count(1), own.count(2)]
        said = [truth[0] + 2, 0] if at in OFF else truth
        missed = abs(said[0] - truth[0]) + abs(said[1] - truth[1])
        read = at not in (*PROSE, *FENCED)
        worth = abs(said[0] - truth[0] + 2 * (said[1] - truth[1]))
        rows.append((read, at != 9, read and not missed, at not in (0, 9), missed, int(at == 0), worth, int(at == 0)))
    return tuple(list(column) for column in zip(*rows, strict=True))


def test_gains_are_those_of_the_answers(place: Path) -> None:
    read_b, read_a, right_b, right_a, off_b, off_a, worth_b, worth_a = (np.array(column) for column in answers(place))
    (pair,) = read_json(place / "before_after.json")["pairs"]
    assert pair["difference"]["value"] == pytest.approx(right_a.mean() - right_b.mean()) and pair["main"] == [
        "counts",
        "counts",
    ]
    assert pair["format"]["gained"] == (right_a & ~read_b).sum() and pair["format"]["lost"] == (right_b & ~read_a).sum() > 0
    both = read_b & read_a
    gained, lost = (both & right_a & ~right_b).sum(), (both & right_b & ~right_a).sum()
    assert (pair["recognition"]["gained"], pair["recognition"]["lost"]) == (gained, lost)
    parts = pair["format"]["value"] + pair["recognition"]["value"]
    assert parts == pytest.approx(pair["difference"]["value"])
    assert pair["format"]["named_before"] == TEST // 10, "what stood among other words was right"
    errors = pair["errors"]
    assert errors["n"] == both.sum() and errors["before"] == pytest.approx(off_b[both].mean() / 2)
    gaps = (off_a - off_b)[both]
    assert errors["difference"] == pytest.approx(gaps.mean() / 2) and errors["p"] == pytest.approx(signed_rank(gaps))
    worth, gaps = pair["worth_errors"], (worth_a - worth_b)[both]
    assert worth["before"] == pytest.approx(worth_b[both].mean()) and worth["after"] == pytest.approx(worth_a[both].mean())
    assert worth["difference"] == pytest.approx(gaps.mean()) and worth["p"] == pytest.approx(signed_rank(gaps))


def signed_rank(gaps: Any) -> float:
    differ = gaps[gaps != 0]
    return float(wilcoxon(differ).pvalue) if len(differ) >= 6 else 1.0


def test_the_section_tells_them_and_shows_what_changed(place: Path) -> None:
    study = read_study(place)
    (one,) = told(study).couples
    rows = {row.name: row for row in one.couple.rows}
    assert rows["Exact: the right counts"].main and rows["Readable"].before.number == pytest.approx(0.5)
    assert rows["Mean error of a count, on both"].difference.number == pytest.approx(
        read_json(place / "before_after.json")["pairs"][0]["errors"]["difference"]
    )
    assert "Error of what all are worth" in rows and "Right counts, among other words, too" in rows
    assert {kind: (old, new) for kind, old, new in one.kinds} == {
        "words and no JSON": ("12", "3"),
        "a JSON object among other words": ("3", "0"),
    }
    changes = {row.name: [value.number for value in (*row.exact, *row.mae)] for row in one.classes}
    read_b, read_a, *_ = (np.array(column) for column in answers(place))
    assert changes["ring"][1] == pytest.approx(0.9) and changes["ring"][3] == 0.0, "only what was silent after lacks a ring"
    assert changes["dot"][2] == pytest.approx(2 * 6 / read_b.sum()) and changes["dot"][3] == pytest.approx(3 / read_a.sum())
    assert {shot.headline for shot in one.shots} == {"exact only after", "exact only before"}
    assert any("“There are <i>some</i>.”" in line.said for shot in one.shots for line in shot.lines if line.kind == "none")
    for shot in one.shots:
        kinds = [line.kind for line in shot.lines]
        assert (kinds[1] == "right") == (shot.headline == "exact only after") and len(kinds) == 2
    page = draw_page(study, lambda key: Thumbnail(None), 6)
    words = html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page).replace(say.NBSP, " ").split()))
    assert 'id="counting_taught"' in page and "&lt;b&gt;eyes" in page and "<b>eyes" not in page
    assert "&lt;i&gt;some" in page and "<i>some" not in page
    assert page.count("<table") == page.count("<caption") and not re.search(r"<[^>]* (style|on[a-z]+)=", page)
    assert all("aria-label" in tag and "tabindex" in tag for tag in re.findall(r'<div class="scroll"[^>]*>', page))
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert all(deeper <= level + 1 for level, deeper in itertools.pairwise(levels))
    assert "exact now where there was nothing readable before" in words and "{terms" not in page
    assert "The two sides have readable counts for different pictures" in words
    assert "3 of these 12 had the right counts before, among other words." in words
    assert "## What teaching changed" in markdown_report(study)


def test_held_to_the_text_right_counts_in_another_text_are_format(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    shutil.copytree(place, folder)
    written = (folder / "study.toml").read_text(encoding="utf-8")
    assert 'exact = "counts"' in written
    (folder / "study.toml").write_text(written.replace('exact = "counts"', 'exact = "text"'), encoding="utf-8")
    fieldguide.redraw(folder)
    (pair,) = read_json(folder / "before_after.json")["pairs"]
    assert pair["main"] == ["text", "text"]
    # Lost by format: what is silent after, and what is spaced after and was the right text before.
    assert pair["format"]["lost"] == 2 * TEST // 10
    assert pair["format"]["named_before"] == TEST // 10
    assert "right counts in another text" in told(read_study(folder)).shared.terms.lead


def test_the_same_model_held_to_the_form_tells_what_needed_no_teaching(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    shutil.copytree(place, folder)
    shutil.copytree(folder / "runs" / "taught", folder / "runs" / "held")
    log = folder / "runs" / "held" / "log.jsonl"
    log.write_text(
        log.read_text(encoding="utf-8").replace('"tuned"', '"prompted"').replace('"generate"', '"choice"'), encoding="utf-8"
    )
    named = folder / "runs" / "held" / "settings.toml"
    named.write_text(named.read_text(encoding="utf-8").replace('name = "taught"', 'name = "held"'), encoding="utf-8")
    written = (folder / "study.toml").read_text(encoding="utf-8")
    added = (
        '\n[[contestants]]\nname = "held"\nfamily = "recorded"\nfraction = 1.0\n[contestants.settings]\nfile = "taught.csv"\n'
    )
    (folder / "study.toml").write_text(written + added, encoding="utf-8")
    fieldguide.redraw(folder)
    free, held = read_json(folder / "before_after.json")["pairs"]
    assert (free["before"], held["before"], held["differs"]) == (
        "asked",
        "held",
        [["way of answering", "held to the form", "free text"]],
    )
    assert free["p_holm"] == pytest.approx(2 * free["p"]), "corrected over both couples"
    gain = say.points(free["difference"]["value"])
    (line,) = (one for one in told(read_study(folder)).couples[0].couple.told if one.startswith("held"))
    assert f"gains {gain} over the free answer untaught" in line and "and 0.0 are left for it" in line


def test_the_terminal_tells_the_gain_in_its_two_parts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.taught(SimpleNamespace(folder=place))
    (line,) = capsys.readouterr().out.splitlines()
    read_b, read_a, right_b, right_a, *_ = (np.array(column) for column in answers(place))
    both = read_b & read_a
    whole, seen = (100 * float((right_a & on).sum() - (right_b & on).sum()) / TEST for on in (read_b | read_a, both))
    assert line.startswith(
        f"Taught, asked -> taught: {whole:+.1f} points, format {whole - seen:+.1f} and recognition {seen or 0:+.1f} ("
    )
    assert told_of(place, 0) == ["1 more of what teaching changed in before_after.json."]


def test_without_a_taught_model_there_is_no_section(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    shutil.copytree(place, folder)
    for log in folder.glob("runs/*/log.jsonl"):
        log.write_text(log.read_text(encoding="utf-8").replace('"tuned"', '"prompted"'), encoding="utf-8")
    fieldguide.redraw(folder)
    assert not (folder / "before_after.json").exists(), "what was true before is not left lying about"
    assert counting_taught(read_study(folder), lambda key: Thumbnail(None)) is None
    assert "counting_taught" not in draw_page(read_study(folder), lambda key: Thumbnail(None), 6)


def test_how_it_was_asked_is_told(place: Path) -> None:
    section = counting_asked(read_study(place))
    assert section is not None
    before_it, after_it = sorted(section.runs, key=lambda run: run.contestant.name)
    assert before_it.contestant.name == "asked" and ("".join(before_it.asked.prompt)) == "How many?"
    unread = {kind: (count, words) for kind, count, words in before_it.unread}
    assert unread["words and no JSON"] == ("12", "There are <i>some</i>.")
    assert unread["a JSON object among other words"][1].startswith("Here you are:")
    assert [kind for kind, *_ in after_it.unread] == ["words and no JSON"]
    page = draw_page(read_study(place), lambda key: Thumbnail(None), 6)
    assert 'id="counting_asked"' in page and "There are &lt;i&gt;some" in page and "<i>some" not in page
