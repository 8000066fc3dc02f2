"""VMamba: a picture network that reads its feature maps along four walks with a selective state-space scan instead of attention.

Paper: Liu et al., VMamba: Visual State Space Model, arXiv 2401.10166. Origin: github.com/MzeroMiko/VMamba (MIT), whose published
checkpoints load strictly (`from_checkpoint`). This is a new writing of version 2 (state of one number, no gate, patch embedding v2,
downsampling v3) in plain PyTorch: nothing to build, on CPUs, Apple's and NVIDIA's GPUs alike.

Top-1 accuracy on ImageNet-1k as published, at 224 pixels (bicubic, crop 0.875, ImageNet mean and std), and parameters:

    tiny        82.6   30,249,064    2 2 8 2,  96 channels, ratio 1     vssm1_tiny_0230s_ckpt_epoch_264.pth
    tiny_s2l5   82.5   30,705,832    2 2 5 2,  96 channels, ratio 2     vssm_tiny_0230_ckpt_epoch_262.pth
    small       83.6   50,147,752    2 2 15 2, 96 channels, ratio 2     vssm_small_0229_ckpt_epoch_222.pth
    small_s1l20 83.3   49,012,840    2 2 20 2, 96 channels, ratio 1     vssm1_small_0229s_ckpt_epoch_240.pth
    base        83.9   88,557,800    2 2 15 2, 128 channels, ratio 2    vssm_base_0229_ckpt_epoch_237.pth
    base_s1l20  83.8   86,614,504    2 2 20 2, 128 channels, ratio 1    vssm1_base_0229s_ckpt_epoch_225.pth

Inside, maps are ``"batch height width channels"``, so that 1x1 convolutions are linear layers and norms are layer norms. Names of
parameters are the official ones.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from einops.layers.torch import Reduce
from torch import Tensor, nn
from torch.nn import functional as F

from fieldguide.craft.scan import WALKS, Grid, Way, cross_scan
from fieldguide.craft.zoo.weights import read_state
from fieldguide.errors import DataProblem, plain

HEAD = "classifier.head"


@dataclass(frozen=True)
class Shape:
    """All that fixes the shapes of a VMamba: blocks of each stage, channels of the first, and how much wider the scan is than the map."""

    depths: tuple[int, ...] = (2, 2, 8, 2)
    dim: int = 96
    ratio: float = 1.0
    classes: int = 1000
    mlp_ratio: float = 4.0


#: The published sizes, and the drop path they were trained with on ImageNet.
SIZES = {
    "tiny": (Shape((2, 2, 8, 2), 96, 1.0), 0.2),
    "tiny_s2l5": (Shape((2, 2, 5, 2), 96, 2.0), 0.2),
    "small": (Shape((2, 2, 15, 2), 96, 2.0), 0.3),
    "small_s1l20": (Shape((2, 2, 20, 2), 96, 1.0), 0.3),
    "base": (Shape((2, 2, 15, 2), 128, 2.0), 0.6),
    "base_s1l20": (Shape((2, 2, 20, 2), 128, 1.0), 0.5),
}


#: How published networks want their pictures; the names are timm's.
CONFIGURATION: dict[str, Any] = {
    "input_size": (3, 224, 224),
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "classifier": HEAD,
}


class Convolution(nn.Conv2d):
    """A convolution of ``"batch height width channels"``."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``"batch height width channels"``."""
        return rearrange(super().forward(rearrange(x, "b h w c -> b c h w")), "b c h w -> b h w c")


class DropPath(nn.Module):
    """Leave out a branch for some pictures while training, and make up for it in the others (stochastic depth, arXiv 1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with whole pictures set to zero."""
        if not self.training or self.rate == 0:
            return x
        stays = x.new_empty(len(x), *[1] * (x.ndim - 1)).bernoulli_(1 - self.rate)
        return x * stays.div_(1 - self.rate)


class SS2D(nn.Module):
    """What stands in the place of attention: a local convolution, then the four walks over the map."""

    def __init__(self, dim: int, ratio: float) -> None:
        super().__init__()
        inner, rank = int(dim * ratio), math.ceil(dim / 16)
        self.in_proj = nn.Linear(dim, inner, bias=False)
        self.conv2d = Convolution(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.x_proj_weight = nn.Parameter(torch.empty(WALKS, rank + 2, inner))
        self.dt_projs_weight = nn.Parameter(torch.empty(WALKS, inner, rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(WALKS, inner))
        self.A_logs = nn.Parameter(torch.zeros(WALKS * inner, 1))
        self.Ds = nn.Parameter(torch.ones(WALKS * inner))
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, dim, bias=False)
        self.way: Way = "auto"
        self._begin(rank)

    @torch.no_grad()
    def _begin(self, rank: int) -> None:
        """Start with steps between 0.001 and 0.1, spread evenly over their logarithm, as Mamba does."""
        nn.init.uniform_(self.x_proj_weight, -(self.x_proj_weight.shape[-1] ** -0.5), self.x_proj_weight.shape[-1] ** -0.5)
        nn.init.uniform_(self.dt_projs_weight, -(rank**-0.5), rank**-0.5)
        steps = torch.empty_like(self.dt_projs_bias).uniform_(math.log(1e-3), math.log(1e-1)).exp_()
        self.dt_projs_bias.copy_(steps + torch.log(-torch.expm1(-steps)))  # the inverse of softplus

    def forward(self, x: Tensor) -> Tensor:
        """Return ``"batch height width channels"``."""
        x = F.silu(self.conv2d(self.in_proj(x)))
        height, width = x.shape[1:3]
        u = rearrange(x, "b h w d -> (h w) b d").contiguous()
        told = torch.einsum("l b d, k r d -> k l b r", u, self.x_proj_weight)
        rate = -rearrange(self.A_logs.float(), "(k d) 1 -> k d", k=WALKS).exp()
        y = cross_scan(u, told, self.dt_projs_weight, self.dt_projs_bias, rate, Grid(height, width, self.way))
        # Each walk adds D * u at every pixel; the sum of the walks needs the sum of their D alone.
        y = y + u * rearrange(self.Ds.float(), "(k d) -> k d", k=WALKS).sum(0)
        y = self.out_norm(rearrange(y, "(h w) b d -> b h w d", h=height))
        out: Tensor = self.out_proj(y)
        return out


class Block(nn.Module):
    """A scan and a two-layer perceptron, each on the normed map and added to it."""

    def __init__(self, dim: int, shape: Shape, drop_path: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.op = SS2D(dim, shape.ratio)
        self.norm2 = nn.LayerNorm(dim)
        hidden = int(dim * shape.mlp_ratio)
        self.mlp = nn.Sequential(OrderedDict(fc1=nn.Linear(dim, hidden), act=nn.GELU(), fc2=nn.Linear(hidden, dim)))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``"batch height width channels"``."""
        x = x + self.drop_path(self.op(self.norm(x)))
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x


def _embedding(dim: int) -> nn.Sequential:
    """Return patch embedding v2, four pixels a patch. The empty places keep the official numbering."""
    half = dim // 2
    return nn.Sequential(
        Convolution(3, half, 3, stride=2, padding=1),
        nn.Identity(),
        nn.LayerNorm(half),
        nn.Identity(),
        nn.GELU(),
        Convolution(half, dim, 3, stride=2, padding=1),
        nn.Identity(),
        nn.LayerNorm(dim),
    )


def _stage(number: int, shape: Shape, rates: Iterable[float]) -> nn.Sequential:
    """Return the blocks of a stage and, but for the last, downsampling v3 behind them."""
    dim = shape.dim * 2**number
    parts: OrderedDict[str, nn.Module] = OrderedDict(blocks=nn.Sequential(*(Block(dim, shape, rate) for rate in rates)))
    if number + 1 < len(shape.depths):
        halved = Convolution(dim, 2 * dim, 3, stride=2, padding=1)
        parts["downsample"] = nn.Sequential(nn.Identity(), halved, nn.Identity(), nn.LayerNorm(2 * dim))
    return nn.Sequential(parts)


class VMamba(nn.Module):
    """The network: ``"batch 3 height width"`` to logits ``"batch classes"``; any height and width. Drop path grows with depth."""

    def __init__(self, shape: Shape, drop_path: float = 0.0, way: Way = "auto") -> None:
        super().__init__()
        self.shape, self.pretrained_cfg = shape, dict(CONFIGURATION, num_classes=shape.classes)
        self.patch_embed = _embedding(shape.dim)
        deep = sum(shape.depths)
        rates = iter([drop_path * at / max(1, deep - 1) for at in range(deep)])
        self.layers = nn.ModuleList(
            _stage(number, shape, [next(rates) for _ in range(depth)]) for number, depth in enumerate(shape.depths)
        )
        last = shape.dim * 2 ** (len(shape.depths) - 1)
        self.classifier = nn.Sequential(
            OrderedDict(norm=nn.LayerNorm(last), pool=Reduce("b h w c -> b c", "mean"), head=nn.Linear(last, shape.classes))
        )
        self.apply(_begun)
        self.walk(way)

    def walk(self, way: Way) -> VMamba:
        """Choose how the scans walk (see `fieldguide.craft.scan`), and return the network."""
        for module in self.modules():
            if isinstance(module, SS2D):
                module.way = way
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``"batch classes"``."""
        x = self.patch_embed(rearrange(x, "b c h w -> b h w c"))
        for stage in self.layers:
            x = stage(x)
        logits: Tensor = self.classifier(x)
        return logits

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters without weight decay, as networks of timm do: A, D, norms and biases, whatever their shape."""
        return {name for name, p in self.named_parameters() if p.ndim < 2 or name.endswith(("A_logs", "dt_projs_bias"))}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return how timm counts layers: the stem, then every block; downsampling belongs to the block before it."""
        with_the_block_before = (99999,)
        return {
            "stem": r"^patch_embed",
            "blocks": [
                (r"^layers\.(\d+)\.blocks\.(\d+)", None),
                (r"^layers\.(\d+)\.downsample", with_the_block_before),
            ],
        }


def _begun(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def from_checkpoint(path: str | Path, num_classes: int | None = None) -> VMamba:
    """Return the network of an official ``.pth`` or a ``.safetensors`` file, in evaluation mode, its shape read off the tensors.

    Every tensor must be there, in its shape, and no other: else a `DataProblem` names it. Only the head may differ: for
    `num_classes` other than the file's it is put on anew, all zeros, so that training starts at the loss of guessing.
    Raises what `fieldguide.craft.zoo.weights.read_state` raises for a file that cannot be read.
    """
    return from_state(read_state(Path(path)), Path(path).name, num_classes)


def from_state(state: Mapping[str, Tensor], name: str, num_classes: int | None = None, drop_path: float = 0.0) -> VMamba:
    """Return the network of the tensors of a file called `name`, as `from_checkpoint` does."""
    shape = fitting(state, name)
    classes = num_classes or shape.classes
    network = VMamba(replace(shape, classes=classes), drop_path)
    given = {key: _flat(tensor, network.state_dict()[key]) for key, tensor in state.items()}
    if classes != shape.classes:
        given |= {
            f"{HEAD}.weight": torch.zeros(classes, given[f"{HEAD}.weight"].shape[1]),
            f"{HEAD}.bias": torch.zeros(classes),
        }
    network.load_state_dict({key: tensor.float() for key, tensor in given.items()}, strict=True)
    return network.eval()


def fitting(state: Mapping[str, Tensor], name: str) -> Shape:
    """Return the shape of the network that these tensors, and no others, make up; raises `DataProblem` that names what does not fit."""
    shape = _shape_of(state, name)
    try:
        if min(shape.dim, shape.dim * shape.ratio, shape.classes) < 1:
            raise ValueError
        with torch.device("meta"):  # names and shapes alone: nothing is made before all of them fit
            wanted = VMamba(shape).state_dict()
    except (RuntimeError, ValueError, OverflowError, ZeroDivisionError) as error:
        raise _unfit(name, [f"nothing can be built with {plain(shape)}"]) from error
    given = {key: _flat(tensor, wanted.get(key)) for key, tensor in state.items()}
    wrong = [f"{key} is missing" for key in wanted if key not in given]
    wrong += [f"{key} is not part of the network" for key in given if key not in wanted]
    wrong += [
        f"{key} has shape {tuple(given[key].shape)}, not {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in given and given[key].shape != tensor.shape
    ]
    if wrong:
        raise _unfit(name, wrong)
    return shape


def _shape_of(state: Mapping[str, Tensor], name: str) -> Shape:
    """Read depths, channels, ratio and classes off the tensors."""
    blocks = {match.groups() for key in state if (match := re.match(r"layers\.(\d+)\.blocks\.(\d+)\.", key))}
    stages = {stage for stage, _ in blocks}
    keys = ("patch_embed.5.weight", "layers.0.blocks.0.op.in_proj.weight", "layers.0.blocks.0.mlp.fc1.weight", f"{HEAD}.weight")
    absent = [key for key in keys if key not in state or state[key].ndim < 2]
    if absent:
        raise _unfit(name, [f"{key} is missing" for key in absent])
    embedding, inward, hidden, head = (state[key].shape for key in keys)
    dim = int(embedding[0])
    return Shape(
        depths=tuple(sum(stage == str(number) for stage, _ in blocks) for number in range(len(stages))),
        dim=dim,
        ratio=inward[0] / max(1, inward[1]),
        classes=int(head[0]),
        mlp_ratio=hidden[0] / max(1, dim),
    )


def _flat(tensor: Tensor, wanted: Tensor | None) -> Tensor:
    """Return a 1x1 convolution's weights as those of the linear layer it is."""
    linear = wanted is not None and wanted.ndim == 2 and tensor.ndim == 4 and tensor.shape[2:] == (1, 1)
    return tensor.flatten(1) if linear else tensor


def _unfit(name: str, wrong: list[str]) -> DataProblem:
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return DataProblem(
        f"{plain(name)} is no VMamba that is known here: {plain(wrong[0])}{more}.",
        "Allowed: version 2 of VMamba (state of one number, no gate, patch embedding v2, downsampling v3), whole.",
        "Take one of the files named in the table of fieldguide.craft.vmamba_net, or one that this network wrote.",
    )
