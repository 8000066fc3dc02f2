"""What `benchmarks/distil.py` learns from: the pictures of the train parts, and random views of them with what teachers say of each."""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from einops import rearrange
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

import fieldguide
from fieldguide.data import images

SEED = 42
#: Sides, in pixels, of decoded pictures (the shorter one), of what a teacher sees, of a stored view, and of what a student sees.
DECODED, SEEN, STORED, SIZE = 256, 160, 128, 96
#: Principal components that are kept of each teacher's last map, and channels of the first teacher's map half way.
KEPT, EARLY = 256, 32 + 96
#: Least part of a picture that a view shows.
LEAST = 0.45


@dataclass(frozen=True)
class Part:
    """Pictures of one part of a study: files and class numbers."""

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]


def parts(folder: Path) -> dict[str, Part]:
    """Return train, val and test of a folder of class folders, as a study with the default split freezes them."""
    manifest = fieldguide.look(folder, split="70/15/15", seed=SEED).manifest
    number = {name: at for at, name in enumerate(manifest.classes)}
    found = {}
    for split in ("train", "val", "test"):
        rows = manifest.part(split)
        found[split] = Part(tuple(folder / row.path for row in rows), np.array([number[row.label] for row in rows]))
    return found


def decoded(path: Path) -> Tensor:
    """Return uint8 ``"3 height width"``."""
    return rearrange(torch.from_numpy(images.load(path.read_bytes(), DECODED).pixels), "height width rgb -> rgb height width")


def resized(picture: Tensor, tall: int, wide: int) -> Tensor:
    return F.interpolate(picture[None], (tall, wide), mode="bilinear", antialias=True)[0]


def normal(pixels: Tensor) -> Tensor:
    """Return float32 from -1 to 1 of bytes, channels last in memory."""
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def tinted(pixels: Tensor, strength: float, random: np.random.Generator) -> Tensor:
    """Change brightness, contrast and saturation of ``"batch 3 height width"`` (-1 to 1), each by a factor within 1 +- `strength`."""
    light, contrast, colour = torch.from_numpy(1 + strength * (2 * random.random((3, len(pixels), 1, 1, 1)) - 1)).float()
    pixels = (pixels + 1) * light - 1
    pixels = pixels.mean((1, 2, 3), keepdim=True).lerp(pixels, contrast)
    return pixels.mean(1, keepdim=True).lerp(pixels, colour).clamp_(-1, 1)


@dataclass(frozen=True)
class Teacher:
    """A MobileNetV2 of timm from its weights file, which says of itself how it is built."""

    network: Any
    name: str

    def maps(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``"batch y x channels"`` half way (16 pixels a place; its own map of 8 averaged and of 16) and at the end (32)."""
        fine = self.network.blocks[:3](self.network.bn1(self.network.conv_stem(pixels)))
        coarse = self.network.blocks[3:5](fine)
        last = self.network.bn2(self.network.conv_head(self.network.blocks[5:](coarse)))
        early = torch.cat([F.avg_pool2d(fine, 2), coarse], 1)
        return rearrange(early, "b c y x -> b y x c"), rearrange(last, "b c y x -> b y x c")


def teacher(path: Path) -> Teacher:
    with safe_open(path, framework="pt") as stream:
        says = dict(stream.metadata() or {})
    network = timm.create_model(says["architecture"], num_classes=int(says["num_classes"]), pad_type=says.get("pad_type", ""))
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()}, strict=True)
    return Teacher(network.eval().to(memory_format=torch.channels_last), path.stem)


def drawn(sizes: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Return (folder, picture) of each view: folders by the square root of their pictures, pictures in turn."""
    random = np.random.default_rng(SEED)
    shares = np.sqrt(np.array(sizes, dtype=float))
    turns: list[Iterator[int]] = [_in_turn(size, np.random.default_rng([SEED, at])) for at, size in enumerate(sizes)]
    return [(int(at), next(turns[at])) for at in random.choice(len(sizes), count, p=shares / shares.sum())]


def _in_turn(size: int, random: np.random.Generator) -> Iterator[int]:
    while True:
        yield from (int(at) for at in random.permutation(size))


def crop(picture: Tensor, random: np.random.Generator) -> Tensor:
    """Return ``"3 SEEN SEEN"`` bytes: a random part of the picture, stretched by up to 4/3."""
    height, width = picture.shape[1:]
    side = math.sqrt(height * width * random.uniform(LEAST, 1))
    stretch = math.exp(random.uniform(-0.5, 0.5) * math.log(4 / 3))
    wide, tall = min(round(side * stretch), width), min(round(side / stretch), height)
    x, y = (int(random.integers(0, room + 1)) for room in (width - wide, height - tall))
    return resized(picture[:, y : y + tall, x : x + wide], SEEN, SEEN)


def basis(teachers: Sequence[Teacher], pixels: Tensor) -> dict[str, Tensor]:
    """Return what turns the teachers' features into components, from the maps of some views.

    The squares of a teacher's components sum to one on average. ``weight`` and ``bias`` are its classifier, on components.
    """
    found: dict[str, Tensor] = {}
    for number, one in enumerate(teachers):
        begun, maps = (
            torch.cat(some) for some in zip(*(one.maps(pixels[at : at + 32]) for at in range(0, len(pixels), 32)), strict=True)
        )
        if not number:
            found |= {"level": begun.mean((0, 1, 2)), "width": begun.std((0, 1, 2))}
        features = maps.flatten(0, 2)
        mean = features.mean(0)
        _, values, ways = torch.linalg.svd(features - mean, full_matrices=False)
        scale, ways = values[:KEPT].square().sum().div(len(features)).sqrt(), ways[:KEPT]
        print(
            f"{one.name}: {KEPT} components hold {(values[:KEPT] ** 2).sum() / (values**2).sum():.1%} of the variance",
            flush=True,
        )
        head = one.network.get_classifier()
        found |= {
            f"{number}.mean": mean,
            f"{number}.inward": (ways.T / scale).contiguous(),
            f"{number}.weight": (head.weight @ ways.T * scale).detach().contiguous(),
            f"{number}.bias": (head.weight @ mean + head.bias).detach(),
        }
    return found


@torch.inference_mode()
def views(asked: argparse.Namespace) -> None:
    """Fill ``views.npy`` (bytes), ``maps.npy`` and ``early.npy`` (float16) until all are done or the time is over."""
    start = time.monotonic()
    trains = [parts(folder)["train"] for folder in asked.folders]
    order = drawn([len(part.paths) for part in trains], asked.views)
    teachers = [teacher(path) for path in asked.teachers]
    pictures = [[decoded(path) for path in part.paths] for part in trains]
    print(f"{[len(part.paths) for part in trains]} pictures read in {time.monotonic() - start:.0f} s", flush=True)

    def cut(first: int, last: int) -> Tensor:
        randoms = [np.random.default_rng([SEED, 1, at]) for at in range(first, last)]
        crops = [crop(pictures[folder][at], random) for (folder, at), random in zip(order[first:last], randoms, strict=True)]
        return tinted(normal(torch.stack(crops)), 0.3, randoms[0])

    asked.out.mkdir(parents=True, exist_ok=True)
    done = finished(asked.out)
    if not done:
        names = ", ".join(one.name for one in teachers)
        replaced(asked.out / "basis.safetensors", basis(teachers, cut(0, min(800, asked.views))), {"teachers": names})
    words = load_file(asked.out / "basis.safetensors")
    cells, kept = SEEN // 32, KEPT * len(teachers)
    shapes = {"views": (STORED, STORED, 3), "maps": (cells, cells, kept), "early": (2 * cells, 2 * cells, EARLY)}
    stored = {
        name: np.lib.format.open_memmap(
            asked.out / f"{name}.npy",
            "r+" if done else "w+",
            np.uint8 if name == "views" else np.float16,
            (asked.views, *shape),
        )
        for name, shape in shapes.items()
    }
    while done < asked.views and time.monotonic() - start < 60 * asked.minutes:
        last = min(done + 32, asked.views)
        seen = cut(done, last)
        (early, first), *others = [one.maps(seen) for one in teachers]
        told = [(x - words[f"{at}.mean"]) @ words[f"{at}.inward"] for at, x in enumerate([first, *(x for _, x in others)])]
        stored["maps"][done:last] = torch.cat(told, -1).numpy()
        stored["early"][done:last] = ((early - words["level"]) / words["width"]).numpy()
        small = F.interpolate(seen, (STORED, STORED), mode="bilinear", antialias=True)
        stored["views"][done:last] = rearrange(((small + 1) * 127.5).round().clamp(0, 255).byte(), "b c y x -> b y x c").numpy()
        done = last
        if done % 1600 < 32 or done == asked.views:
            written(asked.out / "done.json", json.dumps({"views": done}))
            print(f"{done:,} of {asked.views:,} views after {time.monotonic() - start:.0f} s", flush=True)
    written(asked.out / "done.json", json.dumps({"views": done}))


def finished(out: Path) -> int:
    """Return how many views are stored; the arrays behind them are still empty."""
    path = out / "done.json"
    return int(json.loads(path.read_text())["views"]) if path.exists() else 0


def written(path: Path, text: str) -> None:
    path.with_suffix(".part").write_text(text)
    os.replace(path.with_suffix(".part"), path)


def replaced(path: Path, tensors: dict[str, Tensor], says: dict[str, str]) -> None:
    """Write a weights file so that there is always a whole one."""
    save_file({name: x.contiguous() for name, x in tensors.items()}, path.with_suffix(".part"), says)
    os.replace(path.with_suffix(".part"), path)


@dataclass(frozen=True)
class Views:
    """Stored views with their maps, half way and at the end, read from the disk as they are asked for."""

    pixels: NDArray[np.uint8]
    early: NDArray[np.float16]
    last: NDArray[np.float16]

    def batch(self, rows: NDArray[np.int64], random: np.random.Generator, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return pixels ``"batch 3 size size"`` and both maps ``"batch channels GRID GRID"``: the same random part of all three."""
        count, grid = len(rows), SIZE // 16
        pixels = normal(rearrange(torch.from_numpy(self.pixels[rows]), "b y x c -> b c y x"))
        if 2 * size <= STORED:  # else every second pixel would be passed over
            pixels = F.avg_pool2d(pixels, 2)
        early, last = (
            rearrange(torch.from_numpy(maps[rows].astype(np.float32)), "b y x c -> b c y x") for maps in (self.early, self.last)
        )
        side, stretch = np.sqrt(random.uniform(0.6, 1, count)), np.exp(random.uniform(-0.1, 0.1, count))
        wide, tall = np.minimum(side * stretch, 1), np.minimum(side / stretch, 1)
        turns = torch.zeros(count, 2, 3)
        turns[:, 0, 0] = torch.from_numpy(wide * random.choice([-1, 1], count))
        turns[:, 1, 1] = torch.from_numpy(tall)
        turns[:, 0, 2] = torch.from_numpy((1 - wide) * random.uniform(-1, 1, count))
        turns[:, 1, 2] = torch.from_numpy((1 - tall) * random.uniform(-1, 1, count))
        return tinted(_sampled(pixels, turns, size), 0.2, random), _sampled(early, turns, grid), _sampled(last, turns, grid)


def _sampled(maps: Tensor, turns: Tensor, size: int) -> Tensor:
    places = F.affine_grid(turns, [len(maps), 1, size, size], align_corners=False)
    return F.grid_sample(maps, places, padding_mode="border", align_corners=False)


def stored_views(out: Path) -> Views:
    return Views(*(np.load(out / f"{name}.npy", mmap_mode="r") for name in ("views", "early", "maps")))
