"""Where pairs come from: captions of training pictures, descriptions of their classes, or a captioned set such as COCO.

COCO (Lin et al. 2014, arXiv 1405.0312) tells of 80 kinds of things in general words. The texts of one's own set speak of what is on
one's own pictures, and teach a translator only as long as nobody is translated by pairs of the own class (see `crossing`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fieldguide.craft.encoders import Reads, Sees
from fieldguide.craft.features import Features
from fieldguide.craft.translators import Pairs, Rows, Said
from fieldguide.errors import DataProblem, plain

#: Pictures of a captioned set that are used, each with all its captions, and pairs whose tokens are kept; of more, so many are drawn.
MOST = 20_000
#: Lines whose tokens are read at a time.
_AT_ONCE = 256


@dataclass(frozen=True)
class Paired:
    """`lines` and the picture and class of each, before an encoder has read them; `where` says in words where they come from."""

    lines: tuple[str, ...]
    pictures: Rows
    groups: NDArray[np.int64]
    where: str

    def read(self, reads: Reads, features: Features, tokens: bool, seed: int = 0) -> Pairs:
        """Return the pairs as `reads` reads them, with tokens where a translator attends to them: of `MOST` pairs then, drawn by `seed`."""
        if not tokens or len(self.lines) <= MOST:
            return Pairs(said(reads, features, self.lines, tokens), self.pictures, self.groups)
        places = np.sort(np.random.default_rng((seed, 107)).choice(len(self.lines), MOST, replace=False))
        lines = [self.lines[place] for place in places]
        return Pairs(said(reads, features, lines, tokens), self.pictures[places], self.groups[places])


def said(reads: Reads, features: Features, lines: Sequence[str], tokens: bool) -> Said:
    """Return lines as `reads` reads them: pooled ones from the store; tokens, in float16, are read again each time."""
    pooled = features.texts(reads, lines)
    if not tokens or not lines:
        return Said(pooled)
    parts = []
    with features.progress.bar("read words", len(lines)) as bar:
        for start in range(0, len(lines), _AT_ONCE):
            part = lines[start : start + _AT_ONCE]
            states, mask = reads.tokens(part)
            longest = int(mask.any(dim=0).nonzero().max()) + 1 if mask.any() else 1
            parts.append((states[:, :longest].numpy().astype(np.float16), mask[:, :longest].numpy()))
            bar.advance(len(part))
    longest = max(known.shape[1] for _, known in parts)
    width = parts[0][0].shape[2]
    whole, there = np.zeros((len(lines), longest, width), np.float16), np.zeros((len(lines), longest), bool)
    row = 0
    for held, known in parts:
        whole[row : row + len(known), : known.shape[1]], there[row : row + len(known), : known.shape[1]] = held, known
        row += len(known)
    return Said(pooled, whole, there)


def in_domain(
    pictures: Rows,
    labels: NDArray[np.integer],
    keys: Sequence[str],
    captions: Mapping[str, Sequence[str]],
    lines: Sequence[Sequence[str]],
) -> Paired:
    """Return pairs of training pictures: each with its captions; where no picture has one, the mean of a class with each of its lines.

    `pictures` ``"pictures features"``, their class positions `labels` and content hashes `keys`, by which `captions` are known;
    `lines` are those of each class.
    """
    told = [(text, row) for row, key in enumerate(keys) for text in captions.get(key, ())]
    if told:
        rows = np.array([row for _, row in told])
        where = f"{len(told):,} captions of {len(np.unique(rows)):,} training pictures"
        return Paired(tuple(text for text, _ in told), pictures[rows], np.asarray(labels)[rows].astype(np.int64), where)
    spoken: list[str] = []
    means: list[Rows] = []
    groups: list[int] = []
    for group, own in enumerate(lines):
        here = np.flatnonzero(np.asarray(labels) == group)
        if len(here) and len(own):
            mean = pictures[here].mean(axis=0, dtype=np.float64).astype(np.float32)
            spoken, means, groups = [*spoken, *own], [*means, *[mean] * len(own)], [*groups, *[group] * len(own)]
    where = f"{len(spoken):,} lines about {len(set(groups)):,} classes, each with the mean training picture of its class"
    table = np.stack(means) if means else np.zeros((0, pictures.shape[1]), np.float32)
    return Paired(tuple(spoken), table, np.array(groups, np.int64), where)


def captioned(path: Path, sees: Sees, features: Features, seed: int, most: int = MOST) -> Paired:
    """Return pairs of a captioned set: a file as COCO or Karpathy's split writes it, with its pictures beside it or below.

    A picture that lies in a folder beside ``annotations/`` is found, too. Raises `DataProblem` where no caption has a picture.
    """
    from fieldguide.data.loose import Files

    told, places = _captions(path), _beside(path)
    named = [name for name in told if name in places]
    if not named:
        raise DataProblem(
            f"None of the {len(told):,} pictures that {plain(path)} has captions of lies beside it.",
            "Pictures under their own names, in the folder of the file or below; COCO's may lie beside its folder annotations.",
            "Put the pictures there, or take pairs of your own training pictures.",
        )
    if len(named) > most:
        chosen = np.random.default_rng((seed, 106)).choice(len(named), most, replace=False)
        named = [named[place] for place in sorted(chosen)]
    files = Files()
    found = list(files.images(places[name] for name in named))
    kept = [(image, name) for image, name in zip(found, named, strict=True) if image.key not in files.failed]
    seen = features.pictures(sees, [image for image, _ in kept])
    rows = [row for row, (_, name) in enumerate(kept) for _ in told[name]]
    lines = tuple(text for _, name in kept for text in told[name])
    where = f"{len(lines):,} captions of {len(kept):,} pictures of {path.name}"
    return Paired(lines, seen[rows], np.full(len(lines), -1, np.int64), where)


def _captions(path: Path) -> dict[str, list[str]]:
    """Return the captions of each picture under its file's name without folders."""
    from fieldguide.data.texts import captions
    from fieldguide.data.texts.common import clean, read_json

    value = read_json(path)
    if not captions.is_one(value):
        raise DataProblem(
            f"{plain(path)} holds no captions as COCO has them.",
            "JSON with images and annotations that have a caption (captions_train2017.json), or Karpathy's dataset_coco.json.",
            "Name that file.",
        )
    told: dict[str, list[str]] = {}
    for one in captions.read(value, path):
        text = clean(one.text)
        if text:
            told.setdefault(Path(one.about).name, []).append(text)
    return told


def _beside(path: Path) -> dict[str, Path]:
    """Return the files below the folder of `path` by name; a name that two have is nobody's, and links are not followed."""
    root = path.resolve().parent
    root = root.parent if root.name == "annotations" else root
    places: dict[str, Path | None] = {}
    for folder, inner, names in os.walk(root):
        inner.sort()
        for name in names:
            place = Path(folder) / name
            places[name] = None if name in places or place.is_symlink() else place
    return {name: place for name, place in places.items() if place is not None}
