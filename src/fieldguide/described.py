"""What a contestant was made with, in its ``settings.toml``: a name stands for one set of settings, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldguide import families
from fieldguide.data.texts import fingerprint, lacking, read_texts
from fieldguide.errors import UsageProblem, plain
from fieldguide.families import Contestant
from fieldguide.files import damaged, read_toml, write_toml
from fieldguide.machine import versions

if TYPE_CHECKING:
    from fieldguide.runs import Table


def described(entry: Contestant, table: Table) -> dict[str, Any]:
    """Return what the answers of `entry` depend on, besides the pictures themselves."""
    return {
        "name": entry.name,
        "family": entry.family,
        "seed": table.seed,
        "manifest": table.manifest.hash,
        "settings": entry.settings.model_dump(mode="json"),
        **({"fraction": entry.fraction} if entry.fraction < 1 else {}),
        **_of_texts(entry, table.folder),
        **families.made_of(entry),
    }


def _of_texts(entry: Contestant, study: Path) -> dict[str, str]:
    """Return a hash of the texts that `entry` uses: they are edited under one name, and an answer of before is none of theirs."""
    source = getattr(entry.settings, "texts", None)
    if source is None or lacking(study, source):  # what is whole goes on without them
        return {}
    return {"texts": fingerprint(read_texts(study, source))}


def same_settings(entry: Contestant, table: Table, folder: Path) -> None:
    """Write ``settings.toml``, or refuse a folder of the same name that was made with other settings."""
    path, wanted = folder / "settings.toml", described(entry, table)
    if not path.exists():
        write_toml(path, {**wanted, "versions": versions()})
        return
    try:
        have = read_toml(path)
    except ValueError as error:  # TOML that is cut, or no UTF-8
        raise damaged(path, error) from error
    old, new = have.get("settings", {}), {key: value for key, value in wanted["settings"].items() if value is not None}
    changed = [
        f"{key} was {old.get(key)!r}, is {new.get(key)!r}" for key in sorted({*old, *new}) if old.get(key) != new.get(key)
    ]
    changed += [
        f"{key} was {have.get(key)!r}, is {wanted.get(key)!r}"
        for key in ("family", "seed", "manifest", "fraction")
        if have.get(key) != wanted.get(key)
    ]
    if "texts" in have and wanted.get("texts", have["texts"]) != have["texts"]:
        changed.append(f"its texts, {entry.settings.texts}, were edited since")  # type: ignore[attr-defined]
    if "prompt" in have and wanted.get("prompt", have["prompt"]) != have["prompt"]:
        changed.append("its prompt was edited since")
    if changed:
        raise UsageProblem(
            f"runs/{entry.name} was made with other settings: {plain('; '.join(changed))}.",
            "A name stands for one set of settings; nothing is overwritten.",
            f"Give the new contestant another name in study.toml, or delete {folder} to run it afresh.",
        )
