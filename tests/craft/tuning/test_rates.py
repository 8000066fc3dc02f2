"""Schedules: the usual ones, and published ones as they were and as they should have been."""

from __future__ import annotations

import pytest

from fieldguide.craft.tuning import rates


def test_moondreams_schedule_is_the_published_one_and_comes_down_to_less_when_corrected() -> None:
    published = [rates.rate(step, 1000, 0.5, "moondream") for step in range(1000)]
    corrected = [rates.rate(step, 1000, 0.5, "moondream_corrected") for step in range(1000)]
    assert published[0] == corrected[0] == pytest.approx(0.1)
    assert published[50] == pytest.approx(0.55)
    assert max(published) == pytest.approx(1, abs=1e-6)
    assert published[-1] == pytest.approx(0.122, abs=1e-3)
    assert corrected[-1] == pytest.approx(0.1)


def test_rise_and_fall_of_the_notebooks() -> None:
    found = [rates.rate(step, 30, 5 / 30, "linear") for step in range(30)]
    assert found[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    assert found[-1] == pytest.approx(1 / 25)


@pytest.mark.parametrize("schedule", rates.SCHEDULES)
def test_no_schedule_leaves_its_bounds(schedule: rates.Schedule) -> None:
    for total in (1, 2, 7, 30):
        assert all(0 < rates.rate(step, total, 0.1, schedule) <= 1 for step in range(total))
