"""``readings.json`` of every contestant that answers in words: its stored texts, read again whenever a study is scored.

So an edit of ``classes.toml`` (a synonym, say) shows under the readings with the next `fieldguide report`, and nothing is asked again.
The labels that scores are made of stay what they were when the question was put.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from fieldguide.data.classes import read_classes
from fieldguide.files import write_json
from fieldguide.records import Manifest, Prediction
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.reading import READINGS, Reading

FILE = "readings.json"


def write_readings(run: Path, predictions: Sequence[Prediction], manifest: Manifest, settings: Mapping[str, Any]) -> None:
    """Write ``readings.json`` into `run`, a folder of ``STUDY/runs``; where no answer is a text there is none.

    `settings` is the content of its ``settings.toml``, which names the reading that it was scored by.
    """
    from fieldguide.evaluate.readings import in_words, told

    if not in_words(predictions):
        (run / FILE).unlink(missing_ok=True)
        return
    task = Classify(read_classes(run.parents[1] / "classes.toml", manifest.classes))
    write_json(run / FILE, told(run.name, predictions, manifest, task, headline_of(settings)))


def headline_of(settings: Mapping[str, Any]) -> Reading:
    """Return the reading that a contestant's settings name; strict where they name none."""
    own = settings.get("settings")
    named = own.get("reading") if isinstance(own, Mapping) else None
    return cast(Reading, named) if named in READINGS else "strict"
