"""A network as it was published or found: with its own head, and the names of its own classes where its library knows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from fieldguide.craft import zoo
from fieldguide.craft.zoo.wanted import Wanted
from fieldguide.craft.zoo.weights import Source
from fieldguide.errors import UsageProblem, plain


@dataclass(frozen=True)
class Own:
    """`network` answers for its own classes; `labels` are their names in order. `recipe` rebuilds the empty network."""

    network: nn.Module
    recipe: dict[str, Any]
    labels: tuple[str, ...]
    source: Source


def own(settings: Wanted, online: bool) -> Own:
    """Load the network of `settings` with every tensor of its file; nothing is put on anew.

    Raises `UsageProblem` for a network without weights, `DataProblem` where a tensor is missing or misshapen, and what
    `zoo.find_weights` raises where the weights are not to be had.
    """
    zoo.require(settings.model)
    source = zoo.find_weights(settings, online)
    if source is None:
        raise nothing_learned(settings.model)
    room = zoo.room_of(settings.model)
    classes, names = room.classes_of(settings, source)
    network, made = _whole(settings, source, classes)
    zoo.require_own_size(network, settings, source)
    return Own(network.eval(), made, tuple(names) if len(names) == classes else numbered(classes), source)


def _whole(settings: Wanted, source: Source, classes: int) -> tuple[nn.Module, dict[str, Any]]:
    made = zoo.recipe(settings, source, classes)
    network = zoo.create(made)
    zoo.load_weights(network, source, keep_head=True)
    return network, made


def nothing_learned(model: str) -> UsageProblem:
    """Return what to say of a network without weights."""
    return UsageProblem(
        f"{plain(model)} with weights=none has learned nothing, so there is nothing to explain.",
        "Allowed: weights=hub (with --online, or from this machine) or weights=FILE.",
        f"For example {plain(model)}:weights=FILE.safetensors",
    )


def numbered(classes: int) -> tuple[str, ...]:
    """Return names for classes that nobody has named: ``class 0``, ``class 1``, ..."""
    return tuple(f"class {number}" for number in range(classes))
