"""What every room that trains a network asks for and does: the settings of training, and the way from a network to an answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field, field_validator

from fieldguide.bench import Bench
from fieldguide.errors import EnvironmentProblem, Problem, UsageProblem, plain
from fieldguide.records import Example
from fieldguide.settings import Settings
from fieldguide.tasks.count import Count, Task

if TYPE_CHECKING:
    from torch import nn

    from fieldguide.craft.anatomy import Count as Parameters
    from fieldguide.craft.defaults import Default
    from fieldguide.craft.feed import Feed
    from fieldguide.craft.loop import Plan
    from fieldguide.craft.pace import Pace
    from fieldguide.craft.trained import Trained
    from fieldguide.data.batches import Preprocessing

Rate = Annotated[float, Field(gt=0, le=10)] | Literal["auto"] | None
#: What is of classes alone, and its value where nothing is asked for.
_OF_CLASSES = {"monitor": ("macro_f1", "accuracy"), "class_weights": ("balanced", "none"), "sampling": ("balanced", "shuffled")}
#: What is asked for nothing else, where things are counted: what a crop cuts off would still be counted.
_WHOLE = {"fit": "squash", "crop": 1.0, "min_area": 1.0}
_BYTES = {"MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}


class Training(Settings):
    """How a network is fine-tuned or trained from scratch; the rooms add which network it is."""

    NAME_FIELD: ClassVar[str | None] = "model"

    model: str = ""
    """Name of the network."""
    weights: str = "none"
    """``none`` (from scratch), or the path of a weights file."""
    train: str = "all"
    """What is trained beside the head: ``all``, ``head`` (nothing else), ``last-N`` (the last N blocks or stages) or ``blocks:I-J`` (from 0)."""
    image_size: int | None = Field(None, ge=8, le=2048)
    """Side of the square input, in pixels; the model's own if not given."""
    epochs: int | None = Field(None, ge=1, le=10_000)
    """Most passes over the training pictures; if not given, 20, and more for a small set, up to 60."""
    batch_size: int = Field(32, ge=1, le=8192)
    """Pictures that go through the network at once."""
    accumulate: int = Field(1, ge=1, le=1024)
    """Batches whose gradients make one step; where memory runs out, batches are halved and this doubles by itself."""
    learning_rate: Rate = None
    """Peak rate of AdamW. If not given, one that suits the network; ``auto``: a range test and a small sweep, judged on validation."""
    head_factor: float = Field(10.0, gt=0, le=1000)
    """How many times faster a new head learns than the weights it was put on; from scratch everything learns alike."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Rate of each block as a part of that of the block above it; 1: all alike."""
    weight_decay: float | None = Field(None, ge=0, le=1)
    """Decay of matrices; norms, biases and what the network names have none. If not given, what suits the network."""
    warmup: float | None = Field(None, ge=0, lt=1)
    """Part of all steps in which the rate rises; if not given, what suits the network."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the rate falls after the warm-up."""
    patience: int = Field(6, ge=1)
    """Epochs without a better `monitor` before training stops."""
    monitor: Literal["accuracy", "macro_f1", "loss"] = "accuracy"
    """What is better on validation: decides the epoch that is kept, and when to stop."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Probability mass spread over the other classes in the training target."""
    class_weights: Literal["none", "balanced"] = "none"
    """Weight of a class in the loss; balanced: inverse to its share of the training pictures."""
    sampling: Literal["shuffled", "balanced"] = "shuffled"
    """Every picture once an epoch, or every class equally often."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay a step of a running mean of the weights, which is then what is validated and kept; 0: none. For example 0.998."""
    clip: float = Field(1.0, ge=0)
    """Largest norm of a step's gradient; 0: any."""
    augment: Literal["crop", "none", "mixes", "turns", "randaugment", "trivialaugment"] = "crop"
    """Random training views: a crop and a mirror, nothing, E1's Mixup and CutMix, E3's small rotations, or a random policy."""
    min_area: float | None = Field(None, gt=0, le=1)
    """Smallest part of a picture that a random training crop shows; 1: no cropping."""
    flip: bool | None = None
    """Mirror half of the training views; switch off where left and right matter (digits, text)."""
    rotate: float | None = Field(None, ge=0, le=180)
    """Training views are turned by up to so many degrees."""
    brightness: float | None = Field(None, ge=0, le=1)
    """Largest random change of brightness in training views, as a part."""
    contrast: float | None = Field(None, ge=0, le=1)
    """Largest random change of contrast in training views, as a part."""
    erase: float | None = Field(None, ge=0, le=1)
    """Probability that a random rectangle of a training view is blanked."""
    mixup: float | None = Field(None, ge=0)
    """Alpha of Mixup; 0: none."""
    cutmix: float | None = Field(None, ge=0)
    """Alpha of CutMix; 0: none. With Mixup, each batch draws one of the two."""
    views: int | None = Field(None, ge=1)
    """Distinct views of each picture: epoch e shows view e modulo this; a new one every epoch if not given."""
    cache: Literal["auto", "on", "off"] = "auto"
    """Keep the activations in front of the first trained block; auto: where that saves time."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the forward pass; auto: three timed steps of each that the hardware has decide."""
    compile: bool = False
    """Compile the network; takes a minute or two first, and gains little on a CPU."""
    memory: str | None = None
    """Refuse to train where the estimated memory is above this, such as ``17 GB``."""
    mean: tuple[float, float, float] | None = None
    """Mean of the three colours, 0 to 1 (``0.5+0.5+0.5`` on the command line); the model's own if not given."""
    std: tuple[float, float, float] | None = None
    """Standard deviation of the three colours; the model's own if not given."""
    interpolation: Literal["nearest", "bilinear", "bicubic"] | None = None
    """How pictures are resized; the model's own if not given."""
    crop: float | None = Field(None, gt=0, le=1)
    """Part of the shorter side kept by the centre crop at evaluation; the model's own if not given."""
    fit: Literal["crop", "squash"] | None = None
    """How a picture fills the square: its middle is cut out, or all of it is squashed; the model's own if not given."""

    @field_validator("std")
    @classmethod
    def _not_zero(cls, value: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
        if value is not None and min(value) <= 0:
            raise ValueError("a standard deviation is above 0")
        return value

    @field_validator("train")
    @classmethod
    def _known_part(cls, value: str) -> str:
        span = re.fullmatch(r"blocks:(\d+)(?:-(\d+))?", value)
        if span and int(span[1]) > int(span[2] or span[1]):
            raise ValueError("the first block of a range comes before the last")
        if value not in ("all", "head") and not span and not re.fullmatch(r"last-[1-9]\d*", value):
            raise ValueError("allowed are all, head, last-N and blocks:I-J")
        return value

    @field_validator("memory")
    @classmethod
    def _an_amount(cls, value: str | None) -> str | None:
        if value is not None:
            amount(value)
        return value


def amount(memory: str) -> int:
    """Return the bytes of ``17 GB`` (also MB, MiB, GiB); raises `ValueError` for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(MB|GB|MiB|GiB)", memory.strip())
    if not found or not float(found[1]):
        raise ValueError("write an amount such as 17 GB or 800 MB")
    return int(float(found[1]) * _BYTES[found[2]])


@dataclass(frozen=True)
class Built:
    """A network that is ready to be trained. `recipe` rebuilds the empty network.

    `described` says in words where its weights came from; `fresh` is true where its head is new and the rest is not.
    """

    network: nn.Module
    recipe: dict[str, Any]
    preprocessing: Preprocessing
    described: str
    fresh: bool


def fit(
    built: Built, train: Sequence[Example], val: Sequence[Example], task: Task, settings: Training, bench: Bench
) -> Trained:
    """Freeze what is not trained, choose what was not asked for, train, and return the best epoch."""
    import torch

    from fieldguide.craft import anatomy, defaults, goals, loop, pace, ranks, rates
    from fieldguide.craft.trained import Trained

    network, own = built.network, built.preprocessing
    counts = anatomy.freeze(network, settings.train)
    suits = defaults.default(network, from_weights=built.fresh, train=settings.train)
    chosen = pace.decided(network, own.size, settings.batch_size, bench, settings.precision)
    plan = _plan(built, settings, suits, chosen, len(train))
    trained, total = sum(count.trained for count in counts), sum(count.total for count in counts)
    bench.log("parts", parts=[vars(count) for count in counts])
    bench.progress.say(_told(counts))
    if settings.memory is not None:
        _require_memory(network, settings, settings.memory, own.size)
    feed = _feed(built, train, val, plan, settings, bench)
    if settings.learning_rate == "auto":
        plan = rates.chosen(network, train, val, task, plan, bench, feed)
    bench.fact(
        kind=defaults.kind_of(network),
        parameters=total,
        trained_parameters=trained,
        precision=chosen.precision,
        layout=chosen.layout,
        learning_rate=plan.learning_rate,
        learning_rate_from="asked for" if isinstance(settings.learning_rate, float) else _found(settings, suits),
        epochs=plan.epochs,
        weight_decay=plan.weight_decay,
        warmup=plan.warmup,
        weights=built.described,
        image_size=own.size,
        processes=ranks.size(),
    )
    torch.manual_seed(bench.seed)
    network = loop.train(network, train, val, task, plan, bench, feed)
    scaling = goals.scaling_of(train, task) if isinstance(task, Count) else None
    return Trained(network, built.recipe, own, task.ids, bench.device, chosen, settings.batch_size, scaling)


S = TypeVar("S", bound=Training)


def suited(settings: S, task: Task) -> S:
    """Return `settings` with whole pictures where things are counted and nothing else is asked for."""
    if not isinstance(task, Count):
        return settings
    return settings.model_copy(update={name: value for name, value in _WHOLE.items() if getattr(settings, name) is None})


def unfit(settings: Training, task: str) -> Problem | None:
    """Return what keeps these settings from a study with this task: what speaks of classes has nothing to say of counts."""
    if task != "count":
        return None
    wrong = {name: usual for name, (given, usual) in _OF_CLASSES.items() if getattr(settings, name) == given}
    if settings.label_smoothing:
        wrong["label_smoothing"] = "0"
    wrong |= {name: "0" for name in ("mixup", "cutmix") if getattr(settings, name)}
    if settings.augment == "mixes":
        wrong["augment"] = "crop"
    if not wrong:
        return None
    (name, usual), *_ = wrong.items()
    return UsageProblem(
        f"Counts cannot be trained with {name}={plain(getattr(settings, name))}: it speaks of classes, and a picture here shows several things.",
        f"Allowed: {name}={usual}, which it is if nothing is given.",
        f"Leave {' and '.join(wrong)} out",
    )


def _require_memory(network: nn.Module, settings: Training, memory: str, size: int) -> None:
    """Raise `EnvironmentProblem` where training would need more than `memory`, as a backward pass of two pictures of noise tells."""
    import copy

    import torch

    from fieldguide.craft.zoo.costs import memory_of

    device = next(network.parameters()).device
    noise = torch.randn(2, 3, size, size, device=device)
    # A copy, because BatchNorm would count the noise among its pictures.
    needed = memory_of(copy.deepcopy(network).train(), noise, settings.batch_size)
    if needed > amount(memory):
        raise EnvironmentProblem(
            f"Training {plain(settings.model)} in batches of {settings.batch_size} needs about {needed / 1e9:.1f} GB; memory = {memory}.",
            "Less is needed with a smaller batch_size (accumulate keeps the step's size), fewer trained blocks or a smaller image_size.",
            f"For example batch_size={max(1, settings.batch_size // 2)},accumulate={settings.accumulate * 2}",
        )


def _found(settings: Training, suits: Default) -> str:
    return "found by a range test and a sweep judged on validation" if settings.learning_rate == "auto" else suits.source


def _plan(built: Built, settings: Training, suits: Default, chosen: Pace, pictures: int) -> Plan:
    """Return the plan of a fit: what was asked for, and what suits the network where nothing was."""
    from fieldguide.craft import anatomy, loop
    from fieldguide.craft.defaults import epochs_for
    from fieldguide.data.augment import augmentation

    names = ("min_area", "flip", "rotate", "brightness", "contrast", "erase", "mixup", "cutmix")
    views = augmentation(settings.augment, **{name: getattr(settings, name) for name in names})
    depth = anatomy.depth_of(built.network)
    top = max(depth.values(), default=0)
    heads = anatomy.anatomy(built.network).head.parameters
    fresh = settings.head_factor if built.fresh and settings.train != "head" else 1.0
    factors = {name: settings.layer_decay ** (top - at) * (fresh if name in heads else 1.0) for name, at in depth.items()}
    given = {
        name: getattr(settings, name) for name in ("accumulate", "schedule", "monitor", "label_smoothing", "class_weights")
    }
    return loop.Plan(
        epochs=settings.epochs or epochs_for(suits.epochs, pictures, settings.batch_size * settings.accumulate),
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate if isinstance(settings.learning_rate, float) else suits.rate,
        weight_decay=suits.decay if settings.weight_decay is None else settings.weight_decay,
        warmup=suits.warmup if settings.warmup is None else settings.warmup,
        patience=settings.patience,
        preprocessing=built.preprocessing,
        augmentation=views,
        pace=chosen,
        factors={name: factor for name, factor in factors.items() if factor != 1},
        sampling=settings.sampling,
        ema=settings.ema,
        clip=settings.clip,
        # Without chance there is but one view, whatever the epoch.
        views=1 if views.still else settings.views,
        compile=settings.compile,
        **given,
    )


def _feed(built: Built, train: Sequence[Example], val: Sequence[Example], plan: Plan, settings: Training, bench: Bench) -> Feed:
    """Return views of pictures, or what comes of them in front of the first trained block where that saves time."""
    from fieldguide.craft import decisions, prefix, ranks
    from fieldguide.craft.feed import Pictures, Serving

    pictures = Pictures(
        [example.image for example in train],
        [example.image for example in val],
        plan.preprocessing,
        plan.augmentation,
        # Views that come again are the same for every fit, so that seeds and sweeps can share what is computed from them.
        bench.seed if plan.views is None else 0,
        Serving(plan.batch_size, bench.device, plan.pace.layout),
    )
    asked = ranks.told(decisions.known(bench).get("cache", settings.cache))
    front, why = prefix.opened(built.network, pictures, plan.pace, bench, plan.epochs, plan.views, asked)
    # Of several processes the first decides: what it finds on disk the others may find a moment later.
    if ranks.told("off" if front is None else "on") == "off":
        front = None
    decisions.remember(bench, "cache", "off" if front is None else "on")
    bench.fact(frozen_front=why if front is None else f"kept: {why}")
    return pictures if front is None else front


def _told(counts: Sequence[Parameters]) -> str:
    """Say what is trained and what is frozen, neighbours of one kind together."""
    trained, total = sum(count.trained for count in counts), sum(count.total for count in counts)
    if trained == total:
        return f"Parameters: all {total:,} are trained."
    kinds = [(0 if not count.trained else 1 if count.trained == count.total else 2, count) for count in counts]
    told = []
    for kind, group in groupby(kinds, key=lambda pair: pair[0]):
        parts = [count for _, count in group]
        names = parts[0].part if len(parts) == 1 else f"{parts[0].part} to {parts[-1].part}"
        size = sum(count.total for count in parts)
        told.append(f"{names} {('frozen', 'trained', 'partly trained')[kind]} ({size:,})")
    return f"Parameters: {trained:,} of {total:,} are trained: {', '.join(told)}."
