"""What a drawn picture may show, which combinations are never drawn for training, and how a look is drawn by lot.

A look is everything a caption may tell: the thing (a figure or a digit), its colour and texture, how many, how large, where, on what
ground. Three kinds of combination are held out, so that what a model says of them it has put together itself:

- ``"texture"``: figure, colour and texture, each pair of which is drawn elsewhere (a quarter of all);
- ``"colour"``: figure and colour, in whatever texture (ten of a hundred pairs);
- ``"count"``: figure and number (ten of fifty pairs).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

FIGURES = ("circle", "square", "triangle", "star", "ring", "cross", "heart", "diamond", "arrow", "moon")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
TEXTURES = ("plain", "striped", "dotted", "checked")
COUNTS = ("one", "two", "three", "four", "five")
SIZES = ("small", "middling", "large")
PLACES = ("left", "right", "top", "bottom", "middle", "anywhere")
GROUNDS = ("light", "dark", "grey")
HANDS = ("drawn", "handwritten", "printed")

Unseen = Literal["texture", "colour", "count"]


@dataclass(frozen=True, slots=True)
class Look:
    """What a picture shows, each part a word of the lists above. Of several things `size` is the size of each."""

    thing: str
    colour: str
    texture: str = "plain"
    count: str = "one"
    size: str = "middling"
    place: str = "anywhere"
    ground: str = "light"
    hand: str = "drawn"

    @property
    def digit(self) -> bool:
        """Tell whether it shows a digit rather than a figure."""
        return self.thing in DIGITS

    @property
    def written(self) -> bool:
        """Tell whether it shows a digit or a letter."""
        return self.digit or self.thing in LETTERS


#: Every part of a look and the words it may take.
PARTS: dict[str, tuple[str, ...]] = dict(
    zip(
        (part.name for part in fields(Look)),
        (FIGURES + DIGITS, COLOURS, TEXTURES, COUNTS, SIZES, PLACES, GROUNDS, HANDS),
        strict=True,
    )
)


def unseen(look: Look) -> tuple[Unseen, ...]:
    """Return why a look is never drawn for training; empty where it is. Digits and letters are drawn in every combination."""
    if look.written:
        return ()
    figure, colour, texture = FIGURES.index(look.thing), COLOURS.index(look.colour), TEXTURES.index(look.texture)
    number = COUNTS.index(look.count)
    reasons: list[Unseen] = []
    # Of each figure and colour one texture, of each figure two numbers out of five pairs, of each figure one colour.
    if (figure + colour + texture) % len(TEXTURES) == 0:
        reasons.append("texture")
    if colour == (3 * figure + 1) % len(COLOURS):
        reasons.append("colour")
    if number == 1 + figure % 4:
        reasons.append("count")
    return tuple(reasons)


def figure_look(random: np.random.Generator) -> Look:
    """Draw the look of a picture with figures, held-out ones too."""
    count = str(random.choice(COUNTS, p=(0.5, 0.14, 0.12, 0.12, 0.12)))
    size = str(random.choice(SIZES)) if count == "one" else "small" if count in ("four", "five") else "middling"
    place = str(random.choice(PLACES[:5])) if count == "one" and size == "small" else "anywhere"
    thing, texture = str(random.choice(FIGURES)), str(random.choice(TEXTURES))
    colour, ground = _colours(random)
    return Look(thing, colour, texture, count, size, place, ground)


def digit_look(random: np.random.Generator, things: tuple[str, ...] = DIGITS) -> Look:
    """Draw the look of a picture with one digit (or letter): mostly dark on light or light on dark, as on paper and on slates."""
    hand = "handwritten" if random.random() < 0.8 else "printed"
    thing = str(random.choice(things))
    if random.random() < 0.3:
        colour, ground = _colours(random)
    else:
        colour, ground = ("black", "light") if random.random() < 0.6 else ("white", "dark")
    return Look(thing, colour, "plain", "one", "large", "anywhere", ground, hand)


def training_look(random: np.random.Generator, digits: float = 0.35) -> Look:
    """Draw the look of a training picture: never one that is held out."""
    if random.random() < digits:
        return digit_look(random)
    while unseen(look := figure_look(random)):
        pass
    return look


def twisted(look: Look, random: np.random.Generator) -> Look:
    """Return a look that differs in one part, or two, and is not held out: what a careless reader would take it for."""
    while True:
        other = digit_look(random) if look.digit else figure_look(random)
        parts = random.permutation([name for name in PARTS if getattr(other, name) != getattr(look, name)])
        kept = {name: getattr(look, name) for name in PARTS} | {
            str(name): getattr(other, str(name)) for name in parts[: 1 + int(random.random() < 0.3)]
        }
        changed = Look(**kept)
        if changed != look and not unseen(changed):
            return changed


def _colours(random: np.random.Generator) -> tuple[str, str]:
    """Draw a colour and a ground on which it can be seen."""
    colour = str(random.choice(COLOURS))
    grounds = {"black": ("light", "grey"), "white": ("dark", "grey"), "brown": ("light", "dark")}.get(colour, GROUNDS)
    return colour, str(random.choice(grounds))
