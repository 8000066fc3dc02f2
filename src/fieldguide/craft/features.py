"""The feature store: what an encoder makes of pictures and of lines of text, computed once for a study and shared by all that asks.

    store/features/<key>/manifest.json       what decides the features: encoder, weights, preprocessing, kind, dtype, versions
    store/features/<key>/<n>.npy             "rows features", memory-mapped
    store/features/<key>/<n>.parquet         name of each row (content hash of a picture, hash of a line) and the seconds it took

Pictures are kept in float32, because answers are computed from them and must be those of a fresh pass; lines, of which there can be
a hundred thousand, in float16, which moves a cosine by less than 1e-3. A part is whole or absent; what is missing is encoded and
becomes a new part, so a killed run goes on after its last one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fieldguide.bench import Bench, Progress
from fieldguide.craft.encoders import Encoder, Reads, Sees
from fieldguide.data.batches import as_dict, evaluation_batches, prepare
from fieldguide.files import digest, read_json, write_json, writing
from fieldguide.records import Image

#: Rows that are encoded before they are kept.
PART = 1024
#: Pictures that go through an encoder in one batch.
_BATCH = 64

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
        told = {"kind": "pictures", "encoder": sees.key, "preprocessing": as_dict(sees.preprocessing), "dtype": "float32"}

        def encode(missing: Sequence[Image]) -> Iterator[tuple[int, Table]]:
            prepare(missing, sees.preprocessing.resize)
            for batch in evaluation_batches(missing, sees.preprocessing, _BATCH):
                for _, error in batch.failed:
                    raise error
                yield len(batch.images), sees.pictures(batch.pixels).numpy()

        return self._rows(told, "look", {image.key: image for image in images}, [image.key for image in images], encode)

    def texts(self, reads: Reads, lines: Sequence[str]) -> Table:
        """Return ``"lines features"`` float32 (kept as float16), in the order of `lines`."""
        told = {"kind": "texts", "encoder": reads.key, "dtype": "float16"}
        keys = [hashlib.sha256(line.encode("utf-8", "surrogatepass")).hexdigest() for line in lines]

        def encode(missing: Sequence[str]) -> Iterator[tuple[int, Table]]:
            for start in range(0, len(missing), PART):
                part = missing[start : start + PART]
                yield len(part), reads.texts(part).numpy()

        if not lines:
            return np.zeros((0, reads.width), np.float32)
        return self._rows(told, "read", dict(zip(keys, lines, strict=True)), keys, encode)

    def _rows(self, told: dict[str, Any], what: str, things: dict[str, Any], order: Sequence[str], encode: Encode) -> Table:
        """Return the rows named in `order`; those that are not kept yet are made by `encode` from `things` and kept."""
        place = self.folder / digest(told)[:24]
        place.mkdir(parents=True, exist_ok=True)
        if not (place / "manifest.json").exists():
            write_json(place / "manifest.json", told)
        have, parts = _known(place)
        missing = [key for key in things if key not in have]
        with self.progress.bar(what, len(missing)) as bar:
            waiting: list[Table] = []
            start, begun = 0, time.perf_counter()
            for count, rows in encode([things[key] for key in missing]) if missing else ():
                waiting.append(rows.astype(told["dtype"]))
                bar.advance(count)
                held = sum(map(len, waiting))
                if held >= PART or start + held == len(missing):
                    names = missing[start : start + held]
                    part = np.concatenate(waiting)
                    _keep(place, len(parts), names, part, (time.perf_counter() - begun) / held)
                    have |= {name: (len(parts), row) for row, name in enumerate(names)}
                    parts.append(part)
                    waiting, start, begun = [], start + held, time.perf_counter()
        return np.stack([parts[have[key][0]][have[key][1]] for key in order]).astype(np.float32)


def shared(encoder: Encoder, features: Features, images: Sequence[Image], lines: Sequence[str]) -> tuple[Table, Table]:
    """Return features of pictures and of lines of an encoder that has both."""
    assert encoder.reads is not None
    return features.pictures(encoder.sees, images), features.texts(encoder.reads, lines)


def _known(place: Path) -> tuple[dict[str, tuple[int, int]], list[Any]]:
    """Return where each row is kept, part and row, and the parts as memory maps."""
    have: dict[str, tuple[int, int]] = {}
    parts: list[Any] = []
    while (place / f"{len(parts)}.parquet").exists():
        names = pq.read_table(place / f"{len(parts)}.parquet", columns=["name"]).column("name").to_pylist()
        have |= {name: (len(parts), row) for row, name in enumerate(names)}
        parts.append(np.load(place / f"{len(parts)}.npy", mmap_mode="r", allow_pickle=False))
    return have, parts


def _keep(place: Path, number: int, names: Sequence[str], rows: Table, seconds: float) -> None:
    """Write one part; its table of names comes last, and says that the part is whole."""
    with writing(place / f"{number}.npy") as temporary, open(temporary, "wb") as stream:
        np.save(stream, rows, allow_pickle=False)
    with writing(place / f"{number}.parquet") as temporary:
        pq.write_table(pa.table({"name": list(names), "seconds": [seconds] * len(names)}), temporary)


def described(place: Path) -> dict[str, Any]:
    """Return the manifest of one kind of features: what decided them."""
    values: dict[str, Any] = read_json(place / "manifest.json")
    return values
