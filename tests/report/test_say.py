"""Words of the report that stand by themselves."""

from __future__ import annotations

import pytest

from fieldguide.report import say


@pytest.mark.parametrize(
    "model, shown",
    [
        ("drawn", "drawn"),
        ("hf/openai/clip-vit-base-patch32", "hf/openai/clip-vit-base-patch32"),
        ("open_clip/ViT-B-32@openai", "open_clip/ViT-B-32@openai"),
        ("hf//home/me/models/clip", "hf/clip"),
        ("hf/~/models/clip", "hf/clip"),
        ("hf/../clip", "hf/clip"),
        (
            "mobilenetv2_100:weights=/home/me/birds.safetensors,pad_type=same",
            "mobilenetv2_100:weights=birds.safetensors,pad_type=same",
        ),
        ("/home/me/birds.safetensors", "birds.safetensors"),
    ],
)
def test_a_model_is_called_by_the_last_part_of_its_path(model: str, shown: str) -> None:
    assert say.pathless(model) == shown
