"""The command line as a user meets it, for torture cases: in this process, or in one of its own whose time and memory are measured."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from fieldguide.errors import UNFORESEEN


@dataclass(frozen=True)
class Said:
    """What a command said: exit code, both streams, and, of a process of its own, seconds and peak memory in bytes."""

    code: int
    out: str
    err: str
    seconds: float = 0.0
    memory: int = 0

    @property
    def text(self) -> str:
        """Both streams in one line, as a reader takes them in: wrapped lines joined."""
        return " ".join((self.out + " " + self.err).split())


class Shell(Protocol):
    """Runs ``fieldguide WORDS`` in this process."""

    def __call__(self, *words: object) -> Said: ...


def in_process(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Return a `Shell`; no command it runs may show a traceback or call itself unforeseen."""
    from fieldguide import cli, terminal

    def call(*words: object) -> Said:
        with monkeypatch.context() as patch:
            # Consoles bind the streams of the moment they are made in.
            patch.setattr(terminal, "out", terminal.Console(highlight=False, width=400))
            patch.setattr(terminal, "err", terminal.Console(stderr=True, highlight=False, width=400))
            capsys.readouterr()
            with pytest.raises(SystemExit) as stopped:
                cli.main([str(word) for word in words])
        told = capsys.readouterr()
        return _checked(Said(int(stopped.value.code or 0), told.out, told.err))

    return call


#: The peak is read by the process itself: what the system counts for a child includes the size of its parent before `exec`.
_MEASURED = """
import sys
from fieldguide.cli import main
try:
    main(sys.argv[2:])
finally:
    try:
        with open("/proc/self/status") as status:
            peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except OSError:
        import resource
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open(sys.argv[1], "w") as target:
        target.write(str(peak))
"""


def in_its_own(*words: object, most_seconds: float = 120.0) -> Said:
    """Run the command in a process of its own, measure it, and kill it (which fails the case) after `most_seconds`."""
    environment = os.environ | {"COLUMNS": "400", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with tempfile.TemporaryDirectory() as scratch:
        peak = Path(scratch) / "peak"
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", _MEASURED, str(peak), *map(str, words)],
            capture_output=True,
            env=environment,
            timeout=most_seconds,
            check=False,
        )
        seconds = time.monotonic() - start
        said, complained = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
        assert done.returncode >= 0, f"killed by signal {-done.returncode}: {complained}"
        return _checked(Said(done.returncode, said, complained, seconds, int(peak.read_text())))


def _checked(said: Said) -> Said:
    assert "Traceback" not in said.text, said.text
    assert said.code != UNFORESEEN, said.text
    return said


def tree(root: Path) -> list[tuple[str, int, int, str]]:
    """Return every name below `root` with its mode, size and, for a link, where it leads: equal before and after means untouched."""
    found = []
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        size = 0 if path.is_dir() and not path.is_symlink() else status.st_size
        found.append((str(path.relative_to(root)), status.st_mode, size, os.readlink(path) if path.is_symlink() else ""))
    return found
