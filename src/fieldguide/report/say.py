"""How the report says numbers: one decimal for percentages, times as people say them, and a name for everything absent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fieldguide.errors import plain

NOT_RECORDED = "not recorded"
NOT_APPLICABLE = "not applicable"
MINUS = "\u2212"
NBSP = "\u00a0"

#: Characters that must never reach the page as they are; `errors.plain` shows each by its code.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u061c\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


#: An absolute path that fills a text or stands between quotes.
_ABSOLUTE = re.compile(r"""(^|["'])(?:[A-Za-z]:[\\/]+|/|~/|\\\\+)(?:[^"'\n]*[\\/])?([^"'\\/\n]+)[\\/]*(?=$|["'])""")


@dataclass(frozen=True, slots=True)
class Value:
    """A number ready to be shown: its words, the number itself (for sorting), a second line, and what a pointer is told."""

    text: str
    number: float | None = None
    note: str = ""
    title: str = ""

    @property
    def absent(self) -> bool:
        """True where there is no number; `text` then names the reason."""
        return self.number is None


MISSING = Value(NOT_RECORDED, title="the study folder does not hold this value")


#: A path in a model's words: at the beginning, or behind ``hf/``, ``weights=`` and the like.
_PATH = re.compile(r"(?:(?<=[=/ :])|^)[~.]{0,2}/(?:[^\s,/]+/)*([^\s,/]+)")


def clean(text: object, most: int = 2000) -> str:
    """Return `text` as one line that draws as itself; the quick way out is for the many texts that already do."""
    line = str(text)
    return plain(line, most) if len(line) > most or _UNSAFE.search(line) else line


def pathless(model: object) -> str:
    """Return a model's name with files and folders called by their last part: a page that is passed on tells of no machine."""
    return _PATH.sub(r"\1", str(model))


def percent(share: float) -> str:
    """Return a share between 0 and 1 as a percentage with one decimal."""
    return f"{_tidy(100 * share, 1)}{NBSP}%"


def points(share: float, signed: bool = True) -> str:
    """Return a difference of shares in percentage points with one decimal and its sign."""
    body = _tidy(100 * abs(share), 1)
    if not signed or float(body) == 0:
        return body
    return ("+" if share > 0 else MINUS) + body


def decimal(number: float, digits: int = 3) -> str:
    """Return a plain decimal number."""
    return _tidy(number, digits).replace("-", MINUS)


def count(number: float) -> str:
    """Return a whole number with thousands set apart."""
    return f"{int(number):,}"


def p_value(p: float, alpha: float = 0.05) -> str:
    """Return a p value with three decimals, or as many as it takes not to be rounded onto or across `alpha`."""
    if p < 0.001:
        return "< 0.001"
    shown = (f"{p:.{digits}f}" for digits in range(3, 9))
    return next(
        (text for text in shown if p == alpha or (float(text) != alpha and (float(text) < alpha) == (p < alpha))), repr(p)
    )


def glued(sentence: str) -> str:
    """Return `sentence` with per cent signs and p values held together."""
    return re.sub(r"\bp ([=<]) (?=\d)", rf"p{NBSP}\1{NBSP}", sentence.replace(" %", f"{NBSP}%"))


def shortened(text: str) -> str:
    """Return `text` with absolute paths cut to their last part: a page that is passed on does not tell whose machine it was."""
    return _ABSOLUTE.sub(r"\1…/\2", text)


def seconds(span: float) -> str:
    """Return a time span as people say it."""
    if span < 1:
        return f"{1000 * span:.0f}{NBSP}ms" if span >= 0.001 else "under 1 ms"
    if span < 59.95:
        return f"{_tidy(span, 1) if span < 9.95 else f'{span:.0f}'}{NBSP}s"
    whole = round(span)
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}{NBSP}min {rest:02d}{NBSP}s"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours}{NBSP}h {minutes:02d}{NBSP}min"


def milliseconds(span: float) -> str:
    """Return a time for one picture, given in milliseconds."""
    if 0 < span < 0.01:
        return f"<{NBSP}0.01{NBSP}ms"
    return decimal(span, 2 if span < 1 else 1 if span < 100 else 0) + f"{NBSP}ms"


def amount(number: float) -> str:
    """Return a parameter count: ``23.5 M``."""
    return _scaled(number, 1000, ("", "k", "M", "G", "T"))


def size(number: float) -> str:
    """Return a size in bytes: ``94.2 MB``."""
    return _scaled(number, 1000, ("B", "kB", "MB", "GB", "TB"))


def interval(low: float, high: float) -> str:
    """Return the bounds of an interval of shares, in per cent."""
    return f"{_tidy(100 * low, 1)}\u2013{_tidy(100 * high, 1)}"


def score(entry: Mapping[str, Any] | None, share: bool = True) -> Value:
    """Return a `records.Score` (as read from JSON) ready to be shown; `share` says whether it is a percentage."""
    if entry is None:
        return MISSING
    value, low, high = entry.get("value"), entry.get("low"), entry.get("high")
    if value is None:
        return Value(str(entry.get("state") or NOT_APPLICABLE), title=str(entry.get("why") or "no reason recorded"))
    text = percent(value) if share else decimal(value)
    why = str(entry.get("why") or "")
    if low is None or high is None:
        return Value(text, value, title=why)
    note = interval(low, high) if share else f"{decimal(low)}\u2013{decimal(high)}"
    over = f" over {count(entry['n'])}" if entry.get("n") is not None else ""
    return Value(text, value, note, f"95 % interval {note}{over}" + (f"; {why}" if why else ""))


def number(value: float | None, words: Any, why: str = "") -> Value:
    """Return `value` said by the function `words`; where it is `None`, ``not applicable`` with `why` or ``not recorded``."""
    if value is not None:
        return Value(words(value), value)
    return Value(NOT_APPLICABLE, title=why) if why else MISSING


def _tidy(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _scaled(value: float, base: float, units: tuple[str, ...]) -> str:
    scaled, unit = float(value), 0
    while scaled >= base * 0.9995 and unit < len(units) - 1:
        scaled, unit = scaled / base, unit + 1
    text = f"{scaled:.0f}" if unit == 0 or scaled >= 99.95 else f"{scaled:.1f}"
    return f"{text}{NBSP}{units[unit]}".rstrip()
