"""Write explanations into a study folder in the exact format of the house; run no model.

The maps come from simple code of its own: a spot where the picture has most contrast, clearer in later layers, drowned in noise in
early ones. Contestants differ by family in the methods that apply. ``python make_explained.py STUDY`` adds them and draws the report.
"""

from __future__ import annotations

import base64
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.tables import read_manifest
from fieldguide.errors import PictureError
from fieldguide.files import read_toml, write_json

Array = NDArray[Any]

TITLES = {
    "attention": "Attention of the class token",
    "rollout": "Attention rollout",
    "attention-gradient": "Attention times gradient",
    "scan-attention": "Attention of the scans",
    "scan-gradient": "Scan attention times gradient",
    "gradcam": "Grad-CAM",
    "scorecam": "Score-CAM",
    "occlusion": "Occlusion",
}


@dataclass(frozen=True)
class Kind:
    """A method as a family has it: names of the layers, cells along a side."""

    method: str
    layers: tuple[str, ...]
    side: int
    signed: bool = False


def _blocks(count: int) -> tuple[str, ...]:
    return tuple(f"block {position}" for position in range(count))


_OCCLUSION = Kind("occlusion", ("whole network",), 10, True)
_TRANSFORMER = (
    Kind("attention", _blocks(12), 14),
    Kind("attention-gradient", _blocks(12), 14),
    Kind("rollout", ("all blocks",), 14),
    _OCCLUSION,
)
_CNN = (Kind("gradcam", ("stage 0", "stage 1", "stage 2", "stage 3"), 7), Kind("scorecam", ("stage 3",), 7), _OCCLUSION)
_SCANS = (Kind("scan-attention", ("stage 0", "stage 1", "stage 2", "stage 3"), 14), _OCCLUSION)
NO_ATTENTION = {
    "method": "attention",
    "why": "this network has no attention over the whole picture",
    "instead": ["gradcam", "occlusion"],
}


@dataclass(frozen=True)
class Plan:
    """How many pictures, and how large everything is; with `names` the layers and sentences say these, however evil.

    `skip` are a contestant and a picture without explanation; the maps of a `blind` contestant are no better than random.
    """

    pictures: int = 6
    seed: int = 3
    names: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] | None = None
    skip: frozenset[tuple[str, int]] = frozenset()
    blind: frozenset[str] = frozenset({"linear"})


def explain(folder: Path, reader: Any, plan: Plan = Plan()) -> list[str]:
    """Add explanations to the study in `folder` and return the keys of the pictures."""
    manifest = read_manifest(folder / "manifest.parquet")
    test = manifest.part("test")
    keys = [row.key for row in test[:: max(1, len(test) // plan.pictures)]][: plan.pictures]
    labels = {row.key: row.label for row in test}
    why = ("missed by all", "missed by most", "the contestants disagree", "all are right", *plan.names)
    pictures = [{"image": key, "why": why[place % len(why)]} for place, key in enumerate(keys)]
    write_json(folder / "explained.json", {"schema": 1, "pictures": pictures})
    runs = sorted(path for path in (folder / "runs").iterdir() if path.is_dir())
    spots = {key: interest(reader, key) for key in keys}
    for place, run in enumerate(runs):
        settings = read_toml(run / "settings.toml")
        if not (run / "scores.json").exists():
            continue
        for number, key in enumerate(keys):
            if (settings["name"], number) in plan.skip:
                continue
            rng = np.random.default_rng((plan.seed, place, number))
            kinds = plan.kinds or kinds_of(str(settings["family"]), str(settings["name"]))
            where = spots[key] if settings["name"] not in plan.blind else np.zeros((56, 56))
            told = explanation(key, labels[key], manifest.classes, kinds, where, rng)
            write_json(run / "explained" / f"{key}.json", renamed(told, plan.names))
    return keys


def kinds_of(family: str, name: str) -> tuple[Kind, ...]:
    """Return the methods that fit a family."""
    if family == "vmamba":
        return _SCANS
    if family in ("linear", "vlm_prompt", "vlm_lora"):
        return (_OCCLUSION,)
    if family == "backbone" and "vit" not in name:
        return _CNN
    return _TRANSFORMER if family in ("backbone", "text_adapter", "dual_encoder") else (*_CNN[:1], _OCCLUSION)


def interest(reader: Any, key: str, side: int = 56) -> Array:
    """Return ``"side side"``: where the picture has contrast, nearer the middle more; what maps are made from."""
    try:
        pixels = reader.read(key, 160).astype(float).mean(2)
    except (PictureError, KeyError, OSError):
        pixels = np.random.default_rng(len(key)).random((side, side))
    rows = np.linspace(0, pixels.shape[0] - 1, side).astype(int)
    columns = np.linspace(0, pixels.shape[1] - 1, side).astype(int)
    small = pixels[np.ix_(rows, columns)]
    edges = np.hypot(*np.gradient(small))
    for _ in range(12):
        edges = sum(np.roll(edges, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) / 9
    y, x = np.mgrid[0:side, 0:side] / (side - 1) - 0.5
    found: Array = edges * np.exp(-(x**2 + y**2) / 0.16)
    return found / found.max()


def explanation(
    key: str, label: str | None, classes: tuple[str, ...], kinds: tuple[Kind, ...], where: Array, rng: np.random.Generator
) -> dict[str, Any]:
    """Return one contestant's file for one picture."""
    right = label is not None and rng.random() < 0.5
    answer = label if right else classes[int(rng.integers(len(classes)))]
    runner = next(name for name in (classes[int(rng.integers(len(classes)))], *classes) if name != answer)
    cnn = any(kind.method == "gradcam" for kind in kinds)
    return {
        "schema": 1,
        "image": key,
        "label": label,
        "answer": answer,
        "runner_up": runner,
        "probability": None if len(kinds) == 1 else float(rng.uniform(0.3, 0.99)),
        "gap": float(rng.gamma(2.0, 1.2)),
        "width": 500,
        "height": 375,
        "seen": [0.125, 0.0, 0.875, 1.0] if cnn else [0.0, 0.0, 1.0, 1.0],
        "passes": 412,
        "seconds": 3.1,
        "maps": [drawn(kind, where, rng) for kind in kinds],
        "not_applicable": [dict(NO_ATTENTION)] if cnn else [],
    }


def drawn(kind: Kind, where: Array, rng: np.random.Generator) -> dict[str, Any]:
    """Return one map: noise in early layers, the spot in later ones."""
    side, count = kind.side, len(kind.layers)
    step = where.shape[0] / side
    grid = ((np.arange(side) + 0.5) * step).astype(int)
    spot = where[np.ix_(grid, grid)]
    planes, checks = [], []
    for layer in range(count):
        depth = 1.0 if count == 1 else layer / (count - 1)
        clear = float(np.clip(0.1 + depth * rng.uniform(0.7, 1.2), 0, 1)) if spot.any() else 0.0
        plane = clear * spot ** (0.6 + depth) + (1 - clear) * rng.random((side, side)) ** 3
        if kind.signed:
            plane = plane - 0.35 * np.roll(spot, side // 2, 1) - 0.1
        planes.append(plane)
        checks.append(check(clear, kind, rng))
    values = np.stack(planes)
    low, high = values.min((1, 2)), values.max((1, 2))
    bytes_ = np.rint(255 * (values - low[:, None, None]) / (high - low)[:, None, None]).astype(np.uint8)
    return {
        "method": kind.method,
        "title": TITLES.get(kind.method, kind.method),
        "layers": list(kind.layers),
        "height": side,
        "width": side,
        "signed": kind.signed,
        "bytes": base64.b64encode(bytes_.tobytes()).decode(),
        "low": low.tolist(),
        "high": high.tolist(),
        "checks": checks,
        "seconds": 0.8,
    }


def check(clear: float, kind: Kind, rng: np.random.Generator, steps: int = 11) -> dict[str, Any]:
    """Return one check: the clearer the map, the wider the gap between the lines."""
    x = np.linspace(0, 1, steps)
    deletion = 2.4 * (1 - x ** (1.0 - 0.75 * clear)) - 0.5 * x + rng.normal(0, 0.06, steps)
    insertion = 2.9 * x ** (1.0 - 0.75 * clear) - 0.5 + rng.normal(0, 0.06, steps)
    score = float(np.trapezoid(insertion - deletion, x)) - 0.4
    orders = sorted(rng.normal(0.0, 0.3, 19).tolist())
    at_least = 1 + sum(order >= score for order in orders)
    better = at_least == 1
    moved = None if kind.method == "occlusion" and rng.random() < 0.3 else bool(rng.random() > 0.12)
    sentence = (
        "Covering what it marks first lowers the gap faster than all of 19 random orders"
        if better
        else f"Covering what it marks first lowers the gap no faster than {at_least - 1} of 19 random orders"
    )
    sentence += {
        None: ".",
        True: "; with shuffled weights the map is another one.",
        False: "; with shuffled weights it stays.",
    }[moved]
    return {
        "deletion": deletion.round(3).tolist(),
        "insertion": insertion.round(3).tolist(),
        "score": score,
        "random": orders,
        "p": at_least / 20,
        "better": better,
        "control": None if moved is None else 0.12 if moved else 0.94,
        "moved": moved,
        "sentence": sentence,
    }


def renamed(told: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return `told` with `names` wherever a text stands, so that nothing there is harmless."""
    for place, name in enumerate(names):
        for one in told["maps"]:
            one["title"] = f"{one['title']} {names[0]}"
            one["layers"] = [f"{layer} {name}" if at % len(names) == place else layer for at, layer in enumerate(one["layers"])]
            one["checks"][place % len(one["checks"])]["sentence"] += f" {name}"
        for one in told["not_applicable"]:
            one.update(why=f"{one['why']} {name}", instead=[*one["instead"], name])
    return told


if __name__ == "__main__":
    from fieldguide.data.store import Store
    from fieldguide.report.build import build

    place = Path(sys.argv[1])
    store = Store(place / "store")
    explain(place, store)
    build(place, store)
