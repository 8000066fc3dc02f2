"""What a language model that looks is shown: a figure in a colour, a letter, a digit, or figures of one or two kinds to be counted.

A `Scene` is drawn by lot, drawn as a picture, said in one sentence, and named in the words that a list of classes may hold for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from fieldguide.data.drawn.looks import COUNTS, DIGITS, LETTERS, Look, digit_look, training_look
from fieldguide.data.drawn.pictures import draw
from fieldguide.records import Pixels

Kind = Literal["figure", "letter", "digit", "several"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: What is counted, in the order in which it is said; at most `MOST` of a kind, two kinds at most.
COUNTED = ("circle", "square", "triangle")
MOST = 4
#: The words by which a list of classes may name a scene: of a figure its shape, its colour, or both ...
NAMINGS: dict[Kind, tuple[str, ...]] = {
    "figure": ("shape", "colour", "coloured shape"),
    "letter": ("letter",),
    "digit": ("numeral", "word"),
    "several": ("count",),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture's content: a look, and where there are several figures, which and how many of each."""

    kind: Kind
    look: Look
    counts: tuple[tuple[str, int], ...] = ()


def scene(random: np.random.Generator, kind: Kind | None = None) -> Scene:
    """Draw a scene of a kind (or of any) by lot."""
    kind = kind or KINDS[int(random.integers(len(KINDS)))]
    if kind == "digit":
        return Scene(kind, digit_look(random))
    if kind == "letter":
        return Scene(kind, replace(digit_look(random, LETTERS), hand="printed" if random.random() < 0.5 else "handwritten"))
    look = training_look(random, digits=0)
    if kind == "figure":
        look = replace(look, count="one", size="large" if random.random() < 0.5 else "middling", place="anywhere")
        return Scene(kind, replace(look, texture="plain"))
    chosen = sorted(random.permutation(len(COUNTED))[: 1 if random.random() < 0.3 else 2].tolist())
    counts = tuple((COUNTED[at], int(random.integers(1, MOST + 1))) for at in chosen)
    return Scene(kind, replace(look, texture="plain", count="one", size="small"), counts)


def show(scene: Scene, random: np.random.Generator, side: int = 64) -> Pixels:
    """Return a picture of a scene, ``"side side 3"`` uint8."""
    return draw(scene.look, random, side, kinds=scene.counts)


def sentence(scene: Scene) -> str:
    """Say what there is to be seen, in one sentence, always the same of the same scene."""
    if scene.kind == "several":
        return ", ".join(number_of(figure, number) for figure, number in scene.counts)
    if scene.kind == "letter":
        return f"the letter {scene.look.thing}"
    if scene.kind == "digit":
        return f"It is the digit {DIGITS.index(scene.look.thing)}."
    article = "an" if scene.look.colour[0] in "aeiou" else "a"
    return f"{article} {scene.look.colour} {scene.look.thing}"


def name(scene: Scene, naming: str) -> str:
    """Return how a list of classes names a scene in one of its `NAMINGS`."""
    if naming == "count":
        return sentence(scene)
    look = scene.look
    named = {"shape": look.thing, "colour": look.colour, "coloured shape": f"{look.colour} {look.thing}"}
    named |= {"letter": look.thing, "word": look.thing, "numeral": str(DIGITS.index(look.thing)) if look.digit else ""}
    return named[naming]


def number_of(figure: str, number: int) -> str:
    """Say how many there are of a figure: "one circle", "two squares"."""
    return f"{COUNTS[number - 1]} {figure}" + ("s" if number > 1 else "")


def plain_names(naming: str, words: Iterable[str] = ()) -> tuple[str, ...]:
    """Return every name that a naming has (of coloured shapes and counts there are too many for a list: those of `words`)."""
    from fieldguide.data.drawn.looks import COLOURS, FIGURES

    every = {"shape": FIGURES, "colour": COLOURS, "letter": LETTERS, "word": DIGITS, "numeral": tuple("0123456789")}
    return every.get(naming, tuple(words))
