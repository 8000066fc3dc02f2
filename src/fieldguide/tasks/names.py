"""The names of the classes, and which class a text names: letter for letter, in another spelling, or by a synonym.

A name that two classes share is nobody's. Every look-up is in tables, so that it takes the same time whatever the text holds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby

from fieldguide.records import ClassInfo
from fieldguide.tasks.plurals import singular_names

#: What each name stands for: a class id, or `None` where two classes share it.
Table = dict[str, str | None]
Pairs = Sequence[tuple[str, str]]
_ARTICLES = ("a ", "an ", "the ")
#: Marks that surround a name in Markdown, JSON or HTML and are no punctuation in Unicode's sense.
_MARKS, _SIGNS = frozenset("` \t\n"), frozenset("~^|<>$+=")
#: Categories of what may stand around a name, those of letters that nobody sees among them.
_PUNCTUATION = frozenset(("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Cc", "Cf"))
#: Tables of `_Spellings` that take a text as a whole; from there on articles and plurals are left aside.
_LEVELS_IN_FULL = 2
#: Words of a name beyond which a text is not searched for it.
_MOST_WORDS = 12
#: Scripts that put no spaces between words: a name is looked for letter by letter.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
#: Characters from which on a text is no name and is folded in pieces of so many.
_LONG, _PIECE = 1000, 100
_WORD = re.compile(r"\w+")
_FIGURE = re.compile(r"\d")


def fold(text: str) -> str:
    """Return `text` in the form names are compared in: NFKC, case-folded, ``_ -`` as spaces, outer punctuation gone."""
    spaced = re.sub(r"[\s_\-]+", " ", _composed(text).casefold())
    return spaced.strip(" .,;:!?\"'`*。、「」『』“”‘’„«»¿¡")


def _composed(text: str) -> str:
    """Return `text` in NFKC; a long one piece by piece, because marks without end on one letter take the square of their number."""
    if len(text) <= _LONG:
        return unicodedata.normalize("NFKC", text)
    return "".join(unicodedata.normalize("NFKC", text[at : at + _PIECE]) for at in range(0, len(text), _PIECE))


def table(tiers: Iterable[Pairs], key: Callable[[str], str]) -> Table:
    """Return what each name stands for, by `key`; a name of an earlier tier comes before one of a later."""
    whole: Table = {}
    for names in tiers:
        tier: Table = {}
        for name, id in names:
            short = key(name)
            if short:  # a class called "?" must not be what silence names
                tier[short] = id if tier.get(short, id) == id else None
        whole = {**tier, **whole}
    return whole


def bare(text: str) -> str:
    """Return `text` folded, without marks around it, inner apostrophes and full stops, and an article before it."""
    folded = fold(text).replace("&", " and ")
    start, end, figures = 0, len(folded), _FIGURE.search(folded) is not None
    while start < end and _is_mark(folded[start], figures):
        start += 1
    while end > start and _is_mark(folded[end - 1], figures):
        end -= 1
    left_out = "'’‘`" if figures else "'’‘`."  # 1.1 is not 11
    kept = " ".join("".join(one for one in folded[start:end] if one not in left_out).split())
    article = next((one for one in _ARTICLES if kept.startswith(one)), "")
    return kept[len(article) :]


def _is_mark(letter: str, figures: bool) -> bool:
    if letter in _SIGNS:
        return not figures  # <3 is not 3
    return letter in _MARKS or unicodedata.category(letter) in _PUNCTUATION


def loose(name: str) -> frozenset[str]:
    """Return the forms in which a `bare` name equals another: its singulars, each without spaces unless it holds a figure."""
    if len(name) > 200:
        return frozenset()
    spaced = _FIGURE.search(name) is not None
    return frozenset(form if spaced else form.replace(" ", "") for form in singular_names(name))


@lru_cache(256)
def _spelled(text: str) -> tuple[str, str, str, frozenset[str]]:
    """Return `text` in the forms of the tables; one answer is looked up in several of them, under several readings."""
    plain = bare(text)
    return text.strip(), fold(text), plain, loose(plain)


@dataclass(frozen=True)
class _Spellings:
    """Tables of the same names, from the letter to what is merely alike."""

    exact: Table
    folded: Table
    bared: Table
    loosened: dict[str, frozenset[str]]

    def hits(self, text: str) -> Iterator[str | None]:
        """Yield what each table says of `text`: a class id, `None` where two classes share it, "" where it is no name."""
        stripped, folded, bared, forms = _spelled(
            "" if len(text) > _LONG else text
        )  # so long is no name, and silence is none either
        yield self.exact.get(stripped, "")
        yield self.folded.get(folded, "")
        yield self.bared.get(bared, "")
        ids: set[str] = set().union(*(self.loosened.get(form, frozenset()) for form in forms))
        yield None if len(ids) > 1 else "".join(ids)


def _spellings(tiers: Sequence[Pairs]) -> _Spellings:
    loosened: dict[str, set[str]] = {}
    for names in tiers:
        for name, id in names:
            for form in loose(bare(name)) - {""}:
                loosened.setdefault(form, set()).add(id)
    frozen = {form: frozenset(ids) for form, ids in loosened.items()}
    return _Spellings(table(tiers, str.strip), table(tiers, fold), table(tiers, bare), frozen)


@dataclass(frozen=True)
class Names:
    """All names of `classes`: ids, display names, synonyms."""

    classes: tuple[ClassInfo, ...]

    @cached_property
    def tiers(self) -> tuple[Pairs, Pairs, Pairs]:
        """Pairs of a name and a class id: by id, by display name, by synonym."""
        return (
            [(info.id, info.id) for info in self.classes],
            [(info.name, info.id) for info in self.classes],
            [(synonym, info.id) for info in self.classes for synonym in info.synonyms],
        )

    @cached_property
    def _letters(self) -> Table:
        return table(self.tiers[:2], str)

    @cached_property
    def _own(self) -> _Spellings:
        return _spellings(self.tiers[:2])

    @cached_property
    def _others(self) -> _Spellings:
        return _spellings(self.tiers[2:])

    @cached_property
    def exactly(self) -> Table:
        """Every name, synonyms included, in folded form."""
        return table(self.tiers, fold)

    def strict(self, text: str) -> str | None:
        """Return the class whose id or display name `text` is, letter for letter; white space around it does not matter."""
        return self._letters[text] if text in self._letters else self._letters.get(text.strip())

    def normalised(self, text: str) -> str | None:
        """Return the class whose id or display name `text` is in another spelling: case, article, plural, marks, hyphens, spaces.

        Nobody's is what a closer spelling makes the synonym of another class.
        """
        label = self.strict(text)
        if label is not None:
            return label
        before: str | None = ""
        for level, (own, other) in enumerate(zip(self._own.hits(text), self._others.hits(text), strict=True)):
            if own != "":
                return own if before in ("", own) and self._one_name(level, text) else None
            before = other if before == "" else before
        return None

    def alias(self, text: str) -> str | None:
        """Return the class that `text` names as in `normalised`, or by a synonym in any such spelling."""
        label = self.strict(text)
        if label is not None:
            return label
        for level, hits in enumerate(zip(self._own.hits(text), self._others.hits(text), strict=True)):
            found = next((hit for hit in hits if hit != ""), "")
            if found != "":
                return found if self._one_name(level, text) else None
        return None

    def _one_name(self, level: int, text: str) -> bool:
        """Tell whether what a table of this level has found may stand: "A B" is no B with an article, where A is a class too."""
        return level < _LEVELS_IN_FULL or len(self.mentioned(text)) < 2

    @cached_property
    def _phrases(self) -> tuple[dict[str, frozenset[str]], dict[str, int]]:
        """Return the classes of every name, of its singulars if these are no names, and by first word the most words that such a name has."""
        phrases: dict[str, set[str]] = {}
        pairs = [(" ".join(split_words(name)), id) for tier in self.tiers for name, id in tier]
        whole = {name for name, _ in pairs}
        for name, id in pairs:
            for form in {name, *(singular_names(name) - whole)} - {""}:
                phrases.setdefault(form, set()).add(id)
        longest: dict[str, int] = {}
        for form in phrases:
            words = form.split(" ")
            longest[words[0]] = max(longest.get(words[0], 0), min(len(words), _MOST_WORDS))
        return {form: frozenset(ids) for form, ids in phrases.items()}, longest

    @cached_property
    def _unspaced(self) -> list[tuple[str, frozenset[str]]]:
        found: dict[str, set[str]] = {}
        for name, id in (pair for tier in self.tiers for pair in tier):
            if script_of(name[:1]) in _UNSPACED:
                found.setdefault(fold(name), set()).add(id)
        ordered = sorted(found, key=lambda name: (-len(name), name))
        return [(name, frozenset(found[name])) for name in ordered if name]

    @cached_property
    def mentioned(self) -> Callable[[str], frozenset[str]]:
        """What returns the classes that a text names anywhere; it looks no further once there are two.

        Of names within each other (polar bear, bear) the longest counts. The latest texts are kept, for the next reading of them.
        """
        return lru_cache(64)(self._mentioned)

    def _mentioned(self, text: str) -> frozenset[str]:
        found: set[str] = set()
        rest = fold(text)
        for name, ids in self._unspaced:
            if name in rest:
                found |= ids
                rest = rest.replace(name, " ")
        words, at = split_words(rest), 0
        most = lru_cache(1024)(self._most_words_from)
        named = lru_cache(1024)(self._named_by)
        while at < len(words) and len(found) < 2:
            lengths = range(min(most(words[at]), len(words) - at), 0, -1)
            step = next((count for count in lengths if named(" ".join(words[at : at + count]))), 0)
            found |= named(" ".join(words[at : at + step]))
            at += max(step, 1)
        return frozenset(found)

    def _most_words_from(self, word: str) -> int:
        """Return how many words the longest name has that begins with `word`."""
        return max(self._phrases[1].get(form, 0) for form in singular_names(word))

    def _named_by(self, words: str) -> frozenset[str]:
        phrases = self._phrases[0]
        return phrases.get(words) or frozenset().union(*(phrases.get(form, frozenset()) for form in singular_names(words)))

    @cached_property
    def scripts(self) -> frozenset[str]:
        """Scripts in which any name is written."""
        return frozenset().union(*(scripts_in(name) for tier in self.tiers for name, _ in tier))

    @cached_property
    def most_words(self) -> int:
        """Words of the longest id or display name."""
        return max((len(split_words(name)) for tier in self.tiers[:2] for name, _ in tier), default=0)

    @cached_property
    def words(self) -> frozenset[str]:
        """Every word that some name holds, folded."""
        return frozenset(word for tier in self.tiers for name, _ in tier for word in split_words(name))


def split_words(text: str) -> list[str]:
    """Return the words of `text`, folded, apostrophes within them gone."""
    return _WORD.findall(fold(text).replace("'", "").replace("’", "").replace("_", " "))


@lru_cache(4096)
def script_of(letter: str) -> str:
    """Return the script of a letter as the first word of its Unicode name (LATIN, CYRILLIC, CJK ...); empty for what is no letter."""
    return unicodedata.name(letter, "").split(" ")[0].split("-")[0] if letter.isalpha() else ""


def scripts_in(text: str) -> frozenset[str]:
    """Return the scripts of the letters of `text`."""
    return frozenset(script_of(letter) for letter, _ in groupby(text)) - {""}
