"""What a prefix that is computed once saves: a list of classes before the picture, read for every picture or once for all.

    python benchmarks/prompt_prefix.py --classes 10 90 200

A model of Idefics3's real classes with random weights (what it says is noise; what it costs is not), asked to choose from the list,
pictures alone and eight at a time. Both ways take turns in one run and medians are compared, in wall and in CPU time. The model is
written beside the system's temporary files and removed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from fieldguide.craft.chat import Wanted
from fieldguide.craft.chat.local import Local, open_local
from fieldguide.craft.chat.tiny import write_chat
from fieldguide.tasks.asking import Asking, Message, Shown

HOW = ("spotted", "striped", "golden", "northern", "river", "mountain", "dwarf", "crested", "long-tailed", "desert")
WHAT = ("bear", "otter", "finch", "lizard", "beetle", "heron", "fox", "frog", "marten", "owl")
WHAT += ("hare", "newt", "stork", "viper", "wasp", "shrew", "perch", "crane", "moth", "gull")


def asking(classes: int) -> Asking:
    """Return a question with the list before the picture."""
    names = tuple(f"{how} {what}" for what in WHAT for how in HOW)[:classes]
    said = f"Which one of these {classes} classes does the picture show? {', '.join(names)}. Answer with its name alone."
    return Asking((Message("user", (said, Shown())),), names, how="choice")


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--classes", type=int, nargs="+", default=[90])
    words.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--threads", type=int, default=1)
    words.add_argument("--precision", default="fp32")
    given = words.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = write_chat(Path(folder) / "model", "idefics3", width=768, layers=20, heads=12, side=128, patch=16)
        once, anew = (open_local(Wanted(f"hf/{path}", precision=given.precision)) for _ in range(2))
        print(f"{once.facts['parameters'] / 1e6:.0f} M parameters, {given.precision}, {given.threads} thread(s)")
        for classes in given.classes:
            for batch in given.batch:
                once.batch = anew.batch = batch
                measure(once, anew, asking(classes), given.rounds)


def measure(once: Local, anew: Local, question: Asking, rounds: int) -> None:
    """Print seconds a picture of both ways, and their ratio; the first round is not counted."""
    batch = once.batch
    wall: dict[str, list[float]] = {"once": [], "anew": []}
    busy: dict[str, list[float]] = {"once": [], "anew": []}
    # Without a prefix: the prompt is told that it was tried.
    anew._written(question, {}).tried = True
    alike = 0
    for number in range(rounds + 1):
        noise = np.random.default_rng(number)
        pictures = [noise.integers(0, 256, (128, 128, 3), dtype=np.uint8) for _ in range(batch)]
        said = {}
        for name, chat in [("once", once), ("anew", anew)][:: 1 if number % 2 else -1]:
            start, worked = time.perf_counter(), time.process_time()
            said[name] = list(chat.ask(question, pictures, {}))
            wall[name].append((time.perf_counter() - start) / batch * 1e3)
            busy[name].append((time.process_time() - worked) / batch * 1e3)
        alike += sum(a.text == b.text for a, b in zip(said["once"], said["anew"], strict=True))
    took, worked_on = ({name: statistics.median(ms[1:]) for name, ms in table.items()} for table in (wall, busy))
    print(
        f"{len(question.answers)} classes, {said['once'][0].tokens_in} tokens, {batch} at a time: "
        f"{took['anew']:.0f} ms a picture anew, {took['once']:.0f} ms once: {took['anew'] / took['once']:.1f} times "
        f"({worked_on['anew'] / worked_on['once']:.1f} in CPU time: {worked_on['anew']:.0f} and {worked_on['once']:.0f} ms); "
        f"{alike} of {batch * (rounds + 1)} answers alike; load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
