"""A model made ready to be trained: opened as it is for answering, with adapters where they belong, or with all its weights free.

The model stays what transformers calls it, adapters stand inside, so that what answers and what is trained is one object: pictures,
prompts and sizes go the same way in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from fieldguide.craft.chat import Wanted, local_files
from fieldguide.craft.chat.local import Local, open_local
from fieldguide.craft.pace import Precision
from fieldguide.craft.tuning import Tuning, parts, quantised
from fieldguide.craft.tuning.parts import Count
from fieldguide.craft.zoo import of_transformers
from fieldguide.files import digest

#: The name under which peft keeps the adapter of a model.
NAME = "default"


@dataclass(eq=False)
class Student:
    """A model that is taught. `chat` answers, `wrapped` is peft's view of the same network, `None` where all weights are free.

    `base` names the weights that it began with, `precision` is the arithmetic of training, `counts` are parameters by part.
    """

    chat: Local
    tuning: Tuning
    wrapped: Any
    base: str
    precision: Precision
    counts: Mapping[str, Count]

    @property
    def network(self) -> Any:
        """The network, adapters and all."""
        return self.chat.model

    def trained(self) -> dict[str, torch.Tensor]:
        """Return the tensors that training changes, by name."""
        return {name: parameter for name, parameter in self.network.named_parameters() if parameter.requires_grad}

    def facts(self) -> dict[str, Any]:
        """Return what the log tells of it."""
        told = {name: {"trained": count.trained, "all": count.all} for name, count in self.counts.items()}
        return {"tuning": self.tuning.told(), "trained_parts": told, "base_revision": self.base}

    def sizes(self) -> dict[str, int]:
        """Return how many parameters there are, and how many of them are trained; a number in four bits counts as one."""
        towers = [count for name, count in self.counts.items() if " " not in name]
        return {
            "parameters": sum(count.all for count in towers),
            "trained_parameters": sum(count.trained for count in towers),
        }


def opened(wanted: Wanted, tuning: Tuning, seed: int, *, checkpointing: bool = False) -> Student:
    """Return the model that `wanted` names with the parts free that `tuning` switches on; adapters are drawn from `seed`.

    `checkpointing` computes activations a second time instead of keeping them. Raises what `open_local` and `parts` raise,
    `ModuleNotFoundError` where peft or bitsandbytes is missing.
    """
    parts.require_parts(tuning.parts)
    full = tuning.method == "full"
    asked = wanted.precision
    # Steps of training are smaller than what bf16 can tell apart: weights that are all trained are kept in fp32.
    chat = open_local(replace(wanted, precision="fp32") if full else wanted, load=loader(tuning, wanted.device))
    base = digest(chat.revision, "nf4") if tuning.method == "qlora" else chat.revision
    chat.model.requires_grad_(False)
    wrapped = None if full else _adapted(chat.model, tuning, seed)
    if full:
        free = parts.chosen(chat.model, tuning.parts)
        for name, parameter in chat.model.named_parameters():
            parameter.requires_grad_(name in free)
    if checkpointing:
        _recompute(chat.model)
    chat.model.eval()
    precision = cast(Precision, asked if full and asked in ("bf16", "fp16") else chat.facts["precision"])
    student = Student(chat, tuning, wrapped, base, precision, parts.require_trained(chat.model, tuning))
    named(student)
    return student


def loader(tuning: Tuning, device: str) -> quantised.Load:
    """Return what reads the weights, in four bits onto `device` where so much is asked."""
    return partial(quantised.loaded, device=device) if tuning.method == "qlora" else local_files.loaded


def named(student: Student) -> None:
    """Give the model the name of what it now is: its answers are none of the weights that it began with."""
    student.chat.close()  # what it computed once for a prompt came from other weights
    student.chat.revision = digest(student.base, student.tuning.told(), _content(student.trained()))


def _recompute(model: Any) -> None:
    """Let layers compute their activations a second time on the way back, instead of keeping them."""
    told = {"use_reentrant": False}
    with of_transformers._quiet():
        if hasattr(model, "activation_checkpointing_enable"):
            model.activation_checkpointing_enable(activation_checkpointing_kwargs=told)
        else:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=told)
    # Only the older way of doing it needs inputs with gradients, which would send gradients through all that is frozen.
    model.disable_input_require_grads()


def _content(tensors: Mapping[str, torch.Tensor]) -> str:
    import hashlib

    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _adapted(model: Any, tuning: Tuning, seed: int) -> Any:
    """Put adapters into `model` where `tuning` says, and nowhere else; return peft's view of it."""
    quantised.library()
    from peft import LoraConfig, get_peft_model

    paths = parts.targets(model, tuning.parts)
    config = LoraConfig(
        r=tuning.rank,
        lora_alpha=tuning.alpha,
        lora_dropout=tuning.dropout,
        use_rslora=tuning.stabilised,
        target_modules=list(paths),
        bias="none",
    )
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices), of_transformers._quiet():
        torch.manual_seed(seed)
        wrapped: Any = get_peft_model(model, config)
    stands = {path for path, module in model.named_modules() if hasattr(module, "lora_A")}
    if stands != set(paths):
        raise RuntimeError(f"adapters stand in {len(stands)} layers, and should in {len(paths)}")
    if tuning.method == "qlora":
        quantised.held(model)
    return wrapped


def where_of(wanted: Wanted) -> Path:
    """Return the folder that the weights of `wanted` lie in."""
    return local_files.fetched(wanted.model, wanted.online)
