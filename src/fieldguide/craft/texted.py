"""Rows of text for a head of pictures: what is said of each class and of training pictures, read, and brought to where pictures lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.bench import Bench
from fieldguide.craft import encoders, zero_shot
from fieldguide.craft.encoders import Encoder, Reads
from fieldguide.craft.features import Features
from fieldguide.craft.translators import LEAK, NotApplicable, Rows, Work, crossed, fitted, why_not
from fieldguide.craft.translators.crossing import Crossed
from fieldguide.craft.translators.pairs import captioned, in_domain, said
from fieldguide.errors import UsageProblem, plain
from fieldguide.records import ClassInfo, Texts

#: Lines that are translated at a time, because of their tokens.
_AT_ONCE = 4096


@dataclass(frozen=True)
class Told:
    """`lines` and the class position of each: first those about classes, which `of_classes` has class by class, then `captions`."""

    lines: tuple[str, ...]
    labels: NDArray[np.int64]
    of_classes: tuple[tuple[str, ...], ...]
    captions: Mapping[str, Sequence[str]]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Way:
    """How texts become sentences: `templates` around names, and the `prompt` of zero-shot (`None`: what there is)."""

    templates: str
    prompt: str | None


@dataclass(frozen=True)
class Teaching:
    """What translates: its `name`, the file that its `pairs` come from (`None`: own training pictures), and `folds` of classes.

    With fewer than two folds nothing is crossed, and pairs of the same class teach it.
    """

    name: str
    pairs: str | None
    folds: int


def reader_of(encoder: Encoder, text_model: str | None, bench: Bench) -> tuple[Reads, str, bool]:
    """Return what reads, its name, and whether its lines lie where the encoder's pictures do."""
    if encoder.reads is not None and text_model in (None, encoder.model):
        return encoder.reads, encoder.model, encoder.shared
    name = text_model or encoders.WORDS
    return encoders.reader(name, device=bench.device, online=bench.online), name, False


@dataclass(frozen=True)
class Seen:
    """Training pictures: their features ``"pictures features"``, content hashes and class positions."""

    rows: Rows
    keys: tuple[str, ...]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Desk:
    """What sees and what reads, where their features are kept, and the bench."""

    encoder: Encoder
    reads: Reads
    features: Features
    bench: Bench


def told(texts: Texts, classes: Sequence[ClassInfo], seen: Seen, way: Way, reads: Reads) -> Told:
    """Return what is said of `classes` and of the training pictures.

    Where a source has nothing but captions, a class goes by its name only if none of its pictures has one.
    """
    spoken = zero_shot.spoken(classes, way.templates, False, texts if texts.classes else None, reads)
    prompt = way.prompt or ("name+texts" if texts.classes else "name")
    zero_shot.require(spoken, prompt, texts.name)
    captions = [
        (text, int(label)) for key, label in zip(seen.keys, seen.labels, strict=True) for text in texts.captions.get(key, ())
    ]
    own = [tuple(dict.fromkeys(lines)) for lines in spoken.sentences[prompt]]
    if captions and way.prompt is None and not texts.classes:
        pictured = {label for _, label in captions}
        own = [() if group in pictured else lines for group, lines in enumerate(own)]
    about = [(line, group) for group, lines in enumerate(own) for line in lines]
    whole = [*about, *captions]
    counted = {"text_rows": len(whole), "lines": len(about), "captions": len(captions)}
    facts = {"prompt": prompt, **counted, "classes_without_texts": list(spoken.without)}
    return Told(
        tuple(line for line, _ in whole), np.array([group for _, group in whole], np.int64), tuple(own), texts.captions, facts
    )


def brought(what: Told, seen: Seen, how: Teaching, by: Desk) -> tuple[Rows | None, dict[str, Any]]:
    """Return the lines of `what` in the space of pictures, or `None` with the reason among the facts; and the facts.

    Raises `UsageProblem` where the translator does not fit these encoders.
    """
    facts: dict[str, Any] = {"translator": how.name}
    if how.name == "identity":
        rows = by.features.texts(by.reads, what.lines)
        if rows.shape[1] != seen.rows.shape[1]:
            raise _misfit(how.name, f"a line has {rows.shape[1]:,} features and a picture {seen.rows.shape[1]:,}")
        return rows, facts
    if how.pairs is not None:
        paired = captioned(Path(how.pairs).expanduser(), by.encoder.sees, by.features, by.bench.seed)
    else:
        paired = in_domain(seen.rows, seen.labels, seen.keys, what.captions, what.of_classes)
    facts["pairs"] = paired.where
    tokens = how.name == "qformer"
    pairs, work = paired.read(by.reads, by.features, tokens, by.bench.seed), Work.of(by.bench)
    if how.name == "shift" and pairs.lines.pooled.shape[1] != seen.rows.shape[1]:
        raise _misfit(how.name, str(why_not(how.name, pairs)))
    apart = how.pairs is None and how.folds > 1
    translator = (
        crossed(how.name, pairs, how.folds, by.bench.seed, work)
        if apart
        else fitted(how.name, pairs, by.bench.seed, None, work)
    )
    if isinstance(translator, NotApplicable):
        return None, {**facts, "text_dropped": f"{translator.name} does not apply: {translator.why}"}
    facts |= {"taught": translator.told, **({} if apart or how.pairs else {"leak": LEAK})}
    parts = [np.zeros((0, seen.rows.shape[1]), np.float32)]
    for start in range(0, len(what.lines), _AT_ONCE):
        lines = said(by.reads, by.features, what.lines[start : start + _AT_ONCE], tokens)
        groups = what.labels[start : start + _AT_ONCE]
        parts.append(translator(lines, groups) if isinstance(translator, Crossed) else translator(lines))
    return np.concatenate(parts), facts


def _misfit(name: str, why: str) -> UsageProblem:
    return UsageProblem(
        f"The translator {name} does not apply here: {plain(why)}.",
        "Allowed where texts and pictures have different widths: procrustes, ridge, memory, mlp or qformer.",
        "For example translator=ridge.",
    )
