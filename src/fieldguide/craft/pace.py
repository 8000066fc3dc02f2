"""How fast a network may run: arithmetic and memory layout, chosen by timing where the hardware leaves a choice.

What to expect (two CPU cores with bf16 tiles): bf16 for transformers, bf16 with channels last for dense and grouped convolutions, fp32
with channels last for depthwise ones, whose time goes into memory traffic. A GPU without bf16 gets fp16 with scaled gradients.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn

from fieldguide.bench import Bench
from fieldguide.craft import decisions

Precision = Literal["fp32", "bf16", "fp16"]
Layout = Literal["channels_last", "contiguous"]
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
#: Timed steps of each candidate, after one that is not counted; the fastest stands for it.
STEPS = 3
#: Pictures of a timed step at most: ratios hardly depend on it.
PICTURES = 8


@dataclass(frozen=True)
class Pace:
    """The arithmetic of a forward pass, and whether colours lie last in memory."""

    precision: Precision = "fp32"
    layout: Layout = "channels_last"


def placed(model: nn.Module, device: str, pace: Pace = Pace()) -> nn.Module:
    """Move a network to its device and make it ready for a pace; convolutions prefer channels last, and attention does not mind.

    On a CPU the way back through timm's fused attention is not written for bf16: plain attention takes a third to a half less of a step.
    """
    if pace.precision == "bf16" and device == "cpu":
        for module in fused(model):
            module.fused_attn = False
    return model.to(device).to(memory_format=memory_format(pace.layout))


def fused(model: nn.Module) -> list[Any]:
    """Return the modules of a network that compute attention in one piece and would do without, as timm's do."""
    return [module for module in model.modules() if getattr(module, "fused_attn", False)]


def memory_format(layout: Layout) -> torch.memory_format:
    """Return torch's word for a layout."""
    return torch.channels_last if layout == "channels_last" else torch.contiguous_format


def autocast(device: str, precision: Precision) -> AbstractContextManager[Any]:
    """Return the context in which a forward pass runs at `precision`."""
    kind = _TYPES.get(precision)
    return nullcontext() if kind is None else torch.autocast(device.split(":")[0], dtype=kind)


def native(device: str) -> Precision:
    """Return the narrowest arithmetic that `device` multiplies natively and that training stands: bf16, else fp16 on a GPU, else fp32."""
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    able = torch.cpu.get_capabilities() if device == "cpu" else {}
    return "bf16" if able.get("amx_bf16") or able.get("avx512_bf16") else "fp32"


def candidates(device: str) -> tuple[Pace, ...]:
    """Return what is worth timing on `device`, what is safest first."""
    narrow = native(device)
    # In fp32 channels last was never the slower one: nothing to choose, so that two runs on such a machine are alike to the last bit.
    return (Pace(),) if narrow == "fp32" else (Pace(), Pace(narrow, "channels_last"), Pace(narrow, "contiguous"))


def decided(model: nn.Module, size: int, batch_size: int, bench: Bench, asked: Literal["auto"] | Precision) -> Pace:
    """Return the pace of a fit; decided once, written down with its timings before it is used, and replayed by every later sitting."""

    def decide() -> dict[str, Any]:
        choice = candidates(bench.device) if asked == "auto" else (Pace(asked),)
        if len(choice) == 1:
            return {"chosen": asdict(choice[0]), "timed": []}
        timings = timed(model, size, min(batch_size, PICTURES), bench.device, choice)
        told = [{**asdict(pace), "seconds": seconds} for pace, seconds in timings.items()]
        return {"chosen": asdict(min(timings, key=lambda pace: timings[pace])), "timed": told}

    return Pace(**decisions.remembered(bench, "pace", decide)["chosen"])


def timed(
    model: nn.Module,
    size: int,
    pictures: int,
    device: str,
    choice: Sequence[Pace],
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Pace, float]:
    """Return seconds of the fastest of three training steps at each pace; weights, statistics and random state stay as they were."""
    attention = fused(model)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    found: dict[Pace, float] = {}
    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices):
        for pace in choice:
            placed(model, device, pace).train()
            noise = torch.randn(pictures, 3, size, size, device=device).to(memory_format=memory_format(pace.layout))
            seconds = []
            for _ in range(STEPS + 1):
                start = clock()
                with autocast(device, pace.precision):
                    loss = model(noise).float().square().mean()
                loss.backward()
                if devices:
                    torch.cuda.synchronize()
                seconds.append(clock() - start)
                model.zero_grad(set_to_none=True)
            found[pace] = min(seconds[1:])
            for module in attention:
                module.fused_attn = True
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    return found
