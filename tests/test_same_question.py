"""``questions.json`` of a study: who put the same question to the same model, as the facts of their logs tell it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fieldguide.data.tables import freeze
from fieldguide.files import read_json
from fieldguide.records import Manifest, ManifestRow, Prediction
from fieldguide.same_question import FILE, asked_of, write_questions

LABELS = ["cat", "dog", "eel", "cat"]


def manifest() -> Manifest:
    return freeze(
        [ManifestRow(f"k{at}", f"{at}.png", label, "test") for at, label in enumerate(LABELS)], ("cat", "dog", "eel"), 1
    )


def run(tmp_path: Path, name: str, how: str, **facts: Any) -> Path:
    folder = tmp_path / "runs" / name
    folder.mkdir(parents=True)
    told = {"event": "fact", "model": "drawn", "prompt": {"question": "q", "how": how}, **facts}
    (folder / "log.jsonl").write_text(json.dumps(told) + "\n")
    return folder


def said(*texts: str) -> list[Prediction]:
    return [Prediction(f"k{at}", text if text in LABELS else None, raw=text) for at, text in enumerate(texts)]


def weighed(*labels: str) -> list[Prediction]:
    return [Prediction(f"k{at}", label, (1 / 3, 1 / 3, 1 / 3)) for at, label in enumerate(labels)]


def test_equal_questions_to_equal_models_stand_together(tmp_path: Path) -> None:
    found: dict[Any, Any] = {}
    runs = (
        (run(tmp_path, "free", "generate"), said("cat", "Dogs.", "an eel or so", "dog")),
        (run(tmp_path, "weighs", "likelihood"), weighed("cat", "dog", "eel", "dog")),
        (run(tmp_path, "small", "likelihood", image_size=64), weighed("cat", "cat", "cat", "cat")),
    )
    for folder, answers in runs:
        told = asked_of(folder, answers, manifest())
        assert told is not None
        found.setdefault(told[0], []).append(told[1])
    assert len(found) == 2, "another size of pictures is another model"
    write_questions(tmp_path, found)
    (group,) = read_json(tmp_path / FILE)["groups"]
    assert [(way["way"], way["run"], way["right"]) for way in group["ways"]] == [
        ("strict", "free", 1),
        ("normalised", "free", 2),
        ("alias", "free", 2),
        ("likelihood", "weighs", 3),
    ]
    assert group["model"] == "drawn" and group["base"] == "free" and group["n"] == 4
    write_questions(tmp_path, {})
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    "facts", [{"prompt": {"how": "generate"}}, {"prompt": None}, {"prompt": {"question": 3, "how": "choice"}}]
)
def test_who_noted_no_question_is_left_out(tmp_path: Path, facts: dict[str, Any]) -> None:
    assert asked_of(run(tmp_path, "old", "generate", **facts), said("cat"), manifest()) is None
