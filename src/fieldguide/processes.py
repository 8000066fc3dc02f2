"""One study, several processes: ``torchrun --nproc_per_node 2 -m fieldguide compare ...`` trains every network in all of them together.

The first process does the whole page as ever. The others wait; whenever it fits a family that can be trained together, they fit the
same one on the same pictures, each with its share of every step, and write nothing. A batch is that of one process, so two of
them see twice as many pictures a step. (``accelerate launch --cpu --num_processes 2`` starts one process without a word.)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fieldguide import families
from fieldguide.bench import Bench
from fieldguide.data.store import Store
from fieldguide.data.tables import read_manifest
from fieldguide.data.veil import window
from fieldguide.families import Contestant
from fieldguide.gather import task_of
from fieldguide.records import Example, Image


def several() -> bool:
    """Tell whether torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def helping() -> bool:
    """Tell whether this process is one that helps the first."""
    return several() and os.environ["RANK"] != "0"


def meet() -> None:
    """Join the other processes, where there are others."""
    if several():
        from fieldguide.craft import ranks

        ranks.join()


def announce(entry: Contestant, train: Sequence[Example], val: Sequence[Example], bench: Bench) -> None:
    """Tell the helping processes to fit with this one."""
    if several() and getattr(families.family(entry.family), "TOGETHER", False):
        from fieldguide.craft import ranks

        ranks.told(
            {
                "entry": [entry.name, entry.family, entry.settings.model_dump(mode="json")],
                "train": [[example.image.key, example.label] for example in train],
                "val": [[example.image.key, example.label] for example in val],
                "bench": [str(bench.scratch), bench.seed, bench.device, bench.online, str(bench.shared or "")],
            }
        )


def part() -> None:
    """Let the helping processes go: there is no more to fit."""
    if several():
        from fieldguide.craft import ranks

        ranks.told(None)
        ranks.leave()


def help_with(folder: Path) -> None:
    """Fit whatever the first process announces, until it parts. `folder` is the study's."""
    from fieldguide.craft import ranks

    while (job := ranks.told()) is not None:
        _fit(job, folder)
    ranks.leave()


def _fit(job: dict[str, Any], folder: Path) -> None:
    name, room, settings = job["entry"]
    entry = families.contestant(room, None, {key: value for key, value in settings.items() if value is not None}, name, name)
    # Opened for each fit: the first process may have decoded more pictures since.
    veiled = window(Store(folder / "store"))
    train, val = ([Example(Image(key, veiled), label) for key, label in job[part]] for part in ("train", "val"))
    scratch, seed, device, online, shared = job["bench"]
    bench = Bench(Path(scratch), seed, device, online, shared=Path(shared) if shared else None, quiet=True)
    task = task_of(folder, read_manifest(folder / "manifest.parquet"))
    families.family(room).fit(train, val, task, entry.settings, bench)
