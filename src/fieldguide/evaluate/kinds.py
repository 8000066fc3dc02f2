"""Kinds of contestants against each other: CNNs and transformers, say. The models are the sample, and there are few of them.

Three questions are kept apart. Whether kinds differ is asked of models: an exact permutation test over the accuracies of the few that
stand here. By how much these very models differ is asked of pictures: a paired bootstrap. And which kind is better at a class is
asked of two models, one for each kind, which validation chose: exact McNemar on the pictures of that class.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, false_discovery_control, permutation_test

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.intervals import SEED
from fieldguide.evaluate.metrics import choose
from fieldguide.evaluate.pairs import holm
from fieldguide.evaluate.published import means
from fieldguide.records import SCHEMA_VERSION

#: What the codes of kinds are called: one of it, and several.
NAMES: Mapping[str, tuple[str, str]] = {
    "convolution": ("CNN", "CNNs"),
    "attention": ("transformer", "transformers"),
    "state space": ("state-space network", "state-space networks"),
    "mixing": ("mixer", "mixers"),
    "features": ("linear model on frozen features", "linear models on frozen features"),
    "floor": ("floor", "floors"),
    "zero-shot": ("image-text encoder, zero-shot", "image-text encoders, zero-shot"),
    "probe": ("probe on an image-text encoder", "probes on image-text encoders"),
    "adapter": ("head on pictures and text together", "heads on pictures and text together"),
    "image-text": ("image-text model", "image-text models"),
    "prompted": ("prompted language model", "prompted language models"),
    "tuned": ("tuned language model", "tuned language models"),
    "recorded": ("recorded answers", "recorded answers"),
}
#: The kind of a run whose family did not tell it, where the family's name says it.
OF_FAMILIES: Mapping[str, str] = {
    "majority": "floor",
    "vmamba": "state space",
    "dual_encoder": "image-text",
    "text_adapter": "image-text",
    "vlm_prompt": "prompted",
    "vlm_lora": "tuned",
    "recorded": "recorded",
}
#: Shown, but not compared: what is beneath every model is no kind of model, and each comparison more makes the others blinder.
FLOOR = "floor"
#: Pictures of a class that only one of two models has right, from which on the class is tested.
LEAST_DISCORDANT = 10
#: Most arrangements that are gone through one by one; beyond it so many are drawn.
_MOST_ARRANGEMENTS = 20_000

Outcome = Literal["a better", "b better", "not distinguishable", "too few models to tell"]


@dataclass(frozen=True)
class Group:
    """The contestants of one kind, best first."""

    kind: str
    sheets: tuple[AnswerSheet, ...]

    @property
    def compared(self) -> bool:
        """Whether it enters comparisons."""
        return self.kind != FLOOR

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Return what each contestant has right, ``"contestants pictures"``."""
        return np.stack([sheet.right for sheet in self.sheets])

    def as_dict(self) -> dict[str, Any]:
        """Return the form of ``kinds.json``: names, runs, and the mean accuracy, which never stands alone."""
        shares = [sheet.accuracy for sheet in self.sheets]
        one, several = names_of(self.kind)
        return {
            "kind": self.kind,
            "name": one,
            "plural": several,
            "runs": [sheet.run for sheet in self.sheets],
            "compared": self.compared,
            "mean": sum(shares) / len(shares),
            "least": min(shares),
            "most": max(shares),
        }


def kind_of(family: str, facts: Mapping[str, Any]) -> str:
    """Return the kind of a run: what its family told when it was fitted, else what the family's name says, else that name."""
    if family == "linear" and "kind" not in facts:
        return "features" if "weights" in facts else FLOOR  # only a network has weights from somewhere
    return str(facts.get("kind") or OF_FAMILIES.get(family, family))


def names_of(kind: str) -> tuple[str, str]:
    """Return what one of `kind` is called, and several; an unknown kind is called by its own name."""
    return NAMES.get(kind, (f"{kind} model", f"{kind} models"))


def grouped(sheets: Sequence[AnswerSheet], kinds: Mapping[str, str]) -> tuple[Group, ...]:
    """Return the groups, best mean first, the floor last; `kinds` gives the kind of each run."""
    ordered = sorted(sheets, key=lambda sheet: (-sheet.correct, sheet.run))
    groups = [Group(kind, tuple(s for s in ordered if kinds[s.run] == kind)) for kind in sorted({kinds[s.run] for s in sheets})]
    return tuple(sorted(groups, key=lambda group: (not group.compared, -float(group.hits.mean()), group.kind)))


def couples(groups: Sequence[Group]) -> list[tuple[Group, Group]]:
    """Return the pairs of kinds that are compared, the one that is better on average first."""
    return list(itertools.combinations([group for group in groups if group.compared], 2))


def told(
    sheets: Sequence[AnswerSheet], kinds: Mapping[str, str], scores: Sequence[Mapping[str, Any]], alpha: float = 0.05
) -> dict[str, Any]:
    """Return the content of ``kinds.json`` for `sheets` of the same pictures; `scores` are the contents of their ``scores.json``."""
    groups = grouped(sheets, kinds)
    chosen = {group.kind: _representative(group, scores) for group in groups}
    return {
        "schema": SCHEMA_VERSION,
        "alpha": alpha,
        "kinds": [{**group.as_dict(), "representative": chosen[group.kind]} for group in groups],
        "pairs": _pairs(couples(groups), alpha),
        "classes": _recalls(groups),
        "by_class": _by_class(couples(groups), chosen, alpha),
    }


# --- whether kinds differ: models are the sample --------------------------------------------------------------------------------


def over_models(a: Sequence[int], b: Sequence[int]) -> tuple[float, float]:
    """Return the two-sided p of the permutation test for the difference of means, and the smallest p that so few numbers allow.

    Exact up to `_MOST_ARRANGEMENTS` ways to deal the numbers out into groups of these sizes; beyond that so many seeded draws.
    """
    ways = math.comb(len(a) + len(b), len(a))
    return _exact(a, b) if ways <= _MOST_ARRANGEMENTS else _drawn(a, b), min(1.0, 2 / ways)


def _exact(a: Sequence[int], b: Sequence[int]) -> float:
    """Go through every way to deal the numbers out; with sizes given, the sum of the first group decides the difference of means."""
    every, own = [*a, *b], sum(a)
    sums = np.array([sum(chosen) for chosen in itertools.combinations(every, len(a))])
    return float(min(1.0, 2 * min((sums >= own).mean(), (sums <= own).mean())))


def _drawn(a: Sequence[int], b: Sequence[int]) -> float:
    found = permutation_test(
        (np.asarray(a, float), np.asarray(b, float)),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        vectorized=True,
        n_resamples=_MOST_ARRANGEMENTS,
        random_state=np.random.default_rng(SEED),
    )
    return float(found.pvalue)


def _pairs(chosen: Sequence[tuple[Group, Group]], alpha: float) -> list[dict[str, Any]]:
    """Return what is told of each pair of kinds.

    A pair with so few models that no outcome could reach `alpha` is not tested and not corrected for (Tarone 1990): its smallest p is
    known before anything is measured.
    """
    tests = [over_models([s.correct for s in a.sheets], [s.correct for s in b.sheets]) for a, b in chosen]
    able = [at for at, (_, least) in enumerate(tests) if least <= alpha]
    p = [tests[at][0] for at in able]
    adjusted = dict(zip(able, holm(p), strict=True))
    pairs = []
    for at, (a, b) in enumerate(chosen):
        found = means(a.hits, b.hits)
        outcome: Outcome = "too few models to tell"
        if at in adjusted:
            place = able.index(at)
            best = holm([*p[:place], tests[at][1], *p[place + 1 :]])[place]
            outcome = "too few models to tell" if best > alpha else "not distinguishable"
            if adjusted[at] <= alpha:
                outcome = "a better" if found.difference > 0 else "b better"
        pairs.append(
            {
                "a": a.kind,
                "b": b.kind,
                "n_a": len(a.sheets),
                "n_b": len(b.sheets),
                "difference": found.difference,
                "low": found.bounds[0],
                "high": found.bounds[1],
                "without_least": found.least,
                "without_most": found.most,
                "p": tests[at][0],
                "p_least": tests[at][1],
                "p_holm": adjusted.get(at),
                "outcome": outcome,
            }
        )
    return pairs


# --- class by class -------------------------------------------------------------------------------------------------------------


def _recalls(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return mean, lowest and highest recall of each kind for each class that has pictures."""
    first = groups[0].sheets[0]
    classes = len(first.classes)
    counts = np.bincount(first.truth, minlength=classes)
    tables = [
        np.stack([np.bincount(s.truth[s.right], minlength=classes) for s in group.sheets]) / np.maximum(counts, 1)
        for group in groups
    ]
    return [
        {
            "id": first.classes[at],
            "n": int(counts[at]),
            "kinds": {
                group.kind: {
                    name: float(of(table[:, at])) for name, of in (("mean", np.mean), ("least", np.min), ("most", np.max))
                }
                for group, table in zip(groups, tables, strict=True)
            },
        }
        for at in np.flatnonzero(counts).tolist()
    ]


def _representative(group: Group, scores: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the run that stands for its kind: its only one, or the one that validation chose; `None` where nothing chose."""
    if len(group.sheets) == 1:
        return group.sheets[0].run
    runs = {sheet.run for sheet in group.sheets}
    return choose([score for score in scores if score["run"] in runs])


def _by_class(chosen: Sequence[tuple[Group, Group]], standing: Mapping[str, str | None], alpha: float) -> dict[str, Any]:
    """Return the tests of all classes and pairs of kinds, and what of them holds when one finding in twenty may be false.

    A class with fewer than `LEAST_DISCORDANT` pictures that set the two models apart is not tested. That number says nothing of
    which of them is better, so leaving such classes out is fair to the others.
    """
    known = [(a, b) for a, b in chosen if standing[a.kind] and standing[b.kind]]
    head: dict[str, Any] = {"tested": 0, "few": 0, "least": LEAST_DISCORDANT, "tests": [], "why": None}
    if not chosen:
        return {**head, "why": "there are not two kinds of models here"}
    if not known:
        return {**head, "why": "no validation pictures chose a contestant to stand for its kind"}
    rows: list[dict[str, Any]] = []
    few = 0
    for a, b in known:
        one, other = (next(s for s in group.sheets if s.run == standing[group.kind]) for group in (a, b))
        for place, only in _counts(one, other):
            if sum(only) < LEAST_DISCORDANT:
                few += 1
                continue
            rows.append({"class": one.classes[place], "a": a.kind, "b": b.kind, "only_a": only[0], "only_b": only[1]})
    p = [float(min(1.0, 2 * binom.cdf(min(r["only_a"], r["only_b"]), r["only_a"] + r["only_b"], 0.5))) for r in rows]
    q = [float(value) for value in false_discovery_control(p)] if p else []
    tests = [{**row, "p": p[at], "q": q[at], "holds": q[at] <= alpha} for at, row in enumerate(rows)]
    return {
        **head,
        "tested": len(tests),
        "few": few,
        "tests": sorted(tests, key=lambda test: (test["q"], test["p"], test["class"])),
    }


def _counts(one: AnswerSheet, other: AnswerSheet) -> list[tuple[int, tuple[int, int]]]:
    """Return for each class with pictures how many of them only `one` has right, and how many only `other`."""
    classes = len(one.classes)
    only_one = np.bincount(one.truth[one.right & ~other.right], minlength=classes)
    only_other = np.bincount(one.truth[other.right & ~one.right], minlength=classes)
    here = np.flatnonzero(np.bincount(one.truth, minlength=classes))
    return [(int(at), (int(only_one[at]), int(only_other[at]))) for at in here]
