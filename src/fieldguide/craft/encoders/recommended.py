"""Image-text encoders to begin with: one line each, with what is known of them. Any other of the same architectures works as well."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass


@dataclass(frozen=True)
class Recommended:
    """An encoder's name, its parameters (both halves, in millions), the size of its pictures in pixels, the licence of its weights.

    What is not stated by its makers is `None`. Parameters are counted from the library's configuration.
    """

    name: str
    millions: float | None
    size: int | None
    licence: str | None
    why: str


RECOMMENDED = (
    Recommended(
        "drawn", None, None, "Apache-2.0", "comes along, works offline; knows drawn shapes, colours and digits, no photographs"
    ),
    Recommended("hf/openai/clip-vit-base-patch32", 151.3, 224, "MIT", "the reference, and quick"),
    Recommended("hf/openai/clip-vit-large-patch14", 427.6, 224, "MIT", "the reference of its size"),
    Recommended(
        "hf/google/siglip2-base-patch16-224", 375.2, 224, "Apache-2.0", "sees the whole picture, squashed; many languages"
    ),
    Recommended("hf/google/siglip2-so400m-patch14-224", 1135.5, 224, "Apache-2.0", "the same, large"),
    Recommended("hf/google/tipsv2-b14", None, 448, "Apache-2.0", "patches that match words"),
    Recommended("open_clip/ViT-L-14-quickgelu@dfn2b", 427.6, 224, "apple-ascl", "CLIP on filtered data"),
    Recommended("open_clip/PE-Core-B-16@meta", 447.7, 224, "Apache-2.0", "Meta's perception encoder"),
    Recommended("open_clip/PE-Core-L-14-336@meta", 671.1, 336, "Apache-2.0", "the same, large"),
    Recommended("open_clip/MobileCLIP2-S0@dfndr2b", 74.8, 256, "apple-amlr", "for telephones; weights for research"),
    Recommended(
        "open_clip/ViT-H-14-worldwide-quickgelu@metaclip2_worldwide", 1858.8, 224, "CC-BY-NC-4.0", "MetaCLIP 2: many languages"
    ),
    Recommended("open_clip/imageomics/bioclip-2", 427.6, 224, "MIT", "BioCLIP 2: plants, animals and fungi by their names"),
)


def names() -> list[str]:
    """Return the names, best known first."""
    return [one.name for one in RECOMMENDED]


def matching(pattern: str) -> list[Recommended]:
    """Return those whose name matches a shell pattern, with or without what stands before its last part."""
    folded = pattern.casefold()
    return [
        one
        for one in RECOMMENDED
        if any(fnmatch.fnmatchcase(word.casefold(), folded) for word in (one.name, one.name.rpartition("/")[2]))
    ]
