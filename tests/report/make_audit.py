"""Write ``audit.json`` of a contestant into a study folder, in the exact form of the house; nothing is asked.

``python make_audit.py STUDY [evil]`` writes a study with one contestant that was audited and one that was not, and draws the report.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fieldguide.data.tables import read_manifest
from fieldguide.evaluate.intervals import difference_interval, share
from fieldguide.files import read_toml, write_json
from fieldguide.tasks.varying import CHECKS

EVIL = (
    "<script>alert(5)</script>",
    '" onload="alert(5)',
    "rtl \u202etxt.exe",
    "null\x00byte",
    "{{7*7}}",
    "</table><img src=x>",
)


def add_audit(folder: Path, name: str = "talker", evil: bool = False, part: str = "training and validation") -> Path:
    """Write the audit of the contestant `name` of the study in `folder`; return its path."""
    run = next(path.parent for path in folder.glob("runs/*/settings.toml") if read_toml(path).get("name") == name)
    told = audit(read_manifest(folder / "manifest.parquet").classes, evil, part) | {"run": name}
    write_json(run / "audit.json", told)
    return run / "audit.json"


def audit(classes: Sequence[str], evil: bool = False, part: str = "training and validation") -> dict[str, Any]:
    """Return an audit of 200 pictures: the example pulls, the order does not, and no answers were asked for twice."""

    def bad(at: int, otherwise: str) -> str:
        return EVIL[at % len(EVIL)] if evil else otherwise

    found = {"picture": "yes", "example": "yes", "order": "not distinguishable", "length": "no", "paraphrase": "yes"}
    sentences = {
        "picture": "Without the picture 78 of 100 answers become others: it reaches the model.",
        "example": "Your example costs 17 points [12, 22].",
        "order": "In other orders of the list accuracy is not distinguishable.",
    }
    checks = []
    for at, (id, question) in enumerate(CHECKS.items()):
        state = {"repeat": "not asked", "synonyms": "not applicable"}.get(id, "ok")
        variants = _variants(id, classes, bad) if state == "ok" else []
        why = None if state == "ok" else bad(at, f"no reason but {state}")
        entry: dict[str, Any] = {"id": id, "question": bad(at, question), "state": state, "why": why}
        entry |= {"found": found.get(id, "no") if state == "ok" else None, "sentence": bad(at + 1, sentences.get(id, ""))}
        checks.append({**entry, "variants": variants, **_more(id, classes, bad)})
    base = {"right": 142, "labelled": 195, "n": 200, "accuracy": share(142, 200)}
    cost = {
        "questions": 2800,
        "asked": 2600,
        "kept": 200,
        "tokens_in": 812_000,
        "tokens_out": 9_000,
        "money": 0.41,
        "seconds": 744,
    }
    head = {"schema": 1, "run": "talker", "model": bad(3, "/models/llava-7b"), "how": "generate", "part": part}
    head |= {"pictures": 200, "of": 480, "seed": 42, "classes": len(classes), "base": base, "checks": checks, "cost": cost}
    return head | {"verdict": bad(0, "Your example costs 17 points [12, 22]; remove it.")}


def _variants(id: str, classes: Sequence[str], bad: Any) -> list[dict[str, Any]]:
    names = {
        "picture": ["a grey picture", "another picture"],
        "example": ["no example", *(f"example: {label}" for label in classes)],
        "order": ["reversed", "sorted", "shuffled"],
        "paraphrase": [f"paraphrase {at}" for at in range(1, 5)],
    }.get(id, ["one by one"])
    return [_variant(id, at, bad(at, name), classes, bad) for at, name in enumerate(names)]


def _variant(id: str, at: int, name: str, classes: Sequence[str], bad: Any) -> dict[str, Any]:
    change = {"picture": -88, "example": (34, -18, -6, 3)[at % 4], "order": (-2, 1, 0)[at % 3], "paraphrase": 4 * at - 9}.get(
        id, 0
    )
    gained, lost = max(change, 0) + 6, max(-change, 0) + 6
    low, high = difference_interval(200, gained, lost)
    recall = [
        {
            "label": bad(place, label),
            "n": 20,
            "base": 0.7,
            "variant": 0.7 - 0.05 * place,
            "difference": -0.05 * place,
            "p_holm": 0.01 if place > 6 else 0.4,
        }
        for place, label in enumerate(classes[:9])
    ]
    return {
        "id": f"{id}-{at}",
        "name": name,
        "n": 200,
        "unanswered": at % 3,
        "accuracy": share(142 + change, 200),
        "difference": {"value": change / 200, "low": low, "high": high, "p": 0.2 if abs(change) < 8 else 0.0004},
        "flips": share(gained + lost + 9, 200),
        "recall": recall if (id == "example" and at < 2) or id == "picture" else [],
    }


def _more(id: str, classes: Sequence[str], bad: Any) -> dict[str, Any]:
    if id == "example":
        labels = [
            {
                "label": bad(at, label),
                "with": share(max(58 - 3 * at, 16), 180),
                "without": share(14, 1620),
                "difference": {"value": max(58 - 3 * at, 16) / 180 - 14 / 1620, "low": 0.05, "high": 0.4, "p": 0.0001},
            }
            for at, label in enumerate(classes)
        ]
        return {"pull": {"labels": labels, "overall": {"value": 0.24, "low": 0.19, "high": 0.29, "p": 1e-6}}}
    if id == "order":
        weights = [1 / (at + 3) for at in range(len(classes))]
        places = [
            {"place": at + 1, "share": weight / sum(weights), "expected": 1 / len(weights)} for at, weight in enumerate(weights)
        ]
        return {
            "places": {
                "places": places,
                "rho": -0.83,
                "p": 0.002,
                "p_holm": 0.004,
                "orders": 7,
                "pictures": 196,
                "outcome": bad(2, "earlier"),
            }
        }
    return {}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    import make_prompting
    import make_study

    from fieldguide.report.build import build

    target, evil = Path(sys.argv[1]), len(sys.argv) > 2
    talker = make_study.Entry("talker", "vlm_prompt", 1.0, failures=0.4, probabilities=False)
    weigher = make_study.Entry("weigher", "vlm_prompt", 3.0)
    others = tuple(one for one in make_study.ENTRIES if one.name != "talker")
    make_study.make_study(
        target, make_study.Plan(names=make_study.EVIL if evil else make_study.ANIMALS, entries=(*others, talker, weigher))
    )
    make_prompting.add_prompting(target, make_prompting.Plan(weighed=("weigher",), evil=evil))
    add_audit(target, evil=evil)
    build(target, make_study.FakeReader(160))
