"""Networks whose names match a pattern, with what their own libraries say of size, licence and cost; nothing here is a table of ours."""

from __future__ import annotations

import contextlib
import fnmatch
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache

from fieldguide.craft import vmamba_files
from fieldguide.craft.vmamba_net import CONFIGURATION, SIZES, VMamba
from fieldguide.craft.zoo import of_timm, of_torchvision
from fieldguide.craft.zoo.weights import cached

#: Networks of timm are built without memory to count what they have; the work of so many, in so many seconds, is counted too.
_COUNTED, _SECONDS = 30, 6.0


@dataclass(frozen=True)
class Row:
    """One network: `parameters`, `size` of its pictures in pixels, `macs` (multiply-adds a picture), whether its weights are `here`.

    What its library does not say is `None`.
    """

    name: str
    library: str
    parameters: int | None
    size: int | None
    licence: str | None
    macs: float | None
    here: bool


@dataclass(frozen=True)
class Found:
    """The first `rows` of all that `matched`, by name; `architectures` of transformers that match, which have no sizes of their own."""

    rows: tuple[Row, ...]
    matched: int
    architectures: tuple[str, ...]


def find(pattern: str, most: int = 50) -> Found:
    """Return networks whose name, with or without its library's prefix, matches a shell pattern such as ``swin*``."""
    matched = [(name, one) for one, name in _named() if _fits(name, pattern)] or _tagged(pattern)
    timms = [name for name, library in matched if library == "timm"][:most]
    counted = dict(zip(timms, _of_timm(timms), strict=True))
    rows = [
        counted[name] if library == "timm" else _of_vmamba(name) if library == "vmamba" else _of_torchvision(name)
        for name, library in matched[:most]
    ]
    return Found(tuple(rows), len(matched), tuple(name for name in _architectures() if _fits(f"hf/{name}", pattern)))


def known() -> list[str]:
    """Return all names that `find` knows, for finding the nearest."""
    return [name for _, name in _named()] + [f"hf/{name}" for name in _architectures()]


def _named() -> list[tuple[str, str]]:
    """Return library and name of every network."""
    return [
        *(("timm", name) for name in of_timm.names()),
        *(("torchvision", of_torchvision.PREFIX + name) for name in of_torchvision.names()),
        *(("vmamba", f"vmamba/{name}") for name in SIZES),
    ]


def _tagged(pattern: str) -> list[tuple[str, str]]:
    """Return networks of timm with the tags of their weights, which are looked through where no bare name matches."""
    import timm

    return [(name, "timm") for name in timm.list_pretrained() if _fits(name, pattern)]


def _architectures() -> list[str]:
    # Only the list is read: what stands behind it takes longer to import than everything else here.
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES

    return sorted(MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES)


def _fits(name: str, pattern: str) -> bool:
    name, pattern = name.casefold(), pattern.casefold()
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name.partition("/")[2] or name, pattern)


def _of_timm(names: Sequence[str]) -> list[Row]:
    import timm
    from timm.models import get_pretrained_cfg

    until, rows = time.process_time() + _SECONDS, []
    for at, name in enumerate(names):
        config: Any = get_pretrained_cfg(name)
        size = int(config.input_size[-1]) if config else None
        network = None
        with contextlib.suppress(RuntimeError, NotImplementedError, TypeError, ValueError), torch.device("meta"):
            network = timm.create_model(name, pretrained=False)
        rows.append(
            Row(
                name,
                "timm",
                sum(parameter.numel() for parameter in network.parameters()) if network is not None else None,
                size,
                getattr(config, "license", None),
                _macs(network, size)
                if network is not None and size and at < _COUNTED and time.process_time() < until
                else None,
                bool(getattr(config, "hf_hub_id", None)) and _kept(config.hf_hub_id),
            )
        )
    return rows


def _kept(repository: str) -> bool:
    return isinstance(try_to_load_from_cache(repository, "model.safetensors"), str)


def _macs(network: torch.nn.Module, size: int) -> float | None:
    """Count the multiply-adds of one picture without computing anything; `None` where a network needs numbers to find its way."""
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
            network.eval()(torch.empty(1, 3, size, size))
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AssertionError):
        return None
    return counter.get_total_flops() / 2 or None


def _of_torchvision(name: str) -> Row:
    entry = of_torchvision.published(name)
    if entry is None:
        return Row(name, "torchvision", None, None, None, None, False)
    # What torchvision calls operations are multiply-adds, in units of 10^9.
    return Row(
        name,
        "torchvision",
        entry.meta.get("num_params"),
        int(entry.transforms().crop_size[0]),
        entry.meta.get("license"),
        entry.meta["_ops"] * 1e9 if "_ops" in entry.meta else None,
        cached(entry.url).is_file(),
    )


def _of_vmamba(name: str) -> Row:
    size = name.removeprefix("vmamba/")
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in VMamba(SIZES[size][0]).parameters())
    here = cached(vmamba_files.RELEASES + vmamba_files.FILES[size]).is_file()
    return Row(name, "vmamba", parameters, int(CONFIGURATION["input_size"][-1]), "mit", None, here)
