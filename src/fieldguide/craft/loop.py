"""The training loop, to be read aloud: AdamW, cosine with warm-up, early stop on validation, best epoch kept, exact resume.

Order and views of an epoch are functions of (seed, epoch), so a checkpoint needs only tensors, the random state of dropout and
the position. Killed at any moment, the same call goes on to the same weights (bit for bit on a CPU with as many threads).
AdamW: Loshchilov and Hutter, arXiv 1711.05101. Cosine: arXiv 1608.03983.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fieldguide.bench import Bench, trim_log
from fieldguide.craft import checkpoint
from fieldguide.data.batches import (
    Augmentation,
    Batch,
    Preprocessing,
    draw_order,
    draw_views,
    evaluation_batches,
    prepare,
    training_batches,
)
from fieldguide.errors import EnvironmentProblem
from fieldguide.files import digest
from fieldguide.records import Example
from fieldguide.tasks.classify import Classify

Precision = Literal["fp32", "bf16"]
#: Validation views are kept in memory between epochs up to this size.
_HELD_BYTES = 256 * 2**20
#: A long epoch writes a checkpoint this often, in seconds; every epoch ends with one.
CHECKPOINT_SECONDS = 120.0


@dataclass(frozen=True)
class Plan:
    """All that shapes a training run; the checkpoint of another plan is not resumed. `warmup` is a part of all steps.

    Parameters whose names begin with one of `fresh` (a new head on old weights) learn `fresh_factor` times faster.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float
    patience: int
    label_smoothing: float
    precision: Precision
    preprocessing: Preprocessing
    augmentation: Augmentation
    fresh: tuple[str, ...] = ()
    fresh_factor: float = 1.0


@dataclass
class _Position:
    """Where a run is: the next step of an epoch, sums over the steps before it, and the best epoch so far."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    pictures: int = 0
    seconds: float = 0.0
    best_epoch: int = -1
    best_rank: tuple[float, float] = (-1.0, -math.inf)
    finished: bool = False


def placed(model: nn.Module, device: str) -> nn.Module:
    """Move a network to its device with channels last, which convolutions prefer and attention does not mind."""
    return model.to(device).to(memory_format=torch.channels_last)


def steps_of(pictures: int, batch_size: int) -> int:
    """Return the steps of an epoch; a single picture that would be left for the last one is another in every epoch, and sits it out.

    BatchNorm cannot train on a batch of one, once the picture has shrunk to one position.
    """
    steps, rest = divmod(pictures, batch_size)
    return steps + (rest > 1 or (rest == 1 and steps == 0))


def native_precision(device: str) -> Precision:
    """Return ``"bf16"`` where the hardware multiplies it natively, else ``"fp32"``."""
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    able = torch.cpu.get_capabilities() if device == "cpu" else {}
    return "bf16" if able.get("amx_bf16") or able.get("avx512_bf16") else "fp32"


def autocast(device: str, precision: Precision) -> AbstractContextManager[Any]:
    """Return the context in which a forward pass runs at `precision`."""
    return torch.autocast(device.split(":")[0], dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def train(
    model: nn.Module, train: Sequence[Example], val: Sequence[Example], task: Classify, plan: Plan, bench: Bench
) -> nn.Module:
    """Train the parameters of `model` that require gradients; return it with the weights of its best epoch, in eval mode.

    `model` maps ``"pictures 3 size size"`` to logits ``"pictures classes"``. The best epoch has the highest validation
    accuracy, then the lowest validation loss; without validation pictures the last epoch is kept.
    """
    return _Run(model, train, val, task, plan, bench).go()


class _Run:
    """The state of one training run."""

    def __init__(
        self, model: nn.Module, train: Sequence[Example], val: Sequence[Example], task: Classify, plan: Plan, bench: Bench
    ) -> None:
        self.model, self.plan, self.bench = placed(model, bench.device), plan, bench
        self.images = [example.image for example in train]
        self.targets = torch.tensor([task.index[str(example.label)] for example in train])
        self.val_images = [example.image for example in val]
        self.val_targets = torch.tensor([task.index[str(example.label)] for example in val], dtype=torch.long)
        prepare([*self.images, *self.val_images], plan.preprocessing.resize)
        self.optimiser = torch.optim.AdamW(_parameter_groups(model, plan), lr=plan.learning_rate, fused=True)
        self.steps = steps_of(len(self.images), plan.batch_size)
        self.position = _Position()
        self.best = _copy(model)
        self.path = bench.scratch / "checkpoint.safetensors"
        self.identity = digest(asdict(plan), [image.key for image in self.images], self.targets.tolist(), bench.seed)
        self.held: list[Batch] | None = None

    def go(self) -> nn.Module:
        self._resume()
        done = self.position.epoch * self.steps + self.position.step
        with self.bench.progress.bar("train", self.plan.epochs * self.steps) as bar:
            bar.advance(done)
            while not self.position.finished:
                self._epoch(bar.advance)
        self.model.load_state_dict(self.best)
        self.bench.log("best", epoch=self.position.best_epoch)
        return self.model.eval()

    def _epoch(self, advance: Callable[..., None]) -> None:
        here, plan = self.position, self.plan
        started = saved = time.perf_counter()
        _train_mode(self.model)
        with closing(self._batches()) as batches:  # whatever ends the epoch ends the threads that cut ahead
            for number, batch in enumerate(batches, start=here.step):
                self._set_rate(here.epoch * self.steps + number)
                loss = self._step(batch)
                here.step, here.loss_sum, here.pictures = (
                    number + 1,
                    here.loss_sum + loss * len(batch.images),
                    here.pictures + len(batch.images),
                )
                advance(note=f"epoch {here.epoch} loss {here.loss_sum / here.pictures:.3f}")
                if time.perf_counter() - saved > CHECKPOINT_SECONDS:
                    here.seconds += time.perf_counter() - started
                    started = saved = time.perf_counter()
                    self._save()
        accuracy, val_loss = self._validate()
        rank = (accuracy, -val_loss) if self.val_images else (float(here.epoch), 0.0)
        if rank > here.best_rank:
            here.best_rank, here.best_epoch = rank, here.epoch
            self.best = _copy(self.model)
        stale = here.epoch - here.best_epoch
        self.bench.log(
            "epoch",
            epoch=here.epoch,
            train_loss=here.loss_sum / here.pictures,
            val_loss=val_loss if self.val_images else None,
            val_accuracy=accuracy if self.val_images else None,
            learning_rate=self._rate((here.epoch + 1) * self.steps - 1),
            seconds=here.seconds + time.perf_counter() - started,
        )
        here.epoch, here.step, here.loss_sum, here.pictures, here.seconds = here.epoch + 1, 0, 0.0, 0, 0.0
        here.finished = here.epoch >= plan.epochs or (bool(self.val_images) and stale >= plan.patience)
        self._save()

    def _batches(self) -> Generator[Batch]:
        """Yield the batches of this epoch from the current position on."""
        here, plan = self.position, self.plan
        order = draw_order(len(self.images), self.bench.seed, here.epoch)
        views = draw_views(len(self.images), plan.augmentation, self.bench.seed, here.epoch)
        rest = order[here.step * plan.batch_size : self.steps * plan.batch_size]
        return training_batches(self.images, rest, views, plan.preprocessing, plan.batch_size, self.bench.device)

    def _step(self, batch: Batch) -> float:
        targets = self.targets[list(batch.rows)].to(self.bench.device)
        with autocast(self.bench.device, self.plan.precision):
            logits = self.model(_to_device(batch.pixels, self.bench.device))
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=self.plan.label_smoothing)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise EnvironmentProblem(
                f"Training diverged: the loss is {value} in epoch {self.position.epoch}.",
                f"The learning rate was {self.plan.learning_rate:g} at precision {self.plan.precision}.",
                f"Try learning_rate={self.plan.learning_rate / 10:g} or precision=fp32.",
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        return value

    def _rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from the first of the run."""
        total = self.steps * self.plan.epochs
        warm = max(1, round(self.plan.warmup * total))
        part = (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
        return self.plan.learning_rate * part

    def _set_rate(self, step: int) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(step) * group["factor"]

    @torch.inference_mode()
    def _validate(self) -> tuple[float, float]:
        """Return accuracy and mean loss on validation."""
        if not self.val_images:
            return 0.0, 0.0
        self.model.eval()
        logits = torch.cat([self._logits(batch) for batch in self._validation_batches()])
        loss = float(F.cross_entropy(logits, self.val_targets))
        return float((logits.argmax(dim=1) == self.val_targets).double().mean()), loss

    def _logits(self, batch: Batch) -> Tensor:
        for _, error in batch.failed:
            raise error
        with autocast(self.bench.device, self.plan.precision):
            logits: Tensor = self.model(_to_device(batch.pixels, self.bench.device))
        return logits.float().cpu()

    def _validation_batches(self) -> Sequence[Batch] | Iterator[Batch]:
        if self.held is not None:
            return self.held
        batches = evaluation_batches(self.val_images, self.plan.preprocessing, self.plan.batch_size)
        if len(self.val_images) * self.plan.preprocessing.size**2 * 12 > _HELD_BYTES:
            return batches
        self.held = list(batches)
        return self.held

    def _save(self) -> None:
        state = {"identity": self.identity, "position": asdict(self.position)}
        random = {"cpu": torch.get_rng_state()}
        if self.bench.device.startswith("cuda"):
            random["cuda"] = torch.cuda.get_rng_state(self.bench.device)
        groups = {
            "model": _copy(self.model),
            "best": self.best,
            "optimiser": checkpoint.optimiser_tensors(self.optimiser, self.model),
            "random": random,
        }
        checkpoint.save(self.path, groups, state)

    def _resume(self) -> None:
        found = checkpoint.load(self.path)
        if found is None or found[1]["identity"] != self.identity:
            trim_log(self.bench.scratch / "log.jsonl", lambda event: event["event"] in ("sitting", "fact"))
            return
        groups, state = found
        self.model.load_state_dict(groups["model"])
        self.best = groups["best"]
        checkpoint.restore_optimiser(self.optimiser, self.model, groups["optimiser"])
        torch.set_rng_state(groups["random"]["cpu"])
        if "cuda" in groups["random"]:
            torch.cuda.set_rng_state(groups["random"]["cuda"], self.bench.device)
        self.position = _Position(**{**state["position"], "best_rank": tuple(state["position"]["best_rank"])})
        epoch = self.position.epoch
        trim_log(self.bench.scratch / "log.jsonl", lambda event: event["event"] != "best" and event.get("epoch", -1) < epoch)
        self.bench.log("resumed", at_epoch=epoch, at_step=self.position.step)


def _parameter_groups(model: nn.Module, plan: Plan) -> list[dict[str, Any]]:
    """Decay matrices only: norms, biases, other vectors and what the network names are left alone.

    Fresh parameters have a rate of their own.
    """
    # timm's networks name their position embeddings and class tokens, VMamba its decays and step biases.
    named: Any = getattr(model, "no_weight_decay", frozenset)
    spared = frozenset(named())
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            matrix = parameter.ndim > 1 and name not in spared
            groups.setdefault((matrix, name.startswith(plan.fresh)), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": plan.weight_decay if matrix else 0.0,
            "factor": plan.fresh_factor if fresh else 1.0,
        }
        for (matrix, fresh), parameters in groups.items()
    ]


def _train_mode(model: nn.Module) -> None:
    """Switch to training, but keep frozen BatchNorm as it is: its statistics belong to its weights."""
    model.train()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and own and not any(p.requires_grad for p in own):
            module.eval()


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _to_device(pixels: Tensor, device: str) -> Tensor:
    return pixels.to(device, memory_format=torch.channels_last, non_blocking=True)
