"""Distil small networks from large ones on the pictures of a few studies, without showing them a test picture.

    python benchmarks/distil.py views  --folders A B --teachers T.safetensors --out OUT --minutes 15
    python benchmarks/distil.py train  --student vit --out OUT --minutes 60
    python benchmarks/distil.py probe  --folders A B --files OUT/vit_small.safetensors none:vit teacher:T.safetensors

views: random views of pictures in the train part of each folder's frozen split (70/15/15, seed 42, alike together), each with what the
teachers' last feature map says of it, in principal components. Kept below OUT; a second call goes on where the first one stopped.
Folders share the views by the square root of their pictures. train: the student learns these maps from random crops of the views,
turned, tinted and pasted into each other, crop and map always alike (a map needs no new look of the teacher for that); its own
pooled features learn the pooled map, and through it the teachers' softened answers. Every few minutes the averaged weights are
written to OUT/STUDENT_small.safetensors with a head that is the first teacher's own, seen through the student. A second call goes on.
probe: a linear classifier on frozen features, fitted on each folder's train part, its strength chosen on val, right answers on test.

Fixed teacher, same view: Beyer et al., arXiv 2106.05237. The teacher's classifier used again: Chen et al., arXiv 2203.14001. Pasted
boxes: Yun et al., arXiv 1905.04899. Blocks added as identities: Chen et al., arXiv 1511.05641.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
from einops import rearrange
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F

import fieldguide
from fieldguide.craft import vmamba_net
from fieldguide.data import images

SEED = 42
#: Sides, in pixels, of decoded pictures (the shorter one), of what a teacher sees, of a stored view, and of what a student sees.
DECODED, SEEN, STORED, SIZE = 256, 160, 128, 96
#: Places along a side of a teacher's map at `SEEN`, of the grid on which maps are compared, and principal components of each teacher.
CELLS, GRID, KEPT = 5, 6, 256
#: Numbers a teacher says early of 16 x 16 pixels: 32 of each 8 x 8 in them, and 96.
EARLY = 4 * 32 + 96
CROP = 0.9


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
    """A network of timm from its weights file, and what the file says of itself."""

    network: nn.Module
    name: str
    says: dict[str, str]

    @torch.inference_mode()
    def map(self, pixels: Tensor) -> Tensor:
        """Return the last feature map, ``"batch channels height width"``."""
        return self.network.forward_features(pixels)  # type: ignore[operator, no-any-return]

    @torch.no_grad()
    def early(self, pixels: Tensor) -> Tensor:
        """Return what a MobileNetV2 finds on 8 and 16 pixels, ``"batch y x EARLY"``, a place for each 16 pixels."""
        net: Any = self.network
        fine = net.blocks[:3](net.bn1(net.conv_stem(pixels)))
        fours = rearrange(fine, "b c (y i) (x j) -> b y x (c i j)", i=2, j=2)
        return torch.cat([fours, rearrange(net.blocks[3:5](fine), "b c y x -> b y x c")], -1)


def teacher(path: Path) -> Teacher:
    with safe_open(path, framework="pt") as stream:
        says = dict(stream.metadata() or {})
    network = timm.create_model(says["architecture"], num_classes=int(says["num_classes"]), pad_type=says.get("pad_type", ""))
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()}, strict=True)
    return Teacher(network.eval().to(memory_format=torch.channels_last), path.stem, says)


# ---- views: what the teachers say of random crops


def drawn(sizes: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Return (folder, picture) of each view: folders by the square root of their pictures, pictures in turn."""
    random = np.random.default_rng(SEED)
    shares = np.sqrt(np.array(sizes, dtype=float))
    turns: list[Iterator[int]] = [_in_turn(size, np.random.default_rng([SEED, at])) for at, size in enumerate(sizes)]
    return [(int(at), next(turns[at])) for at in random.choice(len(sizes), count, p=shares / shares.sum())]


def _in_turn(size: int, random: np.random.Generator) -> Iterator[int]:
    while True:
        yield from (int(at) for at in random.permutation(size))


def crop(picture: Tensor, random: np.random.Generator, least: float = 0.2) -> Tensor:
    """Return ``"3 SEEN SEEN"`` bytes: a random part of at least `least` of the picture, stretched by up to 4/3."""
    height, width = picture.shape[1:]
    side = math.sqrt(height * width * random.uniform(least, 1))
    stretch = math.exp(random.uniform(-0.5, 0.5) * math.log(4 / 3))
    wide, tall = min(round(side * stretch), width), min(round(side / stretch), height)
    x, y = (int(random.integers(0, room + 1)) for room in (width - wide, height - tall))
    return resized(picture[:, y : y + tall, x : x + wide], SEEN, SEEN)


def basis(teachers: Sequence[Teacher], pixels: Tensor) -> dict[str, Tensor]:
    """Return for each teacher what turns its features into components and back, from the maps of some views.

    Components are divided by the root of their deviation: the loud ones still lead, but the faint ones, which tell alike classes
    apart, are heard. Their squares sum to one on average. ``weight`` and ``bias`` are the teacher's classifier on components.
    """
    found: dict[str, Tensor] = {}
    for number, one in enumerate(teachers):
        maps = torch.cat([one.map(pixels[at : at + 32]) for at in range(0, len(pixels), 32)])
        features = rearrange(maps, "batch channels y x -> (batch y x) channels")
        mean = features.mean(0)
        _, values, ways = torch.linalg.svd(features - mean, full_matrices=False)
        ways, spread = ways[:KEPT], values[:KEPT] / math.sqrt(len(features))
        print(
            f"{one.name}: {KEPT} components hold {(values[:KEPT] ** 2).sum() / (values**2).sum():.1%} of the variance",
            flush=True,
        )
        scale = spread.sqrt() * spread.sum().sqrt()
        head = one.network.get_classifier()  # type: ignore[operator]
        inward, outward = ways.T / scale, ways * scale[:, None]
        pooled = (maps.mean((2, 3)) - mean) @ inward
        found |= {
            f"{number}.mean": mean,
            f"{number}.inward": inward.contiguous(),
            f"{number}.weight": (head.weight @ outward.T).detach().contiguous(),
            f"{number}.bias": (head.weight @ mean + head.bias).detach(),
            f"{number}.pooled": pooled.var(0).sum(),
        }
    return found


@torch.inference_mode()
def views(asked: argparse.Namespace) -> None:
    """Fill ``views.npy`` (bytes) and ``maps.npy`` (float16 ``"view y x components"``) until all are done or the time is over."""
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
        words = basis(teachers, cut(0, 800))
        save_file(words, asked.out / "basis.safetensors", {"teachers": ", ".join(one.name for one in teachers)})
    words = load_file(asked.out / "basis.safetensors")
    mode = "r+" if done else "w+"
    shapes = (asked.views, STORED, STORED, 3), (asked.views, CELLS, CELLS, KEPT * len(teachers))
    pixels = np.lib.format.open_memmap(asked.out / "views.npy", mode, np.uint8, shapes[0])
    maps = np.lib.format.open_memmap(asked.out / "maps.npy", mode, np.float16, shapes[1])
    while done < asked.views and time.monotonic() - start < 60 * asked.minutes:
        last = min(done + 32, asked.views)
        seen = cut(done, last)
        told = [
            (rearrange(one.map(seen), "b c y x -> b y x c") - words[f"{number}.mean"]) @ words[f"{number}.inward"]
            for number, one in enumerate(teachers)
        ]
        maps[done:last] = torch.cat(told, -1).numpy()
        small = F.interpolate(seen, (STORED, STORED), mode="bilinear", antialias=True)
        pixels[done:last] = rearrange(((small + 1) * 127.5).round().clamp(0, 255).byte(), "b c y x -> b y x c").numpy()
        done = last
        if done % 1600 < 32 or done == asked.views:
            written(asked.out / "done.json", json.dumps({"views": done}))
            print(f"{done:,} of {asked.views:,} views after {time.monotonic() - start:.0f} s", flush=True)
    written(asked.out / "done.json", json.dumps({"views": done}))


def finished(out: Path) -> int:
    path = out / "done.json"
    return int(json.loads(path.read_text())["views"]) if path.exists() else 0


def written(path: Path, text: str) -> None:
    path.with_suffix(".part").write_text(text)
    os.replace(path.with_suffix(".part"), path)


# ---- students


def empty(student: str) -> nn.Module:
    """Return the network of a student with a head for a thousand classes, as this project builds it again from the file."""
    torch.manual_seed(SEED)
    if student == "vmamba":
        return vmamba_net.VMamba(vmamba_net.Shape((1, 1, 2, 1), 40, 1.0, 1000))
    return timm.create_model("vit_tiny_patch16_224", num_classes=1000, img_size=SIZE, patch_size=16)  # type: ignore[no-any-return]


class Seen(NamedTuple):
    """What the head reads, ``"batch channels"``, the map it comes from, and a map half way, both ``"batch y x channels"``."""

    pooled: Tensor
    places: Tensor
    early: Tensor


def features(network: nn.Module, pixels: Tensor, every: int = 1) -> Seen:
    """Return what a student sees. Of a vision transformer's blocks each of number 0, `every`, 2 `every` ... works."""
    if isinstance(network, vmamba_net.VMamba):
        early = network.layers[1](network.layers[0](network.patch_embed(rearrange(pixels, "b c y x -> b y x c"))))
        x = network.classifier[0](network.layers[3](network.layers[2](early)))
        return Seen(x.mean((1, 2)), x, early)
    net: Any = network
    blocks = net.blocks[::every]
    early = blocks[: len(blocks) // 2](net._pos_embed(net.patch_embed(pixels)))
    x = net.norm(blocks[len(blocks) // 2 :](early))
    side = math.isqrt(x.shape[1] - 1)
    return Seen(x[:, 0], *(rearrange(tokens[:, 1:], "b (y x) c -> b y x c", y=side) for tokens in (x, early)))


def waiting(network: nn.Module, every: int) -> None:
    """Make each block that does not work yet a copy of the last one that does, but silent: it adds nothing to what passes through."""
    blocks: Any = getattr(network, "blocks", ())
    for at, block in enumerate(blocks):
        if at % every:
            block.load_state_dict(blocks[at - at % every].state_dict())
            for layer in (block.attn.proj, block.mlp.fc2):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)


class Pupil(nn.Module):
    """A student with what turns its features into the teachers' components: `place` for each place of the map, `whole` for all of it."""

    def __init__(self, student: str, components: int) -> None:
        super().__init__()
        self.network = empty(student)
        inside, halfway = head_of(self.network).in_features, 160 if student == "vmamba" else 192
        self.place, self.whole = nn.Linear(inside, components), nn.Linear(inside, components)
        self.early = nn.Linear(halfway, EARLY)
        for layer in (self.place, self.whole, self.early):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        #: Components are small. Steps of a size that suits the rest of the network must not throw them about.
        self.scale = KEPT**-0.5

    def forward(self, pixels: Tensor, every: int) -> Seen:
        seen = features(self.network, pixels, every)
        return Seen(self.scale * self.whole(seen.pooled), self.scale * self.place(seen.places), self.early(seen.early))


def head_of(network: nn.Module) -> nn.Linear:
    head = network.get_submodule(vmamba_net.HEAD if isinstance(network, vmamba_net.VMamba) else "head")
    assert isinstance(head, nn.Linear)
    return head


@dataclass(frozen=True)
class Views:
    """Stored views and their maps, read from the disk as they are asked for."""

    pixels: NDArray[np.uint8]
    maps: NDArray[np.float16]

    def batch(self, rows: NDArray[np.int64], random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return ``"batch 3 SIZE SIZE"`` and ``"batch components GRID GRID"``: the same random crop of view and map, some pasted."""
        count = len(rows)
        pixels = normal(torch.from_numpy(self.pixels[rows]).permute(0, 3, 1, 2))
        maps = torch.from_numpy(self.maps[rows].astype(np.float32)).permute(0, 3, 1, 2)
        side, stretch = np.sqrt(random.uniform(0.35, 1, count)), np.exp(random.uniform(-0.14, 0.14, count))
        wide, tall = np.minimum(side * stretch, 1), np.minimum(side / stretch, 1)
        turns = torch.zeros(count, 2, 3)
        turns[:, 0, 0] = torch.from_numpy(wide * random.choice([-1, 1], count))
        turns[:, 1, 1] = torch.from_numpy(tall)
        turns[:, 0, 2] = torch.from_numpy((1 - wide) * random.uniform(-1, 1, count))
        turns[:, 1, 2] = torch.from_numpy((1 - tall) * random.uniform(-1, 1, count))
        pixels, maps = (
            F.grid_sample(
                x, F.affine_grid(turns, [count, 1, n, n], align_corners=False), padding_mode="border", align_corners=False
            )
            for x, n in ((pixels, SIZE), (maps, GRID))
        )
        pixels = tinted(pixels, 0.2, random)
        if random.random() < 0.5:
            (y, x), a_cell = random.integers(0, GRID - 1, 2), SIZE // GRID
            tall, wide = random.integers(1, GRID - y + 1), random.integers(1, GRID - x + 1)
            for tensor, unit in ((pixels, a_cell), (maps, 1)):
                box = (..., slice(y * unit, (y + tall) * unit), slice(x * unit, (x + wide) * unit))
                tensor[box] = tensor.roll(1, 0)[box]
        return pixels.contiguous(memory_format=torch.channels_last), maps


@dataclass(frozen=True)
class Lesson:
    """What a pupil is measured by: the teachers' classifiers on components, and how much the pooled components vary."""

    classifiers: tuple[tuple[Tensor, Tensor], ...]
    spread: float
    guide: Teacher
    level: Tensor
    width: Tensor

    def loss(self, pupil: Pupil, pixels: Tensor, maps: Tensor, every: int) -> tuple[Tensor, list[float]]:
        """Return the loss and its parts: unexplained shares of the map, of the pooled map and of the early map, and the answers' distance."""
        whole, places, early = pupil(pixels, every)
        wanted = F.adaptive_avg_pool2d(maps, places.shape[1]).permute(0, 2, 3, 1)
        place = (places - wanted).square().sum(-1).mean() / len(self.classifiers)
        pooled = maps.mean((2, 3))
        total = (whole - pooled).square().sum(-1).mean() / self.spread
        begun = (early - (self.guide.early(pixels) - self.level) / self.width).square().mean()
        apart = torch.zeros(())
        for (weight, bias), ours, theirs in zip(self.classifiers, whole.split(KEPT, -1), pooled.split(KEPT, -1), strict=True):
            ours, theirs = (F.log_softmax(F.linear(x, weight, bias) / 2, -1) for x in (ours, theirs))
            apart = apart + 4 * F.kl_div(ours, theirs, log_target=True, reduction="batchmean")
        return place + total + begun + 0.05 * apart, [part.item() for part in (place, total, begun, apart)]


def lesson_of(out: Path, guide: Teacher, stored: Views) -> Lesson:
    words = load_file(out / "basis.safetensors")
    teachers = [at for at in range(9) if f"{at}.weight" in words]
    maps = guide.early(stored.batch(np.arange(256), np.random.default_rng(SEED))[0])
    return Lesson(
        tuple((words[f"{at}.weight"], words[f"{at}.bias"]) for at in teachers),
        float(sum(words[f"{at}.pooled"] for at in teachers)),
        guide,
        maps.mean((0, 1, 2)).clone(),
        maps.std((0, 1, 2)).clone(),
    )


def rate_at(share: float) -> float:
    """Return the share of the peak rate after a share of the time: a short climb, a plateau, and down to nothing in the second half."""
    return min(1.0, share / 0.02 + 0.01) * min(1.0, 2 * (1.001 - share))


def train(asked: argparse.Namespace) -> None:
    """Train until the time is over, the time of earlier calls included; write the averaged weights every few minutes."""
    stored = Views(*(np.load(asked.out / name, mmap_mode="r") for name in ("views.npy", "maps.npy")))
    lesson = lesson_of(asked.out, teacher(asked.teachers[0]), stored)
    pupil = Pupil(asked.student, KEPT * len(lesson.classifiers))
    waiting(pupil.network, 3)
    course = Course(pupil, asked.out / f"{asked.student}.course.safetensors", asked.rate)
    course.resume()
    random = np.random.default_rng([SEED, course.steps])
    start, kept, parts_of_loss = time.monotonic() - course.seconds, course.seconds, []
    while course.seconds < 60 * asked.minutes:
        rows = random.permutation(finished(asked.out))
        for first in range(0, len(rows) - asked.batch + 1, asked.batch):
            share = course.seconds / (60 * asked.minutes)
            if course.every > 1 and share > asked.grow:
                waiting(pupil.network, course.every)
                waiting(course.mean.network, course.every)
                course.every = 1
            loss, told = lesson.loss(pupil, *stored.batch(np.sort(rows[first : first + asked.batch]), random), course.every)
            course.step(loss, asked.rate * rate_at(share))
            parts_of_loss.append(told)
            course.seconds = time.monotonic() - start
            if course.seconds - kept > 180 or course.seconds >= 60 * asked.minutes:
                kept = course.seconds
                course.keep()
                place, total, begun, apart = np.mean(parts_of_loss, 0)
                parts_of_loss.clear()
                print(
                    f"{asked.student}: {kept:.0f} s, {course.steps * asked.batch:,} views, unexplained {place:.3f} of places, "
                    f"{total:.3f} of the whole, {begun:.3f} half way; answers {apart:.2f} nats apart",
                    flush=True,
                )
                write(course, lesson, asked)
                if course.seconds >= 60 * asked.minutes:
                    break


class Course:
    """A pupil on its way: its optimiser, the running mean of its weights, and the file from which it goes on."""

    def __init__(self, pupil: Pupil, path: Path, rate: float) -> None:
        self.pupil, self.mean, self.path = pupil, copy.deepcopy(pupil), path
        self.steps, self.seconds, self.every = 0, 0.0, 3
        self.named = dict(pupil.named_parameters())
        wide = [x for x in self.named.values() if x.ndim > 1]
        flat = [x for x in self.named.values() if x.ndim <= 1]
        groups = [{"params": wide, "weight_decay": 0.05}, {"params": flat, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)

    def step(self, loss: Tensor, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.pupil.parameters(), 1.0)
        self.optimiser.step()
        self.steps += 1
        weight = max(1 / (1 + self.steps), 0.002)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.mean.parameters()), list(self.pupil.parameters()), weight)

    def keep(self) -> None:
        tensors = {f"now.{name}": x.detach() for name, x in self.named.items()}
        tensors |= {f"mean.{name}": x.detach() for name, x in self.mean.named_parameters()}
        for name, x in self.named.items():
            tensors |= {f"{key}/{name}": value for key, value in self.optimiser.state[x].items()}
        replaced(self.path, tensors, {"steps": str(self.steps), "seconds": str(self.seconds), "every": str(self.every)})

    def resume(self) -> None:
        if not self.path.exists():
            return
        with safe_open(self.path, framework="pt") as stream:
            says = stream.metadata()
        self.steps, self.seconds, self.every = int(says["steps"]), float(says["seconds"]), int(says["every"])
        tensors = load_file(self.path)
        for prefix, network in (("now.", self.pupil), ("mean.", self.mean)):
            network.load_state_dict({name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)})
        for name, x in self.named.items():
            state = {key.split("/")[0]: value for key, value in tensors.items() if key.endswith(f"/{name}")}
            if state:
                self.optimiser.state[x] = state


def replaced(path: Path, tensors: dict[str, Tensor], says: dict[str, str]) -> None:
    save_file({name: x.contiguous() for name, x in tensors.items()}, path.with_suffix(".part"), says)
    os.replace(path.with_suffix(".part"), path)


@torch.no_grad()
def write(course: Course, lesson: Lesson, asked: argparse.Namespace) -> None:
    """Write the mean's network; its head is the first teacher's classifier, seen through the components."""
    network, whole, scale = course.mean.network, course.mean.whole, course.mean.scale
    weight, bias = lesson.classifiers[0]
    head = head_of(network)
    head.weight.copy_(scale * weight @ whole.weight[:KEPT])
    head.bias.copy_(scale * weight @ whole.bias[:KEPT] + bias)
    says = {
        "architecture": "vmamba" if asked.student == "vmamba" else "vit_tiny_patch16_224",
        "input_size": str(SIZE),
        "input_mean": "0.5,0.5,0.5",
        "input_std": "0.5,0.5,0.5",
        "crop_pct": str(CROP),
        "interpolation": "bilinear",
        "num_classes": str(len(bias)),
        "source": f"distilled by benchmarks/distil.py in {course.seconds:.0f} s and {course.steps} steps of {asked.batch} views",
        "format": "pt",
    }
    replaced(asked.out / f"{asked.student}_small.safetensors", network.state_dict(), says)


# ---- what frozen features are worth


@torch.inference_mode()
def seen(pictures: Sequence[Tensor], one: nn.Module | Teacher) -> NDArray[np.float32]:
    """Return pooled features of the middle of each picture, at the size the network was made for."""
    size = 224 if isinstance(one, Teacher) else SIZE
    found = []
    for first in range(0, len(pictures), 32):
        views = []
        for picture in pictures[first : first + 32]:
            tall, wide = picture.shape[1:]
            factor = int(size / CROP) / min(tall, wide)
            picture = resized(picture, max(size, round(tall * factor)), max(size, round(wide * factor)))
            y, x = (room // 2 for room in (picture.shape[1] - size, picture.shape[2] - size))
            views.append(picture[:, y : y + size, x : x + size])
        pixels = normal(torch.stack(views))
        found.append(one.map(pixels).mean((2, 3)) if isinstance(one, Teacher) else features(one, pixels).pooled)
    return torch.cat(found).numpy()


def probe(asked: argparse.Namespace) -> None:
    """Print the share of right answers of a linear classifier on frozen features, by network and folder."""
    networks = {spec: named(spec) for spec in asked.files}
    for folder in asked.folders:
        found = parts(folder)
        pictures = {split: [decoded(path) for path in part.paths] for split, part in found.items()}
        for spec, one in networks.items():
            start = time.monotonic()
            x = {split: seen(some, one) for split, some in pictures.items()}
            scaler = StandardScaler().fit(x["train"])
            x = {split: scaler.transform(rows) for split, rows in x.items()}
            fits = [LogisticRegression(C=c, max_iter=300).fit(x["train"], found["train"].labels) for c in (0.001, 0.01, 0.1)]
            best = max(fits, key=lambda fit: fit.score(x["val"], found["val"].labels))
            right = best.score(x["test"], found["test"].labels)
            print(
                f"{folder.parent.name}/{folder.name} {Path(spec).name}: {right:.1%} of {len(x['test'])} right "
                f"(C {best.C}, {time.monotonic() - start:.0f} s)",
                flush=True,
            )


def named(spec: str) -> nn.Module | Teacher:
    """Return the network of ``none:STUDENT`` (random), ``teacher:FILE`` or a student's FILE."""
    kind, _, rest = spec.partition(":")
    if kind == "teacher":
        return teacher(Path(rest))
    if kind == "none":
        return empty(rest).eval()
    network = empty("vmamba" if "vmamba" in Path(spec).name else "vit")
    network.load_state_dict(load_file(spec), strict=True)
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("views", "train", "probe"))
    parser.add_argument("--folders", type=Path, nargs="+", default=[], help="folders of class folders")
    parser.add_argument(
        "--teachers", type=Path, nargs="+", default=[], help="weights files of timm networks, the first one leads"
    )
    parser.add_argument("--out", type=Path, help="folder for views, what training needs to go on, and the weights")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--views", type=int, default=30_000, help="views in all; the first call decides")
    parser.add_argument("--student", choices=("vit", "vmamba"), default="vit")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3, help="peak rate of AdamW")
    parser.add_argument(
        "--grow", type=float, default=0.35, help="share of the time after which all blocks of a transformer work"
    )
    parser.add_argument("--files", nargs="+", default=[], help="weights files, none:STUDENT or teacher:FILE")
    asked = parser.parse_args()
    {"views": views, "train": train, "probe": probe}[asked.what](asked)


if __name__ == "__main__":
    main()
