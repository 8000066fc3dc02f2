"""Networks of transformers (Apache-2.0) as ``hf/OWNER/NAME`` on the hub, or ``hf/FOLDER`` as its `save_pretrained` writes one.

A folder holds ``config.json`` (the network), ``preprocessor_config.json`` (its pictures) and safetensors. No code of a repository is
ever run, and no pickled weights are read from one. The library itself renames the tensors of older files, and tells what does not fit.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
from transformers.utils import logging as chatter

from fieldguide.craft.zoo import weights as files
from fieldguide.craft.zoo.borrowed import Borrowed
from fieldguide.craft.zoo.looks import share
from fieldguide.craft.zoo.wanted import Wanted
from fieldguide.craft.zoo.weights import Source
from fieldguide.errors import DataProblem, EnvironmentProblem, UsageProblem, allowed_names, out_of_memory, plain

PREFIX = "hf/"
CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
WHOLE, IN_PARTS = "model.safetensors", "model.safetensors.index.json"
#: How pictures are resized, by the number that processors write (Pillow's).
_RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}
#: Processors whose pictures were compared with ours; others crop or resize in ways that their settings do not tell.
_FOLLOWED = frozenset(
    f"{name}ImageProcessor"
    for name in (
        *(
            "Beit",
            "Bit",
            "CLIP",
            "ChineseCLIP",
            "ConvNext",
            "DeiT",
            "DINOv3ViT",
            "EfficientNet",
            "Levit",
            "MobileNetV1",
            "MobileNetV2",
        ),
        *("PoolFormer", "Pvt", "Segformer", "Siglip", "Tipsv2", "ViT"),
    )
)
#: A layer that a file may hold from its pretraining and that classifiers of transformers leave out.
_LEFT_OUT = ("pooler.",)


def architectures() -> list[str]:
    """Return the architectures that transformers classifies pictures with."""
    return sorted(MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES)


def folder_of(model: str, online: bool, *, with_weights: bool = False) -> Path:
    """Return the local folder, or that of the hub's cache, which holds the configuration of `model` (and its weights, if asked).

    Raises `EnvironmentProblem` where it is not on this machine and may not be fetched.
    """
    name = model.removeprefix(PREFIX)
    local = Path(name).expanduser()
    if (local / CONFIG).is_file():
        return local
    if local.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1 or local.is_dir():
        raise UsageProblem(
            f"There is no network of transformers in the folder {plain(name)}: it has no {CONFIG}.",
            f"Allowed: {PREFIX}OWNER/NAME of the hub, or {PREFIX}FOLDER as save_pretrained writes it.",
            "Correct the name.",
        )
    for wanted in (CONFIG, PROCESSOR, *((WHOLE,) if with_weights else ())):
        _kept(name, wanted, online)
    return Path(str(try_to_load_from_cache(name, CONFIG))).parent


def _kept(repository: str, file: str, online: bool) -> None:
    """See to it that `file` lies in the hub's cache; a network in parts has an index in the place of its file."""
    if isinstance(try_to_load_from_cache(repository, file), str) or (file == PROCESSOR and not online):
        return
    if file == WHOLE and isinstance(try_to_load_from_cache(repository, IN_PARTS), str):
        return
    if not online:
        raise EnvironmentProblem(
            f"{PREFIX}{plain(repository)} is not on this machine: {file} is not in the hub's cache.",
            f"Allowed: --online to download it, or {PREFIX}FOLDER as save_pretrained writes it.",
            "The same command with --online.",
        )
    from huggingface_hub.errors import EntryNotFoundError

    try:
        hf_hub_download(repository, file)
    except EntryNotFoundError as error:
        if file == PROCESSOR:
            return
        if file != WHOLE:
            raise files.not_fetched(repository, error) from error
        _fetch_parts(repository, error)
    except Exception as error:  # the hub client raises many unrelated types; all of them mean "not there"
        raise files.not_fetched(repository, error) from error


def _fetch_parts(repository: str, missing: Exception) -> None:
    from fieldguide.files import read_json

    try:
        index = read_json(Path(hf_hub_download(repository, IN_PARTS)))
        for part in sorted(set(index["weight_map"].values())):
            hf_hub_download(repository, part)
    except Exception as error:
        raise EnvironmentProblem(
            f"{PREFIX}{plain(repository)} has no safetensors that could be downloaded: {plain(error)}.",
            "Allowed: a network with safetensors; pickled weights of the hub are not read.",
            f"Take another network, or {PREFIX}FOLDER.",
        ) from missing


def find(settings: Wanted, online: bool) -> Source:
    """Return the folder of the weights, from this machine, or fetched into the hub's cache if `online`."""
    folder = folder_of(settings.model, online, with_weights=True)
    if not any((folder / name).is_file() for name in (WHOLE, IN_PARTS)):
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in files.PICKLED)
        raise DataProblem(
            f"{plain(settings.model)} has no {WHOLE}{f', but pickled weights ({pickled[0]})' if pickled else ''}.",
            "Allowed in such a folder: safetensors. A pickled state dict is read, tensors alone, where it is named outright.",
            f"For example {plain(settings.model)}:weights={plain(folder / pickled[0]) if pickled else 'none'}",
        )
    return Source(folder, f"{'folder' if folder.name == Path(settings.model).name else 'hub'}: {_called(settings.model)}")


def _called(model: str) -> str:
    """Return a hub's name as it is, and of a folder only the last part."""
    name = model.removeprefix(PREFIX)
    return name if name.count("/") == 1 and not name.startswith((".", "~", "/")) else Path(name).name


def _config(model: str, online: bool = False) -> Any:
    folder = folder_of(model, online)
    try:
        with _quiet():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataProblem(
            f"The {CONFIG} of {plain(model)} cannot be read: {plain(error)}.",
            "Allowed: the configuration of an architecture that transformers itself has; code of a repository is never run.",
            "`fieldguide families --models 'hf*'` lists the architectures.",
        ) from error
    if config.model_type not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES:
        raise UsageProblem(
            f"{plain(model)} is a {plain(config.model_type)}, with which transformers classifies no pictures.",
            allowed_names(config.model_type, architectures()),
            "`fieldguide families --models 'hf*'` lists the architectures.",
        )
    return config


def require(model: str, online: bool) -> None:
    """Raise where the configuration of `model` is not there, or is none of a classifier: even an empty network needs it."""
    _config(model, online)


def recipe(settings: Wanted, source: Source | None, classes: int) -> dict[str, Any]:
    """Return what rebuilds the empty network: its whole configuration, and what is given to every call."""
    config = _config(settings.model)
    if settings.pad_type:
        raise UsageProblem(
            "pad_type was asked for, but networks of transformers have their own padding.",
            f"Allowed: {plain(settings.model)} without pad_type.",
            "Leave pad_type out, or take a network of timm.",
        )
    if settings.patch_size is not None:
        config.patch_size = settings.patch_size
    size, own = settings.image_size or int(own_looks(settings)["input_size"][-1]), getattr(config, "image_size", None)
    more: dict[str, Any] = {}
    if isinstance(own, int) and own != size:
        if source is None:
            config.image_size = size
        elif "interpolate_pos_encoding" in inspect.signature(_class_of(config).forward).parameters:
            more["interpolate_pos_encoding"] = True  # the positions of the file, resampled to the grid of this size
    config.architectures, config.dtype = list(config.architectures or ()), None
    config.num_labels = classes or 2
    values = {name: value for name, value in config.to_dict().items() if name not in ("auto_map", "_name_or_path")}
    made = {"library": "transformers", "model": _called(settings.model), "classes": classes}
    return {**made, "config": values, "arguments": more}


def _class_of(config: Any) -> Any:
    """Return the library's class for this configuration."""
    mapped = AutoModelForImageClassification._model_mapping[type(config)]
    if not isinstance(mapped, list | tuple):
        return mapped
    named = {kind.__name__: kind for kind in mapped}
    return next((named[name] for name in config.architectures or () if name in named), mapped[0])


def create(recipe: dict[str, Any]) -> Borrowed:
    """Build the empty network in float32; a configuration that cannot be built is a `UsageProblem`."""
    classes = recipe["classes"]
    try:
        with _quiet():
            config = CONFIG_MAPPING[recipe["config"]["model_type"]].from_dict(copy.deepcopy(recipe["config"]))
            network = _class_of(config)._from_config(config, dtype=torch.float32)
        heads = _heads(config)
    except (TypeError, AssertionError, RuntimeError, ValueError, KeyError) as error:
        if out_of_memory(error):
            raise
        raise UsageProblem(
            f"{PREFIX}{plain(recipe['model'])} cannot be built: {plain(error)}.",
            "Allowed are sizes that fit the network: image_size a multiple of its patch or window.",
            "Leave image_size and patch_size out for the model's own.",
        ) from error
    return Borrowed(network, heads, recipe["arguments"], headless=not classes)


def _heads(config: Any) -> tuple[str, ...]:
    """Return the modules whose shapes depend on the number of classes: those are the classifier, whatever it is called."""
    shapes = []
    for classes in (2, 3):
        other = copy.deepcopy(config)
        other.num_labels = classes
        with _quiet(), torch.device("meta"):
            empty = _class_of(other)._from_config(other, dtype=torch.float32)
        shapes.append({name: parameter.shape for name, parameter in empty.named_parameters()})
    names = [name.rpartition(".")[0] for name, shape in shapes[0].items() if shape != shapes[1][name]]
    return tuple(dict.fromkeys(names))


def load(network: Borrowed, source: Source, heads: tuple[str, ...]) -> None:
    """Load every tensor but the head's through the library, which knows how older files call them; then see what did not fit."""
    inner: Any = network.network
    wanted = {"config": inner.config, "dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}
    folder = source.path if source.path.is_dir() else None
    if folder is None:
        wanted["state_dict"] = files.read_state(source)
    else:
        wanted |= {"use_safetensors": True, "local_files_only": True, "trust_remote_code": False}
    try:
        with _quiet():
            loaded, told = type(inner).from_pretrained(folder, **wanted)
    except Exception as error:  # the library raises many unrelated types for files that are damaged or of another network
        raise DataProblem(
            f"{plain(source.described)} cannot be loaded: {plain(error)}.",
            "Allowed: whole safetensors, as save_pretrained writes them.",
            "Fetch it again and run the same command.",
        ) from error
    own = tuple(name.removeprefix("network.") for name in heads)
    wrong = [f"{name} is missing" for name in sorted(told["missing_keys"]) if not name.startswith(own)]
    wrong += [
        f"{name} is not part of the network"
        for name in sorted(told["unexpected_keys"])
        if not name.startswith(own) and not any(part in name for part in _LEFT_OUT)
    ]
    wrong += [
        files.misshapen(name, found, shape)
        for name, found, shape in sorted(told["mismatched_keys"])
        if not name.startswith(own)
    ]
    files.refuse([*wrong, *map(str, told.get("error_msgs") or ())], source.described)
    files.require_numbers(loaded.state_dict(), source.described)
    body = {f"network.{name}": tensor for name, tensor in loaded.state_dict().items() if not name.startswith(own)}
    network.load_state_dict(body, strict=False)
    files.begin_head(network, heads)


def classes_of(settings: Wanted, source: Source) -> tuple[int, list[str]]:
    """Return how many classes the configuration has, and the names it gives them."""
    config = _config(settings.model)
    return config.num_labels, [str(config.id2label[number]) for number in range(config.num_labels)]


def own_looks(settings: Wanted) -> dict[str, Any]:
    """Return how the network wants its pictures, in timm's words: what its processor is told.

    A folder without a processor says nothing of its pictures: then mean and std must be given, or nothing be loaded from it.
    """
    folder = folder_of(settings.model, online=False)
    if not (folder / PROCESSOR).is_file():
        if settings.weights != "none" and (settings.mean is None or settings.std is None):
            raise DataProblem(
                f"{plain(settings.model)} has no {PROCESSOR}: nothing says how its pictures must look.",
                "Allowed: a folder with that file, or mean=, std= and, if they matter, image_size=, interpolation= and crop=.",
                f"For example {plain(settings.model)}:mean=0.5+0.5+0.5,std=0.5+0.5+0.5",
            )
        size = getattr(_config(settings.model), "image_size", None)
        size = size if isinstance(size, int) else 224
        return {
            "input_size": (3, size, size),
            "mean": (0.5,) * 3,
            "std": (0.5,) * 3,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
        }
    try:
        with _quiet():
            told = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False).to_dict()
        return _read(told)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise DataProblem(
            f"The {PROCESSOR} of {plain(settings.model)} cannot be followed: {plain(error)}.",
            "Allowed: resizing to a size or a shorter side, a centre crop, and normalising with a mean and a standard deviation.",
            "Take another network, or one of timm.",
        ) from error


def _read(told: dict[str, Any]) -> dict[str, Any]:
    """Return a processor's facts in timm's words; raises `ValueError` for what nothing here does."""
    kind = str(told.get("image_processor_type", "")).removesuffix("Fast")
    size = told.get("size") or {}
    squash, side = "height" in size, int(size.get("height") or size.get("shortest_edge") or 0)
    if kind not in _FOLLOWED or not side or size.get("width", side) != side or not told.get("do_resize", True):
        raise ValueError(f"{kind} with size {size} and do_resize {told.get('do_resize')} is not known here")
    crop = told.get("crop_size") if told.get("do_center_crop") else None
    shown = int(crop["height"]) if crop else side
    if kind == "ConvNextImageProcessor" and not squash:  # small ones are cropped, large ones are squashed
        squash, side = side >= 384, side if side >= 384 else int(side / told["crop_pct"])
    elif told.get("crop_pct") and crop:
        side = int(side / told["crop_pct"])
    elif kind == "LevitImageProcessor" and not squash:
        side = int((256 / 224) * side)
    mean, std = _normal(told)
    return {
        "input_size": (3, shown, shown),
        "mean": mean,
        "std": std,
        "interpolation": _RESAMPLE.get(int(told.get("resample", 2)), "bicubic"),
        "crop_pct": share(shown, side),
        "squash": squash,
    }


def _normal(told: dict[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation for colours from 0 to 1, whatever scale a processor normalises on."""
    scale = 1 / (255 * told.get("rescale_factor", 1 / 255)) if told.get("do_rescale", True) else 1 / 255
    mean, std = (told["image_mean"], told["image_std"]) if told.get("do_normalize", True) else ((0.0,) * 3, (1.0,) * 3)
    offset = 1.0 if told.get("rescale_offset") else 0.0
    again = told["image_std"] if told.get("include_top") else (1.0,) * 3
    return tuple((value + offset) * scale for value in mean), tuple(
        one * two * scale for one, two in zip(std, again, strict=True)
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's bars, tables and warnings off the terminal: what matters of them is checked here."""
    loud, barred = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        chatter.set_verbosity(loud)
        if barred:
            chatter.enable_progress_bar()
