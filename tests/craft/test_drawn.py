"""The image-text model that comes with the package: it loads offline, and sees and reads what its card says."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import drawn_card
from benchmarks.drawn_measures import DIGIT_TEMPLATES, Reader, composed, counted, filled, measured, score, told
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch.nn import functional as F

from fieldguide.data.drawn.looks import DIGITS

FOLDER = Path(str(files("fieldguide.craft") / "encoders" / "drawn"))


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(FOLDER)


def json_of(name: str) -> dict:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def written(number: int) -> tuple[list[np.ndarray], list[int]]:
    """Some of scikit-learn's digits, dark on white."""
    found = load_digits()
    chosen = np.random.default_rng(0).choice(len(found.images), number, replace=False)
    grey = [(255 - found.images[at] * 15.9375).astype(np.uint8) for at in chosen]
    return [np.repeat(one[..., None], 3, axis=2) for one in grey], [int(found.target[at]) for at in chosen]


def test_compositions_that_were_never_drawn_are_named_among_all_400(reader: Reader) -> None:
    found = composed(reader, 80)
    assert found["drawn in training"]["accuracy"] > 50
    assert found["never drawn: figure, colour and texture"]["accuracy"] > 38
    assert found["never drawn: figure and colour"]["accuracy"] > 24
    assert {row["chance"] for row in found.values()} == {0.25}


def test_numbers_of_figures_that_were_never_drawn_are_counted(reader: Reader) -> None:
    found = counted(reader, 80)
    assert found["drawn in training"]["accuracy"] > 50 and found["never drawn: number and figure"]["accuracy"] > 35


def test_sentences_without_a_name_tell_compositions_apart(reader: Reader) -> None:
    found = told(reader, 96)
    assert found["by name"]["accuracy"] > 75 and found["by sentences without it"]["accuracy"] > 75


def test_written_digits_it_never_saw_are_read_and_shuffled_texts_are_not(reader: Reader) -> None:
    pictures, labels = written(240)
    seen = reader.pictures(pictures)
    read = reader.classes([filled(word, DIGIT_TEMPLATES) + filled(str(at), DIGIT_TEMPLATES) for at, word in enumerate(DIGITS)])
    found = score(seen, read, labels)
    assert found["accuracy"] > 65 and found["chance"] == 10
    # The sample and the whole of the card agree.
    assert found["low"] - 1 < json_of("measured.json")["digits"]["scikit-learn's, by name"]["accuracy"] < found["high"] + 1
    shuffled = [
        score(seen, read[torch.randperm(10, generator=torch.Generator().manual_seed(seed))], labels) for seed in range(10)
    ]
    assert np.mean([row["accuracy"] for row in shuffled]) < 25
    mixed = read[:, torch.randperm(128, generator=torch.Generator().manual_seed(0))]
    assert score(seen, mixed, labels)["accuracy"] < 35 < found["accuracy"]
    assert score(seen, reader.classes([["a photo of a thing."]] * 10), labels)["accuracy"] < 20


def test_a_pictures_features_do_not_depend_on_its_neighbours_nor_a_texts_on_padding(reader: Reader) -> None:
    pictures, _ = written(4)
    assert torch.allclose(reader.pictures(pictures)[:1], reader.pictures(pictures[:1]), atol=1e-5)
    texts = ["red", "a photo of two striped blue stars on a dark background."]
    tokens = reader.words(texts, padding=True, return_tensors="pt")
    alone = reader.words(texts[:1], return_tensors="pt")
    with torch.no_grad():
        both, one = (reader.model.get_text_features(**these).pooler_output for these in (tokens, alone))
    assert torch.allclose(both[:1], one, atol=1e-5)
    assert F.normalize(both, dim=1).shape == (2, 128) and (both.norm(dim=1) - 1).abs().min() > 0.01


def test_no_word_is_unknown(reader: Reader) -> None:
    for text in ("a black-footed albatross", "wren", "grauer würger 鳥", "3"):
        tokens = reader.words(text)["input_ids"]
        assert reader.words.unk_token_id not in tokens[1:-1]
        assert reader.words.decode(tokens, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "")
    assert reader.words.eos_token_id == reader.model.config.text_config.eos_token_id == len(reader.words) - 1
    assert (
        len(reader.words("word " * 99, truncation=True)["input_ids"]) == reader.model.config.text_config.max_position_embeddings
    )
    assert reader.words("A STAR")["input_ids"] == reader.words("a star")["input_ids"]


def test_the_files_are_small_whole_and_tell_nothing_of_a_machine() -> None:
    paths = list(FOLDER.iterdir())
    assert sum(path.stat().st_size for path in paths) < 8e6
    weights = load_file(FOLDER / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16, torch.int64} - (
        set() if any(value.dtype == torch.int64 for value in weights.values()) else {torch.int64}
    )
    assert all(torch.isfinite(value.float()).all() for value in weights.values())
    for path in paths:
        if path.suffix != ".safetensors":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"/(home|root|tmp|work|Users)/|https?://|huggingface\.co|_name_or_path", text), path.name


def test_the_card_says_what_was_measured_and_how_it_was_trained(reader: Reader) -> None:
    text = (FOLDER / "card.md").read_text(encoding="utf-8")
    assert text == drawn_card.card(FOLDER) and "Apache-2.0" in text
    head, *curve = [json.loads(line) for line in (FOLDER / "training.jsonl").read_text(encoding="utf-8").splitlines()]
    assert head["parameters"] == sum(value.numel() for value in reader.model.parameters())
    assert curve[-1]["step"] == head["steps"] and f"{head['steps']:,} steps" in text
    assert curve[-1]["loss"] < curve[0]["loss"] / 2 and curve[-1]["right"] > curve[0]["right"] + 0.2
    assert f"{json_of('measured.json')['number and figure']['drawn in training']['accuracy']} [" in text


@pytest.mark.slow(keep=0)
def test_the_card_is_measured_again(reader: Reader) -> None:
    kept, again = json_of("measured.json"), measured(FOLDER)
    for what, rows in again.items():
        for name, row in rows.items():
            assert abs(row["accuracy"] - kept[what][name]["accuracy"]) <= 0.3, (what, name)
