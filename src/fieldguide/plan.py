"""What will run: contestants from words, tables or a preset, and what they are expected to cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fieldguide import families
from fieldguide.asked import Entry
from fieldguide.errors import EnvironmentProblem, Problem, UsageProblem, plain
from fieldguide.families import Contestant, Sizes
from fieldguide.records import Estimate
from fieldguide.tasks.count import Task, TaskName, name_of

Preset = Literal["quick", "good", "best"]

#: Floors that every preset runs, by what a study is about: without them a good score means little.
FLOORS: dict[TaskName, tuple[str, ...]] = {
    "classify": ("majority", "linear:features=colour", "linear"),
    "count": tuple(f"count_baseline/{features}" for features in ("mean", "commonest", "colour", "pixels")),
}
#: What fits a plain head to the features of a frozen network.
FROZEN: dict[TaskName, str] = {"classify": "linear", "count": "count_baseline"}
#: Networks from scratch, for a machine without pretrained weights.
SCRATCH = (
    "test_resnet:weights=none,image_size=64,epochs=30,learning_rate=2e-3",
    "test_vit:weights=none,image_size=64,patch_size=8,epochs=30",
)
#: Pretrained networks by appetite: a CNN and a transformer each, smallest first.
NETWORKS: dict[Preset, tuple[str, ...]] = {
    "quick": ("mobilenetv3_small_100", "vit_tiny_patch16_224"),
    "good": ("mobilenetv3_large_100", "resnet50", "vit_small_patch16_224", "convnext_tiny"),
    "best": ("efficientnet_b4", "convnext_small", "swinv2_small_window8_256", "vit_base_patch16_224"),
}
#: Seconds a preset may take on this machine, all contestants together.
BUDGET: dict[Preset, float] = {"quick": 300, "good": 3600, "best": 8 * 3600}


@dataclass(frozen=True)
class Planned:
    """A contestant with its expected cost, or with the reason why it cannot run here."""

    contestant: Contestant
    estimate: Estimate
    problem: Problem | None = None


def read_contestants(given: Iterable[Entry | str]) -> tuple[Contestant, ...]:
    """Return contestants from words or tables; raises `UsageProblem` for a wrong name or setting and for a name used twice."""
    found: dict[str, Contestant] = {}
    for entry in given:
        if isinstance(entry, str):
            contestant = families.parse(entry)
        else:
            where = f"The contestant {plain(entry.name)!r}"
            whole = families.contestant(entry.family, None, entry.settings, where, families.folder_name(_bare(entry)))
            contestant = cut(whole, entry.fraction)
        if found.setdefault(contestant.name, contestant) != contestant:
            raise UsageProblem(
                f"Two contestants are called {plain(contestant.name)!r}.", "Names are unique in a study.", "Rename one of them."
            )
    return tuple(found.values())


def _bare(entry: Entry) -> str:
    return entry.name.removesuffix(_mark(entry.fraction)) if entry.fraction < 1 else entry.name


def _mark(fraction: float) -> str:
    return f"@{100 * fraction:g}"


def cut(contestant: Contestant, fraction: float) -> Contestant:
    """Return a `contestant` that is to be fitted on `fraction` (0 to 1) of the training pictures; the name says so."""
    if fraction == 1:
        return contestant
    return dataclasses.replace(contestant, name=contestant.name + _mark(fraction), fraction=fraction)


def entries(contestants: Iterable[Contestant]) -> tuple[Entry, ...]:
    """Return contestants as tables of ``study.toml``, defaults written out."""
    return tuple(
        Entry(
            name=contestant.name,
            family=contestant.family,
            settings={key: value for key, value in contestant.settings.model_dump(mode="json").items() if value is not None},
            fraction=contestant.fraction,
        )
        for contestant in contestants
    )


def obstacle(contestant: Contestant, online: bool) -> Problem | None:
    """Return what would stop a contestant: missing extra, missing weights, an unknown name; `None` where nothing does."""
    try:
        room: Any = families.family(contestant.family)
        if hasattr(room, "check"):
            room.check(contestant.settings, online)
    except ModuleNotFoundError as error:
        return families.needs_extra(error)
    except Problem as problem:
        return problem
    return None


def other_task(contestant: Contestant, task: str) -> Problem | None:
    """Return what stands in the way of a contestant whose family does not do what the study is about; `None` where it does."""
    known = families.tasks(contestant.family)
    if task in known:
        return families.unfit(contestant, task)
    able = [name for name in families.names() if task in families.tasks(name)]
    does = {"classify": "names classes", "count": "counts"}
    return UsageProblem(
        f"{plain(contestant.name)} {does[known[0]]}, and this study {'counts things' if task == 'count' else 'is about classes'}.",
        f"Allowed in a study with task = {task}: {', '.join(able)}.",
        "Leave it out" + (", or add --task count for pictures with counts." if task == "classify" else "."),
    )


def sizes_wanted(contestants: Iterable[Contestant]) -> tuple[int, ...]:
    """Return the pixel sizes the contestants will ask for, so that every picture is decoded in one pass."""
    wanted = set()
    for contestant in contestants:
        room: Any = families.family(contestant.family)
        if hasattr(room, "pixels"):
            wanted.add(int(room.pixels(contestant.settings)))
    return tuple(sorted(wanted))


def choose(preset: Preset, task: Task, sizes: Sizes, *, online: bool, device: str) -> tuple[Contestant, ...]:
    """Return a preset's contestants: floors, and networks that are reachable and fit the budget on this machine.

    A network whose full fine-tuning would take more than its share of the budget trains its last two blocks, then its head
    alone; a larger one than that is left out. Beside the first of them stands a plain regression on its frozen features: the cheap
    floor that fine-tuning has to beat. Where no pretrained weights are reachable, small networks start from scratch.
    """
    floors, frozen = FLOORS[name_of(task)], FROZEN[name_of(task)]
    chosen = list(read_contestants(floors))
    share = BUDGET[preset] / len(NETWORKS[preset])
    for name in NETWORKS[preset]:
        if obstacle(families.parse(name), online) is not None:
            continue
        for part in ("all", "last-2", "head"):
            contestant = families.parse(name if part == "all" else f"{name}:train={part}")
            if device != "cpu" or (families.estimate(contestant, task, sizes).seconds or 0) <= share:
                chosen += read_contestants([f"{frozen}/{name}"]) if len(chosen) == len(floors) else []
                chosen.append(contestant)
                break
    if len(chosen) == len(floors):
        chosen += read_contestants(SCRATCH)
    return tuple(chosen)


def estimates(contestants: Sequence[Contestant], task: Task, sizes: Sizes, online: bool, seeds: int = 1) -> tuple[Planned, ...]:
    """Return every contestant with its expected cost, all its fits together, or its obstacle."""
    planned = []
    for contestant in contestants:
        problem = obstacle(contestant, online)
        fewer = dataclasses.replace(sizes, train=round(sizes.train * contestant.fraction))
        estimate = Estimate() if problem else families.estimate(contestant, task, fewer)
        if seeds > 1 and families.by_chance(contestant):
            seconds, money = (None if one is None else one * seeds for one in (estimate.seconds, estimate.money))
            estimate = dataclasses.replace(estimate, seconds=seconds, money=money)
        planned.append(Planned(contestant, estimate, problem))
    return tuple(planned)


def missing_extra(problem: Problem | None) -> bool:
    """Tell whether an obstacle is a package that is not installed: such a contestant is a named row, not a stop."""
    return isinstance(problem, EnvironmentProblem) and problem.next.startswith("pip install")
