"""Kinds of contestants: every model a dot, what their means differ by, and which kind is better at which class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from fieldguide.report import both_readings, say
from fieldguide.report.charts import Axis, axis_for, heat
from fieldguide.report.dots import Dot, row, ruler
from fieldguide.report.read import Contestant, Json, Study
from fieldguide.report.say import Value
from fieldguide.report.scatter import lowest

#: Most classes of the table by kind; beyond it the hardest are shown.
MOST_CLASSES = 200
#: Most classes that are listed for two models.
MOST_FINDINGS = 30
_OUTCOMES = {"a better": ("better", "▲"), "b better": ("worse", "▼"), "too few models to tell": ("few", "?")}


@dataclass(frozen=True, slots=True)
class Member:
    """One model of a kind with its number in the leaderboard."""

    number: int
    contestant: Contestant
    accuracy: Value


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: its name, its models best first, the row of dots, and the mean, which never stands without them."""

    code: str
    name: str
    members: tuple[Member, ...]
    dots: Markup
    mean: Value
    representative: str | None
    compared: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """Two kinds: what the means differ by over pictures, and what the models say."""

    a: str
    b: str
    sizes: str
    difference: Value
    moved: str
    p: Value
    least: str
    shade: str
    sign: str
    outcome: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Kinds:
    """The section on kinds."""

    known: bool
    kinds: tuple[Kind, ...]
    ruler: Markup
    pairs: tuple[Pair, ...]


def kinds(study: Study) -> Kinds:
    """Return the section for `study`; without ``kinds.json`` nothing is known."""
    told = study.kinds
    if not told or not study.scored:
        return Kinds(False, (), Markup(""), ())
    numbers = {contestant.name: (number, contestant) for number, contestant in enumerate(study.scored, start=1)}
    axis = _axis(told["kinds"], study)
    shown = []
    for entry in told["kinds"]:
        members = tuple(
            Member(*numbers[run], say.score(numbers[run][1].metric("accuracy"))) for run in entry["runs"] if run in numbers
        )
        dots = [
            Dot(m.contestant.name, m.number, m.contestant.slot, m.accuracy.number)
            for m in members
            if m.accuracy.number is not None
        ]
        mean = Value(say.percent(entry["mean"]), entry["mean"], f"of {len(entry['runs'])}")
        name = entry["name"] if len(entry["runs"]) == 1 else entry["plural"]
        picture = row(axis, dots, entry["mean"]) if dots else Markup("")
        shown.append(Kind(entry["kind"], name, members, picture, mean, entry.get("representative"), bool(entry["compared"])))
        shown += _filtered(shown[-1], axis, study)
    names = {entry["kind"]: (entry["name"], entry["plural"]) for entry in told["kinds"]}
    pairs = sorted(told["pairs"], key=lambda entry: (entry.get("p_holm") is None, entry["n_a"] + entry["n_b"] == 2))
    return Kinds(True, tuple(shown), ruler(axis), tuple(_pair(entry, names) for entry in pairs))


def _filtered(kind: Kind, axis: Axis, study: Study) -> list[Kind]:
    """Return the same models under the filtered reading, where any of them answers in words: shown beside, and not compared."""
    if not any(both_readings.counts_of(study, member.contestant) for member in kind.members):
        return []
    members = tuple(replace(m, accuracy=say.score(both_readings.accuracy(study, m.contestant))) for m in kind.members)
    known = [(m, m.accuracy.number) for m in members if m.accuracy.number is not None]
    if not known:
        return []
    mean = sum(number for _, number in known) / len(known)
    dots = [Dot(m.contestant.name, m.number, m.contestant.slot, number) for m, number in known]
    value = Value(say.percent(mean), mean, f"of {len(known)}")
    return [Kind(kind.code, f"{kind.name}, filtered", members, row(axis, dots, mean), value, None, compared=False)]


def _axis(entries: Sequence[Json], study: Study) -> Axis:
    """Return an axis for the models that are compared; what lies far below stands at its edge."""
    compared = {run for entry in entries if entry["compared"] for run in entry["runs"]}
    known = {c.name: v for c in study.scored if (v := (c.metric("accuracy") or {}).get("value")) is not None}
    accuracies = [v for name, v in known.items() if name in compared] or list(known.values())
    filtered = [both_readings.accuracy(study, c) for c in study.scored if both_readings.counts_of(study, c)]
    accuracies += [score["value"] for score in filtered if score and score.get("value") is not None]
    end = lowest(accuracies) if accuracies else 0.0
    return axis_for([v for v in accuracies if v >= end])


def _pair(entry: Json, names: Mapping[str, tuple[str, str]]) -> Pair:
    n_a, n_b = entry["n_a"], entry["n_b"]
    a, b = (names[entry[side]][n > 1] for side, n in (("a", n_a), ("b", n_b)))
    low, high = say.points(entry["low"]), say.points(entry["high"])
    moved = (
        f"{say.points(entry['without_least'])} to {say.points(entry['without_most'])}" if n_a + n_b > 2 else say.NOT_APPLICABLE
    )
    shade, sign = _OUTCOMES.get(entry["outcome"], ("same", "≈"))
    holm = entry.get("p_holm")
    return Pair(
        a=a,
        b=b,
        sizes=f"{n_a} and {n_b}",
        difference=Value(say.points(entry["difference"]), entry["difference"], f"[{low}, {high}]"),
        moved=moved,
        p=Value(say.p_value(entry["p"]), entry["p"], "" if holm is None else f"after Holm {say.p_value(holm)}"),
        least=say.p_value(entry["p_least"]),
        shade=f"{shade}3" if shade in ("better", "worse") else shade,
        sign=sign,
        outcome={"better": "first better", "worse": "second better"}.get(shade, str(entry["outcome"])),
        sentence=_sentence(entry, a, b),
    )


def _sentence(entry: Json, a: str, b: str) -> str:
    n_a, n_b = entry["n_a"], entry["n_b"]
    one, other = (f"the {name}" if n == 1 else f"{name} ({n})" for name, n in ((a, n_a), (b, n_b)))
    if n_a == n_b == 1:
        return (
            f"{_capital(one)} against {other}: that compares two models, as the matrix above does, and says nothing of kinds."
        )
    told = (
        f"{_capital(one)} {'lies' if n_a == 1 else 'lie'} {say.points(abs(entry['difference']), signed=False)} points "
        f"{'above' if entry['difference'] >= 0 else 'below'} {other} on average; with other pictures these very models would differ by "
        f"{say.points(entry['low'])} to {say.points(entry['high'])} points (95 %). "
    )
    least = say.p_value(entry["p_least"])
    if entry.get("p_holm") is None:
        return f"{told}Whether the kinds differ, {n_a + n_b} models cannot tell: however they came out, p could not be below {least}."
    p = f"p = {say.p_value(entry['p'])}" if entry["p"] >= 0.001 else "p < 0.001"
    verdict = {
        "a better": f"more than chance would give among these models, {a} better",
        "b better": f"more than chance would give among these models, {b} better",
        "too few models to tell": "too few models to tell once all pairs of kinds are counted",
    }.get(entry["outcome"], "not distinguishable from chance")
    return (
        f"{told}Dealing the names of the kinds out at random among the {n_a + n_b} models gives a difference this large with {p} (the "
        f"smallest possible is {least}): {verdict}."
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


# --- class by class -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    """Mean recall of one kind on one class; the title tells every member's range, `sign` what the tests found."""

    text: str
    number: float
    level: int
    note: str
    title: str
    sign: str


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class."""

    id: str
    n: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class ByClass:
    """The section: `findings` are sentences that hold, `summary` what was tested and what came of it."""

    known: bool
    kinds: tuple[tuple[str, str], ...]
    rows: tuple[ClassRow, ...]
    more: int
    findings: tuple[str, ...]
    summary: str
    standing: tuple[tuple[str, str], ...]


def by_class(study: Study) -> ByClass:
    """Return the table of classes and kinds for `study`, and what of it pictures carry."""
    told = study.kinds
    if not told:
        return ByClass(False, (), (), 0, (), "", ())
    entries = told["kinds"]
    names = {entry["kind"]: entry["name"] if len(entry["runs"]) == 1 else entry["plural"] for entry in entries}
    tests = told["by_class"]
    held = [test for test in tests["tests"] if test["holds"]]
    signs = _signs(held)
    spoken = _spoken(entries, study)
    ordered = sorted(told["classes"], key=lambda entry: (sum(entry["kinds"][kind]["mean"] for kind in names), entry["id"]))
    rows = [_class_row(entry, names, signs, spoken) for entry in ordered]
    compared = [entry for entry in entries if entry["compared"]]
    return ByClass(
        known=True,
        kinds=tuple(
            one
            for entry in entries
            for name in [names[entry["kind"]]]
            for one in [(name, f"{len(entry['runs'])}"), *([(f"{name}, filtered", "")] if entry["kind"] in spoken else [])]
        ),
        rows=tuple(rows[:MOST_CLASSES]),
        more=max(0, len(rows) - MOST_CLASSES),
        findings=tuple(_findings(held, entries, study)),
        summary=_summary(tests, len(held), told["alpha"]),
        standing=tuple(
            (names[entry["kind"]], str(entry["representative"])) for entry in compared if entry.get("representative")
        ),
    )


def _signs(held: Sequence[Json]) -> dict[tuple[str, str], str]:
    """Return the sign of each class and kind: better or worse than some other kind, or both."""
    found: dict[tuple[str, str], str] = {}
    for test in held:
        better, worse = (test["a"], test["b"]) if test["only_a"] > test["only_b"] else (test["b"], test["a"])
        for kind, sign in ((better, "▲"), (worse, "▼")):
            old = found.get((test["class"], kind), "")
            found[test["class"], kind] = old if sign in old else old + sign
    return found


def _spoken(entries: Sequence[Json], study: Study) -> dict[str, list[dict[str, float | None]]]:
    """Return, for each kind of which a model answers in words, the filtered recalls of its models by class."""
    known = {c.name: c for c in study.scored}
    found = {}
    for entry in entries:
        members = [known[run] for run in entry["runs"] if run in known]
        if any(both_readings.counts_of(study, member) for member in members):
            found[entry["kind"]] = [both_readings.recalls(study, member) for member in members]
    return found


def _filtered_cell(id: str, name: str, recalls: Sequence[Mapping[str, float | None]]) -> Cell:
    shares = [share for own in recalls if (share := own.get(id)) is not None]
    if not shares:
        return Cell(
            say.NOT_APPLICABLE, -1.0, 0, "", f"{name}, filtered: no answer about its pictures is a name of the list", ""
        )
    mean, spread = sum(shares) / len(shares), ""
    if min(shares) < max(shares):
        spread = f"{say.points(min(shares), False)}–{say.points(max(shares), False)}"
    return Cell(say.points(mean, False), mean, heat(mean), spread, f"{name}, filtered: mean recall {say.percent(mean)}", "")


def _class_row(
    entry: Json,
    names: Mapping[str, str],
    signs: Mapping[tuple[str, str], str],
    spoken: Mapping[str, Sequence[Mapping[str, float | None]]],
) -> ClassRow:
    cells = []
    for kind, name in names.items():
        recall = entry["kinds"][kind]
        spread = (
            f"{say.points(recall['least'], False)}–{say.points(recall['most'], False)}"
            if recall["least"] < recall["most"]
            else ""
        )
        title = f"{name}: mean recall {say.percent(recall['mean'])}" + (f", models from {spread}" if spread else "")
        sign = signs.get((entry["id"], kind), "")
        title += {"▲": "; better than another kind’s choice", "▼": "; worse than another kind’s choice"}.get(sign, "")
        cells.append(Cell(say.points(recall["mean"], False), recall["mean"], heat(recall["mean"]), spread, title, sign))
        if kind in spoken:
            cells.append(_filtered_cell(entry["id"], name, spoken[kind]))
    return ClassRow(entry["id"], entry["n"], tuple(cells))


def _findings(held: Sequence[Json], entries: Sequence[Json], study: Study) -> list[str]:
    """Return one sentence for each two models of which one is better at some class, the most certain class first."""
    known = {entry["kind"]: entry for entry in entries}
    found: dict[tuple[str, str], list[str]] = {}
    for test in held:
        better, worse = ("a", "b") if test["only_a"] > test["only_b"] else ("b", "a")
        told = f"{study.names.get(test['class'], test['class'])} ({test[f'only_{better}']} : {test[f'only_{worse}']}, q {_below(test['q'])})"
        found.setdefault((test[better], test[worse]), []).append(told)
    sentences = []
    for (better, worse), classes in found.items():
        one, other = (f"{known[kind]['representative']} ({known[kind]['name']})" for kind in (better, worse))
        shown = "; ".join(classes[:MOST_FINDINGS]) + (
            f"; and {len(classes) - MOST_FINDINGS} more" if len(classes) > MOST_FINDINGS else ""
        )
        sentences.append(f"{one} is better than {other} at {shown}.")
    return sentences


def _below(q: float) -> str:
    return f"= {say.p_value(q)}" if q >= 0.001 else "< 0.001"


def _summary(tests: Json, held: int, alpha: float) -> str:
    if tests.get("why"):
        return f"Not tested: {tests['why']}."
    tested, few, least = tests["tested"], tests["few"], tests["least"]
    start = f"Of {tested + few:,} pairs of kinds and classes, {few:,} have fewer than {least} pictures that set the two models apart"
    if not tested:
        return f"{start}: too few pictures to tell for any class. No statement that one kind is better at a class is carried by these pictures."
    rest = f"{start} (too few to tell); {tested:,} {'was' if tested == 1 else 'were'} tested"
    if not held:
        return f"{rest}, and none holds: no statement that one kind is better at a class is carried by these pictures."
    hold = "holds" if held == 1 else "hold"
    return (
        f"{rest}, and {held:,} {hold} when at most {100 * alpha:.0f} % of such findings may be false. In brackets: pictures only the first has "
        "right, and only the second."
    )
