"""The tiny transformer is a folder as Hugging Face writes one, the same every time."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_it_is_written_once_loads_strictly_and_leaves_chance_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    from fieldguide.craft.tiny_vit import BLOCKS, write_vit

    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, two = write_vit(tmp_path / "one"), write_vit(tmp_path / "two")
    assert torch.equal(before, torch.get_rng_state())
    assert capsys.readouterr().err == "", "no bars of the library"
    tensors = load_file(one / "model.safetensors")
    again = load_file(two / "model.safetensors")
    assert all(torch.equal(tensors[name], again[name]) for name in tensors)
    network = AutoModelForImageClassification.from_pretrained(one, local_files_only=True)
    assert network.config.num_hidden_layers == BLOCKS
    assert network(torch.zeros(2, 3, 32, 32)).logits.shape == (2, 5)
    assert dict(AutoImageProcessor.from_pretrained(one, local_files_only=True).size) == {"height": 32, "width": 32}
    (one / "config.json").write_text("{}")
    assert (write_vit(one) / "config.json").read_text() == "{}", "what is there is kept"
