"""Group T10: weights files and fitted models that are damaged, of another network, or made to run code when they are read.

The rule is the same for all: nothing of a file is run, a file that does not fit is named with what does not fit, and nobody answers
with weights that are not what they were taken for. What can be known beforehand stops the command before any work (2, 4 or 5);
what shows when the file is loaded fails that contestant by name (3), and the others keep their results.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pickle
import shutil
import struct
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.pictures import write_folder
from tests.torture.shell import Said, Shell, in_process

from fieldguide.data.tables import read_predictions
from fieldguide.errors import DATA, DONE, PARTLY, USAGE
from fieldguide.files import write_toml
from fieldguide.records import Prediction

pytestmark = [pytest.mark.torture("T10", "Model files"), pytest.mark.slow(keep=12)]

CLASSES = ("cat", "dog", "eel")
NET = {"model": "test_resnet", "image_size": 32, "epochs": 1, "batch_size": 4, "precision": "fp32"}
#: Those that stand before and after the network in question; whatever happens to it, they answer.
OTHERS = ("majority", "linear")
State = dict[str, Any]


@dataclass
class Yard:
    """Twelve pictures, a study, a place for files, and the folder that exists if anything of a file was run."""

    root: Path
    shell: Shell
    told: Callable[[str], None]
    monkeypatch: pytest.MonkeyPatch
    sound: Sound

    @property
    def study(self) -> Path:
        return self.root / "study"

    @property
    def canary(self) -> Path:
        return self.root / "ran"

    def file(self, name: str, content: bytes | State) -> Path:
        """Write bytes, or tensors as the suffix says."""
        path = self.root / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif path.suffix == ".safetensors":
            save(content, path)
        else:
            torch_save(content, path)
        return path

    def compare(self, **settings: Any) -> Said:
        """Run the study of the network with `settings` between the two others; nothing of any file may run."""
        said = compare(self.shell, self.root, self.sound.photos, self.study, **settings)
        assert not self.canary.exists(), "something that lay in the file was run"
        return said

    def refused(self, code: int, *words: str, **settings: Any) -> str:
        """Expect three breaths and an exit code before any work was done; return the first of them."""
        said = self.compare(**settings)
        assert said.code == code, (said.code, said.text)
        lines = [line for line in said.err.splitlines() if line]
        assert len(lines) == 3, said.err
        for word in words:
            assert word in said.text, (word, said.text)
        assert not list(self.study.glob("runs/*")), "refused before any contestant ran"
        return f"{self.short(lines[0])} {self.short(lines[2])}; exit {code}"

    def fails(self, *words: str, **settings: Any) -> str:
        """Expect that the network fails by name while the others answer, and that nothing of it was unforeseen; return what was said."""
        said = self.compare(**settings)
        assert said.code == PARTLY, (said.code, said.text)
        (line,) = (line for line in said.out.splitlines() if line.startswith("net: "))
        assert line.startswith("net: failed. "), line
        for word in words:
            assert word in line, (word, line)
        assert "not foreseen" not in line and not (self.study / "runs" / "net" / "run.log").exists(), line
        self.others_answered()
        assert not (self.study / "runs" / "net" / "predictions.parquet").exists()
        failed = json.loads((self.study / "runs" / "net" / "failed.json").read_text())
        assert failed["given"] and failed["allowed"] and failed["next"]
        return f"{self.short(line)}; exit {PARTLY}"

    def others_answered(self) -> None:
        for name in OTHERS:
            assert answers(self.study, name) == self.sound.answers[name], name
        assert (self.study / "report.html").exists()

    def same_as_sound(self, **settings: Any) -> None:
        """Expect that the network answers, to the last bit, as with the sound file."""
        said = self.compare(**settings)
        assert said.code == DONE, (said.code, said.text)
        self.others_answered()
        assert answers(self.study, "net") == self.sound.answers["net"]

    def short(self, text: str) -> str:
        """Return what was said without the places of this machine."""
        return text.replace(f"{self.root}{os.sep}", "… ").replace(str(self.sound.root), "…")


@dataclass(frozen=True)
class Sound:
    """A study with a sound weights file, what its contestants answered, and what was in the file."""

    root: Path
    state: State
    answers: dict[str, list[Prediction]]

    @property
    def photos(self) -> Path:
        return self.root / "photos"

    @property
    def study(self) -> Path:
        return self.root / "study"


def compare(shell: Shell, root: Path, photos: Path, study: Path, **settings: Any) -> Said:
    family = settings.pop("family", "backbone")
    own = {**NET, **settings} if family == "backbone" else {**NET, "model": "own", **settings}
    contestants = [
        {"name": "majority", "family": "majority"},
        {"name": "net", "family": family, "settings": {name: str(v) if isinstance(v, Path) else v for name, v in own.items()}},
        {"name": "linear", "family": "linear", "settings": {"image_size": 8, "strengths": [0.1]}},
    ]
    plan = root / "plan.toml"
    write_toml(plan, {"source": str(photos), "contestants": contestants})
    return shell("compare", plan, "--out", study)


def answers(study: Path, name: str) -> list[Prediction]:
    return [dataclasses.replace(row, seconds=None) for row in read_predictions(study / "runs" / name / "predictions.parquet")]


def save(state: State, path: Path) -> None:
    from safetensors.torch import save_file

    save_file(state, path)


def torch_save(content: Any, path: Path, **how: Any) -> None:
    import torch

    torch.save(content, path, **how)


def timm_state(model: str, classes: int = 5) -> State:
    """Return random weights that half precision holds exactly."""
    import timm
    import torch

    torch.manual_seed(3)
    state = timm.create_model(model, num_classes=classes).state_dict()
    return {name: t.half().float() if t.is_floating_point() else t.clone() for name, t in state.items()}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sound]:
    from fieldguide.study import compare as call
    from fieldguide.study import read_asked

    root = tmp_path_factory.mktemp("sound")
    write_folder(root / "photos", CLASSES, each=4)
    state = timm_state("test_resnet")
    save(state, root / "sound.safetensors")

    def shell(*words: object) -> Said:
        done = call(*read_asked(str(words[1]), root / "study"))
        return Said(done.exit_code, "", "")

    assert compare(shell, root, root / "photos", root / "study", weights=root / "sound.safetensors").code == DONE
    yield Sound(root, state, {name: answers(root / "study", name) for name in (*OTHERS, "net")})


@pytest.fixture
def yard(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    told: Callable[[str], None],
    sound: Sound,
) -> Yard:
    monkeypatch.chdir(tmp_path)
    return Yard(tmp_path, in_process(capsys, monkeypatch), told, monkeypatch, sound)


class Running:
    """Were this read as a pickle, a folder would appear."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return os.mkdir, (self.path,)


CASES: dict[str, Callable[[Yard], None]] = {}


def case(name: str) -> Callable[[Callable[[Yard], None]], Callable[[Yard], None]]:
    def keep(run: Callable[[Yard], None]) -> Callable[[Yard], None]:
        CASES[name] = run
        return run

    return keep


# --- files that are no whole safetensors --------------------------------------------------------------------------------------


def safetensors(header: bytes | Mapping[str, Any], data: bytes = b"", length: int | None = None) -> bytes:
    """Return a file with this header; `length` is what it says of the header's."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(*offsets: int, shape: tuple[int, ...] = (2,), dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


PAGE = b"<!DOCTYPE html><html><head><title>404: not found</title></head><body>Sign in to download</body></html>\n"
#: What stands in a file that is called .safetensors and is none.
DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda whole: whole[: len(whole) // 2],
    "cut in its header": lambda whole: whole[:40],
    "one byte too long": lambda whole: whole + b"x",
    "empty": lambda _: b"",
    "a page that was saved instead": lambda _: PAGE,
    "header length beyond the file": lambda whole: struct.pack("<Q", 1 << 62) + whole[8:],
    "huge header": lambda _: safetensors(b"{" + b" " * 120_000_000 + b"}"),
    "header nested a hundred thousand deep": lambda _: safetensors(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "header is no JSON": lambda whole: whole[:8] + b"\xff" * 60 + whole[68:],
    "overlapping offsets": lambda _: safetensors({"a": tensor(0, 8), "b": tensor(4, 12)}, bytes(12)),
    "hole between tensors": lambda _: safetensors({"a": tensor(0, 8), "b": tensor(12, 20)}, bytes(20)),
    "offsets beyond the file": lambda _: safetensors({"a": tensor(0, 1 << 40, shape=(1 << 38,))}, bytes(8)),
    "shape that overflows": lambda _: safetensors({"a": tensor(0, 8, shape=(1 << 33, 1 << 33))}, bytes(8)),
    "shape and offsets disagree": lambda _: safetensors({"a": tensor(0, 8, shape=(3,))}, bytes(8)),
    "unknown number format": lambda _: safetensors({"a": tensor(0, 8, dtype="X99")}, bytes(8)),
}


@pytest.mark.parametrize("kind", DAMAGED, ids=lambda kind: f"safetensors: {kind}")
def test_damaged(kind: str, yard: Yard) -> None:
    path = yard.file("w.safetensors", DAMAGED[kind]((yard.sound.root / "sound.safetensors").read_bytes()))
    said = yard.refused(DATA, "w.safetensors is damaged: ", "Fetch it again", weights=path)
    yard.told(said)
    shutil.copy(yard.sound.root / "sound.safetensors", path)
    yard.same_as_sound(weights=path)


@case("a folder in the place of a file")
def a_folder(yard: Yard) -> None:
    (yard.root / "w.safetensors").mkdir()
    yard.told(yard.refused(USAGE, "There is no weights file", weights=yard.root / "w.safetensors"))


@case("no such file, and a file of another kind")
def no_file(yard: Yard) -> None:
    yard.refused(USAGE, "There is no weights file", weights=yard.root / "gone.safetensors")
    yard.file("w.onnx", b"x")
    yard.told(yard.refused(USAGE, "is no weights file", weights=yard.root / "w.onnx"))


# --- tensors that do not fit --------------------------------------------------------------------------------------------------


@case("another network's file")
def another_network(yard: Yard) -> None:
    path = yard.file("w.safetensors", timm_state("test_vit"))
    yard.told(yard.fails("w.safetensors does not fit this network: ", "is missing (and ", weights=path))
    yard.file("w.safetensors", yard.sound.state)
    yard.same_as_sound(weights=path)


@case("a tensor is missing")
def missing(yard: Yard) -> None:
    name = "stages.2.0.conv1.weight"
    state = {key: value for key, value in yard.sound.state.items() if key != name}
    yard.told(yard.fails(f"{name} is missing.", weights=yard.file("w.safetensors", state)))


@case("a tensor of another shape")
def misshapen(yard: Yard) -> None:
    name = "stages.2.0.conv1.weight"
    wrong = yard.sound.state[name]
    state = {**yard.sound.state, name: wrong.transpose(0, 1).contiguous()}
    words = f"{name} has shape {tuple(state[name].shape)}, not {tuple(wrong.shape)}."
    yard.told(yard.fails(words, weights=yard.file("w.safetensors", state)))


@case("a tensor nobody knows, its name made to deceive a terminal")
def unknown(yard: Yard) -> None:
    name = "\x1b[2J\u202estages"
    said = yard.fails(
        "\\u001b[2J\\u202estages is not part of the network.",
        weights=yard.file("w.safetensors", {**yard.sound.state, name: yard.sound.state["stem.conv1.weight"].clone()}),
    )
    assert "\x1b" not in said and "\u202e" not in said
    assert b"\x1b" not in (yard.study / "report.html").read_bytes()
    yard.told(said)


@case("no head, or a head for other classes")
def heads(yard: Yard) -> None:
    body = {name: value for name, value in yard.sound.state.items() if not name.startswith("fc.")}
    assert len(body) == len(yard.sound.state) - 2
    yard.same_as_sound(weights=yard.file("w.safetensors", body))
    shutil.rmtree(yard.study)
    thousand = {**body, **{name: value for name, value in timm_state("test_resnet", 1000).items() if name.startswith("fc.")}}
    yard.same_as_sound(weights=yard.file("w.safetensors", thousand))
    yard.told("the head is begun anew: the answers of a file with another head, to the last bit; exit 0")


@case("half precision")
def half(yard: Yard) -> None:
    import torch
    from safetensors.torch import load_file

    state = {name: value.half() if value.is_floating_point() else value for name, value in yard.sound.state.items()}
    yard.same_as_sound(weights=yard.file("w.safetensors", state))
    kept = load_file(yard.study / "runs" / "net" / "model" / "model.safetensors")
    assert {value.dtype for value in kept.values()} == {torch.float32, torch.int64}
    yard.told("trained in single precision: the answers of the same weights in it, to the last bit; exit 0")


@pytest.mark.parametrize("number", ["nan", "inf"], ids=lambda number: f"one {number} among the weights")
@pytest.mark.parametrize("where", ["stages.2.0.conv1.weight", "stages.1.0.bn1.running_var"], ids=["a matrix", "a statistic"])
def test_no_numbers(number: str, where: str, yard: Yard) -> None:
    state = {name: value.clone() for name, value in yard.sound.state.items()}
    state[where].view(-1)[1] = float(number)
    yard.told(yard.fails(f"{where} holds what is no finite number", weights=yard.file("w.safetensors", state)))


# --- pickles ------------------------------------------------------------------------------------------------------------------


def harmful(yard: Yard) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return what is saved, and how, for every way a state dict may carry something that runs."""
    state, evil = yard.sound.state, Running(yard.canary)
    return {
        "beside the network": ({"model": state, "args": evil}, {}),
        "in the place of a tensor": ({**state, "fc.weight": evil}, {}),
        "the whole file": (evil, {}),
        "in the format before zip": ({"model": state, "args": evil}, {"_use_new_zipfile_serialization": False}),
    }


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_a_pickle_that_would_run_code(suffix: str, yard: Yard) -> None:
    said = ""
    for content, how in harmful(yard).values():
        torch_save(content, yard.root / f"w{suffix}", **how)
        said = yard.fails("mkdir, which reading could run as code. It was not read.", weights=yard.root / f"w{suffix}")
        shutil.rmtree(yard.study)
    yard.told(said)
