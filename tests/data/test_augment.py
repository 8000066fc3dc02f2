"""Training views: replayed from their numbers, torchvision's changes to the byte, and batches that mix without losing anything."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from torchvision.transforms import v2

from fieldguide.data import augment
from fieldguide.data.augment import NAMED, Augmentation, Views, augmentation, draw_views, mixed
from fieldguide.data.batches import Preprocessing, draw_order, evaluation_batches, training_batches
from fieldguide.errors import UsageProblem
from fieldguide.records import Image, Pixels

Make = Callable[[Sequence[Pixels | None]], list[Image]]
SEEDS = st.integers(0, 2**31 - 1)
#: Everything at once: no part may disturb another.
FULL = Augmentation(0.3, 2.0, True, 20.0, 0.4, 0.4, "randaugment", 0.5, 0.2, 1.0)
MEAN = (0.485, 0.456, 0.406)


def scene(height: int, width: int, seed: int = 0) -> Pixels:
    """Return slopes, a grid and noise, different in every corner and colour."""
    noise = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x * 255 / width, y * 255 / height, ((x // 7 + y // 5) % 2) * 255], axis=-1)
    return (base * 0.7 + noise.integers(0, 77, base.shape)).clip(0, 255).astype(np.uint8)


def one(augmentation: Augmentation, **draws: float | Sequence[float]) -> Views:
    """Return the view of one picture for which chance decided as told: by column of `Views.beyond`, 0.5 where it is not told."""
    beyond = np.full((1, augment._COLUMNS), 0.5)
    for name, value in draws.items():
        at = getattr(augment, f"_{name.upper()}")
        beyond[0, at : at + np.size(value)] = value
    return Views(augmentation, np.array([[1.0, 0.0, 0.0, 0.0, 0.0]]), beyond)


def only(**changes: object) -> Augmentation:
    return replace(NAMED["none"], **changes)  # type: ignore[arg-type]


# ---- what is drawn


@given(SEEDS, st.integers(0, 500), st.integers(1, 50))
def test_views_are_a_function_of_seed_and_number(seed: int, view: int, pictures: int) -> None:
    views = draw_views(pictures, FULL, seed, view)
    np.random.default_rng().random(10)
    same, longer = draw_views(pictures, FULL, seed, view), draw_views(pictures + 7, FULL, seed, view)
    for mine, again, prefix in ((views.boxes, same.boxes, longer.boxes), (views.beyond, same.beyond, longer.beyond)):
        assert np.array_equal(mine, again)
        # A longer list does not change the views of those that were there: a view belongs to a position.
        assert np.array_equal(mine, prefix[:pictures])
    for other in (draw_views(pictures, FULL, seed + 1, view), draw_views(pictures, FULL, seed, view + 1)):
        assert not np.array_equal(views.boxes[:, :4], other.boxes[:, :4])
        assert not np.array_equal(views.beyond, other.beyond)


def test_known_draws() -> None:
    """A run that was stopped goes on with the views it would have had, whichever version of this code it began with."""
    views = draw_views(3, replace(NAMED["crop"], erase=0.1), 7, 2)
    np.testing.assert_allclose(views.boxes[2], [0.52163149, -0.18330706, 0.52862001, 0.91476003, 1.0], atol=1e-8)
    np.testing.assert_allclose(views.beyond[2, -2:], [0.26158556, 0.38810757], atol=1e-8)


def test_parts_of_an_augmentation_do_not_disturb_each_other() -> None:
    plain = draw_views(40, Augmentation(), 3, 1)
    assert len(plain) == 40
    assert plain.beyond.size == 0
    for other in (replace(Augmentation(), rotate=9.0), replace(Augmentation(), erase=0.3, policy="trivialaugment")):
        assert np.array_equal(draw_views(40, other, 3, 1).boxes, plain.boxes)
    assert np.array_equal(draw_views(40, only(rotate=5.0), 3, 1).beyond, draw_views(40, FULL, 3, 1).beyond)
    unflipped = draw_views(40, Augmentation(flip=False), 3, 1)
    assert np.array_equal(unflipped.boxes[:, :4], plain.boxes[:, :4])


def test_half_of_the_views_are_mirrored_and_only_when_asked() -> None:
    assert not any(draw_views(1000, Augmentation(flip=False), 0, 0).mirrored(row) for row in range(1000))
    assert 450 < sum(draw_views(1000, Augmentation(flip=True), 0, 0).mirrored(row) for row in range(1000)) < 550


@pytest.mark.parametrize(("least", "ratio"), [(0.5, 4 / 3), (0.08, 2.0), (0.99, 1.0)])
def test_crops_have_the_area_and_shape_that_were_asked_for(least: float, ratio: float) -> None:
    views = draw_views(4000, Augmentation(least, ratio), 0, 0)
    boxes = views.boxes
    assert boxes[:, 0].min() >= least
    assert boxes[:, 0].max() <= 1
    assert abs(boxes[:, 1]).max() <= np.log(ratio) + 1e-12
    assert boxes[:, 0].mean() == pytest.approx((1 + least) / 2, abs=0.02)
    assert boxes[:, 1].mean() == pytest.approx(0, abs=0.03)
    assert boxes[:, 2:4].min() >= 0
    assert boxes[:, 2:4].max() < 1
    for row in range(100):  # in a picture that is large enough for every shape the crop is what was drawn
        found = views.box(row, 1000, 1000)
        assert found is not None
        area, shape = found[2] * found[3] / 1e6, found[3] / found[2]
        if max(found[2:]) < 1000:
            assert area == pytest.approx(boxes[row, 0], abs=0.002)
            assert np.log(shape) == pytest.approx(boxes[row, 1], abs=0.01)


@settings(max_examples=60)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.tuples(st.floats(0.05, 1), st.floats(-0.7, 0.7), st.floats(0, 1), st.floats(0, 1), st.just(0.0)),
)
def test_crops_stay_inside(height: int, width: int, drawn: tuple[float, ...]) -> None:
    box = Views(Augmentation(), np.array([drawn]), np.empty((0, 0))).box(0, height, width)
    assert box is not None
    y, x, tall, wide = box
    assert 0 <= y < y + tall <= height
    assert 0 <= x < x + wide <= width


# ---- what a view is


@pytest.mark.parametrize("name", NAMED)
def test_a_view_does_not_depend_on_batch_order_or_threads(held: Make, name: str) -> None:
    """Nor on random states, and it leaves them alone."""
    pictures = [scene(30 + 3 * at, 70 - 4 * at, at) for at in range(9)]
    images, preprocessing = held(pictures), Preprocessing(24, MEAN)
    asked = augmentation(name, erase=0.3)
    views = draw_views(9, asked, 5, 2)

    def cut(order: Sequence[int], batch_size: int, threads: int) -> dict[int, torch.Tensor]:
        found = training_batches(images, np.array(order), views, preprocessing, batch_size, threads=threads)
        return {row: pixels for batch in found for row, pixels in zip(batch.rows, batch.pixels, strict=True)}

    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index, union-attr]
    alone = cut(range(9), 1, 1)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (np.random.get_state()[1].tolist(), random.getstate())  # type: ignore[index, union-attr]
    torch.manual_seed(1)
    for order, batch_size, threads in ((range(9), 9, 3), (draw_order(9, 1, 1).tolist(), 4, 5), ([6, 2], 2, 1), ([3, 3], 2, 2)):
        for row, pixels in cut(order, batch_size, threads).items():
            assert torch.equal(pixels, alone[row])
    [other] = training_batches(images, np.arange(9), draw_views(9, asked, 5, 3), preprocessing, 9)
    assert not torch.equal(other.pixels, torch.stack([alone[row] for row in range(9)]))


@pytest.mark.parametrize("preprocessing", [Preprocessing(24), Preprocessing(24, crop=0.8), Preprocessing(24, squash=True)])
def test_without_augmentation_training_sees_what_evaluation_sees(held: Make, preprocessing: Preprocessing) -> None:
    images = held([scene(40, 60), scene(60, 33, 1), scene(24, 24, 2)])
    [seen] = evaluation_batches(images, preprocessing, 3)
    [plain] = training_batches(images, np.arange(3), draw_views(3, NAMED["none"], 0, 0), preprocessing, 3)
    assert torch.equal(plain.pixels, seen.pixels)
    views = draw_views(3, only(flip=True), 0, 4)
    assert {views.mirrored(row) for row in range(3)} == {True, False}
    [flipped] = training_batches(images, np.arange(3), views, preprocessing, 3)
    for row in range(3):
        expected = seen.pixels[row].flip(-1) if views.mirrored(row) else seen.pixels[row]
        assert torch.equal(flipped.pixels[row], expected)


def test_a_mirrored_view_is_mirrored_before_it_is_turned(held: Make) -> None:
    images, preprocessing = held([scene(32, 32)]), Preprocessing(32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    views = Views(only(flip=True, rotate=30.0), np.array([[1.0, 0, 0, 0, 1]]), np.full((1, augment._COLUMNS), 1.0))
    [batch] = training_batches(images, np.arange(1), views, preprocessing, 1)
    flipped = v2.functional.horizontal_flip(Pillow.fromarray(scene(32, 32)))
    expected = v2.functional.rotate(flipped, 30.0, v2.InterpolationMode.BILINEAR)
    np.testing.assert_allclose(batch.pixels[0].permute(1, 2, 0) * 255, np.asarray(expected), atol=1e-3)


# ---- each change is torchvision's


@pytest.mark.parametrize(("draw", "degrees"), [(0.0, -10.0), (0.5, 0.0), (0.83, 6.6), (1.0, 10.0)])
def test_rotation_is_torchvisions(draw: float, degrees: float) -> None:
    picture = scene(48, 48)
    found = one(NAMED["turns"], angle=draw).changed(0, picture, MEAN)
    theirs = v2.RandomRotation((degrees, degrees), v2.InterpolationMode.BILINEAR)(Pillow.fromarray(picture))
    assert np.array_equal(found, np.asarray(theirs))
    assert np.array_equal(found, picture) == (degrees == 0)
    if degrees == 10:
        assert not found[0, 0].any(), "the corners turn black"
        assert found[24, 24].any()


def test_a_quarter_turn_goes_against_the_clock() -> None:
    picture = scene(20, 20)
    assert np.array_equal(one(only(rotate=90.0), angle=1.0).changed(0, picture, MEAN), np.rot90(picture))
    assert np.array_equal(one(only(rotate=90.0), angle=0.0).changed(0, picture, MEAN), np.rot90(picture, -1))


@pytest.mark.parametrize("first", ["brightness", "contrast"])
@pytest.mark.parametrize(("bright", "sharp"), [(0.0, 1.0), (1.0, 0.0), (0.2, 0.9), (0.5, 0.5)])
def test_jitter_is_torchvisions(first: str, bright: float, sharp: float) -> None:
    picture = scene(40, 40)
    found = one(
        only(brightness=0.4, contrast=0.3), brightness=bright, contrast=sharp, first=0.1 if first == "brightness" else 0.9
    )
    light, strong = 0.6 + 0.8 * bright, 0.7 + 0.6 * sharp
    steps = [v2.ColorJitter(brightness=(light, light)), v2.ColorJitter(contrast=(strong, strong))]
    expected = v2.Compose(steps if first == "brightness" else steps[::-1])(Pillow.fromarray(picture))
    assert np.array_equal(found.changed(0, picture, MEAN), np.asarray(expected))
    swapped = v2.Compose(steps[::-1] if first == "brightness" else steps)(Pillow.fromarray(picture))
    assert np.array_equal(np.asarray(swapped), np.asarray(expected)) == (bright == sharp == 0.5)


def test_more_than_all_brightness_is_not_taken_away() -> None:
    assert not one(only(brightness=3.0), brightness=0.0).changed(0, scene(9, 9), MEAN).any()
    half = one(only(brightness=3.0), brightness=0.125).changed(0, np.full((9, 9, 3), 100, np.uint8), MEAN)
    assert (half == 50).all()


POLICIES = {"randaugment": v2.RandAugment(num_ops=1), "trivialaugment": v2.TrivialAugmentWide()}


def test_policies_have_torchvisions_changes() -> None:
    for policy, theirs in POLICIES.items():
        assert tuple(theirs._AUGMENTATION_SPACE) == augment.CHANGES
        for change, (steps, signed) in theirs._AUGMENTATION_SPACE.items():
            for side in (224, 37):
                expected = steps(31, side, side)
                found = augment.magnitudes(policy, change, side)
                assert found == (tuple(expected.tolist()) if expected is not None else (0.0,) * 31), change
            assert signed == (change not in augment._ONE_WAY), change


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("change", augment.CHANGES)
def test_each_change_is_torchvisions(policy: str, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The class itself, left with one change to choose from, makes one of the pictures that ours can make, and all of those."""
    theirs, picture = POLICIES[policy], Pillow.fromarray(scene(56, 56))
    monkeypatch.setattr(theirs, "_AUGMENTATION_SPACE", {change: theirs._AUGMENTATION_SPACE[change]})
    bins = [9] if policy == "randaugment" else range(31)
    signs = [1] if change in augment._ONE_WAY else [1, -1]
    ours = {
        augment.change_image(picture, change, sign * augment.magnitudes(policy, change, 56)[bin]).tobytes()
        for bin in bins
        for sign in signs
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = {theirs(picture).tobytes() for _ in range(20 if policy == "randaugment" else 600)}
    assert made == ours
    if change != "Identity":
        assert made != {picture.tobytes()}


@pytest.mark.parametrize(("policy", "changes"), [("randaugment", 2), ("trivialaugment", 1)])
def test_policies_draw_evenly(policy: augment.Policy, changes: int) -> None:
    views = draw_views(6000, only(policy=policy), 0, 0)
    drawn = [list(augment.drawn_changes(policy, row[augment._POLICY : augment._ERASED].tolist(), 224)) for row in views.beyond]
    assert {len(row) for row in drawn} == {changes}
    kinds = Counter(kind for row in drawn for kind, _ in row)
    assert set(kinds) == set(augment.CHANGES)
    share = 6000 * changes / 14
    assert all(abs(count - share) < 5 * share**0.5 for count in kinds.values())
    turns = [magnitude for row in drawn for kind, magnitude in row if kind == "Rotate"]
    if policy == "randaugment":
        assert set(turns) == {9.0, -9.0}
        assert Counter(row[0][0] == row[1][0] for row in drawn)[True] == pytest.approx(6000 / 14, rel=0.25)
    else:
        assert sorted({abs(turn) for turn in turns}) == pytest.approx([4.5 * bin for bin in range(31)])
    assert np.mean(np.sign(turns)) == pytest.approx(0, abs=0.15)
    assert min(magnitude for row in drawn for kind, magnitude in row if kind in augment._ONE_WAY) >= 0


def test_a_view_gets_the_changes_that_were_drawn() -> None:
    picture = scene(30, 30)
    kinds = [(augment.CHANGES.index(name) + 0.5) / 14 for name in ("Rotate", "Equalize")]
    views = one(only(policy="randaugment"), policy=[kinds[0], 0.2, 0.1, kinds[1], 0.2, 0.9])
    expected = v2.functional.equalize(v2.functional.rotate(Pillow.fromarray(picture), -9.0))
    assert np.array_equal(views.changed(0, picture, MEAN), np.asarray(expected))


@pytest.mark.parametrize(
    ("area", "shape", "top", "left"), [(0.0, 0.0, 0.0, 0.0), (1.0, 0.5, 0.999, 0.999), (0.4, 0.8, 0.3, 0.7)]
)
def test_erasing_is_torchvisions(held: Make, area: float, shape: float, top: float, left: float) -> None:
    """After normalising the rectangle is zero, but for the byte to which the mean was rounded."""
    images, preprocessing = held([scene(64, 64)]), Preprocessing(64, MEAN, (0.229, 0.224, 0.225))
    views = one(only(erase=0.6), erased=[0.59, area, shape, top, left])
    [batch] = training_batches(images, np.arange(1), views, preprocessing, 1)
    [plain] = evaluation_batches(images, preprocessing, 1)
    y, x, tall, wide = augment._hole(64, area, shape, top, left)
    theirs = v2.functional.erase(plain.pixels, y, x, tall, wide, torch.zeros(3, 1, 1))
    hole = theirs[0, 0] == 0
    assert int(hole.sum()) == tall * wide
    assert torch.equal(batch.pixels[..., ~hole], theirs[..., ~hole])
    assert float(batch.pixels[..., hole].abs().max()) <= 0.5 / 255 / 0.224 + 1e-6
    [kept] = training_batches(images, np.arange(1), one(only(erase=0.6), erased=0.6), preprocessing, 1)
    assert torch.equal(kept.pixels, plain.pixels)


def test_erased_parts_have_torchvisions_sizes() -> None:
    theirs = v2.RandomErasing(p=1.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = [theirs.make_params([torch.zeros(3, 224, 224)]) for _ in range(1500)]
    views = draw_views(4000, only(erase=0.25), 0, 0)
    happened = views.beyond[:, augment._ERASED] < 0.25
    assert happened.mean() == pytest.approx(0.25, abs=0.02)
    ours = np.array([augment._hole(224, *row[augment._ERASED + 1 :].tolist()) for row in views.beyond])
    assert ours.min() >= 0
    assert (ours[:, 0] + ours[:, 2]).max() <= 224
    assert (ours[:, 1] + ours[:, 3]).max() <= 224
    for key, column in (("i", ours[:, 0]), ("j", ours[:, 1]), ("h", ours[:, 2]), ("w", ours[:, 3])):
        found, expected = (
            np.percentile(column, [5, 25, 50, 75, 95]),
            np.percentile([row[key] for row in made], [5, 25, 50, 75, 95]),
        )
        np.testing.assert_allclose(found, expected, atol=10, err_msg=key)


def test_a_stored_picture_is_never_changed() -> None:
    """A view may be the stored picture itself, mapped read-only from the store."""
    picture = scene(32, 32)
    before = picture.copy()
    picture.setflags(write=False)
    views = draw_views(200, FULL, 0, 0)
    for row in range(200):
        views.changed(row, picture, MEAN)
    assert np.array_equal(picture, before)


# ---- names


def test_bases_are_what_was_published() -> None:
    assert Augmentation(min_area=0.5, flip=True) == NAMED["crop"]
    assert (NAMED["mixes"].min_area, NAMED["mixes"].flip, NAMED["mixes"].brightness, NAMED["mixes"].contrast) == (
        1,
        True,
        0.4,
        0.4,
    )
    assert (NAMED["mixes"].mixup, NAMED["mixes"].cutmix, NAMED["mixes"].rotate) == (0.2, 1.0, 0)
    assert asdict(NAMED["turns"]) == asdict(Augmentation(min_area=1, flip=True, rotate=10))
    assert (NAMED["none"].flip, NAMED["none"].changes, NAMED["none"].mixes) == (False, False, False)
    assert [name for name, base in NAMED.items() if base.still] == ["none"]
    assert only(mixup=0.2).still, "mixing happens to batches, not to views"
    assert not any(only(**change).still for change in ({"flip": True}, {"min_area": 0.9}, {"rotate": 1.0}, {"erase": 0.1}))


def test_overrides_replace_what_is_given() -> None:
    assert augmentation("turns", rotate=None, flip=None, erase=None) is not None
    assert augmentation("turns", rotate=None, flip=None) == NAMED["turns"]
    assert augmentation("mixes", mixup=0.0, flip=False) == replace(NAMED["mixes"], mixup=0.0, flip=False)
    assert augmentation("mixes", mixup=0.0, cutmix=0.0).mixes is False
    assert augmentation("crop", erase=0.1).changes is True
    with pytest.raises(UsageProblem, match=r"'turn'(.|\n)*Did you mean turns"):
        augmentation("turn")


# ---- mixing


def batch(pictures: int = 8, classes: int = 5, side: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pictures of one value each, 1, 2, 4, ..., so that any mixture tells of what it is made; and one class each."""
    values = 2.0 ** torch.arange(pictures)
    pixels = values[:, None, None, None].expand(-1, 3, side, side + 6).contiguous(memory_format=torch.channels_last)
    return pixels, torch.nn.functional.one_hot(torch.arange(pictures) % classes, classes).float()


MIXES = {"mixup": only(mixup=0.2), "cutmix": only(cutmix=1.0), "both": NAMED["mixes"]}


@pytest.mark.parametrize("name", MIXES)
def test_mixing_is_a_function_of_seed_epoch_and_step(name: str) -> None:
    pixels, targets = batch()
    untouched = pixels.clone(), targets.clone()
    found = mixed(pixels, targets, MIXES[name], 3, 4, 5)
    torch.rand(3)
    again = mixed(pixels, targets, MIXES[name], 3, 4, 5)
    assert torch.equal(found[0], again[0])
    assert torch.equal(found[1], again[1])
    assert torch.equal(pixels, untouched[0])
    assert torch.equal(targets, untouched[1])
    for other in ((2, 4, 5), (3, 5, 5), (3, 4, 6), (3, 5, 4)):
        assert not torch.equal(mixed(pixels, targets, MIXES[name], *other)[0], found[0])
    # What is drawn does not depend on how large the batch or its pictures are.
    assert torch.equal(mixed(*batch(3), MIXES[name], 3, 4, 5)[1][1:], found[1][1:3]) or name != "mixup"


@pytest.mark.parametrize("name", MIXES)
def test_mixing_loses_no_target(name: str) -> None:
    for step in range(30):
        pixels, targets = mixed(*batch(), MIXES[name], 0, 0, step)
        assert pixels.dtype == targets.dtype == torch.float32
        assert pixels.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(8))
        torch.testing.assert_close(targets.sum(dim=0), batch()[1].sum(dim=0))
        assert targets.min() >= 0


def test_mixup_is_torchvisions() -> None:
    theirs = v2.MixUp(alpha=0.2, num_classes=5)
    noise = torch.rand(8, 3, 20, 20)
    for step in range(10):
        pixels, targets = mixed(noise, batch()[1], MIXES["mixup"], 0, 1, step)
        kept = float(targets[1, 1])  # the second picture's own class
        params = {"lam": kept, "labels": batch()[1], "batch_size": 8}
        torch.testing.assert_close(pixels, theirs.transform(noise, params))
        labels = batch()[1]
        torch.testing.assert_close(targets, theirs.transform(labels, {**params, "labels": labels}))


def test_cutmix_is_torchvisions(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = v2.CutMix(num_classes=5)
    rng = np.random.default_rng(0)
    for kept, at_y, at_x in [(0.0, 0.5, 0.5), (1.0, 0.2, 0.2), (0.4, 0.0, 0.999), *rng.random((200, 3)).tolist()]:
        positions = iter([int(at_x * 46), int(at_y * 40)])
        monkeypatch.setattr(theirs._dist, "sample", lambda _, kept=kept: torch.tensor([kept], dtype=torch.float64))
        monkeypatch.setattr(torch, "randint", lambda *_, **__: torch.tensor([next(positions)]))  # noqa: B023
        params = theirs.make_params([torch.zeros(2, 3, 40, 46)])
        y, x, tall, wide = augment._patch(40, 46, kept, at_y, at_x)
        assert (x, y, x + wide, y + tall) == params["box"]


def test_the_share_of_a_cutmix_label_is_the_area_that_was_pasted() -> None:
    whole, own = batch()
    shares = []
    for step in range(40):
        pixels, targets = mixed(whole, own, MIXES["cutmix"], 0, 0, step)
        for row in range(8):
            pasted = pixels[row] == whole[row - 1]
            assert torch.equal(pasted, pixels[row] != whole[row])
            assert pasted.all(dim=0).equal(pasted.any(dim=0)), "all three colours"
            y, x = torch.nonzero(pasted[0], as_tuple=True)
            if len(y):
                assert len(y) == (y.max() - y.min() + 1) * (x.max() - x.min() + 1), "one rectangle"
            share = len(y) / (40 * 46)
            expected = own[row] * (1 - share) + own[row - 1] * share
            torch.testing.assert_close(targets[row], expected, atol=1e-6, rtol=0)
        shares.append(share)
    assert min(shares) < 0.05
    assert max(shares) > 0.6
    assert len(set(shares)) > 30


def test_shares_are_drawn_from_the_beta_distribution() -> None:
    from scipy.stats import beta, kstest

    pixels, targets = batch(2, 2, 1)
    for alpha in (0.2, 1.0, 4.0):
        kept = [float(mixed(pixels, targets, only(mixup=alpha), 0, 0, step)[1][0, 0]) for step in range(500)]
        assert kstest(kept, beta(alpha, alpha).cdf).pvalue > 0.01


def test_with_both_each_way_is_taken_half_of_the_time() -> None:
    whole, own = batch(side=10)
    cut = 0
    for step in range(400):
        pixels, _ = mixed(whole, own, replace(NAMED["mixes"], mixup=1.0), 0, 0, step)
        cut += bool(torch.isin(pixels, whole).all())
    assert 160 < cut < 240


def test_nothing_is_mixed_that_need_not_be() -> None:
    pixels, targets = batch()
    assert mixed(pixels, targets, NAMED["crop"], 0, 0, 0)[0] is pixels
    for step in range(20):
        alone = mixed(pixels[:1], targets[:1], NAMED["mixes"], 0, 0, step)
        torch.testing.assert_close(alone[0], pixels[:1])
        torch.testing.assert_close(alone[1], targets[:1])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no accelerator here")
def test_an_accelerator_mixes_the_same() -> None:
    pixels, targets = torch.rand(8, 3, 32, 32), batch()[1]
    for step in range(10):
        here = mixed(pixels, targets, NAMED["mixes"], 0, 0, step)
        there = mixed(pixels.cuda(), targets.cuda(), NAMED["mixes"], 0, 0, step)
        assert {part.device.type for part in there} == {"cuda"}
        for mine, other in zip(here, there, strict=True):
            torch.testing.assert_close(other.cpu(), mine)
