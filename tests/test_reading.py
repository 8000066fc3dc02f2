"""``readings.json`` in a study: written at every scoring for runs that answer in words, from the stored texts and ``classes.toml``."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest
from tests.pictures import write_folder

import fieldguide
from fieldguide import reading
from fieldguide.asked import Entry
from fieldguide.data.classes import propose, read_classes, write_classes
from fieldguide.data.tables import read_predictions
from fieldguide.files import read_json, write_json
from fieldguide.reading import headline_of
from fieldguide.records import ClassInfo
from fieldguide.study import redraw
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.reading import READINGS, read


def recorded(name: str, path: Path) -> Entry:
    return Entry(name=name, family="recorded", settings={"file": str(path)})


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> fieldguide.Study:
    root = tmp_path_factory.mktemp("reading")
    photos = write_folder(root / "photos", each=4)
    answers = {"cat": "cat", "dog": "Dogs.", "eel": "the snake fish"}
    said = root / "said.csv"
    said.write_text(
        "path,raw\n" + "".join(f"{at.relative_to(photos)},{answers[at.parent.name]}\n" for at in photos.rglob("*.png"))
    )
    sure = root / "sure.csv"
    sure.write_text("path,cat,dog,eel\n" + "".join(f"{at.relative_to(photos)},1,0,0\n" for at in photos.rglob("*.png")))
    return fieldguide.compare(photos, [recorded("said", said), recorded("sure", sure)], out=root / "s", split="test-only")


def rights(study: fieldguide.Study) -> dict[str, int]:
    part = read_json(study.folder / "runs" / "said" / "readings.json")["parts"]["test"]
    return {row["id"]: row["right"] for row in part["readings"]}


def test_only_runs_that_answer_in_words_have_readings(study: fieldguide.Study) -> None:
    assert rights(study) == {"strict": 4, "normalised": 8, "alias": 8, "json": 0}
    assert not (study.folder / "runs" / "sure" / "readings.json").exists()
    assert set(read_json(study.folder / "runs" / "said" / "readings.json")["parts"]) == {"test"}


def test_a_synonym_that_is_added_counts_with_the_next_report(study: fieldguide.Study) -> None:
    path = study.folder / "classes.toml"
    before, asked = (
        read_classes(path, study.manifest.classes),
        (study.folder / "runs" / "said" / "predictions.parquet").read_bytes(),
    )
    write_classes(path, [ClassInfo(info.id, info.name, ("snake fish",) if info.id == "eel" else ()) for info in before])
    stray = study.folder / "runs" / "sure" / "readings.json"
    stray.write_text("{}")
    scores = study.scores("said")
    redraw(study.folder)
    assert rights(study) == {"strict": 4, "normalised": 8, "alias": 12, "json": 0}
    assert not stray.exists()
    assert study.scores("said") == scores  # what the headline counted was read when the question was put
    assert (study.folder / "runs" / "said" / "predictions.parquet").read_bytes() == asked


def test_without_classes_toml_the_ids_are_the_names(study: fieldguide.Study) -> None:
    path = study.folder / "classes.toml"
    kept = path.read_bytes()
    path.unlink()
    redraw(study.folder)
    assert rights(study) == {"strict": 4, "normalised": 8, "alias": 8, "json": 0}
    path.write_bytes(kept)


def test_the_names_that_a_prompt_gave_stay_those_that_were_asked_for(study: fieldguide.Study) -> None:
    run, path = study.folder / "runs" / "said", study.folder / "classes.toml"
    then = (ClassInfo("cat", "cat", ("kitty",)), ClassInfo("dog", "dog"), ClassInfo("eel", "eel", ("snake",)))
    write_classes(run / "model" / "classes.toml", then)
    asked = [ClassInfo("cat", "tom", ("kitty",)), ClassInfo("dog", "dog"), ClassInfo("eel", "eel", ("the snake fish",))]
    write_json(run / "model" / "vlm_prompt.json", {"classes": [dataclasses.asdict(info) for info in asked]})
    write_classes(path, then)
    redraw(study.folder)
    assert rights(study) == {"strict": 4, "normalised": 8, "alias": 8 + 4, "json": 0}  # the id of a class is always its name
    write_classes(
        path, [ClassInfo("cat", "moggy", ("puss",)), ClassInfo("dog", "dog"), ClassInfo("eel", "eel", ("snake", "worm"))]
    )
    task = reading.task_of(run, study.manifest)
    assert [info.name for info in task.classes] == ["tom", "dog", "eel"]
    assert [info.synonyms for info in task.classes] == [("puss", "moggy"), (), ("the snake fish", "worm")]
    (run / "model" / "vlm_prompt.json").write_text("{")
    assert [info.name for info in reading.task_of(run, study.manifest).classes] == ["moggy", "dog", "eel"]
    (run / "model" / "vlm_prompt.json").unlink()


def test_the_headline_is_the_reading_that_the_settings_name() -> None:
    assert headline_of({"settings": {"reading": "alias"}}) == "alias"
    assert headline_of({}) == headline_of({"settings": {"reading": "nonsense"}}) == headline_of({"settings": None}) == "strict"


@pytest.mark.realdata
def test_the_published_table_of_llava_on_digits_comes_out_digit_for_digit(data_root: Path, tmp_path: Path) -> None:
    """Precision, recall and F1 of every digit, accuracy, macro and weighted averages of E4's MNIST run, from its stored answers."""
    photos = data_root / "mnist500"
    study = fieldguide.compare(
        photos, [recorded("llava", photos / "llava_answers.csv")], out=tmp_path / "s", split="test-only", leaks="keep"
    )
    part = study.scores("llava")["parts"]["test"]
    assert part["n"] == 500 and part["failed"] == 0
    with open(photos / "published.csv", encoding="utf-8", newline="") as stream:
        published = {row["class"]: row for row in csv.DictReader(stream)}
    assert len(part["per_class"]) == 10
    for row in part["per_class"]:
        wanted = published[row["id"]]
        ours = [f"{row[name]['value']:.6f}" for name in ("precision", "recall", "f1")]
        assert ours == [f"{float(wanted[name]):.6f}" for name in ("precision", "recall", "f1")], row["id"]
        assert row["n"] == int(wanted["support"]) == 50
    metrics = {name: metric["value"] for name, metric in part["metrics"].items()}
    assert f"{metrics['accuracy']:.6f}" == published["accuracy"]["f1"] == "0.792000"
    for average in ("macro", "weighted"):
        wanted = published[f"{average} avg"]
        assert f"{metrics[f'{average}_precision']:.6f}" == wanted["precision"] == "0.857410"
        assert f"{metrics[f'{average}_recall']:.3f}" == wanted["recall"] == "0.792"
        assert f"{metrics[f'{average}_f1']:.6f}" == wanted["f1"] == "0.804210"
    told = read_json(study.folder / "runs" / "llava" / "readings.json")["parts"]["test"]
    assert [(row["right"], row["labelled"]) for row in told["readings"]] == [(396, 500), (396, 500), (396, 500), (0, 0)]
    assert [(row["right"], row["n"]) for row in told["filtered"]] == [(396, 500), (396, 500)]
    assert told["format"] == {"labelled_share": 1.0, "recognised": 0.792}
    assert [(kind["id"], kind["count"]) for kind in told["kinds"]] == [("other label", 104)]
    # The prompt's example is "3": it takes 65 of the 104 wrong answers.
    assert told["leaning"][0] == {"label": "3", "answered": 115, "wrong": 65, "truth": 50}
    assert len(read_predictions(study.folder / "runs" / "llava" / "predictions.parquet")) == 500


#: What others call the flowers of the list, and what GPT-4V called them.
_FLOWERS = {
    "watercress": "nasturtium",
    "frangipani": "plumeria",
    "peruvian lily": "alstroemeria",
    "tree poppy": "matilija poppy",
    "sword lily": "gladiolus",
    "prince of wales feathers": "celosia",
    "fire lily": "gloriosa lily",
    "pincushion flower": "scabiosa",
    "thorn apple": "datura",
    "giant white arum lily": "calla lily",
}


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "strict", "by_id", "normalised", "off", "published", "first_of_five"),
    [("pets", 3317, 1638, 3317, 35, 90.8, 3330), ("flowers102", 1630, 1630, 1631, 172, 69.1, 1703)],
)
def test_gpt4v_on_pets_and_flowers(
    data_root: Path, name: str, strict: int, by_id: int, normalised: int, off: int, published: float, first_of_five: int
) -> None:
    """Normalisation adds what spelling alone cost, and never takes a right answer away.

    The published figures (Wu and others, GPT4Vis, 2023) are those of another rule: the first of five ranked names that is on the list.
    It comes out exactly; it answers with a lower rank what the first rank left out, so none of our readings does it.
    """
    folder = data_root / "recorded_answers" / "gpt4v_pets_flowers"
    ranked = json.loads((folder / f"{name}_top5.json").read_text())
    truth = json.loads((folder / f"{name}_truth.json").read_text())
    task = Classify(propose(set(truth.values())))
    found = {way: {key: read(names[0], task, way).label for key, names in ranked.items()} for way in READINGS}
    right = {way: sum(label == truth[key] for key, label in labels.items()) for way, labels in found.items()}
    assert (right["strict"], right["normalised"], right["alias"]) == (strict, normalised, normalised)
    for key, label in found["strict"].items():
        assert label is None or label == found["normalised"][key] == found["alias"][key]
    assert sum(label is None for label in found["normalised"].values()) == off
    # Names as the folders are called, underscores and all: only the reading that knows spellings finds them.
    plain = Classify(tuple(ClassInfo(id, id) for id in task.ids))
    assert sum(read(names[0], plain, "strict").label == truth[key] for key, names in ranked.items()) == by_id
    assert sum(read(names[0], plain, "normalised").label == truth[key] for key, names in ranked.items()) == normalised
    first = [next(filter(None, (read(one, task, "normalised").label for one in names)), None) for names in ranked.values()]
    assert sum(label == truth[key] for key, label in zip(ranked, first, strict=True)) == first_of_five
    assert round(100 * first_of_five / len(truth), 1) == published


@pytest.mark.realdata
def test_synonyms_close_what_spelling_leaves_open(data_root: Path) -> None:
    folder = data_root / "recorded_answers" / "gpt4v_pets_flowers"
    ranked = json.loads((folder / "flowers102_top5.json").read_text())
    truth = json.loads((folder / "flowers102_truth.json").read_text())
    known = tuple(
        ClassInfo(info.id, info.name, (_FLOWERS[info.id],) if info.id in _FLOWERS else ())
        for info in propose(set(truth.values()))
    )
    task = Classify(known)
    counts = Counter()
    for key, names in ranked.items():
        labels = [read(names[0], task, way).label for way in ("strict", "normalised", "alias")]
        counts.update(way for way, label in zip(("strict", "normalised", "alias"), labels, strict=True) if label == truth[key])
        assert labels[0] in (None, labels[1]) and labels[1] in (None, labels[2])
    assert counts == {"strict": 1630, "normalised": 1631, "alias": 1725}
