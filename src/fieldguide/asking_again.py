"""Questions that were left open: the server failed, or no more were to be put. The same command puts those again, and no other.

A contestant whose answers are whole is loaded, asked about the open pictures alone, and its answers, scores and cost are replaced whole.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fieldguide import runs
from fieldguide.costing import write_cost
from fieldguide.data.tables import read_predictions, write_predictions
from fieldguide.errors import Problem, plain
from fieldguide.families import Contestant
from fieldguide.files import read_own
from fieldguide.records import Prediction
from fieldguide.tasks.asking import FAILED, NOT_ASKED, open_question

#: Letters of a reason that are told.
_TOLD = 90


def run(entry: Contestant, table: runs.Table) -> str:
    """Do as `fieldguide.runs.run`; a contestant that was whole before is asked what it was left owing."""
    folder = table.folder / "runs" / entry.name
    before = runs.whole(folder)
    outcome = runs.run(entry, table)
    if outcome != "reused" and not (before and outcome == "done"):  # done with further seeds, after it was whole with its own
        return outcome
    asked = False
    try:
        for place in _places(folder):
            asked = _again(entry, table, place) or asked
    except Problem as problem:  # what it answered before stays as it is
        table.progress.say(f"{entry.name} was not asked again: {problem.given} {problem.next}")
    if asked or _stale(folder):
        _replaced(entry, table, folder)
    return "done" if asked else outcome


def left_open(folder: Path) -> list[Prediction]:
    """Return the answers of a contestant's folder that are none yet, because of the server or a limit."""
    return [answer for answer in _answers(folder) if open_question(answer.error)]


def _answers(folder: Path) -> list[Prediction]:
    """Return the answers of a contestant that was asked in words; none of any other."""
    path = folder / "predictions.parquet"
    return read_predictions(path) if (folder / "model" / "prompt.json").exists() and path.exists() else []


def told(study: Path) -> Iterator[str]:
    """Yield a sentence for each contestant with open questions: how many, why, and that the same command asks them again."""
    for folder in sorted(path for path in study.glob("runs/*") if path.is_dir()):
        answers = _answers(folder)
        found = [answer for answer in answers if open_question(answer.error)]
        failed = [answer for answer in found if str(answer.error).startswith(FAILED)]
        rest = len(found) - len(failed)
        if not found:
            continue
        parts = [f"{len(failed):,} of {len(answers):,} failed ({_commonest(failed)})"] if failed else []
        parts += [f"{rest:,} of {len(answers):,} were not asked"] if rest else []
        yield f"{plain(folder.name, 60)}: {', '.join(parts)}: counted wrong; the same command asks for these again."


def _commonest(failed: list[Prediction]) -> str:
    (why, _), *_ = Counter(str(answer.error).removeprefix(FAILED) for answer in failed).most_common(1)
    return plain(why, _TOLD)


def _places(folder: Path) -> list[Path]:
    """Return the folders with a model and its own answers: those of the folds, where there are any."""
    return sorted(path.parent for path in folder.glob("folds/*/predictions.parquet")) or [folder]


def _stale(folder: Path) -> bool:
    """Tell whether a kill came between the answers of an earlier call and what is counted of them."""
    if not (folder / "model" / "prompt.json").exists():
        return False
    counted = read_own(folder / "cost.json").get("unanswered")
    return {counted, len(left_open(folder))} != {sum(len(left_open(place)) for place in _places(folder))}


def _again(entry: Contestant, table: runs.Table, place: Path) -> bool:
    """Ask about the open pictures of `place`, and tell whether any of them got another row."""
    open_ones = {answer.image: answer for answer in left_open(place)}
    if not open_ones or table.allowance.left == 0:
        return False
    rows = [row for row in table.manifest.part() if row.key in open_ones]
    start = time.perf_counter()
    fitted = runs.at(runs.load(place), runs.bench_of(entry, table, place, ()))
    fresh: dict[str, Prediction] = {}
    try:
        with table.progress.bar("ask again", len(rows)) as bar:
            for answer in runs.one_each(fitted, rows, table.store):
                if not (answer.error or "").startswith(NOT_ASKED):
                    fresh[answer.image] = dataclasses.replace(answer, run=entry.name)
                bar.advance()
    finally:
        shutil.rmtree(place / "scratch", ignore_errors=True)
    table.store.flush()
    table.allowance.spend(fitted)
    before = read_own(place / "fit.json").get("answer_wall_seconds", 0.0)
    runs.note_answered(place, fitted, before + time.perf_counter() - start)
    if fresh:
        target = place / "predictions.parquet"
        write_predictions(target, [fresh.get(answer.image, answer) for answer in read_predictions(target)])
    return bool(fresh)


def _replaced(entry: Contestant, table: runs.Table, folder: Path) -> None:
    """Pool the answers of folds, and count the cost anew."""
    places = _places(folder)
    if places != [folder]:
        pooled = [answer for place in places for answer in read_predictions(place / "predictions.parquet")]
        write_predictions(folder / "predictions.parquet", sorted(pooled, key=lambda answer: answer.image))
    fits = [read_own(place / "fit.json") for place in dict.fromkeys([*places, folder])]
    write_cost(entry, table, folder, read_predictions(folder / "predictions.parquet"), fits)
