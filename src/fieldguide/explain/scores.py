"""What a contestant answers for variations of one picture, whatever family it is of: the only thing that every one of them can be asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.craft.sight import Sight
from fieldguide.data.batches import Preprocessing, evaluation_batches
from fieldguide.explain.maps import NotApplicable
from fieldguide.families import Fitted
from fieldguide.records import Image, Pixels

#: Pictures that go through a network at once.
AT_ONCE = 32
#: Probabilities below this are called this: a language model that gives none to a class is not infinitely sure.
LEAST = 1e-12
#: Size of the pictures that a contestant is asked with until it has said which one it wants, in pixels.
_FIRST = 224

Box = tuple[float, float, float, float]


class _Variations:
    """A `PixelReader` over pictures in memory; it notes the largest size that was asked for."""

    def __init__(self, pictures: Sequence[Pixels]) -> None:
        self.pictures, self.asked = pictures, 0

    def read(self, key: str, at_least: int) -> Pixels:
        self.asked = max(self.asked, at_least)
        return self.pictures[int(key.rpartition(" ")[2])]

    def prepare(self, keys: Sequence[str], at_least: int) -> None:
        """They are there already."""

    def images(self) -> Iterator[Image]:
        for number in range(len(self.pictures)):
            yield Image(f"variation {number}", self)


@dataclass(frozen=True)
class Scores:
    """Asks `fitted` for logits or log-probabilities of its classes; through `sight`, in float32, where it can be looked into."""

    fitted: Fitted
    sight: Sight | None

    @classmethod
    def of(cls, fitted: Fitted) -> Scores:
        """Return the scores of a fitted contestant."""
        look: Any = getattr(fitted, "sight", None)
        return cls(fitted, look() if callable(look) else None)

    def __call__(self, pictures: Sequence[Pixels]) -> NDArray[np.float64]:
        """Return ``"pictures classes"`` of RGB pictures ``"height width 3"``; raises `NotApplicable` where it gives no probabilities."""
        images = _Variations(pictures).images()
        rows = list(self._seen(self.sight, images) if self.sight else self._answered(images))
        return np.concatenate(rows) if rows else np.zeros((0, 0))

    @staticmethod
    def _seen(sight: Sight, images: Iterable[Image]) -> Iterator[NDArray[np.float64]]:
        for batch in evaluation_batches(images, sight.preprocessing, AT_ONCE):
            yield sight.logits(batch.pixels).double().numpy()

    def _answered(self, images: Iterable[Image]) -> Iterator[NDArray[np.float64]]:
        for answer in self.fitted.predict(images):
            # One that is withheld because it is too unsure has an error and probabilities.
            if answer.probabilities is None:
                covered = f"it gives no answer for a picture that is partly covered ({answer.error})"
                raise NotApplicable("it gives no probabilities" if answer.error is None else covered, ())
            yield np.log(np.maximum(np.array([answer.probabilities]), LEAST))

    def picture(self, image: Image) -> Pixels:
        """Return the pixels of `image` at the size this contestant asks for; raises `PictureError` where they cannot be read.

        Raises `NotApplicable` for a contestant that says of itself that it gives no probabilities, without asking it anything: that may cost
        money, and send pictures elsewhere.
        """
        if self.sight is not None:
            return image.pixels(self.sight.preprocessing.resize)
        if not getattr(self.fitted, "gives_probabilities", True):
            raise NotApplicable(getattr(self.fitted, "unexplained", "it gives no probabilities"), ())
        trial = _Variations([image.pixels(_FIRST)])
        list(self.fitted.predict(trial.images()))
        return image.pixels(trial.asked) if trial.asked else trial.pictures[0]

    def seen(self, pixels: Pixels) -> Box:
        """Return the box of the picture that the contestant sees: left, top, right, bottom as parts of its width and height."""
        return seen(pixels, self.sight.preprocessing) if self.sight else (0.0, 0.0, 1.0, 1.0)


def seen(pixels: Pixels, preprocessing: Preprocessing) -> Box:
    """Return the box of a picture ``"height width 3"`` that is left after resizing and the centre crop."""
    height, width = pixels.shape[:2]
    short, size = preprocessing.resize, preprocessing.size
    scale = short / min(height, width)
    tall, wide = (short, short) if preprocessing.squash else (height * scale, width * scale)
    x, y = (max(0.0, (1 - size / side) / 2) for side in (wide, tall))
    return x, y, 1 - x, 1 - y
