"""The same model, the same words, answered in several ways: free text, held to the list, weighed. What of a difference is format?

A free answer, read letter for letter, is lost where it is no name of the list, whatever the model saw. What another way of answering wins
on those pictures is format; what it wins and loses on pictures whose free answer is a name is recognition. The two add up to the
difference, picture by picture, because a free answer that is no name is never right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.intervals import difference_interval, share
from fieldguide.evaluate.pairs import Pair, paired
from fieldguide.records import SCHEMA_VERSION

#: Ways of answering, in the order of the report; the first three are readings of the same free answers.
WAYS = ("strict", "normalised", "alias", "choice", "likelihood", "decision")
ALPHA = 0.05


@dataclass(frozen=True)
class Asked:
    """One contestant: `how` its answers are had, and a sheet for each way that they are counted in, by the names of `WAYS`."""

    run: str
    how: str
    sheets: Mapping[str, AnswerSheet]


@dataclass(frozen=True)
class Group:
    """Contestants that put the same question to the same model; `question` is the hash of what was asked."""

    model: str
    question: str
    asked: Sequence[Asked] = field(default_factory=tuple)


def told(groups: Sequence[Group], alpha: float = ALPHA) -> dict[str, Any]:
    """Return the content of ``questions.json``: a group for each question that was answered in two ways or more.

    The base of a group is the first contestant that answers freely, read strictly, or else the first that is held to the list. Every other
    contestant is compared with it on the same test pictures: exact McNemar, corrected after Holm over all that are compared here.
    """
    shown = [(group, *_based(group)) for group in groups if len({one.how for one in group.asked}) > 1]
    couples = [(sheet, base) for _, base, ways in shown for _, sheet, again in ways if not again]
    pairs = iter(paired(couples, alpha))
    return {
        "schema": SCHEMA_VERSION,
        "alpha": alpha,
        "groups": [
            {
                "model": group.model,
                "question": group.question,
                "base": base.run,
                "n": base.n,
                "ways": [
                    _way(way, sheet) | {"against": None if again else _against(base, sheet, next(pairs))}
                    for way, sheet, again in ways
                ],
            }
            for group, base, ways in shown
        ],
    }


def _based(group: Group) -> tuple[AnswerSheet, list[tuple[str, AnswerSheet, bool]]]:
    """Return the base, and of each way its name, its sheet, and whether it only reads the answers of the base again."""
    ordered = sorted(group.asked, key=lambda one: (_rank(next(iter(one.sheets))), one.run))
    base = ordered[0].sheets.get("strict") or next(iter(ordered[0].sheets.values()))
    ways = [
        (way, sheet, one is ordered[0])
        for one in ordered
        for way, sheet in sorted(one.sheets.items(), key=lambda item: _rank(item[0]))
    ]
    return base, sorted(ways, key=lambda item: _rank(item[0]))


def _rank(way: str) -> int:
    return WAYS.index(way) if way in WAYS else len(WAYS)


def _way(way: str, sheet: AnswerSheet) -> dict[str, Any]:
    labelled = int((sheet.answer >= 0).sum())
    return {
        "way": way,
        "run": sheet.run,
        "right": sheet.correct,
        "labelled": labelled,
        "accuracy": share(sheet.correct, sheet.n),
    }


def _against(base: AnswerSheet, sheet: AnswerSheet, pair: Pair) -> dict[str, Any]:
    """Return the difference to the base with its parts, which are counted on the pictures without and with a name in the base."""
    silent = base.answer < 0
    won = int((silent & sheet.right).sum())
    more, fewer = (int((~silent & mask).sum()) for mask in (sheet.right & ~base.right, base.right & ~sheet.right))
    low, high = difference_interval(base.n, more, fewer)
    return {
        **pair.of_a(),
        "only_this": pair.only_a,
        "only_base": pair.only_b,
        "format": share(won, base.n),
        "recognition": {"value": (more - fewer) / base.n, "low": low, "high": high, "gained": more, "lost": fewer},
    }
