"""What can be measured of a picture without knowing what it shows: contrast, clutter, size of the subject, drawing, colours.

Everything is an estimate from the pixels alone, made the same way for every picture, on a copy whose shorter side is at most
`SIDE` pixels. None of it looks at labels or answers. What is estimated how stands at `Measure`; the regions are found in
`fieldguide.data.salient`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from fieldguide.data.salient import salient
from fieldguide.errors import DataProblem
from fieldguide.files import damaged, system_problem, writing
from fieldguide.records import Pixels

#: Shorter side, in pixels, of the copy that is measured; smaller pictures are measured as they are.
SIDE = 160
#: Grows when a measurement changes its meaning or its numbers: a table of another version is measured anew.
VERSION = 1
#: Bounds between the bins of lightness, of green to red and of blue to yellow (CIE L*a*b*): 4 x 4 x 4 colours.
_BOUNDS = (np.array([30.0, 55.0, 80.0]), np.array([-8.0, 4.0, 16.0]), np.array([-8.0, 8.0, 24.0]))
#: A step of lightness between neighbours, in L* units a pixel, from which a pixel lies on an edge.
_EDGE = 4.0
#: Steps of lightness between neighbours: up to the first they are of one flat colour, up to the second one of a shading.
_FLAT, _SHADED = 0.7, 5.0
#: A picture of which less than this share is not of one colour is blank: neither photograph nor drawing.
_BLANK = 0.005
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measure:
    """What was measured of one picture. All but `parts` and `colours` are between 0 and 1; they are estimates, not facts."""

    contrast: float
    """Spread of lightness: the 95th less the 5th percentile of L*, as a share of the range from black to white."""
    clutter: float
    """Density of edges: share of the pixels at which lightness, slightly smoothed, rises by at least 4 of 100 a pixel."""
    subject: float
    """Share of the picture that the main subject covers: the pixels that stand out by colour from what lies along the border."""
    cut: float
    """Share of the main subject's outline that lies on the picture's border; 0 for a subject that is whole."""
    parts: int
    """Number of separate regions that stand out and are at least a quarter as large as the largest; 0 where nothing does."""
    drawing: float
    """0 for a photograph, 1 for a drawing: flat colours, few shades, hard edges."""
    sharpness: float
    """0 for a blurred picture, 1 for one that loses all its detail by blurring it (1 - the blur effect of Crete et al., 2007)."""
    colours: tuple[float, ...]
    """Histogram over 4 x 4 x 4 colours of CIE L*a*b*, which sums to one; `distance` compares two."""


def measure(pixels: Pixels) -> Measure:
    """Return what can be measured of `pixels`, ``"height width 3"`` uint8 RGB; the same pixels give the same numbers."""
    small = _small(pixels)
    lightness = to_lightness(small)
    low, high = np.percentile(lightness, (5, 95))
    lab = to_lab(small[::2, ::2])  # regions and colours need no more
    found = salient(lab)
    return Measure(
        contrast=_rounded((high - low) / 100),
        clutter=_rounded(_clutter(lightness)),
        subject=_rounded(found.subject),
        cut=_rounded(found.cut),
        parts=found.parts,
        drawing=_rounded(_drawing(small, lightness, lab)),
        sharpness=_rounded(_sharpness(lightness)),
        colours=tuple(_rounded(share) for share in _histogram(lab)),
    )


def distance(one: Floats, other: Floats) -> Floats:
    """Return the Hellinger distance of colour histograms along the last axis: 0 for the same colours, 1 for none in common."""
    shared = np.sqrt(np.maximum(one, 0) * np.maximum(other, 0)).sum(axis=-1)
    apart: Floats = np.sqrt(np.clip(1 - shared, 0, 1))
    return apart


def to_lightness(pixels: Pixels) -> Floats:
    """Return L* of CIE L*a*b* (D65), 0 to 100, ``"height width"``, of sRGB ``"height width 3"`` uint8."""
    weighted = [_LINEAR_Y[channel][pixels[..., channel]] for channel in range(3)]
    lightness: Floats = 116 * _root(weighted[0] + weighted[1] + weighted[2]) - 16
    return lightness


def to_lab(pixels: Pixels) -> Floats:
    """Return CIE L*a*b* (D65) of sRGB ``"height width 3"`` uint8: L* from 0 to 100, a* and b* around 0."""
    root = _root(_LINEAR[pixels] @ _TO_XYZ.T)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    lab: Floats = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
    return lab


def _root(share: Floats) -> Floats:
    """Return the cube root that the lightness of the CIE rests on, straight below the darkest thousandths."""
    root: Floats = np.where(share > 216 / 24389, np.cbrt(share), (24389 / 27 * share + 16) / 116)
    return root


_BYTES = np.arange(256) / 255
_LINEAR = np.where(_BYTES > 0.04045, ((_BYTES + 0.055) / 1.055) ** 2.4, _BYTES / 12.92)
#: Linear sRGB to XYZ, each row divided by the white of D65.
_TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
_TO_XYZ /= _TO_XYZ.sum(axis=1, keepdims=True)
_LINEAR_Y = _TO_XYZ[1][:, None] * _LINEAR[None]


def _clutter(lightness: Floats) -> float:
    smooth = ndimage.gaussian_filter(lightness, 1.0, mode="nearest", truncate=2.0)
    down, across = np.gradient(smooth) if min(smooth.shape) > 1 else (np.zeros_like(smooth), np.zeros_like(smooth))
    return float((down**2 + across**2 >= _EDGE**2).mean())


def _small(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    scale = SIDE / min(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Pillow.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(picture.resize(size, Pillow.Resampling.BOX if scale < 0.4 else Pillow.Resampling.BILINEAR))


def _histogram(lab: Floats) -> Floats:
    place = np.zeros(lab.shape[:2], dtype=np.int64)
    for axis, bounds in enumerate(_BOUNDS):
        place = place * (len(bounds) + 1) + np.digitize(lab[..., axis], bounds)
    counts = np.bincount(place.ravel(), minlength=64)
    shares: Floats = counts / counts.sum()
    return shares


def _sharpness(lightness: Floats) -> float:
    """Return 1 - the blur effect: how much of the variation between neighbours goes when the picture is blurred again.

    F. Crete, T. Dolmiere, P. Ladret and M. Nicolas, "The blur effect: perception and estimation with a new no-reference
    perceptual blur metric", SPIE 6492 (2007). A picture without any variation has no sharpness to speak of: 0.
    """
    left = []
    for axis in (0, 1):
        before = np.abs(np.diff(lightness, axis=axis))
        after = np.abs(np.diff(ndimage.uniform_filter1d(lightness, 9, axis=axis, mode="nearest"), axis=axis))
        total = float(before.sum())
        if total > 0:
            left.append(1 - float(np.maximum(before - after, 0).sum()) / total)
    return 1 - max(left) if left else 0.0


def _drawing(pixels: Pixels, lightness: Floats, lab: Floats) -> float:
    """Return how much a picture looks drawn: what is not its one ground colour has few shades, and little of it is shaded.

    Shaded is what differs from its neighbours, but by less than an edge does; shades are counted on `lab`, every other pixel of
    every other row. The two shares were weighed by logistic regression on 361 photographs of animals, 79 icons and 64 generated
    drawings saved as JPEG. Above 0.5 are 2 % of 361 other photographs and 97 % of 40 other generated drawings. Grey and very even
    photographs are what it takes for drawings most easily; shaded paintings it does not know.
    """
    code = ((pixels[..., 0] >> 4).astype(np.int64) << 8) | ((pixels[..., 1] >> 4).astype(np.int64) << 4) | (pixels[..., 2] >> 4)
    figure = code != np.bincount(code.ravel(), minlength=4096).argmax()
    coarse = figure[::2, ::2]
    if min(code.shape) < 2 or figure[1:, 1:].mean() < _BLANK or not coarse.any():
        return 0.0
    step = np.maximum(np.abs(np.diff(lightness, axis=0))[:, 1:], np.abs(np.diff(lightness, axis=1))[1:])[figure[1:, 1:]]
    shaded = float(((step > _FLAT) & (step <= _SHADED)).mean())
    shade = np.clip((lab[coarse] + (0, 128, 128)) // (3, 16, 16), 0, 39).astype(np.int64) @ (1600, 40, 1)
    counts = np.sort(np.bincount(shade))
    few = float(counts[-8:].sum() / counts.sum())
    return float(1 / (1 + np.exp(15 * shaded - 15 * few + 3.2)))


def _rounded(value: float) -> float:
    """Return `value` to six places: what a library's last digits do must not change a table."""
    return round(float(value), 6)


_SCHEMA = pa.schema(
    [("key", pa.string())]
    + [(name, pa.float64()) for name in ("contrast", "clutter", "subject", "cut")]
    + [("parts", pa.int32()), ("drawing", pa.float64()), ("sharpness", pa.float64()), ("colours", pa.list_(pa.float64()))]
)
_META = b"fieldguide.measures"


def write_measures(path: Path, measures: Mapping[str, Measure]) -> None:
    """Write `measures` (by content hash) as a Parquet table, whole or not at all, in order of the keys."""
    records = [{"key": key, **asdict(measures[key])} for key in sorted(measures)]
    table = pa.Table.from_pylist(records, schema=_SCHEMA.with_metadata({_META: str(VERSION).encode()}))
    with writing(path) as temporary:
        pq.write_table(table, temporary)


def read_measures(path: Path) -> dict[str, Measure]:
    """Read what `write_measures` wrote; empty where there is no file, or one of another version: then it is measured anew.

    Raises `DataProblem` where the file is damaged.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        return {}
    except (pa.ArrowException, OSError) as error:
        refused = system_problem(error, path) if isinstance(error, OSError) else None
        if refused is not None:
            raise refused from error
        raise damaged(path, error) from error
    if (table.schema.metadata or {}).get(_META) != str(VERSION).encode():
        return {}
    if not table.schema.equals(_SCHEMA):
        raise _foreign(path)
    records: list[dict[str, Any]] = table.to_pylist()
    try:
        return {record.pop("key"): Measure(**{**record, "colours": tuple(record["colours"])}) for record in records}
    except TypeError as error:
        raise damaged(path, error) from error


def _foreign(path: Path) -> DataProblem:
    return damaged(path, f"its columns are not {', '.join(_SCHEMA.names)}")
