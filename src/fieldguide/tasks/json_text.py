"""JSON in the words of a language model: alone, in a fence, after some prose or after what it was thinking."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_FENCE = "```"
#: Opening braces that are tried; a text with more of them that lead nowhere holds no object.
_MOST_TRIED = 200


def first_object(text: str) -> dict[str, Any] | None:
    """Return the first JSON object in `text`, or `None` where there is none that is whole.

    What stands before the last ``</think>`` is left aside. An object that is alone comes before one in a fence, and that before
    one in prose.
    """
    text = text.rpartition("</think>")[2].strip()
    for candidate in (text, *_fenced(text)):
        value = _read(candidate.strip())
        if isinstance(value, dict):
            return value
    at = -1
    for _ in range(_MOST_TRIED):
        at = text.find("{", at + 1)
        if at < 0:
            return None
        try:
            value, _ = json.JSONDecoder(parse_constant=_refuse).raw_decode(text, at)
        except (ValueError, RecursionError):
            continue
        return value if isinstance(value, dict) else None
    return None


def _fenced(text: str) -> Iterator[str]:
    """Yield what stands between fences, without the name of its language."""
    parts = text.split(_FENCE)
    for part in parts[1:-1:2]:
        yield re.sub(r"^[\w-]*\s*", "", part, count=1)


class Several(tuple[Any, ...]):
    """The values that one key of an object was given, where it was given more than one."""


@dataclass(frozen=True)
class Objects:
    """The JSON objects of a text, in order. `broken`: something that begins like one is none; `cut`: because the text ends in it."""

    found: tuple[dict[str, Any], ...] = ()
    broken: bool = False
    cut: bool = False


def objects(text: str) -> Objects:
    """Return every JSON object in `text` that is in no other, wherever it stands; nothing is mended.

    What comes after a brace that opens no object is not looked at: what lies inside a broken object is no answer by itself.
    """
    found: list[dict[str, Any]] = []
    decoder = json.JSONDecoder(object_pairs_hook=_together, parse_constant=_refuse)
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            cut = error.msg.startswith("Unterminated string") or error.pos >= len(text.rstrip())
            return Objects(tuple(found), True, cut)
        except (ValueError, RecursionError):
            return Objects(tuple(found), True)
        found.append(value)
        at = text.find("{", end)
    return Objects(tuple(found))


def only(text: str) -> Any:
    """Return the one JSON value that `text` is from end to end; raises `ValueError` or `RecursionError` where it is none."""
    return json.JSONDecoder(object_pairs_hook=_together, parse_constant=_refuse).decode(text)


def _together(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key not in values:
            values[key] = value
        elif values[key] != value:
            values[key] = Several((*(values[key] if isinstance(values[key], Several) else (values[key],)), value))
    return values


def _read(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
