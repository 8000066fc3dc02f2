"""What ``fieldguide explain`` does: reads its words, lets the subjects explain, and writes a page with its pictures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldguide import explaining, terminal
from fieldguide.asked import Why, blocks
from fieldguide.bench import Progress
from fieldguide.data.loose import Files, picture_files
from fieldguide.errors import DONE, PARTLY, UsageProblem, plain
from fieldguide.explaining import Subject
from fieldguide.families import folder_name
from fieldguide.files import told_plainly, write_json, write_text, writing
from fieldguide.records import Image
from fieldguide.settings import build

if TYPE_CHECKING:
    from fieldguide.explain.explaining import Explanation, Wish

#: Pixels of a picture on the page are cut from at least this size.
_SHOWN = 512
#: Letters of a picture's name that the names of its files begin with.
_LONGEST = 40
#: A folder may hold this beside what is written into it, and still be written into.
_OWN = re.compile(r"explained\.html|.*\.(?:png|json)")


@dataclass(frozen=True)
class Order:
    """What is explained, and where it is written to; how is said in `fieldguide.asked.Why`."""

    subject: str
    pictures: tuple[Path, ...] = ()
    out: Path = Path("explained")
    online: bool = False


def read_why(given: Mapping[str, Any]) -> Why:
    """Return the settings of the command; what was not given has its default. Raises `UsageProblem` for an impossible value."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return build(Why, {name: value for name, value in values.items() if value not in (None, (), False)}, "The command")


def wish_of(why: Why) -> Wish:
    """Return what is asked of the methods; raises `UsageProblem` for an unknown one."""
    from fieldguide.explain.explaining import Wish
    from fieldguide.explain.methods import wanted

    return Wish(tuple(wanted(why.method)) if why.method else (), blocks(why.layers), why.grid, why.orders)


@told_plainly()
def show(order: Order, why: Why, progress: Progress) -> int:
    """Do what `order` asks for and return the exit code: 0, or 3 where something could not be explained."""
    wish, folder = wish_of(why), Path(order.subject)
    if not order.pictures:
        return _in_study(why, wish, folder, progress)
    subjects = _subjects(order, why, folder)
    twice = [name for name, count in Counter(who.name for who in subjects).items() if count > 1]
    if twice:
        raise UsageProblem(
            f"Two of those to be explained are called {plain(twice[0])}.",
            "Each has a name of its own; a network gets another one with as=NAME.",
            f"For example {plain(why.beside[0] if why.beside else order.subject)}:as=other",
        )
    paths = picture_files(order.pictures)
    _require_place(order.out)
    return _write(order.out, subjects, paths, wish, progress)


def _in_study(why: Why, wish: Wish, folder: Path, progress: Progress) -> int:
    """Explain the telling pictures of a study, of all its contestants or of the one that is named."""
    if why.beside or why.before:
        raise UsageProblem(
            "--beside and --before are about pictures, but none were given.",
            "Allowed without pictures: STUDY/ or STUDY/runs/NAME alone.",
            f"fieldguide explain {plain(folder)} PICTURE.jpg --before",
        )
    one = (folder / "model").is_dir() or folder.parent.name == "runs"
    study = folder.parent.parent if one else folder
    if not one and not (folder / "manifest.parquet").exists():
        raise UsageProblem(
            f"{plain(folder)} is no study, and no pictures were given to explain it with.",
            "Allowed: STUDY/ or STUDY/runs/NAME alone, or any contestant and network with pictures.",
            f"fieldguide explain {plain(folder)} PICTURE.jpg",
        )
    only = (folder.name,) if one else ()
    done = explaining.explain_study(study, wish, only=only, pictures=why.most, progress=progress)
    terminal.say(f"{done.written} explanations written, {done.reused} were there, {len(done.failed)} failed.")
    for name, reason in done.left_out:
        terminal.say(f"{name}: {reason}.", "dim")
    for (name, reason), count in Counter((name, reason) for name, _, reason in done.failed).items():
        terminal.say(f"{name}: {count} pictures not explained, {reason}.", "yellow")
    terminal.say(f"Report: {(study / 'report.html').resolve()}#why")
    return PARTLY if done.failed else DONE


def _subjects(order: Order, why: Why, folder: Path) -> list[Subject]:
    labels = _labels(why.labels)
    found = []
    for words in (order.subject, *why.beside):
        place = Path(words)
        if (place / "manifest.parquet").exists():
            names = sorted(path.parent.name for path in place.glob("runs/*/model"))
            found += [explaining.subject(str(place / "runs" / name)) for name in names]
        else:
            found.append(explaining.subject(words, online=order.online, labels=labels))
    if why.before:
        if not (folder / "model").is_dir():
            raise UsageProblem(
                f"--before needs a fitted contestant, and {plain(order.subject)} is none.",
                "Allowed: STUDY/runs/NAME.",
                "Leave --before out.",
            )
        found.insert(1, explaining.before(folder, online=order.online, labels=labels))
    return found


def _labels(file: str | None) -> list[str] | None:
    """Return the lines of the file of labels; raises `UsageProblem` where it cannot be read as text."""
    if file is None:
        return None
    try:
        return Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageProblem(
            f"The labels in {plain(file)} cannot be read: {plain(error)}.",
            "A text file in UTF-8 with the name of a class on each line, in the order of the network's answers.",
            "Correct the path, or leave --labels out: classes are then called by their numbers.",
        ) from error


def _require_place(out: Path) -> None:
    foreign = [path.name for path in out.iterdir() if not _OWN.fullmatch(path.name)] if out.is_dir() else []
    if foreign or (out.exists() and not out.is_dir()):
        raise UsageProblem(
            f"{plain(out)} holds other things ({plain((foreign or [out.name])[0])}), so nothing is written into it.",
            "Allowed: a new folder, an empty one, or one that this command wrote.",
            "Add --out ANOTHER-FOLDER",
        )


def _write(out: Path, subjects: Sequence[Subject], paths: Sequence[Path], wish: Wish, progress: Progress) -> int:
    from fieldguide.explain.files import as_json
    from fieldguide.report import explained_page
    from fieldguide.report.thumbnails import Thumbnail, thumbnail

    out.mkdir(parents=True, exist_ok=True)
    files = Files()
    images = list(files.images(paths))
    answers: list[dict[str, Any]] = [{} for _ in images]
    names = {id: name for who in subjects for id, name in who.names.items()}
    stems, failed = _stems(paths), 0
    for number, (who, image, told) in enumerate(explaining.explain_images(subjects, images, wish, progress)):
        at = number // len(subjects)
        if isinstance(told, str):
            failed += 1
            terminal.say(f"{paths[at]}: {who.name}: {told}", "yellow")
            continue
        answers[at][who.name] = as_json(told)
        stem = f"{stems[at]}-{folder_name(who.name)}"
        write_json(out / f"{stem}.json", answers[at][who.name])
        _strips(out, stem, who, image, answers[at][who.name], names)
        _tell(paths[at], who, told)
    shown = [
        explained_page.Shown(path.name, thumbnail(files, image.key) if image.key in files.paths else Thumbnail(None), told)
        for path, image, told in zip(paths, images, answers, strict=True)
    ]
    whom = [explained_page.Subject(who.name, who.note) for who in subjects]
    write_text(out / "explained.html", explained_page.page(whom, shown, names))
    terminal.say(f"Page: {(out / 'explained.html').resolve()}")
    return PARTLY if failed else DONE


def _stems(paths: Sequence[Path]) -> list[str]:
    """Return a short name of its own for each picture, from that of its file."""
    found: list[str] = []
    for path in paths:
        short = folder_name(path.stem)[:_LONGEST]
        again = sum(stem == short or stem.startswith(f"{short}~") for stem in found)
        found.append(f"{short}~{again + 1}" if again else short)
    return found


def _strips(out: Path, stem: str, who: Subject, image: Image, told: dict[str, Any], names: dict[str, str]) -> None:
    """Write a picture for each method: all its layers in a row."""
    from fieldguide.report.explained import explanation_from
    from fieldguide.report.strips import strip

    explanation = explanation_from(told)
    pixels = image.pixels(_SHOWN)
    for drawn in explanation.maps:
        with writing(out / f"{stem}-{drawn.method}.png") as temporary:
            strip(pixels, explanation, drawn, who.name, names).save(temporary, "PNG")


def _tell(path: Path, who: Subject, told: Explanation) -> None:
    """Print one answer, and what its checks come to."""
    answer, against = (who.names.get(id, id) for id in (told.answer, told.runner_up))
    terminal.say(
        f"{path}: {who.name} says {answer} ({told.probability:.3f}) rather than {against}, by {told.gap:.2f} nats", "bold"
    )
    for one in told.explained:
        checked = [(layer, check) for layer, check in zip(one.maps.layers, one.checks, strict=False)]
        good = [layer for layer, check in checked if check.better]
        says = f"better than random: {', '.join(good)}" if good else "no better than random" if checked else "not checked"
        terminal.say(f"  {one.title}: {says}")
    for name, why in told.refused:
        terminal.say(f"  {name}: {why}", "dim")
