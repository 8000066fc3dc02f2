"""The recipe of counting: settings as published, a rehearsal on drawn coins, published figures beside exact answers."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fieldguide import plan, recipe, recipe_asking, recipes, study
from fieldguide.data.drawn.coins import write_coins
from fieldguide.errors import UsageProblem
from fieldguide.report import published_asked
from fieldguide.report.published import beside
from fieldguide.report.read import read_study
from fieldguide.tasks.count_asking import read_count_prompt

NAME = "currency_counting"


def found(tiny: bool, out: Path, **more: Any) -> dict[str, Any]:
    asked = recipe.asked_of(recipe.Order(NAME, None if tiny else "somewhere", out, tiny=tiny, **more))
    assert (asked.task, asked.exact, asked.split, asked.seed) == ("count", "text", "70/15/15", 42)
    return {one.name: one.settings for one in plan.read_contestants(asked.contestants)}


def test_it_is_taught_as_published(tmp_path: Path) -> None:
    there = found(False, tmp_path / "out")
    taught = there["taught"]
    assert (taught.learning_rate, taught.batch_size, taught.accumulate, taught.epochs) == (3e-5, 24, 1, 2.0)
    assert (taught.optimiser, taught.weight_decay, taught.schedule) == ("adamw", 0.0, "moondream_corrected")
    assert {(one.model, one.prompt, one.reading) for name, one in there.items() if name not in ("commonest", "colours")} == {
        ("hf/HuggingFaceTB/SmolVLM-Instruct", "currency", "strict")
    }
    assert "moondream" not in there, "nobody agreed to run its code"
    prompt = read_count_prompt("currency")
    assert (prompt.zeros, prompt.indent, len(prompt.order)) == ("omitted", 2, recipes.read(NAME).data.classes)
    assert {(one.contestant, one.accuracy) for one in recipes.read(NAME).published.figures} == {
        ("moondream", 0.0),
        ("prompted", 0.0),
        ("taught", 85.5),
    }


def test_another_model_can_be_named_and_a_rehearsal_takes_the_small_one(tmp_path: Path) -> None:
    there = found(False, tmp_path / "out", asking={"model": "hf/some/other"})
    assert {there[name].model for name in ("prompted", "held-to-the-form", "taught")} == {"hf/some/other"}
    assert {one.model for one in found(True, tmp_path / "out").values() if hasattr(one, "model")} == {"drawn"}


def test_the_sources_model_is_asked_where_its_code_may_run(tmp_path: Path) -> None:
    commit = "a" * 40
    consent = recipe_asking.read_asking(
        NAME, {"remote_code": "vikhyatk/moondream2", "revision": commit, "model": "hf/some/other"}
    )
    there = found(False, tmp_path / "out", asking=consent)
    moondream = there["moondream"]
    assert (moondream.model, moondream.remote_code, moondream.revision) == (
        "moondream/vikhyatk/moondream2",
        "vikhyatk/moondream2",
        commit,
    )
    assert (moondream.prompt, moondream.ask, there["taught"].model) == ("currency", "generate", "hf/some/other")
    assert f"--remote-code vikhyatk/moondream2 --revision {commit}" in recipe.Order(NAME, asking=consent).command()
    assert (
        found(False, tmp_path / "out", asking={**consent, "remote_code": "own/fork"})["moondream"].model == "moondream/own/fork"
    )
    with pytest.raises(UsageProblem, match="runs code of its own") as told:
        recipe_asking.read_asking("animals90", {"remote_code": "some/one"})
    assert NAME in told.value.allowed
    with pytest.raises(UsageProblem, match="nobody agreed"):
        recipe_asking.read_asking(NAME, {"revision": commit})


@pytest.mark.slow(keep=0)
def test_with_consent_it_is_rehearsed_through_its_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import transformers.dynamic_module_utils as dynamic
    from tests.craft.chat.test_moondream import moon

    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("sys.path", [*sys.path])
    folder, witness = moon(tmp_path)
    only = [entry for entry in recipes.read(NAME).study["contestants"] if entry["name"] in ("commonest", "moondream")]
    short = recipes.read(NAME).model_copy(update={"study": {**recipes.read(NAME).study, "contestants": only}})
    monkeypatch.setattr(recipes, "read", lambda name: short)
    done = recipe.follow(recipe.Order(NAME, out=tmp_path / "study", tiny=True, asking={"remote_code": str(folder)}))
    assert done.outcomes == {"commonest": "done", "moondream": "done"} and witness.exists()
    kinds = done.scores("moondream")["parts"]["test"]["kinds"]
    assert set(kinds) == {"no JSON"}, "it was asked, and said light or dark"


def test_what_the_figures_are_of_is_said(tmp_path: Path) -> None:
    contestant = SimpleNamespace(settings={"model": "hf/HuggingFaceTB/SmolVLM-Instruct"})
    told = published_asked.others(recipes.read(NAME), dict.fromkeys(("prompted", "held-to-the-form", "taught"), contestant))  # type: ignore[dict-item]
    assert set(told) == {"prompted", "taught"}, "no figure was published of the third"
    assert all("moondream2 of 2024-04-02" in words and "SmolVLM" in words for words in told.values())


def test_a_number_that_is_not_known_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="an unstated number in 10 classes"):
        recipe.planned(recipe.Order(NAME, None, tmp_path / "out"))


@pytest.mark.slow(keep=0)
def test_it_is_rehearsed_on_drawn_coins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = recipe.follow(recipe.Order(NAME, out=tmp_path / "study", tiny=True))
    assert isinstance(done, study.Study) and set(done.outcomes.values()) == {"done"}
    assert set(done.outcomes) == {entry["name"] for entry in recipes.read(NAME).study["contestants"]} - {"moondream"}
    held = done.scores("held-to-the-form")["parts"]["test"]["metrics"]
    assert held["parsed"]["value"] == 1 and held["exact"]["n"] >= 15
    page = (tmp_path / "study" / "report.html").read_text(encoding="utf-8")
    assert (
        'href="#published"' in page and "This is the rehearsal" in page and "85.50" in page and "Exact answers; counts" in page
    )
    assert "Step 1 of 4: coins." in capsys.readouterr().out


def test_published_figures_stand_beside_exact_answers(tmp_path: Path) -> None:
    coins = write_coins(tmp_path / "coins", {"train": 6, "valid": 2, "test": 12})
    asked, folder = study.read_asked(
        str(coins), tmp_path / "s", task="count", recipe=NAME, contestants=("count_baseline/commonest:as=commonest",)
    )
    study.compare(asked, folder)
    section = beside(read_study(folder))
    assert section is not None and section.warnings
    row = next(one for one in section.rows if one.name == "commonest")
    exact = study.Study(folder, None).scores("commonest")["parts"]["test"]["metrics"]["exact"]["value"]  # type: ignore[arg-type]
    assert row.test.number == exact and row.published.number is None
    assert next(one for one in section.rows if one.name == "taught").published.number == pytest.approx(0.855)
