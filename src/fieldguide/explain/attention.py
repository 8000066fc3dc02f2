"""Where a vision transformer looks: attention block by block, attention rolled out over blocks, and attention weighed by the gradient.

All three read the attention of one pass (`fieldguide.explain.attended`), in which nothing of the network is changed. Maps lie over the
grid of the patches; class, distillation and register tokens are left out of them. Whose attention is shown is told by the network
itself: that of the tokens which its answer is read from. That is the class token (the mean of class and distillation token, where both
answer), or, where the answer is pooled from the patches (average or attention pooling, with or without a class token beside), the mean
over all patches, so that a map shows how much attention each patch receives.

What attention is evidence of is disputed (Jain and Wallace, arXiv 1902.10186, for one): `attention` and `rollout` show what was looked
at and are the same for every class; `attention_gradient` alone asks for the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fieldguide.craft.sight import Sight
from fieldguide.explain.attended import Attended, attended
from fieldguide.explain.maps import Layers, Maps, Target, chosen

#: Blocks that are shown where none were asked for: the last so many, which see whole objects.
LAST = 4


def attention(sight: Sight, pixels: Tensor, target: Target, layers: Layers = None) -> Maps:
    """Return what the class token pays to each patch, mean over heads, for the last four blocks or those asked for.

    Without a class token that is read: the attention that each patch receives, mean over all patches that pay it. A row of attention
    sums to one over all tokens, so a map sums to one less what went to the tokens that are left out.
    """
    seen = attended(sight, pixels, target)
    count = len(seen.matrices)
    blocks = chosen(layers, count, range(max(0, count - LAST), count))
    return _maps("attention", [(f"block {at}", seen.as_map(seen.matrices[at].mean(0))) for at in blocks])


def rollout(sight: Sight, pixels: Tensor, target: Target, layers: Layers = None) -> Maps:
    """Return how much of each patch has reached the class token behind a block: Abnar and Zuidema, arXiv 2005.00928, section 3.

    Each block passes on half of what it was given and mixes the other half by its attention (mean over heads), ``(A + I) / 2``; the
    maps are rows of the product over blocks 0 to N, for the last block or each of those asked for.
    """
    seen = attended(sight, pixels, target)
    count = len(seen.matrices)
    blocks = chosen(layers, count, (count - 1,))

    def mixed(rolled: Tensor, at: int) -> Tensor:
        here = seen.matrices[at].mean(0) + torch.eye(len(rolled), device=rolled.device)
        return here / here.sum(-1, keepdim=True) @ rolled

    rolled = _along(seen, mixed)
    return _maps("rollout", [(f"blocks 0 to {at}" if at else "block 0", seen.as_map(rolled[at])) for at in blocks])


def attention_gradient(sight: Sight, pixels: Tensor, target: Target, layers: Layers = None) -> Maps:
    """Return the attention that speaks for the answer: Chefer, Gur and Wolf, arXiv 2103.15679, equations 5 and 6 (self-attention).

    A block's attention is weighed by the gradient of the gap by it, what is left above zero is averaged over heads (``A_bar``), and
    relevance grows from block to block, ``R = R + A_bar R`` from the identity. The map ``all blocks`` is R's gain over the identity,
    in nats of the gap times attention; blocks that are asked for follow, as their own ``A_bar``.
    """
    seen = attended(sight, pixels, target, every=True)
    blocks = chosen(layers, len(seen.matrices), ())
    weighed = [(slope * paid).clamp(min=0).mean(0) for slope, paid in zip(seen.gradients, seen.matrices, strict=True)]
    relevance = _along(seen, lambda so_far, at: so_far + weighed[at] @ so_far)[-1]
    gained = relevance - torch.eye(len(relevance), device=relevance.device)
    alone = [(f"block {at}", seen.as_map(weighed[at])) for at in blocks]
    return _maps("attention-gradient", [("all blocks", seen.as_map(gained)), *alone])


def _along(seen: Attended, step: Callable[[Tensor, int], Tensor]) -> list[Tensor]:
    """Return ``"tokens tokens"`` behind each block, from the identity on."""
    tokens = seen.matrices[0].shape[-1]
    states = [torch.eye(tokens, device=seen.matrices[0].device)]
    for at in range(len(seen.matrices)):
        states.append(step(states[-1], at))
    return states[1:]


def _maps(method: str, named: Sequence[tuple[str, Tensor]]) -> Maps:
    """Return named maps ``"height width"`` as one stack."""
    stack = torch.stack([one for _, one in named]).float().cpu().numpy()
    return Maps(method, tuple(name for name, _ in named), stack)
