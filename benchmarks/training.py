"""How many pictures a second does a fine-tuning step take in, against the loops people write or borrow?

    python benchmarks/training.py resnext50_32x4d mobilenetv3_large_100       against timm + ImageFolder + DataLoader, fp32
    python benchmarks/training.py vit --batch 8                               ViT-B/16 against transformers.Trainer, fp32 and bf16
    python benchmarks/training.py e3 --pictures 100 --epochs 5                blocks 10-11 of ViT-B/16 from the first picture to the last

All networks have random weights: what a step costs does not depend on them. Pictures come from JPEG files (made ones, or --data) on both
sides; ours from the store, which is built before the clock runs, because it is built once for all contestants of a study. The sides
take turns in one process; the first steps of each are not counted. Printed are medians and ratios. `e3` counts everything else:
decoding, the frozen front, validation after every epoch; both sides see equally many distinct views of a picture.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from loader import make
from torch import nn

from fieldguide.bench import Bench
from fieldguide.craft import anatomy, loop, pace, prefix
from fieldguide.craft.feed import Pictures, Serving
from fieldguide.data.augment import NAMED
from fieldguide.data.batches import Preprocessing
from fieldguide.data.images import content_hash, read_file
from fieldguide.data.sources import open_source
from fieldguide.data.store import Store
from fieldguide.data.veil import window
from fieldguide.records import ClassInfo, Example, Image
from fieldguide.tasks.classify import Classify

SIZE = 224
HALF = (0.5, 0.5, 0.5)
VIT = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072, "image_size": SIZE}


@dataclass(frozen=True)
class Set:
    """A folder of class folders and the same pictures in a store."""

    root: Path
    examples: tuple[Example, ...]
    task: Classify


def opened(root: Path, scratch: Path) -> Set:
    found = open_source(str(root), scratch / "unpacked")
    paths = {content_hash(read_file(file.path)): file.path for file in found.files}
    store = Store(scratch / "store", lambda key: read_file(paths[key]))
    store.prepare(list(paths), SIZE)
    veiled = window(store)
    examples = tuple(Example(Image(key, veiled), path.parent.name) for key, path in paths.items())
    names = sorted({str(example.label) for example in examples})
    return Set(root, examples, Classify(tuple(ClassInfo(name, name) for name in names)))


def plan(batch: int, epochs: int, chosen: pace.Pace, **changed: Any) -> loop.Plan:
    made = loop.Plan(
        epochs=epochs,
        batch_size=batch,
        learning_rate=2e-5,
        weight_decay=0.0,
        warmup=0.0,
        patience=epochs,
        preprocessing=Preprocessing(SIZE, HALF, HALF),
        augmentation=NAMED["crop"],
        pace=chosen,
    )
    return replace(made, **changed)


def ours(network: nn.Module, data: Set, batch: int, scratch: Path) -> Iterator[float]:
    """Yield pictures a second of one step after another."""
    scratch.mkdir()
    bench = Bench(scratch)
    chosen = pace.decided(network, SIZE, batch, bench, "auto")
    wanted = plan(batch, 1000, chosen)
    images = [example.image for example in data.examples]
    feed = Pictures(images, [], wanted.preprocessing, wanted.augmentation, 0, Serving(batch, "cpu", chosen.layout))
    run = loop.Run(network, data.examples, [], data.task, wanted, bench, feed)
    loop.train_mode(run.model)
    for epoch in range(1000):
        start = time.perf_counter()
        for step in run.training(epoch):
            run.step([step], 2e-5)
            yield len(step.rows) / (time.perf_counter() - start)
            start = time.perf_counter()


def plain(network: nn.Module, data: Set, batch: int) -> Iterator[float]:
    """Yield pictures a second of the loop of a tutorial: ImageFolder, DataLoader with two workers, AdamW, fp32."""
    from torchvision import datasets
    from torchvision.transforms import v2

    crop = v2.RandomResizedCrop(SIZE, scale=(0.5, 1.0))
    steps = [crop, v2.RandomHorizontalFlip(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(HALF, HALF)]
    folder = datasets.ImageFolder(str(data.root), v2.Compose(steps))
    loader = torch.utils.data.DataLoader(folder, batch, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)
    optimiser, measure = torch.optim.AdamW(network.parameters(), lr=2e-5), nn.CrossEntropyLoss()
    network.train()
    while True:
        start = time.perf_counter()
        for pixels, targets in loader:
            loss = measure(network(pixels), targets)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            yield len(pixels) / (time.perf_counter() - start)
            start = time.perf_counter()


def trainer(data: Set, batch: int, steps: int, scratch: Path, bf16: bool) -> Callable[[], list[float]]:
    """Return what runs transformers' Trainer for some steps and returns pictures a second of each but the first."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        """Notes when a step ends."""

        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.ends.append(time.perf_counter())

    clock = Clock()
    made = trainer_of(data, batch, scratch, {"max_steps": steps + 1, "bf16": bf16}, callbacks=[clock])

    def run() -> list[float]:
        clock.ends.clear()
        made.train()
        return [batch / (late - early) for early, late in zip(clock.ends, clock.ends[1:], strict=False)]

    return run


def trainer_of(data: Set, batch: int, scratch: Path, more: dict[str, Any], callbacks: list[Any], frozen: bool = False) -> Any:
    """Return transformers' Trainer for a ViT-B/16 on pictures that its own processor and torchvision prepare."""
    from torchvision import datasets
    from torchvision.transforms import v2
    from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    model = ViTForImageClassification(ViTConfig(num_labels=len(data.task.ids), **VIT))
    if frozen:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = any(part in name for part in ("layers.10.", "layers.11.", "layernorm", "classifier"))
    steps = [v2.Resize((SIZE, SIZE)), v2.RandomHorizontalFlip(), v2.RandomRotation(10), v2.ToImage()]
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(HALF, HALF)]
    folder = datasets.ImageFolder(str(data.root), v2.Compose(steps))

    def together(pairs: list[tuple[torch.Tensor, int]]) -> dict[str, torch.Tensor]:
        return {"pixel_values": torch.stack([one for one, _ in pairs]), "labels": torch.tensor([two for _, two in pairs])}

    arguments = TrainingArguments(
        str(scratch),
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=batch,
        learning_rate=2e-5,
        dataloader_num_workers=2,
        remove_unused_columns=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        logging_strategy="no",
        use_cpu=True,
        **more,
    )
    return Trainer(model, arguments, data_collator=together, train_dataset=folder, eval_dataset=folder, callbacks=callbacks)


def against_plain(name: str, data: Set, batch: int, steps: int, scratch: Path) -> None:
    """Print the ratio to the tutorial's loop, steps of both sides in turn."""
    torch.manual_seed(0)
    one, two = (timm.create_model(name, num_classes=len(data.task.ids)) for _ in range(2))
    mine, other = ours(one, data, batch, scratch / name), plain(two, data, batch)
    rates: list[list[float]] = [[], []]
    for number in range(steps + 1):
        for side, generator in enumerate((mine, other)):
            rate = next(generator)
            if number:
                rates[side].append(rate)
    said(f"{name}, batch {batch}, {SIZE} px, against timm + ImageFolder + DataLoader fp32", *rates)


def against_trainer(data: Set, batch: int, steps: int, rounds: int, scratch: Path) -> None:
    """Print the ratio to the Trainer in fp32, and in bf16 where the processor multiplies it and does not imitate it."""
    network = timm.create_model("vit_base_patch16_224", num_classes=len(data.task.ids))
    mine = ours(network, data, batch, scratch / "vit")
    next(mine)
    for bf16 in (False, True) if pace.native("cpu") == "bf16" else (False,):
        run = trainer(data, batch, steps, scratch / f"trainer-{bf16}", bf16)
        rates: list[list[float]] = [[], []]
        for _ in range(rounds):
            rates[0] += [next(mine) for _ in range(steps)]
            rates[1] += run()
        said(f"ViT-B/16, batch {batch}, against transformers.Trainer {'bf16' if bf16 else 'fp32'}", *rates)


def e3(data: Set, batch: int, epochs: int, rates: int, scratch: Path) -> None:
    """Print the time of whole fits of blocks 10-11, and of a sweep of several rates, against the Trainer in fp32."""
    scratch.mkdir(exist_ok=True)
    start = time.perf_counter()
    trainer_of(
        data, batch, scratch / "trainer", {"num_train_epochs": epochs, "eval_strategy": "epoch"}, [], frozen=True
    ).train()
    theirs = time.perf_counter() - start
    taken = []
    for number in range(rates):
        start = time.perf_counter()
        fit_front(data, batch, epochs, 10.0 ** -(4 + number / 2), scratch, number)
        taken.append(time.perf_counter() - start)
        print(f"  ours, rate {number}: {taken[-1]:.1f} s; Trainer, once: {theirs:.1f} s", flush=True)
    print(f"E3, {len(data.examples)} pictures, {epochs} epochs: one run {theirs / taken[0]:.2f} times as fast as the Trainer")
    print(f"E3, a sweep of {rates} rates: {theirs * rates / sum(taken):.2f} times as fast")


def fit_front(data: Set, batch: int, epochs: int, rate: float, scratch: Path, number: int) -> None:
    """Train blocks 10 and 11 of a ViT-B/16 on the activations in front of them."""
    torch.manual_seed(0)
    network: nn.Module = timm.create_model("vit_base_patch16_224", num_classes=len(data.task.ids))
    anatomy.freeze(network, "blocks:10-11")
    (scratch / str(number)).mkdir()
    bench = Bench(scratch / str(number), shared=scratch / "shared")
    chosen = pace.decided(network, SIZE, batch, bench, "auto")
    wanted = plan(batch, epochs, chosen, learning_rate=rate, augmentation=NAMED["turns"], views=epochs)
    wanted = replace(wanted, preprocessing=Preprocessing(SIZE, HALF, HALF, squash=True))
    images = [example.image for example in data.examples]
    feed = Pictures(images, images, wanted.preprocessing, wanted.augmentation, 0, Serving(batch, "cpu", chosen.layout))
    front, why = prefix.opened(network, feed, chosen, bench, epochs, epochs, "on")
    assert front is not None, why
    loop.train(network, data.examples, data.examples, data.task, wanted, bench, front)


def said(what: str, mine: list[float], other: list[float]) -> None:
    a, b = statistics.median(mine), statistics.median(other)
    spread = [f"{low:.2f}-{high:.2f}" for low, high in (np.percentile(side, [25, 75]) for side in (mine, other))]
    print(f"{what}: ours {a:.2f} [{spread[0]}] pictures a second, theirs {b:.2f} [{spread[1]}]: {a / b:.2f} times", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", help="timm names of networks, vit, or e3")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=6, help="counted steps of each side, in each round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rates", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "fieldguide-benchmark")
    parser.add_argument("--data", type=Path, help="pictures of one's own instead of made ones, a folder for each class")
    asked = parser.parse_args()
    print(
        f"{len(os.sched_getaffinity(0))} cores, {pace.native('cpu')}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.2f}"
    )
    root = asked.data or asked.folder / f"pictures-{asked.pictures}"
    if not asked.data:
        make(root, asked.pictures)
    with tempfile.TemporaryDirectory() as scratch:
        data = opened(root, Path(scratch))
        for what in asked.what:
            if what == "vit":
                against_trainer(data, asked.batch, asked.steps, asked.rounds, Path(scratch))
            elif what == "e3":
                e3(data, asked.batch, asked.epochs, asked.rates, Path(scratch) / "e3")
            else:
                against_plain(what, data, asked.batch, asked.steps, Path(scratch))


if __name__ == "__main__":
    main()
