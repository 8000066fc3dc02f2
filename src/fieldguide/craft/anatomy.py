"""What a network is made of: a stem, blocks in order, a neck behind the last of them, and the head that names classes.

Where a network says how its layers are grouped (`group_matcher`: those of timm, and VMamba), that is followed; else its blocks are
found by its structure: the largest row of alike parts, be they the layers of a transformer, the stages of a CNN, or its convolutions
between two poolings. Blocks count from 0, without the stem. The neck (a last norm, a layer before the logits) is trained with the last
block, and not with the head alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from torch import nn

from fieldguide.craft.zoo import head_names
from fieldguide.errors import UsageProblem, plain

#: A row of alike parts that are attributes: layer1, layer2; denseblock1, transition1; inception3a, inception3b.
_NUMBERED = re.compile(r"^(?P<word>[A-Za-z_]*[A-Za-z])_?(?P<number>\d+)[a-z]?$")
_GLUE = re.compile(r"^(transition|norm|bn|conv|relu|pool|maxpool|drop|fc|aux|ln|act|head)", re.IGNORECASE)
_LEAVES = (nn.Conv2d, nn.Linear)
#: Share of a block's parameters from which on one of several modules is the block, and the others are what leads to it.
_MAIN = 0.8


@dataclass(frozen=True)
class Part:
    """Names of the parameters of one part.

    `module` is the dotted path of the one module that is this block, where there is one: a downsampling before or behind it may
    belong to the part without lying in it. `entry` is the module that the block begins with: its input is the block's.
    """

    name: str
    parameters: frozenset[str]
    module: str | None = None
    entry: str | None = None


@dataclass(frozen=True)
class Anatomy:
    """All parameters of a network, each in one part; without blocks all but the head's are the stem's."""

    stem: Part
    blocks: tuple[Part, ...]
    neck: Part
    head: Part

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return the parts in the order in which a picture meets them."""
        return (self.stem, *self.blocks, self.neck, self.head)


@dataclass(frozen=True)
class Count:
    """How many parameters of a part are trained, and how many it has."""

    part: str
    trained: int
    total: int


def anatomy(network: nn.Module) -> Anatomy:
    """Return the parts of `network`."""
    heads = head_names(network)
    names = [name for name, _ in network.named_parameters()]
    head = frozenset(name for name in names if heads and name.startswith(heads))
    body = [name for name in names if name not in head]
    tells: Any = getattr(network, "group_matcher", None)
    matcher = tells(coarse=True) if callable(tells) else None
    # A matcher that is a function says only what belongs together, and not where blocks end.
    blocks, neck = _told(network, head, matcher) if isinstance(matcher, dict) else _found(network, head, body)
    taken = neck.union(*blocks)
    stem = frozenset(name for name in body if name not in taken)
    return Anatomy(
        Part("stem", stem),
        tuple(_part(network, at, block, names) for at, block in enumerate(blocks)),
        Part("neck", neck),
        Part("head", head),
    )


def freeze(network: nn.Module, train: str) -> tuple[Count, ...]:
    """Leave only `train` trainable, and return the counts of every part that has parameters.

    ``all``; ``head``; ``last-N``: the last N blocks, neck and head; ``blocks:I-J`` or ``blocks:I``: those blocks and the head, and the
    neck where the last block is among them. Raises `UsageProblem` with the allowed range.
    """
    whole = anatomy(network)
    if train == "all":
        free = frozenset().union(*(part.parameters for part in whole.parts))
    else:
        first, last = _range(train, len(whole.blocks))
        chosen = [*whole.blocks[first : last + 1], whole.head]
        with_neck = train != "head" and last == len(whole.blocks) - 1
        free = frozenset().union(*(part.parameters for part in chosen), whole.neck.parameters if with_neck else ())
    sizes = {}
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name in free
        sizes[name] = parameter.numel()
    return tuple(
        Count(part.name, sum(sizes[name] for name in part.parameters & free), sum(sizes[name] for name in part.parameters))
        for part in whole.parts
        if part.parameters
    )


def depth_of(network: nn.Module) -> dict[str, int]:
    """Return how deep each parameter lies: the stem at 0, block I at I + 1, neck and head above the last block."""
    whole = anatomy(network)
    top = len(whole.blocks) + 1
    depths = [0, *range(1, top), top, top]
    return {name: depth for part, depth in zip(whole.parts, depths, strict=True) for name in part.parameters}


def _range(train: str, blocks: int) -> tuple[int, int]:
    """Return the first and the last block that are trained; the first lies behind the last where none is."""
    if train == "head":
        return blocks, blocks - 1
    last = re.fullmatch(r"last-([1-9]\d*)", train)
    some = re.fullmatch(r"blocks:(\d+)(?:-(\d+))?", train)
    if last and int(last[1]) <= blocks:
        return blocks - int(last[1]), blocks - 1
    if some and int(some[1]) <= int(some[2] or some[1]) < blocks:
        return int(some[1]), int(some[2] or some[1])
    named = f", last-1 to last-{blocks}, or blocks:I-J with I and J from 0 to {blocks - 1}" if blocks else ""
    raise UsageProblem(
        f"train={plain(train)} was asked for, but this network has {blocks} blocks.",
        f"Allowed: all, head{named}.",
        f"For example train={f'last-{min(2, blocks)}' if blocks else 'head'}",
    )


def _part(network: nn.Module, at: int, block: frozenset[str], names: Sequence[str]) -> Part:
    """Return block `at` with the modules it is made of, which are the largest that hold nothing else."""
    paths: dict[str, int] = {}
    for name in (name for name in names if name in block):
        words = name.split(".")
        tops = (".".join(words[:end]) for end in range(1, len(words)))
        top = next((path for path in tops if all(one in block for one in names if one.startswith(f"{path}."))), None)
        if top is not None:
            paths[top] = paths.get(top, 0) + network.get_parameter(name).numel()
    whole = [path for path in paths if _composite(network.get_submodule(path))]
    main = max(whole, key=lambda path: paths[path], default=None)
    if main is not None and len(whole) > 1 and paths[main] < _MAIN * sum(paths.values()):
        main = None
    return Part(f"block {at}", block, main, next(iter(paths), None))


# --- networks that say it --------------------------------------------------------------------------------------------------------


def _told(network: nn.Module, head: frozenset[str], matcher: dict[str, Any]) -> tuple[list[frozenset[str]], frozenset[str]]:
    """Return blocks and neck as the network groups its layers."""
    from timm.models import group_parameters

    groups = group_parameters(network, matcher)
    stem = set(group_parameters(network, {"stem": matcher.get("stem")}).get(0, ())) if matcher.get("stem") else set()
    unmatched = {name for name, _ in network.named_parameters()} - _matched(network, matcher)
    stem -= {name for name in stem if name in unmatched}
    layers = [[name for name in groups[at] if name not in head] for at in sorted(groups)]
    blocks = [names for names in layers if names and not stem & set(names) and not unmatched.issuperset(names)]
    if not blocks:
        return [], frozenset()
    # What timm counts with the last block without matching it as one: a last norm, a last convolution.
    own = _matched(network, _without_followers(matcher))
    neck = {name for name in blocks[-1] if name not in own} | {name for name in unmatched if name not in head}
    return [frozenset(names) - neck for names in blocks], frozenset(neck)


def _matched(network: nn.Module, matcher: dict[str, Any]) -> set[str]:
    """Return the parameters that a matcher has a place for."""
    patterns = []
    for given in matcher.values():
        if given is not None:
            patterns += [given] if isinstance(given, str) else [one[0] for one in given]
    return {name for name, _ in network.named_parameters() if any(re.match(pattern, name) for pattern in patterns)}


def _without_followers(matcher: dict[str, Any]) -> dict[str, Any]:
    """Return a matcher without what is only counted with the group before it."""
    from timm.models._manipulate import MATCH_PREV_GROUP

    return {
        key: given if given is None or isinstance(given, str) else [one for one in given if one[1] != MATCH_PREV_GROUP]
        for key, given in matcher.items()
    }


# --- networks that show it -------------------------------------------------------------------------------------------------------


def _found(network: nn.Module, head: frozenset[str], body: Sequence[str]) -> tuple[list[frozenset[str]], frozenset[str]]:
    """Return blocks and neck by structure: of all rows of parts that lie in no other row, the one with the most parameters."""
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters() if name not in head}

    def weight(row: list[frozenset[str]]) -> int:
        return sum(sizes[name] for block in row for name in block)

    rows = list(_rows(network, "", set(sizes)))
    if not rows:
        return [], frozenset()
    row = max(rows, key=weight)
    inside = frozenset().union(*row)
    last = max(at for at, name in enumerate(body) if name in inside)
    first = min(at for at, name in enumerate(body) if name in inside)
    between = [name for name in body[first:last] if name not in inside]
    # Glue between two blocks (a downsampling) begins the next one, as timm has it.
    for name in between:
        at = body.index(name)
        after = next(place for place, block in enumerate(row) if any(body.index(one) > at for one in block))
        row[after] = row[after] | {name}
    return row, frozenset(body[last + 1 :])


def _rows(module: nn.Module, path: str, names: set[str]) -> Iterable[list[frozenset[str]]]:
    """Yield the outermost rows of at least two parts at or below `module`."""
    children = [
        (name, child, owned)
        for name, child in module.named_children()
        if (owned := frozenset(f"{path}{name}.{one}" for one, _ in child.named_parameters()) & names)
    ]
    row = _numbered(children) or (_in_line(module, path, names) if isinstance(module, nn.Sequential | nn.ModuleList) else [])
    if len(row) > 1:
        yield row
        return
    for name, child, _ in children:
        yield from _rows(child, f"{path}{name}.", names)


Child = tuple[str, nn.Module, frozenset[str]]


def _numbered(children: Sequence[Child]) -> list[frozenset[str]]:
    """Return the parts that are called by a word and a number, joined by number; transitions go with the block of their number."""
    words: dict[str, int] = {}
    found = [(match["word"], int(match["number"]), child) for child in children if (match := _NUMBERED.match(child[0]))]
    for word, _, (_, child, owned) in found:
        if not _GLUE.match(word) and any(True for _ in child.children()):
            words[word] = words.get(word, 0) + len(owned)
    if not words:
        return []
    word = max(words, key=lambda one: words[one])
    blocks: dict[int, frozenset[str]] = {number: owned for one, number, (_, _, owned) in reversed(found) if one == word}
    for one, number, (_, _, owned) in found:
        if number in blocks and (one == word or one.startswith("transition")):
            blocks[number] |= owned
    return [blocks[number] for number in sorted(blocks)]


def _in_line(module: nn.Module, path: str, names: set[str]) -> list[frozenset[str]]:
    """Return the blocks of a list or sequence: its stages if it has any, else its composite parts, else convolutions up to a pooling."""
    children = list(module.named_children())

    def owned(name: str, child: nn.Module) -> frozenset[str]:
        return frozenset(f"{path}{name}.{one}" for one, _ in child.named_parameters()) & names

    stages = [owned(*one) for one in children if isinstance(one[1], nn.Sequential) and any(map(_composite, one[1].children()))]
    parts = [owned(*one) for one in children if _composite(one[1]) and not isinstance(one[1], nn.Sequential)]
    for row in (stages, parts):
        if len(blocks := [block for block in row if block]) > 1:
            return blocks
    if not all(isinstance(child, _LEAVES) or not owned(name, child) or _is_norm(child) for name, child in children):
        return []
    pooled, stage = [], 0
    for name, child in children:
        stage += "Pool" in type(child).__name__
        pooled.append((stage, owned(name, child)))
    grouped = [frozenset().union(*(one for _, one in group)) for _, group in groupby(pooled, key=lambda one: one[0])]
    blocks = [block for block in grouped if block]
    return blocks if sum(isinstance(child, nn.Conv2d) for _, child in children) > 2 else []


def _composite(module: nn.Module) -> bool:
    """Tell whether a module is made of parts and is more than a convolution with its norm and activation."""
    inner = list(module.children())
    return bool(inner) and not (
        isinstance(module, nn.Sequential) and not any(any(True for _ in one.children()) for one in inner)
    )


def _is_norm(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__
