"""What can be seen inside a contestant that is a network: handed out by `Fitted.sight()`, read by `fieldguide.explain`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fieldguide.data.batches import Preprocessing


@dataclass(frozen=True)
class Sight:
    """A network in evaluation mode, on `device`, that maps normalised ``"pictures 3 size size"`` to logits ``"pictures classes"``.

    `ids` are its classes in the order of its logits. Explanations run in float32, whatever it answers in: gradients and small
    differences of maps need it.
    """

    network: nn.Module
    preprocessing: Preprocessing
    ids: tuple[str, ...]
    device: str = "cpu"

    @torch.inference_mode()
    def logits(self, pixels: Tensor) -> Tensor:
        """Return float32 logits ``"pictures classes"`` on the CPU."""
        found: Tensor = self.network(pixels.to(self.device)).float().cpu()
        return found
