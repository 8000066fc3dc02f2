"""A study of twelve pictures and three contestants that takes a second: what its numbers are, and whether its files are whole."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import multiprocessing
import re
import shutil
import sqlite3
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.pictures import write_folder
from tests.torture.faults import Ended, Moment, Plan, Running, start

from fieldguide.bench import read_log
from fieldguide.data.tables import read_manifest, read_predictions
from fieldguide.errors import DATA, DONE, ENVIRONMENT, PARTLY
from fieldguide.files import UNFINISHED, read_json, write_toml

CONTESTANTS = (
    {"name": "majority", "family": "majority"},
    {"name": "linear", "family": "linear", "settings": {"image_size": 8, "strengths": [0.1]}},
    {
        "name": "net",
        "family": "backbone",
        "settings": {
            "model": "test_resnet",
            "weights": "none",
            "image_size": 32,
            "epochs": 2,
            "batch_size": 4,
            "precision": "fp32",
        },
    },
)
#: What differs from run to run and is no number of the comparison.
_TIMES = ("seconds", "written", "created")
_LEFT = re.compile(r"\.unfinished-.*|\.tmp.*|scratch")


@functools.cache
def _version(package: str) -> str:
    return _real_version(package)


@functools.cache
def _entry_points(group: str) -> Any:
    return _real_entry_points(group=group)


_real_version, _real_entry_points = importlib.metadata.version, importlib.metadata.entry_points


def at_once() -> None:
    """Write a checkpoint after every step, answer for two pictures at a time, and wait for nothing twice."""
    from fieldguide import files, runs
    from fieldguide.craft import loop

    loop.CHECKPOINT_SECONDS = 0.0
    runs.CHUNK = 2
    files.RETRY_AFTER = 0.0
    # A third of a small study is looking up what is installed.
    importlib.metadata.version = _version
    importlib.metadata.entry_points = _entry_points  # type: ignore[assignment]


@dataclass(frozen=True)
class Place:
    """Pictures and a study that lie side by side in `base`, below which operations are counted; `plan` is the command's source.

    With more than one of `seeds` the network alone takes part.
    """

    base: Path
    seeds: int = 1

    @property
    def study(self) -> Path:
        return self.base / "study"

    @property
    def photos(self) -> Path:
        return self.base / "photos"

    @cached_property
    def plan(self) -> Path:
        path = self.base.with_name(self.base.name + ".toml")
        contestants = CONTESTANTS if self.seeds == 1 else CONTESTANTS[-1:]
        write_toml(path, {"source": str(self.photos), "seeds": self.seeds, "contestants": contestants})
        return path

    def start(self, plan: Plan | None = None, count: bool = False, setup: Callable[[], None] | None = None) -> Running:
        return start(
            self.base, "compare", self.plan, "--out", self.study, plan=plan or Plan(), count=count, setup=setup or at_once
        )

    def compare(self, plan: Plan | None = None, count: bool = False, setup: Callable[[], None] | None = None) -> Ended:
        """Run the command to its end."""
        return self.start(plan, count, setup).end()

    def fresh(self) -> Place:
        """Take the study away; the pictures stay."""
        shutil.rmtree(self.study, ignore_errors=True)
        return self


def make(base: Path, seeds: int = 1) -> Place:
    place = Place(base, seeds)
    write_folder(place.photos, ("cat", "dog", "eel"), each=4)
    return place


def numbers(study: Path) -> dict[str, Any]:
    """Return all that must be the same after whatever happened, bit for bit; what is not there is left out."""
    found: dict[str, Any] = {}
    if (study / "manifest.parquet").exists():
        manifest = read_manifest(study / "manifest.parquet")
        found["manifest"] = (manifest.hash, [dataclasses.asdict(row) for row in manifest.rows])
    for name in ("comparison", "suspects", "findings"):
        if (study / f"{name}.json").exists():
            found[name] = _timeless(read_json(study / f"{name}.json"))
    for run in sorted(study.glob("runs/*")):
        if (run / "predictions.parquet").exists():
            answers = read_predictions(run / "predictions.parquet")
            found[f"answers of {run.name}"] = [dataclasses.replace(answer, seconds=None) for answer in answers]
        for place in sorted(run.glob("seeds/*")):
            answers = read_predictions(place / "predictions.parquet") if (place / "predictions.parquet").exists() else []
            found[f"answers of {run.name} with seed {place.name}"] = [dataclasses.replace(one, seconds=None) for one in answers]
        if (run / "model").exists():
            files = sorted(path for path in (run / "model").rglob("*") if path.is_file())
            found[f"model of {run.name}"] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        if (run / "scores.json").exists():
            found[f"scores of {run.name}"] = _timeless(read_json(run / "scores.json"))
    if (study / "report.html").exists():
        page = (study / "report.html").read_text(encoding="utf-8")
        found["pictures in the report"] = sorted(re.findall(r"data:image/webp;base64,[\w+/=]+", page))
    return found


def curves(study: Path) -> dict[str, list[Any]]:
    """Return the learning curve of each contestant: no epoch twice, none lost."""
    return {
        str(path.parent.relative_to(study)): [_timeless(event) for event in read_log(path) if event["event"] == "epoch"]
        for path in sorted([*study.glob("runs/*/log.jsonl"), *study.glob("runs/*/seeds/*/log.jsonl")])
    }


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in _TIMES and "seconds" not in key}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def left(study: Path) -> list[str]:
    """Return the names of temporary files and folders below `study`."""
    return sorted(str(path.relative_to(study)) for path in study.rglob("*") if _LEFT.fullmatch(path.name))


def partial(study: Path) -> list[str]:
    """Return every file that stands under its final name and is not whole, with the reason."""
    found = []
    for path in sorted(study.rglob("*")) if study.exists() else ():
        below = path.relative_to(study).parts
        if not path.is_file() or any(part.startswith((UNFINISHED, ".tmp")) for part in below):
            continue
        if "scratch" in below and path.suffix == ".jsonl":  # journals grow line by line, and readers know
            continue
        try:
            _check(path)
        except Exception as error:
            found.append(f"{path.relative_to(study)}: {type(error).__name__}: {error}")
    return found


def _check(path: Path) -> None:
    """Raise for a file that is not whole."""
    data = path.read_bytes()
    match path.suffix:
        case ".json":
            json.loads(data)
        case ".jsonl":
            assert data.endswith(b"\n")
            for line in data.splitlines():
                json.loads(line)
        case ".toml":
            assert tomllib.loads(data.decode())
        case ".md" | ".csv" | ".tex":
            assert data.strip() and data.endswith(b"\n")
        case ".parquet":
            pq.read_table(path)
        case ".safetensors":
            length = 8 + int.from_bytes(data[:8], "little")
            tensors = [entry for name, entry in json.loads(data[8:length]).items() if name != "__metadata__"]
            assert len(data) == length + max(entry["data_offsets"][1] for entry in tensors), "cut"
        case ".npy":
            np.load(path, mmap_mode="r")
        case ".html":
            assert data.rstrip().endswith(b"</html>")
        case ".sqlite":
            base = sqlite3.connect(path)
            assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            base.close()
        case ".sqlite-wal" | ".sqlite-shm":
            assert path.with_suffix(".sqlite").exists(), "they belong to a file of answers, with which they are whole"
        case _ if path.name == "LATEST":
            assert data.isdigit(), "the number of a checkpoint"
        case _:
            assert path.name in (".lock", "run.log"), "a file nobody knows"


@dataclass(frozen=True)
class Reference:
    """What a run that nothing happened to has found."""

    numbers: dict[str, Any]
    curves: dict[str, list[Any]]

    def differs(self, study: Path, *, partly: bool = False) -> list[str]:
        """Return what is not as it should be; `partly`: what is missing is forgiven."""
        have = numbers(study)
        wrong = [name for name, value in self.numbers.items() if have.get(name, None if partly else "") not in (value, None)]
        if not partly:
            wrong += [name for name in self.numbers if name not in have]
            wrong += ["curves"] if curves(study) != self.curves else []
        return [*wrong, *(name for name in have if name not in self.numbers)]


def reference(study: Path) -> Reference:
    return Reference(numbers(study), curves(study))


def complaint(ended: Ended) -> str | None:
    """Return what is wrong with how a command ended that something happened to: it may fail, but in its own words."""
    if ended.code not in (DONE, PARTLY, ENVIRONMENT, DATA):
        return f"exit code {ended.code}: {ended.text[-600:]}"
    for word in ("Traceback", "A mistake in fieldguide", "not foreseen"):
        if word in ended.text:
            return f"{word}: {ended.text[-600:]}"
    return None


def after_a_fault(place: Place, ended: Ended, whole: Reference) -> str | None:
    """Return what is wrong after a failing operation, and after the same command once more without it; `None` is well."""
    study = place.study
    wrong = complaint(ended)
    if wrong is None and partial(study):
        wrong = f"not whole: {partial(study)}"
    if wrong is None:
        # What was told as done is right already; what was told as failed lacks something, and nothing it has is wrong.
        other = whole.differs(study, partly=ended.code != DONE)
        judged = [name for name in other if ended.code == DONE or name.startswith(("manifest", "answers", "model"))]
        wrong = f"after exit code {ended.code} other: {judged}" if judged else None
    return wrong or again(place, whole)


def again(place: Place, whole: Reference) -> str | None:
    """Call the same command; return what is not as if nothing had ever happened."""
    ended = place.compare()
    if ended.code != DONE:
        return f"the same command again: exit code {ended.code}: {ended.text[-600:]}"
    other = whole.differs(place.study)
    if other:
        return f"the same command again gave other {other}"
    return f"left behind: {left(place.study)}" if left(place.study) else None


#: What is done at one moment: it returns how the command ended, and what is wrong.
Trial = Callable[[Place, Moment], tuple[int, str | None]]


@dataclass(frozen=True)
class Small:
    """The study that nothing happened to, every moment of its run, and a place to try them."""

    place: Place
    kept: Path
    whole: Reference
    moments: tuple[Moment, ...]

    def finished(self) -> Place:
        """Return the place with the study as it was finished."""
        shutil.copytree(self.kept, self.place.fresh().study)
        return self.place

    def of(self, kinds: Sequence[str], phase: str = "", name: str = "") -> list[Moment]:
        """Return the moments of some kinds in one phase or at one name (as a pattern), at least one."""
        found = [m for m in self.moments if m.kind in kinds and phase in ("", m.phase) and re.search(name, m.name)]
        assert found, f"nothing of {kinds} happens in {phase} {name}"
        return found

    def tried(self, moments: Sequence[Moment], trial: Trial) -> Counter[int]:
        """Try all moments, in two processes where there are many; return how many ended with which exit code. All must be well."""
        shares = [moments[0::2], moments[1::2]] if len(moments) > 4 else [moments]
        fork = multiprocessing.get_context("fork")
        work = [fork.Process(target=self._share, args=(at, part, trial)) for at, part in enumerate(shares)]
        for process in work:
            process.start()
        for process in work:
            process.join()
        ends: Counter[int] = Counter()
        wrong = []
        for at in range(len(shares)):
            for *moment, code, complaint in json.loads(self._told(at).read_text()):
                ends[code] += 1
                wrong += [f"{' '.join(map(str, moment))}: {complaint}"] if complaint else []
            self._told(at).unlink()
        assert sum(ends.values()) == len(moments)
        assert not wrong, "\n".join(wrong)
        return ends

    def _share(self, at: int, moments: Sequence[Moment], trial: Trial) -> None:
        place = make(self.place.base.parent / f"share-{at}" / "base", self.place.seeds)
        results = []
        for moment in moments:
            try:
                code, wrong = trial(place.fresh(), moment)
            except Exception as error:
                code, wrong = -1, f"{type(error).__name__}: {error}"
            results.append([*moment, code, wrong])
        self._told(at).write_text(json.dumps(results))

    def _told(self, at: int) -> Path:
        return self.place.base.parent / f"share-{at}.json"


def small(folder: Path, seeds: int = 1) -> Small:
    """Make the pictures and run the study twice: here, so that a child finds every library warm, and in a child that is counted."""
    from fieldguide import runs, terminal  # noqa: F401
    from fieldguide.craft import loop
    from fieldguide.study import compare, read_asked

    for package in ("fieldguide", "torch", "torchvision", "timm", "scikit-learn", "numpy", "scipy", "pillow", "safetensors"):
        _version(package)
    _entry_points("fieldguide.families")
    other = make(folder / "other" / "base", seeds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "CHUNK", 2)
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        assert compare(*read_asked(str(other.plan), other.study)).exit_code == DONE
    place = make(folder / "base", seeds)
    seen = place.compare(count=True)
    assert seen.code == DONE, seen.text
    assert seen.unseen == [], "operations that the injector does not see, or renames from another folder"
    whole = reference(place.study)
    assert whole.differs(other.study) == [], "two runs that nothing happened to differ"
    assert not partial(place.study) and not left(place.study)
    shutil.copytree(place.study, folder / "kept")
    return Small(place, folder / "kept", whole, tuple(seen.moments))


def told_of(ends: Counter[int]) -> str:
    """Return the sentence of the table."""
    said = {DONE: "unharmed", PARTLY: "a contestant failed by name", ENVIRONMENT: "stopped by name", DATA: "stopped by name"}
    parts = [f"{count} {said.get(code, 'ended')} ({code})" for code, count in sorted(ends.items())]
    count = sum(ends.values())
    return f"{count} of {count} moments conform: {', '.join(parts)}; the same command then ends in the same numbers"
