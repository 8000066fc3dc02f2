"""What a study of counts leaves to take away: the same four files as any study, with the numbers of counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fieldguide.files import write_csv, write_text
from fieldguide.report import say
from fieldguide.report.counting import counting
from fieldguide.report.counting_taught import counting_taught
from fieldguide.report.exports import latex, markdown, markdown_taught, table
from fieldguide.report.exports import scores as whole
from fieldguide.report.hashes import settings_hash
from fieldguide.report.read import Study
from fieldguide.report.say import Value
from fieldguide.report.thumbnails import Thumbnail

#: Metrics of ``scores.json`` in the order of the table.
METRICS = (
    *("exact", "exact_counts", "exact_text", "parsed"),
    *("mae", "bias", "total_mae", "total_bias", "value_mae", "value_bias"),
)
_VAL = ("exact", "mae")
_ENDS = (("", "value"), ("_low", "low"), ("_high", "high"))
HEADINGS: tuple[str, ...] = (
    *("contestant", "family", "state", "letters", "nearest", "chosen_on_validation", "test_pictures", "correct", "failed"),
    *(f"{name}{end}" for name in METRICS for end, _ in _ENDS),
    *(f"val_{name}{end}" for name in _VAL for end, _ in _ENDS),
    *(f"{name}_{key}" for name in ("seeds", "seeds_mae") for key in ("n", "mean", "sd", "min", "max")),
    *table.COSTS,
    *("settings_hash", "spec", "problem"),
)
_SHOWN = ("Contestant", "Group", "Exact", "Mean error", "Bias", "Error in all", "Value error", "Readable")


def write(folder: Path, study: Study) -> None:
    """Write ``report.md``, ``leaderboard.csv`` and ``leaderboard.tex`` of a study of counts."""
    write_text(folder / "report.md", markdown_report(study))
    write_csv(folder / "leaderboard.csv", HEADINGS, rows(study))
    write_text(folder / "leaderboard.tex", latex_table(study))


def scores(study: Study) -> dict[str, Any]:
    """Return the content of ``scores.json``: that of any study, and what was found of errors."""
    compared = study.comparison or {}
    told = {key: compared.get(key) for key in ("errors", "nearest", "seeds_mae", "fractions", "fractions_mae")}
    return {**whole.scores(study), "task": "count", **told}


def rows(study: Study) -> Iterator[Sequence[object]]:
    """Yield a row for each contestant by `HEADINGS`, those without scores last; what is absent is an empty cell."""
    compared = study.comparison or {}
    for one in study.contestants:
        test = one.test or {}
        told: dict[str, Any] = {
            "contestant": say.clean(one.name),
            "family": say.clean(one.family),
            "state": one.state,
            "letters": (compared.get("letters") or {}).get(one.name),
            "nearest": one.name == compared.get("nearest"),
            "chosen_on_validation": one.name == compared.get("chosen"),
            "test_pictures": test.get("n"),
            "correct": test.get("correct"),
            "failed": test.get("failed"),
            **{key: (one.cost or {}).get(key) for key in table.COSTS},
            "settings_hash": settings_hash(one),
            "spec": say.clean(say.shortened(one.spec)) or None,
            "problem": table.problem(one),
        }
        for name, spread in (("seeds", one.spread), ("seeds_mae", one.spread_mae)):
            told |= {f"{name}_{key}": (spread or {}).get(key) for key in ("n", "mean", "sd", "min", "max")}
        for name in METRICS:
            told |= {f"{name}{end}": (one.metric(name) or {}).get(key) for end, key in _ENDS}
        for name in _VAL:
            told |= {f"val_{name}{end}": (one.metric(name, "val") or {}).get(key) for end, key in _ENDS}
        yield [told[heading] for heading in HEADINGS]


def markdown_report(study: Study) -> str:
    """Return ``report.md``: the verdict, the table of contestants, the pairs."""
    shown = counting(study, lambda key: Thumbnail(None), 0)
    verdict = (study.comparison or {}).get("verdict") or "No contestant has been scored yet: there is nothing to compare."
    lines = [f"# Who counts {markdown.text(study.title)} best?", "", f"**{markdown.text(verdict)}**", ""]
    lines += ["| " + " | ".join(_SHOWN) + " |", "| --- | --- |" + " ---: |" * (len(_SHOWN) - 2)]
    for name, letters, *values in _table(study):
        cells = (markdown.code(name), markdown.text(letters or "–"), *(markdown.text(value) for value in values))
        lines.append("| " + " | ".join(cells) + " |")
    if not shown.chance.absent:
        lines += ["", f"Without looking: {markdown.text(shown.chance.text)} exact, {markdown.text(shown.chance.title)}."]
    lines.append("")
    if shown.pairs:
        lines += ["| A | B | in exact answers | in errors |", "| --- | --- | --- | --- |"]
        for pair in shown.pairs[: markdown.MOST_PAIRS]:
            told = (markdown.code(pair.a), markdown.code(pair.b), markdown.text(pair.exact), markdown.text(pair.nearer))
            lines.append("| " + " | ".join(told) + " |")
        lines.append("")
    if (taught := counting_taught(study, lambda key: Thumbnail(None), 0)) is not None:
        section = markdown_taught.section(taught.shared, markdown.text, markdown.table, markdown.code)
        lines += ["## What teaching changed", "", *section, ""]
    for one in shown.absent:
        lines += [f"{markdown.code(one.name)}: {markdown.text(one.state)}. {markdown.text(table.problem(one) or '')}", ""]
    return "\n".join(lines)


def latex_table(study: Study) -> str:
    """Return ``leaderboard.tex``: the table of contestants; like that of other studies it needs the package booktabs."""
    head = "% The table of a fieldguide study of counts; needs \\usepackage{booktabs}.\n"
    body = [" & ".join(latex.text(cell) for cell in row) + r" \\" for row in _table(study)]
    if not body:
        return head + "% Nobody has been scored.\n"
    names = " & ".join(latex.text(name) for name in _SHOWN) + r" \\"
    start = [r"\begin{tabular}{ll" + "r" * (len(_SHOWN) - 2) + "}", r"\toprule", names, r"\midrule"]
    return head + "\n".join([*start, *body, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _table(study: Study) -> Iterator[tuple[str, ...]]:
    def told(value: Value) -> str:
        return f"{value.text} ({value.note})" if value.note else value.text

    for row in counting(study, lambda key: Thumbnail(None), 0).rows:
        values = [told(value) for value in (row.exact, row.mae, row.bias, row.total, row.worth, row.parsed)]
        again = [
            f"{value}, {seeds}" if seeds else value for value, seeds in zip(values, (row.seeds, row.seeds_mae), strict=False)
        ]
        yield row.contestant.name, row.letters, *again, *values[2:]
