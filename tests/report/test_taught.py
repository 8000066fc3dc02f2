"""The section on taught language models, and language models under both readings in every chart by class and by kind."""

from __future__ import annotations

import html
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.report.make_taught import add_taught

from fieldguide.files import read_json
from fieldguide.report import say
from fieldguide.report.both_readings import columns, recalls
from fieldguide.report.build import _environment
from fieldguide.report.kinds import by_class, kinds
from fieldguide.report.read import Study, read_study
from fieldguide.report.slopes import slopes
from fieldguide.report.taught import Taught, taught


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, maker: ModuleType, prompting_maker: ModuleType) -> Path:
    folder = tmp_path_factory.mktemp("taught")
    more: dict[str, Any] = {
        "model": "hf/owner/eyes",
        "rank": 16,
        "alpha": 16.0,
        "dropout": 0.0,
        "learning_rate": 2e-4,
        "schedule": "linear",
    }
    talker = maker.Entry("talker", "vlm_prompt", 3.0, failures=0.5, probabilities=False, more={"model": "hf/owner/eyes"})
    lora = maker.Entry("lora", "vlm_lora", 3.6, failures=0.1, probabilities=False, more=more)
    net = maker.Entry("net", "backbone", 4.0, kind="convolution")
    maker.make_study(folder, maker.Plan(entries=(talker, lora, net), per_class=(4, 3, 6)))
    prompting_maker.add_prompting(folder, prompting_maker.Plan(prompted=("talker", "lora"), served=False))
    add_taught(folder, "talker", "lora")
    return folder


@pytest.fixture(scope="module")
def study(place: Path) -> Study:
    return read_study(place)


def made(study: Study) -> Taught:
    found = taught(study)
    assert found is not None
    return found


def words(page: str) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page).replace(say.NBSP, " ").split()))


def alone(study: Study) -> str:
    page = _environment().from_string('{% import "parts.html.j2" as parts %}{% include "taught.html.j2" %}')
    return page.render(taught=taught(study))


def test_gains_are_those_of_the_file_and_add_up(study: Study, place: Path) -> None:
    (told_of,), (couple,) = read_json(place / "before_after.json")["pairs"], made(study).couples
    assert (couple.before.name, couple.after.name) == ("talker", "lora")
    values = [told_of[part]["value"] for part in ("difference", "format", "recognition")]
    assert values[0] == pytest.approx(values[1] + values[2]) and values[1] > 0.2, "half of the answers were no label before"
    for value, name in zip(values, ("all", "format", "recognition"), strict=True):
        assert f"{name} {say.points(value)}" in couple.chart
    strict, alias, listed = couple.rows
    assert strict.main and not listed.main and alias.name == "Alias"
    assert listed.before.number == pytest.approx(told_of["filtered"][0]["before"]["accuracy"]["value"])
    assert strict.difference.number == pytest.approx(values[0])
    said = " ".join(couple.told)
    assert (
        f"Format gain: {say.points(values[1])} points" in said and f"Recognition gain: {say.points(values[2])} points" in said
    )
    assert couple.differs == ("arithmetic: fp32 before, bf16 after",)


def test_how_it_was_taught_is_told(study: Study) -> None:
    (lesson,) = made(study).lessons
    facts = {name: value.text for name, value in lesson.facts}
    assert facts["Method"] == "QLoRA: weights in four bits, rank 16, alpha 16.0, dropout 0.0"
    assert facts["Loss on the answer"].replace(say.NBSP, " ") == "100.0 % of the tokens that count"
    assert (facts["Steps"], facts["Kept step"][:2]) == ("60 of 60 planned, 8 pictures each", "40")
    assert [(name, trained.text, share.text.replace(say.NBSP, " ")) for name, trained, _, share in lesson.parts] == [
        ("vision", "0", "0.0 %"),
        ("language", "300", "25.0 %"),
    ]
    page = alone(study)
    assert "The licence binds &lt;b&gt;you" in page and "<b>you" not in page
    assert "What teaching changed" in words(page) and "computed once, and stored" in words(page)


def test_without_the_same_model_before_it_says_so_and_untaught_there_is_nothing(study: Study) -> None:
    from dataclasses import replace

    lonely = made(replace(study, before_after=None))
    assert lonely.couples == () and [c.name for c in lonely.alone] == ["lora"]
    silent = replace(study, contestants=tuple(c for c in study.contestants if c.name != "lora"))
    assert taught(silent) is None and not alone(silent).strip()


@pytest.mark.parametrize(
    "wrong", [{"pairs": 3}, {"pairs": [3, {}]}, {"pairs": [{"before": "talker", "after": "lora", "main": 3, "p": "x"}]}]
)
def test_a_strange_file_breaks_nothing(study: Study, wrong: dict[str, Any]) -> None:
    from dataclasses import replace

    alone(replace(study, before_after=wrong))


def test_hostile_words_stay_words(place: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(place, tmp_path / "evil")
    add_taught(tmp_path / "evil", "talker", "lora", evil=True)
    page = alone(read_study(tmp_path / "evil"))
    assert "<script>alert" not in page and "<img src=x" not in page and "&lt;img" in page


def test_language_models_stand_in_the_table_of_classes_under_both_readings(study: Study) -> None:
    shown = columns(study)
    assert sorted((one.contestant.name, one.reading, one.main) for one in shown) == [
        ("lora", "filtered", False),
        ("lora", "strict", True),
        ("net", "", True),
        ("talker", "filtered", False),
        ("talker", "strict", True),
    ]
    strict, filtered = (next(c for c in shown if c.name == f"talker, {reading}").entries for reading in ("strict", "filtered"))
    more = 0
    for id, entry in strict.items():
        counts = study.prompted["talker"].test.classes[id]
        assert entry["recall"]["value"] == pytest.approx(counts.right / counts.n) and entry["n"] == counts.n
        if counts.labelled:
            assert filtered[id]["recall"]["value"] == pytest.approx(counts.right / counts.labelled)
            more += counts.labelled < counts.n
        else:
            assert filtered[id]["recall"]["value"] is None
    assert more > 3, "both readings differ, or nothing was tested"


def test_kinds_are_shown_filtered_beside_and_not_compared(study: Study) -> None:
    found = {kind.name: kind for kind in kinds(study).kinds}
    assert {"prompted language model, filtered", "prompted language model"} <= found.keys()
    filtered = found["prompted language model, filtered"]
    counts = study.prompted["talker"].test.classes.values()
    assert filtered.mean.number == pytest.approx(sum(c.right for c in counts) / sum(c.labelled for c in counts), abs=1e-6)
    assert not filtered.compared and "CNN, filtered" not in found
    table = by_class(study)
    names = [name for name, _ in table.kinds]
    assert all(len(row.cells) == len(names) for row in table.rows)
    at, own = (
        names.index("prompted language model, filtered"),
        recalls(study, next(c for c in study.scored if c.name == "talker")),
    )
    for row in table.rows:
        assert row.cells[at].number == (pytest.approx(own[row.id]) if own[row.id] is not None else -1.0)


def test_slopes_of_language_models_are_drawn_under_both_readings(study: Study) -> None:
    (pair,) = slopes(study).pairs
    assert pair.filtered is not None and "Filtered recall of each class" in pair.filtered.chart
    assert pair.filtered.chart != pair.chart and pair.apart == "prompted → LoRA"
    assert {one.name: (one.before, one.after) for one in pair.filtered.traces} == {
        study.names[id]: (was, now)
        for id, was in recalls(study, pair.before).items()
        if was is not None and (now := recalls(study, pair.after)[id]) is not None
    }
    choices = slopes(study).choices
    assert choices is not None and {"talker, filtered", "lora, filtered"} <= {name for name, *_ in choices.contestants}


def test_the_markdown_tells_the_same(study: Study) -> None:
    from fieldguide.report.exports.markdown import report

    told = report(study).split("## What teaching changed")[1].split("\n## ")[0]
    (couple,) = made(study).couples
    assert f"{couple.points} points" in told and told.count("- ") >= len(couple.told)
    assert "| Loss on the answer | 100.0" in told.replace(say.NBSP, " ") and "`lora` | Strict |" in told


def test_whether_it_memorised_is_told_where_training_pictures_were_asked_about(
    place: Path, study: Study, tmp_path: Path
) -> None:
    import shutil

    from fieldguide.report.fitting import section

    found = section(study)
    assert [c.name for c in found.unasked] == ["lora"] and "lora" not in [row.contestant.name for row in found.rows]
    assert dict(made(study).lessons[0].facts)["Training minus validation"].absent
    shutil.copytree(place, tmp_path / "asked")
    add_taught(tmp_path / "asked", "talker", "lora", memorised=True)
    asked = read_study(tmp_path / "asked")
    (lesson,) = made(asked).lessons
    gap = dict(lesson.facts)["Training minus validation"]
    assert gap.text.replace(say.NBSP, " ") == "+35.0 points: 95.0 % of 80 pictures, and 60.0 % of 80"
    assert lesson.notes[0].replace(say.NBSP, " ").startswith("Did it learn or memorise? Over-fits by 35.0 points [")
    (row,) = [row for row in section(asked).rows if row.contestant.name == "lora"]
    assert (row.found.state, row.found.n_val, row.turned.text) == ("over-fits", 80, say.NOT_RECORDED)
    assert "training 95.0 %, validation 60.0 %" in words(alone(asked))
