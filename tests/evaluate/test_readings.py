"""Stored answers under every reading, E1b's two denominators, kinds of errors, and which labels take the wrong answers."""

from __future__ import annotations

import json

import pytest

from fieldguide.data.classes import propose
from fieldguide.evaluate.intervals import wilson
from fieldguide.evaluate.metrics import score_run
from fieldguide.evaluate.readings import in_words, leaning, reader, told
from fieldguide.records import ClassInfo, Prediction
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.reading import KINDS, READINGS, read, words_of

#: Truth and answer of a small run.
SAID = (
    ("cat", "cat"),
    ("cat", "Cat."),
    ("cat", "kitty"),
    ("cat", "dog"),
    ("dog", "dog"),
    ("dog", "a cat or a dog"),
    ("dog", "This is a dog."),
    ("dog", "wolf"),
    ("owl", '{"label": "owl"}'),
    ("owl", "I'm sorry, I can't."),
    ("owl", ""),
    ("owl", "сова"),
)
ZOO = Classify((ClassInfo("cat", "cat", ("kitty",)), ClassInfo("dog", "dog"), ClassInfo("owl", "owl")))


def predictions(said, task=ZOO, reading="strict", split="test"):
    """Return what a room that reads by `reading` would have written down."""
    made = []
    for at, (_, raw) in enumerate(said):
        found = read(raw, task, reading)
        error = None if found.kind is None else words_of(found.kind)
        made.append(Prediction(f"{split}{at:05}", found.label, raw=raw, error=error))
    return made


def part_of(make, said, task=ZOO, headline="strict"):
    manifest = make.manifest([truth for truth, _ in said], classes=task.ids)
    return told("m", predictions(said, task, headline), manifest, task, headline)["parts"]["test"]


def test_every_reading_stands_beside_the_others_over_one_denominator(make):
    part = part_of(make, SAID)
    assert part["n"] == 12 and [row["id"] for row in part["readings"]] == list(READINGS)
    counts = {row["id"]: (row["right"], row["labelled"]) for row in part["readings"]}
    assert counts == {"strict": (2, 3), "normalised": (3, 4), "alias": (4, 5), "json": (1, 1)}
    for row in part["readings"]:
        low, high = wilson(row["right"], 12)
        assert row["accuracy"] == {"value": row["right"] / 12, "low": low, "high": high, "n": 12}
    assert part["format"] == {"labelled_share": 3 / 12, "recognised": 2 / 3}
    assert part["scored"] == {"right": 2, "labelled": 3}


def test_the_headline_is_what_the_scores_say(make):
    manifest = make.manifest([truth for truth, _ in SAID], classes=ZOO.ids)
    for headline in READINGS:
        answers = predictions(SAID, reading=headline)
        scores = score_run("m", answers, manifest)["parts"]["test"]
        part = told("m", answers, manifest, ZOO, headline)["parts"]["test"]
        row = next(row for row in part["readings"] if row["id"] == headline)
        assert row["right"] == scores["correct"] == part["scored"]["right"]
        assert row["accuracy"] == {key: scores["metrics"]["accuracy"][key] for key in ("value", "low", "high", "n")}
        assert row["macro_f1"] == pytest.approx(scores["metrics"]["macro_f1"]["value"])


def test_the_denominators_of_filtered_accuracy(make):
    listed, names = part_of(make, SAID)["filtered"]
    assert (listed["id"], listed["right"], listed["n"]) == ("listed", 2, 3)
    # cat, Cat., kitty, dog, dog, wolf, and the owl in Russian: names, on the list or off it
    assert (names["id"], names["right"], names["n"]) == ("any name", 2, 7)
    assert names["accuracy"]["value"] == 2 / 7 and "empty" in names["what"]


def test_the_figures_of_e1b_can_be_said(make):
    """35 % of 810 and 93.69 % filtered: 282 right, 19 other animals, 509 with more than a name."""
    said = [("cat", "cat")] * 282 + [("cat", "dog")] * 19 + [("cat", "The animal in the image is a cat.")] * 509
    part = part_of(make, said)
    assert round(100 * part["readings"][0]["accuracy"]["value"]) == 35
    assert [round(100 * row["accuracy"]["value"], 2) for row in part["filtered"]] == [93.69, 93.69]
    assert {kind["id"]: kind["count"] for kind in part["kinds"]} == {"extra words": 509, "other label": 19}
    assert part["format"]["labelled_share"] * part["format"]["recognised"] == pytest.approx(282 / 810)


def test_nothing_that_is_a_name_has_no_filtered_accuracy(make):
    part = part_of(make, [("cat", "it is a cat")] * 3)
    assert [row["accuracy"]["value"] for row in part["filtered"]] == [None, None]
    assert part["format"] == {"labelled_share": 0.0, "recognised": None}


def test_kinds_are_counted_with_examples_and_add_up_to_what_is_not_right(make):
    part = part_of(make, SAID)
    kinds = {kind["id"]: kind for kind in part["kinds"]}
    counts = {name: kind["count"] for name, kind in kinds.items()}
    once = ("other spelling", "synonym", "other label", "two labels", "off-list", "refusal", "empty", "other language")
    assert counts == {"extra words": 2} | dict.fromkeys(once, 1)
    assert sum(counts.values()) == part["n"] - part["readings"][0]["right"]
    assert part["kinds"][0]["id"] == "extra words" and kinds["extra words"]["share"] == 2 / 12
    assert [one["raw"] for one in kinds["extra words"]["examples"]] == ["This is a dog.", '{"label": "owl"}']
    assert all(kind["name"] == KINDS[kind["id"]] for kind in part["kinds"])


def test_examples_differ_are_short_and_plain(make):
    said = [("cat", f"a long answer {at % 7} \x1b[31m\u202e" + "x" * 1000) for at in range(70)]
    (kind,) = part_of(make, said)["kinds"]
    texts = [one["raw"] for one in kind["examples"]]
    assert len(set(texts)) == len(texts) == 5 and max(map(len, texts)) == 300
    assert all("\x1b" not in text and "\u202e" not in text for text in texts)
    json.dumps(kind)


def test_failures_stay_what_they_were_under_every_reading(make):
    answers = [
        Prediction("test00000", raw="cat", error=words_of("cut")),
        Prediction("test00001", error=words_of("server failed", "timeout: 30 s")),
        Prediction("test00002", error=words_of("unreadable picture", "truncated: lost")),
        Prediction("test00003", error=words_of("not asked", "--limit")),
        Prediction("test00004", raw="", error=words_of("refusal", "the server declined")),
        Prediction("test00005", error="something else"),
        Prediction("test00006", raw="dog", label="dog"),
    ]
    manifest = make.manifest(["cat"] * 8, classes=ZOO.ids)
    part = told("m", answers, manifest, ZOO, "alias")["parts"]["test"]
    assert [row["labelled"] for row in part["readings"]] == [1, 1, 1, 0]
    counts = {kind["id"]: kind["count"] for kind in part["kinds"]}
    assert counts.pop("no answer") == 2 and set(counts.values()) == {1}
    assert set(counts) == {"cut", "server failed", "unreadable picture", "not asked", "refusal", "other label"}
    assert [row["n"] for row in part["filtered"]] == [1, 1]
    (server,) = (kind for kind in part["kinds"] if kind["id"] == "server failed")
    assert server["examples"] == [{"key": "test00001", "truth": "cat", "raw": "", "error": "server failed: timeout: 30 s"}]


def test_what_one_reading_called_a_refusal_another_may_read(make):
    raw = "I'm sorry for the delay. " + '{"label": "cat"}'
    again = reader(ZOO)
    given = predictions([("cat", raw)])[0]
    assert again(given, "strict").kind == "refusal" and again(given, "json").label == "cat"


def test_validation_is_there_where_it_was_answered(make):
    manifest = make.manifest(["cat", "dog"], val=["cat"], classes=ZOO.ids)
    test = predictions([("cat", "cat"), ("dog", "dog")])
    assert set(told("m", test, manifest, ZOO)["parts"]) == {"test"}
    both = told("m", test + predictions([("cat", "dog")], split="val"), manifest, ZOO)
    assert both["schema"] == 1 and both["run"] == "m" and both["headline"] == "strict"
    assert both["parts"]["val"]["n"] == 1 and both["parts"]["val"]["readings"][0]["right"] == 0
    assert in_words(test) and not in_words([Prediction("test00000", "cat")])


def test_the_order_of_the_answers_does_not_matter(make):
    manifest = make.manifest([truth for truth, _ in SAID], classes=ZOO.ids)
    answers = predictions(SAID)
    assert told("m", answers, manifest, ZOO) == told("m", answers[::-1], manifest, ZOO)


def test_the_labels_that_take_the_wrong_answers(make):
    said = [(digit, "3") for digit in "0123456789"] * 2 + [("8", "9"), ("1", "1")]
    digits = Classify(propose("0123456789"))
    part = part_of(make, said, digits)
    assert part["leaning"] == [
        {"label": "3", "answered": 20, "wrong": 18, "truth": 2},
        {"label": "9", "answered": 1, "wrong": 1, "truth": 2},
    ]
    assert leaning(make.sheet("m", [True] * 8)) == []
