"""A language model that looks as a contestant: what it is asked, how its answer is read, what is kept, and what is asked again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import Held
from tests.fake_chat import Fake, by_colour

from fieldguide import families
from fieldguide.bench import Bench, read_log
from fieldguide.craft.chat import Said
from fieldguide.errors import DataProblem, EnvironmentProblem, UsageProblem
from fieldguide.families import Sizes, vlm_prompt
from fieldguide.families.vlm_prompt import Settings
from fieldguide.files import digest, read_json
from fieldguide.records import ClassInfo, Example, Image, Pixels
from fieldguide.settings import build
from fieldguide.tasks.asking import Asking
from fieldguide.tasks.classify import Classify

TASK = Classify((ClassInfo("c0", "red kite", ("Milvus",)), ClassInfo("c1", "green finch"), ClassInfo("c2", "blue tit")))


def pictures(count: int = 9, salt: str = "") -> list[Example]:
    held, labels = {}, []
    for at in range(count):
        pixels = np.full((20, 24, 3), at, np.uint8)
        pixels[:, :, at % 3] = 200
        held[digest(salt, at)] = pixels
        labels.append(f"c{at % 3}")
    reader = Held(held)
    return [Example(Image(key, reader), label) for key, label in zip(held, labels, strict=True)]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake().install(monkeypatch)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "scratch").mkdir()
    return Bench(tmp_path / "scratch", 3, answers=tmp_path / "answers.sqlite", contestant="one")


def fitted(bench: Bench, train: Sequence[Example] = (), **settings: Any) -> vlm_prompt.Prompted:
    return vlm_prompt.fit(train, (), TASK, Settings(**settings), bench)


def images(**more: Any) -> list[Image]:
    return [example.image for example in pictures(**more)]


def always(text: str, finish: str = "stop") -> Callable[[Asking, Pixels], Said]:
    return lambda asking, pixels: Said(text, finish, 50, 2)


def test_every_picture_is_looked_at_and_answered_in_words(fake: Fake, bench: Bench) -> None:
    found = list(fitted(bench).predict(images()))
    assert [one.label for one in found] == [example.label for example in pictures()]
    assert [one.raw for one in found[:3]] == ["red kite", "green finch", "blue tit"]
    assert {one.probabilities for one in found} == {None}
    assert (found[0].tokens_in, found[0].tokens_out, found[0].seconds, found[0].error) == (100, 3, 0.01, None)
    assert fake.asked == [example.image.pixels(16).tobytes() for example in pictures()]
    assert "red kite, green finch, blue tit" in fake.askings[0].text()


@pytest.mark.parametrize(
    ("text", "finish", "reading", "label", "error"),
    [
        ("red kite", "stop", "strict", "c0", None),
        ("Red Kites.", "stop", "strict", None, "other spelling"),
        ("Red Kites.", "stop", "normalised", "c0", None),
        ("milvus", "stop", "alias", "c0", None),
        ("It is a red kite", "stop", "strict", None, "extra words"),
        ("red", "length", "strict", None, "cut"),
        ('{"label": "red kite"}', "stop", "json", "c0", None),
        ("", "stop", "strict", None, "empty"),
    ],
)
def test_an_answer_is_read_under_the_reading_that_was_asked_for(
    fake: Fake, bench: Bench, text: str, finish: str, reading: str, label: str | None, error: str | None
) -> None:
    fake.rule = always(text, finish)
    (found,) = fitted(bench, reading=reading).predict(images(count=1))
    assert (found.label, found.raw) == (label, text)
    assert (found.error or "").partition(":")[0] == (error or "")


def test_the_reading_follows_the_prompt_and_defaults_are_written_out() -> None:
    assert Settings().model_dump() | {"reading": "strict", "examples": 0, "temperature": 0.0} == Settings().model_dump()
    assert Settings(prompt="json").reading == "json"
    assert Settings(prompt="json", reading="strict").reading == "strict"
    assert Settings(**Settings(prompt="json").model_dump()) == Settings(prompt="json")


def test_examples_come_from_training_pictures_and_their_labels(fake: Fake, bench: Bench) -> None:
    train = pictures(count=12, salt="train")
    assert vlm_prompt.learns(Settings(examples=1)) and not vlm_prompt.learns(Settings())
    list(fitted(bench, train, examples=1).predict(images(count=2)))
    asking, shown = fake.askings[0], fake.shown[0]
    assert len(asking.examples) == 3 and set(shown) == set(asking.examples)
    truth = {example.image.key: example for example in train}
    turns = [turn for turn in asking.messages if turn.role != "system"]
    for number, key in enumerate(asking.examples):
        assert turns[2 * number + 1].parts == (TASK.say(str(truth[key].label)),)
        assert np.array_equal(shown[key], truth[key].image.pixels(16))


def test_without_examples_no_training_picture_is_opened(fake: Fake, bench: Bench) -> None:
    train = pictures(salt="train")
    fitted(bench, train)
    assert train[0].image.reader.asked == []  # type: ignore[attr-defined]


def test_what_was_asked_stands_in_the_facts(fake: Fake, bench: Bench) -> None:
    model = fitted(bench, ask="choice", price_in=0.5, price_out=2)
    facts = {k: v for event in read_log(bench.scratch / "log.jsonl") if event["event"] == "fact" for k, v in event.items()}
    assert facts["kind"] == "prompted" and facts["model"] == "drawn" and facts["parameters"] == 7
    assert (facts["price_in"], facts["price_out"]) == (0.5, 2)
    prompt = facts["prompt"]
    assert prompt["hash"] == model.asking.hash and prompt["how"] == "choice" and prompt["name"] == "plain"
    assert "[picture]" in prompt["text"] and prompt["seed"] is None and prompt["examples"] == 0


def test_a_seed_is_sent_where_one_is_drawn_alone(fake: Fake, bench: Bench) -> None:
    assert fitted(bench).asking.seed is None
    assert fitted(bench, temperature=0.7).asking.seed == 3


def test_saved_and_loaded_it_needs_neither_the_prompt_nor_the_model(fake: Fake, bench: Bench, tmp_path: Path) -> None:
    words = tmp_path / "mine.toml"
    words.write_text('question = "Pick one of {classes}"\nshots = 1\n[classes.c0]\nname = "kite"\n', encoding="utf-8")
    model = fitted(bench, pictures(salt="train"), prompt=str(words))
    before = list(model.predict(images()))
    assert before[0].raw == "kite" and before[0].label == "c0"
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    words.unlink()
    opened = len(fake.opened)
    again = vlm_prompt.load(tmp_path / "model")
    assert len(fake.opened) == opened, "loading opened the model"
    assert again.asking == model.asking
    after = list(again.predict(images()))
    assert after == before
    assert fake.opened[-1].precision == "fp32", "the arithmetic of before"
    assert np.array_equal(fake.shown[-1][model.asking.examples[0]], fake.shown[0][model.asking.examples[0]])
    told = read_json(tmp_path / "model" / "prompt.json")
    assert told["answers"] == ["kite", "green finch", "blue tit"] and told["hash"] == model.asking.hash
    assert "Pick one of" in (tmp_path / "model" / "asked.json").read_text(encoding="utf-8")


def test_a_rendered_prompt_that_was_changed_is_refused(fake: Fake, bench: Bench, tmp_path: Path) -> None:
    fitted(bench).save(tmp_path)
    told = read_json(tmp_path / "prompt.json")
    told["answers"][0] = "another"
    (tmp_path / "prompt.json").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(ValueError, match="not the one"):
        vlm_prompt.load(tmp_path)


def test_other_weights_behind_the_same_name_are_refused(fake: Fake, bench: Bench, tmp_path: Path) -> None:
    fitted(bench).save(tmp_path)
    fake.revision = "another"
    with pytest.raises(DataProblem, match="not those that this contestant was made with"):
        list(vlm_prompt.load(tmp_path).predict(images()))
    (tmp_path / "served").mkdir()
    fitted(bench, model="served/x", server="http://localhost:1").save(tmp_path / "served")
    fake.revision = "a third"
    with pytest.raises(EnvironmentProblem, match="another model"):
        list(vlm_prompt.load(tmp_path / "served").predict(images()))


def test_answers_are_kept_for_all_contestants_that_ask_the_same(fake: Fake, bench: Bench) -> None:
    first = list(fitted(bench).predict(images()))
    other = dataclasses.replace(bench, contestant="two")
    assert list(fitted(other).predict(images())) == first
    assert len(fake.asked) == 9
    list(fitted(other, ask="choice").predict(images()))
    assert len(fake.asked) == 18, "what is asked otherwise is another question"
    list(fitted(dataclasses.replace(bench, answers=None)).predict(images()))
    assert len(fake.asked) == 27, "outside of a study nothing is kept"


def test_kept_answers_are_read_anew(fake: Fake, bench: Bench) -> None:
    fake.rule = always("Blue tit!")
    assert [one.label for one in fitted(bench).predict(images(count=1))] == [None]
    assert [one.label for one in fitted(bench, reading="normalised").predict(images(count=1))] == ["c2"]
    assert len(fake.asked) == 1


def test_at_another_bench_its_limit_and_its_answers_hold(fake: Fake, bench: Bench, tmp_path: Path) -> None:
    fitted(bench).save(tmp_path)
    seated = vlm_prompt.load(tmp_path).at(dataclasses.replace(bench, limit=4))
    found = list(seated.predict(images()))
    assert [one.error is None for one in found] == [True] * 4 + [False] * 5
    assert seated.sitting.asked == 4 and seated.lacking(image.key for image in images()) == 5
    assert found[-1].raw is None and str(found[-1].error).startswith("not asked: ")


def test_without_consent_no_picture_leaves_this_machine(fake: Fake, bench: Bench, tmp_path: Path) -> None:
    away = {"model": "served/x", "server": "https://api.example.org/v1"}
    with pytest.raises(UsageProblem, match=r"api\.example\.org.*nobody agreed"):
        fitted(bench, **away)
    assert not fake.opened
    model = fitted(dataclasses.replace(bench, consented=True), **away)
    assert len(list(model.predict(images()))) == 9
    model.save(tmp_path)
    with pytest.raises(UsageProblem, match="nobody agreed"):
        list(vlm_prompt.load(tmp_path).predict(images(salt="new")))
    assert len(list(vlm_prompt.load(tmp_path).at(bench).predict(images()))) == 9, "what is kept is not sent"


def test_hosts_pictures_tokens_and_money_are_known_before() -> None:
    sizes = Sizes(100, 20, 30)

    def sent(model: str, server: str | None = None, **more: Any) -> Any:
        return vlm_prompt.sends(Settings(model=model, server=server, **more), TASK, sizes)

    assert sent("drawn") is None and sent("hf/a/b") is None and sent("ollama/llava") is None
    assert sent("served/x", "http://localhost:8000/v1") is None and sent("served/x", "http://[::1]:8000") is None
    assert vlm_prompt.where(Settings(model="ollama/x", server="http://gpu.lab:11434")) == "gpu.lab:11434"
    found = sent("served/x", "https://api.example.org/v1", image_size=560, price_in=1.0, price_out=4.0)
    assert (found.host, found.pictures, found.examples) == ("api.example.org", 50, 0)
    assert 50 * 400 < found.tokens_in < 50 * 500
    assert found.money == pytest.approx((found.tokens_in + 4 * found.tokens_out) / 1e6)
    shown = sent("served/x", "https://api.example.org/v1", image_size=560, examples=2)
    assert shown.examples == 6 and shown.tokens_in > 50 * 7 * 400 and shown.money is None
    entry = families.parse("vlm_prompt/served/x:server=https://api.example.org/v1,as=far")
    told = families.sends(entry, TASK, sizes)
    assert told is not None and told.who == "far"
    assert families.sends(families.parse("majority"), TASK, sizes) is None


@pytest.mark.parametrize(
    "given",
    [
        {"model": "served/x", "server": "https://me:hunter2secret@host/v1"},
        {"model": "served/x", "server": "https://host/v1?key=hunter2secret"},
        {"model": "served/x", "server": "https://host/v1", "key_variable": "sk-hunter2secret"},
    ],
)
def test_a_secret_is_no_setting_and_is_not_said_again(given: dict[str, str]) -> None:
    with pytest.raises(UsageProblem) as raised:
        build(Settings, given, "The contestant")
    assert "hunter2secret" not in str(raised.value)


def test_settings_that_do_not_fit_are_refused() -> None:
    for given, why in (
        ({"model": "served/x"}, "needs server"),
        ({"model": "drawn", "server": "http://localhost"}, "belongs to"),
    ):
        with pytest.raises(UsageProblem, match=why):
            build(Settings, given, "The contestant")
    with pytest.raises(UsageProblem, match="no prompt called"):
        vlm_prompt.check(Settings(prompt="plian"), False)
    with pytest.raises(UsageProblem, match="no language model called"):
        vlm_prompt.check(Settings(model="llava"), False)
    for address in ("localhost:11434", "ftp://host/v1"):
        with pytest.raises(UsageProblem, match="no address of a server"):
            vlm_prompt.check(Settings(model="ollama/x", server=address), False)
    with pytest.raises(EnvironmentProblem, match="NOT_THERE"):
        vlm_prompt.check(Settings(model="served/x", server="https://h/v1", key_variable="NOT_THERE"), False)


def test_a_prompt_in_a_file_is_named_by_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('question = "One of {classes}?"\n', encoding="utf-8")
    first = vlm_prompt.made_of(Settings(prompt=str(path)))
    path.write_text('question = "Which of {classes}?"\n', encoding="utf-8")
    assert first != vlm_prompt.made_of(Settings(prompt=str(path))) and set(first) == {"prompt"}
    path.unlink()
    assert vlm_prompt.made_of(Settings(prompt=str(path))) == {}


def test_the_fake_tells_pictures_apart() -> None:
    asking = Asking((), ("a", "b", "c"))
    assert [by_colour(asking, example.image.pixels(1)).text for example in pictures(3)] == ["a", "b", "c"]
