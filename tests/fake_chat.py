"""A language model that answers by rule, in this process: what it was asked is written down, and it fails where it is told to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from fieldguide.craft.chat import Said, Wanted, door
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking

#: What is said of a picture: given what is asked and its pixels.
Rule = Callable[[Asking, Pixels], Said]


def by_colour(asking: Asking, pixels: Pixels) -> Said:
    """Name the class whose place in the list is that of the strongest of the three colours."""
    place = int(np.asarray(pixels).reshape(-1, 3).mean(axis=0).argmax())
    return Said(asking.answers[place % len(asking.answers)], "stop", 100, 3, 60, 0.01, "text")


@dataclass
class Fake:
    """A `fieldguide.craft.chat.Chat`; `rule` may be changed while it runs. `ahead` pictures are taken before the first answer."""

    rule: Rule = by_colour
    revision: str = "a fake"
    size: int = 16
    ahead: int = 3
    facts: Mapping[str, Any] = field(default_factory=lambda: {"parameters": 7, "precision": "fp32"})
    where: str | None = None
    asked: list[bytes] = field(default_factory=list)
    askings: list[Asking] = field(default_factory=list)
    shown: list[Mapping[str, Pixels]] = field(default_factory=list)
    opened: list[Wanted] = field(default_factory=list)
    most_taken: int = 0
    closed: int = 0

    def ask(self, asking: Asking, pictures: Iterable[Pixels], examples: Mapping[str, Pixels]) -> Iterator[Said]:
        self.askings.append(asking)
        self.shown.append(examples)
        waiting: list[Pixels] = []
        for pixels in pictures:
            waiting.append(pixels)
            self.most_taken = max(self.most_taken, len(waiting))
            if len(waiting) == self.ahead:
                yield self._say(asking, waiting.pop(0))
        for pixels in waiting:
            yield self._say(asking, pixels)

    def _say(self, asking: Asking, pixels: Pixels) -> Said:
        self.asked.append(pixels.tobytes())
        return self.rule(asking, pixels)

    def close(self) -> None:
        self.closed += 1

    def install(self, patch: pytest.MonkeyPatch) -> Fake:
        """Stand behind every door from now on."""

        def opened(wanted: Wanted) -> Fake:
            self.opened.append(wanted)
            return self

        patch.setattr(door, "opened", opened)
        patch.setattr(door, "knock", lambda wanted: None)
        patch.setattr(door, "first", lambda wanted: 0)
        return self
