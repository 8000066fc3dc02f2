"""The demo's contestants: as many as the documents say, of every family that answers without files of a user's."""

from __future__ import annotations

from pathlib import Path

import pytest

import fieldguide
from fieldguide import demo, families, plan
from fieldguide.bench import Silent
from fieldguide.data.drawn.folders import write_drawings
from fieldguide.errors import DONE

ROOT = Path(__file__).parent.parent


def test_the_contestants_are_eleven_and_of_every_family() -> None:
    found, counting = (plan.read_contestants(some) for some in (demo.CONTESTANTS, demo.COUNTING))
    assert len(found) == 11 and "eleven contestants" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert {one.family for one in found} == set(families.names()) - {"recorded", "count_baseline"}
    assert {one.family for one in (*found, *counting)} == set(families.names()) - {"recorded"}
    assert all(plan.obstacle(one, online=False) is None for one in (*found, *counting)), "it runs offline"


def test_the_list_of_classes_stands_before_the_picture() -> None:
    """So the text in front of all pictures is computed once."""
    from fieldguide.data.classes import propose
    from fieldguide.tasks.asking import Shown
    from fieldguide.tasks.prompting import read_prompt, render

    asked, scored = (one for one in plan.read_contestants(demo.CONTESTANTS) if one.family == "vlm_prompt")
    assert (asked.name, scored.name) == ("asked", "scored")
    same = [one.settings.model_copy(update={"ask": "generate"}) for one in (asked, scored)]
    assert same[0] == same[1], "the same model is asked the same"
    (taught,) = (one.settings for one in plan.read_contestants(demo.CONTESTANTS) if one.family == "vlm_lora")
    assert (taught.model, taught.prompt) == (asked.settings.model, asked.settings.prompt), "before and after, of one question"  # type: ignore[attr-defined]

    (turn,) = render(read_prompt(asked.settings.prompt), propose(map(str, range(10)))).messages  # type: ignore[attr-defined]
    assert turn.parts[-1] == Shown() and "0, 1, 2, 3" in str(turn.parts[0])


def test_an_encoder_and_a_language_model_stand_side_by_side(tmp_path: Path) -> None:
    """All note a prompt; the encoder was asked nothing, and of the model free answers and probabilities stand beside each other."""
    names = {"zero-shot", "asked", "scored"}
    source = write_drawings(tmp_path / "digits", ["0", "1", "7"], per_class=7)
    chosen = [one for one in demo.CONTESTANTS if one.name in names]
    study = fieldguide.compare(source, chosen, out=tmp_path / "s", split="test-only")
    assert set(study.outcomes.values()) == {"done"}, {name: study.failure(name) for name in names}
    assert study.exit_code == DONE, "an answer beside the format is wrong, and no failure of the run"
    assert study.scores("asked")["parts"]["test"]["failed"] > 0
    assert study.cost("asked")["asked"] == 21 and study.cost("zero-shot")["asked"] is None
    free, scored = (study.scores(name)["parts"]["test"] for name in ("asked", "scored"))
    assert scored["failed"] == 0 and scored["correct"] > free["correct"], "what is lost in the format is won back"
    assert scored["metrics"]["log_loss"]["value"] is not None and free["metrics"]["log_loss"]["value"] is None


def test_coins_are_counted_by_a_model_before_and_after_it_was_taught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small part of it, with two steps of training."""
    taught = {**demo._TAUGHT, "most_steps": 2, "looks": 1, "looked_at": 2}
    entries = [
        one.model_copy(update={"settings": {**one.settings, **(taught if one.name == "taught" else {})}})
        for one in demo.COUNTING
    ]
    assert all(plan.other_task(one, "count") is None for one in plan.read_contestants(demo.COUNTING))
    monkeypatch.setattr(demo, "COUNTING", tuple(entries))
    monkeypatch.setattr(demo, "COINS", {"train": 20, "valid": 3, "test": 5})
    study = demo.run_counting(tmp_path / "s", Silent())
    assert set(study.outcomes.values()) == {"done"}, {name: study.failure(name) for name in study.outcomes}
    assert study.scores("held")["parts"]["test"]["metrics"]["parsed"]["value"] == 1
    assert study.manifest.classes == demo.KINDS and study.report.exists()
