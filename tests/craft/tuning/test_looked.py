"""What a frozen tower sees is computed once, kept whole or not at all, and changes nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.craft.chat.asking import asking
from tests.craft.tuning.taught import PLAN, SMALL, Dying, Killed, bench, lessons, losses, student, teaching

from fieldguide.craft.chat.tiny import architectures
from fieldguide.craft.tuning import Tuning, looked, rows, saying
from fieldguide.craft.tuning.teaching import opened, taught


@pytest.mark.parametrize("architecture", architectures())
def test_features_stand_for_pictures_and_are_computed_once(tiny_chats: Path, tmp_path: Path, architecture: str) -> None:
    made, (some, shelf) = student(tiny_chats, architecture), lessons()
    images = [lesson.image for lesson in some]
    store, _ = looked.opened(made.chat, images, made.base, frozenset(), bench(tmp_path))
    assert store is not None
    store.prepare(images)
    shelf.reads.clear()
    again, _ = looked.opened(made.chat, images[:1], made.base, frozenset(), bench(tmp_path))
    assert again is not None
    shelf.reads.clear()
    plainly, stored = rows.Rows(made.chat, asking()), rows.Rows(made.chat, asking(), looked=again)
    batch = stored.batch([stored.row(lesson) for lesson in some])
    assert not shelf.reads, "no picture is decoded again"
    assert "pixel_values" not in batch.inputs
    with torch.no_grad():
        expected = float(rows.loss(made.network, plainly.batch([plainly.row(lesson) for lesson in some])))
        assert float(rows.loss(made.network, batch)) == pytest.approx(expected, rel=1e-6)
        swapped = stored.batch([rows.Row(one.inputs, one.prompt, one.answer, two.looks) for one, two in swap(stored, some)])
        assert float(rows.loss(made.network, swapped)) != pytest.approx(expected, rel=1e-4), "they are looked at"


def swap(stored: rows.Rows, some: Any) -> Any:
    """Pair pictures of one size with each other's features."""
    made = [stored.row(lesson) for lesson in some]
    return [(one, made[(at + 3) % len(made)]) for at, one in enumerate(made)]


@pytest.mark.slow(keep=2)
@pytest.mark.parametrize("architecture", architectures())
@pytest.mark.parametrize("how", [{"most_tokens": 6}, {"how": "choice"}])
def test_answers_from_features_are_those_from_pictures(
    tiny_chats: Path, tmp_path: Path, architecture: str, how: dict[str, Any]
) -> None:
    made, (some, shelf) = student(tiny_chats, architecture), lessons()
    images = [lesson.image for lesson in some]
    store, _ = looked.opened(made.chat, images, made.base, frozenset(), bench(tmp_path))
    assert store is not None
    stored = rows.Rows(made.chat, asking(**how), looked=store)
    list(saying.said(stored, images))
    assert stored.alike is None, "what is not stored is shown"
    store.prepare(images)
    list(saying.said(stored, images[:1]))
    assert stored.alike
    shelf.reads.clear()
    found = [one.text for one in saying.said(stored, images)]
    assert not shelf.reads
    assert found == [one.text for one in saying.said(rows.Rows(made.chat, asking(**how)), images)]


def test_where_vision_is_trained_nothing_is_stored(tiny_chats: Path, tmp_path: Path) -> None:
    some, _ = lessons(2)
    how = Tuning(rank=2, parts=frozenset({"vision", "projector", "language", "attention"}))
    _, head = opened(teaching(tiny_chats, tuning=how), some, bench(tmp_path / "run"))
    assert head.rows.looked is None
    assert not list(tmp_path.rglob("looked"))


def test_four_bits_see_otherwise_and_have_a_store_of_their_own(tiny_chats: Path) -> None:
    assert student(tiny_chats).base != student(tiny_chats, tuning=Tuning("qlora", rank=4)).base


def test_a_kill_loses_one_part_and_a_damaged_part_is_made_again(
    tiny_chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looked, "PART", 2)
    made, (some, shelf) = student(tiny_chats), lessons()
    images = [lesson.image for lesson in some]
    store, _ = looked.opened(made.chat, images, made.base, frozenset(), bench(tmp_path, progress=Dying(5)))
    assert store is not None
    with pytest.raises(Killed):
        store.prepare(images)
    first = sorted(store.folder.glob("*.safetensors"))
    assert len(first) == 2
    first[0].write_bytes(first[0].read_bytes()[:40])
    shelf.reads.clear()
    again = looked.Looked(made.chat, store.folder, bench(tmp_path))
    again.prepare(images)
    assert len(shelf.reads) == 4, "two of the damaged part, and two that were not reached"
    found = [again.of(image) for image in images]
    assert all(one is not None and one.features["pooled"].isfinite().all() for one in found)


def test_training_from_features_gives_the_numbers_of_training_from_pictures(tiny_chats: Path, tmp_path: Path) -> None:
    some, shelf = lessons()
    found, plan = [], dataclasses.replace(PLAN, steps=4, every=2)
    for store in ("auto", "off"):
        taught(teaching(tiny_chats, tuning=SMALL, store=store, plan=plan), some, some[:2], bench(tmp_path / store))
        found.append((losses(tmp_path / store), len(shelf.reads)))
    assert found[0][0] == found[1][0]
    assert found[0][1] < 22 < found[1][1] - found[0][1]
