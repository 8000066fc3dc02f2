"""What follows from copies: exclusions, groups and marks, for a split that is made and for one that was given."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.checks.seen import pair, row

from fieldguide.data import copies as module
from fieldguide.data.copies import Care, Copies, Look, find_copies, settle
from fieldguide.data.split import SplitRule, divide
from fieldguide.records import ManifestRow

KEEP = Care(leaks="keep")


def copies(bytes: Sequence[Sequence[int]] = (), pixels: Sequence[Sequence[int]] = (), near: Sequence[tuple[int, int]] = (),
           bursts: Sequence[Sequence[int]] = (), together: bool = True) -> Copies:  # fmt: skip
    groups = [tuple(tuple(group) for group in several) for several in (bytes, pixels, bursts)]
    return Copies(groups[0], groups[1], tuple(pair(*two) for two in near), groups[2], together)  # type: ignore[misc]


def rows(*splits: str | None) -> list[ManifestRow]:
    return [row(f"cat/{at}.png", split=split) for at, split in enumerate(splits)]


def out(settled: Sequence[ManifestRow]) -> list[str | None]:
    return [one.excluded for one in settled]


def marks(settled: Sequence[ManifestRow]) -> list[tuple[str, ...]]:
    return [one.marks for one in settled]


def test_of_the_same_bytes_one_stays_and_is_not_marked() -> None:
    settled = settle(rows(None, None, None), copies(bytes=[(0, 2)]), Care())
    assert out(settled) == [None, None, "duplicate of cat/0.png"]
    assert marks(settled) == [(), (), ()] and settled[0].group is None


def test_near_copies_stay_together_and_all_but_the_first_are_marked() -> None:
    settled = settle(rows(None, None, None, None), copies(near=[(1, 3), (3, 2)]), Care())
    assert out(settled) == [None] * 4 and marks(settled) == [(), (), ("repeated",), ("repeated",)]
    assert (
        settled[0].group is None and len({one.group for one in settled[1:]}) == 1 and str(settled[1].group).startswith("alike ")
    )


def test_near_copies_are_free_where_that_was_asked_and_still_marked() -> None:
    settled = settle(rows(None, None), copies(near=[(0, 1)], together=False), Care(alike="free"))
    assert [one.group for one in settled] == [None, None] and marks(settled) == [(), ("repeated",)]


def test_bursts_are_tied_and_marked() -> None:
    settled = settle(rows(None, None, None), copies(bursts=[(0, 1)]), Care())
    assert settled[0].group == settled[1].group is not None and settled[2].group is None
    assert marks(settled) == [(), ("burst",), ()]


def test_the_users_group_gives_its_name_to_all_it_touches() -> None:
    mine = [row("cat/0.png", group="walk"), row("cat/1.png", group="walk"), row("cat/2.png"), row("cat/3.png")]
    settled = settle(mine, copies(near=[(1, 2)]), Care())
    assert [one.group for one in settled] == ["walk", "walk", "walk", None]


def test_training_copies_of_test_pictures_are_dropped_and_the_test_picture_is_marked() -> None:
    for found in (copies(bytes=[(0, 1)]), copies(pixels=[(0, 1)]), copies(near=[(0, 1)])):
        settled = settle(rows("train", "test", "train"), found, Care())
        assert out(settled) == ["also in the test split: cat/1.png", None, None]
        assert marks(settled) == [(), ("leaked",), ()]


def test_validation_is_between_training_and_test() -> None:
    settled = settle(rows("train", "val", "test"), copies(near=[(0, 1), (1, 2)]), Care())
    assert out(settled) == ["also in the test split: cat/2.png", "also in the test split: cat/2.png", None]
    assert marks(settled) == [(), (), ("leaked",)]
    settled = settle(rows("train", "val", "test"), copies(near=[(0, 1)]), Care())
    assert out(settled) == ["also in the val split: cat/1.png", None, None] and marks(settled)[1] == ("leaked",)


def test_kept_leaks_stay_in_training_and_are_marked() -> None:
    for found in (copies(bytes=[(0, 1)]), copies(pixels=[(0, 1)]), copies(near=[(0, 1)])):
        settled = settle(rows("train", "test", "train"), found, KEEP)
        assert out(settled) == [None, None, None] and marks(settled) == [(), ("leaked",), ()]


def test_of_kept_copies_in_training_one_stays() -> None:
    settled = settle(rows("train", "train", "test"), copies(bytes=[(0, 1, 2)]), KEEP)
    assert out(settled) == [None, "also in the test split: cat/2.png", None] and marks(settled)[2] == ("leaked",)


def test_several_test_copies_of_a_training_picture_are_leaked_and_repeated() -> None:
    settled = settle(rows("train", "test", "test"), copies(near=[(0, 1), (0, 2)]), Care())
    assert marks(settled) == [(), ("leaked",), ("leaked", "repeated")] and out(settled)[0] is not None


def test_the_same_bytes_in_two_classes_leave_none_and_mark_none() -> None:
    two = [row("cat/0.png", split="train"), row("dog/0.png", split="test")]
    settled = settle(two, copies(bytes=[(0, 1)]), Care())
    assert out(settled) == ["same picture in two classes: cat, dog"] * 2 and marks(settled) == [(), ()]


def test_bursts_across_a_given_split_are_told_but_never_dropped() -> None:
    settled = settle(rows("train", "test"), copies(bursts=[(0, 1)]), Care())
    assert out(settled) == [None, None] and settled[0].group == settled[1].group
    assert marks(settled) == [(), ("burst",)]


def test_a_kept_copy_is_trained_on_and_tested_on() -> None:
    same = [row("cat/a.png", key="k", split="train"), row("cat/b.png", key="k", split="test")]
    more = [
        row(f"{label}/{n}.png", split=split) for label in ("cat", "dog") for n, split in enumerate(("train", "train", "test"))
    ]
    settled = settle([*same, *more], copies(bytes=[(0, 1)]), KEEP)
    divided = {one.path: one.split for one in divide(settled, SplitRule((0.7, 0.15, 0.15)))}
    assert divided["cat/a.png"] == "train" and divided["cat/b.png"] == "test"


def test_only_one_of_several_with_the_same_pixels_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [Look("p", 40.0, "s0"), Look("p", 40.0, "s1"), Look("q", 40.0, "s2")]  # type: ignore[arg-type]
    asked: list[list[object]] = []
    monkeypatch.setattr(module, "alike", lambda sketches, progress=None: asked.append(list(sketches)) or ())
    monkeypatch.setattr(module, "bursts", lambda names, taken, sketches: asked.append(list(sketches)) or ())
    found = find_copies([row("cat/0.png"), row("cat/1.png"), row("cat/2.png")], looks, Care())
    assert asked == [["s0", None, "s2"]] * 2 and found.same_pixels == ((0, 1),)


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=12), st.permutations(range(12)))
def test_what_follows_does_not_depend_on_the_order_of_pairs(pairs: list[tuple[int, int]], order: list[int]) -> None:
    """Whoever is found first: the same pictures are grouped, marked and excluded."""
    parts = ["train", "val", "test", None]
    these = rows(*(parts[at % 4] for at in range(12)))
    near = [(a, b) for a, b in pairs if a != b]
    plain = settle(these, copies(near=near), Care())
    turned = settle(these, copies(near=[(b, a) for a, b in reversed(near)]), Care())
    assert plain == turned
    place = {at: where for where, at in enumerate(order)}
    shuffled = settle([these[at] for at in order], copies(near=[(place[a], place[b]) for a, b in near]), Care())
    assert sorted(shuffled, key=lambda one: one.path) == sorted(plain, key=lambda one: one.path)
