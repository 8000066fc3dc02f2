"""What a prompt audit will ask: of whom, about which pictures, in which other words, and what of that has been answered before."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from fieldguide import families, gather, runs
from fieldguide.asked import PromptAudit
from fieldguide.bench import Bench
from fieldguide.data.classes import read_classes
from fieldguide.errors import DataProblem, UsageProblem, allowed_names, plain
from fieldguide.families import Contestant
from fieldguide.files import read_own
from fieldguide.machine import device
from fieldguide.records import ClassInfo, Manifest, ManifestRow
from fieldguide.tasks.varying import CHECKS, Check, Variation, variations

#: What is written beside a run.
FILE = "audit.json"
#: Where the pictures come from, as ``audit.json`` says it.
BEFORE_TEST, TEST = "training and validation", "test"


@dataclass(frozen=True)
class Subject:
    """A contestant that is audited: `fitted` as it was loaded, `classes` as its study knows them, in the manifest's order."""

    run: Path
    entry: Contestant
    fitted: Any
    manifest: Manifest
    classes: tuple[ClassInfo, ...]

    @property
    def study(self) -> Path:
        """The folder of its study."""
        return self.run.parent.parent

    @property
    def who(self) -> str:
        """The name under which answers of the audit are kept: what the contestant itself asked is counted apart."""
        return f"{self.entry.name}, audited"


@dataclass(frozen=True)
class Wording:
    """One way of asking: `variation` of the contestant's own words, or those words themselves (`None`), about `rows`.

    `names` has for each picture, by content hash, the names that its answers have in the file of answers: one, or one for each order of
    the list. Two ways of asking may share some. `open` are those that are not there yet.
    """

    variation: Variation | None
    fitted: Any
    rows: tuple[ManifestRow, ...]
    names: Mapping[str, frozenset[str]]
    open: frozenset[str]

    @property
    def check(self) -> str:
        """The check it is asked for; empty for the contestant's own words, which all checks need."""
        return "" if self.variation is None else self.variation.check

    @property
    def title(self) -> str:
        """What it is called where progress is shown."""
        return "as it is" if self.variation is None else self.variation.id

    @property
    def every(self) -> frozenset[str]:
        """The names of all its answers."""
        return frozenset().union(*self.names.values())


@dataclass(frozen=True)
class Plan:
    """All that an audit asks; the first of `wordings` is the contestant's own. `rows` are pictures of `part`, which has `of` of them."""

    subject: Subject
    wish: PromptAudit
    checks: tuple[Check, ...]
    seed: int
    part: str
    of: int
    rows: tuple[ManifestRow, ...]
    wordings: tuple[Wording, ...]

    @property
    def every(self) -> frozenset[str]:
        """The names of all answers, each once."""
        return frozenset().union(*(wording.every for wording in self.wordings))

    @property
    def open(self) -> frozenset[str]:
        """The names of the answers that are not there yet."""
        return frozenset().union(*(wording.open for wording in self.wordings))

    def questions(self) -> dict[str, tuple[int, int]]:
        """Return for each check how many answers it takes and how many of these are not there yet, those of the own words under "".

        What several need counts for the first of them.
        """
        counts: dict[str, tuple[int, int]] = {}
        seen: set[str] = set()
        for wording in self.wordings:
            fresh = wording.every - seen
            every, still = counts.get(wording.check, (0, 0))
            counts[wording.check] = (every + len(fresh), still + len(fresh & wording.open))
            seen |= fresh
        return counts


def auditable(study: Path) -> tuple[str, ...]:
    """Return the names of the runs of a study that can be audited: those that are whole and were asked in words."""
    return tuple(sorted(path.name for path in study.glob("runs/*") if runs.whole(path) and _worded(path)))


def _worded(run: Path) -> bool:
    return (run / "model" / "prompt.json").exists()


def _why_not(run: Path, described: Any) -> str:
    """Return why a contestant cannot be audited."""
    head = described["settings"].get("head", "words")
    if head != "words":
        return f"{plain(run.name)} was taught with head={plain(str(head))}, which weighs classes and answers nothing in words."
    return f"{plain(run.name)} is of the family {plain(str(described.get('family')))}, which is asked nothing in words."


def subject_of(run: Path) -> Subject:
    """Return the contestant of ``STUDY/runs/NAME``; raises `UsageProblem` where there is none that was asked in words."""
    run = run.resolve()
    study = next((folder for folder in (run, run.parent, run.parent.parent) if (folder / "manifest.parquet").exists()), None)
    if study is None:
        raise _no_run(run, study)
    manifest = gather.labelled(study)
    if run.parent != study / "runs" or not run.is_dir():
        raise _no_run(run, study)
    if not (run / "model" / "fieldguide.json").exists() or not runs.whole(run):
        raise _other(run, study, f"{plain(run.name)} has not answered yet.")
    described = read_own(run / "model" / "fieldguide.json")
    family = str(described.get("family"))
    if not _worded(run):
        raise _other(run, study, _why_not(run, described))
    settings = {name: value for name, value in described["settings"].items() if value is not None}
    entry = families.contestant(family, None, settings, "The contestant", str(described["name"]))
    classes = read_classes(run / "model" / "classes.toml", described["classes"])
    return Subject(run, entry, runs.load(run), manifest, classes)


def _no_run(run: Path, study: Path | None) -> UsageProblem:
    if study is None:
        return UsageProblem(
            f"{plain(run)} is {'a folder, and ' if run.is_dir() else ''}no contestant of a study.",
            "STUDY/runs/NAME, the folder of a contestant that was asked in words; or a file of answers.",
            "fieldguide audit STUDY/runs/NAME   or   fieldguide audit ANSWERS.csv",
        )
    given = (
        f"{plain(run)} is a study"
        if run in (study, study / "runs")
        else f"There is no contestant {plain(run.name)!r} in {plain(study)}"
    )
    return _other(run, study, f"{given}; an audit is of one contestant.")


def _other(run: Path, study: Path, given: str) -> UsageProblem:
    able = auditable(study)
    if not able:
        return UsageProblem(
            given,
            "An audit asks a language model again in other words; none of this study's contestants is one that has answered.",
            f"fieldguide compare {plain(study / 'study.toml')} vlm_prompt/drawn   adds one that works offline.",
        )
    ordered = allowed_names(run.name, able)
    near = next((name for name in able if f"Did you mean {name}?" in ordered), able[0])
    return UsageProblem(given, f"Asked in words. {ordered}", f"fieldguide audit {plain(study / 'runs' / near)}")


def stale(run: Path) -> bool:
    """Tell whether ``audit.json`` of a run is of another prompt, or other weights, than the contestant has now."""
    path = run / FILE
    if not path.exists():
        return False
    try:
        told, asking = read_own(path), read_own(run / "model" / "prompt.json")
        found = (run / "model" / name for name in ("vlm_prompt.json", "vlm_lora.json"))
        model = read_own(next(path for path in found if path.exists()))
    except (DataProblem, FileNotFoundError, StopIteration):
        return True
    return (told.get("asking"), told.get("revision")) != (asking.get("hash"), model.get("revision"))


def checks_of(wish: PromptAudit) -> tuple[Check, ...]:
    """Return what is checked, in the order of the report; raises `UsageProblem` for what is no check."""
    given = [part.strip() for words in wish.check for part in words.split(",") if part.strip()]
    for word in given:
        if word not in get_args(Check):
            raise UsageProblem(
                f"There is no check called {plain(word)!r}.",
                allowed_names(word, CHECKS),
                "fieldguide audit STUDY/runs/NAME --check example --check order   or leave --check out for all.",
            )
    return tuple(check for check in CHECKS if not given or check in given)


def pictures_of(subject: Subject, most: int, seed: int) -> tuple[str, int, tuple[ManifestRow, ...]]:
    """Return the part that pictures are taken from, how many it has, and those taken: `most` at most, balanced over the classes.

    They are validation and training pictures which the prompt does not show, so that whoever changes the prompt after reading the audit
    has not looked at the test part; where there are none, test pictures. More of them begin with the same.
    """
    manifest, shown = subject.manifest, set(subject.fitted.asking.examples)
    free = [] if manifest.folds else [*manifest.part("train"), *manifest.part("val")]
    part = BEFORE_TEST
    free = [row for row in free if row.key not in shown]
    if not free:
        part, free = TEST, [row for row in manifest.part("test") if row.key not in shown]
    rows = list({row.key: row for row in free}.values())
    by_class: dict[str, list[ManifestRow]] = {id: [] for id in manifest.classes}
    for row in sorted(rows, key=lambda row: row.key):
        by_class.setdefault(row.label, []).append(row)
    for id, own in by_class.items():
        random.Random(f"{seed} {id}").shuffle(own)  # noqa: S311
    turns = sorted(by_class)
    random.Random(f"{seed}").shuffle(turns)  # noqa: S311
    deepest = max((len(own) for own in by_class.values()), default=0)
    taken = [by_class[id][at].key for at in range(deepest) for id in turns if at < len(by_class[id])][:most]
    if not taken:
        raise DataProblem(
            f"{plain(subject.study)} has no picture that {plain(subject.entry.name)} could be asked about again.",
            "Pictures that take part and are not shown in the prompt itself.",
            "Show fewer examples, or add pictures with fieldguide compare PHOTOS/ --extend",
        )
    chosen = set(taken)
    return part, len(rows), tuple(row for row in rows if row.key in chosen)


def bench_of(subject: Subject) -> Bench:
    """Return the bench that the audit works at; its answers are kept in the study. Nobody has agreed yet to send anything."""
    return Bench(
        subject.run / "scratch",
        int(read_own(subject.run / "model" / "fieldguide.json")["seed"]),
        device(),
        answers=subject.study / runs.ANSWERS,
        contestant=subject.who,
    )


def plan_of(subject: Subject, wish: PromptAudit, bench: Bench) -> Plan:
    """Return what is asked for `wish`. A check that was not wished for takes part where all its answers are there already."""
    checks, seed = checks_of(wish), subject.manifest.seed if wish.seed is None else wish.seed
    part, of, rows = pictures_of(subject, wish.pictures, seed)
    own = runs.at(subject.fitted, bench)
    wordings = [_wording(None, own, rows)]
    for variation in variations(own.prompt, subject.classes, None, wish.labels, seed):  # type: ignore[attr-defined]
        about = tuple(row for row in rows if variation.concerns(row.label))
        if about:
            wordings.append(_wording(variation, own.varied(variation, bench), about))  # type: ignore[attr-defined]
    there = wordings[0].open
    whole = {check for check in CHECKS if not (there or any(one.open for one in wordings if one.check == check))}
    taken = tuple(check for check in CHECKS if check in checks or check in whole)
    asked = tuple(one for one in wordings if one.check in ("", *taken))
    return Plan(subject, wish, taken, seed, part, of, rows, asked)


def _wording(variation: Variation | None, fitted: Any, rows: tuple[ManifestRow, ...]) -> Wording:
    """Return a way of asking with the names that its answers have, and which of them are there."""
    from fieldguide.craft.chat.orders import grey

    shelves = [fitted.shelf.of(asking) for asking in fitted.askings]
    shown = grey(fitted.size).key if fitted.blank else None
    names = {row.key: frozenset(shelf.key(shown or row.key) for shelf in shelves) for row in rows}
    every = frozenset().union(*names.values())
    return Wording(variation, fitted, rows, names, every - fitted.shelf.answers.get_many(every).keys())
