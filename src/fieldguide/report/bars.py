"""Validation and test accuracy as a pair of bars, and training against validation as two ends of a line."""

from __future__ import annotations

from markupsafe import Markup

from fieldguide.report.charts import Axis, ruler, strip_frame
from fieldguide.report.say import percent

HEIGHT = 34
#: Bars begin at zero, whatever they show: their length is what is compared.
WHOLE = Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))
Bounds = tuple[float, float] | None


def bars(val: float | None, test: float | None, intervals: tuple[Bounds, Bounds], slot: int) -> Markup:
    """Return the bar of validation above that of test, each with its own of the `intervals`; what is absent has no bar."""
    parts, told = [], []
    for name, value, bounds, y in (("val", val, intervals[0], 4), ("test", test, intervals[1], 19)):
        if value is None:
            continue
        told.append(f"{name} {percent(value)}")
        start, end = WHOLE.x(0), WHOLE.x(value)
        bar = Markup('<rect class="bar {} f{}" x="{}" y="{}" width="{}" height="11"/>')
        parts.append(bar.format(name, slot, start, y, round(end - start, 1)))
        if bounds:
            line = Markup('<line class="whisker" x1="{}" x2="{}" y1="{}" y2="{}"/>')
            parts.append(line.format(WHOLE.x(bounds[0]), WHOLE.x(bounds[1]), y + 5.5, y + 5.5))
    return strip_frame(WHOLE, HEIGHT, ", ".join(told) or "not scored", parts)


def gap(axis: Axis, train: float, val: float, slot: int, names: tuple[str, str] = ("training", "validation")) -> Markup:
    """Return training (open) and validation (filled) accuracy of one contestant on the common `axis`, joined by a line.

    Or two others, which `names` then tells.
    """
    middle = HEIGHT / 2
    parts = [
        Markup('<line class="span f{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            slot, axis.x(val), axis.x(train), middle, middle
        ),
        Markup('<circle class="end open f{}" cx="{}" cy="{}" r="5"/>').format(slot, axis.x(train), middle),
        Markup('<circle class="end f{}" cx="{}" cy="{}" r="5"/>').format(slot, axis.x(val), middle),
    ]
    return strip_frame(axis, HEIGHT, f"{names[0]} {percent(train)}, {names[1]} {percent(val)}", parts)


def whole_ruler() -> Markup:
    """Return the ruler of `bars`."""
    return ruler(WHOLE)
