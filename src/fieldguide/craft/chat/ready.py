"""What stands between a question and a network of this machine: a prompt made ready, and pictures that wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image as Pillow

from fieldguide.craft.chat import Said
from fieldguide.craft.chat.prefix import Inputs, Prefix
from fieldguide.craft.chat.trie import Held
from fieldguide.craft.chat.written import Written
from fieldguide.tasks.asking import Asking


@dataclass(frozen=True, eq=False)
class Ready:
    """A picture that waits: its inputs, which of them go through together (`like`), and what it is called."""

    number: int
    name: str
    picture: Pillow.Image
    inputs: Inputs
    like: tuple[Any, ...]
    tokens: int


class Weigher(Protocol):
    """What gives numbers for the names of one prompt, where others give words."""

    @property
    def behind(self) -> int:
        """Tokens that stand behind the prompt at most."""
        ...

    @property
    def alone(self) -> bool:
        """Whether pictures are looked at one by one."""
        ...

    def inputs(self, picture: Pillow.Image) -> Inputs | None:
        """Return what the network is given, where that is not the prompt as it is written."""
        ...

    def weighed(self, group: Sequence[Ready]) -> list[Said]:
        """Return what is said of pictures that are alike in shape."""
        ...

    def lessen(self) -> bool:
        """Do with less memory from here on, and tell whether that is possible."""
        ...


@dataclass
class Prepared:
    """An `Asking` made ready for this model; `prefix` is there once the first picture has shown that it may be."""

    asking: Asking
    written: Written
    shown: Mapping[str, Pillow.Image]
    answers: tuple[str, ...] = ()
    trie: Held | None = None
    weigher: Weigher | None = None
    prefix: Prefix | None = None
    tried: bool = False
    paid: bool = False
