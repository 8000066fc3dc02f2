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

import torch

from fieldguide.bench import Bench
from fieldguide.craft.chat import Wanted
from fieldguide.craft.chat.asked import Questions, Shelf, Sitting, shelf_of
from fieldguide.craft.chat.local import Local
from fieldguide.craft.tuning import heads, keeping, rows
from fieldguide.craft.tuning.adapters import Student
from fieldguide.craft.tuning.heads import Head, Kind
from fieldguide.craft.tuning.keeping import Told
from fieldguide.errors import PictureError
from fieldguide.records import Image
from fieldguide.tasks.asking import UNREADABLE

#: Pictures that a head weighs at a time; a picture is answered the same alone.
AT_ONCE = 8


@dataclass
class Taught:
    """A taught model and its head, there at once or when `opening` has opened them. `revision` names its weights, `size` its pictures."""

    told: Told
    kind: Kind
    revision: str
    size: int
    opening: Callable[[], tuple[Student, Head]]
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

    def said(self, images: Iterable[Image], shelf: Shelf | None, sitting: Sitting) -> Iterator[tuple[str, Any]]:
        """Yield the content hash of each image and what is said of it."""
        yield from Questions(self.told.asking, self.chat, self.size, {}, shelf, sitting).put(images)

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
        found = iter(_shares(head, readable)) if readable else iter(())
        seconds = (time.perf_counter() - start) / max(1, len(some))
        for image, why in some:
            yield image.key, None if why else next(found), why, seconds

    def shelf(self, bench: Bench, model: str) -> Shelf | None:
        """Return where its answers are kept in a study."""
        return shelf_of(bench, self.told.asking, self.revision, self.size, model) if self.kind == "words" else None

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
def _shares(head: Any, images: Sequence[Image]) -> list[tuple[float, ...]]:
    """Return the shares of all labels of each picture; those of one length go through together, so that nothing is padded."""
    made: list[tuple[float, ...]] = [()] * len(images)
    alike: dict[tuple[int, bool], list[int]] = {}
    for at, image in enumerate(images):
        row = head.rows.asked(image)
        alike.setdefault((row.prompt, row.looks is None), []).append(at)
    for places in alike.values():
        logits = head.weighed([images[at] for at in places]).double().softmax(1)
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
