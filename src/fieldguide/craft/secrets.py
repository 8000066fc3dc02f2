"""Take secrets out of texts: servers quote what they refuse, plain, or in the writing of whatever carried it there.

A secret is looked for letter by letter, each as it is, percent-encoded (also twice), escaped as in JSON, Python or HTML, and mixed; as
hexadecimal digits in either case; and as base64, with whatever stands before and behind it (``user:password``, ``Bearer KEY``).
"""

from __future__ import annotations

import base64
import html.entities
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

#: What stands in the place of a secret.
HIDDEN = "[hidden]"
#: A shorter one is a placeholder ("EMPTY", "ollama"), and taking it out of a text would take out words.
SHORTEST = 8
#: What may stand between the signs of a secret that was wrapped or set apart: white space, escaped or not, and what parts bytes.
_ESCAPE = r"\\{1,15}"
_BREAK, _APART = rf"(?:\s|{_ESCAPE}[nr]){{0,4}}", r"[\s:-]?"
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")
#: Libraries that note what they send and what comes back, headers and addresses whole, where somebody turns their logs on.
_TELLING = (
    "openai._base_client",
    *(f"httpx{version}" for version in ("", "2")),
    *(f"httpcore{version}.{part}" for version in ("", "2") for part in ("connection", "http11", "http2", "proxy", "socks")),
)
_NAMED = {letter: name for name, letter in html.entities.html5.items() if name.endswith(";")}


@dataclass(frozen=True)
class Hider:
    """Patterns of some secrets. With each goes how many signs around it tell of its first and last letters, too."""

    patterns: tuple[tuple[re.Pattern[str], int], ...]

    def hide(self, text: str) -> str:
        """Return `text` with `HIDDEN` in the place of every secret."""
        found = sorted(_around(text, match, edge) for pattern, edge in self.patterns for match in pattern.finditer(text))
        if not found:
            return text
        parts, done = [], 0
        for start, end in found:
            if start >= done:
                parts += [text[done:start], HIDDEN]
            done = max(done, end)
        return "".join([*parts, text[done:]])


class _Discreet(logging.Filter):
    """Takes every secret that this process knows out of a line before anybody writes it down."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = known_hidden(record.getMessage()), None
        return True


_DISCREET = _Discreet()
_KNOWN: set[Hider] = set()


def known_hidden(text: str) -> str:
    """Return `text` without any secret of a server that this process has spoken to."""
    for hider in tuple(_KNOWN):
        text = hider.hide(text)
    return text


def keep_from_logs(hider: Hider) -> None:
    """Let no log line of the libraries that speak to servers hold these secrets, from now on in this process."""
    _KNOWN.add(hider)
    for name in _TELLING:  # a filter does not reach the loggers below its own, so each is named
        logging.getLogger(name).addFilter(_DISCREET)  # once, however often it is added


def hider(secrets: Iterable[str | None]) -> Hider:
    """Return what hides these; those that are absent, or too short to be any, are left out."""
    wanted = sorted({secret for secret in secrets if secret and len(secret) >= SHORTEST}, key=len, reverse=True)
    return Hider(tuple(pattern for secret in wanted for pattern in _patterns(secret)))


def _patterns(secret: str) -> Iterator[tuple[re.Pattern[str], int]]:
    data = secret.encode()
    yield re.compile("".join(map(_letter, secret))), 0
    yield re.compile(_APART.join(f"{byte:02x}" for byte in data), re.IGNORECASE), 0
    for before in range(3):  # three bytes are four signs, so what it looks like depends on how much stands before it
        signs = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        last = len(signs) - ((before + len(data)) % 3 != 0)
        yield re.compile(_BREAK.join(map(_sign, signs[(0, 2, 3)[before] : last]))), 3


def _letter(letter: str) -> str:
    """Return a pattern of one letter in every writing; how often one is escaped again is bounded, and with it the time a text takes."""
    itself, code, again = re.escape(letter), ord(letter), r"&(?:amp;){0,3}"
    forms = [itself, "".join(rf"%(?:25){{0,3}}(?i:{byte:02x})" for byte in letter.encode())]
    forms += [rf"{_ESCAPE}{itself}"] if letter in "\\/\"'" else []
    forms += [rf"{_ESCAPE}u(?i:{code:04x})", rf"{_ESCAPE}x(?i:{code:02x})"]
    forms += [rf"{again}#0{{0,4}}{code};", rf"{again}#[xX]0{{0,4}}(?i:{code:x});"]
    forms += [f"{again}{_NAMED[letter]}"] if letter in _NAMED else []
    return f"(?:{'|'.join(forms)})"


def _sign(sign: str) -> str:
    """Return a pattern of one sign of base64, of either alphabet, itself perhaps carried by an address or by JSON."""
    return {"+": f"(?:{_letter('+')}|-)", "/": f"(?:{_letter('/')}|_)"}.get(sign, sign)


def _around(text: str, match: re.Match[str], edge: int) -> tuple[int, int]:
    """Return where a secret begins and ends, with up to `edge` more signs of base64 on either side."""
    start, end = match.span()
    for _ in range(edge):
        start -= start > 0 and text[start - 1] in _BASE64
        end += end < len(text) and text[end] in _BASE64
    return start, end
