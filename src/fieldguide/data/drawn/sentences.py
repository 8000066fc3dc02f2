"""What is said of drawn pictures: captions that name the thing, and sentences that tell of its looks without naming it.

Every sentence is a `Claim`: its words, and for each part of a look it speaks of, the words for which it is true. So of any sentence and
any picture it is known whether they fit, and in training no true sentence is counted as false.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fieldguide.data.drawn.looks import COUNTS, DIGITS, Look

Random = np.random.Generator
FRAMES = (
    "{}", "{}", "{}", "{}.", "a drawing of {}", "a drawing of {}.", "a picture of {}", "a picture of {}.", "a photo of {}",
    "a photo of {}.", "an image of {}", "an image of {}.", "a sketch of {}.", "a small picture of {}.", "this is {}", "this is {}.",
    "here is {}.", "there is {}", "it shows {}.", "a close-up of {}.", "one can see {}.", "a clean picture of {}.",
)  # fmt: skip
SAID_TEXTURES = {
    "plain": ("plain", "plain", "solid"),
    "striped": ("striped", "striped", "stripy"),
    "dotted": ("dotted", "dotted", "spotted"),
    "checked": ("checked", "checked", "checkered"),
}
TOLD_TEXTURES = {
    "plain": ("without a pattern", "of one colour", "with no pattern"),
    "striped": ("with stripes", "with parallel stripes", "with bands"),
    "dotted": ("with dots", "with spots", "with small round dots"),
    "checked": ("with checks", "with a chessboard pattern", "with small squares all over"),
}
SAID_SIZES = {"small": ("small", "tiny", "little"), "large": ("large", "big", "huge"), "middling": ("middle-sized",)}
SAID_PLACES = {
    "left": ("on the left", "at the left side"),
    "right": ("on the right", "at the right side"),
    "top": ("at the top", "in the upper part"),
    "bottom": ("at the bottom", "in the lower part"),
    "middle": ("in the middle", "in the centre"),
}
GROUNDS = ("ground", "background", "background")
HEADS = ("a thing", "something", "a figure", "a shape", "it is a thing", "a kind of thing", "one", "it is something")
CROWD_HEADS = ("{} things", "{} figures", "{} shapes", "there are {}", "{} of the same kind")
#: What can be seen of figures and digits without their names: ways to say it, after "a thing", and the things of which it is true.
FACTS: tuple[tuple[tuple[str, ...], frozenset[str]], ...] = tuple(
    (tuple(said.split(" / ")), frozenset(true.split()))
    for said, true in (
        ("with a round outline / without corners / that is round", "circle ring"),
        ("with corners / with sharp corners / with straight edges", "square triangle star cross diamond arrow"),
        ("with three corners / with three sides / with three straight edges", "triangle"),
        ("with four corners / with four equal sides / with four straight edges", "square diamond"),
        ("with four right angles / with level and upright sides / as wide as it is high", "square"),
        ("standing on its tip / with four slanted sides / higher than wide, with four corners", "diamond"),
        ("with five points / with five rays / with pointed rays all round", "star"),
        ("with a hole in the middle / with a round hole / like a band closed in itself", "ring"),
        ("round and full / with a round outline and no hole / that is a full round disc", "circle"),
        ("with two bars that meet at right angles / with four arms / like a plus sign", "cross"),
        ("with two bumps above a point / with a notch at the top and a point below / curved above and pointed below", "heart"),
        ("with a pointed head on a shaft / pointing to the right / with a tip and a straight shaft", "arrow"),
        ("like a sickle / curved and thin with two horns / like a bitten disc", "moon"),
        ("with a closed loop and nothing else / like an empty oval / with an oval line round an empty middle", "zero"),
        ("with a single upright stroke / like a straight line from top to bottom / with no more than one stroke down", "one"),
        ("with a bend at the top and a flat foot / curved above with a level foot / like a swan", "two"),
        ("with two bows open to the left / with two bumps on the right / with two half circles, one above the other", "three"),
        ("with an upright line crossed by a level one / with lines that cross / with an angle and an upright line", "four"),
        ("with a flat top and a bow below / with a level line above a round belly / with a belly open to the left", "five"),
        ("with a loop at the bottom and a stem above / with a closed loop below and a curve above", "six"),
        ("with a level line above a slanted line / with a bar at the top and a slanting leg", "seven"),
        (
            "with two loops, one above the other / with two closed rings that touch / narrow in the middle with two holes",
            "eight",
        ),
        ("with a loop at the top and a tail below / with a closed loop above and a stem below", "nine"),
        ("with one closed loop / with a single loop", "zero six nine"),
        ("with no closed loop / with an open line without loops", "one two three five seven"),
    )
)


@dataclass(frozen=True)
class Claim:
    """A sentence, and for each part of a look it speaks of, the words for which it is true."""

    text: str
    allows: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def holds(self, look: Look) -> bool:
        """Tell whether it is true of a picture with this look."""
        return all(getattr(look, part) in words for part, words in self.allows.items())


def caption(look: Look, random: Random) -> Claim:
    """Say what a picture shows, by name, with some of what else can be said of it."""
    claim = _digit_phrase(look, random) if look.digit else _figure_phrase(look, random)
    frame = _pick(FRAMES, random)
    if look.count != "one":
        frame = frame.replace("this is", "these are").replace("is {}", "are {}")
    return Claim(frame.format(claim.text), claim.allows)


def nameless(look: Look, random: Random) -> Claim:
    """Say one to three things of a picture without the name of what it shows."""
    told = facts(look, random)
    chosen = [told[at] for at in random.permutation(len(told))[: int(random.choice((1, 1, 2, 3)))]]
    if random.random() < 0.25:
        chosen = [Claim(f"of {look.colour} colour", _only(look, "colour")), *chosen[:1]][: int(random.choice((1, 2)))]
    body = (" and ", ", ")[int(random.random() < 0.4)].join(claim.text for claim in chosen)
    head = _pick(HEADS, random)
    allows: dict[str, frozenset[str]] = {}
    if not look.digit and random.random() < 0.3:
        head, allows = _head(look, random)
        body = "" if random.random() < 0.4 else body
    elif look.count != "one":
        head = _pick(("things", "some things", "figures", "shapes"), random)
    elif random.random() < 0.5:
        head = "it has" if body.startswith("with ") else _pick(("", "it is", "this is"), random)
        body = body.removeprefix("with ") if head == "it has" else body
    allows = _merged([Claim("", allows), *(chosen if body else ())])
    return Claim(" ".join(filter(None, (head, body))) + _pick(("", ".", ""), random), allows)


def facts(look: Look, random: Random) -> list[Claim]:
    """Return what can be told without the name of the thing, each to be said after "a thing" and worded by lot."""
    colour = _pick(
        (f"{look.colour} in colour", f"of {look.colour} colour", f"that is {look.colour}", f"coloured {look.colour}"), random
    )
    said = [Claim(colour, _only(look, "colour")), Claim(_pick(_ground(look), random), _only(look, "ground"))]
    said += [Claim(_pick(words, random), {"thing": things}) for words, things in FACTS if look.thing in things]
    if look.digit:
        words = ("written by hand", "written with a pen") if look.hand == "handwritten" else ("printed", "in a printed type")
        return [*said, Claim(_pick(words, random), _only(look, "hand"))]
    textures = (f"that is {SAID_TEXTURES[look.texture][0]}", *TOLD_TEXTURES[look.texture])
    said.append(Claim(_pick(textures, random), _only(look, "texture", "hand")))
    if look.count == "one":
        said.append(Claim(f"that is {_pick(SAID_SIZES[look.size], random)}", _only(look, "size", "count", "hand")))
    if look.place in SAID_PLACES:
        said.append(Claim(_pick(SAID_PLACES[look.place], random), _only(look, "place")))
    return said


def _head(look: Look, random: Random) -> tuple[str, dict[str, frozenset[str]]]:
    """Begin a sentence with how many things there are."""
    if look.count == "one":
        return _pick(("a single thing", "only one thing", "one figure alone"), random), _only(look, "count", "hand")
    if random.random() < 0.25:
        return _pick(("several things", "a group of things", "more than one thing"), random), {"count": frozenset(COUNTS[1:])}
    return _pick(CROWD_HEADS, random).format(look.count), _only(look, "count")


def described(look: Look) -> dict[str, str]:
    """Return one sentence a field (shape, colour, texture) about a class of pictures, none with the name of what it shows."""
    shapes = [words[0] for words, things in sorted(FACTS, key=lambda fact: len(fact[1])) if look.thing in things]
    said = {"shape": f"a thing {shapes[0]}"}
    if not look.digit:
        said["colour"] = f"a thing of {look.colour} colour"
        said["texture"] = f"a thing {TOLD_TEXTURES[look.texture][0]}"
    return said


def held(claims: Sequence[Claim], looks: Sequence[Look], parts: Mapping[str, Iterable[str]]) -> np.ndarray:
    """Return which claims are true of which looks, ``"looks claims"`` bool, for all at once."""
    true = np.ones((len(looks), len(claims)), dtype=bool)
    for part, words in parts.items():
        place = {word: at for at, word in enumerate(words)}
        allowed = np.ones((len(place), len(claims)), dtype=bool)
        for at, claim in enumerate(claims):
            if part in claim.allows:
                allowed[:, at] = [word in claim.allows[part] for word in place]
        true &= allowed[[place[getattr(look, part)] for look in looks]]
    return true


def _figure_phrase(look: Look, random: Random) -> Claim:
    """Name figures: "two striped blue stars on a dark ground"."""
    allows = _only(look, "thing")
    before, after = [], []
    if random.random() < 0.72:
        before.append(look.colour)
        allows |= _only(look, "colour")
    if random.random() < 0.6:
        allows |= _only(look, "texture")
        if random.random() < 0.75:
            before.append(_pick(SAID_TEXTURES[look.texture], random))
        else:
            after.append(_pick(TOLD_TEXTURES[look.texture], random))
    if look.count == "one" and random.random() < 0.25:
        before.append(_pick(SAID_SIZES[look.size], random))
        allows |= _only(look, "size", "count")
    before = [before[at] for at in random.permutation(len(before))]
    if look.place in SAID_PLACES and random.random() < 0.4:
        after.append(_pick(SAID_PLACES[look.place], random))
        allows |= _only(look, "place")
    if random.random() < 0.15:
        after.append(_pick(_ground(look), random))
        allows |= _only(look, "ground")
    article, noun = "", look.thing
    if look.count != "one":
        article = "a pair of" if look.count == "two" and random.random() < 0.15 else look.count
        noun += "es" if noun == "cross" else "s"
        allows |= _only(look, "count")
    elif random.random() < 0.7:
        article = "one" if random.random() < 0.2 else "an" if " ".join([*before, noun])[0] in "aeiou" else "a"
        allows |= _only(look, "count")
    return Claim(" ".join(filter(None, [article, *before, noun, *after])), allows)


def _digit_phrase(look: Look, random: Random) -> Claim:
    """Name a digit: "a handwritten three", "the number 3"."""
    word = look.thing if random.random() < 0.5 else str(DIGITS.index(look.thing))
    allows, before = _only(look, "thing"), []
    if random.random() < 0.25:
        before.append(look.hand)
        allows |= _only(look, "hand")
    if random.random() < 0.25:
        before.append(look.colour)
        allows |= _only(look, "colour")
    if not before and random.random() < 0.2:
        return Claim(
            _pick((word, f'the number: "{word}"', f"number {word}", f"digit {word}", f"the digit {word}"), random), allows
        )
    article = _pick(("a", "the", "a", ""), random)
    kind = _pick(("", "", "digit", "number", "figure"), random)
    text = " ".join(filter(None, [article, *before, kind, word]))
    if random.random() < 0.1:
        text, allows = f"{text} {_pick(_ground(look), random)}", allows | _only(look, "ground")
    return Claim(text, allows)


def _ground(look: Look) -> tuple[str, ...]:
    return tuple(f"on a {look.ground} {word}" for word in GROUNDS)


def _only(look: Look, *parts: str) -> dict[str, frozenset[str]]:
    return {part: frozenset({getattr(look, part)}) for part in parts}


def _merged(claims: Iterable[Claim]) -> dict[str, frozenset[str]]:
    merged: dict[str, frozenset[str]] = {}
    for claim in claims:
        for part, words in claim.allows.items():
            merged[part] = merged.get(part, words) & words
    return merged


def _pick(words: Sequence[str], random: Random) -> str:
    return words[int(random.integers(len(words)))]
