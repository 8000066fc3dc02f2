"""Explanations of a study and of pictures at hand, as a user asks for them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image as Picture
from safetensors.torch import save_file
from tests.rooms import write_colours
from tests.torture.shell import in_process

import fieldguide
from fieldguide import explaining, showing
from fieldguide.asked import blocks
from fieldguide.errors import DONE, PARTLY, USAGE, UsageProblem
from fieldguide.explain.explaining import Wish
from fieldguide.files import UNFINISHED

QUICK = Wish(orders=2, grid=3)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("photos") / "colours")


@pytest.fixture(scope="module")
def study(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a floor, two that can be asked from outside and one that can be looked into; not explained yet."""
    folder = tmp_path_factory.mktemp("study") / "s"
    small = "test_vit:weights=none,image_size=16,patch_size=4,epochs=6,batch_size=16,learning_rate=2e-3,flip=false,min_area=1,as=vit"
    fieldguide.compare(photos, ["majority", "linear:image_size=4", "linear/colour", small], out=folder, split="50/15/35")
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    shell = in_process(capsys, monkeypatch)

    def call(*words: object) -> tuple[int, str, str]:
        said = shell(*words)
        return said.code, said.out, said.err

    return call


def files(study: Path) -> dict[Path, int]:
    """Explanations that are whole: a kill may leave one that has not got its name yet."""
    found = sorted(study.glob("runs/*/explained/*.json"))
    return {path: path.stat().st_mtime_ns for path in found if not path.name.startswith(UNFINISHED)}


def test_a_study_is_explained_once_and_goes_on_where_it_was_stopped(study: Path) -> None:
    done = explaining.explain_study(study, QUICK, pictures=3)
    names = {path.parent.parent.name for path in files(study)}
    assert "majority" not in names and len(names) == 3 and done.written == len(files(study)) == 9
    assert done.left_out == (("majority", "not above chance: there is nothing to explain"),)
    before = files(study)
    lost = next(iter(before))
    lost.write_text(lost.read_text(encoding="utf-8")[:100], encoding="utf-8")  # a damaged one is made anew
    again = explaining.explain_study(study, QUICK, pictures=3)
    assert (again.written, again.reused) == (1, 8)
    assert {path: stamp for path, stamp in files(study).items() if path != lost} == {
        path: stamp for path, stamp in before.items() if path != lost
    }
    page = (study / "report.html").read_text(encoding="utf-8")
    assert 'id="why"' in page and "Attention" in page
    # Another wish is another explanation.
    assert explaining.explain_study(study, Wish(orders=1, grid=3), only=["vit"], pictures=3).written == 3


def test_recorded_answers_cannot_be_asked_again_and_that_is_no_failure(photos: Path, tmp_path: Path) -> None:
    answers = tmp_path / "answers.csv"
    rows = [f"{path.relative_to(photos)},{path.parent.name}" for path in sorted(photos.glob("*/*.png"))]
    answers.write_text("path,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    fieldguide.compare(photos, [f"recorded/{answers}", "linear:image_size=4"], out=tmp_path / "s")
    done = explaining.explain_study(tmp_path / "s", QUICK, pictures=2)
    assert done.written == 2 and not done.failed
    ((name, why),) = done.left_out
    assert name.startswith("recorded") and why.startswith("not applicable: it gives no answer")
    page = (tmp_path / "s" / "report.html").read_text(encoding="utf-8")
    assert "is not applicable: <bdi>it gives no answer for a picture that is partly covered" in page
    assert explaining.explain_study(tmp_path / "s", QUICK, pictures=2).reused == 2


def test_a_kill_leaves_whole_files_and_the_same_command_ends_in_the_same_maps(study: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for copy in (one, other):
        shutil.copytree(study, copy)
        for path in files(copy):
            path.unlink()
    words = [sys.executable, "-m", "fieldguide", "explain", str(one), "--orders", "3", "--grid", "4", "--most", "3"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        give_up = time.monotonic() + 120
        while not files(one) and process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.01)
        process.kill()
    begun = {path.name: json.loads(path.read_text()) for path in files(one)}  # each of them is whole
    wish = Wish(orders=3, grid=4)
    again = explaining.explain_study(one, wish, pictures=3)
    assert again.reused == len(files(one)) - again.written > 0 and begun
    explaining.explain_study(other, wish, pictures=3)

    def maps(folder: Path) -> dict[str, object]:
        told = {str(path.relative_to(folder)): json.loads(path.read_text()) for path in files(folder)}
        for entry in told.values():
            for timed in (entry, *entry["maps"]):
                del timed["seconds"]
        return told

    assert maps(one) == maps(other)


def test_what_is_written_names_the_answer_the_truth_and_the_wish(study: Path) -> None:
    explaining.explain_study(study, QUICK, pictures=3)
    chosen = json.loads((study / "explained.json").read_text())["pictures"]
    assert len(chosen) == 3 and all(entry["why"] for entry in chosen)
    told = json.loads((study / "runs" / "vit" / "explained" / f"{chosen[0]['image']}.json").read_text())
    assert told["label"] in ("red", "green", "blue") and told["answer"] in ("red", "green", "blue")
    assert told["asked"]["orders"] == 2 and {one["method"] for one in told["maps"]} >= {"attention", "occlusion"}


def test_the_command_explains_a_study_and_one_of_its_runs(study: Path, run) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = run("explain", study, "--orders", "2", "--grid", "3", "--most", "2")
    assert code == DONE and "majority: not above chance" in out and "report.html#why" in out
    code, out, _ = run("explain", study / "runs" / "vit", "--orders", "2", "--grid", "3", "--most", "2")
    assert code == DONE and "0 explanations written, 2 were there" in out


def test_pictures_at_hand_get_a_page_pictures_and_numbers(study: Path, photos: Path, tmp_path: Path, run) -> None:  # type: ignore[no-untyped-def]
    picture, broken = photos / "red" / "000.png", tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG nothing more")
    out = tmp_path / "out"
    words = ("--orders", "2", "--grid", "3", "--layers", "2-3", "--method", "attention", "--method", "occlusion", "--out", out)
    code, told, err = run("explain", study / "runs" / "vit", picture, "--beside", study / "runs" / "linear-colour", *words)
    assert code == DONE, err
    assert "vit says" in told and "linear-colour says" in told and "this family cannot be looked into" in told
    names = {path.name for path in out.iterdir()}
    assert names == {
        "explained.html",
        "000-vit.json",
        "000-vit-attention.png",
        "000-vit-occlusion.png",
        "000-linear-colour.json",
        "000-linear-colour-occlusion.png",
    }
    assert json.loads((out / "000-vit.json").read_text())["maps"][0]["layers"] == ["block 2", "block 3"]
    with Picture.open(out / "000-vit-attention.png") as strip:
        assert strip.width > 2 * strip.height
    # One unreadable picture costs its own explanation alone, and is told.
    code, told, _ = run("explain", study / "runs" / "vit", picture, broken, *words)
    assert code == PARTLY and "broken.png" in told and (out / "explained.html").exists()


def test_all_contestants_of_a_study_side_by_side(study: Path, photos: Path, tmp_path: Path, run) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "out"
    code, told, _ = run(
        "explain", study, photos / "red" / "000.png", "--method", "occlusion", "--orders", "0", "--grid", "2", "--out", out
    )
    assert code == DONE
    for name in ("majority", "linear-image_size=4", "linear-colour", "vit"):
        assert f"{name} says" in told and f"{name}</bdi>" in (out / "explained.html").read_text(encoding="utf-8").replace(
            "<wbr>", ""
        )


def test_a_network_as_published_stands_beside_the_one_tuned_from_it(photos: Path, tmp_path: Path, run) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    weights = tmp_path / "own.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=4).state_dict(), weights)
    labels = tmp_path / "labels.txt"
    labels.write_text("toilet seat\nwasher\ncat\ndog\n", encoding="utf-8")
    entry = f"test_resnet:weights={weights},image_size=32,epochs=1,batch_size=8,as=tuned"
    fieldguide.compare(photos, [entry], out=tmp_path / "s")
    quick = ("--orders", "2", "--grid", "3", "--out", tmp_path / "out")
    code, told, _ = run("explain", tmp_path / "s" / "runs" / "tuned", photos / "red" / "000.png", "--before", *quick)
    assert code == DONE and "tuned says" in told and "tuned before says class" in told
    code, told, _ = run("explain", entry, photos / "red" / "000.png", "--labels", labels, *quick)
    assert code == DONE and any(name in told for name in ("toilet seat", "washer", "cat", "dog"))
    labels.write_text("toilet seat\nwasher\n", encoding="utf-8")
    code, _, err = run("explain", entry, photos / "red" / "000.png", "--labels", labels, *quick)
    assert code == USAGE and "2 labels were given for a network of 4 classes" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nowhere", "{picture}"), "No family knows a contestant called"),
        (("majority", "{picture}"), "has nothing to explain before it is fitted"),
        (("test_resnet:weights=none", "{picture}"), "has learned nothing"),
        (("{photos}",), "is no study"),
        (("{study}/runs/vit", "{picture}", "--layers", "9-8"), "layers = '9-8' is not possible"),
        (("{study}/runs/vit", "{picture}", "--layers", "40"), "Block 40 was asked for"),
        (("{study}/runs/vit", "{picture}", "--method", "gradcan"), "Did you mean gradcam"),
        (("{study}/runs/vit", "{picture}", "--out", "{photos}"), "holds other things"),
        (("{study}/runs/vit", "{picture}", "--before"), "has learned nothing"),
        (("{study}/runs/majority", "{picture}", "--before"), "begins from nothing"),
        (("{study}/runs/vit", "{picture}", "--labels", "{photos}/none.txt"), "cannot be read"),
        (("{study}/runs/vit", "{picture}", "--grid", "1"), "grid = 1 is not possible"),
        (("{study}/runs/vit", "--before"), "--before are about pictures"),
        (("{study}/runs/vit", "{photos}/nothing.jpg"), "There is no file or folder"),
        (("{study}/runs/vit", "{picture}", "--beside", "{study}/runs/vit"), "are called vit"),
    ],
)
def test_slips_are_told_in_three_breaths(  # type: ignore[no-untyped-def]
    words: tuple[str, ...], says: str, study: Path, photos: Path, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [word.format(study=study, photos=photos, picture=photos / "red" / "000.png") for word in words]
    code, _, err = run("explain", *given)
    assert code == USAGE and says in " ".join(err.split())
    assert len(err.strip().splitlines()) >= 3


def test_pictures_of_one_name_or_a_long_one_have_files_of_their_own() -> None:
    paths = [Path("a/1.jpg"), Path("b/1.png"), Path("c/1.jpg"), Path(f"{'x' * 60}1.jpg"), Path(f"{'x' * 60}2.jpg")]
    assert showing._stems(paths) == ["1", "1~2", "1~3", "x" * 40, f"{'x' * 40}~2"]


def test_layers_are_read_as_people_write_them() -> None:
    assert blocks("8-11") == (8, 9, 10, 11)
    assert blocks("0, 5,11, 5") == (0, 5, 11)
    assert blocks(None) is None
    for words in ("", "a", "3-", "-1", "5-2", "1;2"):
        with pytest.raises(ValueError, match="write a block"):
            blocks(words)


def test_arrays_from_python(study: Path, photos: Path) -> None:
    start = time.perf_counter()
    paths = [photos / "red" / "000.png", photos / "blue" / "001.png"]
    first, second = fieldguide.explanations(study / "runs" / "vit", paths, ["attention"], [0, 5], orders=0)
    assert first.explained[0].maps.values.shape == (2, 4, 4) and first.image != second.image
    assert time.perf_counter() - start < 60
    with pytest.raises(UsageProblem, match="cannot be explained"):
        fieldguide.explanations(study / "runs" / "vit", [study / "study.toml"])
