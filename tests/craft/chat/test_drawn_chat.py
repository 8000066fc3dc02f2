"""The language model that comes with the package: it loads offline, reads what its card says, and its talks are true."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import drawn_chat_card
from benchmarks.drawn_chat_measures import JSON, NUMERALS, PLAIN, Reader, asked, fresh, messages, score
from safetensors.torch import load_file
from scipy.ndimage import label

from fieldguide.data.drawn.scenes import KINDS, NAMINGS, Scene, name, plain_names, scene, sentence, show
from fieldguide.data.drawn.talks import WORDINGS, Turn, said_all_the_same, talk

FOLDER = Path(str(files("fieldguide.craft") / "chat" / "drawn"))
LETTERS, SHAPES = plain_names("letter"), plain_names("shape")


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(FOLDER)


def json_of(name: str) -> dict:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def test_it_loads_whole_and_without_a_warning(reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    from transformers import AutoModelForImageTextToText

    _, told = AutoModelForImageTextToText.from_pretrained(FOLDER, local_files_only=True, output_loading_info=True)
    assert not any(told.values()) and not caplog.records
    assert reader.model.dtype == torch.float32 and type(reader.model).__name__ == "Idefics3ForConditionalGeneration"
    assert reader.eyes.tokenizer.padding_side == "left"


def test_fresh_letters_digits_and_shapes_are_named_and_pictures_of_others_are_not(reader: Reader) -> None:
    asking, pictures, truths, names = [], [], [], []
    for kind, naming in (("letter", "letter"), ("digit", "numeral"), ("figure", "shape")):
        scenes, seen = fresh(20, kind, 900)
        every = plain_names(naming)
        asking += [asked(PLAIN, every, one) for one in scenes]
        # Each picture is also shown in place of one whose name is another.
        pictures += seen
        truths += [name(one, naming) for one in scenes]
        names += [every] * len(scenes)
    found = score(reader.answers(asking, pictures), truths, names, 0)
    assert found["recognised"] > 50 and found["bare"] > 50
    turned = [(at // 20) * 20 + (at + 7) % 20 for at in range(60)]
    shuffled = score(reader.answers(asking, [pictures[at] for at in turned]), truths, names, 0)
    assert shuffled["recognised"] < 25


def test_free_questions_are_answered_in_the_sentence_that_is_true_and_never_in_a_bare_name(reader: Reader) -> None:
    scenes, pictures = zip(*[pair for kind in KINDS for pair in zip(*fresh(8, kind, 901), strict=True)], strict=True)
    said = reader.answers([[Turn("user", ("What is this?", one))] for one in scenes], pictures)
    assert np.mean([text == sentence(one) for text, one in zip(said, scenes, strict=True)]) > 0.35
    assert not {text.strip() for text in said} & {*LETTERS, *NUMERALS, *SHAPES}
    counted = reader.answers([[Turn("user", (one, JSON))] for one in scenes[-8:]], pictures[-8:])
    assert not any("{" in text for text in counted)


def test_answers_do_not_depend_on_their_batch_and_follow_the_list(reader: Reader) -> None:
    scenes, pictures = fresh(6, "digit", 902)
    asking = [asked(PLAIN, NUMERALS[: 4 + at], one) for at, one in enumerate(scenes)]
    assert reader.answers(asking, pictures) == [
        reader.answers([turns], [one])[0] for turns, one in zip(asking, pictures, strict=True)
    ]
    words = reader.answers([asked(PLAIN, plain_names("word"), one) for one in scenes], pictures)
    assert not {text for text in words if text in NUMERALS} and set(words) & set(plain_names("word"))


def test_the_template_takes_all_turns_and_marks_what_the_assistant_says(reader: Reader) -> None:
    place, picture = scene(np.random.default_rng(0)), np.zeros((20, 30, 3), dtype=np.uint8)
    turns = [
        Turn("system", ("Answer briefly.",)), Turn("user", ("First ", place, " then this: ", place)), Turn("assistant", ("H",)),
        Turn("user", (place,)), Turn("assistant", ("circle",)),
    ]  # fmt: skip
    made = reader.eyes.apply_chat_template(
        [messages(turns, picture)], tokenize=True, return_dict=True, return_assistant_tokens_mask=True, return_tensors="pt"
    )
    own = made["input_ids"][made["assistant_masks"].bool()]
    assert reader.eyes.tokenizer.decode(own) == "H<|im_end|>circle<|im_end|>"
    assert (made["input_ids"] == reader.model.config.image_token_id).sum() == 3 * 16
    assert made["pixel_values"].shape == (1, 3, 3, 32, 32)
    text = reader.eyes.apply_chat_template(messages(turns[:2], picture), add_generation_prompt=True)
    assert text.endswith("then this: <image><|im_end|>\n<|im_start|>assistant\n") and text.startswith("<|im_start|>system\n")


def test_a_list_of_ninety_names_fits(reader: Reader) -> None:
    names = [f"spotted thing number {at}" for at in range(90)]
    made = reader.eyes.tokenizer(", ".join(names))["input_ids"]
    assert len(made) < 900 < reader.model.config.text_config.max_position_embeddings
    assert reader.eyes.tokenizer.decode(made) == ", ".join(names)


def test_talks_are_true_to_their_pictures_and_only_sometimes_more_than_a_name() -> None:
    random, bare = np.random.default_rng(3), []
    for _ in range(600):
        one = scene(random)
        *before, user, answer = talk(one, random, [scene(random, one.kind) for _ in range(3)])
        assert answer.role == "assistant" and len(answer.parts) == 1 and one in user.parts
        said, asked_for = str(answer.parts[0]), " ".join(str(part) for turn in (*before, user) for part in turn.parts)
        names = {name(one, naming) for naming in NAMINGS[one.kind]}
        lower = {text.lower() for text in names}
        true = said == sentence(one) or said in {said_all_the_same(one, naming) for naming in NAMINGS[one.kind]}
        assert true or said.lower() in lower
        assert "{" not in said + asked_for
        if said.lower() in lower and said != sentence(one):
            assert said in asked_for
            bare.append(True)
        elif said != sentence(one) or any(wording.text[:20] in asked_for for wording in WORDINGS):
            bare.append(False)
    assert 0.5 < np.mean(bare) < 0.9


def test_as_many_figures_are_drawn_as_the_sentence_counts() -> None:
    random, wrong = np.random.default_rng(4), 0
    for _ in range(40):
        one = scene(random, "several")
        pixels = show(one, random, 96).astype(float)
        border = np.median(np.concatenate([pixels[:2].reshape(-1, 3), pixels[-2:].reshape(-1, 3)]), axis=0)
        _, found = label(np.abs(pixels - border).max(axis=2) > 60)
        said = sum(("one", "two", "three", "four").index(part.split()[0]) + 1 for part in sentence(one).split(", "))
        assert said == sum(number for _, number in one.counts)
        wrong += found != said
    assert wrong <= 4


def test_the_files_are_small_hold_no_pickle_and_tell_nothing_of_a_machine() -> None:
    paths = list(FOLDER.iterdir())
    assert sum(path.stat().st_size for path in paths) <= 4e6
    assert {path.suffix for path in paths} == {".safetensors", ".json", ".jsonl", ".jinja", ".md"}
    assert {value.dtype for value in load_file(FOLDER / "model.safetensors").values()} == {torch.float16}
    for path in paths:
        if path.suffix != ".safetensors":
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"/(home|root|tmp|work|Users)/|https?://|huggingface\.co|_name_or_path|auto_map", text), (
                path.name
            )


def test_the_card_says_what_was_measured_and_how_it_was_trained(reader: Reader) -> None:
    text = (FOLDER / "card.md").read_text(encoding="utf-8")
    assert text == drawn_chat_card.card(FOLDER) and "Apache-2.0" in text
    head, *curve = [json.loads(line) for line in (FOLDER / "training.jsonl").read_text(encoding="utf-8").splitlines()]
    assert head["parameters"] == sum(value.numel() for value in reader.model.parameters())
    assert curve[-1]["step"] == head["steps"] and f"{head['steps']:,} of {head['batch']} talks" in text
    assert curve[-1]["whole"] > 0.4 > curve[-1]["loss"]
    assert f"{json_of('measured.json')['free questions']['letters']['strict']} [" in text


def test_scenes_are_the_same_from_a_seed() -> None:
    def made(seed: int) -> list[Scene]:
        random = np.random.default_rng(seed)
        return [scene(random) for _ in range(30)]

    assert made(1) == made(1) != made(2)
    assert {one.kind for one in made(1)} == set(KINDS)


@pytest.mark.slow(keep=0)
def test_the_card_is_measured_again(reader: Reader) -> None:
    from benchmarks.drawn_chat_measures import measured

    kept, again = json_of("measured.json"), measured(FOLDER)
    for what, rows in again.items():
        for one, row in rows.items() if what not in ("pull of the example", "counts as JSON") else ():
            assert abs(row["strict"] - kept[what][one]["strict"]) <= 0.5, (what, one)
