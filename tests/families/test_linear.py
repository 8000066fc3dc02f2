"""Linear on the frozen features of a network: settings, weights, saving and the same answers however they are batched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.pictures import stripes

from fieldguide.bench import Bench
from fieldguide.craft import zoo
from fieldguide.craft.frozen import AT_ONCE
from fieldguide.data.classes import propose
from fieldguide.errors import EnvironmentProblem, UsageProblem
from fieldguide.families import linear, parse
from fieldguide.families.linear import Settings
from fieldguide.records import Example, Image, Pixels
from fieldguide.settings import build
from fieldguide.tasks.classify import Classify

Held = Callable[[Sequence[Pixels | None]], list[Image]]
TASK = Classify(propose(("a", "b", "c")))
SMALL = {"features": "test_resnet", "image_size": 32, "strengths": (0.1,)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that differ from those any seed draws, with a head of another size."""
    torch.manual_seed(99)
    network = zoo.create({"model": "test_resnet", "classes": 7, "arguments": {}})
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    return path


@pytest.fixture
def examples(held: Held) -> list[Example]:
    random = np.random.default_rng(0)
    images = held([stripes(at % 3, random, size=40, noise=20) for at in range(36)])
    return [Example(image, "abc"[at % 3]) for at, image in enumerate(images)]


def fitted(examples: list[Example], settings: Settings, scratch: Path, seed: int = 1) -> linear.Linear:
    return linear.fit(examples[:24], examples[24:], TASK, settings, Bench(scratch, seed, "cpu"))


def answers(model: linear.Linear, examples: list[Example]) -> np.ndarray:
    return np.array([answer.probabilities for answer in model.predict(example.image for example in examples)])


def test_a_network_is_named_after_the_slash(weights: Path) -> None:
    entry = parse(f"linear/mobilenetv2_100:weights={weights},pad_type=same")
    assert (entry.family, entry.name) == ("linear", "linear-mobilenetv2_100-weights=net-pad_type=same")
    assert (entry.settings.features, entry.settings.pad_type) == ("mobilenetv2_100", "same")  # type: ignore[attr-defined]


def test_features_are_pooled_and_those_of_the_weights_file(weights: Path, examples: list[Example], tmp_path: Path) -> None:
    model = fitted(examples, Settings(**SMALL, weights=str(weights)), tmp_path)
    torch.manual_seed(99)
    network = zoo.create({"model": "test_resnet", "classes": 7, "arguments": {}}).eval()
    noise = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = network.forward_head(network.forward_features(noise), pre_logits=True)  # type: ignore[operator]
    assert model.frozen is not None
    assert np.allclose(model.frozen.features(noise), expected.numpy(), atol=1e-5)
    assert model.weights.shape == (expected.shape[1], 3)


def test_the_network_stays_as_it_is(weights: Path, examples: list[Example], tmp_path: Path) -> None:
    model = fitted(examples, Settings(**SMALL, weights=str(weights)), tmp_path)
    torch.manual_seed(99)
    before = zoo.create({"model": "test_resnet", "classes": 7, "arguments": {}}).state_dict()
    assert model.frozen is not None
    for name, tensor in model.frozen.network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_what_is_saved_answers_the_same_without_the_weights(weights: Path, examples: list[Example], tmp_path: Path) -> None:
    copy = tmp_path / "gone.safetensors"
    copy.write_bytes(weights.read_bytes())
    model = fitted(examples, Settings(**SMALL, weights=str(copy)), tmp_path)
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    copy.unlink()
    again = linear.load(tmp_path / "model")
    assert np.array_equal(answers(again, examples), answers(model, examples))
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "linear.json",
        "linear.safetensors",
        "network.json",
        "network.safetensors",
    }


def test_answers_do_not_depend_on_the_batch(weights: Path, examples: list[Example], tmp_path: Path) -> None:
    whole = answers(fitted(examples, Settings(**SMALL, weights=str(weights)), tmp_path), examples)
    single = answers(fitted(examples, Settings(**SMALL, weights=str(weights), batch_size=5), tmp_path), examples)
    assert np.allclose(whole, single, atol=1e-4)
    assert (whole.argmax(1) == np.array([at % 3 for at in range(36)])).mean() > 0.6


def test_random_features_follow_the_seed(examples: list[Example], tmp_path: Path) -> None:
    settings = Settings(**SMALL, weights="none")
    one, same, other = (answers(fitted(examples, settings, tmp_path, seed), examples) for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.allclose(one, other)


def test_facts_tell_where_the_features_come_from(weights: Path, examples: list[Example], tmp_path: Path) -> None:
    from fieldguide.bench import read_log

    model = fitted(examples, Settings(**SMALL, weights=str(weights)), tmp_path)
    facts: dict[str, object] = {}
    for event in read_log(tmp_path / "log.jsonl"):
        facts.update(event)
    assert facts["weights"] == "file: net.safetensors" and facts["image_size"] == 32
    assert facts["kind"] == "features"
    assert facts["trained_parameters"] == model.weights.size + 3 < facts["parameters"]  # type: ignore[operator]


def test_what_stops_the_fit_is_said_before_it(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem) as wrong:
        linear.check(Settings(features="mobilenetv2_10"), online=False)
    assert "mobilenetv2_10" in wrong.value.given and "mobilenetv2_100" in wrong.value.allowed
    with pytest.raises(UsageProblem, match="There is no weights file"):
        linear.check(Settings(features="test_resnet", weights=str(tmp_path / "no.safetensors")), online=False)
    with pytest.raises(EnvironmentProblem, match="not on this machine"):
        linear.check(Settings(features="vit_tiny_patch16_224"), online=False)
    linear.check(Settings(), online=False)
    linear.check(Settings(features="colour"), online=False)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"weights": "none"}, "weights belongs to a network"),
        ({"features": "colour", "pad_type": "same"}, "pad_type belongs to a network"),
        ({"image_size": 200}, "128 pixels at most"),
        ({"features": "test_resnet", "std": (0.5, 0.0, 0.5)}, "above 0"),
    ],
)
def test_settings_that_would_be_ignored_are_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(UsageProblem) as wrong:
        build(Settings, values, "The command")
    assert said in wrong.value.given


def test_many_pictures_at_once_go_through_in_parts(weights: Path, examples: list[Example], tmp_path: Path) -> None:
    frozen = fitted(examples, Settings(**SMALL, weights=str(weights)), tmp_path).frozen
    assert frozen is not None
    noise = torch.randn(AT_ONCE * 2 + 3, 3, 32, 32)
    seen = []
    frozen.network.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    table = frozen.features(noise)
    assert seen == [AT_ONCE, AT_ONCE, 3]
    assert np.allclose(table[-2:], frozen.features(noise[-2:]), atol=1e-5)


def test_what_was_asked_is_complete() -> None:
    assert (Settings().image_size, Settings(features="colour").image_size, Settings(features="resnet18").image_size) == (
        16,
        16,
        None,
    )


def test_the_size_it_asks_for(weights: Path) -> None:
    assert [linear.pixels(Settings()), linear.pixels(Settings(features="colour", image_size=24))] == [16, 24]
    assert linear.pixels(Settings(features="mobilenetv2_100", weights="none", crop=0.875)) == 256
    assert linear.pixels(Settings(**SMALL, weights=str(weights), crop=0.5)) == 64


def test_the_estimate_grows_with_the_pictures(weights: Path) -> None:
    from fieldguide.families import Sizes

    settings = Settings(**SMALL, weights=str(weights))
    few, many = (linear.estimate(settings, TASK, Sizes(count, 10, 10)) for count in (10, 10**7))
    assert few.seconds is not None and many.seconds is not None and many.seconds > few.seconds + 10
    network = zoo.create({"model": "test_resnet", "classes": 0, "arguments": {}})
    assert few.disk_bytes is not None
    assert few.disk_bytes > sum(4 * tensor.numel() for tensor in network.state_dict().values()) > 1_000_000


def test_what_is_seen_inside_answers_as_it_does(weights: Path, examples: list[Example], tmp_path: Path) -> None:
    from fieldguide.data.batches import evaluation_batches

    model = fitted(examples, Settings(**SMALL, weights=str(weights)), tmp_path)
    sight = model.sight()
    assert sight is not None and sight.ids == TASK.ids
    (batch,) = evaluation_batches([example.image for example in examples], sight.preprocessing, 64)
    assert np.allclose(sight.logits(batch.pixels).softmax(1).numpy(), answers(model, examples), atol=1e-5)
    assert linear.fit(examples[:24], (), TASK, Settings(), Bench(tmp_path, 1, "cpu")).sight() is None
