"""Class activation maps: every network of three libraries, the package grad-cam as an oracle, and a planted patch that is found."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
import transformers
from tests.explain.patches import train
from tests.explain.pointing import hits
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn
from torchvision.models.vgg import make_layers as vgg_layers

from fieldguide.craft.sight import Sight
from fieldguide.craft.vmamba_net import Shape, VMamba
from fieldguide.craft.zoo.borrowed import Borrowed
from fieldguide.data.batches import Preprocessing
from fieldguide.errors import UsageProblem
from fieldguide.explain import cam
from fieldguide.explain.cam import gradcam, scorecam
from fieldguide.explain.grids import places
from fieldguide.explain.maps import NotApplicable, Target

TARGET = Target(1, 3)


def vgg(norms: bool) -> Borrowed:
    network = torchvision.models.VGG(vgg_layers([8, "M", 16, "M", 24, "M", 32, "M"], norms), 4, init_weights=False)
    network.classifier = nn.Sequential(nn.Linear(32 * 49, 4))  # the library's own has a hundred million weights
    return Borrowed(network, ("classifier.0",), headless=False)


def hugging(kind: str, **more: Any) -> Borrowed:
    config = getattr(transformers, f"{kind}Config")(num_labels=4, **more)
    return Borrowed(getattr(transformers, f"{kind}ForImageClassification")(config), ("classifier",), headless=False)


_TOKENS = {"num_classes": 4, "img_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 2, "depth": 3}
_STAGES = {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
_HF_VIT = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
#: What builds a network, the size of its pictures, and the grid, module and axes that its default map is taken from.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, int, str, str]] = {
    "resnet": (lambda: timm.create_model("resnet10t", num_classes=4), 64, 2, "layer4", "b c h w"),
    "mobilenet": (lambda: timm.create_model("mobilenetv3_small_050", num_classes=4), 64, 2, "blocks.5", "b c h w"),
    "efficientnet": (lambda: timm.create_model("test_efficientnet", num_classes=4), 64, 2, "blocks.4", "b c h w"),
    "convnext": (lambda: timm.create_model("test_convnext", num_classes=4), 64, 2, "stages.3", "b c h w"),
    "densenet": (
        lambda: timm.create_model("densenet121", num_classes=4, growth_rate=8, block_config=(2, 2, 2, 2)),
        64,
        2,
        "features.denseblock4",
        "b c h w",
    ),
    "swin": (
        lambda: timm.create_model(
            "swin_tiny_patch4_window7_224",
            num_classes=4,
            img_size=64,
            window_size=4,
            depths=(1, 1, 2),
            embed_dim=16,
            num_heads=(1, 2, 2),
        ),
        64,
        4,
        "layers.2",
        "b h w c",
    ),
    "vit": (lambda: timm.create_model("vit_tiny_patch16_224", **_TOKENS), 32, 4, "blocks.1", "b n c"),
    "vit with registers": (
        lambda: timm.create_model("vit_tiny_patch16_224", reg_tokens=4, **_TOKENS),
        32,
        4,
        "blocks.1",
        "b n c",
    ),
    "vit of means": (
        lambda: timm.create_model("vit_tiny_patch16_224", global_pool="avg", class_token=False, fc_norm=True, **_TOKENS),
        32,
        4,
        "blocks.2",
        "b n c",
    ),
    "torchvision vgg": (lambda: vgg(norms=False), 64, 8, "network.features.10", "b c h w"),
    "torchvision vgg with norms": (lambda: vgg(norms=True), 64, 8, "network.features.14", "b c h w"),
    "torchvision densenet": (
        lambda: Borrowed(torchvision.models.DenseNet(8, (2, 2, 2, 2), 16, num_classes=4), ("classifier",), headless=False),
        64,
        2,
        "network.features.denseblock4",
        "b c h w",
    ),
    "torchvision swin": (
        lambda: Borrowed(
            torchvision.models.SwinTransformer([4, 4], 16, [1, 1, 2], [1, 2, 2], [4, 4], num_classes=4),
            ("head",),
            headless=False,
        ),
        64,
        4,
        "network.features.5",
        "b h w c",
    ),
    "torchvision resnext": (
        lambda: Borrowed(
            torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], 4, groups=4, width_per_group=4),
            ("fc",),
            headless=False,
        ),
        64,
        2,
        "network.layer4",
        "b c h w",
    ),
    "torchvision vit": (
        lambda: Borrowed(
            torchvision.models.VisionTransformer(32, 8, 3, 2, 16, 32, num_classes=4), ("heads.head",), headless=False
        ),
        32,
        4,
        "network.encoder.layers.encoder_layer_1",
        "b n c",
    ),
    "transformers resnet": (lambda: hugging("ResNet", **_STAGES), 64, 2, "network.resnet.encoder.stages.3", "b c h w"),
    "transformers convnext": (
        lambda: hugging("ConvNext", hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1]),
        64,
        2,
        "network.convnext.encoder.stages.3",
        "b c h w",
    ),
    "transformers swin": (
        lambda: hugging("Swin", image_size=64, embed_dim=8, depths=[1, 1, 2], num_heads=[1, 2, 2], window_size=4),
        64,
        4,
        "network.swin.encoder.layers.2",
        "b n c",
    ),
    "transformers vit": (lambda: hugging("ViT", **_HF_VIT), 32, 4, "network.vit.layers.1", "b n c"),
    "transformers deit": (lambda: hugging("DeiT", **_HF_VIT), 32, 4, "network.deit.layers.1", "b n c"),
    "transformers dinov2": (
        lambda: hugging(
            "Dinov2WithRegisters", image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=3, num_attention_heads=2
        ),
        32,
        4,
        "network.dinov2_with_registers.encoder.layer.2",
        "b n c",
    ),
    "vmamba": (lambda: VMamba(Shape((1, 2, 1, 1), 8, 1.0, classes=4)), 64, 2, "layers.3", "b h w c"),
}


def shaken(network: nn.Module) -> nn.Module:
    """Move every parameter, so that no layer starts as nothing; norms keep their statistics."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return network.eval()


def made(name: str) -> tuple[Sight, Tensor]:
    torch.manual_seed(7)
    build, size, *_ = NETWORKS[name]
    return Sight(shaken(build()), Preprocessing(size), ("a", "b", "c", "d")), torch.randn(1, 3, size, size)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_its_map_and_is_left_as_it_was(name: str) -> None:
    sight, pixels = made(name)
    _, _, grid, module, axes = NETWORKS[name]
    frozen = next(iter(sight.network.parameters()))
    frozen.requires_grad = False
    before = {key: tensor.clone() for key, tensor in sight.network.state_dict().items()}
    answer = sight.logits(pixels)
    (place,) = [place for place in places(sight.network, pixels) if place is not None and place.module == module]
    assert place.axes == axes
    maps = gradcam(sight, pixels, TARGET, [place.block])
    assert maps.values.shape == (1, grid, grid) and maps.values.dtype == np.float32
    assert np.isfinite(maps.values).all() and (maps.values >= 0).all()
    other = gradcam(sight, pixels, Target(3, 1), [place.block])
    assert float(maps.values.std()) > 0 or float(other.values.std()) > 0, "flat for both"
    own = gradcam(sight, pixels, TARGET, None)
    assert own.layers == maps.layers or min(own.values.shape[1:]) >= 4
    scored = scorecam(sight, pixels, TARGET, None, channels=8)
    assert scored.values.shape == (1, grid, grid) and np.isfinite(scored.values).all() and (scored.values >= 0).all()
    assert all(not one.training and not one._forward_hooks and not one._forward_pre_hooks for one in sight.network.modules())
    assert all(p.grad is None and p.requires_grad == (p is not frozen) for p in sight.network.parameters())
    assert all(torch.equal(tensor, before[key]) for key, tensor in sight.network.state_dict().items())
    assert torch.equal(sight.logits(pixels), answer)


@pytest.mark.parametrize(
    ("name", "block"), [("resnet", 2), ("swin", 2), ("torchvision vgg", 2), ("transformers swin", 2), ("vmamba", 3)]
)
def test_layers_are_brought_to_one_grid(name: str, block: int) -> None:
    sight, pixels = made(name)
    first, last = gradcam(sight, pixels, TARGET, [0]), gradcam(sight, pixels, TARGET, [block])
    both = gradcam(sight, pixels, TARGET, [0, block])
    assert both.layers == ("block 0", f"block {block}")
    np.testing.assert_allclose(both.values[0], first.values[0], rtol=1e-4, atol=1e-7)
    times = first.values.shape[1] // last.values.shape[1]
    assert times > 1
    np.testing.assert_allclose(both.values[1], last.values[0].repeat(times, 0).repeat(times, 1), rtol=1e-4, atol=1e-7)


def by_hand(network: nn.Module, module: nn.Module, pixels: Tensor, laid: Callable[[Tensor], Tensor]) -> Tensor:
    """Return Grad-CAM of a module, with the gradient taken by nudging nothing but what it puts out."""
    kept: list[Tensor] = []

    def swap(_: nn.Module, __: Any, output: Any) -> Any:
        kept.append((output[0] if isinstance(output, tuple) else output).detach().requires_grad_())
        return (kept[0], *output[1:]) if isinstance(output, tuple) else kept[0]

    handle = module.register_forward_hook(swap)
    gap = TARGET.gap(network(pixels)).sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(gap, kept)
    output, slope = laid(kept[0].detach())[0], laid(gradient)[0]
    return (slope.mean((0, 1)) * output).sum(-1).clamp(min=0)


@pytest.mark.parametrize(
    ("name", "block", "laid"),
    [
        ("resnet", 1, lambda x: x.permute(0, 2, 3, 1)),
        ("swin", 1, lambda x: x),
        ("vmamba", 1, lambda x: x),
        ("transformers swin", 0, lambda x: x.reshape(1, 8, 8, -1)),
        ("vit", 1, lambda x: x[:, 1:].reshape(1, 4, 4, -1)),
        ("vit with registers", 1, lambda x: x[:, 5:].reshape(1, 4, 4, -1)),
        ("vit of means", 2, lambda x: x.reshape(1, 4, 4, -1)),
        ("transformers deit", 1, lambda x: x[:, 2:].reshape(1, 4, 4, -1)),
    ],
)
def test_rows_and_columns_are_where_they_are(name: str, block: int, laid: Callable[[Tensor], Tensor]) -> None:
    sight, pixels = made(name)
    place = places(sight.network, pixels)[block]
    assert place is not None
    wanted = by_hand(sight.network, sight.network.get_submodule(place.module), pixels, laid)
    assert float(wanted.std()) > 0
    np.testing.assert_allclose(gradcam(sight, pixels, TARGET, [block]).values[0], wanted, rtol=1e-3, atol=1e-6)


# --- the oracle ------------------------------------------------------------------------------------------------------------------


def oracle(kind: str, sight: Sight, pixels: Tensor, module: str) -> np.ndarray:
    """Return the map ``"height width"`` of the package grad-cam, neither scaled nor resized."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # of what the package itself imports
        import pytorch_grad_cam

    network = sight.network
    method = getattr(pytorch_grad_cam, kind)(network, [network.get_submodule(module)])
    target = [lambda scores: TARGET.gap(scores[None])[0]]
    raw: list[np.ndarray] = []
    whole = method.get_cam_image
    method.get_cam_image = lambda *words: raw.append(whole(*words)) or raw[-1]
    try:  # and no `with`: its end swallows an IndexError
        method(input_tensor=pixels.clone(), targets=target)
    finally:
        method.activations_and_grads.release()
    network.zero_grad()
    assert len(raw) == 1
    return np.maximum(raw[0][0], 0)


@pytest.mark.slow(keep=2)
@pytest.mark.parametrize(("name", "block"), [("resnet", 1), ("resnet", 2), ("resnet", 3), ("mobilenet", 1), ("mobilenet", 5)])
def test_the_package_grad_cam_says_the_same(name: str, block: int) -> None:
    sight, pixels = made(name)
    place = places(sight.network, pixels)[block]
    assert place is not None
    for kind, mine in (
        ("GradCAM", gradcam(sight, pixels, TARGET, [block])),
        ("ScoreCAM", scorecam(sight, pixels, TARGET, [block], channels=None)),
    ):
        wanted, got = oracle(kind, sight, pixels, place.module), mine.values[0]
        assert wanted.std() > 0.01 * wanted.max() > 0, f"{kind}: a flat map is no evidence"
        np.testing.assert_allclose(got / got.max(), wanted / wanted.max(), atol=1e-4, err_msg=kind)
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4 * wanted.max(), err_msg=kind)


def test_fewer_channels_are_those_that_vary_most() -> None:
    sight, pixels = made("resnet")
    some = scorecam(sight, pixels, TARGET, [0], channels=5)
    assert scorecam(sight, pixels, TARGET, [0], channels=5, batch=2).values == pytest.approx(some.values, rel=1e-4)
    kept: list[Tensor] = []
    handle = sight.network.get_submodule("layer1").register_forward_hook(lambda module, given, output: kept.append(output))
    passes = []
    other = sight.network.register_forward_pre_hook(lambda module, given: passes.append(len(given[0])))
    scorecam(sight, pixels, TARGET, [0])
    handle.remove(), other.remove()
    assert sum(passes) == 2 + cam.CHANNELS == 2 + 64
    variances = kept[0][0].flatten(1).var(1)
    strongest = variances.argsort(descending=True)[:5]
    shown = kept[0][0][strongest]
    large = torch.nn.UpsamplingBilinear2d(size=pixels.shape[2:])(shown[:, None])
    masks = torch.stack([(one - one.min()) / (one.max() - one.min() + 1e-8) for one in large])
    with torch.no_grad():
        weights = TARGET.gap(sight.network(pixels * masks)).softmax(0)
    wanted = (weights[:, None, None] * shown).sum(0).clamp(min=0)
    np.testing.assert_allclose(some.values[0], wanted, rtol=1e-3, atol=1e-6)


# --- what does not fit -----------------------------------------------------------------------------------------------------------


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).relu()  # type: ignore[no-any-return]


class Flat(nn.Module):
    """A network whose blocks put out rows of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Layer(), Layer(), Layer())
        self.head = nn.Linear(12, 4)
        self.heads = ("head.",)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(x.flatten(1)))  # type: ignore[no-any-return]


def test_what_does_not_fit_is_said() -> None:
    sight = Sight(Flat().eval(), Preprocessing(2), ("a", "b", "c", "d"))
    for method in (gradcam, scorecam):
        with pytest.raises(NotApplicable, match="not applicable: no block of this network puts out a map; use occlusion"):
            method(sight, torch.randn(1, 3, 2, 2), TARGET)
        with pytest.raises(NotApplicable, match="block 1 does not lie over the picture"):
            method(sight, torch.randn(1, 3, 2, 2), TARGET, [1])
        with pytest.raises(UsageProblem, match="Block 3 was asked for"):
            method(sight, torch.randn(1, 3, 2, 2), TARGET, [3])


def test_axes_of_equal_length_are_told_by_another_block() -> None:
    """Eight rows, columns and channels at block 0: only the other blocks tell which is which."""
    torch.manual_seed(0)
    network = shaken(VMamba(Shape((2, 1, 1, 1), 8, 1.0, classes=4)))
    there = places(network, torch.randn(1, 3, 32, 32))
    assert [place and place.axes for place in there] == ["b h w c"] * 5


def test_a_class_token_alone_hangs_on_no_patch_of_the_last_block() -> None:
    sight, pixels = made("vit")
    assert gradcam(sight, pixels, TARGET).layers == ("block 1",)
    assert not gradcam(sight, pixels, TARGET, [2]).values.any()


# --- known answers ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def learned_cnn() -> nn.Module:
    torch.manual_seed(0)
    network = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3, channels=(16, 16, 24, 32))
    assert train(network) > 0.9
    return network


def test_the_planted_patch_is_found(learned_cnn: nn.Module) -> None:
    def fine(method: Any) -> Any:
        return lambda sight, pixels, target: method(sight, pixels, target, [0])

    assert hits(fine(gradcam), learned_cnn) >= 0.8
    assert hits(fine(scorecam), learned_cnn) >= 0.8
    assert hits(fine(gradcam), learned_cnn, lambda one: one.T) < 0.5
    assert hits(fine(gradcam), learned_cnn, lambda one: np.roll(one, 4, 1)) < 0.5
    assert hits(fine(gradcam), learned_cnn, swapped=True) < 0.5


def test_a_map_of_a_cell_or_two_gives_way_to_a_finer_one() -> None:
    network = timm.create_model("test_resnet", num_classes=3).eval()
    sight = Sight(network, Preprocessing(32), ("a", "b", "c"))
    maps = gradcam(sight, torch.randn(1, 3, 32, 32), Target(0, 1))
    assert min(maps.values.shape[1:]) >= 4 and maps.layers != ("block 3",)
    assert gradcam(sight, torch.randn(1, 3, 32, 32), Target(0, 1), [3]).layers == ("block 3",)
    large = gradcam(Sight(network, Preprocessing(128), ("a", "b", "c")), torch.randn(1, 3, 128, 128), Target(0, 1))
    assert large.layers == ("block 3",)
