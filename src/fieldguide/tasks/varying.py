"""What a prompt audit varies, one thing at a time, and what it leaves as it is.

A variation asks the same model about the same pictures in other words. What its answers then do differently is the work of that change
alone, because all else is equal: that is what answers to one prompt, however many, cannot show. The word of an example stays the same
where the list is varied, and the list where the example is; temperature, format and the pictures that a prompt shows stay always.
Nothing is asked here that the prompt asks already: its own answers stand for its own example and its own order.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from fieldguide.records import ClassInfo
from fieldguide.tasks import rewording
from fieldguide.tasks.names import fold
from fieldguide.tasks.prompting import Prompt, Words, called, example_of, in_list
from fieldguide.tasks.unexampled import holds, unexampled

Check = Literal["picture", "example", "order", "length", "paraphrase", "synonyms", "batch", "repeat"]
#: What is checked, in the order of the report, and what each asks.
CHECKS: dict[Check, str] = {
    "picture": "Does the picture reach the model?",
    "example": "Does the example in the prompt pull the answers?",
    "order": "Does the order of the list matter?",
    "length": "Does the length of the list matter?",
    "paraphrase": "Do other words for the same question change the answers?",
    "synonyms": "Do other names for the same classes change the answers?",
    "batch": "Is a picture answered the same alone and among others?",
    "repeat": "Is the same question answered the same twice?",
}
#: Orders that are drawn, besides those with a reason: a place can be told from the label that stands there by many orders alone.
SHUFFLES = 4
#: Most orders that are drawn to find so many new ones.
_DRAWS = 100
#: The id of the variation whose prompt gives no example.
NO_EXAMPLE = "no-example"


@dataclass(frozen=True)
class Variation:
    """One change of what is asked: `prompt` in place of the contestant's own, for the reason `check`.

    `id` is a name for files (``example=3``, ``reversed``), `name` says it in words. `example` is the class id that stands as the
    example, where one does. `order` are class ids in the order of the list, where it was varied; `only` are those that may be listed and
    answered, where not all: then nothing is asked about pictures of others (`concerns`). `blank`: a grey picture is shown instead of the
    picture. `alone`: one picture at a time; `again`: what is kept from before does not count as an answer.
    """

    check: Check
    id: str
    name: str
    prompt: Prompt
    example: str | None = None
    order: tuple[str, ...] | None = None
    only: tuple[str, ...] | None = None
    blank: bool = False
    alone: bool = False
    again: bool = False

    def concerns(self, label: str) -> bool:
        """Tell whether pictures of the class `label` are asked about: not those whose name may not be answered."""
        return self.only is None or label in self.only


@dataclass(frozen=True)
class Present:
    """What a prompt says as it is: the class id of its example and the class ids of its list, in order; `None` where it has none."""

    example: str | None
    order: tuple[str, ...] | None


def present(prompt: Prompt, classes: Sequence[ClassInfo]) -> Present:
    """Return what `prompt` has as an example and as a list of `classes`."""
    known = called(prompt, classes)
    listed, _ = in_list(prompt, known)
    word = example_of(prompt, known, listed)
    own = next((info.id for info in known if info.name == word), None)
    return Present(
        own if _has(prompt, "example", "example_answer") else None, _ids(listed) if _has(prompt, "classes") else None
    )


def variations(
    prompt: Prompt, classes: Sequence[ClassInfo], checks: Iterable[Check] | None = None, labels_most: int = 10, seed: int = 0
) -> tuple[Variation, ...]:
    """Return what is asked for `checks` (all if not given), in the order of `CHECKS`; the same for the same `seed`.

    `classes` are those of the study, in the manifest's order. At most `labels_most` of them stand as an example, that of the prompt
    among them, which its own answers are there for. What is not there for a check, `not_applicable` gives the reason for.
    """
    found: list[Variation] = []
    for check in _wanted(checks):
        made = _made(check, prompt, classes, labels_most, seed)
        found += [] if isinstance(made, str) else made
    return tuple(found)


def not_applicable(prompt: Prompt, classes: Sequence[ClassInfo], checks: Iterable[Check] | None = None) -> dict[Check, str]:
    """Return for each of `checks` that nothing can be varied for why that is so."""
    made = {check: _made(check, prompt, classes, 2, 0) for check in _wanted(checks)}
    return {check: why for check, why in made.items() if isinstance(why, str)}


def _wanted(checks: Iterable[Check] | None) -> list[Check]:
    wanted = set(CHECKS if checks is None else checks)
    return [check for check in CHECKS if check in wanted]


def _made(check: Check, prompt: Prompt, classes: Sequence[ClassInfo], labels_most: int, seed: int) -> list[Variation] | str:
    """Return the variations of one check, or why it has none."""
    known = called(prompt, classes)
    if check == "picture":
        return [Variation(check, "blank", "a grey picture in place of each", prompt, blank=True)]
    if check == "batch":
        return [Variation(check, "alone", "one picture at a time", prompt, alone=True)]
    if check == "repeat":
        sampled = f", drawn at temperature {prompt.temperature:g}" if prompt.temperature > 0 else ""
        return [Variation(check, "again", f"the same once more{sampled}", prompt, again=True)]
    if check == "example":
        return _examples(prompt, known, labels_most, seed)
    if check == "order":
        return _orders(prompt, known, seed)
    if check == "length":
        return _lengths(prompt, known, seed)
    if check == "paraphrase":
        return _paraphrases(prompt)
    return _synonyms(prompt, known)


def _examples(prompt: Prompt, known: tuple[ClassInfo, ...], most: int, seed: int) -> list[Variation] | str:
    """Return the prompt without an example, and with others in its place."""
    if not _has(prompt, "example", "example_answer"):
        shown = " Pictures that it shows with their answers are no example words." if prompt.shots else ""
        return f"The prompt gives no example: it has no place {{example}}.{shown}"
    own = present(prompt, known).example
    without = unexampled(prompt)
    found = []
    if without is not None:
        found.append(Variation("example", NO_EXAMPLE, f"without the words “{' '.join(without[1].split())}”", without[0]))
    others = [info.id for info in known if info.id != own]
    random.Random(f"{seed} example").shuffle(others)  # noqa: S311
    taken = set(others[: max(0, most - (own is not None))])
    for at, info in enumerate(known):
        if info.id in taken:
            id, name = f"example={_file(info.id, known, at)}", f"{info.name} as the example"
            found.append(Variation("example", id, name, _with_example(prompt, known, info.name), example=info.id))
    return found or "The prompt has one class, which is its example, and no form without it."


def _orders(prompt: Prompt, known: tuple[ClassInfo, ...], seed: int) -> list[Variation] | str:
    """Return the prompt with its list in other orders; no order comes twice, and the present one is not asked again."""
    why = _no_list(prompt)
    if why:
        return why
    listed, _ = in_list(prompt, known)
    ids = _ids(listed)
    orders: dict[str, tuple[str, tuple[str, ...]]] = {
        "reversed": ("the list the other way round", ids[::-1]),
        "sorted": ("the list from A to Z", _ids(sorted(listed, key=lambda info: (fold(info.name), info.id)))),
        "first-last": ("the first of the list moved to its end", (*ids[1:], *ids[:1])),
    }
    found, seen = [], {ids}
    pinned, generator = _pinned(prompt, known), random.Random(f"{seed} order")  # noqa: S311
    for id, (name, order) in orders.items():
        found += _ordered(id, name, pinned, known, order, seen)
    number, fresh = 0, min(SHUFFLES, math.factorial(min(len(ids), 9)) - len(seen))
    while fresh > 0 and number < _DRAWS:
        number += 1
        made = _ordered(
            f"shuffled-{number}",
            f"drawn order {number} of the list",
            pinned,
            known,
            tuple(generator.sample(ids, len(ids))),
            seen,
        )
        fresh -= len(made)
        found += made
    return found or "There is one class, and one order of it."


def _ordered(
    id: str, name: str, pinned: Prompt, known: tuple[ClassInfo, ...], order: tuple[str, ...], seen: set[tuple[str, ...]]
) -> list[Variation]:
    """Return the prompt with its list in `order`, and add that to `seen`; nothing where it was seen before."""
    varied = pinned.model_copy(update={"order": order})
    stands = _ids(in_list(varied, known)[0])
    if stands in seen:
        return []
    seen.add(stands)
    return [Variation("order", id, name, varied, order=stands)]


def _lengths(prompt: Prompt, known: tuple[ClassInfo, ...], seed: int) -> list[Variation] | str:
    """Return the prompt with each half of the list, asked about pictures of that half alone, and with names of no class behind it.

    The class of an example stands in both halves: an example that the list does not have would be a second change.
    """
    why = _no_list(prompt)
    if why:
        return why
    pinned, own = _pinned(prompt, known), present(prompt, known).example
    found: list[Variation] = []
    if len(known) >= 4 and not prompt.shots:
        ids = list(_ids(known))
        random.Random(f"{seed} length").shuffle(ids)  # noqa: S311
        for number, half in enumerate((ids[: len(ids) // 2], ids[len(ids) // 2 :]), 1):
            only = tuple(info.id for info in known if info.id in half or info.id == own)
            found.append(
                Variation("length", f"half-{number}", f"half {number} of the list, for its pictures", pinned, only=only)
            )
    longer = rewording.lengthened(pinned, known)
    if longer is not None:
        found.append(Variation("length", "longer", f"the list with {longer[1]} names behind it that are no class", longer[0]))
    if found:
        return found
    return "The list is too short to halve, or the prompt shows pictures of all its classes, and it cannot be lengthened as it is written."


def _paraphrases(prompt: Prompt) -> list[Variation] | str:
    made = rewording.reworded(prompt)
    if isinstance(made, str):
        return made
    return [Variation("paraphrase", f"wording-{id}", f"the words “{opening} ...”", varied) for id, opening, varied in made]


def _synonyms(prompt: Prompt, known: tuple[ClassInfo, ...]) -> list[Variation] | str:
    """Return the prompt with another name for every class that has one which can mean no other class."""
    if not _has(prompt, "classes"):
        return "The prompt does not list the classes, so it would say the same names as before."
    taken = {fold(word): info.id for info in known for word in (info.id, info.name)}
    renamed: dict[str, Words] = {}
    pairs = []
    for info in known:
        usable = (
            one for one in info.synonyms if fold(one) not in ("", fold(info.name)) and taken.get(fold(one), info.id) == info.id
        )
        other = next(usable, None)
        if other is None:
            continue
        taken[fold(other)] = info.id
        synonyms = (info.name, *(one for one in info.synonyms if one != other))
        renamed[info.id] = Words(name=other, synonyms=synonyms, description=info.description)
        pairs.append(f"{other} for {info.name}")
    if not renamed:
        return "No class has a synonym that can mean no other class; synonyms stand in classes.toml."
    now = present(prompt, known)  # both by id, so that the order stays and the example is called as in the list
    update = {"classes": {**prompt.classes, **renamed}, "order": now.order, "example": now.example or prompt.example}
    some = ", ".join(pairs[:3]) + (f" and {len(pairs) - 3} more" if len(pairs) > 3 else "")
    return [Variation("synonyms", "synonyms", f"the names {some}", prompt.model_copy(update=update))]


def _no_list(prompt: Prompt) -> str | None:
    if _has(prompt, "classes"):
        return None
    return "The prompt has no place {classes}: its list, if it gives one, is part of its text and stands as it stands."


def _has(prompt: Prompt, *places: str) -> bool:
    """Tell whether one of these places is in any text of the prompt."""
    texts = (prompt.system, prompt.question, prompt.closing, *(turn.text for turn in prompt.turns))
    return any(holds(text, *places) for text in texts)


def _pinned(prompt: Prompt, known: tuple[ClassInfo, ...]) -> Prompt:
    """Return `prompt` with its present example said outright: without one, {example} is the first of a list that is about to change."""
    return _with_example(prompt, known, example_of(prompt, known, in_list(prompt, known)[0]))


def _with_example(prompt: Prompt, known: tuple[ClassInfo, ...], word: str) -> Prompt:
    """Return `prompt` with `word` as its example: by name, or by id where that name is another class's id."""
    ways = [prompt.model_copy(update={"example": said}) for said in (word, *(info.id for info in known if info.name == word))]
    return next((way for way in ways if example_of(way, known, known) == word), ways[0])


def _ids(classes: Iterable[ClassInfo]) -> tuple[str, ...]:
    return tuple(info.id for info in classes)


def _file(id: str, known: Sequence[ClassInfo], at: int) -> str:
    """Return a class id as part of a name of a file; with its place where other letters had to be taken."""
    safe = re.sub(r"[^\w.-]+", "_", id)
    return safe if safe == id and sum(fold(one.id) == fold(id) for one in known) == 1 else f"{safe[:40]}-{at}"
