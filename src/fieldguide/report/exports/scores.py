"""``scores.json``: the whole study in one file for programs, with its own schema number. Absolute paths are cut to their last part."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from fieldguide.records import SCHEMA_VERSION, SPLITS
from fieldguide.report import say
from fieldguide.report.hashes import settings_hash
from fieldguide.report.prompted_files import Part
from fieldguide.report.read import Contestant, Study

#: What ``comparison.json`` found, as it stands there.
_COMPARED = (
    "alpha",
    "chance",
    "power",
    "verdict",
    "order",
    "chosen",
    "leader_group",
    "letters",
    "above_chance",
    "pairs",
    "subsets",
    "seeds",
)


def scores(study: Study) -> dict[str, Any]:
    """Return the content of ``scores.json``; what is not known is ``null``."""
    compared = study.comparison or {}
    manifest = study.manifest
    return {
        "schema": SCHEMA_VERSION,
        "study": say.clean(study.title),
        "manifest": {
            "hash": manifest.hash,
            "seed": manifest.seed,
            "folds": manifest.folds,
            "pictures": {split: len(manifest.part(split)) for split in SPLITS},
            "excluded": len(manifest.excluded),
        },
        "classes": [{"id": info.id, "name": info.name} for info in study.classes],
        "environment": _without_paths(study.environment),
        "comparison": {key: compared.get(key) for key in _COMPARED},
        "contestants": [_contestant(contestant) for contestant in study.contestants],
        "on_parts_of_the_training_pictures": [_contestant(contestant) for contestant in study.parts],
        **({"readings": _readings(study)} if study.prompted else {}),
        **({"questions": _harmless(study.questions)} if study.questions else {}),
        **({"audits": _audits(study)} if study.audits else {}),
        **({"texts": _texts(study)} if study.texts else {}),
    }


def _readings(study: Study) -> dict[str, Any]:
    """Return what was read of answers in words, by contestant; examples stand in its own ``readings.json``."""
    return {
        say.clean(name): {
            "headline": say.clean(read.headline) or None,
            "problem": say.clean(read.problem) or None,
            "parts": {split: _part(part) for split, part in (("test", read.test), ("val", read.val)) if part is not None},
        }
        for name, read in study.prompted.items()
    }


def _part(part: Part) -> dict[str, Any]:
    told = dataclasses.asdict(part)
    kinds = [{key: value for key, value in kind.items() if key != "examples"} for kind in told["kinds"]]
    cleaned: dict[str, Any] = _harmless({**told, "kinds": kinds})
    return cleaned


def _audits(study: Study) -> dict[str, Any]:
    """Return every audit as it was read, by contestant; what was no number or text in its file is ``null``."""
    return {say.clean(name): _harmless(dataclasses.asdict(audit)) for name, audit in study.audits.items()}


def _harmless(value: Any) -> Any:
    """Return `value` with every text as the page would show it, without absolute paths, and with what is no finite number left out."""
    if isinstance(value, Mapping):
        return {say.clean(key): _harmless(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return say.clean(say.shortened(value)) if isinstance(value, str) else value


def _texts(study: Study) -> dict[str, Any]:
    """Return what was found about texts; single cells of the sweep and single lines stand in their own files."""
    files = study.texts
    told = {
        "ratio": None if files.ratio is None else {key: value for key, value in files.ratio.items() if key != "cells"},
        "translation": files.card,
        "ways": files.ways,
        "doctor": {name: {key: value for key, value in one.items() if key != "lines"} for name, one in files.doctors.items()},
    }
    return {key: _without_paths(value) for key, value in told.items()}


def _contestant(contestant: Contestant) -> dict[str, Any]:
    return {
        "name": contestant.name,
        "family": contestant.family,
        "spec": say.shortened(contestant.spec) or None,
        "state": contestant.state,
        "fraction": contestant.fraction,
        "settings": _without_paths(contestant.settings),
        "settings_hash": settings_hash(contestant),
        "problem": _without_paths(contestant.problem),
        "test": contestant.test,
        "val": contestant.val,
        "seeds": list(contestant.seeds),
        "spread": contestant.spread,
        **({"spread_mae": contestant.spread_mae} if contestant.spread_mae else {}),
        "cost": _without_paths(contestant.cost),
        "chosen_epoch": contestant.chosen_epoch,
    }


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_paths(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_paths(item) for item in value]
    return say.shortened(value) if isinstance(value, str) else value
