"""Rows for a sweep over ratios: features of a study's pictures, and what translators make of lines of text, each encoded once.

Pairs of a translator are captions with their pictures, and lines about a class with the mean of its training pictures. Translators
are cross-fitted by class: what is said of a class is translated by what was learned from other classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fieldguide import teaching
from fieldguide.bench import Progress
from fieldguide.data.store import Spare, Store
from fieldguide.errors import UsageProblem, plain
from fieldguide.files import digest
from fieldguide.gather import originals_of
from fieldguide.machine import device
from fieldguide.records import SPLITS, Manifest, Texts
from fieldguide.teaching import Lines

if TYPE_CHECKING:
    from fieldguide.craft.encoders import Encoder, Reads
    from fieldguide.craft.ratios import Bed, Rows
    from fieldguide.craft.translators.pairs import Paired
    from fieldguide.text_ratio import Order

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Translated:
    """Lines of `source` in the space of pictures; `key` is a hash of them."""

    source: str
    translator: str
    rows: Rows
    key: str


@dataclass(frozen=True)
class Gathered:
    """All that cells are made of, what it came from in words, and what has to be known to read the numbers; `key` hashes the pictures."""

    bed: Bed
    said: tuple[Translated, ...]
    order: Order
    encoder: str
    text_model: str
    described: str
    key: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Sized:
    """What would be gathered: an encoder and a reader, and how much there is to encode and to fit."""

    encoder: Encoder
    reads: Reads
    pictures: int
    lines: int
    classes: int
    train: int
    val: int
    test: int
    pairs: int


def gathered(
    folder: Path, manifest: Manifest, sources: Sequence[Texts], order: Order, online: bool, progress: Progress
) -> Gathered:
    """Encode what is not encoded yet and translate; raises `UsageProblem` where no translator fits."""
    from fieldguide.craft.features import Features
    from fieldguide.craft.heads import normalised
    from fieldguide.craft.ratios import Bed, Rows
    from fieldguide.craft.translators import Work

    encoder, reads, text_model = teaching.models(order.asked, online)
    features = Features(folder / "store" / "features", progress)
    place = {id: at for at, id in enumerate(manifest.classes)}
    reader = Spare(Store(folder / "store"), originals_of(folder, manifest))
    raw = {part: teaching.look(features, encoder, manifest, part, reader) for part in SPLITS}
    footing = normalised(order.asked.normalise, raw["train"])
    parts = {
        part: Rows(footing(table), np.array([place[row.label] for row in manifest.part(part)], np.int64))
        for part, table in raw.items()
    }
    bed = Bed(parts["train"], parts["val"], parts["test"], len(manifest.classes), order.shares)
    work = Work(folder / "store" / "translators", progress, device())
    desk = teaching.Desk(order.asked, encoder, reads, features, footing, manifest.seed, work)
    said, notes = [], []
    for texts in sources:
        lines = lines_of(texts, manifest)
        own, spoken = _own(lines, bed), normalised(order.asked.normalise, features.texts(reads, lines.text))
        notes += _spoken(texts, lines, manifest)
        for name in order.translators or (("identity", "ridge") if desk.shared else ("ridge",)):
            rows = teaching.translated(name, own, lines.text, lines.classes, spoken, desk)
            if isinstance(rows, str):
                notes.append(f"{texts.name}, {name}: not applicable, because {rows}.")
                continue
            if "l2" in order.asked.normalise:
                rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
            table_of = Rows(rows.astype(np.float64), lines.classes)
            said.append(Translated(texts.name, name, table_of, _hash(table_of)))
    if not said:
        raise UsageProblem(
            f"No text can be brought into the space of {plain(encoder.model)}: {plain(notes[-1])}",
            "identity for an image-text model that reads itself; the others learn from captions, or from lines about two classes at least.",
            "Leave --translators out, or name another encoder with --encoder.",
        )
    key = digest(*(_hash(part) for part in (bed.train, bed.val, bed.test)), bed.classes)
    notes += _taught(said, desk)
    return Gathered(bed, tuple(said), order, encoder.model, text_model, encoder.described, key, tuple(notes))


def sized(folder: Path, manifest: Manifest, sources: Sequence[Texts], order: Order, online: bool) -> Sized:
    """Return what `gathered` would work on; nothing is kept and no picture is looked at."""
    encoder, reads, _ = teaching.models(order.asked, online)
    lines = {line for texts in sources for line in lines_of(texts, manifest).text}
    train, val, test = (len(manifest.part(part)) for part in SPLITS)
    usual = 2 if reads is encoder.reads and encoder.shared else 1
    couples = len(sources) * (usual if order.translators is None else len(order.translators))
    return Sized(encoder, reads, train + val + test, len(lines), len(manifest.classes), train, val, test, couples)


def lines_of(texts: Texts, manifest: Manifest) -> Lines:
    """Return what a source says of the classes and of the training pictures of `manifest`."""
    place = {id: at for at, id in enumerate(manifest.classes)}
    found = [(line.text, place[id], -1) for id in manifest.classes for line in texts.classes.get(id, ())]
    for at, row in enumerate(manifest.part("train")):
        found += [(text, place[row.label], at) for text in texts.captions.get(row.key, ())]
    columns = [np.array([entry[column] for entry in found], np.int64) for column in (1, 2)]
    return Lines(tuple(text for text, _, _ in found), *columns)


def _own(lines: Lines, bed: Bed) -> Paired:
    """Return the study's pairs: a caption with its picture, a line about a class with the mean of its training pictures."""
    from fieldguide.craft.translators.pairs import Paired

    there = np.flatnonzero((lines.pictures >= 0) | (bed.each[lines.classes] > 0))
    means = np.stack(
        [
            bed.train.features[bed.train.labels == at].mean(axis=0) if many else np.zeros(bed.train.features.shape[1])
            for at, many in enumerate(bed.each)
        ]
    )
    own = lines.pictures[there]
    seen = np.where((own >= 0)[:, None], bed.train.features[np.maximum(own, 0)], means[lines.classes[there]])
    spoken = tuple(lines.text[place] for place in there)
    return Paired(spoken, seen.astype(np.float32), lines.classes[there], f"{len(there):,} lines and captions of the study")


def _hash(rows: Rows) -> str:
    import hashlib

    whole = hashlib.sha256(np.ascontiguousarray(rows.features).tobytes())
    whole.update(np.ascontiguousarray(rows.labels).tobytes())
    return whole.hexdigest()


def _spoken(texts: Texts, lines: Lines, manifest: Manifest) -> list[str]:
    """Say where texts are lacking or repeated."""
    have = np.bincount(lines.classes, minlength=len(manifest.classes))
    each = np.bincount([manifest.classes.index(row.label) for row in manifest.part("train")], minlength=len(manifest.classes))
    notes = []
    if silent := int((have == 0).sum()):
        notes.append(f"{texts.name}: nothing is said of {silent} of {len(have)} classes; a mix lacks rows of those.")
    if few := int(((have < each) & (have > 0)).sum()):
        fewest = int(have[have > 0].min())
        notes.append(
            f"{texts.name}: {few} of {len(have)} classes have fewer lines than training pictures (fewest {fewest}); a mix repeats lines."
        )
    return notes


def _taught(said: Sequence[Translated], desk: teaching.Desk) -> list[str]:
    """Say who taught the translators."""
    if all(one.translator == "identity" for one in said):
        return []
    if desk.asked.pairs is not None:
        return [f"{desk.how[:1].upper()}{desk.how[1:]}."]
    return [
        f"{desk.how[:1].upper()}{desk.how[1:]}; and from all training pictures, whatever share of them a cell keeps: the texts of a small "
        "share know pictures that its pictures alone do not."
    ]
