"""Accuracy against what it costs: time for a picture, time to train, size, and money where there is any."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report import say
from fieldguide.report.board import Board, Row
from fieldguide.report.read import Contestant, Study
from fieldguide.report.say import Value
from fieldguide.report.scatter import Frame, Point, front, scatter

_STEPS = tuple(size * 10.0**power for power in range(-6, 16) for size in (1, 2, 5))
_SECONDS = (0.001, 0.01, 0.1, 1, 2, 5, 10, 20, 60, 120, 300, 600, 1200, 3600, 7200, 18_000, 36_000, 72_000, 180_000, 360_000)
_LARGE, _SMALL = (900, 430), (560, 330)
_MOST_NAMED = 5
_ZERO = "a logarithmic axis has no place for nothing"


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: its heading, the picture, the sentence on its front, and who is not drawn with the reason."""

    heading: str
    picture: Markup
    sentence: str
    missing: tuple[tuple[Contestant, str], ...]


@dataclass(frozen=True, slots=True)
class Efficiency:
    """The section: the first chart is the large one. `key` are the numbered contestants, `sunk` those without better than chance."""

    charts: tuple[Chart, ...]
    key: tuple[tuple[int, Contestant, Value], ...]
    sunk: tuple[Contestant, ...]
    devices: str


def efficiency(study: Study, board: Board) -> Efficiency:
    """Return the section for the rows of `board`; contestants that are not above chance are named and not drawn."""
    numbered = [(number, row) for number, row in enumerate(board.rows, start=1) if not row.accuracy.absent]
    drawn = [(number, row) for number, row in numbered if not row.below_chance]
    asked: list[tuple[str, str, Callable[[Row], Value], Sequence[float], Callable[[float], str]]] = [
        ("Time for a picture", "milliseconds a picture", lambda row: row.per_image, _STEPS, _short(say.milliseconds)),
        ("Time to train", "time to train", lambda row: row.fit, _SECONDS, _round_times),
        ("Size", "number of parameters", lambda row: row.parameters, _STEPS, _short(say.amount)),
    ]
    if board.money:
        asked.append(("Money", "money", lambda row: row.money, _STEPS, lambda amount: f"{amount:g}"))
    charts: list[Chart] = []
    for heading, title, of, ticks, words in asked:
        frame = Frame(*(_SMALL if charts else _LARGE), named=not charts, title=title, ticks=ticks, words=words)
        charts.append(_chart(heading, drawn, of, frame))
    return Efficiency(
        charts=tuple(charts) if drawn else (),
        key=tuple((number, row.contestant, row.accuracy) for number, row in drawn),
        sunk=tuple(row.contestant for _, row in numbered if row.below_chance),
        devices=_devices([row.contestant for _, row in drawn]),
    )


def _chart(heading: str, drawn: Sequence[tuple[int, Row]], of: Callable[[Row], Value], frame: Frame) -> Chart:
    points, missing = [], []
    for number, row in drawn:
        cost, accuracy = of(row), row.accuracy.number
        if cost.number is None or cost.number <= 0 or accuracy is None:
            missing.append((row.contestant, _ZERO if cost.number is not None else cost.title or cost.text))
            continue
        entry = row.contestant.metric("accuracy") or {}
        known = entry.get("low") is not None and entry.get("high") is not None
        bounds = (float(entry["low"]), float(entry["high"])) if known else None
        points.append(Point(row.contestant.name, number, row.contestant.slot, cost.number, accuracy, bounds))
    return Chart(heading, scatter(points, frame), _sentence(points, frame.title), tuple(missing))


def _sentence(points: Sequence[Point], title: str) -> str:
    if len(points) < 2:
        return ""
    names = [point.name for point in front(points)]
    if len(names) == 1:
        return f"{names[0]} is the best of them in both: none is more accurate, and none needs less ({title})."
    if len(names) == len(points):
        return f"All are on the front: whoever is more accurate needs more ({title})."
    shown = names[-_MOST_NAMED:]
    listed = f"{', '.join(shown[:-1])} and {shown[-1]}"
    more = f"{len(names)} contestants, the most accurate of them {listed}" if len(names) > _MOST_NAMED else listed
    return f"On the front: {more}. Each other one is beaten in both, accuracy and {title}, by one on the front."


def _devices(drawn: Sequence[Contestant]) -> str:
    """Return a caution where times were taken on more than one device."""
    found: dict[str, list[str]] = {}
    for contestant in drawn:
        device = (contestant.cost or {}).get("device")
        if device:
            found.setdefault(str(device), []).append(contestant.name)
    if len(found) < 2:
        return ""
    told = "; ".join(
        f"{device}: {', '.join(names[:8])}{' and more' if len(names) > 8 else ''}" for device, names in found.items()
    )
    return f"Times were taken on different devices and do not compare across them ({told})."


def _short(words: Callable[[float], str]) -> Callable[[float], str]:
    """Leave the ``.0`` of round ticks out."""
    return lambda number: words(number).replace(f".0{say.NBSP}", say.NBSP)


def _round_times(seconds: float) -> str:
    return re.sub(r"(min|h)\D00\D(s|min)$", r"\1", say.seconds(seconds).replace(f".0{say.NBSP}", say.NBSP))
