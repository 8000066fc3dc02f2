"""What training a network costs, from two timed steps on noise."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from fieldguide.craft.anatomy import freeze
from fieldguide.craft.defaults import EPOCHS, epochs_for
from fieldguide.craft.zoo.wanted import Costs
from fieldguide.records import Estimate


def measured(network: nn.Module, size: int, settings: Costs, sizes: Any) -> Estimate:
    """Return time, memory and disk of training `network`, channels last, on pictures of `size` pixels, from two timed steps on noise."""
    freeze(network, settings.train)
    pictures = min(8, settings.batch_size)
    noise = torch.randn(pictures, 3, size, size).to(memory_format=torch.channels_last)
    network.train()
    memory = memory_of(network, noise, settings.batch_size)
    start = time.perf_counter()
    network(noise).sum().backward()
    a_step = (time.perf_counter() - start) / pictures
    start = time.perf_counter()
    with torch.inference_mode():
        network.eval()(noise)
    an_answer = (time.perf_counter() - start) / pictures
    epochs = settings.epochs or epochs_for(EPOCHS, sizes.train, settings.batch_size)
    return Estimate(
        seconds=epochs * (sizes.train * a_step + sizes.val * an_answer) + (sizes.val + sizes.test) * an_answer,
        memory_bytes=memory,
        # The model, and two checkpoints of what changes: weights, the best of them, two moments.
        disk_bytes=_bytes(network.state_dict().values()) + 8 * _bytes(trained_of(network)),
    )


def memory_of(network: nn.Module, noise: Tensor, batch_size: int) -> int:
    """Return the bytes that training on batches of this size needs: weights, gradients, moments, the best weights, and activations.

    The activations are those that one backward pass of `noise` keeps; the libraries' own workspace is not in it.
    """
    saved = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal saved
        saved += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        network(noise).sum().backward()
    return _bytes(network.state_dict().values()) + 4 * _bytes(trained_of(network)) + int(saved / len(noise) * batch_size)


def trained_of(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are trained."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
