"""Damage that Pillow does not report: what is decoded from such a file is partly invented."""

from __future__ import annotations

import zlib

from fieldguide.errors import PictureError

TRUNCATED = "truncated"
BROKEN = "broken"

#: Zero bytes in a row, inside a JPEG's coded pixels, that are called a hole. Disks and downloads lose blocks of 512 or more.
_HOLE = bytes(512)
_SOF_BASELINE = (0xC0, 0xC1)
_SOF_OTHERS = (0xC2, 0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))


def check(data: bytes, kind: str) -> None:
    """Raise `PictureError` (truncated or broken) where the bytes of a file of format `kind` show damage."""
    if kind == "PNG":
        _check_png(data)
    elif kind == "JPEG":
        _check_jpeg(data)
    elif kind == "WEBP" and int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise PictureError(TRUNCATED, "the file ends before the picture does")


def _check_png(data: bytes) -> None:
    """Walk the chunks: Pillow neither verifies the checksum of pixel data nor minds a missing end (PNG specification, 5.3)."""
    view, at = memoryview(data), 8
    while at + 12 <= len(data):
        length = int.from_bytes(view[at : at + 4], "big")
        name = bytes(view[at + 4 : at + 8])
        end = at + 8 + length
        if end + 4 > len(data):
            break
        critical = not name[0] & 0x20
        if critical and zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise PictureError(BROKEN, f"the checksum of its {name.decode('ascii', 'backslashreplace')} part is wrong")
        if name == b"IEND":
            return
        at = end + 4
    raise PictureError(TRUNCATED, "the file ends before the picture does")


def _check_jpeg(data: bytes) -> None:
    """Find holes of zeros in a baseline JPEG, which decode to smooth nonsense without an error (ITU-T T.81, Annex F).

    A flat area can be coded by zeros alone, but only if the code of all zeros means "no change" in every Huffman table; the
    code of all zeros belongs to a table's first symbol. Progressive files, which code in bands, are not judged.
    """
    at, first_symbols, baseline = 2, set(), False
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:
            at += 1
            continue
        if marker in _SOF_OTHERS:
            return
        baseline = baseline or marker in _SOF_BASELINE
        if marker == 0xC4:
            first_symbols |= _first_symbols(data[at + 4 : at + 2 + length])
        at += 2 + length
        if marker == 0xDA:
            break
    if not baseline or first_symbols <= {0}:
        return
    end = data.find(b"\xff\xd9", at)
    hole = data.find(_HOLE, at, end if end >= 0 else len(data))
    if hole >= 0:
        raise PictureError(BROKEN, f"a hole of zeros inside the picture, from byte {hole:,}")


def _first_symbols(tables: bytes) -> set[int]:
    """Return the first symbol of each Huffman table in one DHT segment."""
    symbols, at = set(), 0
    while at + 17 < len(tables):
        symbols.add(tables[at + 17])
        at += 17 + sum(tables[at + 1 : at + 17])
    return symbols
