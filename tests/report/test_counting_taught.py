"""The section on models that were taught to count: from answers on disk to the page, against sums made by hand."""

from __future__ import annotations

import csv
import html
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import wilcoxon
from tests.counted import write_set

import fieldguide
from fieldguide.files import read_json
from fieldguide.report import say
from fieldguide.report.build import draw_page
from fieldguide.report.counting_taught import CountingTaught, counting_taught
from fieldguide.report.exports.counts import markdown_report
from fieldguide.report.read import Study, read_study
from fieldguide.report.thumbnails import Thumbnail

TEST = 30
#: The words the two sides answer in: by picture, modulo ten.
PROSE, FENCED, OFF, SPACED = (0, 1, 2, 3), (4,), (5, 6), (7,)


def before(counts: dict[str, int], at: int) -> str:
    if at % 10 in PROSE:
        return "There are some."
    if at % 10 in FENCED:
        return f"Here you are:\n{json.dumps(counts)}"
    return json.dumps({"dot": counts.get("dot", 0) + 2} if at % 10 in OFF else counts)


def after(counts: dict[str, int], at: int) -> str:
    if at % 10 == 9:
        return "I see nothing."
    if at % 10 in SPACED:
        return json.dumps(counts, indent=2) + " "
    return json.dumps(counts if at % 10 else {**counts, "dot": counts.get("dot", 0) + 1})


def write_answers(things: Path, target: Path, says: Any) -> Path:
    with open(target, "w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "answer"])
        for part in ("valid", "test"):
            content = json.loads((things / part / "_annotations.coco.json").read_text())
            for image in content["images"]:
                own = [one["category_id"] for one in content["annotations"] if one["image_id"] == image["id"]]
                counts = {name: own.count(at) for at, name in ((1, "dot"), (2, "ring")) if own.count(at)}
                table.writerow([f"{part}/{image['file_name']}", says(counts, image["id"])])
    return target


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two sides that are said to be one model; what they said stands in files."""
    folder = tmp_path_factory.mktemp("taught-to-count")
    things = write_set(folder / "things", {"train": 12, "valid": 4, "test": TEST})
    names = [
        f"recorded/{write_answers(things, folder / f'{name}.csv', says)}:as={name}"
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


def answers(place: Path) -> tuple[list[bool], list[bool], list[bool], list[bool], list[int], list[int]]:
    """Return by picture of the test part, in any order: readable before, after; exact before, after; things miscounted before, after."""
    rows = []
    content = json.loads((place.parent / "things/test/_annotations.coco.json").read_text())
    for image in content["images"]:
        own = [one["category_id"] for one in content["annotations"] if one["image_id"] == image["id"]]
        at, truth = image["id"] % 10, [own.count(1), own.count(2)]
        said = [truth[0] + 2, 0] if at in OFF else truth
        missed = abs(said[0] - truth[0]) + abs(said[1] - truth[1])
        read = at not in (*PROSE, *FENCED)
        rows.append((read, at != 9, read and not missed, at not in (0, 9), missed, int(at == 0)))
    columns: Any = zip(*rows, strict=True)
    return tuple(list(column) for column in columns)  # type: ignore[return-value]


def test_gains_are_those_of_the_answers(place: Path) -> None:
    read_b, read_a, right_b, right_a, off_b, off_a = (np.array(column) for column in answers(place))
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
    differ = gaps[gaps != 0]
    expected = wilcoxon(differ).pvalue if len(differ) >= 6 else 1.0
    assert errors["difference"] == pytest.approx(gaps.mean() / 2) and errors["p"] == pytest.approx(expected)


def test_the_section_tells_them_and_shows_what_changed(place: Path) -> None:
    study = read_study(place)
    (one,) = told(study).couples
    rows = {row.name: row for row in one.couple.rows}
    assert rows["Exact: the right counts"].main and rows["Readable"].before.number == pytest.approx(0.5)
    assert rows["Mean error on both"].difference.number == pytest.approx(
        read_json(place / "before_after.json")["pairs"][0]["errors"]["difference"]
    )
    assert "Error of what all are worth" in rows and "Right counts, among other words, too" in rows
    assert {kind: (old, new) for kind, old, new in one.kinds} == {
        "words and no JSON": ("12", "3"),
        "a JSON object among other words": ("3", "0"),
    }
    assert {shot.headline for shot in one.shots} == {"exact only after", "exact only before"}
    for shot in one.shots:
        kinds = [line.kind for line in shot.lines]
        assert (kinds[1] == "right") == (shot.headline == "exact only after") and len(kinds) == 2
    page = draw_page(study, lambda key: Thumbnail(None), 6)
    words = html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page).replace(say.NBSP, " ").split()))
    assert 'id="counting_taught"' in page and "&lt;b&gt;eyes" in page and "<b>eyes" not in page
    assert "exact now where there was nothing readable before" in words
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


def test_without_a_taught_model_there_is_no_section(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    shutil.copytree(place, folder)
    for log in folder.glob("runs/*/log.jsonl"):
        log.write_text(log.read_text(encoding="utf-8").replace('"tuned"', '"prompted"'), encoding="utf-8")
    fieldguide.redraw(folder)
    assert not (folder / "before_after.json").exists(), "what was true before is not left lying about"
    assert counting_taught(read_study(folder), lambda key: Thumbnail(None)) is None
    assert "counting_taught" not in draw_page(read_study(folder), lambda key: Thumbnail(None), 6)
