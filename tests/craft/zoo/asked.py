"""Settings as the zoo reads them, pictures, and folders as transformers writes them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fieldguide.data.batches import Preprocessing, evaluation_batches
from fieldguide.records import Image as Picture


@dataclasses.dataclass(frozen=True)
class Asked:
    model: str
    weights: str = "none"
    train: str = "all"
    image_size: int | None = None
    patch_size: int | None = None
    pad_type: str | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: str | None = None
    crop: float | None = None
    fit: str | None = None
    epochs: int | None = 1
    batch_size: int = 2


def scene(width: int = 90, height: int = 60) -> np.ndarray:
    """Return a smooth picture, on which resizing methods differ by little, with an edge, on which crops differ by much."""
    y, x = np.mgrid[:height, :width]
    channels = [np.sin(x / 9) + np.cos(y / 7), np.sin((x + y) / 11), np.cos(x / 13) * np.sin(y / 5)]
    picture = np.stack(channels, axis=-1) * 55 + 120
    picture[height // 3 : height // 2, width // 4 : width // 2] = (250, 20, 90)
    return picture.clip(0, 255).astype(np.uint8)


def ours(image: Picture, preprocessing: Preprocessing) -> Tensor:
    """Return ``"3 size size"`` as a contestant sees the picture."""
    (batch,) = evaluation_batches([image], preprocessing, 1)
    return batch.pixels[0]


def as_pillow(picture: np.ndarray) -> Any:
    return Image.fromarray(picture)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the bars and warnings of transformers out of the way."""
    from transformers.utils import logging

    loud = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(loud)
        logging.enable_progress_bar()


def folder(path: Path, config: Any, processor: Any = None, seed: int = 0) -> Any:
    """Write a network with random weights as save_pretrained does, and return the library's own, in evaluation mode."""
    from transformers import AutoModelForImageClassification

    config.architectures = config.architectures or []
    torch.manual_seed(seed)
    with quiet():
        network = AutoModelForImageClassification.from_config(config).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
        network.save_pretrained(path)
        if processor is not None:
            processor.save_pretrained(path)
    return network
