"""Study files in, frozen view values out. Everything the report shows passes through here; nothing is computed anew."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fieldguide.bench import read_log
from fieldguide.data.classes import read_classes
from fieldguide.data.tables import read_manifest, read_predictions
from fieldguide.errors import DataProblem
from fieldguide.files import UNFINISHED, read_json, read_toml
from fieldguide.records import SCHEMA_VERSION, ClassInfo, Manifest
from fieldguide.report.audit_files import Audit, read_audits
from fieldguide.report.explained import Explained, read_explained
from fieldguide.report.prompted_files import Prompted, noted, read_prompted
from fieldguide.report.text_files import TextFiles, read_text_files

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """One contestant's answer for one picture; `probability` is that of `label`, where the family has probabilities.

    Where things are counted there are `counts` by class instead, and the text `raw` of who answers in words.
    """

    label: str | None
    probability: float | None
    error: str | None
    counts: Mapping[str, int] | None = None
    raw: str | None = None


@dataclass(frozen=True)
class Contestant:
    """One folder of ``runs/``: `state` is ``scored``, ``failed``, ``not run`` or ``unfinished``; `slot` its family's mark."""

    name: str
    family: str
    slot: int
    state: str
    spec: str = ""
    problem: Json | None = None
    test: Json | None = None
    val: Json | None = None
    cost: Json | None = None
    facts: Json = field(default_factory=dict)
    settings: Json = field(default_factory=dict)
    epochs: tuple[Json, ...] = ()
    chosen_epoch: int | None = None
    kept: Json = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict, repr=False)
    fraction: float = 1.0
    seeds: tuple[Json, ...] = ()
    spread: Json | None = None
    spread_mae: Json | None = None

    def metric(self, name: str, part: str = "test") -> Json | None:
        """Return one score of ``scores.json`` as it stands there, or `None`."""
        scores = self.test if part == "test" else self.val
        found: Json | None = (scores or {}).get("metrics", {}).get(name)
        return found


@dataclass(frozen=True)
class Study:
    """A finished study as the report sees it. `contestants` stand in leaderboard order, the ones without scores last.

    Those that were fitted on a part of the training pictures are not among them but in `parts`.
    """

    title: str
    manifest: Manifest
    classes: tuple[ClassInfo, ...]
    text: str | None
    asked: Json
    findings: Json | None
    comparison: Json | None
    environment: Json | None
    contestants: tuple[Contestant, ...]
    suspects: Json | None = None
    causes: Json | None = None
    parts: tuple[Contestant, ...] = ()
    explained: Explained | None = None
    kinds: Json | None = None
    slices: Json | None = None
    texts: TextFiles = field(default_factory=TextFiles)
    prompted: Mapping[str, Prompted] = field(default_factory=dict)
    questions: Json | None = None
    before_after: Json | None = None
    audits: Mapping[str, Audit] = field(default_factory=dict)

    @cached_property
    def scored(self) -> tuple[Contestant, ...]:
        """Contestants that have test scores, best first."""
        return tuple(contestant for contestant in self.contestants if contestant.state == "scored")

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each class id."""
        return {info.id: position for position, info in enumerate(self.classes)}

    @cached_property
    def names(self) -> dict[str, str]:
        """Display name of each class id."""
        return {info.id: info.name for info in self.classes}


#: Families whose mark never changes between reports; others take the free marks in order of their names.
KNOWN_FAMILIES = (
    "majority",
    "linear",
    "backbone",
    "vmamba",
    "dual_encoder",
    "text_adapter",
    "vlm_prompt",
    "vlm_lora",
    "recorded",
    "cascade",
)
MARKS = 12


def read_study(folder: Path) -> Study:
    """Read what a report needs of the study in `folder`; optional files may be absent.

    Raises `DataProblem` where the manifest is missing or a file is damaged or newer than this fieldguide.
    """
    manifest = read_manifest(folder / "manifest.parquet")
    known = folder / "classes.toml"
    classes = (
        read_classes(known, manifest.classes) if known.exists() else tuple(ClassInfo(name, name) for name in manifest.classes)
    )
    comparison = _json(folder / "comparison.json")
    wanted = frozenset(row.key for row in manifest.part("test"))
    index = {name: position for position, name in enumerate(manifest.classes)} if manifest.task == "classify" else None
    runs = folder / "runs"
    found = (
        sorted(path for path in runs.iterdir() if path.is_dir() and not path.name.startswith(UNFINISHED))
        if runs.is_dir()
        else []
    )
    settings = {path: _toml(path / "settings.toml") for path in found}
    slots = family_slots(str(values.get("family") or "unknown") for values in settings.values())
    every = [_contestant(path, settings[path], slots, wanted, index) for path in found]
    named = {path: c.name for path, c in zip(found, every, strict=True) if c.fraction == 1}
    unordered = [contestant for contestant in every if contestant.fraction == 1]
    order = {name: rank for rank, name in enumerate((comparison or {}).get("order", []))}
    states = ("scored", "failed", "not run", "unfinished")
    contestants = sorted(unordered, key=lambda c: (states.index(c.state), order.get(c.name, len(order)), -_accuracy(c), c.name))
    text = (folder / "study.toml").read_text(encoding="utf-8", errors="replace") if (folder / "study.toml").exists() else None
    asked = _toml(folder / "study.toml")
    return Study(
        title=_title(asked, folder),
        manifest=manifest,
        classes=classes,
        text=text,
        asked=asked,
        findings=_json(folder / "findings.json"),
        comparison=comparison,
        environment=_json(folder / "environment.json"),
        contestants=tuple(contestants),
        suspects=_json(folder / "suspects.json"),
        causes=_json(folder / "causes.json"),
        parts=tuple(contestant for contestant in every if contestant.fraction < 1),
        explained=read_explained(folder, named),
        kinds=_json(folder / "kinds.json"),
        slices=_json(folder / "slices.json"),
        texts=read_text_files(folder, manifest, _json),
        prompted=read_prompted(named),
        questions=_json(folder / "questions.json"),
        before_after=_json(folder / "before_after.json"),
        audits=read_audits(named),
    )


def _accuracy(contestant: Contestant) -> float:
    return float((contestant.metric("accuracy") or {}).get("value") or 0.0)


def family_slots(families: Iterable[str]) -> dict[str, int]:
    """Return the mark (shape and colour) of each family, ``0 <= slot < MARKS``."""
    present = set(families)
    slots = {name: position for position, name in enumerate(KNOWN_FAMILIES) if name in present}
    free = [*range(len(KNOWN_FAMILIES), MARKS), *(i for i, name in enumerate(KNOWN_FAMILIES) if name not in present)]
    for position, name in enumerate(sorted(present - set(slots))):
        slots[name] = free[position % len(free)]
    return slots


def _contestant(
    folder: Path, settings: Json, slots: Mapping[str, int], wanted: frozenset[str], index: Mapping[str, int] | None
) -> Contestant:
    scores, problem = _json(folder / "scores.json"), _json(folder / "failed.json")
    events = read_log(folder / "log.jsonl")
    parts = (scores or {}).get("parts", {})
    family, fraction = str(settings.get("family") or "unknown"), float(settings.get("fraction", 1.0))
    state = "scored" if parts.get("test") else str(problem.get("state") or "failed") if problem else "unfinished"
    return Contestant(
        name=str(settings.get("name") or folder.name),
        family=family,
        slot=slots[family],
        state=state if state in ("scored", "failed", "not run") else "unfinished",
        spec=str(settings.get("spec") or ""),
        problem=problem,
        test=parts.get("test"),
        val=parts.get("val"),
        cost=_json(folder / "cost.json"),
        facts=noted(folder, _facts(events)),
        settings=settings.get("settings") or {},
        epochs=_epochs(events),
        chosen_epoch=_kept(events).get("epoch"),
        kept=_kept(events),
        answers=_answers(folder / "predictions.parquet", wanted, index) if parts.get("test") and fraction == 1 else {},
        fraction=fraction,
        seeds=tuple((scores or {}).get("seeds", ())),
        spread=(scores or {}).get("spread"),
        spread_mae=(scores or {}).get("spread_mae"),
    )


def _facts(events: list[dict[str, Any]]) -> Json:
    facts: dict[str, Any] = {}
    for event in events:
        if event.get("event") == "fact":
            facts.update({name: value for name, value in event.items() if name != "event"})
    return facts


def _first(event: Json) -> bool:
    """Return whether an event belongs to the curve that is drawn: the only one, or that of fold 0."""
    return not event.get("fold") and isinstance(event.get("epoch"), int)


def _kept(events: list[dict[str, Any]]) -> Json:
    """Return what was measured of the weights that were kept."""
    return next((event for event in reversed(events) if event.get("event") == "best" and _first(event)), {})


def _epochs(events: list[dict[str, Any]]) -> tuple[Json, ...]:
    """Return one event for each epoch, in order; a resumed epoch counts as it was told last."""
    told = {event["epoch"]: event for event in events if event.get("event") == "epoch" and _first(event)}
    return tuple(told[epoch] for epoch in sorted(told))


def _answers(path: Path, wanted: frozenset[str], index: Mapping[str, int] | None) -> dict[str, Answer]:
    """Return the answers for the `wanted` pictures; without an `index` of classes they are counts.

    Read batch by batch and column by column: a table of probabilities is large, and one number of each row is needed.
    """
    if not path.exists():
        return {}
    if index is None:
        counted = (answer for answer in read_predictions(path) if answer.image in wanted)
        return {one.image: Answer(None, None, one.error, one.counts, one.raw) for one in counted}
    answers: dict[str, Answer] = {}
    try:
        for batch in pq.ParquetFile(path).iter_batches(4096, columns=["image", "label", "error", "probabilities"]):
            column = {name: batch.column(position) for position, name in enumerate(batch.schema.names)}
            offsets = column["probabilities"].offsets.to_numpy()
            values = column["probabilities"].values.to_numpy(zero_copy_only=False)
            rows = zip(*(column[name].to_pylist() for name in ("image", "label", "error")), strict=True)
            for position, (image, label, error) in enumerate(rows):
                if image not in wanted:
                    continue
                start, stop = offsets[position], offsets[position + 1]
                usable = label in index and stop - start == len(index)
                answers[image] = Answer(label, float(values[start + index[label]]) if usable else None, error)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise _damaged(path, str(error)) from error
    return answers


def _json(path: Path) -> Json | None:
    if not path.exists():
        return None
    try:
        value = read_json(path)
    except (ValueError, OSError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(value, dict):
        raise _damaged(path, "a JSON object was expected")
    if int(value.get("schema", 0)) > SCHEMA_VERSION:
        raise DataProblem(
            f"{path} was written by a newer fieldguide (version {value['schema']}).",
            f"This fieldguide reads versions up to {SCHEMA_VERSION}.",
            "Upgrade: pip install --upgrade fieldguide",
        )
    return value


def _toml(path: Path) -> Json:
    if not path.exists():
        return {}
    try:
        return read_toml(path)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> DataProblem:
    return DataProblem(
        f"{path} cannot be read: {why}.",
        "The report is drawn from the files of a study as fieldguide wrote them.",
        "Delete that one file and run the same `fieldguide compare` again; what is whole is kept.",
    )


def _title(asked: Json, folder: Path) -> str:
    for name in ("name", "title", "source"):
        value = asked.get(name)
        if isinstance(value, str) and value.strip(" /\\."):
            return Path(value.rstrip("/\\")).name if name == "source" else value
    return folder.resolve().name
