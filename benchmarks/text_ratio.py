"""What does a sweep over image : text ratios cost, in closed form and with softmax heads, against fitting every cell from its rows?

    python benchmarks/text_ratio.py                       5,994 pictures and 11,988 texts of 512 features, 200 classes, 5,794 test pictures
    python benchmarks/text_ratio.py --steps 40 --seeds 1  to try it out
    python benchmarks/text_ratio.py --naive 3             so many cells of each kind are also fitted the naive way

11 ratios, 2 sources of texts, 3 seeds, class-balanced; three curves (pictures alone, fixed-total mix, all texts at 0 and five more weights),
five penalties. The naive way builds the rows of a cell, fits scikit-learn's Ridge and LinearDiscriminantAnalysis once for each penalty, or
trains one `torch.nn.Linear` with AdamW for as many steps of as many rows. Its cells are done in turns with the sweep's strips, so
that both meet the same machine; what all its cells would take is their mean times the number of cells. Printed are wall and CPU seconds:
on a machine with other work only CPU seconds and ratios mean something. Features are made; only times count, not accuracies.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge

from fieldguide.craft import selections, stacked
from fieldguide.craft.ratios import PENALTIES, SHRINKAGES, Bed, Mixture, Rows, best, closed, mixtures

SHARES = tuple(share / 10 for share in range(10, -1, -1))


@dataclass
class Clock:
    """Seconds by name: wall and CPU."""

    spent: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        entry = self.spent.setdefault(name, [0.0, 0.0, 0.0])
        for place, value in enumerate((time.perf_counter() - wall, time.process_time() - cpu, 1.0)):
            entry[place] += value


def made(width: int, classes: int, each: tuple[int, int, int, int]) -> tuple[Bed, list[Rows]]:
    """Return pictures of three parts and two sources of texts around class centres, the texts moved and flattened."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(classes, width))

    def rows(many: int, noise: float, part: float = 1.0) -> Rows:
        labels = np.arange(many) % classes
        features = part * centres[labels] + noise * random.normal(size=(many, width)) + (part != 1.0)
        return Rows(features / np.linalg.norm(features, axis=1, keepdims=True), labels)

    train, val, test, text = each
    return Bed(rows(train, 3.0), rows(val, 3.0), rows(test, 3.0), classes, SHARES), [rows(text, 2.0, 0.3), rows(text, 1.0, 0.2)]


def joined(bed: Bed, texts: Rows | None, cell: Mixture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows of a cell, their labels and how much each counts."""
    parts = [bed.train] if texts is None else [bed.train, texts]
    counted = np.concatenate([cell.mask.astype(float), cell.counted])
    used = np.flatnonzero(counted)
    return np.concatenate([p.features for p in parts])[used], np.concatenate([p.labels for p in parts])[used], counted[used]


def naive_closed(bed: Bed, texts: Rows | None, cell: Mixture, head: str) -> int:
    """Fit a cell from its rows, once for each penalty, and answer; the discriminant analysis knows no weights and counts rows once."""
    rows, labels, counted = joined(bed, texts, cell)
    kept = None
    for step in PENALTIES if head == "ridge" else SHRINKAGES:
        if head == "ridge":
            ridge = Ridge(step, solver="cholesky").fit(rows, np.eye(bed.classes)[labels], counted)
            answers, predict = ridge.predict(bed.val.features).argmax(1), lambda x, m=ridge: m.predict(x).argmax(1)
        else:
            analysis = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=step).fit(rows, labels)
            answers, predict = analysis.predict(bed.val.features), analysis.predict
        accuracy = float(np.mean(answers == bed.val.labels))
        if kept is None or accuracy > kept[0]:
            kept = accuracy, predict
    assert kept is not None
    return int((kept[1](bed.test.features) == bed.test.labels).sum())


def naive_softmax(bed: Bed, texts: Rows | None, cell: Mixture, recipe: stacked.Recipe) -> int:
    """Train one fully connected layer on the rows of a cell as a plain loop does, and answer."""
    rows, labels, counted = joined(bed, texts, cell)
    features, truth = torch.from_numpy(rows).float(), torch.from_numpy(labels)
    layer = torch.nn.Linear(rows.shape[1], bed.classes)
    optimiser = torch.optim.AdamW(layer.parameters(), recipe.rate, weight_decay=recipe.decay)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.steps)
    drawn = torch.multinomial(torch.from_numpy(counted), recipe.steps * recipe.batch, replacement=True)
    for at in drawn.view(recipe.steps, recipe.batch):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(layer(features[at]), truth[at]).backward()
        optimiser.step()
        falling.step()
    with torch.inference_mode():
        return int((layer(torch.from_numpy(bed.test.features).float()).argmax(1).numpy() == bed.test.labels).sum())


def sampled(cells: list[Mixture], many: int, seed: int) -> Iterator[Mixture]:
    for place in np.random.default_rng(seed).permutation(len(cells))[:many]:
        yield cells[place]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("width", 512), ("classes", 200), ("pictures", 5994), ("val", 1000), ("test", 5794), ("texts", 11988)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=stacked.Recipe().steps)
    parser.add_argument(
        "--stack", type=int, nargs="+", default=[stacked.STACK], help="sizes of stacks, by turns; the first is told"
    )
    parser.add_argument("--naive", type=int, default=1)
    asked = parser.parse_args()
    bed, sources = made(asked.width, asked.classes, (asked.pictures, asked.val, asked.test, asked.texts))
    tiny, _ = made(8, 4, (40, 8, 8, 8))
    for cell in mixtures(
        tiny, [np.ones(40, bool)] + [np.zeros(40, bool)] * 10, None, 0
    ):  # libraries are imported before the clock runs
        stacked.stacked(tiny, [cell], None, 0, [stacked.Recipe(steps=2)])
        naive_softmax(tiny, None, cell, stacked.Recipe(steps=2))
        for head in ("ridge", "gda"):
            naive_closed(tiny, None, cell, head)
    clock, cells = Clock(), {"closed form": 0, "softmax": 0}
    recipe = stacked.Recipe(steps=asked.steps)
    for seed in range(asked.seeds):
        with clock("closed form"):
            masks = selections.masks(selections.read("balanced"), bed.train.labels, bed.classes, SHARES, seed)
        alone: dict[str, Any] = {}
        for texts in (None, *sources):
            strip = mixtures(bed, masks, texts, seed)
            for head in ("ridge", "gda"):
                with clock("closed form"):
                    scored = closed(bed, head, strip, texts)
                    best(bed, scored, alone.setdefault(head, scored))
                cells["closed form"] += len(strip)
                for cell in sampled(strip, asked.naive, seed):
                    with clock("closed form, naive"):
                        naive_closed(bed, texts, cell, head)
            if texts is None and seed == 0:
                pilot = [strip[0], strip[len(strip) // 2], strip[-1]]
                with clock("softmax"):
                    recipe, _ = stacked.tuned(bed, pilot, seed, recipe)
                cells["softmax"] += len(pilot) * len(stacked.RATES) * len(stacked.DECAYS)
            for size in asked.stack:
                with clock("softmax" if size == asked.stack[0] else f"softmax, {size} a stack"):
                    stacked.stacked(bed, strip, texts, seed, [recipe] * len(strip), size=size)
            cells["softmax"] += len(strip)
            for cell in sampled(strip, asked.naive, seed):
                with clock("softmax, naive"):
                    naive_softmax(bed, texts, cell, recipe)
    for name, many in cells.items():
        wall, cpu, _ = clock.spent[name]
        print(f"{name}: {many} fits, {wall:.1f} s, {cpu:.1f} CPU s ({1000 * cpu / many:.1f} CPU ms each)")
        if f"{name}, naive" in clock.spent:
            slow = [value * many / clock.spent[f"{name}, naive"][2] for value in clock.spent[f"{name}, naive"][:2]]
            print(
                f"  naive: {slow[0]:.0f} s, {slow[1]:.0f} CPU s for as many; ratio {slow[0] / wall:.1f} (CPU {slow[1] / cpu:.1f})"
            )
    for name, (wall, cpu, _) in clock.spent.items():
        if name.endswith("a stack"):
            print(f"{name}: {wall:.1f} s, {cpu:.1f} CPU s")
    print(f"recipe: {recipe}; threads {torch.get_num_threads()}, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
