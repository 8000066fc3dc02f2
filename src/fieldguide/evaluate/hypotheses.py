"""What may make a picture hard: yes or no for every test picture, from its measures alone.

No threshold looks at an answer. Most are quartiles of a measure over the test pictures, so about a quarter of them carry such a
mark whatever anybody answered; whether it is met more often among errors is asked afterwards (`fieldguide.evaluate.causes`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.measures import Measure, distance
from fieldguide.records import Manifest

HypothesisState = Literal["found", "fine", "not applicable"]
#: A class with fewer measured pictures tells nothing of what is usual in it.
FEWEST = 3
#: Pictures whose shorter side has fewer pixels have no regions, edges or blur to speak of.
ROOM = 48
#: A mark that more than this share of the pictures carries sets nothing apart: a quartile that many share.
_MOST = 0.4
#: Least share of a subject's outline on the border for it to be cut off, whatever the quartile says.
_LEAST_CUT = 0.1
#: Above this, `Measure.drawing` says drawing; a style is unusual where at most this share of its class has it.
_DRAWN, _UNUSUAL = 0.5, 0.25
#: Groups that the health checks made of near copies and bursts begin like this; others are the user's own.
_ALIKE = "alike "
_BLOCK = 4096
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Hypothesis:
    """One thing that may make a picture hard. `says` tells how it is judged, `why` what stands in the way where it is not.

    `judged` are the keys of the pictures that were looked at, `marked` of those that have it; `near` names for some of them the
    class that is meant.
    """

    name: str
    says: str
    state: HypothesisState = "fine"
    why: str | None = None
    judged: frozenset[str] = frozenset()
    marked: frozenset[str] = frozenset()
    near: Mapping[str, str] = field(default_factory=dict)


def hypotheses(manifest: Manifest, measures: Mapping[str, Measure]) -> list[Hypothesis]:
    """Return every hypothesis for the test pictures of `manifest`, in the order in which they are shown."""
    labels = {row.key: row.label for row in manifest.part("test")}
    known = {key: measures[key] for key in sorted(labels) if key in measures}
    tiny = {row.key for row in manifest.part("test") if min(row.width or ROOM, row.height or ROOM) < ROOM}
    roomy = {key: one for key, one in known.items() if key not in tiny}
    seen = {key: one for key, one in roomy.items() if one.parts > 0}
    quartile = "in the {} quarter of the test pictures"
    return [
        _extreme("small object", seen, lambda m: m.subject, False, "the main subject's share of the picture is", quartile),
        _extreme(
            "cut-off object", seen, lambda m: m.cut, True, "the share of its outline on the border is", quartile, _LEAST_CUT
        ),
        _several(seen),
        _extreme("cluttered background", roomy, lambda m: m.clutter, True, "the density of edges is", quartile),
        _extreme("low contrast", known, lambda m: m.contrast, False, "the spread of lightness is", quartile),
        _extreme("blurred", roomy, lambda m: m.sharpness, False, "the sharpness is", quartile),
        _colours(known, labels, manifest.classes),
        _style(known, labels),
        _twins(manifest, labels),
    ]


#: Names that are always known, whatever a study holds.
NAMES = (
    "small object",
    "cut-off object",
    "several objects",
    "cluttered background",
    "low contrast",
    "blurred",
    "colours of another class",
    "unusual style",
    "near copy in another class",
)


def _extreme(
    name: str,
    known: Mapping[str, Measure],
    value: Callable[[Measure], float],
    high: bool,
    what: str,
    where: str,
    least: float = 0.0,
) -> Hypothesis:
    """Return who lies in the outer quarter of a measure, on its `high` side or its low one, and beyond `least` on the high side."""
    values = {key: value(one) for key, one in known.items()}
    says = f"{what} {where.format('highest' if high else 'lowest')}"
    if not values:
        return _none(name, says)
    bound = float(np.quantile(list(values.values()), 0.75 if high else 0.25))
    bound = max(bound, least) if high else bound
    marked = frozenset(key for key, one in values.items() if (one >= bound if high else one <= bound))
    says += f" ({'from' if high else 'up to'} {bound:.2f})"
    if len(marked) > _MOST * len(values):
        return Hypothesis(name, says, "not applicable", "too many pictures measure the same", frozenset(values))
    return _told(name, says, values, marked)


def _several(seen: Mapping[str, Measure]) -> Hypothesis:
    says = "at least two regions stand out, the smaller at least a quarter as large as the largest"
    marked = frozenset(key for key, one in seen.items() if one.parts >= 2)
    return _told("several objects", says, seen, marked) if seen else _none("several objects", says)


def _colours(known: Mapping[str, Measure], labels: Mapping[str, str], classes: Sequence[str]) -> Hypothesis:
    """Return whose colours are nearer to another class's mean than to the mean of its own class without it, and by much."""
    name = "colours of another class"
    says = "nearer to the mean colours of another class than of its own (without it), by a margin {}"
    says = says.format("in the highest quarter of the test pictures")
    index = {label: position for position, label in enumerate(classes)}
    keys = [key for key in known if labels[key] in index]
    own = np.array([index[labels[key]] for key in keys], dtype=np.int64)
    counts = np.bincount(own, minlength=len(classes))
    usable = np.flatnonzero(counts >= FEWEST)
    if len(usable) < 2:
        return _none(name, says, f"needs two classes with at least {FEWEST} measured test pictures")
    colours = np.array([known[key].colours for key in keys])
    sums = np.zeros((len(classes), colours.shape[1]))
    np.add.at(sums, own, colours)
    without = (sums[own] - colours) / np.maximum(counts[own] - 1, 1)[:, None]
    means = sums[usable] / counts[usable, None]
    other, which = _nearest_other(colours, means, usable, own)
    margin = distance(colours, without) - other
    judged = counts[own] >= FEWEST
    bound = max(float(np.quantile(margin[judged], 0.75)), 1e-9)
    chosen = np.flatnonzero(judged & (margin >= bound))
    near = {keys[at]: classes[which[at]] for at in chosen}
    found = _told(name, says, [key for key, fit in zip(keys, judged, strict=True) if fit], frozenset(near))
    return Hypothesis(name, says, found.state, found.why, found.judged, found.marked, near)


def _nearest_other(
    colours: Floats, means: Floats, usable: NDArray[np.int64], own: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.int64]]:
    """Return the distance to the nearest mean of another class and that class, ``"pictures"`` each; in blocks, for memory's sake."""
    far, which = np.empty(len(colours)), np.empty(len(colours), dtype=np.int64)
    for start in range(0, len(colours), _BLOCK):
        part = slice(start, start + _BLOCK)
        shared = np.sqrt(colours[part]) @ np.sqrt(means).T
        apart = np.sqrt(np.clip(1 - shared, 0, 1))
        apart[own[part, None] == usable[None]] = np.inf
        place = apart.argmin(axis=1)
        far[part], which[part] = apart[np.arange(len(place)), place], usable[place]
    return far, which


def _style(known: Mapping[str, Measure], labels: Mapping[str, str]) -> Hypothesis:
    says = "a drawing in a class of which at most a quarter are drawings, or a photograph among drawings"
    classes: dict[str, list[str]] = {}
    for key in known:
        classes.setdefault(labels[key], []).append(key)
    judged, marked = [], set()
    for keys in classes.values():
        if len(keys) < FEWEST:
            continue
        judged += keys
        drawn = [key for key in keys if known[key].drawing > _DRAWN]
        plain = [key for key in keys if known[key].drawing <= _DRAWN]
        rare = drawn if len(drawn) <= len(plain) else plain
        marked |= set(rare) if len(rare) <= _UNUSUAL * len(keys) else set()
    if not judged:
        return _none("unusual style", says, f"needs a class with at least {FEWEST} measured test pictures")
    return _told("unusual style", says, judged, frozenset(marked))


def _twins(manifest: Manifest, labels: Mapping[str, str]) -> Hypothesis:
    says = "the health checks found a near copy of it, or a picture of the same scene, that carries another class"
    groups: dict[str, set[str]] = {}
    for row in manifest.rows:
        if row.group is not None and row.group.startswith(_ALIKE):
            groups.setdefault(row.group, set()).add(row.label)
    near = {}
    for row in manifest.part("test"):
        others = groups.get(row.group or "", set()) - {row.label}
        if others:
            near[row.key] = min(others)
    told = _told("near copy in another class", says, labels, frozenset(near))
    return Hypothesis(told.name, says, told.state, told.why, told.judged, told.marked, near)


def _told(name: str, says: str, judged: Mapping[str, object] | Sequence[str], marked: frozenset[str]) -> Hypothesis:
    return Hypothesis(name, says, "found" if marked else "fine", None, frozenset(judged), marked)


def _none(name: str, says: str, why: str = f"no test picture of at least {ROOM} pixels was measured") -> Hypothesis:
    return Hypothesis(name, says, "not applicable", why)
