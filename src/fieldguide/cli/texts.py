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
    doctor: Annotated[
        bool,
        typer.Option(
            "--doctor", help="Examine every line about a class: names, unseen things, repetitions; with --encoder, its worth."
        ),
    ] = False,
    encoder: Annotated[
        Optional[str],
        typer.Option(
            "--encoder",
            help="What the doctor sees with: drawn, hf/OWNER/NAME, open_clip/NAME@TAG or a network[:key=value,...].",
        ),
    ] = None,
    online: Annotated[
        bool, typer.Option("--online", help="Allow the network: download weights that are not on this machine.")
    ] = False,
) -> None:
    """Bring in texts about classes and pictures, list what they cover, and examine them."""
    from fieldguide import terminal, texting

    if add is not None:
        texting.show_added(texting.add(study, add, name))
    if doctor:
        texting.examine(study, tuple(names or ()), encoder, online=online, progress=terminal.Bars())
    elif add is None:
        texting.show(texting.sources(study, tuple(names or ())))
