"""The page in a real browser: silent, without network, on a phone, by keyboard, in the dark and without scripts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser


@contextmanager
def opened(chromium: Any, study: Path, width: int = 1280, **options: Any) -> Iterator[tuple[Any, list[str]]]:
    """Yield the report of `study` in a page of `width` pixels and what the console and the network said."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
    page, heard = context.new_page(), []
    page.on("console", lambda message: heard.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: heard.append(f"error: {error}"))
    page.on("dialog", lambda dialog: heard.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: heard.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
    page.goto((study / "report.html").as_uri())
    try:
        yield page, heard
    finally:
        context.close()


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_it_opens_silently_and_never_scrolls_sideways(chromium: Any, drawn: Path, width: int) -> None:
    with opened(chromium, drawn, width) as (page, heard):
        page.evaluate(
            "document.querySelectorAll('details').forEach((box) => { box.removeAttribute('name'); box.open = true; })"
        )
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate("Promise.all([...document.images].map((image) => image.decode()))")
        assert heard == []


def test_the_policy_is_in_force(chromium: Any, drawn: Path) -> None:
    with opened(chromium, drawn) as (page, heard):
        page.evaluate(
            "() => { const s = document.createElement('script'); s.textContent = 'window.broken = 1'; document.body.append(s) }"
        )
        assert page.evaluate("window.broken") is None
        assert any("Content Security Policy" in line for line in heard)


def test_columns_sort_by_click_and_keyboard(chromium: Any, drawn: Path) -> None:
    with opened(chromium, drawn) as (page, heard):
        board = page.locator("table.board")
        column = "[...document.querySelectorAll('table.board tbody:not(.unscored) tr')].map((row) => row.cells[2].dataset.v)"
        before = [float(value) for value in page.evaluate(column)]
        assert before == sorted(before, reverse=True)
        head = board.locator("th", has_text="Test accuracy")
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "descending"
        head.locator("button").press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        assert [float(value) for value in page.evaluate(column)] == sorted(before)
        board.locator("th", has_text="Parameters").locator("button").click()
        last = page.evaluate("document.querySelector('table.board tbody:not(.unscored) tr:last-child').cells[9].dataset.v")
        assert last == "", "what is not applicable stays last"
        assert board.locator("tbody.unscored tr").count() == 2
        assert heard == []


def test_a_confusion_leads_to_its_pictures(chromium: Any, drawn: Path) -> None:
    with opened(chromium, drawn) as (page, heard):
        link = page.locator("details[open] table.confusion a").first
        wanted = {name: link.get_attribute(f"data-{name}") for name in ("run", "truth", "said")}
        count = int(link.inner_text())
        link.click()
        shown = page.locator(".shot:not([hidden])")
        assert shown.count() == count
        for shot in shown.all():
            assert shot.get_attribute("data-truth") == wanted["truth"]
            assert shot.get_attribute("data-said").split(",")[int(wanted["run"])] == wanted["said"]
        assert "pictures" in page.locator("[role=status]").inner_text()
        page.locator("[data-clear]").click()
        assert page.locator(".shot[hidden]").count() == 0
        assert heard == []


def test_the_gallery_can_be_narrowed_to_one_contestant(chromium: Any, drawn: Path) -> None:
    with opened(chromium, drawn) as (page, _):
        page.locator("[data-filter=run]").select_option("0")
        shown = page.locator(".shot:not([hidden])")
        assert 0 < shown.count() < page.locator(".shot").count()
        for shot in shown.all():
            assert shot.get_attribute("data-said").split(",")[0] != shot.get_attribute("data-truth")


def test_it_reads_without_scripts(chromium: Any, drawn: Path) -> None:
    with opened(chromium, drawn, java_script_enabled=False) as (page, _):
        assert page.locator("table.board tbody tr").count() == 11
        assert page.locator("table.board th button").count() == 0
        assert page.locator(".filters").is_hidden()
        assert page.locator(".shot").first.is_visible()
        second = page.locator("details.panel").nth(1)
        assert second.locator("table.confusion").is_hidden()
        second.locator("summary").click()
        assert second.locator("table.confusion").is_visible()
        link = second.locator("table.confusion a").first
        link.click()
        assert page.url.endswith(link.get_attribute("href"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_are_drawn(chromium: Any, drawn: Path, scheme: str) -> None:
    with opened(chromium, drawn, color_scheme=scheme) as (page, _):
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == {"light": "rgb(250, 249, 245)", "dark": "rgb(18, 22, 26)"}[scheme]


def test_the_first_key_offers_to_skip(chromium: Any, drawn: Path) -> None:
    with opened(chromium, drawn, reduced_motion="reduce") as (page, _):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        assert page.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
        page.keyboard.press("Enter")
        assert page.url.endswith("#leaderboard")
        assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_what_scrolls_can_be_reached_and_is_named(chromium: Any, drawn: Path) -> None:
    with opened(chromium, drawn, 360) as (page, _):
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('.scroll')].filter(
                (box) => box.tabIndex !== 0 || !box.ariaLabel || box.getAttribute('role') !== 'region').length"""
        )
        untold = page.evaluate(
            "[...document.querySelectorAll('svg[role=img]')].filter((svg) => !svg.querySelector('title')).length"
        )
        bare = page.evaluate("[...document.querySelectorAll('table')].filter((table) => !table.caption).length")
        order = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map((head) => Number(head.tagName[1]))")
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((node) => node.id)")
        assert (nameless, untold, bare) == (0, 0, 0)
        assert order[0] == 1 and order.count(1) == 1 and all(b - a <= 1 for a, b in itertools.pairwise(order))
        assert len(ids) == len(set(ids))


def test_every_section_has_a_heading_and_stands_in_the_bar(chromium: Any, drawn: Path) -> None:
    with opened(chromium, drawn) as (page, _):
        sections = page.evaluate(
            """() => [...document.querySelectorAll('main > section')].map((part) => [part.id,
                document.getElementById(part.getAttribute('aria-labelledby'))?.textContent.trim() ?? '',
                part.querySelector('h2')?.id === part.getAttribute('aria-labelledby'), part.innerText.trim().length])"""
        )
        links = page.evaluate("[...document.querySelectorAll('.toc a')].map((link) => link.getAttribute('href'))")
        assert links == [f"#{name}" for name, *_ in sections] and len(sections) > 8
        for name, heading, first, length in sections:
            assert heading and first and length > len(heading), name
        strays = page.evaluate(
            """() => [...document.querySelectorAll('a[href^="#"]')].map((link) => link.getAttribute('href').slice(1))
                .filter((id) => !document.getElementById(id))"""
        )
        assert strays == []


def test_every_control_has_a_name(chromium: Any, drawn: Path) -> None:
    with opened(chromium, drawn) as (page, _):
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('button,select,input,textarea,summary,a[href],[tabindex]')].filter((control) =>
                !(control.getAttribute('aria-label') || control.textContent.trim() && control.tagName !== 'SELECT'
                    || [...(control.labels ?? [])].some((label) => label.textContent.trim()))).map((control) => control.outerHTML)"""
        )
        assert nameless == []
        assert page.locator("select").count() >= 3


def test_without_scripts_every_section_says_something_and_nothing_is_dead(chromium: Any, drawn: Path) -> None:
    with opened(chromium, drawn, java_script_enabled=False) as (page, _):
        for section in page.locator("main > section").all():
            assert section.locator("h2").is_visible()
            assert len(section.inner_text()) > 60
        # What needs the script is made by it, or stays hidden; the switch of the confusions is style alone.
        controls = [control for control in page.locator("button, select, input").all() if control.is_visible()]
        assert {control.get_attribute("name") for control in controls} == {"confusion-unit"}
        share = page.locator("details[open] table.confusion td i").first
        assert share.is_hidden()
        page.locator("#as-shares").check()
        assert share.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_prints_on_white_with_everything_open(chromium: Any, drawn: Path, scheme: str) -> None:
    with opened(chromium, drawn, color_scheme=scheme) as (page, _):
        page.emulate_media(media="print", color_scheme=scheme)
        assert page.locator(".toc").is_hidden()
        closed = page.evaluate(
            """() => [...document.querySelectorAll('details:not([open])')].filter((box) =>
                [...box.children].some((part) => part.tagName !== 'SUMMARY' && !part.hidden && !part.getClientRects().length)).length"""
        )
        assert page.locator("details:not([open])").count() > 5 and closed == 0
        ink, paper = page.evaluate("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
        assert max(map(int, ink[4:-1].split(", "))) < 90 and paper == "rgb(255, 255, 255)"
        assert len(page.pdf()) > 20_000


@pytest.mark.parametrize("scripts", [True, False])
def test_a_picture_behind_the_fold_opens_when_it_is_linked(chromium: Any, tmp_path: Path, maker: Any, scripts: bool) -> None:
    from fieldguide.report.build import build

    maker.make_study(tmp_path, maker.Plan(names=maker.EVIL, per_class=(4, 2, 12)))
    build(tmp_path, maker.FakeReader(12, frozenset()))
    with opened(chromium, tmp_path, java_script_enabled=scripts) as (page, heard):
        assert page.locator(".shot").count() > 40
        assert not page.locator("#g40").is_visible()
        page.goto(f"{page.url}#g40")
        assert page.locator("#g40").is_visible()
        assert heard == []
