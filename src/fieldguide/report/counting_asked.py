"""The section on language models that were asked how many there are: the question, how it was read, words that gave no counts, and the cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fieldguide.report import say
from fieldguide.report.prompted_files import Counted, Part, Prompted, words
from fieldguide.report.prompting_asked import Asked, asked
from fieldguide.report.prompting_cost import Cost, Hardware, costs, hardware
from fieldguide.report.read import Contestant, Study
from fieldguide.tasks.count_reading import KINDS, kind_of

_READINGS = {
    "strict": "read strictly: the JSON object alone",
    "json": "read as JSON, among other words, too",
}
#: Characters of an answer that are shown.
_MOST = 160


@dataclass(frozen=True, slots=True)
class Run:
    """One contestant: how it was asked and read, and kinds of answers without counts: what, how many, and the words of one."""

    contestant: Contestant
    asked: Asked
    reading: str
    unread: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class CountingAsked:
    """The section; `over` says what the cost of a right answer is a mean over."""

    runs: tuple[Run, ...]
    costs: tuple[Cost, ...]
    hardware: Hardware
    over: str = "the share of exact test answers"


def counting_asked(study: Study) -> CountingAsked | None:
    """Return the section, or `None` where no language model counts."""
    told = [(one, _headline(one)) for one in study.scored if isinstance(one.facts.get("prompt"), dict)]
    if not told:
        return None
    spent = costs(told, study)
    return CountingAsked(tuple(_run(one, read, study) for one, read in told), spent, hardware(spent, study))


def _headline(contestant: Contestant) -> Prompted:
    """Return the exact answers as the readings of classes are told, for what a right one cost."""
    test = contestant.test or {}
    reading = words(contestant.facts["prompt"].get("reading")) or "strict"
    return Prompted(reading, Part(n=test.get("n"), readings=(Counted(reading, right=test.get("correct")),)))


def _run(contestant: Contestant, read: Prompted, study: Study) -> Run:
    return Run(
        contestant=contestant,
        asked=asked(contestant, read),
        reading=_READINGS.get(read.headline, read.headline),
        unread=tuple(_unread(contestant, study)),
    )


def _unread(contestant: Contestant, study: Study) -> Iterator[tuple[str, str, str]]:
    """Yield each kind of answer without counts, the commonest first, with the words of the first test picture that has it."""
    for kind, count in ((contestant.test or {}).get("kinds") or {}).items():
        answers = (contestant.answers.get(row.key) for row in study.manifest.part("test"))
        said = next((one.raw for one in answers if one is not None and one.raw and kind_of(one.error) == kind), None)
        yield KINDS.get(str(kind), "failed otherwise"), say.count(count), say.clean(said, _MOST) if said else ""
