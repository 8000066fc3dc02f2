"""Follow a recipe: say what it needs, notice what is missing before anything is begun, then do its steps one after the other.

The same command goes on where it was stopped. `tiny` rehearses: the same code and steps on small networks and made pictures.
"""

from __future__ import annotations

import math
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fieldguide import families, looking, recipe_asking, recipe_texts, recipes, runs, terminal
from fieldguide import gather as gathering
from fieldguide import plan as planning
from fieldguide import study as page
from fieldguide.asked import Asked, Terms, fractions
from fieldguide.bench import Progress, Silent
from fieldguide.data.classes import propose
from fieldguide.data.split import SplitShape
from fieldguide.errors import EnvironmentProblem, Problem, UsageProblem, plain
from fieldguide.families import Contestant, Sizes
from fieldguide.records import Estimate
from fieldguide.sending import Call, agree
from fieldguide.tasks.classify import Classify

#: What stands for the folder of made networks in the settings of a rehearsal.
NETWORKS = "{networks}"
#: Part of a data set's pictures that may be missing before a folder is taken for another one.
_LOST = 0.02
#: Bytes of a decoded picture, for each pixel of its shorter side squared: three colours, and a third for its longer side.
_STORED = 4


@dataclass(frozen=True)
class Order:
    """A recipe as it was asked for. `data` is where the pictures are; `other`: they are others than the recipe's, on purpose.

    `given` are its materials, by their names in the recipe. `case` is one of its data sets, where it has several. `asking` is what was
    said of the language model that is asked, by `recipe_asking.OPTIONS`, and `terms` whether pictures
    may be sent to another machine, and how many questions may be put; `said` are those of the command, where somebody agreed since.
    """

    name: str
    data: str | None = None
    out: Path | None = None
    tiny: bool = False
    online: bool = False
    other: bool = False
    progress: Progress = field(default_factory=Silent)
    given: Mapping[str, Path] = field(default_factory=dict)
    case: str | None = None
    asking: Mapping[str, str] = field(default_factory=dict)
    terms: Terms = field(default_factory=Terms)
    said: Terms | None = None

    @property
    def recipe(self) -> recipes.Recipe:
        """What the file says."""
        return recipes.read(f"{self.name}/{self.case}" if self.case else self.name)

    @property
    def whole(self) -> str:
        """Its name, with the case where there are several: what stands in ``study.toml``."""
        return f"{self.name}/{self.recipe.case}" if self.recipe.case else self.name

    @property
    def folder(self) -> Path:
        """Folder of the study."""
        name = self.whole.replace("/", "-").replace("_", "-")
        return self.out or Path(f"{name}{'-tiny' if self.tiny else ''}-study")

    @property
    def steps(self) -> tuple[str, ...]:
        """Names of the steps, in order."""
        return self.recipe.rehearsal.steps if self.tiny else self.recipe.steps

    @property
    def begun(self) -> bool:
        """Whether the list of the study is frozen, so that its pictures have been looked at."""
        return (self.folder / "manifest.parquet").exists()

    def command(self, *more: str) -> str:
        """Return the command that asks for this, with `more` words."""
        words = ["fieldguide", "recipe", self.name, *(["--case", self.case] if self.case else [])]
        words += ["--tiny"] if self.tiny else ["--data", self.data or self.recipe.data.example]
        words += [word for name, path in self.given.items() for word in ("--material", f"{name}={path}")]
        words += [word for option, value in self.asking.items() for word in (f"--{option.replace('_', '-')}", value)]
        words += ["--out", str(self.out)] if self.out else []
        words += [word for word, wanted in (("--online", self.online), ("--other-data", self.other)) if wanted]
        return shlex.join([*words, *more])


def asked_of(order: Order) -> Asked:
    """Return the study that `order` stands for; raises `UsageProblem` where a family does not know a setting of the recipe."""
    recipe, folder = order.recipe, order.folder.resolve()
    values: dict[str, Any] = {**recipe.study, "recipe": order.whole + (recipes.TINY if order.tiny else "")}
    texts = recipe_texts.texts_of(order, folder)
    values["texts"] = tuple(f"{name}={path}" for name, path in texts.items())
    values["contestants"] = tuple(
        {**entry, "settings": settings}
        for entry in recipe.study["contestants"]
        if recipe_texts.has_texts(settings := _settings(order, entry, folder / "networks"), texts, order)
        and recipe_asking.takes_part(order, entry, settings)
    )
    source = str(recipe_texts.pictures_of(order, folder)) if order.tiny else order.data or recipe.data.example
    return page.read_asked(source, order.out, **values)[0]


def _settings(order: Order, entry: Mapping[str, Any], networks: Path) -> dict[str, Any]:
    recipe, asks = order.recipe, recipe_asking.asks(entry)
    own = recipe_texts.with_pairs({**(recipe.prompted if asks else recipe.shared), **entry.get("settings", {})}, order)
    if order.tiny:
        own |= recipe.rehearsal.prompted if asks else recipe.rehearsal.shared
        own |= recipe.rehearsal.settings.get(entry["name"], {})
    own = recipe_asking.fitting(own | recipe_asking.told(order, entry))
    return {key: value.replace(NETWORKS, str(networks)) if isinstance(value, str) else value for key, value in own.items()}


def follow(order: Order) -> page.Study:
    """Do the steps of `order` and return the finished study; goes on where an earlier call was stopped.

    Raises `UsageProblem` where the pictures are missing or are not those of the recipe, and `EnvironmentProblem` where weights are
    missing, before anything is written.
    """
    if order.tiny and order.data:
        raise UsageProblem(
            "A rehearsal (--tiny) makes its own pictures, and --data names others.",
            "Allowed: one of the two.",
            f"{order.command()}   or {replace(order, tiny=False).command()}",
        )
    if not (order.tiny or order.data):
        raise without_pictures(order)
    asked = asked_of(order)
    if not order.tiny:
        require_pictures(order, asked)
        recipe_texts.require_materials(order)
        recipe_asking.say_left_out(order, frozenset(entry.name for entry in asked.contestants if not isinstance(entry, str)))
        require_weights(order, asked)
        entries = planning.read_contestants(asked.contestants)
        if agree(entries, asked, order.folder, Call(order.terms, order.online), order.progress).hosts:
            # And is not asked again, but for what was not told of: the audit asks more.
            order = replace(order, said=order.terms, terms=order.terms.model_copy(update={"yes": True}))
    done: page.Study | None = None
    for number, step in enumerate(order.steps, start=1):
        terminal.say(f"Step {number} of {len(order.steps)}: {step}. {_about(step)}", "bold")
        before = recipe_asking.questions_put(order)
        done = STEPS[step](order, asked) or done
        order = recipe_asking.less(order, before)
    done = done or page.redraw(order.folder)
    return replace(done, outcomes={**done.outcomes, **recipe_asking.open_audits(order)})


def _about(step: str) -> str:
    return (STEPS[step].__doc__ or "").strip().splitlines()[0]


def _make_pictures(order: Order, asked: Asked) -> None:
    """Make the small pictures of the rehearsal."""
    from fieldguide.data.tiny import write_figures

    rehearsal = order.recipe.rehearsal
    write_figures(Path(asked.source), rehearsal.classes, rehearsal.each)


def _make_digits(order: Order, asked: Asked) -> None:
    """Draw the digits of the rehearsal."""
    from fieldguide.data.drawn.folders import write_drawings

    rehearsal = order.recipe.rehearsal
    write_drawings(Path(asked.source).parent, [str(digit) for digit in range(rehearsal.classes)], rehearsal.each)


def _make_coins(order: Order, asked: Asked) -> None:
    """Draw the coins of the rehearsal."""
    from fieldguide.data.drawn.coins import COINS, write_coins

    each, kinds = order.recipe.rehearsal.each, tuple(COINS)[: order.recipe.rehearsal.classes]
    write_coins(Path(asked.source), {"train": 2 * each, "valid": each // 2, "test": each}, kinds=kinds)


def _make_networks(order: Order, asked: Asked) -> None:
    """Make the small networks of the rehearsal, as folders with weights."""
    from fieldguide.craft.tiny_vit import write_vit

    write_vit(order.folder.resolve() / "networks" / "vit")


def _look(order: Order, asked: Asked) -> None:
    """Examine the pictures and the split that will be made."""
    if order.begun:
        terminal.say("Done before: the list of pictures is frozen.", "dim")
        return
    given: dict[str, Any] = {
        "split": asked.split,
        "seed": asked.seed,
        "folds": asked.folds,
        "alike": asked.alike,
        "leaks": asked.leaks,
        "task": asked.task,
        "count": asked.count,
    }
    seen = looking.look(asked.source, online=order.online, progress=order.progress, **given)
    if not order.tiny:
        _require_like(order, len(seen.manifest.classes), len(seen.examination.rows))
    looking.show(seen)


def _compare(order: Order, asked: Asked) -> page.Study:
    """Train every contestant that learns, let all answer, score and draw the report."""
    return page.compare(asked, order.folder, online=order.online, terms=order.terms, progress=order.progress)


def _report(order: Order, asked: Asked) -> None:
    """Put the published figures beside the measured ones."""
    from fieldguide.report.published import beside
    from fieldguide.report.read import read_study

    found = beside(read_study(order.folder))
    for line in found.lines if found else ():
        terminal.say(line)


#: What the steps of a recipe's file stand for. The first line of each docstring is said when it begins.
STEPS: dict[str, Callable[[Order, Asked], page.Study | None]] = {
    "pictures": _make_pictures,
    "networks": _make_networks,
    "drawings": recipe_texts.make_drawings,
    "digits": _make_digits,
    "coins": _make_coins,
    "look": _look,
    "compare": _compare,
    "text-ratio": recipe_texts.sweep_ratios,
    "translation": recipe_texts.score_translators,
    "audit": recipe_asking.audit_prompt,
    "report": _report,
}


def without_pictures(order: Order) -> UsageProblem:
    """Return what to say where no pictures are given."""
    data = order.recipe.data
    return UsageProblem(
        f"The recipe {order.name} needs its pictures: {data.name}, {data.told} in {data.classes} classes.",
        f"Get them from {data.page}. {data.layout}",
        f"{order.command()}   or, to rehearse without them: {replace(order, tiny=True).command()}",
    )


def require_pictures(order: Order, asked: Asked) -> None:
    """Raise `UsageProblem` where a folder or table is not that of the recipe; archives and hub data sets are looked at by the first step."""
    if order.begun or asked.source.startswith("hf:"):
        return
    if not Path(asked.source).exists():
        data = order.recipe.data
        raise UsageProblem(
            f"There are no pictures at {plain(asked.source)}.",
            f"The recipe {order.name} needs {data.name}, from {data.page}. {data.layout}",
            replace(order, data=None).command(),
        )
    if Path(asked.source).is_dir():
        with tempfile.TemporaryDirectory() as scratch:
            found = gathering.source_of(asked, Path(scratch), order.online)
        _require_like(order, len(found.counted or found.classes), len(found.files))


def _require_like(order: Order, classes: int, pictures: int) -> None:
    data = order.recipe.data
    if order.other or (classes == data.classes and pictures >= (1 - _LOST) * (data.pictures or 0)):
        return
    raise UsageProblem(
        f"{plain(order.data)} holds {pictures:,} pictures in {classes} classes; {data.name} has {data.told} in {data.classes}.",
        f"{data.layout} Or other pictures on purpose, with --other-data; the report then says that the published figures are of others.",
        f"{replace(order, data=None).command()}   or {replace(order, other=True).command()}",
    )


def require_weights(order: Order, asked: Asked) -> None:
    """Raise `EnvironmentProblem` where pretrained weights are not on this machine and may not be downloaded."""
    lacking: list[str] = []
    first: Problem | None = None
    for contestant, problem in _obstacles(order, asked):
        if not isinstance(problem, EnvironmentProblem) or order.online:
            raise problem
        lacking.append(contestant.name)
        first = first or problem
    if first is not None:
        raise EnvironmentProblem(
            f"The weights of {len(lacking)} of {len(asked.contestants)} contestants are not on this machine: {', '.join(lacking)}. "
            f"{first.given}",
            f"{order.recipe.needs.weights} Nothing was begun.",
            replace(order, online=True).command(),
        )


def _obstacles(order: Order, asked: Asked) -> Iterator[tuple[Contestant, Problem]]:
    """Yield what stands in the way of contestants that are not whole; a missing package is a row of the study and no obstacle."""
    for contestant in planning.read_contestants(asked.contestants):
        if runs.whole(order.folder / "runs" / contestant.name):
            continue
        problem = planning.obstacle(contestant, order.online)
        if problem is not None and not planning.missing_extra(problem):
            yield contestant, problem


def planned(order: Order) -> page.DryRun:
    """Return what `order` would run and its expected cost; without pictures by the counts of the recipe. Keeps nothing."""
    if order.tiny:
        with tempfile.TemporaryDirectory() as scratch:
            rehearsal = replace(order, out=Path(scratch) / "study")
            asked = asked_of(rehearsal)
            for step in order.steps:
                if step in ("pictures", "networks", "drawings", "digits", "coins"):
                    STEPS[step](rehearsal, asked)
            return replace(page.dry_run(asked, order.folder, progress=order.progress), folder=order.folder)
    asked = asked_of(order)
    if order.data:
        require_pictures(order, asked)
        return page.dry_run(asked, order.folder, online=order.online, progress=order.progress)
    return _by_counts(order, asked)


def _by_counts(order: Order, asked: Asked) -> page.DryRun:
    """Estimate from the numbers of classes and pictures alone; where weights are missing, as from scratch, which costs the same."""
    data = order.recipe.data
    if data.pictures is None:
        raise without_pictures(order)
    train, val, test = (math.floor(data.pictures * share + 0.5) for share in fractions(asked.split))
    task, sizes = Classify(propose(f"class {number:04d}" for number in range(data.classes))), Sizes(train, val, test)
    entries = []
    for contestant in planning.read_contestants(asked.contestants):
        problem = planning.obstacle(contestant, order.online)
        if (
            isinstance(problem, EnvironmentProblem)
            and hasattr(contestant.settings, "weights")
            and not planning.missing_extra(problem)
        ):
            bare = replace(contestant, settings=contestant.settings.model_copy(update={"weights": "none"}))
            contestant, problem = (bare, None) if planning.obstacle(bare, order.online) is None else (contestant, problem)
        estimate = Estimate() if problem else families.estimate(contestant, task, sizes)
        entries.append(planning.Planned(contestant, estimate, problem))
    wanted = planning.sizes_wanted(entry.contestant for entry in entries if entry.problem is None)
    shape = SplitShape({"train": train, "val": val, "test": test}, {}, 0.0, {}, 0, "split")
    return page.DryRun(order.folder, shape, tuple(entries), sum(_STORED * size**2 for size in wanted) * data.pictures)


def show_recipes() -> None:
    """Print all recipes."""
    for name in recipes.names():
        recipe = recipes.read(name)
        terminal.say(name, "bold")
        if not recipe.cases:
            terminal.say(f"  {recipe.title}. {recipe.data.told} pictures in {recipe.data.classes} classes.")
            continue
        terminal.say(f"  {recipe.title}.")
        for case in recipe.cases:
            data = recipes.read(f"{name}/{case}").data
            terminal.say(f"  --case {case}: {data.name}, {data.told} pictures in {data.classes} classes.")
    terminal.say("What one needs: fieldguide recipe NAME. To rehearse it: fieldguide recipe NAME --tiny", "dim")


def show_needs(order: Order) -> None:
    """Print what a recipe is and what it needs."""
    recipe = order.recipe
    data, needs = recipe.data, recipe.needs
    terminal.say(recipe.title, "bold")
    terminal.say(" ".join(recipe.about.split()))
    size = f", {data.megabytes:,} MB" if data.megabytes else ""
    for title, words in (
        *((("case", f"{recipe.case}, of {', '.join(recipe.cases)}; --case NAME takes another"),) if recipe.cases else ()),
        ("pictures", f"{data.name}: {data.told} in {data.classes} classes{size}. Licence: {data.licence}."),
        ("weights", needs.weights),
        ("time", needs.time),
        ("memory", needs.memory),
        ("disk", needs.disk),
        *((one.name, f"{one.what}; {one.page}. --material {one.name}={one.example}") for one in recipe.materials),
        *(("optional", f"{name}: {' '.join(why.split())}") for name, why in recipe.optional.items()),
        ("steps", ", ".join(f"{step} ({_about(step)[:-1].lower()})" for step in order.steps)),
    ):
        terminal.say(f"  {title:<9} {words}")
