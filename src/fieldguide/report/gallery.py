"""The gallery of what was got wrong: which pictures are shown, in which order, and what is said under each."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from fieldguide.bench import cores
from fieldguide.records import ManifestRow
from fieldguide.report import say
from fieldguide.report.causes import Tags, tags_of
from fieldguide.report.read import Answer, Contestant, Study
from fieldguide.report.thumbnails import Thumbnail

#: Most pictures, and most base64 characters of all pictures together: the whole page stays under 10 MB.
MOST_PICTURES, MOST_CHARACTERS = 400, 6_000_000
#: Share of the pictures that goes to the ones most contestants missed; the rest shows confusions not seen yet.
_HARDEST_SHARE = 0.7
#: Every two of so many leading contestants are a leading pair: what both of them missed stands first.
LEADERS = 3
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
    """One picture that somebody got wrong; `said` holds a class position for each scored contestant.

    `led` counts the leading pairs of contestants that both missed it.
    """

    row: ManifestRow
    truth: int
    said: tuple[int, ...]
    missed: int
    confidence: float
    led: int = 0

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
    tags: Tags


@dataclass(frozen=True, slots=True)
class Gallery:
    """The figures in order, and how many wrong pictures there are in all.

    `examples` has for each confusion shown the first figure and their number, `pairs` for each two contestants that missed a picture
    together. `led` is the number of pictures that a pair of the `leaders` missed together; those stand first.
    """

    shots: tuple[Shot, ...]
    total: int
    examples: dict[Cell, tuple[int, int]]
    pairs: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    led: int = 0
    leaders: tuple[str, ...] = ()

    @property
    def marked(self) -> dict[int, int]:
        """The first figure that carries each cause, by the cause's position."""
        return {tag.position: shot.number for shot in reversed(self.shots) for tag in shot.tags.tags}

    @property
    def more(self) -> int:
        """Number of wrong pictures that are not shown."""
        return self.total - len(self.shots)


def wrong_pictures(study: Study) -> list[Wrong]:
    """Return every test picture that at least one contestant got wrong.

    First those that both of a leading pair missed (of more pairs before fewer), then those that most missed.
    """
    found, seen, leading = [], set(), leaders(study)
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
            beaten = sum(said[run] != truth for run in leading)
            found.append(Wrong(row, truth, said, len(wrong), confidence, beaten * (beaten - 1) // 2))
    return sorted(found, key=lambda wrong: (-wrong.led, -wrong.missed, -wrong.confidence, wrong.row.key))


def leaders(study: Study) -> tuple[int, ...]:
    """Return the positions of the first `LEADERS` contestants that are better than chance, where two or more are."""
    above = (study.comparison or {}).get("above_chance", {})
    fit = tuple(run for run, contestant in enumerate(study.scored) if above.get(contestant.name))[:LEADERS]
    return fit if len(fit) > 1 else ()


def chosen(wrong: list[Wrong], most: int) -> list[Wrong]:
    """Return at most `most` pictures: the first ones, with all that leading pairs missed, then one for each further confusion, then more.

    Without the second step one frequent confusion of the weakest contestant could fill the gallery.
    """
    if len(wrong) <= most:
        return wrong
    first = max(int(most * _HARDEST_SHARE), min(most, sum(one.led > 0 for one in wrong)))
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
    names = tuple(study.scored[run].name for run in leaders(study))
    led = sum(wrong.led > 0 for wrong in everything)
    return Gallery(tuple(shots), len(everything), *_examples(shots), led, names)


def _examples(shots: list[Shot]) -> tuple[dict[Cell, tuple[int, int]], dict[tuple[int, int], tuple[int, int]]]:
    """Return the first figure and the number of figures of each confusion, and of each two contestants that missed a picture."""
    examples: dict[Cell, tuple[int, int]] = {}
    pairs: dict[tuple[int, int], tuple[int, int]] = {}
    for shot in shots:
        cells = shot.wrong.cells
        for cell in cells:
            number, count = examples.get(cell, (shot.number, 0))
            examples[cell] = (number, count + 1)
        for pair in itertools.combinations([run for run, _, _ in cells], 2):
            number, count = pairs.get(pair, (shot.number, 0))
            pairs[pair] = (number, count + 1)
    return examples, pairs


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
        tags=tags_of(study, wrong.row.key),
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
