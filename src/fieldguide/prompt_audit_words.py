"""The words of ``fieldguide audit``: whether they are of a run or of a table of answers, and what they wish for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fieldguide.asked import PromptAudit, Terms
from fieldguide.errors import UsageProblem, plain
from fieldguide.settings import build


def of_a_run(subject: Path, example: str | None, listed: str | None, given: Mapping[str, Any]) -> bool:
    """Tell whether `subject` is meant as a contestant of a study; raises `UsageProblem` where options of the other kind are given."""
    folder = subject.is_dir() or (not subject.exists() and subject.parent.name == "runs")
    strange = {"--example": example, "--list": listed} if folder else {f"--{name}": value for name, value in given.items()}
    for option, value in strange.items():
        if _absent(value):
            continue
        if folder:
            raise UsageProblem(
                f"{option} is said of a table of answers, and {plain(subject)} is a folder.",
                "A contestant's example and list stand in its prompt, and are varied one at a time. "
                "Of a folder may be said: --pictures, --check, --labels, --seed, --yes, --limit, --json.",
                f"fieldguide audit {plain(subject)} --check {'example' if option == '--example' else 'order'}",
            )
        raise UsageProblem(
            f"{option} is said of a contestant, STUDY/runs/NAME, and {plain(subject)} is none.",
            "Nothing is asked about a table of answers. Of one may be said: --example, --list, --json.",
            f"fieldguide audit {plain(subject)}   or   fieldguide audit STUDY/runs/NAME {option} ...",
        )
    return folder


def read(given: Mapping[str, Any]) -> tuple[PromptAudit, Terms]:
    """Return what is wished for, and what the call may do; raises `UsageProblem` for an impossible value."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    values = {name: value for name, value in values.items() if not _absent(value)}
    terms = {name: values.pop(name) for name in list(values) if name in Terms.model_fields}
    return build(PromptAudit, values, "The command"), build(Terms, terms, "The command")


def _absent(value: object) -> bool:
    """Tell whether an option was not given; a zero was."""
    return value is None or value is False or (isinstance(value, tuple | list) and not value)
