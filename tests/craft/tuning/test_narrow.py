"""Training in bf16 and fp16: what is trained stays in fp32, the loss falls, and a kill changes no bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.craft.tuning.taught import PLAN, Dying, Killed, bench, lessons, losses, teaching

from fieldguide.bench import read_log
from fieldguide.craft.tuning import Tuning
from fieldguide.craft.tuning.teaching import Teaching, taught

EVERY = frozenset({"vision", "projector", "language", "attention", "mlp"})
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def narrow(tiny_chats: Path, precision: Any, architecture: str = "idefics3", **more: Any) -> Teaching:
    made = teaching(tiny_chats, architecture, **more)
    return dataclasses.replace(made, wanted=dataclasses.replace(made.wanted, precision=precision))


@pytest.mark.slow(keep=2)
@pytest.mark.parametrize("architecture", ["idefics3", "llava", "qwen3_vl", "mllama"])
@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_it_learns_in_narrow_arithmetic(
    tiny_chats: Path, tmp_path: Path, precision: str, method: Any, architecture: str
) -> None:
    some, _ = lessons()
    rate = 2e-3 if method == "full" else 5e-3
    plan = dataclasses.replace(PLAN, steps=10, every=5, learning_rate=rate)
    given = narrow(tiny_chats, precision, architecture, tuning=Tuning(method, EVERY, rank=4, alpha=16), plan=plan)
    made, _ = taught(given, some, [], bench(tmp_path))
    curve = losses(tmp_path)
    assert curve[-1] < 0.9 * curve[0], curve
    assert made.precision == precision
    assert made.network.dtype == (torch.float32 if method == "full" else TYPES[precision])
    assert {tensor.dtype for tensor in made.trained().values()} == {torch.float32}, (
        "steps are smaller than narrow numbers tell apart"
    )


@pytest.mark.slow(keep=2)
@pytest.mark.parametrize("head", ["words", "labels", "linear"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_killed_in_narrow_arithmetic_it_goes_on_to_the_same_bits(
    tiny_chats: Path, tmp_path: Path, precision: str, head: Any
) -> None:
    some, _ = lessons(8)
    plan = dataclasses.replace(PLAN, steps=5, every=2, learning_rate=2e-3, patience=9)
    # In fp16 the first steps of this model overflow and are left out, until the scale of gradients is small enough.
    given = narrow(tiny_chats, precision, "llava", tuning=Tuning(rank=4, dropout=0.2), plan=plan, head=head)
    whole, expected = taught(given, some[:6], some[6:], bench(tmp_path / "whole"))
    for after in (
        10,
        5,
    ):  # in the first pass over the pictures, which is made before anything is trained, and behind the first look
        with pytest.raises(Killed):
            taught(given, some[:6], some[6:], bench(tmp_path / "torn", progress=Dying(after)))
    torn, found = taught(given, some[:6], some[6:], bench(tmp_path / "torn"))
    assert any(event["event"] == "resumed" for event in read_log(tmp_path / "torn" / "log.jsonl"))
    assert losses(tmp_path / "torn") == losses(tmp_path / "whole")
    for name, tensor in whole.trained().items():
        assert torch.equal(torn.trained()[name], tensor), name
    if expected.module is not None and found.module is not None:
        assert all(torch.equal(a, b) for a, b in zip(found.module.parameters(), expected.module.parameters(), strict=True))
