"""Three maps of a vision transformer: worked by hand on three tokens, and asked for an answer that is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.craft.zoo.asked import quiet
from tests.explain.planted import CLASSES, accuracy, inside, planted, train
from torch import Tensor, nn

with quiet():
    import timm

from fieldguide.craft.sight import Sight
from fieldguide.data.batches import Preprocessing
from fieldguide.explain import attention as room
from fieldguide.explain.attended import Attended
from fieldguide.explain.attention import attention, attention_gradient, rollout
from fieldguide.explain.maps import Maps, Target

SIZE = 32
#: Least share of pictures in whose planted square a map that knows the answer has its largest value; by chance it would be 6 %.
FOUND = 0.8
WHY = Target(0, 1)
Method = Callable[..., Maps]

# Two blocks, two heads; a class token and two patches that stand one above the other. Rows sum to one.
FIRST = torch.tensor([[[0.2, 0.2, 0.6], [1.0, 0, 0], [0, 1.0, 0]], [[0.6, 0.4, 0], [0, 1.0, 0], [0, 0, 1.0]]])
SECOND = torch.tensor([[[0.4, 0.6, 0], [0, 0, 1.0], [0.5, 0.5, 0]], [[0.4, 0, 0.6], [0, 0, 1.0], [0.5, 0.5, 0]]])
SLOPES = (torch.tensor([[[1.0], [0], [2.0]], [[0], [-1.0], [1.0]]]), torch.tensor([[[1.0], [2.0], [0]], [[-3.0], [0], [0]]]))


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put the attention of the two small blocks in the place of a network's."""

    def put(readers: list[int], grid: tuple[int, int] = (2, 1)) -> None:
        slopes = tuple(slope.expand(2, 3, 3) for slope in SLOPES)
        seen = Attended((FIRST, SECOND), slopes, torch.tensor(readers), grid, torch.zeros(1, 2))
        monkeypatch.setattr(room, "attended", lambda *_, **__: seen)

    return put


def drawn(method: Method, layers: Any = None) -> Maps:
    return method(None, None, WHY, layers)


def test_attention_is_the_mean_over_heads_that_the_class_token_pays(by_hand: Any) -> None:
    by_hand([0])
    maps = drawn(attention)
    assert maps.layers == ("block 0", "block 1") and maps.method == "attention" and not maps.signed
    np.testing.assert_allclose(maps.values, [[[0.3], [0.3]], [[0.3], [0.3]]], rtol=1e-6)
    by_hand([1, 2])  # without a class token: what each patch receives from both
    np.testing.assert_allclose(drawn(attention, [1]).values, [[[0.25], [0.5]]], rtol=1e-6)


def test_rollout_is_the_product_of_halves(by_hand: Any) -> None:
    by_hand([0])
    # (A + I) / 2 of the means over heads: block 0 [[.7 .15 .15] [.25 .75 0] [0 .25 .75]], block 1 [[.7 .15 .15] [0 .5 .5] [.25 .25 .5]]
    maps = drawn(rollout)
    assert maps.layers == ("blocks 0 to 1",)
    np.testing.assert_allclose(maps.values, [[[0.7 * 0.15 + 0.15 * 0.75 + 0.15 * 0.25], [0.7 * 0.15 + 0.15 * 0.75]]], rtol=1e-6)
    several = drawn(rollout, [0, 1])
    assert several.layers == ("block 0", "blocks 0 to 1")
    np.testing.assert_allclose(several.values[0], [[0.15], [0.15]], rtol=1e-6)


def test_the_gradient_weighs_attention_and_relevance_grows(by_hand: Any) -> None:
    by_hand([0])
    # A_bar of block 0: head 0 weighed by 1, 0, 2, head 1 by 0, -1 (nothing is left), 1, halved: [.1 .1 .3] [0 0 0] [0 1 .5];
    # of block 1: head 0 by 1, 2, 0, head 1 by -3: [.2 .3 0] [0 0 1] [0 0 0].
    # R = (I + A_bar 1) (I + A_bar 0): the class token's row is [1.2 .3 0] times I + A_bar 0 = [1.1 .1 .3] [0 1 0] [0 1 1.5].
    maps = drawn(attention_gradient, [0, 1])
    assert maps.layers == ("all blocks", "block 0", "block 1")
    wanted = [[[1.2 * 0.1 + 0.3], [1.2 * 0.3]], [[0.1], [0.3]], [[0.3], [0.0]]]
    np.testing.assert_allclose(maps.values, wanted, rtol=1e-5)
    assert drawn(attention_gradient).layers == ("all blocks",)
    by_hand([1, 2])  # rows of both patches, less the identity that each starts from
    np.testing.assert_allclose(drawn(attention_gradient).values, [[[(1 + 1) / 2], [(1.5 + 0.5) / 2]]], rtol=1e-5)


def test_patches_lie_row_by_row(by_hand: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    paid = torch.arange(49.0).view(1, 7, 7)
    seen = Attended((paid,), (paid,), torch.tensor([0]), (2, 3), torch.zeros(1, 2))
    monkeypatch.setattr(room, "attended", lambda *_, **__: seen)
    np.testing.assert_array_equal(drawn(attention).values, [[[1, 2, 3], [4, 5, 6]]])


# Known answers: the label is the colour of one square in noise.


def small(depth: int, **asked: Any) -> nn.Module:
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(0)
        return timm.create_model(
            "test_vit", img_size=SIZE, patch_size=4, depth=depth, final_norm=False, num_classes=CLASSES, **asked
        )


@pytest.fixture(scope="session")
def with_class_token() -> Sight:
    return Sight(train(small(3), SIZE), Preprocessing(SIZE), ("red", "green", "blue"))


@pytest.fixture(scope="session")
def averaged() -> Sight:
    return Sight(train(small(2, class_token=False, global_pool="avg"), SIZE), Preprocessing(SIZE), ("red", "green", "blue"))


def asked(sight: Sight, draw: Callable[[Tensor, Target], NDArray[np.float32]], count: int = 40) -> tuple[list[Any], list[Any]]:
    """Return the maps and the squares of the pictures that are answered rightly."""
    pixels, labels, boxes = planted(count, SIZE, 777)
    targets = [Target.of(scores) for scores in sight.logits(pixels)]
    right = [at for at, target in enumerate(targets) if target.answer == int(labels[at])]
    assert len(right) > 0.8 * count
    return [draw(pixels[at : at + 1], targets[at]) for at in right], [boxes[at] for at in right]


def found(maps: list[Any], boxes: list[Any]) -> float:
    """Return the share of maps that are largest in their square."""
    return float(np.mean([inside(one, box, SIZE) for one, box in zip(maps, boxes, strict=True)]))


@pytest.mark.parametrize("name", ["with_class_token", "averaged"])
def test_the_gradient_finds_the_square_and_spoilt_maps_do_not(name: str, request: pytest.FixtureRequest) -> None:
    sight = request.getfixturevalue(name)
    assert accuracy(sight.network, SIZE) > 0.9
    maps, boxes = asked(sight, lambda pixels, target: attention_gradient(sight, pixels, target).values[0])
    others, _ = asked(
        sight, lambda pixels, target: attention_gradient(sight, pixels, Target(target.against, target.answer)).values[0]
    )
    assert found(maps, boxes) >= FOUND
    spoilt = {
        "turned over": [one.T for one in maps],
        "rolled": [np.roll(one, 4, (0, 1)) for one in maps],
        "constant": [np.ones_like(one) for one in maps],
        "of another picture": maps[1:] + maps[:1],
        "of the other class": others,
    }
    shares = {why: found(some, boxes) for why, some in spoilt.items()}
    assert max(shares.values()) < FOUND / 2, shares


def test_attention_and_rollout_look_at_the_square(with_class_token: Sight) -> None:
    """They know no class: the grey square beside it draws them too, so that less is asked of them, four times what chance finds."""
    for method in (attention, rollout):
        maps, boxes = asked(with_class_token, lambda *why, method=method: method(with_class_token, *why).values[-1])
        assert found(maps, boxes) >= 0.25
