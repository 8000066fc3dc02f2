"""Weights files: found, fetched only where allowed, read without running anything, and a whole that is checked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from fieldguide.craft.zoo import weights
from fieldguide.craft.zoo.weights import Source, fetched, located, read_state
from fieldguide.errors import DataProblem, EnvironmentProblem, UsageProblem

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


class Danger:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return os.mkdir, (str(Path(os.environ["DANGER"]) / "ran"),)


@pytest.mark.parametrize("under", [None, "model", "state_dict"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
def test_every_kind_of_file_gives_the_tensors(tmp_path: Path, under: str | None, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    if suffix == ".safetensors":
        save_file(STATE, path, metadata={"pad_type": "same"})
    else:
        torch.save({under: STATE, "epoch": 3} if under else STATE, path)
    source = located(str(path))
    assert source.says == ({"pad_type": "same"} if suffix == ".safetensors" else {})
    read = read_state(source)
    assert set(read) == set(STATE) and all(torch.equal(read[name], STATE[name]) for name in STATE)


def test_a_pickle_that_would_run_code_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANGER", str(tmp_path))
    torch.save({"state_dict": STATE, "more": Danger()}, tmp_path / "w.pth")
    with pytest.raises(DataProblem, match="could run as code"):
        read_state(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [[1, 2], {}, {"model": {"a": 1}}, 5])
def test_a_file_without_a_network_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(DataProblem, match="holds no network"):
        read_state(tmp_path / "w.pt")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def published(folder: Path) -> tuple[str, bytes]:
    """Return the address and the bytes of a file that is named after its digest."""
    torch.save(STATE, folder / "x.pth")
    content = (folder / "x.pth").read_bytes()
    return f"https://example.org/net-{hashlib.sha256(content).hexdigest()[:8]}.pth", content


def test_a_file_in_the_cache_needs_no_network(tmp_path: Path, hub: Path) -> None:
    url, content = published(tmp_path)
    with pytest.raises(EnvironmentProblem, match="not on this machine") as missing:
        fetched(url, "torchvision/net", online=False, checked=True)
    assert "--online" in missing.value.allowed and "torchvision/net:weights=none" in missing.value.next
    hub.mkdir(parents=True)
    (hub / url.rsplit("/", 1)[1]).write_bytes(content)
    source = fetched(url, "torchvision/net", online=False, checked=True)
    assert set(read_state(source)) == set(STATE) and source.digest in url


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path: Path, hub: Path) -> None:
    url, content = published(tmp_path)
    hub.mkdir(parents=True)
    (hub / url.rsplit("/", 1)[1]).write_bytes(content[:-1] + b"x")
    with pytest.raises(DataProblem, match="SHA-256 begins with"):
        read_state(fetched(url, "net", online=False, checked=True))


def test_only_online_fetches_and_the_digest_is_asked_for(tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, content = published(tmp_path)
    asked = []

    def download(address: str, target: str, digest: str | None, progress: bool) -> None:
        asked.append((address, digest, progress))
        Path(target).write_bytes(content)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    source = fetched(url, "net", online=True, checked=True)
    assert asked == [(url, source.digest, False)] and source.digest
    assert fetched(url, "net", online=True, checked=True) == source and len(asked) == 1
    assert fetched("https://example.org/net-v2.pth", "net", online=True, checked=False).digest == ""


def test_a_download_that_fails_is_three_breaths(tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("invalid hash value \x1b[2J")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(EnvironmentProblem, match="could not be downloaded: invalid hash value") as caught:
        fetched("https://example.org/net-01234567.pth", "net", online=True, checked=True)
    assert "\x1b" not in caught.value.given


def test_what_is_no_weights_file_is_refused(tmp_path: Path) -> None:
    for name in ("w.zip", "none.pth", "none.safetensors"):
        with pytest.raises(UsageProblem, match="no weights file"):
            located(str(tmp_path / name))
    with pytest.raises(UsageProblem, match="no weights file"):
        read_state(Source(tmp_path / "none.bin", "x"))


def test_old_files_without_a_batch_counter_are_whole() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    state = {name: torch.randn(tensor.shape) for name, tensor in network.state_dict().items() if "num_batches" not in name}
    weights.load_body(network, state, ("2.",), "file: x")
    assert torch.equal(network[1].running_mean, state["1.running_mean"])
    assert not network[2].weight.any() and not network[2].bias.any()
    del state["1.running_mean"]
    with pytest.raises(DataProblem, match=r"1\.running_mean is missing"):
        weights.load_body(network, state, ("2.",), "file: x")
