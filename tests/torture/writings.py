"""How a secret may be written by a server or a library that quotes it, and a reader that finds it in any of these."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote, unquote

#: Six kinds of writing, each with its variants.
WRITINGS: dict[str, Callable[[str], list[str]]] = {
    "plain": lambda secret: [secret, f"Bearer {secret}", f"api-key={secret}"],
    "percent-encoded": lambda secret: [
        quote(secret, safe=""),
        _percent(secret),
        _percent(secret).lower(),
        quote(_percent(secret)),
    ],
    "base64": lambda secret: [
        _base64(secret),
        _base64(f"me:{secret}"),
        _base64(f"Bearer {secret}"),
        base64.urlsafe_b64encode(f"x:{secret}".encode()).decode().rstrip("="),
    ],
    "hexadecimal": lambda secret: [
        secret.encode().hex(),
        secret.encode().hex().upper(),
        secret.encode().hex(" "),
        secret.encode().hex(":"),
    ],
    "escaped as in JSON": lambda secret: [
        "".join(f"\\u{ord(letter):04x}" for letter in secret),
        "".join(f"\\u{ord(letter):04X}" for letter in secret),
        json.dumps(json.dumps(secret))[3:-3].replace("/", "\\/"),
        "".join(f"\\x{ord(letter):02x}" for letter in secret),
    ],
    "escaped as in HTML": lambda secret: [
        html.escape(secret),
        "".join(f"&#{ord(letter)};" for letter in secret),
        "".join(f"&#x{ord(letter):X};" for letter in secret),
        html.escape("".join(f"&#{ord(letter)};" for letter in secret)),
    ],
}
#: A part of a secret that is this long tells of it.
_PART = 14


def _percent(secret: str) -> str:
    return "".join(f"%{byte:02X}" for byte in secret.encode())


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def holds(text: str, *secrets: str) -> str:
    """Return what of `text` tells of the beginning or the end of a secret, in whatever writing; nothing where it tells of none."""
    parts = {part for secret in secrets for part in (secret[:_PART], secret[-_PART:])}
    for view in _views(text):
        for part in parts:
            at = view.find(part)
            if at >= 0:
                return view[max(0, at - 60) : at + 60]
    return ""


def _views(text: str) -> Iterator[str]:
    """Yield the text as it is, and as it reads after each way of taking a writing back."""
    yield text
    escaped = re.sub(r"\\+u([0-9a-fA-F]{4})|\\+x([0-9a-fA-F]{2})", lambda found: chr(int(found[1] or found[2], 16)), text)
    for view in (text, escaped, re.sub(r"\\+", "", text)):
        yield view
        yield unquote(unquote(view))
        yield html.unescape(html.unescape(html.unescape(view)))
    for found in re.finditer(r"(?:[0-9a-fA-F]{2}[\s:-]?){8,}", text):
        digits = re.sub(r"[^0-9a-fA-F]", "", found[0])
        for start in (0, 1):
            yield bytes.fromhex(digits[start : start + (len(digits) - start) // 2 * 2]).decode("utf-8", "replace")
    joined = re.sub(r"\s|\\+n", "", unquote(text)).replace("-", "+").replace("_", "/")
    for found in re.finditer(r"[A-Za-z0-9+/]{11,}", joined):
        for start in range(4):
            run = found[0][start:]
            yield base64.b64decode(run + "A" * (-len(run) % 4)).decode("utf-8", "replace")
