"""Every architecture that is let in answers as the library's own model does; what is not whole, or was not tried, is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as t
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.craft.encoders.tiny_models import MODELS, NARROW, SIGHT, saved
from tests.pictures import scene

from fieldguide.craft import encoders
from fieldguide.craft.encoders import hub_files, of_transformers
from fieldguide.craft.frozen import Lens
from fieldguide.data.batches import viewed
from fieldguide.errors import DataProblem, EnvironmentProblem, Problem, UsageProblem

LINES = ["a red square", "", "a photo of a blue square " * 9, "Red, blue"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    saved(folder := tmp_path_factory.mktemp("clip"), "clip")
    return folder


def build(folder: Path, **asked: Any) -> encoders.Encoder:
    return of_transformers.build(Lens(f"hf/{folder}", **{"weights": "hub", **asked}), "cpu", online=False)


def test_all_that_are_let_in_are_tried() -> None:
    assert set(MODELS) == set(hub_files.ARCHITECTURES)


@pytest.mark.slow(keep=4)
@pytest.mark.parametrize("kind", MODELS)
def test_features_are_the_librarys_own(tmp_path: Path, kind: str) -> None:
    own, processor = saved(tmp_path / "net", kind)
    encoder = encoders.build(Lens(f"hf/{tmp_path}/net", "hub"), seed=0, device="cpu", online=False)
    assert encoder.reads is not None and encoder.shared and encoder.tested["known"]["of"] == 34
    picture = scene(np.random.default_rng(0), width=96, height=64)
    pixels = viewed([picture, picture[:, ::-1].copy()], encoder.sees.preprocessing)
    theirs = processor(Image.fromarray(picture), return_tensors="pt")["pixel_values"]
    assert (pixels[:1] - theirs).abs().max() < 0.05  # one grey level of 255, whose step is the standard deviation's
    with torch.inference_mode():
        seen = own.get_image_features(pixel_values=pixels).pooler_output
        made = encoder.reads.tokenised(LINES[:1])  # type: ignore[attr-defined]
        said = own.get_text_features(**made if kind != "siglip" else {"input_ids": made["input_ids"]}).pooler_output
    torch.testing.assert_close(encoder.sees.pictures(pixels), seen, rtol=1e-5, atol=1e-5)
    texts = encoder.reads.texts(LINES)
    torch.testing.assert_close(texts[:1], said, rtol=1e-4, atol=1e-5)
    assert texts.shape == (4, encoder.reads.width) and seen.shape[1] == encoder.sees.width
    alone = torch.cat([encoder.reads.texts([line]) for line in LINES])
    torch.testing.assert_close(texts, alone, rtol=1e-4, atol=1e-5)
    both = torch.cat([encoder.sees.pictures(pixels[:1]), encoder.sees.pictures(pixels[1:])])
    torch.testing.assert_close(both, encoder.sees.pictures(pixels), rtol=1e-4, atol=1e-5)
    cosines = (seen[0] / seen[0].norm()) @ (said[0] / said[0].norm())  # random weights may leave lengths of 1e-11
    with torch.inference_mode():
        given = {"input_ids": made["input_ids"]} if kind == "siglip" else made
        logit = own(**given, pixel_values=pixels[:1]).logits_per_image
    torch.testing.assert_close(cosines * encoder.scale + encoder.bias, logit[0, 0], rtol=1e-3, atol=1e-3)


@pytest.mark.slow(keep=4)
@pytest.mark.parametrize("kind", ["clip", "align", "vision-text-dual-encoder"])
def test_the_picture_half_lives_alone(tmp_path: Path, kind: str) -> None:
    saved(tmp_path / "net", kind)
    eye = build(tmp_path / "net").sees
    (tmp_path / "half").mkdir()
    eye.save(tmp_path / "half")
    shutil.rmtree(tmp_path / "net")
    again = encoders.load(tmp_path / "half", "cpu")
    pixels = torch.randn(3, 3, 32, 32)
    assert torch.equal(again.pictures(pixels), eye.pictures(pixels))
    assert (again.key, again.preprocessing, again.parameters) == (eye.key, eye.preprocessing, eye.parameters)
    assert not [name for name in load_file(tmp_path / "half" / "encoder.safetensors") if name.startswith("text_")]


def test_weights_and_words_decide_the_keys(tmp_path: Path, clip: Path) -> None:
    one = build(clip)
    saved(tmp_path / "other", "clip", seed=1)
    other, larger = build(tmp_path / "other"), build(clip, image_size=48)
    assert one.reads is not None and other.reads is not None and larger.reads is not None
    assert len({one.sees.key, other.sees.key, larger.sees.key}) == 3
    assert one.reads.key != other.reads.key and one.reads.key == larger.reads.key
    assert larger.sees.pictures(torch.randn(2, 3, 48, 48)).shape == (2, 24)


def test_siglip_reads_lines_as_it_was_trained(tmp_path: Path) -> None:
    saved(tmp_path, "siglip")
    reads = build(tmp_path).reads
    assert isinstance(reads, of_transformers.Reader)
    assert reads.cleaned("A red_square,  (small)!") == "a red square small"
    assert reads.tokenised(["a", "a red square"])["input_ids"].shape == (2, 32)
    assert build(tmp_path).bias == pytest.approx(-9.0) and build(tmp_path).scale == pytest.approx(np.exp(4.0), rel=1e-5)
    mask = reads.tokens(["a", "a red square"])[1]
    assert mask[:, 0].all() and mask.sum(1).tolist() == reads.counted(["a", "a red square"])


def test_padding_stands_on_the_right_whatever_the_tokeniser_says(tmp_path: Path) -> None:
    saved(tmp_path, "clip")
    before = build(tmp_path).reads
    told = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**told, "padding_side": "left"}))
    after = build(tmp_path).reads
    assert before is not None and after is not None
    assert torch.equal(before.texts(LINES), after.texts(LINES))


def _without(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def _weights(change: Any) -> Any:
    def changed(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})

    return changed


def _renamed(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _no_tokeniser(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


DAMAGE = {
    "a tensor is missing": (_weights(lambda state: state.pop("text_projection.weight")), "text_projection.weight is missing"),
    "another shape": (
        _weights(lambda state: state.update({"visual_projection.weight": torch.ones(2, 2)})),
        "visual_projection.weight has shape (2, 2), not (24, 32)",
    ),
    "a layer more": (
        _weights(lambda state: state.update({"text_model.encoder.layers.2.layer_norm1.bias": torch.ones(32)})),
        "layers.2.layer_norm1.bias is not part of the network",
    ),
    "no number": (
        _weights(lambda state: state["logit_scale"].fill_(float("nan"))),
        "logit_scale holds what is no finite number",
    ),
    "half a file": (lambda folder: (folder / "model.safetensors").write_bytes(b"12345678abc"), "cannot be loaded"),
    "no weights": (_without("model.safetensors"), "has no model.safetensors"),
    "pickled weights": (_renamed, "but pickled weights (pytorch_model.bin)"),
    "no tokeniser": (_no_tokeniser, "has no tokeniser"),
    "half a tokeniser": (lambda folder: (folder / "tokenizer.json").write_text("{"), "tokeniser"),
    "no processor": (_without("preprocessor_config.json"), "nothing says how its pictures must look"),
    "half a processor": (
        lambda folder: (folder / "preprocessor_config.json").write_text('{"image_processor_type": "X"}'),
        "followed",
    ),
    "half a configuration": (lambda folder: (folder / "config.json").write_text("{"), "configuration"),
}


@pytest.mark.slow(keep=4)
@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_not_whole_is_told(tmp_path: Path, clip: Path, kind: str) -> None:
    shutil.copytree(clip, tmp_path / "net")
    damage, said = DAMAGE[kind]
    damage(tmp_path / "net")
    with pytest.raises(DataProblem, match=r".") as caught:
        build(tmp_path / "net")
    assert said in caught.value.given and caught.value.allowed and caught.value.next


def test_a_tokeniser_of_another_model_is_told(tmp_path: Path, clip: Path) -> None:
    reads = build(clip).reads
    assert isinstance(reads, of_transformers.Reader)
    reads.config["text_config"]["vocab_size"] = 40
    with pytest.raises(DataProblem, match="the network knows 40"):
        reads.texts(["a red square"])


def test_a_file_of_weights_named_outright(tmp_path: Path, clip: Path) -> None:
    torch.save(load_file(clip / "model.safetensors"), tmp_path / "weights.pth")
    pixels = torch.randn(1, 3, 32, 32)
    wanted = build(clip).sees.pictures(pixels)
    assert torch.equal(build(clip, weights=str(tmp_path / "weights.pth")).sees.pictures(pixels), wanted)
    with pytest.raises(UsageProblem, match="knows no word"):
        build(clip, weights="none")
    with pytest.raises(UsageProblem, match="30 x 30"):
        build(clip, image_size=30)


REFUSED = {
    "siglip2": (lambda: t.Siglip2Config(text_config=NARROW, vision_config=NARROW), "NaFlex"),
    "aimv2": (lambda: t.Aimv2Config(text_config=NARROW, vision_config={**NARROW, **SIGHT}), "lines beside it"),
    "blip": (lambda: t.BlipConfig(text_config=NARROW, vision_config={**NARROW, **SIGHT}), "blip"),
    "clipseg": (lambda: t.CLIPSegConfig(text_config=NARROW, vision_config={**NARROW, **SIGHT}), "clipseg"),
    "groupvit": (lambda: t.GroupViTConfig(), "groupvit"),
    "flava": (lambda: t.FlavaConfig(), "flava"),
    "owlvit": (lambda: t.OwlViTConfig(), "owlvit"),
    "owlv2": (lambda: t.Owlv2Config(), "owlv2"),
    "blip-2": (lambda: t.Blip2Config(), "blip-2"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_was_not_tried_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    make, said = REFUSED[kind]
    make().save_pretrained(tmp_path)
    assert encoders.two_sided(f"hf/{tmp_path}")
    for way in (lambda: encoders.check(f"hf/{tmp_path}", online=False), lambda: build(tmp_path)):
        with pytest.raises(UsageProblem) as caught:
            way()
        assert said in caught.value.given and "siglip" in caught.value.allowed and caught.value.next


def test_a_picture_half_with_a_head_is_no_image_text_model(tmp_path: Path, clip: Path) -> None:
    config = t.CLIPConfig.from_pretrained(clip)
    t.CLIPForImageClassification(config).save_pretrained(tmp_path)
    assert not encoders.two_sided(f"hf/{tmp_path}") and encoders.two_sided(f"hf/{clip}")


def test_what_is_not_here_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldguide.craft.zoo.of_transformers.try_to_load_from_cache", lambda *_: None)
    with pytest.raises(EnvironmentProblem, match="not on this machine"):
        encoders.check("hf/openai/clip-vit-base-patch32", online=False)
    for name in (f"hf/{tmp_path}/none", "hf/a/b/c"):
        with pytest.raises(Problem):
            encoders.check(name, online=False)
