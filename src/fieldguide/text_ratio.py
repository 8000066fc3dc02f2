"""Can text stand in for pictures? ``fieldguide sweep text-ratio STUDY/``: three curves over image : text ratios, written into a study.

``text_ratio.json`` holds

    encoder, text_model, described, normalisation    what saw and what read, in words
    ratios (image per cent), seeds, total (training pictures), classes, test (test pictures)
    selections, sources, translators, heads
    cells        one fit each: curve (pictures, mix, weighted), selection, source, translator, head, image, seed, accuracy, val_accuracy,
                 weight (of the texts, where one was chosen), pictures, texts, classes_present, fewest, most (pictures of a class)
    summary      mean, low, high over seeds; differences: from pictures alone, paired, with p and p_adjusted (`evaluate.text_ratio`)
    worth        value, low, high in pictures a class beside `per_class` of them, state and sentence; headline: the one of these
                 (`evaluate.text_worth`)
    leaks        source, translator and why: pairs of the same class taught the translator (``--folds 1``), so text only is none
    reference    the published table of the recipe that the study follows, or null
    seconds      by part; notes: what has to be known to read the numbers

Texts of a class are its lines in a source, and the captions of its training pictures, whether or not a share keeps the picture.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fieldguide import recipes
from fieldguide.asked import TextRatio
from fieldguide.bench import Progress, Silent
from fieldguide.data.texts import folder_of, names, read_texts
from fieldguide.errors import UsageProblem, allowed_names, plain
from fieldguide.files import read_toml, told_plainly, write_csv, write_json
from fieldguide.files import sweep as tidy
from fieldguide.gather import labelled
from fieldguide.locked import Locked
from fieldguide.records import SCHEMA_VERSION, SPLITS, Manifest, Texts
from fieldguide.study import require_study

RESULT, TABLE = "text_ratio.json", "text_ratio.csv"
HEADS = ("ridge", "gda", "softmax")


@dataclass(frozen=True)
class Order:
    """What was asked for, read and checked: `shares` fall from 1 to 0, `selections` are words that `craft.selections` reads."""

    asked: TextRatio
    shares: tuple[float, ...]
    selections: tuple[str, ...]
    heads: tuple[str, ...]
    translators: tuple[str, ...] | None


@dataclass(frozen=True)
class Costs:
    """What a sweep would take: pictures and lines not yet encoded, fits by kind, and seconds where something was timed."""

    pictures: int
    lines: int
    closed: int
    softmax: int
    encode_seconds: float
    closed_seconds: float
    softmax_seconds: float


def read_order(asked: TextRatio) -> Order:
    """Return what `asked` means; raises `UsageProblem` for a word that means nothing."""
    from fieldguide.craft import selections, translators

    shown = tuple(dict.fromkeys(str(selections.read(words)) for words in asked.selection))
    heads = _listed("--heads", asked.heads, HEADS)
    wanted = None if asked.translators is None else _listed("--translators", asked.translators, translators.NAMES)
    return Order(asked, read_ratios(asked.ratios), shown, heads, wanted)


def read_ratios(text: str) -> tuple[float, ...]:
    """Read ``100,90,0`` (per cent of pictures) as shares of 1, falling. Raises `UsageProblem`."""
    found = set()
    for word in text.split(","):
        try:
            percent = float(word)
        except ValueError:
            percent = -1.0
        if not 0 <= percent <= 100:
            raise UsageProblem(
                f"--ratios {plain(text)}: {plain(word)!r} is no share of pictures.",
                "Numbers from 0 to 100, in per cent, separated by commas; the rest is text.",
                "--ratios 100,50,10,0",
            )
        found.add(percent / 100)
    if not any(share > 0 for share in found):
        raise UsageProblem(
            f"--ratios {plain(text)} has no pictures in it.",
            "At least one share above 0, to compare texts with; two or more say what texts are worth.",
            "--ratios 100,50,10,0",
        )
    return tuple(sorted(found, reverse=True))


def _listed(option: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    for word in found:
        if word not in known:
            raise UsageProblem(
                f"{option} {plain(text)}: there is no {plain(word)!r}.",
                allowed_names(word, known),
                f"{option} {','.join(known[:2])}",
            )
    return found


@told_plainly()
def text_ratio(folder: Path, asked: TextRatio, *, online: bool = False, progress: Progress | None = None) -> dict[str, Any]:
    """Fit every cell, write ``text_ratio.json`` and ``text_ratio.csv`` into the study and return the first.

    The same call again goes on where it was stopped, and comes to the same numbers.
    """
    from fieldguide import text_rows, text_strips
    from fieldguide.evaluate.text_worth import told

    progress = progress or Silent()
    order = read_order(asked)
    require_study(folder)
    with Locked(folder):
        tidy(folder)
        manifest = labelled(folder)
        sources = _sources(folder, manifest, order)
        seconds: dict[str, float] = {}
        rows = _timed(seconds, "features", lambda: text_rows.gathered(folder, manifest, sources, order, online, progress))
        strips = text_strips.Strips(folder / "store" / "text_ratio", rows, manifest.seed, progress)
        cells = [cell for head in order.heads for cell in _timed(seconds, head, partial(strips.cells, head))]
        found = _timed(seconds, "statistics", lambda: told(cells, len(manifest.classes)))
        result = {
            "schema": SCHEMA_VERSION,
            "encoder": rows.encoder,
            "text_model": rows.text_model,
            "described": rows.described,
            "normalisation": asked.normalise,
            "ratios": [round(100 * share, 6) for share in order.shares],
            "seeds": [manifest.seed + step for step in range(asked.seeds)],
            "total": len(rows.bed.train.labels),
            "classes": len(manifest.classes),
            "test": len(rows.bed.test.labels),
            "selections": list(order.selections),
            "sources": [texts.name for texts in sources],
            "translators": list(dict.fromkeys(one.translator for one in rows.said)),
            "heads": list(order.heads),
            **found,
            "leaks": _leaks(rows, asked),
            "reference": _published(folder),
            "seconds": {name: round(value, 2) for name, value in seconds.items()},
            "notes": [*rows.notes, *strips.notes],
        }
        write_csv(folder / TABLE, *_table(result))
        write_json(folder / RESULT, result)
    return result


def _published(folder: Path) -> dict[str, Any] | None:
    """Return the published table that the study's recipe has, to stand beside this one."""
    name = str(read_toml(folder / "study.toml").get("recipe") or "").removesuffix(recipes.TINY)
    if name not in recipes.names():
        return None
    recipe = recipes.read(name)
    rows = [row.model_dump() for row in recipe.published.ratios]
    return {"what": recipe.published.what, "source": recipe.source, "rows": rows} if rows else None


def _leaks(rows: Any, asked: TextRatio) -> list[dict[str, str]]:
    """Return where pairs of the class a line tells of taught what translates it."""
    if asked.pairs is not None or asked.folds > 1:
        return []
    from fieldguide.craft.translators import LEAK

    return [
        {"source": one.source, "translator": one.translator, "why": LEAK} for one in rows.said if one.translator != "identity"
    ]


def _timed(seconds: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    begun = time.perf_counter()
    result = work()
    seconds[name] = time.perf_counter() - begun
    return result


@told_plainly()
def dry_run(folder: Path, asked: TextRatio, *, online: bool = False, progress: Progress | None = None) -> Costs:
    """Return what `text_ratio` would do and is expected to cost here; a few steps are timed, nothing is kept."""
    from fieldguide import text_rows, text_strips

    order = read_order(asked)
    require_study(folder)
    manifest = labelled(folder)
    sources = _sources(folder, manifest, order)
    return text_strips.costs(text_rows.sized(folder, manifest, sources, order, online), order)


def _sources(folder: Path, manifest: Manifest, order: Order) -> tuple[Texts, ...]:
    """Return the sources with what they say of classes and of training pictures; raises `UsageProblem` where nothing can be swept."""
    if manifest.folds:
        raise UsageProblem(
            f"{plain(folder)} is cross-validated with {manifest.folds} folds, and shares are taken of one training part.",
            "A study with one split.",
            "fieldguide compare PHOTOS/ --out ANOTHER-FOLDER   makes one.",
        )
    for part in SPLITS:
        if not manifest.part(part):
            raise UsageProblem(
                f"{plain(folder)} has no {part} pictures.",
                "Shares are taken of training pictures, weights are chosen on validation pictures, test pictures score.",
                "fieldguide compare PHOTOS/ --split 70/15/15 --out ANOTHER-FOLDER",
            )
    wanted = order.asked.texts or names(folder)
    if not wanted:
        raise UsageProblem(
            f"The study has no texts: {plain(folder_of(folder))} is empty.",
            "Descriptions of classes, or captions of pictures.",
            f"fieldguide texts {plain(folder)} --add FILE   brings some in.",
        )
    training = {row.key for row in manifest.part("train")}
    found = []
    for name in dict.fromkeys(wanted):
        texts = read_texts(folder, name).only(training)
        if not texts.captions and not any(id in manifest.classes for id in texts.classes):
            raise UsageProblem(
                f"The texts {plain(name)!r} say nothing of any class or training picture of this study.",
                allowed_names(name, set(names(folder)) - {name}) if len(names(folder)) > 1 else "Texts that do.",
                f"fieldguide texts {plain(folder)}   lists what each source covers.",
            )
        found.append(texts)
    return tuple(found)


_COLUMNS = ("selection", "head", "curve", "source", "translator", "image", "mean", "low", "high", "seeds")
_COVERED = ("pictures", "texts", "classes_present", "fewest", "most")


def _table(result: dict[str, Any]) -> tuple[Sequence[str], list[list[object]]]:
    """Return header and rows of ``text_ratio.csv``: the summary, with what the cells of a row covered on average over seeds."""
    covered: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for cell in result["cells"]:
        covered.setdefault(tuple(cell[name] for name in _COLUMNS[:6]), []).append(cell)
    rows: list[list[object]] = []
    for entry in result["summary"]:
        cells = covered[tuple(entry[name] for name in _COLUMNS[:6])]
        weights = [cell["weight"] for cell in cells if cell["weight"] is not None]
        means = [float(np.mean([cell[name] for cell in cells])) for name in _COVERED]
        rows.append([*(entry[name] for name in _COLUMNS), *means, float(np.mean(weights)) if weights else None])
    return (*_COLUMNS, *_COVERED, "weight"), rows
