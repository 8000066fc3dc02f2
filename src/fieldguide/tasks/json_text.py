"""JSON in the words of a language model: alone, in a fence, after some prose or after what it was thinking."""

from __future__ import annotations

import json
import re
from typing import Any

_FENCE = re.compile(r"```[\w-]*\s*\n?(.*?)```", re.DOTALL)
#: Opening braces that are tried; a text with more of them that lead nowhere holds no object.
_MOST_TRIED = 200


def first_object(text: str) -> dict[str, Any] | None:
    """Return the first JSON object in `text`, or `None` where there is none that is whole.

    What stands before the last ``</think>`` is left aside. An object that is alone comes before one in a fence, and that before
    one in prose.
    """
    text = text.rpartition("</think>")[2].strip()
    for candidate in (text, *(found[1] for found in _FENCE.finditer(text))):
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


def _read(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
