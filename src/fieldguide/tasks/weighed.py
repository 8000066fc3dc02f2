"""How probable each name of the list is as the answer about one picture: numbers, where other askings bring words.

They travel and are kept as the text of an answer (`dumps`, `loads`), so that they are asked for once, shared between contestants, and
survive a kill like any other answer; what is made of them (which form of the score, which temperature) costs nothing to change.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Weighed:
    """Log-probabilities in nats, `sums`, one for each of `Asking.answers`, in their order.

    `tokens` (the end of the turn included) and `sizes` (bytes in UTF-8, without it) of each name are there where names themselves were
    scored, and `None` where a code stood for each. `found` is there where a server told only its likeliest tokens: False for a name it
    did not tell of, whose sum is then the most that it can be, and never read as impossible.
    """

    sums: tuple[float, ...]
    tokens: tuple[int, ...] | None = None
    sizes: tuple[int, ...] | None = None
    found: tuple[bool, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what is no log-probability for every name."""
        if not self.sums or not all(math.isfinite(one) for one in self.sums):
            raise ValueError("a number for every name, and each of them finite")
        for beside in (self.tokens, self.sizes, self.found):
            if beside is not None and len(beside) != len(self.sums):
                raise ValueError("as many tokens and bytes as names")


def dumps(weighed: Weighed) -> str:
    """Return `weighed` as a text that `loads` reads back to the last bit."""
    told = {name: value for name, value in vars(weighed).items() if value is not None}
    return json.dumps(told, separators=(",", ":"))


def loads(text: str) -> Weighed:
    """Return what `dumps` wrote; raises `ValueError` where it is something else."""
    told = json.loads(text)
    if not isinstance(told, dict) or not {"sums"} <= set(told) <= {"sums", "tokens", "sizes", "found"}:
        raise ValueError("these are no log-probabilities")
    return Weighed(**{name: tuple(value) for name, value in told.items()})
