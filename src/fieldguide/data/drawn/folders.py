"""A folder of drawn pictures, with captions beside the pictures and sentences about the classes: everything that a study of texts needs.

pictures/<class>/<number>.png, .txt     a picture, and several captions of it, one a line
descriptions.json                       {class: [sentences]}, none of which holds the name of its class
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from fieldguide.data.drawn.looks import COLOURS, DIGITS, FIGURES, TEXTURES, Look, figure_look, unseen
from fieldguide.data.drawn.pictures import draw
from fieldguide.data.drawn.sentences import caption, described, nameless
from fieldguide.files import building, write_json

CAPTIONS = 5


def compositions(number: int, held_out: bool | None = None, seed: int = 0) -> tuple[str, ...]:
    """Return names of classes such as ``"striped red star"``, near each other in threes: the next differs in one word alone.

    `held_out`: only combinations that were never drawn for training, or only such as were; `None` for either.
    """
    random = np.random.default_rng((seed, 5))
    every = [Look(figure, colour, texture) for figure, colour, texture in product(FIGURES, COLOURS, TEXTURES)]
    left = {look: None for look in every if held_out in (None, bool(unseen(look)))}
    chosen: list[Look] = []
    while left and len(chosen) < number:
        near = [look for look in left if len(chosen) % 3 == 0 or _apart(look, chosen[-1]) == 1] or list(left)
        chosen.append(near[int(random.integers(len(near)))])
        del left[chosen[-1]]
    return tuple(name_of(look) for look in chosen)


def name_of(look: Look) -> str:
    """Return the name of the class to which a look belongs: texture, colour and figure, or a digit."""
    return look.thing if look.digit else f"{look.texture} {look.colour} {look.thing}"


def look_of(name: str) -> Look:
    """Return a look of the class called `name`: ``"striped red star"``, ``"red star"`` (plain), ``"seven"`` or ``"7"``.

    Raises `ValueError` for a word that nothing drawn has.
    """
    look = Look("", "black")
    for word in name.lower().replace("-", " ").replace("_", " ").split():
        if word in FIGURES + DIGITS:
            look = replace(look, thing=word)
        elif word in COLOURS:
            look = replace(look, colour=word)
        elif word in TEXTURES:
            look = replace(look, texture=word)
        elif word.isdigit() and len(word) == 1:
            look = replace(look, thing=DIGITS[int(word)])
        else:
            raise ValueError(f"nothing that is drawn is called {word!r}")
    if not look.thing:
        raise ValueError(f"{name!r} names no figure and no digit")
    return replace(look, size="large", hand="handwritten") if look.digit else look


def write_drawings(
    folder: Path, classes: Sequence[str] | int = 12, per_class: int = 20, seed: int = 0, noise: float = 30.0
) -> Path:
    """Write pictures of `classes` with their texts, whole or not at all; what is there is kept.

    `classes` are names that `look_of` reads, or how many `compositions` to take. Returns the folder of class folders.
    Number, size, place and ground are drawn by lot, so that only the class tells the label; more
    `noise` (the largest standard deviation, in grey levels) makes it harder.
    """
    if not folder.exists():
        names = compositions(classes) if isinstance(classes, int) else tuple(classes)
        with building(folder) as made:
            for label, name in enumerate(names):
                (made / "pictures" / name).mkdir(parents=True)
                for number in range(per_class):
                    random = np.random.default_rng((seed, label, number))
                    look = _varied(look_of(name), random)
                    picture = draw(look, random, int(random.integers(48, 73)), noise)
                    path = made / "pictures" / name / f"{number:03d}.png"
                    Image.fromarray(picture).save(path)
                    said = [(caption if at % 2 == 0 else nameless)(look, random).text for at in range(CAPTIONS)]
                    path.with_suffix(".txt").write_text("".join(f"{line}\n" for line in said), encoding="utf-8")
            write_json(made / "descriptions.json", {name: list(described(look_of(name)).values()) for name in names})
    return folder / "pictures"


def _varied(look: Look, random: np.random.Generator) -> Look:
    """Return the look with everything drawn by lot that does not belong to its class."""
    if look.digit:
        return replace(look, hand="handwritten" if random.random() < 0.8 else "printed")
    while True:
        other = figure_look(random)
        ground = {"black": "light", "white": "dark"}.get(look.colour, other.ground)
        varied = replace(other, thing=look.thing, colour=look.colour, texture=look.texture, ground=ground)
        if look.colour != "brown" or ground != "grey":
            return varied


def _apart(one: Look, other: Look) -> int:
    """Return in how many words two class names differ."""
    return (one.thing != other.thing) + (one.colour != other.colour) + (one.texture != other.texture)
