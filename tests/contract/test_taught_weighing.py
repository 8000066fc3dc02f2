"""A model that was taught words and weighs names keeps the articles, comes back with its weighing, and can be asked in other words."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.families.test_vlm_lora import ARTICLES, tiny

from fieldguide import contract, families
from fieldguide.bench import Bench, read_log
from fieldguide.errors import UsageProblem
from fieldguide.families import vlm_lora
from fieldguide.files import read_json
from fieldguide.tasks.varying import variations
from fieldguide.trial import TASK, toy


def facts_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for event in read_log(folder / "log.jsonl"):
        found |= event if event["event"] == "fact" else {}
    return found


@pytest.mark.slow(keep=0)
@pytest.mark.parametrize("more", [{"ask": "likelihood", "orders": 2, "unknown": 0.2}, {"ask": "decision", "score": "sum"}])
def test_it_keeps_the_contract_when_names_are_weighed(more: dict[str, Any]) -> None:
    on = contract.trial(vlm_lora, tiny(**more))  # type: ignore[arg-type]
    for article in ARTICLES:
        article(on)
    assert all(answer.probabilities is not None for answer in on.answers)


def test_what_was_chosen_is_told_and_comes_back(tmp_path: Path) -> None:
    settings = tiny(ask="likelihood", score="pmi", most_steps=1)
    fitted = vlm_lora.fit(toy().train, toy().val, TASK, settings, Bench(tmp_path, answers=tmp_path / "answers.sqlite"))
    (tmp_path / "model").mkdir()
    fitted.save(tmp_path / "model")
    facts, told = facts_of(tmp_path), read_json(tmp_path / "model" / "weighing.json")
    assert (facts["weighing"]["form"], facts["weighing"]["pictures"], facts["looked_by"]) == ("pmi", len(toy().val), "sums")
    assert (told["form"], told["temperature"]) == ("pmi", facts["weighing"]["temperature"]) and told["greys"]
    assert (facts["prompt"]["how"], facts["prompt"]["reading"], facts["kind"]) == ("likelihood", None, "tuned")
    images = list(toy().images)[:4]
    first, again = ([one.probabilities for one in some.predict(images)] for some in (fitted, vlm_lora.load(tmp_path / "model")))
    assert np.allclose(first, again, atol=1e-6) and len(set(first)) > 1
    colder = dataclasses.replace(fitted, weighing=dataclasses.replace(fitted.weighing, temperature=1e-3))  # type: ignore[type-var]
    assert not np.allclose(first, [one.probabilities for one in colder.predict(images)], atol=1e-3), "the temperature counts"


def test_taught_weights_are_asked_in_other_words(tmp_path: Path) -> None:
    bench = Bench(tmp_path, answers=tmp_path / "answers.sqlite")
    fitted = vlm_lora.fit(toy().train, toy().val, TASK, tiny(ask="choice", most_steps=1), bench)
    images, opened = list(toy().images)[:2], fitted.taught.chat()
    for variation in variations(fitted.prompt, TASK.classes, ["picture", "order", "batch", "repeat"]):
        other = fitted.varied(variation, bench)
        assert other.revision == fitted.revision and len(list(other.predict(images))) == 2
        assert other.door().model is opened.model, "the weights that were taught, loaded once"  # type: ignore[attr-defined]
        assert (other.asking.hash != fitted.asking.hash) is (variation.check == "order")
        if variation.alone:
            assert other.door().batch == 1 < opened.batch  # type: ignore[attr-defined]


@pytest.mark.parametrize("head", ["labels", pytest.param("linear", marks=pytest.mark.slow)])
def test_a_head_is_calibrated_on_validation(head: str, tmp_path: Path) -> None:
    fitted = vlm_lora.fit(toy().train, toy().val, TASK, tiny(head=head, ask="generate", most_steps=1), Bench(tmp_path))
    (tmp_path / "model").mkdir()
    fitted.save(tmp_path / "model")
    facts, images = facts_of(tmp_path), list(toy().images)[:4]
    assert facts["calibration_pictures"] == len(toy().val) and facts["nll_after"] <= facts["nll_before"] + 1e-3
    assert facts["temperature"] != 1.0 and fitted.taught.temperature == facts["temperature"]
    first, again = ([one.probabilities for one in some.predict(images)] for some in (fitted, vlm_lora.load(tmp_path / "model")))
    assert np.allclose(first, again, atol=1e-6)
    fitted.taught.temperature *= 10
    assert not np.allclose(first, [one.probabilities for one in fitted.predict(images)], atol=1e-4), "the temperature counts"
    assert not (tmp_path / "model" / "prompt.json").exists(), "what answers nothing in words is not audited"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"score": "sum"}, "score belongs to probabilities"),
        ({"ask": "decision", "score": "byte"}, "a letter stands for each name"),
        ({"ask": "likelihood", "head": "labels"}, "belongs to head=words"),
    ],
)
def test_ways_that_cannot_be_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        families.contestant("vlm_lora", None, given, "here", "x")
