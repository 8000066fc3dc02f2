"""Commands that put a question to a language model that looks, and show prompts. Words to calls, no logic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Optional

import typer

_FIELDS = (
    "server",
    "key_variable",
    "also",
    "choice",
    "likelihood",
    "prompt",
    "classes",
    "temperature",
    "seed",
    "most_tokens",
    "image_size",
    "timeout",
    "attempts",
)


def register(app: typer.Typer, asks: Callable[..., Any]) -> None:
    """Give `app` the commands of this module; `asks` draws the options of the first from settings."""
    app.command()(asks(*_FIELDS, of="FreeQuestion")(ask))
    app.command()(prompts)


def ask(
    model: Annotated[str, typer.Argument(help="drawn, hf/OWNER/NAME, hf/FOLDER, served/NAME (with --server), or ollama/NAME.")],
    words: Annotated[list[str], typer.Argument(help="Pictures, and folders of pictures; behind them the question, in quotes.")],
    online: Annotated[
        bool, typer.Option("--online", help="Allow the network: download weights that are not on this machine.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Agree that pictures are sent to a server on another machine.")] = False,
    **given: Any,
) -> None:
    """Ask a language model about pictures, and show what it says: under its own system message, with what that cost."""
    from fieldguide import asking, terminal

    answered = asking.ask(asking.read_order(model, words, given, online=online, yes=yes), terminal.Bars())
    asking.show(answered)
    raise typer.Exit(asking.exit_code(answered))


def prompts(
    name: Annotated[Optional[str], typer.Argument(help="One prompt, a TOML file, or an Ollama Modelfile.")] = None,
    classes: Annotated[
        Optional[str],
        typer.Option("--classes", help="Classes it lists: a study folder, a classes.toml, or names separated by commas."),
    ] = None,
) -> None:
    """List the prompts for language models that look, or show one as it is asked."""
    from fieldguide.prompts_shown import show_prompts

    show_prompts(name, classes)
