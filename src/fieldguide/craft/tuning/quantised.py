"""Weights in four bits (NF4, by bitsandbytes), which is what QLoRA trains adapters on; on a CPU, too.

On a CPU bitsandbytes repacks such weights for quicker answers the first time that a layer is asked without gradients, and from then on
no gradient passes it: training goes on in silence with most adapters standing still. So repacking is switched off in every layer here
(`held`), before the first pass: answers and training then read the same numbers, and an evaluation in between changes nothing.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fieldguide.craft.chat import local_files
from fieldguide.craft.tuning import parts

#: What keeps the bits: each block of weights has a scale, and the scales are quantised once more.
_KIND = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
Load = Callable[[str, Path, torch.dtype], Any]


def library() -> Any:
    """Return bitsandbytes; peft is imported behind it.

    Where the package `kernels` is there, its import would fetch compiled code from a hub and run it, and elsewhere complain that it cannot.
    """
    if "bitsandbytes" in sys.modules:
        return sys.modules["bitsandbytes"]
    chatter = logging.getLogger("bitsandbytes")
    level, kernels = chatter.level, sys.modules.get("kernels")
    chatter.setLevel(logging.ERROR)
    sys.modules["kernels"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("bitsandbytes")
    finally:
        chatter.setLevel(level)
        if kernels is None:
            del sys.modules["kernels"]
        else:
            sys.modules["kernels"] = kernels


def loaded(model: str, folder: Path, dtype: torch.dtype, *, device: str = "cpu") -> Any:
    """Return the network with the linear layers of both towers in four bits; projector, embeddings and what gives logits stay as they are."""
    from transformers import BitsAndBytesConfig

    library()
    left = _left(folder, dtype)
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=dtype, llm_int8_skip_modules=left, **_KIND)
    network = local_files.loaded(model, folder, dtype, quantization_config=config, device_map={"": device})
    return held(network)


def _left(folder: Path, dtype: torch.dtype) -> list[str]:
    """Return the paths of the linear layers that are not quantised."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    with torch.device("meta"):
        empty = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder, local_files_only=True), dtype=dtype)
    place = parts.towers(empty)
    every = [path for path, module in empty.named_modules() if isinstance(module, nn.Linear)]
    return [path for path in every if not place.part(path)[1]]


def held(network: Any) -> Any:
    """Return `network`, its four-bit layers never repacked."""
    for module in layers(network):
        module.support_avx512bf16_for_cpu = False
    return network


def layers(network: nn.Module) -> list[Any]:
    """Return the layers in four bits."""
    kind = library().nn.Linear4bit
    return [module for module in network.modules() if isinstance(module, kind)]


def widened(module: Any) -> nn.Linear:
    """Return a four-bit layer as the linear layer that it computes, in its own arithmetic."""
    dtype = module.compute_dtype or torch.float32
    weight = library().functional.dequantize_4bit(module.weight.data, module.weight.quant_state).to(dtype)
    made = nn.Linear(weight.shape[1], weight.shape[0], module.bias is not None, device=weight.device, dtype=dtype)
    with torch.no_grad():
        made.weight.copy_(weight)
        if module.bias is not None:
            made.bias.copy_(module.bias)
    return made.requires_grad_(False)
