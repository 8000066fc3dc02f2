"""Networks of transformers: folders and the hub's cache, each processor's own pictures, and nothing loaded that does not fit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.craft.zoo.asked import Asked, as_pillow, folder, ours, quiet, scene
from torch import Tensor

with quiet():
    from transformers import (
        BeitConfig,
        BitImageProcessor,
        ConvNextConfig,
        ConvNextImageProcessor,
        DeiTConfig,
        DeiTImageProcessor,
        Dinov2Config,
        EfficientNetImageProcessor,
        LevitImageProcessor,
        ResNetConfig,
        Swinv2Config,
        ViTConfig,
        ViTImageProcessor,
    )

from fieldguide.craft import zoo
from fieldguide.craft.zoo import of_transformers
from fieldguide.errors import DataProblem, EnvironmentProblem, Problem, UsageProblem
from fieldguide.families import backbone, parse

VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
KINDS: dict[str, Callable[[], Any]] = {
    "vit": lambda: ViTConfig(**VIT, num_labels=7),
    "deit": lambda: DeiTConfig(**VIT, num_labels=7),
    "beit": lambda: BeitConfig(**VIT, num_labels=7),
    "swinv2": lambda: Swinv2Config(
        embed_dim=8, depths=[1, 1], num_heads=[2, 2], image_size=32, patch_size=4, window_size=4, num_labels=7
    ),
    "convnext": lambda: ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], image_size=32, num_labels=7),
    "resnet": lambda: ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=7),
    "dinov2": lambda: Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8, num_labels=7
    ),
}
SQUARE = {"size": {"height": 32, "width": 32}}


def vit(path: Path) -> Any:
    return folder(path, KINDS["vit"](), ViTImageProcessor(**SQUARE))


def loaded(name: str, classes: int = 3, **asked: Any) -> tuple[torch.nn.Module, dict[str, Any]]:
    wanted = Asked(name, **{"weights": "hub", **asked})
    return zoo.built(wanted, zoo.find_weights(wanted, online=False), classes)


@pytest.mark.parametrize("kind", KINDS)
def test_body_and_logits_are_the_librarys_own(tmp_path: Path, kind: str) -> None:
    own = folder(tmp_path / "net", KINDS[kind](), ViTImageProcessor(**SQUARE))
    network, recipe = loaded(f"hf/{tmp_path}/net", classes=7)
    heads = zoo.head_names(network)
    state = network.state_dict()
    assert heads and not any(tensor.any() for name, tensor in state.items() if name.startswith(heads))
    wanted = {f"network.{name}": tensor for name, tensor in own.state_dict().items()}
    assert set(wanted) == set(state)
    assert all(torch.equal(state[name], wanted[name]) for name in state if not name.startswith(heads))
    network.load_state_dict(wanted)
    pictures = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        logits = network.eval()(pictures.to(memory_format=torch.channels_last))
        torch.testing.assert_close(logits, own(pictures).logits, rtol=1e-5, atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            assert network(pictures).shape == (2, 7)
    again = zoo.create(json.loads(json.dumps(recipe)))
    again.load_state_dict(wanted)
    with torch.inference_mode():
        assert torch.equal(again.eval()(pictures), network(pictures))
    assert str(tmp_path) not in json.dumps(recipe)


PROCESSORS = {
    "squash": (lambda: ViTImageProcessor(size={"height": 32, "width": 32}), (32, 32, True)),
    "crop": (lambda: BitImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}), (32, 40, False)),
    "squash and crop": (
        lambda: DeiTImageProcessor(size={"height": 40, "width": 40}, crop_size={"height": 32, "width": 32}),
        (32, 40, True),
    ),
    "convnext": (lambda: ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875), (32, 36, False)),
    "large convnext": (lambda: ConvNextImageProcessor(size={"shortest_edge": 384}), (384, 384, True)),
    "no normalising": (lambda: ViTImageProcessor(**SQUARE, do_normalize=False), (32, 32, True)),
    "other scale": (
        lambda: ViTImageProcessor(**SQUARE, rescale_factor=1 / 127.5, image_mean=[1.0] * 3, image_std=[1.0] * 3),
        (32, 32, True),
    ),
    "efficientnet": (lambda: EfficientNetImageProcessor(size={"height": 32, "width": 32}, resample=2), (32, 32, True)),
    "offset": (
        lambda: EfficientNetImageProcessor(
            **SQUARE, resample=2, rescale_offset=True, rescale_factor=1 / 127.5, include_top=False
        ),
        (32, 32, True),
    ),
    "levit": (
        lambda: LevitImageProcessor(size={"shortest_edge": 112}, crop_size={"height": 112, "width": 112}),
        (112, 128, False),
    ),
}


@pytest.mark.parametrize("kind", PROCESSORS)
@pytest.mark.parametrize("shape", [(90, 60), (64, 96)])
def test_pictures_are_those_of_the_processor(tmp_path: Path, held: Any, kind: str, shape: tuple[int, int]) -> None:
    make, (size, resize, squash) = PROCESSORS[kind]
    processor = make()
    folder(tmp_path, KINDS["vit"](), processor)
    preprocessing = zoo.planned(Asked(f"hf/{tmp_path}", "hub"))
    assert (preprocessing.size, preprocessing.resize, preprocessing.squash) == (size, resize, squash)
    picture = scene(*shape)
    wanted = processor(as_pillow(picture), return_tensors="pt")["pixel_values"][0]
    seen = ours(held([picture])[0], preprocessing)
    assert seen.shape == wanted.shape
    off = (seen - wanted).abs() * torch.tensor(preprocessing.std)[:, None, None] * 255
    assert float(off.mean()) < 0.5 and float(off.max()) <= 4


@pytest.mark.parametrize(
    ("old", "expected"),
    [
        ({"feature_extractor_type": "ViTFeatureExtractor", "size": 64, "resample": 3}, (64, 64, True, "bicubic")),
        ({"feature_extractor_type": "ViTFeatureExtractor", "size": 16, "resample": 0}, (16, 16, True, "nearest")),
        ({"do_normalize": True, "size": 48, "image_mean": [0.5] * 3}, (48, 48, True, "bilinear")),
        ({"feature_extractor_type": "ConvNextFeatureExtractor", "size": 64, "crop_pct": 0.5}, (64, 128, False, "bicubic")),
    ],
)
def test_old_files_of_processors_are_understood(tmp_path: Path, old: dict[str, Any], expected: tuple[Any, ...]) -> None:
    vit(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(old))
    found = zoo.planned(Asked(f"hf/{tmp_path}", "hub"))
    assert (found.size, found.resize, found.squash, found.interpolation) == expected


def test_what_was_asked_comes_first(tmp_path: Path) -> None:
    vit(tmp_path)
    name = f"hf/{tmp_path}"
    assert zoo.planned(Asked(name, "hub", fit="crop")).squash is False
    asked = zoo.planned(Asked(name, "hub", image_size=64, mean=(0.1, 0.2, 0.3), crop=0.5, interpolation="bicubic"))
    assert (asked.size, asked.resize, asked.mean, asked.interpolation) == (64, 128, (0.1, 0.2, 0.3), "bicubic")


def test_pictures_that_nothing_describes_are_refused(tmp_path: Path) -> None:
    folder(tmp_path, KINDS["vit"]())
    name = f"hf/{tmp_path}"
    with pytest.raises(DataProblem, match=r"has no preprocessor_config\.json"):
        zoo.planned(Asked(name, "hub"))
    given = zoo.planned(Asked(name, "hub", mean=(0.5,) * 3, std=(0.5,) * 3))
    assert given.size == 32 and zoo.planned(Asked(name, "none")).size == 32


@pytest.mark.parametrize(
    "told", [{"image_processor_type": "MobileViTImageProcessor"}, {"do_resize": False}, {"size": {"height": 32, "width": 16}}]
)
def test_a_processor_that_cannot_be_followed_is_refused(tmp_path: Path, told: dict[str, Any]) -> None:
    vit(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **told}))
    with pytest.raises(DataProblem, match="cannot be followed"):
        zoo.planned(Asked(f"hf/{tmp_path}", "hub"))


def change(path: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(path / "model.safetensors")
    edit(tensors)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda s: s.pop(next(name for name in s if "layernorm_before.weight" in name)), "layernorm_before.weight is missing"),
        (lambda s: s.pop("vit.embeddings.cls_token"), "vit.embeddings.cls_token is missing"),
        (lambda s: s.update(extra=torch.zeros(1)), "extra is not part of the network"),
        (lambda s: s.update({"vit.embeddings.cls_token": torch.zeros(1, 1, 8)}), "has shape (1, 1, 8), not (1, 1, 32)"),
        (
            lambda s: s.update({"vit.embeddings.token": s.pop("vit.embeddings.cls_token")}),
            "vit.embeddings.cls_token is missing",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, edit: Any, said: str) -> None:
    vit(tmp_path)
    change(tmp_path, edit)
    with pytest.raises(DataProblem, match=re.escape(said)):
        loaded(f"hf/{tmp_path}")


def test_heads_and_poolers_of_the_pretraining_are_passed_over(tmp_path: Path) -> None:
    vit(tmp_path)

    def edit(state: dict[str, Tensor]) -> None:
        del state["classifier.weight"], state["classifier.bias"]
        state["vit.pooler.dense.weight"] = torch.zeros(32, 32)

    change(tmp_path, edit)
    assert loaded(f"hf/{tmp_path}")[0](torch.zeros(1, 3, 32, 32)).shape == (1, 3)


def test_pickled_weights_are_read_only_where_they_are_named(tmp_path: Path) -> None:
    own = vit(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(own.state_dict(), tmp_path / "pytorch_model.bin")
    name = f"hf/{tmp_path}"
    with pytest.raises(DataProblem, match=r"but pickled weights \(pytorch_model.bin\)") as caught:
        zoo.find_weights(Asked(name, "hub"), online=False)
    assert "weights=" in caught.value.next
    network, _ = loaded(name, weights=str(tmp_path / "pytorch_model.bin"))
    assert torch.equal(network.state_dict()["network.vit.layernorm.weight"], own.state_dict()["vit.layernorm.weight"])


def test_damaged_files_are_three_breaths(tmp_path: Path) -> None:
    vit(tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataProblem, match="cannot be loaded"):
        loaded(f"hf/{tmp_path}")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataProblem, match=r"config\.json of .* cannot be read"):
        loaded(f"hf/{tmp_path}", weights="none")


def test_code_of_a_repository_is_never_run(tmp_path: Path) -> None:
    vit(tmp_path)
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    code = {"AutoConfig": "code.Own", "AutoModelForImageClassification": "code.Net"}
    path.write_text(json.dumps({**values, "model_type": "own", "auto_map": code}))
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(Problem):
        loaded(f"hf/{tmp_path}")
    path.write_text(json.dumps({**values, "auto_map": {"AutoModelForImageClassification": "code.Net"}}))
    _, recipe = loaded(f"hf/{tmp_path}")
    assert not (tmp_path / "ran").exists() and "auto_map" not in recipe["config"]


def test_what_classifies_no_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UsageProblem, match="is a bert, with which transformers classifies no pictures"):
        zoo.recipe(Asked(f"hf/{tmp_path}"), None, 2)


def test_names_are_folders_or_the_hubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vit(tmp_path / "nets" / "vit")
    monkeypatch.chdir(tmp_path)
    assert of_transformers.folder_of("hf/nets/vit", online=False) == Path("nets/vit")
    assert of_transformers.folder_of(f"hf/{tmp_path}/nets/vit", online=False) == tmp_path / "nets" / "vit"
    assert zoo.knows("hf/google/vit-base-patch16-224") and not zoo.knows("hf/")
    with pytest.raises(UsageProblem, match=r"has no config\.json"):
        zoo.find_weights(Asked(f"hf/{tmp_path}/none", "hub"), online=False)


def test_the_hubs_cache_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    name = "hf/someone/vit"
    with pytest.raises(EnvironmentProblem, match=r"config\.json is not in the hub's cache") as caught:
        backbone.check(backbone.Settings(model=name), online=False)
    assert "--online" in caught.value.allowed
    repository = tmp_path / "models--someone--vit"
    vit(repository / "snapshots" / "0123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123")
    source = zoo.find_weights(Asked(name, "hub"), online=False)
    assert source is not None and source.described == "hub: someone/vit" and source.path.name == "0123"
    assert loaded(name)[0](torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    (repository / "snapshots" / "0123" / "model.safetensors").unlink()
    with pytest.raises(EnvironmentProblem, match=r"model\.safetensors is not in the hub's cache"):
        zoo.find_weights(Asked(name, "hub"), online=False)
    assert zoo.find_weights(Asked(name, "none"), online=False) is None


def test_other_sizes_resample_the_positions(tmp_path: Path) -> None:
    own = vit(tmp_path)
    network, recipe = loaded(f"hf/{tmp_path}", classes=7, image_size=48)
    assert recipe["arguments"] == {"interpolate_pos_encoding": True} and recipe["config"]["image_size"] == 32
    network.load_state_dict({f"network.{name}": tensor for name, tensor in own.state_dict().items()})
    pictures = torch.randn(1, 3, 48, 48)
    with torch.inference_mode():
        torch.testing.assert_close(network.eval()(pictures), own(pictures, interpolate_pos_encoding=True).logits)
    scratch, recipe = loaded(f"hf/{tmp_path}", weights="none", image_size=48, patch_size=16)
    assert (recipe["config"]["image_size"], recipe["config"]["patch_size"], recipe["arguments"]) == (48, 16, {})
    assert scratch(torch.zeros(1, 3, 48, 48)).shape == (1, 3)
    with pytest.raises(UsageProblem, match=r"does not take pictures of 8 x 8|cannot be built"):
        loaded(f"hf/{tmp_path}", weights="none", image_size=8, patch_size=16)


def test_without_a_head_it_answers_with_features(tmp_path: Path) -> None:
    own = vit(tmp_path)
    network, recipe = loaded(f"hf/{tmp_path}", classes=0)
    pictures = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = own.vit(pictures).last_hidden_state[:, 0]
        torch.testing.assert_close(network.eval()(pictures), expected)
    again = zoo.create(json.loads(json.dumps(recipe)))
    again.load_state_dict(network.state_dict())


def test_a_contestant_is_named_without_the_machines_folders(tmp_path: Path) -> None:
    entry = parse(f"hf/{tmp_path}/vit:weights=none,epochs=1")
    assert (entry.family, entry.name) == ("backbone", "hf-vit-weights=none-epochs=1")
    assert entry.settings.model == f"hf/{tmp_path}/vit"  # type: ignore[attr-defined]
    assert parse("hf/google/vit-base-patch16-224").name == "hf-google-vit-base-patch16-224"
    assert parse("torchvision/resnext50_32x4d:train=head").name == "torchvision-resnext50_32x4d-train=head"
    assert parse("linear/torchvision/resnet18").settings.features == "torchvision/resnet18"  # type: ignore[attr-defined]
