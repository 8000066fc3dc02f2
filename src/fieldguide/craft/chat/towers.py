"""Where the two towers of a language model that looks stand, and what a module of it belongs to: found by module path, not by name alone.

A tower is the module that transformers calls the encoder of pictures or the decoder of text, and every layer belongs to the tower that its
path begins with. What turns picture features into the width of the text (connector, projector, merger) is a part of its own, wherever it
stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

#: How modules between picture and text are called in the architectures of transformers.
_BETWEEN = re.compile(r"merger|connector|projector|projection|resampler|aligner|abstractor|qformer|embed_vision")
_ATTENTION = re.compile(r"attn|attention")
_MLP = re.compile(r"mlp|ffn|feed_forward|feedforward|expert|block_sparse|fc[12]$")


@dataclass(frozen=True)
class Towers:
    """Paths of the two towers in a model; `vision` is `None` where transformers knows of none."""

    vision: str | None
    language: str | None

    def part(self, path: str) -> tuple[str, str]:
        """Return tower and kind of a module or parameter: ``("vision", "mlp")``; empty where it is none.

        The layer that gives logits, and others outside both towers, are of the language where nothing else says what they are.
        """
        inside = next((name for name in ("vision", "language") if _within(path, getattr(self, name))), "")
        below = path.removeprefix(f"{getattr(self, inside)}.") if inside else path
        if inside != "language" and _BETWEEN.search(below):
            return "projector", ""
        if not inside:
            return ("language", "") if self.language is not None else ("", "")
        if _ATTENTION.search(below):
            return inside, "attention"
        return inside, "mlp" if _MLP.search(below.removesuffix(".weight").removesuffix(".bias")) else ""


def towers(model: Any) -> Towers:
    """Return the towers of a model of transformers."""
    paths = {id(module): name for name, module in model.named_modules()}
    found = model.get_encoder("image"), model.get_decoder()
    inner = {id(model), id(getattr(model, "model", None))}
    vision, language = (None if id(one) in inner else paths.get(id(one)) for one in found)
    return Towers(vision, language)


def numbers_of(parameter: Any) -> int:
    """Return how many numbers a parameter stands for; four-bit ones lie two to a byte."""
    state = getattr(parameter, "quant_state", None)
    shape: Iterable[int] = parameter.shape if state is None else state.shape
    size = 1
    for side in shape:
        size *= side
    return size


def _within(path: str, tower: str | None) -> bool:
    return tower is not None and (path == tower or path.startswith(f"{tower}."))
