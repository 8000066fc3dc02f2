"""The commonest training class, always: what every other contestant has to beat."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fieldguide.bench import Bench
from fieldguide.files import read_json, write_json
from fieldguide.records import Estimate, Example, Image, Prediction
from fieldguide.settings import Settings as Base
from fieldguide.tasks.classify import Classify

if TYPE_CHECKING:
    from fieldguide.families import Sizes

LEARNS = True


class Settings(Base):
    """Nothing to set: answers the commonest class with the training frequencies as probabilities."""


@dataclass(frozen=True)
class Majority:
    """`ids` in manifest order; `frequencies` sum to one."""

    ids: tuple[str, ...]
    frequencies: tuple[float, ...]

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield the same answer for every image; it is never opened."""
        best = max(range(len(self.ids)), key=lambda i: (self.frequencies[i], -i))
        for image in images:
            start = time.perf_counter()
            yield Prediction(image.key, self.ids[best], self.frequencies, seconds=time.perf_counter() - start)

    def save(self, folder: Path) -> None:
        """Write ``majority.json``."""
        write_json(folder / "majority.json", {"classes": self.ids, "frequencies": self.frequencies})


def fit(train: Sequence[Example], val: Sequence[Example], task: Classify, settings: Settings, bench: Bench) -> Majority:
    """Count the training labels."""
    counts = Counter(example.label for example in train)
    bench.fact(kind="floor", parameters=len(task.ids))
    return Majority(task.ids, tuple(counts[id] / len(train) for id in task.ids))


def load(folder: Path) -> Majority:
    """Read ``majority.json``."""
    values = read_json(folder / "majority.json")
    return Majority(tuple(values["classes"]), tuple(values["frequencies"]))


def estimate(settings: Settings, task: Classify, sizes: Sizes) -> Estimate:
    """Counting takes no time worth naming."""
    return Estimate(0.0, 0, 100 * len(task.ids))
