"""The task of naming one class for each picture: how a class is said, and how an answer in words is read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fieldguide.records import ClassInfo
from fieldguide.tasks.names import Names
from fieldguide.tasks.names import fold as fold


@dataclass(frozen=True)
class Classify:
    """One label out of a fixed list. `classes` follow the manifest's order, which is the order of all probabilities."""

    classes: tuple[ClassInfo, ...]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Class ids in order."""
        return tuple(info.id for info in self.classes)

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each class id."""
        return {id: position for position, id in enumerate(self.ids)}

    def say(self, id: str) -> str:
        """Return the name a person reads and a model is taught."""
        return self.classes[self.index[id]].name

    def read(self, text: str) -> str | None:
        """Return the class id that `text` names exactly, or `None`.

        Case, Unicode form, outer punctuation and ``_ -`` against space do not matter; anything beyond one name does. An id is
        looked up before a display name, a display name before a synonym; a name that two classes share is nobody's. An id to
        the letter is that class's even where another differs from it by case alone.
        """
        return text if text in self.index else self.names.exactly.get(fold(text))

    @cached_property
    def names(self) -> Names:
        """All names of the classes, and the ways in which a text can be one of them."""
        return Names(self.classes)
