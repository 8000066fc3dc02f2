"""Errors in three breaths: what was given, what is allowed (nearest first), the next command."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

#: Exit codes. `UNFORESEEN` is a mistake of ours, the others say what a user can do.
DONE, UNFORESEEN, USAGE, PARTLY, ENVIRONMENT, DATA = 0, 1, 2, 3, 4, 5
INTERRUPTED, TERMINATED = 130, 143


class Problem(Exception):
    """Something a user can cause and mend. Never shown as a traceback."""

    code = USAGE

    def __init__(self, given: str, allowed: str, next: str) -> None:
        super().__init__(given, allowed, next)
        self.given, self.allowed, self.next = given, allowed, next

    def __str__(self) -> str:
        return "\n".join((self.given, self.allowed, self.next))


class UsageProblem(Problem):
    """A wrong word, name, type or value: exit code 2."""


class EnvironmentProblem(Problem):
    """Disk, memory, missing package, missing weights or an unreachable server: exit code 4."""

    code = ENVIRONMENT


class DataProblem(Problem):
    """Data that no comparison can be made from: exit code 5."""

    code = DATA


def out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, of the machine or of its accelerator, in whatever words a library says so."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or any(
        said in words for said in ("out of memory", "can't allocate memory", "bad_alloc")
    )


class PictureError(Exception):
    """One picture cannot be used. `code` is stable and goes into tables; `detail` is for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


def nearest(word: str, options: Iterable[str], most: int = 3) -> list[str]:
    """Return up to `most` of `options`, nearest to `word` first; empty where nothing is near."""
    by_folded: dict[str, str] = {}
    for option in options:
        by_folded.setdefault(option.casefold(), option)
    close = difflib.get_close_matches(word.casefold(), list(by_folded), n=most, cutoff=0.5)
    return [by_folded[name] for name in close]


def allowed_names(word: str, options: Iterable[str], most: int = 8) -> str:
    """Return a sentence that lists `options`, those nearest to `word` first."""
    every = sorted(set(options))
    near = nearest(word, every)
    shown = [*near, *(name for name in every if name not in near)][:most]
    rest = len(every) - len(shown)
    more = f" and {rest} more" if rest > 0 else ""
    lead = f"Did you mean {near[0]}? " if near else ""
    return f"{lead}Allowed: {', '.join(plain(name) for name in shown)}{more}."


#: Characters that change how the text around them is drawn; they are shown by their code instead.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def plain(text: object, most: int = 300) -> str:
    """Return `text` as one safe line: control and direction-override characters by code, at most `most` characters."""
    out = "".join(
        f"\\u{ord(char):04x}" if char in _BIDI or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") else char
        for char in str(text)[: most + 1]
    )
    return out if len(out) <= most else out[: most - 1] + "…"
