"""Write a study folder in the exact formats of the house, with contestants that really disagree; run no model.

The numbers come from simple code of its own: shared difficulty of each picture, a skill for each contestant, a few classes
that look alike. ``python make_study.py FOLDER`` writes one to look at.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from fieldguide.data.classes import write_classes
from fieldguide.data.measures import Measure, write_measures
from fieldguide.data.tables import freeze, write_manifest, write_predictions
from fieldguide.errors import PictureError
from fieldguide.evaluate import kinds, slices
from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.causes import causes
from fieldguide.evaluate.reliability import abstention, reliability
from fieldguide.files import write_json, write_toml
from fieldguide.records import SPLITS, ClassInfo, Manifest, ManifestRow, Prediction

Array = NDArray[Any]

EVIL = (
    "<script>alert(1)</script>",
    '" onerror="alert(1)',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "{{7*7}}",
    "</style></script><img src=x>",
    "شخص",
    "三毛猫",
    "🐈\u200d⬛ cat",
    "rtl \u202etxt.exe",
    "=cmd()",
    "null\x00byte",
)
ANIMALS = ("badger", "bat", "bee", "beetle", "boar", "cat", "coyote", "jellyfish", "snail", "whale")


@dataclass(frozen=True)
class Entry:
    """One contestant: `skill` 0 to 6, `state` where it has no scores, `epochs`, share of `failures`, training accuracy, `more` settings."""

    name: str
    family: str
    skill: float = 2.0
    state: str = "scored"
    epochs: int = 0
    failures: float = 0.0
    probabilities: bool = True
    train: float | None = None
    more: dict[str, Any] = field(default_factory=dict)
    kind: str = ""
    speed: float = 1.0


#: Settings of a network used in two ways: its frozen features, and all of it fine-tuned.
FROZEN = {"features": "vit_small_patch16_224.dino"}
TUNED = {"model": "vit_small_patch16_224", "weights": "hub", "train": "all"}
ENTRIES = (
    Entry("vit_small", "backbone", 4.4, epochs=24, train=1.0, more=TUNED, kind="attention"),
    Entry("resnet_tiny", "backbone", 4.2, epochs=18, train=0.82, kind="convolution"),
    Entry("clip_adapter", "text_adapter", 3.4, epochs=8),
    Entry("linear", "linear", 2.2, more=FROZEN),
    Entry("talker", "vlm_prompt", 3.0, failures=0.06, probabilities=False),
    Entry("majority", "majority", 0.0),
    Entry("mamba", "vmamba", state="failed"),
    Entry("qwen_lora", "vlm_lora", state="not run"),
)


#: Fourteen networks of three kinds, a floor and a talker: what a comparison of kinds is about.
ZOO = (
    *(Entry(f"cnn_{i}", "backbone", 5.2 + i / 6, epochs=6, kind="convolution", speed=0.2 + i * 7 % 5) for i in range(8)),
    *(Entry(f"swin_{i}", "backbone", 6.0 + i / 4, epochs=6, kind="attention", speed=0.4 + i % 2) for i in range(3)),
    *(Entry(f"vmamba_{i}", "vmamba", 6.6 + i / 3, epochs=6, speed=0.1 + i / 9) for i in range(3)),
    Entry("talker", "vlm_prompt", 4.0, failures=0.06, probabilities=False, speed=0.01),
    Entry("pixels", "linear", 2.5),
    Entry("majority", "majority", 0.0),
)


@dataclass(frozen=True)
class Plan:
    """What to write: class names, pictures of a class in train, val and test, and the contestants."""

    names: tuple[str, ...] = ANIMALS
    per_class: tuple[int, int, int] = (42, 9, 9)
    entries: tuple[Entry, ...] = ENTRIES
    side: int = 48
    seed: int = 7
    extra: dict[str, Any] = field(default_factory=dict)


class FakeReader:
    """Pictures drawn from their key: a disc on a gradient. `broken` keys cannot be read; reads are counted."""

    def __init__(self, side: int = 48, broken: frozenset[str] = frozenset()) -> None:
        self.side, self.broken = side, broken
        self.reads: Counter[str] = Counter()

    def read(self, key: str, at_least: int) -> Array:
        self.reads[key] += 1
        if key in self.broken:
            raise PictureError("not stored", "torn <b>file</b>")
        rng = np.random.default_rng(int(key[:12], 16))
        y, x = np.mgrid[0 : self.side, 0 : int(self.side * rng.uniform(0.8, 1.4))] / self.side
        one, two, three = rng.uniform(30, 220, (3, 3))
        picture = one + (two - one) * (x * rng.uniform(0, 1) + y * rng.uniform(0, 1))[..., None]
        disc = (x - rng.uniform(0.3, 0.7)) ** 2 + (y - rng.uniform(0.3, 0.7)) ** 2 < rng.uniform(0.03, 0.1)
        picture[disc] = three
        pixels: Array = np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
        return pixels


def make_study(folder: Path, plan: Plan = Plan()) -> Manifest:
    """Write the study of `plan` into `folder` and return its manifest."""
    rng = np.random.default_rng(plan.seed)
    ids = tuple(f"class {position:03d}" if position % 3 else plan.names[position] for position in range(len(plan.names)))
    manifest = freeze(list(_rows(ids, plan)), ids, 42)
    write_manifest(folder / "manifest.parquet", manifest)
    write_classes(folder / "classes.toml", [ClassInfo(label, name) for label, name in zip(ids, plan.names, strict=True)])
    write_toml(
        folder / "study.toml",
        {
            "source": "/home/somebody/photos/pond",
            "split": "70/15/15",
            "seed": 42,
            "contestants": [e.name for e in plan.entries],
            **plan.extra,
        },
    )
    rows = [*manifest.part("val"), *manifest.part("test")]
    truth = np.array([ids.index(row.label) for row in rows])
    hard = rng.gamma(1.5, 1.2, len(rows))
    alike = rng.normal(0, 0.7, (len(ids), len(ids)))
    shared = rng.normal(0, 0.8, (len(rows), len(ids)))
    right: dict[str, Array] = {}
    said: dict[str, Array] = {}
    n_val = len(manifest.part("val"))
    for entry in plan.entries:
        run = folder / "runs" / hashlib.sha256(entry.name.encode()).hexdigest()[:12]
        _write_settings(run, entry, manifest)
        if entry.state != "scored":
            write_json(run / "failed.json", _problem(entry))
            continue
        logits = shared + alike[truth] + rng.normal(0, 0.9, (len(rows), len(ids)))
        logits[np.arange(len(rows)), truth] += entry.skill * 1.6 - hard
        if entry.skill == 0:
            logits = np.zeros_like(logits)
            logits[:, 3] = 0.2
        answers = np.where(rng.random(len(rows)) < entry.failures, -1, logits.argmax(1))
        _write_run(run, entry, ids, rows, truth, answers, logits, n_val)
        right[entry.name] = (answers == truth)[n_val:]
        said[entry.name] = answers
    comparison = compared(right, ids)
    write_json(folder / "suspects.json", suspected(said, rows, truth, ids, comparison["order"][:3]))
    write_json(folder / "comparison.json", {**comparison, "subsets": subsets(right, rows[n_val:], comparison["order"])})
    write_json(folder / "causes.json", hypothesised(folder, manifest, said, truth[n_val:], hard[n_val:]))
    _write_differences(folder, plan, rows[n_val:], said, truth, ids)
    write_json(folder / "findings.json", _findings(manifest))
    write_json(
        folder / "environment.json",
        {
            "python": "3.11.7",
            "platform": "Linux x86_64",
            "cores": 2,
            "versions": {"torch": "2.15.0", "timm": "1.0.31", "fieldguide": "0.1.0"},
        },
    )
    return manifest


def _rows(ids: tuple[str, ...], plan: Plan) -> Any:
    for number, label in enumerate(ids):
        for split, size in zip(SPLITS, plan.per_class, strict=True):
            for position in range(size):
                key = hashlib.sha256(f"{plan.seed} {number} {split} {position}".encode()).hexdigest()
                notes = ("turned upright",) if position % 7 == 3 else ()
                yield ManifestRow(
                    key,
                    f"{plan.names[number]}/{split}_{position}.jpg",
                    label,
                    split,
                    width=48 + int(key[:2], 16),
                    height=48,
                    format="JPEG",
                    bytes=900,
                    notes=notes,
                    marks={2: ("leaked",), 4: ("leaked", "repeated")}.get(position, ()) if split == "test" else (),
                )
    for position in range(3):
        key = hashlib.sha256(f"{plan.seed} excluded {position}".encode()).hexdigest()
        yield ManifestRow(key, f"broken/{position}.jpg", ids[0], excluded="cut short")


def _write_settings(run: Path, entry: Entry, manifest: Manifest) -> None:
    write_toml(
        run / "settings.toml",
        {
            "name": entry.name,
            "family": entry.family,
            "spec": f"{entry.family}/{entry.name}:epochs={entry.epochs}",
            "seed": 42,
            "manifest": manifest.hash,
            "settings": {"epochs": entry.epochs, "learning_rate": 1e-3, **entry.more},
            "versions": {"torch": "2.15.0"},
        },
    )


def _problem(entry: Entry) -> dict[str, Any]:
    return {
        "schema": 1,
        "state": entry.state,
        "given": f"{entry.name} needs the package 'peft', which is not installed.",
        "allowed": "The extra 'vlm' brings it.",
        "next": "Run: pip install 'fieldguide[vlm]'",
    }


def _write_run(
    run: Path,
    entry: Entry,
    ids: tuple[str, ...],
    rows: list[ManifestRow],
    truth: Array,
    answers: Array,
    logits: Array,
    n_val: int,
) -> None:
    soft = np.exp(logits - logits.max(1, keepdims=True))
    soft /= soft.sum(1, keepdims=True)
    write_predictions(
        run / "predictions.parquet",
        [
            Prediction(
                row.key,
                ids[said] if said >= 0 else None,
                tuple(soft[i].tolist()) if entry.probabilities and said >= 0 else None,
                seconds=0.01,
                error=None if said >= 0 else "no class named in <i>the answer</i>",
                run=entry.name,
            )
            for i, (row, said) in enumerate(zip(rows, answers, strict=True))
        ],
    )
    sheets = [_sheet(entry, rows[at], truth[at], answers[at], soft[at], ids) for at in (slice(n_val), slice(n_val, None))]
    sure = {"reliability": reliability(sheets[1]), "abstention": abstention(*sheets)}
    parts = {"val": part(truth[:n_val], answers[:n_val], ids), "test": part(truth[n_val:], answers[n_val:], ids) | sure}
    write_json(run / "scores.json", {"schema": 1, "run": entry.name, "parts": parts})
    cost = {
        "fit_seconds": 3.7 * (1 + entry.skill) ** 2 / entry.speed,
        "predict_seconds": 1.9,
        "predicted": len(rows),
        "ms_per_image": 0.4 * (1 + entry.skill) ** 2 / entry.speed,
    }
    known = None if entry.skill == 0 else int(1e5 * 10 ** (entry.skill / 2))
    write_json(
        run / "cost.json",
        {
            "schema": 1,
            **cost,
            "parameters": known,
            "trained_parameters": known,
            "model_bytes": 4_000_000,
            "money": None,
            "device": "cpu",
            "precision": "fp32",
            "sittings": 1,
        },
    )
    events: list[dict[str, Any]] = [{"event": "fact", "parameters": known, "precision": "fp32"}]
    events += [{"event": "fact", "kind": entry.kind}] if entry.kind else []
    for epoch in range(entry.epochs):
        fade = math.exp(-epoch / 5)
        wobble = 0.03 * math.sin(epoch * 2.1)
        val_loss = 0.5 + 1.6 * fade + 0.004 * epoch + wobble
        events.append(
            {
                "event": "epoch",
                "epoch": epoch,
                "train_loss": 0.2 + 2.0 * fade,
                "val_loss": val_loss,
                "val_accuracy": 0.86 - 0.6 * fade - wobble / 2,
                "learning_rate": 1e-3 * fade,
                "seconds": 2.5,
            }
        )
    if entry.epochs:
        kept = {"event": "best", "epoch": entry.epochs - 3, "val_accuracy": events[-3]["val_accuracy"]}
        asked = {} if entry.train is None else {"train_accuracy": entry.train, "train_pictures": 400}
        events.append({**kept, **asked, "train_loss_plain": 0.1} if asked else kept)
    (run / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")


def _sheet(
    entry: Entry, rows: list[ManifestRow], truth: Array, answers: Array, soft: Array, ids: tuple[str, ...]
) -> AnswerSheet:
    given = np.where(answers[:, None] < 0, np.nan, soft) if entry.probabilities else None
    return AnswerSheet(entry.name, tuple(row.key for row in rows), truth, answers, given, (None,) * len(rows), ids)


def _score(value: float, n: int, k: float | None = None) -> dict[str, Any]:
    low, high = wilson(value * n if k is None else k, n)
    return {"value": value, "low": low, "high": high, "n": n, "state": "ok", "why": None}


def _absent(why: str) -> dict[str, Any]:
    return {"value": None, "low": None, "high": None, "n": None, "state": "not applicable", "why": why}


def wilson(k: float, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of k in n."""
    z, p = 1.959964, k / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def part(truth: Array, answers: Array, ids: tuple[str, ...]) -> dict[str, Any]:
    """Return one part of ``scores.json``."""
    k, n = len(ids), len(truth)
    confusion = np.zeros((k, k + 1), int)
    np.add.at(confusion, (truth, np.where(answers < 0, k, answers)), 1)
    failed = int((answers < 0).sum())
    per_class, f1s = [], []
    for i, label in enumerate(ids):
        hit, size, said = int(confusion[i, i]), int(confusion[i].sum()), int(confusion[:, i].sum())
        f1 = 2 * hit / (size + said) if size + said else 0.0
        f1s.append(f1)
        per_class.append(
            {
                "id": label,
                "n": size,
                "predicted": said,
                "precision": _score(hit / said, said) if said else _absent("never answered"),
                "recall": _score(hit / size, size),
                "f1": {"value": f1, "low": None, "high": None, "n": size, "state": "ok", "why": None},
            }
        )
    accuracy = float((truth == answers).mean())
    metrics = {
        name: _score(accuracy, n)
        for name in (
            "accuracy",
            "balanced_accuracy",
            "macro_recall",
            "weighted_recall",
            "weighted_precision",
            "macro_precision",
            "weighted_f1",
        )
    }
    metrics["macro_f1"] = _score(float(np.mean(f1s)), n)
    metrics["top5_accuracy"] = _absent("needs more than five classes") if k <= 5 else _score(min(1.0, accuracy + 0.1), n)
    metrics["log_loss"] = {"value": 0.7, "low": 0.5, "high": 0.9, "n": n, "state": "ok", "why": None}
    metrics["calibration_error"] = (
        _absent("this contestant has no probabilities")
        if failed
        else {**metrics["log_loss"], "value": 0.042, "low": None, "high": None}
    )
    return {
        "n": n,
        "correct": int((truth == answers).sum()),
        "failed": failed,
        "failures": {"no class named": failed} if failed else {},
        "metrics": metrics,
        "calibration_null": None if failed else {"mean": 0.02, "high": 0.04},
        "per_class": per_class,
        "confusion": confusion.tolist(),
    }


def compared(right: dict[str, Array], ids: tuple[str, ...]) -> dict[str, Any]:
    """Return ``comparison.json`` for the hits of each contestant on the test pictures."""
    order = sorted(right, key=lambda name: (-right[name].mean(), name))
    n = len(next(iter(right.values())))
    pairs: list[dict[str, Any]] = []
    for i, a in enumerate(order):
        for b in order[i + 1 :]:
            only_a, only_b = int((right[a] & ~right[b]).sum()), int((right[b] & ~right[a]).sum())
            off = only_a + only_b
            p = binomtest(only_a, off).pvalue if off else 1.0
            d, se = (only_a - only_b) / n, math.sqrt(off) / n
            pairs.append(
                {
                    "a": a,
                    "b": b,
                    "difference": d,
                    "low": d - 2 * se,
                    "high": d + 2 * se,
                    "only_a": only_a,
                    "only_b": only_b,
                    "p": p,
                }
            )
    running = 0.0
    for rank, pair in enumerate(sorted(pairs, key=lambda pair: pair["p"])):
        running = max(running, min(1.0, pair["p"] * (len(pairs) - rank)))
        few = pair["only_a"] + pair["only_b"] < 6
        pair["p_holm"] = running
        pair["outcome"] = (
            "too few pictures to tell"
            if few
            else "not distinguishable"
            if running >= 0.05
            else "a better"
            if pair["difference"] > 0
            else "b better"
        )
    real = {(pair["a"], pair["b"]) for pair in pairs if pair["outcome"] == "a better"}
    group = [name for name in order if (order[0], name) not in real]
    letters = {name: "a" if name in group else "bcdefghijklmn"[min(12, order.index(name) - len(group))] for name in order}
    low, high = wilson(right[order[0]].sum(), n)
    return {
        "schema": 1,
        "n": n,
        "classes": len(ids),
        "alpha": 0.05,
        "chance": {"accuracy": 1 / len(ids), "how": f"always answering the commonest training class, which is '{ids[3]}'"},
        "order": order,
        "chosen": order[0],
        "pairs": pairs,
        "letters": letters,
        "leader_group": group,
        "above_chance": {name: bool(wilson(right[name].sum(), n)[0] > 1 / len(ids)) for name in order},
        "power": {
            "discordance": 0.12,
            "single": 0.05,
            "corrected": 0.07,
            "sentence": f"With {n} test pictures you can tell apart models that differ by 5.1 points or more.",
        },
        "verdict": f"{order[0]} leads with {100 * right[order[0]].mean():.1f} % [{100 * low:.1f}\u2013{100 * high:.1f}]; "
        + (f"not distinguishable from {', '.join(group[1:])}." if group[1:] else f"the difference from {order[1]} is real.")
        if len(order) > 1
        else f"{order[0]} is the only contestant.",
    }


def suspected(said: dict[str, Array], rows: list[ManifestRow], truth: Array, ids: tuple[str, ...], judges: list[str]) -> Any:
    """Return ``suspects.json``: what the first of `judges` has wrong, as many as are asked of a gallery that is folded."""
    lines = []
    for i, row in enumerate(rows):
        best = int(said[judges[0]][i])
        if best not in (-1, truth[i]) and len(lines) < 20:
            agree = sum(int(said[name][i]) == best for name in judges)
            told = {"given": row.label, "suggested": ids[best], "quality": 0.01 + len(lines) / 40}
            lines.append({"image": row.key, **told, "agree": agree, "of": len(judges)})
    state = "found" if lines else "fine"
    return {"schema": 1, "state": state, "why": None, "from": judges, "pictures": len(rows), "suspects": lines}


def hypothesised(folder: Path, manifest: Manifest, said: dict[str, Array], truth: Array, hard: Array) -> dict[str, Any]:
    """Write measures in which hard pictures have little contrast and return ``causes.json``; one picture is set by hand."""
    rows, ids, rng = manifest.part("test"), manifest.classes, np.random.default_rng(5)
    low = 0.9 - 0.12 * hard + rng.normal(0, 0.08, len(rows))
    blank = np.ones(64) / 64
    measures = {
        row.key: Measure(
            contrast=float(np.clip(low[i], 0.02, 1)),
            clutter=float(rng.beta(2, 5)),
            subject=float(rng.beta(2, 4)),
            cut=float(rng.beta(1, 6)),
            parts=1 + int(rng.random() < 0.15),
            drawing=float(rng.random() < 0.04),
            sharpness=float(rng.beta(5, 3)),
            colours=tuple((0.5 * blank + 0.5 * rng.dirichlet(np.where(np.arange(64) % len(ids) == truth[i], 2, 0.2))).tolist()),
        )
        for i, row in enumerate(rows)
    }
    write_measures(folder / "measures.parquet", measures)
    wrong = [row for i, row in enumerate(rows) if any(answers[-len(rows) :][i] != truth[i] for answers in said.values())]
    first = [*wrong, *rows][0]
    own = {"causes": {"blurred": {"name": "out of <b>focus</b>"}, "at night": {}}}
    by_hand = {first.key: {"causes": ["several objects", "at night"], "note": "two <i>of them</i>"}}
    write_toml(folder / "causes.toml", {**own, "pictures": by_hand})
    sheets = [
        AnswerSheet(name, tuple(row.key for row in rows), truth, answers[-len(rows) :], None, (None,) * len(rows), ids)
        for name, answers in said.items()
    ]
    return causes(folder, manifest, sheets, 0.05)


def subsets(right: dict[str, Array], test: list[ManifestRow], order: list[str]) -> list[dict[str, Any]]:
    """Return the part of ``comparison.json`` that counts with and without."""
    masks = {code: np.array([code in row.marks for row in test]) for code in ("leaked", "repeated", "burst")}
    titles = {"leaked": "Also in train", "repeated": "Repeated", "burst": "Of one scene", "all": "All of these"}
    masks["all"] = masks["leaked"] | masks["repeated"]
    told = []
    for code, mask in masks.items():
        count = int(mask.sum())
        runs = {}
        for name, hits in right.items() if count else ():
            with_them, without = float(hits.mean()), float(hits[~mask].mean())
            scores = {"with": _score(with_them, len(hits)), "without": _score(without, len(hits) - count)}
            runs[name] = {**scores, "change": without - with_them}
        sentence = f"{count} test pictures, says {order[0]}: 91.0 % with them, 88.7 % without." if count else "No test picture."
        state = "found" if count else "fine"
        head = {"code": code, "state": state, "n": count, "title": titles[code], "sentence": sentence}
        told.append({**head, "runs": runs, "order_changes": False, "swapped": None})
    skipped = {"state": "skipped", "n": 0, "runs": {}, "order_changes": False, "swapped": None}
    told.insert(3, {"code": "suspects", "title": "Label suspects", "sentence": "Not known: nobody could say.", **skipped})
    return told


def _write_differences(
    folder: Path, plan: Plan, test: list[ManifestRow], said: dict[str, Array], truth: Array, ids: tuple[str, ...]
) -> None:
    """Write ``kinds.json`` and ``slices.json``; of a picture's measures a number drawn from its key stands in."""
    keys = tuple(row.key for row in test)
    errors = (None,) * len(test)
    own = {entry.name: kinds.kind_of(entry.family, {"kind": entry.kind} if entry.kind else {}) for entry in plan.entries}
    sheets = [
        AnswerSheet(name, keys, truth[-len(test) :], answers[-len(test) :], None, errors, ids) for name, answers in said.items()
    ]
    scores = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("runs/*/scores.json"))]
    drawn = [int(key[2:6], 16) / 65536 for key in keys]
    cut = [
        slices.by_quarter(
            "resolution", "Resolution", [float(row.width * row.height) for row in test], lambda v: f"{v:,.0f} pixels"
        ),  # type: ignore[operator]
        slices.by_answer("drawing", "Photograph or drawing", ("photographs", "drawings"), [value > 0.9 for value in drawn]),
        slices.Slicing("subject", "Size of the subject", why="the pictures were not measured"),
        slices.by_answer("leaked", "Also in train", ("without the mark", "with it"), ["leaked" in row.marks for row in test]),
    ]
    write_json(folder / "kinds.json", kinds.told(sheets, own, scores))
    write_json(folder / "slices.json", slices.told(sheets, own, cut))


def _findings(manifest: Manifest) -> dict[str, Any]:
    return {
        "schema": 1,
        "findings": [
            {
                "code": "leak",
                "state": "found",
                "title": "Pictures that stand in two parts",
                "count": 3,
                "detail": "Near copies of three test pictures are in the training part.",
                "examples": [manifest.rows[0].path, "<script>alert(2)</script>.jpg"],
            },
            {"code": "duplicate", "state": "fine", "title": "Exact duplicates", "count": 0, "detail": "none", "examples": []},
            {
                "code": "burst",
                "state": "not applicable",
                "title": "Burst sequences",
                "count": 0,
                "detail": "no time stamps",
                "examples": [],
            },
            {
                "code": "labels",
                "state": "skipped",
                "title": "Label suspects",
                "count": None,
                "detail": "needs out-of-sample probabilities",
                "examples": [],
            },
        ],
        "ignored": [["Thumbs.db", "not a picture"], ["notes <b>.txt", "not a picture"]],
        "seconds": 1.2,
    }


if __name__ == "__main__":
    from fieldguide.report.build import build

    place = Path(sys.argv[1])
    evil = tuple(Entry(name, f"family {position}", 1.0 + position / 3) for position, name in enumerate(EVIL[:6]))
    chosen = {
        "plain": Plan(),
        "zoo": Plan(names=tuple(f"species number {i}" for i in range(90)), entries=ZOO),
        "evil": Plan(names=EVIL, entries=(*ENTRIES, *evil)),
        "large": Plan(
            names=tuple(f"species number {i}" for i in range(90)),
            entries=tuple(Entry(f"contestant_{i}", f"room{i % 6}", 0.5 + i / 3, epochs=30) for i in range(14)),
        ),
    }[sys.argv[2] if len(sys.argv) > 2 else "plain"]
    make_study(place, chosen)
    build(place, FakeReader(220))
