"""Lay two small pictures over each other and tell how far their fine detail agrees.

Affine maps are found by inverse compositional Gauss-Newton steps (Baker and Matthews, "Lucas-Kanade 20 years on", IJCV 2004),
first on pictures of half the size; the code is our own. Many pairs are worked on at a time, ``"batch side side"``.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from einops import rearrange, reduce
from numpy.typing import NDArray

Floats = NDArray[np.float32]

#: Side of the pictures that are laid over each other.
SIDE = 40
#: Side of a block; detail must agree block by block.
BLOCK = 8
#: Correlation of coarse gray values, after the coarse steps, under which nothing finer is tried: 99.5 % of planted near
#: duplicates reach 0.97.
_PROMISING = 0.92
#: Agreement of detail, at most 1, that all but `_FREE` blocks must reach.
_EVERYWHERE = 0.4
#: Blocks of 25 that may disagree: a corner that a tilt has filled, a date stamped on a copy.
_FREE = 4
#: Detail is what differs from a Gaussian mean of this width, in pixels.
_DETAIL_WIDTH = 2.0
#: Widths of the Gaussian means, in pixels, of the pictures of half and of full size that are registered.
_COARSE, _FINE = 1.5, 1.0
#: Gauss-Newton steps on each.
_COARSE_STEPS, _FINE_STEPS = 5, 3
#: Part of the first picture that must be covered by the other.
_OVERLAP = 0.6
#: Part of the blocks with detail that must be the same scenery, how few such blocks say nothing, and the detail that counts,
#: where the mean of both pictures together is 2.
_SCENERY, _FEWEST_BLOCKS, _LIVELY = 0.4, 6, 0.2
#: Detail of less than this variance, where that of the whole picture is 1, counts as none when blocks are compared.
_QUIET = 0.04


@cache
def _gauss(side: int, width: float) -> Floats:
    """Return the matrix ``"side side"`` that blurs along one axis."""
    at = np.arange(side)
    weights = np.exp(-0.5 * ((at[:, None] - at) / width) ** 2)
    return np.asarray(weights / weights.sum(1, keepdims=True), dtype=np.float32)


def _blurred(images: Floats, width: float) -> Floats:
    blur = _gauss(images.shape[-1], width)
    return np.asarray(blur @ images @ blur.T)


def detail(images: Floats) -> Floats:
    """Return what is finer than a few pixels, ``"... side side"``."""
    return images - _blurred(images, _DETAIL_WIDTH)


def overlay(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Lay pictures over each other, both ``"batch 40 40"`` at zero mean and unit contrast.

    Returns affine maps ``"batch 2 3"`` from places in the first to places in the other (centre 0, half a side 1), and the
    correlation of detail where they overlap. It is 0 where they do not fit even coarsely, overlap too little, or disagree in
    more than four of 25 blocks, like one form with two inscriptions.
    """
    scores = np.zeros(len(one), dtype=np.float32)
    maps, fit = _coarsely(one, other)
    (at,) = np.nonzero(fit >= _PROMISING)
    maps[at] = _registered(_blurred(one[at], _FINE), _blurred(other[at], _FINE), maps[at], _FINE_STEPS)
    fine, coarse = detail(one[at]), detail(other[at])
    seen, there = _sampled(coarse, maps[at])
    whole = _correlation(fine, seen, there)
    agree, _ = _by_blocks(fine, seen, there)
    good = (np.sort(agree, axis=1)[:, _FREE] >= _EVERYWHERE) & (there.mean(1) >= _OVERLAP)
    scores[at] = np.where(good, whole, 0)
    return maps, scores


def _coarsely(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Return affine maps found at half the size, and the correlation there."""
    wanted, seen = (_blurred(_halved(images), _COARSE) for images in (one, other))
    maps = _registered(wanted, seen, np.tile(np.eye(2, 3, dtype=np.float32), (len(one), 1, 1)), _COARSE_STEPS)
    return maps, _correlation(wanted, *_sampled(seen, maps))


def scenery(one: Floats, other: Floats) -> Floats:
    """Return for pictures ``"batch 40 40"`` the agreement, at most 1, that `_SCENERY` of their blocks with detail reach.

    A bird that flies past leaves most of what is behind it in place, but it misleads an overlay of the whole. So three are
    tried: the best shift, that shift refined, and an overlay of the whole, refined.
    """
    fine, rough = detail(one), detail(other)
    shifts = _shifts(fine, rough)
    smooth = _blurred(one, _FINE), _blurred(other, _FINE)
    refined = (_registered(*smooth, maps, _FINE_STEPS) for maps in (shifts, _coarsely(one, other)[0]))
    return np.asarray(np.max([_reached(fine, *_sampled(rough, maps)) for maps in (shifts, *refined)], axis=0), dtype=np.float32)


def _reached(fine: Floats, seen: Floats, there: Floats) -> Floats:
    agree, energy = _by_blocks(fine, seen, there)
    lively = energy >= _LIVELY
    best = -np.sort(-np.where(lively, agree, -1), axis=1)
    count = lively.sum(1)
    reached = best[np.arange(len(best)), np.minimum((count * _SCENERY).astype(np.int64), best.shape[1] - 1)]
    return np.asarray(np.where((count >= _FEWEST_BLOCKS) & (there.mean(1) >= _OVERLAP), reached, 0))


def _shifts(one: Floats, other: Floats) -> Floats:
    """Return the shift by which detail correlates best, as affine maps ``"batch 2 3"``."""
    # The sign alone is correlated: strong edges of one moving thing would outweigh everything behind it.
    one, other = np.sign(one), np.sign(other)
    room = SIDE // 5
    padded = (2 * SIDE, 2 * SIDE)
    product = np.conj(np.fft.rfft2(one, padded)) * np.fft.rfft2(other, padded)
    near = np.fft.fftshift(np.fft.irfft2(product, padded), axes=(1, 2))
    middle = near[:, SIDE - room : SIDE + room + 1, SIDE - room : SIDE + room + 1]
    down, across = np.divmod(middle.reshape(len(one), -1).argmax(1), 2 * room + 1)
    maps = np.tile(np.eye(2, 3, dtype=np.float32), (len(one), 1, 1))
    maps[:, :, 2] = (np.stack([across, down], axis=1) - room) / (SIDE / 2)
    return maps


def _halved(images: Floats) -> Floats:
    return np.asarray(reduce(images, "n (y two) (x deux) -> n y x", "mean", two=2, deux=2))


def _places(side: int) -> Floats:
    """Return homogeneous coordinates of all pixels, ``"3 pixels"``: centre 0, half a side 1."""
    line = (np.arange(side, dtype=np.float32) - (side - 1) / 2) / (side / 2)
    return np.stack([np.tile(line, side), np.repeat(line, side), np.ones(side * side, np.float32)])


def _sampled(images: Floats, maps: Floats) -> tuple[Floats, Floats]:
    """Return bilinear values of images ``"batch side side"`` at mapped places, ``"batch pixels"``, and 1 where there are any."""
    batch, side, _ = images.shape
    at = (maps @ _places(side)) * np.float32(side / 2) + np.float32((side - 1) / 2)
    there = ((at > -0.5) & (at < side - 0.5)).all(axis=1).astype(np.float32)
    at = at.clip(0, side - 1.001)
    corner = at.astype(np.intp)
    right, low = np.moveaxis(at - corner, 1, 0)
    index = corner[:, 0] + side * corner[:, 1] + side * side * np.arange(batch)[:, None]
    flat = images.reshape(-1)
    upper, lower = flat.take(index), flat.take(index + side)
    upper += right * (flat.take(index + 1) - upper)
    lower += right * (flat.take(index + side + 1) - lower)
    return upper + low * (lower - upper), there


def _registered(one: Floats, other: Floats, maps: Floats, steps: int) -> Floats:
    """Improve affine maps so that `other`, sampled through them, equals `one` up to brightness and contrast."""
    batch, side, _ = one.shape
    down, across = (
        np.asarray(slope).reshape(batch, side * side) * np.float32(side / 2) for slope in np.gradient(one, axis=(1, 2))
    )
    x, y, _ = _places(side)
    slopes = np.stack([across * x, across * y, across, down * x, down * y, down], axis=1)
    square = slopes @ slopes.transpose(0, 2, 1)
    ridge = 1e-3 * np.trace(square, axis1=1, axis2=2) / 6 + 1e-6
    inverse = np.linalg.inv(square + ridge[:, None, None] * np.eye(6, dtype=np.float32)).astype(np.float32)
    still, flat = np.eye(2, 3, dtype=np.float32), rearrange(one, "n y x -> n (y x)")
    for _ in range(steps):
        seen, there = _sampled(other, maps)
        wanted, seen = _centred(flat, there), _centred(seen, there)
        gain = np.sqrt((wanted**2).sum(1, keepdims=True) / ((seen**2).sum(1, keepdims=True) + 1e-6))
        step = (inverse @ (slopes @ (wanted - seen * gain)[:, :, None])).reshape(batch, 2, 3).clip(-0.15, 0.15)
        # Sampling at maps(x + step(x)) instead of maps(x).
        maps = maps + maps[:, :, :2] @ step
        maps = (maps - still).clip(-0.35, 0.35) + still
    return np.asarray(maps, dtype=np.float32)


def _centred(values: Floats, there: Floats) -> Floats:
    """Take the mean over the places that are there from values ``"batch pixels"``; others become 0."""
    mean = (values * there).sum(1, keepdims=True) / (there.sum(1, keepdims=True) + 1e-6)
    return np.asarray((values - mean) * there)


def _correlation(images: Floats, seen: Floats, there: Floats) -> Floats:
    """Return the correlation of images ``"batch side side"`` with what is seen of others, ``"batch pixels"``: ``"batch"``."""
    one, other = _centred(rearrange(images, "n y x -> n (y x)"), there), _centred(seen, there)
    return np.asarray((one * other).sum(1) / np.sqrt((one**2).sum(1) * (other**2).sum(1) + 1e-6))


def _by_blocks(images: Floats, seen: Floats, there: Floats) -> tuple[Floats, Floats]:
    """Compare detail block by block, ``"batch 25"``: agreement, 1 where there is nothing to compare, and the energy of detail."""
    fine = rearrange(images, "n y x -> n (y x)")
    enough = there.sum(1, keepdims=True) + 1e-6
    fine, seen = (part * there / np.sqrt((part**2 * there).sum(1, keepdims=True) / enough + 1e-6) for part in (fine, seen))
    energy, differs, counted = (_block_sums(part) for part in (fine**2 + seen**2, (fine - seen) ** 2, there))
    agree = 1 - differs / (energy + _QUIET * counted + 1e-6)
    covered = counted >= BLOCK**2 / 2
    return np.where(covered, agree, 1), np.where(covered, energy / (counted + 1e-6), 0)


def _block_sums(values: Floats) -> Floats:
    pattern = "n (row high column wide) -> n (row column)"
    return np.asarray(reduce(values, pattern, "sum", high=BLOCK, wide=BLOCK, row=SIDE // BLOCK))
