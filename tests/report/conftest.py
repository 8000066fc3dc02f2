"""Studies to draw reports of, and the browser to look at them with."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"report_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"report_{name}"] = module
    spec.loader.exec_module(module)
    return module


_MAKER, _TEXTS, _PROMPTING = _module("make_study"), _module("make_texts"), _module("make_prompting")
_AUDIT = _module("make_audit")


#: Names that try to become something else in Markdown, LaTeX, CSV or SVG.
WICKED = (
    *_MAKER.EVIL,
    "<img src=x onerror=alert(1)>",
    "[click](https://evil.example/)",
    "https://evil.example www.evil.example me@evil.example",
    "a | b | c",
    "tail\\",
    "`` ` `` | x",
    "**bold** __bold__ ~~gone~~",
    "# heading",
    "[x]: https://evil.example",
    "$x^2_i$ & 50% #1 {a} ~ ^ \\input{evil}",
    "-- '' ,, ?` !` <<>>",
    "@mention",
)


@pytest.fixture(scope="session")
def wicked() -> tuple[str, ...]:
    """Names that try to become something else."""
    return WICKED


@pytest.fixture(scope="session")
def maker() -> ModuleType:
    """The generator of synthetic studies."""
    return _MAKER


@pytest.fixture(scope="session")
def texts_maker() -> ModuleType:
    """The generator of what the section on texts reads."""
    return _TEXTS


@pytest.fixture(scope="session")
def prompting_maker() -> ModuleType:
    """The generator of what the section on answers in words reads."""
    return _PROMPTING


@pytest.fixture(scope="session")
def audit_maker() -> ModuleType:
    """The generator of prompt audits."""
    return _AUDIT


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with evil class and contestant names, one lost picture, and its report; not to be changed."""
    from fieldguide.report.build import build

    folder = tmp_path_factory.mktemp("drawn")
    evil = tuple(_MAKER.Entry(name, "strange", 1.5 + position / 2) for position, name in enumerate(_MAKER.EVIL[:3]))
    manifest = _MAKER.make_study(folder, _MAKER.Plan(names=_MAKER.EVIL, entries=(*_MAKER.ENTRIES, *evil), per_class=(12, 6, 6)))
    _TEXTS.add_texts(folder, _TEXTS.Plan(evil=True, reference=True))
    _PROMPTING.add_prompting(folder, _PROMPTING.Plan(recorded=_MAKER.EVIL[:1], weighed=_MAKER.EVIL[1:2], evil=True))
    _AUDIT.add_audit(folder, evil=True)
    lost = frozenset(row.key for row in manifest.part("test")[:8])
    build(folder, _MAKER.FakeReader(40, lost))
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with evil class and contestant names, its report and exports; not to be changed."""
    from fieldguide.report.editions import draw

    folder = tmp_path_factory.mktemp("exported")
    evil = tuple(
        _MAKER.Entry(name, name, 1.0 + at / 4, more={"note": name})
        for at, name in enumerate((WICKED[0], WICKED[7], *WICKED[12:]))
    )
    tuned = _MAKER.Entry("from_scratch", "backbone", 3.2, epochs=4, more={**_MAKER.TUNED, "weights": "none"})
    _MAKER.make_study(folder, _MAKER.Plan(names=WICKED, entries=(*_MAKER.ENTRIES, tuned, *evil), per_class=(6, 4, 6)))
    _TEXTS.add_texts(folder, _TEXTS.Plan(evil=True))
    _PROMPTING.add_prompting(folder, _PROMPTING.Plan(recorded=(WICKED[0],), weighed=(WICKED[7],), price=None, evil=True))
    _AUDIT.add_audit(folder, evil=True)
    draw(folder, _MAKER.FakeReader(40))
    return folder
