"""What can go wrong between a question and its reply, in words for people: whether to ask again, and whether the next question fares the same."""

from __future__ import annotations

import email.utils
import json
import math
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fieldguide.craft.server import KEY_VARIABLE, Server
from fieldguide.errors import EnvironmentProblem, Problem, plain

#: Statuses that may pass by themselves, besides all of 500 and above.
_PASSING = frozenset({408, 409, 425, 429})
#: Statuses by which a server says that it does not know what it was asked for.
_REFUSING = frozenset({400, 404, 405, 415, 422, 501})
_WISHES = re.compile(r"response_format|json_schema|json_object|structured output|grammar|guided", re.IGNORECASE)
#: Letters of a server's own words that are told.
_QUOTED = 200


class ServerProblem(EnvironmentProblem):
    """A server that gave no reply. `lasting`: the next question would fare the same, so there is no use in asking it."""

    def __init__(self, given: str, allowed: str, next: str, *, lasting: bool = False) -> None:
        super().__init__(given, allowed, next)
        self.lasting = lasting


class NotAsked(ServerProblem):
    """A question that was never put, because questions before it showed that there would be no reply; `because` is their problem."""

    def __init__(self, because: ServerProblem) -> None:
        super().__init__(
            f"Not asked, because of an earlier question: {because.given}", because.allowed, because.next, lasting=True
        )
        self.because = because


@contextmanager
def in_settings() -> Iterator[None]:
    """Let problems name the settings of a contestant (``server=``) where the command line of others has options (``--server``)."""
    try:
        yield
    except Problem as problem:
        problem.given, problem.allowed, problem.next = problem.args = tuple(
            re.sub(r"--([a-z-]+)(?: (?=[A-Z]|http))?", lambda found: found[1].replace("-", "_") + "=", str(text))
            for text in problem.args[:3]
        )
        raise


class Trouble(Exception):
    """One attempt that came to nothing, in words.

    `again`: it may pass by itself, after `wait` seconds where the server says so. `refused`: the server does not know what it
    was asked for, and a simpler wish may do. `lasting`: see `ServerProblem`; `next` is what a user can do about it. `single`: of a server
    that has replied before, it is about this question alone and not lasting (a picture that is flagged, a text that is too long).
    """

    def __init__(
        self,
        why: str,
        next: str = "",
        *,
        again: bool = False,
        wait: float | None = None,
        refused: bool = False,
        lasting: bool = False,
        single: bool = False,
    ) -> None:
        super().__init__(why)
        self.why, self.next = why, next
        self.again, self.wait, self.refused, self.lasting = again, wait, refused, lasting
        self.single = single or refused


def problem(trouble: Trouble, server: Server, attempts: int, speaks: str = "the OpenAI chat protocol") -> ServerProblem:
    """Return what a user is told after the last attempt."""
    often = f" ({attempts} attempts)" if attempts > 1 else ""
    return ServerProblem(
        f"The server at {server.url} gave no reply: {server.hide(trouble.why)}{often}.",
        f"A server that speaks {speaks} at this address. Replies that came before are kept.",
        trouble.next or "Look after the server, then run the same command again: it asks for what is missing.",
        lasting=trouble.lasting,
    )


def of_status(status: int, headers: Mapping[str, str], body: bytes, server: Server, now: float) -> Trouble:
    """Return the trouble behind an HTTP status that is no success; `now` is the time in seconds since 1970."""
    said = message(body, server.hide)
    why = f"HTTP {status}{', ' if said else ''}{said}"
    if 300 <= status < 400:
        place = re.sub(
            r"//[^/@]*@|[?#].*",
            lambda found: "//" if found[0].startswith("//") else "",
            server.hide(headers.get("location", "")),
        )
        return Trouble(
            f"it sends on to {plain(place, _QUOTED) or 'another address'}, and only the host that was given is asked",
            "Give that address as --server, if you trust it.",
            lasting=True,
        )
    if status in (401, 403):
        key = "another key" if server.key else f"a key, by --key-variable NAME ({KEY_VARIABLE} is read for https alone)"
        return Trouble(why, f"Give it {key}; it is read from the environment.", lasting=True, single=status == 403)
    if status == 402 or "insufficient_quota" in said:
        return Trouble(why, "The account behind the key has no credit left.", lasting=True)
    if status in _REFUSING or _WISHES.search(said):
        return Trouble(why, "Check --model and the path in --server.", refused=True, lasting=True)
    if status in _PASSING or status >= 500:
        return Trouble(why, again=True, wait=wait_of(headers, now))
    return Trouble(why)


def of_error(error: BaseException, seconds: float, server: Server) -> Trouble | None:
    """Return the trouble behind an exception of the client; `None` where it is rather a mistake of ours."""
    chain = _chain(error)
    kinds = {type(one).__name__ for one in chain}
    if not any(type(one).__module__.split(".")[0] in ("openai", "httpx", "httpx2", "httpcore", "httpcore2") for one in chain):
        return None
    if any("Timeout" in kind for kind in kinds):
        return late(seconds)
    tls = next((one for one in chain if isinstance(one, ssl.SSLError)), None)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return Trouble(
            f"its certificate is not trusted: {plain(tls.verify_message, _QUOTED)}",
            "Use the name the certificate was made for, or let SSL_CERT_FILE name the authority that signed it.",
            lasting=True,
        )
    if tls is not None and not isinstance(tls, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        reason = plain(tls.reason or tls, _QUOTED).lower().replace("_", " ")
        return Trouble(f"TLS failed: {reason}", "If the server speaks plain HTTP, write http:// in --server.", lasting=True)
    if any(isinstance(one, ConnectionRefusedError) for one in chain):
        return Trouble(
            "nobody listens there (connection refused)", "Start the server, or correct --server.", again=True, lasting=True
        )
    if any(isinstance(one, socket.gaierror) for one in chain):
        return Trouble(
            f"the name {server.host} is not known", "Correct --server, or look after the network.", again=True, lasting=True
        )
    broke = plain(server.hide(str(chain[-1])), _QUOTED) or type(chain[-1]).__name__
    return Trouble(f"the connection broke ({broke})", again=True)


def late(seconds: float) -> Trouble:
    """Return the trouble of a reply that was not whole in time."""
    return Trouble(f"no whole reply within {seconds:g} s", "Give it more time with --timeout SECONDS.", again=True)


def no_json(headers: Mapping[str, str], body: bytes) -> Trouble:
    """Return the trouble of a success that holds something else."""
    if "html" in headers.get("content-type", "") or body.lstrip()[:1] == b"<":
        return Trouble(
            "it answers with a web page where JSON was expected",
            "Check the path in --server; most servers want it to end in /v1.",
            again=True,
            lasting=True,
        )
    return Trouble("its reply is no JSON, or was cut", again=True)


def wait_of(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds a server asks to wait (``Retry-After``: seconds, or a date); `None` where it does not say, or has passed."""
    said = headers.get("retry-after", "").strip()
    try:
        seconds = float(said)
    except ValueError:
        parts = email.utils.parsedate_tz(said)
        try:
            seconds = email.utils.mktime_tz(parts) - now if parts is not None else math.nan
        except (ValueError, OverflowError):
            seconds = math.nan
    return seconds if seconds > 0 else None


def message(body: bytes, hide: Callable[[str], str] = str) -> str:
    """Return what a server says of its refusal in one short line: the message in its JSON, or the beginning of its text.

    `hide` takes secrets out before the line is cut: half of one would not be known again.
    """
    text = body[:20_000].decode("utf-8", "replace").strip()
    if text.startswith("<"):
        title = re.search(r"<title>(.{1,100}?)</title>", text, re.IGNORECASE | re.DOTALL)
        return f"a web page{' (' + plain(hide(' '.join(title[1].split()))) + ')' if title else ''}"
    try:
        return plain(hide(_said(json.loads(text))), _QUOTED)
    except (ValueError, RecursionError):
        return plain(hide(" ".join(text.split())), _QUOTED)


def _said(value: Any) -> str:
    """Return the message of an error object, as the servers in use write them."""
    for name in ("error", "detail", "message", "msg"):
        if isinstance(value, dict) and value.get(name):
            inner = value[name]
            code = f" ({inner['code']})" if isinstance(inner, dict) and isinstance(inner.get("code"), str) else ""
            return f"{_said(inner)}{code}"
    if isinstance(value, list) and value and isinstance(value[0], dict):  # what FastAPI says of each field
        where = ".".join(str(part) for part in value[0].get("loc", ()))
        return f"{where}: {_said(value[0])}" if where else _said(value[0])
    return " ".join(str(value).split())


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in found:
        found.append(one)
        one = one.__cause__ or one.__context__
    return found
