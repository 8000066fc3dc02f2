"""How a network wants its pictures: what was asked, before what its weights file says, before what its library says."""

from __future__ import annotations

import math
from typing import Any, cast

from fieldguide.craft.zoo.wanted import Looks
from fieldguide.data.batches import Interpolation, Preprocessing
from fieldguide.errors import DataProblem, plain


def described(own: dict[str, Any], settings: Looks, says: dict[str, str]) -> Preprocessing:
    """Return the preprocessing from a network's `own` configuration in timm's words, what its file `says`, and what was asked.

    ``own["squash"]``, if there, tells that both sides are resized alike, whatever the shape of the picture. Where a squash is asked
    for, the whole picture is shown, unless a crop is asked for too.
    """

    def three(name: str) -> tuple[float, float, float] | None:
        values = [_number(name, value) for value in says[name].split(",")] if says.get(name) else []
        return (values[0], values[1], values[2]) if len(values) == 3 else None

    named = settings.interpolation or says.get("interpolation") or str(own["interpolation"])
    own_size = int(own["input_size"][-1])
    crop = settings.crop or _number("crop_pct", says.get("crop_pct") or own["crop_pct"])
    squashed = bool(own.get("squash", False))
    # A network from scratch was never shown a middle: nothing is cut off unless it was asked for.
    whole = settings.crop is None and (settings.weights == "none" or (settings.fit == "squash" and not squashed))
    return Preprocessing(
        size=settings.image_size or own_size,
        mean=settings.mean or three("input_mean") or tuple(own["mean"]),
        std=settings.std or three("input_std") or tuple(own["std"]),
        interpolation=cast(Interpolation, named if named in ("nearest", "bilinear") else "bicubic"),
        crop=1.0 if whole else crop,
        squash=squashed if settings.fit is None else settings.fit == "squash",
    )


def share(size: int, resize: int) -> float:
    """Return the `crop` of a picture whose sides are resized to `resize` pixels before `size` are cut out of the middle."""
    part = min(1.0, size / resize)
    # `Preprocessing.resize` rounds down: 256 of 260 pixels must not become 256 of 259.
    return part if int(size / part) == max(resize, size) else math.nextafter(part, 0)


def _number(name: str, value: Any) -> float:
    """Read a number between 0 and 1 out of a file's metadata."""
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1 or (number == 0 and name != "input_mean"):
        raise DataProblem(
            f"The weights file says {name} = {plain(value)!r}, which is not possible.",
            "Allowed: numbers from 0 to 1; three of them, separated by commas, for input_mean and input_std.",
            "Correct the file's metadata.",
        )
    return number
