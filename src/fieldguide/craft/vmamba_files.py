"""VMamba's weights files: safetensors, and the official ``.pth`` read without running anything that is in it.

An official checkpoint is a pickle of a dictionary: the network under ``model``, and beside it what its training left there (optimiser,
schedule, the configuration as a yacs node). torch's restricted reader takes tensors, plain values and what `ALLOWED` names, and
refuses the file for anything else.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fieldguide.errors import DataProblem, UsageProblem, plain

PICKLED = (".pth", ".pt", ".bin")
#: What may lie in a checkpoint beside tensors and plain values, and the harmless type it is read as.
ALLOWED = ((OrderedDict, "yacs.config.CfgNode"),)


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the network's tensors of a ``.safetensors`` file or of an official checkpoint.

    Raises `UsageProblem` where there is no such file, `DataProblem` where it is damaged or holds what is not allowed.
    """
    if path.suffix not in (".safetensors", *PICKLED):
        raise UsageProblem(
            f"{plain(path)} is no weights file.",
            f"Allowed: .safetensors, and official checkpoints as {', '.join(PICKLED)}.",
            "Correct the path.",
        )
    if not path.is_file():
        raise UsageProblem(
            f"There is no weights file {plain(path)}.", "Allowed: the path of a .safetensors or .pth file.", "Correct the path."
        )
    return _unpickled(path) if path.suffix in PICKLED else _safe(path)


def to_safetensors(path: Path, target: Path) -> None:
    """Write the network's tensors of an official checkpoint as a safetensors file, once and for all."""
    save_file({name: tensor.contiguous() for name, tensor in read_state(path).items()}, target)


def _safe(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise _damaged(path, plain(error)) from error


def _unpickled(path: Path) -> dict[str, Tensor]:
    try:
        with torch.serialization.safe_globals(list(ALLOWED)):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises nearly anything; none of it has run
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is None:
            raise _damaged(
                path, f"{type(error).__name__}, {plain(str(error).splitlines()[0] if str(error) else '')}"
            ) from error
        raise DataProblem(
            f"{plain(path)} holds {plain(found.group(1))}, which reading could run as code. It was not read.",
            f"Allowed beside tensors and plain values: {', '.join(name for _, name in ALLOWED)}.",
            "Where you trust the file, write its tensors with safetensors.torch.save_file and give that file.",
        ) from error
    state = content.get("model", content) if isinstance(content, Mapping) else content
    if not _is_state(state):
        raise DataProblem(
            f"{plain(path)} holds no network: {_told(content)}.",
            "Allowed: a dictionary of tensors, by itself or under the name 'model'.",
            "Take one of the official checkpoints.",
        )
    return dict(state)


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    )


def _told(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"it is a {type(content).__name__}"
    return f"a dictionary of {', '.join(plain(key, 40) for key in list(content)[:6]) or 'nothing'}"


def _damaged(path: Path, why: str) -> DataProblem:
    return DataProblem(f"{plain(path)} is damaged: {why}.", "A whole weights file.", "Fetch it again and run the same command.")
