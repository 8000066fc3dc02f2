"""From stored pixels to tensors: the only place that knows sizes, crops and normalisation.

Evaluation follows timm's order (resize the shorter side, centre crop, normalise) picture by picture, so an answer does not
depend on its neighbours in the batch. A training view is a function of (seed, epoch, position in the list) alone, so any
epoch can be replayed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from fieldguide.errors import PictureError
from fieldguide.records import Image, Pixels

Interpolation = Literal["nearest", "bilinear", "bicubic"]


@dataclass(frozen=True)
class Preprocessing:
    """How a network wants its pictures. `size` in pixels (square); `crop` is the part of the shorter side that is kept."""

    size: int
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    interpolation: Interpolation = "bilinear"
    crop: float = 1.0

    @property
    def resize(self) -> int:
        """Length of the shorter side, in pixels, before the centre crop."""
        return int(self.size / self.crop)


@dataclass(frozen=True)
class Augmentation:
    """Random views for training: a crop of at least `min_area` of the picture, shape within `ratio`, perhaps mirrored."""

    min_area: float = 0.5
    ratio: float = 4 / 3
    flip: bool = True


@dataclass(frozen=True)
class Batch:
    """`pixels` is ``"pictures 3 size size"`` float32 and belongs to `images`; `failed` holds those that could not be read.

    `order` lists the content hashes of all of them as they were asked for; `rows` are positions in the training list.
    """

    images: tuple[Image, ...]
    pixels: Tensor
    failed: tuple[tuple[Image, PictureError], ...] = ()
    rows: tuple[int, ...] = ()
    order: tuple[str, ...] = ()


def prepare(images: Sequence[Image], at_least: int) -> None:
    """Have the pixels of all `images` decoded and stored at this size."""
    by_reader: dict[int, list[Image]] = {}
    for image in images:
        by_reader.setdefault(id(image.reader), []).append(image)
    for group in by_reader.values():
        group[0].reader.prepare([image.key for image in group], at_least)


def evaluation_batches(images: Iterable[Image], preprocessing: Preprocessing, batch_size: int) -> Iterator[Batch]:
    """Yield batches in the order of `images`; a picture that cannot be read is named in `failed`, never replaced."""
    stream = iter(images)
    while chunk := tuple(islice(stream, batch_size)):
        good, views, failed = [], [], []
        for image in chunk:
            try:
                pixels = image.pixels(preprocessing.resize)
            except PictureError as error:
                failed.append((image, error))
            else:
                good.append(image)
                views.append(pixels)
        tensor = normalise(_evaluation_views(views, preprocessing), preprocessing)
        yield Batch(tuple(good), tensor, tuple(failed), order=tuple(image.key for image in chunk))


def training_batches(
    images: Sequence[Image], order: NDArray[np.int64], boxes: NDArray[np.float64], preprocessing: Preprocessing, batch_size: int
) -> Iterator[Batch]:
    """Yield batches of augmented views of ``images[order]``; `boxes` are the views `draw_views` chose for this epoch.

    `Batch.rows` are positions in `images`. Raises `PictureError` where a picture can no longer be read: nothing takes its place.
    """
    for start in range(0, len(order), batch_size):
        rows = tuple(int(row) for row in order[start : start + batch_size])
        views = [_view(images[row].pixels(preprocessing.resize), boxes[row], preprocessing) for row in rows]
        yield Batch(tuple(images[row] for row in rows), normalise(torch.stack(views), preprocessing), rows=rows)


def draw_views(pictures: int, augmentation: Augmentation, seed: int, epoch: int) -> NDArray[np.float64]:
    """Return ``"pictures 5"``: area, log ratio, left and top (all in 0..1 of what is possible) and mirrored (0 or 1)."""
    random = np.random.default_rng([seed, epoch])
    draws = random.random((pictures, 5))
    draws[:, 0] = augmentation.min_area + draws[:, 0] * (1 - augmentation.min_area)
    draws[:, 1] = (2 * draws[:, 1] - 1) * np.log(augmentation.ratio)
    draws[:, 4] = (draws[:, 4] < 0.5) & augmentation.flip
    return draws


def draw_order(pictures: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order of an epoch, a function of seed and epoch alone."""
    return np.random.default_rng([seed, epoch, 1]).permutation(pictures)


def _view(pixels: Pixels, box: NDArray[np.float64], preprocessing: Preprocessing) -> Tensor:
    height, width = pixels.shape[:2]
    area, log_ratio, left, top, mirrored = box
    side, stretch = np.sqrt(height * width * area), np.exp(log_ratio / 2)
    wide, tall = (int(np.clip(round(side * stretch), 1, width)), int(np.clip(round(side / stretch), 1, height)))
    x, y = round(left * (width - wide)), round(top * (height - tall))
    view = _resized(_tensor(pixels[y : y + tall, x : x + wide]), [preprocessing.size] * 2, preprocessing.interpolation)
    return view.flip(-1) if mirrored else view


def _evaluation_views(pictures: Sequence[Pixels], preprocessing: Preprocessing) -> Tensor:
    if pictures and len({picture.shape for picture in pictures}) == 1:
        return _evaluation_view(_tensor(np.stack(pictures)), preprocessing)
    views = [_evaluation_view(_tensor(picture), preprocessing) for picture in pictures]
    return torch.stack(views) if views else torch.zeros(0, 3, preprocessing.size, preprocessing.size, dtype=torch.uint8)


def _evaluation_view(picture: Tensor, preprocessing: Preprocessing) -> Tensor:
    view: Tensor = tv.center_crop(
        _resized(picture, [preprocessing.resize], preprocessing.interpolation), [preprocessing.size] * 2
    )
    return view


def _tensor(pixels: NDArray[np.uint8]) -> Tensor:
    # The copy leaves the memory map, which is read-only and would make torch warn.
    return rearrange(torch.from_numpy(np.array(pixels)), "... height width rgb -> ... rgb height width")


def _resized(picture: Tensor, size: list[int], interpolation: Interpolation) -> Tensor:
    resized: Tensor = tv.resize(picture, size, interpolation=InterpolationMode(interpolation), antialias=True)
    return resized


def normalise(views: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Return float32 ``(views / 255 - mean) / std`` of uint8 ``"pictures 3 height width"``."""
    mean = torch.tensor(preprocessing.mean).mul(255).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std).mul(255).view(1, 3, 1, 1)
    return views.to(torch.float32).sub_(mean).div_(std)


def as_dict(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return plain values for a model folder's ``preprocessing.json``."""
    return {
        "size": preprocessing.size,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "interpolation": preprocessing.interpolation,
        "crop": preprocessing.crop,
    }


def from_dict(values: dict[str, Any]) -> Preprocessing:
    """Return what `as_dict` wrote."""
    return Preprocessing(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
