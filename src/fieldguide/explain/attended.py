"""The attention of one picture as a network computes it: every matrix of probabilities, and the gradient of the gap by each.

Libraries compute attention in one fused step that never writes the probabilities down. The pass that explains runs under a mode of
PyTorch's functions (`torch.overrides.TorchFunctionMode`) in which that step is done in two, softmax and product; what comes before it
(norms of queries and keys, rotary positions, relative biases, scales) is the network's own. Nothing of the network is switched, so
there is nothing to switch back, whatever happens in between. Timm, transformers and torchvision look alike to the mode.

What is attention between patches is told by shapes, not by names: matrices for the whole picture, as many rows and columns as there
are tokens, the same number in all blocks, one a block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from fieldguide.craft.anatomy import anatomy
from fieldguide.craft.sight import Sight
from fieldguide.craft.vmamba_net import VMamba
from fieldguide.explain.maps import NotApplicable, Target

_INSTEAD = ("gradcam", "occlusion")
_SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)
#: Class, distillation and register tokens that are looked for where no convolution tells the grid of the patches.
_MOST_EXTRA = 16


@dataclass(frozen=True)
class Attended:
    """What one picture's tokens pay each other.

    `matrices` are ``"heads tokens tokens"`` for each block: row i is what token i pays to every token, and sums to one. `gradients` are
    the derivatives of the gap by them: of the last block alone, unless all were asked for. `readers` are the tokens that the answer is
    read from. The patches are the last ``height * width`` tokens, row by row over `grid`; class, distillation and register tokens
    stand before them. `scores` are the logits of this very pass, ``"1 classes"``.
    """

    matrices: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]
    readers: Tensor
    grid: tuple[int, int]
    scores: Tensor

    def as_map(self, tokens: Tensor) -> Tensor:
        """Return ``"height width"`` of ``"tokens tokens"``: the mean row of the tokens that are read, cut out at the patches."""
        height, width = self.grid
        return tokens[self.readers].mean(0)[-height * width :].view(height, width)


def attended(sight: Sight, pixels: Tensor, target: Target, *, every: bool = False) -> Attended:
    """Show the picture ``"1 3 height width"`` to the network once, and return its attention; gradients of all blocks if `every`.

    Raises `NotApplicable`, which names the kind of the network, where no block lets every patch look at every other.
    """
    if isinstance(sight.network, VMamba):
        raise NotApplicable("a VMamba reads its patches along four walks and has no attention", ("scan-attention", *_INSTEAD))
    with torch.inference_mode(False), torch.enable_grad():
        # Gradients are asked of the attention alone: frozen parameters stay frozen, and none is left with a gradient.
        own = pixels.detach().to(sight.device).clone().requires_grad_()
        with _Watching() as watching:
            scores = _forward(sight.network, own)
        matrices, grid = _between_patches(watching, sight.network, own)
        wanted = matrices if every else matrices[-1:]
        slopes = torch.autograd.grad(target.gap(scores).sum(), wanted, allow_unused=True, materialize_grads=True)
    seen, found = (tuple(one.detach().reshape(one.shape[-3:]) for one in row) for row in (matrices, slopes))
    return Attended(seen, found, _readers(found[-1], grid), grid, scores.detach())


def _forward(network: nn.Module, pixels: Tensor) -> Tensor:
    """Return logits that have gradients, also where weights were loaded in inference mode: such weights are copied for this pass."""
    named = chain(network.named_parameters(), network.named_buffers())
    copies = {name: tensor.clone() for name, tensor in named if tensor.is_inference()}
    found: Tensor = functional_call(network, copies, (pixels,)) if copies else network(pixels)
    return found.float()


def _readers(slope: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the positions of the tokens that the answer is read from.

    Behind the last attention each token goes its own way, so the gap's derivative by that attention, ``"heads tokens tokens"``, is
    exactly zero in the rows of tokens that are not read. Where a class token is read, it is that (with the distillation token, where
    both are); else the answer is pooled from the patches, and it is all of those.
    """
    tokens = slope.shape[-1]
    first = tokens - grid[0] * grid[1]
    read = slope.abs().amax((0, 2)) > 0
    extra = read[:first].nonzero().flatten()
    if len(extra):
        return extra
    # A head of zeros reads nothing yet; it would read the class token, which stands first.
    return torch.arange(tokens)[first:] if read.any() or not first else torch.arange(1)


class _Watching(TorchFunctionMode):
    """Keeps every attention of a pass, and from before the first of them the grid of the patches and the number of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.matrices: list[Tensor] = []
        self.grid: tuple[int, int] | None = None
        self.tokens: int | None = None

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self.attend(*args, **named)
        if func is F.multi_head_attention_forward and _looks_at_itself(args, named):
            return self.attend_from_one(args), None
        found = func(*args, **named)
        if func in _SOFTMAX:
            dim = named.get("dim", args[1] if len(args) > 1 else None)
            if found.ndim > 2 and dim in (-1, found.ndim - 1):
                self.matrices.append(found)
        elif not self.matrices and func is F.conv2d:
            self.grid = (int(found.shape[-2]), int(found.shape[-1]))
        elif not self.matrices and func is F.linear and args[0].ndim == 3 and args[0].shape[0] == 1:
            self.tokens = int(args[0].shape[1])
        return found

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **more: Any,
    ) -> Tensor:
        """Return what `F.scaled_dot_product_attention` does in evaluation, in two steps: ``"... tokens width"``."""
        alike = query.shape[-3] // key.shape[-3] if more.get("enable_gqa") else 1
        key, value = (one.repeat_interleave(alike, -3) if alike > 1 else one for one in (key, value))
        scale = more.get("scale")
        products = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(-2, -1)
        if is_causal:
            products = products + torch.full_like(products, float("-inf")).triu(1)
        if attn_mask is not None:
            masks = attn_mask.dtype == torch.bool
            products = products.masked_fill(~attn_mask, float("-inf")) if masks else products + attn_mask
        paid = products.softmax(-1)
        self.matrices.append(paid)
        found: Tensor = paid @ value
        return found

    def attend_from_one(self, args: Any) -> Tensor:
        """Return what `F.multi_head_attention_forward` does for one sequence ``"tokens pictures width"`` that looks at itself."""
        sequence, heads, weight, bias, out, out_bias = (args[at] for at in (0, 4, 5, 6, 11, 12))
        length, pictures, _ = sequence.shape
        if not self.matrices and pictures == 1:
            self.tokens = int(length)
        query, key, value = F.linear(sequence, weight, bias).view(length, pictures, 3, heads, -1).permute(2, 1, 3, 0, 4)
        found = self.attend(query, key, value).permute(2, 0, 1, 3).flatten(2)
        answer: Tensor = F.linear(found, out, out_bias)
        return answer


def _looks_at_itself(args: Any, named: dict[str, Any]) -> bool:
    """Tell whether a call of `F.multi_head_attention_forward` is self-attention from one matrix, without masks and added keys."""
    query, key, value, weight, *added = (args[at] for at in (0, 1, 2, 5, 7, 8))
    masked = any(named.get(name) is not None for name in ("attn_mask", "key_padding_mask"))
    return query is key is value and weight is not None and not masked and added == [None, None] and not args[9]


def _between_patches(watched: _Watching, network: nn.Module, pixels: Tensor) -> tuple[tuple[Tensor, ...], tuple[int, int]]:
    """Return the matrices ``"... heads tokens tokens"`` of all blocks and the grid of the patches; raises `NotApplicable`."""
    found = list(watched.matrices)
    while found and found[-1].shape[-2] != found[-1].shape[-1] and prod(found[-1].shape[:-3]) == 1:
        found.pop()  # a class token or a probe that gathers the patches behind the blocks
    if not found:
        raise NotApplicable("it has no attention between patches", _INSTEAD)
    sizes = [(one.shape[-2], one.shape[-1]) for one in found]
    rows, columns = sizes[0]
    blocks = len(anatomy(network).blocks)
    tokens = watched.tokens or prod(watched.grid or (rows,))
    if any(prod(one.shape[:-3]) != 1 for one in found):
        raise NotApplicable("its attention is windowed: a patch looks only at its own part of the picture", _INSTEAD)
    if any(one != other for one, other in sizes):
        raise NotApplicable("its attention is pooled: tokens look at other tokens than themselves", _INSTEAD)
    if len(set(sizes)) > 1:
        raise NotApplicable("its attention has no one grid: tokens are merged or added from block to block", _INSTEAD)
    if columns != tokens:
        raise NotApplicable(f"its attention is between {columns} channels, not between its {tokens} patches", _INSTEAD)
    if blocks and len(found) > blocks:
        raise NotApplicable(f"its {blocks} blocks have more than one attention each ({len(found)} in all)", _INSTEAD)
    if len(found) * 2 <= blocks:
        raise NotApplicable(f"attention is in {len(found)} of its {blocks} blocks; most are convolutions", _INSTEAD)
    grid = _grid(watched.grid, tokens, pixels)
    if grid is None:
        raise NotApplicable(f"its {tokens} tokens are no grid of patches", _INSTEAD)
    return tuple(found), grid


def _grid(convolved: tuple[int, int] | None, tokens: int, pixels: Tensor) -> tuple[int, int] | None:
    """Return height and width in patches: those of the last convolution, or where none made the patches, of the picture's shape."""
    if convolved is not None and prod(convolved) <= tokens:
        return convolved
    height, width = (int(side) for side in pixels.shape[-2:])
    for patches in range(tokens, max(0, tokens - _MOST_EXTRA - 1), -1):
        down = round((patches * height / width) ** 0.5)
        if down and patches % down == 0 and down * width == patches // down * height:
            return down, patches // down
    return None
