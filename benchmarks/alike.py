"""Near duplicates: how many planted ones are found, what is flagged where none were planted, and how time grows.

    python benchmarks/alike.py FOLDER                     every picture below FOLDER, 12,500 and 50,000 made from them
    python benchmarks/alike.py FOLDER --pictures 300 --sizes 1000 4000

One copy of each picture is changed in one way, written as a file, read by the product's own loader and mixed among all
originals. A copy counts as found where it is joined with its original. What is flagged among the originals alone is listed:
look at it, some of it will be copies that nobody knew of. For the times, overlapping cuts of the pictures are compared, because
few have 50,000 at hand; seconds are processor time of one process.
"""

from __future__ import annotations

import argparse
import io
import math
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from fieldguide.data import images
from fieldguide.data.alike import Groups, Sketch, alike, sketch
from fieldguide.data.examine import LOOK_SIZE
from fieldguide.errors import PictureError

Random = np.random.Generator
Picture = Image.Image
Turn = Image.Transpose
ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def as_file(picture: Picture, kind: str = "JPEG", quality: int = 90) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, quality=quality)
    return stream.getvalue()


def resized(picture: Picture, random: Random, least: float = 0.3, most: float = 1.6) -> Picture:
    factor = math.exp(random.uniform(math.log(least), math.log(most)))
    return picture.resize([max(8, round(side * factor)) for side in picture.size], Image.Resampling.LANCZOS)


def cropped(picture: Picture, random: Random, least: float = 0.8) -> Picture:
    """Keep 80 to 100 % of the area, from anywhere, in a slightly other shape."""
    area, shape = random.uniform(least, 1), math.exp(random.uniform(-0.05, 0.05))
    wide = min(1.0, area**0.5 * shape)
    width, height = round(picture.width * wide), round(picture.height * min(1.0, area / wide))
    left, top = random.integers(picture.width - width + 1), random.integers(picture.height - height + 1)
    return picture.crop((left, top, left + width, top + height))


def lit(picture: Picture, random: Random) -> Picture:
    brighter = ImageEnhance.Brightness(picture).enhance(random.uniform(0.8, 1.25))
    return ImageEnhance.Contrast(brighter).enhance(random.uniform(0.8, 1.25))


def tilted(picture: Picture, random: Random, inner: bool) -> Picture:
    """Turn by 1 to 3 degrees; keep the black corners, or cut them off."""
    degrees = random.uniform(1, 3) * random.choice([-1, 1])
    turned = picture.rotate(degrees, Image.Resampling.BICUBIC)
    if not inner:
        return turned
    slope = math.sin(math.radians(abs(degrees)))
    x, y = round(picture.height * slope / 2), round(picture.width * slope / 2)
    return turned.crop((x, y, picture.width - x, picture.height - y))


def mixed(picture: Picture, random: Random) -> bytes:
    return as_file(lit(cropped(resized(picture, random, 0.4, 1.2), random, 0.85), random), quality=int(random.integers(30, 80)))


KINDS: dict[str, Callable[[Picture, Random], bytes]] = {
    "resized to 0.3-1.6": lambda it, random: as_file(resized(it, random)),
    "JPEG quality 20-60": lambda it, random: as_file(it, quality=int(random.integers(20, 61))),
    "WebP quality 20-60": lambda it, random: as_file(it, "WEBP", int(random.integers(20, 61))),
    "PNG": lambda it, random: as_file(it, "PNG"),
    "turned 90, 180, 270": lambda it, random: as_file(it.transpose(random.choice([2, 3, 4]))),
    "mirrored": lambda it, random: as_file(it.transpose(Turn(random.integers(2)))),
    "cropped to 80-100 %": lambda it, random: as_file(cropped(it, random)),
    "brighter or darker": lambda it, random: as_file(lit(it, random)),
    "tilted, black corners": lambda it, random: as_file(tilted(it, random, inner=False)),
    "tilted, corners cut": lambda it, random: as_file(tilted(it, random, inner=True)),
    "size, crop, light, JPEG": mixed,
}


def looked(data: bytes) -> Sketch | None:
    return sketch(images.load(data, LOOK_SIZE).pixels)


def originals(folder: Path, most: int) -> tuple[list[Path], list[Sketch | None]]:
    """Read the pictures below `folder`, or `most` of them, evenly spread over the sorted names."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if most and len(paths) > most:
        paths = [paths[at * len(paths) // most] for at in range(most)]
    kept, sketches = [], []
    for path in paths:
        try:
            sketches.append(looked(images.read_file(path)))
            kept.append(path)
        except PictureError:
            continue
    return kept, sketches


def cuts(paths: list[Path], count: int, seed: int) -> Iterator[Sketch | None]:
    """Yield sketches of `count` cuts of 60 % of the width and height, half of them mirrored, evenly from all pictures."""
    random = np.random.default_rng(seed)
    for at in range(count):
        path = paths[at * len(paths) // count]
        if at == 0 or path != paths[(at - 1) * len(paths) // count]:
            with Image.open(path) as opened:
                picture = opened.convert("RGB")
            picture.thumbnail((300, 300))
        width, height = round(0.6 * picture.width), round(0.6 * picture.height)
        left, top = random.integers(picture.width - width + 1), random.integers(picture.height - height + 1)
        scale = LOOK_SIZE / min(width, height)
        size = max(LOOK_SIZE, round(width * scale)), max(LOOK_SIZE, round(height * scale))
        cut = picture.crop((left, top, left + width, top + height)).resize(size, Image.Resampling.BICUBIC)
        yield sketch(np.asarray(cut.transpose(Turn.FLIP_LEFT_RIGHT) if random.random() < 0.5 else cut))


def recall(paths: list[Path], sketches: list[Sketch | None], seed: int) -> None:
    random = np.random.default_rng(seed)
    kinds = [list(KINDS)[at % len(KINDS)] for at in range(len(paths))]
    copies = []
    for path, kind in zip(paths, kinds, strict=True):
        with Image.open(path) as opened:
            copies.append(looked(KINDS[kind](opened.convert("RGB"), random)))
    groups = Groups(2 * len(paths))
    for pair in alike([*sketches, *copies]):
        groups.join(pair.a, pair.b)
    found: dict[str, list[bool]] = defaultdict(list)
    for at, kind in enumerate(kinds):
        found[kind].append(not groups.apart(at, at + len(paths)))
    for kind, hits in found.items():
        print(f"  {kind:24} {sum(hits):5} of {len(hits):5}  {sum(hits) / len(hits):7.1%}")
    every = [hit for hits in found.values() for hit in hits]
    print(f"  {'all':24} {sum(every):5} of {len(every):5}  {sum(every) / len(every):7.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder of pictures, searched through")
    parser.add_argument("--pictures", type=int, default=0, help="take this many of them (default: all)")
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[12_500, 50_000], help="numbers of cuts whose comparison is timed"
    )
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    paths, sketches = originals(asked.folder, asked.pictures)
    if len(paths) < len(KINDS):
        parser.error(f"{asked.folder} holds {len(paths)} pictures that can be read; {len(KINDS)} are the least.")

    flagged = alike(sketches)
    concerned = {at for pair in flagged for at in (pair.a, pair.b)}
    print(f"{len(paths)} pictures, {sketches.count(None)} of them without detail to compare")
    print(f"flagged without planting: {len(flagged)} pairs, {len(concerned) / len(paths):.2%} of the pictures")
    for pair in flagged[:30]:
        one, other = (paths[at].relative_to(asked.folder) for at in (pair.a, pair.b))
        print(f"  {pair.score:.2f}  {pair.how:24} {one}  {other}")
    print("planted copies found:")
    recall(paths, sketches, asked.seed)

    spent = []
    for size in asked.sizes:
        some = list(cuts(paths, size, asked.seed))
        start = time.process_time()
        pairs = alike(some)
        spent.append(time.process_time() - start)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{size} pictures compared: {spent[-1]:.1f} s, {len(pairs)} pairs, at most {memory:.0f} MB")
    if len(spent) > 1:
        exponent = math.log(spent[-1] / spent[0]) / math.log(asked.sizes[-1] / asked.sizes[0])
        print(f"time grows with the number of pictures to the power {exponent:.2f}")


if __name__ == "__main__":
    main()
