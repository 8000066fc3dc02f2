"""What exact log-likelihoods of all labels cost: beside one short answer, and beside a full pass for each label.

    python benchmarks/likelihood.py --classes 10 90

A model of Idefics3's real classes with random weights (what it says is noise; what it costs is not), a list of classes before the
picture, one picture at a time. All ways take turns in one run and medians are compared, in wall and in CPU time. Full passes cost the same
for every label but for a token or two: they are taken for a few labels, in the last round, and counted for all. The model is written
beside the system's temporary files and removed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from prompt_prefix import asking

from fieldguide.craft.chat import Wanted
from fieldguide.craft.chat.local import Local, open_local
from fieldguide.craft.chat.scoring import Scorer, full_passes
from fieldguide.craft.chat.tiny import write_chat
from fieldguide.tasks.asking import Asking

TOKENS = 5


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--classes", type=int, nargs="+", default=[90])
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--full", type=int, default=6, help="labels that full passes are taken for")
    words.add_argument("--threads", type=int, default=1)
    words.add_argument("--precision", default="fp32")
    given = words.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = write_chat(Path(folder) / "model", "idefics3", width=768, layers=20, heads=12, side=128, patch=16)
        chat = open_local(Wanted(f"hf/{path}", precision=given.precision))
        print(f"{chat.facts['parameters'] / 1e6:.0f} M parameters, {given.precision}, {given.threads} thread(s)")
        for classes in given.classes:
            measure(chat, asking(classes), given.rounds, given.full)


def measure(chat: Local, question: Asking, rounds: int, full: int) -> None:
    """Print milliseconds a picture of each way; the first round, which decides and computes what is kept, is not counted."""
    free = Asking(question.messages, question.answers, most_tokens=TOKENS)
    scorers = {way: Scorer(chat, question, {}, ways=(way,)) for way in ("tree", "copied")}
    ways: dict[str, Callable[[Any], Any]] = {"answer": lambda shown: next(chat.ask(free, [shown], {}))}
    ways |= {way: lambda shown, scorer=scorer: next(scorer.score([shown])) for way, scorer in scorers.items()}
    some = sorted({round(at) for at in np.linspace(0, len(question.answers) - 1, full)})
    whole = scorers["tree"]
    ways["naive"] = lambda shown: full_passes(chat.model, whole._whole(shown), [whole.tokens[at] for at in some]).numpy()
    wall: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Any] = {}
    for number in range(rounds + 1):
        shown = np.random.default_rng(number).integers(0, 256, (128, 128, 3), dtype=np.uint8)
        for name in list(ways)[:: 1 if number % 2 else -1]:
            if name == "naive" and number < rounds:
                continue
            start, worked = time.perf_counter(), time.process_time()
            with torch.inference_mode():
                found[name] = ways[name](shown)
            if number:
                times = len(question.answers) / len(some) if name == "naive" else 1
                wall[name].append((time.perf_counter() - start) * 1e3 * times)
                busy[name].append((time.process_time() - worked) * 1e3 * times)
    took, worked_on = ({name: statistics.median(ms) for name, ms in table.items()} for table in (wall, busy))
    told = chat.facts["likelihood"]
    print(f"{told['labels']} labels, {told['tokens']} tokens; {found['answer'].tokens_out} tokens answered; ", end="")
    print(f"ways taken: {', '.join(str(scorer.way) for scorer in scorers.values())}; load {os.getloadavg()[0]:.1f}")
    for name in ways:
        print(f"  {name:7} {took[name]:8.0f} ms, {worked_on[name]:8.0f} ms of CPU", end="")
        print(
            f"; {worked_on[name] / worked_on['answer']:.2f} answers, 1/{worked_on['naive'] / worked_on[name]:.1f} of full passes"
        )
    for name in scorers:
        far = np.abs(np.array(found[name].sums)[some] - found["naive"]).max()
        print(f"  {name}: {far:.1g} nats at most from full passes, of {len(some)} labels")
    print(f"  the best label is the same: {len({int(np.argmax(found[name].sums)) for name in scorers}) == 1}")


if __name__ == "__main__":
    main()
