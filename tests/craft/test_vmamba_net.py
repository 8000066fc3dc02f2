"""VMamba: the official numbers on the official weights, files read strictly and safely, and the core against its definition."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from fieldguide.craft import anatomy, vmamba_net
from fieldguide.craft.vmamba_net import SIZES, SS2D, DropPath, Shape, VMamba, from_checkpoint
from fieldguide.craft.zoo.weights import read_state, to_safetensors
from fieldguide.errors import DataProblem, Problem, UsageProblem

SMALL = Shape((1, 2, 1, 1), 8, 2.0, classes=5)
GOLDEN = ("ratio1_square", "ratio2_wide")


def small(shape: Shape = SMALL, **more: Any) -> VMamba:
    """Return a network whose every number matters: the last layers of a fresh one hardly move anything."""
    torch.manual_seed(3)
    network = VMamba(shape, **more).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not name.endswith(("dt_projs_bias", "A_logs")):
                parameter.add_(torch.randn_like(parameter) * (0.2 if parameter.ndim > 1 else 0.1))
    return network


# --- the published networks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "tensors"),
    [
        ("tiny", 30_249_064, 276),
        ("tiny_s2l5", 30_705_832, 222),
        ("small", 50_147_752, 402),
        ("small_s1l20", 49_012_840, None),
        ("base", 88_557_800, 402),
        ("base_s1l20", 86_614_504, None),
    ],
)
def test_sizes_have_the_published_numbers_of_parameters(name: str, parameters: int, tensors: int | None) -> None:
    with torch.device("meta"):
        network = VMamba(SIZES[name][0])
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert tensors in (None, len(network.state_dict()))
    assert f"{name} " in (vmamba_net.__doc__ or "") and f"{parameters:,}" in (vmamba_net.__doc__ or "")
    assert not list(network.buffers())


def outputs_of(network: VMamba, pictures: Tensor) -> dict[str, Tensor]:
    """Return every output that the golden files name, maps as ``"batch channels height width"``."""
    seen: dict[str, Tensor] = {}
    places = {"after_patch_embed": network.patch_embed, "stage0_block0_ss2d": network.get_submodule("layers.0.blocks.0.op")}
    places |= {f"after_stage_{n}_blocks": network.get_submodule(f"layers.{n}.blocks") for n in range(4)}

    def note(name: str) -> Callable[..., None]:
        return lambda module, given, output: seen.__setitem__(name, output.permute(0, 3, 1, 2))

    hooks = [place.register_forward_hook(note(name)) for name, place in places.items()]
    seen["logits"] = network(pictures)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.realdata
@pytest.mark.parametrize("way", ["steps", "lines"])
@pytest.mark.parametrize("which", GOLDEN)
def test_official_weights_give_the_official_numbers(data_root: Path, which: str, way: Any) -> None:
    folder = data_root / "vmamba_golden" / which
    expected = load_file(folder / "expected.safetensors")
    described = json.loads((folder / "config.json").read_text())
    network = from_checkpoint(folder / "state_dict.safetensors").walk(way)
    assert network.shape == Shape(
        tuple(described["depths"]), described["dim"], described["ssm_ratio"], described["num_classes"]
    )
    assert sum(parameter.numel() for parameter in network.parameters()) == described["params"]
    assert list(expected["input"].shape) == described["input_shape"]
    seen = outputs_of(network, expected["input"])
    wanted = {name for name in expected if name != "input" and not name.startswith("grad.")}
    assert set(seen) == wanted and len(wanted) == 7
    for name in wanted:
        torch.testing.assert_close(
            seen[name], expected[name], rtol=1e-5, atol=1e-5, msg=lambda said, name=name: f"{name}: {said}"
        )
    logits = seen["logits"]
    (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward()  # type: ignore[no-untyped-call]
    parameters = dict(network.named_parameters())
    gradients = {name.removeprefix("grad."): tensor for name, tensor in expected.items() if name.startswith("grad.")}
    assert len(gradients) == 24
    for name, wanted_gradient in gradients.items():
        got = parameters[name].grad
        assert got is not None
        # Relative to the largest of its tensor: some of these tensors are a millionth in size.
        assert float((got - wanted_gradient).abs().max() / wanted_gradient.abs().max()) <= 1e-4, name


@pytest.mark.realdata
@pytest.mark.parametrize("which", GOLDEN)
def test_loading_is_strict(data_root: Path, which: str, tmp_path: Path) -> None:
    path = data_root / "vmamba_golden" / which / "state_dict.safetensors"
    state = load_file(path)
    network = from_checkpoint(path)
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == {
        name: tuple(tensor.shape) for name, tensor in state.items()
    }
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    for name in list(state)[::9]:
        save_file({key: tensor for key, tensor in state.items() if key != name}, tmp_path / "less.safetensors")
        with pytest.raises(DataProblem, match=name.replace(".", r"\.")):
            from_checkpoint(tmp_path / "less.safetensors")


# --- the core against its definition -------------------------------------------------------------------------------------------


def core(op: SS2D, x: Tensor) -> Tensor:
    """Return what the block's scan gives for ``"batch height width channels"``, in float64, from the definition, sequences turned by hand."""
    p = {name: tensor.double() for name, tensor in op.state_dict().items()}
    x = F.silu(
        F.conv2d(
            (x.double() @ p["in_proj.weight"].T).permute(0, 3, 1, 2), p["conv2d.weight"], padding=1, groups=op.Ds.numel() // 4
        )
    )
    batch, inner, height, width = x.shape
    rank = p["dt_projs_weight"].shape[2]
    a, skip = -torch.exp(p["A_logs"]).reshape(4, inner), p["Ds"].reshape(4, inner)
    total = torch.zeros_like(x)
    for k in range(4):
        turned = x if k in (0, 2) else x.transpose(2, 3)
        line = turned.reshape(batch, inner, height * width)
        line = line.flip(2) if k >= 2 else line
        told = torch.einsum("rd,bdl->brl", p["x_proj_weight"][k], line)
        step = torch.einsum("dr,brl->bdl", p["dt_projs_weight"][k], told[:, :rank]) + p["dt_projs_bias"][k][:, None]
        delta = torch.log(1 + torch.exp(step))
        h, answers = torch.zeros(batch, inner, dtype=torch.float64), []
        for t in range(height * width):
            h = torch.exp(delta[..., t] * a[k]) * h + delta[..., t] * told[:, rank, t, None] * line[..., t]
            answers.append(told[:, rank + 1, t, None] * h + skip[k] * line[..., t])
        y = torch.stack(answers, 2)
        y = (y.flip(2) if k >= 2 else y).reshape(turned.shape)
        total = total + (y if k in (0, 2) else y.transpose(2, 3))
    normed = F.layer_norm(total.permute(0, 2, 3, 1), (inner,), p["out_norm.weight"], p["out_norm.bias"], eps=1e-5)
    return normed @ p["out_proj.weight"].T


@pytest.mark.parametrize("ratio", [1.0, 2.0])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 7), (6, 2), (1, 1)])
@pytest.mark.parametrize("dim", [8, 24])
def test_the_core_is_its_definition(dim: int, height: int, width: int, ratio: float) -> None:
    torch.manual_seed(dim + height)
    op = SS2D(dim, ratio)
    with torch.no_grad():
        for parameter in op.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    x = torch.randn(2, height, width, dim)
    for way in ("steps", "lines"):
        op.way = way
        torch.testing.assert_close(op(x).double(), core(op, x), rtol=1e-4, atol=1e-5)


# --- the network ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 70), (8, 64), (7, 5)])
def test_any_size_and_any_company(height: int, width: int) -> None:
    network = small()
    pictures = torch.randn(4, 3, height, width)
    together = network(pictures)
    assert together.shape == (4, 5)
    alone = torch.cat([network(picture[None]) for picture in pictures])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    last = pictures.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network.to(memory_format=torch.channels_last)(last), together, rtol=1e-4, atol=1e-5)


def test_the_four_directions_are_told_apart() -> None:
    """A picture that is turned is another picture: were two walks confused, or one walked twice, some turn would change nothing."""
    network = small()
    pictures = torch.randn(2, 3, 32, 32)
    wanted = network(pictures)
    for turn in (pictures.flip(2), pictures.flip(3), pictures.transpose(2, 3), pictures.flip(2, 3)):
        assert float((network(turn) - wanted).detach().abs().max()) > 1e-3


def test_the_scan_is_in_single_precision_whatever_is_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[torch.dtype, ...]] = []
    walked = vmamba_net.cross_scan.__globals__["walked"]

    def noting(decay: Tensor, added: Tensor, *rest: Any) -> Tensor:
        seen.append((decay.dtype, added.dtype))
        return walked(decay, added, *rest)  # type: ignore[no-any-return]

    monkeypatch.setitem(vmamba_net.cross_scan.__globals__, "walked", noting)
    network, pictures = small(), torch.randn(2, 3, 32, 32)
    exact = network(pictures)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = network(pictures)
    assert len(seen) == 2 * 4 * sum(SMALL.depths) and set(seen) == {(torch.float32, torch.float32)}
    assert 0 < float((rough.float() - exact).detach().abs().max()) < 0.1 * float(exact.detach().abs().max())


def test_every_parameter_learns() -> None:
    network = small().train()
    network(torch.randn(2, 3, 64, 64)).square().sum().backward()  # the last map has 2x2 pixels: on one, no state is kept
    assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]


def test_a_fresh_network_takes_steps_between_a_thousandth_and_a_tenth() -> None:
    torch.manual_seed(0)
    op = SS2D(64, 2.0)
    steps = F.softplus(op.dt_projs_bias).detach()
    assert 0.00099 < float(steps.min()) < 0.002 and 0.08 < float(steps.max()) < 0.101
    assert 0.007 < math.exp(float(steps.log().mean())) < 0.014
    assert torch.equal(op.A_logs, torch.zeros(512, 1)) and torch.equal(op.Ds, torch.ones(512))


def test_drop_path_leaves_out_whole_pictures_and_makes_up_for_it() -> None:
    torch.manual_seed(0)
    dropped, ones = DropPath(0.25), torch.ones(4000, 2, 2, 3)
    kept = dropped.train()(ones)
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(kept.amax((1, 2, 3)), kept.amin((1, 2, 3)))
    assert 0.72 < float((kept[:, 0, 0, 0] > 0).float().mean()) < 0.78
    assert dropped.eval()(ones) is ones
    rates = [block.drop_path.rate for stage in VMamba(SMALL, 0.4).layers for block in stage.blocks]  # type: ignore[union-attr]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_no_decay_on_states_norms_and_biases() -> None:
    network = VMamba(SMALL)
    spared = network.no_weight_decay()
    kinds = {name.split(".")[-1] for name in spared}
    assert kinds == {"A_logs", "Ds", "dt_projs_bias", "bias", "weight"}
    norms = {f"{name}.weight" for name, module in network.named_modules() if isinstance(module, nn.LayerNorm)}
    assert {name for name in spared if name.endswith(".weight")} == norms
    decayed = {name for name, _ in network.named_parameters()} - spared
    assert {name.split(".")[-1] for name in decayed} == {"weight", "x_proj_weight", "dt_projs_weight"}


def test_blocks_are_counted_for_freezing() -> None:
    network = VMamba(SMALL)
    counts = anatomy.freeze(network, "last-2")
    trained, total = sum(count.trained for count in counts), sum(count.total for count in counts)
    free = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    heads = ("layers.2.blocks.0.", "layers.2.downsample.", "layers.3.", "classifier.")
    assert free == {name for name, _ in network.named_parameters() if name.startswith(heads)}
    assert trained == sum(p.numel() for p in network.parameters() if p.requires_grad) < total
    anatomy.freeze(network, "head")
    assert {name for name, p in network.named_parameters() if p.requires_grad} == {
        "classifier.head.weight",
        "classifier.head.bias",
    }
    with pytest.raises(UsageProblem, match="has 5 blocks"):
        anatomy.freeze(network, "last-6")


def test_exported_it_says_the_same() -> None:
    network = small(Shape((1, 1, 1, 1), 4, 1.0, classes=3))
    pictures = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        program = torch.export.export(network, (pictures,), dynamic_shapes={"x": {0: torch.export.Dim("pictures", max=64)}})
        for given in (pictures, torch.randn(5, 3, 32, 48)):
            wanted = network.walk("steps")(given)
            torch.testing.assert_close(program.module()(given), wanted, rtol=1e-5, atol=1e-5)


# --- files ---------------------------------------------------------------------------------------------------------------------


def official(path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch, **beside: Any) -> Path:
    """Write a checkpoint as the official training does: the configuration is a yacs node, an optimiser's state lies beside it."""
    module = types.ModuleType("yacs.config")

    class CfgNode(dict):  # type: ignore[type-arg]
        def __init__(self, values: dict[str, Any]) -> None:
            super().__init__(values)
            self.__dict__["__immutable__"] = False

    CfgNode.__module__, CfgNode.__qualname__ = "yacs.config", "CfgNode"
    module.CfgNode = CfgNode  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
        patch.setitem(sys.modules, "yacs.config", module)
        config = CfgNode({"MODEL": CfgNode({"TYPE": "vssm", "DROP_PATH_RATE": 0.2}), "DATA": CfgNode({"IMG_SIZE": 224})})
        torch.save({"model": state, "epoch": 264, "max_accuracy": 82.6, "config": config, "scaler": {}, **beside}, path)
    return path


def test_an_official_checkpoint_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = small()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for name in state:
        if name.endswith(("proj.weight", "fc1.weight", "fc2.weight")):
            state[name] = state[name][:, :, None, None]  # some of the files keep them as 1x1 convolutions
    path = official(tmp_path / "ckpt.pth", state, monkeypatch, model_ema={name: tensor * 0 for name, tensor in state.items()})
    read = from_checkpoint(path)
    assert read.shape == SMALL and not read.training
    pictures = torch.randn(2, 3, 32, 32)
    assert torch.equal(read(pictures), network(pictures))
    assert "yacs.config" not in sys.modules
    to_safetensors(path, tmp_path / "model.safetensors")
    assert torch.equal(from_checkpoint(tmp_path / "model.safetensors")(pictures), network(pictures))


def test_bare_and_half_precision_states_are_read(tmp_path: Path) -> None:
    network = small()
    torch.save({name: tensor.half() for name, tensor in network.state_dict().items()}, tmp_path / "bare.pt")
    read = from_checkpoint(str(tmp_path / "bare.pt"))
    assert {parameter.dtype for parameter in read.parameters()} == {torch.float32}
    pictures = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(read(pictures), network(pictures), rtol=0.02, atol=0.02)


class Harmful:
    """Were this read, a file would appear."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def test_what_could_run_is_refused_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = official(tmp_path / "evil.pth", small().state_dict(), monkeypatch, extra=Harmful(tmp_path / "ran"))
    with pytest.raises(DataProblem, match=r"holds posix\.mkdir, which reading could run as code") as caught:
        from_checkpoint(path)
    assert not (tmp_path / "ran").exists()
    assert "yacs.config.CfgNode" in caught.value.allowed and "save_file" in caught.value.next


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cut.pth", b"PK\x03\x04 and no more", "cut.pth is damaged"),
        ("empty.pth", b"", "empty.pth is damaged"),
        ("noise.pth", b"\x80\x02 noise", "noise.pth is damaged"),
        ("cut.safetensors", b"\xff\x00\x00\x00\x00\x00\x00\x00{}", "cut.safetensors is damaged"),
        ("net.onnx", b"", "net.onnx is no weights file"),
    ],
)
def test_what_is_no_weights_file_is_said(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Problem) as caught:
        from_checkpoint(tmp_path / name)
    assert said in caught.value.given and caught.value.allowed and caught.value.next
    with pytest.raises(UsageProblem, match="There is no weights file"):
        from_checkpoint(tmp_path / "absent.pth")


@pytest.mark.parametrize("content", [{"epoch": 3}, {}, [1, 2], {"model": {"a": 1}}, torch.zeros(2)])
def test_a_file_without_a_network_is_said(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(DataProblem, match="holds no network"):
        read_state(tmp_path / "other.pth")


Edit = Callable[[dict[str, Tensor]], Any]
OP = "layers.1.blocks.1.op"


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda s: s.pop(f"{OP}.A_logs"), f"{OP}.A_logs is missing"),
        (lambda s: s.pop("patch_embed.5.weight"), "patch_embed.5.weight is missing"),
        (lambda s: s.pop("classifier.head.bias"), "classifier.head.bias is missing"),
        (lambda s: s.update({f"{OP}.A_logs": torch.zeros(64, 16)}), f"{OP}.A_logs has shape (64, 16), not (128, 1)"),
        (
            lambda s: s.update({f"{OP}.in_proj.weight": torch.zeros(64, 16)}),
            f"{OP}.in_proj.weight has shape (64, 16), not (32, 16)",
        ),
        (lambda s: s.update({f"{OP}.z_proj.weight": torch.zeros(3)}), f"{OP}.z_proj.weight is not part of the network"),
        (lambda s: s.update({"layers.1.blocks.7.norm.weight": torch.zeros(16)}), "layers.1.blocks.2.norm.weight is missing"),
        (
            lambda s: s.update({"patch_embed.5.weight": torch.zeros(0, 4, 3, 3)}),
            "nothing can be built with Shape(depths=(1, 2, 1, 1), dim=0",
        ),
        (lambda s: s.clear() or s.update({"conv1.weight": torch.zeros(3)}), "patch_embed.5.weight is missing"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, edit: Edit, said: str) -> None:
    state = {name: tensor.clone() for name, tensor in small().state_dict().items()}
    edit(state)
    save_file(state, tmp_path / "net.safetensors")
    with pytest.raises(DataProblem) as caught:
        from_checkpoint(tmp_path / "net.safetensors", num_classes=3)
    assert "net.safetensors is no VMamba" in caught.value.given and said in caught.value.given


def test_only_the_head_may_be_of_another_size(tmp_path: Path) -> None:
    network = small()
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    pictures = torch.randn(2, 3, 32, 32)
    assert torch.equal(from_checkpoint(tmp_path / "net.safetensors", num_classes=5)(pictures), network(pictures))
    headless = from_checkpoint(tmp_path / "net.safetensors", num_classes=9)
    assert headless.shape == dataclasses.replace(SMALL, classes=9)
    assert torch.equal(headless(pictures), torch.zeros(2, 9)), "a new head starts at zero"
    for name, tensor in headless.state_dict().items():
        assert name.startswith("classifier.head.") or torch.equal(tensor, network.state_dict()[name]), name
