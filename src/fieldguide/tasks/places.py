"""Templates of prompts: names in braces, and what is put in their places. What is put there is data and never read as a template."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Mapping

from fieldguide.errors import UsageProblem, allowed_names, plain

#: What a text of a prompt may have filled in.
PLACES = ("classes", "class_count", "example", "example_answer")
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\ufeff")


def parsed(template: str, where: str) -> list[tuple[str, str | None]]:
    """Return (text, name of the place behind it) of a template; raises `UsageProblem` for an unknown place or a lone brace."""
    try:
        parts = [(text, name, f"{spec or ''}{kind or ''}") for text, name, spec, kind in string.Formatter().parse(template)]
    except ValueError as error:
        raise _wrong(where, "has a brace that is not closed or not opened") from error
    for _, name, more in parts:
        if name is not None and (name not in PLACES or more):
            raise _wrong(where, f"has {{{plain(name + more, 60)}}}, which is no place to be filled", name)
    return [(text, name) for text, name, _ in parts]


def _wrong(where: str, what: str, name: str = "") -> UsageProblem:
    return UsageProblem(
        f"{where} {what}.",
        f"{allowed_names(name, PLACES)} Each in braces; {{{{ and }}}} stand for braces that are meant.",
        "For example: Which of these {class_count} does the picture show? {classes}",
    )


def filled(template: str, values: Mapping[str, str], where: str) -> str:
    """Return a template with `values` in their places; they are put there as they are, whatever they hold."""
    return "".join(text + ("" if name is None else values[name]) for text, name in parsed(template, f"The prompt's {where}"))


def flat(text: str) -> str:
    """Return `text` as one line: white space and control characters as single blanks, what turns the direction of writing gone."""
    kept = (" " if unicodedata.category(one) in ("Cc", "Zl", "Zp") else one for one in text)
    return " ".join("".join(one for one in kept if one not in _BIDI and unicodedata.category(one) != "Cs").split())
