"""A study of counts end to end: what is frozen, scored, compared and shown, and that a study of classes and one of counts do not mix."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.counted import write_set, write_words

import fieldguide
from fieldguide import api, families, plan
from fieldguide.asked import Asked, worths
from fieldguide.data.strata import stratified
from fieldguide.data.tables import read_manifest, read_predictions
from fieldguide.errors import DONE, PARTLY, DataProblem, UsageProblem
from fieldguide.explain.explaining import Wish
from fieldguide.explaining import explain_study
from fieldguide.families import Sizes
from fieldguide.files import read_json, read_toml
from fieldguide.gather import shape_rows
from fieldguide.looking import show
from fieldguide.records import ClassInfo, Estimate, ManifestRow
from fieldguide.study import dry_run, read_asked
from fieldguide.tasks.count import Count

FLOORS = ("count_baseline", "count_baseline/colour:penalties=0.3+30")


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("data") / "things", {"train": 40, "valid": 12, "test": 20})


def answers(things: Path, target: Path) -> Path:
    """Write answers in words for test and validation: mostly right, some off by one, some that give no counts."""
    random = np.random.default_rng(5)

    def says(counts: dict[str, int], at: int) -> str:
        if at % 10 == 9:
            return ["There are a few.", '{"dot": "2"}'][at // 10 % 2]
        off = int(random.integers(1, 3)) if at % 10 == 3 else 0
        return json.dumps({**counts, "dot": counts.get("dot", 0) + off} if off else counts)

    return write_words(things, target, says)


@pytest.fixture(scope="module")
def study(things: Path, tmp_path_factory: pytest.TempPathFactory) -> fieldguide.Study:
    folder = tmp_path_factory.mktemp("study")
    told = answers(things, folder / "told.csv")
    return fieldguide.compare(
        things, (*FLOORS, f"recorded/{told}:as=recorded-told"), out=folder / "s", task="count", worth=("dot=1", "ring=5")
    )


def test_what_is_frozen(study: fieldguide.Study) -> None:
    manifest = read_manifest(study.folder / "manifest.parquet")
    assert manifest.task == "count" and manifest.classes == ("dot", "ring") == study.manifest.classes
    assert [len(manifest.part(split)) for split in ("train", "val", "test")] == [40, 12, 20]  # type: ignore[arg-type]
    assert all(row.label == "" and row.counts is not None for row in manifest.rows)
    assert all(sum(count for _, count in row.counts or ()) == len(row.boxes) for row in manifest.rows)
    assert read_toml(study.folder / "study.toml")["task"] == "count"
    assert study.exit_code == DONE and set(study.outcomes.values()) == {"done"}


def test_scores_are_those_of_the_answers(study: fieldguide.Study) -> None:
    truth = {row.key: dict(row.counts or ()) for row in study.manifest.part("test")}
    for run in study.outcomes:
        given = {one.image: one for one in read_predictions(study.folder / "runs" / run / "predictions.parquet")}
        known = [(given[key].counts, truth[key]) for key in truth if given[key].counts is not None]
        off = [[(counts or {}).get(name, 0) - told.get(name, 0) for name in ("dot", "ring")] for counts, told in known]
        found = study.scores(run)["parts"]["test"]
        metrics = {name: score["value"] for name, score in found["metrics"].items()}
        assert metrics["exact"] == pytest.approx(sum(not any(row) for row in off) / len(truth))
        assert metrics["mae"] == pytest.approx(np.abs(off).mean()) and metrics["bias"] == pytest.approx(np.mean(off))
        assert metrics["value_mae"] == pytest.approx(np.abs(np.array(off) @ [1, 5]).mean())
        assert metrics["parsed"] == len(known) / len(truth) and found["n"] == len(truth)


def test_contestants_are_told_apart(study: fieldguide.Study) -> None:
    told = study.comparison
    assert told["task"] == "count" and told["order"][-1] == "count_baseline" and len(told["order"]) == 3
    # As often exact on validation, it is a little nearer; and who leaves pictures without an answer is not called nearest.
    assert told["chosen"] == told["nearest"] == "count_baseline-colour-penalties=0.3+30"
    rank = {frozenset((row["a"], row["b"])): row for row in told["errors"]}
    row = rank[frozenset(("recorded-told", "count_baseline"))]
    assert row["outcome"] == ("a nearer" if row["a"] == "recorded-told" else "b nearer") and row["n"] == 18
    words = study.scores("recorded-told")["parts"]["test"]
    assert words["kinds"] == {"no JSON": 1, "no number": 1} and words["failed"] == 2
    assert words["metrics"]["exact_text"]["value"] == words["metrics"]["exact_counts"]["value"] > 0.5
    colour = study.scores("count_baseline-colour-penalties=0.3+30")["parts"]["test"]["metrics"]["mae"]["value"]
    assert colour < 0.6 * study.scores("count_baseline")["parts"]["test"]["metrics"]["mae"]["value"]


def test_the_page_shows_it(study: fieldguide.Study) -> None:
    page = study.report.read_text(encoding="utf-8")
    for id in ("counting", "counting_pairs", "counting_classes", "counting_pictures", "trust", "reproduce", "counting_method"):
        assert f'<section id="{id}"' in page and f'href="#{id}"' in page
    assert "leaderboard" not in re.findall(r'<section id="(\w+)"', page)
    mae = study.scores("count_baseline")["parts"]["test"]["metrics"]["mae"]
    assert f">{mae['value']:.2f}</span>" in page and f"{mae['low']:.2f} to {mae['high']:.2f}" in page
    boxes = sum(len(row.boxes) for row in study.manifest.part("test"))
    assert 12 <= len(re.findall(r'<rect class="box b\d+" x="[\d.]+"', page)) <= boxes + 2
    assert "words and no JSON" in page and "no class: things" in page
    assert not re.search(r"\sstyle=|\son\w+=", page)
    for name in ("report.md", "leaderboard.csv", "leaderboard.tex", "scores.json"):
        assert "recorded-told" in (study.folder / name).read_text(encoding="utf-8").replace("{}", "")
    rows = list(csv.DictReader((study.folder / "leaderboard.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert float(rows[0]["mae"]) == study.scores(rows[0]["contestant"])["parts"]["test"]["metrics"]["mae"]["value"]
    assert read_json(study.folder / "scores.json")["errors"] == study.comparison["errors"]


def test_the_same_again_changes_nothing_and_values_may_change_without_a_fit(study: fieldguide.Study, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    shutil.copytree(study.folder, folder)
    source = read_toml(folder / "study.toml")["source"]
    again = fieldguide.compare(source, (), out=folder, task="count")
    assert set(again.outcomes.values()) == {"reused"} and again.comparison == study.comparison
    assert again.report.read_bytes() == study.report.read_bytes()
    dearer = fieldguide.compare(source, (), out=folder, task="count", worth=("dot=10", "ring=50"))
    for run in study.outcomes:
        before, now = (one.scores(run)["parts"]["test"]["metrics"]["value_mae"]["value"] for one in (study, dearer))
        assert now == pytest.approx(10 * before)
    with pytest.raises(UsageProblem, match="no class 'disc' that could be worth 3"):
        fieldguide.compare(source, (), out=folder, task="count", worth=("disc=3",))
    with pytest.raises(UsageProblem, match="with task = count"):
        fieldguide.compare(source, (), out=folder, task="classify")
    assert fieldguide.compare(source, (), out=folder).manifest.task == "count"  # it need not be said again
    assert api.redraw(folder).comparison == study.comparison  # what was refused has left nothing behind


def test_exact_text_is_a_headline_of_its_own(study: fieldguide.Study, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    shutil.copytree(study.folder, folder)
    source = read_toml(folder / "study.toml")["source"]
    told = fieldguide.compare(source, (), out=folder, task="count", exact="text")
    assert {told.scores(run)["parts"]["test"]["exact_is"] for run in told.outcomes} == {"text"}
    assert "letter for letter" in told.report.read_text(encoding="utf-8")


def test_a_killed_run_goes_on_to_the_same_numbers(study: fieldguide.Study, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    shutil.copytree(study.folder, folder)
    for name in ("predictions.parquet", "cost.json", "scores.json"):
        (folder / "runs" / FLOORS[0] / name).unlink()
    (folder / "comparison.json").unlink()
    again = fieldguide.compare(read_toml(folder / "study.toml")["source"], (), out=folder, task="count")
    assert again.outcomes[FLOORS[0]] == "done" and again.comparison == study.comparison


def test_tasks_do_not_mix(things: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="majority names classes, and this study counts things") as caught:
        fieldguide.compare(things, ("majority",), out=tmp_path / "a", task="count")
    assert "count_baseline, recorded" in caught.value.allowed
    with pytest.raises(DataProblem, match="set for detection or counting") as refused:
        fieldguide.compare(things, ("majority",), out=tmp_path / "b")
    assert "--task count" in refused.value.next
    with pytest.raises(UsageProblem, match="count_baseline counts, and this study is about classes"):
        fieldguide.compare(things, ("count_baseline",), out=tmp_path / "c")


def test_what_would_run(things: Path, tmp_path: Path) -> None:
    asked, folder = read_asked(str(things), tmp_path / "s", contestants=("count_baseline", "majority"), task="count")
    would = dry_run(asked, folder)
    assert would.shape.sizes == {"train": 40, "val": 12, "test": 20}
    assert [planned.problem is None for planned in would.planned] == [True, False]


def test_a_preset_is_the_floors_and_what_networks_are_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    task, sizes = Count((ClassInfo("dot", "dot"),)), Sizes(40, 12, 20)
    monkeypatch.setattr(families, "estimate", lambda *_: Estimate(seconds=1.0))
    floors = [f"count_baseline-{name}" for name in ("mean", "commonest", "colour", "pixels")]
    for missing, networks in (
        (False, ["count_baseline-mobilenetv3_small_100", "mobilenetv3_small_100", "vit_tiny_patch16_224"]),
        (True, list(plan.SCRATCH)),
    ):
        monkeypatch.setattr(plan, "obstacle", lambda entry, online, missing=missing: missing or None)
        chosen = plan.choose("quick", task, sizes, online=False, device="cpu")
        named = [entry.name for entry in plan.read_contestants(networks)] if missing else networks
        assert [entry.name for entry in chosen] == [*floors, *named]
        assert all(families.unfit(entry, "count") is None for entry in chosen)


def test_look_counts_and_what_needs_classes_says_so(
    things: Path, study: fieldguide.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = fieldguide.look(things, task="count")
    show(seen)
    told = capsys.readouterr().out
    counted = {name: sum(dict(row.counts or ()).get(name, 0) for row in study.manifest.rows) for name in ("dot", "ring")}
    assert f"dot {counted['dot']:,}, ring {counted['ring']:,}" in told and "things" in told
    with pytest.raises(UsageProblem, match="study of classes"):
        fieldguide.look(things, task="count", suspects="linear")
    with pytest.raises(UsageProblem, match="is a study of counts"):
        explain_study(study.folder, Wish())


def test_a_split_is_made_where_there_is_none_and_folds_are(tmp_path: Path) -> None:
    root = write_set(tmp_path / "things", {"train": 60}, seed=2)
    made = fieldguide.compare(root, FLOORS[:1], out=tmp_path / "s", task="count")
    sizes = [len(made.manifest.part(split)) for split in ("train", "val", "test")]  # type: ignore[arg-type]
    assert sum(sizes) == 60 and abs(sizes[0] - 42) <= 3 and min(sizes) >= 6
    means = [np.mean([sum(n for _, n in row.counts or ()) for row in made.manifest.part(split)]) for split in ("train", "test")]  # type: ignore[arg-type]
    assert abs(means[0] - means[1]) < 1.0
    folded = fieldguide.compare(root, FLOORS[:1], out=tmp_path / "f", task="count", folds=3)
    assert folded.scores("count_baseline")["parts"]["test"]["n"] == 60 and folded.exit_code == DONE


def test_strata_hold_one_total_each_and_few_pictures_make_none() -> None:
    def row(total: int) -> ManifestRow:
        return ManifestRow(f"k{total}", "p", "", counts=(("dot", total),) if total else ())

    labels = [one.label for one in stratified([row(total) for total in (0, 0, 0, 5, 9)] * 12)]
    assert len(set(labels)) == 3 and labels[0] == labels[1] == "below 5 things" and labels[4] == "9 things and more"
    assert {one.label for one in stratified([row(1), row(9)])} == {"any number"}
    classes = (ManifestRow("k", "p", "cat"),)
    assert stratified(classes) == classes


def test_every_step_is_divided_alike() -> None:
    totals = [0] * 20 + [10] * 20 + [50] * 20
    rows = [ManifestRow(f"{at:03}", f"{at}.png", "", counts=(("dot", total),)) for at, total in enumerate(totals)]
    made = shape_rows(rows, Asked(source="x", task="count"), ("dot",))
    for total in (0, 10, 50):
        here = [row for row in made.rows if row.counts == (("dot", total),)]
        sizes = [sum(row.split == split for row in here) for split in ("train", "val", "test")]
        assert sizes == [14, 3, 3] and {row.label for row in here} == {""}


def test_a_changed_count_is_seen(things: Path, tmp_path: Path) -> None:
    root = tmp_path / "things"
    shutil.copytree(things, root)
    fieldguide.compare(root, FLOORS[:1], out=tmp_path / "s", task="count")
    path = root / "train" / "_annotations.coco.json"
    content = json.loads(path.read_text())
    content["annotations"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(UsageProblem, match="The pictures have changed"):
        fieldguide.compare(root, FLOORS[:1], out=tmp_path / "s", task="count")


def test_a_fitted_contestant_counts_new_pictures(study: fieldguide.Study, things: Path, tmp_path: Path) -> None:
    from fieldguide.using import write_answers

    run = study.folder / "runs" / FLOORS[0]
    [answer] = api.predict(run, [things / "test" / "000.png"])
    assert answer.error is None and set(answer.counts or {}) == {"dot", "ring"} and "dot" in str(answer.name)
    write_answers(tmp_path / "out.csv", run, [answer])
    [row] = csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8-sig").splitlines())
    assert int(row["dot"]) == (answer.counts or {})["dot"]


def test_counts_of_others_by_column(study: fieldguide.Study, things: Path, tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(
        "image,dot,ring\ntest/000.png,1,0\ntest/001.png,-1,0\ntest/002.png,2.5,0\ntest/003.png,,\ntest/004.png,1.0,2.0\n",
        encoding="utf-8",
    )
    told = fieldguide.compare(things, (f"recorded/{path}:as=recorded-counts",), out=tmp_path / "s", task="count")
    found = told.scores("recorded-counts")["parts"]["test"]
    assert found["kinds"] == {"no answer": 15, "empty": 1, "negative": 1, "not whole": 1}
    said = read_predictions(told.folder / "runs" / "recorded-counts" / "predictions.parquet")
    assert {"dot": 1, "ring": 2} in [answer.counts for answer in said], "2.0 is 2"
    assert told.exit_code == PARTLY
    assert told.scores("recorded-counts")["parts"]["val"] is not None
    path.write_text("image,dots\ntest/000.png,1\n", encoding="utf-8")
    again = fieldguide.compare(things, (f"recorded/{path}:as=other",), out=tmp_path / "s", task="count")
    assert again.outcomes["other"] == "failed" and "holds no counts" in again.failure("other")["given"]


def test_names_are_only_text(tmp_path: Path) -> None:
    root = write_set(tmp_path / "things", {"train": 8, "test": 4}, names=("<script>alert(1)</script>", '"} onload=x {'))
    page = fieldguide.compare(root, ("count_baseline:as=a",), out=tmp_path / "s", task="count").report.read_text(
        encoding="utf-8"
    )
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    assert not re.search(r"<[^>]*\sonload=", re.sub(r'"[^"]*"', '""', page))


@pytest.mark.parametrize("words", ["dime", "dime=", "=3", "dime=many", "dime=nan"])
def test_what_is_no_value(words: str) -> None:
    with pytest.raises(ValueError, match="CLASS=NUMBER"):
        worths((words,))


@pytest.mark.realdata
def test_real_sets_end_to_end(data_root: Path, tmp_path: Path) -> None:
    told = fieldguide.compare(
        data_root / "blood_cells_coco", ("count_baseline", "count_baseline/colour"), out=tmp_path / "s", task="count"
    )
    assert told.exit_code == DONE and len(told.manifest.part("test")) == 10
    errors = {run: told.scores(run)["parts"]["test"]["metrics"]["mae"]["value"] for run in told.outcomes}
    assert errors["count_baseline"] == pytest.approx(1.75) and 0.5 < errors["count_baseline-colour"] < 2.0


@pytest.mark.realdata
def test_real_coins_that_are_counted_in_full(data_root: Path, tmp_path: Path) -> None:
    root, classes = data_root / "coins_coco", ("1c", "2c", "5c", "10c", "20c", "50c", "1e", "2e")
    rows = [row for row in csv.DictReader((root / "counts.csv").read_text("utf-8").splitlines()) if row["complete"] == "yes"]
    lines = [",".join((str(root / row["file_name"]), row["split"], *(row[name] for name in classes))) for row in rows]
    table = tmp_path / "complete.csv"
    table.write_text("\n".join((f"path,split,{','.join(classes)}", *lines)), encoding="utf-8")
    worth = tuple(f"{name}={cents}" for name, cents in zip(classes, (1, 2, 5, 10, 20, 50, 100, 200), strict=True))
    told = fieldguide.compare(
        table, ("count_baseline", "count_baseline/commonest"), out=tmp_path / "s", task="count", count=classes, worth=worth
    )
    commonest = told.scores("count_baseline-commonest")["parts"]["test"]
    assert (commonest["correct"], commonest["n"]) == (6, 17)  # photos of one set of coins, over and over
    assert told.comparison["chance"]["accuracy"] == pytest.approx(6 / 17)
    assert told.scores("count_baseline")["parts"]["test"]["metrics"]["value_mae"]["value"] == pytest.approx(276.1, abs=0.1)
