"""``report.md``: the report as plain Markdown (CommonMark with tables). No name of a study can break a table or become a tag or a link."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from fieldguide.report import audits, board, honest, prompting, say, taught, trust
from fieldguide.report.exports import markdown_prompting, markdown_sure, markdown_taught, markdown_texts
from fieldguide.report.exports.table import problem
from fieldguide.report.hashes import hashes
from fieldguide.report.read import Json, Study
from fieldguide.report.say import Value
from fieldguide.report.slopes import slopes
from fieldguide.report.thumbnails import Thumbnail

#: Most pairs, class changes and settings lines that are listed; the rest is in ``scores.json``.
MOST_PAIRS, MOST_LINES = 200, 400
_MARKED = re.compile(r"([\\`*{}\[\]~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
#: What programs turn into links by themselves: ``www.``, ``x.com``, ``scheme:``, and an address.
_DOT = re.compile(r"(?<=[^\W\d_])\.(?=\w)|(?<=\w)\.(?=[^\W\d_])")
_SCHEME = re.compile(r":(?=\S)")
#: What makes a line a list, a heading or a rule where it stands first.
_LEADING = re.compile(r"^(\d{0,9})([-+=#.)>])(?=[\s=#>-]|$)")
#: What could open a tag; what closes one is nothing by itself, except as a quotation where it stands first.
_OPENS = re.compile(r"<(?=\S)")
_JOINER = "\u2060"


def text(words: object) -> str:
    """Return `words` so that Markdown shows them as they are, in a line or in the cell of a table."""
    line = _MARKED.sub(r"\\\1", say.clean(words))
    line = _OPENS.sub("&lt;", line.replace("&", "&amp;")).replace("|", "&#124;")
    line = _LEADING.sub(r"\1\\\2", _SCHEME.sub(r"\\:", _DOT.sub(r"\\.", line.strip())))
    # An address or a mention: the joiner has no width, and no program takes the two sides for one.
    return line.replace("@", f"@{_JOINER}") or say.NOT_RECORDED


def code(words: object) -> str:
    """Return a name as a code span, which no program looks into; one that could break out of it is written as `text`."""
    line = say.clean(words)
    if not line.strip() or "|" in line or "`" in line or "{{" in line or "{%" in line or line != line.strip():
        return text(line)
    return f"`{line}`"


def report(study: Study) -> str:
    """Return the whole file."""
    parts: list[str] = [f"# Which classifier for {text(study.title)}?", ""]
    verdict = (study.comparison or {}).get("verdict") or "No contestant has been scored yet: there is nothing to compare."
    parts += [f"**{text(verdict)}**", ""]
    for title, section in (
        ("Leaderboard", _leaderboard),
        ("Which differences are real?", _differences),
        ("Before and after", _slopes),
        ("How sure, and how right?", _sureness),
        *((("Asked in words", _prompting),) if prompting.prompting(study, lambda key: Thumbnail(None), 0) else ()),
        *((("What teaching changed", _taught),) if taught.taught(study) else ()),
        *((("What the prompt does", _audited),) if audits.audits(study) else ()),
        *((("Can text stand in for pictures?", _texts),) if study.texts else ()),
        ("With and without", _doubts),
        ("Can I trust this?", _trust),
        ("Health checks", _findings),
        ("Do it again", _again),
    ):
        parts += [f"## {title}", "", *section(study), ""]
    parts.append(
        "Written by fieldguide from the files of the study; `report.html` beside this file shows more, `scores.json` holds every number."
    )
    return "\n".join(parts) + "\n"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 1) -> list[str]:
    """Return a table; the columns from `numbers` on stand right. Cells are escaped already."""
    rules = ["---" if position < numbers else "---:" for position in range(len(headings))]
    return [_row(headings), _row(rules), *(_row(cells) for cells in rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _value(value: Value) -> str:
    return text(value.text) + ("" if value.absent or not value.note else f" [{text(value.note)}]")


def _leaderboard(study: Study) -> Iterator[str]:
    shown = board.board(study)
    if not shown.rows and not shown.absent:
        yield "No contestant has been run."
        return
    if shown.rows:
        yield "Ordered by test accuracy, 95 % intervals in brackets. Contestants that share a letter cannot be told apart with these pictures."
        yield ""
        money = ["Money"] if shown.money else []
        headings = [
            "Contestant",
            "Family",
            "Group",
            "Standing",
            "Test accuracy",
            "Macro F1",
            "Validation",
            "Val − test",
            "Failures",
        ]
        yield from table(
            [*headings, "Parameters", "Fit", "Per picture", *money], map(_board_row(shown.money), shown.rows), numbers=4
        )
        yield ""
        yield f"Chance: {text(shown.chance.text)}" + (f" ({text(shown.chance.title)})." if shown.chance.title else ".")
    for contestant in shown.absent:
        yield ""
        yield f"- {code(contestant.name)} ({text(contestant.family)}): {contestant.state}. {text(problem(contestant) or 'No reason is recorded.')}"


def _board_row(money: bool) -> Callable[[board.Row], list[str]]:
    def cells(row: board.Row) -> list[str]:
        standing = row.standing + (", **not above chance**" if row.below_chance else "")
        accuracy = _value(row.accuracy) + (f" ({row.seeds})" if row.seeds else "")
        head = [code(row.contestant.name), code(row.contestant.family), row.letters or "–", standing, accuracy]
        values = [row.macro_f1, row.val, row.gap]
        costs = [row.failures, row.parameters, row.fit, row.per_image, *([row.money] if money else [])]
        return [*head, *map(_value, values), *(text(value.text) for value in costs)]

    return cells


def _differences(study: Study) -> Iterator[str]:
    found = board.differences(study)
    if len(found.order) < 2:
        yield "Not applicable: a difference needs two scored contestants."
        return
    yield "A minus B, in percentage points of test accuracy. “Only A” counts the test pictures that A has right and B has wrong."
    yield ""
    headings = ["A", "B", "Outcome", "A − B", "95 % interval", "Only A", "Only B", "p", "p after Holm"]
    yield from table(headings, (_pair(pair) for pair in found.pairs[:MOST_PAIRS]), numbers=3)
    if (more := len(found.pairs) - MOST_PAIRS + found.more) > 0:
        yield ""
        yield f"and {say.count(more)} more pairs in scores.json"
    power = ((study.comparison or {}).get("power") or {}).get("sentence")
    if power:
        yield ""
        yield text(power)


def _pair(pair: Json) -> list[str]:
    outcome = {"a better": "A really better", "b better": "B really better"}.get(pair["outcome"], str(pair["outcome"]))
    counts = [say.NOT_RECORDED if pair.get(key) is None else say.count(pair[key]) for key in ("only_a", "only_b")]
    told = [text(outcome), pair["points"], text(pair["bounds"]), *counts, text(pair["said_p"]), text(pair["said_holm"])]
    return [code(pair["a"]), code(pair["b"]), *told]


def _slopes(study: Study) -> Iterator[str]:
    found = slopes(study).pairs
    if not found:
        yield "Not applicable: no two scored contestants use the same network in two ways."
    for pair in found:
        counts = ", ".join(
            f"{pair.counts[kind]} {word}" for kind, word in (("better", "better"), ("worse", "worse"), ("same", "unchanged"))
        )
        told = f"{pair.points} points. Classes: {counts}. {text(pair.sentence)} {text(pair.doubt)}"
        yield f"- {code(pair.before.name)} → {code(pair.after.name)} ({text(pair.apart)}): {told}"
        for named in pair.lists:
            classes = ", ".join(f"{code(line.name)} ({line.words})" for line in named.lines) or "none"
            yield f"  - {text(named.title)}: {classes}" + (f", and {named.more} more" if named.more else "")


def _prompting(study: Study) -> Iterator[str]:
    yield from markdown_prompting.section(study, text, table, code)


def _taught(study: Study) -> Iterator[str]:
    if (found := taught.taught(study)) is not None:
        yield from markdown_taught.section(found, text, table, code)


def _sureness(study: Study) -> Iterator[str]:
    yield from markdown_sure.sureness(study, text, table, code)


def _audited(study: Study) -> Iterator[str]:
    yield from markdown_sure.audited(study, text, table, code)


def _texts(study: Study) -> Iterator[str]:
    yield from markdown_texts.section(study, text, table)


def _doubts(study: Study) -> Iterator[str]:
    shown = honest.honest(study, lambda key: Thumbnail(None), 0)
    if not shown.known:
        yield "Not recorded in this study."
    for doubt in shown.doubts:
        yield f"- {text(doubt.title)} ({text(doubt.state)}): {text(doubt.sentence)}"


def _trust(study: Study) -> Iterator[str]:
    shown = trust.trust(study)
    yield from table(
        ["Part", "Pictures", "Share", "Classes", "Smallest class", "Largest class"],
        ([part.name, part.pictures, part.share, part.classes, part.least, part.most] for part in shown.parts),
    )
    yield ""
    for note in shown.notes:
        yield f"- {text(note)}"
    left = ", ".join(f"{say.count(number)} {text(reason)}" for reason, number in shown.left_out)
    yield f"- Left out: {left or 'nothing, every file of the source takes part'}."
    converted = ", ".join(f"{say.count(number)} {text(note)}" for note, number in shown.conversions)
    yield f"- Converted: {converted or 'no picture needed it'}."


def _findings(study: Study) -> Iterator[str]:
    shown = trust.trust(study)
    if not shown.findings:
        yield "No check was made." if shown.findings_known else "The checks were not recorded in this study."
        return
    rows = (
        [finding.code or "–", text(finding.title), finding.state, finding.count or "–", _detail(finding.detail)]
        for finding in shown.findings
    )
    yield from table(["Code", "Check", "State", "Count", "Detail"], rows, numbers=5)


def _detail(detail: str) -> str:
    return text(detail) if detail else "–"


def _again(study: Study) -> Iterator[str]:
    yield "Save the lines below as `study.toml`, with your own path where one begins with “…”, and run `fieldguide compare study.toml`."
    yield ""
    if study.text is None:
        yield "study.toml: not recorded"
    else:
        # An indented block ends only where a line is not indented: no text can close it.
        lines = say.shortened(study.text.expandtabs(4)).splitlines()
        yield from (f"    {say.clean(line)}" for line in lines[:MOST_LINES])
        if len(lines) > MOST_LINES:
            yield f"    # and {len(lines) - MOST_LINES} more lines in study.toml"
    yield ""
    yield from table(["Fact", "Value"], ([text(name), code(fact)] for name, fact in trust.trust(study).facts), numbers=2)
    yield ""
    versions = trust.trust(study).versions
    yield f"Versions: {', '.join(f'{text(name)} {text(version)}' for name, version in versions) or say.NOT_RECORDED}."
    yield ""
    rows = ([code(one.name), code(one.settings), code(one.weights)] for one in hashes(study))
    yield from table(["Contestant", "Settings", "Weights (SHA-256)"], rows, numbers=3)
