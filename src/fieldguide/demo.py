"""The demo: a floor, an honest baseline, a weak contestant, three small networks from scratch, an encoder that reads words, and a language model.

The language model takes part three times, with the same question: it answers as it likes, it tells how probable each answer is, and it
answers as it likes after it was taught for a minute.

That encoder and that model have seen synthetic digits among drawn shapes, and none of the demo's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fieldguide.asked import Entry
from fieldguide.bench import Progress

if TYPE_CHECKING:
    from fieldguide.study import Study

#: Pictures that are explained.
EXPLAINED = 4

#: Digits are not mirrored, and crops stay mild: a 6 cut in half is no digit.
_SMALL = {"weights": "none", "flip": False, "min_area": 0.7, "batch_size": 64}

#: A minute of teaching is enough for a model this small: 60 steps, and three looks at how it answers.
_SHORT = {"most_steps": 60, "looks": 3, "looked_at": 100}

#: How a digit is said to an encoder that reads.
_SAID = "the digit {}.|a handwritten {}."

CONTESTANTS = (
    Entry(name="majority", family="majority"),
    Entry(name="ink-only", family="linear", settings={"features": "colour"}),
    Entry(name="linear", family="linear", settings={"image_size": 8}),
    Entry(
        name="small-cnn",
        family="backbone",
        settings={"model": "test_resnet", "image_size": 32, "epochs": 15, "learning_rate": 2e-3, **_SMALL},
    ),
    Entry(
        name="small-vit",
        family="backbone",
        settings={"model": "test_vit", "image_size": 16, "patch_size": 4, "epochs": 30, "learning_rate": 1e-3, **_SMALL},
    ),
    Entry(
        name="small-vmamba",
        family="vmamba",
        settings={"depths": [1, 1, 1, 1], "dim": 16, "image_size": 32, "epochs": 15, "learning_rate": 2e-3, **_SMALL},
    ),
    Entry(name="zero-shot", family="dual_encoder", settings={"model": "drawn", "templates": _SAID}),
    Entry(name="text-adapter", family="text_adapter", settings={"model": "drawn", "templates": _SAID}),
    Entry(name="asked", family="vlm_prompt", settings={"model": "drawn"}),
    Entry(name="scored", family="vlm_prompt", settings={"model": "drawn", "ask": "likelihood"}),
    Entry(
        name="taught",
        family="vlm_lora",
        settings={"model": "drawn", "method": "full", "batch_size": 16, "accumulate": 1, "learning_rate": 1e-3, **_SHORT},
    ),
)


def run_demo(folder: Path, progress: Progress) -> Study:
    """Write the digits, compare on them, and explain a few answers, all in `folder`."""
    from fieldguide.data.demo import write_digits
    from fieldguide.explain.explaining import Wish
    from fieldguide.explaining import explain_study
    from fieldguide.study import compare, read_asked

    asked, folder = read_asked(str(write_digits(folder / "pictures")), folder, contestants=CONTESTANTS)
    study = compare(asked, folder, progress=progress)
    explain_study(folder, Wish(), pictures=EXPLAINED, progress=progress)
    return study
