"""Encoders: pictures to features, and lines of text to features of the same space where a model has both.

    drawn                  the small image-text model that fieldguide trained itself (package data, works offline)
    hf/OWNER/NAME          an image-text model of transformers from the hub, or hf/FOLDER: CLIP, SigLIP, SigLIP2, MetaCLIP-2 and others
    open_clip/NAME@TAG     one of open_clip, for what transformers lacks
    NETWORK                any picture network of `fieldguide.craft.zoo`, which has no text of its own
    words                  a reader of text without a network: hashed word pairs

Pooled features are what a model's own score is made of: projected, not normalised, float32 on the CPU. Whoever uses them decides on
a normalisation. An `Encoder` sees; where its `reads` is there and `shared` is true, its texts lie in the space of its pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fieldguide.craft import zoo
from fieldguide.errors import UsageProblem, allowed_names, plain

if TYPE_CHECKING:
    from torch import Tensor

    from fieldguide.craft.frozen import Lens
    from fieldguide.data.batches import Preprocessing

#: The image-text model that comes with the package, and the reader that needs no weights.
DRAWN, WORDS = "drawn", "words"
OPEN_CLIP = "open_clip/"


class Sees(Protocol):
    """Half of an encoder that takes pictures."""

    @property
    def key(self) -> str:
        """Hash of all that decides its features: weights, architecture, library version; the preprocessing stands beside it."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """How it wants its pictures."""
        ...

    @property
    def width(self) -> int:
        """Features of a picture."""
        ...

    @property
    def parameters(self) -> int:
        """Parameters of this half, none of them trained here."""
        ...

    def pictures(self, pixels: Tensor) -> Tensor:
        """Return ``"pictures features"`` float32 of normalised ``"pictures 3 size size"``; the same alone and in any batch to 1e-5."""
        ...

    def save(self, folder: Path) -> None:
        """Write this half as safetensors and JSON; `load` reads it without any other file."""
        ...


class Reads(Protocol):
    """Half of an encoder that takes lines of text."""

    @property
    def key(self) -> str:
        """Hash of all that decides its features: weights, tokeniser, the way a line is cleaned."""
        ...

    @property
    def width(self) -> int:
        """Features of a line."""
        ...

    @property
    def context(self) -> int | None:
        """Tokens that are read of a line, the special ones included; `None` where there is no limit."""
        ...

    @property
    def parameters(self) -> int:
        """Parameters of this half, none of them trained here."""
        ...

    def texts(self, lines: Sequence[str]) -> Tensor:
        """Return ``"lines features"`` float32; the same alone and in any batch to 1e-5."""
        ...

    def tokens(self, lines: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ``"lines tokens width"`` float32 before pooling, and where there is a token: ``"lines tokens"`` bool."""
        ...

    def counted(self, lines: Sequence[str]) -> list[int]:
        """Return how many tokens each line has before anything is cut off, the special ones included."""
        ...


@dataclass(frozen=True)
class Encoder:
    """What sees, and what reads where there is something that does; `scale` turns cosines into the model's own logits.

    A model that was trained on yes and no (SigLIP) adds `bias` to them, which does not say which class it is.

    `shared`: texts and pictures lie in one space, as of a model that was trained on pairs. `described` says in words where the
    weights came from; `tested` holds what its known-answer test found.
    """

    model: str
    sees: Sees
    reads: Reads | None
    scale: float = 1.0
    shared: bool = False
    described: str = ""
    tested: dict[str, Any] = field(default_factory=dict)
    bias: float = 0.0


def two_sided(model: str, online: bool = False) -> bool:
    """Tell whether `model` is an image-text model; a folder or a hub's configuration has to be reachable for that."""
    if model == DRAWN or model.startswith(OPEN_CLIP):
        return True
    if not model.startswith("hf/"):
        return False
    from fieldguide.craft.encoders import of_transformers

    return of_transformers.two_sided(model, online)


def check(model: str, online: bool) -> None:
    """Raise what would stop `build` later: `UsageProblem` for an unknown name, `EnvironmentProblem` for weights that are not here."""
    if model == DRAWN:
        return
    if model.startswith(OPEN_CLIP):
        from fieldguide.craft.encoders import of_open_clip

        of_open_clip.check(model, online)
    elif model.startswith("hf/") and two_sided(model, online):
        from fieldguide.craft.encoders import of_transformers

        of_transformers.check(model, online)
    elif not zoo.knows(model):
        raise UsageProblem(
            f"There is no encoder called {plain(model)!r}.",
            f"{allowed_names(model, [DRAWN, *zoo.names()])} Also hf/OWNER/NAME, hf/FOLDER and {OPEN_CLIP}NAME@TAG.",
            "dual_encoder/drawn works offline.",
        )


def build(lens: Lens, *, seed: int, device: str, online: bool, store: Path | None = None) -> Encoder:
    """Return the encoder that `lens` names, its weights in place; `seed` draws those of a network without weights.

    An image-text model has passed its self-test (`fieldguide.craft.encoders.proof`), or `DataProblem` is raised; what was found is
    kept in the folder `store`, where there is one, and not asked again.
    """
    if not two_sided(lens.model, online):
        from fieldguide.craft.encoders import of_zoo

        return of_zoo.build(lens, seed=seed, device=device, online=online)
    from fieldguide.craft.encoders import of_open_clip, of_transformers, proof

    room: Any = of_open_clip if lens.model.startswith(OPEN_CLIP) else of_transformers
    return proof.proved(room.build(lens, device, online), store)


def reader(model: str, *, device: str, online: bool) -> Reads:
    """Return what reads under the name `model`: ``words``, or the text half of an image-text model; `UsageProblem` for anything else."""
    if model == WORDS:
        from fieldguide.craft.encoders.words import Words

        return Words()
    if not two_sided(model, online):
        raise UsageProblem(
            f"{plain(model)} reads no text.",
            f"Allowed: {WORDS}, {DRAWN}, hf/OWNER/NAME, hf/FOLDER or {OPEN_CLIP}NAME@TAG of an image-text model.",
            f"text_model={WORDS} needs no weights.",
        )
    from fieldguide.craft.frozen import Lens

    reads = build(Lens(model, "hub"), seed=0, device=device, online=online).reads
    assert reads is not None
    return reads


def load(folder: Path, device: str) -> Sees:
    """Read what `Sees.save` wrote."""
    from fieldguide.files import read_json

    kind = read_json(folder / "encoder.json")["kind"]
    if kind == "zoo":
        from fieldguide.craft.encoders import of_zoo

        return of_zoo.load(folder)
    if kind == "open_clip":
        from fieldguide.craft.encoders import of_open_clip

        return of_open_clip.load(folder, device)
    from fieldguide.craft.encoders import of_transformers

    return of_transformers.load(folder, device)


@lru_cache(maxsize=1)
def drawn_folder() -> Path:
    """Return the folder of the model that comes with the package."""
    return Path(str(resources.files("fieldguide.craft.encoders"))) / "drawn"
