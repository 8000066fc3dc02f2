"""Translators on disk: ``translator.json`` says what it is, ``translator.safetensors`` holds its numbers. No pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fieldguide.craft.translators import Pairs, Rows, Translator
from fieldguide.files import building, digest, read_json, write_json


def save(translator: Translator, folder: Path) -> None:
    """Write `translator` as `folder`, whole or not at all."""
    from safetensors.numpy import save_file

    arrays, recipe = _taken_apart(translator)
    with building(folder) as place:
        # Told of no tensor at all, safetensors writes a file all the same, and reads it.
        save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, place / "translator.safetensors")
        write_json(place / "translator.json", {"name": translator.name, "recipe": recipe, "told": translator.told})


def load(folder: Path, device: str = "cpu") -> Translator:
    """Read what `save` wrote."""
    from safetensors.numpy import load_file

    values, arrays = read_json(folder / "translator.json"), load_file(folder / "translator.safetensors")
    name, told = values["name"], values["told"]
    if name == "memory":
        from fieldguide.craft.translators.memory import Memory

        temperature = values["recipe"]["temperature"]
        return Memory(arrays["lines"], arrays["centre"], arrays["pictures"], temperature, told=told)
    if "shape" in values["recipe"]:
        from fieldguide.craft.translators.networks import rebuilt

        return rebuilt(name, values["recipe"], arrays, told, device)
    from fieldguide.craft.translators.closed import Affine

    return Affine(name, arrays.get("weights"), arrays.get("bias"), told)


def key_of(name: str, pairs: Pairs, val: Pairs | None, more: Mapping[str, Any]) -> str:
    """Return the hash of all that decides a translator: its name, the pairs in their order, and `more`."""
    found = hashlib.sha256(digest(name, dict(more)).encode())
    for part in (pairs, val):
        if part is not None:
            for rows in (part.lines.pooled, part.pictures, part.groups, part.lines.tokens, part.lines.mask):
                found.update(b"none" if rows is None else _bytes(rows))
    return found.hexdigest()[:24]


def _bytes(rows: Any) -> bytes:
    table = np.ascontiguousarray(rows)
    return f"{table.shape}{table.dtype}".encode() + table.tobytes()


def _taken_apart(translator: Any) -> tuple[dict[str, Rows], dict[str, Any]]:
    """Return the numbers of a translator by name, and what else rebuilds it."""
    if hasattr(translator, "temperature"):
        arrays = {"lines": translator.lines, "centre": translator.centre, "pictures": translator.pictures}
        return arrays, {"temperature": translator.temperature}
    if hasattr(translator, "network"):
        return translator.arrays(), translator.recipe
    return {name: rows for name in ("weights", "bias") if (rows := getattr(translator, name)) is not None}, {}
