"""From counts to scores: every ``scores.json`` of a study of counts, and its ``comparison.json``, from the files of the study alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldguide.asked import Asked, worths
from fieldguide.before_after import Spoken, spoken, write_before_after
from fieldguide.data.classes import read_classes
from fieldguide.data.tables import read_predictions
from fieldguide.errors import UsageProblem, allowed_names, plain
from fieldguide.files import read_own, read_own_toml, sweep, write_json
from fieldguide.reading import further_answers, task_of
from fieldguide.records import ClassInfo, Manifest, Prediction
from fieldguide.tasks.count import PLAIN, Count, Written
from fieldguide.tasks.count_asking import CountPrompt, count_prompt_names, read_count_prompt
from fieldguide.tasks.count_reading import answered, read_counts

if TYPE_CHECKING:
    from fieldguide.evaluate.before_after import Side
    from fieldguide.evaluate.counting import CountSheet, Exact
    from fieldguide.evaluate.fractions import Point


#: What one that can write nothing but counts is called.
_HELD = "held to the form"


def counting_terms(asked: Asked, old: Asked) -> dict[str, Any]:
    """Return what an older study said of its task, and of values and exactness unless something else is asked for now: they change no answer."""
    exact = asked.exact if "exact" in asked.model_fields_set else old.exact
    return {"task": old.task, "count": old.count, "worth": asked.worth or old.worth, "exact": exact}


@dataclass
class _Pile:
    """What has been scored so far: every run's answers, the scores of those on all training pictures, and points by number of pictures."""

    sheets: dict[str, CountSheet] = field(default_factory=dict)
    compared: dict[str, dict[str, Any]] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    by_chance: dict[str, bool] = field(default_factory=dict)

    def add(self, run: Path, scored: dict[str, Any], sheet: CountSheet, fraction: float) -> None:
        """Take in what `run` counted, fitted on `fraction` (0 to 1) of the training pictures."""
        from fieldguide.evaluate.counting_pairs import as_labels
        from fieldguide.evaluate.fractions import Point

        self.sheets[run.name] = sheet
        if (run / "fit.json").exists():
            pictures = int(read_own(run / "fit.json").get("n_train", 0))
            name = run.name.rpartition("@")[0] if fraction < 1 else run.name
            self.points.append(Point(name, fraction, pictures, as_labels(sheet, sheet.right, sheet.answered), scored))
        if fraction < 1:
            return
        self.compared[run.name] = scored
        if (run / "cost.json").exists() and (by_chance := read_own(run / "cost.json").get("by_chance")) is not None:
            self.by_chance[run.name] = bool(by_chance)


def score_counted(folder: Path, manifest: Manifest) -> None:
    """Score the study in `folder` and compare its contestants; those on a part of the training pictures have scores and are not compared.

    What further seeds counted is scored like the rest, and told beside it.

    Raises `UsageProblem` where a value is given for a class that the study does not count.
    """
    from fieldguide.evaluate.counting import count_sheet, score_count_run
    from fieldguide.evaluate.counting_pairs import compare_counts
    from fieldguide.evaluate.counting_repeated import counted_again, growth_of_counts, with_count_seeds

    asked = read_own_toml(folder / "study.toml")
    task = _task(folder, manifest)
    worth = values(asked.get("worth", ()), task)
    exact: Exact = "text" if asked.get("exact") == "text" else "counts"
    pile, talking = _Pile(), list[Spoken]()
    for run in sorted(path.parent for path in (folder / "runs").glob("*/predictions.parquet")):
        sweep(run)
        settings, predictions = read_own_toml(run / "settings.toml"), read_predictions(run / "predictions.parquet")
        written = _written(settings, task, run / "model" / "asked.json")
        say = partial(task.say, written=written)
        scores_of = partial(score_count_run, run.name, manifest=manifest, worth=worth, say=say, exact=exact)
        again = {seed: scores_of(told) for seed, told in further_answers(run).items()}
        scored = with_count_seeds(scores_of(predictions), manifest.seed, again)
        write_json(run / "scores.json", scored)
        sheet = count_sheet(run.name, predictions, manifest.part("test"), manifest.classes, say, exact)
        pile.add(run, scored, sheet, float(settings.get("fraction", 1.0)))
        if run.name in pile.compared and (
            one := spoken(run, partial(_side, run, predictions, manifest, sheet, written), _HELD)
        ):
            talking.append(one)
    sheets = [pile.sheets[run] for run in pile.compared]
    for name in ("suspects.json", "causes.json", "kinds.json", "slices.json", *(() if sheets else ("comparison.json",))):
        (folder / name).unlink(missing_ok=True)
    write_before_after(folder, talking, worth if worth.keys() >= set(manifest.classes) else None)
    if sheets:
        scores = [pile.compared[run] for run in pile.compared]
        comparison = compare_counts(sheets, manifest, scores)
        comparison |= counted_again(scores, comparison["order"], pile.by_chance)
        comparison |= growth_of_counts(pile.points, pile.sheets, comparison["alpha"])
        write_json(folder / "comparison.json", comparison)


def values(given: Any, task: Count) -> dict[str, float]:
    """Return what one of each class is worth by class id; it may be given by id or by name."""
    found = {}
    for name, number in worths(given).items():
        id = task.names.strict(name)
        if id is None:
            raise UsageProblem(
                f"There is no class {plain(name)!r} that could be worth {number:g}.",
                allowed_names(name, [*task.ids, *(info.name for info in task.classes)], most=20),
                "Correct --worth.",
            )
        found[id] = number
    return found


def _task(folder: Path, manifest: Manifest) -> Count:
    """Return the task under the names of ``classes.toml``; where it has gone, the ids are all the names there are."""
    path = folder / "classes.toml"
    return Count(read_classes(path, manifest.classes) if path.exists() else tuple(ClassInfo(id, id) for id in manifest.classes))


def _written(settings: Mapping[str, Any], task: Count, asked: Path) -> Written:
    """Return how the right answer is written to the question that a contestant was asked; in one line, where it names none.

    `asked` is the question as a model kept it, which a file of the user's own has no other trace of.
    """
    try:
        return CountPrompt.model_validate_json(asked.read_bytes()).written(task)
    except (OSError, ValueError):  # no model, or one that was asked nothing
        pass
    own = settings.get("settings")
    named = own.get("prompt") if isinstance(own, Mapping) else None
    return read_count_prompt(named).written(task) if named in count_prompt_names() else PLAIN


def _side(
    run: Path, predictions: Sequence[Prediction], manifest: Manifest, sheet: CountSheet, written: Written, how: str
) -> Side:
    """Return what a language model counted, also with words around the numbers allowed, where some answers hold such."""
    from fieldguide.evaluate.before_after import counted_side
    from fieldguide.evaluate.counting import count_sheet

    task = Count(task_of(run, manifest).classes)
    freer = [_freely(one, task, written) for one in predictions]
    wider = count_sheet(run.name, freer, manifest.part("test"), manifest.classes)
    return counted_side(sheet, wider if wider.answered.sum() > sheet.answered.sum() else None)


def _freely(one: Prediction, task: Count, written: Written) -> Prediction:
    """Return an answer that gave no counts read again, among other words; as it is where it was cut, or never came."""
    if one.counts is not None or one.raw is None or one.error is None or not answered(one.error):
        return one
    found = read_counts(one.raw, task, "json", zeros=written.zeros)
    return one if found.counts is None else dataclasses.replace(one, counts=found.counts, error=None)
