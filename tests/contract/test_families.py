"""Every family that is found keeps every article. A new family is in this test as soon as its file is there."""

from __future__ import annotations

import numpy as np
import pytest

from fieldguide import contract, families
from fieldguide.contract import ARTICLES, SLOW, Article
from fieldguide.trial import TASK, Trial, toy


def _cases() -> list[object]:
    cases = []
    for family in families.names():
        for article in ARTICLES:
            marks = [pytest.mark.slow] if article in SLOW else []
            cases.append(pytest.param(family, article, id=f"{family}-{article.__name__.removeprefix('article_')}", marks=marks))
    return cases


@pytest.fixture(scope="session")
def trials() -> dict[str, Trial]:
    """The trials of this session by family, so that each family is fitted as seldom as the articles allow."""
    return {}


@pytest.mark.parametrize(("family", "article"), _cases())
def test_a_family_keeps_an_article(family: str, article: Article, trials: dict[str, Trial]) -> None:
    if family not in trials:
        try:
            trials[family] = contract.trial(families.family(family))
        except ModuleNotFoundError as error:
            pytest.skip(str(families.needs_extra(error)))
    article(trials[family])


def test_the_toy_is_the_same_in_every_run() -> None:
    assert [len(part) for part in (toy().train, toy().val, toy().test)] == [24, 9, 21]
    keys = [example.image.key for part in (toy().train, toy().val, toy().test) for example in part]
    assert len(set(keys)) == 54
    toy.cache_clear()
    np.random.seed(3)
    assert [example.image.key for part in (toy().train, toy().val, toy().test) for example in part] == keys


def test_the_toy_is_hard_enough_that_models_disagree() -> None:
    room = families.family("linear")
    said = {
        features: [answer.label for answer in contract.trial(room, room.Settings(features=features)).answers]
        for features in ("pixels", "colour")
    }
    truth = [example.label for example in toy().test]
    right = {name: sum(a == b for a, b in zip(labels, truth, strict=True)) for name, labels in said.items()}
    assert len(truth) / len(TASK.ids) + 2 < min(right.values()) <= max(right.values()) < len(truth), right
    assert sum(a != b for a, b in zip(said["pixels"], said["colour"], strict=True)) >= 3
