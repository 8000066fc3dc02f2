"""The house: which way imports flow, how long things may grow, and how fast the door opens."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import fieldguide

SOURCE = Path(fieldguide.__file__).parent
MODULES = sorted(path for path in SOURCE.rglob("*.py"))
#: Rooms from the ground up; a room imports from rooms below it and from itself. Modules that are not named here are the study's own.
FLOORS = [
    {"records"},
    {"errors"},
    {"files", "settings"},
    {"bench"},
    {"tasks", "recipes"},
    {"data"},
    {"craft"},
    {"families", "evaluate"},
    {"explain"},
    {"report"},
    {"the study"},
    {"cli", "web"},
    {"__main__"},
]
#: Libraries that take a second or more to import.
HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "sklearn",
    "cleanlab",
    "scipy",
    "datasets",
    "peft",
    "bitsandbytes",
    "open_clip",
    "pandas",
    "matplotlib",
}


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(("fieldguide", *(parts[:-1] if parts[-1] == "__init__" else parts)))


NAMES = {name_of(path) for path in MODULES}


def room_of(name: str) -> str:
    room = [*name.split("."), ""][1]
    return room if any(room in floor for floor in FLOORS) else "the study"


def floor_of(name: str) -> int:
    return next(at for at, floor in enumerate(FLOORS) if room_of(name) in floor)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the full name of every module that is imported anywhere below `tree`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            assert node.module
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in NAMES else node.module for name in whole)


def own_imports(path: Path) -> set[str]:
    return {name for name in imports(tree_of(path)) if name.split(".")[0] == "fieldguide"}


def at_import(tree: ast.Module) -> Iterator[str]:
    """Yield what is imported when the module is: not what stands in functions or is for type checkers."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(ast.Module([node], []))


def test_the_test_sees_what_is_there() -> None:
    assert {"fieldguide.records", "fieldguide.families.backbone", "fieldguide.data.sources", "fieldguide.study"} <= NAMES
    assert "fieldguide.craft.zoo" in own_imports(SOURCE / "families" / "backbone.py")
    assert room_of("fieldguide.gather") == "the study"
    assert {floor_of(name) for name in NAMES} >= {0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11}


@pytest.mark.parametrize("path", [path for path in MODULES if path != SOURCE / "__init__.py"], ids=name_of)
def test_imports_flow_one_way(path: Path) -> None:
    here = name_of(path)
    wrong = {
        name
        for name in own_imports(path) - {"fieldguide"}
        if not (floor_of(name) < floor_of(here) or room_of(name) == room_of(here))
    }
    assert not wrong, f"{here} may not import {sorted(wrong)}"


def test_records_import_nothing_of_ours() -> None:
    assert not own_imports(SOURCE / "records.py")
    assert not own_imports(SOURCE / "errors.py")


@pytest.mark.parametrize("path", sorted((SOURCE / "families").glob("*.py")), ids=name_of)
def test_families_know_no_family_and_open_without_their_library(path: Path) -> None:
    here = name_of(path)
    others = {name for name in own_imports(path) if name.startswith("fieldguide.families.")} - {here}
    assert not {name for name in others if not name.split(".")[2].startswith("_")}, "rooms do not know each other"
    loaded = set(at_import(tree_of(path)))
    assert not {
        name
        for name in loaded
        if name.split(".")[0] in HEAVY or name.startswith(("fieldguide.craft", "fieldguide.data.batches"))
    }


def test_scores_and_reports_know_no_model() -> None:
    for room in ("evaluate", "report"):
        for path in (SOURCE / room).rglob("*.py"):
            assert not {name for name in own_imports(path) if room_of(name) in ("families", "craft")}, path
            assert not {name.split(".")[0] for name in imports(tree_of(path))} & {"torch", "timm", "transformers"}, path


def test_ray_is_imported_in_one_place() -> None:
    users = {name_of(path) for path in MODULES if "ray" in {name.split(".")[0] for name in imports(tree_of(path))}}
    assert users <= {"fieldguide.scale"}


def test_nothing_that_runs_code_from_files_and_no_prints() -> None:
    for path in MODULES:
        assert not {name.split(".")[0] for name in imports(tree_of(path))} & {
            "pickle",
            "cloudpickle",
            "dill",
            "shelve",
            "marshal",
        }, path
        called = {
            node.func.id for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"print", "eval", "exec", "__import__"}, path


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_grows_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno + 1 <= 60, f"{node.name} is long"
            own = [
                arg
                for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                if arg.arg not in ("self", "cls")
            ]
            assert len(own) <= 7, f"{node.name} takes {len(own)} arguments"


_START = """
import json, os, sys
from fieldguide.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
times = os.times()
print(json.dumps([times.user, sorted({name.split(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


def started(*words: str) -> tuple[str, float, set[str]]:
    """Return what `fieldguide WORDS` prints, the CPU seconds it took, and the packages it imported."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("COV_", "COVERAGE"))}
    done = subprocess.run(
        [sys.executable, "-c", _START, *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        timeout=120,
        env=environment,
    )
    seconds, packages = json.loads(done.stderr.splitlines()[-1])
    return done.stdout, seconds, set(packages)


def test_help_opens_at_once_and_without_the_libraries() -> None:
    text, seconds, packages = min((started("--help") for _ in range(3)), key=lambda one: one[1])
    assert "compare" in text
    assert not packages & (HEAVY | {"numpy", "pyarrow", "PIL", "pydantic"})
    assert seconds < 0.5


def test_help_of_a_command_draws_its_options_from_what_may_be_asked() -> None:
    from fieldguide.asked import Asked

    text, _, packages = started("compare", "--help")
    for name in ("split", "folds", "seed", "preset"):
        assert f"--{name}" in text
        assert (Asked.model_fields[name].description or "").split()[0] in text
    assert not packages & {"torch", "timm", "sklearn"}
