"""The training loop: resumed bit for bit, stopped in time, and true to its plan."""

from __future__ import annotations

import dataclasses
import math
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fieldguide.bench import Bench, Silent, read_log
from fieldguide.craft import loop, optimiser
from fieldguide.craft.feed import Pictures, Serving
from fieldguide.craft.goals import Naming
from fieldguide.craft.loop import Plan
from fieldguide.data.augment import Augmentation
from fieldguide.data.batches import Preprocessing
from fieldguide.errors import EnvironmentProblem, PictureError
from fieldguide.records import ClassInfo, Example, Image, Pixels
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.count import Count, Task

Make = Callable[[Sequence[Pixels | None]], list[Image]]
TASK = Classify((ClassInfo("dark", "dark"), ClassInfo("light", "light"), ClassInfo("red", "red")))
PLAN = Plan(
    epochs=4,
    batch_size=4,
    learning_rate=3e-3,
    weight_decay=0.05,
    warmup=0.1,
    patience=10,
    label_smoothing=0.1,
    preprocessing=Preprocessing(8),
    augmentation=Augmentation(0.5),
)


def network(seed: int = 0) -> nn.Module:
    """Convolution, BatchNorm and dropout: all that a resume can get wrong."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 3),
    )


def examples(held: Make, count: int, seed: int = 0) -> list[Example]:
    """Return noisy pictures whose brightness or colour is the class, only half visible."""
    draw = np.random.default_rng(seed)
    pictures, labels = [], []
    for at in range(count):
        label = at % 3
        base = np.array([[90, 90, 90], [160, 160, 160], [160, 90, 90]][label])
        pictures.append((base + draw.normal(0, 60, (9 + at % 3, 10, 3))).clip(0, 255).astype(np.uint8))
        labels.append(TASK.ids[label])
    images = held(pictures)
    return [
        Example(dataclasses.replace(image, key=f"{seed}-{image.key}", reader=_Renamed(image)), label)
        for image, label in zip(images, labels, strict=True)
    ]


@dataclasses.dataclass(frozen=True)
class _Renamed:
    image: Image

    def read(self, key: str, at_least: int) -> Pixels:
        return self.image.pixels(at_least)

    def prepare(self, keys: Sequence[str], at_least: int) -> None:
        pass


class Killed(BaseException):
    """The power went off."""


@dataclasses.dataclass
class Dying:
    """A progress whose bar kills the run after so many steps."""

    after: int
    steps: int = 0

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Any]:
        outer = self

        class Bar:
            def advance(self, steps: int = 1, note: str = "") -> None:
                if note:
                    outer.steps += steps
                    if outer.steps >= outer.after:
                        raise Killed

        yield Bar()


@pytest.fixture
def sets(held: Make) -> tuple[list[Example], list[Example]]:
    return examples(held, 18), examples(held, 9, seed=1)


Sets = tuple[list[Example], list[Example]]


def fit(
    sets: Sets,
    scratch: Path,
    plan: Plan = PLAN,
    progress: Any = None,
    model: nn.Module | None = None,
    seed: int = 3,
    task: Task = TASK,
) -> nn.Module:
    scratch.mkdir(parents=True, exist_ok=True)
    bench = Bench(scratch, seed, progress=progress or Silent())
    return loop.train(model or network(), *sets, task, plan, bench, pictures(sets, plan, seed))


def pictures(sets: Sets, plan: Plan, seed: int = 3, device: str = "cpu") -> Pictures:
    train, val = ([example.image for example in part] for part in sets)
    return Pictures(train, val, plan.preprocessing, plan.augmentation, seed, Serving(plan.batch_size, device))


def same(one: nn.Module, two: nn.Module) -> bool:
    left, right = one.state_dict(), two.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def epochs(scratch: Path) -> list[dict[str, Any]]:
    return [event for event in read_log(scratch / "log.jsonl") if event["event"] == "epoch"]


STEPS = 5  # eighteen pictures in batches of four


@pytest.mark.slow(keep=8)
@pytest.mark.parametrize(
    "kills", [[at] for at in (1, 5, 7, 20)] + [sorted(random.Random(seed).sample(range(1, 20), 3)) for seed in range(3)]
)
@pytest.mark.parametrize("often", [True, False])
def test_a_killed_run_ends_in_the_same_weights(
    sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: list[int], often: bool
) -> None:
    whole = fit(sets, tmp_path / "whole")
    told = epochs(tmp_path / "whole")
    if often:
        monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    scratch, done = tmp_path / "killed", 0
    for kill in kills:
        torch.manual_seed(random.Random(kill).randrange(99))
        with pytest.raises(Killed):
            fit(sets, scratch, progress=Dying(kill - done))
        # The bar moves before the checkpoint is written: the last step is lost, or all since the epoch began.
        done = kill - 1 if often else (kill - 1) // STEPS * STEPS
    resumed = fit(sets, scratch)
    assert same(whole, resumed)
    strip = [{key: value for key, value in event.items() if key != "seconds"} for event in told]
    assert [{key: value for key, value in event.items() if key != "seconds"} for event in epochs(scratch)] == strip
    events = [event["event"] for event in read_log(scratch / "log.jsonl")]
    assert events.count("best") == 1
    again = fit(sets, scratch)
    assert same(again, whole)
    assert len(epochs(scratch)) == 4


def test_no_thread_outlives_a_run_that_is_stopped(sets: Sets, tmp_path: Path) -> None:
    """The traceback still holds the run's frames, so nothing ends by itself."""
    before = set(threading.enumerate())
    with pytest.raises(Killed) as caught:
        fit(sets, tmp_path, progress=Dying(2))
    assert caught.tb is not None
    assert set(threading.enumerate()) <= before


def test_a_run_killed_while_it_validates_goes_on(sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint then stands after the last step of an epoch, which has no batch left."""
    whole = fit(sets, tmp_path / "whole")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    for epoch in range(3):

        def dying(self: Any) -> dict[str, float]:
            raise Killed

        with monkeypatch.context() as patch:
            if epoch:
                calls: list[int] = []
                honest = loop.Run._validate

                def later(self: Any, honest: Any = honest, calls: list[int] = calls) -> dict[str, float]:
                    calls.append(1)
                    if len(calls) > 1:
                        raise Killed
                    result: dict[str, float] = honest(self)
                    return result

                patch.setattr(loop.Run, "_validate", later)
            else:
                patch.setattr(loop.Run, "_validate", dying)
            with pytest.raises(Killed):
                fit(sets, tmp_path / "killed")
    assert same(fit(sets, tmp_path / "killed"), whole)
    keys = ("epoch", "train_loss", "val_loss", "val_accuracy", "learning_rate")
    assert [[event[key] for key in keys] for event in epochs(tmp_path / "killed")] == [
        [event[key] for key in keys] for event in epochs(tmp_path / "whole")
    ]


def test_an_epoch_is_told_once_though_its_checkpoint_was_never_written(
    sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for epoch in range(2):
        saves: list[int] = []
        honest = loop.checkpoint.save

        def dying(*given: Any, saves: list[int] = saves, most: int = epoch, honest: Any = honest) -> None:
            saves.append(1)
            if len(saves) > most:
                raise Killed
            honest(*given)

        with monkeypatch.context() as patch:
            patch.setattr(loop.checkpoint, "save", dying)
            Bench(tmp_path).log("sitting")
            with pytest.raises(Killed):
                fit(sets, tmp_path)
    fit(sets, tmp_path)
    assert [event["epoch"] for event in epochs(tmp_path)] == [0, 1, 2, 3]
    assert [event["event"] for event in read_log(tmp_path / "log.jsonl")].count("sitting") == 2


def test_runs_repeat_and_seeds_differ(sets: Sets, tmp_path: Path) -> None:
    assert same(fit(sets, tmp_path / "a"), fit(sets, tmp_path / "b"))
    assert not same(fit(sets, tmp_path / "a"), fit(sets, tmp_path / "c", seed=4))


@pytest.mark.parametrize(
    "change", [{"learning_rate": 1e-3}, {"epochs": 5}, {"augmentation": Augmentation(0.6)}, {"label_smoothing": 0.0}]
)
def test_the_checkpoint_of_another_plan_is_not_resumed(sets: Sets, tmp_path: Path, change: dict[str, Any]) -> None:
    fit(sets, tmp_path / "a")
    Bench(tmp_path / "a").fact(kept=True)
    plan = dataclasses.replace(PLAN, **change)
    assert same(fit(sets, tmp_path / "a", plan), fit(sets, tmp_path / "b", plan))
    assert len(epochs(tmp_path / "a")) == plan.epochs
    assert next(event["event"] for event in read_log(tmp_path / "a" / "log.jsonl")) == "fact"


def test_the_checkpoint_of_other_pictures_or_labels_or_seed_is_not_resumed(sets: Sets, tmp_path: Path) -> None:
    train, val = sets
    relabelled = [dataclasses.replace(train[0], label="red"), *train[1:]]
    for changed, seed in (((train[:-1], val), 3), ((relabelled, val), 3), ((train[::-1], val), 3), (sets, 4)):
        fit(sets, tmp_path / "a")
        assert same(fit(changed, tmp_path / "a", seed=seed), fit(changed, tmp_path / "b", seed=seed))


def test_a_damaged_checkpoint_costs_what_came_after_the_one_before(
    sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Killed):
        fit(sets, tmp_path / "a", progress=Dying(12))
    newest = (tmp_path / "a" / "checkpoints" / "LATEST").read_text()
    (tmp_path / "a" / "checkpoints" / newest / "tensors.safetensors").write_bytes(b"half")
    assert same(fit(sets, tmp_path / "a"), fit(sets, tmp_path / "b"))
    [resumed] = [event for event in read_log(tmp_path / "a" / "log.jsonl") if event["event"] == "resumed"]
    assert (resumed["at_epoch"], resumed["at_step"]) == (2, 0)
    assert [event["epoch"] for event in epochs(tmp_path / "a")] == [0, 1, 2, 3]


def scripted(monkeypatch: pytest.MonkeyPatch, scores: Sequence[tuple[float, float]]) -> list[dict[str, torch.Tensor]]:
    """Have validation say `scores`; return the weights each was said of."""
    seen: list[dict[str, torch.Tensor]] = []

    def validate(self: Any) -> dict[str, float]:
        seen.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
        accuracy, loss = scores[len(seen) - 1]
        return {"val_accuracy": accuracy, "val_macro_f1": 0.0, "val_loss": loss}

    monkeypatch.setattr(loop.Run, "_validate", validate)
    return seen


@pytest.mark.parametrize(
    ("scores", "patience", "run", "best"),
    [
        ([(0.5, 1.0), (0.6, 1.0), (0.6, 1.0), (0.4, 0.1), (0.9, 0.1)], 2, 4, 1),
        ([(0.5, 1.0), (0.4, 1.0), (0.6, 1.0), (0.4, 0.1), (0.6, 0.9)], 2, 5, 4),
        ([(0.5, 1.0), (0.5, 1.0)], 1, 2, 0),
        ([(0.0, 9.0), (0.0, 8.0), (0.0, 8.5)], 5, 3, 1),
        ([(0.5, math.nan), (0.6, math.nan), (0.1, 1.0)], 9, 3, 1),
    ],
)
def test_it_stops_when_nothing_gets_better_and_keeps_the_best(
    sets: Sets,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scores: list[tuple[float, float]],
    patience: int,
    run: int,
    best: int,
) -> None:
    seen = scripted(monkeypatch, scores)
    model = fit(sets, tmp_path, dataclasses.replace(PLAN, epochs=len(scores), patience=patience))
    assert len(seen) == run
    assert len(epochs(tmp_path)) == run
    assert all(torch.equal(tensor, seen[best][name]) for name, tensor in model.state_dict().items())
    last = read_log(tmp_path / "log.jsonl")[-1]
    assert (last["event"], last["epoch"], last["val_accuracy"]) == ("best", best, scores[best][0])
    assert not model.training


def test_without_validation_the_last_epoch_is_kept(sets: Sets, tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, patience=1)
    model = fit((sets[0], []), tmp_path, plan)
    assert [event["val_accuracy"] for event in epochs(tmp_path)] == [None] * 4
    assert read_log(tmp_path / "log.jsonl")[-1]["epoch"] == 3
    longer = fit((sets[0], []), tmp_path / "again", plan)
    assert same(model, longer)


def test_what_is_logged_is_what_a_reader_computes(sets: Sets, tmp_path: Path) -> None:
    from fieldguide.data.batches import evaluation_batches

    plan = dataclasses.replace(PLAN, epochs=1, batch_size=5)
    model = fit(sets, tmp_path, plan)
    images, targets = (
        [example.image for example in sets[1]],
        torch.tensor([TASK.index[str(example.label)] for example in sets[1]]),
    )
    with torch.inference_mode():
        logits = torch.cat([model(batch.pixels) for batch in evaluation_batches(images, plan.preprocessing, 5)])
    [event] = epochs(tmp_path)
    assert event["val_accuracy"] == pytest.approx(float((logits.argmax(1) == targets).double().mean()))
    assert event["val_loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, targets)), rel=1e-5)


def test_it_learns(sets: Sets, tmp_path: Path) -> None:
    fit(sets, tmp_path, dataclasses.replace(PLAN, epochs=15, learning_rate=2e-2))
    first, *_, last = epochs(tmp_path)
    assert last["train_loss"] < first["train_loss"] - 0.2
    assert max(event["val_accuracy"] for event in epochs(tmp_path)) > 0.6


def rates(sets: Sets, tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    used: list[float] = []
    honest = loop.Run.step

    def step(self: Any, batches: Any, rate: float) -> float:
        loss = honest(self, batches, rate)
        used.append(rate)
        assert {group["lr"] for group in self.optimiser.param_groups} == {rate}
        return loss

    monkeypatch.setattr(loop.Run, "step", step)
    fit(sets, tmp_path, plan)
    return used


def test_the_rate_warms_up_and_falls_along_a_cosine(sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = dataclasses.replace(PLAN, warmup=0.2, learning_rate=1e-2)
    used = rates(sets, tmp_path, plan, monkeypatch)
    warm, rest = 4, 16
    expected = [1e-2 * (at + 1) / warm for at in range(warm)]
    expected += [1e-2 * 0.5 * (1 + math.cos(math.pi * at / rest)) for at in range(rest)]
    assert used == pytest.approx(expected)
    assert [event["learning_rate"] for event in epochs(tmp_path)] == pytest.approx(expected[4::5])


def test_without_warm_up_the_first_step_has_the_full_rate(sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = rates(sets, tmp_path, dataclasses.replace(PLAN, warmup=0.0, epochs=1), monkeypatch)
    assert used[0] == PLAN.learning_rate
    assert used == sorted(used, reverse=True)


def test_matrices_decay_and_vectors_do_not_and_a_new_head_is_faster(
    sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network()
    model[0].bias.requires_grad = False  # type: ignore[union-attr]
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    used: dict[str, tuple[float, float]] = {}
    honest = loop.Run.step

    def step(self: Any, batches: Any, rate: float) -> float:
        loss = honest(self, batches, rate)
        for group in self.optimiser.param_groups:
            used.update({names[id(parameter)]: (group["weight_decay"], group["lr"]) for parameter in group["params"]})
        return loss

    monkeypatch.setattr(loop.Run, "step", step)
    plan = dataclasses.replace(PLAN, factors={"6.weight": 10.0, "6.bias": 10.0}, epochs=1, warmup=1.0, learning_rate=1e-2)
    fit(sets, tmp_path, plan, model=model)
    slow, fast = pytest.approx(1e-2), pytest.approx(1e-1)
    assert used == {
        "0.weight": (0.05, slow),
        "1.weight": (0.0, slow),
        "1.bias": (0.0, slow),
        "6.weight": (0.05, fast),
        "6.bias": (0.0, fast),
    }


def test_what_a_network_names_does_not_decay() -> None:
    model = network()
    model.no_weight_decay = lambda: {"0.weight"}  # type: ignore[assignment]
    groups = optimiser.groups(model, PLAN.weight_decay, PLAN.factors)
    decay = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    told = {name: decay[id(parameter)] for name, parameter in model.named_parameters()}
    assert told["0.weight"] == told["6.bias"] == 0.0 and told["6.weight"] == 0.05


def test_frozen_parts_are_untouched(sets: Sets, tmp_path: Path) -> None:
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("6.")
    after = fit(sets, tmp_path, dataclasses.replace(PLAN, weight_decay=0.5), model=model).state_dict()
    assert {name for name in after if not torch.equal(after[name], before[name])} == {"6.weight", "6.bias"}
    thawed = fit(sets, tmp_path / "thawed").state_dict()
    assert not torch.equal(thawed["1.running_mean"], before["1.running_mean"])


def test_dropout_stays_on_while_it_trains_and_goes_off_to_validate(sets: Sets, tmp_path: Path) -> None:
    told: list[bool] = []
    model = network()
    model[3].register_forward_hook(lambda module, *_: told.append(module.training))
    fit(sets, tmp_path, dataclasses.replace(PLAN, epochs=1, batch_size=6), model=model)
    assert told == [True] * 3 + [False] * 2 + [False] * 3, "three steps, validation, and a look at the training pictures"


def test_divergence_is_three_breaths(sets: Sets, tmp_path: Path) -> None:
    model = network()
    with torch.no_grad():
        model[6].weight.fill_(float("inf"))  # type: ignore[union-attr, operator]
    with pytest.raises(EnvironmentProblem, match="diverged") as caught:
        fit(sets, tmp_path, model=model)
    assert "epoch 0" in caught.value.given
    assert "0.003" in caught.value.allowed
    assert "learning_rate=0.0003" in caught.value.next


def test_a_lost_picture_stops_the_run(sets: Sets, held: Make, tmp_path: Path) -> None:
    lost = Example(held([None])[0], "dark")
    for broken in (([*sets[0], lost], sets[1]), (sets[0], [*sets[1], lost])):
        with pytest.raises(PictureError):
            fit(broken, tmp_path)


@pytest.mark.parametrize(
    ("pictures", "batch_size", "steps"),
    [(18, 4, 5), (16, 4, 4), (17, 4, 4), (1, 4, 1), (3, 4, 1), (5, 1, 5), (4, 4, 1), (5, 4, 1)],
)
def test_no_step_is_left_with_one_picture(pictures: int, batch_size: int, steps: int) -> None:
    assert loop.batches_of(pictures, batch_size) == steps


def test_a_left_over_picture_does_not_stop_batchnorm_and_is_another_each_epoch(sets: Sets, tmp_path: Path) -> None:
    """A network that shrinks a picture to one position cannot train BatchNorm on one picture."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3))
    fit((sets[0][:17], sets[1]), tmp_path, model=model)
    assert len(epochs(tmp_path)) == 4


def test_a_bar_counts_every_step_once(sets: Sets, tmp_path: Path) -> None:
    bars: list[list[Any]] = []

    class Counting:
        @contextmanager
        def bar(self, what: str, total: int) -> Iterator[Any]:
            bars.append([what, total, 0])

            class Bar:
                def advance(self, steps: int = 1, note: str = "") -> None:
                    bars[-1][2] += steps

            yield Bar()

    with pytest.raises(Killed):
        fit(sets, tmp_path, progress=Dying(12))
    fit(sets, tmp_path, progress=Counting())
    assert bars == [["train", 20, 20]]


@pytest.mark.gpu
def test_a_killed_run_goes_on_on_an_accelerator(sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no accelerator here")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    ended = []
    for kill in (None, 7):
        bench = Bench(tmp_path / str(kill), 3, device="cuda", progress=Dying(kill) if kill else Silent())
        bench.scratch.mkdir()
        if kill:
            with pytest.raises(Killed):
                loop.train(network(), *sets, TASK, PLAN, bench, pictures(sets, PLAN, device="cuda"))
            bench = dataclasses.replace(bench, progress=Silent())
        ended.append(loop.train(network(), *sets, TASK, PLAN, bench, pictures(sets, PLAN, device="cuda")).state_dict())
    for name, tensor in ended[0].items():
        torch.testing.assert_close(ended[1][name], tensor, rtol=1e-4, atol=1e-5, msg=name)


# --- what a plan may ask for ---------------------------------------------------------------------------------------------------


def steady() -> nn.Module:
    """A network that treats each picture by itself: no BatchNorm, no dropout."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 3))


def apart(one: nn.Module, two: nn.Module) -> float:
    pairs = zip(one.parameters(), two.parameters(), strict=True)
    return max(float((left - right).detach().abs().max()) for left, right in pairs)


def test_accumulated_batches_are_one_large_batch(sets: Sets, tmp_path: Path) -> None:
    whole = fit(sets, tmp_path / "a", dataclasses.replace(PLAN, batch_size=8), model=steady())
    summed = fit(sets, tmp_path / "b", dataclasses.replace(PLAN, batch_size=4, accumulate=2), model=steady())
    small = fit(sets, tmp_path / "c", dataclasses.replace(PLAN, batch_size=4), model=steady())
    assert apart(whole, summed) < 1e-6 < 1e-3 < apart(whole, small)


@pytest.mark.slow(keep=8)
@pytest.mark.parametrize("kill", [3, 7])
@pytest.mark.parametrize(
    "change",
    [
        {"accumulate": 2, "schedule": "linear"},
        {"ema": 0.9},
        {"sampling": "balanced", "class_weights": "balanced", "monitor": "macro_f1"},
        {"augmentation": Augmentation(mixup=0.5, cutmix=1.0, rotate=10, brightness=0.4, erase=0.5), "views": 2},
        {"augmentation": Augmentation(policy="randaugment"), "monitor": "loss", "clip": 0.0},
    ],
)
def test_whatever_is_asked_for_is_resumed_to_the_bit(
    sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], kill: int
) -> None:
    plan = dataclasses.replace(PLAN, epochs=3, **change)
    whole = fit(sets, tmp_path / "whole", plan)
    assert not same(whole, fit(sets, tmp_path / "plain", dataclasses.replace(PLAN, epochs=3)))
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Killed):
        fit(sets, tmp_path / "killed", plan, progress=Dying(kill))
    assert same(fit(sets, tmp_path / "killed", plan), whole)


def test_the_running_mean_is_what_is_validated_and_kept(sets: Sets, tmp_path: Path) -> None:
    """After three steps, whose decays are still those of the warm-up of (1 + t) / (10 + t): worked out by hand from the weights in between."""
    seen: list[torch.Tensor] = []
    model = steady()
    start = model[4].weight.detach().clone()  # type: ignore[operator, union-attr]
    honest = loop.Run.step

    def step(self: Any, batches: Any, rate: float) -> float:
        loss = honest(self, batches, rate)
        seen.append(self.model[4].weight.detach().clone())
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Run, "step", step)
        fit(sets, tmp_path, dataclasses.replace(PLAN, epochs=1, batch_size=6, ema=0.9, learning_rate=3e-2), model=model)
    mean = start
    for at, weights in enumerate(seen):
        decay = min(0.9, (1 + at) / (10 + at))
        mean = decay * mean + (1 - decay) * weights
    assert len(seen) == 3
    torch.testing.assert_close(model[4].weight.detach(), mean)  # type: ignore[operator, union-attr]
    assert not torch.allclose(mean, seen[-1])


def test_a_killed_run_that_counts_ends_in_the_same_weights(sets: Sets, tmp_path: Path) -> None:
    counted = tuple(
        [dataclasses.replace(one, counts={TASK.ids[at % 3]: at % 4, TASK.ids[0]: 1}) for at, one in enumerate(part)]
        for part in sets
    )
    task = Count(TASK.classes)
    whole = fit(counted, tmp_path / "whole", task=task)  # type: ignore[arg-type]
    with pytest.raises(Killed):
        fit(counted, tmp_path / "cut", progress=Dying(4), task=task)  # type: ignore[arg-type]
    again = fit(counted, tmp_path / "cut", task=task)  # type: ignore[arg-type]
    assert same(again, whole) and not same(again, fit(sets, tmp_path / "named"))
    events = [event for event in read_log(tmp_path / "cut" / "log.jsonl") if event["event"] == "epoch"]
    assert all({"val_accuracy", "val_mae"} <= set(event) for event in events)


def test_rare_classes_weigh_more(held: Make, tmp_path: Path) -> None:
    many = [example for example in examples(held, 90) if example.label != "red"]
    few = [example for example in examples(held, 12, seed=5) if example.label == "red"]
    lists = ([*many, *few], [])
    run = loop.Run(
        steady(), *lists, TASK, dataclasses.replace(PLAN, class_weights="balanced"), Bench(tmp_path), pictures(lists, PLAN)
    )
    assert isinstance(run.goal, Naming) and run.goal.weights is not None
    assert run.goal.weights.tolist() == pytest.approx([64 / 90, 64 / 90, 64 / 12])
    plain = fit(lists, tmp_path / "plain", dataclasses.replace(PLAN, epochs=6), model=steady())
    heavy = fit(lists, tmp_path / "heavy", dataclasses.replace(PLAN, epochs=6, class_weights="balanced"), model=steady())
    even = fit(lists, tmp_path / "even", dataclasses.replace(PLAN, epochs=6, sampling="balanced"), model=steady())

    def says_red(model: nn.Module) -> float:
        batches = pictures(lists, PLAN).plain(range(len(lists[0])))
        with torch.inference_mode():
            return float(torch.cat([model(batch.pixels).softmax(1)[:, 2] for batch in batches]).mean())

    assert says_red(heavy) > 2 * says_red(plain)
    assert says_red(even) > 2 * says_red(plain)


@pytest.mark.parametrize(("monitor", "best"), [("accuracy", 1), ("macro_f1", 2), ("loss", 0)])
def test_what_is_monitored_decides(
    sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, monitor: Any, best: int
) -> None:
    told = [(0.5, 0.5, 0.1), (0.6, 0.4, 0.2), (0.5, 0.6, 0.3)]
    said = iter([{"val_accuracy": a, "val_macro_f1": f, "val_loss": loss} for a, f, loss in told])
    monkeypatch.setattr(loop.Run, "_validate", lambda self: next(said))
    fit(sets, tmp_path, dataclasses.replace(PLAN, epochs=3, monitor=monitor))
    assert read_log(tmp_path / "log.jsonl")[-1]["epoch"] == best


@pytest.mark.parametrize(
    ("schedule", "last"), [("linear", [1.0, 0.75, 0.5, 0.25]), ("constant", [1.0] * 4), ("cosine", [1.0, 0.854, 0.5, 0.146])]
)
def test_schedules(schedule: Any, last: list[float]) -> None:
    assert [optimiser.rate(step, 4, 0.0, schedule) for step in range(4)] == pytest.approx(last, abs=1e-3)
    assert optimiser.rate(0, 10, 0.2, schedule) == 0.5


def test_memory_that_runs_out_makes_pieces_and_the_same_step(
    sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that holds no more than two pictures at once trains on batches of eight all the same, and remembers how."""
    plan = dataclasses.replace(PLAN, batch_size=8, epochs=2)
    whole = fit(sets, tmp_path / "whole", plan, model=steady())
    honest = Pictures.logits
    sizes: list[int] = []

    def little(self: Any, network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        sizes.append(len(inputs))
        if network.training and len(inputs) > 2:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: can't allocate memory")
        return honest(self, network, inputs)

    monkeypatch.setattr(Pictures, "logits", little)
    small = fit(sets, tmp_path / "small", plan, model=steady())
    assert apart(whole, small) < 1e-6
    facts = [event for event in read_log(tmp_path / "small" / "log.jsonl") if event["event"] == "fact"]
    assert [event["batches_cut_into"] for event in facts] == [2, 4]
    assert sizes[:3] == [8, 4, 2] and sizes.count(8) == 5, (
        "the batch that failed, validation twice, and the look at 18 training pictures"
    )
    sizes.clear()
    fit(sets, tmp_path / "small", dataclasses.replace(plan, learning_rate=1e-3), model=steady())
    assert sizes[0] == 2, "remembered"
    monkeypatch.setattr(Pictures, "logits", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        fit(sets, tmp_path / "none", plan, model=steady())


def test_a_mistake_is_no_lack_of_memory(sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: Any) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Pictures, "logits", wrong)
    with pytest.raises(RuntimeError, match="mat1"):
        fit(sets, tmp_path)
    assert not (tmp_path / "decisions.json").exists()


def test_what_is_frozen_answers_as_it_will(sets: Sets, tmp_path: Path) -> None:
    """Dropout in a frozen part would make its activations another thing than those that predict."""
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 6, 3), nn.Dropout(0.5), nn.BatchNorm2d(6)), nn.Flatten(), nn.Linear(216, 3)
    )
    for parameter in model[0].parameters():
        parameter.requires_grad = False
    loop.train_mode(model)
    assert [module.training for module in model[0].modules()] == [False] * 4  # type: ignore[union-attr]
    assert model.training and model[2].training


def test_the_kept_weights_are_tried_on_their_own_pictures(sets: Sets, tmp_path: Path) -> None:
    model = fit(sets, tmp_path, dataclasses.replace(PLAN, epochs=8, learning_rate=2e-2))
    last = read_log(tmp_path / "log.jsonl")[-1]
    batches = list(pictures(sets, PLAN).plain(range(18)))
    with torch.inference_mode():
        answers = torch.cat([model(batch.pixels) for batch in batches]).argmax(1)
    truth = torch.tensor([TASK.index[str(example.label)] for example in sets[0]])
    assert last["train_accuracy"] == pytest.approx(float((answers == truth).double().mean()))
    assert last["train_pictures"] == 18
    best = max(epochs(tmp_path), key=lambda event: (event["val_accuracy"], -event["val_loss"]))
    assert (last["epoch"], last["val_accuracy"], last["val_loss"]) == (best["epoch"], best["val_accuracy"], best["val_loss"])
