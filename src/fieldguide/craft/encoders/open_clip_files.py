"""What a model of open_clip consists of: its configuration, weights and tokeniser, found here or fetched, and put together."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache

from fieldguide.craft.frozen import Lens
from fieldguide.craft.zoo import weights as files
from fieldguide.errors import DataProblem, EnvironmentProblem, UsageProblem, allowed_names, nearest, out_of_memory, plain
from fieldguide.files import read_json

PREFIX = "open_clip/"
CONFIG, WHOLE = "open_clip_config.json", "open_clip_model.safetensors"
#: What a folder's weights may be called.
_WEIGHTS = (WHOLE, "open_clip_pytorch_model.safetensors", "model.safetensors")
_PATTERNS = ["*.json", "*.txt", "*.model", WHOLE]


@dataclass(frozen=True)
class Place:
    """Where a model is: `name` as the library takes it, its `config`, how it wants pictures (`preprocess`), and its `weights`."""

    name: str
    config: dict[str, Any]
    preprocess: dict[str, Any]
    weights: Path
    described: str


def library() -> Any:
    """Return open_clip; `ModuleNotFoundError` names the package that has to be installed."""
    try:
        with quiet():
            import open_clip
    except ModuleNotFoundError as error:
        if error.name != "open_clip":
            raise
        raise ModuleNotFoundError("No module named 'open_clip'", name="open_clip_torch") from error
    return open_clip


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's own words off the terminal: what matters of them is checked here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def find(model: str, online: bool, weights: str = "hub") -> Place:
    """Return where `model` is; raises `UsageProblem` for an unknown name, `EnvironmentProblem` for what is not here."""
    library()
    name = model.removeprefix(PREFIX)
    folder = Path(name).expanduser()
    if (folder / CONFIG).is_file():
        return _in_folder(folder, f"folder: {folder.name}", weights)
    if "@" in name:
        return _listed(model, name, online, weights)
    if name.count("/") != 1 or folder.is_dir() or name.startswith((".", "/", "~")):
        raise UsageProblem(
            f"{plain(model)} names no model of open_clip.",
            f"{_near(name)}Allowed: {PREFIX}NAME@TAG, {PREFIX}OWNER/NAME of the hub, or {PREFIX}FOLDER with {CONFIG}.",
            f"For example {PREFIX}ViT-B-32-quickgelu@openai",
        )
    return _in_folder(_repository(model, name, online), f"hub: {name}", weights)


def _near(name: str) -> str:
    found = nearest(name, library().list_models())
    return f"Did you mean {plain(found[0])}@TAG? " if found else ""


def _listed(model: str, name: str, online: bool, weights: str) -> Place:
    """Return a model of the library's own list."""
    open_clip = library()
    name, _, tag = name.rpartition("@")
    config, tags = open_clip.get_model_config(name), open_clip.list_pretrained_tags_by_model(name)
    if config is None:
        raise UsageProblem(
            f"open_clip has no model {plain(name)!r}.", allowed_names(name, open_clip.list_models()), f"{PREFIX}NAME@TAG"
        )
    published = open_clip.pretrained.get_pretrained_cfg(name, tag)
    if not published:
        raise UsageProblem(
            f"open_clip has no weights {plain(tag)!r} of {plain(name)}.",
            allowed_names(tag, tags) if tags else f"Allowed: {PREFIX}FOLDER; the library lists no weights of this name.",
            f"For example {PREFIX}{plain(name)}@{tags[0]}" if tags else f"For example {PREFIX}ViT-B-32-quickgelu@openai",
        )
    _require_activation(name, tag, config, published)
    described = f"hub: open_clip {name} {tag}"
    place = files.located(weights).path if weights not in ("hub", "none") else _published(model, published, online)
    return Place(name, config, _looks(published), place, described)


def _require_activation(name: str, tag: str, config: dict[str, Any], published: dict[str, Any]) -> None:
    trained, has = bool(published.get("quick_gelu", False)), bool(config.get("quick_gelu", False))
    other = name.removesuffix("-quickgelu") if has else f"{name}-quickgelu"
    # Where there is no name with the other activation, the list says nothing of it and the configuration is right.
    if trained == has or not library().pretrained.get_pretrained_cfg(other, tag) or other == name:
        return
    raise UsageProblem(
        f"{plain(name)}@{plain(tag)} was trained {'with' if trained else 'without'} QuickGELU, and {plain(name)} has "
        f"{'it' if has else 'another activation'}: it would answer, and worse.",
        f"Allowed: the name with the activation of these weights, {plain(other)}@{plain(tag)}.",
        f"{PREFIX}{plain(other)}@{plain(tag)}",
    )


def _published(model: str, published: dict[str, Any], online: bool) -> Path:
    """Return the safetensors of a listed model, from the hub's cache or fetched into it."""
    repository, _, file = str(published.get("hf_hub", "")).rpartition("/")
    file = f"{Path(file).stem}.safetensors" if file else WHOLE
    if not repository:
        raise EnvironmentProblem(
            f"{plain(model)} is published as a pickled file alone, at {plain(published.get('url', 'no address'))}.",
            "Allowed: safetensors; a pickled state dict is read, tensors alone, where it is named outright.",
            f"Download it yourself, then {plain(model)}:weights=FILE",
        )
    here = try_to_load_from_cache(repository, file)
    if isinstance(here, str):
        return Path(here)
    if not online:
        raise EnvironmentProblem(
            f"{plain(model)} is not on this machine: {file} of {plain(repository)} is not in the hub's cache.",
            f"Allowed: --online to download it, {PREFIX}FOLDER, or weights=FILE.",
            "The same command with --online.",
        )
    try:
        return Path(hf_hub_download(repository, file))
    except Exception as error:  # the hub client raises many unrelated types
        raise files.not_fetched(f"{repository}/{file}", error) from error


def _repository(model: str, name: str, online: bool) -> Path:
    """Return the folder of the hub's cache that holds a repository."""
    here = [try_to_load_from_cache(name, file) for file in (CONFIG, WHOLE)]
    if all(isinstance(path, str) for path in here):
        return Path(str(here[0])).parent
    if not online:
        raise EnvironmentProblem(
            f"{plain(model)} is not on this machine: its files are not in the hub's cache.",
            f"Allowed: --online to download it, or {PREFIX}FOLDER with {CONFIG} and {WHOLE}.",
            "The same command with --online.",
        )
    try:
        return Path(snapshot_download(name, allow_patterns=_PATTERNS))
    except Exception as error:  # the hub client raises many unrelated types
        raise files.not_fetched(name, error) from error


def _in_folder(folder: Path, described: str, weights: str) -> Place:
    try:
        told = read_json(folder / CONFIG)
        config, looks = told["model_cfg"], _looks(told.get("preprocess_cfg") or {})
        if not all(isinstance(config[part], dict) for part in ("vision_cfg", "text_cfg")):
            raise TypeError("vision_cfg and text_cfg are tables")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataProblem(
            f"{plain(folder / CONFIG)} cannot be read: {plain(error)}.",
            "Allowed: model_cfg with embed_dim, vision_cfg and text_cfg, and preprocess_cfg, as open_clip writes them.",
            "Fetch the model again and run the same command.",
        ) from error
    if weights not in ("hub", "none"):
        found = files.located(weights).path
    else:
        held = [folder / name for name in _WEIGHTS if (folder / name).is_file()]
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in files.PICKLED)
        if not held:
            raise DataProblem(
                f"{plain(folder)} has no {WHOLE}{f', but pickled weights ({pickled[0]})' if pickled else ''}.",
                "Allowed in such a folder: safetensors. A pickled state dict is read, tensors alone, where it is named outright.",
                f"For example {PREFIX}{plain(folder)}:weights={plain(folder / (pickled[0] if pickled else WHOLE))}",
            )
        found = held[0]
    return Place(f"local-dir:{folder}", config, looks, found, described)


def _looks(told: dict[str, Any]) -> dict[str, Any]:
    """Return how pictures are wanted, with what the library takes where nothing is said."""
    from dataclasses import asdict

    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    found: dict[str, Any] = merge_preprocess_dict(asdict(PreprocessCfg()), told)
    return found


def loaded(place: Place, lens: Lens, online: bool) -> tuple[Any, Any]:
    """Return the model with its weights, every tensor of it from the file, and its tokeniser."""
    if lens.weights == "none":
        raise UsageProblem(
            f"{plain(lens.model)} without weights knows no word and no picture.",
            "Allowed: weights=hub, or weights=FILE with both halves.",
            "dual_encoder/drawn works offline.",
        )
    open_clip = library()
    state = files.read_state(place.weights)
    try:
        with quiet():
            model = open_clip.create_model(
                place.name,
                load_weights=False,
                pretrained_text=False,
                force_image_size=None if timms(place) else lens.image_size,
            )
            if lens.image_size is None:
                _require_positions(model, state)
            if place.weights.suffix in files.PICKLED:
                with tempfile.TemporaryDirectory() as scratch:
                    files.to_safetensors(place.weights, Path(scratch) / WHOLE)
                    open_clip.load_checkpoint(model, str(Path(scratch) / WHOLE))
            else:
                open_clip.load_checkpoint(model, str(place.weights))
            if lens.image_size is not None and timms(place):
                model.visual.set_input_size(lens.image_size)  # resamples the positions of the file
            tokenizer = _tokenizer(place, online)
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, AssertionError, AttributeError) as error:
        if out_of_memory(error):
            raise
        raise DataProblem(
            f"{plain(lens.model)} cannot be loaded: {plain(' '.join(str(error).split()))}.",
            "Allowed: weights with every tensor of this configuration in its shape, and the tokeniser that belongs to them.",
            "Fetch it again (with --online where it lies on the hub) and run the same command.",
        ) from error
    return model, tokenizer


def timms(place: Place) -> bool:
    """Tell whether the picture half is a network of timm."""
    return bool(place.config["vision_cfg"].get("timm_model_name"))


def _require_positions(model: Any, state: dict[str, Any]) -> None:
    """Raise where a file was trained for another grid or context: the library would resample it and say nothing."""
    own = model.state_dict()
    for name in ("visual.positional_embedding", "positional_embedding", "text.positional_embedding"):
        if name in own and name in state and own[name].shape != state[name].shape:
            raise ValueError(files.misshapen(name, state[name].shape, own[name].shape))


def _tokenizer(place: Place, online: bool) -> Any:
    text = place.config["text_cfg"]
    hugging = bool(text.get("hf_tokenizer_name"))
    more = {"local_files_only": not online, "trust_remote_code": False} if hugging else {}
    made = library().get_tokenizer(deepcopy(place.name), **more)
    inner = getattr(made, "tokenizer", None)
    if inner is not None:
        inner.padding_side = inner.truncation_side = "right"  # of whatever class: no training padded on the left
    return made
