"""What networks are made of: stem, blocks, neck and head of three libraries and of VMamba, and what is trained of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import nn

from fieldguide.craft import anatomy as anatomies
from fieldguide.craft import zoo
from fieldguide.craft.anatomy import Anatomy, anatomy, depth_of, freeze
from fieldguide.craft.vmamba_net import Shape, VMamba
from fieldguide.errors import UsageProblem


def of_timm(name: str) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(name, num_classes=3)


def of_torchvision(name: str, **arguments: Any) -> nn.Module:
    with torch.device("meta"):
        return zoo.create({"library": "torchvision", "model": name, "classes": 3, "arguments": arguments})


def of_transformers(kind: str, **values: Any) -> nn.Module:
    with torch.device("meta"):
        return zoo.create(
            {"library": "transformers", "model": kind, "classes": 3, "arguments": {}, "config": {"model_type": kind, **values}}
        )


def vmamba() -> nn.Module:
    return VMamba(Shape((1, 2, 1, 1), 8, 2.0, classes=3))


VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 32,
    "patch_size": 16,
}
LONG = {**VIT, "num_hidden_layers": 12}

#: Network; modules of its blocks; a name that is in the stem, in the neck (if it has one), and in the head.
CASES: dict[str, tuple[Callable[[], nn.Module], list[str | None], str, str | None, str]] = {
    "timm resnet": (lambda: of_timm("test_resnet"), [f"layer{n}" for n in (1, 2, 3, 4)], "bn1.weight", None, "fc.bias"),
    "timm vit": (lambda: of_timm("test_vit"), [f"blocks.{n}" for n in range(6)], "pos_embed", "norm.weight", "head.bias"),
    "timm convnext": (
        lambda: of_timm("test_convnext"),
        [f"stages.{n}" for n in range(4)],
        "stem.0.weight",
        "head.norm.weight",
        "head.fc.bias",
    ),
    "timm efficientnet": (
        lambda: of_timm("test_efficientnet"),
        [f"blocks.{n}" for n in range(5)],
        "conv_stem.weight",
        "conv_head.weight",
        "classifier.bias",
    ),
    "timm inception": (lambda: of_timm("inception_v3"), [None] * 3, "Conv2d_1a_3x3.conv.weight", None, "fc.bias"),
    "vmamba": (
        vmamba,
        ["layers.0", "layers.1.blocks.0", "layers.1.blocks.1", "layers.2", "layers.3"],
        "patch_embed.0.weight",
        "classifier.norm.weight",
        "classifier.head.bias",
    ),
    "torchvision resnext": (
        lambda: of_torchvision("resnext50_32x4d"),
        [f"network.layer{n}" for n in (1, 2, 3, 4)],
        "network.conv1.weight",
        None,
        "network.fc.bias",
    ),
    "torchvision densenet": (
        lambda: of_torchvision("densenet121"),
        [f"network.features.denseblock{n}" for n in (1, 2, 3, 4)],
        "network.features.conv0.weight",
        "network.features.norm5.weight",
        "network.classifier.bias",
    ),
    "torchvision swin": (
        lambda: of_torchvision("swin_v2_t"),
        [f"network.features.{n}" for n in (1, 3, 5, 7)],
        "network.features.0.0.weight",
        "network.norm.weight",
        "network.head.bias",
    ),
    "torchvision mobilenet": (
        lambda: of_torchvision("mobilenet_v3_large"),
        [f"network.features.{n}" for n in range(1, 16)],
        "network.features.0.0.weight",
        "network.classifier.0.weight",
        "network.classifier.3.bias",
    ),
    "torchvision efficientnet": (
        lambda: of_torchvision("efficientnet_b4"),
        [f"network.features.{n}" for n in range(1, 8)],
        "network.features.0.0.weight",
        "network.features.8.0.weight",
        "network.classifier.1.bias",
    ),
    "torchvision vit": (
        lambda: of_torchvision("vit_b_16", image_size=32),
        [f"network.encoder.layers.encoder_layer_{n}" for n in range(12)],
        "network.encoder.pos_embedding",
        "network.encoder.ln.weight",
        "network.heads.head.bias",
    ),
    "hf vit": (
        lambda: of_transformers("vit", **VIT),
        [f"network.vit.layers.{n}" for n in range(3)],
        "network.vit.embeddings.cls_token",
        "network.vit.layernorm.weight",
        "network.classifier.bias",
    ),
    "hf swinv2": (
        lambda: of_transformers("swinv2", embed_dim=8, depths=[1, 1], num_heads=[2, 2], image_size=32, window_size=4),
        [f"network.swinv2.encoder.layers.{n}" for n in range(2)],
        "network.swinv2.embeddings.norm.weight",
        "network.swinv2.layernorm.weight",
        "network.classifier.bias",
    ),
    "hf convnext": (
        lambda: of_transformers("convnext", hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1]),
        [f"network.convnext.encoder.stages.{n}" for n in range(4)],
        "network.convnext.embeddings.layernorm.weight",
        "network.convnext.layernorm.weight",
        "network.classifier.bias",
    ),
    "hf resnet": (
        lambda: of_transformers("resnet", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"),
        [f"network.resnet.encoder.stages.{n}" for n in range(2)],
        "network.resnet.embedder.embedder.convolution.weight",
        None,
        "network.classifier.1.bias",
    ),
}


def names_of(whole: Anatomy) -> list[str]:
    return [name for part in whole.parts for name in part.parameters]


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_is_in_one_part(case: str) -> None:
    make, modules, stem, neck, head = CASES[case]
    network = make()
    whole = anatomy(network)
    assert sorted(names_of(whole)) == sorted(name for name, _ in network.named_parameters())
    assert [block.module for block in whole.blocks] == modules
    assert stem in whole.stem.parameters and head in whole.head.parameters
    assert (neck in whole.neck.parameters) if neck else not whole.neck.parameters
    assert [block.name for block in whole.blocks] == [f"block {at}" for at in range(len(modules))]
    for block in whole.blocks:
        if block.module:
            inside = {f"{block.module}.{name}" for name, _ in network.get_submodule(block.module).named_parameters()}
            assert inside and inside <= block.parameters
        assert block.entry is not None
        network.get_submodule(block.entry)


def test_convolutions_are_counted_by_their_poolings() -> None:
    whole = anatomy(of_torchvision("vgg16"))
    assert [len(block.parameters) // 2 for block in whole.blocks] == [2, 2, 3, 3, 3]
    assert [block.entry for block in whole.blocks] == [f"network.features.{n}" for n in (0, 5, 10, 17, 24)]
    assert {name.split(".")[2] for name in whole.neck.parameters} == {"0", "3"}, "two wide layers before the logits"
    assert whole.head.parameters == {"network.classifier.6.weight", "network.classifier.6.bias"}


def test_glue_between_blocks_has_a_place() -> None:
    swin = anatomy(of_torchvision("swin_t")).blocks
    assert swin[1].entry == "network.features.2" and swin[1].module == "network.features.3"
    dense = anatomy(of_torchvision("densenet121")).blocks
    assert "network.features.transition1.conv.weight" in dense[0].parameters
    assert "layers.1.downsample.1.weight" in anatomy(vmamba()).blocks[2].parameters


def trained(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("case", CASES)
def test_what_is_trained_is_what_was_asked_for(case: str) -> None:
    network = CASES[case][0]()
    whole = anatomy(network)
    last = len(whole.blocks) - 1
    top = whole.head.parameters | whole.neck.parameters
    for words, expected in {
        "head": whole.head.parameters,
        "last-1": top | whole.blocks[-1].parameters,
        f"last-{last + 1}": top.union(*(block.parameters for block in whole.blocks)),
        "blocks:0": whole.head.parameters | whole.blocks[0].parameters,
        f"blocks:{last}": top | whole.blocks[-1].parameters,
        f"blocks:0-{last}": top.union(*(block.parameters for block in whole.blocks)),
        "all": set(names_of(whole)),
    }.items():
        counts = freeze(network, words)
        assert trained(network) == expected, words
        sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
        assert sum(count.trained for count in counts) == sum(sizes[name] for name in expected)
        assert sum(count.total for count in counts) == sum(sizes.values())
        assert all(0 <= count.trained <= count.total for count in counts)
    assert counts[0].part == "stem" and counts[-1].part == "head"
    assert all(count.trained == count.total for count in counts)


@pytest.mark.parametrize("make", [lambda: of_transformers("vit", **LONG), lambda: of_torchvision("vit_b_16", image_size=32)])
def test_blocks_ten_and_eleven_of_a_vit(make: Callable[[], nn.Module]) -> None:
    network = make()
    counts = {count.part: count for count in freeze(network, "blocks:10-11")}
    assert [name for name, count in counts.items() if count.trained] == ["block 10", "block 11", "neck", "head"]
    freeze(network, "last-2")
    before = trained(network)
    freeze(network, "blocks:10-11")
    assert trained(network) == before


@pytest.mark.parametrize("words", ["last-5", "blocks:4", "blocks:0-4", "blocks:2-1", "last-0", "blocks:-1", "tail"])
def test_what_is_not_there_is_refused_with_the_range(words: str) -> None:
    with pytest.raises(UsageProblem, match="this network has 4 blocks") as caught:
        freeze(of_timm("test_resnet"), words)
    assert caught.value.allowed == "Allowed: all, head, last-1 to last-4, or blocks:I-J with I and J from 0 to 3."
    assert caught.value.next == "For example train=last-2"


def test_a_network_without_blocks_trains_whole_or_its_head() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    network.pretrained_cfg = {"classifier": "1"}  # type: ignore[assignment]
    assert anatomy(network).blocks == ()
    assert [count.part for count in freeze(network, "head")] == ["head"]
    with pytest.raises(UsageProblem, match="has 0 blocks") as caught:
        freeze(network, "last-1")
    assert (caught.value.allowed, caught.value.next) == ("Allowed: all, head.", "For example train=head")


@pytest.mark.parametrize("case", CASES)
def test_depth_grows_from_the_stem_to_the_head(case: str) -> None:
    network = CASES[case][0]()
    whole, depth = anatomy(network), depth_of(network)
    assert set(depth) == {name for name, _ in network.named_parameters()}
    assert {depth[name] for name in whole.stem.parameters} <= {0}
    for at, block in enumerate(whole.blocks):
        assert {depth[name] for name in block.parameters} == {at + 1}
    assert {depth[name] for name in whole.head.parameters | whole.neck.parameters} == {len(whole.blocks) + 1}


def test_a_matcher_that_is_a_function_is_passed_over() -> None:
    network = of_timm("inception_v3")
    assert callable(network.group_matcher(coarse=True))  # type: ignore[operator]
    assert len(anatomies.anatomy(network).blocks) == 3
