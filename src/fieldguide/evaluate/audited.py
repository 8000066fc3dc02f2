"""What a prompt audit found: from answers to a prompt and to changes of it, one at a time, to the content of ``audit.json``.

Everything is paired: the same pictures, with and without the change. What one check tests is corrected after Holm within it, and the
smallest of these over all checks, so that an audit of a contestant that nothing moves raises a false alarm in one of twenty at most. That
something is not distinguishable is no proof that it does nothing: each check says how small a difference it would have seen.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fieldguide.evaluate import audit_verdict
from fieldguide.evaluate.audit_findings import Told
from fieldguide.evaluate.audit_numbers import Answers, Json, association, compared, places, pull, share, swapped
from fieldguide.evaluate.leaning import ALPHA
from fieldguide.evaluate.pairs import holm, mcnemar
from fieldguide.evaluate.power import FLOOR, POWER, detection_power
from fieldguide.records import Prediction
from fieldguide.tasks.asking import UNREADABLE, open_question
from fieldguide.tasks.varying import CHECKS, NO_EXAMPLE, Check, Variation

#: Checks that are judged together: those that ask whether something which should do nothing does something.
JUDGED: tuple[Check, ...] = ("example", "order", "length", "paraphrase", "synonyms", "batch")
#: The part of the pictures that a way of asking must have answered to be compared with others of its check at once.
_MOST = 0.5
#: How finely the smallest difference that would be found is looked for: a tenth of a point.
_STEP = 0.001


@dataclass(frozen=True)
class Varied:
    """What was answered in one variation: `answers` has the class id for each picture, `None` where what was said names no class.

    A picture that has no answer (yet) is not in it. The other fields are those of the `Variation`.
    """

    check: Check
    id: str
    name: str
    answers: Answers
    example: str | None = None
    order: tuple[str, ...] | None = None
    only: tuple[str, ...] | None = None

    @classmethod
    def of(cls, variation: Variation, answers: Answers) -> Varied:
        """Return `answers` with what they were answers to."""
        return cls(variation.check, variation.id, variation.name, answers, variation.example, variation.order, variation.only)


@dataclass(frozen=True)
class Facts:
    """All that an audit is made of.

    `truth` has the class id of every picture that was to be asked about; `base` are the answers to the prompt as it is, `varied` those to
    its variations. `example` and `order` are what that prompt has (`fieldguide.tasks.varying.present`), `reasons` what is not applicable,
    and why (`not_applicable`), `checks` what was wanted, `names` how classes are called, by id.
    """

    truth: Mapping[str, str]
    base: Answers
    varied: Sequence[Varied]
    classes: Sequence[str]
    example: str | None = None
    order: tuple[str, ...] | None = None
    reasons: Mapping[Check, str] = field(default_factory=dict)
    checks: Sequence[Check] = tuple(CHECKS)
    names: Mapping[str, str] = field(default_factory=dict)
    temperature: float = 0.0
    seed: int = 0

    def of(self, check: Check) -> list[Varied]:
        """Return what was answered for one check, where anything was."""
        return [one for one in self.varied if one.check == check and any(key in one.answers for key in self.truth)]


def answered(predictions: Iterable[Prediction]) -> dict[str, str | None]:
    """Return the answers of `predictions`, by content hash: without those that have none because nobody was asked or nothing came."""
    return {
        one.image: None if one.error is not None else one.label
        for one in predictions
        if not open_question(one.error) and not (one.error or "").startswith(UNREADABLE)
    }


def content(facts: Facts) -> Json:
    """Return what ``audit.json`` says of the answers: ``base``, ``checks`` and ``verdict``."""
    made = [_check(facts, check) for check in CHECKS]
    _judge(made)
    told = Told(facts.names, facts.example, len(facts.truth), facts.temperature, _flipped(facts))
    for check in made:
        if check["state"] == "ok":
            audit_verdict.say(check, told)
    base = {key: facts.base[key] for key in facts.truth if key in facts.base}
    right, labelled = sum(base[key] == facts.truth[key] for key in base), sum(answer is not None for answer in base.values())
    return {
        "base": {
            "right": right,
            "labelled": labelled,
            "n": len(base),
            "unanswered": len(facts.truth) - len(base),
            "accuracy": share(right, len(base)),
        },
        "checks": [{name: value for name, value in check.items() if not name.startswith("_")} for check in made],
        "verdict": audit_verdict.verdict(made, told),
    }


def _check(facts: Facts, check: Check) -> Json:
    """Return one entry of ``checks``, with groups of what it is to be judged by under ``_tests``."""
    told: Json = {
        "id": check,
        "question": CHECKS[check],
        "state": "ok",
        "why": None,
        "found": None,
        "alarm": False,
        "sentence": "",
    }
    told |= {"p": None, "p_holm": None, "detectable": None, "variants": [], "_tests": []}
    if check in facts.reasons:
        return {**told, "state": "not applicable", "why": facts.reasons[check], "sentence": facts.reasons[check]}
    varied = facts.of(check)
    base = [key for key in facts.truth if key in facts.base]
    if check not in facts.checks or not varied or not base:
        why = "It was not wanted." if check not in facts.checks else "There are no answers yet."
        return {**told, "state": "not asked", "why": why, "sentence": why}
    told["variants"] = [_variant(facts, one) for one in varied]
    if check == "picture":
        _picture(facts, told)
    elif check == "example":
        _example(facts, told, varied)
    elif check == "order":
        _order(facts, told, varied)
    elif check == "length":
        _length(facts, told, varied)
    elif check in ("batch", "repeat"):
        _same(facts, told, varied[0])
    else:
        told["_tests"] = [_differences(told["variants"])]
    return told


def _variant(facts: Facts, one: Varied) -> Json:
    concerned = [key for key, label in facts.truth.items() if one.only is None or label in one.only]
    return {"id": one.id, "name": one.name, **compared(facts.truth, facts.base, one.answers, concerned)}


def _differences(variants: Sequence[Json]) -> list[Json]:
    """Return the differences of accuracy that are there, to be judged by."""
    return [one["difference"] for one in variants if one["difference"] is not None]


def _picture(facts: Facts, told: Json) -> None:
    """Add the swapped pictures, and whether pictures tell on answers at all."""
    base = {key: facts.base[key] for key in facts.truth if key in facts.base}
    others = swapped(facts.truth, base, facts.seed)
    p = association(facts.truth, base)
    if others and p is not None:
        name = "the answer about a picture of another class"
        made = _variant(facts, Varied("picture", "swapped", name, others))
        made["difference"]["p"] = p  # answers were put in other places, not asked again: pictures are no longer independent
        made["recall"] = []
        told["variants"].append(made)
    told["p"] = p
    told["distinct"] = len(set(base.values()))


def _example(facts: Facts, told: Json, varied: Sequence[Varied]) -> None:
    """Add the pull towards the example, and what an example that changes from picture to picture would have done."""
    columns = {} if facts.example is None else {facts.example: facts.base}
    columns |= {one.example: one.answers for one in varied if one.example is not None}
    enough = _enough(facts, columns)
    made = pull(facts.truth, enough)
    if made is not None:
        told["pull"] = {name: made[name] for name in ("labels", "overall")}
        labels, keys = list(enough), sorted(facts.truth)
        random.Random(f"{facts.seed} rotating").shuffle(keys)  # noqa: S311
        turns = {key: enough[labels[at % len(labels)]] for at, key in enumerate(keys)}
        rotating = {key: answers[key] for key, answers in turns.items() if key in answers}
        name = f"{len(labels)} labels in turn as the example, another for each picture"
        told["variants"].append(_variant(facts, Varied("example", "rotating", name, rotating)))
    without = [one for one in told["variants"] if one["id"] == NO_EXAMPLE]
    judged = without or [one for one in told["variants"] if one["id"] != "rotating"]
    told["_tests"] = [_differences(judged), [] if made is None else [told["pull"]["overall"]]]


def _order(facts: Facts, told: Json, varied: Sequence[Varied]) -> None:
    """Add which places of the list take how many of the answers, over all orders, the present one among them."""
    columns = {one.order: one.answers for one in varied if one.order is not None}
    if facts.order is not None:
        columns = {facts.order: facts.base, **columns}
    made = places(facts.truth, list(_enough(facts, columns).items()))
    told["_tests"] = [_differences(told["variants"])]
    if made is not None:
        told["places"] = made
        told["_tests"].append([made] if made["p"] is not None else [])


def _length(facts: Facts, told: Json, varied: Sequence[Varied]) -> None:
    """Add both halves together, and compare where both answers stand in the shorter list.

    A shorter list leaves out wrong names, so that more answers are right by that alone. If a name that is left out were all that it
    does, those who name one that stays would be right as often with either list (independence of irrelevant alternatives); that is
    what the check is judged by, and not the accuracy.
    """
    by_half = {
        key: one for one in reversed(varied) if one.only is not None for key in one.answers if facts.truth.get(key) in one.only
    }
    if by_half:  # a picture of both halves, because it is the example, counts with the first
        joined = {key: one.answers[key] for key, one in by_half.items()}
        name = "half of the list, each picture with a half that has its class"
        told["variants"].append(_variant(facts, Varied("length", "halves", name, joined)))
    told["_tests"] = [[]]
    for variant in told["variants"]:
        whole = {key: one for one in varied if one.only is None and one.id == variant["id"] for key in one.answers}
        asked = by_half if variant["id"] == "halves" else whole
        pairs = {key: one.answers[key] for key, one in asked.items() if _stays(facts, one, key)}
        if pairs:
            made = compared(facts.truth, facts.base, pairs, list(pairs))
            variant["beside_choice"] = {**made["difference"], "flips": made["flips"]}
            told["_tests"][0].append(variant["beside_choice"])


def _stays(facts: Facts, one: Varied, key: str) -> bool:
    """Tell whether both answers about a picture stand in the shorter of the two lists."""
    listed = one.only or facts.classes
    return key in facts.truth and facts.base.get(key) in listed and one.answers[key] in listed


def _same(facts: Facts, told: Json, one: Varied) -> None:
    """Judge whether more answers change than do when the same is asked twice, where that was asked."""
    again = next(iter(facts.of("repeat")), None)
    if told["id"] == "batch":
        told["_tests"] = [_differences(told["variants"])]
        if again is not None:
            keys = [key for key in facts.truth if key in facts.base and key in one.answers and key in again.answers]
            moved = [(facts.base[key] != one.answers[key], facts.base[key] != again.answers[key]) for key in keys]
            p = mcnemar(sum(now and not noise for now, noise in moved), sum(noise and not now for now, noise in moved))
            told["beyond_repeat"] = {"p": p, "p_holm": None, "n": len(keys)}
            told["_tests"].append([told["beyond_repeat"]])


def _judge(made: Sequence[Json]) -> None:
    """Correct after Holm within each group of tests of a check, then the smallest p of each group, and then that of each check.

    So the one test of the pull has half of the level of its check, however many labels stand beside it. A test's own `p_holm` goes up by
    what its group and its check had to go up by.
    """
    judged = [check for check in made if check["id"] in JUDGED and any(check["_tests"])]
    for check in judged:
        check["_tests"] = [group for group in check["_tests"] if group]
        for group in check["_tests"]:
            _corrected(group, [test["p"] for test in group])
        _raised(check["_tests"])
        check["p"] = min(test["p_holm"] for group in check["_tests"] for test in group)
    _raised([[test for group in check["_tests"] for test in group] for check in judged])
    for check in judged:
        tests = [test for group in check["_tests"] for test in group]
        check["p_holm"] = min(test["p_holm"] for test in tests)
        level = ALPHA / (len(judged) * len(check["_tests"]))
        check["detectable"] = _detectable(check["_tests"], level)
        stands = check.get("places")
        if stands is not None and stands["p"] is not None and stands["p_holm"] > ALPHA:
            stands["outcome"] = "not distinguishable"


def _corrected(tests: Sequence[Json], p: Sequence[float]) -> None:
    for test, value in zip(tests, holm(p), strict=True):
        test["p_holm"] = value


def _raised(groups: Sequence[Sequence[Json]]) -> None:
    """Correct the smallest `p_holm` of each group after Holm over the groups, and raise the others of the group as much."""
    least = [min(test["p_holm"] for test in group) for group in groups]
    for group, before, after in zip(groups, least, holm(least), strict=True):
        factor = after / before if before > 0 else len(groups)
        for test in group:
            test["p_holm"] = min(1.0, test["p_holm"] * factor)


def _detectable(groups: Sequence[Sequence[Json]], level: float) -> float | None:
    """Return the smallest difference of accuracy that would be found with 80 % power at the hardest level that Holm asks for.

    As many pictures as were seen to change sides are taken to do so, or all that the difference itself needs. `None` where even the
    largest would be missed, or accuracy is not what is tested.
    """
    group = next((group for group in groups if "discordant" in group[0]), None)
    if group is None:
        return None
    n, alpha = min(test["n"] for test in group), level / len(group)
    discordance = max(FLOOR, statistics.median(test["discordant"] / test["n"] for test in group))
    low, high = 0.0, 1.0
    if detection_power(n, 1.0, 1.0, alpha) < POWER:
        return None
    while high - low > _STEP:
        middle = (low + high) / 2
        enough = detection_power(n, max(discordance, middle), middle, alpha) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def _enough(facts: Facts, columns: Mapping[Any, Answers]) -> dict[Any, Answers]:
    """Return the ways of asking that most pictures were answered in: one that has hardly begun would leave too few for all others."""
    return {
        key: answers
        for key, answers in columns.items()
        if sum(one in answers for one in facts.truth) >= _MOST * len(facts.truth)
    }


def _flipped(facts: Facts) -> float | None:
    """Return the share of answers that change when the same is asked twice; `None` where it was not."""
    for one in facts.of("repeat"):
        return compared(facts.truth, facts.base, one.answers, list(facts.truth))["flips"]["value"]  # type: ignore[no-any-return]
    return None
