"""Any image network of timm, by its timm name: from scratch, from a local weights file, or with hub weights.

Networks and preprocessing: timm (Ross Wightman, Apache-2.0); each model file there names its paper and licence. The head is replaced
by one for the study's classes; mean, std, size and interpolation are the model's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from fieldguide.bench import Bench
from fieldguide.errors import UsageProblem, allowed_names, plain
from fieldguide.files import read_json, write_json
from fieldguide.records import Estimate, Example, Image, Prediction
from fieldguide.settings import Settings as Base
from fieldguide.tasks.classify import Classify

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from fieldguide.data.batches import Preprocessing
    from fieldguide.families import Sizes

LEARNS = True


class Settings(Base):
    """One network of timm and how it is trained."""

    NAME_FIELD: ClassVar[str | None] = "model"

    model: str = "resnet18"
    """Name of the network in timm, with or without a weights tag (``resnet50`` or ``resnet50.a1_in1k``)."""
    weights: str = "hub"
    """``hub`` (cached, or downloaded with --online), ``none`` (from scratch), or the path of a .safetensors file."""
    train: str = "all"
    """What is trained: ``all``, ``head``, or ``last-N`` (the last N blocks or stages, and the head)."""
    image_size: int | None = Field(None, ge=8, le=2048)
    """Side of the square input, in pixels; the model's own if not given."""
    patch_size: int | None = Field(None, ge=1, le=64)
    """Side of a patch, in pixels, for vision transformers trained from scratch on small pictures."""
    epochs: int = Field(20, ge=1, le=10_000)
    """Most passes over the training pictures."""
    batch_size: int = Field(32, ge=1, le=8192)
    """Pictures a step."""
    learning_rate: float | None = Field(None, gt=0, le=10)
    """Peak rate of AdamW. If not given: 1e-3 from scratch; from weights 3e-4, or 5e-5 for a network with attention; 1e-3 for a head alone."""
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
    pad_type: Literal["", "same"] | None = None
    """Padding of convolutions that came from TensorFlow; read from the weights file if it says."""
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

    @classmethod
    def tiny(cls) -> Settings:
        """Return a 0.4 M parameter ResNet from scratch on 32 px for two epochs."""
        return cls(model="test_resnet", weights="none", image_size=32, epochs=2, batch_size=8, precision="fp32")


@dataclass(frozen=True)
class Backbone:
    """A trained network with its preprocessing and class ids. `recipe` rebuilds the empty network."""

    network: nn.Module
    recipe: dict[str, Any]
    preprocessing: Preprocessing
    ids: tuple[str, ...]
    device: str
    precision: Literal["fp32", "bf16"]
    batch_size: int

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield answers with softmax probabilities."""
        import torch

        from fieldguide.craft.answering import answer, softmax
        from fieldguide.craft.loop import autocast

        @torch.inference_mode()
        def probabilities(pixels: Tensor) -> NDArray[np.float64]:
            with autocast(self.device, self.precision):
                logits = self.network(pixels.to(self.device, memory_format=torch.channels_last))
            return softmax(logits.double().cpu().numpy())

        return answer(images, self.preprocessing, self.batch_size, self.ids, probabilities)

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``model.json`` (network, preprocessing, classes)."""
        from safetensors.torch import save_file

        from fieldguide.data.batches import as_dict

        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.network.state_dict().items()}
        save_file(tensors, folder / "model.safetensors")
        described = {"recipe": self.recipe, "preprocessing": as_dict(self.preprocessing), "classes": self.ids}
        write_json(folder / "model.json", {**described, "precision": self.precision, "batch_size": self.batch_size})


def fit(train: Sequence[Example], val: Sequence[Example], task: Classify, settings: Settings, bench: Bench) -> Backbone:
    """Build the network, load its weights, freeze what is not trained, train, and return the best epoch."""
    import torch

    from fieldguide.craft import loop, timm_models
    from fieldguide.data.batches import Augmentation

    torch.manual_seed(bench.seed)
    source = timm_models.find_weights(settings.model, settings.weights, bench.online)
    recipe = timm_models.recipe(settings, source, len(task.ids))
    network = timm_models.create(recipe)
    if source is not None:
        timm_models.load_weights(network, source)
    preprocessing = timm_models.preprocessing(network, settings, source)
    trained, total = timm_models.freeze(network, settings.train)
    precision = decided(bench, settings)
    plan = loop.Plan(
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate or _rate(network, settings, from_weights=source is not None),
        weight_decay=settings.weight_decay,
        warmup=settings.warmup,
        patience=settings.patience,
        label_smoothing=settings.label_smoothing,
        precision=precision,
        preprocessing=preprocessing,
        augmentation=Augmentation(min_area=settings.min_area, flip=settings.flip),
        fresh=timm_models.head_names(network) if source is not None and settings.train != "head" else (),
        fresh_factor=settings.head_factor,
    )
    bench.fact(
        parameters=total,
        trained_parameters=trained,
        precision=precision,
        learning_rate=plan.learning_rate,
        weights=settings.weights if source is None else source.described,
        image_size=preprocessing.size,
    )
    network = loop.train(network, train, val, task, plan, bench)
    return Backbone(network, recipe, preprocessing, task.ids, bench.device, precision, settings.batch_size)


def decided(bench: Bench, settings: Settings) -> Literal["fp32", "bf16"]:
    """Return the precision; decided once, written down before it is used, and replayed by every later sitting."""
    from fieldguide.craft.loop import native_precision

    path = bench.scratch / "decisions.json"
    if not path.exists():
        chosen = native_precision(bench.device) if settings.precision == "auto" else settings.precision
        write_json(path, {"precision": chosen, "asked": settings.precision})
    precision: Literal["fp32", "bf16"] = read_json(path)["precision"]
    return precision


def _rate(network: nn.Module, settings: Settings, from_weights: bool) -> float:
    """Rates of common practice: fine-tuned attention networks fall apart at the rate a CNN needs."""
    if not from_weights or settings.train == "head":
        return 1e-3
    attention = any("attn" in name or "attention" in name for name, _ in network.named_modules())
    return 5e-5 if attention else 3e-4


def load(folder: Path) -> Backbone:
    """Rebuild the network from ``model.json`` and load its weights strictly."""
    import torch
    from safetensors.torch import load_file

    from fieldguide.craft import loop, timm_models
    from fieldguide.data.batches import from_dict

    values = read_json(folder / "model.json")
    network = timm_models.create(values["recipe"])
    network.load_state_dict(load_file(folder / "model.safetensors"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = loop.placed(network, device).eval()
    ids = tuple(values["classes"])
    return Backbone(
        network, values["recipe"], from_dict(values["preprocessing"]), ids, device, values["precision"], values["batch_size"]
    )


def knows(name: str) -> bool:
    """Tell whether timm has a network of this name."""
    import timm

    return bool(timm.is_model(name))


def names() -> list[str]:
    """Return all network names of timm."""
    import timm

    return list(timm.list_models())


def check(settings: Settings, online: bool) -> None:
    """Raise now what would stop the fit later: an unknown network, or weights that are not there."""
    from fieldguide.craft import timm_models

    if not knows(settings.model):
        raise UsageProblem(
            f"timm has no network called {plain(settings.model)!r}.",
            allowed_names(settings.model, names()),
            "Write one of these names; settings follow after a colon.",
        )
    timm_models.find_weights(settings.model, settings.weights, online)


def pixels(settings: Settings) -> int:
    """Return the size it asks the store for, before the centre crop."""
    from fieldguide.craft import timm_models

    return timm_models.planned(settings).resize


def estimate(settings: Settings, task: Classify, sizes: Sizes) -> Estimate:
    """Time two training steps of random pictures and scale up; memory from parameters and saved activations."""
    from fieldguide.craft import timm_models

    return timm_models.probe(settings, len(task.ids), sizes)
