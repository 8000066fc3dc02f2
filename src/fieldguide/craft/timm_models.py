"""Networks of timm: find weights, build, load strictly, freeze, and ask for their preprocessing and cost."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from timm.data.config import resolve_model_data_config
from timm.models import get_pretrained_cfg, group_parameters
from torch import Tensor, nn

from fieldguide.data.batches import Interpolation, Preprocessing
from fieldguide.errors import DataProblem, EnvironmentProblem, UsageProblem, plain
from fieldguide.records import Estimate


class Looks(Protocol):
    """What is asked of the pictures a network sees; `None` leaves it to the weights file, then to the network."""

    @property
    def weights(self) -> str: ...

    @property
    def image_size(self) -> int | None: ...

    @property
    def mean(self) -> tuple[float, float, float] | None: ...

    @property
    def std(self) -> tuple[float, float, float] | None: ...

    @property
    def interpolation(self) -> Interpolation | None: ...

    @property
    def crop(self) -> float | None: ...


class Costs(Protocol):
    """The settings that decide what training costs."""

    @property
    def train(self) -> str: ...

    @property
    def epochs(self) -> int: ...

    @property
    def batch_size(self) -> int: ...


class Wanted(Looks, Costs, Protocol):
    """The settings this module reads; `fieldguide.families.backbone.Settings` has them."""

    @property
    def model(self) -> str: ...

    @property
    def patch_size(self) -> int | None: ...

    @property
    def pad_type(self) -> str | None: ...


@dataclass(frozen=True)
class Source:
    """A weights file, what it says of itself, and the words the report uses for it."""

    path: Path
    described: str
    says: dict[str, str] = field(default_factory=dict)


def find_weights(model: str, weights: str, online: bool) -> Source | None:
    """Return the weights file; `None` for a network from scratch. Never downloads unless `online`.

    Raises `EnvironmentProblem` where hub weights are not on this machine, `UsageProblem` for a wrong path.
    """
    if weights == "none":
        return None
    if weights != "hub":
        return _local(Path(weights).expanduser())
    config = get_pretrained_cfg(model)
    repository = getattr(config, "hf_hub_id", None)
    if not repository:
        raise UsageProblem(
            f"timm has no pretrained weights on the hub for {plain(model)}.",
            "Allowed: weights=none (from scratch) or weights=FILE.safetensors.",
            f"For example {plain(model)}:weights=none",
        )
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(repository, "model.safetensors")
    if isinstance(cached, str):
        return Source(Path(cached), f"hub: {repository}")
    if not online:
        raise EnvironmentProblem(
            f"The pretrained weights of {plain(model)} ({repository}) are not on this machine.",
            "Allowed: --online to download them, weights=FILE.safetensors, or weights=none to train from scratch.",
            f"For example {plain(model)}:weights=none, or the same command with --online.",
        )
    try:
        return Source(Path(hf_hub_download(repository, "model.safetensors")), f"hub: {repository}")
    except Exception as error:  # the hub client raises many unrelated types; all of them mean "no weights"
        raise EnvironmentProblem(
            f"The weights {repository} could not be downloaded: {plain(error)}.",
            "Allowed: weights=FILE.safetensors, or weights=none to train from scratch.",
            "Check the connection and run the same command again.",
        ) from error


def _local(path: Path) -> Source:
    if path.suffix != ".safetensors":
        raise UsageProblem(
            f"{plain(path)} is not a .safetensors file.",
            "Allowed: weights=hub, weights=none or weights=FILE.safetensors (pickled checkpoints can run code and are refused).",
            "Convert it once: safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'model.safetensors')",
        )
    if not path.is_file():
        raise UsageProblem(
            f"There is no weights file {plain(path)}.", "Allowed: the path of a .safetensors file.", "Correct the path."
        )
    try:
        with safe_open(path, framework="pt") as stream:
            says = dict(stream.metadata() or {})
    except SafetensorError as error:
        raise DataProblem(
            f"{plain(path)} is damaged: {error}.", "A whole .safetensors file.", "Fetch it again and run the same command."
        ) from error
    return Source(path, f"file: {path.name}", says)


def recipe(settings: Wanted, source: Source | None, classes: int) -> dict[str, Any]:
    """Return the arguments that rebuild the empty network."""
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
        raise UsageProblem(
            f"{plain(recipe['model'])} cannot be built with {plain(recipe['arguments'])}: {plain(error)}.",
            "Allowed are sizes that fit the network: image_size a multiple of its patch or window.",
            "Leave image_size, patch_size and pad_type out for the model's own.",
        ) from error
    return cast(nn.Module, network)


def load_weights(network: nn.Module, source: Source) -> None:
    """Load every tensor but the head's; a missing, misshapen or unknown one is a `DataProblem` that names it.

    The head is set to zero: so it starts at the loss of guessing, and its first steps do not shake the features.
    """
    state = _adapted(network, {name: tensor.float() for name, tensor in load_file(source.path).items()})
    heads = head_names(network)
    own = network.state_dict()
    body = {name: tensor for name, tensor in state.items() if not name.startswith(heads)}
    wanted = {name for name in own if not name.startswith(heads)}
    wrong = [f"{name} is missing" for name in sorted(wanted - set(body))]
    wrong += [f"{name} is not part of the network" for name in sorted(set(body) - wanted)]
    wrong += [
        f"{name} has shape {tuple(body[name].shape)}, not {tuple(own[name].shape)}"
        for name in sorted(wanted & set(body))
        if body[name].shape != own[name].shape
    ]
    if wrong:
        raise DataProblem(
            f"{source.described} does not fit this network: {wrong[0]}{f' (and {len(wrong) - 1} more)' if len(wrong) > 1 else ''}.",
            "Every tensor but the head's must be there in the right shape.",
            "Check that the model name, image_size and pad_type belong to this file.",
        )
    network.load_state_dict(body, strict=False)
    for name, parameter in network.named_parameters():
        if name.startswith(heads):
            nn.init.zeros_(parameter)


def _adapted(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Let timm rename and reshape the tensors of older or foreign files of this architecture."""
    adapt = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if adapt is None:
        return state
    try:
        return cast(dict[str, Tensor], adapt(dict(state), network))
    except (KeyError, IndexError, ValueError, RuntimeError, AssertionError):  # a file of another network; the names will tell
        return state


def head_names(network: nn.Module) -> tuple[str, ...]:
    """Return the prefixes of the classifier's tensors."""
    names = cast(dict[str, Any], network.pretrained_cfg).get("classifier") or ()
    return tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))


def preprocessing(network: nn.Module, settings: Looks, source: Source | None) -> Preprocessing:
    """Return the model's own preprocessing; what the weights file says comes before it, what was asked before both."""
    return described_preprocessing(resolve_model_data_config(network), settings, source.says if source else {})


def planned(settings: Wanted) -> Preprocessing:
    """Return the preprocessing without building the network."""
    config = get_pretrained_cfg(settings.model)
    says = _local(Path(settings.weights).expanduser()).says if settings.weights not in ("none", "hub") else {}
    own = resolve_model_data_config(args={}, pretrained_cfg=config.to_dict() if config else {}, model=None)
    return described_preprocessing(own, settings, says)


def described_preprocessing(own: dict[str, Any], settings: Looks, says: dict[str, str]) -> Preprocessing:
    """Return the preprocessing from a network's `own` configuration in timm's words, what its file `says`, and what was asked."""

    def three(name: str) -> tuple[float, float, float] | None:
        values = [_number(name, value) for value in says[name].split(",")] if says.get(name) else []
        return (values[0], values[1], values[2]) if len(values) == 3 else None

    named = settings.interpolation or says.get("interpolation") or str(own["interpolation"])
    # A network with its own input size is cropped as it was trained; at another size nothing is known, so nothing is cut off.
    own_size = int(own["input_size"][-1])
    crop = settings.crop or _number("crop_pct", says.get("crop_pct") or own["crop_pct"])
    return Preprocessing(
        size=settings.image_size or own_size,
        mean=settings.mean or three("input_mean") or tuple(own["mean"]),
        std=settings.std or three("input_std") or tuple(own["std"]),
        interpolation=cast(Interpolation, named if named in ("nearest", "bilinear") else "bicubic"),
        crop=crop if settings.weights != "none" or settings.crop else 1.0,
    )


def _number(name: str, value: Any) -> float:
    """Read a number between 0 and 1 out of a file's metadata."""
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1 or (number == 0 and name != "input_mean"):
        raise DataProblem(
            f"The weights file says {name} = {plain(value)!r}, which is not possible.",
            "Allowed: numbers from 0 to 1; three of them, separated by commas, for input_mean and input_std.",
            "Correct the file's metadata.",
        )
    return number


def freeze(network: nn.Module, part: str) -> tuple[int, int]:
    """Leave only `part` trainable (``all``, ``head``, ``last-N``); return trained and total parameters.

    Blocks and stages are timm's own layer groups (`group_matcher`), the stem first. What stands between the last block and the
    classifier (a last norm, a layer before the logits) is trained with the last block.
    """
    total = sum(parameter.numel() for parameter in network.parameters())
    if part == "all":
        return total, total
    heads = head_names(network)
    blocks = _blocks(network, heads)
    count = 0 if part == "head" else int(part.removeprefix("last-"))
    if count > len(blocks):
        raise UsageProblem(
            f"train={part} was asked for, but this network has {len(blocks)} blocks.",
            f"Allowed: all, head{f', or last-1 to last-{len(blocks)}' if blocks else ''}.",
            f"For example train={f'last-{min(2, len(blocks))}' if blocks else 'head'}",
        )
    free = set().union(*blocks[len(blocks) - count :]) if count else set()
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name in free or name.startswith(heads)
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad), total


def _blocks(network: nn.Module, heads: tuple[str, ...]) -> list[set[str]]:
    """Return the parameter names of each block in order; none where timm does not say how a network is built."""
    matcher = getattr(network, "group_matcher", None)
    if matcher is None:
        return []
    groups = group_parameters(network, matcher(coarse=True))
    names = [set(groups[layer]) for layer in sorted(groups)]
    blocks = [group for group in names if not any(name.startswith(heads) for name in group)]
    if blocks:
        blocks[-1] |= {name for group in names if group not in blocks for name in group if not name.startswith(heads)}
    return blocks


def probe(settings: Wanted, classes: int, sizes: Any) -> Estimate:
    """Return what `measured` says of the network that was asked for."""
    source = find_weights(settings.model, settings.weights, online=False) if settings.weights not in ("hub", "none") else None
    network = create(recipe(settings, source, classes)).to(memory_format=torch.channels_last)
    return measured(network, preprocessing(network, settings, source).size, settings, sizes)


def measured(network: nn.Module, size: int, settings: Costs, sizes: Any) -> Estimate:
    """Return time, memory and disk of training `network`, channels last, on pictures of `size` pixels, from two timed steps on noise."""
    freeze(network, settings.train)
    pictures = min(8, settings.batch_size)
    noise = torch.randn(pictures, 3, size, size).to(memory_format=torch.channels_last)
    saved = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal saved
        saved += tensor.numel() * tensor.element_size()
        return tensor

    network.train()
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        network(noise).sum().backward()
    start = time.perf_counter()
    network(noise).sum().backward()
    a_step = (time.perf_counter() - start) / pictures
    start = time.perf_counter()
    with torch.inference_mode():
        network.eval()(noise)
    an_answer = (time.perf_counter() - start) / pictures
    weights = sum(tensor.numel() * 4 for tensor in network.state_dict().values())
    return Estimate(
        seconds=settings.epochs * (sizes.train * a_step + sizes.val * an_answer) + (sizes.val + sizes.test) * an_answer,
        memory_bytes=int(weights * 5 + saved / pictures * settings.batch_size),
        disk_bytes=int(weights * 5),
    )
