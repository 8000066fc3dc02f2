"""The contract: the articles every family keeps, whoever wrote it. Public, like scikit-learn's ``check_estimator``.

    from fieldguide.contract import check
    check("my_family")                 # or the module itself; raises with every breach

One article is one function that takes a family (or a `Trial`, whose fits are then shared) and raises `ContractBroken`. `Settings.tiny()`
must be quick: a family is fitted about nine times on 24 small pictures. Articles are kept on a CPU, offline, with fixed seeds.

What no contract inside one process can promise: a family is Python code and could read the study folder from disk. The articles see to
it that what it is *given* holds no name and no label of a picture it is asked about.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import math
import os
import pickletools
import shutil
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fieldguide import families
from fieldguide.data.tables import prediction_from
from fieldguide.errors import Problem
from fieldguide.files import digest
from fieldguide.records import Image, Prediction
from fieldguide.settings import Settings, build
from fieldguide.trial import BF16_TOLERANCE, FP32_TOLERANCE, TASK, MemoryReader, Trial, rows, toy

if TYPE_CHECKING:
    from fieldguide.families import Family, Fitted

__all__ = ["ARTICLES", "BF16_TOLERANCE", "FP32_TOLERANCE", "SLOW", "ContractBroken", "MemoryReader", "Trial", "breaches", "check", "trial"]

#: How far the probabilities of one answer may be from summing to one.
SUM_TOLERANCE = 1e-5
#: How far a probability may move when a model is saved and loaded.
SAVED_TOLERANCE = 1e-6
#: Most pictures a family may take from a stream before its first answer.
LOOKAHEAD = 4096
_PICKLES = frozenset({".pt", ".pth", ".pkl", ".pickle", ".bin", ".joblib", ".ckpt"})


class ContractBroken(AssertionError):
    """A family broke an article: its name, what was `seen`, what is `expected`."""

    def __init__(self, article: str, seen: str, expected: str) -> None:
        super().__init__(f"{article}: {seen}. Expected: {expected}")
        self.article, self.seen, self.expected = article, seen, expected


Article = Callable[["Family | Trial"], None]


def trial(family: Family | Trial, settings: Settings | None = None) -> Trial:
    """Return a `Trial` of `family` with `settings` (its tiny ones if not given); a trial is returned as it is."""
    return family if isinstance(family, Trial) else Trial(family, settings or family.Settings.tiny())


def check(family: Family | str | types.ModuleType, settings: Settings | None = None, articles: Sequence[Article] | None = None) -> None:
    """Hold `family` (a module, or the name of one that is installed) to all `articles`.

    Raises an `ExceptionGroup` of `ContractBroken`, one for each breach, after all articles were tried.
    """
    found = breaches(family, settings, articles)
    if found:
        raise ExceptionGroup(f"{len(found)} of {len(ARTICLES if articles is None else articles)} articles are broken", found)


def breaches(
    family: Family | str | types.ModuleType, settings: Settings | None = None, articles: Sequence[Article] | None = None
) -> list[ContractBroken]:
    """Return every breach; an unforeseen exception is one as well."""
    room: Any = families.family(family) if isinstance(family, str) else family
    try:
        shared = trial(room, settings)
    except Exception as error:
        return [ContractBroken("article_tiny_is_legal", _said(error), "Settings.tiny() returns legal settings.")]
    found = []
    for article in ARTICLES if articles is None else articles:
        try:
            article(shared)
        except ContractBroken as broken:
            found.append(broken)
        except Exception as error:
            broken = ContractBroken(article.__name__, _said(error), (article.__doc__ or "").strip().split("\n")[0])
            broken.__cause__ = error
            found.append(broken)
    return found


def article_offers_the_protocol(family: Family | Trial) -> None:
    """A family offers Settings, fit, load, a LEARNS that is True or False, and a sentence about itself."""
    name, room = "article_offers_the_protocol", trial(family).family
    for wanted in ("fit", "load"):
        if not callable(getattr(room, wanted, None)):
            raise ContractBroken(name, f"{wanted} is no function", f"a function {wanted}")
    if not (isinstance(room.Settings, type) and issubclass(room.Settings, Settings)):
        raise ContractBroken(name, f"Settings is {room.Settings!r}", "a class made from fieldguide.settings.Settings")
    if type(getattr(room, "LEARNS", None)) is not bool:
        raise ContractBroken(name, f"LEARNS is {getattr(room, 'LEARNS', 'missing')!r}", "True, or False for one that uses no training picture")
    for what, text in (("the family", room.__doc__), ("its Settings", room.Settings.__dict__.get("__doc__"))):
        if not (text or "").strip():
            raise ContractBroken(name, f"{what} has no docstring", "one sentence that the list of families shows")


def article_settings_are_frozen(family: Family | Trial) -> None:
    """Settings cannot be changed, and refuse a name they do not have."""
    name, settings = "article_settings_are_frozen", trial(family).settings
    for field in [*type(settings).model_fields, "nonsense"]:
        with contextlib.suppress(ValidationError, AttributeError, TypeError, ValueError):
            setattr(settings, field, getattr(settings, field, 1))
            raise ContractBroken(name, f"{field} could be set", "frozen settings")
    with contextlib.suppress(ValidationError):
        type(settings)(**settings.model_dump(), no_such_setting=1)
        raise ContractBroken(name, "an unknown name was taken", "extra='forbid', so that a slip of the pen is an error")


def article_settings_are_described(family: Family | Trial) -> None:
    """Every setting has a description, and NAME_FIELD is one of them or None."""
    name, kind = "article_settings_are_described", type(trial(family).settings)
    for field, info in kind.model_fields.items():
        if len((info.description or "").split()) < 3:
            raise ContractBroken(name, f"{field} says {info.description!r}", "a docstring under the field: what it is and its unit")
    if kind.NAME_FIELD is not None and kind.NAME_FIELD not in kind.model_fields:
        raise ContractBroken(name, f"NAME_FIELD is {kind.NAME_FIELD!r}", f"None or one of {', '.join(kind.model_fields) or 'no fields'}")


def article_tiny_is_legal(family: Family | Trial) -> None:
    """Settings.tiny() is legal and survives JSON and the study file, which has no null."""
    name, room = "article_tiny_is_legal", trial(family).family
    tiny = room.Settings.tiny()
    if type(tiny) is not room.Settings:
        raise ContractBroken(name, f"tiny() returned {type(tiny).__name__}", "an instance of the family's Settings")
    # Validated afresh: model_construct and model_copy would let illegal values through.
    ways = {
        "JSON": lambda: room.Settings.model_validate_json(tiny.model_dump_json()),
        "study.toml": lambda: build(
            room.Settings, {key: value for key, value in tiny.model_dump(mode="json").items() if value is not None}, "tiny()"
        ),
    }
    for way, again in ways.items():
        try:
            same = again() == tiny
        except (ValidationError, ValueError, Problem) as error:
            raise ContractBroken(name, f"{way} refuses what tiny() wrote: {_said(error)}", "legal settings") from error
        if not same:
            raise ContractBroken(name, f"{way} gave {again()!r} for {tiny!r}", "the same settings again")


def article_answers_once_in_order(family: Family | Trial) -> None:
    """Every picture gets one row, in order; a row has a label, or an error that says why not."""
    name, on = "article_answers_once_in_order", trial(family)
    twice = (*toy().images, *toy().images[:2], toy().images[1])
    for images in (toy().images, twice, ()):
        answers = on.answers if images is toy().images else tuple(on.fitted.predict(images))
        wanted = [image.key for image in images]
        if [answer.image for answer in answers] != wanted:
            raise ContractBroken(name, f"{len(answers)} answers for {len(wanted)} pictures, or in another order", "one for each, in order")
    for answer in on.answers:
        if (answer.label is None) != bool(answer.error):
            raise ContractBroken(name, f"label {answer.label!r} with error {answer.error!r}", "a label, or an error that says why not")
        if answer.seconds is not None and not (math.isfinite(answer.seconds) and answer.seconds >= 0):
            raise ContractBroken(name, f"an answer took {answer.seconds} seconds", "a finite time, or None")
    if not any(answer.label for answer in on.answers):
        raise ContractBroken(name, f"no usable answer at all; the first error is {on.answers[0].error!r}", "some usable answers on the toy")


def article_answers_stay_on_the_list(family: Family | Trial) -> None:
    """A label is a class id of the task; probabilities follow the task's order, sum to one, and the label is their arg-max."""
    name, on = "article_answers_stay_on_the_list", trial(family)
    for answer in on.answers:
        table = answer.probabilities
        if answer.label is not None and answer.label not in TASK.index:
            raise ContractBroken(name, f"the label {answer.label!r}", f"one of {', '.join(TASK.ids)} (ids, not display names)")
        if table is None:
            continue
        if len(table) != len(TASK.ids):
            raise ContractBroken(name, f"{len(table)} probabilities", f"{len(TASK.ids)}, one for each class of the manifest")
        if not all(math.isfinite(value) and value >= 0 for value in table) or abs(sum(table) - 1) > SUM_TOLERANCE:
            raise ContractBroken(name, f"probabilities {table} (sum {sum(table)})", "finite, at least 0, summing to 1")
        if answer.label is not None and table[TASK.index[answer.label]] < max(table):
            raise ContractBroken(name, f"{answer.label} with probabilities {table}", "the class with the highest probability")


def article_same_answer_in_any_company(family: Family | Trial) -> None:
    """A picture gets the same answer alone, in any batch, in any order, and while another stream is being answered."""
    name, on = "article_same_answer_in_any_company", trial(family)
    images, fitted = toy().images, on.fitted
    turned = images[::-1]
    odd = (*images[5:], *images[:5])
    first, second = fitted.predict(images), fitted.predict(odd)
    woven = [(next(first), next(second)) for _ in images]
    ways = {
        "alone": [answer for image in images for answer in fitted.predict([image])],
        "in turned order": list(fitted.predict(turned))[::-1],
        "in a small batch": [a for start in range(0, len(images), 4) for a in fitted.predict(images[start : start + 4])],
        "beside another stream": [answer for answer, _ in woven],
    }
    for way, answers in ways.items():
        _same(name, answers, on.answers, on.tolerance, way)


def article_answers_a_stream(family: Family | Trial) -> None:
    """predict takes a generator without length or end, and answers before it has seen it all."""
    name, on = "article_answers_a_stream", trial(family)
    taken = 0

    def endless() -> Iterator[Image]:
        nonlocal taken
        for image in itertools.cycle(toy().images):
            taken += 1
            if taken > LOOKAHEAD:
                raise ContractBroken(name, f"{LOOKAHEAD} pictures were taken before {len(on.answers)} answers came", "answers as pictures come")
            yield image

    answers = on.fitted.predict(endless())
    if not (hasattr(answers, "__next__") and iter(answers) is answers):
        raise ContractBroken(name, f"predict returned a {type(answers).__name__}", "an iterator")
    _same(name, list(itertools.islice(answers, len(on.answers))), on.answers, on.tolerance, "from a stream")


def article_seeded_runs_repeat(family: Family | Trial) -> None:
    """Two fits with one seed give the same answers, to the last bit on a CPU."""
    on = trial(family)
    again = tuple(on.fit().predict(toy().images))
    if rows(again) != rows(on.answers):
        seen = next(f"{new[1:3]} after {old[1:3]}" for new, old in zip(rows(again), rows(on.answers), strict=True) if new != old)
        raise ContractBroken("article_seeded_runs_repeat", f"a second fit with the same seed answered {seen}", "the same answers exactly")


def article_saving_changes_nothing(family: Family | Trial) -> None:
    """What is saved and loaded gives the same answers, also from another place and when the scratch folder is gone."""
    on = trial(family)
    with _saved(on) as folder:
        scratch, hidden = on.first_bench.scratch, on.folder / "scratch-hidden"
        scratch.rename(hidden)
        try:
            loaded = on.family.load(folder)
            answers = list(loaded.predict(toy().images))
        finally:
            hidden.rename(scratch)
    _same("article_saving_changes_nothing", answers, on.answers, SAVED_TOLERANCE, "after loading")


def article_saves_no_code(family: Family | Trial) -> None:
    """A saved model holds no pickle: loading somebody's model must not run somebody's code."""
    with _saved(trial(family)) as folder:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            why = _pickled(path)
            if why:
                raise ContractBroken("article_saves_no_code", f"{path.name} {why}", "safetensors, JSON, TOML, Parquet or text")


def article_unreadable_is_a_row(family: Family | Trial) -> None:
    """A picture that cannot be read is a row with an error and no label, in its place; the others keep their answers."""
    name, on = "article_unreadable_is_a_row", trial(family)
    keys = [image.key for image in toy().images]
    for broken in ({keys[0], keys[7], keys[8], keys[-1]}, set(keys)):
        reader = MemoryReader(toy().pixels(), frozenset(broken))
        answers = list(on.fitted.predict(toy().through(reader)))
        if [answer.image for answer in answers] != keys:
            raise ContractBroken(name, f"{len(answers)} rows for {len(keys)} pictures, or in another order", "one row for each, in order")
        # A family that never opens a picture (the commonest class, a file of answers) cannot notice.
        missed = broken & reader.asked
        for answer in answers:
            if answer.image in missed and (answer.label, answer.probabilities, bool(answer.error)) != (None, None, True):
                raise ContractBroken(name, f"an unreadable picture got {answer.label!r} and error {answer.error!r}", "no label, and why")
        kept = [(new, old) for new, old in zip(answers, on.answers, strict=True) if new.image not in missed]
        _same(name, [new for new, _ in kept], [old for _, old in kept], on.tolerance, "beside an unreadable one")


def article_absent_class(family: Family | Trial) -> None:
    """A class without training picture does not break the fit, and keeps its place among the probabilities."""
    for absent in (TASK.ids[0], TASK.ids[-1]):
        _answers_whole("article_absent_class", trial(family), [e for e in toy().train if e.label != absent], toy().val, f"without {absent}")


def article_little_validation(family: Family | Trial) -> None:
    """One validation picture is enough, and none is legal."""
    for val in (toy().val[:1], ()):
        _answers_whole("article_little_validation", trial(family), toy().train, val, f"with {len(val)} validation pictures")


def article_any_number_of_pictures(family: Family | Trial) -> None:
    """One training picture a class is legal, and so is a last batch of one picture."""
    on = trial(family)
    singles = [next(example for example in toy().train if example.label == id) for id in TASK.ids]
    size = min(int(getattr(on.settings, "batch_size", 8)), len(toy().train) - 1)
    for train, what in ((singles, "one picture a class"), (toy().train[: size + 1], "a last batch of one picture"), (singles[:1], "one picture")):
        _answers_whole("article_any_number_of_pictures", on, train, toy().val, f"with {what}")


def article_learning_nothing(family: Family | Trial) -> None:
    """A family whose LEARNS is False gives the same answers without any training or validation picture."""
    on = trial(family)
    if not on.family.LEARNS:
        _same("article_learning_nothing", list(on.fit((), ()).predict(toy().images)), on.answers, on.tolerance, "without training pictures")


def article_knows_pixels_alone(family: Family | Trial) -> None:
    """An answer depends on pixels: the same picture under another hash gets the same answer."""
    on = trial(family)
    pixels = toy().pixels()
    other = {key: digest("another name for", key) for key in pixels}
    reader = MemoryReader({other[key]: picture for key, picture in pixels.items()})
    answers = list(on.fitted.predict([Image(other[image.key], reader) for image in toy().images]))
    if not on.family.LEARNS and not reader.asked:
        return  # answers from a file are looked up by hash; that is all they are
    renamed = [Prediction(key, a.label, a.probabilities, raw=a.raw, error=a.error) for key, a in zip(pixels, answers, strict=True)]
    _same("article_knows_pixels_alone", renamed, on.answers, on.tolerance, "under another hash")


def article_keeps_to_its_scratch(family: Family | Trial) -> None:
    """fit writes into bench.scratch, and perhaps the system's temporary folder, and nowhere else."""
    seen = trial(family).seen_of_fit
    if seen.written or seen.also_written:
        raise ContractBroken("article_keeps_to_its_scratch", f"fit wrote {[*seen.written, *seen.also_written][0]}", "files below bench.scratch")


def article_keeps_off_the_network(family: Family | Trial) -> None:
    """fit calls no other machine while bench.online is False, whether or not it minds the refusal."""
    called = trial(family).seen_of_fit.called
    if called:
        raise ContractBroken("article_keeps_off_the_network", f"fit called {called[0]}", "no network: the user has not allowed it")


def article_loads_in_a_fresh_process(family: Family | Trial) -> None:
    """What is saved can be loaded by a process that has fitted nothing. Held for families that are modules."""
    name, on = "article_loads_in_a_fresh_process", trial(family)
    if not isinstance(on.family, types.ModuleType):
        return
    words = "import sys; from fieldguide.contract import answer_toy; answer_toy(*sys.argv[1:])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with _saved(on) as folder:
        target = on.folder / "fresh.json"
        command = [sys.executable, "-c", words, on.family.__name__, str(folder), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=on.folder)  # noqa: S603
    if done.returncode:
        raise ContractBroken(name, (done.stderr.strip().splitlines() or ["it died"])[-1], "the same answers in a fresh process")
    answers = [prediction_from(row) for row in json.loads(target.read_text(encoding="utf-8"))]
    _same(name, answers, on.answers, SAVED_TOLERANCE, "in a fresh process")


def answer_toy(module: str, folder: str, target: str) -> None:
    """Load `folder` with the family `module` and write its answers for the toy as JSON: the other half of the article above."""
    import dataclasses

    fitted: Fitted = importlib.import_module(module).load(Path(folder))
    answers = [dataclasses.asdict(answer) for answer in fitted.predict(toy().images)]
    Path(target).write_text(json.dumps(answers), encoding="utf-8")


ARTICLES: tuple[Article, ...] = (
    article_offers_the_protocol,
    article_settings_are_frozen,
    article_settings_are_described,
    article_tiny_is_legal,
    article_answers_once_in_order,
    article_answers_stay_on_the_list,
    article_same_answer_in_any_company,
    article_answers_a_stream,
    article_seeded_runs_repeat,
    article_saving_changes_nothing,
    article_saves_no_code,
    article_unreadable_is_a_row,
    article_absent_class,
    article_little_validation,
    article_any_number_of_pictures,
    article_learning_nothing,
    article_knows_pixels_alone,
    article_keeps_to_its_scratch,
    article_keeps_off_the_network,
    article_loads_in_a_fresh_process,
)
#: Articles that start a process of their own.
SLOW: tuple[Article, ...] = (article_loads_in_a_fresh_process,)


def _answers_whole(name: str, on: Trial, train: Sequence[Any], val: Sequence[Any], what: str) -> None:
    """Fit on other parts of the toy and hold the answers to the same form."""
    try:
        fitted = on.fit(train, val)
        answers = list(fitted.predict(toy().images))
    except Exception as error:
        raise ContractBroken(name, f"{what}: {_said(error)}", "a fit and answers as ever") from error
    if [answer.image for answer in answers] != [image.key for image in toy().images]:
        raise ContractBroken(name, f"{what}: {len(answers)} answers for {len(toy().images)} pictures", "one for each, in order")
    for answer in answers:
        table = answer.probabilities
        wrong = table is not None and (len(table) != len(TASK.ids) or not abs(sum(table) - 1) <= SUM_TOLERANCE)
        if wrong or (answer.label is not None and answer.label not in TASK.index):
            raise ContractBroken(name, f"{what}: {answer.label!r} with probabilities {table}", "an answer over all classes of the manifest")


def _same(name: str, new: Sequence[Prediction], old: Sequence[Prediction], tolerance: float, way: str) -> None:
    """Raise unless both say the same: probabilities to `tolerance`, labels but for ties within it."""
    if [answer.image for answer in new] != [answer.image for answer in old]:
        raise ContractBroken(name, f"{way}: {len(new)} answers for {len(old)} pictures, or in another order", "the same rows")
    for now, was in zip(new, old, strict=True):
        a, b = now.probabilities, was.probabilities
        close = a is not None and b is not None and len(a) == len(b) and all(abs(x - y) <= tolerance for x, y in zip(a, b, strict=True))
        top = sorted(b or (), reverse=True)[:2]
        tie = close and len(top) == 2 and top[0] - top[1] <= 2 * tolerance
        if (now.label != was.label and not tie) or not (close or a is b is None) or bool(now.error) != bool(was.error):
            seen = f"{way}: {now.label} {a or now.error or ''}, but before {was.label} {b or was.error or ''}"
            raise ContractBroken(name, seen, f"the same answer to {tolerance:g}")


@contextlib.contextmanager
def _saved(on: Trial) -> Iterator[Path]:
    """Save the remembered fit and yield the folder, moved away from where it was written."""
    written, moved = on.folder / "model", on.folder / "model-moved"
    written.mkdir()
    try:
        on.fitted.save(written)
        yield written.rename(moved)
    finally:
        for folder in (written, moved):
            shutil.rmtree(folder, ignore_errors=True)


def _pickled(path: Path) -> str | None:
    """Return why a file counts as a pickle, or `None`. Archives are looked into: a torch file is a zip with a pickle inside."""
    if path.suffix.casefold() in _PICKLES:
        return "has the suffix of a pickle"
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inside = [name for name in archive.namelist() if Path(name).suffix.casefold() in _PICKLES]
        return f"holds {inside[0]}" if inside else None
    content = path.read_bytes()
    if content[:1] == b"\x80" and content[1:2] <= b"\x05" and content[-1:] == b".":
        return "begins and ends like a pickle"
    if content.startswith(b"\x93NUMPY") and b"'|O'" in content[:256]:
        return "is an array of objects, which NumPy pickles"
    if len(content) > 4 and content[-1:] == b".":
        with contextlib.suppress(ValueError, UnicodeDecodeError, IndexError):
            last = list(pickletools.genops(content))[-1]
            if last[2] == len(content) - 1:
                return "reads as a pickle from end to end"
    return None


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
