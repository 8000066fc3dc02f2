"""Contestants as marks: the leaderboard with intervals, accuracy against cost, validation against test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fieldguide.report import say
from fieldguide.report.charts import Axis, axis_for
from fieldguide.report.exports.figures.style import CHANCE, FAINT, HUES, INK, Figure, canvas, marker, percents, short
from fieldguide.report.exports.table import gap
from fieldguide.report.measured import axis_from_nothing
from fieldguide.report.read import Contestant, Study

_ROW = 0.32


def _headline(study: Study) -> tuple[str, str]:
    """Return what ``scores.json`` calls the share that is drawn, and what a figure calls it."""
    return ("exact", "exact match") if study.manifest.task == "count" else ("accuracy", "accuracy")


def _score(contestant: Contestant, metric: str, part: str = "test") -> dict[str, Any]:
    entry = contestant.metric(metric, part) or {}
    return {key: entry.get(key) for key in ("value", "low", "high")}


def _chance(study: Study) -> float | None:
    found: float | None = ((study.comparison or {}).get("chance") or {}).get("accuracy")
    return found


def _shares(scores: Iterable[dict[str, Any]], chance: float | None) -> list[float]:
    shares = [share for score in scores for share in score.values() if share is not None]
    return [*shares, chance] if chance is not None else shares


def leaderboard(study: Study) -> list[Figure]:
    """Return test accuracies, or shares of exact answers, with 95 % intervals, best first, and the letters of the groups."""
    metric, called = _headline(study)
    shown = [c for c in study.scored if _score(c, metric)["value"] is not None]
    if not shown:
        return []
    scores = [_score(contestant, metric) for contestant in shown]
    letters = (study.comparison or {}).get("letters") or {}
    chance = _chance(study)
    figure = canvas(6.6, 0.75 + _ROW * len(shown))
    axes = figure.add_subplot()
    _rows(axes, shown, axis_for(_shares(scores, chance)))
    for y, (contestant, score) in enumerate(zip(shown, scores, strict=True)):
        _interval(axes, score, y, contestant.slot, offset=0.0)
        told = (f"{100 * score['value']:.1f}", letters.get(contestant.name, ""))
        for x, words in zip((1.03, 1.13), told, strict=True):
            axes.text(x, y, words, transform=axes.get_yaxis_transform(), va="center", color=INK)
    for x, words in ((1.03, "%"), (1.13, "group")):
        axes.text(x, -0.9, words, transform=axes.get_yaxis_transform(), va="center", color=FAINT)
    if chance is not None:
        _chance_line(axes, chance, len(shown))
    axes.set_xlabel(f"{called} on {len(study.manifest.part('test'))} test pictures, %, with 95 % intervals")
    rows = [(c.name, c.family, letters.get(c.name, ""), *score.values()) for c, score in zip(shown, scores, strict=True)]
    header = ("contestant", "family", "letters", metric, "low", "high")
    title = f"Test {called} of every contestant with its 95 % interval and tie group"
    return [Figure("leaderboard", title, figure, header, rows)]


def mean_error(study: Study) -> list[Figure]:
    """Return the mean error of a count with its 95 % interval, the nearest first: less is better, and nothing is the left end."""
    known = [(c, _score(c, "mae")) for c in study.scored]
    shown = sorted(((c, s) for c, s in known if s["value"] is not None), key=lambda one: (one[1]["value"], one[0].name))
    if not shown:
        return []
    figure = canvas(6.6, 0.75 + _ROW * len(shown))
    axes = figure.add_subplot()
    _rows(axes, [c for c, _ in shown], axis_from_nothing(_shares((score for _, score in shown), None)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for y, (contestant, score) in enumerate(shown):
        _interval(axes, score, y, contestant.slot, offset=0.0)
        axes.text(1.03, y, f"{score['value']:.2f}", transform=axes.get_yaxis_transform(), va="center", color=INK)
    axes.text(1.03, -0.9, "error", transform=axes.get_yaxis_transform(), va="center", color=FAINT)
    axes.set_xlabel("mean error of a count, in things, with 95 % intervals: less is better")
    rows = [(c.name, c.family, *s.values(), (c.metric("mae") or {}).get("n")) for c, s in shown]
    header = ("contestant", "family", "mae", "low", "high", "pictures")
    return [Figure("mean_error", "Mean error of a count of every contestant with its 95 % interval", figure, header, rows)]


def _rows(axes: Any, contestants: Sequence[Contestant], axis: Axis) -> None:
    """Give the axes one row for each contestant, the first on top, and a common scale."""
    axes.set_ylim(len(contestants) - 0.5, -0.6)
    axes.set_yticks(range(len(contestants)), [short(c.name) for c in contestants])
    for label, contestant in zip(axes.get_yticklabels(), contestants, strict=True):
        label.set_color(HUES[contestant.slot])
    margin = 0.02 * (axis.high - axis.low)
    axes.set_xlim(axis.low - margin, axis.high + margin)
    axes.set_xticks(axis.ticks)
    percents(axes.xaxis)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)


def _interval(axes: Any, score: dict[str, Any], y: float, slot: int, offset: float, hollow: bool = False) -> None:
    if score["low"] is not None and score["high"] is not None:
        axes.plot(
            [score["low"], score["high"]], [y + offset] * 2, color=HUES[slot], linewidth=1.8, solid_capstyle="butt", zorder=2
        )
        axes.plot(
            [score["low"], score["high"]],
            [y + offset] * 2,
            color=HUES[slot],
            linestyle="none",
            marker="|",
            markersize=6,
            zorder=2,
        )
    mark = marker(slot) | ({"markerfacecolor": "white", "markeredgewidth": 1.4} if hollow else {})
    axes.plot([score["value"]], [y + offset], linestyle="none", zorder=3, **mark)


def _chance_line(axes: Any, chance: float, rows: int) -> None:
    axes.axvline(chance, color=CHANCE, linewidth=1.1, linestyle=(0, (3, 3)), zorder=1)
    axes.text(chance, -0.62, "chance", ha="center", va="bottom", color=CHANCE, style="italic", fontsize=8)


def validation_test(study: Study) -> list[Figure]:
    """Return validation (hollow) above test accuracy (filled) of every contestant that has both."""
    metric, called = _headline(study)
    both = [c for c in study.scored if gap(c, metric) is not None]
    if not both:
        return []
    scores = [(_score(c, metric, "val"), _score(c, metric)) for c in both]
    figure = canvas(6.6, 0.95 + 1.25 * _ROW * len(both))
    axes = figure.add_subplot()
    _rows(axes, both, axis_for(_shares((score for pair in scores for score in pair), None)))
    for y, (contestant, (val, test)) in enumerate(zip(both, scores, strict=True)):
        _interval(axes, val, y, contestant.slot, offset=-0.17, hollow=True)
        _interval(axes, test, y, contestant.slot, offset=0.17)
        axes.text(1.03, y, say.points(gap(contestant, metric) or 0.0), transform=axes.get_yaxis_transform(), va="center")
    axes.text(1.03, -0.9, "val \u2212 test", transform=axes.get_yaxis_transform(), va="center", color=FAINT)
    axes.set_xlabel(f"{called}, %: validation (hollow, above) and test (filled, below), with 95 % intervals")
    header = (
        "contestant",
        "family",
        *(f"{part}_{key}" for part in ("val", "test") for key in (metric, "low", "high")),
        "val_minus_test",
    )
    rows = [
        (c.name, c.family, *val.values(), *test.values(), gap(c, metric)) for c, (val, test) in zip(both, scores, strict=True)
    ]
    return [Figure("validation_test", f"Validation and test {called} of every contestant", figure, header, rows)]


def accuracy_cost(study: Study) -> list[Figure]:
    """Return test accuracy against the time for one picture, on a logarithmic axis, each mark with its name."""
    metric, called = _headline(study)
    timed = [(c, (c.cost or {}).get("ms_per_image"), _score(c, metric)) for c in study.scored]
    shown = [(c, float(ms), score) for c, ms, score in timed if ms and score["value"] is not None]
    if not shown:
        return []
    figure = canvas(6.6, 4.2)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    _time_axis(axes, [ms for _, ms, _ in shown])
    axis = axis_for(_shares((score for *_, score in shown), _chance(study)))
    axes.set_ylim(axis.low - 0.02 * (axis.high - axis.low), axis.high + 0.04 * (axis.high - axis.low))
    axes.set_yticks(axis.ticks)
    percents(axes.yaxis)
    axes.grid(axis="both", which="major")
    for contestant, ms, score in shown:
        if score["low"] is not None and score["high"] is not None:
            axes.plot([ms, ms], [score["low"], score["high"]], color=HUES[contestant.slot], linewidth=1.4, alpha=0.75, zorder=2)
        axes.plot([ms], [score["value"]], linestyle="none", zorder=3, **marker(contestant.slot))
    if (chance := _chance(study)) is not None:
        axes.axhline(chance, color=CHANCE, linewidth=1.1, linestyle=(0, (3, 3)), zorder=1)
        axes.text(
            1.01, chance, "chance", transform=axes.get_yaxis_transform(), va="center", color=CHANCE, style="italic", fontsize=8
        )
    devices = sorted({str((c.cost or {}).get("device")) for c, *_ in shown if (c.cost or {}).get("device")})
    where = f" ({short(', '.join(devices), 40)})" if devices else ""
    axes.set_xlabel(f"milliseconds for one picture{where}, on a logarithmic axis")
    axes.set_ylabel(f"test {called}, %, with 95 % interval")
    bars = [(ms, score["low"] or score["value"], score["high"] or score["value"]) for _, ms, score in shown]
    _named(
        figure, axes, [(short(c.name, 24), ms, score["value"], HUES[c.slot]) for c, ms, score in shown], bars, _chance(study)
    )
    header = ("contestant", "family", "ms_per_image", metric, "low", "high", "parameters", "fit_seconds")
    rows = [
        (c.name, c.family, ms, *s.values(), (c.cost or {}).get("parameters"), (c.cost or {}).get("fit_seconds"))
        for c, ms, s in timed
    ]
    return [Figure("accuracy_cost", f"Test {called} against the time for one picture", figure, header, rows)]


def _time_axis(axes: Any, times: Sequence[float]) -> None:
    """Give the axis plain numbers at 1, 2 and 5 times the powers of ten that are in sight, or at the powers alone where those are many."""
    import math

    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = min(times) / 2, max(times) * 2.6
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= 4 else (1,)
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator([step * 10.0**power for power in powers for step in steps]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:g}"))


def _named(
    figure: Any,
    axes: Any,
    points: Sequence[tuple[str, float, float, str]],
    bars: Sequence[tuple[float, float, float]],
    chance: float | None,
) -> None:
    """Write each name beside its mark, where it lies on no other name, mark or line as far as that is possible."""
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    taken = [_around(axes.transData.transform([(x, y), (x, y)]), margin=6) for _, x, y, _ in points]
    taken += [_around(axes.transData.transform([(x, low), (x, high)]), margin=1.5) for x, low, high in bars]
    if chance is not None:
        height = axes.transData.transform((1, chance))[1]
        taken.append(_around([(frame.x0, height), (frame.x1, height)], margin=2))
    places = ((8, 0, "left", "center"), (-8, 0, "right", "center"), (0, 8, "center", "bottom"), (0, -8, "center", "top"))
    far = ((8, 11, "left", "bottom"), (8, -11, "left", "top"), (-8, 11, "right", "bottom"), (-8, -11, "right", "top"))
    for own, (name, x, y, hue) in enumerate(points):
        best, best_cost = places[0], float("inf")
        for place in (*places, *far):
            label = _label(axes, name, (x, y), place, hue)
            box = label.get_window_extent(figure.canvas.get_renderer())
            label.remove()
            cost = sum(_overlap(box, other) for at, other in enumerate(taken) if at != own) + _outside(box, frame)
            if cost < best_cost:
                best, best_cost = place, cost
            if cost == 0:
                break
        label = _label(axes, name, (x, y), best, hue)
        taken.append(label.get_window_extent(figure.canvas.get_renderer()))


def _label(axes: Any, name: str, at: tuple[float, float], place: tuple[int, int, str, str], hue: str) -> Any:
    right, up, ha, va = place
    return axes.annotate(name, at, (right, up), textcoords="offset points", ha=ha, va=va, color=hue, fontsize=8.5, zorder=4)


def _around(ends: Any, margin: float) -> Any:
    from matplotlib.transforms import Bbox

    low, high = ends
    return Bbox([(low[0] - margin, low[1] - margin), (high[0] + margin, high[1] + margin)])


def _overlap(one: Any, two: Any) -> float:
    wide = min(one.x1, two.x1) - max(one.x0, two.x0)
    high = min(one.y1, two.y1) - max(one.y0, two.y0)
    return float(wide * high) if wide > 0 and high > 0 else 0.0


def _outside(box: Any, frame: Any) -> float:
    beyond = (
        max(0.0, frame.x0 - box.x0) + max(0.0, box.x1 - frame.x1) + max(0.0, frame.y0 - box.y0) + max(0.0, box.y1 - frame.y1)
    )
    return float(beyond * box.height)
