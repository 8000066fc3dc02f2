"""A study whose names say nothing and whose texts say all: the three ways side by side, without training pictures and without a second look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.craft.by_colour import install
from tests.rooms import write_colours

import fieldguide
from fieldguide import families, sweeping
from fieldguide.asked import Entry
from fieldguide.data.tables import read_manifest
from fieldguide.data.texts import write_texts
from fieldguide.errors import UsageProblem
from fieldguide.evaluate.pairs import mcnemar
from fieldguide.files import read_json, write_toml
from fieldguide.plan import read_contestants
from fieldguide.records import Line, Texts
from fieldguide.study import Study
from fieldguide.text_ways import FILE

SAID = Texts("own", {name: (Line(f"all of it {name}"), Line("one thing")) for name in ("blue", "green", "red")})
TABLE = {
    name: {"name": said, "synonyms": [], "description": ""} for name, said in (("blue", "x"), ("green", "y"), ("red", "red"))
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Study, Any]]:
    pictures = write_colours(tmp_path_factory.mktemp("data") / "photos", 12)
    out = tmp_path_factory.mktemp("study") / "s"
    with pytest.MonkeyPatch.context() as patch:
        sees, _ = install(patch)
        fieldguide.compare(pictures, ["dual_encoder"], out=out, split="test-only")
        write_texts(out, SAID)
        write_toml(out / "classes.toml", {"classes": TABLE})
        yield (
            fieldguide.compare(
                pictures, [Entry(name="own", family="dual_encoder", settings={"texts": "own"})], out=out, split="test-only"
            ),
            sees,
        )


def test_zero_shot_takes_part_where_there_is_nothing_to_train_on(made: tuple[Study, Any]) -> None:
    study, _ = made
    assert study.outcomes == {"dual_encoder": "reused", "own": "done"}
    assert study.scores("own")["parts"]["test"]["correct"] == 36


def test_three_ways_on_the_same_pictures(made: tuple[Study, Any]) -> None:
    told = read_json(made[0].folder / FILE)
    rows = {row["way"]: row for row in told["rows"]}
    assert told["schema"] == 1 and [row["contestant"] for row in told["rows"]] == ["own"] * 3
    assert (rows["texts"]["accuracy"], rows["name+texts"]["accuracy"], rows["name"]["n"]) == (1.0, 1.0, 36)
    assert 0.3 <= rows["name"]["accuracy"] <= 0.7 and rows["name"]["low"] < rows["name"]["accuracy"] < rows["name"]["high"]
    tests = {(test["a"], test["b"]): test for test in told["tests"]}
    assert list(tests) == [("name+texts", "name"), ("texts", "name"), ("texts", "name+texts")]
    gained = tests["texts", "name"]
    assert gained["difference"] == pytest.approx(1 - rows["name"]["accuracy"]) and gained["low"] > 0
    assert gained["p"] == mcnemar(36 - round(36 * rows["name"]["accuracy"]), 0) < 0.001 and gained["outcome"] == "a better"
    assert tests["texts", "name+texts"]["p"] == 1.0


def test_it_is_made_again_where_it_is_damaged_and_only_then(made: tuple[Study, Any]) -> None:
    from fieldguide.bench import Silent
    from fieldguide.data.store import Store
    from fieldguide.text_ways import compare_ways

    (study, sees), path = made, made[0].folder / FILE
    manifest, store = read_manifest(study.folder / "manifest.parquet"), Store(study.folder / "store")
    whole, looked = path.read_bytes(), sum(sees.looked)
    before = path.stat().st_mtime_ns
    compare_ways(study.folder, manifest, store, Silent())
    assert path.stat().st_mtime_ns == before
    path.write_bytes(whole[:40])
    compare_ways(study.folder, manifest, store, Silent())
    assert path.read_bytes() == whole and sum(sees.looked) == looked, "made again from kept features"


def test_a_sweep_over_training_pictures_leaves_zero_shot_whole() -> None:
    swept = sweeping.expanded(read_contestants(["dual_encoder", "drawn:head=ridge,as=r"]), (0.5,))
    assert [entry.name for entry in swept] == ["dual_encoder", "r", "r@50"]
    with pytest.raises(UsageProblem, match="No contestant learns"):
        sweeping.expanded(read_contestants(["dual_encoder"]), (0.5,))
    assert families.learns(read_contestants(["drawn:head=gda"])[0])
