"""Recipes as a user meets them: what is said where something is missing, and the rehearsals from the first step to the report."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.pictures import write_folder

from fieldguide import cli, families, recipe, recipes, study, terminal
from fieldguide.data.drawn.coins import write_coins
from fieldguide.errors import DONE, ENVIRONMENT, USAGE, EnvironmentProblem, UsageProblem
from fieldguide.files import read_toml
from fieldguide.records import Estimate

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run ``fieldguide recipe WORDS`` in an empty folder."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(terminal, "out", terminal.Console(highlight=False, width=200))
        monkeypatch.setattr(terminal, "err", terminal.Console(stderr=True, highlight=False, width=200))
        with pytest.raises(SystemExit) as stopped:
            cli.main(["recipe", *map(str, words)])
        told = capsys.readouterr()
        assert "Traceback" not in told.out + told.err and "mistake in fieldguide" not in told.err
        return int(stopped.value.code or 0), told.out, told.err

    return call


@pytest.fixture(scope="module")
def ninety(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has the shape of the ninety animals; nothing looks into its files before weights are looked for."""
    root = tmp_path_factory.mktemp("ninety") / "animals"
    for label in range(90):
        (root / f"animal {label}").mkdir(parents=True)
        for number in range(60):
            (root / f"animal {label}" / f"{number}.jpg").touch()
    return root


def test_all_are_listed(run: Run) -> None:
    code, out, _ = run()
    assert code == DONE
    for name in recipes.names():
        assert f"{name}\n" in out and recipes.read(name).title in out


@pytest.mark.parametrize("name", recipes.names())
def test_without_pictures_it_says_what_it_needs_and_how_to_come_back(run: Run, name: str, tmp_path: Path) -> None:
    code, out, err = run(name)
    said = recipes.read(name)
    assert code == USAGE
    for words in (said.title, said.data.name, said.needs.weights, said.needs.time, said.needs.memory, said.needs.disk):
        assert words in out
    given, allowed, command = err.strip().splitlines()
    assert said.data.name in given and f"{said.data.told} in {said.data.classes} classes" in given
    assert said.data.page in allowed
    assert command.startswith(f"fieldguide recipe {name} --data {said.data.example}") and command.endswith("--tiny")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_recipe_is_a_usage_error(run: Run) -> None:
    code, _, err = run("pets")
    assert code == USAGE and "pets_vit" in err


def test_a_rehearsal_takes_no_pictures(run: Run, tmp_path: Path) -> None:
    code, _, err = run("pets_vit", "--tiny", "--data", "photos")
    assert code == USAGE
    assert "makes its own pictures" in err
    assert err.strip().endswith("fieldguide recipe pets_vit --tiny   or fieldguide recipe pets_vit --data photos")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_not_there(run: Run, tmp_path: Path) -> None:
    code, _, err = run("animals90", "--data", "nowhere")
    assert code == USAGE
    assert "There are no pictures at" in err and "Kaggle" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", recipes.names())
def test_a_wrong_folder_is_noticed_before_anything_is_begun(run: Run, name: str, tmp_path: Path) -> None:
    if recipes.read(name).study.get("task") == "count":
        write_coins(tmp_path / "photos", {"train": 30, "test": 12})
    else:
        write_folder(tmp_path / "photos")
    code, _, err = run(name, "--data", "photos")
    data = recipes.read(name).data
    assert code == USAGE
    given, _, command = err.strip().splitlines()
    assert given == f"photos holds 42 pictures in 3 classes; {data.name} has {data.told} in {data.classes}."
    assert f"fieldguide recipe {name} --data photos --other-data" in command
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_too_few_pictures_are_noticed_and_some_lost_ones_are_not(ninety: Path, tmp_path: Path) -> None:
    order = recipe.Order("animals90", str(ninety), tmp_path / "out")
    recipe.require_pictures(order, recipe.asked_of(order))
    few = tmp_path / "few"
    shutil.copytree(ninety, few)
    for path in (few / "animal 0").iterdir():
        path.rename(few / "animal 1" / f"moved {path.name}")
    (few / "animal 0").rmdir()
    with pytest.raises(UsageProblem, match="holds 5,400 pictures in 89 classes"):
        recipe.require_pictures(replace(order, data=str(few)), recipe.asked_of(replace(order, data=str(few))))
    (few / "animal 0").mkdir()
    for path in (few / "animal 1").glob("moved *"):
        path.rename(few / "animal 0" / path.name.removeprefix("moved "))
    for path in few.rglob("0.jpg"):
        path.unlink()
    recipe.require_pictures(replace(order, data=str(few)), recipe.asked_of(replace(order, data=str(few))))
    for path in few.rglob("1.jpg"):
        path.unlink()
    with pytest.raises(UsageProblem, match="holds 5,220 pictures in 90 classes"):
        recipe.require_pictures(replace(order, data=str(few)), recipe.asked_of(replace(order, data=str(few))))
    other = replace(order, data=str(few), other=True)
    recipe.require_pictures(other, recipe.asked_of(other))


@pytest.fixture
def _no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A machine that has downloaded nothing."""
    empty = tmp_path_factory.mktemp("empty")
    monkeypatch.setenv("TORCH_HOME", str(empty))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(empty))


@pytest.mark.usefixtures("_no_weights")
def test_missing_weights_stop_it_before_anything_is_begun(run: Run, ninety: Path, tmp_path: Path) -> None:
    code, _, err = run("animals90", "--data", ninety, "--out", "here")
    assert code == ENVIRONMENT
    given, allowed, command = err.strip().splitlines()
    assert given.startswith("The weights of 14 of 14 contestants are not on this machine: vgg16, vgg19, ")
    assert "Nothing was begun." in allowed
    assert command == f"fieldguide recipe animals90 --data {ninety} --out here --online"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_no_weights")
def test_other_pictures_on_purpose_come_as_far_as_the_weights(run: Run, tmp_path: Path) -> None:
    write_folder(tmp_path / "my photos")
    code, _, err = run("pets_vit", "--data", "my photos", "--other-data")
    assert code == ENVIRONMENT
    assert "The weights of 3 of 3" in err
    assert "fieldguide recipe pets_vit --data 'my photos' --online --other-data" in err


def test_a_package_that_is_missing_is_a_row_of_the_study(monkeypatch: pytest.MonkeyPatch, ninety: Path, tmp_path: Path) -> None:
    problem = EnvironmentProblem("The package numba is not installed.", "It is an extra.", "pip install 'fieldguide[numba]'")
    monkeypatch.setattr(recipe.planning, "obstacle", lambda contestant, online: problem)
    order = recipe.Order("animals90", str(ninety), tmp_path / "out")
    recipe.require_weights(order, recipe.asked_of(order))


@pytest.mark.parametrize(("name", "sizes"), [("animals90", (3780, 810, 810)), ("pets_vit", (5144, 1102, 1102))])
@pytest.mark.usefixtures("_no_weights")
def test_costs_are_estimated_without_the_pictures(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, sizes: tuple[int, int, int]
) -> None:
    asked: list[Any] = []

    def estimate(entry: Any, task: Any, counts: Any) -> Estimate:
        asked.append((entry.settings.weights, len(task.ids), (counts.train, counts.val, counts.test)))
        return Estimate(seconds=60.0, memory_bytes=10**9, disk_bytes=10**6)

    monkeypatch.setattr(families, "estimate", estimate)
    code, out, _ = run(name, "--dry-run")
    assert code == DONE
    classes = recipes.read(name).data.classes
    if name == "animals90":
        assert asked == [("none", classes, sizes)] * 14, "missing weights do not keep a network from being timed"
        assert "Together about 14 min 00 s at most" in out
    else:  # the shape of the network comes from the hub, too
        assert asked == [] and out.count("is not on this machine") == 3
    assert f"Split: train {sizes[0]:,}, val {sizes[1]:,}, test {sizes[2]:,}." in out
    assert list(tmp_path.iterdir()) == []


def _rehearsed(run: Run, name: str, tmp_path: Path) -> str:
    code, out, err = run(name, "--tiny", "--out", "study")
    said = recipes.read(name)
    assert code == DONE, err
    steps = re.findall(r"^Step (\d) of (\d): (\w+)\.", out, re.M)
    assert steps == [(str(n), str(len(said.rehearsal.steps)), step) for n, step in enumerate(said.rehearsal.steps, start=1)]
    asked = read_toml(tmp_path / "study" / "study.toml")
    assert asked["recipe"] == f"{name}/tiny"
    contestants = [entry["name"] for entry in said.study["contestants"]]
    assert {path.name for path in (tmp_path / "study" / "runs").iterdir()} == set(contestants)
    assert all(f"{contestant}: " in out for contestant in contestants)
    page = (tmp_path / "study" / "report.html").read_text(encoding="utf-8")
    assert 'id="published"' in page and "This is the rehearsal" in page
    assert "Did it learn or memorise?" in page and "not measured" not in page.split('id="fitting"')[1].split("</section>")[0]
    return out


@pytest.mark.slow(keep=1)
def test_the_pets_are_rehearsed_and_the_same_command_goes_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(order: recipe.Order, asked: Any) -> None:
        """Stop here."""
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(recipe.STEPS, "compare", killed)
        with pytest.raises(KeyboardInterrupt):
            recipe.follow(recipe.Order("pets_vit", out=Path("study"), tiny=True))
    assert len(re.findall("^Step ", capsys.readouterr().out, re.M)) == 4
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "study").rglob("*") if path.is_file()}
    assert any(path.name == "config.json" for path in before)
    _rehearsed(run, "pets_vit", tmp_path)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items()), "pictures and networks are kept"
    done = study.Study(tmp_path / "study", None)  # type: ignore[arg-type]
    settings = {
        name: read_toml(tmp_path / "study/runs" / name / "settings.toml")["settings"] for name in done.comparison["order"]
    }
    assert {name: values["train"] for name, values in settings.items()} == {
        "vit-blocks-10-11": "blocks:2-3",
        "vit-all": "all",
        "vit-head": "head",
    }
    trained = {name: done.cost(name)["trained_parameters"] for name in settings}
    assert trained["vit-head"] < trained["vit-blocks-10-11"] < trained["vit-all"]
    said = [done.scores(name)["parts"]["test"]["metrics"]["accuracy"]["value"] for name in settings]
    assert max(said) > 1 / 6, "the pictures can be learned"
    code, out, _ = run("pets_vit", "--tiny", "--out", "study")
    assert code == DONE
    assert "Done before: the list of pictures is frozen." in out
    assert "Re-used, whole from before" in out


def test_a_dry_run_of_a_rehearsal_keeps_nothing(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("pets_vit", "--tiny", "--dry-run")
    assert code == DONE
    assert "Would write pets-vit-tiny-study/" in out and "vit-blocks-10-11" in out
    assert list(tmp_path.iterdir()) == []


def test_a_study_keeps_its_recipe_when_contestants_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = write_folder(tmp_path / "photos")
    first, folder = study.read_asked(str(source), tmp_path / "s", contestants=("majority",), recipe="animals90")
    study.compare(first, folder)
    second, _ = study.read_asked(str(source), tmp_path / "s", contestants=("linear:image_size=8",))
    study.compare(second, folder)
    assert read_toml(folder / "study.toml")["recipe"] == "animals90"


@pytest.mark.slow(keep=1)
def test_the_animals_are_rehearsed(run: Run, tmp_path: Path) -> None:
    out = _rehearsed(run, "animals90", tmp_path)
    assert "Transformers and VMamba minus CNNs" in out
    done = study.Study(tmp_path / "study", None)  # type: ignore[arg-type]
    order = done.comparison["order"]
    assert len(order) == 16
    assert done.scores("llama-vision-prompt")["parts"]["test"]["n"] == 36, "the language model that comes along was asked"
    assert done.scores("llama-vision-lora")["parts"]["test"]["n"] == 36, "and taught"
    assert (tmp_path / "study" / "before_after.json").exists()
    accuracy = {name: done.scores(name)["parts"]["test"]["metrics"]["accuracy"]["value"] for name in order}
    assert len(set(accuracy.values())) >= 4, "models disagree"
    assert max(accuracy.values()) > 0.35
