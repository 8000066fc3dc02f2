"""One contestant's folder: fit it, let it answer, note what it cost. Everything is a file that is whole or absent.

    runs/<contestant>/settings.toml · model/ · log.jsonl · predictions.parquet · scores.json · cost.json, or failed.json
    runs/<contestant>/scratch/       checkpoints and the journal of answers, while it runs

A kill leaves finished files and the scratch folder; the same call goes on from there. In a cross-validated study each fold
has its own ``folds/<k>/`` with model, log and predictions; ``model/`` is then fitted on all pictures. Where a study asks for several
seeds, each after its own has ``seeds/<seed>/`` with log and predictions: they say how much chance moves a score. Their models
would be as large as the first one and are asked for by nobody, so each goes as soon as its answers are whole.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fieldguide import families, processes
from fieldguide.bench import Bench, Progress, read_log
from fieldguide.consenting import Allowance
from fieldguide.costing import write_cost
from fieldguide.data.answer_files import read_answers
from fieldguide.data.classes import write_classes
from fieldguide.data.count_answers import read_count_answers
from fieldguide.data.portion import portion
from fieldguide.data.store import Store
from fieldguide.data.tables import prediction_from, read_predictions, write_predictions
from fieldguide.data.texts import read_texts
from fieldguide.data.veil import hatch, window
from fieldguide.described import described, same_settings
from fieldguide.errors import DataProblem, Problem, UsageProblem, plain
from fieldguide.failures import fail, problem_of, require_answered
from fieldguide.families import Contestant, Fitted
from fieldguide.files import UNFINISHED, building, damaged, read_own, sweep, write_json, writing
from fieldguide.records import SCHEMA_VERSION, Example, Image, Manifest, ManifestRow, Prediction
from fieldguide.tasks.count import Task
from fieldguide.tracking import Tracker, nobody

#: Answers are journalled in chunks of this many pictures, always cut at the same places, so that a resumed run forms the same batches.
CHUNK = 512
#: The answers of language models, kept for all contestants of a study.
ANSWERS = "answers.sqlite"


@dataclass(frozen=True)
class Table:
    """What all contestants of a study share while they run."""

    folder: Path
    manifest: Manifest
    task: Task
    store: Store
    seed: int
    device: str
    online: bool
    progress: Progress
    seeds: int = 1
    tracker: Tracker = nobody
    allowance: Allowance = field(default_factory=Allowance)

    @property
    def answers(self) -> Path:
        """The file in which answers that were paid for are kept."""
        return self.folder / ANSWERS


def run(entry: Contestant, table: Table) -> str:
    """Bring one contestant to whole predictions; return ``"reused"``, ``"done"`` or ``"failed"``.

    What a contestant raises becomes its ``failed.json``, so that the others go on; the same command tries it again.
    """
    folder = table.folder / "runs" / entry.name
    folder.mkdir(parents=True, exist_ok=True)
    for place in (folder, *folder.glob("seeds/*")):
        sweep(place)
    if whole(folder, further_seeds(entry, table.seed, table.seeds)):
        same_settings(entry, table, folder)
        shutil.rmtree(folder / "scratch", ignore_errors=True)  # a kill may have come between the last file and this
        return "reused"
    same_settings(entry, table, folder)
    (folder / "failed.json").unlink(missing_ok=True)
    try:
        if not whole(folder):
            _fit_and_answer(entry, table, folder)
        shutil.rmtree(folder / "scratch", ignore_errors=True)
        _again_with_seeds(entry, table, folder)
    except (Exception, MemoryError) as error:
        fail(folder, problem_of(error, folder, table.manifest))
        if processes.several():  # the others may wait for a step that never comes: all end, and the same command goes on
            raise
        return "failed"
    return "done"


def further_seeds(entry: Contestant, seed: int, seeds: int) -> tuple[int, ...]:
    """Return the seeds after `seed` that `entry` is fitted with where `seeds` are asked for: none where chance plays no part."""
    return tuple(range(seed + 1, seed + seeds)) if seeds > 1 and families.by_chance(entry) else ()


def whole(folder: Path, seeds: Iterable[int] = ()) -> bool:
    """Tell whether a contestant's folder holds all that later steps read, for these further `seeds` too."""
    own = all((folder / name).exists() for name in ("settings.toml", "model", "predictions.parquet", "cost.json"))
    return own and all(settled(folder / "seeds" / str(seed)) for seed in seeds)


def settled(place: Path) -> bool:
    """Tell whether the folder of a further seed is whole: its answers are there, its model has gone, which is the last step."""
    return (place / "predictions.parquet").exists() and not (place / "model").exists()


def _fit_and_answer(entry: Contestant, table: Table, folder: Path) -> None:
    manifest = table.manifest
    if manifest.folds:
        pooled, spent = [], []
        for fold in range(manifest.folds):
            part = folder / "folds" / str(fold)
            val = manifest.part(fold=(fold + 1) % manifest.folds)
            train = [row for row in manifest.part() if row.fold not in (fold, (fold + 1) % manifest.folds)]
            fitted = _fitted(entry, table, part, train, val)
            pooled += _answers(fitted, entry, table, part, manifest.part(fold=fold))
            spent.append(read_own(part / "fit.json"))
        val, train = manifest.part(fold=0), [row for row in manifest.part() if row.fold != 0]
        _fitted(entry, table, folder, train, val)
        write_predictions(folder / "predictions.parquet", sorted(pooled, key=lambda answer: answer.image))
        spent.append(read_own(folder / "fit.json"))
    else:
        pooled = _fitted_and_answered(entry, table, folder)
        spent = [read_own(folder / "fit.json")]
    write_cost(entry, table, folder, pooled, spent)


def _fitted_and_answered(entry: Contestant, table: Table, folder: Path, draw: int | None = None) -> list[Prediction]:
    """Fit on the training part, or the portion that `entry` gets of it, and answer for validation and test, all in `folder`.

    The portion is drawn with the seed `draw` (the table's if not given): with another seed a contestant sees the same pictures.
    """
    manifest = table.manifest
    train = portion(manifest.part("train"), entry.fraction, table.seed if draw is None else draw)
    fitted = _fitted(entry, table, folder, train, manifest.part("val"))
    return _answers(fitted, entry, table, folder, [row for row in manifest.part() if row.split in ("val", "test")])


def _again_with_seeds(entry: Contestant, table: Table, folder: Path) -> None:
    """Fit and answer with every further seed that is not settled yet."""
    further = further_seeds(entry, table.seed, table.seeds)
    if table.seeds > 1 and not further:
        table.progress.say(f"{entry.name} answers the same at any seed, so it is not repeated with further ones.")
    missing = [seed for seed in further if not settled(folder / "seeds" / str(seed)) and not table.manifest.folds]
    with table.progress.bar("further seeds", len(missing)) as bar:
        for seed in missing:
            place = folder / "seeds" / str(seed)
            if not (place / "predictions.parquet").exists():
                _fitted_and_answered(entry, dataclasses.replace(table, seed=seed), place, draw=table.seed)
            require_answered(place, seed, folder)
            _recount(folder)
            shutil.rmtree(place / "scratch", ignore_errors=True)
            # The folder is settled in one step; what is left of the model is swept by the next run.
            gone = place / f"{UNFINISHED}{secrets.token_hex(4)}-model"
            os.replace(place / "model", gone)
            shutil.rmtree(gone, ignore_errors=True)
            bar.advance(note=f"seed {seed}")


def _examples(rows: Sequence[ManifestRow], table: Table) -> list[Example]:
    veiled = window(table.store)
    if table.manifest.task == "count":
        return [Example(Image(row.key, veiled), counts=dict(row.counts or ())) for row in rows]
    return [Example(Image(row.key, veiled), row.label) for row in rows]


def _fitted(entry: Contestant, table: Table, folder: Path, train: Sequence[ManifestRow], val: Sequence[ManifestRow]) -> Fitted:
    """Return the fitted contestant of `folder`: loaded if it is whole, else fitted (from its checkpoint, if there is one)."""
    room = families.family(entry.family)
    if (folder / "model").exists():
        return at(_loaded(entry.family, folder / "model"), bench_of(entry, table, folder, train))
    if families.learns(entry) and not train:
        raise UsageProblem(
            f"{entry.family} learns from pictures, but this study has none to train on (split = test-only).",
            "With test-only only contestants that learn nothing take part, such as recorded answers and zero-shot.",
            "Use --split 70/15/15 in a new study, or leave this contestant out.",
        )
    bench = bench_of(entry, table, folder, train)
    scratch = bench.scratch
    before = sum(event.get("seconds", 0.0) for event in read_log(scratch / "log.jsonl") if event["event"] == "epoch")
    bench.log("sitting")
    start = time.perf_counter()
    lists = (_examples(train, table), _examples(val, table))
    processes.announce(entry, *lists, bench)
    try:
        fitted = room.fit(*lists, table.task, entry.settings, bench)
    except Problem as problem:  # what was asked until then counts, too
        table.allowance.spend(problem)
        raise
    table.allowance.spend(fitted)
    seconds = before + time.perf_counter() - start
    table.store.flush()
    events = read_log(scratch / "log.jsonl")
    facts = {key: value for event in events if event["event"] == "fact" for key, value in event.items() if key != "event"}
    sittings = sum(event["event"] == "sitting" for event in events)
    with writing(folder / "log.jsonl") as temporary:
        shutil.copyfile(scratch / "log.jsonl", temporary)
    write_json(folder / "fit.json", {"seconds": seconds, "sittings": sittings, "facts": facts, "n_train": len(train)})
    with building(folder / "model") as model:
        fitted.save(model)
        write_classes(model / "classes.toml", table.task.classes)
        write_json(model / "fieldguide.json", {"schema": SCHEMA_VERSION, **described(entry, table), "classes": table.task.ids})
    return fitted


def bench_of(entry: Contestant, table: Table, folder: Path, train: Sequence[ManifestRow]) -> Bench:
    """Return the bench that `entry` works at in `folder`."""
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return Bench(
        scratch,
        table.seed,
        table.device,
        table.online,
        table.progress,
        hatch(lambda path: (read_count_answers if table.manifest.task == "count" else read_answers)(path, table.manifest)),
        table.folder / "store",
        hatch(lambda event, values: table.tracker(entry.name, event, values)),
        texts=hatch(lambda source: read_texts(table.folder, source).only({row.key for row in train})),
        answers=table.answers,
        limit=table.allowance.left,
        consented=table.allowance.agreed(families.where(entry)),
        contestant=entry.name,
    )


def at(fitted: Fitted, bench: Bench) -> Fitted:
    """Return what was loaded at the bench of this sitting, where it makes a difference to it."""
    seated: Fitted = fitted.at(bench) if hasattr(fitted, "at") else fitted
    return seated


def _answers(fitted: Fitted, entry: Contestant, table: Table, folder: Path, rows: Sequence[ManifestRow]) -> list[Prediction]:
    """Return one answer for each row, journalled chunk by chunk; goes on after the last whole chunk."""
    target = folder / "predictions.parquet"
    if target.exists():
        return read_predictions(target)
    journal = folder / "scratch" / "answers.jsonl"
    journal.parent.mkdir(parents=True, exist_ok=True)
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    done, wall = _journalled(journal, chunks)
    answers = [answer for chunk in done for answer in chunk]
    with table.progress.bar("answer", len(rows)) as bar:
        bar.advance(len(answers))
        for chunk in chunks[len(done) :]:
            fresh, start = [], time.perf_counter()
            for answer in one_each(fitted, chunk, table.store):
                fresh.append(dataclasses.replace(answer, run=entry.name))
                bar.advance()
            _append(journal, fresh, time.perf_counter() - start)
            wall += time.perf_counter() - start
            answers += fresh
    table.store.flush()
    table.allowance.spend(fitted)
    note_answered(folder, fitted, wall)
    write_predictions(target, answers)
    return answers


def one_each(fitted: Fitted, rows: Sequence[ManifestRow], store: Store) -> Iterator[Prediction]:
    """Yield exactly one answer for each row, in order, whatever the family yields."""
    veiled = window(store)
    answers = fitted.predict(iter([Image(row.key, veiled) for row in rows]))
    for row in rows:
        answer = next(answers, None)
        if answer is not None and answer.image != row.key:
            raise DataProblem(
                "The family answered for pictures out of order.",
                "One answer for each image, in order.",
                "Run fieldguide.contract on it.",
            )
        yield answer or Prediction(row.key, error="no answer: the family stopped before this picture")


def note_answered(folder: Path, fitted: Fitted, seconds: float) -> None:
    """Note in ``fit.json`` how long answers were waited for, in seconds of wall time, and what showed while they came."""
    told, later = read_own(folder / "fit.json"), dict(getattr(fitted, "facts", {}))
    # What was noted when it was fitted is what was asked for; what showed later adds to that.
    facts = {
        **told["facts"],
        **{name: value for name, value in later.items() if name in ("notes", "prefix") or name not in told["facts"]},
    }
    write_json(folder / "fit.json", {**told, "facts": facts, "answer_wall_seconds": seconds})


def _append(journal: Path, answers: Sequence[Prediction], seconds: float = 0.0) -> None:
    lines = "".join(json.dumps(dataclasses.asdict(answer), ensure_ascii=False) + "\n" for answer in answers)
    with open(journal, "a", encoding="utf-8") as stream:
        stream.write(lines + json.dumps({"chunk": len(answers), "seconds": seconds}) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def _journalled(journal: Path, chunks: Sequence[Sequence[ManifestRow]]) -> tuple[list[list[Prediction]], float]:
    """Return the whole chunks of a journal and the seconds they took, and cut off what comes after them."""
    if not journal.exists():
        return [], 0.0
    done: list[list[Prediction]] = []
    open_chunk: list[Prediction] = []
    whole, wall = 0, 0.0
    with open(journal, "rb") as stream:
        for line in stream:
            try:
                values = json.loads(line)
            except ValueError:
                break
            if "chunk" not in values:
                open_chunk.append(prediction_from(values))
                continue
            if len(done) == len(chunks) or [answer.image for answer in open_chunk] != [row.key for row in chunks[len(done)]]:
                break
            done.append(open_chunk)
            wall += values.get("seconds", 0.0)
            open_chunk, whole = [], stream.tell()
    os.truncate(journal, whole)
    return done, wall


def _recount(folder: Path) -> None:
    """Let ``cost.json`` count the fits of all seeds that have answers."""
    fits = [folder / "fit.json", *(path.with_name("fit.json") for path in folder.glob("seeds/*/predictions.parquet"))]
    spent = [read_own(path) for path in sorted(fits)]
    seconds, sittings = (sum(part[key] for part in spent) for key in ("seconds", "sittings"))
    told = {"fits": len(spent), "fit_seconds": seconds, "sittings": sittings, "by_chance": True}
    write_json(folder / "cost.json", {**read_own(folder / "cost.json"), **told})


def load(folder: Path) -> Fitted:
    """Return the fitted contestant of ``STUDY/runs/NAME``; raises `UsageProblem` where there is none."""
    model = folder / "model"
    described = model / "fieldguide.json"
    if not described.exists():
        found = {str(path.parent.relative_to(folder)) for path in (*folder.glob("*/model"), *folder.glob("runs/*/model"))}
        raise UsageProblem(
            f"{plain(folder)} holds no fitted contestant.",
            "The folder of one contestant: STUDY/runs/NAME, after `fieldguide compare` has finished it.",
            f"Allowed here: {', '.join(sorted(found)) or 'nothing'}.",
        )
    return _loaded(str(read_own(described).get("family")), model)


def _loaded(family: str, model: Path) -> Fitted:
    """Load a fitted contestant; a model whose files are damaged is named, whatever the family trips over."""
    room = families.family(family)
    try:
        return room.load(model)
    except FileNotFoundError as error:
        raise damaged(model, f"a file is missing: {error}") from error
    except UsageProblem as problem:  # what was written down when it was fitted is nothing the user asks for now
        raise damaged(model, problem.given) from problem
    except (Problem, OSError, ImportError, MemoryError):
        raise
    except Exception as error:
        raise damaged(model, f"{type(error).__name__}: {error}") from error
