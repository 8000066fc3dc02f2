"""The search for networks: numbers of the libraries themselves, over all of them, and nearest names where nothing matches."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torchvision import models

from fieldguide import looking
from fieldguide.craft.vmamba_net import SIZES
from fieldguide.craft.zoo import catalogue
from fieldguide.errors import UsageProblem


def test_one_name_in_two_libraries() -> None:
    found = catalogue.find("resnet18")
    ours = {row.name: row for row in found.rows}
    assert set(ours) == {"resnet18", "torchvision/resnet18"} and found.matched == 2
    with torch.device("meta"):
        network = timm.create_model("resnet18")
    assert ours["resnet18"].parameters == sum(p.numel() for p in network.parameters())
    assert (ours["resnet18"].licence, ours["resnet18"].size) == ("apache-2.0", 224)
    meta = models.ResNet18_Weights.DEFAULT.meta
    other = ours["torchvision/resnet18"]
    assert (other.parameters, other.size, other.macs) == (meta["num_params"], 224, meta["_ops"] * 1e9)
    # Two libraries count the work of the same network in two ways.
    assert ours["resnet18"].macs == pytest.approx(other.macs, rel=0.02)


def test_patterns_reach_every_library() -> None:
    found = catalogue.find("vmamba/*")
    assert [row.name for row in found.rows] == [f"vmamba/{name}" for name in SIZES]
    assert found.rows[0].parameters == 30_249_064 and found.rows[0].macs is None
    assert catalogue.find("TORCHVISION/SWIN_V2_?").matched == 3
    assert catalogue.find("hf/swin*").architectures == ("swin", "swinv2") and not catalogue.find("hf/swin*").rows
    assert [row.name for row in catalogue.find("resnet18.a1_in1k").rows] == ["resnet18.a1_in1k"]


def test_only_the_first_are_shown_and_the_rest_counted() -> None:
    found = catalogue.find("test_*", most=2)
    assert len(found.rows) == 2 and found.matched == len([name for name in timm.list_models() if name.startswith("test_")])


def test_weights_on_this_machine_are_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert not catalogue.find("torchvision/alexnet").rows[0].here
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / models.AlexNet_Weights.DEFAULT.url.rsplit("/", 1)[1]).write_bytes(b"")
    assert catalogue.find("torchvision/alexnet").rows[0].here


def test_the_table_says_what_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    looking.show_models("vmamba/tiny")
    said = capsys.readouterr().out
    assert "vmamba/tiny" in said and "30.2 M" in said and "unknown" in said and "not here" in said


def test_nothing_found_is_three_breaths() -> None:
    with pytest.raises(UsageProblem, match="No network is called 'resnet19'") as caught:
        looking.show_models("resnet19")
    assert "Did you mean resnet" in caught.value.allowed and "hf/OWNER/NAME" in caught.value.next
