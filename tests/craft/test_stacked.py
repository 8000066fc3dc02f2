"""Softmax heads side by side are the heads one at a time, and what a plain training loop of torch comes to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.craft.planted_texts import planted
from tests.craft.test_ratios import cells_of

from fieldguide.craft import stacked
from fieldguide.craft.ratios import closed


def trained(size: int, recipes: list[stacked.Recipe]) -> tuple[torch.Tensor, torch.Tensor]:
    bed, texts = planted()
    table = stacked._table(bed, texts)
    draws = [stacked._draws(cell, 0, recipes[0]) for cell in cells_of(bed, texts)[: len(recipes)]]
    parts = [
        stacked._trained(table, draws[start : start + size], recipes[start : start + size], bed.classes)
        for start in range(0, len(recipes), size)
    ]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def test_a_stack_is_its_cells_one_at_a_time() -> None:
    recipes = [stacked.Recipe(40, 64, rate, decay) for rate in (0.003, 0.03) for decay in (0.01, 0.3)]
    for one, other in zip(trained(4, recipes), trained(1, recipes), strict=True):
        assert (one - other).abs().max() < 1e-4
        assert (one[0] - one[3]).abs().max() > 0.01, "each has its own rate and decay"


def test_steps_are_those_of_torch() -> None:
    bed, texts = planted()
    recipe = stacked.Recipe(30, 64, 0.01, 0.1)
    weights, bias = trained(1, [recipe])
    table = stacked._table(bed, texts)
    layer = torch.nn.Linear(table.features.shape[1], bed.classes)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    groups = [{"params": [layer.weight], "weight_decay": recipe.decay}, {"params": [layer.bias], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=recipe.rate)
    for step, at in enumerate(stacked._draws(cells_of(bed, texts)[0], 0, recipe)):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * (0.5 + 0.5 * np.cos(np.pi * step / recipe.steps))
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(layer(table.features[at]), table.labels[at]).backward()
        optimiser.step()
    assert (layer.weight.T - weights[0]).abs().max() < 1e-4
    assert (layer.bias - bias[0, 0]).abs().max() < 1e-4


def test_rows_are_drawn_as_often_as_they_count() -> None:
    bed, texts = planted()
    cell = next(cell for cell in cells_of(bed, texts) if cell.curve == "weighted" and cell.weight == 0.1)
    drawn = stacked._draws(cell, 0, stacked.Recipe(100, 256))
    pictures = int(cell.mask.sum())
    expected = cell.counted.sum() / (cell.counted.sum() + pictures)
    assert float((drawn >= len(cell.mask)).float().mean()) == pytest.approx(expected, abs=0.01)
    assert cell.mask[drawn[drawn < len(cell.mask)].numpy()].all()


def test_a_head_learns_about_what_closed_forms_do_and_its_rate_is_chosen_on_validation() -> None:
    bed, _ = planted()
    cells = cells_of(bed, None)
    recipe, tried = stacked.tuned(bed, cells[::2], 0, stacked.Recipe(100, 64))
    assert recipe == stacked.preferred(tried, 2, stacked.Recipe(100, 64))
    assert len(tried) == 2 * len(stacked.RATES) * len(stacked.DECAYS)
    scored = stacked.stacked(bed, cells, None, 0, [recipe] * len(cells))
    ridge = closed(bed, "ridge", cells, None)
    for one, other in zip(scored, ridge, strict=True):
        assert one.right.mean() > other.right.mean() - 0.07
        assert (one.pictures, one.fewest, one.curve) == (other.pictures, other.fewest, "pictures")
