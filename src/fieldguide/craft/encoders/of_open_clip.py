"""Image-text models of open_clip (MIT) as ``open_clip/NAME@TAG``, for what transformers lacks; an extra of the package."""

from __future__ import annotations

from pathlib import Path

from fieldguide.craft.encoders import Encoder, Sees
from fieldguide.craft.frozen import Lens


def check(model: str, online: bool) -> None:
    """Raise for an unknown name or tag, and where its weights are not on this machine and may not be fetched."""
    raise NotImplementedError


def build(lens: Lens, device: str, online: bool) -> Encoder:
    """Return both halves of the model."""
    raise NotImplementedError


def load(folder: Path, device: str) -> Sees:
    """Read the picture half that was saved."""
    raise NotImplementedError
