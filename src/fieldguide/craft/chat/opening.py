"""The door to the language models that look: a name leads to the module that opens it."""

from __future__ import annotations

from fieldguide.craft.chat import DRAWN, HUB, MOONDREAM, OLLAMAS, SERVED, Chat, Wanted
from fieldguide.errors import UsageProblem, allowed_names, plain

_FORMS = (
    DRAWN,
    f"{HUB}OWNER/NAME",
    f"{HUB}FOLDER",
    f"{SERVED}NAME",
    f"{OLLAMAS}NAME",
    f"{MOONDREAM}OWNER/NAME",
    f"{MOONDREAM}FOLDER",
)


def open_chat(wanted: Wanted) -> Chat:
    """Return the model that `wanted` names, ready to be asked.

    Raises `UsageProblem` for a name that leads nowhere, `EnvironmentProblem` for weights that are not here or a server that does not answer,
    `ModuleNotFoundError` where an extra is missing (`fieldguide.families.needs_extra` says which).
    """
    require_named(wanted.model)
    if wanted.model.startswith(SERVED):
        from fieldguide.craft.chat.over_http import open_served

        return open_served(wanted)
    if wanted.model.startswith(OLLAMAS):
        from fieldguide.craft.chat.ollama import open_ollama

        return open_ollama(wanted)
    if wanted.model.startswith(MOONDREAM):
        from fieldguide.craft.chat.moondream import open_moondream

        return open_moondream(wanted)
    from fieldguide.craft.chat.local import open_local

    return open_local(wanted)


def check_chat(model: str, online: bool) -> None:
    """Raise now what would stop `open_chat` later: a name that leads nowhere, and a model that should be on this machine and is not."""
    require_named(model)
    if model == DRAWN or model.startswith(HUB):
        from fieldguide.craft.chat import local_files

        local_files.fetched(model, online)
    if model.startswith(MOONDREAM):
        from fieldguide.craft.chat import moondream

        moondream.check(Wanted(model, online=online))


def require_named(model: str) -> None:
    """Raise `UsageProblem` for a name of none of the forms that are known, and for a prefix with nothing behind it."""
    if model == DRAWN or any(model.startswith(prefix) and model != prefix for prefix in (HUB, SERVED, OLLAMAS, MOONDREAM)):
        return
    raise UsageProblem(
        f"There is no language model called {plain(model)!r} here.",
        allowed_names(model, _FORMS),
        f"For example {HUB}{plain(model)}, or {DRAWN}, which works offline." if "/" in model else f"{DRAWN} works offline.",
    )
