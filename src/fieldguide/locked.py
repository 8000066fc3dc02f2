"""One writer at a time in a study folder. The lock falls with the process, however that ends."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import filelock

from fieldguide.errors import EnvironmentProblem, plain


class Locked:
    """Hold the study folder against a second writer; the lock falls with the process."""

    def __init__(self, folder: Path) -> None:
        self.fresh = not os.path.exists(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentProblem(
                f"The study folder {plain(folder)} cannot be made: {error.strerror}.",
                "A folder that can be written to.",
                "Choose another --out.",
            ) from error
        self.folder, self.lock = folder, filelock.FileLock(folder / ".lock", timeout=0)

    def __enter__(self) -> None:
        try:
            self.lock.acquire()
        except filelock.Timeout as error:
            raise EnvironmentProblem(
                f"Another fieldguide is working in {plain(self.folder)}.",
                "One writer at a time.",
                "Wait for it, or use another --out.",
            ) from error
        except OSError as error:
            raise EnvironmentProblem(
                f"The study folder {plain(self.folder)} cannot be written to: {error.strerror or error}.",
                "A folder that can be written to.",
                "Choose another --out.",
            ) from error

    def __exit__(self, *_: object) -> None:
        self.lock.release()
        if self.fresh and [entry.name for entry in self.folder.iterdir()] in ([], [".lock"]):
            with contextlib.suppress(OSError):
                (self.folder / ".lock").unlink(missing_ok=True)
                self.folder.rmdir()
