"""A family that looks for names and labels in all it is given scores like chance; handed the path, it scores 100 %."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from tests.contract.toy_family import room

from fieldguide import families, runs
from fieldguide.bench import Silent
from fieldguide.data.images import load as load_picture
from fieldguide.data.store import Store
from fieldguide.data.tables import freeze, read_predictions
from fieldguide.data.veil import hatch, window
from fieldguide.files import digest
from fieldguide.records import Image, ManifestRow, Prediction
from fieldguide.settings import Settings
from fieldguide.tasks.classify import Classify
from fieldguide.trial import TASK, Trial, toy

_DEPTH, _MOST = 9, 20_000


def _inside(thing: object) -> Iterator[object]:
    """Yield what `thing` leads to: fields, slots, closures, bound objects, frames of generators, files of memory maps."""
    if isinstance(thing, Mapping):
        yield from list(thing.keys())
        yield from list(thing.values())
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from list(thing)
    elif isinstance(thing, types.CellType):
        yield thing.cell_contents
    elif isinstance(thing, types.GeneratorType):
        yield from list(thing.gi_frame.f_locals.values()) if thing.gi_frame else []
    elif type(thing) in (type(iter([])), type(iter(()))):
        yield thing.__reduce__()  # the whole list behind an iterator
    elif isinstance(thing, functools.partial):
        yield from (thing.func, thing.args, thing.keywords)
    elif isinstance(thing, type | types.ModuleType | str | bytes | int | float | None.__class__):
        return
    names = ("__closure__", "__defaults__", "__kwdefaults__", "__self__", "__func__", "__wrapped__", "base", "obj", "filename")
    for name in (*names, *_slots(type(thing)), *getattr(thing, "__dict__", {})):
        try:
            yield getattr(thing, name)
        except Exception:
            continue


def _slots(kind: type) -> list[str]:
    found: list[str] = []
    for parent in kind.__mro__:
        slots = parent.__dict__.get("__slots__", ())
        found += [slots] if isinstance(slots, str) else list(slots)
    return [name for name in found if not name.startswith("__")]


def everything(start: object, known: frozenset[int] = frozenset()) -> list[object]:
    """Return what can be reached from `start`, nearest first, without what is `known` by its id."""
    seen, found, layer = set(known), [start], [start]
    for _ in range(_DEPTH):
        further = []
        for inner in (inner for outer in layer for inner in _inside(outer)):
            if id(inner) not in seen:
                seen.add(id(inner))
                further.append(inner)
        layer = further
        found += layer
        if len(found) > _MOST:
            break
    return found


class Loot:
    """What was found, ready to be asked: mappings by key, and the texts of everything else."""

    def __init__(self, things: Iterable[object]) -> None:
        self.things = list(things)
        self.mappings = [thing for thing in self.things if isinstance(thing, Mapping)]
        containers = Mapping | list | tuple | set | frozenset | np.ndarray
        self.texts = [repr(thing)[:2000] for thing in self.things if not isinstance(thing, containers)]

    def label_of(self, key: str, ids: Sequence[str]) -> str | None:
        """Return the one class that stands together with the picture's hash."""
        told = [repr(mapping[key]) for mapping in self.mappings if key in mapping] + [
            text for text in self.texts if key in text
        ]
        for text in told:
            named = [label for label in ids if label in text.replace(key, "")]
            if len(named) == 1:
                return named[0]
        return None


class Cheat:
    """Answers what it can spy out; where there is nothing, a guess from the hash."""

    def __init__(self, ids: Sequence[str], *given: object, told: Callable[[str], object] | None = None) -> None:
        self.ids, self.given, self.told = tuple(ids), given, told

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        common: Loot | None = None
        for image in images:
            if common is None:
                common = Loot(everything((*self.given, images, image)))
                known = frozenset(map(id, common.things)) - {id(image), id(images)}
            near = Loot(everything((image, image.pixels(32), images, self.told and self.told(image.key)), known))
            found = near.label_of(image.key, self.ids) or common.label_of(image.key, self.ids)
            yield Prediction(image.key, found or self.ids[int(digest(image.key)[:8], 16) % len(self.ids)])

    def save(self, folder: Path) -> None:
        (folder / "cheat.txt").write_text("nothing was learned")


def _right(answers: Iterable[Prediction], truth: Mapping[str, str]) -> float:
    return float(np.mean([answer.label == truth[answer.image] for answer in answers]))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Ninety pictures in folders named after their class, by content hash."""
    root, random, found = tmp_path_factory.mktemp("photos"), np.random.default_rng(4), {}
    for number in range(90):
        path = root / TASK.ids[number % 3] / f"{TASK.ids[number % 3]}_{number:03}.png"
        path.parent.mkdir(exist_ok=True)
        Pillow.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(path)
        found[digest(number)] = path
    return found


@pytest.fixture
def store(photos: dict[str, Path], tmp_path: Path) -> Store:
    """A store as a study makes it: it knows where the originals lie."""
    made = Store(tmp_path / "store", originals=lambda key: photos[key].read_bytes())
    for key, path in photos.items():
        made.add(key, 32, load_picture(path.read_bytes(), 32).pixels)
    made.flush()
    return made


def _like_chance(right: float) -> bool:
    """Tell whether 90 guesses among three classes could be so good: four standard deviations."""
    return abs(right - 1 / 3) < 4 * (2 / 9 / 90) ** 0.5


def test_a_cheat_scores_like_chance_on_the_contracts_pictures() -> None:
    trial = Trial(room(), room().Settings())
    truth = {example.image.key: str(example.label) for example in toy().test}
    cheat = Cheat(TASK.ids, trial.bench(), TASK, trial.settings)
    assert _right(cheat.predict(toy().images), truth) < 0.67
    assert _right(cheat.predict(iter(toy().images)), truth) < 0.67


def test_a_cheat_behind_the_veil_scores_like_chance_and_handed_the_path_it_scores_everything(
    photos: dict[str, Path], store: Store
) -> None:
    truth = {key: path.parent.name for key, path in photos.items()}
    veiled = window(store)
    recorded = hatch(lambda path: {key: photos[key] for key in photos})
    hidden = Cheat(TASK.ids, recorded, TASK).predict(iter([Image(key, veiled) for key in photos]))
    assert _like_chance(_right(hidden, truth))
    images = [Image(key, veiled) for key in photos]
    assert _right(Cheat(TASK.ids, told=lambda key: f"{key} {photos[key]}").predict(images), truth) == 1.0


@pytest.mark.parametrize("way", ["closure", "generator", "mapping", "slot"])
def test_the_cheat_finds_what_is_left_open(way: str, photos: dict[str, Path], store: Store) -> None:
    """The spying must be good, or its failure proves nothing."""
    truth = {key: path.parent.name for key, path in photos.items()}
    rows = [ManifestRow(key, str(path), label) for (key, path), label in zip(photos.items(), truth.values(), strict=True)]
    veiled = window(store)
    images: Iterable[Image] = [Image(key, veiled) for key in photos]
    given: object = None
    if way == "closure":
        images = [Image(key, store) for key in photos]
    elif way == "generator":
        images = (Image(row.key, veiled) for row in rows)
    elif way == "mapping":
        given = {"depths": [{"of": truth}]}
    else:
        given = rows
    assert _right(Cheat(TASK.ids, given).predict(images), truth) == 1.0


def test_a_cheat_in_a_real_run_scores_like_chance(
    photos: dict[str, Path], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        ManifestRow(key, f"{path.parent.name}/{path.name}", path.parent.name, "train" if number % 4 == 0 else "test")
        for number, (key, path) in enumerate(photos.items())
    ]
    manifest = freeze(rows, TASK.ids, 0)
    table = runs.Table(tmp_path / "study", manifest, Classify(TASK.classes), store, 0, "cpu", False, Silent())
    cheating = room(fit=lambda train, val, task, settings, bench: Cheat(task.ids, bench, task, settings, val))
    monkeypatch.setattr(families, "family", lambda name: cheating)
    assert runs.run(families.Contestant("cheat", "majority", Settings()), table) == "done"
    answers = read_predictions(tmp_path / "study" / "runs" / "cheat" / "predictions.parquet")
    assert len(answers) == 67
    assert _like_chance(_right(answers, {row.key: row.label for row in rows}))


def test_the_veil_shows_the_same_pixels_and_goes_with_its_window(photos: dict[str, Path], store: Store) -> None:
    from fieldguide.data import veil

    before = len(veil._behind)
    veiled, key = window(store), next(iter(photos))
    pixels = veiled.read(key, 32)
    assert np.array_equal(pixels, store.read(key, 32))
    assert type(pixels) is np.ndarray
    assert pixels.base is None
    assert not pixels.flags.writeable
    veiled.prepare([key], 64)
    assert store.has(key, 64)
    assert hatch(lambda number, more=0: number + more)(1, more=2) == 3
    del veiled
    assert len(veil._behind) == before
