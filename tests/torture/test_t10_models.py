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
from collections.abc import Callable, Mapping
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
def sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
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
    return Sound(root, state, {name: answers(root / "study", name) for name in (*OTHERS, "net")})


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
    name = "layer2.0.conv1.weight"
    state = dict(yard.sound.state)
    del state[name]
    yard.told(yard.fails(f"{name} is missing.", weights=yard.file("w.safetensors", state)))


@case("a tensor of another shape")
def misshapen(yard: Yard) -> None:
    name = "layer2.0.conv1.weight"
    wrong = yard.sound.state[name]
    state = {**yard.sound.state, name: wrong.transpose(0, 1).contiguous()}
    words = f"{name} has shape {tuple(state[name].shape)}, not {tuple(wrong.shape)}."
    yard.told(yard.fails(words, weights=yard.file("w.safetensors", state)))


@case("a tensor nobody knows, its name made to deceive a terminal")
def unknown(yard: Yard) -> None:
    name = "\x1b[2J\u202elayer1"
    said = yard.fails(
        "\\u001b[2J\\u202elayer1 is not part of the network.",
        weights=yard.file("w.safetensors", {**yard.sound.state, name: yard.sound.state["conv1.0.weight"].clone()}),
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
@pytest.mark.parametrize("where", ["layer2.0.conv1.weight", "layer1.0.bn1.running_var"], ids=["a matrix", "a statistic"])
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
    fires(yard, yard.root / f"w{suffix}")
    yard.told(said)


def fires(yard: Yard, path: Path) -> None:
    """See that the file is what it is meant to be: read without care, it runs."""
    import torch

    with path.open("rb") as stream:  # by its name torch would take it for safetensors
        torch.load(stream, weights_only=False)
    assert yard.canary.exists()
    yard.canary.rmdir()


@case("a pickle that would run code, called .safetensors")
def pickled_safetensors(yard: Yard) -> None:
    torch_save({"model": yard.sound.state, "args": Running(yard.canary)}, yard.root / "w.safetensors")
    yard.told(yard.refused(DATA, "w.safetensors is damaged: ", weights=yard.root / "w.safetensors"))
    fires(yard, yard.root / "w.safetensors")


@case("a pickle inside an archive of 7z")
def archived(yard: Yard) -> None:
    # Some scanners look into zip alone and let anything else pass as "no pickle".
    inside = pickle.dumps(Running(yard.canary))
    yard.told(yard.fails("w.pt is damaged: ", weights=yard.file("w.pt", b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(24) + inside)))


@case("a plain pickle that would run code")
def plain_pickle(yard: Yard) -> None:
    path = yard.file("w.pt", pickle.dumps({"a": Running(yard.canary)}))
    yard.told(yard.fails("w.pt", weights=path))
    pickle.loads(path.read_bytes())
    assert yard.canary.exists()


@case("a TorchScript archive, which is a program")
def script(yard: Yard) -> None:
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:  # as torch.jit.save lays them out
        for name, content in (
            ("data.pkl", b"\x80\x02}."),
            ("code/__torch__.py", b"x = 1"),
            ("constants.pkl", b"\x80\x02)."),
            ("version", b"3"),
        ):
            archive.writestr(f"net/{name}", content)
    yard.told(yard.fails("w.pt is damaged: ", weights=yard.file("w.pt", stream.getvalue())))


@case("a pickled file that is cut, empty, or a page")
def pickle_cut(yard: Yard) -> None:
    torch_save(yard.sound.state, yard.root / "w.pth")
    whole = (yard.root / "w.pth").read_bytes()
    said = ""
    for content in (PAGE, b"", whole[:200], whole[: len(whole) // 2]):
        said = yard.fails("w.pth is damaged: ", weights=yard.file("w.pth", content))
        shutil.rmtree(yard.study)
    yard.same_as_sound(weights=yard.file("w.pth", whole))
    yard.told(said)


@case("a pickle of one number that claims to be petabytes")
def claims(yard: Yard) -> None:
    import torch

    state = {**yard.sound.state, "layer2.0.conv1.weight": torch.zeros(1).expand(1 << 44, 32, 3, 3)}
    path = yard.file("w.pt", state)
    assert path.stat().st_size < 4_000_000
    yard.told(yard.fails("layer2.0.conv1.weight claims more numbers than the file holds", weights=path))


@case("a pickle without a network")
def no_network(yard: Yard) -> None:
    for content in ({"epoch": 3, "best": 0.5}, [1, 2], {"model": {"a": 1}}, {}):
        said = yard.fails("w.pt holds no network: ", weights=yard.file("w.pt", content))  # type: ignore[arg-type]
        shutil.rmtree(yard.study)
    yard.told(said)


@pytest.mark.parametrize("under", ["model", "state_dict"], ids=lambda under: f"a state dict under {under}")
def test_wrapped(under: str, yard: Yard) -> None:
    beside = {"epoch": 3, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}
    yard.same_as_sound(weights=yard.file("w.pth", {under: yard.sound.state, **beside}))
    yard.told("the network is found, what lies beside it is passed over: the same answers to the last bit; exit 0")


@case("a state dict with the prefix of a parallel wrapper")
def prefixed(yard: Yard) -> None:
    state = {f"module.{name}": value for name, value in yard.sound.state.items()}
    yard.told(yard.fails("is missing (and ", weights=yard.file("w.pth", state)))


# --- files of VMamba ----------------------------------------------------------------------------------------------------------


def vmamba_state() -> State:
    import torch

    from fieldguide.craft.vmamba_net import Shape, VMamba

    torch.manual_seed(3)
    return dict(VMamba(Shape((1, 1, 1, 1), 8, 1, classes=5)).state_dict())


def official(yard: Yard, state: State, **beside: Any) -> Path:
    """Write a checkpoint as the official training does, its configuration a node of yacs, which is not installed."""
    module = types.ModuleType("yacs.config")
    node = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    module.CfgNode = node  # type: ignore[attr-defined]
    with yard.monkeypatch.context() as patch:
        patch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
        patch.setitem(sys.modules, "yacs.config", module)
        torch_save(
            {"model": state, "epoch": 264, "config": node({"MODEL": node({"TYPE": "vssm"})}), **beside}, yard.root / "w.pth"
        )
    return yard.root / "w.pth"


VMAMBA: dict[str, Any] = {"family": "vmamba"}


@case("an official VMamba file with its configuration")
def vmamba_official(yard: Yard) -> None:
    path = official(yard, vmamba_state())
    said = yard.compare(weights=path, **VMAMBA)
    assert said.code == DONE, said.text
    yard.others_answered()
    have = answers(yard.study, "net")
    assert all(answer.error is None for answer in have) and "yacs.config" not in sys.modules
    shutil.rmtree(yard.study)
    save(vmamba_state(), yard.root / "w.safetensors")
    assert yard.compare(weights=yard.root / "w.safetensors", **VMAMBA).code == DONE
    assert answers(yard.study, "net") == have
    yard.told("read without yacs: the answers of the same tensors as safetensors, to the last bit; exit 0")


@case("an official VMamba file with something more that would run")
def vmamba_harmful(yard: Yard) -> None:
    path = official(yard, vmamba_state(), more=Running(yard.canary))
    yard.told(yard.refused(DATA, "mkdir, which reading could run as code. It was not read.", weights=path, **VMAMBA))


@case("VMamba: a tensor missing, misshapen, unknown, or the file of a CNN")
def vmamba_unfit(yard: Yard) -> None:
    import torch

    state, name = vmamba_state(), "layers.1.blocks.0.op.x_proj_weight"
    wrong: dict[str, State] = {
        f"{name} is missing.": {key: value for key, value in state.items() if key != name},
        f"{name} has shape (4, 1, 16), not {tuple(state[name].shape)}.": {**state, name: torch.zeros(4, 1, 16)},
        "surplus is not part of the network.": {**state, "surplus": torch.zeros(2)},
        "w.safetensors is no VMamba that is known here: ": yard.sound.state,
    }
    for words, tensors in wrong.items():
        said = yard.refused(DATA, words, weights=yard.file("w.safetensors", tensors), **VMAMBA)
    yard.told(said)


@case("VMamba: one number that claims to be a layer of petabytes")
def vmamba_huge(yard: Yard) -> None:
    import torch

    # A view of one number over and over: a pickled file of a kilobyte that claims a layer of petabytes.
    state = {**vmamba_state(), "patch_embed.5.weight": torch.zeros(1).expand(1 << 44, 4, 3, 3)}
    words = "patch_embed.5.weight claims more numbers than the file holds"
    yard.told(yard.refused(DATA, words, weights=yard.file("w.pt", state), **VMAMBA))


@case("VMamba: not a number among the weights")
def vmamba_nan(yard: Yard) -> None:
    state = vmamba_state()
    state["layers.1.blocks.0.op.A_logs"].view(-1)[0] = float("nan")
    path = yard.file("w.safetensors", state)
    yard.told(yard.refused(DATA, "layers.1.blocks.0.op.A_logs holds what is no finite number", weights=path, **VMAMBA))


# --- published files and folders ----------------------------------------------------------------------------------------------


@case("a published file with another hash")
def other_hash(yard: Yard) -> None:
    from fieldguide.craft.zoo.of_torchvision import published

    yard.monkeypatch.setenv("TORCH_HOME", str(yard.root / "torch"))
    name = published("torchvision/squeezenet1_1").url.rsplit("/", 1)[-1]
    kept = yard.root / "torch" / "hub" / "checkpoints"
    kept.mkdir(parents=True)
    torch_save({"model": yard.sound.state}, kept / name)
    said = yard.fails("is damaged: its SHA-256 begins with ", name, model="torchvision/squeezenet1_1", weights="hub")
    yard.told(said)


@pytest.fixture
def hugging(yard: Yard) -> Path:
    """Return a folder as transformers writes it: a tiny transformer and how its pictures must look."""
    from tests.craft.zoo.asked import folder, quiet

    with quiet():
        from transformers import ViTConfig, ViTImageProcessor

        config = ViTConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=32,
            patch_size=8,
            num_labels=7,
        )
        folder(yard.root / "net", config, ViTImageProcessor(size={"height": 32, "width": 32}))
    return yard.root / "net"


def rewrite(path: Path, **values: Any) -> None:
    """Change a JSON file; `None` takes a value away."""
    told = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({name: value for name, value in told.items() if value is not None}))


def runs_when_imported(yard: Yard, path: Path) -> None:
    path.write_text(f"import os\nos.mkdir({str(yard.canary)!r})\nclass Thing: ...\n")


def a_remote_architecture(yard: Yard, folder: Path) -> None:
    runs_when_imported(yard, folder / "modeling_own.py")
    auto = {"AutoConfig": "modeling_own.Thing", "AutoModelForImageClassification": "modeling_own.Thing"}
    rewrite(folder / "config.json", model_type="own_thing", auto_map=auto)


def a_remote_processor(yard: Yard, folder: Path) -> None:
    runs_when_imported(yard, folder / "processing_own.py")
    rewrite(
        folder / "preprocessor_config.json",
        image_processor_type="OwnProcessor",
        auto_map={"AutoImageProcessor": "processing_own.Thing"},
    )


def pickled_only(yard: Yard, folder: Path) -> None:
    torch_save({**yard.sound.state, "more": Running(yard.canary)}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


#: What was done to a folder, the exit code, and what is said.
FOLDERS: dict[str, tuple[Callable[[Yard, Path], None], int, str]] = {
    "no config.json": (lambda _, folder: (folder / "config.json").unlink(), USAGE, "it has no config.json"),
    "config.json is cut": (
        lambda _, folder: (folder / "config.json").write_text('{"model_type": "vi'),  # type: ignore[dict-item]
        DATA,
        "The config.json of",
    ),
    "config.json is a list": (lambda _, folder: (folder / "config.json").write_text("[1]"), DATA, "The config.json of"),  # type: ignore[dict-item]
    "an architecture nobody knows": (
        lambda _, folder: rewrite(folder / "config.json", model_type="own_thing"),
        DATA,
        "cannot be read: ",
    ),
    "an architecture that classifies no pictures": (
        lambda _, folder: rewrite(folder / "config.json", model_type="bert"),
        USAGE,
        "is a bert, with which transformers classifies no pictures",
    ),
    "an architecture that asks for code of its own": (a_remote_architecture, DATA, "code of a repository is never run"),
    "a processor that asks for code of its own": (a_remote_processor, DATA, "The preprocessor_config.json of"),
    "no processor": (lambda _, folder: (folder / "preprocessor_config.json").unlink(), DATA, "has no preprocessor_config.json"),
    "pickled weights alone": (pickled_only, DATA, "has no model.safetensors, but pickled weights (pytorch_model.bin)"),
}


@pytest.mark.parametrize("kind", FOLDERS, ids=lambda kind: f"a folder of transformers: {kind}")
def test_folders(kind: str, yard: Yard, hugging: Path) -> None:
    change, code, words = FOLDERS[kind]
    change(yard, hugging)
    yard.told(yard.refused(code, words, model=f"hf/{hugging}", weights="hub"))


@case("a folder of transformers: code beside an architecture that is known")
def code_beside(yard: Yard) -> None:
    """Nothing asks for it, so nothing is lost by leaving it: the library's own classes are taken."""
    folder = yard.root / "net"
    runs_when_imported(yard, folder / "modeling_own.py")
    own = {"AutoConfig": "modeling_own.Thing", "AutoModelForImageClassification": "modeling_own.Thing"}
    rewrite(folder / "config.json", auto_map=own)
    said = yard.compare(model=f"hf/{folder}", weights="hub")
    assert said.code == DONE, said.text
    assert "auto_map" not in (yard.study / "runs" / "net" / "model" / "model.json").read_text()
    yard.told("the library's own classes are taken, the code is left alone; exit 0")


@case("a folder of transformers: an index that leads to a pickle")
def index_to_a_pickle(yard: Yard) -> None:
    from safetensors.torch import load_file

    folder = yard.root / "net"
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    for name in ("part.bin", "../part.pt"):
        torch_save({**state, "more": Running(yard.canary)}, folder / name)
        (folder / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {}, "weight_map": dict.fromkeys(state, name)})
        )
        said = yard.fails("cannot be loaded: ", model=f"hf/{folder}", weights="hub")
        shutil.rmtree(yard.study)
    yard.told(said)


@case("a folder of transformers: a tensor missing, misshapen, no number, or the file cut")
def folder_unfit(yard: Yard) -> None:
    import torch
    from safetensors.torch import load_file

    path = yard.root / "net" / "model.safetensors"
    state, whole = load_file(path), path.read_bytes()
    name = next(key for key in state if key.endswith("layer.1.layernorm_after.weight"))
    said_as = "vit.layers.1.layernorm_after.weight"  # the library has renamed it since
    wrong: dict[str, State] = {
        f"{said_as} is missing.": {key: value for key, value in state.items() if key != name},
        f"{said_as} has shape (3,), not (16,).": {**state, name: torch.zeros(3)},
        "surplus is not part of the network.": {**state, "surplus": torch.zeros(2)},
        f"{said_as} holds what is no finite number": {**state, name: torch.full((16,), float("nan"))},
    }
    for words, tensors in wrong.items():
        save(tensors, path)
        said = yard.fails(words, model=f"hf/{path.parent}", weights="hub")
        shutil.rmtree(yard.study)
    path.write_bytes(whole[: len(whole) // 2])
    yard.fails("cannot be loaded: ", model=f"hf/{path.parent}", weights="hub")
    yard.told(said)


# --- fitted models ------------------------------------------------------------------------------------------------------------


def changed(**values: Any) -> Callable[[Path], None]:
    return lambda path: rewrite(path, **values)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def gone(path: Path) -> None:
    path.unlink()


def no_number(path: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(path)
    state["fc.weight"][0, 0] = float("nan")
    save(state, path)


def one_class_less(path: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(path)
    save({**state, "fc.weight": state["fc.weight"][:2].clone(), "fc.bias": state["fc.bias"][:2].clone()}, path)


#: A file of ``runs/NAME/model``, and what was done to it. What people may have written themselves is theirs to correct.
FITTED: dict[str, tuple[str, Callable[[Path], None]]] = {
    "weights cut": ("model.safetensors", cut),
    "weights gone": ("model.safetensors", gone),
    "weights for fewer classes": ("model.safetensors", one_class_less),
    "description cut": ("model.json", cut),
    "description gone": ("model.json", gone),
    "description is a list": ("model.json", lambda path: path.write_text("[]")),  # type: ignore[dict-item]
    "description names fewer classes": ("model.json", changed(classes=list(CLASSES[:2]))),
    "description names a library that is none": ("model.json", changed(recipe={"library": "os", "model": "x", "classes": 3})),
    "description names a network that is none": (
        "model.json",
        changed(recipe={"model": "nothing", "classes": 3, "arguments": {}}),
    ),
    "description asks for a network of petabytes": (
        "model.json",
        changed(recipe={"model": "test_resnet", "classes": 1 << 45, "arguments": {}}),
    ),
    "description of the study cut": ("fieldguide.json", cut),
    "classes cut": ("classes.toml", cut),
    "classes gone": ("classes.toml", gone),
}


@pytest.fixture
def fitted(yard: Yard) -> Path:
    """Return a copy of the sound study's network."""
    shutil.copytree(yard.sound.study, yard.study)
    return yard.study / "runs" / "net"


@pytest.mark.parametrize("kind", FITTED, ids=lambda kind: f"a fitted model: {kind}")
def test_fitted(kind: str, yard: Yard, fitted: Path) -> None:
    name, change = FITTED[kind]
    change(fitted / "model" / name)
    said = yard.shell("predict", fitted, yard.sound.photos / "cat")
    by_hand = kind == "classes cut"
    assert said.code == (USAGE if by_hand else DATA), (said.code, said.text)
    lines = [line for line in said.err.splitlines() if line]
    assert len(lines) == 3, said.text
    if name == "classes.toml":
        assert "classes.toml" in lines[0] and ("Correct that line" if by_hand else "Restore it") in lines[2], said.text
    else:
        assert "damaged" in lines[0] and "Delete" in lines[2], said.text
    assert not [line for line in said.out.splitlines() if ".png" in line], "answered all the same"
    yard.told(f"{yard.short(lines[0])} {yard.short(lines[2])}; exit {said.code}")


@case("a fitted model: not a number among its weights")
def fitted_nan(yard: Yard) -> None:
    no_number(yard.study / "runs" / "net" / "model" / "model.safetensors")
    said = yard.shell("predict", yard.study / "runs" / "net", yard.sound.photos / "cat")
    assert said.code == PARTLY, said.text
    lines = [line for line in said.out.splitlines() if ".png" in line]
    assert len(lines) == 4 and all("failed: not a number" in line for line in lines), said.text
    (yard.study / "runs" / "net" / "predictions.parquet").unlink()
    again = yard.compare(weights=yard.sound.root / "sound.safetensors")
    assert again.code == PARTLY, again.text
    assert all(answer.error and answer.label is None for answer in answers(yard.study, "net"))
    scores = json.loads((yard.study / "runs" / "net" / "scores.json").read_text())["parts"]["test"]
    assert scores["failed"] == scores["n"] > 0, scores
    yard.others_answered()
    yard.told(f"every answer: {yard.short(lines[0]).rsplit('.png: ')[1]}; all count as wrong, the others go on; exit {PARTLY}")


@case("a fitted model: a pickle in the place of its weights")
def fitted_pickle(yard: Yard) -> None:
    run = yard.study / "runs" / "net"
    torch_save({**yard.sound.state, "more": Running(yard.canary)}, run / "model" / "model.safetensors")
    said = yard.shell("predict", run, yard.sound.photos / "cat")
    assert said.code == DATA and "damaged" in said.text, said.text
    (run / "predictions.parquet").unlink()
    again = yard.compare(weights=yard.sound.root / "sound.safetensors")
    assert again.code == PARTLY and "net: failed. " in again.text and "damaged" in again.text, again.text
    yard.others_answered()
    assert not yard.canary.exists()
    fires(yard, run / "model" / "model.safetensors")
    shutil.rmtree(run / "model")
    yard.same_as_sound(weights=yard.sound.root / "sound.safetensors")
    yard.told("net: failed. … runs/net/model is damaged …. Delete model and run the same `fieldguide compare` again; exit 3")


NEEDS_A_FOLDER = [name for name in CASES if name.startswith("a folder of transformers")]
NEEDS_A_FIT = [name for name in CASES if name.startswith("a fitted model")]


@pytest.mark.parametrize("name", [name for name in CASES if name not in {*NEEDS_A_FOLDER, *NEEDS_A_FIT}], ids=str)
def test_files(name: str, yard: Yard) -> None:
    CASES[name](yard)


@pytest.mark.parametrize("name", NEEDS_A_FOLDER, ids=str)
def test_more_folders(name: str, yard: Yard, hugging: Path) -> None:
    CASES[name](yard)


@pytest.mark.parametrize("name", NEEDS_A_FIT, ids=str)
def test_more_fitted(name: str, yard: Yard, fitted: Path) -> None:
    CASES[name](yard)
