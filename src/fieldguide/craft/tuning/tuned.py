"""A taught model as a study asks it: in all the ways in which a prompted one is, or by the head that it was taught with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fieldguide.bench import Bench
from fieldguide.craft.chat import Wanted, again, worded
from fieldguide.craft.chat.asked import Shelf, Sitting, shelf_of
from fieldguide.craft.chat.door import Door
from fieldguide.craft.chat.weighing import Weighing
from fieldguide.craft.tuning.answering import Taught
from fieldguide.errors import UsageProblem
from fieldguide.files import write_json, write_text
from fieldguide.records import Image, Pixels, Prediction
from fieldguide.tasks.asking import Asking
from fieldguide.tasks.spoken import Spoken, from_words
from fieldguide.tasks.spoken import as_json as as_task
from fieldguide.tasks.varying import Variation


@dataclass(frozen=True)
class Tuned:
    """A taught model; `task` has the classes as the prompt calls them. `words` is the prompt as a file of its own.

    `askings` are put to what `door` opens, which is `taught` unless an audit asks otherwise: one, or one for each order of the list.
    `weighing` makes probabilities of what comes back, where it is numbers. `blank` shows a grey picture in place of every other.
    """

    task: Any
    settings: Any
    taught: Taught
    words: str
    askings: tuple[Asking, ...]
    door: Door
    sitting: Sitting
    shelf: Shelf | None = None
    weighing: Weighing | None = None
    examples: Mapping[str, Pixels] = field(default_factory=dict)
    blank: bool = False

    @property
    def asking(self) -> Asking:
        """What is asked, with the list in the prompt's own order."""
        return self.askings[0]

    @property
    def prompt(self) -> Spoken:
        """What is asked, as a prompt."""
        return from_words(self.words, self.task)

    @property
    def size(self) -> int:
        """The shorter side of the pictures that are asked for, in pixels."""
        return self.taught.size

    @property
    def revision(self) -> str:
        """The name of its weights."""
        return self.taught.revision

    @property
    def gives_probabilities(self) -> bool:
        """Tell whether it weighs all classes; one that answers in words does not."""
        return self.settings.head != "words" or self.weighing is not None

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield what was said of each picture and what that is read as, or the class with the largest share and all shares."""
        return worded.predicted(self, images) if self.settings.head == "words" else self.taught.answers(images, self.task.ids)

    def at(self, bench: Bench) -> Tuned:
        """Return the same at the bench of another sitting: its answers are kept there."""
        shelf = shelf_of(bench, self.asking, self.revision, self.size, self.settings.model)
        return dataclasses.replace(self, sitting=Sitting(bench.limit), shelf=shelf if self.settings.head == "words" else None)

    def varied(self, variation: Variation, bench: Bench) -> Tuned:
        """Return the same weights asked in other words, read and weighed in the same way; they are loaded once for all."""
        found: Tuned = again.varied(self, variation, bench)
        return found

    def lacking(self, pictures: Iterable[str]) -> int:
        """Return how many of these content hashes have no answer yet."""
        return worded.lacking(self, pictures)

    def merge(self, target: Path) -> Path:
        """Write a whole model with what was learned merged in; this one is used up. Raises `UsageProblem` for what is not in its words."""
        if self.settings.head == "linear":
            raise UsageProblem(
                "What was taught is a layer beside the language model, which no model of transformers has a place for.",
                "Allowed: what was taught with head=words or head=labels.",
                "Train again with one of these, or go on with the adapter.",
            )
        return self.taught.merge(target)

    def save(self, folder: Path) -> None:
        """Write the adapter, or the trained weights, with all that names what they belong to; the base weights are not copied."""
        self.taught.save(folder)
        if self.settings.head == "words":
            worded.save(self, folder)
        write_text(folder / "asked.json", self.words)
        told = {
            "settings": self.settings.model_dump(mode="json"),
            **as_task(self.task),
            "size": self.taught.size,
            "revision": self.taught.revision,
            "temperature": self.taught.temperature,
        }
        write_json(folder / "vlm_lora.json", told)


def tuned(
    task: Any, settings: Any, made: Taught, words: str, askings: tuple[Asking, ...], wanted: Wanted, bench: Bench
) -> Tuned:
    """Return `made` as it is asked at `bench`; `wanted` says where and how it runs."""
    door = Door(wanted, opening=lambda _: made.chat())
    return Tuned(task, settings, made, words, askings, door, Sitting()).at(bench)
