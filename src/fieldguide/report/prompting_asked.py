"""How a language model was asked, and what its server was found to do: from the facts that the contestant noted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from markupsafe import Markup, escape

from fieldguide.report import say
from fieldguide.report.prompted_files import Json, Prompted, number, whole, words
from fieldguide.report.read import Contestant
from fieldguide.tasks.asking import WEIGHING

#: Characters of a prompt that are shown, and of one of its lines before it is broken.
MOST_PROMPT, _MOST_LINE, _MOST_NOTES = 16_000, 1_900, 12
FREELY = "the words of the prompt alone"
CHOICE = (
    "Chosen token by token, and greedily: that is not the most probable label. A beginning that several labels share can win although "
    "no single one of them would; how probable each whole label is was not asked."
)
HELD_COUNTS = (
    "Chosen token by token, and greedily: nothing but counts in the form of the answer can be said, and that says nothing of how many "
    "there are."
)
UNFORCED = (
    "A choice was asked for, and nothing forced it: this server was found to force none, so an answer can be off the list."
)
WEIGHED = "Nothing was written: every name of the list got a number, and the most probable one is the answer. A free answer may be another."
#: How an answer was had, and what keeps it to the list where nothing is written.
_HOWS = {
    "generate": "free text",
    "choice": "one of the labels",
    "likelihood": "how probable every label is, as the whole answer",
    "decision": "how probable the letter is that stands for each label",
}
#: What kept an answer to the list, by the level that is noted.
_LEVELS = {
    "trie": "a tree of the labels' tokens: nothing else can be said",
    "json_schema": "the server's structured output, with the labels in a JSON schema",
    "json_object": "the server's JSON mode, which keeps the form and not the list",
    "text": "the words of the prompt alone",
}
_COUNTS = "a tree of all counts in the form of the answer: nothing else can be said"
_STRUCTURED = {"json_schema": "JSON schema", "json_object": "JSON without a schema", "none": "none"}
_KNOWN = {True: "yes", False: "no"}


@dataclass(frozen=True, slots=True)
class Asked:
    """How it was asked, its prompt line by line, and what the server was found to do; each empty where it was not noted.

    `cut` counts the characters of the prompt that are not shown, `said` is what was noted while it was asked.
    """

    facts: tuple[tuple[str, str], ...]
    note: str
    prompt: tuple[Markup, ...]
    cut: int
    probe: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    said: tuple[str, ...]


def asked(contestant: Contestant, read: Prompted) -> Asked:
    """Return what is told of one contestant."""
    prompt, probe = (_object(contestant.facts.get(name)) for name in ("prompt", "probe"))
    text = words(prompt.get("text"))
    return Asked(
        facts=tuple(_facts(contestant, prompt, read)) if prompt else (),
        note=_note(contestant, prompt.get("how")),
        prompt=tuple(_lines(text[:MOST_PROMPT])),
        cut=max(0, len(text) - MOST_PROMPT),
        probe=tuple(_probe(probe)) if probe else (),
        notes=_notes(probe.get("notes")),
        said=(*_notes(prompt.get("notes")), *_notes(contestant.facts.get("notes"))) if prompt else (),
    )


def _note(contestant: Contestant, how: object) -> str:
    if how in WEIGHING:
        return WEIGHED
    if how != "choice":
        return ""
    if level(contestant) == _LEVELS["text"]:
        return UNFORCED
    return HELD_COUNTS if _object(contestant.facts.get("prompt")).get("format") == "counts" else CHOICE


def _notes(told: object) -> tuple[str, ...]:
    notes = told if isinstance(told, list) else []
    return tuple(say.clean(say.shortened(note), 300) for note in notes[:_MOST_NOTES] if isinstance(note, str))


def times_named(contestant: Contestant, name: str) -> int | None:
    """Return how often `name` stands in the prompt as a word of its own, whatever its case; `None` where there is no prompt."""
    text = words(_object(contestant.facts.get("prompt")).get("text"))
    if not text or not name.strip():
        return None
    return len(re.findall(rf"(?<!\w){re.escape(name.strip())}(?!\w)", text, re.IGNORECASE))


def level(contestant: Contestant) -> str:
    """Return in words what kept the answers to the list."""
    prompt, probe = (_object(contestant.facts.get(name)) for name in ("prompt", "probe"))
    if prompt.get("how") in WEIGHING:
        return "nothing is written: each label is weighed"
    if prompt.get("how") != "choice":
        return FREELY if prompt.get("how") == "generate" else say.NOT_RECORDED
    here = "" if contestant.facts.get("server") else "trie"
    noted = words(contestant.facts.get("level")) or words(probe.get("structured")) or here
    if noted == "trie" and prompt.get("format") == "counts":
        return _COUNTS
    return _LEVELS.get("text" if noted == "none" else noted, noted or say.NOT_RECORDED)


def _facts(contestant: Contestant, prompt: Json, read: Prompted) -> Iterator[tuple[str, str]]:
    yield "Prompt", _said(prompt.get("name"))
    source = words(prompt.get("source"))
    yield "Came from", say.pathless(say.shortened(source)) if source else say.NOT_RECORDED
    yield "Hash of what was asked", _said(prompt.get("hash"))
    yield "Asked for", _HOWS.get(words(prompt.get("how")), _said(prompt.get("how")))
    yield ("Kept to the form by" if prompt.get("format") == "counts" else "Kept to the list by"), level(contestant)
    yield (
        "Format of an answer",
        {"name": "a name", "json": "JSON"}.get(words(prompt.get("format")), _said(prompt.get("format"))),
    )
    if prompt.get("answers_in") not in (None, prompt.get("format")):
        yield "Answers in", _said(prompt.get("answers_in"))
    examples = whole(prompt.get("examples"))
    yield "Training pictures shown", say.NOT_RECORDED if examples is None else say.count(examples) if examples else "none"
    heat = number(prompt.get("temperature"))
    yield "Temperature", say.NOT_RECORDED if heat is None else f"{heat:g}" + (", greedy" if heat == 0 else "")
    seed = whole(prompt.get("seed"))
    yield "Seed of the sampling", say.NOT_APPLICABLE if seed is None else str(seed)
    most = whole(prompt.get("most_tokens"))
    yield "Longest answer", say.NOT_RECORDED if most is None else f"{say.count(most)} tokens"
    prefix = _object(contestant.facts.get("prefix"))
    if prefix:
        tokens, why = whole(prefix.get("tokens")), words(prefix.get("why"))
        once = "yes" + (f", {say.count(tokens)} tokens" if tokens is not None else "")
        yield (
            "Text computed once for all pictures",
            once if prefix.get("used") is True else f"no{': ' if why else ''}{say.clean(why, 200)}",
        )
    yield "Reading of the headline", read.headline if read.headline else say.NOT_RECORDED


def _probe(probe: Json) -> Iterator[tuple[str, str]]:
    yield "Calls the model", _said(probe.get("model"))
    yield "Takes pictures", _yes(probe.get("images"))
    tops = whole(probe.get("top_logprobs"))
    yield (
        "Gives log-probabilities",
        _yes(probe.get("logprobs")) + (f", of {say.count(tops)} tokens in one place" if tops else ""),
    )
    structured = words(probe.get("structured"))
    yield "Structured output", _STRUCTURED.get(structured, structured or "not established")
    at_once = _object(probe.get("at_once"))
    together, speedup = whole(at_once.get("asked")), number(at_once.get("speedup"))
    if together is None:
        yield "Answers at once", "not established"
    else:
        gain = f", {say.decimal(speedup, 1)} times as fast as one by one" if speedup is not None else ""
        yield "Answers at once", f"{say.count(together)} asked together{gain}"
    spent = number(probe.get("seconds"))
    yield "The probe took", say.NOT_RECORDED if spent is None else say.seconds(spent)


def _yes(told: object) -> str:
    """Return yes or no; what the probe could not settle, or noted in its own words, is said as it is."""
    if isinstance(told, bool):
        return _KNOWN[told]
    return "not established" if told is None else _said(told)


def _said(told: object) -> str:
    return say.NOT_RECORDED if told is None or told == "" else say.clean(told, 200)


def _object(told: object) -> Json:
    return told if isinstance(told, Mapping) else {}


def _lines(text: str) -> Iterator[Markup]:
    """Yield the lines of a prompt, each harmless; a line that would be cut is broken instead."""
    for line in text.expandtabs(4).split("\n"):
        line = line.rstrip("\r")
        for start in range(0, max(1, len(line)), _MOST_LINE):
            yield escape(say.clean(line[start : start + _MOST_LINE]))
