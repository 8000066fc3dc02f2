"""What teaching a language model costs: a LoRA step with pictures looked at and with features stored, and memory over many pictures.

    python benchmarks/tuning.py step [--trains projector]
    python benchmarks/tuning.py memory --pictures 5400 --picture 512 --side 64 --batch 16

`step` trains the language side, or with ``--trains projector`` the projector, too, which then runs on what the frozen tower once gave it; both
ways take turns, step by step. The model has random weights: in ``step`` of the shape of SmolVLM-256M (vision of 12 layers on 512 pixels, text of
30 layers), in ``memory`` a tiny one that looks at ``--side`` pixels of pictures of ``--picture``: the model alone, an epoch over all pictures, and
the same pictures as a list, each in a process of its own. Ratios count, not seconds. As many threads as OMP_NUM_THREADS says.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, Idefics3ForConditionalGeneration

from fieldguide.bench import Bench
from fieldguide.craft.chat import Wanted
from fieldguide.craft.chat.tiny import write_chat
from fieldguide.craft.tuning import Lesson, Tuning
from fieldguide.craft.tuning.teaching import Teaching, opened
from fieldguide.craft.tuning.training import Course, Plan
from fieldguide.records import Image, Pixels
from fieldguide.tasks.asking import Asking, Message, Shown

NAMES = ("cat", "dog", "bear", "polar bear", "fish")


class Drawn:
    """A store that makes each picture when it is read, and keeps none."""

    def __init__(self, side: int) -> None:
        self.side = side

    def read(self, key: str, at_least: int) -> Pixels:
        return np.random.default_rng(int(key)).integers(0, 256, (self.side, self.side, 3), dtype=np.uint8)

    def prepare(self, keys: Sequence[str], at_least: int) -> None:
        pass


def lessons(count: int, store: Drawn) -> list[Lesson]:
    return [Lesson(Image(f"{at:064d}", store), NAMES[at % len(NAMES)]) for at in range(count)]


def asking() -> Asking:
    return Asking((Message("user", (f"Which? {', '.join(NAMES)}", Shown())),), NAMES, most_tokens=4)


def tiny(folder: Path, side: int) -> Path:
    return write_chat(folder / "tiny", "idefics3", side=side)


def smol(folder: Path) -> Path:
    """Write a model of the shape of SmolVLM-256M, with random weights and the tokeniser of the tiny ones."""
    target = write_chat(folder / "smol", "idefics3", side=512, patch=16)
    config = AutoConfig.from_pretrained(target)
    config.scale_factor = 4
    for key, value in {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    }.items():
        setattr(config.vision_config, key, value)
    text = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "head_dim": 64}
    for key, value in {**text, "num_key_value_heads": 3, "vocab_size": 49280, "initializer_range": 0.02}.items():
        setattr(config.text_config, key, value)
    Idefics3ForConditionalGeneration(config).save_pretrained(target)
    path = target / "processor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "image_seq_len": 64}), "utf-8")
    return target


def course(
    model: Path,
    scratch: Path,
    some: list[Lesson],
    batch: int,
    *,
    stored: bool,
    precision: str = "fp32",
    more: Sequence[str] = (),
) -> Course:
    plan = Plan(steps=10**6, batch_size=batch, learning_rate=1e-4, every=10**6)
    wanted = Wanted(f"hf/{model}", precision=precision)
    tuning = Tuning(rank=8, parts=Tuning().parts | set(more))
    teaching = Teaching(wanted, tuning, plan, asking(), store="auto" if stored else "off")
    scratch.mkdir()
    bench = Bench(scratch)
    _, head = opened(teaching, some, bench)
    return Course(head, some, [], plan, bench)


def step(folder: Path, given: argparse.Namespace) -> None:
    model = smol(folder)
    for precision in ("fp32", "bf16"):
        runs, found = {}, {False: list[float](), True: list[float]()}
        for stored in found:
            scratch, more = folder / f"scratch-{stored}-{precision}", [given.trains] if given.trains else []
            runs[stored] = course(
                model, scratch, lessons(4, Drawn(512)), given.batch, stored=stored, precision=precision, more=more
            )
        for _ in range(given.steps + 1):
            for stored, run in runs.items():
                start = time.process_time()
                run._one()
                found[stored].append(time.process_time() - start)
        looked, kept = (statistics.median(found[stored][1:]) for stored in (False, True))
        ratios = sorted(a / b for a, b in zip(found[False][1:], found[True][1:], strict=True))
        print(
            f"{precision}: looked at {looked:.3f} s, stored {kept:.3f} s a step of CPU, medians of {given.steps}: "
            f"{statistics.median(ratios):.2f} times as fast ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


class Listed(Drawn):
    """A store that has decoded all pictures and holds them in a list, as a trainer that is given a list of pictures does."""

    def __init__(self, side: int, count: int) -> None:
        super().__init__(side)
        self.pictures = [super(Listed, self).read(str(at), side) for at in range(count)]

    def read(self, key: str, at_least: int) -> Pixels:
        return self.pictures[int(key)]


def resident() -> dict[str, float]:
    """Return memory of this process in MB: what no file stands behind, and all of it at its highest."""
    status = Path("/proc/self/status").read_text()
    alone = next(int(line.split()[1]) / 1e3 for line in status.splitlines() if line.startswith("RssAnon"))
    return {"alone": alone, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}


def memory_of(folder: Path, given: argparse.Namespace) -> None:
    """Print what one way takes: ``model`` has eight pictures, ``ours`` an epoch over all, ``list`` all in a list and twenty steps."""
    model, count = tiny(folder, given.side), 8 if given.way == "model" else given.pictures
    store = Listed(given.picture, count) if given.way == "list" else Drawn(given.picture)
    run = course(model, folder / "scratch", lessons(count, store), given.batch, stored=given.way != "list")
    steps = count // given.batch if given.way == "ours" else 20
    for _ in range(steps):
        run._one()
        run.position.step %= 10**6
    print(json.dumps(resident()))


def memory(folder: Path, given: argparse.Namespace) -> None:
    """Measure all ways, each in a process of its own, and print what comes on top of the model."""
    found = {}
    for way in ("model", "ours", "list"):
        words = [word for name in ("pictures", "picture", "side", "batch") for word in (f"--{name}", str(getattr(given, name)))]
        told = subprocess.run(
            [sys.executable, __file__, "memory", "--way", way, *words], capture_output=True, text=True, check=True
        )
        found[way] = json.loads(told.stdout.splitlines()[-1])
        more = {name: found[way][name] - found["model"][name] for name in found[way]}
        print(
            f"{way}: {found[way]['alone']:.0f} MB that no file stands behind, {found[way]['peak']:.0f} MB resident at most; "
            f"above the model {more['alone']:.0f} and {more['peak']:.0f} MB"
        )
    decoded = given.pictures * given.picture**2 * 3 / 1e6
    print(f"{given.pictures} pictures of {given.picture} px are {decoded:.0f} MB decoded")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("step", "memory"))
    for name, value in (
        ("width", 576),
        ("layers", 12),
        ("heads", 12),
        ("side", 512),
        ("patch", 16),
        ("batch", 1),
        ("steps", 3),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--trains", choices=("projector",), help="of `step`: train this part, too")
    parser.add_argument("--pictures", type=int, default=5400)
    parser.add_argument("--picture", type=int, default=64)
    parser.add_argument("--way", choices=("model", "ours", "list"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        {"step": step, "memory": memory_of if given.way else memory}[given.what](Path(folder), given)


if __name__ == "__main__":
    main()
