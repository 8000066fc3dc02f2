"""VMamba, a state-space network for pictures: from scratch in any size, or fine-tuned from an official or own weights file.

Network: Liu et al., arXiv 2401.10166; plain PyTorch, nothing to build. Training is that of every network here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from fieldguide.bench import Bench
from fieldguide.errors import Problem, UsageProblem, allowed_names, plain
from fieldguide.families import _training
from fieldguide.records import Estimate, Example
from fieldguide.tasks.count import Task

if TYPE_CHECKING:
    from fieldguide.craft.trained import Trained
    from fieldguide.craft.vmamba_net import Shape, VMamba
    from fieldguide.craft.zoo.weights import Source
    from fieldguide.data.batches import Preprocessing
    from fieldguide.families import Sizes

LEARNS = True
CHANCE = True
TOGETHER = True
TASKS = ("classify", "count")
#: The name of a network whose size is its file's, or that of `depths`, `dim` and `ratio`.
OWN = "own"


class Settings(_training.Training):
    """One VMamba and how it is trained."""

    model: str = OWN
    """Published size: ``tiny``, ``tiny_s2l5``, ``small``, ``small_s1l20``, ``base``, ``base_s1l20``; ``own``: as the file is, or as given here."""
    weights: str = "none"
    """``none`` (from scratch), ``hub`` (the official file of a published size), or the path of a .safetensors or official .pth file."""
    depths: tuple[int, int, int, int] | None = None
    """Blocks of the four stages of an own network (``1+1+2+1`` on the command line); 1, 1, 2, 1 if not given."""
    dim: int | None = Field(None, ge=4, le=512, multiple_of=2)
    """Channels of the first stage of an own network, doubled by each later one; 32 if not given."""
    ratio: int | None = Field(None, ge=1, le=4)
    """How many times wider than its map the scan of an own network is; 1 if not given."""
    drop_path: float | None = Field(None, ge=0, lt=1)
    """Largest share of pictures for which a branch is left out in training; if not given, the published size's, and 0 for an own one."""
    scan: Literal["auto", "steps", "lines", "numba"] = "auto"
    """How the recurrence is walked: pixel by pixel, line by line, or compiled by the extra numba; auto: by device and width."""

    @field_validator("depths")
    @classmethod
    def _some_blocks(cls, value: tuple[int, int, int, int] | None) -> tuple[int, int, int, int] | None:
        if value is not None and not 1 <= min(value) <= max(value) <= 64:
            raise ValueError("a stage has 1 to 64 blocks")
        return value

    @model_validator(mode="after")
    def _sized_once(self) -> Self:
        given = [name for name in ("depths", "dim", "ratio") if getattr(self, name) is not None]
        if given and (self.model != OWN or self.weights != "none"):
            raise ValueError(f"{given[0]} is for model={OWN} and weights=none; a published size or a file has its own")
        return self

    @classmethod
    def tiny(cls) -> Settings:
        """Return a 50,000 parameter network from scratch on 32 px for two epochs."""
        return cls(depths=(1, 1, 1, 1), dim=8, image_size=32, epochs=2, batch_size=8, precision="fp32")


def fit(train: Sequence[Example], val: Sequence[Example], task: Task, settings: Settings, bench: Bench) -> Trained:
    """Build the network, load its weights, freeze what is not trained, train, and return the best epoch."""
    import torch

    settings = _training.suited(settings, task)
    torch.manual_seed(bench.seed)
    source = _source(settings, bench.online)
    network = _network(settings, source, len(task.ids))
    loaded = source is not None
    built = _training.Built(
        network,
        _recipe(network, settings),
        _preprocessing(settings, source),
        described=source.described if source else "none",
        fresh=loaded,
    )
    return _training.fit(built, train, val, task, settings, bench)


def load(folder: Path) -> Trained:
    """Rebuild the network from ``model.json`` and load its weights strictly."""
    from fieldguide.craft import trained

    return trained.load(folder, _create)


def untuned(settings: Settings, online: bool) -> Trained:
    """Return the network of a weights file with its own head, its classes numbered; raises `UsageProblem` without a file."""
    from fieldguide.craft import trained, vmamba_net
    from fieldguide.craft.zoo.own import nothing_learned, numbered
    from fieldguide.craft.zoo.weights import read_state

    source = _source(settings, online)
    if source is None:
        raise nothing_learned(f"vmamba/{settings.model}")
    _shape(settings, source, classes=2)
    network = vmamba_net.from_state(read_state(source.path), source.path.name).walk(settings.scan)
    recipe, labels = _recipe(network, settings), numbered(network.shape.classes)
    return trained.as_published(network, recipe, _preprocessing(settings, source), labels)


def check(settings: Settings, online: bool) -> None:
    """Raise now what would stop the fit later: an unknown size, a file that is not there or does not fit, a missing extra."""
    from fieldguide.craft.scan import available

    _shape(settings, _source(settings, online), classes=2)
    available(settings.scan)


def unfit(settings: Settings, task: str) -> Problem | None:
    """Return what keeps these settings from a study with this task."""
    return _training.unfit(settings, task)


def pixels(settings: Settings) -> int:
    """Return the size it asks the store for, before the centre crop."""
    return _preprocessing(settings, _source(settings)).resize


def estimate(settings: Settings, task: Task, sizes: Sizes) -> Estimate:
    """Time two training steps of random pictures and scale up; memory from parameters and saved activations."""
    from fieldguide.craft.pace import placed
    from fieldguide.craft.vmamba_net import VMamba
    from fieldguide.craft.zoo.costs import measured

    source = _source(settings)
    network = VMamba(_shape(settings, source, len(task.ids)), way=settings.scan)
    return measured(placed(network, "cpu"), _preprocessing(settings, source).size, settings, sizes)


def _source(settings: Settings, online: bool = False) -> Source | None:
    """Return the weights file with what it says of itself, or `None` for a network from scratch."""
    from fieldguide.craft import vmamba_files
    from fieldguide.craft.zoo import weights

    if settings.weights == "none":
        return None
    return vmamba_files.official(settings.model, online) if settings.weights == "hub" else weights.located(settings.weights)


def _shape(settings: Settings, source: Source | None, classes: int) -> Shape:
    """Return the shape that was asked for; raises where it is unknown, or where the file's is another."""
    import dataclasses

    from fieldguide.craft import vmamba_net
    from fieldguide.craft.zoo.weights import read_state

    sizes = vmamba_net.SIZES
    if settings.model != OWN and settings.model not in sizes:
        raise UsageProblem(
            f"There is no VMamba called {plain(settings.model)!r}.",
            allowed_names(settings.model, [OWN, *sizes]),
            "Write one of these names; settings follow after a colon.",
        )
    if source is None:
        own = vmamba_net.Shape(settings.depths or (1, 1, 2, 1), settings.dim or 32, settings.ratio or 1)
        return dataclasses.replace(own if settings.model == OWN else sizes[settings.model][0], classes=classes)
    found = dataclasses.replace(vmamba_net.fitting(read_state(source.path), source.path.name), classes=classes)
    wanted = found if settings.model == OWN else dataclasses.replace(sizes[settings.model][0], classes=classes)
    if found != wanted:
        name = next((name for name, (size, _) in sizes.items() if dataclasses.replace(size, classes=classes) == found), OWN)
        raise UsageProblem(
            f"{plain(source.path.name)} is no VMamba {settings.model}: it has {_told(found)}, not {_told(wanted)}.",
            f"Allowed for this file: {name}.",
            f"For example vmamba/{name}:weights={plain(settings.weights)}",
        )
    return found


def _told(shape: Shape) -> str:
    return f"depths {'+'.join(map(str, shape.depths))}, dim {shape.dim}, ratio {shape.ratio:g}"


def _network(settings: Settings, source: Source | None, classes: int) -> VMamba:
    """Return the network with its weights; on those of a file a new head is put, all zeros."""
    from torch import nn

    from fieldguide.craft import vmamba_net
    from fieldguide.craft.zoo.weights import read_state

    shape = _shape(settings, source, classes)
    dropped = vmamba_net.SIZES[settings.model][1] if settings.model in vmamba_net.SIZES else 0.0
    dropped = dropped if settings.drop_path is None else settings.drop_path
    if source is None:
        return vmamba_net.VMamba(shape, dropped, settings.scan)
    network = vmamba_net.from_state(read_state(source.path), source.path.name, classes, dropped)
    # A file with as many classes as the study has other classes all the same.
    for parameter in network.get_submodule(vmamba_net.HEAD).parameters():
        nn.init.zeros_(parameter)
    return network.walk(settings.scan)


def _recipe(network: VMamba, settings: Settings) -> dict[str, Any]:
    import dataclasses

    return {**dataclasses.asdict(network.shape), "scan": settings.scan}


def _create(recipe: dict[str, Any]) -> VMamba:
    from fieldguide.craft.vmamba_net import Shape, VMamba

    shape = {name: value for name, value in recipe.items() if name != "scan"}
    return VMamba(Shape(**{**shape, "depths": tuple(recipe["depths"])}), way=recipe["scan"])


def _preprocessing(settings: Settings, source: Source | None) -> Preprocessing:
    from fieldguide.craft.vmamba_net import CONFIGURATION
    from fieldguide.craft.zoo import looks

    return looks.described(CONFIGURATION, settings, source.says if source else {})
