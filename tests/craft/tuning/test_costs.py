"""What teaching will cost is counted from configuration files, and is near what it then takes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.craft.tuning.taught import PLAN, bench, lessons, teaching, wanted

from fieldguide.craft.chat import local_files
from fieldguide.craft.chat.tiny import architectures, write_chat
from fieldguide.craft.pace import autocast
from fieldguide.craft.tuning import Tuning, costs
from fieldguide.craft.tuning.adapters import opened
from fieldguide.craft.tuning.teaching import Teaching
from fieldguide.craft.tuning.teaching import opened as ready
from fieldguide.craft.tuning.training import Course
from fieldguide.families import Sizes, vlm_lora, vlm_prompt
from fieldguide.records import Estimate
from fieldguide.trial import TASK

LANGUAGE, BETWEEN, EVERY = (
    frozenset({*towers, "language", "attention", "mlp"}) for towers in ((), ("projector",), ("vision", "projector"))
)


@pytest.mark.slow(keep=3)
@pytest.mark.parametrize("architecture", architectures())
@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
@pytest.mark.parametrize("which", [LANGUAGE, BETWEEN, EVERY])
def test_parameters_and_weights_are_counted_without_reading_any(
    tiny_chats: Path, architecture: str, method: Any, which: frozenset[str]
) -> None:
    how = Tuning(method, which, rank=8)
    of = costs.network(wanted(tiny_chats, architecture))
    assert all(one.is_meta for one in of.empty.parameters())
    made = opened(wanted(tiny_chats, architecture), how, 0)
    told = made.sizes()
    assert sum(of.trained(how)) == told["trained_parameters"]
    assert of.numbers == told["parameters"] - (0 if method == "full" else told["trained_parameters"])
    mine = made.trained()
    held = sum(
        one.numel() * one.element_size()
        for name, one in made.network.named_parameters()
        if method == "full" or name not in mine
    )
    # Of four bits what stands beside them, scales, is no parameter.
    assert of.weights(method) == pytest.approx(held, rel=0.01 if method == "qlora" else 0)


def test_norms_of_the_language_side_are_counted(tiny_chats: Path) -> None:
    of = costs.network(wanted(tiny_chats, "idefics3"))
    text = of.empty.config.text_config
    assert of.normed() == (2 * text.num_hidden_layers + 1) * text.hidden_size, "two a layer and the last; none of the tower"


def kept(course: Course) -> int:
    """Return the bytes that a pass of one batch keeps for the way back, parameters left out."""
    known = {one.untyped_storage().data_ptr() for one in course.whole.parameters()}
    alive, sizes = [], dict[int, int]()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)  # a storage that is freed may come again as another
        place = tensor.untyped_storage().data_ptr()
        if place not in known:
            sizes[place] = max(sizes.get(place, 0), tensor.numel() * tensor.element_size())
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, autocast(course.bench.device, course.student.precision):
        course.head.loss(course.train[: course.plan.batch_size])
    return sum(sizes.values())


@pytest.mark.slow(keep=2)
@pytest.mark.parametrize("architecture", architectures())
@pytest.mark.parametrize(
    "how",
    [
        {"tuning": Tuning("lora", LANGUAGE, rank=4)},
        {"tuning": Tuning("lora", LANGUAGE, rank=4), "precision": "bf16"},
        {"tuning": Tuning("lora", BETWEEN, rank=64), "optimiser": "adamw8bit"},
        {"tuning": Tuning("qlora", EVERY, rank=4)},
        {"tuning": Tuning("full", EVERY)},
        {"tuning": Tuning("lora", LANGUAGE, rank=4), "head": "labels"},
        {"tuning": Tuning("lora", LANGUAGE, rank=64), "head": "linear"},
    ],
)
def test_memory_and_disk_are_near_what_is_taken(
    tiny_chats: Path, tmp_path: Path, architecture: str, how: dict[str, Any]
) -> None:
    some, _ = lessons(8)
    plan = dataclasses.replace(PLAN, steps=1, every=1, optimiser=how.get("optimiser", "adamw"))
    given: Teaching = teaching(tiny_chats, architecture, how["tuning"], plan=plan, head=how.get("head", "words"))
    given = dataclasses.replace(given, wanted=dataclasses.replace(given.wanted, precision=how.get("precision", "fp32")))
    estimate = costs.expected(given, Sizes(6, 2, 3), 1, None)
    of = costs.network(given.wanted)
    student, head = ready(given, some, bench(tmp_path))
    course = Course(head, some[:6], some[6:], plan, bench(tmp_path))
    activations = plan.batch_size * costs.activations(of, costs.prompt(of, given.wanted, given.asking), given)
    assert activations == pytest.approx(kept(course), rel=0.4)
    course.go()
    moments = sum(
        one.numel() * one.element_size()
        for entries in course.optimiser.state.values()
        for name, one in entries.items()
        if isinstance(one, torch.Tensor) and one.ndim and not name.startswith("qmap")
    )
    trained = [one.numel() for one in course.free.values()]
    assert costs.moments(trained, plan.optimiser) == pytest.approx(moments, rel=0.01)
    own = 4 * sum(trained)
    assert (
        estimate.memory_bytes
        == of.weights(student.tuning.method) + 3 * own + costs.moments(trained, plan.optimiser) + activations
    )
    # Tensors of the tiny models are so small that their names weigh something; in the checkpoint, two are kept, here there is one.
    taken = sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    one_less = 2 * own + costs.moments(trained, plan.optimiser)
    assert estimate.disk_bytes is not None
    assert estimate.disk_bytes - own - one_less * (2 - len(list((tmp_path / "checkpoints").glob("*/")))) == pytest.approx(
        taken, rel=0.4
    )


def test_the_room_tells_it_and_reads_no_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_chat(tmp_path / "model", "llava")
    (folder / "model.safetensors").write_bytes(b"no weights")
    monkeypatch.setattr(local_files, "loaded", None)

    def told(train: int = 100, **more: Any) -> Estimate:
        return vlm_lora.estimate(vlm_lora.Settings(model=f"hf/{folder}", **more), TASK, Sizes(train, 20, 30))

    plain = told()
    assert plain.memory_bytes and plain.disk_bytes and plain.seconds and plain.money is None
    assert told(batch_size=8).memory_bytes > plain.memory_bytes  # type: ignore[operator]
    assert told(method="qlora").memory_bytes < plain.memory_bytes < told(method="full").memory_bytes  # type: ignore[operator]
    assert told(optimiser="adamw8bit", rank=64).disk_bytes < told(rank=64).disk_bytes  # type: ignore[operator]
    assert told(checkpointing=True).memory_bytes < plain.memory_bytes  # type: ignore[operator]
    many = told(10_000)
    assert many.disk_bytes > 20 * plain.disk_bytes and many.seconds > 20 * plain.seconds  # type: ignore[operator]
    assert told(10_000, stored="off").disk_bytes == told(stored="off").disk_bytes
    assert told(10_000, stored="off").seconds > many.seconds  # type: ignore[operator]
    assert (
        vlm_prompt.estimate(vlm_prompt.Settings(model=f"hf/{folder}"), TASK, Sizes(1, 2, 3)).memory_bytes
        == 4 * costs.network(wanted(tmp_path, "model")).numbers
    )


def test_what_cannot_be_counted_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_chat(tmp_path / "model", "llava")
    monkeypatch.setattr(costs, "network", lambda wanted: 1 / 0)
    assert vlm_lora.estimate(vlm_lora.Settings(model=f"hf/{folder}"), TASK, Sizes(10, 2, 3)) == Estimate()
    assert vlm_prompt.estimate(vlm_prompt.Settings(model=f"hf/{folder}"), TASK, Sizes(10, 2, 3)) == Estimate()


@pytest.mark.parametrize("model", ["hf/some/absent", "hf/nowhere/at/all"])
def test_of_a_model_that_is_not_here_nothing_is_known(model: str) -> None:
    assert vlm_lora.estimate(vlm_lora.Settings(model=model), TASK, Sizes(10, 2, 3)) == Estimate()
    assert vlm_prompt.estimate(vlm_prompt.Settings(model=model), TASK, Sizes(10, 2, 3)) == Estimate()
