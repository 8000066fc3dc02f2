"""The store: decoded once, read back as decoded, whole or absent, bounded."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from fieldguide.data import store as module
from fieldguide.data.images import content_hash, load
from fieldguide.data.store import SIZES, Store, in_threads, size_class
from fieldguide.errors import PictureError, UsageProblem
from fieldguide.files import UNFINISHED


class Shelf:
    """Files by content hash, and how often each was opened."""

    def __init__(self, count: int = 6, size: tuple[int, int] = (90, 70)) -> None:
        self.files: dict[str, bytes] = {}
        self.opened: Counter[str] = Counter()
        for at in range(count):
            stream = io.BytesIO()
            noise = np.random.default_rng(at).integers(0, 256, (size[1], size[0] + at, 3), dtype=np.uint8)
            Pillow.fromarray(noise).save(stream, "PNG")
            self.files[content_hash(stream.getvalue())] = stream.getvalue()

    @property
    def keys(self) -> list[str]:
        return list(self.files)

    def __call__(self, key: str) -> bytes:
        self.opened[key] += 1
        if key not in self.files:
            raise PictureError("missing", "the file is gone")
        return self.files[key]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def test_size_classes() -> None:
    assert [size_class(asked) for asked in (1, 32, 33, 224, 256, 257, 2048)] == [32, 32, 64, 256, 256, 320, 2048]
    assert list(SIZES) == sorted(set(SIZES))
    with pytest.raises(UsageProblem) as caught:
        size_class(2049)
    assert "2048" in caught.value.allowed


def test_every_picture_is_decoded_once_and_read_as_loaded(tmp_path: Path, shelf: Shelf) -> None:
    store = Store(tmp_path, shelf)
    store.prepare(shelf.keys * 2, 60)
    assert set(shelf.opened.values()) == {1}
    assert (store.hits, store.misses) == (0, 6)
    for _ in range(2):
        for key in shelf.keys:
            for asked in (33, 60, 64):
                assert np.array_equal(store.read(key, asked), load(shelf.files[key], 64).pixels)
    assert set(shelf.opened.values()) == {1}
    assert (store.hits, store.misses) == (36, 6)
    store.prepare(shelf.keys, 64)
    assert set(shelf.opened.values()) == {1}


def test_another_size_class_is_decoded_from_the_original(tmp_path: Path, shelf: Shelf) -> None:
    store = Store(tmp_path, shelf)
    store.prepare(shelf.keys, 64)
    small = store.read(shelf.keys[0], 20)
    assert np.array_equal(small, load(shelf.files[shelf.keys[0]], 32).pixels)
    assert min(small.shape[:2]) == 32
    assert shelf.opened[shelf.keys[0]] == 2
    assert min(store.read(shelf.keys[0], 300).shape[:2]) == 70, "nothing is upscaled"


def test_it_survives_reopening_without_originals(tmp_path: Path, shelf: Shelf) -> None:
    first = Store(tmp_path, shelf)
    first.read(shelf.keys[0], 64)
    first.flush()
    again = Store(tmp_path)
    assert again.has(shelf.keys[0], 64)
    assert not again.has(shelf.keys[1], 64)
    assert not again.has(shelf.keys[0], 32)
    assert np.array_equal(again.read(shelf.keys[0], 64), load(shelf.files[shelf.keys[0]], 64).pixels)
    assert (again.hits, again.misses) == (1, 0)
    with pytest.raises(PictureError, match="not stored"):
        again.read(shelf.keys[1], 64)


def test_without_originals_the_next_larger_class_serves_then_the_largest_smaller(tmp_path: Path, shelf: Shelf) -> None:
    builder, key = Store(tmp_path, shelf), shelf.keys[0]
    for size in (32, 64):
        builder.prepare([key], size)
    assert min(Store(tmp_path).read(key, 20).shape[:2]) == 32
    assert min(Store(tmp_path).read(key, 33).shape[:2]) == 64
    assert min(Store(tmp_path).read(key, 500).shape[:2]) == 64


def test_pixels_cannot_be_written_to(tmp_path: Path, shelf: Shelf) -> None:
    """A contestant that draws on its pictures would change those of the next."""
    store, key = Store(tmp_path, shelf), shelf.keys[0]
    fresh, waiting = store.read(key, 64), store.read(key, 64)
    store.flush()
    mapped = Store(tmp_path).read(key, 64)
    for pixels in (fresh, waiting, mapped):
        with pytest.raises(ValueError, match="read-only"):
            pixels[:] = 0


def test_what_a_kill_left_is_swept_and_built_again(tmp_path: Path, shelf: Shelf) -> None:
    folder = tmp_path / "64"
    folder.mkdir()
    torn = folder / f"{UNFINISHED}12ab-0123.safetensors"
    torn.write_bytes(b"\x40\0\0\0\0\0\0\0{half a header")
    store = Store(tmp_path, shelf)
    store.prepare(shelf.keys, 64)
    assert not torn.exists()
    assert [path.suffix for path in folder.iterdir()] == [".safetensors"]
    assert all(Store(tmp_path).has(key, 64) for key in shelf.keys)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:100], lambda data: b"", lambda data: b"\xff" * 99]
)
def test_a_damaged_shard_is_built_again(tmp_path: Path, shelf: Shelf, damage: Callable[[bytes], bytes]) -> None:
    Store(tmp_path, shelf).prepare(shelf.keys, 64)
    (shard,) = (tmp_path / "64").iterdir()
    shard.write_bytes(damage(shard.read_bytes()))
    store = Store(tmp_path, shelf)
    store.prepare(shelf.keys, 64)
    for key in shelf.keys:
        assert np.array_equal(store.read(key, 64), load(shelf.files[key], 64).pixels)
    assert not shard.exists() and len(list((tmp_path / "64").iterdir())) == 1


def test_a_killed_build_loses_at_most_one_shard(tmp_path: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    one = load(shelf.files[shelf.keys[0]], 64).pixels.nbytes
    monkeypatch.setattr(module, "SHARD_BYTES", 2 * one)

    def dying(key: str) -> bytes:
        if key == shelf.keys[5]:
            raise KeyboardInterrupt
        return shelf(key)

    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path, dying).prepare(shelf.keys, 64)
    kept = [key for key in shelf.keys if Store(tmp_path).has(key, 64)]
    assert not list(tmp_path.rglob(f"{UNFINISHED}*"))
    shelf.opened.clear()
    Store(tmp_path, shelf).prepare(shelf.keys, 64)
    assert sorted(shelf.opened) == sorted(set(shelf.keys) - set(kept))


def test_shards_and_what_waits_for_them_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(40, (40, 40))
    one = 40 * 79 * 3
    monkeypatch.setattr(module, "SHARD_BYTES", 5 * one)
    store, most = Store(tmp_path, shelf), 0
    add = store.add

    def watched(key: str, at_least: int, pixels: np.ndarray) -> None:
        nonlocal most
        add(key, at_least, pixels)
        most = max(most, sum(waiting.nbytes for waiting in store._pending.get(64, {}).values()))

    monkeypatch.setattr(store, "add", watched)
    store.prepare(shelf.keys, 64)
    assert 0 < most < 5 * one
    assert not store._pending
    shards = list((tmp_path / "64").glob("*.safetensors"))
    assert len(shards) > 4
    assert max(path.stat().st_size for path in shards) < 6 * one + 4096
    assert all(np.array_equal(store.read(key, 64), load(shelf.files[key], 64).pixels) for key in shelf.keys)


def test_few_shards_are_mapped_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(12)
    monkeypatch.setattr(module, "SHARD_BYTES", 1)
    monkeypatch.setattr(module, "MOST_MAPS", 3)
    store = Store(tmp_path, shelf)
    store.prepare(shelf.keys, 64)
    held = [store.read(key, 64) for key in shelf.keys]
    assert len(store._maps) == 3
    assert all(np.array_equal(pixels, load(shelf.files[key], 64).pixels) for key, pixels in zip(shelf.keys, held, strict=True))


def test_a_picture_that_fails_says_so_when_it_is_read(tmp_path: Path, shelf: Shelf) -> None:
    broken = content_hash(b"no picture")
    shelf.files[broken] = b"no picture"
    store = Store(tmp_path, shelf)
    store.prepare([*shelf.keys, "gone"], 64)
    assert store.misses == 6
    for key, code in ((broken, "not a picture"), ("gone", "missing")):
        with pytest.raises(PictureError) as caught:
            store.read(key, 64)
        assert caught.value.code == code


def test_progress_counts_what_is_decoded(tmp_path: Path, shelf: Shelf) -> None:
    from contextlib import contextmanager

    bars: list[list[object]] = []

    class Counting:
        @contextmanager
        def bar(self, what: str, total: int):  # type: ignore[no-untyped-def]
            bars.append([what, total, 0])

            class Bar:
                def advance(self, steps: int = 1, note: str = "") -> None:
                    bars[-1][2] += steps  # type: ignore[operator]

            yield Bar()

    store = Store(tmp_path, shelf, Counting())
    store.prepare(shelf.keys, 50)
    store.prepare(shelf.keys, 50)
    assert bars == [["decode 64 px", 6, 6]]


def test_threads_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(24, (40, 36))
    monkeypatch.setattr(module, "SHARD_BYTES", 30_000)
    store, expected = Store(tmp_path, shelf), {key: load(data, 32).pixels for key, data in shelf.files.items()}
    together = threading.Barrier(8)

    def read_all(seed: int) -> bool:
        together.wait(30)
        order = np.random.default_rng(seed).permutation(shelf.keys)
        return all(np.array_equal(store.read(str(key), 32), expected[str(key)]) for key in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read_all, range(8)))
    assert store.hits + store.misses == 8 * 24
    store.flush()
    again = Store(tmp_path)
    assert all(np.array_equal(again.read(key, 32), pixels) for key, pixels in expected.items())


def test_in_threads_keeps_order_and_a_bounded_number_in_flight() -> None:
    started, taken, most = 0, 0, 0
    lock = threading.Lock()

    def work(number: int) -> int:
        nonlocal started, most
        with lock:
            started += 1
            most = max(most, started - taken)
        return number * number

    found = []
    for item, result in in_threads(work, range(100), threads=2):
        with lock:
            taken += 1
        found.append((item, result))
    assert found == [(number, number * number) for number in range(100)]
    assert most <= 2 * module._WINDOW + 1


def test_in_threads_goes_no_further_ahead_than_it_may() -> None:
    started = 0
    lock = threading.Lock()

    def work(number: int) -> int:
        nonlocal started
        with lock:
            started += 1
        return number

    found = in_threads(work, range(50), threads=8, ahead=3)
    for taken, (item, _) in enumerate(found):
        assert item == taken
        with lock:
            assert started <= taken + 3
    assert started == 50


@pytest.mark.parametrize("at", [0, 50])
def test_in_threads_hands_on_what_work_raises(at: int) -> None:
    def work(number: int) -> int:
        if number == at:
            raise PictureError("truncated", "here")
        return number

    with pytest.raises(PictureError):
        list(in_threads(work, range(100), threads=2))
