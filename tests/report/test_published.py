"""The published figures beside the measured ones: where they lie, what is said of other pictures, and what is missing."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fieldguide import recipes
from fieldguide.report.build import build
from fieldguide.report.published import beside
from fieldguide.report.read import read_study

NAMES = tuple(entry["name"] for entry in recipes.read("animals90").study["contestants"])


def study(folder: Path, maker: ModuleType, recipe: str | None = "animals90", classes: int = 90, **more: Any) -> Any:
    """Write a study of the recipe's contestants, vgg19 without scores; skills rise along the list."""
    entries = tuple(
        maker.Entry(
            name, "vmamba" if "vmamba" in name else "backbone", 4 + at / 5, "failed" if name == "vgg19" else "scored", 6
        )
        for at, name in enumerate(more.pop("names", NAMES))
    )
    extra = {"recipe": recipe} if recipe else {}
    each = more.pop("per_class", (42, 9, 9))
    maker.make_study(
        folder, maker.Plan(names=tuple(f"animal {n}" for n in range(classes)), per_class=each, entries=entries, extra=extra)
    )
    return read_study(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, maker: ModuleType) -> Path:
    folder = tmp_path_factory.mktemp("published")
    study(folder, maker)
    build(folder, maker.FakeReader(12))
    return folder


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def test_every_contestant_of_the_recipe_has_a_row_in_its_order(whole: Path) -> None:
    found = beside(read_study(whole))
    assert found is not None and found.warnings == ()
    assert [row.name for row in found.rows] == list(NAMES)
    rows = {row.name: row for row in found.rows}
    assert (plain(rows["vgg16"].published.text), rows["vgg16"].published.note) == ("89.75 %", "727/810, 87.5\u201391.7")
    assert rows["vgg19"].contestant is None and rows["vgg19"].test.text == "not scored"
    assert "not scored here" in rows["vgg19"].line
    assert rows["resnext50"].where == "cpu · fp32"


def test_where_a_figure_lies_is_told_by_our_interval(whole: Path) -> None:
    read = read_study(whole)
    found = beside(read)
    assert found is not None
    inside = {"val": 0, "test": 0}
    for row in found.rows:
        for part, value in (("val", row.val), ("test", row.test)):
            if row.contestant is None:
                continue
            entry = row.contestant.metric("accuracy", part)
            published = row.published.number
            assert entry is not None and published is not None
            place = (
                "inside" if entry["low"] <= published <= entry["high"] else "above" if published > entry["high"] else "below"
            )
            assert value.note.endswith(f"published {place}")
            inside[part] += place == "inside"
    assert found.inside == (
        f"Published figures: {inside['val']} of 13 inside our interval on validation, the part that the source reports; "
        f"{inside['test']} of 13 inside our interval on test."
    )


def test_means_of_groups_are_of_whom_was_scored(whole: Path) -> None:
    read = read_study(whole)
    found = beside(read)
    assert found is not None
    means = {mean.name: mean for mean in found.means}
    assert {name: mean.of for name, mean in means.items()} == {
        "CNNs": "7 of 8",
        "Transformers and VMamba": "6 of 6",
        "Swin alone": "3 of 3",
    }
    swin = [c.metric("accuracy")["value"] for c in read.scored if c.name.startswith("swin")]  # type: ignore[index]
    assert means["Swin alone"].test.number == pytest.approx(sum(swin) / 3)
    assert plain(means["CNNs"].published.text) == "92.41 %"
    cnns = means["CNNs"].test.number
    assert cnns is not None
    (first, second) = found.differences
    assert f"{100 * (sum(swin) / 3 - cnns):+.1f} points (published +2.7)" in second
    assert "Transformers and VMamba minus CNNs" in first and "(published +3.8)" in first


def test_the_page_shows_it_with_its_caveats(whole: Path) -> None:
    page = plain((whole / "report.html").read_text(encoding="utf-8"))
    part = page.split('id="published"')[1].split("</section>")[0]
    assert part.count('class="bar val') == 13 and part.count('class="bar test') == 13
    assert "The mean of a chosen zoo is not a law" in part
    for caveat in recipes.read("animals90").published.caveats:
        assert caveat.split(",")[0] in part
    assert "What the source states, and what is ours" in part
    assert 'href="#published"' in page


@pytest.mark.parametrize(
    ("recipe", "classes", "each"),
    [("animals90/tiny", 90, (42, 9, 9)), ("animals90", 30, (42, 9, 9)), ("animals90", 90, (30, 9, 9))],
)
def test_figures_of_other_pictures_are_no_measure(
    tmp_path: Path, maker: ModuleType, recipe: str, classes: int, each: tuple[int, int, int]
) -> None:
    found = beside(study(tmp_path, maker, recipe, classes, per_class=each, names=NAMES[:3]))
    assert found is not None
    (warning,) = found.warnings
    assert ("rehearsal" in warning) == recipe.endswith("/tiny")
    assert found.inside == ""
    assert not any("published inside" in row.test.note or "published above" in row.test.note for row in found.rows)
    assert not any("(published" in line for line in found.differences)
    assert found.rows[0].published.text.startswith("89.75"), "it stands there all the same"


def test_questions_are_answered_by_the_gap(tmp_path: Path, maker: ModuleType) -> None:
    names = tuple(entry["name"] for entry in recipes.read("pets_vit").study["contestants"])
    entries = tuple(maker.Entry(name, "backbone", 3, epochs=6, train=1.0) for name in names[:2])
    maker.make_study(
        tmp_path, maker.Plan(names=maker.ANIMALS[:5], per_class=(20, 12, 6), entries=entries, extra={"recipe": "pets_vit"})
    )
    found = beside(read_study(tmp_path))
    assert found is not None
    (answer,) = found.answers
    told = dict(answer.found)
    assert "over-fits by" in told["vit-all"] and "over-fits by" in told["vit-blocks-10-11"]
    assert told["vit-head"] == "Not scored here."
    assert plain(found.rows[0].published.text) == "about 95 %"
    assert found.rows[1].published.text == "none"


@pytest.mark.parametrize("recipe", [None, "a recipe of a later version", "<script>"])
def test_a_study_of_no_known_recipe_has_no_such_section(tmp_path: Path, maker: ModuleType, recipe: str | None) -> None:
    assert beside(study(tmp_path, maker, recipe, classes=5, per_class=(4, 2, 2), names=("one",))) is None
    assert 'id="published"' not in build(tmp_path, maker.FakeReader(12)).read_text(encoding="utf-8")


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1280])
def test_the_section_fits_a_phone_and_says_nothing_to_the_console(chromium: Any, whole: Path, width: int) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900})
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.goto((whole / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#published rect.bar").count() == 26
    longest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('#published rect.bar')].map((bar) => bar.width.baseVal.value))"
    )
    assert 20 < longest < 204
    page.close()
    assert heard == []
