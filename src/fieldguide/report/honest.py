"""With and without: what the scores are when doubtful pictures are left out, and which labels a person should look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fieldguide.records import ManifestRow
from fieldguide.report import say
from fieldguide.report.read import Contestant, Json, Study
from fieldguide.report.thumbnails import Thumbnail

#: Most suspects that are shown, and most base64 characters of their pictures together.
MOST_SUSPECTS, MOST_CHARACTERS = 120, 1_000_000
_SPOKEN = {"train": "training", "val": "validation", "test": "test"}
_STATES = {"found": "!", "fine": "✓", "not applicable": "–", "skipped": "○"}


@dataclass(frozen=True, slots=True)
class Doubt:
    """One subset of the test pictures: `sentence` says what it is and what it does, or why nothing can be said."""

    code: str
    title: str
    state: str
    sign: str
    count: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Effect:
    """A contestant's accuracy with all test pictures, and for each subset that was found (without it, change in points)."""

    contestant: Contestant
    everything: say.Value
    without: tuple[tuple[say.Value, say.Value], ...]


@dataclass(frozen=True, slots=True)
class Suspect:
    """One label to look at."""

    thumbnail: Thumbnail
    given: str
    suggested: str
    quality: str
    agree: str
    alt: str
    path: str


@dataclass(frozen=True, slots=True)
class Suspects:
    """The gallery of label suspects, or the state that says why there is none."""

    state: str
    sign: str
    why: str
    judges: tuple[str, ...]
    pictures: int
    total: int
    shown: tuple[Suspect, ...]

    @property
    def more(self) -> int:
        """Number of suspects that are not shown."""
        return self.total - len(self.shown)


@dataclass(frozen=True, slots=True)
class Honest:
    """The section. `columns` are the subsets of the table; without any there is no table."""

    known: bool
    doubts: tuple[Doubt, ...]
    columns: tuple[Doubt, ...]
    effects: tuple[Effect, ...]
    suspects: Suspects


def honest(study: Study, picture: Callable[[str], Thumbnail], most: int = MOST_SUSPECTS) -> Honest:
    """Return the section for `study` with at most `most` suspects; `picture` gives the thumbnail of a content hash."""
    entries = list((study.comparison or {}).get("subsets", []))
    marked = [entry for entry in entries if entry.get("state") in ("found", "not applicable")]
    if len(marked) <= 2:  # one kind, and all of these: the same once more
        entries = [entry for entry in entries if entry.get("code") != "all"]
    found = [entry for entry in entries if entry.get("state") == "found"]
    return Honest(
        known="subsets" in (study.comparison or {}),
        doubts=tuple(_doubt(entry) for entry in entries),
        columns=tuple(_doubt(entry) for entry in found),
        effects=tuple(_effects(study, found)) if found else (),
        suspects=_suspects(study, picture, min(most, MOST_SUSPECTS)),
    )


def _doubt(entry: Json) -> Doubt:
    state = str(entry.get("state", say.NOT_RECORDED))
    return Doubt(
        code=str(entry.get("code", "")),
        title=str(entry.get("title") or entry.get("code") or say.NOT_RECORDED),
        state=state,
        sign=_STATES.get(state, "○"),
        count=say.count(entry.get("n") or 0),
        sentence=say.glued(str(entry.get("sentence") or "")),
    )


def _effects(study: Study, columns: list[Json]) -> Iterable[Effect]:
    for contestant in study.scored:
        runs = [entry.get("runs", {}).get(contestant.name) or {} for entry in columns]
        yield Effect(
            contestant,
            say.score(contestant.metric("accuracy")),
            tuple((say.score(run.get("without")), say.number(run.get("change"), say.points)) for run in runs),
        )


def _suspects(study: Study, picture: Callable[[str], Thumbnail], most: int) -> Suspects:
    told = study.suspects or {}
    state = str(told.get("state", say.NOT_RECORDED))
    lines = list(told.get("suspects", []))
    rows = {row.key: row for row in study.manifest.part()}
    shown: list[Suspect] = []
    characters = 0
    for line in lines[:most]:
        row = rows.get(str(line["image"]))
        small = picture(row.key) if row else Thumbnail(None, reason="no longer in the manifest")
        characters += len(small.uri or "")
        if characters > MOST_CHARACTERS:
            break
        shown.append(_suspect(line, row, small, study))
    return Suspects(
        state=state,
        sign=_STATES.get(state, "○"),
        why=str(told.get("why") or ""),
        judges=tuple(str(name) for name in told.get("from", [])),
        pictures=int(told.get("pictures", 0)),
        total=len(lines),
        shown=tuple(shown),
    )


def _suspect(line: Json, row: ManifestRow | None, small: Thumbnail, study: Study) -> Suspect:
    given, suggested = (study.names.get(str(line[name]), str(line[name])) for name in ("given", "suggested"))
    agree = f"{line['agree']} of {line['of']} say so"
    quality = say.decimal(float(line["quality"]), 2)
    part = _SPOKEN.get(str(row.split), "") if row else ""
    return Suspect(
        thumbnail=small,
        given=given,
        suggested=suggested,
        quality=quality,
        agree=agree,
        alt=f"labelled {given}, suggested {suggested}; {agree}; label quality {quality}{f'; {part} picture' if part else ''}",
        path="/".join(row.path.replace("\\", "/").split("/")[-3:]) if row else str(line["image"]),
    )
