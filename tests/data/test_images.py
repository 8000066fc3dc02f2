"""The loader against files that lie, break or bomb; every bad file is made here."""

from __future__ import annotations

import errno
import io
import os
import struct
import sys
import threading
import types
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from fieldguide import files
from fieldguide.data import bounds, images, tones, wholeness
from fieldguide.data.images import Loaded, content_hash, final_size, load
from fieldguide.errors import EnvironmentProblem, PictureError


def encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def noise(width: int = 120, height: int = 80, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def scene(width: int = 400, height: int = 300) -> Image.Image:
    """Return a smooth picture whose four corners differ: red, green, blue, white."""
    corners = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], dtype=np.uint8)
    return Image.fromarray(corners).resize((width, height), Image.Resampling.NEAREST)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, body: bytes, *, depth: int = 8, color: int = 0, extra: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    height, width, _ = pixels.shape
    places = [(0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1)]
    return [tuple(int(value) for value in pixels[place]) for place in places]


def fails(data: bytes, code: str, at_least: int | None = 64) -> str:
    with pytest.raises(PictureError) as caught:
        load(data, at_least, "somewhere/cat.jpg")
    assert caught.value.code == code, str(caught.value)
    assert "somewhere/cat.jpg" in caught.value.detail
    assert "0x" not in caught.value.detail and "Traceback" not in caught.value.detail
    return caught.value.detail


# --- whole pictures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG", "AVIF"])
def test_every_format_is_known_by_content(format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    loaded = load(encode(scene(), format, **options), None)
    assert (loaded.format, loaded.width, loaded.height, loaded.notes) == (format, 400, 300, ())
    assert loaded.pixels.shape == (300, 400, 3) and loaded.pixels.dtype == np.uint8
    for got, want in zip(corners(loaded.pixels), [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)], strict=True):
        assert np.abs(np.subtract(got, want)).max() <= 8


def test_full_size_lossless_pixels_are_untouched() -> None:
    image = noise()
    assert np.array_equal(load(encode(image), None).pixels, np.asarray(image))


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_wanted_size_is_the_shorter_side_and_nothing_is_upscaled(format: str) -> None:
    data = encode(scene(400, 300), format)
    assert load(data, 64).pixels.shape == (64, 85, 3)
    assert load(data, 300).pixels.shape == load(data, 5000).pixels.shape == (300, 400, 3)
    loaded = load(data, 64)
    assert (loaded.width, loaded.height) == (400, 300)


def test_result_depends_on_bytes_and_size_alone() -> None:
    data = encode(noise(640, 480), "JPEG")
    alone = load(data, 96).pixels
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda size: load(data, size), [96, 48, 96, 200, 96, None, 96, 96]))
    assert all(np.array_equal(alone, one.pixels) for one in together if one.pixels.shape[0] == 96)


def test_reducing_while_decoding_looks_like_reducing_afterwards() -> None:
    smooth = noise(40, 30).resize((1600, 1200), Image.Resampling.BICUBIC)
    drafted = load(encode(smooth, "JPEG", quality=95), 64).pixels.astype(float)
    whole = load(encode(smooth, "PNG"), 64).pixels.astype(float)
    assert np.abs(drafted - whole).mean() < 2.0


def test_reducing_while_decoding_keeps_the_edges() -> None:
    # 129 columns are decoded as 33 blocks of four: the last one lies mostly outside the picture.
    ramp = np.tile(np.linspace(0, 255, 129).astype(np.uint8), (129, 1))
    drafted = load(encode(Image.fromarray(ramp), "JPEG", quality=100), 16).pixels.astype(float)
    whole = load(encode(Image.fromarray(ramp), "PNG"), 16).pixels.astype(float)
    assert np.abs(drafted - whole).max() <= 2.0


def test_pillow_is_told_the_one_format(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    opened = Image.open

    def remember(stream: Any, mode: str = "r", formats: Any = None) -> Any:
        asked.append(formats)
        return opened(stream, "r", formats)

    monkeypatch.setattr(Image, "open", remember)
    for format in images.FORMATS:
        load(encode(scene(), format), 64)
    assert asked == [[format] for format in images.FORMATS]


def test_extreme_shapes_are_bounded() -> None:
    assert load(encode(Image.new("RGB", (1, 5000))), 64).pixels.shape == (256, 1, 3)
    assert load(encode(Image.new("RGB", (1, 1), "red")), 64).pixels.tolist() == [[[255, 0, 0]]]


@given(st.integers(1, 100_000), st.integers(1, 100_000), st.integers(1, 2048))
@example(1, 60_000, 224)
def test_final_size(width: int, height: int, at_least: int) -> None:
    new = final_size(width, height, at_least)
    assert 1 <= min(new) <= min(at_least, width, height) and max(new) <= max(4 * at_least, 1)
    assert new[0] <= width and new[1] <= height
    assert (new[0] <= new[1]) == (width <= height) or min(new) == max(new)
    if max(width, height) <= 3.9 * min(width, height):
        assert min(new) == min(at_least, width, height)
    assert final_size(height, width, at_least) == (new[1], new[0]) or width == height


# --- conversions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("at_least", [None, 30])
def test_exif_orientation(format: str, orientation: int, at_least: int | None) -> None:
    upright = scene(120, 80)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that, undone by the tag, gives the upright picture
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(format, {})
    loaded = load(encode(stored, format, exif=exif, **options), at_least)
    assert (loaded.width, loaded.height) == (120, 80)
    assert loaded.pixels.shape == ((80, 120, 3) if at_least is None else (30, 45, 3))
    assert loaded.notes == (() if orientation == 1 else ("rotated by EXIF",))
    for got, want in zip(corners(loaded.pixels), [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)], strict=True):
        assert np.abs(np.subtract(got, want)).max() <= 12


@pytest.mark.parametrize("body", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\0\0"])
def test_damaged_exif_does_not_lose_the_picture(body: bytes) -> None:
    loaded = load(encode(scene(), "JPEG", exif=body), 64)
    assert loaded.pixels.shape == (64, 85, 3) and loaded.notes == ()


def test_orientation_99_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 99
    assert load(encode(scene(), "JPEG", exif=exif), None).notes == ()


@pytest.mark.parametrize(("highest", "divisor"), [(65535, 257.0), (4095, 4095 / 255), (255, 1.0)])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled_by_the_bits_it_uses(highest: int, divisor: float, format: str) -> None:
    values = np.linspace(0, highest, 64 * 64).reshape(64, 64).astype(np.uint16)
    loaded = load(encode(Image.fromarray(values), format), None)
    assert loaded.notes == ("16-bit scaled",)
    assert np.abs(loaded.pixels[:, :, 0] - values / divisor).max() <= 0.51
    assert loaded.pixels.min() == 0 and loaded.pixels.max() == 255


def test_16_bit_black_stays_black() -> None:
    assert load(encode(Image.fromarray(np.zeros((9, 9), np.uint16))), None).pixels.max() == 0


def test_16_bit_color_png_is_noted() -> None:
    values = np.full((2, 2, 3), 0x8040, dtype=">u2")
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in values))
    loaded = load(png(2, 2, body, depth=16, color=2), None)
    assert loaded.notes == ("16-bit scaled",) and set(loaded.pixels.ravel().tolist()) == {0x80}


@pytest.mark.parametrize(
    ("values", "want", "note"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255], "float scaled"),
        (np.array([[0.0, 0.2, 0.4]], np.float32), [0, 51, 102], "float scaled"),
        (np.array([[-3.0, 0.0, 3.0]], np.float32), [0, 128, 255], "float scaled"),
        (np.array([[0.0, 500.0, 1000.0]], np.float32), [0, 128, 255], "float scaled"),
        (np.array([[np.nan, -np.inf, 0.0, 10.0, np.inf]], np.float32), [0, 0, 0, 255, 255], "float scaled"),
        (np.array([[7.0, 7.0]], np.float32), [0, 0], "float scaled"),
        (np.array([[-100, 0, 100]], np.int32), [0, 128, 255], "32-bit scaled"),
        (np.array([[0, 100_000, 200_000]], np.int32), [0, 128, 255], "32-bit scaled"),
        (np.array([[0, 257, 65535]], np.int32), [0, 1, 255], "16-bit scaled"),
    ],
)
def test_wide_values_become_8_bits(values: np.ndarray, want: list[int], note: str) -> None:
    loaded = load(encode(Image.fromarray(values), "TIFF"), None)
    assert loaded.notes == (note,)
    assert loaded.pixels[0, :, 1].tolist() == want


def test_float_without_any_finite_value() -> None:
    fails(encode(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"), "broken")


@pytest.mark.parametrize("color", ["red", "white", "black", "blue"])
def test_cmyk(color: str) -> None:
    image = Image.new("RGB", (16, 16), color)
    loaded = load(encode(image.convert("CMYK"), "JPEG", quality=95), None)
    assert loaded.notes == ("CMYK converted",)
    assert np.abs(loaded.pixels[8, 8].astype(int) - np.asarray(image)[8, 8]).max() < 8


def test_lab_and_ycbcr_tiff() -> None:
    lab = Image.merge("LAB", [Image.new("L", (8, 8), value) for value in (255, 128, 128)])
    loaded = load(encode(lab, "TIFF"), None)
    assert loaded.notes == ("LAB converted",) and loaded.pixels.min() >= 252
    ycbcr = load(encode(Image.new("RGB", (16, 16), "red").convert("YCbCr"), "TIFF"), None)
    assert np.abs(ycbcr.pixels[4, 4].astype(int) - [255, 0, 0]).max() < 4


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_modes_that_only_store_differently_have_no_note(mode: str) -> None:
    image = Image.new("RGB", (8, 8), "white").convert(mode)
    loaded = load(encode(image), None)
    assert loaded.notes == () and loaded.pixels.min() == 255


def transparent(kind: str) -> bytes:
    """Return a PNG or TIFF that is black where it is opaque (left) and transparent black (right)."""
    alpha = Image.new("L", (8, 8), 0)
    alpha.paste(255, (0, 0, 4, 8))
    if kind == "RGBA":
        return encode(Image.merge("RGBA", [*Image.new("RGB", (8, 8)).split(), alpha]))
    if kind == "LA":
        return encode(Image.merge("LA", [Image.new("L", (8, 8)), alpha]))
    if kind == "RGBa":
        image = Image.merge("RGBA", [*Image.new("RGB", (8, 8)).split(), alpha])
        return encode(image, "TIFF", tiffinfo={338: 1})  # ExtraSamples: colours are multiplied by alpha
    flat = Image.new("P" if kind == "P+tRNS" else "L", (8, 8), 1)
    flat.paste(0, (0, 0, 4, 8))
    if kind == "P+tRNS":
        flat.putpalette([0] * 768)
    return encode(flat, transparency=1)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "RGBa", "P+tRNS", "L+tRNS"])
def test_alpha_lies_on_white(kind: str) -> None:
    loaded = load(transparent(kind), None)
    assert loaded.notes == ("alpha on white",)
    assert loaded.pixels[:, :4].max() == 0 and loaded.pixels[:, 4:].min() == 255


def test_opaque_alpha_is_no_conversion() -> None:
    assert load(encode(Image.new("RGBA", (8, 8), (1, 2, 3, 255))), None).notes == ()


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "MPO", "AVIF"])
def test_first_frame_only(format: str) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "lime", "blue")]
    loaded = load(encode(frames[0], format, save_all=True, append_images=frames[1:]), None)
    assert loaded.notes == ("first of 3 frames",) and loaded.format == format
    assert np.abs(loaded.pixels[8, 8].astype(int) - [255, 0, 0]).max() < 8


def test_bad_color_profile_is_ignored() -> None:
    assert load(encode(scene(), "JPEG", icc_profile=b"not a profile"), 64).notes == ()


# --- what is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"", "empty file", "no bytes"),
        (b"x", "not a picture", "78"),
        (b"\0" * 4096, "not a picture", "zeros"),
        (bytes(range(7, 250)), "not a picture", "07 08"),
        (b"\n<!DOCTYPE html><html><body>404</body>", "not a picture", "web page"),
        (b"\xef\xbb\xbf<html>", "not a picture", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "not a picture", "git lfs pull"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "format not supported", "PostScript"),
        (b"\xc5\xd0\xd3\xc6" + bytes(40), "format not supported", "PostScript"),
        (b"%PDF-1.7", "format not supported", "PDF"),
        (b"<svg xmlns='x'><script>alert(1)</script></svg>", "format not supported", "SVG"),
        (b"<?xml version='1.0'?><svg></svg>", "format not supported", "SVG"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "format not supported", "JPEG 2000"),
        (b"\xff\x0a\xff\xff", "format not supported", "JPEG XL"),
        (b"8BPS\0\1", "format not supported", "Photoshop"),
        (b"\xd7\xcd\xc6\x9a" + bytes(40), "format not supported", "metafile"),
        (b"PK\x03\x04" + bytes(40), "not a picture", "zip"),
        (b"\x00\x00\x00\x18ftypisom" + bytes(40), "not a picture", "video"),
        (b"\xff\xd8\xff", "broken", "header"),
        (b"BM" + bytes(4), "broken", ""),
        (b"II*\0" + bytes(4), "broken", ""),
    ],
)
def test_not_pictures(data: bytes, code: str, words: str) -> None:
    assert words in fails(data, code)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "AVIF"])
@pytest.mark.parametrize("at_least", [None, 32])
def test_half_a_file(format: str, at_least: int | None) -> None:
    data = encode(noise(), format)
    fails(data[: len(data) // 2], "broken" if format == "AVIF" else "truncated", at_least)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "AVIF"])
def test_two_bytes_missing(format: str) -> None:
    fails(encode(noise(), format)[:-2], "truncated", 32)


def test_trailing_junk_is_no_harm() -> None:
    for format in ("JPEG", "PNG", "WEBP", "GIF"):
        assert load(encode(scene(), format) + b"\0junk" * 9, 64).pixels.shape == (64, 85, 3)


@pytest.mark.parametrize("seed", range(4))
def test_jpeg_with_a_hole_of_zeros(seed: int) -> None:
    data = bytearray(encode(noise(300, 300, seed), "JPEG"))
    middle = len(data) // 2
    data[middle : middle + 2048] = bytes(2048)
    assert "hole" in fails(bytes(data), "broken")


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"subsampling": 0}, {"quality": 100}])
@pytest.mark.parametrize("color", ["white", "black", "gray", "red"])
def test_flat_jpeg_is_no_hole(options: dict[str, Any], color: str) -> None:
    image = Image.new("RGB", (1200, 900), color)
    image.paste(noise(), (5, 5))
    assert load(encode(image, "JPEG", **options), 64).notes == ()
    assert load(encode(image.convert("L"), "JPEG", **options), 64).notes == ()


def test_png_with_a_wrong_checksum() -> None:
    data = bytearray(encode(noise()))
    at = data.index(b"IDAT") + 200
    data[at] ^= 1
    assert "IDAT" in fails(bytes(data), "broken", None)


def test_png_without_end_with_zero_size_and_with_a_text_bomb() -> None:
    whole = encode(noise())
    fails(whole[: whole.rindex(b"IEND") - 4], "truncated", None)
    fails(png(0, 5, zlib.compress(b"")), "broken", None)
    bomb = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(80_000_000), 9))
    fails(png(1, 1, zlib.compress(b"\0\0"), extra=bomb), "broken", None)


@pytest.mark.parametrize("side", [9_400, 20_000, 2_000_000_000])
def test_bombs_are_refused_by_their_header(side: int) -> None:
    packer = zlib.compressobj(9)
    body = packer.compress(bytes(100_000)) + packer.flush()
    fails(png(side, side, body), "too large")


def test_just_below_the_limits_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(noise(100, 100))
    monkeypatch.setattr(bounds, "MOST_PIXELS", 10_000)
    assert load(data, 50).pixels.shape == (50, 50, 3)
    monkeypatch.setattr(bounds, "MOST_PIXELS", 9_999)
    fails(data, "too large")


def test_file_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_BYTES", 10)
    fails(encode(noise()), "too large")


def test_phone_panorama_passes() -> None:
    # 59 million pixels, flat, so that encoding is quick; JPEG never holds it at full size.
    data = encode(Image.new("L", (16_382, 3_628), 90), "JPEG")
    loaded = load(data + bytes(60_000), 64)
    assert (loaded.width, loaded.height) == (16_382, 3_628) and loaded.pixels.shape == (57, 256, 3)


def heic() -> bytes:
    return struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(100)


def test_heic_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert "fieldguide[heic]" in fails(heic(), "needs heic extra")


def test_heic_with_the_extra_is_opened_as_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = types.ModuleType("pillow_heif")

    def register() -> None:
        def opened(stream: Any, name: Any) -> Image.Image:
            image = Image.open(io.BytesIO(encode(scene())))
            image.format = "HEIF"
            return image

        Image.register_open("HEIF", opened, lambda prefix: prefix[4:8] == b"ftyp")  # type: ignore[arg-type]

    stand_in.register_heif_opener = register  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pillow_heif", stand_in)
    try:
        assert load(heic(), 64).format == "HEIF"
    finally:
        Image.OPEN.pop("HEIF", None)
        Image.ID.remove("HEIF")


def test_eps_decoder_is_never_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import EpsImagePlugin

    def reached(*_: object, **__: object) -> None:
        raise AssertionError("the PostScript interpreter was reached")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", reached)
    monkeypatch.setattr(EpsImagePlugin.EpsImageFile, "_open", reached)
    fails(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "format not supported")
    fails(b"  \n%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture")


def test_any_exception_of_a_decoder_becomes_a_picture_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for error, code in [
        (struct.error("x"), "broken"),
        (RecursionError("x"), "broken"),
        (MemoryError("x"), "too large"),
        (Image.DecompressionBombError("x"), "too large"),
        (EOFError(), "truncated"),
        (AssertionError("bad <PIL.PngImagePlugin.PngImageFile at 0x7f00>"), "broken"),
    ]:

        def explode(*_: object, error: BaseException = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(Image, "open", explode)
        fails(encode_cached(), code)


def encode_cached() -> bytes:
    return png(1, 1, zlib.compress(b"\0\0"))


def test_a_real_heic_photo() -> None:
    heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    if not any(name != "mask" for name in heif.libheif_info()["encoders"]):
        pytest.skip("this pillow_heif writes no HEIC")
    heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    loaded = load(encode(scene(), "HEIF", quality=95, exif=exif), 150)
    assert loaded.format == "HEIF" and loaded.pixels.shape in ((150, 200, 3), (200, 150, 3))
    got = {tuple(np.rint(np.array(corner) / 255).astype(int)) for corner in corners(loaded.pixels)}
    assert got == {(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)}


# --- what a picture may cost --------------------------------------------------------------------------------------------


def baseline_and_progressive() -> tuple[bytes, bytes]:
    image = noise(640, 480)
    return encode(image, "JPEG"), encode(image, "JPEG", progressive=True)


def test_a_progressive_jpeg_is_held_as_coefficients_and_a_baseline_jpeg_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    baseline, progressive = baseline_and_progressive()
    frame = wholeness.jpeg_frame(progressive)
    assert (frame.area, frame.coefficient_bytes) == (640 * 480, 640 * 480 * 3) and frame.scans >= 6
    assert wholeness.jpeg_frame(baseline) == wholeness.JpegFrame(640 * 480, 1, 0)
    full = encode(noise(640, 480), "JPEG", progressive=True, subsampling=0)
    assert wholeness.jpeg_frame(full).coefficient_bytes == 640 * 480 * 6
    monkeypatch.setattr(bounds, "MOST_MEMORY", 640 * 480 * 3)
    assert load(baseline, 64).pixels.shape == (64, 85, 3)
    detail = fails(progressive, "too large")
    assert "640 x 480" in detail and "allowed" in detail and "baseline JPEG" in detail


def test_scans_of_a_progressive_jpeg_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    baseline, progressive = baseline_and_progressive()
    monkeypatch.setattr(bounds, "MOST_SCANNED", 640 * 480 * 3)
    assert "scans" in fails(progressive, "too large")
    assert load(baseline, 64).pixels.shape == (64, 85, 3)


@pytest.mark.parametrize(
    ("mode", "format", "bytes_a_pixel"),
    [
        *(("L", "PNG", 1), ("P", "PNG", 1), ("1", "PNG", 1), ("I;16", "PNG", 2), ("RGB", "PNG", 4), ("RGBA", "PNG", 4)),
        *(("RGB", "WEBP", 16), ("RGB", "AVIF", 11), ("F", "TIFF", 4), ("RGB", "BMP", 4), ("L", "JPEG", 1), ("RGB", "JPEG", 4)),
    ],
)
def test_the_limit_counts_what_a_mode_and_a_format_hold(
    mode: str, format: str, bytes_a_pixel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = noise(64, 48)
    data = encode(image.convert(mode) if mode != "I;16" else image.convert("L").convert("I;16"), format)
    held = 48 * (64 * bytes_a_pixel + 8) + len(data)
    monkeypatch.setattr(bounds, "MOST_MEMORY", held)
    monkeypatch.setattr(bounds, "MOST_MEMORY_OF", {})
    assert load(data, 48).pixels.shape == (48, 64, 3)
    monkeypatch.setattr(bounds, "MOST_MEMORY", held - 1)
    assert "64 x 48" in fails(data, "too large", 48)


def test_the_strip_of_a_compressed_tiff_and_its_turned_copy_count(monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(64, 64)
    exif = Image.Exif()
    exif[0x0112] = 3
    raw, packed, turned = encode(image, "TIFF"), encode(image, "TIFF", compression="tiff_lzw"), encode(image, "TIFF", exif=exif)
    held = 64 * (64 * 4 + 8)
    for data, besides in ((raw, 0), (packed, 64 * 64 * 3), (turned, held)):
        monkeypatch.setattr(bounds, "MOST_MEMORY", held + besides + len(data))
        assert load(data, 32).pixels.shape == (32, 32, 3)
        monkeypatch.setattr(bounds, "MOST_MEMORY", held + besides + len(data) - 1)
        fails(data, "too large")


def test_very_tall_pictures_are_held_with_an_address_for_each_row() -> None:
    assert "allowed" in fails(png(1, 40_000_000, zlib.compress(bytes(9))) + bytes(50_000), "too large")


@pytest.mark.parametrize(
    "data",
    [
        b"P3 1800 1800 255\n" + b"1 " * 50,
        b"P5 4000 4000 9\n" + bytes(50_000),
        b"P6 #" + b"c" * 70_000 + b"\n2 2 255 " + bytes(12),
    ],
)
def test_slow_kinds_of_ppm_are_refused_where_they_are_large(data: bytes) -> None:
    fails(data, "broken" if b"#" in data else "too large")
    assert load(b"P3 # small\n2 1 255\n1 2 3 4 5 6\n", None).pixels.tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_headers_of_many_parts_are_refused() -> None:
    whole = encode(noise())
    many = whole[:33] + chunk(b"teXt", b"") * 60_000 + whole[33:]
    assert "parts" in fails(many, "broken")
    assert load(whole[:33] + chunk(b"teXt", b"") * 500 + whole[33:], 64).format == "PNG"
    whole = encode(noise(), "JPEG")
    assert "parts" in fails(whole[:2] + b"\xff\xfe\0\2" * 60_000 + whole[2:], "broken")
    assert "parts" in fails(whole[:20] + bytes(2_000_000) + whole[20:], "broken")
    assert load(whole[:2] + b"\xff\xfe\0\2" * 50 + b"\xff" * 9 + whole[2:], 64).format == "JPEG"


@pytest.mark.parametrize("format", ["GIF", "TIFF"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_frames_are_counted_like_pillow_does(format: str, count: int) -> None:
    frames = [noise(30, 20, seed).convert("P") for seed in range(count)]
    data = encode(frames[0], format, save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(data)) as image:
        assert bounds.frames(image, data) == image.n_frames == count  # type: ignore[attr-defined]


def test_counting_frames_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = bytearray(encode(noise(), "TIFF"))
    (at,) = struct.unpack_from("<I", ring, 4)
    (count,) = struct.unpack_from("<H", ring, at)
    struct.pack_into("<I", ring, at + 2 + 12 * count, at)
    assert load(bytes(ring), 64).notes == ()
    monkeypatch.setattr(bounds, "MOST_FRAMES", 3)
    frames = [noise(30, 20, seed) for seed in range(6)]
    for format in ("GIF", "TIFF", "PNG"):
        data = encode(frames[0], format, save_all=True, append_images=frames[1:])
        assert load(data, 20).notes == ("first of more than 3 frames",)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"])
@pytest.mark.parametrize("size", [None, 20, 150])
def test_tiles_give_the_pixels_of_the_whole(mode: str, size: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    image = noise(410, 230)
    if mode == "LAB":
        image = Image.merge("LAB", image.split())
    elif mode in ("RGBA", "LA"):
        image = image.convert(mode)
        image.putalpha(noise(410, 230, 1).convert("L"))
    else:
        image = image.convert("L").convert(mode) if mode in ("I;16", "I", "F") else image.convert(mode)
    data = encode(image, "TIFF")
    whole = load(data, size)
    monkeypatch.setattr(tones, "_TILE", 999)
    tiled = load(data, size)
    assert np.array_equal(whole.pixels, tiled.pixels) and whole.notes == tiled.notes
    monkeypatch.setattr(
        tones, "_GAP", 1e9
    )  # no reduction by box first: bicubic from every pixel, the same within its own error
    assert np.abs(load(data, size).pixels.astype(int) - whole.pixels).mean() < 6


# --- reading files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["EIO", "EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EINTR", "ESTALE", "ETIMEDOUT"])
@pytest.mark.parametrize("failures", [1, 2])
def test_an_error_that_may_pass_is_tried_once_more(
    name: str, failures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = injected(tmp_path, monkeypatch, getattr(errno, name), failures)
    if failures == 1:
        assert images.read_file(tmp_path / "a.png") == b"whole"
    else:
        with pytest.raises(PictureError) as caught:
            images.read_file(tmp_path / "a.png")
        assert caught.value.code == "unreadable file" and caught.value.detail == os.strerror(getattr(errno, name))
    assert calls == ["read", "wait", "read"]


@pytest.mark.parametrize(
    ("name", "code"), [("EACCES", "unreadable file"), ("EISDIR", "unreadable file"), ("ENOENT", "missing file")]
)
def test_an_error_that_stays_is_not_tried_again(name: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = injected(tmp_path, monkeypatch, getattr(errno, name), 1)
    with pytest.raises(PictureError) as caught:
        images.read_file(tmp_path / "a.png")
    assert caught.value.code == code and calls == ["read"]


def injected(folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, failures: int) -> list[str]:
    """Write a file whose first reads fail with error `number`; return the list that notes what is done."""
    (folder / "a.png").write_bytes(b"whole")
    calls: list[str] = []
    read = Path.read_bytes

    def failing(self: Path) -> bytes:
        calls.append("read")
        if calls.count("read") <= failures:
            raise OSError(number, os.strerror(number))
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", failing)
    monkeypatch.setattr(files.time, "sleep", lambda _: calls.append("wait"))
    return calls


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_BYTES", 4)
    (tmp_path / "a.png").write_bytes(b"whole")
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read"))
    with pytest.raises(PictureError, match="allowed"):
        images.read_file(tmp_path / "a.png")


# --- when it was taken --------------------------------------------------------------------------------------------------

MOMENT, LATER = "2021:03:04 05:06:07", "2022:01:01 00:00:00"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("original", "changed", "want"),
    [
        (MOMENT, LATER, MOMENT),
        (MOMENT, None, MOMENT),
        (None, LATER, LATER),
        ("yesterday", LATER, LATER),
        ("0000:00:00 00:00", None, None),
        ("<script>", "=cmd()", None),
        (None, None, None),
    ],
)
def test_the_moment_a_picture_was_taken(format: str, original: str | None, changed: str | None, want: str | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    if changed:
        exif[0x0132] = changed
    if original:
        exif[0x8769] = {0x9003: original}
    tags = {tag: value for tag, value in exif.items() if tag != 0x0112} | {0x0112: 3}
    loaded = load(encode(scene(), format, **({"tiffinfo": tags} if format == "TIFF" else {"exif": exif})), 64)
    assert loaded.taken == want and loaded.notes == ("rotated by EXIF",)


def test_a_damaged_camera_block_does_not_lose_the_turn() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x0132] = 6, LATER
    exif.get_ifd(0x8769)[0x9003] = MOMENT
    data = bytearray(encode(scene(), "JPEG", exif=exif))
    at = data.index(b"\x87\x69") + 8
    data[at : at + 4] = b"\x7f\xff\xff\xff"  # the block is said to lie far behind the file
    loaded = load(bytes(data), 64)
    assert loaded.taken == LATER and loaded.notes == ("rotated by EXIF",) and loaded.height > loaded.width


@pytest.mark.parametrize(("name", "notes", "taken"), [("getexif", (), None), ("get_ifd", ("rotated by EXIF",), LATER)])
def test_whatever_reading_exif_raises_the_picture_is_read(
    name: str, notes: tuple[str, ...], taken: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object, **__: object) -> None:
        raise SyntaxError("not a TIFF file")

    exif = Image.Exif()
    exif[0x0112], exif[0x0132], exif[0x8769] = 3, LATER, {0x9003: MOMENT}
    data = encode(scene(), "PNG", exif=exif)
    assert load(data, 64).taken == MOMENT
    monkeypatch.setattr(Image.Image if name == "getexif" else Image.Exif, name, explode)
    loaded = load(data, 64)
    assert (loaded.notes, loaded.taken, loaded.pixels.shape) == (notes, taken, (64, 85, 3))


def test_half_pictures_are_not_let_through_by_a_switch_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(EnvironmentProblem):
        load(encode(noise()), 64)


# --- warnings and threads -----------------------------------------------------------------------------------------------


def warning_tiff() -> bytes:
    """Return a TIFF with a tag that points nowhere, of which Pillow warns."""
    data = bytearray(encode(scene(), "TIFF"))
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    entries = bytes(data[at + 2 : at + 2 + 12 * count])
    extra = struct.pack("<HHII", 0x9C9B, 7, 5000, 0x7FFFFFF0)
    new = struct.pack("<H", count + 1) + entries + extra + bytes(4)
    struct.pack_into("<I", data, 4, len(data))
    return bytes(data) + new


def test_pillow_warnings_change_nothing_and_filters_stay(recwarn: pytest.WarningsRecorder) -> None:
    data = warning_tiff()
    with pytest.warns(UserWarning):
        Image.open(io.BytesIO(data)).load()
    load(data, 64)
    for action in ("error", "default"):
        with warnings.catch_warnings():
            warnings.simplefilter(action)  # type: ignore[arg-type]
            recwarn.clear()
            assert load(data, 64).pixels.shape == (64, 85, 3)
            assert not recwarn.list
            with pytest.warns(UserWarning):  # outside the loader Pillow's warnings are as loud as ever
                Image.open(io.BytesIO(data)).load()


def test_other_threads_keep_their_warnings() -> None:
    data, seen, inside, done = warning_tiff(), [], threading.Event(), threading.Event()

    def stranger() -> None:
        inside.wait(10)
        try:
            Image.open(io.BytesIO(data)).load()
        except UserWarning as warning:
            seen.append(warning)
        done.set()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thread = threading.Thread(target=stranger)
        thread.start()
        with images._quiet:
            inside.set()
            done.wait(10)
        thread.join()
    assert len(seen) == 1


# --- properties ---------------------------------------------------------------------------------------------------------

SEEDS = [encode(noise(24, 16), format) for format in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=12), st.integers(0, 4000)
)
def test_damaged_files_load_or_raise_picture_error(data: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    broken = bytearray(data)
    for at, value in changes:
        broken[at % len(broken)] = value
    body = bytes(broken[: max(1, len(broken) - cut)] if cut % 3 == 0 else broken)
    first = outcome(lambda: load(body, 8))
    assert first == outcome(lambda: load(body, 8))


def outcome(work: Callable[[], Loaded]) -> tuple[str, ...]:
    try:
        loaded = work()
    except PictureError as error:
        return (error.code, error.detail)
    assert loaded.pixels.dtype == np.uint8 and loaded.pixels.ndim == 3 and loaded.pixels.shape[2] == 3
    assert max(loaded.pixels.shape) <= 32
    return (content_hash(loaded.pixels.tobytes()), *loaded.notes)


def test_content_hash_is_sha256() -> None:
    assert content_hash(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
