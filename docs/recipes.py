"""Write ``docs/recipes.md`` from the files of the recipes: ``uv run python docs/recipes.py``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fieldguide import recipes
from fieldguide.recipes import Figure, Recipe
from fieldguide.report.published_asked import printed

TARGET = Path(__file__).with_name("recipes.md")

HEAD = """# Recipes

A recipe repeats a published experiment: a study file, named steps, what it needs, and the published figures, which the report puts
beside the measured ones. Drawn from `src/fieldguide/recipes/*.toml` by `docs/recipes.py`; do not edit.

```sh
fieldguide recipe                                   # all of them
fieldguide recipe NAME                              # what one needs, and what to do
fieldguide recipe NAME --data FOLDER --dry-run      # time, memory and disk here, measured by a few steps
fieldguide recipe NAME --data FOLDER --online       # do it; the same command goes on where it was stopped
fieldguide recipe NAME --tiny                       # rehearse: the same steps on small networks and made pictures, offline
fieldguide recipe NAME --case CASE --data FOLDER    # of an experiment that was made on several data sets, one of them
fieldguide recipe NAME --data FOLDER --model served/NAME --server URL   # ask another language model than the recipe's
```

A folder that does not hold the classes and pictures of a recipe is refused before anything is begun; `--other-data` runs its
contestants on other pictures on purpose. Before pictures go to a server on another machine, the recipe says where they go and what that
costs, and asks; `--yes` agrees. To add a recipe, add one file.
"""


def page() -> str:
    """Return the page as Markdown."""
    lines = [HEAD, "| recipe | what |", "|---|---|"]
    lines += [f"| [{name}](#{name}) | {recipes.read(name).title} |" for name in recipes.names()]
    for name in recipes.names():
        recipe = recipes.read(name)
        lines += ["", f'<a id="{name}"></a>', f"## {name}", "", *_head(recipe)]
        for case in recipe.cases:
            lines += ["", f"### {name} --case {case}", "", *_case(recipes.read(f"{name}/{case}"))]
        lines += [] if recipe.cases else ["", *_case(recipe)]
    return "\n".join(lines) + "\n"


def _head(recipe: Recipe) -> Iterator[str]:
    yield f"{recipe.title}{'' if recipe.title.endswith('?') else '.'} {' '.join(recipe.about.split())}"
    yield ""
    yield f"Source: {recipe.source}"


def _case(recipe: Recipe) -> Iterator[str]:
    data, needs = recipe.data, recipe.needs
    size = f", {data.megabytes:,} MB" if data.megabytes else ""
    yield from _table(
        ("needs", ""),
        [
            ("pictures", f"{data.name}: {data.told} in {data.classes} classes{size}; licence: {data.licence}"),
            ("from", data.page),
            ("folder", data.layout),
            *((key, getattr(needs, key)) for key in type(needs).model_fields),
            ("steps", ", ".join(recipe.steps)),
        ],
    )
    yield ""
    yield f"Published: {recipe.published.what}."
    yield ""
    figures = {figure.contestant: figure for figure in recipe.published.figures}
    rows = []
    for entry in recipe.study["contestants"]:
        figure = figures.get(entry["name"])
        told = "none" if figure is None else f"{'about ' if figure.about else ''}{_printed(figure)} %"
        counts = f"{figure.correct}/{figure.pictures}" if figure and figure.correct is not None else ""
        rows.append((f"`{entry['name']}`", _settings(entry.get("settings", {})), told, counts))
    yield from _table(("contestant", "settings of its own", "published", "pictures"), rows)
    yield ""
    if recipe.published.groups:
        groups = (
            (g.name, ", ".join(g.contestants), f"{g.accuracy:.2f} %" if g.accuracy else "none") for g in recipe.published.groups
        )
        yield from _table(("mean of", "contestants", "published"), groups)
        yield ""
    more = [(f"`{figure.contestant}`", words) for figure in recipe.published.figures if (words := _more(figure))]
    if more:
        yield from _table(("contestant", "also published"), more)
        yield ""
    for name, why in recipe.optional.items():
        yield f"`{name}` need not take part. {' '.join(why.split())}"
        yield ""
    shared = [f"of all contestants: {_settings(recipe.shared)}"] if recipe.shared else []
    shared += [f"of language models: {_settings(recipe.prompted)}"] if recipe.prompted else []
    yield f"Settings {'; '.join(shared)}. Split {recipe.study['split']}, seed {recipe.study['seed']}."
    yield ""
    yield from _table(("setting", "stated by the source"), ((f"`{key}`", words) for key, words in recipe.stated.items()))
    yield ""
    yield from _table(("setting", "ours, and why"), ((f"`{key}`", words) for key, words in recipe.ours.items()))
    yield ""
    for question in recipe.questions:
        yield f"Left open there: {question.asks} Answered by {', '.join(f'`{name}`' for name in question.contestants)}."
        yield ""
    if recipe.audit and "audit" in recipe.steps:
        wish = {name: ", ".join(value) if isinstance(value, list) else value for name, value in recipe.audit.items()}
        yield f"Audited ([auditing.md](auditing.md)): {_settings(wish)}."
        yield ""
    yield f"With `--tiny`: {', '.join(recipe.rehearsal.steps)}; {recipe.rehearsal.each} made pictures of each of {recipe.rehearsal.classes} classes."


def _printed(figure: Figure) -> str:
    whole = figure.correct is None and figure.accuracy == round(figure.accuracy)
    return f"{figure.accuracy:.0f}" if whole and not figure.about else f"{figure.accuracy:.2f}"


def _more(figure: Figure) -> str:
    told = [] if figure.filtered is None else [f"filtered accuracy {figure.filtered:.2f} %"]
    told += [f"{name.replace('_', ' ')} {printed(value)}" for name, value in figure.metrics.items()]
    told += [f"{name}: {words}" for name, words in (("time to answer", figure.time), ("on", figure.hardware)) if words]
    return "; ".join(told)


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key} = {value}`" for key, value in values.items())


def _table(head: tuple[str, ...], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in row)} |"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
