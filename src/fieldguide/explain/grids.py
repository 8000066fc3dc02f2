"""How the output of a block lies over the picture: which of its axes are rows, columns and channels, and maps brought to one grid.

Networks hand on ``"b c h w"``, ``"b h w c"`` or a row of tokens ``"b n c"``, and do not say which. The picture is square, so rows and
columns are as many; channels are as many as some parameter is wide. Where all three are equal, another block of the same network tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Size, Tensor, nn
from torch.nn import functional as F

from fieldguide.craft.anatomy import Anatomy, Part, anatomy
from fieldguide.explain.maps import NotApplicable


@dataclass(frozen=True)
class Place:
    """A block whose output lies over the picture: its number, the module that puts it out, and how the axes of that are called.

    `tokens` are the network's own (class, registers), which stand before those of the picture.
    """

    block: int
    module: str
    axes: str
    tokens: int = 0

    def laid(self, output: Tensor) -> Tensor:
        """Return ``"b c h w"``."""
        if self.axes != "b n c":
            return rearrange(output, f"{self.axes} -> b c h w")
        patches = output[:, self.tokens :]
        return rearrange(patches, "b (h w) c -> b c h w", h=isqrt(patches.shape[1]))


def places(network: nn.Module, pixels: Tensor) -> tuple[Place | None, ...]:
    """Return the place of every block, in order; `None` for one whose output does not lie over the picture. Walks forward once.

    A block that is not one module is looked at behind its last layer, and behind the activation that follows that.
    """
    parts = anatomy(network)
    shapes = _shapes(network, pixels)
    outlets = [_outlet(network, part, list(shapes)) for part in parts.blocks]
    widths = {size for parameter in network.parameters() for size in parameter.shape}
    ways = [_ways(shapes[outlet], widths) if outlet is not None else () for outlet in outlets]
    certain = {one[0] for one in ways if len(one) == 1}
    tokens = _tokens(network, parts)
    found: list[Place | None] = []
    for block, (outlet, way) in enumerate(zip(outlets, ways, strict=True)):
        left = [axes for axes in way if axes in certain or len(way) == 1]
        place = Place(block, outlet, left[0]) if outlet is not None and len(left) == 1 else None
        if place is not None and outlet is not None and place.axes == "b n c":
            place = _over_the_picture(place, shapes[outlet][1], tokens)
        found.append(place)
    return tuple(found)


def named(all_places: Sequence[Place | None], wanted: Iterable[int]) -> list[Place]:
    """Return the places of the blocks `wanted`; raises `NotApplicable` for one that has none."""
    found = []
    for block in wanted:
        place = all_places[block]
        if place is None:
            raise NotApplicable(f"the output of block {block} does not lie over the picture")
        found.append(place)
    return found


def together(maps: Sequence[Tensor]) -> NDArray[np.float32]:
    """Return ``"layers height width"`` of maps ``"height width"``: each repeated (nearest pixel) up to the grid of the largest; not scaled."""
    height, width = (max(one.shape[axis] for one in maps) for axis in (0, 1))
    large = [F.interpolate(one[None, None].float(), (height, width), mode="nearest-exact")[0, 0] for one in maps]
    return torch.stack(large).detach().cpu().numpy().astype(np.float32)


@contextmanager
def watching(network: nn.Module, hooks: Mapping[str, Callable[..., Any]], *, inputs: bool = False) -> Iterator[None]:
    """Call a hook with what each module named puts out (or takes in, where `inputs`), and take all hooks off again, whatever happens.

    A hook gets a tensor (of several, the first) and returns `None`, or, for outputs, what goes on in its place.
    """

    def on_output(hook: Callable[..., Any]) -> Callable[..., Any]:
        def called(module: nn.Module, given: Any, output: Any) -> Any:
            instead = hook(first(output))
            return None if instead is None else _with_first(output, instead)

        return called

    def on_input(hook: Callable[..., Any]) -> Callable[..., Any]:
        return lambda module, given: hook(first(given))

    handles = []
    try:
        for name, hook in hooks.items():
            module = network.get_submodule(name)
            register = module.register_forward_pre_hook if inputs else module.register_forward_hook
            handles.append(register((on_input if inputs else on_output)(hook)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def first(output: Any) -> Any:
    """Return the first of several outputs, and of one that one."""
    return output[0] if isinstance(output, tuple | list) and output else output


def _with_first(output: Any, instead: Tensor) -> Any:
    return type(output)((instead, *output[1:])) if isinstance(output, tuple | list) else instead


@torch.inference_mode()
def _shapes(network: nn.Module, pixels: Tensor) -> dict[str, Size]:
    """Return the shape of what every module puts out, in the order in which they end."""
    seen: dict[str, Size] = {}

    def note(name: str) -> Callable[..., None]:
        def noted(output: Any) -> None:
            seen.pop(name, None)
            if isinstance(output, Tensor):
                seen[name] = output.shape

        return noted

    with watching(network, {name: note(name) for name, _ in network.named_modules() if name}):
        network(pixels)
    return seen


def _outlet(network: nn.Module, part: Part, order: Sequence[str]) -> str | None:
    """Return the module whose output is the block's: itself, or its last layer and the activation behind that."""
    if part.module in order:
        return part.module
    leaves = [name for name in order if not any(True for _ in network.get_submodule(name).children())]
    own = [at for at, name in enumerate(leaves) if any(one.rpartition(".")[0] == name for one in part.parameters)]
    if not own:
        return None
    last = own[-1]
    if last + 1 < len(leaves) and type(network.get_submodule(leaves[last + 1])).__module__ == "torch.nn.modules.activation":
        last += 1
    return leaves[last]


def _ways(shape: Size, widths: set[int]) -> tuple[str, ...]:
    """Return how the axes of an output may be called."""
    if len(shape) == 4:
        one, two, three = shape[1:]
        channels_first = two == three and one in widths
        channels_last = one == two and three in widths
        return ("b c h w",) * channels_first + ("b h w c",) * channels_last
    return ("b n c",) if len(shape) == 3 and shape[2] in widths else ()


def _tokens(network: nn.Module, parts: Anatomy) -> int:
    """Return how many tokens a network has of its own: class, distillation and registers. Those that mask patches do not count."""
    count = 0
    for name, parameter in network.named_parameters():
        called = name.rpartition(".")[2]
        if "token" in called and "mask" not in called and name in parts.stem.parameters and parameter.ndim in (2, 3):
            count += parameter.shape[-2]
        elif called == "class_embedding" and name in parts.stem.parameters:  # CLIP's, in both libraries that have one
            count += 1
    return count


def _over_the_picture(place: Place, length: int, tokens: int) -> Place | None:
    """Return the place of a row of tokens, where they are a square with or without those of the network's own before it."""
    for before in (tokens, 0):
        side = isqrt(max(0, length - before))
        if side > 0 and side * side == length - before:
            return Place(place.block, place.module, place.axes, before)
    return None
