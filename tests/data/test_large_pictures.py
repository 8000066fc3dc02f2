"""Large pictures that people have must be read, in at most 2 seconds of a processor and 300 MB; what would take more is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.torture import bad_pictures
from tests.torture.bad_pictures import MOST_MEMORY, MOST_SECONDS, encode, png

CHILD = Path(bad_pictures.__file__).with_name("child_loads.py")


def photo(width: int, height: int, noise: float = 9, mode: str = "RGB") -> Image.Image:
    """Return structure under noise, so that a file has about the bytes of a photograph."""
    random = np.random.default_rng(width)
    coarse = Image.fromarray(random.integers(0, 256, (height // 160 + 2, width // 160 + 2, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).copy()
    for top in range(0, height, 400):
        part = pixels[top : top + 400]
        part[:] = (part + random.normal(0, noise, (len(part), width, 1)).astype(np.int16)).clip(0, 255)
    return Image.fromarray(pixels).convert(mode)


def deep(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.asarray(photo(width, height, mode="L")).astype(np.uint16) * 257)


def deep_color_png(width: int, height: int) -> bytes:
    values = np.asarray(photo(width, height)).astype(">u2") * 257
    rows = np.zeros((height, 1 + 6 * width), np.uint8)
    rows[:, 1:] = values.view(np.uint8).reshape(height, -1)
    return png(width, height, zlib.compress(rows, 1), depth=16, color=2)


def deep_color_tiff(width: int, height: int) -> bytes:
    """Return an uncompressed RGB TIFF of 16 bits a channel, little-endian (TIFF 6.0, section 2)."""
    values = np.asarray(photo(width, height)).astype("<u2") * 257
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2)]
    entries += [(273, 4, 1, 256), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, values.nbytes)]
    body = b"II*\0" + (14).to_bytes(4, "little") + (16).to_bytes(2, "little") * 3 + len(entries).to_bytes(2, "little")
    for tag, kind, count, value in entries:
        body += b"".join(part.to_bytes(size, "little") for part, size in ((tag, 2), (kind, 2), (count, 4), (value, 4)))
    return (body + bytes(4)).ljust(256, b"\0") + values.tobytes()


READ: dict[str, Callable[[], bytes]] = {
    "panorama of 16,000 x 4,000, JPEG": lambda: encode(photo(16_000, 4_000), "JPEG", quality=85),
    "50 MP, baseline JPEG": lambda: encode(photo(8_160, 6_144), "JPEG", quality=90),
    "50 MP, progressive JPEG": lambda: encode(photo(8_160, 6_144), "JPEG", quality=90, progressive=True),
    "40 MP PNG": lambda: encode(photo(8_000, 5_000), compress_level=1),
    "24 MP, 16-bit gray TIFF": lambda: encode(deep(6_000, 4_000), "TIFF"),
    "24 MP, 16-bit gray PNG": lambda: encode(deep(6_000, 4_000), compress_level=1),
    "24 MP, 16-bit colour TIFF": lambda: deep_color_tiff(6_000, 4_000),
    "24 MP, 16-bit colour PNG": lambda: deep_color_png(6_000, 4_000),
    "24 MP PNG with alpha": lambda: encode(photo(6_000, 4_000, mode="RGBA"), compress_level=1),
    "24 MP CMYK TIFF": lambda: encode(photo(6_000, 4_000, mode="CMYK"), "TIFF"),
    "24 MP, deflated TIFF": lambda: encode(photo(6_000, 4_000), "TIFF", compression="tiff_adobe_deflate"),
    "12 MP WebP": lambda: encode(photo(4_000, 3_000), "WEBP", quality=85, method=0),
    "12 MP AVIF": lambda: encode(photo(4_000, 3_000), "AVIF", quality=70, speed=10),
    "170 MP gray PNG": lambda: encode(Image.new("L", (13_000, 13_000), 9)) + bytes(100_000),
    "palette PNG of 260,000 x 680": lambda: encode(Image.new("P", (260_000, 680), 7)) + bytes(200_000),
    "column of 3 x 11,000,000": lambda: encode(Image.new("P", (3, 11_000_000), 7)) + bytes(200_000),
    "line of 30,000,000 x 3": lambda: encode(Image.new("L", (30_000_000, 3), 7).convert("P")) + bytes(200_000),
}
#: What phones save; their decoders hold a picture several times over.
HELD_SEVERAL_TIMES: dict[str, Callable[[], bytes]] = {
    "24 MP WebP": lambda: encode(photo(6_000, 4_000), "WEBP", quality=80, method=0),
    "24 MP HEIC": lambda: heic(photo(5_712, 4_284)),
}
REFUSED: dict[str, Callable[[], bytes]] = {
    "66 MP PNG": lambda: png(11_000, 6_000, zlib.compress(bytes(9)), color=2) + bytes(100_000),
    "60 MP, progressive JPEG without subsampling": lambda: encode(
        Image.new("RGB", (10_000, 6_000), "teal"), "JPEG", progressive=True, subsampling=0
    ),
    "40 MP WebP": lambda: encode(Image.new("RGB", (8_000, 5_000), "teal"), "WEBP", method=0) + bytes(50_000),
    "180 MP, baseline JPEG": lambda: encode(Image.new("L", (18_000, 10_000), 9), "JPEG"),
}


def heic(image: Image.Image) -> bytes:
    pytest.importorskip("pillow_heif").register_heif_opener()
    return encode(image, "HEIF", quality=50)


def cost(data: bytes, folder: Path, most_seconds: float = MOST_SECONDS, most_memory: int = MOST_MEMORY) -> dict[str, Any]:
    (folder / "large").write_bytes(data)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(CHILD), str(folder / "large")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, env=environment)
    (one,) = json.loads(done.stdout)
    assert one["exit"] == 0 and one["cpu"] <= most_seconds and one["bytes"] <= most_memory, one
    return one


@pytest.mark.slow(keep=2)
@pytest.mark.parametrize("name", READ)
def test_read(name: str, tmp_path: Path) -> None:
    assert str(cost(READ[name](), tmp_path)["said"]).startswith("loaded (")


@pytest.mark.slow(keep=2)
@pytest.mark.parametrize("name", HELD_SEVERAL_TIMES)
def test_read_with_more(name: str, tmp_path: Path) -> None:
    said = cost(HELD_SEVERAL_TIMES[name](), tmp_path, 2 * MOST_SECONDS, 2 * MOST_MEMORY)["said"]
    assert str(said).startswith("loaded (")


@pytest.mark.slow(keep=2)
@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    assert cost(REFUSED[name](), tmp_path)["said"] == "too large"
