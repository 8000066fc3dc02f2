"""Several fully connected layers that are trained at once on the same batches: one for each weight that texts may have, say.

Their weights lie in one tensor ``"models features classes"`` and their losses are added up, so that gradients stay apart and one AdamW
moves all of them. Every step draws its batch from the seed and its own number; a checkpoint therefore needs no state of chance.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from fieldguide.bench import Bench, read_log, trim_log
from fieldguide.craft import checkpoint
from fieldguide.craft.heads import Array, Head
from fieldguide.craft.probes import NEVER
from fieldguide.files import digest

#: Times during a training that the loss is logged.
_MOMENTS = 10
#: Seconds after which a checkpoint is written at the next of these moments; how often it is changes no number.
_CHECKPOINT = 5.0
#: Logit of a class that a model does not know while it is trained.
_APART = -1e4


@dataclass(frozen=True)
class How:
    """Steps of AdamW, rows a step, rate (from the first step down along half a cosine), decay of weights, and the logit of a cosine of one."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    scale: float


@dataclass(frozen=True)
class Batch:
    """`rows` ``"rows features"``, or ``"models rows features"`` where each model sees its own; `labels` ``"rows"``; and how much a row

    counts for each model, `counts` ``"models rows"``.
    """

    rows: Array
    labels: NDArray[np.int64]
    counts: Array


Draw = Callable[[np.random.Generator], Batch]


class Layers(nn.Module):
    """`weights` ``"models features classes"`` and `bias` ``"models 1 classes"``; `scale` multiplies both."""

    def __init__(self, begin: Array, scale: float) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.from_numpy(begin).float())
        self.bias = nn.Parameter(torch.zeros(len(begin), 1, begin.shape[2]))
        self.scale = scale

    def forward(self, rows: Tensor) -> Tensor:
        """Return logits ``"models rows classes"``."""
        return self.scale * torch.baddbmm(self.bias, rows.expand(len(self.weights), -1, -1), self.weights)


def train(begin: Array, present: NDArray[np.bool_], draw: Draw, how: How, bench: Bench) -> list[Head]:
    """Return the heads that come of `begin`, ``"models features classes"``; with no step at all, those that it is.

    A class that is not `present` ``"models classes"`` for a model stays as it began and takes no part in that model's loss. Goes on
    from the newest checkpoint in the bench's scratch folder that was written for the same layers.
    """
    layers = Layers(begin, how.scale).to(bench.device)
    groups = [{"params": [layers.weights], "weight_decay": how.weight_decay}, {"params": [layers.bias], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=how.learning_rate)
    key = _key(begin, present, draw, how, bench)
    first = _gone_on(layers, optimiser, key, bench)
    apart = torch.from_numpy(np.where(present, 0.0, _APART)).float().to(bench.device)[:, None]
    every, begun = max(1, how.steps // _MOMENTS), bench.clock()
    with bench.progress.bar("fit", how.steps) as bar:
        bar.advance(first)
        for step in range(first, how.steps):
            for group in optimiser.param_groups:
                group["lr"] = how.learning_rate * 0.5 * (1 + math.cos(math.pi * step / how.steps))
            batch = draw(np.random.default_rng((bench.seed, 201, step)))
            losses = _losses(layers, batch, apart, bench.device)
            optimiser.zero_grad(set_to_none=True)
            losses.sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            if (step + 1) % every == 0 or step + 1 == how.steps:
                bench.log("step", step=step + 1, losses=[round(loss, 6) for loss in losses.tolist()])
                if bench.clock() - begun >= _CHECKPOINT or step + 1 == how.steps:
                    tensors = {"model": layers.state_dict(), "optimiser": checkpoint.optimiser_tensors(optimiser, layers)}
                    checkpoint.save(bench.scratch / "checkpoints", tensors, {"step": step + 1, "key": key})
                    begun = bench.clock()
            bar.advance()
    weights = how.scale * layers.weights.detach().double().cpu().numpy()
    bias = how.scale * layers.bias.detach().double().cpu().numpy()[:, 0]
    return [Head(own, tilt) for own, tilt in zip(weights, bias, strict=True)]


def _key(begin: Array, present: NDArray[np.bool_], draw: Draw, how: How, bench: Bench) -> str:
    """Return a hash of what decides the layers; of the rows, the first batch stands for all."""
    batch = draw(np.random.default_rng((bench.seed, 201, 0)))
    found = hashlib.sha256(digest(how, bench.seed, bench.device).encode())
    for part in (begin, present, batch.rows, batch.labels, batch.counts):
        found.update(f"{part.shape}".encode() + np.ascontiguousarray(part).tobytes())
    return found.hexdigest()


def _losses(layers: Layers, batch: Batch, apart: Tensor, device: str) -> Tensor:
    """Return the weighted mean cross-entropy of each model."""
    rows, labels, counts = (
        torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in (batch.rows, batch.labels, batch.counts)
    )
    logits = layers(rows.float()) + apart
    cost = F.cross_entropy(logits.flatten(0, 1), labels.expand(len(logits), -1).flatten(), reduction="none").view_as(counts)
    # A row that counts nothing may be of a class that its model does not know; its cost must not enter even as 0 times much.
    counts = counts.float()
    return torch.where(counts > 0, cost * counts, 0.0).sum(dim=1) / counts.sum(dim=1).clamp_min(1e-12)


def _gone_on(layers: Layers, optimiser: torch.optim.Optimizer, key: str, bench: Bench) -> int:
    """Restore the newest checkpoint of the same layers and return the step it stands at."""
    found = checkpoint.load(bench.scratch / "checkpoints")
    if found is None or found[1].get("key") != key:
        trim_log(bench.scratch / "log.jsonl", lambda event: event.get("event") != "step")
        return 0
    groups, state = found
    layers.load_state_dict(groups["model"])
    checkpoint.restore_optimiser(optimiser, layers, groups["optimiser"])
    step = int(state["step"])
    if any(event.get("step", 0) > step for event in read_log(bench.scratch / "log.jsonl") if event.get("event") == "step"):
        trim_log(bench.scratch / "log.jsonl", lambda event: event.get("event") != "step" or event["step"] <= step)
    return step


def never(head: Head, present: NDArray[np.bool_]) -> Head:
    """Return the head with classes that are not `present` ``"classes"`` never answered."""
    return Head(head.weights, np.where(present, head.bias, NEVER))
