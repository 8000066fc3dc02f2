"""Weights: found on this machine (or, if allowed, fetched), read without running anything in them, and loaded strictly.

A pickled state dict is read by torch's restricted reader alone: it takes tensors, plain values and what `ALLOWED` names, and refuses
the file for anything else. Beside the network a training may have left its optimiser, schedule and configuration; they are passed over.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fieldguide.errors import DataProblem, EnvironmentProblem, UsageProblem, plain

PICKLED = (".pth", ".pt", ".bin")
#: What may lie in a checkpoint beside tensors and plain values, and the harmless type it is read as.
ALLOWED = ((OrderedDict, "yacs.config.CfgNode"),)
#: Where the network lies in a checkpoint that holds more than one.
_UNDER = ("model", "state_dict")
#: Batches counted by BatchNorm: older files lack them, and nothing here reads them.
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Source:
    """Where weights are (a file, or a folder of transformers), the words the report uses for it, and what the file says of itself.

    `digest` is the beginning of the file's SHA-256 as its publisher gives it; empty where none is known.
    """

    path: Path
    described: str
    says: dict[str, str] = field(default_factory=dict)
    digest: str = ""


def located(text: str) -> Source:
    """Return the weights file at the path `text`, with the metadata of a safetensors file.

    Raises `UsageProblem` where there is no such file or it is of another kind, `DataProblem` where it is damaged.
    """
    path = Path(text).expanduser()
    _require_file(path)
    says: dict[str, str] = {}
    if path.suffix not in PICKLED:
        try:
            with safe_open(path, framework="pt") as stream:
                says = dict(stream.metadata() or {})
        except SafetensorError as error:
            raise _damaged(path, plain(error)) from error
    return Source(path, f"file: {path.name}", says)


def _require_file(path: Path) -> None:
    if path.suffix not in (".safetensors", *PICKLED):
        raise UsageProblem(
            f"{plain(path)} is no weights file.",
            f"Allowed: weights=hub, weights=none, or a file: .safetensors, or a state dict as {', '.join(PICKLED)}.",
            "Correct the path.",
        )
    if not path.is_file():
        raise UsageProblem(
            f"There is no weights file {plain(path)}.",
            f"Allowed: the path of a .safetensors file, or of a state dict as {', '.join(PICKLED)}.",
            "Correct the path.",
        )


def cached(url: str) -> Path:
    """Return where torch keeps, or would keep, the file of `url`."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]


def fetched(url: str, name: str, online: bool, *, checked: bool) -> Source:
    """Return the file of `url` from torch's cache folder; it is downloaded into it only if `online`.

    `checked`: the file name ends in a dash and the beginning of the file's SHA-256, as torchvision's do.
    """
    path = cached(url)
    found = re.search(r"-([0-9a-f]{8,})\.\w+$", path.name) if checked else None
    source = Source(path, f"hub: {path.name}", digest=found.group(1) if found else "")
    if path.is_file():
        return source
    if not online:
        raise EnvironmentProblem(
            f"The published weights of {plain(name)} ({path.name}) are not on this machine.",
            "Allowed: --online to download them, weights=FILE, or weights=none to train from scratch.",
            f"For example {plain(name)}:weights=none, or the same command with --online.",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), source.digest or None, progress=False)
    except (OSError, RuntimeError) as error:  # a connection that fails, and a file with another digest
        raise not_fetched(path.name, error) from error
    return source


def not_fetched(what: str, error: Exception) -> EnvironmentProblem:
    """Return the problem of weights that could not be downloaded."""
    return EnvironmentProblem(
        f"The weights {plain(what)} could not be downloaded: {plain(error)}.",
        "Allowed: weights=FILE, or weights=none to train from scratch.",
        "Check the connection and run the same command again.",
    )


def read_state(source: Source | Path) -> dict[str, Tensor]:
    """Return the network's tensors of a ``.safetensors`` file or of a pickled state dict.

    Raises `UsageProblem` where there is no such file, `DataProblem` where it is damaged, is not the file that was published, or
    holds what is not allowed or no number.
    """
    path = source if isinstance(source, Path) else source.path
    _require_file(path)
    if isinstance(source, Source) and source.digest:
        _require_digest(path, source.digest)
    state = _unpickled(path) if path.suffix in PICKLED else _safe(path)
    require_numbers(state, path)
    return state


def require_numbers(state: Mapping[str, Tensor], where: object) -> None:
    """Raise `DataProblem` where a tensor of what was read at `where` is not made of finite numbers: nothing could be learnt from it."""
    for name, tensor in state.items():
        why = _amiss(tensor)
        if why:
            raise _damaged(where, f"{plain(name)} {why}")


def _amiss(tensor: Tensor) -> str:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        return "is no plain tensor"
    # A pickle can call one number a matrix of any size; a copy of that would fill the memory.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return "claims more numbers than the file holds"
    # Some of the narrow formats know no such question; all are converted for loading anyway.
    asked = tensor.float() if tensor.element_size() == 1 and tensor.is_floating_point() else tensor
    return "" if bool(asked.isfinite().all()) else "holds what is no finite number"


def to_safetensors(path: Path, target: Path) -> None:
    """Write the network's tensors of a pickled state dict as a safetensors file, once and for all."""
    save_file({name: tensor.contiguous() for name, tensor in read_state(path).items()}, target)


def _require_digest(path: Path, digest: str) -> None:
    with path.open("rb") as stream:
        seen = hashlib.file_digest(stream, "sha256").hexdigest()
    if not seen.startswith(digest):
        raise _damaged(path, f"its SHA-256 begins with {seen[: len(digest)]}, not {digest}")


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
    state = content
    if isinstance(content, Mapping):
        state = next((content[key] for key in _UNDER if isinstance(content.get(key), Mapping)), content)
    if not _is_state(state):
        raise DataProblem(
            f"{plain(path)} holds no network: {_told(content)}.",
            f"Allowed: a dictionary of tensors, by itself or under the name {' or '.join(map(repr, _UNDER))}.",
            "Take one of the published files, or one that a network was saved to.",
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


def _damaged(path: object, why: str) -> DataProblem:
    return DataProblem(f"{plain(path)} is damaged: {why}.", "A whole weights file.", "Fetch it again and run the same command.")


def load_body(network: nn.Module, state: Mapping[str, Tensor], heads: tuple[str, ...], described: str) -> None:
    """Load every tensor of `state` but those of the head, whose names begin with one of `heads`, and begin the head anew.

    A tensor that is missing, misshapen or unknown is a `DataProblem` that names it.
    """
    own = network.state_dict()
    body = {name: tensor.float() for name, tensor in state.items() if not name.startswith(heads)}
    wanted = {name for name in own if not name.startswith(heads)}
    wrong = [f"{name} is missing" for name in sorted(wanted - set(body)) if not name.endswith(_COUNTER)]
    wrong += [f"{name} is not part of the network" for name in sorted(set(body) - wanted)]
    wrong += [misshapen(name, body[name].shape, own[name].shape) for name in sorted(wanted & set(body))]
    refuse(wrong, described)
    network.load_state_dict(body, strict=False)
    begin_head(network, heads)


def head_size(state: Mapping[str, Tensor], heads: tuple[str, ...], described: str) -> int:
    """Return how many classes the head in `state` has; its tensors begin with one of `heads`."""
    sizes = [len(tensor) for name, tensor in sorted(state.items()) if name.startswith(heads) and tensor.ndim]
    if not sizes:
        raise DataProblem(
            f"{plain(described)} has no head: it holds features, and no answers that could be explained.",
            "Allowed: a file with the classifier it was trained with.",
            "Fine-tune it first: fieldguide compare PHOTOS/ with these weights.",
        )
    return sizes[0]


def misshapen(name: str, found: Iterable[int], wanted: Iterable[int]) -> str:
    """Return in words that a tensor has another shape, and nothing where it has not."""
    found, wanted = tuple(found), tuple(wanted)
    return "" if found == wanted else f"{name} has shape {found}, not {wanted}"


def refuse(wrong: Iterable[str], described: str) -> None:
    """Raise a `DataProblem` that names the first of what is `wrong` with a file; empty words are passed over."""
    wrong = [words for words in wrong if words]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise DataProblem(
            f"{plain(described)} does not fit this network: {plain(wrong[0])}{more}.",
            "Every tensor but the head's must be there in the right shape.",
            "Check that the model name, image_size, patch_size and pad_type belong to this file.",
        )


def begin_head(network: nn.Module, heads: tuple[str, ...]) -> None:
    """Set the head to zero: so it starts at the loss of guessing, and its first steps do not shake the features."""
    for name, parameter in network.named_parameters():
        if name.startswith(heads):
            nn.init.zeros_(parameter)
