"""The room of backbones: networks of three libraries are fitted, saved and loaded, and answer as before."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.craft.zoo.asked import folder, quiet
from tests.pictures import stripes

from fieldguide.bench import Bench
from fieldguide.data.classes import propose
from fieldguide.errors import UsageProblem
from fieldguide.families import backbone, linear, names, parse
from fieldguide.families.backbone import Settings
from fieldguide.records import Example, Image, Pixels
from fieldguide.tasks.classify import Classify

Held = Callable[[Sequence[Pixels | None]], list[Image]]
TASK = Classify(propose(("a", "b", "c")))


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A contestant of each library, with weights from a file or a folder."""
    from torchvision import models

    root = tmp_path_factory.mktemp("networks")
    with quiet():
        from transformers import ViTConfig, ViTImageProcessor

        shape = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
        config = ViTConfig(**shape, image_size=32, patch_size=8, num_labels=7)
        folder(root / "vit", config, ViTImageProcessor(size={"height": 32, "width": 32}))
    torch.manual_seed(3)
    torch.save(models.squeezenet1_1(weights=None).state_dict(), root / "squeeze.pth")
    return {
        "timm": "test_resnet:weights=none,image_size=32",
        "torchvision": f"torchvision/squeezenet1_1:weights={root}/squeeze.pth,image_size=40,train=last-2",
        "transformers": f"hf/{root}/vit:train=blocks:1-2",
    }


@pytest.fixture
def examples(held: Held) -> list[Example]:
    random = np.random.default_rng(0)
    images = held([stripes(at % 3, random, size=40, noise=20) for at in range(24)])
    return [Example(image, "abc"[at % 3]) for at, image in enumerate(images)]


def answers(model: Any, examples: list[Example]) -> np.ndarray:
    return np.array([answer.probabilities for answer in model.predict(example.image for example in examples)])


@pytest.mark.parametrize("library", ["timm", "torchvision", "transformers"])
def test_what_is_saved_answers_the_same_without_its_weights(
    networks: dict[str, str], library: str, examples: list[Example], tmp_path: Path
) -> None:
    entry = parse(networks[library] + ",epochs=1,batch_size=8,precision=fp32")
    assert entry.family == "backbone" and isinstance(entry.settings, Settings)
    backbone.check(entry.settings, online=False)
    assert backbone.pixels(entry.settings) >= 32
    model = backbone.fit(examples[:16], examples[16:], TASK, entry.settings, Bench(tmp_path, 1, "cpu"))
    before = answers(model, examples)
    assert before.shape == (24, 3) and not np.allclose(before[0], before[1])
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    assert "pytest" not in (tmp_path / "model" / "model.json").read_text(), "no folder of this machine is written down"
    again = backbone.load(tmp_path / "model")
    assert again.preprocessing == model.preprocessing
    assert json.loads((tmp_path / "model" / "model.json").read_text())["recipe"] == json.loads(json.dumps(again.recipe))
    np.testing.assert_allclose(answers(again, examples), before, atol=1e-6)


@pytest.mark.parametrize("library", ["torchvision", "transformers"])
def test_features_of_every_library_are_classified(
    networks: dict[str, str], library: str, examples: list[Example], tmp_path: Path
) -> None:
    words = networks[library].replace(",train=last-2", "").replace(":train=blocks:1-2", ":strengths=0.1")
    entry = parse(f"linear/{words}")
    assert isinstance(entry.settings, linear.Settings)
    linear.check(entry.settings, online=False)
    model = linear.fit(examples[:16], examples[16:], TASK, entry.settings, Bench(tmp_path, 1, "cpu"))
    assert model.frozen is not None and model.frozen.network.training is False
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    np.testing.assert_allclose(answers(linear.load(tmp_path / "model"), examples), answers(model, examples), atol=1e-6)


def test_unknown_names_say_what_is_allowed() -> None:
    assert backbone.knows("hf/any/thing") and backbone.knows("torchvision/vgg16") and not backbone.knows("vgg17")
    assert {"resnet18", "torchvision/densenet169"} <= set(backbone.names()) and "backbone" in names()
    for name in ("resnet_18", "torchvision/vgg_16", "nothing/at-all"):
        with pytest.raises(UsageProblem, match="No library has a network called") as caught:
            backbone.check(Settings(model=name), online=False)
        assert "hf/FOLDER" in caught.value.allowed
