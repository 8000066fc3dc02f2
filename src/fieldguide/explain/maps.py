"""The nouns of this room: what is explained (`Target`), what explains it (`Maps`), and that a method does not fit (`NotApplicable`).

A method is a function ``method(sight, pixels, target, layers) -> Maps`` for one picture: `sight` is a `fieldguide.craft.sight.Sight`,
`pixels` its normalised ``"1 3 size size"``, `layers` the blocks that are asked for, counted from 0 (`None`: the method's own choice).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fieldguide.errors import UsageProblem

Layers = Sequence[int] | None


@dataclass(frozen=True)
class Target:
    """Why `answer` and not `against`? Both are positions among the logits; the quantity explained is the gap between them.

    The gap of two logits is the gap of the two log-probabilities, in nats, so it means the same for every family that has either.
    """

    answer: int
    against: int

    @classmethod
    def of(cls, scores: Tensor) -> Target:
        """Return the best class of ``"classes"`` logits or log-probabilities against the second best."""
        first, second = scores.topk(2).indices.tolist()
        return cls(first, second)

    def gap(self, scores: Tensor) -> Tensor:
        """Return ``"pictures"`` of ``"pictures classes"`` logits or log-probabilities."""
        return scores[:, self.answer] - scores[:, self.against]


@dataclass(frozen=True)
class Maps:
    """`values` is ``"layers height width"``, float32, over the square that the network saw; larger speaks more for the answer.

    `layers` names each map (``block 8``, or ``all blocks``). Where `signed`, negative values speak for the runner-up; else values are
    zero or more. Nothing is scaled: layers can be compared with each other.
    """

    method: str
    layers: tuple[str, ...]
    values: NDArray[np.float32]
    signed: bool = False


class NotApplicable(Exception):
    """A method that this network has nothing for: `why`, and the methods that do fit, best first."""

    def __init__(self, why: str, instead: Sequence[str] = ("occlusion",)) -> None:
        super().__init__(why)
        self.why, self.instead = why, tuple(instead)

    def __str__(self) -> str:
        return f"not applicable: {self.why}" + (f"; use {' or '.join(self.instead)}" if self.instead else "")


def chosen(layers: Layers, count: int, default: Sequence[int]) -> list[int]:
    """Return the blocks that are looked at; raises `UsageProblem` for one that a network of `count` blocks does not have."""
    wanted = list(default if layers is None else layers)
    for layer in wanted:
        if not 0 <= layer < count:
            raise UsageProblem(
                f"Block {layer} was asked for, but this network has {count}.",
                f"Allowed: 0 to {count - 1}.",
                f"For example --layers {max(0, count - 4)}-{count - 1}",
            )
    return wanted
