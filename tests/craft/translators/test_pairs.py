"""Where pairs come from: captions of training pictures, means of classes, and captioned sets beside their pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from tests.pictures import stripes

from fieldguide.bench import Silent
from fieldguide.craft import encoders
from fieldguide.craft.encoders.words import Words
from fieldguide.craft.features import Features
from fieldguide.craft.frozen import Lens
from fieldguide.craft.translators import pairs
from fieldguide.craft.translators.pairs import captioned, in_domain, said
from fieldguide.errors import DataProblem

PICTURES = np.arange(12, dtype=np.float32).reshape(4, 3)
LABELS = np.array([0, 0, 1, 2])
KEYS = ("a", "b", "c", "d")
LINES = (("red wings", "a short bill"), ("blue wings",), (), ("never seen",))


def test_captions_go_with_their_own_picture() -> None:
    made = in_domain(PICTURES, LABELS, KEYS, {"b": ("one", "two"), "d": ("three",), "elsewhere": ("no",)}, LINES)
    assert made.lines == ("one", "two", "three") and made.groups.tolist() == [0, 0, 2]
    assert np.array_equal(made.pictures, PICTURES[[1, 1, 3]]) and made.where == "3 captions of 2 training pictures"


def test_lines_of_a_class_go_with_its_mean_picture() -> None:
    made = in_domain(PICTURES, LABELS, KEYS, {}, LINES)
    assert made.lines == ("red wings", "a short bill", "blue wings") and made.groups.tolist() == [0, 0, 1]
    assert np.array_equal(made.pictures, np.stack([PICTURES[:2].mean(0)] * 2 + [PICTURES[2]]))
    assert "2 classes" in made.where
    nothing = in_domain(PICTURES, LABELS, KEYS, {}, ((), (), ()))
    assert not nothing.lines and nothing.pictures.shape == (0, 3)


def test_tokens_are_padded_alike_and_of_many_pairs_some_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, features = Words(32), Features(tmp_path, Silent())
    monkeypatch.setattr(pairs, "_AT_ONCE", 2)
    lines = ("red", "red long wings", "bill", "a very long blue tail feather")
    read = said(reads, features, lines, tokens=True)
    states, mask = reads.tokens(lines)
    assert np.array_equal(read.mask, mask.numpy()) and np.allclose(read.tokens, states.numpy(), atol=1e-3)
    monkeypatch.setattr(pairs, "MOST", 2)
    made = in_domain(PICTURES, LABELS, KEYS, {"a": lines}, ())
    few = [made.read(reads, features, tokens=True, seed=seed) for seed in (0, 0, 1)]
    assert [len(one) for one in few] == [2, 2, 2] and len(made.read(reads, features, tokens=False)) == 4
    assert np.array_equal(few[0].lines.pooled, few[1].lines.pooled)


def coco(root: Path, karpathy: bool = False) -> Path:
    random = np.random.default_rng(0)
    (root / "train2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    for number in range(5):
        Picture.fromarray(stripes(number % 3, random, size=40)).save(root / "train2017" / f"{number:012}.png")
    (root / "train2017" / "000000000003.png").write_bytes(b"no picture")
    told = {
        "images": [{"id": number, "file_name": f"{number:012}.png"} for number in range(7)],
        "annotations": [{"image_id": number % 7, "caption": f" caption  {number} "} for number in range(14)],
    }
    if karpathy:
        told = {
            "images": [
                {"filepath": "train2014", "filename": f"{at:012}.png", "sentences": [{"raw": f"said {at}"}]} for at in range(5)
            ]
        }
    path = root / "annotations" / "captions.json"
    path.write_text(json.dumps(told))
    return path


@pytest.fixture(scope="module")
def encoder() -> encoders.Encoder:
    return encoders.build(Lens("test_resnet", "none", image_size=32), seed=0, device="cpu", online=False)


@pytest.mark.parametrize("karpathy", [False, True])
def test_a_captioned_set_is_read_with_its_pictures(karpathy: bool, encoder: encoders.Encoder, tmp_path: Path) -> None:
    path = coco(tmp_path / "coco", karpathy)
    (tmp_path / "coco" / "train2017" / "000000000003.png").unlink()
    features = Features(tmp_path / "store", Silent())
    made = captioned(path, encoder.sees, features, seed=0)
    each = 1 if karpathy else 2
    assert (
        len(made.lines) == 4 * each and set(made.groups) == {-1} and made.where.startswith(f"{4 * each} captions of 4 pictures")
    )
    assert made.lines[0] == ("said 0" if karpathy else "caption 0")
    assert len(np.unique(made.pictures, axis=0)) == 4
    assert len(captioned(path, encoder.sees, features, seed=0, most=2).lines) == 2 * each


def test_what_holds_no_captions_or_no_pictures_is_said(encoder: encoders.Encoder, tmp_path: Path) -> None:
    features = Features(tmp_path / "store", Silent())
    path = coco(tmp_path / "coco")
    (tmp_path / "alone").mkdir()
    lonely = tmp_path / "alone" / "captions.json"
    lonely.write_text(path.read_text())
    with pytest.raises(DataProblem) as nothing:
        captioned(lonely, encoder.sees, features, seed=0)
    assert "None of the 7 pictures" in nothing.value.given
    lonely.write_text("[1]")
    with pytest.raises(DataProblem) as other:
        captioned(lonely, encoder.sees, features, seed=0)
    assert "captions" in other.value.given
