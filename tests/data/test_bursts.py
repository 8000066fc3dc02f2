"""Bursts: one scene, moments apart. Names and times say where to look, the look decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.pictures import scene

from fieldguide.data import images
from fieldguide.data.alike import Sketch, alike, sketch
from fieldguide.data.bursts import bursts


def shots(count: int, seed: int, moved: int = 3) -> list[Sketch | None]:
    """Photographs of one place: the camera moves a little, and so does a thing in front of it."""
    random = np.random.default_rng(seed)
    place, thing = scene(random, width=240, height=180), scene(random, width=48, height=48)
    taken = []
    for at in range(count):
        left, top = 20 + moved * at, 15 + moved * at // 2
        view = place[top : top + 130, left : left + 180].copy()
        view[40:88, 10 + 30 * at : 58 + 30 * at] = thing[:, : max(0, 180 - 10 - 30 * at)]
        taken.append(sketch(np.asarray(Image.fromarray(view).resize((88, 64), Image.Resampling.BICUBIC))))
    return taken


STRANGERS = [sketch(scene(np.random.default_rng(seed), width=88, height=64)) for seed in range(100, 112)]
NEVER: list[str | None] = [None] * 50


def test_consecutive_numbers_that_look_alike_are_one_burst() -> None:
    sketches = [*shots(3, 0), *STRANGERS[:3], *shots(3, 1)]
    names = [f"cat/IMG_{number:04d}.jpg" for number in range(8, 8 + len(sketches))]
    assert bursts(names, NEVER[: len(names)], sketches) == ((0, 1, 2), (6, 7, 8))
    assert alike(sketches) == (), "the scene is the same, the pictures are not: near duplicates would not have found them"


def test_numbers_alone_are_no_burst() -> None:
    names = [f"cat/{number:04d}.jpg" for number in range(len(STRANGERS))]
    assert bursts(names, NEVER[: len(names)], STRANGERS) == ()
    # Nor with the same sky: light and colour agree, and nothing in them does.
    random = np.random.default_rng(5)
    sky = np.asarray(Image.fromarray(scene(random, width=6, height=6)).resize((64, 64), Image.Resampling.BICUBIC))
    birds = random.normal(0, 32, (6, 32, 32, 1)).repeat(2, axis=1).repeat(2, axis=2)
    under = [sketch((sky + one).clip(0, 255).astype(np.uint8)) for one in birds]
    assert None not in under
    assert bursts(names[:6], NEVER[:6], under) == bursts(names[:6], ["2024:05:01 10:00:00"] * 6, under) == ()


def test_looks_without_numbers_or_times_are_no_burst() -> None:
    two = shots(2, 0)
    assert bursts(["cat/a.jpg", "cat/b.jpg"], NEVER[:2], two) == ()
    assert bursts(["cat/a1.jpg", "cat/b2.jpg"], NEVER[:2], two) == ()
    assert bursts(["cat/1.jpg", "cat/9.jpg"], NEVER[:2], two) == ()
    assert bursts(["cat/1.jpg", "dog/2.jpg"], NEVER[:2], two) == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cat/1.jpg", "cat/2.jpg"),
        ("cat/1.jpg", "cat/3.JPG"),
        ("cat/IMG_0099.jpg", "cat/IMG_0100.jpg"),
        ("cat/img_7 (copy).jpg", "cat/IMG_8 (copy).png"),
        ("train/cat/7.jpg", "test/cat/8.jpg"),
        ("train/cat/7.jpg", "test/cat/7.jpg"),
        ("cat/valid/7.jpg", "cat/train/8.jpg"),
    ],
)
def test_what_counts_as_consecutive(one: str, other: str) -> None:
    assert bursts([one, other], NEVER[:2], shots(2, 0)) == ((0, 1),)
    assert bursts([other, one], NEVER[:2], shots(2, 0)) == ((0, 1),)
    assert bursts([one, other], NEVER[:2], STRANGERS[:2]) == ()


def test_times_within_seconds_join_what_looks_alike_wherever_it_lies() -> None:
    sketches = [*shots(2, 0), *STRANGERS[:2], *shots(2, 1)]
    names = [f"{folder}/{name}.jpg" for folder, name in zip("abcdef", "qwerty", strict=True)]
    taken: list[str | None] = ["2024:05:01 10:00:00", "2024:05:01 10:00:03", "2024:05:01 10:00:03", "2024:05:01 10:00:04"]
    assert bursts(names, [*taken, "2024:05:01 10:05:00", "2024:05:01 10:05:20"], sketches) == ((0, 1),)
    assert bursts(names, [*taken, "2023:12:31 23:59:59", "2024:01:01 00:00:01"], sketches) == ((0, 1), (4, 5))


@pytest.mark.parametrize(
    "text", ["0000:00:00 00:00:00", "", "   ", "yesterday", "2024-05-01", "2024:13:01 10:00:00", "\0" * 19]
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert bursts(["a/x.jpg", "b/y.jpg"], [text, text], shots(2, 0)) == ()


def test_the_names_of_an_augmentation_service_need_no_look() -> None:
    names = [
        "train/smear-1_png.rf.6abdf26b50dab0f99c9288738cd320d1.jpg",
        "train/smear-1_png.rf.a1940646f3e26a8220d0d4465f019f22.jpg",
        "valid/smear-1_png.rf.ebe865b83bc204c3c882ca0285ec31dc.jpg",
        "train/smear-2_png.rf.72b625bcba3a14d0e3179c86119978c5.jpg",
        "train/smear-2_jpg.rf.97f1b307b1245b85699905b60441db05.png",
        "train/smear-1.jpg",
        "train/smear-1_png.rf.short.jpg",
    ]
    assert bursts(names, NEVER[:7], [None] * 7) == ((0, 1, 2), (3, 4))
    apart = [f"{folder}/1_jpg.rf.{'0' * 31}{at}.jpg" for at, folder in enumerate(("cat", "dog"))]
    assert bursts(apart, NEVER[:2], [None] * 2) == (), "two classes may both have a picture called 1.jpg"
    phone = [f"train/image_jpg.rf.{at:032x}.jpg" for at in range(40)]
    assert bursts(phone, NEVER[:40], [None] * 40) == (), "a name that everything bears says nothing"


def test_many_pictures_of_one_second_are_compared_with_few(monkeypatch: pytest.MonkeyPatch) -> None:
    from fieldguide.data import bursts as module

    compared: list[int] = []
    values = module.values
    monkeypatch.setattr(module, "values", lambda some: compared.append(len(some)) or values(some))
    one = shots(1, 0)[0]
    assert one is not None
    groups = bursts([f"{at}x/y.jpg" for at in range(300)], ["2024:05:01 10:00:00"] * 300, [one] * 300)
    assert groups == (tuple(range(300)),)
    assert sum(compared) <= 2 * 3 * 300


def test_the_order_of_the_pictures_does_not_matter() -> None:
    sketches = [*shots(4, 0), *STRANGERS[:4], *shots(3, 1)]
    names = [f"cat/{number}.jpg" for number in range(len(sketches))]
    expected = {frozenset(group) for group in bursts(names, NEVER[: len(names)], sketches)}
    assert expected == {frozenset(range(4)), frozenset((8, 9, 10))}
    order = np.random.default_rng(0).permutation(len(names))
    found = bursts([names[at] for at in order], NEVER[: len(names)], [sketches[at] for at in order])
    assert {frozenset(int(order[at]) for at in group) for group in found} == expected


def test_nothing_is_no_burst() -> None:
    assert bursts([], [], []) == ()
    assert bursts(["1.jpg", "2.jpg", ""], NEVER[:3], [None, STRANGERS[0], None]) == ()


@pytest.mark.realdata
def test_renumbered_bird_photos_are_no_bursts(data_root: Path) -> None:
    root = data_root / "cub100" / "images"
    paths = [path for folder in sorted(root.iterdir())[::8] for path in sorted(folder.glob("*.jpg"))]
    sketches = [sketch(images.load(path.read_bytes(), 64).pixels) for path in paths]
    assert len(paths) > 500
    found = bursts([path.relative_to(root).as_posix() for path in paths], [None] * len(paths), sketches)
    assert sum(map(len, found)) <= len(paths) // 100


@pytest.mark.realdata
def test_augmented_smears_are_together(data_root: Path) -> None:
    root = data_root / "blood_cells_coco"
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))
    found = bursts(names, [None] * len(names), [None] * len(names))
    assert [len(group) for group in found] == [3] * 70
