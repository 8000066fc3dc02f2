"""The command that audits: answers from anywhere, or a contestant of a study. Words to calls, no logic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

_FIELDS = ("pictures", "check", "labels", "seed", "Terms.yes", "Terms.limit")


def register(app: typer.Typer, asks: Callable[..., Any]) -> None:
    """Give `app` the command of this module; `asks` draws its options from settings."""
    app.command()(asks(*_FIELDS, of="PromptAudit")(audit))


def audit(
    subject: Annotated[
        Path,
        typer.Argument(
            help="STUDY/runs/NAME, which is asked again in other words; or a table of answers from anywhere: image,actual,predicted.",
        ),
    ],
    example: Annotated[
        Optional[str], typer.Option("--example", help="Of a table: label that the prompt gave as an example.")
    ] = None,
    listed: Annotated[
        Optional[str],
        typer.Option("--list", help="Of a table: labels in the order of the prompt's list, separated by commas."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    **given: Any,
) -> None:
    """Does the prompt pull the answers? A contestant is asked in other words; answers from anywhere are tested as they are."""
    import json

    from fieldguide import auditing, prompt_audit_words, terminal

    if not prompt_audit_words.of_a_run(subject, example, listed, given):
        found = auditing.audit(subject, example, listed)
        if as_json:
            typer.echo(json.dumps(found, indent=1, allow_nan=False))
        else:
            auditing.show(found)
        return
    from fieldguide import prompt_audit, prompt_audit_shown

    wish, terms = prompt_audit_words.read(given)
    done = prompt_audit.audit(subject, wish, terms, terminal.Bars())
    if as_json:
        typer.echo(json.dumps(done.found, indent=1, allow_nan=False))
    else:
        prompt_audit_shown.show(done)
    raise typer.Exit(done.exit_code)
