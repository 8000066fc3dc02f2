"""What teaching a model will cost, from its configuration alone: no weight is read, nothing is computed.

The network is built without numbers (torch's meta device), so parameters and adapters are counted, not guessed. The prompt is written and
put into tokens with a square picture of the size that the model takes. Memory is weights, gradients, moments, the best weights, and what a
pass keeps for the way back: inputs and outputs of all linear layers that gradients pass, and a part more for what stands between them.
Time is arithmetic over the speed of a small block on this machine; half and twice as much are as likely.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image as Pillow
from torch import nn

from fieldguide.craft.chat import Wanted, local, local_files
from fieldguide.craft.chat.towers import towers
from fieldguide.craft.chat.written import Hand
from fieldguide.craft.pace import Precision
from fieldguide.craft.tuning import Tuning, looked, parts
from fieldguide.craft.tuning.teaching import Teaching
from fieldguide.craft.zoo import of_transformers
from fieldguide.records import Estimate
from fieldguide.tasks.asking import Asking

#: Bytes of a number.
_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
_WIDE = _BYTES["fp32"]
#: Bytes of a number in four bits, with a scale for 64 of them in eight bits and one for 256 of those in 32; and in eight bits.
_NARROW = {4: 0.5 + 1 / 64 + 4 / (64 * 256), 8: 1.0}
#: Numbers below which a tensor's moments stay in 32 bits, and those that share a scale (bitsandbytes).
_LARGE, _BLOCK = 4096, 256
#: What a pass keeps in parts of what goes into and comes out of linear layers: norms and steps between them keep theirs, too.
_KEPT = 1.2
#: Time of a pass in parts of what its linear layers take alone: attention, adapters and steps between them.
_TAKEN = 2.0
#: Bytes of weights that a generated word reads in a second, roughly.
_READ = 1e10
_LAYER = re.compile(r"^.*?\.\d+(?=\.)")


@dataclass(frozen=True)
class Network:
    """What a configuration tells: `empty` is the network without numbers, `folder` what it was read from."""

    empty: Any
    folder: Path
    precision: Precision

    @property
    def numbers(self) -> int:
        """All parameters; tied ones count once."""
        return sum(one.numel() for one in self.empty.parameters())

    def linear(self, tower: str) -> Iterator[tuple[str, nn.Linear]]:
        """Yield the linear layers of a tower that are of attention or MLP (of the projector: all)."""
        place = towers(self.empty)
        for path, module in self.empty.named_modules():
            if isinstance(module, nn.Linear):
                found, kind = place.part(path)
                if found == tower and (kind or tower == "projector"):
                    yield path, module

    def normed(self) -> int:
        """Return how many numbers of a token go into the norms of the language side; in narrow numbers they keep them in 32 bits."""
        place = towers(self.empty)
        norms = [one for path, one in self.empty.named_modules() if place.part(path)[0] == "language" and _is_norm(one)]
        return sum(one.weight.numel() for one in norms)

    def trained(self, tuning: Tuning) -> list[int]:
        """Return how many numbers each tensor has that is trained."""
        if tuning.method == "full":
            free = parts.chosen(self.empty, tuning.parts)
            return [one.numel() for name, one in self.empty.named_parameters() if name in free]
        layers = [self.empty.get_submodule(path) for path in parts.targets(self.empty, tuning.parts)]
        return [tuning.rank * side for layer in layers for side in (layer.in_features, layer.out_features)]

    def weights(self, method: str = "lora", bits: int | None = None) -> int:
        """Return the bytes of its weights as they are kept in memory: those of the towers' linear layers in `bits`, where they are held so."""
        if method == "full":  # steps are smaller than narrow numbers tell apart
            return 4 * self.numbers
        bits = 4 if method == "qlora" else bits
        linear = sum(one.weight.numel() for part in ("vision", "language") for _, one in self.linear(part)) if bits else 0
        return int(_BYTES[self.precision] * (self.numbers - linear) + _NARROW.get(bits or 0, 0) * linear)


def _is_norm(module: nn.Module) -> bool:
    return type(module).__name__.endswith("Norm") and isinstance(getattr(module, "weight", None), nn.Parameter)


def network(wanted: Wanted) -> Network:
    """Return what the configuration of a model tells. Raises a `Problem` where the model is not here."""
    from transformers import AutoModelForImageTextToText

    folder = local_files.fetched(wanted.model, online=False)
    config = local_files.require_known(wanted.model, folder)
    with torch.device("meta"), of_transformers._quiet():
        empty = AutoModelForImageTextToText.from_config(config)
    return Network(empty, folder, cast(Precision, local._precision(wanted, folder)))


@dataclass(frozen=True)
class Prompt:
    """Tokens of a prompt with one picture: all, those of the picture as the text gets it, what the tower makes of it, and of each answer.

    `crossing` tells that a picture enters by cross-attention, and is no part of `tokens`.
    """

    tokens: int
    picture: int
    patches: int
    answers: tuple[int, ...]
    crossing: bool = False


def prompt(of: Network, wanted: Wanted, asking: Asking) -> Prompt:
    """Return how long the prompt is for a square picture."""
    processor = local_files.processor_of(wanted.model, of.folder)
    local._shrink(processor, wanted.image_size)
    hand, side = Hand(processor), min(local._size(processor), wanted.image_size or 10**6)
    written = hand.write(asking)
    with of_transformers._quiet():
        shown = [Pillow.new("RGB", (side, side))] * (1 + len(written.ahead) + len(written.behind))
        made = processor(text=[written.text], images=[shown], return_tensors="pt", add_special_tokens=not written.marked)
    ids, config = made["input_ids"], of.empty.config
    picture = int((ids == getattr(config, "image_token_id", getattr(config, "image_token_index", -1))).sum())
    answers = hand.answers(written, asking.answers) if asking.answers else [[0] * asking.most_tokens]
    lengths = tuple(len(one) for one in answers)
    if looked.CROSSING in inspect.signature(of.empty.forward).parameters:  # all its tiles, the empty ones, too
        picture = int(of.empty.model.vision_model.num_patches) * int(config.vision_config.max_num_tiles)
        return Prompt(ids.shape[1], picture, picture, lengths, crossing=True)
    # Qwen2-VL calls the width of its text the hidden size of the tower.
    width = getattr(config.vision_config, "embed_dim", None) or getattr(config.vision_config, "hidden_size", None)
    given = next((first.in_features for first, _ in _seams(of)), width)
    return Prompt(ids.shape[1], picture, picture * given // width if given and width else picture, lengths)


def _seams(of: Network) -> list[tuple[nn.Linear, nn.Linear]]:
    """Return the first and the last linear layer of each module of the projector."""
    place, found = towers(of.empty), dict[str, list[nn.Linear]]()
    for path, layer in of.linear("projector"):
        names = path.split(".")
        above = [".".join(names[:count]) for count in range(1, len(names) + 1)]
        top = next(
            one
            for one in above
            if place.part(one)[0] == "projector" and not isinstance(of.empty.get_submodule(one), nn.ModuleList)
        )
        found.setdefault(top, []).append(layer)
    return [(layers[0], layers[-1]) for layers in found.values()]


def stored(of: Network, asked: Prompt, tuning: Tuning) -> int:
    """Return the bytes that are stored of a picture where the vision tower is frozen."""
    before = "projector" in tuning.parts
    widths = [first.in_features if before else last.out_features for first, last in _seams(of)]
    width = 4 if tuning.method == "full" else _BYTES[of.precision]
    return asked.picture * sum(widths) * width


def activations(of: Network, asked: Prompt, teaching: Teaching) -> int:
    """Return the bytes that a pass of one picture keeps for the way back."""
    narrow, kept = _BYTES[of.precision], 0
    for tower in ("language", "vision") if "vision" in teaching.tuning.parts else ("language",):
        layers, begins = dict[str, int](), dict[str, int]()
        for path, one in of.linear(tower):
            of_picture = tower == "vision" or (
                asked.crossing and ".cross_attn." in path and path.endswith(("k_proj", "v_proj"))
            )
            tokens = asked.patches if of_picture else asked.tokens + max(asked.answers)
            found = _LAYER.search(path)
            name = found.group() if found else path
            layers[name] = layers.get(name, 0) + tokens * (one.in_features + one.out_features) * narrow
            begins[name] = min(begins.get(name, layers[name]), tokens * one.in_features * narrow)
        kept += max(layers.values()) + sum(begins.values()) if teaching.checkpointing else sum(layers.values())
    wide = 0 if narrow == _WIDE or teaching.checkpointing else _WIDE * (asked.tokens + max(asked.answers)) * of.normed()
    return int(_KEPT * kept) + wide + _said(of, asked, teaching)


def _said(of: Network, asked: Prompt, teaching: Teaching) -> int:
    """Return the bytes of logits, of their softmax and of its gradient."""
    if teaching.head == "linear":
        return 0
    places = sum(asked.answers) if teaching.head == "labels" else max(asked.answers)
    return 3 * 4 * places * int(of.empty.config.get_text_config().vocab_size)


def moments(trained: Sequence[int], kind: str) -> int:
    """Return the bytes that the optimiser keeps of tensors of so many numbers."""
    if kind == "adamw":
        return 8 * sum(trained)
    return sum(2 * (size + 4 * -(-size // _BLOCK)) if size >= _LARGE else 8 * size for size in trained)


def expected(teaching: Teaching, sizes: Any, looks: int, looked_at: int | None) -> Estimate:
    """Return what teaching costs at most, and answering about validation and test pictures afterwards."""
    of, tuning = network(teaching.wanted), teaching.tuning
    trained, asked = of.trained(tuning), prompt(of, teaching.wanted, teaching.asking)
    if teaching.head == "linear":
        labels = len(teaching.asking.answers)
        trained = [*trained, of.empty.config.get_text_config().hidden_size * labels, labels]
    kept, own = moments(trained, teaching.plan.optimiser), 4 * sum(trained)
    seen = min(sizes.val, looked_at) if looked_at is not None else sizes.val
    store = teaching.store == "auto" and "vision" not in tuning.parts and not teaching.asking.examples
    features = stored(of, asked, tuning) * (sizes.train + seen) if store else 0
    memory = of.weights(tuning.method) + 3 * own + kept + teaching.plan.batch_size * activations(of, asked, teaching)
    if tuning.method == "full" and of.precision != "fp32":
        memory += own // 2  # a step's copy of them in narrow numbers
    return Estimate(
        seconds=_seconds(of, asked, teaching, sizes, (looks + 1) * seen),
        memory_bytes=memory,
        # What was learned, and two checkpoints of it: as it is, the best of it, and the optimiser's moments.
        disk_bytes=own + 2 * (2 * own + kept) + features,
    )


def _seconds(of: Network, asked: Prompt, teaching: Teaching, sizes: Any, answers: int) -> float:
    """Return the time of all steps, of what is stored, and of so many `answers` while training and those after it."""
    tuning, plan = teaching.tuning, teaching.plan
    text, tower = (sum(one.weight.numel() for _, one in of.linear(part)) for part in ("language", "vision"))
    a_text, a_look = 2.0 * text * asked.tokens, 2.0 * tower * asked.patches
    pictures = plan.steps * plan.batch_size * plan.accumulate
    back = 2 if tuning.method == "full" else 1
    if "vision" in tuning.parts:
        looking = pictures * (1 + back) * a_look + answers * a_look
    else:
        looking = (sizes.train + answers if teaching.store == "auto" else pictures + answers) * a_look
    after = answers + sizes.val + sizes.test
    words = max(asked.answers) * of.weights(tuning.method) / _READ / teaching.wanted.batch_size
    work = looking + pictures * (1 + back) * a_text + after * a_text + (sizes.val + sizes.test) * a_look
    rows, width = plan.batch_size * (asked.tokens + max(asked.answers)), int(of.empty.config.get_text_config().hidden_size)
    return float(1 + _TAKEN * work / speed(of.precision, rows, width) + after * words)


@lru_cache
def speed(precision: Precision, tokens: int, width: int) -> float:
    """Return additions and multiplications a second, there and back, of two layers of `width` with a norm and a step between; timed once."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    kind, seconds = local._TYPES[precision], list[float]()
    block = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width, False), nn.SiLU(), nn.Linear(width, width, False))
    block = block.to(device, kind).requires_grad_(False)
    given = torch.ones(tokens, width, dtype=kind, device=device, requires_grad=True)
    for _ in range(4):
        start = time.perf_counter()
        block(given).sum().backward()
        float(given.grad[0, 0])  # type: ignore[index]
        seconds.append(time.perf_counter() - start)
    return 8.0 * tokens * width * width / min(seconds)
