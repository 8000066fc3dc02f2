"""Models of open_clip from a folder and by name: features are the library's own, what is not here or does not fit is told."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.craft.tiny_clip import tokenizer
from tests.pictures import scene

from fieldguide import families
from fieldguide.craft import encoders
from fieldguide.craft.encoders import of_open_clip, open_clip_files
from fieldguide.craft.frozen import Lens
from fieldguide.data.batches import viewed
from fieldguide.errors import DataProblem, EnvironmentProblem, Problem, UsageProblem

open_clip = pytest.importorskip("open_clip", exc_type=ImportError)
SIGHT = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "clip": {"embed_dim": 24, "quick_gelu": True, "vision_cfg": SIGHT, "text_cfg": TEXT},
    "siglip": {
        "embed_dim": 24,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_vit2",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
        },
        "text_cfg": {
            **TEXT,
            "vocab_size": 600,
            "hf_tokenizer_name": "tokenizer",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "no_causal_mask": True,
            "pool_type": "last",
            "proj_bias": True,
        },
    },
    "coca": {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": {**SIGHT, "attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True},
        "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    },
}
LINES = ["a red square", "", "a photo of a blue square " * 9, "Red, blue"]


def folder(path: Path, kind: str, **looks: Any) -> Any:
    """Write a model as the library's ``local-dir:`` wants it, and return the library's own."""
    path.mkdir(parents=True, exist_ok=True)
    told = {"model_cfg": CONFIGS[kind], "preprocess_cfg": looks}
    (path / open_clip_files.CONFIG).write_text(json.dumps(told))
    if "hf_tokenizer_name" in CONFIGS[kind]["text_cfg"]:
        tokenizer(("photo", "red", "blue", "square")).save_pretrained(path)
    torch.manual_seed(0)
    with open_clip_files.quiet():
        model = open_clip.create_model(f"local-dir:{path}", load_weights=False)
    save_file({name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}, path / open_clip_files.WHOLE)
    return model.eval()


def build(path: Path, **asked: Any) -> encoders.Encoder:
    return of_open_clip.build(Lens(f"open_clip/{path}", **{"weights": "hub", **asked}), "cpu", online=False)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder(path := tmp_path_factory.mktemp("net"), "clip")
    return path


@pytest.mark.slow(keep=3)
@pytest.mark.parametrize("kind", CONFIGS)
def test_features_are_the_librarys_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    own = folder(tmp_path / "net", kind, resize_mode="squash", mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])
    monkeypatch.setattr(socket, "socket", None)
    encoder = encoders.build(Lens(f"open_clip/{tmp_path}/net", "hub"), seed=0, device="cpu", online=False)
    assert encoder.reads is not None and encoder.shared and encoder.tested["known"]["of"] == 34
    assert encoder.tested["punctuation"] == ("ignored" if kind == "siglip" else "matters")
    picture = scene(np.random.default_rng(0), width=96, height=64)
    pixels = viewed([picture, picture[:, ::-1].copy()], encoder.sees.preprocessing)
    words = open_clip.get_tokenizer(f"local-dir:{tmp_path}/net")
    with torch.inference_mode():
        torch.testing.assert_close(encoder.sees.pictures(pixels), own.encode_image(pixels, normalize=False))
        texts = encoder.reads.texts(LINES)
        torch.testing.assert_close(texts, own.encode_text(words(LINES), normalize=False), rtol=1e-4, atol=1e-5)
    assert encoder.scale == pytest.approx(float(own.logit_scale.detach().exp())) and encoder.bias == (
        -10 if kind == "siglip" else 0
    )
    alone = torch.cat([encoder.reads.texts([line]) for line in LINES])
    torch.testing.assert_close(texts, alone, rtol=1e-4, atol=1e-5)
    states, mask = encoder.reads.tokens(LINES)
    assert states.shape[:2] == mask.shape == (4, 24)
    assert mask.sum(1).tolist() == [min(24, count) for count in encoder.reads.counted(LINES)]
    (tmp_path / "half").mkdir()
    encoder.sees.save(tmp_path / "half")
    shutil.rmtree(tmp_path / "net")
    again = encoders.load(tmp_path / "half", "cpu")
    assert torch.equal(again.pictures(pixels), encoder.sees.pictures(pixels))
    assert again.key == encoder.sees.key and again.preprocessing == encoder.sees.preprocessing
    assert again.preprocessing.squash and encoder.tested["seen"]["wide"] == [0.0, 1.0]


@pytest.mark.slow(keep=3)
def test_another_size_of_pictures(tmp_path: Path, clip: Path) -> None:
    folder(tmp_path / "timm", "siglip")
    for path, size in ((clip, 48), (tmp_path / "timm", 96)):
        encoder, pixels = build(path, image_size=size), torch.randn(2, 3, size, size)
        assert encoder.sees.pictures(pixels).shape == (2, 24)
        (half := tmp_path / str(size)).mkdir()
        encoder.sees.save(half)
        assert torch.equal(encoders.load(half, "cpu").pictures(pixels), encoder.sees.pictures(pixels))
    assert encoder.sees.key != build(clip).sees.key and build(clip).sees.preprocessing.interpolation == "bicubic"


def _changed(change: Any) -> Any:
    def changed(path: Path) -> None:
        state = load_file(path / open_clip_files.WHOLE)
        change(state)
        save_file(state, path / open_clip_files.WHOLE)

    return changed


DAMAGE = {
    "missing": (_changed(lambda state: state.pop("ln_final.weight")), "ln_final.weight"),
    "another grid": (_changed(lambda state: state.update({"visual.positional_embedding": torch.ones(50, 32)})), "(50, 32)"),
    "no number": (_changed(lambda state: state["logit_scale"].fill_(float("nan"))), "no finite number"),
    "half a file": (lambda path: (path / open_clip_files.WHOLE).write_bytes(b"12345678abc"), "damaged"),
    "no weights": (lambda path: (path / open_clip_files.WHOLE).unlink(), "has no open_clip_model.safetensors"),
    "pickled": (
        lambda path: (path / open_clip_files.WHOLE).rename(path / "open_clip_pytorch_model.bin"),
        "but pickled weights (open_clip_pytorch_model.bin)",
    ),
    "half a configuration": (lambda path: (path / open_clip_files.CONFIG).write_text("{"), "cannot be read"),
    "another configuration": (lambda path: (path / open_clip_files.CONFIG).write_text("{}"), "model_cfg"),
}


@pytest.mark.slow(keep=3)
@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_not_whole_is_told(tmp_path: Path, clip: Path, kind: str) -> None:
    shutil.copytree(clip, tmp_path / "net")
    damage, said = DAMAGE[kind]
    damage(tmp_path / "net")
    with pytest.raises(DataProblem) as caught:
        build(tmp_path / "net")
    assert said in caught.value.given


def test_a_pickled_file_named_outright(tmp_path: Path, clip: Path) -> None:
    torch.save(load_file(clip / open_clip_files.WHOLE), tmp_path / "weights.pt")
    pixels = torch.randn(1, 3, 32, 32)
    named = build(clip, weights=str(tmp_path / "weights.pt"))
    assert torch.equal(named.sees.pictures(pixels), build(clip).sees.pictures(pixels))


def test_names_of_the_librarys_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_clip_files, "try_to_load_from_cache", lambda *_: None)
    said: dict[str, tuple[type[Problem], str]] = {
        "ViT-B-32-quickgelu@openai": (EnvironmentProblem, "--online"),
        "PE-Core-B-16@meta": (EnvironmentProblem, "--online"),
        "imageomics/bioclip-2": (EnvironmentProblem, "--online"),
        "ViT-B-32@openai": (UsageProblem, "ViT-B-32-quickgelu@openai"),
        "ViT-B-33@openai": (UsageProblem, "Did you mean ViT-B-32"),
        "ViT-B-32@opnai": (UsageProblem, "Did you mean openai"),
        "ViT-B-32": (UsageProblem, "Did you mean ViT-B-32@TAG"),
        "./nowhere": (UsageProblem, "NAME@TAG"),
    }
    for name, (kind, words) in said.items():
        with pytest.raises(kind) as caught:
            encoders.check(f"open_clip/{name}", online=False)
        assert words in str(caught.value), name


def test_every_listed_model_has_one_activation_that_is_let_in() -> None:
    from open_clip.pretrained import _PRETRAINED

    refused = []
    for name, tags in _PRETRAINED.items():
        config = open_clip.get_model_config(name)
        if config is None:
            continue
        for tag, published in tags.items():
            try:
                open_clip_files._require_activation(name, tag, config, published)
            except UsageProblem as problem:
                other, _, other_tag = problem.next.removeprefix("open_clip/").partition("@")
                refused.append(name)
                published = _PRETRAINED[other][other_tag]
                assert bool(published.get("quick_gelu")) == bool(open_clip.get_model_config(other).get("quick_gelu")), problem
    assert "ViT-B-32" in refused


def test_without_the_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch, clip: Path) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        encoders.check(f"open_clip/{clip}", online=False)
    problem = families.needs_extra(caught.value)
    assert "open_clip_torch is not installed" in problem.given
    assert problem.next in ("pip install 'fieldguide[open-clip]'", "pip install open_clip_torch")
