"""From settings to a trained network: what was asked for arrives, what was not is chosen and said, and what cannot be is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from fieldguide.bench import Bench, Silent, read_log
from fieldguide.craft import anatomy, defaults
from fieldguide.craft.pace import Pace
from fieldguide.data.augment import Augmentation
from fieldguide.data.batches import Preprocessing
from fieldguide.errors import EnvironmentProblem, UsageProblem
from fieldguide.families import _training, backbone, parse, vmamba
from fieldguide.records import ClassInfo, Example, Image, Pixels
from fieldguide.tasks.classify import Classify

Make = Callable[[Sequence[Pixels | None]], list[Image]]
TASK = Classify((ClassInfo("dark", "dark"), ClassInfo("light", "light")))
SMALL: dict[str, Any] = {
    "model": "test_vit",
    "weights": "none",
    "image_size": 32,
    "patch_size": 8,
    "epochs": 2,
    "batch_size": 8,
    "precision": "fp32",
}


@pytest.fixture
def sets(held: Make) -> tuple[list[Example], list[Example]]:
    draw = np.random.default_rng(0)
    pictures = [(60 + 80 * (at % 2) + draw.normal(0, 40, (40, 36, 3))).clip(0, 255).astype(np.uint8) for at in range(24)]
    examples = [Example(image, TASK.ids[at % 2]) for at, image in enumerate(held(pictures))]
    return examples[:16], examples[16:]


Sets = tuple[list[Example], list[Example]]


class Listening(Silent):
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def fit(sets: Sets, scratch: Path, progress: Any = None, **asked: Any) -> tuple[Any, dict[str, Any]]:
    scratch.mkdir(exist_ok=True)
    bench = Bench(scratch, 3, progress=progress or Silent())
    fitted = backbone.fit(*sets, TASK, backbone.Settings(**{**SMALL, **asked}), bench)
    events = read_log(scratch / "log.jsonl")
    return fitted, {key: value for event in events if event["event"] == "fact" for key, value in event.items()}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(7)
    network = timm.create_model("test_vit", num_classes=5, img_size=32, patch_size=8)
    save_file(network.state_dict(), tmp_path / "vit.safetensors")
    return tmp_path / "vit.safetensors"


def test_only_what_is_asked_for_is_trained_and_said_before(sets: Sets, tmp_path: Path, weights: Path) -> None:
    listening = Listening()
    fitted, facts = fit(sets, tmp_path / "a", listening, weights=str(weights), train="blocks:1-2")
    before, after = torch.load, fitted.network.state_dict()
    from safetensors.torch import load_file

    before = load_file(weights)
    moved = {name for name in before if not name.startswith("head") and not torch.equal(before[name], after[name])}
    assert moved and {name.split(".")[1] for name in moved if name.startswith("blocks")} == {"1", "2"}
    assert all(name.startswith("blocks") for name in moved), "neither stem nor last norm"
    [said] = listening.said
    assert "block 1 to block 2 trained" in said and "stem to block 0 frozen" in said
    whole = sum(parameter.numel() for parameter in fitted.network.parameters())
    assert facts["kind"] == "attention"
    assert facts["parameters"] == whole > facts["trained_parameters"] > 0
    [parts] = [event["parts"] for event in read_log(tmp_path / "a" / "log.jsonl") if event["event"] == "parts"]
    assert sum(part["trained"] for part in parts) == facts["trained_parameters"]


def built(network: Any, fresh: bool = True) -> _training.Built:
    return _training.Built(network, {}, Preprocessing(32), "file", fresh)


def plan(network: Any, **asked: Any) -> Any:
    settings = backbone.Settings(**{**SMALL, **asked})
    suits = defaults.default(network, from_weights=True, train=settings.train)
    anatomy.freeze(network, settings.train)
    return _training._plan(built(network), settings, suits, Pace(), 16)


def test_rates_fall_block_by_block_and_a_new_head_is_faster() -> None:
    network = timm.create_model("test_vit", num_classes=2, img_size=32, patch_size=8)
    factors = plan(network, layer_decay=0.5, head_factor=4.0).factors
    assert factors["head.weight"] == 4.0, "the head is at the top"
    assert "norm.weight" not in factors, "so is the last norm, and 1 is not said"
    assert factors["blocks.5.mlp.fc1.weight"] == 0.5
    assert factors["blocks.0.mlp.fc1.weight"] == 0.5**6
    assert factors["cls_token"] == factors["patch_embed.proj.weight"] == 0.5**7
    assert plan(network, train="head", head_factor=4.0).factors == {}, "a head alone learns at the plan's own rate"
    stages = timm.create_model("test_resnet", num_classes=2)
    found = plan(stages, layer_decay=0.5, head_factor=1.0).factors
    assert (found["layer1.0.conv1.weight"], found["layer4.0.conv1.weight"]) == (0.5**4, 0.5)


def test_what_is_asked_of_views_and_steps_arrives() -> None:
    network = timm.create_model("test_vit", num_classes=2, img_size=32, patch_size=8)
    asked = {"accumulate": 3, "schedule": "linear", "monitor": "loss", "class_weights": "balanced", "sampling": "balanced"}
    more = {
        "ema": 0.9,
        "clip": 0.0,
        "views": 4,
        "label_smoothing": 0.1,
        "learning_rate": 0.01,
        "warmup": 0.3,
        "weight_decay": 0.2,
    }
    found = plan(network, augment="turns", brightness=0.2, cutmix=1.0, **asked, **more)
    assert {name: getattr(found, name) for name in [*asked, *more]} == {**asked, **more}
    assert found.augmentation == Augmentation(min_area=1.0, rotate=10.0, brightness=0.2, cutmix=1.0)
    assert plan(network, augment="none", views=4).views == 1, "without chance every view is the same"


@pytest.mark.parametrize(
    ("model", "train", "rate"),
    [("test_vit", "all", 5e-5), ("test_resnet", "all", 3e-4), ("test_vit", "head", 1e-3), ("test_convnext", "last-1", 3e-4)],
)
def test_what_is_not_asked_for_suits_the_network_and_says_why(model: str, train: str, rate: float) -> None:
    network = timm.create_model(model, num_classes=2)
    suits = defaults.default(network, from_weights=True, train=train)
    assert suits.rate == rate and len(suits.source) > 20
    assert defaults.default(network, from_weights=False, train="all").rate == 1e-3


def test_defaults_are_written_down_with_their_source(sets: Sets, tmp_path: Path) -> None:
    _, facts = fit(sets, tmp_path / "a", epochs=None, patience=1)
    assert facts["learning_rate"] == 1e-3 and facts["epochs"] == 60 and "from scratch" in facts["learning_rate_from"]
    _, facts = fit(sets, tmp_path / "b", learning_rate=2e-3)
    assert facts["learning_rate"] == 2e-3 and facts["learning_rate_from"] == "asked for"


def test_a_small_set_gets_more_epochs() -> None:
    assert [defaults.epochs_for(20, pictures, 32) for pictures in (16, 259, 700, 6000)] == [60, 45, 20, 20]


def test_a_rate_can_be_found(sets: Sets, tmp_path: Path) -> None:
    _, facts = fit(sets, tmp_path / "a", learning_rate="auto")
    [told] = [event for event in read_log(tmp_path / "a" / "log.jsonl") if event["event"] == "rates"]
    assert facts["learning_rate"] == told["chosen"] and "range test" in facts["learning_rate_from"]
    again, _ = fit(sets, tmp_path / "a", learning_rate="auto")
    fresh, _ = fit(sets, tmp_path / "b", learning_rate=told["chosen"])
    for name, tensor in fresh.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), "finding it leaves no trace in the training"


def test_a_frozen_front_is_kept_where_views_come_again(sets: Sets, tmp_path: Path) -> None:
    _, facts = fit(sets, tmp_path / "a", train="last-1", views=1)
    assert facts["frozen_front"].startswith("kept: 1 views of 16 pictures at blocks.5")
    _, facts = fit(sets, tmp_path / "b", train="last-1")
    assert "distinct views" in facts["frozen_front"]
    assert json.loads((tmp_path / "a" / "decisions.json").read_text())["cache"] == "on"


def test_more_memory_than_allowed_is_refused_before_training(sets: Sets, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        fit(sets, tmp_path / "a", memory="5 MB")
    assert "memory = 5 MB" in caught.value.given and "batch_size=4,accumulate=2" in caught.value.next
    assert not (tmp_path / "a" / "checkpoints").exists()
    fit(sets, tmp_path / "b", memory="17 GB")


def test_memory_grows_with_the_batch_and_shrinks_with_what_is_frozen() -> None:
    from fieldguide.craft.zoo.costs import memory_of

    network = timm.create_model("test_vit", num_classes=2, img_size=32, patch_size=8)
    noise = torch.randn(2, 3, 32, 32)
    anatomy.freeze(network, "all")
    weights = sum(parameter.numel() * 4 for parameter in network.parameters())
    one, two = memory_of(network, noise, 8), memory_of(network, noise, 16)
    assert two - one == pytest.approx(one - 5 * weights, rel=0.01), "activations are in proportion to the batch"
    anatomy.freeze(network, "last-1")
    assert memory_of(network, noise, 8) < 0.6 * one


@pytest.mark.parametrize(
    "words",
    [
        "test_vit:train=blocks:3-1",
        "test_vit:train=some",
        "test_vit:memory=lots",
        "test_vit:memory=0 GB",
        "test_vit:learning_rate=fast",
        "test_vit:learning_rate=-1",
        "test_vit:std=0+1+1",
        "test_vit:augment=everything",
    ],
)
def test_what_cannot_be_is_refused(words: str) -> None:
    with pytest.raises(UsageProblem):
        parse(words)


def test_words_become_settings() -> None:
    settings: Any = parse("test_vit:train=blocks:10-11,learning_rate=auto,memory=17 GB,augment=mixes,views=3").settings
    assert (settings.train, settings.learning_rate, settings.memory) == ("blocks:10-11", "auto", "17 GB")
    assert parse("test_vit:learning_rate=2e-5").settings.learning_rate == 2e-5  # type: ignore[attr-defined]


def test_vmamba_is_trained_by_parts_too(sets: Sets, tmp_path: Path) -> None:
    settings = vmamba.Settings.tiny().model_copy(update={"train": "blocks:2-3", "epochs": 1})
    bench = Bench(tmp_path, 3)
    vmamba.fit(*sets, TASK, settings, bench)
    [parts] = [event["parts"] for event in read_log(tmp_path / "log.jsonl") if event["event"] == "parts"]
    assert [part["part"] for part in parts if part["trained"]][:2] == ["block 2", "block 3"]
    assert parts[0]["part"] == "stem" and parts[0]["trained"] == 0
