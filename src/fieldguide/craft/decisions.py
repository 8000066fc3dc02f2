"""What a clock, a full memory or a trial decided: written down before it is used, and replayed by every later sitting of a fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fieldguide.bench import Bench
from fieldguide.craft import ranks
from fieldguide.files import read_json, write_json


def known(bench: Bench) -> dict[str, Any]:
    """Return all that was decided so far."""
    path = bench.scratch / "decisions.json"
    return dict(read_json(path)) if path.exists() else {}


def remember(bench: Bench, name: str, value: Any) -> None:
    """Write a decision down; of several processes the first one does."""
    if ranks.rank() == 0:
        write_json(bench.scratch / "decisions.json", {**known(bench), name: value})


def cut(bench: Bench, pieces: int) -> int:
    """Return `pieces`, into which batches are cut from here on because memory ran out: written down, told, and what was kept is given back."""
    remember(bench, "pieces", pieces)
    bench.fact(batches_cut_into=pieces)
    bench.progress.say(f"Memory ran out: batches go through in {pieces} pieces from here; steps keep their size.")
    if bench.device.startswith("cuda"):
        torch.cuda.empty_cache()
    return pieces


def remembered(bench: Bench, name: str, decide: Callable[[], Any]) -> Any:
    """Return what was decided of `name`, in JSON's values; decided now where it was not."""
    if name not in known(bench):
        value = decide()
        remember(bench, name, value)
        return ranks.told(value)
    return ranks.told(known(bench)[name])
