"""Group T4: archives made to write where they should not, to fill the disk, or to never end.

The rule is the same for all: an archive with one dangerous entry is refused whole, the entry is named, the exit code is 5,
and the folder that was to hold its content is gone. Every case lists the whole tree round the target before and after.
"""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.torture.shell import Said, Shell, in_its_own, in_process, tree

from fieldguide.errors import DATA, DONE

pytestmark = pytest.mark.torture("T4", "Archives")

#: A refusal may take so long, libraries loaded, and so much memory: bytes, of a process that does nothing else.
SECONDS, MEMORY = 60.0, 400 << 20


@dataclass
class Yard:
    """A place to be attacked: ``in/`` holds archives, ``scratch/`` is where temporary folders go, the rest is to stay as it is."""

    root: Path
    shell: Shell
    told: Callable[[str], None]

    def archive(self, name: str) -> Path:
        """Return where an archive is written."""
        return self.root / "a" / "b" / "in" / name

    def refused(self, archive: Path, *words: str, alone: bool = False) -> Said:
        """Look at `archive`; expect that it is refused by name, with `words`, and that nothing lies anywhere that was not there."""
        before = tree(self.root)
        said = (in_its_own if alone else self.shell)("look", archive)
        assert said.code == DATA
        assert tree(self.root) == before
        for word in (archive.name, *words):
            assert word in said.text, said.text
        return said


@pytest.fixture
def yard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, told: Callable[[str], None]
) -> Yard:
    for folder in ("a/b/in", "a/b/scratch"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "a" / "victim.jpg").write_bytes(b"as it was")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "a" / "b" / "scratch"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path / "a" / "b")
    return Yard(tmp_path, in_process(capsys, monkeypatch), told)


def picture(seed: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


#: What an honest archive holds: two classes of three pictures.
GOOD = {f"{label}/{number}.png": picture(3 * at + number) for at, label in enumerate(("cat", "dog")) for number in range(3)}

Entry = tuple[str | tarfile.TarInfo, bytes]


def make_tar(path: Path, entries: Iterable[Entry], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as made:  # type: ignore[call-overload]
        for name, data in (*GOOD.items(), *entries):
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(data)
            made.addfile(info, io.BytesIO(data) if data else None)
    return path


def make_zip(path: Path, entries: Iterable[tuple[str, bytes]], mode: int = 0, packed: int = zipfile.ZIP_DEFLATED) -> Path:
    """`mode` is the Unix file type of the added entries."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in (*GOOD.items(), *entries):
            info = zipfile.ZipInfo(name)
            info.filename = info.orig_filename = name  # as given, with backslashes
            info.compress_type = zipfile.ZIP_DEFLATED if name in GOOD else packed
            if mode and name not in GOOD:
                info.create_system, info.external_attr = 3, (mode | 0o777) << 16
            made.writestr(info, data)
    return path


def member(kind: bytes, name: str, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o777
    return info, b""


CASES: dict[str, Callable[[Yard], None]] = {}


def case(name: str) -> Callable[[Callable[[Yard], None]], Callable[[Yard], None]]:
    def keep(run: Callable[[Yard], None]) -> Callable[[Yard], None]:
        CASES[name] = run
        return run

    return keep


@case("../ member")
def parent(yard: Yard) -> None:
    assert yard.shell("look", make_zip(yard.archive("honest.zip"), [])).code == DONE
    for depth in range(1, 7):
        name = "../" * depth + "evil.jpg"
        yard.refused(make_zip(yard.archive("p.zip"), [(name, picture(9))]), name, "leads out of the archive")
        yard.refused(make_tar(yard.archive("p.tar"), [(name, picture(9))]), name, "leads out of the archive")
    said = yard.refused(make_tar(yard.archive("p.tgz"), [("cat/../../../evil.jpg", picture(9))], "w:gz"), "leads out")
    before = tree(yard.root)
    said = yard.shell("compare", yard.archive("p.zip"), "majority", "--out", yard.root / "study")
    assert said.code == DATA and "leads out of the archive" in said.text
    left = [name for name, *_ in tree(yard.root) if name not in {name for name, *_ in before}]
    assert not [name for name in left if name.endswith((".jpg", ".png"))] and all(name.startswith("study") for name in left)
    yard.told("p.zip is refused: ../evil.jpg leads out of the archive; zip, tar and tar.gz, look and compare; exit 5")


@case("absolute path")
def absolute(yard: Yard) -> None:
    for name in (f"{yard.root}/evil.jpg", "//evil.jpg", f"{yard.root}/a/victim.jpg"):
        yard.refused(make_zip(yard.archive("p.zip"), [(name, picture(9))]), name, "is an absolute path")
        yard.refused(make_tar(yard.archive("p.tar"), [(name, picture(9))]), "is an absolute path")
    assert (yard.root / "a" / "victim.jpg").read_bytes() == b"as it was"
    yard.told("p.zip is refused: /…/evil.jpg is an absolute path; zip and tar; exit 5")


@case("drive letter")
def drive(yard: Yard) -> None:
    for name in ("C:\\evil.jpg", "c:evil.jpg", "C:/evil.jpg"):
        yard.refused(make_zip(yard.archive("p.zip"), [(name, picture(9))]), name, "is an absolute path")
        yard.refused(make_tar(yard.archive("p.tar"), [(name, picture(9))]), name, "is an absolute path")
    yard.refused(make_zip(yard.archive("p.zip"), [("cat\\..\\..\\evil.jpg", picture(9))]), "has a backslash")
    yard.told("p.zip is refused: C:\\evil.jpg is an absolute path; zip and tar; exit 5")


@case("symlink member")
def symlink(yard: Yard) -> None:
    for target in (str(yard.root / "a" / "victim.jpg"), "../../../../victim.jpg", "0.png"):
        yard.refused(
            make_tar(yard.archive("p.tar"), [member(tarfile.SYMTYPE, "cat/link.jpg", target)]), "cat/link.jpg is a link"
        )
        zipped = make_zip(yard.archive("p.zip"), [("cat/link.jpg", target.encode())], stat.S_IFLNK)
        yard.refused(zipped, "cat/link.jpg is a link or a device, not a file")
    yard.told("p.tar is refused: cat/link.jpg is a link or a device, not a file; also where it points inside; exit 5")


@case("hardlink member")
def hardlink(yard: Yard) -> None:
    for target in (str(yard.root / "a" / "victim.jpg"), "../../../../victim.jpg", "cat/0.png"):
        entries = [member(tarfile.LNKTYPE, "cat/hard.jpg", target)]
        yard.refused(make_tar(yard.archive("p.tar"), entries), "cat/hard.jpg is a link or a device")
    assert (yard.root / "a" / "victim.jpg").stat().st_nlink == 1
    yard.told("p.tar is refused: cat/hard.jpg is a link or a device, not a file (zip has no hard links); exit 5")


@case("device or fifo member")
def device(yard: Yard) -> None:
    for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
        yard.refused(make_tar(yard.archive("p.tar"), [member(kind, "cat/dev.jpg")]), "cat/dev.jpg is a link or a device")
    for mode in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK):
        yard.refused(make_zip(yard.archive("p.zip"), [("cat/dev.jpg", b"")], mode), "cat/dev.jpg is a link or a device")
    yard.told("p.tar is refused: cat/dev.jpg is a link or a device, not a file; character, block, fifo, socket; exit 5")


@case("symlink, then a file through it")
def through(yard: Yard) -> None:
    out = str(yard.root / "a")
    plans: list[list[Entry]] = [
        [member(tarfile.SYMTYPE, "cat/out", out), ("cat/out/evil.jpg", picture(9))],
        [member(tarfile.SYMTYPE, "cat/victim.jpg", f"{out}/victim.jpg"), ("cat/victim.jpg", picture(9))],
        # The shape of CVE-2025-4517: names that a resolver gives up on, so that the last step is not checked.
        [*_deep(yard), ("cat/flag", picture(9))],
    ]
    for entries in plans:
        yard.refused(make_tar(yard.archive("p.tar"), entries), "is a link or a device")
    with zipfile.ZipFile(yard.archive("p.zip"), "w") as made:
        info = zipfile.ZipInfo("cat/out")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        made.writestr(info, out)
        made.writestr("cat/out/evil.jpg", picture(9))
    yard.refused(yard.archive("p.zip"), "cat/out is a link")
    # The order the other way round, and no link at all where one was announced: the folder and the file clash.
    yard.refused(
        make_tar(yard.archive("p.tar"), [("cat/x", picture(9)), ("cat/x/evil.jpg", picture(8))]), "a file and a folder"
    )
    assert (yard.root / "a" / "victim.jpg").read_bytes() == b"as it was"
    yard.told("p.tar is refused at the link, before the file behind it; also links too deep to resolve; exit 5")


def _deep(yard: Yard) -> list[Entry]:
    """Return a chain of long folders and links whose resolved path is longer than the system allows."""
    folder, entries, here = "d" * 200, [], "cat"
    for letter in "abcdefghijklmnop":
        entries += [member(tarfile.DIRTYPE, f"{here}/{folder}"), member(tarfile.SYMTYPE, f"{here}/{letter}", folder)]
        here = f"{here}/{folder}"
    chain = "cat/" + "/".join("abcdefghijklmnop")
    entries += [
        member(tarfile.SYMTYPE, f"{chain}/{'l' * 200}", "../" * 16),
        member(tarfile.SYMTYPE, "cat/escape", f"{chain}/{'l' * 200}/../../.."),
        member(tarfile.LNKTYPE, "cat/flag", "cat/escape/victim.jpg"),
    ]
    return list(entries)


@case("zip bomb")
def bomb(yard: Yard) -> None:
    zeros = bytes(1 << 20)
    ratio = zipfile.ZipFile(yard.archive("ratio.zip"), "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with ratio, ratio.open("cat/zeros.bmp", "w") as stream:
        for _ in range(210):
            stream.write(zeros)
    said = [yard.refused(yard.archive("ratio.zip"), "times as large as the archive (a bomb)", alone=True)]
    with zipfile.ZipFile(yard.archive("overlap.zip"), "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("cat/kernel.bmp", zeros)
    _repeat_entries(yard.archive("overlap.zip"), 2_000)
    yard.refused(yard.archive("overlap.zip"), "times as large as the archive (a bomb)")
    _claim(make_zip(yard.archive("huge.zip"), [(f"cat/{n}.bmp", b"x") for n in range(60)]), (1 << 32) - 2)
    yard.refused(yard.archive("huge.zip"), "goes beyond 215 GB of content")
    with zipfile.ZipFile(yard.archive("lies.zip"), "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("cat/zeros.bmp", zeros * 30)
    _claim(yard.archive("lies.zip"), 10)
    yard.refused(yard.archive("lies.zip"), "cannot be read")  # no more than it claims is inflated, and the checksum tells
    made_with_bzip2 = make_zip(yard.archive("bzip2.zip"), [("cat/zeros.bmp", zeros * 30)], packed=zipfile.ZIP_BZIP2)
    yard.refused(made_with_bzip2, "packed in another way than stored or deflated")
    with gzip.open(yard.archive("ratio.tar.gz"), "wb", compresslevel=1) as packed:
        info = tarfile.TarInfo("cat/zeros.bmp")
        info.size = 210 << 20
        packed.write(info.tobuf())
        for _ in range(210):
            packed.write(zeros)
        packed.write(bytes(1024))
    said.append(yard.refused(yard.archive("ratio.tar.gz"), "times as large as the archive (a bomb)", alone=True))
    with tarfile.open(yard.archive("header.tar"), "w", format=tarfile.PAX_FORMAT) as made_tar:
        info = tarfile.TarInfo("cat/1.jpg")
        info.pax_headers = {"comment": "x" * 30_000_000}
        made_tar.addfile(info)
    yard.refused(yard.archive("header.tar"), "headers of more than")
    bounded(said)
    yard.told(
        "ratio.zip is refused: its content … more than 100 times as large as the archive (a bomb), or goes beyond 215 GB; "
        "overlapping entries, sizes that lie, bzip2 inside zip, tar.gz and headers, too; exit 5"
    )


def _repeat_entries(path: Path, times: int) -> None:
    """Let one local file be named many times in the list of entries, as overlapping bombs do."""
    whole = path.read_bytes()
    at, end = whole.index(b"PK\x01\x02"), whole.index(b"PK\x05\x06")
    entries = b"".join(whole[at:end].replace(b"kernel", b"%06d" % number) for number in range(times))
    record = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, times, times, len(entries), at, 0)
    path.write_bytes(whole[:at] + entries + record)


def _claim(path: Path, size: int) -> None:
    """Let every entry claim that its content has `size` bytes."""
    whole = bytearray(path.read_bytes())
    at = whole.index(b"PK\x01\x02")
    while whole[at : at + 4] == b"PK\x01\x02":
        struct.pack_into("<L", whole, at + 24, size)
        at += 46 + sum(struct.unpack_from("<HHH", whole, at + 28))
    path.write_bytes(whole)


def bounded(said: Iterable[Said]) -> None:
    for one in said:
        assert one.seconds < SECONDS, one.seconds
        assert one.memory < MEMORY, one.memory


@case("nested archive")
def nested(yard: Yard) -> None:
    inner = make_zip(yard.archive("inner.zip"), []).read_bytes()
    before = tree(yard.root)
    said = yard.shell("look", make_zip(yard.archive("outer.zip"), [("cat/inner.zip", inner)]))
    assert said.code == DONE and "6 pictures, 6 usable, 2 classes" in said.text
    assert "cat/inner.zip: an archive inside the source, which is not opened" in said.text
    # A tar whose last file is a zip ends like a zip: it must not be taken for the archive inside it.
    said = yard.shell("look", make_tar(yard.archive("outer.tar"), [("dog/bird-a-1.zip", _other_zip(yard))]))
    assert said.code == DONE and "6 pictures, 6 usable, 2 classes" in said.text and "dog/bird-a-1.zip: an archive" in said.text
    # Without its extension it is a candidate, and its content says what it is.
    said = yard.shell("look", make_zip(yard.archive("outer.zip"), [("cat/inner", inner)]))
    assert said.code == DONE and "cat/inner: not a picture: a zip archive" in said.text
    for path in yard.archive("x").parent.glob("outer.*"):
        path.unlink()
    assert tree(yard.root) == before
    with zipfile.ZipFile(yard.archive("only.zip"), "w") as made:
        made.writestr("inner.zip", inner)
    said = yard.refused(yard.archive("only.zip"), "holds no pictures, but an archive (inner.zip)", "Unpack inner.zip")
    yard.told("cat/inner.zip: an archive inside the source, which is not opened; the rest is used; with nothing else: exit 5")


def _other_zip(yard: Yard) -> bytes:
    with zipfile.ZipFile(yard.archive("other"), "w") as made:
        for label in ("ant", "bee", "fly"):
            made.writestr(f"{label}/1.png", picture(50))
    data = yard.archive("other").read_bytes()
    yard.archive("other").unlink()
    return data


@case("1,000,000 entries")
def million(yard: Yard) -> None:
    body = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, 9, 0) + b"cat/1.jpg"
    head = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0)
    entries = b"".join(head + b"cat/%07d" % number for number in range(1_000_000))
    said = []
    for honest in (True, False):
        # The honest one says in its old end record "see the new one"; the other says there that it has one entry of 57 bytes.
        old = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF) if honest else (1, 1, 57, len(body))
        new = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 10**6, 10**6, len(entries), len(body))
        locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(body) + len(entries), 1)
        path = yard.archive("honest.zip" if honest else "lies.zip")
        path.write_bytes(body + entries + new + locator + struct.pack("<4s2H2H2LH", b"PK\x05\x06", 0, 0, *old, 0))
        said.append(yard.refused(path, "it has more entries than the limit of 500,000", alone=True))
        path.unlink()
    said += [_million_in_tar(yard)]
    bounded(said)
    yard.told(
        "honest.zip is refused: it has more entries than the limit of 500,000; counted before anything is unpacked, in zip "
        f"(also with a lying end record) and tar; exit 5 within {SECONDS:.0f} s and {MEMORY >> 20} MiB"
    )


def _million_in_tar(yard: Yard) -> Said:
    info = tarfile.TarInfo("cat/x.jpg")
    thousand = info.tobuf(tarfile.USTAR_FORMAT) * 1_000
    with open(yard.archive("p.tar"), "wb") as stream:
        for _ in range(1_000):
            stream.write(thousand)
        stream.write(bytes(1024))
    try:
        return yard.refused(yard.archive("p.tar"), "it has more entries than the limit of 500,000", alone=True)
    finally:
        yard.archive("p.tar").unlink()


assert len(CASES) == 10


@pytest.mark.parametrize("name", CASES, ids=str)
def test_archives(name: str, yard: Yard) -> None:
    CASES[name](yard)
