"""`fieldguide sweep translation` on a small study whose texts tell the truth: what is held out, what is scored, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.rooms import write_colours
from tests.torture.shell import Shell, in_process

from fieldguide import scorecarding
from fieldguide.asked import Translation
from fieldguide.data.tables import read_manifest
from fieldguide.data.texts import write_texts
from fieldguide.errors import DONE, USAGE, UsageProblem
from fieldguide.evaluate.translation import MEASURES, Real
from fieldguide.records import Line, Texts
from fieldguide.scorecarding import Lines, held_out, lines_of, scorecard


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return in_process(capsys, monkeypatch)


def lines(*entries: tuple[str, int, int]) -> Lines:
    texts, classes, pictures = zip(*entries, strict=True)
    return Lines(tuple(texts), np.array(classes), np.array(pictures))


def test_captions_belong_to_their_pictures() -> None:
    said = lines(("a", 0, 0), ("b", 0, 0), ("c", 0, 1), ("d", 1, 3))
    held = Real(np.zeros((5, 2)), np.array([0, 0, 1, 1, 1]))
    rows, seen = held_out(said, held, 0)
    assert seen.tolist() == [0, 1, 3], "pictures 2 and 4 have no caption"
    assert rows[0] in (0, 1) and rows[1:].tolist() == [2, 3]


def test_lines_of_a_class_go_round_among_its_pictures() -> None:
    said = lines(("a", 0, -1), ("b", 0, -1), ("c", 1, -1))
    held = Real(np.zeros((7, 2)), np.array([0, 0, 0, 0, 1, 1, 2]))
    rows, seen = held_out(said, held, 3)
    assert seen.tolist() == [0, 1, 2, 3, 4, 5], "nothing is said of class 2"
    assert sorted(rows[:2].tolist()) == [0, 1] and sorted(rows[2:4].tolist()) == [0, 1] and rows[4:].tolist() == [2, 2]
    assert (said.classes[rows] == held.classes[seen]).all()
    again = held_out(said, held, 3)
    assert again[0].tolist() == rows.tolist()


def test_translators_are_read_or_refused() -> None:
    assert scorecarding.read_translators(None) is None
    assert scorecarding.read_translators("ridge, shift,ridge") == ("ridge", "shift")
    with pytest.raises(UsageProblem, match="there is no 'rigde'") as caught:
        scorecarding.read_translators("rigde")
    assert "ridge" in caught.value.allowed


HUES = ("red", "green", "blue")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of coloured squares with captions that tell their shade, and lines that tell their class."""
    from fieldguide.study import compare, read_asked

    base = tmp_path_factory.mktemp("card")
    asked, folder = read_asked(str(write_colours(base / "photos", 60)), base / "study", contestants=("majority",))
    compare(asked, folder)
    manifest = read_manifest(folder / "manifest.parquet")
    captions = {row.key: (f"a square that is {row.label}",) for at, row in enumerate(manifest.part()) if at % 7}
    write_texts(folder, Texts("captions", {}, captions, {"by": "the test"}))
    said = {id: tuple(Line(f"something {id} number {at}") for at in range(4)) for id in manifest.classes}
    write_texts(folder, Texts("lines", said))
    return folder


@pytest.fixture(scope="module")
def told(study: Path) -> dict[str, Any]:
    return scorecard(study, Translation(encoder="drawn_net", translators="ridge,memory,shift"))


@pytest.fixture(scope="module", autouse=True)
def _tiny() -> Any:
    """Mean colours as an encoder: a network of the right shape would take seconds to draw."""
    import torch

    from fieldguide.craft import encoders
    from fieldguide.craft.encoders import Encoder
    from fieldguide.data.batches import Preprocessing

    class Sees:
        key, preprocessing, width, parameters = "colours", Preprocessing(8), 3, 0

        def pictures(self, pixels: Any) -> Any:
            return pixels.mean(dim=(2, 3)).float()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders, "check", lambda model, online: None)
        patch.setattr(encoders, "build", lambda lens, **_: Encoder(lens.model, Sees(), None, described="mean colours"))  # type: ignore[arg-type]
        patch.setattr("fieldguide.eyes.lens_of", lambda model: type("Lens", (), {"model": model})())
        patch.setattr(torch.cuda, "is_available", lambda: False)
        yield


def rows(card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in card["rows"]}


def test_each_source_has_its_card(told: dict[str, Any], study: Path) -> None:
    assert [card["source"] for card in told["cards"]] == ["captions", "lines"]
    assert [card["target"] for card in told["cards"]] == ["picture", "class"]
    assert json.loads((study / "translation.json").read_text(encoding="utf-8")) == json.loads(json.dumps(told))
    for card in told["cards"]:
        assert {row["role"] for row in card["rows"]} == {"translator", "ceiling", "floor"}
        assert any("no direct bar" in note for note in card["notes"])
        assert any(note.startswith("shift: not applicable") for note in card["notes"])
        assert set(MEASURES) <= set(card["rows"][0])


def test_what_was_held_out_taught_nothing(told: dict[str, Any], study: Path) -> None:
    manifest = read_manifest(study / "manifest.parquet")
    val, train = manifest.part("val"), manifest.part("train")
    captions, described = told["cards"]
    with_caption = sum(row.key in _captions(study) for row in val)
    assert captions["pairs"]["held_out"] == with_caption < len(val)
    assert f"{len(val) - with_caption} validation pictures are left out" in " ".join(captions["notes"])
    assert captions["pairs"]["train"] == sum(row.key in _captions(study) for row in train)
    assert described["pairs"] == {**described["pairs"], "held_out": len(val), "train": 12}
    assert "other classes" in described["pairs"]["crossed"]


def _captions(study: Path) -> set[str]:
    from fieldguide.data.texts import read_texts

    return set(read_texts(study, "captions").captions)


def test_unseen_colours_cannot_be_translated_and_the_card_says_so(told: dict[str, Any]) -> None:
    """Three classes, each translated by what the other two taught: their words are not known, so no class is met beyond chance."""
    for card in told["cards"]:
        found = rows(card)
        assert found["real pictures"]["class_accuracy"]["value"] == 1
        assert found["ridge"]["class_accuracy"]["value"] <= 0.34
        assert found["ridge"]["r2"]["value"] < 0.2


def test_a_leak_would_be_seen(study: Path) -> None:
    """The same texts, translated by what their own classes taught, meet every class: it is the crossing that keeps this out."""
    before = (study / "translation.json").read_bytes() if (study / "translation.json").exists() else None
    leaked = scorecard(study, Translation(encoder="drawn_net", texts=("lines",), translators="ridge", folds=1))
    assert rows(leaked["cards"][0])["ridge"]["class_accuracy"]["value"] == 1
    assert "the one that a line tells of among them" in leaked["cards"][0]["pairs"]["crossed"]
    if before is not None:
        (study / "translation.json").write_bytes(before)


def test_the_same_call_comes_to_the_same_numbers(told: dict[str, Any], study: Path) -> None:
    again = scorecard(study, Translation(encoder="drawn_net", translators="ridge,memory,shift"))
    assert again["cards"] == told["cards"]


def test_the_command_prints_the_card(study: Path, shell: Shell) -> None:
    done = shell("sweep", "translation", study, "--encoder", "drawn_net", "--texts", "lines", "--translators", "ridge,memory")
    assert done.code == DONE, done
    for words in ("ridge", "memory", "ceiling", "There is no direct bar", "Written:"):
        assert words in done.out


@pytest.mark.parametrize(
    "words, says",
    [
        (("--texts", "nothing"), "has no texts called 'nothing'"),
        (("--translators", "magic"), "there is no 'magic'"),
        (("--normalise", "up"), "normalise = 'up' is not possible"),
    ],
)
def test_slips_are_told_with_what_is_allowed(study: Path, shell: Shell, words: Sequence[str], says: str) -> None:
    done = shell("sweep", "translation", study, *words)
    assert done.code == USAGE and says in done.err


def test_a_study_without_validation_pictures_is_refused(study: Path, tmp_path: Path, shell: Shell) -> None:
    assert shell("sweep", "translation", tmp_path).code == USAGE
    from fieldguide.study import compare, read_asked

    asked, folder = read_asked(str(write_colours(tmp_path / "p", 12)), tmp_path / "s", contestants=("majority",), folds=3)
    compare(asked, folder)
    with pytest.raises(UsageProblem, match="no training and validation pictures side by side"):
        scorecard(folder, Translation())


def test_lines_are_captions_first(study: Path) -> None:
    manifest = read_manifest(study / "manifest.parquet")
    key = manifest.part("val")[0].key
    both = Texts("both", {manifest.classes[0]: (Line("of the class"),)}, {key: ("of the picture",)})
    assert lines_of(both, manifest, "val").text == ("of the picture",)
    assert lines_of(both, manifest, "train").text == ("of the class",)
