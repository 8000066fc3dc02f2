"""One pass over a source: rows, exclusions, groups and findings."""

from __future__ import annotations

import io
import json
import os
import threading
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fieldguide.data import examine as module
from fieldguide.data.checks import Finding
from fieldguide.data.examine import Examination, examine, findings_json, require_two_classes
from fieldguide.data.images import content_hash, load
from fieldguide.data.sources import Source, SourceFile, open_source
from fieldguide.data.tables import freeze
from fieldguide.errors import DataProblem
from fieldguide.records import ManifestRow, Pixels


def picture(seed: int, format: str = "PNG", size: tuple[int, int] = (48, 40), **options: Any) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format, **options)
    return stream.getvalue()


def plant(root: Path, **files: bytes) -> Path:
    for name, data in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def folder(root: Path, files: dict[str, bytes]) -> Source:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return open_source(str(root), root.parent / "unpacked")


def by_path(examination: Examination) -> dict[str, ManifestRow]:
    return {row.path: row for row in examination.rows}


def finding(examination: Examination, code: str) -> Finding:
    return next(one for one in examination.findings if one.code == code)


def clean(count: int = 4) -> dict[str, bytes]:
    return {
        f"{label}/{number}.png": picture(100 * at + number)
        for at, label in enumerate(("cat", "dog"))
        for number in range(count)
    }


class Sink:
    """A store that remembers what it was given."""

    def __init__(self, known: tuple[tuple[str, int], ...] = ()) -> None:
        self.known, self.given, self.threads = set(known), {}, set()  # type: ignore[var-annotated]

    def has(self, key: str, at_least: int) -> bool:
        return (key, at_least) in self.known

    def add(self, key: str, at_least: int, pixels: Pixels) -> None:
        assert (key, at_least) not in self.given
        self.given[key, at_least] = pixels
        self.threads.add(threading.get_ident())


# --- rows ---------------------------------------------------------------------------------------------------------------


def test_a_clean_folder(tmp_path: Path) -> None:
    files = clean()
    source = folder(tmp_path / "pets", files)
    examination = examine(source)
    assert [row.path for row in examination.rows] == sorted(files)
    for row in examination.rows:
        data = files[row.path]
        assert row == ManifestRow(
            content_hash(data), row.path, row.path[:3], width=48, height=40, format="PNG", bytes=len(data), notes=()
        )
    assert {one.code for one in examination.findings if one.state not in ("fine", "not applicable")} == {"FG014"}
    assert finding(examination, "FG006").state == "not applicable"
    assert examination.classes == ("cat", "dog") and examination.usable == examination.rows and examination.seconds > 0


def test_threads_do_not_change_the_result(tmp_path: Path) -> None:
    files = {**clean(12), "cat/copy.png": picture(0), "dog/bad.png": b"no", "dog/half.png": picture(5)[:300]}
    source = folder(tmp_path / "pets", files)
    results = [replace(examine(source, threads=threads), seconds=0) for threads in (1, 2, 7)]
    assert results[0] == results[1] == results[2]


def test_every_bad_file_is_a_row_with_a_reason(tmp_path: Path) -> None:
    gone = SourceFile(tmp_path / "gone.jpg", "cat/gone.jpg", "cat")
    zero = SourceFile(Path(f"{tmp_path}/a\0b.jpg"), "cat/zero.jpg", "cat")
    bad = {
        "cat/empty.jpg": b"",
        "cat/half.png": picture(1)[:1000],
        "cat/page.jpg": b"<html>404</html>",
        "cat/pointer.jpg": b"version https://git-lfs.github.com/spec/v1\n",
        "cat/script.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n",
        "cat/notes": b"just text",
    }
    source = folder(tmp_path / "pets", {**clean(), **bad})
    source = replace(source, files=(*source.files, gone, zero))
    rows = by_path(examine(source))
    reasons = {name: str(rows[name].excluded).split(":")[0] for name in [*bad, gone.name, zero.name]}
    assert reasons == {
        "cat/empty.jpg": "empty file",
        "cat/half.png": "truncated",
        "cat/page.jpg": "not a picture",
        "cat/pointer.jpg": "not a picture",
        "cat/script.jpg": "format not supported",
        "cat/notes": "not a picture",
        "cat/gone.jpg": "missing file",
        "cat/zero.jpg": "unreadable file",
    }
    assert sum(row.excluded is None for row in rows.values()) == 8
    assert rows["cat/half.png"].key == content_hash(bad["cat/half.png"]) and rows["cat/half.png"].width is None
    found = finding(examine(source), "FG001")
    assert (found.state, found.count) == ("found", 8) and "3 not a picture" in found.detail
    assert any("cat/empty.jpg: empty file" in example for example in found.examples)


def test_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The error is injected: root, as whom tests often run, may read everything.
    source = folder(tmp_path / "pets", clean())
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "1.png":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    rows = by_path(examine(source))
    assert rows["cat/1.png"].excluded == rows["dog/1.png"].excluded == "unreadable file: Permission denied"


def test_file_that_vanishes_in_between(tmp_path: Path) -> None:
    source = folder(tmp_path / "pets", clean())
    (tmp_path / "pets" / "cat" / "2.png").unlink()
    assert "missing file" in str(by_path(examine(source))["cat/2.png"].excluded)


def test_huge_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(tmp_path / "pets", clean())
    with open(tmp_path / "pets" / "cat" / "3.png", "wb") as stream:
        stream.truncate((1 << 30) + 1)
    assert str(by_path(examine(source))["cat/3.png"].excluded).startswith("too large")


def test_conversions_and_lying_extensions_are_noted(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        **clean(),
        "cat/turned.jpg": picture(50, "JPEG", exif=exif),
        "dog/really.jpg": picture(51),
        "dog/odd.xyz": picture(52),
    }
    examination = examine(folder(tmp_path / "pets", files))
    rows = by_path(examination)
    assert rows["cat/turned.jpg"].notes == ("rotated by EXIF",)
    assert (rows["cat/turned.jpg"].width, rows["cat/turned.jpg"].height) == (40, 48)
    assert rows["dog/really.jpg"].notes == ("extension says jpg, content is PNG",) and rows["dog/odd.xyz"].notes == ()
    assert finding(examination, "FG002").examples == ("cat/turned.jpg",)
    assert finding(examination, "FG016").examples == ("dog/really.jpg: extension says jpg, content is PNG",)


# --- copies -------------------------------------------------------------------------------------------------------------


def test_exact_copies_leave_one(tmp_path: Path) -> None:
    files = {**clean(), "cat/z.png": picture(0), "cat/0a.png": picture(0)}
    examination = examine(folder(tmp_path / "pets", files))
    rows = by_path(examination)
    assert rows["cat/0.png"].excluded is None
    assert rows["cat/0a.png"].excluded == rows["cat/z.png"].excluded == "duplicate of cat/0.png"
    assert rows["cat/0.png"].group is None
    assert finding(examination, "FG003").count == 2
    freeze(examination.rows, examination.classes, 0)


def test_same_picture_in_two_classes_leaves_none(tmp_path: Path) -> None:
    files = {**clean(), "dog/cat.png": picture(0), "cat/again.png": picture(0)}
    examination = examine(folder(tmp_path / "pets", files))
    rows = by_path(examination)
    for name in ("cat/0.png", "dog/cat.png", "cat/again.png"):
        assert rows[name].excluded == "same picture in two classes: cat, dog"
    assert finding(examination, "FG005").count == 3 and finding(examination, "FG003").state == "fine"


def splits(*more: tuple[str, int]) -> dict[str, bytes]:
    return {
        **{
            f"{split}/{label}/{number}.png": picture(1000 * s + 100 * c + number)
            for number in range(3)
            for s, split in enumerate(("train", "val", "test"))
            for c, label in enumerate(("cat", "dog"))
        },
        **{name: picture(seed) for name, seed in more},
    }


def test_copies_across_given_splits_stay_in_the_scored_one(tmp_path: Path) -> None:
    files = splits(
        ("train/cat/leak.png", 2000), ("val/cat/leak.png", 2000), ("train/dog/leak.png", 1100), ("test/dog/twin.png", 2101)
    )
    examination = examine(folder(tmp_path / "pets", files))
    rows = by_path(examination)
    assert rows["test/cat/0.png"].excluded is None and rows["test/cat/0.png"].split == "test"
    assert rows["train/cat/leak.png"].excluded == rows["val/cat/leak.png"].excluded == "also in the test split: test/cat/0.png"
    assert rows["train/dog/leak.png"].excluded == "also in the val split: val/dog/0.png"
    assert rows["test/dog/twin.png"].excluded == "duplicate of test/dog/1.png"
    leak = finding(examination, "FG006")
    assert (leak.state, leak.count) == ("found", 3) and finding(examination, "FG003").count == 1


def test_clean_given_splits_are_fine(tmp_path: Path) -> None:
    assert finding(examine(folder(tmp_path / "pets", splits())), "FG006").state == "fine"


def test_same_pixels_in_other_files_are_grouped(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "another description"
    files = {**clean(), "cat/other.png": picture(0, compress_level=1), "cat/bitmap.bmp": picture(0, "BMP")}
    files |= {
        "dog/plain.jpg": picture(7, "JPEG"),
        "dog/tagged.jpg": picture(7, "JPEG", exif=exif),
        "dog/alone.jpg": picture(8, "JPEG"),
    }
    examination = examine(folder(tmp_path / "pets", files))
    rows = by_path(examination)
    assert not any(row.excluded for row in rows.values())
    cats = {rows[name].group for name in ("cat/0.png", "cat/other.png", "cat/bitmap.bmp")}
    dogs = {rows[name].group for name in ("dog/plain.jpg", "dog/tagged.jpg")}
    assert len(cats) == len(dogs) == 1 and cats != dogs and None not in cats | dogs
    assert {row.group for name, row in rows.items() if name not in {"cat/0.png", "cat/other.png", "cat/bitmap.bmp"}} == {
        None,
        *dogs,
    }
    assert rows["dog/alone.jpg"].group is None
    found = finding(examination, "FG003")
    assert (found.state, found.count) == ("found", 3)


def test_same_pixels_across_given_splits_leave_the_training_side(tmp_path: Path) -> None:
    files = {**splits(), "train/cat/recoded.bmp": picture(2000, "BMP"), "train/cat/twice.bmp": picture(1, "BMP")}
    rows = by_path(examine(folder(tmp_path / "pets", files)))
    assert rows["train/cat/recoded.bmp"].excluded == "also in the test split: test/cat/0.png"
    assert rows["train/cat/twice.bmp"].excluded is None and rows["train/cat/twice.bmp"].group is not None


def test_same_pixels_with_two_labels_are_shown(tmp_path: Path) -> None:
    files = {**clean(), "dog/recoded.bmp": picture(0, "BMP")}
    found = finding(examine(folder(tmp_path / "pets", files)), "FG005")
    assert (found.state, found.examples) == ("found", ("cat/0.png (cat) = dog/recoded.bmp (dog)",))


def test_groups_of_the_user_are_joined_by_copies(tmp_path: Path) -> None:
    data = {"1.png": 1, "2.png": 2, "3.png": 3, "4.png": 4, "5.png": 5, "6.png": 6, "7.png": 7}
    plant(tmp_path, **{name: picture(seed) for name, seed in data.items()})
    plant(tmp_path, **{"copy2.png": picture(2), "recoded4.bmp": picture(4, "BMP"), "recoded7.bmp": picture(7, "BMP")})
    rows = ["1,a,B", "2,a,B", "3,b,C", "copy2,a,C", "4,b,D", "5,b,E", "6,a,", "7,a,"]
    names = [row if "." in row else row.replace(",", ".png,", 1) for row in rows]
    names += ["recoded4.bmp,b,E", "recoded7.bmp,a,"]
    (tmp_path / "t.csv").write_text("path,label,group\n" + "\n".join(names) + "\n", encoding="utf-8")
    found = by_path(examine(open_source(str(tmp_path / "t.csv"), tmp_path)))
    groups = {name: row.group for name, row in found.items()}
    assert groups["1.png"] == groups["2.png"] == groups["3.png"] == groups["copy2.png"] == "B"
    assert groups["4.png"] == groups["5.png"] == groups["recoded4.bmp"] == "D"
    assert groups["6.png"] is None and groups["7.png"] == groups["recoded7.bmp"] and groups["7.png"] not in (None, "B", "D")
    assert found["copy2.png"].excluded == "duplicate of 2.png"


def test_groups_across_given_splits_are_found(tmp_path: Path) -> None:
    plant(tmp_path, **{f"{number}.png": picture(number) for number in range(4)})
    (tmp_path / "t.csv").write_text(
        "path,label,split,group\n0.png,a,train,g\n1.png,b,test,g\n2.png,a,test,h\n3.png,b,train,\n", encoding="utf-8"
    )
    found = finding(examine(open_source(str(tmp_path / "t.csv"), tmp_path)), "FG006")
    assert (found.state, found.examples) == ("found", ("group g: test, train",))


# --- other findings -----------------------------------------------------------------------------------------------------


def test_counts_sizes_and_names(tmp_path: Path) -> None:
    files = {f"cat/{number}.png": picture(number) for number in range(9)}
    files |= {f"Cat/{number}.png": picture(20 + number) for number in range(3)}
    files |= {"rare bird/1.png": picture(31), "rare_bird/1.png": picture(32), "rare_bird/2.png": picture(33, size=(31, 90))}
    files |= {"broken/1.png": b"x", "notes.txt": b"hi", unicodedata.normalize("NFD", "é") + "/1.png": picture(40)}
    source = folder(tmp_path / "pets", files)
    (tmp_path / "pets" / "void").mkdir()
    examination = examine(open_source(source.origin, tmp_path))
    imbalance, small = finding(examination, "FG009"), finding(examination, "FG008")
    assert imbalance.state == "found" and "9.0 times" in imbalance.detail and "Cat" in imbalance.examples
    assert small.examples == ("broken: 0", "rare bird: 1", "rare_bird: 2", "é: 1", "void: 0")
    assert finding(examination, "FG010").examples == ("rare_bird/2.png: 31 x 90",)
    names = finding(examination, "FG013")
    assert set(names.examples[:2]) == {"Cat = cat", "rare bird = rare_bird"} and names.count == 3
    assert "notes.txt: not a picture by its extension" in finding(examination, "FG017").examples


def test_fewer_than_two_usable_classes(tmp_path: Path) -> None:
    source = folder(
        tmp_path / "pets", {"cat/1.png": picture(1), "cat/2.png": picture(2), "dog/1.png": b"", "dog/2.png": b"<html>"}
    )
    examination = examine(source)
    assert finding(examination, "FG009").state == "not applicable"
    with pytest.raises(DataProblem, match="empty file"):
        require_two_classes(examination, source)
    fine = folder(tmp_path / "more", clean())
    require_two_classes(examine(fine), fine)


def test_findings_json(tmp_path: Path) -> None:
    source = folder(tmp_path / "pets", {**clean(), "cat/bad.png": b"", "labels.csv": b""})
    value = findings_json(examine(source), source)
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert value["schema"] == 1 and value["ignored"] == [["labels.csv", "not a picture by its extension"]]
    codes = [one["code"] for one in value["findings"]]
    assert len(codes) == len(set(codes)) == 18
    first = value["findings"][0]
    assert first == {
        "code": "FG001",
        "state": "found",
        "title": "Files that cannot be read",
        "count": 1,
        "detail": "Excluded: 1 empty file.",
        "examples": ["cat/bad.png: empty file: the file has no bytes"],
    }


# --- store, progress, memory --------------------------------------------------------------------------------------------


def test_store_gets_canonical_pixels_of_what_it_lacks(tmp_path: Path) -> None:
    files = {**clean(3), "cat/copy.png": picture(0), "dog/big.jpg": picture(9, "JPEG", size=(400, 300)), "dog/bad.png": b"x"}
    source = folder(tmp_path / "pets", files)
    known = content_hash(files["cat/1.png"])
    sink = Sink(known=((known, 32),))
    examination = examine(source, store=sink, sizes=(128, 20, 32), threads=3)
    keys = {row.key for row in examination.rows if row.width is not None}
    assert set(sink.given) == {(key, size) for key in keys for size in (32, 128)} - {(known, 32)}
    for name in ("cat/0.png", "dog/big.jpg"):
        for size in (32, 128):
            assert np.array_equal(sink.given[content_hash(files[name]), size], load(files[name], size).pixels)
    assert sink.threads == {threading.get_ident()}
    assert [(row.path, row.excluded) for row in examine(source).rows] == [(row.path, row.excluded) for row in examination.rows]


def test_a_full_disk_stops_the_pass(tmp_path: Path) -> None:
    class Full(Sink):
        def add(self, key: str, at_least: int, pixels: Pixels) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        examine(folder(tmp_path / "pets", clean(20)), store=Full(), sizes=(32,))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("examine")]


def test_progress_counts_every_file(tmp_path: Path) -> None:
    steps: list[tuple[str, int]] = []

    class Counting:
        @contextmanager
        def bar(self, what: str, total: int) -> Iterator[Any]:
            steps.append((what, total))
            yield self

        def advance(self, count: int = 1, note: str = "") -> None:
            steps.append(("step", count))

    examine(folder(tmp_path / "pets", {**clean(), "cat/bad.png": b""}), progress=Counting())
    assert steps[:10] == [("examining pictures", 9), *[("step", 1)] * 9]
    what, total = steps[10]
    assert what == "finding near duplicates" and steps[11:] == [("step", 1)] * total


def test_few_files_are_in_memory_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started, finished, ahead = [0], [0], [0]
    look = module._look

    def counted(*arguments: Any) -> Any:
        started[0] += 1
        ahead[0] = max(ahead[0], started[0] - finished[0])
        return look(*arguments)

    class Slow:
        @contextmanager
        def bar(self, what: str, total: int) -> Iterator[Any]:
            yield self

        def advance(self, count: int = 1, note: str = "") -> None:
            finished[0] += 1
            time.sleep(0.002)

    monkeypatch.setattr(module, "_look", counted)
    examine(folder(tmp_path / "pets", clean(30)), progress=Slow(), threads=2)
    assert started[0] == 60 and 2 <= ahead[0] <= module.IN_FLIGHT * 2 + 1


# --- real pictures ------------------------------------------------------------------------------------------------------


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "pictures", "classes"),
    [
        ("pets370", 370, 37),
        ("animals10", 320, 10),
        pytest.param("cub100/images", 5902, 100, marks=pytest.mark.slow(keep=0)),
        ("mnist500", 500, 10),
    ],
)
def test_real_pictures_are_all_readable(name: str, pictures: int, classes: int, tmp_path: Path) -> None:
    root = os.environ.get("FIELDGUIDE_DATA")
    if not root:
        pytest.skip("FIELDGUIDE_DATA is not set: it names the folder that holds the real data sets")
    source = open_source(str(Path(root) / name), tmp_path)
    examination = examine(source)
    assert (len(examination.rows), len(examination.classes)) == (pictures, classes)
    assert finding(examination, "FG001").state == "fine"
