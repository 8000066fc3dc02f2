"""How the two networks are trained: one loss, one loop of some hundred steps, kept when it is done.

The loss has three parts. InfoNCE (arXiv 1807.03748): of all pictures in the batch a line should find its own, and the other way
round. One minus the cosine: it should point there. And moments: mean and covariance of what is made should be those of pictures, for
the mean of all pictures that a line allows is none of them. All around the mean picture. Sizes, steps and rates are ours.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from fieldguide.bench import Bar
from fieldguide.craft.translators import Pairs, Said, Translator, Work
from fieldguide.craft.translators.choosing import agreement, halves, units
from fieldguide.craft.translators.keeping import key_of, load, save
from fieldguide.craft.translators.networks import Mlp, Network, Shape, Standard, built, given, recipe_of

#: Times during a training that pairs which were held out are looked at; the best moment is kept.
_LOOKS = 10
#: Pairs from which centres and scales are learned.
_MEASURED = 4096


@dataclass(frozen=True)
class How:
    """Steps of AdamW, pairs a step, rate (a tenth of the steps up, then a cosine down), decay, and the width of the hidden layer."""

    steps: int = 400
    batch_size: int = 128
    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    hidden: int = 512
    temperature: float = 0.07
    """Difference of a cosine that counts as one in InfoNCE."""
    moments: float = 1.0
    """Weight of the moments beside the other two parts."""


#: What begins as a linear map bears a higher rate than attention that begins from nothing.
HOW = {"mlp": How(batch_size=256, learning_rate=2e-3), "qformer": How(steps=300, hidden=256)}


def trained(name: str, pairs: Pairs, seed: int, val: Pairs | None, work: Work, how: How | None = None) -> Translator:
    """Train the network `name` on `pairs`, or read it where `work` keeps one that was trained on the same with the same seed."""
    how = how or HOW[name]
    told = {"seed": seed, "torch": torch.__version__, "device": work.device.split(":")[0], **asdict(how)}
    place = None if work.folder is None else work.folder / key_of(name, pairs, val, told)
    if place is not None and place.exists():
        return load(place, work.device)
    with torch.random.fork_rng(), work.progress.bar(f"teach {name}", how.steps) as bar:
        torch.manual_seed(seed)
        made = _trained(name, pairs, (seed, how), halves(pairs, seed, val), (work.device, bar))
    if place is not None:
        save(made, place)
    return made


def loss_of(made: Tensor, seen: Tensor, standard: Standard, same: Tensor, how: How) -> Tensor:
    """Return the loss of lines `made` into pictures and the pictures `seen`, both ``"batch features"``.

    `same` ``"batch batch"`` is true where two pairs have the same picture: another line of it is no wrong answer.
    """
    centre, scale = standard.get_buffer("picture_centre"), standard.get_buffer("picture_scale")
    a, b = (made - centre) / scale, (seen - centre) / scale
    alike = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T
    own = torch.arange(len(a), device=a.device)
    logits = (alike / how.temperature).masked_fill(same & ~torch.eye(len(a), dtype=torch.bool, device=a.device), -1e4)
    found = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2 + (1 - alike.diagonal()).mean()
    return found + how.moments * moments(a, b)


def moments(a: Tensor, b: Tensor) -> Tensor:
    """Return how far mean and covariance of ``"batch features"`` are apart, in units of those of `b`; 0 for fewer than four rows."""
    if len(a) < 4:
        return a.sum() * 0
    (mean_a, cov_a), (mean_b, cov_b) = ((rows.mean(dim=0), rows.T.cov()) for rows in (a, b))
    spread = cov_b.diagonal().sum().clamp_min(1e-6)
    return (mean_a - mean_b).square().sum() / spread + (cov_a - cov_b).square().sum() / cov_b.square().sum().clamp_min(1e-6)


def _trained(
    name: str, pairs: Pairs, what: tuple[int, How], parts: tuple[Pairs, Pairs] | None, where: tuple[str, Bar]
) -> Network:
    """Train for some steps and return the moment at which pairs that were held out agreed best; without any, the last."""
    (seed, how), (device, bar) = what, where
    learning, choosing = parts or (pairs, None)
    network = _begun(name, learning, seed, how).to(device)
    recipe = recipe_of(_shape(name, pairs, how))
    translator = Network(name, network, recipe, device)
    same_as = units(Pairs(learning.lines, learning.pictures, np.full(len(learning), -1)))
    optimiser = torch.optim.AdamW(network.parameters(), how.learning_rate, weight_decay=how.weight_decay)
    centre = learning.pictures.mean(axis=0)
    best: tuple[float, int, dict[str, Tensor]] | None = None
    for step in range(how.steps + 1):
        if choosing is not None and (step % max(1, how.steps // _LOOKS) == 0 or step == how.steps):
            network.eval()
            score = agreement(translator(choosing.lines), choosing.pictures, centre)
            if best is None or score > best[0]:
                best = (score, step, {key: value.detach().clone() for key, value in network.state_dict().items()})
        if step < how.steps:
            places = np.random.default_rng((seed, 104, step)).permutation(len(learning))[: how.batch_size]
            _step(network.train(), optimiser, (name, learning.take(places), same_as[places], device), how, step)
            bar.advance()
    told: dict[str, Any] = {"pairs": len(pairs), "steps": how.steps, "parameters": sum(p.numel() for p in network.parameters())}
    if best is not None and choosing is not None:
        network.load_state_dict(best[2])
        told |= {"step": best[1], "held_out": len(choosing), "cosine": best[0]}
    return Network(name, network.eval(), recipe, device, told)


def _step(
    network: nn.Module, optimiser: torch.optim.Optimizer, batch: tuple[str, Pairs, NDArray[np.int64], str], how: How, step: int
) -> None:
    name, pairs, same_as, device = batch
    warm = max(1, how.steps // 10)
    rate = (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, how.steps - warm)))
    for group in optimiser.param_groups:
        group["lr"] = how.learning_rate * rate
    seen = torch.from_numpy(np.asarray(pairs.pictures, np.float32)).to(device)
    same = torch.from_numpy(same_as[:, None] == same_as[None]).to(device)
    standard = network.get_submodule("standard")
    assert isinstance(standard, Standard)
    loss = loss_of(network(*given(name, pairs.lines, device)), seen, standard, same, how)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()


def _shape(name: str, pairs: Pairs, how: How) -> Shape:
    width = pairs.lines.pooled.shape[1] if name == "mlp" else pairs.lines.tokens.shape[2]
    return Shape(width, pairs.pictures.shape[1], how.hidden, heads=max(1, how.hidden // 64))


def _begun(name: str, pairs: Pairs, seed: int, how: How) -> nn.Module:
    """Return the network before training: centres and scales are set, and the MLP begins as ridge regression."""
    network = built(name, _shape(name, pairs, how))
    some = pairs.take(np.sort(np.random.default_rng((seed, 105)).permutation(len(pairs))[:_MEASURED]))
    network.standard.set("picture", torch.from_numpy(np.asarray(some.pictures, np.float32)))
    network.standard.set("line", _measured(name, some.lines))
    if isinstance(network, Mlp):
        from fieldguide.craft.translators.closed import ridge

        weights = ridge(pairs, seed).weights
        assert weights is not None
        network.begin_at(weights)
    return network


def _measured(name: str, lines: Said) -> Tensor:
    rows = given(name, lines, "cpu")
    return rows[0] if name == "mlp" else rows[0][rows[1]]
