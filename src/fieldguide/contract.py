"""The contract: the articles every family keeps, whoever wrote it. Public, like scikit-learn's ``check_estimator``.

    from fieldguide.contract import check
    check("my_family")                 # or the module itself; raises with every breach

One article is one function that takes a family (or a `Trial`, whose fits are then shared) and raises `ContractBroken`.
A family is fitted about ten times on 24 small pictures, on a CPU and offline, so `Settings.tiny()` must be quick.

What no contract inside one process can promise: a family is Python code and could read the study folder from disk. The
articles see to it that its answers depend on pixels and on nothing else it was given.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import itertools
import json
import math
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fieldguide import families
from fieldguide.data.tables import prediction_from
from fieldguide.errors import Problem
from fieldguide.files import digest
from fieldguide.records import Example, Image, Prediction
from fieldguide.settings import Settings, build
from fieldguide.trial import TASK, Breach, MemoryReader, Trial, on_the_list, pickled, rows, said, same, toy
from fieldguide.trial_count import shows, usable

if TYPE_CHECKING:
    from fieldguide.families import Family

    Room = Family | str | types.ModuleType

#: How far a probability may move when a model is saved and loaded.
SAVED_TOLERANCE = 1e-6
#: Most pictures a family may take from a stream before it answers.
LOOKAHEAD = 4096


class ContractBroken(AssertionError):
    """A family broke an article: its name, what was `seen`, what is `expected`."""

    def __init__(self, article: str, seen: str, expected: str) -> None:
        super().__init__(f"{article}: {seen}. Expected: {expected}.")
        self.article, self.seen, self.expected = article, seen, expected


Article = Callable[["Family | Trial"], None]


def trial(family: Family | Trial, settings: Settings | None = None) -> Trial:
    """Return a `Trial` of `family` with `settings` (its tiny ones if not given); a trial is returned as it is."""
    return family if isinstance(family, Trial) else Trial(family, settings or family.Settings.tiny())


def check(family: Room, settings: Settings | None = None, articles: Sequence[Article] | None = None) -> None:
    """Hold `family` (a module, or the name of an installed one) to `articles`, all of `ARTICLES` if not given.

    Raises an `ExceptionGroup` of `ContractBroken`, one for each breach, after all articles were tried.
    """
    found = breaches(family, settings, articles)
    if found:
        raise ExceptionGroup(f"{len(found)} of {len(ARTICLES if articles is None else articles)} articles are broken", found)


def breaches(family: Room, settings: Settings | None = None, articles: Sequence[Article] | None = None) -> list[ContractBroken]:
    """Return every breach; an exception that an article did not foresee is one as well."""
    room: Any = families.family(family) if isinstance(family, str) else family
    try:
        shared = trial(room, settings)
    except Exception as error:
        return [ContractBroken("article_tiny_is_legal", said(error), "Settings.tiny() returns legal settings")]
    found = []
    for article in ARTICLES if articles is None else articles:
        try:
            article(shared)
        except ContractBroken as breach:
            found.append(breach)
        except Exception as error:
            unforeseen = ContractBroken(
                article.__name__, said(error), (article.__doc__ or "").strip().split("\n")[0].rstrip(".")
            )
            unforeseen.__cause__ = error
            found.append(unforeseen)
    return found


def _article(law: Callable[[Trial], None]) -> Article:
    """Make an article of a law: it takes a family as well as a trial, and its breaches carry its name."""

    @functools.wraps(law)
    def article(family: Family | Trial) -> None:
        try:
            law(trial(family))
        except Breach as breach:
            raise ContractBroken(law.__name__, breach.seen, breach.expected) from breach.__cause__

    return article


@_article
def article_offers_the_protocol(on: Trial) -> None:
    """Offer Settings, fit, load, a LEARNS that is True or False, and a sentence about yourself."""
    room = on.family
    for wanted in ("fit", "load"):
        if not callable(getattr(room, wanted, None)):
            raise Breach(f"{wanted} is no function", f"a function {wanted}")
    if not (isinstance(room.Settings, type) and issubclass(room.Settings, Settings)):
        raise Breach(f"Settings is {room.Settings!r}", "a class made from fieldguide.settings.Settings")
    if type(getattr(room, "LEARNS", None)) is not bool:
        raise Breach(f"LEARNS is {getattr(room, 'LEARNS', 'missing')!r}", "True, or False where no training picture is used")
    if hasattr(room, "learns") and type(room.learns(on.settings)) is not bool:
        raise Breach(f"learns says {room.learns(on.settings)!r}", "True, or False for settings that use no training picture")
    for what, text in (("the family", room.__doc__), ("its Settings", room.Settings.__dict__.get("__doc__"))):
        if not (text or "").strip():
            raise Breach(f"{what} has no docstring", "one sentence, which the list of families shows")


@_article
def article_settings_are_frozen(on: Trial) -> None:
    """Refuse every change of settings, and every name that is none of them."""
    settings: Any = on.settings
    for field in [*type(settings).model_fields, "nonsense"]:
        with contextlib.suppress(ValidationError, AttributeError, TypeError, ValueError):
            setattr(settings, field, getattr(settings, field, 1))
            raise Breach(f"{field} could be set", "frozen settings")
    try:
        type(settings)(**settings.model_dump(), no_such_setting=1)
    except ValidationError as error:
        refused = any(slip["type"] == "extra_forbidden" for slip in error.errors())
    else:
        refused = False
    if not refused:
        raise Breach("an unknown name was taken", "extra='forbid', so that a slip of the pen is an error")


@_article
def article_settings_are_described(on: Trial) -> None:
    """Describe every setting; NAME_FIELD is one of them or None."""
    kind = type(on.settings)
    for field, info in kind.model_fields.items():
        if len((info.description or "").split()) < 3:
            raise Breach(f"{field} says {info.description!r}", "a docstring under the field: what it is and its unit")
    if kind.NAME_FIELD is not None and kind.NAME_FIELD not in kind.model_fields:
        raise Breach(f"NAME_FIELD is {kind.NAME_FIELD!r}", f"None or one of {', '.join(kind.model_fields) or 'no fields'}")


@_article
def article_tiny_is_legal(on: Trial) -> None:
    """Return legal settings from Settings.tiny(); they survive JSON, and a study file, which has no null."""
    kind = on.family.Settings
    tiny = kind.tiny()
    if type(tiny) is not kind:
        raise Breach(f"tiny() returned {type(tiny).__name__}", "an instance of the family's Settings")
    written = {key: value for key, value in tiny.model_dump(mode="json").items() if value is not None}
    # Read afresh, because model_construct and model_copy let illegal values through.
    ways: dict[str, Callable[[], Settings]] = {
        "JSON": lambda: kind.model_validate_json(tiny.model_dump_json()),
        "study.toml": lambda: build(kind, written, "tiny()"),
    }
    for way, read in ways.items():
        try:
            again = read()
        except (ValueError, Problem) as error:
            raise Breach(f"{way} refuses what tiny() wrote: {said(error)}", "legal settings") from error
        if again != tiny:
            raise Breach(f"{way} gave {again!r} for {tiny!r}", "the same settings again")


@_article
def article_answers_once_in_order(on: Trial) -> None:
    """Answer every picture once, in order, with a label or with an error that says why not."""
    _one_each(on.answers, toy().images)
    for images in ((*toy().images, *toy().images[:2], toy().images[1]), ()):
        _one_each(list(on.fitted.predict(images)), images)
    for answer in on.answers:
        if usable(answer, on.task) == bool(answer.error):
            raise Breach(f"label {answer.label!r} with error {answer.error!r}", "a label, or an error that says why not")
        if answer.seconds is not None and not 0 <= answer.seconds < math.inf:
            raise Breach(f"an answer took {answer.seconds} seconds", "a finite time, or None")
    if not any(usable(answer, on.task) for answer in on.answers):
        raise Breach(f"no usable answer at all; the first error is {on.answers[0].error!r}", "some usable answers on the toy")


@_article
def article_answers_stay_on_the_list(on: Trial) -> None:
    """Answer with class ids of the task; probabilities follow its order and sum to one, and the label is their arg-max."""
    for answer in on.answers:
        on_the_list(answer, on.task)


@_article
def article_same_answer_in_any_company(on: Trial) -> None:
    """Give a picture the same answer alone, in any batch, in any order, and beside another stream."""
    images, fitted = toy().images, on.fitted
    beside = [a for a, _ in zip(fitted.predict(images), fitted.predict((*images[5:], *images[:5])), strict=True)]
    batches = [images[start : start + 4] for start in range(0, len(images), 4)]
    same(beside, on.answers, on.tolerance, "beside another stream")
    same([answer for image in images for answer in fitted.predict([image])], on.answers, on.tolerance, "alone")
    same(list(fitted.predict(images[::-1]))[::-1], on.answers, on.tolerance, "in turned order")
    same([answer for batch in batches for answer in fitted.predict(batch)], on.answers, on.tolerance, "four at a time")


@_article
def article_answers_a_stream(on: Trial) -> None:
    """Take a generator without length or end, and answer before it is exhausted."""
    taken = 0

    def endless() -> Iterator[Image]:
        nonlocal taken
        for image in itertools.cycle(toy().images):
            taken += 1
            if taken > LOOKAHEAD:
                raise Breach(
                    f"{LOOKAHEAD} pictures were taken before {len(on.answers)} answers came", "answers as pictures come"
                )
            yield image

    answers = on.fitted.predict(endless())
    if not (hasattr(answers, "__next__") and iter(answers) is answers):
        raise Breach(f"predict returned a {type(answers).__name__}", "an iterator")
    same(list(itertools.islice(answers, len(on.answers))), on.answers, on.tolerance, "from a stream")


@_article
def article_seeded_runs_repeat(on: Trial) -> None:
    """Give the same answers, to the last bit on a CPU, when fitted again with the same seed."""
    for new, old in zip(rows(on.fit().predict(toy().images)), rows(on.answers), strict=True):
        if new != old:
            raise Breach(f"a second fit with the same seed gave {new[1:3]} after {old[1:3]}", "the same answers exactly")


@_article
def article_chance_is_told(on: Trial) -> None:
    """Say CHANCE = True where another seed trains another model; without it, give the same answers with any seed."""
    chance = getattr(on.family, "CHANCE", False)
    if type(chance) is not bool:
        raise Breach(f"CHANCE is {chance!r}", "True, or False (as when absent) where chance plays no part in training")
    other = on.answers if on.by_chance else on.fit(bench=on.bench(seed=1)).predict(toy().images)
    if rows(other) != rows(on.answers):
        raise Breach("another seed gave other answers", "CHANCE = True, so that a study with several seeds repeats the fit")


@_article
def article_saving_changes_nothing(on: Trial) -> None:
    """Answer the same after saving and loading, also from another place and when the scratch folder is gone."""
    with on.saved() as folder:
        scratch, hidden = on.first_bench.scratch, on.folder / "scratch-hidden"
        scratch.rename(hidden)
        try:
            answers = list(on.family.load(folder).predict(toy().images))
        finally:
            hidden.rename(scratch)
    same(answers, on.answers, SAVED_TOLERANCE, "after loading")


@_article
def article_saves_no_code(on: Trial) -> None:
    """Save no pickle: loading somebody's model must not run somebody's code."""
    with on.saved() as folder:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            why = pickled(path)
            if why:
                raise Breach(f"{path.name} {why}", "safetensors, JSON, TOML, Parquet or text")


@_article
def article_unreadable_is_a_row(on: Trial) -> None:
    """Give a picture that cannot be read a row with an error and no label, in its place; the others keep their answers."""
    keys = [image.key for image in toy().images]
    for broken in ({keys[0], keys[7], keys[8], keys[-1]}, set(keys)):
        reader = MemoryReader(toy().pixels(), frozenset(broken))
        answers = list(on.fitted.predict(toy().through(reader)))
        _one_each(answers, toy().images)
        # A family that never opens a picture (the commonest class, a file of answers) cannot notice.
        missed = broken & reader.asked
        for answer in answers:
            got = (answer.label, answer.probabilities, answer.counts, bool(answer.error))
            if answer.image in missed and got != (None, None, None, True):
                raise Breach(f"an unreadable picture got {answer.label!r} and error {answer.error!r}", "no label, and why")
        kept = [(new, old) for new, old in zip(answers, on.answers, strict=True) if new.image not in missed]
        same([new for new, _ in kept], [old for _, old in kept], on.tolerance, "beside an unreadable one")


@_article
def article_absent_class(on: Trial) -> None:
    """Fit also where a class has no training picture; it keeps its place among the probabilities."""
    for absent in (TASK.ids[0], TASK.ids[-1]):
        present = [example for example in toy().train if not shows(example, absent, on.task)]
        _fits(on, present, toy().val, f"without {absent}")


@_article
def article_little_validation(on: Trial) -> None:
    """Fit also with one validation picture, and with none."""
    for val in (toy().val[:1], ()):
        _fits(on, toy().train, val, f"with {len(val)} validation pictures")


@_article
def article_any_number_of_pictures(on: Trial) -> None:
    """Fit also with one training picture a class, and where the last batch is one picture."""
    singles = [next(example for example in toy().train if shows(example, label, on.task)) for label in TASK.ids]
    _fits(on, singles, toy().val, "with one picture a class")
    size = min(int(getattr(on.settings, "batch_size", 8)), len(toy().train) - 1)
    _fits(on, toy().train[: size + 1], toy().val, f"with {size + 1} pictures, so that a batch of one is left")


@_article
def article_learning_nothing(on: Trial) -> None:
    """Give the same answers without any training or validation picture, if LEARNS is False; without training ones, if learns says so."""
    if not on.family.LEARNS:
        same(list(on.fit((), ()).predict(toy().images)), on.answers, on.tolerance, "without training pictures")
    elif not getattr(on.family, "learns", lambda _: True)(on.settings):
        same(list(on.fit(()).predict(toy().images)), on.answers, on.tolerance, "without training pictures")


@_article
def article_knows_pixels_alone(on: Trial) -> None:
    """Let pixels alone decide: the same picture under another hash, with another reader, gets the same answer."""
    pixels = toy().pixels()
    other = {key: digest("another name for", key) for key in pixels}
    reader = MemoryReader({other[key]: picture for key, picture in pixels.items()})
    answers = list(on.fitted.predict([Image(other[key], reader) for key in pixels]))
    if not on.family.LEARNS and not reader.asked:
        return  # answers from a file are looked up by hash; that is all they are
    renamed = [dataclasses.replace(answer, image=key) for key, answer in zip(pixels, answers, strict=True)]
    same(renamed, on.answers, on.tolerance, "under another hash")


@_article
def article_keeps_to_its_scratch(on: Trial) -> None:
    """Write into bench.scratch while fitting, perhaps into the system's temporary folder, and nowhere else."""
    for written in on.seen_of_fit.written:
        raise Breach(f"fit wrote {written}", "files below bench.scratch")


@_article
def article_keeps_off_the_network(on: Trial) -> None:
    """Call no other machine while bench.online is False, whether or not a refusal would matter."""
    for called in on.seen_of_fit.called:
        raise Breach(f"fit called {called}", "no network: the user has not allowed it")


@_article
def article_loads_in_a_fresh_process(on: Trial) -> None:
    """Load in a process that has fitted nothing. Held for families that are modules."""
    if not isinstance(on.family, types.ModuleType):
        return
    words = "import sys; from fieldguide.contract import answer_toy; answer_toy(*sys.argv[1:])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    target = on.folder / "fresh.json"
    with on.saved() as folder:
        command = [sys.executable, "-c", words, on.family.__name__, str(folder), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=on.folder)
    if done.returncode:
        raise Breach((done.stderr.strip().splitlines() or ["it died"])[-1], "the same answers in a fresh process")
    answers = [prediction_from(row) for row in json.loads(target.read_text(encoding="utf-8"))]
    same(answers, on.answers, SAVED_TOLERANCE, "in a fresh process")


def answer_toy(module: str, folder: str, target: str) -> None:
    """Load `folder` with the family `module` and write its answers for the toy as JSON: the other half of the article above."""
    fitted = importlib.import_module(module).load(Path(folder))
    answers = [dataclasses.asdict(answer) for answer in fitted.predict(toy().images)]
    Path(target).write_text(json.dumps(answers), encoding="utf-8")


#: All articles, in the order in which they are tried.
ARTICLES: tuple[Article, ...] = tuple(value for name, value in list(globals().items()) if name.startswith("article_"))
#: Those that start a process of their own.
SLOW: tuple[Article, ...] = (article_loads_in_a_fresh_process,)


def _one_each(answers: Sequence[Prediction], images: Sequence[Image]) -> None:
    if [answer.image for answer in answers] != [image.key for image in images]:
        raise Breach(f"{len(answers)} answers for {len(images)} pictures, or in another order", "one for each, in order")


def _fits(on: Trial, train: Sequence[Example], val: Sequence[Example], what: str) -> None:
    """Fit on other parts of the toy and hold the answers to the same form."""
    try:
        answers = list(on.fit(train, val).predict(toy().images))
    except Exception as error:
        raise Breach(f"{what}: {said(error)}", "a fit and answers as ever") from error
    _one_each(answers, toy().images)
    for answer in answers:
        on_the_list(answer, on.task)
