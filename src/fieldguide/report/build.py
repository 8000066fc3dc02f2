"""One HTML file that opens by a double click: no network, no model, nothing but the files of the study.

The page carries its own content policy: style and script are named by their SHA-256, so that nothing a class name, a file
name or a model's answer says can run or load anything. Therefore no template has a style attribute or an event handler.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from fieldguide.errors import DataProblem
from fieldguide.files import write_text
from fieldguide.report import (
    audits,
    board,
    both_readings,
    calibration,
    causes,
    confusion,
    counting,
    counting_asked,
    counting_taught,
    curves,
    efficiency,
    fitting,
    fractions,
    gallery,
    hashes,
    honest,
    kinds,
    optimism,
    prompting,
    published,
    say,
    seeds,
    slices,
    slopes,
    taught,
    texts,
    together,
    trust,
    why,
)
from fieldguide.report.read import Study, read_study
from fieldguide.report.thumbnails import Pictures, thumbnail

#: The file never grows beyond this, whatever the study.
MOST_BYTES = 10_000_000
_HERE = resources.files("fieldguide.report")


def build(study: Path, reader: Pictures | None = None) -> Path:
    """Draw ``report.html`` of the study folder `study` from its files alone and return its path.

    `reader` gives the pictures; by default the study's own store. Raises `DataProblem` where a file of the study is damaged.
    """
    if not study.is_dir():
        raise DataProblem(
            f"{study} is not a study folder.",
            "A report is drawn from the folder that `fieldguide compare` wrote.",
            "Give the folder that holds manifest.parquet.",
        )
    target = study / "report.html"
    write_text(target, render(read_study(study), reader or _store(study)))
    return target


@dataclass(frozen=True, slots=True)
class Edition:
    """Which page is drawn: the one file, or the page of the folder edition, whose pictures are files; whether there is one beside."""

    folder: bool = False
    beside: bool = False


def render(study: Study, reader: Pictures, most_bytes: int = MOST_BYTES, edition: Edition = Edition()) -> str:
    """Return the page, less than `most_bytes` as UTF-8: where it would be more, fewer pictures are shown."""
    picture = functools.cache(functools.partial(thumbnail, reader))
    most = gallery.MOST_PICTURES
    while True:
        page = draw_page(study, picture, most, edition)
        if len(page.encode("utf-8")) < most_bytes or most == 0:
            return page
        most = most * 2 // 3


def filled(template: str, values: Mapping[str, Any]) -> str:
    """Return a template of this package filled in, as a page of its own: with the style, the script and the policy as `look`."""
    return _environment().get_template(template).render(look=_look(), **values)


def policy(style: str, script: str, pictures: str = "data:") -> str:
    """Return the content security policy that allows exactly `style`, `script` and `pictures`: embedded ones if not given."""
    return (
        f"default-src 'none'; img-src {pictures}; style-src 'sha256-{_hash(style)}'; script-src 'sha256-{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


@dataclass(frozen=True, slots=True)
class _Look:
    style: Markup
    script: Markup
    policy: str


def draw_page(study: Study, picture: Any, most: int, edition: Edition = Edition()) -> str:
    """Return the page with at most `most` pictures of errors; `picture` gives the thumbnail of a content hash."""
    if study.manifest.task == "count":
        return _counting_page(study, picture, most, edition)
    shots = gallery.gallery(study, picture, most)
    drawn, without = curves.curves(study)
    rows, hidden = board.class_rows(study)
    leaders = board.board(study)
    told = {
        "board": leaders,
        "efficiency": efficiency.efficiency(study, leaders),
        "published": published.beside(study),
        "honest": honest.honest(study, picture, most),
        "trust": trust.trust(study),
        "differences": board.differences(study),
        "kinds": kinds.kinds(study),
        "slices": slices.slices(study),
        "classkinds": kinds.by_class(study),
        "optimism": optimism.optimism(study),
        "seeds": seeds.seeds(study),
        "fractions": fractions.fractions(study),
        "calibration": calibration.calibration(study),
        "prompting": prompting.prompting(study, picture, most * prompting.MOST_PICTURES // gallery.MOST_PICTURES),
        "taught": taught.taught(study),
        "audit": audits.audits(study),
        "texts": texts.texts(study),
        "class_columns": both_readings.columns(study),
        "class_rows": rows,
        "class_more": hidden,
        "panels": confusion.panels(study, shots),
        "gallery": shots,
        "together": together.together(study, shots, gallery.wrong_pictures(study)),
        "causes": causes.causes(study, shots.marked),
        "why": why.section(study, picture, most * why.MOST_PICTURES // gallery.MOST_PICTURES),
        "slopes": slopes.slopes(study),
        "curves": drawn,
        "without_curves": without,
        "fitting": fitting.section(study),
        "hashes": hashes.hashes(study),
        "study_lines": _lines(study.text),
    }
    head = {
        "study": study,
        "look": _look(edition.folder),
        "compared": study.comparison or {},
        "unsaid": _unsaid(told),
        "sections": SECTIONS,
    }
    head["edition"] = edition
    return _environment().get_template("page.html.j2").render(**head, **told)


def _counting_page(study: Study, picture: Any, most: int, edition: Edition) -> str:
    """Return the page of a study of counts, which has sections of its own; published figures where it follows a recipe."""
    beside = published.beside(study)
    taught_to_count, in_words = counting_taught.counting_taught(study, picture, most), counting_asked.counting_asked(study)
    again = {f"seeds_{name}": seeds.seeds(study, measure) for name, measure in counting.MEASURES}
    parts = {f"fractions_{name}": fractions.fractions(study, measure) for name, measure in counting.MEASURES}
    drawn, without = curves.curves(study)
    lacking = {
        "published": not beside,
        "counting_taught": taught_to_count is None,
        "counting_asked": in_words is None,
        "counting_seeds": not again["seeds_exact"].shown,
        "counting_fractions": not parts["fractions_exact"].shown,
        "curves": not drawn,
    }
    values = {
        "study": study,
        "published": beside,
        "look": _look(edition.folder),
        "compared": study.comparison or {},
        "sections": tuple(one for one in counting.SECTIONS if not lacking.get(one[0])),
        "edition": edition,
        "counting": counting.counting(study, picture, most),
        "counting_taught": taught_to_count,
        "counting_asked": in_words,
        **again,
        **parts,
        "curves": drawn,
        "without_curves": without,
        "trust": trust.trust(study),
        "hashes": hashes.hashes(study),
        "study_lines": _lines(study.text),
    }
    return _environment().get_template("counting_page.html.j2").render(**values)


def _unsaid(told: Mapping[str, Any]) -> frozenset[str]:
    """Return the sections that are about something this study does not have."""
    said = {
        "published": told["published"],
        "seeds": told["seeds"].shown,
        "fractions": told["fractions"].shown,
        "prompting": told["prompting"],
        "taught": told["taught"],
        "audit": told["audit"],
        "texts": told["texts"],
    }
    return frozenset(name for name, anything in said.items() if not anything)


#: The sections in their order: the template's name, which is also the section's id, and what the bar of links calls it. A section
#: that has nothing to say in a study draws nothing and is left out of the bar (`_unsaid`).
SECTIONS = (
    ("leaderboard", "Leaderboard"),
    ("efficiency", "Cost"),
    ("published", "Published"),
    ("honest", "With and without"),
    ("trust", "Trust"),
    ("differences", "Differences"),
    ("kinds", "Kinds"),
    ("slices", "Slices"),
    ("seeds", "Seeds"),
    ("fractions", "More pictures?"),
    ("calibration", "How sure?"),
    ("prompting", "In words"),
    ("taught", "Taught"),
    ("audit", "Prompt"),
    ("texts", "Text"),
    ("classes", "Classes"),
    ("classkinds", "By kind"),
    ("confusions", "Confusions"),
    ("gallery", "Pictures"),
    ("causes", "Causes"),
    ("why", "Why?"),
    ("curves", "Curves"),
    ("slopes", "Before and after"),
    ("fitting", "Over-fitting"),
    ("optimism", "Validation"),
    ("reproduce", "Reproduce"),
    ("method", "Method"),
)
#: Styles and scripts, in the order in which they stand in the page.
STYLES = (
    "report.css",
    "scales.css",
    "errors.css",
    "why.css",
    "slopes.css",
    "reproduce.css",
    "efficiency.css",
    "kinds.css",
    "texts.css",
    "prompting.css",
    "calibration.css",
    "audit.css",
    "counting.css",
    "taught.css",
)
SCRIPTS = ("report.js", "gallery.js", "why.js", "slopes.js")


@functools.cache
def _look(folder: bool = False) -> _Look:
    style = "".join((_HERE / name).read_text(encoding="utf-8") for name in STYLES)
    script = "".join((_HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    # Our own package data, which the policy vouches for.
    return _Look(Markup(style), Markup(script), policy(style, script, "'self' data:" if folder else "data:"))  # noqa: S704


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fieldguide.report"),
        autoescape=True,
        finalize=_finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["say"] = say
    environment.filters.update(breakable=_breakable, sentence=_sentence)
    return environment


def _finalize(value: Any) -> Any:
    """Pass every expression of the templates through `say.clean`; what is absent says so."""
    if isinstance(value, Markup):
        return value
    return say.NOT_RECORDED if value is None else say.clean(value) if isinstance(value, str) else value


def _breakable(name: str) -> Markup:
    """Return `name` escaped, with leave to break after the marks that model names are joined by."""
    return Markup(re.sub(r"([_\-./=])(?=\w)", r"\1<wbr>", str(escape(say.clean(name)))))  # noqa: S704 - escaped inside


def _sentence(text: str) -> Markup:
    """Return `text` escaped, with numbers held to their signs and intervals in one piece."""
    escaped = str(escape(say.glued(say.clean(text))))
    return Markup(re.sub(r"\[[^\]\s]{1,24}\]", r'<span class="nowrap">\g<0></span>', escaped))  # noqa: S704


def _lines(text: str | None, most: int = 400) -> tuple[str, ...]:
    lines = say.shortened((text or "").expandtabs(4)).splitlines()
    more = [f"# and {len(lines) - most} more lines in study.toml"] if len(lines) > most else []
    return (*lines[:most], *more)


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _store(study: Path) -> Pictures:
    # The store brings the picture loader with it; a report of a study without pictures does without.
    from fieldguide.data.store import Store

    return Store(study / "store")
