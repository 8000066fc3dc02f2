"""Before and after: two runs of one network, class by class. Which classes rose to the top, left the ground, or got worse."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.evaluate.pairs import mcnemar
from fieldguide.report import both_readings, say
from fieldguide.report.board import mirrored
from fieldguide.report.read import Contestant, Json, Study
from fieldguide.report.slope_chart import Trace, slope_chart

#: Most pairs that are drawn, and most lines of all their charts together: the rest can be chosen in the browser.
MOST_PAIRS, MOST_LINES = 24, 6_000
#: Most recalls that the page carries so that any two contestants can be chosen, most pairs of them, and most rows of a table.
MOST_RECALLS, MOST_CHOICES, MOST_ROWS = 20_000, 800, 120
MOST_NAMED = 12
_SIGNS = {"better": "▲", "worse": "▼", "same": "＝"}
#: Where families write down which network they use.
_NETWORK = ("model", "features", "encoder", "network")
#: What ``linear`` looks at without a network.
_PLAIN = frozenset({"pixels", "colour"})


@dataclass(frozen=True, slots=True)
class Line:
    """One class: recall before and after, and how many of its `n` pictures were gained and lost (`None`: answers not recorded)."""

    id: str
    name: str
    n: int
    before: float
    after: float
    gained: int | None
    lost: int | None
    real: bool = False

    @property
    def kind(self) -> str:
        """``better``, ``worse`` or ``same``."""
        return "same" if self.after == self.before else "better" if self.after > self.before else "worse"

    @property
    def sign(self) -> str:
        """The kind once more, in form."""
        return _SIGNS[self.kind]

    @property
    def words(self) -> str:
        """The change as it stands behind a name: ``44.4 % → 88.9 %``."""
        return f"{say.percent(self.before)} → {say.percent(self.after)}"

    @property
    def points(self) -> str:
        """The change in percentage points."""
        return say.points(self.after - self.before)

    @property
    def moved(self) -> str:
        """Pictures gained and lost."""
        return say.NOT_RECORDED if self.gained is None else f"+{self.gained} {say.MINUS}{self.lost}"


@dataclass(frozen=True, slots=True)
class Named:
    """A list of classes under a heading; `more` are left out."""

    title: str
    lines: tuple[Line, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Filtered:
    """The same two where answers that are no name of the list are left out; `out` classes have none that is, on one side or both."""

    chart: Markup
    accuracies: tuple[say.Value, say.Value]
    out: int
    traces: tuple[Trace, ...]


@dataclass(frozen=True, slots=True)
class Slope:
    """Two runs: `apart` says what is different between them, `sentence` what the whole test part says, `doubt` the single classes."""

    before: Contestant
    after: Contestant
    network: str
    apart: str
    accuracies: tuple[say.Value, say.Value]
    points: str
    outcome: str
    sentence: str
    doubt: str
    lines: tuple[Line, ...]
    counts: Mapping[str, int]
    lists: tuple[Named, ...]
    chart: Markup
    filtered: Filtered | None = None

    @property
    def rows(self) -> tuple[Line, ...]:
        """The lines of the table, those that changed most first."""
        return tuple(sorted(self.lines, key=lambda line: (-abs(line.after - line.before), line.id)))[:MOST_ROWS]


@dataclass(frozen=True, slots=True)
class Choices:
    """What the browser needs to draw any two: recalls by contestant in class order, and the sentence of each pair."""

    contestants: tuple[tuple[str, str, str], ...]
    classes: tuple[str, ...]
    pairs: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True, slots=True)
class Slopes:
    """The section: pairs that were found, how many more there are, and what can be chosen."""

    pairs: tuple[Slope, ...]
    more: int
    choices: Choices | None


def slopes(study: Study) -> Slopes:
    """Return the section for `study`: every two scored contestants that use one network in two ways."""
    found = couples(study)
    most = max(3, min(MOST_PAIRS, MOST_LINES // max(1, len(study.classes))))
    drawn = [slope(study, before, after) for before, after in found[:most]]
    pairs = tuple(pair for pair in drawn if pair.lines)
    return Slopes(pairs, len(found) - len(pairs), _choices(study))


def couples(study: Study) -> list[tuple[Contestant, Contestant]]:
    """Return (before, after) for every two scored contestants of one network, those that differ in what was trained first.

    Before is what was trained less: from scratch, then a frozen network, its head, some blocks, all of it; where that is the same,
    the one that was asked for first.
    """
    asked = [entry.get("name") if isinstance(entry, Mapping) else entry for entry in study.asked.get("contestants") or ()]
    place = {name: position for position, name in enumerate(asked)}
    groups: dict[str, list[Contestant]] = {}
    for contestant in study.scored:
        if network := network_of(contestant):
            groups.setdefault(network, []).append(contestant)
    found = []
    for group in groups.values():
        ordered = sorted(group, key=lambda c: (_stage(c), place.get(c.name, len(place)), c.name))
        found += list(itertools.combinations(ordered, 2))
    return sorted(found, key=lambda pair: _stage(pair[0]) == _stage(pair[1]))


def network_of(contestant: Contestant) -> str | None:
    """Return the name of the network a contestant uses, without the tag of its weights; `None` where it uses none."""
    value = next((contestant.settings[key] for key in _NETWORK if key in contestant.settings), None)
    if not isinstance(value, str) or not value or (contestant.family == "linear" and value in _PLAIN):
        return None
    if value == "own":  # a shape of one's own is told from another by its size
        size = (contestant.cost or {}).get("parameters")
        return None if size is None else f"{contestant.family} of {say.count(size)} parameters"
    return value if "/" in value else value.partition(".")[0]


def _stage(contestant: Contestant) -> tuple[bool, int]:
    train = str(contestant.settings.get("train", "all"))
    depths = {"vlm_prompt": 0, "dual_encoder": 0, "linear": 1, "text_adapter": 1}
    depth = depths.get(contestant.family, 2 if train == "head" else 4 if train == "all" else 3)
    return contestant.settings.get("weights") != "none", depth


def _manner(contestant: Contestant) -> str:
    known = {
        "vlm_prompt": "prompted",
        "vlm_lora": "LoRA",
        "linear": "frozen features",
        "text_adapter": "adapter on a frozen network",
    }
    fresh = contestant.settings.get("weights") == "none"
    if contestant.family in known:
        return known[contestant.family] + (", random weights" if fresh and contestant.family == "linear" else "")
    train = str(contestant.settings.get("train", ""))
    if not train:
        return contestant.family
    part = {"all": "all layers", "head": "head only"}.get(train, train)
    return "from scratch" + ("" if train == "all" else f", {part}") if fresh else f"fine-tuned, {part}"


def _apart(before: Contestant, after: Contestant) -> str:
    """Return what is different: how the network was used, or else the settings that differ."""
    one, two = _manner(before), _manner(after)
    if one != two:
        return f"{one} → {two}"
    keys = [
        key for key in dict.fromkeys([*before.settings, *after.settings]) if before.settings.get(key) != after.settings.get(key)
    ]
    told = [f"{key} {_short(before.settings.get(key))} → {_short(after.settings.get(key))}" for key in keys[:3]]
    return "; ".join(told) + (f"; and {len(keys) - 3} more settings" if len(keys) > 3 else "") or "the same settings"


def _short(value: object) -> str:
    return "not given" if value is None else say.clean(say.shortened(str(value)), 40)


def slope(study: Study, before: Contestant, after: Contestant) -> Slope:
    """Return `before` against `after`, drawn; without lines where recalls are not recorded."""
    lines = class_lines(study, before, after)
    counts = {kind: sum(line.kind == kind for line in lines) for kind in _SIGNS}
    values = tuple(contestant.metric("accuracy") for contestant in (before, after))
    accuracies = (say.score(values[0]), say.score(values[1]))
    pair = _pair(study, before.name, after.name)
    ends = (accuracies[0].number, accuracies[1].number)
    known = ends[0] is not None and ends[1] is not None
    title = f"Recall of each class, from {before.name} to {after.name}"
    return Slope(
        before=before,
        after=after,
        network=network_of(after) or "",
        apart=_apart(before, after),
        accuracies=accuracies,
        points=say.points((ends[1] or 0.0) - (ends[0] or 0.0)) if known else say.NOT_RECORDED,
        outcome=_outcome(pair),
        sentence=_sentence(pair, before.name, after.name),
        doubt=_doubt(lines, (study.comparison or {}).get("alpha") or 0.05),
        lines=lines,
        counts=counts,
        lists=_lists(lines),
        chart=slope_chart(title, [Trace(line.name, line.before, line.after) for line in lines], ends if known else None),
        filtered=_filtered(study, before, after, lines),
    )


def _filtered(study: Study, before: Contestant, after: Contestant, lines: Sequence[Line]) -> Filtered | None:
    """Return the same under the filtered reading; `None` where neither answers in words."""
    if not (both_readings.counts_of(study, before) or both_readings.counts_of(study, after)):
        return None
    one, two = both_readings.recalls(study, before), both_readings.recalls(study, after)
    traces = [
        Trace(line.name, was, now)
        for line in lines
        if (was := one.get(line.id)) is not None and (now := two.get(line.id)) is not None
    ]
    values = tuple(say.score(both_readings.accuracy(study, c)) for c in (before, after))
    title = f"Filtered recall of each class, from {before.name} to {after.name}"
    chart = slope_chart(title, traces, (values[0].number, values[1].number))
    return Filtered(chart, (values[0], values[1]), len(lines) - len(traces), tuple(traces))


def class_lines(study: Study, before: Contestant, after: Contestant) -> tuple[Line, ...]:
    """Return a line for each class that stands in the test part and has a recall on both sides, in class order."""
    tables = [{entry["id"]: entry for entry in (c.test or {}).get("per_class", [])} for c in (before, after)]
    moved = _moved(study, before, after)
    lines = []
    for info in study.classes:
        one, two = (table.get(info.id) or {} for table in tables)
        recalls = [(entry.get("recall") or {}).get("value") for entry in (one, two)]
        if recalls[0] is None or recalls[1] is None:
            continue
        gained, lost = moved.get(info.id, (0, 0)) if moved is not None else (None, None)
        lines.append(Line(info.id, info.name, int(one.get("n", 0)), recalls[0], recalls[1], gained, lost))
    return _tested(lines, (study.comparison or {}).get("alpha") or 0.05)


def _moved(study: Study, before: Contestant, after: Contestant) -> dict[str, tuple[int, int]] | None:
    """Return for each class how many pictures only `after` and only `before` got right; `None` without answers."""
    if not before.answers or not after.answers:
        return None
    found: dict[str, tuple[int, int]] = {}
    for row in study.manifest.part("test"):
        answers = (contestant.answers.get(row.key) for contestant in (before, after))
        had, has = (answer is not None and answer.label == row.label for answer in answers)
        gained, lost = found.get(row.label, (0, 0))
        found[row.label] = (gained + (has and not had), lost + (had and not has))
    return found


def _tested(lines: Sequence[Line], alpha: float) -> tuple[Line, ...]:
    """Mark the classes whose change holds: exact McNemar in each class, Benjamini and Hochberg (1995) over all of them."""
    from dataclasses import replace

    from scipy.stats import false_discovery_control

    if not lines or any(line.gained is None for line in lines):
        return tuple(lines)
    q = false_discovery_control([mcnemar(line.gained or 0, line.lost or 0) for line in lines])
    return tuple(replace(line, real=bool(value <= alpha)) for line, value in zip(lines, q, strict=True))


def _doubt(lines: Sequence[Line], alpha: float) -> str:
    """Return how much a single class can say."""
    if not lines:
        return ""
    fewest, most = min(line.n for line in lines), max(line.n for line in lines)
    size = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    one = f"A class has {size} test pictures, so one picture moves a line by {'' if fewest == most else 'up to '}"
    one += f"{100 / max(1, fewest):.1f} points. " if fewest else "much. "
    if any(line.gained is None for line in lines):
        return one + "Whether a class changed by more than chance is not known: the answers are not recorded."
    real = [line.name for line in lines if line.real]
    if not real:
        return f"{one}No class alone changed by more than chance (exact tests, false discoveries held at {100 * alpha:g} %)."
    names = ", ".join(real[:6]) + (f" and {len(real) - 6} more" if len(real) > 6 else "")
    verb = "is the class" if len(real) == 1 else f"are the {len(real)} classes"
    return (
        f"{one}{names} {verb} whose change is more than chance (exact tests, false discoveries held at {100 * alpha:g} %); "
        "the others may be chance."
    )


def _lists(lines: Sequence[Line]) -> tuple[Named, ...]:
    def named(title: str, chosen: Iterable[Line]) -> Named:
        every = list(chosen)
        return Named(title, tuple(every[:MOST_NAMED]), max(0, len(every) - MOST_NAMED))

    by_loss = sorted((line for line in lines if line.kind == "worse"), key=lambda line: (line.after - line.before, line.name))
    weakest = sorted(lines, key=lambda line: (line.after, line.name))[: max(3, min(5, len(lines)))]
    return (
        named("Now all right (recall 100 %)", (line for line in lines if line.after == 1 and line.before < 1)),
        named("Left 0", (line for line in lines if line.before == 0 and line.after > 0)),
        named("Got worse", by_loss),
        named("Weakest now", (line for line in weakest if line.after < 1)),
    )


def _pair(study: Study, before: str, after: str) -> Json | None:
    """Return the comparison of the two with `after` as a."""
    for pair in (study.comparison or {}).get("pairs") or ():
        if (pair["a"], pair["b"]) == (after, before):
            return pair  # type: ignore[no-any-return]
        if (pair["a"], pair["b"]) == (before, after):
            return mirrored(pair)
    return None


def _outcome(pair: Json | None) -> str:
    if pair is None:
        return say.NOT_RECORDED
    told = {"a better": "really better", "b better": "really worse"}
    return told.get(pair["outcome"], str(pair["outcome"]))


def _sentence(pair: Json | None, before: str, after: str) -> str:
    """Return the paired test of the whole test part; `pair` has `after` as its a."""
    if pair is None or pair.get("only_a") is None:
        return "The paired test of the two is not recorded."
    p = "" if pair.get("p") is None else f": p {_equals(pair['p'])} (exact McNemar test)"
    holm = "" if pair.get("p_holm") is None else f", {say.p_value(pair['p_holm'])} after Holm’s correction over all pairs"
    names = {"a better": f"{after} is really better", "b better": f"{before} is really better"}
    only = f"{after} alone has {_pictures(pair['only_a'])} right, {before} alone {say.count(pair['only_b'])}"
    return f"{only}{p}{holm}. {names.get(pair['outcome'], pair['outcome'].capitalize())}."


def _pictures(number: int) -> str:
    return f"{say.count(number)} {'picture' if number == 1 else 'pictures'}"


def _equals(p: float) -> str:
    told = say.p_value(p)
    return told if told.startswith("<") else f"= {told}"


def _choices(study: Study) -> Choices | None:
    """Return the recalls of all contestants; `None` where there are fewer than two, or so many that the page would grow heavy."""
    tables = [
        (c, {entry["id"]: (entry.get("recall") or {}).get("value") for entry in (c.test or {}).get("per_class", [])})
        for c in study.scored
    ]
    names = [c.name for c, _ in tables]
    if len(tables) < 2 or len(tables) * len(study.classes) > MOST_RECALLS or not any(table for _, table in tables):
        return None
    where = {name: position for position, name in enumerate(names)}
    told = (study.comparison or {}).get("pairs") or ()
    pairs = [
        (where[p["a"]], where[p["b"]], _sentence(p, p["b"], p["a"]))
        for p in told[:MOST_CHOICES]
        if {p["a"], p["b"]} <= set(names)
    ]
    contestants = []
    for contestant, table in tables:
        recalls = ",".join("" if table.get(info.id) is None else f"{table[info.id]:.5g}" for info in study.classes)
        accuracy = (contestant.metric("accuracy") or {}).get("value")
        contestants.append((contestant.name, recalls, "" if accuracy is None else f"{accuracy:.5g}"))
    contestants += [_chosen(study, c) for c in study.scored if both_readings.counts_of(study, c)]
    return Choices(tuple(contestants), tuple(info.name for info in study.classes), tuple(pairs))


def _chosen(study: Study, contestant: Contestant) -> tuple[str, str, str]:
    """Return the filtered recalls of a contestant that answers in words, as one more that can be chosen."""
    own, whole = both_readings.recalls(study, contestant), (both_readings.accuracy(study, contestant) or {}).get("value")
    recalls = ",".join("" if (share := own.get(info.id)) is None else f"{share:.5g}" for info in study.classes)
    return f"{contestant.name}, filtered", recalls, "" if whole is None else f"{whole:.5g}"
