"""The nearest mean colour: a family of few lines that keeps the whole contract, to be sabotaged in copies."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fieldguide.bench import Bench
from fieldguide.errors import PictureError
from fieldguide.records import Example, Image, Prediction
from fieldguide.settings import Settings as Base
from fieldguide.tasks.classify import Classify

LEARNS = True


class Settings(Base):
    """How sharply the nearest mean colour wins."""

    sharpness: float = Field(0.1, gt=0)
    """Factor on distances before the softmax, a pure number."""
    batch_size: int = Field(8, ge=1)
    """Pictures answered at a time; it does not change the answers."""


@dataclass(frozen=True)
class Means:
    """`centres` is ``"classes 3"``; a class without training picture lies far outside all colours."""

    ids: tuple[str, ...]
    centres: NDArray[np.float64]
    sharpness: float

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield the class whose mean colour is nearest."""
        return (self.one(image) for image in images)

    def one(self, image: Image) -> Prediction:
        """Answer one picture."""
        try:
            colour = image.pixels(8).mean(axis=(0, 1))
        except PictureError as error:
            return Prediction(image.key, error=str(error))
        return self.answer(image.key, colour)

    def answer(self, key: str, colour: NDArray[np.float64]) -> Prediction:
        """Answer for a mean colour."""
        distance = np.linalg.norm(self.centres - colour, axis=1)
        weights = np.exp(-self.sharpness * (distance - distance.min()))
        table = tuple(float(value) for value in weights / weights.sum())
        return Prediction(key, self.ids[int(np.argmax(table))], table)

    def save(self, folder: Path) -> None:
        """Write ``means.json``."""
        values = {"ids": self.ids, "centres": self.centres.tolist(), "sharpness": self.sharpness}
        (folder / "means.json").write_text(json.dumps(values), encoding="utf-8")


def fit(train: Sequence[Example], val: Sequence[Example], task: Classify, settings: Settings, bench: Bench) -> Means:
    """Average the colours of each class."""
    centres = np.full((len(task.ids), 3), 1e9)
    for position, label in enumerate(task.ids):
        colours = [example.image.pixels(8).mean(axis=(0, 1)) for example in train if example.label == label]
        if colours:
            centres[position] = np.mean(colours, axis=0)
    return Means(task.ids, centres, settings.sharpness)


def load(folder: Path) -> Means:
    """Read ``means.json``."""
    values = json.loads((folder / "means.json").read_text(encoding="utf-8"))
    return Means(tuple(values["ids"]), np.array(values["centres"], dtype=float), values["sharpness"])


def room(model: type[Means] = Means, **changes: Any) -> Any:
    """Return this family as an object, with another fitted thing or other parts."""

    def as_model(maker: Callable[..., Means]) -> Callable[..., Means]:
        def made(*given: Any) -> Means:
            good = maker(*given)
            return model(good.ids, good.centres, good.sharpness)

        return made

    parts = {"__doc__": __doc__, "Settings": Settings, "fit": as_model(fit), "load": as_model(load), "LEARNS": True}
    return types.SimpleNamespace(**{**parts, **changes})


def fitting(before: Callable[..., object]) -> Any:
    """Return this family with something that happens first in its fit."""

    def made(*given: Any) -> Means:
        before(*given)
        return fit(*given)

    return room(fit=made)
