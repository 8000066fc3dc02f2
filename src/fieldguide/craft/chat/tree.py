"""Labels as one tree of tokens: what several begin with stands there once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Labels = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Tree:
    """Tokens that labels are made of but for their last ones, each once for all labels that begin alike, parents first.

    `tokens` and their `depths` (0 is a label's first) are ``"nodes"``; `seen` ``"nodes nodes"`` bool tells which nodes lead to each, and
    itself. Token number i of all labels, `words`, follows node `after` (0 is the prompt, node n is n + 1) and belongs to label `owner`.
    """

    tokens: Tensor
    depths: Tensor
    seen: Tensor
    after: Tensor
    words: Tensor
    owner: Tensor


def cut(labels: Labels, most: int) -> list[list[int]]:
    """Return the places of `labels` in groups of those that begin alike, a tree of each having `most` nodes at most, or one label."""
    order = sorted(range(len(labels)), key=lambda at: tuple(labels[at]))
    groups: list[list[int]] = [[]]
    nodes: set[tuple[int, ...]] = set()
    for at in order:
        own = {tuple(labels[at][:end]) for end in range(1, len(labels[at]))}
        if groups[-1] and len(nodes | own) > most:
            groups.append([])
            nodes = set()
        groups[-1].append(at)
        nodes |= own
    return groups


def planted(labels: Labels, places: Sequence[int]) -> Tree:
    """Return the tree of those of `labels` that are at `places`."""
    nodes: dict[tuple[int, ...], int] = {(): 0}
    above: list[int] = []
    after, words, owner = [], [], []
    for at in places:
        label = tuple(labels[at])
        for end, word in enumerate(label):
            after.append(nodes[label[:end]])
            words.append(word)
            owner.append(at)
            if end + 1 < len(label) and label[: end + 1] not in nodes:
                nodes[label[: end + 1]] = len(nodes)
                above.append(after[-1])
    seen = torch.eye(len(above), dtype=torch.bool)
    for node, parent in enumerate(above):
        if parent:
            seen[node] |= seen[parent - 1]
    paths = list(nodes)[1:]
    return Tree(
        tokens=torch.tensor([path[-1] for path in paths], dtype=torch.long),
        depths=torch.tensor([len(path) - 1 for path in paths], dtype=torch.long),
        seen=seen,
        after=torch.tensor(after),
        words=torch.tensor(words),
        owner=torch.tensor(owner),
    )
