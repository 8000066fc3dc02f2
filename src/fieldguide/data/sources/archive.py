"""Zip and tar archives, unpacked by a loop that trusts nothing they say.

An archive is taken whole or refused whole: one entry that is no plain file or folder inside it, and nothing of it is used.
Only regular files and folders are written, entry by entry, below one new folder that takes its name when all is well. The
library's own `extractall` filters are not used: Python's ``data`` filter alone was bypassed (CVE-2025-4517). No path is ever
built through a link, because no link is ever made. Archives inside archives stay closed.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import re
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from fieldguide.data.sources.common import litter, scan
from fieldguide.errors import DataProblem, plain
from fieldguide.files import building

#: Entries an archive may have.
MOST_ENTRIES = 500_000
#: Bytes its content may have.
MOST_UNPACKED = 200 << 30
#: How much larger the content may be than the archive, once it is larger than `RATIO_FROM`. Pictures are compressed already:
#: usual is about 1.
MOST_RATIO, RATIO_FROM = 100, 200 << 20
#: Bytes a zip's list of entries may have; it is held in memory.
MOST_DIRECTORY = 96 << 20
#: Bytes that a tar may spend on the headers of one entry; they, too, are held in memory.
MOST_HEADERS = 4 << 20
#: Bytes of one name in a path.
_MOST_NAME = 255
#: Types of tar headers that belong to the entry after them: long names and extended attributes.
_TAR_EXTRAS = (
    *tarfile.XHDTYPE,
    *tarfile.XGLTYPE,
    *tarfile.SOLARIS_XHDTYPE,
    *tarfile.GNUTYPE_LONGNAME,
    *tarfile.GNUTYPE_LONGLINK,
)
_CHUNK = 1 << 20
_ARCHIVE_ENDS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    NotImplementedError,
    RuntimeError,
    # What the libraries raise, rather than their own errors, on bytes that a fuzzer made up.
    ValueError,
    IndexError,
    OverflowError,
    struct.error,
)


def is_archive(path: Path) -> bool:
    """Tell by its name whether `path` is an archive."""
    return path.name.lower().endswith(_ARCHIVE_ENDS)


def unpacked(archive: Path, unpack_to: Path) -> Path:
    """Return the folder that holds what is in `archive`: unpacked below `unpack_to`, unless that was done before."""
    target = unpack_to / f"archive-{file_hash(archive)[:16]}"
    if not target.is_dir():
        unpack(archive, target)
    return _single_folder(target)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces; raises `DataProblem` where it cannot be opened."""
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataProblem(
            f"{plain(path)} cannot be opened: {error.strerror}.", "A file that you may read.", "Change its permissions."
        ) from error


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip or tar archive into the new folder `target`, whole or not at all.

    Raises `DataProblem` that names the entry where one is not a plain file inside the archive, where limits are passed, or
    where the archive is damaged.
    """
    with building(target) as folder:
        blind = os.path.exists(folder.with_name(folder.name.swapcase()))
        writer = _Writer(folder, archive.name, archive.stat().st_size, blind)
        try:
            if _is_zip(archive):
                _unpack_zip(archive, writer)
            else:
                _unpack_tar(archive, writer)
        except _DAMAGE as error:
            raise DataProblem(
                f"The archive {plain(archive.name)} cannot be read: {plain(error) or type(error).__name__}.",
                "Zip, tar, tar.gz, tar.bz2 and tar.xz archives without a password.",
                "Fetch it again, or unpack it yourself and give the folder.",
            ) from error


def _is_zip(archive: Path) -> bool:
    """Tell a zip from a tar. By its beginning: a tar whose last file is a zip ends like one, and is none."""
    with open(archive, "rb") as stream:
        start = stream.read(4)
    return start in (b"PK\x03\x04", b"PK\x05\x06") or (archive.suffix.lower() == ".zip" and zipfile.is_zipfile(archive))


def _unpack_zip(archive: Path, writer: _Writer) -> None:
    with open(archive, "rb") as raw:
        watched = _Watched(raw, writer)
        with zipfile.ZipFile(cast("IO[bytes]", watched)) as opened:
            watched.opening = False
            entries = opened.infolist()
            writer.check_total(sum(info.file_size for info in entries), "its content, by its own words,")
            for info in entries:
                name = _zip_name(info)
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise writer.refuse(name, "is a link or a device, not a file")
                if info.flag_bits & 1:
                    raise writer.refuse(name, "is protected with a password")
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    # The library inflates bzip2 and LZMA in one piece: 4 KB of it can be 4 GB in memory.
                    raise writer.refuse(name, "is packed in another way than stored or deflated")
                path = writer.place(name, folder=name.endswith("/"))
                if not name.endswith("/"):
                    with opened.open(info) as stream:
                        writer.write(path, stream, name)


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the whole name of an entry, as it was written.

    Names that are not marked as UTF-8 are CP437 by the book, but several systems write UTF-8 without the mark. Names in other
    legacy encodings come out in the wrong letters, and each still as itself.
    """
    if not info.flag_bits & 0x800:
        try:
            return info.orig_filename.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return info.orig_filename


@dataclass
class _Watched:
    """The file of a zip. What the library is about to take for the list of entries is measured before it makes objects of it.

    It is measured here and not from the end records, of which there are several: a zip can hold one for us and one for the library.
    """

    stream: IO[bytes]
    writer: _Writer
    opening: bool = True

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes."""
        if self.opening and size > MOST_DIRECTORY:
            raise self.writer.refuse(
                "its list of entries", f"has {size / 1e6:.0f} MB, the limit is {MOST_DIRECTORY / 1e6:.0f} MB"
            )
        data = self.stream.read(size)
        if self.opening:
            self._count(data)
        return data

    def _count(self, directory: bytes) -> None:
        at = entries = 0
        while directory[at : at + 4] == b"PK\x01\x02" and at + 46 <= len(directory):
            entries += 1
            if entries > MOST_ENTRIES:
                raise self.writer.too_many()
            at += 46 + sum(struct.unpack_from("<HHH", directory, at + 28))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, as a file does."""
        try:
            return self.stream.seek(offset, whence)
        except OSError as error:
            if self.opening:  # the library tries whether the file is long enough
                raise
            raise zipfile.BadZipFile("an entry lies outside of the file") from error

    def tell(self) -> int:
        """Return the place, as a file does."""
        return self.stream.tell()

    def seekable(self) -> bool:
        """Say yes, as a file does."""
        return True


def _unpack_tar(archive: Path, writer: _Writer) -> None:
    with open(archive, "rb") as raw:
        _count_tar(_Counted(_decompressed(raw), writer), writer)
        raw.seek(0)
        counted = _Counted(_decompressed(raw), writer)
        with tarfile.open(fileobj=cast("IO[bytes]", counted), mode="r|") as opened:
            for member in opened:
                counted.headers = None
                if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
                    raise writer.refuse(member.name, "is a link or a device, not a file")
                path = writer.place(member.name, folder=member.isdir())
                stream = opened.extractfile(member)
                if stream is not None:
                    writer.write(path, stream, member.name)
                counted.headers = 0
        # The library takes a tar that was cut between two files for a whole one.
        counted.headers = None
        while counted.read(_CHUNK):
            pass
        if counted.tail != bytes(tarfile.BLOCKSIZE):
            raise EOFError("it ends before its end mark")


def _count_tar(counted: _Counted, writer: _Writer) -> None:
    """Refuse a tar of too many entries before anything of it is written. What is damaged is left to the library to name."""
    entries, counted.headers = 0, None
    while len(block := counted.read(tarfile.BLOCKSIZE)) == tarfile.BLOCKSIZE and block.strip(b"\0"):
        entries += block[156] not in _TAR_EXTRAS
        if entries > MOST_ENTRIES:
            raise writer.too_many()
        try:
            sizes = block[124:136]
            size = int.from_bytes(sizes[1:], "big") if sizes[0] & 0x80 else int(sizes.strip(b" \0") or b"0", 8)
        except ValueError:
            return
        counted.skip(-(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)


def _decompressed(raw: IO[bytes]) -> IO[bytes]:
    start = raw.read(6)
    raw.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    if start.startswith(b"BZh"):
        return cast("IO[bytes]", bz2.BZ2File(raw))
    if start.startswith(b"\xfd7zXZ\x00"):
        return cast("IO[bytes]", lzma.LZMAFile(raw))
    return raw


@dataclass
class _Counted:
    """A stream that refuses to grow beyond the limits: headers of a tar can be bombs, too.

    `headers` are the bytes that were read since the last entry, or `None` while they are not headers.
    """

    stream: IO[bytes]
    writer: _Writer
    headers: int | None = 0
    read_so_far: int = 0
    tail: bytes = b""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes."""
        try:
            data = self.stream.read(size)
        except OSError as error:  # also what a damaged bzip2 stream raises; errors of the disk that is written to are others
            raise tarfile.ReadError(error.strerror or str(error)) from error
        self.read_so_far += len(data)
        self.tail = (self.tail + data[-tarfile.BLOCKSIZE :])[-tarfile.BLOCKSIZE :]
        self.writer.check_total(self.read_so_far, "its content")
        if self.headers is not None:
            self.headers += len(data)
            if self.headers > MOST_HEADERS:
                raise self.writer.refuse("an entry", f"has headers of more than {MOST_HEADERS / 1e6:.0f} MB")
        return data

    def skip(self, size: int) -> None:
        """Pass over `size` bytes."""
        if isinstance(self.stream, io.BufferedReader):
            self.stream.seek(min(size, MOST_UNPACKED), os.SEEK_CUR)
            return
        while size > 0 and (data := self.read(min(size, _CHUNK))):
            size -= len(data)


@dataclass
class _Writer:
    """Writes entries below `folder` and keeps count; the only code here that creates anything.

    `blind` says that the disk does not tell upper from lower case.
    """

    folder: Path
    archive: str
    archive_bytes: int
    blind: bool = False
    entries: int = 0
    written: int = 0
    files: set[str] = field(default_factory=set)
    folders: dict[str, str] = field(default_factory=dict)

    def refuse(self, entry: str, why: str) -> DataProblem:
        """Return the error that names the entry."""
        return DataProblem(
            f"The archive {plain(self.archive)} is refused: {plain(entry)} {why}.",
            "An archive may hold plain files and folders with relative names. Nothing of it was unpacked.",
            "Unpack it yourself where you trust it, and give the folder.",
        )

    def too_many(self) -> DataProblem:
        """Return the error for an archive of more than `MOST_ENTRIES` entries."""
        return self.refuse("it", f"has more entries than the limit of {MOST_ENTRIES:,}")

    def place(self, name: str, *, folder: bool) -> Path:
        """Return where the entry `name` goes; folders are made. Raises where the name does not stay inside."""
        self.entries += 1
        if self.entries > MOST_ENTRIES:
            raise self.too_many()
        if name.startswith("/") or re.match(r"[A-Za-z]:", name):
            raise self.refuse(name, "is an absolute path")
        if "\\" in name or "\0" in name:
            raise self.refuse(name, "has a backslash or a zero byte in its name")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise self.refuse(name, "leads out of the archive")
        if any(len(os.fsencode(part)) > _MOST_NAME for part in parts):
            raise self.refuse(name, f"has a name of more than {_MOST_NAME} bytes")
        if self.blind:
            self._one_spelling(parts if folder else parts[:-1], name)
        path = self.folder.joinpath(*parts)
        try:
            (path if folder else path.parent).mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise self.refuse(name, "is a file and a folder at once") from error
        if not folder and (not parts or "/".join(parts) in self.files or path.is_dir()):
            raise self.refuse(name, "is there twice")
        self.files.add("/".join(parts))
        return path

    def _one_spelling(self, parts: list[str], name: str) -> None:
        """Raise where two folders would become one: the pictures of two classes would lie in one folder."""
        for end in range(1, len(parts) + 1):
            here = "/".join(parts[:end])
            first = self.folders.setdefault(unicodedata.normalize("NFC", here).casefold(), here)
            if first != here:
                raise self.refuse(name, f"and {plain(first)} are one folder on a disk that does not tell upper from lower case")

    def write(self, path: Path, stream: IO[bytes], name: str) -> None:
        """Copy one entry in pieces and check the limits after each."""
        try:
            target = open(path, "xb")  # noqa: SIM115 - closed below, where its errors are the disk's
        except FileExistsError as error:
            raise self.refuse(name, "is there twice, on a disk that does not tell upper from lower case") from error
        with target:
            while piece := stream.read(_CHUNK):
                self.written += len(piece)
                self.check_total(self.written, name)
                target.write(piece)

    def check_total(self, total: int, name: str) -> None:
        """Raise where the content grows beyond the limits."""
        if total > MOST_UNPACKED:
            raise self.refuse(name, f"goes beyond {MOST_UNPACKED / 1e9:.0f} GB of content")
        if total > RATIO_FROM and total > MOST_RATIO * self.archive_bytes:
            raise self.refuse(name, f"makes the content more than {MOST_RATIO} times as large as the archive (a bomb)")


def _single_folder(root: Path) -> Path:
    """Return the one folder that many archives wrap their content in, or `root`."""
    here = [entry for entry in scan(root) if litter(entry.name) is None]
    if len(here) == 1 and here[0].is_dir() and any(entry.is_dir() for entry in scan(here[0].path)):
        return Path(here[0].path)
    return root
