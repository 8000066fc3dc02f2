"""12-megapixel phone photographs: the loader against Pillow's draft mode, which is the floor, and what look and store cost.

    python benchmarks/photos.py                 12 photographs, made once below --folder
    python benchmarks/photos.py --pictures 3    to try it out
    python benchmarks/photos.py --grain 1       in bright light, 1 MB

Each photograph is 4000 x 3000, JPEG quality 90, 3 to 5 MB unless the grain is finer: structure of many sizes under the noise of a
sensor, a function of its number alone. All ways of reading are measured in turn for every picture and round, in one thread, in seconds of
processor time; the table gives the median of the rounds' means. What ``examine`` with a store costs besides (hash, checks,
writing) is measured the same way, over the whole folder.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fieldguide.data import images
from fieldguide.data.examine import examine
from fieldguide.data.sources import Source, SourceFile
from fieldguide.data.store import Store, size_class

WIDTH, HEIGHT, QUALITY, SEED = 4000, 3000, 90, 7


def photograph(number: int, grain: float) -> bytes:
    """Return the JPEG of one photograph; `grain` is the sensor's noise in levels of 255."""
    random = np.random.default_rng([SEED, number])
    total = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for side, weight in ((4, 60.0), (16, 40.0), (64, 24.0), (400, 12.0)):
        field = random.normal(0, weight, (side * 3 // 4, side, 3)).astype(np.float32)
        for channel in range(3):
            total[:, :, channel] += np.asarray(
                Image.fromarray(field[:, :, channel]).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
            )
    total += random.normal(128, grain, (HEIGHT, WIDTH, 1)).astype(np.float32)
    exif = Image.Exif()
    exif[0x0112], exif[0x0132] = 1 + 5 * (number % 2), "2024:05:06 07:08:09"
    stream = io.BytesIO()
    Image.fromarray(total.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=QUALITY, exif=exif)
    return stream.getvalue()


def made(folder: Path, count: int, grain: float) -> list[Path]:
    """Return `count` photographs below `folder`; what is there already is not made again."""
    paths = [folder / f"grain-{grain:g}" / "ab"[at % 2] / f"IMG_{at:04}.jpg" for at in range(count)]
    for at, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(photograph(at, grain))
    return paths


def with_draft(data: bytes, size: int) -> None:
    """The floor: Pillow, reduced in the decoder to the next size above, then to the wanted one."""
    with Image.open(io.BytesIO(data)) as image:
        wanted = images.final_size(image.width, image.height, size)
        image.draft(None, wanted)
        np.array(image.resize(wanted, Image.Resampling.BICUBIC, reducing_gap=2.0))


def without_draft(data: bytes, size: int) -> None:
    """What most loaders do: decode all pixels, then reduce."""
    with Image.open(io.BytesIO(data)) as image:
        np.array(image.resize(images.final_size(image.width, image.height, size), Image.Resampling.BICUBIC, reducing_gap=2.0))


WAYS: dict[str, Callable[[bytes, int], object]] = {
    "fieldguide": images.load,
    "Pillow with draft": with_draft,
    "Pillow without draft": without_draft,
}


def reading(files: Sequence[bytes], size: int, rounds: int) -> dict[str, float]:
    """Return milliseconds of one core for each picture, by way of reading; ways take turns within each picture."""
    means: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        spent = dict.fromkeys(WAYS, 0.0)
        for at, data in enumerate(files):
            for name in [*WAYS][at % 3 :] + [*WAYS][: at % 3]:
                start = time.process_time()
                WAYS[name](data, size)
                spent[name] += time.process_time() - start
        for name, seconds in spent.items():
            means[name].append(1000 * seconds / len(files))
    return {name: statistics.median(values) for name, values in means.items()}


def looking(paths: Sequence[Path], size: int | None) -> tuple[float, float]:
    """Return (milliseconds of processor, of the clock) for each picture of an examination in one thread, with a store for `size`."""
    source = Source(
        "folder", "photos", tuple(SourceFile(path, f"{path.parent.name}/{path.name}", path.parent.name) for path in paths)
    )
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch)) if size else None
        start, clock = time.process_time(), time.perf_counter()
        examination = examine(source, threads=1, store=store, sizes=(size,) if size else ())
        if store is not None:
            store.flush()
        spent = time.process_time() - start, time.perf_counter() - clock
    assert len(examination.usable) == len(paths), [row.excluded for row in examination.rows]
    return 1000 * spent[0] / len(paths), 1000 * spent[1] / len(paths)


def main() -> None:
    """Make the photographs, read them in every way, and print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--pictures", type=int, default=12)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "fieldguide-photos")
    words.add_argument("--grain", type=float, default=8.0, help="noise of the sensor, in levels of 255; it decides the bytes")
    asked = words.parse_args()
    paths = made(asked.folder, asked.pictures, asked.grain)
    files = [path.read_bytes() for path in paths]
    print(
        f"{len(files)} photographs of {WIDTH} x {HEIGHT}, {sum(map(len, files)) / len(files) / 1e6:.1f} MB each; {os.cpu_count()} cores"
    )
    print("milliseconds of one core for each picture (and how many times the floor)")
    for size in (64, 224):
        times = reading(files, size, asked.rounds)
        floor = times["Pillow with draft"]
        print(f"  {size:4} px: " + ", ".join(f"{name} {value:.1f} ({value / floor:.2f}x)" for name, value in times.items()))
    for size in (None, 64, 224):
        spent = [looking(paths, size) for _ in range(asked.rounds)]
        core, clock = (statistics.median(values) for values in zip(*spent, strict=True))
        print(f"  look{f' and store {size_class(size)} px' if size else ''}: {core:.1f} (clock {clock:.1f})")


if __name__ == "__main__":
    main()
