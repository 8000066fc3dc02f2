"""What was learned, on disk: an adapter beside the name of the weights it belongs to, and whole models with it merged in.

tuned.json                                      base model, revision, precision, tuning, prompt, classes: all that is needed to go on
adapter_model.safetensors, adapter_config.json  as peft writes and reads them
weights.safetensors                             instead of them, where all weights of a part were free
head.safetensors                                a linear head, where there is one
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fieldguide.craft.chat import HUB, Wanted
from fieldguide.craft.tuning import adapters, quantised, tuning
from fieldguide.craft.tuning.adapters import NAME, Student
from fieldguide.craft.zoo import of_transformers
from fieldguide.errors import DataProblem, plain
from fieldguide.files import building, read_json, write_json
from fieldguide.tasks.asking import Asking, as_json, from_json

#: Version of ``tuned.json``.
SCHEMA = 1
_ADAPTER, _WHOLE, _HEAD, _TOLD = "adapter_model.safetensors", "weights.safetensors", "head.safetensors", "tuned.json"


@dataclass(frozen=True)
class Told:
    """What ``tuned.json`` tells besides the weights: the prompt, the classes (id and name), and the tensors of a linear head if there is one."""

    asking: Asking
    classes: tuple[tuple[str, str], ...] = ()
    head: Mapping[str, Tensor] | None = None


def save(student: Student, told: Told, folder: Path) -> None:
    """Write what was learned into `folder`, which is there; the weights of before are named and not copied."""
    wanted = student.chat.wanted
    tensors = {name: one.detach().cpu().contiguous().clone() for name, one in student.trained().items()}
    if student.wrapped is None:
        save_file(tensors, folder / _WHOLE)
    else:
        from peft import get_peft_model_state_dict

        own = get_peft_model_state_dict(student.wrapped)
        save_file({name: one.detach().cpu().contiguous().clone() for name, one in own.items()}, folder / _ADAPTER)
        config = copy.copy(student.wrapped.peft_config[NAME])
        config.base_model_name_or_path, config.revision = wanted.model.removeprefix(HUB), hub_revision(wanted)
        config.inference_mode = True
        config.save_pretrained(str(folder))
    if told.head is not None:
        save_file({name: one.detach().cpu().contiguous().clone() for name, one in told.head.items()}, folder / _HEAD)
    write_json(
        folder / _TOLD,
        {
            "schema": SCHEMA,
            "base": {"model": wanted.model, "revision": student.base, "hub_revision": hub_revision(wanted)},
            "licence": student.chat.facts.get("licence"),
            "precision": student.chat.facts["precision"],
            "trained_at": student.precision,
            "image_size": wanted.image_size,
            "tuning": student.tuning.told(),
            "prompt": as_json(told.asking),
            "classes": [list(one) for one in told.classes],
        },
    )


def hub_revision(wanted: Wanted) -> str | None:
    """Return the commit of a model in the hub's cache; `None` for any other folder."""
    folder = adapters.where_of(wanted)
    return folder.name if folder.parent.name == "snapshots" else None


def load(folder: Path, wanted: Wanted) -> tuple[Student, Told]:
    """Read what `save` wrote; `wanted` says where and how it runs, its model, precision and size of pictures are those of training.

    Raises `DataProblem` where the base weights are not those that were trained, or a file is damaged.
    """
    values = read_json(folder / _TOLD)
    how = tuning(values["tuning"])
    precision = values["trained_at"] if how.method == "full" else values["precision"]
    wanted = replace(wanted, model=values["base"]["model"], precision=precision, image_size=values["image_size"])
    student = adapters.opened(wanted, how, 0)
    if student.base != values["base"]["revision"]:
        raise DataProblem(
            f"The weights of {plain(wanted.model)}, or what reads them, are not those that the adapter was trained on.",
            "An adapter belongs to one set of weights; those are not copied, only their hash is.",
            "Put the weights (and the version of transformers) of before back, or train again.",
        )
    _put(student, folder)
    adapters.named(student)
    return student, told_of(folder)


def told_of(folder: Path) -> Told:
    """Return what `save` wrote of prompt, classes and head; no model is opened."""
    values = read_json(folder / _TOLD)
    head = load_file(folder / _HEAD) if (folder / _HEAD).exists() else None
    return Told(from_json(values["prompt"]), tuple((id, name) for id, name in values["classes"]), head)


def _put(student: Student, folder: Path) -> None:
    """Put the tensors of `folder` into the network, every one of them."""
    if student.wrapped is None:
        expected: Mapping[str, Any] = student.trained()
        found = load_file(folder / _WHOLE)
    else:
        from peft import get_peft_model_state_dict

        expected, found = get_peft_model_state_dict(student.wrapped), load_file(folder / _ADAPTER)
    wrong = sorted(expected.keys() ^ found.keys()) or [name for name, one in found.items() if one.shape != expected[name].shape]
    if wrong:
        raise DataProblem(
            f"The adapter does not fit its model: {plain(wrong[0])} and {len(wrong) - 1} more tensors are missing, odd, or of another shape.",
            "Allowed: the folder as it was written.",
            "Train again, or copy the folder again.",
        )
    if student.wrapped is not None:
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(student.wrapped, found)
        return
    with torch.no_grad():
        for name, one in student.trained().items():
            one.copy_(found[name])


def merge(student: Student, target: Path) -> Path:
    """Write a whole model with what was learned merged into its weights, which `from_pretrained` of transformers loads; uses `student` up.

    Weights in four bits are written as the numbers that they stand for, so that the merged model answers as the tuned one does and
    not as adapters on other weights would.
    """
    from transformers import GenerationConfig

    network = student.network
    _plain(network)
    source = adapters.where_of(student.chat.wanted)
    if (source / "generation_config.json").exists():
        network.generation_config = GenerationConfig.from_pretrained(source)
    with building(target) as folder, of_transformers._quiet():
        network.save_pretrained(folder)
        student.chat.hand.processor.save_pretrained(folder)
    return target


@torch.no_grad()
def _plain(network: Any) -> None:
    """Replace every layer that is wrapped or in four bits by the linear layer that it computes."""
    bits = {id(module) for module in quantised.layers(network)} if getattr(network, "is_loaded_in_4bit", False) else set()
    for path, module in list(network.named_modules()):
        if hasattr(module, "lora_A"):
            base = module.get_base_layer()
            made: nn.Module = quantised.widened(base) if id(base) in bits else base
            weight: Any = made.weight
            weight += module.get_delta_weight(NAME).to(weight.dtype)
            _set(network, path, made)
        elif id(module) in bits and not path.endswith(".base_layer"):
            _set(network, path, quantised.widened(module))
    for name in ("is_loaded_in_4bit", "is_quantized", "hf_quantizer", "quantization_method", "peft_config"):
        if name in vars(network):
            delattr(network, name)
    if hasattr(network.config, "quantization_config"):
        del network.config.quantization_config


def _set(network: nn.Module, path: str, module: nn.Module) -> None:
    above, _, name = path.rpartition(".")
    setattr(network.get_submodule(above), name, module)
