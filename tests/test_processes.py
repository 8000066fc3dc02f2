"""Two processes train what one trains on batches of twice the size: under torchrun, through the whole command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fieldguide
from fieldguide.bench import read_log

NETWORK = "test_vit:weights=none,image_size=32,patch_size=8,epochs=2,precision=fp32,as=vit"


def run(words: list[str]) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, env=environment, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


SPREAD = ["torch.distributed.run", "--nproc_per_node", "2", "-m", "fieldguide"]
CONTESTANTS = [f"{NETWORK},batch_size=8", "majority"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw, folder = np.random.default_rng(0), tmp_path_factory.mktemp("photos")
    for name, colour in (("dark", (90, 90, 90)), ("light", (150, 150, 150)), ("red", (150, 90, 90))):
        (folder / name).mkdir()
        for number in range(20):
            pixels = (np.array(colour) + draw.normal(0, 60, (40, 40, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def spread(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A study of two processes, and what was said meanwhile."""
    study = tmp_path_factory.mktemp("spread") / "two"
    return study, run([*SPREAD, "compare", str(photos), *CONTESTANTS, "--out", str(study)])


def test_two_processes_are_one_with_twice_the_batch(photos: Path, spread: tuple[Path, str], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    one, (two, said) = tmp_path / "one", spread
    fieldguide.compare(photos, (f"{NETWORK},batch_size=16",), out=one)
    assert said.count("Report:") == 1, "one of them speaks"
    weights = [load_file(study / "runs" / "vit" / "model" / "model.safetensors") for study in (one, two)]
    apart = max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0])
    assert apart < 1e-4, "the order in which two processes add up differs, nothing else"
    curves = [
        [event for event in read_log(study / "runs" / "vit" / "log.jsonl") if event["event"] == "epoch"] for study in (one, two)
    ]
    assert [event["train_loss"] for event in curves[0]] == pytest.approx([event["train_loss"] for event in curves[1]], rel=1e-3)
    assert len(curves[1]) == 2, "an epoch is told once"
    facts = json.loads((two / "runs" / "vit" / "fit.json").read_text())["facts"]
    assert facts["processes"] == 2


@pytest.mark.slow(keep=0)
def test_two_processes_train_nothing_again(photos: Path, spread: tuple[Path, str]) -> None:
    again = run([*SPREAD, "compare", str(photos), *CONTESTANTS, "--out", str(spread[0])])
    assert "Re-used, whole from before: majority, vit." in again or "Re-used, whole from before: vit, majority." in again
