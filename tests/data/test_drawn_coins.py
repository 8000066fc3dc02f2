"""Drawn coins: what lies where, never one upon another, the same of the same seed, and a labelled set that the sources read."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from fieldguide.data.drawn.coins import COINS, KINDS, Lying, draw, lay, write_coins
from fieldguide.data.sources import open_counts
from fieldguide.files import read_json


def laid(placement: str, number: int = 150, **more: object) -> list[tuple[Lying, ...]]:
    return [lay(np.random.default_rng((7, at)), placement, **more) for at in range(number)]  # type: ignore[arg-type]


@pytest.mark.parametrize("placement", ["grid", "free"])
def test_no_coin_lies_upon_another_or_over_the_edge(placement: str) -> None:
    for some in laid(placement):
        assert all(one.radius <= one.x <= 64 - one.radius and one.radius <= one.y <= 64 - one.radius for one in some)
        assert all(np.hypot(a.x - b.x, a.y - b.y) > a.radius + b.radius for a, b in combinations(some, 2))


@pytest.mark.parametrize("placement", ["grid", "free"])
def test_all_numbers_and_all_kinds_are_drawn(placement: str) -> None:
    found = laid(placement)
    assert {len(some) for some in found} == set(range(10))
    assert {one.name for some in found for one in some} == set(KINDS)
    two = laid(placement, kinds=("nickel", "penny"), cells=2)
    assert {len(some) for some in two} == set(range(5)) and {one.name for some in two for one in some} == {"nickel", "penny"}


def test_coins_on_a_grid_lie_in_cells_of_their_own() -> None:
    for some in laid("grid"):
        cells = [(int(one.x * 3 // 64), int(one.y * 3 // 64)) for one in some]
        assert len(set(cells)) == len(cells)


def test_a_picture_shows_the_coins_that_lie_there() -> None:
    lying = (Lying("penny", 16, 16, 8), Lying("quarter", 48, 40, 12))
    pixels = draw(lying, np.random.default_rng(0)).astype(float)
    assert pixels.shape == (64, 64, 3)
    copper, silver, cloth = pixels[16, 16], pixels[40, 48], pixels[60, 8]
    assert copper[0] - copper[2] > 80 and abs(silver[0] - silver[2]) < 25 and silver.min() > 150 and cloth.max() < 100
    assert (draw(lying, np.random.default_rng(0)) == pixels).all() and (draw(lying, np.random.default_rng(1)) != pixels).any()


def test_a_set_is_read_with_what_was_drawn(tmp_path: Path) -> None:
    root = write_coins(tmp_path / "coins", {"train": 5, "valid": 2, "test": 3}, "free", seed=4)
    source = open_counts(str(root), tmp_path / "unpacked")
    assert tuple(sorted(source.counted)) == tuple(sorted(KINDS)), "the parent of all coins is no class"
    told = read_json(root / "test" / "_annotations.coco.json")
    names = {one["id"]: one["name"] for one in told["categories"]}
    assert names[0] == "coins" and not any(box["category_id"] == 0 for box in told["annotations"])
    for image in told["images"]:
        own = lay(np.random.default_rng((4, *b"test", image["id"])), "free")
        boxes = [box for box in told["annotations"] if box["image_id"] == image["id"]]
        assert [names[box["category_id"]] for box in boxes] == [one.name for one in own]
        assert [box["bbox"] for box in boxes] == [one.box for one in own]
    again = write_coins(tmp_path / "again", {"train": 5, "valid": 2, "test": 3}, "free", seed=4)
    other = write_coins(tmp_path / "other", {"train": 5, "valid": 2, "test": 3}, "free", seed=5)

    def whole(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert whole(root) == whole(again) != whole(other)


def test_every_coin_is_worth_something_and_fits_its_cell() -> None:
    assert all(coin.worth > 0 and coin.radius + 0.04 <= 0.5 for coin in COINS.values())
