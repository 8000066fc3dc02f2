"""Adapters on disk: peft reads them, other weights are refused, damage is told."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.craft.chat.asking import asking
from tests.craft.tuning.taught import student, wanted

from fieldguide.craft.chat.tiny import write_chat
from fieldguide.craft.tuning import Tuning, keeping
from fieldguide.craft.tuning.adapters import Student
from fieldguide.errors import DataProblem


@pytest.fixture
def learned(tiny_chats: Path) -> Student:
    made = student(tiny_chats, tuning=Tuning(rank=4, alpha=16, stabilised=True))
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in made.trained().values():
            tensor.add_(torch.randn(tensor.shape, generator=draw) * 0.03)
    return made


def saved(made: Student, folder: Path) -> Path:
    folder.mkdir()
    keeping.save(made, keeping.Told(asking(), (("cat", "Cat"),), {"weight": torch.ones(2)}), folder)
    return folder


def test_it_names_its_base_prompt_and_classes_and_peft_reads_it(learned: Student, tiny_chats: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from tests.craft.tuning.taught import logits
    from transformers import AutoModelForImageTextToText

    folder = saved(learned, tmp_path / "adapter")
    told = json.loads((folder / "tuned.json").read_text("utf-8"))
    assert told["base"]["revision"] == learned.base
    assert told["prompt"]["hash"] == asking().hash
    assert told["classes"] == [["cat", "Cat"]]
    assert not list(folder.glob("*.bin")) and {path.name for path in folder.iterdir()} == {
        "tuned.json",
        "adapter_model.safetensors",
        "adapter_config.json",
        "head.safetensors",
    }
    base = AutoModelForImageTextToText.from_pretrained(tiny_chats / "idefics3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft still asks transformers by a name that is going
        theirs = PeftModel.from_pretrained(base, folder).eval()
    expected = logits(learned.network, learned.chat)
    assert torch.allclose(logits(theirs, learned.chat), expected, atol=1e-5)
    again, kept = keeping.load(folder, wanted(tiny_chats))
    assert torch.equal(logits(again.network, again.chat), expected)
    assert kept.head is not None and torch.equal(kept.head["weight"], torch.ones(2))


def test_other_base_weights_are_refused(learned: Student, tiny_chats: Path, tmp_path: Path) -> None:
    folder = saved(learned, tmp_path / "adapter")
    other = write_chat(tmp_path / "other", "idefics3", seed=5)
    told = json.loads((folder / "tuned.json").read_text("utf-8"))
    told["base"]["model"] = f"hf/{other}"
    (folder / "tuned.json").write_text(json.dumps(told), "utf-8")
    with pytest.raises(DataProblem, match="are not those that the adapter was trained on"):
        keeping.load(folder, wanted(tiny_chats))


@pytest.mark.parametrize("how", ["missing", "odd", "shape"])
def test_an_adapter_that_does_not_fit_is_refused(learned: Student, tiny_chats: Path, tmp_path: Path, how: str) -> None:
    folder = saved(learned, tmp_path / "adapter")
    tensors = load_file(folder / "adapter_model.safetensors")
    first = sorted(tensors)[0]
    if how == "missing":
        del tensors[first]
    elif how == "odd":
        tensors["odd"] = torch.ones(1)
    else:
        tensors[first] = torch.ones(3, 3)
    save_file(tensors, folder / "adapter_model.safetensors")
    with pytest.raises(DataProblem, match="does not fit"):
        keeping.load(folder, wanted(tiny_chats))


def test_a_merged_model_is_one_to_ask_and_to_tune_again(learned: Student, tiny_chats: Path, tmp_path: Path) -> None:
    from tests.craft.tuning.taught import logits

    from fieldguide.craft.chat import Wanted
    from fieldguide.craft.chat.local import open_local

    expected = logits(learned.network, learned.chat)
    target = keeping.merge(learned, tmp_path / "merged")
    chat = open_local(Wanted(f"hf/{target}"))
    assert torch.allclose(logits(chat.model, chat), expected, atol=1e-5)
    names = {path.name for path in target.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "generation_config.json"} <= names
