"""Forms of a score and what validation chooses, in cases whose answer is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldguide.craft.chat.weighing import FORMS, Form, Weighing, chosen, forms, logs, scores, told
from fieldguide.errors import EnvironmentProblem
from fieldguide.tasks.weighed import Weighed

CLASSES = 4
#: Names of very different lengths, so that forms disagree.
TOKENS, SIZES = (2, 3, 6, 9), (4, 5, 21, 60)
#: What a model would rather say, whatever it sees.
LEANING = np.array([-9.0, -2.0, -14.0, -30.0])


def softmax(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = np.exp(rows - rows.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def planted(form: Form, count: int = 400, seed: int = 0, temperature: float = 2.0) -> tuple[list[list[Weighed]], list[int]]:
    """Return pictures whose labels are drawn from the probabilities that `form` gives at `temperature`."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2.5, (count, CLASSES))
    labels = [int(random.choice(CLASSES, p=row)) for row in softmax(logits)]
    own = temperature * (logits - logits.max(axis=1, keepdims=True)) - 1
    sums = {"sum": own, "token": own * TOKENS, "byte": own * SIZES, "pmi": own + LEANING}[form]
    return [[Weighed(tuple(row), TOKENS, SIZES)] for row in sums.tolist()], labels


GREY = [Weighed(tuple(LEANING), TOKENS, SIZES)]


@pytest.mark.parametrize("form", FORMS)
def test_the_form_that_was_planted_is_chosen_with_its_temperature(form: Form) -> None:
    rows, labels = planted(form)
    found = chosen(rows, labels, GREY, None, None)
    assert (found.form, found.by) == (form, "validation")
    assert found.temperature == pytest.approx(2.0, rel=0.25)
    assert [one.form for one in found.tried] == list(FORMS) and {one.pictures for one in found.tried} == {400}
    best = next(one for one in found.tried if one.form == form)
    assert best.nll == min(one.nll for one in found.tried)
    table = np.array([found.probabilities(row) for row in rows])
    assert table.sum(axis=1) == pytest.approx(1)
    assert best.accuracy == pytest.approx((table.argmax(axis=1) == labels).mean())
    assert best.nll == pytest.approx(-np.log(table[np.arange(400), labels]).mean(), abs=1e-9)


def test_probabilities_are_calibrated_on_pictures_that_were_not_chosen_by() -> None:
    found = chosen(*planted("pmi"), GREY, None, None)
    rows, labels = planted("pmi", 3000, seed=1)
    table = np.array([found.probabilities(row) for row in rows])
    sure, right = table.max(axis=1), table.argmax(axis=1) == labels
    assert sure.mean() == pytest.approx(right.mean(), abs=0.03)
    plain = np.array([Weighing("pmi", greys=tuple(GREY)).probabilities(row) for row in rows]).max(axis=1)
    assert plain.mean() > right.mean() + 0.05, "at temperature 1 it is too sure of itself"


def test_shuffled_labels_ask_for_no_certainty() -> None:
    """What the temperature is for: a model that knows nothing is as sure as chance."""
    rows, labels = planted("sum")
    shuffled = np.random.default_rng(5).permutation(labels).tolist()
    found, proper = chosen(rows, shuffled, GREY, "sum", None), chosen(rows, labels, GREY, "sum", None)
    tops = [np.array([one.probabilities(row) for row in rows]).max(axis=1).mean() for one in (found, proper)]
    assert tops[0] < 0.45 < 0.6 < tops[1]
    assert found.tried[0].nll > proper.tried[0].nll + 0.4


def test_forms_that_are_no_better_lose_against_the_sum() -> None:
    rows, labels = planted("sum")
    alike = [[Weighed(one.sums, (3,) * CLASSES, (7,) * CLASSES)] for (one,) in rows]
    flat = [Weighed((-5.0,) * CLASSES, (3,) * CLASSES, (7,) * CLASSES)]
    found = chosen(alike, labels, flat, None, None)
    assert found.form == "sum" and np.ptp([one.nll for one in found.tried]) < 1e-4


def test_a_form_that_was_asked_for_is_kept_and_the_others_told() -> None:
    rows, labels = planted("pmi")
    for wanted in ("sum", "token", "byte"):
        found = chosen(rows, labels, (), wanted, None)  # type: ignore[arg-type]
        assert (found.form, found.by, found.greys) == (wanted, "settings", ())
        assert [one.form for one in found.tried] == ["sum", "token", "byte"], "nobody asked about the grey picture"
        assert found.temperature == next(one.temperature for one in found.tried if one.form == wanted)


def test_without_validation_pictures_it_is_the_sum_at_temperature_one() -> None:
    found = chosen([], [], (), None, 0.1)
    assert (found.form, found.temperature, found.threshold, found.by) == ("sum", 1.0, None, "no validation pictures")
    assert found.facts(1, 0.1)["forms"] == [] and found.facts(1, 0.1)["pictures"] == 0
    row = planted("sum")[0][0]
    assert found.probabilities(row) == pytest.approx(softmax(np.array(row[0].sums)))
    wanted = chosen([], [], GREY, "pmi", None)
    assert (wanted.form, wanted.by, wanted.greys) == ("pmi", "settings", tuple(GREY))


def test_each_form_is_what_it_says() -> None:
    one = Weighed((-4.0, -9.0), (2, 3), (4, 0))
    assert scores("sum", one).tolist() == [-4, -9]
    assert scores("token", one).tolist() == [-2, -3]
    assert scores("byte", one).tolist() == [-1, -9], "a name without a byte is not divided by zero"
    assert scores("pmi", one, Weighed((-1.0, -10.0))).tolist() == [-3, 1]


def test_the_probabilities_of_orders_are_averaged_before_the_temperature() -> None:
    a, b = np.array([-1.0, -3.0, -2.0]), np.array([-300.0, -1.0, -2.5])
    row = [Weighed(tuple(a)), Weighed(tuple(b))]
    mean = (softmax(a) + softmax(b)) / 2
    assert np.exp(logs("sum", row)) == pytest.approx(mean)
    tempered = np.exp(np.log(mean) / 3)
    assert Weighing(temperature=3.0).probabilities(row) == pytest.approx(tempered / tempered.sum())
    far = [Weighed((-1000.0, -1.0)), Weighed((-5000.0, -1.0))]
    assert np.isfinite(logs("sum", far)).all(), "no probability is so small that its logarithm is lost"
    each = [Weighed((-1.0, -2.0)), Weighed((-3.0, -1.0))]
    own = [Weighed((0.0, -2.0)), Weighed((0.0, -2.0))]
    parts = [softmax(np.array(one.sums) - np.array(grey.sums)) for one, grey in zip(each, own, strict=True)]
    assert np.exp(logs("pmi", each, own)) == pytest.approx(np.mean(parts, axis=0))


def test_codes_have_neither_tokens_nor_bytes() -> None:
    codes = [[Weighed(one.sums)] for (one,) in planted("token")[0]]
    grey = [Weighed(tuple(LEANING))]
    assert forms(codes, grey) == ("sum", "pmi") and forms(codes, ()) == ("sum",)
    assert {one.form for one in chosen(codes, planted("token")[1], grey, None, None).tried} == {"sum", "pmi"}
    for wanted in ("token", "byte"):
        with pytest.raises(EnvironmentProblem, match=f"score={wanted} cannot be had"):
            chosen(codes, planted("token")[1], grey, wanted, None)  # type: ignore[arg-type]
        with pytest.raises(EnvironmentProblem, match="a code stood for each name"):
            Weighing(wanted).probabilities(codes[0])  # type: ignore[arg-type]


def test_what_a_server_did_not_tell_is_a_bound_and_never_impossible() -> None:
    rows, labels = planted("sum")
    cut = []
    for (one,) in rows:
        least = sorted(one.sums)[-2]
        cut.append([Weighed(tuple(max(value, least) for value in one.sums), found=tuple(v >= least for v in one.sums))])
    found = chosen(cut, labels, (), None, None)
    assert found.bounds == pytest.approx(0.5) and found.facts(1, None)["bounds"] == pytest.approx(0.5)
    table = found.probabilities(cut[0])
    assert (table > 0).all() and told(cut[0]).sum() == 2
    partly = [Weighed(tuple(LEANING), found=(True, True, True, False))]
    assert forms(cut, partly) == ("sum",), "less a bound is no bound"
    with pytest.raises(EnvironmentProblem, match="likeliest tokens"):
        chosen(cut, labels, partly, "pmi", None)
    blind = [[Weighed((-2.0,) * CLASSES, found=(False,) * CLASSES)]]
    assert chosen([*cut, *blind], [*labels, 0], (), None, None) == found, "a picture of which nothing was told says nothing"
    assert chosen(blind, [0], (), None, None).by == "no validation pictures"
    either = [Weighed((-1.0, -2.0), found=(True, False)), Weighed((-2.0, -1.0), found=(False, True))]
    assert told(either).all()


def test_about_the_share_that_was_asked_for_is_refused() -> None:
    rows, labels = planted("byte")
    found = chosen(rows, labels, GREY, None, 0.2)
    table = np.array([found.probabilities(row) for row in rows])
    right = table.argmax(axis=1) == labels
    assert found.threshold is not None
    assert (table.max(axis=1)[right] < found.threshold).mean() == pytest.approx(0.2, abs=0.01)


def test_written_and_read_it_is_the_same_to_the_last_bit() -> None:
    found = chosen(*planted("pmi"), GREY, None, 0.1)
    assert found.form == "pmi" and Weighing.from_json(json.loads(json.dumps(found.as_json()))) == found
    assert Weighing.from_json(json.loads(json.dumps(Weighing().as_json()))) == Weighing()
    for change in ({"form": "best"}, {"temperature": 0.0}, {"temperature": float("nan")}):
        with pytest.raises(ValueError, match="no form"):
            Weighing.from_json({**found.as_json(), **change})


def test_what_is_told() -> None:
    facts = chosen(*planted("token"), GREY, None, 0.1).facts(3, 0.1)
    assert (facts["form"], facts["by"], facts["orders"], facts["pictures"]) == ("token", "validation", 3, 400)
    assert [set(one) for one in facts["forms"]] == [{"form", "nll", "accuracy", "temperature", "pictures"}] * 4
    assert 0 < facts["threshold"] < 1 and facts["refused_share"] == 0.1 and facts["bounds"] is None
