"""Weights in fewer bits, by bitsandbytes: four (NF4, Dettmers et al., arXiv 2305.14314) or eight (LLM.int8, 2208.07339); on a CPU, too.

The linear layers of both towers are narrowed; projector, embeddings and what gives logits stay as they are. So a model that is asked in
four bits answers with the very numbers that QLoRA trains its adapters on (`fieldguide.craft.tuning`).

On a CPU bitsandbytes repacks four-bit weights for quicker answers the first time that a layer is asked without gradients, and computes
in bfloat16 from then on, whatever arithmetic was chosen. So repacking is switched off in every layer (`held`), before the first pass: an
answer reads the same numbers whenever it is asked for, and in training every gradient passes.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fieldguide.craft.chat import local_files
from fieldguide.craft.chat.towers import towers

#: What keeps the bits: each block of weights has a scale, and the scales are quantised once more.
_KIND = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
#: What weights of so many bits are called in the name of a model.
_NAMES = {4: "nf4", 8: "int8"}
Load = Callable[[str, Path, torch.dtype], Any]


def library() -> Any:
    """Return bitsandbytes; peft is imported behind it.

    Where the package `kernels` is there, its import would fetch compiled code from a hub and run it, and elsewhere complain that it cannot.
    """
    if "bitsandbytes" in sys.modules:
        return sys.modules["bitsandbytes"]
    chatter = logging.getLogger("bitsandbytes")
    level, kernels = chatter.level, sys.modules.get("kernels")
    sys.modules["kernels"] = None  # type: ignore[assignment]
    try:
        chatter.setLevel(logging.ERROR)
        return importlib.import_module("bitsandbytes")
    finally:
        chatter.setLevel(level)
        if kernels is None:
            del sys.modules["kernels"]
        else:
            sys.modules["kernels"] = kernels


def require_packages() -> None:
    """Raise `ModuleNotFoundError` for a package that weights in fewer bits need and that is not installed."""
    for package in ("bitsandbytes", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)


def named(bits: int | None) -> tuple[str, ...]:
    """Return what the name of a model holds for weights of so many bits; nothing where they are as they were written."""
    return () if bits is None else (_NAMES[bits],)


def loaded(model: str, folder: Path, dtype: torch.dtype, *, device: str = "cpu", bits: int = 4) -> Any:
    """Return the network with the linear layers of both towers in `bits` bits, on `device`; all others as they are."""
    from transformers import BitsAndBytesConfig

    library()
    left = _left(folder, dtype)
    if bits == 4:
        config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=dtype, llm_int8_skip_modules=left, **_KIND)
    else:
        config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=left)
        # It says at every layer of every pass that what comes in is rounded to 16 bits first, which is what it is for.
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    return held(local_files.loaded(model, folder, dtype, quantization_config=config, device_map={"": device}))


def _left(folder: Path, dtype: torch.dtype) -> list[str]:
    """Return the paths of the linear layers that are not quantised."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    with torch.device("meta"):
        empty = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder, local_files_only=True), dtype=dtype)
    place = towers(empty)
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
