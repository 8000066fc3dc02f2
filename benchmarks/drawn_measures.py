"""What the drawn image-text model can and cannot: zero-shot accuracy on pictures that no training saw, seeded, with its chance level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import binomtest
from sklearn.datasets import load_digits
from torch.nn import functional as F
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

from fieldguide.data.drawn.folders import compositions, look_of
from fieldguide.data.drawn.looks import COLOURS, COUNTS, DIGITS, FIGURES, TEXTURES, Look, digit_look, figure_look, unseen
from fieldguide.data.drawn.pictures import draw
from fieldguide.data.drawn.sentences import described

TEMPLATES = ("{}", "a drawing of {}.", "a picture of {}.", "a photo of {}.")
DIGIT_TEMPLATES = ("the digit {}", "a handwritten {}", "number {}.", "a photo of the number {}.")
SEED = 77


class Reader:
    """The shipped folder, asked as a user asks it: through `from_pretrained`, offline, in fp32."""

    def __init__(self, folder: Path) -> None:
        self.model = CLIPModel.from_pretrained(folder, local_files_only=True).eval()
        self.words = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.eyes = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)

    @torch.no_grad()
    def pictures(self, pictures: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        """Return unit features, ``"pictures 128"``."""
        found = []
        for at in range(0, len(pictures), 256):
            pixels = self.eyes([Image.fromarray(one) for one in pictures[at : at + 256]], return_tensors="pt")["pixel_values"]
            found.append(self.model.get_image_features(pixel_values=pixels).pooler_output)
        return F.normalize(torch.cat(found), dim=1)

    @torch.no_grad()
    def classes(self, names: Sequence[Sequence[str]]) -> torch.Tensor:
        """Return one unit vector a class, the mean of its sentences, ``"classes 128"``."""
        found = []
        for said in names:
            tokens = self.words(list(said), padding=True, truncation=True, return_tensors="pt")
            found.append(F.normalize(self.model.get_text_features(**tokens).pooler_output, dim=1).mean(dim=0))
        return F.normalize(torch.stack(found), dim=1)


def score(seen: torch.Tensor, read: torch.Tensor, labels: Sequence[int]) -> dict[str, Any]:
    """Return accuracy in percent, with its 95 % interval (Wilson), the number of pictures and the accuracy of guessing."""
    right = int(((seen @ read.T).argmax(dim=1) == torch.tensor(labels)).sum())
    found = binomtest(right, len(labels)).proportion_ci(method="wilson")
    return {
        "accuracy": round(100 * right / len(labels), 1),
        "low": round(100 * found.low, 1),
        "high": round(100 * found.high, 1),
        "pictures": len(labels),
        "classes": len(read),
        "chance": round(100 / len(read), 2),
    }


def filled(name: str, templates: Sequence[str] = TEMPLATES) -> list[str]:
    return [template.format(name) for template in templates]


def article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def drawn(
    number: int, wanted: Callable[[Look], bool], random: np.random.Generator
) -> tuple[list[Look], list[NDArray[np.uint8]]]:
    """Draw pictures of figures that are wanted."""
    looks: list[Look] = []
    while len(looks) < number:
        if wanted(look := figure_look(random)):
            looks.append(look)
    return looks, [draw(look, random) for look in looks]


def composed(reader: Reader, number: int) -> dict[str, Any]:
    """Texture, colour and figure of a single thing, among all 400 at once: combinations that were drawn, and those that never were."""
    every = list(product(TEXTURES, COLOURS, FIGURES))
    read = reader.classes([filled(article(" ".join(one))) for one in every])
    found = {}
    cases: dict[str, Callable[[Look], bool]] = {
        "drawn in training": lambda look: look.count == "one" and not unseen(look),
        "never drawn: figure, colour and texture": lambda look: look.count == "one" and unseen(look) == ("texture",),
        "never drawn: figure and colour": lambda look: look.count == "one" and "colour" in unseen(look),
    }
    for name, wanted in cases.items():
        random = np.random.default_rng((SEED, len(found)))
        looks, seen = drawn(number, wanted, random)
        labels = [every.index((look.texture, look.colour, look.thing)) for look in looks]
        found[name] = score(reader.pictures(seen), read, labels)
    return found


def counted(reader: Reader, number: int) -> dict[str, Any]:
    """Number and figure, among all 50 at once."""
    every = list(product(COUNTS, FIGURES))
    plural = {figure: figure + ("es" if figure == "cross" else "s") for figure in FIGURES}
    read = reader.classes(
        [filled(article(figure) if count == "one" else f"{count} {plural[figure]}") for count, figure in every]
    )
    found = {}
    cases: dict[str, Callable[[Look], bool]] = {
        "drawn in training": lambda look: look.count != "one" and not unseen(look),
        "never drawn: number and figure": lambda look: unseen(look) == ("count",),
    }
    for name, wanted in cases.items():
        random = np.random.default_rng((SEED, 10 + len(found)))
        looks, seen = drawn(number, wanted, random)
        found[name] = score(reader.pictures(seen), read, [every.index((look.count, look.thing)) for look in looks])
    return found


def digits(reader: Reader, folder: Path | None, number: int) -> dict[str, Any]:
    """Digits: drawn ones, scikit-learn's written ones (all 1,797), and those of a folder."""
    read = reader.classes([filled(word, DIGIT_TEMPLATES) + filled(str(at), DIGIT_TEMPLATES) for at, word in enumerate(DIGITS)])
    random = np.random.default_rng((SEED, 20))
    looks = [digit_look(random) for _ in range(number)]
    seen = reader.pictures([draw(look, random) for look in looks])
    found = {"drawn": score(seen, read, [DIGITS.index(look.thing) for look in looks])}
    written = load_digits()
    grey = [np.repeat((255 - one * 15.9375).astype(np.uint8)[..., None], 3, axis=2) for one in written.images]
    features = reader.pictures(grey)
    found["scikit-learn's, by name"] = score(features, read, written.target.tolist())
    name = reader.classes([[f"a photo of a {at}."] for at in range(10)])
    found['scikit-learn\'s, "a photo of a 3." alone'] = score(features, name, written.target.tolist())
    told = reader.classes([list(described(look_of(word)).values())[:1] for word in DIGITS])
    found["scikit-learn's, described without a name"] = score(features, told, written.target.tolist())
    if folder is not None:
        paths = [path for at in range(10) for path in sorted((folder / str(at)).iterdir())]
        grey = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
        found["MNIST pictures"] = score(reader.pictures(grey), read, [int(path.parent.name) for path in paths])
    return found


def told(reader: Reader, number: int) -> dict[str, Any]:
    """Twenty-four held-out compositions by name, and by sentences in which it does not occur."""
    names = compositions(24, held_out=True, seed=SEED)
    random = np.random.default_rng((SEED, 30))
    labels = [at % len(names) for at in range(number)]
    looks = [replace(look_of(names[at]), ground="dark" if "white" in names[at] else "light") for at in labels]
    seen = reader.pictures([draw(look, random) for look in looks])
    return {
        "by name": score(seen, reader.classes([filled(article(name)) for name in names]), labels),
        "by sentences without it": score(
            seen, reader.classes([list(described(look_of(name)).values()) for name in names]), labels
        ),
    }


def measured(folder: Path, numbers: Path | None = None, pictures: int = 1000) -> dict[str, Any]:
    """Return every number of the card."""
    reader = Reader(folder)
    return {
        "texture, colour and figure": composed(reader, pictures),
        "number and figure": counted(reader, pictures),
        "24 compositions, none drawn in training": told(reader, pictures),
        "digits": digits(reader, numbers, pictures),
    }
