"""A learning rate found by trying: a short range test, then a small sweep around what it suggests, judged on validation.

Range test: Smith, arXiv 1506.01186 (the rate grows step by step until the loss explodes). It finds the order of magnitude; which of
its neighbours answers best is another question, and validation is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from fieldguide.bench import Bench, read_log
from fieldguide.craft import decisions, loop, optimiser, ranks
from fieldguide.craft.feed import Feed
from fieldguide.errors import EnvironmentProblem
from fieldguide.records import Example
from fieldguide.tasks.count import Task

#: The range test goes from the first to the last rate in so many steps.
LOWEST, HIGHEST, STEPS = 1e-6, 1.0, 60
#: The loss has exploded where its running mean is so many times the smallest one.
EXPLODED = 4.0
#: The range test's rate is divided by this: at the smallest loss the rate is already about to be too high.
BELOW = 10.0
#: What is swept, against what the range test suggests, and the least epochs and steps of each.
AROUND, EPOCHS, TRIED_STEPS = (1 / 3, 1.0, 3.0), 2, 60


def chosen(
    network: nn.Module,
    train: Sequence[Example],
    val: Sequence[Example],
    task: Task,
    plan: loop.Plan,
    bench: Bench,
    feed: Feed,
) -> loop.Plan:
    """Return `plan` with the rate that was found; found once, written down, and replayed by every later sitting.

    The network's weights are as they were. Without validation pictures the training loss judges.
    """

    def decide() -> dict[str, Any]:
        names = optimiser.changing(network)
        before = optimiser.copied(network, names)
        tests = loop.Run(network, train, val, task, replace(plan, schedule="constant", warmup=0.0), bench, feed)
        suggested = suggestion(*_range(tests, bench)) or plan.learning_rate
        tried = []
        for factor in AROUND:
            network.load_state_dict({**network.state_dict(), **before})
            tried.append(_tried(network, (train, val), task, replace(plan, learning_rate=suggested * factor), bench, feed))
        network.load_state_dict({**network.state_dict(), **before})
        best = max(tried, key=lambda trial: tuple(trial["score"]))
        return {"chosen": best["rate"], "suggested": suggested, "tried": tried}

    found = decisions.remembered(bench, "learning_rate", decide)
    bench.log("rates", **found)
    return replace(plan, learning_rate=found["chosen"])


def _range(run: loop.Run, bench: Bench) -> tuple[list[float], list[float]]:
    """Return rates and the running mean of the loss at each, up to where it exploded."""
    rates: list[float] = []
    losses: list[float] = []
    mean, epoch = 0.0, 0
    loop.train_mode(run.model)
    with bench.progress.bar("range test", STEPS) as bar:
        while len(rates) < STEPS:
            batches = run.training(epoch)
            for batch in batches:
                rate = LOWEST * (HIGHEST / LOWEST) ** (len(rates) / (STEPS - 1))
                try:
                    loss = run.step([batch], rate)
                except EnvironmentProblem:  # it diverged: that is what the test is for
                    batches.close()
                    return rates, losses
                mean = 0.8 * mean + 0.2 * loss
                rates.append(rate)
                losses.append(mean / (1 - 0.8 ** len(rates)))
                bar.advance()
                if losses[-1] > EXPLODED * min(losses) or len(rates) == STEPS:
                    batches.close()
                    return rates, losses
            epoch += 1
    return rates, losses


def suggestion(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Return a tenth of the rate at which the loss was smallest; `None` where no step was possible."""
    finite = [(loss, rate) for rate, loss in zip(rates, losses, strict=True) if math.isfinite(loss)]
    return min(finite)[1] / BELOW if finite else None


def _tried(
    network: nn.Module,
    lists: tuple[Sequence[Example], Sequence[Example]],
    task: Task,
    plan: loop.Plan,
    bench: Bench,
    feed: Feed,
) -> dict[str, Any]:
    """Return what a short training at this rate came to; higher scores are better."""
    place = bench.scratch / "rates" / f"{plan.learning_rate:.3e}"
    if ranks.rank() == 0:
        place.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(bench.seed)
    steps = math.ceil(len(lists[0]) / (plan.batch_size * plan.accumulate * ranks.size()))
    epochs = min(plan.epochs, max(EPOCHS, math.ceil(TRIED_STEPS / steps)))
    # The loss judges: after so few steps, on so few pictures, two rates are often right equally often.
    short = replace(plan, epochs=epochs, patience=epochs, monitor="loss")
    told: dict[str, Any] = {"rate": plan.learning_rate}
    try:
        loop.train(network, *lists, task, short, replace(bench, scratch=place), feed)
    except EnvironmentProblem as problem:
        return {**told, "score": [-1e9, -1e9], "note": problem.given}
    events = [event for event in read_log(place / "log.jsonl") if event["event"] == "epoch"]
    if not lists[1]:
        return {**told, "score": [-events[-1]["train_loss"], 0.0]}
    return {**told, "score": max([-event["val_loss"], event["val_accuracy"]] for event in events)}
