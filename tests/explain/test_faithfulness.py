"""Covering, occlusion and the checks of maps, on contestants whose reasons are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.explain.knows import Watcher, picture
from torch import nn

from fieldguide.craft.sight import Sight
from fieldguide.data.batches import Preprocessing
from fieldguide.explain.covering import Cells
from fieldguide.explain.faithfulness import (
    ORDERS,
    STEPS,
    Examiner,
    flat,
    resampled,
    shuffled,
    with_control,
)
from fieldguide.explain.maps import NotApplicable, Target
from fieldguide.explain.occlusion import occlusion, passes, windows
from fieldguide.explain.scores import Scores, seen

WHOLE = (0.0, 0.0, 1.0, 1.0)
BRIGHT = Target(0, 1)


def truth(rows: int = 12, columns: int = 12) -> np.ndarray:
    """The map that a faithful method would draw of the watcher."""
    values = np.zeros((48, 48), np.float32)
    values[6:18, 30:42] = 1
    return values.reshape(rows, 48 // rows, columns, 48 // columns).mean(axis=(1, 3))


def examiner(seed: int = 0, pixels: np.ndarray | None = None) -> Examiner:
    cells = Cells.over(picture() if pixels is None else pixels, WHOLE, 12)
    return Examiner(Scores.of(Watcher()), cells, BRIGHT, seed=seed)


def test_cells_cover_what_they_name_and_nothing_else() -> None:
    cells = Cells.over(picture(), WHOLE, 12)
    mask = np.zeros((12, 12), bool)
    mask[1, 8] = True
    changed = (cells.covered(mask) != picture()).any(axis=2)
    assert changed[4:8, 32:36].any()
    assert not np.delete(np.delete(changed, np.s_[4:8], 0), np.s_[32:36], 1).any()
    assert (cells.covered(np.ones((12, 12), bool)) == cells.blurred).all()
    assert (cells.covered(np.zeros((12, 12), bool)) == picture()).all()


def test_cells_lie_over_the_box_alone() -> None:
    cells = Cells.over(picture(), (0.25, 0.25, 0.75, 0.75), 4)
    all_covered = cells.covered(np.ones((4, 4), bool))
    changed = (all_covered != picture()).any(axis=2)
    assert changed[12:36, 12:36].mean() > 0.9
    changed[12:36, 12:36] = False
    assert not changed.any()


def test_a_small_picture_has_no_more_cells_than_pixels() -> None:
    cells = Cells.over(picture(size=48)[:5, :7], WHOLE, 12)
    assert (cells.rows, cells.columns) == (5, 7)
    mask = np.zeros((5, 7), bool)
    mask[2, 3] = True
    assert ((cells.covered(mask) != picture()[:5, :7]).any(axis=2).sum()) <= 1


def test_every_cell_is_covered_four_times() -> None:
    masks = windows(5, 3)
    assert len(masks) + 1 == passes(5, 3)
    assert (np.sum(masks, axis=0) == 4).all()


def test_occlusion_finds_the_place_that_is_watched() -> None:
    cells = Cells.over(picture(), WHOLE, 8)
    found = occlusion(Scores.of(Watcher()), cells, BRIGHT)
    assert found.values.shape == (1, 8, 8) and found.signed
    y, x = np.unravel_index(found.values[0].argmax(), (8, 8))
    assert 6 <= (y + 0.5) * 6 < 18 and 30 <= (x + 0.5) * 6 < 42
    # What speaks for the answer speaks against its opposite.
    against = occlusion(Scores.of(Watcher()), cells, Target(1, 0))
    assert np.allclose(against.values, -found.values)


def test_a_contestant_that_looks_nowhere_has_a_flat_map() -> None:
    class Blind(Watcher):
        def predict(self, images):
            for answer in Watcher.predict(self, images):
                yield type(answer)(answer.image, "bright", (0.5, 0.3, 0.2))

    ask = Scores.of(Blind())
    cells = Cells.over(picture(), WHOLE, 8)
    found = occlusion(ask, cells, BRIGHT)
    assert flat(found.values[0])
    check = Examiner(ask, cells, BRIGHT).check(found.values[0])
    assert not check.better and check.sentence == "The map is flat: it marks nothing."


def test_who_gives_no_probabilities_cannot_be_explained() -> None:
    with pytest.raises(NotApplicable, match="no probabilities"):
        Scores.of(Watcher(probabilities=False))([picture()])


def test_the_true_map_beats_random_orders_and_its_opposite_does_not() -> None:
    one = examiner()
    good, bad = one.check(truth()), one.check(-truth())
    assert len(good.deletion) == len(good.insertion) == STEPS + 1 and len(good.random) == ORDERS
    assert good.better and good.p == pytest.approx(1 / (ORDERS + 1))
    assert "Better than random" in good.sentence
    assert not bad.better and bad.score < 0 and "No better than random" in bad.sentence
    # Both curves run between the whole picture and the covered one.
    assert good.deletion[0] == pytest.approx(good.insertion[-1]) and good.deletion[-1] == pytest.approx(good.insertion[0])
    assert good.deletion[2] < good.deletion[0] - 2, "the patch is gone after a fifth of the cells"


def test_maps_that_mean_nothing_seldom_pass() -> None:
    """At the level 0.05 about one map of random regions in twenty does; 60 of them stay under a fifth."""
    from scipy.ndimage import gaussian_filter

    passed = 0
    for seed in range(60):
        noise = gaussian_filter(np.random.default_rng(1000 + seed).standard_normal((12, 12)), 1.5).astype(np.float32)
        passed += examiner(seed).check(noise).better
    assert passed <= 9


def test_the_reverse_of_a_random_order_is_told_by_its_pictures() -> None:
    one = examiner()
    order = one._order(truth())
    (deletion, insertion), (back_deletion, back_insertion) = one._curve(order), one._curve(order[::-1])
    # 144 cells in ten steps do not part evenly, so the pictures of both differ by a cell at most.
    assert np.allclose(back_deletion, insertion[::-1], atol=1.5) and np.allclose(back_insertion, deletion[::-1], atol=1.5)
    random = one.check(truth()).random
    assert len(random) == 19 and np.allclose(sorted(random[:9]), sorted(-np.array(random[10:])))


def test_the_same_map_is_checked_alike_each_time() -> None:
    assert examiner(3).check(truth()) == examiner(3).check(truth())
    assert examiner(3).check(truth()).random != examiner(4).check(truth()).random


def test_a_finer_or_coarser_map_is_laid_on_the_cells() -> None:
    values = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert np.allclose(resampled(values, 2, 2), [[2.5, 4.5], [10.5, 12.5]])
    assert np.allclose(resampled(values, 4, 4), values)
    finer = resampled(values, 8, 8)
    assert finer[0, 0] == 0 and finer[-1, -1] == 15 and (np.diff(finer, axis=1) >= 0).all()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 3)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.layer(pixels).mean(dim=(2, 3))


def test_shuffled_weights_are_the_same_numbers_elsewhere() -> None:
    torch.manual_seed(0)
    sight = Sight(Net().eval(), Preprocessing(16), ("a", "b"))
    other = shuffled(sight)
    old, new = sight.network.layer.weight.flatten(), other.network.layer.weight.flatten()
    assert not torch.equal(old, new) and torch.equal(old.sort().values, new.sort().values)
    assert torch.equal(new, shuffled(sight).network.layer.weight.flatten())
    assert not torch.equal(new, shuffled(sight, seed=1).network.layer.weight.flatten())


def test_a_map_that_shuffled_weights_do_not_change_says_so() -> None:
    check = examiner().check(truth())
    noise = np.random.default_rng(0).standard_normal((12, 12)).astype(np.float32)
    same = with_control(check, noise, noise * 3 + 1)
    assert same.control == pytest.approx(1) and same.moved is False and "hardly changes" in same.sentence
    other = with_control(check, noise, np.random.default_rng(1).standard_normal((12, 12)).astype(np.float32))
    assert other.moved is True and "another one" in other.sentence
    assert with_control(check, noise, np.ones((12, 12), np.float32)).moved is True
    assert with_control(check, noise, -noise).moved is True, "which of two classes a network without learning prefers is chance"


@pytest.mark.parametrize(
    ("shape", "preprocessing", "box"),
    [
        ((100, 200, 3), Preprocessing(64, crop=1.0), (0.25, 0.0, 0.75, 1.0)),
        ((200, 100, 3), Preprocessing(64, crop=1.0), (0.0, 0.25, 1.0, 0.75)),
        ((100, 100, 3), Preprocessing(56, crop=0.875), (0.0625, 0.0625, 0.9375, 0.9375)),
        ((100, 200, 3), Preprocessing(64, crop=1.0, squash=True), (0.0, 0.0, 1.0, 1.0)),
        ((100, 200, 3), Preprocessing(56, crop=0.875, squash=True), (0.0625, 0.0625, 0.9375, 0.9375)),
    ],
)
def test_the_box_is_what_is_left_after_the_crop(
    shape: tuple[int, ...], preprocessing: Preprocessing, box: tuple[float, ...]
) -> None:
    """What is changed outside the box is not seen, what is changed inside is."""
    from fieldguide.data.batches import _evaluation_view

    pixels = np.zeros(shape, np.uint8)
    assert seen(pixels, preprocessing) == pytest.approx(box, abs=0.01)
    left, top, right, bottom = (round(part * side) for part, side in zip(box, (shape[1], shape[0]) * 2, strict=True))
    outside = np.full(shape, 200, np.uint8)
    margin = 3  # the filter of the resize reaches a little over the edge
    outside[max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin] = 0
    assert not _evaluation_view(outside, preprocessing).any()
    corner = np.zeros(shape, np.uint8)
    corner[top : top + 4, left : left + 4] = 255
    assert _evaluation_view(corner, preprocessing)[:4, :4].any()
