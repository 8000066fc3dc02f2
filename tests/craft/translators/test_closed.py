"""Translators in closed form find a hidden map, choose on pairs that were held out, and say where they do not apply."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.craft.translators.planted import cosine, factors, pairs, rotation, turned

from fieldguide.craft.translators import NAMES, NotApplicable, Pairs, Said, Translator, fitted, why_not
from fieldguide.craft.translators.choosing import halves, units
from fieldguide.craft.translators.closed import PENALTIES
from fieldguide.craft.translators.keeping import key_of, load, save

CLOSED = ("identity", "shift", "procrustes", "ridge", "memory")


def learned(name: str, of: Pairs, seed: int = 0, val: Pairs | None = None) -> Translator:
    one = fitted(name, of, seed, val)
    assert not isinstance(one, NotApplicable), one
    return one


def test_a_hidden_rotation_scale_and_shift_are_found_exactly() -> None:
    given, held = turned(0, noise=0.0), turned(1, noise=0.0)
    one = learned("procrustes", given)
    assert np.allclose(one(held.lines), held.pictures, atol=1e-4)
    assert one.told["scale"] == pytest.approx(2.0, abs=1e-4)
    assert cosine(learned("shift", given)(held.lines), held.pictures) < 0.5


@pytest.mark.parametrize(("width", "features"), [(24, 16), (16, 24)])
def test_a_rotation_between_different_widths_is_found_too(width: int, features: int) -> None:
    given, held = turned(0, width, features, noise=0.0), turned(1, width, features, noise=0.0)
    one: object = learned("procrustes", given)
    assert np.allclose(one(held.lines), held.pictures, atol=1e-3)  # type: ignore[operator]
    weights = one.weights / one.told["scale"]  # type: ignore[attr-defined]
    product = weights.T @ weights if width > features else weights @ weights.T
    assert np.allclose(product, np.eye(16), atol=1e-6)


def test_the_best_of_one_scale_for_all_is_taken() -> None:
    given = turned(3, 24, 16, noise=0.5)
    one = learned("procrustes", given)
    wrong = ((one(given.lines) - given.pictures) ** 2).sum()
    for factor in (0.97, 1.03):
        other = (one(given.lines) - given.pictures.mean(0)) * factor + given.pictures.mean(0)
        assert ((other - given.pictures) ** 2).sum() > wrong


def test_ridge_is_least_squares_with_its_penalty() -> None:
    for n in (600, 10):  # more pairs than features, and fewer
        given = turned(2, 20, 16, noise=0.3).take(np.arange(n))
        one: object = learned("ridge", given)
        lines, pictures = given.lines.pooled.astype(float), given.pictures.astype(float)
        a, b = lines - lines.mean(0), pictures - pictures.mean(0)
        # Of fewer pairs than features only so many directions have a variance at all.
        penalty = one.told["penalty"] * np.trace(a.T @ a) / min(n, 20)  # type: ignore[attr-defined]
        assert np.allclose(one.weights, np.linalg.solve(a.T @ a + penalty * np.eye(20), a.T @ b), atol=1e-5)  # type: ignore[attr-defined]
        assert np.allclose(one(Said(given.lines.pooled.mean(0)[None])), given.pictures.mean(0), atol=1e-4)  # type: ignore[operator]


def test_in_a_shared_space_ridge_leaves_what_few_classes_cannot_teach() -> None:
    random = np.random.default_rng(7)
    made, labels = factors(random, classes=8, each=20, width=40)
    few = pairs(made + 0.3 * random.normal(size=made.shape) + 2.0, made, labels)
    other, _ = factors(random, classes=30, each=4, width=40)
    one = learned("ridge", few)
    assert one.told["towards"] == "identity"
    assert cosine(one(Said((other + 2.0).astype(np.float32))), other) > 0.9


def test_what_sees_part_of_a_picture_ranks_as_in_the_made_geometry() -> None:
    given, held = turned(0, seen=6, noise=0.2), turned(1, seen=6, noise=0.2)
    score = {name: cosine(learned(name, given)(held.lines), held.pictures) for name in CLOSED}
    assert score["ridge"] > score["identity"] + 0.2 and score["procrustes"] > score["shift"] + 0.2
    assert score["memory"] > score["shift"] + 0.2
    gap = {name: np.linalg.norm(learned(name, given)(held.lines).mean(0) - held.pictures.mean(0)) for name in CLOSED}
    assert gap["shift"] < 1 < 5 < gap["identity"]


def test_a_penalty_is_chosen_on_pairs_of_other_classes() -> None:
    random = np.random.default_rng(5)
    # Each class has a marker of its own in the lines; only across classes it turns out to tell nothing.
    given = turned(4, noise=0.3)
    marker = np.eye(20)[given.groups] * 30
    lines = np.concatenate([given.lines.pooled + 3 * random.normal(size=given.lines.pooled.shape), marker], axis=1)
    apart, mixed = pairs(lines, given.pictures, given.groups), pairs(lines, given.pictures)
    strict, lax = learned("ridge", apart).told, learned("ridge", mixed).told
    assert {strict["penalty"], lax["penalty"]} <= set(PENALTIES)
    assert strict["r2"] < lax["r2"] - 0.1
    learning, choosing = halves(apart, 0) or (apart, apart)
    assert not set(learning.groups) & set(choosing.groups) and len(choosing) == len(given) // 5


def test_lines_of_one_picture_are_never_divided() -> None:
    given = turned(6)
    three = pairs(np.repeat(given.lines.pooled, 3, 0), np.repeat(given.pictures, 3, 0))
    assert len(np.unique(units(three))) == len(given)
    learning, choosing = halves(three, 1) or (three, three)
    assert not {row.tobytes() for row in learning.pictures} & {row.tobytes() for row in choosing.pictures}


def test_pairs_to_choose_on_can_be_given() -> None:
    given, val = turned(0, noise=0.5), turned(1, noise=0.5)
    assert learned("ridge", given, val=val).told["held_out"] == len(val)
    # Pairs that were shuffled agree with nothing, so nothing but the mean is believed.
    shuffled = pairs(val.lines.pooled[::-1], val.pictures)
    assert learned("memory", given, val=shuffled).told["r2"] < 0.1 < 0.2 < learned("memory", given, val=val).told["r2"]


def test_memory_gives_nothing_but_means_of_pictures_it_knows() -> None:
    random = np.random.default_rng(0)
    flat = random.normal(size=(40, 2)) @ rotation(random, 2, 8) + 1.0
    known = pairs(random.normal(size=(40, 8)), flat)
    made = learned("memory", known)(Said(random.normal(size=(300, 8)).astype(np.float32) * 5))
    away = made - flat.mean(0)
    plane = np.linalg.svd(flat - flat.mean(0))[2][:2]
    assert np.allclose(away, away @ plane.T @ plane, atol=1e-4)
    assert (made <= flat.max(0) + 1e-5).all() and (made >= flat.min(0) - 1e-5).all()
    own = learned("memory", turned(0, noise=0.0))
    assert cosine(own(turned(0, noise=0.0).lines), turned(0, noise=0.0).pictures) > 0.9


def test_what_does_not_apply_is_a_value_with_its_reason() -> None:
    wide = turned(0, 24, 16)
    for name in ("identity", "shift"):
        found = fitted(name, wide)
        assert isinstance(found, NotApplicable) and "24 features" in found.why and "16" in found.why
    tokens = fitted("qformer", wide)
    assert isinstance(tokens, NotApplicable) and "tokens" in tokens.why
    assert why_not("ridge", wide.take(np.arange(0))) == "there is no pair to learn from"
    assert all(why_not(name, turned(0)) is None for name in NAMES if name != "qformer")


@pytest.mark.parametrize("name", CLOSED)
def test_one_pair_is_enough_not_to_fail(name: str) -> None:
    given = turned(0).take(np.arange(1))
    assert np.isfinite(learned(name, given)(turned(1).lines)).all()
    assert learned(name, given)(turned(1).lines.take(np.arange(0))).shape == (0, 16)


@pytest.mark.parametrize("name", CLOSED)
def test_what_was_saved_translates_to_the_bit(name: str, tmp_path: Path) -> None:
    given, held = turned(0), turned(1)
    one = learned(name, given)
    save(one, tmp_path / "it")
    again = load(tmp_path / "it")
    assert np.array_equal(again(held.lines), one(held.lines)) and again.told == one.told and again.name == name
    assert np.array_equal(learned(name, given)(held.lines), one(held.lines))


def test_the_key_of_a_translator_knows_every_pair() -> None:
    given = turned(0)
    other = pairs(given.lines.pooled, given.pictures[::-1], given.groups)
    keys = {key_of("mlp", given, None, {}), key_of("mlp", other, None, {}), key_of("mlp", given, given, {})}
    assert len({*keys, key_of("mlp", given, None, {"seed": 1})}) == 4
    assert key_of("mlp", turned(0), None, {}) in keys
