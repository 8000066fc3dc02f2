"""Networks of timm: weights loaded strictly, parts frozen, preprocessing read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fieldguide.craft import zoo
from fieldguide.craft.zoo import create, load_weights, of_timm, planned, preprocessing, probe, recipe
from fieldguide.craft.zoo.weights import Source
from fieldguide.errors import DataProblem, EnvironmentProblem, Problem, UsageProblem


@dataclasses.dataclass(frozen=True)
class Asked:
    """The settings this module reads."""

    model: str = "test_resnet"
    weights: str = "none"
    train: str = "all"
    image_size: int | None = None
    patch_size: int | None = None
    pad_type: str | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: str | None = None
    crop: float | None = None
    fit: str | None = None
    epochs: int = 1
    batch_size: int = 4


def find_weights(model: str, weights: str, online: bool) -> Source | None:
    return zoo.find_weights(Asked(model, weights), online)  # type: ignore[arg-type]


def built(model: str, classes: int = 3, **asked: object) -> nn.Module:
    torch.manual_seed(0)
    return create(recipe(Asked(model, **asked), None, classes))  # type: ignore[arg-type]


Edit = Callable[[dict[str, Tensor]], None]


def file_of(folder: Path, network: nn.Module, edit: Edit | None = None, says: dict[str, str] | None = None) -> Path:
    tensors = {name: tensor.contiguous().clone() for name, tensor in network.state_dict().items()}
    if edit:
        edit(tensors)
    save_file(tensors, folder / "w.safetensors", metadata=says)
    return folder / "w.safetensors"


NETWORKS = ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"]


@pytest.mark.parametrize("model", NETWORKS)
def test_every_tensor_is_loaded_but_the_heads(tmp_path: Path, model: str) -> None:
    torch.manual_seed(1)
    trained = create({"model": model, "classes": 11, "arguments": {}})
    for tensor in trained.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape) if tensor.is_floating_point() else tensor + 5)
    source = find_weights(model, str(file_of(tmp_path, trained)), online=False)
    assert source is not None
    assert source.described == "file: w.safetensors"
    fresh = built(model)
    load_weights(fresh, source)
    heads = zoo.head_names(fresh)
    assert heads
    for name, tensor in fresh.state_dict().items():
        if name.startswith(heads):
            assert tensor.shape[0] == 3
            assert not tensor.any(), "a new head starts at zero"
        else:
            assert torch.equal(tensor, trained.state_dict()[name]), name
    assert fresh(torch.randn(2, 3, 160, 160)).shape == (2, 3)


def drop(name: str) -> Edit:
    def edit(tensors: dict[str, Tensor]) -> None:
        del tensors[name]

    return edit


def put(name: str, tensor: Tensor) -> Edit:
    def edit(tensors: dict[str, Tensor]) -> None:
        tensors[name] = tensor

    return edit


@pytest.mark.parametrize(
    ("model", "edit", "said"),
    [
        ("test_resnet", drop("layer2.0.conv1.weight"), "layer2.0.conv1.weight is missing"),
        ("test_resnet", drop("bn1.running_mean"), "bn1.running_mean is missing"),
        ("test_resnet", put("bn1.weight", torch.zeros(7)), "bn1.weight has shape (7,), not"),
        ("test_resnet", put("extra.weight", torch.zeros(7)), "extra.weight is not part of the network"),
        ("test_vit", drop("blocks.1.attn.qkv.weight"), "blocks.1.attn.qkv.weight is missing"),
        ("test_vit", drop("pos_embed"), "pos_embed is missing"),
        ("test_vit", put("blocks.0.norm1.weight", torch.zeros(7)), "blocks.0.norm1.weight has shape (7,)"),
        ("test_convnext", drop("stages.0.blocks.0.conv_dw.weight"), "stages.0.blocks.0.conv_dw.weight is missing"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, model: str, edit: Edit, said: str) -> None:
    network = built(model)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(DataProblem) as caught:
        load_weights(network, Source(file_of(tmp_path, network, edit), "file: w.safetensors"))
    assert said in caught.value.given
    assert "w.safetensors" in caught.value.given
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(("model", "other"), [(one, two) for one in NETWORKS for two in NETWORKS if one != two])
def test_another_networks_weights_are_refused(tmp_path: Path, model: str, other: str) -> None:
    with pytest.raises(DataProblem, match="does not fit this network"):
        load_weights(built(model), Source(file_of(tmp_path, built(other)), "file: w.safetensors"))


def test_half_precision_weights_are_loaded_as_float(tmp_path: Path) -> None:
    network = built("test_resnet")

    def half(tensors: dict[str, Tensor]) -> None:
        tensors.update({name: tensor.half() for name, tensor in tensors.items() if tensor.is_floating_point()})

    load_weights(network, Source(file_of(tmp_path, network, half), "x"))
    assert {tensor.dtype for tensor in network.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("weights", "content", "kind", "said"),
    [
        ("w", b"x", UsageProblem, "no weights file"),
        ("w.pth", None, UsageProblem, "no weights file"),
        ("w.safetensors", None, UsageProblem, "no weights file"),
        ("w.safetensors", b"", DataProblem, "damaged"),
        ("w.safetensors", b"\x10\0\0\0\0\0\0\0{not a header at all", DataProblem, "damaged"),
        ("w.safetensors", "cut", DataProblem, "damaged"),
    ],
)
def test_a_wrong_file_is_refused(
    tmp_path: Path, weights: str, content: bytes | str | None, kind: type[Problem], said: str
) -> None:
    path = tmp_path / weights
    if content == "cut":
        whole = file_of(tmp_path, built("test_resnet")).read_bytes()
        content = whole[: len(whole) // 2]
    if isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(kind, match=said):
        find_weights("test_resnet", str(path), online=False)


def test_from_scratch_needs_no_file() -> None:
    assert find_weights("test_resnet", "none", online=False) is None


def test_hub_weights_that_are_not_here_are_named_without_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    import huggingface_hub.constants

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match="not on this machine") as caught:
        find_weights("resnet18", "hub", online=False)
    assert "--online" in caught.value.allowed
    assert "weights=none" in caught.value.next
    assert "resnet18:weights=none" in caught.value.next


def test_cached_hub_weights_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    monkeypatch.setattr(of_timm, "try_to_load_from_cache", lambda repository, name: str(path))
    assert find_weights("resnet18.a1_in1k", "hub", online=False) == Source(path, "hub: timm/resnet18.a1_in1k")


def test_a_download_that_fails_is_three_breaths(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("503 \x1b[2J")

    monkeypatch.setattr(of_timm, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(of_timm, "hf_hub_download", broken)
    with pytest.raises(EnvironmentProblem, match="could not be downloaded: 503") as caught:
        find_weights("resnet18", "hub", online=True)
    assert "\x1b" not in caught.value.given


def test_a_network_without_hub_weights_says_so() -> None:
    with pytest.raises(UsageProblem, match="no pretrained weights on the hub"):
        find_weights("cspresnet50d", "hub", online=True)


SAYS = {"input_mean": "0.1,0.2,0.3", "input_std": "0.4,0.5,0.6", "interpolation": "bicubic", "crop_pct": "0.5"}


def test_the_file_comes_before_the_model_and_what_was_asked_before_both(tmp_path: Path) -> None:
    path = str(file_of(tmp_path, built("test_resnet"), says=SAYS))
    own = planned(Asked(weights="hub"))
    assert (own.size, own.interpolation, own.crop) == (160, "bilinear", 0.95)
    told = planned(Asked(weights=path))
    assert (told.mean, told.std, told.interpolation, told.crop) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic", 0.5)
    assert told.size == own.size
    asked = planned(Asked(weights=path, image_size=64, mean=(0.9, 0.9, 0.9), interpolation="nearest", crop=0.8))
    assert (asked.size, asked.mean, asked.std, asked.interpolation, asked.crop) == (
        64,
        (0.9,) * 3,
        (0.4, 0.5, 0.6),
        "nearest",
        0.8,
    )
    assert planned(Asked(weights="none")).crop == 1.0
    assert planned(Asked(weights="none", crop=0.7)).crop == 0.7


@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize("size", [64, None])
def test_what_is_planned_is_what_the_network_says(model: str, size: int | None) -> None:
    from timm.data.config import resolve_model_data_config

    network = create(recipe(Asked(model, image_size=size), None, 3))
    own = resolve_model_data_config(network)
    found = planned(Asked(model, "hub", image_size=size))
    assert (found.mean, found.std, found.interpolation, found.crop, found.squash) == (
        own["mean"],
        own["std"],
        own["interpolation"],
        own["crop_pct"],
        False,
    )
    assert found.size == (size or own["input_size"][-1])


@pytest.mark.parametrize(
    ("says", "named"),
    [
        ({"input_mean": "a,b,c"}, "input_mean = 'a'"),
        ({"input_std": "0.5,0,0.5"}, "input_std = '0'"),
        ({"input_mean": "124,116,104"}, "input_mean = '124'"),
        ({"crop_pct": "0"}, "crop_pct = '0'"),
        ({"crop_pct": "nan"}, "crop_pct = 'nan'"),
    ],
)
def test_a_file_that_says_nonsense_is_refused(tmp_path: Path, says: dict[str, str], named: str) -> None:
    path = str(file_of(tmp_path, built("test_resnet"), says=says))
    with pytest.raises(DataProblem) as caught:
        planned(Asked(weights=path))
    assert named in caught.value.given


def test_padding_is_read_from_the_file_unless_it_was_asked_for() -> None:
    source = Source(Path("x"), "x", {"pad_type": "same"})
    assert recipe(Asked("mobilenetv2_100"), source, 3)["arguments"] == {"pad_type": "same"}
    assert recipe(Asked("mobilenetv2_100", pad_type=""), source, 3)["arguments"] == {}
    assert recipe(Asked("mobilenetv2_100", pad_type="same"), None, 3)["arguments"] == {"pad_type": "same"}
    assert recipe(Asked("mobilenetv2_100"), None, 3)["arguments"] == {}


def test_sizes_are_told_to_networks_with_a_grid_alone() -> None:
    assert recipe(Asked("test_vit", image_size=32, patch_size=4), None, 3)["arguments"] == {"img_size": 32, "patch_size": 4}
    assert recipe(Asked("test_resnet", image_size=32), None, 3)["arguments"] == {}
    assert built("test_vit", image_size=32, patch_size=4)(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    assert built("test_resnet", image_size=40)(torch.zeros(1, 3, 40, 40)).shape == (1, 3)


@pytest.mark.parametrize(("model", "asked"), [("test_resnet", {"patch_size": 4}), ("test_resnet", {"pad_type": "same"})])
def test_arguments_a_network_does_not_take_are_refused(model: str, asked: dict[str, object]) -> None:
    with pytest.raises(UsageProblem, match="cannot be built with"):
        built(model, **asked)


def test_a_probe_measures_and_counts() -> None:
    sizes = dataclasses.make_dataclass("Sizes", ["train", "val", "test"])(100, 10, 10)
    torch.manual_seed(5)
    small = probe(Asked(image_size=32, epochs=2, batch_size=4), 3, sizes)
    large = probe(Asked(image_size=32, epochs=2, batch_size=64), 3, sizes)
    assert small.seconds is not None
    assert 0 < small.seconds < 600
    network = built("test_resnet")
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    trained = sum(parameter.numel() * 4 for parameter in network.parameters())
    assert small.disk_bytes == weights + 8 * trained
    assert small.memory_bytes is not None
    assert large.memory_bytes is not None
    assert large.memory_bytes > small.memory_bytes > weights + 4 * trained


@pytest.mark.realdata
def test_a_converted_imagenet_network_is_what_it_says(data_root: Path) -> None:
    path = data_root / "weights" / "mobilenetv2_100_imagenet.safetensors"
    asked = Asked("mobilenetv2_100", weights=str(path))
    source = find_weights(asked.model, asked.weights, online=False)
    assert source is not None
    assert source.says["pad_type"] == "same"
    made = recipe(asked, source, 37)
    network = create(made)
    load_weights(network, source)
    found = preprocessing(asked, source)
    assert found == planned(asked)
    assert found.mean == found.std == (0.5, 0.5, 0.5)
    assert any("Same" in type(module).__name__ for module in network.modules())
    stem = load_file(path)["conv_stem.weight"]
    assert torch.equal(network.conv_stem.weight, stem)  # type: ignore[union-attr, arg-type]
    with torch.inference_mode():
        assert network.eval()(torch.zeros(1, 3, 224, 224)).shape == (1, 37)
