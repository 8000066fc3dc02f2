"""The four walks: every way to walk them against sequences that are copied, flipped and summed one number at a time in float64."""

from __future__ import annotations

import importlib.util
import itertools

import pytest
import torch
from torch import Tensor

from fieldguide.craft import scan
from fieldguide.craft.scan import Grid, available, before, cross_scan
from fieldguide.errors import EnvironmentProblem

NUMBA = pytest.param(
    "numba", marks=pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed (an extra)")
)
WAYS = ["steps", "lines", NUMBA]
GRIDS = [(1, 1), (1, 5), (5, 1), (2, 2), (3, 4), (5, 3)]
Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def inputs(height: int, width: int, *, batch: int = 2, channels: int = 3, rank: int = 2, fast: float = 0.0) -> Inputs:
    """Return u, told, weight, bias and rate in float64; `fast` makes the steps larger, so that the state forgets faster."""
    random = torch.Generator().manual_seed(height * 100 + width)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    pixels = height * width
    return (
        draw(pixels, batch, channels),
        draw(4, pixels, batch, rank + 2),
        draw(4, channels, rank),
        draw(4, channels) + fast,
        -draw(4, channels).exp(),
    )


def sequence(k: int, height: int, width: int) -> list[int]:
    """Return the pixels, in row order, that walk `k` visits one after the other."""
    picture = torch.arange(height * width).reshape(height, width)
    seen = picture.flatten() if k in (0, 2) else picture.T.flatten()
    return [int(pixel) for pixel in (seen if k in (0, 1) else seen.flip(0))]


def reference(u: Tensor, told: Tensor, weight: Tensor, bias: Tensor, rate: Tensor, height: int, width: int) -> Tensor:
    """Return the sum of the four walks, from the definition, without a line of the code under test; autograd finds its gradients."""
    pixels, batch, channels = u.shape
    total = [[[torch.zeros((), dtype=u.dtype) for _ in range(channels)] for _ in range(batch)] for _ in range(pixels)]
    for k in range(4):
        for b in range(batch):
            for d in range(channels):
                state = torch.zeros((), dtype=u.dtype)
                for t in sequence(k, height, width):
                    *step, write, read = told[k, t, b]
                    raw = sum((w * s for w, s in zip(weight[k, d], step, strict=True)), bias[k, d])
                    delta = torch.log1p(torch.exp(-raw.abs())) + raw.clamp(min=0)
                    state = torch.exp(delta * rate[k, d]) * state + delta * write * u[t, b, d]
                    total[t][b][d] = total[t][b][d] + read * state
    return torch.stack([torch.stack([torch.stack(row) for row in rows]) for rows in total])


def grads(y: Tensor, given: Inputs) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(7)
    towards = torch.randn(y.shape, generator=random, dtype=torch.float64).to(y.dtype)
    return torch.autograd.grad(y, given, towards)


def asked(given: Inputs, dtype: torch.dtype = torch.float64) -> Inputs:
    u, told, weight, bias, rate = (tensor.detach().to(dtype).requires_grad_() for tensor in given)
    return u, told, weight, bias, rate


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("height", "width"), GRIDS)
def test_answers_and_gradients_are_those_of_the_definition(way: scan.Way, height: int, width: int) -> None:
    given = asked(inputs(height, width))
    wanted = reference(*given, height, width)
    got = cross_scan(*given, Grid(height, width, way))
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(grads(got, given), grads(wanted, given), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("height", "width"), [(3, 2), (2, 4)])
def test_gradcheck(way: scan.Way, height: int, width: int) -> None:
    given = asked(inputs(height, width, batch=1, channels=2, rank=1))
    assert torch.autograd.gradcheck(lambda *words: cross_scan(*words, Grid(height, width, way)), given)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fast", [0.0, 6.0, 60.0])
def test_single_precision_is_near_double_however_fast_the_state_forgets(way: scan.Way, fast: float) -> None:
    exact = asked(inputs(9, 13, channels=8, fast=fast))
    rough = asked(exact, torch.float32)
    wanted, got = (cross_scan(*given, Grid(9, 13, way)) for given in (exact, rough))
    assert got.dtype == torch.float32
    for mine, theirs in zip((got, *grads(got, rough)), (wanted, *grads(wanted, exact)), strict=True):
        assert torch.isfinite(mine).all()
        # Where the state forgets at once, what of it is left is nothing but rounding in either precision.
        scale = max(theirs.detach().abs().max().item(), 1e-12)
        assert (mine - theirs).detach().abs().max().item() <= 2e-5 * scale


def test_the_ways_agree_to_the_last_digits_where_pixels_are_wide() -> None:
    u, told, weight, bias, rate = (tensor.float() for tensor in inputs(7, 6, batch=4, channels=600))
    assert u[0].numel() >= scan.WIDE
    steps, lines = (cross_scan(u, told, weight, bias, rate, Grid(7, 6, way)) for way in ("steps", "lines"))
    torch.testing.assert_close(steps, lines, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_sixteen_bit_inputs_have_a_state_of_32(way: scan.Way) -> None:
    given = tuple(tensor.bfloat16() for tensor in inputs(6, 5, channels=8))
    wide = tuple(tensor.float() for tensor in given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = cross_scan(*given, Grid(6, 5, way))  # type: ignore[arg-type]
    assert got.dtype == torch.float32
    assert torch.equal(got, cross_scan(*wide, Grid(6, 5, way)))  # type: ignore[arg-type]


@pytest.mark.parametrize("way", WAYS)
def test_inputs_are_left_as_they_were(way: scan.Way) -> None:
    given = asked(inputs(4, 3))
    kept = [tensor.detach().clone() for tensor in given]
    grads(cross_scan(*given, Grid(4, 3, way)), given)
    assert all(torch.equal(tensor.detach(), old) for tensor, old in zip(given, kept, strict=True))


@pytest.mark.parametrize("k", range(4))
@pytest.mark.parametrize(("height", "width"), GRIDS)
def test_before_is_the_pixel_that_was_visited_before(k: int, height: int, width: int) -> None:
    numbers = 1.0 + torch.arange(height * width)[:, None]
    order = sequence(k, height, width)
    wanted = torch.zeros_like(numbers)
    for there, here in itertools.pairwise(order):
        wanted[here] = numbers[there]
    assert torch.equal(before(numbers, k, Grid(height, width)), wanted)
    assert scan._order(k, height, width) == tuple(order)


def test_one_state_after_another_by_hand() -> None:
    """Decay 1/2 and one written at every pixel of a 2x2 map: 1, 3/2, 7/4, 15/8 in the order of each walk."""
    decay, added = torch.full((4, 1, 1), 0.5), torch.ones(4, 1, 1)
    visited = {0: [0, 1, 2, 3], 1: [0, 2, 1, 3], 2: [3, 2, 1, 0], 3: [3, 1, 2, 0]}
    for way in ("steps", "lines"):
        for k, order in visited.items():
            h = scan.walked(decay, added.clone(), k, Grid(2, 2, way)).flatten()
            assert [float(h[pixel]) for pixel in order] == [1, 1.5, 1.75, 1.875]


def test_auto_takes_steps_where_pixels_are_wide_and_lines_elsewhere() -> None:
    narrow, wide = torch.zeros(4, 1, scan.WIDE - 1), torch.zeros(4, 1, scan.WIDE)
    assert scan._chosen(narrow, Grid(2, 2)).way == "lines"
    assert scan._chosen(wide, Grid(2, 2)).way == "steps"
    assert scan._chosen(wide.to("meta"), Grid(2, 2)).way == "lines"
    assert scan._chosen(wide, Grid(2, 2, "lines")).way == "lines"


def test_the_backward_pass_keeps_its_inputs_alone() -> None:
    given = asked(inputs(16, 16))
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        cross_scan(*given, Grid(16, 16, "lines"))
    assert sum(tensor.numel() for tensor in kept) == sum(tensor.numel() for tensor in given)


def test_a_way_that_is_not_installed_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "numba", None)
    scan._compiled.cache_clear()
    available("steps")
    with pytest.raises(EnvironmentProblem, match=r"fieldguide\[numba\]"):
        available("numba")
    scan._compiled.cache_clear()
