"""What an encoder will ask for and cost, before it is used: the size of its pictures, and a timed look."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from fieldguide.craft import encoders
from fieldguide.craft.frozen import Lens
from fieldguide.data.batches import Preprocessing

#: Pictures of the noise that a look is timed on.
_TIMED = 4


def planned(lens: Lens, online: bool = False) -> Preprocessing:
    """Return the preprocessing of the encoder that `lens` names, without its weights where its configuration tells it."""
    from fieldguide.craft import zoo
    from fieldguide.craft.zoo import looks, of_transformers

    if not encoders.two_sided(lens.model, online):
        return zoo.planned(lens)
    if lens.model.startswith(encoders.OPEN_CLIP):
        return _room(lens.model).build(lens, "cpu", online).sees.preprocessing  # type: ignore[no-any-return]
    folder = encoders.drawn_folder() if lens.model == encoders.DRAWN else of_transformers.folder_of(lens.model, online)
    return looks.described(of_transformers.own_looks(replace(lens, model=f"hf/{folder}")), lens, {})


def cost(lens: Lens) -> tuple[float, int, int]:
    """Return seconds a picture, features a picture and bytes of the picture half, from a timed look at noise."""
    import torch

    from fieldguide.craft import frozen

    if not encoders.two_sided(lens.model):
        return frozen.cost(lens)
    sees = _room(lens.model).build(lens, "cpu", False).sees
    noise = torch.randn(_TIMED, 3, sees.preprocessing.size, sees.preprocessing.size)
    sees.pictures(noise[:1])
    start = time.perf_counter()
    width = sees.pictures(noise).shape[1]
    return (time.perf_counter() - start) / _TIMED, int(width), 4 * sees.parameters


def _room(model: str) -> Any:
    """Return the module that builds an image-text model, without asking it anything."""
    from importlib import import_module

    return import_module(f"{encoders.__name__}.{'of_open_clip' if model.startswith(encoders.OPEN_CLIP) else 'of_transformers'}")
