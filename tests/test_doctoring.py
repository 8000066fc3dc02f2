"""`fieldguide texts --doctor`: what it writes and says, by words alone, with a model, and by a reading whose truth is planted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.craft.tiny_clip import save_clip
from tests.pictures import write_folder
from tests.torture.shell import Shell, in_process
from tests.torture.small_study import partial

from fieldguide.data.texts import fingerprint, read_texts
from fieldguide.doctoring import WAYS, Eyes, examined, rows_of, sentence, with_names
from fieldguide.errors import DONE, USAGE
from fieldguide.evaluate.descriptions import Places, Seen
from fieldguide.evaluate.distances import unit
from fieldguide.files import read_json
from fieldguide.records import ClassInfo, Line, Texts

SAID = {
    "cat": ["pointed ears", "a short tail", "it purrs"],
    "dog": ["floppy ears", "a short tail", "the dog wags"],
    "eel": ["long and thin"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fieldguide.study import compare, read_asked

    base = tmp_path_factory.mktemp("doctor")
    write_folder(base / "photos", each=10)
    asked, _ = read_asked(str(base / "photos"), None, contestants=("majority",))
    compare(asked, base / "study")
    save_clip(base / "clip", size=16)
    return base


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "study", tmp_path / "study")
    return tmp_path / "study"


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return in_process(capsys, monkeypatch)


def added(study: Path, shell: Shell, folder: Path) -> None:
    (folder / "gpt.json").write_text(json.dumps(SAID), encoding="utf-8")
    assert shell("texts", study, "--add", folder / "gpt.json").code == DONE


def test_words_are_examined_without_any_model(study: Path, tmp_path: Path, shell: Shell) -> None:
    said = shell("texts", study, "--doctor")
    assert said.code == USAGE and "The study has no texts about its classes." in said.text
    added(study, shell, tmp_path)
    said = shell("texts", study, "--doctor")
    assert said.code == DONE
    assert "gpt: 7 lines about 3 classes." in said.text
    assert "28.6 % 2 states what no picture shows such as cat: 'it purrs' (purrs: a picture has no sound)" in said.text
    assert "14.3 % 1 names its class" in said.text and "28.6 % 2 is said word for word of another class, too" in said.text
    assert "longer than the encoder" not in said.text and "Add --encoder drawn" in said.text
    assert "gpt.jsonl; then run this again" in said.text
    found = read_json(study / "texts" / "gpt.doctor.json")
    assert found["encoder"] is found["controls"] is found["totals"]["contradicts"]["lines"] is None
    assert found["fingerprint"] == fingerprint(read_texts(study, "gpt"))
    assert [(line["class"], line["at"], line["worth"]) for line in found["lines"]][3:5] == [("dog", 0, None), ("dog", 1, None)]
    assert not partial(study)
    said = shell("texts", study, "none", "--doctor")
    assert said.code == USAGE and "no texts called 'none'" in said.text


def test_with_a_model_every_line_is_measured_and_the_controls_run(
    made: Path, study: Path, tmp_path: Path, shell: Shell
) -> None:
    added(study, shell, tmp_path)
    words = ("texts", study, "gpt", "--doctor", "--encoder", f"hf/{made / 'clip'}")
    said = shell(*words)
    assert said.code == DONE
    found = read_json(study / "texts" / "gpt.doctor.json")
    assert found["encoder"] == {
        "context": 32,
        "described": f"hf/{made / 'clip'}",
        "how": "the model's own text half",
        "model": f"hf/{made / 'clip'}",
        "train": 21,
    }
    worth = found["lines"][0]["worth"]
    assert (
        (worth["own"], worth["against"]) == (7, 7)
        and worth["rival"] in ("dog", "eel")
        and 0 <= worth["low"] <= worth["high"] <= 1
    )
    controls = found["controls"]
    assert list(controls["titles"]) == sorted(WAYS) and set(controls["rows"]) == set(WAYS)
    assert (controls["part"], controls["pictures"], controls["silent"]) == ("validation pictures", 5, [])
    assert controls["cut"] == 0
    assert "Right on 5 validation pictures" in said.text and controls["sentence"] in said.text
    assert list((study / "store" / "features").glob("*/*.npy")), "features are kept where contestants find them"
    before = (study / "texts" / "gpt.doctor.json").read_bytes()
    assert shell(*words).code == DONE
    assert (study / "texts" / "gpt.doctor.json").read_bytes() == before, "the same again"
    assert not partial(study)


def test_what_cannot_see_is_told(study: Path, tmp_path: Path, shell: Shell) -> None:
    added(study, shell, tmp_path)
    said = shell("texts", study, "--doctor", "--encoder", "pixels")
    assert said.code == USAGE and "'pixels' is no encoder" in said.text
    assert not (study / "texts" / "gpt.doctor.json").exists()


CLASSES = tuple(ClassInfo(id, id) for id in ("ara", "bit", "cod", "dab"))
COLOURS = ("red", "blue", "green", "white")


def eyes(lines_know: bool = True, names_know: bool = False, each: int = 25) -> Eyes:
    """Pictures of four classes, each a colour's direction under noise, and a reader that knows colours, or names, or nothing."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), each)
    seen = [Seen(unit(np.eye(24)[labels] + 0.1 * random.normal(size=(len(labels), 24))), labels) for _ in range(2)]
    known = {colour: at for at, colour in enumerate(COLOURS)} if lines_know else {}
    known |= {info.id: at for at, info in enumerate(CLASSES)} if names_know else {}

    def read(lines: Sequence[str], owners: Places) -> NDArray[np.float64]:
        rows = []
        for line in lines:
            # A word that is not known says something, too: always the same, and nothing of a picture.
            words = [word.strip(".,") for word in line.split()]
            rows.append(
                np.mean([np.eye(24)[known[word] if word in known else 4 + sum(map(ord, word)) % 20] for word in words], axis=0)
            )
        return np.array(rows)

    def counted(lines: Sequence[str]) -> list[int]:
        return [len(line.split()) for line in lines]

    return Eyes("planted", "planted", "a table of words", *seen, "validation pictures", read, counted, 8)


def texts(shift: int = 0) -> Texts:
    said = {info.id: f"a body of {COLOURS[(at + shift) % 4]} with fins" for at, info in enumerate(CLASSES)}
    return Texts("planted", {id: (Line(line), Line("a tail behind")) for id, line in said.items()})


def test_true_lines_beat_random_words_and_other_classes_lines() -> None:
    found = examined(texts(), CLASSES, eyes())
    rows = {way: row["value"] for way, row in found["controls"]["rows"].items()}
    assert rows["texts"] > 0.95 and rows["names_texts"] > 0.9
    assert rows["permuted"] < 0.1 and rows["names_permuted"] < 0.15 and rows["names"] < 0.5 and rows["names_random"] < 0.7
    worth = {(line["class"], line["at"]): line["worth"] for line in found["lines"]}
    assert all(worth[info.id, 0]["auc"] > 0.95 and abs(worth[info.id, 1]["auc"] - 0.5) < 0.45 for info in CLASSES)
    assert found["totals"]["contradicts"]["lines"] <= 2
    assert found["controls"]["sentence"].startswith(
        "The descriptions tell classes apart: alone, against those of other classes, +"
    )
    assert "beside the names they help more than as many random words do" in found["controls"]["sentence"]
    assert found["controls"]["cut"] == 4 and found["totals"]["beyond_context"]["lines"] == 0
    assert found["totals"]["shared"]["lines"] == 4


def test_lines_of_the_wrong_class_mislead_and_contradict() -> None:
    found = examined(texts(shift=1), CLASSES, eyes())
    assert found["controls"]["rows"]["texts"]["value"] < 0.05
    assert found["controls"]["sentence"].startswith("The descriptions mislead")
    wrong = [line for line in found["lines"] if line["at"] == 0]
    assert np.mean([line["worth"]["rest"] for line in wrong]) < 0.45
    assert any(line["worth"]["contradicts"] for line in wrong)


def test_lines_that_say_nothing_are_told_so_even_where_names_are_known() -> None:
    found = examined(texts(), CLASSES, eyes(lines_know=False, names_know=True))
    assert found["controls"]["rows"]["names"]["value"] > 0.95
    assert found["controls"]["sentence"].startswith("That these descriptions tell classes apart cannot be shown")
    assert "no more than as many random words" in found["controls"]["sentence"]


def test_a_class_without_a_line_is_named_and_keeps_its_name() -> None:
    some = Texts("some", {id: lines for id, lines in texts().classes.items() if id != "dab"})
    found = examined(some, CLASSES, eyes(names_know=True))
    assert found["controls"]["silent"] == ["dab"] and found["classes"] == 3
    assert found["controls"]["rows"]["texts"]["value"] < 0.8 < found["controls"]["rows"]["names_texts"]["value"]


def test_lines_about_one_class_alone_have_no_controls() -> None:
    found = examined(Texts("one", {"ara": texts().classes["ara"]}), CLASSES, eyes())
    assert found["controls"] is None and found["encoder"]["model"] == "planted" and found["lines"][0]["worth"]["auc"] > 0.9


def test_a_line_behind_a_name() -> None:
    assert with_names(["A red fin.", ""], np.array([1, 0]), CLASSES) == ["a photo of a bit, a red fin.", "a photo of a ara, "]
    told: list[dict[str, Any]] = [
        {"first": "texts", "second": "permuted", "value": 0.1, "low": -0.1, "high": 0.2},
        {"first": "names_texts", "second": "names_random", "value": -0.2, "low": -0.3, "high": -0.1},
    ]
    assert sentence(told, "training pictures", "a map").endswith(
        "worse than as many random words: -20.0 points [-30.0 to -10.0] (training pictures, by a map)."
    )


def test_a_network_without_text_gets_a_map_that_its_own_class_did_not_teach(tmp_path: Path) -> None:
    from fieldguide.bench import Silent
    from fieldguide.craft import translators
    from fieldguide.craft.features import Features
    from fieldguide.eyes import mapped

    if not hasattr(translators, "crossed"):
        pytest.skip("translators are not there yet")
    colours, shapes = ("red", "blue", "green", "white"), ("round", "long", "square")
    kinds = [(colour, shape) for colour in range(4) for shape in range(3)]
    ids = [f"class{at:02}" for at in range(12)]
    said = {
        id: (Line(f"a {colours[kind[0]]} thing"), Line(f"its body is {shapes[kind[1]]}"))
        for id, kind in zip(ids, kinds, strict=True)
    }
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 8)
    centres = np.array([np.eye(16)[colour] + np.eye(16)[4 + shape] for colour, shape in kinds])
    rows = centres[labels] - centres.mean(axis=0) + 0.1 * random.normal(size=(96, 16))
    seen = Seen(unit(rows), labels)
    read, how, groups = mapped(Texts("x", said), seen, ids, Features(tmp_path, Silent()))
    assert "from the lines and pictures of other classes" in how and len(set(groups.tolist())) == 5
    found = examined(
        Texts("x", said),
        [ClassInfo(id, id) for id in ids],
        Eyes("net", "net", how, seen, seen, "training pictures", read, groups=groups),
    )
    assert found["controls"]["rows"]["texts"]["value"] > 0.8 > 0.3 > found["controls"]["rows"]["permuted"]["value"]
    alone = {id: lines for id, lines in said.items() if id not in ("class00", "class01", "class02")}
    red = {"class00": (Line("a crimson thing"),), **alone}
    read, _, _ = mapped(Texts("x", red), seen, ids, Features(tmp_path, Silent()))
    own = unit(read(["a crimson thing"], np.array([0]))) @ unit(centres - centres.mean(axis=0))[0]
    assert own < 0.5, "a word that its class alone has is not known from its own pictures"


def test_which_pictures_are_judged(study: Path) -> None:
    from fieldguide.data.tables import freeze, read_manifest

    manifest = read_manifest(study / "manifest.parquet")
    train, judged, part = rows_of(manifest)
    assert (len(train), len(judged), part) == (21, 5, "validation pictures")
    import dataclasses

    rows = [dataclasses.replace(row, split="test", fold=at % 3) for at, row in enumerate(manifest.rows)]
    train, judged, part = rows_of(freeze(rows, manifest.classes, 1))
    assert part == "pictures of fold 0" and len(judged) == 10 and not {row.key for row in train} & {row.key for row in judged}
    rows = [row for row in manifest.rows if row.split != "val"]
    train, judged, part = rows_of(freeze(rows, manifest.classes, 1))
    assert train == judged and part.startswith("training pictures, for there are none")
