"""The command that audits answers. Words to calls, no logic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer


def register(app: typer.Typer) -> None:
    """Give `app` the command of this module."""
    app.command()(audit)


def audit(
    answers: Annotated[Path, typer.Argument(help="Table of answers from anywhere: image,actual,predicted.")],
    example: Annotated[Optional[str], typer.Option("--example", help="Label that the prompt gave as an example.")] = None,
    listed: Annotated[
        Optional[str], typer.Option("--list", help="Labels in the order of the prompt's list, separated by commas.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Do answers lean towards the prompt's example, or a place in its list? Accuracy table, exact tests, one sentence."""
    import json

    from fieldguide import auditing

    found = auditing.audit(answers, example, listed)
    if as_json:
        typer.echo(json.dumps(found, indent=1, allow_nan=False))
    else:
        auditing.show(found)
