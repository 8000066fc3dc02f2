"""One exchange with one server: bytes go there and come back, within bounds of time and size, and nobody else is asked.

The HTTP client is the one that the ``openai`` package brings (the extra ``served``). It follows no redirection, and uses no proxy on
this machine. What it is told to send is sent as it is: no retry, no field of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fieldguide.craft import troubles
from fieldguide.craft.secrets import keep_from_logs
from fieldguide.craft.server import Server
from fieldguide.craft.troubles import Trouble

#: Bytes of a reply that are read, and of a refusal.
MOST_BYTES, MOST_REFUSED = 2_000_000, 100_000
#: Seconds within which a connection has to stand.
_CONNECT = 20.0


@dataclass(frozen=True)
class Answered:
    """What came back, whatever the status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """Connections to `server` that are kept open; several threads may send at once.

    A whole answer has to be there after about `seconds`. Raises `ModuleNotFoundError` without the ``openai`` package.
    """

    def __init__(self, server: Server, seconds: float) -> None:
        from openai import DefaultHttpxClient, Timeout

        self.server, self.seconds = server, seconds
        keep_from_logs(server.hider)
        plain_here = server.local and server.url.startswith("http:")  # no certificate is ever asked for, so none need be loaded
        headers = {"Accept-Encoding": "identity", "Content-Type": "application/json", "User-Agent": "fieldguide"}
        if server.authorization:
            headers["Authorization"] = server.authorization
        self._closed = False
        self._addresses: dict[str, Any] = {}
        self._client: Any = DefaultHttpxClient(
            follow_redirects=False,
            trust_env=not server.local,
            verify=not plain_here,
            headers=headers,
            timeout=Timeout(seconds, connect=min(seconds, _CONNECT)),
        )

    def send(self, path: str, body: bytes | None = None) -> Answered:
        """Return the answer to a POST of the JSON `body`, or to a GET, of `path` below the server's address.

        Raises `Trouble` where there is no whole one: nobody there, too late, too large, broken off.
        """
        method = "GET" if body is None else "POST"
        try:
            with self._client.stream(method, self._address(path), content=body) as response:
                fine = response.status_code < 300
                try:
                    read = _read(response, self.seconds, MOST_BYTES if fine else MOST_REFUSED)
                except Trouble:
                    if fine:
                        raise
                    read = b""  # the status says enough
                return Answered(response.status_code, response.headers, self._discreet(read))
        except Trouble:
            raise
        except Exception as error:
            if self._closed:
                raise Trouble("it was broken off here") from None
            trouble = troubles.of_error(error, self.seconds, self.server)
            if trouble is None:
                raise
            raise trouble from None

    def _address(self, path: str) -> Any:
        """Return the address as the client has it: reading one costs as much as sending a small request."""
        known = self._addresses.get(path)
        if known is None:
            query = dict(self.server.query) or None
            known = self._addresses[path] = self._client.build_request("GET", self.server.url + path, params=query).url
        return known

    def _discreet(self, body: bytes) -> bytes:
        """Return a body in which no secret of ours is quoted, whoever reads which part of it."""
        if not self.server.hider.patterns:
            return body
        return self.server.hide(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def json(self, path: str, body: bytes | None = None) -> tuple[dict[str, Any], Answered]:
        """Return the JSON object that a success holds; raises `Trouble` for every other status, and where it holds something else."""
        answered = self.send(path, body)
        if answered.status >= 300:
            raise troubles.of_status(answered.status, answered.headers, answered.body, self.server, time.time())
        try:
            value = json.loads(answered.body)
        except (ValueError, RecursionError):
            raise troubles.no_json(answered.headers, answered.body) from None
        return value if isinstance(value, dict) else {}, answered

    def close(self) -> None:
        """Close all connections: what is on its way is broken off."""
        self._closed = True
        self._client.close()


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


def count(value: object) -> int | None:
    """Return what a server counted; `None` where it is no count."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
