"""Texts of other people: every published layout is read, every text finds its class or picture or is counted and named, nothing else is raised."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fieldguide.data.tables import freeze
from fieldguide.data.texts import OWN, common, fingerprint, lacking, names, read_texts, sentences, write_texts
from fieldguide.data.texts.importing import import_texts
from fieldguide.data.texts.matching import Matched, Unmatched, Whom
from fieldguide.errors import DataProblem, Problem, UsageProblem
from fieldguide.records import ClassInfo, Line, ManifestRow, Texts

CLASSES = (
    ClassInfo("Black_footed_Albatross", "Black footed Albatross", ("gooney",)),
    ClassInfo("007.Herring_Gull", "Herring Gull"),
    ClassInfo("house wren", "house wren"),
)
ALBATROSS, GULL, WREN = (info.id for info in CLASSES)
MANIFEST = freeze(
    [
        ManifestRow("a1", "train/Black_footed_Albatross/0001.jpg", ALBATROSS, "train"),
        ManifestRow("a2", "train/Black_footed_Albatross/0002.jpg", ALBATROSS, "train"),
        ManifestRow("g1", "train/007.Herring_Gull/0001.jpg", GULL, "train"),
        ManifestRow("g2", "test/007.Herring_Gull/gull.two.png", GULL, "test"),
        ManifestRow("w1", "train/house wren/COCO_val_09.jpg", WREN, "val"),
        ManifestRow("w2", "train/house wren/torn.jpg", WREN, excluded="truncated"),
        ManifestRow("", "train/house wren/lost.jpg", WREN, excluded="missing"),
    ],
    [info.id for info in CLASSES],
    42,
)


def bring(path: Path) -> tuple[Texts, Matched]:
    return import_texts(path, MANIFEST, CLASSES, "ours")


def written(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def lines(*said: str) -> tuple[Line, ...]:
    return tuple(map(Line, said))


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("Black-footed Albatross", ALBATROSS),
        ("001.Black_footed_Albatross", ALBATROSS),
        ("BLACK FOOTED ALBATROSS", ALBATROSS),
        ("Gooney", ALBATROSS),
        ("Herring_Gull", GULL),
        ("012.Herring Gull", GULL),
        ("007.Herring_Gull", GULL),
        ("House_Wren", WREN),
        ("n02085620-house_wren", WREN),
        ("wren", None),
        ("", None),
        ("007.", None),
    ],
)
def test_a_class_is_found_by_every_spelling(name: str, id: str | None) -> None:
    assert Whom(MANIFEST, CLASSES).id(name) == id


def test_a_name_that_two_classes_share_is_nobodys() -> None:
    both = (ClassInfo("1.cat", "1.cat"), ClassInfo("2.cat", "2.cat"))
    whom = Whom(MANIFEST, both)
    assert whom.id("cat") is None and whom.id("1.cat") == "1.cat"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("a1", "a1"),
        ("train/Black_footed_Albatross/0001.jpg", "a1"),
        ("Black_footed_Albatross/0001", "a1"),
        ("./data\\text_c10/001.Black_footed_Albatross/0001.txt", "a1"),
        ("Black-footed Albatross/0002.webp", "a2"),
        ("Herring Gull/0001", "g1"),
        ("0002", "a2"),
        ("gull.two", "g2"),
        ("gull.two.png", "g2"),
        ("COCO_val_09.jpg", "w1"),
        ("0001", None),
        ("0001.jpg", None),
        ("Laughing_Gull/0002.jpg", None),
        ("other/gull.two.png", None),
        ("lost.jpg", None),
        ("", None),
        ("/", None),
    ],
)
def test_a_picture_is_found_by_path_by_class_and_name_and_by_a_name_that_is_its_alone(name: str, key: str | None) -> None:
    assert Whom(MANIFEST, CLASSES).picture(name) == key


def test_why_a_picture_is_not_found() -> None:
    whom = Whom(MANIFEST, CLASSES)
    assert whom.why_not("0001.jpg") == "several pictures are called so"
    assert whom.why_not("0009.jpg") == "no picture of the study"


def test_text_beside_each_picture(tmp_path: Path) -> None:
    written(tmp_path / "p/train/Black_footed_Albatross/0001.txt", "a dark bird\n\n a dark  bird \nover the sea\r\n")
    written(tmp_path / "p/train/house wren/torn.txt", "brown\n")
    written(tmp_path / "p/train/Black_footed_Albatross/0001.jpg", b"\xff\xd8")
    written(tmp_path / "p/.hidden/0002.txt", "no")
    written(tmp_path / "p/README.txt", "about\nit all\n")
    texts, matched = bring(tmp_path / "p")
    assert texts.captions == {"a1": ("a dark bird", "over the sea")} and not texts.classes
    assert (matched.captions, matched.pictures, matched.repeated, matched.blank, matched.apart) == (2, 1, 1, 1, 1)
    assert matched.unmatched == (Unmatched("p/README", 2, "no picture of the study"),)
    assert texts.made["unmatched"] == "p/README (2 texts)" and texts.made["unmatched texts"] == "2"


def test_the_layout_of_reed(tmp_path: Path) -> None:
    for place in ("001.Black_footed_Albatross/0001", "066.Herring_Gull/0001", "059.California_Gull/0002"):
        written(tmp_path / f"text_c10/{place}.txt", "".join(f"caption {at} .\n" for at in range(10)))
    written(tmp_path / "text_c10/001.Black_footed_Albatross.t7", b"\x04")
    texts, matched = bring(tmp_path / "text_c10")
    assert {key: len(said) for key, said in texts.captions.items()} == {"a1": 10, "g1": 10}
    assert matched.unmatched == (Unmatched("text_c10/059.California_Gull/0002", 10, "no picture of the study"),)
    one, _ = bring(tmp_path / "text_c10" / "066.Herring_Gull")
    assert set(one.captions) == {"g1"}


@pytest.mark.parametrize("place", ["word_c10", "word_c10/001.Albatross.t7"])
def test_tables_of_torch_are_refused_with_the_way_to_convert(tmp_path: Path, place: str) -> None:
    written(tmp_path / "word_c10/001.Albatross.t7", b"\x04\x00")
    with pytest.raises(UsageProblem, match=r"text_c10/<class>/<picture>\.txt.*\n.*docs/texts\.md"):
        bring(tmp_path / place)


def test_a_file_for_each_class(tmp_path: Path) -> None:
    written(
        tmp_path / "d/Black footed Albatross.txt", "A bird with dark feet.\nA bird with dark feet.\nA bird with long wings.\n"
    )
    written(tmp_path / "d/Herring Gull.txt", "A bird with pink legs.\n")
    written(tmp_path / "d/Ivory Gull.txt", "A white bird.\n")
    texts, matched = bring(tmp_path / "d")
    assert texts.classes[ALBATROSS] == lines("A bird with dark feet.", "A bird with dark feet.", "A bird with long wings.")
    assert (matched.classes, matched.lines, matched.silent) == (2, 4, (WREN,))
    assert matched.unmatched == (Unmatched("Ivory Gull", 1, "no class of the study"),)
    assert bring(tmp_path / "d" / "Herring Gull.txt")[0].classes == {GULL: lines("A bird with pink legs.")}


DESCRIBED = {
    "Black-footed Albatross": ["dark", "long wings"],
    "gooney": ["webbed feet"],
    "house wren": [],
    "Ivory Gull": ["white"],
}


@pytest.mark.parametrize("folder", [True, False])
def test_descriptions_as_json(tmp_path: Path, folder: bool) -> None:
    path = written(tmp_path / "base" / "d.json", DESCRIBED)
    texts, matched = bring(tmp_path if folder else path)
    assert texts.classes == {ALBATROSS: lines("dark", "long wings", "webbed feet")}
    assert (matched.blank, matched.lost, matched.silent) == (1, 1, (GULL, WREN))


def test_descriptions_with_fields(tmp_path: Path) -> None:
    path = written(tmp_path / "d.json", {"Herring Gull": {"beak": "yellow", "wings": ["grey", "long"]}, "house wren": "small"})
    texts, _ = bring(path)
    assert texts.classes == {
        GULL: (Line("yellow", "beak"), Line("grey", "wings"), Line("long", "wings")),
        WREN: lines("small"),
    }


def test_captions_as_json_by_picture(tmp_path: Path) -> None:
    texts, _ = bring(written(tmp_path / "c.json", {"gull.two.png": ["a gull", "on a post"], "0002.jpg": "two"}))
    assert texts.captions == {"a2": ("two",), "g2": ("a gull", "on a post")}


def test_captions_of_coco(tmp_path: Path) -> None:
    images = [{"id": 9, "file_name": "COCO_val_09.jpg"}, {"id": 10, "file_name": "other.jpg"}]
    said = [(9, "a wren "), (10, "a cat"), (9, "a wren"), (11, "lost")]
    annotations = [{"image_id": id, "id": at, "caption": text} for at, (id, text) in enumerate(said)]
    texts, matched = bring(written(tmp_path / "c.json", {"images": images, "annotations": annotations}))
    assert texts.captions == {"w1": ("a wren",)}
    assert [one.name for one in matched.unmatched] == ["other.jpg", "image_id 11"] and matched.repeated == 1


def test_captions_in_the_split_of_karpathy(tmp_path: Path) -> None:
    entry = {"filepath": "val2014", "filename": "COCO_val_09.jpg", "split": "restval", "cocoid": 9}
    texts, _ = bring(
        written(tmp_path / "d.json", {"dataset": "coco", "images": [{**entry, "sentences": [{"raw": "A wren."}]}]})
    )
    assert texts.captions == {"w1": ("A wren.",)}


ROWS = [
    {"class": "house wren", "text": "brown, and small", "field": "coloration"},
    {"class": "Ivory Gull", "text": "white", "field": ""},
    {"class": "house wren", "text": "", "field": ""},
]


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    kind = path.suffix
    if kind == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == ".jsonl":
        written(path, "\n".join(json.dumps(row) for row in rows) + "\n")
    elif kind == ".json":
        written(path, rows)
    else:
        between = "\t" if kind == ".tsv" else ","
        cells = [list(rows[0]), *([f'"{value}"' for value in row.values()] for row in rows)]
        path.write_text("".join(between.join(line) + "\n" for line in cells), encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_tables_of_classes_and_of_pictures(tmp_path: Path, kind: str) -> None:
    texts, matched = bring(table(tmp_path / f"t.{kind}", ROWS))
    assert texts.classes == {WREN: (Line("brown, and small", "coloration"),)}
    assert (matched.blank, matched.lost) == (1, 1)
    said = [
        {"path": "Herring Gull/0001.jpg", "Caption": "a gull", "label": "wrong"},
        {"path": "a2", "Caption": "two", "label": ""},
    ]
    texts, _ = bring(table(tmp_path / f"c.{kind}", said))
    assert texts.captions == {"g1": ("a gull",), "a2": ("two",)} and not texts.classes


def test_what_a_study_keeps_another_can_take(tmp_path: Path) -> None:
    kept = Texts("x", {WREN: (Line("small", "size"), Line("brown"))}, {"a1": ("dark", "over the sea")}, {"from": "here"})
    texts, matched = bring(write_texts(tmp_path, kept))
    assert (texts.classes, texts.captions) == (kept.classes, kept.captions) and not matched.lost and not matched.blank
    assert read_texts(tmp_path, "x") == kept and names(tmp_path) == ("x",)


def test_texts_are_made_safe(tmp_path: Path) -> None:
    odd = {"house wren": ["red\x1b[31m\u202eback\n\tnext\u0000", "cafe\u0301", "\ud800half", "\ufeff"]}
    texts, matched = bring(written(tmp_path / "d.json", json.dumps(odd)))
    assert [line.text for line in texts.classes[WREN]] == ["red [31m back next", "caf\u00e9", "half"]
    assert matched.blank == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"class,text\nhouse wren,ok\nhouse wren,\xff\n", r"line 3, is not UTF-8 \(byte 0xff\)"),
        ("t.csv", "class,text\nwren,ä\n".encode("utf-16"), "begins as UTF-16"),
        (
            "t.csv",
            b"class,text\nhouse wren,small, brown\n",
            "line 2: it has 3 cells, the header 2; a text with ',' needs quotes",
        ),
        ("t.csv", b'class,text\nhouse wren,"small\n', "line 2"),
        ("t.csv", b"class,class,text\n", "two columns have one name"),
        ("t.csv", b"class,text\n,small\n", "line 2 names neither a picture nor a class"),
        ("t.csv", b"klass,text\na,b\n", "Rename 'klass' to"),
        ("t.csv", b"class,words\na,b\n", "no column for the text"),
        ("t.csv", b"", "no column for the text"),
        ("t.jsonl", b'{"class": "house wren", "text": "a"}\n{"class"', "line 2"),
        ("t.jsonl", b'{"class": "house wren", "text": 5}\n', "line 1 has int 5 where a text should be"),
        ("t.jsonl", b'{"class": ["a"], "text": "b"}\n', "line 1 has list in the column 'class'"),
        ("t.jsonl", b"[1]\n", "line 1 is no JSON object"),
        ("t.jsonl", b"[" * 100_000, "line 1"),
        ("t.parquet", b"PAR1", "cannot be read"),
        ("d.json", b"[" * 100_000, "cannot be read"),
        ("d.json", b'{"house wren": ["a"], "house wren": ["b"]}', "'house wren' stands twice"),
        ("d.json", b'{"house wren": ["a", 5]}', "has list"),
        ("d.json", b'{"house wren": 5}', "neither a text nor a list"),
        ("d.json", b"{}", "an empty object"),
        ("d.json", b"[]", "a list of other things"),
        ("d.json", b'{"images": [], "annotations": [{"bbox": []}]}', "boxes are no texts"),
        ("d.json", b'{"images": [{"id": 1}], "annotations": [{"image_id": 1, "caption": 5}]}', "where a caption should be"),
        ("d.json", b'{"house wren": ["' + b"a" * 30_000 + b'"]}', "a text of 30,000 characters"),
        ("d.json", b'{"house wren": {"' + b"a" * 300 + b'": "b"}}', "the name of a field has 300"),
        ("d.json", b'{"house wren": [""]}', "1 blank ones"),
        ("d.json", b'{"house wrens": ["a"], "eel": ["b"]}', "Did you mean house wren"),
        (
            "d.json",
            b'{"images": [{"id": 1, "file_name": "gull.too.png"}], "annotations": [{"image_id": 1, "caption": "a"}]}',
            "Did you",
        ),
        ("c.csv", b"image,text\n0001.jpg,hello\n", "several pictures are called so"),
        ("t.xlsx", b"PK", "a kind that holds no texts"),
        ("t.jpg/a.png", b"x", "none of its 1 files"),
        ("t.csv/a.csv", b"x", "is a folder of tables"),
    ],
)
def test_a_file_that_gives_nothing_is_told_in_three_breaths(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    written(tmp_path / name, content)
    with pytest.raises((UsageProblem, DataProblem), match=said) as caught:
        bring(tmp_path / name.partition("/")[0])
    assert name.partition("/")[0] in caught.value.given
    assert all(caught.value.args)


def test_near_names_of_missing_files_and_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "descriptions.json", {"house wren": ["a"] * 8})
    with pytest.raises(UsageProblem, match=r"does not exist.*\n.*\nDid you mean .*descriptions\.json"):
        bring(tmp_path / "description.json")
    monkeypatch.setattr("fieldguide.data.texts.importing.MOST_TEXTS", 7)
    with pytest.raises(UsageProblem, match="more of them"):
        bring(path)
    monkeypatch.setattr(common, "MOST_BYTES", 9)
    with pytest.raises(DataProblem, match=r"has 0 MB"):
        bring(path)


@st.composite
def _files(draw: st.DrawFn) -> tuple[str, bytes]:
    """Bytes that look like something: JSON of these names in any shape, tables, and noise; then a few bytes are changed."""
    word = st.sampled_from(
        ["house wren", "0001.jpg", "a1", "images", "annotations", "caption", "image_id", "id", "text", "class", ""]
    )
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | word | st.text(max_size=5)
    value = st.recursive(leaf, lambda more: st.lists(more, max_size=4) | st.dictionaries(word, more, max_size=4), max_leaves=12)
    text = value.map(json.dumps) | st.lists(st.lists(word | st.text(max_size=4), max_size=3).map(",".join), max_size=4).map(
        "\n".join
    )
    data = draw(text.map(lambda said: said.encode("utf-8", "surrogatepass")) | st.binary(max_size=40))
    at = draw(st.integers(0, len(data)))
    return draw(st.sampled_from(["json", "jsonl", "csv", "tsv", "parquet", "txt"])), data[:at] + draw(
        st.binary(max_size=2)
    ) + data[at:]


@settings(max_examples=60)
@given(_files())
@example(("csv", b"class,text\n\x00,\x00"))
@example(("jsonl", b'{"class": Infinity, "text": "a"}'))
@example(("json", b'{"images": [{"id": 1e999}], "annotations": [{"image_id": NaN, "caption": "a"}]}'))
@example(("json", b'{"images": [{"sentences": {}}]}'))
@example(("json", b'{"images": [{"sentences": ["a"]}]}'))
@example(("json", b'[{"class": "house wren"}]'))
def test_any_bytes_become_texts_or_a_problem(tmp_path_factory: pytest.TempPathFactory, file: tuple[str, bytes]) -> None:
    kind, data = file
    path = tmp_path_factory.getbasetemp() / f"any.{kind}"
    path.write_bytes(data)
    try:
        texts, matched = bring(path)
    except Problem:
        return
    assert texts.classes or texts.captions
    assert matched.lines == sum(map(len, texts.classes.values())) and matched.captions == sum(map(len, texts.captions.values()))
    assert all(common.clean(line.text) == line.text for said in texts.classes.values() for line in said)


def test_the_descriptions_of_a_study_are_a_source(tmp_path: Path) -> None:
    assert names(tmp_path) == () and lacking(tmp_path, None) is None
    written(
        tmp_path / "classes.toml",
        '[classes."a"]\ndescription = "Dark, approx. 5 cm. White feet.\\nLong bill"\n[classes.b]\nname = "b"',
    )
    written(tmp_path / "texts" / ".unfinished-1-x.jsonl", "")
    written(tmp_path / "texts" / f"{OWN}.jsonl", "")
    assert names(tmp_path) == (OWN,)
    assert read_texts(tmp_path, OWN).classes == {"a": lines("Dark, approx. 5 cm.", "White feet.", "Long bill")}
    assert sentences(" One!  Two? Some 3.5 cm.\n\n") == ("One!", "Two?", "Some 3.5 cm.")
    with pytest.raises(UsageProblem, match=r"no texts called '\.\./x'.*\n.*classes"):
        read_texts(tmp_path, "../x")
    problem = lacking(tmp_path / "new", "x")
    assert problem is not None and problem.next.startswith("Make the study with other contestants first; then fieldguide texts")


def test_a_fingerprint_is_of_what_is_said(tmp_path: Path) -> None:
    one = Texts("a", {"x": lines("p", "q")}, {"k": ("c",)}, {"from": "f"})
    changed: tuple[Callable[[], Texts], ...] = (
        lambda: Texts("a", {"x": lines("q", "p")}, one.captions),
        lambda: Texts("a", {"x": (Line("p", "f"), Line("q"))}, one.captions),
        lambda: Texts("a", one.classes, {"k": ("d",)}),
        lambda: Texts("a", {"y": lines("p", "q")}, one.captions),
    )
    assert fingerprint(Texts("b", one.classes, one.captions)) == fingerprint(one)
    assert len({fingerprint(one), *(fingerprint(make()) for make in changed)}) == 5


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("place", "pictures", "classes", "found", "lost"),
    [
        ("classify_by_description/descriptors_cub.json", "cub100/images", 100, 662, 650),
        ("AdaptCLIPZS/gpt4_0613_api_CUB", "cub100/images", 100, 2395, 2220),
        ("classify_by_description/descriptors_pets.json", "pets370", 37, 246, 0),
        ("CuPL", "pets370", 37, 1850, 0),
        ("CuPL/base/pet_prompts_base.json", "pets370", 37, 1110, 0),
    ],
)
def test_published_descriptions_find_their_classes(
    data_root: Path, place: str, pictures: str, classes: int, found: int, lost: int
) -> None:
    ids = sorted(entry.name for entry in (data_root / pictures).iterdir() if entry.is_dir())
    manifest = freeze([ManifestRow(id, f"{id}/1.jpg", id, "train") for id in ids], ids, 1)
    texts, matched = import_texts(data_root / "texts" / place, manifest, [ClassInfo(id, id) for id in ids], "x")
    assert (len(texts.classes), matched.lines, matched.lost) == (classes, found, lost)
    assert not matched.silent
