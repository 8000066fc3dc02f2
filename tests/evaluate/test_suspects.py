"""Label suspects: planted wrong labels are found, clean ones are left alone, and what cannot be said is not."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fieldguide.data.tables import freeze
from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.suspects import FEWEST, find_suspects, unseen
from fieldguide.records import ManifestRow

CLASSES = 8


def planted(
    seed: int, share: float = 0.05, pictures: int = 400, skill: float = 5.0, runs: int = 2
) -> tuple[list[AnswerSheet], set[str]]:
    """Return sheets of contestants that know the truth well, on labels of which `share` were swapped, and the swapped keys."""
    random = np.random.default_rng(seed)
    truth = np.arange(pictures) % CLASSES
    swapped = random.choice(pictures, round(share * pictures), replace=False)
    given = truth.copy()
    given[swapped] = (truth[swapped] + random.integers(1, CLASSES, len(swapped))) % CLASSES
    keys = tuple(f"k{index:04}" for index in range(pictures))
    shared = random.normal(size=(pictures, CLASSES))
    return [_sheet(f"run{run}", keys, given, _logits(random, shared, truth, skill)) for run in range(runs)], {
        keys[at] for at in swapped
    }


def _logits(random: np.random.Generator, shared: np.ndarray, truth: np.ndarray, skill: float) -> np.ndarray:
    logits = shared + random.normal(size=shared.shape)
    logits[np.arange(len(truth)), truth] += skill
    return logits


def _sheet(run: str, keys: tuple[str, ...], given: np.ndarray, logits: np.ndarray) -> AnswerSheet:
    soft = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = tuple(f"c{index}" for index in range(CLASSES))
    return AnswerSheet(run, keys, given, soft.argmax(axis=1), soft, (None,) * len(keys), names)


def above(sheets: list[AnswerSheet], chance: tuple[str, ...] = (), beaten: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what a comparison says: `chance` are no better than that, `beaten` are worse than the first."""
    order = [sheet.run for sheet in sheets]
    return {
        "order": order,
        "above_chance": {run: run not in chance for run in order},
        "pairs": [
            {"a": order[0], "b": run, "outcome": "a better" if run in beaten else "not distinguishable"} for run in order[1:]
        ],
    }


@pytest.mark.parametrize("seed", range(4))
def test_planted_wrong_labels_are_most_of_the_first_and_mostly_found(seed: int) -> None:
    sheets, swapped = planted(seed)
    told = find_suspects(sheets, above(sheets))
    first = [line["image"] for line in told["suspects"][: len(swapped)]]
    right = len(swapped & set(first))
    assert told["state"] == "found" and told["pictures"] == 400
    assert right / len(first) >= 0.85 and right / len(swapped) >= 0.65
    assert [line["quality"] for line in told["suspects"]] == sorted(line["quality"] for line in told["suspects"])


def test_a_suspect_names_both_classes_and_who_agrees() -> None:
    sheets, swapped = planted(0)
    lines = {line["image"]: line for line in find_suspects(sheets, above(sheets))["suspects"]}
    places = {key: at for at, key in enumerate(sheets[0].keys)}
    assert len(swapped & set(lines)) > 10
    for key, line in lines.items():
        at = places[key]
        assert line["given"] == f"c{sheets[0].truth[at]}" != line["suggested"]
        assert line["agree"] == sum(f"c{sheet.answer[at]}" == line["suggested"] for sheet in sheets)
        assert line["of"] == 2
        if key in swapped:
            assert line["suggested"] == f"c{at % CLASSES}"


@pytest.mark.parametrize("seed", range(3))
def test_clean_labels_that_are_well_told_apart_give_few_or_none(seed: int) -> None:
    sheets, _ = planted(seed, share=0.0, skill=8.0)
    told = find_suspects(sheets, above(sheets))
    assert len(told["suspects"]) <= 4
    assert told["state"] == ("found" if told["suspects"] else "fine")


def test_only_the_best_and_their_equals_are_asked() -> None:
    sheets, _ = planted(1, runs=1)
    at_random = np.random.default_rng(5).normal(size=(400, CLASSES)) * 8
    both = [*sheets, _sheet("noise", sheets[0].keys, sheets[0].truth, at_random)]
    alone = find_suspects(sheets, above(sheets))
    for comparison in (above(both, chance=("noise",)), above(both, beaten=("noise",))):
        told = find_suspects(both, comparison)
        assert told == alone and told["from"] == ["run0"]
    spoiled = find_suspects(both, above(both))
    assert spoiled["from"] == ["run0", "noise"]
    assert [line["image"] for line in spoiled["suspects"]] != [line["image"] for line in alone["suspects"]]


def test_the_best_that_gives_probabilities_is_asked_where_the_best_of_all_gives_none(make: SimpleNamespace) -> None:
    sheets, _ = planted(1, runs=2)
    words = make.sheet("words", [1] * 400, classes=CLASSES)
    comparison = above([words, *sheets], beaten=("run0", "run1"))
    assert find_suspects([words, *sheets], comparison)["from"] == ["run0", "run1"]


def test_nobody_who_could_say_is_skipped_with_the_reason(make: SimpleNamespace) -> None:
    words = make.sheet("words", [1] * 40)
    sheets, _ = planted(0, runs=1)
    for given, comparison in (([words], above([words])), (sheets, above(sheets, chance=("run0",)))):
        told = find_suspects(given, comparison)
        assert (told["state"], told["suspects"], told["pictures"]) == ("skipped", [], 0)
        assert "no contestant that is better than chance gives probabilities" in told["why"]


def test_too_few_pictures_of_every_class_say_the_limit() -> None:
    sheets, _ = planted(0, pictures=CLASSES * (FEWEST - 1))
    told = find_suspects(sheets, above(sheets))
    assert told["state"] == "not applicable" and f"at least {FEWEST}" in told["why"] and not told["suspects"]


def test_small_classes_are_not_judged_and_that_is_said() -> None:
    sheets, _ = planted(2)
    kept = [at for at in range(400) if sheets[0].truth[at] != 3]
    wrong = kept[:3]  # surely of other classes, now the only ones that are called c3
    fewer = []
    for one in sheets:
        given = one.truth.copy()
        given[wrong] = 3
        assert one.probabilities is not None
        keys, none = tuple(one.keys[at] for at in kept), (None,) * len(kept)
        fewer.append(AnswerSheet(one.run, keys, given[kept], one.answer[kept], one.probabilities[kept], none, one.classes))
    told = find_suspects(fewer, above(fewer))
    assert told["pictures"] == len(kept) - 3
    assert "1 classes with fewer than 5" in told["why"]
    assert told["suspects"] and not [line for line in told["suspects"] if line["given"] == "c3"]


def test_pictures_without_probabilities_are_left_aside(make: SimpleNamespace) -> None:
    sheets, _ = planted(3, runs=2)
    whole = find_suspects(sheets, above(sheets))
    first = whole["suspects"][0]["image"]
    at = sheets[0].keys.index(first)
    for sheet in sheets:
        assert sheet.probabilities is not None
        sheet.probabilities[at] = np.nan
    told = find_suspects(sheets, above(sheets))
    assert told["pictures"] == 399 and first not in [line["image"] for line in told["suspects"]]


def test_the_order_of_the_pictures_does_not_matter(make: SimpleNamespace) -> None:
    sheets, _ = planted(4)
    order = np.random.default_rng(0).permutation(400).tolist()
    turned = [make.permuted(sheet, order) for sheet in sheets]
    assert find_suspects(turned, above(sheets)) == find_suspects(sheets, above(sheets))


def test_a_class_without_pictures_and_certain_zeros_are_no_trouble() -> None:
    sheets, _ = planted(0, runs=1)
    assert sheets[0].probabilities is not None
    wider = np.concatenate([sheets[0].probabilities, np.zeros((400, 1))], axis=1)
    one = AnswerSheet(
        "wide", sheets[0].keys, sheets[0].truth, sheets[0].answer, wider, (None,) * 400, (*sheets[0].classes, "never")
    )
    told = find_suspects([one], above([one]))
    assert told["state"] == "found" and "never" not in {line["suggested"] for line in told["suspects"]}


def test_unseen_are_test_and_validation_without_copies_that_were_learned() -> None:
    rows = [
        ManifestRow("a", "a.png", "x", "train"),
        ManifestRow("b", "b.png", "x", "val"),
        ManifestRow("c", "c.png", "y", "test", marks=("leaked",)),
        ManifestRow("d", "d.png", "y", "test", marks=("repeated",)),
        ManifestRow("e", "e.png", "y", excluded="cut short"),
    ]
    manifest = freeze(rows, ("x", "y"), 0)
    assert [row.key for row in unseen(manifest, dropped=True)] == ["b", "c", "d"]
    assert [row.key for row in unseen(manifest, dropped=False)] == ["b", "d"]


def test_the_search_is_imported_without_the_hub_and_the_rest_can_follow() -> None:
    code = (
        "import sys; from fieldguide.evaluate.suspects import _search; found = _search(); assert 'datasets' not in sys.modules; "
        "from importlib.util import find_spec; import cleanlab; from cleanlab.filter import find_label_issues as again; "
        "assert again is found; assert find_spec('datasets') is None or cleanlab.Datalab.__name__ == 'Datalab'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
