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
_BITS = {4: "four", 8: "eight"}
#: Couples that are told of in words.
MOST_TOLD = 6
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
    told = {
        "precision": arithmetic(facts),
        "image_size": facts.get("image_size"),
        "answered": held if how == "choice" else _way(how),
        "temperature": prompt.get("temperature") if isinstance(prompt, Mapping) else None,
    }
    return Spoken(str(facts.get("model")), text, facts["kind"] == "tuned", told, side(how))


def arithmetic(facts: Mapping[str, Any]) -> Any:
    """Return the arithmetic that a contestant noted, with the bits of its weights where those are fewer; `None` where it noted none."""
    tuning, precision = facts.get("tuning"), facts.get("precision")
    bits = 4 if isinstance(tuning, Mapping) and tuning.get("method") == "qlora" else facts.get("bits")
    return f"{precision}, weights in {_BITS[bits]} bits" if bits in _BITS else precision


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


def write_before_after(folder: Path, found: Sequence[Spoken], worth: Mapping[str, float] | None = None) -> None:
    """Write ``before_after.json`` into the study `folder`; where nothing was taught that was asked before there is none.

    `worth` is what one of each class is worth, where things are counted and all classes have a value.
    """
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
        write_json(folder / FILE, told(couples, worth=worth))
    else:
        (folder / FILE).unlink(missing_ok=True)


def told_of(folder: Path, most: int = MOST_TOLD) -> list[str]:
    """Return a sentence for each couple in the study `folder`, at most `most`: the whole gain, and how much of it is format."""
    path = folder / FILE
    pairs = read_json(path)["pairs"] if path.exists() else []
    told = [_sentence(one) for one in pairs[:most]]
    return told + ([f"{len(pairs) - most} more of what teaching changed in {FILE}."] if len(pairs) > most else [])


def _sentence(one: Mapping[str, Any]) -> str:
    from fieldguide.evaluate.verdict import format_p

    whole, form, seen = (_points(one[part]["value"]) for part in ("difference", "format", "recognition"))
    outcome = f"really {one['outcome']}" if one["outcome"] in ("better", "worse") else one["outcome"]
    return f"Taught, {one['before']} -> {one['after']}: {whole} points, format {form} and recognition {seen} ({outcome}, {format_p(one['p_holm'])})."


def _points(share: float) -> str:
    return f"{100 * share:+.1f}" if round(100 * share, 1) else "0.0"


def _differs(before: Spoken, after: Spoken) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (words, str(before.facts.get(name)), str(after.facts.get(name)))
        for name, words in _MAY_DIFFER.items()
        if before.facts.get(name) != after.facts.get(name)
    )
