"""What suits a network where nothing is asked: peak rate, decay, warm-up and epochs by kind of network and where its weights come from.

One recipe for all families is unfair: a ViT-B fine-tuned at 1e-3, which suits a CNN's new head, scored 7 % on Oxford Pets where Swin
reached 94 % and the same ViT reaches 95 % at 2e-5. Every value here says where it comes from, and the report repeats it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from torch import nn

Kind = Literal["convolution", "attention", "state space", "mixing"]
Start = Literal["scratch", "weights", "head"]


@dataclass(frozen=True)
class Default:
    """Peak `rate` of AdamW, `decay` of matrices, `warmup` as a part of all steps, most `epochs`; `source` says where they come from."""

    rate: float
    decay: float
    warmup: float
    epochs: int
    source: str


#: Most epochs of a set that is not small.
EPOCHS = 20
#: A small set gets more epochs, up to so many, until training has so many steps: twenty epochs of nine steps hardly move a network.
LEAST_STEPS, MOST_EPOCHS = 400, 60

_SCRATCH = "common practice for small networks from scratch (AdamW, cosine); checked on the digits of the demo"
_HEAD = "common practice for a linear head on frozen features"

DEFAULTS: dict[tuple[Kind, Start], Default] = {
    ("convolution", "scratch"): Default(1e-3, 0.05, 0.1, EPOCHS, _SCRATCH),
    ("attention", "scratch"): Default(1e-3, 0.05, 0.1, EPOCHS, _SCRATCH),
    ("state space", "scratch"): Default(1e-3, 0.05, 0.1, EPOCHS, _SCRATCH),
    ("convolution", "weights"): Default(
        3e-4, 0.05, 0.1, EPOCHS, "common practice for AdamW on pretrained CNNs: between 1e-4 and 1e-3"
    ),
    ("attention", "weights"): Default(
        5e-5, 0.05, 0.1, EPOCHS, "between the 2e-5 of a published ViT-B fine-tuning at batch 16 and the 1e-4 of common practice"
    ),
    ("state space", "weights"): Default(
        1e-4, 0.05, 0.1, EPOCHS, "the official 5e-4 at batch 1024, scaled down for fine-tuning"
    ),
    ("convolution", "head"): Default(1e-3, 0.05, 0.1, EPOCHS, _HEAD),
    ("attention", "head"): Default(1e-3, 0.05, 0.1, EPOCHS, _HEAD),
    ("state space", "head"): Default(1e-3, 0.05, 0.1, EPOCHS, _HEAD),
    ("mixing", "scratch"): Default(1e-3, 0.05, 0.1, EPOCHS, _SCRATCH),
    ("mixing", "weights"): Default(3e-4, 0.05, 0.1, EPOCHS, "that of convolutions, for want of a better one"),
    ("mixing", "head"): Default(1e-3, 0.05, 0.1, EPOCHS, _HEAD),
}

#: What attention over positions is made of: queries, whatever else they are projected with.
_QUERIES = re.compile(r"(^|[._])(q|qk|qkv|wq|query|query_key_value|in_proj_weight)([._]|$)")


def kind_of(network: nn.Module) -> Kind:
    """Tell what mixes positions in a network: a selective scan, attention, convolutions, or dense layers over positions (``mixing``).

    Attention counts where queries meet keys, be it in some blocks alone; gates called attention (squeeze and excitation, selective
    kernels) and an attention that only pools the last map do not.
    """
    names = [name for name, _ in network.named_parameters()]
    if any(name.endswith("A_logs") for name in names):
        return "state space"
    pools = tuple(f"{path}." for path, module in network.named_modules() if "pool" in type(module).__name__.lower())
    if any(_QUERIES.search(name) and not name.startswith(pools) for name in names):
        return "attention"
    # A convolution that is no wider than its stride only cuts patches.
    mixes = (max(m.kernel_size) > max(m.stride) for m in network.modules() if isinstance(m, nn.Conv2d))
    return "convolution" if any(mixes) else "mixing"


def epochs_for(epochs: int, pictures: int, step: int) -> int:
    """Return how many epochs suit `pictures` in steps of `step` pictures, where `epochs` suit a larger set."""
    steps = max(1, math.ceil(pictures / step))
    return max(epochs, min(MOST_EPOCHS, math.ceil(LEAST_STEPS / steps)))


def default(network: nn.Module, *, from_weights: bool, train: str) -> Default:
    """Return what suits `network`; `train` is the part that was asked for."""
    start: Start = "scratch" if not from_weights else "head" if train == "head" else "weights"
    return DEFAULTS[kind_of(network), start]
