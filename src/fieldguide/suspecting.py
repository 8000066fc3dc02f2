"""Label suspects without a study: one contestant, cross-validated through the normal page in a scratch folder."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldguide import plan, study
from fieldguide.bench import Progress
from fieldguide.data.checks import Finding, FindingState
from fieldguide.errors import plain
from fieldguide.files import read_json
from fieldguide.records import Manifest, ManifestRow

CODE, TITLE = "FG014", "Label suspects"
#: Folds where the classes are large enough for each to be in all of them, and the fewest that cross-validation takes.
MOST_FOLDS, FEWEST_FOLDS = 5, 3
#: Names that the finding shows.
_SHOWN = 8


@dataclass(frozen=True)
class Suspect:
    """A label to look at: the file, the class it has, the class that is suggested, and the probability of the given one (0 to 1)."""

    path: str
    given: str
    suggested: str
    quality: float

    def __str__(self) -> str:
        return f"{self.path}: {self.given}, perhaps {self.suggested} ({self.quality:.2f})"


@dataclass(frozen=True)
class Suspicion:
    """What one contestant doubts; `pictures` were judged, `accuracy` is how often its answer was the given label."""

    state: str
    why: str
    contestant: str
    pictures: int
    suspects: tuple[Suspect, ...] = ()
    accuracy: float | None = None


def suspects_finding(suspicion: Suspicion) -> Finding:
    """Return what there is to tell as a finding."""
    who = f"{suspicion.contestant}{'' if suspicion.accuracy is None else f', right on {100 * suspicion.accuracy:.1f} %,'}"
    why = f" {suspicion.why}." if suspicion.why else ""
    if suspicion.state == "found":
        detail = f"Of {suspicion.pictures:,} pictures {who} doubts these labels. A hard picture looks the same to it: look at them.{why}"
        names = tuple(str(suspect) for suspect in suspicion.suspects[:_SHOWN])
        return Finding(CODE, "found", TITLE, len(suspicion.suspects), detail, names)
    if suspicion.state == "fine":
        return Finding(CODE, "fine", TITLE, 0, f"{who} doubts no label of {suspicion.pictures:,} pictures.{why}")
    state: FindingState = "not applicable" if suspicion.state == "not applicable" else "skipped"
    return Finding(CODE, state, TITLE, 0, f"{suspicion.contestant} could not say.{why}")


def require_contestant(spec: str, *, online: bool = False) -> None:
    """Raise now what would stop `spec` after the pictures were examined: a wrong name or setting, weights that are not there."""
    (contestant,) = plan.read_contestants((spec,))
    problem = plan.obstacle(contestant, online)
    if problem is not None:
        raise problem


def suspect(
    source: str,
    spec: str,
    rows: Sequence[ManifestRow],
    *,
    online: bool = False,
    progress: Progress | None = None,
    **given: Any,
) -> Suspicion:
    """Let the contestant `spec` answer for pictures of `source` that it was not trained on, and return what it doubts.

    `rows` are those of an examination, `given` fields of `fieldguide.asked.Asked`. Every picture is judged once, in
    cross-validation; where the source has a split of its own, its test and validation pictures are. Nothing is kept.
    """
    (contestant,) = plan.read_contestants((spec,))
    with tempfile.TemporaryDirectory(prefix="fieldguide-") as scratch:
        values = {**given, **_folds(rows, given), "contestants": (spec,)}
        asked, folder = study.read_asked(source, Path(scratch) / "study", **values)
        done = study.compare(asked, folder, online=online, progress=progress)
        failure = done.failure(contestant.name)
        if failure:
            return Suspicion("skipped", plain(failure["given"]).removesuffix("."), contestant.name, 0)
        told = dict(read_json(folder / "suspects.json"))
        accuracy = done.scores(contestant.name)["parts"]["test"]["metrics"]["accuracy"]["value"]
        return _suspicion(told, done.manifest, contestant.name, accuracy)


def _folds(rows: Sequence[ManifestRow], given: Mapping[str, Any]) -> dict[str, int]:
    """Return the folds: as asked, none where the source has test or validation pictures, fewer where classes are small."""
    taking_part = [row for row in rows if row.excluded is None]
    if given.get("folds") or any(row.split in ("val", "test") for row in taking_part):
        return {}
    smallest = min(Counter(row.label for row in taking_part).values())
    return {"folds": max(FEWEST_FOLDS, min(MOST_FOLDS, smallest))}


def _suspicion(told: Mapping[str, Any], manifest: Manifest, name: str, accuracy: float) -> Suspicion:
    paths = {row.key: row.path for row in manifest.part()}
    suspects = tuple(
        Suspect(paths[line["image"]], str(line["given"]), str(line["suggested"]), float(line["quality"]))
        for line in told["suspects"]
    )
    return Suspicion(str(told["state"]), str(told["why"] or ""), name, int(told["pictures"]), suspects, accuracy)
