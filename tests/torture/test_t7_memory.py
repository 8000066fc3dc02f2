"""Group T7: memory that runs out, of the machine or of its accelerator, in every part of a run.

Where a step can be done in smaller pieces it is, with the same pictures a step as before, and that is written down and kept. Where
nothing can be made smaller the contestant fails by name, the others go on, and the same command goes on once there is memory again.

Errors are real: a limit of the system on the process, or an allocation that no machine can grant.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.pictures import write_folder
from tests.torture.faults import Ended, Moment, Plan, start
from tests.torture.small_study import at_once, complaint, left, numbers, partial

from fieldguide.bench import read_log
from fieldguide.data.tables import read_manifest
from fieldguide.errors import DONE, ENVIRONMENT, PARTLY
from fieldguide.files import write_toml

pytestmark = [pytest.mark.torture("T7", "Memory that runs out"), pytest.mark.slow(keep=8)]

#: A transformer, whose step in pieces is the step in one to rounding; BatchNorm would see other batches.
NET: dict[str, Any] = {
    "model": "test_vit",
    "weights": "none",
    "image_size": 32,
    "patch_size": 8,
    "epochs": 2,
    "batch_size": 8,
    "precision": "fp32",
}
#: Weights of a run in pieces and of one in whole batches lie so close; AdamW makes much of what rounding does to small gradients.
CLOSE = 1e-4
OUT = "Memory ran out."
Fault = Callable[[], None]


@dataclass
class Yard:
    """Pictures, and studies of one network between two contestants that need little."""

    base: Path
    tell: Callable[[str], None]

    @property
    def study(self) -> Path:
        return self.base / "study"

    @property
    def run(self) -> Path:
        return self.study / "runs" / "net"

    def compare(
        self, fault: Fault | None = None, plan: Plan | None = None, photos: Path | None = None, **settings: Any
    ) -> Ended:
        """Run the command in a child in which `fault` is at work; nothing stands half-written when it has ended."""
        asked = self.base.with_name("plan.toml")
        contestants = [
            {"name": "majority", "family": "majority"},
            {"name": "net", "family": "backbone", "settings": {**NET, **settings}},
            {"name": "linear", "family": "linear", "settings": {"image_size": 8, "strengths": [0.1]}},
        ]
        write_toml(asked, {"source": str(photos or self.base / "photos"), "contestants": contestants})

        def setup() -> None:
            at_once()
            if fault is not None:
                fault()

        ended = start(self.base, "compare", asked, "--out", self.study, plan=plan or Plan(), setup=setup).end()
        assert ended.code < 0 or complaint(ended) is None, complaint(ended)
        assert not partial(self.study), partial(self.study)
        return ended

    def fits(self, fault: Fault, cuts: Sequence[int], whole: Whole, **settings: Any) -> None:
        """Expect that the network is trained to the same weights, in pieces, and that the cuts were written down."""
        ended = self.compare(fault, **settings)
        assert ended.code == DONE, (ended.code, ended.text)
        assert self.cuts() == list(cuts)
        alike(self.study, whole.study)

    def fails(self, ended: Ended, *words: str) -> str:
        """Expect that the network failed by name and that the others answered; return what was said of it."""
        assert ended.code == PARTLY, (ended.code, ended.text)
        line = next(line for line in ended.text.splitlines() if line.startswith("net: "))
        for word in ("net: failed. ", *words):
            assert word in line, (word, line)
        for name in ("majority", "linear"):
            assert (self.study / "runs" / name / "scores.json").exists()
        assert (self.study / "report.html").exists() and not (self.run / "predictions.parquet").exists()
        return f"{line}; exit {PARTLY}"

    def stops(self, ended: Ended) -> str:
        """Expect three breaths that say that memory ran out; return them."""
        assert ended.code == ENVIRONMENT, (ended.code, ended.text)
        lines = [line for line in ended.text.splitlines() if line][-3:]
        assert lines[0] == OUT and "nothing is lost" in lines[1] and "same command again" in lines[2], ended.text
        return f"{' '.join(lines)}; exit {ENVIRONMENT}"

    def goes_on(self, whole: Whole, **settings: Any) -> None:
        """Expect that the same command, with memory again, ends as if nothing had happened, to the last bit."""
        ended = self.compare(**settings)
        assert ended.code == DONE, (ended.code, ended.text)
        assert numbers(self.study) == whole.numbers
        assert left(self.study) == []

    def cuts(self) -> list[int]:
        return [event["batches_cut_into"] for event in read_log(self.run / "log.jsonl") if "batches_cut_into" in event]


@dataclass(frozen=True)
class Whole:
    """A study that had all the memory it wanted."""

    study: Path
    photos: Path
    numbers: dict[str, Any]


def epochs(run: Path) -> list[dict[str, Any]]:
    return [event for event in read_log(run / "log.jsonl") if event["event"] == "epoch"]


def apart(one: Path, other: Path) -> float:
    """Return the largest difference between the weights of two studies' networks."""
    from safetensors.torch import load_file

    a, b = (load_file(study / "runs" / "net" / "model" / "model.safetensors") for study in (one, other))
    assert set(a) == set(b)
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def alike(one: Path, other: Path) -> None:
    """Expect the same weights and the same learning curve, to rounding: AdamW alone would not tell a gradient from half of it."""
    assert apart(one, other) < CLOSE
    curves = [[(event["train_loss"], event["val_loss"]) for event in epochs(study / "runs" / "net")] for study in (one, other)]
    assert len(curves[0]) == len(curves[1]) > 0
    for a, b in zip(*curves, strict=True):
        assert a == pytest.approx(b, rel=1e-4), curves


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Run the study here, so that a child finds every library warm, and then in a child."""
    from fieldguide import terminal  # noqa: F401
    from fieldguide.study import compare, read_asked

    root = tmp_path_factory.mktemp("whole")
    yard = Yard(root / "base", lambda _: None)
    write_folder(yard.base / "photos", ("cat", "dog", "eel"), each=12)
    settings = {"name": "net", "family": "backbone", "settings": {**NET, "epochs": 1}}
    write_toml(
        root / "warm.toml", {"source": str(yard.base / "photos"), "contestants": [settings, {"name": "l", "family": "linear"}]}
    )
    assert compare(*read_asked(str(root / "warm.toml"), root / "warm")).exit_code == DONE
    ended = yard.compare()
    assert ended.code == DONE, ended.text
    assert len(read_manifest(yard.study / "manifest.parquet").part("train")) == 24, "three whole batches"
    return Whole(yard.study, yard.base / "photos", numbers(yard.study))


@pytest.fixture
def yard(tmp_path: Path, whole: Whole, told: Callable[[str], None]) -> Yard:
    shutil.copytree(whole.photos, tmp_path / "base" / "photos")
    return Yard(tmp_path / "base", told)


# --- faults, at work in a child alone -----------------------------------------------------------------------------------------


def too_much(device: str = "cpu") -> None:
    """Ask for a million gigabytes: no machine has them, and the library says so in its own words."""
    import torch

    torch.empty(1 << 50, dtype=torch.uint8, device=device)


def forward(most: int, part: str = "VisionTransformer", device: str = "cpu", when: str = "training") -> Fault:
    """Let a part of the network hold no more than `most` pictures at once, in training, or in validation once it has begun."""

    def fault() -> None:
        from timm.layers import Attention
        from timm.models.vision_transformer import VisionTransformer

        owner: Any = {"VisionTransformer": VisionTransformer, "Attention": Attention}[part]
        real, begun = owner.forward, [when == "training"]

        def little(self: Any, x: Any, *more: Any, **named: Any) -> Any:
            begun[0] = begun[0] or self.training
            if begun[0] and self.training == (when == "training") and len(x) > most:
                too_much(device)
            return real(self, x, *more, **named)

        owner.forward = little

    return fault


def backward(most: int, device: str = "cpu") -> Fault:
    """Let memory run out when the gradients of more than `most` pictures are nearly done, so that there are some already."""

    def fault() -> None:
        import torch

        from fieldguide.craft.feed import Pictures

        logits, real, seen = Pictures.logits, torch.Tensor.backward, [0]

        def noted(self: Any, network: Any, inputs: Any) -> Any:
            seen[0] = len(inputs)
            return logits(self, network, inputs)

        def little(self: Any, *more: Any, **named: Any) -> None:
            real(self, *more, **named)
            if seen[0] > most:
                too_much(device)

        Pictures.logits = noted  # type: ignore[method-assign]
        torch.Tensor.backward = little  # type: ignore[method-assign]

    return fault


def optimiser(nth: int, device: str = "cpu") -> Fault:
    """Let memory run out in the `nth` step of the optimiser."""

    def fault() -> None:
        import torch

        real, count = torch.optim.AdamW.step, [0]

        def little(self: Any, *more: Any, **named: Any) -> Any:
            count[0] += 1
            if count[0] == nth:
                too_much(device)
            return real(self, *more, **named)

        torch.optim.AdamW.step = little  # type: ignore[method-assign]

    return fault


def no_room() -> None:
    """Ask for as much in the words of numpy."""
    np.empty(1 << 60, dtype=np.uint8)


def raising(module: str, name: str, ask: Callable[[], None] = no_room) -> Fault:
    """Let a function, named with its class if it has one, find no memory."""

    def fault() -> None:
        from importlib import import_module

        owner: Any = import_module(module)
        *outer, last = name.split(".")
        for part in outer:
            owner = getattr(owner, part)

        def none(*_: Any, **__: Any) -> None:
            ask()

        setattr(owner, last, none)

    return fault


def limited(more: int) -> Fault:
    """Let the process take `more` bytes beyond what it has, and not one above: a limit of the system itself."""

    def fault() -> None:
        import resource

        with open("/proc/self/status") as status:
            have = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (have + more, resource.RLIM_INFINITY))

    return fault


CASES: dict[str, Callable[[Yard, Whole], None]] = {}


def case(name: str) -> Callable[[Callable[[Yard, Whole], None]], Callable[[Yard, Whole], None]]:
    def keep(run: Callable[[Yard, Whole], None]) -> Callable[[Yard, Whole], None]:
        CASES[name] = run
        return run

    return keep


# --- in the middle of training ------------------------------------------------------------------------------------------------

IN_PIECES = "batches of 8 are learnt in {} pieces, the step is the same: the same weights to 1e-4; written down; exit 0"


@case("in the forward pass")
def in_forward(yard: Yard, whole: Whole) -> None:
    yard.fits(forward(2), (2, 4), whole)
    yard.tell(IN_PIECES.format(4))


@case("in attention")
def in_attention(yard: Yard, whole: Whole) -> None:
    yard.fits(forward(4, "Attention"), (2,), whole)
    yard.tell(IN_PIECES.format(2))


@case("in the backward pass, gradients half done")
def in_backward(yard: Yard, whole: Whole) -> None:
    yard.fits(backward(2), (2, 4), whole)
    yard.tell(IN_PIECES.format(4))


@case("in the second of two batches that make a step")
def in_accumulation(yard: Yard, whole: Whole) -> None:
    def fault() -> None:
        from timm.models.vision_transformer import VisionTransformer

        real, count = VisionTransformer.forward, [0]

        def little(self: Any, x: Any, *more: Any, **named: Any) -> Any:
            count[0] += self.training
            if count[0] == 4 and len(x) > 2:  # the first step goes well, so does the first half of the second
                too_much()
            return real(self, x, *more, **named)

        VisionTransformer.forward = little  # type: ignore[method-assign]

    yard.fits(fault, (2,), whole, batch_size=4, accumulate=2)
    yard.tell("what the first batch had added is taken back, both are learnt in 2 pieces: the same weights to 1e-4; exit 0")


@case("in a step of the optimiser")
def in_optimiser(yard: Yard, whole: Whole) -> None:
    said = yard.fails(yard.compare(optimiser(4)), OUT)
    yard.goes_on(whole)
    assert [event for event in read_log(yard.run / "log.jsonl") if event["event"] == "resumed"]
    yard.tell(f"{said}; then the same numbers from the last checkpoint on")


@case("in validation")
def in_validation(yard: Yard, whole: Whole) -> None:
    said = yard.fails(yard.compare(forward(0, when="validation")), OUT)
    yard.goes_on(whole)
    yard.tell(f"{said}; then the same numbers")


@case("nothing left to halve")
def nothing_left(yard: Yard, whole: Whole) -> None:
    said = yard.fails(yard.compare(forward(0)), OUT, "batch_size")
    decided = json.loads((yard.run / "scratch" / "decisions.json").read_text())
    assert decided["pieces"] == 4, "as small as a batch of 8 can be cut with two pictures in each piece"
    ended = yard.compare()
    assert ended.code == DONE, ended.text
    alike(yard.study, whole.study)
    yard.tell(f"{said}; with memory again the same weights to 1e-4")


@case("a limit of the system on the process, while training")
def system_limit(yard: Yard, whole: Whole) -> None:
    """What 24 pictures of 576 patches keep for the backward pass is more than there is."""
    large = {"image_size": 192, "batch_size": 24, "epochs": 1}
    ended = yard.compare(**large)
    assert ended.code == DONE and yard.cuts() == [], ended.text
    yard.study.rename(yard.base / "had-enough")
    ended = yard.compare(limited(150_000_000), **large)
    assert ended.code == DONE, ended.text
    cuts = yard.cuts()
    assert cuts and cuts == [2 << at for at in range(len(cuts))], cuts
    alike(yard.study, yard.base / "had-enough")
    yard.tell(
        f"a batch of 24 is learnt in {cuts[-1]} pieces, the step is the same: the same weights to 1e-4; written down; exit 0"
    )


@case("the system kills the process for its memory, and how small to cut is remembered")
def killed(yard: Yard, whole: Whole) -> None:
    ended = yard.compare(forward(2), Plan(Moment("step", "step", 4), signal=signal.SIGKILL))
    assert ended.code == -signal.SIGKILL, ended.text
    assert json.loads((yard.run / "scratch" / "decisions.json").read_text())["pieces"] == 4

    def watched() -> None:
        from timm.models.vision_transformer import VisionTransformer

        real = VisionTransformer.forward

        def small(self: Any, x: Any, *more: Any, **named: Any) -> Any:
            assert not self.training or len(x) == 2, f"{len(x)} pictures at once"
            return real(self, x, *more, **named)

        VisionTransformer.forward = small  # type: ignore[method-assign]

    yard.fits(watched, (2, 4), whole)
    assert [event for event in read_log(yard.run / "log.jsonl") if event["event"] == "resumed"]
    yard.tell(
        "the same command goes on from the last checkpoint, in pieces from its first step: the same weights to 1e-4; exit 0"
    )


# --- before and after training ------------------------------------------------------------------------------------------------


@case("more than `memory` allows is refused before training")
def refused(yard: Yard, whole: Whole) -> None:
    said = yard.fails(yard.compare(memory="1 MB"), "in batches of 8 needs about ", "memory = 1 MB")
    assert not (yard.run / "scratch" / "checkpoints").exists() and not epochs(yard.run / "scratch")
    yard.tell(said)


@case("a batch larger than all there is")
def large_batch(yard: Yard, whole: Whole) -> None:
    assert yard.compare(batch_size=24).code == DONE
    yard.study.rename(yard.base / "all-at-once")
    ended = yard.compare(limited(300_000_000), batch_size=8192)
    assert ended.code == DONE and yard.cuts() == [], ended.text
    assert apart(yard.study, yard.base / "all-at-once") == 0
    yard.tell(
        "batch_size=8192 on 24 pictures takes no more memory than 24, and ends in the same weights to the last bit; exit 0"
    )


@case("a picture too large for what is left")
def large_picture(yard: Yard, whole: Whole) -> None:
    """90 million pixels are below the limit on pictures, but they are 270 MB when they are decoded, and there are 150."""
    Image.new("RGB", (10_000, 9_000), (9, 99, 200)).save(yard.base / "photos" / "cat" / "huge.png", compress_level=1)
    ended = yard.compare(limited(150_000_000))
    assert ended.code == DONE, ended.text
    rows = {row.path: row for row in read_manifest(yard.study / "manifest.parquet").rows}
    (huge,) = (row for path, row in rows.items() if path.endswith("huge.png"))
    assert huge.excluded and "too large" in huge.excluded, huge
    assert sum(row.excluded is not None for row in rows.values()) == 1
    assert (yard.run / "scores.json").exists()
    yard.tell(f"huge.png is left out by name: {huge.excluded}; the others are compared; exit 0")


@case("while the network is tried on a picture of the size asked for")
def in_trying(yard: Yard, whole: Whole) -> None:
    said = yard.fails(yard.compare(raising("timm.models.vision_transformer", "VisionTransformer.forward", too_much)), OUT)
    yard.goes_on(whole)
    yard.tell(f"{said}; then the same numbers")


@case("while the network is built")
def in_building(yard: Yard, whole: Whole) -> None:
    said = yard.fails(yard.compare(raising("timm", "create_model", too_much)), OUT)
    yard.goes_on(whole)
    yard.tell(f"{said}; then the same numbers")


@case("while pictures are looked at")
def in_scan(yard: Yard, whole: Whole) -> None:
    said = yard.stops(yard.compare(raising("fieldguide.gather", "gather")))
    yard.goes_on(whole)
    yard.tell(f"{said}; then the same numbers")


@case("while what stands in front of the first trained block is kept")
def in_prefix(yard: Yard, whole: Whole) -> None:
    frozen = {"train": "head", "cache": "on", "views": 1}
    ended = yard.compare(**frozen)
    assert ended.code == DONE, ended.text
    assert list((yard.study / "store" / "fronts").rglob("view-0.npy")), "the front was kept"
    yard.study.rename(yard.base / "had-enough")
    said = yard.fails(yard.compare(raising("fieldguide.craft.prefix", "Cut.activations"), **frozen), OUT)
    fronts = [path.name for path in (yard.study / "store").rglob("*.npy")]
    assert not fronts, fronts
    assert yard.compare(**frozen).code == DONE
    assert apart(yard.study, yard.base / "had-enough") == 0
    yard.tell(f"{said}; then the same weights to the last bit")


@case("while the network answers")
def in_answers(yard: Yard, whole: Whole) -> None:
    said = yard.fails(yard.compare(raising("fieldguide.craft.trained", "softmax")), OUT)
    before = (yard.run / "model" / "model.safetensors").stat().st_mtime_ns
    yard.goes_on(whole)
    assert (yard.run / "model" / "model.safetensors").stat().st_mtime_ns == before, "what was learnt is kept"
    yard.tell(f"{said}; what was learnt is kept; then the same numbers")


@case("while answers are scored")
def in_scores(yard: Yard, whole: Whole) -> None:
    said = yard.stops(yard.compare(raising("fieldguide.study", "_score")))
    yard.goes_on(whole)
    yard.tell(f"{said}; then the same numbers")


@case("while the report is drawn")
def in_report(yard: Yard, whole: Whole) -> None:
    said = yard.stops(yard.compare(raising("jinja2", "Template.render")))
    assert not (yard.study / "report.html").exists() and (yard.run / "scores.json").exists()
    yard.goes_on(whole)
    yard.tell(f"{said}; then the same numbers")


@case("shared memory is full")
def shared_memory(yard: Yard, whole: Whole) -> None:
    """Loaders with worker processes pass pictures on in /dev/shm, of which containers have little. Here nothing lies there."""

    def full() -> None:
        def refuse(event: str, args: tuple[Any, ...]) -> None:
            if event in ("open", "os.mkdir") and args and str(args[0]).startswith("/dev/shm"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(args[0]))

        sys.addaudithook(refuse)

    ended = yard.compare(full)
    assert ended.code == DONE, ended.text
    assert numbers(yard.study) == whole.numbers
    yard.tell("nothing lies there: the same numbers; exit 0")


@pytest.mark.parametrize("name", CASES, ids=str)
def test_memory(name: str, yard: Yard, whole: Whole) -> None:
    CASES[name](yard, whole)


# --- of an accelerator --------------------------------------------------------------------------------------------------------

NO_ACCELERATOR = "there is no accelerator here"


#: The fault, and in how many pieces the steps end; `None` where nothing can be cut and the network fails by name.
ON_AN_ACCELERATOR: dict[str, tuple[str, list[int] | None]] = {
    "in the forward pass": ("forward(2, device='cuda')", [2, 4]),
    "in attention": ("forward(2, 'Attention', 'cuda')", [2, 4]),
    "in the backward pass": ("backward(2, 'cuda')", [2, 4]),
    "in a step of the optimiser": ("optimiser(4, 'cuda')", None),
    "in validation": ("forward(0, device='cuda', when='validation')", None),
}
#: In a process of its own: a forked one cannot use an accelerator that its parent has met.
_AT_WORK = "import sys; from tests.torture.test_t7_memory import *; {}(); from fieldguide.cli import main; main(sys.argv[1:])"


def on_an_accelerator(yard: Yard, fault: str, seen: str | None = None) -> Ended:
    import torch

    if not torch.cuda.is_available():
        pytest.skip(NO_ACCELERATOR)
    plan = yard.base / "plan.toml"
    contestants = [{"name": "majority", "family": "majority"}, {"name": "net", "family": "backbone", "settings": NET}]
    write_toml(
        plan, {"source": str(yard.base / "photos"), "contestants": [*contestants, {"name": "linear", "family": "linear"}]}
    )
    command = [sys.executable, "-c", _AT_WORK.format(fault), "compare", str(plan), "--out", str(yard.study)]
    environment = os.environ | {"COLUMNS": "400"} | ({} if seen is None else {"CUDA_VISIBLE_DEVICES": seen})
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return Ended(done.returncode, done.stdout + done.stderr)


@pytest.mark.gpu
@pytest.mark.parametrize("place", ON_AN_ACCELERATOR, ids=lambda place: f"of an accelerator: {place}")
def test_accelerator(place: str, tmp_path: Path, told: Callable[[str], None]) -> None:
    yard = Yard(tmp_path / "base", told)
    write_folder(yard.base / "photos", ("cat", "dog", "eel"), each=12)
    fault, cuts = ON_AN_ACCELERATOR[place]
    ended = on_an_accelerator(yard, fault)
    if cuts is None:
        told(yard.fails(ended, OUT))
        return
    assert ended.code == DONE and yard.cuts() == cuts, ended.text
    told(f"batches of 8 are learnt in {cuts[-1]} pieces; written down; exit 0")


@pytest.mark.gpu
@pytest.mark.parametrize("case", ["gone"], ids=lambda case: f"of an accelerator: it is {case}")
def test_no_longer_there(case: str, tmp_path: Path, told: Callable[[str], None]) -> None:
    yard = Yard(tmp_path / "base", told)
    write_folder(yard.base / "photos", ("cat", "dog", "eel"), each=12)
    assert on_an_accelerator(yard, "int").code == DONE
    (yard.run / "predictions.parquet").unlink()
    ended = on_an_accelerator(yard, "int", seen="")
    assert ended.code == DONE and (yard.run / "predictions.parquet").exists(), ended.text
    told("the same command answers on the processor with what was learnt; exit 0")
