"""The bench a family works at: device, seed, scratch folder, log, progress and clock. It carries no path of a picture and no label."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fieldguide.records import Prediction, Texts


class Bar(Protocol):
    """A running progress bar."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Move on by `steps`; `note` stands behind the bar."""
        ...


class Progress(Protocol):
    """Opens progress bars; the command line draws them, Python code stays silent unless it passes one."""

    def bar(self, what: str, total: int) -> Any:
        """Return a context manager that yields a `Bar` for `total` steps of `what`."""
        ...

    def say(self, text: str) -> None:
        """Show a line above the bars."""
        ...


class _SilentBar:
    def advance(self, steps: int = 1, note: str = "") -> None:
        pass


class Silent:
    """A `Progress` that draws nothing."""

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Bar]:
        """Yield a bar that draws nothing."""
        yield _SilentBar()

    def say(self, text: str) -> None:
        """Say nothing."""


def _nobody(event: str, values: Mapping[str, Any]) -> None:
    pass


def _no_answers(path: Path) -> Mapping[str, Prediction]:
    return {}


def _no_texts(source: str) -> Texts:
    return Texts(source)


@dataclass(frozen=True)
class Bench:
    """What a family is given to work with.

    `scratch` belongs to one contestant (and fold): checkpoints go there and survive a kill. `recorded` reads a file of
    answers that names pictures and returns them by content hash, so that a family never learns a name. `online` is True
    only where the user allowed the network. `texts` returns what a source of texts (its name in the study, or a file) says of classes
    and of the training pictures. `shared` is a folder for what several contestants can read (activations of a frozen front).
    `tracker` hears every event that is logged. `answers` is the file in which answers that cost money or patience are kept for the
    whole study; `limit` bounds how many more may be asked for in this sitting. `consented` is True only where somebody agreed that
    pictures are sent to the hosts that were named. `contestant` is the name of the run.
    `quiet` is True in every process but the first of several: it writes nothing.
    """

    scratch: Path
    seed: int = 0
    device: str = "cpu"
    online: bool = False
    progress: Progress = field(default_factory=Silent)
    recorded: Callable[[Path], Mapping[str, Prediction]] = _no_answers
    shared: Path | None = None
    tracker: Callable[[str, Mapping[str, Any]], None] = _nobody
    quiet: bool = False
    texts: Callable[[str], Texts] = _no_texts
    answers: Path | None = None
    limit: int | None = None
    consented: bool = False
    contestant: str = ""

    def log(self, event: str, **values: Any) -> None:
        """Append one line to the contestant's ``log.jsonl``: the learning curve and other moments."""
        if self.quiet:
            return
        self.tracker(event, values)
        line = json.dumps({"event": event, **values}, ensure_ascii=False, default=float)
        with open(self.scratch / "log.jsonl", "ab+") as stream:
            # A kill may have torn the last line; the next event must not be glued to it.
            torn = stream.seek(0, os.SEEK_END) and stream.seek(-1, os.SEEK_END) >= 0 and stream.read(1) != b"\n"
            stream.write(("\n" if torn else "").encode() + line.encode("utf-8", "backslashreplace") + b"\n")
            stream.flush()
            # A checkpoint outlives a power cut, so the curve it goes on from must, too.
            os.fsync(stream.fileno())

    def fact(self, **values: Any) -> None:
        """Note what the report should tell of this contestant (parameters, precision, resolved defaults)."""
        self.log("fact", **values)

    @staticmethod
    def clock() -> float:
        """Return wall time in seconds; only differences mean something."""
        return time.perf_counter()


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the events of a ``log.jsonl``; a line torn by a kill is left out."""
    if not path.exists():
        return []
    events = []
    for line in path.read_bytes().split(b"\n"):
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events


def trim_log(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Drop the events that `keep` refuses: after a resume the curve must not tell an epoch twice."""
    from fieldguide.files import write_text

    if path.exists():
        kept = [event for event in read_log(path) if keep(event)]
        write_text(path, "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in kept))


def cores() -> int:
    """Return the number of CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
