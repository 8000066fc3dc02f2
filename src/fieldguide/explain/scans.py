"""VMamba's own maps: the linear attention that each of the four walks of a scan computes, exactly.

A walk answers ``y[t] = sum over s of alpha(t, s) u[s]`` for every channel, with

    alpha(t, s) = read[t] * exp(rate * (delta[s+1] + ... + delta[t])) * delta[s] * write[s]    for s at or before t on the walk, else 0

Scan: Liu et al., arXiv 2401.10166 (VMamba); read as attention: Ali et al., arXiv 2403.01590. The exponent is a difference of cumulative
sums and never above 0, so nothing overflows, however long the walk is; ``(read * w[t]) * (write / w[s])`` with the products w themselves
does. Whole maps need no matrix: with s fixed, the sum over t is the scan's own recurrence, walked back, in linear time. The part that
does not go through the scan, each pixel's own ``D * u``, is no part of these maps. Own code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from fieldguide.craft.anatomy import anatomy
from fieldguide.craft.scan import WALKS, Grid, before, walked
from fieldguide.craft.sight import Sight
from fieldguide.craft.vmamba_net import SS2D
from fieldguide.explain.grids import together, watching
from fieldguide.explain.maps import Layers, Maps, NotApplicable, Target, chosen

#: The four walks by what they do, in the scan's order.
WAYS = ("rows forward", "columns forward", "rows backward", "columns backward")


@dataclass(frozen=True)
class Scan:
    """What one block's scan works on for one picture: pixels in row order, on the CPU.

    `u` is ``"pixels channels"``, `delta` ``"walks pixels channels"``, `write` and `read` ``"walks pixels"``, `rate` ``"walks channels"``.
    """

    height: int
    width: int
    u: Tensor
    delta: Tensor
    write: Tensor
    read: Tensor
    rate: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, op: SS2D, convolved: Tensor) -> Scan:
        """Return the scan of `op`, whose convolution put out `convolved`, ``"1 height width channels"``."""
        height, width = convolved.shape[1:3]
        u = rearrange(F.silu(convolved.float()), "1 h w d -> (h w) d").cpu()
        told = torch.einsum("l d, k r d -> k l r", u, op.x_proj_weight.float().cpu())
        steps = torch.einsum("k l r, k d r -> k l d", told[..., :-2], op.dt_projs_weight.float().cpu())
        delta = F.softplus(steps + op.dt_projs_bias.float().cpu()[:, None])
        rate = -rearrange(op.A_logs.float().cpu(), "(k d) 1 -> k d", k=WALKS).exp()
        return cls(height, width, u, delta, told[..., -2], told[..., -1], rate)

    def order(self, walk: int) -> Tensor:
        """Return the pixels, in row order, as a walk visits them."""
        rows = torch.arange(self.height * self.width).reshape(self.height, self.width)
        visited = (rows.T if walk % 2 else rows).flatten()
        return visited if walk < 2 else visited.flip(0)

    def summed_back(self, walk: int, asked: Tensor) -> Tensor:
        """Return ``sum over t of asked[t] * exp(rate * (delta[s+1] + ... + delta[t]))`` for every s; both ``"pixels channels"``."""
        grid, back = Grid(self.height, self.width, "lines"), (walk + 2) % WALKS
        decay = (self.delta[walk] * self.rate[walk]).exp()[:, None]
        return walked(before(decay, back, grid), asked[:, None].clone(), back, grid)[:, 0]


def attention(scan: Scan) -> Tensor:
    """Return alpha itself, ``"walks channels queries sources"``, float64, pixels in row order: for small maps only."""
    pixels, channels = scan.u.shape
    alpha = torch.zeros(WALKS, channels, pixels, pixels, dtype=torch.float64)
    for walk in range(WALKS):
        for query in range(pixels):
            alpha[walk, :, query] = _row(scan, walk, query).T
    return alpha


def attention_of(scan: Scan, row: int, column: int) -> Tensor:
    """Return how much the pixel at `row` and `column` attends to each: the mean of ``|alpha|`` over channels, ``"walks height width"``."""
    query = row * scan.width + column
    rows = [_row(scan, walk, query).abs().mean(1) for walk in range(WALKS)]
    return rearrange(torch.stack(rows), "k (h w) -> k h w", h=scan.height)


def _row(scan: Scan, walk: int, query: int) -> Tensor:
    """Return alpha of one query in one walk, ``"sources channels"``, float64."""
    order = scan.order(walk)
    place = int((order == query).nonzero())
    seen = order[: place + 1]
    delta = scan.delta[walk].double()
    passed = (delta[seen] * scan.rate[walk].double()).cumsum(0)
    row = torch.zeros_like(delta)
    row[seen] = (
        scan.read[walk, query].double() * (passed[-1] - passed).exp() * delta[seen] * scan.write[walk, seen, None].double()
    )
    return row


def received(scan: Scan) -> Tensor:
    """Return the attention that every pixel receives: ``|alpha|`` summed over queries, mean over channels, ``"walks height width"``."""
    maps = []
    for walk in range(WALKS):
        asked = scan.read[walk, :, None].abs().expand_as(scan.u)
        weight = scan.delta[walk] * scan.write[walk, :, None].abs()
        maps.append((weight * scan.summed_back(walk, asked)).mean(1))
    return rearrange(torch.stack(maps), "k (h w) -> k h w", h=scan.height)


def contributed(scan: Scan, slope: Tensor) -> Tensor:
    """Return what every pixel contributes to a quantity whose gradient at the scan's answer y is `slope`, ``"pixels channels"``.

    ``slope[t] * alpha(t, s) * u[s]``, summed over queries and channels, ``"walks height width"``; all of it adds up to the dot product
    of `slope` and y, since y is linear in alpha.
    """
    maps = []
    for walk in range(WALKS):
        found = scan.summed_back(walk, slope * scan.read[walk, :, None])
        maps.append((scan.u * scan.delta[walk] * scan.write[walk, :, None] * found).sum(1))
    return rearrange(torch.stack(maps), "k (h w) -> k h w", h=scan.height)


# --- methods ---------------------------------------------------------------------------------------------------------------------


def scan_attention(sight: Sight, pixels: Tensor, target: Target, layers: Layers = None) -> Maps:
    """Return the attention that every pixel receives, ``|alpha|`` summed over queries and walks, mean over channels; `target` is not asked.

    `pixels` is ``"1 3 size size"``. Without `layers`: the last block of each stage. Stages have different grids: each map is repeated
    (nearest pixel, not scaled) up to the grid of the largest that is asked for. Raises `NotApplicable` for a network without scans.
    """
    blocks = _blocks(sight.network)
    wanted = chosen(layers, len(blocks), _last_of_stages(blocks))
    scans = _scans(sight, pixels, [blocks[at] for at in wanted])
    return Maps("scan-attention", _names(blocks, wanted), together([received(scan).sum(0) for scan in scans]))


def scan_walks(sight: Sight, pixels: Tensor, target: Target, layers: Layers = None) -> Maps:
    """Return the attention that every pixel receives in each of the four walks apart, four maps a block; else as `scan_attention`.

    Without `layers`: the last block.
    """
    blocks = _blocks(sight.network)
    wanted = chosen(layers, len(blocks), [len(blocks) - 1])
    scans = _scans(sight, pixels, [blocks[at] for at in wanted])
    names = tuple(f"block {at}, {way}" for at in wanted for way in WAYS)
    return Maps("scan-walks", names, together([walk for scan in scans for walk in received(scan)]))


def scan_gradient(sight: Sight, pixels: Tensor, target: Target, layers: Layers = None) -> Maps:
    """Return what every pixel contributes through the scan to the gap between the answer and its runner-up, to first order; signed.

    ``(d gap / d y[t]) * alpha(t, s) * u[s]``, summed over walks, queries and channels: one pass back. On its own grid a map adds up to
    the dot product of gradient and scan. Blocks and grids as in `scan_attention`. Raises `NotApplicable` for a network without scans.
    """
    blocks = _blocks(sight.network)
    wanted = chosen(layers, len(blocks), _last_of_stages(blocks))
    picked = [blocks[at] for at in wanted]
    answers: dict[str, Tensor] = {}
    hooks = {f"{block.path}.out_norm": _keeping(answers, block.path) for block in picked}
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(torch.device(sight.device).type, enabled=False):
        start = pixels.detach().to(sight.device).float().clone().requires_grad_()
        with watching(sight.network, hooks, inputs=True), _convolutions(sight.network, picked) as convolved:
            gap = target.gap(sight.network(start).float()).sum()
        slopes = torch.autograd.grad(gap, [answers[block.path] for block in picked])
    maps = []
    for block, slope in zip(picked, slopes, strict=True):
        scan = Scan.of(block.op, convolved[block.path].detach())
        maps.append(contributed(scan, rearrange(slope.float().cpu(), "1 h w d -> (h w) d")).sum(0))
    return Maps("scan-gradient", _names(blocks, wanted), together(maps), signed=True)


@dataclass(frozen=True)
class _Block:
    path: str
    op: SS2D
    stage: int


def _blocks(network: nn.Module) -> list[_Block]:
    """Return the scans of all blocks, counted as `anatomy` does."""
    found = []
    modules = [(path, module) for path, module in network.named_modules() if isinstance(module, SS2D)]
    for part in anatomy(network).blocks if modules else ():
        for path, op in modules:
            if f"{path}.A_logs" in part.parameters:
                stage = re.search(r"layers\.(\d+)\.", path)
                found.append(_Block(path, op, int(stage[1]) if stage else 0))
    if not found:
        raise NotApplicable("this network has no scans", ("gradcam", "occlusion"))
    return found


def _last_of_stages(blocks: list[_Block]) -> list[int]:
    return [at for at, block in enumerate(blocks) if at + 1 == len(blocks) or blocks[at + 1].stage != block.stage]


def _names(blocks: list[_Block], wanted: list[int]) -> tuple[str, ...]:
    return tuple(f"block {at} (stage {blocks[at].stage})" for at in wanted)


@torch.no_grad()
def _scans(sight: Sight, pixels: Tensor, blocks: list[_Block]) -> list[Scan]:
    with _convolutions(sight.network, blocks) as convolved:
        sight.network(pixels.to(sight.device).float())
    return [Scan.of(block.op, convolved[block.path]) for block in blocks]


@contextmanager
def _convolutions(network: nn.Module, blocks: list[_Block]) -> Iterator[dict[str, Tensor]]:
    """Keep what the blocks' convolutions put out: the scans' inputs but for the activation."""
    kept: dict[str, Tensor] = {}
    with watching(network, {f"{block.path}.conv2d": _keeping(kept, block.path) for block in blocks}):
        yield kept


def _keeping(kept: dict[str, Tensor], name: str) -> Callable[[Tensor], None]:
    return lambda seen: kept.__setitem__(name, seen)
