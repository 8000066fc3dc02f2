"""A tiny vision transformer with random weights, written as Hugging Face writes one: a folder to rehearse with, offline.

Architecture: Dosovitskiy et al., arXiv 2010.11929, as transformers' ``ViTForImageClassification`` (Apache-2.0) builds it.
"""

from __future__ import annotations

from pathlib import Path

from fieldguide.files import building

#: Blocks of the tiny transformer, counted from 0.
BLOCKS = 4


def write_vit(target: Path, seed: int = 0) -> Path:
    """Write configuration, processor and safetensors into the folder `target`, whole or not at all; what is there is kept."""
    if target.exists():
        return target
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor
    from transformers.utils import logging as chatter

    bars = chatter.is_progress_bar_enabled()
    chatter.disable_progress_bar()

    config = ViTConfig(
        hidden_size=48,
        num_hidden_layers=BLOCKS,
        num_attention_heads=3,
        intermediate_size=96,
        image_size=32,
        patch_size=8,
        num_labels=5,
    )
    try:
        with torch.random.fork_rng(devices=[]), building(target) as folder:
            torch.manual_seed(seed)
            ViTForImageClassification(config).save_pretrained(folder)
            ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    finally:
        if bars:
            chatter.enable_progress_bar()
    return target
