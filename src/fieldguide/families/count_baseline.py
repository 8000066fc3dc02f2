"""How many, without counting: the mean of the training counts, the commonest of them, or a ridge regression on plain pixels or frozen features.

The floor under everything that counts. A contestant that is not nearer than the mean has not looked; one that is not nearer than a
regression has learned what brightness and texture say, and not to count. Regression: scikit-learn's Ridge. Networks: those of
`fieldguide.craft.zoo`, which stay as they are.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fieldguide.bench import Bench
from fieldguide.families._gaze import OF_A_NETWORK, PLAIN, Gaze, opened, require_there
from fieldguide.files import read_json, write_json
from fieldguide.records import Estimate, Example, Image, Prediction
from fieldguide.settings import Settings as Base
from fieldguide.tasks.count import Count, Task

if TYPE_CHECKING:
    from torch import Tensor

    from fieldguide.craft.frozen import Frozen, Lens
    from fieldguide.families import Sizes

LEARNS = True
TASKS = ("count",)

#: What answers without looking.
CONSTANT = ("mean", "median", "commonest")
#: Side of the small copy for plain features, in pixels, where none is given.
SMALL = 32
Floats = NDArray[np.float64]


class Settings(Base):
    """The mean count, or a regression; the strength of its penalty is chosen on validation."""

    NAME_FIELD: ClassVar[str | None] = "features"

    features: str = "mean"
    """``mean``, ``median`` or ``commonest`` training counts for every picture; or what a regression sees: ``pixels``, ``colour`` or a network."""
    image_size: int | None = Field(None, ge=2, le=2048)
    """Side of the picture a regression looks at, in pixels; if not given 32, or the network's own."""
    penalties: tuple[float, ...] = Field((0.001, 0.01, 0.1, 1.0, 10.0), min_length=1)
    """Ridge penalties that are tried, a feature; validation chooses the one that is nearest (the largest without validation pictures)."""
    batch_size: int = Field(64, ge=1)
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
    """Of a network: part of the shorter side kept by the centre crop; all of it if not given, because what is cut off counts."""

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("a standard deviation is above 0")
        if min(self.penalties) <= 0:
            raise ValueError("a penalty is above 0")
        given = [name for name in OF_A_NETWORK if getattr(self, name) is not None]
        if not self.network and given:
            raise ValueError(f"{given[0]} belongs to a network, and {self.features} needs none")
        if self.features in PLAIN and (self.image_size or SMALL) > 128:
            raise ValueError("plain features are of a small copy, 128 pixels at most")
        return self

    @property
    def network(self) -> bool:
        """Whether it looks at pictures through a network."""
        return self.features not in (*CONSTANT, *PLAIN)

    @classmethod
    def tiny(cls) -> Settings:
        """Return settings that run in a second."""
        return cls(features="pixels", image_size=6, penalties=(0.01, 1.0))


@dataclass(frozen=True)
class Baseline:
    """`weights` is ``"features classes"``, without any for a constant; `bias` ``"classes"``. `frozen` is the network it looks through."""

    ids: tuple[str, ...]
    settings: Settings
    weights: Floats
    bias: Floats
    frozen: Frozen | None = None
    gives_probabilities: ClassVar[bool] = False

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield whole counts; a constant opens no picture."""
        if self.settings.features in CONSTANT:
            return self._always(images)
        from fieldguide.craft.answering import answer_counts

        gaze = _gaze(self.settings, self.frozen)

        def counts(pixels: Tensor) -> Floats:
            return gaze.of(pixels) @ self.weights + self.bias

        return answer_counts(images, gaze.preprocessing, gaze.batch_size, self.ids, counts)

    def _always(self, images: Iterable[Image]) -> Iterator[Prediction]:
        from fieldguide.craft.answering import whole

        counts = dict(zip(self.ids, (int(count) for count in whole(self.bias)), strict=True))
        for image in images:
            start = time.perf_counter()
            yield Prediction(image.key, counts=counts, seconds=time.perf_counter() - start)

    def save(self, folder: Path) -> None:
        """Write ``count_baseline.json`` and ``count_baseline.safetensors``, and the network where it has one."""
        from safetensors.numpy import save_file

        write_json(folder / "count_baseline.json", {"classes": self.ids, "settings": self.settings.model_dump()})
        arrays = {"weights": np.ascontiguousarray(self.weights), "bias": self.bias}
        save_file(arrays, folder / "count_baseline.safetensors")
        if self.frozen is not None:
            self.frozen.save(folder)


def fit(train: Sequence[Example], val: Sequence[Example], task: Count, settings: Settings, bench: Bench) -> Baseline:
    """Take the mean, or standardise, fit one ridge regression for each penalty and keep the one that is nearest on validation."""
    truth, kind = _truth(train, task), "floor"
    if settings.features in CONSTANT:
        constant = _constant(truth, settings.features)
        bench.fact(kind=kind, parameters=len(task.ids))
        return Baseline(task.ids, settings, np.zeros((0, len(task.ids))), constant)
    from fieldguide.craft.answering import whole
    from fieldguide.data.batches import prepare

    frozen = opened(_lens(settings), bench) if settings.network else None
    gaze = _gaze(settings, frozen)
    prepare([example.image for example in [*train, *val]], gaze.preprocessing.resize)
    with bench.progress.bar("look", len(train) + len(val)) as bar:
        x = gaze.read(train, bar)
        val_x = gaze.read(val, bar) if val else x[:0]
    best: tuple[tuple[float, ...], Baseline, float] | None = None
    with bench.progress.bar("fit", len(settings.penalties)) as bar:
        for penalty in sorted(settings.penalties, reverse=True):
            model = Baseline(task.ids, settings, *_ridge(x, truth, penalty), frozen)
            off = whole(val_x @ model.weights + model.bias) - _truth(val, task)
            mae = float(np.abs(off).mean()) if val else None
            bench.log("penalty", penalty=penalty, val_mae=mae)
            # Of equal ones the first, which is the larger penalty and so the nearer to the mean.
            rank = () if mae is None else (mae, -float((off == 0).all(axis=1).mean()))
            if best is None or rank < best[0]:
                best = (rank, model, penalty)
            bar.advance(note=f"penalty={penalty:g}")
    assert best is not None
    own = int(best[1].weights.size + best[1].bias.size)
    kind = "features" if frozen else kind
    bench.fact(kind=kind, parameters=own + (frozen.parameters if frozen else 0), trained_parameters=own, penalty=best[2])
    return best[1]


def _constant(truth: Floats, which: str) -> Floats:
    """Return the answer of a constant, ``"classes"``; the commonest are those of a whole picture, of equals the smallest."""
    if which == "commonest":
        rows, often = np.unique(truth, axis=0, return_counts=True)
        return np.asarray(rows[int(often.argmax())])
    return np.asarray(truth.mean(axis=0) if which == "mean" else np.median(truth, axis=0))


def _ridge(x: Floats, truth: Floats, penalty: float) -> tuple[Floats, Floats]:
    """Return weights ``"features classes"`` and bias ``"classes"`` of a ridge regression on standardised features, folded back."""
    from sklearn.linear_model import Ridge

    centre, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-3)
    head = Ridge(alpha=penalty * x.shape[1], solver="cholesky").fit((x - centre) / scale, truth)
    weights = head.coef_.reshape(truth.shape[1], -1).T / scale[:, None]
    return np.asarray(weights), np.asarray(head.intercept_ - centre @ weights).reshape(-1)


def _truth(examples: Sequence[Example], task: Count) -> Floats:
    """Return the true counts, ``"pictures classes"``."""
    rows = task.rows(example.counts for example in examples)
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(task.ids))


def load(folder: Path) -> Baseline:
    """Read what `Baseline.save` wrote."""
    from safetensors.numpy import load_file

    values, arrays = read_json(folder / "count_baseline.json"), load_file(folder / "count_baseline.safetensors")
    settings, frozen = Settings(**values["settings"]), None
    if settings.network:
        from fieldguide.craft.frozen import load as load_frozen

        frozen = load_frozen(folder)
    return Baseline(tuple(values["classes"]), settings, arrays["weights"], arrays["bias"], frozen)


def check(settings: Settings, online: bool) -> None:
    """Raise now what would stop the fit later: an unknown network, or weights that are not there."""
    if settings.network:
        require_there(_lens(settings), "count_baseline", CONSTANT, online)


def pixels(settings: Settings) -> int:
    """Return the size it asks the store for."""
    if not settings.network:
        return settings.image_size or SMALL
    from fieldguide.craft import zoo

    return zoo.planned(_lens(settings)).resize


def estimate(settings: Settings, task: Task, sizes: Sizes) -> Estimate:
    """Return a rough cost: a look at each picture, and a small linear system for each penalty."""
    if settings.features in CONSTANT:
        return Estimate(0.0, 0, 100 * len(task.ids))
    a_look, features, network = 0.0, 6 if settings.features == "colour" else 3 * pixels(settings) ** 2, 0
    if settings.network:
        from fieldguide.craft import frozen

        a_look, features, network = frozen.cost(_lens(settings))
    looks = (sizes.train + 2 * sizes.val + sizes.test) * a_look
    smaller, kept = min(sizes.train, features), features * len(task.ids) * 8
    work = len(settings.penalties) * sizes.train * features * smaller * 2
    return Estimate(1 + looks + work / 5e9, (sizes.train * features + smaller**2) * 16 + network, kept + network)


def _lens(settings: Settings) -> Lens:
    from fieldguide.craft.frozen import Lens

    asked = {name: getattr(settings, name) for name in (*OF_A_NETWORK, "image_size", "batch_size")}
    return Lens(
        settings.features, fit="squash", **{**asked, "weights": settings.weights or "hub", "crop": settings.crop or 1.0}
    )


def _gaze(settings: Settings, frozen: Frozen | None) -> Gaze:
    from fieldguide.data.batches import Preprocessing

    seen = Preprocessing(settings.image_size or SMALL, squash=True) if frozen is None else frozen.preprocessing
    return Gaze(settings.features, seen, settings.batch_size, frozen)
