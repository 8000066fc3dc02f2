"""A model that looks behind an OpenAI-compatible server: pictures travel as ``data:`` addresses, several at once.

A picture is encoded once, whatever happens to its request, and never more than `ahead` of them are held. The request is written
out once for all pictures; what changes is what stands in its gap. The text before the picture is thus the same to the last byte,
which is what servers cache.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from fieldguide.craft.chat import SERVED, Said, Wanted
from fieldguide.craft.chat.coded import require_served
from fieldguide.craft.chat.flight import Flight, Shares
from fieldguide.craft.chat.lettered import Lettered, Tops
from fieldguide.craft.chat.probe import Trial, Tried, probe
from fieldguide.craft.chat.sent import ENCODING, USUAL_SIZE, Sent, sent
from fieldguide.craft.served import GAP, LEVELS, Chat, Patience, Question, Reply
from fieldguide.craft.server import server_of
from fieldguide.craft.troubles import NotAsked, ServerProblem, in_settings
from fieldguide.errors import UsageProblem, plain
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking, Message, Shown


def open_served(wanted: Wanted, *, sleep: Callable[[float], object] | None = None) -> Served:
    """Return the model `wanted.model` at the address `wanted.server`, after one short question without a picture.

    That question tells whether the server is there, whether it lets us in, and what it calls the model. Raises `UsageProblem`
    without an address, `ServerProblem` where there is no reply.
    """
    name = wanted.model.removeprefix(SERVED)
    if wanted.server is None or not name:
        raise UsageProblem(
            f"{SERVED}{plain(name) or 'NAME'} is a model behind a server, and "
            + ("no address was given." if name else "it has no name."),
            "An OpenAI-compatible server (vLLM, llama.cpp, LM Studio, transformers serve, OpenAI ...) and its name for the model.",
            "For example served/NAME:server=http://localhost:8000/v1",
        )
    with in_settings():
        server = server_of(wanted.server, wanted.key_variable)
    chat = Chat(server, Patience(wanted.attempts, wanted.timeout), sleep=sleep)
    try:
        with in_settings():
            hello = chat.ask(Question(name, ({"role": "user", "content": "Say yes."},), most_tokens=16))
    except BaseException:
        chat.close()
        raise
    return Served(wanted, name, chat, hello.model, sleep or time.sleep)


class Served:
    """A `Chat` over a server's chat completions.

    `revision` is what the server calls the model that answers (a name with its date where it has such), else the name that was asked for,
    with how pictures are sent; the address is no part of it, so that the same model elsewhere has the same answers. A reply of
    a model with another name is no answer. After a lasting trouble, or five pictures in a row without a reply, no more are sent.
    """

    def __init__(self, wanted: Wanted, name: str, chat: Chat, told: str, sleep: Callable[[float], object]) -> None:
        self.wanted, self.name, self.told = wanted, name, told
        self.size = wanted.image_size or USUAL_SIZE
        self.ahead = 2 * wanted.at_once
        self.revision = f"{told or name}; pictures of at most {self.size} px; {ENCODING}"
        self.where = chat.server.host
        self.facts: dict[str, Any] = {
            "model": told or name,
            "server": {"host": self.where, "kind": "openai", "url": chat.server.url},
            "image_size": self.size,
        }
        self.chat, self._sleep = chat, sleep
        self.tops = Tops(self._try, chat.insist)

    def ask(self, asking: Asking, pictures: Iterable[Pixels], examples: Mapping[str, Pixels]) -> Iterator[Said]:
        """Yield what is said of each of `pictures`; the first is asked about alone until there was a reply, so that a wrong key is told once.

        All questions about one picture (``likelihood``) are put by one of the threads, one after another, and count together or not at all.
        """
        require_served(asking.how, self.wanted.model)
        shown = {key: sent(pixels, self.size) for key, pixels in examples.items()}
        weighs, schema = asking.how == "likelihood", schema_of(asking) is not None
        one = self._weighing(asking, shown) if weighs else self._speaking(asking, shown)
        shares = Shares()

        def work(pixels: Pixels) -> Said:
            begun = shares.begin()
            try:
                said = one(pixels)
            except ServerProblem as problem:
                said = failed(problem)
            finally:
                share = shares.end(begun)
            return replace(said, seconds=share)

        flight = Flight(work, self.wanted.at_once, self.ahead)
        yield from flight.results(
            pictures, alone=lambda: schema not in self.chat.settled or (weighs and self.tops.most is None)
        )

    def requests(self, asking: Asking) -> int:
        """Return how many questions `asking` comes to about one picture."""
        return self.tops.requests(asking)

    def probe(self) -> dict[str, Any]:
        """Try what the server can do, with a dozen made questions, and note it in `facts`; raises `UsageProblem` where it refuses pictures."""
        found = probe(self._try, self.told or self.name, self.wanted.at_once, self._sleep)
        self.facts["probe"], self.tops.most = found, found["top_logprobs"]
        return found

    def _try(self, trial: Trial) -> Tried:
        content: list[dict[str, Any]] = [{"type": "text", "text": trial.text}]
        if trial.picture is not None:
            content.insert(0, {"type": "image_url", "image_url": {"url": sent(trial.picture, self.size).url}})
        messages = ({"role": "user", "content": content if trial.picture is not None else trial.text},)
        wished = trial.schema or ({"type": "object"} if trial.any_json else None)
        question = Question(self.name, messages, wished, seed=1, most_tokens=trial.most_tokens, tops=trial.tops)
        manner = replace(self.chat.manner, level="json_schema" if trial.schema else "json_object")
        reply = self.chat.once(question, manner)
        return Tried(reply.text, reply.tokens_in, most_told(reply))

    def close(self) -> None:
        """End all waiting, and break off what is being asked now."""
        self.chat.close()

    def question(self, asking: Asking, examples: Mapping[str, Sent]) -> Question:
        """Return what is asked about every picture, with a gap for it."""
        return Question(
            self.name,
            tuple(_turn(message, examples) for message in asking.messages),
            schema_of(asking),
            asking.temperature,
            asking.seed,
            asking.most_tokens,
            LEVELS if asking.schema is not None else (LEVELS[0], LEVELS[-1]),
        )

    def _speaking(self, asking: Asking, examples: Mapping[str, Sent]) -> Callable[[Pixels], Said]:
        question = self.question(asking, examples)
        return lambda pixels: said_of(asking, self._reply(question, sent(pixels, self.size)))

    def _weighing(self, asking: Asking, examples: Mapping[str, Sent]) -> Callable[[Pixels], Said]:
        def write(coded: Asking, tops: int) -> Question:
            return replace(self.question(coded, examples), tops=tops)

        lettered = Lettered(asking, self.tops, write, self._reply)

        def one(pixels: Pixels) -> Said:
            said = lettered(pixels, self.size, self.wanted.model, self.chat.server.url)
            self.facts |= lettered.facts
            return said

        return one

    def _reply(self, question: Question, picture: Sent) -> Reply:
        """Return the reply of the model that this run began with; raises `ServerProblem` for every other."""
        reply = self.chat.ask(question, picture.url)
        if self.told and reply.model and reply.model != self.told:
            raise ServerProblem(
                f"A model called {plain(reply.model, 80)} answered; it was {plain(self.told, 80)} when the run began.",
                "The answers of one contestant come from one model.",
                "Let the server run the model of before.",
                lasting=True,
            )
        return reply


def failed(problem: ServerProblem) -> Said:
    """Return why there is no answer: of a picture that was asked about, and of one that never was."""
    why = (
        f"not asked: because of a picture before it: {problem.because.given}"
        if isinstance(problem, NotAsked)
        else problem.given
    )
    return Said(error=why, lasting=problem.lasting)


def most_told(reply: Reply) -> int:
    """Return of how many likeliest tokens a reply tells in one place."""
    return max((len(token.tops) for token in reply.told), default=0)


def schema_of(asking: Asking) -> Mapping[str, Any] | None:
    """Return the schema that keeps an answer to what it may be; `None` where it is free."""
    if asking.how != "choice":
        return None
    if asking.schema is not None:
        return asking.schema
    answer = {"type": "string", "enum": list(dict.fromkeys(asking.answers))}
    return {"type": "object", "properties": {"answer": answer}, "required": ["answer"], "additionalProperties": False}


def said_of(asking: Asking, reply: Reply) -> Said:
    """Return what was said. The JSON that a choice is wrapped in here is taken off; where it is not there, words alone kept the answer."""
    text, level = reply.text, reply.level
    if asking.how == "choice" and level != LEVELS[-1]:
        value = _json(text)
        inner = value.get("answer") if isinstance(value, dict) else None
        if value is None:
            level = LEVELS[-1]
        elif asking.schema is None and isinstance(inner, str):
            text, level = inner, level if inner in asking.answers else LEVELS[-1]
    return Said(text, reply.finish, reply.tokens_in, reply.tokens_out, reply.cached, level=level)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _turn(message: Message, examples: Mapping[str, Sent]) -> dict[str, Any]:
    """Return one turn as the protocol has it; one text alone is no list, which some servers do not take of a system."""
    if len(message.parts) == 1 and isinstance(message.parts[0], str):
        return {"role": message.role, "content": message.parts[0]}
    return {"role": message.role, "content": [_part(part, examples) for part in message.parts]}


def _part(part: str | Shown, examples: Mapping[str, Sent]) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "image_url", "image_url": {"url": GAP if part.key is None else examples[part.key].url}}
