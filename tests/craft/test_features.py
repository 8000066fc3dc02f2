"""Features are those of a fresh pass, made once, whatever was killed, damaged, doubled or too large for its format in between."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings, strategies
from torch import Tensor

from fieldguide.bench import Silent
from fieldguide.craft import features
from fieldguide.craft.features import Features
from fieldguide.data.batches import Preprocessing
from fieldguide.errors import DataProblem, EnvironmentProblem, PictureError
from fieldguide.records import Image

Made = Callable[[Sequence[Any]], list[Image]]


@dataclass
class Reads:
    """Letters counted, turned and stretched; it notes every line it was asked for."""

    width: int = 12
    scale: float = 1.0
    key: str = "reads"
    context: int | None = None
    parameters: int = 0
    asked: list[str] = field(default_factory=list)
    fails_after: int | None = None

    def texts(self, lines: Sequence[str]) -> Tensor:
        self.asked += lines
        if self.fails_after is not None and len(self.asked) > self.fails_after:
            raise KeyboardInterrupt
        rows = [[np.sin(at + len(line) + sum(map(ord, line)) * (at + 1)) for at in range(self.width)] for line in lines]
        return torch.tensor(np.array(rows).reshape(-1, self.width) * self.scale).float()

    def tokens(self, lines: Sequence[str]) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def counted(self, lines: Sequence[str]) -> list[int]:
        return [len(line) for line in lines]


@dataclass
class Sees:
    key: str = "sees"
    preprocessing: Preprocessing = field(default_factory=lambda: Preprocessing(4))
    width: int = 3
    parameters: int = 0
    seen: int = 0

    def pictures(self, pixels: Tensor) -> Tensor:
        self.seen += len(pixels)
        return pixels.mean(dim=(2, 3))

    def save(self, folder: Path) -> None:
        raise NotImplementedError


def store(path: Path) -> Features:
    return Features(path, Silent())


def close(found: Any, lines: Sequence[str], reads: Reads) -> bool:
    wanted = Reads(reads.width, reads.scale).texts(lines).numpy()
    return (
        found.dtype == np.float32 and found.shape == wanted.shape and bool(np.allclose(found, wanted, atol=2e-3 * reads.scale))
    )


@settings(max_examples=6)
@given(asked=strategies.lists(strategies.lists(strategies.text(max_size=9), max_size=12), min_size=1, max_size=4))
def test_lines_are_those_of_a_fresh_pass_and_are_read_once(
    tmp_path_factory: pytest.TempPathFactory, asked: list[list[str]]
) -> None:
    path, reads = tmp_path_factory.mktemp("store"), Reads()
    for lines in asked:
        first = store(path).texts(reads, lines)
        assert close(first, lines, reads)
        assert np.array_equal(store(path).texts(reads, lines), first)
    assert sorted(reads.asked) == sorted({line for lines in asked for line in lines})


def test_pictures_are_those_of_a_fresh_pass(tmp_path: Path, held: Made) -> None:
    random, sees = np.random.default_rng(0), Sees()
    images = held([random.integers(0, 256, (6, 4, 3), dtype=np.uint8) for _ in range(150)])
    found = store(tmp_path).pictures(sees, [*images[100:], *images, images[3]])
    assert sees.seen == 150 and found.shape == (201, 3)
    assert np.array_equal(found[50:200], store(tmp_path).pictures(sees, images)) and np.array_equal(found[200], found[53])
    assert np.array_equal(found[50:200], store(tmp_path / "other").pictures(Sees(), images)) and sees.seen == 150
    (place,) = (path for path in tmp_path.iterdir() if path.name != "other")
    assert features.described(place)["kind"] == "pictures"
    assert store(tmp_path).pictures(sees, []).shape == (0, 3) and store(tmp_path).texts(Reads(), []).shape == (0, 12)


def test_a_picture_that_cannot_be_read_costs_no_other(tmp_path: Path, held: Made) -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    images, sees = held([*[pixels] * 130, None]), Sees()
    with pytest.raises(PictureError, match="lost"):
        store(tmp_path).pictures(sees, images)
    assert sees.seen == 128
    store(tmp_path).pictures(sees, images[:128])
    assert sees.seen == 128


def test_what_was_read_before_a_stop_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_LINES", 10)
    monkeypatch.setattr(features, "PART", 20)
    lines, reads = [f"line {at}" for at in range(100)], Reads(fails_after=55)
    with pytest.raises(KeyboardInterrupt):
        store(tmp_path).texts(reads, lines)
    again = Reads()
    assert close(store(tmp_path).texts(again, lines), lines, again) and len(again.asked) == 50


@pytest.mark.parametrize("kept", ["table first", "rows alone"])
def test_a_kill_between_the_two_files_of_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str) -> None:
    lines, reads = ["one", "two", "three"], Reads()
    store(tmp_path).texts(reads, lines)
    for path in tmp_path.rglob("*.npy" if kept == "table first" else "*.parquet"):
        path.unlink()
    assert close(store(tmp_path).texts(reads, lines), lines, reads) and len(reads.asked) == 6
    assert len(list(tmp_path.rglob("*.npy"))) == len(list(tmp_path.rglob("*.parquet"))) == 1


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".json"])
@pytest.mark.parametrize("damage", [_cut, _flipped, lambda path: path.write_bytes(b"")])
def test_what_is_damaged_is_made_again(tmp_path: Path, damage: Any, suffix: str) -> None:
    lines, reads = [f"line {at}" for at in range(40)], Reads()
    store(tmp_path).texts(reads, lines)
    (path,) = tmp_path.rglob(f"*{suffix}")
    damage(path)
    assert close(store(tmp_path).texts(reads, lines), lines, reads)
    store(tmp_path).texts(reads, [*lines, "another"])
    store(tmp_path).texts(reads, lines)
    (place,) = tmp_path.iterdir()
    assert features.described(place)["encoder"] == "reads" and len(reads.asked) in (41, 81)


def test_features_of_another_encoder_are_not_mixed(tmp_path: Path) -> None:
    one, other = Reads(), Reads(width=5, key="other")
    assert store(tmp_path).texts(one, ["a"]).shape == (1, 12) and store(tmp_path).texts(other, ["a"]).shape == (1, 5)
    assert store(tmp_path).texts(Reads(width=7), ["a"]).shape == (
        1,
        7,
    )  # a key that lies: rows of another width are no rows of it


@pytest.mark.parametrize("scale, dtype", [(1.0, "float16"), (1e5, "float32"), (1e-9, "float32"), (1e4, "float16")])
def test_numbers_beyond_float16_stay_in_float32(tmp_path: Path, scale: float, dtype: str) -> None:
    reads, lines = Reads(scale=scale), ["one", "two"]
    assert close(store(tmp_path).texts(reads, lines), lines, reads) and close(store(tmp_path).texts(reads, lines), lines, reads)
    (path,) = tmp_path.rglob("*.npy")
    assert np.load(path).dtype == dtype


def test_what_is_no_number_is_told_and_not_kept(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match="no finite numbers"):
        store(tmp_path).texts(Reads(scale=float("nan")), ["one"])
    assert not list(tmp_path.rglob("*.npy"))


def test_a_full_disk_is_told_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldguide.data.budget.free_bytes", lambda _: 100)
    reads = Reads()
    with pytest.raises(EnvironmentProblem, match="free there"):
        store(tmp_path).texts(reads, ["one"])
    assert not reads.asked


def _slow(path: Path, queue: Any) -> None:
    reads = Reads()
    time.sleep(0.05)
    found = Features(path, Silent()).texts(reads, [f"line {at}" for at in range(300)])
    queue.put((len(reads.asked), float(found.sum())))


def test_two_processes_read_each_line_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_slow, args=(tmp_path, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(read for read, _ in found) == [0, 0, 300] and len({total for _, total in found}) == 1


def test_where_a_disk_knows_no_locks_the_same_is_written_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("filelock.FileLock.acquire", refused)
    reads = Reads()
    assert close(store(tmp_path).texts(reads, ["one", "two"]), ["one", "two"], reads)


def test_ten_thousand_rows_are_read_in_no_time(tmp_path: Path) -> None:
    random, reads = np.random.default_rng(0), Reads(width=512)
    lines = [str(at) for at in range(10_000)]
    rows = torch.from_numpy(random.standard_normal((10_000, 512), dtype=np.float32))
    order = iter(range(10_000))
    reads.texts = lambda part: rows[[next(order) for _ in part]]  # type: ignore[method-assign]
    store(tmp_path).texts(reads, lines)
    seconds = []
    for _ in range(4):
        start = time.process_time()
        store(tmp_path).texts(reads, lines)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.2
    assert len(list(tmp_path.rglob("*.parquet"))) == 10
    assert pq.read_table(next(tmp_path.rglob("*.parquet"))).column_names == ["name", "seconds"]
