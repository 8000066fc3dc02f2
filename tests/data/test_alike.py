"""Near duplicates: found whatever was done to them, strangers left alone, and never more work than the number of pictures asks for."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from sklearn.datasets import load_digits
from tests.pictures import scene, stripes

from fieldguide.data import alike as module
from fieldguide.data import images
from fieldguide.data.alike import SAME, Groups, Pair, Sketch, alike, sketch

Picture = Image.Image
LOOK = 64


def scenes(count: int, seed: int = 0, width: int = 200, height: int = 150) -> list[Picture]:
    random = np.random.default_rng(seed)
    return [Image.fromarray(scene(random, width=width, height=height)) for _ in range(count)]


def looked(picture: Picture, at_least: int = LOOK, kind: str = "PNG", **how: int) -> Sketch | None:
    """Return the sketch of a picture after it was a file."""
    stream = io.BytesIO()
    picture.save(stream, kind, **how)
    return sketch(images.load(stream.getvalue(), at_least).pixels)


def cropped(picture: Picture, area: float, x: float, y: float) -> Picture:
    """Keep a part of the area; `x` and `y` (0 to 1) say from where."""
    width, height = round(picture.width * area**0.5), round(picture.height * area**0.5)
    left, top = round((picture.width - width) * x), round((picture.height - height) * y)
    return picture.crop((left, top, left + width, top + height))


def resized(picture: Picture, factor: float) -> Picture:
    return picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.LANCZOS)


def tilted(picture: Picture, degrees: float) -> Picture:
    return cropped(picture.rotate(degrees, Image.Resampling.BICUBIC), 0.85, 0.5, 0.5)


def darker(picture: Picture) -> Picture:
    return ImageEnhance.Contrast(ImageEnhance.Brightness(picture).enhance(0.85)).enhance(0.9)


Turn = Image.Transpose
CHANGES: dict[str, tuple[Callable[[Picture], Sketch | None], str]] = {
    "smaller": (lambda it: looked(resized(it, 0.3)), "same picture"),
    "larger": (lambda it: looked(resized(it, 1.6)), "same picture"),
    "jpeg 20": (lambda it: looked(it, kind="JPEG", quality=20), "same picture"),
    "webp 40": (lambda it: looked(it, kind="WEBP", quality=40), "same picture"),
    "gif": (lambda it: looked(it, kind="GIF"), "same picture"),
    "turned 90": (lambda it: looked(it.transpose(Turn.ROTATE_90)), "turned"),
    "turned 180": (lambda it: looked(it.transpose(Turn.ROTATE_180)), "turned"),
    "turned 270": (lambda it: looked(it.transpose(Turn.ROTATE_270)), "turned"),
    "left to right": (lambda it: looked(it.transpose(Turn.FLIP_LEFT_RIGHT)), "mirrored"),
    "upside down": (lambda it: looked(it.transpose(Turn.FLIP_TOP_BOTTOM)), "mirrored"),
    "transposed": (lambda it: looked(it.transpose(Turn.TRANSPOSE)), "turned and mirrored"),
    "cropped in the middle": (lambda it: looked(cropped(it, 0.85, 0.5, 0.5)), "cropped"),
    "cropped at a corner": (lambda it: looked(cropped(it, 0.92, 0.0, 1.0)), "cropped"),
    "darker": (lambda it: looked(darker(it)), "same picture"),
    "tilted": (lambda it: looked(tilted(it, 2.5)), "tilted and cropped"),
    "all at once": (
        lambda it: looked(darker(cropped(resized(it.transpose(Turn.ROTATE_90), 0.6), 0.9, 1, 0)), kind="JPEG", quality=50),
        "turned and cropped",
    ),
}


@pytest.fixture(scope="module")
def strangers() -> list[Sketch | None]:
    return [looked(it) for it in scenes(120, seed=1)]


@pytest.fixture(scope="module")
def originals() -> list[Picture]:
    return scenes(10, seed=2)


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_done_to_a_picture_is_found_and_named(
    change: str, originals: list[Picture], strangers: list[Sketch | None]
) -> None:
    do, how = CHANGES[change]
    before, after = [looked(it) for it in originals], [do(it) for it in originals]
    pairs = alike([*before, *strangers, *after])
    expected = {(at, at + len(before) + len(strangers)) for at in range(len(before))}
    assert {(pair.a, pair.b) for pair in pairs} <= expected, "a stranger was called a copy"
    assert len(pairs) >= 9, f"{len(pairs)} of 10 found"
    assert sum(pair.how == how for pair in pairs) >= len(pairs) - 1, [pair.how for pair in pairs]
    assert all(SAME <= pair.score <= 1.0001 for pair in pairs)


def test_strangers_are_left_alone(strangers: list[Sketch | None]) -> None:
    assert None not in strangers
    assert alike(strangers) == ()
    random = np.random.default_rng(3)
    assert alike([sketch(stripes(at % 3, random, size=64)) for at in range(200)]) == ()


def test_copies_give_as_many_pairs_as_join_them(strangers: list[Sketch | None]) -> None:
    one = strangers[5]
    pairs = alike([*strangers[:20], *[one] * 3])
    assert pairs == tuple(Pair(5, at, "same picture", 1.0) for at in (20, 21, 22))


def test_the_order_of_the_pictures_does_not_matter(originals: list[Picture], strangers: list[Sketch | None]) -> None:
    changed = [do(it) for it in originals[:5] for do, _ in CHANGES.values()]
    sketches = [*[looked(it) for it in originals], *strangers, None, *changed]

    def found(order: np.ndarray) -> set[tuple[frozenset[int], str, float]]:
        pairs = alike([sketches[at] for at in order])
        assert all(pair.a < pair.b for pair in pairs) and list(pairs) == sorted(pairs)
        return {(frozenset((int(order[pair.a]), int(order[pair.b]))), pair.how, pair.score) for pair in pairs}

    expected = found(np.arange(len(sketches)))
    assert len(expected) >= 60
    for seed in range(3):
        assert found(np.random.default_rng(seed).permutation(len(sketches))) == expected


def test_a_sketch_hardly_depends_on_the_size_that_was_decoded() -> None:
    random = np.random.default_rng(0)
    for clean in scenes(6, seed=2, width=800, height=600):
        picture = Image.fromarray((np.asarray(clean) + random.normal(0, 60, (600, 800, 1))).clip(0, 255).astype(np.uint8))
        small, other = looked(picture, 64, "JPEG", quality=90), looked(picture, 256, "JPEG", quality=90)
        assert small is not None and other is not None
        assert np.corrcoef(small.gray.ravel(), other.gray.ravel())[0, 1] > 0.99
        (pair,) = alike([small, other])
        assert (pair.how, pair.score > 0.95) == ("same picture", True)


def test_a_sketch_is_small(originals: list[Picture]) -> None:
    one = looked(originals[0], 256)
    assert one is not None
    assert one.gray.nbytes + one.tint.nbytes <= 1700
    assert one.gray.base is None and one.tint.base is None, "a view would keep the whole picture in memory"


def test_what_cannot_be_told_apart_has_no_sketch() -> None:
    random = np.random.default_rng(0)
    blank = np.full((64, 80, 3), 250, np.uint8)
    assert sketch(blank) is None
    assert sketch((blank - random.integers(0, 4, blank.shape)).astype(np.uint8)) is None, "the noise of a scanner is no detail"
    specks = blank.copy()
    specks[30:33, 20:26] = 60
    assert sketch(specks) is None
    slope = np.broadcast_to(np.linspace(0, 255, 80).astype(np.uint8)[None, :, None], blank.shape)
    assert sketch(np.ascontiguousarray(slope)) is None
    picture = scene(random, width=64, height=64)
    assert sketch(picture[:31]) is None and sketch(picture[:, :31]) is None
    assert sketch(picture[:32]) is not None


def test_digits_are_not_compared() -> None:
    for digit in load_digits().images[:50]:
        gray = Image.fromarray((digit * 15).astype(np.uint8)).convert("RGB")
        assert sketch(np.asarray(gray)) is None
        assert sketch(np.asarray(gray.resize((64, 64), Image.Resampling.BICUBIC))) is None


def test_one_form_with_other_contents_is_no_copy() -> None:
    """Forms agree in their strong frame, and over all they correlate; what is written in them, faintly, decides."""
    random = np.random.default_rng(4)
    form = scene(random, width=120, height=120)
    filled = []
    for _ in range(20):
        page = form.copy()
        page[14:106, 14:106] = 128 + 0.3 * (scene(random, width=92, height=92).astype(float) - 128)
        filled.append(sketch(page))
    assert alike(filled) == ()
    stamped = form.copy()
    stamped[100:108, 84:108] = 200
    assert len(alike([sketch(form), sketch(stamped)])) == 1


def test_what_is_pulled_askew_is_no_copy(originals: list[Picture]) -> None:
    """Shapes of one kind fit each other when they may be pulled askew; nobody saves a photograph like that."""
    for slant, copies in ((0.02, 10), (0.2, 0)):
        askew = [it.transform(it.size, Image.Transform.AFFINE, (1, slant, -slant * it.height / 2, 0, 1, 0)) for it in originals]
        inner = [cropped(it, 0.7, 0.5, 0.5) for it in askew]
        before = [cropped(it, 0.7, 0.5, 0.5) for it in originals]
        assert len(alike([looked(it) for it in (*before, *inner)])) == copies


def test_nothing_and_one_picture(strangers: list[Sketch | None]) -> None:
    assert alike([]) == alike([None, None]) == alike(strangers[:1]) == alike([None, strangers[0]]) == ()


def test_progress_is_told_to_the_end(strangers: list[Sketch | None]) -> None:
    steps: list[int] = []

    class Counting:
        def bar(self, what: str, total: int) -> Counting:
            assert what
            self.total = total
            return self

        def __enter__(self) -> Counting:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def advance(self, steps_: int = 1, note: str = "") -> None:
            steps.append(steps_)

    progress = Counting()
    alike(strangers, progress)
    assert sum(steps) == progress.total


def varied(base: Sketch, count: int, noise: float, seed: int) -> list[Sketch | None]:
    """Copies of one sketch under noise."""
    random = np.random.default_rng(seed)
    return [
        Sketch((base.gray + random.normal(0, noise, base.gray.shape)).clip(-127, 127).astype(np.int8), base.tint)
        for _ in range(count)
    ]


def test_many_copies_do_not_multiply_the_work(monkeypatch: pytest.MonkeyPatch, strangers: list[Sketch | None]) -> None:
    laid: list[int] = []
    overlay = module.overlay

    def counted(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        laid.append(len(one))
        return overlay(one, other)

    monkeypatch.setattr(module, "overlay", counted)
    assert strangers[0] is not None
    pairs = alike(varied(strangers[0], 600, 2, 0))
    groups = Groups(600)
    for pair in pairs:
        groups.join(pair.a, pair.b)
    assert len(groups.several()[0]) >= 590
    assert len(pairs) < 600, "as many as join them"
    assert sum(laid) < 1200
    laid.clear()
    # A crowd that agrees in all that is coarse and in nothing that is fine.
    random = np.random.default_rng(5)
    coarse = Image.fromarray(scene(random, width=6, height=6)).resize((64, 64), Image.Resampling.BICUBIC)
    fine = random.normal(0, 32, (400, 32, 32, 1)).repeat(2, axis=1).repeat(2, axis=2)
    assert alike([sketch((np.asarray(coarse) + one).clip(0, 255).astype(np.uint8)) for one in fine]) == ()
    assert 400 <= sum(laid) <= 2 * 400 + 128


def test_time_grows_like_the_number_of_pictures() -> None:
    random = np.random.default_rng(6)
    waves = random.normal(0, 1, (2000, 8, 8)) / (1 + np.arange(8)) / (1 + np.arange(8))[:, None]
    rows = module._cosines(8)
    rough = random.normal(0, 0.3, (2000, 40, 40))
    gray = rows.T @ waves @ rows + rough / 40
    gray = ((gray - gray.mean((1, 2), keepdims=True)) / gray.std((1, 2), keepdims=True) * 32).clip(-127, 127).astype(np.int8)
    sketches = [Sketch(one, np.zeros((2, 3, 3), np.float16)) for one in gray]

    def seconds(count: int) -> float:
        start = time.process_time()
        alike(sketches[:count])
        return time.process_time() - start

    seconds(200)
    small = min(seconds(500) for _ in range(2))
    assert seconds(2000) < 8 * small, "four times the pictures may take a little more than four times as long, not sixteen"


def test_groups_join_and_are_sorted() -> None:
    groups = Groups(6)
    assert groups.apart(4, 1) and groups.several() == ()
    groups.join(4, 1)
    groups.join(5, 4)
    groups.join(3, 2)
    assert not groups.apart(5, 1)
    assert groups.several() == ((1, 4, 5), (2, 3))


@pytest.mark.realdata
def test_planted_copies_among_photographs_are_found_and_photographs_are_not_confused(data_root: Path) -> None:
    paths = sorted((data_root / "pets370").rglob("*.jpg"))[::4]
    photographs = [Image.open(path).convert("RGB") for path in paths]
    for photograph in photographs:
        photograph.thumbnail((320, 320))
    before = [looked(it, kind="JPEG", quality=90) for it in photographs]
    assert len(before) > 80
    assert alike(before) == ()
    changes = list(CHANGES.values())
    after = [changes[at % len(changes)][0](it) for at, it in enumerate(photographs)]
    found = {(pair.a, pair.b) for pair in alike([*before, *after])}
    planted = {(at, at + len(before)) for at in range(len(before))}
    assert len(found & planted) >= 0.95 * len(planted)
    assert found <= planted


@pytest.mark.realdata
def test_coins_that_lie_the_same_way_in_train_and_test_are_found(data_root: Path) -> None:
    names = [
        f"{part}/{part}_{number}.jpg"
        for part, numbers in (("train", (35, 40, 1, 5)), ("test", (15, 16, 18, 1)))
        for number in numbers
    ]
    sketches = [sketch(images.load((data_root / "coins_coco" / name).read_bytes(), LOOK).pixels) for name in names]
    pairs = {frozenset((names[pair.a], names[pair.b])) for pair in alike(sketches)}
    assert pairs == {
        frozenset(("train/train_35.jpg", "test/test_18.jpg")),
        frozenset(("train/train_40.jpg", "test/test_15.jpg")),
        frozenset(("test/test_15.jpg", "test/test_16.jpg")),
    }
