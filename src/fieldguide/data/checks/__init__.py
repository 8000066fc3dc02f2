"""The health checks: one small function each, with a code that never changes its meaning.

A check's docstring is its documentation: `docs/checks.md` and ``fieldguide checks`` are drawn from it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from fieldguide.data.checks import classes, copies, files, pictures
from fieldguide.data.checks.finding import Facts, Finding, FindingState, Told

__all__ = ["CHECKS", "Check", "Facts", "Finding", "FindingState", "find"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the catalogue."""

    code: str
    title: str
    run: Callable[[Facts], Told]

    @property
    def text(self) -> str:
        """What it looks for, why that matters and what to do, in paragraphs."""
        return inspect.cleandoc(self.run.__doc__ or "")


CHECKS = (
    Check("FG001", "Files that cannot be read", files.unreadable),
    Check("FG002", "Pictures that needed a conversion", files.converted),
    Check("FG003", "Exact duplicates", copies.duplicates),
    Check("FG004", "Near duplicates", copies.near_duplicates),
    Check("FG005", "The same picture in two classes", copies.two_classes),
    Check("FG006", "Pictures in two of the given splits", copies.leaks),
    Check("FG007", "Bursts", copies.bursts),
    Check("FG008", "Classes with hardly any pictures", classes.small),
    Check("FG009", "Class imbalance", classes.imbalance),
    Check("FG010", "Tiny pictures", pictures.tiny),
    Check("FG011", "Blank pictures", pictures.blank),
    Check("FG012", "Pictures of extreme shape", pictures.extreme),
    Check("FG013", "Class names that collide", classes.names),
    Check("FG014", "Label suspects", classes.suspects),
    Check("FG015", "Labels that contradict the folder", classes.folders),
    Check("FG016", "Extensions that lie", files.extensions),
    Check("FG017", "Files that are no candidates", files.ignored),
    Check("FG018", "File facts that give the class away", pictures.giveaways),
)


def find(facts: Facts) -> tuple[Finding, ...]:
    """Run every check, in the order of their codes."""
    findings = []
    for check in CHECKS:
        told = check.run(facts)
        findings.append(Finding(check.code, told.state, check.title, told.count, told.detail, told.examples))
    return tuple(findings)
