"""The veil between a family and what is known about pictures: what a family is given leads to pixels and to nothing else.

A `Store` knows where its originals lie, and a folder's name is a label. A family, or a library it calls, that looks into
what it was given (attributes, slots, closures, `repr`, the file behind an array) finds a number here. This keeps honest code
honest and makes an accident impossible; it is no wall against code that means harm, which could read the study from disk.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np

from fieldguide.records import PixelReader, Pixels

P = ParamSpec("P")
R = TypeVar("R")

_numbers = itertools.count()
_behind: dict[int, Any] = {}


class Window:
    """A `PixelReader` that shows pixels by hash and holds nothing but a number."""

    __slots__ = ("__weakref__", "_number")

    def __init__(self, number: int) -> None:
        self._number = number

    def read(self, key: str, at_least: int) -> Pixels:
        """Return a copy: a view of a memory map would carry the name of its file, and files are filled class by class."""
        reader: PixelReader = _behind[self._number]
        pixels = np.array(reader.read(key, at_least))
        pixels.setflags(write=False)
        return pixels

    def prepare(self, keys: Sequence[str], at_least: int) -> None:
        """Make many pictures ready to be read at this size."""
        _behind[self._number].prepare(keys, at_least)


class Hatch(Generic[P, R]):
    """A function that holds nothing but a number."""

    __slots__ = ("__weakref__", "_number")

    def __init__(self, number: int) -> None:
        self._number = number

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function behind."""
        answer: R = _behind[self._number](*args, **kwargs)
        return answer


def window(reader: PixelReader) -> Window:
    """Return `reader` behind the veil; `reader` lives as long as the window does."""
    veiled = Window(_hide(reader))
    weakref.finalize(veiled, _behind.pop, veiled._number, None)
    return veiled


def hatch(function: Callable[P, R]) -> Hatch[P, R]:
    """Return `function` behind the veil."""
    veiled: Hatch[P, R] = Hatch(_hide(function))
    weakref.finalize(veiled, _behind.pop, veiled._number, None)
    return veiled


def _hide(thing: object) -> int:
    number = next(_numbers)
    _behind[number] = thing
    return number
