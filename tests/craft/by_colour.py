"""An encoder made by hand: it sees the mean colour of a picture, and reads what words of colour a line has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fieldguide.craft import encoders
from fieldguide.craft.encoders import Encoder
from fieldguide.data.batches import Preprocessing
from fieldguide.files import write_json

WORDS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0), "grey": (1.0, 1.0, 1.0)}


@dataclass
class Sees:
    """`looked` counts the pictures that went through."""

    looked: list[int] = field(default_factory=list)
    key: str = "by colour"
    width: int = 3
    parameters: int = 3
    preprocessing: Preprocessing = Preprocessing(8, mean=(0.3,) * 3, std=(0.2,) * 3)

    def pictures(self, pixels: Tensor) -> Tensor:
        self.looked.append(len(pixels))
        return 3 * pixels.mean(dim=(2, 3))

    def save(self, folder: Path) -> None:
        write_json(folder / "encoder.json", {"kind": "by colour"})


@dataclass
class Reads:
    """A line is the sum of its colours, and a little of everything; `read` notes every line."""

    read: list[str] = field(default_factory=list)
    key: str = "by colour"
    width: int = 3
    parameters: int = 12
    context: int | None = 8

    def texts(self, lines: Sequence[str]) -> Tensor:
        self.read += lines
        found = [[WORDS.get(word.strip(".,:;").casefold(), (0.0, 0.0, 0.0)) for word in line.split()] for line in lines]
        return torch.tensor([[0.05 + sum(word[at] for word in line) for at in range(3)] for line in found])

    def tokens(self, lines: Sequence[str]) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def counted(self, lines: Sequence[str]) -> list[int]:
        return [len(line.split()) for line in lines]


def install(patch: pytest.MonkeyPatch, scale: float = 10.0) -> tuple[Sees, Reads]:
    """Let every encoder be this one, and return its halves."""
    sees, reads = Sees(), Reads()
    encoder = Encoder("by colour", sees, reads, scale, shared=True, described="made by hand")  # type: ignore[arg-type]
    patch.setattr(encoders, "build", lambda lens, **_: encoder)
    patch.setattr(encoders, "load", lambda folder, device: sees)
    patch.setattr("fieldguide.craft.encoders.planning.planned", lambda lens, online=False: sees.preprocessing)
    return sees, reads
