"""What the documents show, runs: the Python blocks of the README and the family of CONTRIBUTING.md, which keeps the contract."""

from __future__ import annotations

import importlib
import re
import runpy
from pathlib import Path

import pytest
from tests.pictures import write_folder

ROOT = Path(__file__).parent.parent


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_python_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "PHOTOS")
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("README.md", "python")
    exec(compile(block, "README.md", "exec"), {})
    told = capsys.readouterr().out
    assert "('cat', 'dog', 'eel')" in told
    assert (tmp_path / "my-study" / "report.html").exists()
    (block,) = blocks("docs/explanations.md", "python")
    exec(compile(block, "explanations.md", "exec"), {})
    assert "rather than" in capsys.readouterr().out


def test_every_command_of_the_readme_exists() -> None:
    from fieldguide import cli

    known = {command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback}
    known |= {str(group.name) for group in cli.app.registered_groups}
    used = set(re.findall(r"fieldguide (\w+)", "\n".join(blocks("README.md", "sh") + blocks("docs/explanations.md", "sh"))))
    assert used <= known
    assert {"look", "compare", "predict", "demo"} <= used


def test_the_readme_names_every_family() -> None:
    from fieldguide import families

    table = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in families.names() if f"| `{name}` |" not in table] == []


def test_the_family_of_contributing_keeps_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fieldguide import contract

    (block,) = blocks("CONTRIBUTING.md", "python")
    (tmp_path / "nearest_in_contributing.py").write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    contract.check(importlib.import_module("nearest_in_contributing"))


def test_the_page_of_prompting_is_what_the_code_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fieldguide import cli
    from fieldguide.records import ClassInfo
    from fieldguide.tasks.places import PLACES
    from fieldguide.tasks.prompting import Prompt, prompt_names, read_prompt, render

    page = (ROOT / "docs" / "prompting.md").read_text(encoding="utf-8")
    (block,) = blocks("docs/prompting.md", "python")
    exec(compile(block, "prompting.md", "exec"), {})
    assert "cat, dog" in capsys.readouterr().out
    (block,) = blocks("docs/prompting.md", "toml")
    (tmp_path / "mine.toml").write_text(block, encoding="utf-8")
    asking = render(read_prompt(tmp_path / "mine.toml"), [ClassInfo("tawny_owl", "Tawny"), ClassInfo("auk", "auk")])
    assert "tawny owl (also: brown owl)\nauk" in asking.text() and "answer: tawny owl" in asking.text()
    rows = [re.findall(r"`(\w+)`", cell) for cell in re.findall(r"^\| (`.*?) \|", page, re.M)]
    first = {name for row in rows for name in row}
    assert {*prompt_names(), *Prompt.model_fields} <= first
    assert all(f"{{{place}}}" in page for place in PLACES)
    known = {command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback}
    used = set(re.findall(r"fieldguide (\w+)", "\n".join(blocks("docs/prompting.md", "sh"))))
    assert {"ask", "prompts", "compare"} == used and used <= known


def test_the_page_of_auditing_is_what_the_code_does(tmp_path: Path) -> None:
    from fieldguide import cli
    from fieldguide.asked import PromptAudit
    from fieldguide.auditing import TRUTH_COLUMNS, audit
    from fieldguide.data.answer_files import ANSWER_COLUMNS, PICTURE_COLUMNS
    from fieldguide.tasks.varying import CHECKS

    page = (ROOT / "docs" / "auditing.md").read_text(encoding="utf-8")
    (table,) = blocks("docs/auditing.md", "csv")
    (tmp_path / "answers.csv").write_text(table, encoding="utf-8")
    found = audit(tmp_path / "answers.csv", "eel", "cat,dog,eel")
    assert (found["n"], found["right"], found["no_label"]) == (4, 2, {"answer off the list": 1})
    rows = [tuple(re.findall(r"`(\w+)`", row)) for row in re.findall(r"^\| \w+.*? \| (`.*) \|$", page, re.M)]
    assert rows == [PICTURE_COLUMNS, (*TRUTH_COLUMNS, "label"), ANSWER_COLUMNS]
    known = {command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback}
    assert {"audit"} == set(re.findall(r"fieldguide (\w+)", "\n".join(blocks("docs/auditing.md", "sh")))) <= known
    cells = re.findall(r"^\| ([a-z]+(?:, [a-z]+)*) \| ", page.split("### What it varies")[1], re.M)
    assert [check for cell in cells for check in cell.split(", ")][1 : len(CHECKS) + 1] == list(CHECKS)
    options = set(re.findall(r"(--[a-z][\w-]*)", page))
    assert options == {"--example", "--list", "--json", "--yes", *(f"--{name}" for name in PromptAudit.model_fields), "--limit"}


def test_the_page_of_explanations_names_every_method() -> None:
    from fieldguide.explain.methods import METHODS

    page = (ROOT / "docs" / "explanations.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([\w-]+)` \|", page, re.M) == list(METHODS)


def test_the_page_of_readings_names_every_reading_and_every_kind() -> None:
    from fieldguide.tasks.reading import KINDS, READINGS

    page = (ROOT / "docs" / "readings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w -]+)` \| (.+) \|$", page, re.M)
    assert [name for name, _ in rows] == [*READINGS, *KINDS]
    assert dict(rows[len(READINGS) :]) == KINDS


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "CITATION.cff", "LOG.md"])
def test_links_between_documents_hold(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / link).exists(), link


def test_the_page_of_checks_is_drawn_from_the_code() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "checks.py"))
    drawn = page["page"]()
    assert drawn == (ROOT / "docs" / "checks.md").read_text(encoding="utf-8"), "run: uv run python docs/checks.py"
    assert len(re.findall(r'<a id="fg\d{3}"></a>\n## FG\d{3} ', drawn)) == len(page["CHECKS"])


def test_the_torture_table_stands_with_every_case_conforming() -> None:
    """The page is written by a run of everything; the groups that need no special machine are complete in it."""
    page = (ROOT / "docs" / "torture.md").read_text(encoding="utf-8")
    groups = {
        name: tuple(map(int, counts))
        for name, *counts in re.findall(r"^\| (T\d+) .*?\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.M)
    }
    assert {name: groups[name] for name in ("T1", "T2", "T3", "T4", "T8", "T9", "T11", "T12")} == {
        "T1": (55, 55, 0, 0),
        "T2": (24, 24, 0, 0),
        "T3": (12, 12, 0, 0),
        "T4": (10, 10, 0, 0),
        "T8": (56, 56, 0, 0),
        "T9": (20, 20, 0, 0),
        "T11": (150, 150, 0, 0),
        "T12": (36, 36, 0, 0),
    }
    assert "T5" in groups and "T6" in groups
    for name, (cases, conform, failed, missing) in groups.items():
        assert (
            failed == 0
            and conform + missing
            == cases
            == len(re.findall(r"^\| .* \|$", page.split(f"## {name} ")[1].split("\n## ")[0], re.M)) - 1
        )


def test_the_page_of_recipes_is_drawn_from_their_files() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "recipes.py"))
    drawn = page["page"]()
    assert drawn == (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8"), "run: uv run python docs/recipes.py"
    from fieldguide import recipes

    assert re.findall(r"^## (\w+)$", drawn, re.M) == list(recipes.names())


def test_the_python_about_audits_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks("docs/auditing.md", "python")
    exec(compile(block, "auditing.md", "exec"), {})
    told = capsys.readouterr().out
    assert "example 0 as the example" in told and "'synonyms': 'No class has a synonym" in told
