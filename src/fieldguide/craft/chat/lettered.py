"""Letters put to a server for labels (`coded`), picture by picture: how many tokens it tells is found out before the first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, TypeVar

from fieldguide.craft.chat import Said
from fieldguide.craft.chat.coded import LETTERS, WISHED, Coded, Places, require_told
from fieldguide.craft.chat.probe import Try, tops
from fieldguide.craft.chat.sent import Sent, sent
from fieldguide.craft.served import Reply
from fieldguide.craft.troubles import ServerProblem, Trouble
from fieldguide.errors import plain
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking

#: Questions that are kept written out; those of the first round are the same for all pictures, later ones seldom.
_WRITTEN = 16
W = TypeVar("W")


@dataclass
class Tops:
    """How many likeliest tokens a server tells of, `most`: by its probe, or by one short question without a picture when it is first needed.

    `once` puts a trial, and `insist` gives that the patience that all questions have. Several threads may ask.
    """

    once: Try
    insist: Callable[[Callable[[], int]], int]
    most: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(self) -> int:
        """Return it, 0 for a server that tells nothing; raises `ServerProblem` where there is no reply."""
        with self.lock:
            if self.most is None:
                self.most = self.insist(self._tried)
            return self.most

    def _tried(self) -> int:
        try:
            return tops(self.once)
        except Trouble as trouble:
            if not trouble.refused:
                raise
            return 0

    def requests(self, asking: Asking) -> int:
        """Return how many questions `asking` comes to about one picture; where the server does not answer now, what is usual."""
        if asking.how != "likelihood":
            return 1
        try:
            most = self()
        except ServerProblem:
            most = WISHED[0]
        return sum(1 for _ in Coded(asking, most).questions())


class Lettered(Generic[W]):
    """Weighs the labels of `asking` for one picture after another; several threads may ask.

    `write` returns a question as it is sent to this server, with a gap for the picture; `put` fills that, and returns the reply or raises
    `ServerProblem`. `size` bounds the longer side of a picture in pixels.
    """

    def __init__(self, asking: Asking, tops: Tops, write: Callable[[Asking, int], W], put: Callable[[W, Sent], Reply]) -> None:
        self.asking, self.tops, self._put = asking, tops, put
        self._coded = lru_cache(1)(lambda most: Coded(asking, most))
        self._written = lru_cache(_WRITTEN)(lambda most, places: write(self._coded(most).question(places), most))

    def __call__(self, pixels: Pixels, size: int, model: str, url: str) -> Said:
        """Return what is said of a picture; raises `ServerProblem` for it, and `UsageProblem` where this server can never weigh."""
        most = self.tops()
        require_told(most, model, url)
        picture = sent(pixels, size)

        def put(places: Places) -> Reply:
            return self._put(self._written(most, places), picture)

        return self._coded(most).weigh(put)

    @property
    def facts(self) -> dict[str, Any]:
        """What the report tells of the way; nothing before it is known how many tokens are told."""
        if self.tops.most is None:
            return {}
        coded, labels = self._coded(self.tops.most), len(self.asking.answers)
        count = sum(1 for _ in coded.questions())
        first = self.asking.answers[coded.order[0]]
        note = (
            f"Behind the prompt a letter is listed for each of at most {coded.size} labels ({LETTERS[0]} = {plain(first, 40)}), and the letter alone "
            f"is asked for: {count} question{'s' * (count != 1)} for each picture."
        )
        told = {"way": "codes", "labels": labels, "top_logprobs": self.tops.most, "requests": count}
        return {"likelihood": told, "notes": [note]}
