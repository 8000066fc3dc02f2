"""The frozen front: the same training from kept activations, computed once, and refused where it cannot be the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from fieldguide.bench import Bench
from fieldguide.craft import anatomy, loop, prefix
from fieldguide.craft.feed import Pictures, Serving
from fieldguide.craft.loop import Plan
from fieldguide.craft.pace import Pace
from fieldguide.craft.prefix import Cut, Front
from fieldguide.data.augment import Augmentation
from fieldguide.data.batches import Preprocessing
from fieldguide.records import ClassInfo, Example, Image, Pixels
from fieldguide.tasks.classify import Classify

Make = Callable[[Sequence[Pixels | None]], list[Image]]
TASK = Classify((ClassInfo("dark", "dark"), ClassInfo("light", "light")))
PLAN = Plan(
    epochs=4,
    batch_size=4,
    learning_rate=3e-3,
    weight_decay=0.05,
    warmup=0.1,
    patience=10,
    preprocessing=Preprocessing(32),
    augmentation=Augmentation(0.5),
    views=2,
)


def vit(train: str = "last-1") -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = timm.create_model("test_vit", num_classes=2, img_size=32, patch_size=8)
    anatomy.freeze(network, train)
    return network


@pytest.fixture
def sets(held: Make) -> tuple[list[Example], list[Example]]:
    import numpy as np

    draw = np.random.default_rng(0)
    pictures = [(60 + 80 * (at % 2) + draw.normal(0, 40, (40, 36, 3))).clip(0, 255).astype(np.uint8) for at in range(15)]
    examples = [Example(image, TASK.ids[at % 2]) for at, image in enumerate(held(pictures))]
    return examples[:10], examples[10:]


Sets = tuple[list[Example], list[Example]]


def pictures(sets: Sets, plan: Plan = PLAN) -> Pictures:
    train, val = ([example.image for example in part] for part in sets)
    return Pictures(train, val, plan.preprocessing, plan.augmentation, 0, Serving(plan.batch_size))


def opened(
    sets: Sets, network: nn.Module, bench: Bench, plan: Plan = PLAN, asked: str = "on", views: int | None = 2
) -> tuple[Front | None, str]:
    return prefix.opened(network, pictures(sets, plan), Pace(), bench, plan.epochs, views, asked)


def bench(folder: Path, name: str = "a") -> Bench:
    (folder / name).mkdir(exist_ok=True)
    return Bench(folder / name, 3, shared=folder / "shared")


@pytest.mark.parametrize("train", ["last-1", "head", "blocks:3-4", "last-3"])
def test_from_kept_activations_the_network_learns_the_same(sets: Sets, tmp_path: Path, train: str) -> None:
    without, with_front = vit(train), vit(train)
    loop.train(without, *sets, TASK, PLAN, bench(tmp_path, "without"), pictures(sets))
    front, why = opened(sets, with_front, bench(tmp_path, "with"))
    assert front is not None, why
    loop.train(with_front, *sets, TASK, PLAN, bench(tmp_path, "with"), front)
    seen = next(iter(pictures(sets).validation())).pixels
    with torch.inference_mode():
        one, two, start = without(seen), with_front(seen), vit(train).eval()(seen)
    moved = float((one - start).abs().max())
    assert moved > 0.05, "it has learned something"
    assert float((one - two).abs().max()) < 0.05 * moved


def test_each_view_has_its_own_activations_in_the_order_asked_for(sets: Sets, tmp_path: Path) -> None:
    network = vit()
    front, _ = opened(sets, network, bench(tmp_path))
    assert front is not None
    rows = torch.tensor([7, 2, 9, 0, 5]).numpy()
    seen = []
    for view in (0, 1):
        kept = torch.cat([batch.pixels for batch in front.training(rows, view)])
        with torch.no_grad():
            fresh = torch.cat([front.cut.activations(batch.pixels) for batch in pictures(sets).training(rows, view)])
        torch.testing.assert_close(kept, fresh, rtol=0.02, atol=0.02)
        seen.append(kept)
    assert float((seen[0] - seen[1]).abs().mean()) > 0.05, "another view is another thing"


def test_gradients_behind_the_cut_are_those_of_the_whole_network(sets: Sets, tmp_path: Path) -> None:
    network = vit()
    cut = prefix.cut_of(network)
    assert isinstance(cut, Cut) and cut.at == "blocks.5"
    pixels = torch.randn(3, 3, 32, 32)
    network(pixels).square().sum().backward()
    whole = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    with torch.no_grad():
        kept = cut.activations(pixels)
    cut.logits(network, kept, 32).square().sum().backward()
    cutted = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert whole.keys() == cutted.keys()
    for name, grad in whole.items():
        torch.testing.assert_close(cutted[name], grad, rtol=1e-4, atol=1e-6)
    assert torch.equal(network(pixels), vit()(pixels)), "the network is whole again"


def test_what_a_block_begins_with_is_trained_behind_the_cut() -> None:
    """Swin of torchvision shrinks its map in front of a stage: those weights are the stage's, and must not be frozen into the front."""
    from fieldguide.craft import zoo

    torch.manual_seed(0)
    network = zoo.create({"library": "torchvision", "model": "torchvision/swin_v2_t", "classes": 3, "arguments": {}})
    anatomy.freeze(network, "last-1")
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    cut = prefix.cut_of(network)
    assert isinstance(cut, Cut) and prefix.agrees(cut, torch.randn(1, 3, 64, 64), Pace())
    with torch.no_grad():
        kept = cut.activations(torch.randn(2, 3, 64, 64))
    cut.logits(network.train(), kept, 64).square().sum().backward()
    assert {name for name, parameter in network.named_parameters() if parameter.grad is not None} == trained


def test_views_are_computed_once_and_shared(sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    honest = Cut.activations

    def counted(self: Cut, pixels: torch.Tensor) -> torch.Tensor:
        asked.append(len(pixels))
        return honest(self, pixels)

    monkeypatch.setattr(Cut, "activations", counted)

    def fit(name: str, seed: int = 3, plan: Plan = PLAN) -> int:
        asked.clear()
        network = vit()
        place = dataclasses.replace(bench(tmp_path, name), seed=seed)
        front, why = opened(sets, network, place, plan)
        assert front is not None, why
        loop.train(network, *sets, TASK, plan, place, front)
        return sum(asked)

    # Four pictures and one are looked at to open it, ten training pictures at the end; the rest is the front itself.
    assert fit("first") == 4 + 1 + 2 * 10 + 5 + 10, (
        "two views of ten pictures and five of validation, though there are four epochs"
    )
    assert fit("other seed", seed=4) == 4 + 1 + 10
    assert fit("other rate", plan=dataclasses.replace(PLAN, learning_rate=1e-4)) == 4 + 1 + 10
    assert fit("other views", plan=dataclasses.replace(PLAN, augmentation=Augmentation(0.6))) == 4 + 1 + 2 * 10 + 5 + 10


def test_another_front_has_another_name(sets: Sets, tmp_path: Path) -> None:
    def name(network: nn.Module, lists: Sets = sets, plan: Plan = PLAN) -> str:
        front, why = opened(lists, network, bench(tmp_path), plan)
        assert front is not None, why
        return front.folder.name

    plain = name(vit())
    changed = vit()
    with torch.no_grad():
        changed.blocks[2].mlp.fc1.weight[0, 0] += 1e-6  # type: ignore[union-attr, index, operator]
    behind = vit()
    with torch.no_grad():
        behind.blocks[5].mlp.fc1.weight.add_(1.0)  # type: ignore[union-attr, index, operator]
    assert name(behind) == plain, "what comes after the cut changes nothing"
    others = {
        name(changed),
        name(vit("last-2")),
        name(vit(), (sets[0][:-1], sets[1])),
        name(vit(), (sets[0], sets[1][:-1])),
        name(vit(), plan=dataclasses.replace(PLAN, preprocessing=Preprocessing(32, mean=(0.4, 0.4, 0.4)))),
        name(vit(), plan=dataclasses.replace(PLAN, augmentation=Augmentation(0.5, flip=False))),
    }
    assert len(others) == 6 and plain not in others


def test_a_front_that_was_killed_is_computed_again(sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = vit()
    front, _ = opened(sets, network, bench(tmp_path))
    assert front is not None
    honest = Front._activations
    calls: list[int] = []

    def dying(self: Front, pixels: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return honest(self, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(Front, "_activations", dying)
        with pytest.raises(KeyboardInterrupt):
            list(front.training(torch.arange(10).numpy(), 0))
    assert list(front.folder.iterdir()) == []
    again = list(front.training(torch.arange(10).numpy(), 0))
    assert [len(batch.rows) for batch in again] == [4, 4, 2]
    assert [path.name for path in front.folder.iterdir()] == ["view-0.npy"]


@pytest.mark.parametrize(
    ("train", "asked", "views", "augmentation", "why"),
    [
        ("last-1", "off", 2, Augmentation(), "not wanted"),
        ("all", "on", 2, Augmentation(), "all of the network is trained"),
        ("blocks:0-2", "on", 2, Augmentation(), "the first block is trained"),
        ("last-1", "on", 2, Augmentation(mixup=0.2), "mixed"),
        ("last-1", "auto", None, Augmentation(), "4 epochs show 4 distinct views"),
        ("last-1", "auto", 4, Augmentation(), "4 epochs show 4 distinct views"),
    ],
)
def test_it_says_why_not(
    sets: Sets, tmp_path: Path, train: str, asked: str, views: int | None, augmentation: Augmentation, why: str
) -> None:
    plan = dataclasses.replace(PLAN, augmentation=augmentation)
    front, told = opened(sets, vit(train), bench(tmp_path), plan, asked, views)
    assert front is None and why in told


def test_auto_takes_it_where_views_come_again_or_are_there(sets: Sets, tmp_path: Path) -> None:
    front, told = opened(sets, vit(), bench(tmp_path), asked="auto", views=3)
    assert front is not None and told.startswith("3 views of 10 pictures at blocks.5")
    asked, _ = opened(sets, vit(), bench(tmp_path), asked="on", views=None)
    assert asked is not None
    for view in range(4):
        list(asked.training(torch.arange(10).numpy(), view))
    again, _ = opened(sets, vit(), bench(tmp_path), asked="auto", views=None)
    assert again is not None, "all views of four epochs are there already"


def test_a_network_that_looks_back_is_not_cut(sets: Sets, tmp_path: Path) -> None:
    class Looking(nn.Module):
        """Adds what the picture itself says to what its last block says."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = vit()

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.inner(pixels)
            return logits + 10 * pixels.mean((2, 3))[:, :2]

    looking = Looking()
    cut = Cut(looking, "inner.blocks.5", tuple(f"inner.blocks.{at}" for at in range(5)))
    assert not prefix.agrees(cut, torch.randn(2, 3, 32, 32), Pace())
    plain = Cut(looking.inner, "blocks.5", tuple(f"blocks.{at}" for at in range(5)))
    torch.nn.init.normal_(looking.inner.head.weight)  # type: ignore[union-attr, arg-type]
    assert prefix.agrees(plain, torch.randn(2, 3, 32, 32), Pace())


def test_a_full_disk_is_no_place_for_it(sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def little(path: Any) -> Any:
        return type("Usage", (), {"free": 1000})

    monkeypatch.setattr(prefix.shutil, "disk_usage", little)
    front, told = opened(sets, vit(), bench(tmp_path))
    assert front is None and "it would take" in told
