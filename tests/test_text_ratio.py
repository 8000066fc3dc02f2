"""The sweep over image : text ratios of a study: from pictures and lines to its files, stopped and gone on with, and wrong words."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.rooms import write_colours

import fieldguide
from fieldguide import text_ratio as sweeping
from fieldguide import text_shown, text_strips
from fieldguide.asked import TextRatio
from fieldguide.data.tables import read_manifest
from fieldguide.data.texts import write_texts
from fieldguide.errors import UsageProblem
from fieldguide.files import read_json, write_json
from fieldguide.records import Line, Texts

ASKED = TextRatio(ratios="100,20,0", heads="ridge", seeds=2, translators="identity,ridge")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study of three colours, 30 pictures each, with captions, lines of its classes, and lines of nobody in it."""
    place = tmp_path_factory.mktemp("ratio")
    folder = fieldguide.compare(write_colours(place / "photos", 30), ["majority"], out=place / "s").folder
    manifest = read_manifest(folder / "manifest.parquet")
    captions = {row.key: (f"a {row.label} picture", f"something {row.label}") for row in manifest.part()}
    lines = {id: (Line(f"it is {id}"), Line(f"a {id} square")) for id in manifest.classes}
    write_texts(folder, Texts("captions", {}, captions))
    write_texts(folder, Texts("lines", lines))
    write_texts(folder, Texts("strange", {"nobody": (Line("unknown"),)}))
    return folder


@pytest.fixture(scope="module")
def result(study: Path) -> dict[str, Any]:
    return sweeping.text_ratio(study, ASKED.model_copy(update={"texts": ("captions", "lines")}))


def untimed(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name != "seconds"}


def test_every_cell_is_there_once_and_tells_what_it_was_fitted_on(study: Path, result: dict[str, Any]) -> None:
    assert read_json(study / "text_ratio.json") == result
    names = [(cell["curve"], cell["source"], cell["translator"], cell["image"], cell["seed"]) for cell in result["cells"]]
    assert len(set(names)) == len(names) == 2 * (2 + 4 * (2 + 3))
    total = result["total"]
    for cell in result["cells"]:
        assert 0 <= cell["accuracy"] <= 1 and cell["classes_present"] == (3 if cell["image"] else 0)
        if cell["curve"] == "mix":
            assert cell["pictures"] + cell["texts"] == total
        elif cell["curve"] == "weighted":
            assert cell["texts"] == (2 * total if cell["source"] == "captions" else 6), "captions of training pictures alone"
    assert result["ratios"] == [100, 20, 0] and result["sources"] == ["captions", "lines"]
    assert any("a mix repeats lines" in note for note in result["notes"])
    assert any("other classes" in note for note in result["notes"])
    assert result["leaks"] == []


def test_the_table_holds_what_the_summary_does(study: Path, result: dict[str, Any]) -> None:
    with open(study / "text_ratio.csv", encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["mean"]) for row in rows] == [entry["mean"] for entry in result["summary"]]
    assert {row["curve"] for row in rows} == {"pictures", "mix", "weighted"}


def test_the_same_call_goes_on_to_the_same_numbers(
    study: Path, result: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ASKED.model_copy(update={"texts": ("captions", "lines")})
    kept = sorted((study / "store" / "text_ratio").glob("*.json"))
    for path in kept[::2]:
        path.unlink()  # as if it had been stopped before
    kept[1].write_bytes(kept[1].read_bytes()[:100])  # or the disk had been
    assert untimed(sweeping.text_ratio(study, asked)) == untimed(result)
    monkeypatch.setattr("fieldguide.craft.ratios.closed", lambda *given: pytest.fail("it was done before"))
    assert untimed(sweeping.text_ratio(study, asked)) == untimed(result)


def test_a_stop_after_any_strip_leaves_it_for_the_next_call(
    study: Path, result: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ASKED.model_copy(update={"texts": ("lines",), "heads": "softmax", "translators": "identity", "seeds": 1})
    whole = untimed(sweeping.text_ratio(study, asked))
    for path in (study / "store" / "text_ratio").glob("*.json"):
        path.unlink()
    write, done = text_strips._write, []

    def stop(path: Path, scored: Any) -> None:
        write(path, scored)
        done.append(path)
        if len(done) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(text_strips, "_write", stop)
        with pytest.raises(KeyboardInterrupt):
            sweeping.text_ratio(study, asked)
    assert untimed(sweeping.text_ratio(study, asked)) == whole
    assert all(path.exists() for path in done)
    assert any("Softmax heads: 300 steps" in note for note in whole["notes"])


def test_what_is_shown_names_every_curve(result: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    text_shown.show(result)
    shown = " ".join(capsys.readouterr().out.split())
    assert "pictures only" in shown and "20:80" in shown and "weighted" in shown
    assert " ".join(str(result["headline"]).split()) in shown


def test_a_dry_run_keeps_nothing(study: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*")}
    costs = sweeping.dry_run(study, ASKED.model_copy(update={"texts": ("lines",)}))
    assert (costs.pictures, costs.lines, costs.softmax) == (90, 6, 0)
    assert costs.closed == 2 * (3 + 2 * 3 * 6) and costs.closed_seconds > 0
    assert {path: path.stat().st_mtime_ns for path in study.rglob("*")} == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ratios": "100,ten"}, "'ten' is no share"),
        ({"ratios": "0"}, "no pictures in it"),
        ({"ratios": "101"}, "no share"),
        ({"heads": "rigde"}, "Did you mean ridge"),
        ({"translators": "qfromer"}, "Did you mean qformer"),
        ({"selection": ("ballanced",)}, "Did you mean balanced"),
        ({"texts": ("line",)}, "Did you mean lines"),
        ({"texts": ("strange",)}, "say nothing of any class"),
        ({"encoder": "drown"}, "drawn"),
        ({"text_model": "resnet18"}, "reads no text"),
        ({"translators": "identity", "text_model": "words"}, "No text can be brought"),
    ],
)
def test_wrong_words_are_told_in_three_breaths(study: Path, given: dict[str, Any], said: str) -> None:
    asked = ASKED.model_copy(update={"texts": ("lines",), **given})
    with pytest.raises(UsageProblem) as told:
        sweeping.text_ratio(study, asked)
    assert said in str(told.value)
    assert all(breath.strip() for breath in (told.value.given, told.value.allowed, told.value.next))


def test_folders_that_are_no_study_say_what_makes_one(tmp_path: Path, study: Path) -> None:
    with pytest.raises(UsageProblem, match="no study folder") as told:
        sweeping.text_ratio(tmp_path, ASKED)
    assert "fieldguide compare" in told.value.next
    with pytest.raises(UsageProblem, match="seeds"):
        text_shown.read_asked({"seeds": 0})


def test_lines_speak_of_training_pictures_alone(study: Path) -> None:
    from fieldguide.text_rows import lines_of

    manifest = read_manifest(study / "manifest.parquet")
    training = {row.key for row in manifest.part("train")}
    texts = fieldguide.records.Texts("c", {}, {row.key: (row.label,) for row in manifest.part()}).only(training)
    lines = lines_of(texts, manifest)
    assert len(lines.text) == len(training) and (np.diff(lines.pictures) == 1).all()
    assert [manifest.classes[at] for at in lines.classes] == list(lines.text)


def test_pairs_of_the_own_class_are_told_as_a_leak(study: Path) -> None:
    """With one part of classes what translates a class was taught by it, and texts carry its pictures."""
    asked = TextRatio(texts=("lines",), translators="identity,ridge", ratios="100,0", heads="ridge", seeds=1, folds=1)
    told = sweeping.text_ratio(study, asked)
    assert [(one["source"], one["translator"]) for one in told["leaks"]] == [("lines", "ridge")]


def test_a_captioned_set_elsewhere_teaches(study: Path, tmp_path: Path) -> None:
    """Its pictures are found beside the file of captions, and what was learned is told with where it came from."""
    photos = sorted((study.parent / "photos").glob("*/*"))[::6]
    entries = [{"id": number, "file_name": f"{number}{path.suffix}"} for number, path in enumerate(photos)]
    for entry, path in zip(entries, photos, strict=True):
        (tmp_path / str(entry["file_name"])).write_bytes(path.read_bytes())
    spoken = [{"image_id": number, "caption": f"a {path.parent.name} square"} for number, path in enumerate(photos)]
    write_json(tmp_path / "captions.json", {"images": entries, "annotations": spoken})
    asked = TextRatio(texts=("lines",), translators="ridge", ratios="100,0", heads="ridge", seeds=1)
    own = sweeping.text_ratio(study, asked)
    elsewhere = sweeping.text_ratio(study, asked.model_copy(update={"pairs": str(tmp_path / "captions.json")}))
    assert any(f"{len(photos)} captions of {len(photos)} pictures of captions.json" in note for note in elsewhere["notes"])
    assert not any("captions.json" in note for note in own["notes"]) and elsewhere["leaks"] == []


def test_a_q_former_is_given_the_tokens_of_lines(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fieldguide.craft.translators import training

    monkeypatch.setitem(training.HOW, "qformer", training.How(steps=2, hidden=32))
    asked = TextRatio(texts=("lines",), translators="qformer", ratios="100,0", heads="ridge", seeds=1)
    told = sweeping.text_ratio(study, asked)
    assert told["translators"] == ["qformer"] and not any("not applicable" in note for note in told["notes"])
