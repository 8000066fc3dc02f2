"""The translation score card as a table: a line a measure, a column a translator, and the references set apart beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fieldguide.report import say
from fieldguide.report.text_files import Json
from fieldguide.report.text_words import ALPHA

#: Measures in their order: key, name, whether it is a share, which way is better (1 up, -1 down, 0 near the ceiling, 2 near 0.5), and what it tells.
MEASURES: tuple[tuple[str, str, bool, int, str], ...] = (
    ("zero_shot", "Pictures by class means of texts", True, 1, "share of pictures nearest to the mean text of their class"),
    ("class_accuracy", "Classes by real centroids", True, 1, "mean text of a class nearest to its class's own pictures"),
    ("line_accuracy", "Lines by real centroids", True, 1, "the same, line by line"),
    ("text_to_image_1", "Text to image, R@1", True, 1, "centred retrieval"),
    ("text_to_image_5", "Text to image, R@5", True, 1, "centred retrieval"),
    ("text_to_image_10", "Text to image, R@10", True, 1, "centred retrieval"),
    ("image_to_text_1", "Image to text, R@1", True, 1, "centred retrieval"),
    ("image_to_text_5", "Image to text, R@5", True, 1, "centred retrieval"),
    ("image_to_text_10", "Image to text, R@10", True, 1, "centred retrieval"),
    ("cosine", "Cosine, paired minus shuffled", False, 1, "on unit vectors"),
    ("r2", "R²", False, 1, "variance of pictures accounted for; below 0: worse than their mean"),
    ("gap", "Modality gap", False, -1, "distance of the means of unit vectors"),
    ("variance_ratio", "Variance ratio", False, 0, "to that of pictures; below 1: crowds the centre"),
    ("effective_rank", "Effective rank", False, 0, "directions that vary"),
    ("mmd", "Kernel MMD²", False, -1, "unbiased; in brackets what chance alone reaches in 1 of 20"),
    ("frechet", "Fréchet distance²", False, -1, "in units of a picture's length"),
    ("auc", "AUC, real against translated", False, 2, "linear classifier; 0.5: cannot be told apart"),
)
_BETTER = {1: "higher is better", -1: "lower is better", 0: "nearest to the ceiling is best", 2: "nearest to 0.5 is best"}
_ROLES = {"ceiling": "ceiling", "direct": "direct bar", "floor": "floor"}
#: Measures over which translators are ranked to say whether measures agree, and what they are called then.
_RANKED = {
    "zero_shot": "pictures by class means",
    "class_accuracy": "classes by centroids",
    "text_to_image_1": "retrieval",
    "cosine": "cosine",
    "r2": "R²",
    "gap": "gap",
    "mmd": "kernel distance",
    "auc": "AUC",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A translator or a reference; `role` is empty for a translator."""

    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Line:
    """One measure: its name, which way is better and what it tells; values by column, what guessing gives, and the `best` columns."""

    title: str
    better: str
    tells: str
    values: tuple[say.Value, ...]
    chance: str
    best: frozenset[int]


@dataclass(frozen=True, slots=True)
class Card:
    """The card of one source of texts."""

    source: str
    about: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    sentences: tuple[str, ...]
    notes: tuple[str, ...]


def cards(told: Json) -> tuple[Card, ...]:
    """Return the cards of ``translation.json``, one a source; the file of one source may hold its rows at the top."""
    each = list(told.get("cards") or ([told] if told.get("rows") else []))
    return tuple(_card(one, told) for one in each)


def _card(one: Json, told: Json) -> Card:
    rows = sorted(one.get("rows", []), key=lambda row: _order(str(row.get("role"))))
    columns = tuple(Column(str(row.get("name")), _ROLES.get(str(row.get("role")), "")) for row in rows)
    pairs = one.get("pairs") or {}
    counts = [
        f"{say.count(pairs[key])} {words}"
        for key, words in (("train", "to learn from"), ("held_out", "held out"))
        if key in pairs
    ]
    about = [str(pairs.get("where") or ""), f"pairs: {', '.join(counts)}" if counts else "", str(pairs.get("crossed") or "")]
    about += (
        [f"encoder {say.pathless(told.get('encoder'))}, text model {say.pathless(told.get('text_model'))}"]
        if told.get("encoder")
        else []
    )
    return Card(
        source=str(one.get("source") or ""),
        about=say.shortened("; ".join(part for part in about if part)),
        columns=columns,
        lines=tuple(_line(measure, rows, columns) for measure in MEASURES if any(measure[0] in row for row in rows)),
        sentences=tuple(say.glued(sentence) for sentence in (*_passing(rows), *_agreement(rows), *_shrinking(rows))),
        notes=tuple(str(note) for note in one.get("notes", [])),
    )


def _order(role: str) -> int:
    return ("translator", "direct", "ceiling", "floor").index(role) if role in ("translator", *_ROLES) else 0


def _line(measure: tuple[str, str, bool, int, str], rows: Sequence[Json], columns: Sequence[Column]) -> Line:
    key, title, share, way, tells = measure
    entries = [row.get(key) or {} for row in rows]
    values = tuple(_value(key, entry, share) for entry in entries)
    chances = {entry["chance"] for entry in entries if entry.get("chance") is not None} if key not in ("mmd", "auc") else set()
    chance = "–" if not chances else say.percent(max(chances)) if share else say.decimal(max(chances))
    return Line(title, _BETTER[way], tells, values, chance, _best(values, way, columns))


def _value(key: str, entry: Json, share: bool) -> say.Value:
    if not entry:
        return say.MISSING
    shown = say.score(entry, share)
    if shown.number is None:
        return shown
    if key in ("mmd", "frechet", "effective_rank") or not share:
        digits = 1 if key == "effective_rank" else 4 if key == "mmd" else 2
        low, high = entry.get("low"), entry.get("high")
        note = "" if low is None or high is None else f"{say.decimal(low, digits)} to {say.decimal(high, digits)}"
        if key == "mmd" and entry.get("chance") is not None:
            note = f"({say.decimal(entry['chance'], digits)})"
        return say.Value(say.decimal(shown.number, digits), shown.number, note, shown.title)
    return shown


def _best(values: Sequence[say.Value], way: int, columns: Sequence[Column]) -> frozenset[int]:
    """Return the translators that do best; none where there is one alone, and none where nearness to the ceiling counts but is missing."""
    among = [at for at, column in enumerate(columns) if not column.role and values[at].number is not None]
    ceiling = next((values[at].number for at, column in enumerate(columns) if column.role == "ceiling"), None)
    if len(among) < 2 or (way == 0 and ceiling is None):
        return frozenset()
    keyed = {at: _far(values[at].number or 0.0, way, ceiling or 0.0) for at in among}
    least = min(keyed.values())
    if least == max(keyed.values()):
        return frozenset()
    return frozenset(at for at, far in keyed.items() if far <= least + 1e-12)


def _far(value: float, way: int, ceiling: float = 0.0) -> float:
    """Return how far a value is from the best, the smaller the better."""
    return abs(value - ceiling) if way == 0 else abs(value - 0.5) if way == 2 else -way * value


def _passing(rows: Sequence[Json]) -> Iterator[str]:
    """Say which translators pass the direct bar: as many more pictures right by class means as is more than chance."""
    translators = [row for row in rows if row.get("role") == "translator"]
    if not translators:
        return
    bars = [(str(row.get("name")), row["bar"]) for row in translators if row.get("bar")]
    if not bars:
        direct = any(row.get("role") == "direct" for row in rows)
        yield (
            "Which translator passes the direct bar is not known: it could not be measured."
            if direct
            else "There is no direct bar: pictures and texts of these two models share no space, so nothing can be compared without a translator."
        )
        return
    sides: dict[str, list[str]] = {"pass": [], "below": [], "open": []}
    for name, bar in bars:
        p = float(bar.get("p_adjusted", bar.get("p", 1.0)))
        side = "open" if p > ALPHA else "pass" if float(bar["difference"]) > 0 else "below"
        bounds = f" [{say.points(bar['low'])}, {say.points(bar['high'])}]" if bar.get("low") is not None else ""
        p_said = say.p_value(p)
        said = f"{name} ({say.points(bar['difference'])} points{bounds}, p {'' if p_said.startswith('<') else '= '}{p_said})"
        sides[side].append(said)
    if sides["pass"]:
        yield f"Passes the direct bar, telling pictures better than the same texts untranslated: {', '.join(sides['pass'])}."
    else:
        yield "No translator passes the direct bar: none was shown to tell pictures better than the same texts untranslated."
    if sides["below"]:
        yield f"Worse than untranslated: {', '.join(sides['below'])}."
    if sides["open"]:
        yield f"No difference from untranslated could be shown: {', '.join(sides['open'])}."


def _agreement(rows: Sequence[Json]) -> Iterator[str]:
    """Say whether the measures agree which translator is best."""
    names = [str(row.get("name")) for row in rows if row.get("role") == "translator"]
    kept = [row for row in rows if row.get("role") == "translator"]
    if len(kept) < 2:
        return
    winners: dict[str, list[str]] = {}
    ways = {key: way for key, _, _, way, _ in MEASURES}
    for key, title in _RANKED.items():
        way = ways[key]
        values = [(row.get(key) or {}).get("value") for row in kept]
        known = [(float(value), name) for value, name in zip(values, names, strict=True) if value is not None]
        if len(known) > 1:
            least = min(_far(value, way) for value, _ in known)
            first = [name for value, name in known if _far(value, way) <= least + 1e-12]
            if len(first) == 1:
                winners.setdefault(first[0], []).append(title)
    if len(winners) == 1:
        (name,) = winners
        yield f"The measures agree: {name} is best by all of {len(winners[name])} that were ranked."
    elif winners:
        parts = [f"{name} by {', '.join(titles)}" for name, titles in sorted(winners.items(), key=lambda one: -len(one[1]))]
        yield f"The measures do not agree which translator is best: {'; '.join(parts)}."


def _shrinking(rows: Sequence[Json]) -> Iterator[str]:
    small = [
        (str(row.get("name")), float(value))
        for row in rows
        if row.get("role") == "translator"
        and (value := (row.get("variance_ratio") or {}).get("high")) is not None
        and float(value) < 0.9
    ]
    if small:
        told = ", ".join(
            f"{name} ({say.decimal(float(next(r for r in rows if r.get('name') == name)['variance_ratio']['value']), 2)})"
            for name, _ in small
        )
        yield f"Varies less than real pictures do, so it crowds the centre: {told}."
