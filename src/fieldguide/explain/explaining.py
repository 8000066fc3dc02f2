"""One contestant, one picture: every map that fits, each with its checks."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldguide.craft.answering import softmax
from fieldguide.craft.sight import Sight
from fieldguide.data.batches import evaluation_batches
from fieldguide.explain import faithfulness
from fieldguide.explain.covering import Cells
from fieldguide.explain.faithfulness import Check, Examiner
from fieldguide.explain.maps import Maps, NotApplicable, Target
from fieldguide.explain.methods import Method, wanted
from fieldguide.explain.occlusion import GRID, occlusion, passes
from fieldguide.explain.scores import Box, Scores
from fieldguide.families import Fitted
from fieldguide.records import Image, Pixels

#: Cells on a side of the grid on which maps are checked.
CHECKED = 12
#: Maps that a network has by the usual methods, about; and pictures an answer is timed on.
_MAPS, _TIMED = 8, 4


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    `methods`: the usual ones if empty; `layers`: each method's own choice if `None`; `grid`: cells on a side that occlusion covers;
    `orders`: random orders that a map is checked against, 0 for no checks; `seed`: of these orders and of the shuffled weights.
    """

    methods: tuple[str, ...] = ()
    layers: tuple[int, ...] | None = None
    grid: int = GRID
    orders: int = faithfulness.ORDERS
    seed: int = 0


@dataclass(frozen=True)
class Explained:
    """The maps of one method with a check for each layer (none where no checks were wished for), and the seconds they took."""

    title: str
    maps: Maps
    checks: tuple[Check, ...]
    seconds: float


@dataclass(frozen=True)
class Explanation:
    """Why `answer`, and not `runner_up`? Class ids; `gap` is how many nats lie between their log-probabilities.

    `seen` is the box of the picture that the contestant saw, over which all maps lie: left, top, right, bottom as parts of `width` and
    `height`. `refused` are the methods that do not apply, each with its reason. `passes` counts the pictures that were asked about.
    """

    image: str
    answer: str
    runner_up: str
    probability: float
    gap: float
    width: int
    height: int
    seen: Box
    explained: tuple[Explained, ...] = ()
    refused: tuple[tuple[str, NotApplicable], ...] = ()
    passes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """What explaining one picture is expected to take."""

    passes: int
    seconds: float

    def __str__(self) -> str:
        return f"about {self.passes:,} answers and {self.seconds:.1f} s a picture"


@dataclass
class Explainer:
    """Explains answers of `fitted`, whose classes are `ids` in the order of its probabilities."""

    fitted: Fitted
    ids: Sequence[str]
    wish: Wish = Wish()
    passes: int = field(default=0, init=False)

    @cached_property
    def scores(self) -> Scores:
        """What it answers for any picture."""
        return Scores.of(self.fitted)

    @cached_property
    def shuffled(self) -> Sight | None:
        """The network with shuffled weights, made once; `None` where there is nothing to shuffle."""
        return None if self.scores.sight is None else faithfulness.shuffled(self.scores.sight, self.wish.seed)

    def ask(self, pictures: Sequence[Pixels], scores: Scores | None = None) -> NDArray[np.float64]:
        """Return scores ``"pictures classes"``, this contestant's own if no other `scores` are given, and count the pictures."""
        self.passes += len(pictures)
        return (scores or self.scores)(pictures)

    def estimate(self, image: Image) -> Estimate:
        """Return what one picture will take, by the time of a few answers; `ask` is most of it."""
        pixels = self.scores.picture(image)
        self.scores([pixels])
        start = time.perf_counter()
        self.scores([pixels] * _TIMED)
        each = (time.perf_counter() - start) / _TIMED
        methods = wanted(self.wish.methods)
        covered = passes(self.wish.grid, self.wish.grid) if "occlusion" in methods else 0
        inside = self.scores.sight is not None
        maps = (_MAPS if not self.wish.methods else 4 * len(methods)) if inside else 1
        checks = faithfulness.passes(self.wish.orders, maps) if self.wish.orders else 0
        total = covered * (2 if inside and self.wish.orders else 1) + checks
        return Estimate(total, total * each)

    def explain(self, image: Image) -> Explanation:
        """Explain the answer for one picture.

        Raises `PictureError` where it cannot be read, and `NotApplicable` where there is no answer with probabilities to explain.
        """
        start, self.passes = time.perf_counter(), 0
        pixels = self.scores.picture(image)
        row = self.ask([pixels])[0]
        target = Target.of(torch.from_numpy(row))
        probabilities = softmax(row[None])[0]
        box = self.scores.seen(pixels)
        examiner = Examiner(self.ask, Cells.over(pixels, box, CHECKED), target, self.wish.orders, self.wish.seed)
        told: list[Explained] = []
        refused: list[tuple[str, NotApplicable]] = []
        for name, method in wanted(self.wish.methods).items():
            try:
                told.append(self._explained(method, image, pixels, target, examiner))
            except NotApplicable as why:
                refused.append((name, why))
        return Explanation(
            image=image.key,
            answer=self.ids[target.answer],
            runner_up=self.ids[target.against],
            probability=float(probabilities[target.answer]),
            gap=float(row[target.answer] - row[target.against]),
            width=pixels.shape[1],
            height=pixels.shape[0],
            seen=box,
            explained=tuple(told),
            refused=tuple(refused),
            passes=self.passes,
            seconds=time.perf_counter() - start,
        )

    def _explained(self, method: Method, image: Image, pixels: Pixels, target: Target, examiner: Examiner) -> Explained:
        start = time.perf_counter()
        maps = self._maps(method, self.scores, image, pixels, target)
        checks: tuple[Check, ...] = ()
        if self.wish.orders:
            others = self._of_shuffled(method, image, pixels, target)
            checks = tuple(self._checked(examiner, maps, others))
        return Explained(method.title, maps, checks, time.perf_counter() - start)

    def _maps(self, method: Method, scores: Scores, image: Image, pixels: Pixels, target: Target) -> Maps:
        """Return the maps of one method, of this contestant or of its shuffled self."""
        if method.look is None:
            ask = functools.partial(self.ask, scores=scores)
            return occlusion(ask, Cells.over(pixels, scores.seen(pixels), self.wish.grid), target)
        if scores.sight is None:
            raise NotApplicable("this family cannot be looked into", ("occlusion",))
        return method.look(scores.sight, _tensor(scores.sight, image), target, self.wish.layers)

    def _of_shuffled(self, method: Method, image: Image, pixels: Pixels, target: Target) -> Maps | None:
        if self.shuffled is None:
            return None
        try:
            return self._maps(method, Scores(self.fitted, self.shuffled), image, pixels, target)
        except NotApplicable:
            return None

    @staticmethod
    def _checked(examiner: Examiner, maps: Maps, others: Maps | None) -> Iterator[Check]:
        for layer, values in enumerate(maps.values):
            check = examiner.check(values)
            yield check if others is None else faithfulness.with_control(check, values, others.values[layer])


def _tensor(sight: Sight, image: Image) -> Tensor:
    """Return what the network is shown of `image`, normalised ``"1 3 size size"``, on its device."""
    (batch,) = evaluation_batches([image], sight.preprocessing, 1)
    for _, error in batch.failed:
        raise error
    return batch.pixels.to(sight.device)
