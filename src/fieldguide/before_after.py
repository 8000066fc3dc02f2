"""``before_after.json`` of a study: language models that were taught, beside the same models asked the same before.

Which belong together is told by the facts that they noted: the same model, and the same words of the prompt. Stored answers are read again and
counted; nothing is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldguide.bench import read_log
from fieldguide.files import read_json, write_json
from fieldguide.reading import FILE as READINGS
from fieldguide.reading import headline_of, task_of
from fieldguide.records import Manifest, Prediction
from fieldguide.tasks.asking import WEIGHING

if TYPE_CHECKING:
    from fieldguide.evaluate.before_after import Side

FILE = "before_after.json"
_FREE = "free text"
#: Facts that may differ between the two, in the words of the report.
_MAY_DIFFER = {
    "precision": "arithmetic",
    "image_size": "longer side of a picture",
    "answered": "way of answering",
    "temperature": "temperature",
}


@dataclass(frozen=True)
class Spoken:
    """One contestant that a language model is: its facts, whether it was taught, and its answers about test pictures."""

    model: str
    text: str
    tuned: bool
    facts: Mapping[str, Any]
    side: Side


def spoken(run: Path, side: Callable[[str], Side], held: str = "held to the list") -> Spoken | None:
    """Return the contestant in the folder `run`; `None` where it noted no prompt.

    `side` gives its answers by how it was asked; `held` is what one with ``ask=choice`` is called.
    """
    facts: dict[str, Any] = {}
    for event in read_log(run / "log.jsonl"):
        facts |= event if event.get("event") == "fact" else {}
    prompt = facts.get("prompt")
    text, how = (prompt.get(name) if isinstance(prompt, Mapping) else None for name in ("text", "how"))
    if facts.get("kind") not in ("prompted", "tuned") or not isinstance(text, str) or not isinstance(how, str):
        return None
    told = {name: facts.get(name) for name in ("precision", "image_size")}
    told |= {
        "answered": held if how == "choice" else _way(how),
        "temperature": prompt.get("temperature") if isinstance(prompt, Mapping) else None,
    }
    tuning = facts.get("tuning")
    if isinstance(tuning, Mapping) and tuning.get("method") == "qlora":
        told["precision"] = f"{told['precision']}, weights in four bits"
    return Spoken(str(facts.get("model")), text, facts["kind"] == "tuned", told, side(how))


def _way(how: str) -> str:
    known = {
        "generate": _FREE,
        "likelihood": "asked for likelihoods",
        "decision": "asked for a decision",
        "labels": "the likeliest label",
        "linear": "a linear layer",
    }
    return known.get(how, how)


def named_side(run: Path, predictions: Sequence[Prediction], manifest: Manifest, settings: Mapping[str, Any], how: str) -> Side:
    """Return the answers of a contestant that names classes, under every reading; `settings` is the content of its ``settings.toml``."""
    from fieldguide.evaluate.answers import sheet
    from fieldguide.evaluate.before_after import Side
    from fieldguide.evaluate.readings import in_words, sheets

    rows = manifest.part("test")
    if how in WEIGHING or not in_words(predictions):
        return Side(run.name, how, {how: sheet(run.name, predictions, rows, manifest.classes)})
    main = headline_of(settings)
    wanted: Any = tuple(dict.fromkeys((main, "strict", "normalised", "alias")))
    found = sheets(run.name, predictions, rows, task_of(run, manifest), wanted)
    return Side(run.name, str(main), {str(name): one for name, one in found.items()}, _filtered(run))


def _filtered(run: Path) -> dict[str, tuple[int, int]]:
    """Return what ``readings.json``, which was written just before, counts under the filtered denominators."""
    told = read_json(run / READINGS)["parts"].get("test", {}).get("filtered", ())
    return {one["id"]: (one["right"], one["n"]) for one in told}


def write_before_after(folder: Path, found: Sequence[Spoken]) -> None:
    """Write ``before_after.json`` into the study `folder`; where nothing was taught that was asked before there is none."""
    from fieldguide.evaluate.before_after import Couple, told

    ordered = sorted(found, key=lambda one: one.facts["answered"] != _FREE)  # what is asked freely comes first
    couples = [
        Couple(after.model, before.side, after.side, _differs(before, after))
        for after in ordered
        if after.tuned
        for before in ordered
        if not before.tuned and (before.model, before.text) == (after.model, after.text)
    ]
    if couples:
        write_json(folder / FILE, told(couples))
    else:
        (folder / FILE).unlink(missing_ok=True)


def _differs(before: Spoken, after: Spoken) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (words, str(before.facts.get(name)), str(after.facts.get(name)))
        for name, words in _MAY_DIFFER.items()
        if before.facts.get(name) != after.facts.get(name)
    )
