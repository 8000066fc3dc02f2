"""What stands before the asked picture, computed once: its keys and values are kept and copied for every batch of pictures.

A list of 90 or 200 classes before the picture is most of a prompt; read once, it costs next to nothing. A cache is updated in place,
so that every batch gets a copy. Whether an architecture can go on from one is not known from its name but found out on the first picture:
the first steps must have the same logits as without (`require_agreement`), else there is no prefix, and the reason is told. Of the four
architectures that were tried, mllama goes without: its processor begins every text anew.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from fieldguide.errors import out_of_memory

#: Tokens below which a prefix is not worth its copies.
LEAST = 16
#: Steps on which the two ways are compared.
STEPS = 3
#: Largest difference of a logit in float32; of narrower numbers, in parts of the range of the logits.
CLOSE, NARROW = 1e-3, 0.05
Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Prefix:
    """`inputs` are the prompt up to the picture, ``"1 tokens"``, and the pictures in it; `cache` holds their keys and values."""

    inputs: Inputs
    cache: Any

    @property
    def tokens(self) -> int:
        """Tokens that are read once."""
        return int(self.inputs["input_ids"].shape[1])

    def joined(self, model: Any, rest: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return what `generate` is given: the whole prompt of each picture, a copy of the cache, and the pictures of `rest` alone.

        `rest` is the prompt from the picture on, ``"pictures tokens"``.
        """
        rows, given = rest["input_ids"].shape[0], dict[str, Any](rest)
        for name in _along(rest):
            first = self.inputs.get(name)
            first = torch.zeros_like(self.inputs["input_ids"]) if first is None else first
            given[name] = torch.cat([first.to(rest[name].dtype).expand(rows, -1), rest[name]], dim=1)
        given["past_key_values"] = self.copied(torch.zeros(rows, dtype=torch.long, device=rest["input_ids"].device))
        if hasattr(model.model, "get_rope_index"):
            given["position_ids"] = _positions(model, given, self.inputs.get("image_grid_thw"))
        return given

    @property
    def numbers(self) -> int:
        """Numbers that are kept for one picture, of attention; layers with a running state keep less."""
        kept = [getattr(layer, name, None) for layer in self.cache.layers for name in ("keys", "values")]
        return sum(tensor[:1].numel() for tensor in kept if isinstance(tensor, Tensor))

    def copied(self, at: Tensor | None = None) -> Any:
        """Return a cache that may be written to: as it is, or with a row for each of `at`, which names rows of it."""
        plain = all(type(layer) is DynamicLayer for layer in self.cache.layers)
        made = copy.copy(self.cache) if plain else copy.deepcopy(self.cache)
        if plain:  # such a layer never writes into its tensors but puts longer ones in their place
            made.layers = [copy.copy(layer) for layer in self.cache.layers]
        if at is None:
            return made
        if plain and all(layer.is_initialized and len(layer.keys) == 1 for layer in made.layers):  # nothing is copied twice
            for layer in made.layers:
                layer.keys, layer.values = (one.expand(len(at), -1, -1, -1) for one in (layer.keys, layer.values))
        else:  # the one call that layers of every kind have: attention, sliding windows, linear attention
            made.reorder_cache(at)
        return made


def _along(inputs: Mapping[str, Tensor]) -> list[str]:
    """Return the inputs that have a value for each token."""
    shape = inputs["input_ids"].shape
    return [name for name, tensor in inputs.items() if tensor.shape == shape and not tensor.is_floating_point()]


def _positions(model: Any, given: Mapping[str, Any], before: Tensor | None) -> Tensor:
    """Return positions in text, time, height and width ``"4 pictures tokens"`` of a whole prompt, its earlier pictures included.

    The model would count them from what it is shown, and from what it remembers of the last batch.
    """
    ids, grids = given["input_ids"], given.get("image_grid_thw")
    if grids is not None and before is not None:
        own = grids.reshape(len(ids), -1, grids.shape[1])
        grids = torch.cat([before.expand(len(ids), *before.shape), own], dim=1).flatten(0, 1)
    found, _ = model.model.get_rope_index(
        ids,
        mm_token_type_ids=given["mm_token_type_ids"],
        image_grid_thw=grids,
        attention_mask=given["attention_mask"],
    )
    text = torch.arange(ids.shape[1], device=ids.device).expand(1, *ids.shape)
    return torch.cat([text, found.to(ids.device)], dim=0)


def computed(model: Any, inputs: Inputs) -> Prefix:
    """Read the prompt up to the picture."""
    out = model(**inputs, past_key_values=DynamicCache(config=model.config), use_cache=True, logits_to_keep=1)
    return Prefix(inputs, out.past_key_values)


def require_agreement(
    model: Any, prefix: Prefix, whole: Mapping[str, Tensor], rest: Mapping[str, Tensor], rows: int = 2
) -> None:
    """Compare both ways on one picture, which stands `rows` times in a batch with the prefix; `ValueError` says how they differ."""
    ids, parts = whole["input_ids"], torch.cat([prefix.inputs["input_ids"], rest["input_ids"]], dim=1)
    if ids.shape != parts.shape or not torch.equal(ids, parts):
        raise ValueError("its parts are not tokenised as the whole")
    often = {name: torch.cat([tensor] * rows) for name, tensor in rest.items()}
    plain, cached = _logits(model, dict(whole)), _logits(model, prefix.joined(model, often))
    far = float((plain - cached).abs().max())
    ends = plain[plain > -torch.inf]
    allowed = CLOSE if model.dtype == torch.float32 else NARROW * float(ends.max() - ends.min())
    if not far <= allowed:  # nor is what is not a number
        raise ValueError(f"logits differ by {far:.2g} from those without it")


def agreeing(model: Any, prefix: Prefix, whole: Mapping[str, Tensor], rest: Mapping[str, Tensor]) -> int:
    """Compare both ways, with one row where memory has no room for two, and return with how many; raises as `require_agreement` does."""
    try:
        require_agreement(model, prefix, whole, rest)
    except Exception as error:  # what runs out of memory is told by its words alone
        if not out_of_memory(error):
            raise
    else:
        return 2
    let_go(model)
    require_agreement(model, prefix, whole, rest, rows=1)
    return 1


def let_go(model: Any) -> None:
    """Give back what a pass that found too little memory had taken."""
    if model.device.type == "cuda":
        torch.cuda.empty_cache()


def _logits(model: Any, inputs: Mapping[str, Any]) -> Tensor:
    """Return logits of the first steps ``"steps 1-or-2 tokens"`` in float32, each step after the token that was best."""
    out = model.generate(
        **inputs, max_new_tokens=STEPS, do_sample=False, output_logits=True, return_dict_in_generate=True, pad_token_id=0
    )
    return torch.stack(list(out.logits)).float()
