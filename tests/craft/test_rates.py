"""A rate that is found: near the one that learns, by a range test and a sweep, once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fieldguide.bench import Bench, read_log
from fieldguide.craft import loop, rates
from fieldguide.craft.feed import Pictures, Serving
from fieldguide.craft.loop import Plan
from fieldguide.data.augment import Augmentation
from fieldguide.data.batches import Preprocessing
from fieldguide.records import ClassInfo, Example, Image, Pixels
from fieldguide.tasks.classify import Classify

Make = Callable[[Sequence[Pixels | None]], list[Image]]
TASK = Classify((ClassInfo("dark", "dark"), ClassInfo("light", "light")))
PLAN = Plan(
    epochs=6,
    batch_size=8,
    learning_rate=1e-9,
    weight_decay=0.0,
    warmup=0.0,
    patience=10,
    preprocessing=Preprocessing(8),
    augmentation=Augmentation(0.5),
)


@pytest.fixture
def sets(held: Make) -> tuple[list[Example], list[Example]]:
    draw = np.random.default_rng(0)
    pictures = [(100 + 50 * (at % 2) + draw.normal(0, 60, (9, 10, 3))).clip(0, 255).astype(np.uint8) for at in range(60)]
    examples = [Example(image, TASK.ids[at % 2]) for at, image in enumerate(held(pictures))]
    return examples[:40], examples[40:]


Sets = tuple[list[Example], list[Example]]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 2))


def chosen(sets: Sets, model: nn.Module, bench: Bench, plan: Plan = PLAN) -> Plan:
    train, val = ([example.image for example in part] for part in sets)
    feed = Pictures(train, val, plan.preprocessing, plan.augmentation, bench.seed, Serving(plan.batch_size))
    return rates.chosen(model, *sets, TASK, plan, bench, feed)


def test_the_rate_that_is_found_learns_and_the_network_is_as_it_was(sets: Sets, tmp_path: Path) -> None:
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plan = chosen(sets, model, Bench(tmp_path, 3))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert 1e-5 < plan.learning_rate < 1.0
    assert dataclasses.replace(plan, learning_rate=PLAN.learning_rate) == PLAN
    [told] = [event for event in read_log(tmp_path / "log.jsonl") if event["event"] == "rates"]
    assert [trial["rate"] for trial in told["tried"]] == pytest.approx([told["suggested"] * factor for factor in rates.AROUND])
    best = max(told["tried"], key=lambda trial: trial["score"])
    assert told["chosen"] == best["rate"] == plan.learning_rate
    assert best["score"][1] > 0.7, "so short a training at that rate tells dark from light"


def test_it_is_found_once(sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = chosen(sets, network(), Bench(tmp_path, 3))
    monkeypatch.setattr(loop, "Run", None)
    assert chosen(sets, network(), Bench(tmp_path, 3)) == first
    assert json.loads((tmp_path / "decisions.json").read_text())["learning_rate"]["chosen"] == first.learning_rate


def test_without_validation_the_training_loss_judges(sets: Sets, tmp_path: Path) -> None:
    plan = chosen((sets[0], []), network(), Bench(tmp_path, 3))
    assert 1e-5 < plan.learning_rate < 1.0


@pytest.mark.parametrize(
    ("losses", "expected"),
    [([3.0, 2.0, 1.0, 9.0], 1e-3), ([1.0, 2.0], 1e-5), ([], None), ([float("nan"), 2.0], 1e-4)],
)
def test_the_suggestion_is_a_tenth_of_the_rate_with_the_smallest_loss(losses: list[float], expected: float | None) -> None:
    found = rates.suggestion([1e-4, 1e-3, 1e-2, 1e-1][: len(losses)], losses)
    assert found == (None if expected is None else pytest.approx(expected))


def test_a_rate_that_diverges_loses(sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "AROUND", (1.0, 1e30))
    chosen(sets, network(), Bench(tmp_path, 3))
    [told] = [event for event in read_log(tmp_path / "log.jsonl") if event["event"] == "rates"]
    assert told["chosen"] == told["suggested"]
    assert "diverged" in told["tried"][1]["note"]
