"""Bursts: pictures of one scene, taken moments apart, or made from one picture by an augmentation service.

They are no copies, but a model that has learned one of them has seen the others. Names and times only say where to look, and
the look decides: many sets number unrelated pictures through. The one exception are the names an augmentation service gives to
what it makes of one picture, ``<stem>_jpg.rf.<hash>.jpg``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import PurePosixPath

import numpy as np

from fieldguide.data.alike import Groups, Sketch, low_waves, values
from fieldguide.data.overlay import scenery

#: Numbers this far apart count as consecutive: one picture of a burst is often thrown away.
_NUMBERS = 2
#: Seconds within which two pictures may be of one burst, and how many of the pictures that follow in time are looked at.
_SECONDS, _FOLLOWING = 5.0, 3
#: Agreement of the scenery that consecutive numbers must reach, and close times. Of 11,504 pairs of consecutive numbers that
#: mean nothing (bird photos numbered within their class) 99.8 % reach 0.5 at most; three reach 0.73, two of them of one bird in
#: one moment, the third of two colours. Of 72 pairs of drawn scenes with a moving thing in front all do.
_BY_NUMBER, _BY_TIME = 0.73, 0.5
#: Squared distance of the lowest waves of gray and colour over which two pictures are not laid over each other.
_NEAR = 1.2
#: Pictures of one stem that may be joined by the name alone; phones call every upload ``image.jpg``.
_MOST_OF_A_STEM = 12
_BATCH = 128

_AUGMENTED = re.compile(r"(?P<stem>.+)_(?:jpe?g|png|bmp|webp|tiff?|gif|heic|avif)\.rf\.[0-9A-Za-z]{16,}\.[a-z]+", re.IGNORECASE)
#: Folders that name a part of a split; a burst does not end there.
_PARTS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation", "dev"})


def bursts(names: Sequence[str], taken: Sequence[str | None], sketches: Sequence[Sketch | None]) -> tuple[tuple[int, ...], ...]:
    """Return groups of positions, each of one scene and moment, sorted.

    `names` are paths below the source with forward slashes, `taken` EXIF times ``YYYY:MM:DD HH:MM:SS`` or `None`. Pictures
    without a sketch are joined by an augmentation service's names only. Time grows like n log n.
    """
    groups = Groups(len(names))
    numbers, times = set(_by_number(names)), set(_by_time(taken))
    for joined in (
        _by_stem(names),
        _seen(sorted(times), sketches, _BY_TIME),
        _seen(sorted(numbers - times), sketches, _BY_NUMBER),
    ):
        for pair in joined:
            groups.join(*pair)
    return groups.several()


def _place(name: str) -> tuple[tuple[str, ...], str]:
    """Return the folders of a name, without those that name a part of a split, and the file's own name."""
    *folders, own = PurePosixPath(name).parts or ("",)
    return tuple(folder for folder in folders if folder.casefold() not in _PARTS), own


def _by_stem(names: Sequence[str]) -> Iterator[tuple[int, int]]:
    stems: dict[tuple[tuple[str, ...], str], list[int]] = {}
    for at, name in enumerate(names):
        folders, own = _place(name)
        if match := _AUGMENTED.fullmatch(own):
            stems.setdefault((folders, match["stem"]), []).append(at)
    for together in stems.values():
        if len(together) <= _MOST_OF_A_STEM:
            yield from pairwise(together)


def _by_number(names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield pairs whose names differ in one number only, and by little."""
    runs: dict[tuple[tuple[str, ...], str, str], list[tuple[int, int]]] = {}
    for at, name in enumerate(names):
        folders, own = _place(name)
        if split := _last_number(PurePosixPath(own).stem):
            before, number, after = split
            runs.setdefault((folders, before.casefold(), after.casefold()), []).append((number, at))
    for run in runs.values():
        run.sort()
        for steps in (1, 2):
            for (number, one), (later, other) in zip(run, run[steps:], strict=False):
                if later - number <= _NUMBERS:
                    yield min(one, other), max(one, other)


def _last_number(stem: str) -> tuple[str, int, str] | None:
    """Split ``IMG_0042 (copy)`` into ``IMG_``, 42 and `` (copy)``."""
    found = list(re.finditer(r"[0-9]+", stem))
    if not found or len(found[-1].group()) > 15:
        return None
    last = found[-1]
    return stem[: last.start()], int(last.group()), stem[last.end() :]


def _by_time(taken: Sequence[str | None]) -> Iterator[tuple[int, int]]:
    """Yield pairs taken within seconds of each other; a thousand with one stamp are compared with the few that follow."""
    moments = sorted((moment, at) for at, text in enumerate(taken) if (moment := _moment(text)) is not None)
    for steps in range(1, _FOLLOWING + 1):
        for (moment, one), (later, other) in zip(moments, moments[steps:], strict=False):
            if later - moment <= _SECONDS:
                yield min(one, other), max(one, other)


def _moment(text: str | None) -> float | None:
    """Return seconds since some day; `None` for what is no time, such as the zeros of a camera whose clock was never set."""
    try:
        moment = datetime.strptime((text or "").strip(), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    return (moment - datetime(1, 1, 1)).total_seconds()


def _seen(pairs: Sequence[tuple[int, int]], sketches: Sequence[Sketch | None], least: float) -> Iterator[tuple[int, int]]:
    """Yield the pairs that look alike: the lowest waves are near, and most of the scenery agrees."""
    known = [(pair, one, other) for pair in pairs if (one := sketches[pair[0]]) and (other := sketches[pair[1]])]
    for start in range(0, len(known), _BATCH):
        part = known[start : start + _BATCH]
        waves = [low_waves(side) for side in ([one for _, one, _ in part], [other for _, _, other in part])]
        near = [part[at] for at in np.flatnonzero(((waves[0] - waves[1]) ** 2).sum(1) <= _NEAR)]
        if near:
            scores = scenery(values([one for _, one, _ in near]), values([other for _, _, other in near]))
            yield from (pair for (pair, _, _), score in zip(near, scores, strict=True) if score >= least)
