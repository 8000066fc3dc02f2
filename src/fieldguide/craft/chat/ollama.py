"""A model that looks behind Ollama, asked through Ollama's own interface (``/api/chat``), which says more than the compatible one.

The digest of its weights is known, whether it can see is known before a picture is sent, and the list of answers is kept to by
Ollama's grammar (``format``). Pictures travel as base64 inside the request, several at once; how many of them run at once is the
server's matter (``OLLAMA_NUM_PARALLEL``).

Ollama sets the pictures of a message before its text. A message with text before its picture is therefore sent as two of the same
role, so that a list of classes that stands before the picture stays there, and is read once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fieldguide.craft import troubles
from fieldguide.craft.chat import OLLAMA, OLLAMAS, Said, Wanted
from fieldguide.craft.chat.coded import LETTERS, require_served
from fieldguide.craft.chat.flight import Flight, Shares
from fieldguide.craft.chat.lettered import Lettered, Tops
from fieldguide.craft.chat.over_http import failed, most_told, said_of, schema_of
from fieldguide.craft.chat.probe import Trial, Tried, probe
from fieldguide.craft.chat.sent import ENCODING, USUAL_SIZE, Sent, sent
from fieldguide.craft.insisting import Insisting, Patience
from fieldguide.craft.served import GAP, MOST_LETTERS, Reply, require_told
from fieldguide.craft.server import Server, server_of
from fieldguide.craft.told import told
from fieldguide.craft.troubles import ServerProblem, Trouble, in_settings
from fieldguide.craft.wire import Wire, count
from fieldguide.errors import EnvironmentProblem, UsageProblem, allowed_names, plain
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking, Message

#: How long Ollama holds the model in memory after an answer.
KEEP = "10m"
#: Tokens that Ollama reads of a conversation unless told; what is longer loses its beginning without a word.
_USUAL_CONTEXT = 4096
#: Tokens a picture comes to at most in the models in use, and letters of a token, for a guess on the safe side.
_PICTURE_TOKENS, _LETTERS = 1500, 3
#: Letters at most that a list of letters has around each label, and around all of them.
_BESIDE, _AROUND = 8, 200


def open_ollama(wanted: Wanted, *, sleep: Callable[[float], object] | None = None) -> Ollama:
    """Return the model `wanted.model` of the Ollama at `wanted.server`, by default the one on this machine.

    Raises `EnvironmentProblem` where the model is not there, `UsageProblem` where it cannot see, `ServerProblem` where nobody answers.
    """
    name = wanted.model.removeprefix(OLLAMAS)
    if not name:
        raise UsageProblem(
            "ollama/ is no model: it has no name.", "A name that `ollama list` shows.", "For example ollama/llava"
        )
    with in_settings():
        server = of_ollama(wanted)
    patience = Patience(wanted.attempts, wanted.timeout)
    talk = Talk(Wire(server, wanted.timeout), Insisting(server, patience, "Ollama's interface", sleep), sleep or time.sleep)
    try:
        with in_settings():
            return _opened(wanted, name, talk)
    except BaseException:
        talk.close()
        raise


def of_ollama(wanted: Wanted) -> Server:
    """Return the address of the Ollama that is wanted, and the key to it."""
    return server_of(wanted.server or OLLAMA, wanted.key_variable, path="", ends=("/v1", "/api", "/api/chat"))


def _opened(wanted: Wanted, name: str, talk: Talk) -> Ollama:
    there = talk.there()
    full = require_model(name, there, talk.wire.server.url)
    able = talk.able(full)
    if able is not None and "vision" not in able:
        raise UsageProblem(
            f"The model {plain(name, 80)} cannot see: of itself it says {plain(', '.join(able)) or 'nothing'}.",
            "A model with the capability vision, for example llava, qwen2.5vl, gemma3 or llama3.2-vision.",
            f"ollama show {plain(name, 80)}",
        )
    return Ollama(wanted, full, there[full], talk, able or ())


def listed(told: Mapping[str, Any]) -> dict[str, str]:
    """Return the digest of every model in what ``/api/tags`` tells, by its full name."""
    models = told.get("models")
    found = [one for one in models if isinstance(one, dict)] if isinstance(models, list) else []
    return {str(one.get("name") or one.get("model") or ""): str(one.get("digest") or "") for one in found}


def require_model(name: str, there: Mapping[str, str], url: str) -> str:
    """Return the full name of a model; raises `EnvironmentProblem` where it is not among those that are `there`."""
    full = name if ":" in name else f"{name}:latest"
    if full not in there:
        raise EnvironmentProblem(
            f"The Ollama at {url} has no model {plain(name, 80)}.",
            allowed_names(full, there) if there else "It has no model at all.",
            f"ollama pull {plain(name, 80)}",
        )
    return full


class Talk:
    """What Ollama is asked, each with patience."""

    def __init__(self, wire: Wire, insisting: Insisting, sleep: Callable[[float], object] = time.sleep) -> None:
        self.wire, self.insisting, self.sleep = wire, insisting, sleep

    def there(self) -> dict[str, str]:
        """Return the digest of every model that is there, by its full name."""
        return listed(self._get("/api/tags", None))

    def able(self, name: str) -> tuple[str, ...] | None:
        """Return what a model says it can do; `None` where this Ollama is too old to say."""
        told = self._get("/api/show", json.dumps({"model": name, "name": name}).encode()).get("capabilities")
        return tuple(str(one) for one in told) if isinstance(told, list) else None

    def version(self) -> str:
        """Return Ollama's version."""
        return plain(self._get("/api/version", None).get("version") or "", 40)

    def chat(self, body: bytes, level: str, tops: int | None = None) -> Reply:
        """Return the reply to a conversation, with what is told of `tops` likeliest tokens where the body asks for them; raises `ServerProblem`."""

        def attempt() -> Reply:
            reply = self.once(body, level)
            require_told(tops, reply)
            return reply

        return self.insisting.put(attempt)

    def once(self, body: bytes, level: str) -> Reply:
        """Ask once; raises `Trouble`."""
        start = time.perf_counter()
        value, answered = self.wire.json("/api/chat", body)
        said = value.get("message")
        text = said.get("content") if isinstance(said, dict) else None
        if not isinstance(text, str) or value.get("done") is False:
            why = troubles.message(answered.body) if value.get("error") else "its reply holds no whole message"
            raise Trouble(why, again=True)
        hide = self.wire.server.hide
        return Reply(
            hide(text)[:MOST_LETTERS],
            "too long" if len(text) > MOST_LETTERS else plain(value.get("done_reason") or "", 40),
            count(value.get("prompt_eval_count")),
            count(value.get("eval_count")),
            time.perf_counter() - start,
            level,
            plain(hide(str(value.get("model") or "")), 200),
            logprobs=bool(value.get("logprobs")),
            told=told(value.get("logprobs")),
        )

    def close(self) -> None:
        """End all waiting, and break off what is being asked now."""
        self.insisting.stop()
        self.wire.close()

    def _get(self, path: str, body: bytes | None) -> dict[str, Any]:
        return self.insisting.put(lambda: self.wire.json(path, body)[0])


@dataclass(frozen=True)
class _Form:
    """A request about any picture, in two pieces with the picture between them; how its answer is kept to the list; tokens told of."""

    head: bytes
    tail: bytes
    level: str
    tops: int | None


class Ollama:
    """A `Chat` over Ollama's own interface.

    `revision` is the digest of the model (weights, template and parameters) as Ollama has it, with how pictures are sent. The context is made
    as long as the question needs: by itself Ollama reads 4,096 tokens and drops the beginning of what is longer. A model that
    thinks aloud is asked not to. `cached` is never known: Ollama counts the tokens of a prompt whether it has read them before or not.
    """

    def __init__(self, wanted: Wanted, name: str, hash: str, talk: Talk, able: tuple[str, ...]) -> None:
        self.wanted, self.name, self.talk = wanted, name, talk
        self.size = wanted.image_size or USUAL_SIZE
        self.ahead = 2 * wanted.at_once
        self.revision = f"{hash or name}; pictures of at most {self.size} px; {ENCODING}"
        self.where = talk.wire.server.host
        self.facts: dict[str, Any] = {
            "model": name,
            "server": {"host": self.where, "kind": "ollama", "url": talk.wire.server.url, "version": talk.version()},
            "image_size": self.size,
        }
        self._thinks = "thinking" in able
        self.tops = Tops(self._try, talk.insisting.put)

    def ask(self, asking: Asking, pictures: Iterable[Pixels], examples: Mapping[str, Pixels]) -> Iterator[Said]:
        """Yield what is said of each of `pictures`; the first is asked about alone until there was a reply: it waits for the model to load."""
        require_served(asking.how, self.wanted.model)
        shown = {key: sent(pixels, self.size).text for key, pixels in examples.items()}
        one = self._weighing(asking, shown) if asking.how == "likelihood" else self._speaking(asking, shown)
        shares = Shares()
        answered: list[bool] = []

        def work(pixels: Pixels) -> Said:
            begun = shares.begin()
            try:
                said = one(pixels)
                answered[:] = [True]
            except ServerProblem as problem:
                said = failed(problem)
            finally:
                share = shares.end(begun)
            return replace(said, seconds=share)

        flight = Flight(work, self.wanted.at_once, self.ahead)
        yield from flight.results(pictures, alone=lambda: not answered)

    def requests(self, asking: Asking) -> int:
        """Return how many questions `asking` comes to about one picture."""
        return self.tops.requests(asking)

    def _speaking(self, asking: Asking, examples: Mapping[str, str]) -> Callable[[Pixels], Said]:
        form = self._form(asking, None, examples)
        return lambda pixels: said_of(asking, self._reply(form, sent(pixels, self.size)))

    def _weighing(self, asking: Asking, examples: Mapping[str, str]) -> Callable[[Pixels], Said]:
        # All questions about a picture get the same room: Ollama loads the model anew where that changes.
        longest = sorted(map(len, asking.answers))[-len(LETTERS) :]
        reserve = (sum(longest) + _BESIDE * len(longest) + _AROUND) // _LETTERS

        def write(coded: Asking, tops: int) -> _Form:
            return self._form(coded, tops, examples, _needed(asking, examples) + reserve)

        lettered = Lettered(asking, self.tops, write, self._reply)

        def one(pixels: Pixels) -> Said:
            said = lettered(pixels, self.size, self.wanted.model, self.talk.wire.server.url)
            self.facts |= lettered.facts
            return said

        return one

    def _form(self, asking: Asking, tops: int | None, examples: Mapping[str, str], needed: int | None = None) -> _Form:
        """Return a question as it is sent about any picture, with the log-probabilities of `tops` likeliest tokens where they are wanted."""
        body = self.written(asking, examples, needed)
        if tops:
            body |= {"logprobs": True, "top_logprobs": tops}
        head, _, tail = json.dumps(body).encode().partition(GAP.encode())
        return _Form(head, tail, "json_schema" if "format" in body else "text", tops)

    def _reply(self, form: _Form, picture: Sent) -> Reply:
        return self.talk.chat(b"".join((form.head, picture.text.encode(), form.tail)), form.level, form.tops)

    def probe(self) -> dict[str, Any]:
        """Try what this Ollama can do, with a dozen made questions, and note it in `facts`; raises `UsageProblem` where it refuses pictures."""
        found = probe(self._try, self.name, self.wanted.at_once, self.talk.sleep)
        self.facts["probe"], self.tops.most = found, found["top_logprobs"]
        return found

    def _try(self, trial: Trial) -> Tried:
        turn: dict[str, Any] = {"role": "user", "content": trial.text}
        if trial.picture is not None:
            turn["images"] = [sent(trial.picture, self.size).text]
        body = self._body([turn], {"temperature": 0, "seed": 1, "num_predict": trial.most_tokens})
        if trial.schema or trial.any_json:
            body["format"] = trial.schema or "json"
        if trial.tops:
            body |= {"logprobs": True, "top_logprobs": trial.tops}
        reply = self.talk.once(json.dumps(body).encode(), "text")
        return Tried(reply.text, reply.tokens_in, most_told(reply))

    def close(self) -> None:
        """End all waiting, and break off what is being asked now."""
        self.talk.close()

    def _body(self, messages: list[dict[str, Any]], options: Mapping[str, Any]) -> dict[str, Any]:
        body = {"model": self.name, "messages": messages, "stream": False, "keep_alive": KEEP, "options": options}
        return {**body, "think": False} if self._thinks else body

    def written(self, asking: Asking, examples: Mapping[str, str], needed: int | None = None) -> dict[str, Any]:
        """Return the body of a request about any picture, with a gap for it; `examples` are base64, `needed` is the room it gets in tokens."""
        messages = [turn for message in asking.messages for turn in _turns(message, examples)]
        options: dict[str, Any] = {"temperature": asking.temperature, "num_predict": asking.most_tokens}
        if asking.seed is not None:
            options["seed"] = asking.seed
        needed = needed or _needed(asking, examples)
        if needed > _USUAL_CONTEXT:
            options["num_ctx"] = 1 << (needed - 1).bit_length()
        body = self._body(messages, options)
        schema = schema_of(asking)
        if schema is not None:
            body["format"] = schema
        return body


def _needed(asking: Asking, examples: Mapping[str, str]) -> int:
    """Return about how many tokens a question and its answer take, on the safe side."""
    messages = [turn for message in asking.messages for turn in _turns(message, examples)]
    letters = sum(len(turn["content"]) for turn in messages)
    pictures = sum(len(turn.get("images", ())) for turn in messages)
    return letters // _LETTERS + pictures * _PICTURE_TOKENS + asking.most_tokens


def _turns(message: Message, examples: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return one turn as Ollama has it: as many messages as it takes for every picture to be the first thing of its own."""
    turns: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, str):
            if turns and (turns[-1]["content"] or "images" in turns[-1]):
                turns[-1]["content"] += ("\n" if turns[-1]["content"] else "") + part
            else:
                turns.append({"role": message.role, "content": part})
            continue
        picture = GAP if part.key is None else examples[part.key]
        if turns and not turns[-1]["content"]:
            turns[-1]["images"].append(picture)
        else:
            turns.append({"role": message.role, "content": "", "images": [picture]})
    return turns
