"""Parts of a model are what their switches say: by module path, in tiny models and in the real classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.craft.tuning.taught import student
from transformers import AutoConfig, AutoModelForImageTextToText

from fieldguide.craft.chat import towers
from fieldguide.craft.chat.tiny import architectures
from fieldguide.craft.tuning import KINDS, TOWERS, Tuning, parts
from fieldguide.errors import UsageProblem

#: What stands in the paths of each tower of the tiny models.
PATHS = {
    "idefics3": {"vision": "model.vision_model.", "projector": "model.connector.", "language": "model.text_model."},
    "llava": {
        "vision": "model.vision_tower.",
        "projector": "model.multi_modal_projector.",
        "language": "model.language_model.",
    },
    "qwen3_vl": {"vision": "model.visual.blocks.", "projector": "model.visual.", "language": "model.language_model."},
    "mllama": {
        "vision": "model.vision_model.",
        "projector": "model.multi_modal_projector",
        "language": "model.language_model.",
    },
}
#: Linear layers of the real classes at their own sizes: vision attention, vision MLP, projector, language attention, language MLP.
REAL = {
    "idefics3": (12 * 4, 12 * 2, 1, 32 * 4, 32 * 3),
    "llava": (24 * 4, 24 * 2, 2, 32 * 4, 32 * 3),
    "qwen3_vl": (27 * 2, 27 * 2, 2 + 3 * 2, 32 * 4, 32 * 3),
    "qwen2_5_vl": (32 * 2, 32 * 3, 2, 80 * 4, 80 * 3),
    "mllama": (40 * 4, 40 * 2, 1, 40 * 4, 40 * 3),
    "gemma3": (12 * 4, 12 * 2, 0, 26 * 4, 26 * 3),
}


def empty(kind: str) -> Any:
    """Return a model at its class's own size, without weights."""
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(AutoConfig.for_model(kind))


@pytest.mark.slow(keep=6)
@pytest.mark.parametrize("architecture", architectures())
@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_switch_reaches_what_it_names_and_nothing_else(tiny_chats: Path, architecture: str, tower: str, kind: str) -> None:
    made = student(tiny_chats, architecture, Tuning(rank=2, parts=frozenset({tower, kind})))
    trained = set(made.trained())
    assert trained
    assert all(name.startswith(PATHS[architecture][tower]) for name in trained), trained
    if tower == "projector":
        assert all(".blocks." not in name for name in trained)
    else:
        said = {"attention": ("attn",), "mlp": ("mlp",)}[kind]
        assert all(any(word in name for word in said) for name in trained), trained
    assert {part for part, count in made.counts.items() if count.trained} == (
        {tower} if tower == "projector" else {tower, f"{tower} {kind}"}
    )
    assert made.counts[tower].trained == sum(one.numel() for one in made.trained().values())
    assert f"{tower} {made.counts[tower].trained:,} of" in parts.told(made.counts)


@pytest.mark.parametrize("kind", REAL)
def test_the_real_classes_are_told_apart(kind: str) -> None:
    model = empty(kind)
    found = [
        len(parts.targets(model, frozenset({tower, layer})))
        for tower, layer in (("vision", "attention"), ("vision", "mlp"), ("language", "attention"), ("language", "mlp"))
    ]
    place = towers.towers(model)
    projector = sum(place.part(path)[0] == "projector" for path in parts._linear(model))
    assert (found[0], found[1], projector, found[2], found[3]) == REAL[kind]


def test_all_weights_of_a_part_can_be_free(tiny_chats: Path) -> None:
    whole = student(tiny_chats, tuning=Tuning("full", frozenset({"language", "attention", "mlp"})))
    assert whole.counts["language"].trained == whole.counts["language"].all
    assert not whole.counts["vision"].trained
    some = student(tiny_chats, tuning=Tuning("full", frozenset({"vision", "mlp"})))
    assert all(".mlp." in name and "vision_model" in name for name in some.trained())


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"language"}, "no parameter would be trained"),
        ({"attention", "mlp"}, "no parameter would be trained"),
        (set(), "no parameter would be trained"),
        ({"langage", "mlp"}, "Did you mean language"),
    ],
)
def test_switches_that_train_nothing_are_refused(tiny_chats: Path, wanted: set[str], said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        student(tiny_chats, tuning=Tuning(parts=frozenset(wanted)))


def test_a_switch_that_reaches_nothing_is_refused() -> None:
    with pytest.raises(UsageProblem, match="projector should be trained"):
        parts.targets(empty("gemma3"), frozenset({"language", "attention", "projector"}))


def test_adapters_in_another_part_than_was_said_are_noticed(tiny_chats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = parts.targets

    def by_name(model: Any, wanted: frozenset[str]) -> tuple[str, ...]:
        names = {path.rpartition(".")[2] for path in honest(model, wanted)}
        return tuple(path for path in parts._linear(model) if path.rpartition(".")[2] in names)

    monkeypatch.setattr(parts, "targets", by_name)
    with pytest.raises(UsageProblem, match=r"Of vision, .* parameters would be trained"):
        student(tiny_chats, tuning=Tuning(parts=frozenset({"language", "attention"})))
