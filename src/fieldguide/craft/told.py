"""What servers tell of the tokens they write: the likeliest ones at each place, with their log-probabilities.

OpenAI's protocol (``choices[0].logprobs.content``) and Ollama's own (``logprobs``) have the same list: for each token that was written its
text, its log-probability in nats, and ``top_logprobs``, those that were likeliest there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

#: Below this nothing is told: OpenAI says -9999 of a token that is not among the likeliest, others of one that sampling has left out.
_UNTOLD = -1000.0
#: Rounding may lift a log-probability above 0 by so much; what is larger is something else, such as a probability.
_ROUNDED = 1e-3
#: Tokens that are read of a reply; what is asked for here is in the first.
_MOST = 64


@dataclass(frozen=True, slots=True)
class Told:
    """A token that was written, and `tops`: the tokens that were likeliest in its place, itself among them, each with its log-probability."""

    text: str
    tops: tuple[tuple[str, float], ...]


def told(content: object) -> tuple[Told, ...]:
    """Return what a reply tells of its tokens, in order; nothing where it tells nothing, or numbers that are no log-probabilities."""
    tokens = content if isinstance(content, list) else []
    return tuple(_told(tokens[:_MOST]))


def _told(tokens: list[object]) -> Iterator[Told]:
    for token in tokens:
        if not isinstance(token, Mapping):
            return
        beside = token.get("top_logprobs")
        pairs = [_pair(one) for one in (beside if isinstance(beside, list) else [])]
        text, own = str(token.get("token") or ""), _pair(token)
        if own is not None and own[0] not in {pair[0] for pair in pairs if pair is not None}:
            pairs.append(own)
        tops = tuple(pair for pair in pairs if pair is not None and pair[1] > _UNTOLD)
        if any(logprob > _ROUNDED for _, logprob in tops):
            return
        yield Told(text, tuple((word, min(logprob, 0.0)) for word, logprob in tops))


def _pair(one: object) -> tuple[str, float] | None:
    """Return a token and its log-probability; `None` where there is no such number (NaN among them)."""
    if not isinstance(one, Mapping):
        return None
    text, logprob = one.get("token"), one.get("logprob")
    if not isinstance(text, str) or not isinstance(logprob, int | float) or isinstance(logprob, bool) or math.isnan(logprob):
        return None
    return text, float(logprob)
