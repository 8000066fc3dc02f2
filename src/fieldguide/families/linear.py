"""Logistic regression on plain pixels, on nothing but colours, or on the features of a network that stays as it is.

Pixels and colours are the honest floor under every network: if colours alone do well, the data set gives its classes away by
background or lighting. Features of a pretrained network (``linear/resnet50``) make a quick and strong contestant.
Optimiser and loss: scikit-learn's LogisticRegression (L-BFGS). Networks: those of `fieldguide.craft.zoo`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fieldguide.bench import Bench
from fieldguide.families._gaze import OF_A_NETWORK, PLAIN, Gaze, opened, require_there
from fieldguide.files import read_json, write_json
from fieldguide.records import Estimate, Example, Image, Prediction
from fieldguide.settings import Settings as Base
from fieldguide.tasks.classify import Classify

if TYPE_CHECKING:
    from torch import Tensor

    from fieldguide.craft.frozen import Frozen, Lens
    from fieldguide.craft.sight import Sight
    from fieldguide.families import Sizes

LEARNS = True

#: Side of the small copy for plain features, in pixels, where none is given.
SMALL = 16


class Settings(Base):
    """Logistic regression; the strength of its penalty is chosen on validation."""

    NAME_FIELD: ClassVar[str | None] = "features"

    features: str = "pixels"
    """What it looks at: ``pixels`` (of a small copy), ``colour`` (mean and spread of the three colours alone), or a network as backbone has them."""
    image_size: int | None = Field(None, ge=2, le=2048)
    """Side of the picture it looks at, in pixels; if not given 16, or the network's own."""
    strengths: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0)
    """Inverse penalties C that are tried; validation chooses (the first without validation pictures)."""
    batch_size: int = Field(256, ge=1)
    """Pictures read at a time; does not change the answers."""
    weights: str | None = None
    """Of a network: ``hub`` (cached, or downloaded with --online; so if not given), ``none`` (random), or a weights file."""
    pad_type: Literal["", "same"] | None = None
    """Of a network: padding of convolutions that came from TensorFlow; read from the weights file if it says."""
    mean: tuple[float, float, float] | None = None
    """Of a network: mean of the three colours, 0 to 1 (``0.5+0.5+0.5`` on the command line); its own if not given."""
    std: tuple[float, float, float] | None = None
    """Of a network: standard deviation of the three colours; its own if not given."""
    interpolation: Literal["nearest", "bilinear", "bicubic"] | None = None
    """Of a network: how pictures are resized; its own if not given."""
    crop: float | None = Field(None, gt=0, le=1)
    """Of a network: part of the shorter side kept by the centre crop; its own if not given."""

    @model_validator(mode="before")
    @classmethod
    def _small(cls, values: Any) -> Any:
        """Write out the size of plain features, so that what was asked stands in the study complete."""
        plain_one = isinstance(values, dict) and values.get("features", "pixels") in PLAIN
        return {**values, "image_size": SMALL} if plain_one and values.get("image_size") is None else values

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("a standard deviation is above 0")
        given = [name for name in OF_A_NETWORK if getattr(self, name) is not None]
        if self.plain and given:
            raise ValueError(
                f"{given[0]} belongs to a network, and {self.features} needs none (write linear/NETWORK:{given[0]}=...)"
            )
        if self.plain and (self.image_size or SMALL) > 128:
            raise ValueError("plain features are of a small copy, 128 pixels at most")
        return self

    @property
    def plain(self) -> bool:
        """Whether it looks at pictures without a network."""
        return self.features in PLAIN

    @classmethod
    def tiny(cls) -> Settings:
        """Return settings that run in a second."""
        return cls(image_size=4, strengths=(0.1,))


@dataclass(frozen=True)
class Linear:
    """`weights` is ``"features classes"``; a class without training picture has bias minus infinity and is never answered.

    `frozen` is the network it looks through; `None` for plain features.
    """

    ids: tuple[str, ...]
    settings: Settings
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    frozen: Frozen | None = None

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield answers with probabilities."""
        from fieldguide.craft.answering import answer, softmax

        gaze = _gaze(self.settings, self.frozen)

        def probabilities(pixels: Tensor) -> NDArray[np.float64]:
            return softmax(gaze.of(pixels) @ self.weights + self.bias)

        return answer(images, gaze.preprocessing, gaze.batch_size, self.ids, probabilities)

    def sight(self) -> Sight | None:
        """Let `fieldguide.explain` look into the network and the regression on top of it; without a network there is no inside."""
        return None if self.frozen is None else self.frozen.with_head(self.weights, self.bias, self.ids)

    def save(self, folder: Path) -> None:
        """Write ``linear.json`` and ``linear.safetensors``, and the network where it has one."""
        from safetensors.numpy import save_file

        write_json(folder / "linear.json", {"classes": self.ids, "settings": self.settings.model_dump()})
        save_file({"weights": np.ascontiguousarray(self.weights), "bias": self.bias}, folder / "linear.safetensors")
        if self.frozen is not None:
            self.frozen.save(folder)


def fit(train: Sequence[Example], val: Sequence[Example], task: Classify, settings: Settings, bench: Bench) -> Linear:
    """Standardise, fit one regression for each strength, keep the one that validation likes best."""
    from fieldguide.craft.probes import logistic
    from fieldguide.data.batches import prepare

    frozen = None if settings.plain else opened(_lens(settings), bench)
    gaze = _gaze(settings, frozen)
    prepare([example.image for example in [*train, *val]], gaze.preprocessing.resize)
    with bench.progress.bar("look", len(train) + len(val)) as bar:
        x = gaze.read(train, bar)
        val_x = gaze.read(val, bar) if val else x[:0]
    y, val_y = (np.array([task.index[str(example.label)] for example in part], np.int64) for part in (train, val))
    centre, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
    best: tuple[float, Linear] | None = None
    with bench.progress.bar("fit", len(settings.strengths)) as bar:
        for strength in settings.strengths:
            head = logistic((x - centre) / scale, y, len(task.ids), strength)
            folded = head.weights / scale[:, None]
            model = Linear(task.ids, settings, folded, head.bias - centre @ folded, frozen)
            right = float(np.mean((val_x @ model.weights + model.bias).argmax(axis=1) == val_y)) if val else 0.0
            bench.log("strength", strength=strength, val_accuracy=right if val else None)
            if best is None or right > best[0]:
                best = (right, model)
                chosen = strength
            bar.advance(note=f"C={strength:g}")
    assert best is not None
    own = int(best[1].weights.size + best[1].bias.size)
    kind = "features" if frozen else "floor"
    bench.fact(kind=kind, parameters=own + (frozen.parameters if frozen else 0), trained_parameters=own, strength=chosen)
    return best[1]


def load(folder: Path) -> Linear:
    """Read what `Linear.save` wrote."""
    from safetensors.numpy import load_file

    values, arrays = read_json(folder / "linear.json"), load_file(folder / "linear.safetensors")
    settings, frozen = Settings(**values["settings"]), None
    if not settings.plain:
        from fieldguide.craft.frozen import load as load_frozen

        frozen = load_frozen(folder)
    return Linear(tuple(values["classes"]), settings, arrays["weights"], arrays["bias"], frozen)


def check(settings: Settings, online: bool) -> None:
    """Raise now what would stop the fit later: an unknown network, or weights that are not there."""
    if not settings.plain:
        require_there(_lens(settings), "linear", (), online)


def pixels(settings: Settings) -> int:
    """Return the size it asks the store for, before a network's centre crop."""
    if settings.plain:
        return settings.image_size or SMALL
    from fieldguide.craft import zoo

    return zoo.planned(_lens(settings)).resize


def estimate(settings: Settings, task: Classify, sizes: Sizes) -> Estimate:
    """Return a rough cost: a look at each picture, and L-BFGS with 300 steps over a dense table."""
    a_look, features, network = 0.0, 6 if settings.features == "colour" else 3 * pixels(settings) ** 2, 0
    if not settings.plain:
        from fieldguide.craft import frozen

        a_look, features, network = frozen.cost(_lens(settings))
    looks = (sizes.train + 2 * sizes.val + sizes.test) * a_look
    work = 300 * len(settings.strengths) * sizes.train * features * len(task.ids) * 4
    table, kept = sizes.train * features * 24, features * len(task.ids) * 8
    return Estimate(seconds=1 + looks + work / 2e10, memory_bytes=table + network, disk_bytes=kept + network)


def _lens(settings: Settings) -> Lens:
    from fieldguide.craft.frozen import Lens

    asked = {name: getattr(settings, name) for name in (*OF_A_NETWORK, "image_size", "batch_size")}
    return Lens(settings.features, **{**asked, "weights": settings.weights or "hub"})


def _gaze(settings: Settings, frozen: Frozen | None) -> Gaze:
    from fieldguide.data.batches import Preprocessing

    seen = Preprocessing(settings.image_size or SMALL) if frozen is None else frozen.preprocessing
    return Gaze(settings.features, seen, settings.batch_size, frozen)
