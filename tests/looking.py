"""Servers that look: the stub playing a model that sees pictures, behind the OpenAI protocol or Ollama's, in all its kinds."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from tests.stub import Answer, Script, Stub, failing, raw, serving

from fieldguide.records import Pixels

#: What a model says of its last picture (`None` where it saw none) and of all text it was given.
Eye = Callable[[Pixels | None, str], str]
#: How strongly a model sees each name in its last picture; what it says of some of them is in proportion.
Mind = Callable[[Pixels | None], Mapping[str, float]]
#: Words that are no letter.
_WORDS = (
    "The",
    "I",
    "It",
    "This",
    "None",
    "Sure",
    "Based",
    "Looking",
    "Of",
    "Let",
    "You",
    "There",
    "That",
    "Hello",
    "As",
    "An",
    "For",
    "If",
    "No",
    "Yes",
)
DIGEST = "d1" * 32


@dataclass(frozen=True)
class Kind:
    """What a server does with what it is given: `pictures` are seen, ignored or refused; so is a schema; `seconds` pass before it answers.

    Of `tops` tokens at most it tells in one place, and refuses a request for more if `logprobs` is ``few``. It begins with no letter in
    `stray` of all cases, and writes a letter in these `forms`, each with its share; `begins` stands before it.
    """

    pictures: str = "seen"
    schema: str = "honoured"
    object: str = "honoured"
    logprobs: str = "given"
    tops: int = 20
    stray: float = 0.05
    forms: tuple[tuple[str, float], ...] = (("{}", 1.0),)
    begins: tuple[str, ...] = ()
    counts: bool = True
    model: str = "eyes-1@main"
    seconds: float = 0.0


def colour(pixels: Pixels | None, text: str) -> str:
    """Name the colour that there is most of."""
    if pixels is None:
        return "nothing"
    return ("red", "green", "blue")[int(np.asarray(pixels, float).mean(axis=(0, 1)).argmax())]


def plain_picture(name: str, side: int = 8) -> Pixels:
    """A picture of one colour."""
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[..., ("red", "green", "blue").index(name)] = 200
    return pixels


def decoded(body: dict[str, Any]) -> tuple[list[Pixels], str]:
    """Return the pictures and the text of a request in either protocol, in the order they stand in."""
    pictures, texts = [], []
    for turn in body["messages"]:
        for image in turn.get("images", ()):
            pictures.append(_pixels(image))
        for part in turn["content"] if isinstance(turn["content"], list) else [{"type": "text", "text": turn["content"]}]:
            if part["type"] == "text":
                texts.append(part["text"])
            else:
                head, _, text = part["image_url"]["url"].partition(";base64,")
                assert head in ("data:image/png", "data:image/jpeg"), head
                pictures.append(_pixels(text))
    return pictures, "\n".join(texts)


def _pixels(text: str) -> Pixels:
    picture = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
    assert not picture.getexif() and set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}, picture.info
    return np.asarray(picture.convert("RGB"))


def looks(eye: Eye = colour, kind: Kind | None = None, mind: Mind | None = None) -> Script:
    """Return a script that answers as `eye` sees, in whichever protocol it is asked; with the letter of a name as `mind` does."""
    kind = kind or Kind()

    def script(body: dict[str, Any], number: int) -> Answer:
        time.sleep(kind.seconds)
        pictures, text = decoded(body)
        if pictures and kind.pictures == "refused":
            return failing(400, "this model takes no image_url")
        seen = pictures if kind.pictures == "seen" else []
        wish = body.get("format") or body.get("response_format")
        refused = _refusal(kind, body, wish)
        if refused:
            return failing(400, refused)
        said = eye(seen[-1] if seen else None, text)
        said = _kept(kind, wish, said)
        written = None
        if body.get("logprobs") and kind.logprobs in ("given", "few"):
            written = _written(
                kind, body["top_logprobs"], _tokens(kind, text, mind(seen[-1] if seen else None)) if mind else {}, said
            )
        tokens = (len(text) // 4 + 16 * len(seen), len(said) // 4 + 1) if kind.counts else None
        return (_ollama if "options" in body else _openai)(kind, body, said, (tokens, written))

    return script


def _refusal(kind: Kind, body: dict[str, Any], wish: Any) -> str:
    if body.get("logprobs") and kind.logprobs == "refused":
        return "logprobs are not supported"
    if kind.logprobs == "few" and body.get("top_logprobs", 0) > kind.tops:
        return f"top_logprobs must be at most {kind.tops}"
    if wish and _schema(wish) is not None and kind.schema == "refused":
        return "response_format json_schema is not supported"
    if wish and _schema(wish) is None and kind.object == "refused":
        return "response_format json_object is not supported"
    return ""


def _schema(wish: Any) -> dict[str, Any] | None:
    """Return the schema that is wished for; `None` where it is any JSON."""
    if not isinstance(wish, dict):
        return None
    if wish.get("type") == "json_schema":
        found: dict[str, Any] = wish["json_schema"]["schema"]
        return found
    return wish if "properties" in wish else None


def _kept(kind: Kind, wish: Any, said: str) -> str:
    """Keep an answer to what is wished for, as a grammar does: whatever the model would have said."""
    schema = _schema(wish) if wish else None
    if schema is not None and kind.schema == "honoured":
        ((name, inner), *_) = schema["properties"].items()
        options = inner.get("enum", [said])
        return json.dumps({name: said if said in options else options[0]})
    return json.dumps({"said": said}) if wish and schema is None and kind.object == "honoured" else said


def _tokens(kind: Kind, text: str, strengths: Mapping[str, float]) -> dict[str, float]:
    """Return how probable each first token of an answer is, where a letter is asked for; nothing where none is."""
    letters = dict(re.findall(r"^([A-Z]) = (.*)$", text, re.MULTILINE))
    whole = sum(strengths[name] for name in letters.values())
    if not whole:
        return {}
    shares = [(letter, form, share * strengths[name] / whole) for letter, name in letters.items() for form, share in kind.forms]
    stray = {word: kind.stray * 2.0**-at for at, word in enumerate(_WORDS, 1)}
    told = stray | {form.format(letter): (1 - kind.stray) * share for letter, form, share in shares}
    return {token: share for token, share in told.items() if share}


def _written(kind: Kind, asked: int, tokens: Mapping[str, float], said: str) -> list[dict[str, Any]]:
    """Return what is told of the tokens of an answer; by default of one that is hardly in doubt."""
    if not tokens:
        tokens = {said[:3]: 0.9} | {word: 0.1 * 2.0**-at for at, word in enumerate(_WORDS, 1)}
    likeliest = sorted(tokens, key=lambda token: -tokens[token])[: min(asked, kind.tops)]
    tops = [{"token": token, "logprob": math.log(tokens[token]), "bytes": list(token.encode())} for token in likeliest]
    begins = [{"token": token, "logprob": -0.01, "top_logprobs": [{"token": token, "logprob": -0.01}]} for token in kind.begins]
    return [*begins, {**tops[0], "top_logprobs": tops}]


#: Tokens of a question and its answer, where they are counted, and what is told of those of the answer.
Counted = tuple[tuple[int, int] | None, list[dict[str, Any]] | None]


def _openai(kind: Kind, body: dict[str, Any], said: str, counted: Counted) -> Answer:
    tokens, written = counted
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    if written:
        choice["logprobs"] = {"content": written}
    value: dict[str, Any] = {"object": "chat.completion", "model": kind.model, "choices": [choice]}
    if tokens:
        value["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
        value["usage"]["prompt_tokens_details"] = {"cached_tokens": tokens[0] // 2}
    return raw(200, json.dumps(value))


def _ollama(kind: Kind, body: dict[str, Any], said: str, counted: Counted) -> Answer:
    tokens, written = counted
    value: dict[str, Any] = {"model": body["model"], "message": {"role": "assistant", "content": said}, "done": True}
    value |= {"done_reason": "stop", "total_duration": 5_000_000, "load_duration": 1_000_000}
    if written:
        value["logprobs"] = written
    if tokens:
        value |= {"prompt_eval_count": tokens[0], "eval_count": tokens[1]}
    return raw(200, json.dumps(value))


def ollama_pages(
    models: tuple[str, ...] = ("eyes:latest", "words:7b"), able: tuple[str, ...] | None = ("completion", "vision")
) -> dict[str, Answer]:
    """What an Ollama with these models answers to all but questions."""
    listed = [{"name": name, "model": name, "digest": DIGEST, "size": 1} for name in models]
    shown = {"details": {}, **({} if able is None else {"capabilities": list(able)})}
    return {
        "/api/tags": raw(200, json.dumps({"models": listed})),
        "/api/show": raw(200, json.dumps(shown)),
        "/api/version": raw(200, json.dumps({"version": "0.13.0"})),
    }


@contextmanager
def ollama(script: Script, able: tuple[str, ...] | None = ("completion", "vision"), port: int = 0) -> Iterator[Stub]:
    """Run a stub that is an Ollama."""
    with serving(script, ollama_pages(able=able), port) as stub:
        yield stub
