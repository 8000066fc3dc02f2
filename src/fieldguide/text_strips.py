"""The cells of a sweep, a strip at a time: all shares and weights of one selection, seed, head and kind of text.

    store/text_ratio/<key>.json    what came of one strip; the key is a hash of all that decides it

A strip is whole or absent, so a killed sweep loses at most one, and the same command goes on with the next to the same numbers.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.bench import Progress
from fieldguide.evaluate.text_ratio import Cell
from fieldguide.files import digest, read_json, sweep, write_json
from fieldguide.text_rows import Gathered, Sized, Translated

if TYPE_CHECKING:
    from fieldguide.craft.ratios import Mixture, Scored
    from fieldguide.craft.stacked import Recipe
    from fieldguide.text_ratio import Costs, Order

#: Written into every key; it changes when the same rows would give other cells.
_VERSION = 1
_NUMBERS = ("share", "val_accuracy", "chosen", "pictures", "texts", "present", "fewest", "most")


@dataclass
class Strips:
    """Does the strips of `rows`, or reads what was done before; `notes` fill up with what was chosen for all."""

    folder: Path
    rows: Gathered
    seed: int
    progress: Progress
    notes: list[str] = field(default_factory=list)

    def cells(self, head: str) -> list[Cell]:
        """Return the cells of one head, of all selections, seeds, sources and translators."""
        from fieldguide.craft import ratios, selections

        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)
        bed, order = self.rows.bed, self.rows.order
        recipe = self._recipe() if head == "softmax" else None
        found: list[Cell] = []
        with self.progress.bar("closed form" if recipe is None else "softmax", _fits(order, len(self.rows.said))) as bar:
            for words in order.selections:
                for seed in range(self.seed, self.seed + order.asked.seeds):
                    masks = selections.masks(selections.read(words), bed.train.labels, bed.classes, bed.shares, seed)
                    alone: list[Scored] = []
                    for said in (None, *self.rows.said):
                        bar.advance(0, note=f"{words}, seed {seed}" + (f", {said.source}" if said else ""))
                        cells = ratios.mixtures(bed, masks, said.rows if said else None, seed)
                        scored = self._strip(cells, said, (head, words, seed), recipe, bar)
                        alone = alone if said else scored
                        kept = ratios.best(bed, scored, alone)
                        found += [_cell(one, (head, words, seed), said) for one in (kept if said else scored)]
        return found

    def _strip(
        self, cells: Sequence[Mixture], said: Translated | None, what: tuple[str, str, int], recipe: Recipe | None, bar: Any
    ) -> list[Scored]:
        from fieldguide.craft import ratios

        bed, (head, _, seed) = self.rows.bed, what
        asked = [bed.shares, bed.weights, ratios.PENALTIES, ratios.SHRINKAGES]
        path = self._path("strip", said.key if said else None, what, asked, str(recipe))
        if (scored := _read(path)) is not None:
            bar.advance(len(cells))
            return scored
        texts = said.rows if said else None
        if recipe is None:
            scored = ratios.closed(bed, "ridge" if head == "ridge" else "gda", cells, texts, bar.advance)
        else:
            from fieldguide.craft.stacked import stacked

            scored = stacked(bed, cells, texts, seed, [recipe] * len(cells), bar.advance)
        _write(path, scored)
        return scored

    def _path(self, *decided: object) -> Path:
        return self.folder / f"{digest(_VERSION, self.rows.key, *decided)[:32]}.json"

    def _recipe(self) -> Recipe:
        """Return how softmax heads are trained: rate and decay chosen once, on validation, for pictures alone of three shares."""
        from fieldguide.craft import ratios, selections, stacked

        bed, order = self.rows.bed, self.rows.order
        masks = selections.masks(selections.read(order.selections[0]), bed.train.labels, bed.classes, bed.shares, self.seed)
        cells = ratios.mixtures(bed, masks, None, self.seed)
        cells = list({id(cell): cell for cell in (cells[0], cells[len(cells) // 2], cells[-1])}.values())
        path = self._path("recipe", order.selections[0], [cell.share for cell in cells], self.seed, str(stacked.Recipe()))
        pairs = [(rate, decay) for rate in stacked.RATES for decay in stacked.DECAYS]
        known = _read(path)
        if known is None:
            with self.progress.bar("choose a rate", len(pairs) * len(cells)) as bar:
                recipe, known = stacked.tuned(bed, cells, self.seed, stacked.Recipe(), bar.advance)
            _write(path, known)
        recipe = stacked.preferred(known, len(cells))
        self.notes.append(f"Softmax heads: {recipe}; chosen on validation pictures once for all cells.")
        return recipe


def _fits(order: Order, couples: int) -> int:
    """Return the fits of one head, about: each share of pictures alone, in a mix, and added to at every weight."""
    from fieldguide.craft.ratios import WEIGHTS

    shares = len(order.shares)
    return len(order.selections) * order.asked.seeds * (shares + couples * shares * (1 + len(WEIGHTS)))


def _cell(scored: Scored, what: tuple[str, str, int], said: Translated | None) -> Cell:
    head, selection, seed = what
    return Cell(
        scored.curve,
        selection,
        said.source if said else None,
        said.translator if said else None,
        head,
        round(100 * scored.share, 6),
        seed,
        scored.right,
        scored.val_accuracy,
        scored.weight,
        scored.pictures,
        scored.texts,
        scored.present,
        scored.fewest,
        scored.most,
    )


def _write(path: Path, scored: Sequence[Scored]) -> None:
    """Keep the cells of a strip: JSON keeps every digit of a number; of each test picture one bit, in base 64."""
    names = (*_NUMBERS, "curve", "weight")
    told = [{**{name: getattr(one, name) for name in names}, "right": _packed(one.right)} for one in scored]
    write_json(path, {"test": len(scored[0].right), "cells": told})


def _packed(right: NDArray[np.bool_]) -> str:
    return base64.b64encode(np.packbits(right).tobytes()).decode("ascii")


def _read(path: Path) -> list[Scored] | None:
    """Return what `_write` kept; `None` where there is nothing, or nothing whole: it is done again."""
    from fieldguide.craft.ratios import Scored

    if not path.exists():
        return None
    try:
        kept = read_json(path)
        found = []
        for one in kept["cells"]:
            bits = np.frombuffer(base64.b64decode(one["right"]), np.uint8)
            found.append(Scored(**{**one, "right": np.unpackbits(bits, count=kept["test"]).astype(bool)}))
        return found
    except (ValueError, KeyError, TypeError):
        return None


def costs(of: Sized, order: Order) -> Costs:
    """Return what a sweep would take; a batch of pictures, a solution and a few training steps are timed here."""
    import torch

    from fieldguide.craft import ratios, stacked
    from fieldguide.craft.heads import sums
    from fieldguide.text_ratio import Costs

    side = of.encoder.sees.preprocessing.size
    look = _seconds(lambda: of.encoder.sees.pictures(torch.zeros(8, 3, side, side))) / 8
    width = of.encoder.sees.width
    random = np.random.default_rng(0)
    labels = np.arange(4 * of.classes) % of.classes
    some = ratios.Rows(random.normal(size=(len(labels), width)), labels)
    total = sums(some.features, labels, of.classes)
    closed = [head for head in order.heads if head != "softmax"]
    solve = _seconds(lambda: ratios.heads("ridge", total, ratios.PENALTIES)) + _seconds(
        lambda: [np.zeros((of.val, width), np.float32) @ np.zeros((width, of.classes), np.float32) for _ in ratios.PENALTIES]
    )
    fits = _fits(order, of.pairs)
    recipe = stacked.Recipe()
    few = replace(recipe, steps=10)
    bed = ratios.Bed(some, some, some, of.classes, (1.0,))
    cells = [ratios.Mixture("pictures", 1.0, np.ones(len(labels), bool), np.zeros(0))] * stacked.STACK
    step = _seconds(lambda: stacked.stacked(bed, cells, None, 0, [few] * len(cells))) / few.steps / len(cells)
    trained = (fits + 3 * len(stacked.RATES) * len(stacked.DECAYS)) if "softmax" in order.heads else 0
    return Costs(
        of.pictures,
        of.lines,
        fits * len(closed),
        trained,
        look * of.pictures,
        solve * fits * len(closed),
        step * recipe.steps * trained,
    )


def _seconds(work: Any) -> float:
    work()
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
