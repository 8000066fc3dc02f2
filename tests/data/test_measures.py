"""What is measured of pictures that were drawn so that the answer is known."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageDraw, ImageFilter
from tests.pictures import scene

from fieldguide.data import measures
from fieldguide.data.measures import Measure, distance, measure, read_measures, to_lab, to_lightness, write_measures
from fieldguide.errors import DataProblem
from fieldguide.records import Pixels

GREEN, RED, BLUE = (70, 120, 60), (200, 60, 50), (40, 70, 160)


def canvas(*boxes: tuple[int, int, int, int], ground: tuple[int, int, int] = GREEN, noise: float = 4.0) -> Pixels:
    """Return 160 x 200 pixels with red ellipses in `boxes` (left, top, right, bottom) on a noisy ground."""
    picture = Image.new("RGB", (200, 160), ground)
    pen = ImageDraw.Draw(picture)
    for box in boxes:
        pen.ellipse(box, fill=RED)
    noisy = np.asarray(picture, dtype=float) + np.random.default_rng(3).normal(0, noise, (160, 200, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def cartoon(seed: int) -> Pixels:
    """Return a drawing of flat shapes with outlines, as JPEG."""
    random = np.random.default_rng(seed)
    picture = Image.new("RGB", (240, 192), tuple(random.integers(0, 256, 3).tolist()))
    pen = ImageDraw.Draw(picture)
    for _ in range(7):
        left, top = (int(value) for value in random.integers(0, 150, 2))
        width, height = (int(value) for value in random.integers(20, 90, 2))
        colour = tuple(random.integers(0, 256, 3).tolist())
        pen.ellipse((left, top, left + width, top + height), fill=colour, outline=(0, 0, 0), width=3)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return np.asarray(Image.open(stream).convert("RGB"))


def photograph(seed: int) -> Pixels:
    return scene(np.random.default_rng(seed), width=240, height=192).astype(np.uint8)


@pytest.mark.parametrize(
    ("box", "share"), [((70, 50, 130, 110), 0.088), ((40, 20, 160, 140), 0.353), ((80, 65, 110, 95), 0.022)]
)
def test_the_subject_covers_what_was_painted_and_is_whole(box: tuple[int, int, int, int], share: float) -> None:
    found = measure(canvas(box))
    assert found.subject == pytest.approx(share, rel=0.45, abs=0.02)
    assert found.cut == 0 and found.parts == 1


def test_larger_subjects_measure_larger() -> None:
    sizes = [measure(canvas((100 - r, 80 - r, 100 + r, 80 + r))).subject for r in (16, 28, 40, 55, 70)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] / 5


def test_a_subject_that_leaves_the_picture_is_cut() -> None:
    cut = measure(canvas((130, 40, 230, 120)))
    assert cut.subject > 0.1 and 0.1 < cut.cut < 0.6
    assert measure(canvas((90, 40, 170, 120))).cut == 0


def test_several_objects_are_counted() -> None:
    three = ((20, 50, 60, 90), (85, 50, 125, 90), (145, 50, 185, 90))
    assert [measure(canvas(*three[:count])).parts for count in (1, 2, 3)] == [1, 2, 3]
    assert measure(canvas((30, 20, 130, 120), (160, 130, 172, 142))).parts == 1, "a speck is no second object"


def test_nothing_stands_out_of_an_even_picture() -> None:
    even = measure(canvas(noise=2.0))
    assert (even.subject, even.cut, even.parts) == (0.0, 0.0, 0)
    assert even.clutter == 0 and even.contrast < 0.1


def test_contrast_is_the_spread_of_lightness() -> None:
    steps = np.linspace(0, 255, 200).astype(np.uint8)
    ramp = np.repeat(np.tile(steps, (160, 1))[..., None], 3, axis=2)
    whole, half = measure(ramp).contrast, measure(ramp // 2 + 64).contrast
    assert whole == pytest.approx(0.93, abs=0.05) and half < 0.6 * whole
    assert measure(np.full((50, 50, 3), 90, np.uint8)).contrast == 0


def test_clutter_grows_with_the_number_of_edges() -> None:
    y, x = np.mgrid[0:160, 0:200]
    boards = [
        np.where(((x // size + y // size) % 2 == 0)[..., None], 220, 40).repeat(3, 2).astype(np.uint8) for size in (40, 20, 8)
    ]
    found = [measure(board).clutter for board in boards]
    assert found == sorted(found) and found[0] < 0.25 < 0.5 < found[-1]


def test_blurring_lowers_the_sharpness_and_darkening_does_not() -> None:
    sharp = Image.fromarray(photograph(1))
    found = [measure(np.asarray(sharp.filter(ImageFilter.GaussianBlur(radius)))).sharpness for radius in (0, 1, 2, 4)]
    assert found == sorted(found, reverse=True) and found[0] > found[-1] + 0.3
    assert measure(photograph(1) // 2).sharpness == pytest.approx(found[0], abs=0.06)


def test_drawings_are_told_from_photographs() -> None:
    drawn, taken = ([measure(make(seed)).drawing for seed in range(16)] for make in (cartoon, photograph))
    assert sum(share > 0.5 for share in drawn) >= 12 and max(taken) < 0.05 < min(drawn)
    assert measure(np.full((60, 60, 3), 255, np.uint8)).drawing == 0, "a blank picture is neither"


def test_colours_sum_to_one_and_alike_ones_are_near() -> None:
    red, redder, blue = (np.array(measure(canvas(ground=ground)).colours) for ground in (RED, (210, 62, 48), BLUE))
    assert len(red) == 64 and red.sum() == pytest.approx(1, abs=1e-4)
    assert distance(red, redder) < 0.5 < distance(red, blue)
    assert distance(red, red) == pytest.approx(0, abs=1e-3) and distance(np.stack([red, blue]), red).shape == (2,)


def test_lab_is_that_of_the_cie() -> None:
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255], [119, 119, 119]]], np.uint8)
    expected = [[0, 0, 0], [100, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86], [50.03, 0, 0]]
    assert np.allclose(to_lab(colours)[0], expected, atol=0.03)
    assert np.allclose(to_lightness(colours), to_lab(colours)[..., 0])


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40).map(lambda shape: (*shape, 3))))
def test_any_picture_is_measured_within_bounds_and_alike_each_time(pixels: Pixels) -> None:
    found = measure(pixels)
    shares = (found.contrast, found.clutter, found.subject, found.cut, found.drawing, found.sharpness)
    assert all(0 <= share <= 1 for share in shares) and found.parts >= 0
    assert (found.parts == 0) == (found.subject == 0)
    assert measure(np.array(pixels)) == found


def test_it_does_not_matter_how_large_the_picture_came() -> None:
    large = Image.fromarray(canvas((60, 40, 140, 120))).resize((800, 640), Image.Resampling.BICUBIC)
    small = measure(np.asarray(large.resize((300, 240), Image.Resampling.LANCZOS)))
    whole = measure(np.asarray(large))
    assert whole.subject == pytest.approx(small.subject, abs=0.03)
    assert whole.contrast == pytest.approx(small.contrast, abs=0.03)


def one(contrast: float = 0.5) -> Measure:
    return Measure(contrast, 0.1, 0.2, 0.0, 1, 0.0, 0.6, (0.25,) * 4)


def test_the_table_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "measures.parquet"
    assert read_measures(path) == {}
    write_measures(path, {"b": one(), "a": one(0.25)})
    assert read_measures(path) == {"a": one(0.25), "b": one()}
    first = path.read_bytes()
    write_measures(path, {"a": one(0.25), "b": one()})
    assert path.read_bytes() == first, "the order in which pictures were measured does not show"


def test_a_damaged_table_is_a_problem_and_another_version_is_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "measures.parquet"
    write_measures(path, {"a": one()})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataProblem, match="damaged"):
        read_measures(path)
    pq.write_table(pa.table({"key": ["a"]}, metadata={b"fieldguide.measures": str(measures.VERSION).encode()}), path)
    with pytest.raises(DataProblem, match="columns"):
        read_measures(path)
    path.write_bytes(whole)
    monkeypatch.setattr(measures, "VERSION", measures.VERSION + 1)
    assert read_measures(path) == {}
