"""The task of describing a class in words: how it is asked for, field by field, and how a reply is read as lines.

The prompt is package data (``prompts/describe.toml``). One sentence a field, because image-text encoders read about twenty words of
a text and a paragraph is cut; the classes it is confused with, because without them the lines of neighbours come out alike.
"""

from __future__ import annotations

import json
import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from string import Template
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieldguide.errors import UsageProblem, allowed_names, plain
from fieldguide.records import ClassInfo, Line
from fieldguide.tasks.classify import Classify, fold
from fieldguide.tasks.json_text import first_object

#: The field of a line that tells a class apart from one it is confused with.
DISTINCT = "distinct"
#: Letters of a line; a longer one is no short sentence, and is left out.
LONGEST = 240
_FIELD = re.compile(r"[^\W\d_][\w -]{0,30}")
_MARKUP = re.compile(r"^(?:[-*•]\s*|\d{1,2}[.)]\s+)+|[*`_]+(?=\w)|(?<=\w)[*`_]+(?=\W|$)")
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\ufeff")

#: What stands for "not sure" where null was asked for.
_NOTHING = frozenset({"", "null", "none", "n/a", "unknown", "unsure", "not sure"})


class Unusable(Exception):
    """A reply that holds no description, in a few words that also tell the model what to do better."""


@dataclass(frozen=True)
class Prompt:
    """The texts of ``describe.toml``."""

    version: int
    system: str
    user: str
    again: str
    also: str
    confused: str
    cues: str
    alone: str
    presets: Mapping[str, tuple[str, ...]]
    hints: Mapping[str, str]


@lru_cache(maxsize=1)
def prompt() -> Prompt:
    """Return the prompt that this version asks with."""
    file = resources.files("fieldguide").joinpath("prompts", "describe.toml")
    texts = tomllib.loads(file.read_text(encoding="utf-8"))
    return Prompt(**{**texts, "presets": {name: tuple(fields) for name, fields in texts["presets"].items()}})


def read_fields(words: str) -> tuple[str, ...]:
    """Return the fields in ``size,beak`` or in a preset such as ``birds``, which may stand among them. Raises `UsageProblem`."""
    presets = prompt().presets
    found: list[str] = []
    for word in (part.strip().casefold() for part in words.split(",")):
        found += presets.get(word, (word,))
    wrong = next((name for name in found if not _FIELD.fullmatch(name) or name == DISTINCT), None)
    if wrong is not None or not found:
        raise UsageProblem(
            f"--fields {plain(words)!r}: {plain(wrong or '')!r} is no field.",
            f"Names of parts of the looks, separated by commas, or a set of them. {allowed_names(wrong or '', presets)}",
            "--fields size,coloration,beak",
        )
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class About:
    """What is asked about one class: `info`, the classes it is confused with, the fields, and what its kind is called."""

    info: ClassInfo
    rivals: tuple[ClassInfo, ...]
    fields: tuple[str, ...]
    domain: str

    @property
    def opening(self) -> str:
        """How every sentence begins, so that it can stand without the name of the class."""
        return f"{'an' if self.domain[:1].casefold() in 'aeiou' else 'a'} {self.domain} with"

    def messages(self, why: str | None = None) -> tuple[dict[str, str], ...]:
        """Return the messages; `why` says what was wrong with an earlier reply."""
        texts = prompt()
        rivals = ", ".join(plain(rival.name) for rival in self.rivals)
        others = (
            [Template(texts.also).substitute(names=", ".join(map(plain, self.info.synonyms)))] if self.info.synonyms else []
        )
        others += [Template(texts.confused).substitute(names=rivals), texts.cues] if rivals else [texts.alone]
        hints = (f"- {name}: {texts.hints[name]}" if name in texts.hints else f"- {name}" for name in self.fields)
        values = {"domain": self.domain, "class": plain(self.info.name), "opening": self.opening}
        values |= {"others": "\n".join(others), "fields": "\n".join(hints), "shape": self._shape()}
        said = Template(texts.user).substitute(values).strip()
        if why is not None:
            said += "\n\n" + Template(texts.again).substitute(why=why)
        return ({"role": "system", "content": texts.system}, {"role": "user", "content": said})

    def _shape(self) -> str:
        cues = [{"class": plain(rival.name), "cue": f"{self.opening} ..."} for rival in self.rivals[:1]]
        shape = {
            "class": plain(self.info.name),
            "fields": dict.fromkeys(self.fields, f"{self.opening} ..."),
            "distinct_from": cues,
        }
        return json.dumps(shape, ensure_ascii=False)

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of a reply, as strict servers want it: every key required, no other allowed."""
        text = {"type": "string"}
        cue = _closed({"class": text, "cue": text})
        fields = _closed({name: {"type": ["string", "null"]} for name in self.fields})
        return _closed({"class": text, "fields": fields, "distinct_from": {"type": "array", "items": cue}})


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(properties), "additionalProperties": False}


class _Cue(BaseModel):
    model_config = ConfigDict(extra="ignore")
    class_: str = Field(alias="class")
    cue: str


class _Description(BaseModel):
    model_config = ConfigDict(extra="ignore")
    class_: str = Field(alias="class")
    fields: dict[str, str | None]
    distinct_from: list[_Cue] = []


@dataclass(frozen=True)
class Read:
    """The lines of a reply, and how many sentences were left out, by reason."""

    lines: tuple[Line, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)


def read(text: str, finish: str, about: About, task: Classify) -> Read:
    """Return the lines that a reply holds; raises `Unusable` where it is none.

    Left out are sentences that name a class, are too long, or say what another sentence said; and cues against classes that were
    not asked about.
    """
    if finish == "refusal" or finish == "content_filter":
        raise Unusable("the server declined to answer")
    value = None if finish == "too long" else first_object(text)
    if value is None:
        cut = {"length": "it was cut at the limit of tokens (--most-tokens)", "too long": "it was far too long"}
        raise Unusable(cut.get(finish, "it was empty" if not text.strip() else "it held no JSON object"))
    try:
        said = _Description(**value)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise Unusable(f"{plain(where, 60)} is missing or of the wrong kind") from error
    if task.read(said.class_) != about.info.id:
        raise Unusable(f"it described {plain(said.class_, 60)!r}, not {plain(about.info.name, 60)!r}")
    given = {name.strip().casefold(): sentence for name, sentence in said.fields.items()}
    missing = [name for name in about.fields if name not in given]
    if missing:
        raise Unusable(f"fields are missing: {', '.join(missing)}")
    rivals = {rival.id for rival in about.rivals}
    sentences = [(name, given[name]) for name in about.fields]
    sentences += [(DISTINCT, cue.cue) for cue in said.distinct_from if task.read(cue.class_) in rivals]
    result = _lines(sentences, about, task)
    if not any(line.field != DISTINCT for line in result.lines):
        told = ", ".join(f"{count} {why}" for why, count in result.left_out.items())
        raise Unusable(f"no field had a sentence that can be used ({told})" if told else "it was sure of no field")
    return result


def _lines(sentences: Sequence[tuple[str, str | None]], about: About, task: Classify) -> Read:
    lines: dict[str, Line] = {}
    left_out: dict[str, int] = {}
    for name, sentence in sentences:
        text = cleaned(sentence or "")
        if fold(text) in _NOTHING | {fold(about.opening)}:
            continue
        rest = re.sub(rf"^an? {re.escape(about.domain)}\b", "", text, flags=re.IGNORECASE)
        why = "too long" if len(text) > LONGEST else "named a class" if names_a_class(rest, about) else None
        why = "said twice" if why is None and fold(text) in lines else why
        if why is not None:
            left_out[why] = left_out.get(why, 0) + 1
        else:
            lines[fold(text)] = Line(text, name)
    return Read(tuple(lines.values()), left_out)


def cleaned(text: str) -> str:
    """Return a sentence as one plain line: no control characters, lone surrogates, bullets, emphasis or quotes around it."""
    spaced = "".join(" " if unicodedata.category(one) in ("Cc", "Zl", "Zp") else one for one in text)
    line = " ".join("".join(one for one in spaced if unicodedata.category(one) != "Cs" and one not in _TURNS).split())
    return _MARKUP.sub("", line).strip(" \"'“”‘’„«»").strip()


def names_a_class(text: str, about: About) -> bool:
    """Tell whether a sentence names the class or one it is confused with, by name or synonym, in the singular or plural."""
    said = fold(text)
    infos = (about.info, *about.rivals)
    names = {fold(name) for info in infos for name in (info.name, *info.synonyms)} - {"", fold(about.domain)}
    return any(re.search(rf"(?<!\w){re.escape(name)}(?:s|es)?(?!\w)", said) for name in names)
