"""Rows and batches: a loss on the answer alone, the same pictures as when it is asked, and a batch that is the sum of its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.craft.chat.asking import NAMES, asking, picture
from tests.craft.tuning.taught import lessons, student

from fieldguide.craft.chat.tiny import architectures
from fieldguide.craft.tuning import Lesson, rows
from fieldguide.errors import DataProblem
from fieldguide.records import Image
from fieldguide.tasks.asking import Asking, Message, Shown


@pytest.mark.parametrize("architecture", architectures())
def test_a_batch_is_the_sum_of_its_rows_and_its_loss_stands_on_the_answers(tiny_chats: Path, architecture: str) -> None:
    made, (some, _) = student(tiny_chats, architecture), lessons()
    maker = rows.Rows(made.chat, asking())
    every = [maker.row(lesson) for lesson in some]
    before = [{name: tensor.clone() for name, tensor in row.inputs.items()} for row in every]
    batch = maker.batch(every)
    assert len({row.inputs["input_ids"].shape[1] for row in every}) > 1, "rows differ in length, so that some are padded"
    with torch.no_grad():
        together = float(rows.loss(made.network, batch))
        alone = [float(rows.loss(made.network, maker.batch([row]))) for row in every]
    assert together == pytest.approx(sum(alone), rel=1e-5)
    tokenizer = made.chat.hand.tokenizer
    for lesson, row, labels in zip(some, every, batch.labels, strict=True):
        ids = labels[labels != rows.IGNORED].tolist()
        assert tokenizer.decode(ids[:-1]).strip() == lesson.answer
        assert ids[-1] == made.chat.hand.end, "what ends the turn is learned, too"
        assert (labels[: row.prompt] == rows.IGNORED).all(), "the names in the prompt carry no loss"
    for row, was in zip(every, before, strict=True):
        assert all(torch.equal(row.inputs[name], tensor) for name, tensor in was.items()), "rows are not written into"
    rows.require_honest(made.network, maker, some[0])


def test_ninety_names_in_the_prompt_carry_no_loss(tiny_chats: Path) -> None:
    made, (some, _) = student(tiny_chats), lessons(2)
    names = tuple(f"{NAMES[at % len(NAMES)]} {at}" for at in range(90))
    taught = [Lesson(lesson.image, name) for lesson, name in zip(some, names, strict=False)]
    told = rows.told(rows.Rows(made.chat, asking(names)), taught)
    assert told["prompt_tokens"] > 400
    assert told["loss_tokens_on_answer"] == 1.0
    assert told["loss_tokens"] == told["answer_tokens"] * 2 < 20


def test_a_loss_on_the_prompt_is_seen_in_what_is_told(tiny_chats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, (some, _) = student(tiny_chats), lessons(2)
    honest = rows.padded

    def everywhere(given: Any, pad: int) -> Any:
        inputs, _ = honest(given, pad)
        return inputs, inputs["input_ids"].clone()

    monkeypatch.setattr(rows, "padded", everywhere)
    assert rows.told(rows.Rows(made.chat, asking()), some)["loss_tokens_on_answer"] < 0.1


def test_what_is_trained_on_is_what_is_asked_about(tiny_chats: Path) -> None:
    made = student(tiny_chats)
    made.chat.wanted = type(made.chat.wanted)(made.chat.wanted.model, image_size=24)
    shelf = lessons(1)[1]
    shelf.pictures["p000"] = picture(3, 60, 90)
    row = rows.Rows(made.chat, asking()).row(Lesson(Image("p000", shelf), "cat"))
    ready = made.chat._ready(made.chat._written(asking(), {}), 0, shelf.pictures["p000"])
    prompt = made.chat._prompt
    assert prompt is not None
    whole = made.chat._whole(prompt, made.chat._sized(shelf.pictures["p000"]))
    assert torch.equal(row.inputs["pixel_values"], whole["pixel_values"])
    assert torch.equal(row.inputs["input_ids"][:, : row.prompt], whole["input_ids"])
    assert not isinstance(ready, str)


def test_pictures_are_read_when_they_are_needed(tiny_chats: Path) -> None:
    made, (some, shelf) = student(tiny_chats), lessons()
    maker = rows.Rows(made.chat, asking())
    assert not shelf.reads
    maker.row(some[2])
    maker.row(some[2])
    assert shelf.reads == ["p002", "p002"], "none is kept"


def test_training_pictures_in_the_prompt_stay_where_they_are(tiny_chats: Path) -> None:
    made, (some, _) = student(tiny_chats, "qwen3_vl"), lessons(2)
    maker = rows.Rows(made.chat, asking(examples=("a",)), {"a": picture(50, 32, 64)})
    rows.require_honest(made.network, maker, some[1])
    batch = maker.batch([maker.row(lesson) for lesson in some])
    assert batch.inputs["image_grid_thw"].shape[0] == 4


def test_a_prompt_that_is_too_long_is_refused(tiny_chats: Path) -> None:
    made, (some, _) = student(tiny_chats), lessons(1)
    long = Asking((Message("user", (" 7" * 5000, Shown())),), NAMES)
    with pytest.raises(DataProblem, match="tokens, and the model reads"):
        rows.Rows(made.chat, long).row(some[0])


@pytest.mark.parametrize(("architecture", "name"), [("mllama", "cross_attention_mask"), ("idefics3", "attention_mask")])
def test_what_hides_prompt_or_picture_from_an_answer_is_noticed(
    tiny_chats: Path, architecture: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, (some, _) = student(tiny_chats, architecture), lessons(6)
    honest = rows.followed

    def spoilt(inputs: Any, answer: Any) -> Any:
        found = honest(inputs, answer)
        mask = found[name].clone()
        at = slice(-len(answer), None) if name.startswith("cross") else slice(0, 60)
        mask[:, at] = 0
        return {**found, name: mask}

    monkeypatch.setattr(rows, "followed", spoilt)
    with pytest.raises(DataProblem, match="otherwise when it is taught"):
        rows.require_honest(made.network, rows.Rows(made.chat, asking()), some[5])
