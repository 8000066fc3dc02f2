"""The gallery of what was got wrong: which pictures are shown, in which order, and what is said under each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fieldguide.bench import cores
from fieldguide.records import ManifestRow
from fieldguide.report import say
from fieldguide.report.read import Answer, Contestant, Study
from fieldguide.report.thumbnails import Thumbnail

#: Most pictures, and most base64 characters of all pictures together: the whole page stays under 10 MB.
MOST_PICTURES, MOST_CHARACTERS = 400, 6_000_000
#: Share of the pictures that goes to the ones most contestants missed; the rest shows confusions not seen yet.
_HARDEST_SHARE = 0.7
NO_ANSWER = -1

#: One confusion: position of the contestant in `Study.scored`, of the truth and of the answer (`NO_ANSWER` for none).
Cell = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Line:
    """One contestant's answer under a picture; `kind` is ``right``, ``wrong`` or ``none``."""

    contestant: Contestant
    kind: str
    said: str
    probability: str = ""


@dataclass(frozen=True, slots=True)
class Wrong:
    """One picture that somebody got wrong; `said` holds a class position for each scored contestant."""

    row: ManifestRow
    truth: int
    said: tuple[int, ...]
    missed: int
    confidence: float

    @property
    def cells(self) -> list[Cell]:
        """The confusions this picture is an example of."""
        return [(run, self.truth, said) for run, said in enumerate(self.said) if said != self.truth]


@dataclass(frozen=True, slots=True)
class Shot:
    """One figure of the gallery."""

    number: int
    wrong: Wrong
    thumbnail: Thumbnail
    truth: str
    headline: str
    everyone: bool
    groups: tuple[tuple[str, int], ...]
    lines: tuple[Line, ...]
    alt: str
    path: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """The figures in order, how many wrong pictures there are in all, and an example for each confusion shown."""

    shots: tuple[Shot, ...]
    total: int
    examples: dict[Cell, tuple[int, int]]

    @property
    def more(self) -> int:
        """Number of wrong pictures that are not shown."""
        return self.total - len(self.shots)


def wrong_pictures(study: Study) -> list[Wrong]:
    """Return every test picture that at least one contestant got wrong, those that most missed first."""
    found, seen = [], set()
    for row in study.manifest.part("test"):
        if row.key in seen:
            continue
        seen.add(row.key)
        truth = study.index[row.label]
        answers = [contestant.answers.get(row.key) for contestant in study.scored]
        said = tuple(NO_ANSWER if a is None or a.label not in study.index else study.index[a.label] for a in answers)
        wrong = [answer for answer, answered in zip(answers, said, strict=True) if answered != truth]
        if wrong:
            confidence = sum(answer.probability or 0.0 for answer in wrong if answer is not None)
            found.append(Wrong(row, truth, said, len(wrong), confidence))
    return sorted(found, key=lambda wrong: (-wrong.missed, -wrong.confidence, wrong.row.key))


def chosen(wrong: list[Wrong], most: int) -> list[Wrong]:
    """Return at most `most` pictures: the ones missed most, then one for each confusion not shown yet, then more.

    Without the second step one frequent confusion of the weakest contestant could fill the gallery.
    """
    if len(wrong) <= most:
        return wrong
    first = int(most * _HARDEST_SHARE)
    taken = set(range(first))
    covered = {cell for position in taken for cell in wrong[position].cells}
    for position in range(first, len(wrong)):
        if len(taken) < most and not covered.issuperset(wrong[position].cells):
            taken.add(position)
            covered.update(wrong[position].cells)
    for position in range(first, len(wrong)):
        if len(taken) < most:
            taken.add(position)
    return [wrong[position] for position in sorted(taken)]


def gallery(study: Study, picture: Callable[[str], Thumbnail], most: int = MOST_PICTURES) -> Gallery:
    """Return the gallery of `study` with at most `most` figures; `picture` gives the thumbnail of a content hash."""
    everything = wrong_pictures(study)
    shots: list[Shot] = []
    characters = 0
    picked = chosen(everything, most)
    with ThreadPoolExecutor(max(1, min(4, cores()))) as pool:
        small_ones = list(pool.map(picture, [wrong.row.key for wrong in picked]))
    for wrong, small in zip(picked, small_ones, strict=True):
        characters += len(small.uri or "")
        if characters > MOST_CHARACTERS:
            break
        shots.append(_shot(len(shots), wrong, small, study))
    examples: dict[Cell, tuple[int, int]] = {}
    for shot in shots:
        for cell in shot.wrong.cells:
            number, count = examples.get(cell, (shot.number, 0))
            examples[cell] = (number, count + 1)
    return Gallery(tuple(shots), len(everything), examples)


def _shot(number: int, wrong: Wrong, small: Thumbnail, study: Study) -> Shot:
    lines = tuple(
        _line(contestant, said, contestant.answers.get(wrong.row.key), wrong.truth, study)
        for contestant, said in zip(study.scored, wrong.said, strict=True)
    )
    truth = study.classes[wrong.truth].name
    groups = Counter(line.said for line in lines if line.kind == "wrong").most_common()
    silent = sum(line.kind == "none" for line in lines)
    return Shot(
        number=number,
        wrong=wrong,
        thumbnail=small,
        truth=truth,
        headline=_headline(wrong.missed, len(lines)),
        everyone=wrong.missed == len(lines),
        groups=tuple(groups) + ((("no answer", silent),) if silent else ()),
        lines=lines,
        alt=_alt(truth, lines),
        path="/".join(wrong.row.path.replace("\\", "/").split("/")[-3:]),
    )


def _line(contestant: Contestant, said: int, answer: Answer | None, truth: int, study: Study) -> Line:
    if said == NO_ANSWER:
        return Line(contestant, "none", (answer.error if answer and answer.error else None) or "no answer recorded")
    probability = answer.probability if answer else None
    shown = say.percent(probability) if probability is not None else ""
    return Line(contestant, "right" if said == truth else "wrong", study.classes[said].name, shown)


def _headline(missed: int, total: int) -> str:
    if missed == total:
        return {1: "missed", 2: "missed by both"}.get(total, f"missed by all {total}")
    return f"missed by {missed} of {total}"


def _alt(truth: str, lines: tuple[Line, ...]) -> str:
    wrong = [line for line in lines if line.kind != "right"]
    told = [
        f"{line.contestant.name} gives no answer"
        if line.kind == "none"
        else f"{line.contestant.name} says {line.said} {line.probability}".strip()
        for line in wrong[:3]
    ]
    more = [f"{len(wrong) - 3} more are wrong"] if len(wrong) > 3 else []
    return "; ".join([f"true {truth}", *told, *more])
