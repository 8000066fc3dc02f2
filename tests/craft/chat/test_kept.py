"""Answers that cost money are never lost, never asked twice, and never another question's."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fieldguide.craft.chat import Said, kept
from fieldguide.craft.chat.kept import About, Answers, kept_under, key_of
from fieldguide.errors import DataProblem, EnvironmentProblem
from fieldguide.tasks.asking import Asking, Message, Shown

ASKING = Asking((Message("user", ("What is it?", Shown())),), ("cat", "dog"))
ABOUT = About("a model", ASKING.hash, "one")
WRITER = """
import sys
from pathlib import Path
from fieldguide.craft.chat import Said
from fieldguide.craft.chat.kept import About, Answers
from fieldguide.files import digest
answers = Answers(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(int(sys.argv[3])):
    answers.add(digest(sys.argv[2], number), Said("cat " * 50), About("m", "a", sys.argv[2]))
    print(number, flush=True)
"""


def writer(path: Path, who: str, most: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), who, str(most)], stdout=subprocess.PIPE, text=True)


def test_an_answer_comes_back_as_it_was_also_in_another_opening(tmp_path: Path) -> None:
    said = Said(" Cat.\n\u0000\U0001f408", "stop", 812, 3, 700, 0.25, "trie")
    bare = Said()
    with Answers(tmp_path / "answers.sqlite") as answers:
        answers.add("a" * 64, said, ABOUT)
        answers.add("b" * 64, bare, ABOUT)
        assert answers.get("a" * 64) == said
    with Answers(tmp_path / "answers.sqlite") as answers:
        assert answers.get_many(["b" * 64, "a" * 64, "c" * 64]) == {"a" * 64: said, "b" * 64: bare}
        assert answers.get("c" * 64) is None
        assert len(answers) == 2


def test_what_no_file_can_hold_is_told_by_its_code(tmp_path: Path) -> None:
    with Answers(tmp_path / "answers.sqlite") as answers:
        answers.add("a", Said("half \ud83d"), ABOUT)
        found = answers.get("a")
        assert found is not None and found.text == "half \\ud83d"


def test_answers_are_only_ever_added(tmp_path: Path) -> None:
    with Answers(tmp_path / "answers.sqlite") as answers:
        answers.add("a", Said("first"), ABOUT)
        answers.add("a", Said("second"), ABOUT)
        found = answers.get("a")
        assert found is not None and found.text == "first"
        with pytest.raises(ValueError, match="failure"):
            answers.add("b", Said(error="timeout"), ABOUT)
    base = sqlite3.connect(tmp_path / "answers.sqlite")
    for words in ("DELETE FROM answers", "UPDATE answers SET text = 'dog'"):
        with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
            base.execute(words)
    base.close()


def test_a_key_is_of_everything_that_an_answer_depends_on() -> None:
    other = Asking((Message("user", ("What is this?", Shown())),), ("cat", "dog"))
    warm = Asking(ASKING.messages, ASKING.answers, temperature=0.5)
    keys = {
        key_of("p", ASKING, "r", 64),
        key_of("q", ASKING, "r", 64),
        key_of("p", other, "r", 64),
        key_of("p", warm, "r", 64),
        key_of("p", ASKING, "s", 64),
        key_of("p", ASKING, "r", 65),
    }
    assert len(keys) == 6
    assert all(kept_under(key) for key in keys)
    assert not kept_under("variation 3")


def test_what_one_had_asked_is_counted_apart_from_what_was_there(tmp_path: Path) -> None:
    with Answers(tmp_path / "answers.sqlite") as answers:
        answers.add("a", Said("cat", cached=100), ABOUT)
        answers.add("b", Said("cat", cached=50), ABOUT)
        answers.add("c", Said("cat", cached=7), About("a model", ASKING.hash, "two"))
        answers.add("d", Said("cat"), About("a model", "another prompt", "one"))
        assert answers.spent("one", [ASKING.hash]) == kept.Spent(2, 150)
        assert answers.spent("one", ["another prompt"]) == kept.Spent(1, None)
        assert answers.spent("three", [ASKING.hash]) == kept.Spent(0, None)


def test_several_threads_and_openings_at_once(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    shared = Answers(path)

    def add(who: int) -> None:
        with Answers(path) as own:
            for number in range(25):
                (own if number % 2 else shared).add(f"{who} {number}", Said(str(who)), ABOUT)

    threads = [threading.Thread(target=add, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shared) == 100
    shared.close()


def test_two_processes_make_and_fill_one_file(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    writers = [writer(path, who, 40) for who in "ab"]
    assert [(one.communicate()[1], one.returncode) for one in writers] == [(None, 0)] * 2
    with Answers(path) as answers:
        assert len(answers) == 80


def test_killed_while_writing_it_is_whole_and_no_answer_that_was_told_is_lost(tmp_path: Path) -> None:
    path, told = tmp_path / "answers.sqlite", 0
    for sitting, most in enumerate((3, 17)):
        child = writer(path, f"sitting {sitting}", 100_000)
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(most + 1)]
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().splitlines()
        child.wait()
        child.stdout.close()
        told += len(said) - 1 + len([line for line in rest if line.isdigit()])
        with Answers(path) as answers:
            assert told <= len(answers) <= told + 2, "a kill lost an answer, or invented some"
            told = len(answers)
    base = sqlite3.connect(path)
    assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert {row[0] for row in base.execute("SELECT text FROM answers")} == {"cat " * 50}
    base.close()


def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with Answers(path) as answers:
        for number in range(300):
            answers.add(key_of(str(number), ASKING, "r", 1), Said("cat " * 40), ABOUT)
    whole = path.read_bytes()
    for damaged in (
        b"no database at all",
        whole[:5000],
        whole[:4096] + b"\xff" * 8192 + whole[12288:],
        whole[: len(whole) // 2],
    ):
        path.write_bytes(damaged)
        kept._CHECKED.clear()  # as another process
        with pytest.raises(DataProblem) as raised:
            Answers(path)
        assert "damaged" in raised.value.given
        assert path.read_bytes() == damaged


def test_a_file_is_read_whole_at_its_first_opening_and_not_at_every_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, asked, real = tmp_path / "answers.sqlite", [], kept._one

    def one(base: sqlite3.Connection, words: str) -> object:
        asked.append(words)
        return real(base, words)

    monkeypatch.setattr(kept, "_one", one)
    for number in range(3):
        with Answers(path) as answers:
            answers.add(str(number), Said("cat"), ABOUT)
    checks = [words for words in asked if "quick_check" in words]
    assert len(checks) == 1, "a file that this process made is checked once it is opened again, and then no more"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataProblem, match="damaged"):
        Answers(path)
    path.unlink()
    (tmp_path / "other").write_bytes(whole)
    (tmp_path / "other").rename(path)
    with Answers(path) as answers:
        assert len(answers) == 3


def test_a_stranger_and_a_newer_one_are_refused(tmp_path: Path) -> None:
    foreign = sqlite3.connect(tmp_path / "foreign.sqlite")
    foreign.execute("CREATE TABLE answers (key)")
    foreign.commit()
    foreign.close()
    with pytest.raises(DataProblem, match="something else"):
        Answers(tmp_path / "foreign.sqlite")
    Answers(tmp_path / "newer.sqlite").close()
    newer = sqlite3.connect(tmp_path / "newer.sqlite")
    newer.execute(f"PRAGMA user_version = {kept.SCHEMA + 1}")
    newer.close()
    with pytest.raises(DataProblem, match="newer fieldguide"):
        Answers(tmp_path / "newer.sqlite")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(EnvironmentProblem, match="cannot be opened"):
        Answers(tmp_path / "folder")
