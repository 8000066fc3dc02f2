"""The section on texts in ``report.md``: the same values as the page, through the same escaping as the rest of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fieldguide.report.read import Study
from fieldguide.report.say import Value
from fieldguide.report.text_card import Card
from fieldguide.report.text_doctor import Doctor
from fieldguide.report.text_ratio import Cell, Ratio
from fieldguide.report.text_ways import Ways
from fieldguide.report.texts import texts

Text = Callable[[object], str]
Table = Callable[..., list[str]]


def section(study: Study, text: Text, table: Table) -> Iterator[str]:
    """Yield the lines; `text` escapes words for a line or a cell, `table` makes a table of escaped cells."""
    found = texts(study)
    if found is None:
        return
    if found.ratio:
        yield from _ratio(found.ratio, text, table)
    if found.ways:
        yield from _ways(found.ways, text, table)
    for card in found.cards:
        yield from _card(card, text, table)
    for doctor in found.doctors:
        yield from _doctor(doctor, text)


def _value(value: Value) -> str:
    return value.text + ("" if value.absent or not value.note else f" [{value.note.strip('()')}]")


def _ratio(told: Ratio, text: Text, table: Table) -> Iterator[str]:
    if told.headline:
        yield from (f"**{text(told.headline)}**", "")
    for leak in told.leaks:
        yield from (f"- Texts alone are no texts alone here: {text(leak)}.", "")
    if not told.boards:
        return
    board = told.boards[0]
    bracket = f", in round brackets {text(board.bracketed)}" if board.bracketed else ""
    yield f"Test accuracy by share of pictures, head {text(board.head)}, selection {text(board.selection)}{bracket}; 95 % intervals."
    yield ""
    headings = ["Image to text", "Pictures", "Pictures alone"]
    headings += [f"{text(group)}, {mode}" for group in board.groups for mode in ("texts instead", "in addition")]
    yield from table(
        headings, ([row.ratio, text(row.coverage), *(_cell(cell, text) for cell in row.cells)] for row in board.rows), 2
    )
    yield ""
    yield from (f"- {text(sentence)}" for sentence in board.told)
    yield ""


def _cell(cell: Cell | None, text: Text) -> str:
    if cell is None:
        return "–"
    return text(" ".join(part for part in (cell.sign, _value(cell.value), cell.other) if part))


def _ways(told: Ways, text: Text, table: Table) -> Iterator[str]:
    yield from table(
        ["Contestant", *map(text, told.columns)],
        ([text(way.name), *(text(_value(value)) for value in way.values)] for way in told.each),
    )
    yield ""
    yield from (f"- {text(way.name)}: {text(sentence)}" for way in told.each for _, _, sentence in way.told)
    yield ""


def _card(card: Card, text: Text, table: Table) -> Iterator[str]:
    yield f"How accurate is the translation of {text(card.source or 'the texts')}? {text(card.about)}."
    yield ""
    yield from (f"- {text(sentence)}" for sentence in (*card.sentences, *card.notes))
    yield ""
    if card.lines:
        names = [text(f"{column.name} ({column.role})" if column.role else column.name) for column in card.columns]
        rows = ([text(line.title), *(text(_value(value)) for value in line.values), line.chance] for line in card.lines)
        yield from table(["Measure", *names, "By guessing"], rows)
        yield ""


def _doctor(doctor: Doctor, text: Text) -> Iterator[str]:
    yield f"The description doctor on {text(doctor.source)}: {text(doctor.about)}."
    yield ""
    if doctor.sentence:
        yield f"- {text(doctor.sentence)}"
    for total in doctor.totals:
        if total.lines.number:
            yield f"- {text(total.lines.text)} lines ({text(total.share)}): {text(total.what)}"
    yield from (f"- {text(doubt)}" for doubt in doctor.doubts)
    yield ""
