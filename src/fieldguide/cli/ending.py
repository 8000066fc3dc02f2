"""How a run of the command line ends: with an exit code, with three lines, or with a signal."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping

import typer

from fieldguide.errors import INTERRUPTED, TERMINATED, UNFORESEEN, Problem


def run(app: typer.Typer, words: list[str], complete: Mapping[str, Callable[[], None]]) -> None:
    """Run `app` on `words`; a `Problem` becomes three lines and its exit code, a signal 130 or 143.

    `complete` are the commands whose options are drawn when they are called.
    """
    from fieldguide.files import told_plainly

    if "--online" not in words:
        # Libraries that look for updates on their own read these when they are imported.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # Threads that wait by spinning slow each other down several times as soon as the machine has other work; those that go to sleep at
    # once are half as quick in small networks on a quiet one. So they spin for some microseconds, and then sleep.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    before = {number: signal.signal(number, _stop) for number in (signal.SIGINT, signal.SIGTERM)}
    ignored, sys.unraisablehook = sys.unraisablehook, _heard
    try:
        for word in words[:2]:  # a command, or a command of a group
            complete.get(word.replace("-", "_"), lambda: None)()
        with told_plainly():
            app(words, prog_name="fieldguide")
    except Problem as problem:
        _show(problem)
        sys.exit(problem.code)
    except _Stopped as stopped:
        _leave(stopped.code)
    except Exception:
        _show(_unforeseen())
        sys.exit(UNFORESEEN)
    finally:
        sys.unraisablehook = ignored
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(problem: Problem) -> None:
    from fieldguide.terminal import show_problem

    show_problem(problem)


def _unforeseen() -> Problem:
    """Keep the traceback of a mistake of ours in a file, where a report of it can quote it."""
    import tempfile
    import traceback

    from fieldguide.craft.secrets import known_hidden

    with tempfile.NamedTemporaryFile("w", prefix="fieldguide-", suffix=".log", delete=False, encoding="utf-8") as log:
        log.write(known_hidden(traceback.format_exc()))
    error = sys.exc_info()[1]
    return Problem(
        f"A mistake in fieldguide: {type(error).__name__}: {known_hidden(str(error))}.",
        "What is on disk is whole; the same command goes on from there.",
        f"Please report it with {log.name}",
    )


class _Stopped(BaseException):
    """A signal arrived. Not a KeyboardInterrupt, which libraries on the way would turn into something else."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _stop(number: int, frame: object) -> None:
    signal.signal(number, lambda again, frame: os._exit(128 + again))
    raise _Stopped(INTERRUPTED if number == signal.SIGINT else TERMINATED)


def _heard(told: sys.UnraisableHookArgs) -> None:
    """Leave where a signal arrived while an object was taken apart: what is raised there Python prints and forgets."""
    if isinstance(told.exc_value, _Stopped):
        _leave(told.exc_value.code)
    sys.__unraisablehook__(told)


def _leave(code: int) -> None:
    from fieldguide.terminal import err

    err.print("\nStopped. The same command goes on from here.", style="bold")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads that decode pictures are not waited for; every file on disk is whole
