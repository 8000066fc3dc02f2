"""The step before the scores: the test pictures are measured once, and the measures stay in ``measures.parquet``."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from fieldguide.bench import Progress, Silent
from fieldguide.data.measures import Measure, measure, read_measures, write_measures
from fieldguide.data.store import in_threads
from fieldguide.errors import DataProblem, PictureError
from fieldguide.records import Manifest, Pixels

NAME = "measures.parquet"
#: Pixels that are measured have a shorter side of at least this, where the picture has so many.
AT_LEAST = 160


class Pictures(Protocol):
    """Gives pixels by content hash, as `fieldguide.data.store.Store` does."""

    def read(self, key: str, at_least: int) -> Pixels:
        """Return ``"height width 3"`` uint8 RGB; raises `PictureError` where there is nothing to read."""
        ...


def measure_pictures(
    folder: Path, manifest: Manifest, pictures: Pictures, progress: Progress | None = None
) -> dict[str, Measure]:
    """Return the measures of the test pictures of the study in `folder`, by content hash; what was measured before is only read.

    A picture that cannot be read has none. A table that is damaged, or that another version wrote, is made anew.
    """
    path = folder / NAME
    wanted = list(dict.fromkeys(row.key for row in manifest.part("test")))
    try:
        old = read_measures(path)
    except DataProblem:
        old = {}
    known = {key: old[key] for key in wanted if key in old}
    missing = [key for key in wanted if key not in known]
    if missing:
        found = dict(known)
        with (progress or Silent()).bar("measure", len(missing)) as bar:
            for key, one in in_threads(lambda key: _measured(pictures, key), missing):
                if one is not None:
                    found[key] = one
                bar.advance()
        known = found
    if known != old or not path.exists():
        write_measures(path, known)
    return known


def require_by_hand(folder: Path, manifest: Manifest) -> None:
    """Raise `UsageProblem` for a slip in the study's ``causes.toml`` now, not after hours of work."""
    from fieldguide.evaluate.by_hand import read_by_hand
    from fieldguide.evaluate.hypotheses import NAMES

    read_by_hand(folder, manifest, NAMES)


def _measured(pictures: Pictures, key: str) -> Measure | None:
    try:
        return measure(pictures.read(key, AT_LEAST))
    except (PictureError, OSError, KeyError, ValueError):  # as with a thumbnail: a picture that cannot be read stops nothing
        return None
