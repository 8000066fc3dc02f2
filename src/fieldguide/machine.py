"""What a number depends on besides the study: versions of libraries, and the machine in words that do not identify it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import sys
from pathlib import Path
from typing import Any

from fieldguide.bench import cores
from fieldguide.files import digest
from fieldguide.records import SCHEMA_VERSION


def device() -> str:
    """Return where networks run: ``cuda`` where there is one, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def versions() -> dict[str, str]:
    """Return the versions of what a number depends on."""
    packages = (
        "fieldguide",
        "torch",
        "torchvision",
        "timm",
        "scikit-learn",
        "cleanlab",
        "numpy",
        "scipy",
        "pillow",
        "safetensors",
    )
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def environment(device: str) -> dict[str, Any]:
    """Return what the machine is, in words that do not identify it."""
    return {
        "schema": SCHEMA_VERSION,
        "python": sys.version.split()[0],
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
        "device": device,
        "versions": versions(),
    }


def weights_hash(model: Path) -> str | None:
    """Return the SHA-256 of the weights in `model`; of several files that of their hashes in order of their names, `None` without any."""
    hashes = []
    for path in sorted(model.glob("*.safetensors")):
        with open(path, "rb") as stream:
            hashes.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return hashes[0] if len(hashes) == 1 else digest(*hashes) if hashes else None
