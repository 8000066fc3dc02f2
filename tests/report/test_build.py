"""The page as a file: what it holds, what it must never hold, and that it is the same each time."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from markupsafe import escape

from fieldguide.errors import DataProblem
from fieldguide.report import say
from fieldguide.report.build import MOST_BYTES, build, render
from fieldguide.report.confusion import class_order
from fieldguide.report.read import read_study


class Page(HTMLParser):
    """Every start tag with its attributes, and the text of style and script."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.raw: dict[str, str] = {"style": "", "script": ""}
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in self.raw:
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.raw:
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.raw[self.inside[-1]] += data
        else:
            self.words += data

    def pictures(self, kind: str) -> list[dict[str, str | None]]:
        """Return the pictures that stand in figures of the class `kind`."""
        found, inside = [], ""
        for tag, attributes in self.tags:
            if tag == "figure":
                inside = attributes.get("class") or ""
            elif tag == "img" and inside == kind:
                found.append(attributes)
        return found

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def text(drawn: Path) -> str:
    return (drawn / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _flat(text: str) -> str:
    return " ".join(text.split())


def test_names_of_pictures_classes_and_contestants_are_only_text(page: Page, maker: ModuleType) -> None:
    assert len(page.all("script")) == 1 and len(page.all("style")) == 1
    assert "alert(" not in page.raw["script"]
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name, value)
            assert name != "style", (tag, value)
            if name in ("href", "src"):
                assert value is not None and re.match(r"^(#[\w-]+|data:image/webp;base64,[\w+/=]+|data:,)$", value), (
                    tag,
                    value,
                )
    for name in maker.EVIL:
        assert say.clean(name) in page.words, name
    assert "49" not in [data.strip() for data in re.findall(r"<bdi>([^<]*)</bdi>", "".join(page.words))]


def test_control_and_direction_characters_never_reach_the_page(text: str) -> None:
    assert "\x00" not in text
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", text)
    assert "\\u202e" in text


def test_every_attribute_is_quoted(text: str) -> None:
    outside = re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.S)
    for tag in re.findall(r"<[a-zA-Z][^>]*>", outside):
        bare = re.sub(r'"[^"]*"', '""', tag)
        assert re.fullmatch(r'<[\w-]+(\s+[\w:-]+(="")?)*\s*/?>', bare), tag


def test_the_policy_names_exactly_the_embedded_style_and_script(page: Page) -> None:
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:; ")
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.raw[kind].encode()).digest()).decode()
        assert re.search(rf"{kind}-src 'sha256-{re.escape(digest)}'(;|$)", policy), kind
    assert "unsafe" not in policy


def test_nothing_is_loaded_from_elsewhere(text: str) -> None:
    assert not re.search(r"(?i)https?://|url\(|@import|//cdn|srcset", text)


def test_each_picture_is_embedded_once_in_a_section(page: Page) -> None:
    kinds = ("suspect", "shot", "example")
    for kind in kinds:
        sources = [image["src"] for image in page.pictures(kind)]
        assert sources and len(sources) == len(set(sources))
    assert sum(len(page.pictures(kind)) for kind in kinds) == len(page.all("img"))
    assert all(image.get("alt") and image.get("width") and image.get("height") for image in page.all("img"))


def test_alt_text_tells_truth_and_answers(page: Page) -> None:
    told = [image["alt"] or "" for image in page.pictures("shot")]
    assert all(alt.startswith("true ") for alt in told)
    assert any(re.search(r"; vit_small says .+ \d+\.\d\u00a0%", alt) for alt in told)


def test_a_lost_picture_is_a_tile_with_its_reason(text: str, page: Page) -> None:
    assert "picture not shown" in text and "torn &lt;b&gt;file&lt;/b&gt;" in text
    assert any("lost" in (division.get("class") or "") for division in page.all("div"))


def test_numbers_are_those_of_the_files(text: str, drawn: Path) -> None:
    study = read_study(drawn)
    board = text[text.index('id="leaderboard"') : text.index('id="trust"')]
    assert len(study.scored) == 9
    for run in sorted((drawn / "runs").iterdir()):
        if not (run / "scores.json").exists():
            continue
        scores, cost = _json(run / "scores.json"), _json(run / "cost.json")
        row = next(part for part in board.split("<tr>") if f'<th scope="row" data-v="{escape(scores["run"])}"' in part)
        for part, metric in (("test", "accuracy"), ("test", "macro_f1"), ("val", "accuracy")):
            entry = scores["parts"][part]["metrics"][metric]
            assert f'data-v="{entry["value"]}"' in row
            assert f">{100 * entry['value']:.1f}\u00a0%<" in row
            assert f"{100 * entry['low']:.1f}\u2013{100 * entry['high']:.1f}" in row
        assert f'data-v="{scores["parts"]["test"]["failed"]}"' in row
        assert f'data-v="{cost["fit_seconds"]}"' in row and f'data-v="{cost["ms_per_image"]}"' in row
    compared = _json(drawn / "comparison.json")
    differences = text[text.index('id="differences"') : text.index('id="classes"')]
    for pair in compared["pairs"]:
        assert f'data-v="{pair["difference"]}"' in differences and f'data-v="{pair["p_holm"]}"' in differences
    assert say.glued(compared["verdict"]) in Page(text).words
    assert study.manifest.hash in text


def test_confusion_counts_and_shares_are_those_of_the_file_in_one_order(text: str, drawn: Path) -> None:
    panels = text[text.index('id="confusions"') : text.index('id="gallery"')].split('<table class="confusion">')[1:]
    study = read_study(drawn)
    order = class_order(study)
    assert len(panels) == len(study.scored) and sorted(order) == list(range(len(study.classes)))
    for panel, contestant in zip(panels, study.scored, strict=True):
        body = panel[panel.index("<tbody>") : panel.index("</tbody>")]
        assert contestant.test is not None
        counts = contestant.test["confusion"]
        silent = any(row[-1] for row in counts)
        places = [*order, len(counts)] if silent else order
        for truth, row in zip(order, body.split("<tr>")[1:], strict=True):
            cells = row.split("<td")[1:]
            total = sum(counts[truth])
            for place, cell in zip(places, cells, strict=True):
                number, share = re.search(r"<b>(\d+)</b>", cell), re.search(r"<i>(\d+)</i>", cell)
                assert (int(number[1]) if number else 0) == counts[truth][place]
                assert (int(share[1]) if share else 0) == pytest.approx(100 * counts[truth][place] / total, abs=0.51)
                if link := re.search(r'data-truth="(\d+)" data-said="(-?\d+)"', cell):
                    assert (int(link[1]), int(link[2])) == (truth, -1 if place == len(counts) else place)
        assert ("no answer</bdi>" in panel[: panel.index("<tbody>")]) == silent


def test_confusion_cells_lead_to_pictures_of_that_confusion(page: Page) -> None:
    shots = {figure["id"]: figure for figure in page.all("figure") if figure.get("id")}
    links = [link for link in page.all("a") if link.get("data-run")]
    assert len(links) > 20 and "-1" in {link["data-said"] for link in links}
    for link in links:
        shot = shots[(link["href"] or "")[1:]]
        assert shot["data-truth"] == link["data-truth"]
        assert (shot["data-said"] or "").split(",")[int(link["data-run"] or 0)] == link["data-said"]


def test_contestants_without_scores_are_rows_with_their_reason(page: Page) -> None:
    words = _flat(page.words)
    assert "mamba needs the package 'peft', which is not installed." in words
    assert re.search(r"qwen_lora\s*vlm_lora\s*not run\s*qwen_lora needs the package", words)
    assert "pip install 'fieldguide[vlm]'" in words


def test_states_are_told_apart(page: Page) -> None:
    words = _flat(page.words)
    for state in ("found, 3", "Exact duplicates fine", "Burst sequences not applicable", "Label suspects skipped"):
        assert state in words
    assert "too few pictures to tell" in words and "not distinguishable" in words
    assert "this family has no count of parameters" in {attributes.get("title") for attributes in page.all("span")}


def test_the_page_does_not_tell_whose_machine_it_was(text: str) -> None:
    assert "somebody" not in text and "…/pond" in text


def test_the_same_study_gives_the_same_bytes(drawn: Path, maker: ModuleType) -> None:
    lost = frozenset(row.key for row in read_study(drawn).manifest.part("test")[:8])
    again = render(read_study(drawn), maker.FakeReader(40, lost))
    assert again == (drawn / "report.html").read_text(encoding="utf-8")


def test_optional_files_may_be_absent(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(tmp_path, maker.Plan(names=("a", "b", "c", "d"), per_class=(4, 3, 3)))
    for name in ("findings.json", "comparison.json", "environment.json", "study.toml", "classes.toml"):
        (tmp_path / name).unlink()
    for run in (tmp_path / "runs").iterdir():
        for name in ("log.jsonl", "cost.json", "predictions.parquet", "settings.toml"):
            (run / name).unlink(missing_ok=True)
    words = _flat(Page(build(tmp_path, maker.FakeReader()).read_text(encoding="utf-8")).words)
    assert "The checks were not recorded in this study." in words and "no contestant recorded epochs" in words
    assert words.count("not recorded") > 10


def test_a_study_without_contestants_is_drawn(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(tmp_path, maker.Plan(entries=(maker.Entry("one", "linear", 3.0),)))
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "comparison.json").unlink()
    words = _flat(Page(build(tmp_path, maker.FakeReader()).read_text(encoding="utf-8")).words)
    assert "No contestant has been run." in words and "nothing to compare" in words


def test_one_contestant_and_no_validation(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(tmp_path, maker.Plan(entries=(maker.Entry("one", "linear", 3.0),)))
    (scores,) = (tmp_path / "runs").glob("*/scores.json")
    values = _json(scores)
    values["parts"]["val"] = None
    scores.write_text(json.dumps(values), encoding="utf-8")
    words = _flat(Page(build(tmp_path, maker.FakeReader()).read_text(encoding="utf-8")).words)
    assert "a difference needs two scored contestants" in words and "not applicable" in words


@pytest.mark.parametrize("name", ["comparison.json", "findings.json"])
def test_a_damaged_or_newer_file_is_named(tmp_path: Path, maker: ModuleType, name: str) -> None:
    maker.make_study(tmp_path, maker.Plan(entries=(maker.Entry("one", "linear", 3.0),)))
    for damage, told in (("{", "cannot be read"), ('{"schema": 99}', "newer fieldguide"), ("[]", "JSON object")):
        (tmp_path / name).write_text(damage, encoding="utf-8")
        with pytest.raises(DataProblem, match=told) as caught:
            build(tmp_path, maker.FakeReader())
        assert name in caught.value.given
    assert not (tmp_path / "report.html").exists()


def test_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataProblem, match="not a study folder"):
        build(tmp_path / "nothing")
    with pytest.raises(DataProblem, match=r"manifest\.parquet"):
        build(tmp_path)


def test_a_small_limit_is_kept_by_showing_fewer_pictures(drawn: Path, maker: ModuleType) -> None:
    whole = (drawn / "report.html").read_text(encoding="utf-8")
    limit = len(whole.encode()) - 60_000
    smaller = render(read_study(drawn), maker.FakeReader(40), limit)
    assert len(smaller.encode()) < limit
    assert 0 < smaller.count('class="shot"') < whole.count('class="shot"')
    shown, total = smaller.count('class="shot"'), whole.count('class="shot"')
    assert f"and {total - shown} more in predictions.parquet" in smaller


def test_the_large_study_is_small_and_quick(tmp_path: Path, maker: ModuleType) -> None:
    names = tuple(f"species number {position}" for position in range(90))
    entries = tuple(maker.Entry(f"contestant_{i}", f"room{i % 6}", 0.5 + i / 3, epochs=30) for i in range(14))
    manifest = maker.make_study(tmp_path, maker.Plan(names=names, entries=entries))
    assert len(manifest.part("test")) == 810
    start = time.process_time()
    size = build(tmp_path, maker.FakeReader(64)).stat().st_size
    assert size < MOST_BYTES
    assert time.process_time() - start < 10


def test_building_imports_no_network_of_neurons(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(tmp_path, maker.Plan(names=("a", "b", "c", "d"), per_class=(4, 2, 2)))
    code = (
        "import sys, pathlib; from fieldguide.report.build import build; "
        f"build(pathlib.Path({str(tmp_path)!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert "no pixels of" in (tmp_path / "report.html").read_text(encoding="utf-8")
