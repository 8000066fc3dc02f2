"""What a server can do, found by trying: servers take fields they do not know in silence, and say yes to what they then leave out.

At most `MOST` short questions about made pictures; none of the user's is sent. What cannot be found out is `None`, with a note. Only
pictures that are refused are fatal: nothing else could be asked.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fieldguide.craft.chat.coded import WISHED
from fieldguide.craft.troubles import Trouble
from fieldguide.errors import UsageProblem, plain
from fieldguide.records import Pixels

#: Questions of one probe, but for those that are put again after what may pass by itself.
MOST = 13
#: Questions that are put at once, at most, and one after another, to see what is gained.
_AT_ONCE, _IN_TURN = 4, 2
#: Pixels of the side of a made picture.
_SIDE = 224
_COLOUR = "What colour is this picture? Answer with one word: red or blue."
#: What a grammar alone would make a model say.
_ODD = ("violet-7", "amber-3")
_SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": list(_ODD)}},
    "required": ["answer"],
    "additionalProperties": False,
}
_ABOUT_PICTURES = ("image", "picture", "multimodal", "multi-modal", "vision", "mmproj")


@dataclass(frozen=True)
class Trial:
    """One question of the probe: `schema` wishes for it, `any_json` for any object, `tops` for so many tokens' log-probabilities."""

    text: str
    picture: Pixels | None = None
    schema: Mapping[str, Any] | None = None
    any_json: bool = False
    tops: int | None = None
    most_tokens: int = 16


@dataclass(frozen=True)
class Tried:
    """What came of it: `tops` is how many of the likeliest tokens were told in one place, with their log-probabilities."""

    text: str
    tokens_in: int | None
    tops: int


#: Puts a trial once; raises `Trouble`.
Try = Callable[[Trial], Tried]


@dataclass
class _Probe:
    """The trials of one probe, and what is to be told of them."""

    once: Try
    sleep: Callable[[float], object]
    notes: list[str] = field(default_factory=list)
    put: list[None] = field(default_factory=list, repr=False)

    def __call__(self, trial: Trial) -> Tried:
        """Put a trial, and once more after what may pass by itself."""
        self.put.append(None)  # also from several threads
        try:
            return self.once(trial)
        except Trouble as trouble:
            if not trouble.again:
                raise
            self.sleep(min(trouble.wait or 1.0, 10.0))
            self.put.append(None)
            return self.once(trial)

    def note(self, what: str, trouble: Trouble) -> None:
        self.notes.append(f"{what}: {plain(trouble.why, 200)}")


def probe(once: Try, model: str, at_once: int, sleep: Callable[[float], object] = time.sleep) -> dict[str, Any]:
    """Return what the server does with pictures, log-probabilities, a wished structure, and `at_once` questions at a time.

    ``{"images", "logprobs", "top_logprobs", "structured", "at_once": {"asked", "speedup"}, "model", "notes", "questions", "seconds"}``; `model` is
    handed through, ``questions`` counts what was put. ``top_logprobs`` counts the tokens that are told of in one place.
    Raises `UsageProblem` where it refuses pictures.
    """
    start = time.perf_counter()
    probing = _Probe(once, sleep)
    images, told = _images(probing, model), _tops(probing)
    found = {
        "images": images,
        "logprobs": None if told is None else told > 0,
        "top_logprobs": told,
        "structured": _structured(probing),
        "at_once": _concurrency(probing, at_once),
        "model": model,
        "notes": probing.notes,
    }
    return {**found, "questions": len(probing.put), "seconds": round(time.perf_counter() - start, 3)}


def _plain_picture(colour: int) -> Pixels:
    pixels = np.full((_SIDE, _SIDE, 3), 20, np.uint8)
    pixels[..., colour] = 220
    return pixels


_RED, _BLUE = _plain_picture(0), _plain_picture(2)


def _images(put: _Probe, model: str) -> bool | None:
    """Ask for the colour of two pictures, and once without one: a server that drops them counts the same tokens."""
    asked = Trial(_COLOUR)
    try:
        alone = put(asked)
    except Trouble as trouble:
        put.note("a question without a picture had no answer", trouble)
        alone = None
    try:
        red, blue = (put(replace(asked, picture=picture)) for picture in (_RED, _BLUE))
    except Trouble as trouble:
        about = trouble.refused or any(word in trouble.why.lower() for word in _ABOUT_PICTURES)
        if alone is not None and about:
            raise UsageProblem(
                f"The server does not take pictures for {plain(model, 80)}: {plain(trouble.why, 200)}.",
                "A model that looks, on a server that lets it (llama.cpp needs its --mmproj file).",
                "Name such a model; the server's own page says which of its models see.",
            ) from None
        put.note("a question with a picture had no answer", trouble)
        return None
    said = [one.text.lower() for one in (red, blue)]
    if "red" in said[0] and "blue" not in said[0] and "blue" in said[1] and "red" not in said[1]:
        return True
    told = f"of a red picture it said '{plain(red.text, 40)}', of a blue one '{plain(blue.text, 40)}'"
    counts = [one.tokens_in for one in (red, blue, alone) if one is not None]
    counted = None not in counts and alone is not None
    dropped = counted and len(set(counts)) == 1
    put.notes.append(told + (", and counted the same tokens with a picture and without" if dropped else ""))
    if said[0] != said[1]:
        return None if dropped else True
    return None if counted and not dropped else False


def tops(once: Try) -> int:
    """Return how many likeliest tokens are told with their log-probabilities; raises `Trouble` where that is refused, or cannot be tried."""
    many, few = (Trial("Say yes.", tops=wished, most_tokens=4) for wished in WISHED)
    try:
        return once(many).tops
    except Trouble as trouble:
        if not trouble.refused:
            raise
        return once(few).tops


def _tops(put: _Probe) -> int | None:
    try:
        return tops(put)
    except Trouble as trouble:
        put.note("log-probabilities are refused" if trouble.refused else "log-probabilities could not be tried", trouble)
        return 0 if trouble.refused else None


def _structured(put: _Probe) -> str | None:
    """Wish for what the question contradicts: who answers in that shape is kept to it, and does not merely follow."""
    levels = {
        "json_schema": Trial("Answer with the single word hello and nothing else.", schema=_SCHEMA, most_tokens=32),
        "json_object": Trial("Say hello in plain words, and not in JSON.", any_json=True, most_tokens=32),
    }
    refused = True
    for level, trial in levels.items():
        try:
            text = put(trial).text
        except Trouble as trouble:
            put.note(f"{level} is refused" if trouble.refused else f"{level} could not be tried", trouble)
            refused = refused and trouble.refused
            continue
        if _kept(level, text):
            return level
        put.notes.append(f"{level} was wished for, and '{plain(text, 40)}' came back")
    return "none" if refused else None


def _kept(level: str, text: str) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and (level == "json_object" or value.get("answer") in _ODD)


def _concurrency(put: _Probe, at_once: int) -> dict[str, Any] | None:
    """Compare the time of questions one after another with that of as many at once, after all else has warmed the server up."""
    together = min(at_once, _AT_ONCE)
    if together < 2:
        return None
    trial = Trial(_COLOUR, _RED, most_tokens=4)
    try:
        start = time.perf_counter()
        for _ in range(_IN_TURN):
            put(trial)
        alone = (time.perf_counter() - start) / _IN_TURN
        start = time.perf_counter()
        with ThreadPoolExecutor(together, "probe") as pool:
            list(pool.map(put, [trial] * together))
        return {"asked": together, "speedup": round(together * alone / (time.perf_counter() - start), 2)}
    except Trouble as trouble:
        put.note("several at once could not be tried", trouble)
        return None
