"""The one loader of the product: bytes of a file in, canonical pixels out, every conversion named.

Canonical pixels are upright, 8 bits a channel, sRGB-like RGB, alpha laid on white, first frame only. They depend on the
bytes and the wanted size and on nothing else: no file name, no order, no state of the process.

How values of more than 8 bits become 8 stands in `fieldguide.data.tones`, what a picture may cost in `fieldguide.data.bounds`.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import re
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from fieldguide.data import bounds, tones, wholeness
from fieldguide.errors import EnvironmentProblem, PictureError
from fieldguide.files import once_more
from fieldguide.records import Pixels

#: Codes of `PictureError`, as they stand in tables and reports.
EMPTY = "empty file"
NOT_A_PICTURE = "not a picture"
NOT_SUPPORTED = "format not supported"
TRUNCATED = wholeness.TRUNCATED
TOO_LARGE = bounds.TOO_LARGE
BROKEN = wholeness.BROKEN
NEEDS_HEIC = "needs heic extra"
MISSING = "missing file"
UNREADABLE = "unreadable file"

#: Formats that are decoded, by content. Nothing that interprets a program (EPS, PDF, WMF, SVG) is among them.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")

#: The longer side is at most this many times the wanted shorter side, so that one 1 x 60,000 strip cannot fill the memory.
MOST_ASPECT = 4
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION, _CHANGED, _EXIF, _TAKEN = 0x0112, 0x0132, 0x8769, 0x9003
_MOMENT = re.compile(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d")
_BITS_PER_SAMPLE = 258

#: First bytes of what is often found between pictures, so that the reason says what it is.
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", NOT_A_PICTURE, "a Git LFS pointer; fetch the files themselves with `git lfs pull`"),
    (b"%!PS", NOT_SUPPORTED, "PostScript is a program and is never run"),
    (b"\xc5\xd0\xd3\xc6", NOT_SUPPORTED, "PostScript is a program and is never run"),
    (b"%PDF", NOT_SUPPORTED, "a PDF document"),
    (b"\x00\x00\x00\x0cjP  ", NOT_SUPPORTED, "JPEG 2000"),
    (b"\xff\x4f\xff\x51", NOT_SUPPORTED, "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL ", NOT_SUPPORTED, "JPEG XL"),
    (b"\xff\x0a", NOT_SUPPORTED, "JPEG XL"),
    (b"8BPS", NOT_SUPPORTED, "a Photoshop document"),
    (b"\xd7\xcd\xc6\x9a", NOT_SUPPORTED, "a Windows metafile"),
    (b"\x00\x00\x01\x00", NOT_SUPPORTED, "a Windows icon"),
    (b"PK\x03\x04", NOT_A_PICTURE, "a zip archive"),
    (b"\x1f\x8b", NOT_A_PICTURE, "a gzip archive"),
    (b"\x1a\x45\xdf\xa3", NOT_A_PICTURE, "a video"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_AVIF_BRANDS = (b"avif", b"avis")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Canonical pixels and what was done to get them.

    `pixels` are uint8 RGB ``"height width 3"``. `width` and `height` are those of the upright original, in pixels.
    `notes` are stable codes, such as ``rotated by EXIF``, ``16-bit scaled``, ``first of 12 frames``. `taken` is the moment the
    camera wrote down, ``"YYYY:MM:DD HH:MM:SS"`` of its own clock, or `None`.
    """

    pixels: Pixels
    width: int
    height: int
    format: str
    notes: tuple[str, ...] = ()
    taken: str | None = None


def read_file(path: Path) -> bytes:
    """Return the bytes of a file; raises `PictureError` where it is missing, cannot be opened or is too large to be a picture.

    What may pass by itself is tried a second time: a hiccup of a network share must not change the list.
    """
    try:
        return once_more(lambda: _bytes_of(path))
    except FileNotFoundError:
        raise PictureError(MISSING, "there is no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in a path a table names
        raise PictureError(UNREADABLE, str(getattr(error, "strerror", None) or error)) from error


def _bytes_of(path: Path) -> bytes:
    size = path.stat().st_size
    if size > bounds.MOST_BYTES:
        raise PictureError(
            TOO_LARGE, f"the file has {size / 1e6:,.0f} MB; allowed: {bounds.MOST_BYTES / 1e6:,.0f} MB. Save it smaller"
        )
    return path.read_bytes()


def content_hash(data: bytes) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex characters: the name a picture has everywhere."""
    return hashlib.sha256(data).hexdigest()


def load(data: bytes, at_least: int | None, where: str = "") -> Loaded:
    """Decode the bytes of one picture file.

    The result's shorter side is `at_least` pixels, or the original's if that is smaller; its longer side is at most
    `MOST_ASPECT` times `at_least`, which shrinks very long pictures further. Nothing is upscaled. With `None` the picture
    keeps its size. Large JPEGs are reduced while they are decoded, so that they are never held at full size.

    Raises `PictureError` with one of the codes above; `where` (a name for people) is added to its detail.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise EnvironmentProblem(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES was switched on in this process.",
            "With it half a picture, filled with grey, passes for a whole one; fieldguide does not read pictures that way.",
            "Set it to False before you call fieldguide.",
        )
    try:
        kind = _recognise(data)
        bounds.check_bytes(data, kind)
        wholeness.check(data, kind)
        with _quiet:
            return _decode(data, kind, at_least)
    except PictureError as error:
        if where:
            raise PictureError(error.code, f"{error.detail} ({where})") from error
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise PictureError(TOO_LARGE, _reason(error, where)) from error
    except Exception as error:  # decoders raise whatever they like: ValueError, struct.error, IndexError ...
        short = isinstance(error, EOFError) or "truncated" in str(error).lower()
        raise PictureError(TRUNCATED if short else BROKEN, _reason(error, where)) from error


def final_size(width: int, height: int, at_least: int | None) -> tuple[int, int]:
    """Return (width, height) in pixels that `load` gives to a picture of `width` x `height`."""
    short, long = min(width, height), max(width, height)
    if at_least is None:
        return width, height
    if short > at_least:
        short, long = at_least, max(1, (long * at_least + short // 2) // short)
    if long > MOST_ASPECT * at_least:
        short, long = max(1, (short * MOST_ASPECT * at_least + long // 2) // long), MOST_ASPECT * at_least
    return (short, long) if width <= height else (long, short)


def _recognise(data: bytes) -> str:
    """Return the format the first bytes announce; raises `PictureError` for everything that is not decoded."""
    if not data:
        raise PictureError(EMPTY, "the file has no bytes")
    for start, code, what in _OTHERS:
        if data.startswith(start):
            raise PictureError(code, what)
    for start, kind in _SIGNATURES:
        if data.startswith(start):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return _iso_media(data)
    text = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml")) and b"<svg" in data[:4096].lower():
        raise PictureError(NOT_SUPPORTED, "SVG is a drawing program and is never run")
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<?xml", b"<!--")):
        raise PictureError(NOT_A_PICTURE, "a web page, probably an error page saved by a download")
    if not data.strip(b"\0"):
        raise PictureError(NOT_A_PICTURE, "the file holds nothing but zeros; a download may have been cut off")
    raise PictureError(NOT_A_PICTURE, f"its first bytes ({data[:8].hex(' ')}) are those of no known format")


_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II\x2a\x00", "TIFF"),
    (b"MM\x00\x2a", "TIFF"),
    (b"II\x2b\x00", "TIFF"),
    (b"MM\x00\x2b", "TIFF"),
    *((b"P" + digit, "PPM") for digit in (b"1", b"2", b"3", b"4", b"5", b"6")),
)


def _iso_media(data: bytes) -> str:
    """Tell AVIF from HEIC and from films, which share one container (ISO 14496-12, box ``ftyp``)."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, end, 4))]
    if any(brand in _AVIF_BRANDS for brand in brands):
        return "AVIF"
    if any(brand in _HEIF_BRANDS for brand in brands) or brands[0] in (b"mif1", b"msf1"):
        try:
            importlib.import_module("pillow_heif").register_heif_opener()
        except ImportError as error:
            raise PictureError(NEEDS_HEIC, "a HEIC photo; install it with: pip install 'fieldguide[heic]'") from error
        return "HEIF"
    raise PictureError(NOT_A_PICTURE, "a video")


def _decode(data: bytes, kind: str, at_least: int | None) -> Loaded:
    try:
        image = Image.open(io.BytesIO(data), formats=[kind])
    except UnidentifiedImageError as error:
        raise PictureError(BROKEN, f"it begins like {kind}, but its header cannot be read") from error
    with image:
        bounds.check(image, data)
        format = image.format or kind
        notes: list[str] = []
        size = final_size(image.width, image.height, at_least)
        full, box = image.size, None
        if kind == "JPEG" and size != full:
            # Measured: 0.6 of 255 levels from reducing it afterwards, 12 megapixels in a fifth of the time.
            drafted = image.draft(None, size)
            box = drafted[1] if drafted else None
        if format != "TIFF":
            bounds.check_memory(image, data, full)
        orientation, taken = _exif(image)
        if orientation in _TRANSPOSE:
            notes.append("rotated by EXIF")
        # TIFF alone is turned by Pillow itself, and its size is upright from the start.
        turn = None if format == "TIFF" else _TRANSPOSE.get(orientation)
        if format == "TIFF":
            bounds.check_memory(image, data, full, turned=orientation in _TRANSPOSE)
        width, height = full if turn is None or orientation < 5 else full[::-1]
        if _deep(image, data):
            notes.append("16-bit scaled")
        image.load()
        rgb = tones.canonical(image, size, box, notes)
        frames = bounds.frames(image, data)
        if frames > 1:
            more = frames > bounds.MOST_FRAMES
            notes.append(f"first of more than {bounds.MOST_FRAMES} frames" if more else f"first of {frames} frames")
        if turn is not None:
            rgb = rgb.transpose(turn)
        return Loaded(np.array(rgb), width, height, format, tuple(dict.fromkeys(notes)), taken)


def _exif(image: Image.Image) -> tuple[int, str | None]:
    """Return the orientation, 1 (upright) where there is none, and the moment the picture was taken."""
    try:
        exif = image.getexif()
        orientation = int(exif.get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block is no reason to lose the picture
        return 1, None
    try:
        # The block of the camera is only there where it is named: asking for it costs as much as reading the rest.
        inner = exif.get_ifd(_EXIF) if _EXIF in exif else {}
    except Exception:
        inner = {}
    moments = (str(value).strip("\0 ") for value in (inner.get(_TAKEN), exif.get(_CHANGED)) if isinstance(value, str))
    return orientation, next((moment for moment in moments if _MOMENT.fullmatch(moment)), None)


def _deep(image: Image.Image, data: bytes) -> bool:
    """Tell whether a colour picture has 16 bits a channel; Pillow takes the upper 8 without a word."""
    if image.mode.startswith(("I", "F")):
        return False
    if image.format == "PNG":
        return bool(data[24] == 16)  # bit depth, in the IHDR chunk
    if image.format == "TIFF":
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, (8,))  # type: ignore[attr-defined]
        return bool(max(bits if isinstance(bits, tuple) else (bits,)) > 8)
    return False


def _reason(error: BaseException, where: str) -> str:
    """Return what a decoder said, without addresses of objects, which would differ from run to run."""
    text = re.sub(r"<[^>]* at 0x[0-9a-f]+>", "it", " ".join(str(error).split())) or type(error).__name__
    return f"{text[:200]} ({where})" if where else text[:200]


class _Quiet:
    """Silences Pillow's warnings in the threads that are inside, and in no other thread and for no other module.

    `warnings.catch_warnings` swaps a list that all threads share, and a pool that enters and leaves it out of step leaves a
    stranger's filters behind. Here one filter stays in the list; the object that decides whether it matches asks the thread
    it is called in. What the warnings tell is judged above, so that a picture's fate does not hang on ``python -W``.
    """

    #: Libraries that copy the filters into their workers ask for the text of a regular expression; this one matches nothing.
    pattern = r"(?!)"

    def __init__(self) -> None:
        self._thread = threading.local()
        self._filter: Any = ("ignore", None, Warning, self, 0)
        self._lock = threading.Lock()

    def match(self, module: str) -> bool:
        """Called by `warnings` with the name of the module that warns."""
        return module.startswith("PIL.") and bool(getattr(self._thread, "inside", False))

    def __enter__(self) -> None:
        with self._lock:
            filters: list[Any] = warnings.filters  # type: ignore[assignment]
            # The first filter that matches decides, and others insert theirs in front.
            if not filters or filters[0] is not self._filter:
                if self._filter in filters:
                    filters.remove(self._filter)
                filters.insert(0, self._filter)
        self._thread.inside = True

    def __exit__(self, *_: object) -> None:
        self._thread.inside = False


_quiet = _Quiet()
