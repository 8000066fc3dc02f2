"""What a language model that looks is asked: messages with places for pictures, what it may answer, and how long.

Nothing here holds a pixel. A picture of the training part is named by its content hash, and the one that is asked about by nothing at
all: the same `Asking` is put for every picture, so that its text and its examples are computed once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from fieldguide.files import digest

#: How an answer is had. ``generate``: free text; ``choice``: nothing but a name of the list, token by token; ``likelihood``: how probable
#: every name is as the whole answer (`fieldguide.tasks.weighed`); ``decision``: how probable a letter is that stands for each name.
How = Literal["generate", "choice", "likelihood", "decision"]
#: Those that give a number for every class and no words.
WEIGHING: tuple[How, ...] = ("likelihood", "decision")

#: How the error of a picture begins that has no answer in words, as `fieldguide.tasks.reading` tells kinds. The first two are about the
#: asking and not about the picture, so that it is asked for again: the server or the model gave no answer, or the question was not put.
FAILED, NOT_ASKED, UNREADABLE = "server failed: ", "not asked: ", "unreadable picture: "


@dataclass(frozen=True, slots=True)
class Shown:
    """A place for a picture: of the training picture `key`, or, without one, of the picture that is asked about."""

    key: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `parts` are texts and places for pictures, in order."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[str | Shown, ...]


@dataclass(frozen=True)
class Asking:
    """A rendered prompt: `messages` with exactly one place for the picture that is asked about.

    `answers` are the words that name each class, in the manifest's order. `how` is one of `How`; under ``choice`` the answer is
    nothing but one of `answers`, or what `schema` allows. `schema` is the JSON schema of an answer whose format is JSON, else `None`. A
    temperature of 0 is greedy.
    """

    messages: tuple[Message, ...]
    answers: tuple[str, ...]
    how: How = "generate"
    schema: Mapping[str, Any] | None = None
    temperature: float = 0.0
    seed: int | None = None
    most_tokens: int = 64
    made: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @cached_property
    def hash(self) -> str:
        """The name of this content, 64 hex characters: equal means that the same was asked, decoded in the same way."""
        turns = [[turn.role, [part if isinstance(part, str) else [part.key] for part in turn.parts]] for turn in self.messages]
        return digest(turns, list(self.answers), self.how, self.schema, self.temperature, self.seed, self.most_tokens)

    @cached_property
    def question(self) -> str:
        """The name of the same words however the answer is had: equal for a free answer, a choice and probabilities of one prompt."""
        return self.hash if self.how == "generate" else replace(self, how="generate").hash

    @cached_property
    def examples(self) -> tuple[str, ...]:
        """Content hashes of the training pictures it shows, in order."""
        shown = [part for turn in self.messages for part in turn.parts if isinstance(part, Shown)]
        return tuple(part.key for part in shown if part.key is not None)

    def text(self, picture: str = "[picture]", example: str = "[example]") -> str:
        """Return it as a person reads it: a line with the role before each turn."""
        turns = []
        for turn in self.messages:
            said = [part if isinstance(part, str) else example if part.key else picture for part in turn.parts]
            turns.append(f"{turn.role}:\n" + "\n".join(said))
        return "\n\n".join(turns)


def open_question(error: str | None) -> bool:
    """Tell whether an error says that there may be an answer yet: the same command asks for it again."""
    return error is not None and error.startswith((FAILED, NOT_ASKED))


def as_json(asking: Asking) -> dict[str, Any]:
    """Return `asking` as JSON values, with its hash."""
    turns = [
        {"role": turn.role, "parts": [part if isinstance(part, str) else {"picture": part.key} for part in turn.parts]}
        for turn in asking.messages
    ]
    return {
        "hash": asking.hash,
        "messages": turns,
        "answers": list(asking.answers),
        "how": asking.how,
        "schema": asking.schema,
        "temperature": asking.temperature,
        "seed": asking.seed,
        "most_tokens": asking.most_tokens,
        "made": dict(asking.made),
    }


def from_json(values: Mapping[str, Any]) -> Asking:
    """Return what `as_json` wrote; raises `ValueError` where it is not what it was."""
    turns = tuple(
        Message(turn["role"], tuple(part if isinstance(part, str) else Shown(part["picture"]) for part in turn["parts"]))
        for turn in values["messages"]
    )
    own = {name: values[name] for name in ("how", "schema", "temperature", "seed", "most_tokens", "made")}
    asking = Asking(turns, tuple(values["answers"]), **own)
    if asking.hash != values["hash"]:
        raise ValueError("the prompt is not the one that was rendered")
    return asking
