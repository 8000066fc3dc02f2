"""Networks of three libraries behind one door: bare names are timm's, ``torchvision/NAME`` and ``hf/NAME`` say whose they are.

Each library has one module here that finds weights, writes the recipe of an empty network, builds it, loads it strictly and tells how
its pictures must look. Nothing outside this folder needs to know which library a network came from: it maps
``"pictures 3 size size"`` to logits ``"pictures classes"``, and `head_names` says which of its tensors are the classifier's.
Libraries are imported when a name of theirs is met, and not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fieldguide.errors import UsageProblem, allowed_names, plain

if TYPE_CHECKING:
    from torch import nn

    from fieldguide.craft.zoo.wanted import Trained, Wanted
    from fieldguide.craft.zoo.weights import Source
    from fieldguide.data.batches import Preprocessing
    from fieldguide.records import Estimate

#: What stands in front of a name, and the library whose it is; all other names are timm's.
PREFIXES = {"torchvision": "torchvision", "hf": "transformers"}


def library_of(model: str) -> str:
    """Return ``timm``, ``torchvision`` or ``transformers``."""
    prefix, slash, _ = model.partition("/")
    return PREFIXES.get(prefix, "timm") if slash else "timm"


def _room(library: str) -> Any:
    from importlib import import_module

    return import_module(f"{__name__}.of_{library}")


def room_of(model: str) -> Any:
    """Return the module of the library that `model` is from."""
    return _room(library_of(model))


def _of(settings: Wanted) -> Any:
    return room_of(settings.model)


def knows(model: str) -> bool:
    """Tell whether a library has a network of this name. Any name after ``hf/`` may be on the hub or a folder; `find_weights` tells."""
    library, rest = library_of(model), model.partition("/")[2]
    if library == "transformers":
        return bool(rest)
    return bool(_room(library).knows(rest if library == "torchvision" else model))


def names() -> list[str]:
    """Return the names of all networks of timm and torchvision; those of the hub are without number."""
    return [*_room("timm").names(), *(f"torchvision/{name}" for name in _room("torchvision").names())]


def require(model: str) -> None:
    """Raise `UsageProblem`, nearest names first, where no library has a network of this name."""
    if not knows(model):
        raise UsageProblem(
            f"No library has a network called {plain(model)!r}.",
            f"{allowed_names(model, names())} Also hf/OWNER/NAME of the hub, and hf/FOLDER.",
            "`fieldguide families --models 'resnet*'` searches names; settings follow after a colon.",
        )


def find_weights(settings: Wanted, online: bool) -> Source | None:
    """Return where the weights are; `None` for a network from scratch. Never downloads unless `online`.

    Raises `EnvironmentProblem` where published weights are not on this machine, `UsageProblem` for a wrong path or name.
    """
    from fieldguide.craft.zoo import weights

    if library_of(settings.model) == "transformers":
        _of(settings).require(settings.model, online)
    if settings.weights == "none":
        return None
    found: Source = _of(settings).find(settings, online) if settings.weights == "hub" else weights.located(settings.weights)
    return found


def recipe(settings: Wanted, source: Source | None, classes: int) -> dict[str, Any]:
    """Return, in plain values, what rebuilds the empty network offline; with 0 classes it answers with what its head would be given."""
    made: dict[str, Any] = _of(settings).recipe(settings, source, classes)
    return made


def create(recipe: dict[str, Any]) -> nn.Module:
    """Build the empty network; an argument it does not take is a `UsageProblem`, a library that is unknown here a `ValueError`."""
    library = recipe.get("library", "timm")
    if library not in ("timm", *PREFIXES.values()):
        raise ValueError(f"no library is called {plain(library)}")
    network: nn.Module = _room(library).create(recipe)
    return network


def load_weights(network: nn.Module, source: Source, *, keep_head: bool = False) -> None:
    """Load every tensor but the head's; a missing, misshapen or unknown one is a `DataProblem` that names it. The head is set to zero.

    With `keep_head` its tensors are loaded, too, and must be there.
    """
    kind = type(network.network).__module__.split(".")[0] if hasattr(network, "heads") else "timm"
    _room(kind if kind in PREFIXES.values() else "timm").load(network, source, () if keep_head else head_names(network))


def head_names(network: nn.Module) -> tuple[str, ...]:
    """Return the prefixes of the classifier's tensors."""
    own: Any = getattr(network, "heads", None)
    if own is not None:
        return tuple(own)
    config: Any = getattr(network, "pretrained_cfg", None) or {}
    names = config.get("classifier") or ()
    return tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))


def preprocessing(settings: Wanted, source: Source | None) -> Preprocessing:
    """Return the network's own preprocessing; what the weights file says comes before it, what was asked before both."""
    from fieldguide.craft.zoo import looks

    return looks.described(_of(settings).own_looks(settings), settings, source.says if source else {})


def planned(settings: Wanted) -> Preprocessing:
    """Return the preprocessing without looking for hub weights, and without building the network."""
    from fieldguide.craft.zoo import weights

    return preprocessing(settings, weights.located(settings.weights) if settings.weights not in ("none", "hub") else None)


def built(settings: Wanted, source: Source | None, classes: int) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network with its weights, and its recipe; raises `UsageProblem` where it does not take pictures of the size asked for."""
    made = recipe(settings, source, classes)
    network = create(made)
    if source is not None:
        load_weights(network, source)
    require_own_size(network, settings, source)
    return network, made


def require_own_size(network: nn.Module, settings: Wanted, source: Source | None) -> None:
    """Raise `UsageProblem` where the network does not take pictures of the size it would be shown."""
    from fieldguide.craft.zoo.borrowed import require_size

    require_size(network, preprocessing(settings, source).size, settings.model)


def probe(settings: Trained, classes: int, sizes: Any) -> Estimate:
    """Return what training the network that was asked for costs, from two timed steps; hub weights are not needed for it."""
    import torch

    from fieldguide.craft.zoo.borrowed import require_size
    from fieldguide.craft.zoo.costs import measured

    source = find_weights(settings, online=False) if settings.weights not in ("hub", "none") else None
    size = preprocessing(settings, source).size
    network = create(recipe(settings, source, classes))
    require_size(network, size, settings.model)
    return measured(network.to(memory_format=torch.channels_last), size, settings, sizes)
