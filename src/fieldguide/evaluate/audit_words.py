"""How numbers of a prompt audit are written in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fieldguide.evaluate.leaning import ALPHA

Json = dict[str, Any]
#: The sign that the rest of a report writes before what is below zero.
MINUS = "\u2212"


def holds(test: Mapping[str, Any] | None) -> bool:
    """Tell whether what was tested holds after all corrections."""
    return test is not None and test.get("p_holm") is not None and test["p_holm"] <= ALPHA


def turned(gap: Mapping[str, Any]) -> Json:
    """Return a difference the other way round."""
    return {**gap, "value": -gap["value"], "low": -gap["high"], "high": -gap["low"]}


def gap_text(gap: Mapping[str, Any]) -> str:
    """Return ``17 points [12, 22] (500 pictures, p < 0.001)``."""
    p = gap["p"] if gap.get("p_holm") is None else gap["p_holm"]
    return f"{points(gap['value'])} [{bare(gap['low'])}, {bare(gap['high'])}] ({pictures_text(gap['n'])}, {p_text(p)})"


def points(share: float) -> str:
    """Return a difference of two shares in percentage points."""
    size = bare(share)
    return f"{size} point{'' if size in ('1', f'{MINUS}1') else 's'}"


def bare(share: float) -> str:
    """Return a share as percent or points without a unit, with one decimal below ten."""
    value = 100 * share
    text = f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text.replace("-", MINUS)


def share_text(share: float) -> str:
    """Return ``12 %``."""
    return f"{bare(share)} %"


def percent_text(told: Mapping[str, Any]) -> str:
    """Return ``12 % [8, 17]``."""
    return f"{share_text(told['value'])} [{bare(told['low'])}, {bare(told['high'])}]"


def pictures_text(pictures: int) -> str:
    """Return ``500 pictures``."""
    return f"{pictures:,} picture{'' if pictures == 1 else 's'}"


def p_text(p: float | None) -> str:
    """Return ``p = 0.031``, or ``p < 0.001`` below that."""
    return "no test" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def listed(parts: Iterable[str]) -> str:
    """Return ``a, b and c``."""
    every = list(parts)
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} and {every[-1]}"


def begun(text: str) -> str:
    """Return a text as a sentence begins."""
    return text[:1].upper() + text[1:]
