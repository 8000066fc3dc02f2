"""The two translators that are networks: an MLP on pooled lines, and a Q-Former on their tokens.

The Q-Former is that of BLIP-2 (Li, Li, Savarese, Hoi 2023, arXiv 2301.12597) as transformers has it (Apache-2.0), turned round: its
queries attend to the tokens of a line, and their mean becomes the features of a picture. It owns no queries, so they are ours; they
are drawn, because queries that begin equal stay equal. Two layers of 256 and four queries are enough for one line (2.4 M parameters; 8.4 M at 512).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fieldguide.craft.translators import Rows, Said

#: Lines that are translated at a time.
_AT_ONCE = 256
#: Spread of the queries before training; BLIP-2's zeros never part where nothing is dropped out.
_SPREAD = 0.02


@dataclass(frozen=True)
class Shape:
    """Sizes of a network: `width` of a line or of its tokens, `features` of a picture, and what is between; `heads` are of attention."""

    width: int
    features: int
    hidden: int = 512
    layers: int = 2
    heads: int = 8
    queries: int = 4


class Standard(nn.Module):
    """Centres and scales of both sides, learned from pairs and not trained: networks see and give numbers of about one."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        for name, size in (("line", shape.width), ("picture", shape.features)):
            self.register_buffer(f"{name}_centre", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(()))

    def set(self, name: str, rows: Tensor) -> None:
        """Learn centre and scale of ``"rows size"``; one scale for all directions, so that directions keep their weight."""
        centre = rows.mean(dim=0)
        self.get_buffer(f"{name}_centre").copy_(centre)
        self.get_buffer(f"{name}_scale").copy_((rows - centre).square().mean().sqrt().clamp_min(1e-6))

    def of_lines(self, lines: Tensor) -> Tensor:
        """Return lines of about one."""
        return (lines - self.get_buffer("line_centre")) / self.get_buffer("line_scale")

    def to_pictures(self, rows: Tensor) -> Tensor:
        """Return rows of about one as features of pictures."""
        return self.get_buffer("picture_centre") + self.get_buffer("picture_scale") * rows


class Mlp(nn.Module):
    """A linear map and two layers beside it that begin by adding nothing."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.standard = Standard(shape)
        self.straight = nn.Linear(shape.width, shape.features)
        self.bent = nn.Sequential(
            nn.Linear(shape.width, shape.hidden), nn.GELU(), nn.Dropout(0.1), nn.Linear(shape.hidden, shape.features)
        )
        with torch.no_grad():
            for parameter in self.bent[-1].parameters():
                parameter.zero_()

    def begin_at(self, weights: NDArray[np.float64]) -> None:
        """Begin at a linear map of centred lines to centred pictures, ``"width features"``."""
        ratio = self.standard.get_buffer("line_scale") / self.standard.get_buffer("picture_scale")
        with torch.no_grad():
            self.straight.weight.copy_(torch.from_numpy(weights.T).float() * ratio)
            self.straight.bias.zero_()

    def forward(self, lines: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return ``"lines features"`` of pooled ``"lines width"``."""
        rows = self.standard.of_lines(lines)
        made: Tensor = self.standard.to_pictures(self.straight(rows) + self.bent(rows))
        return made


class QFormer(nn.Module):
    """Queries that attend to the tokens of a line and to each other, their mean, and a linear map to the width of pictures."""

    def __init__(self, shape: Shape) -> None:
        from transformers import Blip2QFormerConfig, Blip2QFormerModel

        super().__init__()
        config = Blip2QFormerConfig(
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=4 * shape.hidden,
            cross_attention_frequency=1,
            encoder_hidden_size=shape.width,
        )
        self.standard = Standard(shape)
        self.queries = nn.Parameter(torch.randn(1, shape.queries, shape.hidden) * _SPREAD)
        self.former = Blip2QFormerModel(config)
        self.out = nn.Linear(shape.hidden, shape.features)

    def states(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return what each query found, ``"lines queries hidden"``, in ``"lines tokens width"`` where `mask` is true."""
        queries = self.queries.expand(len(tokens), -1, -1)
        rows = self.standard.of_lines(tokens)
        found: Tensor = self.former(
            query_embeds=queries, encoder_hidden_states=rows, encoder_attention_mask=mask.long()
        ).last_hidden_state
        return found

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return ``"lines features"``."""
        made: Tensor = self.standard.to_pictures(self.out(self.states(tokens, mask).mean(dim=1)))
        return made


@dataclass(frozen=True)
class Network:
    """A trained network as a translator; `recipe` rebuilds the empty one."""

    name: str
    network: nn.Module
    recipe: dict[str, Any]
    device: str = "cpu"
    told: dict[str, Any] = field(default_factory=dict)

    @torch.inference_mode()
    def __call__(self, lines: Said) -> Rows:
        """Return ``"lines features"`` float32; a line's answer does not depend on how far its neighbours are padded."""
        found = [np.zeros((0, self.recipe["shape"]["features"]), np.float32)]
        for start in range(0, len(lines.pooled), _AT_ONCE):
            places = np.arange(start, min(start + _AT_ONCE, len(lines.pooled)))
            found.append(self.network(*given(self.name, lines.take(places), self.device)).cpu().numpy())
        return np.concatenate(found)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all its numbers by name."""
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.network.state_dict().items()}


def given(name: str, lines: Said, device: str) -> tuple[Tensor, ...]:
    """Return what the network `name` takes of `lines`: pooled rows, or tokens and their mask without columns of padding."""
    if name == "mlp":
        return (torch.from_numpy(np.asarray(lines.pooled, np.float32)).to(device),)
    mask = np.asarray(lines.mask, bool)
    # An empty line has no token at all; it is read as if its first place were one.
    mask = np.concatenate([mask[:, :1] | ~mask.any(axis=1, keepdims=True), mask[:, 1:]], axis=1)
    longest = int(np.flatnonzero(mask.any(axis=0)).max(initial=0)) + 1
    tokens = np.asarray(lines.tokens[:, :longest], np.float32)
    return torch.from_numpy(tokens).to(device), torch.from_numpy(mask[:, :longest]).to(device)


def built(name: str, shape: Shape) -> Mlp | QFormer:
    """Return the network `name`, its weights drawn from torch's own state."""
    return Mlp(shape) if name == "mlp" else QFormer(shape)


def rebuilt(
    name: str, recipe: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], told: dict[str, Any], device: str
) -> Network:
    """Return what `Network.arrays` and its recipe came from."""
    with torch.random.fork_rng(devices=[]):
        network = built(name, Shape(**recipe["shape"]))
    network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in arrays.items()})
    return Network(name, network.to(device).eval(), dict(recipe), device, told)


def recipe_of(shape: Shape) -> dict[str, Any]:
    """Return the plain values from which `built` builds."""
    return {"shape": asdict(shape)}
