"""The section on texts: whether they can stand in for pictures, how well they are translated, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass

from fieldguide.report import say, text_card, text_doctor, text_ratio, text_ways
from fieldguide.report.read import Study
from fieldguide.report.text_files import Reach


@dataclass(frozen=True, slots=True)
class Covered:
    """How far one source reaches, in words."""

    name: str
    made: str
    classes: str
    lines: str
    pictures: str
    captions: str


@dataclass(frozen=True, slots=True)
class Texts:
    """The section: each part is absent where its file is."""

    covered: tuple[Covered, ...]
    ratio: text_ratio.Ratio | None
    cards: tuple[text_card.Card, ...]
    card_notes: tuple[str, ...]
    ways: text_ways.Ways | None
    doctors: tuple[text_doctor.Doctor, ...]


def texts(study: Study) -> Texts | None:
    """Return the section, or `None` where nothing was done with texts."""
    files = study.texts
    if not files:
        return None
    return Texts(
        covered=tuple(_covered(reach) for reach in files.reach),
        ratio=text_ratio.ratio(files.ratio) if files.ratio else None,
        cards=text_card.cards(files.card) if files.card else (),
        card_notes=tuple(str(note) for note in (files.card or {}).get("notes", [])),
        ways=text_ways.ways(files.ways) if files.ways else None,
        doctors=tuple(text_doctor.doctor(name, told, study.names) for name, told in files.doctors.items()),
    )


def _covered(reach: Reach) -> Covered:
    made = ", ".join(f"{name} {say.shortened(words)}" for name, words in reach.made.items())
    return Covered(
        name=reach.name,
        made=say.clean(made, 200) if made else say.NOT_RECORDED,
        classes=f"{say.count(reach.classes)} of {say.count(reach.all_classes)}",
        lines=f"{say.count(reach.lines)}, median {reach.a_class:g} a class" if reach.lines else "none",
        pictures=f"{say.count(reach.pictures)} of {say.count(reach.all_pictures)}",
        captions=say.count(reach.captions) if reach.captions else "none",
    )
