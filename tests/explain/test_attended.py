"""Attention as each library computes it: the same matrices, the same logits, and a network that is left as it was."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.craft.zoo.asked import quiet
from torch import Tensor, nn

with quiet():
    import timm
    from torchvision.models import VisionTransformer, resnet18
    from torchvision.models.swin_transformer import SwinTransformer
    from transformers import (
        AutoModelForImageClassification,
        BeitConfig,
        DeiTConfig,
        DeiTForImageClassification,
        DeiTForImageClassificationWithTeacher,
        Dinov2Config,
        Dinov2WithRegistersConfig,
        SiglipConfig,
        Swinv2Config,
        ViTConfig,
    )

from fieldguide.craft.sight import Sight
from fieldguide.craft.vmamba_net import Shape, VMamba
from fieldguide.craft.zoo.borrowed import Borrowed
from fieldguide.data.batches import Preprocessing
from fieldguide.errors import UsageProblem
from fieldguide.explain.attended import attended
from fieldguide.explain.attention import attention, attention_gradient, rollout
from fieldguide.explain.maps import NotApplicable, Target

METHODS = (attention, rollout, attention_gradient)
WHY = Target(0, 1)
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2, "num_classes": 3}
HF = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}


def of_timm(name: str, **asked: Any) -> nn.Module:
    return timm.create_model(name, **{**SMALL, **asked})


def of_transformers(config: Any, head: str = "classifier", kind: Any = None) -> nn.Module:
    config.num_labels = 3
    network = kind(config) if kind else AutoModelForImageClassification.from_config(config)
    return Borrowed(network, (head,), headless=False)


def of_torchvision(**asked: Any) -> nn.Module:
    shape = {"num_layers": 3, "num_heads": 2, "hidden_dim": 32, "mlp_dim": 48, "num_classes": 3}
    return Borrowed(VisionTransformer(image_size=32, patch_size=8, **shape, **asked), ("heads",), headless=False)


#: name -> how it is made, tokens before the patches, the tokens its answer is read from (`None`: the patches).
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, list[int] | None]] = {
    "timm test_vit": (lambda: timm.create_model("test_vit", img_size=32, patch_size=8, num_classes=3), 1, [0]),
    "timm vit": (lambda: of_timm("vit_tiny_patch16_224"), 1, [0]),
    "timm q/k norm": (lambda: of_timm("vit_tiny_patch16_224", qk_norm=True, init_values=0.1), 1, [0]),
    "timm distilled": (lambda: of_timm("deit_tiny_distilled_patch16_224"), 2, [0, 1]),
    "timm registers": (lambda: of_timm("vit_small_patch14_reg4_dinov2"), 5, [0]),
    "timm average": (lambda: of_timm("vit_tiny_patch16_224", class_token=False, global_pool="avg"), 0, None),
    "timm siglip": (lambda: of_timm("vit_base_patch16_siglip_224"), 0, None),
    "timm eva02": (lambda: of_timm("eva02_tiny_patch14_224"), 1, None),
    "timm dinov3": (lambda: of_timm("vit_small_patch16_dinov3"), 5, None),
    "timm beit": (lambda: of_timm("beit_base_patch16_224", init_values=0.1), 1, None),
    "timm cait": (lambda: of_timm("cait_xxs24_224", init_values=0.1), 0, None),
    "hf vit": (lambda: of_transformers(ViTConfig(**HF)), 1, [0]),
    "hf deit": (lambda: of_transformers(DeiTConfig(**HF), kind=DeiTForImageClassification), 2, [0]),
    "hf distilled": (
        lambda: of_transformers(DeiTConfig(**HF), "cls_classifier", DeiTForImageClassificationWithTeacher),
        2,
        [0, 1],
    ),
    "hf dinov2": (lambda: of_transformers(Dinov2Config(**HF)), 1, [0]),
    "hf registers": (lambda: of_transformers(Dinov2WithRegistersConfig(**HF, num_register_tokens=4)), 5, [0]),
    "hf beit": (lambda: of_transformers(BeitConfig(**HF, use_relative_position_bias=True)), 1, None),
    "hf siglip": (lambda: of_transformers(SiglipConfig(vision_config={**HF, "vision_use_head": False})), 0, None),
    "torchvision vit": (of_torchvision, 1, [0]),
}
EACH = pytest.mark.parametrize("name", NETWORKS)
#: One of each way in which attention is computed: fused by timm, with rotary positions, by transformers, by PyTorch's own layer.
ONE_EACH = pytest.mark.parametrize("name", ["timm vit", "timm eva02", "hf vit", "hf beit", "torchvision vit"])


@cache
def network(name: str) -> nn.Module:
    """Return a network with weights that are larger than at a start, so that attention is uneven and every token counts."""
    with torch.random.fork_rng(), warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        torch.manual_seed(1)
        made = NETWORKS[name][0]().eval()
        for one in made.parameters():
            nn.init.normal_(one, std=0.15) if one.ndim > 1 else one.data.add_(torch.randn_like(one) * 0.05)
    return made


def sight(name: str) -> Sight:
    return Sight(network(name), Preprocessing(32), ("a", "b", "c"))


def picture(height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def state(net: nn.Module) -> list[Any]:
    """Return all that a pass could have left behind: modes, flags, hooks, gradients, and the weights themselves."""
    seen: list[Any] = []
    for name, module in net.named_modules():
        plain = {key: value for key, value in vars(module).items() if isinstance(value, bool | int | float | str)}
        hooks = [len(vars(module)[key]) for key in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")]
        config = getattr(module, "config", None)
        seen.append((name, plain, hooks, getattr(config, "_attn_implementation", None), vars(module).get("forward")))
    seen += [(name, one.requires_grad, one.grad is None, one.sum().item()) for name, one in net.named_parameters()]
    return seen


@EACH
def test_shapes_rows_and_the_tokens_that_are_read(name: str) -> None:
    _, extra, readers = NETWORKS[name]
    seen = attended(sight(name), picture(), WHY, every=True)
    tokens = 16 + extra
    assert seen.grid == (4, 4)
    assert len(seen.matrices) == len(seen.gradients) == (6 if name == "timm test_vit" else 3)
    for paid in seen.matrices:
        assert paid.shape == (2, tokens, tokens)
        torch.testing.assert_close(paid.sum(-1), torch.ones(2, tokens))
        assert (paid > 0).all() and paid.std(-1).max() > 1e-3
    assert seen.readers.tolist() == (list(range(extra, tokens)) if readers is None else readers)


@EACH
def test_logits_do_not_change_and_nothing_is_left_behind(name: str) -> None:
    own = sight(name)
    before, held = own.logits(picture()), state(own.network)
    seen = attended(own, picture(), WHY, every=True)
    torch.testing.assert_close(seen.scores, before, rtol=0, atol=1e-5)
    assert before.std() > 1e-3
    assert state(own.network) == held
    assert torch.equal(own.logits(picture()), before)


@ONE_EACH
def test_nothing_is_left_behind_by_a_pass_that_fails(name: str) -> None:
    own = sight(name)
    before, held = own.logits(picture()), state(own.network)

    def fail(*_: Any) -> None:
        raise RuntimeError("in the middle of the pass")

    last = [module for module in own.network.modules() if isinstance(module, nn.LayerNorm)][-1]
    hook = last.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        attention_gradient(own, picture(), WHY)
    hook.remove()
    assert state(own.network) == held
    assert torch.equal(own.logits(picture()), before)
    probe = torch.randn(1, 2, 3, 4)
    assert torch.nn.functional.scaled_dot_product_attention(probe, probe, probe).grad_fn is None


@ONE_EACH
def test_frozen_weights_weights_of_inference_mode_and_callers_modes(name: str) -> None:
    own = sight(name)
    wanted = attention_gradient(own, picture(), WHY).values
    required = [one.requires_grad for one in own.network.parameters()]
    try:
        own.network.requires_grad_(False)
        with torch.inference_mode():
            found = attention_gradient(own, picture(), WHY).values
        np.testing.assert_array_equal(found, wanted)
        assert not any(one.requires_grad for one in own.network.parameters())
    finally:
        for one, was in zip(own.network.parameters(), required, strict=True):
            one.requires_grad_(was)
    with torch.inference_mode(), warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        other = NETWORKS[name][0]().eval()
        other.load_state_dict(own.network.state_dict())
        pixels = picture() + 0
    assert next(other.parameters()).is_inference() and pixels.is_inference()
    np.testing.assert_array_equal(attention_gradient(Sight(other, own.preprocessing, own.ids), pixels, WHY).values, wanted)
    assert next(other.parameters()).is_inference()


def _unfused(net: nn.Module) -> Iterator[nn.Module]:
    yield from (module for module in net.modules() if hasattr(module, "fused_attn") and hasattr(module, "attn_drop"))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith("timm")])
def test_timms_own_unfused_attention_is_the_same(name: str) -> None:
    own, found = sight(name), []
    seen = attended(own, picture(), WHY, every=True)
    modules = list(_unfused(own.network))
    hooks = [one.attn_drop.register_forward_pre_hook(lambda _, given: found.append(given[0][0].detach())) for one in modules]
    for one in modules:
        one.fused_attn = False
    try:
        own.logits(picture())
        again = attended(own, picture(), WHY, every=True)
    finally:
        for one, hook in zip(modules, hooks, strict=True):
            one.fused_attn = True
            hook.remove()
    square = [one for one in found[: len(seen.matrices)] if one.shape[-1] == one.shape[-2]]
    if name != "timm cait":  # whose heads are mixed between softmax and dropout
        torch.testing.assert_close(torch.stack(square), torch.stack(seen.matrices), rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.stack(again.matrices), torch.stack(seen.matrices), rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.stack(again.gradients), torch.stack(seen.gradients), rtol=1e-4, atol=1e-6)
    assert again.readers.tolist() == seen.readers.tolist()


@pytest.mark.parametrize("name", [name for name in NETWORKS if name.startswith("hf")])
def test_eager_attention_of_transformers_is_the_same(name: str) -> None:
    own = sight(name)
    inner: Any = own.network.network
    fused = attended(own, picture(), WHY, every=True)
    held = inner.config._attn_implementation
    inner.set_attn_implementation("eager")
    try:
        eager = attended(own, picture(), WHY, every=True)
        answer = inner(picture(), output_attentions=True)
    finally:
        inner.set_attn_implementation(held)
    told = torch.cat(answer.attentions).detach()
    for seen in (fused, eager):
        torch.testing.assert_close(torch.stack(seen.matrices), told, rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.stack(fused.gradients), torch.stack(eager.gradients), rtol=1e-4, atol=1e-6)


def test_torchvisions_layer_tells_the_same() -> None:
    own, found = sight("torchvision vit"), []

    def again(layer: Any, given: Any, _: Any) -> None:
        with torch.no_grad():
            found.append(nn.MultiheadAttention.forward(layer, *given, need_weights=True, average_attn_weights=False)[1][0])

    layers = [module for module in own.network.modules() if isinstance(module, nn.MultiheadAttention)]
    hooks = [layer.register_forward_hook(again) for layer in layers]
    own.logits(picture())
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(torch.stack(attended(own, picture(), WHY).matrices), torch.stack(found), rtol=0, atol=1e-6)


def test_the_gradient_is_the_slope_of_the_gap() -> None:
    """Twice the same: the derivative by the attention, and what a small change of that attention does to the gap."""
    net, pixels = network("timm vit"), picture()
    seen = attended(sight("timm vit"), pixels, WHY, every=True)
    module = next(iter(_unfused(net)))
    change = torch.randn(seen.matrices[0].shape, generator=torch.Generator().manual_seed(3))

    def gap(step: float) -> float:
        hook = module.attn_drop.register_forward_hook(lambda _, __, paid: paid + step * change.to(paid.dtype))
        try:
            with torch.no_grad():
                return float(WHY.gap(net(pixels.double())))
        finally:
            hook.remove()

    try:
        module.fused_attn = False
        net.double()
        slope = (gap(1e-5) - gap(-1e-5)) / 2e-5
    finally:
        module.fused_attn = True
        net.float()
    assert slope == pytest.approx(float((seen.gradients[0] * change).sum()), rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_any_size_and_pictures_that_are_not_square(method: Any, tmp_path: Path) -> None:
    with quiet():
        config = ViTConfig(**HF, num_labels=3)
        AutoModelForImageClassification.from_config(config).save_pretrained(tmp_path)
        read = AutoModelForImageClassification.from_pretrained(tmp_path)
    borrowed = Borrowed(read, ("classifier",), {"interpolate_pos_encoding": True}, headless=False).eval()
    flexible = of_timm("vit_tiny_patch16_224", dynamic_img_size=True).eval()
    rotary = of_timm("eva02_tiny_patch14_224", dynamic_img_size=True).eval()
    linear = timm.create_model("naflexvit_base_patch16_gap", embed_dim=32, depth=2, num_heads=2, num_classes=3).eval()
    for net, patch in ((borrowed, 8), (flexible, 8), (rotary, 8), (linear, 16)):
        own = Sight(net, Preprocessing(32), ("a", "b", "c"))
        for height, width in ((48, 48), (32, 64), (96, 48)):
            found = method(own, picture(height, width), WHY, None).values
            assert found.shape[1:] == (height // patch, width // patch)
            assert found.dtype == np.float32 and np.isfinite(found).all()


@contextmanager
def _made(seed: int = 0) -> Iterator[None]:
    with torch.random.fork_rng(), warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        yield


def of_swin(name: str) -> nn.Module:
    return timm.create_model(name, img_size=64, window_size=4, embed_dim=8, depths=(1, 1), num_heads=(2, 2), num_classes=3)


def of_mixer() -> nn.Module:
    return timm.create_model("mixer_s32_224", img_size=32, num_classes=3)


OTHERS: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
    "timm swin": (lambda: of_swin("swin_tiny_patch4_window7_224"), 64, "windowed"),
    "timm swinv2": (lambda: of_swin("swinv2_tiny_window8_256"), 64, "windowed"),
    "timm maxvit": (lambda: timm.create_model("maxvit_rmlp_pico_rw_256", img_size=64), 64, "windowed"),
    "timm xcit": (lambda: timm.create_model("xcit_nano_12_p16_224", depth=2), 64, "between 32 channels"),
    "timm pvt": (lambda: timm.create_model("pvt_v2_b0"), 64, "pooled"),
    "timm convit": (lambda: timm.create_model("convit_tiny", img_size=32), 32, "no one grid"),
    "timm parallel": (lambda: of_timm("vit_small_patch16_18x2_224"), 32, "more than one attention"),
    "timm efficientformer": (lambda: timm.create_model("efficientformer_l1"), 224, "1 of its 4 blocks"),
    "timm resnet": (lambda: timm.create_model("test_resnet"), 64, "no attention"),
    "timm mixer": (of_mixer, 32, "no attention"),
    "hf swinv2": (
        lambda: of_transformers(
            Swinv2Config(embed_dim=8, depths=[1, 1], num_heads=[2, 2], image_size=32, patch_size=4, window_size=4)
        ),
        32,
        "windowed",
    ),
    "torchvision swin": (
        lambda: SwinTransformer([4, 4], 8, [1, 1], [2, 2], [4, 4], num_classes=3),
        32,
        "windowed",
    ),
    "torchvision resnet": (lambda: resnet18(num_classes=3), 64, "no attention"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_say_what_they_are(name: str) -> None:
    make, size, why = OTHERS[name]
    with _made():
        own = Sight(make().eval(), Preprocessing(size), ("a", "b", "c"))
    for method in METHODS if size < 100 else METHODS[:1]:
        with pytest.raises(NotApplicable, match=why) as told:
            method(own, picture(size, size), WHY, None)
        assert told.value.instead == ("gradcam", "occlusion")


def test_a_vmamba_has_maps_of_its_own() -> None:
    own = Sight(VMamba(Shape((1, 1), 8, 1.0, 3)).eval(), Preprocessing(32), ("a", "b", "c"))
    with pytest.raises(NotApplicable, match="scan-attention or gradcam") as told:
        attention(own, picture(), WHY)
    assert told.value.instead == ("scan-attention", "gradcam", "occlusion")


@pytest.mark.parametrize("method", METHODS)
def test_a_block_that_is_not_there(method: Any) -> None:
    with pytest.raises(UsageProblem, match="Block 3 was asked for, but this network has 3"):
        method(sight("timm vit"), picture(), WHY, [3])


def test_a_head_of_zeros_reads_the_class_token() -> None:
    net = of_timm("vit_tiny_patch16_224").eval()
    nn.init.zeros_(net.head.weight)
    own = Sight(net, Preprocessing(32), ("a", "b", "c"))
    assert attended(own, picture(), WHY).readers.tolist() == [0]
    assert not attention_gradient(own, picture(), WHY).values.any()
    assert attention(own, picture(), WHY).values.any()
