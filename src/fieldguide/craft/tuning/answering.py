"""What a taught model answers: in words, asked like any other, or as the shares of labels that its head weighs.

The model is held, or opened from its folder when it is first asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fieldguide.craft.calibrated import Calibration, calibrated
from fieldguide.craft.chat import Wanted
from fieldguide.craft.chat.local import Local
from fieldguide.craft.tuning import heads, keeping, rows
from fieldguide.craft.tuning.adapters import Student
from fieldguide.craft.tuning.heads import Head, Kind
from fieldguide.craft.tuning.keeping import Told
from fieldguide.errors import PictureError
from fieldguide.records import Example, Image, Prediction
from fieldguide.tasks.asking import UNREADABLE

#: Pictures that a head weighs at a time; a picture is answered the same alone.
AT_ONCE = 8
#: A share below this is taken for it, where its logarithm is needed.
_LEAST = 1e-300


@dataclass
class Taught:
    """A taught model and its head, there at once or when `opening` has opened them. `revision` names its weights, `size` its pictures.

    `temperature` divides the numbers of a head before they become shares.
    """

    told: Told
    kind: Kind
    revision: str
    size: int
    opening: Callable[[], tuple[Student, Head]]
    temperature: float = 1.0
    _pair: tuple[Student, Head] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def pair(self) -> tuple[Student, Head]:
        """Return student and head, opened now if they were not."""
        with self._lock:
            if self._pair is None:
                self._pair = self.opening()
            return self._pair

    def chat(self) -> Local:
        """Return the model as one that is asked."""
        return self.pair()[0].chat

    def weighed(self, images: Iterable[Image]) -> Iterator[tuple[str, tuple[float, ...] | None, str | None, float]]:
        """Yield for each image its hash, the shares of all labels, or why there are none, and seconds."""
        waiting: list[tuple[Image, str | None]] = []
        for image in images:
            waiting.append((image, _unreadable(image, self.size)))
            if len(waiting) >= AT_ONCE:
                yield from self._weighed(waiting)
                waiting = []
        yield from self._weighed(waiting)

    def _weighed(self, some: Sequence[tuple[Image, str | None]]) -> Iterator[tuple[str, Any, str | None, float]]:
        start = time.perf_counter()
        head: Any = self.pair()[1]
        readable = [image for image, why in some if why is None]
        found = iter(_shares(head, readable, self.temperature)) if readable else iter(())
        seconds = (time.perf_counter() - start) / max(1, len(some))
        for image, why in some:
            yield image.key, None if why else next(found), why, seconds

    def answers(self, images: Iterable[Image], ids: Sequence[str]) -> Iterator[Prediction]:
        """Yield the class with the largest share of each image, and the shares of all, `ids` being the classes."""
        for key, shares, why, seconds in self.weighed(images):
            if shares is None:
                yield Prediction(key, seconds=seconds, error=why)
            else:
                label = ids[max(range(len(shares)), key=lambda at, of=shares: of[at])]  # type: ignore[misc]
                yield Prediction(key, label, probabilities=shares, seconds=seconds)

    def calibrated(self, val: Sequence[Example], ids: Sequence[str]) -> Calibration:
        """Return the temperature that suits validation pictures, which divides the numbers of its head from here on."""
        labels = {one.image.key: ids.index(str(one.label)) for one in val}
        found = [(labels[key], shares) for key, shares, _, _ in self.weighed(one.image for one in val) if shares is not None]
        logits = np.log(np.maximum([shares for _, shares in found], _LEAST)).reshape(-1, len(ids))
        made = calibrated(logits, [label for label, _ in found], np.ones(len(ids), bool))
        self.temperature *= made.temperature
        return made

    def save(self, folder: Path) -> None:
        """Write what was learned."""
        student, head = self.pair()
        module = head.module
        tensors = None if module is None else dict(module.state_dict())
        keeping.save(student, Told(self.told.asking, self.told.classes, tensors), folder)

    def merge(self, target: Path) -> Path:
        """Write a whole model with what was learned merged in; this one is used up."""
        return keeping.merge(self.pair()[0], target)


@torch.inference_mode()
def _shares(head: Any, images: Sequence[Image], temperature: float) -> list[tuple[float, ...]]:
    """Return the shares of all labels of each picture; those of one length go through together, so that nothing is padded."""
    made: list[tuple[float, ...]] = [()] * len(images)
    alike: dict[tuple[int, bool], list[int]] = {}
    for at, image in enumerate(images):
        row = head.rows.asked(image)
        alike.setdefault((row.prompt, row.looks is None), []).append(at)
    for places in alike.values():
        logits = head.weighed([images[at] for at in places]).double().div(temperature).softmax(1)
        for at, shares in zip(places, logits.tolist(), strict=True):
            made[at] = tuple(shares)
    return made


def _unreadable(image: Image, size: int) -> str | None:
    try:
        image.pixels(size)
    except PictureError as error:
        return UNREADABLE + str(error)
    return None


def opened(folder: Path, wanted: Wanted, kind: Kind) -> tuple[Student, Head]:
    """Return what `Taught.save` wrote."""
    student, told = keeping.load(folder, wanted)
    made = rows.Rows(student.chat, told.asking)
    head = heads.head_of(kind, student, made, 0)
    if head.module is not None and told.head is not None:
        head.module.load_state_dict(dict(told.head))
    return student, head
