"""How probable each label is as the whole answer: log p(its tokens and the end of the turn | prompt, picture), exactly, for every label.

Prompt and picture are read once. All labels follow as one tree (a token that several begin with is read once for all of them), in a
single row: every token sees the prompt and those that lead to it in its own labels, and stands at the position it would have alone.
Where an architecture cannot do that (layers with a running state read a row in its order), labels are rows of a batch, each behind a
copy of what was computed; where that fails too, each label is a full pass of its own. Which of the three is used is not known from a
name but found out on the first picture, by full passes for a few of the labels, and told in the facts.

What must not be left to the model is done here: a cache is updated in place, so that every use gets a copy; positions in several
dimensions go on from those of this very picture, not from what the model remembers of the last one; cross-attention goes on being let
through for the tokens of labels. Labels end with the token that ends the turn, or "bear" would beat "bear cub" by being its beginning.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import DynamicCache

from fieldguide.craft.chat import Said
from fieldguide.craft.chat import prefix as prefixes
from fieldguide.craft.chat.local import Local, _Prompt, _Ready
from fieldguide.craft.chat.prefix import Inputs, Prefix
from fieldguide.craft.chat.trie import listed
from fieldguide.craft.zoo import of_transformers
from fieldguide.errors import out_of_memory, plain
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking
from fieldguide.tasks.weighed import Weighed, dumps

Way = Literal["tree", "copied", "naive"]
#: From the quickest to the one that needs nothing of an architecture.
WAYS: tuple[Way, ...] = ("tree", "copied", "naive")
#: Logits of one pass; a tree with more of them is cut in several.
_MOST = 2**27
Labels = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Scored:
    """What came out for one picture: for each label in the order of `Scorer.labels`, or `error`, why nothing did.

    `sums` are log-probabilities in nats, of `tokens` tokens (the end of the turn included); `sizes` are the labels' bytes in UTF-8,
    without it. `lasting`: the next picture would fare the same.
    """

    sums: tuple[float, ...] = ()
    tokens: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    tokens_in: int | None = None
    seconds: float | None = None
    error: str | None = None
    lasting: bool = False


@dataclass(frozen=True)
class Tree:
    """Tokens that labels are made of but for their last ones, each once for all labels that begin alike, parents first.

    `tokens` and their `depths` (0 is a label's first) are ``"nodes"``; `seen` ``"nodes nodes"`` bool tells which nodes lead to each, and
    itself. Token number i of all labels, `words`, follows node `after` (0 is the prompt, node n is n + 1) and belongs to label `owner`.
    """

    tokens: Tensor
    depths: Tensor
    seen: Tensor
    after: Tensor
    words: Tensor
    owner: Tensor


@dataclass(frozen=True)
class _Looked:
    """A prompt with its picture, read: `read` is what was computed, `first` ``"vocabulary"`` the log-probabilities of what comes next.

    `mask` is ``"1 tokens"``; `place` ``"1"``, or ``"4"`` in text, time, height and width, is the position of what comes next; `crossing`
    ``"1 1 pictures tiles"`` is what a next token may look at, for models that look by cross-attention.
    """

    read: Prefix
    first: Tensor
    mask: Tensor
    place: Tensor
    crossing: Tensor | None


@dataclass
class Scorer:
    """Scores the answers of one `Asking`; `way` is there once the first picture has shown which one may be used."""

    chat: Local
    asking: Asking
    examples: Mapping[str, Pixels]
    way: Way | None = None
    ways: Sequence[Way] = WAYS
    labels: tuple[str, ...] = field(init=False)
    tokens: list[list[int]] = field(init=False, repr=False)
    _prompt: _Prompt = field(init=False, repr=False)
    _trees: list[Tree] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Write the prompt, and the labels as they follow it."""
        self._prompt = self.chat._written(self.asking, self.examples)
        self.labels = tuple(listed(self.asking.schema) if self.asking.schema else self.asking.answers)
        self.tokens = self.chat.hand.answers(self._prompt.written, self.labels)
        most = max(1, _MOST // int(self.chat.model.config.get_text_config().vocab_size))
        self._trees = [planted(self.tokens, some) for some in cut(self.tokens, most)]

    def score(self, pictures: Iterable[Pixels]) -> Iterator[Scored]:
        """Yield what comes out for each of `pictures`, in order and as they come."""
        for number, pixels in enumerate(pictures):
            start = time.perf_counter()
            found = self._one(number, pixels)
            yield replace(found, seconds=time.perf_counter() - start)

    def _one(self, number: int, pixels: Pixels) -> Scored:
        ready = self.chat._ready(self._prompt, number, pixels)
        if isinstance(ready, Said):
            return Scored(error=ready.error, tokens_in=ready.tokens_in, lasting=ready.lasting)
        most, deep = self.chat.context, max(len(tokens) for tokens in self.tokens)
        if most is not None and ready.tokens + deep > most:
            why = f"prompt and longest label have {ready.tokens + deep:,} tokens, and the model reads {most:,} at most"
            return Scored(error=why, tokens_in=ready.tokens, lasting=True)
        try:
            with torch.inference_mode(), of_transformers._quiet():
                sums = self._decided(ready, pixels) if self.way is None else self._by(self.way, ready, pixels)
        except Exception as error:  # networks raise what they like; one that fails with a picture goes on with the next
            full = out_of_memory(error)
            if full and self.chat.model.device.type == "cuda":
                torch.cuda.empty_cache()
            why = "memory ran out with a single picture" if full else f"the model failed: {plain(error)}"
            return Scored(error=why, tokens_in=ready.tokens, lasting=full)
        if not bool(sums.isfinite().all()):
            return Scored(error="not a number: the network's output is not finite", tokens_in=ready.tokens)
        sizes = tuple(len(label.encode()) for label in self.labels)
        return Scored(tuple(sums.tolist()), tuple(len(tokens) for tokens in self.tokens), sizes, ready.tokens)

    def _by(self, way: Way, ready: _Ready, pixels: Pixels) -> Tensor:
        """Return the sums ``"labels"`` of one picture, in float64."""
        model = self.chat.model
        if way == "naive":
            return full_passes(model, self._whole(pixels), self.tokens)
        looked = look(model, self._prompt.prefix, ready.inputs)
        if way == "copied":
            return by_copies(model, looked, self.tokens, self.chat.batch)
        sums = torch.zeros(len(self.tokens), dtype=torch.float64)
        for tree in self._trees:
            sums += by_tree(model, looked, tree, len(self.tokens))
        return sums

    def _whole(self, pixels: Pixels) -> Inputs:
        return self.chat._whole(self._prompt, self.chat._sized(pixels))

    def _decided(self, ready: _Ready, pixels: Pixels) -> Tensor:
        """Find out with the first picture which way gives what full passes give, and return what it gave."""
        longest = max(range(len(self.tokens)), key=lambda at: len(self.tokens[at]))
        some = sorted({0, longest, len(self.tokens) - 1})
        expected = full_passes(self.chat.model, self._whole(pixels), [self.tokens[at] for at in some])
        if not bool(expected.isfinite().all()):
            return expected  # no way can be told from another by this picture
        why: dict[str, str] = {}
        for way in self.ways:
            if way == "naive":
                break
            try:
                sums = self._by(way, ready, pixels)
                self._require_agreement(sums[some], expected, [len(self.tokens[at]) for at in some])
            except Exception as error:  # an architecture that was not made for this fails in ways of its own
                why[way] = plain(error)
                continue
            return self._told(way, why, sums)
        return self._told("naive", why, self._by("naive", ready, pixels))

    def _require_agreement(self, found: Tensor, expected: Tensor, lengths: Sequence[int]) -> None:
        """Raise `ValueError` where sums are not those of full passes; narrow numbers are held to parts of their size, by token."""
        far, narrow = (found - expected).abs(), self.chat.model.dtype != torch.float32
        allowed = prefixes.NARROW * expected.abs().clamp_min(1.0) if narrow else torch.full_like(far, prefixes.CLOSE)
        if not bool((far <= allowed).all()):  # nor is what is not a number
            raise ValueError(f"log-probabilities differ by {float(far.max()):.2g} from those of full passes")

    def _told(self, way: Way, why: Mapping[str, str], sums: Tensor) -> Tensor:
        self.way = way
        told: dict[str, Any] = {"way": way, "labels": len(self.labels), "tokens": sum(map(len, self.tokens))}
        if way == "tree":
            told["nodes"] = sum(len(tree.tokens) for tree in self._trees)
        if why:
            told["why"] = dict(why)
            said = {"tree": "as a tree", "copied": "as rows of a batch", "naive": "by a full pass each"}[way]
            self.chat.note(f"Labels are scored {said}: {list(why.values())[-1]}.")
        self.chat.facts = {**self.chat.facts, "likelihood": told}
        return sums


def said(chat: Local, asking: Asking, pictures: Iterable[Pixels], examples: Mapping[str, Pixels]) -> Iterator[Said]:
    """Yield what `Chat.ask` yields, with numbers for words."""
    for one in Scorer(chat, asking, examples).score(pictures):
        if one.error is not None:
            yield Said(error=one.error, tokens_in=one.tokens_in, seconds=one.seconds, lasting=one.lasting)
        else:
            text = dumps(Weighed(one.sums, one.tokens, one.sizes))
            yield Said(text, "stop", one.tokens_in, 0, None, one.seconds, "likelihood")


def cut(labels: Labels, most: int) -> list[list[int]]:
    """Return the places of `labels` in groups of those that begin alike, a tree of each having `most` nodes at most, or one label."""
    order = sorted(range(len(labels)), key=lambda at: tuple(labels[at]))
    groups: list[list[int]] = [[]]
    nodes: set[tuple[int, ...]] = set()
    for at in order:
        own = {tuple(labels[at][:end]) for end in range(1, len(labels[at]))}
        if groups[-1] and len(nodes | own) > most:
            groups.append([])
            nodes = set()
        groups[-1].append(at)
        nodes |= own
    return groups


def planted(labels: Labels, places: Sequence[int]) -> Tree:
    """Return the tree of those of `labels` that are at `places`."""
    nodes: dict[tuple[int, ...], int] = {(): 0}
    above: list[int] = []
    after, words, owner = [], [], []
    for at in places:
        label = tuple(labels[at])
        for end, word in enumerate(label):
            after.append(nodes[label[:end]])
            words.append(word)
            owner.append(at)
            if end + 1 < len(label) and label[: end + 1] not in nodes:
                nodes[label[: end + 1]] = len(nodes)
                above.append(after[-1])
    seen = torch.eye(len(above), dtype=torch.bool)
    for node, parent in enumerate(above):
        if parent:
            seen[node] |= seen[parent - 1]
    paths = list(nodes)[1:]
    return Tree(
        tokens=torch.tensor([path[-1] for path in paths], dtype=torch.long),
        depths=torch.tensor([len(path) - 1 for path in paths], dtype=torch.long),
        seen=seen,
        after=torch.tensor(after),
        words=torch.tensor(words),
        owner=torch.tensor(owner),
    )


def look(model: Any, before: Prefix | None, inputs: Inputs) -> _Looked:
    """Read the prompt with its picture; where there is `before`, `inputs` are the prompt from the picture on."""
    given: dict[str, Any]
    if before is None:
        given = {**inputs, "past_key_values": DynamicCache(config=model.config)}
        if hasattr(model.model, "get_rope_index"):
            given["position_ids"] = prefixes._positions(model, inputs, None)
    else:
        given = before.joined(model, inputs)
        # The mask alone is for the whole prompt.
        given |= {name: inputs[name] for name in prefixes._along(inputs) if name != "attention_mask"}
    mask, positions = given["attention_mask"], given.get("position_ids")
    place = torch.tensor([mask.shape[1]], device=mask.device)
    if positions is not None:
        # A picture takes fewer positions in space than it has tokens; what follows goes on from the largest of them.
        place = torch.cat([place, (positions[1:].amax() + 1).expand(3)])
        given["position_ids"] = positions[..., -inputs["input_ids"].shape[1] :]
    out = model(**given, use_cache=True, logits_to_keep=1)
    crossing = inputs.get("cross_attention_mask")
    return _Looked(
        read=Prefix(inputs, out.past_key_values),
        first=out.logits[0, -1].float().log_softmax(-1),
        mask=mask,
        place=place,
        crossing=None if crossing is None else crossing[:, -1:],
    )


def _onward(model: Any, looked: _Looked, ids: Tensor, depths: Tensor, mask: Tensor) -> Tensor:
    """Return logits ``"rows tokens vocabulary"`` of tokens `ids` behind copies of what was read; `depths` is ``"tokens"``."""
    rows, count = ids.shape
    positions = (looked.place[:, None, None] + depths).expand(-1, rows, -1)
    given = {} if looked.crossing is None else {"cross_attention_mask": looked.crossing.expand(rows, count, -1, -1)}
    logits: Tensor = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions[0] if len(looked.place) == 1 else positions,
        past_key_values=looked.read._copied(rows, ids.device),
        use_cache=True,
        **given,
    ).logits
    return logits


def by_tree(model: Any, looked: _Looked, tree: Tree, labels: int) -> Tensor:
    """Return sums ``"labels"``, zero for those that the tree does not hold, by one pass of one row."""
    device, count = looked.mask.device, len(tree.tokens)
    table = looked.first[None]
    if count:
        seen = torch.cat([looked.mask.bool().expand(count, -1), tree.seen.to(device)], dim=1)
        mask = torch.zeros(seen.shape, dtype=model.dtype, device=device).masked_fill(~seen, torch.finfo(model.dtype).min)
        logits = _onward(model, looked, tree.tokens[None].to(device), tree.depths.to(device), mask[None, None])
        table = torch.cat([table, logits[0].float().log_softmax(-1)])
    found = table[tree.after.to(device), tree.words.to(device)].cpu().double()
    return torch.zeros(labels, dtype=torch.float64).index_add_(0, tree.owner, found)


def by_copies(model: Any, looked: _Looked, labels: Labels, rows: int) -> Tensor:
    """Return sums ``"labels"``, `rows` labels at a time, those of like length together."""
    device, sums = looked.mask.device, torch.zeros(len(labels), dtype=torch.float64)
    order = sorted(range(len(labels)), key=lambda at: len(labels[at]))
    for start in range(0, len(order), rows):
        some = order[start : start + rows]
        longest = max(len(labels[at]) for at in some)
        # A label's last token is not read; rows that are shorter are filled on the right, where nothing that counts can see it.
        words = torch.tensor([[*labels[at], *([labels[at][-1]] * (longest - len(labels[at])))] for at in some], device=device)
        real = torch.tensor([[end < len(labels[at]) for end in range(longest)] for at in some], device=device)
        table = looked.first.expand(len(some), 1, -1)
        if longest > 1:
            mask = torch.cat([looked.mask.expand(len(some), -1), real[:, :-1].to(looked.mask.dtype)], dim=1)
            logits = _onward(model, looked, words[:, :-1], torch.arange(longest - 1, device=device), mask)
            table = torch.cat([table, logits.float().log_softmax(-1)], dim=1)
        found = table.gather(2, words[..., None])[..., 0]
        sums[some] = found.masked_fill(~real, 0.0).cpu().double().sum(1)
    return sums


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
