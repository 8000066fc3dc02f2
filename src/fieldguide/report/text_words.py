"""Sentences about tests of texts against pictures alone: where they help, where they cost, and where nothing could be shown."""

from __future__ import annotations

from collections.abc import Sequence

from fieldguide.report import say
from fieldguide.report.text_files import Json

ALPHA = 0.05
_WORDS = {"mix": "Texts instead of pictures", "weighted": "Texts in addition"}


def told_differences(tests: Sequence[Json], title: str) -> str:
    """Return what the paired tests of one source and translator say, at the level of 5 % after correction."""
    parts = [_told(words, [one for one in tests if one["curve"] == curve]) for curve, words in _WORDS.items()]
    said = " ".join(part for part in parts if part)
    return say.glued(f"{title}: {said}" if said else f"{title}: no test was made.")


def _told(words: str, tests: Sequence[Json]) -> str:
    if not tests:
        return ""
    ordered = sorted(tests, key=lambda one: -float(one["image"]))
    real = [one for one in ordered if _p(one) is not None and float(_p(one) or 0) <= ALPHA]
    parts = []
    for side, kept in (
        ("better than pictures alone", [one for one in real if one["difference"] > 0]),
        ("worse than pictures alone", [one for one in real if one["difference"] < 0]),
    ):
        if kept:
            most = max(kept, key=lambda one: abs(one["difference"]))
            parts.append(f"{side} at {_ratios(kept)}, most at {_ratio(most)} by {_points(most)}")
    rest = len(ordered) - len(real)
    if not parts:
        return f"{words}: no difference from pictures alone could be shown at any of {len(ordered)} ratios."
    left = f"; no difference could be shown at {rest} other{'s' if rest > 1 else ''}" if rest else ""
    return f"{words}: {'; '.join(parts)}{left}."


def _p(one: Json) -> float | None:
    p = one.get("p_adjusted", one.get("p"))
    return None if p is None else float(p)


def _points(one: Json) -> str:
    bounds = "" if one.get("low") is None else f" [{say.points(one['low'])}, {say.points(one['high'])}]"
    p = say.p_value(float(_p(one) or 0.0))
    return f"{say.points(one['difference'])} points{bounds}, p {'' if p.startswith('<') else '= '}{p}"


def _ratio(one: Json) -> str:
    return f"{float(one['image']):g}:{100 - float(one['image']):g}"


def _ratios(tests: Sequence[Json]) -> str:
    """Return ratios as a list, or as a number where there are many."""
    names = [_ratio(one) for one in tests]
    return ", ".join(names) if len(names) <= 4 else f"{len(names)} ratios from {names[0]} to {names[-1]}"
