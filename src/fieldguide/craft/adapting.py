"""Ways to use text beside pictures in one linear head, one function each; another way is one more function and its name in `METHODS`.

Each returns one head for each weight that text may have, and validation chooses among them. With a weight of 0 a head is what
pictures alone make, so that text is dropped where it does not help.

    mix     one fully connected layer on real rows and translated texts together; a text row counts as much as its weight says
    init    texts as the beginning of the layer, which is then trained on pictures
    bias    logits of the texts added to those of a head that pictures alone made (as LP++, arXiv 2404.02285, and the training-free
            baseline of 2402.04087 do, with one weight for all classes)
    rows    half of every batch is texts, both at length one (cross-modal adaptation, arXiv 2301.06267)
    noise   texts alone, each time with other noise (CapDec, arXiv 2211.00575; LaFTer, 2305.18287); its weights are the noise

Rows are normalised, labels are class positions. Text rows lie where pictures do, or were brought there by a translator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fieldguide.bench import Bench
from fieldguide.craft.heads import Array, Head, accuracy, unit

if TYPE_CHECKING:
    from fieldguide.craft.layers import Batch, Draw, How

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Given:
    """What a method works with: `pictures`, `val` and `texts` are ``"rows features"`` with class positions; `classes` is their number.

    `vectors` ``"classes features"`` is what the texts make of each class at length one, or zeros where nothing is said of it.
    """

    pictures: tuple[Array, Labels]
    val: tuple[Array, Labels]
    texts: tuple[Array, Labels]
    vectors: Array
    classes: int

    def seen(self, *labels: Labels) -> NDArray[np.bool_]:
        """Tell which classes are among `labels`."""
        return np.isin(np.arange(self.classes), np.concatenate(labels))


def vectors_of(rows: Array, labels: Labels, classes: int) -> Array:
    """Return the direction of each class, ``"classes features"``: the mean of its rows at length one, at length one again."""
    which = np.zeros((classes, len(rows)))
    which[labels, np.arange(len(rows))] = 1.0
    return unit((which / np.maximum(which.sum(axis=1, keepdims=True), 1.0)) @ unit(rows))


def mix(given: Given, weights: Sequence[float], how: How, bench: Bench) -> list[Head]:
    """Train one fully connected layer on real rows and translated texts, as if they were one set, in which a text counts its weight.

    Each batch holds as many rows of both, counted so that the loss is that of the whole set in the mean.
    """
    return _from_zero(given, weights, float(len(given.pictures[0])), float(len(given.texts[0])), how, bench)


def rows(given: Given, weights: Sequence[float], how: How, bench: Bench) -> list[Head]:
    """Train a layer on batches of which one half is texts; at a weight of one both halves count the same."""
    return _from_zero(given, weights, 1.0, 1.0, how, bench)


def init(given: Given, weights: Sequence[float], how: How, bench: Bench) -> list[Head]:
    """Begin at the texts' directions, as long as the weight says, and train on pictures; without a step, this is zero-shot.

    A class without a picture stays where its texts put it.
    """
    from fieldguide.craft.layers import never, train

    x, y = given.pictures
    begin = np.stack([weight * given.vectors.T for weight in weights])
    pictured = given.seen(y)

    def draw(random: np.random.Generator) -> Batch:
        places = random.permutation(len(x))[: how.batch_size]
        return _batch(x[places], y[places], np.ones((len(weights), len(places))))

    made = train(begin, np.tile(pictured, (len(weights), 1)), draw, how, bench)
    told = np.abs(given.vectors).sum(axis=1) > 0
    return [never(head, pictured | (told & (weight > 0))) for head, weight in zip(made, weights, strict=True)]


def noise(given: Given, spreads: Sequence[float], how: How, bench: Bench) -> list[Head]:
    """Train a layer on texts alone: at length one, with noise of this standard deviation a feature, and at length one again."""
    told, of = given.texts

    def draw(random: np.random.Generator) -> Batch:
        places = random.permutation(len(told))[: how.batch_size]
        drawn = random.normal(size=(len(places), told.shape[1]))
        rows = np.stack([unit(unit(told[places]) + spread * drawn) for spread in spreads])
        return _batch(rows, of[places], np.ones((len(spreads), len(places))))

    return _trained(given, np.tile(given.seen(of), (len(spreads), 1)), draw, how, bench)


def bias(given: Given, weights: Sequence[float], how: How, bench: Bench, head: str = "gda") -> list[Head]:
    """Add the texts' logits to those of a `head` of pictures alone (a name of `fieldguide.craft.chosen`), whose strength is chosen first.

    A weight of one spreads both alike over the training pictures. Of a class without a picture the head knows nothing: the mean of
    all classes stands in, and texts decide. Of a class without texts these say nothing either way.
    """
    from fieldguide.craft import chosen
    from fieldguide.craft.layers import never

    own = chosen.best(head, given.pictures, given.val, given.classes, chosen.TRIED[head], bench)
    pictured, told = given.seen(given.pictures[1]), np.abs(given.vectors).sum(axis=1) > 0
    whole = Head(_filled(own.weights, pictured), _filled(own.bias, pictured))
    text = _filled(given.vectors.T, told)
    ratio = _spread(whole(given.pictures[0])) / max(_spread(given.pictures[0] @ text), 1e-12)
    return [
        own if weight == 0 else never(Head(whole.weights + weight * ratio * text, whole.bias), pictured | told)
        for weight in weights
    ]


#: What makes heads of what is given, by name.
METHODS: dict[str, Callable[..., list[Head]]] = {"mix": mix, "init": init, "bias": bias, "rows": rows, "noise": noise}


def best(heads: Sequence[Head], weights: Sequence[float], val: tuple[Array, Labels], bench: Bench) -> tuple[Head, float, str]:
    """Return the head that has most validation pictures right, its weight, and how it was chosen; of equal ones the smallest weight.

    Without validation pictures it is the middle one of `weights`.
    """
    right = [accuracy(head(val[0]), val[1]) if len(val[1]) else None for head in heads]
    for weight, one in zip(weights, right, strict=True):
        bench.log("text_weight", weight=weight, val_accuracy=one)
    if len(weights) == 1:
        return heads[0], weights[0], "as asked"
    if not len(val[1]):
        place = sorted(range(len(weights)), key=weights.__getitem__)[len(weights) // 2]
        return heads[place], weights[place], "the middle one, for there are no validation pictures"
    place = max(range(len(weights)), key=lambda at: (right[at], -weights[at]))
    return heads[place], weights[place], f"on {len(val[1])} validation pictures"


def _from_zero(
    given: Given, weights: Sequence[float], all_pictures: float, all_texts: float, how: How, bench: Bench
) -> list[Head]:
    """Train layers from zero on batches of which half is texts; all pictures count `all_pictures`, all texts `all_texts` times the weight."""
    (x, y), (told, of) = given.pictures, given.texts
    half = max(1, how.batch_size // 2)
    pictured, both = given.seen(y), given.seen(y, of)

    def draw(random: np.random.Generator) -> Batch:
        seen, said = random.permutation(len(x))[:half], random.permutation(len(told))[:half]
        one, other = all_pictures / max(1, len(seen)), all_texts / max(1, len(said))
        counts = np.stack([np.repeat([one, other * weight], [len(seen), len(said)]) for weight in weights])
        return _batch(np.concatenate([x[seen], told[said]]), np.concatenate([y[seen], of[said]]), counts)

    return _trained(given, np.stack([both if weight > 0 else pictured for weight in weights]), draw, how, bench)


def _trained(given: Given, present: NDArray[np.bool_], draw: Draw, how: How, bench: Bench) -> list[Head]:
    from fieldguide.craft.layers import never, train

    begin = np.zeros((len(present), given.vectors.shape[1], given.classes))
    return [never(head, known) for head, known in zip(train(begin, present, draw, how, bench), present, strict=True)]


def _batch(rows: Array, labels: Labels, counts: Array) -> Batch:
    from fieldguide.craft.layers import Batch

    return Batch(rows, labels, counts)


def _filled(columns: Array, known: NDArray[np.bool_]) -> Array:
    """Return the last axis with what is not `known` replaced by the mean of what is."""
    return np.where(known, columns, columns[..., known].mean(axis=-1, keepdims=True) if known.any() else 0.0)


def _spread(logits: Array) -> float:
    return float((logits - logits.mean(axis=1, keepdims=True)).std())
