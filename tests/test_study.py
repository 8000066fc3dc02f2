"""The page end to end: what is frozen, what is re-used, what a failure leaves, and that the numbers are right."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.pictures import write_folder

import fieldguide
from fieldguide import runs
from fieldguide.asked import Entry
from fieldguide.bench import Silent
from fieldguide.data.tables import read_manifest, read_predictions
from fieldguide.errors import DATA, DONE, ENVIRONMENT, PARTLY, USAGE
from fieldguide.files import read_json, read_toml

WORDS = ("majority", "linear:image_size=8,strengths=0.1", "linear:features=colour,strengths=0.1")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def study(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> fieldguide.Study:
    return fieldguide.compare(pictures, WORDS, out=tmp_path_factory.mktemp("study") / "s")


def test_a_study_is_whole(study: fieldguide.Study) -> None:
    names = {path.name for path in study.folder.iterdir()}
    assert {
        "study.toml",
        "manifest.parquet",
        "classes.toml",
        "findings.json",
        "environment.json",
        "comparison.json",
        "report.html",
        "store",
        "runs",
    } <= names
    assert study.exit_code == DONE
    assert set(study.outcomes.values()) == {"done"}
    assert {"report.md", "leaderboard.csv", "leaderboard.tex", "scores.json"} <= names
    hashes = {run: study.cost(run)["model_sha256"] for run in study.outcomes}
    for run, told in hashes.items():
        weights = list((study.folder / "runs" / run / "model").glob("*.safetensors"))
        assert told == (hashlib.sha256(weights[0].read_bytes()).hexdigest() if weights else None)
    assert len(set(hashes.values())) > 1
    for run in (study.folder / "runs").iterdir():
        assert {"settings.toml", "model", "log.jsonl", "predictions.parquet", "scores.json", "cost.json"} <= {
            path.name for path in run.iterdir()
        }
        assert not (run / "scratch").exists()
    assert not list(study.folder.rglob(".unfinished-*"))


def test_every_contestant_answers_for_the_same_list(study: fieldguide.Study) -> None:
    wanted = [row.key for row in study.manifest.part() if row.split in ("val", "test")]
    for run in study.outcomes:
        answers = read_predictions(study.folder / "runs" / run / "predictions.parquet")
        assert [answer.image for answer in answers] == wanted
        assert {answer.run for answer in answers} == {run}


def test_scores_are_those_of_the_answers(study: fieldguide.Study) -> None:
    truth = {row.key: row.label for row in study.manifest.part("test")}
    for run in study.outcomes:
        answers = [
            answer for answer in read_predictions(study.folder / "runs" / run / "predictions.parquet") if answer.image in truth
        ]
        right = np.mean([answer.label == truth[answer.image] for answer in answers])
        assert study.scores(run)["parts"]["test"]["metrics"]["accuracy"]["value"] == pytest.approx(right)
    majority = study.scores("majority")["parts"]["test"]["metrics"]["accuracy"]["value"]
    assert majority == pytest.approx(study.comparison["chance"]["accuracy"])
    assert study.scores("linear-image_size=8-strengths=0.1")["parts"]["test"]["metrics"]["accuracy"]["value"] > majority


def test_study_toml_is_complete_and_runs_by_itself(study: fieldguide.Study, tmp_path: Path) -> None:
    asked = read_toml(study.folder / "study.toml")
    assert asked["seed"] == 42
    assert [entry["settings"] for entry in asked["contestants"] if entry["name"].startswith("linear-features")] == [
        {"features": "colour", "image_size": 16, "strengths": [0.1], "batch_size": 256}
    ]
    shutil.copy(study.folder / "study.toml", tmp_path / "again.toml")
    again = fieldguide.compare(tmp_path / "again.toml", out=tmp_path / "again")
    assert again.comparison == study.comparison
    assert again.manifest.hash == study.manifest.hash


def test_the_same_call_reuses_what_is_whole(study: fieldguide.Study, pictures: Path) -> None:
    before = (study.folder / "comparison.json").read_bytes(), (study.folder / "report.html").read_bytes()
    again = fieldguide.compare(pictures, WORDS, out=study.folder)
    assert set(again.outcomes.values()) == {"reused"}
    assert ((study.folder / "comparison.json").read_bytes(), (study.folder / "report.html").read_bytes()) == before


def test_redraw_needs_no_model_and_no_pictures(study: fieldguide.Study, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(study.folder, copy)
    for path in copy.glob("runs/*/model"):
        shutil.rmtree(path)
    (copy / "report.html").unlink()
    (copy / "comparison.json").unlink()
    again = fieldguide.redraw(copy)
    assert again.comparison == study.comparison
    assert again.report.read_bytes() == study.report.read_bytes()


def test_names_and_order_of_files_do_not_matter(study: fieldguide.Study, pictures: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "renamed"
    for number, path in enumerate(sorted(pictures.rglob("*.png"), key=lambda path: path.name[::-1])):
        target = renamed / path.parent.name / f"x{997 * number % 1000}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    other = fieldguide.compare(renamed, WORDS[:2], out=tmp_path / "s")
    assert other.manifest.hash == study.manifest.hash
    assert [(row.key, row.split) for row in other.manifest.rows] == [(row.key, row.split) for row in study.manifest.rows]
    linear = "linear-image_size=8-strengths=0.1"
    assert other.scores(linear) == study.scores(linear)


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_what_an_earlier_call_left_undone_is_said(study: fieldguide.Study, pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(study.folder, tmp_path / "s")
    undone = "linear-image_size=8-strengths=0.1"
    shutil.rmtree(tmp_path / "s" / "runs" / undone)
    heard = Heard()
    assert fieldguide.compare(pictures, ["majority"], out=tmp_path / "s", progress=heard).outcomes[undone] == "done"
    assert [line for line in heard.lines if line.startswith("Also asked for") and line.endswith(f"so done now: {undone}.")]
    heard = Heard()
    fieldguide.compare(pictures, ["majority"], out=tmp_path / "s", progress=heard)
    assert not heard.lines


def test_a_failing_contestant_is_a_row_and_the_others_go_on(pictures: Path, tmp_path: Path) -> None:
    broken = tmp_path / "answers.csv"
    broken.write_text("image,answer\nnowhere.png,cat\n")
    study = fieldguide.compare(pictures, ["majority", f"recorded/{broken}"], out=tmp_path / "s")
    failed = next(name for name in study.outcomes if name.startswith("recorded"))
    assert study.outcomes == {"majority": "done", failed: "failed"}
    assert "names a picture of this study" in study.failure(failed)["given"]
    assert study.exit_code == PARTLY
    assert "names a picture of this study" in study.report.read_text()
    rows = "\n".join(f"{row.path},{row.label}" for row in study.manifest.rows)
    broken.write_text(f"image,answer\n{rows}\n")
    mended = fieldguide.compare(pictures, ["majority", f"recorded/{broken}"], out=tmp_path / "s")
    assert mended.outcomes == {"majority": "reused", failed: "done"}
    assert mended.scores(failed)["parts"]["test"]["metrics"]["accuracy"]["value"] == 1.0


def test_recorded_answers_that_miss_or_are_off_the_list_count_as_wrong(
    study: fieldguide.Study, pictures: Path, tmp_path: Path
) -> None:
    test = study.manifest.part("test")
    lines = [f"{row.path},{row.label.upper()}" for row in test[2:]] + [f"{test[0].path},a unicorn"]
    answers = tmp_path / "some.csv"
    answers.write_text("path,predicted\n" + "\n".join(lines) + "\n")
    out = fieldguide.compare(
        pictures, [Entry(name="people", family="recorded", settings={"file": str(answers)})], out=tmp_path / "s"
    )
    part = out.scores("people")["parts"]["test"]
    assert part["n"] == len(test)
    assert part["correct"] == len(test) - 2
    assert part["failed"] == 2
    assert set(part["failures"]) == {"answer off the list", "no recorded answer"}
    assert out.exit_code == PARTLY


def test_a_changed_folder_asks_and_extend_keeps_old_pictures_put(pictures: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(pictures, photos)
    first = fieldguide.compare(photos, ["majority"], out=tmp_path / "s")
    extra = write_folder(tmp_path / "more", each=6, seed=7)
    for path in extra.rglob("*.png"):
        shutil.copy(path, photos / path.parent.name / f"new-{path.name}")
    (photos / "cat" / "000.png").unlink()
    with pytest.raises(fieldguide.Problem) as caught:
        fieldguide.compare(photos, ["majority"], out=tmp_path / "s")
    assert caught.value.code == USAGE
    assert "18 new" in caught.value.given
    assert "1 missing" in caught.value.given
    assert "--extend" in caught.value.next
    assert read_manifest(tmp_path / "s" / "manifest.parquet").hash == first.manifest.hash
    second = fieldguide.compare(photos, ["majority"], out=tmp_path / "s", extend=True)
    old = {row.key: row.split for row in first.manifest.rows}
    kept = [row for row in second.manifest.rows if row.key in old]
    assert len(kept) == len(old) - 1
    assert all(row.split == old[row.key] for row in kept)
    assert len(second.manifest.part()) == 3 * 20 - 1
    assert len(second.manifest.part("test")) == pytest.approx(0.15 * 59, abs=2)


def test_renamed_files_are_the_same_pictures(pictures: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(pictures, photos)
    first = fieldguide.compare(photos, ["majority"], out=tmp_path / "s")
    (photos / "cat" / "000.png").rename(photos / "cat" / "renamed.png")
    second = fieldguide.compare(photos, ["majority", WORDS[1]], out=tmp_path / "s")
    assert second.manifest.hash == first.manifest.hash
    assert "cat/renamed.png" in {row.path for row in second.manifest.rows}


def test_cross_validation_pools_one_answer_for_each_picture(pictures: Path, tmp_path: Path) -> None:
    study = fieldguide.compare(pictures, ["majority", WORDS[1]], out=tmp_path / "s", folds=3)
    rows = study.manifest.part()
    assert {row.fold for row in rows} == {0, 1, 2}
    answers = read_predictions(study.folder / "runs" / "majority" / "predictions.parquet")
    assert sorted(answer.image for answer in answers) == sorted(row.key for row in rows)
    assert study.comparison["n"] == len(rows)
    assert read_json(study.folder / "runs" / "majority" / "cost.json")["fits"] == 4
    assert [
        answer.label for answer in runs.load(study.folder / "runs" / WORDS[1].replace(":", "-").replace(",", "-")).predict([])
    ] == []


def test_only_contestants_that_learn_nothing_may_be_tested_on_everything(pictures: Path, tmp_path: Path) -> None:
    answers = tmp_path / "answers.csv"
    answers.write_text(
        "image,answer\n" + "\n".join(f"{path.relative_to(pictures)},cat" for path in sorted(pictures.rglob("*.png"))) + "\n"
    )
    study = fieldguide.compare(pictures, ["majority", f"recorded/{answers}"], out=tmp_path / "s", split="test-only")
    assert study.outcomes["majority"] == "failed"
    assert "test-only" in study.failure("majority")["given"]
    recorded = next(name for name in study.outcomes if name.startswith("recorded"))
    assert study.scores(recorded)["parts"]["test"]["metrics"]["accuracy"]["value"] == pytest.approx(1 / 3)


def test_unreadable_pictures_are_listed_and_left_out_for_everyone(pictures: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(pictures, photos)
    (photos / "cat" / "broken.png").write_bytes((photos / "cat" / "000.png").read_bytes()[:200])
    (photos / "dog" / "empty.jpg").write_bytes(b"")
    shutil.copy(photos / "eel" / "000.png", photos / "eel" / "copy.png")
    study = fieldguide.compare(photos, ["majority"], out=tmp_path / "s")
    reasons = {row.path: row.excluded for row in study.manifest.excluded}
    assert set(reasons) == {"cat/broken.png", "dog/empty.jpg", "eel/copy.png"}
    assert "duplicate of eel/000.png" in str(reasons["eel/copy.png"])
    assert len(study.manifest.part()) == 42
    assert "broken.png" in study.report.read_text()


def test_a_picture_that_vanishes_after_the_list_was_frozen_is_answered_by_an_error_row(pictures: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(pictures, photos)
    first = fieldguide.compare(photos, ["majority"], out=tmp_path / "s")
    shutil.rmtree(tmp_path / "s" / "store")
    gone = first.manifest.part("test")[0]
    path, status = photos / gone.path, (photos / gone.path).stat()
    path.write_bytes(b"x" * status.st_size)
    import os

    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    study = fieldguide.compare(photos, [WORDS[1]], out=tmp_path / "s")
    name = WORDS[1].replace(":", "-").replace(",", "-")
    part = study.scores(name)["parts"]["test"]
    assert part["failed"] == 1
    assert part["n"] == len(first.manifest.part("test"))
    assert study.exit_code == PARTLY


def test_a_picture_that_is_deleted_while_a_study_runs_is_an_error_row(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieldguide import gather

    photos = tmp_path / "photos"
    shutil.copytree(pictures, photos)
    honest = gather.gather

    def then_delete(*given: object, **named: object) -> object:
        manifest = honest(*given, **named)  # type: ignore[arg-type]
        shutil.rmtree(tmp_path / "s" / "store")
        (photos / manifest.part("test")[0].path).unlink()
        return manifest

    monkeypatch.setattr(gather, "gather", then_delete)
    study = fieldguide.compare(photos, [WORDS[1]], out=tmp_path / "s")
    part = study.scores(next(iter(study.outcomes)))["parts"]["test"]
    assert part["failed"] == 1
    assert "missing file" in next(iter(part["failures"]))
    assert study.exit_code == PARTLY


def test_other_settings_under_one_name_are_refused(study: fieldguide.Study, pictures: Path) -> None:
    with pytest.raises(fieldguide.Problem) as caught:
        fieldguide.compare(pictures, [Entry(name="majority", family="linear")], out=study.folder)
    assert "made with other settings" in caught.value.given
    fieldguide.compare(pictures, WORDS, out=study.folder)


@pytest.mark.parametrize(("field", "value"), [("seed", 7), ("split", "60/20/20"), ("folds", 4)])
def test_a_study_keeps_its_split(study: fieldguide.Study, pictures: Path, field: str, value: object) -> None:
    with pytest.raises(fieldguide.Problem) as caught:
        fieldguide.compare(pictures, WORDS, out=study.folder, **{field: value})
    assert caught.value.code == USAGE
    assert field in caught.value.given


def test_another_data_set_in_the_same_folder_is_refused(study: fieldguide.Study, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "other", seed=3)
    with pytest.raises(fieldguide.Problem, match="is a study with source"):
        fieldguide.compare(other, ["majority"], out=study.folder)


def test_a_folder_with_other_things_is_left_alone(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("precious")
    with pytest.raises(fieldguide.Problem, match=r"thesis\.docx"):
        fieldguide.compare(pictures, ["majority"], out=tmp_path)
    assert (tmp_path / "thesis.docx").read_text() == "precious"


def test_too_little_data_is_exit_code_5_and_leaves_no_folder(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write_folder(photos, classes=("cat",), each=3)
    with pytest.raises(fieldguide.Problem) as caught:
        fieldguide.compare(photos, ["majority"], out=tmp_path / "s")
    assert caught.value.code == DATA
    assert not (tmp_path / "s").exists()


def test_what_is_whole_is_reused_though_its_weights_have_moved(
    study: fieldguide.Study, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fieldguide import plan
    from fieldguide.errors import UsageProblem

    monkeypatch.setattr(plan, "obstacle", lambda contestant, online: UsageProblem("There is no weights file.", "", ""))
    again = fieldguide.compare(pictures, WORDS, out=study.folder)
    assert set(again.outcomes.values()) == {"reused"}
    assert not list(study.folder.glob("runs/*/failed.json"))


def test_a_misspelt_source_is_not_answered_with_our_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(fieldguide.Problem) as caught:
        fieldguide.compare("photos", ["majority"])
    assert caught.value.code == USAGE
    assert "photos-study" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_two_writers_are_refused(study: fieldguide.Study, pictures: Path) -> None:
    import filelock

    with filelock.FileLock(study.folder / ".lock"), pytest.raises(fieldguide.Problem) as caught:
        fieldguide.compare(pictures, WORDS, out=study.folder)
    assert caught.value.code == ENVIRONMENT


def test_predicting_from_files_equals_the_study(study: fieldguide.Study, pictures: Path, tmp_path: Path) -> None:
    run = study.folder / "runs" / "linear-image_size=8-strengths=0.1"
    recorded = {answer.image: answer for answer in read_predictions(run / "predictions.parquet")}
    rows = study.manifest.part("test")
    answers = fieldguide.predict(run, [pictures / row.path for row in rows])
    for row, answer in zip(rows, answers, strict=True):
        assert answer.label == recorded[row.key].label
        assert answer.probabilities == pytest.approx(recorded[row.key].probabilities, abs=1e-6)
    (tmp_path / "no.jpg").write_text("hello")
    mixed = fieldguide.predict(run, [tmp_path, pictures / rows[0].path])
    assert mixed[0].error is not None
    assert mixed[0].label is None
    assert mixed[1].label == answers[0].label


def test_edited_class_names_reach_the_report_and_new_fits(pictures: Path, tmp_path: Path) -> None:
    study = fieldguide.compare(pictures, ["majority"], out=tmp_path / "s")
    text = (study.folder / "classes.toml").read_text().replace('name = "eel"', 'name = "ウナギ"')
    (study.folder / "classes.toml").write_text(text)
    assert "ウナギ" in fieldguide.redraw(study.folder).report.read_text()
    fieldguide.compare(pictures, [WORDS[1]], out=study.folder)
    name = WORDS[1].replace(":", "-").replace(",", "-")
    answers = fieldguide.predict(study.folder / "runs" / name, [pictures])
    assert "ウナギ" in {answer.name for answer in answers}


def test_the_journal_is_cut_at_whole_chunks(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "CHUNK", 3)
    whole = fieldguide.compare(pictures, [WORDS[1]], out=tmp_path / "whole")
    name = next(iter(whole.outcomes))
    written = 0
    real = runs._append

    def torn(journal: Path, answers: object, seconds: float) -> None:
        nonlocal written
        real(journal, answers, seconds)  # type: ignore[arg-type]
        written += 1
        if written == 2:
            with open(journal, "a") as stream:
                stream.write('{"image": "half a li')
            raise KeyboardInterrupt

    monkeypatch.setattr(runs, "_append", torn)
    with pytest.raises(KeyboardInterrupt):
        fieldguide.compare(pictures, [WORDS[1]], out=tmp_path / "torn")
    journal = tmp_path / "torn" / "runs" / name / "scratch" / "answers.jsonl"
    assert sum("chunk" in json.loads(line) for line in journal.read_text().splitlines()[:-1]) == 2
    monkeypatch.setattr(runs, "_append", real)
    resumed = fieldguide.compare(pictures, [WORDS[1]], out=tmp_path / "torn")
    assert resumed.scores(name) == whole.scores(name)
    first, second = (
        read_predictions(folder / "runs" / name / "predictions.parquet") for folder in (whole.folder, resumed.folder)
    )
    assert [(a.image, a.label, a.probabilities) for a in first] == [(a.image, a.label, a.probabilities) for a in second]


def test_shuffled_labels_bring_every_learner_to_chance(pictures: Path, tmp_path: Path) -> None:
    """The check that scores mean something: with labels dealt at random nothing can be learned."""
    random = np.random.default_rng(1)
    shuffled = tmp_path / "shuffled"
    for path in sorted(write_folder(tmp_path / "more", each=60, seed=11).rglob("*.png")):
        target = shuffled / str(random.choice(["cat", "dog", "eel"])) / f"{path.parent.name}-{path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).save(target)
    study = fieldguide.compare(shuffled, WORDS[:2], out=tmp_path / "s")
    name = WORDS[1].replace(":", "-").replace(",", "-")
    assert not study.comparison["above_chance"][name]


def test_folds_and_a_given_test_split_do_not_mix(pictures: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        shutil.copytree(pictures, tmp_path / "photos" / split)
    for path in (tmp_path / "photos" / "test").rglob("*.png"):
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    with pytest.raises(fieldguide.Problem, match="--folds would mix"):
        fieldguide.compare(tmp_path / "photos", ["majority"], out=tmp_path / "s", folds=3)
    study = fieldguide.compare(tmp_path / "photos", ["majority"], out=tmp_path / "s")
    assert len(study.manifest.part("test")) == 42
    assert {row.path.split("/")[0] for row in study.manifest.part("test")} == {"test"}
    assert {row.path.split("/")[0] for row in study.manifest.part("val")} == {"train"}
