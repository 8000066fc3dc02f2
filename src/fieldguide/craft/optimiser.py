"""What moves the weights: parameter groups with their own rates and decay, the schedule, and a running mean of the weights.

AdamW: Loshchilov and Hutter, arXiv 1711.05101. Cosine: arXiv 1608.03983. Layer-wise rates: ULMFiT, arXiv 1801.06146, and
BEiT, arXiv 2106.08254. Mean of weights: Polyak and Juditsky 1992, with the warm-up of its decay that timm uses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

Schedule = Literal["cosine", "linear", "constant"]


def groups(model: nn.Module, weight_decay: float, factors: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return groups of the parameters that are trained; `factors` are rates against the plan's, by name (1 where not named).

    Matrices decay; norms, biases, other vectors and what the network names are left alone.
    """
    # timm's networks name their position embeddings and class tokens, VMamba its decays and step biases.
    named: Any = getattr(model, "no_weight_decay", frozenset)
    spared = frozenset(named())
    found: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            matrix = parameter.ndim > 1 and name not in spared
            found.setdefault((matrix, factors.get(name, 1.0)), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": weight_decay if matrix else 0.0, "factor": factor}
        for (matrix, factor), parameters in found.items()
    ]


def rate(step: int, total: int, warmup: float, schedule: Schedule) -> float:
    """Return the part of the peak rate at `step` of `total`, counted from 0: a linear rise, then the schedule."""
    warm = round(warmup * total)
    if step < warm:
        return (step + 1) / warm
    gone = (step - warm) / max(1, total - warm)
    if schedule == "constant":
        return 1.0
    return 1 - gone if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * gone))


class RunningMean:
    """A mean of the weights that forgets: each step moves it towards them by ``1 - decay``, at first by more.

    `tensors` are those of the network's state that change, by name; integer counters are copied.
    """

    def __init__(self, model: nn.Module, names: frozenset[str], decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items() if name in names}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move on by one step of training."""
        state = model.state_dict()
        floats = [name for name, tensor in self.tensors.items() if tensor.is_floating_point()]
        # Early on a long memory would hold little but the start; (1 + t) / (10 + t) lets it grow with what there is to remember.
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average([self.tensors[name] for name in floats], [state[name] for name in floats], self.steps)
        for name in self.tensors.keys() - set(floats):
            self.tensors[name].copy_(state[name])
        self.steps += 1


def changing(model: nn.Module) -> frozenset[str]:
    """Return the names of the state that training can change: trained parameters, and all buffers."""
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return frozenset(trained | {name for name, _ in model.named_buffers()} & model.state_dict().keys())


def copied(model: nn.Module, names: frozenset[str]) -> dict[str, Tensor]:
    """Return copies of these tensors of the network's state."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items() if name in names}
