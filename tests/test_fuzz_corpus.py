"""What fuzzing once found stays mended: every kept input is replayed by the contract of its target, without a fuzzer."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz import fuzz_loader, fuzz_manifest

LOADER = sorted(fuzz_loader.CORPUS.iterdir())
MANIFEST = sorted(fuzz_manifest.CORPUS.iterdir())


def test_the_corpus_is_there_and_small() -> None:
    assert len(LOADER) >= 5 and len(MANIFEST) >= 5
    assert all(path.stat().st_size <= 4096 for path in (*LOADER, *MANIFEST))


@pytest.mark.parametrize("path", LOADER, ids=lambda path: path.name)
def test_loader(path: Path) -> None:
    assert fuzz_loader.check(path.read_bytes())


@pytest.mark.parametrize("path", MANIFEST, ids=lambda path: path.name)
def test_manifest(path: Path, tmp_path: Path) -> None:
    assert fuzz_manifest.check(path.read_bytes(), tmp_path)


def test_seeds_of_the_targets_keep_the_contracts(tmp_path: Path) -> None:
    pictures = [fuzz_loader.check(data) for data in fuzz_loader.seeds()]
    assert len(pictures) > 60 and sum("," in said and "broken" not in said for said in pictures) > 50
    said = [fuzz_manifest.check(data, tmp_path) for data in fuzz_manifest.seeds()]
    assert "3 rows" in said and any("rows" not in one for one in said)


def test_a_mended_checksum_lets_a_mutated_picture_in() -> None:
    whole = next(data for data in fuzz_loader.seeds() if data.startswith(b"\x89PNG"))
    assert fuzz_loader.repair(whole) == whole
    changed = whole.replace(b"IDAT", b"IDAX")
    assert "checksum" not in fuzz_loader.check(fuzz_loader.repair(changed)) and fuzz_loader.repair(changed) != changed


def test_a_target_that_breaks_its_contract_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from fieldguide.data import images, tables

    def surprise(*_: object, **__: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(images, "load", surprise)
    monkeypatch.setattr(tables, "read_manifest", surprise)
    with pytest.raises(KeyError):
        fuzz_loader.check(b"x")
    with pytest.raises(KeyError):
        fuzz_manifest.check(b"\1", tmp_path)
