"""The loop: every architecture learns, a kill changes no number, memory that runs out changes none either, the best look is kept."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.craft.chat.asking import asking, picture
from tests.craft.tuning.taught import (
    PLAN,
    SMALL,
    Dying,
    Killed,
    bench,
    lessons,
    logits,
    losses,
    student,
    teaching,
)
from transformers import AutoModelForImageTextToText

from fieldguide.bench import read_log
from fieldguide.craft.chat.tiny import architectures
from fieldguide.craft.tuning import Tuning, heads, keeping, rows, saying, training
from fieldguide.craft.tuning.teaching import taught
from fieldguide.craft.tuning.training import Course
from fieldguide.errors import EnvironmentProblem

EVERY = frozenset({"vision", "projector", "language", "attention", "mlp"})


@pytest.mark.slow(keep=2)
@pytest.mark.parametrize("architecture", architectures())
@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_it_learns_is_kept_comes_back_and_merges(tiny_chats: Path, tmp_path: Path, architecture: str, method: Any) -> None:
    some, _ = lessons()
    how = Tuning(method, EVERY, rank=4, alpha=16)
    rate = 2e-3 if method == "full" else 5e-3
    plan = dataclasses.replace(PLAN, steps=10, every=5, learning_rate=rate)
    given = teaching(tiny_chats, architecture, how, plan=plan, checkpointing=True)
    made, _ = taught(given, some, [], bench(tmp_path / "run"))
    curve = losses(tmp_path / "run")
    assert curve[-1] < 0.9 * curve[0], curve
    expected = logits(made.network, made.chat)
    folder = tmp_path / "kept"
    folder.mkdir()
    keeping.save(made, keeping.Told(asking(), (("a", "b"),)), folder)
    again, told = keeping.load(folder, given.wanted)
    assert torch.equal(logits(again.network, again.chat), expected)
    assert (told.asking, told.classes) == (asking(), (("a", "b"),))
    assert again.chat.revision == made.chat.revision != made.base
    whole = keeping.merge(again, tmp_path / "merged")
    merged = AutoModelForImageTextToText.from_pretrained(whole).eval()
    assert float((logits(merged, made.chat) - expected).abs().max()) < 1e-5
    assert not hasattr(merged.config, "quantization_config")


@pytest.mark.slow(keep=2)
@pytest.mark.parametrize("kind", ["words", "labels", "linear"])
@pytest.mark.parametrize("optimiser", ["adamw", "adamw8bit"])
def test_killed_anywhere_it_goes_on_to_the_same_numbers(tiny_chats: Path, tmp_path: Path, kind: Any, optimiser: Any) -> None:
    some, _ = lessons(10)
    # So large that eight bits are used, and with dropout, whose random state has to come back.
    how = Tuning(rank=64, alpha=16, dropout=0.2)
    plan = dataclasses.replace(PLAN, steps=6, every=2, optimiser=optimiser, learning_rate=2e-3, patience=9)
    given = teaching(tiny_chats, tuning=how, plan=plan, head=kind)
    made, _ = taught(given, some[:7], some[7:], bench(tmp_path / "whole"))
    expected = {name: tensor.detach().clone() for name, tensor in made.trained().items()}
    draw = random.Random(f"{kind} {optimiser}")
    # In the first pass over the pictures, then behind it, then wherever the second has come to.
    for after in (draw.randint(3, 9), 10 + draw.randint(2, 7), draw.randint(2, 5)):
        with pytest.raises(Killed):
            taught(given, some[:7], some[7:], bench(tmp_path / "torn", progress=Dying(after)))
    made, _ = taught(given, some[:7], some[7:], bench(tmp_path / "torn"))
    for name, tensor in made.trained().items():
        assert torch.equal(tensor, expected[name]), name
    assert losses(tmp_path / "torn") == losses(tmp_path / "whole")
    curves = [
        [
            {name: value for name, value in event.items() if name != "seconds"}
            for event in read_log(tmp_path / name / "log.jsonl")
            if event["event"] in ("epoch", "best")
        ]
        for name in ("torn", "whole")
    ]
    assert curves[0] == curves[1]


def test_another_plan_begins_anew(tiny_chats: Path, tmp_path: Path) -> None:
    some, _ = lessons(4)
    for rate in (1e-3, 2e-3):
        plan = dataclasses.replace(PLAN, learning_rate=rate, steps=2, every=1)
        taught(teaching(tiny_chats, plan=plan), some, [], bench(tmp_path))
    assert not any(event["event"] == "resumed" for event in read_log(tmp_path / "log.jsonl"))
    assert len(losses(tmp_path)) == 2


def course(tiny_chats: Path, folder: Path, plan: training.Plan = PLAN, judge: Any = training.exact) -> Course:
    some, _ = lessons(6)
    made = student(tiny_chats, tuning=SMALL)
    head = heads.Words(made, rows.Rows(made.chat, asking(most_tokens=4)))
    return Course(head, some, some[:2], plan, bench(folder), judge)


def test_memory_that_runs_out_cuts_batches_and_changes_no_number(
    tiny_chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = dataclasses.replace(PLAN, batch_size=4, accumulate=1, steps=3, every=3)
    expected = course(tiny_chats, tmp_path / "one", plan)
    expected.go()
    honest = heads.Words.loss

    def small(self: heads.Words, some: Any) -> Any:
        if len(some) > 1:
            raise RuntimeError("CUDA out of memory")
        return honest(self, some)

    monkeypatch.setattr(heads.Words, "loss", small)
    found = course(tiny_chats, tmp_path / "two", plan)
    found.go()
    assert found.pieces == 4
    for name, tensor in found.best.items():
        assert torch.allclose(tensor, expected.best[name], atol=1e-5)
    assert any(event.get("batches_cut_into") == 4 for event in read_log(tmp_path / "two" / "log.jsonl"))
    assert course(tiny_chats, tmp_path / "two", plan).pieces == 4, "it is remembered"

    def full(self: heads.Words, some: Any) -> Any:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(heads.Words, "loss", full)
    with pytest.raises(RuntimeError, match="out of memory"):
        course(tiny_chats, tmp_path / "three", plan).go()


def test_the_best_look_is_kept_and_patience_ends(tiny_chats: Path, tmp_path: Path) -> None:
    said = iter([0.2, 0.9, 0.3, 0.4, 0.95])
    kept: list[dict[str, Any]] = []
    plan = dataclasses.replace(PLAN, steps=5, every=1, patience=2)
    run = course(tiny_chats, tmp_path, plan, lambda answers, some: {"accuracy": next(said)})

    def judge(answers: Any, some: Any) -> dict[str, float]:
        kept.append(run._copied())
        return {"accuracy": next(said)}

    run.judge = judge
    run.go()
    assert len(kept) == 5, "two looks without a better one, and one at training pictures"
    assert all(torch.equal(tensor, kept[1][name]) for name, tensor in run._copied().items())
    log = read_log(tmp_path / "log.jsonl")
    assert [event["val_accuracy"] for event in log if event["event"] == "epoch"] == [0.2, 0.9, 0.3, 0.4]
    assert log[-1]["event"] == "best" and (log[-1]["epoch"], log[-1]["val_accuracy"]) == (1, 0.9)
    assert (log[-1]["train_accuracy"], log[-1]["train_pictures"], log[-1]["val_pictures"]) == (0.95, 2, 2)
    assert all(torch.equal(tensor, kept[1][name]) for name, tensor in kept[4].items()), (
        "it is asked of the weights that are kept"
    )


def test_training_pictures_are_asked_about_evenly() -> None:
    drawn = training.evenly("aaaaaaabbc", 6, 0)
    assert sorted("aaaaaaabbc"[at] for at in drawn) == list("aaabbc")
    assert drawn != training.evenly("aaaaaaabbc", 6, 1) and drawn == training.evenly("aaaaaaabbc", 6, 0)
    assert training.evenly("", 3, 0) == [] and len(training.evenly("ab", 9, 0)) == 2


def test_a_look_asks_the_weights_of_now(tiny_chats: Path) -> None:
    made, (some, _) = student(tiny_chats), lessons(3)
    maker = rows.Rows(made.chat, asking(most_tokens=5))
    images = [lesson.image for lesson in some]
    before = [one.text for one in saying.said(maker, images)]
    with torch.no_grad():
        for name, tensor in made.trained().items():
            tensor.add_(0.3 if "lora_B" in name else 0.0)
    after = [one.text for one in saying.said(maker, images)]
    assert before != after
    made.chat.close()
    assert after == [
        one.text for one in made.chat.ask(asking(most_tokens=5), [picture(at, 32, 32 + 16 * at) for at in range(3)], {})
    ]


def test_a_loss_that_is_no_number_is_told(tiny_chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = heads.Words.loss
    monkeypatch.setattr(heads.Words, "loss", lambda self, some: honest(self, some) * float("nan"))
    with pytest.raises(EnvironmentProblem, match="diverged"):
        course(tiny_chats, tmp_path).go()


def test_a_step_is_a_mean_over_all_its_answers_and_epochs_follow_each_other(tiny_chats: Path, tmp_path: Path) -> None:
    run = course(tiny_chats, tmp_path)
    seen = [lesson.image.key for step in range(6) for lesson in run.drawn(step)]
    assert [sorted(seen[at : at + 6]) for at in range(0, 24, 6)] == [sorted(one.image.key for one in run.train)] * 4
    assert seen[:6] != seen[6:12]
    gradients = []
    for size, groups in ((4, 1), (1, 4), (2, 2)):
        run.plan = dataclasses.replace(PLAN, batch_size=size, accumulate=groups)
        value, terms = run._gradient(run.train[:4])
        gradients.append((value / terms, {name: one.grad.clone() for name, one in run.free.items() if one.grad is not None}))
    for value, found in gradients[1:]:
        assert value == pytest.approx(gradients[0][0], rel=1e-5)
        assert all(torch.allclose(tensor, gradients[0][1][name], atol=1e-5) for name, tensor in found.items())


def test_steps_of_epochs_and_of_a_limit() -> None:
    assert training.steps_of(3780, 2, 4, 1.0, 30) == 30
    assert training.steps_of(3780, 2, 4, 1.0) == 473
    assert training.steps_of(3, 8, 1, 1.0) == 1
