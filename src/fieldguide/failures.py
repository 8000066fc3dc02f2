"""Why a contestant has no answers: whatever a family raised, in three breaths, in its ``failed.json``."""

from __future__ import annotations

import contextlib
import traceback
from pathlib import Path

from fieldguide import families
from fieldguide.errors import DataProblem, EnvironmentProblem, PictureError, Problem, out_of_memory, plain
from fieldguide.files import system_problem, write_json
from fieldguide.records import SCHEMA_VERSION, Manifest


def fail(folder: Path, problem: Problem, state: str = "failed") -> None:
    """Write down why a contestant has no answers."""
    told = {"given": problem.given, "allowed": problem.allowed, "next": problem.next}
    write_json(folder / "failed.json", {"schema": SCHEMA_VERSION, "state": state, **told})


def problem_of(error: BaseException, folder: Path, manifest: Manifest) -> Problem:
    """Turn whatever a family raised into three breaths; an unexpected one keeps its traceback in ``run.log``."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ModuleNotFoundError):
        return families.needs_extra(error)
    if isinstance(error, PictureError):
        # A family knows a picture by its hash alone; people know it by its path.
        meant = next((row.path for row in manifest.rows if row.key[:12] in str(error)), None)
        return DataProblem(
            f"A training picture can no longer be read: {error}.",
            "Pictures stay as they are during a study.",
            f"Restore {plain(meant) if meant else 'it'}, then run the same command again.",
        )
    problem = system_problem(error) if isinstance(error, OSError) else None
    if problem is not None:
        return problem
    with contextlib.suppress(OSError), open(folder / "run.log", "a", encoding="utf-8") as stream:
        stream.write("".join(traceback.format_exception(error)))
    if out_of_memory(error):
        return EnvironmentProblem(
            "Memory ran out.", "Less memory: a smaller batch_size or image_size.", "Set batch_size to half."
        )
    return Problem(
        f"{type(error).__name__}: {plain(error)}.",
        "This was not foreseen; the other contestants are not affected.",
        f"The details are in {folder.name}/run.log; the same command tries again.",
    )
