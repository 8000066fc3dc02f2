"""Networks as they were published: every tensor of the file, the head's too, and the names of their classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from tests.craft.zoo.asked import Asked, folder
from torchvision import models

from fieldguide.craft.zoo.own import own
from fieldguide.errors import DataProblem, UsageProblem
from fieldguide.families import backbone, parse, vmamba


def saved(network: Any, path: Path) -> str:
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return str(path)


def test_timm_with_its_own_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=7).eval()
    found = own(Asked("test_resnet", saved(network, tmp_path / "w.safetensors")), False)
    pixels = torch.randn(2, 3, 64, 64)
    assert torch.equal(found.network(pixels), network(pixels))
    assert found.labels == tuple(f"class {number}" for number in range(7))


def test_torchvision_with_its_own_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = models.resnet18(num_classes=5).eval()
    found = own(Asked("torchvision/resnet18", saved(network, tmp_path / "w.safetensors")), False)
    pixels = torch.randn(1, 3, 64, 64)
    assert torch.equal(found.network(pixels), network(pixels)) and len(found.labels) == 5


def test_transformers_with_its_own_head_and_names(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTImageProcessor

    names = {0: "toilet seat", 1: "washer", 2: "Egyptian cat"}
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = ViTConfig(**small, image_size=32, patch_size=8, id2label=names, label2id={name: at for at, name in names.items()})
    network = folder(tmp_path / "vit", config, ViTImageProcessor(size={"height": 32, "width": 32}))
    found = own(Asked(f"hf/{tmp_path / 'vit'}", "hub"), False)
    pixels = torch.randn(2, 3, 32, 32)
    assert torch.allclose(found.network(pixels), network(pixels).logits, atol=1e-6)
    assert found.labels == ("toilet seat", "washer", "Egyptian cat")


def test_the_imagenet_names_stand_beside_published_weights_alone() -> None:
    from fieldguide.craft.zoo import of_timm

    # Names are taken from timm where the weights are its own, which a file on this machine may not be.
    assert of_timm.names_of(timm.create_model("test_resnet", num_classes=1000))[281].startswith("tabby")
    assert of_timm.names_of(timm.create_model("test_resnet", num_classes=12)) == []


def test_without_weights_or_without_a_head_there_is_nothing_to_explain(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="has learned nothing"):
        own(Asked("test_resnet"), False)
    network = timm.create_model("test_resnet", num_classes=0)
    with pytest.raises(DataProblem, match="has no head"):
        own(Asked("test_resnet", saved(network, tmp_path / "w.safetensors")), False)


def test_the_rooms_hand_them_out_ready_to_answer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = saved(timm.create_model("test_resnet", num_classes=7), tmp_path / "w.safetensors")
    fitted = backbone.untuned(parse(f"test_resnet:weights={path},image_size=32").settings, False)
    assert len(fitted.ids) == 7 and fitted.sight().preprocessing.size == 32
    from fieldguide.craft.vmamba_net import Shape, VMamba

    network = VMamba(Shape((1, 1, 1, 1), 8, classes=6)).eval()
    path = saved(network, tmp_path / "v.safetensors")
    fitted = vmamba.untuned(parse(f"vmamba:weights={path},image_size=32").settings, False)
    pixels = torch.randn(1, 3, 32, 32)
    assert torch.allclose(fitted.sight().logits(pixels), network(pixels), atol=1e-6) and fitted.ids[5] == "class 5"
    with pytest.raises(UsageProblem, match="has learned nothing"):
        vmamba.untuned(parse("vmamba:depths=1+1+1+1,dim=8").settings, False)
