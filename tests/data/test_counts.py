"""Where counts come from: lists for detection, and tables; nothing is guessed and no picture vanishes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PIL

from fieldguide.data.examine import examine
from fieldguide.data.sources import Source, open_counts
from fieldguide.data.sources.coco_counts import Unusable, classes_of, count_list
from fieldguide.data.tables import freeze, read_manifest, write_manifest
from fieldguide.errors import DataProblem, UsageProblem
from fieldguide.records import Box, ManifestRow

JPEG = b"\xff\xd8\xff\xe0 not decoded here"
CATEGORIES = [
    {"id": 0, "name": "coins", "supercategory": "none"},
    {"id": 1, "name": "penny", "supercategory": "coins"},
    {"id": 7, "name": "dime", "supercategory": "coins"},
]


def thing(image: Any, category: Any, *box: float, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": list(box or (1, 2, 3, 4)), "iscrowd": 0, **more}


def write(root: Path, split: str, images: Any, things: Any, categories: Any = CATEGORIES, plant: bool = True) -> Path:
    folder = root / split
    folder.mkdir(parents=True, exist_ok=True)
    for image in images if plant else ():
        (folder / str(image["file_name"])).write_bytes(JPEG)
    content = {"images": images, "annotations": things, "categories": categories}
    (folder / "_annotations.coco.json").write_text(json.dumps(content), encoding="utf-8")
    return root


def image(id: Any, name: str) -> dict[str, Any]:
    return {"id": id, "file_name": name, "width": 10, "height": 10}


def counts(source: Source) -> dict[str, dict[str, int]]:
    return {file.name: dict(file.counts or ()) for file in source.files}


def test_a_real_layout(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        write(
            tmp_path / "s", split, [image(0, "a.jpg"), image(1, "b.jpg")], [thing(0, 7), thing(0, 1), thing(0, 7, 5, 5, 2, 2)]
        )
    (tmp_path / "s" / "test" / "extra.jpg").write_bytes(JPEG)
    (tmp_path / "s" / "train" / "b.jpg").unlink()
    source = open_counts(str(tmp_path / "s"), tmp_path)
    assert source.kind == "coco" and source.counted == ("penny", "dime") and source.classes == ()
    assert [(file.name, file.split, file.counts) for file in source.files] == [
        (f"{folder}/{name}", split, known)
        for folder, split in (("test", "test"), ("train", "train"), ("valid", "val"))
        for name, known in (("a.jpg", (("penny", 1), ("dime", 2))), ("b.jpg", ()))
    ]
    assert source.files[0].boxes == (Box("dime", 1, 2, 3, 4), Box("penny", 1, 2, 3, 4), Box("dime", 5, 5, 2, 2))
    assert ("test/extra.jpg", "in no list") in source.ignored
    assert not source.files[3].path.exists()  # listed and missing: it stays, and is found missing when it is read
    assert any("no class: coins" in note for note in source.notes)


def test_a_parent_that_has_boxes_is_a_class_and_one_without_boxes_stays(tmp_path: Path) -> None:
    write(tmp_path / "s", "train", [image(0, "a.jpg")], [thing(0, 0)], [*CATEGORIES, {"id": 9, "name": "never"}])
    assert open_counts(str(tmp_path / "s"), tmp_path).counted == ("coins", "penny", "dime", "never")


def test_classes_are_joined_by_name_and_splits_may_number_them_otherwise(tmp_path: Path) -> None:
    write(tmp_path / "s", "train", [image(0, "a.jpg")], [thing(0, 7)])
    turned = [{"id": 1, "name": "dime"}, {"id": 2, "name": "  penny "}]
    write(tmp_path / "s", "test", [image("x", "b.jpg")], [thing("x", 1), thing("x", 2), thing("x", 2, 9, 9, 1, 1)], turned)
    source = open_counts(str(tmp_path / "s"), tmp_path)
    assert source.counted == ("penny", "dime")
    assert counts(source) == {"test/b.jpg": {"penny": 2, "dime": 1}, "train/a.jpg": {"dime": 1}}


@pytest.mark.parametrize(
    ("images", "things", "why"),
    [
        ([image(None, "a.jpg")], [], "has no id"),
        ([{"file_name": "a.jpg"}], [], "has no id"),
        ([image(True, "a.jpg")], [], "has no id"),
        ([image([1], "a.jpg")], [], "has no id"),
        ([image(1, "a.jpg"), image(1, "z.jpg")], [thing(1, 7)], "shares its id"),
        ([image(1, "a.jpg")], [thing(1, 99)], "annotation 1 of it is of no category"),
        ([image(1, "a.jpg")], [thing(1, 7), thing(1, None)], "annotation 2 of it is of no category"),
        ([image(1, "a.jpg")], [thing(1, {"id": 7})], "of no category"),
        ([image(1, "a.jpg")], [thing(1, 7, iscrowd=1)], "a crowd of dime"),
        ([image(1, "a.jpg"), image(2, "a.jpg")], [thing(1, 7)], "listed twice, with different counts"),
    ],
)
def test_a_picture_whose_counts_are_not_known_is_told_and_takes_no_part(
    tmp_path: Path, images: Any, things: Any, why: str
) -> None:
    good = image("good", "good.jpg")
    root = write(tmp_path / "s", "train", [*images, good], [*things, thing("good", 7)])
    source = open_counts(str(root), tmp_path)
    assert counts(source) == {"train/good.jpg": {"dime": 1}}
    [reason] = {reason for name, reason in source.ignored if name == "train/a.jpg"}
    assert why in reason and reason.endswith("its counts are not known")


@pytest.mark.parametrize(
    "box", [[1, 2, -3, 4], [1, 2, 0, 4], [1, 2, 3], None, "1234", [1, 2, float("nan"), 4], [1, 2, 10**400, 4]]
)
def test_a_box_that_cannot_be_drawn_is_counted_all_the_same(tmp_path: Path, box: Any) -> None:
    source = open_counts(str(write(tmp_path / "s", "train", [image(1, "a.jpg")], [{**thing(1, 7), "bbox": box}])), tmp_path)
    assert counts(source) == {"train/a.jpg": {"dime": 1}} and source.files[0].boxes == ()
    assert any("1 annotations have no box" in note for note in source.notes)


def test_what_is_listed_twice_under_its_id_counts_once_and_a_second_box_counts(tmp_path: Path) -> None:
    once = thing(1, 7, id=5)
    source = open_counts(
        str(
            write(tmp_path / "s", "train", [image(1, "a.jpg")], [once, once, thing(1, 7, id=6), thing(1, 7, 9, 9, 9, 9, id=5)])
        ),
        tmp_path,
    )
    assert counts(source) == {"train/a.jpg": {"dime": 3}}
    assert any("1 annotations repeat the box" in note for note in source.notes)
    strays = [thing(8, 7), thing(None, 7), 3, None, "x"]
    source = open_counts(str(write(tmp_path / "t", "train", [image(1, "a.jpg")], strays)), tmp_path)
    assert counts(source) == {"train/a.jpg": {}} and any("5 annotations are of no picture" in note for note in source.notes)


@pytest.mark.parametrize(
    ("things", "categories", "why"),
    [
        ({}, CATEGORIES, "no list called annotations"),
        ([], None, "no list called categories"),
        ([], [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "have one id"),
        ([], [], "no list has a category"),
        ([], [7, {"id": 1}, {"id": 2, "name": " "}, {"id": [1], "name": "a"}], "no list has a category"),
    ],
)
def test_lists_that_count_nothing_are_refused(tmp_path: Path, things: Any, categories: Any, why: str) -> None:
    with pytest.raises(DataProblem, match="cannot be used") as caught:
        open_counts(str(write(tmp_path / "s", "train", [image(1, "a.jpg")], things, categories)), tmp_path)
    assert why in caught.value.given


_LEAF = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["", "a", "1", "penny"]) | st.just(10**30)
)
_ANY = st.recursive(
    _LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "name"]), inner), max_leaves=6
)
_IMAGE = st.fixed_dictionaries({}, optional={"id": _ANY, "file_name": _ANY})
_CATEGORY = st.fixed_dictionaries({}, optional={"id": _ANY, "name": _ANY, "supercategory": _ANY})
_THING = st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "image_id", "category_id", "bbox", "iscrowd"), _ANY))


@settings(max_examples=150)
@given(
    _ANY | st.lists(_IMAGE | _ANY, max_size=4),
    _ANY | st.lists(_CATEGORY | _ANY, max_size=4),
    _ANY | st.lists(_THING | _ANY, max_size=6),
)
def test_no_list_of_a_stranger_breaks_the_reader(images: Any, categories: Any, things: Any) -> None:
    try:
        found = count_list({"images": images, "categories": categories, "annotations": things})
    except Unusable:
        return
    classes, parents = classes_of([found])
    assert not set(classes) & set(parents)
    for picture in found.pictures.values():
        assert picture.why is not None or set(picture.counts) <= set(classes)
        assert all(0 < box.width < 1e7 and 0 < box.height < 1e7 for box in picture.boxes)


def test_variants_of_one_photo_are_one_group(tmp_path: Path) -> None:
    names = [f"{stem}_jpg.rf.{number:032x}.jpg" for stem in ("a", "b") for number in range(2)] + ["c_jpg.rf.0f.jpg", "d.jpg"]
    root = write(tmp_path / "s", "train", [image(at, name) for at, name in enumerate(names)], [thing(0, 7)])
    groups = [file.group for file in open_counts(str(root), tmp_path).files]
    assert groups[0] == groups[1] != groups[2] == groups[3] and groups[4:] == [None, None]


def test_only_the_classes_that_are_asked_for(tmp_path: Path) -> None:
    root = write(tmp_path / "s", "train", [image(1, "a.jpg")], [thing(1, 7), thing(1, 1)])
    source = open_counts(str(root), tmp_path, ("dime",))
    assert source.counted == ("dime",) and counts(source) == {"train/a.jpg": {"dime": 1}}
    assert [box.label for box in source.files[0].boxes] == ["dime"]
    with pytest.raises(UsageProblem, match="no class 'dimes'") as caught:
        open_counts(str(root), tmp_path, ("dimes",))
    assert "Did you mean dime" in caught.value.allowed


def table(tmp_path: Path, text: str, *wanted: str) -> Source:
    path = tmp_path / "counts.csv"
    path.write_text(text, encoding="utf-8")
    return open_counts(str(path), tmp_path, wanted)


def test_a_column_for_each_class(tmp_path: Path) -> None:
    source = table(tmp_path, "split,file_name,cat,dog,note\ntrain,a.jpg,2,0,x\ntest,b.jpg,0,0,y\ntest,c.jpg,1,,z\n")
    assert source.counted == ("cat", "dog") and counts(source) == {"a.jpg": {"cat": 2}, "b.jpg": {}}
    assert [file.split for file in source.files] == ["train", "test"]
    assert source.ignored == (("c.jpg", "no count of dog in row 3: its counts are not known"),)
    assert table(tmp_path, "image,cat,total\na.jpg,2,7\nb.jpg,1,8\n", "cat").counted == ("cat",)


def test_whole_numbers_may_be_written_as_tables_with_empty_cells_write_them(tmp_path: Path) -> None:
    source = table(tmp_path, "image,cat,dog\na.jpg,2.0,10.0\nb.jpg,,1.0\nc.jpg,0.00,3.0\n")
    assert counts(source) == {"a.jpg": {"cat": 2, "dog": 10}, "c.jpg": {"dog": 3}}
    assert [picture for picture, _ in source.ignored] == ["b.jpg"]


def test_a_row_for_each_picture_and_class(tmp_path: Path) -> None:
    source = table(tmp_path, "image,label,count\na.jpg,cat,2\na.jpg,dog,1\nb.jpg,,0\nc.jpg,dog,0\n")
    assert source.counted == ("cat", "dog")
    assert counts(source) == {"a.jpg": {"cat": 2, "dog": 1}, "b.jpg": {}, "c.jpg": {}}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("image,cat\na.jpg,-1\n", "Row 1 has '-1'"),
        ("image,cat\na.jpg,1\nb.jpg,2\nc.jpg,3.5\n", "Row 3 has '3.5'"),
        ("image,cat\na.jpg,1\nb.jpg,2\nc.jpg,many\n", "Row 3 has 'many'"),
        ("image,cat\na.jpg,99999999999999999999\n", "Row 1 has"),
        ("image,cat\na.jpg,1\na.jpg,2\n", "Row 2 counts otherwise"),
        ("image,cat,split\na.jpg,1,test\na.jpg,1,train\n", "another split"),
        ("image,note\na.jpg,x\n", "counts nothing"),
        ("image,label,count\na.jpg,cat,1\na.jpg,cat,1\n", "a second time"),
        ("image,label,count\na.jpg,cat,\n", "no count"),
        ("image,label,count\na.jpg,,2\n", "counts 2 of nothing"),
    ],
)
def test_what_is_no_count_is_named(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(DataProblem) as caught:
        table(tmp_path, text)
    assert why in caught.value.given


def test_what_holds_no_counts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(UsageProblem, match="says of no picture"):
        open_counts(str(tmp_path), tmp_path)
    with pytest.raises(UsageProblem, match="does not exist"):
        open_counts(str(tmp_path / "gone"), tmp_path)


def test_a_list_of_counts_is_read_back_and_one_of_classes_is_what_it_was(tmp_path: Path) -> None:
    row = ManifestRow("k", "a.jpg", "", "train", counts=(("cat", 2),), boxes=(Box("cat", 1, 2, 3, 4),))
    bare = ManifestRow("l", "b.jpg", "", excluded="truncated")
    manifest = freeze([row, bare], ("cat", "dog"), 1, "count")
    write_manifest(tmp_path / "manifest.parquet", manifest)
    assert read_manifest(tmp_path / "manifest.parquet") == manifest
    other = ManifestRow("k", "a.jpg", "", "train", counts=(("cat", 3),))
    assert freeze([other, bare], ("cat", "dog"), 1, "count").hash != manifest.hash
    # Of a study of classes nothing has changed: neither its columns nor its hash.
    plain = freeze([ManifestRow("k", "a.jpg", "cat", "train")], ("cat", "dog"), 1)
    write_manifest(tmp_path / "plain.parquet", plain)
    assert read_manifest(tmp_path / "plain.parquet") == plain and plain.task == "classify"
    assert plain.hash == "fe7543d3f178231281b68a7901a6e38ffb1ab2e275f4b20b415fe6123043f534"


def test_one_picture_with_two_counts_takes_no_part_and_a_copy_counts_once(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2), ("d", 2), ("e", 3)):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        PIL.fromarray(pixels).save(tmp_path / f"{name}.png")
    source = table(tmp_path, "image,cat\na.png,1\nb.png,2\nc.png,3\nd.png,3\ne.png,0\n")
    reasons = {row.path: row.excluded for row in examine(source).rows}
    assert (
        str(reasons["a.png"]).startswith("same picture with two counts: 1 cat; 2 cat") and reasons["a.png"] == reasons["b.png"]
    )
    [finding] = [finding for finding in examine(source).findings if finding.code == "FG005"]
    assert finding.state == "found" and finding.count == 2
    assert reasons["c.png"] is None and reasons["d.png"] == "duplicate of c.png" and reasons["e.png"] is None


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "classes", "things", "pictures"),
    [
        ("coins_coco", ("1c", "2c", "5c", "10c", "20c", "50c", "1e", "2e"), 2792, 85),
        ("blood_cells_coco", ("rbc", "wbc"), 5638, 240),
    ],
)
def test_real_sets(data_root: Path, tmp_path: Path, name: str, classes: tuple[str, ...], things: int, pictures: int) -> None:
    source = open_counts(str(data_root / name), tmp_path)
    assert source.counted == classes and len(source.files) == pictures
    assert sum(count for file in source.files for _, count in file.counts or ()) == things
    assert sum(len(file.boxes) for file in source.files) in (things, things - 2)


@pytest.mark.realdata
def test_a_real_table_says_what_the_boxes_say(data_root: Path, tmp_path: Path) -> None:
    boxes = open_counts(str(data_root / "coins_coco"), tmp_path)
    rows = open_counts(str(data_root / "coins_coco" / "counts.csv"), tmp_path, boxes.counted)
    assert counts(rows) == counts(boxes)
    assert {"coins", "total_cents"} <= set(open_counts(str(data_root / "coins_coco" / "counts.csv"), tmp_path).counted)
