"""What log-likelihoods of all labels cost: beside one short answer, a full pass for each label, and transformers' decision pipeline.

    python benchmarks/likelihood.py --classes 10 90 200 --precision fp32 bf16 --batch 1 8

A model of Idefics3's real classes with random weights (what it says is noise; what it costs is not), a list of classes before the
picture. All ways take turns in one run and medians are compared, in wall and in CPU time. Full passes cost the same for every label but
for a token or two: they are taken for a few labels, in the last round, and counted for all. The pipeline knows 26 labels by itself; it is
given as many as there are. The model's tokeniser has 512 tokens, which cuts a name into about nine; with --words every word is one
token, of 49,280 as SmolVLM has, so that less is read and more is weighed. The model is written beside the system's temporary files and
removed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from prompt_prefix import HOW, WHAT, asking

from fieldguide.craft.chat import Said, Wanted
from fieldguide.craft.chat.local import Local, open_local
from fieldguide.craft.chat.passes import full_passes
from fieldguide.craft.chat.scoring import Scorer
from fieldguide.craft.chat.tiny import write_chat
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking
from fieldguide.tasks.weighed import loads

TOKENS = 5
#: Entries of SmolVLM's vocabulary.
VOCABULARY = 49_280


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--classes", type=int, nargs="+", default=[90])
    words.add_argument("--precision", nargs="+", default=["fp32"])
    words.add_argument(
        "--batch", type=int, nargs="+", default=[1], help="pictures that go through together, side by side in one run"
    )
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--full", type=int, default=6, help="labels that full passes are taken for")
    words.add_argument("--threads", type=int, default=1)
    words.add_argument("--ways", nargs="+", default=["joined", "decision"], help="of joined, tree, copied, decision")
    words.add_argument("--words", action="store_true", help="every word of a name is one token of a real vocabulary")
    given = words.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = write_chat(Path(folder) / "model", "idefics3", width=768, layers=20, heads=12, side=128, patch=16)
        for precision in given.precision:
            for classes in given.classes:
                question = asking(classes)
                chat = opened(path, precision, given, classes)
                print(f"{chat.facts['parameters'] / 1e6:.0f} M parameters, {precision}, {given.threads} thread(s), ", end="")
                print(f"{' and '.join(map(str, given.batch))} at a time, {'words' if given.words else 'bytes and pairs'}")
                measure(chat, question, given)


def opened(path: Path, precision: str, given: argparse.Namespace, classes: int) -> Local:
    """Return the model with as many labels for the pipeline as there are classes, and with whole words as tokens where they are wanted."""
    chat = open_local(Wanted(f"hf/{path}", precision=precision))
    if given.words:
        chat.hand.tokenizer.add_tokens([*HOW, *(f" {what}" for what in WHAT)])
        with torch.random.fork_rng(devices=[]):
            chat.model.resize_token_embeddings(VOCABULARY, mean_resizing=False)
        chat.facts = {**chat.facts, "parameters": sum(one.numel() for one in chat.model.parameters())}
    # The pipeline reads every name twice; positions are computed, and none is too large.
    chat.context = None
    tokens = chat.hand.tokenizer
    tokens.model_max_length = 1_000_000
    ids = {text: tokens(text, add_special_tokens=False)["input_ids"] for text in map(tokens.decode, range(512))}
    marks = set(tokens.all_special_tokens)
    single = [text for text, found in ids.items() if len(found) == 1 and text.strip() and text not in marks]
    (path / "decision.json").write_text(json.dumps({"labels": {"choice": single[:classes]}}))
    return chat


def measure(chat: Local, question: Asking, given: argparse.Namespace) -> None:
    """Print milliseconds a picture of each way; the first round, which decides and computes what is kept, is not counted."""
    weighing = replace(question, how="likelihood")
    asked: dict[tuple[str, int], tuple[Local, Asking]] = {}
    # Each has the model to itself in all but its weights: what is kept of a prompt is kept for the last one only.
    for batch in given.batch:
        for way in ("answer", *given.ways):
            own = replace(chat, batch=batch, ahead=2 * batch, ways={})
            if way == "answer":
                asked[way, batch] = own, replace(question, how="generate", most_tokens=TOKENS)
            else:
                asked[way, batch] = own, replace(question, how="decision") if way == "decision" else weighing
    for (name, _), (own, one) in asked.items():
        weigher = own._written(one, {}).weigher
        if isinstance(weigher, Scorer):
            weigher.ways = (name,)  # type: ignore[assignment]
    first = given.batch[0]
    scoring = asked[given.ways[0], first][0]
    whole = scoring._written(weighing, {}).weigher
    assert isinstance(whole, Scorer)
    some = sorted({round(at) for at in np.linspace(0, len(question.answers) - 1, given.full)})
    ways: dict[tuple[str, int], Callable[[list[Pixels]], list[Said]]] = {
        name: lambda shown, own=own, one=one: list(own.ask(one, shown, {}))  # type: ignore[misc]
        for name, (own, one) in asked.items()
    }
    wall, busy, found = taken(ways, lambda shown: naive(scoring, whole, shown, some), given, len(question.answers) / len(some))
    for name in ways:
        if why := found[name][0].error:
            raise SystemExit(f"{name}: {why}")
    took, worked_on = ({name: statistics.median(ms) for name, ms in table.items()} for table in (wall, busy))
    told = scoring.facts["likelihood"]
    print(f"{told['labels']} labels, {told['tokens']} tokens, {told['behind']} of them read for a picture, and ", end="")
    print(
        f"{told['picture']} of its own, behind {told['once']} read once; {found['answer', first][0].tokens_out} tokens answered; ",
        end="",
    )
    print(f"load {os.getloadavg()[0]:.1f}")
    for name, batch in took:
        print(f"  {name:8} {batch:3} {took[name, batch]:8.0f} ms, {worked_on[name, batch]:8.0f} ms of CPU", end="")
        beside = worked_on["answer", batch] if ("answer", batch) in worked_on else worked_on["answer", first]
        full = worked_on["naive", 1] / worked_on[name, batch]
        print(f"; {worked_on[name, batch] / beside:.2f} answers, 1/{full:.1f} of full passes")
    for name, batch in asked:
        if name not in ("answer", "decision"):
            far = np.abs(np.array(loads(found[name, batch][0].text).sums)[some] - found["naive", 1]).max()
            print(f"  {name} {batch}: {far:.1g} nats at most from full passes, of {len(some)} labels")


def naive(chat: Local, scorer: Scorer, shown: list[Pixels], some: list[int]) -> Any:
    """Return the sums of some labels for the first picture, by a full pass each."""
    with torch.inference_mode():
        whole = chat._whole(scorer.prompt, chat._sized(shown[0]))
        return full_passes(chat.model, whole, [scorer.tokens[at] for at in some]).numpy()


def taken(
    ways: dict[tuple[str, int], Callable[[list[Pixels]], list[Said]]],
    full: Callable[[list[Pixels]], Any],
    given: argparse.Namespace,
    times: float,
) -> tuple[dict[tuple[str, int], list[float]], dict[tuple[str, int], list[float]], dict[tuple[str, int], Any]]:
    """Return milliseconds a picture of each way and batch in wall and in CPU time, by round, and what came out of the last one."""
    naive = ("naive", 1)
    wall: dict[tuple[str, int], list[float]] = {name: [] for name in (*ways, naive)}
    busy: dict[tuple[str, int], list[float]] = {name: [] for name in (*ways, naive)}
    found: dict[tuple[str, int], Any] = {}

    def timed(name: tuple[str, int], work: Callable[[list[Pixels]], Any], shown: list[Pixels], share: float) -> None:
        start, worked = time.perf_counter(), time.process_time()
        found[name] = work(shown)
        wall[name].append((time.perf_counter() - start) * 1e3 * share)
        busy[name].append((time.process_time() - worked) * 1e3 * share)

    for number in range(given.rounds + 1):
        noise = np.random.default_rng(number)
        shown = [noise.integers(0, 256, (128, 128, 3), dtype=np.uint8) for _ in range(max(given.batch))]
        for name in list(ways)[:: 1 if number % 2 else -1]:
            timed(name, ways[name], shown[: name[1]], 1 / name[1])
    for table in (wall, busy):
        for name in ways:
            del table[name][0]
    timed(naive, full, shown, times)
    return wall, busy, found


if __name__ == "__main__":
    main()
