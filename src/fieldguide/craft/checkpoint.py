"""Checkpoints as one safetensors file: tensors of model, best model and optimiser, and a JSON of positions. No pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from fieldguide.files import system_problem, writing


def save(path: Path, groups: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    """Write groups of named tensors and a JSON `state`, whole or not at all."""
    flat = {
        f"{group}/{name}": tensor.detach().cpu().contiguous().clone()
        for group, named in groups.items()
        for name, tensor in named.items()
    }
    with writing(path) as temporary:
        save_file(flat, temporary, metadata={"state": json.dumps(state)})


def load(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]] | None:
    """Return what `save` wrote, or `None` where there is no checkpoint, or a damaged one.

    Raises `EnvironmentProblem` where the disk cannot read it now: hours of training are not begun again for that.
    """
    if not path.exists():
        return None
    groups: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as stream:
            state = json.loads((stream.metadata() or {})["state"])
            for flat in stream.keys():  # noqa: SIM118 - safe_open is no dict
                group, _, name = flat.partition("/")
                groups.setdefault(group, {})[name] = stream.get_tensor(flat)
    except (SafetensorError, KeyError, json.JSONDecodeError):
        return None
    except OSError as error:
        problem = system_problem(error, path)
        if problem is None:
            return None
        raise problem from error
    return groups, state


def optimiser_tensors(optimiser: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """Return the optimiser's state as tensors named ``parameter|entry``."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{names[parameter]}|{entry}": value if isinstance(value, Tensor) else torch.tensor(value)
        for parameter, entries in optimiser.state.items()
        for entry, value in entries.items()
    }


def restore_optimiser(optimiser: Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimiser_tensors` returned."""
    parameters = dict(model.named_parameters())
    for flat, value in tensors.items():
        name, _, entry = flat.rpartition("|")
        parameter = parameters[name]
        # Moments lie in memory as their parameter does: the fused step walks through both as flat lists.
        alike = value.shape == parameter.shape
        optimiser.state[parameter][entry] = torch.empty_like(parameter).copy_(value) if alike else value.to(parameter.device)
