"""Fuzz target of the manifest's reader: a file in, a `Manifest` or `DataProblem` out, nothing else.

    uv run --group fuzz python fuzz/fuzz_manifest.py -max_total_time=600

Words behind the name are libFuzzer's. A mutated Parquet file hardly ever stays one, so most inputs are recipes: the first byte says
whether the rest is a file as it is, or draws columns, values and metadata of a table that is then written and read.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus" / "manifest"
#: First byte of an input whose rest is the file itself.
AS_IT_IS = 0
_WORDS = ("", "0", "1", "-1", "x", "[]", '["a", "b"]', "{}", "null", "1e999", "[" * 2000, "\ud800", "ü", "NaN", '{"a": 1}')


class Draw:
    """Values drawn from bytes, so that mutated bytes are mutated values; zeros once they are used up."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def below(self, most: int) -> int:
        """Return a number from 0 to `most` - 1."""
        value = self.data[self.at] if self.at < len(self.data) else 0
        self.at += 1
        return value % most

    def word(self) -> str:
        """Return a word of the list, or letters of the data."""
        at = self.below(2 * len(_WORDS))
        return _WORDS[at] if at < len(_WORDS) else chr(97 + self.below(26)) * self.below(4)


def table(data: bytes) -> bytes:
    """Return the Parquet file that `data` is a recipe for: a manifest with a few things wrong."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fieldguide.data import tables
    from fieldguide.records import SCHEMA_VERSION, ManifestRow

    draw = Draw(data)
    rows = [ManifestRow(f"{at:064x}", f"a/{at}.png", "ab"[at % 2]) for at in range(draw.below(5))]
    manifest = tables.freeze(rows, ("a", "b"), 42)
    columns = tables._MANIFEST
    values: dict[str, list[object]] = {name: [getattr(row, name) for row in manifest.rows] for name in columns.names}
    for _ in range(draw.below(4) if rows else 0):
        name = columns.names[draw.below(len(columns.names))]
        kind = columns.field(name).type
        one: object = None
        if pa.types.is_string(kind):
            one = draw.word().encode("utf-8", "replace").decode()
        elif pa.types.is_integer(kind):
            one = draw.below(256) - 128
        elif draw.below(2):
            one = [None, "note"][: draw.below(3)]
        values[name][draw.below(len(rows))] = one
    meta = {"schema": str(SCHEMA_VERSION), "classes": json.dumps(manifest.classes), "seed": "42", "hash": manifest.hash}
    for _ in range(draw.below(3)):
        name = sorted(meta)[draw.below(len(meta))]
        meta[name] = draw.word()
    raw = {f"fieldguide.{name}".encode(): value.encode("utf-8", "surrogatepass") for name, value in meta.items()}
    if draw.below(8) == 1:
        raw[b"fieldguide.\xff"] = b"\xfe"
    arrays = [pa.array(values[field.name], field.type) for field in columns]
    if draw.below(8) == 1 and rows:  # text that is no UTF-8, as a damaged or foreign file holds it
        broken = pa.array([b"\xff\xfe"] * len(rows), pa.binary()).view(pa.string())
        arrays[draw.below(3)] = broken
    built = pa.Table.from_arrays(arrays, schema=columns.with_metadata(raw))
    sink = pa.BufferOutputStream()
    pq.write_table(built, sink)
    return bytes(sink.getvalue().to_pybytes())


def check(data: bytes, folder: Path) -> str:
    """Hold the reader's contract on the file that `data` stands for, written into `folder`, and return what it said."""
    from fieldguide.data.tables import read_manifest
    from fieldguide.errors import DataProblem
    from fieldguide.records import Manifest

    path = folder / "manifest.parquet"
    path.write_bytes(data[1:] if data[:1] == bytes([AS_IT_IS]) else table(data[1:]))
    try:
        manifest = read_manifest(path)
    except DataProblem as problem:
        return f"{problem.given} {problem.allowed} {problem.next}".removeprefix(str(path))
    assert isinstance(manifest, Manifest) and all(isinstance(row.notes, tuple) for row in manifest.rows)
    assert all(isinstance(row.key, str) and isinstance(row.label, str) for row in manifest.rows)
    assert all(isinstance(name, str) for name in manifest.classes)
    return f"{len(manifest.rows)} rows"


def seeds() -> Iterator[bytes]:
    """Yield a whole file as it is, and recipes."""
    yield bytes([AS_IT_IS]) + table(bytes([3]))
    yield from (b"\1" + random.Random(at).randbytes(24) for at in range(100))  # noqa: S311 - no secret


def main() -> None:
    """Run libFuzzer over the seeds, the kept corpus and their mutations."""
    import atheris

    with atheris.instrument_imports(include=["fieldguide"]):
        from fieldguide.data import tables

        assert tables
    globals()["table"] = atheris.instrument_func(table)  # what a recipe draws is what the fuzzer is to vary
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as scratch:
        for at, seed in enumerate(seeds()):
            (Path(folder) / f"seed-{at:03}").write_bytes(seed)
        words = [
            sys.argv[0],
            "-max_len=8192",
            "-len_control=0",
            "-timeout=30",
            "-rss_limit_mb=3000",
            *sys.argv[1:],
            folder,
            str(CORPUS),
        ]
        atheris.Setup(words, lambda data: check(data, Path(scratch)) and None)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
