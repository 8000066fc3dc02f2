"""How accurate is the translation? ``fieldguide sweep translation STUDY/``: a score card of translators, written into a study.

``translation.json`` holds

    encoder, text_model, described, normalisation    what saw and what read, in words
    cards        one a source: source, target (picture: a line is a caption of it; class: of its class),
                 pairs {where, train, held_out, crossed}, rows, notes
    rows         name, role (translator, direct, ceiling, floor), and for each of `fieldguide.evaluate.translation.MEASURES`
                 {value, low, high, why}, with chance where guessing gives something; bar: a translator against the direct bar
    notes        what has to be known to read the numbers; seconds

Held-out pairs are validation pictures, each with one of its captions; where a source has no captions of these, each with a line of its
class. Test pictures have no part in it. A translator is learned from training pictures with their captions, or from the lines of each
class with the mean of its training pictures, and, if not asked otherwise, crossed by class: what is said of a class is translated by what was learned
from the other classes, as in the sweep over ratios.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fieldguide import teaching
from fieldguide.asked import Translation
from fieldguide.bench import Progress, Silent
from fieldguide.data.store import Spare, Store
from fieldguide.data.texts import folder_of, lacking, names, read_texts
from fieldguide.errors import UsageProblem, allowed_names, plain
from fieldguide.evaluate.translation import Real, Spoken, card
from fieldguide.files import sweep as tidy
from fieldguide.files import told_plainly, write_json
from fieldguide.gather import labelled, originals_of
from fieldguide.locked import Locked
from fieldguide.machine import device
from fieldguide.records import SCHEMA_VERSION, SPLITS, Manifest, Texts
from fieldguide.study import require_study
from fieldguide.teaching import Lines

if TYPE_CHECKING:
    pass

RESULT = "translation.json"
#: Training pairs that a translator learns from.
MOST_PAIRS = 40_000
Places = NDArray[np.int64]


@dataclass(frozen=True)
class _Scene:
    """What all cards share: who teaches, pictures on one footing, and the list."""

    desk: teaching.Desk
    manifest: Manifest
    train: Real
    held: Real


@told_plainly()
def scorecard(folder: Path, asked: Translation, *, online: bool = False, progress: Progress | None = None) -> dict[str, Any]:
    """Score translators on held-out pairs, write ``translation.json`` into the study and return it.

    Nothing is encoded twice; the same call again comes to the same numbers.
    """
    begun = time.perf_counter()
    wanted = read_translators(asked.translators)
    require_study(folder)
    with Locked(folder):
        tidy(folder)
        manifest = labelled(folder)
        sources = _sources(folder, manifest, asked)
        scene, text_model = _scene(folder, manifest, asked, online, progress or Silent())
        cards = [_card(scene, texts, wanted) for texts in sources]
        result = {
            "schema": SCHEMA_VERSION,
            "encoder": scene.desk.encoder.model,
            "text_model": text_model,
            "described": scene.desk.encoder.described,
            "normalisation": asked.normalise,
            "cards": cards,
            "notes": [],
            "seconds": round(time.perf_counter() - begun, 2),
        }
        write_json(folder / RESULT, result)
    return result


def read_translators(words: str | None) -> tuple[str, ...] | None:
    """Read ``shift,ridge``; raises `UsageProblem` for a word that is none."""
    if words is None:
        return None
    from fieldguide.craft import translators

    found = tuple(dict.fromkeys(word.strip() for word in words.split(",")))
    for word in found:
        if word not in translators.NAMES:
            raise UsageProblem(
                f"--translators {plain(words)}: there is no {plain(word)!r}.",
                allowed_names(word, translators.NAMES),
                "--translators shift,ridge",
            )
    return found


def _sources(folder: Path, manifest: Manifest, asked: Translation) -> tuple[Texts, ...]:
    """Return the sources; raises `UsageProblem` where there is nothing to hold out."""
    if manifest.folds or not manifest.part("train") or not manifest.part("val"):
        raise UsageProblem(
            f"{plain(folder)} has no training and validation pictures side by side.",
            "A study with one split: translators learn from training pictures, and validation pictures are held out.",
            "fieldguide compare PHOTOS/ --split 70/15/15 --out ANOTHER-FOLDER",
        )
    wanted = tuple(dict.fromkeys(asked.texts or names(folder)))
    if not wanted:
        raise UsageProblem(
            f"The study has no texts: {plain(folder_of(folder))} is empty.",
            "Descriptions of classes, or captions of pictures.",
            f"fieldguide texts {plain(folder)} --add FILE   brings some in.",
        )
    for name in wanted:
        problem = lacking(folder, name)
        if problem is not None:
            raise problem
    return tuple(read_texts(folder, name) for name in wanted)


def _scene(folder: Path, manifest: Manifest, asked: Translation, online: bool, progress: Progress) -> tuple[_Scene, str]:
    """Build what sees and what reads, and look at the pictures; also return the name of what reads."""
    from fieldguide.craft.features import Features
    from fieldguide.craft.heads import normalised
    from fieldguide.craft.translators import Work

    encoder, reads, name = teaching.models(asked, online)
    features = Features(folder / "store" / "features", progress)
    reader = Spare(Store(folder / "store"), originals_of(folder, manifest))
    place = {id: at for at, id in enumerate(manifest.classes)}
    tables = [teaching.look(features, encoder, manifest, part, reader) for part in SPLITS[:2]]
    footing = normalised(asked.normalise, tables[0])
    train, held = (
        Real(footing(table), np.array([place[row.label] for row in manifest.part(part)], np.int64))
        for part, table in zip(SPLITS, tables, strict=False)
    )
    work = Work(folder / "store" / "translators", progress, device())
    desk = teaching.Desk(asked, encoder, reads, features, footing, manifest.seed, work)
    return _Scene(desk, manifest, train, held), name


def lines_of(texts: Texts, manifest: Manifest, part: Literal["train", "val"]) -> Lines:
    """Return the captions of the pictures of `part`, or the lines of classes where these have none."""
    place = {id: at for at, id in enumerate(manifest.classes)}
    found = [
        (said, place[row.label], at) for at, row in enumerate(manifest.part(part)) for said in texts.captions.get(row.key, ())
    ]
    if not found:
        found = [(line.text, place[id], -1) for id in manifest.classes for line in texts.classes.get(id, ())]
    columns = [np.array([entry[column] for entry in found], np.int64) for column in (1, 2)]
    return Lines(tuple(text for text, _, _ in found), *columns)


def held_out(lines: Lines, held: Real, seed: int) -> tuple[Places, Places]:
    """Return pairs as places of lines and places of pictures: each picture once, with one of its captions or a line of its class.

    The lines of a class go round among its pictures, so that none is said twice before all are said once. A picture of which nothing
    is said is left out.
    """
    random = np.random.default_rng((seed, 107))
    said, seen = [], []
    by_picture = (lines.pictures >= 0).any()
    for name in np.unique(held.classes):
        pictures = np.flatnonzero(held.classes == name)
        its = random.permutation(np.flatnonzero((lines.classes == name) & (lines.pictures < 0)))
        for turn, picture in enumerate(pictures):
            own = np.flatnonzero(lines.pictures == picture) if by_picture else its[turn % len(its) :][:1] if len(its) else its
            if len(own):
                said.append(int(random.choice(own)))
                seen.append(int(picture))
    return np.array(said, np.int64), np.array(seen, np.int64)


def _card(scene: _Scene, texts: Texts, wanted: Sequence[str] | None) -> dict[str, Any]:
    """Return the card of one source."""
    val, train = lines_of(texts, scene.manifest, "val"), lines_of(texts, scene.manifest, "train")
    target: Literal["picture", "class"] = "picture" if (val.pictures >= 0).any() else "class"
    if len(train.text) > MOST_PAIRS:
        order = np.random.default_rng((scene.manifest.seed, 109)).permutation(len(train.text))
        train = train.take(np.sort(order[:MOST_PAIRS]))
    said, seen = held_out(val, scene.held, scene.manifest.seed)
    notes: list[str] = []
    rows: list[dict[str, Any]] = []
    if len(said) == 0:
        notes.append("Nothing is said of any validation picture or its class, so there is no held-out pair.")
    else:
        spoken = _spoken(scene, (train, val), said, wanted, notes)
        held = Real(scene.held.pictures[seen], scene.held.classes[seen])
        rows = card(spoken, held, scene.train, target, scene.manifest.seed)
        left = len(scene.held.classes) - len(seen)
        notes += [f"{left} validation pictures are left out, for nothing is said of them."] if left else []
    where = (
        "validation pictures, each with one of its captions"
        if target == "picture"
        else "validation pictures, each with a line of its class"
    )
    told = {"where": where, "train": len(train.text), "held_out": len(said)}
    return {"source": texts.name, "target": target, "pairs": {**told, "crossed": scene.desk.how}, "rows": rows, "notes": notes}


def _spoken(
    scene: _Scene, lines: tuple[Lines, Lines], said: Places, wanted: Sequence[str] | None, notes: list[str]
) -> list[Spoken]:
    """Return what each translator makes of the held-out lines, and these as they are where that can be compared; says why not in `notes`."""
    from fieldguide.craft.heads import normalised
    from fieldguide.craft.translators.pairs import Paired

    train, val = lines
    desk = scene.desk
    usual = ("shift", "procrustes", "ridge", "memory") if desk.shared else ("procrustes", "ridge", "memory")
    train = train.take(np.flatnonzero(np.isin(train.classes, scene.train.classes)))
    footing = normalised(desk.asked.normalise, desk.features.texts(desk.reads, train.text))
    own = Paired(train.text, _seen(scene.train, train).astype(np.float32), train.classes, f"{len(train.text):,} own pairs")
    found = []
    if desk.shared:
        rows = footing(desk.features.texts(desk.reads, val.text))
        found.append(Spoken("untranslated", "direct", rows[said], rows, val.classes))
    else:
        notes.append(f"{desk.encoder.model} and what reads share no space, so there is no direct bar.")
    for name in usual if wanted is None else wanted:
        made = teaching.translated(name, own, val.text, val.classes, footing, desk)
        if isinstance(made, str):
            notes.append(f"{name}: not applicable, because {made}.")
        else:
            found.append(Spoken(name, "translator", made[said], made, val.classes))
    return found


def _seen(real: Real, lines: Lines) -> NDArray[np.float64]:
    """Return what was seen of each line: its picture, or the mean of the pictures of its class (zeros where there is none)."""
    classes = int(max(real.classes.max(initial=0), lines.classes.max(initial=0))) + 1
    means = np.zeros((classes, real.pictures.shape[1]))
    for name in np.unique(real.classes):
        means[name] = real.pictures[real.classes == name].mean(axis=0)
    own = lines.pictures
    return np.asarray(np.where((own >= 0)[:, None], real.pictures[np.maximum(own, 0)], means[lines.classes]))
