"""What every room that trains a network asks for and does: the settings of training, and the way from a network to an answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from fieldguide.bench import Bench
from fieldguide.records import Example
from fieldguide.settings import Settings
from fieldguide.tasks.classify import Classify

if TYPE_CHECKING:
    from torch import nn

    from fieldguide.craft.trained import Trained
    from fieldguide.data.batches import Preprocessing


class Training(Settings):
    """How a network is fine-tuned or trained from scratch; the rooms add which network it is."""

    NAME_FIELD: ClassVar[str | None] = "model"

    model: str = ""
    """Name of the network."""
    weights: str = "none"
    """``none`` (from scratch), or the path of a weights file."""
    train: str = "all"
    """What is trained: ``all``, ``head``, or ``last-N`` (the last N blocks or stages, and the head)."""
    image_size: int | None = Field(None, ge=8, le=2048)
    """Side of the square input, in pixels; the model's own if not given."""
    epochs: int = Field(20, ge=1, le=10_000)
    """Most passes over the training pictures."""
    batch_size: int = Field(32, ge=1, le=8192)
    """Pictures a step."""
    learning_rate: float | None = Field(None, gt=0, le=10)
    """Peak rate of AdamW. If not given, one that suits the network and where its weights come from."""
    head_factor: float = Field(10.0, gt=0, le=1000)
    """How many times faster a new head learns than the weights it was put on; from scratch everything learns alike."""
    weight_decay: float = Field(0.05, ge=0, le=1)
    """Decay of matrices; norms and biases have none."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Part of all steps in which the rate rises; then it falls along a cosine."""
    patience: int = Field(6, ge=1)
    """Epochs without a better validation accuracy before training stops."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Probability mass spread over the other classes in the training target."""
    min_area: float = Field(0.5, gt=0, le=1)
    """Smallest part of a picture that a random training crop shows; 1 for no cropping."""
    flip: bool = True
    """Mirror half of the training views; switch off where left and right matter (digits, text)."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the forward pass; auto: bf16 where the hardware has it."""
    mean: tuple[float, float, float] | None = None
    """Mean of the three colours, 0 to 1 (``0.5+0.5+0.5`` on the command line); the model's own if not given."""
    std: tuple[float, float, float] | None = None
    """Standard deviation of the three colours; the model's own if not given."""
    interpolation: Literal["nearest", "bilinear", "bicubic"] | None = None
    """How pictures are resized; the model's own if not given."""
    crop: float | None = Field(None, gt=0, le=1)
    """Part of the shorter side kept by the centre crop at evaluation; the model's own if not given."""

    @field_validator("std")
    @classmethod
    def _not_zero(cls, value: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
        if value is not None and min(value) <= 0:
            raise ValueError("a standard deviation is above 0")
        return value

    @field_validator("train")
    @classmethod
    def _known_part(cls, value: str) -> str:
        if value not in ("all", "head") and not re.fullmatch(r"last-[1-9]\d*", value):
            raise ValueError("allowed are all, head and last-N")
        return value


@dataclass(frozen=True)
class Built:
    """A network that is ready to be trained. `recipe` rebuilds the empty network, `rate` is its learning rate if none is asked for.

    `described` says in words where its weights came from; `fresh` is true where its head is new and the rest is not.
    """

    network: nn.Module
    recipe: dict[str, Any]
    preprocessing: Preprocessing
    described: str
    fresh: bool
    rate: float


def fit(
    built: Built, train: Sequence[Example], val: Sequence[Example], task: Classify, settings: Training, bench: Bench
) -> Trained:
    """Freeze what is not trained, train, and return the best epoch."""
    from fieldguide.craft import loop, timm_models
    from fieldguide.craft.trained import Trained, decided
    from fieldguide.data.batches import Augmentation

    network = built.network
    trained, total = timm_models.freeze(network, settings.train)
    precision = decided(bench, settings.precision)
    plan = loop.Plan(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate or built.rate,
        weight_decay=settings.weight_decay,
        warmup=settings.warmup,
        patience=settings.patience,
        label_smoothing=settings.label_smoothing,
        precision=precision,
        preprocessing=built.preprocessing,
        augmentation=Augmentation(min_area=settings.min_area, flip=settings.flip),
        fresh=timm_models.head_names(network) if built.fresh and settings.train != "head" else (),
        fresh_factor=settings.head_factor,
    )
    bench.fact(
        parameters=total,
        trained_parameters=trained,
        precision=precision,
        learning_rate=plan.learning_rate,
        weights=built.described,
        image_size=built.preprocessing.size,
    )
    network = loop.train(network, train, val, task, plan, bench)
    return Trained(network, built.recipe, built.preprocessing, task.ids, bench.device, precision, settings.batch_size)
