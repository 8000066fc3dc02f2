"""The viewer of maps in a real browser: by mouse and keyboard, without scripts, on a phone and in both themes."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fieldguide.report import why
from fieldguide.report.build import build
from fieldguide.report.explained_page import Shown, Subject, page
from fieldguide.report.thumbnails import encode

_SPEC = importlib.util.spec_from_file_location("report_make_explained_b", Path(__file__).with_name("make_explained.py"))
assert _SPEC and _SPEC.loader
makes = importlib.util.module_from_spec(_SPEC)
sys.modules["report_make_explained_b"] = makes
_SPEC.loader.exec_module(makes)

pytestmark = pytest.mark.browser

#: What the first canvas shows, as text; equal texts are equal pixels.
PIXELS = "(row) => row.querySelector('canvas').toDataURL()"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, maker: ModuleType) -> Path:
    """A study with evil names, explained, with its report; `linear` is no better than random."""
    folder = tmp_path_factory.mktemp("why")
    names = (*maker.EVIL[:3], "cat", "dog", "eel")
    maker.make_study(folder, maker.Plan(names=names, per_class=(6, 4, 4)))
    makes.explain(folder, maker.FakeReader(90), makes.Plan(pictures=4, names=maker.EVIL[:3]))
    build(folder, maker.FakeReader(200))
    return folder


@contextmanager
def opened(chromium: Any, path: Path, width: int = 1280, **options: Any) -> Iterator[tuple[Any, list[str]]]:
    """Yield the page `path` and what the console said."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
    page, heard = context.new_page(), []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", lambda dialog: heard.append(dialog.message))
    page.goto(path.as_uri())
    try:
        yield page, heard
    finally:
        context.close()


def _row(page: Any, name: str) -> Any:
    return page.locator(f".whypanel[open] .whyrow[data-name={name}]")


def test_the_slider_moves_all_contestants_of_the_picture(chromium: Any, study: Path) -> None:
    with opened(chromium, study / "report.html") as (page, heard):
        viewer = page.locator(".whypanel[open] .mapviewer")
        assert viewer.count() == 1
        slider = viewer.locator("[data-map=depth]")
        seen: dict[str, list[Any]] = {"vit_small": [], "resnet_tiny": []}
        viewer.locator("[data-map=method]").select_option("attention")
        assert slider.get_attribute("max") == "11"
        viewer.locator("[data-map=method]").select_option("")
        steps = int(slider.get_attribute("max"))
        assert steps == 11
        for depth in range(steps + 1):
            slider.fill(str(depth))
            for name, pixels in seen.items():
                row = _row(page, name)
                pixels.append(row.evaluate(PIXELS))
                layers = row.evaluate("(row) => row.querySelectorAll('data').length")
                assert layers >= 2
            assert viewer.locator("[data-map=now]").inner_text() == f"depth {depth + 1} of 12"
            assert f"vit_small: block {depth}" in viewer.locator("[data-map=live]").inner_text()
            assert slider.get_attribute("aria-valuetext") == f"depth {depth + 1} of 12"
            assert _row(page, "vit_small").locator(".maplayer").inner_text().startswith(f"block {depth}")
        assert len(set(seen["vit_small"])) == 12, "each layer is another picture"
        viewer.locator("[data-map=telling]").click()
        assert viewer.locator("[data-map=telling]").get_attribute("aria-pressed") == "true"
        assert viewer.locator("[data-map=now]").inner_text() == "most telling layer of each"
        assert heard == []


def test_a_canvas_shows_the_cells_of_its_layer_in_the_colours_of_the_ramp(chromium: Any, study: Path) -> None:
    with opened(chromium, study / "report.html") as (page, _):
        row = _row(page, "vit_small")
        page.locator(".whypanel[open] [data-map=method]").select_option("attention")
        page.locator(".whypanel[open] [data-map=depth]").fill("3")
        found = row.evaluate(
            """(row) => { const map = row.querySelector('data[data-method=attention]'), c = row.querySelector('canvas');
            const [h, w] = map.dataset.size.split(' ').map(Number), cells = map.dataset.cells.slice(3 * h * w, 4 * h * w);
            const at = (i) => [...c.getContext('2d').getImageData(i % w, Math.floor(i / w), 1, 1).data];
            return [c.width, c.height, at(cells.indexOf('A')), at(cells.indexOf('/'))] }"""
        )
        assert found == [14, 14, [0x00, 0x22, 0x4E, 255], [0xFE, 0xE8, 0x38, 255]]


def test_it_is_steered_by_keyboard(chromium: Any, study: Path) -> None:
    with opened(chromium, study / "report.html") as (page, heard):
        viewer = page.locator(".whypanel[open] .mapviewer")
        viewer.locator("[data-map=depth]").focus()
        page.keyboard.press("Home")
        assert viewer.locator("[data-map=now]").inner_text() == "depth 1 of 12"
        page.keyboard.press("ArrowRight")
        assert viewer.locator("[data-map=now]").inner_text() == "depth 2 of 12"
        order = []
        for _ in range(5):
            page.keyboard.press("Tab")
            order.append(page.evaluate("document.activeElement.dataset.map ?? document.activeElement.tagName"))
        assert order[:4] == ["telling", "method", "mode", "opacity"]
        assert page.evaluate(
            "[...document.querySelectorAll('.mapcontrols input,.mapcontrols select')].every((n) => n.labels.length === 1)"
        )
        second = page.locator(".whypanel > summary").nth(1)
        second.focus()
        page.keyboard.press("Enter")
        page.locator(".whypanel").nth(1).locator(".mapcontrols").wait_for(state="visible")
        assert page.locator(".whypanel").nth(1).locator(".stage canvas").count() > 3
        assert heard == []


def test_a_method_is_chosen_or_said_not_to_apply(chromium: Any, study: Path) -> None:
    with opened(chromium, study / "report.html") as (page, heard):
        method = page.locator(".whypanel[open] [data-map=method]")
        method.select_option("attention")
        assert "Attention of the class token" in _row(page, "vit_small").locator(".maptitle").inner_text()
        lost = _row(page, "resnet_tiny")
        words = lost.locator(".stage").inner_text()
        assert "is not applicable: this network has no attention over the whole picture" in words and "use gradcam" in words
        assert not lost.locator("canvas").is_visible() and not lost.locator(".aboutmap").is_visible()
        assert "No map by this method" in _row(page, "talker").locator(".stage").inner_text()
        method.select_option("occlusion")
        for name in ("vit_small", "resnet_tiny", "talker", "linear"):
            assert _row(page, name).locator("canvas").is_visible()
        assert page.locator(".whypanel[open] [data-map=depth]").is_disabled()
        assert page.locator(".whypanel[open] [data-map=now]").inner_text() == "most telling layer of each"
        assert heard == []


def test_opacity_and_the_raw_map(chromium: Any, study: Path) -> None:
    with opened(chromium, study / "report.html") as (page, _):
        row, box = _row(page, "vit_small"), page.locator(".whypanel[open] .mapcontrols")
        box.locator("[data-map=opacity]").fill("30")
        assert row.locator("canvas").first.evaluate("(c) => getComputedStyle(c).opacity") == "0.3"
        box.locator("[data-map=mode]").select_option("raw")
        style = "(c) => [getComputedStyle(c).opacity, getComputedStyle(c).imageRendering]"
        assert row.locator("canvas").first.evaluate(style) == ["1", "pixelated"]
        assert row.locator(".ground").evaluate("(g) => getComputedStyle(g).visibility") == "hidden"


def test_the_map_lies_over_the_box_that_was_seen(chromium: Any, study: Path) -> None:
    with opened(chromium, study / "report.html") as (page, _):
        row = _row(page, "resnet_tiny")
        view, canvas = row.locator(".stage .view").bounding_box(), row.locator(".stage canvas").bounding_box()
        frame = row.locator(".stage .seenframe").bounding_box()
        assert canvas["x"] - view["x"] == pytest.approx(view["width"] / 8, abs=1.5)
        assert canvas["width"] == pytest.approx(0.75 * view["width"], abs=1.5)
        assert canvas["height"] == pytest.approx(view["height"], abs=1.5)
        assert frame["width"] == pytest.approx(canvas["width"], abs=4)


def test_a_map_no_better_than_random_says_so_on_its_face(chromium: Any, study: Path) -> None:
    for options in ({}, {"java_script_enabled": False}, {"color_scheme": "dark"}):
        with opened(chromium, study / "report.html", **options) as (page, _):
            row = page.locator(".whypanel").first.locator(".whyrow[data-name=linear]")
            stamp = row.locator(".stage .stamp")
            assert stamp.is_visible() and why.STAMPS["r"] in stamp.inner_text()
            colours = stamp.evaluate(
                "(s) => [getComputedStyle(s).color, getComputedStyle(s).backgroundColor, getComputedStyle(s).opacity]"
            )
            assert colours[2] == "1" and _contrast(colours[0], colours[1]) >= 7
            box, stage = stamp.bounding_box(), row.locator(".stage").bounding_box()
            assert stage["y"] <= box["y"] and box["y"] + box["height"] <= stage["y"] + stage["height"] + 1
            hatch = row.locator(".stage").evaluate("(s) => getComputedStyle(s, '::after').backgroundImage")
            assert "repeating-linear-gradient" in hatch
            fine = page.locator(".whypanel").first.locator(".whyrow[data-name=vit_small]")
            assert not fine.locator(".stamp").is_visible()
            assert fine.locator(".stage").evaluate("(s) => getComputedStyle(s, '::after').content") == "none"


def _contrast(first: str, second: str) -> float:
    """Return the contrast of two opaque colours as WCAG 2 has it."""

    def light(colour: str) -> float:
        parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")]
        assert len(parts) == 3, "opaque"
        lit = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * lit[0] + 0.7152 * lit[1] + 0.0722 * lit[2]

    high, low = sorted((light(first), light(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_what_the_script_says_first_is_what_stood_there_without_it(chromium: Any, study: Path) -> None:
    told = []
    for scripts in (False, True):
        with opened(chromium, study / "report.html", java_script_enabled=scripts) as (page, _):
            rows = page.locator(".whypanel").first.locator(".whyrow[data-at]")
            assert rows.count() == 5
            told.append([_words(row) for row in rows.all()])
            assert page.locator(".mapcontrols").first.is_visible() == scripts
            assert rows.first.locator(".ink").first.is_visible() != scripts
    for still, drawn in zip(*told, strict=True):
        assert still == drawn
    assert all("strongest in the" in line[0] for line in told[0])


def _words(row: Any) -> list[str]:
    """Return the alternative text, what stands beside the map, and where the lines of its chart lie."""
    lines = [
        row.locator(".view title").first.text_content(),
        row.locator(".aboutmap").text_content(),
        row.locator(".stamp").text_content(),
    ]
    chart = row.locator(".checkchart")
    places = [
        f"{tag} {chart.locator(tag).get_attribute(name)}"
        for tag, name in ((".ins", "points"), (".del", "points"), (".orders", "d"), (".score", "d"))
    ]
    return [*(" ".join((line or "").split()) for line in lines), *places]


def test_all_layers_stand_in_a_row(chromium: Any, study: Path) -> None:
    with opened(chromium, study / "report.html") as (page, heard):
        row = _row(page, "vit_small")
        page.locator(".whypanel[open] [data-map=method]").select_option("attention")
        row.locator(".layerstrip summary").click()
        tiles = row.locator(".tile")
        tiles.nth(11).wait_for(state="attached")
        assert tiles.nth(7).locator("figcaption").inner_text().startswith("block 7")
        assert len({tile.evaluate(PIXELS) for tile in tiles.all()}) == 12
        page.locator(".whypanel[open] [data-map=depth]").fill("4")
        assert "now" in tiles.nth(4).get_attribute("class") and row.locator(".tile.now").count() == 1
        assert heard == []
    with opened(chromium, study / "report.html", java_script_enabled=False) as (page, _):
        strip = page.locator(".whypanel").first.locator(".whyrow[data-name=vit_small] .layerstrip")
        strip.locator("summary").click()
        assert strip.locator(".tile svg").is_visible() and "script" in strip.inner_text()


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (390, "dark"), (768, "light"), (1280, "dark")])
def test_it_never_scrolls_sideways_in_either_theme(chromium: Any, study: Path, width: int, scheme: str) -> None:
    with opened(chromium, study / "report.html", width, color_scheme=scheme) as (page, heard):
        page.evaluate("document.querySelectorAll('#why details').forEach((box) => { box.open = true; })")
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        zero = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--map-zero')")
        assert zero == {"light": "#f4f2ec", "dark": "#20262c"}[scheme]
        assert heard == []


def test_a_change_of_theme_draws_the_raw_signed_map_anew(chromium: Any, study: Path) -> None:
    with opened(chromium, study / "report.html", color_scheme="light") as (page, _):
        page.locator(".whypanel[open] [data-map=method]").select_option("occlusion")
        page.locator(".whypanel[open] [data-map=mode]").select_option("raw")
        light = _row(page, "talker").evaluate(PIXELS)
        page.emulate_media(color_scheme="dark")
        page.wait_for_timeout(100)
        assert _row(page, "talker").evaluate(PIXELS) != light


def test_the_page_of_its_own_opens_silently(chromium: Any, tmp_path: Path, maker: ModuleType) -> None:
    import numpy as np

    rng = np.random.default_rng(2)
    where = makes.interest(maker.FakeReader(90), "ab" * 32)
    pictures = []
    for number, name in enumerate(("cat.jpg", "<img src=x onerror=alert(1)>.jpg")):
        answers = {
            who: makes.explanation("k", None, ("lynx", "cat"), makes._TRANSFORMER, where, rng) for who in ("before", "after")
        }
        small = encode(maker.FakeReader(200).read(f"{number}{'c' * 63}", 0), why.LONGEST)
        pictures.append(Shown(name, small, answers))
    text = page([Subject("before", "untuned"), Subject("after", "tuned")], pictures)
    (tmp_path / "explain.html").write_text(text, encoding="utf-8")
    with opened(chromium, tmp_path / "explain.html", 390) as (shown, heard):
        assert shown.locator(".stage canvas").count() == 4
        assert shown.evaluate("document.documentElement.scrollWidth") <= 390
        first = shown.locator(".whyrow").first
        shown.locator("[data-map=method]").first.select_option("attention")
        before = first.evaluate(PIXELS)
        shown.locator("[data-map=method]").first.select_option("rollout")
        assert first.evaluate(PIXELS) != before
        assert heard == []
