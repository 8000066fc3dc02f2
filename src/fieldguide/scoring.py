"""From answers to scores: every ``scores.json``, and the study's own files about what they come to, from the files of a study alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldguide.before_after import Spoken, named_side, spoken, write_before_after
from fieldguide.data.tables import read_predictions
from fieldguide.files import read_own, read_own_toml, sweep, write_json
from fieldguide.reading import further_answers, write_readings
from fieldguide.records import Manifest
from fieldguide.same_question import Key, asked_of, write_questions
from fieldguide.scoring_counts import score_counted

if TYPE_CHECKING:
    from fieldguide.evaluate.answers import AnswerSheet
    from fieldguide.evaluate.fractions import Point
    from fieldguide.evaluate.same_question import Asked


@dataclass
class _Pile:
    """What has been scored so far: contestants on all training pictures, and those on parts of them."""

    scores: list[dict[str, Any]] = field(default_factory=list)
    sheets: list[AnswerSheet] = field(default_factory=list)
    wider: list[AnswerSheet] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    by_chance: dict[str, bool] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    asked: dict[Key, list[Asked]] = field(default_factory=dict)
    spoken: list[Spoken] = field(default_factory=list)


def score(folder: Path, manifest: Manifest) -> None:
    """Score the study in `folder` and compare its contestants.

    Those fitted on a part of the training pictures stay out of the comparison: they answer another question, and every contestant
    more makes the corrected tests blinder.
    """
    from fieldguide.differing import write_differences
    from fieldguide.evaluate.causes import causes
    from fieldguide.evaluate.compare import compare
    from fieldguide.evaluate.fractions import growth
    from fieldguide.evaluate.metrics import chance, choose
    from fieldguide.evaluate.seeds import told
    from fieldguide.evaluate.subsets import doubts_of, with_and_without
    from fieldguide.evaluate.suspects import find_suspects

    if manifest.task == "count":
        score_counted(folder, manifest)
        return
    dropped = read_own_toml(folder / "study.toml").get("leaks") != "keep"
    pile = _scored(folder, manifest, dropped)
    write_differences(folder, manifest, pile.sheets, pile.scores, pile.kinds)
    write_questions(folder, pile.asked)
    write_before_after(folder, pile.spoken)
    if pile.sheets:
        comparison = compare(pile.sheets, chance(manifest), choose(pile.scores))
        suspects = find_suspects(pile.wider, comparison)
        comparison["subsets"] = with_and_without(pile.sheets, manifest.part("test"), doubts_of(suspects, dropped=dropped))
        comparison |= told(pile.scores, comparison["order"], pile.by_chance) | growth(pile.points, comparison["alpha"])
        write_json(folder / "suspects.json", suspects)
        write_json(folder / "comparison.json", comparison)
        write_json(
            folder / "causes.json", causes(folder, manifest, pile.sheets, comparison["alpha"], comparison["above_chance"])
        )
    else:
        for name in ("suspects.json", "comparison.json", "causes.json"):
            (folder / name).unlink(missing_ok=True)


def _scored(folder: Path, manifest: Manifest, dropped: bool) -> _Pile:
    """Write every ``scores.json`` and return what a comparison needs."""
    from fieldguide.differing import kind_of_run
    from fieldguide.evaluate.answers import sheet
    from fieldguide.evaluate.fractions import Point
    from fieldguide.evaluate.metrics import score_run
    from fieldguide.evaluate.seeds import with_seeds
    from fieldguide.evaluate.suspects import unseen

    test, new, pile = manifest.part("test"), unseen(manifest, dropped=dropped), _Pile()
    for run in sorted(path.parent for path in (folder / "runs").glob("*/predictions.parquet")):
        sweep(run)
        predictions = read_predictions(run / "predictions.parquet")
        scored = with_seeds(score_run(run.name, predictions, manifest), manifest.seed, further_answers(run), manifest)
        write_json(run / "scores.json", scored)
        settings = read_own_toml(run / "settings.toml")
        write_readings(run, predictions, manifest, settings)
        fraction = float(settings.get("fraction", 1.0))
        answered = sheet(run.name, predictions, test, manifest.classes)
        if (run / "fit.json").exists() and not manifest.folds:
            pictures = int(read_own(run / "fit.json").get("n_train", 0))
            pile.points.append(
                Point(run.name.rpartition("@")[0] if fraction < 1 else run.name, fraction, pictures, answered, scored)
            )
        if fraction < 1:
            continue
        pile.kinds[run.name] = kind_of_run(run, str(settings.get("family", "unknown")))
        if (asked := asked_of(run, predictions, manifest)) is not None:
            pile.asked.setdefault(asked[0], []).append(asked[1])
        if (said := spoken(run, partial(named_side, run, predictions, manifest, settings))) is not None:
            pile.spoken.append(said)
        pile.scores.append(scored)
        pile.sheets.append(answered)
        pile.wider.append(sheet(run.name, predictions, new, manifest.classes))
        by_chance = read_own(run / "cost.json").get("by_chance") if (run / "cost.json").exists() else None
        if by_chance is not None:
            pile.by_chance[run.name] = bool(by_chance)
    return pile
