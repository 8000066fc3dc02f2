"""Damage that Pillow does not report: what is decoded from such a file is partly invented."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from fieldguide.errors import PictureError

TRUNCATED = "truncated"
BROKEN = "broken"

#: Zero bytes in a row, inside a JPEG's coded pixels, that are called a hole. Disks and downloads lose blocks of 512 or more.
_HOLE = bytes(512)
_SOF_BASELINE = (0xC0, 0xC1)
_SOF_OTHERS = (0xC2, 0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_SOS, _DHT = 0xDA, 0xC4
#: Parts a PNG or a JPEG header may have: a whole file has some thousands, and each costs Pillow microseconds.
MOST_PARTS = 50_000
#: Bytes between the segments of a JPEG header, which Pillow passes over one by one.
MOST_JUNK = 1_000_000


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """What the header of a JPEG says about the work of decoding it.

    `area` is in pixels, `scans` is at least 1 (a baseline JPEG is read in one go), `coefficient_bytes` is what a decoder must keep
    of a picture that is coded in several passes, at two bytes a coefficient.
    """

    area: int
    scans: int
    coefficient_bytes: int


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
    view, at, parts = memoryview(data), 8, 0
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
        parts += 1
        if parts > MOST_PARTS:
            raise PictureError(BROKEN, f"it has more than {MOST_PARTS:,} parts")
        at = end + 4
    raise PictureError(TRUNCATED, "the file ends before the picture does")


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, end) of the segments of a JPEG's header, the start of scan last (ITU-T T.81, Annex B).

    Bytes between segments are passed over, as Pillow does. Raises `PictureError` (broken) where there are too many of either.
    """
    at, parts, junk = 2, 0, 0
    while at + 4 <= len(data):
        found = data.find(b"\xff", at)
        junk += (len(data) if found < 0 else found) - at
        if found < 0 or found + 4 > len(data):
            return
        at, marker = found, data[found + 1]
        parts += 1
        if parts > MOST_PARTS or junk > MOST_JUNK:
            raise PictureError(BROKEN, f"its header has more than {MOST_PARTS:,} parts, or {MOST_JUNK:,} bytes between them")
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:  # fill, or a marker without a body
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, at + 4, end
        if marker == _SOS:
            return
        at = end


def jpeg_frame(data: bytes) -> JpegFrame:
    """Read size, sampling and number of scans of a JPEG; a header that cannot be read gives zeros."""
    area, scans, coefficients, parts, passes = 0, 1, 0, 0, False
    for marker, start, end in jpeg_segments(data):
        if marker in _SOF_BASELINE or marker in _SOF_OTHERS:
            height, width, parts = (
                int.from_bytes(data[start + 1 : start + 3], "big"),
                int.from_bytes(data[start + 3 : start + 5], "big"),
                data[start + 5],
            )
            factors = [divmod(value, 16) for value in data[start + 7 : min(end, start + 6 + 3 * parts) : 3]]
            full = max((across for across, _ in factors), default=1) * max((down for _, down in factors), default=1)
            area, passes = height * width, marker in _SOF_OTHERS
            coefficients = 2 * area * sum(across * down for across, down in factors) // max(full, 1)
        elif marker == _SOS and area:
            passes = passes or data[start] < parts
            if passes:
                last = data.rfind(b"\xff\xd9")
                scans += data.count(b"\xff\xda", end, last if last > end else len(data))
    return JpegFrame(area, scans, coefficients if passes else 0)


def _check_jpeg(data: bytes) -> None:
    """Find holes of zeros in a baseline JPEG, which decode to smooth nonsense without an error (ITU-T T.81, Annex F).

    A flat area can be coded by zeros alone, but only if the code of all zeros means "no change" in every Huffman table; the
    code of all zeros belongs to a table's first symbol. Progressive files, which code in bands, are not judged.
    """
    first_symbols: set[int] = set()
    baseline, at = False, len(data)
    for marker, start, end in jpeg_segments(data):
        if marker in _SOF_OTHERS:
            return
        baseline = baseline or marker in _SOF_BASELINE
        if marker == _DHT:
            first_symbols |= _first_symbols(data[start:end])
        at = end
    if not baseline or first_symbols <= {0}:
        return
    hole = data.find(_HOLE, at)
    # The end marker is looked for only where there are zeros: it takes longer to find than they do.
    if hole >= 0 and data.find(b"\xff\xd9", at, hole) < 0:
        raise PictureError(BROKEN, f"a hole of zeros inside the picture, from byte {hole:,}")


def _first_symbols(tables: bytes) -> set[int]:
    """Return the first symbol of each Huffman table in one DHT segment."""
    symbols, at = set(), 0
    while at + 17 < len(tables):
        symbols.add(tables[at + 17])
        at += 17 + sum(tables[at + 1 : at + 17])
    return symbols
