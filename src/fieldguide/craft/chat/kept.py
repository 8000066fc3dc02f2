"""Answers that were had once, kept for a whole study: a SQLite file to which rows are added and from which none is ever taken.

A row is named by all that an answer depends on (`key_of`), so a contestant that asks the same as another finds its answer here, and a
run that was killed asks for what is missing alone. Failures are not kept: they are asked again. Kept are words and what they cost,
never a key, an address with a password, or a picture.

SQLite in its write-ahead mode is whole whenever a process dies. A row is handed to the system at once, so a kill loses nothing; it is
forced to the disk with the next row that comes a second later or more, so a power cut loses a second. (To force every row costs
more than a quick server needs for the answer.)
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from fieldguide.craft.chat import Said
from fieldguide.errors import DataProblem, EnvironmentProblem, Problem, plain
from fieldguide.files import digest
from fieldguide.tasks.asking import Asking

#: Version of the file, in its ``user_version``; a newer one is refused.
SCHEMA = 1
#: Says in the file's head whose it is ("fgan").
_OWN = 0x6667616E
#: Seconds after which a row is forced to the disk, and for which another process that is writing is waited for.
FORCED_EVERY, _PATIENCE = 1.0, 60.0
#: Bytes of the files that were whole when this process opened them first, by device and inode.
_CHECKED: dict[tuple[int, int], int] = {}
_MADE = f"""
PRAGMA application_id = {_OWN};
PRAGMA user_version = {SCHEMA};
CREATE TABLE answers (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, finish TEXT NOT NULL, tokens_in INTEGER, tokens_out INTEGER, cached INTEGER,
    seconds REAL, level TEXT NOT NULL, model TEXT NOT NULL, asking TEXT NOT NULL, contestant TEXT NOT NULL, at REAL NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER stays BEFORE UPDATE ON answers BEGIN SELECT RAISE(ABORT, 'answers are only ever added'); END;
CREATE TRIGGER remains BEFORE DELETE ON answers BEGIN SELECT RAISE(ABORT, 'answers are only ever added'); END;
"""

_GET = """
SELECT key, text, finish, tokens_in, tokens_out, cached, seconds, level FROM answers
WHERE key IN (SELECT value FROM json_each(?))
"""
_ADD = "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SPENT = """
SELECT count(*), sum(cached) FROM answers WHERE contestant = ? AND asking IN (SELECT value FROM json_each(?))
"""
_CREDITED = "SELECT count(*) FROM answers WHERE contestant = ? AND key IN (SELECT value FROM json_each(?))"


def key_of(picture: str, asking: Asking, revision: str, size: int) -> str:
    """Return the name of an answer, 64 hex characters: content hash of the picture, what is asked, which weights, how large it is sent."""
    return digest(picture, asking.hash, revision, size)


def kept_under(picture: str) -> bool:
    """Tell whether `picture` is a content hash, so that an answer can be kept under it; what explanations vary has only a number."""
    return len(picture) == 64 and not set(picture) - set("0123456789abcdef")


@dataclass(frozen=True)
class About:
    """What a row tells beside the answer: the model as it calls itself, the hash of the asking, and who asked."""

    model: str
    asking: str
    contestant: str = ""


@dataclass(frozen=True)
class Spent:
    """What one contestant had asked: number of answers, and tokens of them that had been computed before, where that is known."""

    asked: int
    cached: int | None


class Answers:
    """The answers in the file `path`, which is made where there is none. Several threads and processes may use it at once.

    Raises `DataProblem` where the file is damaged, somebody else's, or of a newer fieldguide; nothing is then changed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._forced = 0.0
        with _told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self._base.close)
        try:
            with _told(path):
                self._open()
        except BaseException:
            self._base.close()
            raise

    def _open(self) -> None:
        self._base.execute("BEGIN")  # what is read of the head and of the tables is of one moment
        tables = _one(self._base, "SELECT count(*) FROM sqlite_master")
        own, version = (_one(self._base, f"PRAGMA {name}") for name in ("application_id", "user_version"))
        self._base.execute("COMMIT")
        if own not in (0, _OWN) or (own == 0 and tables):
            raise _not_ours(self.path, "it holds something else")
        if version > SCHEMA:
            raise _newer(self.path, version)
        if tables:
            self._check()
        self._write_ahead()
        self._base.execute("PRAGMA synchronous = NORMAL")
        if not tables:
            self._begin()
        self._base.execute(_GET, ("[]",)).fetchone()

    def _check(self) -> None:
        """Raise `DataProblem` where the file is not whole: at its first opening in this process, and where it has become shorter since.

        The whole file is read for it, so that a long study would pay with every contestant for what it has read already.
        """
        told = self.path.stat()
        name = (told.st_dev, told.st_ino)
        if told.st_size >= _CHECKED.get(name, told.st_size + 1):
            return
        said = _one(self._base, "PRAGMA quick_check(1)")
        if said != "ok":
            raise _not_ours(self.path, said)
        _CHECKED[name] = told.st_size

    def _write_ahead(self) -> None:
        """Change the mode of the file, once for all; SQLite does not wait there for another process that is doing the same."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._base.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(0.01)

    def _begin(self) -> None:
        """Make the table, unless another process was quicker."""
        self._base.execute("BEGIN IMMEDIATE")
        try:
            if _one(self._base, "SELECT count(*) FROM sqlite_master") == 0:
                for statement in _MADE.strip().split(";\n"):
                    self._base.execute(statement)
            self._base.execute("COMMIT")
        except BaseException:
            self._base.execute("ROLLBACK")
            raise

    def get(self, key: str) -> Said | None:
        """Return what was said, or `None` where it was never asked."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, Said]:
        """Return what was said under these keys; those that are not kept are left out."""
        with self._lock, _told(self.path):
            rows = self._base.execute(_GET, (json.dumps(list(keys)),)).fetchall()
        return {key: Said(*said) for key, *said in rows}

    def add(self, key: str, said: Said, about: About) -> None:
        """Keep an answer before anything else is done with it; one that is there already stays. Failures are refused."""
        if said.error is not None:
            raise ValueError("a failure is no answer: it is asked again")
        row = (
            key,
            _storable(said.text),
            _storable(said.finish),
            said.tokens_in,
            said.tokens_out,
            said.cached,
            said.seconds,
            said.level,
            _storable(about.model),
            about.asking,
            _storable(about.contestant),
            time.time(),
        )
        with self._lock, _told(self.path):
            force = time.monotonic() - self._forced >= FORCED_EVERY
            if force:  # what is forced in this mode is the whole log, and with it all rows before
                self._base.execute("PRAGMA synchronous = FULL")
            self._base.execute(_ADD, row)
            if force:
                self._forced = time.monotonic()
                self._base.execute("PRAGMA synchronous = NORMAL")

    def spent(self, contestant: str, askings: Iterable[str]) -> Spent:
        """Return what `contestant` asked with these hashes of `Asking`; the rest of its answers were there before."""
        with self._lock, _told(self.path):
            asked, cached = self._base.execute(_SPENT, (_storable(contestant), json.dumps(list(askings)))).fetchone()
        return Spent(int(asked), None if cached is None else int(cached))

    def credited(self, keys: Iterable[str], contestant: str) -> int:
        """Return how many of the answers under these keys `contestant` asked for."""
        with self._lock, _told(self.path):
            return int(self._base.execute(_CREDITED, (_storable(contestant), json.dumps(list(keys)))).fetchone()[0])

    def __len__(self) -> int:
        """Return the number of answers."""
        with self._lock, _told(self.path):
            return int(_one(self._base, "SELECT count(*) FROM answers"))

    def close(self) -> None:
        """Close the file."""
        with self._lock, _told(self.path):
            self._base.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()


def _one(base: sqlite3.Connection, words: str) -> Any:
    return base.execute(words).fetchone()[0]


def _storable(text: str) -> str:
    """Return `text` with halves of characters, which no file can hold, by their codes."""
    return text.encode("utf-8", "backslashreplace").decode()


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what SQLite says of the file `path` into a problem; what is a mistake of ours stays as it is."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        problem = _problem(path, error)
        if problem is None:
            raise
        raise problem from error


def _problem(path: Path, error: sqlite3.DatabaseError) -> Problem | None:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _not_ours(path, error)
    passing = {
        sqlite3.SQLITE_FULL: "The disk is full",
        sqlite3.SQLITE_IOERR: "The disk does not answer",
        sqlite3.SQLITE_READONLY: "It may not be written to",
        sqlite3.SQLITE_PERM: "It may not be written to",
        sqlite3.SQLITE_CANTOPEN: "It cannot be opened",
        sqlite3.SQLITE_BUSY: "Another program has been writing to it for a minute",
        sqlite3.SQLITE_LOCKED: "Another program has been writing to it for a minute",
    }
    if code not in passing:
        return None
    return EnvironmentProblem(
        f"An answer could not be kept in {plain(path)}. {passing[code]} ({plain(error, 100)}).",
        "What was kept before is whole.",
        "Look after the disk or the permissions, then run the same command again: it asks for what is missing.",
    )


def _not_ours(path: Path, why: object) -> DataProblem:
    return DataProblem(
        f"{plain(path)} is damaged, or no file of answers: {plain(why, 150)}.",
        "Answers are paid for in money or time, so nothing is taken out of it and nothing is asked again unbidden.",
        f"sqlite3 {path.name} .recover   may save most of them. Or move it away with its -wal file, and the same command asks anew.",
    )


def _newer(path: Path, version: int) -> DataProblem:
    return DataProblem(
        f"{plain(path)} was written by a newer fieldguide (version {version} of this file).",
        f"This fieldguide reads versions up to {SCHEMA}.",
        "pip install --upgrade fieldguide",
    )
