"""Replies of served models, kept by content: what was asked once is never asked again, and a run can be replayed without the server.

One JSON line for each reply, in files that are only ever appended to; a kill tears at most the last line.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from fieldguide.bench import read_log
from fieldguide.craft.served import Reply
from fieldguide.files import not_written

#: What is kept of a reply: all but what was told of its tokens, which no question asks for whose reply is kept here.
_KEPT = {one.name for one in fields(Reply)} - {"told"}


class Replies:
    """The replies in `path`, to which new ones are added, and those in `others`, which are read alone."""

    def __init__(self, path: Path, others: Iterable[Path] = ()) -> None:
        self.path = path
        #: The lines of `path` itself, in the order they were written.
        self.own = [line for line in read_log(path) if _usable(line)]
        lines = [line for other in others if other != path for line in read_log(other) if _usable(line)]
        self._by_key: dict[str, dict[str, Any]] = {line["key"]: line for line in (*lines, *self.own)}
        self._lock = threading.Lock()

    def find(self, key: str) -> Reply | None:
        """Return the reply to the question with this key, or `None` where it was never asked."""
        line = self._by_key.get(key)
        return None if line is None else Reply(**line["reply"])

    def add(self, key: str, reply: Reply, **about: Any) -> None:
        """Write down a reply, and what it is about, before anything else is done with it."""
        line = {"key": key, **about, "reply": {name: value for name, value in asdict(reply).items() if name in _KEPT}}
        text = json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace")
        with self._lock:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with open(self.path, "ab+") as stream:
                    torn = stream.seek(0, os.SEEK_END) and stream.seek(-1, os.SEEK_END) >= 0 and stream.read(1) != b"\n"
                    stream.write((b"\n" if torn else b"") + text + b"\n")
                    stream.flush()
                    os.fsync(stream.fileno())
            except OSError as error:
                raise not_written(error, self.path) from error
            self.own.append(line)
            self._by_key[key] = line


def _usable(line: Any) -> bool:
    reply = line.get("reply") if isinstance(line, dict) else None
    if not isinstance(reply, dict) or not isinstance(line.get("key"), str):
        return False
    return _KEPT - {"cached", "logprobs"} <= set(reply) <= _KEPT  # lines of before know nothing of these
