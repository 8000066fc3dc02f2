"""Logistic regression on plain pixels, or on nothing but the picture's colours: the honest floor under every network.

If colours alone do well, the data set gives its classes away by background or lighting, and every other score should be
read with that in mind. Optimiser and loss: scikit-learn's LogisticRegression (L-BFGS).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fieldguide.bench import Bench
from fieldguide.files import read_json, write_json
from fieldguide.records import Estimate, Example, Image, Prediction
from fieldguide.settings import Settings as Base
from fieldguide.tasks.classify import Classify

if TYPE_CHECKING:
    from torch import Tensor

    from fieldguide.families import Sizes

LEARNS = True


class Settings(Base):
    """Logistic regression; the strength of its penalty is chosen on validation."""

    NAME_FIELD: ClassVar[str | None] = "features"

    features: Literal["pixels", "colour"] = "pixels"
    """What it looks at: every pixel of a small copy, or only mean and spread of the three colours."""
    image_size: int = Field(16, ge=2, le=128)
    """Side of the small copy, in pixels."""
    strengths: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0)
    """Inverse penalties C that are tried; validation chooses (the first without validation pictures)."""
    batch_size: int = Field(256, ge=1)
    """Pictures read at a time; does not change the answers."""

    @classmethod
    def tiny(cls) -> Settings:
        """Return settings that run in a second."""
        return cls(image_size=4, strengths=(0.1,))


@dataclass(frozen=True)
class Linear:
    """`weights` is ``"features classes"``; a class without training picture has bias minus infinity and is never answered."""

    ids: tuple[str, ...]
    settings: Settings
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield answers with probabilities."""
        from fieldguide.craft.answering import answer, softmax

        def probabilities(pixels: Tensor) -> NDArray[np.float64]:
            return softmax(_features(pixels, self.settings) @ self.weights + self.bias)

        return answer(images, _preprocessing(self.settings), self.settings.batch_size, self.ids, probabilities)

    def save(self, folder: Path) -> None:
        """Write ``linear.json`` and ``linear.safetensors``."""
        from safetensors.numpy import save_file

        write_json(folder / "linear.json", {"classes": self.ids, "settings": self.settings.model_dump()})
        save_file({"weights": np.ascontiguousarray(self.weights), "bias": self.bias}, folder / "linear.safetensors")


def fit(train: Sequence[Example], val: Sequence[Example], task: Classify, settings: Settings, bench: Bench) -> Linear:
    """Standardise, fit one regression for each strength, keep the one that validation likes best."""
    from fieldguide.data.batches import prepare

    prepare([example.image for example in [*train, *val]], pixels(settings))
    x, y = _read(train, task, settings)
    centre, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
    best: tuple[float, Linear] | None = None
    val_x, val_y = _read(val, task, settings) if val else (x[:0], y[:0])
    with bench.progress.bar("fit", len(settings.strengths)) as bar:
        for strength in settings.strengths:
            model = _one(((x - centre) / scale), y, strength, settings, task, (centre, scale))
            right = float(np.mean((val_x @ model.weights + model.bias).argmax(axis=1) == val_y)) if val else 0.0
            bench.log("strength", strength=strength, val_accuracy=right if val else None)
            if best is None or right > best[0]:
                best = (right, model)
                chosen = strength
            bar.advance(note=f"C={strength:g}")
    assert best is not None
    bench.fact(parameters=int(best[1].weights.size + best[1].bias.size), strength=chosen)
    return best[1]


def _one(
    x: NDArray[np.float64],
    y: NDArray[np.int64],
    strength: float,
    settings: Settings,
    task: Classify,
    standard: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> Linear:
    """Fit one regression and fold the standardisation into its weights."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    present = np.unique(y)
    weights, bias = np.zeros((x.shape[1], len(task.ids))), np.full(len(task.ids), -1e9)
    bias[present] = 0.0
    if len(present) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a floor stopped at 300 steps is still a floor
            model = LogisticRegression(C=strength, max_iter=300).fit(x, y)
        if len(present) == 2:
            weights[:, present[1]], bias[present[1]] = model.coef_[0], model.intercept_[0]
        else:
            weights[:, present], bias[present] = model.coef_.T, model.intercept_
    centre, scale = standard
    folded = weights / scale[:, None]
    return Linear(task.ids, settings, folded, bias - centre @ folded)


def load(folder: Path) -> Linear:
    """Read what `Linear.save` wrote."""
    from safetensors.numpy import load_file

    values, arrays = read_json(folder / "linear.json"), load_file(folder / "linear.safetensors")
    return Linear(tuple(values["classes"]), Settings(**values["settings"]), arrays["weights"], arrays["bias"])


def pixels(settings: Settings) -> int:
    """Return the size it asks the store for."""
    return settings.image_size


def estimate(settings: Settings, task: Classify, sizes: Sizes) -> Estimate:
    """Return a rough cost: L-BFGS with 300 steps over a dense table."""
    features = 6 if settings.features == "colour" else 3 * settings.image_size**2
    work = 300 * len(settings.strengths) * sizes.train * features * len(task.ids) * 4
    return Estimate(seconds=1 + work / 2e10, memory_bytes=sizes.train * features * 24, disk_bytes=features * len(task.ids) * 8)


def _preprocessing(settings: Settings):  # type: ignore[no-untyped-def]
    from fieldguide.data.batches import Preprocessing

    return Preprocessing(settings.image_size)


def _features(pixels: Tensor, settings: Settings) -> NDArray[np.float64]:
    """Return ``"pictures features"`` float64."""
    from einops import rearrange

    array = pixels.double().numpy()
    if settings.features == "colour":
        return np.concatenate([array.mean(axis=(2, 3)), array.std(axis=(2, 3))], axis=1)
    return np.asarray(rearrange(array, "pictures rgb height width -> pictures (rgb height width)"))


def _read(examples: Sequence[Example], task: Classify, settings: Settings) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return features and class positions; a training picture that can no longer be read stops the fit."""
    from fieldguide.data.batches import evaluation_batches

    tables = []
    for batch in evaluation_batches([example.image for example in examples], _preprocessing(settings), settings.batch_size):
        for _, error in batch.failed:
            raise error
        tables.append(_features(batch.pixels, settings))
    return np.concatenate(tables), np.array([task.index[str(example.label)] for example in examples])
