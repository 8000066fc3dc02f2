"""The section on taught language models in ``report.md``: before and after, the two parts of a gain, and how each was taught."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fieldguide.report.say import Value
from fieldguide.report.taught import Taught

Text = Callable[[object], str]
Table = Callable[..., list[str]]


def section(found: Taught, text: Text, table: Table, code: Text) -> Iterator[str]:
    """Yield the lines; `text` and `code` escape words for a line or a cell, `table` makes a table of escaped cells."""
    for one in found.couples:
        yield f"- {code(one.before.name)} → {code(one.after.name)} ({text(one.model)}): {one.points} points, {text(one.outcome)}."
        yield from (f"  - {text(line)}" for line in one.told)
        yield from (f"  - Not the same on both sides: {text(line)}." for line in one.differs)
    if found.couples:
        yield ""
        yield f"{text(found.terms.scores)} before and after, 95 % intervals in brackets."
        yield ""
        rows = (
            [code(one.after.name), text(row.name), *(_value(value, text) for value in (row.before, row.after, row.difference))]
            for one in found.couples
            for row in one.rows
        )
        yield from table(["Contestant", found.terms.what, "Before", "After", found.terms.change], rows, 2)
        yield ""
    if found.lessons:
        names = list(dict.fromkeys(name for one in found.lessons for name, _ in one.facts))
        told = [dict(one.facts) for one in found.lessons]
        rows = ([text(name), *(_value(one[name], text) for one in told)] for name in names)
        yield from table(["Taught", *(code(one.contestant.name) for one in found.lessons)], rows, 1)


def _value(value: Value, text: Text) -> str:
    return text(value.text) + ("" if value.absent or not value.note else f" [{text(value.note)}]")
