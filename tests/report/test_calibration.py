"""The section on calibration: for every contestant that gives probabilities, whatever its family, and honest about those that do not."""

from __future__ import annotations

import copy
import dataclasses
import html
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.report.breaking import broken_copies

from fieldguide.files import read_json
from fieldguide.report import exports, say
from fieldguide.report.build import _environment
from fieldguide.report.calibration import AT_ONCE, MOST_CHARTS, Calibration, Row, calibration
from fieldguide.report.calibration_chart import Bin, Point, covering, reliable
from fieldguide.report.read import Study, read_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, maker: ModuleType) -> Study:
    folder = tmp_path_factory.mktemp("calibration")
    names = (("net", "backbone", 4.2), ("clip", "text_adapter", 3.0), ("weigher", "vlm_prompt", 2.5))
    entries = [maker.Entry(name, family, skill) for name, family, skill in names]
    talker = maker.Entry("talker", "vlm_prompt", 3.0, failures=0.3, probabilities=False)
    maker.make_study(folder, maker.Plan(entries=(*entries, talker), per_class=(4, 6, 9)))
    return read_study(folder)


def alone(found: Calibration) -> str:
    """Return the section as the page holds it."""
    page = _environment().from_string('{% import "parts.html.j2" as parts %}{% include "calibration.html.j2" %}')
    return page.render(calibration=found)


def words(page: str) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page).replace(say.NBSP, " ").split()))


def changed(study: Study, name: str, **values: Any) -> Study:
    every = tuple(dataclasses.replace(c, **values) if c.name == name else c for c in study.contestants)
    return dataclasses.replace(study, contestants=every)


def part(study: Study, name: str, **values: Any) -> dict[str, Any]:
    test = next(c.test for c in study.contestants if c.name == name)
    return {**copy.deepcopy(dict(test or {})), **values}


def row(found: Calibration, name: str) -> Row:
    return next(one for one in found.rows if one.contestant.name == name)


def test_networks_and_language_models_stand_in_one_table(study: Study) -> None:
    found = calibration(study)
    assert {one.contestant.name for one in found.rows} == {"net", "clip", "weigher"}
    ((silent, why),) = found.without
    assert silent.name == "talker" and why.startswith("no probabilities")
    page = alone(found)
    table = page[page.index('<table class="sureness"') : page.index("</table>")]
    assert table.count('<th scope="row"') == 4 and "no probabilities" in table
    assert page.count('<svg class="calibrated"') == 6, "two charts for each that gives probabilities"
    assert found.lead.startswith("3 of 4 contestants give a probability for every class")


def test_numbers_are_those_of_the_scores(study: Study) -> None:
    found = calibration(study)
    for one in found.rows:
        told = (one.contestant.test or {})["reliability"]
        assert one.confidence.number == told["confidence"] and one.surplus.number == told["surplus"]["value"]
        assert one.ranking.number == told["ranking"]
        assert [(bin.n, bin.right) for bin in one.bins] == [(bin["n"], bin["right"]) for bin in told["bins"]]
        assert one.covered[0].number == told["right"] / told["n"]
        for threshold, entry in zip(one.thresholds, (one.contestant.test or {})["abstention"], strict=True):
            if entry["state"] == "ok":
                assert threshold.accuracy.number == entry["test"]["accuracy"]["value"]
                assert threshold.answered.number == entry["test"]["answered"]["value"]
            else:
                assert threshold.least.text == say.NOT_APPLICABLE and threshold.least.title == entry["why"]
        assert one.bins and str(one.reliability).count('<circle class="sure') == len(one.bins)


@pytest.mark.parametrize(
    ("error", "surplus", "expected"),
    [
        (0.01, (0.02, 0.09), "no sign of being off"),
        (0.2, (0.02, 0.09), "too sure"),
        (0.2, (-0.09, -0.02), "not sure enough"),
        (0.2, (-0.09, 0.02), "off"),
    ],
)
def test_what_it_comes_to_is_said_in_a_word(study: Study, error: float, surplus: tuple[float, float], expected: str) -> None:
    test = part(study, "net", calibration_null={"mean": 0.02, "high": 0.04})
    test["metrics"]["calibration_error"]["value"] = error
    test["reliability"]["surplus"] = {"value": sum(surplus) / 2, "low": surplus[0], "high": surplus[1]}
    other = calibration(changed(study, "net", test=test))
    assert row(other, "net").state == expected
    sign = row(other, "net").sign
    assert sign == ("✓" if expected == "no sign of being off" else "!"), "never colour alone"
    assert expected in words(alone(other))


def test_coverage_that_equal_confidences_do_not_allow_is_not_made_up(study: Study) -> None:
    test = part(study, "net")
    test["reliability"]["coverage"] = [
        {"threshold": 0.5, "answered": 40, "right": 30},
        {"threshold": 0.4, "answered": 90, "right": 60},
    ]
    found = row(calibration(changed(study, "net", test=test)), "net")
    assert [value.text for value in found.covered[1:]] == [say.NOT_APPLICABLE] * 3 and found.covered[0].number == 60 / 90


def test_whoever_leaves_answers_out_says_so(study: Study) -> None:
    failures = {"too unsure: cat with probability 0.312": 3, "too unsure: bat with probability 0.1": 4, "timeout": 5}
    other = changed(study, "net", facts={"threshold": 0.41}, test=part(study, "net", failures=failures))
    assert "less than 41.0 % sure of, as set on validation pictures: 7 of 90 test pictures" in words(alone(calibration(other)))
    weigher = changed(study, "weigher", facts={"weighing": {"threshold": 0.2}})
    assert "less than 20.0 % sure" in row(calibration(weigher), "weigher").refuses.replace(say.NBSP, " ")
    assert not row(calibration(study), "clip").refuses


def test_who_answers_in_words_is_told_what_would_give_probabilities(study: Study) -> None:
    other = changed(study, "talker", facts={"prompt": {"how": "choice"}})
    ((_, why),) = calibration(other).without
    assert "ask=likelihood" in why


def test_scores_of_an_earlier_time_say_what_to_do(study: Study) -> None:
    old = study
    for name in ("net", "clip", "weigher"):
        test = {key: value for key, value in part(study, name).items() if key not in ("reliability", "abstention")}
        old = changed(old, name, test=test)
    found = calibration(old)
    page = words(alone(found))
    assert "score it again with fieldguide report" in page and 'class="calibrated"' not in alone(found)
    assert row(found, "net").confidence.text == say.NOT_RECORDED and row(found, "net").error.number == 0.042


def test_nobody_with_probabilities_and_nobody_at_all(study: Study) -> None:
    silent = dataclasses.replace(study, contestants=tuple(c for c in study.contestants if c.name == "talker"))
    assert "No contestant gives probabilities." in words(alone(calibration(silent)))
    empty = dataclasses.replace(study, contestants=())
    assert "no contestant has been scored" in words(alone(calibration(empty)))


def test_whatever_stands_in_the_scores_is_drawn(study: Study) -> None:
    """Every place of the new parts in turn holds something of another kind, and the section is drawn all the same."""
    whole = {name: part(study, "net")[name] for name in ("reliability", "abstention", "calibration_null")}
    for other in broken_copies(whole):
        found = calibration(changed(study, "net", test=part(study, "net", **other)))
        assert row(found, "net").error.number == 0.042
    alone(found).encode("utf-8")


def test_many_contestants_stay_small(study: Study) -> None:
    net = next(c for c in study.contestants if c.name == "net")
    many = tuple(dataclasses.replace(net, name=f"net {at}") for at in range(MOST_CHARTS + 3))
    found = calibration(dataclasses.replace(study, contestants=many))
    page = alone(found)
    assert sum(bool(one.reliability) for one in found.rows) == MOST_CHARTS
    assert f"{MOST_CHARTS - AT_ONCE} more contestants" in words(page) and len(page.encode()) < 12_000 * MOST_CHARTS


def test_a_dot_stands_where_its_numbers_say() -> None:
    bins = [Bin(0.0, 0.2, 10, 0, 0.0, 0.0, None), Bin(0.8, 1.0, 4, 2, 1.0, 0.5, (0.2, 0.8))]
    chart = str(reliable(bins, 2, "x <b>"))
    dots = [(float(x), float(y)) for x, y in re.findall(r'<circle class="sure f2" cx="([\d.]+)" cy="([\d.]+)"', chart)]
    ends = [float(end) for end in re.findall(r'class="perfect" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', chart)[0]]
    assert dots[0] == (ends[0], ends[1]), "as often right as it is sure: on the line of perfect calibration"
    assert dots[1][0] == ends[2] and dots[1][1] == pytest.approx((ends[1] + ends[3]) / 2), "half right: half way up"
    assert "<title>x &lt;b&gt;</title>" in chart and chart.count('class="reach f2" d="M') == 1
    line = str(covering([Point(0.5, 1.0), Point(1.0, 0.8)], [Point(0.5, 1.0)], 0, "y"))
    assert line.count(",") >= 2 and 'class="chosenmark f0"' in line


def test_exports_hold_the_same_numbers(study: Study, tmp_path: Path) -> None:
    exports.write(tmp_path, study)
    exports.finish(tmp_path, study)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    found = calibration(study)
    assert "## How sure, and how right?" in text and row(found, "weigher").surplus.text in text
    told = {one["name"]: one for one in read_json(tmp_path / "scores.json")["contestants"]}
    assert told["net"]["test"]["reliability"] == json.loads(json.dumps(part(study, "net")["reliability"]))
