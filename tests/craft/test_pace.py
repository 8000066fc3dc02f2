"""Arithmetic and layout: measured where there is a choice, written down, and replayed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from fieldguide.bench import Bench
from fieldguide.craft import pace
from fieldguide.craft.pace import Pace

THREE = (Pace(), Pace("bf16", "channels_last"), Pace("bf16", "contiguous"))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 36, 2))


class Clock:
    """A clock on which steps take as long as it is told: one that is not counted and three that are, for each pace."""

    def __init__(self, *steps: float) -> None:
        self.times = [time for step in steps for time in (0.0, step)]

    def __call__(self) -> float:
        return self.times.pop(0)


def test_the_fastest_step_after_the_first_stands_for_a_pace() -> None:
    clock = Clock(9, 3, 2, 4, 1, 5, 6, 7, 0, 8, 8, 8)
    assert pace.timed(network(), 8, 2, "cpu", THREE, clock) == {THREE[0]: 2, THREE[1]: 5, THREE[2]: 8}


def test_timing_leaves_no_trace() -> None:
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    pace.timed(model, 8, 4, "cpu", THREE)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_was_measured_is_written_down_and_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "candidates", lambda device: THREE)
    monkeypatch.setattr(pace, "timed", lambda *_: dict(zip(THREE, (3.0, 1.0, 2.0), strict=True)))
    assert pace.decided(network(), 8, 4, Bench(tmp_path), "auto") == THREE[1]
    told = json.loads((tmp_path / "decisions.json").read_text())["pace"]
    assert [entry["seconds"] for entry in told["timed"]] == [3.0, 1.0, 2.0]
    monkeypatch.setattr(pace, "timed", lambda *_: dict(zip(THREE, (1.0, 3.0, 2.0), strict=True)))
    assert pace.decided(network(), 8, 4, Bench(tmp_path), "auto") == THREE[1], "decided once"
    (tmp_path / "other").mkdir()
    assert pace.decided(network(), 8, 4, Bench(tmp_path / "other"), "auto") == THREE[0]


def test_what_is_asked_for_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "timed", lambda *_: pytest.fail("nothing to measure"))
    assert pace.decided(network(), 8, 4, Bench(tmp_path), "bf16") == Pace("bf16")


def test_without_narrow_arithmetic_there_is_nothing_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert pace.candidates("cpu") == (Pace(),)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert pace.candidates("cpu") == THREE


@pytest.mark.parametrize(("bf16", "narrow"), [(True, "bf16"), (False, "fp16")])
def test_a_gpu_without_bf16_gets_fp16(monkeypatch: pytest.MonkeyPatch, bf16: bool, narrow: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    assert pace.native("cuda") == narrow


def test_arithmetic_is_what_it_is_called() -> None:
    for precision, kind in (("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)):
        with pace.autocast("cpu", precision):  # type: ignore[arg-type]
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == kind


def attending() -> nn.Module:
    import timm

    torch.manual_seed(0)
    model: nn.Module = timm.create_model("test_vit", img_size=32, num_classes=3)
    assert pace.fused(model), "else there is nothing to switch off"
    return model


@pytest.mark.parametrize(("chosen", "plain"), [(Pace(), False), (Pace("bf16"), True), (Pace("fp16"), False)])
def test_attention_is_plain_where_bf16_meets_a_cpu(chosen: Pace, plain: bool) -> None:
    assert (not pace.fused(pace.placed(attending(), "cpu", chosen))) == plain


def test_plain_attention_answers_alike() -> None:
    pixels = torch.randn(2, 3, 32, 32)
    before = attending().eval()
    after = pace.placed(attending(), "cpu", Pace("bf16")).eval()
    torch.testing.assert_close(after(pixels), before(pixels), rtol=1e-5, atol=1e-5)


def test_each_pace_is_timed_with_its_own_attention() -> None:
    model, seen = attending(), []
    pieces = len(pace.fused(model))
    model.register_forward_pre_hook(lambda module, _: seen.append(len(pace.fused(module))))
    pace.timed(model, 32, 2, "cpu", (Pace("bf16"), Pace()))
    assert seen == [0] * 4 + [pieces] * 4
    assert len(pace.fused(model)) == pieces, "as it was"
