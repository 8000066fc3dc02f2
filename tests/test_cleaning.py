"""Room again: what goes, what stays, and that the same call ends in the same numbers; and one writer at a time."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from tests.pictures import write_folder

import fieldguide
from fieldguide.cleaning import CHECKPOINTS, LEFT, OLD_RUNS, STORE, UNPACKED, clean
from fieldguide.errors import ENVIRONMENT, USAGE
from fieldguide.files import UNFINISHED
from fieldguide.locked import Locked

WORDS = ("majority", "linear:image_size=8,strengths=0.1,as=pixels")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def made(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fieldguide.compare(pictures, WORDS, out=tmp_path_factory.mktemp("study") / "s").folder


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "s")
    return tmp_path / "s"


def listed(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_can_be_made_again_goes_and_the_rest_stays(study: Path) -> None:
    before = listed(study)
    (study / "runs" / "pixels" / "scratch").mkdir()
    (study / "runs" / "pixels" / "scratch" / "checkpoint.safetensors").write_bytes(b"x" * 300)
    (study / "runs" / "pixels" / f"{UNFINISHED}12ab-model" / f"{UNFINISHED}in").mkdir(parents=True)
    (study / "runs" / "pixels" / f"{UNFINISHED}12ab-model" / f"{UNFINISHED}in" / "half").write_bytes(b"x" * 70)
    (study / f"{UNFINISHED}34cd-report.html").write_bytes(b"x" * 5)
    (study / "runs" / "begun" / "scratch").mkdir(parents=True)
    (study / "runs" / "begun" / "scratch" / "checkpoint.safetensors").write_bytes(b"precious")
    done = clean(study)
    store = sum(size for name, size in before.items() if name.startswith("store/"))
    assert done.freed == {STORE: store, CHECKPOINTS: 300, LEFT: 75}
    assert done.total == store + 375
    assert not done.kept
    left = listed(study)
    assert left.pop("runs/begun/scratch/checkpoint.safetensors") == 8
    assert left == {name: size for name, size in before.items() if not name.startswith("store/")}
    assert not list(study.rglob(f"{UNFINISHED}*"))
    assert clean(study).freed == {}


def test_a_dry_run_says_the_same_and_removes_nothing(study: Path) -> None:
    (study / f"{UNFINISHED}34cd-report.html").write_bytes(b"x" * 5)
    before = listed(study)
    told = clean(study, dry_run=True)
    assert listed(study) == before
    assert told == clean(study)
    assert told.total > 0


def test_the_same_compare_afterwards_ends_in_the_same_numbers(study: Path, pictures: Path) -> None:
    before = {name: (study / name).read_bytes() for name in listed(study) if name.endswith((".json", ".parquet", ".toml"))}
    clean(study)
    again = fieldguide.compare(pictures, WORDS, out=study)
    assert set(again.outcomes.values()) == {"reused"}
    assert {name: (study / name).read_bytes() for name in before} == before
    assert again.store_misses == 0, "nothing that is whole needs pixels"
    more = fieldguide.compare(pictures, [*WORDS, "linear:image_size=9,strengths=0.1,as=more"], out=study)
    assert more.outcomes["more"] == "done"
    assert more.store_misses > 0


def thumbnails(report: Path) -> int:
    return report.read_text().count("data:image/webp")


def test_a_report_takes_its_pictures_from_the_source_or_says_that_they_are_gone(tmp_path: Path, pictures: Path) -> None:
    shutil.copytree(pictures, tmp_path / "photos")
    study = fieldguide.compare(tmp_path / "photos", WORDS, out=tmp_path / "s")
    drawn, page = thumbnails(study.report), study.report.read_bytes()
    assert drawn > 3
    clean(study.folder)
    assert fieldguide.redraw(study.folder).report.read_bytes() == page
    assert not list((study.folder / "store").rglob("*.safetensors")), "a page is drawn once; its pixels are not kept"
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    again = fieldguide.redraw(study.folder)
    assert again.comparison == study.comparison
    assert thumbnails(again.report) == 0
    assert "are in the store; the same compare makes them again" in again.report.read_text()


def test_pixels_stay_where_their_source_is_gone(tmp_path: Path, pictures: Path) -> None:
    shutil.copytree(pictures, tmp_path / "photos")
    study = fieldguide.compare(tmp_path / "photos", WORDS[:1], out=tmp_path / "s").folder
    shutil.rmtree(tmp_path / "photos")
    before = listed(study)
    done = clean(study)
    assert not done.freed
    assert "photos is not there" in done.kept[STORE]
    assert listed(study) == before
    (study / "study.toml").write_text("source = [")
    assert list(clean(study).kept) == [STORE]
    (study / "study.toml").write_text("seed = 1")
    assert list(clean(study).kept) == [STORE]


def test_an_archive_is_unpacked_again(tmp_path: Path, pictures: Path) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in sorted(pictures.rglob("*.png")):
            opened.write(path, str(path.relative_to(pictures)))
    first = fieldguide.compare(archive, WORDS, out=tmp_path / "s")
    before = first.comparison
    assert set(clean(first.folder).freed) == {STORE, UNPACKED}
    assert not (first.folder / "unpacked").exists()
    assert fieldguide.redraw(first.folder).comparison == before
    assert not (first.folder / "unpacked").exists(), "a report unpacks nothing"
    again = fieldguide.compare(archive, WORDS, out=tmp_path / "s")
    assert (again.comparison, again.manifest.hash) == (before, first.manifest.hash)
    assert set(again.outcomes.values()) == {"reused"}
    archive.unlink()
    done = clean(first.folder)
    assert set(done.freed) == {STORE}, "its pixels can be made from what is unpacked"
    assert "not there" in done.kept[UNPACKED]


def test_runs_before_an_extension_go_only_when_asked(study: Path) -> None:
    (study / "runs-before-extension-1" / "majority").mkdir(parents=True)
    (study / "runs-before-extension-1" / "majority" / "scores.json").write_bytes(b"x" * 11)
    assert "--old-runs" in clean(study).kept[OLD_RUNS]
    assert (study / "runs-before-extension-1").exists()
    assert clean(study, old_runs=True).freed == {OLD_RUNS: 11}
    assert not (study / "runs-before-extension-1").exists()


def test_links_are_removed_and_what_they_point_to_is_not(study: Path, tmp_path: Path) -> None:
    shutil.move(study / "store", tmp_path / "large-disk")
    (study / "store").symlink_to(tmp_path / "large-disk")
    before = listed(tmp_path / "large-disk")
    clean(study)
    assert not (study / "store").is_symlink()
    assert listed(tmp_path / "large-disk") == before


def test_what_cannot_be_removed_is_told(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(fieldguide.Problem, match="store could not be removed: Permission denied") as caught:
        clean(study)
    assert caught.value.code == ENVIRONMENT


def test_a_folder_with_somebody_elses_manifest_is_no_study(pictures: Path) -> None:
    (pictures / "manifest.parquet").write_bytes(b"theirs")
    (pictures / "store").mkdir()
    before = listed(pictures)
    with pytest.raises(fieldguide.Problem, match="is no study folder"):
        clean(pictures)
    assert listed(pictures) == before


def test_only_a_study_is_cleaned(pictures: Path) -> None:
    before = listed(pictures)
    with pytest.raises(fieldguide.Problem, match="is no study folder") as caught:
        clean(pictures)
    assert caught.value.code == USAGE
    assert listed(pictures) == before
    assert not (pictures / ".lock").exists()


def _hold(folder: Path, held: Connection) -> None:
    with Locked(folder):
        held.send("held")
        time.sleep(60)


@contextmanager
def writer(folder: Path) -> Iterator[multiprocessing.process.BaseProcess]:
    """Have another process hold the study folder while the block runs."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_hold, args=(folder, there))
    process.start()
    try:
        assert here.poll(30)
        yield process
    finally:
        process.kill()
        process.join(30)


ACTS: dict[str, Callable[[Path, Path], object]] = {
    "compare": lambda study, pictures: fieldguide.compare(pictures, WORDS, out=study),
    "report": lambda study, pictures: fieldguide.redraw(study),
    "clean": lambda study, pictures: clean(study),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_second_writer_is_refused_while_the_first_one_lives(act: str, study: Path, pictures: Path) -> None:
    before = listed(study)
    with writer(study) as process:
        with pytest.raises(fieldguide.Problem, match="Another fieldguide is working in") as caught:
            ACTS[act](study, pictures)
        assert caught.value.code == ENVIRONMENT
        assert listed(study) == before
        process.kill()
        process.join(30)
        ACTS[act](study, pictures)  # the lock fell with its process, which had no time to let it go
    assert os.path.exists(study / "manifest.parquet")
