"""Which modules of a model are vision, projector and language, and in them attention and MLP: found by module path, not by name alone.

A list of names such as q_proj, v_proj is also found in the vision tower; and "all linear layers" are also those of the projector. Here every
layer belongs to the tower that its path begins with (`fieldguide.craft.chat.towers`). What is neither vision, projector nor language (a patch
embedding, the last layer that gives logits) takes no adapter.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from fieldguide.craft.chat.towers import numbers_of, towers
from fieldguide.craft.tuning import KINDS, PARTS, TOWERS, Tuning
from fieldguide.errors import UsageProblem, allowed_names, plain

#: What peft and bitsandbytes put around a layer, taken out of the name of a parameter.
_WRAPPED = re.compile(r"\.(base_layer|lora_[A-Za-z_]+\.[^.]+)(?=\.)|^base_model\.model\.")


def targets(model: nn.Module, parts: frozenset[str]) -> tuple[str, ...]:
    """Return the paths of the linear layers that `parts` switch on; raises `UsageProblem` where that is none, or a switch is empty."""
    require_parts(parts)
    found, place = [], towers(model)
    wanted: Counter[str] = Counter()
    for path in _linear(model):
        tower, kind = place.part(path)
        if tower in parts and (tower == "projector" or kind in parts):
            found.append(path)
            wanted[tower] += 1
            wanted[kind] += 1
    _require_each(parts, wanted, "no linear layer")
    return tuple(found)


def chosen(model: nn.Module, parts: frozenset[str]) -> frozenset[str]:
    """Return the names of the parameters that `parts` switch on, for training them all; what is of no kind goes with both of them."""
    require_parts(parts)
    found, place = set(), towers(model)
    wanted: Counter[str] = Counter()
    for name, _ in model.named_parameters():
        tower, kind = place.part(name)
        if tower in parts and (tower == "projector" or kind in parts or (not kind and parts.issuperset(KINDS))):
            found.add(name)
            wanted[tower] += 1
            wanted[kind] += 1
    _require_each(parts, wanted, "no parameter")
    return frozenset(found)


def require_parts(parts: frozenset[str]) -> None:
    """Raise `UsageProblem` for a part that is none, and for switches that leave nothing to train."""
    for part in sorted(parts - set(PARTS)):
        raise UsageProblem(
            f"There is no part called {plain(part)!r} in a language model that looks.",
            allowed_names(part, PARTS),
            "For example parts=language,attention,mlp",
        )
    if not parts.intersection(TOWERS) or (not parts.intersection(KINDS) and "projector" not in parts):
        said = ", ".join(part for part in PARTS if part in parts) or "nothing"
        raise UsageProblem(
            f"With {said} switched on, no parameter would be trained.",
            f"Allowed: at least one of {', '.join(TOWERS)}; in vision and language at least one of {', '.join(KINDS)}.",
            "For example parts=language,attention,mlp",
        )


def _require_each(parts: frozenset[str], found: Mapping[str, int], what: str) -> None:
    """Raise where a switch that is on reaches nothing: it would say what is not so."""
    kinds = bool(parts & {"vision", "language"})
    empty = [part for part in PARTS if part in parts and not found.get(part) and (part not in KINDS or kinds)]
    if empty:
        there = [part for part in PARTS if found.get(part)]
        raise UsageProblem(
            f"{' and '.join(empty)} should be trained, and this model has {what} of that kind where it was asked for.",
            f"Allowed: {', '.join(there) or 'other parts'}.",
            f"Leave {' and '.join(empty)} out of the parts.",
        )


def _linear(model: nn.Module) -> Iterator[str]:
    """Yield the paths of linear layers that an adapter can stand at, the one that gives logits left out."""
    last: Any = getattr(model, "get_output_embeddings", lambda: None)()
    whole: tuple[str, ...] = ()
    for path, module in model.named_modules():
        # Attention of torch itself stands in the heads of vision towers, whose one vector for a picture no language model reads; and it
        # takes the weights out of its last layer without calling it.
        if any(isinstance(below, nn.MultiheadAttention) for below in module.children()):
            whole = (*whole, f"{path}.")
        if isinstance(module, nn.Linear) and module is not last and not path.startswith(whole or ("\0",)):
            yield path


@dataclass(frozen=True)
class Count:
    """Parameters of one part: how many are trained of how many, an adapter's own counted in both."""

    trained: int
    all: int


def counted(model: nn.Module) -> dict[str, Count]:
    """Return the parameters of each part, and of each kind in it: ``{"vision": ..., "vision attention": ..., ...}``."""
    place = towers(model)
    trained: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        tower, kind = place.part(_WRAPPED.sub("", name))
        size = numbers_of(parameter)
        for part in dict.fromkeys((tower or "other", f"{tower} {kind}".strip() or "other")):
            every[part] += size
            trained[part] += size if parameter.requires_grad else 0
    order = [*TOWERS, "other"]
    names = sorted(every, key=lambda part: (order.index(part.split()[0]), part))
    return {part: Count(trained[part], every[part]) for part in names}


def told(counts: Mapping[str, Count]) -> str:
    """Return the trained parameters of each tower, and of attention and MLP in it where some are, as a line for people."""
    said = []
    for part in (*TOWERS, "other"):
        if part in counts:
            kinds = [(kind, counts[f"{part} {kind}"].trained) for kind in KINDS if f"{part} {kind}" in counts]
            among = ", ".join(f"{kind} {trained:,}" for kind, trained in kinds if trained)
            said.append(f"{part} {counts[part].trained:,} of {counts[part].all:,}{f' ({among})' if among else ''}")
    return "Trained parameters: " + "; ".join(said) + "."


def require_trained(model: nn.Module, tuning: Tuning) -> dict[str, Count]:
    """Return `counted`; raises `UsageProblem` where a tower that is switched on has no trained parameter, or another one has some."""
    counts = counted(model)
    for tower in TOWERS:
        found = counts[tower].trained if tower in counts else 0
        if bool(found) is not (tower in tuning.parts):
            raise UsageProblem(
                f"Of {tower}, {found:,} parameters would be trained, which is not what its switch says.",
                "Allowed: parts that this model has, each of which takes adapters where it is switched on, and nowhere else.",
                f"Take other parts: {', '.join(PARTS)}.",
            )
    return counts
