"""The door to language models that look: names that lead somewhere, and folders that are not whole, told in three breaths."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from fieldguide.craft.chat import Wanted
from fieldguide.craft.chat.opening import check_chat, open_chat
from fieldguide.errors import DataProblem, EnvironmentProblem, Problem, UsageProblem


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("drwan", "Did you mean drawn"),
        ("HuggingFaceTB/SmolVLM-256M-Instruct", "For example hf/HuggingFaceTB/SmolVLM-256M-Instruct"),
        ("served/", "Did you mean served/NAME"),
        ("olama/llava", "Did you mean ollama/NAME"),
        ("", "Allowed: drawn"),
    ],
)
def test_a_name_that_leads_nowhere(name: str, words: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        open_chat(Wanted(name))
    assert words in str(caught.value)


def test_a_folder_is_opened(tiny_chats: Path) -> None:
    chat = open_chat(Wanted(f"hf/{tiny_chats / 'idefics3'}"))
    assert chat.where is None
    assert (chat.facts["architecture"], chat.facts["licence"]) == ("idefics3", None)
    assert chat.facts["parameters"] > 100_000
    assert len(chat.revision) == 64


@pytest.fixture
def broken(tiny_chats: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_chats / "idefics3", tmp_path / "broken"))


def refused(folder: Path) -> Problem:
    with pytest.raises(Problem) as caught:
        open_chat(Wanted(f"hf/{folder}"))
    assert len(str(caught.value).splitlines()) == 3
    return caught.value


def test_another_weight_is_another_revision_and_a_card_states_its_licence(broken: Path) -> None:
    before = open_chat(Wanted(f"hf/{broken}"))
    (broken / "README.md").write_text("---\nlibrary_name: transformers\nlicense: apache-2.0\n---\n# Card\nlicense: mit\n")
    tensors = load_file(broken / "model.safetensors")
    save_file({**tensors, "lm_head.weight": tensors["lm_head.weight"] + 1}, broken / "model.safetensors", {"format": "pt"})
    after = open_chat(Wanted(f"hf/{broken}"))
    assert before.revision != after.revision
    assert after.facts["licence"] == "apache-2.0"


def test_a_folder_that_is_not_whole(broken: Path) -> None:
    tensors = load_file(broken / "model.safetensors")
    lost = next(name for name in tensors if "q_proj" in name)
    save_file(
        {name: tensor for name, tensor in tensors.items() if name != lost}, broken / "model.safetensors", {"format": "pt"}
    )
    assert f"{lost} is missing" in refused(broken).given
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    assert "pickled weights" in refused(broken).given


def test_no_chat_template_no_processor(broken: Path) -> None:
    (broken / "chat_template.jinja").unlink()
    assert "no chat template" in refused(broken).given
    for path in broken.glob("*processor*"):
        path.unlink()
    assert "processor" in refused(broken).given


def test_code_of_a_repository_is_not_run_and_other_networks_do_not_look(broken: Path) -> None:
    config = json.loads((broken / "config.json").read_text())
    own = {**config, "model_type": "moondream1", "auto_map": {"AutoConfig": "code.Config"}}
    (broken / "config.json").write_text(json.dumps(own))
    (broken / "code.py").write_text("raise SystemExit('was run')")
    assert "needs code of its own repository" in refused(broken).given
    (broken / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert "of which transformers has no language model that looks" in refused(broken).given


def test_a_name_of_the_hub_is_not_fetched_unasked(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="not on this machine"):
        check_chat("hf/nobody/nothing-of-this-name", online=False)
    with pytest.raises(UsageProblem, match="There is no network"):
        check_chat(f"hf/{tmp_path}", online=False)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataProblem):
        check_chat(f"hf/{tmp_path}", online=False)
