"""What the description doctor sees with: features of a study's pictures, and a reading of lines into their space.

An image-text model reads lines itself. For a network that has only pictures, hashed words are mapped into its space by ridge regression
on pairs of a line and the mean picture of its class, both seen from the mean of all training pictures; the map that reads a class's
lines was learned from the other classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldguide import families
from fieldguide.bench import Progress
from fieldguide.data.store import Spare, Store
from fieldguide.doctoring import Eyes, Reading, rows_of
from fieldguide.errors import DataProblem, PictureError, UsageProblem, plain
from fieldguide.evaluate.descriptions import Places, Seen
from fieldguide.evaluate.distances import unit
from fieldguide.gather import originals_of
from fieldguide.machine import device
from fieldguide.records import Image, Manifest, ManifestRow, Texts

if TYPE_CHECKING:
    from fieldguide.craft.encoders import Encoder, Reads
    from fieldguide.craft.features import Features
    from fieldguide.craft.frozen import Lens


def open_eyes(study: Path, manifest: Manifest, texts: Texts, model: str, *, online: bool, progress: Progress) -> Eyes:
    """Return what sees and reads with the encoder `model`, written as a contestant of the family linear: ``NAME[:key=value,...]``.

    Every picture is looked at here, or was before: features are kept in the study's store and shared with all contestants.
    """
    from fieldguide.craft import encoders
    from fieldguide.craft.features import Features

    train, judged, part = rows_of(manifest)
    lens = lens_of(model)
    encoders.check(lens.model, online)
    encoder = encoders.build(lens, seed=0, device=device(), online=online)
    features = Features(study / "store" / "features", progress)
    seen = _Sight(features, encoder, Spare(Store(study / "store"), originals_of(study, manifest)), manifest.classes)
    groups = None
    centre, reads = np.zeros(1), encoder.reads if encoder.shared else None
    if reads is None:
        centre = np.asarray(seen.rows(train), np.float64).mean(axis=0)
        read, how, groups = mapped(texts, seen.of(train, centre), manifest.classes, features)
    else:
        read, how = _by_itself(reads, features), "the model's own text half"
    counted, context = (None, None) if reads is None else (reads.counted, reads.context)
    sight = seen.of(train, centre), seen.of(judged, centre)
    return Eyes(model, encoder.described, how, *sight, part, read, counted, context, groups)


def _by_itself(reads: Reads, features: Features) -> Reading:
    return lambda lines, owners: features.texts(reads, lines)


def lens_of(model: str) -> Lens:
    """Return what decides the features of ``NAME[:key=value,...]``; the settings are those of the family linear."""
    from fieldguide.craft.frozen import Lens

    settings: Any = families.parse(f"linear/{model}").settings
    if settings.plain:
        raise UsageProblem(
            f"{plain(model)!r} is no encoder.", "A network, or an image-text model such as drawn.", "Add --encoder drawn, say."
        )
    asked = {field.name: getattr(settings, field.name) for field in fields(Lens) if hasattr(settings, field.name)}
    return Lens(settings.features, **{**asked, "weights": settings.weights or "hub"})


@dataclass(frozen=True)
class _Sight:
    """Turns rows of a manifest into features."""

    features: Features
    encoder: Encoder
    reader: Spare
    classes: Sequence[str]

    def rows(self, of: Sequence[ManifestRow]) -> NDArray[np.float32]:
        """Return ``"pictures features"`` as the encoder gives them; raises `DataProblem` for a picture that is not to be had."""
        try:
            return self.features.pictures(self.encoder.sees, [Image(row.key, self.reader) for row in of])
        except PictureError as error:
            raise DataProblem(
                f"A picture cannot be read: {plain(error)}.",
                "The doctor looks at the training pictures, in the study's store or at their source.",
                "Bring the source back, or leave --encoder out to examine the words alone.",
            ) from error

    def of(self, rows: Sequence[ManifestRow], centre: NDArray[np.float64]) -> Seen:
        """Return pictures as seen from `centre`, each of length one."""
        place = {id: at for at, id in enumerate(self.classes)}
        return Seen(unit(self.rows(rows) - centre), np.array([place[row.label] for row in rows], np.int64))


def mapped(texts: Texts, train: Seen, classes: Sequence[str], features: Features) -> tuple[Reading, str, Places]:
    """Return a reading of lines into the space of `train`, how it reads in words, and the group of each class ``"classes"``.

    The map that reads the lines of a group was learned from the lines and pictures of the others. Classes are to be compared within
    their group: a line is drawn towards the classes that taught its map, which would seem to contradict its own pictures.
    """
    from fieldguide.craft.encoders.words import Words
    from fieldguide.craft.translators import NotApplicable, Pairs, Said, crossed

    words, place = Words(), {id: at for at, id in enumerate(classes)}
    there = set(train.labels.tolist())
    pairs = [(line.text, place[id]) for id, said in texts.classes.items() for line in said if place[id] in there]
    owners = np.array([owner for _, owner in pairs], np.int64)
    means = {owner: train.of(owner).mean(axis=0) for owner in set(owners.tolist())}
    pictures = np.array([means[owner] for owner in owners.tolist()], np.float32)
    told = Said(features.texts(words, [line for line, _ in pairs]))
    translator = crossed("ridge", Pairs(told, pictures, owners))
    if isinstance(translator, NotApplicable):
        raise UsageProblem(
            f"Lines cannot be mapped into the space of this network: {translator.why}.",
            "Lines about two classes at least that have training pictures; or an image-text model, which reads by itself.",
            "Add --encoder drawn, or leave --encoder out to examine the words alone.",
        )

    def read(lines: Sequence[str], owners: Places) -> NDArray[np.floating]:
        rows: NDArray[np.float32] = translator(Said(features.texts(words, lines)), owners)
        return rows

    groups = np.array([max(0, translator.fold_of.get(place, 0)) for place in range(len(classes))], np.int64)
    return read, "a linear map from words, learned from the lines and pictures of other classes than those compared", groups
