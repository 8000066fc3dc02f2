"""``readings.json`` of every contestant that answers in words: its stored texts, read again whenever a study is scored.

So an edit of ``classes.toml`` (a synonym, say) shows under the readings with the next `fieldguide report`, and nothing is asked again.
The labels that scores are made of stay what they were when the question was put.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from fieldguide.data.classes import read_classes
from fieldguide.data.tables import read_predictions
from fieldguide.files import read_json, write_json
from fieldguide.records import ClassInfo, Manifest, Prediction
from fieldguide.tasks.classify import Classify, fold
from fieldguide.tasks.reading import READINGS, Reading

FILE = "readings.json"
#: Where families write down what a prompt called the classes.
_ASKED = ("vlm_prompt.json", "vlm_lora.json")


def write_readings(run: Path, predictions: Sequence[Prediction], manifest: Manifest, settings: Mapping[str, Any]) -> None:
    """Write ``readings.json`` into `run`, a folder of ``STUDY/runs``; where no answer is a text there is none.

    `settings` is the content of its ``settings.toml``, which names the reading that it was scored by.
    """
    from fieldguide.evaluate.readings import in_words, told

    if not in_words(predictions):
        (run / FILE).unlink(missing_ok=True)
        return
    write_json(run / FILE, told(run.name, predictions, manifest, task_of(run, manifest), headline_of(settings)))


def further_answers(run: Path) -> dict[int, list[Prediction]]:
    """Return the answers of further seeds by seed, the lowest first."""
    found = {int(path.parent.name): path for path in run.glob("seeds/*/predictions.parquet") if path.parent.name.isdigit()}
    return {seed: read_predictions(found[seed]) for seed in sorted(found)}


def task_of(run: Path, manifest: Manifest) -> Classify:
    """Return the task under the names of ``classes.toml``; where it has gone, as in the report, the ids are all the names there are.

    A prompt may call classes by names of its own, and those are what was asked for: they stay, and what was added since comes to them.
    """
    now = _classes(run.parents[1] / "classes.toml", manifest.classes)
    asked = next((told for name in _ASKED if (told := _as_asked(run / "model" / name))), ())
    if tuple(info.id for info in asked) != manifest.classes:
        return Classify(now)
    then = _classes(run / "model" / "classes.toml", manifest.classes)
    return Classify(tuple(map(_since, asked, then, now)))


def _classes(path: Path, ids: Sequence[str]) -> tuple[ClassInfo, ...]:
    return read_classes(path, ids) if path.exists() else tuple(ClassInfo(id, id) for id in ids)


def _as_asked(path: Path) -> tuple[ClassInfo, ...]:
    """Return the classes as a prompt called them; none where no prompt did, or where that cannot be read any more."""
    try:
        return tuple(ClassInfo(one["id"], one["name"], tuple(one["synonyms"])) for one in read_json(path)["classes"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _since(asked: ClassInfo, then: ClassInfo, now: ClassInfo) -> ClassInfo:
    """Return a class as it was asked for, with the synonyms it has now; of a prompt's own synonyms none is lost."""
    own = {*map(fold, asked.synonyms)} != {*map(fold, then.synonyms)}
    synonyms = [*asked.synonyms, *(one for one in now.synonyms if one not in then.synonyms)] if own else [*now.synonyms]
    renamed = [now.name] if now.name != then.name else []
    return ClassInfo(asked.id, asked.name, (*synonyms, *renamed))


def headline_of(settings: Mapping[str, Any]) -> Reading:
    """Return the reading that a contestant's settings name; strict where they name none."""
    own = settings.get("settings")
    named = own.get("reading") if isinstance(own, Mapping) else None
    return cast(Reading, named) if named in READINGS else "strict"
