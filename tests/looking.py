"""Servers that look: the stub playing a model that sees pictures, behind the OpenAI protocol or Ollama's, in all its kinds."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from tests.stub import Answer, Script, Stub, failing, raw, serving

from fieldguide.records import Pixels

#: What a model says of its last picture (`None` where it saw none) and of all text it was given.
Eye = Callable[[Pixels | None, str], str]
DIGEST = "d1" * 32


@dataclass(frozen=True)
class Kind:
    """What a server does with what it is given: `pictures` are seen, ignored or refused; so is a schema; `seconds` pass before it answers."""

    pictures: str = "seen"
    schema: str = "honoured"
    object: str = "honoured"
    logprobs: str = "given"
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


def looks(eye: Eye = colour, kind: Kind | None = None) -> Script:
    """Return a script that answers as `eye` sees, in whichever protocol it is asked."""
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
        tokens = (len(text) // 4 + 16 * len(seen), len(said) // 4 + 1) if kind.counts else None
        return _ollama(kind, body, said, tokens) if "options" in body else _openai(kind, body, said, tokens)

    return script


def _refusal(kind: Kind, body: dict[str, Any], wish: Any) -> str:
    if body.get("logprobs") and kind.logprobs == "refused":
        return "logprobs are not supported"
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


def _openai(kind: Kind, body: dict[str, Any], said: str, tokens: tuple[int, int] | None) -> Answer:
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    if body.get("logprobs") and kind.logprobs == "given":
        choice["logprobs"] = {"content": [{"token": said[:3], "logprob": -0.1, "top_logprobs": []}]}
    value: dict[str, Any] = {"object": "chat.completion", "model": kind.model, "choices": [choice]}
    if tokens:
        value["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
        value["usage"]["prompt_tokens_details"] = {"cached_tokens": tokens[0] // 2}
    return raw(200, json.dumps(value))


def _ollama(kind: Kind, body: dict[str, Any], said: str, tokens: tuple[int, int] | None) -> Answer:
    value: dict[str, Any] = {"model": body["model"], "message": {"role": "assistant", "content": said}, "done": True}
    value |= {"done_reason": "stop", "total_duration": 5_000_000, "load_duration": 1_000_000}
    if body.get("logprobs") and kind.logprobs == "given":
        value["logprobs"] = [{"token": said[:3], "logprob": -0.1}]
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
