"""The door to the families: it lists the rooms, opens one, and reads a contestant written as words.

A family is a module in this folder, or an entry point of the group ``fieldguide.families`` in an installed package, that offers

    Settings                       a `fieldguide.settings.Settings`; `Settings.tiny()` is legal, offline and takes seconds on a CPU
    fit(train, val, task, settings, bench) -> Fitted
    load(folder) -> Fitted
    LEARNS                         True, or False for a family that uses no training picture

and, where it makes sense, `CHANCE` (True where another seed trains another model; absent means that it does not), `TOGETHER`
(True where `fit` may be called in several processes at once to train one model), `learns(settings) -> bool` (False for settings
with which a family whose LEARNS is True uses no training picture after all, such as zero-shot), `chance(settings) -> bool` (False for
settings with which a family whose CHANCE is True answers the same at any seed),
`knows(name) -> bool` and `names() -> list[str]` (bare names it answers to), `check(settings, online)` (raise a Problem now rather
than after an hour), `pixels(settings) -> int` (the size it will ask for, so that pictures are decoded once) and
`estimate(settings, task, sizes) -> Estimate`. A family that sends pictures elsewhere offers `where(settings) -> str | None` (the host;
`None` where they stay on this machine) and `sends(settings, task, sizes) -> Sending | None`, which is told before somebody agrees,
as is what ``first(settings)`` returns, the same of what is asked before the first picture;
`knock(settings)` raises where that server is not there, before work begins. What it fits has ``at(bench)``, the same thing at the bench of
another sitting, and ``lacking(keys)``, how many pictures have no answer yet.
`TASKS` names what it can do: ``("classify",)`` where it is absent, ``("count",)``, or both; a family that counts is given a
`fieldguide.tasks.count.Count` as its task, examples with `counts`, and answers with counts instead of a label. `unfit(settings, task)`
returns the Problem of settings that belong to the other task.
`made_of(settings) -> dict[str, str]` names by hash what settings only point to, such as a prompt in a file. What `fit` returns may have
``sight()``, a `fieldguide.craft.sight.Sight` through which `fieldguide.explain` looks inside; without one, it is explained by what it
answers when parts of a picture are covered, unless its ``gives_probabilities`` is False: then it is asked nothing, and its ``unexplained``
says why. Heavy libraries
are imported inside these functions, so that listing families takes no second. Nothing else is registered anywhere;
`fieldguide.contract` checks every room it finds.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from fieldguide.bench import Bench
from fieldguide.errors import EnvironmentProblem, Problem, UsageProblem, allowed_names, plain
from fieldguide.files import digest
from fieldguide.records import Estimate, Example, Image, Prediction, Sending
from fieldguide.settings import Settings, build
from fieldguide.tasks.count import Task

ENTRY_POINTS = "fieldguide.families"
_FILES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".json", ".toml", ".safetensors"})

#: A network in a folder of this machine, whose last part is its name.
_FOLDER = re.compile(r"^((?:\w+/)?hf/)([/.~].*)$")


class Fitted(Protocol):
    """A frozen thing that answers."""

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield one `Prediction` for each image, in order; a picture that fails is a row with `error`, not a gap."""
        ...

    def save(self, folder: Path) -> None:
        """Write all that `load` needs into the existing, empty `folder`."""
        ...


class Family(Protocol):
    """What a room offers (see the module's docstring)."""

    Settings: type[Settings]
    LEARNS: bool

    def fit(self, train: Sequence[Example], val: Sequence[Example], task: Any, settings: Any, bench: Bench) -> Fitted:
        """Return a new, frozen thing that answers; `task` is a `Classify`, or a `Count` for a family that counts."""
        ...

    def load(self, folder: Path) -> Fitted:
        """Return what `Fitted.save` wrote."""
        ...


@dataclass(frozen=True)
class Sizes:
    """How many pictures a contestant will train on, validate on and answer for."""

    train: int
    val: int
    test: int


@dataclass(frozen=True)
class Contestant:
    """One entry of a comparison: a folder-safe name, a family, its complete settings, and how much of the training part it gets.

    With a `fraction` below 1 the name ends in ``@`` and its per cent.
    """

    name: str
    family: str
    settings: Settings
    fraction: float = 1.0


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Return the names of all families: the files of this folder and the entry points of installed packages."""
    here = {module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")}
    return tuple(sorted(here | {point.name for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}))


def family(name: str) -> Family:
    """Return the room called `name`; raises `UsageProblem` for an unknown one, `EnvironmentProblem` where its extra is missing."""
    if name not in names():
        raise UsageProblem(
            f"There is no family called {plain(name)!r}.", allowed_names(name, names()), "See `fieldguide families`."
        )
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        if point.name == name:
            return typing.cast(Family, point.load())
    return typing.cast(Family, importlib.import_module(f"{__name__}.{name}"))


def learns(entry: Contestant) -> bool:
    """Tell whether `entry` uses training pictures: what its family says of its settings, or of all."""
    room: Any = family(entry.family)
    return bool(room.learns(entry.settings)) if room.LEARNS and hasattr(room, "learns") else bool(room.LEARNS)


def unfit(entry: Contestant, task: str) -> Problem | None:
    """Return what its family says against these settings in a study with this task; `None` where it says nothing."""
    try:
        room: Any = family(entry.family)
    except ModuleNotFoundError:
        return None
    found: Problem | None = room.unfit(entry.settings, task) if hasattr(room, "unfit") else None
    return found


def tasks(name: str) -> tuple[str, ...]:
    """Return the tasks that the family `name` can do, as ``study.toml`` calls them; both where its package is missing."""
    try:
        return tuple(getattr(family(name), "TASKS", ("classify",)))
    except ModuleNotFoundError:
        return ("classify", "count")


def by_chance(entry: Contestant) -> bool:
    """Tell whether what `entry` answers depends on the seed; False where its package is missing, for it trains nothing."""
    try:
        room: Any = family(entry.family)
    except ModuleNotFoundError:
        return False
    return bool(room.chance(entry.settings)) if hasattr(room, "chance") else bool(getattr(room, "CHANCE", False))


def needs_extra(error: ModuleNotFoundError) -> EnvironmentProblem:
    """Turn a missing package into the one command that installs it."""
    package = (error.name or "").split(".")[0]
    requires = importlib.metadata.requires("fieldguide") or []
    wanted = package.replace("_", "-").casefold()
    extras = [
        match.group(1)
        for line in requires
        if re.split(r"[\s;<>=!~\[(]", line, maxsplit=1)[0].replace("_", "-").casefold() == wanted
        and (match := re.search(r"extra == ['\"]([\w-]+)['\"]", line))
    ]
    command = f"pip install 'fieldguide[{extras[0]}]'" if extras else f"pip install {package}"
    return EnvironmentProblem(
        f"The package {package} is not installed.", "It belongs to an optional part of fieldguide.", command
    )


def parse(text: str) -> Contestant:
    """Read ``[family/]name[:key=value,...]`` (the first colon splits); the key ``as`` names the contestant.

    ``majority``, ``linear:features=colour``, ``recorded/answers.csv``, ``vit_base_patch16_224:train=last-2``. A bare name is a
    family's own, or one that some family knows. Raises `UsageProblem`, nearest names first.
    """
    head, _, tail = text.partition(":")
    room, rest = _room_of(head)
    values: dict[str, str] = {}
    for item in re.split(r",(?![^\[(]*[\])])", tail) if tail else []:
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageProblem(
                f"{plain(text)!r}: {plain(item)!r} is not a setting.",
                "After the first colon come settings as key=value, separated by commas.",
                f"For example {plain(head)}:{next(iter(family(room).Settings.model_fields), 'as')}=...",
            )
        if values.setdefault(key.strip(), value.strip()) != value.strip():
            raise UsageProblem(
                f"{plain(text)!r} sets {plain(key.strip())} twice.", "One value for each setting.", "Leave one of them out."
            )
    name = folder_name(values.pop("as", "") or _spoken(head, values))
    return contestant(room, rest, values, where=f"The contestant {plain(text)!r}", name=name)


def _spoken(head: str, values: Mapping[str, str]) -> str:
    """Return a contestant's name from its words; of a file only the stem is said."""
    told = [f"{key}={_stem(value) if '/' in value else value}" for key, value in values.items()]
    head = _FOLDER.sub(lambda found: f"{found[1]}{Path(found[2]).name}", head)
    return "-".join([f"{Path(head).parent}/{_stem(head)}" if "/" in head else head, *told])


def _stem(words: str) -> str:
    """Return the last part of a path without the suffix of a file; the weights tag of ``resnet50.a1_in1k`` is no suffix."""
    path = Path(words)
    return path.stem if path.suffix.casefold() in _FILES else path.name


def contestant(room: str, rest: str | None, values: Mapping[str, Any], where: str, name: str) -> Contestant:
    """Return a contestant of the family `room`; `rest` is the name part, which fills the family's `NAME_FIELD`."""
    kind = family(room).Settings
    given = dict(values)
    if rest:
        if kind.NAME_FIELD is None:
            raise UsageProblem(
                f"{where}: the family {room} takes no name, but got {plain(rest)!r}.", f"Allowed: {room}.", f"Write {room}"
            )
        given[kind.NAME_FIELD] = rest
    for key, value in given.items():
        field = kind.model_fields.get(key)
        if field is not None and isinstance(value, str) and _wants_tuple(field.annotation):
            given[key] = value.split("+")
    return Contestant(name, room, build(kind, given, where))


def folder_name(text: str) -> str:
    """Return a readable name that every file system takes: letters, digits and ``. _ - = +``; a long one ends in a hash of the whole."""
    name = re.sub(r"[^\w.=+-]+", "-", text.strip()).strip("-.") or "contestant"
    return name if len(name.encode()) <= 80 else f"{name[:40]}-{digest(text)[:8]}"


def _room_of(head: str) -> tuple[str, str | None]:
    if head in names():
        return head, None
    prefix, slash, rest = head.partition("/")
    if slash and prefix in names():
        return prefix, rest
    known: list[str] = list(names())
    for name in names():
        try:
            room = family(name)
        except ModuleNotFoundError:
            continue
        if hasattr(room, "knows") and room.knows(head):
            return name, head
        known += room.names() if hasattr(room, "names") else []
    raise UsageProblem(
        f"No family knows a contestant called {plain(head)!r}.",
        allowed_names(head, known),
        "See `fieldguide families`; answers from a file join as recorded/FILE.",
    )


def _wants_tuple(annotation: Any) -> bool:
    return typing.get_origin(annotation) is tuple or any(_wants_tuple(arg) for arg in typing.get_args(annotation))


def estimate(entry: Contestant, task: Task, sizes: Sizes) -> Estimate:
    """Return what `entry` is expected to cost; unknown where its family does not say."""
    room: Any = family(entry.family)
    return room.estimate(entry.settings, task, sizes) if hasattr(room, "estimate") else Estimate()


def made_of(entry: Contestant) -> dict[str, str]:
    """Return hashes of what the settings of `entry` only point to, by what it is."""
    room: Any = family(entry.family)
    return dict(room.made_of(entry.settings)) if hasattr(room, "made_of") else {}


def where(entry: Contestant) -> str | None:
    """Return the host that `entry` sends pictures to; `None` where they stay on this machine."""
    room: Any = family(entry.family)
    host: str | None = room.where(entry.settings) if hasattr(room, "where") else None
    return host


def first(entry: Contestant) -> Sending | None:
    """Return what fitting `entry` sends elsewhere before the first picture; `None` where that is nothing."""
    room: Any = family(entry.family)
    return room.first(entry.settings) if hasattr(room, "first") else None


def knock(entry: Contestant) -> None:
    """Raise where the server that `entry` asks is not there; nobody may be asked whom somebody has not agreed to."""
    room: Any = family(entry.family)
    if hasattr(room, "knock"):
        room.knock(entry.settings)


def sends(entry: Contestant, task: Task, sizes: Sizes) -> Sending | None:
    """Return what `entry` would send elsewhere; `None` where its pictures stay on this machine."""
    room: Any = family(entry.family)
    sending: Sending | None = room.sends(entry.settings, task, sizes) if hasattr(room, "sends") else None
    return None if sending is None else replace(sending, who=entry.name)
