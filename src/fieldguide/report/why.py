"""Why? For each chosen picture what every contestant looked at, layer by layer, and how far each of these maps can be trusted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from fieldguide.report import check_chart, overlay, say
from fieldguide.report.explained import Check, Explanation, Map, Unfit
from fieldguide.report.read import Contestant, Study
from fieldguide.report.thumbnails import Thumbnail

#: Most pictures, their longer side in pixels, and most characters of the whole section.
MOST_PICTURES, LONGEST, MOST_CHARACTERS = 12, 240, 2_000_000
#: What one contestant's row takes beside its maps, in characters.
_ROW = 3_000
#: What stands on a map that failed its check, by the mark in the data.
STAMPS = {
    "r": "No better than random: do not read this map.",
    "s": "Hardly changes when the weights are shuffled: it shows the picture, not what was learned.",
    "?": "Not checked: nothing says whether this map can be trusted.",
}


@dataclass(frozen=True, slots=True)
class Who:
    """Whose maps a row shows; `slot` is the mark of the family, `None` without one."""

    name: str
    note: str = ""
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One contestant at one picture: its explanation, or `instead` the reason why there is none."""

    who: Who
    explanation: Explanation | None
    instead: str = ""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One map as the script reads it; `best` is its most telling layer, `checks` has one text for each layer.

    `names` is the place of the layers' names among the texts of the panel, `ranges` the lowest and highest value of each layer.
    """

    method: str
    title: str
    signed: bool
    names: int
    size: str
    cells: Markup
    ranges: Markup
    checks: Markup
    best: int


@dataclass(frozen=True, slots=True)
class Still:
    """What is drawn without a script: the most telling layer of the most telling map."""

    picture: Markup
    alt: str
    title: str
    layer: str
    where: str
    reach: str
    marks: str
    stamps: tuple[str, ...]
    sentence: str
    chart: Markup


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant: what it answered, and its maps or the sentence that stands `instead`."""

    who: Who
    instead: str = ""
    answer: str = ""
    right: bool | None = None
    probability: str = ""
    lead: str = ""
    gap: str = ""
    runner_up: str = ""
    seen: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    unseen: str = ""
    maps: tuple[Drawn, ...] = ()
    at: int = 0
    still: Still | None = None
    unfit: tuple[Unfit, ...] = ()

    @property
    def layers(self) -> int:
        """Most layers of any of its maps."""
        return max((drawn.checks.count("|") + 1 for drawn in self.maps), default=0)


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    `titles` are those of the methods of any row, `says` the sentences of the checks and the names of the layers, each once.
    """

    number: int
    thumbnail: Thumbnail
    label: str | None
    why: str
    caption: str
    rows: tuple[Row, ...]
    titles: Mapping[str, str]
    says: tuple[Markup, ...]
    signed: bool
    characters: int

    @property
    def frame(self) -> tuple[int, int]:
        """Width and height on the screen: the longer side is `LONGEST`, however small the picture."""
        scale = LONGEST / max(self.thumbnail.width, self.thumbnail.height)
        return round(self.thumbnail.width * scale) or 1, round(self.thumbnail.height * scale) or 1

    @property
    def title(self) -> str:
        """What the picture is called where it cannot be seen."""
        return (f"true {self.label}" if self.label is not None else self.caption) + (f", {self.why}" if self.why else "")


@dataclass(frozen=True, slots=True)
class Why:
    """The section. Not `known`: no explanation was made. `absent` are contestants that have no answers to explain."""

    known: bool
    panels: tuple[Panel, ...] = ()
    hidden: int = 0
    absent: tuple[Contestant, ...] = ()
    stamps: Mapping[str, str] = field(default_factory=lambda: STAMPS)
    frame: Markup = field(default_factory=check_chart.frame)


def section(study: Study, picture: Callable[..., Thumbnail], most: int = MOST_PICTURES) -> Why:
    """Return the section for `study` with at most `most` pictures; ``picture(key, longest)`` gives a thumbnail."""
    told = study.explained
    if told is None:
        return Why(known=False)
    rows = {row.key: row for row in study.manifest.part()}
    panels: list[Panel] = []
    for number, chosen in enumerate(told.pictures[: min(most, MOST_PICTURES)]):
        key, row = chosen.image, rows.get(chosen.image)
        small = picture(key, LONGEST) if row else Thumbnail(None, reason="no longer in the manifest")
        entries = [_entry(study, contestant, key) for contestant in study.scored]
        caption = "/".join(row.path.replace("\\", "/").split("/")[-3:]) if row else key
        panel = panel_of(number, (chosen.why, row.label if row else None, caption), small, entries, study.names)
        if sum(one.characters for one in panels) + panel.characters > MOST_CHARACTERS:
            break
        panels.append(panel)
    absent = tuple(contestant for contestant in study.contestants if contestant.state != "scored")
    return Why(True, tuple(panels), len(told.pictures) - len(panels), absent)


def _entry(study: Study, contestant: Contestant, key: str) -> Entry:
    who = Who(contestant.name, contestant.family, contestant.slot)
    if (study.comparison or {}).get("above_chance", {}).get(contestant.name) is False:
        return Entry(who, None, "Not above chance on the test pictures: a map of it would explain nothing, so none is drawn.")
    found = study.explained.found.get((contestant.name, key)) if study.explained else None
    return Entry(who, found, "" if found else "No explanation of this picture was made for this contestant.")


def panel_of(
    number: int,
    words: tuple[str, str | None, str],
    thumbnail: Thumbnail,
    entries: Iterable[Entry],
    names: Mapping[str, str],
) -> Panel:
    """Return one picture with a row for each of `entries`.

    `words` say why it was chosen, the id of its true class (`None` where it is not known) and what it is called; `names` gives the name of a
    class id, an id without one is its own name.
    """
    why, label, caption = words
    says: dict[str, int] = {}
    # Those without a map stand last, so that maps stand beside maps.
    rows = tuple(sorted((_row(entry, label, names, says) for entry in entries), key=lambda row: not row.maps))
    titles = {drawn.method: drawn.title for row in rows for drawn in row.maps}
    for row in rows:
        titles.update({unfit.method: unfit.method for unfit in row.unfit if unfit.method not in titles})
    weight = sum(len(d.cells) + len(d.checks) + len(d.ranges) + 250 for row in rows for d in row.maps)
    weight += sum(_ROW + (len(row.still.picture) + len(row.still.chart) if row.still else 0) for row in rows)
    return Panel(
        number=number,
        thumbnail=thumbnail,
        label=None if label is None else names.get(label, label),
        why=why,
        caption=caption,
        rows=rows,
        titles=titles,
        says=tuple(escape(text) for text in says),
        signed=any(drawn.signed for row in rows for drawn in row.maps),
        characters=weight + len(thumbnail.uri or "") + sum(map(len, says)),
    )


def _row(entry: Entry, label: str | None, names: Mapping[str, str], says: dict[str, int]) -> Row:
    told = entry.explanation
    if told is None:
        return Row(entry.who, entry.instead or "No explanation was made.")
    answer = names.get(told.answer, told.answer)
    at, layer = most_telling(told.maps)
    left, top, right, bottom = told.seen
    share = 1 - (right - left) * (bottom - top)
    head = f"{entry.who.name} answers {answer}"
    return Row(
        who=entry.who,
        instead="" if told.maps else "No method for maps applies to this contestant.",
        answer=answer,
        right=None if label is None else told.answer == label,
        probability="" if told.probability is None else say.percent(told.probability),
        lead="" if told.gap is None else lead(told.gap),
        gap="" if told.gap is None else say.decimal(told.gap, 2),
        runner_up=names.get(told.runner_up, told.runner_up),
        seen=told.seen,
        unseen=f"{max(1, round(100 * share))}{say.NBSP}% of the picture" if share > 5e-4 else "",
        maps=tuple(_drawn(one, says) for one in told.maps),
        at=at,
        still=_still(told.maps[at], layer, head) if told.maps else None,
        unfit=told.unfit,
    )


def lead(gap: float) -> str:
    """Return a gap of log-probabilities, in nats, as how many times as likely."""
    if gap < 0.05:
        return "about as likely as"
    if gap > math.log(1000):
        return "more than 1,000 times as likely as"
    times = math.exp(gap)
    return f"{say.decimal(times, 1 if times < 10 else 0)} times as likely as"


def most_telling(maps: Sequence[Map]) -> tuple[int, int]:
    """Return the positions of the map and its layer whose check speaks most for it; ``(0, 0)`` without maps.

    Better than random comes first, then changing with the weights, then the score; of equal ones the later layer.
    """
    keyed = [(_worth(one, layer), (at, layer)) for at, one in enumerate(maps) for layer in range(len(one.layers))]
    return max(keyed, key=lambda pair: (pair[0], -pair[1][0], pair[1][1]), default=((), (0, 0)))[1]


def _worth(one: Map, layer: int) -> tuple[bool, bool, float]:
    check = one.check(layer)
    if check is None:
        return (False, False, -math.inf)
    return (check.better is True, check.moved is not False, -math.inf if check.score is None else check.score)


def marks(check: Check | None) -> str:
    """Return which of `STAMPS` stand on a map with this check, as their letters."""
    if check is None or check.better is None:
        return "?" + ("s" if check and check.moved is False else "")
    return ("" if check.better else "r") + ("s" if check.moved is False else "")


def _drawn(one: Map, says: dict[str, int]) -> Drawn:
    checks = []
    for layer in range(len(one.layers)):
        check = one.check(layer)
        place = says.setdefault(_sentence(check), len(says))
        checks.append(f"{place},{marks(check)},{check_chart.packed(check_chart.places(check))}")
    ranges = [f"{low:.3g} {high:.3g}" for low, high in zip(one.low, one.high, strict=True)]
    return Drawn(
        method=one.method,
        title=one.title,
        signed=one.signed,
        names=says.setdefault(json.dumps(one.layers), len(says)),
        size=f"{one.cells.shape[1]} {one.cells.shape[2]}",
        cells=overlay.cells(one),
        ranges=escape("|".join(ranges)),
        checks=escape("|".join(checks)),
        best=most_telling([one])[1],
    )


def _still(one: Map, layer: int, head: str) -> Still:
    check = one.check(layer)
    where = overlay.strongest(one, layer)
    letters = marks(check)
    stamps = tuple(STAMPS[letter] for letter in letters)
    return Still(
        picture=overlay.picture_of(one, layer),
        alt=" ".join([f"{head}. {one.title}, {one.layers[layer]}: {where}.", *stamps]),
        title=one.title,
        layer=one.layers[layer],
        where=where,
        reach=f"{_short(one.low[layer])} to {_short(one.high[layer])}",
        marks=letters,
        stamps=stamps,
        sentence=_sentence(check),
        chart=check_chart.chart(check_chart.places(check)),
    )


def _sentence(check: Check | None) -> str:
    return (check.sentence if check else "") or "No check of this map is recorded."


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", say.MINUS)
