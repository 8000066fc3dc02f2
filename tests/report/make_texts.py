"""Write what the section on texts reads into a study folder, in the exact formats of the house; run no model.

Curves come from simple code of its own: accuracy grows with the logarithm of pictures a class, texts are worth some pictures, a
mixture at a fixed total costs what it replaces. ``python make_texts.py STUDY [plain|evil|large]`` adds them and draws the report.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fieldguide.data.tables import read_manifest
from fieldguide.files import write_json

EVIL = ("<script>alert(3)</script>", '" onload="alert(3)', "</svg><img src=x>", "rtl \u202etxt.exe", "null\x00byte", "{{7*7}}")
RATIOS = (100, 90, 80, 70, 60, 50, 40, 30, 20, 10, 0)
MEASURES = (
    *("gap", "cosine"),
    *(f"{way}_{k}" for way in ("text_to_image", "image_to_text") for k in (1, 5, 10)),
    *("r2", "variance_ratio", "effective_rank", "mmd", "frechet", "auc", "class_accuracy", "line_accuracy", "zero_shot"),
)


@dataclass(frozen=True)
class Plan:
    """What to write; `evil` puts hostile words wherever a study could hold words."""

    sources: tuple[str, ...] = ("captions", "described")
    translators: tuple[str, ...] = ("ridge", "procrustes")
    selections: tuple[str, ...] = ("balanced", "uniform")
    heads: tuple[str, ...] = ("ridge", "softmax")
    ratios: tuple[int, ...] = RATIOS
    seeds: tuple[int, ...] = (0, 1, 2)
    per_class: int = 30
    evil: bool = False
    reference: bool = False


LARGE = Plan(translators=("ridge", "memory", "qformer"), heads=("ridge", "gda", "softmax"))


def add_texts(folder: Path, plan: Plan = Plan()) -> None:
    """Write all files of the section."""
    classes = read_manifest(folder / "manifest.parquet").classes
    write_json(folder / "text_ratio.json", ratio(len(classes), plan))
    write_json(folder / "translation.json", translation(plan))
    write_json(folder / "text_ways.json", ways(plan))
    write_sources(folder, plan)


def _bad(plan: Plan, at: int, otherwise: str) -> str:
    return EVIL[at % len(EVIL)] if plan.evil else otherwise


def accuracy(pictures: float, worth: float, head: str, lost: float = 0.0) -> float:
    """Return an accuracy for so many pictures a class and texts that are worth some."""
    skill = {"ridge": 0.0, "gda": 0.015, "softmax": -0.02}.get(head, 0.0)
    total = max(pictures + worth, 0.02)
    return min(0.97, max(0.01, 0.62 + skill + 0.075 * math.log(total) - lost))


def ratio(classes: int, plan: Plan) -> dict[str, Any]:
    """Return ``text_ratio.json``."""
    random = np.random.default_rng(3)
    summary, differences, worth, cells = [], [], [], []
    for selection, head in itertools.product(plan.selections, plan.heads):
        thin = {"balanced": 0.0, "uniform": 0.03}.get(selection, 0.06)
        for image in plan.ratios:
            per = plan.per_class * image / 100
            if image:
                base = accuracy(per, 0, head, thin * (100 - image) / 100)
                summary.append(_mean("pictures", selection, None, None, head, image, base, random, plan))
                cells += _cells("pictures", (selection, None, None, head, image), base, classes, plan)
            for place, (source, translator) in enumerate(itertools.product(plan.sources, plan.translators)):
                value = 0.8 + 0.9 * (place % 3)
                lost = 0.10 * (1 - image / 100)
                for curve, here in (
                    ("mix", accuracy(per, value, head, thin + lost) if image < 100 else None),
                    ("weighted", accuracy(per, value, head, thin * (100 - image) / 100)),
                ):
                    if here is None:
                        continue
                    summary.append(_mean(curve, selection, source, translator, head, image, here, random, plan))
                    cells += _cells(curve, (selection, source, translator, head, image), here, classes, plan)
                    if image:
                        gap = here - base
                        p = min(1.0, math.exp(-abs(gap) * 400))
                        told = {"difference": gap, "low": gap - 0.012, "high": gap + 0.012, "p": p / 3, "p_adjusted": p}
                        differences.append(
                            {
                                **_where(curve, selection, source, translator, head, image),
                                **told,
                            }
                        )
        for place, (source, translator) in enumerate(itertools.product(plan.sources, plan.translators)):
            worth += [_worth(place, selection, source, translator, head, image, plan) for image in plan.ratios if image < 100]
    told = {
        "schema": 1,
        "encoder": _bad(plan, 0, "hf/openai/clip-vit-base-patch32"),
        "text_model": _bad(plan, 1, "hf/openai/clip-vit-base-patch32"),
        "described": "weights of the hub, revision 3d74acf",
        "normalisation": "l2",
        "ratios": list(plan.ratios),
        "seeds": list(plan.seeds),
        "total": classes * plan.per_class,
        "classes": classes,
        "test": 579,
        "selections": list(plan.selections),
        "sources": list(plan.sources),
        "translators": list(plan.translators),
        "heads": list(plan.heads),
        "cells": cells,
        "summary": summary,
        "differences": differences,
        "worth": worth,
        "headline": worth[-2]["sentence"],
        "leaks": [
            {
                "source": plan.sources[0],
                "translator": plan.translators[0],
                "why": _bad(plan, 2, "pairs of the same class taught it"),
            }
        ],
        "seconds": {"encode": 31.2, "closed form": 4.4, "softmax": 62.0},
        "notes": [_bad(plan, 3, "Of 12 classes one has no text.")],
    }
    return {**told, "reference": REFERENCE} if plan.reference else told


REFERENCE: dict[str, Any] = {
    "what": "test accuracy on CUB-200-2011, frozen CLIP encoders of unstated size, one fully connected layer",
    "source": "E2, as told in its slides.",
    "rows": [
        {"image": 100, "pictures": {"balanced": 85.07, "uniform": 84.80}, "sources": {}},
        {
            "image": 50,
            "pictures": {"balanced": 84.23, "uniform": 79.81},
            "sources": {"captions": {"balanced": 77.64, "uniform": 82.52}, "language model": {"balanced": 78.68}},
        },
        {
            "image": 0,
            "pictures": {},
            "sources": {"captions": {"balanced": 24.12, "uniform": 27.67}, "language model": {"balanced": 23.78}},
        },
    ],
}


def _where(curve: str, selection: str, source: str | None, translator: str | None, head: str, image: int) -> dict[str, Any]:
    names = ("curve", "selection", "source", "translator", "head", "image")
    return dict(zip(names, (curve, selection, source, translator, head, image), strict=True))


def _mean(
    curve: str,
    selection: str,
    source: str | None,
    translator: str | None,
    head: str,
    image: int,
    value: float,
    random: Any,
    plan: Plan,
) -> dict[str, Any]:
    half = 0.006 + 0.02 * (1 - image / 100) + random.uniform(0, 0.004)
    where = _where(curve, selection, source, translator, head, image)
    return {**where, "mean": value, "low": value - half, "high": min(1.0, value + half), "seeds": len(plan.seeds)}


def _cells(curve: str, where: tuple[Any, ...], value: float, classes: int, plan: Plan) -> list[dict[str, Any]]:
    selection, image = where[0], where[-1]
    per = round(plan.per_class * image / 100)
    empty = round(classes * (1 - image / 100) ** 6 * 0.4) if selection != "balanced" else 0
    return [
        {
            **_where(curve, *where),
            "seed": seed,
            "accuracy": value + 0.002 * (place - 1),
            "val_accuracy": value + 0.01,
            "weight": 0.3 if curve == "weighted" else None,
            "pictures": per * classes,
            "texts": (plan.per_class - per) * classes if curve != "pictures" else 0,
            "classes_present": classes - empty if image else 0,
            "fewest": 0 if empty or not image else per if selection == "balanced" else max(1, per - 6),
            "most": per if selection == "balanced" else per + 7,
        }
        for place, seed in enumerate(plan.seeds)
    ]


def _worth(place: int, selection: str, source: str, translator: str, head: str, image: int, plan: Plan) -> dict[str, Any]:
    value, each = 0.8 + 0.9 * (place % 3), plan.per_class * image / 100
    where = {**_where("weighted", selection, source, translator, head, image), "per_class": each}
    begun = f"Beside {each:.1f} pictures a class" if image else "Without any picture"
    who = _bad(plan, place, f"your descriptions ({source}, through {translator})")
    if place == 1:
        sentence = f"{begun}, {who} are worth no further picture [0 to 1.2]."
        return {**where, "value": None, "low": 0.0, "high": 1.2, "state": "less than the smallest step", "sentence": sentence}
    low, high = value - 0.5, value + 0.7
    sentence = f"{begun}, {who} are worth {value:.1f} more pictures a class [{low:.1f} to {high:.1f}]."
    return {**where, "value": value, "low": low, "high": high, "state": "value", "sentence": sentence}


_SHAPE: dict[str, tuple[float, ...]] = {  # direct, shift, ridge, procrustes, ceiling, floor
    "gap": (0.82, 0.04, 0.16, 0.05, 0.03, 0.17),
    "cosine": (0.08, 0.08, 0.21, 0.17, 0.30, -0.01),
    "text_to_image_1": (0.21, 0.21, 0.24, 0.30, 0.66, 0.01),
    "r2": (-2.1, -0.4, 0.22, 0.09, 0.31, -0.35),
    "variance_ratio": (0.7, 0.7, 0.35, 0.92, 1.01, 0.35),
    "effective_rank": (48.0, 48.0, 21.0, 48.0, 96.0, 21.0),
    "mmd": (0.31, 0.05, 0.06, 0.02, 0.0004, 0.06),
    "frechet": (0.9, 0.31, 0.35, 0.18, 0.04, 0.36),
    "auc": (1.0, 0.99, 0.93, 0.88, 0.51, 0.93),
    "class_accuracy": (0.4, 0.35, 0.72, 0.66, 0.99, 0.0),
    "zero_shot": (0.44, 0.43, 0.52, 0.47, 0.9, 0.01),
}


def translation(plan: Plan) -> dict[str, Any]:
    """Return ``translation.json``: a card for the first two sources, the second of an encoder without a direct bar."""
    cards = []
    for at, source in enumerate(plan.sources):
        rows = []
        names = (("untranslated", "direct", 0), ("shift", "translator", 1), ("ridge", "translator", 2))
        names += (("procrustes", "translator", 3), ("real pictures", "ceiling", 4), ("ridge, classes permuted", "floor", 5))
        for name, role, place in names:
            if role == "direct" and at:
                continue
            row: dict[str, Any] = {"name": _bad(plan, place, name), "role": role}
            row |= {measure: _measured(measure, place) for measure in MEASURES}
            if role == "ceiling":
                why = "another picture of the class is not the picture that a caption tells of"
                row["text_to_image_1"] = {"value": None, "low": None, "high": None, "why": _bad(plan, 4, why)}
            if role == "translator" and not at:
                gap = _SHAPE["zero_shot"][place] - _SHAPE["zero_shot"][0]
                row["bar"] = {
                    "difference": gap,
                    "low": gap - 0.03,
                    "high": gap + 0.03,
                    "p": 0.001,
                    "p_adjusted": 0.002 if gap > 0.05 else 0.4,
                }
            rows.append(row)
        pairs = {
            "where": _bad(plan, 5, "captions of validation pictures"),
            "train": 5994,
            "held_out": 600,
            "crossed": "not crossed",
        }
        notes = [_bad(plan, 0, "mlp: not learned, no pair to learn from.")]
        cards.append({"source": source, "target": "picture", "pairs": pairs, "rows": rows, "notes": notes})
    return {"schema": 1, "encoder": "drawn", "text_model": _bad(plan, 1, "drawn"), "cards": cards, "notes": []}


def _measured(measure: str, place: int) -> dict[str, Any]:
    base = measure.rstrip("0123456789").rstrip("_")
    shape = _SHAPE.get(measure) or (_SHAPE["text_to_image_1"] if base.endswith(("image", "text")) else _SHAPE["class_accuracy"])
    value = (
        min(1.0, shape[place] * (1 + 0.4 * measure.endswith("_5") + 0.7 * measure.endswith("_10")))
        if measure not in _SHAPE
        else shape[place]
    )
    told: dict[str, Any] = {"value": value, "low": value - 0.02, "high": value + 0.02, "why": None}
    if measure in ("effective_rank", "mmd", "frechet"):
        told |= {"low": None, "high": None, "why": "depends on the number of rows; the ceiling has as many"}
    chance = {"mmd": 0.0011, "auc": 0.5}.get(
        measure, 0.003 if "to_" in measure or "accuracy" in measure or measure == "zero_shot" else None
    )
    return told if chance is None else {**told, "chance": chance}


def ways(plan: Plan) -> dict[str, Any]:
    """Return ``text_ways.json``."""
    rows, tests = [], []
    for place, contestant in enumerate((_bad(plan, 1, "clip-b32"), "clip-l14")):
        for way, share in (("name", 0.51), ("name+texts", 0.53), ("texts", 0.14)):
            value = share + 0.1 * place
            rows.append(
                {"contestant": contestant, "way": way, "accuracy": value, "low": value - 0.03, "high": value + 0.03, "n": 579}
            )
        for a, b, gap, half, p, outcome in (
            ("name+texts", "name", 0.02, 0.03, 0.21, "not distinguishable"),
            ("texts", "name", -0.37, 0.04, 1e-20, "b better"),
            ("texts", "name+texts", -0.39, 0.04, 1e-22, "b better"),
        ):
            told = {"difference": gap, "low": gap - half, "high": gap + half, "p": p / 3, "p_holm": p, "outcome": outcome}
            tests.append({"contestant": contestant, "a": a, "b": b, **told})
    return {"schema": 1, "rows": rows, "tests": tests}


def write_sources(folder: Path, plan: Plan) -> None:
    """Write ``texts/*.jsonl``: captions for most pictures and lines for all classes but one."""
    manifest = read_manifest(folder / "manifest.parquet")
    place = folder / "texts"
    place.mkdir(exist_ok=True)
    lines: list[dict[str, Any]] = [
        {"schema": 1, "made": {"by": _bad(plan, 0, "a caption file"), "from": "/home/somebody/captions"}}
    ]
    lines += [
        {"image": row.key, "text": _bad(plan, at, "a bird on a branch")} for at, row in enumerate(manifest.part()) if at % 5
    ]
    _jsonl(place / "captions.jsonl", lines)
    lines = [{"schema": 1, "made": {"by": "a language model"}}]
    for at, id in enumerate(manifest.classes[1:]):
        lines += [{"class": id, "field": "beak", "text": _bad(plan, at, f"a bird with a beak of kind {at}")}]
        lines += [{"class": id, "text": _bad(plan, at + 1, "a bird with two wings")}]
    _jsonl(place / "described.jsonl", lines)
    write_json(place / "described.doctor.json", doctor(manifest.classes, plan))


FAULTS = {
    "names_class": "names its class",
    "not_visible": "states what no picture shows",
    "shared": "is said word for word of another class, too",
    "beyond_context": "is longer than the encoder reads",
    "contradicts": "is less like pictures of its class than like those of its nearest rival",
}
CONTROLS = {
    "names": ("names alone", 0.51),
    "names_texts": ("names and descriptions", 0.53),
    "texts": ("descriptions alone", 0.16),
    "names_random": ("names and as many random words", 0.50),
    "names_permuted": ("names and descriptions of other classes", 0.44),
    "permuted": ("descriptions of other classes alone", 0.09),
}


def doctor(classes: tuple[str, ...], plan: Plan, encoder: bool = True) -> dict[str, Any]:
    """Return ``described.doctor.json``; without `encoder` nothing was measured."""
    lines: list[dict[str, Any]] = []
    for at, id in enumerate(classes[1:]):
        auc = 0.42 + 0.5 * at / max(1, len(classes))
        worth = {
            "rival": classes[at],
            "own": 20,
            "against": 20,
            "auc": auc,
            "low": auc - 0.1,
            "high": auc + 0.1,
            "rest": 0.7,
            "p": 0.4,
        }
        findings = (
            [{"code": "shared", "detail": _bad(plan, at + 3, "the class before it"), "group": None}] if at % 3 == 0 else []
        )
        text = _bad(plan, at, f"a small bird with a beak of kind {at}, white wing bars and a long tail that is often raised")
        lines.append(
            {
                "class": id,
                "at": 0,
                "text": text,
                "field": None,
                "findings": findings,
                "worth": {**worth, "contradicts": at == 0} if encoder else None,
            }
        )
    totals = {
        code: {"lines": at if code != "beyond_context" else None, "what": what}
        for at, (code, what) in enumerate(FAULTS.items())
    }
    rows = {way: {"value": v, "low": v - 0.03, "high": v + 0.03, "n": 579, "draws": 1} for way, (_, v) in CONTROLS.items()}
    controls = {
        "part": "validation pictures",
        "pictures": 579,
        "chance": 1 / len(classes),
        "classes": len(classes),
        "silent": [classes[0]],
        "cut": 4,
        "rows": rows,
        "titles": {way: _bad(plan, at, title) for at, (way, (title, _)) in enumerate(CONTROLS.items())},
        "differences": [],
        "sentence": _bad(
            plan, 0, "The descriptions tell classes apart: alone, against those of other classes, +7.0 points [+4.1 to +9.8]."
        ),
    }
    seen = {"model": _bad(plan, 2, "drawn"), "described": "", "how": "the model's own text half", "train": 400, "context": 77}
    return {
        "schema": 1,
        "texts": "described",
        "fingerprint": "0",
        "classes": len(classes) - 1,
        "lines": lines,
        "totals": totals,
        "groups": {},
        "encoder": seen if encoder else None,
        "controls": controls if encoder else None,
    }


def _jsonl(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    from fieldguide.report.build import build

    sys.path.insert(0, str(Path(__file__).parent))
    import make_study

    target, kind = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "plain"
    names = {"plain": make_study.ANIMALS, "evil": make_study.EVIL, "large": tuple(f"species {i}" for i in range(200))}[kind]
    if not (target / "manifest.parquet").exists():
        make_study.make_study(target, make_study.Plan(names=names, per_class=(4, 2, 3)))
    add_texts(target, {"plain": Plan(reference=True), "evil": Plan(evil=True), "large": LARGE}[kind])
    build(target, make_study.FakeReader(60))
