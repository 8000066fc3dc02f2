"""What the description doctor found: how many lines have which fault, the worst of them, and what all are worth beside controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report import say
from fieldguide.report.interval_rows import Named, interval_rows
from fieldguide.report.text_files import Json

#: Lines that are shown of a source, and characters of each.
MOST_LINES, MOST_LETTERS = 10, 220
#: Ways of `controls` in their order; those that are a control or a floor are drawn as references.
_WAYS = ("names", "names_texts", "names_random", "names_permuted", "texts", "permuted")
_OWN = ("names_texts", "texts")
#: Kinds of faults in their order; others come after them.
_CODES = (
    "contradicts",
    "names_class",
    "names_other",
    "not_visible",
    "shared",
    "nearly_shared",
    "repeated",
    "beyond_context",
    "long",
)


@dataclass(frozen=True, slots=True)
class Total:
    """One kind of fault: what it is, in how many lines, and what part of all that is."""

    what: str
    lines: say.Value
    share: str


@dataclass(frozen=True, slots=True)
class Bad:
    """A line to look at: its class, its text, what was found, and how well it tells its class from the nearest rival."""

    of: str
    text: str
    found: tuple[str, ...]
    auc: say.Value
    rival: str


@dataclass(frozen=True, slots=True)
class Doctor:
    """What was found about one source; `chart` and `sentence` are empty where no encoder looked."""

    source: str
    about: str
    totals: tuple[Total, ...]
    worst: tuple[Bad, ...]
    order: str
    chart: Markup
    sentence: str
    doubts: tuple[str, ...]


def doctor(source: str, told: Json, names: Mapping[str, str]) -> Doctor:
    """Return what ``texts/<source>.doctor.json`` holds; `names` gives the display name of a class id."""
    lines: Sequence[Json] = told.get("lines", [])
    controls, encoder = told.get("controls") or {}, told.get("encoder") or {}
    worst = _worst(lines)
    measured = bool(worst) and _auc(worst[0]) is not None
    seen = f"seen by {say.pathless(encoder.get('model'))}: {encoder.get('how')}" if encoder else "no encoder looked at it"
    return Doctor(
        source=source,
        about=say.shortened(f"{say.count(len(lines))} lines about {told.get('classes', say.NOT_RECORDED)} classes; {seen}"),
        totals=tuple(_total(one, len(lines)) for one in _in_order(told.get("totals") or {}, _CODES).values()),
        worst=tuple(_bad(line, names) for line in worst),
        order="that separate their class least from its nearest rival" if measured else "with the most faults",
        chart=_chart(controls, source),
        sentence=say.glued(str(controls.get("sentence") or "")),
        doubts=tuple(_doubts(controls)),
    )


def _total(one: Json, lines: int) -> Total:
    count = one.get("lines")
    value = say.number(None if count is None else float(count), say.count, "not looked for: needs an encoder")
    return Total(str(one.get("what") or ""), value, "" if count is None or not lines else say.percent(count / lines))


def _in_order(things: Json, order: Sequence[str]) -> dict[str, Json]:
    return {name: things[name] for name in (*(n for n in order if n in things), *sorted(set(things) - set(order)))}


def _auc(line: Json) -> float | None:
    auc = (line.get("worth") or {}).get("auc")
    return None if auc is None else float(auc)


def _worst(lines: Sequence[Json]) -> list[Json]:
    """Return the lines that separate least, or where none was measured those with the most faults; no line without a reason."""
    measured = [line for line in lines if _auc(line) is not None]
    if measured:
        return sorted(measured, key=lambda line: (_auc(line) or 0.0, str(line.get("class"))))[:MOST_LINES]
    faulty = [line for line in lines if line.get("findings")]
    return sorted(faulty, key=lambda line: (-len(line["findings"]), str(line.get("class"))))[:MOST_LINES]


def _bad(line: Json, names: Mapping[str, str]) -> Bad:
    worth = line.get("worth") or {}
    found = [str(one.get("detail") or one.get("code")) for one in line.get("findings", [])]
    if worth.get("contradicts") is True:
        found.insert(0, "less like pictures of its class than of its rival")
    low, high = worth.get("low"), worth.get("high")
    note = "" if low is None or high is None else f"{say.decimal(low, 2)}\u2013{say.decimal(high, 2)}"
    auc = _auc(line)
    id, rival = str(line.get("class")), worth.get("rival")
    return Bad(
        of=names.get(id, id),
        text=say.clean(str(line.get("text", "")), MOST_LETTERS),
        found=tuple(found),
        auc=say.number(None, say.count, "no encoder looked, or too few pictures")
        if auc is None
        else say.Value(say.decimal(auc, 2), auc, note),
        rival="" if rival is None else names.get(str(rival), str(rival)),
    )


def _chart(controls: Json, source: str) -> Markup:
    titles = controls.get("titles") or {}
    rows = [
        Named(str(titles.get(way, way)), float(row["value"]), row.get("low"), row.get("high"), way not in _OWN)
        for way, row in _in_order(controls.get("rows") or {}, _WAYS).items()
        if row.get("value") is not None
    ]
    return interval_rows(rows, f"{source}: accuracy without training", controls.get("chance"))


def _doubts(controls: Json) -> list[str]:
    doubts = []
    if controls.get("silent"):
        count = len(controls["silent"])
        doubts.append(
            f"{say.count(count)} {'class has' if count == 1 else 'classes have'} no line and can never be answered by lines alone."
        )
    if controls.get("cut"):
        doubts.append(
            f"{say.count(controls['cut'])} lines are cut off by the encoder where the name of the class stands before them."
        )
    return doubts
