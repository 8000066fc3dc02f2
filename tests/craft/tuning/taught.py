"""What the tests of tuning teach: pictures of coarse noise, each with a name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tests.craft.chat.asking import NAMES, asking, picture

from fieldguide.bench import Bench, read_log
from fieldguide.craft.chat import Wanted
from fieldguide.craft.tuning import Lesson, Tuning, adapters, rows
from fieldguide.craft.tuning.adapters import Student
from fieldguide.craft.tuning.teaching import Teaching
from fieldguide.craft.tuning.training import Plan
from fieldguide.records import Image, Pixels

SMALL = Tuning(rank=4, alpha=16)
PLAN = Plan(steps=8, batch_size=2, accumulate=2, learning_rate=5e-3, every=4)


@dataclass
class Shelf:
    """Pictures by key, and how often each was read."""

    pictures: dict[str, Pixels]
    reads: list[str] = field(default_factory=list)

    def read(self, key: str, at_least: int) -> Pixels:
        self.reads.append(key)
        return self.pictures[key]

    def prepare(self, keys: Sequence[str], at_least: int) -> None:
        """They are there already."""


def lessons(count: int = 6) -> tuple[list[Lesson], Shelf]:
    """Return lessons about pictures of three shapes, with answers of one to several tokens."""
    shelf = Shelf({f"p{at:03}": picture(at, 32, 32 + 16 * (at % 3)) for at in range(count)})
    return [Lesson(Image(key, shelf), NAMES[at % len(NAMES)]) for at, key in enumerate(shelf.pictures)], shelf


def student(tiny_chats: Path, architecture: str = "idefics3", tuning: Tuning = SMALL, **more: Any) -> Student:
    return adapters.opened(wanted(tiny_chats, architecture), tuning, 0, **more)


def wanted(tiny_chats: Path, architecture: str = "idefics3", **more: Any) -> Wanted:
    return Wanted(f"hf/{tiny_chats / architecture}", **more)


def teaching(tiny_chats: Path, architecture: str = "idefics3", tuning: Tuning = SMALL, **more: Any) -> Teaching:
    return Teaching(wanted(tiny_chats, architecture), tuning, **{"plan": PLAN, "asking": asking(most_tokens=6), **more})


def logits(network: Any, chat: Any) -> torch.Tensor:
    """Return what a network makes of one picture and its answer."""
    some, _ = lessons(1)
    inputs = rows.Rows(chat, asking()).row(some[0]).inputs
    with torch.no_grad():
        found: torch.Tensor = network(**inputs, use_cache=False).logits
    return found


def losses(scratch: Path) -> list[float]:
    return [event["train_loss"] for event in read_log(scratch / "log.jsonl") if event["event"] == "epoch"]


def bench(folder: Path, **more: Any) -> Bench:
    folder.mkdir(exist_ok=True)
    return Bench(folder, seed=1, **more)


class Killed(BaseException):
    """The power went off."""


@dataclass
class Dying:
    """A progress that kills the run after so many steps of its bars."""

    after: int

    @contextmanager
    def bar(self, what: str, total: int) -> Any:
        outer = self

        class Bar:
            def advance(self, steps: int = 1, note: str = "") -> None:
                outer.after -= 1
                if outer.after <= 0:
                    raise Killed

        yield Bar()

    def say(self, text: str) -> None:
        pass
