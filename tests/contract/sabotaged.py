"""Copies of the toy family, each sabotaged in one way."""

from __future__ import annotations

import _socket
import contextlib
import dataclasses
import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import ConfigDict
from tests.contract.toy_family import Means, Settings, fit, fitting, load, room

from fieldguide.records import Image, Prediction
from fieldguide.trial import TASK

# Settings


class Thawed(Settings):
    """Can be changed."""

    model_config = ConfigDict(frozen=False)


class Lenient(Settings):
    """Takes every name."""

    model_config = ConfigDict(extra="ignore")


class Silent(Settings):
    """One field says nothing."""

    depth: int = 3


class Misnamed(Settings):
    """Its name would fill nothing."""

    NAME_FIELD: ClassVar[str | None] = "model"


class Forged(Settings):
    """Its tiny settings were never validated."""

    @classmethod
    def tiny(cls) -> Forged:
        return cls.model_construct(sharpness=0.1, batch_size=-8)


class Nulled(Settings):
    """Its tiny settings do not survive a file without null."""

    limit: int | None = 5
    """Most pictures that are looked at, or none."""

    @classmethod
    def tiny(cls) -> Nulled:
        return cls(limit=None)


class Undescribed(Settings):
    pass


# Answers


class Skips(Means):
    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        return (answer for answer in map(self.one, images) if answer.label != TASK.ids[0])


class AnswersOnce(Means):
    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        seen: set[str] = set()
        for image in images:
            if image.key not in seen:
                seen.add(image.key)
                yield self.one(image)


class Sorts(Means):
    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        return iter(sorted(super().predict(images), key=lambda answer: answer.label or ""))


class Mute(Means):
    def answer(self, key: str, colour: Any) -> Prediction:
        good = super().answer(key, colour)
        return good if good.label == TASK.ids[0] else Prediction(key)


class Away(Means):
    def one(self, image: Image) -> Prediction:
        return Prediction(image.key, error="the server is away")


class BackwardClock(Means):
    def answer(self, key: str, colour: Any) -> Prediction:
        return dataclasses.replace(super().answer(key, colour), seconds=-1.0)


def spoiling(change: Callable[[Prediction], dict[str, Any]]) -> Any:
    """Return the family with something changed in every answer."""

    class Spoils(Means):
        def answer(self, key: str, colour: Any) -> Prediction:
            good = super().answer(key, colour)
            return dataclasses.replace(good, **change(good))

    return room(Spoils)


class BatchCentred(Means):
    """Mixes in the mean of its batch, as batch normalisation left in training mode does."""

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        stream = iter(images)
        while batch := [self.one(image) for _, image in zip(range(8), stream, strict=False)]:
            mean = np.mean([answer.probabilities for answer in batch if answer.probabilities] or [[0.0] * 3], axis=0)
            for answer in batch:
                mixed = 0.999 * np.array(answer.probabilities) + 0.001 * mean if answer.probabilities else None
                yield (
                    answer
                    if mixed is None
                    else dataclasses.replace(answer, label=self.ids[int(mixed.argmax())], probabilities=tuple(mixed.tolist()))
                )


class OneStream(Means):
    """Holds its stream in itself, so that a second one takes the first one's pictures."""

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        object.__setattr__(self, "stream", iter(images))
        while (image := next(self.stream, None)) is not None:  # type: ignore[attr-defined]
            yield self.one(image)


class Tires(Means):
    """Drifts with every answer it gives."""

    def answer(self, key: str, colour: Any) -> Prediction:
        self.centres[0] += 0.01
        return super().answer(key, colour)


class Greedy(Means):
    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        return super().predict(list(images))


class Measures(Means):
    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        return (self.one(images[at]) for at in range(len(images)))  # type: ignore[index, arg-type]


class Rounds(Means):
    def save(self, folder: Path) -> None:
        Means(self.ids, self.centres.round(2), self.sharpness).save(folder)


class SkipsUnreadable(Means):
    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        return (answer for answer in super().predict(images) if answer.error is None)


class Guesses(Means):
    def one(self, image: Image) -> Prediction:
        good = super().one(image)
        return self.answer(image.key, np.zeros(3)) if good.error else good


class Stops(Means):
    def one(self, image: Image) -> Prediction:
        return self.answer(image.key, image.pixels(8).mean(axis=(0, 1)))


class Slips(Means):
    """Answers the picture after an unreadable one with its colours swapped."""

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        failed = False
        for image in images:
            good = self.one(image)
            yield self.answer(image.key, image.pixels(8).mean(axis=(0, 1))[::-1]) if failed and not good.error else good
            failed = bool(good.error)


class ReadsHashes(Means):
    def one(self, image: Image) -> Prediction:
        return (
            self.answer(image.key, np.zeros(3)) if image.key[0] == "a" and not super().one(image).error else super().one(image)
        )


def saving(write: Callable[[Path], object]) -> Any:
    """Return the family with something else saved beside its means."""

    class Saves(Means):
        def save(self, folder: Path) -> None:
            super().save(folder)
            write(folder)

    return room(Saves)


def _zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / "weights.dat", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1.0]))


def _objects(folder: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (folder / "weights.npy").write_bytes(stream.getvalue())


# Fits


def _unseeded(*given: Any) -> Means:
    good = fit(*given)
    return Means(good.ids, good.centres + np.random.default_rng().normal(0, 1e-9, good.centres.shape), good.sharpness)


def _seeded(*given: Any) -> Means:
    good = fit(*given)
    moved = np.random.default_rng(given[4].seed).normal(0, 1e-9, good.centres.shape)
    return Means(good.ids, good.centres + moved, good.sharpness)


class _Points(Means):
    """Saves where its scratch folder is, and nothing of itself."""

    def save(self, folder: Path) -> None:
        (folder / "where.txt").write_text(str(self.scratch))  # type: ignore[attr-defined]


def _pointing(*given: Any) -> Means:
    good = fit(*given)
    good.save(given[4].scratch)
    model = _Points(good.ids, good.centres, good.sharpness)
    object.__setattr__(model, "scratch", given[4].scratch)
    return model


def _drops_absent(*given: Any) -> Means:
    good = fit(*given)
    present = [any(example.label == label for example in given[0]) for label in good.ids]
    return Means(tuple(np.array(good.ids)[present].tolist()), good.centres[present], good.sharpness)


def _every_class(train: Any, *_: Any) -> None:
    if {example.label for example in train} != set(TASK.ids):
        raise ValueError("need at least one picture of each class")


def _batch_of_one(train: Any, *_: Any) -> None:
    if len(train) % 8 == 1:
        raise ValueError("Expected more than 1 value per channel when training")


def _write_elsewhere(*_: Any) -> None:
    with contextlib.suppress(OSError):
        os.open("/nowhere/at/all.bin", os.O_CREAT | os.O_WRONLY)


def _another_program(*_: Any) -> None:
    subprocess.run([sys.executable, "-S", "-c", "open('left-over.txt', 'w').close()"], check=True)


def _call_by_number(*_: Any) -> None:
    with contextlib.suppress(OSError), contextlib.closing(_socket.socket()) as line:
        line.connect(("192.0.2.1", 9))


def _call_by_name(*_: Any) -> None:
    with contextlib.suppress(OSError):
        _socket.getaddrinfo("weights.invalid", 443)


#: Article, what is done, the sabotaged family. Articles named after the first are broken by the same deed and need no mention.
SABOTAGED: list[tuple[str, str, Any]] = [
    ("offers_the_protocol", "says yes instead of True", room(LEARNS="yes")),
    ("offers_the_protocol", "is not sure whether it learns", room(learns=lambda settings: 1)),
    ("offers_the_protocol", "has no load", room(load=None)),
    ("offers_the_protocol", "says nothing of itself", room(__doc__=" ")),
    ("offers_the_protocol", "says nothing of its settings", room(Settings=Undescribed)),
    ("settings_are_frozen", "settings thaw", room(Settings=Thawed)),
    ("settings_are_frozen", "unknown names are taken", room(Settings=Lenient)),
    ("settings_are_described", "a field says nothing", room(Settings=Silent)),
    ("settings_are_described", "the name fills nothing", room(Settings=Misnamed)),
    ("tiny_is_legal", "tiny is not validated", room(Settings=Forged)),
    ("tiny_is_legal", "tiny loses a null", room(Settings=Nulled)),
    ("answers_once_in_order", "one class is skipped", room(Skips)),
    ("answers_once_in_order", "twins get one answer", room(AnswersOnce)),
    ("answers_once_in_order", "sorted by answer", room(Sorts)),
    ("answers_once_in_order", "no label and no reason", room(Mute)),
    ("answers_once_in_order", "never a usable answer", room(Away)),
    ("answers_once_in_order", "time runs backwards", room(BackwardClock)),
    ("answers_stay_on_the_list", "display names", spoiling(lambda good: {"label": TASK.say(good.label)})),
    (
        "answers_stay_on_the_list",
        "sum 1.001",
        spoiling(lambda good: {"probabilities": tuple(1.001 * p for p in good.probabilities)}),
    ),
    (
        "answers_stay_on_the_list",
        "negative",
        spoiling(lambda good: {"probabilities": (1.5, -0.25, -0.25), "label": TASK.ids[0]}),
    ),
    ("answers_stay_on_the_list", "one probability", spoiling(lambda good: {"probabilities": (1.0,)})),
    (
        "answers_stay_on_the_list",
        "runner-up",
        spoiling(lambda good: {"label": TASK.ids[int(np.argsort(good.probabilities)[-2])]}),
    ),
    ("same_answer_in_any_company", "batch statistics", room(BatchCentred)),
    ("same_answer_in_any_company", "one stream at a time", room(OneStream)),
    ("same_answer_in_any_company", "drifts while answering", room(Tires)),
    ("answers_a_stream", "makes a list first", room(Greedy)),
    ("answers_a_stream", "asks for the length", room(Measures)),
    ("seeded_runs_repeat", "noise without a seed", room(fit=_unseeded, CHANCE=True)),
    ("chance_is_told", "its seed matters", room(fit=_seeded)),
    ("chance_is_told", "perhaps", room(CHANCE="perhaps")),
    ("saving_changes_nothing", "rounds its weights", room(Rounds)),
    (
        "saving_changes_nothing",
        "saves a path",
        room(fit=_pointing, load=lambda folder: load(Path((folder / "where.txt").read_text()))),
    ),
    ("saves_no_code", "a pickle", saving(lambda folder: (folder / "weights.dat").write_bytes(pickle.dumps({"a": 1})))),
    (
        "saves_no_code",
        "an old pickle",
        saving(lambda folder: (folder / "weights.dat").write_bytes(pickle.dumps({"a": 1}, protocol=0))),
    ),
    ("saves_no_code", "a file named .pt", saving(lambda folder: (folder / "weights.PT").write_text("harmless"))),
    ("saves_no_code", "a zip with a pickle", saving(_zip)),
    ("saves_no_code", "an array of objects", saving(_objects)),
    ("unreadable_is_a_row", "skips it", room(SkipsUnreadable)),
    ("unreadable_is_a_row", "guesses", room(Guesses)),
    ("unreadable_is_a_row", "stops", room(Stops)),
    ("unreadable_is_a_row", "spoils the next one", room(Slips)),
    ("absent_class", "insists on every class", fitting(_every_class)),
    ("absent_class", "forgets the absent class", room(fit=_drops_absent)),
    ("little_validation", "divides by n - 1", fitting(lambda train, val, *_: 1 / (len(val) - 1))),
    ("little_validation", "takes the first", fitting(lambda train, val, *_: val[0])),
    ("any_number_of_pictures", "a last batch of one", fitting(_batch_of_one)),
    ("any_number_of_pictures", "asks for two of a class", fitting(lambda train, *_: 1 / (len(train) - 3))),
    ("learning_nothing", "learns in secret", room(LEARNS=False)),
    ("learning_nothing", "learns with settings that do not", room(learns=lambda settings: False)),
    ("knows_pixels_alone", "reads the hash", room(ReadsHashes)),
    ("keeps_to_its_scratch", "writes where it stands", fitting(lambda *_: Path("cache.json").write_text("{}"))),
    ("keeps_to_its_scratch", "writes anywhere", fitting(_write_elsewhere)),
    ("keeps_to_its_scratch", "makes a folder", fitting(lambda *_: Path("cache").mkdir(exist_ok=True))),
    ("keeps_to_its_scratch", "has another program write", fitting(_another_program)),
    ("keeps_off_the_network", "calls a number", fitting(_call_by_number)),
    ("keeps_off_the_network", "looks up a name", fitting(_call_by_name)),
]
