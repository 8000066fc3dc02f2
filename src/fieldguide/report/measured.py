"""What the sections on seeds and on parts of the training pictures show: accuracy, or of counts the exact share and the mean error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fieldguide.report import say
from fieldguide.report.charts import Axis, axis_for
from fieldguide.report.read import Json
from fieldguide.report.say import Value


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of every run: `metric` of ``scores.json``; `spread`, `seeds` and `fractions` say where else the files have it.

    `title` begins a caption, `words` says a value, `change` a difference, `ends` an interval, `axis` holds all values.
    """

    metric: str
    spread: str
    seeds: str
    fractions: str
    title: str
    unit: str
    words: Callable[[float], str]
    change: Callable[[float], str]
    deviation: Callable[[float], str]
    ends: Callable[[float, float], str]
    score: Callable[[Json | None], Value]
    axis: Callable[[Iterable[float]], Axis]

    def over_seeds(self, spread: Json | None) -> str:
        """Return ``± 1.2 over 3 seeds``; empty where one seed was run."""
        return "" if spread is None else f"±{say.NBSP}{self.deviation(spread['sd'])} over {spread['n']}{say.NBSP}seeds"


def things(number: float) -> str:
    """Return a mean error: things, with two decimals."""
    return say.decimal(number, 2)


def fewer_or_more(number: float) -> str:
    """Return a difference of mean errors with its sign."""
    text = things(number)
    return f"+{text}" if number > 0 and float(f"{number:.2f}") else text


def error(entry: Json | None, words: Callable[[float], str] = things) -> Value:
    """Return a mean error with its interval, said by `words`."""
    if entry is None or entry.get("value") is None:
        return say.score(entry, share=False)
    value, low, high = entry["value"], entry.get("low"), entry.get("high")
    note = "" if low is None or high is None else f"{words(low)} to {words(high)}"
    over = f"over {say.count(entry['n'])} pictures" if entry.get("n") is not None else ""
    return Value(words(value), float(value), note, f"95 % interval {note}, {over}" if note else over)


def axis_from_nothing(values: Iterable[float]) -> Axis:
    """Return an axis from 0 to a round number that holds all `values`, with at most six ticks: an error has no upper end."""
    high = max((value for value in values if math.isfinite(value)), default=0.0) or 1.0
    power = 10.0 ** math.floor(math.log10(high))
    step = next(step for step in (0.2 * power, 0.5 * power, power, 2 * power) if high <= 5 * step * (1 + 1e-9))
    last = math.ceil(high / step - 1e-9)
    return Axis(0.0, last * step, tuple(round(tick * step, 10) for tick in range(last + 1)))


def _shares(metric: str, title: str) -> Measure:
    return Measure(
        metric=metric,
        spread="spread",
        seeds="seeds",
        fractions="fractions",
        title=title,
        unit="points",
        words=say.percent,
        change=say.points,
        deviation=lambda sd: say.points(sd, signed=False),
        ends=say.interval,
        score=say.score,
        axis=axis_for,
    )


ACCURACY = _shares("accuracy", "Test accuracy")
EXACT = _shares("exact", "Exact answers on the test pictures")
ERROR = Measure(
    metric="mae",
    spread="spread_mae",
    seeds="seeds_mae",
    fractions="fractions_mae",
    title="Mean error of a count on the test pictures, less is better",
    unit="things",
    words=things,
    change=fewer_or_more,
    deviation=things,
    ends=lambda low, high: f"{things(low)} to {things(high)}",
    score=error,
    axis=axis_from_nothing,
)
