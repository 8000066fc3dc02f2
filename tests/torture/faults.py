"""Failing file operations on purpose: in a forked child every operation below one folder is counted, and a chosen one fails.

An operation is named by its kind, its path and its number among the like, not by its number in the whole run: threads may come in
another order. What Python does is seen in the functions of `os` and in file objects that are made here; what Parquet and
safetensors write past Python is wrapped where they are called. While counting, an audit hook tells what was seen by none of these.

The same moments serve for kills: the process then dies there instead, in the middle of a write with half of it on disk.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import fcntl
import functools
import io
import itertools
import json
import multiprocessing
import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

#: What each kind of operation fails with.
ERRORS = {
    "create": errno.ENOSPC,
    "write": errno.ENOSPC,
    "close": errno.EDQUOT,
    "sync": errno.EIO,
    "rename": errno.EROFS,
    "remove": errno.EBUSY,
    "read": errno.EIO,
    "list": errno.EIO,
    "look": errno.EIO,
    "lock": errno.ENOLCK,
}
#: Kinds that fail with any of these, once the disk is full or the share is gone.
WRITES, READS = frozenset({"create", "write", "close"}), frozenset({"read", "list", "look"})
PHASES = ("scan", "store", "fit", "predict", "report")
_RANDOM = re.compile(r"(?<=\.unfinished-)[0-9a-f]{8}|\b[0-9a-f]{16}(?=\.safetensors)")
SECONDS = 180.0


class Moment(NamedTuple):
    """One file operation of a run: the `nth` of its kind at `name`, and the phase it falls into. Kind "step" is a training step."""

    kind: str
    name: str
    nth: int
    phase: str = ""


@dataclass(frozen=True)
class Plan:
    """What is to happen: nothing (count), an error at `moment`, or a signal there. `after`: the signal comes when it is done.

    `then` are kinds that fail from that moment on, within `below`.
    """

    moment: Moment | None = None
    signal: int | None = None
    after: bool = False
    then: frozenset[str] = frozenset()
    below: str = ""


@dataclass
class Ended:
    """How a child ended: exit code (negative: killed by that signal), what it showed, and the operations it counted."""

    code: int
    text: str
    moments: list[Moment] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)


@dataclass
class Running:
    """A ``fieldguide`` in a forked child, with the operations below a folder counted or failing as a plan says."""

    process: multiprocessing.process.BaseProcess
    told: Path

    def end(self) -> Ended:
        """Wait for it."""
        self.process.join(timeout=SECONDS)
        if self.process.is_alive():
            self.process.kill()
            raise AssertionError(f"the child hangs: {self.told.read_text(errors='replace')}")
        said, counts = self.told.read_text(encoding="utf-8", errors="replace"), _counts(self.told)
        counted = json.loads(counts.read_text()) if counts.exists() else {"moments": [], "unseen": []}
        return Ended(int(self.process.exitcode or 0), said, [Moment(*one) for one in counted["moments"]], counted["unseen"])


def start(base: Path, *words: object, plan: Plan, count: bool = False, setup: Callable[[], None] | None = None) -> Running:
    """Start ``fieldguide WORDS`` in a forked child.

    The libraries must have been imported here, so that the child need not. `setup` is called in the child first.
    """
    told = base.with_name(f"{base.name}-{next(_numbers)}.told")
    told.write_text("")
    process = multiprocessing.get_context("fork").Process(
        target=_child, args=(base, [str(word) for word in words], plan, count, told, setup)
    )
    process.start()
    return Running(process, told)


_numbers = itertools.count()


def _counts(told: Path) -> Path:
    return told.with_suffix(".counts")


def _child(base: Path, words: list[str], plan: Plan, count: bool, told: Path, setup: Callable[[], None] | None) -> None:
    """Never returns: what the parent's test run would do at its end is not this process's business."""
    import traceback

    from fieldguide import cli, terminal

    code = 1
    stream = open(told, "w", encoding="utf-8")  # noqa: SIM115 - it stays open until the process ends
    os.dup2(stream.fileno(), 2)
    sys.stdout = sys.stderr = stream
    terminal.out = terminal.Console(file=stream, width=400, highlight=False)
    terminal.err = terminal.Console(file=stream, width=400, highlight=False)
    try:
        if setup is not None:
            setup()
        injector = Injector(base, plan)
        injector.install()
        try:
            cli.main(words)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        injector.armed = False
        if count:
            _counts(told).write_text(json.dumps({"moments": injector.moments, "unseen": sorted(set(injector.unseen))}))
    except BaseException:
        traceback.print_exc(file=stream)
    finally:
        stream.flush()
        os._exit(code)


class Injector:
    """Watches every operation below `base` in this process, and lets happen what `plan` says."""

    def __init__(self, base: Path, plan: Plan) -> None:
        self.base, self.plan, self.armed = os.path.realpath(base), plan, True
        self.moments: list[Moment] = []
        self.unseen: list[str] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self.phases = ["scan"]
        self.begun = False
        self.files: dict[int, str] = {}
        self.lock = threading.Lock()
        self.inside = threading.local()
        self.real = {name: getattr(os, name) for name in ("stat", "kill", "getpid", "close", "open", "sendfile")}
        self.open = builtins.open

    # --- what happens at a moment ---------------------------------------------------------------------------------------

    def name_of(self, path: Any, folder: int | None = None) -> str | None:
        """Return the path below `base` with random parts starred out, or `None` outside."""
        if isinstance(path, int):
            path = self.files.get(path, "")
        whole = os.path.abspath(os.path.join(self.files.get(folder or -1, ""), os.fsdecode(path or "")))
        if not self.armed or not whole.startswith(self.base + os.sep):
            return None
        return _RANDOM.sub("*", whole[len(self.base) + 1 :])

    def meet(self, kind: str, path: Any, folder: int | None = None) -> OSError | None:
        """Count an operation; return the error it is to fail with. A signal that is planned for it is sent here."""
        name = self.name_of(path, folder)
        if name is None:
            return None
        with self.lock:
            nth = self.counts[kind, name]
            self.counts[kind, name] += 1
            self.moments.append(Moment(kind, name, nth, self.phases[-1]))
            planned = self.plan.moment is not None and (kind, name, nth) == self.plan.moment[:3]
            self.begun = self.begun or planned
            later = self.begun and kind in self.plan.then and name.startswith(self.plan.below)
        if planned and self.plan.signal is not None:
            if not self.plan.after and kind != "write":
                self.send()
            return None
        return self.error(kind, path) if (planned or later) and self.plan.signal is None else None

    def error(self, kind: str, path: Any) -> OSError:
        number = ERRORS[kind]
        return OSError(number, os.strerror(number), None if isinstance(path, int) else os.fsdecode(path))

    def send(self) -> None:
        assert self.plan.signal is not None
        self.real["kill"](self.real["getpid"](), self.plan.signal)

    def due(self, kind: str, path: Any) -> bool:
        """Tell whether the planned signal belongs to the operation of this kind at `path` that was met last."""
        name, moment = self.name_of(path), self.plan.moment
        if self.plan.signal is None or moment is None or name is None:
            return False
        return (kind, name) == moment[:2] and self.counts[kind, name] - 1 == moment.nth

    @contextlib.contextmanager
    def done(self, kind: str, path: Any, folder: int | None = None) -> Iterator[None]:
        """Do an operation: fail instead, or send the signal before or after it."""
        error = self.meet(kind, path, folder)
        if error is not None:
            raise error
        depth = getattr(self.inside, "depth", 0)
        self.inside.depth = depth + 1
        try:
            yield
        finally:
            self.inside.depth = depth
        if self.plan.after and self.due(kind, path):
            self.send()

    # --- where operations are seen --------------------------------------------------------------------------------------

    def install(self) -> None:
        """Patch this process for good."""
        builtins.open = io.open = self._open  # type: ignore[assignment]
        for name, kind in (
            *((name, "look") for name in ("stat", "lstat", "readlink", "statvfs", "access")),
            *((name, "list") for name in ("scandir", "listdir")),
            *((name, "rename") for name in ("rename", "replace")),
            *((name, "remove") for name in ("remove", "unlink", "rmdir")),
            *((name, "create") for name in ("mkdir", "link", "symlink")),
            *((name, "write") for name in ("truncate", "utime", "chmod")),
        ):
            setattr(os, name, self._plain(getattr(os, name), kind))
        os.open, os.close = self._os_open, self._os_close  # type: ignore[assignment]
        os.fsync = lambda handle: self._quick("sync", handle)
        os.sync = lambda: self._quick("sync", self.base + "/everything")
        os.sendfile = self._sendfile  # type: ignore[assignment]
        fcntl.flock = self._flock(fcntl.flock)  # type: ignore[assignment]
        self._natives()
        self._mark_phases()
        sys.addaudithook(self._audit)

    def _plain(self, real: Callable[..., Any], kind: str) -> Callable[..., Any]:
        @functools.wraps(real)
        def call(path: Any = ".", *more: Any, **named: Any) -> Any:
            # What is renamed is told by the name it gets.
            target = more[0] if kind == "rename" else path
            if kind == "rename" and self.name_of(target) is not None and os.path.dirname(path) != os.path.dirname(target):
                self.unseen.append(f"a rename from another folder: {path} to {target}")
            folder = named.get("dst_dir_fd") if kind == "rename" else named.get("dir_fd")
            with self.done(kind, target, folder):
                return real(path, *more, **named)

        return call

    def _quick(self, kind: str, place: Any) -> None:
        """Count a sync and leave it out: killing a process does not lose what the system holds for the disk."""
        with self.done(kind, place):
            pass

    def _os_open(self, path: Any, flags: int, *more: Any, **named: Any) -> int:
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        with self.done("create" if writes else "list" if flags & os.O_DIRECTORY else "read", path, named.get("dir_fd")):
            handle: int = self.real["open"](path, flags, *more, **named)
        self.files[handle] = os.path.join(self.files.get(named.get("dir_fd") or -1, ""), os.fsdecode(path))
        return handle

    def _os_close(self, handle: int) -> None:
        self.real["close"](handle)
        self.files.pop(handle, None)

    def _sendfile(self, target: int, source: int, *more: Any, **named: Any) -> int:
        """As `shutil` copies: the first part arrives, the rest does not."""
        error = self.meet("write", target)
        if error is not None or self.due("write", self.files.get(target, "")):
            self.real["sendfile"](target, source, more[0], 10)
            if error is not None:
                raise error
            self.send()
        return int(self.real["sendfile"](target, source, *more, **named))

    def _flock(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(handle: Any, operation: int) -> None:
            place = handle if isinstance(handle, int) else handle.fileno()
            if operation & fcntl.LOCK_UN:
                return real(handle, operation)
            with self.done("lock", place):
                return real(handle, operation)

        return call

    def _open(self, file: Any, mode: str = "r", buffering: int = -1, *more: Any, **named: Any) -> Any:
        if isinstance(file, int) or named.get("opener") or self.name_of(file) is None:
            return self.open(file, mode, buffering, *more, **named)
        raw = _File(self, os.fspath(file), mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        kind = io.BufferedRandom if "+" in mode else io.BufferedReader if "r" in mode else io.BufferedWriter
        stream: Any = kind(raw)  # type: ignore[arg-type]
        if "b" in mode:
            return stream
        text = dict(zip(("encoding", "errors", "newline"), more, strict=False)) | named
        return io.TextIOWrapper(stream, **{key: text[key] for key in ("encoding", "errors", "newline") if key in text})

    def _natives(self) -> None:
        """Wrap what reads and writes past Python. The errors are those that these libraries raise at /dev/full."""
        import pyarrow.parquet as pq
        import safetensors
        import safetensors.numpy
        import safetensors.torch

        no_room = f"Error while serializing: I/O error: {os.strerror(errno.ENOSPC)} (os error {errno.ENOSPC})"

        def tensors(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(flat: Any, filename: Any, *more: Any, **named: Any) -> Any:
                if self.meet("create", filename) or self.meet("write", filename):
                    raise safetensors.SafetensorError(no_room)
                if self.due("write", filename):  # it writes beside, under a name of its own
                    with self.open(os.path.join(os.path.dirname(filename), ".tmpA1b2C3"), "wb") as stream:
                        stream.write(b"half")
                    self.send()
                return real(flat, filename, *more, **named)

            return call

        def table(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(rows: Any, where: Any, *more: Any, **named: Any) -> Any:
                error = self.meet("create", where)
                if error is not None:
                    raise error
                real(rows, where, *more, **named)
                error = self.meet("write", where)
                if error is not None or self.due("write", where):
                    self._halve(where)
                    if error is not None:
                        raise OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device")
                    self.send()

            return call

        def reading(real: Any, message: str, number: int | None) -> Any:
            def call(path: Any, *more: Any, **named: Any) -> Any:
                if self.meet("read", path) is not None:
                    raise OSError(number, message) if number is not None else OSError(message)
                return real(path, *more, **named)

            return call

        arrow = "Error reading bytes from file. Detail: [errno 5] Input/output error"
        for real, wrapped in (
            (safetensors.serialize_file, tensors(safetensors.serialize_file)),
            (safetensors.safe_open, reading(safetensors.safe_open, "Input/output error (os error 5)", None)),
            (pq.write_table, table(pq.write_table)),
            (pq.read_table, reading(pq.read_table, arrow, errno.EIO)),
            (pq.ParquetFile, reading(pq.ParquetFile, arrow, errno.EIO)),
        ):
            for name, module in list(sys.modules.items()):
                if name.split(".")[0] in ("fieldguide", "safetensors") or name == "pyarrow.parquet":
                    for attribute, value in list(vars(module).items()):
                        if value is real:
                            setattr(module, attribute, wrapped)

    def _halve(self, path: Any) -> None:
        with self.open(path, "rb+") as stream:
            stream.truncate(self.real["stat"](path).st_size // 2)

    def _mark_phases(self) -> None:
        from fieldguide import gather, runs, study
        from fieldguide.craft import loop
        from fieldguide.data.store import Store

        places: tuple[tuple[Any, str, str], ...] = (
            (gather, "gather", "scan"),
            (Store, "_write", "store"),
            (Store, "prepare", "store"),
            (runs, "run", "fit"),
            (runs, "_answers", "predict"),
            (runs, "write_cost", "predict"),
            (study, "_score", "report"),
            (study, "_draw", "report"),
        )
        for owner, name, phase in places:
            setattr(owner, name, self._in_phase(getattr(owner, name), phase))
        step = loop.Run.step

        def stepping(run: Any, batches: Any, rate: float) -> float:
            with self.done("step", self.base + "/step"):
                return step(run, batches, rate)

        loop.Run.step = stepping  # type: ignore[method-assign]

    def _in_phase(self, real: Callable[..., Any], phase: str) -> Callable[..., Any]:
        @functools.wraps(real)
        def call(*args: Any, **named: Any) -> Any:
            self.phases.append(phase)
            try:
                return real(*args, **named)
            finally:
                self.phases.pop()

        return call

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.armed or getattr(self.inside, "depth", 0) or not (event == "open" or event.startswith("os.")):
            return
        if event in ("os.kill", "os.fwalk", "os.walk") or not args or not isinstance(args[0], str | bytes | os.PathLike):
            return
        name = self.name_of(args[0])
        if name is not None:
            self.unseen.append(f"{event} {name}")


class _File(io.FileIO):
    """A file whose opening, reading, writing and closing are operations."""

    def __init__(self, injector: Injector, path: Any, mode: str) -> None:
        self.injector, self.writes = injector, mode != "r"
        with injector.done("create" if self.writes else "read", path):
            super().__init__(path, mode)
        self.path = os.fsdecode(path)
        injector.files[self.fileno()] = self.path

    def write(self, data: Any) -> int:
        error = self.injector.meet("write", self.path)
        due = self.injector.due("write", self.path)
        if error is None and not due:
            return int(super().write(data) or 0)
        super().write(bytes(data)[: len(data) // 2])
        if error is not None:
            raise error
        self.injector.send()
        return int(super().write(bytes(data)[len(data) // 2 :]) or 0) + len(data) // 2

    def readall(self) -> bytes:
        with self.injector.done("read", self.path):
            return super().readall() or b""

    def readinto(self, buffer: Any) -> int:
        with self.injector.done("read", self.path):
            return int(super().readinto(buffer) or 0)

    def truncate(self, size: int | None = None) -> int:
        with self.injector.done("write", self.path):
            return super().truncate(size)

    def close(self) -> None:
        if self.closed:
            return
        error = self.injector.meet("close", self.path) if self.writes else None
        self.injector.files.pop(self.fileno(), None)
        super().close()
        if error is not None:
            raise error


def at_most(most: int) -> int:
    """Return how many moments of a block are tried: one by default, with FIELDGUIDE_TORTURE=all all `most`, or FIELDGUIDE_MOMENTS."""
    if os.environ.get("FIELDGUIDE_TORTURE") != "all":
        return 1
    return min(most, int(os.environ.get("FIELDGUIDE_MOMENTS", most)))


def sample(moments: Sequence[Moment], most: int, seed: str) -> list[Moment]:
    """Return up to `most` of `moments`, drawn by `seed`, in their order."""
    import random

    chosen = set(random.Random(seed).sample(range(len(moments)), min(most, len(moments))))
    return [moment for at, moment in enumerate(moments) if at in chosen]
