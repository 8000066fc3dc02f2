"""The command of the sweep over image : text ratios. As everywhere in the command line: words to calls, no logic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer


def register(sweeps: typer.Typer, asks: Callable[..., Callable[[Callable[..., None]], Callable[..., None]]]) -> None:
    """Give `sweeps` the command of this module; `asks` draws its options."""
    names = (
        "encoder",
        "text_model",
        "texts",
        "translators",
        "ratios",
        "selection",
        "seeds",
        "heads",
        "normalise",
        "pairs",
        "folds",
    )
    sweeps.command("text-ratio")(asks(*names, of="TextRatio")(text_ratio))


def text_ratio(
    study: Annotated[Path, typer.Argument(help="Study folder that has texts; see `fieldguide texts`.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and about how long it takes.")] = False,
    online: Annotated[
        bool, typer.Option("--online", help="Allow the network: download weights that are not on this machine.")
    ] = False,
    **given: Any,
) -> None:
    """Can text stand in for pictures? Accuracy for every share of pictures, with and without texts, and what the texts are worth."""
    from fieldguide import terminal, text_shown

    asked = text_shown.read_asked(given)
    if dry_run:
        text_shown.show_costs(study, asked, online=online)
        return
    text_shown.run(study, asked, online=online, progress=terminal.Bars())
