"""fieldguide: which kind of image classifier should I use, can I trust the difference, and may I have it?

look          examine pictures without training
compare       do the whole page: examine, split, fit, answer, score, report
redraw        score and draw again, from the files of a study
explanations  why a contestant, or a published network, answers as it does: maps as arrays, each with its check
audit         ask a language model again in other words: which of them pull its answers?
predict       answer for new pictures with a fitted contestant
load          a fitted contestant, to call `predict(images)` on
Study         a finished study: verdict, scores, comparison, report
Entry         a contestant with a name and settings of its own
Problem       what a user can mend: given, allowed, next
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Entry", "Problem", "Study", "audit", "compare", "explanations", "load", "look", "predict", "redraw"]

if TYPE_CHECKING:
    from fieldguide.api import audit, compare, explanations, load, look, predict, redraw
    from fieldguide.asked import Entry
    from fieldguide.errors import Problem
    from fieldguide.study import Study

_HOMES = {"Entry": "asked", "Problem": "errors", "Study": "study"}


def __getattr__(name: str) -> Any:
    # Public names are fetched when they are used: `import fieldguide` stays quick and loads no network library.
    import importlib

    if name not in __all__:
        raise AttributeError(f"module 'fieldguide' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fieldguide.{_HOMES.get(name, 'api')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
