"""Format apart from recognition: what part of the error is which, from the counts of a run's readings alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report import prompting_chart, say
from fieldguide.report.prompted_files import Counted, Part
from fieldguide.report.say import NOT_APPLICABLE, Value

#: Readings in their order, what a column calls them, and what each takes for a label.
READINGS = {
    "strict": ("Strict", "nothing but the id or the display name of one class, letter for letter"),
    "normalised": ("Normalised", "the same in another spelling: case, article, plural, punctuation around it, hyphens, spaces"),
    "alias": ("Alias", "as normalised, or a synonym from classes.toml"),
    "json": ("JSON", "the answer in a JSON object, which is then read as normalised"),
    "likelihood": ("Likelihood", "the name that is most probable as the whole answer; nothing is written, so nothing is read"),
    "decision": (
        "Decision",
        "the class whose letter is most probable as the next token; nothing is written, so nothing is read",
    ),
}
#: Filtered denominators of the strict reading.
FILTERED = {"listed": "Filtered: listed names", "any name": "Filtered: any name"}
#: Readings of which each takes all labels of those before it.
_WIDER = ("strict", "normalised", "alias")
#: Kinds of errors where no answer came: neither format nor recognition.
_NO_ANSWER = frozenset(("server failed", "unreadable picture", "not asked", "no answer", "too unsure"))


@dataclass(frozen=True, slots=True)
class Split:
    """Format apart from recognition under the headline; `bar` shows it, and `told` are sentences.

    `lost` is the sum of `format` (an answer that is no label), `absent` (no answer at all) and `recognition` (another label).
    """

    labelled: Value
    recognised: Value
    accuracy: Value
    lost: Value
    format: Value
    absent: Value
    recognition: Value
    bar: Markup
    told: tuple[str, ...]


def heading(id: str, filtered: bool) -> str:
    """Return what a column is called."""
    known = FILTERED.get(id) if filtered else READINGS.get(id, ("",))[0]
    return known or (f"Filtered: {id}" if filtered else id)


def split(part: Part, head: Counted) -> Split | None:
    """Return format apart from recognition, from the counts of the headline's reading alone."""
    n, right, labelled = part.n, head.right, head.labelled
    if not n or right is None or labelled is None or not right <= labelled <= n:
        return None
    lost = _Lost(n, right, labelled, min(n - labelled, sum(one.count for one in part.kinds if one.id in _NO_ANSWER)))
    wide = _widest(part, head, n)
    found = min((wide.right or 0) - right, lost.silent) if wide else 0
    return Split(
        labelled=Value(say.percent(labelled / n), labelled / n, f"{say.count(labelled)} of {say.count(n)}"),
        recognised=Value(say.percent(right / labelled), right / labelled, f"{say.count(right)} of {say.count(labelled)}")
        if labelled
        else Value(NOT_APPLICABLE, title="no answer is a label"),
        accuracy=Value(say.percent(right / n), right / n),
        lost=_points(n - right, n),
        format=_points(lost.silent, n),
        absent=_points(lost.absent, n),
        recognition=_points(lost.wrong, n),
        bar=prompting_chart.outcomes([count / n for count in (right, found, lost.silent - found, lost.absent, lost.wrong)]),
        told=tuple(itertools.chain(_told(lost), _regained(lost, wide), _off_the_list(part, labelled))),
    )


@dataclass(frozen=True, slots=True)
class _Lost:
    """Counts of all `n` answers; `absent` are those that never came."""

    n: int
    right: int
    labelled: int
    absent: int

    @property
    def silent(self) -> int:
        """Answers that are no label."""
        return self.n - self.labelled - self.absent

    @property
    def wrong(self) -> int:
        """Answers that are another label."""
        return self.labelled - self.right


def _points(count: int, n: int) -> Value:
    return Value(
        say.points(count / n, signed=False), count / n, say.count(count), f"{say.count(count)} of {say.count(n)} answers"
    )


def _widest(part: Part, head: Counted, n: int) -> Counted | None:
    """Return the widest reading of those that take all labels of the headline's and more; `None` where none is recorded."""
    if head.id not in _WIDER:
        return None
    right, labelled = head.right or 0, head.labelled or 0
    for id in reversed(_WIDER[_WIDER.index(head.id) + 1 :]):
        wide = part.reading(id)
        if wide and wide.right is not None and wide.labelled is not None:
            more, found = wide.labelled - labelled, wide.right - right
            return wide if 0 <= found <= more <= n - labelled else None
    return None


def _told(lost: _Lost) -> Iterator[str]:
    """Yield what part of the error is of which kind."""
    if lost.right == lost.n:
        yield "Nothing is lost: every answer is the right label."
        return
    parts = [
        (lost.silent, "format", f"{_answers(lost.silent)} no label of the list"),
        (lost.absent, "of no answer at all", f"{say.count(lost.absent)} picture{'' if lost.absent == 1 else 's'}"),
        (lost.wrong, "recognition", f"{_answers(lost.wrong)} another label"),
    ]
    all_lost = say.points(1 - lost.right / lost.n, signed=False)
    there = [(count, what, why) for count, what, why in parts if count]
    if len(there) == 1:
        ((_, what, why),) = there
        yield f"All of the {all_lost} points lost are {what}: {why}."
        return
    told = [f"{say.points(count / lost.n, signed=False)} are {what} ({why})" for count, what, why in there]
    yield f"Of {all_lost} points lost, {', '.join(told[:-1])} and {told[-1]}."


def _answers(count: int) -> str:
    return f"{say.count(count)} answer{' is' if count == 1 else 's are'}"


def _regained(lost: _Lost, wide: Counted | None) -> Iterator[str]:
    """Yield what a wider reading finds in the answers that are no label under the headline."""
    if not lost.silent or wide is None or wide.right is None or wide.labelled is None:
        return
    found, more = wide.right - lost.right, wide.labelled - lost.labelled
    if not more:
        yield f"Read as “{heading(wide.id, False).lower()}”, none of the {say.count(lost.silent)} becomes a label."
        return
    yield (
        f"Read as “{heading(wide.id, False).lower()}”, {say.count(found)} of the {say.count(lost.silent)} that are no label name "
        f"the right class in other words ({say.points(found / lost.n, signed=False)} points), {say.count(more - found)} another one, "
        f"and {say.count(max(0, lost.silent - more))} still none."
    )


def _off_the_list(part: Part, labelled: int) -> Iterator[str]:
    """Yield how many answers have the form of a name and are not on the list, where both filtered denominators tell it."""
    own = {one.id: one.n for one in part.filtered}
    listed, named = own.get("listed"), own.get("any name")
    if listed == labelled and named is not None and named > labelled:
        yield f"{_answers(named - labelled)} a bare name that is not on the list."
