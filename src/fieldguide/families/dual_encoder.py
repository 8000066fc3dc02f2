"""An image-text encoder that stays as it is: zero-shot by names or descriptions, or a linear head on its picture features.

Zero-shot asks which class's words lie nearest to a picture (CLIP, arXiv 2103.00020; descriptions: arXiv 2210.07183) and uses no
training picture. The heads are closed forms (ridge, Gaussian discriminant analysis) or trained (logistic regression, a softmax layer),
also on networks that read nothing. Probabilities are calibrated on validation. Encoders: `fieldguide.craft.encoders`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fieldguide.bench import Bench
from fieldguide.errors import Problem, UsageProblem, plain
from fieldguide.files import read_json, write_json
from fieldguide.records import Estimate, Example, Image, Prediction
from fieldguide.settings import Settings as Base
from fieldguide.tasks.classify import Classify

if TYPE_CHECKING:
    from fieldguide.craft.chosen import Labelled
    from fieldguide.craft.encoders import Encoder, Sees
    from fieldguide.craft.features import Features
    from fieldguide.craft.frozen import Lens
    from fieldguide.craft.heads import Array, Head, Normal, Normalised
    from fieldguide.craft.sight import Sight
    from fieldguide.families import Sizes

LEARNS = True

#: Settings that say how an encoder looks at pictures.
_LOOKS = ("image_size", "pad_type", "mean", "std", "interpolation", "crop", "fit")


class Settings(Base):
    """Zero-shot by words, or a linear head on frozen features; strengths, temperature and threshold are chosen on validation."""

    NAME_FIELD: ClassVar[str | None] = "model"

    model: str = "drawn"
    """The encoder: ``drawn`` (comes along), ``hf/OWNER/NAME``, ``hf/FOLDER``, ``open_clip/NAME@TAG``; for a head also any picture network."""
    head: Literal["zero-shot", "linear", "logistic", "ridge", "gda"] = "zero-shot"
    """``zero-shot`` (words alone); trained on pictures: ``linear`` (a softmax layer), ``logistic``; in closed form: ``ridge``, ``gda``."""
    templates: str = "plain"
    """Of zero-shot: a set of sentences around a name (``plain``, ``photos`` ...), own ones (``a sketch of a {}.|an ink {}.``), or a file."""
    synonyms: bool = False
    """Of zero-shot: whether the synonyms in classes.toml stand beside a name."""
    texts: str | None = None
    """Of zero-shot: a source of descriptions of the study (``fieldguide texts``); none if not given."""
    prompt: Literal["name", "name+texts", "texts"] | None = None
    """Of zero-shot: ``name``, ``name+texts`` (each line behind the name; if not given and there are texts) or ``texts`` (lines without the name)."""
    normalisation: Literal["none", "l2", "centre+l2", "standardise"] | None = None
    """Of picture features before a head: if not given ``standardise``; zero-shot compares directions, ``l2``."""
    strengths: tuple[float, ...] | None = None
    """Of a head, what validation chooses from: penalties (ridge), shrinkages 0 to 1 (gda), inverse penalties (logistic), weight decays (linear)."""
    calibrate: bool = True
    """Whether validation sets the temperature of the probabilities; without it, the model's own scale."""
    unknown: float | None = Field(None, gt=0, lt=1)
    """Share of right validation answers that may be refused: an answer as unsure as those gets no label and counts as wrong. None if not given."""
    weights: str | None = None
    """Of a network without text: ``hub`` (so if not given), ``none`` (random), or a weights file."""
    image_size: int | None = Field(None, ge=8, le=2048)
    """Side of the picture it looks at, in pixels; the encoder's own if not given."""
    pad_type: Literal["", "same"] | None = None
    """Of a network without text: padding of convolutions that came from TensorFlow; read from the weights file if it says."""
    mean: tuple[float, float, float] | None = None
    """Mean of the three colours, 0 to 1 (``0.5+0.5+0.5`` on the command line); the encoder's own if not given."""
    std: tuple[float, float, float] | None = None
    """Standard deviation of the three colours; the encoder's own if not given."""
    interpolation: Literal["nearest", "bilinear", "bicubic"] | None = None
    """How pictures are resized; the encoder's own if not given."""
    crop: float | None = Field(None, gt=0, le=1)
    """Part of the shorter side kept by the centre crop; the encoder's own if not given."""
    fit: Literal["crop", "squash"] | None = None
    """How a picture becomes square: its middle cut out, or squashed whole; the encoder's own if not given."""
    batch_size: int = Field(64, ge=1)
    """Pictures answered at a time; does not change the answers."""

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, values: Any) -> Any:
        """Write out what follows from the rest, so that what was asked stands in the study complete."""
        if not isinstance(values, dict):
            return values
        head, full = values.get("head", "zero-shot"), dict(values)
        if full.get("normalisation") is None:
            full["normalisation"] = "l2" if head == "zero-shot" else "standardise"
        if head == "zero-shot" and full.get("prompt") is None:
            full["prompt"] = "name+texts" if full.get("texts") else "name"
        if full.get("strengths") is None and head != "zero-shot":
            from fieldguide.craft.chosen import TRIED

            full["strengths"] = TRIED.get(head)
        return full

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("a standard deviation is above 0")
        if self.head == "zero-shot":
            if self.normalisation != "l2":
                raise ValueError("zero-shot compares directions: its normalisation is l2")
            if self.strengths is not None:
                raise ValueError("strengths belong to a head, and zero-shot has nothing to learn (add head=ridge, say)")
            if self.texts is None and self.prompt != "name":
                raise ValueError(f"prompt={self.prompt} needs a source of texts (add texts=NAME)")
            return self
        words = {"templates": self.templates != "plain", "synonyms": self.synonyms, "texts": self.texts, "prompt": self.prompt}
        given = [name for name, value in words.items() if value]
        if given:
            raise ValueError(f"{given[0]} belongs to zero-shot, and head={self.head} reads no words")
        if not self.strengths or min(self.strengths) <= 0 or (self.head == "gda" and max(self.strengths) > 1):
            raise ValueError("strengths are above 0, and shrinkages of gda 1 at most")
        return self

    @classmethod
    def tiny(cls) -> Settings:
        """Return settings that run in seconds with what comes along."""
        return cls()


def learns(settings: Settings) -> bool:
    """Tell whether training pictures are used: zero-shot uses none."""
    return settings.head != "zero-shot"


@dataclass(frozen=True)
class Dual:
    """`head` gives calibrated logits of normalised features; below `threshold` on the highest probability an answer is refused.

    `ways` holds, for a contestant with texts, the uncalibrated zero-shot weights ``"features classes"`` of each way to say a class.
    `kept` is where features of a study are, while it lasts: what another contestant looked at is not looked at again.
    """

    ids: tuple[str, ...]
    settings: Settings
    sees: Sees
    normal: Normalised
    head: Head
    threshold: float | None = None
    ways: dict[str, Array] = field(default_factory=dict)
    kept: Features | None = None

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield answers with probabilities; an answer that is too unsure keeps them and has no label."""
        from fieldguide.craft.answering import answer_kept, softmax

        def probabilities(rows: NDArray[np.float32]) -> NDArray[np.float64]:
            return softmax(self.head(self.normal(rows)))

        found = answer_kept(images, self.sees, self.kept, self.ids, probabilities, self.settings.batch_size)
        return found if self.threshold is None else (self._sure(one) for one in found)

    def _sure(self, one: Prediction) -> Prediction:
        top = max(one.probabilities or (1.0,))
        if self.threshold is None or one.label is None or top >= self.threshold:
            return one
        why = f"too unsure: {one.label} with probability {top:.3f}, below the threshold of {self.threshold:.3f}"
        return dataclasses.replace(one, label=None, error=why)

    def said(self, features: NDArray[np.floating]) -> dict[str, NDArray[np.int64]]:
        """Return the class positions ``"pictures"`` that each way answers with for picture features ``"pictures features"``."""
        rows = self.normal(features)
        return {way: np.asarray((rows @ weights).argmax(axis=1), np.int64) for way, weights in self.ways.items()}

    def sight(self) -> Sight | None:
        """Let `fieldguide.explain` look into the picture half and the head on top of it."""
        from fieldguide.craft.encoders import looking

        return looking.sight(self.sees, self.normal, self.head, self.ids)

    def save(self, folder: Path) -> None:
        """Write ``dual_encoder.json`` and ``dual_encoder.safetensors`` beside the picture half of the encoder; words are not needed again."""
        from safetensors.numpy import save_file

        told = {"classes": self.ids, "settings": self.settings.model_dump(), "threshold": self.threshold}
        write_json(folder / "dual_encoder.json", told)
        arrays = {
            "weights": self.head.weights,
            "bias": self.head.bias,
            "centre": self.normal.centre,
            "scale": self.normal.scale,
        }
        arrays |= {f"ways/{way}": weights for way, weights in self.ways.items()}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / "dual_encoder.safetensors")
        self.sees.save(folder)


def _encoder(settings: Settings, bench: Bench) -> Encoder:
    """Return the encoder, and write down where its weights came from and what its self-test found."""
    from fieldguide.craft import encoders
    from fieldguide.craft.encoders.proof import warning

    store = bench.shared or bench.scratch
    encoder = encoders.build(_lens(settings), seed=bench.seed, device=bench.device, online=bench.online, store=store)
    told, doubt = encoder.tested.get("known"), warning(encoder)
    if doubt:
        bench.progress.say(doubt)
    size = encoder.sees.preprocessing.size
    bench.fact(weights=encoder.described, image_size=size, self_test=told, **({"warning": doubt} if doubt else {}))
    return encoder


def fit(train: Sequence[Example], val: Sequence[Example], task: Classify, settings: Settings, bench: Bench) -> Dual:
    """Make a head out of words or learn one on features of training pictures, then calibrate it on validation pictures."""
    from fieldguide.craft.features import Features

    encoder = _encoder(settings, bench)
    features = Features.of(bench)
    val_x = features.pictures(encoder.sees, [example.image for example in val]) if val else np.zeros((0, encoder.sees.width))
    val_y = np.array([task.index[str(example.label)] for example in val], np.int64)
    ways: dict[str, Array] = {}
    if settings.head == "zero-shot":
        normal, head, ways = _of_words(encoder, features, task, settings, bench)
        _log_ways(ways, normal(val_x), val_y, bench)
    else:
        x = features.pictures(encoder.sees, [example.image for example in train])
        y = np.array([task.index[str(example.label)] for example in train], np.int64)
        normal, head = _of_pictures((x, y), (val_x, val_y), task, settings, bench)
    head, least = _calibrated(head, normal(val_x), val_y, settings, bench)
    own = 0 if settings.head == "zero-shot" else int(head.weights.size + head.bias.size)
    total = encoder.sees.parameters + int(head.weights.size + head.bias.size)
    bench.fact(kind=_kind(encoder, settings), parameters=total, trained_parameters=own)
    return Dual(task.ids, settings, encoder.sees, normal, head, least, ways, features if bench.shared else None)


def _kind(encoder: Encoder, settings: Settings) -> str:
    return "zero-shot" if settings.head == "zero-shot" else "probe" if encoder.reads else "features"


def _of_words(
    encoder: Encoder, features: Features, task: Classify, settings: Settings, bench: Bench
) -> tuple[Normalised, Head, dict[str, Array]]:
    """Return zero-shot weights times the model's own scale, and those of every way where there are texts."""
    from fieldguide.craft import zero_shot
    from fieldguide.craft.heads import Head, normalised

    reads, way = encoder.reads, str(settings.prompt)
    if reads is None:
        raise _reads_nothing(settings)
    texts = None if settings.texts is None else bench.texts(settings.texts)
    said = zero_shot.spoken(task.classes, settings.templates, settings.synonyms, texts, reads)
    zero_shot.require(said, way, settings.texts)
    bench.fact(texts=settings.texts, scale=encoder.scale, **said.facts(way, reads))
    ways = zero_shot.weights(said, lambda lines: features.texts(reads, lines))
    head = Head(ways[way] * encoder.scale, np.zeros(len(task.ids)))
    return normalised("l2", np.zeros((0, len(head.weights)))), head, {} if texts is None else ways


def _log_ways(ways: dict[str, Array], rows: Array, labels: NDArray[np.int64], bench: Bench) -> None:
    """Note the validation accuracy of each way."""
    from fieldguide.craft.heads import accuracy

    for way, weights in ways.items():
        bench.log("way", way=way, val_accuracy=accuracy(rows @ weights, labels) if len(labels) else None)


def _of_pictures(train: Labelled, val: Labelled, task: Classify, settings: Settings, bench: Bench) -> tuple[Normalised, Head]:
    """Return the head whose strength validation likes best, and the normalisation it was learned with."""
    from fieldguide.craft import chosen
    from fieldguide.craft.heads import normalised

    how: Normal = settings.normalisation or "standardise"
    normal = normalised(how, train[0])
    rows, val_rows = (normal(train[0]), train[1]), (normal(val[0]), val[1])
    bench.fact(normalisation=how)
    return normal, chosen.best(settings.head, rows, val_rows, len(task.ids), settings.strengths or (), bench)


def _calibrated(
    head: Head, rows: Array, labels: NDArray[np.int64], settings: Settings, bench: Bench
) -> tuple[Head, float | None]:
    """Return the head with its logits divided by the temperature, and the threshold below which answers are refused."""
    from fieldguide.craft.answering import softmax
    from fieldguide.craft.calibrated import calibrated, threshold
    from fieldguide.craft.heads import Head

    if settings.calibrate:
        found = calibrated(head(rows), labels, head.bias > -1e8)
        bench.fact(**found.facts())
        head = Head(head.weights / found.temperature, head.bias / found.temperature)
    if settings.unknown is None or not len(labels):
        return head, None
    logits = head(rows)
    least = threshold(softmax(logits).max(axis=1), logits.argmax(axis=1) == labels, settings.unknown)
    bench.fact(threshold=least, refused_share=settings.unknown)
    return head, least


def load(folder: Path) -> Dual:
    """Read what `Dual.save` wrote."""
    import torch
    from safetensors.numpy import load_file

    from fieldguide.craft import encoders
    from fieldguide.craft.heads import Head, Normalised

    values, arrays = read_json(folder / "dual_encoder.json"), load_file(folder / "dual_encoder.safetensors")
    settings = Settings(**values["settings"])
    sees = encoders.load(folder, "cuda" if torch.cuda.is_available() else "cpu")
    how: Normal = settings.normalisation or "l2"
    normal = Normalised(how, arrays["centre"], arrays["scale"])
    ways = {name.removeprefix("ways/"): array for name, array in arrays.items() if name.startswith("ways/")}
    head = Head(arrays["weights"], arrays["bias"])
    return Dual(tuple(values["classes"]), settings, sees, normal, head, values["threshold"], ways)


def knows(name: str) -> bool:
    """Tell whether a bare name is one of an image-text encoder: the one that comes along, or one of open_clip."""
    return name == "drawn" or name.startswith("open_clip/")


def names() -> list[str]:
    """Return the bare names that need no download."""
    return ["drawn"]


def check(settings: Settings, online: bool) -> None:
    """Raise now what would stop the fit later: an unknown encoder, one that reads nothing, weights or templates that are not there."""
    from fieldguide.craft import encoders, prompts, zoo

    encoders.check(settings.model, online)
    prompts.templates(settings.templates)
    if encoders.two_sided(settings.model, online):
        given = next((name for name in ("weights", "pad_type") if getattr(settings, name) is not None), None)
        if given:
            raise UsageProblem(
                f"dual_encoder/{plain(settings.model)}: {given} belongs to a network without text.",
                "An image-text encoder comes with its own weights: a name of the hub, or a folder.",
                f"Leave {given} out, or write dual_encoder/hf/FOLDER.",
            )
        return
    if settings.head == "zero-shot":
        raise _reads_nothing(settings)
    zoo.find_weights(_lens(settings), online)


def pixels(settings: Settings) -> int:
    """Return the size it asks the store for, before the centre crop."""
    from fieldguide.craft.encoders.planning import planned

    return planned(_lens(settings)).resize


def estimate(settings: Settings, task: Classify, sizes: Sizes) -> Estimate:
    """Return a rough cost: a look at each picture, and the work of the head on a dense table."""
    from fieldguide.craft.encoders.planning import cost

    try:
        a_look, width, network = cost(_lens(settings))
    except Problem:
        return Estimate()
    trained = sizes.train if learns(settings) else 0
    looks = (trained + 2 * sizes.val + sizes.test) * a_look
    steps = {"logistic": 300, "linear": 300}.get(settings.head, 1) * len(settings.strengths or ())
    work = trained * width * (width + 4 * steps * len(task.ids))
    own = 8 * width * len(task.ids)
    return Estimate(seconds=1 + looks + work / 2e10, memory_bytes=network + 24 * trained * width, disk_bytes=network + own)


def _lens(settings: Settings) -> Lens:
    from fieldguide.craft.frozen import Lens

    asked = {name: getattr(settings, name) for name in (*_LOOKS, "batch_size")}
    return Lens(settings.model, **{**asked, "weights": settings.weights or "hub"})


def _reads_nothing(settings: Settings) -> UsageProblem:
    return UsageProblem(
        f"dual_encoder/{plain(settings.model)} cannot be asked in words: that network reads no text.",
        "Zero-shot needs an image-text encoder: drawn, hf/OWNER/NAME, hf/FOLDER or open_clip/NAME@TAG. A head needs none.",
        f"dual_encoder/{plain(settings.model)}:head=ridge learns from pictures; dual_encoder/drawn works offline.",
    )
