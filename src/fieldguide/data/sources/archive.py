"""Zip and tar archives, unpacked by a loop that trusts nothing they say.

Only regular files and folders are written, entry by entry, below one new folder that takes its name when all is well. The
library's own `extractall` filters are not used: Python's ``data`` filter alone was bypassed (CVE-2025-4517).
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from fieldguide.data.sources.common import Found, litter, scan
from fieldguide.data.sources.folder import read_folder
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
#: Bytes of one name in a path.
_MOST_NAME = 255
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
)


def is_archive(path: Path) -> bool:
    """Tell by its name whether `path` is an archive."""
    return path.name.lower().endswith(_ARCHIVE_ENDS)


def read_archive(archive: Path, unpack_to: Path, origin: str) -> Found:
    """Unpack `archive` below `unpack_to`, unless that was done before, and list it like a folder."""
    target = unpack_to / f"archive-{file_hash(archive)[:16]}"
    if not target.is_dir():
        unpack(archive, target)
    return read_folder(_single_folder(target), origin)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip or tar archive into the new folder `target`, whole or not at all.

    Raises `DataProblem` that names the entry where one is not a plain file inside the archive, where limits are passed, or
    where the archive is damaged.
    """
    with building(target) as folder:
        writer = _Writer(folder, archive.name, archive.stat().st_size)
        try:
            if zipfile.is_zipfile(archive):
                _unpack_zip(archive, writer)
            else:
                _unpack_tar(archive, writer)
        except _DAMAGE as error:
            raise DataProblem(
                f"The archive {plain(archive.name)} cannot be read: {plain(error) or type(error).__name__}.",
                "Zip, tar, tar.gz, tar.bz2 and tar.xz archives without a password.",
                "Fetch it again, or unpack it yourself and give the folder.",
            ) from error


def _unpack_zip(archive: Path, writer: _Writer) -> None:
    directory = _zip_directory_bytes(archive)
    if directory > MOST_DIRECTORY:
        raise writer.refuse("its list of entries", f"has {directory / 1e6:.0f} MB, the limit is {MOST_DIRECTORY / 1e6:.0f} MB")
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise writer.refuse(info.filename, "is a link or a device, not a file")
            if info.flag_bits & 1:
                raise writer.refuse(info.filename, "is protected with a password")
            path = writer.place(info.orig_filename, folder=info.is_dir())
            if not info.is_dir():
                with opened.open(info) as stream:
                    writer.write(path, stream, info.filename)


def _zip_directory_bytes(archive: Path) -> int:
    """Return the size of a zip's list of entries, from its end record, before the library reads the list into memory."""
    with open(archive, "rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - 65_557 - 20))
        tail = stream.read()
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) < at + 22:
            raise zipfile.BadZipFile("it has no end record")
        (directory,) = struct.unpack_from("<I", tail, at + 12)
        if directory == 0xFFFFFFFF and tail[at - 20 : at - 16] == b"PK\x06\x07":
            (offset,) = struct.unpack_from("<Q", tail, at - 12)
            stream.seek(min(offset, size))
            record = stream.read(56)
            if len(record) == 56:
                (directory,) = struct.unpack_from("<Q", record, 40)
    return int(directory)


def _unpack_tar(archive: Path, writer: _Writer) -> None:
    with open(archive, "rb") as raw:
        counted = _Counted(_decompressed(raw), writer)
        with tarfile.open(fileobj=cast("IO[bytes]", counted), mode="r|") as opened:
            for member in opened:
                if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
                    raise writer.refuse(member.name, "is a link or a device, not a file")
                path = writer.place(member.name, folder=member.isdir())
                stream = opened.extractfile(member)
                if stream is not None:
                    writer.write(path, stream, member.name)
        # The library takes a tar that was cut between two files for a whole one.
        while counted.read(_CHUNK):
            pass
        if counted.tail != bytes(tarfile.BLOCKSIZE):
            raise EOFError("it ends before its end mark")


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
    """A stream that refuses to grow beyond the limits: headers of a tar can be bombs, too."""

    stream: IO[bytes]
    writer: _Writer
    read_so_far: int = 0
    tail: bytes = b""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes."""
        data = self.stream.read(size)
        self.read_so_far += len(data)
        self.tail = (self.tail + data[-tarfile.BLOCKSIZE :])[-tarfile.BLOCKSIZE :]
        self.writer.check_total(self.read_so_far, "its content")
        return data


@dataclass
class _Writer:
    """Writes entries below `folder` and keeps count; the only code here that creates anything."""

    folder: Path
    archive: str
    archive_bytes: int
    entries: int = 0
    written: int = 0
    files: set[str] = field(default_factory=set)

    def refuse(self, entry: str, why: str) -> DataProblem:
        """Return the error that names the entry."""
        return DataProblem(
            f"The archive {plain(self.archive)} is refused: {plain(entry)} {why}.",
            "An archive may hold plain files and folders with relative names. Nothing of it was unpacked.",
            "Unpack it yourself where you trust it, and give the folder.",
        )

    def place(self, name: str, *, folder: bool) -> Path:
        """Return where the entry `name` goes; folders are made. Raises where the name does not stay inside."""
        self.entries += 1
        if self.entries > MOST_ENTRIES:
            raise self.refuse(name, f"is one entry too many: the limit is {MOST_ENTRIES:,}")
        if name.startswith("/") or re.match(r"[A-Za-z]:", name):
            raise self.refuse(name, "is an absolute path")
        if "\\" in name or "\0" in name:
            raise self.refuse(name, "has a backslash or a zero byte in its name")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise self.refuse(name, "leads out of the archive")
        if any(len(os.fsencode(part)) > _MOST_NAME for part in parts):
            raise self.refuse(name, f"has a name of more than {_MOST_NAME} bytes")
        path = self.folder.joinpath(*parts)
        try:
            (path if folder else path.parent).mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise self.refuse(name, "is a file and a folder at once") from error
        if not folder and (not parts or "/".join(parts) in self.files or path.is_dir()):
            raise self.refuse(name, "is there twice")
        self.files.add("/".join(parts))
        return path

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
