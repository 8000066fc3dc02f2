"""Near duplicates: pictures that show the same after resizing, recompression, turning, mirroring, a mild crop or a slight tilt.

Three steps, each of which throws away most of what the next would have to look at:

1. `sketch`, while a picture is decoded: 40 x 40 gray values of unit contrast and the lowest cosine frequencies of its colours.
2. Candidates. The lowest cosine frequencies of a sketch (the idea of a perceptual hash, kept as numbers instead of bits) change
   little with a crop; turning and mirroring only swap and negate them, so that every picture is brought into one canonical pose,
   or into several where two poses are close. Trees of random halvings (Dasgupta and Freund, "Random projection trees and low
   dimensional manifolds", STOC 2008) put neighbours into the same small leaf; only pictures of a leaf are compared. Leaves have
   a fixed size, so that neither many pictures nor many equal ones make the work grow faster than n log n.
3. Proof. One picture is laid over the other (`fieldguide.data.overlay`), and fine detail must agree: over the whole, and nearly
   everywhere.

The code is our own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from einops import rearrange, reduce
from numpy.typing import NDArray
from PIL import Image

from fieldguide.bench import Progress, Silent
from fieldguide.data.overlay import BLOCK, SIDE, Floats, detail, overlay
from fieldguide.records import Pixels

#: A shorter side of fewer pixels is not compared: every handwritten digit would be like many others.
LEAST_SIDE = 32
#: Gray values are kept as whole multiples of this part of their standard deviation.
_STEP = 1 / 32
#: A picture has detail where at least `_LIVELY` of its 25 blocks have at least `_LEAST_DETAIL` gray levels of it, ...
_LIVELY, _LEAST_DETAIL = 4, 2.0
#: ... and where this share of its variance is finer than 13 x 13 values show. Photographs have more than 0.02, digits of 8 x 8
#: pixels that were enlarged less than 0.003.
_FINE, _LEAST_FINE = 13, 0.01
#: Cosine frequencies that are compared: of gray, and of each of the two colour differences.
_GRAY_WAVES, _TINT_WAVES = 7, 3
#: Squared distance of features up to which two pictures are laid over each other. Planted crops of 80 to 100 % of the area
#: lie below it in 99 of 100 cases, the nearest stranger of a bird photo among 6,000 in 44 of 100.
NEAR = 0.5
#: A pose whose sign or order of the first waves is this close to being the other one is entered in both.
_UNSURE = 0.09
_TREES, _LEAF, _KEPT = 14, 64, 4
#: Correlation of detail from which two pictures are the same. Strangers reach 0.7 at most where 4,000 near pairs were looked at.
SAME = 0.8
#: Overlays that may fail for each of two pictures before pairs of them are passed over.
_PATIENCE = 2
#: Radians, and part of the area, from which a tilt and a crop are worth a word.
_TILTED, _CROPPED = math.radians(0.7), 0.03
#: A turn, a crop and a change of shape move places by no more than this: stretch, skew, and their sum across, which is nearly
#: nothing where a picture is turned. Handwritten digits fit each other with more; no planted near duplicate does.
_STRETCH, _SKEW, _SHEAR = 0.22, 0.12, 0.07
#: Pairs that are laid over each other at a time: bounds memory to about 60 MB.
_BATCH = 128

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """What is kept of a picture: 1.7 kB.

    `gray` is int8 ``"40 40"``, the picture squeezed to a square at zero mean and unit contrast, in steps of 1/32; `tint`
    holds float16 ``"2 3 3"``, the lowest cosine waves of its blue and red difference in units of the same contrast.
    """

    gray: NDArray[np.int8]
    tint: NDArray[np.float16]


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """Two positions, `a` < `b`, that show the same; `how` in words; `score` is the correlation of their detail, at most 1."""

    a: int
    b: int
    how: str
    score: float


def sketch(pixels: Pixels) -> Sketch | None:
    """Return the sketch of a picture, uint8 ``"height width 3"``.

    `None` stands for a picture that cannot be told from others: blank, with hardly any detail, or with fewer than `LEAST_SIDE`
    pixels on its shorter side.
    """
    if min(pixels.shape[:2]) < LEAST_SIDE:
        return None
    small = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32)
    gray = small @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    contrast = float(gray.std())
    if not _has_detail(gray, contrast):
        return None
    steps = np.rint((gray - gray.mean()) / (contrast * _STEP)).clip(-127, 127)
    waves = _waves(_TINT_WAVES)
    tint = np.stack([waves @ ((small[..., channel] - gray) / contrast) @ waves.T for channel in (2, 0)])
    return Sketch(steps.astype(np.int8), tint.astype(np.float16))


def alike(sketches: Sequence[Sketch | None], progress: Progress | None = None) -> tuple[Pair, ...]:
    """Return pairs that show the same picture, sorted.

    Of n pictures that show the same only n - 1 pairs come, as many as join them. Time grows like n log n, memory linearly.
    The result does not depend on the order of the pictures.
    """
    alone, copies = _distinct(sketches)
    pairs = [Pair(first, other, "same picture", 1.0) for first, *others in copies for other in others]
    if len(alone) < 2:
        return tuple(sorted(pairs))
    points = _points(alone)
    with (progress or Silent()).bar("finding near duplicates", _TREES + 1) as bar:
        found = _Found.none()
        for tree in range(_TREES):
            found = found.joined(_leaf_neighbours(points, np.random.default_rng(tree)), len(alone))
            bar.advance()
        for one, other, how, score in _proven(alone, found.once(len(alone))):
            first, second = sorted((copies[one][0], copies[other][0]))
            pairs.append(Pair(first, second, how, score))
        bar.advance()
    return tuple(sorted(pairs))


def _distinct(sketches: Sequence[Sketch | None]) -> tuple[list[Sketch], list[list[int]]]:
    """Return different sketches in an order that depends on nothing but themselves, and the positions that hold each."""
    places: dict[bytes, list[int]] = {}
    for at, one in enumerate(sketches):
        if one is not None:
            places.setdefault(one.gray.tobytes() + one.tint.tobytes(), []).append(at)
    copies = [places[key] for key in sorted(places)]
    return [one for one in (sketches[at[0]] for at in copies) if one is not None], copies


# ---------------------------------------------------------------- what a sketch is made of


def _cosines(count: int, side: int = SIDE) -> Floats:
    """Return the first `count` rows of the orthonormal cosine transform (type II), ``"count side"``."""
    at, wave = np.arange(side), np.arange(count)[:, None]
    rows = np.cos(np.pi * wave * (at + 0.5) / side) * np.sqrt(2 / side)
    rows[0] /= np.sqrt(2)
    return np.asarray(rows, dtype=np.float32)


def _waves(count: int) -> Floats:
    """Cosine rows such that the waves of a picture of unit contrast have a sum of squares of one."""
    return _cosines(count) / np.float32(np.sqrt(SIDE))


def _has_detail(gray: Floats, contrast: float) -> bool:
    blocks = reduce(detail(gray) ** 2, "(row high) (column wide) -> row column", "mean", high=BLOCK, wide=BLOCK)
    if int((blocks >= _LEAST_DETAIL**2).sum()) < _LIVELY:
        return False
    rows = _waves(_FINE)
    coarse = float(((rows @ (gray - gray.mean()) @ rows.T) ** 2).sum()) / contrast**2
    return 1 - coarse >= _LEAST_FINE


# ---------------------------------------------------------------- the eight poses


def _posed(values: NDArray[np.int8], pose: int) -> NDArray[np.int8]:
    """Return a square picture ``"side side"`` transposed (bit 4), then upside down (bit 2) and left to right (bit 1)."""
    if pose & 4:
        values = values.T
    return values[:: -1 if pose & 2 else 1, :: -1 if pose & 1 else 1]


def values(sketches: Sequence[Sketch], poses: Sequence[int] | None = None) -> Floats:
    """Return the gray values of sketches, each in its pose, at unit contrast: ``"n 40 40"``."""
    gray = [_posed(one.gray, pose) for one, pose in zip(sketches, poses or [0] * len(sketches), strict=True)]
    return np.asarray(np.stack(gray) * np.float32(_STEP))


def _posed_waves(waves: Floats, pose: int) -> Floats:
    """Do to cosine waves ``"... waves waves"`` what `_posed` does to the picture."""
    if pose & 4:
        waves = np.swapaxes(waves, -1, -2)
    sign = (-1.0) ** np.arange(waves.shape[-1], dtype=np.float32)
    if pose & 2:
        waves = waves * sign[:, None]
    return waves * sign if pose & 1 else waves


def _words(pose: int, other: int, laid: Floats) -> str:
    """Say how two pictures differ that match in `pose` and in the `other` pose, up to the affine map `laid`, ``"2 3"``."""
    turn = _matrix(pose).T @ _matrix(other)
    said = []
    if turn[0, 0] == 0 or (turn == -np.eye(2)).all():
        said.append("turned")
    if turn[0, 0] * turn[1, 1] - turn[0, 1] * turn[1, 0] < 0:
        said.append("mirrored")
    if abs(float(laid[0, 1] - laid[1, 0])) / 2 > _TILTED:
        said.append("tilted")
    if abs(math.log(float(np.linalg.det(laid[:, :2])))) > _CROPPED:
        said.append("cropped")
    return " and ".join(said) or "same picture"


def _matrix(pose: int) -> Ints:
    """What a pose does to coordinates, ``"2 2"``."""
    swap = np.array([[0, 1], [1, 0]]) if pose & 4 else np.eye(2, dtype=np.int64)
    return np.asarray(np.diag([-1 if pose & 1 else 1, -1 if pose & 2 else 1]) @ swap)


# ---------------------------------------------------------------- candidates


@dataclass(frozen=True)
class _Points:
    """What the trees sort, one row for every likely pose of every picture: features ``"rows features"``, owners and poses."""

    features: Floats
    owner: Ints
    pose: Ints


def _points(sketches: Sequence[Sketch]) -> _Points:
    features, owner, poses = [], [], []
    for start in range(0, len(sketches), 1024):
        gray, tint = _low_waves(sketches[start : start + 1024])
        for pose in range(8):
            turned = _posed_waves(gray, pose)
            across, down = turned[:, 0, 1], turned[:, 1, 0]
            (at,) = np.nonzero(np.minimum(np.minimum(across, down), across - down) >= -_UNSURE)
            features.append(_flat(turned[at], _posed_waves(tint[at], pose)))
            owner.append(at + start)
            poses.append(np.full(len(at), pose))
    return _Points(np.concatenate(features), np.concatenate(owner), np.concatenate(poses))


def low_waves(sketches: Sequence[Sketch]) -> Floats:
    """Return what tells how near pictures are before they are laid over each other: their lowest cosine waves, ``"n waves"``."""
    return _flat(*_low_waves(sketches))


def _low_waves(sketches: Sequence[Sketch]) -> tuple[Floats, Floats]:
    rows = _waves(_GRAY_WAVES)
    gray = rows @ values(sketches) @ rows.T
    return np.asarray(gray), np.stack([one.tint for one in sketches]).astype(np.float32)


def _flat(gray: Floats, tint: Floats) -> Floats:
    """Join the waves of gray, without the mean, and those of the two colour differences."""
    parts = rearrange(gray, "n high wide -> n (high wide)")[:, 1:], rearrange(tint, "n tint high wide -> n (tint high wide)")
    return np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class _Found:
    """Candidates, one in each row: a picture, one near it, their squared distance and the poses in which they are near."""

    one: Ints
    other: Ints
    far: Floats
    pose: Ints
    pose_other: Ints

    @classmethod
    def none(cls) -> _Found:
        empty = np.empty(0, dtype=np.int64)
        return cls(empty, empty, np.empty(0, dtype=np.float32), empty, empty)

    def rows(self, at: NDArray[np.int64] | NDArray[np.bool_]) -> _Found:
        return _Found(self.one[at], self.other[at], self.far[at], self.pose[at], self.pose_other[at])

    def nearest(self, count: int) -> _Found:
        """Keep each pair (in this order of its pictures) once, where it is nearest."""
        rows = self.rows(np.lexsort((self.pose_other, self.pose, self.far)))
        _, first = np.unique(rows.one * count + rows.other, return_index=True)
        return rows.rows(first)

    def joined(self, new: _Found, count: int) -> _Found:
        """Add candidates and keep the nearest few of each of `count` pictures: memory stays bounded whatever comes."""
        both = [
            np.concatenate([getattr(self, name), getattr(new, name)]) for name in ("one", "other", "far", "pose", "pose_other")
        ]
        rows = _Found(*both).nearest(count)
        rows = rows.rows(np.lexsort((rows.other, rows.far, rows.one)))
        place = np.arange(len(rows.one)) - np.searchsorted(rows.one, rows.one)
        return rows.rows(place < _KEPT)

    def once(self, count: int) -> _Found:
        """Name each pair in one direction only, nearest first."""
        swap = self.one > self.other
        one, other = np.where(swap, self.other, self.one), np.where(swap, self.one, self.other)
        poses = np.where(swap, self.pose_other, self.pose), np.where(swap, self.pose, self.pose_other)
        rows = _Found(one, other, self.far, *poses).nearest(count)
        return rows.rows(np.lexsort((rows.other, rows.one, rows.far)))


def _leaf_neighbours(points: _Points, random: np.random.Generator) -> _Found:
    """Halve all points along random directions until leaves are small; return each point's nearest few in its leaf."""
    count = len(points.owner)
    depth = max(0, math.ceil(math.log2(count / _LEAF)))
    order, place = np.arange(count), np.arange(count)
    for level in range(depth):
        along = points.features[order] @ np.asarray(random.standard_normal(points.features.shape[1]), dtype=np.float32)
        order = order[np.lexsort((along, place * 2**level // count))]
    starts = -(-np.arange(2**depth + 1) * count // 2**depth)
    wide = int(np.diff(starts).max())
    parts = [_Found.none()]
    for first in range(0, 2**depth, 256):
        at = starts[first : min(first + 256, 2**depth), None] + np.arange(wide)
        inside = at < starts[first + 1 : first + 257, None]
        parts.append(_in_leaves(points, order[np.minimum(at, count - 1)], inside))
    return _Found(*(np.concatenate([getattr(part, name) for part in parts]) for name in parts[0].__dataclass_fields__))


def _in_leaves(points: _Points, rows: Ints, inside: NDArray[np.bool_]) -> _Found:
    """Compare all points of a leaf, ``"leaves points"``; places that are not `inside` are empty."""
    features, owner = points.features[rows], points.owner[rows]
    norms = (features**2).sum(2)
    far = norms[:, :, None] + norms[:, None] - 2 * features @ features.transpose(0, 2, 1)
    far[(owner[:, :, None] == owner[:, None]) | ~inside[:, None] | ~inside[:, :, None]] = np.inf
    kept = min(_KEPT, far.shape[2])
    near = np.argpartition(far, kept - 1, axis=2)[:, :, :kept]
    far = np.take_along_axis(far, near, axis=2)
    leaf, one, which = np.nonzero(far <= NEAR)
    mine, theirs = rows[leaf, one], rows[leaf, near[leaf, one, which]]
    near_enough = np.maximum(far[leaf, one, which], 0)
    return _Found(points.owner[mine], points.owner[theirs], near_enough, points.pose[mine], points.pose[theirs])


# ---------------------------------------------------------------- proof


def _proven(sketches: Sequence[Sketch], found: _Found) -> Iterator[tuple[int, int, str, float]]:
    """Yield candidates that show the same, looking at the nearest first.

    A pair is passed over where its pictures are joined already, or where both have failed with nearer ones `_PATIENCE` times:
    they stand in a crowd, such as forms of one layout.
    """
    groups, failed = Groups(len(sketches)), np.zeros(len(sketches), dtype=np.int64)

    def posed(pictures: Ints, poses: Ints) -> Floats:
        return values([sketches[at] for at in pictures.tolist()], poses.tolist())

    for start in range(0, len(found.one), _BATCH):
        part = found.rows(np.arange(start, min(start + _BATCH, len(found.one))))
        part = part.rows((failed[part.one] < _PATIENCE) | (failed[part.other] < _PATIENCE))
        part = part.rows(
            np.array([groups.apart(*pair) for pair in zip(part.one.tolist(), part.other.tolist(), strict=True)], bool)
        )
        if not len(part.one):
            continue
        laid, scores = overlay(posed(part.one, part.pose), posed(part.other, part.pose_other))
        same = (scores >= SAME) & _plausible(laid)
        for pictures in (part.one, part.other):
            np.add.at(failed, pictures[~same], 1)
        for at in np.flatnonzero(same).tolist():
            one, other = int(part.one[at]), int(part.other[at])
            if groups.apart(one, other):
                groups.join(one, other)
                yield one, other, _words(int(part.pose[at]), int(part.pose_other[at]), laid[at]), float(scores[at])


def _plausible(laid: Floats) -> NDArray[np.bool_]:
    """Tell for affine maps ``"batch 2 3"`` whether one picture can have become the other by them."""
    stretch = np.maximum(abs(laid[:, 0, 0] - 1), abs(laid[:, 1, 1] - 1))
    skew = np.maximum(abs(laid[:, 0, 1]), abs(laid[:, 1, 0]))
    return np.asarray((stretch < _STRETCH) & (skew < _SKEW) & (abs(laid[:, 0, 1] + laid[:, 1, 0]) < _SHEAR))


class Groups:
    """Sets of positions that grow together (union-find)."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def _root(self, at: int) -> int:
        while self._parent[at] != at:
            self._parent[at] = self._parent[self._parent[at]]
            at = self._parent[at]
        return at

    def apart(self, one: int, other: int) -> bool:
        """Tell whether two positions are in different sets."""
        return self._root(one) != self._root(other)

    def join(self, one: int, other: int) -> None:
        """Make one set of those that hold `one` and `other`."""
        first, second = sorted((self._root(one), self._root(other)))
        self._parent[second] = first

    def several(self) -> tuple[tuple[int, ...], ...]:
        """Return the sets of more than one position, sorted."""
        sets: dict[int, list[int]] = {}
        for at in range(len(self._parent)):
            sets.setdefault(self._root(at), []).append(at)
        return tuple(tuple(together) for together in sets.values() if len(together) > 1)
