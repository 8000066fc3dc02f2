"""What differs between kinds of contestants and between parts of the test pictures: ``kinds.json`` and ``slices.json`` of a study."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldguide.bench import read_log
from fieldguide.files import write_json
from fieldguide.records import MARKS, Manifest, ManifestRow

if TYPE_CHECKING:
    from fieldguide.evaluate.answers import AnswerSheet
    from fieldguide.evaluate.slices import Slicing

FILES = ("kinds.json", "slices.json")
#: From here on a picture counts as drawn rather than photographed.
DRAWN = 0.5
_NOT_MEASURED = "the pictures were not measured"
_MARKED = {"leaked": "Also in train", "repeated": "Repeats another test picture", "burst": "Of one scene with another picture"}


def write_differences(
    folder: Path,
    manifest: Manifest,
    sheets: Sequence[AnswerSheet],
    scores: Sequence[Mapping[str, Any]],
    of_runs: Mapping[str, str],
) -> None:
    """Write both files for the contestants of `sheets`; `scores` are the contents of their ``scores.json``, `of_runs` their kinds.

    Without sheets there is nothing to tell, and files of an earlier time are taken away.
    """
    from fieldguide.evaluate import kinds, slices

    if not sheets:
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        return
    write_json(folder / "kinds.json", kinds.told(sheets, of_runs, scores))
    write_json(folder / "slices.json", slices.told(sheets, of_runs, slicings(folder, manifest.part("test"))))


def kind_of_run(run: Path, family: str) -> str:
    """Return the kind of the contestant in the folder `run`, as its log or else its family tells it."""
    from fieldguide.evaluate.kinds import kind_of

    facts: dict[str, Any] = {}
    for event in read_log(run / "log.jsonl"):
        if event.get("event") == "fact":
            facts |= event
    return kind_of(family, facts)


def slicings(folder: Path, rows: Sequence[ManifestRow]) -> list[Slicing]:
    """Return the ways in which the test pictures of `rows` are cut, those that cannot be with the reason."""
    from fieldguide.evaluate.slices import Slicing, by_answer, by_quarter

    pixels = [None if row.width is None or row.height is None else float(row.width * row.height) for row in rows]
    cut = [by_quarter("resolution", "Resolution", pixels, _pixels)]
    measures = _measures(folder / "measures.parquet")

    def measured(name: str) -> list[float | None]:
        return [None if row.key not in measures else float(getattr(measures[row.key], name)) for row in rows]

    if measures:
        drawn = [None if value is None else value >= DRAWN for value in measured("drawing")]
        cut += [
            by_quarter("sharpness", "Sharpness", measured("sharpness"), lambda value: f"{value:.2f}"),
            by_answer("drawing", "Photograph or drawing", ("photographs", "drawings"), drawn),
            by_quarter("subject", "Size of the subject", measured("subject"), lambda value: f"{100 * value:.0f} %"),
        ]
    else:
        absent = {"sharpness": "Sharpness", "drawing": "Photograph or drawing", "subject": "Size of the subject"}
        cut += [Slicing(code, title, why=_NOT_MEASURED) for code, title in absent.items()]
    marked = {mark: [mark in row.marks for row in rows] for mark in MARKS}
    names = ("without the mark", "with it")
    return cut + [by_answer(mark, _MARKED[mark], names, values) for mark, values in marked.items() if any(values)]


def _measures(path: Path) -> Mapping[str, Any]:
    """Return what was measured of each picture by content hash; empty where nothing was."""
    if not path.exists():
        return {}
    try:
        read: Callable[[Path], Mapping[str, Any]] = importlib.import_module("fieldguide.data.measures").read_measures
    except ModuleNotFoundError:
        return {}
    return read(path)


def _pixels(count: float) -> str:
    millions = count / 1e6
    return (
        f"{count:,.0f} pixels"
        if count < 10_000
        else f"{millions:.2g} megapixels"
        if millions < 10
        else f"{millions:.0f} megapixels"
    )
