"""Accuracy on parts of the test pictures, and whether the gap between two kinds of contestants depends on the part.

A slicing puts each picture into one slice or none: quarters of a number, or yes and no. That a slice is hard for everybody is no
finding. The question is the interaction: is the gap between two kinds wider here than there? For each picture the gap is the share of
one kind's contestants that have it right less that of the other's; the test asks whether its mean differs between slices.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.intervals import SEED, gap_interval, wilson
from fieldguide.evaluate.kinds import Group, couples, grouped
from fieldguide.evaluate.pairs import holm
from fieldguide.records import SCHEMA_VERSION, Score

#: Pictures from which on a slice takes part in a test, and pictures with a gap without which there is nothing to test.
LEAST_PICTURES, LEAST_GAPS = 20, 10
#: Permutations of a test; more where so many tests are corrected for that fewer could not show anything.
DRAWS = 2000
#: Labels that are dealt out at a time, in numbers: 16 MB of them.
_BLOCK = 2_000_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Slicing:
    """How pictures are cut: `place` is ``"pictures"``, the position of a picture's slice in `names`, or -1 where it has none.

    Where there is nothing to cut, `why` says so and `names` is empty.
    """

    code: str
    title: str
    names: tuple[str, ...] = ()
    place: NDArray[np.int64] | None = None
    why: str | None = None


def by_quarter(code: str, title: str, values: Sequence[float | None], words: Callable[[float], str]) -> Slicing:
    """Cut at the quartiles of `values`, one for each picture (`None`: not known); equal values stay together."""
    known = np.array([value is not None for value in values], dtype=bool)
    if not known.any():
        return Slicing(code, title, why="not known of any test picture")
    numbers = np.array([math.nan if value is None else value for value in values])
    low, high = float(numbers[known].min()), float(numbers[known].max())
    edges = [float(edge) for edge in np.unique(np.quantile(numbers[known], (0.25, 0.5, 0.75), method="inverted_cdf"))]
    edges = [edge for edge in edges if edge < high]
    if not edges:
        return Slicing(code, title, why=f"all test pictures are alike in it ({words(low)})")
    place = np.where(known, np.searchsorted(edges, numbers, side="left"), -1)
    between = [_between(words(one), words(other)) for one, other in itertools.pairwise(edges)]
    names = [f"up to {words(edges[0])}", *between, f"over {words(edges[-1])}"]
    return Slicing(code, title, tuple(names), place.astype(np.int64))


def _between(low: str, high: str) -> str:
    """Return ``1 to 2 pixels`` for ``1 pixels`` and ``2 pixels``."""
    number, _, unit = low.partition(" ")
    return f"{number if unit == high.partition(' ')[2] else low} to {high}"


def by_answer(code: str, title: str, names: tuple[str, str], values: Sequence[bool | None]) -> Slicing:
    """Cut into those for which `values` are false and those for which they are true, called `names`."""
    place = np.array([-1 if value is None else int(value) for value in values], dtype=np.int64)
    present = set(place[place >= 0].tolist())
    if len(present) < 2:
        told = f"all test pictures are {names[present.pop()]}" if present else "not known of any test picture"
        return Slicing(code, title, why=told)
    return Slicing(code, title, names, place)


def told(
    sheets: Sequence[AnswerSheet],
    kinds: Mapping[str, str],
    slicings: Sequence[Slicing],
    alpha: float = 0.05,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """Return the content of ``slices.json`` for `sheets` of the same pictures; `kinds` gives the kind of each run."""
    groups = grouped(sheets, kinds)
    pairs = couples(groups)
    cut = [slicing for slicing in slicings if slicing.place is not None]
    draws = max(draws, math.ceil(2 * len(cut) * len(pairs) / alpha))
    tables = {slicing.code: _slicing(slicing, groups, pairs, draws) for slicing in cut}
    tests = [pair for table in tables.values() for pair in table["pairs"] if pair["p"] is not None]
    for pair, adjusted in zip(tests, holm([pair["p"] for pair in tests]), strict=True):
        pair["p_holm"] = adjusted
        pair["outcome"] = "depends on it" if adjusted <= alpha else "no sign that it depends on it"
    return {
        "schema": SCHEMA_VERSION,
        "alpha": alpha,
        "draws": draws,
        "tests": len(tests),
        "least": LEAST_PICTURES,
        "least_gaps": LEAST_GAPS,
        "kinds": [group.as_dict() for group in groups],
        "slicings": [tables.get(s.code, {**_head(s), "state": "not applicable", "why": s.why}) for s in slicings],
    }


def _head(slicing: Slicing) -> dict[str, Any]:
    return {"code": slicing.code, "title": slicing.title, "why": None, "unknown": 0, "slices": [], "pairs": []}


def _slicing(slicing: Slicing, groups: Sequence[Group], pairs: Sequence[tuple[Group, Group]], draws: int) -> dict[str, Any]:
    place = slicing.place
    assert place is not None
    masks = [place == at for at in range(len(slicing.names))]
    gaps = gaps_of(pairs) if pairs else np.zeros((len(place), 0))
    large = [at for at, mask in enumerate(masks) if int(mask.sum()) >= LEAST_PICTURES]
    taking = np.isin(place, large)
    p = interaction(gaps[taking], place[taking], draws) if len(large) > 1 else [None] * len(pairs)
    return {
        **_head(slicing),
        "state": "told",
        "unknown": int((place < 0).sum()),
        "slices": [_slice(name, mask, groups) for name, mask in zip(slicing.names, masks, strict=True)],
        "pairs": [_pair(couple, gaps[:, at], masks, taking, p[at]) for at, couple in enumerate(pairs)],
    }


def _slice(name: str, mask: NDArray[np.bool_], groups: Sequence[Group]) -> dict[str, Any]:
    total = int(mask.sum())
    runs: dict[str, Any] = {}
    kinds: dict[str, Any] = {}
    for group in groups:
        counts = {sheet.run: int(sheet.right[mask].sum()) for sheet in group.sheets}
        runs |= {run: asdict(Score(count / total, *wilson(count, total), total)) for run, count in counts.items()}
        shares = [count / total for count in counts.values()]
        kinds[group.kind] = {"mean": sum(shares) / len(shares), "least": min(shares), "most": max(shares)}
    return {"name": name, "n": total, "few": total < LEAST_PICTURES, "runs": runs, "kinds": kinds}


def _pair(
    couple: tuple[Group, Group],
    gaps: Floats,
    masks: Sequence[NDArray[np.bool_]],
    taking: NDArray[np.bool_],
    p: float | None,
) -> dict[str, Any]:
    each = []
    for mask in masks:
        low, high = gap_interval(gaps[mask])
        each.append({"difference": float(gaps[mask].mean()), "low": low, "high": high, "n": int(mask.sum())})
    few = p is None or int((gaps[taking] != 0).sum()) < LEAST_GAPS
    return {
        "a": couple[0].kind,
        "b": couple[1].kind,
        "gaps": each,
        "p": None if few else p,
        "p_holm": None,
        "outcome": "too few pictures to tell",
    }


def gaps_of(pairs: Sequence[tuple[Group, Group]]) -> Floats:
    """Return for each picture and pair the mean hits of the first kind less those of the second, ``"pictures pairs"``."""
    shares = {group.kind: group.hits.mean(axis=0) for couple in pairs for group in couple}
    return np.round(np.stack([shares[a.kind] - shares[b.kind] for a, b in pairs], axis=1), 12)


def interaction(gaps: Floats, place: NDArray[np.int64], draws: int = DRAWS) -> list[float | None]:
    """Return for each pair the p of the hypothesis that the mean gap is the same in all slices.

    `gaps` is ``"pictures pairs"``, `place` ``"pictures"``. The statistic is the weighted sum of squares between slices, each slice
    weighted by its pictures over the variance of its own gaps; slice labels are permuted over pictures, seeded. Because hard slices
    vary more than easy ones, a plain sum of squares would call mere hardness an interaction; with the variances inside, the
    permutation test is right for large samples all the same (Chung and Romano 2013; Pauly, Brunner and Konietschke 2015).
    """
    slices, codes = np.unique(place, return_inverse=True)
    sizes = np.bincount(codes, minlength=len(slices)).astype(float)
    both = np.concatenate([gaps, gaps**2], axis=1)
    pooled = gaps.var(axis=0)
    observed = _statistic(codes[None, :], both, sizes, pooled)[0]
    random = np.random.default_rng(SEED)
    reached, size = np.zeros(gaps.shape[1]), max(1, _BLOCK // max(1, len(codes)))
    for start in range(0, draws, size):
        many = min(size, draws - start)
        labels = random.permuted(np.broadcast_to(codes.astype(np.int8), (many, len(codes))), axis=1)
        reached += (_statistic(labels, both, sizes, pooled) >= observed * (1 - 1e-9)).sum(axis=0)
    return [float(count) for count in (1 + reached) / (1 + draws)]


def _statistic(labels: NDArray[Any], both: Floats, sizes: Floats, pooled: Floats) -> Floats:
    """Return ``"draws pairs"`` for labels ``"draws pictures"``; `both` holds gaps and squared gaps, `pooled` their variance.

    The variance of a slice counts one more picture that varies as all of them do: a slice without any gap would weigh endlessly.
    """
    sums = np.stack([(labels == at).astype(float) @ both for at in range(len(sizes))])
    total, squares = np.split(sums, 2, axis=2)
    n = sizes[:, None, None]
    mean = total / n
    variance = (np.maximum(squares - n * mean**2, 0) + pooled) / n
    weight = np.where(variance > 0, n / np.where(variance > 0, variance, 1), 0)
    whole = weight.sum(axis=0)
    centre = (weight * mean).sum(axis=0) / np.where(whole > 0, whole, 1)
    found: Floats = (weight * (mean - centre) ** 2).sum(axis=0)
    return found
