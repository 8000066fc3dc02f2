"""Checkpoints: named tensors as safetensors and a JSON of positions, whole or not at all, the last two kept. No pickle.

    checkpoints/LATEST              the number of the newest one
    checkpoints/<number>/           tensors.safetensors · state.json · manifest.json (SHA-256 of the other two)

A folder is written beside, synced and renamed. One whose hashes do not hold is passed over for the one before.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from fieldguide.files import building, sweep, system_problem, write_json, write_text

#: One more than needed: the newest may be the one that a failing disk has damaged.
KEPT = 2
Groups = dict[str, dict[str, Tensor]]


def save(folder: Path, groups: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    """Write groups of named tensors and a JSON `state` as the newest checkpoint of `folder`."""
    folder.mkdir(exist_ok=True)
    sweep(folder)
    numbers = _numbers(folder)
    new = folder / str(numbers[-1] + 1 if numbers else 0)
    flat = {
        f"{group}/{name}": tensor.detach().cpu().contiguous().clone()
        for group, named in groups.items()
        for name, tensor in named.items()
    }
    with building(new) as place:
        save_file(flat, place / "tensors.safetensors")
        # A loss may be no number; the file is ours, and Python reads its own word for that.
        write_text(place / "state.json", json.dumps(state))
        write_json(place / "manifest.json", {name: _hash(place / name) for name in ("tensors.safetensors", "state.json")})
    write_text(folder / "LATEST", new.name)
    for number in _numbers(folder)[:-KEPT]:
        shutil.rmtree(folder / str(number), ignore_errors=True)


def load(folder: Path) -> tuple[Groups, dict[str, Any]] | None:
    """Return the newest whole checkpoint, or `None` where there is none.

    Raises `EnvironmentProblem` where the disk cannot read it now: hours of training are not begun again for that.
    """
    # The number decides, LATEST is for people: a kill may have come between the two renames.
    for number in reversed(_numbers(folder)):
        found = _whole(folder / str(number))
        if found is not None:
            return found
    return None


def _whole(place: Path) -> tuple[Groups, dict[str, Any]] | None:
    groups: Groups = {}
    try:
        hashes = json.loads((place / "manifest.json").read_text("utf-8"))
        if any(_hash(place / name) != hashes[name] for name in ("tensors.safetensors", "state.json")):
            return None
        state = json.loads((place / "state.json").read_text("utf-8"))
        with safe_open(place / "tensors.safetensors", framework="pt") as stream:
            for flat in stream.keys():  # noqa: SIM118 - safe_open is no dict
                group, _, name = flat.partition("/")
                groups.setdefault(group, {})[name] = stream.get_tensor(flat)
    except (SafetensorError, KeyError, ValueError, FileNotFoundError):
        return None
    except OSError as error:
        problem = system_problem(error, place)
        if problem is None:
            return None
        raise problem from error
    return groups, state


def _numbers(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal()) if folder.is_dir() else []


def _hash(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
