"""What does drawing the report cost? 14 contestants, 810 test pictures of 90 classes, scored and drawn from the files alone.

    python benchmarks/report.py                  the study is made once below --folder, then redrawn three times
    python benchmarks/report.py --profile        and where the seconds go, by functions of fieldguide

The study has the size of a published comparison of fourteen networks on ninety kinds of animals. Its answers are simulated (every
contestant with probabilities for every class, of the validation and the test pictures); its store holds pictures with the grain of
photographs at the size that the report cuts its thumbnails from. Printed for each redraw, in a fresh process: seconds by the
clock and of the processor, the most memory the process held (libraries included), and the bytes of the page.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

CONTESTANTS, CLASSES, SIDE, SEED = 14, 90, 256, 5
_MAKER = Path(__file__).parents[1] / "tests" / "report" / "make_study.py"
_REPORT = "import sys; from fieldguide.cli import main; main(['report', sys.argv[1]])"
_PROFILED = """
import cProfile, pstats, sys
from pathlib import Path
watch = cProfile.Profile()
watch.enable()
from fieldguide.study import redraw
redraw(Path(sys.argv[1]))
watch.disable()
pstats.Stats(watch).strip_dirs().sort_stats("cumulative").dump_stats(sys.argv[2])
"""


def maker() -> ModuleType:
    """Return the generator of the tests' studies."""
    spec = importlib.util.spec_from_file_location("make_study", _MAKER)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_study"] = module
    spec.loader.exec_module(module)
    return module


def photograph(key: str) -> np.ndarray:
    """Return ``"height width 3"`` uint8 with structure at every scale and grain, the longer side of `SIDE` pixels."""
    random = np.random.default_rng([SEED, int(key[:8], 16)])
    width, height = (SIDE, int(SIDE * random.uniform(0.6, 1.0)))[:: random.choice((1, -1))]
    picture = np.full((height, width, 3), 128.0)
    for grid in (2, 4, 8, 16, 32):
        coarse = Image.fromarray(random.integers(0, 256, (grid, grid, 3), dtype=np.uint8))
        picture += (np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=float) - 128) / grid**0.6
    return (picture + random.normal(0, 5, picture.shape)).clip(0, 255).astype(np.uint8)


def make(folder: Path) -> None:
    """Write the study, unless it is there."""
    if (folder / "store").exists():
        return
    from fieldguide.data.store import Store
    from fieldguide.study import THUMBNAIL

    shutil.rmtree(folder, ignore_errors=True)
    made, started = maker(), time.monotonic()
    names = tuple(f"species number {position}" for position in range(CLASSES))
    entries = tuple(made.Entry(f"contestant_{i}", f"room{i % 6}", 0.5 + i / 3, epochs=30) for i in range(CONTESTANTS))
    manifest = made.make_study(folder, made.Plan(names=names, entries=entries))
    for entry in entries:  # what is scored goes by the name of its folder
        (folder / "runs" / hashlib.sha256(entry.name.encode()).hexdigest()[:12]).rename(folder / "runs" / entry.name)
    store = Store(folder / "store")
    for row in manifest.part():
        if row.split != "train":
            store.add(row.key, THUMBNAIL, photograph(row.key))
    store.flush()
    print(f"study made in {time.monotonic() - started:.0f} s: {folder}")


def redrawn(folder: Path) -> tuple[float, float, float]:
    """Return seconds by the clock, seconds of the processor and peak memory in MB of ``fieldguide report`` in a fresh process."""
    (folder / "report.html").unlink(missing_ok=True)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-c", _REPORT, str(folder)], check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, used, after.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def dominated(folder: Path, most: int) -> None:
    """Print which functions the seconds go to; a function's seconds hold those of what it calls."""
    import pstats

    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "profile"
        subprocess.run([sys.executable, "-c", _PROFILED, str(folder), str(target)], check=True)
        found = pstats.Stats(str(target)).stats  # type: ignore[attr-defined]
    ours = sorted(path.name for path in (_MAKER.parents[2] / "src" / "fieldguide").rglob("*.py"))
    rows = [(entry[3], entry[2], entry[1], *place) for place, entry in found.items() if place[0] in ours and place[1] > 0]
    print("\nseconds  own      calls  where (while watched; the watching itself costs about a third more)")
    for total, own, calls, name, line, function in sorted(rows, reverse=True)[:most]:
        print(f"{total:7.2f}  {own:5.2f}  {calls:8,}  {name}:{line} {function}")


def main(words: Sequence[str] | None = None) -> None:
    """Make the study, redraw it, print."""
    reads = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reads.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "fieldguide-report-benchmark")
    reads.add_argument("--repeat", type=int, default=3)
    reads.add_argument("--profile", action="store_true", help="say what the seconds go to")
    given = reads.parse_args(words)
    make(given.folder)
    print(f"{os.cpu_count()} cores; {CONTESTANTS} contestants, {CLASSES} classes\nseconds  processor  peak MB  page MB")
    for _ in range(given.repeat):
        seconds, used, memory = redrawn(given.folder)
        page = (given.folder / "report.html").stat().st_size / 1e6
        print(f"{seconds:7.2f}  {used:9.2f}  {memory:7.0f}  {page:7.2f}")
    if given.profile:
        dominated(given.folder, 45)


if __name__ == "__main__":
    main()
