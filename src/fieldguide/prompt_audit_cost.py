"""What a prompt audit costs: told before anything is asked, and counted afterwards from the answers that are kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fieldguide import terminal
from fieldguide.data.tables import read_predictions
from fieldguide.errors import plain
from fieldguide.prompt_audit_plan import BEFORE_TEST, Plan
from fieldguide.records import Sending


@dataclass(frozen=True)
class Expected:
    """What the open questions of an audit are expected to take: tokens as letters are counted, money by the prices given, seconds as measured.

    `alone` of the questions are put one by one. What was measured is the share of an answer among others, so that alone it takes at least
    as long, and at most as all that go together: `longest` is what all take then. Where answers of their own kind are kept, these count.
    """

    questions: int
    tokens_in: int
    tokens_out: int
    money: float | None
    seconds: float | None
    alone: int = 0
    longest: float | None = None


def expected(plan: Plan) -> Expected:
    """Return what the questions without an answer are expected to take; what is not known is `None`."""
    from fieldguide.craft.chat import behind_server, costs

    settings: Any = plan.subject.entry.settings
    seen: set[str] = set()
    tokens_in = tokens_out = alone = 0
    for wording in plan.wordings:
        fresh = len(wording.open - seen)
        alone += fresh if wording.variation is not None and wording.variation.alone else 0
        read, wrote = costs.tokens_of(wording.fitted.asking, settings.image_size or wording.fitted.size)
        tokens_in, tokens_out, seen = tokens_in + fresh * read, tokens_out + fresh * wrote, seen | wording.open
    each = _each(plan)
    money = costs.money(tokens_in, tokens_out, *_prices(settings))
    if each is None:
        return Expected(len(seen), tokens_in, tokens_out, money, None, alone)
    single, among = _single(plan), each * (len(seen) - alone)
    together = settings.at_once if behind_server(settings.model) else settings.batch_size
    least, most = (each, each * together) if single is None else (single, single)
    return Expected(len(seen), tokens_in, tokens_out, money, among + alone * least, alone, among + alone * most)


def _prices(settings: Any) -> tuple[float | None, float | None]:
    """Return the prices of a million tokens read and written; what was taught here costs nothing a token, and has none."""
    return getattr(settings, "price_in", None), getattr(settings, "price_out", None)


def _each(plan: Plan) -> float | None:
    """Return the mean seconds that an answer of this contestant took; `None` where none was measured."""
    rows = read_predictions(plan.subject.run / "predictions.parquet")
    taken = [row.seconds for row in rows if row.seconds]
    return math.fsum(taken) / len(taken) / len(plan.wordings[0].fitted.askings) if taken else None


def _single(plan: Plan) -> float | None:
    """Return the mean seconds of answers that were asked for one by one; `None` where none is kept."""
    names = [wording.every for wording in plan.wordings if wording.variation is not None and wording.variation.alone]
    kept = plan.wordings[0].fitted.shelf.answers.get_many(frozenset().union(*names)).values()
    taken = [said.seconds for said in kept if said.seconds]
    return math.fsum(taken) / len(taken) if taken else None


def lines(plan: Plan, cost: Expected) -> Iterator[str]:
    """Yield what is told before: whose answers to what, question by question of each check, and what that takes."""
    which = (
        ""
        if plan.part == BEFORE_TEST
        else " This study has no others, so whoever changes the prompt afterwards has looked at them."
    )
    yield (
        f"Audit of {plain(plan.subject.entry.name, 60)}: {len(plan.rows):,} of {plan.of:,} {plan.part} pictures, "
        f"asked about in {len(plan.wordings):,} ways.{which}"
    )
    every, still = len(plan.every), cost.questions
    parts = (f"{check or 'as it is'} {count:,}" for check, (count, _) in plan.questions().items() if count)
    kept = "" if still == every else f", {every - still:,} of them answered before"
    yield f"{every:,} questions{kept}: {', '.join(parts)}."
    if not still:
        yield "Nothing is asked: all answers are there."
        return
    money = "" if cost.money is None else f", {cost.money:,.4g} at the prices given"
    each = (
        "how long that takes is not known yet"
        if cost.seconds is None
        else f"about {terminal.duration(cost.seconds)} by earlier answers"
    )
    if cost.seconds is not None and cost.longest is not None and cost.longest > cost.seconds:
        each += f", up to {terminal.duration(cost.longest)} because {cost.alone:,} are put one by one"
    yield f"{still:,} to be put: about {cost.tokens_in:,} tokens in and {cost.tokens_out:,} out{money}; {each}."


def sending(plan: Plan, cost: Expected, host: str, limit: int | None) -> Sending:
    """Return what is sent to `host` for it, within the limit; each question carries a picture."""
    share = 1.0 if limit is None or not cost.questions else min(1.0, limit / cost.questions)
    tokens_in, tokens_out = (math.ceil(share * count) for count in (cost.tokens_in, cost.tokens_out))
    money = None if cost.money is None else share * cost.money
    shown = len(plan.subject.fitted.asking.examples)
    who = f"{plan.subject.entry.name}, audited in {len(plan.wordings):,} ways"
    return Sending(host, round(share * cost.questions), tokens_in, tokens_out, money, shown, who)


def paid(plan: Plan, open_ones: frozenset[str]) -> dict[str, Any]:
    """Return for ``audit.json`` what all answers took, whenever they were had; `asked` were had by audits of this contestant.

    The others were kept before, from its own run or another contestant's; `open_ones` are those that there may be yet. What somebody
    does not tell is not known.
    """
    from fieldguide.craft.chat import costs

    settings: Any = plan.subject.entry.settings
    answers = plan.wordings[0].fitted.shelf.answers
    said = answers.get_many(plan.every)
    asked = answers.credited(plan.every, plan.subject.who)
    told = list(said.values())
    read, wrote, took = (_sum([getattr(one, name) for one in told]) for name in ("tokens_in", "tokens_out", "seconds"))
    return {
        "questions": len(plan.every),
        "asked": asked,
        "kept": len(said) - asked,
        "open": len(open_ones - said.keys()),
        "tokens_in": None if read is None else int(read),
        "tokens_out": None if wrote is None else int(wrote),
        "money": costs.money(read, wrote, *_prices(settings)),
        "seconds": took,
    }


def _sum(counts: list[Any]) -> float | None:
    known = [count for count in counts if count is not None]
    return math.fsum(known) if known else None
