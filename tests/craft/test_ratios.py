"""Cells from sums are those from rows; texts at a weight that validation chooses do not hurt where texts at full weight do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.craft.planted_texts import SHARES, planted

from fieldguide.craft import selections
from fieldguide.craft.heads import gda, ridge, sums
from fieldguide.craft.ratios import PENALTIES, SHRINKAGES, Bed, Mixture, Rows, added, best, closed, heads, mixtures


def cells_of(bed: Bed, texts: Rows | None, seed: int = 0) -> list[Mixture]:
    masks = selections.masks(selections.read("balanced"), bed.train.labels, bed.classes, bed.shares, seed)
    return mixtures(bed, masks, texts, seed)


def test_sums_of_every_cell_are_those_of_its_rows() -> None:
    bed, texts = planted()
    cells = [*cells_of(bed, None), *cells_of(bed, texts)]
    assert len(cells) == 3 + 3 + 3 * len(bed.weights) + 1
    for group, said in ((cells[:3], None), (cells[3:], texts)):
        for cell, of in zip(group, added(bed, group, said), strict=True):
            counted = np.concatenate([cell.mask.astype(float), cell.counted])
            used = np.flatnonzero(counted)
            rows = np.concatenate([bed.train.features, texts.features])[used]
            labels = np.concatenate([bed.train.labels, texts.labels])[used]
            again = sums(np.repeat(rows, 1, axis=0), labels, bed.classes, counted[used])
            for one, other in ((of.n, again.n), (of.first, again.first), (of.second, again.second)):
                assert np.abs(one - other).max() < 1e-9
            if cell.curve == "mix":  # whole repetitions: the same as rows that stand there so often
                often = counted[used].astype(int)
                plain = sums(np.repeat(rows, often, axis=0), np.repeat(labels, often), bed.classes)
                assert np.abs(plain.second - of.second).max() < 1e-9


def test_heads_by_cholesky_are_those_by_eigenvalues() -> None:
    bed, texts = planted()
    (of,) = added(bed, cells_of(bed, texts)[:1], texts)
    for kind, grid, reference in (("ridge", PENALTIES, ridge), ("gda", SHRINKAGES, gda)):
        for one, other in zip(heads(kind, of, grid), reference(of, grid), strict=True):
            assert np.allclose(one(bed.test.features), other(bed.test.features), rtol=1e-8, atol=1e-8)


def test_a_mix_keeps_the_total_and_a_weight_counts_classes_alike() -> None:
    bed, texts = planted()
    uneven = np.r_[np.flatnonzero(texts.labels != 1), np.flatnonzero(texts.labels == 1)[:1]]
    texts = Rows(texts.features[uneven], texts.labels[uneven])
    for cell in cells_of(bed, texts):
        pictures, lines, *_ = cell.coverage(bed)
        if cell.curve == "mix":
            assert pictures + lines == len(bed.train.labels)
        else:
            each = np.bincount(texts.labels, cell.counted)
            assert np.allclose(each, bed.each * (1.0 if cell.weight is None else cell.weight))


@pytest.mark.parametrize("head", ["ridge", "gda"])
def test_texts_that_mislead_hurt_in_a_mix_and_not_at_a_chosen_weight(head: str) -> None:
    bed, texts = planted(turn=1.0)
    alone = {cell.share: cell for cell in closed(bed, head, cells_of(bed, None), None)}
    found = best(bed, closed(bed, head, cells_of(bed, texts), texts), list(alone.values()))
    mix = {cell.share: cell for cell in found if cell.curve == "mix"}
    weighted = {cell.share: cell for cell in found if cell.curve == "weighted"}
    assert set(weighted) == set(SHARES) and set(mix) == {0.5, 0.2, 0.0}
    assert alone[0.2].right.mean() - mix[0.2].right.mean() > 0.03
    for share in SHARES[:3]:
        assert weighted[share].right.mean() > alone[share].right.mean() - 0.02
        assert weighted[share].val_accuracy >= alone[share].val_accuracy
    assert mix[0.0].weight is None and weighted[0.0].weight is None


def test_texts_that_tell_help_where_pictures_are_few() -> None:
    bed, texts = planted(turn=0.2)
    alone = closed(bed, "gda", cells_of(bed, None), None)
    found = best(bed, closed(bed, "gda", cells_of(bed, texts), texts), alone)
    few = next(cell for cell in found if cell.curve == "weighted" and cell.share == 0.2)
    assert (few.weight or 0) > 0
    assert few.right.mean() > alone[-1].right.mean() + 0.03


def test_random_texts_are_dropped() -> None:
    bed, texts = planted(turn=0.2)
    lots = np.random.default_rng(0).permutation(len(texts.labels))
    shuffled = Rows(texts.features, texts.labels[lots])
    alone = closed(bed, "ridge", cells_of(bed, None), None)
    found = best(bed, closed(bed, "ridge", cells_of(bed, shuffled), shuffled), alone)
    chance = next(cell for cell in found if cell.curve == "weighted" and cell.share == 0.0)
    assert chance.right.mean() < 0.15
    most = next(cell for cell in found if cell.curve == "weighted" and cell.share == 1.0)
    assert most.weight in (0.0, 0.01, 0.03)


def test_a_class_without_rows_is_never_answered() -> None:
    bed, _ = planted()
    masks = selections.masks(selections.read("class-drop(0.25)"), bed.train.labels, bed.classes, (0.5,), 0)
    there = set(bed.train.labels[masks[0]].tolist())
    cells = mixtures(replace(bed, shares=(0.5,)), masks, None, 0)
    for head in ("ridge", "gda"):
        (cell,) = closed(replace(bed, shares=(0.5,)), head, cells, None)
        assert cell.present == 15 and cell.fewest == 0
        assert not cell.right[~np.isin(bed.test.labels, list(there))].any()
