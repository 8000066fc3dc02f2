"""Language models that look, on this machine: transformers, in batches, with what stands before the picture computed once.

Pictures whose prompts are alike in length and shape go through together, so nothing is padded and a picture is answered the same alone and
in any batch: to 1e-5 of a logit in float32; in bfloat16 to about 2 % of the range of the logits (measured on 119 M random weights),
which is why its name is part of the revision. Sampling draws for each picture from its own seed. Settings for sampling that come with a
model are not followed: temperature 0 is greedy, and nothing is added to it.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Pillow
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from fieldguide.craft import pace
from fieldguide.craft.chat import DRAWN, NOT_FINITE, Said, Wanted, local_files, narrow
from fieldguide.craft.chat import prefix as prefixes
from fieldguide.craft.chat.bounded import Bounded, counts_in, held_to_counts
from fieldguide.craft.chat.deciding import Decider
from fieldguide.craft.chat.prefix import Inputs
from fieldguide.craft.chat.ready import Prepared, Ready
from fieldguide.craft.chat.scoring import Scorer, Way
from fieldguide.craft.chat.towers import numbers_of
from fieldguide.craft.chat.trie import Decided, Finite, OnlyAnswers, Sampled, Trie, listed
from fieldguide.craft.chat.written import Hand
from fieldguide.craft.zoo import of_transformers
from fieldguide.errors import UsageProblem, allowed_names, out_of_memory, plain
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking

#: Bytes of weights above which narrower arithmetic is quicker where the hardware has it.
_LARGE = 64_000_000
#: Sides of pictures that are asked of the store, in pixels, whatever a processor can take.
_SMALLEST, _LARGEST = 32, 1024
#: Why a picture has no answer where not even one goes through.
_NO_ROOM = "memory ran out with a single picture"
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Local:
    """A model of transformers that is asked on this machine; a `fieldguide.craft.chat.Chat`."""

    model: Any
    hand: Hand
    wanted: Wanted
    revision: str
    size: int
    stops: frozenset[int]
    facts: Mapping[str, Any]
    batch: int
    ahead: int
    context: int | None = None
    where: str | None = None
    #: Which way labels of an `Asking` are scored, once found out: several are asked in turn where the list is put in several orders.
    ways: dict[str, Way] = field(default_factory=dict, repr=False)
    _prompt: Prepared | None = field(default=None, repr=False)

    @property
    def pad(self) -> int:
        """What stands behind an answer that ended before the others of its batch."""
        found = self.hand.tokenizer.pad_token_id
        return int(min(self.stops) if found is None else found)

    def alone(self) -> Local:
        """Return the same model, its weights shared, with one picture going through at a time."""
        return replace(self, batch=1, ahead=1, _prompt=None)

    def close(self) -> None:
        """Forget what was computed for the last prompt, and found out about those before."""
        self._prompt = None
        self.ways.clear()

    def ask(self, asking: Asking, pictures: Iterable[Pixels], examples: Mapping[str, Pixels]) -> Iterator[Said]:
        """Yield what is said of each of `pictures`, in order; at most `ahead` of them are taken before they are answered.

        What cannot be asked of this model at all is raised at once, before the first picture is taken.
        """
        return self._answers(self._written(asking, examples), pictures)

    def _answers(self, prompt: Prepared, pictures: Iterable[Pixels]) -> Iterator[Said]:
        stream, waiting, said = enumerate(pictures), deque[Ready](), dict[int, Said]()
        next_one, most, ended = 0, self.ahead, False
        while True:
            while not ended and len(waiting) + len(said) < most and not self._full(prompt, waiting):
                number, pixels = next(stream, (-1, None))
                if pixels is None:
                    ended = True
                    break
                made = self._ready(prompt, number, pixels)
                if isinstance(made, Said):
                    said[number] = made
                else:
                    waiting.append(made)
            if waiting and next_one not in said:
                group = [one for one in waiting if one.like == waiting[0].like][: self._most(prompt)]
                for one, answer in zip(group, self._answered(prompt, group), strict=True):
                    said[one.number] = answer
                    waiting.remove(one)
            while next_one in said:
                yield said.pop(next_one)
                next_one += 1
            if ended and not waiting and not said:
                return

    def _most(self, prompt: Prepared) -> int:
        return 1 if prompt.weigher is not None and prompt.weigher.alone else self.batch

    def _full(self, prompt: Prepared, waiting: Sequence[Ready]) -> bool:
        return bool(waiting) and sum(one.like == waiting[0].like for one in waiting) >= self._most(prompt)

    def _written(self, asking: Asking, examples: Mapping[str, Pixels]) -> Prepared:
        """Return `asking` made ready; the last one is kept, because it is often asked again."""
        if self._prompt is not None and self._prompt.asking.hash == asking.hash:
            return self._prompt
        written = self.hand.write(asking)
        shown = {key: self._sized(examples[key]) for key in dict.fromkeys(asking.examples)}
        prompt = Prepared(asking, written, shown)
        if asking.how == "choice" and counts_in(asking.schema):
            prompt.trie = held_to_counts(self.hand, asking, written)
        elif asking.how == "choice":
            prompt.answers = tuple(listed(asking.schema) if asking.schema else asking.answers)
            prompt.trie = Trie(self.hand.answers(written, prompt.answers))
        elif asking.how == "likelihood":
            prompt.weigher = Scorer(self, prompt)
        elif asking.how == "decision":
            prompt.weigher = Decider(self, prompt)
        self.note(*written.notes)
        self._prompt = prompt
        return prompt

    def note(self, *notes: str) -> None:
        """Add to what the report tells of this model."""
        self.facts = {**self.facts, "notes": list(dict.fromkeys([*self.facts.get("notes", ()), *notes]))}

    def _sized(self, pixels: Pixels) -> Pillow.Image:
        """Return a picture whose longer side is at most what was asked for."""
        picture = Pillow.fromarray(pixels)
        most = self.wanted.image_size
        if most and max(picture.size) > most:
            picture.thumbnail((most, most), Pillow.Resampling.BICUBIC)
        return picture

    def _inputs(self, text: str, pictures: Sequence[Pillow.Image], *, begun: bool) -> Inputs:
        """Return what the network is given for one prompt; `begun` adds the token that begins a text."""
        with of_transformers._quiet():
            made = self.hand.processor(
                text=[text],
                images=[list(pictures)] if pictures else None,
                return_tensors="pt",
                add_special_tokens=begun,
            )
        kept = {name: value for name, value in made.items() if isinstance(value, Tensor)}
        kept.setdefault("attention_mask", torch.ones_like(kept["input_ids"]))
        return {
            name: value.to(self.model.device, self.model.dtype if value.is_floating_point() else value.dtype)
            for name, value in kept.items()
        }

    def _ready(self, prompt: Prepared, number: int, pixels: Pixels) -> Ready | Said:
        """Return what the network is given for a picture, or why it cannot be asked about."""
        try:
            picture = self._sized(pixels)
            inputs = prompt.weigher.inputs(picture) if prompt.weigher is not None else None
            if inputs is None:
                if not prompt.tried:
                    self._try_prefix(prompt, picture, self._whole(prompt, picture))
                inputs = self._whole(prompt, picture) if prompt.prefix is None else self._rest(prompt, picture)
        except Exception as error:  # processors raise what they like for a picture that they were not made for
            if out_of_memory(error):
                return Said(error=_NO_ROOM, lasting=True)
            return Said(error=f"the picture could not be made ready for the model: {plain(error)}")
        tokens = inputs["input_ids"].shape[1] + (prompt.prefix.tokens if prompt.prefix else 0)
        behind = prompt.weigher.behind if prompt.weigher is not None else 1
        if self.context is not None and tokens + behind > self.context:
            with_names = f" and {behind:,} in the longest name" if behind > 1 else ""
            return Said(
                error=f"the prompt has {tokens:,} tokens{with_names}, and the model reads {self.context:,} at most",
                tokens_in=tokens,
                lasting=True,
            )
        like = tuple((name, tensor.shape) for name, tensor in sorted(inputs.items()))
        return Ready(number, hashlib.sha256(pixels.tobytes()).hexdigest(), picture, inputs, like, tokens)

    def _whole(self, prompt: Prepared, picture: Pillow.Image) -> Inputs:
        """Return the whole prompt with one picture."""
        shown, written = prompt.shown, prompt.written
        ahead, behind = ([shown[key] for key in keys] for keys in (written.ahead, written.behind))
        return self._inputs(written.text, [*ahead, picture, *behind], begun=not written.marked)

    def _rest(self, prompt: Prepared, picture: Pillow.Image) -> Inputs:
        """Return the prompt from the picture on."""
        behind = [prompt.shown[key] for key in prompt.written.behind]
        return self._inputs(prompt.written.after, [picture, *behind], begun=False)

    @torch.inference_mode()
    def _try_prefix(self, prompt: Prepared, picture: Pillow.Image, whole: Inputs) -> None:
        """Compute what stands before the picture, and find out with the first picture whether the model can go on from there."""
        prompt.tried, written, why = True, prompt.written, "next to nothing stands before the picture"
        try:
            shown = [prompt.shown[key] for key in written.ahead]
            before = self._inputs(written.before, shown, begun=not written.marked) if written.before else None
            if before is not None and before["input_ids"].shape[1] >= prefixes.LEAST:
                rest = self._rest(prompt, picture)
                with of_transformers._quiet():
                    made = prefixes.computed(self.model, before)
                    if prefixes.agreeing(self.model, made, whole, rest) == 1:
                        self._fewer(1)
                prompt.prefix = made
        except Exception as error:  # an architecture that was not made for this fails in ways of its own, and goes without
            if out_of_memory(error):
                prompt.tried = False  # which says nothing of the architecture: another picture may show it
                prefixes.let_go(self.model)
                raise
            why = plain(error)
            self.note(f"What stands before the picture is computed anew for every picture: {why}.")
        found = prompt.prefix
        told = {"used": False, "why": why} if found is None else {"used": True, "tokens": found.tokens}
        self.facts = {**self.facts, "prefix": told}

    def _fewer(self, most: int) -> None:
        """Let so many pictures go through at a time from here on, because memory ran out with more."""
        if most < self.batch:
            self.batch = most
            self.note(
                f"Memory ran out: {most} {'picture goes' if most == 1 else 'pictures go'} through at a time from there on."
            )

    def _answered(self, prompt: Prepared, group: Sequence[Ready]) -> list[Said]:
        """Return what is said of pictures that go through together. Where memory runs out, in smaller batches from here on."""
        start = time.perf_counter()
        try:
            said = self._said(prompt, group) if prompt.weigher is None else prompt.weigher.weighed(group)
            said = [self._counted(prompt, answer) for answer in said]
        except Exception as error:  # networks raise what they like; one that fails with a picture goes on with the next
            full = out_of_memory(error)
            if full:
                prefixes.let_go(self.model)
            if len(group) == 1:
                if full and prompt.weigher is not None and prompt.weigher.lessen():
                    return self._answered(prompt, group)
                why = _NO_ROOM if full else f"the model failed: {plain(error)}"
                return [Said(error=why, tokens_in=group[0].tokens, lasting=full)]
            half = (len(group) + 1) // 2
            if full:
                self._fewer(half)
            parts = [group[:half], group[half:]] if full else [[one] for one in group]
            return [answer for part in parts for answer in self._answered(prompt, part)]
        seconds = (time.perf_counter() - start) / len(group)
        return [replace(answer, seconds=seconds) for answer in said]

    @torch.inference_mode()
    def _said(self, prompt: Prepared, group: Sequence[Ready]) -> list[Said]:
        asking, trie = prompt.asking, prompt.trie
        inputs = {name: torch.cat([one.inputs[name] for one in group]) for name in group[0].inputs}
        given = prompt.prefix.joined(self.model, inputs) if prompt.prefix else inputs
        length, finite = given["input_ids"].shape[1], Finite(len(group))
        steps = LogitsProcessorList([finite])
        if trie is not None:
            steps.append(OnlyAnswers(trie, length))
        if asking.temperature > 0:
            seed = self.wanted.seed if asking.seed is None else asking.seed
            steps.append(Sampled(asking.temperature, seed, [one.name for one in group]))
        with of_transformers._quiet():
            made = self.model.generate(
                **given,
                do_sample=False,
                max_new_tokens=asking.most_tokens if trie is None else trie.depth,
                eos_token_id=sorted(self.stops),
                pad_token_id=self.pad,
                logits_processor=steps,
                stopping_criteria=StoppingCriteriaList([] if trie is None else [Decided(trie, length)]),
            )
        said = []
        for number, (one, tokens) in enumerate(zip(group, made[:, length:].tolist(), strict=True)):
            if finite.broken[number]:
                said.append(Said(error=NOT_FINITE, tokens_in=one.tokens))
            else:
                said.append(replace(self._read(prompt, tokens), tokens_in=one.tokens))
        return said

    def _counted(self, prompt: Prepared, said: Said) -> Said:
        """Say how many of the tokens were computed before: the first picture pays for all."""
        cached = prompt.prefix.tokens if prompt.prefix and prompt.paid else 0
        prompt.paid = True
        return replace(said, cached=cached)

    def _read(self, prompt: Prepared, tokens: Sequence[int]) -> Said:
        """Return the answer that `tokens` are, up to the end of the turn."""
        if isinstance(prompt.trie, Bounded):
            said, used = prompt.trie.read(tokens)
            return Said(said, "stop", tokens_out=used, level="trie")
        if isinstance(prompt.trie, Trie):
            used = next(at for at in range(1, len(tokens) + 1) if prompt.trie.decided(tokens[:at]) is not None)
            place = prompt.trie.decided(tokens)
            assert place is not None
            return Said(prompt.answers[place], "stop", tokens_out=used, level="trie")
        end = next((at for at, token in enumerate(tokens) if token in self.stops), None)
        text = self.hand.tokenizer.decode(tokens[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Said(text, "length" if end is None else "stop", tokens_out=len(tokens) if end is None else end + 1)


def open_local(wanted: Wanted, load: Callable[[str, Path, torch.dtype], Any] | None = None) -> Local:
    """Return a model of transformers, its weights in place; raises a `Problem` where it is not here, damaged, or cannot look.

    `load` reads the weights of a named model from its folder; if not given, in as many bits as are wanted.
    """
    folder = local_files.fetched(wanted.model, wanted.online)
    config = local_files.require_known(wanted.model, folder)
    precision = _precision(wanted, folder)
    processor = local_files.processor_of(wanted.model, folder)
    model = (load or _loader(wanted))(wanted.model, folder, _TYPES[precision]).to(wanted.device)
    hand = Hand(processor)
    own = model.generation_config.eos_token_id
    stops = {*(own if isinstance(own, list | tuple) else [own]), processor.tokenizer.eos_token_id, hand.end}
    # What a model brings along for sampling would change greedy answers, too.
    model.generation_config = GenerationConfig()
    _shrink(processor, wanted.image_size)
    size = _size(processor)
    licence = "Apache-2.0" if wanted.model == DRAWN else local_files.licence(folder)
    facts = {
        "kind": "prompted",
        "model": wanted.model if wanted.model == DRAWN else of_transformers._called(wanted.model),
        "architecture": config.model_type,
        "parameters": sum(map(numbers_of, model.parameters())),
        "precision": precision,
        **({"bits": wanted.bits} if wanted.bits else {}),
        "image_size": wanted.image_size or size,
        "device": wanted.device,
        "licence": licence,
        "notes": local_files.binding(config.model_type, wanted.model, licence),
    }
    revision = local_files.revision(folder, [precision, wanted.image_size, *narrow.named(wanted.bits)])
    # In eight bits it depends on all that goes through at once which columns are kept as they are.
    batch = 1 if wanted.bits == 8 else wanted.batch_size
    return Local(
        model=model,
        hand=hand,
        wanted=wanted,
        revision=revision,
        size=min(size, wanted.image_size or size),
        stops=frozenset(int(token) for token in stops if token is not None),
        facts=facts,
        batch=batch,
        # Where pictures differ in shape, a batch of one shape is filled from two.
        ahead=2 * batch,
        context=getattr(model.config.get_text_config(), "max_position_embeddings", None),
    )


def _loader(wanted: Wanted) -> Callable[[str, Path, torch.dtype], Any]:
    return partial(narrow.loaded, device=wanted.device, bits=wanted.bits) if wanted.bits else local_files.loaded


def _precision(wanted: Wanted, folder: Path) -> str:
    """Return the arithmetic of a model: what was asked for, else the narrowest that the hardware has where that is worth it."""
    if wanted.precision is not None and wanted.precision not in (*_TYPES, "auto"):
        raise UsageProblem(
            f"precision={plain(wanted.precision)} is unknown.",
            allowed_names(wanted.precision, (*_TYPES, "auto")),
            "Leave precision out.",
        )
    if wanted.precision in _TYPES:
        return wanted.precision
    large = sum(path.stat().st_size for path in folder.glob("*.safetensors")) >= _LARGE
    return pace.native(wanted.device) if large else "fp32"


def _shrink(processor: Any, most: int | None) -> None:
    """Let a processor that enlarges every picture to its own size and cuts that into tiles enlarge it to `most` pixels only."""
    size, tile = (getattr(processor.image_processor, name, None) for name in ("size", "max_image_size"))
    own, side = (dict(told).get("longest_edge") if told else None for told in (size, tile))
    if most and own and side and most < own:
        processor.image_processor.size = {"longest_edge": min(own, -(-most // side) * side)}


def _size(processor: Any) -> int:
    """Return the shorter side that a picture should have, in pixels, for what the processor makes of it."""
    size = getattr(processor.image_processor, "size", None) or {}
    told = {name: value for name, value in dict(size).items() if isinstance(value, int)}
    side = max([told.get(name, 0) for name in ("height", "width", "shortest_edge", "longest_edge")])
    # Those that cut patches of any number out of a picture bound its pixels, not its sides.
    side = round(side**0.5) if hasattr(processor.image_processor, "merge_size") else side
    return min(max(side, _SMALLEST), _LARGEST) if side else 448
