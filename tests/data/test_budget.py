"""The disk budget: what will be needed is known before, and nothing is begun that would fill the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.pictures import write_folder

import fieldguide
from fieldguide.data import budget
from fieldguide.data import store as stores
from fieldguide.data.budget import RESERVE_BYTES, amount, needed, require_room, sampled, stored
from fieldguide.data.images import content_hash
from fieldguide.data.store import Spare, Store
from fieldguide.errors import ENVIRONMENT, EnvironmentProblem, PictureError

SIZES = [(300, 200), (1600, 1200), (90, 70), (640, 640), (50, 900)]


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Pictures of many sizes, formats and directions."""
    found = []
    for at in range(40):
        width, height = SIZES[at % len(SIZES)]
        path = tmp_path / f"{at:02}.{('jpg', 'png', 'webp')[at % 3]}"
        exif = Image.Exif()
        exif[0x0112] = 6 if at % 2 else 1
        Image.fromarray(np.full((height, width, 3), at, np.uint8)).save(path, exif=exif)
        found.append(path)
    return found


def disk(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(budget, "free_bytes", lambda folder: free)


def test_what_is_needed_is_what_is_stored(tmp_path: Path, paths: list[Path]) -> None:
    by_key = {content_hash(path.read_bytes()): path for path in paths}
    store = Store(tmp_path / "store", lambda key: by_key[key].read_bytes())
    for size in (64, 192):
        store.prepare(list(by_key), size)
    dimensions = [SIZES[paths.index(path) % len(SIZES)] for path in by_key.values()]
    pixels = sum(store.read(key, size).nbytes for key in by_key for size in (64, 192))
    assert needed(dimensions, (64, 192, 64)) == pixels
    shards = [path.stat().st_size for path in (tmp_path / "store").rglob("*.safetensors")]
    assert stored(tmp_path / "store") == sum(shards)
    assert pixels < sum(shards) < 1.05 * pixels
    assert 0 < stored(tmp_path / "store", [64]) < stored(tmp_path / "store", [192, 192])
    assert stored(tmp_path / "nowhere") == stored(tmp_path / "store", [32]) == 0


def test_a_sample_of_headers_tells_it_beforehand(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    exact = needed([SIZES[at % len(SIZES)] for at in range(40)], [64, 192])
    assert sampled(paths, [64, 192]) == exact
    monkeypatch.setattr(budget, "SAMPLE", 13)
    assert sampled(paths, [64, 192]) == pytest.approx(exact, rel=0.2)
    opened = []
    monkeypatch.setattr(budget, "_header", lambda path: opened.append(path) or (640, 480))
    sampled(paths * 50, [64])
    assert len(opened) <= 2 * 13
    assert sampled([], [64]) == 0


def test_headers_are_read_without_decoding_and_without_stumbling(tmp_path: Path, paths: list[Path]) -> None:
    whole = paths[0].read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "drawing.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n")
    assert budget._header(tmp_path / "cut.jpg") == (300, 200)
    for name in ("empty.jpg", "drawing.jpg", "missing.jpg"):
        assert budget._header(tmp_path / name) is None
    # What cannot be read stands for a photograph of usual size.
    assert sampled([tmp_path / "empty.jpg"] * 3, [192]) == 3 * 3 * 192 * 256


def test_what_does_not_fit_is_refused_in_three_breaths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, 2_000_000_000)
    require_room(tmp_path / "store", 2_000_000_000 - RESERVE_BYTES)
    with pytest.raises(EnvironmentProblem) as caught:
        require_room(tmp_path / "store", 2_000_000_001 - RESERVE_BYTES)
    assert "needs about 1.7 GB at" in caught.value.given
    assert "2.0 GB are free" in caught.value.given
    assert "256 MB" in caught.value.allowed
    assert "fieldguide clean" in caught.value.next
    require_room(tmp_path / "store", 0)
    disk(monkeypatch, 0)
    require_room(tmp_path / "store", 0)
    require_room(tmp_path / "store", -5)


def test_a_budget_counts_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "64").mkdir()
    (tmp_path / "64" / "one.safetensors").write_bytes(b"x" * 3000)
    require_room(tmp_path, 2000, 5000)
    with pytest.raises(EnvironmentProblem) as caught:
        require_room(tmp_path, 2001, 5000)
    assert "store_gb = 5e-06" in caught.value.given
    assert "Raise --store-gb" in caught.value.next


def test_amounts() -> None:
    assert [amount(count) for count in (0, 999_000_000, 1_000_000_000, 3_140_000_000)] == ["0 MB", "999 MB", "1.0 GB", "3.1 GB"]


def test_no_shard_is_begun_that_would_fill_the_disk(tmp_path: Path, paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    by_key = {content_hash(path.read_bytes()): path for path in paths}
    monkeypatch.setattr(stores, "SHARD_BYTES", 100_000)
    store = Store(tmp_path / "store", lambda key: by_key[key].read_bytes(), most_bytes=250_000)
    with pytest.raises(EnvironmentProblem, match="store_gb"):
        store.prepare(list(by_key), 192)
    assert 100_000 < stored(tmp_path / "store") <= 255_000
    disk(monkeypatch, RESERVE_BYTES + 50_000)
    full = Store(tmp_path / "other", lambda key: by_key[key].read_bytes())
    with pytest.raises(EnvironmentProblem, match="are free there"):
        full.prepare(list(by_key), 192)
    assert not list((tmp_path / "other").rglob("*.*"))
    disk(monkeypatch, 10**12)
    full.prepare(list(by_key), 192)
    assert all(full.has(key, 192) for key in by_key)


def test_spare_pixels_are_not_kept(tmp_path: Path, paths: list[Path]) -> None:
    by_key = {content_hash(path.read_bytes()): path for path in paths[:4]}
    first, second, *_ = by_key

    def original(key: str) -> bytes:
        if key == "gone":
            raise PictureError("missing file", "gone")
        return by_key[key].read_bytes()

    store = Store(tmp_path / "store", original)
    store.prepare([first], 64)
    spare = Spare(Store(tmp_path / "store"), original)
    assert np.array_equal(spare.read(first, 60), store.read(first, 64))
    assert min(spare.read(second, 60).shape[:2]) == 64
    assert not Store(tmp_path / "store").has(second, 64)
    for reader in (spare, Spare(Store(tmp_path / "store"))):
        with pytest.raises(PictureError, match="not stored"):
            reader.read("gone", 64)


WORDS = ("majority", "linear:image_size=8,strengths=0.1,as=pixels")


def test_a_study_that_would_not_fit_is_refused_before_it_decodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = write_folder(tmp_path / "photos")
    disk(monkeypatch, RESERVE_BYTES + 10_000)
    with pytest.raises(EnvironmentProblem, match="The store needs about") as caught:
        fieldguide.compare(photos, WORDS, out=tmp_path / "s")
    assert caught.value.code == ENVIRONMENT
    assert not (tmp_path / "s").exists()
    disk(monkeypatch, RESERVE_BYTES + 10**9)
    fieldguide.compare(photos, WORDS, out=tmp_path / "s")
    disk(monkeypatch, 0)
    # What is there already needs no room: the same call goes on.
    assert set(fieldguide.compare(photos, WORDS, out=tmp_path / "s").outcomes.values()) == {"reused"}


def test_a_contestant_that_needs_more_than_is_free_is_refused_by_what_the_list_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = write_folder(tmp_path / "photos")
    fieldguide.compare(photos, ["majority"], out=tmp_path / "s")
    disk(monkeypatch, RESERVE_BYTES + 10_000)
    before = sorted(tmp_path.rglob("*.safetensors"))
    with pytest.raises(EnvironmentProblem, match="The store needs about"):
        fieldguide.compare(photos, WORDS, out=tmp_path / "s")
    assert sorted(tmp_path.rglob("*.safetensors")) == before


def test_a_budget_changes_no_number(tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos")
    with pytest.raises(EnvironmentProblem, match="store_gb = 1e-05 allows"):
        fieldguide.compare(photos, WORDS, out=tmp_path / "tight", store_gb=0.00001)
    free = fieldguide.compare(photos, WORDS, out=tmp_path / "free")
    bound = fieldguide.compare(photos, WORDS, out=tmp_path / "bound", store_gb=1)
    assert (bound.comparison, bound.manifest.hash) == (free.comparison, free.manifest.hash)
    assert stored(tmp_path / "bound" / "store") < 10**9
    # The budget belongs to a call and not to the list: the same study goes on under another one.
    assert set(fieldguide.compare(photos, WORDS, out=tmp_path / "bound", store_gb=2).outcomes.values()) == {"reused"}
