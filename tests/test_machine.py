"""Hashes of weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fieldguide.machine import weights_hash


def test_weights_have_a_hash_that_follows_every_byte(tmp_path: Path) -> None:
    assert weights_hash(tmp_path) is None
    (tmp_path / "classes.toml").write_text("not weights", encoding="utf-8")
    assert weights_hash(tmp_path) is None
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert weights_hash(tmp_path) == hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "second.safetensors").write_bytes(b"more")
    both = weights_hash(tmp_path)
    (tmp_path / "second.safetensors").write_bytes(b"more!")
    assert both != weights_hash(tmp_path) and len(both or "") == 64
