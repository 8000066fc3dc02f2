"""Ollama's Modelfiles, read as Ollama reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldguide.errors import UsageProblem
from fieldguide.records import ClassInfo
from fieldguide.tasks.asking import Shown
from fieldguide.tasks.modelfile import looks_like_one, read
from fieldguide.tasks.prompting import read_prompt, render

FILE = '''# a comment
from llava:7b
  # another

parameter temperature 0.25
PARAMETER num_predict 12
PARAMETER seed 7
PARAMETER stop "</s>"
PARAMETER stop "<|im_end|>"
TEMPLATE """{{ .System }}
FROM nothing
{{ .Prompt }}"""
SYSTEM """
You name {animals}.
Say "none" else.
"""
Message user Is this {a} cat?
MESSAGE assistant """cat
"""
message system "be brief"
'''
TWO = (ClassInfo("cat", "cat"), ClassInfo("dog", "dog"))


def write(folder: Path, text: str, name: str = "Modelfile") -> Path:
    (folder / name).write_bytes(text.encode())
    return folder / name


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_modelfile_becomes_a_prompt(tmp_path: Path, newline: str) -> None:
    prompt = read_prompt(write(tmp_path, FILE.replace("\n", newline)))
    assert prompt.model == "llava:7b"
    assert (prompt.temperature, prompt.most_tokens, prompt.seed) == (0.25, 12, 7)
    assert prompt.notes == ("PARAMETER stop is not used", "TEMPLATE shapes the model, not the question, and is not used")
    asking = render(prompt, TWO)
    assert [(turn.role, turn.parts) for turn in asking.messages] == [
        ("system", ('\nYou name {animals}.\nSay "none" else.\n',)),
        ("user", ("Is this {a} cat?",)),
        ("assistant", ("cat\n",)),
        ("system", ("be brief",)),
        ("user", (Shown(None),)),
    ]
    assert (asking.temperature, asking.most_tokens, asking.seed) == (0.25, 12, 7)
    assert asking.made["notes"] == (*prompt.notes, "1 of 2 classes are not named in it: dog")


def test_it_is_known_by_its_name_or_by_its_first_line(tmp_path: Path) -> None:
    for name in ("Modelfile", "modelfile.chess", "chess.Modelfile"):
        assert looks_like_one(name, "")
    assert looks_like_one("prompt.txt", "\n# c\nfrom llava\n")
    assert not looks_like_one("prompt.toml", "system = 'x'") and not looks_like_one("prompt.txt", "question = 'x'")
    assert not looks_like_one("x.toml", "FROM llava") and not looks_like_one("x", "FROMAGE is French")
    assert read_prompt(write(tmp_path, "\ufeffFROM x\nSYSTEM hi", "any.txt")).system == "hi"


def test_a_model_may_bring_its_own_system_message(tmp_path: Path) -> None:
    prompt = read_prompt(write(tmp_path, "FROM animals"))
    assert render(prompt, TWO).messages[0].parts == (Shown(None),) and prompt.question == ""


def test_places_are_not_filled_in_a_modelfile(tmp_path: Path) -> None:
    prompt = read_prompt(write(tmp_path, 'FROM x\nSYSTEM one of {classes}, as {"a": 1}'))
    assert "letter for letter" in prompt.notes[0]
    assert render(prompt, TWO).messages[0].parts == ('one of {classes}, as {"a": 1}',)


def test_an_answer_without_end_stays_bounded() -> None:
    values = read("FROM x\nPARAMETER num_predict -1", "it")
    assert "most_tokens" not in values and "stay bounded" in values["notes"][0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SYSTEM hi", "no FROM"),
        ("FROM x\nSYSTM hi", "Did you mean SYSTEM?"),
        ("FROM x\nSYSTEM", "with a value"),
        ('FROM x\nSYSTEM """never', "never closed"),
        ('FROM x\nSYSTEM "never\nmore', "never closed"),
        ("FROM x\nMESSAGE robot hi", "nobody's turn"),
        ("FROM x\nPARAMETER temperature hot", "no number"),
        ("FROM x\nPARAMETER seed 1.5", "no whole number"),
        ("FROM x\nPARAMETER temperature nan", "temperature"),
        ("FROM x\nPARAMETER temperature -1", "temperature"),
    ],
)
def test_what_ollama_would_refuse_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        read_prompt(write(tmp_path, text))
    assert told in str(caught.value) and "Modelfile" in caught.value.given
