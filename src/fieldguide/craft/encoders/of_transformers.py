"""Image-text models of transformers (Apache-2.0) whose pictures and texts share a space.

CLIP (arXiv 2103.00020), SigLIP (2303.15343) and the fixed sizes of SigLIP2 (2502.14786), MetaCLIP-2 (2507.22062), ALIGN (2102.05918),
AltCLIP (2211.06679), Chinese CLIP (2211.01335), TIPSv2, and pairs of two networks. The projected, un-normalised
embedding is ``pooler_output`` of what `get_image_features` and `get_text_features` return. How a line is padded belongs to the weights:
SigLIP's were trained on lines padded to the full context without a mask; the others mask padding or read what stands before it. All of
them were trained with padding on the right, whatever a tokeniser's class says.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from fieldguide.craft import encoders
from fieldguide.craft.encoders import Encoder, hub_files, lines
from fieldguide.craft.frozen import AT_ONCE, Lens
from fieldguide.craft.zoo import looks, of_transformers
from fieldguide.data.batches import Preprocessing, as_dict, from_dict
from fieldguide.errors import DataProblem, UsageProblem, out_of_memory, plain
from fieldguide.files import digest, read_json, write_json

#: Those whose text half was trained on lines that are padded to the full context without a mask, lower-cased and without punctuation.
_PADDED = frozenset({"siglip"})


@dataclass(frozen=True)
class Eye:
    """The picture half; `config` rebuilds it, `more` is given to every call."""

    model: nn.Module
    config: dict[str, Any]
    preprocessing: Preprocessing
    device: str
    more: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """Hash of weights, configuration and version of the library."""
        return hash_of(self.model, [self.config, self.more, transformers.__version__], ("text_model", "text_projection"))

    @cached_property
    def width(self) -> int:
        """Features of a picture."""
        return int(self.pictures(torch.zeros(1, 3, self.preprocessing.size, self.preprocessing.size)).shape[1])

    @property
    def parameters(self) -> int:
        """Parameters of the picture half."""
        return sum(p.numel() for name, p in self.model.named_parameters() if not name.startswith("text_"))

    def seen(self, pixels: Tensor) -> Tensor:
        """Return features of a batch on this half's device, with gradients where they are asked for."""
        model: Any = self.model
        return _pooled(model.get_image_features(pixel_values=pixels, **self.more)).float()

    @torch.inference_mode()
    def pictures(self, pixels: Tensor) -> Tensor:
        """Return projected features ``"pictures features"``, not normalised."""
        return torch.cat([self.seen(part.to(self.device)).cpu() for part in torch.split(pixels, AT_ONCE)])

    def save(self, folder: Path) -> None:
        """Write the picture half: ``encoder.json`` and ``encoder.safetensors``."""
        kept = {name: tensor for name, tensor in self.model.state_dict().items() if not name.startswith("text_")}
        save_file({name: tensor.cpu().contiguous().clone() for name, tensor in kept.items()}, folder / "encoder.safetensors")
        told = {"kind": "transformers", "config": self.config, "more": self.more}
        write_json(folder / "encoder.json", {**told, "preprocessing": as_dict(self.preprocessing)})


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
        return hash_of(self.model, [self.config, words, "right"], ("vision_model", "visual_projection"))

    @property
    def _padded(self) -> bool:
        return self.config["model_type"] in _PADDED

    @cached_property
    def width(self) -> int:
        """Features of a line."""
        return int(self._read(["a"]).shape[1])

    @property
    def parameters(self) -> int:
        """Parameters of the text half."""
        return sum(p.numel() for name, p in self.model.named_parameters() if name.startswith("text_"))

    def cleaned(self, line: str) -> str:
        """Return a line as the weights saw lines in training: SigLIP's lower-cased and without punctuation."""
        return lines.canonical(line) if self._padded else lines.spaced(line)

    def tokenised(self, texts: Sequence[str]) -> Any:
        """Return token ids and where there is a token ``"lines tokens"``, cut at the context."""
        made = self.tokenizer(
            [self.cleaned(line) for line in texts],
            padding="max_length" if self._padded else "longest",
            truncation=True,
            max_length=self.context,
            return_tensors="pt",
            return_attention_mask=True,
        )
        known = int(self.config["text_config"]["vocab_size"])
        ids, mask = made["input_ids"].long(), made["attention_mask"].long()
        if ids.numel() and int(ids.max()) >= known:
            raise DataProblem(
                f"The tokeniser gives a token number {int(ids.max())}, and the network knows {known}.",
                "Allowed: the tokeniser that the network was trained with.",
                "Fetch the model again and run the same command.",
            )
        if not ids.shape[1]:  # lines without any token, of a tokeniser that adds none of its own
            ids, mask = torch.full((len(texts), 1), int(self.tokenizer.pad_token_id)), torch.ones(len(texts), 1).long()
        mask[mask.sum(1) == 0, 0] = 1  # attention over nothing has no answer: such a line is read as one padding token
        return {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}

    def _asked(self, made: Any) -> Any:
        """Return what the text half says of tokens."""
        model: Any = self.model
        given = {"input_ids": made["input_ids"]} if self._padded else made
        return model.get_text_features(**given)

    @torch.inference_mode()
    def _read(self, texts: Sequence[str]) -> Tensor:
        return _pooled(self._asked(self.tokenised(texts)))

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return projected features ``"lines features"``, not normalised."""
        return lines.by_length(texts, self.counted(texts), self._read, self.width)

    @torch.inference_mode()
    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the last hidden states ``"lines tokens width"`` and where there is a token ``"lines tokens"``."""
        made = self.tokenised(texts)
        return self._asked(made).last_hidden_state.float().cpu(), made["attention_mask"].bool().cpu()

    def counted(self, texts: Sequence[str]) -> list[int]:
        """Return tokens of each line before the cut."""
        cleaned = [self.cleaned(line) for line in texts]
        return [len(ids) for ids in self.tokenizer(cleaned, verbose=False)["input_ids"]] if cleaned else []


def two_sided(model: str, online: bool) -> bool:
    """Tell whether the configuration of `model` is one of an image-text model."""
    return hub_files.two_sided(hub_files.config_of(model, online))


def check(model: str, online: bool) -> None:
    """Raise where weights, pictures' or text's configuration are not on this machine and may not be fetched."""
    hub_files.require_known(model, hub_files.config_of(model, online))
    hub_files.fetched(model, online)


def build(lens: Lens, device: str, online: bool) -> Encoder:
    """Return both halves of an image-text model; raises `DataProblem` where weights are damaged or missing."""
    config = hub_files.config_of(lens.model, online)
    hub_files.require_known(lens.model, config)
    folder = hub_files.fetched(lens.model, online)
    described = "trained on drawn pictures by fieldguide itself" if lens.model == encoders.DRAWN else lens.model
    model = hub_files.loaded(lens, config, folder, described)
    tokenizer = hub_files.tokenizer_of(lens.model, folder)
    told = {name: value for name, value in model.config.to_dict().items() if name not in ("auto_map", "_name_or_path")}
    model = model.to(device).eval()
    preprocessing = looks.described(hub_files.own_looks(lens, folder, config), lens, {})
    eye = Eye(model, told, preprocessing, device, _more(model, config, preprocessing.size))
    _require_size(eye, lens.model)
    reader = Reader(model, told, tokenizer, _context(model.config, tokenizer), device)
    bias = float(model.logit_bias.detach()) if hasattr(model, "logit_bias") else 0.0
    return Encoder(lens.model, eye, reader, _scale(model), shared=True, described=described, bias=bias)


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
    return Eye(model.to(device).eval(), told["config"], from_dict(told["preprocessing"]), device, told.get("more") or {})


def hash_of(model: nn.Module, beside: object, without: tuple[str, ...]) -> str:
    """Return the SHA-256 of the tensors of `model` whose names begin with none of `without`, and of what stands `beside`."""
    found = hashlib.sha256(digest(beside).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith(without):
            found.update(name.encode())
            found.update(
                tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
                if tensor.ndim
                else repr(float(tensor)).encode()
            )
    return found.hexdigest()


def _more(model: Any, config: Any, size: int) -> dict[str, Any]:
    """Return what a call needs where pictures have another size than the file's positions: those are resampled to the new grid."""
    own = getattr(config.vision_config, "image_size", None)
    takes = "interpolate_pos_encoding" in inspect.signature(model.get_image_features).parameters
    return {"interpolate_pos_encoding": True} if takes and isinstance(own, int) and own != size else {}


def _require_size(eye: Eye, model: str) -> None:
    """Show the network one empty picture of the size that was asked for."""
    size, patch = eye.preprocessing.size, eye.config["vision_config"].get("patch_size")
    try:
        if isinstance(patch, int) and size % patch:
            raise ValueError(f"its patches have {patch} pixels")
        eye.pictures(torch.zeros(1, 3, size, size))
    except (RuntimeError, ValueError, AssertionError, TypeError, IndexError, AttributeError) as error:
        if out_of_memory(error):
            raise
        raise UsageProblem(
            f"{plain(model)} does not take pictures of {size} x {size} pixels: {plain(error)}.",
            "Allowed are sizes that fit the network: multiples of its patch.",
            "Leave image_size out for the model's own.",
        ) from error


def _scale(model: Any) -> float:
    """Return what the model multiplies cosines by: a logarithm is stored, or a temperature that divides."""
    if hasattr(model, "logit_scale"):
        return float(model.logit_scale.detach().exp())
    return 1 / float(model.temperature.detach()) if hasattr(model, "temperature") else 100.0


def _context(config: Any, tokenizer: Any) -> int:
    """Return the tokens that positions were trained for; a tokeniser may claim fewer, never more."""
    text = config.text_config
    # RoBERTa counts positions from behind its padding token, so that many of them are never used.
    unused = int(text.pad_token_id) + 1 if any(name in text.model_type for name in ("roberta", "altclip")) else 0
    return int(min(text.max_position_embeddings - unused, tokenizer.model_max_length))


def _pooled(found: Any) -> Tensor:
    """Return the projected embedding, whether a call returns it or something that holds it."""
    tensor: Tensor = getattr(found, "pooler_output", found)
    return tensor
