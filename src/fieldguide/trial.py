"""The contract's own bench: toy pictures, a reader that knows hashes alone, and a family's fits on them, remembered.

The toy is small and hard on purpose: three kinds of striped patches whose colours overlap under noise, so that models
disagree and a sabotaged one shows. Everything is a function of a seed. Nothing here is imported by a study.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.bench import Bench, read_log
from fieldguide.errors import PictureError
from fieldguide.records import ClassInfo, Example, Image, Pixels, Prediction
from fieldguide.settings import Settings
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.count import Count, Task
from fieldguide.trial_count import counting, toy_counts, wrong_counts
from fieldguide.trial_files import pickled as pickled

if TYPE_CHECKING:
    from fieldguide.families import Family, Fitted

#: Ids and names differ, so that a family that answers with the name of a class is caught.
TASK = Classify((ClassInfo("n01-ash", "ash tree"), ClassInfo("n02-birch", "birch"), ClassInfo("n03-cedar", "cedar")))
#: Largest difference of a probability between an answer given alone and the same answer given in a batch.
FP32_TOLERANCE = 1e-5
#: The same for a forward pass in bfloat16, whose numbers have 8 bits: a rounding of 2^-8 in the logits, a few times over.
BF16_TOLERANCE = 3e-2
#: How far the probabilities of one answer may be from summing to one.
SUM_TOLERANCE = 1e-5


class Breach(Exception):
    """What an article saw and what it expected; the contract adds the article's name."""

    def __init__(self, seen: str, expected: str) -> None:
        super().__init__(seen, expected)
        self.seen, self.expected = seen, expected


@dataclass(frozen=True, slots=True)
class MemoryReader:
    """Pixels by content hash, in memory. `broken` hashes cannot be read; `asked` notes the hashes that were asked for."""

    pictures: Mapping[str, Pixels]
    broken: frozenset[str] = frozenset()
    asked: set[str] = field(default_factory=set, repr=False)

    def read(self, key: str, at_least: int) -> Pixels:
        """Return the picture, read-only as from a memory map; it is smaller than most sizes, as small originals are."""
        self.asked.add(key)
        if key in self.broken or key not in self.pictures:
            raise PictureError("could not be read", f"{key[:12]} is damaged")
        return self.pictures[key]

    def prepare(self, keys: Sequence[str], at_least: int) -> None:
        """Do nothing: everything is decoded."""


@dataclass(frozen=True)
class Toy:
    """Pictures with labels in three parts, each ordered by content hash as a manifest is."""

    train: tuple[Example, ...]
    val: tuple[Example, ...]
    test: tuple[Example, ...]

    @property
    def images(self) -> tuple[Image, ...]:
        """The test pictures without their labels."""
        return tuple(example.image for example in self.test)

    def through(self, reader: MemoryReader) -> tuple[Image, ...]:
        """Return the test pictures as `reader` gives them."""
        return tuple(Image(image.key, reader) for image in self.images)

    def pixels(self) -> dict[str, Pixels]:
        """Return the test pictures' pixels by hash."""
        return {image.key: image.pixels(1) for image in self.images}


@lru_cache(maxsize=1)
def toy() -> Toy:
    """Return the contract's pictures: 24 to train, 9 to validate, 21 to answer for; 12 to 16 pixels a side, not square."""
    random = np.random.default_rng(20)
    return Toy(*(_part(random, per_class) for per_class in (8, 3, 7)))


def _part(random: np.random.Generator, per_class: int) -> tuple[Example, ...]:
    drawn = [(_picture(random, kind), label) for kind, label in enumerate(TASK.ids) for _ in range(per_class)]
    by_key = {key_of(pixels): (pixels, label) for pixels, label in drawn}
    reader = MemoryReader({key: by_key[key][0] for key in sorted(by_key)})
    kinds = {key: TASK.index[by_key[key][1]] for key in sorted(by_key)}
    return tuple(Example(Image(key, reader), by_key[key][1], toy_counts(key, kinds[key], TASK.ids)) for key in kinds)


def _picture(random: np.random.Generator, kind: int) -> Pixels:
    """Draw stripes whose direction and tint depend on `kind`, drowned in noise: ``"height width 3"`` uint8."""
    height, width = random.integers(12, 17, size=2)
    down, along = np.mgrid[:height, :width]
    stripes = np.sin((down, along, down + along)[kind] * random.uniform(0.9, 1.4) + random.uniform(0, 2 * np.pi))
    tint = np.full(3, 118.0) + random.normal(0, 16, 3)
    tint[kind] += 26
    noise = random.normal(0, 34, (height, width, 3))
    pixels: Pixels = np.clip(tint + 34 * stripes[:, :, None] + noise, 0, 255).astype(np.uint8)
    pixels.setflags(write=False)
    return pixels


def key_of(pixels: NDArray[np.uint8]) -> str:
    """Return the content hash of a toy picture."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def recorded_answers(_: Path) -> dict[str, Prediction]:
    """Return what somebody answered for the toy: words, words and probabilities, probabilities; and once off the list."""
    answers: dict[str, Prediction] = {}
    for number, image in enumerate(toy().images):
        best = int(image.key[:4], 16) % len(TASK.ids)
        table = tuple(0.5 if position == best else 0.25 for position in range(len(TASK.ids)))
        text = TASK.say(TASK.ids[best]).upper()
        answers[image.key] = (
            Prediction(image.key, raw="some kind of tree" if number == 3 else text),
            Prediction(image.key, raw=text, probabilities=table),
            Prediction(image.key, probabilities=table),
        )[number % 3]
    return answers


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fieldguide-contract-")).resolve()


@dataclass(frozen=True, eq=False)
class Trial:
    """One family with settings on the toy. What is fitted once is remembered, so that many articles cost few fits.

    `folder` is a temporary folder that goes when the trial does.
    """

    family: Family
    settings: Settings
    folder: Path = field(default_factory=_folder)

    def __post_init__(self) -> None:
        """See to it that the folder goes."""
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    @property
    def name(self) -> str:
        """What the family is called in messages."""
        return str(getattr(self.family, "__name__", type(self.family).__name__)).rpartition(".")[2]

    @cached_property
    def task(self) -> Any:
        """What the family is asked to do: the first of its TASKS, to name classes where it has none."""
        return counting(TASK) if getattr(self.family, "TASKS", ("classify",))[0] == "count" else TASK

    def bench(self, seed: int = 0) -> Bench:
        """Return a bench with a fresh, empty scratch folder on the CPU, offline."""
        return Bench(Path(tempfile.mkdtemp(prefix="scratch-", dir=self.folder)), seed, recorded=recorded_answers)

    @property
    def by_chance(self) -> bool:
        """Whether these settings answer otherwise with another seed, as the family says."""
        own = getattr(self.family, "chance", None)
        return bool(own(self.settings)) if own else getattr(self.family, "CHANCE", False) is True

    def fit(
        self, train: Sequence[Example] | None = None, val: Sequence[Example] | None = None, bench: Bench | None = None
    ) -> Fitted:
        """Fit on the toy's parts or those given; tuples, so that a family that sorts what it was given is caught."""
        examples = tuple(toy().train if train is None else train), tuple(toy().val if val is None else val)
        return self.family.fit(*examples, self.task, self.settings, bench or self.bench())

    @cached_property
    def first_bench(self) -> Bench:
        """The bench of the remembered fit."""
        return self.bench()

    @cached_property
    def _first(self) -> tuple[Fitted, Watch]:
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        with watching(self.first_bench.scratch, self.folder) as watch, contextlib.chdir(elsewhere):
            fitted = self.fit(bench=self.first_bench)
            watch.written += [str(path) for path in elsewhere.rglob("*")]  # compiled code, which no hook sees
        return fitted, watch

    @property
    def fitted(self) -> Fitted:
        """The family fitted on the whole toy with seed 0."""
        return self._first[0]

    @property
    def seen_of_fit(self) -> Watch:
        """What the remembered fit wrote and whom it called."""
        return self._first[1]

    @cached_property
    def answers(self) -> tuple[Prediction, ...]:
        """What `fitted` says of the test pictures, asked for all at once."""
        return tuple(self.fitted.predict(toy().images))

    @property
    def tolerance(self) -> float:
        """How far probabilities may move with the company; by the precision that the family wrote down as a fact."""
        facts = [event for event in read_log(self.first_bench.scratch / "log.jsonl") if event["event"] == "fact"]
        return BF16_TOLERANCE if any(fact.get("precision") == "bf16" for fact in facts) else FP32_TOLERANCE

    @contextlib.contextmanager
    def saved(self) -> Iterator[Path]:
        """Save the remembered fit and yield the folder, moved away from where it was written."""
        written, moved = self.folder / "model", self.folder / "model-moved"
        written.mkdir()
        try:
            self.fitted.save(written)
            yield written.rename(moved)
        finally:
            for folder in (written, moved):
                shutil.rmtree(folder, ignore_errors=True)


def _temporary() -> tuple[Path, ...]:
    folder = Path(tempfile.gettempdir())
    return folder, folder.resolve()


@dataclass
class Watch:
    """What happened while it watched: files `written` outside the allowed folder, hosts that were `called`."""

    allowed: Path
    folder: Path
    written: list[str] = field(default_factory=list)
    called: list[str] = field(default_factory=list)
    temporary: tuple[Path, ...] = field(default_factory=_temporary)

    def note_write(self, path: object) -> None:
        """Note a path that is opened for writing, unless it is in the scratch folder, a temporary or a bytecode cache."""
        if not isinstance(path, str | bytes | os.PathLike):
            return
        target = Path(os.path.abspath(os.fsdecode(path)))
        if target.is_relative_to(self.allowed) or target.is_relative_to("/dev") or target.is_relative_to("/proc"):
            return
        temporary = any(target.is_relative_to(folder) for folder in self.temporary) and not target.is_relative_to(self.folder)
        if temporary or "__pycache__" in target.parts:
            return
        self.written.append(str(target))

    def note_call(self, host: object) -> None:
        """Note a host other than this machine, and refuse it."""
        text = host.decode("utf-8", "replace") if isinstance(host, bytes) else str(host)
        if text in ("None", "", "localhost", "127.0.0.1", "::1"):
            return
        self.called.append(text)
        raise ConnectionRefusedError(f"fieldguide.contract: {text} was called, but the network is switched off")


_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_watches: list[Watch] = []


@contextlib.contextmanager
def watching(allowed: Path, folder: Path) -> Iterator[Watch]:
    """Watch this process for files written outside `allowed` and for calls to other hosts, which are refused.

    `folder` is the trial's own: it lies among the system's temporary folders, which may be written to. Python's audit
    events (PEP 578) see every module; a hook cannot be taken out again, so one is put in at the first use and sleeps.
    """
    _hook_in()
    watch = Watch(allowed, folder)
    _watches.append(watch)
    try:
        yield watch
    finally:
        _watches.remove(watch)


@lru_cache(maxsize=1)
def _hook_in() -> None:
    sys.addaudithook(_heard)


def _heard(event: str, values: tuple[Any, ...]) -> None:
    if _watches and event in _EVENTS:
        for watch in tuple(_watches):
            _EVENTS[event](watch, values)


def _opened(watch: Watch, values: tuple[Any, ...]) -> None:
    if isinstance(values[2], int) and values[2] & _WRITING:
        watch.note_write(values[0])


def _moved(watch: Watch, values: tuple[Any, ...]) -> None:
    for path in values[:2]:
        watch.note_write(path)


def _changed(watch: Watch, values: tuple[Any, ...]) -> None:
    # A name relative to an open folder (dir_fd) says nothing by itself; the folder was opened under the same watch.
    if values[-1] == -1:
        watch.note_write(values[0])


def _connected(watch: Watch, values: tuple[Any, ...]) -> None:
    # A text is a socket in the file system; a number first is one of the system's own kinds.
    if isinstance(values[1], tuple) and isinstance(values[1][0], str):
        watch.note_call(values[1][0])


def _looked_up(watch: Watch, values: tuple[Any, ...]) -> None:
    watch.note_call(values[0])


_EVENTS: dict[str, Callable[[Watch, tuple[Any, ...]], None]] = {
    "open": _opened,
    "os.mkdir": _changed,
    "os.remove": _changed,
    "os.rmdir": _changed,
    "os.rename": _moved,
    "socket.connect": _connected,
    "socket.sendto": _connected,
    "socket.getaddrinfo": _looked_up,
    "socket.gethostbyname": _looked_up,
}


def rows(predictions: Iterable[Prediction]) -> list[tuple[object, ...]]:
    """Return what must repeat exactly: everything but clocks."""
    return [(p.image, p.label, p.probabilities, p.counts, p.raw, p.error) for p in predictions]


def same(new: Sequence[Prediction], old: Sequence[Prediction], tolerance: float, way: str) -> None:
    """Raise `Breach` unless both say the same: probabilities to `tolerance`, labels but for ties within it."""
    if [answer.image for answer in new] != [answer.image for answer in old]:
        raise Breach(f"{way}: {len(new)} answers for {len(old)} pictures, or in another order", "the same rows")
    for now, was in zip(new, old, strict=True):
        a, b = now.probabilities, was.probabilities
        both = a is not None and b is not None and len(a) == len(b)
        close = both and all(abs(x - y) <= tolerance for x, y in zip(a or (), b or (), strict=True))
        top = sorted(b or (), reverse=True)[:2]
        # Either of two that lie so close may come out first.
        tie = close and len(top) == 2 and top[0] - top[1] <= 2 * tolerance
        alike = (now.label == was.label or tie) and (close or a is b is None) and now.counts == was.counts
        if not alike or bool(now.error) != bool(was.error):
            seen = f"{way}: {now.label} {a or now.counts or now.error or ''}, but before {was.label} {b or was.counts or was.error or ''}"
            raise Breach(seen, f"the same answer to {tolerance:g}")


def on_the_list(answer: Prediction, task: Task = TASK) -> None:
    """Raise `Breach` unless label and probabilities, or counts, of an answer are of the task's classes, in its order, and agree."""
    wrong = wrong_counts(answer, task) if isinstance(task, Count) else None
    if wrong is not None:
        raise Breach(*wrong)
    table = answer.probabilities
    if answer.label is not None and answer.label not in TASK.index:
        raise Breach(f"the label {answer.label!r}", f"one of {', '.join(TASK.ids)} (ids, not display names)")
    if table is None:
        return
    if len(table) != len(TASK.ids):
        raise Breach(f"{len(table)} probabilities", f"{len(TASK.ids)}, one for each class of the manifest")
    if not all(math.isfinite(value) and value >= 0 for value in table) or abs(sum(table) - 1) > SUM_TOLERANCE:
        raise Breach(f"probabilities {table} (sum {sum(table)})", "finite, at least 0, summing to 1")
    if answer.label is not None and table[TASK.index[answer.label]] < max(table):
        raise Breach(f"{answer.label} with probabilities {table}", "the class with the highest probability")


def said(error: BaseException) -> str:
    """Return the kind of an error and its first line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
