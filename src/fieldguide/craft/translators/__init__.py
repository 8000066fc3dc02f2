"""Translators: from features of a line to what an encoder would have made of a picture of it, learned from pairs.

    identity     the line's own features, as if texts lay where pictures do
    shift        texts minus the mean text plus the mean picture (the first two steps of C3, arXiv 2401.08567)
    procrustes   a rotation with one scale and a translation
    ridge        a linear map, its penalty chosen on pairs that were held out
    memory       a softmax-weighted mean of known pictures, by how alike their lines are (DeCap, arXiv 2303.03032, the other way round)
    mlp          two layers on top of the linear map
    qformer      queries that attend to the tokens of a line (BLIP-2, arXiv 2301.12597)

A translator is learned by `fitted` and maps ``"lines width"`` to ``"lines features"``. Which pairs it was learned from is part of
what it is: `crossed` learns one for each fold of classes, so that what it says of a class was learned from other classes. Where a
translator does not fit the features, the answer is a `NotApplicable` with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldguide.bench import Bench, Progress, Silent

if TYPE_CHECKING:
    from fieldguide.craft.translators.crossing import Crossed

Rows = NDArray[np.float32]

#: All translators, cheapest first; the last two are networks that are trained.
NAMES: tuple[str, ...] = ("identity", "shift", "procrustes", "ridge", "memory", "mlp", "qformer")
TRAINED: tuple[str, ...] = ("mlp", "qformer")
#: What is said of a text whose own class's pictures taught the translator.
LEAK = "pairs of the same class taught it"


@dataclass(frozen=True)
class Said:
    """Lines as an encoder reads them: pooled ``"lines width"``.

    Where a translator needs them, also tokens ``"lines tokens width"`` and their mask ``"lines tokens"``.
    """

    pooled: Rows
    tokens: Any = None
    mask: Any = None

    def take(self, places: NDArray[np.integer]) -> Said:
        """Return the lines at `places`."""
        more = (None, None) if self.tokens is None else (self.tokens[places], self.mask[places])
        return Said(self.pooled[places], *more)


@dataclass(frozen=True)
class Pairs:
    """Line n belongs to picture n: `lines`, `pictures` ``"pairs features"``, and the class of each pair ``"pairs"`` (-1 where none).

    Several lines of one picture repeat its row; they are never divided between learning and holding out.
    """

    lines: Said
    pictures: Rows
    groups: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pictures)

    def take(self, places: NDArray[np.integer]) -> Pairs:
        """Return the pairs at `places`."""
        return Pairs(self.lines.take(places), self.pictures[places], self.groups[places])


class Translator(Protocol):
    """What was learned; frozen."""

    @property
    def name(self) -> str:
        """Which of `NAMES` it is."""
        ...

    @property
    def told(self) -> dict[str, Any]:
        """What was chosen or drawn while it was learned, as plain values."""
        ...

    def __call__(self, lines: Said) -> Rows:
        """Return ``"lines features"`` float32 in the space of pictures, not normalised."""
        ...


@dataclass(frozen=True)
class NotApplicable:
    """A translator that these features do not allow, and `why`."""

    name: str
    why: str


@dataclass(frozen=True)
class Work:
    """Where translators are learned: `folder` keeps those that were trained (`None`: nothing is kept), `device` trains them."""

    folder: Path | None = None
    progress: Progress = field(default_factory=Silent)
    device: str = "cpu"

    @classmethod
    def of(cls, bench: Bench) -> Work:
        """Keep them in the store that all contestants of a study share, or in scratch where nothing is shared."""
        return cls((bench.shared or bench.scratch) / "translators", bench.progress, bench.device)


def why_not(name: str, pairs: Pairs) -> str | None:
    """Return why the translator `name` cannot be learned from `pairs`, or `None` where it can."""
    if name not in NAMES:
        return f"there is no translator called {name}"
    if not len(pairs) and name != "identity":
        return "there is no pair to learn from"
    width, features = pairs.lines.pooled.shape[1], pairs.pictures.shape[1]
    if name in ("identity", "shift") and width != features:
        return f"a line has {width:,} features and a picture {features:,}"
    if name == "qformer" and pairs.lines.tokens is None:
        return "it attends to the tokens of a line, and these lines have none"
    return None


def fitted(
    name: str, pairs: Pairs, seed: int = 0, val: Pairs | None = None, work: Work | None = None
) -> Translator | NotApplicable:
    """Learn the translator `name` from `pairs`.

    What it has to choose is chosen on `val`; without one, on a fifth of `pairs` that is held out for that, of other classes than
    the rest where the pairs have classes. Those without training are then learned from all `pairs`.
    """
    why = why_not(name, pairs)
    if why is not None:
        return NotApplicable(name, why)
    if name in TRAINED:
        from fieldguide.craft.translators.training import trained

        return trained(name, pairs, seed, val, work or Work())
    from fieldguide.craft.translators import closed, memory

    learn: dict[str, Callable[[], Translator]] = {
        "identity": closed.identity,
        "shift": lambda: closed.shift(pairs),
        "procrustes": lambda: closed.procrustes(pairs),
        "ridge": lambda: closed.ridge(pairs, seed, val),
        "memory": lambda: memory.memory(pairs, seed, val),
    }
    return learn[name]()


def crossed(name: str, pairs: Pairs, folds: int = 5, seed: int = 0, work: Work | None = None) -> Crossed | NotApplicable:
    """Learn the translator `name` once for each fold of classes, from the pairs of all other classes.

    What is returned is called with lines and their classes; see `crossing.Crossed`.
    """
    from fieldguide.craft.translators import crossing

    return crossing.crossed(name, pairs, folds, seed, work or Work())
