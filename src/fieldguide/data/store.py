"""The store: every picture decoded once for each size class, memory-mapped, named by content, shared by all contestants and runs.

Layout: ``store/<size>/<shard>.safetensors``, each tensor named by content hash, ``"height width 3"`` uint8. A shard is whole or
absent, so a killed build loses at most one shard. Memory while building is bounded by two copies of one shard
(`SHARD_BYTES`) and `_WINDOW` decoded pictures a thread, whatever the number of pictures; while reading, by the system's page cache.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors.numpy import save_file

from fieldguide.bench import Progress, Silent, cores
from fieldguide.data import budget
from fieldguide.data.images import load
from fieldguide.errors import PictureError, UsageProblem
from fieldguide.files import sweep, writing
from fieldguide.records import Pixels

#: Size classes: the shorter side, in pixels. A contestant that asks for N gets the smallest class of at least N.
SIZES = (32, 64, 128, 192, 256, 320, 384, 448, 512, 768, 1024, 1536, 2048)
#: A shard is written when its pictures reach this size.
SHARD_BYTES = 64 * 2**20
#: Shards that are mapped at a time: each holds a file handle, and systems allow few of those.
MOST_MAPS = 256
_WINDOW = 4

Originals = Callable[[str], bytes]
K = TypeVar("K")
V = TypeVar("V")


def size_class(at_least: int) -> int:
    """Return the smallest size class of at least `at_least` pixels; raises `UsageProblem` above the largest."""
    for size in SIZES:
        if size >= at_least:
            return size
    raise UsageProblem(
        f"Pictures of {at_least} pixels (shorter side) were asked for.",
        f"Allowed: up to {SIZES[-1]} pixels.",
        "Choose a smaller image_size.",
    )


@dataclass(frozen=True, slots=True)
class _Slot:
    shard: Path
    start: int
    shape: tuple[int, int, int]


class Store:
    """Pixels by content hash. Reading is thread-safe; building is done by one process at a time (the study is locked).

    `originals` returns the bytes of the file with a given hash; without it only what is already stored can be read. No shard is
    begun that would take the store beyond `most_bytes` (no limit if `None`) or fill the disk.
    """

    def __init__(
        self, root: Path, originals: Originals | None = None, progress: Progress | None = None, most_bytes: int | None = None
    ) -> None:
        self.root, self.originals, self.progress, self.most_bytes = root, originals, progress or Silent(), most_bytes
        self.hits = self.misses = 0
        self._index: dict[int, dict[str, _Slot]] = {}
        self._maps: dict[Path, np.memmap[Any, Any]] = {}
        self._pending: dict[int, dict[str, Pixels]] = {}
        self._waiting: dict[int, int] = {}
        self._lock = threading.Lock()

    def read(self, key: str, at_least: int) -> Pixels:
        """Return pixels whose shorter side has at least `at_least` pixels (or the original's, if smaller).

        What is not stored is decoded from the original and kept. Without originals the smallest stored class that is large
        enough serves, else the largest. Raises `PictureError` where there is nothing to read.
        """
        size = size_class(at_least)
        stored = self._stored(key, size)
        if stored is not None:
            with self._lock:
                self.hits += 1
            return stored
        if self.originals is not None:
            with self._lock:
                self.misses += 1
            pixels = load(self.originals(key), size).pixels
            self.add(key, size, pixels)
            return pixels
        have = sorted(int(folder.name) for folder in self.root.glob("[0-9]*") if folder.name.isdigit())
        for other in [*(s for s in have if s > size), *reversed([s for s in have if s < size])]:
            stored = self._stored(key, other)
            if stored is not None:
                return stored
        raise PictureError("not stored", f"no pixels of {key[:12]} are in the store; the same compare makes them again")

    def has(self, key: str, at_least: int) -> bool:
        """Tell whether pixels of this size class are stored or about to be."""
        size = size_class(at_least)
        return key in self._slots(size) or key in self._pending.get(size, {})

    def add(self, key: str, at_least: int, pixels: Pixels) -> None:
        """Keep pixels that were decoded for `at_least`; they are on disk when their shard is full or at `flush`."""
        size = size_class(at_least)
        pixels.flags.writeable = False  # like pixels from a map: what one contestant does to them must not reach the next
        with self._lock:
            self._pending.setdefault(size, {})[key] = pixels
            self._waiting[size] = self._waiting.get(size, 0) + pixels.nbytes
            full = self._waiting[size] >= SHARD_BYTES
        if full:
            self._write(size)

    def flush(self) -> None:
        """Write all that waits."""
        for size in list(self._pending):
            self._write(size)

    def prepare(self, keys: Sequence[str], at_least: int) -> None:
        """Decode what is missing of `keys`, in threads, with a progress bar. Unreadable pictures are left to `read` to report."""
        size = size_class(at_least)
        missing = [key for key in dict.fromkeys(keys) if not self.has(key, size)]
        if not missing or self.originals is None:
            self.flush()
            return
        with self.progress.bar(f"decode {size} px", len(missing)) as bar:
            for key, pixels in self._decoded(missing, size):
                if pixels is not None:
                    self.add(key, size, pixels)
                    self.misses += 1
                bar.advance()
        self.flush()

    def _decoded(self, keys: Sequence[str], size: int) -> Iterator[tuple[str, Pixels | None]]:
        originals = self.originals
        assert originals is not None

        def decode(key: str) -> Pixels | None:
            try:
                return load(originals(key), size).pixels
            except PictureError:
                return None

        yield from in_threads(decode, keys)

    def _stored(self, key: str, size: int) -> Pixels | None:
        waiting = self._pending.get(size, {}).get(key)
        if waiting is not None:
            return waiting
        slot = self._slots(size).get(key)
        if slot is None:
            return None
        with self._lock:
            mapped = self._maps.get(slot.shard)
            if mapped is None:
                if len(self._maps) >= MOST_MAPS:
                    del self._maps[next(iter(self._maps))]
                mapped = self._maps[slot.shard] = np.memmap(slot.shard, dtype=np.uint8, mode="r")
        height, width, channels = slot.shape
        return mapped[slot.start : slot.start + height * width * channels].reshape(slot.shape)

    def _slots(self, size: int) -> dict[str, _Slot]:
        with self._lock:
            if size not in self._index:
                self._index[size] = _indexed(self.root / str(size))
            return self._index[size]

    def _write(self, size: int) -> None:
        with self._lock:
            pending = self._pending.pop(size, {})
            self._waiting[size] = 0
        if not pending:
            return
        budget.require_room(self.root, sum(pixels.nbytes for pixels in pending.values()), self.most_bytes)
        shard = self.root / str(size) / f"{secrets.token_hex(8)}.safetensors"
        with writing(shard) as temporary:
            save_file({key: np.ascontiguousarray(pixels) for key, pixels in pending.items()}, temporary)
        slots = self._slots(size)
        with self._lock:
            slots.update(_slots_of(shard))


@dataclass(frozen=True)
class Spare:
    """Pixels of a store for one look, as a report takes it: what the store lacks comes from the original and is not kept."""

    store: Store
    originals: Originals | None = None

    def read(self, key: str, at_least: int) -> Pixels:
        """Return pixels as `Store.read` does; raises what it raised where the original is not to be had either."""
        try:
            return self.store.read(key, at_least)
        except (PictureError, OSError) as lacking:
            if self.originals is None:
                raise
            try:
                return load(self.originals(key), size_class(at_least)).pixels
            except PictureError:
                raise lacking from None

    def prepare(self, keys: Sequence[str], at_least: int) -> None:
        """Nothing to do: each picture is read when its turn comes."""


def _indexed(folder: Path) -> dict[str, _Slot]:
    """Return what the shards of a size class hold. A damaged shard goes: its pictures are decoded again."""
    sweep(folder)
    slots: dict[str, _Slot] = {}
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return slots
    for shard in (folder / name for name in names if name.endswith(".safetensors")):
        try:
            slots.update(_slots_of(shard))
        except (ValueError, KeyError, TypeError, IndexError):
            with contextlib.suppress(OSError):
                shard.unlink()
    return slots


def _slots_of(shard: Path) -> dict[str, _Slot]:
    """Read a safetensors header: eight bytes of length, then JSON with shapes and offsets. Raises `ValueError` for a cut shard."""
    with open(shard, "rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        length = int.from_bytes(stream.read(8), "little")
        if length > size:
            raise ValueError("the header is cut")
        header = json.loads(stream.read(length))
    entries = {key: entry for key, entry in header.items() if key != "__metadata__"}
    base = 8 + length
    if base + max(entry["data_offsets"][1] for entry in entries.values()) != size:
        raise ValueError("the pixels are cut")
    return {key: _Slot(shard, base + entry["data_offsets"][0], tuple(entry["shape"])) for key, entry in entries.items()}


def in_threads(
    work: Callable[[K], V], items: Iterable[K], threads: int | None = None, ahead: int | None = None
) -> Generator[tuple[K, V]]:
    """Yield ``(item, work(item))`` in order, computed by threads, with at most `ahead` results in flight.

    The threads end with the iterator: when it is exhausted or closed, and when `work` or the consumer raises.
    """
    workers = threads or cores()
    most = ahead or workers * _WINDOW
    with ThreadPoolExecutor(workers) as pool:
        flying: deque[tuple[K, Future[V]]] = deque()
        try:
            for item in items:
                flying.append((item, pool.submit(work, item)))
                if len(flying) >= most:
                    first, future = flying.popleft()
                    yield first, future.result()
            while flying:
                first, future = flying.popleft()
                yield first, future.result()
        finally:
            for _, future in flying:
                future.cancel()
