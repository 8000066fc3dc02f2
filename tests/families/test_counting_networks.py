"""Networks that are trained to count: a regression head, whole pictures, whole numbers, and a refusal of what speaks of classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.counted import Counting, write_set

import fieldguide
from fieldguide import contract, families
from fieldguide.bench import read_log
from fieldguide.data.tables import read_predictions
from fieldguide.errors import DONE, UsageProblem
from fieldguide.families import _training, backbone, vmamba
from fieldguide.files import read_json
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.count import Count
from fieldguide.trial import TASK


@pytest.mark.parametrize("room", [backbone, vmamba], ids=["backbone", "vmamba"])
def test_a_network_that_counts_keeps_the_contract(room: Any) -> None:
    on = contract.trial(Counting(room))  # type: ignore[arg-type]
    for article in (
        contract.article_answers_once_in_order,
        contract.article_answers_stay_on_the_list,
        contract.article_saving_changes_nothing,
        contract.article_unreadable_is_a_row,
        *((contract.article_absent_class, contract.article_little_validation) if room is backbone else ()),
    ):
        article(on)
    assert all(one.counts is not None and one.probabilities is None for one in on.answers)
    assert on.fitted.gives_probabilities is False
    looks = [event for event in read_log(on.first_bench.scratch / "log.jsonl") if event["event"] == "epoch"]
    assert {"val_loss", "val_accuracy", "val_mae"} <= set(looks[-1]) and "val_macro_f1" not in looks[-1]


def test_what_it_sees_is_whole_where_nothing_else_is_asked_for() -> None:
    count, plain = Count(TASK.classes), backbone.Settings()
    whole = _training.suited(plain, count)
    assert (whole.fit, whole.crop, whole.min_area) == ("squash", 1.0, 1.0) and plain.crop is None
    assert _training.suited(backbone.Settings(crop=0.9, fit="crop"), count).crop == 0.9
    assert _training.suited(plain, Classify(TASK.classes)) is plain


@pytest.mark.parametrize(
    "word",
    [
        "label_smoothing=0.1",
        "class_weights=balanced",
        "sampling=balanced",
        "monitor=macro_f1",
        "mixup=0.2",
        "cutmix=1",
        "augment=mixes",
    ],
)
def test_what_speaks_of_classes_is_refused_before_anything_is_opened(word: str) -> None:
    entry = families.parse(f"test_resnet:weights=none,{word}")
    problem = families.unfit(entry, "count")
    name = word.partition("=")[0]
    assert isinstance(problem, UsageProblem) and f"with {name}=" in problem.given and name in problem.next
    assert families.unfit(entry, "classify") is None
    assert families.unfit(families.parse("test_resnet:weights=none"), "count") is None


def test_it_learns_to_count_and_counts_new_pictures(tmp_path: Path) -> None:
    things = write_set(tmp_path / "things", {"train": 90, "valid": 20, "test": 40})
    word = "test_resnet:weights=none,image_size=32,epochs=14,batch_size=16,precision=fp32,learning_rate=0.003,as=net"
    study = fieldguide.compare(things, ("count_baseline/mean", word), out=tmp_path / "s", task="count")
    assert study.exit_code == DONE
    off = {name: study.scores(name)["parts"]["test"]["metrics"]["mae"]["value"] for name in study.comparison["order"]}
    assert off["net"] < 0.75 * off["count_baseline-mean"], off
    run = study.folder / "runs" / "net"
    kept = read_json(run / "model" / "model.json")
    assert kept["preprocessing"]["squash"] is True and len(kept["counts"]["centre"]) == 2
    said = {one.image: one.counts for one in read_predictions(run / "predictions.parquet")}
    [again] = fieldguide.predict(run, [things / "test" / "003.png"])
    assert again.counts in said.values()
    assert len({tuple((counts or {}).values()) for counts in said.values()}) > 5, "it looks at the pictures"
    assert all(isinstance(count, int) and count >= 0 for counts in said.values() for count in (counts or {}).values())
    assert np.isfinite(list(off.values())).all()
