"""Tables on disk: whole, versioned, and true to their hash."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldguide.data import tables
from fieldguide.data.tables import freeze, prediction_from, read_manifest, read_predictions, write_manifest, write_predictions
from fieldguide.errors import DataProblem, EnvironmentProblem
from fieldguide.records import ManifestRow, Prediction

ROWS = (
    ManifestRow(
        "k2", "犬/b.png", "犬", "train", group="g", width=30, height=20, format="PNG", bytes=100, notes=("alpha on white",)
    ),
    ManifestRow("k1", "cat\n/a.jpg", "cat\n", "test", fold=3),
    ManifestRow("k3", "cat\n/c.jpg", "cat\n", excluded="truncated: cut off"),
)
CLASSES = ("cat\n", "قط", "犬")


def test_a_manifest_comes_back_as_it_was(tmp_path: Path) -> None:
    manifest = freeze(ROWS, CLASSES, 7)
    write_manifest(tmp_path / "manifest.parquet", manifest)
    assert read_manifest(tmp_path / "manifest.parquet") == manifest
    assert [row.key for row in manifest.rows] == ["k1", "k2", "k3"]
    assert manifest.excluded == (ROWS[2],)
    assert manifest.folds == 4


_NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_ROWS = st.lists(
    st.builds(
        ManifestRow,
        key=st.text("0123456789abcdef", min_size=4, max_size=8),
        path=_NAMES,
        label=_NAMES,
        split=st.sampled_from([None, "train", "val", "test"]),
        fold=st.none() | st.integers(0, 20),
        group=st.none() | _NAMES,
        excluded=st.none() | _NAMES,
        width=st.none() | st.integers(1, 2**31 - 1),
        bytes=st.none() | st.integers(0, 2**40),
        notes=st.lists(_NAMES, max_size=3).map(tuple),
        marks=st.lists(st.sampled_from(["leaked", "repeated", "burst"]), unique=True).map(tuple),
    ),
    max_size=8,
)


@given(_ROWS, st.lists(_NAMES, max_size=4), st.integers(0, 2**31 - 1), st.randoms(use_true_random=False))
def test_any_manifest_comes_back_and_its_hash_knows_no_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[ManifestRow], classes: list[str], seed: int, random: Random
) -> None:
    path = tmp_path_factory.mktemp("any") / "manifest.parquet"
    manifest = freeze(rows, classes, seed)
    write_manifest(path, manifest)
    assert read_manifest(path) == manifest
    random.shuffle(rows)
    assert freeze(rows, classes, seed).hash == manifest.hash


def test_a_manifest_without_classes_comes_back(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.parquet", freeze((), (), 0))
    assert read_manifest(tmp_path / "manifest.parquet").classes == ()


def test_the_hash_is_of_content_not_of_order_or_names() -> None:
    frozen = freeze(ROWS, CLASSES, 7)
    assert freeze(ROWS[::-1], CLASSES, 7).hash == frozen.hash
    assert freeze([dataclasses.replace(row, path=f"elsewhere/{row.path}") for row in ROWS], CLASSES, 7).hash == frozen.hash
    first, *rest = ROWS
    for change in ({"key": "k9"}, {"label": "cat\n"}, {"split": "val"}, {"fold": 1}, {"excluded": "empty file"}):
        assert freeze([dataclasses.replace(first, **change), *rest], CLASSES, 7).hash != frozen.hash, change  # type: ignore[arg-type]
    assert freeze(ROWS, CLASSES, 8).hash != frozen.hash
    assert freeze(ROWS, CLASSES[::-1], 7).hash != frozen.hash


def test_a_manifest_changed_by_hand_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    write_manifest(path, freeze(ROWS, CLASSES, 7))
    table = pq.read_table(path)
    labels = pa.array(["犬", "犬", "cat\n"], pa.string())
    pq.write_table(table.set_column(table.schema.get_field_index("label"), table.schema.field("label"), labels), path)
    with pytest.raises(DataProblem, match="does not match its own hash"):
        read_manifest(path)


def some(kind: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | kind


PREDICTION = st.builds(
    Prediction,
    image=st.text(min_size=1),
    label=some(st.text()),
    probabilities=some(st.lists(st.floats(0, 1), max_size=4).map(tuple)),
    counts=some(st.dictionaries(st.text(), st.integers(0, 2**60), max_size=3)),
    raw=some(st.text()),
    seconds=some(st.floats(0, 1e6)),
    tokens_in=some(st.integers(0, 2**60)),
    tokens_out=some(st.integers(0, 2**60)),
    error=some(st.text()),
    run=some(st.text()),
)


@given(st.lists(PREDICTION, max_size=4))
def test_predictions_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, predictions: list[Prediction]) -> None:
    path = tmp_path_factory.mktemp("table") / "predictions.parquet"
    write_predictions(path, predictions)
    assert read_predictions(path) == predictions
    assert [prediction_from(dataclasses.asdict(prediction)) for prediction in predictions] == predictions


def test_the_folder_of_a_table_adds_no_columns(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "linear-features=colour"
    write_predictions(folder / "predictions.parquet", [Prediction("k1", "cat")])
    assert read_predictions(folder / "predictions.parquet") == [Prediction("k1", "cat")]


def test_a_newer_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tables, "SCHEMA_VERSION", 99)
        write_predictions(tmp_path / "p.parquet", [])
    with pytest.raises(DataProblem, match=r"newer fieldguide \(table version 99\)") as caught:
        read_predictions(tmp_path / "p.parquet")
    assert "upgrade" in caught.value.next.lower()


@pytest.mark.parametrize("content", [b"", b"PAR1 and nothing more", b"path,label\n1,2\n"])
def test_a_damaged_table_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.parquet").write_bytes(content)
    for read in (read_predictions, read_manifest):
        with pytest.raises(DataProblem, match=r"p\.parquet cannot be read"):
            read(tmp_path / "p.parquet")


def test_a_table_the_disk_cannot_read_now_is_not_to_be_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Error reading bytes from file. Detail: [errno 5] Input/output error")

    monkeypatch.setattr(pq, "read_table", refuse)
    with pytest.raises(EnvironmentProblem, match=r"p\.parquet") as caught:
        read_predictions(tmp_path / "p.parquet")
    assert "Delete" not in str(caught.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match=r"none\.parquet"):
        read_manifest(tmp_path / "none.parquet")


def test_a_strangers_table_is_no_manifest(tmp_path: Path) -> None:
    pq.write_table(pa.table({"key": ["a"], "path": ["b"]}), tmp_path / "stranger.parquet")
    write_predictions(tmp_path / "predictions.parquet", [])
    write_manifest(tmp_path / "manifest.parquet", freeze(ROWS, CLASSES, 7))
    for read, name in (
        (read_manifest, "stranger"),
        (read_predictions, "stranger"),
        (read_manifest, "predictions"),
        (read_predictions, "manifest"),
    ):
        with pytest.raises(DataProblem, match="not the table that belongs there"):
            read(tmp_path / f"{name}.parquet")


def test_a_table_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_predictions(tmp_path / "p.parquet", [Prediction("k1")])

    def torn(table: pa.Table, path: Path) -> None:
        path.write_bytes(b"PAR1")
        raise KeyboardInterrupt

    monkeypatch.setattr(tables.pq, "write_table", torn)
    with pytest.raises(KeyboardInterrupt):
        write_predictions(tmp_path / "p.parquet", [Prediction("k2")])
    assert read_predictions(tmp_path / "p.parquet") == [Prediction("k1")]
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]
