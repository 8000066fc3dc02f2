"""Using a fitted contestant on new pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fieldguide import runs
from fieldguide.asked import Terms
from fieldguide.bench import Progress, Silent
from fieldguide.data.classes import read_classes
from fieldguide.data.loose import Files, picture_files
from fieldguide.files import read_own, told_plainly, write_csv
from fieldguide.sending import at_work


@dataclass(frozen=True)
class FileAnswer:
    """The answer for one file. `label` is a class id, `name` its display name; `confidence` is 0 to 1 where there is one.

    Of a contestant that counts there are `counts` by class id instead, and `name` says them in words.
    """

    path: Path
    label: str | None
    name: str | None
    confidence: float | None
    probabilities: tuple[float, ...] | None
    error: str | None
    counts: Mapping[str, int] | None = None


@told_plainly()
def predict_files(
    run: Path, pictures: Iterable[str | Path], progress: Progress | None = None, *, yes: bool = False
) -> list[FileAnswer]:
    """Return one answer for each file, in order; a file that cannot be read is an answer with `error`.

    `run` is a folder ``STUDY/runs/NAME``. `yes` agrees that pictures are sent to another machine, where the contestant does that. Raises
    `UsageProblem` where it holds no fitted contestant or nothing is given, and where nobody agrees.
    """
    paths = picture_files(pictures)
    fitted = runs.load(Path(run))
    ids = read_own(Path(run) / "model" / "fieldguide.json")["classes"]
    names = {info.id: info.name for info in read_classes(Path(run) / "model" / "classes.toml", ids)}
    files = Files()
    images = list(files.images(paths))
    fitted = at_work(Path(run), fitted, [image.key for image in images], Terms(yes=yes), progress or Silent())
    answers = []
    with (progress or Silent()).bar("answer", len(paths)) as bar:
        for path, answer in zip(paths, fitted.predict(iter(images)), strict=True):
            sure = max(answer.probabilities) if answer.probabilities and answer.label is not None else None
            name = None if answer.label is None else names.get(answer.label, answer.label)
            if answer.counts is not None:
                shown = [f"{count} {names.get(id, id)}" for id, count in answer.counts.items() if count]
                name = ", ".join(shown) or "nothing"
            answers.append(FileAnswer(path, answer.label, name, sure, answer.probabilities, answer.error, answer.counts))
            bar.advance()
    return answers


def write_answers(target: Path, run: Path, answers: Sequence[FileAnswer]) -> None:
    """Write CSV: path, label, name, confidence, error, and a probability for each class; of counts path, error and a number for each."""
    ids = read_own(Path(run) / "model" / "fieldguide.json")["classes"]
    if any(answer.counts is not None for answer in answers):
        table = ([str(one.path), one.error, *((one.counts or {}).get(id) for id in ids)] for one in answers)
        write_csv(target, ["path", "error", *ids], table)
        return
    header = ["path", "label", "name", "confidence", "error", *(f"p_{id}" for id in ids)]
    rows = (
        [
            str(answer.path),
            answer.label,
            answer.name,
            answer.confidence,
            answer.error,
            *(answer.probabilities or [None] * len(ids)),
        ]
        for answer in answers
    )
    write_csv(target, header, rows)
