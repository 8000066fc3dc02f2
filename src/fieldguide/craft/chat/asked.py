"""A stream of pictures put to a chat: one answer each, in order, those that were had before without asking again.

Whatever keeps a picture from having an answer stands in `Said.error`, in the words of `fieldguide.tasks.asking`: what is about the asking and
not about the picture is asked for again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fieldguide.bench import Bench
from fieldguide.craft.chat import Chat, Said
from fieldguide.craft.chat.kept import About, Answers, kept_under, key_of
from fieldguide.errors import PictureError, plain
from fieldguide.records import Image, Pixels, Prediction
from fieldguide.tasks import spoken
from fieldguide.tasks.asking import FAILED, NOT_ASKED, UNREADABLE, Asking
from fieldguide.tasks.spoken import Spoken

#: Settled pictures that may wait behind one that is being asked about; more end a round of questions, so that memory stays bounded.
_MOST_WAITING = 256


@dataclass
class Sitting:
    """What one call has asked so far, and whether it may go on: `limit` bounds its questions, `stopped` says why no more are put.

    A picture that takes several questions is not begun where the limit does not allow for all of them.
    """

    limit: int | None = None
    asked: int = 0
    stopped: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    counted: int = 0

    @property
    def spent(self) -> bool:
        """Whether nothing more may be asked, however little it is."""
        return self.stopped is not None or (self.limit is not None and self.asked >= self.limit)

    def refuses(self, questions: int = 1) -> str | None:
        """Count so many more questions, or return why they are not to be put."""
        with self.lock:
            if self.stopped is not None:
                return self.stopped
            if self.limit is not None and self.asked + questions > self.limit:
                told = f"the limit of {self.limit:,} new question{'s' * (self.limit != 1)} was reached"
                return told + (f": one picture takes {questions}" if questions > 1 else "")
            self.asked += questions
            return None

    def give_back(self, questions: int) -> None:
        """Count so many questions less that were counted and not put."""
        with self.lock:
            self.asked -= questions

    def uncounted(self) -> int:
        """Return how many questions were put since this was last called."""
        with self.lock:
            fresh, self.counted = self.asked - self.counted, self.asked
            return fresh


@dataclass(frozen=True)
class Shelf:
    """Where answers to one asking are kept, all with one `revision` and `size`, and what a row tells of them."""

    answers: Answers
    asking: Asking
    revision: str
    size: int
    about: About

    def of(self, asking: Asking) -> Shelf:
        """Return where answers to another asking are kept, in the same file."""
        return replace(self, asking=asking, about=replace(self.about, asking=asking.hash + self.about.asking[64:]))

    def key(self, picture: str) -> str:
        """Return the name of the answer for a picture."""
        return key_of(picture, self.asking, self.revision, self.size)

    def find(self, picture: str) -> Said | None:
        """Return the answer for a picture, if there is one."""
        return self.answers.get(self.key(picture)) if kept_under(picture) else None

    def keep(self, picture: str, said: Said) -> None:
        """Keep an answer; what was varied for an explanation is nobody's picture, and stays out."""
        if kept_under(picture):
            self.answers.add(self.key(picture), said, self.about)

    def without(self, pictures: Iterable[str]) -> set[str]:
        """Return those of `pictures` that have no answer yet."""
        wanted = {self.key(picture): picture for picture in pictures}
        return {wanted[key] for key in wanted.keys() - self.answers.get_many(wanted).keys()}

    def lacking(self, pictures: Iterable[str]) -> int:
        """Return how many of `pictures` have no answer yet."""
        return len(self.without(pictures))


@dataclass(frozen=True)
class Questions:
    """`asking` put to the chat that `door` opens when it is first needed. `examples` are its training pictures, by content hash.

    `size` is the shorter side that pictures should at least have, in pixels.
    """

    asking: Asking
    door: Callable[[], Chat]
    size: int
    examples: Mapping[str, Pixels] = field(default_factory=dict)
    shelf: Shelf | None = None
    sitting: Sitting = field(default_factory=Sitting)

    def put(self, images: Iterable[Image]) -> Iterator[tuple[str, Said]]:
        """Yield the content hash of each image and what is said of it, in order. A picture that cannot be read has an error of its own."""
        stream = iter(images)
        for image in stream:
            found = self._looked(image)
            if isinstance(found, Said):
                yield image.key, found
            else:
                yield from self._round(image.key, found, stream)

    def _looked(self, image: Image) -> Said | Pixels:
        """Return what is said of a picture without asking, or its pixels, which are then to be asked about."""
        found = self.shelf.find(image.key) if self.shelf is not None else None
        if found is not None:
            return found
        if self.sitting.stopped is not None:
            return Said(error=NOT_ASKED + self.sitting.stopped)
        try:
            pixels = image.pixels(self.size)
        except PictureError as error:
            return Said(error=UNREADABLE + str(error))
        why = self.sitting.refuses(self._each())
        return pixels if why is None else Said(error=NOT_ASKED + why)

    def _each(self) -> int:
        """Return how many questions one picture takes: behind a server several, where all labels are weighed."""
        if self.asking.how != "likelihood" or self.sitting.spent:  # nobody is reached only to be told that nothing may be asked
            return 1
        return int(getattr(self.door(), "requests", lambda asking: 1)(self.asking))

    def _round(self, key: str, pixels: Pixels, stream: Iterator[Image]) -> Iterator[tuple[str, Said]]:
        """Ask about this picture and those that follow, until too many that are settled wait behind one that is not."""
        chat = self.door()
        waiting: deque[tuple[str, Said | None]] = deque()

        def pictures() -> Iterator[Pixels]:
            waiting.append((key, None))
            yield pixels
            while len(waiting) < chat.ahead + _MOST_WAITING:
                image = next(stream, None)
                if image is None:
                    return
                found = self._looked(image)
                waiting.append((image.key, found if isinstance(found, Said) else None))
                if not isinstance(found, Said):
                    yield found

        said_of_each = chat.ask(self.asking, pictures(), self.examples)
        try:
            for said in said_of_each:
                while waiting[0][1] is not None:
                    yield _settled(waiting.popleft())
                asked, _ = waiting.popleft()
                yield asked, self._taken(asked, said)
        finally:
            getattr(said_of_each, "close", lambda: None)()
        for asked, settled in waiting:
            yield asked, settled or Said(error=f"{FAILED}it stopped before this picture")

    def _taken(self, key: str, said: Said) -> Said:
        """Keep an answer, or say of a failure that it is one; after one that would befall every picture no more are asked about."""
        if said.error is None:
            if self.shelf is not None:
                self.shelf.keep(key, said)
            return said
        why = plain(said.error)
        if said.lasting:
            self.sitting.stopped = f"because of a picture before it: {why}"
        return Said(error=why if why.startswith((FAILED, NOT_ASKED)) else FAILED + why, seconds=said.seconds)


def _settled(one: tuple[str, Said | None]) -> tuple[str, Said]:
    key, said = one
    assert said is not None
    return key, said


def read(key: str, said: Said, task: Any, prompt: Spoken, reading: str | None) -> Prediction:
    """Return what was said of a picture, read as `task` reads it, with what it cost."""
    if said.error is not None:
        return Prediction(key, seconds=said.seconds, error=said.error)
    found = spoken.read(key, said.text, said.finish, task, prompt, reading)
    return replace(found, seconds=said.seconds, tokens_in=said.tokens_in, tokens_out=said.tokens_out)


def shelf_of(bench: Bench, asking: Asking, revision: str, size: int, model: str) -> Shelf | None:
    """Return where answers are kept in the study; outside of one, none are."""
    if bench.answers is None:
        return None
    return Shelf(Answers(bench.answers), asking, revision, size, About(model, asking.hash, bench.contestant))
