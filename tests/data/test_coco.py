"""Pictures without classes: sets for detection or counting, and loose pictures. They can be looked at and not compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fieldguide.data.sources import Source, coco, open_source
from fieldguide.errors import DATA, DataProblem, UsageProblem

JPEG = b"\xff\xd8\xff\xe0 not decoded here"


def plant(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG)
    return root


def write_list(path: Path, *names: Any) -> Path:
    images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": []}), encoding="utf-8")
    return path


def seen(where: Path) -> Source:
    return open_source(str(where), where.parent / "unpacked", labelled=False)


def listed(source: Source) -> list[tuple[str, str | None]]:
    assert {file.label for file in source.files} == {""}
    assert source.classes == ()
    return [(file.name, file.split) for file in source.files]


def test_lists_at_the_top_name_splits_and_pictures(tmp_path: Path) -> None:
    root = plant(tmp_path / "coins", "train/1.jpg", "train/2.jpg", "test/3.jpg", "test/left_out.jpg", "notes.txt")
    write_list(root / "coins_train.coco.json", "train/1.jpg", "./train\\2.jpg", "train/gone.jpg")
    write_list(root / "Test.COCO.json", "test/3.jpg")
    source = seen(root)
    assert source.kind == "coco"
    assert listed(source) == [
        ("test/3.jpg", "test"),
        ("train/1.jpg", "train"),
        ("train/2.jpg", "train"),
        ("train/gone.jpg", "train"),
    ]
    assert [file.path.exists() for file in source.files] == [True, True, True, False]
    reasons = dict(source.ignored)
    assert reasons["test/left_out.jpg"] == "in no list"
    assert reasons["Test.COCO.json"] == "the list of pictures"
    assert reasons["notes.txt"] == "not a picture by its extension"
    assert "coins_train.coco.json lists 3 pictures" in " ".join(source.notes)


def test_a_list_in_each_split_folder(tmp_path: Path) -> None:
    root = tmp_path / "cells"
    for split in ("train", "valid", "test"):
        plant(root, f"{split}/a {split}.jpg")
        write_list(root / split / "_annotations.coco.json", f"a {split}.jpg")
    assert listed(seen(root)) == [("test/a test.jpg", "test"), ("train/a train.jpg", "train"), ("valid/a valid.jpg", "val")]


def test_names_below_a_folder_named_like_the_list(tmp_path: Path) -> None:
    root = plant(tmp_path / "p", "train/1.jpg", "images/2.jpg")
    write_list(root / "train.coco.json", "1.jpg")
    write_list(root / "all.coco.json", "images/2.jpg")
    with pytest.raises(DataProblem, match="detection or counting"):  # two folders, which are no classes
        open_source(str(root), tmp_path)
    assert listed(seen(root)) == [("images/2.jpg", None), ("train/1.jpg", "train")]


def test_a_picture_in_two_lists_is_in_both_splits_and_twice_in_one_list_is_told(tmp_path: Path) -> None:
    root = plant(tmp_path / "p", "1.jpg")
    write_list(root / "train.coco.json", "1.jpg", "./1.jpg")
    write_list(root / "test.coco.json", "1.jpg")
    source = seen(root)
    assert sorted(listed(source)) == [("1.jpg", "test"), ("1.jpg", "train")]
    assert ("train.coco.json, picture 2", "names the same picture as picture 1") in source.ignored


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../secret.jpg", "leads out"),
        ("a/../../secret.jpg", "leads out"),
        ("..\\secret.jpg", "leads out"),
        ("{outside}/secret.jpg", "leads out"),
        ("C:\\secret.jpg", "leads out"),
        ("\\\\server\\secret.jpg", "leads out"),
        ("link.jpg", "link that leaves"),
        ("away/secret.jpg", "link that leaves"),
        ("zero\0byte.jpg", "no file can have"),
        ("half \ud800.jpg", "no file can have"),
        ("./.", "no file can have"),
        ("   ", "names no file"),
        (7, "names no file"),
        (None, "names no file"),
        (["1.jpg"], "names no file"),
    ],
)
def test_no_name_leads_out(tmp_path: Path, name: Any, why: str) -> None:
    outside = plant(tmp_path / "outside", "secret.jpg")
    root = plant(tmp_path / "p", "1.jpg")
    (root / "link.jpg").symlink_to(outside / "secret.jpg")
    (root / "away").symlink_to(outside)
    write_list(root / "x.coco.json", "1.jpg", name.format(outside=outside) if isinstance(name, str) else name)
    source = seen(root)
    assert listed(source) == [("1.jpg", None)]
    [reason] = [reason for named, reason in source.ignored if named.startswith("x.coco.json") and named != "x.coco.json"]
    assert why in reason
    json.dumps([source.ignored, source.notes]).encode("utf-8")
    assert all(file.path.resolve().is_relative_to(root.resolve()) for file in source.files)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe\x00", ""),
        (b'{"images": [', "Expecting value"),
        (b"[" * 100_000, "recursion"),
        (b"[1, 2]", "no list called images"),
        (b'{"images": {"file_name": "1.jpg"}}', "no list called images"),
        (b'{"images": []}', "names no picture"),
        (b'{"images": [1, {"id": 3}]}', "names no picture"),
        (b'{"images": ' + b"1" * 5000 + b"}", ""),
        (b" " * 2_000, "more than 0 MB"),
    ],
)
def test_damaged_lists_are_named(tmp_path: Path, content: bytes, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if content.isspace():
        monkeypatch.setattr(coco, "MOST_JSON", 1_000)
    root = plant(tmp_path / "p", "1.jpg")
    (root / "x.coco.json").write_bytes(content)
    with pytest.raises(DataProblem, match=r"x\.coco\.json cannot be used") as caught:
        seen(root)
    assert caught.value.code == DATA and why in caught.value.given


def test_lists_are_not_followed_out_of_the_folder(tmp_path: Path) -> None:
    root = plant(tmp_path / "p", "1.jpg")
    (root / "x.coco.json").symlink_to(write_list(tmp_path / "outside" / "y.coco.json", "1.jpg"))
    plant(tmp_path / "outside", "2.jpg")
    (root / "train").symlink_to(tmp_path / "outside")
    source = seen(root)
    assert source.kind == "pictures" and listed(source) == [("1.jpg", None)]


def test_a_set_for_detection_is_not_compared(tmp_path: Path) -> None:
    root = plant(tmp_path / "cells", "train/1.jpg", "test/2.jpg")
    write_list(root / "train" / "_annotations.coco.json", "1.jpg")
    with pytest.raises(DataProblem, match="set for detection or counting") as caught:
        open_source(str(root), tmp_path)
    assert "path,label" in caught.value.allowed and "fieldguide look" in caught.value.next
    with pytest.raises(UsageProblem, match="Give the folder that holds the list"):
        open_source(str(root / "train" / "_annotations.coco.json"), tmp_path, labelled=False)


def test_class_folders_come_before_lists(tmp_path: Path) -> None:
    root = plant(tmp_path / "pets", "cat/1.jpg", "dog/2.jpg")
    write_list(root / "boxes.coco.json", "cat/1.jpg")
    for labelled in (True, False):
        source = open_source(str(root), tmp_path, labelled=labelled)
        assert source.kind == "folder" and source.classes == ("cat", "dog")
        assert source.notes[-1].startswith("boxes.coco.json is a list for detection")


def test_loose_pictures(tmp_path: Path) -> None:
    root = plant(tmp_path / "p", "1.jpg", "2", "read.txt", ".hidden.jpg")
    (root / "empty").mkdir()
    source = seen(root)
    assert source.kind == "pictures" and listed(source) == [("1.jpg", None), ("2", None)]
    assert dict(source.ignored) == {
        "read.txt": "not a picture by its extension",
        ".hidden.jpg": "hidden",
        "empty": "folder without pictures",
    }
    assert "no class" in source.notes[0]


def test_loose_pictures_in_split_folders(tmp_path: Path) -> None:
    root = plant(tmp_path / "p", "train/1.jpg", "valid/2.jpg", "3.jpg")
    assert listed(seen(root)) == [("3.jpg", None), ("train/1.jpg", "train"), ("valid/2.jpg", "val")]
    plant(root, "test/4.jpg", "test/cat/5.jpg")
    with pytest.raises(DataProblem, match="loose pictures and no class folders"):
        seen(root)


@pytest.mark.parametrize("names", [(), ("cat/1.jpg",), ("notes.txt",), ("data/cat/1.jpg", "data/dog/2.jpg")])
def test_what_has_no_loose_pictures_is_refused_as_before(tmp_path: Path, names: tuple[str, ...]) -> None:
    root = plant(tmp_path / "p", *names)
    root.mkdir(exist_ok=True)
    problems = []
    for labelled in (True, False):
        with pytest.raises(DataProblem) as caught:
            open_source(str(root), tmp_path, labelled=labelled)
        problems.append(str(caught.value))
    assert problems[0] == problems[1]


def test_an_archive_of_such_pictures(tmp_path: Path) -> None:
    import shutil

    root = plant(tmp_path / "p", "train/1.jpg", "test/2.jpg")
    write_list(root / "train.coco.json", "train/1.jpg")
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", root)
    source = open_source(packed, tmp_path / "to", labelled=False)
    assert source.kind == "coco" and listed(source) == [("train/1.jpg", "train")]
    assert ("test/2.jpg", "in no list") in source.ignored


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "splits"), [("coins_coco", {"train": 39, "test": 46}), ("blood_cells_coco", {"train": 210, "val": 20, "test": 10})]
)
def test_real_sets(data_root: Path, tmp_path: Path, name: str, splits: dict[str, int]) -> None:
    source = open_source(str(data_root / name), tmp_path, labelled=False)
    found = listed(source)
    assert {split: sum(one == split for _, one in found) for split in splits} == splits and len(found) == sum(splits.values())
    assert all(file.path.exists() for file in source.files)
    assert "in no list" not in {reason for named, reason in source.ignored if named.endswith(".jpg")}
    with pytest.raises(DataProblem, match="detection or counting"):
        open_source(str(data_root / name), tmp_path)
