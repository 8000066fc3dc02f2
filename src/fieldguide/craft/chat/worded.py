"""What rooms share whose models are asked in words, prompted or taught: all orders of the list, answers, and what weighing is chosen on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from fieldguide.bench import Bench
from fieldguide.craft.chat import Chat
from fieldguide.craft.chat import orders as several
from fieldguide.craft.chat import weighing as ways
from fieldguide.craft.chat.asked import Questions, Shelf, Sitting, read
from fieldguide.craft.chat.orders import Orders
from fieldguide.craft.chat.weighing import Weighing
from fieldguide.files import read_json, write_json
from fieldguide.records import Example, Image, Pixels, Prediction
from fieldguide.tasks.asking import WEIGHING, Asking, as_json, from_json
from fieldguide.tasks.spoken import Spoken


class Worded(Protocol):
    """What a room fitted whose model is asked in words; `askings` are one question, or one for each order of the list."""

    @property
    def task(self) -> Any:
        """The classes, as the prompt calls them."""
        ...

    @property
    def settings(self) -> Any:
        """What was asked for: `score`, `orders`, `unknown` and `reading` among it."""
        ...

    @property
    def askings(self) -> tuple[Asking, ...]:
        """What is asked about every picture."""
        ...

    @property
    def prompt(self) -> Spoken:
        """What is asked, as a prompt."""
        ...

    @property
    def size(self) -> int:
        """The shorter side of pictures, in pixels."""
        ...

    @property
    def examples(self) -> Mapping[str, Pixels]:
        """Training pictures that the prompt shows."""
        ...

    @property
    def shelf(self) -> Shelf | None:
        """Where answers are kept."""
        ...

    @property
    def sitting(self) -> Sitting:
        """What may still be asked in this sitting."""
        ...

    @property
    def weighing(self) -> Weighing | None:
        """What makes probabilities of what comes back, where that is numbers."""
        ...

    @property
    def blank(self) -> bool:
        """Whether a grey picture is shown in place of every other."""
        ...

    def door(self) -> Chat:
        """Return the model, opened now if it was not."""
        ...


def require_probable(settings: Any) -> None:
    """Raise `ValueError` for settings of probabilities where none are asked for, or that say nothing of a letter."""
    given = [name for name in ("score", "orders", "unknown") if getattr(settings, name) is not None]
    if given and settings.ask not in WEIGHING:
        raise ValueError(f"{given[0]} belongs to probabilities (add ask=likelihood), and ask={settings.ask} gives none")
    if settings.ask == "decision" and settings.score in ("token", "byte"):
        raise ValueError(f"with ask=decision a letter stands for each name, so that score={settings.score} says nothing")


def orders_of(own: Worded) -> Orders:
    """Return its questions, one for each order of the list."""
    each = (
        Questions(asking, own.door, own.size, own.examples, own.shelf and own.shelf.of(asking), own.sitting)
        for asking in own.askings
    )
    return Orders(tuple(each), own.task.ids)


def predicted(own: Worded, images: Iterable[Image]) -> Iterator[Prediction]:
    """Yield what was said of each picture and what it is read as, or how probable each class is."""
    return several.in_grey(images, lambda some: _answers(own, some), own.size) if own.blank else _answers(own, images)


def _answers(own: Worded, images: Iterable[Image]) -> Iterator[Prediction]:
    if own.weighing is not None:
        yield from orders_of(own).predict(images, own.weighing, own.size)
        return
    (questions,), prompt = orders_of(own).questions, own.prompt
    for key, said in questions.put(images):
        yield read(key, said, own.task, prompt, own.settings.reading)


def weighed(own: Worded, val: Sequence[Example], bench: Bench) -> Weighing:
    """Return the form, temperature and threshold that validation pictures choose, and note them."""
    settings, asked = own.settings, orders_of(own)
    heard = several.hear(asked, val, own.sitting, bench.progress)
    compared = settings.score == "pmi" or (settings.score is None and bool(heard.rows))
    greys = several.greys(asked, own.size, own.sitting) if compared else ()
    found = ways.chosen(heard.rows, heard.labels, greys, settings.score, settings.unknown)
    bench.fact(weighing={**found.facts(len(own.askings), settings.unknown), "left_out": heard.left_out})
    return found


def lacking(own: Worded, pictures: Iterable[str]) -> int:
    """Return how many of these content hashes have no answer yet, or not in every order of the list."""
    wanted = set(pictures)
    if own.shelf is None:
        return len(wanted)
    return len(set().union(*(own.shelf.of(asking).without(wanted) for asking in own.askings)))


def save(own: Worded, folder: Path) -> None:
    """Write the first question as ``prompt.json``, and ``weighing.json`` with the other orders where there is a weighing."""
    write_json(folder / "prompt.json", as_json(own.askings[0]))
    if own.weighing is not None:
        further = [as_json(asking) for asking in own.askings[1:]]
        write_json(folder / "weighing.json", {**own.weighing.as_json(), "further_orders": further})


def load(folder: Path, how: str) -> tuple[tuple[Asking, ...], Weighing | None]:
    """Return what `save` wrote of a model that is asked by `how`."""
    first = from_json(read_json(folder / "prompt.json"))
    if how not in WEIGHING:
        return (first,), None
    told = read_json(folder / "weighing.json")
    return (first, *map(from_json, told["further_orders"])), Weighing.from_json(told)


def chosen(own: Any, val: Sequence[Example], bench: Bench) -> Any:
    """Return `own` with its weighing, where it is asked for probabilities."""
    return dataclasses.replace(own, weighing=weighed(own, val, bench)) if own.settings.ask in WEIGHING else own
