"""What the tests of chats ask, and about which pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking, Message, Shown

#: Some begin like others, and one is the beginning of another.
NAMES = tuple(f"{how}{what}" for how in ("", "polar ", "red ", "small ") for what in ("bear", "bear cub", "cat", "fish", "7"))


def asking(names: tuple[str, ...] = NAMES, *, examples: tuple[str, ...] = (), **more: Any) -> Asking:
    """Return a question with the list of names before the picture, after `examples` of it with answers."""
    turns = [Message("system", (f"Answer with one of: {', '.join(names)}.",))]
    for number, key in enumerate(examples):
        turns += [Message("user", ("This one?", Shown(key))), Message("assistant", (names[number],))]
    return Asking((*turns, Message("user", ("Which?", Shown(), "Say its name."))), names, **more)


def picture(seed: int, height: int = 32, width: int = 32) -> Pixels:
    """Return coarse noise, ``"height width 3"``, which no resizing washes out."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(-(-height // 4), 0).repeat(-(-width // 4), 1)[:height, :width])
