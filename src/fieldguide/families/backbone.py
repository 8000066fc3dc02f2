"""Any image network of timm, torchvision or transformers, by its name there: from scratch, from a weights file, or with hub weights.

Bare names are timm's (Ross Wightman, Apache-2.0), ``torchvision/NAME`` and ``hf/OWNER/NAME`` or ``hf/FOLDER`` the others'. The head is
replaced by one for the study's classes; mean, std, size, crop and interpolation are the model's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fieldguide.bench import Bench
from fieldguide.errors import Problem
from fieldguide.families import _training
from fieldguide.records import Estimate, Example
from fieldguide.tasks.count import Task

if TYPE_CHECKING:
    from fieldguide.craft.trained import Trained
    from fieldguide.families import Sizes

LEARNS = True
CHANCE = True
TOGETHER = True
TASKS = ("classify", "count")


class Settings(_training.Training):
    """One network and how it is trained."""

    model: str = "resnet18"
    """Name of the network in timm, with or without a weights tag (``resnet50.a1_in1k``), ``torchvision/NAME``, ``hf/OWNER/NAME`` or ``hf/FOLDER``."""
    weights: str = "hub"
    """``hub`` (on this machine, or downloaded with --online), ``none`` (from scratch), or the path of a .safetensors or state dict file."""
    patch_size: int | None = Field(None, ge=1, le=64)
    """Side of a patch, in pixels, for vision transformers trained from scratch on small pictures."""
    pad_type: Literal["", "same"] | None = None
    """Padding of convolutions that came from TensorFlow; read from the weights file if it says."""

    @classmethod
    def tiny(cls) -> Settings:
        """Return a 0.4 M parameter ResNet from scratch on 32 px for two epochs."""
        return cls(model="test_resnet", weights="none", image_size=32, epochs=2, batch_size=8, precision="fp32")


def fit(train: Sequence[Example], val: Sequence[Example], task: Task, settings: Settings, bench: Bench) -> Trained:
    """Build the network, load its weights, freeze what is not trained, train, and return the best epoch."""
    import torch

    from fieldguide.craft import zoo

    settings = _training.suited(settings, task)
    torch.manual_seed(bench.seed)
    source = zoo.find_weights(settings, bench.online)
    network, recipe = zoo.built(settings, source, len(task.ids))
    built = _training.Built(
        network,
        recipe,
        zoo.preprocessing(settings, source),
        described=settings.weights if source is None else source.described,
        fresh=source is not None,
    )
    return _training.fit(built, train, val, task, settings, bench)


def load(folder: Path) -> Trained:
    """Rebuild the network from ``model.json`` and load its weights strictly."""
    from fieldguide.craft import trained, zoo

    return trained.load(folder, zoo.create)


def untuned(settings: Settings, online: bool) -> Trained:
    """Return the network of `settings` as it was published, with its own head and classes; nothing is fitted."""
    from fieldguide.craft import trained, zoo
    from fieldguide.craft.zoo.own import own

    found = own(settings, online)
    return trained.as_published(found.network, found.recipe, zoo.preprocessing(settings, found.source), found.labels)


def knows(name: str) -> bool:
    """Tell whether one of the libraries has a network of this name."""
    from fieldguide.craft import zoo

    return zoo.knows(name)


def names() -> list[str]:
    """Return all network names of timm and torchvision."""
    from fieldguide.craft import zoo

    return zoo.names()


def check(settings: Settings, online: bool) -> None:
    """Raise now what would stop the fit later: an unknown network, or weights that are not there."""
    from fieldguide.craft import zoo

    zoo.require(settings.model)
    zoo.find_weights(settings, online)


def unfit(settings: Settings, task: str) -> Problem | None:
    """Return what keeps these settings from a study with this task."""
    return _training.unfit(settings, task)


def pixels(settings: Settings) -> int:
    """Return the size it asks the store for, before the centre crop."""
    from fieldguide.craft import zoo

    return zoo.planned(settings).resize


def estimate(settings: Settings, task: Task, sizes: Sizes) -> Estimate:
    """Time two training steps of random pictures and scale up; memory from parameters and saved activations."""
    from fieldguide.craft import zoo

    return zoo.probe(settings, len(task.ids), sizes)
