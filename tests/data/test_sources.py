"""Folders, tables, archives and stored data sets, as people have them and as attackers make them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import struct
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldguide.data.sources import Source, archive, open_source
from fieldguide.errors import DATA, DataProblem, Problem, UsageProblem

JPEG = b"\xff\xd8\xff\xe0 not decoded here"


def plant(root: Path, *names: str, data: bytes = JPEG) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def opened(where: Path, unpack_to: Path | None = None, **options: Any) -> Source:
    return open_source(str(where), unpack_to or where.parent / "unpacked", **options)


def listed(source: Source) -> list[tuple[str, str, str | None]]:
    return [(file.name, file.label, file.split) for file in source.files]


def breaths(problem: Problem) -> str:
    assert all(part.strip() for part in (problem.given, problem.allowed, problem.next))
    return str(problem)


# --- folders ------------------------------------------------------------------------------------------------------------


def test_class_folders(tmp_path: Path) -> None:
    root = plant(tmp_path / "pets", "cat/1.jpg", "cat/far/down/2.jpg", "dog/3.PNG", "dog/no_extension")
    source = opened(root)
    assert source.kind == "folder" and source.classes == ("cat", "dog")
    assert listed(source) == [
        ("cat/1.jpg", "cat", None),
        ("cat/far/down/2.jpg", "cat", None),
        ("dog/3.PNG", "dog", None),
        ("dog/no_extension", "dog", None),
    ]
    assert all(file.path.read_bytes() == JPEG for file in source.files)


def test_what_is_ignored_has_a_reason(tmp_path: Path) -> None:
    litter = [
        "cat/.DS_Store",
        "cat/._1.jpg",
        "cat/Thumbs.db",
        "desktop.ini",
        "__MACOSX/cat/._1.jpg",
        ".git/config",
        ".cache/x.jpg",
    ]
    others = ["labels.csv", "cat/notes.txt", "cat/meta.JSON", "README.md", "dog/page.html", "dog/paper.pdf"]
    root = plant(
        tmp_path / "pets", "cat/1.jpg", "dog/2.jpg", "loose.jpg", "old/study.toml", "old/store/a.jpg", *litter, *others
    )
    (root / "bird").mkdir()
    source = opened(root)
    assert [name for name, _, _ in listed(source)] == ["cat/1.jpg", "dog/2.jpg"]
    reasons = dict(source.ignored)
    assert reasons["loose.jpg"] == "outside class folders"
    assert reasons["bird"] == "class folder without pictures"
    assert reasons["old"] == "a fieldguide study"
    assert reasons["cat/notes.txt"] == "not a picture by its extension"
    assert reasons["cat/._1.jpg"] == "resource fork of another system"
    assert set(reasons) == {"loose.jpg", "bird", "old", "cat/.DS_Store", "cat/._1.jpg", "cat/Thumbs.db", "desktop.ini"} | {
        "__MACOSX",
        ".git",
        ".cache",
        *others,
    }


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "VALID", "testing"), ("train", "val", "test")])
def test_split_folders(tmp_path: Path, names: tuple[str, ...]) -> None:
    root = plant(tmp_path / "pets", *(f"{name}/{label}/1.jpg" for name in names for label in ("cat", "dog")))
    plant(root, f"{names[0]}/loose.jpg")
    source = opened(root)
    want = {"tr": "train", "te": "test", "va": "val"}
    assert {(file.name.split("/")[0], file.split) for file in source.files} == {
        (name, want[name[:2].lower()]) for name in names
    }
    assert source.classes == ("cat", "dog")
    assert (f"{names[0]}/loose.jpg", "outside class folders") in source.ignored


def test_loose_files_beside_splits_are_told(tmp_path: Path) -> None:
    root = plant(tmp_path / "p", "train/a/1.jpg", "train/b/1.jpg", "test/a/2.jpg", "loose.jpg")
    assert ("loose.jpg", "outside class folders") in opened(root).ignored


def test_classes_two_folders_further_down_are_found(tmp_path: Path) -> None:
    root = plant(tmp_path / "p", "x/y/cat/1.jpg", "x/y/dog/2.jpg")
    with pytest.raises(DataProblem, match=r"Did you mean .*x/y\? It holds 2 folders"):
        opened(root)
    root = plant(tmp_path / "q", *(f"{split}/images/{label}/1.jpg" for split in ("train", "val") for label in ("cat", "dog")))
    with pytest.raises(DataProblem, match=r"train/images holds 2 folders.*move them up into train"):
        opened(root)


def test_archives_inside_stay_closed(tmp_path: Path) -> None:
    root = plant(tmp_path / "p", "cat/1.jpg", "dog/2.jpg", "dog/more.zip", "all.tar.gz")
    reason = "an archive inside the source, which is not opened"
    assert opened(root).ignored == (("all.tar.gz", reason), ("dog/more.zip", reason))
    with pytest.raises(DataProblem, match=r"holds no pictures, but an archive \(all\.tar\.gz\)"):
        opened(plant(tmp_path / "q", "all.tar.gz"))


def test_names_that_no_table_can_hold_are_shown_by_their_codes(tmp_path: Path) -> None:
    rows = ['{"path": "half \\ud800.jpg", "label": "cat \\udfff"}', '{"path": "2.jpg", "label": "dog", "group": "\\ud800"}']
    (tmp_path / "t.jsonl").write_text("\n".join(rows), encoding="utf-8")
    source = opened(tmp_path / "t.jsonl")
    assert listed(source) == [("2.jpg", "dog", None), ("half \\ud800.jpg", "cat \\udfff", None)]
    json.dumps([[file.name, file.label, file.group] for file in source.files], ensure_ascii=False).encode("utf-8")


def test_a_path_that_may_not_be_entered_is_not_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The error is injected: a test that runs as root could enter.
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refuse)
        with pytest.raises(UsageProblem, match="cannot be reached: Permission denied") as caught:
            open_source("somewhere", tmp_path)
    assert breaths(caught.value)
    with pytest.raises(UsageProblem, match="does not exist"):
        open_source(str(tmp_path / ("n" * 300)), tmp_path)


def test_folder_without_pictures_beside_splits_is_no_mixture(tmp_path: Path) -> None:
    root = plant(tmp_path / "p", "train/a/1.jpg", "train/b/1.jpg", "test/a/2.jpg", "annotations/all.json")
    assert opened(root).classes == ("a", "b")


def test_mixture_of_splits_and_classes_is_refused(tmp_path: Path) -> None:
    root = plant(tmp_path / "p", "train/a/1.jpg", "test/b/2.jpg", "cat/3.jpg")
    with pytest.raises(DataProblem, match="cat"):
        opened(root)


def test_one_class_called_test_is_a_class(tmp_path: Path) -> None:
    assert opened(plant(tmp_path / "p", "test/1.jpg", "train_station/2.jpg")).classes == ("test", "train_station")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), "is empty"),
        (("1.jpg", "2.jpg"), "2 loose pictures"),
        (("cat/1.jpg",), "one class only, 'cat'"),
        (("images/cat/1.jpg", "images/dog/2.jpg"), r"Did you mean .*images\? It holds 2 folders"),
        (("cat/readme.txt", ".DS_Store"), "holds no pictures"),
        (("labels.csv", "readme.txt"), "give the file: .*labels.csv"),
        (("train/1.jpg", "test/2.jpg"), "loose pictures and no class folders"),
    ],
)
def test_unusable_folders(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    root = plant(tmp_path / "pets", *names)
    root.mkdir(exist_ok=True)
    with pytest.raises(DataProblem, match=words) as caught:
        opened(root)
    assert caught.value.code == DATA and breaths(caught.value)


def test_missing_path_suggests_its_neighbours(tmp_path: Path) -> None:
    plant(tmp_path, "photos/cat/1.jpg", "fonts/x")
    with pytest.raises(UsageProblem, match=r"Did you mean .*photos\?"):
        opened(tmp_path / "photo")
    with pytest.raises(UsageProblem, match=r"Did you mean .*photos\?"):
        opened(tmp_path / "photso" / "cat")
    with pytest.raises(UsageProblem, match="hf:someone/pets"):
        open_source("someone/pets", tmp_path)
    with pytest.raises(UsageProblem, match="kind that is no source"):
        opened(plant(tmp_path, "movie.mp4") / "movie.mp4")


def test_links_stay_inside(tmp_path: Path) -> None:
    outside = plant(tmp_path / "outside", "secret.jpg", "more/secret.jpg")
    root = plant(tmp_path / "pets", "cat/1.jpg", "dog/2.jpg", "pool/3.jpg")
    (root / "cat" / "link.jpg").symlink_to(outside / "secret.jpg")
    (root / "cat" / "away").symlink_to(outside / "more")
    (root / "cat" / "loop").symlink_to(root)
    (root / "cat" / "self").symlink_to(root / "cat" / "self")
    (root / "cat" / "inside.jpg").symlink_to(root / "pool" / "3.jpg")
    (root / "dog" / "gone.jpg").symlink_to(root / "nothing.jpg")
    (root / "bird").symlink_to(outside)
    source = opened(root)
    assert [name for name, _, _ in listed(source)] == ["cat/1.jpg", "cat/inside.jpg", "dog/2.jpg", "pool/3.jpg"]
    reasons = dict(source.ignored)
    assert reasons["cat/link.jpg"] == reasons["cat/away"] == reasons["bird"] == "a link that leaves the source"
    assert reasons["cat/loop"] == "a link that leads back" and reasons["dog/gone.jpg"] == "a link that leads nowhere"
    assert "cat/self" in reasons


def test_two_links_to_each_other_end(tmp_path: Path) -> None:
    root = plant(tmp_path / "pets", "cat/a/1.jpg", "cat/b/2.jpg", "dog/3.jpg")
    (root / "cat" / "a" / "to_b").symlink_to(root / "cat" / "b")
    (root / "cat" / "b" / "to_a").symlink_to(root / "cat" / "a")
    names = [name for name, _, _ in listed(opened(root))]
    assert len(names) == 3 and len({os.path.realpath(root / name) for name in names}) == 3


def test_pipes_are_not_opened(tmp_path: Path) -> None:
    root = plant(tmp_path / "pets", "cat/1.jpg", "dog/2.jpg")
    os.mkfifo(root / "cat" / "pipe.jpg")
    assert ("cat/pipe.jpg", "not a regular file") in opened(root).ignored


def test_folder_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The error is injected: a test that runs as root could open the folder whatever its mode.
    root = plant(tmp_path / "pets", "cat/1.jpg", "dog/2.jpg", "dog/locked/3.jpg")
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    source = opened(root)
    assert len(source.files) == 2 and ("dog/locked", "cannot be opened: Permission denied") in source.ignored


def test_names_of_every_script(tmp_path: Path) -> None:
    labels = ["猫", "كلب", "🦊", "a" * 255, "line\nbreak", "CON", "  spaces  "]
    root = plant(tmp_path / "pets", *(f"{label}/1.jpg" for label in labels))
    source = opened(root)
    assert source.classes == tuple(sorted(["猫", "كلب", "🦊", "a" * 255, "line break", "CON", "spaces"]))
    assert any("line" in note for note in source.notes)
    os.mkdir(os.fsencode(root) + b"/caf\xe9")
    plant(root, os.fsdecode(b"caf\xe9") + "/1.jpg")
    named = [file for file in opened(root).files if file.label.startswith("caf")]
    assert [(file.name, file.label) for file in named] == [("caf\\xe9/1.jpg", "caf\\xe9")] and named[0].path.exists()


def test_unicode_twins_are_one_class(tmp_path: Path) -> None:
    composed, parts = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
    source = opened(plant(tmp_path / "p", f"{composed}/1.jpg", f"{parts}/2.jpg", "tea/3.jpg"))
    assert source.classes == (composed, "tea")
    assert len(source.notes) == 1 and "Unicode" in source.notes[0]


def test_order_of_the_disk_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = plant(tmp_path / "p", *(f"{label}/{number}.jpg" for label in "cab" for number in range(9)))
    first = opened(root)
    scandir = os.scandir

    def backwards(path: Any) -> Any:
        with scandir(path) as entries:
            return contextlib.nullcontext(sorted(entries, key=lambda entry: entry.name, reverse=True))

    monkeypatch.setattr(os, "scandir", backwards)
    assert opened(root) == first


# --- tables -------------------------------------------------------------------------------------------------------------


def write_table(root: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    path = root / f"list.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    else:
        mark = "\t" if kind == "tsv" else ","
        lines = [
            mark.join(rows[0]),
            *(mark.join("" if value is None else str(value) for value in row.values()) for row in rows),
        ]
        path.write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_tables(tmp_path: Path, kind: str) -> None:
    plant(tmp_path, "a/1.jpg", "a/2.jpg", "3.jpg")
    rows = [
        {"File_Name": "a/1.jpg", "Class": "cat", "split": "train", "group": "x"},
        {"File_Name": "a/2.jpg", "Class": "dog", "split": "Validation", "group": None},
        {"File_Name": "3.jpg", "Class": "dog", "split": "testing", "group": "y"},
        {"File_Name": "gone.jpg", "Class": "cat", "split": None, "group": None},
    ]
    source = opened(write_table(tmp_path, kind, rows))
    assert source.kind == "table"
    assert [(file.name, file.label, file.split, file.group) for file in source.files] == [
        ("3.jpg", "dog", "test", "y"),
        ("a/1.jpg", "cat", "train", "x"),
        ("a/2.jpg", "dog", "val", None),
        ("gone.jpg", "cat", None, None),
    ]
    assert [file.path.exists() for file in source.files] == [True, True, True, False]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_numbers_are_labels(tmp_path: Path, kind: str) -> None:
    rows = [{"path": "1.jpg", "label": 1, "split": None}, {"path": "2.jpg", "label": 2, "split": None}]
    assert opened(write_table(tmp_path, kind, rows)).classes == ("1", "2")


def test_rows_that_name_nothing_are_listed(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\n1.jpg,cat\n,dog\n2.jpg,\n3.jpg,dog\n1.jpg,cat\n", encoding="utf-8")
    source = opened(tmp_path / "t.csv")
    assert [name for name, _, _ in listed(source)] == ["1.jpg", "3.jpg"]
    assert dict(source.ignored) == {
        "row 2": "names no picture",
        "2.jpg": "no label in row 3",
        "row 5": "names the same picture as row 1",
    }


def test_everything_called_train_names_no_split(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label,split\n1.jpg,cat,train\n2.jpg,dog,train\n", encoding="utf-8")
    source = opened(tmp_path / "t.csv")
    assert {file.split for file in source.files} == {None} and "train" in source.notes[0]


def test_semicolons_windows_paths_and_quotes(tmp_path: Path) -> None:
    plant(tmp_path, "a/1.jpg")
    (tmp_path / "t.csv").write_text('path;label\na\\1.jpg;"cat; big"\n2.jpg;dog\n', encoding="utf-8")
    source = opened(tmp_path / "t.csv")
    assert listed(source) == [("2.jpg", "dog", None), ("a/1.jpg", "cat; big", None)] and source.files[1].path.exists()


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("pth,label\n1,2\n", UsageProblem, "Rename 'pth' to 'path'"),
        ("path,lable\n1,2\n", UsageProblem, "Rename 'lable' to 'label'"),
        ("", UsageProblem, "no column for the path; its columns are none"),
        ("path,label\n", DataProblem, "no labelled pictures"),
        ("path,label\n1.jpg,cat\n", DataProblem, "one class only"),
        ("path,label\n1.jpg,cat,extra\n", DataProblem, "line 2 has 3 cells"),
        ('path,label\n"1.jpg,cat\n', DataProblem, "cannot be read"),
        ("path,label,split\n1.jpg,cat,fold1\n", DataProblem, "'fold1'"),
        ("path,label\n1.jpg,cat\n1.jpg,dog\n", DataProblem, "multi-label.*row 1.*row 2"),
        ("path,label,split\n1.jpg,cat,test\n1.jpg,cat,train\n", DataProblem, "belongs to one split"),
        ("path,label\n1.jpg,cat\n2.jpg,dog\n3.jpg,cat|dog\n4.jpg,dog | cat\n", DataProblem, "multi-label.*2 rows"),
    ],
)
def test_unusable_tables(tmp_path: Path, text: str, kind: type[Problem], words: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(kind, match=f"(?s){words}") as caught:
        opened(tmp_path / "t.csv")
    assert breaths(caught.value)


def test_one_odd_label_is_not_called_multi_label(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\n1,cat\n2,dog\n3,cat|dog\n4,salt; pepper\n5,salt; pepper\n", encoding="utf-8")
    assert len(opened(tmp_path / "t.csv").classes) == 4


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_lists_of_labels(tmp_path: Path, kind: str) -> None:
    single = [{"path": "1.jpg", "label": ["cat"]}, {"path": "2.jpg", "label": ["dog"]}]
    assert opened(write_table(tmp_path, kind, single)).classes == ("cat", "dog")
    with pytest.raises(DataProblem, match="multi-label"):
        opened(write_table(tmp_path, kind, [*single, {"path": "3.jpg", "label": ["cat", "dog"]}]))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", b"path,label\n\xff\xfe,1\n"),
        ("t.jsonl", b"{]\n"),
        ("t.jsonl", b"[1]\n"),
        ("t.parquet", b"PAR1 no"),
        ("t.csv", b"path,label\n1\0,2\n3,4\n"),
        ("t.jsonl", b"[" * 100_000),
    ],
)
def test_damaged_tables(tmp_path: Path, name: str, data: bytes) -> None:
    plant(tmp_path, name, data=data)
    try:
        source = opened(tmp_path / name)
    except DataProblem as problem:
        assert breaths(problem)
    else:  # a zero byte in a path is kept, and the file is found missing when it is read
        assert b"\0" in data and any("\0" in file.name for file in source.files)


# --- archives -----------------------------------------------------------------------------------------------------------

GOOD = ["pets/cat/1.jpg", "pets/dog/2.jpg", "__MACOSX/pets/._1.jpg"]


def make_zip(path: Path, entries: list[tuple[str, bytes]], change: Callable[[zipfile.ZipInfo], None] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.filename = info.orig_filename = name  # as given, with backslashes
            info.compress_type = zipfile.ZIP_DEFLATED
            if change is not None:
                change(info)
            made.writestr(info, data)
    return path


def make_tar(path: Path, entries: list[tarfile.TarInfo | str], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as made:  # type: ignore[call-overload]
        for entry in entries:
            info = tarfile.TarInfo(entry) if isinstance(entry, str) else entry
            info.size = len(JPEG) if info.isreg() else 0
            made.addfile(info, io.BytesIO(JPEG) if info.isreg() else None)
    return path


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_archives_are_unpacked_once(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"pets.{kind}"
    if kind == "zip":
        make_zip(path, [("pets/", b""), *((name, JPEG) for name in GOOD)])
    else:
        make_tar(path, list(GOOD), {"tar": "w", "tgz": "w:gz"}.get(kind, f"w:{kind[4:]}"))
    source = opened(path)
    assert source.kind == "archive" and listed(source) == [("cat/1.jpg", "cat", None), ("dog/2.jpg", "dog", None)]
    assert [file.path.read_bytes() for file in source.files] == [JPEG, JPEG]

    def fail(*_: object) -> None:
        raise AssertionError("unpacked twice")

    monkeypatch.setattr(archive, "unpack", fail)
    assert opened(path) == source


def link(kind: bytes, name: str = "cat/x", target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


HOSTILE_TARS: dict[str, list[tarfile.TarInfo | str]] = {
    "parent": ["../evil.jpg"],
    "parent inside": ["cat/../../evil.jpg"],
    "absolute": ["/tmp/evil.jpg"],
    "drive": ["C:/evil.jpg"],
    "drive relative": ["c:evil.jpg"],
    "backslash": ["cat\\..\\..\\evil.jpg"],
    "symlink": [link(tarfile.SYMTYPE)],
    "hard link": [link(tarfile.LNKTYPE)],
    "device": [link(tarfile.CHRTYPE)],
    "block device": [link(tarfile.BLKTYPE)],
    "pipe": [link(tarfile.FIFOTYPE)],
    "symlink then file": [link(tarfile.SYMTYPE, "cat/out", ".."), "cat/out/evil.jpg"],
    "twice": ["cat/1.jpg", "cat/1.jpg"],
    "file and folder": ["cat/1.jpg", "cat/1.jpg/evil.jpg"],
    "folder and file": ["cat/1.jpg/evil.jpg", "cat/1.jpg"],
    "nothing": ["./."],
    "long": ["cat/" + "x" * 300],
}


@pytest.mark.parametrize("case", HOSTILE_TARS)
def test_hostile_tars_are_refused(tmp_path: Path, case: str) -> None:
    path = make_tar(tmp_path / "in" / "pets.tar", [*GOOD, *HOSTILE_TARS[case]], "w") if plant(tmp_path, "in/x") else None
    assert path is not None
    refused(path, tmp_path, "is refused")


HOSTILE_ZIPS = {
    "parent": "../evil.jpg",
    "parent inside": "cat/../../evil.jpg",
    "absolute": "/tmp/evil.jpg",
    "drive": "C:\\evil.jpg",
    "backslash": "cat\\..\\evil.jpg",
    "twice": "pets/cat/1.jpg",
    "long": "cat/" + "x" * 300,
}


@pytest.mark.parametrize("case", HOSTILE_ZIPS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_zip_names_are_refused(tmp_path: Path, case: str) -> None:
    plant(tmp_path, "in/x")
    refused(
        make_zip(tmp_path / "in" / "p.zip", [*((name, JPEG) for name in GOOD), (HOSTILE_ZIPS[case], JPEG)]),
        tmp_path,
        "is refused",
    )


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_zip_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    def change(info: zipfile.ZipInfo) -> None:
        if info.filename.endswith("2.jpg"):
            info.create_system, info.external_attr = 3, (kind | 0o777) << 16

    plant(tmp_path, "in/x")
    path = make_zip(tmp_path / "in" / "p.zip", [(name, b"/etc/passwd") for name in GOOD], change)
    assert "2.jpg" in refused(path, tmp_path, "is a link or a device")


def refused(path: Path, tmp_path: Path, words: str) -> str:
    """Open, expect a refusal, and expect that nothing was left: neither below the target nor outside."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataProblem, match=words) as caught:
        open_source(str(path), tmp_path / "out" / "deep")
    after = [entry for entry in sorted(tmp_path.rglob("*")) if entry not in before]
    assert [entry for entry in after if entry.name not in ("out", "deep")] == []
    assert not Path("/tmp/evil.jpg").exists()
    return breaths(caught.value)


def test_limits_on_entries_bytes_and_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, "in/x")
    zipped = make_zip(tmp_path / "in" / "p.zip", [(f"cat/{number}.jpg", bytes(100_000)) for number in range(20)])
    tarred = tmp_path / "in" / "p.tar.gz"
    with tarfile.open(tarred, "w:gz") as made:
        info = tarfile.TarInfo("cat/1.jpg")
        info.size = 2_000_000
        made.addfile(info, io.BytesIO(bytes(2_000_000)))
    for path in (zipped, tarred):
        with monkeypatch.context() as patch:
            patch.setattr(archive, "RATIO_FROM", 1_000_000)
            refused(path, tmp_path, "a bomb")
        with monkeypatch.context() as patch:
            patch.setattr(archive, "MOST_UNPACKED", 1_000_000)
            refused(path, tmp_path, "goes beyond")
    monkeypatch.setattr(archive, "MOST_ENTRIES", 19)
    assert "19" in refused(zipped, tmp_path, "it has more entries than")
    monkeypatch.setattr(archive, "MOST_DIRECTORY", 100)
    refused(zipped, tmp_path, "list of entries")


def test_bomb_in_a_tar_header_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, "in/x")
    path = tmp_path / "in" / "p.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as made:
        info = tarfile.TarInfo("cat/1.jpg")
        info.pax_headers = {"comment": "x" * 3_000_000}
        made.addfile(info)
    monkeypatch.setattr(archive, "RATIO_FROM", 1_000_000)
    refused(path, tmp_path, "a bomb")


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz"])
def test_damaged_archives(tmp_path: Path, cut: float, kind: str) -> None:
    plant(tmp_path, "in/x")
    path = tmp_path / "in" / f"p.{kind}"
    names = [f"pets/{label}/{number}.jpg" for label in ("cat", "dog") for number in range(40)]
    make_zip(path, [(name, os.urandom(900)) for name in names]) if kind == "zip" else make_tar(
        path, list(names), f"w:{kind[4:]}"
    )
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    refused(path, tmp_path, "cannot be read")


@pytest.mark.parametrize("blocks", [2, 3])
def test_tar_cut_between_two_files(tmp_path: Path, blocks: int) -> None:
    plant(tmp_path, "in/x")
    path = make_tar(tmp_path / "in" / "p.tar", [*GOOD, "pets/cat/3.jpg"], "w")
    path.write_bytes(path.read_bytes()[: 2 * blocks * 512])
    refused(path, tmp_path, "ends before")


def test_zip_with_password_and_wrong_checksum(tmp_path: Path) -> None:
    plant(tmp_path, "in/x")
    path = make_zip(tmp_path / "in" / "p.zip", [(name, JPEG) for name in GOOD])
    whole = path.read_bytes()
    locked = bytearray(whole)
    directory = locked.index(b"PK\x01\x02")
    locked[6] |= 1
    locked[directory + 8] |= 1
    path.write_bytes(locked)
    refused(path, tmp_path, "password")
    wrong = bytearray(whole)
    struct.pack_into("<I", wrong, directory + 16, 12345)
    struct.pack_into("<I", wrong, 14, 12345)
    path.write_bytes(wrong)
    refused(path, tmp_path, "cannot be read")


def test_zip_names_in_other_encodings(tmp_path: Path) -> None:
    names = ["café/1.jpg", "犬/2.jpg"]
    for encoding, want in (("utf-8", ["café", "犬"]), ("shift_jis", None)):
        words = [name.encode(encoding, "replace") for name in names]
        path = make_zip(tmp_path / f"{encoding}.zip", [("x" * len(word), JPEG) for word in words])
        data = path.read_bytes()
        for word in words:  # written without the mark that says UTF-8, as some systems do
            data = data.replace(b"x" * len(word), word)
        path.write_bytes(data)
        classes = opened(path).classes
        assert len(classes) == 2 and (want is None or list(classes) == want)


@pytest.mark.parametrize("name", [b"\xff\xfe/1.jpg", b""])
def test_zip_names_that_the_library_chokes_on(tmp_path: Path, name: bytes) -> None:
    plant(tmp_path, "in/x")
    path = make_zip(tmp_path / "in" / "p.zip", [("é" * 4 if name else "x", JPEG), *((good, JPEG) for good in GOOD)])
    data = path.read_bytes()
    if name:
        data = data.replace("é".encode() * 4, name)
    else:
        at = data.index(b"PK\x01\x02")
        data = data[: at + 28] + b"\0\0" + data[at + 30 : at + 46] + data[at + 47 :]
        end = data.index(b"PK\x05\x06")
        data = data[: end + 12] + struct.pack("<I", end - at) + data[end + 16 :]
    path.write_bytes(data)
    refused(path, tmp_path, "cannot be read|is there twice|is refused")


def test_zip_members_that_differ_only_in_case(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "p.zip", [("Cat/1.jpg", JPEG), ("cat/1.jpg", JPEG + b"2")])
    if os.path.exists(str(tmp_path).swapcase()):
        refused(path, tmp_path, "one folder on a disk")
    else:
        assert listed(opened(path)) == [("Cat/1.jpg", "Cat", None), ("cat/1.jpg", "cat", None)]


@pytest.mark.parametrize("twins", [("Cat", "cat"), (unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é"))])
def test_folders_that_are_one_on_a_blind_disk(tmp_path: Path, twins: tuple[str, str]) -> None:
    # That the disk is blind is injected: this one may not be.
    writer = archive._Writer(tmp_path, "x.zip", 1, blind=True)
    writer.place(f"{twins[0]}/1.jpg", folder=False)
    writer.place(f"{twins[0]}/2.jpg", folder=False)
    with pytest.raises(DataProblem, match="are one folder on a disk"):
        writer.place(f"{twins[1]}/3.jpg", folder=False)


def test_a_damaged_stream_is_not_called_a_full_disk(tmp_path: Path) -> None:
    plant(tmp_path, "in/x")
    path = make_tar(tmp_path / "in" / "p.tar.bz2", list(GOOD), "w:bz2")
    data = bytearray(path.read_bytes())
    data[4] ^= 0xFF  # where the first block begins: the library raises a plain OSError there
    path.write_bytes(data)
    refused(path, tmp_path, "cannot be read")


def test_an_archive_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The error is injected: a test that runs as root could open the file whatever its mode.
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = make_zip(tmp_path / "p.zip", [(name, JPEG) for name in GOOD])
    monkeypatch.setattr(archive, "open", refuse, raising=False)
    with pytest.raises(DataProblem, match=r"p\.zip cannot be opened: Permission denied") as caught:
        opened(path)
    assert breaths(caught.value)


NAMES = st.text(st.sampled_from("ab/\\.:~C \0é\n"), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NAMES, st.booleans())
def test_no_name_leaves_the_folder(tmp_path: Path, name: str, folder: bool) -> None:
    inside = tmp_path / "a" / "b" / "in"
    inside.mkdir(parents=True, exist_ok=True)
    writer = archive._Writer(inside, "x.zip", 1)
    try:
        path = writer.place(name, folder=folder)
    except DataProblem:
        pass
    else:
        assert path.resolve() == Path(os.path.abspath(path)) and path.is_relative_to(inside) and ".." not in path.parts
    assert [entry.name for entry in (tmp_path / "a" / "b").iterdir()] == ["in"]
