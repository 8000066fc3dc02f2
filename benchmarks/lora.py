"""Teaching a language model that looks, against trl's SFTTrainer with the same adapters: a step, and answers at the end.

    python benchmarks/lora.py step [--steps 5] [--tiny]
    python benchmarks/lora.py end --pictures FOLDER --steps 150

`step`: an Idefics3 with random weights, of SmolVLM-256M's width and depth by default; adapters on the linear layers of the language
model, here with what the frozen tower sees stored, there looked at anew. `end`: the small model that comes along, taught for as many steps by
both, asked about the same test pictures. trl (1.16) has to be there: pip install trl. Memory over many pictures is in tuning.py.
CPU seconds of one process, as many threads as OMP_NUM_THREADS says; both sides in turn, the best of the steps after the first.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import tuning
from PIL import Image as Picture

PRECISIONS = ("fp32", "bf16")


def messages(asked: Sequence[str | None], answer: str, picture: Any) -> dict[str, Any]:
    """Return one row as trl takes it: the loss stands on the completion. The picture stands where `asked` has `None`."""
    content = [{"type": "image", "text": None} if part is None else {"type": "text", "text": part} for part in asked]
    prompt = [{"role": "user", "content": content}]
    return {
        "prompt": prompt,
        "completion": [{"role": "assistant", "content": [{"type": "text", "text": answer}]}],
        "images": [picture],
    }


def trainer(
    folder: Path, model: Path, rows: Sequence[dict[str, Any]], given: argparse.Namespace, precision: str, **more: Any
) -> Any:
    """Return trl's trainer with adapters on the same layers as here."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForImageTextToText, AutoProcessor, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from fieldguide.craft.tuning import parts

    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    network = AutoModelForImageTextToText.from_pretrained(model, dtype=kind)
    targets = "^(" + "|".join(path.replace(".", r"\.") for path in parts.targets(network, tuning.Tuning().parts)) + ")$"

    class Clock(TrainerCallback):
        """Keeps the CPU seconds of each step, its data included."""

        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.last = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.last = time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            now = time.process_time()
            self.seconds.append(now - self.last)
            self.last = now

    told: dict[str, Any] = {
        "output_dir": str(folder / "trl"),
        "per_device_train_batch_size": given.batch,
        "max_steps": given.steps + 1,
        "learning_rate": 1e-4,
        "max_length": None,
        "bf16": precision == "bf16",
        "use_cpu": True,
        "gradient_checkpointing": False,
        "report_to": [],
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "seed": 0,
    }
    clock = Clock()
    made = SFTTrainer(
        model=network,
        args=SFTConfig(**{**told, **more}),
        train_dataset=Dataset.from_list(list(rows)),
        processing_class=AutoProcessor.from_pretrained(model),
        peft_config=LoraConfig(
            r=given.rank, lora_alpha=given.rank, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM"
        ),
        callbacks=[clock],
    )
    made.clock = clock
    return made


def step(folder: Path, given: argparse.Namespace) -> None:
    """Print a step here with stored features and there with the tower looked through, in both precisions."""
    model, side = (tuning.tiny(folder, 64), 64) if given.tiny else (tuning.smol(folder), 512)
    some = tuning.lessons(4, tuning.Drawn(side))
    said = [f"Which? {', '.join(tuning.NAMES)}", None]
    rows = [messages(said, one.answer, Picture.fromarray(one.image.pixels(side))) for one in some]
    for precision in PRECISIONS:
        own = tuning.course(model, folder / precision, some, given.batch, stored=True, precision=precision)
        theirs = trainer(folder / precision, model, rows * given.batch * (given.steps + 1), given, precision)
        ours = []
        for _ in range(given.steps + 1):
            start = time.process_time()
            own._one()
            ours.append(time.process_time() - start)
        theirs.train()
        best, other = min(ours[1:]), min(theirs.clock.seconds[1:])
        print(
            f"{precision}: here {best:.3f} s, trl {other:.3f} s a step of {given.batch}, CPU: {other / best:.2f} times as fast"
        )


def end(folder: Path, given: argparse.Namespace) -> None:
    """Print the test accuracy of the small model, taught here and by trl for as many steps, and the paired difference with its interval."""
    import fieldguide
    from fieldguide.craft.chat import DRAWN, local_files
    from fieldguide.data.store import Store
    from fieldguide.data.tables import read_manifest
    from fieldguide.tasks.asking import Shown
    from fieldguide.tasks.prompting import read_prompt, render

    study = folder / "study"
    rate, looks = 2e-3, "looks=1,looked_at=30"
    word = f"vlm_lora/drawn:rank={given.rank},alpha={given.rank},learning_rate={rate},batch_size={given.batch},accumulate=1"
    word += f",epochs=1000,most_steps={given.steps},weight_decay=0,{looks},as=here"
    fieldguide.compare(given.pictures, [word, "vlm_prompt/drawn:as=before"], out=study)
    manifest = read_manifest(study / "manifest.parquet")
    infos = [fieldguide.records.ClassInfo(name, name) for name in manifest.classes]
    asking = render(read_prompt("plain"), infos, "generate")
    (turn,) = [one for one in asking.messages if one.role == "user"]
    said = [None if isinstance(part, Shown) else part for part in turn.parts]
    model, store = local_files.fetched(DRAWN, online=False), Store(study / "store")
    rows = [messages(said, str(row.label), Picture.fromarray(store.read(row.key, 32))) for row in manifest.part("train")]
    more = {
        "learning_rate": rate,
        "max_steps": given.steps,
        "lr_scheduler_type": "linear",
        "warmup_steps": given.steps // 10,
        "weight_decay": 0.0,
    }
    theirs = trainer(folder, Path(model), rows, given, "fp32", **more)
    theirs.train()
    merged = theirs.model.merge_and_unload()
    merged.save_pretrained(folder / "merged")
    theirs.processing_class.save_pretrained(folder / "merged")
    fieldguide.compare(
        given.pictures, [word, "vlm_prompt/drawn:as=before", f"vlm_prompt/hf/{folder / 'merged'}:as=trl"], out=study
    )
    told = json.loads((study / "comparison.json").read_text())
    for name in told["order"]:
        scores = json.loads((study / "runs" / name / "scores.json").read_text())["parts"]["test"]
        print(f"{name}: {scores['correct']} of {scores['n']} right")
    (pair,) = [one for one in told["pairs"] if {one["a"], one["b"]} == {"here", "trl"}]
    print(
        f"{pair['a']} minus {pair['b']}: {pair['difference']:+.3f} [{pair['low']:+.3f}, {pair['high']:+.3f}], p {pair['p']:.3g}"
    )


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("step", "end"))
    for name, value in {"batch": 1, "steps": 5, "rank": 8}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--pictures", type=Path, help="of `end`: a folder of class folders")
    parser.add_argument("--tiny", action="store_true", help="of `step`: a tiny model, to try whether all of it runs")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        {"step": step, "end": end}[given.what](Path(folder), given)


if __name__ == "__main__":
    main()
