"""The leaderboard, the difference matrix and the per-class table as values that a template only has to lay out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from fieldguide.report import say
from fieldguide.report.both_readings import Column, columns
from fieldguide.report.charts import Axis, axis_for, heat, strip, strip_axis
from fieldguide.report.measured import ACCURACY
from fieldguide.report.read import Contestant, Json, Study
from fieldguide.report.say import MISSING, NOT_APPLICABLE, Value

#: Metrics of the table "all scores", in order: key, heading, whether it is a share.
METRICS = (
    ("accuracy", "Top-1 accuracy", True),
    ("balanced_accuracy", "Balanced accuracy", True),
    ("top5_accuracy", "Top-5 accuracy", True),
    ("macro_precision", "Macro precision", True),
    ("macro_recall", "Macro recall", True),
    ("macro_f1", "Macro F1", True),
    ("weighted_precision", "Weighted precision", True),
    ("weighted_recall", "Weighted recall", True),
    ("weighted_f1", "Weighted F1", True),
    ("log_loss", "Log loss", False),
    ("calibration_error", "Calibration error", False),
)
#: Most cells of the per-class heat map; beyond it the hardest classes are shown.
MOST_CLASS_CELLS = 6000
MOST_PAIRS = 400


@dataclass(frozen=True, slots=True)
class Row:
    """One scored contestant of the leaderboard."""

    contestant: Contestant
    letters: str
    standing: str
    mates: str
    below_chance: bool
    accuracy: Value
    strip: Markup
    macro_f1: Value
    val: Value
    gap: Value
    failures: Value
    parameters: Value
    fit: Value
    per_image: Value
    money: Value
    seeds: str
    n: Value


@dataclass(frozen=True, slots=True)
class Board:
    """The leaderboard: rows in order of test accuracy, the ruler above the strips, and whether anything cost money."""

    rows: tuple[Row, ...]
    absent: tuple[Contestant, ...]
    ruler: Markup
    money: bool
    chance: Value
    metrics: tuple[tuple[str, tuple[Value, ...]], ...]


def board(study: Study) -> Board:
    """Return the leaderboard of `study`."""
    compared = study.comparison or {}
    chance = (compared.get("chance") or {}).get("accuracy")
    shares = [chance] if chance is not None else []
    for contestant in study.scored:
        entry = contestant.metric("accuracy") or {}
        shares += [entry[key] for key in ("value", "low", "high") if entry.get(key) is not None]
    axis = axis_for(shares)
    rows = tuple(_row(contestant, study, axis, chance) for contestant in study.scored)
    how = (compared.get("chance") or {}).get("how", "")
    return Board(
        rows=rows,
        absent=tuple(contestant for contestant in study.contestants if contestant.state != "scored"),
        ruler=strip_axis(axis, chance),
        money=any(not row.money.absent for row in rows),
        chance=MISSING if chance is None else Value(say.percent(chance), chance, title=how),
        metrics=tuple((heading, tuple(_metric(c, key, share) for c in study.scored)) for key, heading, share in METRICS),
    )


def _row(contestant: Contestant, study: Study, axis: Axis, chance: float | None) -> Row:
    compared = study.comparison or {}
    accuracy = say.score(contestant.metric("accuracy"))
    entry = contestant.metric("accuracy") or {}
    bounds = (entry["low"], entry["high"]) if entry.get("low") is not None and entry.get("high") is not None else None
    cost = contestant.cost or {}
    letters, mates = _group(contestant.name, compared)
    parameters = cost.get("parameters", contestant.facts.get("parameters"))
    has_none = "parameters" in cost and cost["parameters"] is None
    return Row(
        contestant=contestant,
        letters=letters,
        standing=standing(contestant.name, compared),
        mates=mates,
        below_chance=(compared.get("above_chance") or {}).get(contestant.name) is False,
        accuracy=accuracy,
        strip=strip(axis, accuracy.number, bounds, chance, contestant.slot) if accuracy.number is not None else Markup(""),
        macro_f1=say.score(contestant.metric("macro_f1")),
        val=_validation(contestant),
        gap=_gap(contestant),
        failures=_failures(contestant.test or {}),
        parameters=say.number(parameters, say.amount, "this family has no count of parameters" if has_none else ""),
        fit=_fit(cost),
        per_image=say.number(cost.get("ms_per_image"), say.milliseconds),
        money=say.number(cost.get("money"), lambda amount: f"{amount:.2f}"),
        seeds=ACCURACY.over_seeds(contestant.spread),
        n=say.number((contestant.test or {}).get("n"), say.count),
    )


def _fit(cost: Json) -> Value:
    """Return the time of all fits together; where there were more than one, their number beneath."""
    told = say.number(cost.get("fit_seconds"), say.seconds)
    fits = int(cost.get("fits") or 1)
    return told if told.absent or fits == 1 else replace(told, note=f"{fits} fits", title=f"all {fits} fits together")


def _group(name: str, compared: Json) -> tuple[str, str]:
    letters = compared.get("letters") or {}
    own = str(letters.get(name) or "")
    # Beyond z a letter is a number in brackets.
    groups = {other: set(re.findall(r"\(\d+\)|[A-Za-z]", str(theirs))) for other, theirs in letters.items()}
    mates = [other for other in groups if other != name and groups[other] & groups.get(name, set())]
    shown = ", ".join(mates[:6]) + (f" and {len(mates) - 6} more" if len(mates) > 6 else "")
    return own, f"shares a letter with {shown}" if mates else "shares a letter with no other contestant"


def standing(name: str, compared: Json) -> str:
    """Return where a contestant stands with regard to the leader, in words."""
    order, leaders = compared.get("order") or [], compared.get("leader_group") or []
    if order and name == order[0]:
        return "leads" if len(leaders) < 2 else "leads its group"
    if not order or name not in order:
        return say.NOT_RECORDED
    return "not told apart from the leader" if name in leaders else "behind the leader"


def _validation(contestant: Contestant) -> Value:
    if contestant.val is None:
        return Value(NOT_APPLICABLE, title="this study has no validation pictures for this contestant")
    return say.score(contestant.metric("accuracy", "val"))


def _gap(contestant: Contestant) -> Value:
    val, test = (contestant.metric("accuracy", part) or {} for part in ("val", "test"))
    if val.get("value") is None or test.get("value") is None:
        return Value(NOT_APPLICABLE, title="needs a validation and a test accuracy")
    gap = val["value"] - test["value"]
    return Value(say.points(gap), gap, title="validation minus test accuracy, in percentage points")


def _failures(part: Json) -> Value:
    failed = part.get("failed")
    if failed is None:
        return MISSING
    kinds = sorted((part.get("failures") or {}).items(), key=lambda item: (-item[1], item[0]))
    told = "; ".join(f"{count} × {reason}" for reason, count in kinds[:6])
    return Value(
        say.count(failed),
        failed,
        note=kinds[0][0].partition(":")[0] if len(kinds) == 1 else f"{len(kinds)} reasons" if kinds else "",
        title=told,
    )


def _metric(contestant: Contestant, key: str, share: bool) -> Value:
    value = say.score(contestant.metric(key), share)
    null = (contestant.test or {}).get("calibration_null")
    if key == "calibration_error" and null and not value.absent:
        note = f"perfect would show {say.decimal(null['mean'])}, up to {say.decimal(null['high'])}"
        return Value(
            value.text,
            value.number,
            note,
            "what a perfectly calibrated model with these confidences would show on as many pictures",
        )
    return value


@dataclass(frozen=True, slots=True)
class Difference:
    """Row minus column: `kind` names the shade and the sign that repeats it in form."""

    kind: str
    sign: str
    points: str = ""
    bounds: str = ""
    p: str = ""
    outcome: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Differences:
    """The matrix (row by row, in leaderboard order) and the same pairs as a list."""

    order: tuple[Contestant, ...]
    matrix: tuple[tuple[Difference, ...], ...]
    pairs: tuple[Json, ...]
    more: int


_SIGNS = {"better": "▲", "worse": "▼", "same": "≈", "few": "?", "self": "·", "none": "–"}


def differences(study: Study) -> Differences:
    """Return the difference matrix of `study`, A (row) minus B (column)."""
    compared = study.comparison or {}
    table: dict[tuple[str, str], Json] = {}
    for pair in compared.get("pairs") or []:
        table[pair["a"], pair["b"]] = pair
        table[pair["b"], pair["a"]] = mirrored(pair)
    order = study.scored
    matrix = tuple(tuple(_difference(row, column, table) for column in order) for row in order)
    pairs = [
        pair for pair in compared.get("pairs") or [] if {pair["a"], pair["b"]} <= {contestant.name for contestant in order}
    ]
    return Differences(order, matrix, tuple(_told(pair) for pair in pairs[:MOST_PAIRS]), max(0, len(pairs) - MOST_PAIRS))


def mirrored(pair: Json) -> dict[str, Any]:
    """Return the same comparison seen from B."""
    turned = {"a better": "b better", "b better": "a better"}
    return {
        **pair,
        "a": pair["b"],
        "b": pair["a"],
        "difference": -pair["difference"],
        "low": None if pair.get("high") is None else -pair["high"],
        "high": None if pair.get("low") is None else -pair["low"],
        "only_a": pair.get("only_b"),
        "only_b": pair.get("only_a"),
        "outcome": turned.get(pair["outcome"], pair["outcome"]),
    }


def _difference(row: Contestant, column: Contestant, table: Mapping[tuple[str, str], Json]) -> Difference:
    if row is column:
        return Difference("self", _SIGNS["self"])
    pair = table.get((row.name, column.name))
    if pair is None:
        return Difference("none", _SIGNS["none"], outcome=say.NOT_RECORDED)
    kinds = {"a better": "better", "b better": "worse", "too few pictures to tell": "few"}
    kind = kinds.get(pair["outcome"], "same")
    strength = min(5, 1 + int(abs(pair["difference"]) * 100 // 8)) if kind in ("better", "worse") else ""
    words = {"better": f"{row.name} better", "worse": f"{column.name} better"}.get(kind, pair["outcome"])
    told = _told(pair)
    return Difference(
        kind=f"{kind}{strength}",
        sign=_SIGNS[kind],
        points=told["points"],
        bounds=told["bounds"],
        p=told["said_holm"],
        outcome={"better": "better", "worse": "worse", "few": "too few"}.get(kind, "not distinguishable"),
        title=f"{row.name} minus {column.name}: {told['points']} points {told['bounds']}; "
        f"p {told['said_p']}, after Holm {told['said_holm']}; {words}",
    )


def _told(pair: Json) -> dict[str, Any]:
    known = pair.get("low") is not None and pair.get("high") is not None
    p, holm = pair.get("p"), pair.get("p_holm")
    return {
        **pair,
        "points": say.points(pair["difference"]),
        "bounds": f"[{say.points(pair['low'])}, {say.points(pair['high'])}]" if known else say.NOT_RECORDED,
        "p": p,
        "p_holm": holm,
        "said_p": NOT_APPLICABLE if p is None else say.p_value(p),
        "said_holm": NOT_APPLICABLE if holm is None else say.p_value(holm),
    }


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class: how often it stands in the test part, its mean recall, and one cell for each column."""

    id: str
    n: int
    mean: float | None
    recall: tuple[Value, ...]
    f1: tuple[Value, ...]
    levels: tuple[int | None, ...]
    titles: tuple[str, ...]


def class_rows(study: Study) -> tuple[tuple[ClassRow, ...], int]:
    """Return the per-class table, hardest class first, and how many classes it leaves out."""
    shown = columns(study)
    rows = [_class_row(info.id, shown) for info in study.classes]
    rows.sort(key=lambda row: (row.mean is None, row.mean or 0.0, row.id))
    most = max(20, MOST_CLASS_CELLS // max(1, len(shown)))
    return tuple(rows[:most]), max(0, len(rows) - most)


def _class_row(id: str, shown: Sequence[Column]) -> ClassRow:
    entries = [column.entries.get(id) or {} for column in shown]
    recall = tuple(say.score(entry.get("recall")) for entry in entries)
    known = [v.number for v, column in zip(recall, shown, strict=True) if v.number is not None and column.main]
    return ClassRow(
        id=id,
        n=max((int(entry.get("n", 0)) for entry in entries), default=0),
        mean=sum(known) / len(known) if known else None,
        recall=recall,
        f1=tuple(say.score(entry.get("f1")) for entry in entries),
        levels=tuple(None if value.number is None else heat(value.number) for value in recall),
        titles=tuple(_class_title(entry, c.name, say.score) for entry, c in zip(entries, shown, strict=True)),
    )


def _class_title(entry: Json, name: str, words: Callable[[Json | None], Value]) -> str:
    if not entry:
        return f"{name}: {say.NOT_RECORDED}"
    recall, precision, f1 = (words(entry.get(key)) for key in ("recall", "precision", "f1"))
    bounds = f" [{recall.note}]" if recall.note else ""
    said = f"answered {entry.get('predicted', 0)} times"
    return f"{name}: recall {recall.text}{bounds}, precision {precision.text}, F1 {f1.text}; {said}"
