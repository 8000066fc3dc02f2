"""Several processes that train one network together (torchrun): who I am, what the first one decided, whose gradients are meant.

Data parallel: every process holds the whole network and takes its share of each step's pictures; gradients are averaged by
torch's DistributedDataParallel. The first process alone writes files.
"""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

_PATIENCE = timedelta(days=7)


def rank() -> int:
    """Return the number of this process, from 0; 0 where it is the only one."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def size() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def join() -> None:
    """Meet the other processes: NCCL where each has a GPU of its own, else gloo.

    They wait for each other as long as it takes: the first may decode pictures for hours, and torchrun ends all where one fails.
    """
    if not distributed.is_initialized():
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if torch.cuda.is_available() and torch.cuda.device_count() > local:
            torch.cuda.set_device(local)
            distributed.init_process_group("cpu:gloo,cuda:nccl", timeout=_PATIENCE)
        else:
            distributed.init_process_group("gloo", timeout=_PATIENCE)


def leave() -> None:
    """Part from the other processes."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def told(value: Any = None) -> Any:
    """Return what the first process says, as JSON; the others' `value` is not looked at."""
    if size() == 1:
        return value
    words = json.dumps(value).encode() if rank() == 0 else b""
    length = torch.tensor([len(words)])
    distributed.broadcast(length, 0)
    letters = (
        torch.frombuffer(bytearray(words), dtype=torch.uint8) if rank() == 0 else torch.empty(int(length), dtype=torch.uint8)
    )
    distributed.broadcast(letters, 0)
    return json.loads(letters.numpy().tobytes())


def share(order: NDArray[np.int64], batch_size: int) -> NDArray[np.int64]:
    """Return this process's pictures of an epoch, `batch_size` a step; of a last, smaller step as equal a share as can be."""
    if size() == 1:
        return order
    whole = batch_size * size()
    parts = [order[start : start + whole] for start in range(0, len(order), whole)]
    return np.concatenate([np.array_split(part, size())[rank()] for part in parts])


def together(model: nn.Module) -> nn.Module:
    """Return the network so wrapped that a backward pass averages gradients over all processes; itself where there is one."""
    return DistributedDataParallel(model) if size() > 1 else model


def unsynced(model: nn.Module, wait: bool) -> AbstractContextManager[Any]:
    """Return a context in which gradients stay at home, where `wait` says that more of this step is to come."""
    if wait and isinstance(model, DistributedDataParallel):
        return cast(AbstractContextManager[Any], model.no_sync())
    return nullcontext()


def summed(value: float) -> float:
    """Return the sum of `value` over all processes."""
    if size() == 1:
        return value
    tensor = torch.tensor([value], dtype=torch.float64)
    distributed.all_reduce(tensor)
    return float(tensor)
