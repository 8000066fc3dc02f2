"""A network that was trained here, whatever it is built of: it answers, is written down, and comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fieldguide.craft.answering import answer, answer_counts, softmax
from fieldguide.craft.goals import Scaling
from fieldguide.craft.pace import Pace, autocast, memory_format, placed
from fieldguide.craft.sight import Sight
from fieldguide.data.batches import Preprocessing, as_dict, from_dict
from fieldguide.files import read_json, write_json
from fieldguide.records import Image, Prediction


@dataclass(frozen=True)
class Trained:
    """A trained network with its preprocessing and class ids. `recipe` rebuilds the empty network; with `scaling` its numbers are counts."""

    network: nn.Module
    recipe: dict[str, Any]
    preprocessing: Preprocessing
    ids: tuple[str, ...]
    device: str
    pace: Pace
    batch_size: int
    scaling: Scaling | None = None

    @property
    def gives_probabilities(self) -> bool:
        """Whether its answers are classes with a probability each."""
        return self.scaling is None

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield answers with softmax probabilities, or counts."""
        ways = self.preprocessing, self.batch_size, self.ids
        scaling = self.scaling
        if scaling is not None:
            return answer_counts(images, *ways, lambda pixels: scaling.counts(self._numbers(pixels)))
        return answer(images, *ways, lambda pixels: softmax(self._numbers(pixels)))

    @torch.inference_mode()
    def _numbers(self, pixels: Tensor) -> NDArray[np.float64]:
        with autocast(self.device, self.pace.precision):
            logits = self.network(pixels.to(self.device, memory_format=memory_format(self.pace.layout)))
        return np.asarray(logits.double().cpu().numpy())

    def sight(self) -> Sight:
        """Let `fieldguide.explain` look inside."""
        return Sight(self.network, self.preprocessing, self.ids, self.device)

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``model.json`` (network, preprocessing, classes)."""
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.network.state_dict().items()}
        save_file(tensors, folder / "model.safetensors")
        described = {"recipe": self.recipe, "preprocessing": as_dict(self.preprocessing), "classes": self.ids}
        counts = {} if self.scaling is None else {"counts": asdict(self.scaling)}
        write_json(folder / "model.json", {**described, **counts, "pace": asdict(self.pace), "batch_size": self.batch_size})


def as_published(network: nn.Module, recipe: dict[str, Any], preprocessing: Preprocessing, labels: tuple[str, ...]) -> Trained:
    """Return a network that was not trained here, ready to answer for its own classes."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Trained(placed(network, device).eval(), recipe, preprocessing, labels, device, Pace(), batch_size=32)


def load(folder: Path, create: Callable[[dict[str, Any]], nn.Module]) -> Trained:
    """Read what `Trained.save` wrote: `create` rebuilds the empty network from its recipe; the weights are loaded strictly.

    Raises `ValueError` where the classes are not as many as the network answers with.
    """
    values = read_json(folder / "model.json")
    if len(values["classes"]) != values["recipe"]["classes"]:
        raise ValueError(f"{len(values['classes'])} classes for a network of {values['recipe']['classes']}")
    network = create(values["recipe"])
    network.load_state_dict(load_file(folder / "model.safetensors"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pace = Pace(**values["pace"])
    network = placed(network, device, pace).eval()
    ids = tuple(values["classes"])
    counts = values.get("counts")
    scaling = None if counts is None else Scaling(tuple(counts["centre"]), tuple(counts["scale"]))
    seen = from_dict(values["preprocessing"])
    return Trained(network, values["recipe"], seen, ids, device, pace, values["batch_size"], scaling)
