"""The command of the translation score card. As everywhere in the command line: words to calls, no logic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer


def register(sweeps: typer.Typer, asks: Callable[..., Callable[[Callable[..., None]], Callable[..., None]]]) -> None:
    """Give `sweeps` the command of this module; `asks` draws its options."""
    names = ("encoder", "text_model", "texts", "translators", "normalise", "pairs", "folds")
    sweeps.command("translation")(asks(*names, of="Translation")(translation))


def translation(
    study: Annotated[Path, typer.Argument(help="Study folder that has texts; see `fieldguide texts`.")],
    online: Annotated[
        bool, typer.Option("--online", help="Allow the network: download weights that are not on this machine.")
    ] = False,
    **given: Any,
) -> None:
    """How accurate is the translation from texts to pictures? Translators on held-out pairs, beside ceiling, direct bar and floor."""
    from fieldguide import scorecard_shown, terminal

    scorecard_shown.run(study, scorecard_shown.read_asked(given), online=online, progress=terminal.Bars())
