"""Is what the loop trains as good as what a tutorial's loop trains, in as many epochs?

    python benchmarks/accuracy.py PICTURES --weights mobilenetv2.safetensors --epochs 2 --size 128

Both sides fine-tune the same MobileNetV2 from the same weights on the training pictures of one study, and answer for its validation and
test pictures; the plain loop (timm, a Dataset, DataLoader, AdamW at the same peak rate, cosine, fp32) joins the study as recorded answers.
What is printed is the study's verdict and the paired interval of the difference.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path
from typing import Any

import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torchvision.transforms import v2

import fieldguide
from fieldguide.data.tables import read_manifest

HALF = (0.5, 0.5, 0.5)
RATE = 3e-4


class Listed(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Pictures of a list, opened when they are asked for."""

    def __init__(self, rows: list[tuple[Path, int]], steps: Any) -> None:
        self.rows, self.steps = rows, steps

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: int) -> tuple[torch.Tensor, int]:
        path, label = self.rows[at]
        with Image.open(path) as picture:
            return self.steps(picture.convert("RGB")), label


def plain(study: Path, pictures: Path, asked: argparse.Namespace) -> float:
    """Train as tutorials do, write ``plain.csv`` and return seconds."""
    manifest = read_manifest(study / "manifest.parquet")
    index = {name: at for at, name in enumerate(manifest.classes)}
    parts = {
        part: [(pictures / row.path, index[str(row.label)]) for row in manifest.part(part)] for part in ("train", "val", "test")
    }
    end = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(HALF, HALF)]
    crop = v2.RandomResizedCrop(asked.size, scale=(0.5, 1.0), ratio=(3 / 4, 4 / 3))
    training = v2.Compose([crop, v2.RandomHorizontalFlip(), *end])
    whole = v2.Compose([v2.Resize(int(asked.size / 0.875)), v2.CenterCrop(asked.size), *end])
    torch.manual_seed(0)
    network = timm.create_model("mobilenetv2_100", num_classes=len(index), pad_type="same")
    state = {name: tensor for name, tensor in load_file(asked.weights).items() if not name.startswith("classifier")}
    network.load_state_dict(state, strict=False)
    loader = torch.utils.data.DataLoader(
        Listed(parts["train"], training), 32, shuffle=True, num_workers=1, persistent_workers=True
    )
    optimiser, measure = torch.optim.AdamW(network.parameters(), lr=RATE), nn.CrossEntropyLoss()
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, asked.epochs * len(loader))
    start = time.perf_counter()
    for _ in range(asked.epochs):
        network.train()
        for pixels, targets in loader:
            loss = measure(network(pixels), targets)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            falling.step()
    seconds = time.perf_counter() - start
    network.eval()
    with open(study.parent / "plain.csv", "w", newline="", encoding="utf-8") as stream, torch.inference_mode():
        writer = csv.writer(stream)
        writer.writerow(["path", "label"])
        for part in ("val", "test"):
            answers = torch.utils.data.DataLoader(Listed(parts[part], whole), 64)
            said = torch.cat([network(pixels).argmax(1) for pixels, _ in answers]).tolist()
            paths = [row.path for row in manifest.part(part)]
            writer.writerows([path, manifest.classes[at]] for path, at in zip(paths, said, strict=True))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path("accuracy-benchmark"))
    asked = parser.parse_args()
    asked.out.mkdir(exist_ok=True)
    words = (
        f"mobilenetv2_100:weights={asked.weights},image_size={asked.size},epochs={asked.epochs},learning_rate={RATE},as=ours"
    )
    study = fieldguide.compare(asked.pictures, [words], out=asked.out / "study")
    took = json.loads((study.folder / "runs" / "ours" / "cost.json").read_text())["fit_seconds"]
    other = plain(study.folder, asked.pictures, asked)
    study = fieldguide.compare(asked.pictures, [words, f"recorded/{asked.out / 'plain.csv'}:as=plain"], out=asked.out / "study")
    print(study.verdict)
    for pair in study.comparison["pairs"]:
        print(json.dumps(pair, indent=1))
    print(f"training: ours {took:.0f} s with validation, plain {other:.0f} s without")


if __name__ == "__main__":
    main()
