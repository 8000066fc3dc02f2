"""Likelihoods among answers in words: their row among the readings, the same question in several ways, forms and temperature."""

from __future__ import annotations

import copy
import dataclasses
import html
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.report.breaking import broken_copies

from fieldguide.report import exports, say
from fieldguide.report.build import _environment
from fieldguide.report.prompting import Prompting, Run, prompting
from fieldguide.report.prompting_asked import WEIGHED
from fieldguide.report.read import Study, read_study
from fieldguide.report.thumbnails import Thumbnail


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, maker: ModuleType, prompting_maker: ModuleType) -> Study:
    folder = tmp_path_factory.mktemp("weighed")
    talker = maker.Entry("talker", "vlm_prompt", 1.0, failures=0.4, probabilities=False)
    entries = (talker, maker.Entry("weigher", "vlm_prompt", 3.0), maker.Entry("majority", "majority", 0.0))
    maker.make_study(folder, maker.Plan(entries=entries, per_class=(4, 3, 9)))
    prompting_maker.add_prompting(folder, prompting_maker.Plan(weighed=("weigher",)))
    return read_study(folder)


def made(study: Study) -> Prompting:
    found = prompting(study, lambda key: Thumbnail(None))
    assert found is not None
    return found


def run(found: Prompting, name: str) -> Run:
    return next(one for one in found.runs if one.contestant.name == name)


def alone(study: Study) -> str:
    page = _environment().from_string('{% import "parts.html.j2" as parts %}{% include "prompting.html.j2" %}')
    return page.render(prompting=made(study))


def words(page: str) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page).replace(say.NBSP, " ").split()))


def changed(study: Study, name: str = "weigher", **facts: Any) -> Study:
    every = tuple(dataclasses.replace(c, facts={**c.facts, **facts}) if c.name == name else c for c in study.contestants)
    return dataclasses.replace(study, contestants=every)


def test_a_likelihood_is_a_row_of_its_own_with_the_accuracy_of_its_scores(study: Study) -> None:
    found = made(study)
    assert found.columns == (
        "Strict",
        "Normalised",
        "Alias",
        "JSON",
        "Likelihood",
        "Filtered: listed names",
        "Filtered: any name",
    )
    weigher, talker = run(found, "weigher"), run(found, "talker")
    values = dict(zip(found.columns, weigher.values, strict=True))
    assert values["Likelihood"][0].number == (weigher.contestant.metric("accuracy") or {})["value"] and values["Likelihood"][1]
    assert {name for name, (value, _) in values.items() if value.text == say.NOT_APPLICABLE} == set(found.columns) - {
        "Likelihood"
    }
    assert dict(zip(found.columns, talker.values, strict=True))["Likelihood"][0].text == say.NOT_APPLICABLE
    assert weigher.headline == "Likelihood" and weigher.problem == "" and not weigher.chart and talker.chart
    assert weigher.split is not None and weigher.split.format.number == 0.0
    assert weigher.split.told[0].startswith("All of the") and "recognition" in weigher.split.told[0]
    cost = next(row for row in found.costs if row.contestant.name == "weigher")
    assert cost.right_tokens.number == pytest.approx(425 / (weigher.contestant.metric("accuracy") or {})["value"])


def test_failures_of_a_likelihood_are_of_their_kinds(study: Study) -> None:
    every = []
    for one in study.contestants:
        test = copy.deepcopy(dict(one.test or {}))
        if one.name == "weigher":
            test |= {
                "correct": 60,
                "failed": 12,
                "failures": {"server failed: gone": 7, "too unsure: cat": 2, "unreadable picture: torn": 2, "odd": 1},
            }
        every.append(dataclasses.replace(one, test=test))
    weigher = run(made(dataclasses.replace(study, contestants=tuple(every))), "weigher")
    kinds = {one.name: one.count.number for one in weigher.mistakes}
    assert kinds == {
        "another class of the list": 18,
        "the server failed": 7,
        "too unsure to be given": 2,
        "the picture could not be read": 2,
        "there is no answer": 1,
    }
    assert (
        weigher.split is not None and weigher.split.absent.number == pytest.approx(12 / 90) and weigher.split.format.number == 0
    )


def test_the_same_question_stands_side_by_side_with_what_is_format(study: Study) -> None:
    (one,) = made(study).questions
    assert [way.name for way in one.ways] == [
        "Free answer, strict",
        "Free answer, normalised",
        "Free answer, alias",
        "Likelihood",
    ]
    assert [way.base for way in one.ways] == [True, False, False, False] and one.model == "drawn"
    last = one.ways[-1]
    assert last.gap.number == pytest.approx(38 / 90) and last.gap.note == "+29.0 to +54.0" and last.outcome == "better"
    assert (last.format.number or 0) + (last.recognition.number or 0) == pytest.approx(last.gap.number)
    assert one.told[1].replace(say.NBSP, " ") == (
        "The most probable name: 82.2 %, +42.2 points [+29.0, +54.0]. Of these, +41.1 are format (pictures whose first answer is no name "
        f"of the list) and +1.1 [{say.MINUS}4.0, +7.0] are recognition."
    )
    assert last.contestant is not None and last.contestant.name == "weigher" and last.strip and last.gap_strip
    page = alone(study)
    assert page.index("answered in other ways") < page.index("Accuracy under every reading")
    assert page.count('class="based"') == 1


@pytest.mark.parametrize("outcome", ["not distinguishable", "too few pictures to tell"])
def test_a_difference_that_is_none_is_not_sold_as_one(study: Study, outcome: str) -> None:
    told = copy.deepcopy(dict(study.questions or {}))
    told["groups"][0]["ways"][-1]["against"]["outcome"] = outcome
    (one,) = made(dataclasses.replace(study, questions=told)).questions
    assert outcome in one.told[1] and one.ways[-1].outcome == outcome


def test_forms_and_temperature_are_told(study: Study) -> None:
    (one,) = made(study).weighed
    assert [(form.name, form.chosen) for form in one.forms] == [
        ("Sum", False),
        ("Per token", False),
        ("Per byte", False),
        ("PMI", True),
    ]
    assert [form.nll.number for form in one.forms] == [0.61, 0.74, 0.7, 0.58] and one.forms[0].accuracy.number == 0.84
    facts = dict(one.facts)
    assert facts["Form of the score"] == "PMI" and facts["Temperature of the probabilities"] == "1.98"
    assert (
        facts["Orders of the list"] == "3, averaged"
        and facts["Unsure answers"].replace(say.NBSP, " ") == "not given below 41.0 %"
    )
    assert facts["Names were scored"].startswith("as rows of a batch") and "takes no mask" in facts["Not as tree"]
    assert facts["Names and their tokens"] == "10 names, 31 tokens, 21 of them computed"
    decided = made(changed(study, prompt={"how": "decision"}, weighing=None, likelihood=None)).weighed[0]
    assert dict(decided.facts)["Form of the score"] == say.NOT_APPLICABLE and decided.forms == ()
    bound = made(
        changed(study, weighing={"form": "sum", "by": "settings", "bounds": 0.25, "left_out": 3, "orders": 1})
    ).weighed[0]
    assert dict(bound.facts)["Chosen by"] == "the settings" and dict(bound.facts)["Orders of the list"] == "one"
    assert (
        "25.0" in dict(bound.facts)["Told only as a bound"] and dict(bound.facts)["Validation pictures without numbers"] == "3"
    )


def test_how_it_was_asked_says_that_nothing_was_written(study: Study) -> None:
    asked = run(made(study), "weigher").asked
    facts = dict(asked.facts)
    assert facts["Asked for"] == "how probable every label is, as the whole answer" and asked.note == WEIGHED
    assert facts["Kept to the list by"] == "nothing is written: each label is weighed"
    decided = run(made(changed(study, prompt={"how": "decision"})), "weigher").asked
    assert dict(decided.facts)["Asked for"].startswith("how probable the letter is")


def test_whatever_stands_in_file_and_facts_is_drawn(study: Study, tmp_path: Path) -> None:
    """Every place of ``questions.json`` and of the facts in turn holds something of another kind."""
    weigher = next(c for c in study.contestants if c.name == "weigher")
    whole = {"questions": study.questions, **{name: weigher.facts[name] for name in ("weighing", "likelihood")}}
    for other in broken_copies(whole, None):
        questions = other.pop("questions")
        broken = dataclasses.replace(changed(study, **other), questions=questions if isinstance(questions, dict) else {})
        assert len(made(broken).runs) == 2
    alone(broken).encode("utf-8")
    exports.write(tmp_path, broken)
    exports.finish(tmp_path, broken)


def test_words_stay_words(drawn: Path, prompting_maker: ModuleType) -> None:
    page = (drawn / "report.html").read_text(encoding="utf-8")
    section = page[page.index('<div class="asks">') : page.index("What a right answer costs")]
    for name in prompting_maker.EVIL[:2]:
        assert html.escape(name).replace("&quot;", "&#34;") in section
    assert section.count("<table") == section.count("<caption") >= 2 and " style=" not in section
    charts = section.count('role="img"')
    assert charts == section.count("<title>") >= 6


def test_exports_hold_the_same(study: Study, tmp_path: Path) -> None:
    exports.write(tmp_path, study)
    exports.finish(tmp_path, study)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| Free answer, strict | `talker` | 40.0" in text.replace(say.NBSP, " ")
    assert "| `weigher` | PMI (chosen) | 0.580 |" in text and "+41.1 are format" in text
