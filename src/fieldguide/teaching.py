"""What teaches translators in a study: its own training pictures and their texts, or a captioned set elsewhere such as COCO.

Own pairs teach class by class crosswise: what is said of a class is translated by what was learned from other classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.store import Spare
from fieldguide.errors import DataProblem, PictureError, plain
from fieldguide.eyes import lens_of
from fieldguide.machine import device
from fieldguide.records import Image, Manifest, SplitName

if TYPE_CHECKING:
    from fieldguide.asked import Translation
    from fieldguide.craft.encoders import Encoder, Reads
    from fieldguide.craft.features import Features
    from fieldguide.craft.heads import Normalised
    from fieldguide.craft.translators import Work
    from fieldguide.craft.translators.pairs import Paired

#: Lines that are translated at a time: their tokens are large.
_AT_ONCE = 2048


@dataclass(frozen=True)
class Lines:
    """Lines of a source: `text`, the position of each one's class, and of a caption that of its training picture (-1: of no picture)."""

    text: tuple[str, ...]
    classes: NDArray[np.int64]
    pictures: NDArray[np.int64]

    def take(self, places: NDArray[np.int64]) -> Lines:
        """Return the lines at `places`."""
        return Lines(tuple(self.text[place] for place in places), self.classes[places], self.pictures[places])


@dataclass(frozen=True)
class Desk:
    """Where translators learn: `footing` is what pictures were brought to before, `asked` says who teaches."""

    asked: Translation
    encoder: Encoder
    reads: Reads
    features: Features
    footing: Normalised
    seed: int
    work: Work

    @property
    def shared(self) -> bool:
        """Whether texts lie in the space of pictures as they are."""
        return self.encoder.shared and self.reads is self.encoder.reads

    @property
    def how(self) -> str:
        """Say who teaches."""
        if self.asked.pairs is not None:
            return f"translators learned from {self.elsewhere.where}"
        if self.asked.folds == 1:
            return "translators learned from pairs of all classes, the one that a line tells of among them: texts then carry pictures"
        return f"translators learned from other classes than the one that a line tells of, in {self.asked.folds} folds"

    @cached_property
    def elsewhere(self) -> Paired:
        """Pairs of the captioned set, its pictures on the same footing."""
        from fieldguide.craft.translators.pairs import captioned

        found = captioned(Path(str(self.asked.pairs)).expanduser(), self.encoder.sees, self.features, self.seed)
        return replace(found, pictures=self.footing(found.pictures).astype(np.float32))


def translated(
    name: str, own: Paired, lines: tuple[str, ...], classes: NDArray[np.int64], footing: Normalised, desk: Desk
) -> NDArray[np.float64] | str:
    """Return `lines`, which speak of `classes`, in the space of pictures ``"lines features"``; or why the translator `name` cannot.

    `own` are the study's pairs, their pictures on the desk's footing; `footing` is that of texts.
    """
    from fieldguide.craft.translators import NotApplicable, Pairs, Said, Translator, crossed, fitted
    from fieldguide.craft.translators.crossing import Crossed
    from fieldguide.craft.translators.pairs import said

    if name in ("identity", "shift") and not desk.shared:
        return "the encoder's pictures and these texts do not lie in one space"

    def on_footing(spoken: Said) -> Said:
        return Said(footing(spoken.pooled).astype(np.float32), spoken.tokens, spoken.mask)

    tokens, taught = name == "qformer", own if desk.asked.pairs is None else desk.elsewhere
    raw = taught.read(desk.reads, desk.features, tokens, desk.seed)
    pairs = Pairs(on_footing(raw.lines), raw.pictures, raw.groups)
    translator: Translator | Crossed | NotApplicable
    if desk.asked.pairs is None and desk.asked.folds > 1 and name != "identity":
        translator = crossed(name, pairs, desk.asked.folds, desk.seed, desk.work)
    else:
        translator = fitted(name, pairs, desk.seed, None, desk.work)
    if isinstance(translator, NotApplicable):
        return translator.why
    parts = []
    for start in range(0, len(lines), _AT_ONCE):
        spoken = on_footing(said(desk.reads, desk.features, lines[start : start + _AT_ONCE], tokens))
        groups = classes[start : start + _AT_ONCE]
        parts.append(translator(spoken, groups) if isinstance(translator, Crossed) else translator(spoken))
    return np.concatenate(parts).astype(np.float64)


def models(asked: Translation, online: bool) -> tuple[Encoder, Reads, str]:
    """Return what sees, what reads, and the name of that."""
    from fieldguide.craft import encoders

    lens = lens_of(asked.encoder)
    encoders.check(lens.model, online)
    encoder = encoders.build(lens, seed=0, device=device(), online=online)
    wanted = asked.text_model
    if encoder.reads is not None and wanted in (None, lens.model):
        return encoder, encoder.reads, lens.model
    name = wanted or encoders.WORDS
    return encoder, encoders.reader(name, device=device(), online=online), name


def look(features: Any, encoder: Encoder, manifest: Manifest, part: SplitName, reader: Spare) -> NDArray[np.float32]:
    """Return the features of a part's pictures ``"pictures features"``; raises `DataProblem` for a picture that is not to be had."""
    rows = manifest.part(part)
    try:
        table: NDArray[np.float32] = features.pictures(encoder.sees, [Image(row.key, reader) for row in rows])
    except PictureError as error:
        raise DataProblem(
            f"A picture cannot be read: {plain(error)}.",
            "All pictures of the study, in its store or at their source.",
            "Bring the source back, then run the same command again.",
        ) from error
    return table
