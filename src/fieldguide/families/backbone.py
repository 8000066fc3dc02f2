"""Any image network of timm, by its timm name: from scratch, from a local weights file, or with hub weights.

Networks and preprocessing: timm (Ross Wightman, Apache-2.0); each model file there names its paper and licence. The head is replaced
by one for the study's classes; mean, std, size and interpolation are the model's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fieldguide.bench import Bench
from fieldguide.errors import UsageProblem, allowed_names, plain
from fieldguide.families import _training
from fieldguide.records import Estimate, Example
from fieldguide.tasks.classify import Classify

if TYPE_CHECKING:
    from torch import nn

    from fieldguide.craft.trained import Trained
    from fieldguide.families import Sizes

LEARNS = True


class Settings(_training.Training):
    """One network of timm and how it is trained."""

    model: str = "resnet18"
    """Name of the network in timm, with or without a weights tag (``resnet50`` or ``resnet50.a1_in1k``)."""
    weights: str = "hub"
    """``hub`` (cached, or downloaded with --online), ``none`` (from scratch), or the path of a .safetensors file."""
    learning_rate: float | None = Field(None, gt=0, le=10)
    """Peak rate of AdamW. If not given: 1e-3 from scratch; from weights 3e-4, or 5e-5 for a network with attention; 1e-3 for a head alone."""
    patch_size: int | None = Field(None, ge=1, le=64)
    """Side of a patch, in pixels, for vision transformers trained from scratch on small pictures."""
    pad_type: Literal["", "same"] | None = None
    """Padding of convolutions that came from TensorFlow; read from the weights file if it says."""

    @classmethod
    def tiny(cls) -> Settings:
        """Return a 0.4 M parameter ResNet from scratch on 32 px for two epochs."""
        return cls(model="test_resnet", weights="none", image_size=32, epochs=2, batch_size=8, precision="fp32")


def fit(train: Sequence[Example], val: Sequence[Example], task: Classify, settings: Settings, bench: Bench) -> Trained:
    """Build the network, load its weights, freeze what is not trained, train, and return the best epoch."""
    import torch

    from fieldguide.craft import timm_models

    torch.manual_seed(bench.seed)
    source = timm_models.find_weights(settings.model, settings.weights, bench.online)
    recipe = timm_models.recipe(settings, source, len(task.ids))
    network = timm_models.create(recipe)
    if source is not None:
        timm_models.load_weights(network, source)
    built = _training.Built(
        network,
        recipe,
        timm_models.preprocessing(network, settings, source),
        described=settings.weights if source is None else source.described,
        fresh=source is not None,
        rate=_rate(network, settings, from_weights=source is not None),
    )
    return _training.fit(built, train, val, task, settings, bench)


def _rate(network: nn.Module, settings: Settings, from_weights: bool) -> float:
    """Rates of common practice: fine-tuned attention networks fall apart at the rate a CNN needs."""
    if not from_weights or settings.train == "head":
        return 1e-3
    attention = any("attn" in name or "attention" in name for name, _ in network.named_modules())
    return 5e-5 if attention else 3e-4


def load(folder: Path) -> Trained:
    """Rebuild the network from ``model.json`` and load its weights strictly."""
    from fieldguide.craft import timm_models, trained

    return trained.load(folder, timm_models.create)


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
