"""What a language model that looks consists of on disk: found, fetched where that is allowed, and read without running anything in it."""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from fieldguide.craft.chat import DRAWN, MOONDREAM
from fieldguide.craft.zoo import of_transformers
from fieldguide.craft.zoo import weights as files
from fieldguide.craft.zoo.of_transformers import IN_PARTS, PREFIX, WHOLE, folder_of
from fieldguide.errors import DataProblem, EnvironmentProblem, UsageProblem, allowed_names, out_of_memory, plain
from fieldguide.files import digest

#: What lies beside the weights: configuration, processor, tokeniser, chat template.
_BESIDE = ("*.json", "*.jinja", "*.txt", "*.model")
_SHA = re.compile(r"[0-9a-f]{64}")
_LICENCE = re.compile(r"^licen[cs]e(?:_name)?:\s*['\"]?([^'\"\n]+)", re.MULTILINE)
#: What its licence says, and few read.
_LLAMA = "The licence of Llama 3.2 grants no rights in its vision models to people living, or companies based, in the European Union."
_TOKENISERS = ("tokenizer.json", "vocab.json", "tokenizer.model", "spiece.model", "vocab.txt", "tekken.json")


def drawn_folder() -> Path:
    """Return the folder of the model that comes with the package."""
    return Path(str(resources.files("fieldguide.craft.chat"))) / "drawn"


def fetched(model: str, online: bool) -> Path:
    """Return the folder with all that a model needs; `EnvironmentProblem` where it is not here and may not be fetched."""
    if model == DRAWN:
        return drawn_folder()
    name = model.removeprefix(PREFIX)
    # The configuration first: an architecture that cannot be asked is told before gigabytes are fetched.
    folder = folder_of(model, online)
    require_known(model, folder)
    _require_safetensors(model, folder, pickled=True)
    folder = folder_of(model, online, with_weights=True)
    if Path(name).expanduser().is_dir() or any((folder / words).is_file() for words in _TOKENISERS):
        return folder
    if not online:
        raise EnvironmentProblem(
            f"{plain(model)} is not whole on this machine: its tokeniser is not in the hub's cache.",
            f"Allowed: --online to download it, or {PREFIX}FOLDER as save_pretrained writes it.",
            "The same command with --online.",
        )
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(name, allow_patterns=[*_BESIDE, "README.md"])
    except Exception as error:  # the hub client raises many unrelated types
        raise files.not_fetched(name, error) from error
    return folder


def require_known(model: str, folder: Path) -> Any:
    """Return the configuration in `folder`; raises where it is damaged, of a model that does not look, or needs code of its own."""
    try:
        with of_transformers._quiet():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        own = _needs_own_code(folder)
        raise DataProblem(
            f"{plain(model)} {'needs code of its own repository' if own else 'has a configuration that cannot be read'}: {plain(error)}.",
            "Allowed: an architecture that transformers itself has; code of a repository is never run.",
            f"Take another model, serve it (served/NAME), or take {DRAWN}."
            + (
                f" Moondream2, with your consent to its code: {MOONDREAM}OWNER/NAME." if "moondream" in model.casefold() else ""
            ),
        ) from error
    if config.model_type not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise UsageProblem(
            f"{plain(model)} is of the architecture {plain(config.model_type)}, of which transformers has no language model that looks.",
            allowed_names(config.model_type, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES),
            f"For example {PREFIX}HuggingFaceTB/SmolVLM-256M-Instruct, or {DRAWN}, which works offline.",
        )
    return config


def _needs_own_code(folder: Path) -> bool:
    from fieldguide.files import read_json

    try:
        return bool(dict(read_json(folder / of_transformers.CONFIG)).get("auto_map"))
    except (OSError, ValueError, TypeError):
        return False


def _require_safetensors(model: str, folder: Path, *, pickled: bool = False) -> None:
    """Raise where a folder has no safetensors; with `pickled` only where it has pickled weights instead."""
    if any((folder / name).is_file() for name in (WHOLE, IN_PARTS)):
        return
    found = sorted(path.name for path in folder.iterdir() if path.suffix in files.PICKLED)
    if pickled and not found:
        return
    raise DataProblem(
        f"{plain(model)} has no {WHOLE}{f', but pickled weights ({found[0]})' if found else ''}.",
        "Allowed: safetensors; pickled weights of a language model are not read.",
        "Take another model, or save this one again with save_pretrained.",
    )


def loaded(model: str, folder: Path, dtype: torch.dtype, **more: Any) -> Any:
    """Return the network with its weights, every tensor of it from the file; `more` is told to transformers."""
    _require_safetensors(model, folder)
    try:
        with of_transformers._quiet():
            network, told = AutoModelForImageTextToText.from_pretrained(
                folder,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                **more,
            )
    except Exception as error:  # the library raises many unrelated types for files that are damaged or missing
        if out_of_memory(error):
            raise
        raise DataProblem(
            f"{plain(model)} cannot be loaded: {plain(error)}.",
            "Allowed: a whole model as save_pretrained writes it: configuration, safetensors, processor and tokeniser.",
            "Fetch it again and run the same command.",
        ) from error
    wrong = [f"{name} is missing" for name in sorted(told["missing_keys"])]
    wrong += [files.misshapen(name, found, shape) for name, found, shape in sorted(told["mismatched_keys"])]
    files.refuse([*wrong, *map(str, told.get("error_msgs") or ())], model)
    files.require_numbers(network.state_dict(), model)
    return network.eval()


def processor_of(model: str, folder: Path) -> Any:
    """Return what turns a conversation and its pictures into numbers; it pads on the left and has a chat template."""
    try:
        with of_transformers._quiet():
            made: Any = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except ImportError as error:
        raise EnvironmentProblem(
            f"The processor of {plain(model)} needs a package that is not installed: {plain(error)}.",
            "Allowed: that package, or a model without such a need.",
            "pip install num2words sentencepiece protobuf tiktoken",
        ) from error
    except Exception as error:  # the library raises many unrelated types for files that are damaged
        raise _no_processor(model, plain(error)) from error
    if not hasattr(made, "tokenizer") or not hasattr(made, "image_processor"):
        raise _no_processor(model, "one of its halves, for words or for pictures, is missing")
    if not (getattr(made, "chat_template", None) or getattr(made.tokenizer, "chat_template", None)):
        raise DataProblem(
            f"{plain(model)} has no chat template: nothing says how a conversation is written for it.",
            "Allowed: a model that was taught to converse (its name often ends in -Instruct, -it or -chat).",
            "Take such a model, or put its chat_template.jinja into the folder.",
        )
    made.tokenizer.padding_side = "left"
    return made


def _no_processor(model: str, why: str) -> DataProblem:
    return DataProblem(
        f"The processor of {plain(model)} cannot be read: {why}.",
        "Allowed: a folder as save_pretrained of model and processor writes it.",
        "Fetch the model again, or save its processor into the folder.",
    )


def revision(folder: Path, beside: object) -> str:
    """Return the SHA-256 of all files of a model that decide its answers, of the library's version, and of what stands `beside`."""
    found = hashlib.sha256(digest(beside, transformers.__version__).encode())
    for path in sorted(path for glob in (*_BESIDE, "*.safetensors") for path in folder.glob(glob)):
        if path.name not in ("measured.json",):
            found.update(path.name.encode())
            found.update(_content(path).encode())
    return found.hexdigest()


def _content(path: Path) -> str:
    """Return the SHA-256 of a file; the hub's cache calls a large one by it."""
    real = path.resolve()
    if real.parent.name == "blobs" and _SHA.fullmatch(real.name):
        return real.name
    with open(real, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def binding(architecture: str, *said: str | None) -> list[str]:
    """Return what a licence binds its users to and few read; `said` are the model's name and the licence on its card.

    A folder may be called anything, so either of the two tells.
    """
    llama = any(re.search(r"llama[-_ ]?3[._]2", text, re.IGNORECASE) for text in said if text)
    return [_LLAMA] if llama and architecture == "mllama" else []


def licence(folder: Path) -> str | None:
    """Return the licence that a model's card states; `None` where there is no card, or it states none."""
    try:
        card = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:20_000]
    except OSError:
        return None
    found = _LICENCE.search(card) if card.startswith("---") else None
    return found.group(1).strip() if found else None
