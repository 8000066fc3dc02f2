"""What is said before anything is trained: a licence that binds its user, and how much is trained in each part."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from tests.craft.tuning.taught import bench, lessons, teaching, wanted

from fieldguide.bench import Silent
from fieldguide.craft.chat.local import open_local
from fieldguide.craft.tuning.teaching import opened


class Heard(Silent):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_the_licence_of_llama_vision_is_said_before_training(tiny_chats: Path, tmp_path: Path) -> None:
    named = tmp_path / "Llama-3.2-11B-Vision-Instruct"
    named.symlink_to(tiny_chats / "mllama")
    heard = Heard()
    given = teaching(tiny_chats, "mllama", store="off")
    opened(
        replace(given, wanted=replace(wanted(tiny_chats, "mllama"), model=f"hf/{named}")),
        lessons(2)[0],
        bench(tmp_path / "scratch", progress=heard),
    )
    assert "European Union" in heard.lines[0] and heard.lines[1].startswith("Trained parameters: vision 0 of ")
    assert "(attention " in heard.lines[1] and ", mlp " in heard.lines[1]
    assert heard.lines[2].startswith("Loss: 100.0 % of its tokens stand on the answer (")


def test_the_licence_is_known_by_the_card_where_the_folder_is_called_otherwise(tiny_chats: Path, tmp_path: Path) -> None:
    folder = tmp_path / "seeing"
    shutil.copytree(tiny_chats / "mllama", folder)
    said = replace(wanted(tiny_chats, "mllama"), model=f"hf/{folder}")
    assert open_local(said).facts["notes"] == []
    (folder / "README.md").write_text("---\nlicense: llama3.2\n---\n", encoding="utf-8")
    assert "European Union" in open_local(said).facts["notes"][0]
