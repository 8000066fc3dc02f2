"""The section on answers in words in ``report.md``: readings, format apart from recognition, kinds of errors and cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fieldguide.report import say
from fieldguide.report.prompting import Prompting, Run, prompting
from fieldguide.report.prompting_cost import Cost
from fieldguide.report.prompting_questions import Question, Way
from fieldguide.report.prompting_weighed import Form
from fieldguide.report.read import Study
from fieldguide.report.say import Value
from fieldguide.report.thumbnails import Thumbnail

Text = Callable[[object], str]
Table = Callable[..., list[str]]


def section(study: Study, text: Text, table: Table, code: Text) -> Iterator[str]:
    """Yield the lines; `text` and `code` escape words for a line or a cell, `table` makes a table of escaped cells."""
    found = prompting(study, lambda key: Thumbnail(None), 0)
    if found is None:
        return
    yield from (f"- {code(run.contestant.name)}: {_sentences(run, text)}" for run in found.runs)
    yield ""
    for question in found.questions:
        yield from _question(question, text, table, code)
    if found.columns:
        yield "Test accuracy under every reading of the same answers; 95 % intervals in brackets."
        yield ""
        yield from table(
            ["Contestant", "Headline", *map(text, found.columns)], (_readings(run, text, code) for run in found.runs), 2
        )
        yield ""
        yield from table(
            [
                "Contestant",
                "Answers that are a label",
                "Right among these",
                "Accuracy",
                "Lost by format",
                "By no answer",
                "By recognition",
            ],
            (_split(run, text, code) for run in found.runs),
        )
        yield ""
    if found.kinds:
        yield "Test answers that are not the right label, by kind."
        yield ""
        rows = ([code(run.contestant.name), *(text(run.counted(kind).text) for kind in found.kinds)] for run in found.runs)
        yield from table(["Contestant", *map(text, found.kinds)], rows)
        yield ""
    yield from _weighed(found, text, table, code)
    yield from _cost(found, text, table, code)


def _question(question: Question, text: Text, table: Table, code: Text) -> Iterator[str]:
    yield f"The same question to {text(question.model)}, answered in other ways, on {text(question.n)} test pictures."
    yield ""
    yield from (f"- {text(sentence)}" for sentence in question.told)
    yield ""
    headings = ["How it was answered", "Contestant", "Accuracy", "Difference, points", "Of it format", "Of it recognition"]
    yield from table([*headings, "Outcome", "p after Holm"], (_way(way, text, code) for way in question.ways), 2)
    yield ""


def _way(way: Way, text: Text, code: Text) -> list[str]:
    values = (way.accuracy, way.gap, way.format, way.recognition)
    p = text(way.p.text) if way.outcome else "–"
    return [
        text(way.name),
        code(way.run),
        *(_value(value, text) for value in values),
        text(way.outcome) if way.outcome else "–",
        p,
    ]


def _weighed(found: Prompting, text: Text, table: Table, code: Text) -> Iterator[str]:
    """Yield which form of the score was chosen for each contestant that weighs names."""
    rows = [(one.contestant, form) for one in found.weighed for form in one.forms]
    for one in found.weighed:
        yield f"- {code(one.contestant.name)}: " + "; ".join(f"{text(name)}: {text(words)}" for name, words in one.facts) + "."
    yield ""
    if rows:
        yield "Forms of the score on validation pictures, each under the temperature that suits it."
        yield ""
        told = (
            [code(contestant.name), text(form.name) + (" (chosen)" if form.chosen else ""), *_form(form, text)]
            for contestant, form in rows
        )
        yield from table(["Contestant", "Form", "Log loss", "Accuracy", "Temperature", "Pictures"], told, 2)
        yield ""


def _form(form: Form, text: Text) -> list[str]:
    return [text(value.text) for value in (form.nll, form.accuracy, form.temperature, form.pictures)]


def _sentences(run: Run, text: Text) -> str:
    if run.problem:
        return f"readings not recorded ({text(run.problem)})" if run.problem != say.NOT_RECORDED else "readings not recorded"
    return text(" ".join((*run.split.told, run.scored)).strip()) if run.split else "not recorded"


def _readings(run: Run, text: Text, code: Text) -> list[str]:
    return [code(run.contestant.name), text(run.headline), *(_value(value, text) for value, _ in run.values)]


def _split(run: Run, text: Text, code: Text) -> list[str]:
    if run.split is None:
        return [code(run.contestant.name), *[say.NOT_RECORDED] * 6]
    split = run.split
    values = (split.labelled, split.recognised, split.accuracy, split.format, split.absent, split.recognition)
    return [code(run.contestant.name), *(text(value.text) for value in values)]


def _cost(found: Prompting, text: Text, table: Table, code: Text) -> Iterator[str]:
    if not found.hardware.measured:
        return
    yield f"Cost of all answers for validation and test pictures; fieldguide ran on: {text(found.hardware.here)}."
    yield ""
    headings = [
        "Contestant",
        "Model",
        "Ran",
        "Pictures",
        "Asked",
        "From kept answers",
        "Tokens in",
        "Of these cached",
        "Tokens out",
    ]
    headings += ["Per picture", "Wall time", "Time, a right answer", "Tokens, a right answer"]
    headings += ["Money", "Money, a right answer"] if found.hardware.money else []
    yield from table(headings, (_spent(row, found.hardware.money, text, code) for row in found.costs), 3)
    yield ""


def _spent(row: Cost, money: bool, text: Text, code: Text) -> list[str]:
    values = [row.pictures, row.asked, row.kept, row.tokens_in, row.cached, row.tokens_out, row.seconds, row.wall]
    values += [row.right_seconds, row.right_tokens, *([row.money, row.right_money] if money else [])]
    return [code(row.contestant.name), text(row.model), text(row.where), *(text(value.text) for value in values)]


def _value(value: Value, text: Text) -> str:
    return text(value.text) + ("" if value.absent or not value.note else f" [{text(value.note)}]")
