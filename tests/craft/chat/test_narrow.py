"""Models that are asked with weights in fewer bits: other answers under another name, the same at any time, and those that QLoRA begins with."""

from __future__ import annotations

import importlib.util
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.craft.chat.asking import NAMES, asking, picture
from tests.craft.tuning.taught import logits, student

from fieldguide import families, plan
from fieldguide.craft.chat import Wanted, local_files, narrow
from fieldguide.craft.chat.local import Local, open_local
from fieldguide.craft.tuning import Tuning, keeping
from fieldguide.craft.tuning.keeping import Told
from fieldguide.errors import EnvironmentProblem, UsageProblem

PICTURES = [picture(at) for at in range(5)]
WEIGHED = asking(how="likelihood")


def opened(tiny_chats: Path, bits: int | None, architecture: str = "idefics3", **more: Any) -> Local:
    return open_local(Wanted(f"hf/{tiny_chats / architecture}", bits=bits, precision="fp32", **more))


def sums(chat: Local, some: Any = PICTURES) -> torch.Tensor:
    """Return log-probabilities of all names for each picture."""
    said = list(chat.ask(WEIGHED, some, {}))
    assert not [one.error for one in said if one.error]
    return torch.tensor([json.loads(one.text)["sums"] for one in said])


@pytest.mark.parametrize("architecture", ["idefics3", "qwen3_vl"])
def test_four_bits_answer_the_same_at_any_time_in_any_batch_and_by_the_quick_ways(tiny_chats: Path, architecture: str) -> None:
    plain, chat = opened(tiny_chats, None, architecture), opened(tiny_chats, 4, architecture)
    assert len(narrow.layers(chat.model)) > 20
    assert chat.facts["parameters"] == plain.facts["parameters"], "a number in four bits is a number"
    first = sums(chat)
    assert chat.facts["likelihood"]["way"] == "joined" and chat.facts["prefix"]["used"]
    assert torch.equal(sums(chat), first), "a pass before changes nothing"
    torch.testing.assert_close(sums(chat.alone()), first, atol=1e-4, rtol=0)
    assert (first - sums(plain)).abs().max() > 0.05, "the weights are others"
    short = asking(most_tokens=4)
    alone = [one.text for one in chat.alone().ask(short, PICTURES, {})]
    assert [one.text for one in chat.ask(short, PICTURES, {})] == alone


@pytest.mark.skipif(not torch.cpu.get_capabilities().get("avx512_bf16"), reason="this CPU has nothing to repack weights for")
def test_repacked_weights_would_answer_with_other_numbers(tiny_chats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = sums(opened(tiny_chats, 4))
    monkeypatch.setattr(narrow, "held", lambda network: network)
    repacked = opened(tiny_chats, 4)
    found = sums(repacked)
    assert torch.equal(sums(repacked), found), "from the first pass on they are the same"
    assert 1e-4 < (found - honest).abs().max() < 0.5


def test_bits_are_part_of_the_name_of_a_model_and_of_nothing_else(tiny_chats: Path) -> None:
    every = {bits: opened(tiny_chats, bits) for bits in (None, 4, 8)}
    assert len({chat.revision for chat in every.values()}) == 3
    folder = tiny_chats / "idefics3"
    assert every[None].revision == local_files.revision(folder, ["fp32", None]), "answers from before there were bits are found"
    assert [chat.facts.get("bits") for chat in every.values()] == [None, 4, 8]
    assert {chat.facts["precision"] for chat in every.values()} == {"fp32"}


def test_eight_bits_look_at_one_picture_at_a_time(tiny_chats: Path) -> None:
    chat = opened(tiny_chats, 8, batch_size=8)
    assert chat.batch == 1 and chat.model.is_loaded_in_8bit
    assert logging.getLogger("bitsandbytes.autograd").getEffectiveLevel() >= logging.ERROR, "it would say so at every layer"
    found = sums(chat)
    assert torch.equal(found, sums(chat))
    assert 0 < (found - sums(opened(tiny_chats, None))).abs().max() < 1


def test_the_model_before_is_the_one_that_qlora_begins_with_and_is_loaded_on(tiny_chats: Path, tmp_path: Path) -> None:
    made = student(tiny_chats, "idefics3", Tuning("qlora", rank=2, alpha=4))  # an adapter adds nothing before its first step
    asked = opened(tiny_chats, 4)
    assert torch.equal(logits(made.network, made.chat), logits(asked.model, asked))
    keeping.save(made, Told(asking(), tuple((name, name) for name in NAMES)), tmp_path)
    again, _ = keeping.load(tmp_path, Wanted())
    assert torch.equal(logits(again.network, again.chat), logits(asked.model, asked))
    assert sums(again.chat).equal(sums(asked))


def test_a_missing_package_is_told_before_anything_is_loaded(tiny_chats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contestant = families.parse(f"vlm_prompt:model=hf/{tiny_chats / 'idefics3'},bits=4,as=narrow")
    assert plan.obstacle(contestant, online=False) is None
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "bitsandbytes" else found(name, *more))
    problem = plan.obstacle(contestant, online=False)
    assert isinstance(problem, EnvironmentProblem) and plan.missing_extra(problem)
    assert "bitsandbytes" in problem.given and problem.next.startswith("pip install")
    plain = replace(contestant, settings=contestant.settings.model_copy(update={"bits": None}))
    assert plan.obstacle(plain, online=False) is None


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("vlm_prompt/drawn:bits=3", "bits = '3' is not possible"),
        ("vlm_prompt:model=ollama/llava,bits=4", "bits belongs to models of transformers"),
        ("vlm_prompt:model=served/x,server=http://localhost,bits=8", "bits belongs to models of transformers"),
    ],
)
def test_bits_that_are_none_or_not_ours_to_choose(words: str, why: str) -> None:
    with pytest.raises(UsageProblem, match=why):
        families.parse(words)
