"""Picture networks without text as encoders: pooled features of timm, torchvision and transformers networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from fieldguide.craft import frozen
from fieldguide.craft.encoders import Encoder
from fieldguide.craft.encoders.of_transformers import hash_of
from fieldguide.craft.frozen import Frozen, Lens
from fieldguide.data.batches import Preprocessing
from fieldguide.files import write_json


@dataclass(frozen=True)
class Network:
    """A frozen network whose pooled features are used."""

    frozen: Frozen

    @cached_property
    def key(self) -> str:
        """Hash of weights and recipe."""
        return hash_of(self.frozen.network, self.frozen.recipe, ())

    @property
    def preprocessing(self) -> Preprocessing:
        """How it wants its pictures."""
        return self.frozen.preprocessing

    @cached_property
    def width(self) -> int:
        """Features of a picture."""
        return int(self.pictures(torch.zeros(1, 3, self.preprocessing.size, self.preprocessing.size)).shape[1])

    @property
    def parameters(self) -> int:
        """Parameters of the network."""
        return self.frozen.parameters

    @property
    def inside(self) -> nn.Module:
        """The modules that a picture passes through."""
        return self.frozen.network

    def seen(self, pixels: Tensor) -> Tensor:
        """Return features of a batch on the network's device, with gradients where they are asked for."""
        found: Tensor = self.frozen.network(pixels)
        return found.float()

    def pictures(self, pixels: Tensor) -> Tensor:
        """Return pooled features ``"pictures features"``."""
        return torch.from_numpy(self.frozen.features(pixels)).float()

    def save(self, folder: Path) -> None:
        """Write ``encoder.json`` beside what `Frozen.save` writes."""
        write_json(folder / "encoder.json", {"kind": "zoo"})
        self.frozen.save(folder)


def build(lens: Lens, *, seed: int, device: str, online: bool) -> Encoder:
    """Return the network of `lens`; nothing reads."""
    network, described = frozen.build(lens, seed=seed, device=device, online=online)
    return Encoder(lens.model, Network(network), None, described=described)


def load(folder: Path) -> Network:
    """Read what `Network.save` wrote."""
    return Network(frozen.load(folder))
