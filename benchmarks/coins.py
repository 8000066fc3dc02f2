"""Counting before and after teaching, with the small model that comes along, beside a small network: drawn coins on a grid, and placed freely.

    python benchmarks/coins.py grid --out OUT           # about 4 CPU-minutes: compare in OUT/s, and a line for each contestant
    python benchmarks/coins.py free --out OUT

The question and the form of its answer are those of a published trial (``prompts/count/currency.toml``). Its own split: 1,600 pictures to
learn from, 60 to choose by, 200 to test on, none of which is another's copy. One process, as many threads as OMP_NUM_THREADS says.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fieldguide import compare
from fieldguide.asked import Entry
from fieldguide.data.drawn.coins import COINS, KINDS, write_coins
from fieldguide.terminal import Bars, say, taught

EACH = {"train": 1600, "valid": 60, "test": 200}
#: All weights: the eyes that come along have never seen that size tells one thing from another.
TAUGHT = {
    "method": "full",
    "parts": ["vision", "projector", "language", "attention", "mlp"],
    "batch_size": 32,
    "accumulate": 1,
    "epochs": 10.0,
    "learning_rate": 2e-3,
    "schedule": "cosine",
    "looks": 5,
    "looked_at": 60,
    "patience": 5,
    "precision": "fp32",
}
#: A small network from scratch, with a regression head: what counting takes where nobody has to be told in words.
NETWORK = {
    "model": "test_resnet",
    "weights": "none",
    "image_size": 64,
    "epochs": 30,
    "learning_rate": 2e-3,
    "precision": "fp32",
}
CONTESTANTS = (
    Entry(name="commonest", family="count_baseline", settings={"features": "commonest"}),
    Entry(name="colours", family="count_baseline", settings={"features": "colour"}),
    Entry(name="network", family="backbone", settings=NETWORK),
    Entry(name="asked", family="vlm_prompt", settings={"model": "drawn", "prompt": "currency"}),
    Entry(name="held", family="vlm_prompt", settings={"model": "drawn", "prompt": "currency", "ask": "choice"}),
    Entry(name="taught", family="vlm_lora", settings={"model": "drawn", "prompt": "currency", **TAUGHT}),
)


def main() -> None:
    """Run one placement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("placement", choices=("grid", "free"))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    coins = write_coins(given.out / "coins", EACH, given.placement)
    worth = tuple(f"{name}={COINS[name].worth}" for name in KINDS)
    study = compare(coins, CONTESTANTS, out=given.out / "s", task="count", worth=worth, exact="text", progress=Bars())
    for name in study.outcomes:
        told = study.scores(name)["parts"]["test"]["metrics"]
        exact = told["exact"]
        found = (
            f"{name}: exact {exact['value']:.1%} [{exact['low']:.1%}-{exact['high']:.1%}], mean error {told['mae']['value']}"
        )
        say(f"{found}, readable {told['parsed']['value']:.0%}, {study.cost(name)}")
    taught(study)


if __name__ == "__main__":
    main()
