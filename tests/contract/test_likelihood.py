"""A language model that answers with probabilities keeps every article: the one that comes along, and a tiny one of each architecture."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from fieldguide import contract
from fieldguide.bench import read_log
from fieldguide.contract import ARTICLES, SLOW, Article
from fieldguide.craft.chat.tiny import architectures, write_chat
from fieldguide.families import vlm_prompt
from fieldguide.trial import Trial, toy

MODELS = ("drawn", *architectures())
#: One is asked with its list in two orders, compared with grey, and refuses what it is unsure of, so that all there is to save is saved.
MORE = {"mllama": {"orders": 2, "unknown": 0.2, "score": "pmi"}, "drawn": {"batch_size": 5}}
CASES = [
    pytest.param(model, article, id=f"{model}-{article.__name__.removeprefix('article_')}")
    for model in MODELS
    for article in ARTICLES
    if article not in SLOW
]


@pytest.fixture(scope="module")
def trial_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trial]:
    """Return the trial of a model, so that each is written and fitted as seldom as the articles allow."""
    root = tmp_path_factory.mktemp("likelihood")

    @cache
    def trial(model: str) -> Trial:
        name = model if model == "drawn" else f"hf/{write_chat(root / model, model)}"
        return contract.trial(vlm_prompt, vlm_prompt.Settings(model=name, ask="likelihood", **MORE.get(model, {})))  # type: ignore[arg-type]

    return trial


@pytest.mark.slow(keep=2)
@pytest.mark.parametrize(("model", "article"), CASES)
def test_an_article_is_kept(model: str, article: Article, trial_of: Callable[[str], Trial]) -> None:
    article(trial_of(model))


@pytest.mark.slow(keep=2)
@pytest.mark.parametrize("model", MODELS)
def test_probabilities_are_told_and_chosen(model: str, trial_of: Callable[[str], Trial]) -> None:
    found = trial_of(model).answers
    assert len(found) == len(toy().images) and all(one.probabilities and one.raw is None for one in found)
    assert len({one.probabilities for one in found}) == len(found), "every picture is looked at"
    told = [event["weighing"] for event in read_log(trial_of(model).first_bench.scratch / "log.jsonl") if "weighing" in event]
    assert len(told) == 1 and told[0]["pictures"] == len(toy().val) and len(told[0]["forms"]) == 4
