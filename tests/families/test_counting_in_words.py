"""Language models that count, prompted and taught: what they are asked, how answers become counts, what is refused, what comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.counted import Counting
from tests.fake_chat import Fake

import fieldguide
from fieldguide import contract, families
from fieldguide.bench import Bench, read_log
from fieldguide.craft.chat import Said
from fieldguide.data.drawn.coins import write_coins
from fieldguide.data.tables import read_predictions
from fieldguide.errors import UsageProblem
from fieldguide.families import vlm_lora, vlm_prompt
from fieldguide.prompt_audit_plan import subject_of
from fieldguide.records import Example, Pixels
from fieldguide.tasks.asking import Asking
from fieldguide.tasks.count import Count
from fieldguide.tasks.count_asking import read_count_prompt, render_count
from fieldguide.trial import TASK, counting, toy

COUNT: Count = counting(TASK)


def by_light(asking: Asking, pixels: Pixels) -> Said:
    """Say numbers that depend on the picture, in the form that is asked for."""
    number = int(np.asarray(pixels).mean()) % 7
    text = json.dumps(dict.fromkeys(asking.answers, number), indent=asking.made["indent"])
    return Said("I see some." if number == 3 else text, "stop", 40, 12, None, 0.01, "text")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(rule=by_light).install(monkeypatch)


def prompted(bench: Bench, train: tuple[Example, ...] = (), **settings: Any) -> vlm_prompt.Prompted:
    return vlm_prompt.fit(train, (), COUNT, vlm_prompt.Settings(**settings), bench)


def test_what_is_said_becomes_counts_and_its_text_stays(fake: Fake, tmp_path: Path) -> None:
    found = list(prompted(Bench(tmp_path), prompt="currency").predict(toy().images))
    for one, image in zip(found, toy().images, strict=True):
        said = by_light(fake.askings[0], image.pixels(16))
        assert one.raw == said.text and one.label is None and one.probabilities is None and one.tokens_in == 40
        number = int(np.asarray(image.pixels(16)).mean()) % 7
        assert one.counts == (None if number == 3 else dict.fromkeys(COUNT.ids, number))
        assert one.error == ("no JSON: words and no JSON" if number == 3 else None)
    assert any(one.error for one in found) and any(one.counts for one in found)
    assert "ash tree, birch, cedar" in fake.askings[0].text() and fake.askings[0].how == "generate"


def test_a_prompted_model_that_counts_comes_back_from_its_folder(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    made = prompted(Bench(tmp_path), toy().train, ask="choice", examples=2, reading="json")
    made.save(tmp_path / "model")
    again = vlm_prompt.load(tmp_path / "model")
    assert again.task == COUNT and again.askings == made.askings and again.prompt == made.prompt
    assert made.asking.schema is not None and len(made.asking.examples) == 2
    answers = [[(one.image, one.counts, one.error) for one in of.predict(toy().images)] for of in (made, again)]
    assert answers[0] == answers[1]


def test_what_is_noted_says_that_counts_were_asked_for(fake: Fake, tmp_path: Path) -> None:
    prompted(Bench(tmp_path), prompt="currency")
    facts: dict[str, Any] = {}
    for event in read_log(tmp_path / "log.jsonl"):
        facts |= event if event["event"] == "fact" else {}
    assert facts["prompt"]["answers_in"] == "counts" and facts["prompt"]["name"] == "currency"
    assert (facts["prompt"]["reading"], facts["prompt"]["most_tokens"]) == ("strict", 256)


def test_settings_write_out_what_both_questions_of_one_name_say() -> None:
    plain, currency = vlm_prompt.Settings(), vlm_prompt.Settings(prompt="currency")
    assert (plain.reading, plain.examples, plain.temperature, plain.most_tokens) == ("strict", 0, 0.0, None)
    assert (currency.reading, currency.examples, currency.most_tokens) == ("strict", 0, 256)


@pytest.mark.parametrize("words", ["vlm_prompt/drawn:ask=likelihood", "vlm_prompt:prompt=moderation", "vlm_lora:head=linear"])
def test_what_cannot_count_is_refused_before_anything_is_done(words: str, tmp_path: Path) -> None:
    source = write_coins(tmp_path / "coins", {"train": 2, "test": 2})
    with pytest.raises(UsageProblem):
        fieldguide.compare(source, (words,), out=tmp_path / "s", task="count")
    assert not (tmp_path / "s" / "runs").exists()


def test_a_prompt_for_counts_names_no_classes(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="asks for counts"):
        vlm_prompt.fit((), (), TASK, vlm_prompt.Settings(prompt="currency"), Bench(tmp_path))
    with pytest.raises(UsageProblem, match="ask=likelihood"):
        prompted(Bench(tmp_path), ask="likelihood")
    for entry in ("vlm_prompt:prompt=currency", "vlm_lora:prompt=currency"):
        room: Any = families.family(families.parse(entry).family)
        room.check(families.parse(entry).settings, online=False)


def test_money_and_what_is_sent_are_told_of_counts() -> None:
    settings = vlm_prompt.Settings(
        model="served/x", server="http://far.example/v1", prompt="currency", price_out=1.0, examples=2
    )
    sent = vlm_prompt.sends(settings, COUNT, families.Sizes(10, 2, 5))
    assert sent is not None and sent.pictures == 7 and sent.tokens_out >= 7 * 3 * 4
    before = vlm_prompt.first(settings)
    assert before is not None and before.made > 1 and before.tokens_out
    expected = (sent.tokens_out + before.tokens_out) / 1e6
    assert vlm_prompt.estimate(settings, COUNT, families.Sizes(10, 2, 5)).money == pytest.approx(expected)


def test_a_taught_model_that_counts_keeps_the_contract(tmp_path: Path) -> None:
    """Two steps on the real small model; held to the schema, so that every answer is counts."""
    settings = vlm_lora.Settings(**{**vlm_lora.Settings.tiny().model_dump(), "method": "full", "prompt": "currency"})
    on = contract.trial(Counting(vlm_lora), settings)  # type: ignore[arg-type]
    for article in (
        contract.article_answers_once_in_order,
        contract.article_answers_stay_on_the_list,
        contract.article_saving_changes_nothing,
        contract.article_unreadable_is_a_row,
    ):
        article(on)
    assert all(one.counts is not None and one.raw and one.raw.startswith("{") for one in on.answers)
    looks = [event for event in read_log(on.first_bench.scratch / "log.jsonl") if event["event"] == "epoch"]
    assert looks and {"val_accuracy", "val_mae"} <= set(looks[-1])


def test_a_study_of_coins_has_them_all_on_one_table(tmp_path: Path) -> None:
    source = write_coins(tmp_path / "coins", {"train": 6, "valid": 2, "test": 4}, "free")
    entries = ("count_baseline/commonest", "vlm_prompt/drawn", "vlm_prompt/drawn:ask=choice,prompt=currency,as=held")
    study = fieldguide.compare(source, entries, out=tmp_path / "s", task="count", worth=("penny=1", "dime=10", "quarter=25"))
    assert set(study.outcomes.values()) == {"done"}, {name: study.failure(name) for name in study.outcomes}
    free, held = (study.scores(name)["parts"]["test"] for name in ("vlm_prompt-drawn", "held"))
    assert free["metrics"]["parsed"]["value"] == 0 and held["metrics"]["parsed"]["value"] == 1
    rows = read_predictions(study.folder / "runs" / "held" / "predictions.parquet")
    assert all(one.raw and json.loads(one.raw).keys() <= {"penny", "dime", "quarter"} for one in rows)
    with pytest.raises(UsageProblem, match="is a study of counts"):
        subject_of(study.folder / "runs" / "held")


def test_a_server_is_wished_for_the_same_form_and_its_words_stay() -> None:
    from fieldguide.craft.chat.over_http import said_of, schema_of
    from fieldguide.craft.served import Reply

    prompt = read_count_prompt("currency")
    free, held = (render_count(prompt, COUNT, how) for how in ("generate", "choice"))  # type: ignore[arg-type]
    assert schema_of(free) is None and schema_of(held) == COUNT.schema(prompt.written(COUNT), prompt.most)
    text = '{\n  "birch": 2\n}'
    said = said_of(held, Reply(text, "stop", 9, 4, 0.1, "json_schema", "m"))
    assert (said.text, said.level) == (text, "json_schema")
    assert said_of(held, Reply("Two birches.", "stop", 9, 4, 0.1, "json_schema", "m")).level == "text", "nothing held it"
