"""Which runs of a study belong together before and after teaching, and what is read of them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fieldguide.before_after import FILE, named_side, spoken, write_before_after
from fieldguide.data.tables import freeze
from fieldguide.files import read_json
from fieldguide.reading import write_readings
from fieldguide.records import Manifest, ManifestRow, Prediction

SETTINGS: dict[str, Any] = {"settings": {"reading": "strict"}}


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    rows = [ManifestRow(f"{at:064d}", f"{at}.png", name, "test") for at, name in enumerate(("cat", "dog", "cat", "dog", "dog"))]
    return freeze([*rows, ManifestRow("f" * 64, "t.png", "cat", "train")], ("cat", "dog"), 42)


def run(folder: Path, name: str, manifest: Manifest, says: str, **facts: Any) -> Any:
    """Write a run that answers `says` (with the class in the place of ``{}``) and return what is read of it."""
    place = folder / "runs" / name
    place.mkdir(parents=True)
    given = {"kind": "prompted", "model": "drawn", "prompt": {"text": "What?", "how": "generate"}, "precision": "fp32"} | facts
    (place / "log.jsonl").write_text(json.dumps({"event": "fact", **given}) + "\n", encoding="utf-8")
    answers = []
    for row in manifest.part("test"):
        text = says.format(row.label)
        label = text if text in manifest.classes else None
        answers.append(Prediction(row.key, label, raw=text, error=None if label else "extra words: more than a name"))
    write_readings(place, answers, manifest, SETTINGS)
    return spoken(place, partial(named_side, place, answers, manifest, SETTINGS))


def test_the_same_model_and_words_belong_together(tmp_path: Path, manifest: Manifest) -> None:
    other = {"prompt": {"text": "Which?", "how": "generate"}}
    tuned = {"kind": "tuned", "precision": "bf16", "tuning": {"method": "qlora"}}
    found = [
        run(tmp_path, "before", manifest, "It is a {}."),
        run(tmp_path, "otherwise", manifest, "{}", **other),
        run(tmp_path, "another", manifest, "{}", model="hf/other"),
        run(tmp_path, "after", manifest, "{}", **tuned),
    ]
    write_before_after(tmp_path, found)
    (couple,) = read_json(tmp_path / FILE)["pairs"]
    assert (couple["before"], couple["after"], couple["n"]) == ("before", "after", len(manifest.part("test")))
    assert couple["format"]["value"] == 1.0 and couple["recognition"]["value"] == 0.0
    assert couple["differs"] == [["arithmetic", "fp32", "bf16, weights in four bits"]]
    listed = next(entry for entry in couple["filtered"] if entry["id"] == "listed")
    assert (listed["before"]["n"], listed["after"]["n"]) == (0, couple["n"])
    write_before_after(tmp_path, found[:3])
    assert not (tmp_path / FILE).exists(), "what was true before is not left lying about"


def test_who_noted_no_prompt_is_no_side(tmp_path: Path, manifest: Manifest) -> None:
    assert run(tmp_path, "odd", manifest, "{}", prompt="hostile") is None
    assert run(tmp_path, "network", manifest, "{}", kind="attention") is None


def test_classes_are_counted_under_the_strict_reading(tmp_path: Path, manifest: Manifest) -> None:
    run(tmp_path, "half", manifest, "{}")
    told = read_json(tmp_path / "runs" / "half" / "readings.json")["parts"]["test"]["per_class"]
    sizes = {name: sum(row.label == name for row in manifest.part("test")) for name in manifest.classes}
    assert {one["id"]: (one["n"], one["labelled"], one["right"], one["answered"]) for one in told} == {
        name: (n, n, n, n) for name, n in sizes.items()
    }
