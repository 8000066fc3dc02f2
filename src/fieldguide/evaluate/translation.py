"""The translation score card: how far is what a translator makes of a text from what an encoder makes of a picture?

Texts were turned into features of pictures; here they stand beside real pictures that no translator was taught by. No measure
decides alone: a translator can close the gap of the means and know nothing, or rank well and crowd the centre. So each is shown
beside three references that are scored against the very same pictures:

    ceiling    other real pictures of the same classes, in place of translations
    direct     the same texts as they are, where pictures and texts share a space: the bar that a translator has to pass
    floor      translations of texts that were dealt to other classes

Held-out pictures are cut into two halves of the same classes. The second is what everything is compared with; the first is the ceiling.

    gap              distance of the means, on unit vectors (Liang et al., NeurIPS 2022)
    cosine           of a pair, minus that with pictures it does not belong to
    text_to_image_k  share of lines whose picture is among the first k, and back, each side centred by its own mean
    r2               share of the variance of pictures that their translations account for; below 0: worse than their mean
    variance_ratio   of translations to pictures; below 1: they crowd the centre
    effective_rank   of translations (`fieldguide.evaluate.distances`), as are mmd, frechet and auc
    class_accuracy   share of classes whose mean translation lies nearest (by cosine) to their own centroid of training pictures
    line_accuracy    the same, line by line
    zero_shot        share of pictures that lie nearest to the mean translation of their own class
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from fieldguide.evaluate import distances
from fieldguide.evaluate.distances import unit
from fieldguide.evaluate.intervals import Floats, Interval, difference_interval, wilson
from fieldguide.evaluate.pairs import holm, mcnemar
from fieldguide.evaluate.resampling import Draws, draws

Role = Literal["translator", "ceiling", "direct", "floor"]
Groups = NDArray[np.int64]
#: Ranks at which retrieval is told.
RANKS = (1, 5, 10)
MEASURES = (
    *("gap", "cosine"),
    *(f"{way}_{k}" for way in ("text_to_image", "image_to_text") for k in RANKS),
    *("r2", "variance_ratio", "effective_rank", "mmd", "frechet", "auc"),
    *("class_accuracy", "line_accuracy", "zero_shot"),
)
#: Pairs on either half: beyond, a kernel grows and nothing gets clearer.
MOST_PAIRS = 1500
#: With fewer pairs nothing is measured.
FEWEST_PAIRS = 10
_FEW = "too few to resample: an interval needs 5 {}"
_BIASED = "resampled rows repeat, which lowers a rank; the ceiling has as many rows"


@dataclass(frozen=True)
class Spoken:
    """What texts became: `pairs` ``"pairs features"``, a row for each held-out pair, and all lines of each class.

    `lines` ``"lines features"`` with their class positions `of` ``"lines"`` are what class-level measures are taken from.
    """

    name: str
    role: Role
    pairs: Floats
    lines: Floats
    of: Groups


@dataclass(frozen=True)
class Real:
    """Pictures ``"pictures features"`` and their class positions ``"pictures"``."""

    pictures: Floats
    classes: Groups


@dataclass(frozen=True)
class Measured:
    """One measure with its 95 % interval; `why` says why a value or its interval is missing. `chance` is what guessing gives."""

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str | None = None
    chance: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the form of ``translation.json``."""
        told = {"value": self.value, "low": self.low, "high": self.high, "why": self.why}
        return told if self.chance is None else {**told, "chance": self.chance}


@dataclass(frozen=True)
class _Ground:
    """What all rows of a card share: the second half, what training pictures are like, and what belongs to what.

    `same` ``"pairs"`` is equal where two pairs answer for each other: by class, or by picture alone. `centroids` are unit vectors
    ``"classes features"`` of the classes `known`.
    """

    half: Floats
    classes: Groups
    same: Groups
    size: float
    mean: Floats
    components: Floats
    centroids: Floats
    known: Groups
    drawn: Draws


def halves(classes: Groups, seed: int) -> tuple[Groups, Groups]:
    """Return two disjoint sets of places, ``"places"`` each, with as many of every class at the same places of both.

    A class with one place has no half and is in neither.
    """
    random = np.random.default_rng(seed)
    first: list[int] = []
    second: list[int] = []
    for name in np.unique(classes):
        places = random.permutation(np.flatnonzero(classes == name))
        half = len(places) // 2
        first += places[:half].tolist()
        second += places[half : 2 * half].tolist()
    kept = np.sort(random.permutation(len(first))[:MOST_PAIRS])
    return np.array(first, np.int64)[kept], np.array(second, np.int64)[kept]


def card(
    spoken: Sequence[Spoken], held: Real, train: Real, target: Literal["picture", "class"], seed: int
) -> list[dict[str, Any]]:
    """Return the rows of ``translation.json``: translators and the direct bar as given, then ceiling and floor.

    Pair n of every `spoken` belongs to picture n of `held`. `target`: a line is of one picture (a caption), or of its class.
    """
    first, second = halves(held.classes, seed)
    ground = _ground(held, train, second, target)
    heard = [replace(one, pairs=one.pairs[second]) for one in spoken]
    rows, hits = [], {}
    for one in heard:
        measured, hits[one.name] = _row(one, ground, target)
        rows.append({"name": one.name, "role": one.role, **measured})
    ceiling = Spoken("real pictures", "ceiling", held.pictures[first], held.pictures[first], held.classes[first])
    references = [ceiling]
    if any(one.role == "translator" for one in heard):
        like = next((one for one in heard if one.name == "ridge"), next(one for one in heard if one.role == "translator"))
        references.append(permuted(like, ground.classes, seed))
    rows += [{"name": one.name, "role": one.role, **_row(one, ground, target)[0]} for one in references]
    _against_direct(rows, hits)
    return rows


def permuted(one: Spoken, classes: Groups, seed: int) -> Spoken:
    """Return the texts of `one` dealt to other classes: every class gets those of exactly one other class.

    `classes` ``"pairs"`` are those of its pairs. Of one class alone nothing can be dealt, and it stays.
    """
    random = np.random.default_rng(seed)
    names = random.permutation(np.unique(np.concatenate([classes, one.of])))
    takes = dict(zip(names.tolist(), np.roll(names, 1).tolist(), strict=True))
    gives = {taken: name for name, taken in takes.items()}
    pairs = one.pairs.copy()
    for name in np.unique(classes):
        here, there = np.flatnonzero(classes == name), np.flatnonzero(classes == takes[int(name)])
        source = one.pairs[there] if len(there) else one.lines[one.of == takes[int(name)]]
        if len(source):
            pairs[here] = source[random.integers(len(source), size=len(here))]
    of = np.array([gives[int(name)] for name in one.of], np.int64)
    return Spoken(f"{one.name}, classes permuted", "floor", pairs, one.lines, of)


def _ground(held: Real, train: Real, second: Groups, target: str) -> _Ground:
    classes = held.classes[second]
    same = classes if target == "class" else np.arange(len(second))
    size = float(np.linalg.norm(train.pictures, axis=1).mean()) or 1.0
    known = np.unique(train.classes)
    rows = unit(train.pictures)
    centroids = unit(np.stack([rows[train.classes == name].mean(axis=0) for name in known]))
    components = distances.principal(train.pictures)
    return _Ground(held.pictures[second], classes, same, size, rows.mean(axis=0), components, centroids, known, draws(same))


def _row(one: Spoken, ground: _Ground, target: str) -> tuple[dict[str, dict[str, Any]], NDArray[np.bool_] | None]:
    """Return the measures of one row, and which pictures its class means have right."""
    if len(ground.half) < FEWEST_PAIRS:
        why = f"only {len(ground.half)} held-out pairs in either half"
        return {name: Measured(None, why=why).as_dict() for name in MEASURES}, None
    found = dict(_of_pairs(one, ground))
    if one.role == "ceiling" and target == "picture":
        why = "another picture of the class is not the picture that a caption tells of"
        found |= {f"{way}_{k}": Measured(None, why=why) for way in ("text_to_image", "image_to_text") for k in RANKS}
    found |= dict(_of_sets(one, ground))
    by_class, hits = _of_classes(one, ground, target)
    found |= by_class
    return {name: found[name].as_dict() for name in MEASURES}, hits


def _of_pairs(one: Spoken, ground: _Ground) -> Iterator[tuple[str, Measured]]:
    """Yield what is measured on unit vectors, pair by pair."""
    said, seen = unit(one.pairs), unit(ground.half)
    yield "gap", _gap(said - seen, ground.drawn)
    other = ground.same[:, None] != ground.same[None]
    cosines = said @ seen.T
    apart = np.diag(cosines) - (cosines * other).sum(axis=1) / np.maximum(other.sum(axis=1), 1)
    yield "cosine", _bounded(float(apart.mean()), ground.drawn.mean(apart), ground)
    scores = np.round(unit(said - said.mean(axis=0)) @ unit(seen - ground.mean).T, 9)
    for way, table in (("text_to_image", scores), ("image_to_text", scores.T)):
        for k in RANKS:
            found = hit(table, ~other, k)
            chance = float(guessed(other.sum(axis=1), (~other).sum(axis=1), k).mean())
            yield f"{way}_{k}", replace(_bounded(float(found.mean()), ground.drawn.mean(found), ground), chance=chance)


def _gap(apart: Floats, drawn: Draws) -> Measured:
    """Return the length of the mean of `apart` ``"pairs features"``.

    Its interval is the basic bootstrap's: the length of a resampled mean is too large on average by what is mirrored here.
    """
    value = float(np.linalg.norm(apart.mean(axis=0)))
    if not drawn.enough:
        return Measured(value, why=_FEW.format("groups"))
    sums = np.linalg.norm(drawn.sums(apart), axis=1) / drawn.sums(np.ones(len(apart)))
    low, high = np.quantile(sums, (0.025, 0.975))
    return Measured(value, max(0.0, min(value, 2 * value - float(high))), max(value, 2 * value - float(low)))


def guessed(wrong: NDArray[np.integer], right: NDArray[np.integer], k: int | NDArray[np.integer]) -> Floats:
    """Return the chance that k draws without replacement from `wrong` and `right` things hold a right one."""
    w, r, most = (np.asarray(values, float) for values in np.broadcast_arrays(wrong, right, k))
    draws_ = np.minimum(most, w + r)
    safe = np.maximum(w - draws_, 0)
    none = np.exp(gammaln(w + 1) - gammaln(safe + 1) - gammaln(w + r + 1) + gammaln(w + r - draws_ + 1))
    return np.asarray(np.where((w >= draws_) & (r > 0), 1 - none, np.where(r > 0, 1.0, 0.0)) * (draws_ > 0))


def hit(scores: Floats, right: NDArray[np.bool_], k: int) -> Floats:
    """Return for each row whether something right is among its k highest `scores` ``"rows things"``; ties count as a draw among them."""
    best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
    above = ((scores > best) & ~right).sum(axis=1)
    level = scores == best
    places = np.maximum(k - above, 0)
    return guessed((level & ~right).sum(axis=1), (level & right).sum(axis=1), places)


def _of_sets(one: Spoken, ground: _Ground) -> Iterator[tuple[str, Measured]]:
    """Yield what is measured on features as they are, in units of the mean length of a training picture."""
    said, seen = one.pairs / ground.size, ground.half / ground.size
    missed = ((seen - said) ** 2).sum(axis=1)
    around = ((seen - seen.mean(axis=0)) ** 2).sum(axis=1)
    spread = ((said - said.mean(axis=0)) ** 2).sum(axis=1)
    if around.sum() > 0:
        bounds = ground.drawn.ratio(missed, around)
        yield "r2", _bounded(1 - float(missed.sum() / around.sum()), bounds and (1 - bounds[1], 1 - bounds[0]), ground)
        yield "variance_ratio", _bounded(float(spread.sum() / around.sum()), ground.drawn.ratio(spread, around), ground)
    else:
        yield from ((name, Measured(None, why="all held-out pictures are the same")) for name in ("r2", "variance_ratio"))
    yield "effective_rank", Measured(distances.effective_rank(said), why=_BIASED)
    value, floor = distances.mmd(said, seen)
    yield "mmd", Measured(value, why="the 95 % quantile of chance stands in place of an interval", chance=floor)
    why = "depends on the number of rows; the ceiling has as many"
    yield "frechet", Measured(distances.frechet(said, seen, ground.components), why=why)
    placed = distances.placements(said, seen)
    if placed is None:
        yield "auc", Measured(None, why=f"needs {2 * distances.FOLDS} pairs to learn from some and be judged on others")
        return
    below, above = placed
    value = float(below.mean())
    bounds = ground.drawn.mean(below + above - value)
    yield "auc", replace(_bounded(value, bounds and (max(0.0, bounds[0]), min(1.0, bounds[1])), ground), chance=0.5)


def _of_classes(one: Spoken, ground: _Ground, target: str) -> tuple[dict[str, Measured], NDArray[np.bool_] | None]:
    """Return the class-level measures, and which pictures of the half are nearest to the mean translation of their own class."""
    known = np.isin(one.of, ground.known)
    rows, of = unit(one.lines[known]), one.of[known]
    names = np.unique(of)
    if len(names) < 2:
        why = "needs lines of two classes that have training pictures"
        return {name: Measured(None, why=why) for name in ("class_accuracy", "line_accuracy", "zero_shot")}, None
    means = unit(np.stack([rows[of == name].mean(axis=0) for name in names]))
    right = ground.known[(np.round(means @ ground.centroids.T, 9)).argmax(axis=1)] == names
    by_line = (ground.known[(rows @ ground.centroids.T).argmax(axis=1)] == of).astype(float)
    hits = names[(unit(ground.half) @ means.T).argmax(axis=1)] == ground.classes
    drawn = draws(of if target == "class" else np.arange(len(of)))
    chance = 1 / len(ground.known)
    found = {
        "class_accuracy": Measured(float(right.mean()), *wilson(int(right.sum()), len(right)), chance=chance),
        "line_accuracy": replace(_bounded(float(by_line.mean()), drawn.mean(by_line), ground), chance=chance),
        "zero_shot": Measured(float(hits.mean()), *wilson(int(hits.sum()), len(hits)), chance=1 / len(names)),
    }
    return found, hits


def _bounded(value: float, bounds: Interval | None, ground: _Ground) -> Measured:
    if bounds is None:
        return Measured(value, why=_FEW.format("classes or pictures"))
    return Measured(value, min(value, bounds[0]), max(value, bounds[1]))


def _against_direct(rows: list[dict[str, Any]], hits: dict[str, NDArray[np.bool_] | None]) -> None:
    """Give each translator its paired difference from the direct bar: pictures that only one of the two class means has right.

    ``bar`` holds the difference of `zero_shot`, its interval, the exact McNemar p and that after Holm over the translators.
    """
    direct = next((hits[row["name"]] for row in rows if row["role"] == "direct"), None)
    told = [(row, hits[row["name"]]) for row in rows if row["role"] == "translator"]
    if direct is None or any(found is None for _, found in told):
        return
    bars = []
    for _, found in told:
        assert found is not None
        only_a, only_b = int((found & ~direct).sum()), int((direct & ~found).sum())
        low, high = difference_interval(len(direct), only_a, only_b)
        difference = (only_a - only_b) / len(direct)
        bars.append({"difference": difference, "low": low, "high": high, "p": mcnemar(only_a, only_b)})
    adjusted = holm([bar["p"] for bar in bars])
    for (row, _), bar, p in zip(told, bars, adjusted, strict=True):
        row["bar"] = {**bar, "p_adjusted": p}
