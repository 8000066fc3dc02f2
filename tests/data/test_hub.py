"""Data sets of Hugging Face: saved folders, parquet with pictures, names on the hub (no network: its answer is replaced)."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fieldguide.data.sources import Source, open_source
from fieldguide.errors import DataProblem, EnvironmentProblem, UsageProblem

datasets = pytest.importorskip("datasets", reason="the extra fieldguide[hub] is not installed")


def opened(where: Path) -> Source:
    return open_source(str(where), where.parent / "unpacked")


def hf_rows(count: int, **columns: Any) -> Any:
    stream = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(stream, "PNG")
    features = {"image": datasets.Image(), **{name: feature for name, (feature, _) in columns.items()}}
    rows = {
        "image": [{"bytes": stream.getvalue(), "path": None}] * count,
        **{name: values for name, (_, values) in columns.items()},
    }
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def labelled(values: list[int]) -> Any:
    return hf_rows(len(values), label=(datasets.ClassLabel(names=["cat", "dog"]), values))


def check_hub(source: Source) -> None:
    assert source.kind == "hub" and source.classes == ("cat", "dog")
    assert [(file.name, file.label, file.split) for file in source.files] == [
        ("test/0000000.png", "dog", "test"),
        ("train/0000000.png", "cat", "train"),
        ("train/0000001.png", "dog", "train"),
    ]
    assert all(file.path.read_bytes().startswith(b"\x89PNG") for file in source.files)
    assert dict(source.ignored) == {
        "extra": "a split that is neither train, validation nor test",
        "train": "1 rows without a label",
    }


def three_splits() -> Any:
    return datasets.DatasetDict({"train": labelled([0, 1, -1]), "test": labelled([1]), "extra": labelled([0])})


def test_saved_data_set(tmp_path: Path) -> None:
    three_splits().save_to_disk(tmp_path / "saved")
    check_hub(opened(tmp_path / "saved"))
    check_hub(opened(tmp_path / "saved"))
    assert len(list((tmp_path / "unpacked").iterdir())) == 1


def test_saved_single_data_set_names_no_split(tmp_path: Path) -> None:
    labelled([0, 1, 1]).save_to_disk(tmp_path / "saved")
    source = opened(tmp_path / "saved")
    assert {file.split for file in source.files} == {None} and len(source.files) == 3


@pytest.mark.parametrize("layout", ["data/{}-00000-of-00001.parquet", "{}/0000.parquet", "{}.parquet"])
def test_parquet_with_pictures(tmp_path: Path, layout: str) -> None:
    for name, data in three_splits().items():
        path = tmp_path / "set" / layout.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        data.to_parquet(path)
    source = opened(tmp_path / "set")
    if layout.startswith("{}/"):  # a folder that is no split is not looked into
        assert [file.name for file in source.files] == ["test/0000000.png", "train/0000000.png", "train/0000001.png"]
    else:
        check_hub(source)


def test_single_parquet_file_with_pictures(tmp_path: Path) -> None:
    labelled([0, 1]).to_parquet(tmp_path / "all.parquet")
    source = opened(tmp_path / "all.parquet")
    assert source.kind == "hub" and source.classes == ("cat", "dog")


def test_multi_label_and_missing_columns_in_data_sets(tmp_path: Path) -> None:
    many = datasets.Sequence(datasets.ClassLabel(names=["cat", "dog"]))
    hf_rows(2, labels=(many, [[0], [0, 1]])).save_to_disk(tmp_path / "many")
    with pytest.raises(DataProblem, match="multi-label"):
        opened(tmp_path / "many")
    hf_rows(2, lable=(datasets.Value("string"), ["a", "b"])).save_to_disk(tmp_path / "none")
    with pytest.raises(UsageProblem, match="Rename 'lable' to 'label'"):
        opened(tmp_path / "none")
    assert not any((tmp_path / "unpacked").glob("*"))


def test_text_labels_and_a_second_class_column(tmp_path: Path) -> None:
    coarse = (datasets.ClassLabel(names=["x", "y"]), [0, 1])
    hf_rows(2, coarse=coarse, fine_label=(datasets.Value("string"), ["a", "b"])).save_to_disk(tmp_path / "set")
    source = opened(tmp_path / "set")
    assert source.classes == ("a", "b") and "'coarse' was not used" in source.notes[0]


def test_hub_needs_leave_and_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def load_dataset(name: str) -> Any:
        asked.append(name)
        return three_splits()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(EnvironmentProblem, match="--online"):
        open_source("hf:someone/pets", tmp_path)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "datasets", None)
        with pytest.raises(EnvironmentProblem, match=r"fieldguide\[hub\]"):
            open_source("hf:someone/pets", tmp_path, online=True)
    assert not asked
    check_hub(open_source("hf:someone/pets", tmp_path, online=True))
    check_hub(open_source("hf:someone/pets", tmp_path))
    assert asked == ["someone/pets"]
    with pytest.raises(UsageProblem):
        open_source("hf:../../etc", tmp_path, online=True)


def test_hub_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str) -> Any:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(EnvironmentProblem, match="no route to host"):
        open_source("hf:someone/pets", tmp_path, online=True)
    assert not list(tmp_path.iterdir())
