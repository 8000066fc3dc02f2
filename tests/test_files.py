"""Files that are whole or absent."""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file

from fieldguide import files
from fieldguide.errors import DataProblem, EnvironmentProblem
from fieldguide.files import (
    UNFINISHED,
    building,
    csv_cell,
    digest,
    free_bytes,
    read_json,
    read_toml,
    sweep,
    write_csv,
    write_json,
    write_text,
    write_toml,
    writing,
)


def leave(make: Callable[[Path], Any], target: Path, fail: Callable[[], None]) -> None:
    """Write half of what was meant, then fail."""
    with make(target) as temporary:
        (temporary if make is writing else temporary / "x").write_text("half")
        assert temporary.name.startswith(UNFINISHED)
        fail()


def raiser(error: BaseException) -> Callable[..., None]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
@pytest.mark.parametrize("before", [None, "before"])
def test_a_file_is_whole_or_as_it_was(tmp_path: Path, error: type[BaseException], before: str | None) -> None:
    target = tmp_path / "deep" / "a.txt"
    if before:
        write_text(target, before)
    with pytest.raises(error):
        leave(writing, target, raiser(error()))
    assert names(target.parent) == (["a.txt"] if before else [])
    assert not before or target.read_text() == before
    write_text(target, "after\n")
    assert names(target.parent) == ["a.txt"]
    assert target.read_bytes() == b"after\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("before", [False, True])
def test_a_folder_is_whole_or_as_it_was(tmp_path: Path, error: type[BaseException], before: bool) -> None:
    target = tmp_path / "deep" / "model"
    if before:
        with building(target) as folder:
            (folder / "old").write_text("old")
    with pytest.raises(error):
        leave(building, target, raiser(error()))
    assert names(target.parent) == (["model"] if before else [])
    assert not before or names(target) == ["old"]
    with building(target) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "new").write_text("new")
    assert names(target) == ["inner"]
    assert names(target.parent) == ["model"]


def test_what_is_written_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut must not leave a name with nothing behind it: fsync, then rename."""
    told: list[str] = []
    sync, rename = os.fsync, os.replace

    def synced(handle: int) -> None:
        told.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name if Path("/proc/self/fd").exists() else "a")
        sync(handle)

    def renamed(old: Any, new: Any) -> None:
        told.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    write_text(tmp_path / "a", "x")
    assert told[0].endswith("a")
    assert told[1] == "rename"
    told.clear()
    with building(tmp_path / "b") as folder:
        (folder / "a").write_text("x")
    assert told[0] == "a"
    assert "rename" in told[1:]


FULL = [errno.ENOSPC, errno.EDQUOT]


@pytest.mark.parametrize("make", [writing, building])
@pytest.mark.parametrize("number", [*FULL, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("step", ["write", "fsync", "rename", "mkdir"])
def test_a_full_disk_is_three_breaths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Any], number: int, step: str
) -> None:
    write_text(tmp_path / "a.txt", "before")
    target = tmp_path / ("a.txt" if make is writing else "model")
    fail = raiser(OSError(number, os.strerror(number)))
    places: dict[str, tuple[Any, str]] = {"fsync": (os, "fsync"), "rename": (os, "replace"), "mkdir": (Path, "mkdir")}
    with monkeypatch.context() as patch:
        if step in places:
            patch.setattr(*places[step], fail)
        with pytest.raises(EnvironmentProblem) as caught:
            leave(make, target, fail if step == "write" else lambda: None)
    assert ("disk is full" in caught.value.given) == (number in FULL)
    assert target.name in caught.value.given
    assert "MB are free" in caught.value.allowed
    assert caught.value.code == 4
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


@pytest.mark.parametrize("make", [writing, building])
def test_a_file_in_the_place_of_a_folder_is_three_breaths(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(EnvironmentProblem, match="could not be written"), make(tmp_path / "file" / "inner" / "a"):
        pass
    assert (tmp_path / "file").read_text() == "x"


def test_leftovers_of_a_kill_are_swept_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / f"{UNFINISHED}1-a").write_text("half")
    (tmp_path / f"{UNFINISHED}2-b").mkdir()
    (tmp_path / f"{UNFINISHED}2-b" / "x").write_text("half")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / f"{UNFINISHED}3").write_text("not here")
    (tmp_path / "a").write_text("whole")
    sweep(tmp_path)
    assert names(tmp_path) == ["a", "deeper"]
    assert names(tmp_path / "deeper") == [f"{UNFINISHED}3"]
    sweep(tmp_path / "none")


def test_json_and_toml_come_back(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None], "a": {"犬": 'x"\n'}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert (tmp_path / "a.json").read_text(encoding="utf-8").index('"a"') < (tmp_path / "a.json").read_text(
        encoding="utf-8"
    ).index('"b"')
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert read_json(tmp_path / "a.json") == value
    write_toml(tmp_path / "a.toml", {"a": None, "b": {"c": None, "d": (1, 2)}, "p": Path("x/y"), 3: "犬"})  # type: ignore[dict-item]
    assert read_toml(tmp_path / "a.toml") == {"b": {"d": [1, 2]}, "p": "x/y", "3": "犬"}


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_cell_cannot_start_a_formula(value: str) -> None:
    assert csv_cell(value) == "'" + value


@pytest.mark.parametrize(("value", "cell"), [("a=1", "a=1"), ("", ""), (None, ""), (-1, -1), (1.5, 1.5), ("'", "'")])
def test_other_cells_stay(value: object, cell: object) -> None:
    assert csv_cell(value) == cell


def test_csv_is_read_back_by_spreadsheets(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["name", "=h"], [["猫", "=1"], ['a,"b"\nc', None], ["قط", -3]])
    data = (tmp_path / "a.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    with open(tmp_path / "a.csv", encoding="utf-8-sig", newline="") as stream:
        assert list(csv.reader(stream)) == [["name", "'=h"], ["猫", "'=1"], ['a,"b"\nc', ""], ["قط", "-3"]]


def test_digests_are_stable() -> None:
    """Manifests and checkpoints of earlier days are compared with these."""
    assert digest("a", 1, [None, 2.5]) == "f6d13916d69f04ca05611b83af780381dab61369d492fb74100b289645bbffb5"
    assert digest({"b": 1, "a": "犬"}) == digest({"a": "犬", "b": 1})
    assert digest("a", "b") != digest("ab") != digest(["a", "b"])
    assert len(digest("\udcff")) == 64


def test_free_space_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "a" / "b") == pytest.approx(free_bytes(tmp_path), rel=0.1)
    assert files.free_bytes(tmp_path) > 0


def test_the_older_folder_comes_back_where_the_new_one_cannot_take_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, replace = tmp_path / "model", os.replace
    target.mkdir()
    (target / "a").write_text("before")

    def refuse(source: Path, name: Path) -> None:
        if name == target and (Path(source) / "b").exists():
            raise OSError(errno.EROFS, "Read-only file system")
        replace(source, name)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(EnvironmentProblem, match="could not be written: Read-only"), building(target) as temporary:
        (temporary / "b").write_text("after")
    assert names(tmp_path) == ["model"] and (target / "a").read_text() == "before"


def test_tensors_that_meet_a_limit_are_three_breaths(tmp_path: Path) -> None:
    """Safetensors tells what the system said in words alone."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))
    try:
        with pytest.raises(EnvironmentProblem) as caught, writing(tmp_path / "a.safetensors") as temporary:
            save_file({"a": np.zeros(100_000, np.uint8)}, temporary)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.given == f"{tmp_path / 'a.safetensors'} could not be written: File too large."
    assert names(tmp_path) == []
    with pytest.raises(SafetensorError), writing(tmp_path / "b") as temporary:
        raise SafetensorError("Error while deserializing header: invalid")


def test_what_safetensors_leaves_when_it_is_killed_is_swept(tmp_path: Path) -> None:
    for name in (".tmpAbC123", ".tmp", ".tmpnote", ".tmpAbC1234", "a.tmpAbC123"):
        (tmp_path / name).write_text("half")
    sweep(tmp_path)
    assert names(tmp_path) == sorted([".tmp", ".tmpnote", ".tmpAbC1234", "a.tmpAbC123"])


def test_what_cannot_be_swept_waits_for_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{UNFINISHED}1-a").write_text("half")
    for name in ("unlink", "listdir"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, raiser(OSError(errno.EIO, "Input/output error")))
            sweep(tmp_path)
    assert names(tmp_path) == [f"{UNFINISHED}1-a"]


@pytest.mark.parametrize("fails", [0, 1, 2])
def test_a_passing_error_is_tried_twice(fails: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "RETRY_AFTER", 0.0)
    tries = []

    def work() -> str:
        tries.append(1)
        if len(tries) <= fails:
            raise OSError(errno.ESTALE, "Stale file handle")
        return "done"

    if fails < 2:
        assert files.twice(work, "photos") == "done" and len(tries) == fails + 1
    else:
        with pytest.raises(EnvironmentProblem, match="photos cannot be read now: Stale"):
            files.twice(work, "photos")


def test_a_lasting_error_is_not_tried_twice() -> None:
    tries = []

    def work() -> None:
        tries.append(1)
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(PermissionError):
        files.twice(work, "photos")
    assert len(tries) == 1


def test_what_the_system_refuses_is_told_and_mistakes_of_ours_stay_mistakes() -> None:
    with pytest.raises(EnvironmentProblem, match="The system refused /x/y: Input/output error"), files.told_plainly():
        raise OSError(errno.EIO, "Input/output error", "/x/y")
    with pytest.raises(EnvironmentProblem, match="The disk is full: a file"), files.told_plainly():
        raise OSError(errno.ENOSPC, "No space left on device")
    for mistake in (FileNotFoundError(errno.ENOENT, "No such file"), OSError("a library's own words"), ValueError("no")):
        with pytest.raises(type(mistake)), files.told_plainly():
            raise mistake


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"[1]", b"\xff"])
def test_a_damaged_file_of_a_study_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cost.json").write_bytes(content)
    with pytest.raises(DataProblem, match="is damaged") as caught:
        files.read_own(tmp_path / "cost.json")
    assert caught.value.next.startswith("Delete cost.json and run the same")
