"""A language model behind an OpenAI-compatible server: a question with a wished JSON schema goes in, a text with its cost comes out.

The ``openai`` package (the extra ``served``) speaks the protocol. Retries are made here and not there, because a reply that drips in,
is too large or breaks off has to be given up in time, and tests have to be able not to wait. Servers differ in what they
know: `Manner` is the wish that a server understood, found once a run and used from then on.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fieldguide.craft import troubles
from fieldguide.craft.secrets import keep_from_logs
from fieldguide.craft.server import Server
from fieldguide.craft.troubles import NotAsked, ServerProblem, Trouble
from fieldguide.errors import plain
from fieldguide.files import digest

if TYPE_CHECKING:
    from openai import OpenAI

#: How a schema is wished for, strictest first; ``text`` asks for it in words alone.
LEVELS = ("json_schema", "json_object", "text")
#: Bytes of a reply that are read, and letters of its text that are kept.
MOST_BYTES, MOST_LETTERS = 2_000_000, 65_536
#: Questions in a row that got no reply, after which the server is taken to be gone.
IN_A_ROW = 5
#: Bytes of a refusal that are read.
_MOST_REFUSED = 100_000


@dataclass(frozen=True)
class Question:
    """What is asked: `messages` as the protocol has them (text, or parts with pictures), and what the reply should be like.

    `schema` is a JSON schema in which every property is required, or `None` for free text. `temperature` and `seed` are left to the
    server where they are `None`. `most_tokens` bounds the reply.
    """

    model: str
    messages: tuple[Mapping[str, Any], ...]
    schema: Mapping[str, Any] | None = None
    temperature: float | None = 0.0
    seed: int | None = None
    most_tokens: int | None = None

    def key(self, endpoint: str) -> str:
        """Return the name of this content, asked at `endpoint`, as 64 hex characters: equal means asked already."""
        return digest(endpoint, self.model, self.seed, self.temperature, list(self.messages), self.schema)


@dataclass(frozen=True)
class Reply:
    """What came back: the text, why it ended (``stop``, ``length`` for a text that was cut, ...), tokens where the server counts them.

    `seconds` is wall time of the attempt that succeeded. `level` is one of `LEVELS`. `model` is what the server says it asked.
    """

    text: str
    finish: str
    tokens_in: int | None
    tokens_out: int | None
    seconds: float
    level: str
    model: str


@dataclass(frozen=True)
class Patience:
    """How often a question is asked, how long one reply may take, and how long is waited in between, all in seconds."""

    attempts: int = 5
    seconds: float = 120.0
    first_wait: float = 1.0
    longest_wait: float = 120.0


@dataclass(frozen=True)
class Manner:
    """How this server has to be asked: the level of its JSON, the name it has for the limit, and settings it does not take."""

    level: str = LEVELS[0]
    limit: str = "max_tokens"
    left_out: frozenset[str] = frozenset()

    def simpler(self, why: str) -> Manner | None:
        """Return the next thing to try after a refusal in the words `why`; `None` where nothing is left."""
        said = why.lower()
        if "response_format" not in said and "json_schema" not in said:
            if self.limit == "max_tokens" and "max_completion_tokens" in said:
                return replace(self, limit="max_completion_tokens")
            for name in ("temperature", "seed"):
                if name in said and name not in self.left_out:
                    return replace(self, left_out=self.left_out | {name})
        lower = LEVELS[LEVELS.index(self.level) + 1 :]
        return replace(self, level=lower[0]) if lower else None


class Chat:
    """Asks one server; several threads may ask at once. Raises `ModuleNotFoundError` without the ``openai`` package.

    After a trouble that the next question would have, too, or `IN_A_ROW` questions in a row without a reply, it is `broken`: nothing
    more is sent, whichever thread asks.
    """

    def __init__(
        self, server: Server, patience: Patience | None = None, *, sleep: Callable[[float], object] | None = None
    ) -> None:
        self.server, self.patience = server, patience or Patience()
        #: The manner that is tried now, and whether it has brought a reply: from then on it stays.
        self.manner, self.proven = Manner(), False
        #: Why nothing is asked any more; `None` as long as the server is there.
        self.broken: ServerProblem | None = None
        self._silent = 0
        self._stopped, self._lock = threading.Event(), threading.Lock()
        self._sleep = sleep or self._stopped.wait
        self._client = _client(server, self.patience)

    def ask(self, question: Question) -> Reply:
        """Return the reply; raises `ServerProblem` where there is none after all attempts, `NotAsked` at once where the chat is broken."""
        if self.broken is not None:
            raise NotAsked(self.broken)
        try:
            reply = self._answered(question)
        except ServerProblem as problem:
            self._went_without(problem)
            raise
        self._silent = 0
        return reply

    def _went_without(self, problem: ServerProblem) -> None:
        """Count a question that got no reply, and give the server up where there is no use in the next."""
        with self._lock:
            self._silent += 1
            if self.broken is None and (problem.lasting or self._silent >= IN_A_ROW):
                self.broken = problem
                self.stop()

    def _answered(self, question: Question) -> Reply:
        attempts = 0
        while True:
            manner = self.manner
            try:
                reply = self._attempt(question, manner)
                self.proven = True
                return reply
            except Trouble as trouble:
                if trouble.refused and self._simplify(manner, trouble.why):
                    continue
                attempts += 1
                if not trouble.again or attempts >= self.patience.attempts or self._stopped.is_set():
                    raise self._given_up(trouble, attempts) from None
                self._rest(trouble, attempts)

    def stop(self) -> None:
        """End all waiting between attempts: what is being asked now is the last attempt."""
        self._stopped.set()

    def close(self) -> None:
        """End all waiting, and break off what is being asked now."""
        self.stop()
        self._client.close()

    def _given_up(self, trouble: Trouble, attempts: int) -> ServerProblem:
        """Return the problem; once the server has replied, what it refuses is about one question and not about all."""
        trouble.lasting = trouble.lasting and not (trouble.single and self.proven)
        return troubles.problem(trouble, self.server, attempts)

    def _simplify(self, tried: Manner, why: str) -> bool:
        """Lower the wish after a refusal and tell whether there is something new to try."""
        with self._lock:
            if self.manner != tried:  # another thread was refused, too, and has lowered it
                return True
            if self.proven:
                return False
            simpler = tried.simpler(why)
            self.manner = simpler or tried
            return simpler is not None

    def _rest(self, trouble: Trouble, attempts: int) -> None:
        """Wait as long as the server asks, or twice as long after every attempt."""
        wait = trouble.wait or self.patience.first_wait * 2 ** (attempts - 1)
        if wait > self.patience.longest_wait and trouble.wait:
            trouble.why += f"; it asks to wait {wait:,.0f} s"
            trouble.lasting = True
            raise self._given_up(trouble, attempts) from None
        self._sleep(min(wait, self.patience.longest_wait))
        if self._stopped.is_set():
            raise self._given_up(trouble, attempts) from None

    def _attempt(self, question: Question, manner: Manner) -> Reply:
        start = time.perf_counter()
        status, headers, body = self._exchange(_body(question, manner))
        if status >= 300:
            raise troubles.of_status(status, headers, body, self.server, time.time())
        level = manner.level if question.schema else LEVELS[-1]
        return self._reply(headers, body, level, time.perf_counter() - start)

    def _exchange(self, body: Mapping[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        """Send one request and return status, headers and body, whatever the status; raises `Trouble` where there is no whole answer."""
        from openai import Omit

        keyless = {} if self.server.authorization else {"Authorization": Omit()}
        known = self.server.host.endswith(".openai.com")
        foreign = {} if known else {"OpenAI-Organization": Omit(), "OpenAI-Project": Omit()}  # read from the environment
        try:
            create = self._client.chat.completions.with_streaming_response.create
            with create(**body, extra_headers={**keyless, **foreign}) as response:
                return response.status_code, response.headers, _read(response, self.patience.seconds, MOST_BYTES)
        except Exception as error:
            refused = next((one for one in (error, error.__cause__) if isinstance(one, _NotDone)), None)
            if refused is not None:
                return refused.status, refused.headers, refused.body
            if isinstance(error, Trouble):
                raise
            trouble = troubles.of_error(error, self.patience.seconds, self.server)
            if trouble is None:
                raise
            raise trouble from None

    def _reply(self, headers: Mapping[str, str], body: bytes, level: str, seconds: float) -> Reply:
        """Read the body of a success; raises `Trouble` where it holds no message."""
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            raise troubles.no_json(headers, body) from None
        choices = value.get("choices") if isinstance(value, dict) else None
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            told = (
                troubles.message(body, self.server.hide)
                if isinstance(value, dict) and value.get("error")
                else "its reply holds no message"
            )
            raise Trouble(told, again=True)
        said = choices[0].get("message")
        said = said if isinstance(said, dict) else {}
        refusal, text = said.get("refusal"), said.get("content")
        finish = "refusal" if refusal and not text else str(choices[0].get("finish_reason") or "")
        usage = value.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        told = text if isinstance(text, str) else refusal if isinstance(refusal, str) else ""
        return Reply(
            self.server.hide(told)[:MOST_LETTERS],
            "too long" if len(told) > MOST_LETTERS else plain(self.server.hide(finish), 40),
            _count(usage.get("prompt_tokens")),
            _count(usage.get("completion_tokens")),
            seconds,
            level,
            plain(self.server.hide(str(value.get("model") or "")), 200),
        )


class _NotDone(Exception):
    """An answer whose status is no success, read within bounds before the client gets to read all of it."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(status)
        self.status, self.headers, self.body = status, headers, body


def _client(server: Server, patience: Patience) -> OpenAI:
    """Return a client that goes to this host alone: it follows no redirection, and on this machine uses no proxy."""
    from openai import DefaultHttpxClient, OpenAI, Timeout

    keep_from_logs(server.hider)

    def refuse(response: Any) -> None:
        if response.status_code >= 300:
            try:
                body = _read(response, patience.seconds, _MOST_REFUSED)
            except Trouble:
                body = b""
            raise _NotDone(response.status_code, response.headers, body)

    plain_here = server.local and server.url.startswith("http:")  # no certificate is ever asked for, so none need be loaded
    carrier = DefaultHttpxClient(
        follow_redirects=False,
        trust_env=not server.local,
        verify=not plain_here,
        event_hooks={"response": [refuse]},
        timeout=patience.seconds,
    )
    return OpenAI(
        base_url=server.url,
        api_key=server.key or "none",  # must be something; it is left out of the request where there is none
        max_retries=0,
        timeout=Timeout(patience.seconds, connect=min(patience.seconds, 20.0)),
        default_query=server.query,
        default_headers={"Accept-Encoding": "identity", **_login(server)},
        http_client=carrier,
    )


def _login(server: Server) -> dict[str, str]:
    return {"Authorization": f"Basic {server.login}"} if server.login and not server.key else {}


def _read(response: Any, seconds: float, most: int) -> bytes:
    """Return a body; raises `Trouble` where it grows beyond `most` bytes or drips in for longer than `seconds`."""
    deadline, body = time.monotonic() + seconds, bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > most:
            raise Trouble(f"its reply is larger than {most / 1e6:g} MB")
        if time.monotonic() > deadline:
            raise troubles.late(seconds)
    return bytes(body)


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
    if question.schema and manner.level == "json_schema":
        wish = {"name": "answer", "strict": True, "schema": question.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": wish}
    elif question.schema and manner.level == "json_object":
        body["response_format"] = {"type": "json_object"}
    return body


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
