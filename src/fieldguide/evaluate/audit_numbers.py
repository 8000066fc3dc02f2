"""The numbers of a prompt audit: answers to a question and to a change of it, about the same pictures.

An answer is a class id, or `None` where what was said names no class: that is wrong, and no answer to any label. A picture that a way of
asking has no answer about is in none of its mappings; it is left out of each comparison that needs it, and counted there.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, spearmanr

from fieldguide.evaluate.intervals import SEED, difference_interval, gap_interval, wilson
from fieldguide.evaluate.leaning import ALPHA, ORDERS
from fieldguide.evaluate.pairs import holm, mcnemar

Answers = Mapping[str, str | None]
Floats = NDArray[np.float64]
Json = dict[str, Any]

#: From so many ways of asking on, whole ways of asking are permuted (720 permutations of six: p can be as small as 0.0014); with fewer,
#: the answers about each picture.
WHOLE = 6
#: Ways of asking whose permutations are all looked at, and not drawn.
_ALL = 7


def compared(truth: Mapping[str, str], base: Answers, variant: Answers, concerned: Sequence[str]) -> Json:
    """Return accuracy of `variant`, its difference to `base`, flips and changes of recall, over pictures of `concerned` that both answered."""
    keys = [key for key in concerned if key in base and key in variant]
    told: Json = {"n": len(keys), "unanswered": len(concerned) - len(keys)}
    if not keys:
        return {**told, "accuracy": share(0, 0), "difference": None, "flips": share(0, 0), "recall": []}
    before = np.array([base[key] == truth[key] for key in keys])
    after = np.array([variant[key] == truth[key] for key in keys])
    changed = sum(base[key] != variant[key] for key in keys)
    return {
        **told,
        "accuracy": share(int(after.sum()), len(keys)),
        "difference": difference(before, after),
        "flips": share(changed, len(keys)),
        "recall": _recalls(np.array([truth[key] for key in keys]), before, after),
    }


def share(count: int, total: int) -> Json:
    """Return a share with Wilson's interval; without anything to count there is none."""
    if not total:
        return {"value": None, "low": None, "high": None, "n": 0}
    low, high = wilson(count, total)
    return {"value": count / total, "low": low, "high": high, "n": total}


def difference(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Json:
    """Return accuracy after - before on the same pictures, its interval, the p of the exact McNemar test, and how many it rests on.

    `discordant` are the pictures that exactly one of the two has right. `p_holm` is there for what the check is judged by.
    """
    gained, lost, n = int((after & ~before).sum()), int((before & ~after).sum()), len(before)
    low, high = _interval(n, gained, lost)
    p = _mcnemar(gained, lost)
    return {"value": (gained - lost) / n, "low": low, "high": high, "p": p, "p_holm": None, "n": n, "discordant": gained + lost}


#: The same few counts come again and again: a class in each variation.
_mcnemar, _interval = lru_cache(4096)(mcnemar), lru_cache(4096)(difference_interval)


def _recalls(truth: NDArray[Any], before: NDArray[np.bool_], after: NDArray[np.bool_]) -> list[Json]:
    """Return the classes whose recall changed, by how much, and p after Holm over all classes that have pictures."""
    rows, p = [], []
    for label in np.unique(truth):
        own = truth == label
        was, now = before[own], after[own]
        gained, lost = int((now & ~was).sum()), int((was & ~now).sum())
        p.append(_mcnemar(gained, lost))
        rows.append((str(label), int(own.sum()), float(was.mean()), float(now.mean()), gained + lost))
    adjusted = holm(p)
    return [
        {"label": label, "n": n, "base": was, "variant": now, "difference": now - was, "p_holm": adjusted[at]}
        for at, (label, n, was, now, moved) in enumerate(rows)
        if moved
    ]


def swapped(truth: Mapping[str, str], base: Answers, seed: int) -> dict[str, str | None]:
    """Return for each picture the answer about a picture of another class: answers change places, and each is used once.

    Pictures are put in a row class by class, and each takes the answer so many places behind it as the largest class has pictures. A
    class with more than half of all pictures has some that nothing can be swapped with; they are left out.
    """
    keys = sorted(base)
    random.Random(f"{seed} swapped").shuffle(keys)  # noqa: S311
    keys.sort(key=lambda key: truth[key])
    step = max(Counter(truth[key] for key in keys).values(), default=0)
    pairs = [(key, keys[(at + step) % len(keys)]) for at, key in enumerate(keys)]
    return {key: base[other] for key, other in pairs if truth[key] != truth[other]}


def association(truth: Mapping[str, str], base: Answers) -> float | None:
    """Return the p that so many answers or more are right when answers change places at random: whether pictures tell on answers.

    One-sided, by `ORDERS` permutations with a fixed seed. `None` where all pictures are of one class, or there are none.
    """
    keys = sorted(base)
    ids = {label: at for at, label in enumerate(sorted({truth[key] for key in keys}))}
    if len(ids) < 2:
        return None
    of = np.array([ids[truth[key]] for key in keys])
    said = np.array([ids.get(answer, -1) if (answer := base[key]) is not None else -1 for key in keys])
    right, generator, reached = int((of == said).sum()), np.random.default_rng(SEED), 0
    block = max(1, 2_000_000 // len(keys))
    for start in range(0, ORDERS, block):
        drawn = generator.permuted(np.tile(said, (min(block, ORDERS - start), 1)), axis=1)
        reached += int(((drawn == of).sum(axis=1) >= right).sum())
    return (1 + reached) / (1 + ORDERS)


def pull(truth: Mapping[str, str], columns: Mapping[str, Answers]) -> Json | None:
    """Return how much more often each label is answered where another is right when it is the example than when another label is.

    `columns` has for each label the answers with it as the example. Only pictures that all of them answered count, so that the same
    pictures are compared. `None` with fewer than two labels. The p of a label is exact: if the example does nothing, which of the answers
    about a picture came with which example is a matter of chance. That of all labels together is `aligned`'s.
    """
    labels = list(columns)
    keys = _answered_by_all(truth, list(columns.values()))
    if len(labels) < 2 or not keys:
        return None
    of = np.array([truth[key] for key in keys], dtype=object)
    said = np.array([[columns[label][key] for key in keys] for label in labels], dtype=object)  # "labels pictures"
    named = np.array([(said == label) & (of != label) for label in labels])  # "label example pictures"
    rows = [_pulled(labels[at], named[at], at, of != labels[at]) for at in range(len(labels))]
    for row, p in zip(rows, holm([row["difference"]["p"] for row in rows]), strict=True):
        row["difference"]["p_holm"] = p
    own = named[np.arange(len(labels)), np.arange(len(labels))].sum(
        axis=0
    )  # by picture: labels that were named as their own example
    others = named.sum(axis=(0, 1)) - own
    could = np.array([(of != label) for label in labels]).sum(axis=0)
    gaps = (own - others / (len(labels) - 1)) / np.maximum(could, 1)
    low, high = gap_interval(gaps)
    # Put in one block a way of asking: how often each label was named, where it was the example and where not.
    p = aligned(named.transpose(2, 1, 0).astype(float))
    overall = {"value": float(gaps.mean()), "low": low, "high": high, "p": p, "p_holm": None, "n": len(keys)}
    return {"labels": rows, "overall": overall, "pictures": len(keys)}


def _pulled(label: str, named: NDArray[np.bool_], own: int, could: NDArray[np.bool_]) -> Json:
    """Return one label's row; `named` is ``"example pictures"``, `could` says for which pictures another label is right."""
    n, examples = int(could.sum()), len(named)
    times = named.sum(axis=0)[could]  # in how many ways of asking it was named, by picture
    with_it = named[own][could]
    without = (times - with_it) / (examples - 1)
    told: Json = {"label": label, "with": {"value": None, "n": n}, "without": {"value": None, "n": n * (examples - 1)}}
    if not n:
        return {**told, "difference": {"value": None, "low": None, "high": None, "p": 1.0}}
    told["with"]["value"], told["without"]["value"] = float(with_it.mean()), float(without.mean())
    low, high = gap_interval(with_it - without)
    p = _poisson_binomial(int(with_it.sum()), Counter(times.tolist()), examples)
    return {**told, "difference": {"value": float((with_it - without).mean()), "low": low, "high": high, "p": p}}


def _poisson_binomial(count: int, times: Mapping[int, int], of: int) -> float:
    """Return the two-sided p of `count` where `times[m]` pictures have a chance of m in `of` each: twice the smaller tail."""
    chances = np.ones(1)
    for hits, pictures in times.items():
        if hits:
            chances = np.convolve(chances, binom.pmf(np.arange(pictures + 1), pictures, hits / of))
    return float(min(1.0, 2 * min(chances[: count + 1].sum(), chances[count:].sum())))


def places(truth: Mapping[str, str], columns: Sequence[tuple[tuple[str, ...], Answers]]) -> Json | None:
    """Return which share of answers each place of the list takes over several orders of it, and whether early or late ones take more.

    `columns` are orders of the list with their answers; only pictures that all of them answered count. `expected` is the share that a
    place would take if each label were answered equally often wherever it stands: over several orders, a place is told from the labels
    that stand there. `rho` is the rank correlation of the place with what it takes beyond that, `p` that of the mean place (`aligned`).
    """
    keys = _answered_by_all(truth, [answers for _, answers in columns])
    labels = columns[0][0] if columns else ()
    told: Json = {
        "places": [],
        "rho": None,
        "p": None,
        "p_holm": None,
        "outcome": "",
        "orders": len(columns),
        "pictures": len(keys),
    }
    if len(columns) < 2 or len(labels) < 2 or not keys:
        return None
    ids = {label: at for at, label in enumerate(labels)}
    at = np.array([[order.index(label) for label in labels] for order, _ in columns])  # "orders labels"
    said = np.array([[ids.get(answers[key] or "", -1) for key in keys] for _, answers in columns])  # "orders pictures"
    counts = np.array([np.bincount(row[row >= 0], minlength=len(labels)) for row in said]) / len(keys)
    taken, even = np.zeros(len(labels)), np.zeros(len(labels))
    for row, stands in enumerate(at):
        taken[stands] += counts[row] / len(columns)
        even[stands] += counts.mean(axis=0) / len(columns)
    told["places"] = [
        {"place": place + 1, "share": float(taken[place]), "expected": float(even[place])} for place in range(len(labels))
    ]
    beyond = np.round(taken - even, 12)
    if len(set(beyond.tolist())) > 1 and len(labels) > 2:
        told["rho"] = float(spearmanr(np.arange(len(labels)), beyond).statistic)
    stands = np.concatenate([at / (len(labels) - 1) - 0.5, np.zeros((len(columns), 1))], axis=1)  # no label: in the middle
    mean = float(
        (np.take_along_axis(stands, said, axis=1).mean(axis=1)).mean() - (counts.mean(axis=0) @ stands.mean(axis=0)[:-1])
    )
    if told["rho"] is None:
        told["rho"] = float(np.sign(np.round(mean, 12)))
    every = len(labels) <= _ALL and math.factorial(len(labels)) == len(columns)
    if len(columns) < WHOLE and not every:
        return {**told, "shift": mean, "outcome": "too few orders to tell"}
    # By picture, way of asking, and the order it is looked at with: where in that order the answer stands.
    told["p"] = p = aligned(np.stack([stands[:, row].T for row in said], axis=1), every=every)
    outcome = "not distinguishable" if p > ALPHA else "earlier" if mean < 0 else "later"
    return {**told, "shift": mean, "outcome": outcome}


def aligned(scores: Floats, *, every: bool = False) -> float:
    """Return the two-sided p that answers fit the way they were asked in, and not the other ways, as well as they do.

    `scores` is ``"pictures asked looked"``: what the answer to the way `asked` is worth if it is looked at as an answer to the way
    `looked`. If the ways do nothing, which is which is a matter of chance, so they are permuted: whole ways, where there are `WHOLE` or
    more, because what a change of words does at random it does to many pictures at once; with fewer, or where these are `every` way
    that there is, the answers about each picture.
    """
    ways = scores.shape[1]
    if ways >= WHOLE and not every:
        table = scores.sum(axis=0)
        if ways <= _ALL:
            orders = np.array(list(itertools.permutations(range(ways))))
        else:
            generator = np.random.default_rng(SEED)
            orders = np.array([np.arange(ways), *(generator.permutation(ways) for _ in range(ORDERS))])
        sums = table[np.arange(ways), orders].sum(axis=1)
        return _as_far(float(np.trace(table)), sums, float(table.sum() / ways), drawn=False)
    orders = np.array(list(itertools.permutations(range(ways))))
    each = scores[:, np.arange(ways), orders].sum(axis=2)  # "pictures permutations"
    moving = each[np.ptp(each, axis=1) > 0]
    if not len(moving):
        return 1.0
    generator = np.random.default_rng(SEED)
    sums = np.zeros(ORDERS)
    for row in moving:
        sums += row[generator.integers(len(orders), size=ORDERS)]
    return _as_far(float(moving[:, 0].sum()), sums, float(moving.mean(axis=1).sum()), drawn=True)


def _as_far(seen: float, sums: Floats, middle: float, *, drawn: bool) -> float:
    """Return the share of `sums` that are as far from the `middle` as `seen`; drawn ones do not hold it themselves."""
    far = int((np.abs(sums - middle) >= abs(seen - middle) - 1e-9).sum())
    return (far + 1) / (len(sums) + 1) if drawn else far / len(sums)


def _answered_by_all(truth: Mapping[str, str], columns: Sequence[Answers]) -> list[str]:
    return [key for key in truth if all(key in answers for answers in columns)]
