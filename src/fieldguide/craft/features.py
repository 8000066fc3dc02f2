"""The feature store: what an encoder makes of pictures and of lines of text, computed once for a study and shared by all that asks.

    store/features/<key>/manifest.json       what decides the features: encoder, weights, preprocessing, kind, dtype, versions
    store/features/<key>/<part>.npy          "rows features", memory-mapped
    store/features/<key>/<part>.parquet      name of each row (content hash of a picture, hash of a line), the seconds it took, a checksum

Pictures are kept in float32, because answers are computed from them and must be those of a fresh pass; lines, of which there can be
a hundred thousand, in float16, which moves a cosine by less than 1e-3; a part that it would move by more (numbers beyond its range, or
below it) stays in float32. A part is whole or absent, and is called by what it holds, so that two processes never write two things under
one name; what is missing or damaged is encoded and becomes a new part, so a killed run goes on after its last one.

Everything is encoded in float32: a row of a ViT-B/32 then differs by 1e-7 of its length between alone and among others, and an answer
computed from it may differ by 1e-5. Numbers of bfloat16 are rounded to 4e-3; what that saves is saved once for a study, and every number
of the study would carry it.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fieldguide.bench import Bench, Progress
from fieldguide.craft.encoders import Reads, Sees
from fieldguide.data import budget
from fieldguide.data.batches import as_dict, evaluation_batches, prepare
from fieldguide.errors import DataProblem
from fieldguide.files import digest, read_json, sweep, write_json, writing
from fieldguide.records import Image

#: Rows that are encoded before they are kept, or fewer where that takes longer than so many seconds.
PART, SECONDS = 1024, 20.0
#: Pictures, and lines, that go through an encoder between two steps of the bar.
_BATCH, _LINES = 64, 256
#: Largest distance of a row from itself in float16, in parts of its length.
_ROUNDED = 1e-3

Table = NDArray[np.float32]
Encode = Callable[[Sequence[Any]], Iterator[tuple[int, Table]]]


@dataclass(frozen=True)
class Features:
    """Features below `folder`, with a progress bar where there is one; `Features.of(bench)` takes what contestants share."""

    folder: Path
    progress: Progress

    @classmethod
    def of(cls, bench: Bench) -> Features:
        """Return the store that all contestants of a study share, or one in scratch where nothing is shared."""
        return cls((bench.shared or bench.scratch) / "features", bench.progress)

    def pictures(self, sees: Sees, images: Sequence[Image]) -> Table:
        """Return ``"pictures features"`` float32, in the order of `images`. Raises `PictureError` for one that cannot be read."""
        return self.timed(sees, images)[0]

    def timed(self, sees: Sees, images: Sequence[Image]) -> tuple[Table, NDArray[np.float64]]:
        """Return what `pictures` does, and the seconds ``"pictures"`` that each took when it was encoded, now or before."""
        told = {"kind": "pictures", "encoder": sees.key, "preprocessing": as_dict(sees.preprocessing), "dtype": "float32"}

        def encode(missing: Sequence[Image]) -> Iterator[tuple[int, Table]]:
            prepare(missing, sees.preprocessing.resize)
            for batch in evaluation_batches(missing, sees.preprocessing, _BATCH):
                for _, error in batch.failed:
                    raise error
                yield len(batch.images), sees.pictures(batch.pixels).numpy()

        if not images:
            return np.zeros((0, sees.width), np.float32), np.zeros(0)
        asked = _Asked(told, "look", sees.width, {image.key: image for image in images}, [image.key for image in images])
        return self._rows(asked, encode)

    def texts(self, reads: Reads, lines: Sequence[str]) -> Table:
        """Return ``"lines features"`` float32 (kept as float16), in the order of `lines`."""
        told = {"kind": "texts", "encoder": reads.key, "dtype": "float16"}
        keys = [hashlib.sha256(line.encode("utf-8", "surrogatepass")).hexdigest() for line in lines]

        def encode(missing: Sequence[str]) -> Iterator[tuple[int, Table]]:
            for start in range(0, len(missing), _LINES):
                part = missing[start : start + _LINES]
                yield len(part), reads.texts(part).numpy()

        if not lines:
            return np.zeros((0, reads.width), np.float32)
        # Neighbours in length are read together, so that little time goes into padding.
        by_length = sorted(set(zip(keys, lines, strict=True)), key=lambda one: (len(one[1]), one[0]))
        return self._rows(_Asked(told, "read", reads.width, dict(by_length), keys), encode)[0]

    def _rows(self, asked: _Asked, encode: Encode) -> tuple[Table, NDArray[np.float64]]:
        """Return the rows that are asked for, and the seconds of each; those that are not kept yet are made by `encode` and kept."""
        place = self.folder / digest(asked.told)[:24]
        parts = _parts(place, asked.width)
        if not asked.missing(parts):
            return _gathered(parts, asked)
        place.mkdir(parents=True, exist_ok=True)
        with alone(place):
            if not _describes(place, asked.told):
                write_json(place / "manifest.json", asked.told)
            parts = _parts(place, asked.width)
            missing = asked.missing(parts)
            budget.require_room(self.folder, len(missing) * asked.width * np.dtype(asked.told["dtype"]).itemsize)
            with self.progress.bar(asked.what, len(missing)) as bar:
                keeper = _Keeper(place, asked.told["dtype"], missing)
                try:
                    for count, rows in encode([asked.things[key] for key in missing]) if missing else ():
                        keeper.take(rows)
                        bar.advance(count)
                finally:  # what was encoded before a picture could not be read, or before Ctrl-C, is kept too
                    keeper.keep()
        return _gathered(parts + keeper.parts, asked)


@dataclass(frozen=True)
class _Asked:
    """Rows named in `order` of the features that `told` describes; each is made of one of `things`."""

    told: dict[str, Any]
    what: str
    width: int
    things: dict[str, Any]
    order: Sequence[str]

    def missing(self, parts: Sequence[_Part]) -> list[str]:
        have = set().union(*(part.names for part in parts))
        return [key for key in self.things if key not in have]


@dataclass(frozen=True)
class _Part:
    """Rows that are kept, their names, and the seconds that one took."""

    names: list[str]
    rows: NDArray[Any]
    seconds: float


@dataclass
class _Keeper:
    """Rows of `names`, in their order, that become parts in `place`, each as narrow as it may be."""

    place: Path
    dtype: str
    names: list[str]
    parts: list[_Part] = field(default_factory=list)
    waiting: list[Table] = field(default_factory=list)
    done: int = 0
    begun: float = field(default_factory=time.perf_counter)

    def take(self, rows: Table) -> None:
        if not np.isfinite(rows).all():
            raise DataProblem(
                "The encoder gives features that are no finite numbers.",
                "Allowed: weights and pictures, or lines, of which it makes finite numbers.",
                "Take another model, or fetch its weights again.",
            )
        self.waiting.append(rows)
        if sum(map(len, self.waiting)) >= PART or time.perf_counter() - self.begun > SECONDS:
            self.keep()

    def keep(self) -> None:
        """Write what waits as one part."""
        if not self.waiting:
            return
        rows = _narrowed(np.concatenate(self.waiting), self.dtype)
        names = self.names[self.done : self.done + len(rows)]
        self.waiting, self.done = [], self.done + len(rows)
        seconds = (time.perf_counter() - self.begun) / len(rows)
        _write(self.place, names, rows, seconds)
        self.parts.append(_Part(names, rows, seconds))
        self.begun = time.perf_counter()


@contextlib.contextmanager
def alone(place: Path) -> Iterator[None]:
    """Hold a folder against other writers, where its disk knows locks; whoever waits here finds the rows made when it is let in."""
    lock = filelock.FileLock(place / ".lock")
    try:
        lock.acquire()
    except (OSError, NotImplementedError):
        yield  # two may now make the same rows, under the same name
        return
    try:
        sweep(place)
        yield
    finally:
        lock.release()


def _narrowed(rows: Table, dtype: str) -> NDArray[Any]:
    """Return rows as `dtype`, or as they are where that would move one of them too far."""
    if dtype == "float32":
        return rows
    with np.errstate(over="ignore"):
        narrow = rows.astype(dtype)
    wide = rows.astype(np.float64)
    with np.errstate(invalid="ignore"):
        moved = np.linalg.norm(narrow - wide, axis=1)
    return narrow if bool((moved <= _ROUNDED * np.linalg.norm(wide, axis=1)).all()) else rows


def _gathered(parts: Sequence[_Part], asked: _Asked) -> tuple[Table, NDArray[np.float64]]:
    """Return the rows in the order that was asked for, copied out of one part after another, and the seconds of each."""
    at = {name: (part, row) for part, one in enumerate(parts) for row, name in enumerate(one.names)}
    where = np.array([at[key] for key in asked.order])
    found = np.empty((len(asked.order), asked.width), np.float32)
    for part, one in enumerate(parts):
        mine = np.flatnonzero(where[:, 0] == part)
        if len(mine):
            found[mine] = one.rows[where[mine, 1]]
    return found, np.array([parts[part].seconds for part in where[:, 0]])


def _parts(place: Path, width: int) -> list[_Part]:
    """Return the whole parts in `place`, with their rows mapped into memory; one that is damaged is as good as absent."""
    found = []
    for path in sorted(place.glob("*.parquet")):
        with contextlib.suppress(Exception):  # a file that is cut off or overwritten raises nearly anything
            table = pq.read_table(path, columns=["name", "seconds"])
            names = table.column("name").to_pylist()
            rows = np.load(path.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
            checksum = (table.schema.metadata or {}).get(b"crc32", b"").decode()
            if rows.shape == (len(names), width) and rows.dtype.kind == "f" and checksum == str(zlib.crc32(rows.data)):
                found.append(_Part(names, rows, float(table.column("seconds")[0].as_py()) if names else 0.0))
    return found


def _write(place: Path, names: Sequence[str], rows: NDArray[Any], seconds: float) -> None:
    """Write one part; its table of names comes last, and says that the part is whole."""
    name = digest(list(names))[:16]
    with writing(place / f"{name}.npy") as temporary, open(temporary, "wb") as stream:
        np.save(stream, rows, allow_pickle=False)
    table = pa.table({"name": list(names), "seconds": [seconds] * len(names)})
    checksum = str(zlib.crc32(np.ascontiguousarray(rows).data))
    with writing(place / f"{name}.parquet") as temporary:
        pq.write_table(table.replace_schema_metadata({"crc32": checksum}), temporary)


def _describes(place: Path, told: dict[str, Any]) -> bool:
    try:
        return described(place) == told
    except (OSError, ValueError):
        return False


def described(place: Path) -> dict[str, Any]:
    """Return the manifest of one kind of features: what decided them."""
    values: dict[str, Any] = read_json(place / "manifest.json")
    return values
