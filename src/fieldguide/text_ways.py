"""Do descriptions help? Each zero-shot contestant with texts, on the test pictures in all three ways to say what a class is.

``text_ways.json``: ``{"schema": 1, "of": {...}, "rows": [...], "tests": [...]}``

    rows     contestant, way (``name``, ``name+texts``, ``texts``), accuracy, low and high (95 %, Wilson), n (test pictures)
    tests    contestant, ways a and b, difference of their accuracies with low and high (paired bootstrap), p (exact McNemar), p_holm
             (over the ways of this contestant), outcome as in ``comparison.json``

The way ``texts`` is missing where a class has no texts. A picture that cannot be read is wrong in all ways; the threshold of a
contestant that refuses answers plays no part. `of` says what it was made of: the manifest, and the weights of each contestant. Pictures
come through the feature store, words were read when the contestant was fitted.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

from fieldguide import families
from fieldguide.bench import Progress
from fieldguide.data.store import Store
from fieldguide.data.tables import read_predictions
from fieldguide.data.veil import window
from fieldguide.files import damaged, read_json, read_own, read_toml, write_json
from fieldguide.records import SCHEMA_VERSION, Image, Manifest, Prediction

FILE = "text_ways.json"
_FAMILY = "dual_encoder"
_ALPHA = 0.05


def compare_ways(folder: Path, manifest: Manifest, store: Store, progress: Progress) -> None:
    """Write ``text_ways.json`` of the study in `folder`, unless it is there and of the same answers; without contestants with texts, none."""
    contestants = {run.name: read_own(run / "cost.json").get("model_sha256") for run in _with_texts(folder)}
    if not contestants:
        (folder / FILE).unlink(missing_ok=True)
        return
    of = {"manifest": manifest.hash, "models": contestants}
    if _made_of(folder / FILE) == of:
        return
    rows: list[dict[str, Any]] = []
    tests: list[dict[str, Any]] = []
    for name in contestants:
        found = _of_one(folder, name, manifest, store, progress)
        rows, tests = rows + found[0], tests + found[1]
    store.flush()
    write_json(folder / FILE, {"schema": SCHEMA_VERSION, "of": of, "rows": rows, "tests": tests})


def _with_texts(folder: Path) -> Iterator[Path]:
    """Yield the folders of contestants that have texts, answers, and all training pictures."""
    for path in sorted((folder / "runs").glob("*/settings.toml")):
        try:
            told = read_toml(path)
        except ValueError as error:  # TOML that is cut, or no UTF-8
            raise damaged(path, error) from error
        if told.get("family") != _FAMILY or not told.get("settings", {}).get("texts") or told.get("fraction", 1.0) < 1:
            continue
        if all((path.parent / name).exists() for name in ("model", "predictions.parquet", "cost.json")):
            yield path.parent


def _made_of(path: Path) -> Any:
    """Return what the file was made of; `None` where it is not there, or damaged and will be made again."""
    try:
        return read_json(path).get("of")
    except (OSError, ValueError, AttributeError):
        return None


def _of_one(
    folder: Path, name: str, manifest: Manifest, store: Store, progress: Progress
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows and the tests of one contestant."""
    from fieldguide.craft.features import Features
    from fieldguide.evaluate.answers import sheet
    from fieldguide.evaluate.intervals import wilson
    from fieldguide.evaluate.pairs import paired

    run, test = folder / "runs" / name, manifest.part("test")
    # One that was refused as too unsure has probabilities; one that could not be read has none.
    read = {answer.image for answer in read_predictions(run / "predictions.parquet") if answer.probabilities is not None}
    veiled = window(store)
    images = [Image(row.key, veiled) for row in test if row.key in read]
    model: Any = families.family(_FAMILY).load(run / "model")
    said = model.said(Features(folder / "store" / "features", progress).pictures(model.sees, images)) if images else {}
    answers = {
        way: [Prediction(image.key, model.ids[place]) for image, place in zip(images, places, strict=True)]
        for way, places in said.items()
    }
    sheets = [sheet(way, answers[way], test, manifest.classes) for way in ("name", "name+texts", "texts") if way in answers]
    rows = []
    for one in sheets:
        low, high = wilson(one.correct, one.n)
        rows.append({"contestant": name, "way": one.run, "accuracy": one.accuracy, "low": low, "high": high, "n": one.n})
    kept = ("a", "b", "difference", "low", "high", "p", "p_holm", "outcome")
    tests = [pair.as_dict() for pair in paired([(b, a) for a, b in combinations(sheets, 2)], _ALPHA)]
    return rows, [{"contestant": name, **{key: test[key] for key in kept}} for test in tests]
