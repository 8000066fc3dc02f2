"""Tiny image-text models of transformers' real configuration classes with random weights, saved as `save_pretrained` writes them."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"


def tokenizer(words: tuple[str, ...] = ()) -> CLIPTokenizer:
    """Return CLIP's tokeniser over bytes alone, and over whole `words` of two letters or more by merging letter after letter."""
    alphabet = sorted(ByteLevel.alphabet())
    vocabulary = [*alphabet, *(f"{char}</w>" for char in alphabet)]
    merges: list[tuple[str, str]] = []
    for word in words:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            if pair not in merges:
                merges.append(pair)
                vocabulary.append("".join(pair))
            parts = ["".join(pair), *parts[2:]]
    table = {token: number for number, token in enumerate([*dict.fromkeys(vocabulary), START, END])}
    return CLIPTokenizer(vocab=table, merges=merges, model_max_length=32)


def save_clip(folder: Path, size: int = 32, seed: int = 0) -> Path:
    """Write a CLIP of random weights into `folder` and return it."""
    words = tokenizer(("photo", "red", "blue", "square"))
    narrow = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**narrow, "vocab_size": len(words), "max_position_embeddings": 32}
    text |= {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    config = CLIPConfig(text_config=text, vision_config={**narrow, "image_size": size, "patch_size": 8}, projection_dim=24)
    torch.manual_seed(seed)
    CLIPModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size}).save_pretrained(folder)
    return folder
