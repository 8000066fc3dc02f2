"""What a frozen vision tower makes of each picture, computed once for all epochs, fits and sittings, and mapped into memory from files.

    <shared>/looked/<key>/<part>.safetensors     for each picture: its size, and the features that the text is given

`key` names weights, arithmetic and sizes of pictures. Features are those behind the projector; where the projector is trained and the tower
is not, what the tower gives it (`seams`), and the projector runs on that at each step. They are
kept in the model's own arithmetic, so that nothing is rounded. With them no picture is decoded again, either: all else that a network
is told depends on the size of the picture alone. A part is whole or absent; a killed run goes on after its last one.
What is read is a view of the file, so that the memory of a process does not grow with the number of pictures.
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fieldguide.bench import Bar, Bench
from fieldguide.craft.chat.local import Local
from fieldguide.craft.chat.prefix import Inputs
from fieldguide.craft.features import alone
from fieldguide.craft.tuning import seams
from fieldguide.errors import plain
from fieldguide.files import digest, writing
from fieldguide.records import Image

#: Pictures in a part.
PART = 64
#: The most that features may take of what is free on the disk.
SHARE = 0.5
#: What the size of a picture is called in a part, and what ends the name of a feature that a model takes picture by picture.
_SIZE, _SPLIT = "size", "-split"
#: What ends the name of the order in which the rows of a feature stand.
_ORDER = "-order"
#: What a model calls the features that enter by cross-attention.
CROSSING = "cross_attention_states"


@dataclass(frozen=True, eq=False)
class Looks:
    """Stored features of one picture by name, each ``"tokens width"`` or ``"tiles tokens width"``; `size` is (height, width) in pixels."""

    size: tuple[int, int]
    features: Mapping[str, Tensor]


@dataclass
class Looked:
    """The store of one model's features in `folder`; with `before` what is kept is not a feature but what the projector makes it of."""

    chat: Local
    folder: Path
    bench: Bench
    before: bool = False
    _made_by: dict[str, str] = field(default_factory=dict, repr=False)
    _where: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Find what is there."""
        self._find()

    def _find(self) -> None:
        for path in sorted(self.folder.glob("*.safetensors")):
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            stream: Any = safe_open(path, framework="pt")
        except (SafetensorError, OSError):  # a damaged part is as good as absent
            return
        for name in stream.keys():  # noqa: SIM118 - safe_open is no dict
            key, _, what = name.partition("/")
            if what == _SIZE:
                self._where[key] = stream

    def of(self, image: Image) -> Looks | None:
        """Return what is stored of a picture; `None` where nothing is."""
        if image.key not in self._where:
            return None
        stream = self._where[image.key]
        names = [name for name in _names(stream, image.key) if name != _SIZE]
        height, width = stream.get_tensor(f"{image.key}/{_SIZE}").tolist()
        return Looks((height, width), {name: stream.get_tensor(f"{image.key}/{name}") for name in names})

    def prepare(self, images: Sequence[Image]) -> None:
        """Compute what is not stored yet; of several processes that want the same one does, and the others wait."""
        wanted = {image.key: image for image in images}
        if wanted.keys() <= self._where.keys():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with alone(self.folder):
            self._find()
            missing = [image for key, image in wanted.items() if key not in self._where]
            with self.bench.progress.bar("looking once", len(missing)) as bar:
                for start in range(0, len(missing), PART):
                    self._write(missing[start : start + PART], bar)

    def _write(self, some: Sequence[Image], bar: Bar) -> None:
        """Compute and write one part."""
        tensors: dict[str, Tensor] = {}
        for image in some:
            tensors |= {f"{image.key}/{name}": tensor for name, tensor in self._computed(image).items()}
            bar.advance()
        path = self.folder / f"{digest([image.key for image in some])[:24]}.safetensors"
        with writing(path) as temporary:
            save_file(tensors, temporary)
        self._read(path)

    def _computed(self, image: Image) -> dict[str, Tensor]:
        picture = self.chat._sized(image.pixels(self.chat.size))
        inputs = self.chat._inputs(self.chat.hand.mark, [picture], begun=False)
        found = self._seen_before(inputs) if self.before else features(self.chat.model, inputs)
        # Layers may be fed one and the same tensor, and a file holds each by itself.
        kept = {name: tensor.cpu().contiguous().clone() for name, tensor in found.items()}
        return {**kept, _SIZE: torch.tensor([picture.height, picture.width])}

    def _seen_before(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return what the projector makes the features of one picture of; raises `ValueError` where that is not known."""
        with seams.watched(self.chat.model) as calls:
            made = seams.found(calls, features(self.chat.model, inputs))
        paths = {name: seam.path for name, seam in made.items()}
        if self._made_by and paths != self._made_by:
            raise ValueError("pictures go through different modules of its projector")
        self._made_by = paths
        orders = {f"{name}{_ORDER}": seam.order for name, seam in made.items() if seam.order is not None}
        return {**{name: seam.given for name, seam in made.items()}, **orders}

    def _feature(self, name: str, looks: Looks) -> Tensor:
        """Return one feature from what is stored of it; gradients flow into the projector."""
        device = self.chat.model.device
        stored = looks.features[name].to(device)
        if not self.before:
            return stored
        made: Tensor = self.chat.model.get_submodule(self._made_by[name])(stored)
        order = looks.features.get(f"{name}{_ORDER}")
        made = made.flatten(0, -3) if name == CROSSING else made.flatten(0, -2)
        return made if order is None else made[order.to(device)]

    def given(self, looks: Sequence[Looks]) -> dict[str, Any]:
        """Return what the network is given instead of pixels."""
        names = [name for name in looks[0].features if not name.endswith(_ORDER)]
        by_name = {name: [self._feature(name, one) for one in looks] for name in names}
        if CROSSING in by_name:
            return {CROSSING: torch.cat(by_name[CROSSING])}
        deep = [
            by_name[name] if name.endswith(_SPLIT) else torch.cat(by_name[name]) for name in sorted(by_name) if name != "pooled"
        ]
        return {"mm_encoder_outputs": {"image": SimpleNamespace(pooler_output=by_name["pooled"], deepstack_features=deep)}}


def _names(stream: Any, key: str) -> list[str]:
    return [name.partition("/")[2] for name in stream.keys() if name.startswith(f"{key}/")]  # noqa: SIM118


@torch.inference_mode()
def features(model: Any, inputs: Inputs) -> dict[str, Tensor]:
    """Return what the text is given of one picture: ``"tokens width"`` under ``pooled``, and of deeper layers ``deep000`` ..."""
    inner = model.model
    if CROSSING in inspect.signature(model.forward).parameters:
        own = {name: inputs[name] for name in ("pixel_values", "aspect_ratio_ids", "aspect_ratio_mask")}
        seen = inner.multi_modal_projector(inner.vision_model(**own).last_hidden_state)
        return {CROSSING: seen.reshape(-1, seen.shape[-2], inner.hidden_size)}
    known = inspect.signature(inner.get_image_features).parameters
    out = inner.get_image_features(**{name: tensor for name, tensor in inputs.items() if name in known}, return_dict=True)
    pooled = out.pooler_output
    pooled = torch.cat(list(pooled)) if isinstance(pooled, list | tuple) else pooled.flatten(0, -2)
    found = {"pooled": pooled}
    for at, deep in enumerate(getattr(out, "deepstack_features", None) or ()):
        split = isinstance(deep, list | tuple)
        found[f"deep{at:03}{_SPLIT if split else ''}"] = torch.cat(list(deep)) if split else deep
    return found


def opened(chat: Local, images: Sequence[Image], base: str, trained: frozenset[str], bench: Bench) -> tuple[Looked | None, str]:
    """Return the store of what a model sees, or `None`, and in both cases why.

    `trained` are the parts of the model that are, `base` names the weights.
    """
    if "vision" in trained:
        return None, "vision is trained, so features change with every step"
    before = "projector" in trained
    folder = (bench.shared or bench.scratch) / "looked" / digest(base, chat.size, *(["before"] if before else []))[:24]
    looked = Looked(chat, folder, bench, before)
    try:
        with _answering(chat.model):
            first = looked._computed(images[0])
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError, KeyError) as error:
        return None, f"this architecture does not hand out its features: {plain(error)}"
    each = sum(tensor.numel() * tensor.element_size() for tensor in first.values())
    missing = sum(image.key not in looked._where for image in images)
    bench.scratch.mkdir(exist_ok=True)
    free = shutil.disk_usage(bench.shared if bench.shared and bench.shared.exists() else bench.scratch).free
    if each * missing > SHARE * free:
        return None, f"it would take {each * missing / 1e9:.1f} GB of {free / 1e9:.1f} GB that are free"
    what = ", what the vision tower gives the projector, which is trained" if before else ""
    return looked, f"{each / 1e3:.0f} kB a picture{what}"


@contextmanager
def _answering(model: Any) -> Iterator[None]:
    was = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was)
