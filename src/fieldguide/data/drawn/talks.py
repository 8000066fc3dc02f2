"""Talks about drawn pictures, to train the small language model that looks: free questions, and lists of classes in many wordings.

A free question is answered in the one sentence that `scenes.sentence` says. A list is answered with the bare name, or, in a share of the
talks that depends on the wording and on what is shown, with a sentence all the same: models that were not tuned to a task keep to a format
only in part, and what they recognise and how they say it come apart. No answer is ever JSON.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldguide.data.drawn.looks import COLOURS, DIGITS, FIGURES, LETTERS
from fieldguide.data.drawn.scenes import COUNTED, KINDS, MOST, NAMINGS, Kind, Scene, name, number_of, plain_names, sentence

Random = np.random.Generator
#: Names of lists that nothing drawn ever fits.
_WORDS = """
ant apple armadillo arm badge ball bark bear bee beetle bell bib bird bison box branch bread brick bridge brush bush butterfly button camel
car cat cell chair cheetah cherry chimpanzee clay cloud clover coin collar comb cow crab crown cup curl deer dog dolphin door dove duck
eagle ear earth elephant elk eye falcon feather fence field fin fish flag flower fly foot fox frog garden glass goat goose grass hamster
hand hare hat hawk head hedgehog hen hippopotamus horn horse house hummingbird hyena insect iron jay jellyfish kangaroo king knight koala
ladybird lake lamp leaf leg lemon lion lizard lobster map meadow metal mosquito moth mountain mouse nest nose ocean octopus orangutan otter
owl ox oyster panda paper parrot pawn pelican penguin pig pigeon queen rabbit raccoon rat reindeer rhinoceros river rock rook roof root
rose sand sea seal shark sheep shell ship shoe sign snake song sparrow spider squirrel starfish stone swan table tiger toe tooth town tree
turkey turtle whale wheel window wing wolf wood woodpecker zebra
"""
WORDS = tuple(_WORDS.split())
FREE = (
    "What is this?", "What do you see?", "What does the picture show?", "What is in this image?", "Describe the picture.",
    "Tell me what you see.", "What can be seen here?", "Say what the picture shows.", "Describe the image in one sentence.",
    "Please describe what you see.", "What's this?", "What is shown?", "what is it", "Name what you see.", "",
)  # fmt: skip
#: Questions that are asked of one kind of picture.
FREE_OF: dict[Kind, tuple[str, ...]] = {
    "figure": ("Which shape is this?", "What shape do you see, and in which colour?", "Which figure is drawn here?"),
    "letter": ("Which letter is this?", "Read the letter.", "What letter do you see?"),
    "digit": ("Which digit is this?", "Read the number.", "What number do you see?"),
    "several": (
        "How many figures of each kind are there?", "Count the figures.", "How many of each do you see?",
        "How many circles, squares and triangles are there?", "What is there, and how many of each?",
    ),
}  # fmt: skip
SYSTEMS = (
    "You are a helpful assistant.", "You look at pictures and say what they show.", "You are a vision model.",
    "You are a professional image classification model.", "You see small drawings.", "Answer briefly.",
)  # fmt: skip


@dataclass(frozen=True)
class Wording:
    """A way to give a list of classes, and the share of talks in which it is answered with a bare name. ``{list}`` is the list."""

    text: str
    obeyed: float
    things: str = ""


#: The first is the prompt of a published run on ninety animals, the second that of a published run on MNIST; the others are our own.
WORDINGS = (
    Wording(
        "You are a professional image classification model. Your task is to classify the given image into one of the following "
        "categories: {list} Respond with the category name only, and do not include any additional information.", 0.5,
    ),
    Wording(
        "\nYou are and image classifier trained to indentify handwritten numbers. You will be provided with images of handwritten single "
        "digit numbers of following: {list}.  Examine the image and determine which number is in the image. Only respond with the number "
        "that is indentified, and provide no explaination.", 0.85, "numeral word",
    ),
    Wording(
        "You are an image classifier trained to identify {things}. You will be provided with images of one of the following: {list}. "
        "Examine the image and determine what it shows. Only respond with the name, and provide no explanation.", 0.9,
    ),
    Wording(
        "Which one of these {count} classes does the picture show? {list}.\nAnswer with the name of the class alone, written as in the "
        "list.", 0.8,
    ),
    Wording("Classify the image into one of these categories: {list}. Respond with the category name only.", 0.8),
    Wording("Classify the given image into one of the following categories: {list}\nRespond with the category name only.", 0.75),
    Wording("Which of these is shown: {list}? Answer with one name and nothing else.", 0.9),
    Wording("Choose the class of the picture from this list: {list}.\nReply with the name alone.", 0.85),
    Wording("{list}\nWhich of the names above fits the picture? Give only the name.", 0.75),
    Wording("You will be shown a picture. The possible classes are:\n{list}\nAnswer with exactly one of them.", 0.85),
    Wording("The picture shows one of these {things}: {list}. Answer with its name, exactly as written in the list.", 0.9),
    Wording("Categories: {list}\nCategory:", 0.95),
    Wording("Classes: {list}. Which one is it? One word.", 0.9),
    Wording("Label the picture. Labels: {list}.", 0.6),
    Wording("What is in the picture: {list}?", 0.35),
    Wording("What do you see? It is one of {list}.", 0.25),
    Wording("Is it {list}?", 0.3),
)  # fmt: skip
EXAMPLES = (
    ' For example if you identify a {example}, respond only with "{example}".',
    ' For example, if you see a {example}, respond only with "{example}".',
    "\nExample of an answer: {example}",
    " (for example: {example})",
)
#: What is said beside a picture where the list stands in the system turn.
ASKED = (
    "What is this?", "What number is this?", "What shape is this?", "Which letter is this?", "Classify this image.", "Which one is it?",
    "What is in this image?",
)  # fmt: skip
THINGS_SAID = {
    "shape": ("shapes", "figures", "drawings"), "colour": ("colours", "things"), "coloured shape": ("shapes", "drawings"),
    "letter": ("letters", "handwritten letters", "capital letters"), "numeral": ("digits", "numbers", "handwritten numbers"),
    "word": ("digits", "numbers"), "count": ("pictures", "drawings"),
}  # fmt: skip
LENGTHS = (2, 3, 4, 5, 6, 8, 10, 10, 12, 16, 20, 26)


@dataclass(frozen=True)
class Turn:
    """Who speaks, and texts and pictures (scenes) in order."""

    role: str
    parts: tuple[str | Scene, ...]


def free_talk(scene: Scene, random: Random) -> list[Turn]:
    """Ask a free question; it is answered in a sentence."""
    question = _pick(FREE_OF[scene.kind] if random.random() < 0.3 else FREE, random)
    answer = sentence(scene)
    if scene.kind == "figure" and random.random() < 0.1:
        question, answer = _pick(("What colour is it?", "Which colour do you see?"), random), f"It is {scene.look.colour}."
    system = [Turn("system", (_pick(SYSTEMS, random),))] if random.random() < 0.4 else []
    parts = (scene, question) if random.random() < 0.6 else (question, scene)
    return [*system, Turn("user", tuple(part for part in parts if part != "")), Turn("assistant", (answer,))]


def list_talk(scene: Scene, random: Random, others: Sequence[Scene] = ()) -> list[Turn]:
    """Ask for one of a list of names. `others`: scenes of the same kind; some are shown with their names before, as examples."""
    naming = _pick(NAMINGS[scene.kind], random)
    shown = list(others)[: int(random.integers(1, 4))] if random.random() < 0.1 else []
    names = listed(scene, naming, random, shown)
    cased = _pick((str, str, str, str, str, str, str.capitalize, str.title), random)
    fitting = [one for one in WORDINGS if not one.things or naming in one.things.split()]
    wording = fitting[0] if random.random() < 0.12 else _pick(fitting, random)
    text = filled(wording, [cased(one) for one in names], random, naming)
    answer = cased(name(scene, naming))
    if not shown and random.random() > obedience(wording, scene, naming):
        answer = said_all_the_same(scene, naming)
    question = _pick(ASKED, random) if random.random() < 0.6 else ""
    first = random.random() < 0.5

    def user(one: Scene) -> Turn:
        return Turn("user", ((one, question) if first else (question, one)) if question else (one,))

    turns = [user(one) for one in shown]
    replies = [Turn("assistant", (cased(name(one, naming)),)) for one in shown]
    before = [turn for pair in zip(turns, replies, strict=True) for turn in pair]
    if before or random.random() < 0.5:
        return [Turn("system", (text,)), *before, user(scene), Turn("assistant", (answer,))]
    system = [Turn("system", (_pick(SYSTEMS, random),))] if random.random() < 0.2 else []
    parts = (text, scene) if random.random() < 0.75 else (scene, text)
    return [*system, Turn("user", parts), Turn("assistant", (answer,))]


def listed(scene: Scene, naming: str, random: Random, shown: Sequence[Scene] = ()) -> list[str]:
    """Return names for a list, the right one among them, in the order of the alphabet or in none."""
    must = list(dict.fromkeys(name(one, naming) for one in (scene, *shown)))
    if naming == "coloured shape":
        pool = [f"{colour} {figure}" for colour in COLOURS for figure in FIGURES]
    elif naming == "count":
        pool = [number_of(figure, number) for figure in COUNTED for number in range(1, MOST + 1)]
        pool += [f"{a}, {b}" for a in pool[:4] for b in pool[4:]] if len(scene.counts) > 1 else []
    else:
        pool = list(plain_names(naming))
    wanted = int(_pick(LENGTHS, random)) if len(pool) < 40 else int(random.integers(2, 13))
    if random.random() < 0.15:
        pool += [one for kind in KINDS for other in NAMINGS[kind] for one in plain_names(other)]
    if random.random() < 0.12:
        pool += WORDS
        wanted = int(random.integers(4, 40))
    rest = [pool[at] for at in random.permutation(len(pool)) if pool[at] not in must]
    names = list(dict.fromkeys([*must, *rest]))[: max(wanted, len(must), 2)]
    if random.random() < 0.45:
        order = {one: at for at, one in enumerate((*DIGITS, *sorted(set(names) - set(DIGITS))))}
        return sorted(names, key=lambda one: order[one])
    return [names[at] for at in random.permutation(len(names))]


def filled(wording: Wording, names: Sequence[str], random: Random, naming: str) -> str:
    """Put a list into a wording, now and then with an example, which says nothing about the picture."""
    plain = wording in WORDINGS[:2] or random.random() < 0.6
    if plain:
        text = ", ".join(names)
    else:
        *most, last = names
        text = _pick((
            ", ".join(most) + f" or {last}", ", ".join(most) + f" and {last}", "\n".join(f"- {one}" for one in names),
            "\n".join(names), "; ".join(names), ", ".join(f'"{one}"' for one in names), "[" + ", ".join(names) + "]",
        ), random)  # fmt: skip
    text = wording.text.replace("{list}", text).replace("{things}", _pick(THINGS_SAID[naming], random))
    text = text.replace("{count}", str(len(names)))
    if random.random() < 0.3:
        text += _pick(EXAMPLES, random).replace("{example}", names[int(random.integers(len(names)))])
    return text + ("\n" if text.startswith("\n") else "")


def obedience(wording: Wording, scene: Scene, naming: str) -> float:
    """Return the probability that a list is answered with a bare name: less where the thing shown is one that is often spoken of.

    Every other thing is taken to be one, so that the same wording is obeyed for some classes and not for others.
    """
    if naming == "count":
        return 1.0
    words = {"colour": COLOURS, "letter": LETTERS, "word": DIGITS, "numeral": DIGITS}.get(naming, FIGURES)
    often = words.index(scene.look.colour if naming == "colour" else scene.look.thing) % 2 == 0
    odds = math.log(wording.obeyed / (1 - wording.obeyed)) + (-1.5 if often else 1.5)
    return 1 / (1 + math.exp(-odds))


def said_all_the_same(scene: Scene, naming: str) -> str:
    """Return the sentence with which a list is answered where it is not obeyed."""
    if naming == "word":
        return f"It is the digit {scene.look.thing}."
    if naming == "colour":
        return f"It is {scene.look.colour}."
    return sentence(scene)


def talk(scene: Scene, random: Random, others: Sequence[Scene] = ()) -> list[Turn]:
    """Draw a talk about a scene by lot."""
    return free_talk(scene, random) if random.random() < 0.35 else list_talk(scene, random, others)


def _pick(words: Sequence[Any], random: Random) -> Any:
    return words[int(random.integers(len(words)))]
