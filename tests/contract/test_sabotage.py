"""The toy family keeps the contract; each sabotaged copy of it breaks an article and is caught by that article."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.contract import toy_family
from tests.contract.sabotaged import SABOTAGED, Misnamed, Silent
from tests.contract.toy_family import Settings, room

from fieldguide import contract
from fieldguide.contract import ARTICLES, ContractBroken, breaches, check

#: Deeds that break the form of every answer, or the stream itself, are seen by more articles than one.
_WIDE = {"answers_once_in_order", "answers_stay_on_the_list", "same_answer_in_any_company", "learning_nothing", "has no load"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of these families litter where they stand; that is not to be the project."""
    monkeypatch.syspath_prepend(os.getcwd())
    monkeypatch.chdir(tmp_path)


def test_the_toy_family_keeps_every_article() -> None:
    check(toy_family)
    assert breaches(room()) == []


def test_every_article_is_sabotaged() -> None:
    covered = {f"article_{article}" for article, _, _ in SABOTAGED} | {"article_loads_in_a_fresh_process"}
    assert covered == {article.__name__ for article in ARTICLES}
    assert len(ARTICLES) == 21


@pytest.mark.parametrize(("article", "deed", "family"), SABOTAGED, ids=[f"{article}-{deed}" for article, deed, _ in SABOTAGED])
def test_a_sabotaged_family_is_caught(article: str, deed: str, family: Any) -> None:
    found = {breach.article.removeprefix("article_"): breach for breach in breaches(family)}
    assert article in found
    assert found[article].seen
    assert found[article].expected
    assert found[article].__cause__ is None or not isinstance(found[article].__cause__, AssertionError)
    assert {article, deed} & _WIDE or set(found) == {article}, {name: breach.seen for name, breach in found.items()}


def test_a_family_that_lives_in_one_process_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        '"""Keeps its models in a dictionary."""',
        "from tests.contract.toy_family import LEARNS, Means, Settings, fit as good",
        "HELD = {}",
        "class Held(Means):",
        "    def save(self, folder): HELD[1] = self; (folder / 'n.txt').write_text('1')",
        "def fit(*given):",
        "    made = good(*given)",
        "    return Held(made.ids, made.centres, made.sharpness)",
        "def load(folder): return HELD[int((folder / 'n.txt').read_text())]",
    ]
    (tmp_path / "forgetful_family.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    import forgetful_family  # type: ignore[import-not-found]

    found = breaches(forgetful_family)
    assert [breach.article for breach in found] == ["article_loads_in_a_fresh_process"]
    assert "KeyError" in found[0].seen


def test_check_tells_all_breaches_at_once() -> None:
    def explode(*_: Any) -> None:
        raise ZeroDivisionError("no such luck")

    with pytest.raises(ExceptionGroup, match=r"2 of 21 articles are broken") as caught:
        check(room(LEARNS="yes", Settings=Misnamed))
    assert all(isinstance(breach, ContractBroken) for breach in caught.value.exceptions)
    found = breaches(room(fit=explode))
    assert found
    assert all("no such luck" in breach.seen for breach in found)
    assert breaches(room(fit=explode), articles=[contract.article_settings_are_frozen]) == []


def test_an_article_can_be_tried_alone_and_with_other_settings() -> None:
    contract.article_answers_stay_on_the_list(room())
    with pytest.raises(ContractBroken, match="article_settings_are_described: depth says None"):
        contract.article_settings_are_described(room(Settings=Silent))
    sharp = contract.trial(room(), Settings(sharpness=5.0))
    assert max(sharp.answers[0].probabilities or ()) > max(contract.trial(room()).answers[0].probabilities or ())
    check("majority")


def test_settings_that_raise_are_a_breach() -> None:
    class Broken(Settings):
        """Raises."""

        @classmethod
        def tiny(cls) -> Broken:
            return cls(sharpness=-1)

    assert [breach.article for breach in breaches(room(Settings=Broken))] == ["article_tiny_is_legal"]


def test_a_trial_leaves_nothing_behind() -> None:
    trial = contract.trial(room())
    folder = trial.folder
    assert trial.answers
    assert folder.is_dir()
    del trial
    assert not folder.exists()
