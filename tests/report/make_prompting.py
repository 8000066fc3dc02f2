"""Write what the section on answers in words reads into a study folder, in the exact formats of the house; run no model.

The counts under the headline are those of the run's own ``scores.json``; wider readings find more. ``python make_prompting.py STUDY
[plain|evil|large]`` adds them and draws the report.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fieldguide.data.tables import read_manifest
from fieldguide.evaluate.intervals import wilson
from fieldguide.files import read_json, read_toml, write_json

EVIL = (
    "<script>alert(4)</script>",
    '" onload="alert(4)',
    "</pre></details><img src=x>",
    "rtl \u202etxt.exe",
    "null\x00byte",
    "{{7*7}}",
)
KINDS = (
    ("other label", "another label"),
    ("extra words", "more than a label"),
    ("off-list", "off the list"),
    ("refusal", "refused"),
    ("empty", "empty"),
)
RAW = {
    "other label": "badger",
    "extra words": "The animal in this picture is a coyote, which can be told by its long legs and its pointed ears.",
    "off-list": "a small wolf",
    "refusal": "I'm sorry, but I can't help with identifying that.",
    "empty": "",
}
SERVER = {"host": "models.example:8000", "kind": "openai", "url": "https://key:secret@models.example:8000/v1"}
PROBE = {
    "images": True,
    "logprobs": False,
    "structured": "json_schema",
    "at_once": {"asked": 8, "speedup": 5.2},
    "model": "llava:7b-v1.6-q4_0",
    "notes": ["The server ignored a field that it does not know."],
    "seconds": 2.4,
}


@dataclass(frozen=True)
class Plan:
    """Who answered in words; `evil` puts hostile words wherever these files hold words."""

    prompted: tuple[str, ...] = ("talker",)
    recorded: tuple[str, ...] = ()
    served: bool = True
    how: str = "generate"
    price: float | None = 0.5
    evil: bool = False
    examples: int = 3
    weighed: tuple[str, ...] = ()


def add_prompting(folder: Path, plan: Plan = Plan()) -> None:
    """Write readings, facts and costs of every contestant of `plan`."""
    for run in sorted(path.parent for path in folder.glob("runs/*/scores.json")):
        name = str(read_toml(run / "settings.toml")["name"])
        if name in (*plan.prompted, *plan.recorded):
            write_json(run / "readings.json", readings(folder, run, plan))
        if name in plan.prompted:
            facts = {"event": "fact", **told(folder, plan)}
            with open(run / "log.jsonl", "a", encoding="utf-8") as log:
                log.write(json.dumps(facts) + "\n")
            write_json(run / "cost.json", {**read_json(run / "cost.json"), **cost(read_json(run / "cost.json"), plan)})
        if name in plan.weighed:
            facts = {"event": "fact", **told(folder, replace(plan, how="likelihood", served=False)), **weighing(plan)}
            with open(run / "log.jsonl", "a", encoding="utf-8") as log:
                log.write(json.dumps(facts) + "\n")
            write_json(run / "cost.json", {**read_json(run / "cost.json"), **cost(read_json(run / "cost.json"), plan)})
    if plan.weighed and plan.prompted:
        write_json(folder / "questions.json", questions(plan))


def weighing(plan: Plan) -> dict[str, Any]:
    """Return the facts of a contestant that weighs every name."""
    forms = [("sum", 0.61, 0.84), ("token", 0.74, 0.8), ("byte", 0.7, 0.81), (_bad(plan, 0, "pmi"), 0.58, 0.85)]
    told = [
        {"form": form, "nll": nll, "accuracy": right, "temperature": 1.4 + nll, "pictures": 90} for form, nll, right in forms
    ]
    why = {"tree": _bad(plan, 1, "the network takes no mask of that form")}
    return {
        "weighing": {"form": forms[3][0], "temperature": 1.98, "orders": 3, "forms": told, "threshold": 0.41},
        "likelihood": {"way": "copied", "labels": 10, "tokens": 31, "nodes": 21, "why": why},
    }


def questions(plan: Plan) -> dict[str, Any]:
    """Return ``questions.json``: a free contestant and one that weighs, in 90 pictures."""
    free = [("strict", 36, 41), ("normalised", 44, 52), ("alias", 61, 73)]
    ways = [
        {"way": way, "run": plan.prompted[0], "right": k, "labelled": m, "accuracy": score(k, 90), "against": None}
        for way, k, m in free
    ]
    against = {
        "difference": {"value": 38 / 90, "low": 0.29, "high": 0.54},
        "only_this": 42,
        "only_base": 4,
        "p": 1e-9,
        "p_holm": 1e-9,
        "outcome": "better",
        "format": {"value": 37 / 90, "low": 0.31, "high": 0.51, "n": 90},
        "recognition": {"value": 1 / 90, "low": -0.04, "high": 0.07, "gained": 5, "lost": 4},
    }
    weighs = {"way": "likelihood", "run": plan.weighed[0], "right": 74, "labelled": 90, "accuracy": score(74, 90)}
    group = {"model": _bad(plan, 0, "drawn"), "question": "5a" * 32, "base": plan.prompted[0], "n": 90}
    return {"schema": 1, "alpha": 0.05, "groups": [{**group, "ways": [*ways, {**weighs, "against": against}]}]}


def _bad(plan: Plan, at: int, otherwise: str) -> str:
    return EVIL[at % len(EVIL)] if plan.evil else otherwise


def score(right: int, n: int) -> dict[str, Any]:
    """Return a `records.Score` of `right` in `n`."""
    if not n:
        return {"value": None, "low": None, "high": None, "n": 0, "state": "not applicable", "why": "no answer is counted"}
    low, high = wilson(right, n)
    return {"value": right / n, "low": low, "high": high, "n": n, "state": "ok", "why": None}


def readings(folder: Path, run: Path, plan: Plan) -> dict[str, Any]:
    """Return ``readings.json``."""
    manifest, scores = read_manifest(folder / "manifest.parquet"), read_json(run / "scores.json")["parts"]
    parts = {}
    for split in ("val", "test"):
        n, right = int(scores[split]["n"]), int(scores[split]["correct"])
        labelled = n - int(scores[split]["failed"])
        keys = [(row.key, row.label) for row in manifest.part(split)]
        parts[split] = part(n, right, labelled, keys, manifest.classes, plan)
    return {"schema": 1, "run": run.name, "headline": "strict", "parts": parts}


def part(
    n: int, right: int, labelled: int, keys: Sequence[tuple[str, str]], classes: Sequence[str], plan: Plan = Plan()
) -> dict[str, Any]:
    """Return one part: of the answers without a label half are the right one in other words, and some are of other kinds."""
    silent, wrong = n - labelled, labelled - right
    found = {"strict": (right, labelled), "normalised": (right + silent // 4, labelled + silent // 3)}
    found |= {"alias": (right + silent // 2, labelled + silent - silent // 3), "json": (0, 0)}
    counts = dict(zip((id for id, _ in KINDS), (wrong, *_dealt(silent, len(KINDS) - 1)), strict=True))
    kinds = []
    for at, (id, name) in enumerate(KINDS):
        examples = [
            {"key": key, "truth": truth, "raw": _bad(plan, at + place, RAW[id]), "error": _bad(plan, at, id)}
            for place, (key, truth) in enumerate(keys[at :: len(KINDS)][: plan.examples])
        ]
        kinds.append(
            {
                "id": _bad(plan, at, id),
                "name": _bad(plan, at + 1, name),
                "count": counts[id],
                "share": counts[id] / n,
                "examples": examples if counts[id] else [],
            }
        )
    return {
        "n": n,
        "readings": [
            {"id": id, "right": k, "labelled": m, "accuracy": score(k, n), "macro_f1": k / n} for id, (k, m) in found.items()
        ],
        "filtered": [
            {
                "id": "listed",
                "what": _bad(plan, 2, "answers that are the name of a class and nothing else"),
                "right": right,
                "n": labelled,
                "accuracy": score(right, labelled),
            },
            {
                "id": "any name",
                "what": "those, and answers that name something that is not on the list",
                "right": right,
                "n": labelled + counts["off-list"],
                "accuracy": score(right, labelled + counts["off-list"]),
            },
        ],
        "kinds": kinds,
        "scored": {"right": right, "labelled": labelled},
        "format": {"labelled_share": labelled / n, "recognised": right / labelled if labelled else None},
        "leaning": [
            {"label": label, "answered": n // 10 + wrong // (at + 2), "wrong": wrong // (at + 2), "truth": n // 10}
            for at, label in enumerate(classes[:4])
        ],
    }


def _dealt(count: int, parts: int) -> list[int]:
    return [count // parts + (at < count % parts) for at in range(parts)]


def told(folder: Path, plan: Plan) -> dict[str, Any]:
    """Return the facts that a prompted contestant notes."""
    classes = ", ".join(read_manifest(folder / "manifest.parquet").classes)
    text = f"system:\nYou name animals.\n\nuser:\nOne of: {classes}.\n[picture]\nRespond only with the name, for example “bat”."
    prompt = {
        "name": _bad(plan, 0, "llava"),
        "source": _bad(plan, 1, "/home/somebody/prompts/llava.toml"),
        "hash": "3f" * 32,
        "text": _bad(plan, 2, text) + ("\n" + "\n".join(EVIL) if plan.evil else ""),
        "answers_in": "name",
        "examples": 2,
        "format": "name",
        "how": plan.how,
        "temperature": 0.0,
        "most_tokens": 64,
        "seed": None,
        "notes": [_bad(plan, 5, "A class has no synonym.")],
    }
    facts: dict[str, Any] = {"kind": "prompted", "model": _bad(plan, 3, "/models/llava-7b"), "prompt": prompt}
    facts |= {"image_size": 336, "price_in": plan.price, "price_out": plan.price}
    if plan.served:
        notes = [*PROBE["notes"], *(EVIL if plan.evil else ())]  # type: ignore[misc]
        facts["server"] = {**SERVER, "host": _bad(plan, 0, SERVER["host"])}
        facts["probe"] = {**PROBE, "model": _bad(plan, 4, str(PROBE["model"])), "notes": notes}
    return facts


def cost(known: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Return what is added to ``cost.json``."""
    pictures = int(known["predicted"])
    tokens = {"tokens_in": 420 * pictures, "tokens_out": 5 * pictures, "tokens_cached": 310 * pictures}
    money = None if plan.price is None else plan.price * (tokens["tokens_in"] + tokens["tokens_out"]) / 1e6
    spent = {"money": money, "asked": pictures - pictures // 5, "answer_wall_seconds": 0.2 * pictures}
    return {**tokens, **spent, "parameters": None, "trained_parameters": None}


if __name__ == "__main__":
    from fieldguide.report.build import build

    sys.path.insert(0, str(Path(__file__).parent))
    import make_study

    target, kind = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "plain"
    names = {"plain": make_study.ANIMALS, "evil": make_study.EVIL, "large": tuple(f"species {i}" for i in range(90))}[kind]
    many = tuple(make_study.Entry(f"talker_{i}", "vlm_prompt", 1 + i / 3, failures=0.3, probabilities=False) for i in range(14))
    clerk = make_study.Entry("gpt4v", "recorded", 2.0, failures=0.6, probabilities=False)
    talker = make_study.Entry("talker", "vlm_prompt", 3.0, failures=0.4, probabilities=False)
    some = (*(one for one in make_study.ENTRIES if one.name != "talker"), talker, clerk)
    entries = many if kind == "large" else some
    make_study.make_study(target, make_study.Plan(names=names, entries=entries))
    added = (
        Plan(tuple(one.name for one in many), evil=False, examples=5)
        if kind == "large"
        else Plan(recorded=("gpt4v",), evil=kind == "evil")
    )
    add_prompting(target, added)
    build(target, make_study.FakeReader(160))
