"""``leaderboard.csv``: every number of the leaderboard at full precision; what is absent is an empty cell, as programs expect it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fieldguide.report import say
from fieldguide.report.board import METRICS, standing
from fieldguide.report.hashes import settings_hash
from fieldguide.report.read import Contestant, Study

#: Costs as ``cost.json`` names them.
COSTS = (
    "parameters",
    "trained_parameters",
    "fit_seconds",
    "fits",
    "predict_seconds",
    "predicted",
    "ms_per_image",
    "money",
    "model_bytes",
    "precision",
    "device",
    "model_sha256",
)
_VAL = ("accuracy", "macro_f1")
_ENDS = (("", "value"), ("_low", "low"), ("_high", "high"))

HEADINGS: tuple[str, ...] = (
    *("contestant", "family", "state", "letters", "standing", "above_chance", "chosen_on_validation"),
    *("test_pictures", "correct", "failed"),
    *(f"{name}{end}" for name, _, _ in METRICS for end, _ in _ENDS),
    *("val_pictures", *(f"val_{name}{end}" for name in _VAL for end, _ in _ENDS), "val_minus_test"),
    *("seeds", "seeds_mean", "seeds_sd", "seeds_min", "seeds_max"),
    *COSTS,
    *("settings_hash", "spec", "problem"),
)


def rows(study: Study) -> Iterator[Sequence[object]]:
    """Yield a row for each contestant of `study` in leaderboard order, the ones without scores last."""
    for contestant in study.contestants:
        told = row(contestant, study)
        yield [told[heading] for heading in HEADINGS]


def row(contestant: Contestant, study: Study) -> dict[str, Any]:
    """Return one contestant by heading; `None` where nothing is known."""
    compared = study.comparison or {}
    scored = contestant.state == "scored"
    test, val, spread = contestant.test or {}, contestant.val or {}, contestant.spread or {}
    told: dict[str, Any] = {
        "contestant": say.clean(contestant.name),
        "family": say.clean(contestant.family),
        "state": contestant.state,
        "letters": (compared.get("letters") or {}).get(contestant.name),
        "standing": standing(contestant.name, compared) if scored else None,
        "above_chance": (compared.get("above_chance") or {}).get(contestant.name),
        "chosen_on_validation": contestant.name == compared.get("chosen") if scored and compared else None,
        "test_pictures": test.get("n"),
        "correct": test.get("correct"),
        "failed": test.get("failed"),
        "val_pictures": val.get("n"),
        "val_minus_test": gap(contestant),
        "seeds": spread.get("n"),
        **{f"seeds_{key}": spread.get(key) for key in ("mean", "sd", "min", "max")},
        **{key: (contestant.cost or {}).get(key) for key in COSTS},
        "settings_hash": settings_hash(contestant),
        "spec": say.clean(say.shortened(contestant.spec)) or None,
        "problem": problem(contestant),
    }
    for name, _, _ in METRICS:
        entry = contestant.metric(name) or {}
        told |= {f"{name}{end}": entry.get(key) for end, key in _ENDS}
    for name in _VAL:
        entry = contestant.metric(name, "val") or {}
        told |= {f"val_{name}{end}": entry.get(key) for end, key in _ENDS}
    return told


def gap(contestant: Contestant, metric: str = "accuracy") -> float | None:
    """Return validation minus test accuracy, or that of another `metric`."""
    val, test = ((contestant.metric(metric, part) or {}).get("value") for part in ("val", "test"))
    return None if val is None or test is None else float(val - test)


def problem(contestant: Contestant) -> str | None:
    """Return why a contestant has no scores, in one line."""
    told = contestant.problem or {}
    parts = [say.shortened(str(told[key])) for key in ("given", "allowed", "next") if told.get(key)]
    return say.clean(" ".join(parts)) if parts else None
