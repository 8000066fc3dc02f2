"""What is recommended can be had under its name, and has the size that is told."""

from __future__ import annotations

import pytest
import torch

from fieldguide.craft import encoders
from fieldguide.craft.encoders import open_clip_files
from fieldguide.craft.encoders.recommended import RECOMMENDED, matching, names
from fieldguide.errors import UsageProblem

LISTED = [one for one in RECOMMENDED if "@" in one.name]


def test_names_are_found_by_their_last_part_and_offered_for_what_is_misspelt() -> None:
    assert len(set(names())) == len(names()) and names()[0] == encoders.DRAWN
    assert [one.name for one in matching("*clip-vit*32")] == ["hf/openai/clip-vit-base-patch32"]
    assert {one.name for one in matching("PE-*")} == {one.name for one in RECOMMENDED if "/PE-" in one.name}
    with pytest.raises(UsageProblem) as caught:
        encoders.check("clip-vit-base-patch32", online=False)
    assert "hf/openai/clip-vit-base-patch32" in caught.value.allowed


def test_open_clip_lists_them_with_the_activation_of_their_weights() -> None:
    open_clip = pytest.importorskip("open_clip", exc_type=ImportError)
    for one in LISTED:
        name, _, tag = one.name.removeprefix("open_clip/").rpartition("@")
        published = open_clip.pretrained.get_pretrained_cfg(name, tag)
        open_clip_files._require_activation(name, tag, open_clip.get_model_config(name), published)
        assert published["hf_hub"]


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("one", LISTED, ids=lambda one: one.name)
def test_sizes_are_those_of_the_configuration(one: object) -> None:
    open_clip = pytest.importorskip("open_clip", exc_type=ImportError)
    assert isinstance(one, type(LISTED[0]))
    config = open_clip.get_model_config(one.name.removeprefix("open_clip/").rpartition("@")[0])
    kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    with torch.device("meta"):
        model = kind(**config)
    assert one.millions == round(sum(p.numel() for p in model.parameters()) / 1e6, 1)
    assert one.size == model.visual.image_size[0]
