"""What a network is fed while it trains: views of stored pictures, or activations that were computed before."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from fieldguide.craft import ranks
from fieldguide.craft.pace import Layout, memory_format
from fieldguide.data.augment import Augmentation, draw_views
from fieldguide.data.batches import Batch, Preprocessing, evaluation_batches, prepare, training_batches
from fieldguide.records import Image

#: Validation views are kept in memory between epochs up to this size.
_HELD_BYTES = 256 * 2**20


class Feed(Protocol):
    """Batches for training and validation, and how they become logits. `name` tells feeds apart whose numbers differ."""

    @property
    def name(self) -> str:
        """What a checkpoint has to agree with."""
        ...

    def training(self, rows: NDArray[np.int64], view: int) -> Generator[Batch]:
        """Yield batches of the `view`-th view of these training pictures, in order; to be closed where it is left early."""
        ...

    def plain(self, rows: Sequence[int]) -> Iterable[Batch]:
        """Yield batches of training pictures as they would be answered for, without augmentation."""
        ...

    def validation(self) -> Iterable[Batch]:
        """Yield batches of all validation pictures, in order."""
        ...

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Return ``"pictures classes"`` for the `pixels` of a batch."""
        ...


@dataclass(frozen=True)
class Serving:
    """How many pictures are served at once, where, and how they lie in memory."""

    batch_size: int
    device: str = "cpu"
    layout: Layout = "channels_last"


class Pictures:
    """Views straight from the store. `seed` is that of the views."""

    name = "pictures"

    def __init__(
        self,
        train: Sequence[Image],
        val: Sequence[Image],
        preprocessing: Preprocessing,
        augmentation: Augmentation,
        seed: int,
        serving: Serving,
    ) -> None:
        self.train, self.val = train, val
        self.preprocessing, self.augmentation = preprocessing, augmentation
        self.seed, self.batch_size, self.device, self.layout = seed, serving.batch_size, serving.device, serving.layout
        self.held: list[Batch] | None = None
        # The first of several processes decodes what is missing; the others find it.
        for turn in (ranks.rank() == 0, ranks.rank() > 0):
            if turn:
                prepare([*train, *val], preprocessing.resize)
            ranks.told()

    def training(self, rows: NDArray[np.int64], view: int) -> Generator[Batch]:
        """Yield batches of augmented views."""
        views = draw_views(len(self.train), self.augmentation, self.seed, view)
        return training_batches(self.train, rows, views, self.preprocessing, self.batch_size, self.device)

    def plain(self, rows: Sequence[int]) -> Iterable[Batch]:
        """Yield batches of evaluation views of training pictures."""
        return _whole(evaluation_batches([self.train[row] for row in rows], self.preprocessing, self.batch_size))

    def validation(self) -> Iterable[Batch]:
        """Yield batches of evaluation views; few enough of them are kept for the next epoch."""
        if self.held is not None:
            return self.held
        batches = _whole(evaluation_batches(self.val, self.preprocessing, self.batch_size))
        if len(self.val) * self.preprocessing.size**2 * 12 > _HELD_BYTES:
            return batches
        self.held = list(batches)
        return self.held

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Ask the network."""
        logits: Tensor = network(inputs.to(self.device, memory_format=memory_format(self.layout), non_blocking=True))
        return logits


def _whole(batches: Iterable[Batch]) -> Generator[Batch]:
    """Yield batches; raises `PictureError` where a picture can no longer be read, so that nothing is scored on fewer."""
    for batch in batches:
        for _, error in batch.failed:
            raise error
        yield batch
