"""Where the projector joins a vision tower that is not trained: what goes into it is kept, and the projector alone runs at each step.

Nothing is known of an architecture but which modules are its projector (`craft.chat.towers`). One picture is looked at, and what goes into
each of them and comes out is written down. Where each feature that the text is given is what came out of one of them, to the bit, be it
in another order, that module makes it again from what went in. Anything else that happens between tower and text (a resampler told the
size of the picture, tiles that are put together) is found by this not holding, and such a model looks at its pictures at each step.

LLaVA, Idefics3 and SmolVLM have one such module, Qwen3-VL one for the last layer and one for each of the deeper ones, mllama a single layer;
Qwen2.5-VL has one, whose rows it puts back into the order of the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fieldguide.craft.chat.towers import towers


@dataclass(frozen=True, eq=False)
class Call:
    """A module of the projector, what went into it, and what came out; `given` is `None` where that is not one tensor alone."""

    path: str
    given: Tensor | None
    made: Any


def projectors(model: nn.Module) -> dict[str, nn.Module]:
    """Return all modules of the projector by path, those inside others included."""
    place = towers(model)
    return {path: module for path, module in model.named_modules() if path and place.part(path)[0] == "projector"}


@contextmanager
def watched(model: nn.Module) -> Iterator[list[Call]]:
    """Yield a list that fills with the calls of the projector's outermost modules."""
    calls: list[Call] = []
    depth = 0

    def before(module: nn.Module, given: Any, more: Any) -> None:
        nonlocal depth
        depth += 1

    def behind(path: str) -> Callable[..., None]:
        def note(module: nn.Module, given: Any, more: Any, made: Any) -> None:
            nonlocal depth
            depth -= 1
            if not depth:
                alone = len(given) == 1 and not more and isinstance(given[0], Tensor)
                calls.append(Call(path, given[0] if alone else None, made))

        return note

    hooks = []
    for path, module in projectors(model).items():
        hooks.append(module.register_forward_pre_hook(before, with_kwargs=True))
        hooks.append(module.register_forward_hook(behind(path), with_kwargs=True))
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


@dataclass(frozen=True, eq=False)
class Seam:
    """What makes one feature: the module of the projector at `path`, of what it was `given`; rows stand in `order` where that is another."""

    path: str
    given: Tensor
    order: Tensor | None


def found(calls: Sequence[Call], features: Mapping[str, Tensor]) -> dict[str, Seam]:
    """Return what makes each of `features`; `ValueError` where one is made otherwise, or a call makes none of them."""
    made: dict[str, Seam] = {}
    used: set[int] = set()
    for name, feature in features.items():
        for at, call in enumerate(calls):
            order = None if call.given is None or at in used else _order(call.made, feature)
            if order is not None and call.given is not None:
                used.add(at)
                made[name] = Seam(call.path, call.given, order if len(order) else None)
                break
        else:
            raise ValueError(f"{name} is not what one module of its projector makes of what the vision tower saw")
    if len(used) != len(calls):
        raise ValueError("its projector also makes what is no feature of a picture")
    return made


def _order(made: Any, feature: Tensor) -> Tensor | None:
    """Return which row of `made` each row of `feature` is, nothing (of length 0) where they stand alike, `None` where they are others."""
    if not isinstance(made, Tensor) or made.numel() != feature.numel() or made.shape[-1] != feature.shape[-1]:
        return None
    if torch.equal(made.reshape(feature.shape), feature):
        return torch.empty(0, dtype=torch.long)
    places: dict[bytes, list[int]] = {}
    for at, row in enumerate(_rows(made)):
        places.setdefault(row, []).append(at)
    try:
        return torch.tensor([places[row].pop(0) for row in _rows(feature)])
    except (KeyError, IndexError):
        return None


def _rows(tensor: Tensor) -> list[bytes]:
    table = tensor.detach().reshape(-1, tensor.shape[-1]).cpu().contiguous()
    return [row.tobytes() for row in table.view(torch.uint8).numpy()]
