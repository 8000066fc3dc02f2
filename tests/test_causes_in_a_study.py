"""Causes end to end: measured once, edited in a file that survives redrawing, and a slip that loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.pictures import write_folder
from typer.testing import CliRunner

import fieldguide
from fieldguide.cli import app
from fieldguide.data.measures import read_measures
from fieldguide.errors import USAGE, UsageProblem
from fieldguide.files import read_json

WORDS = ("majority", "linear:image_size=8,strengths=0.1")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "photos", size=56)


@pytest.fixture
def study(pictures: Path, tmp_path: Path) -> fieldguide.Study:
    return fieldguide.compare(pictures, WORDS, out=tmp_path / "s")


def test_edits_survive_redrawing_and_a_slip_loses_nothing(study: fieldguide.Study, pictures: Path) -> None:
    folder, test = study.folder, study.manifest.part("test")
    first = (folder / "measures.parquet").read_bytes()
    assert set(read_measures(folder / "measures.parquet")) == {row.key for row in test}
    assert "Why might they be wrong?" in study.report.read_text(encoding="utf-8")
    edits = folder / "causes.toml"
    written = edits.read_text(encoding="utf-8")
    edited = f'{written}\n[causes."out of frame"]\n[pictures."{test[0].path}"]\ncauses = ["out of frame"]\nnote = "seen"\n'
    edits.write_text(edited, encoding="utf-8")
    fieldguide.redraw(folder)
    assert edits.read_text(encoding="utf-8") == edited and (folder / "measures.parquet").read_bytes() == first
    assert read_json(folder / "causes.json")["pictures"][test[0].key]["causes"] == ["out of frame"]
    assert fieldguide.compare(pictures, WORDS, out=folder).folder == folder

    whole = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "causes.toml"}
    edits.write_text(edited.replace('["out of frame"]\nnote', '["out of fame"]\nnote'), encoding="utf-8")
    done = CliRunner().invoke(app, ["report", str(folder)])
    problem = done.exception if isinstance(done.exception, UsageProblem) else None
    assert problem is not None or done.exit_code == USAGE
    with pytest.raises(UsageProblem, match="Did you mean out of frame"):
        fieldguide.redraw(folder)
    with pytest.raises(UsageProblem, match="Did you mean out of frame"):
        fieldguide.compare(pictures, WORDS, out=folder)
    named = ("predictions.parquet", "measures.parquet", "manifest.parquet", "report.html", "causes.json", "model")
    assert all(path.read_bytes() == content for path, content in whole.items() if path.name in named)


def test_without_pictures_and_measures_the_report_still_comes(study: fieldguide.Study, pictures: Path, tmp_path: Path) -> None:
    import shutil

    (study.folder / "measures.parquet").unlink()
    shutil.rmtree(study.folder / "store")
    moved = pictures.rename(pictures.with_name("elsewhere"))
    try:
        fieldguide.redraw(study.folder)
    finally:
        moved.rename(pictures)
    told = read_json(study.folder / "causes.json")
    assert told["pictures_measured"] == 0 and told["rates"] == [] and len(told["together"]) == 1
    assert "Too few pictures to tell" in study.report.read_text(encoding="utf-8")
