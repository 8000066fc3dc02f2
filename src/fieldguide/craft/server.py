"""The address of a server and the key to it. The address as it is shown holds no password; the key is shown and written nowhere."""

from __future__ import annotations

import base64
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from fieldguide.craft.secrets import Hider, hider
from fieldguide.errors import EnvironmentProblem, UsageProblem, plain

#: The variable that is read for another machine reached by https where none is named.
KEY_VARIABLE = "OPENAI_API_KEY"
#: What a user gives who has only the address of the machine lacks this part; nearly all servers have it.
_PATH = "/v1"
#: What the address of the questions ends in; who copies it means the server.
_CHAT = "/chat/completions"


@dataclass(frozen=True)
class Server:
    """An OpenAI-compatible server. `url` holds neither user, password nor query; these travel with a request and nowhere else."""

    url: str
    key: str | None = field(default=None, repr=False)
    login: str | None = field(default=None, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def host(self) -> str:
        """The machine, with its port if one was given."""
        return urlsplit(self.url).netloc

    @property
    def local(self) -> bool:
        """Whether the server runs on this machine."""
        return _local(urlsplit(self.url).hostname or "")

    @property
    def authorization(self) -> str | None:
        """The header that lets a request in; `None` where neither a key nor a user was given."""
        return f"Bearer {self.key}" if self.key else f"Basic {self.login}" if self.login else None

    def hide(self, text: str) -> str:
        """Return `text` without the key, the password and what the query held, however they are written: servers quote what they refuse."""
        return self.hider.hide(text)

    @cached_property
    def hider(self) -> Hider:
        """What takes the key, the password and the values of the query out of a text."""
        password = base64.b64decode(self.login).decode().partition(":")[2] if self.login else None
        return hider((self.key, self.login, password, *self.query.values()))


def server_of(url: str, key_variable: str | None = None, path: str = _PATH, ends: tuple[str, ...] = (_CHAT,)) -> Server:
    """Return the server at `url`, with the key that the environment variable `key_variable` holds.

    Where the address has no path, `path` is taken; one of `ends` is taken off its end.

    Not named, `KEY_VARIABLE` is read for a server reached by https and no key is sent to any other: a key never goes over the wire in
    clear text, or to a program on this machine, unless somebody says so. Raises `UsageProblem` for an address that is none,
    `EnvironmentProblem` for a variable that is named and empty.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url.strip():
        raise UsageProblem(
            "--server is no address of a server.",  # what was given may hold a password, so it is not quoted
            "Allowed: http:// or https://, a host, perhaps a port and a path.",
            "For example --server http://localhost:8000/v1",
        )
    place = f"[{host}]" if ":" in host else host
    given = parts.path.rstrip("/")
    given = next((given.removesuffix(end) for end in ends if given.endswith(end)), given)
    clean = urlunsplit((parts.scheme, place if port is None else f"{place}:{port}", given or path, "", ""))
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    login = base64.b64encode(f"{user}:{password}".encode()).decode() if user or password else None
    named = key_variable or (KEY_VARIABLE if parts.scheme == "https" and not _local(host) and login is None else None)
    return Server(clean, _key(named, must=key_variable is not None), login, dict(parse_qsl(parts.query)))


def _key(variable: str | None, *, must: bool) -> str | None:
    key = os.environ.get(variable, "").strip() if variable else ""
    if must and not key:
        raise EnvironmentProblem(
            f"The environment variable {plain(variable, 80)} is not set: there is no key in it.",
            "A key is read from the environment alone, so that it stands in no command and in no file.",
            "Set that variable, or leave --key-variable out: a server on this machine needs no key.",
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise EnvironmentProblem(
            f"The environment variable {plain(variable, 80)} holds no key: keys are letters, digits and signs without spaces or line breaks.",
            "The key as the server's owner gave it out, and nothing around it.",
            "Set that variable again.",
        )
    return key or None


def _local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
