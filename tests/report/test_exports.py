"""What is written beside the report: the numbers of the files, and names that stay names in Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import itertools
import json
import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from fieldguide.report import say
from fieldguide.report.editions import draw
from fieldguide.report.exports import NAMES, latex, markdown, table
from fieldguide.report.read import read_study


@pytest.fixture(scope="module")
def tokens(exported: Path) -> list[Token]:
    return parsed((exported / "report.md").read_text(encoding="utf-8"))


def parsed(text: str) -> list[Token]:
    """Return every token, inline ones among them, as a reader that allows HTML, tables and strikethrough sees them."""
    flat: list[Token] = []
    for token in MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text):
        flat += [token, *(token.children or ())]
    return flat


def cells(tokens: list[Token]) -> list[list[list[str]]]:
    """Return the text of every table, row by row."""
    tables: list[list[list[str]]] = []
    for token, inside in itertools.pairwise(tokens):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type in ("td_open", "th_open"):
            words = "".join(
                child.content for child in inside.children or () if child.type not in ("strong_open", "strong_close")
            )
            tables[-1][-1].append(words.replace("\u2060", ""))
    return tables


def test_markdown_has_no_tag_no_link_and_no_picture(tokens: list[Token]) -> None:
    kinds = {token.type for token in tokens}
    assert not kinds & {
        "html_block",
        "html_inline",
        "link_open",
        "image",
        "s_open",
        "em_open",
        "hr",
        "blockquote_open",
        "fence",
    }
    assert {"heading_open", "table_open", "code_inline", "code_block"} <= kinds
    headings = [after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"]
    assert len(headings) == 12 and "heading" not in headings


def test_every_row_of_a_markdown_table_has_as_many_cells_as_its_head(exported: Path, tokens: list[Token]) -> None:
    found = cells(tokens)
    more = "for ratios and ways, one for each score card; calibration; six for answers in words; three for an audit"
    assert len(found) == 20, f"two more {more}"
    rules = [line for line in (exported / "report.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ---")]
    assert [len(rows[0]) for rows in found] == [line.count("---") for line in rules]
    for rows in found:
        # markdown-it fills and cuts rows to the head's length, so a broken one shows by an empty or a missing last cell.
        assert {len(row) for row in rows} == {len(rows[0])}
        assert all(row[0] and row[-1] for row in rows)


def test_names_and_numbers_stand_in_the_markdown_as_they_are(exported: Path, tokens: list[Token]) -> None:
    study = read_study(exported)
    board, pairs = cells(tokens)[:2]
    assert [row[0].strip() for row in board[1:]] == [say.clean(c.name).strip() for c in study.scored]
    assert [row[4].partition(" [")[0] for row in board[1:]] == [say.score(c.metric("accuracy")).text for c in study.scored]
    told = (study.comparison or {})["pairs"]
    assert [row[:2] for row in pairs[1:]] == [[say.clean(pair[key]).strip() for key in "ab"] for pair in told[:200]]
    words = "".join(token.content for token in tokens if token.type in ("text", "text_special", "code_inline"))
    assert say.clean((study.comparison or {})["verdict"]).replace("@", "@\u2060") in words


@pytest.mark.parametrize("table_cell", [False, True])
def test_any_text_survives_markdown(wicked: tuple[str, ...], table_cell: bool) -> None:
    more = (
        "1. one",
        "- two",
        "+ three",
        "---",
        "===",
        "> quoted",
        "&amp;",
        "&#124;",
        "a\\|b",
        "\\`x`",
        "[a](javascript:alert(1))",
        "<!-- x -->",
    )
    for name in (*wicked, *more, *(f"{one}{two}" for one in more for two in wicked)):
        for write in (markdown.text, markdown.code):
            line = write(name)
            text = f"| a | b |\n| --- | --- |\n| {line} | end |\n" if table_cell else f"{line}\n"
            found = parsed(text)
            allowed = {"paragraph_open", "paragraph_close", "inline", "text", "text_special", "code_inline"}
            kinds = {
                t.type for t in found if not t.type.startswith(("table", "t", "text")) or t.type in ("text", "text_special")
            }
            assert kinds <= allowed, (name, line, kinds)
            shown = cells(found)[0][1] if table_cell else ["".join(t.content for t in found if t.type != "inline"), "end"]
            assert [shown[0].replace("\u2060", "").strip(), shown[1]] == [say.clean(name).strip(), "end"], (name, line)


def test_nothing_in_the_markdown_looks_like_an_address_to_those_who_make_links_themselves(exported: Path) -> None:
    text = (exported / "report.md").read_text(encoding="utf-8")
    prose = re.sub(r"(?m)^    .*$", "", re.sub(r"(?<!\\)`[^`\n]*`", "", text))
    assert not re.search(r"(?i)https?://|www\.\w|\w@\w|javascript:\w", prose)
    assert len(prose) > 5000


def test_latex_is_balanced_and_says_every_name(exported: Path) -> None:
    text = (exported / "leaderboard.tex").read_text(encoding="utf-8")
    bare = re.sub(r"\\[{}\\]", "", re.sub(r"(?m)^%.*$", "", text))
    depth = 0
    for char in bare:
        depth += (char == "{") - (char == "}")
        assert depth >= 0
    assert depth == 0
    rows = text[text.index("\\midrule") : text.index("\\bottomrule")].splitlines()[1:]
    study = read_study(exported)
    assert len(rows) == len(study.scored)
    for row, contestant in zip(rows, study.scored, strict=True):
        assert row.endswith(" \\\\") and len(re.split(r"(?<!\\)&", row)) == 10
        assert row.startswith(latex.text(contestant.name)) and row[0] not in "[*"
        assert f" & {100 * contestant.metric('accuracy')['value']:.1f} & " in row  # type: ignore[index]
        assert not re.search(r"(?<!\\)[$#_%^~]", row.replace("~M", "").replace("~k", ""))
    assert set(re.findall(r"\\usepackage\{(\w+)\}", text)) == {"booktabs"}
    used = set(re.findall(r"\\([a-z]+)", text))
    assert used <= {
        *("begin", "centering", "caption", "label", "toprule", "midrule", "bottomrule", "end", "usepackage"),
        *("textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar", "textasciigrave"),
        *("textquotedblright", "textendash", "ensuremath"),
    }, "a command of a name came through"
    assert "LuaLaTeX" in text


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a_b & 50% #1 $x$", r"a\_b \& 50\% \#1 \$x\$"),
        ("\\input{evil}", r"\textbackslash{}input\{evil\}"),
        ("--flag", r"-{}-flag"),
        ("[x] *", r"{[}x{]} {*}"),
        ("x^2~y", r"x\textasciicircum{}2\textasciitilde{}y"),
        ("''quoted''", r"'{}'quoted'{}'"),
        ("<a|b>", r"\textless{}a\textbar{}b\textgreater{}"),
    ],
)
def test_latex_sets_every_character_as_itself(name: str, told: str) -> None:
    assert latex.text(name) == told


def test_the_table_for_programs_holds_every_number(exported: Path) -> None:
    study = read_study(exported)
    with open(exported / "leaderboard.csv", encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(study.contestants) and tuple(rows[0]) == table.HEADINGS
    letters = (study.comparison or {})["letters"]
    for row, contestant in zip(rows, study.contestants, strict=True):
        assert row["contestant"].removeprefix("'") == say.clean(contestant.name).removeprefix("'")
        assert not any(cell[:1] in "=+@\t\r\n" for cell in row.values() if cell)
        assert not any(cell.startswith("-") and not re.fullmatch(r"-[\d.e+-]+", cell) for cell in row.values())
        if contestant.state != "scored":
            assert row["accuracy"] == row["letters"] == "" and "pip install" in row["problem"]
            continue
        for part, prefix in (("test", ""), ("val", "val_")):
            entry = contestant.metric("accuracy", part)
            assert entry is not None
            for key, end in (("value", ""), ("low", "_low"), ("high", "_high")):
                assert float(row[f"{prefix}accuracy{end}"]) == entry[key]
        assert row["letters"] == letters[contestant.name]
        assert float(row["fit_seconds"]) == (contestant.cost or {})["fit_seconds"]
        assert row["money"] == "" and row["seeds"] == ""


def test_one_file_for_programs_holds_the_whole_study(exported: Path) -> None:
    told = json.loads((exported / "scores.json").read_text(encoding="utf-8"))
    study = read_study(exported)
    assert told["schema"] == 1 and told["manifest"]["hash"] == study.manifest.hash
    assert [entry["name"] for entry in told["contestants"]] == [c.name for c in study.contestants]
    for entry, contestant in zip(told["contestants"], study.contestants, strict=True):
        assert entry["test"] == contestant.test and entry["val"] == contestant.val and entry["cost"] == contestant.cost
    compared = study.comparison or {}
    assert told["comparison"]["pairs"] == compared["pairs"] and told["comparison"]["letters"] == compared["letters"]
    assert told["environment"]["versions"]["torch"] == "2.15.0"


def test_no_export_tells_whose_machine_it_was(exported: Path) -> None:
    for name in NAMES:
        assert "somebody" not in (exported / name).read_text(encoding="utf-8"), name


def test_the_same_study_gives_the_same_bytes(exported: Path, tmp_path: Path, maker: ModuleType) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    for name in NAMES:
        (copy / name).unlink()
    draw(copy, maker.FakeReader(40))
    for name in (*NAMES, "report.html"):
        assert (copy / name).read_bytes() == (exported / name).read_bytes(), name


def test_nobody_scored_one_contestant_and_missing_files(tmp_path: Path, maker: ModuleType) -> None:
    one = maker.Plan(entries=(maker.Entry("one", "linear", 3.0), maker.Entry("mamba", "vmamba", state="failed")))
    maker.make_study(tmp_path / "one", one)
    draw(tmp_path / "one", maker.FakeReader())
    text = (tmp_path / "one" / "report.md").read_text(encoding="utf-8")
    assert "a difference needs two scored contestants" in text and "`mamba` (vmamba): failed. mamba needs the package" in text
    maker.make_study(tmp_path / "bare", maker.Plan(names=("a", "b", "c", "d"), per_class=(4, 3, 3)))
    for name in ("findings.json", "comparison.json", "environment.json", "study.toml", "classes.toml", "suspects.json"):
        (tmp_path / "bare" / name).unlink()
    for run in (tmp_path / "bare" / "runs").iterdir():
        for name in ("log.jsonl", "cost.json", "predictions.parquet", "settings.toml"):
            (run / name).unlink(missing_ok=True)
    draw(tmp_path / "bare", maker.FakeReader())
    text = (tmp_path / "bare" / "report.md").read_text(encoding="utf-8")
    assert text.count("not recorded") > 5 and parsed(text)
    assert (tmp_path / "bare" / "leaderboard.tex").read_text(encoding="utf-8").count("\\textendash{}") > 5
    shutil.rmtree(tmp_path / "bare" / "runs")
    draw(tmp_path / "bare", maker.FakeReader())
    assert "No contestant has been run." in (tmp_path / "bare" / "report.md").read_text(encoding="utf-8")
    assert "% No contestant has been scored." in (tmp_path / "bare" / "leaderboard.tex").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "bare" / "scores.json").read_text(encoding="utf-8"))["contestants"] == []


def test_hashes_tell_settings_and_weights_apart(tmp_path: Path, maker: ModuleType) -> None:
    entries = [maker.Entry(name, "backbone", 3.0, more={"rate": rate}) for name, rate in (("a", 1), ("b", 1), ("c", 2))]
    maker.make_study(tmp_path, maker.Plan(entries=tuple(entries)))
    for at, path in enumerate(sorted(tmp_path.glob("runs/*/cost.json"))):
        cost: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**cost, "model_sha256": f"{at}" * 64 if at else None}), encoding="utf-8")
    draw(tmp_path, maker.FakeReader())
    by_name = {
        row["contestant"]: row for row in csv.DictReader((tmp_path / "leaderboard.csv").read_text("utf-8-sig").splitlines())
    }
    assert by_name["a"]["settings_hash"] == by_name["b"]["settings_hash"] != by_name["c"]["settings_hash"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    table_of_hashes = page[page.index('<table class="hashes">') :]
    assert (
        by_name["c"]["settings_hash"] in table_of_hashes and "1" * 64 in table_of_hashes and "not applicable" in table_of_hashes
    )
