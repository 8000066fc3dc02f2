"""Networks of torchvision (BSD-3-Clause) as ``torchvision/NAME``, with a tag for other weights than its default: ``resnet50.imagenet1k_v1``."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from fieldguide.craft.zoo import weights as files
from fieldguide.craft.zoo.borrowed import Borrowed
from fieldguide.craft.zoo.looks import share
from fieldguide.craft.zoo.wanted import Wanted
from fieldguide.craft.zoo.weights import Source
from fieldguide.errors import UsageProblem, allowed_names, out_of_memory, plain

PREFIX = "torchvision/"
#: Classifiers that help only while ImageNet is learnt; their tensors are in the files, and in no network here.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
#: Files of the first densenets number the layers of a pair in another way than the network does.
_OLD_DENSE = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$")


def knows(name: str) -> bool:
    """Tell whether torchvision has a classifier of this name (without the prefix), whatever its weights tag."""
    return name.partition(".")[0] in names()


def names() -> list[str]:
    """Return the names of all classifiers, without the prefix."""
    return list(models.list_models(module=models))


def published(name: str) -> Any:
    """Return the weights entry of ``NAME`` (its default) or ``NAME.TAG``; `None` where none are published.

    Raises `UsageProblem` for an unknown tag.
    """
    bare, _, tag = name.removeprefix(PREFIX).partition(".")
    entries = {entry.name.casefold(): entry for entry in models.get_model_weights(bare)}
    if not tag:
        return models.get_model_weights(bare).DEFAULT if entries else None
    if tag.casefold() not in entries:
        raise UsageProblem(
            f"torchvision has no weights {plain(tag)!r} for {plain(bare)}.",
            allowed_names(tag, entries) if entries else "Allowed: the name without a tag, and weights=none or weights=FILE.",
            f"Write {PREFIX}{plain(bare)} for its default weights.",
        )
    return entries[tag.casefold()]


def find(settings: Wanted, online: bool) -> Source:
    """Return the published weights from torch's cache folder, fetched into it if `online`."""
    entry = published(settings.model)
    if entry is None:
        raise UsageProblem(
            f"torchvision publishes no weights for {plain(settings.model)}.",
            "Allowed: weights=none (from scratch) or weights=FILE.",
            f"For example {plain(settings.model)}:weights=none",
        )
    return files.fetched(entry.url, settings.model, online, checked=True)


def recipe(settings: Wanted, source: Source | None, classes: int) -> dict[str, Any]:
    """Return what rebuilds the empty network; the arguments are those of torchvision's own builder."""
    published(settings.model)
    for name in ("patch_size", "pad_type"):
        if getattr(settings, name):
            raise UsageProblem(
                f"{name} was asked for, but networks of torchvision have their own.",
                f"Allowed: {plain(settings.model)} without {name}.",
                f"Leave {name} out, or take a network of timm.",
            )
    bare = settings.model.removeprefix(PREFIX).partition(".")[0]
    arguments: dict[str, Any] = {}
    if bare in ("googlenet", "inception_v3"):
        # With published weights the pictures are turned from ImageNet's mean and spread to those it was trained with.
        arguments = {"aux_logits": False, "init_weights": source is None, "transform_input": source is not None}
    if bare.startswith("vit_"):
        arguments["image_size"] = settings.image_size or int(own_looks(settings)["input_size"][-1])
    if bare.startswith("maxvit") and settings.image_size:
        arguments["input_size"] = (settings.image_size, settings.image_size)
    return {"library": "torchvision", "model": settings.model, "classes": classes, "arguments": arguments}


def create(recipe: dict[str, Any]) -> Borrowed:
    """Build the empty network; an argument it does not take is a `UsageProblem`."""
    bare, classes = recipe["model"].removeprefix(PREFIX).partition(".")[0], recipe["classes"]
    try:
        network = models.get_model(bare, weights=None, num_classes=classes or 2, **recipe["arguments"])
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        if out_of_memory(error):
            raise
        raise UsageProblem(
            f"{plain(recipe['model'])} cannot be built with {plain(recipe['arguments'])}: {plain(error)}.",
            "Allowed are sizes that fit the network: image_size a multiple of its patch or window.",
            "Leave image_size out for the model's own.",
        ) from error
    head = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    return Borrowed(network, (head,), headless=not classes)


def load(network: Borrowed, source: Source, heads: tuple[str, ...]) -> None:
    """Load every tensor but the head's (see `weights.load_body`)."""
    state = {name: tensor.float() for name, tensor in files.read_state(source).items() if not name.startswith(_AUXILIARY)}
    state = {_OLD_DENSE.sub(lambda found: f"{found[1]}{found[2]}", name): tensor for name, tensor in state.items()}
    state = _regridded(network.network, state, source)
    files.load_body(network, {f"network.{name}": tensor for name, tensor in state.items()}, heads, source.described)
    if isinstance(network.network, models.SqueezeNet):
        # Its head is followed by a ReLU, through which zeros would never learn: it begins as torchvision's own does.
        for name, parameter in network.named_parameters():
            if name.startswith(heads) and parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.01)


def classes_of(settings: Wanted, source: Source) -> tuple[int, list[str]]:
    """Return how many classes the head in `source` has, and their names where these are weights that torchvision publishes."""
    heads = tuple(name.removeprefix("network.") for name in create(recipe(settings, source, 1000)).heads)
    classes = files.head_size(files.read_state(source), heads, source.described)
    entry = published(settings.model) if settings.weights == "hub" else None
    return classes, list(entry.meta.get("categories", ())) if entry is not None else []


def _regridded(network: nn.Module, state: dict[str, Tensor], source: Source) -> dict[str, Tensor]:
    """Return `state` with the position embeddings of a vision transformer resampled to the network's grid of patches."""
    grid = getattr(network, "image_size", None)
    if grid is None or "encoder.pos_embedding" not in state:
        return state
    try:
        return dict(interpolate_embeddings(grid, network.patch_size, state))
    except (ValueError, RuntimeError, IndexError) as error:
        files.refuse([f"encoder.pos_embedding cannot be resampled, {error}"], source.described)
        raise


def own_looks(settings: Wanted) -> dict[str, Any]:
    """Return how the weights want their pictures, in timm's words."""
    entry = published(settings.model)
    if entry is None:
        own = {"input_size": (3, 224, 224), "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
        return {**own, "interpolation": "bilinear", "crop_pct": 0.875}
    wanted = entry.transforms()
    size = int(wanted.crop_size[0])
    return {
        "input_size": (3, size, size),
        "mean": tuple(wanted.mean),
        "std": tuple(wanted.std),
        "interpolation": wanted.interpolation.value,
        "crop_pct": share(size, int(wanted.resize_size[0])),
    }
