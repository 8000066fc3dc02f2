"""Did it learn or memorise? How much better a network knows its training pictures than validation ones, and when that began.

Both accuracies are those of the kept weights on pictures as they are, without augmentation. Training and validation pictures are
different ones, so the gap is a difference of two independent shares. Validation chose the epoch that was kept, which flatters it a
little: the true gap is rather larger than smaller.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from fieldguide.evaluate.intervals import newcombe

State = Literal["over-fits", "a little", "no sign", "too few pictures to tell", "learned little", "not measured"]

#: Points of gap from which a network that certainly has one is said to over-fit; below, it does so a little.
OVERFIT = 0.05
#: Training accuracy below which a network without a gap is said to have learned little.
LEARNED = 0.80
#: Validation loss has turned where its later epochs lie this much above its lowest one, in the median,
#: while the training loss has fallen by as much again.
TURN = 0.05
#: Epochs after the lowest validation loss without which nobody can say that it has turned.
LATER = 2
#: Most training pictures that the kept weights are asked about.
ASKED = 2000


@dataclass(frozen=True, slots=True)
class Turn:
    """Validation loss was lowest at `epoch`; `rise` and `fall` are parts of the two losses there, by the later epochs."""

    epoch: int
    rise: float
    fall: float


@dataclass(frozen=True, slots=True)
class Fitting:
    """What is known of one contestant; `advice` is what to try. Shares are 0 to 1; `low` to `high` is the 95 % interval of `gap`.

    What was not measured is `None`.
    """

    state: State
    sentence: str
    advice: str = ""
    train: float | None = None
    val: float | None = None
    gap: float | None = None
    low: float | None = None
    high: float | None = None
    turned: Turn | None = None
    n_train: int = 0
    n_val: int = 0


def fitting(kept: Mapping[str, Any], epochs: Sequence[Mapping[str, Any]], n_train: int, n_val: int) -> Fitting:
    """Judge one contestant.

    `kept` holds ``train_accuracy`` and ``val_accuracy`` of the kept weights, `epochs` the events of the curve (``epoch``,
    ``train_loss`` on augmented views, ``val_loss``). `n_train` and `n_val` are the pictures it trained on and was validated on;
    of the training pictures at most `ASKED` were asked, or ``train_pictures`` of `kept`, and of the others all, or ``val_pictures``.
    """
    turned = turn(epochs)
    train, val = _share(kept.get("train_accuracy")), _share(kept.get("val_accuracy"))
    n_val = int(kept.get("val_pictures") or n_val)
    asked = int(kept.get("train_pictures") or min(n_train, ASKED))
    if train is None or val is None or not asked or not n_val:
        why = (
            "there were no validation pictures"
            if not n_val
            else "its log holds no accuracy of the kept weights on training pictures"
        )
        return Fitting("not measured", f"Not measured: {why}. {_said_turn(turned)}".strip(), turned=turned)
    low, high = newcombe(round(train * asked), asked, round(val * n_val), n_val)
    gap = train - val
    state = _state(train, gap, low, high)
    sentence = f"{_said(state, train, val, gap, (low, high))} {_said_turn(turned, state)}".strip()
    return Fitting(state, sentence, _ADVICE.get(state, ""), train, val, gap, low, high, turned, asked, n_val)


def turn(epochs: Sequence[Mapping[str, Any]]) -> Turn | None:
    """Return where the validation loss turned upwards while the training loss fell on; `None` where it did not."""
    both = [
        (int(event["epoch"]), train, val)
        for event in epochs
        if (train := _loss(event.get("train_loss"))) is not None and (val := _loss(event.get("val_loss"))) is not None
    ]
    if not both:
        return None
    at = min(range(len(both)), key=lambda place: both[place][2])
    epoch, train, val = both[at]
    later = both[at + 1 :]
    if len(later) < LATER or val <= 0 or train <= 0:
        return None
    rise = median(loss for _, _, loss in later) / val - 1
    fall = 1 - min(loss for _, loss, _ in later) / train
    return Turn(epoch, rise, fall) if rise >= TURN and fall >= TURN else None


def _state(train: float, gap: float, low: float, high: float) -> State:
    if low > 0:
        return "over-fits" if gap >= OVERFIT else "a little"
    if high > OVERFIT:
        return "too few pictures to tell"
    return "no sign" if train >= LEARNED else "learned little"


_ADVICE: Mapping[State, str] = {
    "over-fits": "More pictures, stronger augmentation or fewer trained layers are what to try.",
    "learned little": "Longer training, more trained layers or a larger network are what to try, before more pictures.",
    "too few pictures to tell": "More validation pictures would tell.",
}


def _said(state: State, train: float, val: float, gap: float, bounds: tuple[float, float]) -> str:
    span = f"[{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}]".replace("-", "\u2212")
    shares = f"training {100 * train:.1f} %, validation {100 * val:.1f} %"
    points = f"{100 * gap:.1f} points {span}".replace("-", "\u2212")
    if state == "over-fits":
        if train == 1:
            return f"Fits its training pictures perfectly (100 %) and validation {100 * val:.1f} %: over-fits by {points}."
        return f"Over-fits by {points}: {shares}."
    if state == "a little":
        return f"Knows its training pictures a little better: {shares}, {points}; over-fitting is said from {100 * OVERFIT:.0f} points on."
    if state == "too few pictures to tell":
        unlearned = " Its training pictures are not learned either." if train < LEARNED else ""
        return f"Too few pictures to tell: {shares}, a gap of {points}.{unlearned}"
    if state == "learned little":
        return f"No sign of over-fitting, but its training pictures are not learned either: {shares}, a gap of {points}."
    return f"No sign of over-fitting: {shares}, a gap of {points}."


def _said_turn(turned: Turn | None, state: State = "not measured") -> str:
    if turned is None:
        return ""
    told = f"Its validation loss was lowest at epoch {turned.epoch} and rose from there while the training loss fell on"
    return told + (": later epochs grew surer, not better." if state in ("no sign", "a little") else ".")


def _share(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None


def _loss(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
