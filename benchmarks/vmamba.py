"""How long does a training step of VMamba-T take, against a scan by slices and against SwinV2-T?

    python benchmarks/vmamba.py                        one picture against the slices, four against SwinV2-T, at 224 pixels
    python benchmarks/vmamba.py --size 64 --rounds 2   to try it out

The scan by slices does what the official code falls back to without its kernel: sequences copied and flipped, two einsums ahead and
one a pixel, autograd left to find the backward pass, which fills a whole zero gradient for every slice.

A step is forward, cross entropy, backward and AdamW, in fp32. The sides take turns in one process, after a step of each that does not
count; printed are medians, their ratios, and the rounds. With --profile the dearest operations of one of our steps are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import timm
import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from fieldguide.craft import vmamba_net
from fieldguide.craft.loop import placed
from fieldguide.craft.scan import Grid

Step = Callable[[], None]


def unrolled(maps: Tensor) -> Tensor:
    """Return ``"batch 4 numbers pixels"`` of ``"batch 4 numbers height width"``: by rows, by columns, and both from the end."""
    both = torch.stack([maps[:, 0].flatten(2), maps[:, 1].transpose(2, 3).flatten(2)], 1)
    back = torch.stack([maps[:, 2].flatten(2), maps[:, 3].transpose(2, 3).flatten(2)], 1).flip(-1)
    return torch.cat([both, back], 1)


def by_slices(u: Tensor, told: Tensor, weight: Tensor, bias: Tensor, rate: Tensor, grid: Grid) -> Tensor:
    """Return what `fieldguide.craft.scan.cross_scan` returns, slice by slice."""
    picture = rearrange(u, "(h w) b d -> b 1 d h w", h=grid.height).expand(-1, 4, -1, -1, -1)
    sequences, said = unrolled(picture), unrolled(rearrange(told, "k (h w) b r -> b k r h w", h=grid.height))
    step, write, read = said.split([said.shape[2] - 2, 1, 1], dim=2)
    delta = (torch.einsum("bkrl,kdr->bkdl", step, weight) + bias[None, :, :, None]).flatten(1, 2)
    delta, sequences = F.softplus(delta), sequences.flatten(1, 2)
    # As there, each channel gets its own copy of what its walk shares, and the state an axis of its own, here of one number.
    write, read = (repeat(words, "b k n l -> b (k d) n l", d=u.shape[-1]) for words in (write, read))
    a = torch.exp(torch.einsum("bdl,dn->bdln", delta, rate.reshape(-1, 1)))
    b = torch.einsum("bdl,bdnl,bdl->bdln", delta, write, sequences)
    h, answers = a.new_zeros(a[:, :, 0].shape), []
    for t in range(a.shape[2]):
        h = a[:, :, t, :] * h + b[:, :, t, :]
        answers.append(torch.einsum("bdn,bdn->bd", h, read[:, :, :, t]))
    y = rearrange(torch.stack(answers, dim=-1), "b (k d) l -> b k d l", k=4)
    y = y[:, :2] + y[:, 2:].flip(-1)
    down = rearrange(y[:, 1], "b d (w h) -> (h w) b d", h=grid.height)
    return rearrange(y[:, 0], "b d l -> l b d") + down


def sliced(step: Step) -> Step:
    """Return the step with the scan by slices in the place of ours."""

    def run() -> None:
        ours = vmamba_net.cross_scan
        vmamba_net.cross_scan = by_slices  # type: ignore[assignment]
        try:
            step()
        finally:
            vmamba_net.cross_scan = ours

    return run


def step_of(network: nn.Module, batch: int, size: int) -> Step:
    torch.manual_seed(0)
    network = placed(network, "cpu").train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    pictures = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    targets = torch.arange(batch) % 1000

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(network(pictures), targets).backward()
        optimiser.step()

    return step


def ours(way: str = "auto") -> nn.Module:
    torch.manual_seed(0)
    shape, drop_path = vmamba_net.SIZES["tiny"]
    return vmamba_net.VMamba(shape, drop_path, way)  # type: ignore[arg-type]


def swin(size: int) -> nn.Module:
    """Return SwinV2-T, its windows fitted to the size: as wide as the last of its maps, which is a whole number of them."""
    return timm.create_model("swinv2_tiny_window8_256", pretrained=False, img_size=size, window_size=size // 32)


def compared(title: str, sides: dict[str, Step], rounds: int) -> None:
    """Print medians of `rounds`, in which the sides take turns, and how many times longer than the first each of the others takes."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, step in sides.items():
            start = time.perf_counter()
            step()
            if number:
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    first = next(iter(medians.values()))
    print(f"\n{title}; {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}, {rounds} rounds")
    for name, median in medians.items():
        print(
            f"  {name:24}{median:9.3f} s  {median / first:6.2f}x   from {min(times[name]):.3f} to {max(times[name]):.3f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224, help="side of the pictures, a multiple of 32")
    parser.add_argument("--batch", type=int, default=4, help="pictures a step against SwinV2-T")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slice-rounds", type=int, default=2, help="rounds against the slices; 0 leaves them out")
    parser.add_argument("--ways", nargs="+", default=["auto"], help="ways to walk: auto, steps, lines, numba")
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    if asked.slice_rounds:
        sides = {"ours": step_of(ours(), 1, asked.size), "by slices": sliced(step_of(ours(), 1, asked.size))}
        compared(f"VMamba-T, {asked.size} pixels, batch 1", sides, asked.slice_rounds)
    sides = {"SwinV2-T": step_of(swin(asked.size), asked.batch, asked.size)}
    sides |= {f"VMamba-T, {way}": step_of(ours(way), asked.batch, asked.size) for way in asked.ways}
    compared(f"{asked.size} pixels, batch {asked.batch}", sides, asked.rounds)
    if asked.profile:
        with torch.profiler.profile() as profile:
            list(sides.values())[-1]()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40))


if __name__ == "__main__":
    main()
