"""Networks of timm (Ross Wightman, Apache-2.0), by their bare names; each model file there names its paper and licence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import timm
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from timm.data import ImageNetInfo, infer_imagenet_subset
from timm.data.config import resolve_model_data_config
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from fieldguide.craft.zoo import head_names
from fieldguide.craft.zoo import weights as files
from fieldguide.craft.zoo.wanted import Wanted
from fieldguide.craft.zoo.weights import Source
from fieldguide.errors import EnvironmentProblem, UsageProblem, out_of_memory, plain


def knows(name: str) -> bool:
    """Tell whether timm has a network of this name, with or without a weights tag."""
    return bool(timm.is_model(name))


def names() -> list[str]:
    """Return the names of all architectures."""
    return list(timm.list_models())


def find(settings: Wanted, online: bool) -> Source:
    """Return the hub weights; raises `EnvironmentProblem` where they are not on this machine and may not be fetched."""
    model = settings.model
    repository = getattr(get_pretrained_cfg(model), "hf_hub_id", None)
    if not repository:
        raise UsageProblem(
            f"timm has no pretrained weights on the hub for {plain(model)}.",
            "Allowed: weights=none (from scratch) or weights=FILE.",
            f"For example {plain(model)}:weights=none",
        )
    kept = try_to_load_from_cache(repository, "model.safetensors")
    if isinstance(kept, str):
        return Source(Path(kept), f"hub: {repository}")
    if not online:
        raise EnvironmentProblem(
            f"The pretrained weights of {plain(model)} ({repository}) are not on this machine.",
            "Allowed: --online to download them, weights=FILE.safetensors, or weights=none to train from scratch.",
            f"For example {plain(model)}:weights=none, or the same command with --online.",
        )
    try:
        return Source(Path(hf_hub_download(repository, "model.safetensors")), f"hub: {repository}")
    except Exception as error:  # the hub client raises many unrelated types; all of them mean "no weights"
        raise files.not_fetched(str(repository), error) from error


def recipe(settings: Wanted, source: Source | None, classes: int) -> dict[str, Any]:
    """Return what rebuilds the empty network."""
    arguments: dict[str, Any] = {}
    pad = settings.pad_type if settings.pad_type is not None else (source.says.get("pad_type") if source else None)
    if pad:
        arguments["pad_type"] = pad
    if settings.patch_size is not None:
        arguments["patch_size"] = settings.patch_size
    if settings.image_size is not None and _takes_image_size(settings.model):
        arguments["img_size"] = settings.image_size
    return {"model": settings.model, "classes": classes, "arguments": arguments}


def _takes_image_size(model: str) -> bool:
    """Networks with a fixed grid are told their input size; convolutional ones take any."""
    return bool(getattr(get_pretrained_cfg(model), "fixed_input_size", False)) or _is_vit(model)


def _is_vit(model: str) -> bool:
    entry = timm.model_entrypoint(model.split(".")[0])
    return "vision_transformer" in entry.__module__ or "swin" in entry.__module__


def create(recipe: dict[str, Any]) -> nn.Module:
    """Build the empty network; an argument it does not take is a `UsageProblem`."""
    try:
        network = timm.create_model(recipe["model"], pretrained=False, num_classes=recipe["classes"], **recipe["arguments"])
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        if out_of_memory(error):
            raise
        raise UsageProblem(
            f"{plain(recipe['model'])} cannot be built with {plain(recipe['arguments'])}: {plain(error)}.",
            "Allowed are sizes that fit the network: image_size a multiple of its patch or window.",
            "Leave image_size, patch_size and pad_type out for the model's own.",
        ) from error
    return cast(nn.Module, network)


def load(network: nn.Module, source: Source, heads: tuple[str, ...]) -> None:
    """Load every tensor but the head's (see `weights.load_body`)."""
    state = {name: tensor.float() for name, tensor in files.read_state(source).items()}
    files.load_body(network, _adapted(network, state), heads, source.described)


def classes_of(settings: Wanted, source: Source) -> tuple[int, list[str]]:
    """Return how many classes the head in `source` has, and their names where these are weights that timm itself publishes."""
    config = get_pretrained_cfg(settings.model)
    network = create(recipe(settings, source, int(getattr(config, "num_classes", 0) or 1000)))
    state = _adapted(network, files.read_state(source))
    classes = files.head_size(state, head_names(network), source.described)
    # Of a file nobody says which classes it has, whatever their number.
    return classes, names_of(network) if settings.weights == "hub" else []


def names_of(network: nn.Module) -> list[str]:
    """Return the names of the classes of a network that timm publishes, where timm knows them: those of ImageNet's subsets."""
    subset = infer_imagenet_subset(network)
    if subset is None:
        return []
    info = ImageNetInfo(subset)
    return [info.index_to_description(number) for number in range(info.num_classes())]


def _adapted(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Let timm rename and reshape the tensors of older or foreign files of this architecture."""
    adapt = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if adapt is None:
        return state
    try:
        return cast(dict[str, Tensor], adapt(dict(state), network))
    except (KeyError, IndexError, ValueError, RuntimeError, AssertionError):  # a file of another network; the names will tell
        return state


def own_looks(settings: Wanted) -> dict[str, Any]:
    """Return how the network wants its pictures, in timm's words, without building it."""
    config = get_pretrained_cfg(settings.model)
    found = resolve_model_data_config(args={}, pretrained_cfg=config.to_dict() if config else {}, model=None)
    return cast(dict[str, Any], found)
