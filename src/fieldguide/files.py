"""Files that are whole or absent: write beside, fsync, rename. A name that exists means whole."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fieldguide.errors import DataProblem, EnvironmentProblem, out_of_memory, plain

#: Beginning of every name that is not yet whole; leftovers of a killed run are swept by the next one.
UNFINISHED = ".unfinished-"
#: What safetensors calls a file while it writes it; beside the name it was told.
_NATIVE = re.compile(r"\.tmp[A-Za-z0-9]{6}")
#: Above so many files one sync of everything is quicker than one for each.
_MANY = 100


@contextlib.contextmanager
def _told_of(target: Path) -> Iterator[None]:
    """Turn what keeps `target` from being written, told by Python or by a native writer, into an `EnvironmentProblem`."""
    try:
        yield
    except OSError as error:
        raise not_written(error, target) from error
    except Exception as error:
        native = _native(error)
        if native is None:
            raise
        raise not_written(native, target) from error


@contextlib.contextmanager
def writing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success it is synced to disk and renamed to `target`.

    Raises `EnvironmentProblem` where the disk is full or not writable; `target` is then as it was before.
    """
    temporary = target.with_name(f"{UNFINISHED}{secrets.token_hex(4)}-{target.name}")
    try:
        with _told_of(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with open(temporary, "rb") as stream:
                os.fsync(stream.fileno())
            os.replace(temporary, target)
            sync_folder(target.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def building(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target` that takes its name when the block ends well; an older `target` is replaced."""
    temporary = target.with_name(f"{UNFINISHED}{secrets.token_hex(4)}-{target.name}")
    try:
        with _told_of(target):
            temporary.mkdir(parents=True)
            yield temporary
            _sync_below(temporary)
            if target.exists():
                old = target.with_name(f"{UNFINISHED}{secrets.token_hex(4)}-old")
                os.replace(target, old)
                try:
                    os.replace(temporary, target)
                except OSError:
                    os.replace(old, target)
                    raise
                shutil.rmtree(old, ignore_errors=True)
            else:
                os.replace(temporary, target)
            sync_folder(target.parent)
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
    """Remove what a killed run left unfinished in `folder` (not below it); what cannot be removed now is left to the next run."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if not name.startswith(UNFINISHED) and not _NATIVE.fullmatch(name):
                continue
            path = folder / name
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with writing(target) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(target: Path, value: object) -> None:
    """Write JSON with stable key order; NaN and infinity are refused."""
    write_text(target, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON written by `write_json`; raises `ValueError` where it is damaged."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_own(path: Path) -> dict[str, Any]:
    """Read a JSON object that an earlier step of a study wrote; raises `DataProblem` where it is damaged."""
    try:
        value = read_json(path)
    except ValueError as error:
        raise damaged(path, error) from error
    if not isinstance(value, dict):
        raise damaged(path, "an object was expected")
    return value


def damaged(path: Path, why: object) -> DataProblem:
    """Return the problem of a file of a study that is there and cannot be understood."""
    return DataProblem(
        f"{path} is damaged: {plain(why)}.",
        "The files of a study are as fieldguide wrote them; every one of them can be made again.",
        f"Delete {path.name} and run the same `fieldguide compare` again; what is whole is kept.",
    )


def write_toml(target: Path, value: Mapping[str, Any]) -> None:
    """Write TOML; keys whose value is `None` are left out (TOML has no null)."""
    import tomli_w

    write_text(target, tomli_w.dumps(_without_none(value), multiline_strings=False))


def read_toml(path: Path) -> dict[str, Any]:
    """Read TOML; raises `tomllib.TOMLDecodeError` with line and column where it is malformed."""
    return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors put a signature first


def read_own_toml(path: Path) -> dict[str, Any]:
    """Read TOML that fieldguide wrote, empty where there is none; raises `DataProblem` where it is damaged."""
    try:
        return read_toml(path) if path.exists() else {}
    except ValueError as error:  # TOML that is cut, or no UTF-8
        raise damaged(path, error) from error


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


def not_written(error: OSError, target: Path) -> EnvironmentProblem:
    """Return the problem of a file that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        given = f"The disk is full: {target} could not be written."
    else:
        given = f"{target} could not be written: {error.strerror or error}."
    try:
        free = f"; {free_bytes(target.parent) / 1e6:.0f} MB are free on that volume"
    except OSError:  # the volume that cannot be written cannot be asked either
        free = ""
    return EnvironmentProblem(
        given,
        f"What was there before is kept{free}.",
        "Make room or choose another folder with --out, then run the same command again.",
    )


def _native(error: Exception) -> OSError | None:
    """Return what the system said to a writer that is not Python's; safetensors tells it in words alone, "... (os error 28)"."""
    if type(error).__name__ != "SafetensorError":
        return None
    said = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(said[1]), os.strerror(int(said[1]))) if said else None


#: What a network share or a busy disk says and may take back a moment later. It tells nothing about the file.
PASSING = frozenset(
    {errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR, errno.ESTALE, errno.ETIMEDOUT}
)


def unreachable(error: OSError, where: str) -> EnvironmentProblem:
    """Return the problem of a source that cannot be read now: a list made now would lack what lies there."""
    return EnvironmentProblem(
        f"{plain(where)} cannot be read now: {error.strerror or error}.",
        "A disk or share that answers; what it held back would be missing from the list for good, so no list is made.",
        "Look after the disk or the share, then run the same command again.",
    )


#: Seconds before the second and last attempt at what may pass by itself.
RETRY_AFTER = 0.1
T = TypeVar("T")


def once_more(work: Callable[[], T]) -> T:
    """Return ``work()``, tried a second time where the first may have failed in passing; raises what the second raises."""
    try:
        return work()
    except OSError as error:
        if error.errno not in PASSING:
            raise
    time.sleep(RETRY_AFTER)
    return work()


def twice(work: Callable[[], T], where: str) -> T:
    """Do as `once_more`, and raise `EnvironmentProblem` where the second try fails like that, too."""
    try:
        return once_more(work)
    except OSError as error:
        if error.errno not in PASSING:
            raise
        raise unreachable(error, where) from error


#: Errors that code makes, not disks: what these say is a mistake of ours until it is foreseen.
_OURS = frozenset(
    {errno.EINVAL, errno.EBADF, errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.ESPIPE}
)


@contextlib.contextmanager
def told_plainly() -> Iterator[None]:
    """Turn what a disk, a share or a permission does, wherever that was not foreseen, into an `EnvironmentProblem`."""
    try:
        yield
    except OSError as error:
        problem = system_problem(error)
        if problem is None:
            raise
        raise problem from error
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise EnvironmentProblem(
            "Memory ran out.",
            "What is on disk is whole; nothing is lost.",
            "Close what else takes memory, then run the same command again.",
        ) from error


def system_problem(error: OSError, path: Path | None = None) -> EnvironmentProblem | None:
    """Return the problem behind an error of the system (at `path`, if it does not tell); `None` where it is rather a mistake of ours."""
    if error.errno in _OURS or (error.errno is None and not _WORDS.search(str(error))):
        return None
    told = error.filename if isinstance(error.filename, str | bytes | os.PathLike) else path
    where = "a file" if told is None else plain(os.fsdecode(told))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        given = f"The disk is full: {where} could not be written."
    else:
        given = f"The system refused {where}: {plain(error.strerror or error)}."
    return EnvironmentProblem(
        given,
        "What is on disk is whole; nothing is lost.",
        "Look after the disk, the share or the permissions, then run the same command again.",
    )


_WORDS = re.compile(r"\(os error \d+\)|\[[Ee]rrno \d+\]")
