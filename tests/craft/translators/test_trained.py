"""The two networks learn what no linear map does, keep their queries apart, respect the mask and are never trained twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.craft.translators.planted import bent, cosine, factors, pairs

from fieldguide.craft.translators import NotApplicable, Pairs, Said, Work, crossed, fitted, training
from fieldguide.craft.translators.crossing import Crossed
from fieldguide.craft.translators.keeping import load, save
from fieldguide.craft.translators.networks import Network, QFormer, Shape, built
from fieldguide.craft.translators.training import How, moments

QUICK = How(steps=90, hidden=64, batch_size=64, learning_rate=6e-3)


def worded(seed: int = 0, words: int = 12, length: int = 9) -> Pairs:
    """A line has the words of its picture's largest factors, in any order, padded; pooled, one word drowns in the noise of others."""
    random = np.random.default_rng(seed)
    made, labels = factors(random, classes=20, each=20, width=words)
    table = np.random.default_rng(96).normal(size=(words + 1, 24))
    tokens, mask = np.zeros((len(made), length, 24), np.float32), np.zeros((len(made), length), bool)
    for row, picture in enumerate(made):
        said = [*np.flatnonzero(picture > 0.8), *[words] * int(random.integers(1, 3))][: length - 1]
        tokens[row, : len(said)], mask[row, : len(said)] = table[random.permutation(said)], True
    pooled = tokens.sum(1) / mask.sum(1, keepdims=True) + random.normal(size=(len(made), 24))
    return Pairs(Said(pooled.astype(np.float32), tokens, mask), np.maximum(made, 0).astype(np.float32), labels)


def taught(name: str, of: Pairs, how: How = QUICK, work: Work | None = None, seed: int = 0) -> Network:
    one = training.trained(name, of, seed, None, work or Work(), how)
    assert isinstance(one, Network)
    return one


@pytest.fixture(scope="module")
def queries() -> Network:
    return taught("qformer", worded())


def test_an_mlp_learns_what_no_linear_map_does() -> None:
    given, held = bent(0), bent(1)
    straight = fitted("ridge", given)
    assert not isinstance(straight, NotApplicable)
    score = cosine(
        taught("mlp", given, How(steps=100, hidden=128, batch_size=64, learning_rate=1e-2))(held.lines), held.pictures
    )
    assert score > cosine(straight(held.lines), held.pictures) + 0.1 and score > 0.9


def test_a_q_former_reads_what_pooling_lost(queries: Network) -> None:
    held = worded(1)
    ridge = fitted("ridge", worded())
    assert not isinstance(ridge, NotApplicable)
    assert cosine(queries(held.lines), held.pictures) > cosine(ridge(held.lines), held.pictures) + 0.1


def test_its_queries_begin_apart_and_stay_so(queries: Network) -> None:
    held = worded(1).lines
    assert isinstance(queries.network, QFormer)
    with torch.inference_mode():
        states = queries.network.states(torch.from_numpy(held.tokens), torch.from_numpy(held.mask))
    spread = states.std(dim=1).mean() / states.std()
    assert spread > 0.01
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fresh = built("qformer", Shape(24, 12, hidden=64, heads=1))
    assert isinstance(fresh, QFormer)
    for one in (fresh, queries.network):
        assert torch.pdist(one.queries.detach()[0]).min() > 0.1


def test_what_is_behind_the_mask_is_not_read(queries: Network) -> None:
    held = worded(1).lines
    noise = np.where(held.mask[:, :, None], held.tokens, 100.0).astype(np.float32)
    longer = np.concatenate([noise, noise[:, :3]], axis=1)
    mask = np.concatenate([held.mask, np.zeros((len(held.mask), 3), bool)], axis=1)
    plain = queries(held)
    assert np.allclose(queries(replace(held, tokens=noise)), plain, atol=1e-4)
    assert np.allclose(queries(Said(held.pooled, longer, mask)), plain, atol=1e-4)
    assert np.allclose(queries(held.take(np.arange(1))), plain[:1], atol=1e-4)
    assert not np.allclose(queries(replace(held, mask=np.ones_like(held.mask))), plain, atol=1e-2)
    assert np.isfinite(queries(replace(held, mask=np.zeros_like(held.mask)))).all()


def test_mean_and_spread_of_what_is_made_are_those_of_pictures(queries: Network) -> None:
    given, held = worded(), worded(1)
    ridge = fitted("ridge", given)
    assert not isinstance(ridge, NotApplicable)
    ratio = queries(held.lines).var(0).sum() / held.pictures.var(0).sum()
    assert abs(ratio - 1) < 0.25 and ridge(held.lines).var(0).sum() / held.pictures.var(0).sum() < 0.75
    gap = np.linalg.norm(queries(held.lines).mean(0) - held.pictures.mean(0))
    assert gap < 0.5 * np.sqrt(held.pictures.var(0).sum())


def test_moments_are_zero_for_equals_and_grow_with_both() -> None:
    rows = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    assert moments(rows, rows) == 0 and moments(rows[:3], rows[:3] + 9) == 0
    assert moments(rows + 1, rows) == pytest.approx(5 / rows.T.cov().diagonal().sum().item(), rel=1e-4)
    assert moments(rows * 2, rows) == pytest.approx(
        9 + (rows.mean(0).square().sum() / rows.T.cov().diagonal().sum()).item(), rel=1e-3
    )


def test_another_line_of_the_same_picture_is_no_wrong_answer() -> None:
    standard = training.Standard(training.Shape(2, 4))
    seen = torch.eye(4)[[0, 0, 1, 2]] * 5
    same = torch.tensor(
        [[True, True, False, False], [True, True, False, False], [False, False, True, False], [False] * 3 + [True]]
    )
    how = How(moments=0.0)
    assert training.loss_of(seen, seen, standard, same, how) < 1e-3
    assert training.loss_of(seen, seen, standard, torch.eye(4, dtype=torch.bool), how) > 0.3


@pytest.mark.parametrize("name", ["mlp", "qformer"])
def test_what_was_trained_is_read_and_not_trained_again(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, held, quick = worded(), worded(1), How(steps=3, hidden=64)
    before = torch.get_rng_state()
    one = taught(name, given, quick, Work(tmp_path))
    assert torch.equal(torch.get_rng_state(), before)
    fresh = taught(name, given, quick)
    assert np.array_equal(fresh(held.lines), one(held.lines)) and fresh.told == one.told
    monkeypatch.setattr(training, "_trained", lambda *_: pytest.fail("it was trained a second time"))
    again = taught(name, given, quick, Work(tmp_path))
    assert np.array_equal(again(held.lines), one(held.lines)) and again.told == one.told
    with pytest.raises(pytest.fail.Exception):
        taught(name, given, quick, Work(tmp_path), seed=1)
    save(one, tmp_path / "copy")
    assert np.array_equal(load(tmp_path / "copy")(held.lines), one(held.lines))


def test_networks_are_crossed_like_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "HOW", dict.fromkeys(training.HOW, How(steps=2, hidden=64)))
    given = worded()
    apart = crossed("mlp", given, 2, 0)
    assert isinstance(apart, Crossed) and apart(given.lines, given.groups).shape == given.pictures.shape
    single = given.take(np.arange(1))
    alone = fitted("qformer", single)
    assert not isinstance(alone, NotApplicable) and np.isfinite(alone(single.lines)).all()
    bare = fitted("mlp", pairs(given.lines.pooled[:2], given.pictures[:2]))
    assert not isinstance(bare, NotApplicable) and np.isfinite(bare(given.lines)).all()
