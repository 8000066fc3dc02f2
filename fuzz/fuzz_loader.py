"""Fuzz target of the loader: bytes in, `Loaded` or `PictureError` out, nothing else, in at most 2 seconds.

    uv run --group fuzz python fuzz/fuzz_loader.py -max_total_time=600

Words behind the name are libFuzzer's. Seeds are drawn here, and the kept corpus is read first; what is found is written by libFuzzer
into the current folder as ``crash-*``: put it into ``fuzz/corpus/loader`` once it is mended, and the test run replays it.
"""

from __future__ import annotations

import io
import random
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus" / "loader"
MOST_SECONDS = 2.0
#: Processor seconds are counted under the fuzzer's instrumentation, which makes Python several times slower.
SLOWED = 4.0
_PNG = b"\x89PNG\r\n\x1a\n"


def check(data: bytes, most_seconds: float = MOST_SECONDS) -> str:
    """Hold the loader's contract on `data`, at a small and at full size, and return what it said."""
    from fieldguide.data import images
    from fieldguide.errors import PictureError

    said = []
    for at_least in (64, None):
        start = time.thread_time()
        try:
            loaded, refused = images.load(data, at_least), None
        except PictureError as error:
            loaded, refused = None, error
        if loaded is not None:
            said.append(loaded.format)
            height, width, channels = loaded.pixels.shape
            assert loaded.pixels.dtype.name == "uint8" and channels == 3
            assert sorted((width, height)) == sorted(images.final_size(loaded.width, loaded.height, at_least))
            assert loaded.taken is None or len(loaded.taken) == 19
        if refused is not None:
            said.append(refused.code)
            assert refused.code and " at 0x" not in refused.detail and len(refused.detail) < 1000, refused.detail
        seconds = time.thread_time() - start
        assert seconds <= most_seconds, f"{seconds:.1f} s for {len(data)} bytes"
    return ", ".join(said)


def repair(data: bytes) -> bytes:
    """Put the checksums of a PNG right, so that a mutation gets past them."""
    if not data.startswith(_PNG):
        return data
    out, at = bytearray(data), len(_PNG)
    while at + 12 <= len(out):
        end = at + 8 + int.from_bytes(out[at : at + 4], "big")
        if end + 4 > len(out):
            break
        out[end : end + 4] = zlib.crc32(out[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(out)


def seeds() -> Iterator[bytes]:
    """Yield small pictures of every format, in every mode it can hold."""
    from PIL import Image

    from fieldguide.data import images

    plain = Image.effect_noise((21, 13), 90).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x0132] = "2020:01:02 03:04:05"
    several: dict[str, object] = {"save_all": True, "append_images": [plain.rotate(180)], "exif": exif}
    ways: dict[str, list[dict[str, object]]] = {
        "JPEG": [{}, {"exif": exif}, {"progressive": True}, {"optimize": True, "subsampling": 0}],
        "PNG": [{}, several],
        "TIFF": [{}, several, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}],
        "WEBP": [{}, several, {"lossless": True}],
        "GIF": [{}, several],
        "AVIF": [{}],
    }
    odd = {"AVIF": ("RGB",), "TIFF": ("RGB", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F", "YCbCr")}
    for format in (*images.FORMATS, "MPO"):
        for mode in odd.get(format, ("RGB", "1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F", "YCbCr")):
            for options in ways.get(format, [several] if format == "MPO" else [{}]):
                stream = io.BytesIO()
                try:
                    plain.convert("L").convert(mode).save(stream, format, **options)  # type: ignore[arg-type]
                except (OSError, ValueError, KeyError, SystemError):  # a format that does not hold this mode
                    continue
                yield stream.getvalue()
    yield from (b"P1 2 2 1 0 0 1\n", b"P3\n# c\n1 1 7\n1 2 3\n", b"P2 2 1 300 1 299\n", b"P5 2 1 9 \1\2")


def main() -> None:
    """Run libFuzzer over the seeds, the kept corpus and their mutations."""
    import atheris

    with atheris.instrument_imports(include=["PIL", "fieldguide"]):
        from PIL import Image

        from fieldguide.data import images

        assert images
        Image.init()

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        changed = atheris.Mutate(data, most)
        return repair(changed)[:most] if random.Random(seed).random() < 0.9 else changed  # noqa: S311 - no secret

    with tempfile.TemporaryDirectory() as folder:
        for at, seed in enumerate(seeds()):
            (Path(folder) / f"seed-{at:03}").write_bytes(seed)
        words = [sys.argv[0], "-max_len=16384", "-timeout=30", "-rss_limit_mb=1500", *sys.argv[1:], folder, str(CORPUS)]
        atheris.Setup(words, lambda data: check(data, MOST_SECONDS * SLOWED) and None, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
