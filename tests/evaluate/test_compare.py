"""The comparison as a whole: its form, its sentence, and what it refuses."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldguide.errors import DataProblem
from fieldguide.evaluate.compare import compare
from fieldguide.evaluate.verdict import format_p

CHANCE = {"accuracy": 0.25, "how": "always answering the commonest training class, which is 'c0'"}


@pytest.fixture
def three(make):
    """Return two near equals and one far behind, on 270 pictures."""
    near = make.contest(270, {"resnet": range(265), "vit": [*range(7, 265), *range(265, 269)], "linear": range(200)})
    return [near[2], near[0], near[1]]


def test_the_form_is_complete(three):
    result = compare(three, CHANCE, "resnet")
    assert list(result) == [
        "schema", "n", "classes", "alpha", "chance", "order", "chosen", "pairs", "letters", "leader_group", "above_chance",
        "power", "verdict",
    ]  # fmt: skip
    assert (result["n"], result["classes"], result["alpha"]) == (270, 4, 0.05)
    assert result["order"] == ["resnet", "vit", "linear"]
    assert [(pair["a"], pair["b"]) for pair in result["pairs"]] == [("resnet", "vit"), ("resnet", "linear"), ("vit", "linear")]
    first = result["pairs"][0]
    assert (first["only_a"], first["only_b"], first["outcome"]) == (7, 4, "not distinguishable")
    assert first["p"] == pytest.approx(0.5488, abs=1e-3)
    assert result["letters"] == {"resnet": "a", "vit": "a", "linear": "b"}
    assert result["leader_group"] == ["resnet", "vit"]
    assert result["above_chance"] == {"resnet": True, "vit": True, "linear": True}
    json.dumps(result, allow_nan=False)


def test_the_sentence(three):
    assert compare(three, CHANCE, "resnet")["verdict"] == (
        "resnet leads with 98.1 % [95.7-99.2] of 270 pictures; not distinguishable from vit (p = 0.55); "
        "both beat linear (p < 0.001)."
    )


def test_validation_chose_another(three):
    sentence = compare(three, CHANCE, "vit")["verdict"]
    assert sentence.endswith(
        "; validation chose vit (97.0 % here), and that choice stands, for resnet is not shown to be better."
    )
    assert (
        "validation chose linear (74.1 % here), and that choice stands, although resnet did better"
        in (compare(three, CHANCE, "linear")["verdict"])
    )
    assert "validation" not in compare(three, CHANCE, None)["verdict"]


def test_one_contestant(make):
    result = compare(make.contest(100, {"only": range(90)}), CHANCE, "only")
    assert result["verdict"] == (
        "only is right on 90.0 % [82.6-94.5] of 100 pictures, better than chance (25.0 %); "
        "there is no other contestant to compare it with."
    )
    assert (result["pairs"], result["letters"], result["leader_group"]) == ([], {"only": "a"}, ["only"])
    assert result["power"]["discordance"] == 0.15
    lost = compare(make.contest(40, {"only": range(12)}), CHANCE, None)
    assert lost["verdict"].startswith("only is not better than chance (25.0 %) as far as 40 pictures can tell")
    assert lost["above_chance"] == {"only": False}


def test_nobody_is_above_chance(make):
    sheets = make.contest(40, {"x": range(12), "y": range(10, 20)})
    result = compare(sheets, CHANCE, "x")
    assert result["above_chance"] == {"x": False, "y": False}
    assert result["verdict"].startswith(
        "no contestant is better than chance (25.0 %) as far as 40 pictures can tell: the best, x, is"
    )


def test_above_chance_is_corrected_over_contestants(make):
    # 34 of 100 against 0.25: p = 0.028 alone, 0.28 among ten.
    alone = compare(make.contest(100, {"m0": range(34)}), CHANCE, None)
    many = compare(make.contest(100, {f"m{i}": range(34) for i in range(10)}), CHANCE, None)
    assert alone["above_chance"]["m0"] and not many["above_chance"]["m0"]


def test_far_below_chance_is_not_above_it(make):
    assert not compare(make.contest(100, {"m": range(2)}), CHANCE, None)["above_chance"]["m"]


def test_all_tied(make):
    sheets = make.contest(200, {"x": range(180), "y": range(8, 187), "z": [*range(160), *range(170, 188)]})
    sentence = compare(sheets, CHANCE, "x")["verdict"]
    assert sentence == "x leads with 90.0 % [85.1-93.4] of 200 pictures; not distinguishable from any of the other 2 (p = 1)."


def test_level_at_the_top(make):
    sheets = make.contest(200, {"x": range(180), "y": range(20, 200), "w": range(40)})
    sentence = compare(sheets, CHANCE, None)["verdict"]
    assert sentence == "x leads with 90.0 % [85.1-93.4] of 200 pictures, level with y; both beat w (p < 0.001)."


def test_too_few_pictures(make):
    result = compare(make.contest(30, {"x": range(28), "y": range(25)}), CHANCE, None)
    assert result["pairs"][0]["outcome"] == "too few pictures to tell"
    assert result["verdict"] == "x leads with 93.3 % [78.7-98.2] of 30 pictures; too few pictures to tell it from y."


def test_many_contestants_are_counted_not_named(make):
    strong = {f"s{i}": [j for j in range(300) if (j + 37 * i) % 20] for i in range(6)}
    weak = {f"w{i}": [j for j in range(300) if (j + 11 * i) % 2] for i in range(6)}
    result = compare(make.contest(300, {**strong, **weak, "s0": range(300)[:286]}), CHANCE, "s0")
    assert "level with" not in result["verdict"]
    assert "not distinguishable from 5 others (" in result["verdict"]
    assert result["verdict"].endswith("; all 6 beat the other 6 (p < 0.001).")
    assert len(result["verdict"]) < 200


def test_only_the_leader_beats_some(make):
    """The second is beaten by the leader's answers, the third is not, though it stands lower: nobody else is said to win."""
    leader = range(100, 400)
    second = range(118, 400)  # 18 : 0 against the leader
    third = [*range(60), *range(180, 400)]  # 80 : 60
    result = compare(make.contest(400, {"a": leader, "b": second, "c": third}), CHANCE, None)
    assert result["leader_group"] == ["a", "c"]
    assert "not distinguishable from c (p = " in result["verdict"]
    assert "; a beats b (p < 0.001)." in result["verdict"]


def test_the_leader_group_is_measured_against_the_leader_alone(make):
    """The second beats the third (15 : 0), but the leader, right on other pictures, cannot be told from either."""
    sheets = make.contest(400, {"a": range(200, 318), "b": range(100, 215), "c": range(100, 200)})
    result = compare(sheets, {"accuracy": 0.1, "how": "so"}, None)
    assert [pair["outcome"] for pair in result["pairs"]] == ["not distinguishable", "not distinguishable", "a better"]
    assert result["leader_group"] == ["a", "b", "c"]
    assert result["letters"] == {"a": "ab", "b": "a", "c": "b"}
    assert "not distinguishable from any of the other 2" in result["verdict"]


def test_of_several_beaten_the_largest_p_is_told(make):
    sheets = make.contest(400, {"a": range(300), "x": range(12, 300), "y": range(10, 300)})
    assert compare(sheets, CHANCE, None)["verdict"].endswith("; it beats y and x (largest p = 0.0039).")


def test_names_are_left_as_they_are(make):
    name = "<b>猫; \u202eevil"
    assert compare(make.contest(50, {name: range(40)}), CHANCE, None)["verdict"].startswith(name)


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0004, "p < 0.001"), (0.001, "p = 0.001"), (0.0172, "p = 0.017"), (0.55, "p = 0.55"), (1.0, "p = 1"),
     (0.0504, "p = 0.0504"), (0.0496, "p = 0.0496"), (0.05, "p = 0.05"), (0.05004, "p = 0.05004")],
)  # fmt: skip
def test_p_is_never_rounded_across_the_level(p, text):
    assert format_p(p) == text


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data(), runs=st.integers(1, 5), pictures=st.integers(1, 80), skill=st.floats(0.2, 1.0))
def test_properties(make, data, runs, pictures, skill):
    random = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    sheets = [make.sheet(f"m{i}", random.random(pictures) < skill * (1 - 0.15 * i)) for i in range(runs)]
    chosen = data.draw(st.sampled_from([None, *(sheet.run for sheet in sheets)]))
    result = compare(sheets, CHANCE, chosen)
    order = random.permutation(pictures)
    again = compare([make.permuted(sheet, order) for sheet in reversed(sheets)], CHANCE, chosen)
    assert json.dumps(again) == json.dumps(result)
    for pair in result["pairs"]:
        different = pair["outcome"] in ("a better", "b better")
        assert different == (pair["p_holm"] <= 0.05)
        assert bool(set(result["letters"][pair["a"]]) & set(result["letters"][pair["b"]])) != different
        assert pair["low"] <= pair["difference"] <= pair["high"]
        assert pair["outcome"] != "b better", "pairs stand in order of accuracy"
    leader = result["order"][0]
    assert "a" in result["letters"][leader]
    sharing = [run for run in result["order"] if set(result["letters"][run]) & set(result["letters"][leader])]
    assert result["leader_group"] == sharing
    assert result["verdict"].endswith(".") and "  " not in result["verdict"]


def test_strangers_are_refused(make):
    x, y = make.contest(20, {"x": range(12), "y": range(10)})
    other = dataclasses.replace(y, truth=np.roll(y.truth, 1))
    with pytest.raises(DataProblem, match="same pictures"):
        compare([x, other], CHANCE, None)
    with pytest.raises(DataProblem, match="same pictures"):
        compare([x, make.sheet("y", [1] * 19)], CHANCE, None)
    with pytest.raises(DataProblem, match="one name"):
        compare([x, x], CHANCE, None)
    with pytest.raises(DataProblem, match="nothing to compare"):
        compare([], CHANCE, None)
    with pytest.raises(ValueError, match="none of"):
        compare([x, y], CHANCE, "z")


def test_power_is_measured_between_serious_contestants(make):
    """A contestant at chance differs from everybody nearly everywhere and says nothing about the pairs that matter."""
    chance = {"accuracy": 0.25, "how": ""}
    good = make.sheet("good", [index % 10 != 0 for index in range(200)])
    rival = make.sheet("rival", [index % 8 != 0 for index in range(200)])
    constant = make.sheet("constant", [index % 4 == 0 for index in range(200)])
    serious = compare([good, rival], chance, None)["power"]
    with_floor = compare([good, rival, constant], chance, None)["power"]
    assert with_floor["discordance"] == serious["discordance"]
    assert with_floor["single"] == serious["single"]
    assert with_floor["corrected"] > with_floor["single"]
