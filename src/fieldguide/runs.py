"""One contestant's folder: fit it, let it answer, note what it cost. Everything is a file that is whole or absent.

    runs/<contestant>/settings.toml · model/ · log.jsonl · predictions.parquet · scores.json · cost.json, or failed.json
    runs/<contestant>/scratch/       checkpoints and the journal of answers, while it runs

A kill leaves finished files and the scratch folder; the same call goes on from there. In a cross-validated study each fold
has its own ``folds/<k>/`` with model, log and predictions; ``model/`` is then fitted on all pictures.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldguide import families
from fieldguide.bench import Bench, Progress, cores, read_log
from fieldguide.data.answer_files import read_answers
from fieldguide.data.classes import write_classes
from fieldguide.data.store import Store
from fieldguide.data.tables import prediction_from, read_predictions, write_predictions
from fieldguide.data.veil import hatch, window
from fieldguide.errors import DataProblem, EnvironmentProblem, PictureError, Problem, UsageProblem, plain
from fieldguide.families import Contestant, Fitted
from fieldguide.files import (
    building,
    damaged,
    read_own,
    read_toml,
    sweep,
    system_problem,
    write_json,
    write_toml,
    writing,
)
from fieldguide.records import SCHEMA_VERSION, Example, Image, Manifest, ManifestRow, Prediction
from fieldguide.tasks.classify import Classify

#: Answers are journalled in chunks of this many pictures, always cut at the same places, so that a resumed run forms the same batches.
CHUNK = 512


@dataclass(frozen=True)
class Table:
    """What all contestants of a study share while they run."""

    folder: Path
    manifest: Manifest
    task: Classify
    store: Store
    seed: int
    device: str
    online: bool
    progress: Progress


def run(entry: Contestant, table: Table) -> str:
    """Bring one contestant to whole predictions; return ``"reused"``, ``"done"`` or ``"failed"``.

    What a contestant raises becomes its ``failed.json``, so that the others go on; the same command tries it again.
    """
    folder = table.folder / "runs" / entry.name
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    if whole(folder):
        _same_settings(entry, table, folder)
        shutil.rmtree(folder / "scratch", ignore_errors=True)  # a kill may have come between the last file and this
        return "reused"
    _same_settings(entry, table, folder)
    (folder / "failed.json").unlink(missing_ok=True)
    try:
        _fit_and_answer(entry, table, folder)
    except (Exception, MemoryError) as error:
        fail(folder, _problem(error, folder, table.manifest))
        return "failed"
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    return "done"


def whole(folder: Path) -> bool:
    """Tell whether a contestant's folder holds all that later steps read."""
    return all((folder / name).exists() for name in ("settings.toml", "model", "predictions.parquet", "cost.json"))


def fail(folder: Path, problem: Problem, state: str = "failed") -> None:
    """Write down why a contestant has no answers."""
    told = {"given": problem.given, "allowed": problem.allowed, "next": problem.next}
    write_json(folder / "failed.json", {"schema": SCHEMA_VERSION, "state": state, **told})


def _problem(error: BaseException, folder: Path, manifest: Manifest) -> Problem:
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
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error).lower():
        return EnvironmentProblem(
            "Memory ran out.", "Less memory: a smaller batch_size or image_size.", "Set batch_size to half."
        )
    return Problem(
        f"{type(error).__name__}: {plain(error)}.",
        "This was not foreseen; the other contestants are not affected.",
        f"The details are in {folder.name}/run.log; the same command tries again.",
    )


def _described(entry: Contestant, table: Table) -> dict[str, Any]:
    return {
        "name": entry.name,
        "family": entry.family,
        "seed": table.seed,
        "manifest": table.manifest.hash,
        "settings": entry.settings.model_dump(mode="json"),
    }


def _same_settings(entry: Contestant, table: Table, folder: Path) -> None:
    """Write ``settings.toml``, or refuse a folder of the same name that was made with other settings."""
    path, wanted = folder / "settings.toml", _described(entry, table)
    if not path.exists():
        write_toml(path, {**wanted, "versions": versions()})
        return
    try:
        have = read_toml(path)
    except ValueError as error:  # TOML that is cut, or no UTF-8
        raise damaged(path, error) from error
    old, new = have.get("settings", {}), {key: value for key, value in wanted["settings"].items() if value is not None}
    changed = [
        f"{key} was {old.get(key)!r}, is {new.get(key)!r}" for key in sorted({*old, *new}) if old.get(key) != new.get(key)
    ]
    changed += [
        f"{key} was {have.get(key)!r}, is {wanted[key]!r}"
        for key in ("family", "seed", "manifest")
        if have.get(key) != wanted[key]
    ]
    if changed:
        raise UsageProblem(
            f"runs/{entry.name} was made with other settings: {plain('; '.join(changed))}.",
            "A name stands for one set of settings; nothing is overwritten.",
            f"Give the new contestant another name in study.toml, or delete {folder} to run it afresh.",
        )


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
        fitted = _fitted(entry, table, folder, manifest.part("train"), manifest.part("val"))
        pooled = _answers(fitted, entry, table, folder, [row for row in manifest.part() if row.split in ("val", "test")])
        spent = [read_own(folder / "fit.json")]
    _cost(table, folder, pooled, spent)


def _examples(rows: Sequence[ManifestRow], table: Table) -> list[Example]:
    veiled = window(table.store)
    return [Example(Image(row.key, veiled), row.label) for row in rows]


def _fitted(entry: Contestant, table: Table, folder: Path, train: Sequence[ManifestRow], val: Sequence[ManifestRow]) -> Fitted:
    """Return the fitted contestant of `folder`: loaded if it is whole, else fitted (from its checkpoint, if there is one)."""
    room = families.family(entry.family)
    if (folder / "model").exists():
        return _loaded(entry.family, folder / "model")
    if room.LEARNS and not train:
        raise UsageProblem(
            f"{entry.family} learns from pictures, but this study has none to train on (split = test-only).",
            "With test-only only contestants that learn nothing take part, such as recorded answers.",
            "Use --split 70/15/15 in a new study, or leave this contestant out.",
        )
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    recorded = hatch(lambda path: read_answers(path, table.manifest))
    bench = Bench(scratch, table.seed, table.device, table.online, table.progress, recorded)
    before = sum(event.get("seconds", 0.0) for event in read_log(scratch / "log.jsonl") if event["event"] == "epoch")
    bench.log("sitting")
    start = time.perf_counter()
    fitted = room.fit(_examples(train, table), _examples(val, table), table.task, entry.settings, bench)
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
        write_json(model / "fieldguide.json", {"schema": SCHEMA_VERSION, **_described(entry, table), "classes": table.task.ids})
    return fitted


def _answers(fitted: Fitted, entry: Contestant, table: Table, folder: Path, rows: Sequence[ManifestRow]) -> list[Prediction]:
    """Return one answer for each row, journalled chunk by chunk; goes on after the last whole chunk."""
    target = folder / "predictions.parquet"
    if target.exists():
        return read_predictions(target)
    journal = folder / "scratch" / "answers.jsonl"
    journal.parent.mkdir(parents=True, exist_ok=True)
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    done = _journalled(journal, chunks)
    answers = [answer for chunk in done for answer in chunk]
    with table.progress.bar("answer", len(rows)) as bar:
        bar.advance(len(answers))
        for chunk in chunks[len(done) :]:
            fresh = []
            for answer in _one_each(fitted, chunk, table.store):
                fresh.append(dataclasses.replace(answer, run=entry.name))
                bar.advance()
            _append(journal, fresh)
            answers += fresh
    table.store.flush()
    write_predictions(target, answers)
    return answers


def _one_each(fitted: Fitted, rows: Sequence[ManifestRow], store: Store) -> Iterator[Prediction]:
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


def _append(journal: Path, answers: Sequence[Prediction]) -> None:
    lines = "".join(json.dumps(dataclasses.asdict(answer), ensure_ascii=False) + "\n" for answer in answers)
    with open(journal, "a", encoding="utf-8") as stream:
        stream.write(lines + json.dumps({"chunk": len(answers)}) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def _journalled(journal: Path, chunks: Sequence[Sequence[ManifestRow]]) -> list[list[Prediction]]:
    """Return the whole chunks of a journal and cut off what comes after them."""
    if not journal.exists():
        return []
    done: list[list[Prediction]] = []
    open_chunk: list[Prediction] = []
    whole = 0
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
            open_chunk, whole = [], stream.tell()
    os.truncate(journal, whole)
    return done


def _cost(table: Table, folder: Path, answers: Sequence[Prediction], spent: Sequence[dict[str, Any]]) -> None:
    seconds = [answer.seconds for answer in answers if answer.seconds is not None]
    facts = spent[-1]["facts"]
    write_json(
        folder / "cost.json",
        {
            "schema": SCHEMA_VERSION,
            "fit_seconds": sum(part["seconds"] for part in spent),
            "fits": len(spent),
            "sittings": sum(part["sittings"] for part in spent),
            "predict_seconds": sum(seconds) if seconds else None,
            "predicted": len(answers),
            "ms_per_image": 1000 * sum(seconds) / len(seconds) if seconds else None,
            "parameters": facts.get("parameters"),
            "trained_parameters": facts.get("trained_parameters"),
            "precision": facts.get("precision"),
            "model_bytes": sum(path.stat().st_size for path in (folder / "model").rglob("*") if path.is_file()),
            "device": table.device,
            "money": None,
        },
    )


def load(folder: Path) -> Fitted:
    """Return the fitted contestant of ``STUDY/runs/NAME``; raises `UsageProblem` where there is none."""
    model = folder / "model"
    described = model / "fieldguide.json"
    if not described.exists():
        raise UsageProblem(
            f"{plain(folder)} holds no fitted contestant.",
            "The folder of one contestant: STUDY/runs/NAME, after `fieldguide compare` has finished it.",
            f"Allowed here: {', '.join(sorted(path.parent.name for path in folder.glob('*/model'))) or 'nothing'}.",
        )
    return _loaded(str(read_own(described).get("family")), model)


def _loaded(family: str, model: Path) -> Fitted:
    """Load a fitted contestant; a model whose files are damaged is named, whatever the family trips over."""
    room = families.family(family)
    try:
        return room.load(model)
    except (Problem, OSError, ImportError, MemoryError):
        raise
    except Exception as error:
        raise damaged(model, f"{type(error).__name__}: {error}") from error


def versions() -> dict[str, str]:
    """Return the versions of what a number depends on."""
    packages = (
        "fieldguide",
        "torch",
        "torchvision",
        "timm",
        "scikit-learn",
        "cleanlab",
        "numpy",
        "scipy",
        "pillow",
        "safetensors",
    )
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def environment(device: str) -> dict[str, Any]:
    """Return what the machine is, in words that do not identify it."""
    return {
        "schema": SCHEMA_VERSION,
        "python": sys.version.split()[0],
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
        "device": device,
        "versions": versions(),
    }
