"""The made pictures: the same every time, of many sizes, no two alike, and not told apart by their colours alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldguide.data.tiny import CLASSES, draw, write_figures


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_figures(tmp_path_factory.mktemp("tiny") / "pictures", 6, 40)


def test_they_are_the_same_every_time_and_kept(pictures: Path, tmp_path: Path) -> None:
    again = write_figures(tmp_path / "pictures", 2, 3)
    for path in again.rglob("*.png"):
        assert path.read_bytes() == (pictures / path.relative_to(again)).read_bytes()
    (again / CLASSES[0] / "000.png").write_bytes(b"mine")
    assert (write_figures(again, 2, 3) / CLASSES[0] / "000.png").read_bytes() == b"mine"


def test_every_class_has_its_pictures_and_they_differ(pictures: Path) -> None:
    files = sorted(pictures.rglob("*.png"))
    assert {path.parent.name for path in files} == set(CLASSES[:6])
    assert len(CLASSES) == len(set(CLASSES)) == 12
    assert len(files) == 240 == len({path.read_bytes() for path in files})
    sizes = set()
    for path in files:
        with Image.open(path) as picture:
            sizes.add(picture.size)
    assert len(sizes) > 50 and min(map(min, sizes)) >= 44


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_can_be_drawn(name: str) -> None:
    picture = draw(name, np.random.default_rng(3))
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert picture.std() > 15


def test_nothing_is_found_against_them(pictures: Path) -> None:
    """No near duplicates and no bursts: the split of a rehearsal is as free as that of real pictures."""
    from fieldguide import look

    seen = look(pictures)
    found = {finding.code for finding in seen.examination.findings if finding.state == "found"}
    assert not found & {"FG001", "FG003", "FG004", "FG005", "FG007", "FG008", "FG009"}
    assert seen.shape.sizes == {"train": 168, "val": 36, "test": 36}


def test_neither_colours_nor_single_pixels_solve_them(pictures: Path, tmp_path: Path) -> None:
    import fieldguide

    study = fieldguide.compare(pictures, ["linear/colour", "linear:image_size=16"], out=tmp_path / "study")
    for name in study.comparison["order"]:
        assert study.scores(name)["parts"]["test"]["metrics"]["accuracy"]["value"] < 0.6
