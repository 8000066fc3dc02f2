"""What a file of a study may hold in any place where something else belongs, and copies of one that is broken place by place."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

#: Nothing that any reader of a number, a share, a name or a list wants.
JUNK = (None, [], {}, "x", -2, 1e300, True, [[1]], {"value": "x"}, "\ud800", 10**40, float("nan"))


def broken_copies(whole: Any, entries: int | None = 2) -> Iterator[Any]:
    """Yield a copy of `whole` for each of its places, which holds something of another kind; of a list the first `entries` are places."""
    for at, path in enumerate(_paths(whole, entries)):
        other = copy.deepcopy(whole)
        holder = other
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = JUNK[at % len(JUNK)]
        yield other


def _paths(value: Any, entries: int | None, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value[:entries]) if isinstance(value, list) else ()
    return ([at] if at else []) + [path for key, item in inside for path in _paths(item, entries, (*at, key))]
