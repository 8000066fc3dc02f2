"""Take secrets out of texts: servers quote what they refuse, plain, or in the writing of whatever carried it there.

A secret is looked for letter by letter, each as it is, percent-encoded (also twice), escaped as in JSON, Python or HTML, and mixed; as
hexadecimal digits in either case; and as base64, with whatever stands before and behind it (``user:password``, ``Bearer KEY``).
"""

from __future__ import annotations

import base64
import html.entities
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

#: What stands in the place of a secret.
HIDDEN = "[hidden]"
#: A shorter one is a placeholder ("EMPTY", "ollama"), and taking it out of a text would take out words.
SHORTEST = 8
#: What may stand between the letters of a secret that was wrapped or set apart: white space, escaped or not, and what parts bytes.
_BREAK, _APART = r"(?:\s|\\+[nr])*", r"[\s:-]?"
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")
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
    """Return a pattern of one letter in every writing."""
    forms = [re.escape(letter), *(rf"\\+{re.escape(letter)}" for _ in range(letter in "\\/\"'"))]
    forms.append("".join(f"%(?:25)*(?i:{byte:02x})" for byte in letter.encode()))
    code = ord(letter)
    forms += [rf"\\+u(?i:{code:04x})", rf"\\+x(?i:{code:02x})"] if code < 0x10000 else []
    forms += [f"&(?:amp;)*#0*{code};", f"&(?:amp;)*#[xX]0*(?i:{code:x});"]
    forms += [f"&(?:amp;)*{_NAMED[letter]}"] if letter in _NAMED else []
    return f"(?:{'|'.join(forms)})"


def _sign(sign: str) -> str:
    """Return a pattern of one sign of base64, of either alphabet, itself perhaps carried by an address or by JSON."""
    return {"+": "(?:" + _letter("+") + "|-)", "/": "(?:" + _letter("/") + "|_)"}.get(sign, sign)


def _around(text: str, match: re.Match[str], edge: int) -> tuple[int, int]:
    """Return where a secret begins and ends, with up to `edge` more signs of base64 on either side."""
    start, end = match.span()
    for _ in range(edge):
        start -= start > 0 and text[start - 1] in _BASE64
        end += end < len(text) and text[end] in _BASE64
    return start, end
