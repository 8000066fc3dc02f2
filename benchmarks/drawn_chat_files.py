"""The drawn language model before it is trained, and its folder: network, tokeniser, template and everything that `from_pretrained` needs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
    PreTrainedTokenizerFast,
)

from fieldguide.data.drawn.scenes import Scene
from fieldguide.data.drawn.talks import WORDS, talk

SIDE, PATCH, SCALE, CONTEXT, WIDTH = 32, 4, 2, 1024, 128
SEEN = (SIDE // PATCH // SCALE) ** 2
MEAN, STD = (0.5, 0.5, 0.5), (0.3, 0.3, 0.3)
#: Marks of the language, in the order of their numbers.
MARKS = ("<pad>", "<|im_start|>", "<|im_end|>", "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
PICTURE = MARKS[4] + MARKS[5] + SEEN * MARKS[3] + MARKS[4]
COMMON = Path(__file__).with_name("drawn_words.txt")
#: A capital that stands alone is one piece wherever it stands, as a digit is.
LETTER = r"(?<![A-Za-z])[A-Z](?![A-Za-z])"
TEMPLATE = (Path(__file__).with_name("drawn_chat.jinja")).read_text(encoding="utf-8")


def tokeniser(scenes: list[Scene], random: np.random.Generator, size: int = 800) -> PreTrainedTokenizerFast:
    """Return a tokeniser: byte-level BPE whose pieces were learnt from talks, English words and what counting in JSON needs."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.Split(Regex(LETTER), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])  # fmt: skip
    learner.decoder = decoders.ByteLevel()
    said = [part for one in scenes[:8000] for turn in talk(one, random) for part in turn.parts if isinstance(part, str)]
    said += [f" {word}" for word in (*WORDS, *COMMON.read_text(encoding="utf-8").split())] * 4 + [
        "system",
        "user",
        "assistant",
    ] * 50
    said += ['How many of each type are there? Respond in JSON format. {\n  "circle": 1,\n  "square": 2\n}'] * 20
    course = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(MARKS), initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False, min_frequency=4,
    )  # fmt: skip
    learner.train_from_iterator(said, course)
    return PreTrainedTokenizerFast(
        tokenizer_object=learner, bos_token=MARKS[1], eos_token=MARKS[2], pad_token=MARKS[0], model_max_length=CONTEXT,
        padding_side="left", clean_up_tokenization_spaces=False, extra_special_tokens=list(MARKS[3:]),
    )  # fmt: skip


def network(vocabulary: int, marks: dict[str, int]) -> Idefics3ForConditionalGeneration:
    """Return an untrained network of about one and a half million parameters.

    The usual deviation of 0.02 at the start is far too small for so narrow a network: it did not leave the plateau of guessing.
    """
    text = {
        "model_type": "llama", "vocab_size": vocabulary, "hidden_size": WIDTH, "intermediate_size": 256, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": CONTEXT, "initializer_range": 0.08,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": True, **{key: marks[key] for key in ("pad_token_id", "bos_token_id", "eos_token_id")},
    }  # fmt: skip
    vision = {
        "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": SIDE,
        "patch_size": PATCH, "initializer_range": 0.08,
    }  # fmt: skip
    config = Idefics3Config(
        text_config=text,
        vision_config=vision,
        scale_factor=SCALE,
        image_token_id=marks["image_token_id"],
        tie_word_embeddings=True,
    )
    config.initializer_range = 0.08
    model = Idefics3ForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    with torch.no_grad():
        model.model.vision_model.embeddings.position_embedding.weight.copy_(places(SIDE // PATCH))
    return model


def places(number: int) -> Tensor:
    """Return sines and cosines of row and column of each patch, ``"patches width"``: where the learnt places begin."""
    along = torch.arange(number).float()
    rows, columns = (grid.flatten()[:, None] for grid in torch.meshgrid(along, along, indexing="ij"))
    waves = torch.exp(-math.log(30.0) * torch.arange(WIDTH // 4) / (WIDTH // 4))
    return torch.cat([f(grid * waves) for grid in (columns, rows) for f in (torch.sin, torch.cos)], dim=1)


def save(out: Path, model: Idefics3ForConditionalGeneration, words: PreTrainedTokenizerFast) -> None:
    """Write everything that `from_pretrained` needs; weights as fp16, to be computed with as fp32."""
    model.generation_config = GenerationConfig(eos_token_id=2, pad_token_id=0, bos_token_id=1)
    model.half().save_pretrained(out)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    for part in (config, config["text_config"], config["vision_config"]):
        part["dtype"] = "float32"
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    eyes = Idefics3ImageProcessor(
        size={"longest_edge": SIDE},
        max_image_size={"longest_edge": SIDE},
        do_image_splitting=False,
        image_mean=MEAN,
        image_std=STD,
    )
    Idefics3Processor(eyes, words, image_seq_len=SEEN, chat_template=TEMPLATE).save_pretrained(out)
