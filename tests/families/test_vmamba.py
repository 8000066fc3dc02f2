"""The VMamba room: which network it builds, from which file, how training goes on after a stop, and what is refused beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.pictures import stripes

from fieldguide.bench import Bench, read_log
from fieldguide.craft import loop
from fieldguide.craft.trained import Trained
from fieldguide.craft.vmamba_net import HEAD, SIZES, Shape, VMamba
from fieldguide.data.classes import propose
from fieldguide.errors import DataProblem, EnvironmentProblem, Problem, UsageProblem
from fieldguide.families import Sizes, parse, vmamba
from fieldguide.families.vmamba import Settings
from fieldguide.files import read_json
from fieldguide.records import Example, Image, Pixels
from fieldguide.settings import build
from fieldguide.tasks.classify import Classify

Held = Callable[[Sequence[Pixels | None]], list[Image]]
TASK = Classify(propose(("a", "b", "c")))
QUICK: dict[str, Any] = {"image_size": 32, "epochs": 2, "batch_size": 8, "precision": "fp32"}
SHAPE = Shape((1, 1, 1, 1), 8, 2.0, classes=3)


@pytest.fixture
def examples(held: Held) -> list[Example]:
    random = np.random.default_rng(0)
    images = held([stripes(at % 3, random, size=40, noise=20) for at in range(36)])
    return [Example(image, "abc"[at % 3]) for at, image in enumerate(images)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a small network that knows three classes, though not the study's."""
    torch.manual_seed(99)
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_file(VMamba(SHAPE).state_dict(), path)
    return path


def fitted(examples: list[Example], settings: Settings, scratch: Path, seed: int = 1) -> Trained:
    scratch.mkdir(exist_ok=True)
    return vmamba.fit(examples[:24], examples[24:], TASK, settings, Bench(scratch, seed, "cpu"))


def fact(scratch: Path) -> dict[str, Any]:
    events = [event for event in read_log(scratch / "log.jsonl") if event["event"] == "fact"]
    return {name: value for event in events for name, value in event.items()}


def test_a_network_is_named_after_the_slash(weights: Path) -> None:
    entry = parse(f"vmamba/tiny:weights={weights}")
    assert (entry.family, entry.name, entry.settings.model) == ("vmamba", "vmamba-tiny-weights=net", "tiny")  # type: ignore[attr-defined]
    own = parse("vmamba:depths=1+1+2+1,dim=16,ratio=2").settings
    assert own == Settings(depths=(1, 1, 2, 1), dim=16, ratio=2)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model": "tiny", "dim": 16}, "dim is for model=own and weights=none"),
        ({"weights": "net.safetensors", "depths": ["1", "1", "1", "1"]}, "depths is for model=own"),
        ({"depths": ["1", "0", "1", "1"]}, "a stage has 1 to 64 blocks"),
        ({"depths": ["1", "1"]}, "depths"),
        ({"dim": 15}, "multiple of 2"),
        ({"train": "some"}, "allowed are all, head, last-N and blocks:I-J"),
        ({"drop_path": 1.0}, "less than 1"),
        ({"scan": "fast"}, "'steps'"),
    ],
)
def test_impossible_settings_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        build(Settings, values, "The contestant")
    assert said in str(caught.value)


def test_shapes_and_drop_path_are_those_asked_for() -> None:
    network = vmamba._network(Settings(), None, 4)
    assert network.shape == Shape((1, 1, 2, 1), 32, 1, 4)
    with torch.device("meta"):
        for name, (shape, drop_path) in SIZES.items():
            blocks = [block for stage in vmamba._network(Settings(model=name), None, 1000).layers for block in stage.blocks]  # type: ignore[union-attr]
            assert len(blocks) == sum(shape.depths) and blocks[-1].drop_path.rate == pytest.approx(drop_path)
        spared = vmamba._network(Settings(model="tiny", drop_path=0.0), None, 3)
    assert spared.shape.classes == 3 and spared.layers[3].blocks[1].drop_path.rate == 0  # type: ignore[union-attr, index]


@pytest.mark.parametrize(
    ("settings", "kind", "said"),
    [
        ({"model": "tinny"}, UsageProblem, "Did you mean tiny?"),
        ({"weights": "hub"}, UsageProblem, "weights=FILE"),
        ({"model": "tiny", "weights": "hub"}, EnvironmentProblem, "vssm1_tiny_0230s_ckpt_epoch_264.pth"),
        ({"weights": "absent.pth"}, UsageProblem, "There is no weights file absent.pth"),
        ({"weights": "absent.safetensors"}, UsageProblem, "There is no weights file absent.safetensors"),
        (
            {"model": "tiny", "weights": "{net}"},
            UsageProblem,
            "depths 1+1+1+1, dim 8, ratio 2, not depths 2+2+8+2, dim 96, ratio 1",
        ),
        ({"weights": "{cut}"}, DataProblem, "patch_embed.7.bias is missing"),
    ],
)
def test_what_would_stop_a_fit_is_said_before(
    weights: Path, tmp_path: Path, settings: dict[str, Any], kind: type[Problem], said: str
) -> None:
    save_file({name: t for name, t in load_file(weights).items() if name != "patch_embed.7.bias"}, tmp_path / "cut.safetensors")
    files = {"net": weights, "cut": tmp_path / "cut.safetensors"}
    asked = Settings(**{name: value.format(**files) for name, value in settings.items()})
    with pytest.raises(kind) as caught:
        vmamba.check(asked, online=False)
    assert said in str(caught.value) and all((caught.value.given, caught.value.allowed, caught.value.next))


def test_what_fits_passes_the_check(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for settings in (Settings(), Settings(model="base"), Settings(weights=str(weights)), Settings.tiny()):
        vmamba.check(settings, online=False)
    import sys

    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(EnvironmentProblem, match=r"fieldguide\[numba\]"):
        vmamba.check(Settings(scan="numba"), online=False)


def test_a_published_file_is_recognised_by_its_name(tmp_path: Path) -> None:
    state = {name: torch.zeros(tensor.shape) for name, tensor in _meta(SIZES["tiny_s2l5"][0]).items()}
    torch.save({"model": state}, tmp_path / "vssm.pth")
    with pytest.raises(UsageProblem, match="vmamba/tiny_s2l5:weights="):
        vmamba.check(Settings(model="tiny", weights=str(tmp_path / "vssm.pth")), online=False)
    vmamba.check(Settings(model="tiny_s2l5", weights=str(tmp_path / "vssm.pth")), online=False)


def _meta(shape: Shape) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return VMamba(shape).state_dict()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_a_file_are_fine_tuned_under_a_new_head(
    weights: Path, examples: list[Example], tmp_path: Path, suffix: str
) -> None:
    path = weights
    if suffix == ".pth":
        path = tmp_path / "net.pth"
        torch.save({"model": load_file(weights), "epoch": 1}, path)
    begun = vmamba._network(Settings(weights=str(path)), vmamba._source(Settings(weights=str(path))), 3)
    assert not any(parameter.any() for parameter in begun.get_submodule(HEAD).parameters()), "as many classes, but others"
    model = fitted(examples, Settings(**QUICK, weights=str(path), train="head"), tmp_path / "scratch")
    old = load_file(weights)
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, old[name]) != name.startswith(HEAD), name
    told = fact(tmp_path / "scratch")
    assert told["weights"] == f"file: {path.name}" and told["learning_rate"] == 1e-3
    assert told["trained_parameters"] == 3 * 64 + 3 < told["parameters"]


def test_rates_follow_what_is_trained(weights: Path, examples: list[Example], tmp_path: Path) -> None:
    once = {**QUICK, "epochs": 1}
    for number, (more, rate) in enumerate(
        [
            ({"weights": str(weights)}, 1e-4),
            ({"depths": (1, 1, 1, 1), "dim": 8}, 1e-3),
            ({"weights": str(weights), "learning_rate": 0.02}, 0.02),
        ]
    ):
        fitted(examples, Settings(**once, **more), tmp_path / str(number))
        assert fact(tmp_path / str(number))["learning_rate"] == rate


@pytest.mark.parametrize(
    ("more", "factors"),
    [
        ({"weights": "{net}"}, {f"{HEAD}.weight": 7.0, f"{HEAD}.bias": 7.0}),
        ({"weights": "{net}", "train": "head"}, {}),
        ({"depths": (1, 1, 1, 1), "dim": 8}, {}),
    ],
)
def test_only_a_new_head_on_old_weights_learns_faster(
    weights: Path, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], factors: Any
) -> None:
    plans: list[loop.Plan] = []

    def noting(network: VMamba, train: Any, val: Any, task: Any, plan: loop.Plan, bench: Any, feed: Any) -> VMamba:
        plans.append(plan)
        return network

    monkeypatch.setattr(loop, "train", noting)
    more = {name: value.format(net=weights) if isinstance(value, str) else value for name, value in more.items()}
    fitted(examples, Settings(**QUICK, **more, head_factor=7.0), tmp_path / "scratch")
    assert [plan.factors for plan in plans] == [factors]


def test_it_learns_stripes(examples: list[Example], tmp_path: Path) -> None:
    more = {"epochs": 30, "patience": 30, "min_area": 0.7, "flip": False, "learning_rate": 1e-2}
    model = fitted(examples, Settings(**{**QUICK, **more}, depths=(1, 1, 1, 1), dim=8), tmp_path / "scratch")
    answers = model.predict(example.image for example in examples)
    right = [answer.label == example.label for answer, example in zip(answers, examples, strict=True)]
    assert sum(right[:24]) >= 20 and sum(right[24:]) >= 8  # chance: 8 and 4


class Killed(Exception):
    """Played death."""


@pytest.mark.parametrize("step", [2, 5])
def test_a_stopped_run_ends_in_the_same_weights(
    examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Drop path draws at random while it trains, so the state of chance must come back, too."""
    settings = Settings(**QUICK, depths=(1, 1, 1, 1), dim=8, drop_path=0.5)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    whole = fitted(examples, settings, tmp_path / "whole")
    honest, taken = loop.Run.step, []

    def dying(run: Any, batches: Any, rate: float) -> float:
        taken.append(batches)
        if len(taken) > step:
            raise Killed
        return honest(run, batches, rate)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Run, "step", dying)
        with pytest.raises(Killed):
            fitted(examples, settings, tmp_path / "cut")
    again = fitted(examples, settings, tmp_path / "cut")
    state = again.network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in whole.network.state_dict().items())
    assert any(
        event["event"] == "resumed" and event["at_step"] == step % 3 for event in read_log(tmp_path / "cut" / "log.jsonl")
    )


def test_a_saved_model_needs_no_weights_file(weights: Path, examples: list[Example], tmp_path: Path) -> None:
    path = tmp_path / "gone.safetensors"
    path.write_bytes(weights.read_bytes())
    model = fitted(examples, Settings(**{**QUICK, "epochs": 1}, weights=str(path), scan="lines"), tmp_path / "scratch")
    before = [answer.probabilities for answer in model.predict(example.image for example in examples)]
    path.unlink()
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    assert {file.name for file in (tmp_path / "model").iterdir()} == {"model.safetensors", "model.json"}
    recipe = read_json(tmp_path / "model" / "model.json")["recipe"]
    assert recipe == {"depths": [1, 1, 1, 1], "dim": 8, "ratio": 2.0, "classes": 3, "mlp_ratio": 4.0, "scan": "lines"}
    loaded = vmamba.load(tmp_path / "model")
    assert {module.way for module in loaded.network.modules() if hasattr(module, "way")} == {"lines"}
    after = [answer.probabilities for answer in loaded.predict(example.image for example in examples)]
    assert np.allclose(np.array(before), np.array(after), atol=1e-6)


def test_pictures_are_seen_as_the_published_networks_want_them(weights: Path, tmp_path: Path) -> None:
    own = Settings(model="tiny")
    assert vmamba.pixels(own) == 224
    says = {"input_mean": "0.5,0.5,0.5", "crop_pct": "0.5", "interpolation": "bilinear"}
    path = tmp_path / "says.safetensors"
    save_file(load_file(weights), path, metadata=says)
    for asked, size, mean, crop, drawn in (
        (Settings(weights=str(weights)), 224, (0.485, 0.456, 0.406), 0.875, "bicubic"),
        (Settings(weights=str(path), image_size=64), 64, (0.5, 0.5, 0.5), 0.5, "bilinear"),
        (Settings(weights=str(path), crop=1.0, mean=(0.1, 0.2, 0.3)), 224, (0.1, 0.2, 0.3), 1.0, "bilinear"),
    ):
        seen = vmamba._preprocessing(asked, vmamba._source(asked))
        assert (seen.size, seen.mean, seen.crop, seen.interpolation) == (size, mean, crop, drawn)
        assert vmamba.pixels(asked) == seen.resize


def test_cost_grows_with_the_work() -> None:
    few = vmamba.estimate(Settings.tiny(), TASK, Sizes(10, 5, 5))
    many = vmamba.estimate(Settings.tiny(), TASK, Sizes(10_000, 5, 5))
    wide = vmamba.estimate(Settings(**QUICK, depths=(1, 1, 1, 1), dim=32), TASK, Sizes(10, 5, 5))
    assert few.seconds is not None and many.seconds is not None and many.seconds / few.seconds > 100
    assert few.memory_bytes is not None and wide.memory_bytes is not None and wide.memory_bytes > 4 * few.memory_bytes > 0


def test_official_weights_come_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fieldguide.craft import vmamba_files, vmamba_net

    assert set(vmamba_files.FILES) == set(SIZES) and all(
        name in (vmamba_net.__doc__ or "") for name in vmamba_files.FILES.values()
    )
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    with torch.device("meta"):
        shapes = VMamba(SIZES["tiny"][0]).state_dict()
    state = {name: torch.full(tensor.shape, 0.01) for name, tensor in shapes.items()}
    torch.save({"model": state}, tmp_path / "checkpoints" / vmamba_files.FILES["tiny"])
    settings = Settings(model="tiny", weights="hub")
    vmamba.check(settings, online=False)
    source = vmamba._source(settings)
    assert source is not None and source.described == "hub: vssm1_tiny_0230s_ckpt_epoch_264.pth"
    network = vmamba._network(settings, source, 3)
    assert torch.equal(network.patch_embed[0].bias, torch.full((48,), 0.01))  # type: ignore[arg-type]
