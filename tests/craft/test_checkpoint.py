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
    checkpoint.save(tmp_path / "c", groups, state)
    found = checkpoint.load(tmp_path / "c")
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


def saved(folder: Path, count: int) -> None:
    for at in range(count):
        checkpoint.save(folder, {"model": {"a": torch.full((100,), float(at))}}, {"at": at})


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["empty", "other", "cut", "flipped", "gone"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path, name: str, damage: str) -> None:
    saved(tmp_path / "c", 3)
    path = tmp_path / "c" / "2" / name
    content = path.read_bytes()
    changed = {
        "empty": b"",
        "other": b"no such file",
        "cut": content[:-50],
        "flipped": content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    }
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(changed[damage])
    found = checkpoint.load(tmp_path / "c")
    assert found is not None and found[1] == {"at": 1} and float(found[0]["model"]["a"][0]) == 1
    (tmp_path / "c" / "1" / "state.json").unlink()
    assert checkpoint.load(tmp_path / "c") is None
    saved(tmp_path / "c", 1)
    found = checkpoint.load(tmp_path / "c")
    assert found is not None and found[1] == {"at": 0}


def test_the_last_two_are_kept_and_the_newest_is_named(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path / "c") is None
    saved(tmp_path / "c", 5)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["3", "4", "LATEST"]
    assert (tmp_path / "c" / "LATEST").read_text() == "4"


def test_a_checkpoint_the_disk_cannot_read_now_is_not_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Input/output error (os error 5)")  # as safetensors says it

    checkpoint.save(tmp_path / "c", {"model": {"a": torch.zeros(1)}}, {})
    monkeypatch.setattr(checkpoint, "safe_open", refuse)
    with pytest.raises(EnvironmentProblem, match="Input/output error"):
        checkpoint.load(tmp_path / "c")


def test_the_old_one_stays_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c"
    checkpoint.save(path, {"m": {"a": torch.zeros(1)}}, {"at": 1})

    def dying(tensors: object, target: Path) -> None:
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_file", dying)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, {"m": {"a": torch.ones(1)}}, {"at": 2})
    found = checkpoint.load(path)
    assert found is not None
    assert found[1] == {"at": 1}
    assert sorted(entry.name for entry in path.iterdir()) == ["0", "LATEST"]
