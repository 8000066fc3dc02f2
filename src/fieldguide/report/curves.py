"""Learning curves: two small charts and their table for each contestant that learned in epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report import say
from fieldguide.report.charts import curve
from fieldguide.report.read import Contestant, Json, Study
from fieldguide.report.say import Value

#: Most rows of a table of epochs; beyond it every second, third ... epoch is listed.
MOST_ROWS = 120


@dataclass(frozen=True, slots=True)
class Epoch:
    """One row of the table."""

    epoch: int
    chosen: bool
    train_loss: Value
    val_loss: Value
    val_accuracy: Value
    learning_rate: Value
    seconds: Value


@dataclass(frozen=True, slots=True)
class Curves:
    """What is drawn for one contestant; `step` is the distance of the epochs in the table."""

    contestant: Contestant
    loss: Markup
    accuracy: Markup
    epochs: tuple[Epoch, ...]
    count: int
    step: int

    @property
    def unit(self) -> str:
        """What is counted: epochs, or the looks at validation of a language model that is taught in steps."""
        return "look" if self.contestant.facts.get("kind") == "tuned" else "epoch"


def curves(study: Study) -> tuple[tuple[Curves, ...], tuple[Contestant, ...]]:
    """Return the curves of `study`, and the scored contestants that have none."""
    drawn = [c for c in study.contestants if c.epochs]
    return tuple(_curves(c) for c in drawn), tuple(c for c in study.scored if not c.epochs)


def _curves(contestant: Contestant) -> Curves:
    events, chosen = contestant.epochs, contestant.chosen_epoch
    losses = {"val": _series(events, "val_loss"), "train": _series(events, "train_loss")}
    accuracy = {"val": _series(events, "val_accuracy")}
    step = math.ceil(len(events) / MOST_ROWS)
    listed = [
        event
        for position, event in enumerate(events)
        if position % step == 0 or event["epoch"] == chosen or position == len(events) - 1
    ]
    return Curves(
        contestant=contestant,
        loss=curve(f"Loss of {contestant.name} by epoch", losses, chosen),
        accuracy=curve(f"Validation accuracy of {contestant.name} by epoch", accuracy, chosen, as_percent=True),
        epochs=tuple(_epoch(event, chosen) for event in listed),
        count=len(events),
        step=step,
    )


def _series(events: Sequence[Json], key: str) -> list[tuple[int, float]]:
    return [(event["epoch"], float(event[key])) for event in events if isinstance(event.get(key), int | float)]


def _epoch(event: Json, chosen: int | None) -> Epoch:
    def value(key: str, words: object) -> Value:
        found = event.get(key)
        usable = isinstance(found, int | float) and math.isfinite(found)
        return say.number(found if usable else None, words)

    return Epoch(
        epoch=event["epoch"],
        chosen=event["epoch"] == chosen,
        train_loss=value("train_loss", say.decimal),
        val_loss=value("val_loss", say.decimal),
        val_accuracy=value("val_accuracy", say.percent),
        learning_rate=value("learning_rate", lambda rate: f"{rate:.2e}"),
        seconds=value("seconds", say.seconds),
    )
