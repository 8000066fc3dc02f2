"""What axe-core says of the page: no serious and no critical finding, in both themes, on a desk and on a phone, with everything open.

axe-core (Deque Systems, MPL-2.0) comes with the package axe-playwright-python. It looks at whatever the page holds, so a section
that is new is looked at too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.report.make_taught import add_taught

pytestmark = pytest.mark.browser
#: The rules that are on by themselves (WCAG 2 A and AA, best practice), and the size of what is touched.
_RULES = "{resultTypes: ['violations'], rules: {'target-size': {enabled: true}}}"


@pytest.fixture(scope="module")
def plain(
    tmp_path_factory: pytest.TempPathFactory, maker: ModuleType, prompting_maker: ModuleType, audit_maker: ModuleType
) -> Path:
    """A study of ordinary names, with its report."""
    from fieldguide.report.build import build

    folder = tmp_path_factory.mktemp("plain")
    weigher = maker.Entry("weigher", "vlm_prompt", 3.0)
    lora = maker.Entry("lora", "vlm_lora", 3.5, failures=0.02, probabilities=False)
    maker.make_study(folder, maker.Plan(entries=(*maker.ENTRIES, weigher, lora), per_class=(12, 6, 6)))
    plan = prompting_maker.Plan(("talker", "lora"), recorded=("clip_adapter",), how="choice", weighed=("weigher",))
    prompting_maker.add_prompting(folder, plan)
    add_taught(folder, "talker", "lora")
    audit_maker.add_audit(folder)
    build(folder, maker.FakeReader(40))
    return folder


@pytest.fixture(scope="module")
def axe() -> str:
    """The text of axe-core's script."""
    package = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    return (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


#: Leaves five of many alike (rows of a table, figures of a gallery, marks of a chart): what is wrong with all is wrong with five.
_THIN = """() => {
    for (const parent of document.querySelectorAll('main *:not(tr)')) {
        const seen = {};
        for (const child of [...parent.children]) {
            const kind = `${child.tagName} ${child.getAttribute('class')}`;
            seen[kind] = (seen[kind] ?? 0) + 1;
            if (seen[kind] > 5) child.remove();
        }
    }
}"""


def found(page: Any, axe: str) -> list[str]:
    """Return the serious and critical findings with the first places they are at."""
    page.evaluate(axe)
    result = page.evaluate(f"axe.run(document, {_RULES})")
    return [
        f"{one['impact']} {one['id']}: {one['help']}; {len(one['nodes'])} places, such as "
        + "; ".join(f"{node['target']} {node['html'][:120]} {node['failureSummary'][:200]}" for node in one["nodes"][:3])
        for one in result["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@contextmanager
def opened(chromium: Any, study: Path, width: int, scheme: str) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto((study / "report.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((box) => { box.removeAttribute('name'); box.open = true; })")
    page.evaluate(_THIN)
    yield page
    context.close()


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("study", ["plain", "drawn"])
def test_axe_has_nothing_serious_to_say(
    chromium: Any, axe: str, request: pytest.FixtureRequest, study: str, scheme: str, width: int
) -> None:
    with opened(chromium, request.getfixturevalue(study), width, scheme) as page:
        assert found(page, axe) == []


def test_axe_would_notice(chromium: Any, axe: str, plain: Path) -> None:
    """Text too faint, a picture without words and a control without a name are each found."""
    with opened(chromium, plain, 1280, "light") as page:
        page.evaluate("document.querySelectorAll('section').forEach((part) => part.remove())")
        page.evaluate(
            """() => { const box = document.createElement('div'); box.innerHTML =
                '<p style="color:#ccc;background:#fff">faint</p><img src="data:,"><button></button>';
                document.querySelector('main').prepend(box); }"""
        )
        assert {line.split(":")[0].split()[1] for line in found(page, axe)} >= {"color-contrast", "image-alt", "button-name"}
