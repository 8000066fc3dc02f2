"""A linear head on a frozen encoder that learns from pictures and from text together: names, descriptions, captions.

How text comes in is the `method` (see `fieldguide.craft.adapting`), how it is brought to where pictures lie is the `translator` (see
`fieldguide.craft.translators`). How much it counts is chosen on validation, and may be nothing. The published experiment that trains
one fully connected layer on real and translated features together is ``method=mix,translator=qformer``; optimiser, rate, steps and
batch are not stated there, and are ours. Encoders: `fieldguide.craft.encoders`; a picture network without text reads through ``words``.
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
from fieldguide.errors import Problem, UsageProblem, plain
from fieldguide.files import read_json, write_json
from fieldguide.records import Estimate, Example, Image, Prediction, Texts
from fieldguide.settings import Settings as Base
from fieldguide.tasks.classify import Classify

if TYPE_CHECKING:
    from fieldguide.craft.adapting import Given
    from fieldguide.craft.encoders import Encoder, Sees
    from fieldguide.craft.features import Features
    from fieldguide.craft.frozen import Lens
    from fieldguide.craft.heads import Array, Head, Normal, Normalised
    from fieldguide.craft.texted import Desk, Seen
    from fieldguide.families import Sizes

LEARNS = True
CHANCE = True

#: Settings that say how an encoder looks at pictures.
_LOOKS = ("image_size", "pad_type", "mean", "std", "interpolation", "crop", "fit")
#: Logit of a cosine of one where an encoder has no scale of its own.
_SCALE = 30.0


class Settings(Base):
    """One linear head from pictures and text; how much text counts is chosen on validation, with nothing at all among the choices."""

    NAME_FIELD: ClassVar[str | None] = "model"

    model: str = "drawn"
    """What looks: ``drawn`` (comes along), ``hf/OWNER/NAME``, ``hf/FOLDER``, ``open_clip/NAME@TAG``, or any picture network as linear has them."""
    text_model: str | None = None
    """What reads: the encoder's own text half if not given and there is one, else ``words`` (hashed words), or another image-text model."""
    texts: str | None = None
    """A source of descriptions or captions of the study (``fieldguide texts``); class names in templates if not given."""
    templates: str = "plain"
    """A set of sentences around a name (``plain``, ``photos`` ...), own ones (``a sketch of a {}.|an ink {}.``), or a file."""
    prompt: Literal["name", "name+texts", "texts"] | None = None
    """What is said of a class: ``name``, ``name+texts`` (each line behind the name; if not given and there are lines) or ``texts`` alone."""
    captions: bool = True
    """Whether captions of training pictures are used, where the source has them."""
    method: Literal["bias", "mix", "init", "rows", "noise"] = "bias"
    """``bias`` (text logits added to a head), ``mix`` (one layer on both), ``init`` (text first), ``rows`` (half batches), ``noise`` (text alone)."""
    head: Literal["gda", "ridge", "linear", "logistic"] | None = None
    """Of method=bias: the head that pictures alone make; ``gda`` if not given. Its strength is chosen on validation."""
    translator: Literal["identity", "shift", "procrustes", "ridge", "memory", "mlp", "qformer"] | None = None
    """Text to picture; if not given identity where texts lie with pictures (shift for method=mix), else ridge."""
    pairs: str | None = None
    """Where a translator learns: a file of captions as COCO has them beside its pictures; own training pictures and their texts if not given."""
    folds: int = Field(5, ge=1, le=50)
    """Parts of classes: a class's texts are translated by what other parts taught. 1: the own class teaches, too, and texts then carry pictures."""
    weight: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0, 3.0)
    """How much text may count, 0 among them; validation chooses, the middle one without it. A single value is taken as it is."""
    sigma: tuple[float, ...] | None = None
    """Of method=noise: standard deviations a feature that are tried, on rows of length one; 0, 0.04, 0.08 and 0.126 if not given."""
    normalisation: Literal["none", "l2", "centre+l2", "standardise"] | None = None
    """Of all rows before the head; if not given ``l2`` where texts lie with pictures, else ``centre+l2``."""
    steps: int = Field(300, ge=0)
    """Steps of AdamW, where a layer is trained (all methods but bias)."""
    batch_size: int = Field(256, ge=1)
    """Rows a step; of mix and rows one half is pictures and the other text."""
    learning_rate: float = Field(1e-3, gt=0)
    """Rate of AdamW at the first step; it falls to 0 along half a cosine."""
    weight_decay: float = Field(0.01, ge=0)
    """Decay of the layer's weights, in the rate's units; not of its bias."""
    calibrate: bool = True
    """Whether validation sets the temperature of the probabilities."""
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

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, values: Any) -> Any:
        """Write out what belongs to the method, so that what was asked stands in the study complete."""
        if not isinstance(values, dict):
            return values
        method, full = values.get("method", "bias"), dict(values)
        if method == "bias" and full.get("head") is None:
            full["head"] = "gda"
        if method == "noise" and full.get("sigma") is None:
            full["sigma"] = (0.0, 0.04, 0.08, 0.126)
        return full

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("a standard deviation is above 0")
        if not self.weight or min(self.weight) < 0 or len(set(self.weight)) < len(self.weight):
            raise ValueError("weights are 0 or more, each once")
        if len(self.weight) > 1 and 0 not in self.weight:
            raise ValueError("where validation chooses, 0 is among the weights, so that text can be dropped")
        if self.head is not None and self.method != "bias":
            raise ValueError(f"head belongs to method=bias, and method={self.method} trains a layer of its own")
        if self.sigma is not None and (self.method != "noise" or not self.sigma or min(self.sigma) < 0):
            raise ValueError("sigma belongs to method=noise and is 0 or more")
        if self.prompt in ("texts", "name+texts") and self.texts is None:
            raise ValueError(f"prompt={self.prompt} needs a source of texts (add texts=NAME)")
        return self

    @classmethod
    def tiny(cls) -> Settings:
        """Return settings that run in seconds with what comes along."""
        return cls(method="mix", steps=20, batch_size=16)


@dataclass(frozen=True)
class Adapter:
    """`head` gives calibrated logits of normalised features of what `sees`; `kept` is where a study keeps those, while it lasts."""

    ids: tuple[str, ...]
    settings: Settings
    sees: Sees
    normal: Normalised
    head: Head
    kept: Features | None = None

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield answers with probabilities."""
        from fieldguide.craft.answering import answer_kept, softmax

        def probabilities(rows: NDArray[np.float32]) -> NDArray[np.float64]:
            return softmax(self.head(self.normal(rows)))

        return answer_kept(images, self.sees, self.kept, self.ids, probabilities)

    def save(self, folder: Path) -> None:
        """Write ``text_adapter.json`` and ``text_adapter.safetensors`` beside the picture half of the encoder; texts are not needed again."""
        from safetensors.numpy import save_file

        told = {"classes": self.ids, "settings": self.settings.model_dump(), "normalisation": self.normal.how}
        write_json(folder / "text_adapter.json", told)
        arrays = {"weights": self.head.weights, "bias": self.head.bias}
        arrays |= {"centre": self.normal.centre, "scale": self.normal.scale}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / "text_adapter.safetensors")
        self.sees.save(folder)


def fit(train: Sequence[Example], val: Sequence[Example], task: Classify, settings: Settings, bench: Bench) -> Adapter:
    """Look, read, translate, make one head for each weight that text may have, keep the one that validation likes best, calibrate it."""
    from fieldguide.craft import encoders, texted
    from fieldguide.craft.features import Features
    from fieldguide.craft.heads import normalised

    encoder = encoders.build(_lens(settings), seed=bench.seed, device=bench.device, online=bench.online)
    reads, reader, shared = texted.reader_of(encoder, settings.text_model, bench)
    tested = {"self_test": encoder.tested} if encoder.tested else {}
    bench.fact(weights=encoder.described, image_size=encoder.sees.preprocessing.size, text_model=reader, **tested)
    desk = texted.Desk(encoder, reads, Features.of(bench), bench)
    x, y = _looked(train, task, desk)
    val_x, val_y = _looked(val, task, desk)
    seen = texted.Seen(x, tuple(example.image.key for example in train), y)
    how: Normal = settings.normalisation or ("l2" if shared else "centre+l2")
    normal = normalised(how, x)
    said, of = _said(seen, task, settings, desk, shared, normal)
    given = _given((normal(x), y), (normal(val_x), val_y), (said, of), len(task.ids))
    head = _chosen(given, encoder, settings, how, bench)
    head = _calibrated(head, given, settings, bench)
    own = int(head.weights.size + head.bias.size)
    bench.fact(
        kind="adapter",
        method=settings.method,
        normalisation=how,
        parameters=encoder.sees.parameters + own,
        trained_parameters=own,
    )
    return Adapter(task.ids, settings, encoder.sees, normal, head, desk.features if bench.shared else None)


def _looked(examples: Sequence[Example], task: Classify, desk: Desk) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return features and class positions."""
    sees = desk.encoder.sees
    rows = desk.features.pictures(sees, [example.image for example in examples]) if examples else np.zeros((0, sees.width))
    return np.asarray(rows, np.float32), np.array([task.index[str(example.label)] for example in examples], np.int64)


def _said(
    seen: Seen, task: Classify, settings: Settings, desk: Desk, shared: bool, normal: Normalised
) -> tuple[Array, NDArray[np.int64]]:
    """Return normalised rows of text where pictures lie and the class of each; none where texts cannot be brought there, which is told."""
    from fieldguide.craft import texted
    from fieldguide.craft.heads import normalised

    texts = Texts("") if settings.texts is None else desk.bench.texts(settings.texts)
    if not settings.captions:
        texts = Texts(texts.name, texts.classes)
    told = texted.told(texts, task.classes, seen, texted.Way(settings.templates, settings.prompt), desk.reads)
    plainly = "shift" if settings.method == "mix" else "identity"
    # Learned from the pairs of a few classes, all others lose the directions that a class of its own uses.
    name = settings.translator or (plainly if shared else "ridge")
    rows, facts = texted.brought(told, seen, texted.Teaching(name, settings.pairs, settings.folds), desk)
    desk.bench.fact(texts=settings.texts, scale=desk.encoder.scale, **told.facts, **facts)
    if rows is None:
        return np.zeros((0, seen.rows.shape[1])), np.zeros(0, np.int64)
    # What was translated lies among pictures; what was not has a centre of its own.
    own = normalised(normal.how, rows) if name == "identity" else normal
    return own(rows), told.labels


def _given(
    pictures: tuple[Array, NDArray[np.int64]],
    val: tuple[Array, NDArray[np.int64]],
    texts: tuple[Array, NDArray[np.int64]],
    classes: int,
) -> Given:
    from fieldguide.craft.adapting import Given, vectors_of

    return Given(pictures, val, texts, vectors_of(*texts, classes), classes)


def _chosen(given: Given, encoder: Encoder, settings: Settings, how: Normal, bench: Bench) -> Head:
    """Return the head of the weight that validation likes best."""
    from fieldguide.craft import adapting
    from fieldguide.craft.layers import How

    unit_rows = how in ("l2", "centre+l2")
    scale = (encoder.scale if encoder.shared else _SCALE) if unit_rows else 1.0
    training = How(settings.steps, settings.batch_size, settings.learning_rate, settings.weight_decay, scale)
    noisy = settings.method == "noise"
    tried = settings.sigma or () if noisy else settings.weight
    if not len(given.texts[0]):
        if noisy:
            raise UsageProblem(
                "method=noise learns from text alone, and no text could be brought to where pictures lie.",
                "Allowed: texts about two classes or more that have training pictures, or an encoder with its own text half.",
                "Leave method out, or take another translator.",
            )
        tried = (0.0,)
    more = {"head": settings.head} if settings.method == "bias" else {}
    heads = adapting.METHODS[settings.method](given, tried, training, bench, **more)
    head, value, why = adapting.best(heads, tried, given.val, bench, "sigma" if noisy else "text_weight")
    if noisy:
        bench.fact(text_weight="text alone", sigma=value, sigma_chosen=why)
    else:
        bench.fact(text_weight=value, text_weight_chosen=why)
    return head


def _calibrated(head: Head, given: Given, settings: Settings, bench: Bench) -> Head:
    """Return the head with its logits divided by the temperature that suits validation pictures."""
    from fieldguide.craft.calibrated import calibrated
    from fieldguide.craft.heads import Head

    if not settings.calibrate:
        return head
    found = calibrated(head(given.val[0]), given.val[1], head.bias > -1e8)
    bench.fact(**found.facts())
    return Head(head.weights / found.temperature, head.bias / found.temperature)


def load(folder: Path) -> Adapter:
    """Read what `Adapter.save` wrote."""
    import torch
    from safetensors.numpy import load_file

    from fieldguide.craft import encoders
    from fieldguide.craft.heads import Head, Normalised

    values, arrays = read_json(folder / "text_adapter.json"), load_file(folder / "text_adapter.safetensors")
    sees = encoders.load(folder, "cuda" if torch.cuda.is_available() else "cpu")
    normal = Normalised(values["normalisation"], arrays["centre"], arrays["scale"])
    head = Head(arrays["weights"], arrays["bias"])
    return Adapter(tuple(values["classes"]), Settings(**values["settings"]), sees, normal, head)


def check(settings: Settings, online: bool) -> None:
    """Raise now what would stop the fit later: an unknown encoder or reader, weights, templates or pairs that are not there."""
    from fieldguide.craft import encoders, prompts, zoo

    encoders.check(settings.model, online)
    prompts.templates(settings.templates)
    two_sided = encoders.two_sided(settings.model, online)
    if settings.text_model not in (None, encoders.WORDS, settings.model):
        encoders.check(str(settings.text_model), online)
    if settings.text_model not in (None, encoders.WORDS) and not encoders.two_sided(str(settings.text_model), online):
        raise UsageProblem(
            f"text_model={plain(settings.text_model)} reads no text.",
            f"Allowed: {encoders.WORDS}, or an image-text model: drawn, hf/OWNER/NAME, hf/FOLDER, open_clip/NAME@TAG.",
            f"text_model={encoders.WORDS} needs no weights.",
        )
    if settings.pairs is not None and not Path(settings.pairs).expanduser().is_file():
        raise UsageProblem(
            f"There is no file {plain(settings.pairs)} with pairs of pictures and captions.",
            "Captions as COCO has them (captions_train2017.json), or Karpathy's dataset_coco.json, with the pictures beside them.",
            "Correct the path, or leave pairs out: then the training pictures and their texts teach.",
        )
    given = next((name for name in ("weights", "pad_type") if getattr(settings, name) is not None), None)
    if two_sided and given:
        raise UsageProblem(
            f"text_adapter/{plain(settings.model)}: {given} belongs to a network without text.",
            "An image-text encoder comes with its own weights: a name of the hub, or a folder.",
            f"Leave {given} out, or write text_adapter/hf/FOLDER.",
        )
    if not two_sided:
        zoo.find_weights(_lens(settings), online)


def pixels(settings: Settings) -> int:
    """Return the size it asks the store for, before the centre crop."""
    from fieldguide.craft.encoders.planning import planned

    return planned(_lens(settings)).resize


def estimate(settings: Settings, task: Classify, sizes: Sizes) -> Estimate:
    """Return a rough cost: a look at each picture, and the work of the layers; texts and translators are not counted."""
    from fieldguide.craft.encoders.planning import cost

    try:
        a_look, width, network = cost(_lens(settings))
    except Problem:
        return Estimate()
    looks = (sizes.train + 2 * sizes.val + sizes.test) * a_look
    models = len(settings.sigma or settings.weight)
    trained = 0 if settings.method == "bias" else settings.steps * settings.batch_size
    work = width * (sizes.train * width + 6 * trained * models * len(task.ids))
    own = 8 * width * len(task.ids)
    memory = network + 24 * sizes.train * width + 4 * models * own
    return Estimate(seconds=1 + looks + work / 2e10, memory_bytes=memory, disk_bytes=network + own)


def _lens(settings: Settings) -> Lens:
    from fieldguide.craft.frozen import Lens

    asked = {name: getattr(settings, name) for name in _LOOKS}
    return Lens(settings.model, **{**asked, "weights": settings.weights or "hub"})
