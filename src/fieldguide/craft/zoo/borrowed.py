"""A network of another library, with the face that every network here has: pictures in, logits out, its head and its spared weights named."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fieldguide.errors import UsageProblem, out_of_memory, plain

#: Tokens, positions and scales have more than one dimension and still no decay, as in the training code of DeiT and Swin.
_SPARED = (
    "cls_token",
    "class_token",
    "distillation_token",
    "mask_token",
    "register_tokens",
    "pos_embedding",
    "position_embedding",
    "relative_position_bias",
    "logit_scale",
)


class Borrowed(nn.Module):
    """`network` maps ``"pictures 3 size size"`` to logits ``"pictures classes"``, or to something that has them as `logits`.

    `heads` are the modules of its classifier, `more` is given to every call. Where `headless`, the classifier is left out and the
    answer is what it would have been given.
    """

    def __init__(
        self, network: nn.Module, heads: tuple[str, ...], more: dict[str, Any] | None = None, *, headless: bool
    ) -> None:
        super().__init__()
        self.network, self.more = network, dict(more or {})
        self.heads = tuple(f"network.{name}." for name in heads)
        for name in heads if headless else ():
            network.set_submodule(name, nn.Identity())

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits ``"pictures classes"``."""
        answer = self.network(pictures, **self.more)
        logits: Tensor = answer if isinstance(answer, Tensor) else answer.logits
        return logits

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load tensors as every network does; where nothing says of which version their layers are, they are of the present one."""
        if not hasattr(state_dict, "_metadata"):
            state_dict = OrderedDict(state_dict)
            state_dict._metadata = self.state_dict()._metadata  # type: ignore[attr-defined]
        return super().load_state_dict(state_dict, strict, assign)

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters that are no matrices, whatever their shape; networks of timm have this too."""
        return {name for name, _ in self.named_parameters() if any(word in name for word in _SPARED)}


@torch.inference_mode()
def require_size(network: nn.Module, size: int, model: str) -> None:
    """Show the network one empty picture; raises `UsageProblem` where it does not take pictures of `size` pixels."""
    trains = network.training
    try:
        network.eval()(torch.zeros(1, 3, size, size))
    except (RuntimeError, ValueError, AssertionError, TypeError, IndexError, AttributeError) as error:
        if out_of_memory(error):
            raise
        raise UsageProblem(
            f"{plain(model)} does not take pictures of {size} x {size} pixels: {plain(error)}.",
            "Allowed are sizes that fit the network: those above its smallest, and multiples of its patch or window.",
            "Leave image_size out for the model's own.",
        ) from error
    finally:
        network.train(trains)
