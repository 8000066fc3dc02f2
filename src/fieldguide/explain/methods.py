"""The methods by name: what each is called, and which of them are tried where none is asked for.

To add one, write a function ``method(sight, pixels, target, layers) -> Maps`` (see `fieldguide.explain.maps`) and a line here.
Occlusion is the exception: it asks for answers alone, so it does not look inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from fieldguide.craft.sight import Sight
from fieldguide.errors import UsageProblem, allowed_names, plain
from fieldguide.explain import attention, cam, scans
from fieldguide.explain.maps import Layers, Maps, Target

Inside = Callable[[Sight, Tensor, Target, Layers], Maps]


@dataclass(frozen=True)
class Method:
    """One way to explain an answer; `look` is `None` for what works from outside. `usual`: tried where nothing is asked for."""

    title: str
    look: Inside | None
    usual: bool = True


METHODS = {
    "attention": Method("Attention", attention.attention),
    "rollout": Method("Attention rollout", attention.rollout),
    "attention-gradient": Method("Attention times gradient", attention.attention_gradient),
    "scan-attention": Method("Attention of the scans", scans.scan_attention),
    "scan-walks": Method("Attention of each walk", scans.scan_walks, usual=False),
    "scan-gradient": Method("Scans times gradient", scans.scan_gradient),
    "gradcam": Method("Grad-CAM", cam.gradcam),
    "scorecam": Method("Score-CAM, without gradients", cam.scorecam, usual=False),
    "occlusion": Method("Occlusion", None),
}


def wanted(names: Iterable[str]) -> dict[str, Method]:
    """Return the methods of these names, or the usual ones if there are none; raises `UsageProblem`, nearest names first."""
    asked = list(dict.fromkeys(names))
    for name in asked:
        if name not in METHODS:
            raise UsageProblem(
                f"No method is called {plain(name)!r}.",
                allowed_names(name, METHODS),
                "Without --method all that fit are tried.",
            )
    return {name: METHODS[name] for name in asked} if asked else {name: one for name, one in METHODS.items() if one.usual}
