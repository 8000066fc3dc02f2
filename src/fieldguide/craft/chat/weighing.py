"""Probabilities of classes, made of how probable each name is as the answer: which form of the score, and which temperature.

A sum of log-probabilities favours names that are short, or that a model likes to say whatever it sees. There are four forms:

    sum      as it is
    token    divided by the name's tokens, the end of the turn included
    byte     divided by the name's bytes
    pmi      less the sum for a grey picture under the same prompt (Holtzman et al., arXiv 2104.08315, who take a text without content;
             for codes it is the contextual calibration of Zhao et al., 2102.09690)

No form is best everywhere, so validation pictures choose: the one with the least log loss after its own temperature
(`fieldguide.craft.calibrated`), and ``sum`` where others are no better. Without validation pictures it is ``sum`` at temperature 1.

Where several orders of the list are asked about, each order's scores become probabilities, and their mean is what the temperature is judged
on and divides the logarithm of: p = softmax(log(mean over orders of softmax(scores)) / temperature). So an answer that follows a place of
the list is averaged away (Zheng et al., arXiv 2309.03882, average over permutations of options in the same way).

A server that tells only its likeliest tokens leaves bounds: the most that a name it did not tell of can have. They count as that, so that
the probability of such a name is too large if anything, and that of the others too small. ``pmi`` is out where one is left for the grey
picture, because a bound less a bound is neither; and an answer is undecided where the largest score is a bound in every order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from fieldguide.craft.calibrated import calibrated, threshold
from fieldguide.craft.heads import Array
from fieldguide.errors import EnvironmentProblem
from fieldguide.tasks.weighed import Weighed

Form = Literal["sum", "token", "byte", "pmi"]
#: From the plainest, which wins where others are no better.
FORMS: tuple[Form, ...] = ("sum", "token", "byte", "pmi")
#: Nats of log loss by which another form must be better; less is no difference, and often only that no form sees anything.
_BETTER = 1e-3

#: One picture: what was weighed under each order of the list.
Row = Sequence[Weighed]
Why = Literal["validation", "settings", "no validation pictures"]


@dataclass(frozen=True)
class Tried:
    """One form on validation pictures: log loss at its temperature in nats, share of right answers, and how many `pictures`."""

    form: Form
    nll: float
    accuracy: float
    temperature: float
    pictures: int


@dataclass(frozen=True)
class Weighing:
    """How scores become probabilities. `by` says who chose the form; below `threshold` on the highest probability an answer is refused.

    `greys` are what was weighed for the grey picture, order by order, where ``pmi`` needs it. `bounds` is the share of the validation
    scores that a server gave only a bound for; `None` where it was not asked, or tells all.
    """

    form: Form = "sum"
    temperature: float = 1.0
    threshold: float | None = None
    by: Why = "no validation pictures"
    tried: tuple[Tried, ...] = ()
    greys: tuple[Weighed, ...] = ()
    bounds: float | None = None

    def probabilities(self, row: Row, greys: Row = ()) -> Array:
        """Return ``"classes"``, summing to one; `greys` are those of another prompt than the own."""
        table = _softmax(logs(self.form, row, greys or self.greys)[None] / self.temperature)
        return np.asarray(table[0])

    def facts(self, orders: int, share: float | None) -> dict[str, Any]:
        """Return what the report tells; `share` is that of right validation answers which may be refused."""
        own = next((one for one in self.tried if one.form == self.form), None)
        return {
            "form": self.form,
            "by": self.by,
            "temperature": self.temperature,
            "orders": orders,
            "pictures": own.pictures if own else 0,
            "forms": [dict(vars(one)) for one in self.tried],
            "threshold": self.threshold,
            "refused_share": share,
            "bounds": self.bounds,
        }

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        plainly = {name: getattr(self, name) for name in ("form", "temperature", "threshold", "by", "bounds")}
        return {**plainly, "tried": [dict(vars(one)) for one in self.tried], "greys": [dict(vars(one)) for one in self.greys]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return what `as_json` told; raises `ValueError` where it is something else."""
        if values["form"] not in FORMS or not values["temperature"] > 0:
            raise ValueError("no form of a score, or no temperature")
        greys: list[dict[str, Any]] = [
            {name: None if told is None else tuple(told) for name, told in one.items()} for one in values["greys"]
        ]
        plainly = {name: values[name] for name in ("form", "temperature", "threshold", "by", "bounds")}
        tried = tuple(Tried(**one) for one in values["tried"])
        return cls(**plainly, tried=tried, greys=tuple(Weighed(**one) for one in greys))


def scores(form: Form, one: Weighed, grey: Weighed | None = None) -> Array:
    """Return the scores ``"classes"`` of one picture in one form, in nats; raises `EnvironmentProblem` for a form that cannot be had."""
    sums = np.array(one.sums)
    parts = {"sum": (1,), "token": one.tokens, "byte": one.sizes, "pmi": None if grey is None else grey.sums}[form]
    if parts is None or (form == "pmi" and grey is not None and not all(grey.found or (True,))):
        raise _lacking(form)
    return sums - np.array(parts) if form == "pmi" else np.asarray(sums / np.maximum(parts, 1))


def logs(form: Form, row: Row, greys: Row = ()) -> Array:
    """Return the logarithm ``"classes"`` of the mean over orders of the probabilities, before any temperature."""
    beside: Sequence[Weighed | None] = greys if form == "pmi" and greys else [None] * len(row)
    each = np.array([scores(form, one, grey) for one, grey in zip(row, beside, strict=True)])
    each = each - np.logaddexp.reduce(each, axis=1, keepdims=True)
    return np.asarray(np.logaddexp.reduce(each, axis=0) - np.log(len(each)))


def told(row: Row) -> NDArray[np.bool_]:
    """Return of which names ``"classes"`` something is known but a bound, in one order at least."""
    each = [np.ones(len(one.sums), bool) if one.found is None else np.array(one.found) for one in row]
    return np.asarray(np.any(each, axis=0))


def forms(rows: Sequence[Row], greys: Row) -> tuple[Form, ...]:
    """Return the forms that can be had of these pictures."""
    every = [one for row in rows for one in row]
    known = {
        "sum": True,
        "token": all(one.tokens is not None for one in every),
        "byte": all(one.sizes is not None for one in every),
        "pmi": bool(greys) and all(all(one.found or (True,)) for one in greys),
    }
    return tuple(form for form in FORMS if known[form])


def chosen(rows: Sequence[Row], labels: Sequence[int], greys: Row, wanted: Form | None, share: float | None) -> Weighing:
    """Return the weighing that suits validation pictures, `labels` being the places of their classes.

    `wanted` is a form that was asked for. `share` of the right answers may be refused. Pictures without a single name that was told of say
    nothing and are left out. Raises `EnvironmentProblem` where the wanted form cannot be had.
    """
    use = [at for at, row in enumerate(rows) if told(row).any()]
    if not use:
        return Weighing(wanted or "sum", by="settings" if wanted else "no validation pictures", greys=_kept(wanted, greys))
    rows, truth = [rows[at] for at in use], np.array([labels[at] for at in use], np.int64)
    able = forms(rows, greys)
    if wanted is not None and wanted not in able:
        raise _lacking(wanted)
    tables = {form: np.stack([logs(form, row, greys) for row in rows]) for form in able}
    tried = tuple(_tried(form, table, truth) for form, table in tables.items())
    best = tried[0]
    for one in tried[1:]:
        if one.nll < best.nll - _BETTER:
            best = one
    best = next((one for one in tried if one.form == wanted), best)
    least = None
    if share is not None:
        table = _softmax(tables[best.form] / best.temperature)
        least = threshold(table.max(axis=1), table.argmax(axis=1) == truth, share)
    every = [one.found for row in rows for one in row]
    bounds = None if all(one is None for one in every) else float(np.mean([not told for one in every for told in one or ()]))
    why: Why = "settings" if wanted else "validation"
    return Weighing(best.form, best.temperature, least, why, tried, _kept(best.form, greys), bounds)


def _softmax(scores: Array) -> Array:
    return np.asarray(np.exp(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)))


def _tried(form: Form, table: Array, truth: NDArray[np.int64]) -> Tried:
    found = calibrated(table, truth, np.ones(table.shape[1], bool))
    right = float((table.argmax(axis=1) == truth).mean())
    return Tried(form, 0.0 if found.after is None else found.after, right, found.temperature, len(table))


def _kept(form: Form | None, greys: Row) -> tuple[Weighed, ...]:
    return tuple(greys) if form == "pmi" else ()


def _lacking(form: Form) -> EnvironmentProblem:
    why = {
        "token": "a code stood for each name, and a name's tokens were not scored",
        "byte": "a code stood for each name, and a name's bytes say nothing of it",
        "pmi": "the scores of the grey picture are not there, or the server told only its likeliest tokens",
        "sum": "there is nothing to add up",
    }[form]
    return EnvironmentProblem(
        f"score={form} cannot be had: {why}.",
        "score=sum can always be had; token and byte of a model of this process; pmi where every name's score is told.",
        "Leave score out: validation chooses among those that can be had.",
    )
