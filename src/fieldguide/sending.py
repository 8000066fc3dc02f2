"""What the contestants of a study would send to other machines, counted before anything is done, and whether somebody agrees."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fieldguide import asking_again, families, runs
from fieldguide import gather as gathering
from fieldguide.asked import Asked, Terms, fractions
from fieldguide.bench import Bench, Progress
from fieldguide.consenting import Allowance, require
from fieldguide.data.classes import propose, read_classes
from fieldguide.data.tables import read_manifest
from fieldguide.errors import EnvironmentProblem, Problem, plain
from fieldguide.families import Contestant, Fitted, Sizes
from fieldguide.files import read_own
from fieldguide.machine import device
from fieldguide.records import Manifest, Sending
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.count import Task


@dataclass(frozen=True)
class Call:
    """What was said on the command line besides the study: its terms, whether the network is allowed, whether new pictures are taken in."""

    terms: Terms
    online: bool = False
    extend: bool = False


def agree(contestants: Iterable[Contestant], asked: Asked, folder: Path, call: Call, progress: Progress) -> Allowance:
    """Return what this call may do, once somebody agreed to what `contestants` send; raises `UsageProblem` without.

    In a new study, and in one that is extended, pictures are counted as the source lists them, before any is examined; nothing is
    written. Raises `EnvironmentProblem` where a server that is to be asked is not there.
    """
    every = list(contestants)
    allowed = _agreed(every, asked, folder, call, progress)
    _require_servers(every, asked, folder, call, allowed)
    return allowed


def _agreed(contestants: Iterable[Contestant], asked: Asked, folder: Path, call: Call, progress: Progress) -> Allowance:
    away = [entry for entry in contestants if families.where(entry) is not None]
    if not away:
        return Allowance(call.terms)
    path = folder / "manifest.parquet"
    if path.exists() and not call.extend:
        manifest = read_manifest(path)
        task, left = (
            gathering.task_of(folder, manifest),
            {entry.name: left_to_ask(entry, folder, manifest, asked) for entry in away},
        )
    else:
        task, count = _listed(asked, call.online)
        left = {entry.name: count * _times(entry, asked) for entry in away}
    fresh = [entry for entry in away if not (folder / "runs" / entry.name / "model").exists()]
    found = _with_first(within(away, task, left, call.terms.limit), fresh)
    require(found, call.terms.yes, progress)
    return Allowance(call.terms, frozenset(one.host for one in found))


def _require_servers(contestants: Iterable[Contestant], asked: Asked, folder: Path, call: Call, allowed: Allowance) -> None:
    """Knock at each server that is still to be asked, on this machine or agreed to; raise for those that are not there, all at once.

    Like weights that are missing this stops before hours of work. Who has all answers already, or has only been left owing some, asks nobody.
    """
    missing: dict[str, Problem] = {}
    known: dict[str, Problem | None] = {}
    for entry in contestants:
        host = families.where(entry)
        if (host is not None and not allowed.agreed(host)) or not _asks(entry, asked, folder, call):
            continue
        name = repr([getattr(entry.settings, part, None) for part in ("model", "server")])
        if name not in known:
            known[name] = _nobody(entry)
        if (problem := known[name]) is not None:
            missing[entry.name] = problem
    if not missing:
        return
    first, names = next(iter(missing.values())), ", ".join(plain(name, 60) for name in missing)
    told = " ".join(dict.fromkeys(problem.given for problem in missing.values()))
    raise EnvironmentProblem(
        f"{names} cannot be asked: {told}",
        f"{first.allowed} Nothing was begun.",
        f"{first.next.removesuffix('.')}; or leave {names} out.",
    )


def _nobody(entry: Contestant) -> Problem | None:
    try:
        families.knock(entry)
    except ModuleNotFoundError:  # a missing package is a named row of the study
        return None
    except Problem as problem:
        return problem
    return None


def _asks(entry: Contestant, asked: Asked, folder: Path, call: Call) -> bool:
    """Tell whether `entry` has to reach what it asks, because it is not fitted yet or pictures have no answer."""
    run, path = folder / "runs" / entry.name, folder / "manifest.parquet"
    if runs.whole(run, runs.further_seeds(entry, asked.seed, asked.seeds)):
        return False
    if call.extend or not (run / "model").exists() or not path.exists():
        return True
    return left_to_ask(entry, folder, read_manifest(path), asked) > 0


def within(contestants: Iterable[Contestant], task: Task, left: dict[str, int], limit: int | None) -> list[Sending]:
    """Return what is sent for so many pictures `left` by name, about which all contestants together may put `limit` questions."""
    found: list[Sending] = []
    for entry in contestants:
        count = left[entry.name]
        one = families.sends(entry, task, Sizes(0, 0, count))
        if one is not None and limit is not None:
            free = max(0, limit - sum(other.pictures * other.questions for other in found))
            one = families.sends(entry, task, Sizes(0, 0, min(count, free // one.questions)))
        if one is not None and one.pictures:
            found.append(one)
    return found


def foreseen(contestants: Iterable[Contestant], task: Task, sizes: Sizes, asked: Asked) -> tuple[Sending, ...]:
    """Return what `contestants` would send in a new study, the further seeds of those that depend on one included."""
    every, found = list(contestants), []
    for entry in every:
        often = _times(entry, asked)
        found.append(families.sends(entry, task, Sizes(sizes.train, often * sizes.val, often * sizes.test)))
    return tuple(_with_first([one for one in found if one is not None], every))


def _with_first(found: Iterable[Sending], contestants: Iterable[Contestant]) -> list[Sending]:
    """Return what is sent, with what those of `contestants` ask before the first picture to find out what their server can do."""
    before = {entry.name: families.first(entry) for entry in contestants}
    return [one if (more := before.get(one.who)) is None else _together(one, more) for one in found]


def _together(one: Sending, more: Sending) -> Sending:
    money = None if one.money is None or more.money is None else one.money + more.money
    read, written = one.tokens_in + more.tokens_in, one.tokens_out + more.tokens_out
    return replace(one, tokens_in=read, tokens_out=written, money=money, made=one.made + more.made)


def _times(entry: Contestant, asked: Asked) -> int:
    return 1 + len(runs.further_seeds(entry, asked.seed, asked.seeds))


def left_to_ask(entry: Contestant, folder: Path, manifest: Manifest, asked: Asked) -> int:
    """Return how many times `entry` still has to ask about a picture, with every seed that it is fitted with."""
    run = folder / "runs" / entry.name
    further = [run / "seeds" / str(seed) for seed in runs.further_seeds(entry, asked.seed, asked.seeds)]
    seeds = sum(_without_answer(place, folder, manifest) for place in further if not runs.settled(place))
    return pictures_left(entry, folder, manifest) + seeds


def pictures_left(entry: Contestant, folder: Path, manifest: Manifest) -> int:
    """Return how many pictures of a study `entry` still has to ask about: those without an answer that counts, or is kept."""
    run = folder / "runs" / entry.name
    return len(asking_again.left_open(run)) if runs.whole(run) else _without_answer(run, folder, manifest)


def _without_answer(place: Path, folder: Path, manifest: Manifest) -> int:
    """Return how many pictures have no answer yet of the contestant in `place`: all of them where that has not been fitted."""
    rows = [row.key for row in manifest.part() if manifest.folds or row.split in ("val", "test")]
    if manifest.folds or not (place / "model").exists() or not (folder / runs.ANSWERS).exists():
        return len(set(rows))
    try:
        fitted = runs.at(runs.load(place), Bench(place / "scratch", answers=folder / runs.ANSWERS))
    except Problem:  # the run itself tells what is wrong
        return len(set(rows))
    return int(fitted.lacking(rows)) if hasattr(fitted, "lacking") else len(set(rows))


def _listed(asked: Asked, online: bool) -> tuple[Classify, int]:
    """Return the classes of a source and about how many of its pictures will be asked about."""
    with tempfile.TemporaryDirectory() as scratch:
        source = gathering.source_of(asked, Path(scratch), online)
        splits = [file.split for file in source.files]
        classes = source.classes
    share = 1.0 if asked.folds else sum(fractions(asked.split)[1:])
    given = sum(split in ("val", "test") for split in splits)
    free = sum(split is None for split in splits)
    return Classify(propose(classes)), given + math.ceil(share * free)


def at_work(run: Path, fitted: Fitted, pictures: Sequence[str], terms: Terms, progress: Progress) -> Fitted:
    """Return the contestant of ``STUDY/runs/NAME``, ready to answer for new `pictures` (content hashes), once somebody agreed to what it sends.

    Its answers are kept in the study, where that may be written to.
    """
    if not hasattr(fitted, "at"):
        return fitted
    described = read_own(run / "model" / "fieldguide.json")
    settings = {name: value for name, value in described["settings"].items() if value is not None}
    entry = families.contestant(described["family"], None, settings, "The contestant", str(described["name"]))
    study = run.resolve().parent.parent
    kept = study / runs.ANSWERS
    bench = Bench(run / "scratch", int(described["seed"]), device(), answers=kept if _may_write(kept) else None)
    bench = replace(bench, contestant=entry.name)
    if families.where(entry) is not None:
        task = Classify(read_classes(run / "model" / "classes.toml", described["classes"]))
        left = {entry.name: int(runs.at(fitted, bench).lacking(pictures))}  # type: ignore[attr-defined]
        require(within([entry], task, left, terms.limit), terms.yes, progress)
        bench = replace(bench, consented=True)
    return runs.at(fitted, bench)


def _may_write(path: Path) -> bool:
    return path.exists() and os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
