"""A tiny image-text model of every architecture that is let in, of transformers' real classes with random weights, saved to disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as t
from tests.craft.tiny_clip import tokenizer

NARROW = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
SIGHT = {"image_size": 32, "patch_size": 8}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SQUARE = {"height": 32, "width": 32}


def clips() -> tuple[Any, dict[str, Any]]:
    """Return CLIP's tokeniser, and what a text half is told of it."""
    words = tokenizer(("photo", "red", "blue", "square"))
    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    return words, {"vocab_size": len(words), "max_position_embeddings": 32, **ids}


def berts() -> tuple[Any, dict[str, Any]]:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *["a", "red", "blue", "photo", "of", "square"], *LETTERS]
    every = dict.fromkeys([*words, *(f"##{letter}" for letter in LETTERS)])
    made = t.BertTokenizer(vocab={word: at for at, word in enumerate(every)}, model_max_length=32)
    return made, {"vocab_size": len(made), "max_position_embeddings": 32}


def xlms(positions: int = 32) -> tuple[Any, dict[str, Any]]:
    words = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        *(f"▁{word}" for word in ["a", "red", "blue", "photo", "of", "square"]),
        "▁",
        *LETTERS,
    ]
    made = t.XLMRobertaTokenizer(vocab=[(word, -float(at)) for at, word in enumerate([*words, "<mask>"])], model_max_length=512)
    ids = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    return made, {"vocab_size": len(made), "max_position_embeddings": positions, **ids}


def crop() -> Any:
    return t.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SQUARE)


def clip() -> tuple[Any, ...]:
    words, told = clips()
    config = t.CLIPConfig(text_config={**NARROW, **told}, vision_config={**NARROW, **SIGHT}, projection_dim=24)
    return t.CLIPModel(config), words, crop()


def siglip() -> tuple[Any, ...]:
    words, told = clips()
    text = {**NARROW, **told, "projection_size": 32}
    model = t.SiglipModel(t.SiglipConfig(text_config=text, vision_config={**NARROW, **SIGHT}))
    with torch.no_grad():
        model.logit_scale.fill_(4.0)
        model.logit_bias.fill_(-9.0)
    return model, words, t.SiglipImageProcessor(size=SQUARE)


def metaclip_2() -> tuple[Any, ...]:
    words, told = xlms()
    config = t.MetaClip2Config(text_config={**NARROW, **told}, vision_config={**NARROW, **SIGHT}, projection_dim=24)
    return t.MetaClip2Model(config), words, crop()


def altclip() -> tuple[Any, ...]:
    words, told = xlms(positions=34)
    text = {**NARROW, **told, "project_dim": 32}
    return (
        t.AltCLIPModel(t.AltCLIPConfig(text_config=text, vision_config={**NARROW, **SIGHT}, projection_dim=24)),
        words,
        crop(),
    )


def chinese_clip() -> tuple[Any, ...]:
    words, told = berts()
    config = t.ChineseCLIPConfig(text_config={**NARROW, **told}, vision_config={**NARROW, **SIGHT}, projection_dim=24)
    return t.ChineseCLIPModel(config), words, t.ChineseCLIPImageProcessor(size={"shortest_edge": 40}, crop_size=SQUARE)


def align() -> tuple[Any, ...]:
    words, told = berts()
    rows = {"in_channels": [32, 16, 24], "out_channels": [16, 24, 30], "kernel_sizes": [3, 3, 5], "strides": [1, 1, 2]}
    sight = {**rows, "image_size": 32, "hidden_dim": 64, "num_block_repeats": [1, 1, 2], "expand_ratios": [1, 6, 6]}
    model = t.AlignModel(t.AlignConfig(text_config={**NARROW, **told}, vision_config=sight, projection_dim=64))
    with torch.no_grad():
        model.temperature.fill_(0.05)
    return model, words, t.EfficientNetImageProcessor(size={"height": 40, "width": 40}, crop_size=SQUARE, do_center_crop=True)


def tipsv2() -> tuple[Any, ...]:
    words = t.Tipsv2Tokenizer(vocab={token: at for at, token in enumerate(["<pad>", "<unk>", "▁", *LETTERS])}, merges=[])
    text = {**NARROW, "vocab_size": 40, "max_position_embeddings": 32}
    model = t.Tipsv2Model(t.Tipsv2Config(text_config=text, vision_config={**NARROW, **SIGHT}))
    return model, words, t.Tipsv2ImageProcessor(size=SQUARE)


def pair() -> tuple[Any, ...]:
    words, told = berts()
    halves = t.ViTConfig(**NARROW, **SIGHT), t.BertConfig(**NARROW, **told)
    config = t.VisionTextDualEncoderConfig.from_vision_text_configs(*halves, projection_dim=24)
    return t.VisionTextDualEncoderModel(config), words, t.ViTImageProcessor(size=SQUARE)


MODELS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "clip": clip,
    "siglip": siglip,
    "metaclip_2": metaclip_2,
    "altclip": altclip,
    "chinese_clip": chinese_clip,
    "align": align,
    "tipsv2": tipsv2,
    "vision-text-dual-encoder": pair,
}


def saved(folder: Path, kind: str, seed: int = 0) -> Any:
    """Write a model with tokeniser and processor into `folder`, and return the library's own model and processor."""
    torch.manual_seed(seed)
    model, words, processor = MODELS[kind]()
    for part in (model, words, processor):
        part.save_pretrained(folder)
    return model.eval(), processor
