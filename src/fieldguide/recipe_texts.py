"""What a recipe does with texts: the materials it is given, drawings for its rehearsal, the sweep over image : text, the score card."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldguide import recipes, terminal
from fieldguide.asked import Asked, TextRatio, Translation
from fieldguide.errors import UsageProblem, allowed_names, plain
from fieldguide.settings import build

if TYPE_CHECKING:
    from fieldguide.recipe import Order

#: Texts of the rehearsal: captions beside the drawings, and sentences about their classes.
_CAPTIONS, _DESCRIPTIONS = "reed", "language-model"


def read_materials(name: str, words: Iterable[str]) -> dict[str, Path]:
    """Read ``NAME=PATH`` as materials of the recipe `name`; raises `UsageProblem` for one that it does not take, or that is not there."""
    known = {material.name: material for material in recipes.read(name).materials}
    found: dict[str, Path] = {}
    for word in words:
        which, equals, path = word.partition("=")
        if not equals or which not in known:
            raise UsageProblem(
                f"--material {plain(word)}: the recipe {name} takes no material called {plain(which)!r}.",
                allowed_names(which, known) if known else "It takes none.",
                f"fieldguide recipe {name}   says what it needs.",
            )
        found[which] = Path(path).expanduser().resolve()
        if not found[which].exists():
            raise UsageProblem(
                f"There is nothing at {plain(path)}.",
                f"{known[which].what}; {known[which].page}. {known[which].layout}",
                f"--material {which}={known[which].example}",
            )
    return found


def texts_of(order: Order, folder: Path) -> dict[str, Path]:
    """Return the texts that the study gets, by name: those given, or those of the drawings of a rehearsal."""
    if order.tiny and "drawings" in order.steps:
        return {_CAPTIONS: pictures_of(order, folder), _DESCRIPTIONS: folder / "pictures" / "descriptions.json"}
    wanted = [material.name for material in order.recipe.materials if material.kind == "texts"]
    return {name: order.given[name] for name in wanted if name in order.given}


def pictures_of(order: Order, folder: Path) -> Path:
    """Return the folder of class folders of a rehearsal."""
    return folder / "pictures" / "pictures" if {"drawings", "digits"} & set(order.steps) else folder / "pictures"


def has_texts(settings: Mapping[str, Any], texts: Mapping[str, Path], order: Order) -> bool:
    """Tell whether the texts that a contestant needs are there, or in its study already; else it is left out, which `require_materials` says."""
    wanted = settings.get("texts")
    return wanted is None or wanted in texts or (order.folder / "texts" / f"{wanted}.jsonl").exists()


def with_pairs(settings: dict[str, Any], order: Order) -> dict[str, Any]:
    """Put the path of captioned pictures where ``{NAME}`` stands; without them a translator learns from the pictures at hand."""
    for key, value in tuple(settings.items()):
        for material in order.recipe.materials:
            if value == f"{{{material.name}}}":
                if material.name in order.given:
                    settings[key] = str(order.given[material.name])
                else:
                    del settings[key]
    return settings


def require_materials(order: Order) -> None:
    """Say what is left out for want of a material; raises `UsageProblem` for one without which nothing can be done."""
    for material in order.recipe.materials:
        if material.name in order.given or (order.folder / "texts" / f"{material.name}.jsonl").exists():
            continue
        lacks = f"{material.what}: {material.page}. {material.layout}"
        if material.needed:
            raise UsageProblem(
                f"The recipe {order.name} needs {material.what}.",
                f"Get them: {material.page}. {material.layout}",
                order.command("--material", f"{material.name}={material.example}"),
            )
        left = [
            entry["name"]
            for entry in order.recipe.study["contestants"]
            if {material.name, f"{{{material.name}}}"} & set(map(str, entry.get("settings", {}).values()))
        ]
        what = "left out" if material.kind == "texts" else "translators learn from the pictures at hand instead"
        terminal.say(f"Not given: {material.name}. {lacks} Without it, {what}: {', '.join(left)}.", "yellow")


def make_drawings(order: Order, asked: Asked) -> None:
    """Draw the small pictures of the rehearsal, with captions and sentences about them."""
    from fieldguide.data.drawn.folders import write_drawings

    rehearsal = order.recipe.rehearsal
    write_drawings(Path(asked.source).parent, rehearsal.classes, rehearsal.each)


def sweep_ratios(order: Order, asked: Asked) -> None:
    """Turn image : text from all pictures to all text, with three curves."""
    from fieldguide import text_shown

    wanted = _sweep(order)
    if wanted is not None:
        text_shown.run(order.folder, wanted, online=order.online, progress=order.progress)


def score_translators(order: Order, asked: Asked) -> None:
    """Measure how accurate the translations are."""
    from fieldguide import scorecard_shown

    wanted = _sweep(order)
    if wanted is not None:
        shared = {name: getattr(wanted, name) for name in Translation.model_fields}
        scorecard_shown.run(order.folder, Translation(**shared), online=order.online, progress=order.progress)


def _sweep(order: Order) -> TextRatio | None:
    """Return the settings of the sweep; `None`, said aloud, where the study has no texts."""
    from fieldguide.data.texts import names

    texts = names(order.folder)
    if not texts:
        materials = ", ".join(f"--material {one.name}={one.example}" for one in order.recipe.materials if one.kind == "texts")
        terminal.say(f"Left out: the study has no texts. Give one of {materials}.", "yellow")
        return None
    more = order.recipe.rehearsal.sweep if order.tiny else {}
    values = {**with_pairs(dict(order.recipe.sweep), order), **more, "texts": texts}
    return build(TextRatio, values, f"The sweep of the recipe {order.name}")
