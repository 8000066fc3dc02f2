"""Questions for counts as files, and the `Asking` that is made of one: the same for every picture of a study.

A question is one of the package (``prompts/count/NAME.toml``) or a TOML file of the user's own with the fields of `CountPrompt`. The right
answer to it is written by the same fields (`CountPrompt.written`), so that what is asked, taught and compared is one form.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import Field

from fieldguide.errors import UsageProblem, allowed_names, plain
from fieldguide.files import read_toml
from fieldguide.settings import Settings, build
from fieldguide.tasks.asking import Asking, How, Message, Shown
from fieldguide.tasks.classify import fold
from fieldguide.tasks.count import Count, Written, Zeros
from fieldguide.tasks.count_reading import CountReading
from fieldguide.tasks.places import filled

DEFAULT = "plain"
#: Bytes of a file that may be a question; what is longer is something else.
_LONGEST = 1_000_000


class CountPrompt(Settings):
    """What is asked about how many there are, and how the answer is written.

    `system` and `question` are templates with the places {classes} and {class_count}; {{ and }} stand for braces.
    """

    name: str = ""
    """What it is called in reports; the name of its file if not given."""
    about: str = ""
    """What it is, in a few words."""
    source: str = ""
    """Where its words come from: what is quoted letter for letter, and what is not."""
    system: str = ""
    """System message; without one no system turn is sent."""
    question: str = Field(min_length=1)
    """What stands beside the picture."""
    place: str = Field("after", pattern="^(before|after)$")
    """Where the question stands: before or after the picture."""
    separator: str = ", "
    """What stands between two classes of the list."""
    order: tuple[str, ...] = ()
    """Classes that come first, in the list and as keys of an answer, by id or name; those that the study lacks are passed over."""
    zeros: Zeros = "omitted"
    """Whether a class that the picture does not show is left out of an answer, or written with a 0."""
    indent: int | None = Field(None, ge=0, le=8)
    """Spaces by which an answer in JSON is indented; one line if not given."""
    most: int = Field(999, ge=1, le=1_000_000)
    """The largest count that a schema allows."""
    reading: CountReading = "strict"
    """How answers are read: strict takes the JSON object alone, json also one in a fence or in prose."""
    temperature: float = Field(0.0, ge=0, le=10, allow_inf_nan=False)
    """Temperature of sampling; 0 always takes the likeliest token."""
    seed: int | None = None
    """Seed of sampling, for models and servers that take one."""
    most_tokens: int = Field(256, ge=1)
    """Tokens after which an answer is cut."""

    def written(self, task: Count) -> Written:
        """Return how the right answer is written for the classes of `task`."""
        by_word = {fold(word): info.id for info in reversed(task.classes) for word in (info.name, info.id)}
        return Written(self.zeros, self.indent, tuple(by_word[fold(word)] for word in self.order if fold(word) in by_word))


def count_prompt_names() -> tuple[str, ...]:
    """Return the names of the questions that come along."""
    return tuple(sorted(file.name.removesuffix(".toml") for file in _shelf().iterdir() if file.name.endswith(".toml")))


def read_count_prompt(name_or_path: str | Path) -> CountPrompt:
    """Return a question of the package by its name, or the one in a TOML file; raises `UsageProblem` for what is none."""
    given = str(name_or_path)
    if given in count_prompt_names():
        values = tomllib.loads((_shelf() / f"{given}.toml").read_text(encoding="utf-8"))
        return build(CountPrompt, {"name": given, **values}, f"The question {given}")
    path = Path(os.path.expanduser(given))
    try:
        if not os.path.isfile(path):
            raise UsageProblem(
                f"There is no question for counts called {plain(given)!r}, and no such file.",
                f"{allowed_names(given, count_prompt_names(), most=20)} Or a TOML file of your own.",
                "Correct the name, or the path.",
            )
        if path.stat().st_size > _LONGEST:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, too many for a question")
        values = read_toml(path)
    except (tomllib.TOMLDecodeError, OSError, ValueError) as error:
        raise UsageProblem(
            f"{plain(path)} cannot be read as a question for counts: {plain(error)}.",
            "A TOML file with a question and, where it differs, how the answer is written; UTF-8.",
            "Correct the file; prompts/count/plain.toml of the package is a whole one.",
        ) from error
    return build(CountPrompt, {"name": path.stem, **values}, plain(path))


def render_count(
    prompt: CountPrompt, task: Count, how: How = "generate", examples: Sequence[tuple[str, Mapping[str, int]]] = ()
) -> Asking:
    """Return what is asked about every picture of a study.

    `examples` are training pictures that are shown first with their right answer: (content hash, counts by id). Under ``choice`` the
    answer is held to the schema. Raises `UsageProblem` where the question cannot be filled.
    """
    if how not in ("generate", "choice"):
        raise UsageProblem(
            f"Counts cannot be had with ask={how}: an answer is a whole object and no name of a list.",
            "Allowed: generate (free text), choice (held to the JSON schema).",
            "Use ask=generate",
        )
    written = prompt.written(task)
    names = tuple(info.name for info in task.ordered(written.order))
    values = {"classes": prompt.separator.join(names), "class_count": str(len(names)), "example": "", "example_answer": ""}
    system = filled(prompt.system, values, "system")
    question = filled(prompt.question, values, "question").strip("\n")
    messages = [Message("system", (system,))] if system.strip() else []
    for key, counts in [*examples, (None, {})]:
        beside = (question, Shown(key)) if prompt.place == "before" else (Shown(key), question)
        messages.append(Message("user", beside))
        if key is not None:
            messages.append(Message("assistant", (task.say(counts, written),)))
    made = {
        "prompt": prompt.name,
        "source": prompt.source,
        "format": "counts",
        "zeros": prompt.zeros,
        "indent": prompt.indent,
        "reading": prompt.reading,
    }
    schema = task.schema(written, prompt.most)
    return Asking(tuple(messages), names, how, schema, prompt.temperature, prompt.seed, prompt.most_tokens, made)


def _shelf() -> Any:
    return resources.files("fieldguide") / "prompts" / "count"
