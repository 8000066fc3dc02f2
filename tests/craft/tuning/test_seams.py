"""A projector that is trained on what a frozen tower gave once: the same loss, gradients and answers, and no second look."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.craft.chat.asking import asking
from tests.craft.tuning.taught import PLAN, bench, lessons, losses, student, teaching

from fieldguide.craft.chat import tiny
from fieldguide.craft.tuning import Lesson, Tuning, looked, parts, rows, saying, seams
from fieldguide.craft.tuning.adapters import Student
from fieldguide.craft.tuning.looked import Looked
from fieldguide.craft.tuning.teaching import opened, taught

BETWEEN = Tuning(rank=4, parts=frozenset({"projector", "language", "attention"}))


@pytest.fixture(scope="module", autouse=True)
def reordering(tiny_chats: Path) -> None:
    """Write a model that puts what its projector made into another order: Qwen2.5-VL, which attends within windows."""

    def build(tokenizer: Any, sizes: dict[str, int]) -> tuple[Any, Any]:
        from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

        newer, processor = tiny._qwen3_vl(tokenizer, sizes)
        vision = {**tiny._picture(sizes), "depth": 2, "num_heads": 4, "out_hidden_size": 64, "fullatt_block_indexes": [1]}
        ids = {f"{name}_token_id": getattr(newer.config, f"{name}_token_id") for name in ("image", "video", "vision_start")}
        rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}
        text = tiny._text(tokenizer, sizes, rope_parameters=rope)
        config = Qwen2_5_VLConfig(text_config=text, vision_config={**vision, "window_size": 32}, **ids)
        looks, videos = processor.image_processor, processor.video_processor
        made = Qwen2_5_VLProcessor(looks, tokenizer, videos, chat_template=tokenizer.chat_template)
        return Qwen2_5_VLForConditionalGeneration(config), made

    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(tiny._KINDS, "reordering", (tiny._KINDS["qwen3_vl"][0], build))
        tiny.write_chat(tiny_chats / "reordering", "reordering", side=64)


def stored(made: Student, some: list[Lesson], folder: Path) -> Looked:
    images = [lesson.image for lesson in some]
    store, why = looked.opened(made.chat, images, made.base, made.tuning.parts, bench(folder))
    assert store is not None, why
    store.prepare(images)
    return store


@torch.no_grad()
def moved(made: Student) -> None:
    """Let training have come somewhere: adapters that give nothing yet hide what goes into them."""
    torch.manual_seed(0)
    for tensor in made.trained().values():
        tensor.add_(0.05 * torch.randn_like(tensor))


def gradients(made: Student, some: list[Lesson], *, store: Looked | None = None) -> tuple[float, dict[str, torch.Tensor]]:
    maker = rows.Rows(made.chat, asking(), looked=store)
    made.network.zero_grad()
    value = rows.loss(made.network, maker.batch([maker.row(lesson) for lesson in some]))
    value.backward()  # type: ignore[no-untyped-call]
    return float(value.detach()), {name: one.grad for name, one in made.trained().items() if one.grad is not None}


@pytest.mark.slow(keep=2)
@pytest.mark.parametrize("architecture", [*tiny.architectures(), "reordering"])
@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_losses_and_gradients_are_those_of_looking(tiny_chats: Path, tmp_path: Path, architecture: str, method: Any) -> None:
    made, (some, shelf) = student(tiny_chats, architecture, dataclasses.replace(BETWEEN, method=method)), lessons()
    store = stored(made, some, tmp_path)
    moved(made)
    expected, looking = gradients(made, some)
    shelf.reads.clear()
    found, instead = gradients(made, some, store=store)
    assert not shelf.reads
    assert found == pytest.approx(expected, rel=1e-5)
    assert instead.keys() == looking.keys()
    for name, tensor in looking.items():
        assert torch.allclose(instead[name], tensor, rtol=1e-5, atol=1e-5 * max(1.0, float(tensor.abs().max()))), name
    place = parts.towers(made.network)
    between = [name for name in looking if place.part(parts._WRAPPED.sub("", name))[0] == "projector"]
    assert any(instead[name].any() for name in between)
    if architecture == "reordering":
        look = store.of(some[0].image)
        assert look is not None and "pooled-order" in look.features


def counted(network: Any) -> list[int]:
    """Return a list that grows by one whenever the vision tower of `network` looks at something."""
    looks: list[int] = []
    network.get_submodule(parts.towers(network).vision).register_forward_hook(lambda *_: looks.append(1))
    return looks


@pytest.fixture
def towers(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Return the looks of every model that is opened for teaching."""
    found: list[list[int]] = []
    honest = Looked.__post_init__

    def seen(self: Looked) -> None:
        honest(self)
        found.append(counted(self.chat.model))

    monkeypatch.setattr(Looked, "__post_init__", seen)
    return found


@pytest.mark.slow(keep=2)
@pytest.mark.parametrize("architecture", ["idefics3", "mllama", "qwen3_vl"])
@pytest.mark.parametrize("which", ["language", "projector"])
def test_a_frozen_tower_looks_once_at_each_picture_whatever_is_asked_while_training(
    tiny_chats: Path, tmp_path: Path, architecture: str, which: str, towers: list[list[int]]
) -> None:
    some, _ = lessons()
    how = dataclasses.replace(BETWEEN, parts=frozenset({which, "language", "attention"}))
    plan = dataclasses.replace(PLAN, steps=6, every=1, patience=9)
    given = teaching(tiny_chats, architecture, how, plan=plan)
    taught(given, some[:4], some[4:], bench(tmp_path / "auto"))
    # One for each picture, and the first of them to see what is stored, and that it gives the same loss, words and a prompt begun before.
    (looks,) = towers
    assert 6 + 3 <= len(looks) <= 6 + 6, "six steps of four pictures, and six looks at two, would be 36"
    taught(dataclasses.replace(given, store="off"), some[:4], some[4:], bench(tmp_path / "off"))
    assert losses(tmp_path / "auto") == pytest.approx(losses(tmp_path / "off"), rel=1e-4)


@pytest.mark.parametrize("architecture", ["mllama", "idefics3"])
def test_logits_of_answers_are_those_of_looking(
    tiny_chats: Path, tmp_path: Path, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, (some, _) = student(tiny_chats, architecture, BETWEEN), lessons(4)
    store = stored(made, some, tmp_path)
    moved(made)
    honest, logits = made.network.generate, []

    def generate(**given: Any) -> Any:
        out = honest(**given, output_logits=True, return_dict_in_generate=True)
        logits.append(torch.stack(list(out.logits)))
        return out.sequences

    monkeypatch.setattr(made.network, "generate", generate)
    images = [lesson.image for lesson in some]
    told = []
    for maker in (rows.Rows(made.chat, asking(most_tokens=5)), rows.Rows(made.chat, asking(most_tokens=5), looked=store)):
        maker.alike = True
        made.chat.batch = 1
        logits.clear()
        said = [one.text for one in saying.said(maker, images)]
        told.append((said, [one[:, 0] for one in logits if one.shape[1] == 1][-len(images) :]))
    assert told[0][0] == told[1][0]
    for plainly, instead in zip(told[0][1], told[1][1], strict=True):
        assert torch.allclose(plainly, instead, rtol=1e-5, atol=1e-5 * float(plainly.abs().max()))


def test_what_happens_behind_the_projector_is_noticed_and_pictures_are_looked_at(
    tiny_chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.llava.modeling_llava import LlavaModel

    honest = LlavaModel.get_image_features

    @functools.wraps(honest)
    def changed(self: Any, *given: Any, **more: Any) -> Any:
        out = honest(self, *given, **more)
        out.pooler_output = [1.5 * one for one in out.pooler_output]
        return out

    monkeypatch.setattr(LlavaModel, "get_image_features", changed)
    some, _ = lessons(2)
    _, head = opened(teaching(tiny_chats, "llava", BETWEEN), some, bench(tmp_path))
    assert head.rows.looked is None
    (fact,) = [event for event in _facts(tmp_path) if "stored_features" in event]
    assert "not what one module of its projector makes" in fact["stored_features"]["why"]


def _facts(folder: Path) -> list[dict[str, Any]]:
    from fieldguide.bench import read_log

    return [event for event in read_log(folder / "log.jsonl") if event["event"] == "fact"]


def test_seams_are_found_by_what_comes_out() -> None:
    whole, part = torch.arange(12.0).reshape(1, 4, 3), torch.tensor([2, 0, 3, 1])
    calls = [seams.Call("a", torch.ones(1), whole), seams.Call("b", torch.ones(2), 2 * whole)]
    found = seams.found(calls, {"pooled": 2 * whole[0], "deep": whole[0, part]})
    assert [(name, one.path) for name, one in found.items()] == [("pooled", "b"), ("deep", "a")]
    assert found["pooled"].order is None and found["deep"].order is not None and found["deep"].order.tolist() == part.tolist()
    for wrong in (whole[0] + 1, whole[0, :3], whole[0, [0, 0, 1, 2]]):
        with pytest.raises(ValueError, match="not what one module"):
            seams.found(calls, {"pooled": wrong, "deep": 2 * whole[0]})
    with pytest.raises(ValueError, match="no feature"):
        seams.found(calls, {"pooled": whole[0]})
    with pytest.raises(ValueError, match="not what one module"):
        seams.found([dataclasses.replace(calls[0], given=None)], {"pooled": whole[0]})
