"""The recipe of counting: settings as published, a rehearsal on drawn coins, published figures beside exact answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fieldguide import plan, recipe, recipes, study
from fieldguide.data.drawn.coins import write_coins
from fieldguide.errors import UsageProblem
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
    prompt = read_count_prompt("currency")
    assert (prompt.zeros, prompt.indent, len(prompt.order)) == ("omitted", 2, recipes.read(NAME).data.classes)
    assert {(one.contestant, one.accuracy) for one in recipes.read(NAME).published.figures} == {
        ("prompted", 0.0),
        ("taught", 85.5),
    }


def test_another_model_can_be_named_and_a_rehearsal_takes_the_small_one(tmp_path: Path) -> None:
    there = found(False, tmp_path / "out", asking={"model": "hf/some/other"})
    assert {there[name].model for name in ("prompted", "held-to-the-form", "taught")} == {"hf/some/other"}
    assert {one.model for one in found(True, tmp_path / "out").values() if hasattr(one, "model")} == {"drawn"}


def test_a_number_that_is_not_known_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="an unstated number in 10 classes"):
        recipe.planned(recipe.Order(NAME, None, tmp_path / "out"))


@pytest.mark.slow
def test_it_is_rehearsed_on_drawn_coins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = recipe.follow(recipe.Order(NAME, out=tmp_path / "study", tiny=True))
    assert isinstance(done, study.Study) and set(done.outcomes.values()) == {"done"}
    assert set(done.outcomes) == {entry["name"] for entry in recipes.read(NAME).study["contestants"]}
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
