"""`fieldguide texts` as a user meets it: brought in once, listed with what it covers, never written over, and known to the runs that use it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import filelock
import pytest
from tests.pictures import write_folder
from tests.torture.shell import Shell, in_process

from fieldguide import families
from fieldguide.bench import Bench
from fieldguide.data.tables import read_manifest
from fieldguide.data.texts import names, read_texts
from fieldguide.errors import DATA, DONE, ENVIRONMENT, USAGE
from fieldguide.files import read_toml, write_toml
from fieldguide.records import Example
from fieldguide.settings import Settings as Base
from fieldguide.tasks.classify import Classify


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fieldguide.study import compare, read_asked

    base = tmp_path_factory.mktemp("texts")
    write_folder(base / "photos", each=10)
    asked, _ = read_asked(str(base / "photos"), None, contestants=("majority",))
    compare(asked, base / "study")
    return base


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "study", tmp_path / "study")
    return tmp_path / "study"


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return in_process(capsys, monkeypatch)


def described(folder: Path, name: str = "gpt.json", **more: list[str]) -> Path:
    said = {"Cat": ["pointed ears", "long whiskers"], "dog": ["floppy ears"], "001.Dog": ["a tail"], **more}
    (folder / name).write_text(json.dumps(said), encoding="utf-8")
    return folder / name


def test_texts_are_brought_in_listed_and_never_written_over(study: Path, tmp_path: Path, shell: Shell) -> None:
    said = shell("texts", study)
    assert said.code == DONE and "The study has no texts." in said.text
    path = described(tmp_path, ferret=["a mask", "<b>\u202e"])
    said = shell("texts", study, "--add", path)
    assert said.code == DONE
    assert "gpt was brought in (descriptions)." in said.text
    assert "2/3 4 2 / 2 / 2 0 0/30 2" in said.text
    assert "Not matched: 2 texts of 1 names: ferret (2 texts)." in said.text
    assert "Nothing is said of 1 classes: eel." in said.text
    assert names(study) == ("gpt",)
    assert [line.text for line in read_texts(study, "gpt").classes["dog"]] == ["floppy ears", "a tail"]
    before = (study / "texts" / "gpt.jsonl").read_bytes()
    assert "in the study already, word for word" in shell("texts", study, "--add", path).text
    (study / "texts" / "gpt.jsonl").write_bytes(before.replace(b"floppy", b"hanging"))
    said = shell("texts", study, "--add", path)
    assert said.code == USAGE
    assert "other texts called 'gpt': 4 there, 4 here, and they are not the same" in said.text
    assert "--as ANOTHER-NAME, or delete" in said.text
    assert b"hanging" in (study / "texts" / "gpt.jsonl").read_bytes()
    assert shell("texts", study, "--add", path, "--as", "second").code == DONE
    listed = shell("texts", study).text
    assert "gpt 2/3" in listed and "second 2/3" in listed
    assert "second" not in shell("texts", study, "gpt").text
    said = shell("texts", study, "gtp")
    assert said.code == USAGE and "Did you mean gpt?" in said.text


def test_captions_and_strangers_are_told(study: Path, tmp_path: Path, shell: Shell) -> None:
    rows = (
        read_manifest(study / "manifest.parquet").part("train")[:2] + read_manifest(study / "manifest.parquet").part("test")[:1]
    )
    folder = tmp_path / "text_c10"
    for row in rows:
        path = (folder / f"012.{row.label.upper()}" / Path(row.path).name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("stripes\n\nstripes\nmore stripes\n", encoding="utf-8")
    said = shell("texts", study, "--add", folder)
    assert said.code == DONE
    assert "0/3 0 - 6 3/30 0" in said.text
    assert "2 of the pictures with captions are training pictures" in said.text
    assert "3 captions that their picture had already" in said.text and "3 blank ones" in said.text
    with open(study / "texts" / "text_c10.jsonl", "a", encoding="utf-8") as stream:
        stream.write('{"class": "wolf", "text": "grey"}\n')
    assert "1 texts are of classes or pictures that the study does not have" in shell("texts", study).text
    (study / "texts" / "text_c10.jsonl").write_text("{}\n", encoding="utf-8")
    said = shell("texts", study)
    assert said.code == DATA and "line 1 is no text" in said.text


def test_descriptions_in_the_list_of_classes_are_a_source_of_their_own(study: Path, tmp_path: Path, shell: Shell) -> None:
    table = read_toml(study / "classes.toml")
    table["classes"]["eel"]["description"] = "Long and thin. No legs!"
    write_toml(study / "classes.toml", table)
    assert "classes 1/3 2 2 / 2 / 2" in shell("texts", study).text
    said = shell("texts", study, "--add", described(tmp_path), "--as", "classes")
    assert said.code == USAGE and "what the descriptions in classes.toml are called" in said.text
    assert "classes-texts was brought in" in shell("texts", study, "--add", described(tmp_path, "classes.json")).text


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a b", "a/b", "x" * 81])
def test_a_name_is_a_plain_one(study: Path, tmp_path: Path, shell: Shell, name: str) -> None:
    said = shell("texts", study, "--add", described(tmp_path), "--as", name)
    assert said.code == USAGE and "is no name for texts" in said.text


def test_only_a_study_has_texts_and_one_writer_at_a_time(study: Path, tmp_path: Path, shell: Shell) -> None:
    said = shell("texts", tmp_path, "--add", described(tmp_path))
    assert said.code == USAGE and "is no study folder" in said.text
    with filelock.FileLock(study / ".lock"):
        said = shell("texts", study, "--add", described(tmp_path))
        assert said.code == ENVIRONMENT and "Another fieldguide is working" in said.text
    assert not (study / "texts").exists()


class Settings(Base):
    """Whose texts it reads."""

    texts: str | None = None
    """Source of texts in the study."""


def _reads_texts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let ``majority`` be a family that reads texts; return the list in which it notes how many lines it was given."""
    room: Any = families.family("majority")
    fit, read = room.fit, []

    def reading(train: Sequence[Example], val: Sequence[Example], task: Classify, settings: Settings, bench: Bench) -> Any:
        read.append(sum(map(len, bench.texts(settings.texts).classes.values())) if settings.texts else 0)
        return fit(train, val, task, settings, bench)

    monkeypatch.setattr(room, "Settings", Settings)
    monkeypatch.setattr(room, "fit", reading)
    return read


def test_a_run_knows_its_texts(made: Path, study: Path, tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    read = _reads_texts(monkeypatch)
    compare = ("compare", made / "photos", "majority:texts=gpt,as=told", "--out", study)
    said = shell(*compare)
    assert said.code == USAGE and "no texts called 'gpt'" in said.text and "--add FILE --as gpt" in said.text
    assert not (study / "runs" / "told").exists() and not read
    assert "no texts called 'gpt'" in shell(*compare, "--dry-run").text
    assert "first; then fieldguide texts" in shell(*compare[:-1], tmp_path / "new").text and not (tmp_path / "new").exists()
    shell("texts", study, "--add", described(tmp_path))
    assert shell(*compare).code == DONE and read == [4]
    assert len(read_toml(study / "runs" / "told" / "settings.toml")["texts"]) == 64
    assert "Re-used" in shell(*compare).text and read == [4]
    path = study / "texts" / "gpt.jsonl"
    before = path.read_bytes()
    path.write_bytes(before.replace(b"floppy", b"hanging"))
    said = shell(*compare)
    assert said.code == USAGE and "its texts, gpt, were edited since" in said.text and "another name" in said.text
    path.write_bytes(before.replace(b'"from": "gpt.json"', b'"from": "elsewhere"'))
    assert shell(*compare).code == DONE, "where they came from changes no number"
    path.unlink()
    assert "Re-used" in shell(*compare).text, "what is whole needs its texts no more"


DOCS = Path(__file__).parent.parent / "docs" / "texts.md"


def test_the_page_of_texts_runs_and_names_what_there_is(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fieldguide.data.texts.doctor import CODES, groups

    page = DOCS.read_text(encoding="utf-8")
    study.rename(tmp_path / "my-study")
    described(tmp_path, "descriptions.json", ferret=["a mask"])
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    exec(compile(block, "texts.md", "exec"), {})
    told = capsys.readouterr().out
    assert "2 of 3 classes; 1 texts of nobody here" in told
    (commands,) = re.findall(r"^```sh\n(.*?)^```$", page, re.M | re.S)
    assert set(re.findall(r"^fieldguide (\w+)", commands, re.M)) == {"texts", "compare"}
    table = page.split("| code |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) == set(CODES)
    assert [group.name for group in groups() if group.name not in table] == []
