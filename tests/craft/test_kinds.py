"""What mixes positions in a network, told by its structure."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fieldguide.craft.defaults import DEFAULTS, default, kind_of
from fieldguide.craft.vmamba_net import Shape, VMamba

NETWORKS = {
    "test_resnet": "convolution",
    "test_efficientnet": "convolution",
    "test_vit": "attention",
    "swin_tiny_patch4_window7_224": "attention",
    "mobilevit_xxs": "attention",
    "skresnet18": "convolution",  # a gate called attention
    "repvgg_a0": "convolution",  # attention that is an identity
    "resnet50_clip": "convolution",  # attention that only pools
    "resmlp_12_224": "mixing",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_timm(name: str) -> None:
    import timm

    with torch.device("meta"):
        network = timm.create_model(name, num_classes=3)
    assert kind_of(network) == NETWORKS[name]


def test_networks_of_others() -> None:
    from torchvision.models import get_model

    with torch.device("meta"):
        assert kind_of(get_model("swin_v2_t", weights=None)) == "attention"
        assert kind_of(get_model("vit_b_16", weights=None)) == "attention"
        assert kind_of(get_model("mobilenet_v3_small", weights=None)) == "convolution"
        assert kind_of(VMamba(Shape((1, 1, 1, 1), 8, 1))) == "state space"


def test_every_kind_has_defaults() -> None:
    kinds = {kind for kind, _ in DEFAULTS}
    assert all((kind, start) in DEFAULTS for kind in kinds for start in ("scratch", "weights", "head"))
    assert default(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), from_weights=False, train="all").rate > 0
