"""95 % intervals. All are computed from counts or sorted values with a fixed seed: the order of the pictures cannot matter."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

#: Resamples of every bootstrap, and the seed it starts from: the same counts give the same interval, always.
RESAMPLES = 2000
SEED = 20_260
_LEVELS = (0.025, 0.975)
_Z = float(norm.ppf(0.975))
#: Numbers drawn at a time where a bootstrap needs one for each picture: 32 MB.
_BLOCK = 4_000_000

Interval = tuple[float, float]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


def wilson(count: int, total: int) -> Interval:
    """Return Wilson's score interval for `count` of `total` (E. B. Wilson, 1927); `total` must be positive."""
    share, z2 = count / total, _Z**2 / total
    middle = (share + z2 / 2) / (1 + z2)
    half = math.sqrt(share * (1 - share) * z2 + z2**2 / 4) / (1 + z2)
    return 0.0 if count == 0 else middle - half, 1.0 if count == total else middle + half


def f1_interval(right: int, predicted: int, support: int) -> Interval:
    """Return an interval for one class's F1 = 2J / (1 + J), where J is the share of `right` among pictures in truth or answer.

    Under random sampling of pictures J is a binomial proportion of that union, so Wilson's interval for J carries over
    through the rising function above. Unlike a bootstrap it keeps a width where every picture was right.
    """
    low, high = wilson(right, predicted + support - right)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def class_metrics(right: Floats, predicted: Floats, support: Floats) -> dict[str, Floats]:
    """Return macro and weighted precision, recall and F1 from per-class counts, each ``"... classes"``, for ``"..."`` tables.

    Only classes that have pictures (`support` > 0, ``"classes"``) enter. A class never answered has precision 0.
    """
    here = support > 0
    right, predicted, support = right[..., here], predicted[..., here], support[here]
    each = {
        "precision": right / np.maximum(predicted, 1),
        "recall": right / support,
        "f1": 2 * right / (predicted + support),
    }
    macro = {f"macro_{name}": values.mean(axis=-1) for name, values in each.items()}
    weighted = {f"weighted_{name}": values @ (support / support.sum()) for name, values in each.items()}
    return {**macro, **weighted}


def class_intervals(confusion: Counts) -> dict[str, Interval]:
    """Return intervals for the metrics of `class_metrics` by a stratified bootstrap of `confusion`, ``"classes answers"``.

    Resampling the pictures of one class with replacement is a multinomial draw from its row, so rows are drawn instead of
    pictures. With few pictures a class, the plain percentile interval covers too rarely (87 % where 95 % is meant, with 3
    pictures in each of 100 classes): resampling n pictures understates their variance by (n - 1) / n, and it bends macro-F1
    downwards. So the draws are centred on the estimate and stretched to the unbiased variance (after Rao and Wu, 1988).
    Where resampling has no spread (all pictures right, say), Wilson's interval of the accuracy stands in.
    """
    classes = confusion.shape[0]
    support = confusion.sum(axis=1)
    right = np.diagonal(confusion[:, :classes])
    right_draws, predicted_draws = _draw(confusion)
    estimate = class_metrics(right.astype(float), confusion[:, :classes].sum(axis=0).astype(float), support.astype(float))
    draws = class_metrics(right_draws, predicted_draws, support.astype(float))
    accuracy = wilson(int(right.sum()), int(support.sum()))
    stretches = {"macro": _stretch(right, support, weighted=False), "weighted": _stretch(right, support, weighted=True)}
    intervals = {}
    for name, value in estimate.items():
        stretch = stretches[name.split("_")[0]]
        intervals[name] = accuracy if stretch is None else _centred(float(value), draws[name], stretch)
    return intervals


def _draw(confusion: Counts) -> tuple[Floats, Floats]:
    """Return resampled right answers and resampled answers of each class, both ``"resamples classes"``."""
    classes = confusion.shape[0]
    random = np.random.default_rng(SEED)
    right = np.zeros((RESAMPLES, classes))
    answers = np.zeros((RESAMPLES, confusion.shape[1]))
    for truth, row in enumerate(confusion):
        total = int(row.sum())
        if total == 0:
            continue
        used = np.flatnonzero(row)  # most cells of a large table are empty; they need no draw
        drawn = random.multinomial(total, row[used] / total, size=RESAMPLES)
        answers[:, used] += drawn
        if row[truth]:
            right[:, truth] = drawn[:, int(np.searchsorted(used, truth))]
    return right, answers[:, :classes]


def _stretch(right: Counts, support: Counts, weighted: bool) -> float | None:
    """Return the ratio of the unbiased to the resampled standard deviation of the (weighted) recall; `None` without spread.

    A class with one picture tells nothing of its variance; the pooled one is taken.
    """
    here = support > 0
    size = support[here].astype(float)
    share = right[here] / size
    pooled = float(right.sum() / size.sum())
    weight = size if weighted else np.ones_like(size)
    resampled = share * (1 - share) / size
    unbiased = np.where(size > 1, share * (1 - share) / np.maximum(size - 1, 1), pooled * (1 - pooled))
    below = float((weight**2 * resampled).sum())
    return math.sqrt(float((weight**2 * unbiased).sum()) / below) if below > 0 else None


def _centred(value: float, draws: Floats, stretch: float) -> Interval:
    low, high = value + stretch * (np.quantile(draws, _LEVELS) - draws.mean())
    return max(0.0, min(float(low), value)), min(1.0, max(float(high), value))


def mean_interval(values: Floats) -> Interval:
    """Return the percentile bootstrap interval of the mean of `values`, ``"pictures"``."""
    ordered = np.sort(values)
    random = np.random.default_rng(SEED)

    def means(size: int) -> Floats:
        drawn: Floats = ordered[random.integers(len(ordered), size=(size, len(ordered)))].mean(axis=1)
        return drawn

    low, high = np.quantile(in_blocks(means, len(ordered)), _LEVELS)
    return float(low), float(high)


def in_blocks(draw: Callable[[int], Floats], width: int) -> Floats:
    """Return `RESAMPLES` results of ``draw(size)``, asked for in blocks so that memory stays bounded at any `width`."""
    size = max(1, _BLOCK // max(1, width))
    return np.concatenate([draw(min(size, RESAMPLES - start)) for start in range(0, RESAMPLES, size)])


def difference_interval(n: int, only_a: int, only_b: int, alpha: float = 0.05) -> Interval:
    """Return the paired bootstrap interval of accuracy a - accuracy b over `n` pictures, at level 1 - `alpha`.

    Resampling pictures with replacement changes only how many fall where a alone is right, where b alone is, and elsewhere:
    a multinomial draw. It is made from the four counts with half a picture added to each (Agresti and Min, 2005), without
    which contestants that were never seen to differ would get an interval of no width.
    """
    shares = np.array([only_a + 0.5, only_b + 0.5, n - only_a - only_b + 1]) / (n + 2)
    drawn = np.random.default_rng(SEED).multinomial(n, shares, size=RESAMPLES)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / n, (alpha / 2, 1 - alpha / 2))
    difference = (only_a - only_b) / n
    return min(float(low), difference), max(float(high), difference)


def gap_interval(gaps: Floats, alpha: float = 0.05) -> Interval:
    """Return the paired bootstrap interval of the mean of `gaps`, ``"pictures"``, each between -1 and 1, at level 1 - `alpha`.

    A gap is by how much more of one group of contestants has a picture right than of another. As in `difference_interval`, which this
    is for groups of one: the gaps are few different numbers, so a resample is a multinomial draw, made with half a picture added at
    each end and one in the middle, so that groups that were never seen to differ get an interval that is wider than nothing.
    """
    values, counts = np.unique(np.round(gaps, 12), return_counts=True)
    values, weights = np.concatenate([values, [-1.0, 0.0, 1.0]]), np.concatenate([counts, [0.5, 1.0, 0.5]])
    drawn = np.random.default_rng(SEED).multinomial(len(gaps), weights / weights.sum(), size=RESAMPLES)
    low, high = np.quantile(drawn @ values / len(gaps), (alpha / 2, 1 - alpha / 2))
    mean = float(gaps.mean())
    return min(float(low), mean), max(float(high), mean)


def share(count: int, total: int) -> dict[str, Any]:
    """Return ``{"value", "low", "high", "n"}`` with Wilson's interval; of nothing there is no share."""
    if not total:
        return {"value": None, "low": None, "high": None, "n": 0}
    low, high = wilson(count, total)
    return {"value": count / total, "low": low, "high": high, "n": total}


def newcombe(count_a: int, total_a: int, count_b: int, total_b: int) -> Interval:
    """Return an interval for the difference a - b of two shares that come from different pictures.

    Newcombe's hybrid score interval (Statistics in Medicine 17, 1998, method 10): Wilson's two intervals, put together. Both
    totals must be positive.
    """
    a, b = count_a / total_a, count_b / total_b
    (low_a, high_a), (low_b, high_b) = wilson(count_a, total_a), wilson(count_b, total_b)
    return a - b - math.hypot(a - low_a, high_b - b), a - b + math.hypot(high_a - a, b - low_b)
