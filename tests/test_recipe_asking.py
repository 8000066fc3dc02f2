"""The recipe without training as a user meets it: an Ollama on this machine is asked, and what the source left open has an answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.looking import Eye, looks, ollama_pages
from tests.stub import Stub, serving
from tests.torture.shell import Shell, in_process

from fieldguide import recipe
from fieldguide.errors import DONE, PARTLY, USAGE
from fieldguide.files import read_json
from fieldguide.records import Pixels
from fieldguide.study import Study
from fieldguide.tasks.prompting import read_prompt

EXAMPLE = "For example if you identify a 3"


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    monkeypatch.chdir(tmp_path)
    return in_process(capsys, monkeypatch)


@contextmanager
def llava(eye: Eye) -> Iterator[Stub]:
    """Run an Ollama that has the model ``llava``."""
    with serving(looks(eye), ollama_pages(("llava:latest",))) as stub:
        yield stub


def greys(folder: Path, each: int = 12) -> Path:
    """Write pictures whose brightness says their digit: 0 is dark, 3 is light."""
    random = np.random.default_rng(0)
    for digit in range(4):
        (folder / str(digit)).mkdir(parents=True)
        for number in range(each):
            pixels = random.integers(-25, 26, (40, 40, 3)) + 30 + 65 * digit
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / str(digit) / f"{number}.png")
    return folder


def led_astray(pixels: Pixels | None, text: str) -> str:
    """See brightness, but take a 1 for the digit in the example, and chat about every 2 that nothing keeps to the list."""
    if pixels is None:  # a question of the probe
        return "nothing"
    digit = int(np.asarray(pixels, float).mean() // 64)
    return "3" if digit == 1 and EXAMPLE in text else "It is a 2." if digit == 2 else str(digit)


def put(server: Stub, question: str) -> list[dict[str, Any]]:
    """The requests with this question; a probe has others."""
    return [body for body in server.asked if question in json.dumps(body)]


def parts(study: Study, name: str) -> dict[str, Any]:
    part: dict[str, Any] = study.scores(name)["parts"]["test"]
    return part


def test_the_example_is_found_to_pull_and_nothing_is_asked_twice(shell: Shell, tmp_path: Path) -> None:
    greys(tmp_path / "digits")
    with llava(led_astray) as server:
        words = ("recipe", "llava_zero_shot", "--data", "digits", "--other-data", "--server", server.root)
        said = shell(*words)
        assert said.code == DONE, "an answer that names no class is wrong, and no failure of the run"
        asked = server.count
        again = shell(*words)
        assert server.count == asked and "Re-used, whole from before" in again.out + again.err
        bodies = put(server, "What number is this?")
    study = Study(tmp_path / "llava-zero-shot-mnist-study", None)  # type: ignore[arg-type]
    rights = {name: parts(study, name)["correct"] for name in study.comparison["order"]}
    assert rights == {"llava": 24, "llava-no-example": 36, "llava-choice": 24}, "3 for 1; a sentence for 2, strictly read"
    choice = [body for body in bodies if "format" in body]
    assert len(choice) >= 48 and choice[0]["format"]["properties"]["answer"]["enum"] == ["0", "1", "2", "3"]
    system, question = bodies[0]["messages"][0], bodies[0]["messages"][-1]
    prompt = read_prompt("llava_mnist")
    filled = prompt.system.format(classes="0, 1, 2, 3", example="3")
    assert (system["role"], system["content"]) == ("system", filled) and question["content"].endswith(prompt.question)
    assert "llava-no-example minus llava: " not in said.out, "one sentence of the report, not of the terminal"
    page = (study.folder / "report.html").read_text(encoding="utf-8").replace("\u00a0", " ")
    section = page.split('id="published"')[1].split("</section>")[0]
    assert "Other pictures than those of the recipe: 48 in 4 classes here, 500 in 10 there" in section
    assert "12 pictures right in llava-no-example alone, 0 in llava alone" in section
    audited = read_json(study.folder / "runs" / "llava" / "audit.json")
    assert (audited["part"], audited["pictures"], audited["cost"]["open"]) == ("test", 48, 0) and audited["verdict"] in said.out
    assert "your example (3) costs 25 points" in audited["verdict"].casefold(), "what the source left open"
    assert [one["found"] for one in audited["checks"] if one["id"] in ("order", "repeat")] == ["no", "yes"]
    readings = read_json(study.folder / "runs" / "llava" / "readings.json")["parts"]["test"]
    assert {one["id"]: one["right"] for one in readings["filtered"]} == {"listed": 24, "any name": 24}
    assert {one["id"]: one["n"] for one in readings["filtered"]} == {"listed": 36, "any name": 36}


def test_the_strict_reading_knows_the_names_that_the_prompt_asks_for(shell: Shell, tmp_path: Path) -> None:
    """The chess prompt wants PAWN in capitals; the folder is called pawn."""
    greys(tmp_path / "four")
    pieces = ("pawn", "king", "queen", "rook")
    for digit, piece in enumerate(pieces):
        (tmp_path / "four" / str(digit)).rename(tmp_path / "four" / piece)

    def eye(pixels: Pixels | None, text: str) -> str:
        return "nothing" if pixels is None else pieces[int(np.asarray(pixels, float).mean() // 64)].upper()

    with llava(eye) as server:
        words = ("recipe", "llava_zero_shot", "--case", "chess", "--data", "four", "--other-data", "--server", server.root)
        assert shell(*words).code == DONE
        temperatures: dict[bool, set[float]] = {False: set(), True: set()}
        for body in put(server, "What chess piece is this?"):
            temperatures['"QUEEN"' in body["messages"][0]["content"]].add(body["options"]["temperature"])
        assert temperatures == {False: {0.5}, True: {0.0}}, "the published words, and those whose list can be turned"
    study = Study(tmp_path / "llava-zero-shot-chess-study", None)  # type: ignore[arg-type]
    for name in ("llava", "llava-choice", "llava-listed"):
        found = read_json(study.folder / "runs" / name / "readings.json")["parts"]["test"]["readings"]
        assert parts(study, name)["correct"] == 48 and {one["id"]: one["right"] for one in found}["strict"] == 48


def test_another_machine_is_asked_with_consent_alone(shell: Shell, tmp_path: Path) -> None:
    greys(tmp_path / "digits", each=3)
    asked = ("--model", "served/eyes", "--server", "https://far.example/v1")
    said = shell("recipe", "llava_zero_shot", "--data", "digits", "--other-data", *asked)
    assert said.code == USAGE and "12 pictures to far.example" in said.text and "--yes" in said.text
    assert not (tmp_path / "llava-zero-shot-mnist-study" / "manifest.parquet").exists()


def test_a_limit_is_of_the_audit_too_and_the_same_command_goes_on(shell: Shell, tmp_path: Path) -> None:
    greys(tmp_path / "digits", each=3)
    with llava(led_astray) as server:
        words = ("recipe", "llava_zero_shot", "--data", "digits", "--other-data", "--server", server.root)
        said = shell(*words, "--limit", 61)
        assert said.code == PARTLY and "answers are missing (the limit of 14 new questions was reached)" in said.text
        kept = len(put(server, "What number is this?"))
        assert kept == 50 and server.count == 61, "11 to find out what it can, 36 of the comparison, 14 of the audit"
        assert shell(*words).code == DONE


@pytest.mark.slow(keep=0)
@pytest.mark.parametrize("case", ["mnist", "animals", "chess"])
def test_it_is_rehearsed_offline_with_the_model_that_comes_along(shell: Shell, tmp_path: Path, case: str) -> None:
    said = shell("recipe", "llava_zero_shot", "--case", case, "--tiny")
    study = Study(tmp_path / f"llava-zero-shot-{case}-tiny-study", None)  # type: ignore[arg-type]
    assert said.code == DONE and "This is the rehearsal" in said.text
    order = recipe.Order("llava_zero_shot", tiny=True, case=case)
    assert set(study.comparison["order"]) == {entry["name"] for entry in order.recipe.study["contestants"]}
    assert all(parts(study, name)["n"] == 120 for name in study.comparison["order"])
    assert parts(study, "llava-choice")["failed"] == 0, "a choice is always one of the list"
    if case != "chess":
        assert parts(study, "llava-choice")["correct"] > 24, "it reads digits better than chance"


@pytest.mark.slow(keep=0)
def test_the_fine_tuned_row_is_rehearsed_and_set_against_the_same_model_before(shell: Shell) -> None:
    said = shell("recipe", "llava_zero_shot", "--case", "chess-taught", "--tiny")
    assert said.code == DONE and "Trained parameters: vision 0" in said.text
    study = Path("llava-zero-shot-chess-taught-tiny-study")
    couples = {(one["before"], one["after"]) for one in read_json(study / "before_after.json")["pairs"]}
    assert couples == {("llava", "llava-lora"), ("llava-choice", "llava-lora")}
    page = (study / "report.html").read_text(encoding="utf-8")
    assert "What teaching changed" in page and "llava-lora minus llava-choice" in page


@pytest.mark.realdata
@pytest.mark.slow(keep=0)
def test_five_hundred_digits_through_an_ollama_that_is_the_small_model(shell: Shell, tmp_path: Path, data_root: Path) -> None:
    """Whatever its score: every answer comes over HTTP, is kept as it came, and is read in every way from the same texts."""
    from fieldguide.craft.chat import DRAWN, Wanted
    from fieldguide.craft.chat.opening import open_chat
    from fieldguide.tasks.asking import Asking, Message, Shown

    chat, alone = open_chat(Wanted(DRAWN)), threading.Lock()

    def eye(pixels: Pixels | None, text: str) -> str:
        if pixels is None:
            return "nothing"
        asking = Asking((Message("user", (text, Shown())),), tuple("0123456789"), most_tokens=16)
        with alone:
            (said,) = chat.ask(asking, [pixels], {})
        return said.text

    with llava(eye) as server:
        said = shell("recipe", "llava_zero_shot", "--data", data_root / "mnist500", "--server", server.root, "--out", "study")
        assert said.code == DONE, said.text
        assert server.count >= 1500
    study = Study(tmp_path / "study", None)  # type: ignore[arg-type]
    for name in ("llava", "llava-no-example", "llava-choice"):
        part = read_json(study.folder / "runs" / name / "readings.json")["parts"]["test"]
        rights = {one["id"]: one["right"] for one in part["readings"]}
        assert part["n"] == 500 and rights["strict"] == parts(study, name)["correct"]
        assert rights["strict"] <= rights["normalised"] <= rights["alias"]
        assert part["filtered"][0]["n"] <= part["filtered"][1]["n"] <= 500
    assert "published 79.20 %" in said.text.replace("\u00a0", " ")
