"""Why a contestant has no answers: whatever a family raised, in three breaths, in its ``failed.json``."""

from __future__ import annotations

import contextlib
import shutil
import traceback
from pathlib import Path

from fieldguide import families
from fieldguide.data.tables import read_predictions
from fieldguide.errors import DataProblem, EnvironmentProblem, PictureError, Problem, out_of_memory, plain
from fieldguide.files import system_problem, write_json
from fieldguide.records import SCHEMA_VERSION, Manifest
from fieldguide.tasks.asking import FAILED, open_question


def fail(folder: Path, problem: Problem, state: str = "failed") -> None:
    """Write down why a contestant has no answers."""
    told = {"given": problem.given, "allowed": problem.allowed, "next": problem.next}
    write_json(folder / "failed.json", {"schema": SCHEMA_VERSION, "state": state, **told})


def require_answered(place: Path, seed: int, folder: Path) -> None:
    """Raise `EnvironmentProblem` where the answers in `place`, of a further `seed`, are not all that can be had; they are then had anew.

    What is kept is not asked again. A question that failed with the study's own seed, in `folder`, as well is no reason to wait.
    """
    answers, own = (read_predictions(one / "predictions.parquet") for one in (place, folder))
    failed = {one.image for one in own if (one.error or "").startswith(FAILED)}
    wanting = [one for one in answers if open_question(one.error)]
    wanting = [one for one in wanting if one.image not in failed or not str(one.error).startswith(FAILED)]
    if not wanting:
        return
    shutil.rmtree(place / "scratch", ignore_errors=True)
    (place / "predictions.parquet").unlink()
    raise EnvironmentProblem(
        f"With the seed {seed}, {len(wanting):,} of {len(answers):,} pictures have no answer yet: {plain(wanting[0].error)}.",
        "A further seed counts once all were asked. What was answered is kept, and the answers with the study's own seed stand.",
        "The same command asks for what is missing.",
    )


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
