"""The same question in several ways: what of a difference is format and what recognition, against the answers themselves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fieldguide.evaluate.pairs import mcnemar
from fieldguide.evaluate.same_question import Asked, Group, told


def sheets(make):
    """Return free answers of which a third are no name, the same read less strictly, and weighed ones, of 90 pictures."""
    random = np.random.default_rng(2)
    strict = make.sheet("free", random.random(90) < 0.6)
    silent = np.arange(90) % 3 == 0
    strict = dataclasses.replace(strict, answer=np.where(silent, -1, strict.answer))
    alias = dataclasses.replace(strict, answer=np.where(silent & (np.arange(90) % 2 == 0), strict.truth, strict.answer))
    return strict, alias, make.sheet("weighs", random.random(90) < 0.9)


def test_format_and_recognition_add_up_to_the_difference(make):
    strict, alias, weighs = sheets(make)
    group = Group(
        "drawn",
        "q",
        (Asked("weighs", "likelihood", {"likelihood": weighs}), Asked("free", "generate", {"strict": strict, "alias": alias})),
    )
    (found,) = told([group])["groups"]
    assert [way["way"] for way in found["ways"]] == ["strict", "alias", "likelihood"] and found["base"] == "free"
    assert [way["against"] is None for way in found["ways"]] == [True, True, False], "readings of one answer are not tested"
    against = found["ways"][2]["against"]
    assert against["difference"]["value"] == pytest.approx(weighs.accuracy - strict.accuracy)
    silent = strict.answer < 0
    assert against["format"]["value"] == pytest.approx((silent & weighs.right).sum() / 90)
    named = ((weighs.right & ~silent).sum() - (strict.right & ~silent).sum()) / 90
    assert against["recognition"]["value"] == pytest.approx(named)
    assert against["format"]["value"] + against["recognition"]["value"] == pytest.approx(against["difference"]["value"])
    assert against["p"] == against["p_holm"] == mcnemar(against["only_this"], against["only_base"])
    assert against["outcome"] == "better" and against["difference"]["low"] > 0
    assert against["recognition"]["low"] <= named <= against["recognition"]["high"]
    assert found["ways"][0]["labelled"] == 60 and found["ways"][1]["labelled"] == 75


def test_all_comparisons_are_corrected_together(make):
    strict, _, weighs = sheets(make)
    held = dataclasses.replace(make.sheet("held", strict.right), run="held")
    every = (
        Asked("free", "generate", {"strict": strict}),
        Asked("held", "choice", {"choice": held}),
        Asked("weighs", "likelihood", {"likelihood": weighs}),
    )
    (alone,) = told([Group("m", "q", (every[0], every[2]))])["groups"]
    (found,) = told([Group("m", "q", every)])["groups"]
    first, last = alone["ways"][-1]["against"], found["ways"][-1]["against"]
    assert last["p"] == first["p"] and last["p_holm"] == pytest.approx(2 * first["p_holm"])
    assert found["ways"][1]["against"]["outcome"] in ("not distinguishable", "too few pictures to tell")
    twice = told([Group("m", "q", every), Group("m", "r", (every[0], every[2]))])["groups"]
    assert twice[1]["ways"][-1]["against"]["p_holm"] > first["p_holm"]


def test_one_way_alone_is_no_comparison(make):
    strict, _, weighs = sheets(make)
    again = Asked("again", "generate", {"strict": dataclasses.replace(strict, run="again")})
    assert told([Group("m", "q", (Asked("free", "generate", {"strict": strict}), again))])["groups"] == []
    held = Asked("held", "choice", {"choice": dataclasses.replace(strict, run="held")})
    (found,) = told([Group("m", "q", (Asked("weighs", "decision", {"decision": weighs}), held))])["groups"]
    assert found["base"] == "held" and found["ways"][1]["way"] == "decision"
