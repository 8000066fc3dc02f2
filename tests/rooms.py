"""Families for studies whose outcome is known beforehand: one whose training is chance, one that is as good as its pictures are many."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from fieldguide import families
from fieldguide.bench import Bench
from fieldguide.files import digest
from fieldguide.records import Example, Image, Prediction
from fieldguide.settings import Settings as Base

COLOURS = {"blue": (40, 40, 200), "green": (40, 200, 40), "red": (200, 40, 40)}


class Settings(Base):
    """How well it answers."""

    skill: float = 1.0
    """Share of the pictures it knows when it has seen `enough` of them, 0 to 1."""
    enough: int = 10**9
    """Training pictures after which it learns nothing more."""


@dataclass(frozen=True)
class Knows:
    """Answers the colour's name for a `share` of all pictures, the same ones for a larger share, and the next class for the rest."""

    ids: tuple[str, ...]
    share: float
    salt: str

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield the truth, which these pictures tell by their colour, where it is known."""
        for image in images:
            truth = ("red", "green", "blue")[int(image.pixels(8).mean(axis=(0, 1)).argmax())]
            known = int(digest(self.salt, image.key)[:8], 16) / 16**8 < self.share
            yield Prediction(
                image.key, truth if known else self.ids[(self.ids.index(truth) + 1) % len(self.ids)], seconds=0.001
            )

    def save(self, folder: Path) -> None:
        """Write ``knows.json``."""
        (folder / "knows.json").write_text(json.dumps([self.ids, self.share, self.salt]), encoding="utf-8")


def load(folder: Path) -> Knows:
    """Read ``knows.json``."""
    ids, share, salt = json.loads((folder / "knows.json").read_text(encoding="utf-8"))
    return Knows(tuple(ids), share, salt)


def dice(before: Callable[[Bench], object] = lambda bench: None) -> Any:
    """Return a family whose seed decides what it knows; `before` is called at the start of each fit."""

    def fit(train: Sequence[Example], val: Sequence[Example], task: Any, settings: Settings, bench: Bench) -> Knows:
        before(bench)
        bench.log("epoch", epoch=0, seed=bench.seed)
        share = settings.skill * np.random.default_rng(bench.seed).uniform(0.5, 1)
        return Knows(task.ids, float(share), f"seed {bench.seed}")

    return types.SimpleNamespace(__doc__="Chance.", Settings=Settings, fit=fit, load=load, LEARNS=True, CHANCE=True)


def learner(seen: list[tuple[str, ...]] | None = None) -> Any:
    """Return a family that knows more with every picture until it has seen `enough`; what it was given is noted in `seen`."""

    def fit(train: Sequence[Example], val: Sequence[Example], task: Any, settings: Settings, bench: Bench) -> Knows:
        if seen is not None:
            seen.append(tuple(example.image.key for example in train))
        return Knows(task.ids, settings.skill * min(1.0, len(train) / settings.enough), "always")

    return types.SimpleNamespace(__doc__="Diligence.", Settings=Settings, fit=fit, load=load, LEARNS=True)


def install(patch: pytest.MonkeyPatch, **rooms: Any) -> None:
    """Let `rooms` be found beside the families that there are."""
    real, known = families.family, families.names()
    patch.setattr(families, "family", lambda name: rooms[name] if name in rooms else real(name))
    patch.setattr(families, "names", lambda: tuple(sorted({*known, *rooms})))


def write_colours(root: Path, each: int = 20, seed: int = 0) -> Path:
    """Write ``root/<colour>/<number>.png`` of 16 pixels a side, every picture another, and return `root`."""
    random = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            pixels = np.clip(np.array(colour) + random.normal(0, 30, (16, 16, 3)), 0, 255).astype(np.uint8)
            Picture.fromarray(pixels).save(root / name / f"{number:03d}.png")
    return root
