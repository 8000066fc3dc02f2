"""Parts of the training pictures: nested, of every class its share, decided by content."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldguide.data.portion import portion
from fieldguide.files import digest
from fieldguide.records import ManifestRow

SIZES = {"ant": 100, "bee": 37, "cat": 3, "dog": 1}


def rows() -> list[ManifestRow]:
    found = [
        ManifestRow(digest(label, at), f"{label}/{at}.png", label, "train") for label, n in SIZES.items() for at in range(n)
    ]
    return sorted(found, key=lambda row: row.key)


@given(small=st.floats(0.001, 1), large=st.floats(0.001, 1), seed=st.integers(0, 5))
def test_a_smaller_part_lies_within_a_larger_one(small: float, large: float, seed: int) -> None:
    small, large = sorted((small, large))
    assert set(portion(rows(), small, seed)) <= set(portion(rows(), large, seed))


@given(fraction=st.floats(0.001, 1))
def test_every_class_keeps_its_share_and_one_picture_at_least(fraction: float) -> None:
    counts = Counter(row.label for row in portion(rows(), fraction, 3))
    for label, size in SIZES.items():
        assert counts[label] >= 1
        assert counts[label] == 1 or abs(counts[label] - fraction * size) <= 0.5


def test_half_of_an_odd_number_is_rounded_up() -> None:
    assert Counter(row.label for row in portion(rows(), 0.5, 3)) == {"ant": 50, "bee": 19, "cat": 2, "dog": 1}


def test_everything_is_everything_in_its_order() -> None:
    assert portion(rows(), 1.0, 3) == tuple(rows())


def test_the_order_of_a_part_is_that_of_the_whole() -> None:
    part = portion(rows(), 0.3, 3)
    assert [row for row in rows() if row in part] == list(part)


def test_content_and_seed_decide_and_nothing_else() -> None:
    part = {row.key for row in portion(rows(), 0.3, 3)}
    moved = [dataclasses.replace(row, path=f"x/{at}.png") for at, row in enumerate(rows())]
    random.Random(1).shuffle(moved)
    assert {row.key for row in portion(moved, 0.3, 3)} == part
    assert {row.key for row in portion(rows(), 0.3, 4)} != part


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.01])
def test_no_part_at_all_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        portion(rows(), fraction, 3)
