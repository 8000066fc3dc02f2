"""Layers trained side by side: as if alone, by the rule that is written down, and to the same bits after a stop."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fieldguide.bench import Bench, read_log
from fieldguide.craft import layers
from fieldguide.craft.heads import Head
from fieldguide.craft.layers import Batch, Draw, How

HOW = How(steps=12, batch_size=8, learning_rate=0.05, weight_decay=0.1, scale=4.0)
KNOWN = np.ones((2, 3), bool)


def drawing(counts: tuple[float, float] = (1.0, 0.5)) -> Draw:
    source = np.random.default_rng(0)
    rows, labels = source.normal(size=(40, 5)), source.integers(0, 3, 40)

    def draw(random: np.random.Generator) -> Batch:
        places = random.permutation(40)[:8]
        halves = np.stack([np.where(np.arange(8) < 4, 1.0, count) for count in counts])
        return Batch(rows[places], labels[places], halves)

    return draw


def trained(scratch: Path, how: How = HOW, draw: Draw | None = None, known: np.ndarray = KNOWN, seed: int = 3) -> list[Head]:
    scratch.mkdir(exist_ok=True)
    return layers.train(np.zeros((len(known), 5, 3)), known, draw or drawing(), how, Bench(scratch, seed))


def equal(one: list[Head], other: list[Head]) -> bool:
    return all(np.array_equal(a.weights, b.weights) and np.array_equal(a.bias, b.bias) for a, b in zip(one, other, strict=True))


def test_two_layers_side_by_side_are_what_each_is_alone(tmp_path: Path) -> None:
    both = trained(tmp_path / "both")
    for at, count in enumerate((1.0, 0.5)):
        (alone,) = trained(tmp_path / f"alone{at}", draw=_one(count), known=KNOWN[:1])
        assert np.allclose(alone.weights, both[at].weights, atol=1e-4)
    assert not np.allclose(both[0].weights, both[1].weights, atol=1e-2)


def _one(count: float) -> Draw:
    both = drawing((count, count))
    return lambda random: dataclasses.replace(batch := both(random), counts=batch.counts[:1])


def test_the_first_step_is_adamw_on_the_weighted_mean(tmp_path: Path) -> None:
    how = dataclasses.replace(HOW, steps=1)
    batch = drawing()(np.random.default_rng((3, 201, 0)))
    layer = torch.nn.Linear(5, 3)
    torch.nn.init.zeros_(layer.weight), torch.nn.init.zeros_(layer.bias)
    logits = 4.0 * layer(torch.from_numpy(batch.rows).float())
    counts = torch.from_numpy(batch.counts[1]).float()
    loss = (F.cross_entropy(logits, torch.from_numpy(batch.labels), reduction="none") * counts).sum() / counts.sum()
    loss.backward()
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.05, weight_decay=0.1)
    optimiser.step()
    made = trained(tmp_path / "one", how)[1]
    assert np.allclose(made.weights, 4.0 * layer.weight.detach().numpy().T, atol=1e-5)
    assert np.allclose(made.bias, 4.0 * layer.bias.detach().numpy(), atol=1e-5)


def test_after_a_stop_it_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_CHECKPOINT", 0.0)
    whole = trained(tmp_path / "whole")
    calls = 0
    fine = drawing()

    def stops(random: np.random.Generator) -> Batch:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        return fine(random)

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", draw=stops)
    before = calls
    calls = 100
    assert equal(trained(tmp_path / "cut", draw=stops), whole)
    assert before == 8 and calls == 100 + 1 + 12 - 6  # the first batch is also what a checkpoint is known by
    steps = [event["step"] for event in read_log(tmp_path / "cut" / "log.jsonl") if event["event"] == "step"]
    assert steps == [event["step"] for event in read_log(tmp_path / "whole" / "log.jsonl") if event["event"] == "step"]
    calls = 100
    assert equal(trained(tmp_path / "cut", draw=stops), whole) and calls == 101


def test_a_checkpoint_of_other_layers_is_not_gone_on_from(tmp_path: Path) -> None:
    trained(tmp_path / "a")
    other = dataclasses.replace(HOW, learning_rate=0.01)
    assert equal(trained(tmp_path / "a", other), trained(tmp_path / "fresh", other))
    assert not equal(trained(tmp_path / "seed", seed=4), trained(tmp_path / "fresh", HOW))


def test_a_class_that_a_layer_does_not_know_stays_as_it_began(tmp_path: Path) -> None:
    known = np.array([[True, True, False], [True, True, True]])
    plain = drawing()

    def draw(random: np.random.Generator) -> Batch:
        batch = plain(random)
        return dataclasses.replace(batch, counts=np.stack([(batch.labels < 2).astype(float), np.ones(8)]))

    made = trained(tmp_path / "it", draw=draw, known=known)
    assert np.isfinite(made[0].weights).all()
    assert (made[0].weights[:, 2] == 0).all() and made[0].bias[2] == 0 and np.abs(made[1].weights[:, 2]).max() > 0.1
    assert layers.never(made[0], known[0]).bias[2] == -1e9


def test_without_a_step_a_layer_is_what_it_began_as(tmp_path: Path) -> None:
    begin = np.random.default_rng(1).normal(size=(1, 5, 3)).astype(np.float32).astype(float)
    (made,) = layers.train(begin, KNOWN[:1], drawing(), dataclasses.replace(HOW, steps=0), Bench(tmp_path))
    assert np.allclose(made.weights, 4.0 * begin[0]) and not made.bias.any()
