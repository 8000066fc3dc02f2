"""A prompt audit: planted effects are found and told first, models that nothing moves are cleared, and counts are those of the definition."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fieldguide.evaluate.audit_numbers import aligned, association, compared, places, pull, swapped
from fieldguide.evaluate.audit_words import MINUS, bare, gap_text, points
from fieldguide.evaluate.audited import JUDGED, Facts, Varied, answered, content
from fieldguide.evaluate.intervals import difference_interval, wilson
from fieldguide.records import Prediction
from fieldguide.tasks.prompting import Prompt
from fieldguide.tasks.varying import CHECKS, Check

from .answering import Model, facts

Json = dict[str, Any]


def check(found: Json, id: str) -> Json:
    return next(one for one in found["checks"] if one["id"] == id)


def variant(found: Json, of: str, id: str) -> Json:
    return next(one for one in check(found, of)["variants"] if one["id"] == id)


def said(answers: str) -> dict[str, str | None]:
    """Return answers to pictures 0, 1, 2 ... by letter; ``-`` names no class, a blank is no answer."""
    return {f"{at:03}": None if letter == "-" else letter for at, letter in enumerate(answers) if letter != " "}


def truth_of(labels: str) -> dict[str, str]:
    return {f"{at:03}": label for at, label in enumerate(labels)}


def of_words(truth: str, base: str, **varied: str) -> Facts:
    """Return facts where only wordings were varied."""
    made = [Varied("paraphrase", id, id, said(answers)) for id, answers in varied.items()]
    return Facts(truth_of(truth), said(base), made, tuple(sorted(set(truth))))


def test_counts_are_those_of_the_definition() -> None:
    #                            truth        base          variant
    found = content(of_words("aaaaabbbbb", "aabbbbbb- ", better="aaaaaab- b"))
    assert found["base"] | {"accuracy": None} == {"right": 5, "labelled": 8, "n": 9, "unanswered": 1, "accuracy": None}
    assert found["base"]["accuracy"] == {"value": 5 / 9, "low": wilson(5, 9)[0], "high": wilson(5, 9)[1], "n": 9}
    one = variant(found, "paraphrase", "better")
    # Both answered 0-7: 3 more right (2, 3, 4), 2 fewer (5, 7); 7 changed: a name for none is a change, the same is none.
    assert (one["n"], one["unanswered"]) == (8, 2)
    assert one["accuracy"]["value"] == 6 / 8 and one["flips"]["value"] == 5 / 8
    gap = one["difference"]
    assert (gap["value"], gap["discordant"], gap["p"]) == (1 / 8, 5, 1.0)
    assert (gap["low"], gap["high"]) == difference_interval(8, 3, 2)
    assert {row["label"]: (row["n"], row["base"], row["variant"]) for row in one["recall"]} == {
        "a": (5, 0.4, 1.0),
        "b": (3, 1.0, 1 / 3),
    }
    assert [row["p_holm"] for row in one["recall"]] == [0.5, 0.5]  # 3 to 0 has p = 0.25, 2 to 0 has 0.5
    assert "2 answers are missing" in check(found, "paraphrase")["sentence"]


def test_what_the_variant_gains_is_above_zero() -> None:
    found = content(of_words("a" * 20 + "b" * 20, "b" * 20 + "b" * 20, better="a" * 20 + "b" * 20))
    gap = variant(found, "paraphrase", "better")["difference"]
    assert gap["value"] == 0.5 and gap["low"] > 0 and gap["p"] == pytest.approx(2**-19)
    assert (
        found["verdict"].startswith("Your wording costs 50 points [")
        and "(40 pictures, p < 0.001) against better: take" in found["verdict"]
    )
    worse = content(of_words("a" * 20 + "b" * 20, "a" * 20 + "b" * 20, worse="b" * 40))
    assert worse["verdict"].startswith("Your wording helps by 50 points [") and worse["verdict"].endswith(": keep it.")
    assert not check(worse, "paraphrase")["alarm"] and check(worse, "paraphrase")["found"] == "yes"


def test_one_of_four_wordings_must_be_better_by_more_than_one_alone() -> None:
    truth, base, better = "ab" * 20, "bb" * 6 + "ab" * 14, "ab" * 20  # six to none: p = 0.031
    alone = content(of_words(truth, base, one=better))
    assert (
        variant(alone, "paraphrase", "one")["difference"]["p"] == pytest.approx(2**-5) and check(alone, "paraphrase")["alarm"]
    )
    beside = content(of_words(truth, base, one=better, two=base, three=base, four=base))
    gap = variant(beside, "paraphrase", "one")["difference"]
    assert gap["p"] == pytest.approx(2**-5) and gap["p_holm"] == pytest.approx(4 * 2**-5)
    assert check(beside, "paraphrase")["found"] == "not distinguishable" and "distinguishably" in beside["verdict"]
    # And so with another check beside it.
    more = of_words(truth, base, one=better)
    other = [Varied(of, "x", "x", said(base)) for of in ("synonyms", "batch")]
    third = content(replace(more, varied=[*more.varied, *other]))  # type: ignore[list-item]
    assert variant(third, "paraphrase", "one")["difference"]["p_holm"] == pytest.approx(3 * 2**-5)


def test_the_pull_is_that_of_the_definition() -> None:
    found = pull(truth_of("ccab"), {"a": said("acaa"), "b": said("bcbb")})
    assert found is not None and found["pictures"] == 4
    first, second = found["labels"]
    # Where another label is right (0, 1, 3), a is named twice as the example and never else; which is which is a coin for 0 and 3.
    assert first["with"] == {"value": 2 / 3, "n": 3} and first["without"] == {"value": 0, "n": 3}
    assert (first["difference"]["value"], first["difference"]["p"], first["difference"]["p_holm"]) == (2 / 3, 0.5, 1.0)
    assert (second["with"]["value"], second["without"]["value"]) == (2 / 3, 0)
    assert found["overall"]["value"] == 3 / 4 and found["overall"]["p"] == pytest.approx(0.25, abs=0.02)
    assert pull(truth_of("ab"), {"a": said("ab")}) is None
    missing = pull(truth_of("ccab"), {"a": said("acaa"), "b": said("bc b")})
    assert missing is not None and missing["pictures"] == 3


def test_places_are_told_from_the_labels_that_stand_there() -> None:
    found = places(truth_of("aab"), [(("a", "b"), said("aab")), (("b", "a"), said("bab"))])
    assert found is not None
    assert [row["share"] for row in found["places"]] == pytest.approx([2 / 3, 1 / 3])
    assert [row["expected"] for row in found["places"]] == pytest.approx([1 / 2, 1 / 2])
    assert (found["rho"], found["p"], found["outcome"]) == (-1.0, 1.0, "not distinguishable")
    assert found["shift"] == pytest.approx(-1 / 6)
    # A label that is named wherever it stands takes the first place in one order and the last in the other: no place is pulled to.
    loved = places(truth_of("abab"), [(("a", "b"), said("aaaa")), (("b", "a"), said("aaaa"))])
    assert loved is not None and [row["share"] - row["expected"] for row in loved["places"]] == [0, 0] and loved["shift"] == 0
    few = places(truth_of("abcd"), [(tuple("abcd"), said("abcd")), (tuple("dcba"), said("abcd"))])
    assert few is not None and few["outcome"] == "too few orders to tell" and few["p"] is None


def test_ways_that_all_pictures_share_by_chance_are_no_pull() -> None:
    """Words can do anything to all pictures at once: what is asked in seven ways is seven observations, however many pictures there are."""
    random = np.random.default_rng(5)
    low = 0
    for _ in range(60):
        liked = random.integers(8, size=7)  # each way of asking likes one label, for no reason
        scores = np.zeros((50, 7, 7))
        for asked in range(7):
            scores[:, asked, :] = (liked[asked] == np.arange(7)) * 1.0
        low += aligned(scores) <= 0.05
    assert low <= 8  # 3 are expected; more than 8 come once in 250 times


def test_answers_are_swapped_between_classes() -> None:
    truth, base = truth_of("aabbc"), said("aabbc")
    other = swapped(truth, base, 0)
    assert (
        sorted(other) == sorted(truth)
        and all(other[key] != truth[key] for key in truth)
        and sorted(other.values()) == list("aabbc")
    )  # type: ignore[type-var]
    most = swapped(truth_of("aaab"), said("aaab"), 0)
    assert len(most) == 2, "three pictures of a have one answer that is not of a between them, and its own picture another"
    assert association(truth_of("aaaa"), said("aaaa")) is None
    assert association(truth_of("ab" * 20), said("ab" * 20)) == pytest.approx(1e-4)
    assert association(truth_of("ab" * 20), said("a" * 40)) == 1.0


@pytest.mark.parametrize("classes", [2, 6])
def test_a_planted_pull_to_the_example_is_found_and_told_first(classes: int) -> None:
    found = content(facts(Model(example=0.2), 1, 250, classes))
    example = check(found, "example")
    assert example["alarm"] and example["found"] == "yes"
    overall = example["pull"]["overall"]
    assert overall["low"] < 0.2 < overall["high"] and overall["p_holm"] < 0.05
    gap = variant(found, "example", "no-example")["difference"]
    if classes == 2:  # what half of the pictures lose, the other half wins
        assert found["verdict"].startswith("The example pulls the answers: where another label is right, a label is named ")
    else:
        assert gap["low"] < 0.8 * 0.2 * (1 - 1 / classes) < gap["high"]
        assert found["verdict"].startswith("Your example (name0) costs ") and ": remove it" in found["verdict"]
    assert [row["label"] for row in example["pull"]["labels"]] == [f"c{at}" for at in range(classes)]


def test_an_example_that_helps_is_kept() -> None:
    plain = facts(Model(skill=0.9), 2, 200, checks=["picture", "example"])
    worse = [
        replace(one, answers={key: "c0" if int(key) % 7 == 0 else answer for key, answer in one.answers.items()})
        if one.id == "no-example"
        else one
        for one in plain.varied
    ]
    found = content(replace(plain, varied=worse))
    assert found["verdict"].startswith("Your example (name0) helps by ") and found["verdict"].endswith(": keep it.")
    assert not check(found, "example")["alarm"] and check(found, "order")["state"] == "not asked"


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_a_planted_pull_to_the_first_of_the_list_is_found(classes: int) -> None:
    found = content(facts(Model(first=0.3, noise=0.02), 3, 250, classes))
    stands = check(found, "order")["places"]
    assert stands["outcome"] == "earlier" and stands["rho"] < 0 and check(found, "order")["alarm"]
    assert stands["places"][0]["share"] - stands["places"][0]["expected"] == pytest.approx(0.3 * (1 - 1 / classes), abs=0.08)
    assert "lean to the start of the list" in found["verdict"] and ": average over several orders" in found["verdict"]


def test_a_model_that_sees_nothing_is_told_so_before_anything_else() -> None:
    blind = content(facts(Model(blind=True, blank=True), 0))
    assert check(blind, "picture")["found"] == "no" and check(blind, "picture")["alarm"]
    assert blind["verdict"].startswith(
        "The picture does not reach the model (with a grey picture all 200 answers stay as they are)"
    )
    # Drawn answers change with a grey picture, too; but they fit no picture.
    drawn = content(facts(Model(skill=0.0, noise=1, drawn=1, blank=True, example=0.3), 0, temperature=1.0))
    assert check(drawn, "picture")["found"] == "not distinguishable" and drawn["verdict"].startswith(
        "Nothing shows that the picture reaches"
    )
    # One that sees, but not what it should see: answers are steady, and change with a grey picture, and fit no class.
    lost = content(facts(Model(skill=0.0, noise=0.0), 0))
    assert check(lost, "picture")["found"] == "yes" and lost["verdict"].startswith(
        "The picture changes the answers but they do not fit"
    )
    seen = content(facts(Model(), 0))
    assert check(seen, "picture")["found"] == "yes" and not check(seen, "picture")["alarm"]
    assert variant(seen, "picture", "swapped")["accuracy"]["value"] < 0.1


def test_other_words_names_and_company_that_matter_are_found() -> None:
    found = content(
        facts(Model(skill=0.5, better=(("wording-see", 0.5), ("synonyms", 0.5), ("alone", 0.5), ("longer", 0.5))), 4)
    )
    assert [one["id"] for one in found["checks"] if one["alarm"]] == ["paraphrase", "synonyms", "batch"]
    assert check(found, "length")["found"] == "yes", "a longer list does no harm"
    assert found["verdict"].startswith("Your wording costs ") and "take those words; " in found["verdict"]
    assert found["verdict"].endswith("matter, too.")


def test_what_is_answered_twice_in_two_ways_is_told() -> None:
    found = content(facts(Model(drawn=0.3, noise=0.3), 0))
    assert check(found, "repeat")["found"] == "no" and check(found, "repeat")["alarm"]
    assert found["verdict"].startswith("The same question, asked twice at temperature 0, is answered differently for ")
    drawn = content(facts(Model(drawn=0.3, noise=0.3), 0, temperature=0.7))
    assert not check(drawn, "repeat")["alarm"] and "At temperature 0.7 answers are drawn" in check(drawn, "repeat")["sentence"]
    still = content(facts(Model(noise=0.0), 0))
    assert [check(still, of)["found"] for of in ("repeat", "batch", "order", "paraphrase")] == ["yes", "yes", "no", "no"]
    assert still["verdict"].startswith(
        "Nothing that was varied moves the answers distinguishably: with 200 pictures, a difference of "
    )
    alone = facts(Model(noise=0.0), 0)
    odd = [replace(one, answers={**one.answers, "00000": "c5"}) if one.check == "batch" else one for one in alone.varied]
    assert check(content(replace(alone, varied=odd)), "batch")["found"] == "no", "one is enough where nothing is drawn"


@pytest.mark.parametrize(("classes", "seeds"), [(2, 16), (5, 16)])
def test_models_that_nothing_moves_are_cleared(classes: int, seeds: int) -> None:
    """Everything is drawn anew whenever it is asked, which is the hardest of nothing."""
    alarms = 0
    for seed in range(seeds):
        found = content(facts(Model(skill=0.6, noise=1.0, drawn=1.0), seed, 40, classes, temperature=1.0))
        alarms += any(one["found"] == "yes" for one in found["checks"] if one["id"] in JUDGED and one["id"] != "batch")
    assert alarms <= 3  # 0.8 at most are expected; more than 3 come once in 100 times


def test_a_list_of_half_the_length_is_no_finding_by_itself() -> None:
    """Accuracy goes up when wrong names are gone; that is no effect of the list's length, and is told beside it."""
    found = content(facts(Model(skill=0.4, noise=0.0), 0, 300, 6))
    halves = variant(found, "length", "halves")
    assert halves["difference"]["p"] < 0.001 and halves["n"] == 300
    assert check(found, "length")["found"] != "yes" and halves["beside_choice"]["discordant"] == 0
    assert "With half of the list accuracy changes by" in check(found, "length")["sentence"]


def test_nothing_is_left_out_silently() -> None:
    whole = facts(Model(), 0, 60)
    cut = [replace(one, answers=dict(list(one.answers.items())[: 50 if one.id == "reversed" else 60])) for one in whole.varied]
    found = content(replace(whole, varied=[one for one in cut if one.check != "synonyms"]))
    assert variant(found, "order", "reversed")["unanswered"] == 10 and variant(found, "order", "reversed")["n"] == 50
    assert "10 answers are missing" in check(found, "order")["sentence"] and check(found, "order")["places"]["pictures"] == 50
    assert check(found, "synonyms")["state"] == "not asked" and check(found, "synonyms")["why"] == "There are no answers yet."
    begun = [
        replace(one, answers={}) if one.id == "sorted" else replace(one, answers=dict(list(one.answers.items())[:9]))
        for one in whole.varied
    ]
    early = content(replace(whole, varied=begun))
    assert "pull" not in check(early, "example") and early["verdict"]


def test_what_cannot_be_told_is_not_told() -> None:
    empty = content(Facts({}, {}, [], ("a", "b")))
    assert empty["verdict"] == "Nothing was varied yet, so nothing can be said." and empty["base"]["accuracy"]["value"] is None
    assert [one["state"] for one in empty["checks"]] == ["not asked"] * len(CHECKS)
    why: Mapping[Check, str] = {"example": "The prompt gives no example."}
    bare = content(Facts(truth_of("ab"), said("ab"), [], ("a", "b"), reasons=why))
    assert (check(bare, "example")["state"], check(bare, "example")["sentence"]) == (
        "not applicable",
        "The prompt gives no example.",
    )
    two = facts(Model(), 0, 40, 4, checks=["order"])
    order = check(content(replace(two, varied=two.varied[:3])), "order")
    assert order["places"]["outcome"] == "too few orders to tell" and "too few orders to tell." in order["sentence"]
    few = content(facts(Model(), 0, 3, 3))
    assert "too few" in few["verdict"]
    silent = content(of_words("ab", "--", other="--"))
    assert silent["base"]["labelled"] == 0 and variant(silent, "paraphrase", "other")["flips"]["value"] == 0


@pytest.mark.parametrize("classes", [2, 4])
def test_it_is_plain_json_and_the_same_again(classes: int) -> None:
    made = facts(Model(), 7, 40, classes)
    found = content(made)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert content(made) == found
    listless = facts(Model(), 7, 40, classes, prompt=Prompt(question="Which?"))
    assert [one["id"] for one in content(listless)["checks"] if one["state"] == "ok"] == ["picture", "batch", "repeat"]


def test_answers_are_those_that_were_given() -> None:
    rows: Sequence[Prediction] = (
        Prediction("1", "a"),
        Prediction("2", None, raw="a horse", error="answer off the list"),
        Prediction("3", None, error="server failed: gone"),
        Prediction("4", None, error="not asked: limit"),
        Prediction("5", None, error="unreadable picture: cut off"),
    )
    assert answered(rows) == {"1": "a", "2": None}
    assert compared({"1": "a"}, {}, {}, ["1"])["unanswered"] == 1


def test_sentences_have_the_minus_sign_of_the_rest_of_the_report() -> None:
    gap = {"value": -0.03, "low": -0.125, "high": 0.01, "n": 200, "p": 0.2}
    assert gap_text(gap) == f"{MINUS}3 points [{MINUS}12, 1] (200 pictures, p = 0.200)"
    assert points(-0.01) == f"{MINUS}1 point" and bare(-0.0001) == "0"
