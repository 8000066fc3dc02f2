"""The page of a study of counts in a browser: it opens silently, fits a phone, and axe-core finds nothing serious in either theme."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.counted import write_set
from tests.report.test_axe import axe as axe
from tests.report.test_axe import found

import fieldguide
from fieldguide import api
from fieldguide.asked import Entry

HALF = Entry(name="count_baseline@50", family="count_baseline", fraction=0.5)
pytestmark = [pytest.mark.browser, pytest.mark.slow(keep=1)]

_TALL = """Promise.all([...document.querySelectorAll('.counted img')].map(img => {
    const tall = document.createElement('canvas'); tall.width = 60; tall.height = 120;
    img.width = 60; img.height = 120; img.src = tall.toDataURL(); return img.decode(); }))"""


@pytest.fixture(scope="module")
def page_of_counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counts")
    root = write_set(folder / "things", {"train": 10, "valid": 4, "test": 9})
    names = ("count_baseline", "count_baseline/median", "count_baseline/commonest", HALF)
    study = fieldguide.compare(root, names, out=folder / "s", task="count", worth=("dot=1", "ring=2"))
    run = study.folder / "runs" / "count_baseline"
    (run / "seeds" / "43").mkdir(parents=True)  # as if there were chance in it
    shutil.copy(run / "predictions.parquet", run / "seeds" / "43")
    for name, kind in (("count_baseline-median", "prompted"), ("count_baseline-commonest", "tuned")):
        fact = {"event": "fact", "kind": kind, "model": "eyes", "prompt": {"text": "How many?", "how": "generate"}}
        with open(study.folder / "runs" / name / "log.jsonl", "a", encoding="utf-8") as log:
            log.write(json.dumps(fact) + "\n")
    return api.redraw(study.folder).report


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_it_opens_silently_and_can_be_used_by_all(
    chromium: Any, page_of_counts: Path, axe: str, scheme: str, width: int
) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
    page.goto(page_of_counts.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    sections = page.eval_on_selector_all("main section", "all => all.map(one => one.id)")
    links = page.eval_on_selector_all(".toc a", "all => all.map(one => one.getAttribute('href').slice(1))")
    assert sections == links and {"counting", "counting_seeds", "counting_fractions", "counting_taught"} <= {*links}
    # A picture that is higher than wide must not grow out of its frame, or boxes lie beside what they are of.
    page.evaluate(_TALL)
    inside = page.evaluate(
        "[...document.querySelectorAll('.boxes')].every(svg => { const a = svg.getBoundingClientRect(),"
        " b = svg.previousElementSibling.getBoundingClientRect();"
        " return ['width', 'height', 'top', 'left'].every(side => Math.abs(a[side] - b[side]) < 2); })"
    )
    assert inside and page.locator(".boxes rect").count() > 9
    assert found(page, axe) == [] and said == []
    context.close()
