"""Drawn pictures: from a seed, as their captions say, and never one that is held out among those for training."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import label

from fieldguide.data.drawn.folders import compositions, look_of, name_of, write_drawings
from fieldguide.data.drawn.looks import (
    COLOURS,
    COUNTS,
    DIGITS,
    FIGURES,
    PARTS,
    TEXTURES,
    Look,
    digit_look,
    figure_look,
    training_look,
    twisted,
    unseen,
)
from fieldguide.data.drawn.pictures import INKS, draw
from fieldguide.data.drawn.sentences import FACTS, Claim, caption, held, nameless


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def inked(pixels: np.ndarray) -> np.ndarray:
    """Where a picture differs from its ground, whose tint is that of its border's median."""
    border = np.concatenate([pixels[:2].reshape(-1, 3), pixels[-2:].reshape(-1, 3), pixels[:, :2].reshape(-1, 3)])
    return np.abs(pixels.astype(float) - np.median(border, axis=0)).max(axis=2) > 60


def test_a_seed_makes_the_same_pictures_and_sentences() -> None:
    def made(seed: int) -> tuple[list[np.ndarray], list[str]]:
        random = rng(seed)
        looks = [training_look(random) for _ in range(20)]
        return [draw(look, random) for look in looks], [say(look, random).text for look in looks for say in (caption, nameless)]

    one, again, other = made(1), made(1), made(2)
    assert all((a == b).all() for a, b in zip(one[0], again[0], strict=True)) and one[1] == again[1]
    assert one[1] != other[1] and not all((a == b).all() for a, b in zip(one[0], other[0], strict=True))
    assert {picture.shape for picture in one[0]} == {(64, 64, 3)} and one[0][0].dtype == np.uint8


def test_as_many_things_are_drawn_as_are_said() -> None:
    random, found = rng(3), {}
    for count, figure in product(COUNTS, FIGURES):
        look = Look(figure, "blue", "plain", count, "small" if count != "one" else "middling")
        pieces, _ = label(inked(draw(look, random, side=96, noise=0)), np.ones((3, 3)))
        sizes = np.bincount(pieces.ravel())[1:]
        found[count, figure] = int((sizes > 8).sum())
    assert found == {(count, figure): 1 + COUNTS.index(count) for count, figure in product(COUNTS, FIGURES)}


def test_the_ink_has_the_colour_that_is_said() -> None:
    tints = {name: np.array([255.0 * part for part in _rgb(name)]) for name in COLOURS}
    for seed, (colour, figure) in enumerate(product(COLOURS, FIGURES[:3])):
        look = Look(figure, colour, ground="dark" if colour == "white" else "light")
        pixels = draw(look, rng(seed), noise=0)
        inside = np.median(pixels[inked(pixels)], axis=0)
        assert min(tints, key=lambda name: float(np.abs(tints[name] - inside).sum())) == colour, (colour, inside)


def _rgb(name: str) -> tuple[float, float, float]:
    import colorsys

    hue, strong, bright = (middle for middle, _ in INKS[name])
    return colorsys.hsv_to_rgb(hue / 360, strong, bright)


@pytest.mark.parametrize("texture", TEXTURES)
def test_a_texture_has_a_second_ink_and_plain_has_none(texture: str) -> None:
    pixels = draw(Look("square", "red", texture, size="large"), rng(5), noise=0).astype(float)
    inside = pixels[24:40, 24:40].reshape(-1, 3)
    spread = inside.std(axis=0).max()
    assert (spread < 12) if texture == "plain" else (spread > 40)


def test_size_and_place_are_as_said() -> None:
    def middle(place: str, seed: int) -> np.ndarray:
        ink = inked(draw(Look("circle", "blue", size="small", place=place), rng(seed), noise=0))
        return np.argwhere(ink).mean(axis=0) / 64

    for seed in range(8):
        assert middle("left", seed)[1] < 0.34 < 0.66 < middle("right", seed)[1]
        assert middle("top", seed)[0] < 0.34 < 0.66 < middle("bottom", seed)[0]
        assert np.abs(middle("middle", seed) - 0.5).max() < 0.12
        small, large = (inked(draw(Look("square", "blue", size=size), rng(seed), noise=0)).sum() for size in ("small", "large"))
        assert 3 * small < large


def test_every_sentence_is_true_of_its_picture_and_says_what_it_claims() -> None:
    random = rng(11)
    for _ in range(300):
        look = training_look(random)
        named, told = caption(look, random), nameless(look, random)
        assert named.holds(look) and told.holds(look) and named.allows and told.allows
        words = set(named.text.lower().replace(".", "").replace('"', "").split())
        names = {look.thing, look.thing + "s", look.thing + "es"} | ({str(DIGITS.index(look.thing))} if look.digit else set())
        assert words & names, named.text
        assert not set(told.text.replace(".", "").split()) & (names - {"one"}), told.text
        assert (look.colour in words) == ("colour" in named.allows), named.text
        for colour in COLOURS:
            assert colour not in words or colour == look.colour


def test_what_is_false_of_a_look_is_not_said_to_hold() -> None:
    star = Look("star", "red", "striped", "two", "small")
    claim = Claim("two red stars", {part: frozenset({getattr(star, part)}) for part in ("thing", "colour", "count")})
    assert claim.holds(star) and claim.holds(replace(star, texture="plain"))
    assert not claim.holds(replace(star, colour="blue")) and not claim.holds(replace(star, count="three"))
    random = rng(2)
    looks = [training_look(random) for _ in range(40)]
    claims = [say(look, random) for look in looks for say in (caption, nameless)]
    assert (held(claims, looks, PARTS) == [[claim.holds(look) for claim in claims] for look in looks]).all()


def test_facts_tell_things_apart() -> None:
    told = {thing: frozenset(words for words, things in FACTS if thing in things) for thing in FIGURES + DIGITS}
    assert len(set(told.values())) == len(told) and all(told.values())


def test_held_out_combinations_are_never_drawn_for_training_nor_spoken_of() -> None:
    random = rng(4)
    for _ in range(500):
        look = training_look(random)
        assert not unseen(look) and not unseen(other := twisted(look, random)) and other != look
    reasons = Counter(reason for _ in range(2000) for reason in unseen(figure_look(random)))
    assert set(reasons) == {"texture", "colour", "count"}
    assert not any(unseen(digit_look(random)) for _ in range(100))


def test_a_quarter_of_all_compositions_is_held_out_and_every_part_of_them_is_drawn() -> None:
    every = [Look(figure, colour, texture) for figure, colour, texture in product(FIGURES, COLOURS, TEXTURES)]
    assert len(every) == 400 and sum("texture" in unseen(look) for look in every) == 100
    assert sum("colour" in unseen(look) for look in every) == 40
    shown = [look for look in every if not unseen(look)]
    for one, other in combinations(("thing", "colour", "texture"), 2):
        pairs = {(getattr(look, one), getattr(look, other)) for look in shown}
        missing = {(getattr(look, one), getattr(look, other)) for look in every} - pairs
        assert len(missing) == (10 if (one, other) == ("thing", "colour") else 0)
    counts = [
        (figure, count) for figure, count in product(FIGURES, COUNTS) if "count" in unseen(Look(figure, "red", count=count))
    ]
    assert len(counts) == 10 and {count for _, count in counts} == set(COUNTS[1:])


def test_names_of_classes_are_read_back() -> None:
    for name in compositions(24):
        assert name_of(look_of(name)) == name == name_of(look_of(name.replace(" ", "-")))
    assert len(set(compositions(400))) == 400 and compositions(12) == compositions(24)[:12]
    assert all(unseen(look_of(name)) for name in compositions(24, held_out=True))
    assert not any(unseen(look_of(name)) for name in compositions(24, held_out=False))
    assert look_of("7").thing == look_of("seven").thing == "seven" and look_of("red star").texture == "plain"
    for wrong in ("a hippopotamus", "red", ""):
        with pytest.raises(ValueError):
            look_of(wrong)


def test_a_folder_of_drawings_has_captions_beside_pictures_and_descriptions_beside_the_folder(tmp_path: Path) -> None:
    names = (*compositions(4), "seven")
    root = write_drawings(tmp_path / "set", names, per_class=3, seed=1)
    again = write_drawings(tmp_path / "again", names, per_class=3, seed=1)
    assert sorted(path.name for path in root.iterdir()) == sorted(names)
    told = json.loads((tmp_path / "set" / "descriptions.json").read_text(encoding="utf-8"))
    assert set(told) == set(names) and len({tuple(said) for said in told.values()}) == len(names)
    for name, said in told.items():
        assert not [line for line in said if look_of(name).thing in line.split()]
    for path in root.rglob("*.png"):
        assert len(path.with_suffix(".txt").read_text(encoding="utf-8").splitlines()) == 5
        assert (np.asarray(Image.open(path)) == np.asarray(Image.open(again / path.parent.name / path.name))).all()
    (root / names[0] / "000.png").unlink()
    assert write_drawings(tmp_path / "set", names, per_class=3) == root and not (root / names[0] / "000.png").exists()
