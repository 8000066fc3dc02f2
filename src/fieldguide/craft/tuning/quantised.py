"""Weights in four bits (NF4, by bitsandbytes), which is what QLoRA trains adapters on; on a CPU, too.

They are loaded as for asking (`fieldguide.craft.chat.narrow`). On a CPU bitsandbytes would repack them the first time that a layer is asked
without gradients, and from then on no gradient passes it: training goes on in silence with most adapters standing still. So layers are
`held` before the first pass: answers and training then read the same numbers, and an evaluation in between changes nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fieldguide.craft.chat.narrow import Load, held, layers, library, loaded

__all__ = ["Load", "held", "layers", "library", "loaded", "widened"]


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
