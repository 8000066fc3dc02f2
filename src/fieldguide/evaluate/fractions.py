"""Would more pictures help? The same contestant fitted on parts of the training pictures, scored on the same test pictures.

What is told is what was measured: accuracy against number of pictures, the gain from about half of them to all with its exact
McNemar test, and the gain for each doubling within the measured range. Nothing is drawn beyond it: a curve that rose so far may
flatten tomorrow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.pairs import Pair, paired
from fieldguide.evaluate.verdict import format_p

UNKNOWN = "not known, for there is no run on all training pictures, or none on fewer."


@dataclass(frozen=True, eq=False)
class Point:
    """One run: `contestant` on a `fraction` (0 to 1) of the training part, which is so many `pictures`.

    `sheet` is lined up with the test pictures, `scored` the content of its ``scores.json``.
    """

    contestant: str
    fraction: float
    pictures: int
    sheet: AnswerSheet
    scored: Mapping[str, Any]


def growth(points: Sequence[Point], alpha: float, metric: str = "accuracy") -> dict[str, Any]:
    """Return the part ``fractions`` of ``comparison.json``, best contestant first; nothing where all had all pictures.

    The tests, one for each contestant, are corrected after Holm over the contestants at the level `alpha`. `metric` is what ``scores.json``
    calls the share of pictures that `sheet` has right.
    """
    lines = by_contestant(points)
    if not lines:
        return {}
    couples = {name: found for name, line in lines.items() if (found := couple(line)) is not None}
    tested = paired([(whole.sheet, part.sheet) for part, whole in couples.values()], alpha)
    pairs = dict(zip(couples, tested, strict=True))
    order = sorted(lines, key=lambda name: (-lines[name][-1].sheet.accuracy, name))
    told = [_told(name, lines[name], couples.get(name), pairs.get(name), alpha) for name in order]
    for line in told:
        line["points"] = [point_of(point, metric) for point in lines[line["name"]]]
    return {"fractions": told}


def by_contestant(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Return the points of each contestant that had a part of the pictures, the fewest first."""
    lines: dict[str, list[Point]] = {}
    for point in sorted(points, key=lambda point: point.pictures):
        lines.setdefault(point.contestant, []).append(point)
    return {name: line for name, line in lines.items() if any(point.fraction < 1 for point in line)}


def couple(line: Sequence[Point]) -> tuple[Point, Point] | None:
    """Return the part that is nearest to half of the pictures, and all of them; `None` where one of them is missing."""
    whole = next((point for point in line if point.fraction == 1), None)
    if whole is None:
        return None
    parts = [point for point in line if 0 < point.pictures < whole.pictures]
    return (min(parts, key=lambda point: abs(math.log2(2 * point.pictures / whole.pictures))), whole) if parts else None


def _told(
    name: str, line: Sequence[Point], halves: tuple[Point, Point] | None, pair: Pair | None, alpha: float
) -> dict[str, Any]:
    slope = per_doubling([(point.pictures, point.sheet.accuracy) for point in line])
    told: dict[str, Any] = {"name": name, "pair": None, "per_doubling": slope}
    if halves is None or pair is None:
        return {**told, "sentence": f"{name}: {UNKNOWN}"}
    part, whole = halves
    sentence = _sentence(name, halves, pair, alpha)
    if slope is not None and len({point.pictures for point in line}) > 2:
        sentence += _on_average(slope, line, pair)
    told["pair"] = {**pair.as_dict(), "pictures_a": whole.pictures, "pictures_b": part.pictures}
    return {**told, "sentence": sentence}


def point_of(point: Point, metric: str, spread: str = "spread") -> dict[str, Any]:
    """Return one point as ``comparison.json`` has it: its `metric` and the `spread` over seeds as they stand in ``scores.json``."""
    score = point.scored["parts"]["test"]["metrics"][metric]
    counts = {"n": point.sheet.n, "correct": point.sheet.correct, "failed": point.scored["parts"]["test"]["failed"]}
    told = {"run": point.sheet.run, "fraction": point.fraction, "pictures": point.pictures, metric: score, **counts}
    return {**told, "spread": point.scored.get(spread)}


def per_doubling(points: Sequence[tuple[int, float]]) -> float | None:
    """Return the gain in accuracy (a share) for each doubling of pictures, by least squares over (pictures, accuracy).

    `None` where there are not two different numbers of pictures.
    """
    usable = [(math.log2(pictures), accuracy) for pictures, accuracy in points if pictures > 0]
    if len({x for x, _ in usable}) < 2:
        return None
    x, y = (np.array(values) - np.mean(values) for values in zip(*usable, strict=True))
    return float((x @ y) / (x @ x))


def _sentence(name: str, halves: tuple[Point, Point], pair: Pair, alpha: float) -> str:
    """Say what the test of all pictures against about half of them supports, and no more."""
    part, whole = halves
    span = f"From {part.pictures:,} to {whole.pictures:,} training pictures"
    bounds = (
        f"[{_points(pair.low)} to {_points(pair.high)}]" if pair.low < 0 else f"[{100 * pair.low:.1f}-{100 * pair.high:.1f}]"
    )
    p = format_p(pair.p_holm, alpha)
    if pair.outcome == "a better":
        gained = f"{span} {name} gained {100 * pair.difference:.1f} points {bounds} ({p})"
        if _overlap(part, whole):
            return f"{gained}; but the accuracies of its seeds overlap, so part of this may be chance in training."
        return f"{gained}: more pictures would probably help."
    if pair.outcome == "b better":
        return f"{span} {name} lost {100 * -pair.difference:.1f} points ({p}): more pictures like these did not help."
    seen = f"{_points(pair.difference)} points [{_points(pair.low)} to {_points(pair.high)}]"
    if pair.outcome == "too few pictures to tell":
        return (
            f"{span} no difference could be shown for {name}: {seen}; the {whole.sheet.n:,} test pictures are too few to tell."
        )
    return f"{span} no difference could be shown for {name}: {seen}, {p}."


def _on_average(slope: float, line: Sequence[Point], pair: Pair) -> str:
    """Say what a doubling was worth over all that was measured; where the last one is not shown to be worth anything, say that, too."""
    if abs(slope) < 0.0005:
        return ""
    range_ = f"Between {line[0].pictures:,} and {line[-1].pictures:,} pictures"
    but = "" if pair.real else "; the last step does not show it"
    return f" {range_}, each doubling came with {_points(slope)} points on average{but}."


def _overlap(part: Point, whole: Point) -> bool:
    """Tell whether some seed on fewer pictures did at least as well as some seed on all of them; False where seeds are not known."""
    below, above = part.scored.get("spread"), whole.scored.get("spread")
    return bool(below and above and below["max"] >= above["min"])


def _points(share: float) -> str:
    text = f"{100 * share:+.1f}"
    return "0.0" if float(text) == 0 else text
