"""Inline SVG of differences in percentage points with their intervals, on one axis that holds zero."""

from __future__ import annotations

import math
from collections.abc import Iterable

from markupsafe import Markup

from fieldguide.report.charts import STRIP_HEIGHT, Axis, ruler, strip_frame
from fieldguide.report.say import points


def gap_axis(gaps: Iterable[float]) -> Axis:
    """Return the narrowest axis with round bounds, within -1 to 1, that holds zero and all `gaps`."""
    values = [0.0, *(gap for gap in gaps if math.isfinite(gap))]
    low, high = max(-1.0, min(values)), min(1.0, max(values))
    step = next((step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if high - low <= 5 * step), 0.5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if first == last:
        first, last = -1, 1
    return Axis(first * step, last * step, tuple(round(tick * step, 4) for tick in range(first, last + 1)))


def gap_strip(axis: Axis, value: float | None, bounds: tuple[float, float] | None) -> Markup:
    """Return one difference as a dot, with its interval as a line, and where zero is; what is absent has no dot."""
    middle = STRIP_HEIGHT / 2
    parts = [Markup('<line class="zero" x1="{0}" x2="{0}" y1="0" y2="{1}"/>').format(axis.x(0.0), STRIP_HEIGHT)]
    if value is None:
        return strip_frame(axis, STRIP_HEIGHT, "not compared", parts)
    kind = "sure" if bounds and (bounds[0] > 0 or bounds[1] < 0) else "open"
    if bounds:
        low, high = (axis.x(end) for end in bounds)
        whisker = Markup('<path class="gapspan" d="M{} {}H{}M{} {}v8M{} {}v8"/>')
        parts.append(whisker.format(low, middle, high, low, middle - 4, high, middle - 4))
    parts.append(Markup('<circle class="gapdot {}" cx="{}" cy="{}" r="5"/>').format(kind, axis.x(value), middle))
    spoken = f"{points(value)} points" + (f", interval {points(bounds[0])} to {points(bounds[1])}" if bounds else "")
    return strip_frame(axis, STRIP_HEIGHT, spoken, parts)


def gap_ruler(axis: Axis) -> Markup:
    """Return the ruler above such strips, in percentage points."""
    return ruler(axis)
