"""The command that merges what was taught. Words to calls, no logic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Give `app` the command of this module."""
    app.command()(merge)


def merge(
    run: Annotated[Path, typer.Argument(help="Folder of a taught language model: STUDY/runs/NAME.")],
    target: Annotated[Path, typer.Argument(help="New folder for the whole model.")],
) -> None:
    """Write a taught language model as one whole model, which transformers loads and hf/FOLDER names."""
    from fieldguide import merging

    typer.echo(f"Written: {merging.merge(run, target)}. Ask it as hf/{target}.")
