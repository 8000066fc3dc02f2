"""How a map is drawn: its colours, the small picture of them that lies over the thumbnail, and where it is strongest, in words.

The picture stands in the page once; over it lies a WebP of as many pixels as the map has cells, which the browser enlarges. So a
map that can be seen without a script costs some hundred bytes. The script draws the other layers from the cells themselves.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image as Pillow

from fieldguide.report.explained import Map

Numbers = NDArray[np.float64]

#: From little to much: cividis (Nuñez, Anderton and Renslow 2018), even in lightness. ``why.css`` has the same (`--map-ramp`).
RAMP = ("#00224e", "#213a6b", "#4c556c", "#6c6d72", "#8a8678", "#ab9f74", "#cdba68", "#f0d754", "#fee838")
#: What speaks for the answer and for the runner-up in a signed map (`--map-for`, `--map-against`).
FOR, AGAINST = "#ff9f1c", "#2e8bff"
#: Levels of a cell in the page, one character each: more than the eye tells apart on these ramps.
LEVELS = 64
_LETTERS = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)
_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "middle", "right")


def letters(steps: NDArray[np.integer[Any]]) -> Markup:
    """Return steps from 0 to `LEVELS` - 1 as one letter of base64 each, row by row."""
    return Markup(_LETTERS[np.clip(steps, 0, LEVELS - 1)].tobytes().decode("ascii"))  # noqa: S704 - letters, digits, plus, slash


def stepped(drawn: Map, layer: int) -> NDArray[np.intp]:
    """Return ``"height width"``: `scaled` in whole steps; a signed map uses one step less, so that one step is zero."""
    return np.rint(scaled(drawn, layer) * (LEVELS - 2 if drawn.signed else LEVELS - 1)).astype(np.intp)


def scaled(drawn: Map, layer: int) -> Numbers:
    """Return ``"height width"`` between 0 and 1 for drawing one layer by its own range.

    Of a signed map 0.5 is zero and both sides have one scale; of any other 0 is the layer's lowest value. A layer that is the same
    everywhere is 0 (0.5) everywhere: nothing is drawn larger than it is.
    """
    values = drawn.values(layer)
    if drawn.signed:
        reach = max(abs(drawn.low[layer]), abs(drawn.high[layer]))
        return np.asarray(0.5 + values / (2 * reach)) if reach else np.full(values.shape, 0.5)
    span = drawn.high[layer] - drawn.low[layer]
    return np.asarray((values - drawn.low[layer]) / span) if span else np.zeros(values.shape)


def cells(drawn: Map) -> Markup:
    """Return all layers of a map as letters, layer after layer."""
    return Markup("").join(letters(stepped(drawn, layer)) for layer in range(len(drawn.layers)))


def coloured(shares: Numbers, signed: bool) -> NDArray[np.uint8]:
    """Return ``"height width 4"`` RGBA for values from `scaled`; a signed map is clearer the nearer it is to zero."""
    if signed:
        strength = np.abs(2 * shares - 1)[..., None]
        colour = np.where((shares >= 0.5)[..., None], _rgb(FOR), _rgb(AGAINST))
        return np.concatenate([colour, 255 * strength], axis=-1).round().astype(np.uint8)
    stops = np.array([_rgb(stop) for stop in RAMP])
    places = np.linspace(0, 1, len(stops))
    channels = [np.interp(shares, places, stops[:, channel]) for channel in range(3)]
    return np.stack([*channels, np.full(shares.shape, 255.0)], axis=-1).round().astype(np.uint8)


def picture_of(drawn: Map, layer: int) -> Markup:
    """Return one layer as the data URI of a WebP with one pixel for each cell."""
    stream = io.BytesIO()
    Pillow.fromarray(coloured(scaled(drawn, layer), drawn.signed)).save(stream, "WEBP", lossless=True, quality=100, method=4)
    # Base64 of our own bytes; nothing of a study stands in it.
    return Markup("data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii"))  # noqa: S704


def strongest(drawn: Map, layer: int) -> str:
    """Return where one layer is strongest, by the mean over each ninth of what was seen; worked out from the steps, as in the script."""
    steps = stepped(drawn, layer)
    if int(np.ptp(steps)) == 0:
        return "the same everywhere"
    if drawn.signed and int(steps.max()) <= (LEVELS - 2) // 2:
        return "nothing speaks for the answer"
    height, width = steps.shape
    row, column = ((3 * np.arange(side) + 1.5) // side for side in (height, width))
    ninth = (3 * row[:, None] + column[None, :]).astype(int)
    means = [float(steps[ninth == place].mean()) if (ninth == place).any() else -1.0 for place in range(9)]
    return f"strongest in the {ninth_name(int(np.argmax(means)))} ninth"


def ninth_name(place: int) -> str:
    """Return the name of a ninth, counted row by row from the upper left."""
    return "central" if place == 4 else f"{_ROWS[place // 3]} {_COLUMNS[place % 3]}"


def _rgb(code: str) -> Numbers:
    return np.array([int(code[at : at + 2], 16) for at in (1, 3, 5)], np.float64)
