"""Families that count keep the contract, and what is wrong with the form of counts is caught."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from fieldguide import contract
from fieldguide.families import count_baseline
from fieldguide.families.count_baseline import Baseline, Settings
from fieldguide.records import Image, Prediction
from fieldguide.trial import TASK, toy

ARTICLES = [
    contract.article_answers_once_in_order,
    contract.article_answers_stay_on_the_list,
    contract.article_same_answer_in_any_company,
    contract.article_seeded_runs_repeat,
    contract.article_absent_class,
    contract.article_unreadable_is_a_row,
]


def room(change: Callable[[int, Prediction], Prediction]) -> Any:
    """Return the baseline as a family whose answers are changed by their place in the stream."""

    class Changed(Baseline):
        def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
            return (change(at, answer) for at, answer in enumerate(Baseline.predict(self, images)))

    def fit(*given: Any) -> Changed:
        made = count_baseline.fit(*given)
        return Changed(made.ids, made.settings, made.weights, made.bias, made.frozen)

    parts = {"Settings": Settings, "fit": fit, "load": count_baseline.load, "LEARNS": True, "TASKS": ("count",)}
    return types.SimpleNamespace(__doc__="Counts.", **parts)


def counts(answer: Prediction, **more: Any) -> Prediction:
    return dataclasses.replace(answer, counts={**(answer.counts or {}), **more})


def test_the_toy_shows_every_class_and_says_nothing_by_order() -> None:
    for part in (toy().train, toy().val, toy().test):
        shown = {id for example in part for id in example.counts or {}}
        assert shown == set(TASK.ids)
        assert all(sum((example.counts or {}).values()) <= 4 and (example.counts or {})[str(example.label)] for example in part)


@pytest.mark.parametrize(
    ("change", "article"),
    [
        (lambda at, answer: counts(answer, **{TASK.ids[0]: -1}), "article_answers_stay_on_the_list"),
        (lambda at, answer: counts(answer, **{TASK.ids[0]: 1.5}), "article_answers_stay_on_the_list"),
        (lambda at, answer: counts(answer, **{TASK.ids[0]: True}), "article_answers_stay_on_the_list"),
        (lambda at, answer: counts(answer, fox=1), "article_answers_stay_on_the_list"),
        (lambda at, answer: dataclasses.replace(answer, counts={TASK.ids[0]: 1}), "article_answers_stay_on_the_list"),
        (lambda at, answer: dataclasses.replace(answer, label=TASK.ids[0]), "article_answers_stay_on_the_list"),
        (lambda at, answer: dataclasses.replace(answer, counts=None), "article_answers_once_in_order"),
        (lambda at, answer: dataclasses.replace(answer, label=TASK.ids[0], counts=None), "article_answers_once_in_order"),
        (lambda at, answer: counts(answer, **{TASK.ids[0]: at}), "article_same_answer_in_any_company"),
        (
            lambda at, answer: dataclasses.replace(answer, counts=answer.counts or dict.fromkeys(TASK.ids, 0)),
            "article_unreadable_is_a_row",
        ),
    ],
)
def test_what_is_wrong_with_counts_is_caught(change: Any, article: str) -> None:
    found = {breach.article for breach in contract.breaches(room(change), articles=ARTICLES)}
    assert article in found


def test_an_honest_one_is_not() -> None:
    assert contract.breaches(room(lambda at, answer: answer), articles=ARTICLES) == []
