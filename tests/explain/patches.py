"""Pictures whose label depends on one planted patch, so that it is known where an explanation must point, and a loop that learns them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def planted(count: int, size: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return noise ``"n 3 size size"`` with one patch each, its class ``"n"``, and where it lies, ``"n 4"``: top, left, bottom, right.

    A patch is a third of the picture wide, lies anywhere, and is brighter in the colour of its class (red, green, blue) and darker in
    the others, so that its mean is that of the noise.
    """
    random = torch.Generator().manual_seed(seed)
    pixels = torch.randn(count, 3, size, size, generator=random) * 0.5
    labels = torch.randint(3, (count,), generator=random)
    side = size // 3
    corners = torch.randint(size - side + 1, (count, 2), generator=random)
    boxes = torch.cat([corners, corners + side], 1)
    colours = 1.5 * torch.eye(3) - 0.5
    for picture, label, (top, left, bottom, right) in zip(pixels, labels, boxes.tolist(), strict=True):
        picture[:, top:bottom, left:right] += 1.5 * colours[label, :, None, None]
    return pixels, labels, boxes


def train(network: nn.Module, size: int = 32, seed: int = 0, steps: int = 100, batch: int = 32, rate: float = 1e-2) -> float:
    """Teach `network` the patches with AdamW, new pictures at every step, and return its accuracy on others; it ends in evaluation mode.

    A quarter of the pictures are noise without a patch, which all classes share: no class may be what is left where nothing is seen.
    """
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    for step in range(steps):
        pixels, labels, _ = planted(batch, size, 1_000_000 * (seed + 1) + step)
        wanted = F.one_hot(labels, 3).float()
        empty = batch // 4
        pixels[:empty] = torch.randn(pixels[:empty].shape, generator=torch.Generator().manual_seed(step)) * 0.5
        wanted[:empty] = 1 / 3
        loss = F.cross_entropy(network(pixels), wanted)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    network.eval()
    pixels, labels, _ = planted(128, size, seed + 500)
    with torch.inference_mode():
        return float((network(pixels).argmax(1) == labels).float().mean())
