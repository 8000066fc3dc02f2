"""The section on answers in words: every reading, format apart from recognition, cost, and that nothing in its files can hurt the page."""

from __future__ import annotations

import dataclasses
import html
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.report.breaking import JUNK, broken_copies

from fieldguide.files import read_json, write_json
from fieldguide.report import exports, say
from fieldguide.report.build import _environment
from fieldguide.report.prompted_files import MOST_RAW, Part, Prompted, number, read_readings, share, whole
from fieldguide.report.prompting import MOST_CHARTS, Prompting, prompting
from fieldguide.report.prompting_asked import CHOICE, MOST_PROMPT, UNFORCED
from fieldguide.report.prompting_split import split
from fieldguide.report.read import Contestant, Study, read_study
from fieldguide.report.thumbnails import Thumbnail


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, maker: ModuleType, prompting_maker: ModuleType) -> Path:
    folder = tmp_path_factory.mktemp("prompting")
    clerk = maker.Entry("clerk", "recorded", 2.0, failures=0.6, probabilities=False)
    talker = maker.Entry("talker", "vlm_prompt", 3.0, failures=0.4, probabilities=False)
    maker.make_study(folder, maker.Plan(entries=(clerk, talker, maker.Entry("majority", "majority", 0.0)), per_class=(4, 3, 6)))
    prompting_maker.add_prompting(folder, prompting_maker.Plan(recorded=("clerk",)))
    return folder


@pytest.fixture(scope="module")
def study(place: Path) -> Study:
    return read_study(place)


def picture(key: str) -> Thumbnail:
    return Thumbnail(f"data:image/webp;base64,{key[:8]}")


def made(study: Study, most: int = 40) -> Prompting:
    found = prompting(study, picture, most)
    assert found is not None
    return found


def alone(study: Study) -> str:
    """Return the section as the page holds it, without the rest of the page, which takes long to draw."""
    page = _environment().from_string('{% import "parts.html.j2" as parts %}{% include "prompting.html.j2" %}')
    return page.render(prompting=prompting(study, picture))


def words(page: str) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page).replace(say.NBSP, " ").split()))


def changed(study: Study, name: str = "talker", **values: Any) -> Study:
    """Return the study with fields of one contestant replaced."""
    every = tuple(dataclasses.replace(c, **values) if c.name == name else c for c in study.contestants)
    return dataclasses.replace(study, contestants=every)


def run(study: Study, name: str = "talker") -> Contestant:
    return next(c for c in study.contestants if c.name == name)


def folder_of(place: Path, name: str = "talker") -> Path:
    return next(path.parent for path in place.glob("runs/*/settings.toml") if f'"{name}"' in path.read_text(encoding="utf-8"))


def test_nothing_is_shown_where_nobody_answered_in_words(study: Study) -> None:
    silent = dataclasses.replace(study, prompted={}, contestants=tuple(c for c in study.contestants if c.name == "majority"))
    assert prompting(silent, picture) is None and alone(silent).strip() == ""


def test_every_reading_is_that_of_the_file(study: Study, place: Path) -> None:
    found = made(study)
    assert found.columns == ("Strict", "Normalised", "Alias", "JSON", "Filtered: listed names", "Filtered: any name")
    assert [one.contestant.name for one in found.runs] == [c.name for c in study.scored if c.name != "majority"]
    for one in found.runs:
        told = read_json(folder_of(place, one.contestant.name) / "readings.json")["parts"]["test"]
        for (value, main), entry in zip(one.values, (*told["readings"], *told["filtered"]), strict=True):
            assert value.number == entry["accuracy"]["value"]
            assert value.note == say.interval(entry["accuracy"]["low"], entry["accuracy"]["high"])
            assert f"{entry['right']} of {told['n']}" in value.title or "labelled" not in entry
            assert main == (entry["id"] == "strict")
        headline = one.contestant.metric("accuracy") or {}
        assert one.values[0][0].number == headline["value"], "the headline is the leaderboard's"
    chart = str(found.runs[0].chart)
    assert chart.count("<circle") == 5 and ">JSON<" not in chart, "a reading that finds nothing would stretch the axis"
    assert chart.count('<circle class="apart"') == 2 and "Strict (headline)" in chart
    ticks = [re.findall(r'class="tick"[^>]*>(\d+)', str(one.chart)) for one in found.runs]
    assert ticks[0][:6] == ticks[1][:6], "charts that stand side by side share an axis"


def part(n: int, right: int, labelled: int, kinds: dict[str, int] | None = None, **wider: tuple[int, int]) -> Part:
    readings = [{"id": id, "right": k, "labelled": m} for id, (k, m) in {"strict": (right, labelled), **wider}.items()]
    told = [{"id": id, "name": id, "count": count} for id, count in (kinds or {}).items()]
    filtered = [{"id": "listed", "n": labelled}, {"id": "any name", "n": labelled + (kinds or {}).get("off-list", 0)}]
    return _parts({"n": n, "readings": readings, "kinds": told, "filtered": filtered})


def _parts(test: dict[str, Any], tmp: list[int] = []) -> Part:  # noqa: B006 - counts the files
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "readings.json"
        path.write_text(json.dumps({"schema": 1, "headline": "strict", "parts": {"test": test}}), encoding="utf-8")
        return read_readings(path).test


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (
            part(810, 284, 303, alias=(747, 785)),
            "Of 64.9 points lost, 62.6 are format (507 answers are no label of the list) and 2.3 are recognition (19 answers are "
            "another label). Read as “alias”, 463 of the 507 that are no label name the right class in other words (57.2 points), 19 "
            "another one, and 25 still none.",
        ),
        (part(100, 79, 100), "All of the 21.0 points lost are recognition: 21 answers are another label."),
        (
            part(100, 40, 40, {"off-list": 1}),
            "All of the 60.0 points lost are format: 60 answers are no label of the list. 1 answer is a bare name that is not on the list.",
        ),
        (part(50, 50, 50), "Nothing is lost: every answer is the right label."),
        (
            part(100, 50, 60, {"server failed": 18, "not asked": 2, "extra words": 20}),
            "Of 50.0 points lost, 20.0 are format (20 answers are no label of the list), 20.0 are of no answer at all (20 pictures) and "
            "10.0 are recognition (10 answers are another label).",
        ),
        (
            part(100, 50, 90, normalised=(50, 90)),
            "Of 50.0 points lost, 10.0 are format (10 answers are no label of the list) and 40.0 are recognition (40 answers are another "
            "label). Read as “normalised”, none of the 10 becomes a label.",
        ),
        (
            part(10, 5, 6, alias=(4, 8)),
            "Of 50.0 points lost, 40.0 are format (4 answers are no label of the list) and 10.0 are recognition (1 answer is another label).",
        ),
    ],
)
def test_the_error_is_parted_into_format_and_recognition(counts: Part, said: str) -> None:
    head = counts.reading("strict")
    assert head is not None
    found = split(counts, head)
    assert found is not None and " ".join(found.told).replace(say.NBSP, " ") == said
    lost = [value.number or 0.0 for value in (found.format, found.absent, found.recognition)]
    assert sum(lost) == pytest.approx(found.lost.number) == pytest.approx(1 - (found.accuracy.number or 0))
    if found.recognised.number is not None:
        assert (found.labelled.number or 0) * found.recognised.number == pytest.approx(found.accuracy.number)
    widths = [float(one) for one in re.findall(r'<rect class="oc oc-\w+"[^>]* width="([\d.]+)"', str(found.bar))]
    assert sum(widths) == pytest.approx(276, abs=0.5), "the parts of the bar fill it"


@pytest.mark.parametrize(("n", "right", "labelled"), [(10, 6, 5), (10, 5, 11), (0, 0, 0)])
def test_counts_that_contradict_each_other_are_not_parted(n: int, right: int, labelled: int) -> None:
    counts = part(n, right, labelled)
    head = counts.reading("strict")
    assert head is not None and split(counts, head) is None


def test_a_right_answer_costs_what_a_picture_costs_over_the_accuracy(study: Study, place: Path) -> None:
    talker, clerk = sorted(made(study).costs, key=lambda row: row.contestant.name, reverse=True)
    cost = read_json(folder_of(place) / "cost.json")
    right = (run(study).metric("accuracy") or {})["value"]
    pictures = cost["predicted"]
    assert talker.right_tokens.number == pytest.approx(425 / right)
    assert talker.right_money.number == pytest.approx(cost["money"] / pictures / right)
    assert talker.right_seconds.number == pytest.approx(cost["ms_per_image"] / 1000 / right)
    assert (talker.asked.number, talker.kept.number) == (cost["asked"], pictures - cost["asked"])
    assert talker.cached.number == cost["tokens_cached"] and talker.wall.number == cost["answer_wall_seconds"]
    assert talker.model == "llava-7b" and talker.where == "OpenAI-compatible server, models.example:8000"
    assert talker.machine == "the server’s, not known"
    for value in (clerk.asked, clerk.kept, clerk.tokens_in, clerk.wall, clerk.seconds, clerk.right_seconds, clerk.right_money):
        assert value.text == say.NOT_APPLICABLE and "file" in value.title
    page = alone(study)
    assert "secret" not in page and "/home/" not in page and "Linux x86_64, 2 CPU cores" in page


@pytest.mark.parametrize(
    ("cost", "facts", "expected"),
    [
        ({"money": None}, {}, ("money", say.NOT_APPLICABLE)),
        ({"tokens_out": None}, {}, ("right_tokens", say.NOT_RECORDED)),
        ({"tokens_in": "many"}, {}, ("tokens_in", say.NOT_RECORDED)),
        ({"predicted": 0}, {}, ("right_money", say.NOT_APPLICABLE)),
        ({"asked": None}, {}, ("kept", say.NOT_RECORDED)),
        ({"predicted": 90, "asked": 80, "unanswered": 4}, {}, ("kept", "6")),
        ({}, {"server": None}, ("where", "in this process")),
        ({}, {"server": {"kind": "ollama", "url": "http://me:pass@box:11434/x"}}, ("where", "Ollama, box")),
        ({}, {"server": {"kind": "ollama", "host": "localhost:11434"}}, ("machine", "Linux x86_64, 2 CPU cores")),
        ({}, {"server": {"kind": "ollama", "host": "[::1]"}}, ("machine", "Linux x86_64, 2 CPU cores")),
        ({}, {"model": None}, ("model", say.NOT_RECORDED)),
    ],
)
def test_what_is_not_known_is_named(
    study: Study, cost: dict[str, Any], facts: dict[str, Any], expected: tuple[str, str]
) -> None:
    talker = run(study)
    other = changed(study, cost={**(talker.cost or {}), **cost}, facts={**talker.facts, **facts})
    row = next(row for row in made(other).costs if row.contestant.name == "talker")
    value = getattr(row, expected[0])
    assert (value if isinstance(value, str) else value.text) == expected[1]
    assert alone(other)


def test_no_right_answer_has_no_price(study: Study, prompting_maker: ModuleType) -> None:
    told = Prompted("strict", _parts(prompting_maker.part(60, 0, 20, [], ["a"])))
    row = next(
        row for row in made(dataclasses.replace(study, prompted={"talker": told})).costs if row.contestant.name == "talker"
    )
    assert (
        row.right_money.text == row.right_tokens.text == say.NOT_APPLICABLE
        and "no test answer is right" in row.right_money.title
    )


def test_kinds_are_counted_and_their_examples_shown_where_there_is_room(study: Study) -> None:
    found = made(study)
    assert found.kinds[0] == "another label"
    talker = next(one for one in found.runs if one.contestant.name == "talker")
    assert sum(one.count.number or 0 for one in talker.mistakes) == round((1 - (talker.values[0][0].number or 0)) * 60)
    assert talker.counted("refused").number and talker.counted("never").text == "0"
    examples = [example for mistake in talker.mistakes for example in mistake.examples]
    assert all(example.thumbnail or example.above for example in examples) and examples[0].alt.startswith("true ")
    said = words(alone(study))
    assert examples[-1].raw == "" and "answered nothing: empty" in said and "answered a small wolf" in said
    few = [example for one in made(study, 7).runs for mistake in one.mistakes for example in mistake.examples]
    assert sum(example.thumbnail is not None for example in few) == 7
    first = [mistake.examples[0] for one in made(study, 10).runs for mistake in one.mistakes]
    assert all(example.thumbnail or example.above for example in first), "first one of each kind"
    uris = [e.thumbnail.uri for one in found.runs for m in one.mistakes for e in m.examples if e.thumbnail]
    assert len(uris) == len(set(uris)) > 10, "a picture is embedded once"
    assert not any(e.thumbnail or e.above for one in made(study, 0).runs for m in one.mistakes for e in m.examples)


def test_leaning_names_the_label_that_draws_wrong_answers(study: Study) -> None:
    talker = next(one for one in made(study).runs if one.contestant.name == "talker")
    assert talker.lean is not None
    told = study.prompted["talker"].test
    head = told.reading("strict")
    assert head is not None and head.labelled is not None and head.right is not None
    first = max(told.leanings, key=lambda one: one.wrong)
    assert talker.lean.sentence == (
        f"{first.wrong} of {head.labelled - head.right} wrong labels are “badger”: it was answered {first.answered} times, and 6 test "
        "pictures are of it."
    )
    named = {one.label: one.named.number for one in talker.lean.labels}
    assert named == {"badger": 1, "bat": 1, "bee": 0, "beetle": 1}, "words of their own in the prompt"
    clerk = next(one for one in made(study).runs if one.contestant.name == "clerk")
    assert clerk.lean is not None and clerk.lean.labels[0].named.text == say.NOT_RECORDED, "a file brings no prompt"
    assert clerk.asked.facts == () and clerk.asked.probe == ()


@pytest.mark.parametrize(
    ("how", "noted", "expected"),
    [
        ("generate", {}, "the words of the prompt alone"),
        ("choice", {"level": "trie"}, "a tree of the labels' tokens: nothing else can be said"),
        ("choice", {}, "the server's structured output, with the labels in a JSON schema"),
        ("choice", {"probe": {"structured": "none"}}, "the words of the prompt alone"),
        ("choice", {"probe": None}, say.NOT_RECORDED),
        ("choice", {"probe": None, "server": None}, "a tree of the labels' tokens: nothing else can be said"),
    ],
)
def test_what_kept_the_answers_to_the_list(study: Study, how: str, noted: dict[str, Any], expected: str) -> None:
    talker = run(study)
    facts = {**talker.facts, "prompt": {**talker.facts["prompt"], "how": how}, **noted}
    found = next(one for one in made(changed(study, facts=facts)).runs if one.contestant.name == "talker")
    assert dict(found.asked.facts)["Kept to the list by"] == expected
    note = "" if how == "generate" else UNFORCED if expected.startswith("the words") else CHOICE
    assert found.asked.note == note and "not the most probable label" in CHOICE


def test_the_prompt_and_the_probe_are_told(study: Study) -> None:
    said = words(alone(study))
    for told in (
        "Came from …/llava.toml",
        "Temperature 0, greedy",
        "Training pictures shown 2",
        "Calls the model llava:7b-v1.6-q4_0",
        "Gives log-probabilities no",
        "Answers at once 8 asked together, 5.2 times as fast as one by one",
        "The server ignored a field that it does not know.",
        "Reading of the headline strict",
        "Respond only with the name, for example “bat”.",
    ):
        assert told in said, told
    talker = run(study)
    long = "x" * 5000 + "\r\n" + "y\u202ez" + "a" * MOST_PROMPT
    facts = {**talker.facts, "prompt": {"text": long}, "probe": {"images": "perhaps <b>", "at_once": 3, "notes": "no list"}}
    found = next(one for one in made(changed(study, facts=facts)).runs if one.contestant.name == "talker")
    assert "".join(found.asked.prompt[:3]) == "x" * 5000 and found.asked.prompt[3].startswith("y\\u202ez")
    assert found.asked.cut == len(long) - MOST_PROMPT and not any("…" in line for line in found.asked.prompt)
    assert dict(found.asked.probe)["Takes pictures"] == "perhaps <b>" and found.asked.notes == ()


BROKEN = {
    "cut in half": b'{"schema": 1, "parts": {"te',
    "no UTF-8": b"\xff\xfe\x00",
    "a list": b"[]",
    "nothing in it": b"{}",
    "nested deep": b"[" * 100_000,
    "newer": b'{"schema": 99, "parts": {"test": {}}}',
    "no part": b'{"parts": {"test": 3}}',
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_file_stops_nothing(study: Study, tmp_path: Path, name: str) -> None:
    (tmp_path / "readings.json").write_bytes(BROKEN[name])
    read = read_readings(tmp_path / "readings.json")
    assert read.problem and str(tmp_path) not in read.problem
    page = alone(dataclasses.replace(study, prompted={"talker": read}))
    assert "not recorded" in words(page) and "How it was asked" in page and "What a right answer costs" in page


def test_a_prompted_run_without_readings_shows_its_cost(study: Study) -> None:
    page = alone(dataclasses.replace(study, prompted={}))
    assert "Readings not recorded." in words(page) and "75,600" not in page and "How it was asked" in page
    assert "Accuracy under every reading" not in page


def test_whatever_stands_in_the_file_is_drawn(study: Study, place: Path, tmp_path: Path) -> None:
    """Every place of the file in turn holds something of another kind, and the page and the exports are still written."""
    whole = read_json(folder_of(place) / "readings.json")
    whole["parts"].pop("val")
    for other in broken_copies(whole):
        (tmp_path / "readings.json").write_text(json.dumps(other), encoding="utf-8")
        read = read_readings(tmp_path / "readings.json")
        found = made(dataclasses.replace(study, prompted={"talker": read}))
        assert len(found.runs) == 1
    page = alone(dataclasses.replace(study, prompted={"talker": read}))
    page.encode("utf-8")


def test_only_counts_and_shares_are_numbers() -> None:
    assert [whole(one) for one in JUNK] == [None] * len(JUNK) and whole(3) == 3
    assert [share(one) for one in JUNK] == [None] * len(JUNK) and share(1.0) == 1 and share(1.01) is None
    assert number(10**15) == 1e15 and number(10**16) is None and number(-0.1) is None


class Tree(HTMLParser):
    """Headings, tables with captions, boxes that scroll, charts with titles, and what must not be there."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.tables = self.captions = 0
        self.charts: list[bool] = []
        self.boxes: list[dict[str, str | None]] = []
        self.wrong: list[str] = []
        self.pictures: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.wrong += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        self.wrong += [tag] if tag in ("script", "a", "iframe", "object") else []
        if tag == "img":
            self.pictures.append(str(given.get("src")))
        if re.fullmatch(r"h\d", tag):
            self.levels.append(int(tag[1]))
        self.tables += tag == "table"
        self.captions += tag == "caption"
        if tag == "svg" and given.get("role") == "img":
            self.charts.append(False)
        if tag == "title" and self.charts:
            self.charts[-1] = True
        if tag == "div" and "scroll" in (given.get("class") or "").split():
            self.boxes.append(given)


@pytest.mark.parametrize("kind", ["plain", "evil"])
def test_structure_is_that_of_the_house(kind: str, study: Study, drawn: Path) -> None:
    page = (drawn / "report.html").read_text(encoding="utf-8")
    tree = Tree(
        alone(study) if kind == "plain" else page[page.index('<section id="prompting"') : page.index('<section id="texts"')]
    )
    assert not tree.wrong and all(uri.startswith("data:image/webp;base64,") for uri in tree.pictures)
    assert tree.levels[0] == 2 and all(b - a <= 1 for a, b in itertools.pairwise(tree.levels))
    assert tree.tables == tree.captions >= 6
    assert len(tree.charts) >= 5 and all(tree.charts)
    assert all(box.get("tabindex") == "0" and box.get("role") == "region" and box.get("aria-label") for box in tree.boxes)


def test_words_of_a_model_stay_words(drawn: Path, prompting_maker: ModuleType) -> None:
    page = (drawn / "report.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="prompting"') : page.index('<section id="texts"')]
    for name in prompting_maker.EVIL:
        shown = html.escape(say.clean(name)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")
        assert section.count(shown) >= 3, name
    assert not {"\u202e", "\x00"} & set(page) and "<script>alert(4)" not in page


def test_many_contestants_stay_small(study: Study, prompting_maker: ModuleType) -> None:
    """Fourteen contestants, 90 classes: the charts and the pictures are bounded, and an answer is cut."""
    keys = [(f"{at:064d}", f"class {at % 9}") for at in range(200)]
    told = prompting_maker.part(810, 300, 500, keys, [f"class {at}" for at in range(90)], prompting_maker.Plan(examples=5))
    for kind in told["kinds"]:
        kind["examples"] = [{**example, "raw": example["raw"] + "z" * 5000} for example in kind["examples"]] * 3
    read, talker = Prompted("strict", _parts(told)), run(study)
    many = tuple(dataclasses.replace(talker, name=f"talker {at}") for at in range(14))
    large = dataclasses.replace(study, contestants=many, prompted={one.name: read for one in many})
    found = made(large)
    shown = [example for one in found.runs for mistake in one.mistakes for example in mistake.examples]
    assert sum(bool(one.chart) for one in found.runs) == MOST_CHARTS and len(shown) == 14 * 25
    assert max(len(example.raw) for example in shown) == MOST_RAW and shown[0].raw.endswith("…")
    page = alone(large)
    assert page.count("<img") == 25 and page.count("picture shown above") == 13 * 25 and len(page.encode()) < 600_000


def test_exports_hold_the_same_numbers(study: Study, place: Path, tmp_path: Path) -> None:
    exports.write(tmp_path, study)
    exports.finish(tmp_path, study)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Asked in words" in text and "| Contestant | Headline | Strict | Normalised" in text
    assert "are format (" in text and "Tokens, a right answer" in text and "secret" not in text
    told = read_json(tmp_path / "scores.json")["readings"]["talker"]
    whole = read_json(folder_of(place) / "readings.json")["parts"]
    for split_name in ("test", "val"):
        kept = told["parts"][split_name]
        assert [one["right"] for one in kept["readings"]] == [one["right"] for one in whole[split_name]["readings"]]
        assert [one["accuracy"] for one in kept["filtered"]] == [one["accuracy"] for one in whole[split_name]["filtered"]]
        assert "examples" not in kept["kinds"][0] and kept["kinds"][0]["count"] == whole[split_name]["kinds"][0]["count"]


def test_exports_take_whatever_stands_in_the_file(study: Study, tmp_path: Path) -> None:
    wild = {"id": "strict \ud800", "right": 1, "labelled": 2, "accuracy": {"value": float("nan"), "why": "\x1b[31m"}}
    (tmp_path / "r.json").write_text(
        json.dumps({"headline": "\ud800", "parts": {"test": {"n": 3, "readings": [wild]}}}), encoding="utf-8"
    )
    other = dataclasses.replace(study, prompted={"talker": read_readings(tmp_path / "r.json")})
    exports.write(tmp_path, other)
    exports.finish(tmp_path, other)
    assert "\x1b" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_the_rest_of_the_page_says_what_does_not_apply(study: Study) -> None:
    """A contestant without parameters and probabilities is drawn where it can be, and named where it cannot."""
    from fieldguide.report.board import board
    from fieldguide.report.efficiency import efficiency

    talker = run(study)
    bare = changed(study, cost={"predicted": 90, "ms_per_image": 3.0, "parameters": None, "fit_seconds": None})
    shown = board(bare)
    row = next(row for row in shown.rows if row.contestant.name == "talker")
    assert row.parameters.text == say.NOT_APPLICABLE and row.fit.text == say.NOT_RECORDED
    told = {heading: dict(zip([c.name for c in bare.scored], values, strict=True)) for heading, values in shown.metrics}
    assert told["Calibration error"]["talker"].text == say.NOT_APPLICABLE
    charts = {chart.heading: [c.name for c, _ in chart.missing] for chart in efficiency(bare, shown).charts}
    assert "talker" in charts["Size"] and "talker" in charts["Time to train"] and "talker" not in charts["Time for a picture"]
    assert np.isfinite(talker.cost["money"] if talker.cost else 0)


def test_the_settings_do_not_repeat_the_prompt(drawn: Path) -> None:
    page = (drawn / "report.html").read_text(encoding="utf-8")
    settings = page[page.index("Settings of every contestant") : page.index('<section id="efficiency"')]
    assert "most_tokens" not in settings and "at_once" not in settings and "price_in" in settings


def test_readings_are_read_from_the_folder_of_each_run(place: Path, study: Study) -> None:
    assert set(study.prompted) == {"talker", "clerk"}
    assert study.prompted["talker"].headline == "strict" and study.prompted["talker"].val is not None
    write_json(place / "runs" / "readings.json", {"schema": 1})  # beside the runs: of nobody
    assert set(read_study(place).prompted) == {"talker", "clerk"}
