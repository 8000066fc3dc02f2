"""The section on over-fitting: what it names, what it leaves unsaid, and what the page shows of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fieldguide.report.build import build
from fieldguide.report.fitting import judged, section
from fieldguide.report.read import read_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, maker: ModuleType) -> Path:
    place = tmp_path_factory.mktemp("fitting")
    maker.make_study(place, maker.Plan(per_class=(42, 40, 9)))
    build(place, maker.FakeReader(12))
    return place


def found(folder: Path) -> dict[str, Any]:
    return {row.contestant.name: row for row in section(read_study(folder)).rows}


def test_it_lists_who_was_trained_in_epochs_and_names_who_over_fits(folder: Path) -> None:
    rows = found(folder)
    assert {name: row.found.state for name, row in rows.items()} == {
        "vit_small": "over-fits",
        "resnet_tiny": "no sign",
        "clip_adapter": "not measured",
    }
    assert section(read_study(folder)).lead == "1 of 2 over-fits: vit_small by 15.1 points."
    assert [row.loud for row in rows.values()] == [row.found.state == "over-fits" for row in rows.values()]
    assert rows["vit_small"].train.text.replace("\u00a0", " ") == "100.0 %"
    assert rows["vit_small"].train.note == "of 400"
    assert rows["vit_small"].val.note == "of 400"
    assert rows["vit_small"].gap.text == "+15.1"
    assert rows["clip_adapter"].strip == "" and rows["clip_adapter"].gap.absent


def test_the_page_says_so(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8").replace("\u00a0", " ")
    part = page.split('id="fitting"')[1].split("</section>")[0]
    assert "Did it learn or memorise?" in part
    assert "Fits its training pictures perfectly (100 %) and validation 84.9 %: over-fits by 15.1 points" in part
    assert "More pictures, stronger augmentation or fewer trained layers" in part
    assert "not measured" in part
    assert part.count("training 82.0 %, validation") == 2, "told in the chart and in the sentence"


def test_few_validation_pictures_are_said_to_be_few(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(tmp_path, maker.Plan(names=maker.ANIMALS[:5], per_class=(9, 3, 6), entries=maker.ENTRIES[1:2]))
    found = section(read_study(tmp_path))
    assert [row.found.state for row in found.rows] == ["too few pictures to tell"]
    assert found.lead == "Of 1 that were measured, none is shown to over-fit. For 1 there are too few pictures to tell."
    assert found.advice == (("too few pictures to tell", "More validation pictures would tell."),)


def test_without_training_there_is_nothing_to_say(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(
        tmp_path, maker.Plan(names=maker.ANIMALS[:5], per_class=(4, 2, 2), entries=(maker.Entry("linear", "linear"),))
    )
    assert section(read_study(tmp_path)).rows == ()
    assert "no contestant was trained in epochs" in build(tmp_path, maker.FakeReader(12)).read_text(encoding="utf-8")


def test_a_part_of_the_training_pictures_counts_as_many_as_it_has(folder: Path) -> None:
    from dataclasses import replace

    study = read_study(folder)
    contestant = next(c for c in study.contestants if c.name == "vit_small")
    kept = {name: value for name, value in contestant.kept.items() if name != "train_pictures"}
    assert judged(study, replace(contestant, kept=kept)).n_train == 420
    assert judged(study, replace(contestant, kept=kept, fraction=0.1)).n_train == 42


def test_real_training_logs_what_is_judged(tmp_path: Path) -> None:
    """The loop and the report agree on names: a network that is trained long on a few pictures without augmentation over-fits."""
    import fieldguide
    from fieldguide.data.tables import read_manifest
    from fieldguide.data.tiny import write_figures

    pictures = write_figures(tmp_path / "pictures", 4, 14)
    spec = "test_resnet:weights=none,image_size=32,batch_size=8,epochs=14,patience=14,augment=none,precision=fp32,as=net"
    fieldguide.compare(pictures, [spec], out=tmp_path / "study", split="40/40/20")
    log = [json.loads(line) for line in (tmp_path / "study/runs/net/log.jsonl").read_text().splitlines()]
    best = next(event for event in reversed(log) if event["event"] == "best")
    assert {"train_accuracy", "train_loss_plain", "val_accuracy", "val_loss"} <= set(best)
    (row,) = section(read_study(tmp_path / "study")).rows
    assert row.found.train == best["train_accuracy"]
    assert row.found.state == "over-fits"
    assert row.found.n_val == len(read_manifest(tmp_path / "study/manifest.parquet").part("val"))
