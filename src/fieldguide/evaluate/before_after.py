"""A language model before and after it was taught: the same question, the same test pictures. How much of the gain is format?

Accuracy is the share of answers that are a label times the share of these that are right, before and after. That tells of two different sets of
pictures, though: those that an untaught model has a label for may be the easier ones. So the gain is counted picture by picture, too. On pictures
that only one of the two has a label for, what is won or lost is format; on pictures that both have a label for it is recognition. On
pictures that neither has one for nothing is right, so the two add up to the whole difference.

Where things are counted an answer has a label if counts can be read from it. Held to the text, it has none either where its counts are right
and its text is another one: the model could count, and wrote in another form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.counting import CountSheet
from fieldguide.evaluate.counting_pairs import as_labels, nearer
from fieldguide.evaluate.intervals import difference_interval, share
from fieldguide.evaluate.pairs import Pair, mcnemar, paired
from fieldguide.records import SCHEMA_VERSION

#: Readings of words that are told of both sides, in the order of the report.
READINGS = ("strict", "normalised", "alias", "json")
#: Readings that know right answers in other words, the widest first.
_WIDEST = ("alias", "normalised", "prose", "counts")
ALPHA = 0.05


@dataclass(frozen=True)
class Side:
    """One contestant: `sheets` by reading, `main` the one that its scores are of; who weighs has that one alone.

    `filtered` are (right, counted) of the filtered denominators of the strict reading, none where nothing is written. `counted` is what was
    counted, where things are counted.
    """

    run: str
    main: str
    sheets: Mapping[str, AnswerSheet]
    filtered: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    counted: CountSheet | None = None

    @property
    def sheet(self) -> AnswerSheet:
        """The answers that are scored."""
        return self.sheets[self.main]


@dataclass(frozen=True)
class Couple:
    """The same model before and after; `differs` are other things that are not the same: what, before, after."""

    model: str
    before: Side
    after: Side
    differs: tuple[tuple[str, str, str], ...] = ()


def counted_side(sheet: CountSheet, prose: CountSheet | None = None) -> Side:
    """Return the side of a contestant that counts: by its text, by its counts, and by `prose`, its counts where words around them are allowed."""
    sheets = {}
    if sheet.same_text is not None:
        sheets["text"] = as_labels(sheet, sheet.same_text, sheet.answered & ~sheet.same_counts)
    sheets["counts"] = as_labels(sheet, sheet.same_counts, sheet.answered)
    if prose is not None:
        sheets["prose"] = as_labels(prose, prose.same_counts, prose.answered)
    main = "text" if sheet.exact == "text" and "text" in sheets else "counts"
    return Side(sheet.run, main, sheets, counted=sheet)


def told(couples: Sequence[Couple], alpha: float = ALPHA) -> dict[str, Any]:
    """Return the content of ``before_after.json``; p-values are corrected after Holm over all `couples`."""
    pairs = paired([(one.after.sheet, one.before.sheet) for one in couples], alpha)
    rows = [_couple(one, pair) for one, pair in zip(couples, pairs, strict=True)]
    both = [(row, one.after.counted, one.before.counted) for row, one in zip(rows, couples, strict=True)]
    counted = [(row, after, before) for row, after, before in both if after is not None and before is not None]
    for (row, after, before), off in zip(counted, nearer([(a, b) for _, a, b in counted], alpha), strict=True):
        row["errors"] = _errors(off, before, after)
    return {"schema": SCHEMA_VERSION, "alpha": alpha, "pairs": rows}


def _errors(off: Mapping[str, Any], before: CountSheet, after: CountSheet) -> dict[str, Any]:
    """Return what is told of mean absolute errors, on pictures that both have counts of."""
    both = before.answered & after.answered
    sides = {
        name: float(sheet.off[both].mean()) if both.any() else None for name, sheet in (("before", before), ("after", after))
    }
    names = ("n", "difference", "low", "high", "p", "p_holm")
    outcome = {"a nearer": "nearer", "b nearer": "further off"}.get(off["outcome"], off["outcome"])
    return {**sides, **{name: off[name] for name in names}, "outcome": outcome}


def _couple(couple: Couple, pair: Pair) -> dict[str, Any]:
    before, after = couple.before, couple.after
    words = [name for name in READINGS if name in before.sheets or name in after.sheets]
    names = list(dict.fromkeys([*words, *before.sheets, *after.sheets]))
    filters = list(dict.fromkeys([*before.filtered, *after.filtered]))
    return {
        "model": couple.model,
        "before": before.run,
        "after": after.run,
        "n": before.sheet.n,
        "main": [before.main, after.main],
        "differs": [list(one) for one in couple.differs],
        "readings": [{"id": name, **{side: _counted(one.sheets.get(name)) for side, one in _sides(couple)}} for name in names],
        "filtered": [
            {"id": name, **{side: _filtered(one.filtered.get(name)) for side, one in _sides(couple)}} for name in filters
        ],
        **pair.of_a(),
        "only_after": pair.only_a,
        "only_before": pair.only_b,
        **parts(before, after),
    }


def _sides(couple: Couple) -> tuple[tuple[str, Side], tuple[str, Side]]:
    return ("before", couple.before), ("after", couple.after)


def _counted(sheet: AnswerSheet | None) -> dict[str, Any] | None:
    if sheet is None:
        return None
    return {"right": sheet.correct, "labelled": int((sheet.answer >= 0).sum()), "accuracy": share(sheet.correct, sheet.n)}


def _filtered(counts: tuple[int, int] | None) -> dict[str, Any] | None:
    return None if counts is None else {"right": counts[0], "n": counts[1], "accuracy": share(*counts)}


def parts(before: Side, after: Side) -> dict[str, Any]:
    """Return the difference in two parts that add up to it, each with its paired interval over all test pictures.

    ``both`` are the pictures that both have a label for, with the accuracies on them; ``named_before`` counts the answers that were no label
    before, are right after, and named the right class in other words before: those are format and nothing else.
    """
    one, two = before.sheet, after.sheet
    had, has = one.answer >= 0, two.answer >= 0
    both = had & has
    gained, lost = int((~had & two.right).sum()), int((~has & one.right).sum())
    more, fewer = int((both & two.right & ~one.right).sum()), int((both & one.right & ~two.right).sum())
    widest = next((name for name in _WIDEST if name in before.sheets), before.main)
    known = None if widest == before.main else int((~had & two.right & before.sheets[widest].right).sum())
    return {
        "format": {**_part(one.n, gained, lost), "named_before": known},
        "recognition": {**_part(one.n, more, fewer), "p": mcnemar(more, fewer)},
        "both": {
            "n": int(both.sum()),
            "before": share(int((both & one.right).sum()), int(both.sum())),
            "after": share(int((both & two.right).sum()), int(both.sum())),
        },
        "kept_silent": int(np.sum(~had & ~has)),
    }


def _part(n: int, gained: int, lost: int) -> dict[str, Any]:
    low, high = difference_interval(n, gained, lost)
    return {"value": (gained - lost) / n, "low": low, "high": high, "gained": gained, "lost": lost}
