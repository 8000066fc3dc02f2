"""Why might they be wrong? Each hypothesis beside each contestant, and the tags under the pictures of the gallery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report import say
from fieldguide.report.charts import dumbbell
from fieldguide.report.read import Contestant, Json, Study

#: Up to so many contestants every cell has room for its interval; beyond, it stands in the list.
ROOMY = 6
#: Most rates in the list.
MOST_RATES = 400
_KINDS = {"more among errors": "more", "less among errors": "less", "not distinguishable": "same"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One hypothesis at one contestant: `kind` is ``more``, ``less``, ``same``, ``few`` or ``none``, `level` how strong, 1 to 5."""

    kind: str
    points: str = ""
    shares: str = ""
    bounds: str = ""
    bar: Markup | None = None
    level: int = 0
    title: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One hypothesis; `cells` stand in the order of the contestants, and are empty where it has no rates."""

    position: int
    title: str
    says: str
    why: str
    marked: int
    judged: int
    by_hand: int
    figure: int | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Rate:
    """One line of the list."""

    cause: str
    run: str
    errors: str
    right: str
    error_share: float | None
    right_share: float | None
    difference: float | None
    points: str
    bounds: str
    p: str
    p_number: float | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Causes:
    """The section; `named` are the sentences on what is met more often among errors, the strongest first."""

    contestants: tuple[Contestant, ...]
    rows: tuple[Row, ...]
    rates: tuple[Rate, ...]
    more: int
    named: tuple[str, ...]
    tested: int
    measured: int
    tests: int
    alpha: float
    by_hand: int
    unused: tuple[str, ...]

    @property
    def roomy(self) -> bool:
        """Whether cells have room for an interval."""
        return len(self.contestants) <= ROOMY


@dataclass(frozen=True, slots=True)
class Tag:
    """One cause under a picture; `detail` says which class is meant, where one is."""

    position: int
    title: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Tags:
    """What is said under one picture."""

    tags: tuple[Tag, ...] = ()
    by_hand: bool = False
    note: str = ""


def causes(study: Study, figures: Mapping[int, int]) -> Causes | None:
    """Return the section of `study`; `None` where ``causes.json`` is not there.

    `figures` has the first figure of the gallery that carries a cause, by the cause's position.
    """
    told = study.causes
    if told is None or not study.scored:
        return None
    titles = {cause["name"]: cause["title"] for cause in told["causes"]}
    rates = {(rate["cause"], rate["run"]): rate for rate in told["rates"] if rate["cause"] in titles}
    rows = tuple(_row(position, cause, study, rates, figures.get(position)) for position, cause in enumerate(told["causes"]))
    names = {contestant.name for contestant in study.scored}
    lines = [_rate(rate, titles) for rate in rates.values() if rate["run"] in names]
    return Causes(
        contestants=study.scored,
        rows=rows,
        rates=tuple(lines[:MOST_RATES]),
        more=max(0, len(lines) - MOST_RATES),
        named=_named(study, rates, titles),
        tested=sum(rate["p_fdr"] is not None for rate in rates.values()),
        measured=told["pictures_measured"],
        tests=len(study.manifest.part("test")),
        alpha=told["alpha"],
        by_hand=told["by_hand"],
        unused=tuple(told["unused"]),
    )


def tags_of(study: Study, key: str) -> Tags:
    """Return what is said of the picture `key`, causes in the order of the section."""
    told = study.causes or {}
    tag = told.get("pictures", {}).get(key)
    if tag is None:
        return Tags()
    found = []
    for position, cause in enumerate(told["causes"]):
        if cause["name"] in tag["causes"]:
            near = tag["near"].get(cause["name"])
            found.append(Tag(position, cause["title"], study.names.get(near, near) if near else ""))
    return Tags(tuple(found), tag["by_hand"], tag["note"])


def _row(position: int, cause: Json, study: Study, rates: Mapping[tuple[str, str], Json], figure: int | None) -> Row:
    above = (study.comparison or {}).get("above_chance") or {}
    cells = tuple(_cell(cause, c, rates, above.get(c.name, True)) for c in study.scored) if cause["state"] == "found" else ()
    why = {"fine": "no test picture has it", "not applicable": cause["why"] or say.NOT_APPLICABLE}.get(cause["state"], "")
    judged, marked = cause["judged"], cause["marked"]
    return Row(position, cause["title"], cause["says"], why, marked, judged, cause["by_hand"], figure, cells)


def _cell(cause: Json, contestant: Contestant, rates: Mapping[tuple[str, str], Json], above_chance: bool) -> Cell:
    rate = rates.get((cause["name"], contestant.name))
    if rate is None:
        why = say.NOT_RECORDED if above_chance else "not above chance, so its errors say nothing of the pictures"
        return Cell("none", title=f"{cause['title']}, {contestant.name}: {why}")
    counts = f"{rate['marked_errors']} of {rate['errors']} errors, {rate['marked_right']} of {rate['right']} right answers"
    head = f"{cause['title']}, {contestant.name}: {counts}"
    if rate["p_fdr"] is None:
        return Cell("few", title=f"{head}; {rate['outcome']}")
    told = _rate(rate, {})
    kind = _KINDS.get(rate["outcome"], "same")
    level = min(5, 1 + int(abs(rate["difference"]) * 100 // 8)) if kind in ("more", "less") else 0
    error_share, right_share = rate["marked_errors"] / rate["errors"], rate["marked_right"] / rate["right"]
    return Cell(
        kind,
        told.points,
        f"{100 * error_share:.0f}{say.NBSP}% : {100 * right_share:.0f}{say.NBSP}%",
        told.bounds,
        dumbbell(right_share, error_share, head),
        level,
        f"{head}; {told.points} points {told.bounds}, p after Benjamini-Hochberg {told.p}; {rate['outcome']}",
    )


def _rate(rate: Json, titles: Mapping[str, str]) -> Rate:
    known = rate["difference"] is not None
    return Rate(
        cause=titles.get(rate["cause"], rate["cause"]),
        run=rate["run"],
        errors=f"{rate['marked_errors']} of {rate['errors']}",
        right=f"{rate['marked_right']} of {rate['right']}",
        error_share=rate["marked_errors"] / rate["errors"] if rate["errors"] else None,
        right_share=rate["marked_right"] / rate["right"] if rate["right"] else None,
        difference=rate["difference"],
        points=say.points(rate["difference"]) if known else say.NOT_APPLICABLE,
        bounds=f"[{say.points(rate['low'])}, {say.points(rate['high'])}]" if known else "",
        p=say.NOT_APPLICABLE if rate["p_fdr"] is None else say.p_value(rate["p_fdr"]),
        p_number=rate["p_fdr"],
        outcome=rate["outcome"],
    )


def _named(study: Study, rates: Mapping[tuple[str, str], Json], titles: Mapping[str, str]) -> tuple[str, ...]:
    """Return one sentence for each hypothesis that is met more often among somebody's errors, the largest difference first."""
    names = [contestant.name for contestant in study.scored]
    found: dict[str, list[Json]] = {}
    for rate in rates.values():
        if rate["outcome"] == "more among errors" and rate["run"] in names:
            found.setdefault(rate["cause"], []).append(rate)
    sentences = []
    for cause, several in sorted(found.items(), key=lambda item: -max(rate["difference"] for rate in item[1])):
        best = max(several, key=lambda rate: rate["difference"])
        errors, right = best["marked_errors"] / best["errors"], best["marked_right"] / best["right"]
        told = f"{say.percent(errors)} of the errors of {best['run']}, {say.percent(right)} of its right answers"
        others = len(several) - 1
        more = "" if not others else f"; also at {others} other contestant{'' if others == 1 else 's'}"
        sentences.append(f"{titles[cause]}: {told}{more}.")
    return tuple(sentences)
