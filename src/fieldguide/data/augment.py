"""Augmentation: which views of a picture training sees, and how pictures of a batch are mixed.

A view is a function of (seed, number of the view, position in the training list, the picture): not of the batch, the order, the
threads or the views before it. So an epoch can be replayed and a view can be kept. All that chance decides is drawn here, in numbers
from 0 to 1, before a picture is opened; `fieldguide.data.batches` cuts the crop, resizes and mirrors it, and what comes after
that (`Views.changed`) works on the small view.

The changes are those of torchvision's ``transforms.v2.functional``, on Pillow images. On tensors the same functions took up to six
times as long here, because a view is too small to share out among torch's threads; and Pillow's results cannot depend on those.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from fieldguide.errors import UsageProblem, allowed_names
from fieldguide.records import Pixels

if TYPE_CHECKING:
    from torch import Tensor

Policy = Literal["", "randaugment", "trivialaugment"]


@dataclass(frozen=True)
class Augmentation:
    """What training views may look like. All at zero, with a `min_area` of 1 and no `flip`, a view is what evaluation sees.

    `min_area`: smallest part of the picture that a random crop shows, its shape within `ratio`; at 1 nothing is cropped at random, and
    the geometry is that of evaluation. `flip`: half of the views are mirrored. `rotate`: most degrees, either way; the corners
    turn black. `brightness`, `contrast`: factors from 1 - x to 1 + x. `policy`: RandAugment (arXiv 1909.13719: two changes of
    strength 9 in 30) or TrivialAugment (arXiv 2103.10158: one change of any strength), with torchvision's tables. `erase`: part of
    the views in which a rectangle is painted with the mean colour (arXiv 1708.04896).

    `mixup` (arXiv 1710.09412), `cutmix` (arXiv 1905.04899): alpha of the Beta distribution from which the share of a picture's partner
    in the batch is drawn; with both, each batch is mixed in one of the two ways, equally often.
    """

    min_area: float = 0.5
    ratio: float = 4 / 3
    flip: bool = True
    rotate: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    policy: Policy = ""
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def mixes(self) -> bool:
        """Whether batches are mixed."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def changes(self) -> bool:
        """Whether more happens to a view than that it is cropped and mirrored."""
        return bool(self.policy) or max(self.rotate, self.brightness, self.contrast, self.erase) > 0

    @property
    def still(self) -> bool:
        """Whether every view is what evaluation sees."""
        return self.min_area == 1 and not self.flip and not self.changes


#: Bases that settings name. `mixes` and `turns` are what two published experiments state (animals90, pets_vit); with them goes
#: a `Preprocessing` that squashes. The alphas of `mixes` are ours: its source states none; torchvision's references have these.
NAMED: dict[str, Augmentation] = {
    "crop": Augmentation(),
    "none": Augmentation(min_area=1.0, flip=False),
    "mixes": Augmentation(min_area=1.0, brightness=0.4, contrast=0.4, mixup=0.2, cutmix=1.0),
    "turns": Augmentation(min_area=1.0, rotate=10.0),
    "randaugment": Augmentation(policy="randaugment"),
    "trivialaugment": Augmentation(policy="trivialaugment"),
}


def augmentation(name: str, **overrides: Any) -> Augmentation:
    """Return the base of this name with those fields replaced that are not `None`. Raises `UsageProblem` for an unknown name."""
    if name not in NAMED:
        raise UsageProblem(
            f"There is no augmentation called {name!r}.",
            allowed_names(name, NAMED),
            "Choose one as augment, and change single parts of it beside it: augment=crop,rotate=10.",
        )
    return replace(NAMED[name], **{key: value for key, value in overrides.items() if value is not None})


# What the columns of `Views.beyond` decide. A policy makes up to two changes; each needs a kind, a strength and a direction.
_ANGLE, _BRIGHTNESS, _CONTRAST, _FIRST, _POLICY, _ERASED, _COLUMNS = 0, 1, 2, 3, 4, 10, 15


@dataclass(frozen=True, eq=False)
class Views:
    """One view of every picture of the training list, drawn but not cut. All draws lie in 0..1.

    `boxes` is ``"pictures 5"``: area, log ratio, left and top (of what is possible), and mirrored (0 or 1). `beyond` is ``"pictures 15"``,
    empty where the augmentation only crops and mirrors.
    """

    augmentation: Augmentation
    boxes: NDArray[np.float64]
    beyond: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.boxes)

    def box(self, row: int, height: int, width: int) -> tuple[int, int, int, int] | None:
        """Return top, left, height and width in pixels of the crop of a picture of this size; None: as evaluation sees it."""
        if self.augmentation.min_area >= 1:
            return None
        area, log_ratio, left, top = self.boxes[row, :4].tolist()
        side, stretch = math.sqrt(height * width * area), math.exp(log_ratio / 2)
        wide, tall = min(max(round(side * stretch), 1), width), min(max(round(side / stretch), 1), height)
        return round(top * (height - tall)), round(left * (width - wide)), tall, wide

    def mirrored(self, row: int) -> bool:
        """Return whether left and right are exchanged."""
        return bool(self.boxes[row, 4])

    def changed(self, row: int, view: Pixels, mean: tuple[float, float, float]) -> Pixels:
        """Return the view ``"size size 3"`` after rotation, policy, jitter and erasing, in this order.

        An erased rectangle has the colour `mean` (0..1) to the nearest byte: within rounding the zero that it is after normalising.
        """
        wanted = self.augmentation
        if not wanted.changes:
            return view
        draws = self.beyond[row].tolist()
        if wanted.rotate or wanted.policy or wanted.brightness or wanted.contrast:
            view = np.asarray(_coloured(_turned(Pillow.fromarray(view), draws, wanted), draws, wanted))
        if draws[_ERASED] < wanted.erase:
            y, x, tall, wide = _hole(len(view), *draws[_ERASED + 1 :])
            view = view.copy()
            view[y : y + tall, x : x + wide] = [round(255 * part) for part in mean]
        return view


def draw_views(pictures: int, augmentation: Augmentation, seed: int, view: int) -> Views:
    """Return view number `view` of each of so many pictures, a function of the arguments alone.

    What one part of the augmentation draws does not depend on the others: with `rotate` added, a picture is cropped as before.
    """
    boxes = np.random.default_rng([seed, view]).random((pictures, 5))
    boxes[:, 0] = augmentation.min_area + boxes[:, 0] * (1 - augmentation.min_area)
    boxes[:, 1] = (2 * boxes[:, 1] - 1) * np.log(augmentation.ratio)
    boxes[:, 4] = (boxes[:, 4] < 0.5) & augmentation.flip
    beyond = np.random.default_rng([seed, view, 2]).random((pictures if augmentation.changes else 0, _COLUMNS))
    return Views(augmentation, boxes, beyond)


def _turned(image: Pillow.Image, draws: list[float], wanted: Augmentation) -> Pillow.Image:
    """Rotate, and do what the policy drew."""
    from torchvision.transforms import v2

    if wanted.rotate:
        image = v2.functional.rotate(image, (2 * draws[_ANGLE] - 1) * wanted.rotate, v2.InterpolationMode.BILINEAR)
    for change, magnitude in drawn_changes(wanted.policy, draws[_POLICY:_ERASED], image.width):
        image = change_image(image, change, magnitude)
    return image


def _coloured(image: Pillow.Image, draws: list[float], wanted: Augmentation) -> Pillow.Image:
    """Jitter brightness and contrast, in either order, as torchvision's ``ColorJitter`` does."""
    from torchvision.transforms.v2 import functional

    jitters = [
        (functional.adjust_brightness, wanted.brightness, draws[_BRIGHTNESS]),
        (functional.adjust_contrast, wanted.contrast, draws[_CONTRAST]),
    ]
    for adjust, most, draw in jitters if draws[_FIRST] < 0.5 else reversed(jitters):
        if most:
            least = max(0.0, 1 - most)
            image = adjust(image, least + draw * (1 + most - least))
    return image


def _hole(side: int, area: float, log_ratio: float, top: float, left: float) -> tuple[int, int, int, int]:
    """Return top, left, height and width of what is erased: 2 to 33 % of the view, 0.3 to 3.3 times as high as wide.

    Ranges as in torchvision's ``RandomErasing``. The few rectangles that would be longer than the view, which it draws again, are cut to fit.
    """
    pixels = (0.02 + area * 0.31) * side**2
    stretch = math.exp(math.log(0.3) + log_ratio * math.log(11))
    tall, wide = (min(max(round(math.sqrt(part)), 1), side) for part in (pixels * stretch, pixels / stretch))
    return int(top * (side - tall + 1)), int(left * (side - wide + 1)), tall, wide


@dataclass(frozen=True)
class _Strengths:
    """How many changes a policy makes, and the strongest of each kind; `bits` are those that posterising takes away."""

    changes: int
    bin: int | None
    shear: float
    rotate: float
    colour: float
    bits: int


#: Strengths are one of so many steps; a policy without a `bin` draws it.
_BINS = 31
_POLICIES = {
    "randaugment": _Strengths(2, 9, 0.3, 30.0, 0.9, 4),
    "trivialaugment": _Strengths(1, None, 0.99, 135.0, 0.99, 6),
}
CHANGES = (
    *("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness"),
    *("Color", "Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"),
)
_ONE_WAY = {"Identity", "Posterize", "Solarize", "AutoContrast", "Equalize"}


@cache
def magnitudes(policy: str, change: str, side: int) -> tuple[float, ...]:
    """Return what each of the 31 steps of a change means in a view of `side` pixels, as torchvision's class for the policy has it."""
    import torch

    most = _POLICIES[policy]
    if change == "Posterize":
        return tuple((8 - torch.arange(_BINS) / ((_BINS - 1) / most.bits)).round().tolist())
    if change == "Solarize":
        return tuple(torch.linspace(1.0, 0.0, _BINS).tolist())
    if change in ("Identity", "AutoContrast", "Equalize"):
        return (0.0,) * _BINS
    far = 150.0 / 331.0 * side if policy == "randaugment" else 32.0
    own = {"ShearX": most.shear, "ShearY": most.shear, "TranslateX": far, "TranslateY": far, "Rotate": most.rotate}
    return tuple(torch.linspace(0.0, own.get(change, most.colour), _BINS).tolist())


def drawn_changes(policy: Policy, draws: list[float], side: int) -> Iterator[tuple[str, float]]:
    """Yield the changes that `draws` (three a change, in 0..1) choose, with their signed magnitudes; none without a policy."""
    if not policy:
        return
    most = _POLICIES[policy]
    for kind, strength, direction in np.reshape(draws, (-1, 3))[: most.changes].tolist():
        change = CHANGES[int(kind * len(CHANGES))]
        bin = int(strength * _BINS) if most.bin is None else most.bin
        sign = -1 if direction < 0.5 and change not in _ONE_WAY else 1
        yield change, sign * magnitudes(policy, change, side)[bin]


def change_image(image: Pillow.Image, change: str, magnitude: float) -> Pillow.Image:
    """Return the image after one change of a policy; what moves out of it leaves black, to the nearest pixel, as by torchvision's default."""
    from torchvision.transforms.v2 import functional as tv

    slant = math.degrees(math.atan(magnitude))
    same = {"angle": 0.0, "scale": 1.0}
    made: dict[str, Any] = {
        "Identity": lambda: image,
        "ShearX": lambda: tv.affine(image, translate=[0, 0], shear=[slant, 0.0], center=[0, 0], **same),
        "ShearY": lambda: tv.affine(image, translate=[0, 0], shear=[0.0, slant], center=[0, 0], **same),
        "TranslateX": lambda: tv.affine(image, translate=[int(magnitude), 0], shear=[0.0, 0.0], **same),
        "TranslateY": lambda: tv.affine(image, translate=[0, int(magnitude)], shear=[0.0, 0.0], **same),
        "Rotate": lambda: tv.rotate(image, magnitude),
        "Brightness": lambda: tv.adjust_brightness(image, 1 + magnitude),
        "Color": lambda: tv.adjust_saturation(image, 1 + magnitude),
        "Contrast": lambda: tv.adjust_contrast(image, 1 + magnitude),
        "Sharpness": lambda: tv.adjust_sharpness(image, 1 + magnitude),
        "Posterize": lambda: tv.posterize(image, int(magnitude)),
        "Solarize": lambda: tv.solarize(image, 255.0 * magnitude),
        "AutoContrast": lambda: tv.autocontrast(image),
        "Equalize": lambda: tv.equalize(image),
    }
    found: Pillow.Image = made[change]()
    return found


def mixed(
    pixels: Tensor, targets: Tensor, augmentation: Augmentation, seed: int, epoch: int, step: int
) -> tuple[Tensor, Tensor]:
    """Return a batch ``"pictures 3 size size"`` and its targets ``"pictures classes"`` (shares, float32), each mixed with its neighbour.

    Which way and how much are functions of (seed, epoch, step) alone, the same for the whole batch; neither argument is changed. As
    torchvision's ``MixUp`` and ``CutMix`` do it, whose draws come from torch's one generator.
    """
    if not augmentation.mixes:
        return pixels, targets
    random = np.random.default_rng([seed, epoch, step, 3])
    both = augmentation.mixup > 0 and augmentation.cutmix > 0
    up = random.random() < 0.5 if both else augmentation.mixup > 0
    alpha = augmentation.mixup if up else augmentation.cutmix
    kept = float(random.beta(alpha, alpha))
    others = pixels.roll(1, 0)
    if up:
        others = others.mul_(1 - kept).add_(pixels * kept)
    else:
        y, x, tall, wide = _patch(pixels.shape[2], pixels.shape[3], kept, *random.random(2))
        whole = pixels.clone()
        whole[:, :, y : y + tall, x : x + wide] = others[:, :, y : y + tall, x : x + wide]
        others, kept = whole, 1 - tall * wide / (pixels.shape[2] * pixels.shape[3])
    return others, targets.roll(1, 0).mul_(1 - kept).add_(targets * kept)


def _patch(height: int, width: int, kept: float, at_y: float, at_x: float) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the patch that CutMix pastes: 1 - `kept` of the area around a point, cut at the edges."""
    half = 0.5 * math.sqrt(1 - kept)
    y, x, tall, wide = int(at_y * height), int(at_x * width), int(half * height), int(half * width)
    top, left = max(y - tall, 0), max(x - wide, 0)
    return top, left, min(y + tall, height) - top, min(x + wide, width) - left
