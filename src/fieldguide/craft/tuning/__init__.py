"""Teaching a language model that looks: adapters (LoRA, QLoRA) or all weights, on pictures and the answers they should get.

    parts.py        which modules are vision, projector and language, attention and MLP; what is trained of each, counted
    quantised.py    weights in four bits (NF4), and what keeps them trainable on a CPU
    adapters.py     the model made ready to be trained
    rows.py         a picture and its answer as inputs; the loss stands on the answer alone, by construction
    looked.py       what a frozen vision tower makes of each picture, computed once
    seams.py        where a trained projector joins a frozen tower
    rates.py        schedules, published ones among them
    heads.py        three ways to be taught one answer: its words, its share among all labels, a linear layer
    saying.py       answers from stored features
    training.py     the loop
    teaching.py     all of it together: a model, lessons, a plan
    answering.py    what a taught model answers
    keeping.py      adapters on disk, and merged models

Built on transformers and peft with a loop of our own. trl's SFTTrainer (1.16) was the other choice and cannot do what is needed without
being patched: a prompt with its answer as two columns fails for mllama (the collator does not lengthen the cross-attention mask), and the
other form, a loss on the assistant's turn, wants ``{% generation %}`` in the chat template, which it has for some architectures alone;
its collator writes into the rows that it is given; pictures pass its own path and not the one that answers; there are no stored picture
features, no score by generated answers while training, and no resume to the same numbers in the middle of an epoch.
Unsloth wants older versions of torch and transformers than this package lives on, so it can only run beside it, in its own environment.

LoRA: Hu et al., arXiv 2106.09685. QLoRA and NF4: Dettmers et al., 2305.14314. AdamW in eight bits: Dettmers et al., 2110.02861.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from fieldguide.records import Image

Method = Literal["lora", "qlora", "full"]
#: Where adapters may stand, and in what: the towers, and the two kinds of layers in vision and language.
TOWERS, KINDS = ("vision", "projector", "language"), ("attention", "mlp")
PARTS = (*TOWERS, *KINDS)


@dataclass(frozen=True)
class Lesson:
    """A picture, and what should be answered about it, letter for letter."""

    image: Image
    answer: str


@dataclass(frozen=True)
class Tuning:
    """What of a model is trained. Each of `parts` is a switch; attention and MLP are those of vision and language, not of the projector.

    ``qlora`` keeps the weights of vision and language layers in four bits. `rank`, `alpha` and `dropout` are of adapters; an adapter adds
    alpha / rank of what it learned, or alpha / sqrt(rank) where `stabilised` (Kalajdzievski, arXiv 2312.03732).
    """

    method: Method = "lora"
    parts: frozenset[str] = frozenset({"language", "attention", "mlp"})
    rank: int = 16
    alpha: float = 16.0
    dropout: float = 0.0
    stabilised: bool = False

    def told(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "parts": [part for part in PARTS if part in self.parts]}


def tuning(values: dict[str, Any]) -> Tuning:
    """Return what `Tuning.told` wrote."""
    return Tuning(**{**values, "parts": frozenset(values["parts"])})
