"""Lines of text on their way into a network: cleaned as weights saw them in training, and read neighbours in length together."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

#: Lines that are read at a time.
AT_ONCE = 64
_WITHOUT_PUNCTUATION = str.maketrans({**dict.fromkeys(string.punctuation), "_": " "})


def canonical(line: str) -> str:
    """Return a line lower-cased, without punctuation and with single spaces, as SigLIP's training code (big_vision) makes it."""
    return " ".join(line.translate(_WITHOUT_PUNCTUATION).lower().split())


def spaced(line: str) -> str:
    """Return a line with single spaces and none at its ends."""
    return " ".join(line.split())


def by_length(lines: Sequence[str], lengths: Sequence[int], read: Callable[[list[str]], Tensor], width: int) -> Tensor:
    """Return ``"lines features"`` in the order of `lines`, read in batches of like `lengths`, so that little is spent on padding."""
    order = sorted(range(len(lines)), key=lambda place: lengths[place])
    found = torch.empty(len(lines), width)
    for start in range(0, len(order), AT_ONCE):
        places = order[start : start + AT_ONCE]
        found[places] = read([lines[place] for place in places]).float().cpu()
    return found
