"""Distil small networks from large ones on the pictures of a few studies, without showing them a test picture.

    python benchmarks/distil.py views --folders A B --teachers T.safetensors U.safetensors --out OUT --minutes 15
    python benchmarks/distil.py train --student vit --out OUT --minutes 60
    python benchmarks/distil.py probe --folders A B --files OUT/vit_small.safetensors none:vit teacher:T.safetensors

views: random views of pictures in the train part of each folder's frozen split (70/15/15, seed 42, alike together), each with what the
teachers, MobileNetV2s, say of it: their last map, in principal components, and what the first one finds half way. Folders share the
views by the square root of their pictures. train: the student learns both maps from random parts of the views, tinted and mirrored
(a part of a map needs no new look of the teacher), and, through the components, the teachers' softened answers with the teachers' own
classifiers. Every few minutes the mean of its weights is written to OUT/STUDENT_small.safetensors, with a head for the first
teacher's classes. probe: a linear classifier on frozen features, fitted on each folder's train part, its strength chosen on val,
right answers on test. Views and training go on where an earlier call stopped; more --minutes than before make a longer course.

Teacher and student see the same view: Beyer et al., arXiv 2106.05237. The teacher's classifier used again: Chen et al., arXiv
2203.14001. Hints half way: Romero et al., arXiv 1412.6550. Blocks that begin as identities: Chen et al., arXiv 1511.05641.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
from distil_views import (
    EARLY,
    KEPT,
    SEED,
    SIZE,
    Teacher,
    decoded,
    finished,
    normal,
    parts,
    replaced,
    resized,
    stored_views,
    teacher,
    views,
)
from einops import rearrange
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F

from fieldguide.craft import pace, vmamba_net

#: Part of the shorter side that is kept of a picture when it is answered for.
CROP = 0.9
#: A map learns faster than what is behind it: its outputs are small, and so would be the steps towards them.
AHEAD, SCALE = 5.0, KEPT**-0.5
#: Of a vision transformer's twelve blocks each third one learns first.
EVERY = 3
#: Side, in pixels, of the small pictures that a VMamba sees first.
SMALL = 64
#: Seconds between two writings of the weights.
PAUSE = 120


class Seen(NamedTuple):
    """What the head reads, ``"batch channels"``, the map it comes from and the map half way, both ``"batch y x channels"``."""

    whole: Tensor
    place: Tensor
    early: Tensor


def empty(student: str) -> nn.Module:
    """Return the network of a student with a head for a thousand classes, its shape the one that is read off its file again."""
    torch.manual_seed(SEED)
    if student == "vmamba":
        return vmamba_net.VMamba(vmamba_net.Shape((1, 1, 2, 1), 40, 1.0, 1000))
    network: Any = timm.create_model("vit_tiny_patch16_224", num_classes=1000, img_size=SIZE, patch_size=16)
    for block in network.blocks:
        # Of 37 tokens the fused attention's way back costs more than the rest of the block, on a CPU.
        block.attn.fused_attn = False
    assert isinstance(network, nn.Module)
    return network


def features(network: nn.Module, pixels: Tensor, every: int = 1) -> Seen:
    """Return what a student sees. Of a vision transformer's blocks number 0, `every`, 2 `every` ... work."""
    net: Any = network
    if isinstance(network, vmamba_net.VMamba):
        early = net.layers[1](net.layers[0](net.patch_embed(rearrange(pixels, "b c y x -> b y x c"))))
        last = net.classifier[0](net.layers[3](net.layers[2](early)))
        return Seen(last.mean((1, 2)), last, early)
    blocks = net.blocks[::every]
    early = blocks[: len(blocks) // 2](net._pos_embed(net.patch_embed(pixels)))
    last = net.norm(blocks[len(blocks) // 2 :](early))
    side = math.isqrt(last.shape[1] - 1)
    return Seen(last[:, 0], *(rearrange(tokens[:, 1:], "b (y x) c -> b y x c", y=side) for tokens in (last, early)))


def head_of(network: nn.Module) -> nn.Linear:
    head = network.get_submodule(vmamba_net.HEAD if isinstance(network, vmamba_net.VMamba) else "head")
    assert isinstance(head, nn.Linear)
    return head


def waiting(network: nn.Module) -> None:
    """Make each block that does not work yet a copy of the last one that does, but silent: it adds nothing to what passes through."""
    blocks: Any = getattr(network, "blocks", ())
    for at, block in enumerate(blocks):
        if at % EVERY:
            block.load_state_dict(blocks[at - at % EVERY].state_dict())
            for layer in (block.attn.proj, block.mlp.fc2):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)


class Pupil(nn.Module):
    """A student with three layers that turn what it sees into the teachers' words: components twice, and the map half way."""

    def __init__(self, student: str, components: int) -> None:
        super().__init__()
        self.network = empty(student)
        inside, halfway = head_of(self.network).in_features, 160 if student == "vmamba" else 192
        self.place, self.whole = nn.Linear(inside, components), nn.Linear(inside, components)
        self.early = nn.Linear(halfway, EARLY)
        for layer in (self.place, self.whole, self.early):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        waiting(self.network)

    def forward(self, pixels: Tensor, every: int) -> Seen:
        seen = features(self.network, pixels, every)
        return Seen(SCALE * self.whole(seen.whole), SCALE * self.place(seen.place), self.early(seen.early))


@dataclass(frozen=True)
class Lesson:
    """What a pupil is measured by; `classifiers` are the teachers' own, weight and bias, on components."""

    classifiers: tuple[tuple[Tensor, Tensor], ...]

    def loss(self, ours: Seen, early: Tensor, last: Tensor) -> tuple[Tensor, list[float]]:
        """Return the loss and its parts: unexplained shares of the last map and of the early one, and the answers' distance in nats."""
        place, begun = (
            (told - rearrange(_pooled(wanted, told.shape[1]), "b c y x -> b y x c")).square().sum(-1).mean() / size
            for told, wanted, size in ((ours.place, last, len(self.classifiers)), (ours.early, early, EARLY))
        )
        apart = torch.zeros(())
        pooled = last.mean((2, 3))
        for (weight, bias), *both in zip(self.classifiers, ours.whole.split(KEPT, -1), pooled.split(KEPT, -1), strict=True):
            answer, wanted = (F.log_softmax(F.linear(x, weight, bias) / 2, -1) for x in both)
            apart = apart + F.kl_div(answer, wanted, log_target=True, reduction="batchmean")
        return place + begun + 0.5 * apart, [part.item() for part in (place, begun, apart)]


def _pooled(maps: Tensor, side: int) -> Tensor:
    return maps if maps.shape[2] == side else F.adaptive_avg_pool2d(maps, side)


def lesson_of(out: Path) -> Lesson:
    words = load_file(out / "basis.safetensors")
    numbers = range(sum(name.endswith(".inward") for name in words))
    return Lesson(tuple((words[f"{at}.weight"], words[f"{at}.bias"]) for at in numbers))


class Course:
    """A pupil on its way: its optimiser, the running mean of its weights, and the file from which it goes on."""

    def __init__(self, pupil: Pupil, path: Path) -> None:
        self.pupil, self.mean, self.path = pupil, copy.deepcopy(pupil), path
        self.steps, self.seconds, self.every = 0, 0.0, EVERY
        self.named = dict(pupil.named_parameters())
        kinds: dict[tuple[float, float], list[Tensor]] = {}
        for name, x in self.named.items():
            ours = name.startswith("network.")
            kinds.setdefault((1.0 if ours else AHEAD, 0.05 if ours and x.ndim > 1 else 0.0), []).append(x)
        groups = [{"params": some, "weight_decay": decay, "ahead": ahead} for (ahead, decay), some in kinds.items()]
        self.optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)

    def step(self, loss: Tensor, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["ahead"]
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.pupil.parameters(), 1.0)
        self.optimiser.step()
        self.steps += 1
        with torch.no_grad():
            torch._foreach_lerp_(list(self.mean.parameters()), list(self.pupil.parameters()), max(1 / (1 + self.steps), 0.002))

    def grow(self) -> None:
        """Let all blocks work from now on."""
        for pupil in (self.pupil, self.mean):
            waiting(pupil.network)
        self.every = 1

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
        for prefix, pupil in (("now.", self.pupil), ("mean.", self.mean)):
            pupil.load_state_dict({name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)})
        for name, x in self.named.items():
            state = {key.split("/")[0]: value for key, value in tensors.items() if key.endswith(f"/{name}")}
            if state:
                self.optimiser.state[x] = state


def rate_at(share: float) -> float:
    """Return the share of the peak rate after a share of the time: a short climb, a plateau, and down to nothing in the second half."""
    return min(1.0, share / 0.02 + 0.01) * min(1.0, 2 * (1.001 - share))


def train(asked: argparse.Namespace) -> None:
    """Train until the time is over, that of earlier calls included, in bf16 where the processor multiplies it natively.

    A VMamba sees small pictures first: they cost half.
    """
    stored, lesson = stored_views(asked.out), lesson_of(asked.out)
    course = Course(Pupil(asked.student, KEPT * len(lesson.classifiers)), asked.out / f"{asked.student}.course.safetensors")
    course.resume()
    random = np.random.default_rng([SEED, course.steps])
    rows = random.permutation(finished(asked.out))
    start, kept, at, told = time.monotonic() - course.seconds, course.seconds, 0, []
    while course.seconds < 60 * asked.minutes:
        share = course.seconds / (60 * asked.minutes)
        if course.every > 1 and share > asked.grow:
            course.grow()
        if at + asked.batch > len(rows):
            rows, at = random.permutation(finished(asked.out)), 0
        size = SMALL if asked.student == "vmamba" and share < asked.small else SIZE
        pixels, early, last = stored.batch(np.sort(rows[at : at + asked.batch]), random, size)
        with pace.autocast("cpu", pace.native("cpu")):
            ours = course.pupil(pixels, course.every)
        loss, parts_of_it = lesson.loss(Seen(*(some.float() for some in ours)), early, last)
        course.step(loss, asked.rate * rate_at(share))
        told.append(parts_of_it)
        at += asked.batch
        course.seconds = time.monotonic() - start
        if course.seconds - kept > PAUSE or course.seconds >= 60 * asked.minutes:
            kept = course.seconds
            course.keep()
            write(course, lesson, asked)
            place, begun, apart = np.mean(told, 0)
            told.clear()
            print(
                f"{asked.student}: {kept:.0f} s, {course.steps * asked.batch:,} views; unexplained {place:.3f} of the last map, "
                f"{begun:.3f} half way; answers {apart:.2f} nats apart",
                flush=True,
            )


@torch.no_grad()
def write(course: Course, lesson: Lesson, asked: argparse.Namespace) -> None:
    """Write the mean's network; its head is the first teacher's classifier, seen through the components."""
    network, whole = course.mean.network, course.mean.whole
    weight, bias = lesson.classifiers[0]
    head = head_of(network)
    head.weight.copy_(SCALE * weight @ whole.weight[:KEPT])
    head.bias.copy_(SCALE * weight @ whole.bias[:KEPT] + bias)
    says = {
        "architecture": "vmamba" if asked.student == "vmamba" else "vit_tiny_patch16_224",
        "input_size": str(SMALL if asked.student == "vmamba" and asked.small >= 1 else SIZE),
        "input_mean": "0.5,0.5,0.5",
        "input_std": "0.5,0.5,0.5",
        "crop_pct": str(CROP),
        "interpolation": "bilinear",
        "num_classes": str(len(bias)),
        "source": f"distilled by benchmarks/distil.py in {course.seconds:.0f} s and {course.steps} steps of {asked.batch} views",
        "format": "pt",
    }
    replaced(asked.out / f"{asked.student}_small.safetensors", network.state_dict(), says)


@torch.inference_mode()
def frozen(pictures: Sequence[Tensor], one: nn.Module | Teacher) -> NDArray[np.float32]:
    """Return pooled features of the middle of each picture, at the size the network was made for."""
    size, found = 224 if isinstance(one, Teacher) else SIZE, []
    for first in range(0, len(pictures), 32):
        middles = []
        for picture in pictures[first : first + 32]:
            tall, wide = picture.shape[1:]
            factor = int(size / CROP) / min(tall, wide)
            picture = resized(picture, max(size, round(tall * factor)), max(size, round(wide * factor)))
            y, x = ((side - size) // 2 for side in picture.shape[1:])
            middles.append(picture[:, y : y + size, x : x + size])
        pixels = normal(torch.stack(middles))
        found.append(one.maps(pixels)[1].mean((1, 2)) if isinstance(one, Teacher) else features(one, pixels).whole)
    return torch.cat(found).numpy()


def probe(asked: argparse.Namespace) -> None:
    """Print the share of right answers of a linear classifier on frozen features, by network and folder."""
    networks = {spec: named(spec) for spec in asked.files}
    for folder in asked.folders:
        found = parts(folder)
        pictures = {split: [decoded(path) for path in part.paths] for split, part in found.items()}
        for spec, one in networks.items():
            start = time.monotonic()
            x = {split: frozen(some, one) for split, some in pictures.items()}
            scaler = StandardScaler().fit(x["train"])
            x = {split: scaler.transform(rows) for split, rows in x.items()}
            fits = [LogisticRegression(C=c, max_iter=1000).fit(x["train"], found["train"].labels) for c in (0.001, 0.01, 0.1)]
            best = max(fits, key=lambda fit: fit.score(x["val"], found["val"].labels))
            print(
                f"{folder}, {spec}: {best.score(x['test'], found['test'].labels):.1%} of {len(x['test'])} right "
                f"(strength {best.C}, {time.monotonic() - start:.0f} s)",
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
        "--teachers", type=Path, nargs="+", default=[], help="weights files of MobileNetV2s; the first one leads"
    )
    parser.add_argument("--out", type=Path, help="folder for views, what training needs to go on, and the weights")
    parser.add_argument("--minutes", type=float, default=30, help="by the clock: of this call (views), of all calls (train)")
    parser.add_argument("--views", type=int, default=10_000, help="views in all; the first call decides")
    parser.add_argument("--student", choices=("vit", "vmamba"), default="vit")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3, help="peak rate of AdamW")
    parser.add_argument(
        "--grow", type=float, default=0.6, help="share of the time after which all of a transformer's blocks work"
    )
    parser.add_argument(
        "--small",
        type=float,
        default=0.5,
        help="share of the time in which a VMamba sees small pictures; 1: it stays with them",
    )
    parser.add_argument("--files", nargs="+", default=[], help="weights files, none:STUDENT or teacher:FILE")
    asked = parser.parse_args()
    {"views": views, "train": train, "probe": probe}[asked.what](asked)


if __name__ == "__main__":
    main()
