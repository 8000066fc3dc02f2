"""The 55 files of group T1, made here byte by byte or with Pillow, and what is known of each without the loader.

The scene of the readable ones has four corners: red, lime, blue and white (see `SCENE`). What a case must decode to is stated from the
format's own rules, so that a picture that merely loads does not pass.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

#: What one file may cost: seconds of a processor, and bytes of a process that loads it at 224 pixels and does nothing else.
MOST_SECONDS, MOST_MEMORY = 2.0, 300_000_000
WIDTH, HEIGHT = 96, 64
RED, LIME, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
SCENE = (RED, LIME, BLUE, WHITE)
#: Words that stand in the EXIF block of the GPS case and may stand nowhere else.
SECRETS = ("48.20849", "16.37208", "Kellergasse 7")
#: Text that only a run of the file's own program could print.
RAN = "this-program-ran"

Corners = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Bad:
    """One file. `code` and `words` say how it is refused; else it has `notes`, `size` and `corners`, each within `slack` of 255."""

    name: str
    file: str
    make: Callable[[], bytes]
    code: str | None = None
    words: str = ""
    notes: tuple[str, ...] = ()
    size: tuple[int, int] = (WIDTH, HEIGHT)
    corners: Corners = SCENE
    slack: int = 10


def encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def scene(colors: Corners = SCENE) -> Image.Image:
    image = Image.new("RGB", (WIDTH, HEIGHT))
    for at, color in enumerate(colors):
        image.paste(color, (at % 2 * WIDTH // 2, at // 2 * HEIGHT // 2, (at % 2 + 1) * WIDTH // 2, (at // 2 + 1) * HEIGHT // 2))
    return image


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (HEIGHT * 2, WIDTH * 2, 3), dtype=np.uint8))


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, body: bytes, *, depth: int = 8, color: int = 0, extra: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def holed_jpeg() -> bytes:
    data = bytearray(encode(noise(3), "JPEG", quality=90))
    data[len(data) // 2 : len(data) // 2 + 2048] = bytes(2048)
    return bytes(data)


def wrong_checksum() -> bytes:
    data = bytearray(encode(noise(5)))
    data[data.index(b"IDAT") + 100] ^= 1
    return bytes(data)


def without_end() -> bytes:
    whole = encode(noise(6))
    return whole[: whole.rindex(b"IEND") - 4]


def text_bomb() -> bytes:
    return png(1, 1, zlib.compress(b"\0\0"), extra=chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(80_000_000), 9)))


def bomb(rows: int) -> bytes:
    """Return a white picture of 8,000 x `rows` pixels in some 4,000 bytes: 8,000 pixels a byte."""
    packer = zlib.compressobj(9)
    row = b"\0" + b"\xff" * 1000
    body = b"".join(packer.compress(row * 1000) for _ in range(rows // 1000)) + packer.compress(row * (rows % 1000))
    return png(8000, rows, body + packer.flush(), depth=1)


def deep() -> Image.Image:
    """Return 16-bit gray of a 12-bit camera: its corners are 0, 1/3, 2/3 and all of 4095."""
    values = np.zeros((HEIGHT, WIDTH), np.uint16)
    values[: HEIGHT // 2, WIDTH // 2 :] = 1365
    values[HEIGHT // 2 :, : WIDTH // 2] = 2730
    values[HEIGHT // 2 :, WIDTH // 2 :] = 4095
    return Image.fromarray(values)


GRAYS: Corners = (BLACK, (85, 85, 85), (170, 170, 170), WHITE)


def floats() -> Image.Image:
    """Return fractions far from [0, 1], as a microscope writes them: 100, 200, 300 and 400."""
    return Image.fromarray((np.asarray(deep()) / 1365 * 100 + 100).astype(np.float32))


def inks(*, adobe: bool) -> bytes:
    """Return a CMYK JPEG of pure inks: magenta + yellow, cyan + yellow, cyan + magenta, none.

    Adobe's programs store ink upside down and leave an APP14 marker; without that marker 255 is all of an ink (libjpeg's notes on
    CMYK, and Adobe's technical note 5116). Pillow writes the former; the latter is made from it without marker and turned.
    """
    plates = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    for at, ink in enumerate(((0, 255, 255, 0), (255, 0, 255, 0), (255, 255, 0, 0), (0, 0, 0, 0))):
        top, left = at // 2 * HEIGHT // 2, at % 2 * WIDTH // 2
        plates[top : top + HEIGHT // 2, left : left + WIDTH // 2] = ink
    if adobe:
        return encode(Image.fromarray(plates, "CMYK"), "JPEG", quality=97)
    data = encode(Image.fromarray(255 - plates, "CMYK"), "JPEG", quality=97)
    marker = data.index(b"\xff\xee\x00\x0eAdobe")
    return data[:marker] + data[marker + 16 :]


def lab() -> bytes:
    """Return CIE L*a*b* of pure red, lime, blue and white under D50 (the values of sRGB's primaries in an ICC connection space)."""
    values = np.zeros((HEIGHT, WIDTH, 3), np.int16)
    for at, color in enumerate(((54.29, 80.81, 69.89), (87.82, -79.27, 80.99), (29.57, 68.30, -112.03), (100, 0, 0))):
        top, left = at // 2 * HEIGHT // 2, at % 2 * WIDTH // 2
        stored = (round(color[0] * 2.55), round(color[1]) + 128, round(color[2]) + 128)
        values[top : top + HEIGHT // 2, left : left + WIDTH // 2] = stored
    channels = values.clip(0, 255).astype(np.uint8)
    return encode(Image.merge("LAB", [Image.fromarray(channels[:, :, at].copy()) for at in range(3)]), "TIFF")


def gray_alpha() -> bytes:
    """Return black and white above (opaque), transparent black below."""
    alpha = Image.new("L", (WIDTH, HEIGHT), 255)
    alpha.paste(0, (0, HEIGHT // 2, WIDTH, HEIGHT))
    return encode(Image.merge("LA", [scene((BLACK, WHITE, BLACK, BLACK)).convert("L"), alpha]))


def palette(*, transparent: bool) -> bytes:
    indices = Image.fromarray(np.asarray(scene((BLACK, (1, 1, 1), (2, 2, 2), (3, 3, 3))))[:, :, 0].copy()).convert("P")
    indices.putpalette([value for color in SCENE for value in color] + [9] * 756)
    return encode(indices, transparency=2) if transparent else encode(indices)


def transparent_colors() -> bytes:
    """Return the scene whose blue corner is transparent."""
    image = scene().convert("RGBA")
    image.paste((0, 0, 255, 0), (0, HEIGHT // 2, WIDTH // 2, HEIGHT))
    return encode(image)


#: How a camera that was turned stores the scene, by EXIF orientation: row 0 and column 0 of the file are these sides of the scene
#: (EXIF 2.32, 4.6.4): written as index operations on ``"height width 3"``, independently of Pillow's transpositions.
STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: upright.swapaxes(0, 1)[::-1],
    7: lambda upright: upright.swapaxes(0, 1)[::-1, ::-1],
    8: lambda upright: upright.swapaxes(0, 1)[:, ::-1],
}


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = STORED.get(orientation, lambda upright: upright)(np.asarray(scene()))
    return encode(Image.fromarray(np.ascontiguousarray(stored)), "JPEG", quality=97, exif=exif)


def located() -> bytes:
    exif = Image.Exif()
    exif[0x9C9C] = SECRETS[2].encode("utf-16-le")
    exif.get_ifd(0x8825).update({1: "N", 2: (48.20849, 0.0, 0.0), 3: "E", 4: (16.37208, 0.0, 0.0), 28: SECRETS[2].encode()})
    return encode(scene(), "JPEG", quality=96, exif=exif) + "".join(SECRETS).encode()


def moving(format: str, **options: Any) -> bytes:
    others = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in ("black", "yellow")]
    return encode(scene(), format, save_all=True, append_images=others, **options)


def heic() -> bytes:
    """Return a real HEIC picture where its library is installed, else the first bytes of one."""
    try:
        import pillow_heif
    except ImportError:
        return struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(100)
    pillow_heif.register_heif_opener()
    return encode(scene(), "HEIF", quality=95)


POSTSCRIPT = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({RAN}) print\n%%EOF\n".encode()
SVG = f'<svg xmlns="http://www.w3.org/2000/svg"><script>document.title="{RAN}"</script></svg>'.encode()
PDF = f"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert('{RAN}'))>>>>endobj\n%%EOF\n".encode()
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"
PAGE = b"<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1></body></html>\n"
ROTATED = ("rotated by EXIF",)


def first_of(frames: int) -> tuple[str, ...]:
    return (f"first of {frames} frames",)


def said(extension: str, format: str) -> str:
    return f"extension says {extension}, content is {format}"


CASES = (
    Bad("zero bytes", "empty.jpg", lambda: b"", "empty file", "no bytes"),
    Bad("one byte", "one.jpg", lambda: b"\xff", "not a picture", "ff"),
    Bad("random bytes", "random.jpg", lambda: bytes(np.random.default_rng(8).bytes(5000)), "not a picture", "no known format"),
    Bad("HTML page", "page.jpg", lambda: PAGE, "not a picture", "web page"),
    Bad("Git LFS pointer", "pointer.png", lambda: POINTER, "not a picture", "git lfs pull"),
    Bad("JPEG cut at half", "half.jpg", lambda: (d := encode(noise(1), "JPEG"))[: len(d) // 2], "truncated"),
    Bad("JPEG without its last 2 bytes", "short.jpg", lambda: encode(noise(2), "JPEG")[:-2], "truncated"),
    Bad("JPEG with a zeroed middle", "hole.jpg", holed_jpeg, "broken", "hole of zeros"),
    Bad("JPEG with trailing junk", "junk.jpg", lambda: encode(scene(), "JPEG", quality=95) + b"\0junk" * 200),
    Bad("PNG cut at half", "half.png", lambda: (d := encode(noise(4)))[: len(d) // 2], "truncated", "ends before"),
    Bad("PNG with a wrong checksum", "crc.png", wrong_checksum, "broken", "IDAT"),
    Bad("PNG without its end", "endless.png", without_end, "truncated", "ends before"),
    Bad("PNG of zero size", "nothing.png", lambda: png(0, 5, zlib.compress(b"")), "broken"),
    Bad("PNG text bomb", "text.png", text_bomb, "broken"),
    Bad("bomb just below the limit", "below.png", lambda: bomb(3999), size=(8000, 3999), corners=(WHITE,) * 4),
    Bad("bomb at the limit", "at.png", lambda: bomb(4000), size=(8000, 4000), corners=(WHITE,) * 4),
    Bad("bomb just above the limit", "above.png", lambda: bomb(4001), "too large", "8,000 x 4,001"),
    Bad("16-bit PNG", "deep.png", lambda: encode(deep()), notes=("16-bit scaled",), corners=GRAYS, slack=1),
    Bad("16-bit TIFF", "deep.tif", lambda: encode(deep(), "TIFF"), notes=("16-bit scaled",), corners=GRAYS, slack=1),
    Bad("float TIFF", "float.tif", lambda: encode(floats(), "TIFF"), notes=("float scaled",), corners=GRAYS, slack=1),
    Bad("CMYK JPEG", "cmyk.jpg", lambda: inks(adobe=False), notes=("CMYK converted",)),
    Bad("Adobe's inverted CMYK JPEG", "adobe.jpg", lambda: inks(adobe=True), notes=("CMYK converted",)),
    Bad("LAB TIFF", "lab.tif", lab, notes=("LAB converted",), slack=24),
    Bad(
        "1-bit PNG",
        "bit.png",
        lambda: encode(scene((BLACK, WHITE, WHITE, BLACK)).convert("1")),
        corners=(BLACK, WHITE, WHITE, BLACK),
        slack=0,
    ),
    Bad("gray PNG", "gray.png", lambda: encode(scene(GRAYS).convert("L")), corners=GRAYS, slack=0),
    Bad("gray PNG with alpha", "la.png", gray_alpha, notes=("alpha on white",), corners=(BLACK, WHITE, WHITE, WHITE), slack=0),
    Bad("palette PNG", "palette.png", lambda: palette(transparent=False), slack=0),
    Bad(
        "palette PNG with a transparent colour",
        "trns.png",
        lambda: palette(transparent=True),
        notes=("alpha on white",),
        corners=(RED, LIME, WHITE, WHITE),
        slack=0,
    ),
    Bad(
        "RGBA PNG, partly transparent",
        "rgba.png",
        transparent_colors,
        notes=("alpha on white",),
        corners=(RED, LIME, WHITE, WHITE),
        slack=0,
    ),
    *(Bad(f"EXIF orientation {at}", f"exif{at}.jpg", lambda at=at: turned(at), notes=ROTATED) for at in range(2, 9)),
    Bad("EXIF orientation 99", "exif99.jpg", lambda: turned(99)),
    Bad(
        "corrupt EXIF",
        "exif.jpg",
        lambda: encode(scene(), "JPEG", quality=94, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(9)),
    ),
    Bad("EXIF with a place (GPS)", "place.jpg", located),
    Bad("animated GIF", "moving.gif", lambda: moving("GIF"), notes=first_of(3), slack=0),
    Bad("animated WebP", "moving.webp", lambda: moving("WEBP", lossless=True), notes=first_of(3), slack=0),
    Bad("animated PNG", "moving.png", lambda: moving("PNG"), notes=first_of(3), slack=0),
    Bad("TIFF of several pages", "moving.tif", lambda: moving("TIFF"), notes=first_of(3), slack=0),
    Bad("MPO of several views", "views.jpg", lambda: moving("MPO", quality=97), notes=first_of(3)),
    Bad("bad colour profile", "icc.jpg", lambda: encode(scene(), "JPEG", quality=93, icc_profile=b"not a profile")),
    Bad("1 x 1", "dot.png", lambda: encode(Image.new("RGB", (1, 1), "red")), size=(1, 1), corners=(RED,) * 4, slack=0),
    Bad(
        "1 x 5000",
        "strip.png",
        lambda: encode(Image.fromarray(np.repeat(np.array([[RED], [BLUE]], np.uint8), 2500, axis=0))),
        size=(1, 5000),
        corners=(RED, RED, BLUE, BLUE),
        slack=0,
    ),
    Bad("EPS named .jpg", "eps.jpg", lambda: POSTSCRIPT, "format not supported", "PostScript"),
    Bad("PDF", "pdf.jpg", lambda: PDF, "format not supported", "PDF"),
    Bad("SVG with a script", "drawing.svg", lambda: SVG, "format not supported", "SVG"),
    Bad("HEIC without its extra", "phone.heic", heic, "needs heic extra", "fieldguide[heic]"),
    Bad("JPEG 2000", "wavelets.jp2", lambda: encode(scene(), "JPEG2000"), "format not supported", "JPEG 2000"),
    Bad("AVIF", "av1.avif", lambda: encode(scene(), "AVIF", quality=95), slack=16),
    Bad("wrong extension", "png.jpg", lambda: encode(scene(), compress_level=1), notes=(said("jpg", "PNG"),), slack=0),
    Bad("all black", "black.jpg", lambda: encode(Image.new("RGB", (WIDTH, HEIGHT)), "JPEG"), corners=(BLACK,) * 4, slack=0),
)
