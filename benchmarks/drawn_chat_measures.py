"""What the drawn language model reads and how it answers, on pictures that no training saw, seeded, with chance beside it.

Every row tells three things apart: `strict`, the answer is the right name letter for letter (after a free question: the right sentence);
`recognised`, the right name and no other of the list stands in the answer, whatever else does; `bare`, the answer is a name of the list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import binomtest
from sklearn.datasets import load_digits
from transformers import AutoModelForImageTextToText, AutoProcessor

from fieldguide.data.drawn.looks import COLOURS, FIGURES
from fieldguide.data.drawn.scenes import KINDS, Kind, Scene, name, plain_names, scene, sentence, show
from fieldguide.data.drawn.talks import FREE, WORDINGS, Turn, Wording

Pixels = NDArray[np.uint8]
SEED = 77
E1B, E4, PLAIN = WORDINGS[0], WORDINGS[1], WORDINGS[3]
NUMERALS = tuple("0123456789")
SAID = {"figure": "shapes", "letter": "letters", "digit": "digits", "several": "counts"}
#: Which name is asked for of each kind that has a list.
NAMING: dict[Kind, str] = {"figure": "shape", "letter": "letter", "digit": "numeral"}
EXAMPLE = ' For example if you identify a {example}, respond only with "{example}".\n'
JSON = (
    "How many of each type of the figures (circle, square, triangle) are there? Respond in JSON format with the figure as the key and a "
    "integer count as the value."
)


class Reader:
    """The shipped folder, asked as a user asks it: through `from_pretrained`, offline, in fp32, greedily."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True).eval()
        self.eyes = AutoProcessor.from_pretrained(folder, local_files_only=True)

    @torch.no_grad()
    def answers(self, talks: Sequence[Sequence[Turn]], pictures: Sequence[Pixels], batch: int = 64) -> list[str]:
        """Return what is said in the end of each talk; its one place for a picture (a scene) shows that of `pictures`."""
        said: list[str] = [""] * len(talks)
        order = sorted(
            range(len(talks)),
            key=lambda at: sum(len(part) for turn in talks[at] for part in turn.parts if isinstance(part, str)),
        )
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            inputs = self.eyes.apply_chat_template(
                [messages(talks[at], pictures[at]) for at in chosen], tokenize=True, return_dict=True, add_generation_prompt=True,
                return_tensors="pt", processor_kwargs={"padding": True},
            )  # fmt: skip
            made = self.model.generate(**inputs, max_new_tokens=16, do_sample=False)
            texts = self.eyes.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            for at, text in zip(chosen, texts, strict=True):
                said[at] = text
        return said


def messages(turns: Sequence[Turn], picture: Pixels) -> list[dict[str, Any]]:
    """Return a talk as transformers takes it, with `picture` in place of the scene."""
    found = []
    for turn in turns:
        parts = [
            {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "image": Image.fromarray(picture)}
            for part in turn.parts
        ]
        found.append({"role": turn.role, "content": parts})
    return found


def score(said: Sequence[str], truths: Sequence[str], names: Sequence[Sequence[str]], chance: float) -> dict[str, Any]:
    """Return the three shares in percent, the first with its 95 % interval (Wilson)."""
    strict = sum(text.strip() == truth for text, truth in zip(said, truths, strict=True))
    seen = sum(mentioned(text, listed) == {truth} for text, truth, listed in zip(said, truths, names, strict=True))
    bare = sum(text.strip() in listed for text, listed in zip(said, names, strict=True))
    found = binomtest(strict, len(said)).proportion_ci(method="wilson")
    return {
        "strict": _percent(strict, len(said)), "low": round(100 * float(found.low), 1), "high": round(100 * float(found.high), 1),
        "recognised": _percent(seen, len(said)), "bare": _percent(bare, len(said)), "chance": round(chance, 2), "pictures": len(said),
    }  # fmt: skip


def mentioned(text: str, names: Sequence[str]) -> set[str]:
    """Return which names stand in a text as whole words, whatever their case."""
    return {one for one in names if re.search(rf"(?<!\w){re.escape(one)}(?!\w)", text, re.IGNORECASE)}


def asked(wording: Wording, names: Sequence[str], one: Scene, example: str = "", system: bool = False) -> list[Turn]:
    """Ask for one of a list in a wording of the training, the list before the picture."""
    plain = wording.text.replace("{list}", ", ".join(names)).replace("{count}", str(len(names)))
    text = plain + (EXAMPLE.replace("{example}", example) if example else "")
    if system:
        return [Turn("system", (text,)), Turn("user", (one, "What number is this?"))]
    return [Turn("user", (text, one))]


def fresh(number: int, kind: Kind, seed: int) -> tuple[list[Scene], list[Pixels]]:
    """Draw scenes of a kind, and pictures of them."""
    random = np.random.default_rng((SEED, KINDS.index(kind), seed))
    scenes = [scene(random, kind) for _ in range(number)]
    return scenes, [show(one, random) for one in scenes]


def free(reader: Reader, number: int) -> dict[str, Any]:
    """Free questions: the whole sentence, and the name within it."""
    found = {}
    for kind in KINDS:
        scenes, pictures = fresh(number, kind, 0)
        questions = [Turn("user", (one, FREE[at % (len(FREE) - 1)])) for at, one in enumerate(scenes)]
        said = reader.answers([[question] for question in questions], pictures)
        truths = [sentence(one) for one in scenes]
        row = score(said, truths, [[truth] for truth in truths], 0.0)
        names = {"figure": FIGURES, "letter": plain_names("letter"), "digit": NUMERALS}.get(kind)
        if names:
            things = [name(one, NAMING[kind]) for one in scenes]
            # A letter stands in "the letter A" as a capital, and "a" in "a red star" as none.
            seen = [mentioned(text.replace("the letter ", "").replace("It is ", ""), names) for text in said]
            row["recognised"] = _percent(sum(s == {t} for s, t in zip(seen, things, strict=True)), number)
            row["bare"] = _percent(sum(text.strip() in names for text in said), number)
            row["chance"] = round(100 / len(names) / (len(COLOURS) if kind == "figure" else 1), 2)
        else:
            row["bare"] = 0.0
            row["chance"] = round(100 * _guess(scenes), 2)
        found[SAID[kind]] = row
    return found


def lists(reader: Reader, wording: Wording, number: int, lengths: Sequence[int] = (2, 5, 10, 26)) -> dict[str, Any]:
    """Lists of growing length before the picture, in no order, the right name among them."""
    found = {}
    for kind, naming in NAMING.items():
        every = plain_names(naming)
        for length in (one for one in lengths if one <= len(every)):
            scenes, pictures = fresh(number, kind, length)
            random = np.random.default_rng((SEED, length))
            names = []
            for one in scenes:
                others = [other for other in every if other != name(one, naming)]
                chosen = [name(one, naming), *(others[at] for at in random.permutation(len(others))[: length - 1])]
                names.append([chosen[at] for at in random.permutation(length)])
            said = reader.answers([asked(wording, listed, one) for listed, one in zip(names, scenes, strict=True)], pictures)
            found[f"{length} {SAID[kind]}"] = score(said, [name(one, naming) for one in scenes], names, 100 / length)
    return found


def shuffled(reader: Reader, number: int) -> dict[str, Any]:
    """The same lists, each beside a picture of another scene: what is left is guessing."""
    found = {}
    for kind, naming in NAMING.items():
        every = plain_names(naming)
        scenes, pictures = fresh(number, kind, 1)
        said = reader.answers([asked(PLAIN, every, one) for one in scenes], pictures[1:] + pictures[:1])
        found[f"{len(every)} {SAID[kind]}"] = score(
            said, [name(one, naming) for one in scenes], [every] * number, 100 / len(every)
        )
    return found


def digits(reader: Reader, folder: Path | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Written digits that others wrote, by three prompts, and how often "3" is answered where it is the example, or none is."""
    written = load_digits()
    sets = {
        "scikit-learn's": (
            [_rgb((255 - one * 15.9375).astype(np.uint8)) for one in written.images],
            [str(one) for one in written.target],
        )
    }
    if folder is not None:
        paths = [path for at in NUMERALS for path in sorted((folder / at).iterdir())]
        sets["MNIST's"] = (
            [np.asarray(Image.open(path).convert("RGB")) for path in paths],
            [path.parent.name for path in paths],
        )
    place = scene(np.random.default_rng(0), "digit")
    prompts = {
        "the plain prompt": asked(PLAIN, NUMERALS, place),
        "the prompt of ninety animals": asked(E1B, NUMERALS, place),
        "the MNIST prompt, example 3": asked(E4, NUMERALS, place, "3", system=True),
        "the MNIST prompt, no example": asked(E4, NUMERALS, place, system=True),
    }
    found, pulled = {}, {}
    for whose, (pictures, truths) in sets.items():
        for how, turns in prompts.items():
            said = reader.answers([turns] * len(pictures), pictures)
            found[f"{whose}, {how}"] = score(said, truths, [NUMERALS] * len(said), 10.0)
            if "MNIST prompt" in how:
                threes = sum(text.strip() == "3" for text in said)
                pulled[f"{whose}, {how.removeprefix('the MNIST prompt, ')}"] = {
                    "threes_said": threes, "threes_shown": truths.count("3"), "pictures": len(said),
                }  # fmt: skip
    return found, pulled


def in_json(reader: Reader, number: int) -> dict[str, Any]:
    """Ask for counts as JSON, which was never taught."""
    scenes, pictures = fresh(number, "several", 2)
    said = reader.answers([[Turn("user", (one, JSON))] for one in scenes], pictures)
    return {
        "pictures": number, "begins_as_json": sum("{" in text for text in said),
        "right_sentence": sum(text.strip() == sentence(one) for text, one in zip(said, scenes, strict=True)),
    }  # fmt: skip


def measured(folder: Path, numbers: Path | None = None, pictures: int = 500) -> dict[str, Any]:
    """Return every number of the card."""
    reader = Reader(folder)
    others, pulled = digits(reader, numbers)
    return {
        "free questions": free(reader, pictures),
        "lists, the plain prompt": lists(reader, PLAIN, pictures),
        "lists, the prompt of ninety animals": lists(reader, E1B, pictures),
        "lists beside another picture": shuffled(reader, pictures),
        "written digits of others": others,
        "pull of the example": pulled,
        "counts as JSON": in_json(reader, 200),
    }


def _guess(scenes: Sequence[Scene]) -> float:
    """Return the share that the most frequent sentence has."""
    said = [sentence(one) for one in scenes]
    return max(said.count(one) for one in set(said)) / len(said)


def _rgb(grey: Pixels) -> Pixels:
    return np.repeat(grey[..., None], 3, axis=2)


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1)
