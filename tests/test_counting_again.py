"""A study of counts again: other seeds, fewer pictures, figures, and every command that is put to its folder."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from pathlib import Path

import pytest
from tests.counted import write_set

import fieldguide
from fieldguide import api
from fieldguide.cli import main
from fieldguide.data.tables import read_predictions, write_predictions
from fieldguide.files import read_json
from fieldguide.report.fractions import fractions
from fieldguide.report.measured import ERROR, EXACT, axis_from_nothing
from fieldguide.report.read import read_study
from fieldguide.report.seeds import seeds
from fieldguide.report.wanted import Wanted

NAMES = ("count_baseline", "count_baseline/colour")
COLOUR = "count_baseline-colour"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two baselines on a half and all of the pictures; one answers once more, as with another seed, one too many of every dot."""
    place = tmp_path_factory.mktemp("again")
    root, folder = write_set(place / "things", {"train": 40, "valid": 8, "test": 20}), place / "s"
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "data-fraction", str(root), *NAMES, "--task", "count", "--fractions", "50", "--out", str(folder)])
    assert ended.value.code == 0
    run = folder / "runs" / COLOUR
    other = [
        dataclasses.replace(one, counts={**(one.counts or {}), "dot": (one.counts or {}).get("dot", 0) + 1})
        for one in read_predictions(run / "predictions.parquet")
    ]
    (run / "seeds" / "43").mkdir(parents=True)
    write_predictions(run / "seeds" / "43" / "predictions.parquet", other)
    api.redraw(folder)
    return folder


def test_seeds_are_scored_and_shown_in_both_measures(study: Path) -> None:
    scores = read_json(study / "runs" / COLOUR / "scores.json")
    own, other = scores["seeds"]
    metrics = scores["parts"]["test"]["metrics"]
    assert (own["exact"], own["mae"]) == (metrics["exact"]["value"], metrics["mae"]["value"])
    assert other["mae"] > own["mae"] and other["exact"] < own["exact"]
    view = read_study(study)
    for measure, key in ((EXACT, "exact"), (ERROR, "mae")):
        (row,) = seeds(view, measure).rows
        assert [value.number for value in row.each] == [own[key], other[key]]
        assert row.mean.number == pytest.approx((own[key] + other[key]) / 2)
    page = (study / "report.html").read_text(encoding="utf-8")
    assert 'id="counting_seeds"' in page and 'href="#counting_seeds"' in page and page.count("over 2\u00a0seeds") >= 2
    assert f"{own['mae']:.2f} to {other['mae']:.2f}" in page
    told = list(csv.DictReader((study / "leaderboard.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert {row["contestant"]: row["seeds_mae_n"] for row in told} == {COLOUR: "2", "count_baseline": ""}
    assert "over 2 seeds" in (study / "report.md").read_text(encoding="utf-8").replace("\u00a0", " ")


def test_fewer_pictures_are_scored_and_shown_in_both_measures(study: Path) -> None:
    view = read_study(study)
    for measure in (EXACT, ERROR):
        section = fractions(view, measure)
        assert section.shown and section.columns == ("20", "40") and len(section.rows) == 2
        for row in section.rows:
            for cell, run in zip(row.cells, (f"{row.name}@50", row.name), strict=True):
                found = read_json(study / "runs" / run / "scores.json")["parts"]["test"]["metrics"][measure.metric]["value"]
                assert cell is not None and cell.value.number == found
    assert next(row.name for row in fractions(view, ERROR).rows) == COLOUR  # the nearest first
    page = (study / "report.html").read_text(encoding="utf-8")
    assert 'id="counting_fractions"' in page and page.count('class="growth"') == 2
    assert {one.name for one in view.contestants} == {"count_baseline", COLOUR}


def test_nothing_of_it_is_there_where_nothing_was_repeated(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    shutil.copytree(study, folder)
    for part in ("count_baseline@50", f"{COLOUR}@50", f"{COLOUR}/seeds"):
        shutil.rmtree(folder / "runs" / part)
    api.redraw(folder)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert not any(f'id="{id}"' in page for id in ("counting_seeds", "counting_fractions", "curves"))


def test_a_sign_says_whether_an_error_fell(study: Path) -> None:
    view = read_study(study)
    line = {"name": COLOUR, "points": [], "per_doubling": None, "sentence": "so."}
    signs = []
    for outcome in ("a nearer", "b nearer", "too few pictures to tell"):
        told = {"fractions_mae": [{**line, "pair": {"outcome": outcome, "difference": 0.1}}]}
        (one,) = fractions(dataclasses.replace(view, comparison=told), ERROR).told
        signs.append((one.state, one.sign))
    assert signs == [("fine", "▼"), ("found", "▲"), ("other", "≈")]


def test_an_axis_of_errors_begins_at_nothing_and_holds_all() -> None:
    for values in ((0.03,), (0.4, 1.0), (7.2,), (1234.0,), (), (0.0,)):
        axis = axis_from_nothing(values)
        assert axis.low == 0 and axis.high >= max(values, default=0) and 2 <= len(axis.ticks) <= 6


def test_figures_of_counts(study: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra figures is not installed")
    folder = tmp_path / "s"
    shutil.copytree(study, folder)
    notes = fieldguide.study.redraw(folder, Wanted(figures=True)).drawn.notes
    names = {path.stem for path in (folder / "figures").iterdir()}
    assert names == {"leaderboard", "mean_error", "accuracy_cost", "validation_test", "differences"}
    assert {note.partition(":")[0] for note in notes} == {"figures/reliability", "figures/learning_curves"}
    rows = list(csv.DictReader((folder / "figures" / "mean_error.csv").read_text(encoding="utf-8-sig").splitlines()))
    errors = {
        run: read_json(folder / "runs" / run / "scores.json")["parts"]["test"]["metrics"]["mae"] for run in (COLOUR, NAMES[0])
    }
    assert [row["contestant"] for row in rows] == [COLOUR, NAMES[0]]  # the nearest stands on top
    assert all(float(row["mae"]) == errors[row["contestant"]]["value"] for row in rows)
    assert "less is better" in (folder / "figures" / "mean_error.svg").read_text(encoding="utf-8")
    assert "exact match on 20 test pictures" in (folder / "figures" / "leaderboard.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words",
    [
        "explain {s}",
        "explain {s}/runs/count_baseline {p} --out {t}/e",
        "describe {s} --server http://127.0.0.1:9/v1 --model none",
        "audit {s}",
        "audit {s}/runs/count_baseline",
        "merge {s}/runs/count_baseline {t}/m",
        "sweep text-ratio {s}",
        "sweep translation {s}",
        "predict {s} {p}",
        "compare {d} majority --out {s}",
        "compare {d} count_baseline --task count --folds 3 --seeds 2 --out {t}/f",
    ],
)
def test_what_makes_no_sense_for_counts_says_so(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    places = {"s": study, "t": tmp_path, "d": study.parent / "things", "p": study.parent / "things" / "test" / "000.png"}
    with pytest.raises(SystemExit) as ended:
        main([word.format(**places) for word in words.split()])
    told = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2 and len(told) == 3 and not any("Traceback" in line for line in told)


def test_what_makes_sense_is_done(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, picture = tmp_path / "s", study.parent / "things" / "test" / "000.png"
    shutil.copytree(study, folder)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "dot.txt").write_text("red discs", encoding="utf-8")
    for words in (
        f"predict {folder}/runs/{COLOUR} {picture}",
        f"texts {folder} --add {tmp_path}/texts",
        f"clean {folder}",
        f"report {folder} --folder",
        f"compare {study.parent}/things count_baseline/median --out {folder}",
    ):
        try:
            main(words.split())
        except SystemExit as ended:
            assert ended.code in (0, None), words
    assert "dot" in capsys.readouterr().out
    assert "count_baseline-median" in read_json(folder / "comparison.json")["order"]
    assert read_json(folder / "comparison.json")["fractions_mae"]
