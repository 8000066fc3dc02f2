"""The self-test of an image-text model, before any number of it is shown: what must hold of its features, and questions with known answers.

What must hold is a `DataProblem` where it does not: every way known to us of using such a model wrongly without an error (another
padding, a feature before its projection, colours in another order) breaks one of these. How well it names drawn colours, shapes and
digits is told beside the score that chance would have; weights that know nothing of them get a warning, and their numbers are shown.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldguide.craft.encoders import Encoder, Reads, asked
from fieldguide.data.batches import Preprocessing, as_dict, viewed
from fieldguide.errors import DataProblem, plain
from fieldguide.files import digest, read_json, write_json

#: Raised when a question or a check changes: results that were kept are then made anew.
VERSION = 1
#: Largest difference, in parts of a feature's length, between what ought to be alike. Arithmetic in another order gives 1e-6; padding
#: that is looked at gives 1e-2 and more.
ALIKE = 1e-3
#: Smallest difference between what ought to differ.
DIFFERENT = 1e-5
#: Share of permuted names that does as well, from which on a model is not said to beat chance.
LEVEL = 0.01
_PERMUTED = 4999
_LINES = ("a red square", "a picture of a large blue circle beside a small yellow triangle on a light ground", "one")


def proved(encoder: Encoder, store: Path | None = None) -> Encoder:
    """Return `encoder` with `tested` filled in, from `store` where it was tested before; raises `DataProblem` for what cannot be right.

    An encoder whose pictures and texts lie in different spaces is returned as it is.
    """
    if encoder.reads is None or not encoder.shared:
        return encoder
    key = digest(VERSION, encoder.sees.key, encoder.reads.key, as_dict(encoder.sees.preprocessing))
    kept = None if store is None else store / f"tested-{key[:24]}.json"
    if kept is not None and kept.exists():
        try:
            return replace(encoder, tested=read_json(kept))
        except ValueError:
            pass  # damaged: it is made anew
    begun = time.perf_counter()
    tested = _tested(encoder, encoder.reads)
    tested["seconds"] = round(time.perf_counter() - begun, 3)
    if kept is not None:
        write_json(kept, tested)
    return replace(encoder, tested=tested)


def warning(encoder: Encoder) -> str | None:
    """Return what a user must be told before a number of this encoder is shown; `None` where nothing is amiss or nothing was tested."""
    known = encoder.tested.get("known")
    if known is None or known["beats_chance"]:
        return None
    return (
        f"{plain(encoder.model)} names {known['right']} of {known['of']} drawn colours, shapes and digits right, "
        f"{known['chance']:.1f} by chance: it knows nothing of them. Are these trained weights?"
    )


def _tested(encoder: Encoder, reads: Reads) -> dict[str, Any]:
    """Return what was found; raises at the first of what must hold and does not."""
    every = asked.questions()
    pictures = [picture for question in every for picture in question.pictures]
    pixels = viewed(pictures, encoder.sees.preprocessing)
    texts = _of_texts(encoder.model, reads)
    seen = encoder.sees.pictures(pixels)
    said = reads.texts([line for question in every for line in question.lines])
    _of_features(encoder, pixels, seen, said)
    known = _known(every, seen, said)
    if known["kinds"]["colours"]["right"] < 12:
        _require_order(encoder, every[0], known["kinds"]["colours"]["right"], said)
    return {**texts, "seen": seen_of(encoder.sees.preprocessing), "known": known}


def _of_texts(model: str, reads: Reads) -> dict[str, Any]:
    """Return how the text half treats case and punctuation; raises where padding, pooling or cutting go wrong."""
    mask = reads.tokens(_LINES)[1]
    if not bool(mask[:, 0].all()) or bool((mask[:, 1:] & ~mask[:, :-1]).any()):
        raise _failed(model, "lines are padded on the left", "padding stands behind a line, where no training put it elsewhere")
    together = reads.texts(_LINES)
    alone = torch.cat([reads.texts([line]) for line in _LINES])
    if (apart := _apart(alone, together)) > ALIKE:
        raise _failed(model, f"a line alone differs from itself among others by {apart:.2g} of its length", f"up to {ALIKE:g}")
    if not bool(together.isfinite().all()):
        raise _failed(model, "features of a line are no finite numbers", "finite numbers")
    shapes = reads.texts(asked.questions()[1].lines)
    nearest = min(_apart(shapes[at : at + 1], shapes[at + 1 : at + 2]) for at in range(len(shapes) - 1))
    if nearest < DIFFERENT:
        raise _failed(
            model, "the last word of a line changes nothing, so the wrong token is read", "another line, another feature"
        )
    plainly, upper, dotted = reads.texts(["a red square", "A Red SQUARE", "a red, square."]).split(1)
    told = {
        "case": "ignored" if _apart(plainly, upper) < ALIKE else "matters",
        "punctuation": "ignored" if _apart(plainly, dotted) < ALIKE else "matters",
        "padding": round(apart, 9),
        "context": reads.context,
    }
    if reads.context is not None:
        long = "a red square and a blue circle and " * (reads.context // 4 + 2)
        cut = reads.texts([long, long + "a green star"])
        if not bool(cut.isfinite().all()) or _apart(cut[:1], cut[1:]) > ALIKE:
            raise _failed(
                model, f"a line beyond {reads.context} tokens is not cut there", "what lies beyond the context is not read"
            )
    return told


def _of_features(encoder: Encoder, pixels: Tensor, seen: Tensor, said: Tensor) -> None:
    """Raise where features of pictures depend on neighbours, are not those that are compared, or do not tell red from blue."""
    model = encoder.model
    if seen.shape[1] != said.shape[1]:
        raise _failed(
            model,
            f"a picture has {seen.shape[1]} features and a line {said.shape[1]}: one of them is not projected",
            "the same number, that of the space in which both are compared",
        )
    if not bool(seen.isfinite().all()):
        raise _failed(model, "features of a picture are no finite numbers", "finite numbers")
    alone = torch.cat([encoder.sees.pictures(pixels[at : at + 1]) for at in (0, len(pixels) - 1)])
    if (apart := _apart(alone, seen[[0, -1]])) > ALIKE:
        raise _failed(
            model, f"a picture alone differs from itself among others by {apart:.2g} of its length", f"up to {ALIKE:g}"
        )
    lengths = torch.cat([seen.norm(dim=1), said.norm(dim=1)])
    if float((lengths - 1).abs().max()) < ALIKE:
        raise _failed(model, "its features come normalised", "features as they are projected: whoever uses them normalises")
    if _apart(seen[:1], seen[4:5]) < DIFFERENT:
        raise _failed(
            model, "a red square and a blue one have the same features", "pictures that differ have features that differ"
        )


def _known(every: Sequence[asked.Question], seen: Tensor, said: Tensor) -> dict[str, Any]:
    """Return how many pictures are named right, of each kind and in all, and how often permuted names do as well.

    Pictures of one thing are answered alike, so that a binomial test would take one lucky guess for many; names drawn anew do not.
    """
    random = np.random.default_rng(0)
    by_chance = np.zeros(_PERMUTED, np.int64)
    kinds: dict[str, dict[str, Any]] = {}
    for question, rows, lines in _parts(every, seen, said):
        names = len(question.lines)
        table = np.zeros((names, names), np.int64)
        np.add.at(table, (_named(rows, lines), np.array(question.answers)), 1)
        drawn = random.permuted(np.tile(np.arange(names), (_PERMUTED, 1)), axis=1)
        by_chance += table[np.arange(names), drawn].sum(axis=1)
        kinds[question.what] = {
            "right": int(np.trace(table)),
            "of": len(question.answers),
            "chance": len(question.answers) / names,
        }
    right = sum(kind["right"] for kind in kinds.values())
    p = (1 + int((by_chance >= right).sum())) / (1 + _PERMUTED)
    told = {name: sum(kind[name] for kind in kinds.values()) for name in ("right", "of", "chance")}
    return {**told, "p": p, "beats_chance": p < LEVEL, "kinds": kinds}


def _parts(every: Sequence[asked.Question], seen: Tensor, said: Tensor) -> list[tuple[asked.Question, Tensor, Tensor]]:
    pictures = torch.split(seen, [len(question.pictures) for question in every])
    lines = torch.split(said, [len(question.lines) for question in every])
    return list(zip(every, pictures, lines, strict=True))


def _named(seen: Tensor, said: Tensor) -> NDArray[np.int64]:
    """Return the number of the line with the largest cosine, ``"pictures"``."""
    cosines = torch.nn.functional.normalize(seen, dim=1) @ torch.nn.functional.normalize(said, dim=1).T
    return np.asarray(cosines.argmax(dim=1), np.int64)


def _require_order(encoder: Encoder, colours: asked.Question, right: int, said: Tensor) -> None:
    """Raise where pictures with red and blue exchanged are named far better than as they are."""
    turned = viewed([np.ascontiguousarray(picture[..., ::-1]) for picture in colours.pictures], encoder.sees.preprocessing)
    named = _named(encoder.sees.pictures(turned), said[: len(colours.lines)])
    better = int((named == np.array(colours.answers)).sum())
    if better >= 12 and better - right >= 4:
        raise _failed(
            encoder.model,
            f"{better} of {len(named)} colours are named right with red and blue exchanged, and {right} as they are",
            "red first, then green, then blue",
        )


def seen_of(preprocessing: Preprocessing) -> dict[str, list[float]]:
    """Return which part of a picture twice as wide as high is seen: from where to where, of its width and of its height (0 to 1)."""
    side, steps = 2 * preprocessing.size, 240
    found = {}
    for name, axis in (("wide", 1), ("high", 0)):
        ramp = np.linspace(0, steps, side * (2 if axis else 1)).round().astype(np.uint8)
        shape = (1, len(ramp), 1) if axis else (len(ramp), 1, 1)
        picture = np.broadcast_to(ramp.reshape(shape), (side, 2 * side, 3))
        view = viewed([np.ascontiguousarray(picture)], preprocessing)[0, 0] * preprocessing.std[0] + preprocessing.mean[0]
        ends = sorted((float(view[0, 0]), float(view[-1, -1])))
        # A pixel shows the middle of what it covers: half of one more at either end.
        half = (ends[1] - ends[0]) / (2 * max(1, preprocessing.size - 1))
        found[name] = [
            round(min(1.0, max(0.0, end * 255 / steps + far)), 2) for end, far in zip(ends, (-half, half), strict=True)
        ]
    return found


def _apart(one: Tensor, other: Tensor) -> float:
    """Return the largest distance between rows, in parts of their length."""
    length = torch.maximum(one.norm(dim=1), other.norm(dim=1)).clamp(min=1e-12)
    worst = float(((one - other).norm(dim=1) / length).max())
    return math.inf if math.isnan(worst) else worst


def _failed(model: str, found: str, wanted: str) -> DataProblem:
    return DataProblem(
        f"{plain(model)} fails its self-test: {found}.",
        f"What must hold: {wanted}.",
        "No number of it would mean anything: take another model, or a newer version of its library.",
    )
