"""Nothing but the answers: at every step only such tokens are left as lead to one of them.

Answers are tokenised as they follow the prompt and end with the token that ends the turn, so that "bear" does not beat "polar bear" or
"bear cub" by being the beginning of it. The choice is greedy, token by token. That is not the answer with the highest probability: a
strong first token wins although every answer that begins with it may be less probable than another one. Where only one answer is left
the rest of its tokens is known, and nothing more is computed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import LogitsProcessor, StoppingCriteria

from fieldguide.errors import UsageProblem

#: Answers that a schema may list.
_MOST = 10_000
_Node = dict[int, Any]


class Held(Protocol):
    """What an answer is held to: a `Trie`, or `fieldguide.craft.chat.bounded.Bounded`. No answer has more than `depth` tokens."""

    depth: int

    def allowed(self, tokens: Sequence[int]) -> list[int] | None:
        """Return the tokens that may follow `tokens`; `None` (any) where the answer is whole and what follows is filling."""
        ...

    def done(self, tokens: Sequence[int]) -> bool:
        """Tell whether the answer is known."""
        ...


class Trie:
    """The tokens of `answers`, a tree whose leaves are their places in the list; of two that are written alike the first counts."""

    def __init__(self, answers: Sequence[Sequence[int]]) -> None:
        self.root: _Node = {}
        self.depth = max(len(tokens) for tokens in answers)
        for place, tokens in enumerate(answers):
            node = self.root
            for token in tokens[:-1]:
                node = node.setdefault(token, {})
            node.setdefault(tokens[-1], place)

    def walk(self, tokens: Sequence[int]) -> _Node | int | None:
        """Return where `tokens` lead: a node, the place of an answer, or `None` where they leave the tree."""
        node: _Node | int | None = self.root
        for token in tokens:
            if not isinstance(node, dict):
                return node  # what stands behind an answer is filling
            node = node.get(token)
        return node

    def allowed(self, tokens: Sequence[int]) -> list[int] | None:
        """Return the tokens that may follow `tokens`; `None` (any) where the answer is whole and what follows is filling."""
        node = self.walk(tokens)
        return list(node) if isinstance(node, dict) else None

    def done(self, tokens: Sequence[int]) -> bool:
        """Tell whether only one answer is left."""
        return self.decided(tokens) is not None

    def decided(self, tokens: Sequence[int]) -> int | None:
        """Return the place of the only answer that `tokens` leave; `None` while there are more."""
        found: _Node | int | None = self.root
        for token in tokens:
            found = found.get(token) if isinstance(found, dict) else found
            if (only := _only(found)) is not None:
                return only
        return None


def _only(node: _Node | int | None) -> int | None:
    while isinstance(node, dict):
        if len(node) > 1:
            return None
        node = next(iter(node.values()))
    return node


class OnlyAnswers(LogitsProcessor):  # type: ignore[misc]
    """Leaves the tokens that `trie` allows; `start` is the length of the prompt, which may be padded on the left."""

    def __init__(self, trie: Held, start: int) -> None:
        self.trie, self.start = trie, start

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return `scores` ``"pictures tokens"`` with minus infinity for all that leads to no answer."""
        kept = torch.full_like(scores, -torch.inf)
        for row, tokens in enumerate(input_ids[:, self.start :].tolist()):
            some = self.trie.allowed(tokens)
            allowed = slice(None) if some is None else torch.tensor(some, device=scores.device)
            kept[row, allowed] = scores[row, allowed]
        return kept


class Decided(StoppingCriteria):  # type: ignore[misc]
    """Ends a row as soon as only one answer is left."""

    def __init__(self, trie: Held, start: int) -> None:
        self.trie, self.start = trie, start

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        """Return ``"pictures"`` bool."""
        done = [self.trie.done(tokens) for tokens in input_ids[:, self.start :].tolist()]
        return torch.tensor(done, device=input_ids.device)


class Sampled(LogitsProcessor):  # type: ignore[misc]
    """Draws a token with the probabilities of a temperature, by adding Gumbel noise to the logits (Maddison et al., arXiv 1411.0030).

    Each picture has its own noise, of a seed and its content, so that it is answered the same alone and in any batch.
    """

    def __init__(self, temperature: float, seed: int, names: Sequence[str]) -> None:
        self.temperature = temperature
        made = [hashlib.sha256(f"{seed} {name}".encode()).digest()[:7] for name in names]
        self.noise = [torch.Generator().manual_seed(int.from_bytes(number)) for number in made]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return noisy `scores`, whose largest one is the token that was drawn."""
        uniform = torch.stack([torch.rand(scores.shape[1], generator=row, dtype=torch.float64) for row in self.noise])
        gumbel = -(-uniform.clamp_min(1e-300).log()).log()
        return (scores.double().cpu() / self.temperature + gumbel).to(scores.device)


class Finite(LogitsProcessor):  # type: ignore[misc]
    """Remembers the rows whose logits were no numbers: whatever follows from them is no answer."""

    def __init__(self, rows: int) -> None:
        self.broken = torch.zeros(rows, dtype=torch.bool)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return `scores`, with zeros for what is not a number."""
        wrong = scores.isnan().any(1) | ~(scores > -torch.inf).any(1)
        self.broken |= wrong.cpu()
        return scores.nan_to_num(0.0, posinf=None, neginf=-torch.inf) if bool(wrong.any()) else scores


def listed(schema: Mapping[str, Any]) -> list[str]:
    """Return every text that a JSON schema of listed values allows, in the order of its lists; `UsageProblem` where it does not list.

    Keys are written in the schema's order and with the spaces that Python writes.
    """
    return [json.dumps(value, ensure_ascii=False) for value in _values(schema)]


def _values(schema: Mapping[str, Any]) -> list[Any]:
    if "enum" in schema:
        return list(schema["enum"])
    if "const" in schema:
        return [schema["const"]]
    fields = schema.get("properties")
    if schema.get("type") == "object" and isinstance(fields, Mapping) and fields:
        choices = [_values(one) for one in fields.values()]
        count = 1
        for some in choices:
            count *= len(some)
        if count <= _MOST:
            return [dict(zip(fields, chosen, strict=True)) for chosen in itertools.product(*choices)]
    raise UsageProblem(
        "A model of this machine can only be held to a JSON schema whose values are listed.",
        f"Allowed: an object whose properties have enum or const, {_MOST:,} answers at most.",
        'how="generate" asks for JSON in words, and takes what comes.',
    )
