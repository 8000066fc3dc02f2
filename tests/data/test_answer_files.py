"""Answers from anywhere: found by path, by its end or by content; strict where a row could be read two ways."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldguide.data.answer_files import read_answers, read_table
from fieldguide.data.tables import freeze
from fieldguide.errors import DataProblem, UsageProblem
from fieldguide.records import ManifestRow, Prediction

MANIFEST = freeze(
    [
        ManifestRow("key1", "cat/1.png", "cat", "test"),
        ManifestRow("key2", "cat/2.png", "cat", "test"),
        ManifestRow("key3", "dog/1.png", "dog", "test"),
        ManifestRow("key4", "dog/cafe\u0301.png", "dog", "test"),
    ],
    ["cat", "dog"],
    42,
)


def written(folder: Path, text: str, name: str = "answers.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(
    ("named", "key"),
    [
        ("cat/1.png", "key1"),
        ("./cat/1.png", "key1"),
        ("cat\\1.png", "key1"),
        ("2.png", "key2"),
        ("key3", "key3"),
        ("dog/caf\u00e9.png", "key4"),
        ("caf\u00e9.png", "key4"),
        ("cafe\u0301.png", "key4"),
    ],
)
@pytest.mark.parametrize("column", ["path", "image", "file", "filename", "file_name", "key"])
def test_a_picture_is_found_by_path_end_or_content(tmp_path: Path, named: str, key: str, column: str) -> None:
    found = read_answers(written(tmp_path, f"{column},answer\n{named},a dog?\n"), MANIFEST)
    assert found == {key: Prediction(key, raw="a dog?")}


def test_a_name_that_two_pictures_share_is_nobodys_and_strangers_are_left_out(tmp_path: Path) -> None:
    found = read_answers(written(tmp_path, "image,raw\n1.png,cat\nother/2.png,cat\n2.png,dog\n,cat\n"), MANIFEST)
    assert found == {"key2": Prediction("key2", raw="dog")}


def test_names_that_differ_only_in_how_accents_are_coded_are_two(tmp_path: Path) -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    rows = [ManifestRow("one", f"cat/{composed}.png", "cat"), ManifestRow("two", f"cat/{apart}.png", "cat")]
    rows += [ManifestRow("three", f"{composed}/1.png", "cat"), ManifestRow("four", f"{apart}/1.png", "dog")]
    manifest = freeze(rows, ["cat", "dog"], 42)
    names = {f"cat/{composed}.png": "one", f"cat/{apart}.png": "two", f"{composed}/1.png": "three", f"{apart}/1.png": "four"}
    for order in (list(names), list(reversed(names))):
        text = "path,raw\n" + "".join(f"{name},{names[name]}\n" for name in order)
        assert {key: answer.raw for key, answer in read_answers(written(tmp_path, text), manifest).items()} == {
            key: key for key in names.values()
        }


def test_files_without_a_hash_take_no_answer(tmp_path: Path) -> None:
    lost = [ManifestRow("", f"cat/broken{at}.png", "cat", excluded="truncated: it ends") for at in range(2)]
    manifest = freeze([*MANIFEST.rows, *lost], ["cat", "dog"], 42)
    text = "path,raw\ncat/broken0.png,cat\ncat/broken1.png,dog\n2.png,cat\n"
    assert list(read_answers(written(tmp_path, text), manifest)) == ["key2"]


def test_predicted_comes_before_label(tmp_path: Path) -> None:
    found = read_answers(written(tmp_path, "path,label,predicted\n2.png,cat,dog\n"), MANIFEST)
    assert found["key2"].raw == "dog"


@pytest.mark.parametrize("prefix", ["", "p_"])
def test_class_columns_are_probabilities(tmp_path: Path, prefix: str) -> None:
    found = read_answers(
        written(tmp_path, f"path,{prefix}dog,{prefix}cat\n2.png,0.25,0.75\n1.png,x,y\ncat/1.png,,\n"), MANIFEST
    )
    assert found == {"key2": Prediction("key2", probabilities=(0.75, 0.25)), "key1": Prediction("key1")}


def test_probabilities_that_nearly_sum_to_one_are_made_to(tmp_path: Path) -> None:
    found = read_answers(written(tmp_path, "path,cat,dog,answer\n2.png,0.66,0.33,cat\n"), MANIFEST)
    assert found["key2"].raw == "cat"
    assert found["key2"].probabilities == pytest.approx((2 / 3, 1 / 3))
    assert sum(found["key2"].probabilities or ()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("values", ["0.5,0.2", "1.5,-0.5", "50,50", "inf,0", "0,0"])
def test_other_numbers_are_no_probabilities(tmp_path: Path, values: str) -> None:
    with pytest.raises(DataProblem, match="sum to"):
        read_answers(written(tmp_path, f"path,cat,dog\n2.png,{values}\n"), MANIFEST)


def test_an_empty_cell_of_a_table_of_numbers_is_absent(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"path": ["cat/1.png", "2.png"], "cat": [0.5, float("nan")], "dog": [0.5, 0.5]}), path)
    assert [answer.probabilities for answer in read_answers(path, MANIFEST).values()] == [(0.5, 0.5), None]


@pytest.mark.parametrize("rows", ["2.png,cat,1,0\n2.png,dog,1,0\n", "2.png,cat,1,0\nkey2,cat,0,1\n"])
def test_two_answers_for_one_picture_are_refused(tmp_path: Path, rows: str) -> None:
    with pytest.raises(DataProblem, match="twice, and differently"):
        read_answers(written(tmp_path, "path,answer,cat,dog\n" + rows), MANIFEST)
    same = written(tmp_path, "path,answer,cat,dog\n2.png,cat,1,0\nkey2,cat,1,0\n", "same.csv")
    assert list(read_answers(same, MANIFEST)) == ["key2"]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_kind_of_table(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"answers.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"path": ["2.png", "cat/1.png"], "raw": ["猫, or so", None]}), path)
    elif kind == "jsonl":
        lines = [{"path": "2.png", "raw": "猫, or so"}, {"path": "cat/1.png"}]
        path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n", encoding="utf-8-sig")
    else:
        between = "\t" if kind == "tsv" else ","
        path.write_text(f'path{between}raw\n2.png{between}"猫, or so"\ncat/1.png\n', encoding="utf-8-sig")
    assert read_answers(path, MANIFEST) == {"key2": Prediction("key2", raw="猫, or so"), "key1": Prediction("key1")}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"path,answer\n", "no rows"),
        ("a.csv", b"", "no rows"),
        ("a.csv", b"where,answer\nx,y\n", "no column that names the picture"),
        ("a.csv", b"path,guess\nx,y\n", "no column that holds the answer"),
        ("a.csv", b"path,answer\nx.png,cat\n", "names a picture of this study"),
        ("a.csv", b"path,answer\n\xff\xfe,cat\n", "cannot be read"),
        ("a.csv", b"path,answer\n1.png," + b"x" * 1_100_000 + b"\n", "cannot be read"),
        ("a.jsonl", b'{"path": "2.png", "raw": "cat"}\n[1, 2]\n', "cannot be read"),
        ("a.jsonl", b'{"path": "2.png"\n', "cannot be read"),
        ("a.jsonl", b"[" * 100_000, "cannot be read"),
        ("a.csv", b"path,answer\n2.png,cat,dog\n", "more cells than the header"),
        ("a.parquet", b"PAR1", "cannot be read"),
        ("a.xlsx", b"PK", "no table"),
    ],
)
def test_a_file_that_is_no_table_of_answers_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageProblem, match=said) as caught:
        read_answers(tmp_path / name, MANIFEST)
    assert name in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="There is no file"):
        read_table(tmp_path / "none.csv")


def test_near_paths_are_suggested(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"Did you mean cat/1\.png"):
        read_answers(written(tmp_path, "path,answer\ncat/1.jpg,cat\n"), MANIFEST)
