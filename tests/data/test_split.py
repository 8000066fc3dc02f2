"""The split: sizes, sides, order, and what a source or an older study has settled."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldguide.data.split import SplitRule, apportion, divide, shape
from fieldguide.data.tables import freeze
from fieldguide.records import ManifestRow, SplitName

DEFAULT = SplitRule()


def key_of(number: object) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def rows_of(counts: dict[str, int], split: SplitName | None = None, start: int = 0) -> list[ManifestRow]:
    labels = [label for label, count in counts.items() for _ in range(count)]
    return [ManifestRow(key_of(start + at), f"{label}/{at}.png", label, split) for at, label in enumerate(labels)]


def places(rows: Iterable[ManifestRow]) -> dict[str, tuple[str | None, int | None]]:
    return {row.key: (row.split, row.fold) for row in rows}


def sizes(rows: Iterable[ManifestRow]) -> dict[str | None, int]:
    return dict(Counter(row.split for row in rows))


def per_class(rows: Iterable[ManifestRow]) -> dict[str, Counter[str | None]]:
    table: dict[str, Counter[str | None]] = defaultdict(Counter)
    for row in rows:
        table[row.label][row.split] += 1
    return table


@pytest.mark.parametrize("seed", [42, 0, 7])
def test_the_published_sizes_of_ninety_classes(seed: int) -> None:
    rows = divide(rows_of({f"class{at:02}": 60 for at in range(90)}), SplitRule(seed=seed))
    assert sizes(rows) == {"train": 3780, "val": 810, "test": 810}
    assert all(counts == {"train": 42, "val": 9, "test": 9} for counts in per_class(rows).values())
    assert len(per_class(rows)) == 90


def test_which_pictures_are_drawn_is_frozen() -> None:
    """A change of the rule would move pictures of every study there is; then this fails and says so."""
    drawn = sorted(row.path for row in divide(rows_of({"a": 20, "b": 20}), DEFAULT) if row.split == "test")
    assert drawn == ["a/0.png", "a/11.png", "a/8.png", "b/25.png", "b/29.png", "b/33.png"]


def test_seeds_differ_and_repeat() -> None:
    rows = rows_of({"a": 40, "b": 40})
    one, again, other = (places(divide(rows, SplitRule(seed=seed))) for seed in (1, 1, 2))
    assert one == again
    assert sum(one[key] != other[key] for key in one) > 10


@given(st.permutations(range(36)), st.integers(0, 2**31 - 1), st.sampled_from([0, 5]))
def test_order_and_names_of_files_do_not_matter(order: list[int], seed: int, folds: int) -> None:
    rows = rows_of({"a": 17, "b": 13, "c": 6})
    rows = [dataclasses.replace(row, group=f"g{at % 4}" if at % 3 == 0 else None) for at, row in enumerate(rows)]
    shuffled = [dataclasses.replace(rows[at], path=f"elsewhere/{place}.jpg") for place, at in enumerate(order)]
    rule = SplitRule(seed=seed, folds=folds)
    assert places(divide(rows, rule)) == places(divide(shuffled, rule))


SPLIT = st.sampled_from(["train", "val", "test", None])


@st.composite
def any_rows(draw: st.DrawFn) -> list[ManifestRow]:
    count = draw(st.integers(1, 60))
    rows = []
    for at in range(count):
        rows.append(
            ManifestRow(
                key_of(at),
                f"{at}.png",
                draw(st.sampled_from("abcd")),
                draw(SPLIT),
                group=draw(st.sampled_from([None, None, "g1", "g2", "g3"])),
                excluded=draw(st.sampled_from([None, None, None, "truncated: cut off"])),
            )
        )
    return rows


@given(any_rows(), st.sampled_from([0, 3, 5]), st.booleans(), st.integers(0, 5))
def test_every_picture_is_placed_and_excluded_ones_are_not(
    rows: list[ManifestRow], folds: int, test_only: bool, seed: int
) -> None:
    done = divide(rows, SplitRule(folds=0 if test_only else folds, test_only=test_only, seed=seed))
    assert [dataclasses.replace(row, split=None, fold=None) for row in done] == [
        dataclasses.replace(row, split=None, fold=None) for row in rows
    ]
    for before, after in zip(rows, done, strict=True):
        if before.excluded is not None:
            assert (after.split, after.fold) == (None, None)
        elif test_only:
            assert (after.split, after.fold) == ("test", None)
        elif folds:
            assert after.split == "test"
            assert after.fold in range(folds)
        else:
            assert after.split in ("train", "val", "test")
            assert after.fold is None
            assert after.split == before.split or before.split in ("train", None)


@given(any_rows(), st.sampled_from([0, 4]))
def test_groups_never_cross(rows: list[ManifestRow], folds: int) -> None:
    rows = [dataclasses.replace(row, split=None) for row in rows]
    sides: dict[str, set[object]] = defaultdict(set)
    for row in divide(rows, SplitRule(folds=folds)):
        if row.group is not None and row.excluded is None:
            sides[row.group].add((row.split, row.fold))
    assert all(len(found) == 1 for found in sides.values())


def test_groups_that_span_classes_are_shared_out_and_sizes_stay_near() -> None:
    rows = rows_of({"a": 100, "b": 100, "c": 50})
    rows = [dataclasses.replace(row, group=f"burst{at % 30}") if at % 2 else row for at, row in enumerate(rows)]
    done = divide(rows, DEFAULT)
    assert {row.label for row in done if row.group == "burst1"} == {"a", "b", "c"}
    total = sizes(done)
    for split, share in zip(("train", "val", "test"), DEFAULT.fractions, strict=True):
        assert abs(total[split] - share * 250) <= 3, total
    for label, counts in per_class(done).items():
        assert abs(counts["train"] - 0.7 * sum(counts.values())) <= 6, (label, counts)


def test_one_large_group_does_not_take_the_test_side_away() -> None:
    rows = rows_of({"a": 30, "b": 30})
    rows = [dataclasses.replace(row, group="film") if at < 20 else row for at, row in enumerate(rows)]
    done = divide(rows, DEFAULT)
    assert {row.split for row in done if row.group == "film"} == {"train"}
    assert sizes(done) == {"train": 42, "val": 9, "test": 9}


GIVEN = [combination for combination in product([0, 1], repeat=4) if any(combination[:3])]


@pytest.mark.parametrize(("train", "val", "test", "unsplit"), GIVEN)
def test_given_splits_stay_and_what_is_missing_is_cut_from_train(train: int, val: int, test: int, unsplit: int) -> None:
    rows = []
    for at, (split, here) in enumerate([("train", train), ("val", val), ("test", test), (None, unsplit)]):
        rows += rows_of({"a": 40 * here, "b": 40 * here}, split, start=1000 * at)  # type: ignore[arg-type]
    done = divide(rows, DEFAULT)
    after = {row.key: row.split for row in done}
    for row in rows:
        if row.split in ("val", "test"):
            assert after[row.key] == row.split
    learnable = 80 * (train + unsplit)
    missing = {name: share for name, share, here in (("val", 0.15, val), ("test", 0.15, test)) if not here}
    whole = 0.70 + sum(missing.values())
    for name, share in missing.items():
        assert sizes(done).get(name, 0) == pytest.approx(learnable * share / whole, abs=1.01)
    assert sizes(done).get("train", 0) == pytest.approx(learnable * 0.70 / whole, abs=1.01)


def test_a_picture_without_a_split_follows_its_group_into_the_test_side() -> None:
    rows = [
        *rows_of({"a": 20, "b": 20}, "train"),
        *(dataclasses.replace(row, group="g") for row in rows_of({"a": 2}, "test", start=100)),
        *(dataclasses.replace(row, group="g") for row in rows_of({"a": 5}, None, start=200)),
        *(dataclasses.replace(row, group="g") for row in rows_of({"a": 1}, "val", start=300)),
    ]
    for order in (rows, rows[::-1]):
        done = {row.key: row.split for row in divide(order, DEFAULT)}
        assert {done[key_of(200 + at)] for at in range(5)} == {"test"}
        assert done[key_of(300)] == "val"


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, {"train": 1}),
        (2, {"train": 1, "test": 1}),
        (3, {"train": 1, "val": 1, "test": 1}),
        (4, {"train": 2, "val": 1, "test": 1}),
    ],
)
@pytest.mark.parametrize(
    "fractions", [(0.7, 0.15, 0.15), (0.5, 0.3, 0.2), (0.34, 0.33, 0.33), (0.2, 0.4, 0.4), (0.1, 0.1, 0.8)]
)
def test_tiny_classes_train_first_then_test_then_val(
    count: int, expected: dict[str, int], fractions: tuple[float, float, float]
) -> None:
    done = divide(rows_of({"big": 100, **{f"tiny{at}": count for at in range(7)}}), SplitRule(fractions))
    for label, counts in per_class(done).items():
        if label != "big" and (count < 4 or fractions[0] > 0.5):
            assert dict(counts) == expected


def test_a_part_that_was_asked_to_be_empty_stays_empty() -> None:
    done = divide(rows_of({"a": 50, "b": 7, "c": 2}), SplitRule((0.85, 0.0, 0.15)))
    assert "val" not in sizes(done)
    assert per_class(done)["c"] == {"train": 1, "test": 1}


def test_folds_cover_everything_once_and_evenly() -> None:
    done = divide(rows_of({"a": 53, "b": 24, "c": 5, **{f"lone{at:02}": 1 for at in range(20)}}), SplitRule(folds=5))
    assert {row.split for row in done} == {"test"}
    assert sorted(Counter(row.fold for row in done).values()) in ([20, 20, 20, 21, 21], [20, 20, 20, 20, 22])
    for label, least in (("a", 10), ("b", 4), ("c", 1)):
        counts = Counter(row.fold for row in done if row.label == label)
        assert set(counts) == set(range(5))
        assert min(counts.values()) >= least
        assert max(counts.values()) <= least + 1
    lone = Counter(row.fold for row in done if row.label.startswith("lone"))
    assert max(lone.values()) <= 6, "classes of one picture are spread over the folds"


@pytest.mark.parametrize("folds", [0, 5])
def test_old_pictures_stay_put_and_totals_stay_near(folds: int) -> None:
    rule = SplitRule(folds=folds)
    old = divide(rows_of({"a": 60, "b": 40}), rule)
    settled: dict[str, SplitName | int] = {row.key: row.fold if folds else row.split for row in old}  # type: ignore[misc]
    rows = [*rows_of({"a": 60, "b": 40}), *rows_of({"a": 25, "b": 60, "c": 30}, start=500)]
    done = divide(rows, rule, settled)
    assert {key: place for key, place in places(done).items() if key in settled} == places(old)
    parts = Counter(row.fold if folds else row.split for row in done)
    wanted = dict.fromkeys(range(5), 0.2) if folds else dict(zip(("train", "val", "test"), rule.fractions, strict=True))
    for part, share in wanted.items():
        assert parts[part] == pytest.approx(215 * share, abs=1.5)
    fresh = Counter((row.label, row.fold if folds else row.split) for row in done)
    assert all(fresh[label, part] for label in "abc" for part in wanted)


def test_a_new_picture_joins_its_settled_group() -> None:
    rows = [dataclasses.replace(row, group="g") for row in rows_of({"a": 4})] + rows_of({"a": 30, "b": 30}, start=50)
    for side in ("train", "val", "test"):
        settled: dict[str, SplitName | int] = {rows[0].key: side}  # type: ignore[dict-item]
        done = places(divide(rows, DEFAULT, settled))
        assert {done[row.key][0] for row in rows[:4]} == {side}


def test_a_side_that_is_gone_is_no_home_for_a_group() -> None:
    """The older study cut its own test side; now the source brings one, and no picture of train may be settled there."""
    rows = [
        *(dataclasses.replace(row, group="g") for row in rows_of({"a": 2}, "train")),
        *rows_of({"a": 20, "b": 20}, "train", start=50),
        *rows_of({"a": 5, "b": 5}, "test", start=200),
    ]
    done = places(divide(rows, DEFAULT, {rows[0].key: "test", rows[1].key: "train"}))
    assert done[rows[0].key] == done[rows[1].key] == ("train", None)


@given(st.integers(0, 10_000), st.lists(st.floats(0.01, 1), min_size=1, max_size=20))
def test_seats_sum_and_are_less_than_one_off(total: int, weights: list[float]) -> None:
    counts = apportion(total, weights)
    assert sum(counts) == total
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count - total * weight / sum(weights)) < 1 + 1e-6


def test_seats_that_tie_go_to_who_lags_then_to_the_first() -> None:
    assert apportion(1, [1, 1, 1]) == [1, 0, 0]
    assert apportion(1, [1, 1, 1], [0.0, 0.2, 0.5]) == [0, 0, 1]
    assert apportion(4, [0.7, 0.15, 0.15]) == [3, 1, 0]
    assert apportion(4, [0.7, 0.15, 0.15], [0, 0, 0.5]) == [3, 0, 1]


def test_shape_says_how_far_the_split_is_from_what_was_asked() -> None:
    rows = [
        *(dataclasses.replace(row, split="train") for row in rows_of({"a": 8, "b": 3})),
        *(dataclasses.replace(row, split="test", group="g") for row in rows_of({"a": 2, "b": 1}, start=50)),
        ManifestRow(key_of("x"), "x.png", "a", excluded="truncated"),
    ]
    found = shape(freeze(rows, ["a", "b", "c"], 42), SplitRule((0.7, 0.1, 0.2)))
    assert found.sizes == {"train": 11, "val": 0, "test": 3}
    assert found.per_class["a"] == {"train": 8, "val": 0, "test": 2}
    assert found.deviation == pytest.approx(1.0)  # a: 8 in train instead of 7
    assert found.lacking == {"train": ("c",), "val": ("a", "b", "c"), "test": ("c",)}
    assert found.kept_together == 3
    assert found.kind == "split"


def test_shape_of_folds_and_of_test_only() -> None:
    rule = SplitRule(folds=4)
    found = shape(freeze(divide(rows_of({"a": 10, "b": 8}), rule), ["a", "b"], 42), rule)
    assert found.kind == "folds"
    assert sum(found.sizes.values()) == 18
    assert found.deviation == pytest.approx(0.5)
    rule = SplitRule(test_only=True)
    found = shape(freeze(divide(rows_of({"a": 10}), rule), ["a"], 42), rule)
    assert (found.kind, found.sizes, found.deviation) == ("test-only", {"test": 10}, 0.0)
