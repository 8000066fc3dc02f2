"""Group T2: folders as careless people, other systems and bad luck leave them.

Each case says what the user sees: every file that is not used is named with its reason, control characters in names are shown
by their codes, and the exit code is 5 only where fewer than two usable classes are left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.pictures import stripes, write_folder
from tests.torture.shell import Said, Shell, in_its_own, in_process, tree

from fieldguide import gather
from fieldguide.data import images
from fieldguide.data.images import content_hash
from fieldguide.data.store import Store
from fieldguide.data.tables import read_manifest, read_predictions
from fieldguide.errors import DATA, DONE, ENVIRONMENT, PARTLY, USAGE
from fieldguide.files import read_json

pytestmark = pytest.mark.torture("T2", "Folders")

#: Looking at 100,000 files may take so many seconds and so much memory in bytes.
SECONDS, MEMORY = 400.0, 600 << 20
_NOBODY = 65534


@dataclass
class Field:
    """A folder of pictures, `root`, in a place of its own; words for looking and comparing; and what the table is told."""

    root: Path
    shell: Shell
    patch: pytest.MonkeyPatch
    tell: Callable[[str], None]

    def look(self, code: int = DONE, *words: str, where: Path | None = None) -> Said:
        """Look; expect an exit code and words in what is shown, and that the pictures stay as they are."""
        before = tree(self.root)
        said = self.shell("look", where or self.root)
        assert tree(self.root) == before, "looking wrote into the source"
        return heard(said, code, *words)

    def compare(self, code: int = DONE, *words: str, contestants: tuple[str, ...] = ("majority",), out: str = "study") -> Said:
        """Compare; expect an exit code and words in what is shown."""
        said = self.shell("compare", self.root, *contestants, "--out", self.root.parent / out)
        return heard(said, code, *words)

    def pictures(self, *classes: str, each: int = 6) -> list[Path]:
        """Write pictures of some classes and return their paths."""
        write_folder(self.root, classes, each=each)
        return sorted(path for label in classes for path in (self.root / label).iterdir())


def heard(said: Said, code: int, *words: str) -> Said:
    assert said.code == code, said.text
    for word in words:
        assert " ".join(word.split()) in said.text, f"{word!r} not in {said.text!r}"
    return said


@pytest.fixture
def field(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, told: Callable[[str], None]) -> Iterator[Field]:
    """In a folder that everybody may enter: pytest's own is closed to the user that root steps down to."""
    place = Path(tempfile.mkdtemp(prefix="fieldguide-t2-")).resolve()
    place.chmod(0o755)
    (place / "photos").mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(place)
        yield Field(place / "photos", in_process(capsys, monkeypatch), monkeypatch, told)
    shutil.rmtree(place)


def draw(path: Path, seed: int, label: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as stream:  # by a stream: the name may have no extension that says the format
        Image.fromarray(stripes(label, np.random.default_rng(seed))).save(stream, "PNG")
    return path


@contextlib.contextmanager
def unprivileged() -> Iterator[str]:
    """Do what is done inside as a user whom file modes concern, and say how: root, who reads everything, becomes nobody."""
    if os.geteuid() != 0:
        yield "by file mode"
        return
    os.seteuid(_NOBODY)
    try:
        yield "by file mode; root stepped down to nobody"
    finally:
        os.seteuid(0)


CASES: dict[str, Callable[[Field], None]] = {}


def case(name: str) -> Callable[[Callable[[Field], None]], Callable[[Field], None]]:
    def keep(run: Callable[[Field], None]) -> Callable[[Field], None]:
        assert name not in CASES
        CASES[name] = run
        return run

    return keep


# --- how many -----------------------------------------------------------------------------------------------------------


@case("empty root")
def empty_root(field: Field) -> None:
    field.look(DATA, "photos is empty.", "at least two class folders with pictures", "FOLDER/class/picture.jpg")
    heard(in_its_own("look", field.root), DATA, "photos is empty.")
    field.compare(DATA, "photos is empty.")
    assert not (field.root.parent / "study").exists()
    field.tell("photos is empty. A source holds at least two class folders with pictures. Arrange them as …; exit 5")


@case("empty class folder")
def empty_class(field: Field) -> None:
    field.pictures("cat", "dog")
    (field.root / "eel").mkdir()
    (field.root / "fox" / "deeper").mkdir(parents=True)
    field.look(DONE, "12 pictures, 12 usable, 2 classes", "eel: class folder without pictures", "fox: class folder without")
    field.tell("eel: class folder without pictures; the other classes are used; exit 0")


@case("one-picture class")
def one_picture(field: Field) -> None:
    field.pictures("cat", "dog")
    draw(field.root / "owl" / "only.png", 99, 2)
    field.look(DONE, "13 pictures, 13 usable, 3 classes", "fewer than 3 usable pictures", "owl: 1")
    field.tell("Classes with fewer than 3 usable pictures cannot be in train, validation and test: owl: 1; exit 0")


@case("one class only")
def one_class(field: Field) -> None:
    first = field.pictures("cat")[0]
    field.look(DATA, "holds one class only, 'cat'", "at least two classes")
    broken = field.root / "dog" / "broken.png"
    broken.parent.mkdir()
    broken.write_bytes(first.read_bytes()[:-40])
    field.look(DATA, "classes that are left: 1", "dog/broken.png (truncated:", "at least two classes")
    field.compare(DATA, "1 class with usable pictures (1 pictures were excluded)", "shows every finding and the reason")
    field.tell(
        "photos holds one class only, 'cat'; also where all pictures of the second are broken, with the first named; exit 5"
    )


@case("1,000 classes")
def thousand(field: Field) -> None:
    random = np.random.default_rng(0)
    for number in range(1_000):
        (field.root / f"class {number:04}").mkdir()
        for at in range(2):
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(field.root / f"class {number:04}" / f"{at}.png")
    start = time.monotonic()
    field.look(DONE, "2,000 pictures, 2,000 usable, 1000 classes", "class 0000", "... and 960 more classes")
    assert time.monotonic() - start < 60
    field.tell("2,000 pictures, 1000 classes; 40 shown and '... and 960 more classes'; exit 0")


# --- litter -------------------------------------------------------------------------------------------------------------


def litter(field: Field, name: str, reason: str) -> None:
    field.pictures("cat", "dog")
    for folder in (field.root / "cat", field.root):
        (folder / name).write_bytes(b"\0\0\0\1Bud1 or so")
    said = field.look(DONE, "12 pictures, 12 usable, 2 classes", f"cat/{name}: {reason}", f"Passed over: 2 {reason}")
    assert "Every file decodes" in said.text
    field.tell(f"cat/{name}: {reason}; no picture counts it; exit 0")


@case(".DS_Store")
def ds_store(field: Field) -> None:
    litter(field, ".DS_Store", "hidden")


@case("._x.jpg")
def resource_fork(field: Field) -> None:
    litter(field, "._x.jpg", "resource fork of another system")


@case("Thumbs.db")
def thumbs(field: Field) -> None:
    litter(field, "Thumbs.db", "left by the system")


# --- links --------------------------------------------------------------------------------------------------------------


@case("symlink loop")
def loop(field: Field) -> None:
    field.pictures("cat", "dog")
    (field.root / "cat" / "up").symlink_to("..")
    (field.root / "cat" / "self").symlink_to("self")
    (field.root / "dog" / "back").symlink_to(field.root / "dog")
    field.look(
        DONE, "12 pictures, 12 usable", "cat/up: a link that leads back", "cat/self: a link that leads nowhere", "dog/back:"
    )
    for one, other in (("cat", "dog"), ("dog", "cat")):
        (field.root / one / "across").symlink_to(field.root / other)
    field.look(DATA, "classes that are left: 0", "same picture in two classes")  # reached by two classes, each is in both
    knot = field.root.parent / "knot"
    knot.symlink_to("knot")
    field.look(USAGE, "does not exist", where=knot)
    field.tell("cat/up: a link that leads back; cat/self: a link that leads nowhere; the walk ends, the rest is used; exit 0")


@case("symlink to outside")
def outside(field: Field) -> None:
    field.pictures("cat", "dog")
    secret = draw(field.root.parent / "elsewhere" / "secret.png", 77)
    (field.root / "cat" / "link.png").symlink_to(secret)
    (field.root / "cat" / "folder").symlink_to(secret.parent)
    (field.root / "owl").symlink_to(secret.parent)
    said = field.look(DONE, "12 pictures, 12 usable, 2 classes", "cat/link.png: a link that leaves the source")
    assert "3 a link that leaves the source" in said.text
    assert "secret" not in said.text
    field.tell("cat/link.png: a link that leaves the source; what it leads to is not read; exit 0")


# --- rights -------------------------------------------------------------------------------------------------------------


@case("unreadable file")
def unreadable_file(field: Field) -> None:
    paths = field.pictures("cat", "dog")
    paths[0].chmod(0)
    field.shell("look", field.root)  # libraries are loaded by somebody who may read them
    with unprivileged() as how:
        field.look(DONE, "12 pictures, 11 usable, 2 classes", "cat/000.png: unreadable file: Permission denied")
    for path in paths[:6]:
        path.chmod(0)
    with unprivileged():
        field.look(DATA, "classes that are left: 1", "cat/000.png (unreadable file: Permission denied)")
    field.tell(f"cat/000.png: unreadable file: Permission denied; the rest is used; exit 0 ({how})")


@case("unreadable folder")
def unreadable_folder(field: Field) -> None:
    field.pictures("cat", "dog", "eel")
    locked = field.root / "eel"
    field.shell("look", field.root)
    try:
        locked.chmod(0)
        with unprivileged() as how:
            said = heard(field.shell("look", field.root), DONE, "12 pictures, 12 usable, 2 classes")
            assert "eel: cannot be opened: Permission denied" in said.text
        locked.chmod(0o444)  # may be listed, and nothing in it may be opened
        with unprivileged():
            said = heard(field.shell("look", field.root), DONE, "2 classes", "18 pictures, 12 usable")
            assert "eel/000.png: unreadable file: Permission denied" in said.text
        (field.root / "dog").chmod(0)
        with unprivileged():
            heard(field.shell("look", field.root), DATA)
        field.root.chmod(0)
        with unprivileged():
            heard(field.shell("look", field.root), DATA, "the folder itself cannot be opened: Permission denied", "chmod")
            inside = heard(field.shell("look", field.root / "cat"), USAGE, "cannot be reached: Permission denied")
            assert "does not exist" not in inside.text
    finally:
        for folder in (field.root, locked, field.root / "dog"):
            folder.chmod(0o755)
    field.tell(f"eel: cannot be opened: Permission denied; the other classes are used; exit 0 ({how})")


@case("read-only root")
def read_only(field: Field) -> None:
    paths = field.pictures("cat", "dog", "eel")
    study = field.root.parent / "open" / "study"
    study.parent.mkdir()
    study.parent.chmod(0o777)
    field.compare(contestants=("majority", "linear:image_size=8"))  # libraries are loaded
    for path in (*paths, *(field.root / label for label in ("cat", "dog", "eel")), field.root):
        path.chmod(0o555)
    before = tree(field.root)
    try:
        with unprivileged() as how:
            with pytest.raises(PermissionError):
                (field.root / "probe").touch()
            said = field.shell("compare", field.root, "majority", "linear:image_size=8", "--out", study)
            heard(said, DONE, "Report: ")
            heard(field.shell("compare", field.root, "majority", "--out", field.root / "study"), ENVIRONMENT, "cannot be made")
    finally:
        for folder in (*(field.root / label for label in ("cat", "dog", "eel")), field.root):
            folder.chmod(0o755)
    assert [name for name, *_ in tree(field.root)] == [name for name, *_ in before]
    assert (study / "report.html").exists()
    field.tell(f"nothing is written into it and the study beside it is made; inside: cannot be made; exit 0 ({how})")


# --- size ---------------------------------------------------------------------------------------------------------------


@case("100,000 files")
def many(field: Field) -> None:
    classes, each = 100, 1_000
    for number in range(classes):
        first = draw(field.root / f"c{number:02}" / "0000.png", number, number)
        for at in range(1, each):
            os.link(first, first.with_name(f"{at:04}.png"))
    said = in_its_own("look", field.root, most_seconds=SECONDS)
    heard(said, DONE, "100,000 pictures, 100 usable, 100 classes", "duplicate of c00/0000.png")
    assert said.seconds < SECONDS
    assert said.memory < MEMORY, said.memory
    field.tell(
        f"100,000 pictures, 100 usable (each class is one picture under 1,000 names: listed, read, hashed, decoded, named as copies), "
        f"within {SECONDS:.0f} s and {MEMORY >> 20} MiB; exit 0"
    )


# --- names --------------------------------------------------------------------------------------------------------------


@case("NFC and NFD twin names")
def twins(field: Field) -> None:
    field.pictures("cat", "dog")
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    for at, name in enumerate((composed, apart)):
        draw(field.root / name / "1.png", 40 + at, 2)
        draw(field.root / "cat" / f"{name}.png", 50 + at, 0)
        draw(field.root / name / f"{at} 2.png", 60 + at, 2)
    assert len(list((field.root / "cat").iterdir())) == 8
    field.look(DONE, "18 pictures, 18 usable, 3 classes", f"The folder '{apart}' is read as the class '{composed}'")
    answers = field.root.parent / "answers.csv"
    names = [
        (f"{composed}/1.png", "cat"),
        (f"{apart}/1.png", "dog"),
        (f"cat/{composed}.png", "eel"),
        (f"cat/{apart}.png", "fox"),
    ]
    answers.write_text("path,answer\n" + "".join(f"{name},{answer}\n" for name, answer in names), encoding="utf-8")
    field.shell("compare", field.root, f"recorded/{answers}", "--out", field.root.parent / "study", "--split", "test-only")
    manifest = read_manifest(field.root.parent / "study" / "manifest.parquet")
    [run] = (field.root.parent / "study" / "runs").iterdir()
    raw = {answer.image: answer.raw for answer in read_predictions(run / "predictions.parquet")}
    assert {row.path: raw[row.key] for row in manifest.rows if raw[row.key]} == dict(names)
    field.tell("both files are used, the two folders are one class, and that is said; answers for each find their own; exit 0")


@case("emoji, right-to-left and newline in names")
def odd_names(field: Field) -> None:
    field.pictures("cat", "dog")
    for at, name in enumerate(("🦊", "كلب", "evil\u202egnp", "two\nlines", "\x1b[31mred", "[bold]markup")):
        draw(field.root / name / f"{name}.png", at, 2)
        (field.root / name / f"{name}-broken.png").write_bytes(b"")
        (field.root / name / f"{name}.txt").write_bytes(b"")
    said = field.look(
        DONE,
        "24 pictures, 18 usable, 8 classes",
        "🦊",
        "كلب",
        "evil\\u202egnp",
        "two lines",
        "\\u001b[31mred",
        "[bold]markup",
    )
    assert not {"\u202e", "\x1b"} & set(said.out + said.err)
    assert "two\nlines" not in said.out
    field.compare(DONE, "Report: ")
    report = (field.root.parent / "study" / "report.html").read_text(encoding="utf-8")
    assert "\u202e" not in report and "\x1b" not in report
    manifest = read_manifest(field.root.parent / "study" / "manifest.parquet")
    lost = {row.path for row in manifest.excluded}
    assert lost == {f"{name}/{name}-broken.png" for name in os.listdir(field.root) if name not in ("cat", "dog")}
    field.tell(
        "every picture is used; the terminal and the report show \\u202e, \\u001b and line breaks by their codes; exit 0"
    )


@case("255-byte name")
def long_names(field: Field) -> None:
    field.pictures("cat", "dog")
    label, name = "猫" * 85, "é" * 125 + "x.png"
    assert len(label.encode()) == len(name.encode()) == 255
    for at in range(4):
        draw(field.root / label / (str(at) + name[1:] if at else name), at, 2)
    field.look(DONE, "16 pictures, 16 usable, 3 classes")
    field.compare(DONE, "Report: ")
    renamed = field.root.rename(field.root.with_name("r" * 255))
    said = heard(
        field.shell("compare", renamed, "majority"), ENVIRONMENT, "cannot be made: File name too long", "Choose another --out"
    )
    assert said.text.count("rrr") < 300
    heard(field.shell("look", renamed.parent / ("n" * 256)), USAGE, "does not exist")
    field.tell(
        "used like any other; a root of that length: the study folder cannot be made, choose another --out (exit 4); exit 0"
    )


@case("Windows-reserved names")
def reserved(field: Field) -> None:
    field.pictures("cat", "dog")
    for label, name in (
        ("CON", "aux.jpg"),
        ("nul", "COM1.png"),
        ("dots...", "space .png"),
        ("a:b", "what?.png"),
        ("back\\slash", "<x>.png"),
    ):
        for at in range(3):
            draw(field.root / label / (f"{at}{name}" if at else name), sum(map(ord, label)) + at, 2)
    said = field.look(DONE, "27 pictures, 27 usable, 7 classes", "CON", "nul", "dots...", "a:b")
    assert "JPEG" not in said.text.partition("Formats:")[2].partition(".")[0]
    assert "CON/aux.jpg: extension says jpg, content is PNG" in said.text
    field.compare(DONE, "Report: ")
    manifest = read_manifest(field.root.parent / "study" / "manifest.parquet")
    assert {row.label for row in manifest.part()} == {"cat", "dog", "CON", "nul", "dots...", "a:b", "back\\slash"}
    made = [path.name for path in (field.root.parent / "study").rglob("*")]
    assert not [
        name for name in made if name.endswith((".", " ")) or name.split(".")[0].upper() in {"CON", "NUL", "AUX", "COM1"}
    ]
    field.tell(
        "every picture is used, and no file of the study is named after a class, so that it can be copied to Windows; exit 0"
    )


@case("case-twin classes")
def case_twins(field: Field) -> None:
    field.pictures("Cat", "dog")
    for number in range(4):
        draw(field.root / "cat" / f"x{number}.png", 80 + number, 1)
    field.look(DONE, "16 pictures, 16 usable, 3 classes", "class names differ only in case", "Cat = cat")
    field.compare(DONE, "Report: ")
    assert len(read_manifest(field.root.parent / "study" / "manifest.parquet").classes) == 3
    field.tell("1 sets of class names differ only in case …: probably one class written twice: Cat = cat; kept apart; exit 0")


# --- files that do not hold still ---------------------------------------------------------------------------------------


def after_listing(field: Field, do: Callable[[], object]) -> None:
    """Do something once, as soon as the source is listed and before a file of it is read."""
    opened = gather.open_source
    pending = [do]

    def listed(*given: Any, **more: Any) -> Any:
        source = opened(*given, **more)
        while pending:
            pending.pop()()
        return source

    field.patch.setattr(gather, "open_source", listed)


@case("a file vanishes between listing and reading")
def vanishes(field: Field) -> None:
    paths = field.pictures("cat", "dog", "eel")
    after_listing(field, lambda: (paths[0].unlink(), shutil.rmtree(field.root / "eel")))
    said = heard(field.shell("look", field.root), DONE, "18 pictures, 11 usable, 2 classes", "cat/000.png: missing file")
    assert "Excluded: 7 missing file" in said.text
    after_listing(field, lambda: [path.unlink() for path in paths[1:6]])
    heard(field.shell("look", field.root), DATA, "classes that are left: 1", "missing file")
    field.tell("cat/000.png: missing file: there is no such file; counted and excluded, the rest is used; exit 0")


@case("a file changes between listing and reading")
def changes(field: Field) -> None:
    paths = field.pictures("cat", "dog", "eel")
    later = draw(field.root.parent / "later.png", 500).read_bytes()
    latest = draw(field.root.parent / "latest.png", 501).read_bytes()
    after_listing(field, lambda: paths[0].write_bytes(later))
    read = images.read_file

    def read_and_change(path: Path) -> bytes:
        data = read(path)
        if path == paths[0]:
            paths[0].write_bytes(latest)  # and again as soon as it was read
        return data

    field.patch.setattr(images, "read_file", read_and_change)
    field.compare(DONE, "Report: ", contestants=("linear:image_size=8",))
    study = field.root.parent / "study"
    manifest = read_manifest(study / "manifest.parquet")
    [row] = [row for row in manifest.rows if row.path == "cat/000.png"]
    assert row.key == content_hash(later) and row.bytes == len(later)
    stored = Store(study / "store").read(row.key, 8)
    assert np.array_equal(stored, images.load(later, 32).pixels)
    assert not np.array_equal(stored, images.load(latest, 32).pixels)
    field.patch.undo()
    field.compare(
        USAGE, "The pictures have changed since", "1 new (such as cat/000.png), 1 missing (such as cat/000.png)", "--extend"
    )
    field.tell(
        "what was read is what was hashed and used; the next run: The pictures have changed …: 1 new, 1 missing (cat/000.png), exit 2"
    )


@case("a file vanishes or changes after the list was frozen")
def after_freezing(field: Field) -> None:
    field.pictures("cat", "dog", "eel", each=10)
    study = field.root.parent / "study"
    frozen = gather.gather
    touched: dict[str, Path] = {}

    def freeze_then_change(*given: Any, **more: Any) -> Any:
        manifest = frozen(*given, **more)
        tests = [row.path for row in manifest.part("test")]
        touched.update(gone=field.root / tests[0], other=field.root / tests[1])
        touched["gone"].unlink()
        replace_unseen(touched["other"], 700)
        return manifest

    field.patch.setattr(gather, "gather", freeze_then_change)
    field.compare(DONE, "Report: ", contestants=("linear:image_size=8",))  # pixels were kept when the list was made
    whole = read_predictions(next((study / "runs").glob("linear*")) / "predictions.parquet")
    assert all(answer.error is None for answer in whole)
    field.patch.setattr(gather, "gather", frozen)
    field.compare(USAGE, "The pictures have changed since", "1 new (such as ", "2 missing (such as ")
    # With only the changed file: no listing can see it, since its size and its time are as before. What was kept is lost, too.
    touched["gone"].write_bytes(draw(field.root.parent / "gone.png", 0).read_bytes())
    restored = {row.path: row.key for row in read_manifest(study / "manifest.parquet").rows}
    assert content_hash(touched["other"].read_bytes()) != restored[str(touched["other"].relative_to(field.root))]
    _fresh_study_then_change(field)
    field.tell(
        "pixels kept with the list are used: same answers; where they are gone, too: failed, 'changed file: the file of picture … no longer "
        "holds what it held when the list was made', counted as wrong; exit 3"
    )


def _fresh_study_then_change(field: Field) -> None:
    """A study whose pixels are gone, one test picture replaced by another one unseen: it fails by name, nobody is scored on it."""
    study = field.root.parent / "second"
    field.compare(DONE, out="second")
    manifest = read_manifest(study / "manifest.parquet")
    row = manifest.part("test")[0]
    shutil.rmtree(study / "store")
    replace_unseen(field.root / row.path, 900)
    said = field.compare(PARTLY, contestants=("linear:image_size=8",), out="second")
    [run] = (study / "runs").glob("linear*")
    [failed] = [answer for answer in read_predictions(run / "predictions.parquet") if answer.error is not None]
    assert failed.image == row.key and failed.label is None
    assert str(failed.error).startswith("changed file: ") and row.key[:12] in str(failed.error)
    assert read_json(run / "scores.json")["parts"]["test"]["failed"] == 1
    train = manifest.part("train")[0]
    shutil.rmtree(study / "store")
    replace_unseen(field.root / train.path, 901)
    said = field.compare(PARTLY, contestants=("linear:image_size=16,as=again",), out="second")
    assert "again" in said.text
    assert "changed file" in read_json(study / "runs" / "again" / "failed.json")["given"]


def replace_unseen(path: Path, seed: int) -> None:
    """Replace a picture by another one of the same size in bytes and the same time of change."""
    status = path.stat()
    random = np.random.default_rng(seed)
    while True:
        draw(path.with_name("new"), int(random.integers(1 << 30)))
        data = path.with_name("new").read_bytes()
        if len(data) <= status.st_size:
            break
    path.with_name("new").unlink()
    path.write_bytes(data + bytes(status.st_size - len(data)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)


# --- splits -------------------------------------------------------------------------------------------------------------


@case("nested split folders")
def splits(field: Field) -> None:
    for at, split in enumerate(("train", "test")):
        write_folder(field.root / split, ("cat", "dog"), each=8 - 4 * at, seed=at)
    field.look(DONE, "24 pictures, 24 usable, 2 classes", "test 8")
    field.compare(DONE, "Report: ")
    manifest = read_manifest(field.root.parent / "study" / "manifest.parquet")
    assert {row.path for row in manifest.part("test")} == {row.path for row in manifest.rows if row.path.startswith("test/")}
    assert manifest.part("val") and all(row.path.startswith("train/") for row in manifest.part("val"))
    field.tell(
        "train/cat and test/cat are one class, the source's test pictures stay test, validation is cut from train; exit 0"
    )


@case("split folders with an extra level or loose files beside")
def extra_level(field: Field) -> None:
    for split in ("train", "test"):
        write_folder(field.root / "data" / split, ("cat", "dog"), each=4, seed=len(split))
    field.look(DATA, "one class only, 'data'", f"Did you mean {field.root / 'data'}? It holds 2 folders.")
    other = field.root.parent / "other"
    for split in ("train", "test"):
        write_folder(other / split / "images", ("cat", "dog"), each=4, seed=len(split))
    field.look(DATA, "one class only, 'images'", "test/images holds 2 folders", "move them up into test", where=other)
    draw(field.root / "data" / "loose.png", 1)
    draw(field.root / "data" / "train" / "loose.png", 2)
    said = field.look(DONE, "16 pictures, 16 usable, 2 classes", "2 outside class folders", where=field.root / "data")
    assert "loose.png: outside class folders" in said.text and "train/loose.png: outside class folders" in said.text
    draw(field.root / "data" / "val" / "1.png", 3)
    field.look(DATA, "The split folder 'val' holds loose pictures and no class folders.", where=field.root / "data")
    shutil.rmtree(field.root / "data" / "val")
    draw(field.root / "data" / "bird" / "1.png", 4)
    field.look(DATA, "mixes split folders (test, train) with other folders (bird)", where=field.root / "data")
    field.tell(
        "one class only, 'data'. Did you mean photos/data? It holds 2 folders. (exit 5); loose.png: outside class folders (exit 0)"
    )


assert len(CASES) == 24


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow(keep=0) if name == "100,000 files" else ()) for name in CASES], ids=str
)
def test_folders(name: str, field: Field) -> None:
    CASES[name](field)
