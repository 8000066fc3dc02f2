"""Accuracy by slice of the test pictures, and whether the gap between two kinds depends on the slice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report import say
from fieldguide.report.charts import heat
from fieldguide.report.dots import Gap, gaps
from fieldguide.report.read import Contestant, Json, Study
from fieldguide.report.say import Value

_OUTCOMES = {"depends on it": ("d-worse3", "!"), "no sign that it depends on it": ("d-same", "≈")}


@dataclass(frozen=True, slots=True)
class Cell:
    """Mean accuracy of one kind on one slice, with the range of its models."""

    text: str
    number: float
    level: int
    note: str


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice: its pictures, the kinds and the contestants on it."""

    name: str
    n: int
    few: bool
    kinds: tuple[Cell, ...]
    runs: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two kinds on the slices of one slicing."""

    title: str
    picture: Markup
    p: Value
    shade: str
    sign: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Slicing:
    """One way to cut the test pictures; without slices `why` says why there are none."""

    title: str
    why: str
    unknown: int
    slices: tuple[Slice, ...]
    pairs: tuple[Pair, ...]

    @property
    def depends(self) -> bool:
        """Whether a gap was found to depend on it."""
        return any(pair.shade == _OUTCOMES["depends on it"][0] for pair in self.pairs)


@dataclass(frozen=True, slots=True)
class Slices:
    """The section. `summary` is what came of all tests together."""

    known: bool
    kinds: tuple[str, ...]
    contestants: tuple[Contestant, ...]
    slicings: tuple[Slicing, ...]
    summary: str
    least: int
    draws: int


def slices(study: Study) -> Slices:
    """Return the section for `study`; without ``slices.json`` nothing is known."""
    told = study.slices
    if not told or not study.scored:
        return Slices(False, (), (), (), "", 0, 0)
    names = {entry["kind"]: entry["name"] if len(entry["runs"]) == 1 else entry["plural"] for entry in told["kinds"]}
    return Slices(
        known=True,
        kinds=tuple(f"{names[entry['kind']]} ({len(entry['runs'])})" for entry in told["kinds"]),
        contestants=study.scored,
        slicings=tuple(_slicing(entry, names, study) for entry in told["slicings"]),
        summary=_summary(told, names),
        least=told["least"],
        draws=told["draws"],
    )


def _slicing(entry: Json, names: Mapping[str, str], study: Study) -> Slicing:
    few = [bool(part["few"]) for part in entry["slices"]]
    labels = [part["name"] for part in entry["slices"]]
    return Slicing(
        title=entry["title"],
        why=entry.get("why") or "",
        unknown=entry["unknown"],
        slices=tuple(_slice(part, names, study) for part in entry["slices"]),
        pairs=tuple(_pair(pair, names, list(zip(labels, few, strict=True))) for pair in entry["pairs"]),
    )


def _slice(part: Json, names: Mapping[str, str], study: Study) -> Slice:
    cells = []
    for kind in names:
        share = part["kinds"][kind]
        spread = (
            f"{say.points(share['least'], False)}–{say.points(share['most'], False)}" if share["least"] < share["most"] else ""
        )
        cells.append(Cell(say.points(share["mean"], False), share["mean"], heat(share["mean"]), spread))
    runs = tuple(say.score(part["runs"].get(contestant.name)) for contestant in study.scored)
    return Slice(part["name"], part["n"], bool(part["few"]), tuple(cells), runs)


def _pair(pair: Json, names: Mapping[str, str], labels: list[tuple[str, bool]]) -> Pair:
    drawn = [
        Gap(f"{label} ({gap['n']})", gap["n"], gap["difference"], gap["low"], gap["high"], few)
        for (label, few), gap in zip(labels, pair["gaps"], strict=True)
    ]
    far = max((abs(end) for gap in drawn for end in (gap.low, gap.high)), default=0.0)
    reach = next((step for step in (0.05, 0.1, 0.2, 0.3, 0.5) if far <= step), 1.0)
    shade, sign = _OUTCOMES.get(pair["outcome"], ("d-few", "?"))
    p, holm = pair.get("p"), pair.get("p_holm")
    told = Value(say.NOT_APPLICABLE)
    if p is not None and holm is not None:
        told = Value(say.p_value(p), p, f"after Holm {say.p_value(holm)}")
    return Pair(f"{names[pair['a']]} − {names[pair['b']]}", gaps(drawn, reach), told, shade, sign, pair["outcome"])


def _summary(told: Json, names: Mapping[str, str]) -> str:
    pairs = [(entry, pair) for entry in told["slicings"] for pair in entry["pairs"]]
    held = [(entry, pair) for entry, pair in pairs if pair["outcome"] == "depends on it"]
    if not pairs:
        few = sum(1 for entry in told["kinds"] if entry["compared"]) < 2
        return (
            "No gap to ask about: there are not two kinds of models here."
            if few
            else "No way of cutting the test pictures applies here."
        )
    tests = told["tests"]
    if not tests:
        return "Too few pictures to tell whether any gap between kinds depends on the slice."
    counted = f"{tests} test{'' if tests == 1 else 's'} of whether a gap between two kinds depends on the slice"
    if not held:
        return f"Of {counted}, none holds after Holm’s correction. That is no proof that gaps are alike: the intervals show what is still possible."
    listed = "; ".join(f"{names[pair['a']]} against {names[pair['b']]} by {entry['title'].lower()}" for entry, pair in held[:8])
    more = f" and {len(held) - 8} more" if len(held) > 8 else ""
    return f"Of {counted}, {len(held)} {'holds' if len(held) == 1 else 'hold'} after Holm’s correction: {listed}{more}."
