"""A classifier made of words: for each class the direction in which an encoder's pictures of it should lie.

There are three ways to say what a class is: its ``name`` alone, ``name+texts`` (every line about it behind its name), and ``texts``
(lines without the name). A name is one thing said in several ways, so its vectors are averaged to one direction; lines are several
things, whose scores are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fieldguide.craft import prompts
from fieldguide.craft.heads import Array
from fieldguide.errors import UsageProblem, plain
from fieldguide.records import ClassInfo, Texts

if TYPE_CHECKING:
    from fieldguide.craft.encoders import Reads

Way = Literal["name", "name+texts", "texts"]


@dataclass(frozen=True)
class Spoken:
    """What is said of each class, class by class, in each way: `sentences`. The way ``texts`` is there where no class is `without` lines."""

    sentences: Mapping[str, Sequence[Sequence[str]]]
    templates: tuple[str, ...]
    lines: int = 0
    without: tuple[str, ...] = ()

    def facts(self, way: str, reads: Reads) -> dict[str, Any]:
        """Return what the log tells of one way: how many sentences, and how many are longer than the encoder reads."""
        used = list(dict.fromkeys(line for own in self.sentences[way] for line in own))
        cut = prompts.too_long(used, reads)
        told = {"prompt": way, "templates": list(self.templates), "sentences": len(used), "context": reads.context}
        more = {"sentences_cut": len(cut), "first_cut": cut[0] if cut else None}
        return {**told, **more, "lines": self.lines, "classes_without_texts": list(self.without)}


def spoken(classes: Sequence[ClassInfo], templates: str, synonyms: bool, texts: Texts | None, reads: Reads) -> Spoken:
    """Return what is said of `classes`; without `texts` there is one way, their names.

    `templates` is what `prompts.templates` reads.
    """
    sentences = prompts.templates(templates)
    called = prompts.names(classes, synonyms)
    ways: dict[str, Sequence[Sequence[str]]] = {"name": prompts.named(called, sentences)}
    if texts is None:
        return Spoken(ways, sentences)
    lines = prompts.lines_of(texts, [info.id for info in classes], reads)
    without = tuple(info.id for info, own in zip(classes, lines, strict=True) if not own)
    ways["name+texts"] = prompts.described(called, sentences, lines)
    if not without:
        ways["texts"] = lines
    return Spoken(ways, sentences, sum(map(len, lines)), without)


def require(said: Spoken, way: str, source: str | None) -> None:
    """Raise `UsageProblem` where classes cannot be told apart in this way, because nothing is said of some of them."""
    if way not in said.sentences:
        classes = len(said.sentences["name"])
        raise UsageProblem(
            f"prompt={way}: the texts {plain(source)} say nothing of {len(said.without)} of {classes} classes, "
            f"such as {plain(said.without[0])}.",
            "Allowed: texts that say something of every class, or prompt=name+texts, where a class without texts goes by its name.",
            "Add lines for these classes, or leave prompt out.",
        )


def weights(said: Spoken, read: prompts.Read) -> dict[str, Array]:
    """Return for each way ``"features classes"``: multiplied with pictures of length one they give mean cosines."""
    return {way: prompts.averaged(own, read, again=way == "name").T for way, own in said.sentences.items()}
