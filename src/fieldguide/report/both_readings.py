"""A language model in charts by class and by kind: under the reading of its scores, and filtered, on the same test pictures.

Strict counts an answer that is no name of the list as wrong; filtered leaves it out. Of a class it is the share of right answers among
those about its pictures that are a name of the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fieldguide.evaluate.intervals import f1_interval, share
from fieldguide.report.prompted_files import ClassCount
from fieldguide.report.read import Contestant, Json, Study

FILTERED, BOTH = "filtered", "strict, filtered"


@dataclass(frozen=True, slots=True)
class Column:
    """A contestant in a table by class: `entries` by class as in ``scores.json``; `reading` is empty where nothing is read.

    `main` ones are what the leaderboard counts.
    """

    contestant: Contestant
    reading: str
    entries: Mapping[str, Json]
    main: bool = True

    @property
    def name(self) -> str:
        """What it is called where there is no room for more."""
        return f"{self.contestant.name}, {self.reading}" if self.reading else self.contestant.name


def counts_of(study: Study, contestant: Contestant) -> Mapping[str, ClassCount]:
    """Return what is counted by class under the strict reading; nothing where nothing was written, or it is not recorded."""
    found = study.prompted.get(contestant.name)
    return {} if found is None or found.problem else found.test.classes


def columns(study: Study) -> tuple[Column, ...]:
    """Return the columns of a table by class, in leaderboard order."""
    return tuple(column for contestant in study.scored for column in _columns(study, contestant))


def _columns(study: Study, contestant: Contestant) -> tuple[Column, ...]:
    own = {entry["id"]: entry for entry in (contestant.test or {}).get("per_class", [])}
    counts = counts_of(study, contestant)
    if not counts:
        return (Column(contestant, "", own),)
    read = study.prompted[contestant.name]
    told = read.test.reading(read.headline)
    # Answers that came from elsewhere may have been scored by another reading than is taken now.
    headline = read.headline if told is None or read.test.scored in (None, told.right) else "as scored"
    filtered = Column(contestant, FILTERED, {id: _entry(one, one.labelled) for id, one in counts.items()}, main=False)
    if headline == "strict":
        if all(one.labelled == one.n for one in counts.values()):
            return (Column(contestant, BOTH, own),)
        return (Column(contestant, "strict", own), filtered)
    strict = Column(contestant, "strict", {id: _entry(one, one.n) for id, one in counts.items()}, main=False)
    return (Column(contestant, headline, own), strict, filtered)


def _entry(one: ClassCount, of: int) -> Json:
    """Return one class with `of` pictures in the denominator."""
    f1 = None
    if of:
        low, high = f1_interval(one.right, one.answered, of)
        f1 = {"value": 2 * one.right / (of + one.answered), "low": low, "high": high}
    precision = share(one.right, one.answered)
    missing = {"value": None, "state": "not applicable", "why": "no answer about its pictures is a name of the list"}
    return {
        "n": one.n,
        "recall": share(one.right, of) if of else missing,
        "precision": precision,
        "f1": f1 or missing,
        "predicted": one.answered,
    }


def recalls(study: Study, contestant: Contestant) -> dict[str, float | None]:
    """Return the filtered recall of each class; of who writes nothing, and so has nothing to filter, the plain one."""
    counts = counts_of(study, contestant)
    if counts:
        return {id: one.right / one.labelled if one.labelled else None for id, one in counts.items()}
    entries = (contestant.test or {}).get("per_class", [])
    return {entry["id"]: (entry.get("recall") or {}).get("value") for entry in entries}


def accuracy(study: Study, contestant: Contestant) -> Json | None:
    """Return the filtered accuracy, of answers that are a name of the list; the plain one of who writes nothing."""
    if not counts_of(study, contestant):
        return contestant.metric("accuracy")
    listed = next((one for one in study.prompted[contestant.name].test.filtered if one.id == "listed"), None)
    return None if listed is None else listed.accuracy
