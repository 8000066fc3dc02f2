"""Prompts as files: what a language model that looks is asked, how the classes are listed, and how an answer should look.

A prompt is one of the package (``prompts/ask/NAME.toml``), a TOML file of the user's own with the fields of `Prompt`, or an Ollama
Modelfile. `render` makes one `Asking` of it, the same for every picture of a study: equal prompts, classes and examples give an equal
hash. Names of classes are data: whatever they hold, they fill a place and are never read as a template.
"""

from __future__ import annotations

import json
import os
import random
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from fieldguide.errors import UsageProblem, allowed_names, plain
from fieldguide.files import read_toml
from fieldguide.records import ClassInfo, Example
from fieldguide.settings import Settings, build
from fieldguide.tasks import modelfile
from fieldguide.tasks.asking import Asking, How, Message, Shown
from fieldguide.tasks.classify import fold
from fieldguide.tasks.places import filled, flat, parsed

#: The prompt that is asked with where none is named.
DEFAULT = "plain"
#: The key under which an answer in JSON names the class.
KEY = "label"
#: Bytes of a file that may be a prompt; what is longer is something else.
_LONGEST = 1_000_000


class Words(Settings):
    """What a prompt calls one class; what it does not say stays as ``classes.toml`` has it."""

    name: str | None = None
    """The name it is listed and answered with."""
    synonyms: tuple[str, ...] | None = None
    """Other names of it."""
    description: str | None = None
    """What it looks like."""


class Turn(Settings):
    """One turn in words alone that stands before the question; a Modelfile's MESSAGE."""

    role: Literal["system", "user", "assistant"]
    """Whose turn it is."""
    text: str
    """What is said."""


class Prompt(Settings):
    """What is asked about a picture, and how.

    `system`, `question`, `closing` and the texts of `turns` are templates with the places {classes}, {class_count}, {example} and
    {example_answer}; {{ and }} stand for braces. They are sent as they stand, with every blank and line break.
    """

    name: str = ""
    """What it is called in reports; the name of its file if not given."""
    about: str = ""
    """What it is, in a few words."""
    source: str = ""
    """Where its words come from: what is quoted letter for letter, and what is not."""
    model: str | None = None
    """The model it was written for: a suggestion, and what FROM says in a Modelfile."""
    system: str = ""
    """System message; without one no system turn is sent."""
    question: str = ""
    """What stands beside the picture."""
    closing: str = ""
    """Last words, behind the question and the picture and before the answer."""
    place: Literal["before", "after"] = "before"
    """Where the question stands. Before the picture, a long list is computed once for all pictures; after it, for every one."""
    separator: str = ", "
    """What stands between two classes of the list."""
    one_a_line: bool = False
    """List one class a line; the separator is then not used."""
    numbered: bool = False
    """Number the classes of the list from 1. The answer is a name all the same."""
    quote: str = Field("", max_length=4)
    """What stands on both sides of a name in the list."""
    synonyms: bool = False
    """List the other names of each class, too."""
    descriptions: bool = False
    """List the description of each class, too."""
    order: tuple[str, ...] = ()
    """Classes that are listed first, in this order, by id or name; those that the study lacks are passed over."""
    example: str | None = None
    """The class that {example} names, by id or name, or any other word; the first of the list if not given."""
    format: Literal["name", "json"] = "name"
    """How an answer should look: the name, or a JSON object with the name under "label"."""
    shots: int = Field(0, ge=0, le=100)
    """Training pictures of each class that are shown with their right answer before the question is asked."""
    temperature: float = Field(0.0, ge=0, le=10, allow_inf_nan=False)
    """Temperature of sampling; 0 always takes the likeliest token."""
    seed: int | None = None
    """Seed of sampling, for models and servers that take one."""
    most_tokens: int = Field(64, ge=1)
    """Tokens after which an answer is cut."""
    classes: Mapping[str, Words] = Field(default_factory=dict)
    """Other names, synonyms and descriptions than those of ``classes.toml``, by class id or name."""
    turns: tuple[Turn, ...] = ()
    """Turns in words alone that stand between the system message and the question."""
    notes: tuple[str, ...] = ()
    """What of an imported file was not taken over."""


def prompt_names() -> tuple[str, ...]:
    """Return the names of the prompts that come along."""
    return tuple(sorted(file.name.removesuffix(".toml") for file in _shelf().iterdir() if file.name.endswith(".toml")))


def read_prompt(name_or_path: str | Path) -> Prompt:
    """Return a prompt of the package by its name, or the one in a file: TOML, or an Ollama Modelfile.

    Raises `UsageProblem` for a name that is none, and for a file that cannot be read or holds no prompt.
    """
    given = str(name_or_path)
    if given in prompt_names():
        values = tomllib.loads((_shelf() / f"{given}.toml").read_text(encoding="utf-8"))
        return checked(_built({"name": given, **values}, f"The prompt {given}"), f"The prompt {given}")
    path = Path(os.path.expanduser(given))
    where = plain(path)
    try:
        size = path.stat().st_size if os.path.isfile(path) else -1
        text = path.read_text(encoding="utf-8-sig") if 0 <= size <= _LONGEST else ""
        if size > _LONGEST:
            raise ValueError(f"it has {size:,} bytes, too many for a prompt")
    except (OSError, ValueError) as error:
        raise _unreadable(where, error) from error
    if size < 0:
        raise UsageProblem(
            f"There is no prompt called {plain(given)!r}, and no such file.",
            f"{allowed_names(given, prompt_names(), most=20)} Or a TOML file of your own, or an Ollama Modelfile.",
            "`fieldguide prompts` lists them and shows each.",
        )
    if modelfile.looks_like_one(path.name, text):
        values = {"about": "an imported Modelfile", "source": f"Modelfile {path.name}", **modelfile.read(text, where)}
        return checked(_built({"name": path.stem, **values}, where), where, may_be_silent=True)
    try:
        values = read_toml(path)
    except (tomllib.TOMLDecodeError, OSError) as error:
        raise _unreadable(where, error) from error
    return checked(_built({"name": path.stem, **values}, where), where)


def checked(prompt: Prompt, where: str, *, may_be_silent: bool = False) -> Prompt:
    """Return `prompt` where its templates can be filled and it asks something; raises `UsageProblem` where not."""
    for name, template in _templates(prompt).items():
        parsed(template, f"{where}: {name}")
    if not (may_be_silent or any(text.strip() for text in _templates(prompt).values())):
        raise UsageProblem(
            f"{where} asks nothing.",
            "A prompt has a question, or says in its system message what is to be answered.",
            'For example question = "Which of these does the picture show? {classes}"',
        )
    return prompt


def called(prompt: Prompt, classes: Sequence[ClassInfo]) -> tuple[ClassInfo, ...]:
    """Return the classes as the prompt calls them, each name one plain line, in the same order.

    Raises `UsageProblem` where two have one name: no answer could tell which is meant.
    """
    folded = {fold(key): value for key, value in prompt.classes.items() if fold(key)}
    found: list[ClassInfo] = []
    owners: dict[str, str] = {}
    for info in classes:
        exact = prompt.classes.get(info.id) or prompt.classes.get(info.name)
        own = exact or folded.get(fold(info.id)) or folded.get(fold(info.name)) or Words()
        name = flat(info.name if own.name is None else own.name) or flat(info.id)
        synonyms = info.synonyms if own.synonyms is None else own.synonyms
        description = info.description if own.description is None else own.description
        found.append(ClassInfo(info.id, name, tuple(flat(one) for one in synonyms if flat(one)), flat(description)))
        other = owners.setdefault(name, info.id)
        if other != info.id or not name:
            raise UsageProblem(
                f"The classes {plain(other)!r} and {plain(info.id)!r} are both called {plain(name)!r}."
                if name
                else f"The class {plain(info.id)!r} has no name that can be said.",
                "An answer in words must tell which class is meant, so every class has a name of its own.",
                f'Change one in classes.toml, or in the prompt: [classes."{plain(info.id)}"] with name = "..."',
            )
    return tuple(found)


def render(
    prompt: Prompt,
    classes: Sequence[ClassInfo],
    how: How = "generate",
    examples: Sequence[tuple[str, str]] = (),
) -> Asking:
    """Return what is asked about every picture of a study.

    `classes` are in the manifest's order; `examples` are training pictures that are shown first: (content hash, class id).
    `Asking.made` tells its source, what `{example}` said, and notes. Raises `UsageProblem` where the prompt cannot be filled.
    """
    known = called(prompt, classes)
    listed, notes = in_list(prompt, known)
    names = {info.id: info.name for info in known}
    example = example_of(prompt, known, listed)
    values = {
        "classes": ("\n" if prompt.one_a_line else prompt.separator).join(
            _entry(prompt, info, number) for number, info in enumerate(listed, 1)
        ),
        "class_count": str(len(known)),
        "example": example,
        "example_answer": answer(prompt, example),
    }
    text = {name: filled(template, values, name) for name, template in _templates(prompt).items()}
    messages = [Message("system", (text["system"],))] if text["system"].strip() else []
    messages += [Message(turn.role, (text[f"turns {at}"],)) for at, turn in enumerate(prompt.turns)]
    for number, (key, id) in enumerate([*examples, (None, "")]):
        # Before the pictures, the question is said once and the text in front of all of them is the same; after them, with each.
        asked = text["question"] if prompt.place == "after" or number == 0 else ""
        beside = (asked, Shown(key)) if prompt.place == "before" else (Shown(key), asked)
        messages.append(Message("user", tuple(part for part in (*beside, text["closing"]) if part)))
        if key is not None:
            messages.append(Message("assistant", (answer(prompt, names[id]),)))
    answers = tuple(info.name for info in known)
    made = {"prompt": prompt.name, "source": prompt.source, "format": prompt.format, "example": example, "model": prompt.model}
    asking = Asking(
        tuple(messages),
        answers,
        how,
        schema_of(answers) if prompt.format == "json" else None,
        prompt.temperature,
        prompt.seed,
        prompt.most_tokens,
    )
    notes = [*prompt.notes, *notes, *_strange(prompt, [*classes, *known]), *_unnamed(asking), *_short(prompt, known, examples)]
    return replace(asking, made={**made, "notes": tuple(notes)})


def answer(prompt: Prompt, name: str) -> str:
    """Return an answer that names a class, in the format of the prompt."""
    return json.dumps({KEY: name}, ensure_ascii=False) if prompt.format == "json" else name


def schema_of(answers: Sequence[str]) -> dict[str, Any]:
    """Return the JSON schema of an answer that names one of `answers`, as strict servers want it."""
    return {
        "type": "object",
        "properties": {KEY: {"type": "string", "enum": list(answers)}},
        "required": [KEY],
        "additionalProperties": False,
    }


@dataclass(frozen=True)
class Picked:
    """Training pictures to be shown: (content hash, class id) in the order they are shown in, drawn with `seed`.

    `fewer` has how many there are of each class, by id, that has less than was asked for.
    """

    examples: tuple[tuple[str, str], ...]
    seed: int
    fewer: Mapping[str, int] = field(default_factory=dict)


def pick_examples(train: Sequence[Example], classes: Sequence[ClassInfo], per_class: int, seed: int) -> Picked:
    """Draw `per_class` training pictures of each class; they come in mixed order, so that no class is always the last.

    More of a class begin with the same: those of two are those of one and another. The order of `train` does not matter.
    """
    by_class: dict[str, set[str]] = {info.id: set() for info in classes}
    for one in train:
        if one.label in by_class:
            by_class[str(one.label)].add(one.image.key)
    drawn: list[tuple[str, str]] = []
    fewer = {}
    for id, keys in by_class.items():
        order = sorted(keys)
        random.Random(f"{seed} {id}").shuffle(order)  # noqa: S311
        drawn += [(key, id) for key in order[:per_class]]
        if len(order) < per_class:
            fewer[id] = len(order)
    random.Random(f"{seed}").shuffle(drawn)  # noqa: S311
    return Picked(tuple(drawn), seed, fewer)


def _shelf() -> Any:
    return resources.files("fieldguide") / "prompts" / "ask"


def _built(values: dict[str, Any], where: str) -> Prompt:
    try:
        return build(Prompt, values, where)
    except UsageProblem as problem:
        raise UsageProblem(
            problem.given, problem.allowed, "Correct that one; docs/prompting.md shows a whole file."
        ) from problem


def _unreadable(where: str, error: Exception) -> UsageProblem:
    return UsageProblem(
        f"{where} cannot be read as a prompt: {plain(error)}.",
        "A TOML file with the fields of a prompt, or an Ollama Modelfile; UTF-8.",
        "Correct the file; docs/prompting.md shows a whole one.",
    )


def _templates(prompt: Prompt) -> dict[str, str]:
    said = {"system": prompt.system, "question": prompt.question, "closing": prompt.closing}
    return said | {f"turns {at}": turn.text for at, turn in enumerate(prompt.turns)}


def in_list(prompt: Prompt, known: Sequence[ClassInfo]) -> tuple[tuple[ClassInfo, ...], list[str]]:
    """Return the classes in the order of the list, and what is to be noted of them."""
    by_word = {fold(word): info for info in reversed(known) for word in (info.name, info.id)}
    first = dict.fromkeys(by_word[fold(word)].id for word in prompt.order if fold(word) in by_word)
    at = {id: place for place, id in enumerate(first)}
    listed = tuple(sorted(known, key=lambda info: at.get(info.id, len(at))))
    bare = [info.name for info in known if not info.description]
    if prompt.descriptions and len(bare) == len(known):
        raise UsageProblem(
            f"The prompt {plain(prompt.name)} lists descriptions, and no class has one.",
            "They stand in classes.toml of the study, as description = ..., or in the prompt's own [classes].",
            "Write them there, or ask with prompt=plain",
        )
    notes = [f"{len(bare)} of {len(known)} classes have no description"] if prompt.descriptions and bare else []
    return listed, notes


def _entry(prompt: Prompt, info: ClassInfo, number: int) -> str:
    """Return how one class stands in the list."""
    also = ", ".join(info.synonyms) if prompt.synonyms else ""
    entry = f"{prompt.quote}{info.name}{prompt.quote}" + (f" (also: {also})" if also else "")
    entry += f": {info.description}" if prompt.descriptions and info.description else ""
    return f"{number}. {entry}" if prompt.numbered else entry


def example_of(prompt: Prompt, known: Sequence[ClassInfo], listed: Sequence[ClassInfo]) -> str:
    """Return the word of `{example}`: the name of the class that is meant, else the word as it is."""
    if prompt.example is None:
        return listed[0].name if listed else ""
    by_word = {word: info.name for info in known for word in (info.name, info.id)}
    folded = {fold(word): name for word, name in by_word.items()}
    return by_word.get(prompt.example) or folded.get(fold(prompt.example)) or flat(prompt.example)


def _unnamed(asking: Asking) -> list[str]:
    """Note the classes whose name is never said before they are asked for: a prompt that lists others cannot be answered with them."""
    turns = (turn.parts for turn in asking.messages if turn.role != "assistant")
    said = " ".join(part for parts in turns for part in parts if isinstance(part, str)).casefold()
    lost = [name for name in asking.answers if not re.search(rf"(?<!\w){re.escape(name.casefold())}(?!\w)", said)]
    if not lost:
        return []
    return [f"{len(lost)} of {len(asking.answers)} classes are not named in it: {_some(lost)}"]


def _strange(prompt: Prompt, classes: Sequence[ClassInfo]) -> list[str]:
    """Note what the prompt says of classes that there are none of: perhaps a slip, perhaps it was written for others."""
    there = {fold(word) for info in classes for word in (info.id, info.name)} | {info.id for info in classes}
    said = dict.fromkeys((*prompt.classes, *prompt.order))
    lost = [word for word in said if word not in there and fold(word) not in there]
    if not lost:
        return []
    return [f"it speaks of {len(lost)} classes that are not there: {_some(lost)}"]


def _some(words: Sequence[str]) -> str:
    return ", ".join(plain(word, 40) for word in words[:5]) + (" ..." if len(words) > 5 else "")


def _short(prompt: Prompt, known: Sequence[ClassInfo], examples: Sequence[tuple[str, str]]) -> list[str]:
    """Note that not every class is shown as often as was asked for."""
    shown = Counter(id for _, id in examples)
    few = sum(shown[info.id] < prompt.shots for info in known) if examples else 0
    return (
        [f"{few} of {len(known)} classes have fewer than {prompt.shots} training pictures that could be shown"] if few else []
    )
