"""Power against simulation and the known magnitudes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from fieldguide.evaluate.power import ASSUMED, FLOOR, detection_power, power_line, smallest_difference


@pytest.mark.parametrize(("n", "low", "high"), [(100, 9, 13), (300, 5.5, 7.5), (1000, 3, 4.5)])
def test_known_magnitudes(n, low, high):
    points = [100 * smallest_difference(n, discordance, 0.05) for discordance in (0.10, 0.15, 0.20)]
    assert points == sorted(points)
    assert low - 0.7 <= points[0] and points[-1] <= high
    assert low <= points[1] <= high


def test_power_is_what_a_simulation_finds():
    n, discordance, difference = 270, 0.12, 0.07
    random = np.random.default_rng(9)
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    tables, times = np.unique(random.multinomial(n, shares, size=4000)[:, :2], axis=0, return_counts=True)
    found = sum(
        count
        for (a, b), count in zip(tables.tolist(), times.tolist(), strict=True)
        if a > b and binomtest(a, a + b).pvalue <= 0.05
    )
    assert detection_power(n, discordance, difference, 0.05) == pytest.approx(found / 4000, abs=0.02)


def test_the_smallest_difference_just_reaches_the_power():
    for alpha in (0.05, 0.05 / 10):
        smallest = smallest_difference(300, 0.15, alpha)
        assert detection_power(300, 0.15, smallest, alpha) >= 0.80
        assert detection_power(300, 0.15, smallest - 1e-4, alpha) < 0.80


def test_the_test_keeps_its_level():
    assert 2 * detection_power(500, 0.2, 0.0, 0.05) <= 0.05


def test_too_few_pictures_for_any_difference():
    assert smallest_difference(20, 0.1, 0.05) is None
    line = power_line(20, [0.1], 1, 0.05)
    assert line["single"] is None and line["corrected"] is None
    assert line["sentence"].startswith("With 20 test pictures you cannot tell models apart")
    partly = power_line(100, [0.1], 2000, 0.05)
    assert partly["single"] is not None and partly["corrected"] is None
    assert "but not over all 2000 pairs" in partly["sentence"]
    assert smallest_difference(1, 0.15, 0.05) is None


def test_the_line_says_what_it_assumes():
    alone = power_line(300, [], 0, 0.05)
    assert alone["discordance"] == ASSUMED == 0.15 and "assuming" in alone["sentence"]
    assert alone["corrected"] == alone["single"]
    equal = power_line(300, [0.0, 0.0, 0.0], 3, 0.05)
    assert equal["discordance"] == FLOOR
    line = power_line(270, [0.05, 0.12, 0.4], 3, 0.05)
    assert line["discordance"] == 0.12
    assert (
        line["corrected"] == smallest_difference(270, 0.12, 0.05 / 3) > line["single"] == smallest_difference(270, 0.12, 0.05)
    )
    assert line["sentence"] == (
        f"With 270 test pictures you can tell apart models that differ by {100 * line['single']:.1f} points if you compare "
        f"only two, and by {100 * line['corrected']:.1f} points over all 3 pairs, where exactly one of two is right on 12 % of "
        "the pictures (80 % power)."
    )
