"""VMamba's own maps: alpha is what the network computes, the linear-time maps are sums of it, and a planted patch is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.explain.patches import train
from tests.explain.pointing import hits
from torch import Tensor, nn

from fieldguide.craft.scan import Grid, cross_scan
from fieldguide.craft.sight import Sight
from fieldguide.craft.vmamba_net import SS2D, Shape, VMamba, from_checkpoint
from fieldguide.data.batches import Preprocessing
from fieldguide.errors import UsageProblem
from fieldguide.explain.maps import NotApplicable, Target
from fieldguide.explain.scans import (
    Scan,
    attention,
    attention_of,
    contributed,
    received,
    scan_attention,
    scan_gradient,
    scan_walks,
)

GRIDS = [(3, 5), (4, 4), (1, 6), (5, 1), (1, 1)]


def shaken(network: nn.Module, fast: float = 0.0) -> nn.Module:
    """Return the network with every number moved, so that each matters; `fast` makes the steps of its scans larger."""
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
            if name.endswith("dt_projs_bias"):
                parameter.add_(fast)
    return network.eval()


def seen(op: SS2D, x: Tensor) -> tuple[Scan, Tensor]:
    """Return the scan of a picture ``"1 h w dim"``, and the network's own answer of its four walks, ``"h w channels"``."""
    kept: dict[str, Tensor] = {}
    op.conv2d.register_forward_hook(lambda module, given, output: kept.__setitem__("convolved", output))
    op.out_norm.register_forward_pre_hook(lambda module, given: kept.__setitem__("y", given[0]))
    with torch.no_grad():
        skipping = op.Ds.clone()
        op.Ds.zero_()  # each pixel's own share is no part of the walks
        op(x)
        op.Ds.copy_(skipping)
    return Scan.of(op, kept["convolved"]), kept["y"][0]


def random_scan(height: int, width: int, fast: float = 0.0) -> Scan:
    scan, _ = seen(shaken(SS2D(8, 2.0), fast), torch.randn(1, height, width, 8))  # type: ignore[arg-type]
    return scan


def sight_of(network: nn.Module, size: int = 32) -> Sight:
    return Sight(network, Preprocessing(size), ("a", "b", "c"))


def small(**more: Any) -> VMamba:
    return shaken(VMamba(Shape((1, 2, 1, 1), 8, 1.0, classes=3), **more))  # type: ignore[return-value]


# --- alpha -----------------------------------------------------------------------------------------------------------------------


def by_definition(scan: Scan, walk: int) -> Tensor:
    """Return alpha of one walk, ``"channels queries sources"``, product by product."""
    cells = torch.arange(scan.height * scan.width).reshape(scan.height, scan.width)
    line = (cells if walk in (0, 2) else cells.T).flatten().tolist()
    line = line[::-1] if walk >= 2 else line
    alpha = torch.zeros(scan.u.shape[1], len(line), len(line), dtype=torch.float64)
    delta, rate = scan.delta[walk].double(), scan.rate[walk].double()
    for at, s in enumerate(line):
        kept = torch.ones_like(rate)
        for t in line[at:]:
            kept = kept * (torch.exp(rate * delta[t]) if t != s else 1)
            alpha[:, t, s] = scan.read[walk, t].double() * kept * delta[s] * scan.write[walk, s].double()
    return alpha


@pytest.mark.parametrize(("height", "width"), GRIDS)
@pytest.mark.parametrize("fast", [0.0, 30.0])
def test_alpha_is_its_definition_and_gives_the_networks_own_answer(height: int, width: int, fast: float) -> None:
    torch.manual_seed(height)
    scan, answer = seen(shaken(SS2D(8, 2.0), fast), torch.randn(1, height, width, 8))  # type: ignore[arg-type]
    alpha = attention(scan)
    for walk in range(4):
        torch.testing.assert_close(alpha[walk], by_definition(scan, walk), rtol=1e-9, atol=1e-12)
    y = torch.einsum("k d t s, s d -> t d", alpha, scan.u.double())
    scale = float(answer.abs().max())
    assert scale > 1e-3
    assert float((y - answer.flatten(0, 1)).abs().max()) < 1e-5 * scale


def test_each_walk_is_that_of_the_scan() -> None:
    """One walk at a time: what the others read is set to nothing."""
    torch.manual_seed(0)
    op = shaken(SS2D(8, 2.0))
    scan, _ = seen(op, torch.randn(1, 3, 4, 8))  # type: ignore[arg-type]
    alpha = attention(scan)
    u = scan.u[:, None]
    told = torch.einsum("l b d, k r d -> k l b r", u, op.x_proj_weight).detach()  # type: ignore[operator]
    for walk in range(4):
        alone = told.clone()
        alone[[k for k in range(4) if k != walk], ..., -1] = 0
        y = cross_scan(u, alone, op.dt_projs_weight, op.dt_projs_bias, scan.rate, Grid(3, 4))  # type: ignore[arg-type]
        mine = torch.einsum("d t s, s d -> t d", alpha[walk], scan.u.double())
        assert float(y.detach().abs().max()) > 1e-3
        torch.testing.assert_close(mine.float(), y[:, 0].detach(), rtol=1e-4, atol=1e-5)


def test_long_walks_do_not_overflow_where_the_product_form_does() -> None:
    torch.manual_seed(1)
    scan, answer = seen(shaken(SS2D(8, 2.0), 6.0), torch.randn(1, 9, 9, 8))  # type: ignore[arg-type]
    passed = (scan.delta[0] * scan.rate[0]).cumsum(0)
    assert float(passed[-1].min()) < -200, "the walk is too short to show it"
    naive = (scan.read[0, :, None] * passed.exp())[:, None] * (scan.delta[0] * scan.write[0, :, None] / passed.exp())[None]
    lower = torch.tril(torch.ones(81, 81, dtype=torch.bool))
    assert not torch.isfinite(naive[lower]).all()
    alpha = attention(scan)
    assert torch.isfinite(alpha).all()
    y = torch.einsum("k d t s, s d -> t d", alpha, scan.u.double())
    assert float((y - answer.flatten(0, 1)).abs().max()) < 1e-5 * float(answer.abs().max())
    assert torch.isfinite(received(scan)).all()


def test_a_walk_sees_nothing_of_what_lies_before_it() -> None:
    height, width = 3, 4
    alpha = attention(random_scan(height, width)).abs().amax(1).reshape(4, height, width, height, width)
    for y in range(height):
        for x in range(width):
            for v in range(height):
                for h in range(width):
                    earlier = ((v, h) <= (y, x), (h, v) <= (x, y), (v, h) >= (y, x), (h, v) >= (x, y))
                    assert [bool(one) for one in alpha[:, y, x, v, h] > 0] == list(earlier)


# --- maps in linear time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), GRIDS)
@pytest.mark.parametrize("fast", [0.0, 4.0])
def test_received_is_the_sum_of_alpha(height: int, width: int, fast: float) -> None:
    scan = random_scan(height, width, fast)
    alpha = attention(scan).abs().mean(1)
    wanted = alpha.sum(1).reshape(4, height, width)
    assert received(scan).shape == (4, height, width)
    torch.testing.assert_close(received(scan).double(), wanted, rtol=1e-4, atol=1e-7)
    for y in range(height):
        for x in range(width):
            mine = attention_of(scan, y, x)
            torch.testing.assert_close(mine, alpha[:, y * width + x].reshape(4, height, width), rtol=1e-9, atol=1e-12)


def test_contributed_is_the_sum_of_slope_alpha_and_u() -> None:
    scan = random_scan(4, 5)
    slope = torch.randn_like(scan.u)
    wanted = torch.einsum("t d, k d t s, s d -> k s", slope.double(), attention(scan), scan.u.double()).reshape(4, 4, 5)
    torch.testing.assert_close(contributed(scan, slope).double(), wanted, rtol=1e-4, atol=1e-5)


# --- methods ---------------------------------------------------------------------------------------------------------------------


def test_maps_of_a_network_are_those_of_its_scans() -> None:
    network = small()
    pixels, target = torch.randn(1, 3, 32, 32), Target(1, 0)
    maps = scan_attention(sight_of(network), pixels, target, None)
    assert maps.layers == ("block 0 (stage 0)", "block 2 (stage 1)", "block 3 (stage 2)", "block 4 (stage 3)")
    assert maps.method == "scan-attention" and not maps.signed
    assert maps.values.shape == (4, 8, 8) and maps.values.dtype == np.float32 and (maps.values >= 0).all()
    kept: list[Tensor] = []
    op = network.get_submodule("layers.1.blocks.1.op")
    handle = op.conv2d.register_forward_hook(lambda module, given, output: kept.append(output))  # type: ignore[union-attr]
    network(pixels)
    handle.remove()
    four = received(Scan.of(op, kept[0].detach()))  # type: ignore[arg-type]
    assert four.std() > 0
    repeated = four.sum(0).repeat_interleave(2, 0).repeat_interleave(2, 1)
    np.testing.assert_allclose(maps.values[1], repeated, rtol=1e-6)
    alone = scan_attention(sight_of(network), pixels, target, [2])
    np.testing.assert_allclose(alone.values[0], four.sum(0), rtol=1e-6)
    walks = scan_walks(sight_of(network), pixels, target, [2])
    assert walks.method == "scan-walks"
    assert walks.layers == tuple(
        f"block 2, {way}" for way in ("rows forward", "columns forward", "rows backward", "columns backward")
    )
    np.testing.assert_allclose(walks.values, four, rtol=1e-6)
    assert scan_walks(sight_of(network), pixels, target).layers[0] == "block 4, rows forward"


def test_a_first_row_pixel_is_heard_most_by_the_walk_that_begins_there() -> None:
    """Where nothing is forgotten and every pixel writes and reads alike, a pixel receives as much as pixels are behind it."""
    height, width = 2, 3
    ones = torch.ones(4, height * width)
    scan = Scan(height, width, torch.ones(6, 1), torch.ones(4, 6, 1), ones, ones, torch.zeros(4, 1))
    wanted = [[[6, 5, 4], [3, 2, 1]], [[6, 4, 2], [5, 3, 1]], [[1, 2, 3], [4, 5, 6]], [[1, 3, 5], [2, 4, 6]]]
    assert received(scan).tolist() == wanted


@pytest.mark.parametrize("block", range(5))
def test_scan_gradient_adds_up_to_gradient_times_scan(block: int) -> None:
    network = small()
    pixels, target = torch.randn(1, 3, 64, 64), Target(2, 1)
    op = [module for module in network.modules() if isinstance(module, SS2D)][block]
    y: list[Tensor] = []
    convolved: list[Tensor] = []
    handles = [
        op.conv2d.register_forward_hook(lambda module, given, output: convolved.append(output)),
        op.out_norm.register_forward_pre_hook(lambda module, given: y.append(given[0])),
    ]
    (slope,) = torch.autograd.grad(target.gap(network(pixels)).sum(), y)
    for handle in handles:
        handle.remove()
    scanned = (y[0] - op.Ds.reshape(4, -1).sum(0) * torch.nn.functional.silu(convolved[0])).detach()
    wanted = float((slope * scanned).sum())
    assert abs(wanted) > 1e-5
    maps = scan_gradient(sight_of(network), pixels, target, [block])
    assert maps.signed and maps.method == "scan-gradient"
    assert (maps.values < 0).any() or (maps.values > 0).any()
    assert float(maps.values.sum()) == pytest.approx(wanted, rel=1e-3, abs=1e-5 * float((slope * scanned).abs().sum()))
    other = scan_gradient(sight_of(network), pixels, Target(1, 2), [block])
    np.testing.assert_allclose(other.values, -maps.values, rtol=1e-3, atol=1e-6)


def test_nothing_is_left_behind_and_frozen_networks_are_seen_too() -> None:
    network = small().requires_grad_(False)
    pixels, target = torch.randn(1, 3, 32, 32), Target(0, 1)
    with torch.inference_mode():
        inside = scan_gradient(sight_of(network), pixels, target)
    np.testing.assert_allclose(inside.values, scan_gradient(sight_of(network), pixels, target).values)
    assert np.abs(inside.values).max() > 0
    for module in network.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks and not module.training
    assert all(not p.requires_grad and p.grad is None for p in network.parameters())


def test_what_does_not_fit_is_said() -> None:
    pixels, target = torch.randn(1, 3, 32, 32), Target(0, 1)
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    for method in (scan_attention, scan_walks, scan_gradient):
        with pytest.raises(NotApplicable, match="no scans; use gradcam"):
            method(sight_of(other), pixels, target)
        with pytest.raises(UsageProblem, match="Block 5 was asked for"):
            method(sight_of(small()), pixels, target, [5])


@pytest.mark.realdata
@pytest.mark.parametrize("which", ["ratio1_square", "ratio2_wide"])
def test_alpha_on_the_official_networks(data_root: Any, which: str) -> None:
    from safetensors.torch import load_file

    folder = data_root / "vmamba_golden" / which
    network = from_checkpoint(folder / "state_dict.safetensors")
    pixels = load_file(folder / "expected.safetensors")["input"][:1]
    ops = [module for module in network.modules() if isinstance(module, SS2D)]
    for op in (ops[1], ops[-1]):
        given: list[Tensor] = []
        handle = op.register_forward_pre_hook(lambda module, words, given=given: given.append(words[0]))  # type: ignore[misc]
        with torch.no_grad():
            network(pixels)
        handle.remove()
        scan, answer = seen(op, given[0])
        y = torch.einsum("k d t s, s d -> t d", attention(scan), scan.u.double())
        assert float((y - answer.flatten(0, 1)).abs().max()) < 1e-5 * float(answer.abs().max())
        torch.testing.assert_close(
            received(scan).flatten(1).double(), attention(scan).abs().mean(1).sum(1), rtol=1e-4, atol=1e-7
        )


# --- a known answer --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def learned_vmamba() -> VMamba:
    """A network of one block that has learned the patches; nothing goes around its walks inside the block."""
    torch.manual_seed(2)
    network = VMamba(Shape((1,), 12, 1.0, classes=3))
    op = network.get_submodule("layers.0.blocks.0.op")
    op.Ds.data.zero_()  # type: ignore[operator, union-attr]
    op.Ds.requires_grad_(False)  # type: ignore[operator, union-attr]
    assert train(network, steps=200) > 0.9
    return network


def test_the_planted_patch_is_found(learned_vmamba: VMamba) -> None:
    for method in (scan_gradient, scan_attention):
        assert hits(method, learned_vmamba) >= 0.8
        assert hits(method, learned_vmamba, lambda one: one.T) < 0.5
        assert hits(method, learned_vmamba, lambda one: np.roll(one, 4, 0)) < 0.5
    assert hits(scan_gradient, learned_vmamba, swapped=True) < 0.5
