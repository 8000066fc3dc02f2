"""The published figures beside the measured ones: where they lie, what is said of other pictures, and what is missing."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fieldguide import recipes
from fieldguide.files import read_toml, write_json, write_toml
from fieldguide.report.build import build
from fieldguide.report.published import beside
from fieldguide.report.read import read_study

NAMES = tuple(entry["name"] for entry in recipes.read("animals90").study["contestants"])


def _family(name: str) -> str:
    return "vlm_prompt" if "llama" in name or "llava" in name else "vmamba" if "vmamba" in name else "backbone"


def study(folder: Path, maker: ModuleType, recipe: str | None = "animals90", classes: int = 90, **more: Any) -> Any:
    """Write a study of the recipe's contestants, vgg19 without scores; skills rise along the list."""
    entries = tuple(
        maker.Entry(name, _family(name), 4 + at / 5, "failed" if name == "vgg19" else "scored", 6)
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
        f"Published figures: {inside['val']} of 15 inside our interval on validation, the part that the source reports; "
        f"{inside['test']} of 15 inside our interval on test."
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
    assert part.count('class="bar val') == 15 and part.count('class="bar test') == 15
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
    assert page.locator("#published rect.bar").count() == 30
    longest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('#published rect.bar')].map((bar) => bar.width.baseVal.value))"
    )
    assert 20 < longest < 204
    page.close()
    assert heard == []


READINGS = {
    "schema": 1,
    "headline": "strict",
    "parts": {
        "test": {
            "n": 810,
            "filtered": [
                {
                    "id": "listed",
                    "right": 284,
                    "n": 303,
                    "accuracy": {"value": 284 / 303, "low": 0.904, "high": 0.960, "n": 303},
                },
                {
                    "id": "any name",
                    "right": 284,
                    "n": 310,
                    "accuracy": {"value": 284 / 310, "low": 0.880, "high": 0.942, "n": 310},
                },
            ],
        }
    },
}


def _asked(folder: Path, maker: ModuleType, name: str, model: str) -> Path:
    """Write a study in which a language model has answered, and another model than the source's perhaps."""
    study(folder, maker, names=("vgg16", name), per_class=(42, 9, 9))
    run = next(path for path in (folder / "runs").iterdir() if read_toml(path / "settings.toml")["name"] == name)
    settings = read_toml(run / "settings.toml")
    write_toml(run / "settings.toml", {**settings, "settings": {**settings["settings"], "model": model}})
    write_json(run / "readings.json", READINGS)
    return folder


def test_filtered_accuracy_stands_beside_the_published_one_over_both_denominators(tmp_path: Path, maker: ModuleType) -> None:
    name = "llama-vision-prompt"
    wanted = next(entry for entry in recipes.read("animals90").study["contestants"] if entry["name"] == name)
    found = beside(read_study(_asked(tmp_path, maker, name, wanted["settings"]["model"])))
    assert found is not None and found.warnings == () and found.others == ()
    filtered, *metrics = [told for told in found.more if told.name == name]
    assert plain(filtered.published) == "93.69 %" and filtered.what == "filtered accuracy"
    assert [plain(line) for line in filtered.here] == [
        "93.7 % [90.4\u201396.0]: 284 of the 303 answers that are a name of the list",
        "91.6 % [88.0\u201394.2]: 284 of the 310 answers that are a bare name, on the list or off it",
    ]
    assert [(told.what, told.published) for told in metrics] == [
        ("precision, weighted average", "0.90"),
        ("recall, weighted average", "0.34"),
        ("F1, weighted average", "0.47"),
    ]
    assert all(told.here[0][:3] in ("0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9") for told in metrics)
    rows = {row.name: row for row in found.rows}
    assert plain(rows[name].published.text) == "35 %" and "published" in rows[name].test.note
    page = build(tmp_path, maker.FakeReader(12)).read_text(encoding="utf-8")
    assert "What else the source prints" in page and "284 of the 303" in page


def test_the_figure_of_another_model_is_no_measure(tmp_path: Path, maker: ModuleType) -> None:
    name = "llama-vision-prompt"
    found = beside(read_study(_asked(tmp_path, maker, name, "served/another-7b")))
    assert found is not None and found.warnings == ()
    (told,) = found.others
    assert "asked here was served/another-7b" in told and "Llama-3.2-11B" in told
    rows = {row.name: row for row in found.rows}
    assert "published" not in rows[name].test.note and "published" in rows["vgg16"].test.note
    assert "1 of 1" in found.inside or "0 of 1" in found.inside


def test_two_contestants_answer_a_question_together(tmp_path: Path, maker: ModuleType) -> None:
    entries = tuple(maker.Entry(name, "vlm_prompt", skill) for name, skill in (("llava", 2.0), ("llava-no-example", 5.0)))
    extra = {"recipe": "llava_zero_shot/mnist"}
    names = tuple(f"digit {n}" for n in range(10))
    maker.make_study(tmp_path, maker.Plan(names=names, per_class=(30, 10, 10), entries=entries, extra=extra))
    found = beside(read_study(tmp_path))
    assert found is not None and found.name == "llava_zero_shot/mnist" and found.warnings == ()
    (answer,) = found.answers
    ((name, sentence),) = answer.found
    pair = next(pair for pair in read_study(tmp_path).comparison["pairs"])  # type: ignore[index]
    alone = pair["only_b"] if pair["b"] == "llava-no-example" else pair["only_a"]
    assert "(3)" in answer.asks and name == "llava-no-example minus llava"
    assert plain(sentence).startswith("+") and f"{alone} pictures right in llava-no-example alone" in plain(sentence)
    assert "llava-no-example is better" in plain(sentence)
    assert [row.name for row in found.rows] == ["llava", "llava-no-example", "llava-choice"]
    assert plain(found.rows[0].published.note) == "396/500, 75.4\u201382.5"
