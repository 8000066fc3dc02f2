"""The nouns of the house. This module imports nothing of ours; every other module speaks in these words.

What is not known is ``None`` or a named state, never an invented number.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

#: Version of every table and JSON file written into a study; readers refuse a newer one.
SCHEMA_VERSION = 1

Pixels = NDArray[np.uint8]
SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")

#: Marks of a picture that takes part. ``leaked``: the source put a copy or near copy of it into another of its splits;
#: ``repeated``: a near copy of another picture of its own split, which counts first; ``burst``: of one scene with another.
MARKS = ("leaked", "repeated", "burst")


class PixelReader(Protocol):
    """Where an `Image` gets its pixels from; it knows pictures by content hash alone."""

    def read(self, key: str, at_least: int) -> Pixels:
        """Return canonical pixels, ``"height width 3"`` uint8 RGB, shorter side `at_least` or more, or the original's if smaller."""
        ...

    def prepare(self, keys: Sequence[str], at_least: int) -> None:
        """Make many pictures ready to be read at this size, all at once and with a progress bar."""
        ...


@dataclass(frozen=True, slots=True)
class Image:
    """A picture as a family sees it: a content hash and pixels. No file name, folder, EXIF tag or label travels with it."""

    key: str
    reader: PixelReader = field(repr=False, compare=False)

    def pixels(self, at_least: int) -> Pixels:
        """Return RGB pixels, ``"height width 3"`` uint8.

        The shorter side has at least `at_least` pixels, unless the original is smaller: nothing is ever upscaled here.
        Raises `fieldguide.errors.PictureError` where the picture cannot be read.
        """
        return self.reader.read(self.key, at_least)


@dataclass(frozen=True, slots=True)
class Example:
    """An image and what is known of it."""

    image: Image
    label: str | None = None
    counts: Mapping[str, int] | None = None
    caption: str | None = None


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """One class as every family and the report knows it; `classes.toml` is its only home."""

    id: str
    name: str
    synonyms: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence about a class, and which part of its looks it tells of (``"beak"``), where the source says."""

    text: str
    field: str | None = None


@dataclass(frozen=True)
class Texts:
    """What one source says about classes (by id) and about single pictures (by content hash); `made` says where it came from."""

    name: str
    classes: Mapping[str, tuple[Line, ...]] = field(default_factory=dict)
    captions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)

    def only(self, keys: Collection[str]) -> Texts:
        """Return the same texts with the captions of these pictures alone: what is said of a test picture stays out of a fit."""
        return replace(self, captions={key: said for key, said in self.captions.items() if key in keys})


@dataclass(frozen=True, slots=True)
class Box:
    """One thing on a picture, of the class `label`; its left upper corner and its size in pixels of the original."""

    label: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One picture file of the source.

    `split` and `fold` are `None` where `excluded` gives the reason why the picture takes no part. `fold` counts from 0 and
    is set only in a cross-validated study, whose rows all have split ``"test"`` (of their own fold).
    `notes` are the conversions its pixels went through, as codes of `fieldguide.data.images`. `marks` say for which reasons
    (`MARKS`) scores are also shown without it. In a study of counts `label` is empty, `counts` are (class, number) pairs for the
    classes it shows, and `boxes` where those things are, as far as the source says.
    """

    key: str
    path: str
    label: str
    split: SplitName | None = None
    fold: int | None = None
    group: str | None = None
    excluded: str | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    bytes: int | None = None
    notes: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    counts: tuple[tuple[str, int], ...] | None = None
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """The frozen list: the same for every contestant, and the denominator of every score.

    `task` says what is known of each picture: its class, or how many of each class it shows.
    """

    rows: tuple[ManifestRow, ...]
    classes: tuple[str, ...]
    seed: int
    hash: str
    task: Literal["classify", "count"] = "classify"

    def part(self, split: SplitName | None = None, fold: int | None = None) -> tuple[ManifestRow, ...]:
        """Return the rows that take part, in manifest order; of one split or one fold where asked."""
        return tuple(
            row
            for row in self.rows
            if row.excluded is None and (split is None or row.split == split) and (fold is None or row.fold == fold)
        )

    @property
    def excluded(self) -> tuple[ManifestRow, ...]:
        """Rows that take no part, each with its reason."""
        return tuple(row for row in self.rows if row.excluded is not None)

    @property
    def folds(self) -> int:
        """Number of cross-validation folds; 0 for a single split."""
        return 1 + max((row.fold for row in self.rows if row.fold is not None), default=-1)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one contestant answered for one image.

    `label` is a class id of the manifest, or `None` where there is no usable answer, and then `error` says why.
    `probabilities` (if the family has them) follow the manifest's class order and sum to one. `raw` is the text of a family
    that answers in words, kept apart from the reading of it. `seconds` is the share of wall time this answer took.
    """

    image: str
    label: str | None = None
    probabilities: tuple[float, ...] | None = None
    counts: Mapping[str, int] | None = None
    raw: str | None = None
    seconds: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    error: str | None = None
    run: str | None = None


ScoreState = Literal["ok", "not applicable", "could not be read"]


@dataclass(frozen=True, slots=True)
class Score:
    """A value with its 95 % interval and the number of pictures under it; or a state that says why there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    state: ScoreState = "ok"
    why: str | None = None

    @classmethod
    def absent(cls, why: str, state: ScoreState = "not applicable") -> Score:
        """Return a score that says why it has no value."""
        return cls(None, state=state, why=why)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a contestant is expected to cost before it runs; `None` where nothing is known."""

    seconds: float | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    money: float | None = None


@dataclass(frozen=True, slots=True)
class Sending:
    """What would leave this machine: so many `pictures` for `host`, and what that is expected to cost.

    Each is sent in so many `questions`, which show `examples` training pictures besides. Tokens are estimates; `money` is in the currency of
    the prices that were given, `None` without any. `who` asks. Up to `made` short questions about made pictures come first.
    """

    host: str
    pictures: int
    tokens_in: int
    tokens_out: int
    money: float | None = None
    examples: int = 0
    who: str = ""
    questions: int = 1
    made: int = 0
