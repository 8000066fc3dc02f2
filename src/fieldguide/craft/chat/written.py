"""A conversation as one model reads it: its chat template filled in, and cut at the picture that is asked about.

What stands before that picture is the same for every picture. What a template does is found by trying it, not by knowing it: how it
marks a picture (rendered with and without one), whether it knows a system role (it is asked to write one), and what it writes
between the prompt and an answer, and after it (rendered with an answer).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fieldguide.errors import DataProblem, UsageProblem, plain
from fieldguide.tasks.asking import Asking, Message, Shown

#: A word that no prompt holds and no template changes.
_WORD = "Qzxjw"


@dataclass(frozen=True)
class Written:
    """`before` + `after` is the whole prompt; `after` begins with the picture that is asked about.

    `lead` is what the template writes between the prompt and an answer (often nothing, or a space), `end` the token that ends a turn.
    `marked` tells whether `before` begins with the token that begins every text. `ahead` and `behind` are the training pictures that
    are shown before and after the one that is asked about, by content hash. `notes` tell what had to be done differently than was asked.
    """

    before: str
    after: str
    lead: str
    end: int
    marked: bool
    ahead: tuple[str, ...]
    behind: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The whole prompt."""
        return self.before + self.after


@dataclass(frozen=True)
class Hand:
    """What writes conversations for one model: its `processor`, with the tokeniser and the chat template in it."""

    processor: Any

    @property
    def tokenizer(self) -> Any:
        """The tokeniser of the processor."""
        return self.processor.tokenizer

    @cached_property
    def _template(self) -> Any:
        return getattr(self.processor, "chat_template", None) or self.tokenizer.chat_template

    @cached_property
    def _more(self) -> dict[str, Any]:
        """A model that can think aloud is asked not to: the answer is what is read."""
        return {"enable_thinking": False} if "enable_thinking" in str(self._template) else {}

    @cached_property
    def mark(self) -> str:
        """How the template writes a picture; empty where that cannot be told."""
        alone, pictured = self._tried([_user(_WORD)])[0], self._tried([_user(Shown(), _WORD)])[0]
        front = _alike(alone, pictured)
        back = _alike(alone[front:][::-1], pictured[front:][::-1])
        return pictured[front : len(pictured) - back].strip()

    @cached_property
    def end(self) -> int:
        """The token that ends what the assistant says."""
        turns = [_user(_WORD)]
        return self._answered(turns, self._tried(turns)[0])[1]

    @cached_property
    def _special(self) -> dict[int, str]:
        """The marks of the tokeniser by number: a processor may replace the list of its special tokens, not what they are."""
        added = {number: str(mark) for number, mark in self.tokenizer.added_tokens_decoder.items() if mark.special}
        return added | dict(zip(self.tokenizer.all_special_ids, self.tokenizer.all_special_tokens, strict=True))

    def _render(self, turns: Sequence[Message], *, opened: bool = True) -> str:
        conversation = [{"role": turn.role, "content": [_part(part) for part in turn.parts]} for turn in turns]
        made = self.processor.apply_chat_template(
            conversation,
            chat_template=self._template if isinstance(self._template, str) else None,
            tokenize=False,
            add_generation_prompt=opened,
            **self._more,
        )
        return str(made)

    def _tried(self, turns: Sequence[Message], *, opened: bool = True) -> tuple[str, str]:
        """Return what the template writes, or nothing and why: it may refuse a role, or an order of turns, in any way it likes."""
        try:
            return self._render(turns, opened=opened), ""
        except Exception as error:
            return "", plain(error)

    def write(self, asking: Asking) -> Written:
        """Return `asking` as this model reads it; raises `UsageProblem` where its text holds a mark of the model's own."""
        self._require_plain(asking)
        turns, notes = list(asking.messages), []
        text, why = self._tried(turns)
        if not _holds(text, turns) and any(turn.role == "system" for turn in turns):
            turns = _folded(turns)
            notes.append("The chat template takes no system message here: its text begins the first turn of the user.")
            text, why = self._tried(turns)
        if not _holds(text, turns):
            raise DataProblem(
                f"The chat template of this model does not write the whole prompt{f': {why}' if why else ''}.",
                "Allowed: a prompt whose turns it knows, most often user and assistant in turn.",
                "Take another prompt, or another model.",
            )
        at = _place(asking)
        cut = _nth(text, self.mark, at) if self.mark and text.count(self.mark) == len(asking.examples) + 1 else 0
        lead, _ = self._answered(turns, text)
        if cut and _said_before(asking).strip() not in text[:cut]:
            notes.append("The chat template writes the pictures of a turn before its text.")
        bos = self.tokenizer.bos_token
        return Written(
            before=text[:cut],
            after=text[cut:],
            lead=lead,
            end=self.end,
            marked=bool(bos) and text.startswith(bos),
            ahead=asking.examples[:at],
            behind=asking.examples[at:],
            notes=tuple(notes),
        )

    def _require_plain(self, asking: Asking) -> None:
        marks = {*self._special.values(), getattr(self.processor, "image_token", None) or self.mark}
        said = [part for turn in asking.messages for part in turn.parts if isinstance(part, str)]
        for text in (*said, *asking.answers):
            found = next((mark for mark in sorted(marks) if mark and mark.strip() and mark in text), None)
            if found:
                raise UsageProblem(
                    f"The prompt or a class name holds {plain(found)!r}, which this model reads as a mark of its own, not as text.",
                    "Allowed: text without the marks of pictures, turns and padding.",
                    "Rename the class, or change the prompt.",
                )

    def _answered(self, turns: Sequence[Message], text: str) -> tuple[str, int]:
        """Return what stands between a prompt and its answer, and the token behind it."""
        whole = self._tried([*turns, Message("assistant", (_WORD,))], opened=False)[0]
        said, found, rest = whole.rpartition(_WORD)
        ids = self.tokenizer(rest, add_special_tokens=False)["input_ids"] if found else []
        lead = said.removeprefix(text) if found and said.startswith(text) else ""
        return "" if lead.strip() else lead, int(ids[0] if ids and ids[0] in self._special else self.tokenizer.eos_token_id)

    def answers(self, written: Written, answers: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each answer as they follow the prompt, the end of the turn included.

        The same word has other tokens at the beginning of a line, after a space, and after a colon.
        """
        tail = written.text.rpartition(self.mark)[2] if self.mark else written.text
        tail = tail[tail.rfind("\n", 0, -1) + 1 :]
        base = self.tokenizer(tail, add_special_tokens=False)["input_ids"]
        found = []
        for answer in answers:
            ids = self.tokenizer(tail + written.lead + answer, add_special_tokens=False)["input_ids"]
            if ids[: len(base)] != base:  # the answer would change the prompt's last token: it is written by itself
                ids = [*base, *self.tokenizer(written.lead + answer, add_special_tokens=False)["input_ids"]]
            found.append([*ids[len(base) :], written.end])
        return found


def _alike(one: str, two: str) -> int:
    """Return how many characters two texts begin with in common."""
    return next((at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))


def _user(*parts: str | Shown) -> Message:
    return Message("user", parts)


def _part(part: str | Shown) -> dict[str, str]:
    return {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}


def _place(asking: Asking) -> int:
    """Return how many pictures are shown before the one that is asked about."""
    shown = [part for turn in asking.messages for part in turn.parts if isinstance(part, Shown)]
    return next(number for number, part in enumerate(shown) if part.key is None)


def _said_before(asking: Asking) -> str:
    """Return the text that stands right before the asked picture in its own turn; empty where there is none."""
    for turn in asking.messages:
        if Shown() in turn.parts:
            said = [part for part in turn.parts[: turn.parts.index(Shown())] if isinstance(part, str)]
            return said[-1] if said else ""
    return ""


def _nth(text: str, mark: str, number: int) -> int:
    """Return where `mark` stands for the `number`-th time, counted from 0."""
    at = text.find(mark)
    for _ in range(number):
        at = text.find(mark, at + len(mark))
    return at


def _holds(text: str, turns: Sequence[Message]) -> bool:
    """Tell whether every piece of text of `turns` was written; a template may trim white space."""
    return all(part.strip() in text for turn in turns for part in turn.parts if isinstance(part, str))


def _folded(turns: Sequence[Message]) -> list[Message]:
    """Return `turns` with what the system says at the beginning of the user's first turn."""
    said = [part for turn in turns if turn.role == "system" for part in turn.parts]
    rest = [turn for turn in turns if turn.role != "system"]
    at = next((number for number, turn in enumerate(rest) if turn.role == "user"), 0)
    first = Message("user", (*(f"{part}\n\n" if isinstance(part, str) else part for part in said), *rest[at].parts))
    return [*rest[:at], first, *rest[at + 1 :]]
