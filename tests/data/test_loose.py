"""Loose files and the demo's digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fieldguide.data import demo
from fieldguide.data.images import content_hash
from fieldguide.data.loose import Files, picture_files
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
