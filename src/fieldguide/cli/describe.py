"""The command that lets a served language model describe the classes of a study. Words to calls, no logic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from fieldguide.describing import Described, Plan

_FIELDS = (
    "server",
    "model",
    "fields",
    "domain",
    "rivals",
    "temperature",
    "seed",
    "most_tokens",
    "at_once",
    "timeout",
    "attempts",
    "key_variable",
    "price_in",
    "price_out",
)


def register(app: typer.Typer, asks: Callable[..., Any]) -> None:
    """Give `app` the command of this module; `asks` draws its options from settings."""
    app.command()(asks(*_FIELDS, of="Describing")(describe))


def describe(
    study: Annotated[Path, typer.Argument(help="Study folder.")],
    name: Annotated[Optional[str], typer.Option("--as", help="Name of the source of texts; the model's if not given.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be asked, and its cost; ask nothing.")] = False,
    **given: Any,
) -> None:
    """Let a served language model describe every class, field by field; the same command again asks only for what is missing."""
    from fieldguide import describing, terminal
    from fieldguide.asked import Describing
    from fieldguide.settings import build

    asked = build(Describing, {key: value for key, value in given.items() if value is not None}, "The command")
    plan = describing.prepare(study, asked, name)
    _before(plan)
    if not dry_run:
        done = describing.follow(plan, terminal.Bars())
        _after(plan, done)
        raise typer.Exit(done.exit_code)


def _before(plan: Plan) -> None:
    from fieldguide.craft.chat.costs import LETTERS
    from fieldguide.describing import TRIES
    from fieldguide.terminal import say

    if plan.said:
        say(f"{len(plan.said):,} of {len(plan.task.ids):,} classes have their lines from before.", "dim")
    if not plan.waiting:
        say("Nothing is asked: no server is contacted.", "bold")
        return
    say(f"{len(plan.waiting):,} questions to {plan.asked.model} at {plan.server.url}, {plan.asked.at_once} at a time.", "bold")
    money = "" if plan.money is None else f", {plan.money:,.4g} at the prices given"
    say(f"About {plan.tokens_in:,} tokens in and {plan.tokens_out:,} out{money}: counted at {LETTERS} letters a token.")
    say(
        f"A reply that cannot be used is asked for again, up to {TRIES - 1} times. Names of classes are sent, and no picture.",
        "dim",
    )
    say(f"Classes that each is set against: {plan.source}.", "dim")


def _after(plan: Plan, done: Described) -> None:
    from fieldguide.craft.chat import costs
    from fieldguide.terminal import say

    if done.replies:
        spent = None
        if done.tokens_in is not None and done.tokens_out is not None:
            spent = costs.money(done.tokens_in, done.tokens_out, plan.asked.price_in, plan.asked.price_out)
        tokens = (
            "tokens not counted by the server"
            if done.tokens_in is None
            else f"{done.tokens_in:,} tokens in, {done.tokens_out:,} out"
        )
        say(
            f"{done.replies:,} replies ({tokens}{'' if spent is None else f', {spent:,.4g} at the prices given'}); JSON by {done.level}."
        )
    for id, why in done.failed.items():
        say(f"{plan.abouts[id].info.name}: {why}", "yellow")
    say(f"{done.classes:,} of {len(plan.task.ids):,} classes described, {done.lines:,} lines: {done.path}", "bold")
    if done.failed:
        say(f"{len(done.failed):,} failed; the same command asks about them again.")
