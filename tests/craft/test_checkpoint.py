"""Checkpoints: what goes in comes out, bit for bit, or nothing does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from fieldguide.craft import checkpoint
from fieldguide.errors import EnvironmentProblem


def trained(seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2))
    model = model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    for _ in range(3):
        model(torch.randn(4, 3, 8, 8)).square().sum().backward()
        optimiser.step()
    return model, optimiser


def test_groups_and_state_come_back(tmp_path: Path) -> None:
    groups = {
        "model": {"a.b/c": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last), "count": torch.tensor(7)},
        "half": {"x|y": torch.randn(5).bfloat16(), "bytes": torch.arange(9, dtype=torch.uint8), "view": torch.arange(10)[::2]},
    }
    state = {"epoch": 3, "best": [0.5, float("-inf")], "name": "犬"}
    checkpoint.save(tmp_path / "c.safetensors", groups, state)
    found = checkpoint.load(tmp_path / "c.safetensors")
    assert found is not None
    assert found[1] == state
    assert {group: set(named) for group, named in found[0].items()} == {group: set(named) for group, named in groups.items()}
    for group, named in groups.items():
        for name, tensor in named.items():
            assert torch.equal(found[0][group][name], tensor)
            assert found[0][group][name].dtype == tensor.dtype


def test_the_optimiser_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    model, optimiser = trained()
    checkpoint.save(
        tmp_path / "c", {"model": model.state_dict(), "optimiser": checkpoint.optimiser_tensors(optimiser, model)}, {}
    )
    found = checkpoint.load(tmp_path / "c")
    assert found is not None
    other, second = trained(seed=1)
    second.state.clear()
    other.load_state_dict(found[0]["model"])
    checkpoint.restore_optimiser(second, other, found[0]["optimiser"])
    pictures = torch.randn(4, 3, 8, 8)
    for network, steps in ((model, optimiser), (other, second)):
        steps.zero_grad()
        network(pictures).square().sum().backward()
        steps.step()
    for (name, one), two in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(one, two), name
    for parameter in other.parameters():
        assert second.state[parameter]["exp_avg"].stride() == parameter.stride()


@pytest.mark.parametrize("damage", [b"", b"no safetensors", None])
def test_a_damaged_checkpoint_is_none(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "c"
    assert checkpoint.load(path) is None
    checkpoint.save(path, {"model": {"a": torch.zeros(100)}}, {})
    path.write_bytes(path.read_bytes()[:-50] if damage is None else damage)
    assert checkpoint.load(path) is None


def test_a_checkpoint_the_disk_cannot_read_now_is_not_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Input/output error (os error 5)")  # as safetensors says it

    checkpoint.save(tmp_path / "c", {"model": {"a": torch.zeros(1)}}, {})
    monkeypatch.setattr(checkpoint, "safe_open", refuse)
    with pytest.raises(EnvironmentProblem, match="Input/output error"):
        checkpoint.load(tmp_path / "c")


def test_a_strangers_file_is_none(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    for metadata in (None, {"format": "pt"}, {"state": "{half"}):
        save_file({"a": torch.zeros(1)}, tmp_path / "c", metadata=metadata)
        assert checkpoint.load(tmp_path / "c") is None


def test_the_old_one_stays_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c"
    checkpoint.save(path, {"m": {"a": torch.zeros(1)}}, {"at": 1})

    def dying(tensors: object, target: Path, metadata: object) -> None:
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_file", dying)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, {"m": {"a": torch.ones(1)}}, {"at": 2})
    found = checkpoint.load(path)
    assert found is not None
    assert found[1] == {"at": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["c"]
