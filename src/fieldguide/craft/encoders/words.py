"""A reader of text without weights: single words and pairs, hashed into a fixed number of places (scikit-learn's HashingVectorizer).

It knows nothing of what words mean; that two lines share words is all it sees. A linear map from here to a picture space is
then a table of what each word looks like, learned from the pairs at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from fieldguide.files import digest


@dataclass(frozen=True)
class Words:
    """`width` places; two words fall into one now and then, with opposite signs as often as not."""

    width: int = 2048

    @cached_property
    def _vectoriser(self) -> Any:
        from sklearn.feature_extraction.text import HashingVectorizer

        return HashingVectorizer(n_features=self.width, ngram_range=(1, 2), stop_words="english", norm="l2")

    @property
    def key(self) -> str:
        """Hash of the way words are counted."""
        import sklearn

        return digest("words", self.width, 1, 2, "english", sklearn.__version__)

    @property
    def context(self) -> int | None:
        """No limit."""
        return None

    @property
    def parameters(self) -> int:
        """None."""
        return 0

    def texts(self, lines: Sequence[str]) -> Tensor:
        """Return hashed counts ``"lines features"`` of unit length, or zero for a line without words."""
        if not lines:
            return torch.zeros(0, self.width)
        return torch.from_numpy(self._vectoriser.transform(list(lines)).toarray()).float()

    def tokens(self, lines: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return each word's own place: ``"lines words features"``, and where there is a word."""
        analyse = self._vectoriser.build_analyzer()
        split = [analyse(line) or [line] for line in lines]
        most = max(map(len, split), default=1)
        states, there = torch.zeros(len(lines), most, self.width), torch.zeros(len(lines), most, dtype=torch.bool)
        for row, words in enumerate(split):
            states[row, : len(words)] = self.texts(words)
            there[row, : len(words)] = True
        return states, there

    def counted(self, lines: Sequence[str]) -> list[int]:
        """Return words and pairs of each line."""
        analyse = self._vectoriser.build_analyzer()
        return [len(analyse(line)) for line in lines]
