"""A small set of counted things in the layout of labelling tools: discs in two colours on noisy ground, with their boxes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("dot", "ring")
_COLOURS = {"dot": (230, 40, 40), "ring": (40, 60, 230)}


def scene(
    counts: dict[str, int], random: np.random.Generator, size: int = 48
) -> tuple[np.ndarray, list[tuple[str, list[float]]]]:
    """Return pixels and (class, box) of each thing; things lie in cells of 12 pixels, so that none hides another."""
    pixels = random.integers(90, 140, (size, size, 3)).astype(np.uint8)
    cells = iter(random.permutation((size // 12) ** 2))
    for _ in range(int(random.integers(0, 5))):  # what is no thing, so that colour alone does not tell how many there are
        row, column = divmod(int(next(cells)), size // 12)
        pixels[12 * row : 12 * row + 6, 12 * column : 12 * column + 6] = random.integers(0, 256, 3)
    things = []
    for name, count in counts.items():
        for _ in range(count):
            row, column = divmod(int(next(cells)), size // 12)
            pixels[12 * row + 2 : 12 * row + 10, 12 * column + 2 : 12 * column + 10] = _COLOURS[name]
            things.append((name, [12.0 * column + 2, 12.0 * row + 2, 8.0, 8.0]))
    return pixels, things


def write_set(root: Path, each: dict[str, int], seed: int = 0, names: tuple[str, ...] = CLASSES) -> Path:
    """Write ``root/<split>/_annotations.coco.json`` and its pictures, `each` per split; return `root`."""
    random = np.random.default_rng(seed)
    for split, number in each.items():
        folder = root / split
        folder.mkdir(parents=True)
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for at in range(number):
            counts = {"dot": int(random.integers(0, 6)), "ring": int(random.integers(0, 4))}
            pixels, things = scene(counts, random)
            Image.fromarray(pixels).save(folder / f"{at:03}.png")
            images.append({"id": at, "file_name": f"{at:03}.png", "width": 48, "height": 48})
            annotations += [
                {
                    "id": len(annotations) + more,
                    "image_id": at,
                    "category_id": 1 + CLASSES.index(name),
                    "bbox": box,
                    "iscrowd": 0,
                }
                for more, (name, box) in enumerate(things)
            ]
        categories = [{"id": 0, "name": "things", "supercategory": "none"}]
        categories += [{"id": at + 1, "name": name, "supercategory": "things"} for at, name in enumerate(names)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "_annotations.coco.json").write_text(json.dumps(content), encoding="utf-8")
    return root


def write_words(things: Path, target: Path, says: Callable[[dict[str, int], int], str]) -> Path:
    """Write a table of answers in words about validation and test pictures of `write_set`: what `says` makes of counts and number."""
    with open(target, "w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "answer"])
        for part in ("valid", "test"):
            content = json.loads((things / part / "_annotations.coco.json").read_text())
            for image in content["images"]:
                own = [one["category_id"] for one in content["annotations"] if one["image_id"] == image["id"]]
                counts = {name: own.count(1 + at) for at, name in enumerate(CLASSES) if own.count(1 + at)}
                table.writerow([f"{part}/{image['file_name']}", says(counts, image["id"])])
    return target


class Counting:
    """A family that can do both, asked to count by the contract."""

    TASKS = ("count",)

    def __init__(self, room: Any) -> None:
        self.room, self.__name__ = room, room.__name__

    def __getattr__(self, name: str) -> Any:
        return getattr(self.room, name)
