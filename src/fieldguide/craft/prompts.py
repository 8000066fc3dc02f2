"""Prompts: how the name of a class, and what is said of it, become sentences for an encoder that reads, and sentences become vectors.

Sets of templates are package data (``prompts/templates.toml``). The vector of a class is what CLIP's authors do (arXiv 2103.00020):
each sentence at length one, their mean, at length one again. Of several lines about a class it is scores that are averaged
(arXiv 2210.07183), which is the same as scoring against the mean of lines at length one, left as it is.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.craft.heads import Array, unit
from fieldguide.errors import UsageProblem, allowed_names, plain
from fieldguide.records import ClassInfo, Texts

if TYPE_CHECKING:
    from fieldguide.craft.encoders import Reads

#: What reads lines: ``"lines features"`` of lines.
Read = Callable[[Sequence[str]], NDArray[np.floating]]
#: Where a name goes in a template: ours, and that of CLIP_benchmark's files.
_PLACE = re.compile(r"\{c?\}")
#: An article that a template puts before the name.
_ARTICLE = re.compile(r"\b([Aa])n? (?=\{c?\})")
#: Letters that sound like a vowel, but for those that are said as "you" or "one"; and an h that is not said.
_VOWEL = re.compile(r"(?!eu|uni|use|usu|ura|ute|uto|one\b|once)[aeiou]|hour|honest|heir", re.IGNORECASE)
_HAS_ARTICLE = re.compile(r"(?:a|an|the) ", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.;!?])\s+")


@cache
def sets() -> Mapping[str, tuple[str, ...]]:
    """Return the named sets of templates."""
    text = (resources.files("fieldguide") / "prompts" / "templates.toml").read_text(encoding="utf-8")
    return {name: tuple(values["templates"]) for name, values in tomllib.loads(text).items()}


def templates(asked: str) -> tuple[str, ...]:
    """Return the templates of a named set, of a file (one a line, or JSON: ``FILE.json#KEY``), or those written out, ``|`` between.

    Raises `UsageProblem` for a name that is none, a file that cannot be read, and a template without a place for the name.
    """
    path, _, key = asked.partition("#")
    if asked in sets():
        return sets()[asked]
    if _PLACE.search(asked):
        found = [part.strip() for part in asked.split("|")]
    elif path.casefold().endswith((".json", ".txt")):
        found = _of_file(Path(path).expanduser(), key)
    else:
        raise UsageProblem(
            f"There are no templates called {plain(asked)!r}.",
            f"{allowed_names(asked, sets(), most=20)} Or your own, {{}} for the name and | between them, or FILE.txt, FILE.json#KEY.",
            "For example templates=a sketch of a {}.|a {} in ink.",
        )
    wrong = next((template for template in found if len(_PLACE.findall(template)) != 1), None)
    if wrong is not None or not found:
        raise UsageProblem(
            f"The template {plain(wrong or '')!r} does not say where the name goes." if found else f"{plain(asked)} is empty.",
            "A template holds {} once, in the place of the name.",
            "For example templates=a sketch of a {}.|a {} in ink.",
        )
    return tuple(dict.fromkeys(found))


def _of_file(path: Path, key: str) -> list[str]:
    """Return the lines of a text file, or a list in a JSON file, under `key` where it holds several."""
    try:
        text = path.read_text(encoding="utf-8")
        values: Any = (
            json.loads(text) if path.suffix.casefold() == ".json" else [line for line in text.splitlines() if line.strip()]
        )
    except (OSError, ValueError) as error:
        raise UsageProblem(
            f"The templates in {plain(path)} cannot be read: {plain(error)}.",
            "A text file with one template a line, or JSON with a list of them.",
            "Correct the name or the file.",
        ) from error
    several = {name: list(of) for name, of in values.items() if isinstance(of, list)} if isinstance(values, dict) else {}
    if several and key not in several:
        raise UsageProblem(
            f"{plain(path)} holds several lists of templates{f', but none called {plain(key)!r}' if key else ''}.",
            allowed_names(key, several),
            f"For example templates={plain(path)}#{plain(next(iter(several)))}",
        )
    return [str(template).strip() for template in (several[key] if several else values)]


def said(template: str, name: str) -> str:
    """Return a template with the name in its place: "a" becomes "an" where the name wants it, and goes where the name has its own."""
    article = _ARTICLE.search(template)
    if article:
        wanted = "" if _HAS_ARTICLE.match(name) else f"{article[1]}{'n' if _VOWEL.match(name) else ''} "
        template = template[: article.start()] + wanted + template[article.end() :]
    return _PLACE.sub(lambda _: name, template, count=1)


def names(classes: Sequence[ClassInfo], synonyms: bool) -> list[tuple[str, ...]]:
    """Return what each class is called: its name, and its synonyms where they join in."""
    return [tuple(dict.fromkeys((info.name, *(info.synonyms if synonyms else ())))) for info in classes]


def named(called: Sequence[Sequence[str]], of: Sequence[str]) -> list[list[str]]:
    """Return the sentences about each class: every name in every template."""
    return [[said(template, name) for name in own for template in of] for own in called]


def described(called: Sequence[Sequence[str]], of: Sequence[str], lines: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return for each class every sentence with its name, each of its lines behind it; of a class without lines the sentence alone."""
    whole = named(called, of)
    return [
        [f"{sentence.rstrip('. ')}: {line}" for line in own for sentence in sentences] if own else sentences
        for sentences, own in zip(whole, lines, strict=True)
    ]


def lines_of(texts: Texts, ids: Sequence[str], reads: Reads) -> list[list[str]]:
    """Return the lines about each class, each once. One that is longer than the encoder reads is taken sentence by sentence."""
    found = []
    for id in ids:
        whole = list(dict.fromkeys(" ".join(line.text.split()) for line in texts.classes.get(id, ()) if line.text.strip()))
        long = set(too_long(whole, reads))
        found.append([part for line in whole for part in (_SENTENCE.split(line) if line in long else (line,))])
    return found


def too_long(lines: Sequence[str], reads: Reads) -> list[str]:
    """Return the lines of which the encoder would read only the beginning."""
    if reads.context is None or not lines:
        return []
    return [line for line, count in zip(lines, reads.counted(lines), strict=True) if count > reads.context]


def averaged(groups: Sequence[Sequence[str]], read: Read, *, again: bool) -> Array:
    """Return the mean of the unit vectors of each group's lines, ``"groups features"``; at length one `again` where asked.

    A group without lines is a row of zeros.
    """
    every = list(dict.fromkeys(line for group in groups for line in group))
    rows = unit(np.asarray(read(every), np.float64))
    at = {line: place for place, line in enumerate(every)}
    means = np.zeros((len(groups), rows.shape[1]))
    for number, group in enumerate(groups):
        if group:
            means[number] = rows[[at[line] for line in group]].mean(axis=0)
    return unit(means) if again else means
