"""Group T6: disks that are full, shares that go away, files that were damaged, and folders that two write into.

The blocks fail one file operation after another, each in a run of its own, by kind and phase: with FIELDGUIDE_TORTURE=all every
operation of a whole run, by default one of each block that is drawn. However such a run ends, it ends in its own words, nothing
half-written stands under a final name, what it wrote is right, and the same command without the fault ends as if nothing had happened.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.torture.faults import PHASES, READS, WRITES, Ended, Moment, Plan, at_most, sample
from tests.torture.small_study import (
    Place,
    Small,
    after_a_fault,
    again,
    at_once,
    complaint,
    curves,
    left,
    partial,
    small,
    told_of,
)

from fieldguide.data.tables import read_manifest
from fieldguide.errors import DATA, DONE, ENVIRONMENT, PARTLY, USAGE

pytestmark = [pytest.mark.torture("T6", "Failing file operations"), pytest.mark.slow(keep=10)]

#: What fails, in words, and the kinds of operation that are meant.
FAULTS = {
    "disk full while writing": ("write",),
    "no room for a new file or folder": ("create",),
    "an error told at sync or close": ("sync", "close"),
    "a rename refused": ("rename",),
    "a removal refused": ("remove",),
    "a read that fails once": ("read",),
    "a look or a listing that fails once": ("look", "list"),
}
BLOCKS = [f"{phase}, {fault}" for phase in PHASES for fault in FAULTS]
Tell = Callable[[str], None]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return small(tmp_path_factory.mktemp("faults"))


def drawn(moments: list[Moment], block: str) -> list[Moment]:
    return sample(moments, at_most(len(moments)), block)


def tried(study: Small, moments: list[Moment], block: str, then: frozenset[str] = frozenset(), below: str = "") -> str:
    def trial(place: Place, moment: Moment) -> tuple[int, str | None]:
        ended = place.compare(Plan(moment, then=then, below=below))
        return ended.code, after_a_fault(place, ended, study.whole)

    return told_of(study.tried(drawn(moments, block), trial))


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_operation_fails_once(block: str, study: Small, told: Tell) -> None:
    phase, fault = block.split(", ", 1)
    told(tried(study, study.of(FAULTS[fault], phase), block))


@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: f"{phase}, the disk stays full from there on")
def test_the_disk_stays_full(phase: str, study: Small, told: Tell) -> None:
    told(tried(study, study.of(("create", "write"), phase), f"full {phase}", WRITES))


@pytest.mark.parametrize("phase", ["scan"], ids=["scan, the share with the pictures is gone from there on"])
def test_the_share_goes_away(phase: str, study: Small, told: Tell) -> None:
    told(tried(study, study.of(sorted(READS), phase, "^photos"), "gone", READS, "photos"))


# --- one at a time --------------------------------------------------------------------------------------------------------


@dataclass
class Yard:
    """The pictures with the finished study or none, and what is known of the whole one."""

    place: Place
    small: Small
    tell: Tell

    def finished(self) -> Yard:
        self.small.finished()
        return self

    def moment(self, kind: str, name: str, nth: int = 0) -> Moment:
        return self.small.of((kind,), name=name)[nth]

    def ends(self, ended: Ended, code: int, *words: str) -> str:
        """Expect an exit code, words, and whole files; return the line that names the trouble."""
        assert ended.code == code, (ended.code, ended.text[-800:])
        assert complaint(ended) is None or code == USAGE, complaint(ended)
        assert "Traceback" not in ended.text
        for word in words:
            assert word in " ".join(ended.text.split()), (word, ended.text[-800:])
        return " ".join(ended.text.split())

    def goes_on(self) -> None:
        """Expect that the same command ends as if nothing had ever happened."""
        wrong = again(self.place, self.small.whole)
        assert wrong is None, wrong
        assert not partial(self.place.study), partial(self.place.study)


@pytest.fixture
def yard(study: Small, told: Tell) -> Yard:
    return Yard(study.place.fresh(), study, told)


CASES: dict[str, Callable[[Yard], None]] = {}


def case(name: str) -> Callable[[Callable[[Yard], None]], Callable[[Yard], None]]:
    def keep(run: Callable[[Yard], None]) -> Callable[[Yard], None]:
        CASES[name] = run
        return run

    return keep


def full(yard: Yard, name: str, code: int, nth: int = 0, kind: str = "write") -> str:
    """Let the disk be full from a write on."""
    said = yard.ends(yard.place.compare(Plan(yard.moment(kind, name, nth), then=WRITES)), code, "The disk is full: ")
    assert not partial(yard.place.study), partial(yard.place.study)
    return said[said.index("The disk is full") :][:160]


@case("disk full while scanning")
def full_scan(yard: Yard) -> None:
    said = full(yard, "study/manifest.parquet|study/.unfinished.*manifest", ENVIRONMENT)
    assert "What was there before is kept" in said and "manifest.parquet" in said
    yard.goes_on()
    yard.tell(
        f"The disk is full: … manifest.parquet could not be written. … MB are free on that volume. Make room or …; exit {ENVIRONMENT}"
    )


@case("disk full while writing a checkpoint")
def full_checkpoint(yard: Yard) -> None:
    full(yard, "net/scratch/checkpoints/.*tensors", ENVIRONMENT, 2)
    kept = yard.place.study / "runs" / "net" / "scratch" / "checkpoints"
    assert (kept / (kept / "LATEST").read_text() / "manifest.json").exists(), "the last good checkpoint"
    yard.goes_on()
    assert '"event": "resumed"' in (yard.place.study / "runs" / "net" / "log.jsonl").read_text()
    yard.tell("The disk is full: … the checkpoint could not be written; the last good one is kept and gone on from; exit 4")


@case("disk full while the store is built")
def full_store(yard: Yard) -> None:
    assert "safetensors" in full(yard, "store/192/", ENVIRONMENT)
    yard.goes_on()
    yard.tell("The disk is full: … store/192/….safetensors could not be written; exit 4")


@case("disk full while the report is drawn")
def full_report(yard: Yard) -> None:
    said = full(yard, "report.html", ENVIRONMENT)
    assert "report.html" in said and not (yard.place.study / "report.html").exists()
    yard.goes_on()
    yard.tell("The disk is full: … report.html could not be written; scores and answers are there; exit 4")


def limited(size: int) -> Callable[[], None]:
    """Let no file of the process grow beyond `size` bytes: a fault of the system itself, which all libraries meet."""

    def setup() -> None:
        import resource

        at_once()
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return setup


@case("a limit of the system on the size of a file")
def file_limit(yard: Yard) -> None:
    said = yard.ends(yard.place.compare(setup=limited(8_000)), ENVIRONMENT, "could not be written: File too large")
    assert "store" in said
    said = yard.ends(yard.place.compare(setup=limited(900_000)), PARTLY, "net: failed.", "could not be written: File too large")
    assert "checkpoints" in said and not partial(yard.place.study)
    yard.goes_on()
    yard.tell("net: failed. … checkpoints/… could not be written: File too large. …; the others go on; exit 3")


@case("quota, told when a file is closed")
def quota(yard: Yard) -> None:
    yard.ends(
        yard.place.compare(Plan(yard.moment("close", "comparison.json"))), ENVIRONMENT, "The disk is full: ", "comparison.json"
    )
    assert not (yard.place.study / "comparison.json").exists()
    yard.goes_on()
    yard.tell("The disk is full: … comparison.json could not be written; exit 4")


@case("no inodes left")
def no_inodes(yard: Yard) -> None:
    ended = yard.place.compare(Plan(yard.moment("create", "study$"), then=frozenset({"create"})))
    yard.ends(ended, ENVIRONMENT, "The study folder", "cannot be made: No space left on device")
    ended = yard.place.compare(Plan(yard.moment("create", "study/store$"), then=frozenset({"create"})))
    yard.ends(ended, ENVIRONMENT, "The disk is full: ", "store")
    yard.goes_on()
    yard.tell("The disk is full: … could not be written, where no file or folder can be made any more; exit 4")


@case("read-only study folder")
def read_only(yard: Yard) -> None:
    yard.finished()
    os.remove(yard.place.study / "report.html")
    nobody = 65534
    places = [yard.place.base, *yard.place.base.parents]
    if os.geteuid() == 0:
        for folder in places:
            folder.chmod(folder.stat().st_mode | 0o055)
    for path in [yard.place.study, *yard.place.study.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)

    def step_down() -> None:
        at_once()
        "".encode("utf-8-sig")  # what is imported late may not be nobody's to read
        if os.geteuid() == 0:
            os.seteuid(nobody)

    try:
        yard.ends(yard.place.compare(setup=step_down), ENVIRONMENT, "study", "cannot be written to", "Choose another --out")
    finally:
        for path in [yard.place.study, *yard.place.study.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
    yard.goes_on()
    yard.tell(
        "The study folder … cannot be written to: Permission denied. … Choose another --out. (as nobody, where root asks); exit 4"
    )


@case("one picture on a bad place of the disk")
def bad_sector(yard: Yard) -> None:
    always = Plan(yard.moment("read", "photos/cat/003.png"), then=frozenset({"read"}), below="photos/cat/003.png")
    yard.ends(yard.place.compare(always), DONE, "Report: ")
    rows = {row.path: row.excluded for row in read_manifest(yard.place.study / "manifest.parquet").rows}
    assert {path: why for path, why in rows.items() if why} == {"cat/003.png": "unreadable file: Input/output error"}
    yard.tell("cat/003.png is excluded by name, unreadable file: Input/output error; the others are used; exit 0")


@case("a share that fails for half of the pictures")
def lost_share(yard: Yard) -> None:
    gone = Plan(yard.moment("read", "photos/dog/000.png", -1), then=READS, below="photos")
    said = yard.ends(yard.place.compare(gone), ENVIRONMENT, "disk or share", "run the same command again")
    assert not (yard.place.study / "manifest.parquet").exists(), said
    yard.goes_on()
    yard.tell("The disk or share that holds the pictures failed for 6 of them …; no list is made without them; exit 4")


@case("rename to another disk")
def across(yard: Yard) -> None:
    renames = yard.small.of(("rename",))
    assert len(renames) > 30  # that each stays in its folder is held where they are counted
    ended = yard.place.compare(Plan(yard.moment("rename", "runs/net/model")))
    assert ended.code == PARTLY
    yard.goes_on()
    yard.tell(f"cannot happen: all {len(renames)} renames of a run stay in one folder")


@case("a share without locks")
def no_locks(yard: Yard) -> None:
    yard.ends(
        yard.place.compare(Plan(yard.moment("lock", "study/.lock"))), ENVIRONMENT, "The study folder", "cannot be written to"
    )
    yard.goes_on()
    yard.tell("The study folder … cannot be written to: No locks available. … Choose another --out; exit 4")


@case("two runs in one folder")
def two_runs(yard: Yard) -> None:
    first = yard.place.start(Plan(yard.moment("rename", "runs/linear/model"), signal=signal.SIGSTOP))
    model = yard.place.study / "runs" / "linear" / "fit.json"
    deadline = time.monotonic() + 60
    while not model.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert first.process.is_alive()
    try:
        second = yard.place.compare()
    finally:
        os.kill(first.process.pid or 0, signal.SIGCONT)
    yard.ends(second, ENVIRONMENT, "Another fieldguide is working in", "One writer at a time.", "use another --out")
    assert first.end().code == DONE
    assert yard.small.whole.differs(yard.place.study) == []
    yard.tell(
        "Another fieldguide is working in …. One writer at a time. Wait for it, or use another --out; exit 4; the first goes on"
    )


# --- damaged files ----------------------------------------------------------------------------------------------------------


def cut(path: Path, keep: float = 0.5) -> None:
    data = path.read_bytes()
    end = int(len(data) * keep)
    if path.suffix == ".toml":  # after a whole line or a digit the rest is TOML, too, and nobody could tell
        end = data.rindex(b"=", 0, end) + 1
    path.write_bytes(data[:end])


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


@case("store shard cut in its pixels")
def shard_cut(yard: Yard) -> None:
    study = yard.finished().place.study
    for size in ("32", "192"):
        cut(only(study / "store" / size), 0.8)
    (study / "runs" / "net" / "predictions.parquet").unlink()
    yard.goes_on()
    yard.tell("rebuilt: the pictures of that shard are decoded again; exit 0")


@case("store shard cut in its header")
def shard_header_cut(yard: Yard) -> None:
    study = yard.finished().place.study
    for size, keep in (("32", 0.001), ("192", 0.0)):
        cut(only(study / "store" / size), keep)
    (study / "runs" / "net" / "predictions.parquet").unlink()
    yard.goes_on()
    yard.tell("rebuilt: the pictures of that shard are decoded again; exit 0")


def stopped(yard: Yard, moment: Moment) -> Path:
    """Kill the run at a moment and return the scratch folder of its network."""
    assert yard.place.compare(Plan(moment, signal=signal.SIGKILL)).code == -signal.SIGKILL
    return yard.place.study / "runs" / "net" / "scratch"


@case("journal of answers cut")
def journal_cut(yard: Yard) -> None:
    scratch = stopped(yard, yard.moment("create", "runs/net/.*predictions.parquet"))
    whole = (scratch / "answers.jsonl").read_bytes()
    for keep in (0.3, 0.7, 0.99):
        (scratch / "answers.jsonl").write_bytes(whole[: int(len(whole) * keep)])
        saved = yard.place.base / "saved"
        shutil.copytree(yard.place.study, saved)
        yard.goes_on()
        shutil.rmtree(yard.place.study)
        saved.rename(yard.place.study)
    yard.tell("the answers after the cut are given again; exit 0")


@case("checkpoint cut")
def checkpoint_cut(yard: Yard) -> None:
    scratch = stopped(yard, yard.moment("step", "step", -1))
    kept = scratch / "checkpoints"
    cut(kept / (kept / "LATEST").read_text() / "tensors.safetensors")
    yard.goes_on()
    assert '"event": "resumed"' in (yard.place.study / "runs" / "net" / "log.jsonl").read_text()
    yard.tell("the checkpoint before it is gone on from, to the same weights; exit 0")


@case("learning curve cut while training")
def scratch_log_cut(yard: Yard) -> None:
    scratch = stopped(yard, yard.moment("step", "step", -1))
    log = (scratch / "log.jsonl").read_bytes()
    (scratch / "log.jsonl").write_bytes(log[: log.rindex(b'"epoch"') + 3])
    ended = yard.place.compare()
    assert ended.code == DONE, ended.text
    other = [name for name in yard.small.whole.differs(yard.place.study) if name != "curves"]
    assert other == [] and left(yard.place.study) == []
    assert curves(yard.place.study)["runs/net"][-1] == yard.small.whole.curves["runs/net"][-1]
    yard.tell("the torn line is left out of the curve; the numbers are the same; exit 0")


@case("learning curve of a finished contestant cut")
def log_cut(yard: Yard) -> None:
    cut(yard.finished().place.study / "runs" / "net" / "log.jsonl", 0.9)
    ended = yard.place.compare()
    assert ended.code == DONE, ended.text
    assert [name for name in yard.small.whole.differs(yard.place.study) if name != "curves"] == []
    yard.tell("the torn line is left out of the curve; exit 0")


#: Files that are made again by themselves, or named so that people can act: exit code, and what to do ("" for nothing).
DAMAGED = {
    "runs/net/scores.json": (DONE, ""),
    "comparison.json": (DONE, ""),
    "suspects.json": (DONE, ""),
    "findings.json": (DONE, ""),
    "source.json": (DONE, ""),
    "environment.json": (DONE, ""),
    "report.html": (DONE, ""),
    "measures.parquet": (DONE, ""),
    "causes.json": (DONE, ""),
    "kinds.json": (DONE, ""),
    "slices.json": (DONE, ""),
    "scores.json": (DONE, ""),
    "manifest.parquet": (DATA, "delete"),
    "study.toml": (USAGE, "restore"),
    "classes.toml": (USAGE, "restore"),
    "runs/net/settings.toml": (DATA, "delete"),
    "runs/net/predictions.parquet": (DATA, "delete"),
    "runs/net/cost.json": (DATA, "delete"),
}


@pytest.mark.parametrize("name", DAMAGED, ids=lambda name: f"{name.removeprefix('runs/net/')} cut")
def test_damaged(name: str, yard: Yard) -> None:
    path = yard.finished().place.study / name
    whole = path.read_bytes()
    cut(path, 0.55)
    left_over = path.read_bytes()
    code, what = DAMAGED[name]
    ended = yard.place.compare()
    if not what:
        assert ended.code == DONE, ended.text
        yard.goes_on()
        yard.tell("made again; exit 0")
        return
    said = yard.ends(ended, code, path.name)
    if what == "delete":
        assert "Delete" in said or "delete" in said, said
        path.unlink()
    else:
        assert "Correct that line" in said, said
        assert path.read_bytes() == left_over, "what people may have written is not written over"
        path.write_bytes(whole)
    yard.goes_on()
    yard.tell(f"… {path.name} is named as damaged, with what to do ({what} it); then the same numbers; exit {code}")


@case("model.safetensors cut")
def model_cut(yard: Yard) -> None:
    run = yard.finished().place.study / "runs" / "net"
    cut(run / "model" / "model.safetensors")
    (run / "predictions.parquet").unlink()
    said = yard.ends(yard.place.compare(), PARTLY, "net: failed.", "model is damaged", "Delete model and run the same")
    assert said
    shutil.rmtree(run / "model")
    yard.goes_on()
    yard.tell("net: failed. … runs/net/model is damaged …. Delete model and run the same `fieldguide compare` again; exit 3")


@pytest.mark.parametrize("name", CASES, ids=str)
def test_faults(name: str, yard: Yard) -> None:
    CASES[name](yard)
