"""``fieldguide audit ANSWERS``: answers from anywhere, their accuracy table, and whether they lean towards the prompt's example or list.

A lean is seen and not explained. Whether the prompt is its cause can only be settled by asking again with another example.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from fieldguide import terminal
from fieldguide.data.answer_files import ANSWER_COLUMNS, PICTURE_COLUMNS, read_table
from fieldguide.errors import DataProblem, UsageProblem, allowed_names, plain
from fieldguide.evaluate.answers import MISSING, NO_ANSWER, OFF_LIST, AnswerSheet
from fieldguide.evaluate.leaning import ALPHA, Order, Pull, order, pulls
from fieldguide.evaluate.metrics import score_sheet
from fieldguide.records import SCHEMA_VERSION

#: Columns that hold the truth; ``label`` is one too, where another column holds the answer.
TRUTH_COLUMNS = ("actual", "truth", "true", "expected", "target")
#: What stands below the table of wrong answers; the second part where an example was named.
_EVEN = "even: what the label would take of these if each went to any label but the truth alike. p: exact, so many or more"
_BESIDE = "; other labels without the answers that went to the example and without its pictures, after Holm."


def audit(path: Path, example: str | None = None, listed: str | None = None) -> dict[str, Any]:
    """Return what ``--json`` prints for the answers in `path`.

    `example` is the label that the prompt gave as an example, `listed` its list of labels in its order, separated by commas. Without a
    list the labels are those that occur as a truth. Raises `UsageProblem` and `DataProblem`.
    """
    rows = _rows(path)
    labels = _listed(listed) if listed is not None else tuple(sorted({truth for _, truth, _ in rows}))
    if len(labels) < 2:
        raise DataProblem(
            f"{plain(path)} has pictures of {plain(labels[0])} alone.",
            "At least two labels.",
            "Name all of them with --list A,B,C.",
        )
    answers = _sheet(path, rows, labels)
    at = None if example is None else _finder(labels)(example.strip())
    if example is not None and at is None:
        raise UsageProblem(
            f"The example {plain(example)!r} is no label of these answers.",
            allowed_names(example, labels),
            "Give --example a label, or the prompt's list with --list A,B,C.",
        )
    part, found = score_sheet(answers), pulls(answers, at)
    trend = order(found, at) if listed is not None else None
    names = (*(f"{mean}_{name}" for mean in ("macro", "weighted") for name in ("precision", "recall", "f1")),)
    return {
        "schema": SCHEMA_VERSION,
        "file": str(path),
        "labels": list(labels),
        "listed": listed is not None,
        "example": None if at is None else labels[at],
        "n": answers.n,
        "right": answers.correct,
        "wrong": answers.n - answers.correct,
        "no_label": part["failures"],
        "accuracy": part["metrics"]["accuracy"],
        **{name: part["metrics"][name] for name in names},
        "per_class": part["per_class"],
        "confusion": part["confusion"],
        "alpha": ALPHA,
        "pulls": [dataclasses.asdict(one) | {"expected": one.expected} for one in found],
        "places": None if trend is None else _places(answers, found),
        "order": None if trend is None else dataclasses.asdict(trend),
        "verdict": _verdict(answers, found, at, trend),
    }


def _rows(path: Path) -> list[tuple[str, str, str]]:
    """Return picture, truth and answer of every row, without the space around them. A row given twice counts once."""
    if path.is_dir():
        raise UsageProblem(
            f"{plain(path)} is a folder.",
            "A CSV, TSV, JSONL or Parquet file of answers.",
            "Give a file: fieldguide audit ANSWERS.csv",
        )
    table = [{_header(name): row[name] for name in row} for row in read_table(path)]
    if not table:
        raise DataProblem(
            f"{plain(path)} has no rows.", "One row for each picture: image,actual,predicted.", "Give a file with answers."
        )
    names = list(table[0])
    answer = _column(path, names, ANSWER_COLUMNS, "holds the answer")
    truth = _column(path, names, (*TRUTH_COLUMNS, *(("label",) if answer != "label" else ())), "holds the truth")
    picture = next((name for name in PICTURE_COLUMNS if name in names), None)
    rows: dict[tuple[str, str], str] = {}
    for at, row in enumerate(table):
        name = _cell(row.get(picture)) if picture else ""
        key, given = (name or f"row {at + 1}", _cell(row.get(truth))), _cell(row.get(answer))
        if not key[1]:
            raise DataProblem(
                f"Row {at + 1} of {plain(path)} has no truth.",
                f"A label in every cell of the column {truth!r}.",
                "Correct the row.",
            )
        if rows.setdefault(key, given) != given:
            raise DataProblem(
                f"{plain(path)} answers twice, and differently, for {plain(name)}.",
                "One row for each picture.",
                "Keep one of the two rows; audit answers to several prompts one by one.",
            )
    return [(picture, truth, given) for (picture, truth), given in rows.items()]


def _header(name: object) -> str:
    return str(name).strip().lstrip("#").strip().casefold()


def _cell(value: object) -> str:
    return "" if value is None else str(value).strip()


def _column(path: Path, names: Sequence[str], allowed: Sequence[str], purpose: str) -> str:
    for name in allowed:
        if name in names:
            return name
    raise UsageProblem(
        f"{plain(path)} has no column that {purpose}; it has {plain(', '.join(names))}.",
        f"Allowed: {', '.join(allowed)}.",
        "Rename the column; a whole header is image,actual,predicted.",
    )


def _listed(text: str) -> tuple[str, ...]:
    labels = tuple(name for name in (part.strip() for part in text.split(",")) if name)
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise UsageProblem(
            f"--list {plain(text)!r} names no two different labels, or one twice.",
            "The labels of the prompt in its order, separated by commas.",
            "For example: --list cat,dog,eel",
        )
    return labels


def _finder(labels: Sequence[str]) -> Callable[[str], int | None]:
    """Return what finds the position of the label that a text is: letter for letter, or the only one in other capitals."""
    exact, folded = {label: at for at, label in enumerate(labels)}, {label.casefold(): at for at, label in enumerate(labels)}
    times = Counter(label.casefold() for label in labels)

    def find(text: str) -> int | None:
        fold = text.casefold()
        return exact.get(text, folded[fold] if times[fold] == 1 else None)

    return find


def _sheet(path: Path, rows: Sequence[tuple[str, str, str]], labels: tuple[str, ...]) -> AnswerSheet:
    truth, answer, errors = [], [], []
    find = _finder(labels)
    for _, actual, given in rows:
        own, said = find(actual), find(given)
        if own is None:
            raise UsageProblem(
                f"{plain(actual)!r}, a truth in {plain(path)}, is not in the list.",
                allowed_names(actual, labels),
                "Give --list all labels of the prompt, spelled as in the file.",
            )
        truth.append(own)
        answer.append(NO_ANSWER if said is None else said)
        errors.append(None if said is not None else OFF_LIST if given else MISSING)
    keys = tuple(f"{at:07}" for at in range(len(rows)))
    return AnswerSheet(path.name, keys, np.array(truth), np.array(answer), None, tuple(errors), labels)


def _places(answers: AnswerSheet, found: Sequence[Pull]) -> list[dict[str, Any]]:
    """Return for each place of the list which share of the pictures and of the answers is its label's; the rest named no label."""
    return [
        {
            "place": at + 1,
            "label": one.label,
            "share_of_truth": float((answers.truth == at).mean()),
            "share_of_answers": float((answers.answer == at).mean()),
            "wrong": one.wrong,
            "expected": one.expected,
        }
        for at, one in enumerate(found)
    ]


def _verdict(answers: AnswerSheet, found: Sequence[Pull], example: int | None, trend: Order | None) -> str:
    """Return one sentence: do the answers lean, and on what; it names no cause."""
    wrong = answers.n - answers.correct
    if not wrong:
        return f"All {answers.n:,} answers are right: there are no wrong ones that could lean."
    others = [one.label for at, one in enumerate(found) if at != example and one.outcome == "more"]
    if example is not None:
        parts = [_of_example(found[example])] + (
            [f"beside it, more than an even spread would send goes to {_named(others)}"] if others else []
        )
    elif others:
        parts = [f"of the {wrong:,} wrong answers, more than an even spread would send go to {_named(others)}"]
    elif any(one.outcome == "not distinguishable" for one in found):
        parts = [f"the {wrong:,} wrong answers are not distinguishable from an even spread over the labels"]
    else:
        parts = [f"{wrong:,} wrong answers are too few, or have too few labels to go to, to tell where they lean"]
    trends = {"earlier": "start", "later": "end"}
    if trend is not None and trend.outcome in trends:
        parts.append(f"wrong answers lean towards the {trends[trend.outcome]} of the list ({p_text(trend.p)})")
    if len(parts) > 1 or others or (example is not None and found[example].outcome == "more"):
        parts.append(
            f"that proves no cause: only asking again with another {'example' if example is not None else 'prompt'} can tell"
        )
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _named(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
    return ", ".join(repr(plain(label, 60)) for label in labels[:5]) + more


def _of_example(one: Pull) -> str:
    name = repr(plain(one.label, 60))
    if one.outcome == "not applicable":
        return f"with two labels a wrong answer has nowhere else to go, so a pull of the example {name} cannot be seen"
    if one.outcome == "too few wrong answers to tell":
        return f"too few wrong answers to tell whether they lean towards the example {name} ({one.wrong:,} of {one.could:,})"
    of = f"{one.could:,} wrong answers that could go to it"
    took = f"the example {name} takes {one.wrong:,} of the {of}, where an even spread would send {one.expected:.1f} ({p_text(one.p)})"
    rest = "the answers lean towards it" if one.outcome == "more" else "this is not distinguishable from an even spread"
    return f"{took}: {rest}"


def p_text(p: float | None) -> str:
    """Return ``p = 0.031``, or ``p < 0.001`` below that."""
    return "no test" if p is None else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def show(found: Mapping[str, Any]) -> None:
    """Print the accuracy table, where the wrong answers go, and the verdict."""
    score = found["accuracy"]
    interval = f"[{score['low']:.3f}-{score['high']:.3f}]"
    terminal.say(f"Accuracy {score['value']:.3f} {interval}: {found['right']:,} of {found['n']:,} answers right.", "bold")
    for why, count in found["no_label"].items():
        terminal.say(f"{count:,} without a label: {why}. They count as wrong, and lean nowhere.")
    _show_scores(found)
    _show_pulls(found)
    terminal.say(_EVEN + (_BESIDE if found["example"] is not None else ", after Holm."), "dim")
    if found["order"] is not None:
        _show_order(found["order"])
    terminal.say(found["verdict"], "bold")


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("label", overflow="fold", min_width=8)
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _show_scores(found: Mapping[str, Any]) -> None:
    table = _table("pictures", "answered", "precision", "recall", "F1")
    for scores in found["per_class"]:
        cells = [_number(scores[of]["value"]) for of in ("precision", "recall", "f1")]
        table.add_row(Text(plain(scores["id"], 60)), f"{scores['n']:,}", f"{scores['predicted']:,}", *cells)
    for mean in ("macro", "weighted"):
        cells = [_number(found[f"{mean}_{of}"]["value"]) for of in ("precision", "recall", "f1")]
        table.add_row(f"{mean} mean", f"{found['n']:,}", "", *cells, style="dim")
    terminal.out.print(table)


def _show_pulls(found: Mapping[str, Any]) -> None:
    """Print which labels wrong answers name; those that stand out are marked by a word, too."""
    table = _table(*(("place",) if found["listed"] else ()), "wrong to it", "of", "even", "p", "")
    for at, pull in enumerate(found["pulls"]):
        name = plain(pull["label"], 60) + (" (example)" if pull["label"] == found["example"] else "")
        p = p_text(pull["p"] if pull["p_holm"] is None else pull["p_holm"]).removeprefix("p ").removeprefix("= ")
        counts = [f"{pull['wrong']:,}", f"{pull['could']:,}", f"{pull['expected']:.1f}"]
        style = "bold" if pull["outcome"] == "more" else ""
        place = [str(at + 1)] if found["listed"] else []
        table.add_row(Text(name), *place, *counts, p, "more" if style else "", style=style)
    terminal.say("")
    terminal.out.print(table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _show_order(told: Mapping[str, Any]) -> None:
    if told["rho"] is None:
        terminal.say(f"Place in the list: {told['outcome']}.")
        return
    terminal.say(
        f"Place in the list against wrong answers over even: rank correlation {told['rho']:+.2f} over {told['labels']} labels, "
        f"{p_text(told['p'])} (two-sided, by other orders of the labels): {told['outcome']}."
    )
