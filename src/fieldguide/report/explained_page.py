"""The page that ``fieldguide explain MODEL PICTURE... --out FOLDER`` writes: each picture with the maps of all subjects side by side.

The same viewer, style, script and policy as in the report. A subject is whatever answers: one network, or the same network before and
after tuning as two subjects of one picture. Nothing is written here; `page` returns text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fieldguide.errors import DataProblem
from fieldguide.report import build
from fieldguide.report.explained import Json, explanation_from
from fieldguide.report.say import clean
from fieldguide.report.thumbnails import Thumbnail
from fieldguide.report.why import Entry, Panel, Who, Why, panel_of

#: The page never grows beyond this, in characters of maps and pictures: further pictures are named instead of shown.
MOST_CHARACTERS = 8_000_000


@dataclass(frozen=True, slots=True)
class Subject:
    """One that answers; `note` tells it from its neighbours, such as ``before tuning, its own 1,000 classes``."""

    name: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture: what it is called, how it looks (`thumbnails.encode`), and its explanations in the form of the files.

    `answers` maps the name of a `Subject` to one explanation as ``runs/<folder>/explained/<picture>.json`` holds it; a subject that is
    not there has a row that says so. `label` is the true class, where it is known, as the explanations name classes.
    """

    name: str
    thumbnail: Thumbnail
    answers: Mapping[str, Json] = field(default_factory=dict)
    label: str | None = None
    why: str = ""


def page(subjects: Sequence[Subject], pictures: Sequence[Shown], names: Mapping[str, str] | None = None) -> str:
    """Return one HTML page with a section for each of `pictures` and a row for each of `subjects`.

    `names` gives the display name of a class id; an id that is not there is its own name. Raises `DataProblem` for an explanation
    that is not of the form of the files.
    """
    panels: list[Panel] = []
    for number, picture in enumerate(pictures):
        entries = [_entry(subject, picture) for subject in subjects]
        panel = panel_of(number, (picture.why, picture.label, picture.name), picture.thumbnail, entries, names or {})
        if panels and sum(one.characters for one in panels) + panel.characters > MOST_CHARACTERS:
            break
        panels.append(panel)
    words = {"title": _title(pictures), "lead": _lead(subjects, panels, len(pictures))}
    return build.filled("explained.html.j2", {**words, "why": Why(True, tuple(panels))})


def _entry(subject: Subject, picture: Shown) -> Entry:
    who = Who(subject.name, subject.note)
    told = picture.answers.get(subject.name)
    if told is None:
        return Entry(who, None, "No explanation of this picture was made for this one.")
    try:
        return Entry(who, explanation_from(told))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataProblem(
            f"The explanation of {clean(picture.name, 80)} by {clean(subject.name, 80)} is not of the known form: {clean(error, 200)}.",
            "An explanation is what `fieldguide explain` makes of one picture.",
            "Make it again with `fieldguide explain`.",
        ) from error


def _title(pictures: Sequence[Shown]) -> str:
    if not pictures:
        return "no picture"
    more = len(pictures) - 1
    return pictures[0].name + (f" and {more} more" if more else "")


def _lead(subjects: Sequence[Subject], panels: Sequence[Panel], asked: int) -> str:
    who = "one contestant" if len(subjects) == 1 else f"{len(subjects)} contestants side by side"
    what = "one picture" if len(panels) == 1 else f"{len(panels)} pictures"
    left = asked - len(panels)
    more = f" {left} more would make the page too large; their maps lie beside it." if left else ""
    return f"What {who} looked at in {what}, layer by layer. Every map stands with its own check.{more}"
