"""The demo: a floor, an honest baseline, a weak contestant, three small networks from scratch, an encoder that reads words, and a language model.

The language model takes part three times, with the same question: it answers as it likes, it tells how probable each answer is, and it
answers as it likes after it was taught for a minute.

That encoder and that model have seen synthetic digits among drawn shapes, and none of the demo's. A second, small study has drawn coins
counted, by the same language model before and after it was taught.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fieldguide.asked import Entry
from fieldguide.bench import Progress

if TYPE_CHECKING:
    from fieldguide.study import Study

#: Drawn coins of a second, small study, a grid of three by three with two kinds, and how the language model is taught to count them in a
#: minute: all but its vision tower, which looks at every picture once. benchmarks/coins.py has more kinds, and coins that lie anywhere.
COINS, KINDS = {"train": 1400, "valid": 40, "test": 100}, ("penny", "dime")
_TAUGHT = {
    "method": "full",
    "parts": ["projector", "language", "attention", "mlp"],
    "batch_size": 16,
    "accumulate": 1,
    "epochs": 8.0,
    "learning_rate": 2e-3,
    "schedule": "cosine",
    "looks": 2,
    "looked_at": 40,
    "precision": "fp32",
}
COUNTING = (
    Entry(name="commonest", family="count_baseline", settings={"features": "commonest"}),
    Entry(name="pixels", family="count_baseline", settings={"features": "pixels"}),
    Entry(
        name="small-cnn",
        family="backbone",
        settings={"model": "test_resnet", "weights": "none", "image_size": 32, "epochs": 8, "learning_rate": 2e-3},
    ),
    Entry(name="asked", family="vlm_prompt", settings={"model": "drawn", "prompt": "short"}),
    Entry(name="held", family="vlm_prompt", settings={"model": "drawn", "prompt": "short", "ask": "choice"}),
    Entry(name="taught", family="vlm_lora", settings={"model": "drawn", "prompt": "short", **_TAUGHT}),
)

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


def run_counting(folder: Path, progress: Progress) -> Study:
    """Draw coins and compare who counts them, all in `folder`: a language model before and after it was taught."""
    from fieldguide.data.drawn import coins
    from fieldguide.study import compare, read_asked

    drawn = coins.write_coins(folder / "pictures", COINS, kinds=KINDS)
    worth = tuple(f"{name}={coins.COINS[name].worth}" for name in KINDS)
    asked, folder = read_asked(str(drawn), folder, task="count", worth=worth, contestants=COUNTING)
    return compare(asked, folder, progress=progress)
