"""A network that is only looked through: its pooled features, with weights that never change.

Networks, weights, preprocessing and error texts are those of `fieldguide.craft.zoo`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fieldguide.craft import zoo
from fieldguide.craft.pace import placed
from fieldguide.craft.sight import Sight
from fieldguide.craft.zoo.borrowed import require_size
from fieldguide.data.batches import Interpolation, Preprocessing, as_dict, from_dict
from fieldguide.files import read_json, write_json

#: Pictures that go through the network at a time: what is between its layers is kept small, whatever the batch.
AT_ONCE = 32
#: Pictures of the noise that a forward pass is timed on.
_TIMED = 4


@dataclass(frozen=True)
class Lens:
    """What decides the features of a picture; the fields are those of `fieldguide.craft.zoo.wanted.Wanted`."""

    model: str
    weights: str
    image_size: int | None = None
    pad_type: Literal["", "same"] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: Interpolation | None = None
    crop: float | None = None
    fit: Literal["crop", "squash"] | None = None
    batch_size: int = 1
    patch_size: int | None = None


class Headed(nn.Module):
    """A network that gives features, and a linear layer that names classes from them."""

    def __init__(self, network: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.network, self.head = network, head
        self.heads = ("head.",)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits ``"pictures classes"`` of ``"pictures 3 size size"``."""
        logits: Tensor = self.head(self.network(pixels))
        return logits


@dataclass(frozen=True)
class Frozen:
    """A network without its head, in evaluation mode; `recipe` rebuilds the empty network."""

    network: nn.Module
    recipe: dict[str, Any]
    preprocessing: Preprocessing
    device: str

    @torch.inference_mode()
    def features(self, pixels: Tensor) -> NDArray[np.float64]:
        """Return ``"pictures features"`` of normalised float32 ``"pictures 3 size size"``; in fp32, so that batches do not matter."""
        parts = (part.to(self.device, memory_format=torch.channels_last) for part in torch.split(pixels, AT_ONCE))
        return np.concatenate([self.network(part).double().cpu().numpy() for part in parts])

    def with_head(self, weights: NDArray[np.float64], bias: NDArray[np.float64], ids: tuple[str, ...]) -> Sight:
        """Return the network with a linear head on top, ``"features classes"`` and ``"classes"``, to be looked into."""
        head = nn.Linear(*weights.shape)
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(weights.T))
            head.bias.copy_(torch.from_numpy(bias))
        return Sight(Headed(self.network, head.to(self.device)).eval(), self.preprocessing, ids, self.device)

    @property
    def parameters(self) -> int:
        """Number of parameters, none of them trained."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def save(self, folder: Path) -> None:
        """Write ``network.safetensors`` and ``network.json``."""
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.network.state_dict().items()}
        save_file(tensors, folder / "network.safetensors")
        write_json(folder / "network.json", {"recipe": self.recipe, "preprocessing": as_dict(self.preprocessing)})


def build(lens: Lens, *, seed: int, device: str, online: bool) -> tuple[Frozen, str]:
    """Return the network of `lens` and where its weights came from, in words.

    Without weights the features are those of random weights drawn from `seed`. Raises what `zoo.find_weights` and `zoo.built` raise.
    """
    torch.manual_seed(seed)
    source = zoo.find_weights(lens, online)
    network, recipe = zoo.built(lens, source, 0)
    described = "random" if source is None else source.described
    return Frozen(placed(network, device).eval(), recipe, zoo.preprocessing(lens, source), device), described


def load(folder: Path) -> Frozen:
    """Read what `Frozen.save` wrote; needs no weights from elsewhere."""
    values = read_json(folder / "network.json")
    network = zoo.create(values["recipe"])
    network.load_state_dict(load_file(folder / "network.safetensors"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Frozen(placed(network, device).eval(), values["recipe"], from_dict(values["preprocessing"]), device)


def cost(lens: Lens) -> tuple[float, int, int]:
    """Return seconds a picture, features a picture and bytes of weights, from a timed forward pass on noise."""
    source = zoo.find_weights(lens, online=False) if lens.weights not in ("hub", "none") else None
    recipe, preprocessing = zoo.recipe(lens, source, 0), zoo.preprocessing(lens, source)
    network = zoo.create(recipe)
    require_size(network, preprocessing.size, lens.model)
    frozen = Frozen(placed(network, "cpu").eval(), recipe, preprocessing, "cpu")
    noise = torch.randn(_TIMED, 3, preprocessing.size, preprocessing.size)
    frozen.features(noise[:1])
    start = time.perf_counter()
    features = frozen.features(noise).shape[1]
    return (time.perf_counter() - start) / _TIMED, features, sum(p.numel() * 4 for p in network.state_dict().values())
