"""The description doctor: ``fieldguide texts STUDY/ --doctor``. What is wrong with each line, and what all of them are worth to an encoder.

What it finds stands in ``texts/NAME.doctor.json``:

    texts, fingerprint   the source and a hash of what it said then; it is edited since where `fieldguide.data.texts.fingerprint` differs
    lines                for each line of a class: class, at (its number there, from 0), text, field, findings [{code, detail, group}],
                         worth {rival, own, against, auc, low, high, rest, p, contradicts} (classes by id) or null without an encoder
    totals               for each code of `fieldguide.data.texts.doctor.CODES` and for contradicts: lines (null: not looked for), what
    groups               lines that tell of each group of things that no picture shows, with the reason
    encoder              null, or model, described, how (where features of lines come from), train (pictures), context
    controls             null (no encoder, or one class alone has lines), or part, pictures, chance, classes, among (classes that a picture
                         is compared with, its own included), silent (ids without a line),
                         cut (lines with name beyond the context), rows {way: {value, low, high, n, draws}}, titles {way: words},
                         differences [{first, second, value, low, high}], sentence
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.bench import Progress, Silent
from fieldguide.data.tables import read_manifest
from fieldguide.data.texts import OWN, doctor, fingerprint, folder_of, read_texts
from fieldguide.errors import UsageProblem, plain
from fieldguide.evaluate import descriptions
from fieldguide.evaluate.descriptions import Places, Read, Rights, Seen, Worth
from fieldguide.evaluate.distances import unit
from fieldguide.files import write_json
from fieldguide.gather import task_of
from fieldguide.locked import Locked
from fieldguide.records import SCHEMA_VERSION, ClassInfo, Manifest, ManifestRow, Texts
from fieldguide.study import require_study

#: How a class is said by its name, and by its name with a line.
NAMED, TOLD = "a photo of a {name}.", "a photo of a {name}, {line}"
#: Drawings of random words, and of other classes' lines beside a name: each is one more reading of all lines.
DRAWS = 3
SEED = 20_261
#: Lines of text, with the position of each one's class, to ``"lines features"`` in the space of pictures.
Reading = Callable[[Sequence[str], Places], NDArray[np.floating]]

#: Ways to answer without training, in the order in which they are shown.
WAYS: dict[str, str] = {
    "names": "names alone",
    "names_texts": "names and descriptions",
    "texts": "descriptions alone",
    "names_random": "names and as many random words",
    "names_permuted": "names and descriptions of other classes",
    "permuted": "descriptions of other classes alone",
}


@dataclass(frozen=True)
class Eyes:
    """What the doctor measures with: pictures of two parts, and a reading of lines into their space.

    `part` says which pictures `judged` are. `counted` and `context` are the text half's tokens and how many it reads. `groups`
    ``"classes"`` says which classes can be compared (all, where `None`).
    """

    model: str
    described: str
    how: str
    train: Seen
    judged: Seen
    part: str
    read: Reading
    counted: doctor.Counted | None = None
    context: int | None = None
    groups: Places | None = None


def examine(
    study: Path, name: str, model: str | None = None, *, online: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Examine the source `name`, also with the encoder `model` where one is named; write ``texts/NAME.doctor.json`` and return it."""
    require_study(study)
    with Locked(study):
        manifest = read_manifest(study / "manifest.parquet")
        texts, classes = read_texts(study, name), task_of(study, manifest).classes
        texts = dataclasses.replace(
            texts, classes={info.id: texts.classes[info.id] for info in classes if texts.classes.get(info.id)}
        )
        if not texts.classes:
            raise UsageProblem(
                f"{plain(name)!r} says nothing of any class of this study.",
                "The doctor examines lines about classes; captions of pictures are not examined.",
                "Name another source, or bring descriptions in: fieldguide texts STUDY/ --add FILE",
            )
        eyes = None
        if model is not None:
            from fieldguide.eyes import open_eyes

            eyes = open_eyes(study, manifest, texts, model, online=online, progress=progress or Silent())
        found = examined(texts, classes, eyes)
        folder_of(study).mkdir(exist_ok=True)
        write_json(result_of(study, name), {**found, "fingerprint": fingerprint(read_texts(study, name))})
    return found


def result_of(study: Path, name: str) -> Path:
    """Return where the doctor's findings about the source `name` stand."""
    return folder_of(study) / f"{name}.doctor.json"


def examined(texts: Texts, classes: Sequence[ClassInfo], eyes: Eyes | None = None) -> dict[str, Any]:
    """Return what is found about `texts`, as in the result file."""
    looked = doctor.look(texts, classes, *((eyes.counted, eyes.context) if eyes else ()))
    worths = controls = None
    if eyes is not None:
        place = {info.id: at for at, info in enumerate(classes)}
        owners = np.array([place[one.id] for one in looked], np.int64)
        read = Read(unit(eyes.read([one.line.text for one in looked], owners)), owners)
        worths = descriptions.worths(eyes.train, read, _groups(eyes, len(classes)))
        if len(texts.classes) > 1:  # descriptions of one class cannot be given to another
            controls = _controls([one.line.text for one in looked], read, classes, eyes)
    totals: dict[str, int | None] = dict(doctor.totals(looked))
    if eyes is None or eyes.context is None or eyes.counted is None:
        totals["beyond_context"] = None
    totals["contradicts"] = None if worths is None else sum(worth.contradicts is True for worth in worths)
    what = {**doctor.CODES, "contradicts": "is less like pictures of its class than like those of its nearest rival"}
    counts = doctor.by_group(looked)
    return {
        "schema": SCHEMA_VERSION,
        "texts": texts.name,
        "classes": len(texts.classes),
        "lines": [_line(one, worths[at] if worths else None, classes) for at, one in enumerate(looked)],
        "totals": {code: {"lines": lines, "what": what[code]} for code, lines in totals.items()},
        "groups": {group.name: {"lines": counts[group.name], "reason": group.reason} for group in doctor.groups()},
        "encoder": None
        if eyes is None
        else {
            "model": eyes.model,
            "described": eyes.described,
            "how": eyes.how,
            "train": len(eyes.train.labels),
            "context": eyes.context,
        },
        "controls": controls,
    }


def _groups(eyes: Eyes, classes: int) -> Places:
    return np.zeros(classes, np.int64) if eyes.groups is None else eyes.groups


def _line(one: doctor.Looked, worth: Worth | None, classes: Sequence[ClassInfo]) -> dict[str, Any]:
    told = None if worth is None else dataclasses.asdict(worth)
    if told is not None and worth is not None:
        told["rival"] = None if worth.rival is None else classes[worth.rival].id
    findings = [dataclasses.asdict(finding) for finding in one.findings]
    return {"class": one.id, "at": one.at, "text": one.line.text, "field": one.line.field, "findings": findings, "worth": told}


def _controls(lines: Sequence[str], read: Read, classes: Sequence[ClassInfo], eyes: Eyes) -> dict[str, Any]:
    """Return how often each way to answer is right on the judged pictures, and what follows from that."""
    many, random = len(classes), np.random.default_rng(SEED)
    groups = _groups(eyes, many)
    among = np.bincount(groups)[groups]
    names = [NAMED.format(name=info.name) for info in classes]
    named = Read(unit(eyes.read(names, np.arange(many))), np.arange(many)).vectors(many)

    def beside(said: Sequence[str], owners: Places) -> Rights:
        rows = Read(unit(eyes.read(with_names(said, owners, classes), owners)), owners).vectors(many)
        return Rights(descriptions.zero_shot(eyes.judged, rows, groups, named))

    def drawn(one: Callable[[], tuple[Sequence[str], Places]]) -> Rights:
        return Rights(np.mean([beside(*one()).rows for _ in range(DRAWS)], axis=0), DRAWS)

    def exchanged() -> tuple[Sequence[str], Places]:
        given = descriptions.deranged(np.unique(read.owners).tolist(), groups, random)
        taker = {other: place for place, other in given.items()}
        return lines, np.array([taker[place] for place in read.owners.tolist()], np.int64)

    vectors = read.vectors(many)
    rows = {
        "names": Rights(descriptions.zero_shot(eyes.judged, named, groups)),
        "names_texts": beside(lines, read.owners),
        "texts": Rights(descriptions.zero_shot(eyes.judged, vectors, groups)),
        "names_random": drawn(lambda: (descriptions.random_words(lines, read.owners, random), read.owners)),
        "names_permuted": drawn(exchanged),
        "permuted": descriptions.permuted(eyes.judged, vectors, groups, SEED),
    }
    pairs = (
        ("names_texts", "names"),
        ("names_texts", "names_random"),
        ("names_texts", "names_permuted"),
        ("texts", "permuted"),
    )
    differences = [descriptions.difference(rows, *pair) for pair in pairs]
    cut = None
    if eyes.counted is not None and eyes.context is not None:
        cut = sum(count > eyes.context for count in eyes.counted(with_names(lines, read.owners, classes)))
    return {
        "part": eyes.part,
        "pictures": len(eyes.judged.labels),
        "chance": float(np.mean(1 / among[eyes.judged.labels])),
        "among": int(among.max()),
        "classes": many,
        "silent": [info.id for place, info in enumerate(classes) if place not in set(read.owners.tolist())],
        "cut": cut,
        "rows": {way: rows[way].as_dict() for way in WAYS},
        "titles": WAYS,
        "differences": differences,
        "sentence": sentence(differences, eyes.part, eyes.how),
    }


def with_names(lines: Sequence[str], owners: Places, classes: Sequence[ClassInfo]) -> list[str]:
    """Return each line behind the name of its class."""
    return [
        TOLD.format(name=classes[owner].name, line=line[:1].lower() + line[1:])
        for line, owner in zip(lines, owners, strict=True)
    ]


def sentence(differences: Sequence[Mapping[str, Any]], part: str, how: str) -> str:
    """Return what the controls say in words: whether the lines tell classes apart, and whether they help beside a name."""
    by = {(one["first"], one["second"]): one for one in differences}
    alone, waffle = by["texts", "permuted"], by["names_texts", "names_random"]

    def points(one: Mapping[str, Any]) -> str:
        return f"{100 * one['value']:+.1f} points [{100 * one['low']:+.1f} to {100 * one['high']:+.1f}]"

    first = (
        "The descriptions tell classes apart"
        if alone["low"] > 0
        else "That these descriptions tell classes apart cannot be shown"
        if alone["high"] >= 0
        else "The descriptions mislead"
    )
    second = (
        "beside the names they help more than as many random words do"
        if waffle["low"] > 0
        else "beside the names they help no more than as many random words do, as far as these pictures can tell"
        if waffle["high"] >= 0
        else "beside the names they are worse than as many random words"
    )
    return f"{first}: alone, against those of other classes, {points(alone)}; {second}: {points(waffle)} ({part}, by {how})."


def rows_of(manifest: Manifest) -> tuple[Sequence[ManifestRow], Sequence[ManifestRow], str]:
    """Return the training pictures of a study, those that answers are judged on, and what these are called."""
    if manifest.folds:
        return [row for row in manifest.part() if row.fold != 0], manifest.part(fold=0), "pictures of fold 0"
    train, val = manifest.part("train"), manifest.part("val")
    if not train:
        raise UsageProblem(
            "This study has no training pictures (split = test-only), and the doctor looks at no others.",
            "Without an encoder it examines the words alone.",
            "Leave --encoder out.",
        )
    return train, val or train, "validation pictures" if val else "training pictures, for there are none for validation"


def show(study: Path, found: Mapping[str, Any]) -> None:
    """Print what the doctor found: a line for each kind of finding with an example, then what the lines are worth."""
    from fieldguide import terminal

    lines = found["lines"]
    terminal.say(f"{found['texts']}: {len(lines):,} lines about {found['classes']} classes.", "bold")
    for code, total in found["totals"].items():
        if total["lines"] is None:
            continue
        example = next((line for line in lines if _has(line, code)), None)
        shown = "" if example is None else f"   such as {example['class']}: {plain(example['text'], 80)!r}{_why(example, code)}"
        style = "yellow" if total["lines"] else "dim"
        terminal.say(f"{100 * total['lines'] / len(lines):6.1f} %  {total['lines']:6,}  {total['what']}{shown}", style)
    controls = found["controls"]
    if found["encoder"] is None:
        terminal.say("Not measured: whether the pictures bear them out. Add --encoder drawn, or hf/OWNER/NAME.", "dim")
    else:
        _show_worth(found)
    if controls is not None:
        some = f" among {controls['among']} classes" if controls["among"] < controls["classes"] else ""
        terminal.say(f"Right on {controls['pictures']:,} {controls['part']}{some}, by {found['encoder']['how']}:", "bold")
        for way, row in controls["rows"].items():
            terminal.say(f"{terminal.percent(row):>18} %  {controls['titles'][way]}")
        terminal.say(f"{100 * controls['chance']:6.1f} %             chance", "dim")
        terminal.say(controls["sentence"], "bold")
    if found["texts"] == OWN:
        terminal.say(f"Descriptions are edited in {study / 'classes.toml'}.", "dim")
    else:
        terminal.say(
            f"Lines are edited, or taken out, in {folder_of(study) / (found['texts'] + '.jsonl')}; then run this again.", "dim"
        )


def _show_worth(found: Mapping[str, Any]) -> None:
    from fieldguide import terminal

    told = sorted((line for line in found["lines"] if line["worth"]["auc"] is not None), key=lambda line: line["worth"]["auc"])
    few = len(found["lines"]) - len(told)
    if told:
        middle = told[len(told) // 2]["worth"]["auc"]
        terminal.say(
            f"Lines against the nearest rival's pictures: median area under the curve {middle:.2f} (0.5: says nothing).", "bold"
        )
        for line in told[:3]:
            worth = line["worth"]
            terminal.say(
                f"  {worth['auc']:.2f} [{worth['low']:.2f}-{worth['high']:.2f}]  {line['class']}, not {worth['rival']}: "
                f"{plain(line['text'], 90)}",
                "yellow" if worth["contradicts"] else "",
            )
    if few:
        terminal.say(f"{few:,} lines are of classes with too few pictures to tell.", "dim")


def _why(line: Mapping[str, Any], code: str) -> str:
    return next((f" ({plain(finding['detail'], 60)})" for finding in line["findings"] if finding["code"] == code), "")


def _has(line: Mapping[str, Any], code: str) -> bool:
    if code == "contradicts":
        return line["worth"] is not None and line["worth"]["contradicts"] is True
    return any(finding["code"] == code for finding in line["findings"])
