"""Text beside pictures: it helps where pictures are few, is dropped where it tells nothing, and does what each method says by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.craft.translators.planted import factors

from fieldguide.bench import Bench, read_log
from fieldguide.craft import adapting
from fieldguide.craft.adapting import METHODS, Given, vectors_of
from fieldguide.craft.heads import Head, accuracy, unit
from fieldguide.craft.layers import How

CLASSES = 12
WEIGHTS = (0.0, 0.1, 0.3, 1.0, 3.0)
HOW = How(steps=60, batch_size=64, learning_rate=0.02, weight_decay=0.01, scale=10.0)


def planted(few: int, seed: int = 0, permuted: bool = False) -> tuple[Given, tuple[np.ndarray, np.ndarray]]:
    """Return `few` pictures a class, texts that lie around the classes' means, ten validation pictures a class; and test pictures."""
    random = np.random.default_rng(seed)
    made, labels = factors(random, CLASSES, 60, 24)
    made, order = unit(made + 0.6 * random.normal(size=made.shape)), np.arange(len(made)) % 60
    means = np.stack([made[labels == group].mean(0) for group in range(CLASSES)])
    of = np.repeat(np.arange(CLASSES), 8)
    told = unit(unit(means)[of] + 0.15 * random.normal(size=(len(of), 24)))
    of = (of + 5) % CLASSES if permuted else of
    part = {name: (made[here], labels[here]) for name, here in (("train", order < few), ("val", (order >= 20) & (order < 30)))}
    given = Given(part["train"], part["val"], (told, of), vectors_of(told, of, CLASSES), CLASSES)
    return given, (made[order >= 30], labels[order >= 30])


def chosen(method: str, given: Given, scratch: Path, weights: tuple[float, ...] = WEIGHTS) -> tuple[Head, float, str]:
    bench = Bench(scratch)
    return adapting.best(METHODS[method](given, weights, HOW, bench), weights, given.val, bench)


@pytest.mark.parametrize("method", ["mix", "init", "bias", "rows"])
def test_text_helps_where_pictures_are_few(method: str, tmp_path: Path) -> None:
    given, test = planted(few=1)
    head, weight, why = chosen(method, given, tmp_path)
    alone = METHODS[method](given, (0.0,), HOW, Bench(tmp_path))[0]
    assert weight > 0 and why == "on 120 validation pictures"
    assert accuracy(head(test[0]), test[1]) > accuracy(alone(test[0]), test[1]) + 0.1
    told = [event for event in read_log(tmp_path / "log.jsonl") if event["event"] == "text_weight"]
    assert [event["weight"] for event in told] == list(WEIGHTS) and all(event["val_accuracy"] > 0 for event in told)


@pytest.mark.parametrize("method", ["mix", "bias", "rows"])
def test_text_of_other_classes_is_dropped(method: str, tmp_path: Path) -> None:
    given, test = planted(few=12, permuted=True)
    head, weight, _ = chosen(method, given, tmp_path)
    assert weight == 0
    alone = METHODS[method](given, (0.0,), HOW, Bench(tmp_path))[0]
    assert np.allclose(head(test[0]), alone(test[0]), atol=1e-3)
    (believed,) = METHODS[method](given, (3.0,), HOW, Bench(tmp_path))
    assert accuracy(believed(test[0]), test[1]) < accuracy(head(test[0]), test[1]) - 0.05


def test_at_a_weight_of_nothing_texts_are_not_looked_at(tmp_path: Path) -> None:
    given, test = planted(few=3)
    other = Given(given.pictures, given.val, (given.texts[0][::-1].copy(), given.texts[1]), given.vectors[::-1].copy(), CLASSES)
    for method in ("mix", "init", "bias", "rows"):
        (tmp_path / method).mkdir()
        (tmp_path / f"{method} other").mkdir()
        one = METHODS[method](given, (0.0,), HOW, Bench(tmp_path / method))[0]
        two = METHODS[method](other, (0.0,), HOW, Bench(tmp_path / f"{method} other"))[0]
        assert np.array_equal(one(test[0]), two(test[0])), method


def test_equals_go_to_the_smaller_weight_and_without_validation_the_middle_one_is_told(tmp_path: Path) -> None:
    given, _ = planted(few=3)
    head = Head(given.vectors.T, np.zeros(CLASSES))
    same = adapting.best([head] * 3, (1.0, 0.0, 0.3), given.val, Bench(tmp_path))
    assert same[1] == 0
    none = (given.val[0][:0], given.val[1][:0])
    assert adapting.best([head] * 3, (1.0, 0.0, 0.3), none, Bench(tmp_path))[1:] == (
        0.3,
        "the middle one, for there are no validation pictures",
    )
    assert adapting.best([head], (2.0,), given.val, Bench(tmp_path))[1:] == (2.0, "as asked")


def test_init_is_zero_shot_before_training(tmp_path: Path) -> None:
    given, test = planted(few=2)
    (head,) = adapting.init(given, (1.0,), How(0, 8, 0.1, 0.0, 10.0), Bench(tmp_path))
    assert np.allclose(head(test[0]), 10.0 * test[0] @ given.vectors.T, atol=1e-5)


def test_rows_is_what_a_hand_computes(tmp_path: Path) -> None:
    x, y = np.array([[1.0, 0.0]]), np.array([0])
    told, of = np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([1, 1])
    given = Given((x, y), (x[:0], y[:0]), (told, of), vectors_of(told, of, 2), 2)
    (head,) = adapting.rows(given, (1.0,), How(1, 4, 0.5, 0.0, 1.0), Bench(tmp_path))
    # Gradients at zero: pictures pull x to class 0, texts pull y to class 1; Adam's first step is the rate along their signs, and
    # both halves count the same, so that the bias stays between both.
    assert np.allclose(head.weights, [[0.5, -0.5], [-0.5, 0.5]], atol=1e-5) and np.allclose(head.bias, 0.0, atol=1e-5)
    (mixed,) = adapting.mix(given, (1.0,), How(1, 4, 0.5, 0.0, 1.0), Bench(tmp_path))
    assert np.allclose(mixed.bias, [-0.5, 0.5], atol=1e-5)  # two rows of text against one picture


def test_a_class_without_pictures_is_answered_through_its_texts(tmp_path: Path) -> None:
    given, test = planted(few=8)
    kept = given.pictures[1] != 4
    without = Given((given.pictures[0][kept], given.pictures[1][kept]), given.val, given.texts, given.vectors, CLASSES)
    here = test[1] == 4
    for method in ("mix", "init", "bias", "rows"):
        (tmp_path / method).mkdir()
        none, some = METHODS[method](without, (0.0, 1.0), HOW, Bench(tmp_path / method))
        assert none.bias[4] == -1e9 and not (none(test[0]).argmax(1) == 4).any(), method
        assert accuracy(some(test[0][here]), test[1][here]) > 0.4, method


def test_a_class_of_which_nothing_is_said_is_answered_through_its_pictures(tmp_path: Path) -> None:
    given, test = planted(few=8)
    kept = given.texts[1] != 4
    told = (given.texts[0][kept], given.texts[1][kept])
    without = Given(given.pictures, given.val, told, vectors_of(*told, CLASSES), CLASSES)
    here = test[1] == 4
    for method in ("mix", "init", "bias", "rows"):
        (tmp_path / method).mkdir()
        (head,) = METHODS[method](without, (0.3,), HOW, Bench(tmp_path / method))
        assert accuracy(head(test[0][here]), test[1][here]) > 0.4, method


def test_noise_learns_from_text_alone(tmp_path: Path) -> None:
    given, test = planted(few=8)
    wrong = Given((given.pictures[0], given.pictures[1][::-1].copy()), given.val, given.texts, given.vectors, CLASSES)
    spreads = (0.0, 0.1, 0.5)
    one, other = (METHODS["noise"](it, spreads, HOW, Bench(tmp_path)) for it in (given, wrong))
    assert all(np.array_equal(a.weights, b.weights) for a, b in zip(one, other, strict=True))
    assert accuracy(one[0](test[0]), test[1]) > 0.6
    sizes = [np.abs(head.weights).mean() for head in one]
    assert not np.allclose(one[0].weights, one[1].weights, atol=1e-3) and sizes[2] < sizes[0]


def test_bias_is_the_head_of_pictures_and_the_weight_times_the_texts(tmp_path: Path) -> None:
    given, test = planted(few=5)
    none, one, three = adapting.bias(given, (0.0, 1.0, 3.0), HOW, Bench(tmp_path), head="ridge")
    first, second = one.weights - none.weights, three.weights - none.weights
    assert np.allclose(second, 3 * first) and np.allclose(unit(first.T), given.vectors, atol=1e-9)
    spread = [(rows - rows.mean(1, keepdims=True)).std() for rows in (none(given.pictures[0]), given.pictures[0] @ first)]
    assert spread[0] == pytest.approx(spread[1])
    assert accuracy(one(test[0]), test[1]) > 0.6
