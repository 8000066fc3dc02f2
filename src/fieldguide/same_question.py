"""``questions.json`` of a study: contestants that put the same question to the same model, and answer it in different ways.

Which they are is told by the facts that they noted: ``prompt.question``, a hash of what was asked with the way of answering left out. Stored
answers are read again and counted; nothing is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldguide.bench import read_log
from fieldguide.files import write_json
from fieldguide.reading import task_of
from fieldguide.records import Manifest, Prediction

if TYPE_CHECKING:
    from fieldguide.evaluate.same_question import Asked

FILE = "questions.json"
#: What has to be the same, besides the question, for the model to be.
_MODEL = ("model", "revision", "image_size", "precision")
Key = tuple[str, ...]


def asked_of(run: Path, predictions: Sequence[Prediction], manifest: Manifest) -> tuple[Key, Asked] | None:
    """Return how the contestant in the folder `run` answered, under a key that is equal for equal questions to equal models.

    `None` where it noted no question: it is no prompted model, or of an earlier time.
    """
    from fieldguide.evaluate.answers import sheet
    from fieldguide.evaluate.readings import in_words, sheets
    from fieldguide.evaluate.same_question import Asked

    facts = _facts(run)
    prompt = facts.get("prompt")
    question, how = (prompt.get(name) if isinstance(prompt, Mapping) else None for name in ("question", "how"))
    if not isinstance(question, str) or not isinstance(how, str):
        return None
    rows = manifest.part("test")
    if how == "generate" and in_words(predictions):
        counted = {str(name): one for name, one in _readings(run, predictions, manifest, sheets).items()}
    else:
        counted = {how: sheet(run.name, predictions, rows, manifest.classes)}
    key = (str(facts.get("model")), question, *(repr(facts.get(name)) for name in _MODEL[1:]))
    return key, Asked(run.name, how, counted)


def _readings(run: Path, predictions: Sequence[Prediction], manifest: Manifest, sheets: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = sheets(
        run.name, predictions, manifest.part("test"), task_of(run, manifest), ("strict", "normalised", "alias")
    )
    return found


def write_questions(folder: Path, found: Mapping[Key, Sequence[Asked]]) -> None:
    """Write ``questions.json`` into the study `folder`; where no question was answered in two ways there is none."""
    from fieldguide.evaluate.same_question import Group, told

    groups = [Group(key[0], key[1], asked) for key, asked in sorted(found.items())]
    content = told(groups)
    if content["groups"]:
        write_json(folder / FILE, content)
    else:
        (folder / FILE).unlink(missing_ok=True)


def _facts(run: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for event in read_log(run / "log.jsonl"):
        if event.get("event") == "fact":
            facts |= event
    return facts
