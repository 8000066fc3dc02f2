"""The page: source -> examine -> split -> fit -> predict -> score -> report.

Everything before the scores writes files, everything after reads them; so the same call goes on where it was stopped.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fieldguide import asking_again, processes, runs
from fieldguide import gather as gathering
from fieldguide import plan as planning
from fieldguide.asked import Asked, Entry, Terms, study_folder
from fieldguide.bench import Progress, Silent
from fieldguide.data.examine import examine
from fieldguide.data.split import SplitShape, shape
from fieldguide.data.store import Originals, Spare, Store
from fieldguide.data.tables import read_manifest
from fieldguide.data.texts import lacking
from fieldguide.data.texts.importing import bring
from fieldguide.data.texts.importing import sources as text_sources
from fieldguide.errors import DONE, PARTLY, DataProblem, Problem, UsageProblem, plain
from fieldguide.failures import fail
from fieldguide.families import Contestant, Sizes
from fieldguide.files import read_own, read_toml, sweep, told_plainly, write_json, write_toml
from fieldguide.locked import Locked
from fieldguide.machine import device, environment
from fieldguide.measuring import measure_pictures, require_by_hand
from fieldguide.records import Manifest, Sending
from fieldguide.report.wanted import DRAWN, REPORT, Drawn, Wanted
from fieldguide.scoring import score as _score
from fieldguide.scoring_counts import counting_terms
from fieldguide.sending import Call, agree, foreseen
from fieldguide.settings import build
from fieldguide.tasks.count_reading import answered
from fieldguide.text_ways import compare_ways
from fieldguide.tracking import tracker

#: Thumbnails of the report are cut from pixels of at least this size.
THUMBNAIL = 160


@dataclass(frozen=True)
class Study:
    """A finished study folder. `outcomes` says for each contestant whether it was done now, re-used, failed or not run."""

    folder: Path
    manifest: Manifest
    outcomes: dict[str, str] = field(default_factory=dict)
    store_hits: int = 0
    store_misses: int = 0
    drawn: Drawn = field(default_factory=Drawn)

    @property
    def comparison(self) -> dict[str, Any]:
        """What was found, as in ``comparison.json``; empty where no contestant has answers."""
        path = self.folder / "comparison.json"
        return read_own(path) if path.exists() else {}

    @property
    def verdict(self) -> str:
        """The one sentence."""
        return str(self.comparison.get("verdict", "No contestant has answered."))

    @property
    def report(self) -> Path:
        """Path of the report."""
        return self.folder / "report.html"

    def scores(self, run: str) -> dict[str, Any]:
        """Return the scores of one contestant, as in its ``scores.json``."""
        return read_own(self.folder / "runs" / run / "scores.json")

    def cost(self, run: str) -> dict[str, Any]:
        """Return what one contestant cost, as in its ``cost.json``; empty where it failed after its last answer."""
        path = self.folder / "runs" / run / "cost.json"
        return read_own(path) if path.exists() else {}

    def failure(self, run: str) -> dict[str, Any]:
        """Return why one contestant has no answers; empty where it has."""
        path = self.folder / "runs" / run / "failed.json"
        return read_own(path) if path.exists() else {}

    @property
    def left_open(self) -> tuple[str, ...]:
        """A sentence for each contestant with questions that are still to be answered."""
        return tuple(asking_again.told(self.folder))

    @property
    def exit_code(self) -> int:
        """0, or 3 where a contestant failed or answers are missing."""
        failed = any(outcome in ("failed", "not run", "partly") for outcome in self.outcomes.values())
        return PARTLY if failed or _failures(self) or self.left_open else DONE


@dataclass(frozen=True)
class DryRun:
    """What would run: the split that was made, each contestant with its expected cost or its obstacle, those `done`, what is sent elsewhere."""

    folder: Path
    shape: SplitShape
    planned: tuple[planning.Planned, ...]
    store_bytes: int
    done: tuple[str, ...] = ()
    sendings: tuple[Sending, ...] = ()


def read_asked(source: str, out: Path | None, **given: Any) -> tuple[Asked, Path]:
    """Return the settings and the study folder; `source` is pictures or a ``study.toml``, `given` come before the file's."""
    values: dict[str, Any] = {"source": source}
    where = "The command"
    if source.endswith(".toml"):
        path = Path(source)
        if not path.is_file():
            raise UsageProblem(
                f"There is no file {plain(source)}.", "A study.toml, or a folder of pictures.", "Correct the path."
            )
        values, where = _toml(path), str(path)
        if "source" in values and "://" not in str(values["source"]) and not str(values["source"]).startswith("hf:"):
            values["source"] = str((path.parent / str(values["source"])).resolve())
        out = out or (path.parent if (path.parent / "manifest.parquet").exists() else study_folder(path.stem))
    elif not source.startswith("hf:"):
        values["source"] = os.path.realpath(os.path.expanduser(source))  # also of links that lead in a circle
    values.update({key: value for key, value in given.items() if value not in (None, ())})
    return build(Asked, values, where), out or study_folder(source)


@told_plainly()
def compare(
    asked: Asked,
    folder: Path,
    *,
    online: bool = False,
    extend: bool = False,
    track: str | None = None,
    terms: Terms | None = None,
    progress: Progress | None = None,
) -> Study:
    """Do the whole page and return the finished study; goes on where an earlier call was stopped.

    `track` names who hears every event of every contestant (`fieldguide.tracking`). `terms`: whether pictures may be sent to other
    machines, and how many questions may be put.
    """
    progress = progress or Silent()
    processes.meet()
    if processes.helping():
        processes.help_with(folder)
        return Study(folder, read_manifest(folder / "manifest.parquet"))
    told = tracker(track, folder, progress)
    gathering.require_source(asked, folder)
    with Locked(folder):
        named, asked = asked.contestants, _settled(asked, folder)
        contestants = list(planning.read_contestants(asked.contestants))
        _require_one_split(asked, contestants)
        _say_kept(named, contestants, asked, folder, progress)
        with progress.bar("load libraries", 1):  # the first look at a network imports them, which takes seconds
            obstacles = _obstacles(contestants, asked, folder, online)
            wanted = planning.sizes_wanted(c for c in contestants if c.name in obstacles and obstacles[c.name] is None)
        runnable = [c for c in contestants if not obstacles.get(c.name)]
        allowed = agree(runnable, asked, folder, Call(terms or Terms(), online, extend), progress)
        source = gathering.source_of(asked, folder, online)
        manifest = gathering.gather(source, asked, folder, _sizes(wanted), extend=extend, progress=progress)
        require_by_hand(folder, manifest)
        bring(folder, asked.texts, manifest, gathering.task_of(folder, manifest).classes)
        contestants = contestants or list(_preset(asked, folder, manifest, online))
        asked = asked.model_copy(update={"contestants": planning.entries(contestants)})
        write_toml(folder / "study.toml", asked.model_dump(mode="json"))
        write_json(folder / "environment.json", environment(device()))
        unfinished = [c for c in contestants if not obstacles.get(c.name) and not _whole(c, asked, folder)]
        gathering.require_room(asked, folder, manifest, planning.sizes_wanted(unfinished))
        store = gathering.store_of(source, asked, folder, manifest, progress)
        task = gathering.task_of(folder, manifest)
        table = runs.Table(folder, manifest, task, store, asked.seed, device(), online, progress, asked.seeds, told, allowed)
        outcomes = {}
        with progress.bar("contestants", len(contestants)) as bar:
            for contestant in contestants:
                bar.advance(0, note=contestant.name)
                outcomes[contestant.name] = _one(contestant, table, obstacles.get(contestant.name))
                bar.advance()
        processes.part()
        measure_pictures(folder, manifest, Spare(Store(folder / "store"), store.originals), progress)
        compare_ways(folder, manifest, store, progress)
        _score(folder, manifest)
        drawn = _draw(folder, store.originals)
    return Study(folder, manifest, outcomes, store.hits, store.misses, drawn)


@told_plainly()
def dry_run(asked: Asked, folder: Path, *, online: bool = False, progress: Progress | None = None) -> DryRun:
    """Examine and split without keeping anything, and estimate what every contestant would cost."""
    with tempfile.TemporaryDirectory() as scratch:
        source = gathering.source_of(asked, Path(scratch), online)
        examination = examine(source, progress=progress or Silent(), care=gathering.care_of(asked))
    manifest = gathering.shape_rows(examination.rows, asked, source.counted)
    sizes, task = _sizes_of(manifest), gathering.proposed_task(manifest)
    contestants = planning.read_contestants(asked.contestants)
    contestants = contestants or planning.choose(asked.preset or "quick", task, sizes, online=online, device=device())
    done = tuple(contestant.name for contestant in contestants if _whole(contestant, asked, folder))
    planned = planning.estimates([c for c in contestants if c.name not in done], task, sizes, online, asked.seeds)
    planned = tuple(replace(p, problem=p.problem or _without_texts(p.contestant, asked, folder)) for p in planned)
    runnable = [entry.contestant for entry in planned if entry.problem is None]
    sent = foreseen(runnable, task, sizes, asked)
    room = gathering.store_bytes(manifest, _sizes(planning.sizes_wanted(runnable)))
    return DryRun(folder, shape(manifest, gathering.rule_of(asked)), planned, room, done, sent)


@told_plainly()
def redraw(folder: Path, wanted: Wanted = REPORT, progress: Progress | None = None) -> Study:
    """Score and draw again, from the files alone; `wanted` is what is drawn beside the report."""
    from fieldguide.report.editions import require

    require_study(folder)
    with Locked(folder):
        require(folder, wanted)
        manifest = read_manifest(folder / "manifest.parquet")
        originals = gathering.originals_of(folder, manifest)
        measure_pictures(folder, manifest, Spare(Store(folder / "store"), originals), progress)
        _score(folder, manifest)
        drawn = _draw(folder, originals, wanted)
    return Study(folder, manifest, drawn=drawn)


def require_study(folder: Path) -> None:
    """Raise `UsageProblem` where `folder` holds no study."""
    if not (folder / "manifest.parquet").exists():
        raise UsageProblem(
            f"{plain(folder)} is no study folder.",
            "A folder that `fieldguide compare` made; it holds study.toml and manifest.parquet.",
            "fieldguide compare PHOTOS/ --out STUDY/",
        )


def _settled(asked: Asked, folder: Path) -> Asked:
    """Return what to do in `folder`: an older study there must be of the same pictures and split; its contestants stay."""
    path = folder / "study.toml"
    if not (folder / "manifest.parquet").exists():
        _refuse_foreign(folder)
        return asked
    if not path.exists():
        raise DataProblem(
            f"There is a manifest.parquet in {plain(folder)}, but no study.toml: what it was made for is not known.",
            "The list of a study and its settings stand side by side.",
            "Restore study.toml, or choose another folder with --out.",
        )
    old = build(Asked, _toml(path), str(path))
    for name in ("source", "split", "folds", "seed", "alike", "leaks", *sorted(asked.model_fields_set & {"task", "count"})):
        was, now = getattr(old, name), getattr(asked, name)
        if was != now:
            raise UsageProblem(
                f"{folder} is a study with {name} = {plain(was)}; now {name} = {plain(now)} was asked for.",
                "A study keeps its pictures and its split; allowed is the same, or another folder.",
                f"Add --out ANOTHER-FOLDER, or --{name} {plain(was)}" if name != "source" else "Add --out ANOTHER-FOLDER",
            )
    named = planning.read_contestants(asked.contestants)
    kept = [entry for entry in planning.read_contestants(old.contestants) if entry.name not in {new.name for new in named}]
    update = {
        "contestants": planning.entries([*kept, *named]),
        "preset": asked.preset or old.preset,
        "recipe": asked.recipe or old.recipe,
        "texts": tuple(dict.fromkeys((*old.texts, *asked.texts))),
    }
    return asked.model_copy(update={**update, **counting_terms(asked, old), "seeds": _seeds(asked, old, folder)})


def _say_kept(
    named: Sequence[Entry | str], contestants: Iterable[Contestant], asked: Asked, folder: Path, progress: Progress
) -> None:
    """Say which contestants of an earlier call are still to be done: they are fitted too, though this call did not name them."""
    known = {contestant.name for contestant in planning.read_contestants(named)}
    kept = [
        contestant.name for contestant in contestants if contestant.name not in known and not _whole(contestant, asked, folder)
    ]
    if named and kept:
        progress.say(f"Also asked for in {folder / 'study.toml'}, and not finished yet, so done now: {', '.join(kept)}.")


def _seeds(asked: Asked, old: Asked, folder: Path) -> int:
    """Return the number of seeds: it can grow, and where nothing is said it stays as it is."""
    if asked.seeds >= old.seeds or "seeds" not in asked.model_fields_set:
        return max(asked.seeds, old.seeds)
    raise UsageProblem(
        f"{folder} is a study with seeds = {old.seeds}; now seeds = {asked.seeds} was asked for.",
        "Seeds can be added to a study, not taken away: what they found is part of it.",
        f"Add --out ANOTHER-FOLDER, or --seeds {old.seeds}, or leave --seeds out",
    )


def _require_one_split(asked: Asked, contestants: Iterable[Contestant]) -> None:
    """Raise where contestants on parts of the training pictures meet folds, which have no one training part."""
    cut = next((contestant for contestant in contestants if contestant.fraction < 1), None)
    if asked.folds and cut is not None:
        raise UsageProblem(
            f"{plain(cut.name)} is to be fitted on a part of the training pictures, but this study has {asked.folds} folds.",
            "Parts are taken of one training part: a study with a split.",
            "Leave --folds out, in another folder with --out",
        )


def _refuse_foreign(folder: Path) -> None:
    own = {"study.toml", "classes.toml", "findings.json", "store", "unpacked", "pictures", "networks"}
    names = {entry.name for entry in folder.iterdir()}
    if "study.toml" in names:  # a study whose list was damaged and taken away
        own |= {"source.json", "environment.json", "comparison.json", "suspects.json", "runs"} | DRAWN
        own |= {"measures.parquet", "causes.json", "causes.toml", "slices.json", "kinds.json", "explained.json", "texts"}
        own |= {"questions.json", "text_ways.json", "text_ratio.json", "text_ratio.csv", "translation.json"}
        own |= {f"{runs.ANSWERS}{end}" for end in ("", "-wal", "-shm", "-journal")}
    foreign = sorted(name for name in names - own if not name.startswith("."))
    if foreign:
        raise UsageProblem(
            f"{folder} holds other things ({plain(foreign[0])}), so no study is written into it.",
            "Allowed: a new folder, an empty one, or a study of the same pictures.",
            "Add --out ANOTHER-FOLDER",
        )


def _whole(contestant: Contestant, asked: Asked, folder: Path) -> bool:
    return runs.whole(folder / "runs" / contestant.name, runs.further_seeds(contestant, asked.seed, asked.seeds))


def _obstacles(contestants: Iterable[Contestant], asked: Asked, folder: Path, online: bool) -> dict[str, Problem | None]:
    """Return what stands in the way of each contestant that is not whole yet; what is whole needs nothing any more.

    Stops before hours of work for what can be known now. A package that is not installed is a named row instead.
    """
    found: dict[str, Problem | None] = {}
    for contestant in contestants:
        if _whole(contestant, asked, folder):
            continue
        problem = found[contestant.name] = planning.obstacle(contestant, online) or _without_texts(contestant, asked, folder)
        if problem is not None and not planning.missing_extra(problem):
            raise problem
    return found


def _without_texts(contestant: Contestant, asked: Asked, folder: Path) -> Problem | None:
    """Return the problem of a contestant of another task, or one that names texts which the study does not have and is not to get."""
    other = planning.other_task(contestant, asked.task)
    if other is not None:
        return other
    wanted = getattr(contestant.settings, "texts", None)
    return None if wanted in text_sources(asked.texts) else lacking(folder, wanted)


def _preset(asked: Asked, folder: Path, manifest: Manifest, online: bool) -> Sequence[Contestant]:
    task = gathering.task_of(folder, manifest)
    return planning.choose(asked.preset or "quick", task, _sizes_of(manifest), online=online, device=device())


def _sizes(wanted: Sequence[int]) -> tuple[int, ...]:
    return tuple(wanted) if max(wanted, default=0) >= THUMBNAIL else (*wanted, THUMBNAIL)


def _sizes_of(manifest: Manifest) -> Sizes:
    if manifest.folds:
        pictures = len(manifest.part())
        return Sizes(pictures * (manifest.folds - 2), pictures, pictures)
    return Sizes(len(manifest.part("train")), len(manifest.part("val")), len(manifest.part("test")))


def _one(contestant: Contestant, table: runs.Table, problem: Problem | None) -> str:
    if problem is not None:
        folder = table.folder / "runs" / contestant.name
        folder.mkdir(parents=True, exist_ok=True)
        fail(folder, problem, state="not run")
        return "not run"
    return asking_again.run(contestant, table)


def _draw(folder: Path, originals: Originals | None, wanted: Wanted = REPORT) -> Drawn:
    """Draw the report; pictures that were cleaned out of the store come from the source, where it is still there."""
    from fieldguide.report.editions import draw

    sweep(folder)
    return draw(folder, Spare(Store(folder / "store"), originals), wanted)


def _failures(study: Study) -> int:
    """Return how many test pictures have no answer; one in words that name no class is an answer, and wrong."""
    compared = study.comparison
    smaller = [point["run"] for line in compared.get("fractions", []) for point in line["points"]]
    failures = (study.scores(run)["parts"]["test"]["failures"] for run in {*compared.get("order", []), *smaller})
    return sum(count for told in failures for error, count in told.items() if not answered(error))


def _toml(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return read_toml(path)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageProblem(
            f"{plain(path)} is not valid TOML: {plain(error)}.",
            "A TOML file, as `fieldguide compare` writes it.",
            "Correct that line.",
        ) from error
