"""The section on language models that were taught to count: before and after on the same test pictures, and format apart from recognition.

What it shares with the section of classes is in `taught`; here is what only counts have: errors, kinds of unusable answers, classes, and
pictures whose answer changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from fieldguide.records import ManifestRow
from fieldguide.report import say
from fieldguide.report.counting import Picture, Shot, number, off_by, shot
from fieldguide.report.prompted_files import change, share, whole
from fieldguide.report.read import Contestant, Json, Study
from fieldguide.report.say import Value
from fieldguide.report.taught import Couple, Row, Taught, Terms, as_object, taught
from fieldguide.tasks.count_reading import KINDS

#: Pictures of a couple that are shown: those that teaching made exact, and, of them, at most so many that it spoilt.
MOST_PICTURES, MOST_SPOILT = 6, 2
#: Classes of a couple that are shown: those whose share of exact counts changed most.
MOST_CLASSES = 20
COUNTS = Terms(
    label="readable counts",
    no_label="nothing readable",
    labels="hold readable counts",
    right="exact",
    knew="had the right counts before, among other words",
    knows="Whether the model could count the others its words do not tell",
    tells="the same model held to the form does",
    held={"choice": "held to the form"},
    ways={
        "text": "Exact: the right text",
        "counts": "Exact: the right counts",
        "prose": "Right counts, among other words, too",
    },
    lead=(
        "A gain has two parts that add up: format, on pictures of which only one side has readable counts, and recognition, on those of "
        "which both have."
    ),
    scores="Points of exact test answers",
    caption=(
        "The test part before and after; in bold what both are scored by. An error on both is over the pictures that both have counts of, the "
        "others over those that each has counts of."
    ),
    what="What",
    change="Change",
    looks="share of validation answers that are exact",
)
#: The same where an answer has to be the right text: then right counts in another text are lost by format, too.
TEXTS = replace(
    COUNTS,
    label="counts that are no matter of form",
    no_label="nothing readable, or another text for the right counts,",
    labels="can be told right from wrong by their counts",
    knew="had the right counts before, in another text",
    lead=(
        "A gain has two parts that add up: format, on pictures of which one side has nothing readable, or the right counts in another text; "
        "and recognition, on all others."
    ),
)
_NEARER = {"nearer": "really nearer after", "further off": "really further off after"}


@dataclass(frozen=True, slots=True)
class ClassChange:
    """One class: share of exact counts and mean error, before and after."""

    name: str
    exact: tuple[Value, Value]
    mae: tuple[Value, Value]


@dataclass(frozen=True, slots=True)
class Counted:
    """What only counts have of a couple: why answers were no counts (kind, before, after), classes, and changed pictures."""

    couple: Couple
    kinds: tuple[tuple[str, str, str], ...]
    classes: tuple[ClassChange, ...]
    shots: tuple[Shot, ...]


@dataclass(frozen=True, slots=True)
class CountingTaught:
    """The section: what it shares with that of classes, and the couples with what counts add."""

    shared: Taught
    couples: tuple[Counted, ...]


def counting_taught(study: Study, picture: Picture, most: int = MOST_PICTURES) -> CountingTaught | None:
    """Return the section, or `None` where no language model was taught; at most `most` pictures stand under each couple."""
    by_text = any((one.test or {}).get("exact_is") == "text" for one in study.scored)
    found = taught(study, TEXTS if by_text else COUNTS)
    if found is None:
        return None
    told = [as_object(one) for one in (study.before_after or {}).get("pairs") or ()]
    by_names = {(one.get("before"), one.get("after")): one for one in told}
    couples = tuple(
        _more(study, picture, most, with_errors(one, by_names[one.before.name, one.after.name])) for one in found.couples
    )
    return CountingTaught(replace(found, couples=tuple(one.couple for one in couples)), couples)


def with_errors(couple: Couple, told: Json) -> Couple:
    """Return `couple` with rows and a sentence about errors."""
    sides = (couple.before, couple.after)
    rows = [*couple.rows, _scored("Readable", sides, "parsed"), *_on_both(as_object(told.get("errors")))]
    rows += [
        _scored(name, sides, metric, points=False)
        for name, metric in (("Mean error of a count", "mae"), ("Error of what all are worth", "value_mae"))
    ]
    shown = tuple(row for row in rows if not (row.before.absent and row.after.absent))
    return replace(couple, rows=shown, told=(*couple.told, *_nearer(as_object(told.get("errors")))))


def _scored(name: str, sides: tuple[Contestant, Contestant], metric: str, points: bool = True) -> Row:
    entries = [one.metric(metric) for one in sides]
    before, after = ((say.score(one) if points else number(one)) for one in entries)
    return Row(name, before, after, _change(before, after, points), main=False)


def _change(before: Value, after: Value, points: bool) -> Value:
    if before.number is None or after.number is None:
        return Value(say.NOT_APPLICABLE, title="needs both")
    gap = after.number - before.number
    return Value(say.points(gap), gap) if points else number({"value": gap}, signed=True)


def _on_both(errors: Json) -> Iterator[Row]:
    """Yield the row of mean errors on the pictures that both have counts of, with the interval of their difference."""
    n, ends = whole(errors.get("n")), [errors.get(side) for side in ("before", "after")]
    if not n or not all(isinstance(one, int | float) for one in ends):
        return
    before, after = (number({"value": float(one), "n": n}) for one in ends)  # type: ignore[arg-type]
    bounds = {name: errors.get(name) for name in ("low", "high")}
    yield Row(
        "Mean error on both", before, after, number({"value": errors.get("difference"), "n": n, **bounds}, signed=True), False
    )


def _nearer(errors: Json) -> Iterator[str]:
    n, p, gap = whole(errors.get("n")), share(errors.get("p_holm")), change(errors.get("difference"))
    if n and errors.get("outcome") and p is not None and gap is not None:
        outcome = _NEARER.get(str(errors["outcome"]), str(errors["outcome"]))
        yield f"On the {say.count(n)} pictures that both have counts of: {outcome} ({say.p_value(p)} in Wilcoxon’s signed-rank test, after Holm)."


def _more(study: Study, picture: Picture, most: int, couple: Couple) -> Counted:
    sides = (couple.before, couple.after)
    kinds = [(one.test or {}).get("kinds") or {} for one in sides]
    names = sorted({*kinds[0], *kinds[1]}, key=lambda kind: (-kinds[0].get(kind, 0), -kinds[1].get(kind, 0), kind))
    shown = ((KINDS.get(str(kind), "failed otherwise"), *(say.count(one.get(kind, 0)) for one in kinds)) for kind in names)
    return Counted(
        couple,
        tuple((name, before, after) for name, before, after in shown),
        tuple(_classes(study, sides)),
        tuple(_changed(study, picture, sides, min(most, MOST_PICTURES))),
    )


def _classes(study: Study, sides: tuple[Contestant, Contestant]) -> list[ClassChange]:
    tables = [{str(one["id"]): one for one in (side.test or {}).get("per_class", ())} for side in sides]
    found = []
    for info in study.classes:
        before, after = (table.get(info.id) for table in tables)
        if before is not None and after is not None:
            exact, mae = (
                (say.score(before["exact"]), say.score(after["exact"])),
                (number(before["mae"]), number(after["mae"])),
            )
            found.append(ClassChange(info.name, exact, mae))
    found.sort(key=lambda one: -abs((one.exact[1].number or 0.0) - (one.exact[0].number or 0.0)))
    return found[:MOST_CLASSES]


def _changed(study: Study, picture: Picture, sides: tuple[Contestant, Contestant], most: int) -> Iterable[Shot]:
    """Yield pictures of which only one side has the right counts: those that were won, and some that were lost."""
    rows = list({row.key: row for row in study.manifest.part("test")}.values())
    won, lost = ([row for row in rows if _only(row, a, b)] for a, b in (sides[::-1], sides))
    spoilt = min(len(lost), MOST_SPOILT, most)
    for row in won[: most - spoilt]:
        yield shot(study, picture, row, "exact only after", sides)
    for row in lost[:spoilt]:
        yield shot(study, picture, row, "exact only before", sides)


def _only(row: ManifestRow, one: Contestant, other: Contestant) -> bool:
    return off_by(one, row) == 0 and off_by(other, row) != 0
