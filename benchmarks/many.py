"""Does looking grow as the pictures do? Small pictures in two numbers, each examined in a fresh process.

    python benchmarks/many.py                        12,500 and 50,000 pictures, made once below --folder
    python benchmarks/many.py --pictures 500 2000    to try it out

Printed for each number: seconds of every step from opening the folder to the written and re-read manifest, by the clock and of
the processor, microseconds of the processor for each picture, and the most memory the process held. The exponent says how the
processor's seconds grow: 1 is as the pictures do, 2 as their pairs. It is of the processor, because a clock also measures what
else the machine has to do.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

CLASSES, SEED = 20, 11


def picture(number: int) -> bytes:
    """Return the JPEG of one picture of 64 to 96 pixels a side: a sky, shapes and grain, all of them its own."""
    random = np.random.default_rng([SEED, number])
    width, height = (int(side) for side in random.integers(64, 97, 2))
    corners = random.integers(0, 256, (2, 3, 3), dtype=np.uint8)
    image = Image.fromarray(corners).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, across = (float(value) for value in random.random(3) * (width, height, 40))
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        shape([x, y, x + across + 3, y + across * random.uniform(0.4, 1.6) + 3], fill=colour)
    grain = random.normal(0, 6, (height, width, 3))
    values = (np.asarray(image, dtype=np.float64) + grain).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "JPEG", quality=int(random.integers(80, 93)))
    return stream.getvalue()


def write(root: str, number: int) -> None:
    path = Path(root) / f"class-{number % CLASSES:02}" / f"{number:06}.jpg"
    if not path.exists():
        temporary = path.with_suffix(".part")
        temporary.write_bytes(picture(number))
        temporary.rename(path)


def make(root: Path, count: int) -> None:
    for label in range(CLASSES):
        (root / f"class-{label:02}").mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        for _ in pool.map(write, [str(root)] * count, range(count), chunksize=64):
            pass


def child(root: Path) -> dict[str, Any]:
    """Return the seconds of every step and the most memory, in bytes, of this process."""
    from fieldguide.data.examine import examine
    from fieldguide.data.sources import open_source
    from fieldguide.data.split import SplitRule, divide, shape
    from fieldguide.data.tables import freeze, read_manifest, write_manifest

    with tempfile.TemporaryDirectory() as warm:  # the first table loads what writes tables
        write_manifest(Path(warm) / "manifest.parquet", freeze([], ["none"], 0))
    steps: dict[str, tuple[float, float]] = {}

    def timed(name: str, work: Any) -> Any:
        clock, processor = time.perf_counter(), time.process_time()
        result = work()
        steps[name] = time.perf_counter() - clock, time.process_time() - processor
        return result

    empty = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as scratch:
        source = timed("open", lambda: open_source(str(root), Path(scratch)))
        examination = timed("examine", lambda: examine(source))
        rows = timed("split", lambda: divide(examination.rows, SplitRule()))
        manifest = timed("freeze", lambda: freeze(rows, examination.classes, 42))
        timed("shape", lambda: shape(manifest, SplitRule()))
        timed("write", lambda: write_manifest(Path(scratch) / "manifest.parquet", manifest))
        read = timed("read", lambda: read_manifest(Path(scratch) / "manifest.parquet"))
    assert read.hash == manifest.hash
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    usable = len(manifest.part())
    return {"steps": steps, "memory": 1024 * most, "empty": 1024 * empty, "pictures": len(rows), "usable": usable}


def run(root: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--child", str(root)], check=True, capture_output=True, text=True, timeout=7200
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs=2, default=(12_500, 50_000), metavar=("FEW", "MANY"))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "fieldguide-benchmark")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(child(asked.child)))
        return
    found = []
    for count in asked.pictures:
        root = asked.folder / f"small-{count}"
        make(root, count)
        print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.2f}", flush=True)
        one = run(root)
        assert one["pictures"] == count
        found.append(one)
        print(
            f"{count:,} pictures ({one['usable']:,} usable): {sum(clock for clock, _ in one['steps'].values()):.1f} s, most memory "
            f"{one['memory'] / 1e6:.0f} MB ({(one['memory'] - one['empty']) / count / 1e3:.1f} kB a picture above the empty process)",
            flush=True,
        )
    few, many = found
    factor = math.log(many["pictures"] / few["pictures"])
    print(f"{'step':8}" + f"{'s by the clock':>16} {'processor':>11} {'us each':>9}" * 2 + "  exponent")
    for name in (*few["steps"], "all"):
        both = [np.sum([*one["steps"].values()] if name == "all" else [one["steps"][name]], axis=0) for one in found]
        cells = [
            f"{clock:16.2f} {processor:11.2f} {1e6 * processor / one['pictures']:9.1f}"
            for (clock, processor), one in zip(both, found, strict=True)
        ]
        print(f"{name:8}" + "".join(cells) + f"  {math.log(both[1][1] / both[0][1]) / factor:8.2f}")
    grown = (many["memory"] - few["memory"]) / (many["pictures"] - few["pictures"])
    print(f"memory grows by {grown / 1e3:.1f} kB a picture")


if __name__ == "__main__":
    main()
