"""What will run: presets that fit the machine, contestants from words and tables, and what stands in their way."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.pictures import write_folder

import fieldguide
from fieldguide import families, plan
from fieldguide.asked import Entry
from fieldguide.data.classes import propose
from fieldguide.errors import EnvironmentProblem, Problem
from fieldguide.families import Contestant, Sizes
from fieldguide.records import Estimate
from fieldguide.settings import Settings
from fieldguide.tasks.classify import Classify

TASK, SIZES = Classify(propose(["cat", "dog"])), Sizes(700, 150, 150)
WEIGHTS_MISSING = EnvironmentProblem("not on this machine", "", "")


def chosen(preset: Any, device: str = "cpu") -> list[str]:
    return [contestant.name for contestant in plan.choose(preset, TASK, SIZES, online=False, device=device)]


@pytest.mark.parametrize("preset", ["quick", "good", "best"])
def test_without_reachable_weights_small_networks_start_from_scratch(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "obstacle", lambda contestant, online: WEIGHTS_MISSING)
    names = chosen(preset)
    assert names[:3] == ["majority", "linear-features=colour", "linear"]
    assert len(names) == 5
    assert all("weights=none" in name for name in names[3:])


def test_a_network_trains_what_the_budget_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "obstacle", lambda contestant, online: None)
    share = plan.BUDGET["good"] / len(plan.NETWORKS["good"])
    cost = {"all": 3.0, "last-2": 1.5, "head": 0.5}
    slow = {"mobilenetv3_large_100": 0.3, "resnet50": 0.6, "vit_small_patch16_224": 1.0, "convnext_tiny": 9.0}

    def estimate(entry: Contestant, task: Classify, sizes: Sizes) -> Estimate:
        settings: Any = entry.settings
        return Estimate(seconds=share * cost[settings.train] * slow[settings.model])

    monkeypatch.setattr(families, "estimate", estimate)
    floor = "linear-mobilenetv3_large_100"
    assert chosen("good")[3:] == [floor, "mobilenetv3_large_100", "resnet50-train=last-2", "vit_small_patch16_224-train=head"]
    assert chosen("good", device="cuda")[3:] == [floor, *plan.NETWORKS["good"]]


def test_names_are_unique_in_a_study() -> None:
    same = plan.read_contestants(["majority", Entry(name="majority", family="majority")])
    assert [contestant.name for contestant in same] == ["majority"]
    with pytest.raises(Problem, match="Two contestants are called 'floor'"):
        plan.read_contestants([Entry(name="floor", family="majority"), Entry(name="floor", family="linear")])


def test_tables_and_words_are_the_same_contestant() -> None:
    spoken = plan.read_contestants(["linear:image_size=8,as=small"])
    assert plan.read_contestants(plan.entries(spoken)) == spoken


def test_a_contestant_whose_extra_is_missing_is_a_named_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(settings: Settings, online: bool) -> None:
        raise ModuleNotFoundError("No module named 'datasets'", name="datasets")

    room = SimpleNamespace(Settings=Settings, LEARNS=True, check=missing)
    real = families.family
    monkeypatch.setattr(families, "family", lambda name: room if name == "elsewhere" else real(name))
    pictures = write_folder(tmp_path / "photos")
    study = fieldguide.compare(pictures, ["majority", Entry(name="absent", family="elsewhere")], out=tmp_path / "s")
    assert study.outcomes == {"majority": "done", "absent": "not run"}
    assert study.failure("absent")["next"] == "pip install 'fieldguide[hub]'"
    assert study.exit_code == 3
    page = study.report.read_text(encoding="utf-8")
    assert "absent" in page
    assert "fieldguide[hub]" in page
