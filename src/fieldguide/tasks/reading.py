"""Reading an answer in words: which class it names, under several readings of the same text, or why it names none.

    strict       nothing but the id or the display name of one class, letter for letter (white space around it apart)
    normalised   the same in another spelling: case, article, plural, punctuation and marks around it, hyphen, underscore, spaces
    alias        normalised, or a synonym of ``classes.toml`` in any such spelling
    json         the answer in a JSON object, which stands alone, in a fence or in prose; its value is read as normalised

No reading takes a name out of a sentence, chooses between two names, or puts a class in the place of what it cannot read. What a model
thought before it answered is left aside, but not by strict. Every step takes time in proportion to the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fieldguide.tasks.classify import Classify
from fieldguide.tasks.json_text import Objects, Several, objects
from fieldguide.tasks.names import fold, script_of

Reading = Literal["strict", "normalised", "alias", "json"]
READINGS: tuple[Reading, ...] = ("strict", "normalised", "alias", "json")

#: Why an answer is not right, with a plain name. All but the first are kinds of answers that name no class under a reading.
KINDS: Mapping[str, str] = {
    "other label": "another class of the list",
    "other spelling": "a name of the list in another spelling",
    "synonym": "a synonym of a class",
    "extra words": "a name of the list among other words",
    "two labels": "two classes of the list",
    "off-list": "no name of the list",
    "other language": "another script than the list",
    "invalid JSON": "no valid JSON",
    "refusal": "declined to answer",
    "empty": "empty",
    "cut": "cut before its end",
    "server failed": "the server failed",
    "unreadable picture": "the picture could not be read",
    "not asked": "not asked",
    "no answer": "there is no answer",
}
#: Kinds that say that there is no whole answer, whatever text came: they hold under every reading.
LASTING = frozenset(("cut", "server failed", "unreadable picture", "not asked", "no answer"))
_WORDS: Mapping[str, str] = {
    "other spelling": "a listed name, but not letter for letter",
    "synonym": "a synonym, no name of the list",
    "extra words": "more than a name",
    "two labels": "it names two classes",
    "off-list": "it names no class of the list",
    "other language": "it is written in another script",
    "invalid JSON": "it holds no whole JSON object",
    "refusal": "it declined to answer",
    "empty": "nothing was said",
    "cut": "the answer reached its most tokens",
    "server failed": "no answer came",
    "unreadable picture": "nothing was asked",
    "not asked": "nothing was asked",
    "no answer": "none came",
}
#: What other rooms say of the same, by how it begins.
_ELSEWHERE = {"empty answer": "empty", "no recorded answer": "no answer"}
#: Why a server says that a text ended, where that means that there is no answer.
ENDED = {"length": "cut", "max_tokens": "cut", "too long": "cut", "refusal": "refusal", "content_filter": "refusal"}

_TAG = re.compile(r"<(/?)(?:think|thinking|thought|thoughts|reasoning)>", re.IGNORECASE)
#: How a refusal opens, in folded form. It is looked for at the start of a text alone.
_REFUSES = re.compile(
    r"(?:(?:i'?m |i am )?(?:very |so |really )?sorry|(?:i )?apologi[sz]e|my apologies|i (?:do not|don'?t) know"
    r"|(?:(?:unfortunately|as an? (?:ai|language model))\b[^.!?]*?\b)?(?:i (?:can'?t|cannot|can not|could not|couldn'?t|won'?t|will not"
    r"|am unable|am not able)|i'?m (?:unable|not able)|(?:it is|it'?s) (?:not possible|impossible)|unable to"
    r"|cannot (?:determine|identify|classify))|no image|there is no (?:image|picture)"
    r"|es tut mir leid|(?:je suis )?désolé|lo siento|mi dispiace|抱歉|对不起|很抱歉|申し訳|죄송)"
)
_OPENING = 100
#: Keys under which an answer is looked for in a JSON object, folded.
_KEYS = frozenset(
    (
        "answer",
        "label",
        "class",
        "category",
        "prediction",
        "predicted",
        "predicted class",
        "class name",
        "classification",
        "name",
    )
)
#: Keys of what is said beside the answer.
_BESIDE = frozenset(
    ("confidence", "probability", "score", "certainty", "reason", "reasoning", "explanation", "description", "why", "notes")
)
#: Words that a bare name does not hold, unless a name of the list does.
_TALK = (
    "a an the i it its is are was this that these there here and or not no but in on at with as my be to can see shows show "
    "image picture photo answer label class category probably maybe likely perhaps possibly appears looks like"
)
_TALKED = frozenset(_TALK.split())
_LETTERS_READ = 2000


@dataclass(frozen=True, slots=True)
class Read:
    """The class id that an answer names, or `None` and then one of `KINDS`, why not."""

    label: str | None
    kind: str | None = None


def read(text: str, task: Classify, reading: Reading = "strict", finish: str = "") -> Read:
    """Return what `text` says under `reading`; `finish` is why the text ended (``length``: it was cut), where that is known.

    An answer that was cut is none, even where what is there is a name: "bear" may have become "bear cub".
    """
    if finish in ENDED:
        return Read(None, ENDED[finish])
    if reading == "strict":
        label = task.names.strict(text)
        return Read(label) if label is not None else Read(None, _why(text, task))
    said, thinking = without_thinking(text)
    if thinking:
        return Read(None, "cut")
    if reading == "json":
        return _read_json(said, task)
    label = task.names.alias(said) if reading == "alias" else task.names.normalised(said)
    return Read(label) if label is not None else Read(None, _why(said, task))


def without_thinking(text: str) -> tuple[str, bool]:
    """Return `text` without what stands in ``<think>`` and its like, and whether such a thought is never ended.

    A model whose prompt opens the tag says the closing one alone: all before it was thought.
    """
    kept, at, inside = "", 0, False
    for tag in _TAG.finditer(text):
        if not tag[1] and not inside:
            kept, inside = kept + text[at : tag.start()], True
        elif tag[1]:
            kept, at, inside = kept if inside else "", tag.end(), False
    return (kept, True) if inside else (kept + text[at:], False)


def _read_json(text: str, task: Classify) -> Read:
    held = objects(text)
    if held.broken or not held.found:
        kind = _without_object(text, held)
        return Read(None, kind)
    said = [one for value in held.found for one in _answers(value)]
    if not said:
        named = task.names.mentioned(text)
        return Read(None, "two labels" if len(named) > 1 else "extra words" if named else "off-list")
    labels = {task.names.normalised(one) for one in set(said)}
    if len(labels) == 1:
        label = labels.pop()
        return Read(label) if label is not None else Read(None, _why(said[0], task))
    return Read(None, "two labels" if len(labels - {None}) > 1 else "extra words")


def _without_object(text: str, held: Objects) -> str:
    if not fold(text):
        return "empty"
    if held.cut:
        return "cut"
    return "refusal" if not held.broken and refuses(text) else "invalid JSON"


def _answers(value: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an object answers: the values of the keys that say so, else of its only key, else its only text.

    What is said beside an answer (a confidence, a reason) is left aside, unless there is nothing else.
    """
    keys = [key for key in value if fold(key) in _KEYS]
    rest = [key for key in value if fold(key) not in _BESIDE]
    texts = [key for key in rest if isinstance(value[key], str)]
    for key in keys or next((one for one in (list(value), rest, texts) if len(one) == 1), []):
        yield from _texts(value[key])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, dict):
        for key, one in value.items():
            if fold(key) in _KEYS and isinstance(one, str):
                yield one
    elif isinstance(value, list | Several):
        for one in value:
            if isinstance(one, str) or (isinstance(one, int) and not isinstance(one, bool)):
                yield str(one)


def _why(text: str, task: Classify) -> str:
    """Return why `text`, which names no class under some reading, does not: the kind that tells most."""
    said, thinking = without_thinking(text)
    if thinking:
        return "cut"
    names, plain = task.names, fold(said)
    if not plain:
        return "empty"
    if names.normalised(said) is not None:
        return "other spelling" if said == text else "extra words"
    if names.alias(said) is not None:
        return "synonym"
    if plain.startswith("{") or "```" in said:
        held = objects(said)
        if held.broken or not held.found:
            return "cut" if held.cut else "invalid JSON"
    if refuses(said):
        return "refusal"
    mentioned = names.mentioned(said)
    if mentioned:
        return "two labels" if len(mentioned) > 1 else "extra words"
    return "other language" if _foreign(said, task) else "off-list"


def refuses(text: str) -> bool:
    """Tell whether `text` opens as refusals do."""
    return _REFUSES.match(fold(text[:_OPENING]).replace("’", "'")) is not None


def _foreign(text: str, task: Classify) -> bool:
    """Tell whether most letters of `text` are of scripts in which no class has a name; with names of figures alone none is."""
    known = task.names.scripts
    scripts = [script for script in map(script_of, text[:_LETTERS_READ]) if script]
    return bool(known) and 2 * sum(script not in known for script in scripts) > len(scripts)


def is_name(text: str, task: Classify) -> bool:
    """Tell whether `text` is a bare name, on the list or off it: E1b's "another animal", as far as a text shows it.

    One line of letters, figures, spaces, hyphens, underscores, apostrophes and full stops, of no more words than the longest listed name (but
    three at least), without words of which sentences are made; not two listed names, and no refusal.
    """
    said = text.strip()
    if not 0 < len(said) <= 200 or refuses(said):
        return False
    if not all(one.isalnum() or one in " -_'’." or one == "\u0301" for one in said):
        return False
    words = said.casefold().replace("_", " ").split()
    if len(words) > max(3, task.names.most_words) or not any(one.isalnum() for one in said):
        return False
    talk = any(word in _TALKED and word not in task.names.words for word in words)
    return not talk and len(task.names.mentioned(said)) < 2


def words_of(kind: str, detail: str = "") -> str:
    """Return `kind` in the words that stand in `Prediction.error`: the kind, a colon, and what happened."""
    return f"{kind}: {detail or _WORDS[kind]}"


def answered(error: str) -> bool:
    """Tell whether a model did answer where `error` stands, so that this is wrong and no failure of the run.

    It answered in words that name no class, or was so unsure that its answer was withheld as the settings wish.
    """
    kind = error.partition(":")[0]
    return kind == "too unsure" or (kind in _WORDS and kind not in LASTING)


def kind_of(error: str | None) -> str | None:
    """Return the kind that an error tells of, in the words of `words_of` or of another room; `None` where it tells of none."""
    if error is None:
        return None
    first = error.partition(":")[0]
    return first if first in _WORDS else _ELSEWHERE.get(first)
