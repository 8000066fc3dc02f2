"""The sweep over training pictures: what is cut, what stays the same, and the answer in a planted case."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tests.rooms import dice, install, learner, write_colours

import fieldguide
from fieldguide import plan, sweeping
from fieldguide.asked import Entry
from fieldguide.errors import UsageProblem
from fieldguide.files import read_json, read_toml
from fieldguide.study import Study, read_asked

EACH = 160
KEEN = Entry(name="keen", family="keen", settings={"enough": 336, "skill": 0.98})
FULL = Entry(name="full", family="keen", settings={"enough": 1, "skill": 0.8})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("data") / "photos", EACH)


@pytest.fixture(scope="module")
def given() -> list[tuple[str, ...]]:
    """The training pictures that each fit was given."""
    return []


@pytest.fixture(scope="module")
def swept(pictures: Path, given: list[tuple[str, ...]], tmp_path_factory: pytest.TempPathFactory) -> Study:
    with pytest.MonkeyPatch.context() as patch:
        install(patch, keen=learner(given))
        return sweep(pictures, tmp_path_factory.mktemp("study") / "s", KEEN, FULL, "majority")


def sweep(pictures: Path, out: Path, *contestants: Entry | str, fractions: str = "10,25,50,100", **more: object) -> Study:
    asked, folder = read_asked(str(pictures), out, contestants=contestants, **more)
    return sweeping.data_fraction(asked, folder, sweeping.read_fractions(fractions))


def test_a_planted_gain_is_found_and_said(swept: Study) -> None:
    keen = next(line for line in swept.comparison["fractions"] if line["name"] == "keen")
    assert [point["pictures"] for point in keen["points"]] == [33, 84, 168, 336]
    accuracies = [point["accuracy"]["value"] for point in keen["points"]]
    assert accuracies == sorted(accuracies)
    gained = accuracies[3] - accuracies[2]
    assert gained > 0.3
    assert keen["sentence"].startswith(f"From 168 to 336 training pictures keen gained {100 * gained:.1f} points [")
    assert "more pictures would probably help." in keen["sentence"]


def test_no_gain_is_claimed_where_there_is_none(swept: Study) -> None:
    for name in ("full", "majority"):
        line = next(line for line in swept.comparison["fractions"] if line["name"] == name)
        assert "no difference could be shown" in line["sentence"]
        assert "help" not in line["sentence"]


def test_parts_are_nested_and_keep_every_class(swept: Study, given: list[tuple[str, ...]]) -> None:
    labels = {row.key: row.label for row in swept.manifest.part("train")}
    by_size = sorted({frozenset(keys) for keys in given}, key=len)
    assert [len(keys) for keys in by_size] == [33, 84, 168, 336]
    for small, large in itertools.pairwise(by_size):
        assert small < large
    for keys in by_size:
        assert {labels[key] for key in keys} == {"red", "green", "blue"}


def test_parts_stay_out_of_the_comparison(
    swept: Study, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, keen=learner())
    plain = fieldguide.compare(pictures, [KEEN, FULL, "majority"], out=tmp_path / "s")
    assert {name: value for name, value in swept.comparison.items() if name != "fractions"} == plain.comparison
    assert swept.scores("keen") == plain.scores("keen")
    assert read_json(swept.folder / "suspects.json") == read_json(plain.folder / "suspects.json")
    assert set(swept.outcomes) == {
        f"{name}{mark}" for name in ("keen", "full", "majority") for mark in ("", "@50", "@25", "@10")
    }


def test_the_same_call_reuses_and_more_fractions_are_added(
    swept: Study, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh: list[tuple[str, ...]] = []
    install(monkeypatch, keen=learner(fresh))
    before = swept.comparison
    again = sweep(pictures, swept.folder, KEEN, FULL, "majority")
    assert set(again.outcomes.values()) == {"reused"}
    assert (fresh, again.comparison) == ([], before)
    without = sweep(pictures, swept.folder, fractions="10,25,50")
    assert (set(without.outcomes.values()), fresh) == ({"reused"}, [])
    more = sweep(pictures, swept.folder, KEEN, fractions="12.5")
    assert [name for name, outcome in more.outcomes.items() if outcome == "done"] == ["keen@12.5"]
    assert len(fresh) == 1
    assert read_toml(swept.folder / "runs" / "keen@12.5" / "settings.toml")["fraction"] == 0.125


def test_entries_that_carry_a_fraction_are_enough(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, keen=learner())
    study = fieldguide.compare(pictures, [KEEN, KEEN.model_copy(update={"fraction": 0.5})], out=tmp_path / "s")
    assert set(study.outcomes) == {"keen", "keen@50"}
    again = fieldguide.compare(tmp_path / "s" / "study.toml")
    assert again.outcomes == {"keen": "reused", "keen@50": "reused"}
    assert read_json(study.folder / "runs" / "keen@50" / "fit.json")["n_train"] == 168


def test_names_of_parts_stay_what_they_are() -> None:
    entry = Entry(name="majority", family="majority", fraction=0.25)
    (read,) = plan.read_contestants([entry])
    assert (read.name, read.fraction) == ("majority@25", 0.25)
    assert plan.read_contestants(plan.entries([read])) == (read,)
    (odd,) = plan.read_contestants([Entry(name="ours@25", family="majority")])
    assert (odd.name, odd.fraction) == ("ours-25", 1.0), "only a part is called so"


def test_seeds_go_with_parts(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, dice=dice())
    study = sweep(pictures, tmp_path / "s", Entry(name="net", family="dice"), fractions="50", seeds=2)
    points = study.comparison["fractions"][0]["points"]
    assert [point["spread"]["n"] for point in points] == [2, 2]
    for run in ("net", "net@50"):
        assert (study.folder / "runs" / run / "seeds" / "43" / "predictions.parquet").exists()
    sizes = {read_json(path)["n_train"] for path in (study.folder / "runs" / "net@50").rglob("fit.json")}
    assert sizes == {168}
    page = study.report.read_text(encoding="utf-8")
    assert 'id="seeds"' in page and 'id="fractions"' in page


def test_other_seeds_see_the_same_part(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, ...]] = []
    room = learner(given)
    room.CHANCE = True
    install(monkeypatch, keen=room)
    sweep(pictures, tmp_path / "s", KEEN, fractions="25", seeds=3)
    assert [len(keys) for keys in given] == [336] * 3 + [84] * 3
    assert len(set(given)) == 2


def test_what_learns_nothing_is_not_cut(pictures: Path, tmp_path: Path) -> None:
    answers = tmp_path / "answers.csv"
    answers.write_text("image,answer\nred/000.png,red\n")
    entries = sweeping.expanded(
        plan.read_contestants(["majority", f"recorded/{answers},as=people".replace(",as", ":as")]), (0.5,)
    )
    assert [entry.name for entry in entries] == ["majority", "majority@50", "people"]
    with pytest.raises(UsageProblem, match="No contestant learns"):
        sweeping.expanded(plan.read_contestants([f"recorded/{answers}"]), (0.5,))


def test_parts_and_folds_do_not_mix(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="part of the training pictures, but this study has 3 folds"):
        fieldguide.compare(pictures, [Entry(name="m", family="majority", fraction=0.5)], out=tmp_path / "s", folds=3)


@pytest.mark.parametrize("words", ["0", "101", "ten", "", "-5,50", "100", "50,,25", "nan"])
def test_fractions_that_are_none_are_refused(words: str) -> None:
    with pytest.raises(UsageProblem, match="--fractions"):
        sweeping.read_fractions(words)


def test_fractions_are_read_in_per_cent() -> None:
    assert sweeping.read_fractions("10, 25,50,100") == (0.5, 0.25, 0.1)
    assert sweeping.read_fractions("12.5") == (0.125,)


def test_a_part_is_expected_to_cost_its_share_and_seeds_their_number(pictures: Path, tmp_path: Path) -> None:
    asked, folder = read_asked(str(pictures), tmp_path / "s", contestants=("linear:image_size=64",))
    run = sweeping.dry_run(asked, folder, (0.5,))
    whole, half = (planned.estimate for planned in run.planned)
    assert [planned.contestant.name for planned in run.planned] == ["linear-image_size=64", "linear-image_size=64@50"]
    assert (half.seconds or 0) < (whole.seconds or 0)
    assert half.memory_bytes == pytest.approx((whole.memory_bytes or 0) / 2)
    assert not folder.exists()


def test_a_failed_part_is_told(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = learner()
    fit = room.fit

    def picky(train, val, task, settings, bench):  # type: ignore[no-untyped-def]
        if len(train) < 100:
            raise UsageProblem("84 pictures are too few for me.", "More.", "Take more.")
        return fit(train, val, task, settings, bench)

    room.fit = picky
    install(monkeypatch, keen=room)
    study = sweep(pictures, tmp_path / "s", KEEN, fractions="25,50")
    assert study.outcomes == {"keen": "done", "keen@50": "done", "keen@25": "failed"}
    assert study.exit_code == 3
    page = study.report.read_text(encoding="utf-8")
    assert page.count("84 pictures are too few for me.") == 1
    assert page.index("84 pictures are too few") > page.index('id="fractions"'), "not among the contestants of the leaderboard"
