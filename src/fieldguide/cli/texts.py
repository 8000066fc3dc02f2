"""Commands about texts. As everywhere in the command line: words to calls, no logic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer


def register(app: typer.Typer) -> None:
    """Give `app` the commands of this module."""
    app.command()(texts)


def texts(
    study: Annotated[Path, typer.Argument(help="Study folder.")],
    names: Annotated[
        Optional[list[str]], typer.Argument(help="Sources to list or to examine; all of the study if none are named.")
    ] = None,
    add: Annotated[
        Optional[Path],
        typer.Option("--add", help="Bring texts in: a folder of .txt, a table, COCO captions, or descriptions as JSON."),
    ] = None,
    name: Annotated[
        Optional[str], typer.Option("--as", help="Name of the source that is added; its file's name if not given.")
    ] = None,
) -> None:
    """Bring in texts about classes and pictures and list them: who is told of, by how many lines, and what could not be matched."""
    from fieldguide import texting

    if add is not None:
        source = texting.add(study, add, name)
        texting.show_added(source)
        return
    texting.show(texting.sources(study, tuple(names or ())))
