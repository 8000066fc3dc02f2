r"""``leaderboard.tex``: the leaderboard as a table for a paper. It needs ``\usepackage{booktabs}`` and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fieldguide.report import board, say
from fieldguide.report.read import Study
from fieldguide.report.say import Value

#: Every character that LaTeX would not set as itself, alone or at the beginning of a row (``[``, ``*``).
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedblright{}",
    "`": r"\textasciigrave{}",
    "[": r"{[}",
    "]": r"{]}",
    "*": r"{*}",
    say.NBSP: "~",
    say.MINUS: r"\ensuremath{-}",
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\ldots{}",
    "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
}
_TABLE = str.maketrans(_SPECIAL)
#: What LaTeX would join into another character.
_JOINED = re.compile(r"([-',])(?=\1)")
#: Letters that every LaTeX sets; others need an engine with Unicode fonts.
_PLAIN = re.compile(r"[\x20-\x7e\u00a0-\u017e]*")


def text(words: object) -> str:
    """Return `words` so that LaTeX sets every character as it is."""
    return _JOINED.sub(r"\1{}", say.clean(words).translate(_TABLE))


def leaderboard(study: Study) -> str:
    """Return the file; a comment stands in place of the table where nobody has been scored."""
    shown = board.board(study)
    head = ["% The leaderboard of a fieldguide study; needs \\usepackage{booktabs}."]
    names = "".join(say.clean(row.contestant.name) + say.clean(row.contestant.family) for row in shown.rows)
    if not _PLAIN.fullmatch(names):
        head.append("% Some names have characters beyond Latin: compile with LuaLaTeX or XeLaTeX, and a font that has them.")
    if not shown.rows:
        return "\n".join([*head, "% No contestant has been scored."]) + "\n"
    return "\n".join([*head, *_table(study, shown)]) + "\n"


def _table(study: Study, shown: board.Board) -> Iterator[str]:
    n = len(study.manifest.part("test"))
    yield "\\begin{table}"
    yield "\\centering"
    chance = "" if shown.chance.absent else f" Chance is {_percent(shown.chance)}\\,\\%."
    yield (
        f"\\caption{{Accuracy on {say.count(n)} test pictures in per cent, with 95\\,\\% intervals. Contestants that share a letter "
        f"cannot be told apart (exact McNemar tests with Holm's correction).{chance}}}"
    )
    yield "\\label{tab:leaderboard}"
    yield "\\begin{tabular}{llcrcrrrrr}"
    yield "\\toprule"
    heads = (
        "Contestant",
        "Family",
        "Group",
        "Accuracy",
        "Interval",
        "Macro F1",
        "Val.",
        "Failures",
        "Parameters",
        "ms/picture",
    )
    yield " & ".join(heads) + " \\\\"
    yield "\\midrule"
    yield from (_row(row) for row in shown.rows)
    yield "\\bottomrule"
    yield "\\end{tabular}"
    yield "\\end{table}"


def _row(row: board.Row) -> str:
    cells = [text(row.contestant.name), text(row.contestant.family), text(row.letters or "–")]
    cells += [_percent(row.accuracy), text(row.accuracy.note or "–"), _percent(row.macro_f1), _percent(row.val)]
    speed = "–" if row.per_image.number is None else say.decimal(row.per_image.number, 2)
    cells += [text("–" if cell.absent else cell.text) for cell in (row.failures, row.parameters)] + [text(speed)]
    return " & ".join(cells) + " \\\\"


def _percent(value: Value) -> str:
    return text("–" if value.number is None else f"{100 * value.number:.1f}")
