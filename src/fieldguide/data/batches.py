"""From stored pixels to tensors: the only place that knows sizes, crops and normalisation.

Evaluation follows timm's order (resize the shorter side, centre crop, normalise) picture by picture, so an answer does not
depend on its neighbours in the batch. What a training view shows is drawn in `fieldguide.data.augment`; the order of an epoch is
a function of (seed, epoch) alone, so any epoch can be replayed.

Batches are cut by threads, a few ahead of the one that is asked for, and handed out in order; each is a function of its own
pictures, so how many threads there are changes nothing but the time. They stay bytes until they are asked for: what waits is
a quarter of the size, and the arithmetic of normalising runs where the network is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fieldguide.bench import cores
from fieldguide.data.augment import Views
from fieldguide.data.store import in_threads
from fieldguide.errors import PictureError
from fieldguide.records import Image, Pixels

Interpolation = Literal["nearest", "bilinear", "bicubic"]
#: Bytes of batches that are cut before they are asked for.
_AHEAD_BYTES = 256 * 2**20
#: Values up to which torch works in the thread that calls it.
_ALONE = 32_768


@dataclass(frozen=True)
class Preprocessing:
    """How a network wants its pictures. `size` in pixels (square); `crop` is the part of the shorter side that is kept.

    `squash`: both sides are resized alike, whatever the shape of the picture, so that with a `crop` of 1 the whole of it is seen;
    as torchvision's ``Resize((224, 224))``, Hugging Face's ViT processors and timm's crop mode of that name have it.
    """

    size: int
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    interpolation: Interpolation = "bilinear"
    crop: float = 1.0
    squash: bool = False

    @property
    def resize(self) -> int:
        """Length of the shorter side, in pixels, before the centre crop; of both sides where they are squashed."""
        return int(self.size / self.crop)


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


def evaluation_batches(
    images: Iterable[Image], preprocessing: Preprocessing, batch_size: int, threads: int | None = None
) -> Generator[Batch]:
    """Yield batches in the order of `images`; a picture that cannot be read is named in `failed`, never replaced."""

    def cut(chunk: tuple[Image, ...]) -> tuple[list[Image], Pixels, list[tuple[Image, PictureError]]]:
        good: list[Image] = []
        failed: list[tuple[Image, PictureError]] = []
        views = _empty(len(chunk), preprocessing)
        for image in chunk:
            try:
                pixels = image.pixels(preprocessing.resize)
            except PictureError as error:
                failed.append((image, error))
            else:
                views[len(good)] = _evaluation_view(pixels, preprocessing)
                good.append(image)
        return good, views[: len(good)], failed

    stream = iter(images)
    chunks = iter(lambda: tuple(islice(stream, batch_size)), ())
    ahead = _ahead(batch_size, preprocessing, threads)
    with closing(in_threads(cut, chunks, threads, ahead)) as done:
        for chunk, (good, views, failed) in done:
            pixels = _normal(views, preprocessing)
            yield Batch(tuple(good), pixels, tuple(failed), order=tuple(image.key for image in chunk))


def training_batches(
    images: Sequence[Image],
    order: NDArray[np.int64],
    views: Views,
    preprocessing: Preprocessing,
    batch_size: int,
    device: str = "cpu",
    threads: int | None = None,
) -> Generator[Batch]:
    """Yield batches of augmented views of ``images[order]``; `views` were drawn for all of `images`.

    A picture may stand in `order` several times. `Batch.rows` are positions in `images`; `Batch.pixels` lie on `device`.
    Close the iterator where it is left early, so that its threads end. Raises `PictureError` where a picture can no longer be
    read: nothing takes its place.
    """

    def cut(rows: tuple[int, ...]) -> Pixels:
        found = _empty(len(rows), preprocessing)
        for view, row in zip(found, rows, strict=True):
            view[:] = _view(images[row].pixels(preprocessing.resize), views, row, preprocessing)
        return found

    starts = range(0, len(order), batch_size)
    chunks = (tuple(int(row) for row in order[start : start + batch_size]) for start in starts)
    with closing(in_threads(cut, chunks, threads, _ahead(batch_size, preprocessing, threads))) as done:
        for rows, found in done:
            yield Batch(tuple(images[row] for row in rows), _normal(found, preprocessing, device), rows=rows)


def _ahead(batch_size: int, preprocessing: Preprocessing, threads: int | None) -> int:
    """Return how many batches may be in work or waiting: one for each thread and two more, fewer where they are large."""
    most = _AHEAD_BYTES // max(1, batch_size * 3 * preprocessing.size**2)
    return max(2, min((threads or cores()) + 2, most))


def draw_order(pictures: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order of an epoch, a function of seed and epoch alone."""
    return np.random.default_rng([seed, epoch, 1]).permutation(pictures)


def draw_balanced(targets: Sequence[int] | NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
    """Return an epoch as long as the list in which every class comes up equally often, a function of targets, seed and epoch alone.

    The draws of all epochs are dealt to the classes in turn, and a class deals its own out in one permutation of its pictures after
    another. So, over any number of epochs, classes differ by one draw at most, and so do the pictures of a class.
    """
    rows = np.asarray(targets, dtype=np.int64)
    classes, count = np.unique(rows), len(rows)
    order, turns = np.empty(count, np.int64), epoch * count + np.arange(count)
    for turn, label in enumerate(classes.tolist()):
        mine, slots = np.flatnonzero(rows == label), np.flatnonzero(turns % len(classes) == turn)
        first = int(turns[slots[0]]) // len(classes)
        cycles = range(first // len(mine), (first + len(slots) - 1) // len(mine) + 1)
        deck = np.concatenate([np.random.default_rng([seed, label, cycle, 5]).permutation(mine) for cycle in cycles])
        order[slots] = deck[first % len(mine) :][: len(slots)]
    return order[np.random.default_rng([seed, epoch, 4]).permutation(count)]


def _view(pixels: Pixels, views: Views, row: int, preprocessing: Preprocessing) -> Pixels:
    """Return ``"size size 3"``: the part of the picture that was drawn for this row, mirrored and changed as was drawn for it."""
    box = views.box(row, *pixels.shape[:2])
    if box is None:
        view = _evaluation_view(pixels, preprocessing)
    else:
        y, x, tall, wide = box
        view = _resized(pixels[y : y + tall, x : x + wide], preprocessing.size, preprocessing.size, preprocessing.interpolation)
    return views.changed(row, _mirrored(view) if views.mirrored(row) else view, preprocessing.mean)


def _evaluation_view(pixels: Pixels, preprocessing: Preprocessing) -> Pixels:
    """Return ``"size size 3"``: the middle of the picture, its shorter side (or both, if squashed) resized first."""
    height, width = pixels.shape[:2]
    short, size = preprocessing.resize, preprocessing.size
    tall, wide = (short, int(short * width / height)) if height <= width else (int(short * height / width), short)
    if preprocessing.squash:
        tall, wide = short, short
    y, x = round((tall - size) / 2), round((wide - size) / 2)
    return _resized(pixels, tall, wide, preprocessing.interpolation)[y : y + size, x : x + size]


def _resized(pixels: Pixels, tall: int, wide: int, interpolation: Interpolation) -> Pixels:
    """Return ``"tall wide 3"``, with antialiasing, as torchvision resizes a tensor of bytes."""
    height, width = pixels.shape[:2]
    if (height, width) == (tall, wide):
        return pixels
    # The copy leaves the memory map, which is read-only and would make torch warn. The strides say outright that the channels
    # lie last: for a batch of one torch would guess otherwise, and turn them twice.
    picture = torch.from_numpy(np.array(pixels)).as_strided((1, 3, height, width), (3 * height * width, 1, 3 * width, 3))
    resized = F.interpolate(picture, (tall, wide), mode=interpolation, antialias=interpolation != "nearest")
    return np.asarray(rearrange(resized, "1 rgb height width -> height width rgb"))


def _mirrored(view: Pixels) -> Pixels:
    # In pieces, because torch would share a whole view out among threads of its own, a team for each of ours.
    whole, step = torch.from_numpy(np.array(view)), max(1, _ALONE // (3 * view.shape[1]))
    return np.concatenate([whole[row : row + step].flip(1).numpy() for row in range(0, len(whole), step)])


def _empty(pictures: int, preprocessing: Preprocessing) -> Pixels:
    return np.empty((pictures, preprocessing.size, preprocessing.size, 3), np.uint8)


def _normal(views: Pixels, preprocessing: Preprocessing, device: str = "cpu") -> Tensor:
    moved = torch.from_numpy(views).to(device)
    return normalise(rearrange(moved, "pictures height width rgb -> pictures rgb height width"), preprocessing)


def normalise(views: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Return float32 ``(views / 255 - mean) / std`` of uint8 ``"pictures 3 height width"``; its channels lie last in memory."""
    # Whole rows at a time: with the three colours innermost, a mean for each would be fetched anew at every pixel.
    rows = rearrange(views, "pictures rgb height width -> pictures height (width rgb)").to(torch.float32)
    mean = torch.tensor(preprocessing.mean).mul(255).repeat(views.shape[3]).to(rows.device)
    std = torch.tensor(preprocessing.std).mul(255).repeat(views.shape[3]).to(rows.device)
    return rearrange(rows.sub_(mean).div_(std), "pictures height (width rgb) -> pictures rgb height width", rgb=3)


def viewed(pictures: Sequence[Pixels], preprocessing: Preprocessing) -> Tensor:
    """Return normalised ``"pictures 3 size size"`` of pictures that are at hand as pixels, each as `evaluation_batches` shows it."""
    views = _empty(len(pictures), preprocessing)
    for view, pixels in zip(views, pictures, strict=True):
        view[:] = _evaluation_view(pixels, preprocessing)
    return _normal(views, preprocessing)


def as_dict(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return plain values for a model folder's ``preprocessing.json``."""
    return {
        "size": preprocessing.size,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "interpolation": preprocessing.interpolation,
        "crop": preprocessing.crop,
        "squash": preprocessing.squash,
    }


def from_dict(values: dict[str, Any]) -> Preprocessing:
    """Return what `as_dict` wrote; a file from before there was `squash` says nothing of it, and did not squash."""
    return Preprocessing(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
