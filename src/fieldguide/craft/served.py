"""A language model behind an OpenAI-compatible server: a question with a wished JSON schema goes in, a text with its cost comes out.

Servers differ in what they know: `Manner` is the wish that a server understood, found once a run and used from then on. How bytes
travel is in `wire`, and how often is asked in `insisting`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from fieldguide.craft import troubles
from fieldguide.craft.insisting import Insisting
from fieldguide.craft.insisting import Patience as Patience
from fieldguide.craft.server import Server
from fieldguide.craft.told import Told, told
from fieldguide.craft.troubles import ServerProblem, Trouble
from fieldguide.craft.wire import Wire, count
from fieldguide.errors import plain
from fieldguide.files import digest

#: How a schema is wished for, strictest first; ``text`` asks for it in words alone.
LEVELS = ("json_schema", "json_object", "text")
#: Letters of a reply's text that are kept.
MOST_LETTERS = 65_536
#: What stands in messages where the filling of a question goes.
GAP = "[fieldguide puts a picture here: 8c1f6b0e2d9a4e57]"
T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """What is asked: `messages` as the protocol has them (text, or parts with pictures), and what the reply should be like.

    `schema` is a JSON schema, or `None` for free text; a server is asked to be strict about one whose every property is required, the only
    kind that OpenAI's strict mode takes. `temperature` and `seed` are left to the
    server where they are `None`. `most_tokens` bounds the reply. `levels` are those of `LEVELS` that make sense for it: a text in place
    of the others. `tops` asks for the log-probabilities of so many likeliest tokens in each place; a reply without any is then none.
    """

    model: str
    messages: tuple[Mapping[str, Any], ...]
    schema: Mapping[str, Any] | None = None
    temperature: float | None = 0.0
    seed: int | None = None
    most_tokens: int | None = None
    levels: tuple[str, ...] = LEVELS
    tops: int | None = None

    def key(self, endpoint: str) -> str:
        """Return the name of this content, asked at `endpoint`, as 64 hex characters: equal means asked already."""
        return digest(endpoint, self.model, self.seed, self.temperature, list(self.messages), self.schema)


@dataclass(frozen=True)
class Reply:
    """What came back: the text, why it ended (``stop``, ``length`` for a text that was cut, ...), tokens where the server counts them.

    `seconds` is wall time of the attempt that succeeded. `level` is one of `LEVELS`. `model` is what the server says it asked. `cached`
    counts those of `tokens_in` that it had computed before, where it says so. `logprobs`: there were log-probabilities with it, and
    `told` is what they tell of its first tokens.
    """

    text: str
    finish: str
    tokens_in: int | None
    tokens_out: int | None
    seconds: float
    level: str
    model: str
    cached: int | None = None
    logprobs: bool = False
    told: tuple[Told, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Manner:
    """How this server has to be asked: the level of its JSON, the name it has for the limit, and settings it does not take."""

    level: str = LEVELS[0]
    limit: str = "max_tokens"
    left_out: frozenset[str] = frozenset()

    def simpler(self, why: str, schema: bool = True) -> Manner | None:
        """Return the next thing to try after a refusal in the words `why` of a question with or without a schema; `None`: nothing is left."""
        said = why.lower()
        if "response_format" not in said and "json_schema" not in said:
            if self.limit == "max_tokens" and "max_completion_tokens" in said:
                return replace(self, limit="max_completion_tokens")
            for name in ("temperature", "seed"):
                if name in said and name not in self.left_out:
                    return replace(self, left_out=self.left_out | {name})
        lower = LEVELS[LEVELS.index(self.level) + 1 :] if schema else ()
        return replace(self, level=lower[0]) if lower else None


class Chat:
    """Asks one server; several threads may ask at once. Raises `ModuleNotFoundError` without the ``openai`` package.

    After a trouble that the next question would have, too, or five questions in a row without a reply, it is `broken`: nothing
    more is sent, whichever thread asks.
    """

    def __init__(
        self, server: Server, patience: Patience | None = None, *, sleep: Callable[[float], object] | None = None
    ) -> None:
        self.server, self.patience = server, patience or Patience()
        #: The manner that is tried now; once it has brought a reply to a question of its kind (with a schema, or without), it stays.
        self.manner = Manner()
        self.wire = Wire(server, self.patience.seconds)
        self._insisting = Insisting(server, self.patience, sleep=sleep)
        #: The kinds of question (with a schema: True, without: False) that there has been a reply to.
        self.settled: set[bool] = set()
        self._lock = threading.Lock()
        self._form: tuple[Question, Manner, bytes, bytes] | None = None

    @property
    def proven(self) -> bool:
        """Whether there has been any reply."""
        return self._insisting.proven

    @property
    def broken(self) -> ServerProblem | None:
        """Why nothing is asked any more; `None` as long as the server is there."""
        return self._insisting.broken

    def ask(self, question: Question, filling: str = "") -> Reply:
        """Return the reply; raises `ServerProblem` where there is none after all attempts, `NotAsked` at once where the chat is broken.

        `filling` is put in the place of `GAP` in the question's messages: the same question about many pictures is written out once.
        """
        before = tried = self.manner

        def attempt() -> Reply:
            nonlocal tried
            tried = self.manner
            reply = self.once(question, tried, filling)
            self.settled.add(question.schema is not None)
            require_told(question.tops, reply)
            return reply

        try:
            return self._insisting.put(attempt, lambda why: self._simplify(tried, why, question.schema is not None))
        except ServerProblem:
            with self._lock:  # no level was to blame, so the next question is asked at the highest again
                if True not in self.settled:
                    self.manner = replace(self.manner, level=before.level)
            raise

    def once(self, question: Question, manner: Manner, filling: str = "") -> Reply:
        """Ask once and in this manner alone; raises `Trouble` where that comes to nothing."""
        start = time.perf_counter()
        value, answered = self.wire.json("/chat/completions", self._written(question, manner, filling))
        return _reply(value, answered.body, _level(question, manner), time.perf_counter() - start, self.server.hide)

    def insist(self, attempt: Callable[[], T]) -> T:
        """Return what `attempt` brings, with the patience of `ask` and its troubles."""
        return self._insisting.put(attempt)

    def stop(self) -> None:
        """End all waiting between attempts: what is being asked now is the last attempt."""
        self._insisting.stop()

    def close(self) -> None:
        """End all waiting, and break off what is being asked now."""
        self.stop()
        self.wire.close()

    def _simplify(self, tried: Manner, why: str, schema: bool) -> bool:
        """Lower the wish after a refusal and tell whether there is something new to try."""
        with self._lock:
            if self.manner != tried:  # another thread was refused, too, and has lowered it
                return True
            if schema in self.settled:
                return False
            simpler = tried.simpler(why, schema)
            self.manner = simpler or tried
            return simpler is not None

    def _written(self, question: Question, manner: Manner, filling: str) -> bytes:
        """Return the JSON of a request. A data address needs no escaping in it, so it is put in between what is written once."""
        form = self._form
        if form is None or form[0] is not question or form[1] != manner:
            head, _, tail = json.dumps(_body(question, manner)).encode().partition(GAP.encode())
            form = self._form = (question, manner, head, tail)
        return b"".join((form[2], filling.encode(), form[3]))


def require_told(tops: int | None, reply: Reply) -> None:
    """Raise `Trouble` where log-probabilities were asked for and none came: it is this question's, and those behind it may fare better."""
    if tops and not reply.told:
        raise Trouble("its reply tells no log-probabilities, which were asked for")


def _reply(value: Mapping[str, Any], body: bytes, level: str, seconds: float, hide: Callable[[str], str]) -> Reply:
    """Read the JSON of a success; raises `Trouble` where it holds no message."""
    choices = value.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Trouble(troubles.message(body, hide) if value.get("error") else "its reply holds no message", again=True)
    said = choices[0].get("message")
    said = said if isinstance(said, dict) else {}
    refusal, text = said.get("refusal"), said.get("content")
    finish = "refusal" if refusal and not text else str(choices[0].get("finish_reason") or "")
    usage = value.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    whole = text if isinstance(text, str) else refusal if isinstance(refusal, str) else ""
    logprobs = choices[0].get("logprobs")
    return Reply(
        hide(whole)[:MOST_LETTERS],
        "too long" if len(whole) > MOST_LETTERS else plain(hide(finish), 40),
        count(usage.get("prompt_tokens")),
        count(usage.get("completion_tokens")),
        seconds,
        level,
        plain(hide(str(value.get("model") or "")), 200),
        count(details.get("cached_tokens")) if isinstance(details, dict) else None,
        bool(logprobs),
        told(logprobs.get("content")) if isinstance(logprobs, dict) else (),
    )


def _level(question: Question, manner: Manner) -> str:
    """Return how the schema of this question is wished for in this manner."""
    return manner.level if question.schema and manner.level in question.levels else LEVELS[-1]


def _body(question: Question, manner: Manner) -> dict[str, Any]:
    """Return the arguments of a request in a manner the server may understand."""
    body: dict[str, Any] = {"model": question.model, "messages": list(question.messages)}
    body |= {
        name: value
        for name, value in (("temperature", question.temperature), ("seed", question.seed))
        if value is not None and name not in manner.left_out
    }
    if question.most_tokens is not None:
        body[manner.limit] = question.most_tokens
    if question.tops:
        body |= {"logprobs": True, "top_logprobs": question.tops}
    level = _level(question, manner)
    if level == "json_schema":
        wish = {"name": "answer", "strict": _every_key(question.schema or {}), "schema": question.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": wish}
    elif level == "json_object":
        body["response_format"] = {"type": "json_object"}
    return body


def _every_key(schema: Mapping[str, Any]) -> bool:
    """Tell whether every property of every object in this schema is required."""
    named = schema.get("properties", {})
    inside = [*named.values(), *([schema["items"]] if "items" in schema else [])]
    return set(named) == set(schema.get("required", ())) and all(map(_every_key, inside))
