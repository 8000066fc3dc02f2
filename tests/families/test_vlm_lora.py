"""The room of taught language models: what is refused, what is told, heads that give probabilities, adapters that come back."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from fieldguide import contract, families
from fieldguide.bench import Bench, read_log
from fieldguide.errors import UsageProblem
from fieldguide.families import vlm_lora
from fieldguide.families.vlm_lora import Settings
from fieldguide.trial import TASK, toy

ARTICLES = (
    contract.article_answers_once_in_order,
    contract.article_answers_stay_on_the_list,
    contract.article_same_answer_in_any_company,
    contract.article_saving_changes_nothing,
    contract.article_unreadable_is_a_row,
)


def tiny(**more: Any) -> Settings:
    return Settings(**{**Settings.tiny().model_dump(), **more})


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("more", [{"head": "labels"}, {"head": "linear", "method": "qlora"}, {"method": "full"}])
def test_it_keeps_the_contract_with_every_head_and_method(more: dict[str, Any]) -> None:
    on = contract.trial(vlm_lora, tiny(**more))  # type: ignore[arg-type]
    for article in ARTICLES:
        article(on)
    weighed = "head" in more
    assert all((answer.probabilities is not None) is weighed for answer in on.answers)
    assert on.fitted.gives_probabilities is weighed  # type: ignore[attr-defined]


def test_what_is_trained_and_where_the_loss_stands_is_told(tmp_path: Path) -> None:
    settings = tiny(parts=("vision", "mlp"), most_steps=1)
    vlm_lora.fit(toy().train, toy().val, TASK, settings, Bench(tmp_path))
    facts: dict[str, Any] = {}
    for event in read_log(tmp_path / "log.jsonl"):
        facts |= event if event["event"] == "fact" else {}
    assert facts["loss"]["loss_tokens_on_answer"] == 1.0
    assert {part for part, count in facts["trained_parts"].items() if count["trained"]} == {"vision", "vision mlp"}
    assert facts["stored_features"] == {
        "used": False,
        "why": "vision is trained, so features change with every step",
    }
    assert (facts["kind"], facts["prompt"]["name"], facts["tuning"]["method"]) == ("tuned", "plain", "lora")
    assert facts["revision"] != facts["base_revision"]
    assert facts["trained_parameters"] == facts["trained_parts"]["vision"]["trained"] < facts["parameters"]


def test_a_linear_layer_is_not_merged_and_words_are(tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    fitted = vlm_lora.fit(toy().train, (), TASK, tiny(most_steps=1), Bench(tmp_path))
    with pytest.raises(UsageProblem, match="a layer beside"):
        dataclasses.replace(fitted, settings=tiny(head="linear")).merge(tmp_path / "none")
    whole = fitted.merge(tmp_path / "merged")
    assert AutoModelForImageTextToText.from_pretrained(whole).config.model_type == "idefics3"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": "ollama/llava"}, "cannot be trained from here"),
        ({"parts": ["attention"]}, "at least one of vision"),
        ({"parts": ["vison"]}, "parts"),
        ({"rank": 0}, "rank"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        families.contestant("vlm_lora", None, given, "here", "x")


def test_parts_are_written_with_plus_on_the_command_line() -> None:
    entry = families.parse("vlm_lora/drawn:method=qlora,parts=vision+language+mlp,head=labels")
    assert isinstance(entry.settings, Settings)
    assert entry.settings.parts == ("vision", "language", "mlp")
    vlm_lora.check(entry.settings, online=False)


def test_a_look_asks_about_every_class_alike() -> None:
    sampled = vlm_lora._sampled(toy().train, 6, 0)
    assert sorted(str(one.label) for one in sampled) == sorted([*TASK.ids, *TASK.ids])
    assert vlm_lora._sampled(toy().train, None, 0) == list(toy().train)
