"""Image-text models of open_clip (MIT), for what transformers lacks: PE-Core, MobileCLIP2, DFN, BioCLIP-2 ...; an extra of the package.

    open_clip/NAME@TAG       one of its own list, as ``open_clip/ViT-B-32-quickgelu@openai``
    open_clip/OWNER/NAME     a repository of the hub that holds ``open_clip_config.json``
    open_clip/FOLDER         the same files in a folder: the library's ``local-dir:``

Weights are safetensors; a pickled file is read, tensors alone, where it is named outright (weights=FILE). A tag that was trained with
another activation than the name has (QuickGELU) is refused: the library would warn and answer a few points worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fieldguide.craft.encoders import Encoder, lines
from fieldguide.craft.encoders.of_transformers import hash_of
from fieldguide.craft.encoders.open_clip_files import Place, find, library, loaded, quiet, timms
from fieldguide.craft.frozen import AT_ONCE, Lens
from fieldguide.craft.zoo import looks
from fieldguide.data.batches import Preprocessing, as_dict, from_dict
from fieldguide.errors import DataProblem, UsageProblem, plain
from fieldguide.files import digest, read_json, write_json


@dataclass(frozen=True)
class Eye:
    """The picture half; `config` (``embed_dim``, ``vision_cfg``, ``quick_gelu``) rebuilds it."""

    visual: nn.Module
    config: dict[str, Any]
    preprocessing: Preprocessing
    device: str

    @cached_property
    def key(self) -> str:
        """Hash of weights, configuration and version of the library."""
        return hash_of(self.visual, [self.config, library().__version__], ())

    @cached_property
    def width(self) -> int:
        """Features of a picture."""
        return int(self.pictures(torch.zeros(1, 3, self.preprocessing.size, self.preprocessing.size)).shape[1])

    @property
    def parameters(self) -> int:
        """Parameters of the picture half."""
        return sum(parameter.numel() for parameter in self.visual.parameters())

    @property
    def inside(self) -> nn.Module:
        """The modules that a picture passes through."""
        return self.visual

    def seen(self, pixels: Tensor) -> Tensor:
        """Return features of a batch on this half's device, with gradients where they are asked for."""
        found = self.visual(pixels)
        tensor: Tensor = found[0] if isinstance(found, tuple) else found  # CoCa's half also returns its tokens
        return tensor.float()

    @torch.inference_mode()
    def pictures(self, pixels: Tensor) -> Tensor:
        """Return projected features ``"pictures features"``, not normalised."""
        return torch.cat([self.seen(part.to(self.device)).cpu() for part in torch.split(pixels, AT_ONCE)])

    def save(self, folder: Path) -> None:
        """Write the picture half: ``encoder.json`` and ``encoder.safetensors``."""
        state = {name: tensor.cpu().contiguous().clone() for name, tensor in self.visual.state_dict().items()}
        save_file(state, folder / "encoder.safetensors")
        told = {"kind": "open_clip", "config": self.config, "preprocessing": as_dict(self.preprocessing)}
        write_json(folder / "encoder.json", told)


@dataclass(frozen=True)
class Reader:
    """The text half; `tokenizer` is the library's, which cleans, cuts and pads to the full context."""

    model: nn.Module
    tokenizer: Any
    context: int
    device: str

    @cached_property
    def key(self) -> str:
        """Hash of weights, tokeniser and version of the library."""
        words = self.tokenizer.encoder if hasattr(self.tokenizer, "encoder") else self.tokenizer.tokenizer.get_vocab()
        cleaner = getattr(getattr(self.tokenizer, "clean_fn", None), "__name__", "")
        return hash_of(self.model, digest(words, cleaner, self.context, library().__version__), ("visual.",))

    @cached_property
    def width(self) -> int:
        """Features of a line."""
        return int(self._read(["a"]).shape[1])

    @property
    def parameters(self) -> int:
        """Parameters of the text half."""
        return sum(p.numel() for name, p in self.model.named_parameters() if not name.startswith("visual."))

    @torch.inference_mode()
    def _read(self, texts: Sequence[str]) -> Tensor:
        model: Any = self.model
        tensor: Tensor = model.encode_text(self.tokenizer(list(texts)).to(self.device), normalize=False)
        return tensor

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return projected features ``"lines features"``, not normalised."""
        return lines.by_length(texts, self.counted(texts), self._read, self.width)

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the states that are pooled ``"lines tokens width"`` and where there is a token ``"lines tokens"``."""
        text: Any = getattr(self.model, "text", self.model)
        found: list[Tensor] = []

        def keep(_module: nn.Module, _given: Any, output: Any) -> None:
            tensor: Tensor = getattr(output, "last_hidden_state", output)
            if tensor.ndim == 3:  # a last norm may stand behind the pooling
                found.append(tensor)

        parts = [part for part in (text.transformer, getattr(text, "ln_final", None)) if isinstance(part, nn.Module)]
        hooks = [part.register_forward_hook(keep) for part in parts]
        try:
            self._read(texts)
        finally:
            for hook in hooks:
                hook.remove()
        mask = self._mask(texts)
        return found[-1][:, : mask.shape[1]].float().cpu(), mask

    def _mask(self, texts: Sequence[str]) -> Tensor:
        inner = getattr(self.tokenizer, "tokenizer", None)
        if inner is None or bool(getattr(self.tokenizer, "tokenizer_mode", None)):
            lengths = torch.tensor([min(count, self.context) for count in self.counted(texts)])
            return torch.arange(self.context)[None] < lengths[:, None]
        cleaned = [self.tokenizer.clean_fn(text) for text in texts]
        made = inner(cleaned, padding="max_length", truncation=True, max_length=self.context, return_attention_mask=True)
        return torch.tensor(made["attention_mask"]).bool()

    def counted(self, texts: Sequence[str]) -> list[int]:
        """Return tokens of each line before the cut."""
        if hasattr(self.tokenizer, "encode"):
            return [len(self.tokenizer.encode(text)) + 2 for text in texts]
        cleaned = [self.tokenizer.clean_fn(text) for text in texts]
        return [len(ids) for ids in self.tokenizer.tokenizer(cleaned, verbose=False)["input_ids"]] if cleaned else []


def check(model: str, online: bool) -> None:
    """Raise for an unknown name or tag, and where its weights are not on this machine and may not be fetched."""
    find(model, online)


def build(lens: Lens, device: str, online: bool) -> Encoder:
    """Return both halves of the model; raises `DataProblem` where weights are damaged or of another model."""
    place = find(lens.model, online, lens.weights)
    model, tokenizer = loaded(place, lens, online)
    model = model.to(device).eval()
    size = model.visual.image_size
    preprocessing = looks.described(_own(place, size), lens, {})
    config = {name: place.config[name] for name in ("embed_dim", "vision_cfg")}
    config["vision_cfg"] = {**config["vision_cfg"], "image_size": preprocessing.size, "timm_model_pretrained": False}
    config["resized"] = lens.image_size if timms(place) else None
    config["quick_gelu"] = bool(place.config.get("quick_gelu", False))
    eye = Eye(model.visual, config, preprocessing, device)
    _require_size(eye, lens.model)
    reader = Reader(model, tokenizer, int(tokenizer.context_length), device)
    bias = float(model.logit_bias.detach()) if getattr(model, "logit_bias", None) is not None else 0.0
    scale = float(model.logit_scale.detach().exp())
    return Encoder(lens.model, eye, reader, scale, shared=True, described=place.described, bias=bias)


def load(folder: Path, device: str) -> Eye:
    """Read what `Eye.save` wrote; the text half is not there, and no network is needed."""
    told = read_json(folder / "encoder.json")
    preprocessing = from_dict(told["preprocessing"])
    library()
    from open_clip.model import _build_vision_tower

    with quiet():
        visual = _build_vision_tower(
            told["config"]["embed_dim"], dict(told["config"]["vision_cfg"]), told["config"]["quick_gelu"]
        )
    if told["config"].get("resized"):
        visual.set_input_size(told["config"]["resized"])
    visual.load_state_dict(load_file(folder / "encoder.safetensors"))
    return Eye(visual.to(device).eval(), told["config"], preprocessing, device)


def _own(place: Place, size: Any) -> dict[str, Any]:
    """Return how the model wants its pictures, in timm's words."""
    told = place.preprocess
    side = size[0] if isinstance(size, tuple | list) else size
    square = not isinstance(size, tuple | list) or size[0] == size[-1]
    if not square or told["resize_mode"] not in ("shortest", "squash"):
        raise DataProblem(
            f"{plain(place.described)} wants pictures of {size} pixels, resized by {plain(told['resize_mode'])}.",
            "Allowed: square pictures, whose shorter side is resized and the middle cut out, or whose sides are squashed.",
            "Take another model.",
        )
    own = {"input_size": (3, side, side), "mean": tuple(told["mean"]), "std": tuple(told["std"]), "crop_pct": 1.0}
    return {**own, "interpolation": told["interpolation"], "squash": told["resize_mode"] == "squash"}


def _require_size(eye: Eye, model: str) -> None:
    size = eye.preprocessing.size
    try:
        eye.pictures(torch.zeros(1, 3, size, size))
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise UsageProblem(
            f"{plain(model)} does not take pictures of {size} x {size} pixels: {plain(error)}.",
            "Allowed are sizes that fit the network: multiples of its patch.",
            "Leave image_size out for the model's own.",
        ) from error
