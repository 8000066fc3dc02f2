"""The training loop, to be read aloud: AdamW, warm-up and decay, early stop on validation, best epoch kept, exact resume.

Order and views of an epoch are functions of (seed, epoch), so a checkpoint needs only tensors, the random state of dropout and
the position. Killed at any moment, the same call goes on to the same weights (bit for bit on a CPU with as many threads).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from fieldguide.bench import Bench, trim_log
from fieldguide.craft import checkpoint, decisions, optimiser, ranks
from fieldguide.craft.feed import Feed
from fieldguide.craft.goals import goal_of
from fieldguide.craft.pace import Pace, autocast, placed
from fieldguide.data.augment import Augmentation, mixed
from fieldguide.data.batches import Batch, Preprocessing, draw_balanced, draw_order
from fieldguide.errors import EnvironmentProblem, out_of_memory
from fieldguide.files import digest
from fieldguide.records import Example
from fieldguide.tasks.count import Task

#: A long epoch writes a checkpoint this often, in seconds; every epoch ends with one.
CHECKPOINT_SECONDS = 120.0
#: Training pictures, at most, on which the kept weights are looked at without augmentation.
LOOKED_AT = 2000
#: Events of the log that outlive a training that begins anew.
_KEPT = ("sitting", "fact", "parts", "rates")


@dataclass(frozen=True)
class Plan:
    """All that shapes a training run; the checkpoint of another plan is not resumed.

    `warmup` is a part of all steps. `factors` are rates of single parameters against `learning_rate`, by name. `views` is how many
    distinct views a picture has (`None`: a new one every epoch). A step sees ``batch_size * accumulate`` pictures a process.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float
    patience: int
    preprocessing: Preprocessing
    augmentation: Augmentation
    pace: Pace = field(default_factory=Pace)
    accumulate: int = 1
    schedule: optimiser.Schedule = "cosine"
    factors: dict[str, float] = field(default_factory=dict)
    monitor: Literal["accuracy", "macro_f1", "loss"] = "accuracy"
    label_smoothing: float = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    sampling: Literal["shuffled", "balanced"] = "shuffled"
    ema: float = 0.0
    clip: float = 1.0
    views: int | None = None
    compile: bool = False


@dataclass
class _Position:
    """Where a run is: the next step of an epoch, sums over the steps before it, and the best epoch so far."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    pictures: int = 0
    seconds: float = 0.0
    best_epoch: int = -1
    best: dict[str, float] = field(default_factory=dict)
    averaged: int = 0
    finished: bool = False


def batches_of(pictures: int, batch_size: int) -> int:
    """Return the batches of an epoch; a single picture that would be left for the last one is another in every epoch, and sits it out.

    BatchNorm cannot train on a batch of one, once the picture has shrunk to one position.
    """
    whole, rest = divmod(pictures, batch_size)
    least = 2 * ranks.size()
    return whole + (rest >= least or (rest > 0 and whole == 0))


def train(
    model: nn.Module, train: Sequence[Example], val: Sequence[Example], task: Task, plan: Plan, bench: Bench, feed: Feed
) -> nn.Module:
    """Train the parameters of `model` that require gradients; return it with the weights of its best epoch, in eval mode.

    `feed` makes the network's inputs from pictures, and logits ``"pictures classes"`` from inputs. The best epoch is the best by
    `plan.monitor` on validation, then the one with the lower loss; without validation pictures the last epoch is kept.
    """
    return Run(model, train, val, task, plan, bench, feed).go()


class Run:
    """The state of one training run."""

    def __init__(
        self,
        model: nn.Module,
        train: Sequence[Example],
        val: Sequence[Example],
        task: Task,
        plan: Plan,
        bench: Bench,
        feed: Feed,
    ) -> None:
        self.model, self.plan, self.bench, self.feed = placed(model, bench.device, plan.pace), plan, bench, feed
        self.network = ranks.together(torch.compile(self.model) if plan.compile else self.model)  # type: ignore[arg-type]
        self.goal = goal_of(task, train, plan.label_smoothing, plan.class_weights == "balanced", bench.device)
        self.targets, self.val_targets = self.goal.targets(train), self.goal.targets(val)
        self.optimiser = torch.optim.AdamW(
            optimiser.groups(model, plan.weight_decay, plan.factors), lr=plan.learning_rate, fused=True
        )
        self.scaler = torch.amp.GradScaler(bench.device.split(":")[0], enabled=plan.pace.precision == "fp16")
        self.batches = batches_of(len(train), plan.batch_size * ranks.size())
        self.steps = math.ceil(self.batches / plan.accumulate)
        self.position = _Position()
        self.names = optimiser.changing(model)
        self.best = optimiser.copied(model, self.names)
        self.mean = optimiser.RunningMean(model, self.names, plan.ema) if plan.ema else None
        self.folder = bench.scratch / "checkpoints"
        keys = [example.image.key for example in train]
        self.identity = digest(asdict(plan), keys, self.targets.tolist(), bench.seed, feed.name, ranks.size())
        self.pieces = int(decisions.known(bench).get("pieces", 1))

    def go(self) -> nn.Module:
        """Train to the end from wherever the last sitting came to."""
        self._resume()
        done = self.position.epoch * self.steps + self.position.step
        with self.bench.progress.bar("train", self.plan.epochs * self.steps) as bar:
            bar.advance(done)
            while not self.position.finished:
                self._epoch(bar.advance)
        self.model.load_state_dict({**self.model.state_dict(), **self.best})
        self.model.eval()
        kept = {name: value for name, value in self.position.best.items() if name != "epoch"}
        self.bench.log("best", epoch=self.position.best_epoch, **kept, **(self._learned() if ranks.rank() == 0 else {}))
        return self.model

    def _epoch(self, advance: Callable[..., None]) -> None:
        here = self.position
        started = saved = time.perf_counter()
        train_mode(self.model)
        # Whatever ends the epoch ends the threads that cut ahead.
        with closing(self.training(here.epoch, here.step)) as batches:
            together = iter(lambda: list(islice(batches, self.plan.accumulate)), [])
            for number, step in enumerate(together, start=here.step):
                loss = self.step(step, self.rate(here.epoch * self.steps + number))
                pictures = round(ranks.summed(sum(len(batch.rows) for batch in step)))
                here.step, here.pictures = number + 1, here.pictures + pictures
                here.loss_sum += loss * pictures
                advance(note=f"epoch {here.epoch} loss {here.loss_sum / here.pictures:.3f}")
                if time.perf_counter() - saved > CHECKPOINT_SECONDS:
                    here.seconds += time.perf_counter() - started
                    started = saved = time.perf_counter()
                    self._save()
        scores = self._validate()
        if self._rank(scores) > self._rank(here.best):
            here.best, here.best_epoch = scores, here.epoch
            self.best = self._current()
        stale = here.epoch - here.best_epoch
        self.bench.log(
            "epoch",
            epoch=here.epoch,
            train_loss=here.loss_sum / here.pictures,
            **{name: scores.get(name) for name in ("val_loss", *(f"val_{told}" for told in self.goal.told))},
            learning_rate=self.rate((here.epoch + 1) * self.steps - 1),
            seconds=here.seconds + time.perf_counter() - started,
        )
        here.epoch, here.step, here.loss_sum, here.pictures, here.seconds = here.epoch + 1, 0, 0.0, 0, 0.0
        here.finished = here.epoch >= self.plan.epochs or (len(self.val_targets) > 0 and stale >= self.plan.patience)
        self._save()

    def training(self, epoch: int, step: int = 0) -> Generator[Batch]:
        """Yield this process's batches of an epoch, from one of its steps on."""
        plan, pictures = self.plan, len(self.targets)
        if plan.sampling == "balanced":
            order = draw_balanced(self.targets.numpy(), self.bench.seed, epoch)
        else:
            order = draw_order(pictures, self.bench.seed, epoch)
        mine = ranks.share(order[: self.batches * plan.batch_size * ranks.size()], plan.batch_size)
        rest = mine[step * plan.accumulate * plan.batch_size :]
        return self.feed.training(rest, epoch if plan.views is None else epoch % plan.views)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from the first of the run."""
        plan = self.plan
        return plan.learning_rate * optimiser.rate(step, self.steps * plan.epochs, plan.warmup, plan.schedule)

    def step(self, batches: Sequence[Batch], rate: float) -> float:
        """Learn from the pictures of one step; return their mean loss. Where memory runs out, in smaller pieces."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        while True:
            self.optimiser.zero_grad(set_to_none=True)
            try:
                value = self._gradient(batches)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or not self._halve(max(len(batch.rows) for batch in batches)):
                    raise
                continue
            break
        if not math.isfinite(value):
            raise EnvironmentProblem(
                f"Training diverged: the loss is {value} in epoch {self.position.epoch}.",
                f"The learning rate was {self.plan.learning_rate:g} at precision {self.plan.pace.precision}.",
                f"Try learning_rate={self.plan.learning_rate / 10:g} or precision=fp32.",
            )
        if self.plan.clip:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.mean is not None:
            self.mean.update(self.model)
        return value

    def _gradient(self, batches: Sequence[Batch]) -> float:
        """Add up the gradients of a step; return the mean loss over its pictures in all processes."""
        own, device = sum(len(batch.rows) for batch in batches), self.bench.device
        total, value = ranks.summed(own), 0.0
        first = self.position.step * self.plan.accumulate
        work = [piece for at, batch in enumerate(batches, first) for piece in self._pieces(batch, at)]
        for number, (inputs, targets) in enumerate(work):
            with ranks.unsynced(self.network, wait=number + 1 < len(work)):
                with autocast(device, self.plan.pace.precision):
                    logits = self.feed.logits(self.network, inputs)
                loss = self.goal.loss(logits.float(), targets)
                # Processes average their gradients; so that every picture of the step counts alike, each scales its own sum.
                self.scaler.scale(loss * (ranks.size() / total)).backward()  # type: ignore[no-untyped-call]
            value += float(loss.detach())
        return ranks.summed(value) / total

    def _pieces(self, batch: Batch, number: int) -> list[tuple[Tensor, Tensor]]:
        """Return inputs and targets of a batch, the `number`-th of its epoch, in as many pieces as memory asks for."""
        inputs, targets = batch.pixels.to(self.bench.device), self.targets[list(batch.rows)].to(self.bench.device)
        if self.plan.augmentation.mixes:
            soft = self.goal.soft(targets)
            inputs, targets = mixed(inputs, soft, self.plan.augmentation, self.bench.seed, self.position.epoch, number)
        count = min(self.pieces, max(1, len(targets) // 2))
        return list(zip(inputs.tensor_split(count), targets.tensor_split(count), strict=True))

    def _halve(self, pictures: int) -> bool:
        """Cut every batch into twice as many pieces, and remember it; `False` where a piece is as small as it can be."""
        if self.pieces * 2 > max(1, pictures // 2):
            return False
        self.pieces = decisions.cut(self.bench, 2 * self.pieces)
        return True

    def _rank(self, scores: dict[str, float]) -> tuple[float, float]:
        """Return what is compared between epochs; without validation pictures a later epoch is better."""
        if not scores:
            return (-math.inf, -math.inf)
        if "val_loss" not in scores:
            return (scores["epoch"], 0.0)
        if self.plan.monitor == "loss":
            return (-scores["val_loss"], scores["val_accuracy"])
        return (scores[f"val_{self.plan.monitor}"], -scores["val_loss"])

    def _current(self) -> dict[str, Tensor]:
        """Return copies of the weights as they would be kept now."""
        if self.mean is None:
            return optimiser.copied(self.model, self.names)
        return {name: tensor.clone() for name, tensor in self.mean.tensors.items()}

    def _validate(self) -> dict[str, float]:
        """Return the goal's scores on validation, of the running mean where there is one."""
        if not len(self.val_targets):
            return {"epoch": float(self.position.epoch)}
        if ranks.rank() > 0:
            return dict(ranks.told())
        before = optimiser.copied(self.model, self.names) if self.mean is not None else None
        if self.mean is not None:
            self.model.load_state_dict({**self.model.state_dict(), **self.mean.tensors})
        self.model.eval()
        scores = self._scored(self.feed.validation(), self.val_targets, "val_")
        if before is not None:
            self.model.load_state_dict({**self.model.state_dict(), **before})
        return dict(ranks.told(scores))

    @torch.inference_mode()
    def _scored(self, batches: Iterable[Batch], targets: Tensor, prefix: str) -> dict[str, float]:
        """Return the goal's scores of the network on batches; their pictures are in the order of `targets`."""
        found = []
        for batch in batches:
            with autocast(self.bench.device, self.plan.pace.precision):
                found.append(self.feed.logits(self.model, batch.pixels).float().cpu())
        return {f"{prefix}{name}": value for name, value in self.goal.scores(torch.cat(found), targets).items()}

    def _learned(self) -> dict[str, float]:
        """Return how well the kept weights know their own training pictures, without augmentation: a sample of them, as large as validation."""
        count = min(len(self.targets), max(200, len(self.val_targets)), LOOKED_AT)
        rows = sorted(np.random.default_rng(self.bench.seed).permutation(len(self.targets))[:count].tolist())
        found = self._scored(self.feed.plain(rows), self.targets[rows], "train_")
        return {"train_accuracy": found["train_accuracy"], "train_loss_plain": found["train_loss"], "train_pictures": count}

    def _save(self) -> None:
        if ranks.rank() > 0:
            return
        here = self.position
        here.averaged = self.mean.steps if self.mean is not None else 0
        random = {"cpu": torch.get_rng_state()}
        if self.bench.device.startswith("cuda"):
            random["cuda"] = torch.cuda.get_rng_state(self.bench.device)
        groups = {
            "model": optimiser.copied(self.model, self.names),
            "best": self.best,
            "mean": self.mean.tensors if self.mean is not None else {},
            "optimiser": checkpoint.optimiser_tensors(self.optimiser, self.model),
            "random": random,
        }
        state = {"identity": self.identity, "position": asdict(here), "scaler": self.scaler.state_dict()}
        checkpoint.save(self.folder, groups, state)

    def _resume(self) -> None:
        found = checkpoint.load(self.folder)
        log = self.bench.scratch / "log.jsonl"
        if found is None or found[1]["identity"] != self.identity:
            if ranks.rank() == 0:
                trim_log(log, lambda event: event["event"] in _KEPT)
            return
        groups, state = found
        self.model.load_state_dict({**self.model.state_dict(), **groups["model"]})
        self.best = groups["best"]
        self.position = _Position(**state["position"])
        if self.mean is not None:
            self.mean.steps = self.position.averaged
            for name, tensor in self.mean.tensors.items():
                tensor.copy_(groups["mean"][name])
        checkpoint.restore_optimiser(self.optimiser, self.model, groups["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(groups["random"]["cpu"])
        if "cuda" in groups["random"]:
            torch.cuda.set_rng_state(groups["random"]["cuda"], self.bench.device)
        epoch = self.position.epoch
        if ranks.rank() == 0:
            trim_log(log, lambda event: event["event"] != "best" and event.get("epoch", -1) < epoch)
        self.bench.log("resumed", at_epoch=epoch, at_step=self.position.step)


def train_mode(model: nn.Module) -> None:
    """Switch to training, but keep what is wholly frozen as it answers: BatchNorm's statistics belong to its weights."""
    model.train()
    for module in model.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()
