"""Epochs of augmented batches: the store and its threads against torchvision's ImageFolder and DataLoader, in one run.

    python benchmarks/loader.py                      5,400 pictures, made once below --folder
    python benchmarks/loader.py --pictures 300       to try it out
    python benchmarks/loader.py --data PHOTOS        one's own, a folder for each class
    python benchmarks/loader.py --augment crop mixes turns randaugment trivialaugment

Both sides do the same work: every picture of the folder in random order, a random crop of half to all of its area (shape 3:4 to
4:3), resized to 224 x 224 with bilinear interpolation and antialiasing, mirrored half of the time, normalised, in batches of 32.
The other augmentations squash (mixes, turns) or crop as well, and then do what their name says: theirs with torchvision's v2 classes
of the same settings. They differ in where the pixels come from, and that is the point: ImageFolder decodes each file in each epoch, the store has
decoded it once, to 256 pixels on its shorter side. A view of less than 224 x 224 stored pixels is therefore enlarged where
ImageFolder may still have finer pixels. Epochs alternate, ours, theirs, ours, so that both meet the same machine.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

# As the command line does it: threads of torch that wait by spinning take the cores from those that cut.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

CLASSES, SIZE, BATCH, SEED = 6, 224, 32, 7
AUGMENTATIONS, SQUASHED = ("crop", "mixes", "turns", "randaugment", "trivialaugment"), ("mixes", "turns")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Width to height, as photographs on the web have it: landscape, portrait, square.
SHAPES = (4 / 3, 4 / 3, 3 / 2, 3 / 2, 1.0, 3 / 4, 2 / 3, 16 / 9)


@cache
def textures() -> list[NDArray[np.float32]]:
    """Return fields whose amplitude falls as one over frequency to 1.2, like that of natural scenes; each picture cuts its own part."""
    random = np.random.default_rng(SEED)
    side = 2048
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1
    fields = []
    for _ in range(6):
        phase = np.exp(2j * np.pi * random.random(frequency.shape))
        field = np.fft.irfft2(phase / frequency**1.2, s=(side, side))
        fields.append(((field - field.mean()) / field.std()).astype(np.float32))
    return fields


def picture(number: int) -> bytes:
    """Return the JPEG of one picture, a function of its number alone."""
    random = np.random.default_rng([SEED, number])
    long = round(float(np.exp(random.uniform(np.log(300), np.log(1600)))))
    shape = SHAPES[random.integers(len(SHAPES))]
    width, height = (long, round(long / shape)) if shape >= 1 else (round(long * shape), long)
    parts = []
    for field in random.choice(len(textures()), 2, replace=False):
        y, x = random.integers(0, 2048 - height), random.integers(0, 2048 - width)
        part = textures()[field][y : y + height, x : x + width]
        parts.append(part[:: random.choice((1, -1)), :: random.choice((1, -1))])
    tint = random.normal(0, 1, (2, 3)).astype(np.float32) * 9
    ground = random.uniform(70, 170, 3).astype(np.float32)
    values = ground + parts[0][..., None] * (28 + tint[0]) + parts[1][..., None] * tint[1]
    image = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(random.integers(2, 9)):
        a, b = (random.random((2, 2)) * (width, height)).tolist()
        box = [min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])]
        colour = tuple(random.integers(0, 256, 3).tolist())
        draw_shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        draw_shape(box, outline=colour, width=int(random.integers(2, 12)))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=int(random.integers(85, 91)))
    return stream.getvalue()


def write(root: str, number: int) -> tuple[int, int]:
    path = Path(root) / f"class-{number % CLASSES}" / f"{number:05}.jpg"
    if not path.exists():
        data = picture(number)
        temporary = path.with_suffix(".part")
        temporary.write_bytes(data)
        temporary.rename(path)
    with Image.open(path) as image:
        return image.size


def make(root: Path, count: int) -> None:
    """Write what is missing of the pictures and say what they are like."""
    for label in range(CLASSES):
        (root / f"class-{label}").mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        sizes = np.array(list(pool.map(write, [str(root)] * count, range(count), chunksize=8)))
    long, pixels = sizes.max(axis=1), sizes.prod(axis=1)
    total = sum(path.stat().st_size for path in root.rglob("*.jpg"))
    print(
        f"{count:,} JPEG pictures, {total / 1e6:,.0f} MB, {8 * total / pixels.sum():.2f} bits a pixel, mean {pixels.mean() / 1e6:.2f} MP"
    )
    names = ("least", "10 %", "25 %", "half", "75 %", "90 %", "most")
    marks = np.percentile(long, [0, 10, 25, 50, 75, 90, 100]).astype(int)
    print("longer side, pixels: " + ", ".join(f"{name} {mark}" for name, mark in zip(names, marks, strict=True)))


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Ours:
    """The product's own path: the pictures behind the veil, views and order as the training loop draws them."""

    def __init__(self, root: Path, store: Path) -> None:
        from fieldguide.data.images import content_hash, read_file
        from fieldguide.data.sources import open_source

        self.source = open_source(str(root), store / "unpacked")
        self.paths = {content_hash(read_file(file.path)): file.path for file in self.source.files}
        self.folder, self.epochs, self.moments = store, 0, (0.0, 0.0)
        self.augment("crop")

    def augment(self, name: str) -> None:
        from fieldguide.data.augment import NAMED
        from fieldguide.data.batches import Preprocessing

        self.augmentation = NAMED[name]
        self.preprocessing = Preprocessing(SIZE, MEAN, STD, squash=name in SQUASHED)

    def open(self, name: str) -> None:
        from fieldguide.data.images import read_file
        from fieldguide.data.store import Store
        from fieldguide.data.veil import window
        from fieldguide.records import Image as Picture

        self.store = Store(self.folder / name, lambda key: read_file(self.paths[key]))
        veiled = window(self.store)
        self.images = [Picture(key, veiled) for key in self.paths]

    def look(self) -> None:
        from fieldguide.data.examine import examine

        examine(self.source)

    def build(self) -> None:
        self.store.prepare(list(self.paths), self.preprocessing.resize)

    def epoch(self) -> None:
        import torch

        from fieldguide.data.augment import draw_views, mixed
        from fieldguide.data.batches import draw_order, training_batches

        count, self.epochs = len(self.images), self.epochs + 1
        order, views = draw_order(count, SEED, self.epochs), draw_views(count, self.augmentation, SEED, self.epochs)
        batches = training_batches(self.images, order, views, self.preprocessing, BATCH)
        targets = torch.nn.functional.one_hot(torch.arange(count) % CLASSES, CLASSES).float()
        found = (
            mixed(batch.pixels, targets[list(batch.rows)], self.augmentation, SEED, self.epochs, step)[0]
            for step, batch in enumerate(batches)
        )
        self.moments = consume(found, count)
        self.store.flush()


class Mixing:
    """What torchvision's guide gives a DataLoader to mix batches with, in its workers."""

    def __init__(self, mix: Callable[..., object]) -> None:
        self.mix = mix

    def __call__(self, pairs: list[tuple[object, int]]) -> object:
        from torch.utils.data import default_collate

        return self.mix(*default_collate(pairs))


class Theirs:
    """ImageFolder with the usual transforms and a DataLoader whose workers stay alive between epochs."""

    def __init__(self, root: Path, workers: int, name: str = "crop") -> None:
        import torch
        from torchvision import datasets
        from torchvision.transforms import v2

        bilinear = v2.InterpolationMode.BILINEAR
        crop = v2.RandomResizedCrop(SIZE, scale=(0.5, 1.0), ratio=(3 / 4, 4 / 3), interpolation=bilinear)
        more = {
            "mixes": [v2.ColorJitter(0.4, 0.4)],
            "turns": [v2.RandomRotation(10, bilinear)],
            "randaugment": [v2.RandAugment()],
            "trivialaugment": [v2.TrivialAugmentWide()],
        }
        steps = [
            v2.Resize((SIZE, SIZE), bilinear) if name in SQUASHED else crop,
            v2.RandomHorizontalFlip(),
            *more.get(name, []),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
        self.data = datasets.ImageFolder(str(root), v2.Compose(steps))
        count = len(self.data.classes)
        mix = v2.RandomChoice([v2.MixUp(alpha=0.2, num_classes=count), v2.CutMix(alpha=1.0, num_classes=count)])
        torch.manual_seed(SEED)
        self.loader = torch.utils.data.DataLoader(
            self.data,
            BATCH,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=Mixing(mix) if name == "mixes" else None,
        )
        self.moments = (0.0, 0.0)

    def epoch(self) -> None:
        self.moments = consume((pixels for pixels, _ in self.loader), len(self.data))


def consume(batches: Iterable[object], count: int) -> tuple[float, float]:
    """Take every batch, and a mean and spread of a few of them, which show that both sides hand out the same kind of thing."""
    seen, means, spreads = 0, [], []
    for number, pixels in enumerate(batches):
        assert tuple(pixels.shape[1:]) == (3, SIZE, SIZE)  # type: ignore[attr-defined]
        seen += len(pixels)  # type: ignore[arg-type]
        if number % 16 == 0:
            means.append(float(pixels.mean()))  # type: ignore[attr-defined]
            spreads.append(float(pixels.std()))  # type: ignore[attr-defined]
    assert seen == count, (seen, count)
    return statistics.mean(means), statistics.mean(spreads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5400)
    parser.add_argument("--epochs", type=int, default=3, help="warm epochs of each side")
    parser.add_argument("--workers", type=int, default=2, help="processes of the DataLoader")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "fieldguide-benchmark")
    parser.add_argument("--augment", nargs="+", choices=AUGMENTATIONS, default=["crop"])
    parser.add_argument("--data", type=Path, help="pictures of one's own instead of made ones, a folder for each class")
    asked = parser.parse_args()
    root = asked.data or asked.folder / f"pictures-{asked.pictures}"
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.2f}")
    asked.folder.mkdir(parents=True, exist_ok=True)
    if not asked.data:
        make(root, asked.pictures)
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        ours = Ours(root, Path(scratch))
        told("look (examine only)", timed(ours.look), len(ours.paths))
        ours.open("cold")
        told("cold epoch (decodes and stores)", timed(ours.epoch), len(ours.paths))
        ours.open("warm")
        told("store build", timed(ours.build), len(ours.paths))
        for name in asked.augment:
            compare(name, ours, Theirs(root, asked.workers, name), asked.epochs)


def told(name: str, seconds: float, pictures: int) -> float:
    """Say what something took; return milliseconds a picture, because two files of one content are one picture to us."""
    each = 1000 * seconds / pictures
    print(f"{name:44} {seconds:8.2f} s  {each:7.3f} ms a picture   load {os.getloadavg()[0]:.2f}", flush=True)
    return each


def compare(name: str, ours: Ours, theirs: Theirs, epochs: int) -> None:
    """Alternate warm epochs of both sides, and say how many times faster ours is."""
    ours.augment(name)
    theirs.loader.__iter__()  # its workers are started and their libraries imported before any clock runs
    mine, other = [], []
    for number in range(epochs):
        mine.append(told(f"{name}: warm epoch {number}, ours", timed(ours.epoch), len(ours.images)))
        other.append(told(f"{name}: epoch {number}, ImageFolder", timed(theirs.epoch), len(theirs.data)))
    assert ours.store.misses == len(ours.images), "warm epochs decode nothing"
    (a, b), (c, d) = ours.moments, theirs.moments
    print(f"{name}: mean and spread of pixels: ours {a:.3f} {b:.3f}, theirs {c:.3f} {d:.3f}")
    a, b = statistics.median(mine), statistics.median(other)
    print(f"{name}: median warm epoch: ours {a:.3f} ms a picture, ImageFolder + DataLoader {b:.3f} ms: {b / a:.1f} times")


if __name__ == "__main__":
    main()
