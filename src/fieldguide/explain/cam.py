"""Class activation maps: where the channels of a block's output that speak for the answer are active.

Grad-CAM: Selvaraju et al., arXiv 1610.02391. A channel's weight is the mean gradient of the gap between the answer and its runner-up.
Score-CAM: Wang et al., arXiv 1910.01279. No gradients: a channel's weight is the gap that is left where the picture is shown through
that channel alone. Own code; the tests hold both against the package `grad-cam` (MIT).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from fieldguide.craft.sight import Sight
from fieldguide.explain.grids import Place, named, places, together, watching
from fieldguide.explain.maps import Layers, Maps, NotApplicable, Target, chosen

#: Cells on a side that a map has at least, where no layer is asked for and some block has so many: fewer point at nothing.
FINE = 4
#: Channels that Score-CAM looks through, where no other number is asked for: each costs a pass.
CHANNELS = 64


def gradcam(sight: Sight, pixels: Tensor, target: Target, layers: Layers = None) -> Maps:
    """Return the ReLU of the sum of a block's channels, each weighted by the mean over the map of the gap's gradient. One pass back.

    `pixels` is ``"1 3 size size"``. Without `layers`: the last block of `FINE` cells a side or more that the answer hangs on; where a class
    token is all that is read, nothing of the last block's patches reaches the answer, and it is the block before. Maps of smaller grids
    are repeated (nearest pixel) up to that of the largest. Raises `NotApplicable` where no block's output lies over the picture.
    """
    pixels = pixels.to(sight.device).float()
    there = places(sight.network, pixels)
    wanted = named(there, chosen(layers, len(there), [place.block for place in there if place is not None]))
    if not wanted:
        raise NotApplicable("no block of this network puts out a map")
    seen = _with_gradients(sight, pixels, target, wanted)
    if layers is None:
        wanted, seen = _last_that_counts(wanted, seen)
    maps = [F.relu((gradient.mean((2, 3), keepdim=True) * output).sum(1))[0] for output, gradient in seen]
    return Maps("gradcam", tuple(f"block {place.block}" for place in wanted), together(maps))


Seen = list[tuple[Tensor, Tensor]]


def _with_gradients(sight: Sight, pixels: Tensor, target: Target, wanted: list[Place]) -> Seen:
    """Return outputs and the gap's gradients with respect to them, ``"1 c h w"`` each, patches alone."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[Tensor], Tensor]:
        def kept(output: Tensor) -> Tensor:
            outputs[name] = output
            return output.clone()  # what comes behind may write into its input

        return kept

    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(pixels.device.type, enabled=False):
        start = pixels.detach().clone().requires_grad_()  # so that there is a gradient where no weight wants one
        with watching(sight.network, {place.module: keep(place.module) for place in wanted}):
            gap = target.gap(sight.network(start).float()).sum()
        held = [outputs[place.module] for place in wanted]
        gradients = torch.autograd.grad(gap, held, allow_unused=True)
    return [
        (place.laid(output.detach()), place.laid(torch.zeros_like(output) if gradient is None else gradient))
        for place, output, gradient in zip(wanted, held, gradients, strict=True)
    ]


def _last_that_counts(wanted: list[Place], seen: Seen) -> tuple[list[Place], Seen]:
    """Return the last block whose map the answer hangs on, a fine one before a coarse one; the last of all where it hangs on none."""
    counts = [at for at, (_, gradient) in enumerate(seen) if gradient.any()]
    fine = [at for at in counts if min(seen[at][0].shape[2:]) >= FINE]
    at = (fine or counts or [len(wanted) - 1])[-1]
    return [wanted[at]], [seen[at]]


@torch.inference_mode()
def scorecam(
    sight: Sight,
    pixels: Tensor,
    target: Target,
    layers: Layers = None,
    *,
    channels: int | None = CHANNELS,
    batch: int = 16,
) -> Maps:
    """Return the ReLU of the sum of a block's channels, each weighted by the gap of the picture seen through it (softmax over channels).

    Seen through a channel: the picture times the channel's map, which is stretched to 0..1 and drawn out (bilinear) to the picture's size.
    `channels`: how many are looked through, the ones whose maps vary most; the others are left out of the sum (`None`: all). Each costs
    one picture through the network, `batch` at a time. Without `layers`: the last block that puts out a map. Smaller grids are repeated
    up to the largest. Raises `NotApplicable` where no block's output lies over the picture.
    """
    pixels = pixels.to(sight.device).float()
    there = places(sight.network, pixels)
    default = [place.block for place in there if place is not None][-1:]
    wanted = named(there, chosen(layers, len(there), default))
    if not wanted:
        raise NotApplicable("no block of this network puts out a map")
    outputs: dict[str, Tensor] = {}
    hooks: dict[str, Callable[[Tensor], None]] = {
        place.module: lambda output, name=place.module: outputs.__setitem__(name, output.clone())  # type: ignore[misc]
        for place in wanted
    }
    with watching(sight.network, hooks):
        sight.network(pixels)
    maps = []
    for place in wanted:
        shown = place.laid(outputs[place.module])[0].float()
        if channels is not None and len(shown) > channels:
            shown = shown[shown.flatten(1).var(1).topk(channels).indices]
        gaps = torch.cat([_seen_through(sight, pixels, target, part) for part in torch.split(shown, batch)])
        maps.append(F.relu(torch.einsum("c, c h w -> h w", gaps.softmax(0), shown)))
    return Maps("scorecam", tuple(f"block {place.block}" for place in wanted), together(maps))


def _seen_through(sight: Sight, pixels: Tensor, target: Target, shown: Tensor) -> Tensor:
    """Return the gap ``"channels"`` of the picture through each channel of ``"channels height width"``."""
    size = (pixels.shape[-2], pixels.shape[-1])
    large = F.interpolate(shown[:, None], size, mode="bilinear", align_corners=True)
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    return target.gap(sight.network(pixels * ((large - low) / (high - low + 1e-8))).float())
