"""The step that measures: once, in order, and without those that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.pictures import scene

from fieldguide.data.measures import read_measures
from fieldguide.data.tables import freeze
from fieldguide.errors import PictureError
from fieldguide.measuring import NAME, measure_pictures
from fieldguide.records import Manifest, ManifestRow, Pixels


class Album:
    """Pictures drawn from their key; it counts what was read."""

    def __init__(self, broken: str = "") -> None:
        self.broken, self.read_keys = broken, []

    def read(self, key: str, at_least: int) -> Pixels:
        self.read_keys.append(key)
        if key == self.broken:
            raise PictureError("not stored", "gone")
        return scene(np.random.default_rng(int(key, 16)), width=72, height=56)


def manifest(count: int = 6) -> Manifest:
    rows = [ManifestRow(f"{number:04x}", f"{number}.png", "a" if number % 2 else "b", "test") for number in range(count)]
    return freeze([*rows, ManifestRow("ffff", "train.png", "a", "train")], ("a", "b"), 1)


def test_test_pictures_are_measured_once(tmp_path: Path) -> None:
    album = Album()
    first = measure_pictures(tmp_path, manifest(), album)
    assert sorted(album.read_keys) == sorted(first) == [f"{number:04x}" for number in range(6)]
    assert read_measures(tmp_path / NAME) == first
    written = (tmp_path / NAME).read_bytes()
    again = Album()
    assert measure_pictures(tmp_path, manifest(), again) == first and again.read_keys == []
    assert (tmp_path / NAME).read_bytes() == written


def test_only_what_is_new_is_measured_and_what_left_is_forgotten(tmp_path: Path) -> None:
    measure_pictures(tmp_path, manifest(4), Album())
    album = Album()
    assert len(measure_pictures(tmp_path, manifest(6), album)) == 6
    assert sorted(album.read_keys) == ["0004", "0005"]
    assert set(measure_pictures(tmp_path, manifest(2), Album())) == {"0000", "0001"} == set(read_measures(tmp_path / NAME))


def test_a_picture_that_cannot_be_read_is_absent(tmp_path: Path) -> None:
    assert "0003" not in measure_pictures(tmp_path, manifest(), Album("0003"))
    assert len(measure_pictures(tmp_path, manifest(), Album())) == 6, "and measured when it is back"


def test_a_damaged_table_is_made_anew(tmp_path: Path) -> None:
    first = measure_pictures(tmp_path, manifest(), Album())
    (tmp_path / NAME).write_bytes(b"torn")
    assert measure_pictures(tmp_path, manifest(), Album()) == first == read_measures(tmp_path / NAME)
