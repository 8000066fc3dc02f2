"""The same question with its list in several orders, put one after the other, and what comes of it: probabilities, or why there are none."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from fieldguide.bench import Progress
from fieldguide.craft.chat import Said
from fieldguide.craft.chat.asked import Questions, Sitting
from fieldguide.craft.chat.weighing import Row, Weighing, told
from fieldguide.errors import EnvironmentProblem, plain
from fieldguide.records import ClassInfo, Example, Image, Pixels, Prediction
from fieldguide.tasks.asking import FAILED, NOT_ASKED, UNREADABLE, Asking, How
from fieldguide.tasks.prompting import Prompt, render
from fieldguide.tasks.weighed import Weighed, loads

#: Brightness of the grey picture, between black and white.
GREY = 128
#: Pictures that are asked about in one order before the next; the requests of one order alone are on their way at a time.
_TOGETHER = 256
#: Draws for each order that is wanted, after which there are no more: two classes have two.
_DRAWS = 30
#: Share of the validation pictures that may fail twice without the others being too few to choose by.
_MOST_FAILED = 0.05


class Unanswered(EnvironmentProblem):
    """What probabilities are chosen on has no answer yet. `sitting` is what was asked, so that a limit counts it."""

    def __init__(self, given: str, sitting: Sitting, next: str = "The same command goes on with what is missing.") -> None:
        super().__init__(
            given,
            "The form of the score, its temperature and its threshold are chosen on all validation pictures; what was answered is kept.",
            next,
        )
        self.sitting = sitting


class _Grey:
    """A `PixelReader` of one picture."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels

    def read(self, key: str, at_least: int) -> Pixels:
        return self.pixels

    def prepare(self, keys: Sequence[str], at_least: int) -> None:
        """It is there already."""


def grey(size: int) -> Image:
    """Return the grey picture of this side in pixels, which shows nothing; it is called by its content like any other."""
    pixels = np.full((size, size, 3), GREY, np.uint8)
    return Image(hashlib.sha256(f"grey {size}".encode() + pixels.tobytes()).hexdigest(), _Grey(pixels))


def askings(
    prompt: Prompt, classes: Sequence[ClassInfo], how: How, examples: Sequence[tuple[str, str]], orders: int
) -> tuple[Asking, ...]:
    """Return the prompt as it is asked, and again with its list in other orders, until there are `orders` of them, or no others.

    The orders are drawn from seeds of their own, so that more of them begin with the same, and are the same in every study of these
    classes. What the prompt says as its example stays: the list alone changes.
    """
    first = render(prompt, classes, how, examples)
    found = {first.hash: first}
    kept = prompt.example if prompt.example is not None else str(first.made["example"])
    for draw in range(_DRAWS * (orders - 1)):
        if len(found) == orders:
            break
        ids = [info.id for info in classes]
        random.Random(f"order {draw}").shuffle(ids)  # noqa: S311
        other = render(prompt.model_copy(update={"order": tuple(ids), "example": kept}), classes, how, examples)
        found.setdefault(other.hash, other)
    return tuple(found.values())


@dataclass(frozen=True)
class Orders:
    """`questions` are about the same pictures, each with the list in an order of its own; `ids` are the classes."""

    questions: tuple[Questions, ...]
    ids: tuple[str, ...]

    def put(self, images: Iterable[Image]) -> Iterator[tuple[str, tuple[Said, ...]]]:
        """Yield the content hash of each image and what is said of it in each order."""
        if len(self.questions) == 1:
            yield from ((key, (said,)) for key, said in self.questions[0].put(images))
            return
        stream = iter(images)
        while some := list(islice(stream, _TOGETHER)):
            each = [list(one.put(some)) for one in self.questions]
            yield from ((image.key, tuple(said for _, said in of_one)) for image, *of_one in zip(some, *each, strict=True))

    def predict(self, images: Iterable[Image], weighing: Weighing, size: int) -> Iterator[Prediction]:
        """Yield probabilities of each image; `size` is that of a grey picture, asked about where `weighing` does not have it."""
        greys: Row | str = weighing.greys
        if weighing.form == "pmi" and not greys:
            greys = self.of_grey(size)
        for key, said in self.put(images):
            yield self._answer(key, said, weighing, greys)

    def of_grey(self, size: int) -> Row | str:
        """Return what is weighed for the grey picture, order by order, or why there is nothing."""
        ((_, said),) = self.put([grey(size)])
        return weighed(said)

    def _answer(self, key: str, said: Sequence[Said], weighing: Weighing, greys: Row | str) -> Prediction:
        row, spent = weighed(said), _spent(said)
        why = row if isinstance(row, str) else greys if isinstance(greys, str) else None
        if why is not None or isinstance(row, str) or isinstance(greys, str):
            return dataclasses.replace(spent, image=key, error=why)
        table = weighing.probabilities(row, greys)
        best = int(table.argmax())
        if not told(row)[best]:
            return dataclasses.replace(
                spent, image=key, error="undecided: the server told too little to say which name is likeliest"
            )
        answer = dataclasses.replace(spent, image=key, label=self.ids[best], probabilities=tuple(map(float, table)))
        least = weighing.threshold
        if least is None or table[best] >= least:
            return answer
        unsure = f"too unsure: {self.ids[best]} with probability {table[best]:.3f}, below the threshold of {least:.3f}"
        return dataclasses.replace(answer, label=None, error=unsure)


def in_grey(
    images: Iterable[Image], answers: Callable[[Iterable[Image]], Iterator[Prediction]], size: int
) -> Iterator[Prediction]:
    """Yield for each image what is answered for the grey picture, which is asked about once and paid for once."""
    answer: Prediction | None = None
    for image in images:
        if answer is None:
            (answer,) = answers([grey(size)])
            yield dataclasses.replace(answer, image=image.key)
        else:
            yield dataclasses.replace(answer, image=image.key, seconds=0.0, tokens_in=0, tokens_out=0)


def weighed(said: Sequence[Said]) -> tuple[Weighed, ...] | str:
    """Return what was weighed, order by order, or the error that stands in the place of one."""
    found = []
    for one in said:
        if one.error is not None:
            return one.error
        try:
            found.append(loads(one.text))
        except ValueError:
            return f"no probabilities: it answered in words ({plain(one.text, 60)!r})"
    return tuple(found)


@dataclass(frozen=True)
class Heard:
    """What was weighed for validation pictures: `rows`, the places of their classes, and how many are `left_out`."""

    rows: tuple[Row, ...] = ()
    labels: tuple[int, ...] = ()
    left_out: int = 0


def hear(orders: Orders, val: Sequence[Example], sitting: Sitting, progress: Progress) -> Heard:
    """Return what is weighed for validation pictures; those that fail are asked about once more.

    Raises `Unanswered` where questions were not put (a limit, a server that is gone), or more than a few failed again: a temperature that
    was chosen on what happened to be answered would stay. A picture that cannot be read says nothing and is left out.
    """
    labels = {example.image.key: orders.ids.index(str(example.label)) for example in val}
    found: dict[str, Row | str] = {}
    with progress.bar("weigh", len(val)) as bar:
        for key, said in orders.put(example.image for example in val):
            found[key] = weighed(said)
            bar.advance()
        for key, said in orders.put(example.image for example in val if _failed(found[example.image.key])):
            found[key] = weighed(said)
    lost = [why for why in found.values() if isinstance(why, str)]
    missing = [why for why in lost if why.startswith(NOT_ASKED)]
    broken = [why for why in lost if not why.startswith(UNREADABLE)]
    if missing or len(broken) > _MOST_FAILED * len(val):
        why = _plainly(Counter(missing or broken).most_common(1)[0][0])
        raise Unanswered(f"{len(broken):,} of {len(val):,} validation pictures have no answer yet: {why}.", sitting)
    keys = [key for key, row in found.items() if not isinstance(row, str)]
    rows = tuple(row for row in found.values() if not isinstance(row, str))
    return Heard(rows, tuple(labels[key] for key in keys), len(lost))


def greys(orders: Orders, size: int, sitting: Sitting) -> Row:
    """Return what is weighed for the grey picture; raises `Unanswered` where nothing is, twice."""
    found = orders.of_grey(size)
    found = orders.of_grey(size) if _failed(found) else found
    if isinstance(found, str):
        raise Unanswered(
            f"The grey picture that other pictures are compared with has no answer yet: {_plainly(found)}.",
            sitting,
            "The same command asks about it again; score=sum needs none.",
        )
    return found


def _plainly(why: str) -> str:
    return plain(why.removeprefix(NOT_ASKED).removeprefix(FAILED), 200)


def _failed(found: Row | str) -> bool:
    return isinstance(found, str) and found.startswith(FAILED)


def _spent(said: Sequence[Said]) -> Prediction:
    """Return a row with what all orders together cost; what one of them does not tell is not known."""

    def total(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    seconds, read, wrote = (total([getattr(one, name) for one in said]) for name in ("seconds", "tokens_in", "tokens_out"))
    return Prediction("", seconds=seconds, tokens_in=_whole(read), tokens_out=_whole(wrote))


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
