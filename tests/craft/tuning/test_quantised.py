"""Weights in four bits: gradients pass them after an answer as before, and nothing is fetched for it."""

from __future__ import annotations

import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.craft.chat.asking import asking, picture
from tests.craft.tuning.taught import lessons, student

from fieldguide.craft.chat import narrow
from fieldguide.craft.tuning import Tuning, quantised, rows

NF4 = Tuning("qlora", rank=4, alpha=16)


def gradients(made: Any) -> dict[str, float]:
    """Return the largest gradient of each adapter after one step's way back."""
    some, _ = lessons(2)
    maker = rows.Rows(made.chat, asking())
    made.network.train()
    made.network.zero_grad()
    rows.loss(made.network, maker.batch([maker.row(lesson) for lesson in some])).backward()
    made.network.eval()
    return {
        name: 0.0 if one.grad is None else float(one.grad.abs().max())
        for name, one in made.trained().items()
        if "lora_B" in name
    }


@pytest.mark.parametrize("architecture", ["idefics3", "qwen3_vl"])
def test_an_answer_in_between_leaves_every_gradient(tiny_chats: Path, architecture: str) -> None:
    made = student(tiny_chats, architecture, NF4)
    assert len(quantised.layers(made.network)) > 20
    before = gradients(made)
    answer = [one.text for one in made.chat.ask(asking(most_tokens=4), [picture(1), picture(2)], {})]
    after = gradients(made)
    assert all(before.values())
    assert after == before
    made.chat.close()
    assert [one.text for one in made.chat.ask(asking(most_tokens=4), [picture(1), picture(2)], {})] == answer


@pytest.mark.skipif(not torch.cpu.get_capabilities().get("avx512_bf16"), reason="this CPU has nothing to repack weights for")
def test_without_care_it_would_silently_stand_still(tiny_chats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "held", lambda network: network)
    monkeypatch.setattr(narrow, "held", lambda network: network)
    made = student(tiny_chats, "idefics3", NF4)
    next(made.chat.ask(asking(most_tokens=2), [picture(1)], {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not all(gradients(made).values())


def test_both_towers_are_quantised_and_what_stands_between_is_not(tiny_chats: Path) -> None:
    made = student(tiny_chats, "qwen3_vl", NF4)
    bits = {id(module) for module in quantised.layers(made.network)}
    paths = [path for path, module in made.network.named_modules() if id(module) in bits]
    assert any(".visual.blocks." in path for path in paths)
    assert any(".language_model." in path for path in paths)
    assert not any("merger" in path or "lm_head" in path for path in paths)
    assert made.counts["language"].all > 140_000, "four-bit numbers are counted as numbers"


def test_its_import_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    there = quantised.library()
    monkeypatch.delitem(sys.modules, "bitsandbytes")
    kernels, seen = types.ModuleType("kernels"), []
    monkeypatch.setitem(sys.modules, "kernels", kernels)

    def imported(name: str) -> Any:
        seen.append((name, sys.modules["kernels"]))
        return there

    monkeypatch.setattr(narrow.importlib, "import_module", imported)
    assert quantised.library() is there
    assert seen == [("bitsandbytes", None)], "with that module gone nothing can be fetched through it"
    assert sys.modules["kernels"] is kernels
