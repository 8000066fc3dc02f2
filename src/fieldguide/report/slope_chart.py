"""Inline SVG of recalls before and after. Classes that go the same way share a line that is as much wider; names stand at the ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report.say import clean, percent

WIDTH, HEIGHT = 620, 430
LEFT, RIGHT, TOP, BOTTOM = 58, 380, 16, 396
_APART, _MOST_NAMES, _LONGEST = 15, 24, 26


@dataclass(frozen=True, slots=True)
class Trace:
    """One class: recall before and after."""

    name: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Bundle:
    """All classes with the same two recalls."""

    before: float
    after: float
    names: tuple[str, ...]

    @property
    def kind(self) -> str:
        """``better``, ``worse`` or ``same``."""
        return "same" if self.after == self.before else "better" if self.after > self.before else "worse"

    @property
    def width(self) -> float:
        """Stroke width: one class is thin, many are wide, up to a bound."""
        return min(7.0, 1.2 + 0.7 * (len(self.names) - 1))

    @property
    def label(self) -> str:
        """The name of one class; of more, the first and how many others."""
        first = clean(self.names[0])
        short = first if len(first) <= _LONGEST else f"{first[: _LONGEST - 1]}…"
        return short if len(self.names) == 1 else f"{short} +{len(self.names) - 1}"


def bundles(traces: Sequence[Trace]) -> list[Bundle]:
    """Return the traces in bundles, in drawing order: unchanged at the bottom, worse on top."""
    found: dict[tuple[float, float], list[str]] = {}
    for trace in traces:
        found.setdefault((trace.before, trace.after), []).append(trace.name)
    every = [Bundle(before, after, tuple(names)) for (before, after), names in found.items()]
    return sorted(every, key=lambda b: (("same", "better", "worse").index(b.kind), b.before, b.after))


def height(recall: float) -> float:
    """Return the vertical position of a recall."""
    return round(BOTTOM - recall * (BOTTOM - TOP), 1)


def slope_chart(title: str, traces: Sequence[Trace], whole: tuple[float | None, float | None] | None) -> Markup:
    """Return the chart; empty without `traces`. `whole` is the accuracy before and after. Its numbers stand in the table beside it."""
    if not traces:
        return Markup("")
    parts = _frame()
    drawn = bundles(traces)
    for bundle in drawn:
        parts.append(_stroke(bundle))
    if whole is not None and whole[0] is not None and whole[1] is not None:
        ends = (height(whole[0]), height(whole[1]))
        parts.append(
            Markup('<line class="slope whole" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(LEFT, ends[0], RIGHT, ends[1])
        )
        dot = Markup('<circle class="whole" cx="{}" cy="{}" r="4.5"/>')
        parts += [dot.format(x, y) for x, y in zip((LEFT, RIGHT), ends, strict=True)]
    parts += _names(drawn)
    head = Markup('<svg class="slopes" role="img" viewBox="0 0 {0} {1}" width="{0}" height="{1}"><title>{2}</title>')
    return head.format(WIDTH, HEIGHT, clean(title)) + Markup("").join(parts) + Markup("</svg>")


def _frame() -> list[Markup]:
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = height(tick)
        parts.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(LEFT, RIGHT, y, y))
        parts.append(_text("tick", LEFT - 10, y + 4, percent(tick).replace(".0", ""), "end"))
    parts += [Markup('<line class="pole" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(x, TOP, BOTTOM) for x in (LEFT, RIGHT)]
    parts.append(_text("tick", LEFT, HEIGHT - 10, "before"))
    parts.append(_text("tick", RIGHT, HEIGHT - 10, "after"))
    return parts


def _stroke(bundle: Bundle) -> Markup:
    line = Markup('<line class="slope {}" stroke-width="{}" x1="{}" y1="{}" x2="{}" y2="{}"><title>{}</title></line>')
    names = ", ".join(clean(name) for name in bundle.names[:8]) + (
        f" and {len(bundle.names) - 8} more" if len(bundle.names) > 8 else ""
    )
    told = f"{names}: {percent(bundle.before)} → {percent(bundle.after)}"
    y1, y2 = height(bundle.before), height(bundle.after)
    return line.format(bundle.kind, round(bundle.width, 1), LEFT, y1, RIGHT, y2, told)


def _names(drawn: Sequence[Bundle]) -> list[Markup]:
    """Return names at the right end: what got worse first, then the largest rises, as far as there is room."""
    moved = [bundle for bundle in drawn if bundle.kind != "same"]
    moved.sort(key=lambda b: (b.kind != "worse", -abs(b.after - b.before)))
    chosen = sorted(moved[:_MOST_NAMES], key=lambda b: (-b.after, b.before))
    heights = spread([height(bundle.after) for bundle in chosen])
    parts = []
    for bundle, y in zip(chosen, heights, strict=True):
        if abs(y - height(bundle.after)) > 3:
            lead = Markup('<line class="lead-line" x1="{}" x2="{}" y1="{}" y2="{}"/>')
            parts.append(lead.format(RIGHT + 3, RIGHT + 12, height(bundle.after), y))
        sign = "▼" if bundle.kind == "worse" else "▲"
        parts.append(_text(f"name {bundle.kind}", RIGHT + 15, round(y + 4, 1), f"{sign} {bundle.label}", "start"))
    return parts


def spread(heights: Sequence[float], apart: float = _APART, low: float = 8, high: float = HEIGHT - 20) -> list[float]:
    """Move sorted heights apart where they would lie on each other, within `low` and `high`."""
    placed: list[float] = []
    for position, wanted in enumerate(heights):
        room = high - apart * (len(heights) - 1 - position)
        placed.append(min(max(wanted, low if not placed else placed[-1] + apart), max(room, low)))
    return [round(y, 1) for y in placed]


def _text(kind: str, x: float, y: float, words: object, anchor: str = "middle") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(kind, x, y, anchor, words)
