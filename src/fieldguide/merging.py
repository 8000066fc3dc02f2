"""``fieldguide merge STUDY/runs/NAME TARGET``: a taught language model as one whole model, for any program that reads transformers' folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fieldguide import runs
from fieldguide.errors import UsageProblem, plain
from fieldguide.files import told_plainly


@told_plainly()
def merge(run: Path, target: Path) -> Path:
    """Write what the contestant in `run` learned, merged into its base weights, as the folder `target`; return it.

    Raises `UsageProblem` where `run` holds no taught language model, and where `target` is there already.
    """
    if target.exists():
        raise UsageProblem(
            f"{plain(target)} is there already.",
            "Allowed: a folder that is not there yet.",
            "Give another, or move that one away.",
        )
    fitted: Any = runs.load(Path(run))
    if not hasattr(fitted, "merge"):
        raise UsageProblem(
            f"{plain(run)} holds no language model that was taught: there is nothing to merge.",
            "Allowed: the run of a contestant of the family vlm_lora.",
            "fieldguide merge STUDY/runs/NAME FOLDER",
        )
    made: Path = fitted.merge(target)
    return made
