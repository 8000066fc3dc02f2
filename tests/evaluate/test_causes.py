"""Causes of errors: a planted one is named, shuffled answers are not, and what a person says wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from fieldguide.data.measures import Measure, write_measures
from fieldguide.data.tables import freeze
from fieldguide.errors import USAGE, UsageProblem
from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.by_hand import NAME
from fieldguide.evaluate.causes import causes
from fieldguide.evaluate.hypotheses import NAMES, hypotheses
from fieldguide.evaluate.intervals import newcombe
from fieldguide.files import read_toml
from fieldguide.records import Manifest, ManifestRow

CLASSES = ("ant", "bee", "cow", "dog")
PLAIN = Measure(0.6, 0.2, 0.3, 0.0, 1, 0.0, 0.6, (1.0, *(0.0,) * 63))


def manifest(pictures: int = 240) -> Manifest:
    rows = [
        ManifestRow(f"{number:06x}", f"{CLASSES[number % 4]}/{number}.jpg", CLASSES[number % 4], "test")
        for number in range(pictures)
    ]
    return freeze([*rows, ManifestRow("ffffff", "ant/train.jpg", "ant", "train")], CLASSES, 1)


def varied(listed: Manifest, seed: int = 0) -> dict[str, Measure]:
    """Return measures that differ from picture to picture in everything, independently."""
    random = np.random.default_rng(seed)
    return {
        row.key: Measure(
            *random.uniform(0.1, 0.9, 3).tolist(),
            float(random.uniform(0, 0.5)),
            1 + int(random.random() < 0.2),
            float(random.random() < 0.1),
            float(random.uniform(0.1, 0.9)),
            tuple(random.dirichlet(np.ones(64)).tolist()),
        )
        for row in listed.part("test")
    }


def sheet(run: str, listed: Manifest, right: NDArray[np.bool_]) -> AnswerSheet:
    rows = listed.part("test")
    truth = np.array([CLASSES.index(row.label) for row in rows])
    answer = np.where(right, truth, (truth + 1) % 4)
    return AnswerSheet(run, tuple(row.key for row in rows), truth, answer, None, (None,) * len(rows), CLASSES)


def errors_on_low_contrast(listed: Manifest, measures: Mapping[str, Measure], seed: int) -> NDArray[np.bool_]:
    """Return who is right: 30 % of the pictures of little contrast are missed, 6 % of the others."""
    contrast = np.array([measures[row.key].contrast for row in listed.part("test")])
    hard = contrast <= np.quantile(contrast, 0.25)
    return np.random.default_rng(seed).random(len(contrast)) >= np.where(hard, 0.35, 0.06)


def told(folder: Path, listed: Manifest, measures: Mapping[str, Measure], *sheets: AnswerSheet) -> dict[str, Any]:
    write_measures(folder / "measures.parquet", measures)
    return causes(folder, listed, sheets, 0.05)


def named(found: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(rate["run"], rate["cause"]) for rate in found["rates"] if rate["outcome"] == "more among errors"}


def test_a_planted_cause_is_named_for_those_who_have_it_and_for_nothing_else(tmp_path: Path) -> None:
    listed = manifest()
    measures = varied(listed)
    planted = sheet("planted", listed, errors_on_low_contrast(listed, measures, 1))
    blind = sheet("blind", listed, np.random.default_rng(2).random(240) >= 0.15)
    found = told(tmp_path, listed, measures, planted, blind)
    assert named(found) == {("planted", "low contrast")}
    rate = next(rate for rate in found["rates"] if (rate["run"], rate["cause"]) == ("planted", "low contrast"))
    counts = (rate["marked_errors"], rate["errors"], rate["marked_right"], rate["right"])
    assert rate["errors"] == 240 - planted.correct and rate["marked_errors"] + rate["marked_right"] == 60
    assert (rate["low"], rate["high"]) == newcombe(*counts) and 0 < rate["low"] < rate["difference"] < rate["high"]
    table = [[counts[0], counts[1] - counts[0]], [counts[2], counts[3] - counts[2]]]
    assert rate["p"] == pytest.approx(fisher_exact(table).pvalue) and rate["p"] <= rate["p_fdr"] <= 0.05


def test_shuffled_answers_name_nothing(tmp_path: Path) -> None:
    listed = manifest()
    measures = varied(listed)
    right = errors_on_low_contrast(listed, measures, 1)
    shuffled = [sheet(f"s{seed}", listed, np.random.default_rng(seed).permutation(right)) for seed in range(40)]
    found = told(tmp_path, listed, measures, *shuffled)
    assert not named(found) and sum(rate["p_fdr"] is not None for rate in found["rates"]) > 200
    uncorrected = [rate for rate in found["rates"] if rate["p"] is not None and rate["p"] <= 0.05 and rate["difference"] > 0]
    assert uncorrected, "hard enough: without correction some would be named"


def test_marks_do_not_depend_on_the_answers(tmp_path: Path) -> None:
    listed = manifest()
    measures = varied(listed)
    one = told(tmp_path, listed, measures, sheet("a", listed, np.arange(240) % 3 > 0))
    other = told(tmp_path, listed, measures, sheet("a", listed, np.arange(240) % 5 > 0))
    assert one["pictures"] == other["pictures"] and one["causes"] == other["causes"]


def test_few_pictures_are_not_tested(tmp_path: Path) -> None:
    listed = manifest()
    found = told(tmp_path, listed, varied(listed), sheet("good", listed, np.arange(240) >= 4))
    assert found["rates"] and {rate["outcome"] for rate in found["rates"]} == {"too few pictures to tell"}
    assert all(rate["p"] is None and rate["difference"] is None for rate in found["rates"])


def marked(listed: Manifest, measures: Mapping[str, Measure], name: str) -> set[str]:
    found = next(one for one in hypotheses(listed, measures) if one.name == name)
    return set(found.marked)


def state(listed: Manifest, measures: Mapping[str, Measure], name: str) -> str:
    return next(one for one in hypotheses(listed, measures) if one.name == name).state


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("small object", {"subject": 0.02}),
        ("cut-off object", {"cut": 0.4}),
        ("several objects", {"parts": 3}),
        ("cluttered background", {"clutter": 0.8}),
        ("low contrast", {"contrast": 0.05}),
        ("blurred", {"sharpness": 0.05}),
        ("unusual style", {"drawing": 0.95}),
    ],
)
def test_each_mark_finds_the_pictures_that_have_it(name: str, change: dict[str, Any]) -> None:
    listed = manifest(40)
    keys = [row.key for row in listed.part("test")]
    ordinary = {key: replace(one, cut=0.0, parts=1, drawing=0.0) for key, one in varied(listed).items()}
    middling = {
        key: replace(
            one, subject=0.3 + place / 100, clutter=0.2 + place / 100, contrast=0.3 + place / 100, sharpness=0.3 + place / 100
        )
        for place, (key, one) in enumerate(ordinary.items())
    }
    odd = keys[::10]
    changed = {key: replace(one, **change) if key in odd else one for key, one in middling.items()}
    assert set(odd) <= marked(listed, changed, name)
    assert len(marked(listed, changed, name)) <= 10
    for other in NAMES:
        if other != name and other not in ("colours of another class",):
            assert not set(odd) <= marked(listed, changed, other), other


def test_what_all_pictures_share_marks_none() -> None:
    listed = manifest(40)
    same = {row.key: PLAIN for row in listed.part("test")}
    states = {one.name: one.state for one in hypotheses(listed, same)}
    assert {states[name] for name in ("small object", "low contrast", "blurred", "cluttered background")} == {"not applicable"}
    assert states["unusual style"] == states["several objects"] == states["near copy in another class"] == "fine"
    assert not [one.name for one in hypotheses(listed, same) if one.marked]
    assert {one.state for one in hypotheses(listed, {})} == {"not applicable", "fine"}


def test_drawings_are_unusual_only_where_they_are_rare() -> None:
    listed = manifest(40)
    drawn = {row.key: replace(PLAIN, drawing=float(row.label == "ant")) for row in listed.part("test")}
    assert marked(listed, drawn, "unusual style") == set(), "a class of drawings is usual in itself"
    photo = next(row.key for row in listed.part("test") if row.label == "ant")
    assert marked(listed, {**drawn, photo: PLAIN}, "unusual style") == {photo}


def test_colours_of_another_class_are_found_and_that_class_is_named(tmp_path: Path) -> None:
    listed = manifest(80)
    random = np.random.default_rng(0)
    measures, odd = {}, {}
    for place, row in enumerate(listed.part("test")):
        like = row.label if place % 9 else "dog"
        if like != row.label:
            odd[row.key] = like
        weights = np.where(np.arange(64) % 4 == CLASSES.index(like), 5.0, 0.2)
        measures[row.key] = replace(PLAIN, colours=tuple(random.dirichlet(weights).tolist()))
    found = next(one for one in hypotheses(listed, measures) if one.name == "colours of another class")
    assert found.marked == set(odd) and dict(found.near) == odd
    tags = told(tmp_path, listed, measures, sheet("a", listed, np.arange(80) % 2 > 0))["pictures"]
    assert {tags[key]["near"]["colours of another class"] for key in odd} == {"dog"}


def test_a_class_is_compared_without_the_picture_itself() -> None:
    listed = manifest(32)
    measures = varied(listed, 3)
    rows = listed.part("test")
    margins = {}
    for row in rows:
        mine = np.array(measures[row.key].colours)
        groups = {
            label: np.mean([measures[other.key].colours for other in rows if other.label == label and other is not row], axis=0)
            for label in CLASSES
        }
        apart = {label: float(np.sqrt(max(0.0, 1 - np.sqrt(mine * mean).sum()))) for label, mean in groups.items()}
        margins[row.key] = apart[row.label] - min(far for label, far in apart.items() if label != row.label)
    bound = np.quantile(list(margins.values()), 0.75)
    assert marked(listed, measures, "colours of another class") == {key for key, far in margins.items() if far >= bound > 0}


def test_a_near_copy_in_another_class_is_found_by_the_groups_of_the_checks() -> None:
    rows = list(manifest(12).rows)
    grouped = [
        replace(row, group="alike 01" if row.key in ("000000", "000001", "ffffff") else "mine" if row.key > "000008" else None)
        for row in rows
    ]
    listed = freeze(grouped, CLASSES, 1)
    found = next(one for one in hypotheses(listed, {}) if one.name == "near copy in another class")
    assert found.marked == {"000000", "000001"} and found.near == {"000000": "bee", "000001": "ant"}


def test_tiny_pictures_have_no_regions_to_speak_of() -> None:
    listed = freeze([replace(row, width=28, height=28) for row in manifest(40).rows], CLASSES, 1)
    measures = varied(listed)
    assert {state(listed, measures, name) for name in ("small object", "several objects", "blurred")} == {"not applicable"}
    assert state(listed, measures, "low contrast") == "found"


def test_the_file_is_written_once_with_suggestions_and_never_again(tmp_path: Path) -> None:
    listed = manifest()
    measures = varied(listed)
    answers = sheet("a", listed, np.arange(240) % 4 > 0)
    told(tmp_path, listed, measures, answers)
    text = (tmp_path / NAME).read_text(encoding="utf-8")
    assert read_toml(tmp_path / NAME) == {"schema": 1} and text.count("[pictures.") == 41
    bare = "\n".join(line[2:] for line in text.split("most contestants missed")[1].splitlines()[1:] if line != "#")
    (tmp_path / NAME).write_text(bare, encoding="utf-8")
    again = told(tmp_path, listed, measures, answers)
    assert again["by_hand"] == 40 and (tmp_path / NAME).read_text(encoding="utf-8") == bare


def test_what_a_person_says_wins_and_stays_out_of_the_rates(tmp_path: Path) -> None:
    listed = manifest()
    measures = varied(listed)
    answers = sheet("a", listed, errors_on_low_contrast(listed, measures, 1))
    before = told(tmp_path, listed, measures, answers)
    low = sorted(key for key, tag in before["pictures"].items() if "low contrast" in tag["causes"])
    (tmp_path / NAME).write_text(
        f"""
[causes."blurred"]
name = "out of focus"
[causes."unusual style"]
use = false
[causes."at night"]
[pictures."{low[0]}"]
causes = []
[pictures."ant/0.jpg"]
causes = ["at night", "blurred"]
note = "two"
""",
        encoding="utf-8",
    )
    after = told(tmp_path, listed, measures, answers)
    tags = after["pictures"]
    assert tags[low[0]] == {"causes": [], "by_hand": True, "note": "", "near": {}}
    assert tags["000000"] == {"causes": ["at night", "blurred"], "by_hand": True, "note": "two", "near": {}}
    shown = {cause["name"]: cause for cause in after["causes"]}
    assert shown["blurred"]["title"] == "out of focus" and shown["blurred"]["by_hand"] == 1
    assert "unusual style" not in shown and after["unused"] == ["unusual style"]
    assert (shown["at night"]["state"], shown["at night"]["by_hand"]) == ("not applicable", 1)
    for rate in after["rates"]:
        assert rate["cause"] != "unusual style"
        if rate["cause"] in ("low contrast", "blurred", "cluttered background"):
            assert rate["errors"] + rate["right"] == 240 - len({low[0], "000000"})


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("[causes", "not valid TOML"),
        ("schema = 2", "has schema = 2"),
        ("[cause.x]", "unknown key 'cause'"),
        ("[causes.blurred]\nnmae = 'x'", "unknown key 'nmae'"),
        ("[causes.blurred]\nname = ''", "no usable text"),
        ("[causes.blurred]\nuse = 'no'", "neither true nor false"),
        ("[pictures.'ant/00.jpg']\ncauses = []", "not in this study"),
        ("[pictures.'ant/train.jpg']\ncauses = []", "not a test picture"),
        ("[pictures.'ant/0.jpg']\ncauses = ['blured']", "'blured', which is not known"),
        ("[pictures.'ant/0.jpg']\ncauses = 'blurred'", "not a list"),
        ("[pictures.'ant/0.jpg']\nnote = 3", "no usable text"),
        ("[pictures.'ant/0.jpg']\n[pictures.000000]", "twice"),
        ("pictures = 3", "not tables"),
        ("[pictures]\n'ant/0.jpg' = 3", "not tables"),
    ],
)
def test_every_slip_is_named_and_nothing_is_written(tmp_path: Path, text: str, given: str) -> None:
    listed = manifest(12)
    (tmp_path / NAME).write_text(text, encoding="utf-8")
    with pytest.raises(UsageProblem) as problem:
        told(tmp_path, listed, varied(listed), sheet("a", listed, np.arange(12) > 3))
    assert given in problem.value.given and problem.value.code == USAGE and problem.value.allowed and problem.value.next
    assert (tmp_path / NAME).read_text(encoding="utf-8") == text


def test_a_near_name_is_suggested(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("[pictures.'ant/0.jpg']\ncauses = ['blured']", encoding="utf-8")
    with pytest.raises(UsageProblem, match="Did you mean blurred"):
        told(tmp_path, manifest(12), {}, sheet("a", manifest(12), np.arange(12) > 3))


def test_odd_paths_can_be_named(tmp_path: Path) -> None:
    paths = ['we"ird\\n.jpg', "new\nline.jpg", "三毛猫 #1.jpg", "[x].jpg"]
    rows = [ManifestRow(f"{number:06x}", path, "ant", "test") for number, path in enumerate(paths)]
    listed = freeze(
        [*rows, *(replace(row, key=f"{at:06x}") for at, row in enumerate(manifest(40).part("test"), 100))], CLASSES, 1
    )
    measures = varied(listed)
    low = {key: replace(one, contrast=0.0 if int(key, 16) < 4 else 0.5 + int(key, 16) / 1000) for key, one in measures.items()}
    told(tmp_path, listed, low, sheet("a", listed, np.arange(44) > 20))
    text = (tmp_path / NAME).read_text(encoding="utf-8")
    bare = "\n".join(line[2:] for line in text.split("most contestants missed")[1].splitlines()[1:] if line != "#")
    (tmp_path / NAME).write_text(bare, encoding="utf-8")
    again = told(tmp_path, listed, low, sheet("a", listed, np.arange(44) > 20))
    assert {f"{number:06x}" for number in range(4)} <= {key for key, tag in again["pictures"].items() if tag["by_hand"]}
