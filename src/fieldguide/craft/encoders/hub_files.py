"""What a model of transformers consists of on disk: found, fetched where that is allowed, and read without running anything in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer

from fieldguide.craft import encoders
from fieldguide.craft.frozen import Lens
from fieldguide.craft.zoo import of_transformers
from fieldguide.craft.zoo import weights as files
from fieldguide.craft.zoo.of_transformers import IN_PARTS, PROCESSOR, WHOLE, folder_of
from fieldguide.errors import DataProblem, EnvironmentProblem, UsageProblem, allowed_names, plain

#: Architectures that were tried here, each with a tiny model of its real classes.
ARCHITECTURES = (
    "align",
    "altclip",
    "chinese_clip",
    "clip",
    "metaclip_2",
    "siglip",
    "tipsv2",
    "vision-text-dual-encoder",
)
#: A tokeniser lies in one of these; without one the library would quietly make one that knows no word.
_TOKENISERS = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)
#: What a picture's processor is told, as newer versions of the library write it for both halves together.
_BOTH = "processor_config.json"
_NUMBER = re.compile(r"\d+")


def two_sided(config: Any) -> bool:
    """Tell whether a configuration is one of an image-text model."""
    if any(name.endswith("ForImageClassification") for name in config.architectures or ()):
        return False  # its picture half with a head: it was saved without the text half
    return config.model_type in ARCHITECTURES or _has_both(config)


def _has_both(config: Any) -> bool:
    try:
        kind: Any = AutoModel._model_mapping.get(type(config), None)
        return hasattr(kind, "get_image_features") and hasattr(kind, "get_text_features")
    except ImportError:  # an architecture whose own packages are not installed says so when it is asked anything
        return False


def require_known(model: str, config: Any) -> None:
    """Raise `UsageProblem` for an architecture that has both halves and was not tried."""
    if config.model_type in ARCHITECTURES:
        return
    why = {
        "aimv2": "whose features of a line, in this library, depend on the lines beside it",
        "siglip2": "which takes patches of pictures of any shape (NaFlex); SigLIP2 of a fixed size is of the architecture siglip",
    }.get(config.model_type, "of which nobody has checked here that its two features belong together")
    raise UsageProblem(
        f"{plain(model)} is of the architecture {plain(config.model_type)}, {why}.",
        allowed_names(config.model_type, ARCHITECTURES, most=len(ARCHITECTURES)),
        "For example hf/google/siglip2-base-patch16-224, or dual_encoder/drawn, which works offline.",
    )


def loaded(lens: Lens, config: Any, folder: Path, described: str) -> Any:
    """Return the network with its weights, every tensor of it from the file."""
    kind = AutoModel._model_mapping[type(config)]
    wanted: dict[str, Any] = {"dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}
    where: Path | None = folder
    if lens.weights == "hub":
        _require_safetensors(lens.model, folder)
        wanted |= {"local_files_only": True, "trust_remote_code": False, "use_safetensors": True}
    elif lens.weights == "none":
        raise UsageProblem(
            f"{plain(lens.model)} without weights knows no word and no picture.",
            "Allowed: weights=hub, or weights=FILE with both halves.",
            f"dual_encoder/{encoders.DRAWN} works offline.",
        )
    else:
        where, wanted["config"] = None, config
        wanted["state_dict"] = files.read_state(files.located(lens.weights))
    try:
        with of_transformers._quiet():
            model, told = kind.from_pretrained(where, **wanted)
    except Exception as error:  # the library raises many unrelated types for files that are damaged or missing
        raise DataProblem(
            f"{plain(lens.model)} cannot be loaded: {plain(error)}.",
            "Allowed: a whole image-text model as save_pretrained writes it: configuration, safetensors and tokeniser.",
            "Fetch it again and run the same command.",
        ) from error
    own = {_NUMBER.sub("#", name) for name in model.state_dict()}
    wrong = [f"{name} is missing" for name in sorted(told["missing_keys"])]
    wrong += [files.misshapen(name, found, shape) for name, found, shape in sorted(told["mismatched_keys"])]
    # What another head needs may lie in a file; a layer more of those that are here means another network.
    more = [name for name in sorted(told["unexpected_keys"]) if _NUMBER.sub("#", name) in own]
    wrong += [*(f"{name} is not part of the network" for name in more), *map(str, told.get("error_msgs") or ())]
    if wrong:
        raise DataProblem(
            f"The weights of {plain(described)} do not fit its configuration: {plain(wrong[0])}"
            f"{f' (and {len(wrong) - 1} more)' if len(wrong) > 1 else ''}.",
            "Every tensor of both halves must be there in the right shape.",
            "Fetch it again and run the same command.",
        )
    files.require_numbers(model.state_dict(), described)
    return model


def _require_safetensors(model: str, folder: Path) -> None:
    if any((folder / name).is_file() for name in (WHOLE, IN_PARTS)):
        return
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in files.PICKLED)
    raise DataProblem(
        f"{plain(model)} has no {WHOLE}{f', but pickled weights ({pickled[0]})' if pickled else ''}.",
        "Allowed in such a folder: safetensors. A pickled state dict is read, tensors alone, where it is named outright.",
        f"For example {plain(model)}:weights={plain(folder / (pickled[0] if pickled else WHOLE))}",
    )


def tokenizer_of(model: str, folder: Path) -> Any:
    """Return the tokeniser that lies in a folder."""
    if not _has_words(folder):
        raise DataProblem(
            f"{plain(model)} has no tokeniser: nothing says how its lines become numbers.",
            f"Allowed: a folder that also holds what the tokeniser's save_pretrained writes: {', '.join(_TOKENISERS[:3])} ...",
            "Save its tokeniser into the folder, or fetch the model again.",
        )
    try:
        with of_transformers._quiet():
            made: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        made.padding_side = made.truncation_side = "right"
        made(["a", "a longer line"], padding=True)
    except ImportError as error:
        raise EnvironmentProblem(
            f"The tokeniser of {plain(model)} needs a package that is not installed: {plain(error)}.",
            "Allowed: a model with a tokenizer.json, which needs none; or that package.",
            "pip install sentencepiece protobuf tiktoken",
        ) from error
    except Exception as error:  # the library raises many unrelated types for files that are damaged
        raise DataProblem(
            f"The tokeniser of {plain(model)} cannot be read: {plain(error)}.",
            "Allowed: a tokeniser as its save_pretrained writes it, which knows how to pad.",
            "Fetch the model again and run the same command.",
        ) from error
    return made


def own_looks(lens: Lens, folder: Path, config: Any) -> dict[str, Any]:
    """Return how the network wants its pictures, in timm's words: what its processor is told, or else what was asked outright."""
    if not any((folder / name).is_file() for name in (PROCESSOR, _BOTH)):
        if lens.mean is None or lens.std is None:
            raise DataProblem(
                f"{plain(lens.model)} has no {PROCESSOR}: nothing says how its pictures must look.",
                "Allowed: a folder with that file, or mean=, std= and, if they matter, image_size=, interpolation= and fit=.",
                f"For example {plain(lens.model)}:mean=0.5+0.5+0.5,std=0.5+0.5+0.5",
            )
        size = getattr(config.vision_config, "image_size", None)
        size = size if isinstance(size, int) else 224
        return {"input_size": (3, size, size), "mean": lens.mean, "std": lens.std, "interpolation": "bicubic", "crop_pct": 1.0}
    try:
        with of_transformers._quiet():
            told = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False).to_dict()
        return of_transformers._read(told)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise DataProblem(
            f"The {PROCESSOR} of {plain(lens.model)} cannot be followed: {plain(error)}.",
            "Allowed: resizing to a size or a shorter side, a centre crop, and normalising with a mean and a standard deviation.",
            "Take another model.",
        ) from error


def config_of(model: str, online: bool) -> Any:
    """Return the configuration of a model; `DataProblem` where it is damaged or of an architecture that transformers lacks."""
    if model == encoders.DRAWN:
        return AutoConfig.from_pretrained(encoders.drawn_folder(), local_files_only=True)
    folder = folder_of(model, online)
    try:
        with of_transformers._quiet():
            return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataProblem(
            f"The configuration of {plain(model)} cannot be read: {plain(error)}.",
            "Allowed: an architecture that transformers itself has; code of a repository is never run.",
            "Take another model, or dual_encoder/drawn.",
        ) from error


def fetched(model: str, online: bool) -> Path:
    """Return the folder with all that a model needs; `EnvironmentProblem` where it is not here and may not be fetched."""
    if model == encoders.DRAWN:
        return encoders.drawn_folder()
    folder, name = folder_of(model, online, with_weights=True), model.removeprefix("hf/")
    if Path(name).expanduser().is_dir() or _has_words(folder):
        return folder
    if not online:
        raise EnvironmentProblem(
            f"{plain(model)} is not whole on this machine: its tokeniser is not in the hub's cache.",
            "Allowed: --online to download it, or hf/FOLDER as save_pretrained writes it.",
            "The same command with --online.",
        )
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.model"])
    except Exception as error:  # the hub client raises many unrelated types
        raise files.not_fetched(name, error) from error
    return folder


def _has_words(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _TOKENISERS)
