"""Write what the section on taught language models reads into a study folder, in the exact formats of the house; run no model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from fieldguide.data.tables import read_manifest, read_predictions
from fieldguide.evaluate.answers import sheet
from fieldguide.evaluate.before_after import Couple, Side, told
from fieldguide.evaluate.readings import per_class
from fieldguide.files import read_json, write_json

FACTS: dict[str, Any] = {
    "event": "fact",
    "kind": "tuned",
    "head": "words",
    "tuning": {"method": "qlora", "parts": ["language", "mlp"]},
    "trained_parts": {"vision": {"trained": 0, "all": 900}, "language": {"trained": 300, "all": 1200}},
    "loss": {"prompt_tokens": 96.0, "answer_tokens": 2.0, "loss_tokens_on_answer": 1.0},
    "planned": {"steps": 60, "pictures_a_step": 8, "lessons": 90},
    "stored_features": {"used": True, "why": "8 kB a picture"},
    "notes": ["The licence binds <b>you</b>."],
}


def add_taught(folder: Path, before: str, after: str, evil: bool = False, memorised: bool = False) -> None:
    """Write what the house writes of two language models: readings by class, ``before_after.json``, and facts of teaching."""
    manifest, sides, where = read_manifest(folder / "manifest.parquet"), [], {}
    for run in sorted(path.parent for path in folder.glob("runs/*/predictions.parquet")):
        where[re.search(r'^name = "(.*)"$', (run / "settings.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]] = run  # type: ignore[index]
    for name in (before, after):
        answers = sheet(name, read_predictions(where[name] / "predictions.parquet"), manifest.part("test"), manifest.classes)
        labelled = int((answers.answer >= 0).sum())
        sides.append(Side(name, "strict", {"strict": answers, "alias": answers}, {"listed": (answers.correct, labelled)}))
        told_of = read_json(where[name] / "readings.json")
        told_of["parts"]["test"]["per_class"] = per_class(answers)
        write_json(where[name] / "readings.json", told_of)
    model = "<script>alert(7)</script>" if evil else "hf/owner/eyes"
    differs = (("arithmetic", "fp32", '"><img src=x onerror=alert(8)>' if evil else "bf16"),)
    write_json(folder / "before_after.json", told([Couple(model, sides[0], sides[1], differs)]))
    steps = [
        {"event": "epoch", "epoch": at, "step": 20 * (at + 1), "train_loss": 1 / (at + 1), "val_accuracy": 0.5 + 0.1 * at}
        for at in range(3)
    ]
    asked = {"train_accuracy": 0.95, "train_pictures": 80, "val_pictures": 80} if memorised else {}
    best = {"event": "best", "epoch": 1, "val_accuracy": 0.6, **asked}
    with open(where[after] / "log.jsonl", "a", encoding="utf-8") as log:
        log.writelines(json.dumps(event) + "\n" for event in (FACTS, *steps, best))
