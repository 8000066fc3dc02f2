"""Pictures against texts: what the sweep over their ratio found, as tables, small charts and sentences.

The sweep tells curves by selection, head, source and translator. Shown first are the first selection and the head that does best on
validation pictures; the rest waits folded, and the second selection stands in brackets as in the table of E2.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from fieldguide.report import say
from fieldguide.report.ratio_chart import CURVES, Point, Track, axis, ratio_chart, spoken
from fieldguide.report.text_files import Json
from fieldguide.report.text_words import told_differences

ALPHA = 0.05
_SIGNS = {"better": "▲", "worse": "▼", "": ""}
_MODES = ("mix", "weighted")


@dataclass(frozen=True, slots=True)
class Cell:
    """Accuracy of one curve at one ratio: of the selection shown, and in `other` of the one in brackets; `sign` repeats the test."""

    value: say.Value
    other: str = ""
    sign: str = ""
    said: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One ratio: what it is called, what the pictures cover, and cells in the order of the columns; `None` where nothing was run."""

    ratio: str
    image: float
    coverage: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One source and translator: a chart of its three curves, and what its texts are worth: a state, a sign and a sentence each."""

    title: str
    tracks: tuple[Track, ...]
    chart: Markup
    worth: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Board:
    """One head with one selection, and another selection in brackets: panels, the table, and what the tests say.

    `worth` are the sentences of every ratio; the panels say those of the fewest pictures and of none.
    """

    head: str
    selection: str
    bracketed: str
    groups: tuple[str, ...]
    rows: tuple[Row, ...]
    panels: tuple[Panel, ...]
    told: tuple[str, ...]
    worth: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """Published figures in the form of the table: `what` they are of; rows of ratio and words, a column a source."""

    what: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    """The part; `boards` best first. `headline` is its one sentence; `differences` are rows of the first board's tests."""

    headline: str
    boards: tuple[Board, ...]
    why_first: str
    differences: tuple[tuple[str, ...], ...]
    leaks: tuple[str, ...]
    notes: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    reference: Reference | None


def ratio(told: Json) -> Ratio:
    """Return the part for the content of ``text_ratio.json``."""
    heads, selections = [str(head) for head in told.get("heads", [])], [str(one) for one in told.get("selections", [])]
    head, why = _first_head(told, heads)
    pairs = list(itertools.zip_longest(selections[::2], selections[1::2]))
    order = [(one, first, second) for first, second in pairs for one in (head, *(h for h in heads if h != head))]
    found = _Found.of(told)
    boards = tuple(_board(found, one, first, second) for one, first, second in order)
    return Ratio(
        headline=say.glued(str(told.get("headline") or "")),
        boards=boards,
        why_first=why,
        differences=tuple(_rows(found, boards[0].head, boards[0].selection)) if boards else (),
        leaks=tuple(_leak(one) for one in told.get("leaks", [])),
        notes=tuple(str(note) for note in told.get("notes", [])),
        facts=tuple(_facts(told)),
        reference=_reference(told.get("reference")),
    )


@dataclass(frozen=True)
class _Found:
    """The file, and its summary, coverage and differences by what they are of."""

    told: Json
    means: dict[tuple[Any, ...], Json]
    covered: dict[tuple[str, float], list[Json]]
    tests: dict[tuple[Any, ...], Json]
    couples: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, told: Json) -> _Found:
        covered: dict[tuple[str, float], list[Json]] = {}
        val: dict[tuple[str, str], list[float]] = {}
        for cell in told.get("cells", []):
            if cell["curve"] == "pictures":
                covered.setdefault((str(cell["selection"]), float(cell["image"])), []).append(cell)
            elif cell["curve"] == "weighted" and cell.get("val_accuracy") is not None:
                val.setdefault((str(cell["source"]), str(cell["translator"])), []).append(cell["val_accuracy"])
        couples = itertools.product(map(str, told.get("sources", [])), map(str, told.get("translators", [])))
        return cls(
            told,
            {_key(one): one for one in told.get("summary", [])},
            covered,
            {_key(one): one for one in told.get("differences", [])},
            tuple(sorted(couples, key=lambda couple: -statistics.fmean(val.get(couple, [0.0])))),
        )


def _key(one: Json) -> tuple[Any, ...]:
    names = (one.get(name) for name in ("curve", "selection", "source", "translator", "head"))
    return (*names, float(one["image"]))


def _first_head(told: Json, heads: Sequence[str]) -> tuple[str, str]:
    """Return the head that does best on validation pictures with all pictures and no text, and why it stands first."""
    most = max((float(cell["image"]) for cell in told.get("cells", [])), default=0.0)
    val: dict[str, list[float]] = {}
    for cell in told.get("cells", []):
        if cell["curve"] == "pictures" and float(cell["image"]) == most and cell.get("val_accuracy") is not None:
            val.setdefault(str(cell["head"]), []).append(float(cell["val_accuracy"]))
    known = [head for head in heads if head in val]
    if not known:
        return (heads[0] if heads else ""), ""
    best = max(known, key=lambda head: statistics.fmean(val[head]))
    return best, "" if len(known) < 2 else f"{best} stands first because it does best on validation pictures without any text"


def _board(found: _Found, head: str, selection: str, bracketed: str | None) -> Board:
    images = sorted({float(image) for image in found.told.get("ratios", [])}, reverse=True)
    couples = [
        couple
        for couple in found.couples
        if any((mode, selection, *couple, head, i) in found.means for mode in _MODES for i in images)
    ]
    curves = [("pictures", None, None), *((mode, *couple) for couple in couples for mode in _MODES)]
    rows = tuple(
        Row(
            f"{image:g} : {100 - image:g}",
            image,
            _both(_coverage(found, selection, image), _coverage(found, bracketed, image) if bracketed else ""),
            tuple(_cell(found, curve, head, (selection, bracketed), image) for curve in curves),
        )
        for image in images
    )
    tracks = {couple: _tracks(found, selection, couple, head, images) for couple in couples}
    scale = axis(track for each in tracks.values() for track in each)
    worth = {couple: _worth(found.told, couple, head, selection) for couple in couples}
    return Board(
        head=head,
        selection=selection,
        bracketed=bracketed or "",
        groups=tuple(_title(couple) for couple in couples),
        rows=rows,
        panels=tuple(_panel(couple, tracks[couple], scale, _a_class(found.told), worth[couple]) for couple in couples),
        told=tuple(told_differences(_tested(found, couple, head, selection), _title(couple)) for couple in couples),
        worth=tuple(say.glued(str(one.get("sentence") or "")) for couple in couples for one in worth[couple]),
    )


def _worth(told: Json, couple: tuple[str, str], head: str, selection: str) -> list[Json]:
    """Return what texts are worth for one line of the sweep, beside the fewest pictures first; instead of any picture last."""
    wanted = (*couple, head, selection)
    names = ("source", "translator", "head", "selection")
    found = [one for one in told.get("worth", []) if tuple(str(one.get(name)) for name in names) == wanted]
    return sorted(found, key=lambda one: (not _pictures(one), _pictures(one)))


def _pictures(one: Json) -> float:
    return float(one.get("per_class") or 0.0)


def _both(one: str, other: str) -> str:
    return one if other in ("", one) else f"{one} ({other})"


def _title(couple: tuple[str, str]) -> str:
    return " · ".join(couple)


def _a_class(told: Json) -> float | None:
    total, classes = told.get("total"), told.get("classes")
    return None if not total or not classes else float(total) / float(classes)


def _tested(found: _Found, couple: tuple[str, str], head: str, selection: str) -> list[Json]:
    wanted = (selection, *couple, head)
    return [one for key, one in found.tests.items() if key[1:5] == wanted]


def _tracks(found: _Found, selection: str, couple: tuple[str, str], head: str, images: Sequence[float]) -> list[Track]:
    tracks = []
    for curve in CURVES:
        of = (None, None) if curve == "pictures" else couple
        each = [(image, found.means.get((curve, selection, *of, head, image))) for image in images]
        tracks.append(
            Track(curve, tuple(Point(i, float(one["mean"]), one.get("low"), one.get("high")) for i, one in each if one))
        )
    return tracks


def _panel(couple: tuple[str, str], tracks: list[Track], scale: Any, a_class: float | None, worth: Sequence[Json]) -> Panel:
    chart = ratio_chart(tracks, scale, a_class, f"{_title(couple)}. Test accuracy by image : text. {spoken(tracks)}")
    beside, instead = [one for one in worth if _pictures(one)], [one for one in worth if not _pictures(one)]
    return Panel(_title(couple), tuple(tracks), chart, tuple(_said(one) for one in (*beside[:1], *instead[:1])))


def _said(one: Json) -> tuple[str, str, str]:
    shown = one.get("low") is not None and float(one["low"]) > 0
    return ("fine", "▲", say.glued(str(one.get("sentence")))) if shown else ("other", "≈", say.glued(str(one.get("sentence"))))


def _cell(found: _Found, curve: tuple[Any, ...], head: str, selections: tuple[str, str | None], image: float) -> Cell | None:
    mode, *couple = curve
    one, other = (found.means.get((mode, selection, *couple, head, image)) for selection in selections)
    if one is None and other is None:
        return None
    value = say.score({"value": one["mean"], "low": one.get("low"), "high": one.get("high")}) if one else say.MISSING
    side = _side(found.tests.get((mode, selections[0], *couple, head, image)))
    said = f"{side} than pictures alone, after correction" if side else ""
    bracket = "" if other is None else f"({100 * float(other['mean']):.1f})"
    return Cell(value, bracket, _SIGNS[side], said)


def _side(test: Json | None) -> str:
    p = None if test is None else test.get("p_adjusted", test.get("p"))
    if test is None or p is None or float(p) > ALPHA:
        return ""
    return "better" if float(test["difference"]) > 0 else "worse"


def _coverage(found: _Found, selection: str | None, image: float) -> str:
    """Return how many pictures the classes have at this ratio, the least and the most over seeds."""
    cells = found.covered.get((str(selection), image), [])
    if image == 0:
        return "no picture"
    if not cells or any(cell.get(name) is None for cell in cells for name in ("classes_present", "fewest", "most")):
        return say.NOT_RECORDED
    present = min(int(cell["classes_present"]) for cell in cells)
    fewest, most = min(int(cell["fewest"]) for cell in cells), max(int(cell["most"]) for cell in cells)
    classes = int(found.told.get("classes") or present)
    each = f"{fewest}" if fewest == most else f"{fewest}\u2013{most}"
    return f"{each} a class" + ("" if present >= classes else f", {say.count(classes - present)} empty")


def _rows(found: _Found, head: str, selection: str) -> Iterator[tuple[str, ...]]:
    words = {"mix": "instead", "weighted": "in addition"}
    for couple, mode in itertools.product(found.couples, _MODES):
        tests = [one for one in _tested(found, couple, head, selection) if one["curve"] == mode]
        for one in sorted(tests, key=lambda one: -float(one["image"])):
            bounds = "" if one.get("low") is None else f"{say.points(one['low'])} to {say.points(one['high'])}"
            p = [say.NOT_RECORDED if one.get(name) is None else say.p_value(one[name]) for name in ("p", "p_adjusted")]
            ratio_ = f"{float(one['image']):g} : {100 - float(one['image']):g}"
            yield (_title(couple), words[mode], ratio_, say.points(one["difference"]), bounds, *p)


def _leak(one: Json) -> str:
    return f"{one.get('source')} · {one.get('translator')}: {one.get('why')}"


_MODELS = (("Encoder", "encoder"), ("Weights", "described"), ("Text model", "text_model"))


def _facts(told: Json) -> Iterator[tuple[str, str]]:
    seconds = told.get("seconds") or {}
    for name, words in (
        *((name, told.get(key) and say.pathless(told[key])) for name, key in _MODELS),
        ("Features", told.get("normalisation")),
        ("Seeds", ", ".join(map(str, told.get("seeds", [])))),
        ("Training pictures", None if told.get("total") is None else say.count(told["total"])),
        ("Test pictures", None if told.get("test") is None else say.count(told["test"])),
        ("Time", ", ".join(f"{part} {say.seconds(float(span))}" for part, span in seconds.items())),
    ):
        yield name, say.shortened(str(words)) if words else say.NOT_RECORDED


def _reference(told: Any) -> Reference | None:
    """Return published figures, in per cent as they were printed; a list of rows, or rows with ``what`` they are of."""
    rows: list[Json] = list(told.get("rows", []) if isinstance(told, dict) else told or [])
    if not rows:
        return None
    sources = list(dict.fromkeys(source for row in rows for source in row.get("sources", {})))
    what = (
        ". ".join(str(told[name]).removesuffix(".") for name in ("what", "source") if told.get(name))
        if isinstance(told, dict)
        else ""
    )
    return Reference(
        f"{what}." if what else "",
        ("pictures alone", *sources),
        tuple(
            (
                f"{float(row['image']):g} : {100 - float(row['image']):g}",
                (_printed(row.get("pictures")), *(_printed(row.get("sources", {}).get(source)) for source in sources)),
            )
            for row in rows
        ),
    )


def _printed(by_selection: Json | None) -> str:
    values = [f"{float(value):.2f}" for value in _in_order(by_selection or {})]
    return "–" if not values else values[0] + (f" ({', '.join(values[1:])})" if values[1:] else "")


def _in_order(by_selection: Json) -> Iterable[Any]:
    """Yield class-balanced figures first."""
    return [by_selection[name] for name in sorted(by_selection, key=lambda name: (name != "balanced", name))]
