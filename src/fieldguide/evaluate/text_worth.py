"""What texts are worth, in pictures: how many more pictures a class would have helped as much, on the curve of pictures alone.

The curve is made monotone (isotonic regression) and interpolated in the logarithm of pictures a class, and never drawn beyond its ends:
"less than the smallest step" and "more than there are" are answers. The interval comes from resampled test pictures, the same for
every cell, together with effects of the seeds, the same for every cell too, drawn from a t distribution of as many degrees of freedom
as there are seeds less one; where all resamples but few lie beyond an end, so does the interval.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression

from fieldguide.evaluate.text_ratio import Cell, Floats, Groups, Key, correct, differences, grouped, shrunk, summary

#: Resamples, and the seed they start from.
RESAMPLES, SEED = 1000, 20_260
_LEVELS = (0.025, 0.975)
LESS, MORE, VALUE = "less than the smallest step", "more than there are", "value"


class Line(NamedTuple):
    """What is told of once: the texts of one source, read by one translator, for one head on one selection."""

    selection: str
    source: str
    translator: str
    head: str


def told(cells: Sequence[Cell], classes: int) -> dict[str, Any]:
    """Return the parts ``cells``, ``summary``, ``differences``, ``worth`` and ``headline`` of ``text_ratio.json``."""
    groups = grouped(cells)
    parts = {"cells": [cell.as_dict() for cell in cells], "summary": summary(groups), "differences": differences(groups)}
    worth = worths(groups, classes)
    return {**parts, "worth": worth, "headline": headline(groups, worth)}


@dataclass(frozen=True)
class _Curve:
    """Pictures alone: `each` ``"shares"`` pictures a class, rising, and monotone accuracies ``"1+resamples shares"``, as measured first."""

    each: Floats
    accuracy: Floats

    def at(self, each: float, row: int) -> float:
        """Return the accuracy of so many pictures a class."""
        return float(np.interp(math.log(each), np.log(self.each), self.accuracy[row]))

    def inverse(self, accuracy: float, row: int) -> float:
        """Return how many pictures a class reach `accuracy`; 0 below the curve's beginning, infinity beyond its end."""
        levels = self.accuracy[row]
        place = int(np.searchsorted(levels, accuracy - 1e-12))
        if place == len(levels):
            return math.inf
        if place == 0:
            return float(self.each[0]) if accuracy >= levels[0] - 1e-12 else 0.0
        part = (accuracy - levels[place - 1]) / (levels[place] - levels[place - 1])
        return math.exp((1 - part) * math.log(self.each[place - 1]) + part * math.log(self.each[place]))


@dataclass(frozen=True)
class _Drawn:
    """Pictures a class and accuracies ``"1+resamples"`` of every group, as measured first, and the curves of pictures alone."""

    each: Mapping[Key, float]
    accuracy: Mapping[Key, Floats]
    curves: Mapping[tuple[str, str], _Curve]


def worths(groups: Groups, classes: int) -> list[dict[str, Any]]:
    """Return what texts are worth for every line and share: beside the pictures of that share, or instead of any."""
    accuracy = _resampled(groups)
    each = {key: float(np.mean([cell.pictures for cell in cells])) / classes for key, cells in groups.items()}
    drawn = _Drawn(each, accuracy, _curves(each, accuracy))
    asked = {(_line(key), key.image) for key in groups if key.source is not None}
    return [entry for line, image in sorted(asked) if (entry := _worth(line, image, drawn)) is not None]


def _line(key: Key) -> Line:
    return Line(key.selection, key.source or "", key.translator or "", key.head)


def _curves(each: Mapping[Key, float], accuracy: Mapping[Key, Floats]) -> dict[tuple[str, str], _Curve]:
    keys: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for key in sorted((key for key in each if key.curve == "pictures"), key=lambda key: each[key]):
        keys[key.selection, key.head].append(key)
    curves = {}
    for name, those in keys.items():
        levels = np.stack([accuracy[key] for key in those], axis=1)
        monotone = np.array([isotonic_regression(row).x for row in levels])
        curves[name] = _Curve(np.array([each[key] for key in those]), monotone)
    return curves


def _resampled(groups: Groups) -> dict[Key, Floats]:
    """Return the accuracy of each group, as measured and then in each resample of test pictures and of effects of the seeds."""
    random = np.random.default_rng(SEED)
    means = {key: correct(cells).mean(axis=0) for key, cells in groups.items()}
    stacked = np.array(list(means.values()), np.float32).reshape(len(means), -1)
    n = stacked.shape[1]
    columns = []
    for start in range(0, RESAMPLES, 50):  # in blocks, for memory's sake
        counts = random.multinomial(n, np.full(n, 1 / n), size=min(50, RESAMPLES - start))
        columns.append(stacked @ counts.T.astype(np.float32) / n)
    again = np.concatenate(columns, axis=1)
    effects: dict[int, Floats] = {}
    found = {}
    for row, (key, cells) in zip(again, groups.items(), strict=True):
        freedom = max(len(cells) - 1, 1)
        if len(cells) not in effects:
            scale = np.sqrt(random.chisquare(freedom, RESAMPLES) / freedom)
            effects[len(cells)] = random.normal(size=(RESAMPLES, len(cells))) / scale[:, None]
        each = correct(cells).mean(axis=1)
        moved = effects[len(cells)] @ (each - each.mean()) * shrunk(correct(cells)) / math.sqrt(freedom * len(cells))
        found[key] = np.concatenate([[float(means[key].mean())], row + moved])
    return found


def _worth(line: Line, image: float, drawn: _Drawn) -> dict[str, Any] | None:
    """Return the worth beside the pictures of a share, or instead of pictures at share 0; `None` where the curve has nothing above."""
    curve = drawn.curves.get((line.selection, line.head))
    alone = Key("pictures", line.selection, None, None, line.head, image)
    keys = [Key(name, *line[:3], line.head, image) for name in (("weighted",) if image else ("weighted", "mix"))]
    key = next((key for key in keys if key in drawn.each), None)
    if curve is None or key is None or len(curve.each) < 2 or (image and alone not in drawn.each):
        return None
    each = drawn.each[alone] if image else 0.0
    if each >= curve.each[-1] * (1 - 1e-9):
        return None
    nothing = drawn.accuracy[alone] if image else np.zeros(RESAMPLES + 1)
    values = [_value(curve, row, each, *pair) for row, pair in enumerate(zip(drawn.accuracy[key], nothing, strict=True))]
    value, smallest = values[0], float(curve.each[0])
    low, high = (float(end) for end in np.quantile(values[1:], _LEVELS, method="inverted_cdf"))
    low, high = min(low, value), max(high, value, 0.0 if image else smallest)
    state = MORE if math.isinf(value) else LESS if value == 0 else VALUE
    entry = {
        "per_class": each,
        "image": image,
        "value": value if state == VALUE else None,
        "low": None if math.isinf(low) else low,
        "high": None if math.isinf(high) else high,
        "state": state,
    }
    return {**line._asdict(), **entry, "sentence": sentence(line, entry, (smallest, float(curve.each[-1])))}


def _value(curve: _Curve, row: int, each: float, texts: float, alone: float) -> float:
    """Return the pictures a class that texts are worth in one resample; infinity where the curve does not reach so high."""
    if not each:
        return curve.inverse(texts, row)
    gain = texts - alone
    return max(curve.inverse(curve.at(each, row) + gain, row) - each, 0.0) if gain > 0 else 0.0


def sentence(line: Line, entry: Mapping[str, Any], ends: tuple[float, float]) -> str:
    """Say what texts are worth; `ends` are the fewest and the most pictures a class that were measured."""
    through = "" if line.translator in ("", "identity") else f", through {line.translator}"
    who = f"your descriptions ({line.source}{through}) are worth"
    low, high, state = entry["low"], entry["high"], entry["state"]
    if not entry["image"]:
        few, many = (_number(end) for end in ends)
        begun = f"Without any picture, {who}"
        if state == LESS:
            return f"{begun} less than {_pictures(ends[0])} a class, the fewest that were measured."
        if state == MORE:
            return f"{begun} more than {_pictures(ends[1])} a class, all that there are."
        bounds = (
            f"{f'less than {few}' if low == 0 else _number(low)} to {f'more than {many}' if high is None else _number(high)}"
        )
        return f"{begun} {_pictures(entry['value'])} a class [{bounds}]."
    begun = f"Beside {_pictures(entry['per_class'])} a class, {who}"
    rest = f"more than the {_number(ends[1] - entry['per_class'])} further ones that there are"
    top = rest if high is None else _number(high)
    if state == LESS:
        return f"{begun} no further picture [0 to {top}]."
    if state == MORE:
        return f"{begun} {rest}{'' if low is None else f' [{_number(low)} to more]'}."
    doubt = "; it may be none" if low == 0 else ""
    return f"{begun} {_pictures(entry['value'], 'more ')} a class [{_number(low)} to {top}]{doubt}."


def _number(value: float) -> str:
    return f"{value:.1f}" if value < 10 and round(value, 1) != round(value) else f"{value:.0f}"


def _pictures(value: float, more: str = "") -> str:
    return f"{_number(value)} {more}picture{'' if _number(value) == '1' else 's'}"


def headline(groups: Groups, worth: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the one sentence: of the texts beside the fewest pictures, for the line that validation prefers there; `None` without one.

    Of the first selection that was asked for. Test answers have no part in the choice.
    """
    first = next((key.selection for key in groups), "")
    usable = [entry for entry in worth if entry["image"] and entry["selection"] == first]
    if not usable:
        return None
    fewest = min(entry["image"] for entry in usable)

    def preferred(entry: Mapping[str, Any]) -> float:
        key = Key("weighted", entry["selection"], entry["source"], entry["translator"], entry["head"], fewest)
        return float(np.mean([cell.val_accuracy or 0.0 for cell in groups[key]]))

    best = max((entry for entry in usable if entry["image"] == fewest), key=preferred)
    if len({entry["head"] for entry in usable}) == 1:
        return str(best["sentence"])
    return f"{best['sentence']} (Head {best['head']}, which validation prefers there.)"
