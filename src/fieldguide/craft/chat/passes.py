"""Passes of a network that give log p(label | prompt, picture): behind a prompt and its pictures that are read once, or with all anew.

What must not be left to the model is done here: a cache is updated in place, so that every use gets a copy; positions in several
dimensions go on from those of these very pictures, not from what the model remembers of the last ones; cross-attention goes on being let
through for the tokens of labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from fieldguide.craft.chat import prefix as prefixes
from fieldguide.craft.chat.prefix import Inputs, Prefix
from fieldguide.craft.chat.tree import Labels, Tree

#: Logits whose sum of exponentials is taken at a time.
_AT_ONCE = 2**22
#: Numbers of a cache that copies for labels may fill.
_COPIED = 2**28


@dataclass(frozen=True)
class Looked:
    """Prompts with their pictures, read: `read` is what was computed, `first` ``"pictures vocabulary"`` the log-probabilities of what comes next.

    `mask` is ``"pictures tokens"``; `place` ``"1 pictures"``, or ``"4 pictures"`` in text, time, height and width, is the position of what
    comes next; `crossing` ``"pictures 1 shown tiles"`` is what a next token may look at, for models that look by cross-attention.
    """

    read: Prefix
    first: Tensor
    mask: Tensor
    place: Tensor
    crossing: Tensor | None

    def only(self, rows: slice) -> Looked:
        """Return what was read of some of the pictures."""
        at = torch.arange(len(self.first), device=self.first.device)[rows]
        if len(at) == len(self.first):
            return self
        crossing = None if self.crossing is None else self.crossing[rows]
        read = Prefix(self.read.inputs, self.read.copied(at))
        return Looked(read, self.first[rows], self.mask[rows], self.place[:, rows], crossing)


def _begun(model: Any, before: Prefix | None, inputs: Inputs) -> tuple[dict[str, Any], Tensor, Tensor]:
    """Return what a pass of the prompt with each of the pictures is given, its mask ``"pictures tokens"``, and the place of what comes next."""
    given: dict[str, Any]
    if before is None:
        given = dict(inputs)
        if hasattr(model.model, "get_rope_index"):
            given["position_ids"] = prefixes._positions(model, inputs, None)
    else:
        given = before.joined(model, inputs)
        # The mask alone is for the whole prompt.
        given |= {name: inputs[name] for name in prefixes._along(inputs) if name != "attention_mask"}
    mask, positions = given["attention_mask"], given.get("position_ids")
    place = torch.full((1, len(mask)), mask.shape[1], device=mask.device)
    if positions is not None:
        # A picture takes fewer positions in space than it has tokens; what follows goes on from the largest of them.
        place = torch.cat([place, (positions[1:].amax((0, 2)) + 1).expand(3, -1)])
        given["position_ids"] = positions[..., -inputs["input_ids"].shape[1] :]
    return given, mask, place


def look(model: Any, before: Prefix | None, inputs: Inputs) -> Looked:
    """Read the prompt with each of the pictures; where there is `before`, `inputs` are the prompt from the picture on."""
    given, mask, place = _begun(model, before, inputs)
    given.setdefault("past_key_values", DynamicCache(config=model.config))
    out = model(**given, use_cache=True, logits_to_keep=1)
    crossing = inputs.get("cross_attention_mask")
    return Looked(
        read=Prefix(inputs, out.past_key_values),
        first=out.logits[:, -1].float().log_softmax(-1),
        mask=mask,
        place=place,
        crossing=None if crossing is None else crossing[:, -1:],
    )


def _onward(model: Any, looked: Looked, cache: Any, ids: Tensor, depths: Tensor, mask: Tensor) -> Tensor:
    """Return logits ``"rows tokens vocabulary"`` of tokens `ids` behind `cache`, which is used up; `depths` is ``"tokens"``.

    There are as many rows as pictures were read, or any number behind a single one.
    """
    rows, count = ids.shape
    positions = (looked.place[:, :, None] + depths).expand(-1, rows, -1)
    given = {} if looked.crossing is None else {"cross_attention_mask": looked.crossing.expand(rows, count, -1, -1)}
    logits: Tensor = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions[0] if len(positions) == 1 else positions,
        past_key_values=cache,
        use_cache=True,
        **given,
    ).logits
    return logits


def _normaliser(logits: Tensor) -> Tensor:
    """Return the logarithm of the sum of exponentials ``"... "`` over the vocabulary, in float32; all logits are never held in it."""
    flat = logits.flatten(0, -2)
    step = max(1, _AT_ONCE // flat.shape[1])
    parts = [flat[at : at + step].float().logsumexp(-1) for at in range(0, len(flat), step)]
    return torch.cat(parts).view(logits.shape[:-1])


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask ``"pictures 1 tokens tokens"`` that is added, of what each token sees."""
    mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)[:, None]


def _alike(mask: Tensor) -> Tensor:
    """Return one row of a mask ``"pictures tokens"`` where all are alike, as a rule: nothing is padded."""
    return mask.bool() if bool((mask != mask[:1]).any()) else mask[:1].bool()


def _summed(found: Tensor, tree: Tree, labels: int) -> Tensor:
    """Return sums ``"pictures labels"`` of log-probabilities ``"pictures tokens"``, in float64."""
    return torch.zeros(len(found), labels, dtype=torch.float64).index_add_(1, tree.owner, found.cpu().double())


def by_joined(model: Any, before: Prefix | None, inputs: Inputs, tree: Tree, labels: int) -> Tensor:
    """Return sums ``"pictures labels"``, zero for those that the tree does not hold, by one pass of pictures and tree together."""
    given, mask, place = _begun(model, before, inputs)
    device, (rows, own), count = mask.device, inputs["input_ids"].shape, len(tree.tokens)
    once = mask.shape[1] - own
    real = _alike(mask)[:, None]
    causal = torch.ones(own, mask.shape[1], dtype=torch.bool, device=device).tril(once)
    above = torch.cat([real & causal, real.new_zeros(len(real), own, count)], dim=2)
    below = torch.cat([real.expand(-1, count, -1), tree.seen.to(device).expand(len(real), -1, -1)], dim=2)
    given["attention_mask"] = _additive(torch.cat([above, below], dim=1), model.dtype)
    positions = given.get("position_ids", torch.arange(once, once + own, device=device).expand(1, rows, -1))
    positions = torch.cat([positions, place[:, :, None] + tree.depths.to(device)], dim=2)
    given["position_ids"] = positions[0] if len(positions) == 1 else positions
    for name in prefixes._along(inputs):
        if name != "attention_mask":
            behind = tree.tokens.to(device) if name == "input_ids" else torch.zeros(count, dtype=torch.long, device=device)
            given[name] = torch.cat([inputs[name], behind.to(inputs[name].dtype).expand(rows, -1)], dim=1)
    if (crossing := inputs.get("cross_attention_mask")) is not None:
        given["cross_attention_mask"] = torch.cat([crossing, crossing[:, -1:].expand(-1, count, -1, -1)], dim=1)
    logits = model(**given, use_cache=before is not None, logits_to_keep=count + 1).logits
    after = tree.after.to(device)
    return _summed(logits[:, after, tree.words.to(device)].float() - _normaliser(logits)[:, after], tree, labels)


def by_tree(model: Any, looked: Looked, tree: Tree, labels: int) -> Tensor:
    """Return sums ``"pictures labels"``, zero for those that the tree does not hold, by one pass with one row for each picture."""
    device, count, rows = looked.mask.device, len(tree.tokens), len(looked.first)
    after, words = tree.after.to(device), tree.words.to(device)
    found = looked.first[:, words]
    if count:
        before = _alike(looked.mask)[:, None].expand(-1, count, -1)
        seen = torch.cat([before, tree.seen.to(device).expand(len(before), -1, -1)], dim=2)
        ids, mask = tree.tokens.to(device).expand(rows, -1), _additive(seen, model.dtype)
        logits = _onward(model, looked, looked.read.copied(), ids, tree.depths.to(device), mask)
        behind = (after - 1).clamp_min(0)
        inner = logits[:, behind, words].float() - _normaliser(logits)[:, behind]
        found = torch.where(after > 0, inner, found)
    return _summed(found, tree, labels)


def by_copies(model: Any, looked: Looked, labels: Labels, most: int) -> Tensor:
    """Return sums ``"1 labels"`` of a single picture, labels of like length as rows of a batch, which has `most` logits at most."""
    sums = torch.zeros(1, len(labels), dtype=torch.float64)
    order = sorted(range(len(labels)), key=lambda at: len(labels[at]))
    rows = max(1, _COPIED // max(1, looked.read.numbers))
    while order:
        longest = len(labels[order[min(rows, len(order)) - 1]])
        count = min(rows, max(1, most // (longest * looked.first.shape[1])), len(order))
        some, order = order[:count], order[count:]
        sums[0, some] = _copied(model, looked, [labels[at] for at in some])
    return sums


def _copied(model: Any, looked: Looked, labels: Labels) -> Tensor:
    """Return sums ``"labels"`` of a single picture, each label a row behind a copy."""
    device, longest = looked.mask.device, max(map(len, labels))
    # A label's last token is not read; rows that are shorter are filled on the right, where nothing that counts can see it.
    words = torch.tensor([[*label, *([label[-1]] * (longest - len(label)))] for label in labels], device=device)
    real = torch.tensor([[end < len(label) for end in range(longest)] for label in labels], device=device)
    found = looked.first[0, words[:, :1]]
    if longest > 1:
        mask = torch.cat([looked.mask.expand(len(labels), -1), real[:, :-1].to(looked.mask.dtype)], dim=1)
        cache = looked.read.copied(torch.zeros(len(labels), dtype=torch.long, device=device))
        logits = _onward(model, looked, cache, words[:, :-1], torch.arange(longest - 1, device=device), mask)
        inner = logits.gather(2, words[:, 1:, None])[..., 0].float() - _normaliser(logits)
        found = torch.cat([found, inner], dim=1)
    return found.masked_fill(~real, 0.0).cpu().double().sum(1)


def full_passes(model: Any, whole: Inputs, labels: Labels) -> Tensor:
    """Return sums ``"labels"``, by a pass of the whole prompt with its picture for each; nothing is kept from one to the next."""
    sums = []
    for label in labels:
        words, given = torch.tensor([label], device=whole["input_ids"].device), dict[str, Any](whole)
        more = len(label) - 1
        for name in prefixes._along(whole):
            fill = {"input_ids": words[:, :more], "attention_mask": torch.ones_like(words[:, :more])}
            behind = fill.get(name, torch.zeros_like(words[:, :more]))
            given[name] = torch.cat([whole[name], behind.to(whole[name].dtype)], dim=1)
        if (crossing := whole.get("cross_attention_mask")) is not None:
            given["cross_attention_mask"] = torch.cat([crossing, crossing[:, -1:].expand(-1, more, -1, -1)], dim=1)
        logits = model(**given, use_cache=False, logits_to_keep=more + 1).logits
        found = logits[0].float().log_softmax(-1).gather(1, words[0][:, None])
        sums.append(found.cpu().double().sum())
    return torch.stack(sums)


@contextmanager
def jostled(model: Any) -> Iterator[None]:
    """Round the output of every linear layer otherwise, by half a unit of its last digit at most: what other shapes of a batch may do.

    How far sums move is what their precision explains; measured, it is two to four times as far as one way to compute them is from another
    (bfloat16 and float32, 119 M random weights), and a third to a fifteenth of what a forgotten mask or a shifted position does.
    """
    part, device = torch.finfo(model.dtype).eps / 2, model.device
    drawn = torch.Generator(device=device).manual_seed(0)

    def moved(_: Any, __: Any, out: Tensor) -> Tensor:
        wide = out.float()
        return (wide + wide * part * (2 * torch.rand(out.shape, generator=drawn, device=device) - 1)).to(out.dtype)

    hooks = [one.register_forward_hook(moved) for one in model.modules() if isinstance(one, torch.nn.Linear)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
