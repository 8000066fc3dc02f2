"""Curves for other programs: one hook, called with every event that a study writes into its own logs.

A tracker is a function ``(run, event, values) -> None``: `run` is the contestant's name, `event` the kind (``epoch``, ``fact``,
``parts``, ``rates``, ``best``, ``resumed``, ``sitting``), `values` plain JSON values such as ``{"epoch": 3, "val_accuracy": 0.91}``.
``--track tensorboard`` is one of ours; ``--track my_module:my_function`` is any other. What it does is its own affair: the study's
files do not depend on it, and one that raises is told of once and not called again.
"""

from __future__ import annotations

import importlib
import numbers
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fieldguide.bench import Progress
from fieldguide.errors import EnvironmentProblem, UsageProblem, plain

Tracker = Callable[[str, str, Mapping[str, Any]], None]


def nobody(run: str, event: str, values: Mapping[str, Any]) -> None:
    """Take no notice."""


def tracker(words: str | None, folder: Path, progress: Progress) -> Tracker:
    """Return the tracker that `words` name: ``tensorboard`` (into ``STUDY/tensorboard``), ``MODULE:FUNCTION``, or nobody for `None`.

    Raises `UsageProblem` where there is no such function, `EnvironmentProblem` where TensorBoard is not installed.
    """
    if words is None:
        return nobody
    return _once_told(_tensorboard(folder / "tensorboard") if words == "tensorboard" else _named(words), words, progress)


def _named(words: str) -> Tracker:
    module, colon, name = words.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # a module that lies in the working folder, as for `python -m`
    try:
        found = getattr(importlib.import_module(module), name) if colon else None
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageProblem(
            f"--track {plain(words)}: {plain(error)}.",
            "Allowed: tensorboard, or MODULE:FUNCTION, a function of (run, event, values).",
            "For example --track tensorboard",
        ) from error
    if not callable(found):
        raise UsageProblem(
            f"--track {plain(words)} names no function.",
            "Allowed: tensorboard, or MODULE:FUNCTION, a function of (run, event, values).",
            "For example --track tensorboard",
        )
    return found  # type: ignore[no-any-return]


def _tensorboard(folder: Path) -> Tracker:
    """Return a tracker that writes every number of an epoch as a scalar; after a resume what is told again replaces what was."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise EnvironmentProblem(
            "The package tensorboard is not installed.",
            "It belongs to an optional part of fieldguide.",
            "pip install 'fieldguide[tensorboard]'",
        ) from error
    writers: dict[str, SummaryWriter] = {}

    def track(run: str, event: str, values: Mapping[str, Any]) -> None:
        if event != "epoch":
            return
        step = int(values["epoch"])
        if run not in writers:
            writers[run] = SummaryWriter(folder / run, purge_step=step)
        for name, value in values.items():
            if name != "epoch" and isinstance(value, numbers.Real):
                writers[run].add_scalar(name, float(value), step)
        writers[run].flush()

    return track


def _once_told(track: Tracker, words: str, progress: Progress) -> Tracker:
    broken: list[BaseException] = []

    def careful(run: str, event: str, values: Mapping[str, Any]) -> None:
        if broken:
            return
        try:
            track(run, event, values)
        except Exception as error:  # a stranger's code: whatever it raises must not cost a training
            broken.append(error)
            progress.say(f"--track {words} stopped: {type(error).__name__}: {error}. The study goes on without it.")

    return careful
