"""The table of torture groups in ``docs/torture.md``, written by the run itself.

A module says ``pytestmark = pytest.mark.torture("T1", "Bad picture files")``; each of its test items is one case. A case tells what
the user saw with the fixture ``told``. A run of everything (FIELDGUIDE_TORTURE=all) writes the table; cases that were skipped,
or left out by a selection, stand in it as not run.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

TABLE = Path(__file__).parents[2] / "docs" / "torture.md"
_TOLD = pytest.StashKey[str]()
_CASES = pytest.StashKey["dict[str, Case]"]()


@dataclass
class Case:
    """One case: its group, the group's title, its name, how it went, and what the user saw."""

    group: str
    title: str
    name: str
    outcome: str = "not run"
    told: str = ""


@pytest.fixture
def told(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Keep for the table what the user saw in this case."""

    def tell(what: str) -> None:
        request.node.stash[_TOLD] = " ".join(what.split())

    return tell


def collect(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note every case that exists, before any selection."""
    cases = config.stash.setdefault(_CASES, {})
    for item in items:
        mark = item.get_closest_marker("torture")
        if mark is not None:
            cases[item.nodeid] = Case(mark.args[0], mark.args[1], _name(item))


def note(item: pytest.Item, report: pytest.TestReport) -> None:
    """Note how one phase of a case went."""
    case = item.config.stash.get(_CASES, {}).get(item.nodeid)
    if case is None:
        return
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        case.outcome, case.told = "not run", str(reason).removeprefix("Skipped: ")
    elif report.failed:
        case.outcome = "FAILED"
    elif report.when == "call":
        case.outcome, case.told = "conforms", item.stash.get(_TOLD, "")


def write(config: pytest.Config, target: Path = TABLE) -> None:
    """Write the table after a run of the whole suite; cases that ``-k`` left out keep what their last run said.

    One of several processes of a run knows a part of the cases only, and writes nothing.
    """
    if hasattr(config, "workerinput"):
        return
    cases = list(config.stash.get(_CASES, {}).values())
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if cases and everything and os.environ.get("FIELDGUIDE_TORTURE") == "all":
        if config.option.keyword and target.exists():
            _remember(cases, target.read_text(encoding="utf-8"))
        target.write_text(page(cases), encoding="utf-8")


def _remember(cases: list[Case], before: str) -> None:
    """Fill in from the page as it was what a selection has left out of this run."""
    known: dict[tuple[str, str], tuple[str, str]] = {}
    group = ""
    for line in before.splitlines():
        group = line.split()[1] if line.startswith("## ") else group
        cells = re.split(r" (?<!\\)\| ", line.removeprefix("| ").removesuffix(" |"))
        if len(cells) == 3:
            known[group, cells[0]] = (cells[1], cells[2])
    for case in cases:
        if case.outcome == "not run" and not case.told and (case.group, _cell(case.name)) in known:
            case.outcome, shown = known[case.group, _cell(case.name)]
            case.told = re.sub(r"\\(.)", r"\1", shown)


def page(cases: list[Case]) -> str:
    """Return the table as Markdown."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    lines = [
        "# Torture groups",
        "",
        "What happens to careless folders, damaged files, full disks and killed processes. Written by `uv run just torture`; do not edit.",
        f"Run on Python {platform.python_version()}, {platform.system()}. {_tried()}",
        "",
        "| group | cases | conform | failed | not run |",
        "|---|---|---|---|---|",
    ]
    order = sorted(groups, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])
    for name in order:
        every = groups[name]
        counts = [sum(case.outcome == outcome for case in every) for outcome in ("conforms", "FAILED", "not run")]
        lines.append(f"| {name} {every[0].title} | {len(every)} | {' | '.join(map(str, counts))} |")
    for name in order:
        lines += ["", f"## {name} {groups[name][0].title}", "", "| case | outcome | what the user sees |", "|---|---|---|"]
        lines += [f"| {_cell(case.name)} | {case.outcome} | {_cell(case.told)} |" for case in groups[name]]
    return "\n".join(lines) + "\n"


def _tried() -> str:
    most = os.environ.get("FIELDGUIDE_MOMENTS")
    return (
        f"Of each block of moments (T5, T6) a seeded sample of {most} was tried (FIELDGUIDE_MOMENTS={most})."
        if most
        else "Every moment was tried."
    )


def _name(item: pytest.Item) -> str:
    """Return the parameters of a parametrised case, else the words of its function's name."""
    call = getattr(item, "callspec", None)
    return str(call.id) if call is not None else item.name.removeprefix("test_").replace("_", " ")


def _cell(text: str) -> str:
    """Return text that stays in its cell and shows nothing but itself."""
    shown = "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)
    return re.sub(r"([|<>&*_`\[\]\\])", r"\\\1", shown)
