"""Three breaths, the nearest name first, and text that cannot hurt a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldguide.errors import (
    DataProblem,
    EnvironmentProblem,
    PictureError,
    Problem,
    UsageProblem,
    allowed_names,
    nearest,
    plain,
)


def test_a_problem_says_three_things_and_has_an_exit_code() -> None:
    problem = UsageProblem("given", "allowed", "next")
    assert str(problem) == "given\nallowed\nnext"
    assert [kind("", "", "").code for kind in (UsageProblem, EnvironmentProblem, DataProblem)] == [2, 4, 5]
    assert all(issubclass(kind, Problem) for kind in (UsageProblem, EnvironmentProblem, DataProblem))
    assert not issubclass(PictureError, Problem)
    assert str(PictureError("truncated", "cut off")) == "truncated: cut off"


def test_nearest_first_whatever_the_case() -> None:
    names = ["resnet18", "resnet50", "ResNet101", "vit_tiny_patch16_224", "majority"]
    assert nearest("resnet5", names)[0] == "resnet50"
    assert nearest("RESNET101", names)[0] == "ResNet101"
    assert nearest("zzzz", names) == []


def test_allowed_names_are_short_and_lead_with_the_nearest() -> None:
    text = allowed_names("epoch", [f"name{at}" for at in range(20)] + ["epochs"], most=4)
    assert text.startswith("Did you mean epochs? Allowed: epochs, ")
    assert text.endswith("and 17 more.")
    assert allowed_names("zz", ["b", "a", "a"]) == "Allowed: a, b."


BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"


@given(st.text(st.characters() | st.sampled_from(BIDI + "\x1b\x07\r\n\x9b\u2028\u2029\udcff"), max_size=400))
def test_plain_text_is_one_line_without_anything_that_acts(text: str) -> None:
    shown = plain(text)
    assert len(shown) <= 300
    assert not set(shown) & set(BIDI)
    assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in shown)
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\u001b[31mred"),
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("two\nlines", "two\\u000alines"),
        ("قطة 猫 日本語 caf\u00e9", "قطة 猫 日本語 caf\u00e9"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        (3, "3"),
    ],
)
def test_what_acts_is_shown_by_its_code_and_scripts_stay(text: object, shown: str) -> None:
    assert plain(text) == shown


def test_long_text_is_cut_visibly() -> None:
    assert plain("x" * 300) == "x" * 300
    assert plain("x" * 301) == "x" * 299 + "…"
    assert plain("x" * 50, 10) == "x" * 9 + "…"
