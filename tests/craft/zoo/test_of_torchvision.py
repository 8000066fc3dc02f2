"""Networks of torchvision: their own preprocessing, their published files in the cache, and nothing loaded that does not fit."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.craft.zoo.asked import Asked, as_pillow, ours, scene
from torch import Tensor
from torchvision import models

from fieldguide.craft import zoo
from fieldguide.craft.zoo import of_torchvision
from fieldguide.craft.zoo.looks import share
from fieldguide.errors import DataProblem, EnvironmentProblem, UsageProblem

SMALL = "torchvision/mobilenet_v3_small"


def whole(name: str, **more: Any) -> torch.nn.Module:
    """Return torchvision's network with 1000 classes and random weights, every number of which matters."""
    torch.manual_seed(7)
    network = models.get_model(name, weights=None, **more)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(torch.randn(tensor.shape).abs() * 0.01)
    return network.eval()


def saved(path: Path, state: dict[str, Tensor]) -> str:
    torch.save(state, path)
    return str(path)


def test_names_are_told_apart() -> None:
    assert zoo.library_of("torchvision/swin_v2_t") == "torchvision"
    assert zoo.knows("torchvision/swin_v2_t") and zoo.knows("torchvision/resnext50_32x4d.imagenet1k_v1")
    assert not zoo.knows("torchvision/swin_v3") and not zoo.knows("torchvision/fcn_resnet50")
    zoo.require("torchvision/vgg16")
    with pytest.raises(UsageProblem, match="No library has a network called 'torchvision/swin_v2_x'") as wrong:
        zoo.require("torchvision/swin_v2_x")
    assert "torchvision/swin_v2_" in wrong.value.allowed and "hf/" in wrong.value.allowed


def test_a_tag_chooses_the_weights() -> None:
    entries = models.ResNet50_Weights
    assert of_torchvision.published("torchvision/resnet50") is entries.IMAGENET1K_V2
    assert of_torchvision.published("torchvision/resnet50.IMAGENET1K_V1") is entries.IMAGENET1K_V1
    assert of_torchvision.published("torchvision/resnet50.imagenet1k_v1") is entries.IMAGENET1K_V1
    assert zoo.planned(Asked("torchvision/resnet50.imagenet1k_v1", "hub")).resize == 256
    assert zoo.planned(Asked("torchvision/resnet50", "hub")).resize == 232
    with pytest.raises(UsageProblem, match="no weights 'v9'"):
        zoo.find_weights(Asked("torchvision/resnet50.v9", "hub"), online=False)


@pytest.mark.parametrize("name", ["swin_v2_t", "vgg16", "efficientnet_b4", "densenet121", "maxvit_t", "convnext_tiny"])
@pytest.mark.parametrize("shape", [(640, 427), (300, 500)])
def test_pictures_are_those_of_torchvisions_own_transform(held: Any, name: str, shape: tuple[int, int]) -> None:
    picture = scene(*shape)
    wanted = models.get_model_weights(name).DEFAULT.transforms()(as_pillow(picture))
    preprocessing = zoo.planned(Asked(f"torchvision/{name}", "hub"))
    assert preprocessing.resize == models.get_model_weights(name).DEFAULT.transforms().resize_size[0]
    seen = ours(held([picture])[0], preprocessing)
    assert seen.shape == wanted.shape
    # Our resizing works on bytes as Pillow's does; they round a step apart here and there.
    off = (seen - wanted).abs() * torch.tensor(preprocessing.std)[:, None, None] * 255
    assert float(off.mean()) < 0.5 and float(off.max()) <= 4


def test_every_pair_of_sizes_is_kept() -> None:
    for name in of_torchvision.names():
        for entry in models.get_model_weights(name):
            wanted = entry.transforms()
            crop, resize = wanted.crop_size[0], wanted.resize_size[0]
            assert int(crop / share(crop, resize)) == max(crop, resize), entry
    pairs = [(size, resize) for resize in range(1, 601) for size in range(1, resize + 1)]
    assert all(int(size / share(size, resize)) == resize for size, resize in pairs)
    assert any(int(size / (size / resize)) != resize for size, resize in pairs), "a plain division would do"


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5", "resnet18"])
def test_body_and_logits_are_torchvisions_own(tmp_path: Path, name: str) -> None:
    network = whole(name)
    asked = Asked(f"torchvision/{name}", saved(tmp_path / "w.pth", network.state_dict()), image_size=64)
    source = zoo.find_weights(asked, online=False)
    made, recipe = zoo.built(asked, source, 1000)
    heads = zoo.head_names(made)
    head = {key.removeprefix("network."): value for key, value in made.state_dict().items() if key.startswith(heads)}
    assert head and all(bool(value.any()) == (name == "squeezenet1_1" and "weight" in key) for key, value in head.items())
    made.load_state_dict({f"network.{key}": network.state_dict()[key] for key in head}, strict=False)
    pictures = torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        assert torch.equal(made.eval()(pictures), network(pictures))
        with torch.autocast("cpu", torch.bfloat16):
            assert made(pictures).shape == (2, 1000)
    again = zoo.create(json.loads(json.dumps(recipe)))
    again.load_state_dict(made.state_dict())
    with torch.inference_mode():
        assert torch.equal(again.eval()(pictures), made(pictures))


def edited(edit: Callable[[dict[str, Tensor]], object]) -> dict[str, Tensor]:
    state = dict(whole("mobilenet_v3_small").state_dict())
    edit(state)
    return state


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda s: s.pop("features.3.block.0.0.weight"), "features.3.block.0.0.weight is missing"),
        (lambda s: s.pop("classifier.0.bias"), "classifier.0.bias is missing"),
        (lambda s: s.update(extra=torch.zeros(1)), "extra is not part of the network"),
        (lambda s: s.update({"features.0.0.weight": torch.zeros(16, 3, 5, 5)}), "has shape (16, 3, 5, 5), not (16, 3, 3, 3)"),
        (lambda s: s.update({"features.X": s.pop("features.0.0.weight")}), "features.0.0.weight is missing"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, edit: Any, said: str) -> None:
    asked = Asked(SMALL, saved(tmp_path / "w.pth", edited(edit)), image_size=32)
    with pytest.raises(DataProblem, match=re.escape(said)):
        zoo.built(asked, zoo.find_weights(asked, online=False), 3)


def test_another_head_or_none_is_no_matter(tmp_path: Path) -> None:
    def without(state: dict[str, Tensor]) -> None:
        del state["classifier.3.weight"], state["classifier.3.bias"]

    asked = Asked(SMALL, saved(tmp_path / "w.pth", edited(without)), image_size=32)
    network, _ = zoo.built(asked, zoo.find_weights(asked, online=False), 3)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


def test_old_densenet_files_are_renamed(tmp_path: Path) -> None:
    network = whole("densenet121")
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert any(".norm.1.weight" in name for name in old)
    asked = Asked("torchvision/densenet121", saved(tmp_path / "w.pth", old), image_size=32)
    made, _ = zoo.built(asked, zoo.find_weights(asked, online=False), 3)
    body = {name.removeprefix("network."): tensor for name, tensor in made.state_dict().items() if "classifier" not in name}
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in body.items() if "num_batches" not in name)


def test_classifiers_of_the_training_on_imagenet_are_passed_over(tmp_path: Path) -> None:
    network = whole("googlenet", aux_logits=True, init_weights=False)
    asked = Asked("torchvision/googlenet", saved(tmp_path / "w.pth", network.state_dict()), image_size=64)
    made, recipe = zoo.built(asked, zoo.find_weights(asked, online=False), 3)
    assert made.train()(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
    assert recipe["arguments"] == {"aux_logits": False, "init_weights": False, "transform_input": True}


def test_a_vision_transformers_positions_are_resampled(tmp_path: Path) -> None:
    kind = models.VisionTransformer(image_size=64, patch_size=16, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=16)
    state = kind.state_dict()
    small = models.VisionTransformer(image_size=32, patch_size=16, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=16)
    source = SimpleNamespace(described="x")
    fitted = of_torchvision._regridded(small, dict(state), source)  # type: ignore[arg-type]
    assert fitted["encoder.pos_embedding"].shape == (1, 1 + 4, 16)
    assert torch.equal(fitted["encoder.pos_embedding"][:, :1], state["encoder.pos_embedding"][:, :1])
    assert zoo.recipe(Asked("torchvision/vit_b_16", image_size=96), None, 2)["arguments"] == {"image_size": 96}
    bad = {**state, "encoder.pos_embedding": torch.zeros(1, 12, 16)}
    with pytest.raises(DataProblem, match="cannot be resampled"):
        of_torchvision._regridded(small, bad, source)  # type: ignore[arg-type]


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageProblem, match="cannot be built"):
        zoo.create(zoo.recipe(Asked("torchvision/vit_b_16", image_size=100), None, 2))
    asked = Asked("torchvision/alexnet", image_size=32)
    with pytest.raises(UsageProblem, match="does not take pictures of 32 x 32"):
        zoo.built(asked, None, 2)
    with pytest.raises(UsageProblem, match="patch_size was asked for"):
        zoo.recipe(Asked(SMALL, patch_size=4), None, 2)


def test_published_weights_come_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    asked = Asked(SMALL, "hub", image_size=32)
    with pytest.raises(EnvironmentProblem, match="not on this machine"):
        zoo.find_weights(asked, online=False)
    (tmp_path / "checkpoints").mkdir()
    network = whole("mobilenet_v3_small")
    torch.save(network.state_dict(), tmp_path / "checkpoints" / "x.pth")
    content = (tmp_path / "checkpoints" / "x.pth").read_bytes()
    real = of_torchvision.published(SMALL)
    url = f"https://example.org/net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (tmp_path / "checkpoints" / url.rsplit("/", 1)[1]).write_bytes(content)
    entry = SimpleNamespace(url=url, transforms=real.transforms)
    monkeypatch.setattr(of_torchvision, "published", lambda name: entry)
    source = zoo.find_weights(asked, online=False)
    assert source is not None and source.described.startswith("hub: net-")
    made, _ = zoo.built(asked, source, 3)
    assert torch.equal(made.state_dict()["network.features.0.0.weight"], network.state_dict()["features.0.0.weight"])


def test_positions_and_tokens_have_no_decay() -> None:
    with torch.device("meta"):
        spared = zoo.create(zoo.recipe(Asked("torchvision/swin_v2_t"), None, 2)).no_weight_decay()  # type: ignore[operator]
    assert any(name.endswith("logit_scale") for name in spared)
    assert not any(name.endswith(("qkv.weight", "mlp.0.weight")) for name in spared)


def test_without_a_head_it_answers_with_features() -> None:
    network, _ = zoo.built(Asked(SMALL, image_size=32), None, 0)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 1024)


def test_a_new_head_can_learn_in_front_of_a_relu(tmp_path: Path) -> None:
    asked = Asked("torchvision/squeezenet1_1", saved(tmp_path / "w.pth", whole("squeezenet1_1").state_dict()), image_size=40)
    network, _ = zoo.built(asked, zoo.find_weights(asked, online=False), 3)
    network(torch.rand(2, 3, 40, 40)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.network.classifier.parameters())  # type: ignore[union-attr]
