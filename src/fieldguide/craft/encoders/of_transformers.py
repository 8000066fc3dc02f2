"""Image-text models of transformers (Apache-2.0): whatever has `get_image_features` and `get_text_features`.

CLIP (arXiv 2103.00020), SigLIP (2303.15343), SigLIP2 (2502.14786), MetaCLIP-2 (2507.22062) and others. The projected, un-normalised
embedding is ``pooler_output`` of what these two return. How a line is padded belongs to the weights: SigLIP's were trained on lines
padded to the full context without a mask, CLIP's pool the end-of-text token, to which padding behind it does not matter.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from fieldguide.craft import encoders
from fieldguide.craft.encoders import Encoder
from fieldguide.craft.frozen import AT_ONCE, Lens
from fieldguide.craft.zoo import looks, of_transformers
from fieldguide.craft.zoo import weights as files
from fieldguide.craft.zoo.of_transformers import folder_of
from fieldguide.data.batches import Preprocessing, as_dict, from_dict
from fieldguide.errors import DataProblem, plain
from fieldguide.files import digest, read_json, write_json

#: Models whose text half was trained on lines that are padded to the full context, lower-cased and without punctuation.
_PADDED = frozenset({"siglip", "siglip2"})
#: Lines that are read at a time, neighbours in length.
_LINES = 64
_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]")


@dataclass(frozen=True)
class Eye:
    """The picture half; `config` rebuilds it."""

    model: nn.Module
    config: dict[str, Any]
    preprocessing: Preprocessing
    device: str

    @cached_property
    def key(self) -> str:
        """Hash of weights and configuration."""
        return hash_of(self.model, self.config, ("text_model", "text_projection"))

    @cached_property
    def width(self) -> int:
        """Features of a picture."""
        return int(self.pictures(torch.zeros(1, 3, self.preprocessing.size, self.preprocessing.size)).shape[1])

    @property
    def parameters(self) -> int:
        """Parameters of the picture half."""
        return sum(p.numel() for name, p in self.model.named_parameters() if not name.startswith("text_"))

    @torch.inference_mode()
    def pictures(self, pixels: Tensor) -> Tensor:
        """Return projected features ``"pictures features"``, not normalised."""
        model: Any = self.model
        parts = (part.to(self.device) for part in torch.split(pixels, AT_ONCE))
        return torch.cat([_pooled(model.get_image_features(pixel_values=part)).float().cpu() for part in parts])

    def save(self, folder: Path) -> None:
        """Write the picture half: ``encoder.json`` and ``encoder.safetensors``."""
        kept = {name: tensor for name, tensor in self.model.state_dict().items() if not name.startswith("text_")}
        save_file({name: tensor.cpu().contiguous().clone() for name, tensor in kept.items()}, folder / "encoder.safetensors")
        told = {"kind": "transformers", "config": self.config, "preprocessing": as_dict(self.preprocessing)}
        write_json(folder / "encoder.json", told)


@dataclass(frozen=True)
class Reader:
    """The text half."""

    model: nn.Module
    config: dict[str, Any]
    tokenizer: Any
    context: int
    device: str

    @cached_property
    def key(self) -> str:
        """Hash of weights, configuration, tokeniser and version of the library, which cleans and pads."""
        words = digest(self.tokenizer.get_vocab(), self.context, self._padded, transformers.__version__)
        return hash_of(self.model, [self.config, words], ("vision_model", "visual_projection"))

    @property
    def _padded(self) -> bool:
        return self.config["model_type"] in _PADDED

    @cached_property
    def width(self) -> int:
        """Features of a line."""
        return int(self.texts(["a"]).shape[1])

    @property
    def parameters(self) -> int:
        """Parameters of the text half."""
        return sum(p.numel() for name, p in self.model.named_parameters() if name.startswith("text_"))

    def cleaned(self, line: str) -> str:
        """Return a line as the weights saw lines in training: SigLIP's lower-cased and without punctuation."""
        line = " ".join(line.split())
        return " ".join(_PUNCTUATION.sub("", line.lower()).split()) if self._padded else line

    def tokenised(self, lines: Sequence[str]) -> Any:
        """Return token ids (and the mask, where the model takes one) ``"lines tokens"``, cut at the context."""
        made = self.tokenizer(
            [self.cleaned(line) for line in lines],
            padding="max_length" if self._padded else "longest",
            truncation=True,
            max_length=self.context,
            return_tensors="pt",
        ).to(self.device)
        wanted = ("input_ids",) if self._padded else ("input_ids", "attention_mask")
        return {name: made[name] for name in wanted}

    @torch.inference_mode()
    def texts(self, lines: Sequence[str]) -> Tensor:
        """Return projected features ``"lines features"``, not normalised."""
        model: Any = self.model
        order = sorted(range(len(lines)), key=lambda place: len(lines[place]))
        rows: dict[int, Tensor] = {}
        for start in range(0, len(order), _LINES):
            places = order[start : start + _LINES]
            found = _pooled(model.get_text_features(**self.tokenised([lines[place] for place in places]))).float().cpu()
            rows.update(zip(places, found, strict=True))
        return torch.stack([rows[place] for place in range(len(lines))]) if rows else torch.zeros(0, self.width)

    @torch.inference_mode()
    def tokens(self, lines: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the last hidden states ``"lines tokens width"`` and where there is a token ``"lines tokens"``."""
        model: Any = self.model
        made = self.tokenised(lines)
        states = model.get_text_features(**made).last_hidden_state.float().cpu()
        lengths = torch.tensor([min(count, self.context) for count in self.counted(lines)])
        return states, torch.arange(states.shape[1])[None] < lengths[:, None]

    def counted(self, lines: Sequence[str]) -> list[int]:
        """Return tokens of each line before the cut."""
        cleaned = [self.cleaned(line) for line in lines]
        return [len(ids) for ids in self.tokenizer(cleaned, verbose=False)["input_ids"]] if cleaned else []


def two_sided(model: str, online: bool) -> bool:
    """Tell whether the configuration of `model` is one of an image-text model."""
    config = _config(model, online)
    kind: Any = AutoModel._model_mapping.get(type(config), None)
    return hasattr(kind, "get_image_features") and hasattr(kind, "get_text_features")


def check(model: str, online: bool) -> None:
    """Raise where weights, pictures' or text's configuration are not on this machine and may not be fetched."""
    _fetched(model, online)


def build(lens: Lens, device: str, online: bool) -> Encoder:
    """Return both halves of an image-text model; raises `DataProblem` where weights are damaged or missing."""
    folder = _fetched(lens.model, online)
    described = "trained on drawn pictures by fieldguide itself" if lens.model == encoders.DRAWN else lens.model
    try:
        with of_transformers._quiet():
            model, told = AutoModel.from_pretrained(
                folder,
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library raises many unrelated types for files that are damaged or missing
        raise DataProblem(
            f"{plain(lens.model)} cannot be loaded: {plain(error)}.",
            "Allowed: a whole image-text model as save_pretrained writes it: configuration, safetensors and tokeniser.",
            "Fetch it again and run the same command.",
        ) from error
    wrong = [f"{name} is missing" for name in sorted(told["missing_keys"])]
    files.refuse([*wrong, *map(str, told.get("error_msgs") or ())], described)
    own = of_transformers.own_looks(replace(lens, model=f"hf/{folder}"))
    config = {name: value for name, value in model.config.to_dict().items() if name not in ("auto_map", "_name_or_path")}
    model = model.to(device).eval()
    scale = float(model.logit_scale.detach().exp()) if hasattr(model, "logit_scale") else 100.0
    eye = Eye(model, config, looks.described(own, lens, {}), device)
    reader = Reader(model, config, tokenizer, _context(model.config, tokenizer), device)
    return Encoder(lens.model, eye, reader, scale, shared=True, described=described)


def load(folder: Path, device: str) -> Eye:
    """Read what `Eye.save` wrote; the text half is not there."""
    told = read_json(folder / "encoder.json")
    with of_transformers._quiet():
        config = CONFIG_MAPPING[told["config"]["model_type"]].from_dict(told["config"])
        model = AutoModel.from_config(config, dtype=torch.float32)
    for half in [name for name, _ in model.named_children() if name.startswith("text_")]:
        delattr(model, half)
    missing, unexpected = model.load_state_dict(load_file(folder / "encoder.safetensors"), strict=False)
    if missing or unexpected:
        raise ValueError(f"encoder.safetensors: {(*missing, *unexpected)[0]} is missing or unknown")
    return Eye(model.to(device).eval(), told["config"], from_dict(told["preprocessing"]), device)


def hash_of(model: nn.Module, beside: object, without: tuple[str, ...]) -> str:
    """Return the SHA-256 of the tensors of `model` whose names begin with none of `without`, and of what stands `beside`."""
    found = hashlib.sha256(digest(beside).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith(without):
            found.update(name.encode())
            found.update(
                tensor.detach().cpu().flatten().contiguous().view(torch.uint8).numpy()
                if tensor.ndim
                else repr(float(tensor)).encode()
            )
    return found.hexdigest()


def _config(model: str, online: bool) -> Any:
    if model == encoders.DRAWN:
        return AutoConfig.from_pretrained(encoders.drawn_folder(), local_files_only=True)
    folder = folder_of(model, online)
    try:
        with of_transformers._quiet():
            return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataProblem(
            f"The configuration of {plain(model)} cannot be read: {plain(error)}.",
            "Allowed: an architecture that transformers itself has; code of a repository is never run.",
            "Take another model, or dual_encoder/drawn.",
        ) from error


def _fetched(model: str, online: bool) -> Path:
    if model == encoders.DRAWN:
        return encoders.drawn_folder()
    folder = folder_of(model, online, with_weights=True)
    if not (folder / "tokenizer_config.json").is_file() and online and not Path(model.removeprefix("hf/")).is_dir():
        from huggingface_hub import snapshot_download

        try:
            snapshot_download(model.removeprefix("hf/"), allow_patterns=["*.json", "*.txt", "*.model"])
        except Exception as error:  # the hub client raises many unrelated types
            raise files.not_fetched(model.removeprefix("hf/"), error) from error
    return folder


def _context(config: Any, tokenizer: Any) -> int:
    """Return the tokens that positions were trained for; a tokeniser may claim fewer, never more."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config.text_config
    return int(min(text.max_position_embeddings, tokenizer.model_max_length))


def _pooled(found: Any) -> Tensor:
    """Return the projected embedding, whether a call returns it or something that holds it."""
    tensor: Tensor = getattr(found, "pooler_output", found)
    return tensor
