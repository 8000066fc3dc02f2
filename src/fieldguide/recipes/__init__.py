"""The recipes: one file for each published experiment, holding its study, its steps, what it needs and what was published.

A recipe is a TOML file in this folder; adding one adds a recipe, nothing is registered anywhere. This module reads them.
`fieldguide.recipe` follows them, the report puts their figures beside the measured ones, and docs/recipes.md is drawn from them.

An experiment that was made on several data sets is one recipe with cases: each of its ``[[cases]]`` has a name and says what is other in
it, by the fields of the recipe. What a case does not say is as the recipe has it. ``NAME/CASE`` names one, ``NAME`` its first.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Literal

from pydantic import Field

from fieldguide.errors import UsageProblem, allowed_names, plain
from fieldguide.settings import Settings, build

#: What stands behind the name of a recipe in ``study.toml`` where the study is its rehearsal.
TINY = "/tiny"


class Data(Settings):
    """The pictures of an experiment."""

    name: str
    """Name of the data set."""
    page: str
    """Where it can be had, by name."""
    layout: str
    """What the folder has to look like, and how to get there."""
    classes: int = Field(ge=2)
    """Classes it has."""
    pictures: int | None = Field(None, ge=2)
    """Pictures it has; not known if not given."""
    example: str
    """What to write behind --data."""
    megabytes: int | None = Field(None, gt=0)
    """Size of the pictures, as downloaded; not known if not given."""
    licence: str
    """Licence as its page states it."""

    @property
    def told(self) -> str:
        """How many pictures it has, in figures."""
        return "an unstated number" if self.pictures is None else f"{self.pictures:,}"


class Needs(Settings):
    """What it takes besides the pictures."""

    weights: str
    """Pretrained weights, and where they come from."""
    time: str
    """Time to expect, on a GPU and on a CPU."""
    memory: str
    """Memory of the accelerator."""
    disk: str
    """Room on the disk."""


class Figure(Settings):
    """One published figure."""

    contestant: str
    """Name of the contestant in this recipe."""
    accuracy: float = Field(ge=0, le=100)
    """Accuracy in per cent, as printed."""
    filtered: float | None = Field(None, ge=0, le=100)
    """Accuracy in per cent among answers that are a name, where the source prints one."""
    metrics: dict[str, float] = {}
    """Other metrics that it prints, as shares, by our names: ``macro_f1``, ``weighted_recall`` ..."""
    time: str | None = None
    """Time to answer, in its words."""
    hardware: str | None = None
    """What it ran on, in its words."""
    correct: int | None = Field(None, ge=0)
    """Pictures it had right; not known if not given."""
    pictures: int | None = Field(None, gt=0)
    """Pictures it was asked about; not known if not given."""
    about: bool = False
    """The source says "about"."""
    of: str | None = None
    """The model that the figure is of, where this recipe asks another one."""

    @property
    def share(self) -> float:
        """The figure as a share between 0 and 1: from its counts where they are known, for printed ones are rounded or cut."""
        return self.correct / self.pictures if self.correct is not None and self.pictures else self.accuracy / 100


class Group(Settings):
    """Contestants whose mean was published, or that this recipe sets against others."""

    name: str
    """What they are called."""
    contestants: tuple[str, ...]
    """Their names in this recipe."""
    accuracy: float | None = Field(None, ge=0, le=100)
    """Published mean in per cent."""


class Published(Settings):
    """What the source reports."""

    what: str
    """What its figures are."""
    part: Literal["val", "test"]
    """Part of our split that is of the same kind: ``val`` where the source reports the pictures it selects on."""
    figures: tuple[Figure, ...] = ()
    """The figures."""
    groups: tuple[Group, ...] = ()
    """Means of several."""
    against: tuple[tuple[str, str], ...] = ()
    """Pairs of groups whose means are compared."""
    ratios: tuple[Ratio, ...] = ()
    """Its table over image : text, where it has one."""
    caveats: tuple[str, ...] = ()
    """Why they may differ from what is measured here."""


class Material(Settings):
    """Something beside the pictures that a recipe takes: texts, or pairs of captions and other pictures."""

    name: str
    """Name in this recipe, and of the texts in the study."""
    kind: Literal["texts", "pairs"]
    """Texts about the pictures or classes of the experiment, or captioned pictures that a translator learns from."""
    what: str
    """What it is."""
    page: str
    """Where it can be had, by name."""
    layout: str
    """What the folder or file has to look like."""
    example: str
    """What to write behind --material NAME=."""
    needed: bool = False
    """Whether nothing is begun without it; else what needs it is left out, and the recipe says so."""


class Ratio(Settings):
    """One row of a published table over image : text: accuracies in per cent."""

    image: int = Field(ge=0, le=100)
    """Per cent of pictures; the rest is text."""
    pictures: dict[str, float] = {}
    """With pictures alone, by selection (``balanced``, ``uniform``)."""
    sources: dict[str, dict[str, float]] = {}
    """With texts of a source in the place of the rest, by selection."""


class Question(Settings):
    """What the source left open and this recipe answers."""

    asks: str
    """The question."""
    contestants: tuple[str, ...]
    """Whose training, validation and gap answer it, or the two that answer it together."""
    pair: bool = False
    """It is answered by the second of two contestants against the first, on the same test pictures."""


class Rehearsal(Settings):
    """What ``--tiny`` runs: the same steps on small networks and pictures that the project makes itself."""

    steps: tuple[str, ...]
    """Steps, in order."""
    classes: int = Field(6, ge=2, le=12)
    """Classes of the made pictures."""
    each: int = Field(30, ge=7)
    """Pictures of a class."""
    shared: dict[str, Any] = {}
    """Settings that come before the recipe's own for every contestant that is no language model."""
    prompted: dict[str, Any] = {}
    """The same for language models that look."""
    sweep: dict[str, Any] = {}
    """Settings of its sweep over image : text; they come before the recipe's own."""
    audit: dict[str, Any] = {}
    """Settings of its audit; they come before the recipe's own."""
    settings: dict[str, dict[str, Any]] = {}
    """Settings of one contestant; they come before all others. ``{networks}`` is the folder of the networks made here."""


class Recipe(Settings):
    """One published experiment as something that can be run; of one with cases, one of them."""

    case: str | None = None
    """Its name, where there are several."""
    cases: tuple[str, ...] = ()
    """The names of all, the one that is meant where none is named first."""
    title: str
    """What is compared, on what."""
    about: str
    """Why one would run it."""
    source: str
    """Who published it."""
    steps: tuple[str, ...]
    """Steps, in order."""
    study: dict[str, Any]
    """What ``study.toml`` gets: fields of a study, with contestants as tables."""
    shared: dict[str, Any] = {}
    """Settings that every contestant gets which does not set them itself and is no language model."""
    prompted: dict[str, Any] = {}
    """The same for language models that look."""
    optional: dict[str, str] = {}
    """Contestants that are left out where their weights are not here, or nobody agreed to run their code; each with what is to be known of it."""
    stated: dict[str, str] = {}
    """For each setting that the source states: its words."""
    ours: dict[str, str] = {}
    """For each setting that the source does not state: why it is as it is."""
    data: Data
    """Its pictures."""
    needs: Needs
    """What else it takes."""
    materials: tuple[Material, ...] = ()
    """Texts and captioned pictures that it takes."""
    sweep: dict[str, Any] = {}
    """Settings of its sweep over image : text."""
    audit: dict[str, Any] = {}
    """Whose prompt is audited, as ``contestant``, and settings of that audit."""
    published: Published
    """What the source reports."""
    questions: tuple[Question, ...] = ()
    """What the source left open."""
    rehearsal: Rehearsal
    """What ``--tiny`` runs."""


def names() -> tuple[str, ...]:
    """Return the names of all recipes."""
    return tuple(sorted(_files()))


@cache
def read(name: str) -> Recipe:
    """Return the recipe `name`, or the case ``NAME/CASE`` of it; raises `UsageProblem` for an unknown one and for a file that is no recipe."""
    files = _files()
    name, _, case = name.partition("/")
    if name not in files:
        raise UsageProblem(
            f"There is no recipe called {plain(name)!r}.", allowed_names(name, files), "fieldguide recipe   lists them."
        )
    values = tomllib.loads(files[name].read_text(encoding="utf-8"))
    cases = {str(one.get("name")): one for one in values.pop("cases", ())}
    if case and case not in cases:
        raise UsageProblem(
            f"The recipe {name} has no case called {plain(case)!r}.",
            allowed_names(case, cases) if cases else "It has no cases.",
            f"fieldguide recipe {name}   says what it needs.",
        )
    if cases:
        case = case or next(iter(cases))
        own = {key: value for key, value in cases[case].items() if key != "name"}
        values = {**_merged(values, own), "case": case, "cases": tuple(cases)}
    return build(Recipe, values, f"The recipe {name}{'/' if case else ''}{case}")


def _merged(values: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return `values` with what `own` has in their place; tables are merged, lists are not."""
    both = {
        key: _merged(values[key], own[key]) for key in own if isinstance(values.get(key), dict) and isinstance(own[key], dict)
    }
    return {**values, **own, **both}


def _files() -> dict[str, Traversable]:
    folder = resources.files(__name__)
    return {entry.name.removesuffix(".toml"): entry for entry in folder.iterdir() if entry.name.endswith(".toml")}
