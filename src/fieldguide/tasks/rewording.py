"""The words around the list of classes, said otherwise; and a list that is longer than the classes. Package data: ``prompts/paraphrases.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from fieldguide.records import ClassInfo
from fieldguide.tasks.names import fold
from fieldguide.tasks.plurals import singular_names
from fieldguide.tasks.prompting import Prompt
from fieldguide.tasks.unexampled import holds

_PARTS = ("system", "question", "closing")


def reworded(prompt: Prompt) -> list[tuple[str, str, Prompt]] | str:
    """Return (id, how it begins, prompt) for each wording of the package, or why there can be none.

    The text that holds the list of classes is said in other words; where it stands, how the list is written, the form of the answer, an
    example, and all other texts stay. What that text says besides (that the pictures are digits, say) is gone with it.
    """
    parts = [part for part in _PARTS if holds(getattr(prompt, part), "classes")]
    if any(holds(turn.text, "classes") for turn in prompt.turns):
        return "The prompt lists the classes in a turn of its own, which other words would have to be made for by hand."
    if not parts:
        return "The prompt has no place {classes}: other words would have to say its list in another way, too."
    if len(parts) > 1 or getattr(prompt, parts[0]).count("{classes}") > 1:
        return "The prompt lists the classes more than once, which other words would have to be made for by hand."
    old = getattr(prompt, parts[0])
    found = []
    for id, wording in _data()["wordings"].items():
        lead = wording["lead"] + ("\n{classes}\n" if prompt.one_a_line else " {classes}.\n")
        said = lead + wording[prompt.format]
        if holds(old, "example", "example_answer"):
            said += f" {wording['example']}"
        if not holds(old, "class_count"):
            said = said.replace("{class_count} ", "")
        found.append(
            (id, wording["lead"].replace("{class_count} ", "").removesuffix(":"), prompt.model_copy(update={parts[0]: said}))
        )
    return found


def lengthened(prompt: Prompt, classes: Sequence[ClassInfo]) -> tuple[Prompt, int] | None:
    """Return `prompt` with names of things that are no class behind its list, as many as there are classes or names, and how many.

    `None` where a list with descriptions or synonyms would show which names were added, or where no name is left.
    """
    if prompt.descriptions or prompt.synonyms:
        return None
    used = {word for info in classes for said in (info.id, info.name, *info.synonyms) for word in _words(said)}
    names = [name for name in _data()["others"]["names"] if not used & _words(name)][: len(classes)]
    if not names:
        return None
    entries = [f"{prompt.quote}{name}{prompt.quote}" for name in names]
    if prompt.numbered:
        entries = [f"{number}. {entry}" for number, entry in enumerate(entries, len(classes) + 1)]
    between = "\n" if prompt.one_a_line else prompt.separator
    behind = "".join(between + entry for entry in entries).replace("{", "{{").replace("}", "}}")
    count = str(len(classes) + len(names))
    update: dict[str, Any] = {part: _longer(getattr(prompt, part), behind, count) for part in _PARTS}
    update["turns"] = tuple(turn.model_copy(update={"text": _longer(turn.text, behind, count)}) for turn in prompt.turns)
    return prompt.model_copy(update=update), len(names)


def _longer(template: str, behind: str, count: str) -> str:
    """Return a template with `behind` behind each list, and `count` as the number of classes; doubled braces stay what they are."""
    pieces = template.split("{{")  # a place never begins in what stands for a brace
    return "{{".join(piece.replace("{classes}", "{classes}" + behind).replace("{class_count}", count) for piece in pieces)


def _words(name: str) -> set[str]:
    return {form for word in fold(name).split() for form in singular_names(word)}


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads((resources.files("fieldguide") / "prompts" / "paraphrases.toml").read_text(encoding="utf-8"))
