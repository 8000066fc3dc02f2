"""Calibration and prompt audits in ``report.md``: how far probabilities can be believed, and what a prompt does to the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fieldguide.report.audits import Row, Shown, audits
from fieldguide.report.calibration import Row as Sure
from fieldguide.report.calibration import calibration
from fieldguide.report.read import Study
from fieldguide.report.say import Value

Text = Callable[[object], str]
Table = Callable[..., list[str]]


def sureness(study: Study, text: Text, table: Table, code: Text) -> Iterator[str]:
    """Yield the lines on calibration; `text` and `code` escape words for a line or a cell, `table` makes a table of escaped cells."""
    found = calibration(study)
    yield text(found.lead)
    yield ""
    if found.rows:
        headings = ["Contestant", "State", "Calibration error", "Perfect would show", "Mean confidence", "Too sure by, points"]
        headings += ["Log loss", "Top-5 accuracy", "Right above wrong"]
        headings += [
            f"{name} at {target} %" for target in found.targets for name in ("Threshold", "Answered", "Right of these")
        ]
        yield from table(headings, (_sure(row, text, code) for row in found.rows), 2)
        yield ""
        if found.targets:
            yield (
                "Thresholds are chosen on validation pictures so that so many of the answers to them are right; what they do is counted on "
                "test pictures."
            )
            yield ""
    for contestant, why in found.without:
        yield f"- {code(contestant.name)}: {text(why)}"


def _sure(row: Sure, text: Text, code: Text) -> list[str]:
    values = [row.error, row.perfect, row.confidence, row.surplus, row.log_loss, row.top5, row.ranking]
    values += [value for one in row.thresholds for value in (one.least, one.answered, one.accuracy)]
    return [code(row.contestant.name), text(row.state), *(_value(value, text) for value in values)]


def audited(study: Study, text: Text, table: Table, code: Text) -> Iterator[str]:
    """Yield the lines on prompt audits; nothing where none was made and none could be."""
    found = audits(study)
    if found is None:
        return
    for one in found.shown:
        yield from _audit(one, text, table, code)
    for contestant in found.waiting:
        yield f"- {code(contestant.name)}: not audited. {code(f'fieldguide audit STUDY/runs/{contestant.name}')}"


def _audit(one: Shown, text: Text, table: Table, code: Text) -> Iterator[str]:
    if one.problem:
        yield f"{code(one.contestant.name)}: not recorded ({text(one.problem)})."
        yield ""
        return
    yield f"{code(one.contestant.name)}: **{text(one.verdict or 'the audit holds no verdict')}**"
    yield ""
    yield " ".join(text(line) for line in (*one.doubts, one.audited) if line)
    yield ""
    headings = ["Check", "Found", "Largest change", "Accuracy, points", "Other answers", "Said"]
    yield from table(headings, (_check(row, text) for row in one.rows), 3)
    yield ""
    if one.pulls:
        yield text(one.pull) if one.pull else "Share of the answers that name a label wrongly."
        yield ""
        headings = ["Label", "When it is not the example", "When it is", "Points", "p"]
        rows = ([text(pull.label), *(_value(v, text) for v in (pull.not_, pull.when, pull.gap, pull.p))] for pull in one.pulls)
        yield from table(headings, rows)
        yield ""
    if one.places_said:
        yield text(one.places_said)
        yield ""
    if one.moved:
        yield "Classes whose recall changed by more than chance, after Holm."
        yield ""
        headings = ["Class", "Change of the prompt", "Pictures", "As it is", "Changed", "Points", "p after Holm"]
        moved = (
            [text(row.label), text(row.name), *(text(v.text) for v in (row.n, row.base, row.variant, row.gap, row.p))]
            for row in one.moved
        )
        yield from table(headings, moved, 2)
        yield ""
    yield "; ".join(f"{text(name)}: {text(words)}" for name, words in one.facts) + "."
    yield ""


def _check(row: Row, text: Text) -> list[str]:
    gap = row.strongest
    told = [text(gap.name), _value(gap.gap, text)] if gap else ["–", "–"]
    flips = _value(row.flips, text) + (f" ({text(row.flipped_by)})" if row.flipped_by else "")
    return [text(row.question), text(row.found), *told, flips, text(row.sentence) if row.sentence else "–"]


def _value(value: Value, text: Text) -> str:
    return text(value.text) + ("" if value.absent or not value.note else f" [{text(value.note)}]")
