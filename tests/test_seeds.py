"""Several seeds: the study's own stays as it was, further ones stand beside it, and no kill loses what is finished."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.rooms import dice, install, learner, write_colours

import fieldguide
from fieldguide import runs
from fieldguide.asked import Entry
from fieldguide.bench import Bench, read_log
from fieldguide.data.tables import read_predictions
from fieldguide.errors import PARTLY, USAGE, EnvironmentProblem
from fieldguide.files import read_json, read_toml

NET, LINEAR = Entry(name="net", family="dice"), "linear:features=colour,strengths=0.1,as=linear"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each seed was fitted."""
    counted: Counter[int] = Counter()
    install(monkeypatch, dice=dice(lambda bench: counted.update([bench.seed])), sure=learner())
    return counted


def answers(run: Path) -> list[tuple[str, str | None]]:
    return [(answer.image, answer.label) for answer in read_predictions(run / "predictions.parquet")]


def below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_further_seeds_stand_beside_an_equal_main_run(pictures: Path, tmp_path: Path, fits: Counter[int]) -> None:
    one = fieldguide.compare(pictures, [NET, LINEAR], out=tmp_path / "one")
    three = fieldguide.compare(pictures, [NET, LINEAR], out=tmp_path / "three", seeds=3)
    net, alone = three.folder / "runs" / "net", one.folder / "runs" / "net"
    assert fits == {42: 2, 43: 1, 44: 1}
    assert answers(net) == answers(alone)
    assert answers(net) != answers(net / "seeds" / "43") != answers(net / "seeds" / "44")
    assert {answer.run for answer in read_predictions(net / "seeds" / "43" / "predictions.parquet")} == {"net"}
    assert below(net / "seeds" / "43") == {"predictions.parquet", "log.jsonl", "fit.json"}
    assert [event["seed"] for event in read_log(net / "seeds" / "44" / "log.jsonl") if event["event"] == "epoch"] == [44]
    assert not (three.folder / "runs" / "linear" / "seeds").exists(), "chance plays no part in it"
    same = {"letters", "pairs", "verdict", "order", "leader_group", "chosen", "power", "subsets", "above_chance"}
    assert {name: three.comparison[name] for name in same} == {name: one.comparison[name] for name in same}


def test_scores_and_costs_tell_every_seed(pictures: Path, tmp_path: Path, fits: Counter[int]) -> None:
    study = fieldguide.compare(pictures, [NET, LINEAR], out=tmp_path / "s", seeds=3)
    scores, truth = study.scores("net"), {row.key: row.label for row in study.manifest.part("test")}
    assert [line["seed"] for line in scores["seeds"]] == [42, 43, 44]
    for line in scores["seeds"]:
        place = study.folder / "runs" / "net" / ("" if line["seed"] == 42 else f"seeds/{line['seed']}")
        right = [label == truth[key] for key, label in answers(place) if key in truth]
        assert line["accuracy"] == pytest.approx(sum(right) / len(truth))
    values = [line["accuracy"] for line in scores["seeds"]]
    assert (scores["spread"]["min"], scores["spread"]["max"]) == (min(values), max(values))
    assert study.comparison["seeds"]["runs"] == {"net": scores["spread"]}
    assert [{pair["a"], pair["b"]} for pair in study.comparison["seeds"]["neighbours"]] == [{"net", "linear"}]
    assert study.comparison["seeds"]["neighbours"][0]["outcome"] != "not known"
    cost = study.cost("net")
    assert cost["fits"] == 3
    parts = [study.folder / "runs" / "net" / name for name in ("fit.json", "seeds/43/fit.json", "seeds/44/fit.json")]
    assert cost["fit_seconds"] == pytest.approx(sum(read_json(part)["seconds"] for part in parts))
    assert cost["predicted"] == len(study.manifest.part("test")) + len(study.manifest.part("val"))
    assert study.cost("linear")["fits"] == 1


def test_one_seed_says_nothing_but_that_it_was_one(pictures: Path, tmp_path: Path, fits: Counter[int]) -> None:
    study = fieldguide.compare(pictures, [NET, LINEAR], out=tmp_path / "s")
    assert "seeds" not in study.scores("net")
    assert "seeds" not in study.comparison
    page = study.report.read_text(encoding="utf-8")
    assert 'id="seeds"' not in page
    assert "One seed (42) was run" in page
    quiet = fieldguide.compare(pictures, [LINEAR], out=tmp_path / "q")
    assert "One seed" not in quiet.report.read_text(encoding="utf-8"), "no other seed would change it"


def test_seeds_can_be_added_and_only_those_are_run(pictures: Path, tmp_path: Path, fits: Counter[int]) -> None:
    fieldguide.compare(pictures, [NET, LINEAR], out=tmp_path / "s")
    before = {name: (tmp_path / "s" / "runs" / "net" / name).stat().st_mtime_ns for name in ("predictions.parquet", "model")}
    added = fieldguide.compare(pictures, [NET, LINEAR], out=tmp_path / "s", seeds=2)
    assert added.outcomes == {"net": "done", "linear": "reused"}
    assert fits == {42: 1, 43: 1}
    assert before == {name: (tmp_path / "s" / "runs" / "net" / name).stat().st_mtime_ns for name in before}
    more = fieldguide.compare(pictures, [NET], out=tmp_path / "s", seeds=4)
    assert fits == {42: 1, 43: 1, 44: 1, 45: 1}
    assert more.cost("net")["fits"] == 4
    again = fieldguide.compare(pictures, [NET], out=tmp_path / "s")
    assert set(again.outcomes.values()) == {"reused"}
    assert again.scores("net")["spread"]["n"] == 4
    assert read_toml(tmp_path / "s" / "study.toml")["seeds"] == 4, "where nothing is said, seeds stay"
    assert fits.total() == 4


def test_seeds_are_not_taken_away(pictures: Path, tmp_path: Path, fits: Counter[int]) -> None:
    fieldguide.compare(pictures, [NET], out=tmp_path / "s", seeds=3)
    with pytest.raises(fieldguide.Problem, match="is a study with seeds = 3; now seeds = 2") as caught:
        fieldguide.compare(pictures, [NET], out=tmp_path / "s", seeds=2)
    assert caught.value.code == USAGE
    assert "--seeds 3" in caught.value.next


def test_seeds_and_folds_do_not_mix(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(fieldguide.Problem, match="folds already repeat every fit") as caught:
        fieldguide.compare(pictures, ["majority"], out=tmp_path / "s", folds=3, seeds=2)
    assert caught.value.code == USAGE
    assert not (tmp_path / "s").exists()
    with pytest.raises(fieldguide.Problem, match="seeds"):
        fieldguide.compare(pictures, ["majority"], out=tmp_path / "s", seeds=0)


@pytest.mark.parametrize("moment", ["the fit", "the answers", "the cost", "the model", "its removal"])
def test_a_stop_among_the_seeds_costs_what_was_not_finished(
    moment: str, pictures: Path, tmp_path: Path, fits: Counter[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill leaves is tried in the torture group; here it is what is done again, and what is not."""
    whole = fieldguide.compare(pictures, [NET], out=tmp_path / "whole", seeds=3)
    fits.clear()

    class Stop(BaseException):
        pass

    with monkeypatch.context() as patch:
        stopping(patch, moment, Stop, fits)
        with pytest.raises(Stop):
            fieldguide.compare(pictures, [NET], out=tmp_path / "s", seeds=3)
    done = fieldguide.compare(pictures, [NET], out=tmp_path / "s", seeds=3)
    assert done.outcomes == {"net": "done"}
    assert fits == {42: 1, 43: 1, 44: 2 if moment == "the fit" else 1}
    assert done.scores("net") == whole.scores("net")
    assert done.cost("net")["fits"] == 3
    assert below(done.folder / "runs") == below(whole.folder / "runs")


def stopping(patch: pytest.MonkeyPatch, moment: str, stop: type[BaseException], fits: Counter[int]) -> None:
    """Raise `stop` in the work for seed 44."""

    def before(name: str, mine: Any, where: Any = runs) -> None:
        real = getattr(where, name)

        def stopped(*given: Any, **named: Any) -> Any:
            if mine(*given):
                raise stop
            return real(*given, **named)

        patch.setattr(where, name, stopped)

    def of_44(*given: Any) -> bool:
        return any("seeds/44" in str(word) for word in given)

    match moment:
        case "the fit":
            install(patch, dice=dice(lambda bench: stop_at(bench, stop, fits)))
        case "the answers":
            before("_answers", lambda fitted, entry, table, folder, rows: of_44(folder))
        case "the cost":
            before("_recount", lambda folder: (folder / "seeds" / "44").exists())
        case "the model":
            before("replace", lambda source, target: of_44(source) and Path(source).name == "model", runs.os)
        case _:
            before("rmtree", lambda path, **_: of_44(path) and "model" in path.name, runs.shutil)


def stop_at(bench: Bench, stop: type[BaseException], fits: Counter[int]) -> None:
    fits.update([bench.seed])
    if bench.seed == 44:
        raise stop


def test_a_seed_that_fails_is_told_and_tried_again(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    well = False

    def before(bench: Bench) -> None:
        if bench.seed == 43 and not well:
            raise EnvironmentProblem("The graphics card went away.", "One that stays.", "Plug it in.")

    install(monkeypatch, dice=dice(before))
    study = fieldguide.compare(pictures, [NET, "majority"], out=tmp_path / "s", seeds=2)
    assert study.outcomes == {"net": "failed", "majority": "done"}
    assert study.exit_code == PARTLY
    assert "seeds" not in study.scores("net")
    page = study.report.read_text(encoding="utf-8")
    assert "Not all seeds of" in page and "The graphics card went away." in page
    well = True
    mended = fieldguide.compare(pictures, [NET, "majority"], out=tmp_path / "s", seeds=2)
    assert mended.outcomes == {"net": "done", "majority": "reused"}
    assert mended.scores("net")["spread"]["n"] == 2
    assert "Not all seeds of" not in mended.report.read_text(encoding="utf-8")


def test_redraw_needs_no_model(pictures: Path, tmp_path: Path, fits: Counter[int]) -> None:
    study = fieldguide.compare(pictures, [NET, LINEAR], out=tmp_path / "s", seeds=2)
    before = study.comparison, study.scores("net"), study.report.read_bytes()
    for model in study.folder.glob("runs/*/model"):
        shutil.rmtree(model)
    again = fieldguide.redraw(study.folder)
    assert (again.comparison, again.scores("net"), again.report.read_bytes()) == before


def test_the_report_and_the_terminal_tell_the_spread(
    pictures: Path, tmp_path: Path, fits: Counter[int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieldguide import terminal

    study = fieldguide.compare(pictures, [NET, LINEAR], out=tmp_path / "s", seeds=3)
    spread = study.scores("net")["spread"]
    deviation = f"{100 * spread['sd']:.1f}"
    page = study.report.read_text(encoding="utf-8").replace("\u00a0", " ")
    assert f"± {deviation} over 3 seeds" in page
    assert 'href="#seeds"' in page and "Would another seed change the order?" in page
    assert "3 fits" in page and "One seed (42)" not in page
    assert "The same at any seed, and so not repeated: <bdi>linear</bdi>." in page
    monkeypatch.setattr(terminal, "out", terminal.Console(highlight=False, width=300))
    terminal.leaderboard(study)
    told = capsys.readouterr().out
    assert f"{100 * spread['mean']:.1f} ± {deviation} (3)" in told
    assert study.comparison["seeds"]["neighbours"][0]["sentence"] in told
