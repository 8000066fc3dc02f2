"""Explanations as values: what is read, what is refused, what is said, and how much of a page they take."""

from __future__ import annotations

import base64
import html
import importlib.util
import io
import itertools
import json
import math
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from fieldguide.errors import DataProblem
from fieldguide.files import read_toml
from fieldguide.report import check_chart, overlay, say, why
from fieldguide.report.build import build, render
from fieldguide.report.explained import Check, Map, explanation_from
from fieldguide.report.explained_page import Shown, Subject, page
from fieldguide.report.read import read_study
from fieldguide.report.thumbnails import LONGEST, encode

_SPEC = importlib.util.spec_from_file_location("report_make_explained", Path(__file__).with_name("make_explained.py"))
assert _SPEC and _SPEC.loader
makes = importlib.util.module_from_spec(_SPEC)
sys.modules["report_make_explained"] = makes
_SPEC.loader.exec_module(makes)


def _map(values: Any, checks: tuple[Check, ...] = (), signed: bool = False) -> Map:
    """A map whose cells are `values` (0 to 255, ``"layers height width"``) between -1 and 1, or 0 and 1."""
    cells = np.asarray(values, np.uint8)
    names = tuple(f"block {layer}" for layer in range(len(cells)))
    return Map(
        "attention", "Attention", names, cells, (-1.0 if signed else 0.0,) * len(cells), (1.0,) * len(cells), signed, checks
    )


def _told(**change: Any) -> dict[str, Any]:
    kinds = (makes.Kind("attention", ("block 0", "block 1"), 4),)
    rng = np.random.default_rng(0)
    told = makes.explanation("k", "a", ("a", "b"), kinds, np.ones((56, 56)) * np.arange(56), rng)
    return {**told, **change}


class Page(HTMLParser):
    """Start tags with their attributes, and all text outside style and script."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words, self.raw = "", 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.raw += tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self.raw -= tag in ("style", "script")

    def handle_data(self, data: str) -> None:
        self.words += "" if self.raw else data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, maker: ModuleType) -> Path:
    """A study with four explained pictures; one contestant has no explanation of the first."""
    folder = tmp_path_factory.mktemp("explained")
    maker.make_study(folder, maker.Plan(per_class=(6, 4, 4)))
    makes.explain(folder, maker.FakeReader(), makes.Plan(pictures=4, skip=frozenset({("linear", 0)})))
    return folder


def _section(text: str) -> str:
    return text[text.index('<section id="why"') : text.index("</section>", text.index('<section id="why"'))]


def _flat(text: str) -> str:
    return " ".join(Page(text).words.split())


# -- reading


def test_what_was_written_is_read(study: Path) -> None:
    told = read_study(study).explained
    assert told is not None and len(told.pictures) == 4
    path = next((study / "runs").glob(f"*/explained/{told.pictures[1].image}.json"))
    raw = json.loads(path.read_text(encoding="utf-8"))
    found = told.found[read_toml(path.parents[1] / "settings.toml")["name"], raw["image"]]
    assert (found.runner_up, found.gap, found.seen) == (raw["runner_up"], raw["gap"], tuple(raw["seen"]))
    one, first = found.maps[0], raw["maps"][0]
    assert one.cells.tobytes() == base64.b64decode(first["bytes"])
    assert one.cells.shape == (len(first["layers"]), first["height"], first["width"])
    assert one.values(0).max() == pytest.approx(first["high"][0]) and one.values(0).min() == pytest.approx(first["low"][0])
    assert [check.better for check in one.checks] == [check["better"] for check in first["checks"]]


def _first(change: Any) -> Any:
    return lambda told: told["maps"][0].update(change)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_first({"bytes": base64.b64encode(b"\0" * 33).decode()}), "33 bytes for a map of 2 x 4 x 4"),
        (_first({"bytes": "<script>"}), "not base64"),
        (_first({"bytes": 7}), "not a text"),
        (_first({"height": 0}), "1 to 128 cells"),
        (_first({"height": 10**9}), "1 to 128 cells"),
        (_first({"height": True}), "1 to 128 cells"),
        (_first({"layers": [f"{i}" for i in range(1000)]}), "at most 96 layers"),
        (_first({"layers": []}), "one or more layers"),
        (_first({"layers": [3, 4]}), "a text was expected"),
        (_first({"low": [0.0]}), "a low and a high value"),
        (_first({"low": [9e9, 0.0]}), "above its high value"),
        (_first({"high": [float("nan"), 1.0]}), "finite number"),
        (_first({"high": [float("inf"), 1.0]}), "finite number"),
        (_first({"signed": "yes"}), "true, false or null"),
        (_first({"checks": [{}]}), "1 checks for 2 layers"),
        (_first({"checks": ["no", "no"]}), "no attribute"),
        (lambda told: told.update(seen=[0.5, 0.0, 0.5, 1.0]), "from 0 to 1"),
        (lambda told: told.update(seen=[0, 0, 1]), "four numbers"),
        (lambda told: told.update(seen=[-3, 0, 1, 1]), "from 0 to 1"),
        (lambda told: told.update(probability=1.5), "not a probability"),
        (lambda told: told.update(gap="wide"), "finite number"),
        (lambda told: told.update(maps={}), "a list of at most"),
        (lambda told: told.pop("answer"), "answer"),
    ],
)
def test_what_was_not_written_so_is_refused(spoil: Any, said: str) -> None:
    told = _told()
    assert explanation_from(told).maps
    spoil(told)
    with pytest.raises((ValueError, KeyError, AttributeError), match=re.escape(said)):
        explanation_from(told)


def test_a_damaged_or_newer_file_is_named(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(tmp_path, maker.Plan(names=("a", "b", "c", "d"), per_class=(4, 2, 2)))
    keys = makes.explain(tmp_path, maker.FakeReader(), makes.Plan(pictures=2))
    inner = next((tmp_path / "runs").glob(f"*/explained/{keys[0]}.json"))
    for path in (inner, tmp_path / "explained.json"):
        for damage, said in (
            ("{", "cannot be read"),
            ('{"schema": 99}', "newer fieldguide"),
            ("[]", "JSON object"),
            ("[" * 9999, "cannot be read"),
        ):
            path.write_text(damage, encoding="utf-8")
            with pytest.raises(DataProblem, match=said) as caught:
                build(tmp_path, maker.FakeReader())
            assert path.name in caught.value.given
    (tmp_path / "explained.json").write_text('{"pictures": [{"image": "../../../secret"}]}', encoding="utf-8")
    with pytest.raises(DataProblem, match="not the key of a picture"):
        build(tmp_path, maker.FakeReader())


# -- drawing


@pytest.mark.parametrize(("row", "column"), [(row, column) for row in range(3) for column in range(3)])
def test_the_words_say_where_a_map_is_strongest(row: int, column: int) -> None:
    values = np.zeros((1, 14, 14))
    values[0, 1 + 5 * row, 1 + 5 * column] = 255
    names = [
        ["upper left", "upper middle", "upper right"],
        ["middle left", "central", "middle right"],
        ["lower left", "lower middle", "lower right"],
    ]
    assert overlay.strongest(_map(values), 0) == f"strongest in the {names[row][column]} ninth"


def test_flat_and_onesided_maps_are_not_given_a_place() -> None:
    assert overlay.strongest(_map(np.full((1, 5, 5), 90)), 0) == "the same everywhere"
    flat = Map("a", "A", ("x",), np.zeros((1, 5, 5), np.uint8), (2.0,), (2.0,), False)
    assert overlay.strongest(flat, 0) == "the same everywhere" and not overlay.scaled(flat, 0).any()
    against = _map(np.tile([10, 100], (1, 4, 2)), signed=True)
    assert overlay.strongest(against, 0) == "nothing speaks for the answer"
    assert overlay.strongest(_map([[[7, 200]]]), 0) == "strongest in the middle right ninth"


def test_letters_hold_the_map() -> None:
    values = np.random.default_rng(1).integers(0, 256, (3, 5, 4))
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    read = np.array([alphabet.index(letter) for letter in overlay.cells(_map(values))]).reshape(values.shape) / 63
    assert np.abs(read - values / 255).max() <= 0.5 / 63 + 1e-9
    signed = overlay.cells(_map([[[0, 255]], [[127, 128]]], signed=True))
    assert [alphabet.index(letter) for letter in signed] == [0, 62, 31, 31], "zero has a step of its own"


def test_the_picture_of_a_map_has_its_cells_in_the_colours_of_the_style_sheet() -> None:
    uri = overlay.picture_of(_map([[[0, 255], [128, 0]]]), 0)
    pixels = np.asarray(Pillow.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"))
    assert pixels.shape == (2, 2, 3)
    assert [f"#{bytes(pixels[0, column]).hex()}" for column in (0, 1)] == [overlay.RAMP[0], overlay.RAMP[-1]]
    style = Path(why.__file__).with_name("why.css").read_text(encoding="utf-8")
    for name, value in (("ramp", ",".join(overlay.RAMP)), ("for", overlay.FOR), ("against", overlay.AGAINST)):
        assert f"--map-{name}:{value};" in style
    rgba = overlay.coloured(np.array([[0.0, 0.5, 1.0]]), signed=True)
    assert rgba[0, :, 3].tolist() == [255, 0, 255]


def test_the_chart_puts_the_lines_where_the_numbers_are() -> None:
    check = Check("x", deletion=(2.0, 0.0, -1.0), insertion=(-1.0, 1.0, 2.0), random=(0.3, -0.1, 0.1), score=0.7)
    found = check_chart.places(check)
    assert found is not None
    assert (found.top, found.bottom, found.deletion, found.insertion, found.zero) == (
        "2.0",
        "−1.0",
        (0, 42, 63),
        (63, 21, 0),
        42,
    )
    assert (found.random, found.score) == ((0, 16, 32), 63)
    assert found.said == "score +0.70; random orders −0.10 to +0.30"
    assert check_chart.packed(found).count(",") == 9
    assert "<title>Gap in nats" in check_chart.chart(found)
    assert check_chart.places(Check("x", score=0.1)) is None and check_chart.packed(None) == "" == check_chart.chart(None)
    script = Path(why.__file__).with_name("why.js").read_text(encoding="utf-8")
    numbers = f"LEFT = {check_chart.LEFT}, TOP = {check_chart.TOP}, ACROSS = {check_chart.ACROSS}, STRIP = {check_chart.STRIP};"
    assert numbers in script, "script and chart draw to one scale"


def test_the_most_telling_layer_is_the_one_whose_check_speaks_for_it() -> None:
    def one(better: bool | None, score: float, moved: bool | None = True) -> Check:
        return Check("x", score=score, better=better, moved=moved)

    first = _map(np.zeros((3, 2, 2)), (one(False, 9), one(True, 0.2), one(True, 0.4)))
    second = _map(np.zeros((2, 2, 2)), (one(True, 0.9, moved=False), one(None, 7)))
    assert why.most_telling([first]) == (0, 2)
    assert why.most_telling([second, first]) == (1, 2), "what shuffled weights do not move tells least of the better ones"
    assert why.most_telling([_map(np.zeros((3, 2, 2)))]) == (0, 2) and why.most_telling([]) == (0, 0)


@pytest.mark.parametrize(
    ("check", "letters"),
    [
        (Check("x", better=True, moved=True), ""),
        (Check("x", better=True, moved=None), ""),
        (Check("x", better=False), "r"),
        (Check("x", better=True, moved=False), "s"),
        (Check("x", better=False, moved=False), "rs"),
        (Check("x"), "?"),
        (None, "?"),
    ],
)
def test_a_map_that_failed_its_check_is_marked(check: Check | None, letters: str) -> None:
    assert why.marks(check) == letters


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        (0.01, "about as likely as"),
        (math.log(7), "7.0 times as likely as"),
        (math.log(40), "40 times as likely as"),
        (50, "more than 1,000 times as likely as"),
    ],
)
def test_the_gap_is_said_in_words(gap: float, words: str) -> None:
    assert why.lead(gap) == words


# -- the section


def test_the_section_shows_each_contestant_or_why_not(study: Path, maker: ModuleType) -> None:
    text = render(read_study(study), maker.FakeReader(90))
    section = _section(text)
    assert section.count('<details class="whypanel"') == 4 and section.count('class="whypanel" open') == 1
    scored = [entry.name for entry in maker.ENTRIES if entry.state == "scored"]
    first = section[section.index("<details") : section.index('<details class="whypanel">')]
    rows = re.split(r'<div class="whyrow(?!s)', first)[1:]
    assert len(rows) == len(scored)
    told = {name: next(_flat("<div " + row) for row in rows if name in Page("<div " + row).words) for name in scored}
    assert "Not above chance on the test pictures" in told["majority"]
    assert "No explanation of this picture was made for this contestant." in told["linear"]
    assert (
        "is not applicable: this network has no attention over the whole picture; use gradcam or occlusion"
        in told["resnet_tiny"]
    )
    assert "What lies outside the dashed frame, 25" in told["resnet_tiny"] and "dashed" not in told["vit_small"]
    assert "no probability" in told["talker"]
    assert "mamba (failed)" in _flat(section) and "qwen_lora (not run)" in _flat(section)
    majority = next(row for row in rows if "majority" in row)
    assert 'class="ink"' not in majority and "data-cells" not in majority


def test_doubtful_maps_say_so_on_their_face(study: Path, maker: ModuleType) -> None:
    section = _section(render(read_study(study), maker.FakeReader(90)))
    stages = re.findall(r'<div class="stage( doubted)?">.*?<p class="stamp"( hidden)?>(.*?)</p>', section, flags=re.S)
    assert {bool(doubted) for doubted, _, _ in stages} == {True, False}
    for doubted, hidden, words in stages:
        assert bool(doubted) == (not hidden) == bool(words)
        assert not words or any(stamp in words for stamp in why.STAMPS.values())


def test_the_study_and_its_picture_stand_once(study: Path, maker: ModuleType) -> None:
    section = _section(render(read_study(study), maker.FakeReader(90)))
    uris = re.findall(r'<symbol id="w\d+".*?<image href="(data:image/webp;base64,[^"]+)"', section)
    assert len(uris) == 4 and all(section.count(uri) == 1 for uri in uris)
    overlays = re.findall(r'class="ink" href="([^"]+)"', section)
    assert len(overlays) > 12 and max(map(len, overlays)) < 2500


def test_without_explanations_it_says_how_they_are_made(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(tmp_path, maker.Plan(names=("a", "b", "c", "d"), per_class=(4, 2, 2)))
    section = _flat(_section(render(read_study(tmp_path), maker.FakeReader())))
    assert "fieldguide explain STUDY/" in section and "Not recorded" in section
    makes.explain(tmp_path, maker.FakeReader(), makes.Plan(pictures=2))
    (tmp_path / "explained.json").write_text('{"schema": 1, "pictures": []}', encoding="utf-8")
    assert "No picture was chosen" in _flat(_section(render(read_study(tmp_path), maker.FakeReader())))


def test_a_picture_that_is_gone_leaves_its_maps(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(tmp_path, maker.Plan(names=("a", "b", "c", "d"), per_class=(4, 2, 2)))
    keys = makes.explain(tmp_path, maker.FakeReader(), makes.Plan(pictures=2))
    section = _section(render(read_study(tmp_path), maker.FakeReader(48, frozenset(keys[:1]))))
    assert "picture not shown: torn" in _flat(section)
    assert section.count('class="ink"') > 4


def test_evil_names_are_only_text(tmp_path: Path, maker: ModuleType) -> None:
    maker.make_study(tmp_path, maker.Plan(names=maker.EVIL, per_class=(3, 2, 2)))
    makes.explain(tmp_path, maker.FakeReader(), makes.Plan(pictures=4, names=maker.EVIL))
    text = render(read_study(tmp_path), maker.FakeReader())
    seen = Page(text)
    assert len(seen.all("script")) == 1
    for tag, attributes in seen.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
        for name in ("href", "src"):
            if name in attributes:
                assert re.fullmatch(r"#[\w-]+|data:image/webp;base64,[\w+/=]+|data:,", attributes[name] or ""), attributes
    assert "\x00" not in text and not re.search("[\u202a-\u202e\u2066-\u2069]", text)
    section = Page(_section(text))
    lines = [
        re.findall(r"<li>(.*?)</li>", part) for part in re.findall(r'<ul class="mapsays" hidden>(.*?)</ul>', _section(text))
    ]
    layers = [name for part in lines for line in part if line.startswith("[") for name in json.loads(html.unescape(line))]
    assert layers and all(int(one["data-names"] or "") < max(map(len, lines)) for one in section.all("data"))
    for name in maker.EVIL[:6]:
        assert say.clean(name) in section.words
        assert any(say.clean(name) in layer for layer in layers)


def test_fourteen_contestants_and_eight_pictures_take_two_megabytes(tmp_path: Path, maker: ModuleType) -> None:
    entries = tuple(maker.Entry(f"contestant_{i}", f"room{i % 6}", 2.5 + i / 5) for i in range(14))
    maker.make_study(tmp_path, maker.Plan(entries=entries, per_class=(4, 2, 3)))
    layers = tuple(f"block {layer}" for layer in range(12))
    kinds = [
        makes.Kind("attention", layers, 14),
        makes.Kind("attention-gradient", layers, 14),
        makes.Kind("occlusion", layers[:1], 14, True),
    ]
    kinds += [makes.Kind("gradcam", layers[:4], 14), makes.Kind("rollout", layers[:1], 14)]
    makes.explain(tmp_path, maker.FakeReader(), makes.Plan(pictures=8, kinds=tuple(kinds)))
    section = _section(render(read_study(tmp_path), maker.FakeReader(300)))
    assert section.count('<details class="whypanel"') == 8
    assert len(section.encode()) < 2_000_000


def test_fewer_pictures_are_shown_where_the_page_would_be_too_large(study: Path, maker: ModuleType, monkeypatch: Any) -> None:
    monkeypatch.setattr(why, "MOST_CHARACTERS", 90_000)
    section = _section(render(read_study(study), maker.FakeReader(90)))
    assert 0 < section.count('<details class="whypanel"') < 4 and "so that the page stays small" in section
    monkeypatch.setattr(why, "MOST_CHARACTERS", 10)
    assert "the maps are too large for this page" in _section(render(read_study(study), maker.FakeReader(90)))


# -- the page of its own


def test_the_page_shows_all_subjects_beside_each_other() -> None:
    small = encode(np.zeros((90, 120, 3), np.uint8), why.LONGEST)
    before, after = Subject("vit", "before <tuning>"), Subject("pets/vit", "after tuning")
    answers = {"vit": _told(label=None, answer="b", runner_up="a"), "pets/vit": _told(answer="a", runner_up="b")}
    subjects, shown = [before, after, Subject("nobody")], [Shown("cat.jpg", small, answers, label="a")]
    text = page(subjects, shown, {"a": "Tabby"})
    words, seen = _flat(text), Page(text)
    assert "before <tuning>" in words and "No explanation of this picture was made for this one." in words
    assert text.count('class="stage') == 2 and "true Tabby" in words and "right:" in words and "wrong:" in words
    (policy,) = [meta["content"] for meta in seen.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None and policy.startswith("default-src 'none'")
    heads = [int(tag[1]) for tag, _ in seen.tags if re.fullmatch("h[1-6]", tag)]
    assert heads[0] == 1 and all(b - a <= 1 for a, b in itertools.pairwise(heads))
    assert "<title>cat.jpg · fieldguide explain</title>" in text
    assert text == page(subjects, shown, {"a": "Tabby"})


def test_the_page_refuses_what_is_no_explanation() -> None:
    small = encode(np.zeros((LONGEST, LONGEST, 3), np.uint8))
    with pytest.raises(DataProblem, match=r"cat\.jpg by vit is not of the known form"):
        page([Subject("vit")], [Shown("cat.jpg", small, {"vit": {"maps": 3}})])
    assert "no picture" in page([], [])


def test_the_folder_edition_shows_the_maps_over_pictures_that_are_files(tmp_path: Path, maker: ModuleType) -> None:
    from fieldguide.report import pages

    maker.make_study(tmp_path, maker.Plan(names=("a", "b", "c", "d"), per_class=(4, 3, 6)))
    reader = maker.FakeReader(600)
    makes.explain(tmp_path, reader)
    pages.write(tmp_path / "report", read_study(tmp_path), reader)
    text = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    section = text[text.index('id="why"') : text.index('id="curves"')]
    shown = set(re.findall(r'(?:href|src)="(pictures/[^"]+)"', section))
    assert shown and all((tmp_path / "report" / name).is_file() for name in shown)
    (one, *_) = [name for name in shown if name.endswith(f"-{why.LONGEST}.webp")]
    with Pillow.open(tmp_path / "report" / one) as picture:
        assert max(picture.size) == why.LONGEST
