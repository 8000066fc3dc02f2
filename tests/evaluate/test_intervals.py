"""Intervals against statsmodels, and whether they cover what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from fieldguide.evaluate.intervals import (
    class_intervals,
    class_metrics,
    difference_interval,
    f1_interval,
    mean_interval,
    wilson,
)


@pytest.mark.parametrize(
    ("count", "total"), [(0, 1), (1, 1), (0, 30), (30, 30), (1, 30), (265, 270), (500, 1000), (9998, 9999)]
)
def test_wilson_is_statsmodels(count, total):
    assert wilson(count, total) == pytest.approx(proportion_confint(count, total, method="wilson"), abs=1e-12)


def test_wilson_covers():
    random = np.random.default_rng(5)
    for share, total in ((0.7, 100), (0.9, 300), (0.5, 50), (0.97, 1000)):
        counts = random.binomial(total, share, size=2000)
        bounds = {int(count): wilson(int(count), total) for count in set(counts)}
        covered = np.mean([bounds[int(count)][0] <= share <= bounds[int(count)][1] for count in counts])
        assert 0.93 <= covered <= 0.97, (share, total, covered)


@pytest.mark.parametrize(
    ("n", "discordance", "difference"),
    [(300, 0.12, 0.06), (300, 0.12, 0.0), (1000, 0.1, 0.03), (100, 0.5, 0.3), (100, 0.2, 0.1)],
)
def test_the_paired_bootstrap_covers(n, discordance, difference):
    random = np.random.default_rng(11)
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    tables, times = np.unique(random.multinomial(n, shares, size=1200), axis=0, return_counts=True)
    covered = 0
    for (only_a, only_b, _), count in zip(tables.tolist(), times.tolist(), strict=True):
        low, high = difference_interval(n, only_a, only_b)
        covered += count * (low <= difference <= high)
    assert 0.93 <= covered / 1200 <= 0.97


def test_the_paired_interval_is_what_resampling_pictures_gives():
    only_a, only_b, n = 30, 12, 250
    scores = np.repeat([1, -1, 0], [only_a, only_b, n - only_a - only_b])
    draws = scores[np.random.default_rng(0).integers(n, size=(4000, n))].mean(axis=1)
    assert difference_interval(n, only_a, only_b) == pytest.approx(np.quantile(draws, (0.025, 0.975)), abs=0.005)


def test_never_seen_to_differ_is_not_known_to_be_equal():
    low, high = difference_interval(100, 0, 0)
    assert low <= -0.01 and high >= 0.01
    wider = difference_interval(20, 0, 0)
    assert wider[0] < low and wider[1] > high


@pytest.mark.parametrize(
    ("classes", "pictures", "trials", "least"), [(3, 30, 600, 0.93), (10, 8, 600, 0.93), (100, 3, 120, 0.90)]
)
def test_class_intervals_cover_also_with_few_pictures_a_class(classes, pictures, trials, least):
    random = np.random.default_rng(2)
    truth = np.array([(lambda row: row / row.sum())(random.dirichlet(np.full(classes, 0.3))) for _ in range(classes)]) * 0.2
    truth[np.arange(classes), np.arange(classes)] += 0.8
    recall = np.diagonal(truth)
    expected = {"macro_recall": recall.mean(), "macro_f1": (2 * recall / (1 + truth.sum(axis=0))).mean()}
    covered = dict.fromkeys(expected, 0)
    for _ in range(trials):
        drawn = np.array([random.multinomial(pictures, row) for row in truth])
        intervals = class_intervals(np.hstack([drawn, np.zeros((classes, 1), dtype=int)]))
        for name, value in expected.items():
            covered[name] += intervals[name][0] <= value <= intervals[name][1]
    for name, count in covered.items():
        assert least <= count / trials <= (0.97 if trials > 500 else 1.0), (name, count / trials)


def test_class_intervals_are_centred_and_as_wide_as_the_unbiased_variance():
    random = np.random.default_rng(6)
    classes, pictures = 100, 3
    share = np.full((classes, classes), 0.3 / classes) + 0.7 * np.eye(classes)
    table = np.array([random.multinomial(pictures, row) for row in share])
    intervals = class_intervals(np.hstack([table, np.zeros((classes, 1), dtype=int)]))
    right = np.diagonal(table)
    recall = right / pictures
    half = 1.96 * np.sqrt((recall * (1 - recall) / (pictures - 1)).sum()) / classes
    low, high = intervals["macro_recall"]
    assert (high - low) / 2 == pytest.approx(half, rel=0.06)
    f1 = (2 * right / (table.sum(axis=0) + pictures)).mean()
    for (low, high), value in ((intervals["macro_recall"], recall.mean()), (intervals["macro_f1"], f1)):
        assert (low + high) / 2 == pytest.approx(value, abs=0.004)


def test_a_class_with_one_picture_adds_the_pooled_variance():
    pairs = np.array([[4, 4, 0], [4, 4, 0]])
    low, high = class_intervals(pairs)["macro_recall"]
    singles = np.array([[4, 4, 0, 0], [4, 4, 0, 0], [0, 0, 1, 0]])
    wider = class_intervals(singles)["macro_recall"]
    assert wider[1] - wider[0] > 1.25 * (high - low)


def test_class_metrics_follow_the_table():
    right, predicted, support = np.array([3.0, 0.0, 0.0]), np.array([4.0, 0.0, 1.0]), np.array([4.0, 2.0, 0.0])
    values = class_metrics(right, predicted, support)
    assert values["macro_precision"] == pytest.approx(3 / 8)
    assert values["weighted_recall"] == pytest.approx(4 / 6 * 3 / 4)
    assert values["macro_f1"] == pytest.approx((6 / 8 + 0) / 2)


def test_an_all_right_table_still_has_a_width():
    table = np.hstack([np.eye(4, dtype=int) * 5, np.zeros((4, 1), dtype=int)])
    assert class_intervals(table)["macro_f1"] == wilson(20, 20)
    single = np.hstack([np.eye(4, dtype=int), np.zeros((4, 1), dtype=int)])
    assert class_intervals(single)["macro_recall"] == wilson(4, 4)


def test_f1_interval_covers():
    random = np.random.default_rng(4)
    shares = np.array([0.25, 0.05, 0.08, 0.62])  # right, missed, wrongly answered, neither
    value = 2 * 0.25 / (2 * 0.25 + 0.05 + 0.08)
    tables = random.multinomial(200, shares, size=1500)
    intervals = [f1_interval(int(right), int(right + wrong), int(right + missed)) for right, missed, wrong, _ in tables]
    assert 0.93 <= np.mean([low <= value <= high for low, high in intervals]) <= 0.97


def test_mean_interval_is_the_bootstrap_of_a_mean():
    values = np.random.default_rng(1).exponential(size=400)
    low, high = mean_interval(values)
    spread = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - spread, values.mean() + spread), abs=0.02)
    assert mean_interval(values[::-1].copy()) == (low, high)
