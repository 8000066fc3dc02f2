"""What differs, from the files of a study: kinds told by logs, and the ways in which its test pictures are cut."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fieldguide.bench import Bench
from fieldguide.data.tables import freeze
from fieldguide.differing import FILES, kind_of_run, slicings, write_differences
from fieldguide.records import ManifestRow


def rows(count: int = 40) -> tuple[ManifestRow, ...]:
    marks = {0: ("leaked",), 1: ("repeated", "burst")}
    made = [
        ManifestRow(
            f"{at:05}", f"{at}.png", "ab"[at % 2], "test", width=100 * (1 + at // 10), height=100, marks=marks.get(at % 8, ())
        )
        for at in range(count)
    ]
    return freeze(made, ("a", "b"), 1).part("test")


def test_a_run_tells_its_kind_and_an_old_one_its_family(tmp_path: Path) -> None:
    assert kind_of_run(tmp_path, "vmamba") == "state space"
    bench = Bench(tmp_path)
    bench.fact(kind="convolution", parameters=3)
    bench.fact(frozen_front="none")
    assert kind_of_run(tmp_path, "backbone") == "convolution"


def test_without_measures_the_slices_say_so(tmp_path: Path) -> None:
    cut = {slicing.code: slicing for slicing in slicings(tmp_path, rows())}
    assert list(cut) == ["resolution", "sharpness", "drawing", "subject", "leaked", "repeated", "burst"]
    resolution = cut["resolution"]
    assert resolution.place is not None and resolution.place.tolist() == [at // 10 for at in range(40)]
    assert resolution.names == (
        "up to 0.01 megapixels",
        "0.01 to 0.02 megapixels",
        "0.02 to 0.03 megapixels",
        "over 0.03 megapixels",
    )
    for code in ("sharpness", "drawing", "subject"):
        assert cut[code].place is None and cut[code].why == "the pictures were not measured"
    assert cut["leaked"].place is not None and cut["leaked"].place.sum() == 5
    plain = slicings(tmp_path, [ManifestRow("0", "0.png", "a", "test")])
    assert [slicing.code for slicing in plain] == ["resolution", "sharpness", "drawing", "subject"]
    assert plain[0].why == "not known of any test picture"


def test_measures_are_read_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def read_measures(path: Path) -> dict[str, SimpleNamespace]:
        asked.append(path)
        return {
            f"{at:05}": SimpleNamespace(sharpness=at / 40, drawing=0.9 if at < 8 else 0.1, subject=(at % 4) / 4)
            for at in range(39)
        }

    monkeypatch.setitem(sys.modules, "fieldguide.data.measures", SimpleNamespace(read_measures=read_measures))
    assert slicings(tmp_path, rows())[1].place is None and asked == [], "there is no file to read"
    (tmp_path / "measures.parquet").touch()
    cut = {slicing.code: slicing for slicing in slicings(tmp_path, rows())}
    assert asked == [tmp_path / "measures.parquet"]
    for code, counts in (("sharpness", [10, 10, 10, 9]), ("subject", [10, 10, 10, 9]), ("drawing", [31, 8])):
        place = cut[code].place
        assert place is not None and place[-1] == -1, "the last picture was not measured"
        assert [int((place == at).sum()) for at in range(len(cut[code].names))] == counts
    assert cut["drawing"].names == ("photographs", "drawings")
    assert cut["subject"].names[0] == "up to 0 %"


def test_files_of_an_earlier_time_are_taken_away(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).write_text("{}", encoding="utf-8")
    write_differences(tmp_path, freeze(rows(), ("a", "b"), 1), [], [], {})
    assert list(tmp_path.iterdir()) == []
