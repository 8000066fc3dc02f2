"""The selective scan of VMamba (SS2D) with a state of one number: four walks over the pixels of a feature map, forward and backward.

For every walk k, channel and pixel t along it

    h[t] = exp(delta[t] * rate) * h[t - 1] + delta[t] * write[t] * u[t]          y[t] = read[t] * h[t]

and the answers of the four walks are added. Walk 0 goes row by row, walk 1 column by column, walks 2 and 3 are 0 and 1 from the
last pixel to the first. No sequence is copied, turned or flipped for that: a walk is an order in which pixels are visited.

The recurrence can be walked in three ways, which agree to rounding: ``"steps"`` one pixel after the other, in place (best on a CPU
when a pixel is wide); ``"lines"`` all rows (or columns) of the map at once, then from line to line, which is the two-level blocked
scan with the map's own lines as blocks (few launches: for narrow pixels, GPUs and export); ``"numba"`` the steps compiled, where numba
is installed. The backward pass is written by hand: the same recurrence, walked back. It needs its inputs alone and walks forward
once more, since memory for the states costs more than walking. State and arithmetic are float32 (float64 for float64 inputs), whatever
the precision around them.

Selective scan: Gu and Dao, arXiv 2312.00752 (Mamba). Four directions: Liu et al., arXiv 2401.10166 (VMamba). Own code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from fieldguide.errors import EnvironmentProblem

Way = Literal["auto", "steps", "lines", "numba"]
#: Numbers in a pixel (batch times channels) from which one step at a time is quicker on a CPU than a line at a time (measured: 2 cores).
WIDE = 2048
WALKS = 4


class Grid(NamedTuple):
    """The map that is walked, in pixels, and the way to walk it."""

    height: int
    width: int
    way: Way = "auto"


def cross_scan(u: Tensor, told: Tensor, weight: Tensor, bias: Tensor, rate: Tensor, grid: Grid) -> Tensor:
    """Return the sum of the four walks, ``"pixels batch channels"``, pixels in row order, float32 (float64 if `u` is).

    u: ``"pixels batch channels"``, what is written into the state. told: ``"4 pixels batch rank+2"``, what each walk reads off a
    pixel: `rank` numbers for the step size, then `write`, then `read`. weight ``"4 channels rank"`` and bias ``"4 channels"``: delta is
    ``softplus(weight @ step + bias)``. rate: ``"4 channels"``, negative.
    """
    kind = torch.float64 if u.dtype == torch.float64 else torch.float32
    with torch.autocast(u.device.type, enabled=False):
        wide = (tensor.to(kind) for tensor in (u, told, weight, bias, rate))
        y: Tensor = _CrossScan.apply(*wide, _chosen(u, grid))
    return y


def _chosen(u: Tensor, grid: Grid) -> Grid:
    """Replace ``"auto"`` by the quickest way for this device and width."""
    if grid.way != "auto":
        return grid
    # Asked first, so that an exported network does not depend on the width it was traced with.
    stepwise = not torch.compiler.is_compiling() and u.device.type == "cpu" and u[0].numel() >= WIDE
    return grid._replace(way="steps" if stepwise else "lines")


class _Walk(NamedTuple):
    """One walk's share of the inputs, and what is made of them: step sizes, decay, and what is added to the state."""

    step: Tensor
    write: Tensor
    read: Tensor
    delta: Tensor
    decay: Tensor
    added: Tensor


def _prepared(k: int, u: Tensor, told: Tensor, weight: Tensor, bias: Tensor, rate: Tensor) -> _Walk:
    step, write, read = torch.split(told[k], [told.shape[-1] - 2, 1, 1], dim=-1)
    delta = F.softplus(F.linear(step, weight[k], bias[k]))
    return _Walk(step, write, read, delta, (delta * rate[k]).exp_(), (delta * write).mul_(u))


class _CrossScan(torch.autograd.Function):
    """The four walks with their backward pass; one walk at a time, so that temporary memory is that of one."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, told: Tensor, weight: Tensor, bias: Tensor, rate: Tensor, grid: Grid) -> Tensor:
        ctx.save_for_backward(u, told, weight, bias, rate)
        ctx.grid = grid
        y = torch.zeros_like(u)
        for k in range(WALKS):
            walk = _prepared(k, u, told, weight, bias, rate)
            y.addcmul_(walk.read, walked(walk.decay, walk.added, k, grid))
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        u, told, weight, bias, rate = ctx.saved_tensors
        grid: Grid = ctx.grid
        du, (dtold, dweight, dbias, drate) = torch.zeros_like(u), map(torch.empty_like, ctx.saved_tensors[1:])
        for k in range(WALKS):
            walk = _prepared(k, u, told, weight, bias, rate)
            h = walked(walk.decay, walk.added, k, grid)
            # The gradient of a state is what its pixel's answer asks for, and what the next pixel kept of it: the walk back.
            g = walked(before(walk.decay, _back(k), grid), walk.read * dy, _back(k), grid)
            dtold[k, ..., -1] = (h * dy).sum(-1)
            kept = before(h, k, grid).mul_(walk.decay).mul_(g)
            drate[k] = (kept * walk.delta).sum((0, 1))
            du.addcmul_(g, walk.delta * walk.write)
            g.mul_(u)
            dtold[k, ..., -2] = (g * walk.delta).sum(-1)
            slope = torch.expm1(walk.delta.neg_()).neg_()  # that of softplus, from its value
            draw = kept.mul_(rate[k]).addcmul_(g, walk.write).mul_(slope)
            dtold[k, ..., :-2] = draw @ weight[k]
            dweight[k] = rearrange(draw, "l b d -> d (l b)") @ rearrange(walk.step, "l b r -> (l b) r")
            dbias[k] = draw.sum((0, 1))
        return du, dtold, dweight, dbias, drate, None


def _back(k: int) -> int:
    """Return the walk that visits the pixels of walk `k` from its end."""
    return (k + 2) % WALKS


def before(x: Tensor, k: int, grid: Grid) -> Tensor:
    """Return ``"pixels ..."`` with what walk `k` saw one pixel earlier in each place, and zeros where it begins."""
    out, turn = torch.empty_like(x), 1 if k < 2 else -1
    (later, earlier), (first, last) = (slice(1, None), slice(None, -1))[::turn], (0, -1)[::turn]
    out[first] = 0
    if k % 2 == 0:
        out[later] = x[earlier]
    else:
        here, there = (rearrange(tensor, "(y x) ... -> y x ...", y=grid.height) for tensor in (out, x))
        here[later] = there[earlier]
        here[first, later] = there[last, earlier]
    return out


def walked(decay: Tensor, added: Tensor, k: int, grid: Grid) -> Tensor:
    """Return the states of walk `k`, ``h[t] = decay[t] * h[t - 1] + added[t]``, all ``"pixels batch channels"``; `added` may be used up."""
    ways: dict[str, Callable[..., Tensor]] = {"steps": _by_steps, "lines": _by_lines, "numba": _by_numba}
    return ways[grid.way](decay, added, k, grid)


@lru_cache(maxsize=64)
def _order(k: int, height: int, width: int) -> tuple[int, ...]:
    """Return the pixels of walk `k` as it visits them."""
    rows = range(height * width)
    order = list(rows) if k % 2 == 0 else [y * width + x for x in range(width) for y in range(height)]
    return tuple(order if k < 2 else order[::-1])


def _by_steps(decay: Tensor, added: Tensor, k: int, grid: Grid) -> Tensor:
    a, h = decay.unbind(0), added.unbind(0)
    first, *rest = _order(k, grid.height, grid.width)
    last = h[first]
    for t in rest:
        last = h[t].addcmul_(a[t], last)
    return added


def _by_lines(decay: Tensor, added: Tensor, k: int, grid: Grid) -> Tensor:
    """Walk all lines at once, each from nothing; carry what reached a line's end to the next line; add it where it still lasts."""
    turn, along = (1 if k < 2 else -1), 1 - k % 2
    # A traced graph must not write into its own views; here it saves making every line anew.
    put = torch.Tensor.addcmul if torch.compiler.is_compiling() else torch.Tensor.addcmul_
    a, h = (list(rearrange(x, "(y x) b d -> y x b d", y=grid.height).unbind(along)[::turn]) for x in (decay, added))
    lasting = [a[0]]  # the part of what came into a line that is left at each of its places
    for t in range(1, len(h)):
        h[t] = put(h[t], a[t], h[t - 1])
        lasting.append(a[t] * lasting[-1])
    came = [torch.zeros_like(h[0][0])]
    for end, part in zip(h[-1].unbind(0)[::turn], lasting[-1].unbind(0)[::turn], strict=True):
        came.append(torch.addcmul(end, part, came[-1]))
    into = torch.stack(came[:-1][::turn])
    h = [put(state, part, into) for state, part in zip(h, lasting, strict=True)]
    return torch.stack(h[::turn], along).flatten(0, 1) if torch.compiler.is_compiling() else added


def _by_numba(decay: Tensor, added: Tensor, k: int, grid: Grid) -> Tensor:
    order = np.array(_order(k, grid.height, grid.width))
    _compiled()(decay.flatten(1).numpy(), added.flatten(1).numpy(), order)
    return added


def available(way: Way) -> None:
    """Raise `EnvironmentProblem` where a way to walk is not to be had."""
    if way == "numba":
        _compiled()


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., None]:
    """Return the steps as machine code. Raises `EnvironmentProblem` where numba is not installed."""
    try:
        import numba
    except ImportError as error:
        raise EnvironmentProblem(
            "The package numba is not installed.",
            "Allowed without it: scan=auto, scan=steps and scan=lines.",
            "pip install 'fieldguide[numba]'",
        ) from error

    @numba.njit(nogil=True)  # type: ignore[untyped-decorator]
    def steps(a: Any, h: Any, order: Any) -> None:
        for t in range(1, len(order)):
            here, there = order[t], order[t - 1]
            for d in range(h.shape[1]):
                h[here, d] += a[here, d] * h[there, d]

    return steps  # type: ignore[no-any-return]
