"""The description doctor's eye for words: what is wrong with a line about a class, told without looking at a picture.

Published description files were found to name the class they describe, to tell of calls and eggs, and to say the same of many classes
(docs/texts.md has the figures). Each finding has a code, and for a line a detail that names the word or the class.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from fieldguide.data.classes import display_name
from fieldguide.data.texts import sentences
from fieldguide.errors import plain
from fieldguide.records import ClassInfo, Line, Texts
from fieldguide.tasks.classify import fold

#: What is looked for, in the order in which it is told.
CODES: dict[str, str] = {
    "names_class": "names its class",
    "names_other": "names another class",
    "not_visible": "states what no picture shows",
    "shared": "is said word for word of another class, too",
    "nearly_shared": "is said in nearly the same words of another class",
    "repeated": "repeats an earlier line of its class",
    "beyond_context": "is longer than the encoder reads",
    "long": "is more than one sentence or 40 words",
    "empty": "has no word",
}
#: Words of one line; share of common words from which two lines count as nearly the same; lines up to which all pairs are compared.
MOST_WORDS, NEARLY, MOST_LINES = 40, 0.8, 30_000
#: A word that so large a part of all lines has ("a bird with ...") tells no two lines apart.
_FRAME = 0.5
#: Words that carry no look. Lists that come with libraries also leave out words such as bill and thick.
_LITTLE = frozenset(
    (
        "a",
        "an",
        "the",
        "and",
        "or",
        "of",
        "to",
        "in",
        "on",
        "at",
        "by",
        "for",
        "from",
        "with",
        "that",
        "which",
        "is",
        "are",
        "it",
        "its",
    )
) | frozenset(("has", "have", "be", "as", "this", "often", "may", "can", "very"))
Counted = Callable[[Sequence[str]], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found about a line: a code of `CODES`, the word or class that it is about, and the group of `groups`, if any."""

    code: str
    detail: str
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """One line of a class, the number it has there (from 0), and what was found."""

    id: str
    at: int
    line: Line
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Group:
    """Words that tell of one kind of thing that no picture shows, and why none does."""

    name: str
    reason: str
    words: re.Pattern[str]


@cache
def groups() -> tuple[Group, ...]:
    """Return the groups of ``words.toml``."""
    table = tomllib.loads(resources.files("fieldguide.data.texts").joinpath("words.toml").read_text(encoding="utf-8"))
    return tuple(Group(name, entry["reason"], _pattern(entry["words"], entry.get("pattern"))) for name, entry in table.items())


def _pattern(words: Iterable[str], more: str | None) -> re.Pattern[str]:
    parts = [
        r"[\s\-]+".join(map(re.escape, word.rstrip("*").split())) + (r"\w*" if word.endswith("*") else "") for word in words
    ]
    return re.compile(rf"\b(?:{'|'.join(parts)})\b" + (f"|{more}" if more else ""))


def look(
    texts: Texts, classes: Sequence[ClassInfo], counted: Counted | None = None, context: int | None = None
) -> tuple[Looked, ...]:
    """Return every line about a class, with what was found.

    `counted` returns the tokens of lines and `context` how many of them an encoder reads; `None` where there is no limit.
    """
    said = [(id, at, line) for id, lines in texts.classes.items() for at, line in enumerate(lines)]
    found: list[list[Finding]] = [[] for _ in said]
    names = [_named(info) for info in classes]
    for (id, _, line), findings in zip(said, found, strict=True):
        findings += _of_names(id, fold(line.text), names)
        findings += _unseen(line.text)
    _between(said, found, {info.id: info.name for info in classes})
    tokens = counted([line.text for _, _, line in said]) if counted is not None and context is not None else None
    for place, (_, _, line) in enumerate(said):
        if tokens is not None and context is not None and tokens[place] > context:
            found[place].append(Finding("beyond_context", f"{tokens[place]} tokens, {context} are read"))
        found[place] += _length(line.text)
    return tuple(Looked(*one, tuple(findings)) for one, findings in zip(said, found, strict=True))


def totals(looked: Sequence[Looked]) -> dict[str, int]:
    """Return how many lines have each code; every code of `CODES` is there."""
    return {code: sum(any(finding.code == code for finding in one.findings) for one in looked) for code in CODES}


def by_group(looked: Sequence[Looked]) -> dict[str, int]:
    """Return how many lines tell of each group of things that no picture shows."""
    return {group.name: sum(any(f.group == group.name for f in one.findings) for one in looked) for group in groups()}


@dataclass(frozen=True)
class _Named:
    """A class with what finds `any` of its names, and what finds one of `several` words: a single word may be a word like others."""

    info: ClassInfo
    any: re.Pattern[str] | None
    several: re.Pattern[str] | None
    beginnings: tuple[str, ...]


def _named(info: ClassInfo) -> _Named:
    names = {fold(display_name(name)) for name in (info.id, info.name, *info.synonyms)}
    split = [words for name in sorted(names, key=len, reverse=True) if (words := re.findall(r"\w+", name))]
    several = [words for words in split if len(words) > 1]
    return _Named(info, _of_words(split), _of_words(several), tuple({words[0] for words in several}))


def _of_words(names: Sequence[Sequence[str]]) -> re.Pattern[str] | None:
    """Return a pattern of names in hyphen, plural and possessive forms: ``Anna's Hummingbirds``, ``blackfooted albatross``."""
    if not names:
        return None
    forms = []
    for words in names:
        *first, last = map(re.escape, words)
        last = f"(?:{last[:-1]}(?:y|ies)|{last}(?:es|s)?)" if last.endswith("y") else f"{last}(?:es|s)?"
        forms.append("".join(rf"{word}(?:['’]?s)?[\s\-]*" for word in first) + last)
    return re.compile(rf"\b(?:{'|'.join(forms)})\b")


def _of_names(id: str, text: str, names: Sequence[_Named]) -> list[Finding]:
    others: list[str] = []
    for one in names:
        if one.info.id == id:
            match = one.any.search(text) if one.any else None
            if match:
                return [Finding("names_class", match.group())]
        # Patterns are slow, and there may be hundreds of classes: first whether a name's beginning is there at all.
        elif one.several and any(word in text for word in one.beginnings) and one.several.search(text):
            others.append(one.info.name)
    return [Finding("names_other", _listed(others))] if others else []


def _unseen(text: str) -> list[Finding]:
    folded = text.casefold()
    found = [(group, match.group()) for group in groups() if (match := group.words.search(folded))]
    return [Finding("not_visible", f"{word}: {group.reason}", group.name) for group, word in found]


def _length(text: str) -> list[Finding]:
    words = re.findall(r"\w+", text)
    if not words:
        return [Finding("empty", "it has no letter")]
    several = len(sentences(text))
    if several > 1:
        return [Finding("long", f"{several} sentences; one a line is read best")]
    return [Finding("long", f"{len(words)} words")] if len(words) > MOST_WORDS else []


def _between(said: Sequence[tuple[str, int, Line]], found: list[list[Finding]], names: Mapping[str, str]) -> None:
    """Add what follows from other lines: said of another class, word for word or nearly, or twice of the same one."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, (_, _, line) in enumerate(said):
        places[" ".join(re.findall(r"\w+", fold(line.text)))].append(place)
    for words, same in places.items():
        if not words:
            continue
        for place in same:
            id = said[place][0]
            others = list(dict.fromkeys(said[other][0] for other in same if said[other][0] != id))
            if others:
                found[place].append(Finding("shared", _listed([names.get(other, other) for other in others])))
            if any(said[other][0] == id and other < place for other in same):
                found[place].append(Finding("repeated", "an earlier line of this class says the same"))
    if len(said) <= MOST_LINES:
        alike = _alike(list(places))
        for one, other in alike:
            for here, there in ((one, other), (other, one)):
                ids = {said[place][0] for place in places[there]}
                for place in places[here]:
                    others = sorted(ids - {said[place][0]})
                    if others and not any(finding.code in ("shared", "nearly_shared") for finding in found[place]):
                        example = said[places[there][0]][2].text
                        found[place].append(
                            Finding("nearly_shared", f"{names.get(others[0], others[0])}: {plain(example, 80)}")
                        )


def _alike(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of lines that have `NEARLY` all words in common (Jaccard), little words and words of the common frame left out."""
    import numpy as np
    from sklearn.feature_extraction.text import CountVectorizer

    lines = [line for line in lines if line]
    counter = CountVectorizer(binary=True, stop_words=list(_LITTLE), dtype=np.int32)
    try:
        table = counter.fit_transform(lines)
    except ValueError:  # little words alone
        return []
    share = np.asarray(table.mean(axis=0)).ravel()
    table = table[:, share <= max(_FRAME, 2 / len(lines))]
    size = np.asarray(table.sum(axis=1)).ravel()
    pairs: list[tuple[str, str]] = []
    for start in range(0, len(lines), 512):
        common = (table[start : start + 512] @ table.T).tocoo()
        one, other = common.row + start, common.col
        near = (one < other) & (common.data >= NEARLY * (size[one] + size[other] - common.data)) & (size[one] >= 2)
        pairs += [(lines[a], lines[b]) for a, b in zip(one[near], other[near], strict=True) if _in_order(lines[a], lines[b])]
    return pairs


def _in_order(one: str, other: str) -> bool:
    """Tell whether two lines have nearly all words in common in one order: black wings and a yellow body are not the other way round."""
    words, others = ([word for word in line.split() if word not in _LITTLE] for line in (one, other))
    return difflib.SequenceMatcher(None, words, others, autojunk=False).ratio() >= NEARLY


def _listed(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(plain(name, 60) for name in names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
