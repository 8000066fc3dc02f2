"""The section that says how far probabilities can be believed: one page for networks, image-text encoders and language models alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from fieldguide.report import say
from fieldguide.report.calibration_chart import Bin, Point, covering, reliable
from fieldguide.report.prompted_files import Json, change, number, share, whole
from fieldguide.report.read import Contestant, Study
from fieldguide.report.say import MISSING, NOT_APPLICABLE, Value

#: Contestants whose charts are drawn, and of these open at once.
MOST_CHARTS, AT_ONCE = 24, 4
#: Shares of the test pictures at which accuracy is told, and by how much of one the nearest point of the curve may be off.
COVERAGES, _NEAR = (1.0, 0.9, 0.8, 0.5), 0.03
_SIGNS = {"too sure": "!", "not sure enough": "!", "off": "!", "no sign of being off": "✓"}
_NO_BINS = Value(say.NOT_RECORDED, title="score the study again: fieldguide report")


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold that validation chose so that `target` of the answers are right, and what it did on test pictures."""

    target: str
    least: Value
    answered: Value
    accuracy: Value


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant that gives probabilities; charts are empty where they were not recorded, or where there are too many."""

    contestant: Contestant
    state: str
    sign: str
    loud: bool
    error: Value
    perfect: Value
    confidence: Value
    surplus: Value
    log_loss: Value
    top5: Value
    ranking: Value
    covered: tuple[Value, ...]
    thresholds: tuple[Threshold, ...]
    refuses: str
    reliability: Markup
    coverage: Markup
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The section: those with probabilities, those without and why, and what stands above."""

    rows: tuple[Row, ...]
    without: tuple[tuple[Contestant, str], ...]
    lead: str
    coverages: tuple[str, ...]
    targets: tuple[str, ...]
    top5: bool
    at_once: int = AT_ONCE


def calibration(study: Study) -> Calibration:
    """Return the section for `study`."""
    given = [one for one in study.scored if _of(one.metric("calibration_error")).get("value") is not None]
    rows = tuple(_row(one, at) for at, one in enumerate(given))
    told = {id(one) for one in given}
    return Calibration(
        rows=rows,
        without=tuple((one, _why(one)) for one in study.scored if id(one) not in told),
        lead=_lead(rows, len(study.scored)),
        coverages=tuple(f"{100 * one:.0f}" for one in COVERAGES),
        targets=tuple(dict.fromkeys(one.target for row in rows for one in row.thresholds)),
        top5=any(not row.top5.absent for row in rows),
    )


def _lead(rows: tuple[Row, ...], scored: int) -> str:
    if not rows:
        return "No contestant gives probabilities."
    counted = f"{say.count(len(rows))} of {say.count(scored)} contestants give a probability for every class"
    states = [(sum(row.state == state for row in rows), words) for state, words in _COUNTED.items()]
    parts = [f"{say.count(number)} {words}" for number, words in states if number]
    return f"{counted}: {', '.join(parts)}." if parts else f"{counted}."


_COUNTED = {
    "too sure": "too sure",
    "not sure enough": "not sure enough",
    "off": "off, sure here and unsure there",
    "no sign of being off": "with no sign of being off",
}


def _why(contestant: Contestant) -> str:
    """Return why there are no probabilities."""
    prompt = contestant.facts.get("prompt")
    how = prompt.get("how") if isinstance(prompt, Mapping) else None
    if how in ("generate", "choice"):
        return "no probabilities: it answers in words. The same prompt with ask=likelihood weighs every name."
    why = str(_of(contestant.metric("log_loss")).get("why") or _of(contestant.metric("calibration_error")).get("why") or "")
    return f"no probabilities: {say.clean(why, 200)}." if why else "no probabilities."


def _row(contestant: Contestant, at: int) -> Row:
    part = contestant.test or {}
    told, null = _of(part.get("reliability")), _of(part.get("calibration_null"))
    error, high = number(_of(contestant.metric("calibration_error")).get("value")), number(null.get("high"))
    surplus = _of(told.get("surplus"))
    bounds = (change(surplus.get("low")), change(surplus.get("high")))
    state = _state(error, high, bounds)
    bins, points = tuple(_bins(told)), _points(told)
    thresholds = tuple(_thresholds(part.get("abstention")))
    drawn = at < MOST_CHARTS and bool(bins)
    name = say.clean(contestant.name, 120)
    return Row(
        contestant=contestant,
        state=state,
        sign=_SIGNS.get(state, "–"),
        loud=state in ("too sure", "not sure enough", "off"),
        error=say.score(contestant.metric("calibration_error"), share=False),
        perfect=_perfect(null),
        confidence=say.number(share(told.get("confidence")), say.percent) if told else _NO_BINS,
        surplus=_surplus(surplus, bounds) if told else _NO_BINS,
        log_loss=say.score(contestant.metric("log_loss"), share=False),
        top5=say.score(contestant.metric("top5_accuracy")),
        ranking=_ranking(told),
        covered=tuple(_at(told, coverage) for coverage in COVERAGES),
        thresholds=thresholds,
        refuses=_refuses(contestant),
        reliability=reliable(bins, contestant.slot, _spoken(name, bins)) if drawn else Markup(""),
        coverage=covering(points, _marks(part.get("abstention")), contestant.slot, _said(name, points))
        if drawn
        else Markup(""),
        bins=bins,
    )


def _state(error: float | None, high: float | None, bounds: tuple[float | None, float | None]) -> str:
    """Return in a word what the calibration error and the surplus of confidence come to."""
    low, top = bounds
    if error is None or high is None:
        return say.NOT_RECORDED
    if error <= high:
        return "no sign of being off"
    return "too sure" if low is not None and low > 0 else "not sure enough" if top is not None and top < 0 else "off"


def _perfect(null: Json) -> Value:
    mean, high = number(null.get("mean")), number(null.get("high"))
    if mean is None or high is None:
        return MISSING
    return Value(say.decimal(mean), mean, f"up to {say.decimal(high)}", "mean and 95th percentile of simulated answers")


def _surplus(told: Json, bounds: tuple[float | None, float | None]) -> Value:
    value, (low, high) = change(told.get("value")), bounds
    if value is None:
        return MISSING
    note = "" if low is None or high is None else f"{say.points(low)} to {say.points(high)}"
    return Value(say.points(value), value, note, "mean confidence minus accuracy, in percentage points")


def _ranking(told: Json) -> Value:
    if not told:
        return _NO_BINS
    return say.number(share(told.get("ranking")), lambda area: say.decimal(area, 2), "all answers are right, or all are wrong")


def _bins(told: Json) -> Iterator[Bin]:
    for entry in _each(told.get("bins")):
        start, end, sure = (share(entry.get(name)) for name in ("low", "high", "confidence"))
        n, right = whole(entry.get("n")), whole(entry.get("right"))
        if start is None or end is None or sure is None or not n or right is None or right > n:
            continue
        accuracy = _of(entry.get("accuracy"))
        low, high = share(accuracy.get("low")), share(accuracy.get("high"))
        yield Bin(start, end, n, right, sure, right / n, None if low is None or high is None else (low, high))


def _points(told: Json) -> tuple[Point, ...]:
    of = whole(told.get("of"))
    points = []
    for entry in _each(told.get("coverage")):
        answered, right = whole(entry.get("answered")), whole(entry.get("right"))
        if of and answered and right is not None and right <= answered <= of:
            points.append(Point(answered / of, right / answered))
    return tuple(points)


def _at(told: Json, coverage: float) -> Value:
    """Return the accuracy of the surest answers where about `coverage` of the pictures are answered; of all answers at 1."""
    points = _points(told)
    if not told or not points:
        return _NO_BINS
    near = points[-1] if coverage == 1 else min(points, key=lambda point: abs(point.covered - coverage))
    title = f"{say.percent(near.covered)} of the test pictures answered"
    if coverage < 1 and abs(near.covered - coverage) > _NEAR:
        return Value(
            NOT_APPLICABLE, title="too many answers are equally sure, or too few pictures have one, to leave out so many"
        )
    return Value(
        say.percent(near.accuracy),
        near.accuracy,
        f"of {say.percent(near.covered)}" if coverage == 1 and near.covered < 1 else "",
        title,
    )


def _thresholds(told: Any) -> Iterator[Threshold]:
    for entry in _each(told):
        target = share(entry.get("target"))
        if target is None:
            continue
        test, least, why = _of(entry.get("test")), share(entry.get("threshold")), str(entry.get("why") or "")
        if entry.get("state") != "ok" or least is None:
            none = Value(NOT_APPLICABLE, title=say.clean(why, 200))
            yield Threshold(f"{100 * target:.0f}", none, none, none)
            continue
        yield Threshold(
            target=f"{100 * target:.0f}",
            least=Value(say.decimal(least, 3), least)
            if least
            else Value("none needed", 0.0, title="all validation answers are right often enough"),
            answered=_share(test.get("answered")),
            accuracy=_share(test.get("accuracy"), "no test picture is answered"),
        )


def _marks(told: Any) -> tuple[Point, ...]:
    tests = [_of(entry.get("test")) for entry in _each(told) if entry.get("state") == "ok"]
    ends = [(share(_of(test.get("answered")).get("value")), share(_of(test.get("accuracy")).get("value"))) for test in tests]
    return tuple(Point(covered, accuracy) for covered, accuracy in ends if covered is not None and accuracy is not None)


def _share(told: Any, why: str = "") -> Value:
    entry = _of(told)
    value, low, high = (share(entry.get(name)) for name in ("value", "low", "high"))
    if value is None:
        return Value(NOT_APPLICABLE, title=why) if why else MISSING
    return Value(say.percent(value), value, "" if low is None or high is None else say.interval(low, high))


def _refuses(contestant: Contestant) -> str:
    """Return what a contestant that leaves answers out by itself was told to, and did."""
    weighing = _of(contestant.facts.get("weighing"))
    least = share(contestant.facts.get("threshold"))
    least = share(weighing.get("threshold")) if least is None else least
    if least is None:
        return ""
    failures = _of((contestant.test or {}).get("failures"))
    unsure = sum(whole(count) or 0 for error, count in failures.items() if str(error).startswith("too unsure"))
    n = whole((contestant.test or {}).get("n"))
    of = f" of {say.count(n)}" if n is not None else ""
    return (
        f"It leaves out by itself what it is less than {say.percent(least)} sure of, as set on validation pictures: "
        f"{say.count(unsure)}{of} test pictures, which count as wrong."
    )


def _spoken(name: str, bins: tuple[Bin, ...]) -> str:
    told = "; ".join(f"{percent_of(one.confidence)} sure, {percent_of(one.accuracy)} right, {one.n}" for one in bins)
    return f"{name}, confidence against accuracy: {told}"


def _said(name: str, points: tuple[Point, ...]) -> str:
    if not points:
        return f"{name}, accuracy over coverage: not recorded"
    first, last = points[0], points[-1]
    return (
        f"{name}, accuracy over coverage: the surest {percent_of(first.covered)} of the pictures {percent_of(first.accuracy)}, "
        f"all that are answered, {percent_of(last.covered)}, {percent_of(last.accuracy)}"
    )


def percent_of(value: float) -> str:
    """Return a share in whole per cent."""
    return f"{100 * value:.0f} %"


def _of(told: Any) -> Json:
    return told if isinstance(told, Mapping) else {}


def _each(told: Any) -> list[Json]:
    return [entry for entry in told if isinstance(entry, Mapping)] if isinstance(told, list) else []
