"""Tiny models of four architectures are folders as Hugging Face writes them, the same every time, and their answers depend on the picture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.craft.chat.asking import picture
from transformers import AutoModelForImageTextToText, AutoProcessor

from fieldguide.craft.chat.tiny import architectures, write_chat
from fieldguide.errors import UsageProblem


@pytest.mark.parametrize("architecture", architectures())
def test_it_loads_through_the_ordinary_calls_and_sees(tiny_chats: Path, architecture: str) -> None:
    folder = tiny_chats / architecture
    model, told = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    assert model.config.model_type == architecture
    content = [{"type": "image"}, {"type": "text", "text": "12 cats?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    logits = []
    for seed in range(2):
        made = processor(text=[text], images=[[Image.fromarray(picture(seed))]], return_tensors="pt", add_special_tokens=False)
        with torch.inference_mode():
            logits.append(model(**made).logits[0, -1])
    assert float((logits[0] - logits[1]).abs().max()) > 0.05, "two pictures, one answer"
    assert processor.tokenizer.tokenize("12") == ["1", "2"], "every digit alone"
    assert processor.tokenizer.padding_side == "left"


def test_it_is_the_same_twice_and_another_with_another_seed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = torch.get_rng_state()
    folders = [write_chat(tmp_path / name, seed=seed) for name, seed in (("one", 0), ("two", 0), ("three", 1))]
    assert torch.equal(before, torch.get_rng_state())
    assert capfd.readouterr() == ("", ""), "no bars of the library"
    one, two, three = (load_file(folder / "model.safetensors") for folder in folders)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], three[name]) for name in one)
    assert (folders[0] / "tokenizer.json").read_bytes() == (folders[1] / "tokenizer.json").read_bytes()
    (folders[0] / "config.json").write_text("{}")
    assert (write_chat(folders[0]) / "config.json").read_text() == "{}", "what is there is kept"


def test_an_unknown_architecture_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="Did you mean llava"):
        write_chat(tmp_path / "other", "lava")
    assert not (tmp_path / "other").exists()
