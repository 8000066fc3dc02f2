"""The small pieces: words for numbers, axes, thumbnails, the choice of pictures, colours."""

from __future__ import annotations

import base64
import io
import re
from importlib import resources
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from fieldguide.records import ManifestRow
from fieldguide.report import board, charts, say, trust
from fieldguide.report.build import STYLES
from fieldguide.report.gallery import Wrong, chosen
from fieldguide.report.read import KNOWN_FAMILIES, MARKS, family_slots
from fieldguide.report.thumbnails import LONGEST, encode, thumbnail


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (say.percent(0.98148), "98.1 %"),
        (say.percent(1.0), "100.0 %"),
        (say.points(-0.0123), "\u22121.2"),
        (say.points(0.0123), "+1.2"),
        (say.points(-0.0004), "0.0"),
        (say.points(0.5, signed=False), "50.0"),
        (say.seconds(0.042), "42 ms"),
        (say.seconds(9.96), "10 s"),
        (say.seconds(59.97), "1 min 00 s"),
        (say.seconds(3599.7), "1 h 00 min"),
        (say.seconds(7384), "2 h 03 min"),
        (say.amount(23_512_000), "23.5 M"),
        (say.amount(999_999), "1.0 M"),
        (say.amount(650), "650"),
        (say.size(4_000_000), "4.0 MB"),
        (say.milliseconds(0.4), "0.40 ms"),
        (say.p_value(0.0004), "< 0.001"),
        (say.p_value(0.0496), "0.0496"),
        (say.p_value(0.05), "0.050"),
        (say.p_value(0.31), "0.310"),
        (say.count(3780), "3,780"),
        (say.decimal(-0.25, 2), "\u22120.25"),
        (say.glued("9.1 % (p = 0.22)"), "9.1 % (p = 0.22)"),
        (say.milliseconds(0.003), "< 0.01 ms"),
    ],
)
def test_numbers_are_said_as_people_say_them(said: str, expected: str) -> None:
    assert said.replace("\u00a0", " ") == expected


def test_an_absent_score_says_why() -> None:
    absent = say.score({"value": None, "state": "not applicable", "why": "no probabilities"})
    assert (absent.text, absent.title, absent.absent) == ("not applicable", "no probabilities", True)
    assert say.score(None).text == "not recorded"
    assert say.score({"value": 0.5, "low": 0.4, "high": 0.6, "n": 90}).note == "40.0\u201360.0"


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ('source = "/home/me/pets"', 'source = "…/pets"'),
        ("/data/me/pets/", "…/pets"),
        ("C:\\Users\\me\\pets", "…/pets"),
        ("photos/pets", "photos/pets"),
        ("70/15/15", "70/15/15"),
        ("hf:someone/pets", "hf:someone/pets"),
    ],
)
def test_absolute_paths_are_cut(given_text: str, expected: str) -> None:
    assert say.shortened(given_text) == expected


@given(st.text())
def test_clean_text_can_be_written_and_draws_as_itself(text: str) -> None:
    line = say.clean(text)
    line.encode("utf-8")
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]", line)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_an_axis_holds_its_values_within_round_bounds(shares: list[float]) -> None:
    axis = charts.axis_for(shares)
    assert 0 <= axis.low < axis.high <= 1 + 1e-9
    assert axis.low <= min(shares) + 1e-6 and max(shares) <= axis.high + 1e-6
    assert 2 <= len(axis.ticks) <= 8
    assert all(0 <= axis.x(share) <= charts.STRIP_WIDTH for share in shares)
    assert axis.x(axis.low) < axis.x(axis.high)


def test_a_strip_draws_interval_chance_and_shape() -> None:
    axis = charts.axis_for([0.1, 0.9])
    drawn = charts.strip(axis, 0.8, (0.7, 0.9), 0.1, 5)
    assert f'x1="{axis.x(0.7)}" x2="{axis.x(0.9)}"' in drawn
    assert f'class="chance" x1="{axis.x(0.1)}"' in drawn
    assert 'href="#m5"' in drawn and "<title>80.0" in drawn and 'role="img"' in drawn


def test_a_curve_marks_the_chosen_epoch_and_leaves_out_what_is_not_finite() -> None:
    drawn = charts.curve("<b>", {"val": [(0, 1.0), (1, float("nan")), (2, 0.5), (3, 0.6)]}, 2)
    points = re.search(r'points="([^"]*)"', drawn)
    assert points and len(points[1].split()) == 3
    assert drawn.count('class="chosen"') == 1 and drawn.count("<circle") == 1 and "&lt;b&gt;" in drawn
    line, knot = re.search(r'class="chosen" x1="([^"]*)" x2="([^"]*)"', drawn), re.search(r'cx="([^"]*)"', drawn)
    assert line and knot and line[1] == line[2] == knot[1]
    assert charts.curve("none", {"val": []}, None) == ""
    long = charts.curve("long", {"val": [(epoch, 1 / (epoch + 1)) for epoch in range(5000)]}, None)
    assert len(long) < 12_000


def test_a_compact_matrix_draws_each_filled_cell_once() -> None:
    drawn = charts.compact_matrix([[3, 1], [0, 4]], "m")
    assert sorted(re.findall(r"M(\d) (\d)", drawn)) == [("0", "0"), ("1", "0"), ("1", "1")]


def test_families_have_their_own_marks() -> None:
    slots = family_slots(["linear", "mine", "yours", "backbone"])
    assert slots["linear"] == KNOWN_FAMILIES.index("linear") and slots["backbone"] == KNOWN_FAMILIES.index("backbone")
    assert len(set(slots.values())) == 4 and max(slots.values()) < MARKS
    everyone = family_slots([*KNOWN_FAMILIES, "mine", "yours"])
    assert len(set(everyone.values())) == MARKS


@pytest.mark.parametrize("shape", [(300, 200), (100, 480), (160, 160), (8, 8), (1, 5000), (5000, 1)])
def test_thumbnails_are_small_and_keep_their_shape(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    small = encode(pixels)
    assert small.uri and max(small.width, small.height) <= LONGEST
    with Pillow.open(io.BytesIO(base64.b64decode(small.uri.split(",")[1]))) as picture:
        assert picture.format == "WEBP" and picture.size == (small.width, small.height)
    assert small.tiny == (max(shape) <= 64)
    assert (
        abs(small.width / small.height - shape[1] / shape[0]) / (shape[1] / shape[0]) < 0.05
        or min(small.width, small.height) == 1
    )


def test_a_tiny_picture_keeps_every_pixel() -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    uri = encode(pixels).uri
    assert uri
    with Pillow.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as picture:
        assert np.array_equal(np.asarray(picture.convert("RGB")), pixels)


def test_a_picture_that_cannot_be_read_says_why(maker: ModuleType) -> None:
    small = thumbnail(maker.FakeReader(40, frozenset({"ab" * 32})), "ab" * 32)
    assert small.uri is None and small.reason == "torn <b>file</b>"


def _wrong(number: int, missed: int, cell: int) -> Wrong:
    said = (cell, *([9] * (missed - 1)), *([0] * (3 - missed)))
    return Wrong(ManifestRow(f"{number:064x}", f"{number}.jpg", "a", "test"), 0, said, missed, 0.5)


def test_one_confusion_cannot_fill_the_gallery() -> None:
    every = [_wrong(number, 2, 1) for number in range(100)] + [_wrong(100 + number, 1, 2 + number) for number in range(5)]
    few = chosen(every, 20)
    assert len(few) == 20 and few[:14] == every[:14]
    assert {wrong.said[0] for wrong in few} == {1, 2, 3, 4, 5, 6}
    assert chosen(every, 500) == every and chosen(every, 0) == []


def test_a_pair_seen_from_the_other_side() -> None:
    pair = {
        "a": "x",
        "b": "y",
        "difference": 0.1,
        "low": 0.02,
        "high": 0.2,
        "only_a": 9,
        "only_b": 1,
        "p": 0.02,
        "p_holm": 0.04,
        "outcome": "a better",
    }
    turned = board.mirrored(pair)
    assert (turned["a"], turned["difference"], turned["low"], turned["high"]) == ("y", -0.1, -0.2, -0.02)
    assert (turned["only_a"], turned["only_b"], turned["outcome"]) == (1, 9, "b better")
    assert board.mirrored(turned) == pair


def _style() -> str:
    here = resources.files("fieldguide.report")
    return "".join((here / name).read_text(encoding="utf-8") for name in STYLES)


def _themes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root\{(.*?)\}", _style().split("@media print")[0], re.S)
    read = [dict(re.findall(r"--([\w-]+):(#[0-9a-f]{3,6})\b", block)) for block in (light, dark)]
    return {"light": read[0], "dark": {**read[0], **read[1]}}


def _contrast(one: str, two: str) -> float:
    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_marks_stand_out(theme: str) -> None:
    colours = _themes()[theme]
    text = [(ink, ground) for ink in ("ink", "soft", "faint", "accent", "warn") for ground in ("paper", "card")]
    text += [("soft", "same"), ("warn", "warnwash"), ("accent", "wash"), ("ink", "wash")]
    text += [("ink", f"{side}{step}") for side in ("better", "worse") for step in range(1, 6)]
    marks = [(f"f{slot}", ground) for slot in range(MARKS) for ground in ("paper", "card")]
    marks += [("chance", "paper"), ("focus", "paper"), ("faint", "card")]
    assert not [(a, b, round(_contrast(colours[a], colours[b]), 2)) for a, b in text if _contrast(colours[a], colours[b]) < 4.5]
    assert not [(a, b, round(_contrast(colours[a], colours[b]), 2)) for a, b in marks if _contrast(colours[a], colours[b]) < 3]


def test_numbers_on_every_shade_can_be_read() -> None:
    shades = re.findall(r"\.h(\d+),\.c\1\{--shade:(#\w+);--on:(#\w+)\}", _style())
    assert len(shades) == 2 * (charts.HEAT_STEPS + 1)
    assert min(_contrast(shade, on) for _, shade, on in shades) >= 4.5
    for theme, ground in ((shades[: len(shades) // 2], "light"), (shades[len(shades) // 2 :], "dark")):
        least = _themes()[ground]["card"]
        assert min(_contrast(shade, least) for level, shade, _ in theme if int(level) >= 11) >= 3


def test_the_style_needs_nothing_that_the_policy_forbids() -> None:
    assert "url(" not in _style() and "@import" not in _style() and "</" not in _style() and "\r" not in _style()


def test_what_was_left_out_is_counted_by_reason_and_not_by_file() -> None:
    words = [
        "also in the test split: test/1.png",
        "also in the test split: test/2.png",
        "duplicate of a.png",
        "duplicate of b.png",
        "cut",
    ]
    assert [trust._kind(one) for one in words] == [
        *2 * ("also in the test split",),
        *2 * ("duplicate of another picture",),
        "cut",
    ]
