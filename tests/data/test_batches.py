"""From stored pixels to tensors: timm's evaluation, and training views that can be replayed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from fieldguide.data import batches
from fieldguide.data.augment import Augmentation, Views, draw_views
from fieldguide.data.batches import (
    Preprocessing,
    as_dict,
    draw_balanced,
    draw_order,
    evaluation_batches,
    from_dict,
    normalise,
    prepare,
    training_batches,
)
from fieldguide.errors import PictureError
from fieldguide.records import Image, Pixels

Make = Callable[[Sequence[Pixels | None]], list[Image]]
SHAPES = [(60, 60), (61, 97), (120, 64), (130, 64), (40, 200), (20, 31), (33, 32)]


def scene(height: int, width: int, seed: int = 0) -> Pixels:
    """Return edges, slopes and noise: a flat picture would hide a shift by a pixel."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x * 255 / width, y * 255 / height, ((x // 7 + y // 5) % 2) * 255], axis=-1)
    return (base * 0.7 + random.integers(0, 77, base.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("size", "crop"), [(32, 1.0), (32, 0.875), (48, 0.95), (37, 0.9)])
def test_evaluation_views_are_timms(held: Make, interpolation: str, size: int, crop: float) -> None:
    from timm.data import create_transform

    timms = create_transform(
        (3, size, size), is_training=False, interpolation=interpolation, crop_pct=crop, mean=(0, 0, 0), std=(1, 1, 1)
    )
    pictures = [scene(*shape, seed=at) for at, shape in enumerate(SHAPES)]
    preprocessing = Preprocessing(size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), interpolation, crop)  # type: ignore[arg-type]
    [batch] = evaluation_batches(held(pictures), preprocessing, len(pictures))
    for shape, picture, view in zip(SHAPES, pictures, batch.pixels, strict=True):
        off = (view - timms(Pillow.fromarray(picture))).abs() * 255
        # Pillow resizes very tall pictures in the other order of passes, which rounds noise otherwise.
        assert off.max() <= (2.01 if shape[0] < 2 * shape[1] else 10), (shape, float(off.max()))
        assert off.mean() < 0.4, (shape, float(off.mean()))


@pytest.mark.parametrize("crop", [1.0, 0.8])
def test_squashed_views_are_timms_and_torchvisions(held: Make, crop: float) -> None:
    from timm.data import create_transform
    from torchvision.transforms import v2

    pictures = [scene(*shape, seed=at) for at, shape in enumerate(SHAPES)]
    preprocessing = Preprocessing(32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bicubic", crop, squash=True)
    assert preprocessing.resize == int(32 / crop)
    timms = create_transform(
        (3, 32, 32), interpolation="bicubic", crop_pct=crop, crop_mode="squash", mean=(0, 0, 0), std=(1, 1, 1)
    )
    bicubic = v2.InterpolationMode.BICUBIC
    theirs = v2.Compose([v2.Resize((preprocessing.resize, preprocessing.resize), bicubic), v2.CenterCrop(32)])
    [batch] = evaluation_batches(held(pictures), preprocessing, len(pictures))
    for shape, picture, view in zip(SHAPES, pictures, batch.pixels, strict=True):
        whole = torch.from_numpy(picture.copy()).permute(2, 0, 1)
        torch.testing.assert_close(view * 255, theirs(whole).float(), atol=1e-3, rtol=0)
        off = (view - timms(Pillow.fromarray(picture))).abs() * 255
        assert off.max() <= (3.01 if shape[0] < 2 * shape[1] else 10), (shape, float(off.max()))


def test_normalising_is_timms(held: Make) -> None:
    from timm.data import create_transform

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    timms = create_transform((3, 60, 60), is_training=False, interpolation="bicubic", crop_pct=1.0, mean=mean, std=std)
    [batch] = evaluation_batches(held([scene(60, 60)]), Preprocessing(60, mean, std, "bicubic"), 4)
    torch.testing.assert_close(batch.pixels[0], timms(Pillow.fromarray(scene(60, 60))), atol=1e-5, rtol=0)
    assert batch.pixels.dtype == torch.float32


def test_an_answer_does_not_depend_on_its_neighbours(held: Make) -> None:
    images = held([scene(*shape, seed=at) for at, shape in enumerate([(50, 50)] * 4 + SHAPES)])
    preprocessing = Preprocessing(32, crop=0.9, interpolation="bicubic")
    alone = torch.cat([batch.pixels for batch in evaluation_batches(images, preprocessing, 1)])
    for batch_size in (2, 4, 64):
        together = torch.cat([batch.pixels for batch in evaluation_batches(iter(images), preprocessing, batch_size)])
        assert torch.equal(alone, together)


def test_pictures_that_fail_are_named_and_not_replaced(held: Make) -> None:
    images = held([None, scene(40, 40), None, None, scene(50, 40), None])
    found = list(evaluation_batches(images, Preprocessing(32), 2))
    assert [batch.order for batch in found] == [("p000", "p001"), ("p002", "p003"), ("p004", "p005")]
    assert [[image.key for image in batch.images] for batch in found] == [["p001"], [], ["p004"]]
    assert [tuple(batch.pixels.shape) for batch in found] == [(1, 3, 32, 32), (0, 3, 32, 32), (1, 3, 32, 32)]
    assert [(image.key, error.code) for batch in found for image, error in batch.failed] == [
        (key, "truncated") for key in ("p000", "p002", "p003", "p005")
    ]
    with pytest.raises(PictureError):
        list(training_batches(images, np.arange(6), draw_views(6, Augmentation(), 0, 0), Preprocessing(32), 2))


def test_it_asks_for_what_the_crop_is_cut_from(held: Make) -> None:
    images = held([scene(300, 300)])
    assert Preprocessing(224, crop=0.875).resize == 256
    assert Preprocessing(224, crop=0.95).resize == 235
    list(evaluation_batches(images, Preprocessing(224, crop=0.875), 1))
    assert images[0].reader.asked == [("p000", 256)]  # type: ignore[attr-defined]


def test_pictures_are_prepared_by_reader_at_once(held: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = held([scene(9, 9)] * 3), held([scene(9, 9)])
    told: list[tuple[list[str], int]] = []
    monkeypatch.setattr(type(one[0].reader), "prepare", lambda self, keys, at_least: told.append((list(keys), at_least)))
    prepare([one[0], two[0], one[2]], 64)
    assert told == [(["p000", "p002"], 64), (["p000"], 64)]


SEEDS = st.integers(0, 2**31 - 1)


@given(SEEDS, st.integers(0, 500), st.integers(1, 50))
def test_orders_are_a_function_of_seed_and_epoch(seed: int, epoch: int, pictures: int) -> None:
    order = draw_order(pictures, seed, epoch)
    np.random.default_rng().random(10)
    assert np.array_equal(order, draw_order(pictures, seed, epoch))
    assert sorted(order) == list(range(pictures))


def test_orders_differ_from_epoch_to_epoch() -> None:
    assert len({tuple(draw_order(30, seed, epoch)) for seed in range(3) for epoch in range(5)}) == 15


@settings(max_examples=60)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), SEEDS, st.integers(0, 40))
def test_balanced_orders_are_even(targets: list[int], seed: int, epoch: int) -> None:
    """Over all epochs so far no class has had more than one draw more than another, and no picture of a class either."""
    epochs = [draw_balanced(targets, seed, number) for number in range(epoch, epoch + 3)]
    assert np.array_equal(epochs[0], draw_balanced(np.array(targets), seed, epoch))
    assert {len(order) for order in epochs} == {len(targets)}
    for order in (epochs[0], np.concatenate(epochs)):
        drawn = Counter(order.tolist())
        by_class = Counter(targets[row] for row in order.tolist())
        counts = [by_class[label] for label in set(targets)]
        assert max(counts) - min(counts) <= 1
        for label in set(targets):
            used = [drawn[row] for row, other in enumerate(targets) if other == label]
            assert max(used) - min(used) <= (2 if epoch else 1)


def test_balanced_orders_go_through_all_pictures_of_a_class() -> None:
    targets = [0] * 90 + [1] * 10
    orders = [draw_balanced(targets, 4, epoch) for epoch in range(9)]
    assert all(np.isin(order, range(90)).sum() == 50 for order in orders)
    drawn = Counter(np.concatenate(orders).tolist())
    assert {drawn[row] for row in range(90)} == {5}
    assert {drawn[row] for row in range(90, 100)} == {45}
    assert len({tuple(order) for order in [*orders, draw_balanced(targets, 5, 0)]}) == 10
    # Both classes are spread over the whole epoch.
    assert all(20 < np.isin(order[:60], range(90)).sum() < 40 for order in orders)
    # But not in turns: who follows whom is left to chance.
    assert all(35 < (np.diff(order >= 90) == 0).sum() < 65 for order in orders)
    assert len(draw_balanced([], 0, 0)) == 0


def viewed(picture: Pixels, box: list[float], preprocessing: Preprocessing) -> Pixels:
    return batches._view(picture, Views(Augmentation(), np.array([box]), np.empty((0, 0))), 0, preprocessing)


def test_the_view_is_the_part_that_was_drawn() -> None:
    picture = scene(40, 60)
    whole = viewed(picture, [1.0, np.log(60 / 40), 0.3, 0.8, 0], Preprocessing(40))
    expected = Pillow.fromarray(picture).resize((40, 40), Pillow.Resampling.BILINEAR)
    assert abs(whole.astype(int) - np.asarray(expected)).max() <= 2
    mirrored = viewed(picture, [1.0, np.log(60 / 40), 0.3, 0.8, 1], Preprocessing(40))
    assert np.array_equal(mirrored, whole[:, ::-1])
    quarter = viewed(scene(40, 40), [0.25, 0.0, 1.0, 0.0, 0], Preprocessing(20))
    assert np.array_equal(quarter, scene(40, 40)[:20, 20:])


def test_an_epoch_can_be_entered_in_the_middle(held: Make) -> None:
    images = held([scene(30 + at, 40, at) for at in range(11)])
    preprocessing, augmentation = Preprocessing(24), Augmentation(0.3)
    order, views = draw_order(11, 5, 2), draw_views(11, augmentation, 5, 2)
    whole = list(training_batches(images, order, views, preprocessing, 4))
    rest = list(training_batches(images, draw_order(11, 5, 2)[4:], draw_views(11, augmentation, 5, 2), preprocessing, 4))
    assert [batch.rows for batch in rest] == [batch.rows for batch in whole[1:]]
    assert all(torch.equal(one.pixels, other.pixels) for one, other in zip(rest, whole[1:], strict=True))
    assert [row for batch in whole for row in batch.rows] == list(order)
    assert [image.key for image in whole[0].images] == [f"p{row:03}" for row in whole[0].rows]
    other = draw_views(11, augmentation, 5, 3)
    assert not torch.equal(next(training_batches(images, order, other, preprocessing, 4)).pixels, whole[0].pixels)


def test_normalising_leaves_the_pixels_alone() -> None:
    views = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    before = views.clone()
    found = normalise(views, Preprocessing(4, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    for channel, (mean, std) in enumerate([(0.1, 0.5), (0.2, 0.6), (0.3, 0.7)]):
        torch.testing.assert_close(found[:, channel], (views[:, channel] / 255 - mean) / std)
    assert torch.equal(views, before)


def test_preprocessing_survives_a_file() -> None:
    import json

    odd = Preprocessing(96, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic", 0.875, squash=True)
    for preprocessing in (Preprocessing(224), odd):
        assert from_dict(json.loads(json.dumps(as_dict(preprocessing)))) == preprocessing
    older = {key: value for key, value in as_dict(Preprocessing(96)).items() if key != "squash"}
    assert from_dict(older) == Preprocessing(96, squash=False)


def cutters() -> set[threading.Thread]:
    """Return the threads that cut batches."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("ThreadPoolExecutor")}


def mixed(held: Make, count: int = 23) -> list[Image]:
    return held([scene(*SHAPES[at % len(SHAPES)], seed=at) for at in range(count)])


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_the_number_of_threads_changes_nothing(held: Make, interpolation: str) -> None:
    images = mixed(held)
    preprocessing = Preprocessing(24, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), interpolation, 0.9)  # type: ignore[arg-type]
    order, views = draw_order(23, 1, 0), draw_views(23, Augmentation(0.1), 1, 0)
    alone = list(training_batches(images, order, views, preprocessing, 4, threads=1))
    asked = list(evaluation_batches(images, preprocessing, 4, threads=1))
    for threads in (2, 5, 16):
        for one, other in zip(alone, training_batches(images, order, views, preprocessing, 4, threads=threads), strict=True):
            assert one.rows == other.rows
            assert torch.equal(one.pixels, other.pixels)
        for one, other in zip(asked, evaluation_batches(images, preprocessing, 4, threads=threads), strict=True):
            assert one.order == other.order
            assert torch.equal(one.pixels, other.pixels)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_training_views_are_torchvisions(interpolation: str) -> None:
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as tv

    preprocessing = Preprocessing(31, interpolation=interpolation)  # type: ignore[arg-type]
    for at, (height, width) in enumerate(SHAPES):
        picture = scene(height, width, at)
        for area, left, top, mirrored in ((0.4, 0.0, 1.0, 0.0), (0.9, 0.5, 0.2, 1.0)):
            view = viewed(picture, [area, 0.0, left, top, mirrored], preprocessing)
            side = round(np.sqrt(height * width * area))
            wide, tall = min(side, width), min(side, height)
            box = [round(top * (height - tall)), round(left * (width - wide)), tall, wide]
            whole = torch.from_numpy(picture.copy()).permute(2, 0, 1)
            theirs = tv.resized_crop(whole, *box, [31, 31], InterpolationMode(interpolation), antialias=True)
            theirs = theirs.flip(-1) if mirrored else theirs
            assert torch.equal(torch.from_numpy(view.copy()).permute(2, 0, 1), theirs)


def test_large_views_are_mirrored_as_small_ones_are() -> None:
    for height, width in ((1, 1), (3, 5), (224, 224), (7, 20_000)):
        view = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        view.setflags(write=False)
        assert np.array_equal(batches._mirrored(view), view[:, ::-1])


def test_batches_have_their_channels_last(held: Make) -> None:
    """The layout that convolutions want: the loop must not have to turn every batch once more."""
    images = mixed(held, 5)
    for batch in (
        *evaluation_batches(images, Preprocessing(16), 5),
        *training_batches(images, np.arange(5), draw_views(5, Augmentation(), 0, 0), Preprocessing(16), 5),
    ):
        assert batch.pixels.is_contiguous(memory_format=torch.channels_last)
        assert tuple(batch.pixels.shape) == (5, 3, 16, 16)


def test_few_batches_are_cut_ahead(held: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    assert batches._ahead(32, Preprocessing(224), 2) == 4
    assert batches._ahead(8192, Preprocessing(512), 16) == 2
    images = held([scene(20, 20, at) for at in range(60)])
    reader = images[0].reader
    found = training_batches(images, np.arange(60), draw_views(60, Augmentation(), 0, 0), Preprocessing(8), 2, threads=2)
    for number, _ in enumerate(found):
        time.sleep(0.005)
        assert len(reader.asked) <= 2 * (number + 1 + 4)  # type: ignore[attr-defined]
    assert len(reader.asked) == 60  # type: ignore[attr-defined]


@pytest.mark.parametrize("way", ["whole", "closed", "dropped", "raised", "interrupted", "unreadable"])
def test_threads_end_with_the_batches(held: Make, way: str) -> None:
    before = cutters()
    images = mixed(held, 40)
    if way == "unreadable":
        images = [*images[:20], *held([None]), *images[21:]]
    kinds = {"raised": ValueError, "interrupted": KeyboardInterrupt, "unreadable": PictureError}

    def consume() -> None:
        views = draw_views(40, Augmentation(), 0, 0)
        found = training_batches(images, np.arange(40), views, Preprocessing(16), 2, threads=3)
        with closing(found) if way != "dropped" else nullcontext():
            for number, _ in enumerate(found):
                assert cutters() - before
                if number == 3 and way in ("closed", "dropped"):
                    return
                if number == 3 and way in ("raised", "interrupted"):
                    raise kinds[way]

    if way in kinds:
        with pytest.raises(kinds[way]):
            consume()
    else:
        consume()
    assert cutters() == before


def test_batches_before_one_that_cannot_be_read_are_handed_out(held: Make) -> None:
    images = [*held([scene(20, 20)] * 8), *held([None])]
    found = training_batches(images, np.arange(9), draw_views(9, Augmentation(), 0, 0), Preprocessing(8), 2, threads=4)
    assert [next(found).rows for _ in range(4)] == [(0, 1), (2, 3), (4, 5), (6, 7)]
    with pytest.raises(PictureError, match="truncated"):
        next(found)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no accelerator here")
def test_an_accelerator_normalises_to_the_same_bits(held: Make) -> None:
    images, preprocessing = mixed(held), Preprocessing(24, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    order, views = draw_order(23, 1, 0), draw_views(23, Augmentation(0.1), 1, 0)
    here = training_batches(images, order, views, preprocessing, 4)
    there = training_batches(images, order, views, preprocessing, 4, "cuda")
    for one, other in zip(here, there, strict=True):
        assert other.pixels.device.type == "cuda"
        assert torch.equal(one.pixels, other.pixels.cpu())
