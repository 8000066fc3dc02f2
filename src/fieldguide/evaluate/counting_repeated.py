"""Counts again: with other seeds, and on parts of the training pictures, in exact answers and in how far they are off.

Exact answers are a share, as accuracy is, and are told by the same code. Of errors less is better, they are means over the pictures that
were answered, and the test is Wilcoxon's on how many things are miscounted, picture by picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fieldguide.evaluate.counting import CountSheet
from fieldguide.evaluate.counting_pairs import nearer
from fieldguide.evaluate.fractions import UNKNOWN, Point, by_contestant, couple, growth, per_doubling, point_of
from fieldguide.evaluate.seeds import Measure, Scores, spread, told
from fieldguide.evaluate.verdict import format_p

EXACT = Measure("exact")
ERROR = Measure("mae", "spread_mae", "seeds_mae", lower=True)


def with_count_seeds(scored: Scores, seed: int, others: Mapping[int, Scores]) -> dict[str, Any]:
    """Return the content of ``scores.json`` with what each seed scored and how far they lie apart; as it was without `others`.

    `scored` is that of the study's own `seed`, which stands first; `others` are the scores by further seed. ``spread`` is that of the
    share of exact answers, ``spread_mae`` that of the mean error; the latter is absent where some seed has no usable answer.
    """
    if not others:
        return dict(scored)
    lines = [_line(seed, scored), *(_line(other, scores) for other, scores in others.items())]
    errors = [line["mae"] for line in lines]
    return {
        **scored,
        "seeds": lines,
        "spread": spread([line["exact"] for line in lines]),
        "spread_mae": None if None in errors else spread(errors),
    }


def _line(seed: int, scored: Scores) -> dict[str, Any]:
    test, val = scored["parts"]["test"], scored["parts"]["val"]
    found: dict[str, Any] = {"seed": seed, "failed": test["failed"]}
    for name in ("exact", "mae"):
        found[name] = test["metrics"][name]["value"]
        found[f"val_{name}"] = None if val is None else val["metrics"][name]["value"]
    return found


def counted_again(scores: Sequence[Scores], order: Sequence[str], by_chance: Mapping[str, bool]) -> dict[str, Any]:
    """Return the parts ``seeds`` and ``seeds_mae`` of ``comparison.json``; `order` is that of exact answers, errors have their own."""
    errors = {str(one["run"]): one["parts"]["test"]["metrics"]["mae"]["value"] for one in scores}
    known = sorted((run for run in order if errors[run] is not None), key=lambda run: (errors[run], run))
    return {**told(scores, order, by_chance, EXACT), **told(scores, known, by_chance, ERROR)}


def growth_of_counts(points: Sequence[Point], sheets: Mapping[str, CountSheet], alpha: float) -> dict[str, Any]:
    """Return the parts ``fractions`` (exact answers) and ``fractions_mae`` (errors) of ``comparison.json``; nothing where all had all pictures.

    `sheets` are what each run counted; that of a point says "right" where the counts are.
    """
    lines = by_contestant(points)
    if not lines:
        return {}
    couples = {name: found for name, line in lines.items() if (found := couple(line)) is not None}
    # All pictures against about half of them, corrected over the contestants: a negative difference says that more were nearer.
    tested = nearer([(sheets[whole.sheet.run], sheets[part.sheet.run]) for part, whole in couples.values()], alpha)
    pairs = dict(zip(couples, tested, strict=True))
    order = sorted(lines, key=lambda name: (_error(lines[name][-1], float("inf")), name))
    nearest = [_told(name, lines[name], couples.get(name), pairs.get(name), alpha) for name in order]
    return {**growth(points, alpha, "exact"), "fractions_mae": nearest}


def _error(point: Point, otherwise: float | None = None) -> float | None:
    found = point.scored["parts"]["test"]["metrics"]["mae"]["value"]
    return otherwise if found is None else float(found)


def _told(
    name: str, line: Sequence[Point], halves: tuple[Point, Point] | None, pair: Mapping[str, Any] | None, alpha: float
) -> dict[str, Any]:
    known = [(point.pictures, error) for point in line if (error := _error(point)) is not None]
    slope = per_doubling(known)
    found = {"name": name, "points": [point_of(point, "mae", "spread_mae") for point in line], "per_doubling": slope}
    if halves is None or pair is None:
        return {**found, "pair": None, "sentence": f"{name}: {UNKNOWN}"}
    part, whole = halves
    sentence = _sentence(name, halves, pair, alpha)
    if slope is not None and len({pictures for pictures, _ in known}) > 2 and abs(slope) >= 0.005:
        but = "" if pair["outcome"] in ("a nearer", "b nearer") else "; the last step does not show it"
        sentence += (
            f" Between {known[0][0]:,} and {known[-1][0]:,} pictures, each doubling came with {_signed(slope)} on average{but}."
        )
    return {**found, "pair": {**pair, "pictures_a": whole.pictures, "pictures_b": part.pictures}, "sentence": sentence}


def _sentence(name: str, halves: tuple[Point, Point], pair: Mapping[str, Any], alpha: float) -> str:
    """Say what the test of all pictures against about half of them supports, and no more; falling is what is hoped for."""
    part, whole = halves
    span = f"From {part.pictures:,} to {whole.pictures:,} training pictures"
    if pair["difference"] is None:
        return f"{span} nothing can be said of the error of {name}: no picture was answered by both runs."
    difference, p = float(pair["difference"]), format_p(pair["p_holm"], alpha)
    bounds = "" if pair["low"] is None else f" [{_signed(pair['low'])} to {_signed(pair['high'])}]"
    if pair["outcome"] == "a nearer":
        fell = f"{span} the error of {name} fell by {-difference:.2f} of a count{bounds} ({p})"
        if _overlap(part, whole):
            return f"{fell}; but the errors of its seeds overlap, so part of this may be chance in training."
        return f"{fell}: more pictures would probably help."
    if pair["outcome"] == "b nearer":
        return f"{span} the error of {name} rose by {difference:.2f} of a count ({p}): more pictures like these did not help."
    seen = f"{_signed(difference)}{bounds}"
    if pair["outcome"] == "too few pictures to tell":
        return (
            f"{span} no difference could be shown in the error of {name}: {seen}; too few of the test pictures differ to tell."
        )
    return f"{span} no difference could be shown in the error of {name}: {seen}, {p}."


def _overlap(part: Point, whole: Point) -> bool:
    """Tell whether some seed on fewer pictures was as near as some seed on all of them; False where seeds are not known."""
    few, all_ = part.scored.get("spread_mae"), whole.scored.get("spread_mae")
    return bool(few and all_ and few["min"] <= all_["max"])


def _signed(number: float) -> str:
    text = f"{number:+.2f}"
    return "0.00" if float(text) == 0 else text
