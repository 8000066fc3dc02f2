"""Files that are whole or absent: write beside, fsync, rename. A name that exists means whole."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import json
import os
import secrets
import shutil
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fieldguide.errors import EnvironmentProblem

#: Beginning of every name that is not yet whole; leftovers of a killed run are swept by the next one.
UNFINISHED = ".unfinished-"
#: Above so many files one sync of everything is quicker than one for each.
_MANY = 100


@contextlib.contextmanager
def writing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success it is synced to disk and renamed to `target`.

    Raises `EnvironmentProblem` where the disk is full or not writable; `target` is then as it was before.
    """
    temporary = target.with_name(f"{UNFINISHED}{secrets.token_hex(4)}-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, target)
        sync_folder(target.parent)
    except OSError as error:
        raise _disk_problem(error, target) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def building(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target` that takes its name when the block ends well; an older `target` is replaced."""
    temporary = target.with_name(f"{UNFINISHED}{secrets.token_hex(4)}-{target.name}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _sync_below(temporary)
        if target.exists():
            old = target.with_name(f"{UNFINISHED}{secrets.token_hex(4)}-old")
            os.replace(target, old)
            os.replace(temporary, target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(temporary, target)
        sync_folder(target.parent)
    except OSError as error:
        raise _disk_problem(error, target) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync_below(folder: Path) -> None:
    """Make all files below `folder` durable; thousands of them by one call for the whole system, where it has one."""
    paths = sorted(folder.rglob("*"))
    if len(paths) > _MANY and hasattr(os, "sync"):
        os.sync()
        return
    for path in paths:
        if path.is_dir():
            sync_folder(path)
        else:
            with open(path, "rb") as stream:
                os.fsync(stream.fileno())
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what a killed run left unfinished in `folder` (not below it)."""
    if folder.is_dir():
        for path in folder.glob(f"{UNFINISHED}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with writing(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(target: Path, value: object) -> None:
    """Write JSON with stable key order; NaN and infinity are refused."""
    write_text(target, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON written by `write_json`."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_toml(target: Path, value: Mapping[str, Any]) -> None:
    """Write TOML; keys whose value is `None` are left out (TOML has no null)."""
    import tomli_w

    write_text(target, tomli_w.dumps(_without_none(value), multiline_strings=False))


def read_toml(path: Path) -> dict[str, Any]:
    """Read TOML; raises `tomllib.TOMLDecodeError` with line and column where it is malformed."""
    return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors put a signature first


def write_csv(target: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write CSV (UTF-8 with signature, so that spreadsheets read every script); cells cannot start a formula."""
    with writing(target) as temporary, open(temporary, "w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([csv_cell(name) for name in header])
        writer.writerows([csv_cell(value) for value in row] for row in rows)


def csv_cell(value: object) -> object:
    """Return `value` so that a spreadsheet shows it as text: a leading ``= + - @`` or control character gets a quote."""
    if value is None:
        return ""
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"}:
        return "'" + value
    return value


def digest(*parts: object) -> str:
    """Return the SHA-256 of JSON of `parts` as 64 hex characters."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def free_bytes(folder: Path) -> int:
    """Return the free space, in bytes, of the volume that would hold `folder`."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _without_none(value: Any) -> Any:
    clean: Callable[[Any], Any] = _without_none
    if isinstance(value, Mapping):
        return {str(key): clean(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _disk_problem(error: OSError, target: Path) -> EnvironmentProblem:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        given = f"The disk is full: {target} could not be written."
    else:
        given = f"{target} could not be written: {error.strerror or error}."
    return EnvironmentProblem(
        given,
        f"What was there before is kept; {free_bytes(target.parent) / 1e6:.0f} MB are free on that volume.",
        "Make room or choose another folder with --out, then run the same command again.",
    )
