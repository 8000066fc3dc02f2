"""Answers to pictures whose features are stored: the same words as when the picture is shown, without looking at it again.

What the model says is decoded as `Local` decodes it; only the pixels are replaced by what the vision tower once made of them. The first
picture is asked about in both ways, and where its answers differ (or an architecture wants its pixels) pictures are shown as ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, LogitsProcessorList, StoppingCriteriaList

from fieldguide.craft.chat import NOT_FINITE, Said
from fieldguide.craft.chat import prefix as prefixes
from fieldguide.craft.chat.ready import Prepared
from fieldguide.craft.chat.trie import Decided, Finite, OnlyAnswers
from fieldguide.craft.tuning.looked import CROSSING
from fieldguide.craft.tuning.rows import Row, Rows
from fieldguide.craft.zoo import of_transformers
from fieldguide.errors import out_of_memory
from fieldguide.records import Image


def said(rows: Rows, images: Sequence[Image]) -> Iterator[Said]:
    """Yield what is said of each of `images`, in order, with the weights as they are now."""
    chat = rows.chat
    # What it computed once for the prompt came from the weights of before.
    chat.close()
    if images and _may(rows, images):
        for _, group in groupby(images, lambda image: rows.asked(image).inputs["input_ids"].shape):
            some = list(group)
            for start in range(0, len(some), chat.batch):
                yield from _from_store(rows, some[start : start + chat.batch])
    else:
        yield from chat.ask(rows.asking, (image.pixels(chat.size) for image in images), rows.examples)
    chat.close()


def _may(rows: Rows, images: Sequence[Image]) -> bool:
    """Tell whether stored features give the answers that the pictures give."""
    asking, looked, image = rows.asking, rows.looked, images[0]
    if (
        looked is None
        or any(looked.of(one) is None for one in images)
        or asking.temperature > 0
        or asking.how not in ("generate", "choice")
    ):
        return False
    if rows.alike is None:
        shown = next(rows.chat.ask(asking, [image.pixels(rows.chat.size)], rows.examples))
        try:
            rows.alike = not shown.error and next(_from_store(rows, [image])).text == shown.text
        except Exception as error:  # an architecture that was not made for this fails in ways of its own
            if out_of_memory(error):
                raise
            rows.alike = False
    return rows.alike


@torch.inference_mode()
def _from_store(rows: Rows, images: Sequence[Image]) -> Iterator[Said]:
    """Yield answers to pictures whose prompts are alike in length."""
    chat, prompt = rows.chat, rows._prompt()
    made = [rows.asked(image) for image in images]
    inputs = rows.batch(made).inputs
    given = _begun(chat.model, inputs) if CROSSING in inputs else dict(inputs)
    if hasattr(chat.model.model, "get_rope_index"):
        given["position_ids"] = prefixes._positions(chat.model, inputs, None)
    length, finite = given["input_ids"].shape[1], Finite(len(made))
    steps, ends = LogitsProcessorList([finite]), StoppingCriteriaList([])
    if prompt.trie is not None:
        steps.append(OnlyAnswers(prompt.trie, length))
        ends.append(Decided(prompt.trie, length))
    with of_transformers._quiet():
        out = chat.model.generate(
            **given,
            do_sample=False,
            max_new_tokens=rows.asking.most_tokens if prompt.trie is None else prompt.trie.depth,
            eos_token_id=sorted(chat.stops),
            pad_token_id=chat.pad,
            logits_processor=steps,
            stopping_criteria=ends,
        )
    for number, tokens in enumerate(out[:, length:].tolist()):
        yield _one(rows, prompt, made[number], tokens, broken=bool(finite.broken[number]))


def _begun(model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `generate` is given where features enter by cross-attention: all of the prompt but its last token read, with them.

    Their keys and values stay in the cache from there on; given to `generate`, they would be put there again with every token.
    """
    length, cache = inputs["input_ids"].shape[1], DynamicCache(config=model.config)
    along = [*prefixes._along({name: one for name, one in inputs.items() if isinstance(one, Tensor)}), "cross_attention_mask"]
    first = {name: inputs[name][:, : length - 1] for name in along if name in inputs}
    model(**first, **{CROSSING: inputs[CROSSING]}, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return {**{name: one for name, one in inputs.items() if name != CROSSING}, "past_key_values": cache}


def _one(rows: Rows, prompt: Prepared, row: Row, tokens: Sequence[int], *, broken: bool) -> Said:
    if broken:
        return Said(error=NOT_FINITE, tokens_in=row.prompt)
    return rows.chat._read(prompt, tokens)
