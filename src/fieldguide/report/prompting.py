"""The section on answers in words: accuracy under every reading, format apart from recognition, kinds of errors with examples.

What it cost is in `prompting_cost`, how the model was asked and what its server can do in `prompting_asked`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from fieldguide.report import prompting_chart, say
from fieldguide.report.charts import axis_for
from fieldguide.report.interval_rows import Named, interval_rows
from fieldguide.report.prompted_files import MOST_RAW, Counted, Example, Kind, Leaning, Part, Prompted
from fieldguide.report.prompting_asked import Asked, asked, times_named
from fieldguide.report.prompting_cost import Cost, Hardware, costs, hardware
from fieldguide.report.prompting_questions import Question, questions
from fieldguide.report.prompting_split import FILTERED, READINGS, Split, heading, split
from fieldguide.report.prompting_weighed import FORMS, Weighed, as_read, weighed, weighs
from fieldguide.report.read import Contestant, Study
from fieldguide.report.say import MISSING, NOT_APPLICABLE, Value
from fieldguide.report.thumbnails import Thumbnail
from fieldguide.tasks.asking import WEIGHING

#: Charts that are drawn, and pictures that are shown among the examples of all contestants together.
MOST_CHARTS, MOST_PICTURES = 6, 40
#: Which example: the contestant's name, the kind's id, and its place among the examples of that kind.
_Place = tuple[str, str, int]
#: Labels that are shown as drawing wrong answers.
_MOST_LEANINGS = 5


@dataclass(frozen=True, slots=True)
class Shown:
    """One example: the picture, where there is room for it and it is not one shown `above`, the true class and the raw answer."""

    thumbnail: Thumbnail | None
    above: bool
    truth: str
    raw: str
    error: str
    alt: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """One kind of error with its examples."""

    name: str
    count: Value
    share: Value
    examples: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A label that draws wrong answers; `named` is how often its name stands in the prompt."""

    label: str
    answered: Value
    wrong: Value
    truth: Value
    named: Value


@dataclass(frozen=True, slots=True)
class Lean:
    """The labels that take most of the wrong answers, and the sentence on the first."""

    sentence: str
    labels: tuple[Drawn, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One contestant: a value for each column, `main` of them the headline's, its chart, and all that is told of it."""

    contestant: Contestant
    problem: str
    headline: str
    values: tuple[tuple[Value, bool], ...]
    chart: Markup
    split: Split | None
    scored: str
    mistakes: tuple[Mistake, ...]
    lean: Lean | None
    asked: Asked

    def counted(self, kind: str) -> Value:
        """Return how many answers are of that kind."""
        none = MISSING if self.problem else Value("0", 0.0)
        return next((one.count for one in self.mistakes if one.name == kind), none)


@dataclass(frozen=True, slots=True)
class Prompting:
    """The section. `counts` says of each filtered denominator what it counts."""

    runs: tuple[Run, ...]
    columns: tuple[str, ...]
    readings: tuple[tuple[str, str], ...]
    counts: tuple[tuple[str, str], ...]
    ruler: Markup
    keys: tuple[tuple[Markup, str, str], ...]
    kinds: tuple[str, ...]
    costs: tuple[Cost, ...]
    hardware: Hardware
    questions: tuple[Question, ...]
    weighed: tuple[Weighed, ...]
    forms: tuple[tuple[str, str], ...]


def prompting(study: Study, picture: Callable[[str], Thumbnail], most: int = MOST_PICTURES) -> Prompting | None:
    """Return the section with at most `most` pictures, or `None` where no contestant answered in words."""
    found = [(c, study.prompted.get(c.name)) for c in study.scored]
    told = [
        (c, as_read(c) if weighs(c) else read or Prompted(problem=say.NOT_RECORDED))
        for c, read in found
        if read or c.facts.get("kind") == "prompted" or (c.facts.get("kind") == "tuned" and weighs(c))
    ]
    if not told:
        return None
    columns = _columns([read.test for _, read in told])
    took = costs(told, study)
    shown = _pictures(told, picture, most)
    scale = [share for _, read in told for one in _drawn_ones(read) for share in _shares(one)]
    runs = tuple(_run(at, c, read, columns, scale, shown, study) for at, (c, read) in enumerate(told))
    every = list(dict.fromkeys(mistake.name for run in runs for mistake in run.mistakes))
    whats = {(id, one.what) for _, read in told for one in read.test.filtered for id in [one.id] if one.what}
    return Prompting(
        runs=runs,
        columns=tuple(heading(id, filtered) for id, filtered in columns),
        readings=tuple(READINGS[id] for id, filtered in columns if not filtered and id in READINGS),
        counts=tuple((heading(id, True), what) for id, what in sorted(whats)),
        ruler=prompting_chart.ruler(),
        keys=tuple((prompting_chart.key(kind), letter, what) for kind, letter, what in prompting_chart.PARTS),
        kinds=tuple(every),
        costs=took,
        hardware=hardware(took, study),
        questions=questions(study),
        weighed=weighed(study),
        forms=tuple(FORMS.values()),
    )


def _columns(parts: Sequence[Part]) -> list[tuple[str, bool]]:
    """Return id and whether it is filtered of every column: the known ones in their order, then the others."""
    readings = {one.id for part in parts for one in part.readings}
    filtered = {one.id for part in parts for one in part.filtered}
    ordered = [id for id in READINGS if id in readings] + sorted(readings - READINGS.keys())
    return [(id, False) for id in ordered] + [
        (id, True) for id in (*FILTERED, *sorted(filtered - FILTERED.keys())) if id in filtered
    ]


def _drawn_ones(read: Prompted) -> list[Counted]:
    """Return what the chart shows: a reading that finds no label at all (JSON where none was asked for) would stretch every axis."""
    part = read.test
    return [one for one in part.readings if one.labelled != 0 or one.id == read.headline] + list(part.filtered)


def _shares(one: Counted) -> list[float]:
    score = one.accuracy or {}
    return [score[key] for key in ("value", "low", "high") if score.get(key) is not None]


def _run(
    at: int,
    contestant: Contestant,
    read: Prompted,
    columns: Sequence[tuple[str, bool]],
    scale: list[float],
    shown: Mapping[_Place, Thumbnail | None],
    study: Study,
) -> Run:
    part = read.test
    own = {
        (one.id, filtered): one for one_list, filtered in ((part.readings, False), (part.filtered, True)) for one in one_list
    }
    drawn = _drawn_ones(read)
    values = tuple(
        (_accuracy(own.get(key), part.n, _foreign(contestant, read, key)), key == (read.headline, False)) for key in columns
    )
    named = [
        Named(
            heading(*key) + (" (headline)" if main else ""),
            value.number,
            (own[key].accuracy or {}).get("low"),
            (own[key].accuracy or {}).get("high"),
            key[1],
        )
        for key, (value, main) in zip(columns, values, strict=True)
        if value.number is not None and own[key] in drawn and not weighs(contestant)
    ]
    title = f"{contestant.name}, test accuracy under every reading"
    head = part.reading(read.headline)
    return Run(
        contestant=contestant,
        problem=read.problem,
        headline="" if read.problem else heading(read.headline, False),
        values=values,
        chart=interval_rows(named, title, scale=axis_for(scale)) if at < MOST_CHARTS else Markup(""),
        split=split(part, head) if head else None,
        scored=_scored(part, head),
        mistakes=tuple(_mistake(kind, contestant.name, part, shown, study) for kind in part.kinds if kind.count),
        lean=_lean(part, head, contestant, study),
        asked=asked(contestant, read),
    )


def _foreign(contestant: Contestant, read: Prompted, column: tuple[str, bool]) -> str:
    """Return why a column is not about a contestant; nothing where it is."""
    if read.problem:
        return ""
    if weighs(contestant):
        return "" if column == (read.headline, False) else "it gives a probability for every name, and no words to read"
    return "it answers in words" if column[0] in WEIGHING else ""


def _accuracy(one: Counted | None, n: int | None, foreign: str = "") -> Value:
    """Return the accuracy with its interval and what it counts; of how many pictures is told beside it."""
    if one is None:
        return Value(NOT_APPLICABLE, title=foreign) if foreign else MISSING
    pictures = one.n if one.n is not None else n
    value = say.score(one.accuracy)
    if value.absent:
        return value
    counted = f"{say.count(one.right)} of {say.count(pictures)}" if one.right is not None and pictures else ""
    macro = f"macro F1 {say.percent(one.macro_f1)}" if one.macro_f1 is not None else ""
    return replace(value, title="; ".join(told for told in (value.title, counted, macro) if told))


def _scored(part: Part, head: Counted | None) -> str:
    """Return what to know where the scores are made of other labels than the headline's reading finds."""
    if part.scored is None or not part.n or head is None or part.scored == head.right:
        return ""
    return (
        f"The leaderboard counts {say.count(part.scored)} of {say.count(part.n)} as right ({say.percent(part.scored / part.n)}): its "
        f"labels were read when the answers came, and not as “{heading(head.id, False).lower()}”."
    )


def _pictures(
    told: Sequence[tuple[Contestant, Prompted]], picture: Callable[[str], Thumbnail], most: int
) -> dict[_Place, Thumbnail | None]:
    """Return the pictures that there is room for: the first example of every kind of everybody, then the second, and so on.

    Each picture is embedded once; another example of it has `None`.
    """
    lists = [((c.name, kind.id), kind.examples) for c, read in told for kind in read.test.kinds if kind.count]
    longest = max((len(examples) for _, examples in lists), default=0)
    turns = [examples[at].key for at in range(longest) for _, examples in lists if at < len(examples)]
    chosen, shown = set(list(dict.fromkeys(turns))[:most]), dict[_Place, Thumbnail | None]()
    drawn: set[str] = set()
    for of, examples in lists:
        for at, example in enumerate(examples):
            if example.key in chosen:
                shown[*of, at] = None if example.key in drawn else picture(example.key)
                drawn.add(example.key)
    return shown


def _mistake(kind: Kind, of: str, part: Part, shown: Mapping[_Place, Thumbnail | None], study: Study) -> Mistake:
    share = kind.share if kind.share is not None else kind.count / part.n if part.n else None
    return Mistake(
        name=say.clean(kind.name, 80),
        count=Value(say.count(kind.count), kind.count),
        share=say.number(share, say.percent),
        examples=tuple(_example(example, kind, (of, kind.id, at), shown, study) for at, example in enumerate(kind.examples)),
    )


def _example(example: Example, kind: Kind, place: _Place, shown: Mapping[_Place, Thumbnail | None], study: Study) -> Shown:
    truth = study.names.get(example.truth, example.truth) or say.NOT_RECORDED
    return Shown(
        thumbnail=shown.get(place),
        above=place in shown and shown[place] is None,
        truth=truth,
        raw=say.clean(example.raw, MOST_RAW) if example.raw.strip() else "",
        error=say.clean(example.error, MOST_RAW),
        alt=f"true {truth}; {kind.name}",
    )


def _lean(part: Part, head: Counted | None, contestant: Contestant, study: Study) -> Lean | None:
    """Return the labels that take most wrong answers; `None` where the file tells of none, or no answer is a wrong label."""
    ordered = sorted(part.leanings, key=lambda one: (-one.wrong, one.label))
    if not ordered or not ordered[0].wrong:
        return None
    first, name = ordered[0], study.names.get(ordered[0].label, ordered[0].label)
    known = head is not None and head.labelled is not None and head.right is not None
    wrong = head.labelled - head.right if known else None  # type: ignore[union-attr,operator]
    of = (
        f"{say.count(first.wrong)} of {say.count(wrong)} wrong labels are"
        if wrong
        else f"{say.count(first.wrong)} wrong labels are"
    )
    pictures = f", and {say.count(first.truth)} test pictures are of it" if first.truth is not None else ""
    sentence = f"{of} “{say.clean(name, 80)}”: it was answered {say.count(first.answered)} times{pictures}."
    return Lean(sentence, tuple(_drawn(one, contestant, study) for one in ordered[:_MOST_LEANINGS]))


def _drawn(one: Leaning, contestant: Contestant, study: Study) -> Drawn:
    name = study.names.get(one.label, one.label)
    return Drawn(
        label=name,
        answered=Value(say.count(one.answered), one.answered),
        wrong=Value(say.count(one.wrong), one.wrong),
        truth=say.number(one.truth, say.count),
        named=say.number(times_named(contestant, name), say.count),
    )
