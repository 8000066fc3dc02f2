"""A study of counts: who is exact, who is near, which way they are off, class by class, and pictures with their boxes and answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fieldguide.records import ManifestRow
from fieldguide.report import measured, say
from fieldguide.report.read import Answer, Contestant, Json, Study
from fieldguide.report.say import Value
from fieldguide.report.thumbnails import Thumbnail
from fieldguide.tasks.count_reading import KINDS

#: The sections of the page in their order: the template's name, which is also the section's id, and what the bar of links calls it.
SECTIONS = (
    ("counting", "Counting"),
    ("published", "Published"),
    ("counting_pairs", "Differences"),
    ("counting_seeds", "Seeds"),
    ("counting_fractions", "More pictures?"),
    ("counting_taught", "Taught"),
    ("counting_asked", "Asked"),
    ("counting_classes", "Classes"),
    ("counting_pictures", "Pictures"),
    ("curves", "Curves"),
    ("trust", "Trust"),
    ("reproduce", "Reproduce"),
    ("counting_method", "Method"),
)
#: What is told over seeds and parts of the training pictures: the name of the value on the page, and the measure.
MEASURES = (("exact", measured.EXACT), ("errors", measured.ERROR))
#: Pictures that are shown: the furthest off, then those in the middle, then the nearest.
MOST_PICTURES = 12
#: Hues and dashes of boxes; classes beyond share them.
STYLES = 12


@dataclass(frozen=True, slots=True)
class Row:
    """One scored contestant of the table; `kinds` says why answers were no counts, the commonest first."""

    contestant: Contestant
    letters: str
    marks: tuple[str, ...]
    exact: Value
    text: Value
    mae: Value
    bias: Value
    total: Value
    worth: Value
    worth_bias: Value
    parsed: Value
    kinds: tuple[tuple[str, str], ...]
    val: Value
    val_mae: Value
    seeds: str
    seeds_mae: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two contestants: what was found of exact answers, and of how far they are off."""

    a: str
    b: str
    points: str
    exact_p: str
    exact: str
    off: Value
    off_p: str
    nearer: str
    n: str


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class: how many test pictures show it, how many there are of it, and each contestant's (exact, MAE, bias)."""

    name: str
    pictures: str
    things: str
    cells: tuple[tuple[Value, Value, Value], ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One box, in pixels of the original; `style` is its class's."""

    x: str
    y: str
    width: str
    height: str
    style: int


@dataclass(frozen=True, slots=True)
class Said:
    """What one contestant says of a picture; `kind` is right, near, or none."""

    contestant: Contestant
    said: str
    kind: str


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture with what it shows, its boxes, and what was answered."""

    thumbnail: Thumbnail
    width: int
    height: int
    boxes: tuple[Drawn, ...]
    truth: str
    headline: str
    path: str
    lines: tuple[Said, ...]

    @property
    def alt(self) -> str:
        """What a reader without the picture is told."""
        return say.clean(f"A picture that shows {self.truth}. {self.headline}", 400)


@dataclass(frozen=True, slots=True)
class Counting:
    """All that the page shows of counts. `reference` is the contestant the pictures are ordered by."""

    rows: tuple[Row, ...]
    absent: tuple[Contestant, ...]
    pairs: tuple[Pair, ...]
    classes: tuple[ClassRow, ...]
    shots: tuple[Shot, ...]
    legend: tuple[tuple[str, int], ...]
    reference: Contestant | None
    nearest: Row | None
    chance: Value
    things: str
    exact_is: str
    with_text: bool
    with_worth: bool


Picture = Callable[[str], Thumbnail]


def counting(study: Study, picture: Picture, most: int = MOST_PICTURES) -> Counting:
    """Return what the page shows of `study`, a study of counts; `picture` gives the thumbnail of a content hash."""
    compared = study.comparison or {}
    rows = tuple(sorted((_row(one, compared) for one in study.scored), key=_rank))
    reference = _reference(study, compared, rows)
    chance = compared.get("chance") or {}
    test = study.manifest.part("test")
    boxed = {box.label for row in test for box in row.boxes}
    return Counting(
        rows=rows,
        absent=tuple(one for one in study.contestants if one.state != "scored"),
        pairs=_pairs(compared),
        classes=_classes(study, rows),
        shots=tuple(_shots(study, picture, reference, min(most, MOST_PICTURES))) if reference else (),
        legend=tuple((study.names[id], at % STYLES) for at, id in enumerate(study.manifest.classes) if id in boxed),
        reference=reference,
        nearest=next((row for row in rows if row.contestant.name == compared.get("nearest")), None),
        chance=Value(say.percent(float(chance["accuracy"])), float(chance["accuracy"]), title=str(chance.get("how", "")))
        if "accuracy" in chance
        else say.MISSING,
        things=say.count(sum(count for row in test for _, count in row.counts or ())),
        exact_is=str((rows[0].contestant.test or {}).get("exact_is", "counts")) if rows else "counts",
        with_text=any(not row.text.absent for row in rows),
        with_worth=any(not row.worth.absent for row in rows),
    )


def _rank(row: Row) -> tuple[float, float, str]:
    exact = -1.0 if row.exact.number is None else row.exact.number
    return -exact, float("inf") if row.mae.number is None else row.mae.number, row.contestant.name


def _row(contestant: Contestant, compared: Json) -> Row:
    def score(name: str, part: str = "test") -> Value:
        return say.score(contestant.metric(name, part))

    marks = []
    if contestant.name == compared.get("chosen"):
        marks.append("validation’s choice")
    if contestant.name == compared.get("nearest"):
        marks.append("nearest")
    kinds = (contestant.test or {}).get("kinds") or {}
    return Row(
        contestant=contestant,
        letters=str((compared.get("letters") or {}).get(contestant.name, "")),
        marks=tuple(marks),
        exact=score("exact"),
        text=score("exact_text"),
        mae=number(contestant.metric("mae")),
        bias=number(contestant.metric("bias"), signed=True),
        total=number(contestant.metric("total_mae")),
        worth=number(contestant.metric("value_mae")),
        worth_bias=number(contestant.metric("value_bias"), signed=True),
        parsed=score("parsed"),
        kinds=tuple((KINDS.get(str(kind), "failed otherwise"), say.count(count)) for kind, count in kinds.items()),
        val=score("exact", "val"),
        val_mae=number(contestant.metric("mae", "val")),
        seeds=measured.EXACT.over_seeds(contestant.spread),
        seeds_mae=measured.ERROR.over_seeds(contestant.spread_mae),
    )


def number(entry: Json | None, signed: bool = False) -> Value:
    """Return a mean error with its interval; `signed` shows on which side of nothing it lies."""
    return measured.error(entry, measured.fewer_or_more if signed else measured.things)


def _reference(study: Study, compared: Json, rows: Sequence[Row]) -> Contestant | None:
    wanted = compared.get("chosen") or compared.get("nearest")
    named = next((row.contestant for row in rows if row.contestant.name == wanted), None)
    return named or (rows[0].contestant if rows else None)


def _pairs(compared: Json) -> tuple[Pair, ...]:
    alpha = float(compared.get("alpha", 0.05))
    exact = {frozenset((pair["a"], pair["b"])): pair for pair in compared.get("pairs", ())}
    found = []
    for row in compared.get("errors", ()):
        pair = exact.get(frozenset((row["a"], row["b"])), {})
        turned = pair.get("a") == row["b"]
        difference = float(pair.get("difference", 0.0)) * (-1 if turned else 1)
        outcome = str(pair.get("outcome", say.NOT_RECORDED))
        named = {"a better": row["b" if turned else "a"], "b better": row["a" if turned else "b"]}
        found.append(
            Pair(
                a=str(row["a"]),
                b=str(row["b"]),
                points=say.points(difference) if pair else say.NOT_RECORDED,
                exact_p=say.p_value(float(pair["p_holm"]), alpha) if pair else say.NOT_RECORDED,
                exact=f"{named[outcome]} better" if outcome in named else outcome,
                off=number({"value": row["difference"], "low": row["low"], "high": row["high"], "n": row["n"]}, signed=True),
                off_p=say.p_value(float(row["p_holm"]), alpha),
                nearer={"a nearer": f"{row['a']} nearer", "b nearer": f"{row['b']} nearer"}.get(row["outcome"], row["outcome"]),
                n=say.count(row["n"]),
            )
        )
    return tuple(found)


def _classes(study: Study, rows: Sequence[Row]) -> tuple[ClassRow, ...]:
    tables = [{str(one["id"]): one for one in (row.contestant.test or {}).get("per_class", ())} for row in rows]
    found = []
    for info in study.classes:
        known: Json = next((table[info.id] for table in tables if info.id in table), {})
        cells = tuple(_cell(table.get(info.id)) for table in tables)
        found.append(ClassRow(info.name, say.count(known.get("pictures", 0)), say.count(known.get("things", 0)), cells))
    return tuple(found)


def _cell(entry: Json | None) -> tuple[Value, Value, Value]:
    if entry is None:
        return say.MISSING, say.MISSING, say.MISSING
    return say.score(entry["exact"]), number(entry["mae"]), number(entry["bias"], signed=True)


def _shots(study: Study, picture: Picture, reference: Contestant, most: int) -> Iterable[Shot]:
    """Yield the pictures on which `reference` is furthest off, then some in the middle, then the nearest."""
    rows = list({row.key: row for row in study.manifest.part("test")}.values())
    off = {row.key: off_by(reference, row) for row in rows}
    rows.sort(key=lambda row: (-off[row.key], row.key))
    third = most // 3
    ends = {*range(min(len(rows), most - 2 * third)), *range(max(0, len(rows) - third), len(rows))}
    middle = [at for at in range(len(rows)) if at not in ends]
    start = max(0, (len(middle) - third) // 2)
    for at in sorted(ends | set(middle[start : start + third]))[:most]:
        yield shot(study, picture, rows[at], f"{reference.name}: {_miscounted(off[rows[at].key])}", study.scored)


def _miscounted(off: float) -> str:
    if off == float("inf"):
        return "no answer"
    return f"{say.count(off)} {'thing' if off == 1 else 'things'} miscounted" if off else "exact"


def off_by(contestant: Contestant, row: ManifestRow) -> float:
    """Return by how many things a contestant miscounts a picture; without an answer it is the furthest off of all."""
    answer = contestant.answers.get(row.key)
    if answer is None or answer.counts is None:
        return float("inf")
    truth = dict(row.counts or ())
    return float(sum(abs(answer.counts.get(id, 0) - truth.get(id, 0)) for id in {*truth, *answer.counts}))


def shot(study: Study, picture: Picture, row: ManifestRow, headline: str, shown: Sequence[Contestant]) -> Shot:
    """Return a picture with its boxes and what those `shown` answer."""
    place = {id: at % STYLES for at, id in enumerate(study.manifest.classes)}
    width, height = row.width or 0, row.height or 0
    fits = width and all(
        box.x >= -1 and box.y >= -1 and box.x + box.width <= width + 1 and box.y + box.height <= height + 1 for box in row.boxes
    )
    boxes = [
        Drawn(f"{box.x:.1f}", f"{box.y:.1f}", f"{box.width:.1f}", f"{box.height:.1f}", place[box.label]) for box in row.boxes
    ]
    lines = []
    for one in shown:
        answer, missed = one.answers.get(row.key), off_by(one, row)
        if answer is None or answer.counts is None:
            lines.append(Said(one, say.clean(_unread(answer), 160), "none"))
        else:
            lines.append(Said(one, counted(answer.counts, study), "right" if not missed else "near"))
    known = counted(dict(row.counts or ()), study)
    return Shot(
        picture(row.key),
        width,
        height,
        tuple(boxes) if fits else (),
        known,
        headline,
        row.path,
        tuple(lines),
    )


def _unread(answer: Answer | None) -> str:
    """Return why there are no counts, and the words there are instead."""
    why = (answer.error if answer else None) or "no answer"
    return f"{why}: “{answer.raw.strip()}”" if answer is not None and answer.raw and answer.raw.strip() else why


def counted(counts: Any, study: Study) -> str:
    """Return counts as people say them: ``2 dime, 1 penny``."""
    parts = [f"{say.count(counts[id])} {study.names[id]}" for id in study.manifest.classes if counts.get(id)]
    return say.clean(", ".join(parts)) or "nothing"
