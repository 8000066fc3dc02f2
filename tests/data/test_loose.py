"""Loose files and the demo's digits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fieldguide.data import demo
from fieldguide.data.images import content_hash, load
from fieldguide.data.loose import CHANGED, Files, picture_files, read_original
from fieldguide.data.store import Store
from fieldguide.errors import PictureError, UsageProblem


def test_pixels_are_those_of_the_store(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(path)
    files = Files()
    [image] = files.images([path])
    assert image.key == content_hash(path.read_bytes())
    store = Store(tmp_path / "store", lambda key: path.read_bytes())
    for size in (20, 50, 200):
        assert np.array_equal(image.pixels(size), store.read(image.key, size))


def test_a_file_that_cannot_be_read_fails_when_its_turn_comes(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("no picture")
    images = list(Files().images([tmp_path / "gone.png", tmp_path / "b.txt"]))
    for image, code in zip(images, ("missing file", "not a picture"), strict=True):
        with pytest.raises(PictureError) as caught:
            image.pixels(32)
        assert caught.value.code == code


def test_a_file_that_changes_after_it_was_hashed_is_not_another_picture(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in "abc":
        Image.fromarray(random.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    files = Files()
    one, two = files.images([tmp_path / "a.png", tmp_path / "b.png"])
    want = load((tmp_path / "b.png").read_bytes(), 32).pixels
    (tmp_path / "a.png").write_bytes((tmp_path / "c.png").read_bytes())
    with pytest.raises(PictureError, match="no longer holds what it held") as caught:
        one.pixels(20)
    assert caught.value.code == CHANGED
    assert one.key[:12] in caught.value.detail
    assert str(tmp_path) not in caught.value.detail, "a family would see the path"
    assert np.array_equal(two.pixels(20), want)
    (tmp_path / "a.png").unlink()
    with pytest.raises(PictureError) as caught:
        one.pixels(20)
    assert caught.value.code == "missing file"


def test_a_copy_of_what_was_hashed_serves_as_well(tmp_path: Path) -> None:
    for name, content in (("a", b"one"), ("b", b"two"), ("c", b"one")):
        (tmp_path / name).write_bytes(content)
    places = [tmp_path / "gone", tmp_path / "b", tmp_path / "c"]
    assert read_original(content_hash(b"one"), places) == b"one"
    with pytest.raises(PictureError) as caught:
        read_original(content_hash(b"one"), ())
    assert caught.value.code == "missing file"


def test_two_files_that_fail_keep_their_own_reasons(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    images = list(Files().images([tmp_path / "gone.png", tmp_path / "folder", tmp_path / "gone too.png"]))
    assert len({image.key for image in images}) == 3
    for image, code in zip(images, ("missing file", "unreadable file", "missing file"), strict=True):
        with pytest.raises(PictureError) as caught:
            image.pixels(32)
        assert caught.value.code == code


def test_folders_that_cannot_be_opened_are_in_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The error is injected: a test that runs as root could open the folder whatever its mode.
    for name in ("a/1.png", "locked/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert picture_files([tmp_path]) == [tmp_path / "a/1.png", tmp_path / "locked"]


def test_links_are_listed_and_folders_behind_links_are_not_entered(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "dead.png").symlink_to("nowhere")
    (tmp_path / "a" / "twin.png").symlink_to("1.png")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    assert [path.name for path in picture_files([tmp_path])] == ["1.png", "dead.png", "twin.png"]


def test_folders_are_walked_and_hidden_files_left_out(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/.hidden/3.png", "a/1.png", "b/Thumbs.db", ".x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert picture_files([tmp_path]) == [tmp_path / "a/1.png", tmp_path / "b/2.png"]
    assert picture_files([tmp_path / ".x.png", str(tmp_path / "a")]) == [tmp_path / ".x.png", tmp_path / "a/1.png"]
    with pytest.raises(UsageProblem, match="no file or folder"):
        picture_files([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageProblem, match="No pictures"):
        picture_files([tmp_path / "empty"])


def test_the_demo_digits_are_whole_and_dark_on_white(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "digits"
    with monkeypatch.context() as patch:
        saved: list[Path] = []

        def dying(self: Image.Image, path: Path) -> None:
            saved.append(path)
            if len(saved) == 20:
                raise KeyboardInterrupt

        patch.setattr(Image.Image, "save", dying)
        with pytest.raises(KeyboardInterrupt):
            demo.write_digits(target)
    assert not target.exists()
    assert demo.write_digits(target) == target
    files = sorted(target.rglob("*.png"))
    assert len(files) == 1797
    assert {path.parent.name for path in files} == set("0123456789")
    pixels = np.asarray(Image.open(files[0]))
    assert pixels.shape == (8, 8)
    assert pixels[0, 0] == 255
    files[0].unlink()
    demo.write_digits(target)
    assert not files[0].exists(), "what is there is kept as it is"
