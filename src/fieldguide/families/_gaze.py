"""What a regression looks at: plain features of a small copy, or those of a network that stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fieldguide.bench import Bar, Bench
from fieldguide.errors import UsageProblem, allowed_names, plain
from fieldguide.records import Example

if TYPE_CHECKING:
    from torch import Tensor

    from fieldguide.craft.frozen import Frozen, Lens
    from fieldguide.data.batches import Preprocessing

#: Features that need no network; every other name is one of timm, torchvision (``torchvision/NAME``) or transformers (``hf/NAME``).
PLAIN = ("pixels", "colour")
#: Settings that say how a network looks at pictures.
OF_A_NETWORK = ("weights", "pad_type", "mean", "std", "interpolation", "crop")


@dataclass(frozen=True)
class Gaze:
    """`features` is one of `PLAIN`, or the name of the network `frozen`; `batch_size` pictures are read at a time."""

    features: str
    preprocessing: Preprocessing
    batch_size: int
    frozen: Frozen | None = None

    def of(self, pixels: Tensor) -> NDArray[np.float64]:
        """Return ``"pictures features"`` float64 of ``"pictures 3 size size"``."""
        from einops import rearrange

        if self.frozen is not None:
            return self.frozen.features(pixels)
        array = pixels.double().numpy()
        if self.features == "colour":
            return np.concatenate([array.mean(axis=(2, 3)), array.std(axis=(2, 3))], axis=1)
        return np.asarray(rearrange(array, "pictures rgb height width -> pictures (rgb height width)"))

    def read(self, examples: Sequence[Example], bar: Bar) -> NDArray[np.float64]:
        """Return ``"pictures features"`` of `examples`; a training picture that can no longer be read stops the fit."""
        from fieldguide.data.batches import evaluation_batches

        tables = []
        images = [example.image for example in examples]
        for batch in evaluation_batches(images, self.preprocessing, self.batch_size):
            for _, error in batch.failed:
                raise error
            tables.append(self.of(batch.pixels))
            bar.advance(len(batch.images))
        return np.concatenate(tables)


def opened(lens: Lens, bench: Bench) -> Frozen:
    """Return the network of `lens`, and write down where its weights came from."""
    from fieldguide.craft import frozen

    network, described = frozen.build(lens, seed=bench.seed, device=bench.device, online=bench.online)
    bench.fact(weights=described, image_size=network.preprocessing.size)
    return network


def require_there(lens: Lens, family: str, own: Sequence[str], online: bool) -> None:
    """Raise now what would stop the fit later: a network that no library has, or weights that are not there.

    `own` are the names that `family` knows beside `PLAIN` and networks.
    """
    from fieldguide.craft import zoo

    if not zoo.knows(lens.model):
        first, second = [*own[:1], *PLAIN][:2]
        raise UsageProblem(
            f"{family} cannot look at {plain(lens.model)!r}: no library has a network of that name.",
            f"{allowed_names(lens.model, [*own, *PLAIN, *zoo.names()])} Also hf/OWNER/NAME of the hub, and hf/FOLDER.",
            f"Write {family}/{first}, {family}/{second} or {family}/NETWORK; settings follow after a colon.",
        )
    zoo.find_weights(lens, online)
